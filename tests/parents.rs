//! Two parents (DESIGN §4) on the simulator: killed, cut off, flapping, restarted. A failure prints its seed.

mod seed;

use loa::node::trunk::{Reply, Request};
use loa::sim::check::{self, Account, Timeline};
use loa::sim::{Aired, Bulletin, Conditions, EPOCH, Hop, Tree, World};
use loa::time::SECOND;
use seed::each_seed;

const SPEAKERS: [&str; 4] = ["a", "b", "c", "d"];
/// A tolerance wider than any commune's step: on time is on time.
const TOLERANCE: f64 = 15_000.0;

/// ```text
///        origin vn
///       ┌────┴────┐
///     east      west        both for vn/01
///       └─ a b ───┘         east first
///       └─ c d ───┘         west first
/// ```
fn tree(seed: u64, both: bool) -> Tree {
    let above = Hop::both(Conditions::clean(10_000, 2_000));
    let last = Hop::both(Conditions { loss: 0.002, ..Conditions::clean(25_000, 10_000) });
    let mut tree = Tree::new(seed);
    tree.err_by(100.0).origin("origin", "vn");
    tree.relay("east", "vn/01", "origin", above.clone()).relay("west", "vn/01", "origin", above);
    for (name, first, second) in
        [("a", "east", "west"), ("b", "east", "west"), ("c", "west", "east"), ("d", "west", "east")]
    {
        tree.speaker(name, "vn/01/00001", first, last.clone()).spare(second, last.clone());
        if both {
            tree.both();
        }
    }
    tree
}

/// Everybody has both sessions, and a bulletin of so many seconds has been on the air for five.
fn on_air(seed: u64, both: bool, seconds: i64) -> (World, Aired) {
    let mut world = World::new(tree(seed, both));
    world.run_for(30 * SECOND);
    for name in SPEAKERS {
        assert_eq!(world.counters(name).map(|counters| counters.parents), Some(2), "{name}");
    }
    let aired = world.air("origin", &Bulletin::new("vn", seconds * SECOND)).expect("on the air");
    world.run_for(5 * SECOND);
    (world, aired)
}

fn account(world: &World, name: &str, aired: &Aired) -> Account {
    check::once_and_in_order(world.heard(name), aired.track).expect(name);
    let timeline = Timeline { track: aired.track, zero: (aired.sounds - EPOCH) as f64, tolerance: TOLERANCE };
    Account::of(world.heard(name), timeline, 0, aired.samples)
}

/// Seconds of a bulletin that a speaker did not sound on time.
fn missed(world: &World, name: &str, aired: &Aired) -> f64 {
    let account = account(world, name, aired);
    (account.samples - account.on_time) as f64 / 48_000.0
}

fn leads(world: &World, name: &str) -> u64 {
    world.counters(name).map_or(0, |counters| counters.leads)
}

/// (name, parent's name, state) of all that the origin knows of.
fn known(world: &mut World) -> Vec<(String, String, String)> {
    let Some(Reply::Nodes(reports)) = world.request("origin", Request::Nodes) else { panic!("no answer") };
    let name = |node: &[u8]| {
        reports.iter().find(|report| report.node.as_ref() == node).map(|report| report.name.clone()).unwrap_or_default()
    };
    reports.iter().map(|report| (report.name.clone(), name(&report.parent), report.state.clone())).collect()
}

#[test]
fn of_a_parent_that_is_killed_its_children_miss_a_second_at_most() {
    each_seed(6, |seed| {
        let (mut world, aired) = on_air(seed, false, 20);
        world.kill("east");
        world.run_for(25 * SECOND);
        for name in SPEAKERS {
            let missed = missed(&world, name, &aired);
            assert!(missed <= 1.0, "{name} missed {missed} s");
        }
        assert_eq!((leads(&world, "a"), leads(&world, "c")), (1, 0), "only those whose parent is gone change");
    });
}

#[test]
fn of_a_parent_that_is_killed_nothing_is_missed_where_sound_comes_from_two() {
    each_seed(6, |seed| {
        let (mut world, aired) = on_air(seed, true, 20);
        world.kill("east");
        world.run_for(25 * SECOND);
        for name in SPEAKERS {
            assert!(account(&world, name, &aired).is_whole(), "{name}: {:?}", account(&world, name, &aired));
        }
    });
}

#[test]
fn a_parent_that_stops_in_good_order_and_returns_is_not_noticed() {
    each_seed(6, |seed| {
        let (mut world, aired) = on_air(seed, false, 30);
        world.restart("east");
        world.run_for(35 * SECOND);
        for name in SPEAKERS {
            assert!(account(&world, name, &aired).is_whole(), "{name}: {:?}", account(&world, name, &aired));
            assert_eq!(world.counters(name).map(|counters| counters.parents), Some(2), "{name} has a spare again");
        }
    });
}

#[test]
fn a_link_that_is_a_black_hole_for_a_minute_costs_a_second_at_most() {
    each_seed(6, |seed| {
        let (mut world, aired) = on_air(seed, false, 100);
        world.partition("a", "east", 60 * SECOND);
        world.run_for(110 * SECOND);
        let missed = missed(&world, "a", &aired);
        assert!(missed <= 1.0, "missed {missed} s");
        assert!(account(&world, "b", &aired).is_whole());
        assert_eq!(world.counters("a").map(|counters| counters.parents), Some(2));
    });
}

#[test]
fn a_link_that_flaps_is_left_once_and_not_followed_up_and_down() {
    each_seed(6, |seed| {
        let (mut world, aired) = on_air(seed, false, 60);
        for _ in 0..12 {
            world.partition("a", "east", 2 * SECOND);
            world.run_for(4 * SECOND);
        }
        world.run_for(15 * SECOND);
        let missed = missed(&world, "a", &aired);
        assert!(missed <= 1.0, "missed {missed} s");
        assert!(leads(&world, "a") <= 2, "{} changes", leads(&world, "a"));
    });
}

#[test]
fn an_emergency_in_a_quiet_hour_reaches_a_speaker_whose_leading_parent_has_vanished_unseen() {
    each_seed(6, |seed| {
        let mut world = World::new(tree(seed, false));
        // So long that beats are ten seconds apart.
        world.run_for(400 * SECOND);
        world.kill("east");
        world.run_for(2 * SECOND);
        let aired = world.air("origin", &Bulletin::emergency("vn", 10 * SECOND)).expect("on the air");
        world.run_for(20 * SECOND);
        for name in SPEAKERS {
            let heard = world.heard(name);
            let zero = (aired.sounds - EPOCH) as f64;
            let first = check::sounding(heard, zero - 1e6, zero + 2e6).map(|(first, _)| first);
            assert!(
                first.is_some_and(|first| (first - zero).abs() < TOLERANCE),
                "{name}: tone at {first:?}, not {zero}"
            );
            let speech: u64 =
                heard.iter().filter(|step| step.track == Some(aired.track)).map(|step| u64::from(step.count)).sum();
            let missed = (aired.samples.saturating_sub(speech)) as f64 / 48_000.0;
            assert!(missed <= 1.0, "{name} missed {missed} s of the speech");
        }
    });
}

#[test]
fn a_commune_split_over_two_parents_stays_in_step_while_one_dies() {
    each_seed(6, |seed| {
        let (mut world, _) = on_air(seed, false, 6);
        world.run_for(200 * SECOND);
        let aired = world.air("origin", &Bulletin::new("vn", 40 * SECOND)).expect("on the air");
        world.run_for(10 * SECOND);
        world.kill("east");
        world.run_for(40 * SECOND);
        let heard = SPEAKERS.map(|name| world.heard(name));
        let spread: Vec<f64> = check::spread(&heard, aired.track).into_iter().map(|(_, spread)| spread).collect();
        assert!(spread.len() >= 38 && check::percentile(&spread, 0.99) <= 5_000.0, "{spread:.0?}");
    });
}

#[test]
fn the_better_parent_leads_again_once_it_has_been_back_for_minutes() {
    each_seed(6, |seed| {
        let (mut world, _) = on_air(seed, false, 6);
        world.restart("east");
        world.run_for(30 * SECOND);
        let east = |known: Vec<(String, String, String)>, name: &str| {
            known.into_iter().find(|(node, _, _)| node == name).map(|(_, parent, _)| parent).unwrap_or_default()
        };
        assert_eq!(east(known(&mut world), "a"), "west");
        let aired = world.air("origin", &Bulletin::new("vn", 330 * SECOND)).expect("on the air");
        world.run_for(340 * SECOND);
        assert_eq!(east(known(&mut world), "a"), "east");
        assert_eq!(leads(&world, "a"), 2);
        assert!(
            account(&world, "a", &aired).is_whole(),
            "the change back is not heard: {:?}",
            account(&world, "a", &aired)
        );
    });
}

#[test]
fn the_origin_knows_every_node_once_and_by_the_parent_that_leads_it() {
    each_seed(6, |seed| {
        let (mut world, _) = on_air(seed, false, 6);
        let of = |known: &[(String, String, String)], name: &str| -> Vec<(String, String)> {
            let found = known.iter().filter(|(node, _, _)| node == name);
            found.map(|(_, parent, state)| (parent.clone(), state.clone())).collect()
        };
        let before = known(&mut world);
        assert_eq!(of(&before, "a"), [("east".into(), "sounding".into())]);
        assert_eq!(of(&before, "c"), [("west".into(), "sounding".into())]);
        world.kill("east");
        world.run_for(90 * SECOND);
        let after = known(&mut world);
        assert_eq!(of(&after, "a"), [("west".into(), "idle".into())]);
        assert_eq!(of(&after, "east")[0].1, "lost");
        assert_eq!(after.len(), before.len());
    });
}

#[test]
fn with_both_parents_gone_sound_goes_on_once_one_is_back() {
    each_seed(6, |seed| {
        let (mut world, aired) = on_air(seed, false, 60);
        world.kill("east");
        world.kill("west");
        world.run_for(5 * SECOND);
        world.start("west");
        world.run_for(65 * SECOND);
        for name in SPEAKERS {
            let (missed, error) = (missed(&world, name, &aired), world.civil_error(name));
            assert!(missed < 40.0, "{name} missed {missed} s");
            assert!(error.is_some_and(|error| error.abs() < 20_000), "{name} errs by {error:?} µs");
        }
    });
}
