//! Receipts on the simulator: who played what, who did not and why, as the origin knows it. A failure prints its seed.

mod seed;

use loa::broadcast::Kind;
use loa::broadcast::Stagger;
use loa::broadcast::receipt::{Outcome, Tally};
use loa::node::trunk::{Account, Change, Reply, Request, Turn};
use loa::sim::{Aired, Bulletin, Conditions, EPOCH, Hop, Tree, World};
use loa::time::SECOND;
use seed::each_seed;
use uuid::Uuid;

const SPEAKERS: [&str; 4] = ["a", "b", "c", "d"];
const SEEDS: u64 = 4;

/// ```text
///            origin vn
///              │
///           north vn/01
///        ┌─────┴──────┐
///   one vn/01/00001   two vn/01/00002
///       a  b              c  d
/// ```
fn tree(seed: u64) -> Tree {
    let above = Hop::both(Conditions::clean(10_000, 2_000));
    let last = Hop::both(Conditions::clean(25_000, 10_000));
    let mut tree = Tree::new(seed);
    tree.err_by(50.0).origin("origin", "vn").relay("north", "vn/01", "origin", above.clone());
    tree.relay("one", "vn/01/00001", "north", above.clone()).relay("two", "vn/01/00002", "north", above);
    for (name, area, parent) in [
        ("a", "vn/01/00001", "one"),
        ("b", "vn/01/00001", "one"),
        ("c", "vn/01/00002", "two"),
        ("d", "vn/01/00002", "two"),
    ] {
        tree.speaker(name, area, parent, last.clone());
    }
    tree
}

fn world(seed: u64) -> World {
    let mut world = World::new(tree(seed));
    world.run_for(20 * SECOND);
    world
}

/// Of one order, as a node knows it.
fn account(world: &mut World, node: &str, order: Uuid) -> Account {
    match world.request(node, Request::Receipts { after: 0, order: Some(order) }) {
        Some(Reply::Receipts { mut accounts, .. }) if accounts.len() == 1 => accounts.remove(0),
        other => panic!("{node} says {other:?}"),
    }
}

fn total(account: &Account) -> Tally {
    let mut total = Tally::default();
    account.areas.values().for_each(|tally| total.merge(tally));
    total
}

/// (outcome, how many) of all that are not zero.
fn counts(account: &Account) -> Vec<(Outcome, u32)> {
    total(account).counts().filter(|(_, count)| *count > 0).collect()
}

fn named(account: &Account) -> Vec<(String, Outcome)> {
    let mut names: Vec<_> = account.named.iter().map(|(named, name)| (name.clone(), named.outcome)).collect();
    names.sort();
    names
}

fn name(name: &str, outcome: Outcome) -> (String, Outcome) {
    (name.to_owned(), outcome)
}

fn air(world: &mut World, seconds: i64) -> Aired {
    world.air("origin", &Bulletin::new("vn", seconds * SECOND)).expect("on the air")
}

/// One of a cancel or hush.
fn only(world: &mut World, kind: Kind) -> Account {
    let Some(Reply::Receipts { accounts, .. }) = world.request("origin", Request::Receipts { after: 0, order: None })
    else {
        panic!("no answer")
    };
    let found: Vec<Account> = accounts.into_iter().filter(|account| account.heard.kind == kind).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_iter().next().unwrap()
}

#[test]
fn who_plays_all_is_counted_with_the_hash_of_what_it_played_and_the_instants() {
    each_seed(SEEDS, |seed| {
        let mut world = world(seed);
        let aired = air(&mut world, 6);
        world.run_for(4 * SECOND);
        let during = account(&mut world, "north", aired.broadcast);
        assert!(total(&during).reached() == 4, "within three seconds and a sum: {:?}", counts(&during));
        world.run_for(20 * SECOND);
        for node in ["origin", "north"] {
            let account = account(&mut world, node, aired.broadcast);
            assert_eq!(counts(&account), [(Outcome::Played, 4)], "{node}");
            assert!(account.named.is_empty() && account.unnamed == 0, "{node}: {:?}", account.named);
            let tally = total(&account);
            assert_eq!(account.audio.len(), 1);
            assert_eq!(tally.audio.into_iter().collect::<Vec<_>>(), [(account.audio[&aired.track], 4)], "{node}");
            let (from, to) = (tally.from.unwrap(), tally.to.unwrap());
            assert!((from - aired.sounds).abs() < 20_000, "{from:?} {aired:?}");
            let lasts = loa::time::micros(aired.samples);
            assert!((to - from - lasts).abs() < 40_000, "{} µs of {lasts}", to - from);
        }
        let origin = account(&mut world, "origin", aired.broadcast);
        assert_eq!((origin.relays, origin.relays_reached), (3, 3));
        let areas: Vec<_> = origin.areas.iter().map(|(area, tally)| (area.as_str(), tally.expected())).collect();
        assert_eq!(areas, [("vn/01/00001", 2), ("vn/01/00002", 2)]);
    });
}

#[test]
fn who_is_off_is_not_reached_within_thirty_seconds_and_says_that_it_missed_it_when_it_is_back() {
    each_seed(SEEDS, |seed| {
        let mut world = world(seed);
        world.kill("a");
        let aired = world.air("origin", &Bulletin::emergency("vn", 6 * SECOND)).expect("on the air");
        world.run_for(29 * SECOND);
        let account_then = account(&mut world, "origin", aired.broadcast);
        let names = named(&account_then);
        assert_eq!(names.len(), 1, "{names:?}");
        assert!(names[0] == name("a", Outcome::NotReached) || names[0] == name("a", Outcome::Unknown), "{names:?}");
        world.run_for(300 * SECOND);
        world.start("a");
        world.run_for(30 * SECOND);
        let account = account(&mut world, "origin", aired.broadcast);
        assert_eq!(named(&account), [name("a", Outcome::Missed)]);
        assert_eq!(counts(&account), [(Outcome::Played, 3), (Outcome::Missed, 1)]);
    });
}

#[test]
fn who_was_off_from_before_until_it_was_over_is_not_reached() {
    each_seed(SEEDS, |seed| {
        let mut world = world(seed);
        world.kill("a");
        world.run_for(60 * SECOND);
        let aired = air(&mut world, 30);
        world.run_for(15 * SECOND);
        let account_then = account(&mut world, "origin", aired.broadcast);
        assert_eq!(named(&account_then), [name("a", Outcome::Unknown)], "it is not over");
        world.run_for(60 * SECOND);
        let account = account(&mut world, "origin", aired.broadcast);
        assert_eq!(named(&account), [name("a", Outcome::NotReached)]);
        assert_eq!(counts(&account), [(Outcome::Played, 3), (Outcome::NotReached, 1)]);
    });
}

#[test]
fn who_is_cut_off_is_unknown_and_played_what_it_had_cached_though_it_was_restarted_meanwhile() {
    each_seed(SEEDS, |seed| {
        let mut world = world(seed);
        let at = Some(world.civil() + 120 * SECOND);
        let bulletin = Bulletin { at, ..Bulletin::new("vn", 6 * SECOND) };
        let aired = world.air("origin", &bulletin).expect("accepted");
        world.run_for(70 * SECOND);
        let cached = account(&mut world, "origin", aired.broadcast);
        assert_eq!(counts(&cached), [(Outcome::Cached, 4)]);
        world.partition("a", "one", 200 * SECOND);
        world.run_for(80 * SECOND);
        let cut = account(&mut world, "origin", aired.broadcast);
        assert_eq!(named(&cut), [name("a", Outcome::Unknown)]);
        assert_eq!(counts(&cut), [(Outcome::Played, 3), (Outcome::Unknown, 1)]);
        world.restart("a");
        world.run_for(180 * SECOND);
        let back = account(&mut world, "origin", aired.broadcast);
        assert_eq!(counts(&back), [(Outcome::Played, 4)], "{:?}", named(&back));
    });
}

#[test]
fn what_an_emergency_cuts_into_says_so_and_by_what() {
    each_seed(SEEDS, |seed| {
        let mut world = world(seed);
        let aired = air(&mut world, 25);
        world.run_for(6 * SECOND);
        let emergency = world.air("origin", &Bulletin::emergency("vn/01/00001", 4 * SECOND)).expect("on the air");
        world.run_for(50 * SECOND);
        let cut = account(&mut world, "origin", aired.broadcast);
        let mut names: Vec<_> = cut.named.iter().map(|(named, name)| (name.as_str(), named.by)).collect();
        names.sort_unstable();
        assert_eq!(names, [("a", Some(emergency.broadcast)), ("b", Some(emergency.broadcast))]);
        assert!(cut.named.iter().all(|(named, _)| matches!(named.outcome, Outcome::Preempted | Outcome::Partly)));
        assert_eq!(total(&cut).count(Outcome::Played), 2);
        let urgent = account(&mut world, "origin", emergency.broadcast);
        assert_eq!(counts(&urgent), [(Outcome::Played, 2)], "whom it does not concern is not expected");
    });
}

#[test]
fn a_hush_is_received_and_what_it_silences_says_so() {
    each_seed(SEEDS, |seed| {
        let mut world = world(seed);
        let aired = air(&mut world, 20);
        world.run_for(6 * SECOND);
        world.hush("origin", "vn/01/00002", 60 * SECOND).expect("hushed");
        world.run_for(40 * SECOND);
        let hush = only(&mut world, Kind::Hush);
        assert_eq!(counts(&hush), [(Outcome::Received, 2)]);
        let hushed = account(&mut world, "origin", aired.broadcast);
        assert_eq!(named(&hushed), [name("c", Outcome::Hushed), name("d", Outcome::Hushed)]);
        assert_eq!(counts(&hushed), [(Outcome::Played, 2), (Outcome::Hushed, 2)]);
    });
}

#[test]
fn a_cancel_is_received_and_what_it_ends_is_cancelled_and_not_an_exception() {
    each_seed(SEEDS, |seed| {
        let mut world = world(seed);
        let aired = air(&mut world, 20);
        world.run_for(6 * SECOND);
        world.cancel("origin", aired.broadcast).expect("cancelled");
        world.run_for(20 * SECOND);
        let cancelled = account(&mut world, "origin", aired.broadcast);
        assert_eq!(counts(&cancelled), [(Outcome::Cancelled, 4)]);
        assert!(cancelled.named.is_empty());
        let tally = total(&cancelled);
        let lasted = tally.to.unwrap() - tally.from.unwrap();
        assert!((3 * SECOND..8 * SECOND).contains(&lasted), "{lasted}");
        assert_eq!(counts(&only(&mut world, Kind::Cancel)), [(Outcome::Received, 4)]);
    });
}

#[test]
fn a_relay_that_restarts_in_the_middle_loses_nobody_and_counts_nobody_twice() {
    each_seed(SEEDS, |seed| {
        let mut world = world(seed);
        let aired = air(&mut world, 20);
        world.run_for(8 * SECOND);
        world.restart("one");
        world.run_for(60 * SECOND);
        let account = account(&mut world, "origin", aired.broadcast);
        let tally = total(&account);
        assert_eq!((tally.expected(), tally.reached()), (4, 4), "{:?}", counts(&account));
        assert!(tally.count(Outcome::Played) >= 2, "{:?}", counts(&account));
        assert_eq!(tally.count(Outcome::Played) + tally.count(Outcome::Partly), 4, "{:?}", counts(&account));
    });
}

#[test]
fn what_was_acknowledged_is_known_although_the_node_is_gone_and_its_relay_restarted() {
    each_seed(SEEDS, |seed| {
        let mut world = world(seed);
        let aired = air(&mut world, 6);
        world.run_for(20 * SECOND);
        world.kill("a");
        world.restart("one");
        world.run_for(60 * SECOND);
        let after = account(&mut world, "origin", aired.broadcast);
        assert_eq!(counts(&after), [(Outcome::Played, 4)]);
        // And so it is for who asks the province, which restarts too.
        world.restart("north");
        world.run_for(60 * SECOND);
        let after = account(&mut world, "north", aired.broadcast);
        assert_eq!(counts(&after), [(Outcome::Played, 4)]);
    });
}

#[test]
fn a_restart_never_makes_of_what_was_played_something_that_was_received() {
    each_seed(SEEDS, |seed| {
        let mut world = world(seed);
        let aired = air(&mut world, 6);
        world.run_for(20 * SECOND);
        for _ in 0..2 {
            world.restart("a");
            world.run_for(15 * SECOND);
            let account = account(&mut world, "origin", aired.broadcast);
            assert_eq!(counts(&account), [(Outcome::Played, 4)]);
        }
    });
}

#[test]
fn of_a_relay_that_is_gone_what_it_said_stays_and_of_its_nodes_nobody_knows_the_rest() {
    each_seed(SEEDS, |seed| {
        let mut world = world(seed);
        let first = air(&mut world, 6);
        world.run_for(20 * SECOND);
        world.kill("one");
        world.run_for(50 * SECOND);
        let second = air(&mut world, 40);
        world.run_for(20 * SECOND);
        let known = account(&mut world, "origin", first.broadcast);
        assert_eq!(counts(&known), [(Outcome::Played, 4)]);
        let unknown = account(&mut world, "origin", second.broadcast);
        assert_eq!(named(&unknown), [name("a", Outcome::Unknown), name("b", Outcome::Unknown)]);
        world.run_for(60 * SECOND);
        let over = account(&mut world, "origin", second.broadcast);
        assert_eq!(named(&over), [name("a", Outcome::NotReached), name("b", Outcome::NotReached)]);
        assert_eq!((over.relays, over.relays_reached), (3, 2));
        world.start("one");
        world.run_for(60 * SECOND);
        let back = account(&mut world, "origin", second.broadcast);
        assert_eq!(named(&back), [name("a", Outcome::Missed), name("b", Outcome::Missed)]);
        assert_eq!(total(&back).expected(), 4);
    });
}

#[test]
fn a_node_that_goes_to_its_other_parent_is_counted_once() {
    each_seed(SEEDS, |seed| {
        for how in 0..3 {
            let mut world = World::new(two_parents(seed));
            world.run_for(30 * SECOND);
            let before = air(&mut world, 6);
            world.run_for(20 * SECOND);
            let during = air(&mut world, 30);
            world.run_for(10 * SECOND);
            match how {
                0 => world.kill("east"),
                1 => world.stop("east"),
                _ => world.partition("a", "east", 1_000 * SECOND),
            }
            world.run_for(80 * SECOND);
            for aired in [before, during] {
                let account = account(&mut world, "origin", aired.broadcast);
                let tally = total(&account);
                assert_eq!(
                    (tally.expected(), tally.reached()),
                    (2, 2),
                    "{how}: {:?} {:?}",
                    counts(&account),
                    account.named
                );
                let sounded = tally.count(Outcome::Played) + tally.count(Outcome::Partly);
                assert_eq!(sounded, 2, "{how}: {:?}", counts(&account));
            }
        }
    });
}

/// ```text
///        origin vn
///       ┌────┴────┐
///     east      west        both for vn/01
///       └─ a b ───┘         east first
/// ```
fn two_parents(seed: u64) -> Tree {
    let above = Hop::both(Conditions::clean(10_000, 2_000));
    let last = Hop::both(Conditions::clean(25_000, 10_000));
    let mut tree = Tree::new(seed);
    tree.err_by(50.0).origin("origin", "vn");
    tree.relay("east", "vn/01", "origin", above.clone()).relay("west", "vn/01", "origin", above);
    for name in ["a", "b"] {
        tree.speaker(name, "vn/01/00001", "east", last.clone()).spare("west", last.clone());
    }
    tree
}

#[test]
fn nothing_overflows_and_the_trees_hash_stays_the_same_from_one_seed() {
    each_seed(1, |seed| {
        let run = || {
            let mut world = world(seed);
            air(&mut world, 6);
            world.run_for(20 * SECOND);
            for node in ["origin", "north", "one", "a"] {
                let dropped = world.counters(node).unwrap_or_default().dropped;
                assert!(dropped.is_empty(), "{node}: {dropped:?}");
            }
            assert!(SPEAKERS.iter().all(|name| !world.heard(name).is_empty()));
            (world.hash(), world.civil() - EPOCH)
        };
        assert_eq!(run(), run());
    });
}

#[test]
fn who_was_muted_by_hand_says_so_and_of_a_part_that_it_was_not_whole_and_no_emergency_is() {
    each_seed(SEEDS, |seed| {
        let mut world = world(seed);
        let mute = |world: &mut World, name: &str, mute: bool| {
            assert!(world.turn(name, Turn { mute: Some(mute), ..Turn::default() }).is_some());
        };
        mute(&mut world, "a", true);
        let aired = air(&mut world, 12);
        // In the midst of it: one is muted for what is left, another no more.
        world.run_for(6 * SECOND);
        mute(&mut world, "c", true);
        world.run_for(30 * SECOND);
        let all = account(&mut world, "origin", aired.broadcast);
        assert_eq!(counts(&all), [(Outcome::Played, 2), (Outcome::Partly, 1), (Outcome::Muted, 1)]);
        assert_eq!(named(&all), [name("a", Outcome::Muted), name("c", Outcome::Partly)]);

        let aired = world.air("origin", &Bulletin::emergency("vn", 6 * SECOND)).expect("on the air");
        world.run_for(30 * SECOND);
        let all = account(&mut world, "origin", aired.broadcast);
        assert_eq!(counts(&all), [(Outcome::Played, 4)], "a mute is for what is no emergency");
    });
}

#[test]
fn a_loudspeaker_that_sounds_later_than_others_says_that_it_played_all_the_same() {
    each_seed(SEEDS, |seed| {
        let mut world = world(seed);
        // The third of three groups: ten seconds behind, beyond the end of a short broadcast.
        let stagger = Some(Stagger { group: 3, groups: 3, step: 5 * SECOND });
        world.set("origin", "a", Change { stagger, delay: Some(400_000), ..Default::default() }).unwrap();
        world.run_for(5 * SECOND);
        let given = |world: &mut World, at| {
            world.air("origin", &Bulletin { at: Some(at), ..Bulletin::new("vn", 8 * SECOND) }).expect("given")
        };
        let at = world.civil() + 120 * SECOND;
        let first = given(&mut world, at);
        // Begins when the first is over, but not yet at the one that is late.
        let next = given(&mut world, first.until + SECOND);
        world.run_for(200 * SECOND);
        for aired in [first, next] {
            let all = account(&mut world, "origin", aired.broadcast);
            assert_eq!(counts(&all), [(Outcome::Played, 4)], "{:?}", named(&all));
        }
    });
}

#[test]
fn of_what_is_kept_ready_it_is_known_who_has_it_and_nothing_that_sounds_makes_a_failure_of_it() {
    each_seed(SEEDS, |seed| {
        let mut world = world(seed);
        let bulletin = Bulletin { prepared: Some(86_400 * SECOND), duration: 5_760, ..Bulletin::new("vn", 6 * SECOND) };
        let prepared = world.air("origin", &bulletin).expect("prepared");
        world.run_for(1_500 * SECOND);
        let aired = air(&mut world, 6);
        world.run_for(30 * SECOND);
        assert_eq!(counts(&account(&mut world, "origin", prepared.broadcast)), [(Outcome::Cached, 4)]);
        assert_eq!(counts(&account(&mut world, "origin", aired.broadcast)), [(Outcome::Played, 4)]);
    });
}

#[test]
fn what_is_given_moments_ahead_while_something_sounds_is_whole_everywhere() {
    each_seed(SEEDS, |seed| {
        let mut world = world(seed);
        world.run_for(5 * SECOND);
        for ahead in 1..12 {
            let first = air(&mut world, 8);
            world.run_for(SECOND);
            let at = world.civil() + ahead * SECOND;
            let next = Bulletin { at: Some(at.max(first.until + SECOND)), ..Bulletin::new("vn", 8 * SECOND) };
            let next = world.air("origin", &next).expect("given");
            world.run_for(40 * SECOND);
            for aired in [first, next] {
                let all = account(&mut world, "origin", aired.broadcast);
                assert_eq!(counts(&all), [(Outcome::Played, 4)], "given {ahead} s ahead: {:?}", named(&all));
            }
        }
    });
}
