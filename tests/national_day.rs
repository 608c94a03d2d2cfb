//! A day of a country by its rules alone: 34 provinces and their communes, the timetables of the nation, of each province
//! and of a commune, a live relay, an emergency at 19:02, an exercise, a cancel, a hush, a province that is cut off from
//! 10:00 to 16:00. Orders are signed, checked and booked at each place as they come; who hears what when is compared with
//! a painting of the day.

use chrono::NaiveDate;
use loa::broadcast::timetable::{Entry, Policies, plan};
use loa::broadcast::*;
use loa::key::SigningKey;
use loa::proto;
use loa::time::{Civil, SECOND};
use loa::track;
use std::collections::BTreeMap;
use std::slice::from_ref;
use uuid::Uuid;

const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const ROOT: [u8; 32] = [1; 32];
const DELAY: i64 = SECOND;
const FORGED: &str = "Giả mạo";
/// From an order to a place, when nothing is cut.
const WAY: i64 = SECOND / 2;

/// Midnight in Vietnam at which 2026-12-15 begins.
fn midnight() -> Civil {
    let day = NaiveDate::from_ymd_opt(2026, 12, 15).unwrap();
    loa::broadcast::timetable::instant(chrono_tz::Asia::Ho_Chi_Minh, day.and_hms_opt(0, 0, 0).unwrap())
}

fn at(hour: i64, minute: i64) -> Civil {
    midnight() + hour * HOUR + minute * MINUTE
}

/// Whoever gives orders.
struct Speaker {
    key: SigningKey,
    area: Area,
}

/// An order on its way.
struct Sent {
    at: Civil,
    title: String,
    signed: proto::Signed,
    order: Order,
}

struct Country {
    register: Register,
    orders: Vec<Sent>,
    count: u64,
}

fn area(text: &str) -> Area {
    text.parse().unwrap()
}

impl Country {
    /// Vietnam's provinces as they ship, with two communes each.
    fn new() -> Self {
        let mut csv = std::fs::read_to_string("config/areas-vn.csv").unwrap();
        let whole = Register::from_csv(csv.as_bytes()).unwrap();
        let today = NaiveDate::from_ymd_opt(2026, 12, 15).unwrap();
        let provinces: Vec<Area> =
            whole.children(&area("vn")).filter(|unit| unit.is_there(today)).map(|unit| unit.code.clone()).collect();
        assert_eq!(provinces.len(), 34);
        for province in &provinces {
            for commune in ["00001", "00002"] {
                csv += &format!("{province}/{commune},Xã {commune},,commune,,2025-07-01,,\n");
            }
        }
        let register = Register::from_csv(csv.as_bytes()).unwrap();
        Self { register, orders: Vec::new(), count: 0 }
    }

    fn communes(&self) -> Vec<Area> {
        self.register.units().filter(|unit| unit.kind == "commune").map(|unit| unit.code.clone()).collect()
    }

    fn provinces(&self) -> Vec<Area> {
        let mut provinces: Vec<Area> = self.communes().iter().filter_map(Area::parent).collect();
        provinces.dedup();
        provinces
    }

    /// Empowered for fourteen days by a root.
    fn speaker(&mut self, seed: u8, of: &str, up_to: Priority) -> Speaker {
        let speaker = Speaker { key: SigningKey::from_seed(&[seed; 32]), area: area(of) };
        let grant = Grant {
            key: speaker.key.public(),
            areas: vec![speaker.area.clone()],
            kinds: vec![Kind::Broadcast, Kind::Cancel, Kind::Hush],
            up_to,
            from: midnight() - 2 * DAY,
            until: midnight() + 12 * DAY,
            name: of.to_owned(),
            alone_from: 0,
        };
        let root = SigningKey::from_seed(&ROOT);
        self.sends(&root, at(-24, 0), vec![area(of)], "", Body::Grant(grant));
        speaker
    }

    fn sends(&mut self, key: &SigningKey, issued: Civil, areas: Vec<Area>, title: &str, body: Body) -> Uuid {
        self.count += 1;
        let id = id(issued, self.count as u32);
        let order = Order::new(id, key.id(), self.count, issued, areas, body);
        let signed = sign(&order, key);
        self.orders.push(Sent { at: issued, title: title.to_owned(), signed, order });
        id
    }

    fn airs(&mut self, by: &Speaker, issued: Civil, areas: &[Area], title: &str, broadcast: Broadcast) -> Uuid {
        self.sends(&by.key, issued, areas.to_vec(), title, Body::Broadcast(broadcast))
    }

    /// What a node gives of its own timetable the day before. Returns ids by title.
    fn gives(&mut self, by: &Speaker, issued: Civil, entries: serde_json::Value) -> BTreeMap<String, Uuid> {
        let entries = Entry::read_all(entries.to_string().as_bytes()).unwrap_or_else(|wrong| panic!("{wrong:?}"));
        let planned =
            plan(&entries, &Policies::default(), &self.register, from_ref(&by.area), midnight(), midnight() + DAY);
        let mut ids = BTreeMap::new();
        for airing in planned.unwrap().airings() {
            let on = NaiveDate::from_ymd_opt(2026, 12, 15).unwrap();
            let areas = self.register.cover(&airing.areas, &airing.except, on).unwrap();
            let item = airing.item;
            let broadcast = broadcast(item.priority, item.start, item.end);
            ids.insert(item.title.clone(), self.airs(by, issued, &areas, &item.title, broadcast));
        }
        ids
    }
}

fn id(at: Civil, number: u32) -> Uuid {
    let mut tail = [0; 10];
    tail[6..].copy_from_slice(&number.to_be_bytes());
    uuid::Builder::from_unix_timestamp_millis((at.0 / 1_000) as u64, &tail).into_uuid()
}

fn broadcast(priority: Priority, from: Civil, until: Civil) -> Broadcast {
    Broadcast {
        priority,
        purpose: Purpose::Real,
        from,
        until,
        delay: DELAY,
        renditions: vec![track::Info {
            id: id(from, until.0 as u32),
            sign: SigningKey::from_seed(&[77; 32]).public(),
            ssrc: 1,
            duration: 11_520,
            anchor: from,
            key_hash: [9; 32],
            bitrate: 24_000,
            packets: None,
        }],
        tone: None,
        title: String::new(),
        revision: 0,
        supersedes: None,
        stored: false,
        resume: false,
        prepared: false,
    }
}

/// T0 half a second after `issued`.
fn urgent(purpose: Purpose, issued: Civil, length: i64) -> Broadcast {
    let at = issued + SECOND / 2;
    let mut urgent = broadcast(Priority::Emergency, at, issued + length);
    let which = purpose.said_by().unwrap_or(1);
    urgent.tone = Some(Tone { at, which, duration: 3 * SECOND });
    urgent.purpose = purpose;
    urgent.renditions[0].anchor = at + 3 * SECOND - DELAY;
    urgent
}

fn entry(number: u32, title: &str, place: &Area, priority: &str, start: &str, minutes: i64) -> serde_json::Value {
    let length = minutes * MINUTE;
    serde_json::json!({
        "id": format!("0199f3c1-0000-7000-8000-{number:012x}"), "title": title, "areas": [place], "priority": priority,
        "plays": if title.contains("trực tiếp") {
            serde_json::json!({"live": "vov1", "limit_us": length})
        } else {
            serde_json::json!({"media": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae", "length_us": length})
        },
        "when": {"start": format!("2026-12-01T{start}:00"), "rrule": "FREQ=DAILY"},
        "approver": "Nguyễn Văn An", "created": "2026-11-20T08:00:00Z",
    })
}

/// What a place lets out, in half seconds of the day, by title; computed as a node computes it.
fn plays(country: &Country, place: &Area, cut: Option<(Civil, Civil)>) -> Vec<String> {
    let mut inbox: BTreeMap<(Civil, usize), &Sent> = BTreeMap::new();
    for (number, sent) in country.orders.iter().enumerate() {
        let comes = sent.at + WAY;
        let held = cut.filter(|(from, until)| *from <= comes && comes < *until).map(|(_, until)| until);
        inbox.insert((held.unwrap_or(comes), number), sent);
    }
    let mut authorities = Authorities::new(vec![SigningKey::from_seed(&ROOT).public()]);
    let mut book = Book::new();
    let mut titles: BTreeMap<Uuid, String> = BTreeMap::new();
    let mut day = vec![String::new(); (DAY / (SECOND / 2)) as usize];
    let mut now = at(-24, 0);
    while now < midnight() + DAY {
        while let Some(((comes, _), sent)) = inbox.first_key_value().map(|(key, sent)| (*key, *sent))
            && comes <= now
        {
            inbox.pop_first();
            let checked = authorities.check(&sent.signed, Some(now));
            // What came too late, or was forged; anything else would be refused by mistake.
            let late = cut.is_some() && checked.as_ref().is_err_and(|refusal| refusal.code == "order.expired");
            assert!(checked.is_ok() || late || sent.title == FORGED, "{}: {checked:?}", sent.title);
            let Ok(order) = checked else { continue };
            authorities.admit(&order, &sent.signed);
            if sent.order.areas.iter().any(|of| of.touches(place)) {
                let _ = book.handle(Some(now), &order, &sent.signed);
                titles.insert(sent.order.id, sent.title.clone());
            }
        }
        book.expire(now);
        let choice = choose(&book, place, Some(now));
        let next = inbox.first_key_value().map(|((comes, _), _)| *comes);
        let until = [choice.next, next].into_iter().flatten().min().unwrap_or(midnight() + DAY);
        if let Some(id) = choice.broadcast {
            paint(&mut day, now, until, &titles[&id]);
        }
        now = until;
    }
    day
}

fn paint(day: &mut [String], from: Civil, until: Civil, title: &str) {
    let step = |at: Civil| ((at - midnight()).clamp(0, DAY) / (SECOND / 2)) as usize;
    day[step(from)..step(until)].iter_mut().for_each(|half| title.clone_into(half));
}

/// Runs of the same: what one would write down who listened.
fn heard(day: &[String]) -> Vec<(String, String)> {
    let mut runs: Vec<(String, String)> = Vec::new();
    for (half, title) in day.iter().enumerate() {
        if half == 0 || day[half - 1] != *title {
            let seconds = half as f64 / 2.0;
            let clock = format!("{:02}:{:02}:{:04.1}", half / 7_200, half / 120 % 60, seconds % 60.0);
            runs.push((clock, title.clone()));
        }
    }
    runs
}

#[test]
fn on_a_national_day_everybody_hears_what_the_rules_say_and_nothing_else() {
    let mut country = Country::new();
    let (communes, provinces) = (country.communes(), country.provinces());
    let nation = country.speaker(2, "vn", Priority::Emergency);
    let local = country.speaker(3, "vn/01/00001", Priority::Priority);
    let governors: Vec<Speaker> = provinces
        .iter()
        .enumerate()
        .map(|(number, province)| country.speaker(10 + number as u8, province.as_str(), Priority::Emergency))
        .collect();
    let [cut_off, shaken, drilled, spared, hushed] = ["vn/14", "vn/04", "vn/08", "vn/11", "vn/22"].map(area);

    // The day before: timetables.
    let vn = area("vn");
    let national = country.gives(
        &nation,
        at(-12, 0),
        serde_json::json!([
            entry(1, "Thời sự", &vn, "priority", "06:00", 30),
            entry(2, "Trưa", &vn, "normal", "12:00", 15),
            entry(3, "Nông vụ", &vn, "normal", "15:30", 10),
            entry(4, "Quốc hội trực tiếp", &vn, "normal", "19:00", 30),
            entry(5, "Tối", &vn, "normal", "20:00", 30),
            // Refused by its own plan: quiet hours.
            entry(6, "Khuya", &vn, "normal", "22:30", 10),
        ]),
    );
    assert_eq!(national.len(), 5);
    for (number, governor) in governors.iter().enumerate() {
        let evening = format!("17:{:02}", number % 5 * 5);
        let ids = country.gives(
            governor,
            at(-11, 0),
            serde_json::json!([
                entry(7, "Tin tỉnh", &governor.area, "normal", &evening, 20),
                entry(8, "Giao ban", &governor.area, "priority", "06:20", 20),
            ]),
        );
        if governor.area == spared {
            let cancel = Cancel { broadcast: ids["Tin tỉnh"], at: at(16, 30) };
            country.sends(&governor.key, at(16, 29), vec![spared.clone()], "", Body::Cancel(cancel));
        }
        if governor.area == area("vn/01") {
            let first = Prefer { broadcasts: vec![ids["Giao ban"]] };
            country.sends(&local.key, at(5, 0), vec![local.area.clone()], "", Body::Prefer(first));
        }
    }
    country.gives(&local, at(-10, 0), serde_json::json!([entry(9, "Tin xã", &local.area, "normal", "17:10", 20)]));

    // The day itself.
    let of = |place: &Area| governors.iter().find(|governor| governor.area == *place).unwrap();
    let drill = urgent(Purpose::Exercise, at(9, 0), 5 * MINUTE);
    country.airs(of(&drilled), at(9, 0), from_ref(&drilled), "Diễn tập", drill);
    let bulletin = broadcast(Priority::Priority, at(15, 0), at(15, 10));
    country.airs(&nation, at(11, 0), from_ref(&vn), "Đặc biệt", bulletin);
    let cancel = Cancel { broadcast: national["Nông vụ"], at: at(11, 1) };
    country.sends(&nation.key, at(11, 0), vec![vn.clone()], "", Body::Cancel(cancel));
    let storm = urgent(Purpose::Real, at(15, 55), 10 * MINUTE);
    country.airs(&nation, at(15, 55), from_ref(&cut_off), "Lũ quét", storm);
    let quake = urgent(Purpose::Real, at(19, 2), 3 * MINUTE);
    country.airs(of(&shaken), at(19, 2), from_ref(&shaken), "Động đất", quake);
    let silence = Hush { until: at(20, 10), up_to: Priority::Emergency, exempt: Vec::new() };
    country.sends(&of(&hushed).key, at(20, 0), vec![hushed.clone()], "", Body::Hush(silence));
    // By a key that may not: in a neighbour's province, and above its rank.
    let foreign = urgent(Purpose::Real, at(13, 0), 5 * MINUTE);
    country.airs(of(&shaken), at(13, 0), from_ref(&drilled), FORGED, foreign.clone());
    country.airs(&local, at(13, 0), from_ref(&local.area), FORGED, foreign);

    for place in &communes {
        let province = place.parent().unwrap();
        let number = provinces.iter().position(|other| *other == province).unwrap() as i64;
        let cut = (province == cut_off).then(|| (at(10, 0), at(16, 0)));
        let mut expected = vec![String::new(); (DAY / (SECOND / 2)) as usize];
        let mut item = |title: &str, from: Civil, until: Civil| paint(&mut expected, from, until + DELAY, title);
        // From the weakest to the strongest; of one class the newest first.
        if *place == local.area {
            item("Tin xã", at(17, 10), at(17, 30));
        }
        if province != spared {
            item("Tin tỉnh", at(17, number % 5 * 5), at(17, number % 5 * 5 + 20));
        }
        item("Tối", at(20, 0), at(20, 30));
        item("Quốc hội trực tiếp", at(19, 0), at(19, 30));
        item("Trưa", at(12, 0), at(12, 15));
        if cut.is_some() {
            // It has not heard that this was cancelled, nor of what came in its place.
            item("Nông vụ", at(15, 30), at(15, 40));
        } else {
            item("Đặc biệt", at(15, 0), at(15, 10));
        }
        item("Giao ban", at(6, 20), at(6, 40));
        item("Thời sự", at(6, 0), at(6, 30));
        if *place == local.area {
            item("Giao ban", at(6, 20), at(6, 40));
        }
        if province == hushed {
            paint(&mut expected, at(20, 0) + WAY, at(20, 10), "");
        }
        let half = SECOND / 2;
        let mut urgent = |title: &str, from: Civil, until: Civil| paint(&mut expected, from, until + DELAY, title);
        if province == drilled {
            urgent("Diễn tập", at(9, 0) + half, at(9, 5));
        }
        if province == shaken {
            urgent("Động đất", at(19, 2) + half, at(19, 5));
        }
        if cut.is_some() {
            // Still in force when it is back.
            urgent("Lũ quét", at(16, 0), at(16, 5));
        }
        assert_eq!(heard(&plays(&country, place, cut)), heard(&expected), "{place}");
    }
}
