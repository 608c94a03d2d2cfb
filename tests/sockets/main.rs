//! The contract on real sockets, and what only real sockets can show: nodes with their threads, files,
//! certificates and UDP ports, several trees in one process.
//!
//! A test here takes its time in seconds of real time and little of the machine, so those of one kind
//! run side by side, each in a tree of its own.

#[path = "../contract/mod.rs"]
mod contract;
mod hostile;
#[path = "../ports/mod.rs"]
mod ports;
#[path = "../still/mod.rs"]
mod still;
mod stranger;
mod tap;
mod wav;
mod world;

use contract::World;
use still::holds;
use world::{Options, Sockets};

#[test]
fn sound_is_whole_and_in_step_and_a_late_joiner_s_too() {
    hold(&[
        ("every_frame_sounds_once_and_in_order", contract::every_frame_sounds_once_and_in_order),
        ("speakers_of_a_commune_are_in_step", contract::speakers_of_a_commune_are_in_step),
        ("a_late_joiner_is_in_step", contract::a_late_joiner_is_in_step),
    ]);
}

#[test]
fn nodes_that_stop_are_outlived_and_come_back() {
    hold(&[
        ("a_relay_restarted_in_the_midst_comes_back", contract::a_relay_restarted_in_the_midst_comes_back),
        (
            "a_broadcast_fetched_ahead_sounds_without_its_parents",
            contract::a_broadcast_fetched_ahead_sounds_without_its_parents,
        ),
        (
            "a_relay_speaks_to_its_own_area_without_those_above",
            contract::a_relay_speaks_to_its_own_area_without_those_above,
        ),
    ]);
}

#[test]
fn orders_take_effect_everywhere_at_their_instant() {
    hold(&[
        (
            "an_emergency_begins_everywhere_at_its_instant_and_gives_way_again",
            contract::an_emergency_begins_everywhere_at_its_instant_and_gives_way_again,
        ),
        ("a_cancel_silences_everybody_at_one_instant", contract::a_cancel_silences_everybody_at_one_instant),
        ("a_hush_silences_its_area_until_its_end", contract::a_hush_silences_its_area_until_its_end),
    ]);
}

#[test]
fn hostile_peers_and_false_packets_are_heard_by_nobody() {
    side_by_side(&[
        ("false_packets_are_never_forwarded_and_never_sound", &|| {
            contract::false_packets_are_never_forwarded_and_never_sound(&mut fair());
        }),
        ("a_flood_of_garbage", &hostile::a_flood_of_garbage_is_counted_and_heard_by_nobody),
        ("a_thousand_half_open_handshakes", &hostile::a_thousand_half_open_handshakes_are_bounded),
        ("a_client_of_a_foreign_root", &hostile::a_client_of_a_foreign_root_is_turned_away),
        ("a_speaker_that_poses_as_a_parent", &hostile::a_speaker_that_poses_as_a_parent_gets_no_children),
        ("connections_opened_and_dropped", &hostile::connections_opened_and_dropped_cost_nobody_else),
    ]);
}

#[test]
fn a_speaker_plays_what_an_offline_decoder_makes_of_the_same_packets() {
    side_by_side(&[
        ("without loss", &|| wav::speakers_play_what_an_offline_decoder_makes_of_the_same_packets(0.0)),
        ("5 % lost on the last hop", &|| {
            wav::speakers_play_what_an_offline_decoder_makes_of_the_same_packets(0.05);
        }),
    ]);
}

type Contract = fn(&mut dyn World);

fn hold(contracts: &[(&str, Contract)]) {
    let runs: Vec<_> = contracts.iter().map(|(name, contract)| (*name, move || contract(&mut fair()))).collect();
    let runs: Vec<Run> = runs.iter().map(|(name, run)| (*name, run as &(dyn Fn() + Sync))).collect();
    side_by_side(&runs);
}

/// The standard tree on a network that loses nothing.
fn fair() -> Sockets {
    Sockets::start(Options { loss: 0.0, wav: false })
}

type Run<'a> = (&'a str, &'a (dyn Fn() + Sync));

/// Runs each in a thread of its own, all to their end, and names those that failed.
fn side_by_side(runs: &[Run]) {
    let failed: Vec<&str> = std::thread::scope(|scope| {
        let threads: Vec<_> = runs.iter().map(|(name, run)| (*name, scope.spawn(move || holds(name, run)))).collect();
        let failed = |(name, thread): (_, std::thread::ScopedJoinHandle<bool>)| match thread.join() {
            Ok(true) => None,
            _ => Some(name),
        };
        threads.into_iter().filter_map(failed).collect()
    });
    assert!(failed.is_empty(), "these failed, as said above: {failed:?}");
}
