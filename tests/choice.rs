//! Several renditions of one broadcast: who listens to which, and what a change of them sounds like. A failure
//! prints its seed.

use loa::node::trunk::Wished;
use loa::sim::check::{self, Account, Timeline};
use loa::sim::{Aired, Bulletin, Conditions, EPOCH, Hop, Tree, World};
use loa::time::{MILLISECOND, SECOND};

const SEED: u64 = 20_261_122;

fn hop(loss: f64) -> Hop {
    let clean = Conditions::clean(25_000, 10_000);
    Hop { up: clean.clone(), down: Conditions { loss, ..clean } }
}

fn bulletin(length: i64) -> Bulletin {
    Bulletin { live: true, others: vec![16_000, 32_000], ..Bulletin::new("vn", length) }
}

fn account(world: &World, speaker: &str, aired: &Aired) -> Account {
    check::once_and_in_order(world.heard(speaker), aired.track)
        .unwrap_or_else(|error| panic!("seed {SEED}: {speaker}: {error}"));
    let timeline = Timeline { track: aired.track, zero: (aired.sounds - EPOCH) as f64, tolerance: 15_000.0 };
    Account::of(world.heard(speaker), timeline, 0, aired.samples)
}

/// b/s that a node says it sounds.
fn bitrate(world: &mut World, node: &str) -> u32 {
    world.report(node).map_or(0, |report| report.bitrate)
}

#[test]
fn a_speaker_whose_link_loses_packets_steps_down_without_a_gap_and_its_sibling_stays() {
    let mut tree = Tree::new(SEED);
    tree.err_by(100.0).origin("origin", "vn").relay("north", "vn/01", "origin", hop(0.0));
    tree.speaker("lossy", "vn/01/00001", "north", hop(0.0)).speaker("clean", "vn/01/00001", "north", hop(0.0));
    let mut world = World::new(tree);
    world.run_for(5 * SECOND);
    let length = 240 * SECOND;
    let aired = world.air("origin", &bulletin(length)).expect("on the air");
    world.run_for(20 * SECOND);
    assert_eq!(["lossy", "clean"].map(|node| bitrate(&mut world, node)), [24_000, 24_000], "seed {SEED}");
    let (up, down) = (hop(0.0).up, hop(0.2).down);
    world.change("lossy", up.clone(), down);
    world.run_for(40 * SECOND);
    assert_eq!(["lossy", "clean"].map(|node| bitrate(&mut world, node)), [16_000, 24_000], "seed {SEED}");
    world.change("lossy", up.clone(), up);
    world.run_for(90 * SECOND);
    assert_eq!(["lossy", "clean"].map(|node| bitrate(&mut world, node)), [24_000, 24_000], "seed {SEED}");
    world.run_until(aired.sounds - EPOCH + length + SECOND);
    let (lossy, clean) = (account(&world, "lossy", &aired), account(&world, "clean", &aired));
    assert!(clean.is_whole(), "seed {SEED}: {clean:?}");
    assert!(lossy.share_on_time() >= 0.9999, "seed {SEED}: {lossy:?}");
    assert_eq!((world.foreign(), world.faults()), (0, Default::default()), "seed {SEED}");
}

#[test]
fn a_relay_carries_only_the_renditions_that_are_wanted_below_it() {
    let wishing = |bitrate| Wished { bitrate: Some(bitrate), data: None };
    let mut tree = Tree::new(SEED);
    tree.origin("origin", "vn").relay("north", "vn/01", "origin", hop(0.0)).relay("south", "vn/02", "origin", hop(0.0));
    tree.speaker("high", "vn/01/00001", "north", hop(0.0)).wishing(wishing(32_000));
    tree.speaker("low", "vn/01/00001", "north", hop(0.0)).wishing(wishing(16_000));
    tree.speaker("thrifty", "vn/02/00001", "south", hop(0.0)).wishing(wishing(16_000));
    let mut world = World::new(tree);
    world.run_for(5 * SECOND);
    let length = 60 * SECOND;
    let aired = world.air("origin", &bulletin(length)).expect("on the air");
    world.run_for(10 * SECOND);
    let speakers = ["high", "low", "thrifty"];
    assert_eq!(speakers.map(|node| bitrate(&mut world, node)), [32_000, 16_000, 16_000], "seed {SEED}");
    let received = |world: &World, node: &str| world.counters(node).expect("it runs").received;
    let before = ["north", "south"].map(|node| received(&world, node));
    world.run_for(24 * SECOND);
    let after = ["north", "south"].map(|node| received(&world, node));
    let packets = 24 * SECOND / (240 * MILLISECOND);
    let [north, south] = [after[0] - before[0], after[1] - before[1]];
    // Some ticks beside.
    assert!((packets..packets + 8).contains(&(south as i64)), "seed {SEED}: {south} packets, one rendition");
    assert!((2 * packets..2 * packets + 8).contains(&(north as i64)), "seed {SEED}: {north} packets, two renditions");
    world.run_until(aired.sounds - EPOCH + length + SECOND);
    for speaker in speakers {
        let account = account(&world, speaker, &aired);
        assert!(account.is_whole(), "seed {SEED}: {speaker}: {account:?}");
    }
}

#[test]
fn a_stored_broadcast_is_fetched_ahead_in_the_rendition_that_will_sound() {
    let mut tree = Tree::new(SEED);
    tree.origin("origin", "vn").speaker("low", "vn/01/00001", "origin", hop(0.0));
    tree.wishing(Wished { bitrate: Some(16_000), data: None });
    let mut world = World::new(tree);
    world.run_for(5 * SECOND);
    let at = Some(world.civil() + 60 * SECOND);
    let bulletin = Bulletin { live: false, at, ..bulletin(10 * SECOND) };
    let aired = world.air("origin", &bulletin).expect("on the air");
    world.run_for(50 * SECOND);
    assert_eq!(world.held("low", aired.track), 0, "seed {SEED}: the first rendition was fetched too");
    world.run_until(aired.sounds - EPOCH + 12 * SECOND);
    assert!(account(&world, "low", &aired).is_whole(), "seed {SEED}");
}

#[test]
fn a_relay_fetches_ahead_what_is_asked_for_below_it_and_its_children_sound_without_those_above() {
    let mut tree = Tree::new(SEED);
    tree.origin("origin", "vn").relay("north", "vn/01", "origin", hop(0.0)).relay("south", "vn/02", "origin", hop(0.0));
    tree.relay("deep", "vn/01/00001", "north", hop(0.0)).speaker("low", "vn/01/00001", "deep", hop(0.0));
    tree.wishing(Wished { bitrate: Some(16_000), data: None });
    let mut world = World::new(tree);
    world.run_for(5 * SECOND);
    let at = Some(world.civil() + 120 * SECOND);
    let bulletin = Bulletin { live: false, at, ..bulletin(10 * SECOND) };
    let aired = world.air("origin", &bulletin).expect("on the air");
    world.run_for(110 * SECOND);
    let order = world.order_of("origin", aired.broadcast).expect("it was given");
    let tracks: Vec<_> = order.renditions.iter().map(|info| (info.bitrate, info.id)).collect();
    let held = |node: &str, wanted: u32| {
        let (_, track) = tracks.iter().find(|(bitrate, _)| *bitrate == wanted).expect("it is aired");
        world.held(node, *track)
    };
    let packets = aired.samples / 11_520;
    for node in ["low", "deep", "north"] {
        assert_eq!((held(node, 16_000), held(node, 32_000)), (packets, 0), "seed {SEED}: {node}");
    }
    // Nobody has asked it for any.
    let south = [24_000, 16_000, 32_000].map(|bitrate| held("south", bitrate));
    assert_eq!(south, [packets, 0, 0], "seed {SEED}");
    world.stop("origin");
    world.stop("north");
    world.stop("deep");
    world.run_until(aired.sounds - EPOCH + 12 * SECOND);
    assert!(account(&world, "low", &aired).is_whole(), "seed {SEED}");
}
