//! Boards that are enrolled and not placed yet, on the simulator: what they sound, how they are placed from two tiers
//! above, and how they are put out again. A failure prints its seed.

mod seed;

use loa::node::trunk::{Place, Reply, Request, What as Told};
use loa::sim::check::{self, Account, Timeline};
use loa::sim::{Aired, Bulletin, Conditions, EPOCH, Hop, Tree, What, World};
use loa::time::SECOND;
use seed::each_seed;
use uuid::Uuid;

/// ```text
///  origin vn ── east vn/01 ─┬─ new      waits
///        │                  ├─ night    waits where it is night
///        └───── west vn/01 ─┴─ placed   stands in vn/01/4, with two parents as the others
/// ```
fn world(seed: u64) -> World {
    let hop = Hop::both(Conditions::clean(20_000, 5_000));
    let mut tree = Tree::new(seed);
    tree.err_by(100.0).origin("origin", "vn");
    tree.relay("east", "vn/01", "origin", hop.clone()).relay("west", "vn/01", "origin", hop.clone());
    tree.speaker("new", "vn/01/4", "east", hop.clone()).spare("west", hop.clone()).unplaced();
    tree.speaker("night", "vn/01/4", "east", hop.clone()).spare("west", hop.clone()).unplaced().at_night();
    tree.speaker("placed", "vn/01/4", "east", hop.clone()).spare("west", hop);
    let mut world = World::new(tree);
    world.run_for(30 * SECOND);
    world
}

fn node(world: &mut World, name: &str) -> Uuid {
    Uuid::from_slice(&world.report(name).expect("it runs").node).expect("an id")
}

/// State and area as the origin knows them.
fn known(world: &mut World, node: Uuid) -> Option<(String, String)> {
    let Some(Reply::Nodes(reports)) = world.request("origin", Request::Nodes) else { panic!("no answer") };
    let found = reports.into_iter().find(|report| report.node.as_ref() == node.as_bytes());
    found.map(|report| (report.state, report.area))
}

fn place(world: &mut World, node: Uuid, replaces: Option<Uuid>) -> bool {
    let (area, name) = (replaces.is_none().then(|| "vn/01/4".parse().unwrap()), None);
    let place =
        Place { node, area, name: name.or(replaces.is_none().then(|| "Cột 1".into())), parents: vec![], replaces };
    match world.request("origin", Request::Place(Box::new(place))) {
        Some(Reply::Placed { told, .. }) => told,
        other => panic!("{other:?}"),
    }
}

fn is_whole(world: &World, name: &str, aired: &Aired) -> bool {
    let timeline = Timeline { track: aired.track, zero: (aired.sounds - EPOCH) as f64, tolerance: 15_000.0 };
    check::once_and_in_order(world.heard(name), aired.track).expect(name);
    Account::of(world.heard(name), timeline, 0, aired.samples).is_whole()
}

fn sounds(world: &World, name: &str) -> usize {
    world.heard(name).iter().filter(|heard| heard.what == What::Sound).count()
}

/// When it began to say its code, µs.
fn calls(world: &World, name: &str) -> Vec<f64> {
    let begins = world.heard(name).iter().filter(|heard| heard.what == What::Tone && heard.sample == 0);
    begins.map(|heard| heard.left).collect()
}

#[test]
fn a_board_without_a_place_says_its_code_by_day_and_hears_nothing_else() {
    each_seed(6, |seed| {
        let mut world = world(seed);
        world.air("origin", &Bulletin::emergency("vn", 20 * SECOND)).expect("on the air");
        world.run_for(200 * SECOND);
        assert!(sounds(&world, "placed") > 1_900, "twenty seconds by ten milliseconds");
        assert_eq!((sounds(&world, "new"), sounds(&world, "night")), (0, 0));
        let calls = calls(&world, "new");
        assert!((3..=4).contains(&calls.len()), "{calls:?}");
        let apart = calls.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(apart.clone().all(|apart| (apart - 60e6).abs() < 50e3), "once a minute: {calls:?}");
        assert!(self::calls(&world, "night").is_empty(), "and nobody is woken");
        for name in ["new", "night"] {
            let id = node(&mut world, name);
            assert_eq!(known(&mut world, id), Some(("waiting".into(), "vn/01".into())), "{name}");
            assert!(!world.is_ready(name));
        }
        assert_eq!((world.foreign(), world.faults()), (0, Default::default()));
    });
}

#[test]
fn a_board_is_placed_from_two_tiers_above_and_sounds_what_comes_next() {
    each_seed(6, |seed| {
        let mut world = world(seed);
        let (new, late) = (node(&mut world, "new"), node(&mut world, "night"));
        assert!(place(&mut world, new, None), "a way leads to it");
        // One that is switched off is told when it comes back.
        world.kill("night");
        world.run_for(60 * SECOND);
        place(&mut world, late, None);
        world.run_for(30 * SECOND);
        world.start("night");
        world.run_for(60 * SECOND);
        for id in [new, late] {
            assert_eq!(known(&mut world, id), Some(("idle".into(), "vn/01/4".into())));
        }
        let aired = world.air("origin", &Bulletin::new("vn/01/4", 10 * SECOND)).expect("on the air");
        world.run_for(20 * SECOND);
        assert!(is_whole(&world, "new", &aired) && is_whole(&world, "night", &aired));
        // What is placed calls no more, after a restart neither.
        let before = calls(&world, "new").len();
        world.restart("new");
        world.run_for(130 * SECOND);
        assert_eq!(calls(&world, "new").len(), before);
    });
}

#[test]
fn a_node_that_is_expelled_hears_nothing_within_two_seconds_and_never_again() {
    each_seed(6, |seed| {
        let mut world = world(seed);
        let placed = node(&mut world, "placed");
        world.air("origin", &Bulletin::new("vn", 300 * SECOND)).expect("on the air");
        world.run_for(20 * SECOND);
        assert!(matches!(world.request("origin", Request::Expel { node: placed }), Some(Reply::Done { .. })));
        world.run_for(2 * SECOND);
        assert_eq!(world.counters("placed").map(|counters| counters.parents), Some(0));
        world.run_for(3 * SECOND);
        let before = sounds(&world, "placed");
        world.run_for(60 * SECOND);
        assert_eq!(sounds(&world, "placed"), before, "no parent took it again");
        assert_eq!(known(&mut world, placed).map(|(state, _)| state), Some("expelled".into()));
        // The parents know of it after a restart too.
        world.restart("east");
        world.restart("west");
        world.run_for(60 * SECOND);
        assert_eq!(world.counters("placed").map(|counters| counters.parents), Some(0));
    });
}

#[test]
fn a_relay_that_is_expelled_is_left_by_its_children() {
    each_seed(6, |seed| {
        let mut world = world(seed);
        let east = node(&mut world, "east");
        let aired = world.air("origin", &Bulletin::new("vn", 60 * SECOND)).expect("on the air");
        world.run_for(10 * SECOND);
        assert!(matches!(world.request("origin", Request::Expel { node: east }), Some(Reply::Done { .. })));
        world.run_for(2 * SECOND);
        let left = |world: &World| {
            let told = world.events("placed").iter();
            told.filter(|(_, event)| matches!(&event.what, Told::Parent { reason, .. } if reason.contains("expelled")))
                .count()
        };
        assert!(left(&world) > 0, "the loudspeaker knows it too, whoever told it");
        world.run_for(60 * SECOND);
        assert!(is_whole(&world, "placed", &aired), "its other parent brought what it should sound");
    });
}
