//! A day of the country with whole nodes in virtual time: the nation, 34 provinces with sources of their own, a commune
//! that speaks itself, loudspeakers. What was given ahead, a live relay, an emergency in the midst of it, an exercise,
//! cancels, a hush, a province that is cut off for six hours: who let out what when is compared with what the rules say,
//! and with what the origin was told of it. Items are short, since every packet is sealed and verified; a day of whole
//! programmes by the rules alone is in `national_day.rs`.

mod seed;

use loa::audio::{tone_micros, words_micros};
use loa::broadcast::receipt::{Outcome, Tally};
use loa::broadcast::{Area, Priority, Purpose, Register, Tone};
use loa::node::trunk::{Reply, Request};
use loa::sim::{Aired, Bulletin, Conditions, EPOCH, Heard, Hop, Tree, What, World};
use loa::time::SECOND;
use seed::each_seed;
use std::collections::BTreeMap;
use uuid::Uuid;

const MINUTE: i64 = 60 * SECOND;
/// An hour of this day: whole nodes take time to simulate, and between items little happens.
const HOUR: i64 = 10 * MINUTE;
/// Of most items.
const LENGTH: i64 = 24 * SECOND;
const LIVE: i64 = 120 * SECOND;
const FLOOD: i64 = 240 * SECOND;
/// By which an edge may be off: fades, the step at which a change falls, clocks.
const NEAR: i64 = 120_000;

fn at(hour: i64, minute: i64, second: i64) -> i64 {
    hour * HOUR + minute * MINUTE + second * SECOND
}

/// One stretch of one thing that left a loudspeaker: instants of the day, µs.
type Run = (String, i64, i64);

struct Day {
    world: World,
    provinces: Vec<Area>,
    titles: BTreeMap<Uuid, String>,
}

impl Day {
    /// ```text
    ///  origin vn ─┬─ vn/01 ─── vn/01/00001 (a commune that speaks) ─── its loudspeaker
    ///             ├─ vn/04 ─── a loudspeaker in vn/04/00001
    ///             └─ … 34
    /// ```
    fn begins(seed: u64) -> Self {
        let register = Register::from_csv(std::fs::read("config/areas-vn.csv").unwrap().as_slice()).unwrap();
        let today = chrono::NaiveDate::from_ymd_opt(2026, 12, 15).unwrap();
        let nation = area("vn");
        let units = register.children(&nation).filter(|unit| unit.is_there(today));
        let provinces: Vec<Area> = units.map(|unit| unit.code.clone()).collect();
        assert_eq!(provinces.len(), 34);
        let hop = Hop::both(Conditions::clean(20_000, 5_000));
        let mut tree = Tree::new(seed);
        tree.err_by(20.0).origin("origin", "vn");
        for province in &provinces {
            tree.station(province.as_str(), province.as_str(), "origin", hop.clone());
            let commune = format!("{province}/00001");
            if province.as_str() == "vn/01" {
                tree.station("commune", &commune, province.as_str(), hop.clone());
                tree.speaker(&commune, &commune, "commune", hop.clone());
            } else {
                tree.speaker(&commune, &commune, province.as_str(), hop.clone());
            }
        }
        Self { world: World::new(tree), provinces, titles: BTreeMap::new() }
    }

    fn airs(&mut self, node: &str, title: &str, bulletin: &Bulletin) -> Aired {
        let aired = self.world.air(node, bulletin).unwrap_or_else(|error| panic!("{title} by {node}: {error}"));
        self.titles.insert(aired.track, title.to_owned());
        aired
    }

    /// Ahead, as a timetable gives it.
    fn gives(&mut self, node: &str, title: &str, place: &str, priority: Priority, from: i64) -> Aired {
        let at = Some(EPOCH + from);
        self.airs(node, title, &Bulletin { at, priority, ..Bulletin::new(place, LENGTH) })
    }

    fn wakes(&mut self, node: &str, title: &str, place: &str, purpose: Purpose, length: i64) -> Aired {
        self.airs(node, title, &Bulletin { purpose, ..Bulletin::emergency(place, length) })
    }

    /// What a loudspeaker let out, in stretches.
    fn heard(&self, speaker: &str) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let sounds = |heard: &&Heard| heard.what == What::Sound && heard.gain > 0.0;
        for heard in self.world.heard(speaker).iter().filter(sounds) {
            let title = heard.track.and_then(|track| self.titles.get(&track)).map_or("?", String::as_str);
            let (from, until) = (heard.left as i64, (heard.left + heard.lasts) as i64);
            match runs.last_mut() {
                Some((last, _, end)) if last == title && from - *end < 50_000 => *end = until,
                _ => runs.push((title.to_owned(), from, until)),
            }
        }
        runs
    }
}

fn area(text: &str) -> Area {
    text.parse().unwrap()
}

/// When speech begins, behind what each loudspeaker has of its own.
fn speech(aired: &Aired, purpose: Purpose) -> i64 {
    let stored = match purpose {
        Purpose::Real => tone_micros(),
        _ => words_micros(Tone::EXERCISE),
    };
    aired.sounds - EPOCH + stored
}

fn agree(place: &str, heard: &[Run], expected: &[Run]) {
    let near = |(one, other): (&Run, &Run)| {
        one.0 == other.0 && (one.1 - other.1).abs() <= NEAR && (one.2 - other.2).abs() <= NEAR
    };
    let shown = |runs: &[Run]| {
        let clock = |at: i64| format!("{:02}:{:02}:{:06.3}", at / HOUR, at / MINUTE % 60, (at % MINUTE) as f64 / 1e6);
        runs.iter()
            .map(|(title, from, until)| format!("{} – {} {title}\n", clock(*from), clock(*until)))
            .collect::<String>()
    };
    assert!(
        heard.len() == expected.len() && heard.iter().zip(expected).all(near),
        "{place} let out\n{}and should have\n{}",
        shown(heard),
        shown(expected)
    );
}

#[test]
fn in_a_whole_country_everybody_lets_out_what_the_rules_say_when_they_say_it_and_the_origin_knows() {
    each_seed(1, |seed| {
        let mut day = Day::begins(seed);
        let provinces = day.provinces.clone();
        let [cut_off, shaken, drilled, spared, hushed] = ["vn/14", "vn/04", "vn/08", "vn/11", "vn/22"];
        day.world.run_until(2 * MINUTE);

        let news = day.gives("origin", "Thời sự", "vn", Priority::Priority, at(1, 0, 0));
        day.gives("origin", "Trưa", "vn", Priority::Normal, at(7, 0, 0));
        let farming = day.gives("origin", "Nông vụ", "vn", Priority::Normal, at(10, 3, 0));
        day.gives("origin", "Tối", "vn", Priority::Normal, at(15, 0, 30));
        let mut own: BTreeMap<String, (Aired, Aired)> = BTreeMap::new();
        for (number, province) in provinces.iter().map(Area::as_str).enumerate() {
            let meeting = day.gives(province, "Giao ban", province, Priority::Priority, at(1, 0, 12));
            let minute = number as i64 % 5;
            let evening = day.gives(province, "Tin tỉnh", province, Priority::Normal, at(12, minute, 0));
            own.insert(province.to_owned(), (meeting, evening));
        }
        day.gives("commune", "Tin xã", "vn/01/00001", Priority::Normal, at(12, 0, 10));
        let first = vec![own["vn/01"].0.broadcast];
        let prefer = Request::Prefer { areas: vec![area("vn/01/00001")], broadcasts: first, lasting: 2 * HOUR };
        assert!(matches!(day.world.request("commune", prefer), Some(Reply::Done { .. })));
        // A neighbour's speakers, and above one's rank nothing: refused where it is given.
        let foreign = day.world.air(shaken, &Bulletin::emergency(drilled, LENGTH));
        assert!(foreign.is_err_and(|error| error.contains("order.scope")));

        day.world.run_until(at(4, 0, 0));
        let drill = day.wakes(drilled, "Diễn tập", drilled, Purpose::Exercise, LENGTH);
        day.world.run_until(at(5, 0, 0));
        day.world.partition(cut_off, "origin", 6 * HOUR);
        day.world.run_until(at(6, 0, 0));
        day.gives("origin", "Đặc biệt", "vn", Priority::Priority, at(9, 0, 0));
        day.world.cancel("origin", farming.broadcast).unwrap();
        // Cut off, a province speaks to its own all the same, live.
        day.world.run_until(at(8, 0, 0));
        let spoken = day.airs(cut_off, "Tỉnh nói", &Bulletin { live: true, ..Bulletin::new(cut_off, LENGTH) });
        day.world.run_until(at(10, 8, 0));
        let flood = day.wakes("origin", "Lũ quét", cut_off, Purpose::Real, FLOOD);
        day.world.run_until(at(11, 5, 0));
        day.world.cancel(spared, own[spared].1.broadcast).unwrap();
        day.world.run_until(at(14, 0, 0));
        let parliament = day.airs("origin", "Quốc hội", &Bulletin { live: true, ..Bulletin::new("vn", LIVE) });
        day.world.run_until(at(14, 0, 40));
        let quake = day.wakes(shaken, "Động đất", shaken, Purpose::Real, LENGTH);
        day.world.run_until(at(15, 0, 0));
        day.world.hush(hushed, hushed, 10 * MINUTE).unwrap();
        day.world.run_until(at(16, 0, 0));

        let quake_from = quake.sounds - EPOCH;
        let live_from = parliament.sounds - EPOCH;
        for province in provinces.iter().map(Area::as_str) {
            let number = provinces.iter().position(|other| other.as_str() == province).unwrap() as i64;
            let mut expected: Vec<Run> = Vec::new();
            let mut sounds = |title: &str, from: i64, until: i64| expected.push((title.to_owned(), from, until));
            if province == "vn/01" {
                // What is preferred has the loudspeaker from a playout delay before it sounds.
                sounds("Thời sự", at(1, 0, 0), at(1, 0, 11));
                sounds("Giao ban", at(1, 0, 12), at(1, 0, 36));
            } else {
                sounds("Thời sự", at(1, 0, 0), at(1, 0, 24));
                sounds("Giao ban", at(1, 0, 24), at(1, 0, 36));
            }
            if province == drilled {
                let from = speech(&drill, Purpose::Exercise);
                sounds("Diễn tập", from, from + LENGTH);
            }
            sounds("Trưa", at(7, 0, 0), at(7, 0, 24));
            if province == cut_off {
                let from = spoken.sounds - EPOCH;
                sounds("Tỉnh nói", from, from + LENGTH);
                // It has not heard that this was cancelled, nor of what came in its place.
                sounds("Nông vụ", at(10, 3, 0), at(10, 3, 24));
            } else {
                sounds("Đặc biệt", at(9, 0, 0), at(9, 0, 24));
            }
            if province != spared {
                sounds("Tin tỉnh", at(12, number % 5, 0), at(12, number % 5, 24));
            }
            if province == "vn/01" {
                sounds("Tin xã", at(12, 0, 24), at(12, 0, 34));
            }
            if province == shaken {
                let from = speech(&quake, Purpose::Real);
                sounds("Quốc hội", live_from, quake_from);
                sounds("Động đất", from, from + LENGTH);
                sounds("Quốc hội", from + LENGTH, live_from + LIVE);
            } else {
                sounds("Quốc hội", live_from, live_from + LIVE);
            }
            if province != hushed {
                sounds("Tối", at(15, 0, 30), at(15, 0, 54));
            }
            let mut heard = day.heard(&format!("{province}/00001"));
            if province == cut_off {
                // Still in force when it is back: from then on, within seconds.
                let late = heard.iter().position(|(title, _, _)| title == "Lũ quét").expect("the emergency");
                let (_, from, until) = heard.remove(late);
                assert!((at(11, 0, 0)..at(11, 0, 15)).contains(&from), "{from}");
                assert!((until - (speech(&flood, Purpose::Real) + FLOOD)).abs() < NEAR, "{until}");
            }
            agree(province, &heard, &expected);
        }
        assert_eq!(day.world.faults(), Default::default());

        // As those who gave it know it.
        let mut known = |node: &str, aired: &Aired| {
            let asked = Request::Receipts { after: 0, order: Some(aired.broadcast) };
            let Some(Reply::Receipts { accounts, .. }) = day.world.request(node, asked) else { panic!("no answer") };
            let mut total = Tally::default();
            accounts.iter().flat_map(|account| account.areas.values()).for_each(|tally| total.merge(tally));
            total.counts().filter(|(_, count)| *count > 0).collect::<BTreeMap<Outcome, u32>>()
        };
        // All but one heard it whole; there the other was preferred.
        assert_eq!(known("origin", &news), [(Outcome::Played, 33), (Outcome::Preempted, 1)].into());
        assert_eq!(known("origin", &farming), [(Outcome::Cancelled, 33), (Outcome::Played, 1)].into());
        assert_eq!(known(shaken, &quake), BTreeMap::from([(Outcome::Played, 1)]));
        assert_eq!(known(spared, &own[spared].1), BTreeMap::from([(Outcome::Cancelled, 1)]));
    });
}
