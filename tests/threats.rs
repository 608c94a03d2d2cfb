//! The threats that Loa is built against, and for each the tests that show its answer. What no other file shows
//! stands below.
//!
//! | threat | shown by |
//! |---|---|
//! | an outsider injects or alters packets | `src/track/cipher.rs::every_flipped_bit_and_every_cut_is_refused` `src/session/hostile.rs::packets_of_unknown_tracks_are_counted_and_leave_no_trace` `src/io/quic/tests.rs::no_link_gets_anothers_media_nor_its_name_by_writing_its_address_on_packets` `src/io/tls.rs::a_node_of_another_root_is_refused_by_both_sides` `tests/sockets/main.rs::hostile_peers_and_false_packets_are_heard_by_nobody` |
//! | an insider or a relay forges sound | `src/track/seal.rs::a_holder_of_the_secret_cannot_move_a_payload_or_relabel_it` `tests/contract/mod.rs::false_packets_are_never_forwarded_and_never_sound` `tests/forged/main.rs::of_a_million_false_sequences_none_is_heard_written_down_or_passed_on` |
//! | a commune's key is stolen | `src/broadcast/tests/attack.rs::no_sequence_of_orders_lets_a_limited_authority_out_of_its_grant` `src/broadcast/tests/authority.rs::a_grant_counts_within_its_dates_only` `src/broadcast/tests/authority.rs::a_revoked_key_takes_everything_beneath_it_along` `tests/enrolment/hands.rs::a_tree_made_by_the_command_line_speaks_until_its_right_is_revoked` `src/node/trunk/hostile.rs::an_authority_elsewhere_cannot_take_a_node_away` `src/node/trunk/time.rs::a_tick_that_names_no_area_does_not_take_trusted_time_away` |
//! | replay, late delivery, another order | `src/broadcast/tests/book.rs::the_very_same_bytes_are_a_repetition_and_the_same_id_with_others_a_replay` `src/broadcast/tests/authority.rs::orders_from_the_future_and_expired_ones_are_refused` `src/broadcast/tests/attack.rs::two_books_fed_the_same_orders_in_different_order_choose_the_same` `tests/threats.rs::what_was_cancelled_stays_so_at_a_speaker_that_restarts_and_is_told_the_old_order_again` |
//! | a parent lies about the time or withholds orders | `src/node/trunk/time.rs::phase_alone_is_not_civil_time_and_a_tick_makes_it_so` `src/node/trunk/time.rs::a_seal_or_a_narrower_tick_dated_ahead_does_not_take_trusted_time_away` `src/node/trunk/parents/lead.rs::a_parent_that_passes_no_orders_on_is_left_once_the_other_does` `src/session/repair/tests.rs::a_missing_order_is_asked_for_ever_more_slowly_and_then_given_up` |
//! | flood, storm, garbage | `src/session/flood.rs::a_peer_that_never_stops_is_hung_up_on_after_ten_seconds_and_one_that_pauses_is_not` `src/node/branch/tests.rs::a_child_that_wants_every_track_and_every_fetch_at_once_is_held_to_its_limits` `src/io/quic/tests.rs::floods_of_garbage_and_half_open_handshakes_disturb_nobody` `src/io/quic/handshakes.rs::one_address_can_fill_neither_what_is_half_open_nor_what_waits` `tests/fuzz.rs::no_bytes_from_outside_make_a_parser_panic` |
//! | a node is stolen from its pole | `tests/waiting.rs::a_node_that_is_expelled_hears_nothing_within_two_seconds_and_never_again` `tests/enrolment/boards.rs::forty_boards_come_in_by_one_file_and_three_hostile_ones_gain_nothing` `tests/threats.rs::a_speaker_holds_no_key_but_its_own` `tests/threats.rs::a_speaker_is_nobodys_parent` `src/io/tls.rs::nodes_of_one_root_trust_each_other_by_role` `src/node/trunk/hostile.rs::a_relay_below_cannot_speak_for_a_child_of_this_node` |

use loa::broadcast::Address;
use loa::io::identity::{NewNode, Root};
use loa::io::store::Store;
use loa::node::trunk::{self, Input, Output, Trunk};
use loa::node::{Peer, Role};
use loa::proto::record::Body;
use loa::session::{Arrival, child};
use loa::sim::{Bulletin, Conditions, Hop, Tree, What, World};
use loa::time::{Local, MILLISECOND, SECOND};
use loa::track::{Header, Secret};
use std::fs;
use std::path::Path;
use uuid::Uuid;

#[test]
fn every_threat_of_the_table_names_tests_that_exist() {
    let rows: Vec<&str> =
        include_str!("threats.rs").lines().filter(|line| line.starts_with("//! | ")).skip(1).collect();
    assert_eq!(rows.len(), 7, "the table has a row for each threat");
    for row in rows {
        let named: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "no test is named: {row}");
        for test in named {
            let (path, name) = test.split_once(".rs::").unwrap_or_else(|| panic!("{test} is not path.rs::name"));
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{path}.rs"));
            let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{test}: {error}"));
            assert!(text.contains(&format!("fn {name}(")), "{test} does not exist any more: mend the table");
        }
    }
}

/// An origin, a relay and a loudspeaker.
fn world() -> World {
    let hop = || Hop::both(Conditions::clean(5 * MILLISECOND, 0));
    let mut tree = Tree::new(7);
    tree.origin("origin", "vn").relay("relay", "vn/01", "origin", hop()).speaker("pole", "vn/01/1", "relay", hop());
    let mut world = World::new(tree);
    world.run_for(3 * SECOND);
    assert!(world.is_ready("pole"));
    world
}

/// Sound of this track let out from that true time on.
fn sounds_after(world: &World, track: Uuid, from: i64) -> usize {
    let sound = |step: &&loa::sim::Heard| step.what == What::Sound && step.track == Some(track);
    world.heard("pole").iter().filter(sound).filter(|step| step.left > from as f64 && step.gain > 0.0).count()
}

#[test]
fn what_was_cancelled_stays_so_at_a_speaker_that_restarts_and_is_told_the_old_order_again() {
    let mut world = world();
    let mut bulletin = Bulletin::new("vn", 60 * SECOND);
    bulletin.live = true;
    let aired = world.air("origin", &bulletin).expect("on the air");
    world.run_for(4 * SECOND);
    assert!(sounds_after(&world, aired.track, 0) > 50, "it sounds at first");
    let log = |bytes: &bytes::Bytes| Header::parse(bytes).is_some_and(|header| header.payload_type == Header::LOG);
    let old: Vec<_> = world.tapped("relay", "pole").into_iter().filter(log).collect();
    assert!(!old.is_empty());
    world.cancel("origin", aired.broadcast).expect("cancelled");
    world.run_for(2 * SECOND);
    world.kill("pole");
    world.run_for(SECOND);
    world.start("pole");
    world.run_for(4 * SECOND);
    let from = world.now();
    for _ in 0..5 {
        for packet in &old {
            assert!(world.inject("relay", "pole", Arrival::Media(packet.clone())));
        }
        let newest = world.genuine(aired.track, 60);
        newest.into_iter().for_each(|packet| assert!(world.inject("relay", "pole", Arrival::Media(packet))));
        world.run_for(2 * SECOND);
    }
    assert_eq!(sounds_after(&world, aired.track, from), 0);
    assert_eq!(world.faults(), Default::default());
}

#[test]
fn a_speaker_holds_no_key_but_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let area = "vn/01/1".parse().unwrap();
    let speaker = NewNode { role: Role::Speaker, area, name: "pole".into(), authority: None };
    Root::generate().provision(folder.path(), &speaker).unwrap();
    let names = |folder: &Path| -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&folder.path().join("authorities")), Vec::<String>::new());
    assert_eq!(names(&folder.path().join("roots")), ["main.crt", "main.pub"]);
    let private: Vec<String> = names(folder.path()).into_iter().filter(|name| name.ends_with(".key")).collect();
    assert_eq!(private, ["node.key"]);
    // What it was told is where it stands; nothing there lets it give orders.
    let records = Store::open(folder.path()).unwrap().journal().unwrap();
    assert!(records.iter().all(|record| !matches!(record.body, Some(Body::Key(_)))));
    assert_eq!(records.len(), 1);
}

#[test]
fn a_speaker_is_nobodys_parent() {
    let options = trunk::Options {
        node: Uuid::from_u128(1),
        role: Role::Relay,
        parents: vec![Address::new("parent:7460", 1).unwrap()],
        siblings: Vec::new(),
        both: false,
        branches: 1,
        playout: None,
        session: child::Options::default(),
        roots: Vec::new(),
        authority: None,
        log: trunk::Log { track: Uuid::from_u128(2), ssrc: 1, secret: Secret { key: [1; 16], salt: [2; 12] } },
        seed: [3; 32],
        tick: 10 * SECOND,
        rendition: Default::default(),
        daylight: trunk::Daylight::in_zone(0),
        issuer: false,
        backed: false,
        stored: u64::MAX,
        instance: 1,
    };
    let mut trunk = Trunk::new(Local(0), options);
    let peer = Peer { node: Uuid::from_u128(9), role: Role::Speaker };
    trunk.handle_input(Local(0), Input::Restore(Vec::new()));
    trunk.handle_input(Local(0), Input::Up { parent: 0, link: 1, peer });
    let outputs: Vec<Output> = std::iter::from_fn(|| trunk.poll_output()).collect();
    let hung = |output: &Output| matches!(output, Output::Hang { link: 1, code, .. } if code == "parent.role");
    assert!(outputs.iter().any(hung), "{outputs:?}");
    assert!(!outputs.iter().any(|output| matches!(output, Output::Send { .. })), "it is not even greeted");
}
