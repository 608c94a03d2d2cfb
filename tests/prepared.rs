//! Sound that everybody keeps ready, and orders that air it without a packet of sound on any link (DESIGN §1, §3). On the
//! simulator; a failure prints its seed.

mod seed;

use loa::audio::{tone_micros, words_micros};
use loa::broadcast::{Priority, Purpose, Tone};
use loa::sim::check::{Account, Timeline};
use loa::sim::{Aired, Bulletin, Conditions, EPOCH, Hop, Tree, What, World};
use loa::time::SECOND;
use seed::each_seed;

const DAY: i64 = 86_400 * SECOND;
/// Packets of what is prepared.
const SOUND: u64 = 100;
const SPEAKERS: [&str; 3] = ["a", "b", "late"];

/// ```text
///  origin vn ── relay vn/01 ─┬─ a
///                            ├─ b
///                            └─ late
/// ```
fn world(seed: u64) -> World {
    let hop = Hop::both(Conditions::clean(20_000, 5_000));
    let mut tree = Tree::new(seed);
    tree.err_by(100.0).origin("origin", "vn").relay("relay", "vn/01", "origin", hop.clone());
    for name in SPEAKERS {
        tree.speaker(name, "vn/01/4", "relay", hop.clone());
    }
    let mut world = World::new(tree);
    world.run_for(20 * SECOND);
    world
}

/// Twelve seconds for the whole country, in two renditions.
fn prepares(world: &mut World) -> Aired {
    let sound = Bulletin { prepared: Some(DAY), others: vec![16_000], ..Bulletin::new("vn", 12 * SECOND) };
    world.air("origin", &Bulletin { duration: 5_760, ..sound }).expect("prepared")
}

/// The whole of it sounded once, at its instants, behind the sound that begins it.
fn hears(world: &World, name: &str, aired: &Aired, which: u32) {
    let stored = if which == 1 { tone_micros() } else { words_micros(which) };
    let zero = ((aired.sounds - EPOCH) + stored) as f64;
    // In whatever rendition: the plan names the first.
    let timeline = Timeline { track: aired.track, zero, tolerance: 50_000.0 };
    let within: Vec<_> =
        world.heard(name).iter().filter(|heard| heard.left > zero - 1e6 && heard.left < zero + 20e6).copied().collect();
    let account = Account::of(&within, timeline, 0, aired.samples);
    assert!(account.is_whole(), "{name}: {account:?}");
}

/// Of whatever kind, to a node from its parent.
fn sent(world: &World, name: &str) -> u64 {
    world.path(name).map_or(0, |(_, down)| down.sent)
}

fn silent(world: &World, name: &str) -> bool {
    world.heard(name).iter().all(|heard| heard.what == What::Silence)
}

#[test]
fn what_is_prepared_is_kept_by_everybody_and_sounds_by_an_order_alone() {
    each_seed(6, |seed| {
        let mut world = world(seed);
        let prepared = prepares(&mut world);
        world.run_for(1_500 * SECOND);
        for name in SPEAKERS {
            assert!(silent(&world, name), "{name}: it does not sound by itself");
        }
        for name in ["relay", "a", "b", "late"] {
            assert_eq!(world.held(name, prepared.track), SOUND, "{name} has fetched it");
        }
        let before = SPEAKERS.map(|name| sent(&world, name));
        for (purpose, which) in [(Purpose::Real, 1), (Purpose::Exercise, Tone::EXERCISE)] {
            let aired =
                world.air_prepared("origin", &prepared, "vn/01", Priority::Emergency, purpose).expect("on the air");
            world.run_for(30 * SECOND);
            for name in SPEAKERS {
                hears(&world, name, &aired, which);
            }
        }
        for (name, before) in SPEAKERS.into_iter().zip(before) {
            let sent = sent(&world, name) - before;
            assert!(sent < 2 * SOUND, "{name}: {sent} packets came down in a minute, sound among them");
        }
        assert_eq!(world.faults(), Default::default());
    });
}

#[test]
fn whoever_lacks_it_hears_it_from_its_parent() {
    each_seed(6, |seed| {
        let mut world = world(seed);
        world.kill("late");
        let prepared = prepares(&mut world);
        world.run_for(1_500 * SECOND);
        world.start("late");
        // Known by now, and not fetched yet.
        world.run_for(3 * SECOND);
        let aired =
            world.air_prepared("origin", &prepared, "vn", Priority::Emergency, Purpose::Real).expect("on the air");
        world.run_for(30 * SECOND);
        for name in SPEAKERS {
            hears(&world, name, &aired, 1);
        }
    });
}

#[test]
fn it_outlasts_a_power_cut_and_a_province_may_air_it_too() {
    each_seed(3, |seed| {
        let hop = Hop::both(Conditions::clean(20_000, 5_000));
        let mut tree = Tree::new(seed);
        tree.err_by(100.0).origin("origin", "vn").station("relay", "vn/01", "origin", hop.clone());
        tree.speaker("a", "vn/01/4", "relay", hop);
        let mut world = World::new(tree);
        world.run_for(20 * SECOND);
        let prepared = prepares(&mut world);
        world.run_for(1_500 * SECOND);
        for name in ["origin", "relay", "a"] {
            world.kill(name);
        }
        world.run_for(5 * SECOND);
        for name in ["origin", "relay", "a"] {
            world.start(name);
        }
        world.run_for(60 * SECOND);
        let before = sent(&world, "a");
        world.run_for(30 * SECOND);
        let quiet = sent(&world, "a") - before;
        let before = sent(&world, "a");
        // The nation is out of reach.
        world.partition("relay", "origin", 600 * SECOND);
        let aired =
            world.air_prepared("relay", &prepared, "vn/01", Priority::Emergency, Purpose::Real).expect("on the air");
        world.run_for(30 * SECOND);
        hears(&world, "a", &aired, 1);
        let sent = sent(&world, "a") - before;
        assert!(sent < quiet + SOUND / 2, "{sent} packets came down in half a minute, {quiet} in the one before");
    });
}

#[test]
fn one_that_was_withdrawn_or_is_for_elsewhere_is_refused() {
    each_seed(1, |seed| {
        let mut world = world(seed);
        let prepared = world
            .air("origin", &Bulletin { prepared: Some(DAY), ..Bulletin::new("vn/01", 12 * SECOND) })
            .expect("prepared");
        let outside = world.air_prepared("origin", &prepared, "vn/02", Priority::Emergency, Purpose::Real);
        assert!(outside.unwrap_err().contains("prepared.area"));
        world.cancel("origin", prepared.broadcast).expect("cancelled");
        world.run_for(5 * SECOND);
        let gone = world.air_prepared("origin", &prepared, "vn/01", Priority::Emergency, Purpose::Real);
        assert!(gone.unwrap_err().contains("prepared.unknown"));
        assert_eq!(world.held("relay", prepared.track), 0, "its disk is free again");
    });
}

#[test]
fn an_emergency_takes_prepared_sound_from_whatever_lower_is_sounding_it() {
    each_seed(3, |seed| {
        let mut world = world(seed);
        let prepared = prepares(&mut world);
        world.run_for(1_500 * SECOND);
        let air = |world: &mut World, priority, purpose| {
            world.air_prepared("origin", &prepared, "vn/01", priority, purpose).expect("on the air")
        };
        let normal = air(&mut world, Priority::Normal, Purpose::Real);
        world.run_for(5 * SECOND);
        let began = world.heard("a").iter().any(|heard| heard.track == Some(normal.track) && heard.what == What::Sound);
        assert!(began, "the normal one sounds");
        let urgent = air(&mut world, Priority::Emergency, Purpose::Real);
        world.run_for(30 * SECOND);
        for name in SPEAKERS {
            hears(&world, name, &urgent, 1);
        }
    });
}
