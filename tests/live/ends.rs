//! A live broadcast ends everywhere, and blocks nobody after its end, whatever happened to whom.

use loa::node::trunk::What;
use loa::sim::check::{self, Account, Timeline};
use loa::sim::{Aired, Bulletin, Conditions, EPOCH, Hop, Tree, World};
use loa::time::{MILLISECOND, SECOND};
use uuid::Uuid;

const SPEAKERS: [&str; 3] = ["n1a", "n1b", "s1a"];

fn tree(seed: u64) -> World {
    let mut tree = Tree::new(seed);
    let (above, last) = (Conditions::clean(10_000, 2_000), Conditions::clean(25_000, 10_000));
    tree.err_by(100.0).origin("origin", "vn");
    tree.relay("north", "vn/01", "origin", Hop::both(above.clone()));
    tree.relay("south", "vn/02", "origin", Hop::both(above));
    for (name, area, parent) in
        [("n1a", "vn/01/00001", "north"), ("n1b", "vn/01/00001", "north"), ("s1a", "vn/02/00001", "south")]
    {
        tree.speaker(name, area, parent, Hop::both(last.clone()));
    }
    let mut world = World::new(tree);
    world.run_for(5 * SECOND);
    world
}

fn live(length: i64) -> Bulletin {
    Bulletin { live: true, ..Bulletin::new("vn", length) }
}

/// Whether it ended there, and whether as a whole.
fn ended(world: &World, speaker: &str, broadcast: Uuid) -> Vec<bool> {
    let of = |what: &What| match what {
        What::Ended { broadcast: id, whole, .. } if *id == broadcast => Some(*whole == Some(true)),
        _ => None,
    };
    world.events(speaker).iter().filter_map(|(_, event)| of(&event.what)).collect()
}

fn assert_whole(world: &World, speaker: &str, aired: &Aired) {
    let timeline = Timeline { track: aired.track, zero: (aired.sounds - EPOCH) as f64, tolerance: 15_000.0 };
    let account = Account::of(world.heard(speaker), timeline, 0, aired.samples);
    assert!(account.is_whole(), "{speaker}: {account:?}");
    check::once_and_in_order(world.heard(speaker), aired.track).unwrap_or_else(|error| panic!("{speaker}: {error}"));
}

/// A bulletin of the same class sounds there at once: nothing older stands before it.
fn assert_free(world: &mut World, speakers: &[&str]) {
    let next = world.air("origin", &Bulletin::new("vn", 3 * SECOND)).expect("on the air");
    world.run_until(next.sounds - EPOCH + 4 * SECOND);
    for speaker in speakers {
        assert_eq!(ended(world, speaker, next.broadcast), [true], "{speaker} plays what comes next");
    }
}

#[test]
fn the_last_words_are_played_by_all_and_then_all_are_free() {
    let mut world = tree(1);
    let aired = world.air("origin", &live(10 * SECOND)).expect("on the air");
    world.run_until(aired.sounds - EPOCH + 10 * SECOND + 500 * MILLISECOND);
    for speaker in SPEAKERS {
        assert_whole(&world, speaker, &aired);
        assert_eq!(ended(&world, speaker, aired.broadcast), [true], "{speaker}");
        assert_eq!(world.counters(speaker).expect("runs").player.concealed, 0, "{speaker}");
    }
    assert_free(&mut world, &SPEAKERS);
    assert_eq!((world.foreign(), world.faults()), (0, Default::default()));
}

#[test]
fn a_speaker_that_missed_the_end_learns_of_it_when_it_comes_back() {
    let mut world = tree(2);
    let aired = world.air("origin", &live(10 * SECOND)).expect("on the air");
    world.run_for(8 * SECOND);
    world.partition("n1a", "north", 90 * SECOND);
    world.run_for(120 * SECOND);
    assert_eq!(ended(&world, "n1b", aired.broadcast), [true]);
    assert_eq!(ended(&world, "n1a", aired.broadcast), [false], "it lost the last words, and knows that it is over");
    assert_free(&mut world, &SPEAKERS);
}

#[test]
fn a_live_broadcast_whose_origin_was_killed_is_ended_by_the_next_process() {
    let mut world = tree(3);
    let aired = world.air("origin", &live(60 * SECOND)).expect("on the air");
    world.run_for(8 * SECOND);
    world.kill("origin");
    world.run_for(2 * SECOND);
    world.start("origin");
    world.run_for(20 * SECOND);
    for speaker in SPEAKERS {
        assert_eq!(ended(&world, speaker, aired.broadcast), [false], "{speaker}");
    }
    let orphaned = |what: &What| matches!(what, What::Trouble { code: "live.orphaned", .. });
    assert_eq!(world.events("origin").iter().filter(|(_, event)| orphaned(&event.what)).count(), 1);
    assert_free(&mut world, &SPEAKERS);
    // What has been ended once is not ended again by the process after.
    world.restart("origin");
    world.run_for(5 * SECOND);
    assert_eq!(world.events("origin").iter().filter(|(_, event)| orphaned(&event.what)).count(), 1);
}

#[test]
fn a_finished_live_broadcast_is_no_orphan_and_a_stored_one_neither() {
    let mut world = tree(4);
    let spoken = world.air("origin", &live(2 * SECOND)).expect("on the air");
    let stored = world.air("origin", &Bulletin::new("vn", 20 * SECOND)).expect("on the air");
    world.run_for(3 * SECOND);
    world.restart("origin");
    world.run_until(stored.sounds - EPOCH + 22 * SECOND);
    assert_eq!(ended(&world, "n1a", spoken.broadcast), [true]);
    let orphaned = |what: &What| matches!(what, What::Trouble { code: "live.orphaned", .. });
    assert!(!world.events("origin").iter().any(|(_, event)| orphaned(&event.what)));
}

#[test]
fn an_emergency_spoken_live_begins_with_its_tone_and_ends_with_its_last_word() {
    let mut world = tree(5);
    let emergency = Bulletin { live: true, ..Bulletin::emergency("vn", 6 * SECOND) };
    let aired = world.air("origin", &emergency).expect("on the air");
    assert_eq!(aired.sounds - aired.accepted, 500 * MILLISECOND);
    let tone = loa::audio::tone_micros();
    world.run_until(aired.sounds - EPOCH + tone + 6 * SECOND + 500 * MILLISECOND);
    let speech = Aired { sounds: aired.sounds + tone, ..aired };
    for speaker in SPEAKERS {
        assert_whole(&world, speaker, &speech);
        assert_eq!(ended(&world, speaker, aired.broadcast), [true], "{speaker}");
        let (first, _) = check::sounding(world.heard(speaker), 0.0, f64::MAX).expect("it sounded");
        assert!((first - (aired.sounds - EPOCH) as f64).abs() < 15_000.0, "{speaker}: the tone at {first}");
    }
    assert_free(&mut world, &SPEAKERS);
}
