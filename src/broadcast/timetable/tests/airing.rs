//! What is given, once each, whatever happens on the way.

use super::super::airing::*;
use super::*;
use crate::time::SECOND;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const NOW: Civil = Civil(1_800_000_000 * SECOND);
const HOUR: i64 = 3_600 * SECOND;

fn item(number: u64, start: i64, minutes: i64) -> Item {
    let length = minutes * MINUTE;
    Item {
        entry: Uuid::from_u128(number.into()),
        title: format!("Bản tin {number}"),
        priority: Priority::Normal,
        plays: Plays::Media { sha256: "ab".repeat(32), length },
        start: NOW + start,
        end: NOW + start + length,
    }
}

fn live(number: u64, start: i64, minutes: i64) -> Item {
    let plays = Plays::Live { name: "vov1".into(), limit: minutes * MINUTE };
    Item { plays, ..item(number, start, minutes) }
}

fn wanted(item: Item, areas: &[&str]) -> Wanted {
    Wanted { item, areas: areas.iter().map(|text| area(text)).collect() }
}

/// A node around the machine: its book, its disk, a record of what was given.
struct Node {
    airings: Airings,
    now: Civil,
    book: BTreeMap<Uuid, (Part, Listed)>,
    disk: Vec<Record>,
    given: Vec<Uuid>,
    opened: Vec<(Uuid, Part)>,
    told: Vec<Tell>,
    /// Gives and writes fail.
    broken: bool,
    starts: u8,
}

impl Node {
    fn new() -> Self {
        let airings = Airings::new([0; 32], Vec::new());
        let (book, disk, given, opened, told) = Default::default();
        Self { airings, now: NOW, book, disk, given, opened, told, broken: false, starts: 0 }
    }

    fn plan(&mut self, wanted: &[Wanted]) {
        self.plan_stopping(wanted, &[]);
    }

    fn plan_stopping(&mut self, wanted: &[Wanted], stop: &[u64]) {
        let stop = stop.iter().map(|number| Uuid::from_u128((*number).into())).collect();
        self.airings.handle_plan(self.now, self.now + 96 * HOUR, wanted.to_vec(), &stop, &|_| 600);
    }

    /// One thing; false when there is nothing to do.
    fn step(&mut self) -> bool {
        let Some(output) = self.airings.poll_output(Some(self.now)) else { return false };
        match output {
            Output::List => {
                let listed = self.book.iter().map(|(id, (part, listed))| {
                    (*id, if *listed == Listed::Known && part.item.end <= self.now { Listed::Ended } else { *listed })
                });
                let listed = listed.collect();
                self.airings.handle_listed(self.now, &listed);
            }
            Output::Keep => {
                if !self.broken {
                    self.disk = read(&write(self.airings.records())).expect("what was written is read");
                }
                self.airings.handle_kept(self.now, !self.broken);
            }
            Output::Give { id, .. } if self.broken => {
                self.airings.handle_given(self.now, id, Err(Fault::new("media.unknown", "it is missing")));
            }
            Output::Give { id, part } => {
                self.give(id, part);
                self.airings.handle_given(self.now, id, Ok(()));
            }
            Output::Cancel { id } => {
                if let Some((_, listed)) = self.book.get_mut(&id) {
                    *listed = Listed::Cancelled;
                }
                self.airings.handle_cancelled(self.now, id, Ok(()));
            }
            Output::Open { id, part } => self.opened.push((id, part)),
            Output::Close { id } => self.airings.handle_over(self.now, id, None, false),
        }
        true
    }

    fn give(&mut self, id: Uuid, part: Part) {
        assert!(self.disk.iter().any(|record| record.id == id), "{id} was given before its id was on disk");
        assert!(part.item.start >= self.now, "{part:?} was given late");
        assert!(!self.book.contains_key(&id), "{id} was given twice");
        self.given.push(id);
        self.book.insert(id, (part, Listed::Known));
    }

    fn run(&mut self) {
        for _ in 0..10_000 {
            if !self.step() {
                while let Some(tell) = self.airings.poll_tell() {
                    self.told.push(tell);
                }
                return;
            }
        }
        panic!("it never comes to rest");
    }

    /// The power is cut and comes back; what stood in the book stands there.
    fn crash(&mut self) {
        self.starts += 1;
        self.airings = Airings::new([self.starts; 32], self.disk.clone());
    }

    /// Start in minutes from now, and areas, of all that is to sound.
    fn stands(&self) -> Vec<(i64, String)> {
        let standing = self.book.values().filter(|(part, listed)| *listed == Listed::Known && part.item.end > self.now);
        let shown = standing.map(|(part, _)| {
            let areas: Vec<&str> = part.areas.iter().map(Area::as_str).collect();
            ((part.item.start - NOW) / MINUTE, areas.join(" "))
        });
        let mut shown: Vec<_> = shown.collect();
        shown.sort();
        shown
    }

    fn shown(&self) -> Vec<Shown> {
        self.airings.records().map(|record| record.shown(self.now)).collect()
    }
}

fn listed(rows: &[(i64, &str)]) -> Vec<(i64, String)> {
    rows.iter().map(|(at, areas)| (*at, (*areas).to_owned())).collect()
}

#[test]
fn what_is_nearest_is_given_first_and_planning_again_gives_nothing_more() {
    let mut node = Node::new();
    let plan = [wanted(item(1, 2 * HOUR, 10), &["vn/01"]), wanted(item(2, HOUR, 10), &["vn/01", "vn/02"])];
    node.plan(&plan);
    node.run();
    assert_eq!(node.stands(), listed(&[(60, "vn/01 vn/02"), (120, "vn/01")]));
    assert_eq!(node.book[&node.given[0]].0.item.start, NOW + HOUR);
    node.plan(&plan);
    node.run();
    assert_eq!(node.given.len(), 2);
    assert_eq!(node.airings.reaches(NOW), 96 * HOUR);
}

#[test]
fn a_change_touches_what_it_changes_and_nothing_else() {
    let mut node = Node::new();
    node.plan(&[wanted(item(1, HOUR, 10), &["vn/01", "vn/02"]), wanted(item(2, 2 * HOUR, 10), &["vn/01"])]);
    node.run();
    let first = node.given.clone();
    // The second is renamed; a third comes.
    let renamed = Item { title: "Bản tin mới".into(), ..item(2, 2 * HOUR, 10) };
    node.plan(&[
        wanted(item(1, HOUR, 10), &["vn/01", "vn/02"]),
        wanted(renamed, &["vn/01"]),
        wanted(item(3, 3 * HOUR, 10), &["vn"]),
    ]);
    node.run();
    assert_eq!(node.book[&first[0]].1, Listed::Known);
    assert_eq!(node.book[&first[1]].1, Listed::Cancelled);
    assert_eq!(node.stands(), listed(&[(60, "vn/01 vn/02"), (120, "vn/01"), (180, "vn")]));
    // One more area is one more order; one fewer takes its order back.
    node.plan(&[wanted(item(1, HOUR, 10), &["vn/01", "vn/02", "vn/03"])]);
    node.run();
    assert_eq!(node.stands(), listed(&[(60, "vn/01 vn/02"), (60, "vn/03")]));
    node.plan(&[wanted(item(1, HOUR, 10), &["vn/02", "vn/03"])]);
    node.run();
    assert_eq!(node.stands(), listed(&[(60, "vn/02"), (60, "vn/03")]));
    // And back again: what was taken back is no obstacle.
    node.plan(&[wanted(item(1, HOUR, 10), &["vn/01", "vn/02", "vn/03"])]);
    node.run();
    assert_eq!(node.stands(), listed(&[(60, "vn/01"), (60, "vn/02"), (60, "vn/03")]));
}

#[test]
fn what_sounds_goes_on_to_its_end_unless_it_is_to_stop_now() {
    let mut node = Node::new();
    node.plan(&[wanted(item(1, HOUR, 10), &["vn/01"])]);
    node.run();
    node.now = NOW + HOUR + 5 * MINUTE;
    // Moved by seven minutes, it would overlap with itself where it sounds, and nowhere else.
    node.plan(&[wanted(item(1, HOUR + 7 * MINUTE, 10), &["vn/01", "vn/02"])]);
    node.run();
    assert_eq!(node.stands(), listed(&[(60, "vn/01"), (67, "vn/02")]));
    node.plan_stopping(&[], &[1]);
    node.run();
    assert_eq!(node.stands(), []);
}

#[test]
fn a_missing_file_is_told_once_tried_again_and_given_when_it_is_there() {
    let mut node = Node::new();
    node.plan(&[wanted(item(1, HOUR, 10), &["vn/01"])]);
    node.step();
    node.step();
    node.broken = true;
    node.run();
    assert!(matches!(&node.told[..], [Tell::Fault { fault, .. }] if fault.code == "media.unknown"), "{:?}", node.told);
    assert_eq!((node.shown(), node.airings.reaches(NOW)), (vec![Shown::Refused], HOUR));
    node.now = NOW + 4 * MINUTE;
    node.run();
    assert_eq!(node.told.len(), 1, "the same is not told again");
    node.broken = false;
    node.now = NOW + 8 * MINUTE;
    node.run();
    assert_eq!(node.stands(), listed(&[(60, "vn/01")]));
    assert_eq!(node.shown(), [Shown::Given]);
}

#[test]
fn what_comes_too_late_is_missed_and_not_aired_late() {
    let mut node = Node::new();
    node.plan(&[wanted(item(1, HOUR, 10), &["vn/01"]), wanted(item(2, -MINUTE, 10), &["vn/01"])]);
    node.step();
    // The clock is set forward over the slot.
    node.now = NOW + HOUR + 1;
    node.run();
    assert_eq!((node.given.len(), node.shown()), (0, vec![Shown::Missed]));
    assert!(matches!(&node.told[..], [Tell::Missed { .. }]));
    node.plan(&[wanted(item(1, HOUR, 10), &["vn/01"])]);
    node.run();
    assert_eq!(node.given.len(), 0);
}

#[test]
fn without_time_nothing_is_given() {
    let mut airings = Airings::new([1; 32], Vec::new());
    airings.handle_plan(NOW, NOW + HOUR, vec![wanted(item(1, MINUTE, 1), &["vn"])], &BTreeSet::new(), &|_| 600);
    assert_eq!(airings.poll_output(None), None);
    assert_eq!(airings.poll_output(Some(NOW)), Some(Output::List));
}

#[test]
fn what_a_person_took_off_the_air_is_not_given_again() {
    let mut node = Node::new();
    let plan = [wanted(item(1, HOUR, 10), &["vn/01"])];
    node.plan(&plan);
    node.run();
    node.book.get_mut(&node.given[0]).unwrap().1 = Listed::Cancelled;
    node.crash();
    node.plan(&plan);
    node.run();
    assert_eq!((node.given.len(), node.shown()), (1, vec![Shown::Cancelled]));
}

#[test]
fn what_is_taken_back_while_the_disk_is_full_is_cancelled_in_time_and_given_again_when_it_is_wanted_again() {
    let mut node = Node::new();
    let plan = [wanted(item(1, HOUR, 10), &["vn/01"])];
    node.plan(&plan);
    node.run();
    node.broken = true;
    node.plan(&[]);
    node.run();
    assert_eq!(node.stands(), listed(&[(60, "vn/01")]), "no record of it is on disk");
    node.now = NOW + HOUR - MINUTE;
    node.run();
    assert_eq!(node.stands(), []);
    // The other way round: the power is cut before the disk has room again.
    let mut node = Node::new();
    node.plan(&plan);
    node.run();
    node.broken = true;
    node.plan(&[]);
    node.run();
    node.crash();
    node.broken = false;
    node.plan(&plan);
    node.run();
    assert_eq!(node.stands(), listed(&[(60, "vn/01")]));
}

#[test]
fn what_is_live_does_not_wait_for_a_full_disk_to_learn_of_what_it_takes_the_place_of() {
    let mut node = Node::new();
    node.plan(&[wanted(item(1, HOUR + 30 * MINUTE, 10), &["vn/01"])]);
    node.run();
    node.broken = true;
    node.plan(&[wanted(live(2, HOUR, 60), &["vn/01"])]);
    node.run();
    assert_eq!(node.stands(), listed(&[(90, "vn/01")]));
    node.now = node.airings.poll_timeout().max(NOW + HOUR - 2 * MINUTE);
    node.run();
    assert_eq!(node.stands(), []);
    node.now = NOW + HOUR - OPEN_AHEAD;
    node.run();
    assert_eq!(node.opened.len(), 1);
}

#[test]
fn a_disk_that_takes_nothing_is_not_asked_all_the_time() {
    let mut node = Node::new();
    node.plan(&[wanted(item(1, HOUR, 10), &["vn/01"])]);
    node.run();
    node.broken = true;
    node.plan(&[]);
    node.run();
    assert!(node.airings.poll_timeout() >= NOW + 10 * SECOND, "{:?}", node.airings.poll_timeout());
}

#[test]
fn a_live_source_that_was_being_closed_when_the_power_went_is_in_nobodys_way() {
    let mut node = Node::new();
    node.plan(&[wanted(live(1, HOUR, 10), &["vn/01"])]);
    node.now = NOW + HOUR + MINUTE;
    node.run();
    node.plan_stopping(&[], &[1]);
    assert!(matches!(node.airings.poll_output(Some(node.now)), Some(Output::Close { .. })));
    // What it says of its end comes while the records are being written.
    node.step();
    node.crash();
    let after = [wanted(live(2, HOUR + 2 * MINUTE, 5), &["vn/01"])];
    node.plan(&after);
    node.now = NOW + HOUR + 3 * MINUTE;
    node.run();
    assert_eq!(node.opened.len(), 2);
}

#[test]
fn what_changes_while_the_records_are_written_is_written_next() {
    let mut node = Node::new();
    node.plan(&[wanted(live(1, HOUR, 10), &["vn/01"])]);
    node.now = NOW + HOUR + MINUTE;
    node.run();
    let id = node.opened[0].0;
    node.airings.handle_on_air(id);
    assert_eq!(node.airings.poll_output(Some(node.now)), Some(Output::Keep));
    node.airings.handle_over(node.now, id, Some(Fault::new("live.stream", "nobody answers")), false);
    node.airings.handle_kept(node.now, true);
    assert_eq!(node.airings.poll_output(Some(node.now)), Some(Output::Keep));
}

#[test]
fn an_order_that_the_node_has_lost_is_given_again_by_its_id() {
    let mut node = Node::new();
    let plan = [wanted(item(1, HOUR, 10), &["vn/01"])];
    node.plan(&plan);
    node.run();
    node.book.clear();
    node.crash();
    node.plan(&plan);
    node.run();
    assert_eq!(node.given[0], node.given[1]);
}

#[test]
fn an_airing_for_many_areas_becomes_several_orders_that_fit() {
    let areas: Vec<String> = (0..200).map(|number| format!("vn/01/{number:05}")).collect();
    let areas: Vec<&str> = areas.iter().map(String::as_str).collect();
    let mut node = Node::new();
    node.plan(&[wanted(item(1, HOUR, 10), &areas)]);
    node.run();
    let mut all = BTreeSet::new();
    for (part, _) in node.book.values() {
        let bytes: usize = part.areas.iter().map(|area| area.as_str().len() + 2).sum();
        assert!(part.areas.len() <= 64 && bytes <= 600, "{} areas, {bytes} bytes", part.areas.len());
        assert!(part.areas.iter().all(|area| all.insert(area.clone())), "an area twice");
    }
    assert_eq!((all.len(), node.book.len()), (200, 5));
}

#[test]
fn a_live_source_is_opened_shortly_before_its_time_and_again_if_it_fails() {
    let mut node = Node::new();
    node.plan(&[wanted(live(1, HOUR, 10), &["vn/01"])]);
    node.run();
    assert!(node.opened.is_empty());
    node.now = NOW + HOUR - OPEN_AHEAD;
    node.run();
    let id = node.opened[0].0;
    node.airings.handle_over(node.now, id, Some(Fault::new("live.stream", "nobody answers")), false);
    node.run();
    assert_eq!((node.opened.len(), node.told.len(), node.shown()), (1, 1, vec![Shown::Refused]));
    node.now = NOW + HOUR + MINUTE;
    node.run();
    assert_eq!(node.opened.len(), 2, "within its slot it is opened again");
    node.airings.handle_on_air(id);
    assert_eq!(node.shown(), [Shown::Sounding]);
    // The process ends: a live broadcast ends with it, and the slot goes on.
    node.run();
    node.crash();
    node.plan(&[wanted(live(1, HOUR, 10), &["vn/01"])]);
    node.run();
    assert_eq!(node.opened.len(), 3);
    node.now = NOW + HOUR + 10 * MINUTE;
    node.airings.handle_over(node.now, id, None, false);
    node.run();
    assert_eq!((node.opened.len(), node.shown()), (3, vec![Shown::Aired]));
}

#[test]
fn a_live_source_that_no_longer_stands_is_closed_if_it_is_to_stop_now() {
    let mut node = Node::new();
    node.plan(&[wanted(live(1, HOUR, 10), &["vn/01"])]);
    node.now = NOW + HOUR + MINUTE;
    node.run();
    node.plan(&[]);
    node.run();
    assert_eq!(node.shown(), [Shown::Given], "it goes on");
    node.plan_stopping(&[], &[1]);
    node.run();
    assert_eq!(node.shown(), [Shown::Cancelled]);
}

/// What may happen between two plans.
#[derive(Clone, Debug)]
enum Act {
    Plan(Vec<(u64, i64, i64, Vec<usize>)>),
    Steps(u8),
    Crash,
    /// The order is in the book, and nobody heard so.
    GiveAndCrash,
    Pass(i64),
    Break(bool),
}

const PLACES: [&str; 4] = ["vn/01", "vn/02", "vn/03/1", "vn/03/2"];

fn some_act() -> impl Strategy<Value = Act> {
    let row = (0_u64..4, 0_i64..24, 1_i64..3, proptest::collection::vec(0_usize..PLACES.len(), 1..4));
    prop_oneof![
        4 => proptest::collection::vec(row, 0..6).prop_map(Act::Plan),
        4 => (0_u8..12).prop_map(Act::Steps),
        1 => Just(Act::Crash),
        1 => Just(Act::GiveAndCrash),
        2 => (1_i64..40).prop_map(Act::Pass),
        1 => any::<bool>().prop_map(Act::Break),
    ]
}

/// Half hours and quarters of them, as plans are: no two at once in one place.
fn plan_of_rows(rows: &[(u64, i64, i64, Vec<usize>)]) -> Vec<Wanted> {
    let mut taken: BTreeSet<(usize, i64)> = BTreeSet::new();
    let mut plan: BTreeMap<(u64, i64, i64), BTreeSet<&str>> = BTreeMap::new();
    for (number, slot, length, places) in rows {
        for place in places {
            let slots = *slot..slot + length;
            if slots.clone().all(|slot| !taken.contains(&(*place, slot))) {
                taken.extend(slots.map(|slot| (*place, slot)));
                plan.entry((*number, *slot, *length)).or_default().insert(PLACES[*place]);
            }
        }
    }
    let wanted = |((number, slot, length), places): ((u64, i64, i64), BTreeSet<&str>)| {
        wanted(item(number, slot * 15 * MINUTE, length * 15), &places.into_iter().collect::<Vec<_>>())
    };
    plan.into_iter().map(wanted).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn however_often_it_is_planned_and_cut_off_each_sounds_once_and_no_two_at_once(
        acts in proptest::collection::vec(some_act(), 1..30)
    ) {
        let mut node = Node::new();
        let mut plan = Vec::new();
        for act in acts {
            match act {
                Act::Plan(rows) => {
                    plan = plan_of_rows(&rows);
                    node.plan(&plan);
                }
                Act::Steps(count) => (0..count).for_each(|_| {
                    node.step();
                }),
                Act::Crash => {
                    node.crash();
                    node.plan(&plan);
                }
                Act::GiveAndCrash => {
                    if let Some(Output::Give { id, part }) = node.airings.poll_output(Some(node.now)) {
                        node.give(id, part);
                    }
                    node.crash();
                    node.plan(&plan);
                }
                Act::Pass(minutes) => node.now += minutes * MINUTE,
                Act::Break(broken) => node.broken = broken,
            }
            let known: Vec<&Part> =
                node.book.values().filter(|(_, listed)| *listed == Listed::Known).map(|(part, _)| part).collect();
            for (number, one) in known.iter().enumerate() {
                for other in &known[number + 1..] {
                    prop_assert!(!one.meets(other), "{:?} and {:?} sound at once", one, other);
                }
            }
        }
        node.broken = false;
        node.now += 4 * MINUTE;
        node.plan(&plan);
        node.run();
        // What is yet to come, and is not shadowed by what sounds now, stands exactly once.
        let standing: Vec<&Part> =
            node.book.values().filter(|(_, listed)| *listed == Listed::Known).map(|(part, _)| part).collect();
        for wish in plan.iter().filter(|wish| wish.item.start > node.now + MINUTE) {
            for place in &wish.areas {
                let one = Part { item: wish.item.clone(), areas: vec![place.clone()] };
                let stale = standing.iter().any(|part| part.item.start <= node.now && part.meets(&one));
                let count = standing.iter().filter(|part| part.item == wish.item && part.areas.contains(place)).count();
                prop_assert!(stale || count == 1, "{:?} in {} stands {} times", wish.item, place, count);
            }
        }
        for part in standing.iter().filter(|part| part.item.start > node.now) {
            let asked = plan.iter().any(|wish| wish.item == part.item);
            prop_assert!(asked, "{:?} stands and is not asked for", part);
        }
    }
}
