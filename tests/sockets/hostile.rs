//! Hostile peers at the port of a relay that is on the air: whoever they are, the speakers' sound is
//! whole, and the relay's counters say what came.

use super::contract::{self, World};
use super::stranger::Stranger;
use super::tap::loopback;
use super::world::{Options, Place, Sockets};
use loa::io::identity::Root;
use loa::sim::{Aired, Bulletin, Random};
use loa::time::{MILLISECOND, SECOND};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Runs `hostility` in the midst of a bulletin, on a fresh tree.
fn on_the_air(hostility: impl FnOnce(&mut Sockets, &Aired)) {
    let mut world = Sockets::start(Options { loss: 0.0, wav: false });
    contract::settle(&mut world);
    let aired = contract::air(&mut world, "origin", Bulletin::new("vn", 12 * SECOND));
    contract::wait_until(&mut world, aired.sounds + SECOND);
    hostility(&mut world, &aired);
    let left = aired.sounds + 11 * SECOND - world.civil();
    assert!(left > 0, "the bulletin was over before the hostility: {left}");
    contract::wait_until(&mut world, aired.sounds + 14 * SECOND);
    contract::SPEAKERS.iter().for_each(|speaker| contract::assert_whole(&world, speaker, &aired));
    contract::assert_calm(&world);
}

fn ports(world: &Sockets, node: &str) -> Vec<SocketAddr> {
    let port = world.member(node).port.expect("a relay");
    let shards = world.member(node).config.children.as_ref().map_or(1, |children| children.shards);
    (port..port + shards).map(loopback).collect()
}

/// Folders of nodes that are provisioned and never run.
fn identity(world: &mut Sockets, name: &str, root: &Root) -> std::path::PathBuf {
    let place = Place { name, area: "vn/01/00001", parent: None, shards: 0, speaks: false, ppm: 0.0 };
    world.add_stranger(&place, root, vec!["127.0.0.1:9".to_owned()], 1);
    world.folder().join(name)
}

pub fn a_flood_of_garbage_is_counted_and_heard_by_nobody() {
    on_the_air(|world, _| {
        let targets = ports(world, "north");
        let socket = UdpSocket::bind(loopback(0)).expect("a port");
        let mut random = Random::of(1, "garbage", 0);
        let mut media = 0;
        // 5 s of 1,000 datagrams a second, twenty times what the relay's children send: all that QUIC and
        // SRTP might take for their own.
        for _ in 0..500 {
            for number in 0..10 {
                let mut bytes = vec![0; random.below(1_400) as usize];
                random.fill(&mut bytes);
                let first = match number % 4 {
                    // A long header of QUIC 1, a short one, SRTP.
                    0 => &[0xc3, 0, 0, 0, 1, 8][..],
                    1 => &[0x41],
                    2 => &[0x80, 96],
                    _ => &[],
                };
                let overlap = first.len().min(bytes.len());
                bytes[..overlap].copy_from_slice(&first[..overlap]);
                media += u64::from(bytes.first().is_some_and(|first| (128..=191).contains(first)));
                let _ = socket.send_to(&bytes, targets[number % targets.len()]);
            }
            world.wait(10 * MILLISECOND);
        }
        world.wait(1_200 * MILLISECOND);
        let counted = world.metric("north", "loa_packets_rejected_total", "unknown_source");
        assert!(counted > media / 2, "{counted} of {media} false SRTP packets were counted");
    });
}

pub fn a_thousand_half_open_handshakes_are_bounded() {
    on_the_air(|world, _| {
        let root = Root::generate();
        let data = identity(world, "half", &root);
        let targets = ports(world, "north");
        for host in 1..=50 {
            let mut stranger = Stranger::new(([127, 0, 1, host], 0).into(), &data);
            for _ in 0..20 {
                stranger.dial(targets[usize::from(host) % targets.len()]);
            }
            world.wait(20 * MILLISECOND);
        }
        // Those that were let in are given up after 5 s.
        world.wait(7 * SECOND);
        let failed = world.metric("north", "loa_handshakes_rejected_total", "failed");
        assert!((1..=600).contains(&failed), "{failed} half-open handshakes were given up");
    });
}

pub fn a_client_of_a_foreign_root_is_turned_away() {
    on_the_air(|world, _| {
        let data = identity(world, "foreign", &Root::generate());
        let children = world.handle("north").expect("it runs").snapshot().trunk.children;
        let mut stranger = Stranger::new(loopback(0), &data);
        for target in ports(world, "north") {
            stranger.dial(target);
        }
        stranger.run(Duration::from_millis(500));
        stranger.say(&[0; 64]);
        stranger.run(Duration::from_millis(1_500));
        assert_eq!(stranger.ended.len(), 2, "{:?}", stranger.ended);
        let refused = world.metric("north", "loa_handshakes_rejected_total", "failed");
        assert!(refused >= 2, "{refused} handshakes were refused");
        assert_eq!(world.handle("north").expect("it runs").snapshot().trunk.children, children);
    });
}

pub fn a_speaker_that_poses_as_a_parent_gets_no_children() {
    let stop = Arc::new(AtomicBool::new(false));
    let mut serving = None;
    on_the_air(|world, _| {
        // A certificate of our own root, stolen from a pole.
        let root = world.root();
        let stolen = identity(world, "stolen", &root);
        let (impostor, thread) = Stranger::serve(&stolen, stop.clone());
        serving = Some(thread);
        let alone = Place { name: "alone", area: "vn/01/00001", parent: None, shards: 0, speaks: false, ppm: 0.0 };
        world.add_stranger(&alone, &root, vec![impostor.to_string()], 1);
        world.start("alone");
        world.wait(5 * SECOND);
        assert!(!world.ready("alone"), "it took a speaker for its parent");
    });
    stop.store(true, Ordering::Relaxed);
    let completed = serving.map(|thread| thread.join().expect("the impostor"));
    assert_eq!(completed, Some(0), "handshakes were completed with the impostor");
}

pub fn connections_opened_and_dropped_cost_nobody_else() {
    on_the_air(|world, _| {
        let root = world.root();
        let data = identity(world, "fickle", &root);
        let targets = ports(world, "north");
        let mut completed = 0;
        for round in 0..12 {
            let mut stranger = Stranger::new(loopback(0), &data);
            for target in &targets {
                stranger.dial(*target);
                stranger.dial(*target);
            }
            stranger.run(Duration::from_millis(250));
            completed += stranger.completed;
            if round % 3 == 2 {
                stranger.say(&[0xff; 900]);
                stranger.run(Duration::from_millis(100));
            }
            stranger.drop_all(round % 2 == 0);
        }
        assert!(completed >= 24, "{completed} handshakes of a good certificate were completed");
        world.wait(1_200 * MILLISECOND);
        let violations = world.metric("north", "loa_violations_total", "");
        assert!(violations > 0, "garbage on a control stream breaks the protocol");
    });
}
