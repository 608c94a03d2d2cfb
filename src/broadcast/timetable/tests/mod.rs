mod airing;
mod entry;
mod plan;
mod property;
mod rule;
mod scale;
mod shown;

use super::*;
use crate::broadcast::{Area, Priority, Register};
use crate::time::Civil;
use chrono::{NaiveDate, NaiveDateTime};
use uuid::Uuid;

fn area(text: &str) -> Area {
    text.parse().unwrap()
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// `2026-11-23T06:30`
fn at(text: &str) -> NaiveDateTime {
    format!("{text}:00").parse().unwrap()
}

/// RFC 3339.
fn civil(text: &str) -> Civil {
    Civil(chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros())
}

const MINUTE: i64 = 60_000_000;

/// Ten minutes of a file, normal, enabled, entered as the `number`th.
fn entry(number: u64, areas: &[&str], when: When) -> Entry {
    Entry {
        id: Uuid::from_u64_pair(0x0199_f3c1_0000_7000, 0x8000_0000_0000_0000 + number),
        title: format!("Bản tin {number}"),
        areas: areas.iter().map(|text| area(text)).collect(),
        except: Vec::new(),
        priority: Priority::Normal,
        plays: Plays::Media { sha256: "ab".repeat(32), length: 10 * MINUTE },
        when,
        zone: None,
        from: None,
        until: None,
        approver: None,
        enabled: true,
        created: Civil(1_790_000_000_000_000 + number as i64),
    }
}

fn once(text: &str) -> When {
    When::Once(at(text))
}

fn rule(start: &str, rrule: &str) -> When {
    When::Rule { start: at(start), rrule: rrule.to_owned(), except: Vec::new(), extra: Vec::new() }
}

fn lasting(mut entry: Entry, minutes: i64) -> Entry {
    entry.plays = Plays::Live { name: "studio".into(), limit: minutes * MINUTE };
    entry
}

fn urgent(mut entry: Entry) -> Entry {
    entry.priority = Priority::Priority;
    entry
}

/// Two provinces with communes; Hà Giang is gone since July 2025.
fn register() -> Register {
    let table = "code,name:vi,kind,zone,from,until,successors
vn,Việt Nam,country,Asia/Ho_Chi_Minh,,,
vn/01,Hà Nội,city,,,,
vn/01/1,Ba Đình,commune,,,,
vn/01/2,Hoàn Kiếm,commune,,,,
vn/02,Hà Giang,province,,,2025-07-01,vn/08
vn/08,Tuyên Quang,province,,2025-07-01,,
vn/08/1,Đồng Văn,commune,,,2026-11-25,vn/08/2
vn/08/2,Mèo Vạc,commune,,,,
de,Đức,country,Europe/Berlin,,,
";
    Register::from_csv(table.as_bytes()).unwrap()
}

fn policies(json: &str) -> Policies {
    Policies::read(json.as_bytes()).unwrap()
}

/// The day in Vietnam that begins then, or so many.
fn planned(entries: &[Entry], policies: &Policies, place: &str, first: &str, days: i64) -> Place {
    let zone = register().zone(&area(place));
    let begin = |day: NaiveDate| instant(zone, day.and_time(chrono::NaiveTime::MIN));
    let (from, until) = (begin(day(first)), begin(local::add_days(day(first), days)));
    let plan = plan(entries, policies, &register(), &[area(place)], from, until).unwrap();
    plan.place(&area(place)).unwrap().clone()
}

/// When something sounds, by the clock of the place.
fn sounding(place: &Place) -> Vec<String> {
    let local = |at: Civil| local::local(place.zone, at).format("%d %H:%M").to_string();
    place.sounding.iter().map(|item| local(item.start)).collect()
}

/// What is refused: when, the codes, the free slot.
fn refused(place: &Place) -> Vec<(String, String, String)> {
    let local = |at: Civil| local::local(place.zone, at).format("%d %H:%M").to_string();
    let codes = |refused: &Refused| refused.why.iter().map(|said| said.code).collect::<Vec<_>>().join(" ");
    let row = |refused: &Refused| (local(refused.item.start), codes(refused), refused.free.map_or("-".into(), local));
    place.refused.iter().map(row).collect()
}

fn row(start: &str, codes: &str, free: &str) -> (String, String, String) {
    (start.into(), codes.into(), free.into())
}
