//! Volumes, mutes and turns of loudspeakers, on the simulator: what is set from two tiers above, what survives a restart,
//! and that an emergency is heard through it all. A failure prints its seed.

mod seed;

use loa::broadcast::{Mute, Priority, Purpose, Settings, Stagger, Volume};
use loa::node::trunk::{Change, Note, Turn, What as Told};
use loa::playout::hands::Options;
use loa::sim::check::{self, Account, Timeline};
use loa::sim::{Aired, Bulletin, Conditions, EPOCH, Heard, Hop, Tree, What, World};
use loa::time::{MILLISECOND, SECOND};
use seed::each_seed;

const MINUTE: i64 = 60 * SECOND;
/// µs that the relay's clock, and so all below it, may be off.
const TOGETHER: f64 = 15_000.0;

/// ```text
///  origin vn ── relay vn/01 ─┬─ a
///                            ├─ b
///                            └─ c
/// ```
fn world(seed: u64) -> World {
    let hop = Hop::both(Conditions::clean(20_000, 5_000));
    let mut tree = Tree::new(seed);
    tree.err_by(100.0).origin("origin", "vn").relay("relay", "vn/01", "origin", hop.clone());
    for name in ["a", "b", "c"] {
        tree.speaker(name, "vn/01/4", "relay", hop.clone());
    }
    let mut world = World::new(tree);
    world.run_for(200 * SECOND);
    world
}

fn volume(decibels: f64) -> Option<Volume> {
    Volume::of_decibels(decibels)
}

fn of_track<'a>(world: &'a World, name: &str, aired: &'a Aired) -> impl Iterator<Item = &'a Heard> {
    world.heard(name).iter().filter(|heard| heard.track == Some(aired.track) && heard.what == What::Sound)
}

/// Gains of what sounded of a broadcast, its fades left aside: the first and the last, least and most.
fn gains(world: &World, name: &str, aired: &Aired) -> (f32, f32) {
    let gains: Vec<f32> = of_track(world, name, aired).map(|heard| heard.gain).collect();
    assert!(gains.len() > 100, "{name}: {} steps", gains.len());
    (gains.iter().copied().fold(f32::MAX, f32::min), gains.iter().copied().fold(0.0, f32::max))
}

/// Every sample of it, in its time and so much later. What all of a relay's children are off by together is allowed.
fn is_whole(world: &World, name: &str, aired: &Aired, sounds: i64, late: i64) -> bool {
    let zero = (sounds + late) as f64;
    let timeline = Timeline { track: aired.track, zero, tolerance: TOGETHER };
    check::once_and_in_order(world.heard(name), aired.track).expect(name);
    Account::of(world.heard(name), timeline, 0, aired.samples).is_whole()
}

/// µs by which it left later than the same sample left the first loudspeaker.
fn behind(world: &World, name: &str, aired: &Aired, sample: u64) -> f64 {
    let left = |name: &str| check::left(world.heard(name), What::Sound, Some(aired.track), sample).expect(name);
    left(name) - left("a")
}

fn began(world: &World, name: &str, what: What, after: i64) -> f64 {
    let first = world.heard(name).iter().find(|heard| heard.what == what && heard.left >= after as f64);
    first.unwrap_or_else(|| panic!("{name}: no {what:?}")).left
}

fn notes(world: &World, name: &str, code: &str) -> usize {
    let events = world.events(name).iter();
    events.filter(|(_, event)| matches!(&event.what, Told::Note(Note { code: said, .. }) if *said == code)).count()
}

#[test]
fn one_that_is_muted_is_silent_while_the_others_sound_and_says_so_to_the_top() {
    each_seed(4, |seed| {
        let mut world = world(seed);
        world.switch("a", true);
        let aired = world.air("origin", &Bulletin::new("vn", 20 * SECOND)).expect("on the air");
        world.run_for(10 * SECOND);
        let report = world.report("a").unwrap();
        assert!((report.muted - (world.civil() + 30 * MINUTE).0).abs() < 15 * SECOND, "{report:?}");
        assert_eq!((report.volume, world.report("b").unwrap().muted), (Some(0), 0));
        world.run_for(20 * SECOND);
        assert_eq!(gains(&world, "a", &aired), (0.0, 0.0));
        assert_eq!(gains(&world, "b", &aired), (1.0, 1.0));
        let sounds = aired.sounds - EPOCH;
        assert!(["a", "b", "c"].iter().all(|name| is_whole(&world, name, &aired, sounds, 0)), "in step all the same");
        assert_eq!((notes(&world, "a", "mute.on"), notes(&world, "b", "mute.on")), (1, 0));
        // Its relay, and who is above that, know it.
        let Some(loa::node::trunk::Reply::Nodes(all)) = world.request("origin", loa::node::trunk::Request::Nodes)
        else {
            panic!("no answer")
        };
        assert_eq!(all.iter().filter(|report| report.muted != 0).count(), 1);
    });
}

#[test]
fn an_emergency_is_heard_through_a_mute_with_its_tone_and_an_exercise_is_not() {
    each_seed(4, |seed| {
        let mut world = world(seed);
        world.set("origin", "a", Change { emergency: volume(-30.0), ..Change::default() }).expect("set");
        world.run_for(SECOND);
        world.switch("a", true);
        world.run_for(SECOND);
        let begin = world.now();
        let real = world.air("origin", &Bulletin::emergency("vn", 10 * SECOND)).expect("on the air");
        world.run_for(20 * SECOND);
        let floor = Volume::FLOOR.gain();
        assert_eq!(gains(&world, "a", &real), (floor, floor));
        let tone = |gain: f32| {
            let heard = world.heard("a").iter().filter(|heard| heard.what == What::Tone && heard.left > begin as f64);
            heard.filter(|heard| heard.gain == gain).count()
        };
        assert!(tone(floor) > 100 && tone(0.0) == 0);
        let exercise = Bulletin { purpose: Purpose::Exercise, ..Bulletin::emergency("vn", 10 * SECOND) };
        let exercise = world.air("origin", &exercise).expect("on the air");
        world.run_for(20 * SECOND);
        assert_eq!(gains(&world, "a", &exercise), (0.0, 0.0));
        assert_eq!(gains(&world, "b", &exercise), (1.0, 1.0));
    });
}

#[test]
fn a_mute_ends_by_itself_though_its_switch_stays_on_and_no_restart_brings_it_back() {
    each_seed(3, |seed| {
        let mut world = world(seed);
        for name in ["a", "b"] {
            world.switch(name, true);
        }
        world.run_for(10 * MINUTE);
        // In the middle: the switch is still on when the node looks at it again.
        world.restart("a");
        world.switch("a", true);
        world.kill("b");
        world.run_for(15 * MINUTE);
        let report = world.report("a").unwrap();
        let left = report.muted - world.civil().0;
        assert!((4 * MINUTE..6 * MINUTE).contains(&left), "what is left of the first mute: {left} µs");
        world.run_for(10 * MINUTE);
        world.start("b");
        world.switch("b", true);
        world.run_for(MINUTE);
        assert_eq!([world.report("a").unwrap().muted, world.report("b").unwrap().muted], [0, 0]);
        let aired = world.air("origin", &Bulletin::new("vn", 10 * SECOND)).expect("on the air");
        world.run_for(20 * SECOND);
        assert_eq!((gains(&world, "a", &aired), gains(&world, "b", &aired)), ((1.0, 1.0), (1.0, 1.0)));
        world.switch("a", false);
        world.switch("a", true);
        world.run_for(SECOND);
        assert!(world.report("a").unwrap().muted > world.civil().0 + 29 * MINUTE, "off and on again begins anew");
    });
}

#[test]
fn settings_reach_a_node_that_was_off_and_come_back_after_a_restart() {
    each_seed(3, |seed| {
        let mut world = world(seed);
        world.kill("b");
        let change = Change { normal: volume(-12.0), mute: Some(true), ..Change::default() };
        for name in ["a", "b"] {
            let settings = world.set("origin", name, change.clone()).expect("set");
            assert!(matches!(settings.mute, Some(Mute::Until(_))));
        }
        world.run_for(10 * SECOND);
        assert!(world.report("a").unwrap().muted > world.civil().0);
        world.run_for(40 * MINUTE);
        world.start("b");
        world.run_for(MINUTE);
        world.restart("a");
        // The giver forgets nothing either.
        world.restart("origin");
        world.run_for(2 * MINUTE);
        world.set("origin", "a", Change { priority: volume(-3.0), ..Change::default() }).expect("set");
        world.run_for(10 * SECOND);
        let aired = world.air("origin", &Bulletin::new("vn", 10 * SECOND)).expect("on the air");
        world.run_for(20 * SECOND);
        let quiet = volume(-12.0).unwrap().gain();
        assert_eq!((gains(&world, "a", &aired), gains(&world, "b", &aired)), ((quiet, quiet), (quiet, quiet)));
        assert_eq!(gains(&world, "c", &aired), (1.0, 1.0));
        let loudness = world.turn("a", Turn::default()).unwrap();
        assert_eq!(loudness.volumes.map(Volume::tenths), [-120, -30, 0]);
        assert_eq!(world.report("b").unwrap().muted, 0, "an order to mute that came too late");
    });
}

#[test]
fn people_at_the_node_set_what_lasts_and_the_next_order_takes_it_back() {
    each_seed(2, |seed| {
        let mut world = world(seed);
        let turned = world.turn("a", Turn { normal: volume(-9.0), mute: Some(true), ..Turn::default() }).unwrap();
        assert!(turned.is_muted && turned.volumes[0] == volume(-9.0).unwrap());
        world.run_for(MINUTE);
        assert!(!world.turn("a", Turn { mute: Some(false), ..Turn::default() }).unwrap().is_muted);
        world.run_for(MINUTE);
        world.restart("a");
        world.run_for(MINUTE);
        let now = |world: &mut World| world.turn("a", Turn::default()).unwrap();
        assert_eq!((now(&mut world).volumes[0], now(&mut world).is_muted), (volume(-9.0).unwrap(), false));
        world.set("relay", "a", Change { normal: volume(-3.0), ..Change::default() }).unwrap_err();
        world.set("origin", "a", Change { normal: volume(-3.0), ..Change::default() }).expect("set");
        world.run_for(SECOND);
        assert_eq!(now(&mut world).volumes[0], volume(-3.0).unwrap());
        world.restart("a");
        world.run_for(MINUTE);
        assert_eq!(now(&mut world).volumes[0], volume(-3.0).unwrap(), "also after a restart");
    });
}

#[test]
fn clusters_and_groups_come_as_much_later_as_was_set_and_to_their_end() {
    each_seed(4, |seed| {
        let mut world = world(seed);
        let stagger = |group| Some(Stagger { group, groups: 3, step: 5 * SECOND });
        let late = [("a", 0), ("b", 120 * MILLISECOND), ("c", 10 * SECOND + 500 * MILLISECOND)];
        world.set("origin", "b", Change { delay: Some(120 * MILLISECOND), ..Change::default() }).expect("set");
        let last = Change { delay: Some(500 * MILLISECOND), stagger: stagger(3), ..Change::default() };
        assert_eq!(world.set("origin", "c", last).expect("set").late(), 10_500 * MILLISECOND);
        world.run_for(SECOND);
        // A bulletin of the LAN's short packets, and one into which an emergency cuts.
        let short = Bulletin { duration: 1_920, delay: Some(300 * MILLISECOND), ..Bulletin::new("vn", 15 * SECOND) };
        let first = world.air("origin", &short).expect("on the air");
        world.run_for(40 * SECOND);
        let long =
            world.air("origin", &Bulletin { live: true, ..Bulletin::new("vn", 60 * SECOND) }).expect("on the air");
        world.run_for(20 * SECOND);
        let begin = world.now();
        let urgent = world.air("origin", &Bulletin::emergency("vn", 12 * SECOND)).expect("on the air");
        world.run_for(80 * SECOND);
        let tone = urgent.sounds - EPOCH;
        for (name, late) in late {
            assert!(is_whole(&world, name, &first, first.sounds - EPOCH, late), "{name}, seed {seed}");
            let from = began(&world, name, What::Tone, begin) - began(&world, "a", What::Tone, begin) - late as f64;
            assert!(from.abs() < 1_000.0, "{name}: its tone is {from} µs off");
            for (aired, sample) in [(&first, 0), (&first, 480_000), (&urgent, 48_000), (&urgent, 480_000)] {
                let off = behind(&world, name, aired, sample) - late as f64;
                assert!(off.abs() < 1_000.0, "{name}: {off} µs off what was set");
            }
            let speech = tone + loa::audio::tone_micros();
            assert!(is_whole(&world, name, &urgent, speech, late), "{name}, the emergency");
            // It is joined again where it is by then, for this loudspeaker, and goes on to its end.
            let timeline =
                Timeline { track: long.track, zero: (long.sounds - EPOCH + late) as f64, tolerance: TOGETHER };
            let account = Account::of(world.heard(name), timeline, long.samples - 10 * 48_000, long.samples);
            assert!(account.is_whole(), "{name}: {account:?}");
        }
        assert_eq!(world.faults(), Default::default());
    });
}

#[test]
fn a_stop_is_a_stop_for_the_last_group_too() {
    each_seed(3, |seed| {
        let mut world = world(seed);
        let stagger = Some(Stagger { group: 2, groups: 2, step: 10 * SECOND });
        world.set("origin", "b", Change { stagger, ..Change::default() }).expect("set");
        world.run_for(SECOND);
        let aired = world.air("origin", &Bulletin::new("vn", 60 * SECOND)).expect("on the air");
        world.run_for(20 * SECOND);
        world.cancel("origin", aired.broadcast).expect("cancelled");
        let cancelled = world.now();
        world.run_for(20 * SECOND);
        for name in ["a", "b"] {
            let last = of_track(&world, name, &aired).filter(|heard| heard.gain > 0.0).last().unwrap().left;
            assert!(last < (cancelled + 600 * MILLISECOND) as f64, "{name} sounds {} µs on", last - cancelled as f64);
        }
        // And so is a hush.
        let aired = world.air("origin", &Bulletin::new("vn", 60 * SECOND)).expect("on the air");
        world.run_for(20 * SECOND);
        world.hush("origin", "vn", MINUTE).expect("hushed");
        let hushed = world.now();
        world.run_for(10 * SECOND);
        for name in ["a", "b"] {
            let last = of_track(&world, name, &aired).filter(|heard| heard.gain > 0.0).last().unwrap().left;
            assert!(last < (hushed + 600 * MILLISECOND) as f64, "{name} sounds {} µs on", last - hushed as f64);
        }
    });
}

#[test]
fn a_cluster_that_is_moved_in_time_while_it_sounds_says_nothing_twice() {
    each_seed(3, |seed| {
        let mut world = world(seed);
        let aired = world.air("origin", &Bulletin::new("vn", 60 * SECOND)).expect("on the air");
        world.run_for(20 * SECOND);
        for delay in [400, 0] {
            world.set("origin", "a", Change { delay: Some(delay * MILLISECOND), ..Change::default() }).expect("set");
            world.run_for(15 * SECOND);
        }
        world.run_for(40 * SECOND);
        check::once_and_in_order(world.heard("a"), aired.track).expect("in order");
        let timeline = Timeline { track: aired.track, zero: (aired.sounds - EPOCH) as f64, tolerance: TOGETHER };
        let account = Account::of(world.heard("a"), timeline, aired.samples - 10 * 48_000, aired.samples);
        assert!(account.is_whole(), "{account:?}");
        assert!(behind(&world, "b", &aired, aired.samples - 48_000).abs() < 1_000.0, "in step again");
        assert!(is_whole(&world, "b", &aired, aired.sounds - EPOCH, 0));
    });
}

#[test]
fn nobody_sets_what_stands_outside_of_its_area() {
    each_seed(2, |seed| {
        let hop = Hop::both(Conditions::clean(20_000, 5_000));
        let mut tree = Tree::new(seed);
        tree.origin("origin", "vn").station("north", "vn/01", "origin", hop.clone());
        let options = Options { priority: Volume::FLOOR, ..Options::default() };
        tree.speaker("a", "vn/01/4", "north", hop.clone()).as_loud_as(options);
        tree.speaker("far", "vn/02", "origin", hop);
        let mut world = World::new(tree);
        world.run_for(30 * SECOND);
        let change = || Change { normal: volume(-20.0), ..Change::default() };
        assert!(world.set("north", "far", change()).is_err(), "it knows of none there");
        world.set("north", "a", change()).expect("its own");
        world.run_for(5 * SECOND);
        assert_eq!(world.turn("a", Turn::default()).unwrap().volumes.map(Volume::tenths), [-200, -60, 0]);
        assert_eq!(world.turn("far", Turn::default()).unwrap().volumes[0], Volume::FULL);
        let aired = world.air("origin", &Bulletin { priority: Priority::Priority, ..Bulletin::new("vn", 5 * SECOND) });
        world.run_for(20 * SECOND);
        let floor = Volume::FLOOR.gain();
        assert_eq!(gains(&world, "a", &aired.expect("on the air")), (floor, floor));
        assert_eq!(Settings::MUTE, 30 * MINUTE);
    });
}
