//! One contract, two worlds: what must be true of a tree of nodes, whether its network is simulated or
//! made of real sockets. Each function takes a fresh world of the [`standard`] tree and judges what its
//! loudspeakers let out.
//!
//! ```text
//!                    origin  vn
//!            ┌─────────┴─────────┐
//!         north vn/01         south vn/02        relays; north may also speak for vn/01
//!       ┌─────┴─────┐            │
//!   00001        00002         00001             communes of two speakers each
//!  n1a n1b      n2a n2b       s1a s1b
//! ```

use loa::sim::check::{self, Account, Timeline};
use loa::sim::{Aired, Bulletin, Heard, What};
use loa::time::{Civil, MILLISECOND, SECOND};

/// What a test can do to a tree and see of it. Processes behind sockets can implement it as well as the
/// simulator.
pub trait World {
    /// Civil time at which `Heard::left` is 0.
    fn epoch(&self) -> Civil;
    fn civil(&self) -> Civil;
    /// Lets µs pass.
    fn wait(&mut self, micros: i64);
    /// Whether this node knows the time and has joined.
    fn ready(&self, node: &str) -> bool;
    fn air(&mut self, node: &str, bulletin: &Bulletin) -> Result<Aired, String>;
    fn cancel(&mut self, node: &str, aired: &Aired) -> Result<(), String>;
    fn hush(&mut self, node: &str, area: &str, duration: i64) -> Result<(), String>;
    /// In good order.
    fn stop(&mut self, node: &str);
    fn start(&mut self, node: &str);
    fn heard(&self, speaker: &str) -> Vec<Heard>;
    /// Sends something false from one node to its neighbour below, in the midst of this broadcast.
    fn attack(&mut self, attack: Attack, from: &str, to: &str, aired: &Aired);
    /// Packets that this node has refused so far.
    fn rejected(&self, node: &str) -> u64;
    /// Packets that nodes passed on, or sounded, and no origin ever made.
    fn foreign(&self) -> u64;
    /// Every queue that ran over its bound.
    fn overrun(&self) -> Vec<String>;
    fn limits(&self) -> Limits;
}

/// What this world's weather and clocks allow.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Between speakers of one commune, µs.
    pub step: f64,
    /// Between a sample's time and its leaving, µs.
    pub on_time: f64,
    /// Share of a bulletin that may be missing.
    pub missing: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// A packet with one bit flipped.
    Corrupt,
    /// An insider's packet under another seal, with the right tag.
    Forge,
    /// An insider's packet that carries another one's sealed payload.
    Splice,
    /// Packets of a minute ago.
    Replay,
    /// What is no packet at all.
    Garbage,
}

pub const ATTACKS: [Attack; 5] = [Attack::Corrupt, Attack::Forge, Attack::Splice, Attack::Replay, Attack::Garbage];
pub const NODES: [&str; 9] = ["origin", "north", "south", "n1a", "n1b", "n2a", "n2b", "s1a", "s1b"];
pub const SPEAKERS: [&str; 6] = ["n1a", "n1b", "n2a", "n2b", "s1a", "s1b"];
const NORTHERN: [&str; 4] = ["n1a", "n1b", "n2a", "n2b"];
const SOUTHERN: [&str; 2] = ["s1a", "s1b"];
const COMMUNES: [[&str; 2]; 3] = [["n1a", "n1b"], ["n2a", "n2b"], ["s1a", "s1b"]];

pub fn every_frame_sounds_once_and_in_order(world: &mut dyn World) {
    settle(world);
    let aired = air(world, "origin", Bulletin::new("vn", 12 * SECOND));
    wait_until(world, aired.sounds + 14 * SECOND);
    SPEAKERS.iter().for_each(|speaker| assert_whole(world, speaker, &aired));
    assert_calm(world);
}

pub fn speakers_of_a_commune_are_in_step(world: &mut dyn World) {
    settle(world);
    let aired = air(world, "origin", Bulletin::new("vn", 20 * SECOND));
    wait_until(world, aired.sounds + 22 * SECOND);
    COMMUNES.iter().for_each(|commune| assert_in_step(world, commune, &aired, 0.0));
    assert_calm(world);
}

pub fn a_late_joiner_is_in_step(world: &mut dyn World) {
    world.stop("n1b");
    settle_all_but(world, &["n1b"]);
    let aired = air(world, "origin", Bulletin::new("vn", 30 * SECOND));
    wait_until(world, aired.sounds + 8 * SECOND);
    world.start("n1b");
    let started = since(world, world.civil());
    wait_until(world, aired.sounds + 32 * SECOND);
    let heard = world.heard("n1b");
    let first = heard.iter().find(|step| step.track == Some(aired.track) && step.what == What::Sound);
    let first = first.expect("the late joiner sounds").left;
    assert!(first - started < 5e6, "it took {} ms to sound", (first - started) / 1e3);
    assert_rest_whole(world, "n1b", &aired, first + 1e6);
    assert_in_step(world, &["n1a", "n1b"], &aired, first + 1e6);
    assert_whole(world, "n1a", &aired);
    assert_calm(world);
}

pub fn a_relay_restarted_in_the_midst_comes_back(world: &mut dyn World) {
    settle(world);
    let aired = air(world, "origin", Bulletin::new("vn", 40 * SECOND));
    wait_until(world, aired.sounds + 8 * SECOND);
    world.stop("north");
    world.wait(500 * MILLISECOND);
    world.start("north");
    let back = since(world, world.civil());
    wait_until(world, aired.sounds + 42 * SECOND);
    SOUTHERN.iter().for_each(|speaker| assert_whole(world, speaker, &aired));
    for speaker in NORTHERN {
        assert_rest_whole(world, speaker, &aired, back + 6e6);
    }
    COMMUNES.iter().for_each(|commune| assert_in_step(world, commune, &aired, back + 6e6));
    assert_calm(world);
}

pub fn false_packets_are_never_forwarded_and_never_sound(world: &mut dyn World) {
    settle(world);
    let aired = air(world, "origin", Bulletin::new("vn", 20 * SECOND));
    wait_until(world, aired.sounds + 2 * SECOND);
    let before = [world.rejected("north"), world.rejected("n1a")];
    for round in 0..30 {
        let attack = ATTACKS[round % ATTACKS.len()];
        world.attack(attack, "origin", "north", &aired);
        world.attack(attack, "north", "n1a", &aired);
        world.wait(400 * MILLISECOND);
    }
    wait_until(world, aired.sounds + 22 * SECOND);
    SPEAKERS.iter().for_each(|speaker| assert_whole(world, speaker, &aired));
    for (node, before) in ["north", "n1a"].into_iter().zip(before) {
        let refused = world.rejected(node) - before;
        assert!(refused >= 12, "{node} refused {refused} false packets");
    }
    assert_calm(world);
}

pub fn an_emergency_begins_everywhere_at_its_instant_and_gives_way_again(world: &mut dyn World) {
    settle(world);
    let limits = world.limits();
    let normal = air(world, "origin", Bulletin::new("vn", 40 * SECOND));
    wait_until(world, normal.sounds + 6 * SECOND);
    let emergency = air(world, "origin", Bulletin::emergency("vn", 8 * SECOND));
    assert!(emergency.sounds - emergency.accepted <= SECOND, "T0 is soon: {emergency:?}");
    wait_until(world, normal.sounds + 42 * SECOND);
    let begins = since(world, emergency.sounds);
    let speech = begins + loa::audio::tone_micros() as f64;
    let timeline = Timeline { track: emergency.track, zero: speech, tolerance: limits.on_time };
    let ends = speech + emergency.samples as f64 / 48e-3;
    for speaker in SPEAKERS {
        let heard = world.heard(speaker);
        let tone = check::left(&heard, What::Tone, None, 0).unwrap_or_else(|| panic!("{speaker}: no tone"));
        assert!((tone - begins).abs() <= limits.on_time, "{speaker}: the tone began {} µs off T0", tone - begins);
        let account = Account::of(&heard, timeline, 0, emergency.samples);
        assert!(1.0 - account.share_on_time() <= limits.missing, "{speaker}: {account:?}");
        check::once_and_in_order(&heard, emergency.track).unwrap_or_else(|error| panic!("{speaker}: {error}"));
        let beneath = heard.iter().find(|step| {
            step.track == Some(normal.track)
                && step.gain > 0.0
                && step.left > begins + limits.on_time
                && step.left + step.lasts < ends - limits.on_time
        });
        assert_eq!(beneath, None, "{speaker}: the normal broadcast sounded during the emergency");
        assert_rest_whole(world, speaker, &normal, ends + 1e6);
    }
    COMMUNES.iter().for_each(|commune| assert_in_step(world, commune, &emergency, 0.0));
    assert_calm(world);
}

pub fn a_cancel_silences_everybody_at_one_instant(world: &mut dyn World) {
    settle(world);
    let limits = world.limits();
    let aired = air(world, "origin", Bulletin::new("vn", 40 * SECOND));
    wait_until(world, aired.sounds + 6 * SECOND);
    world.cancel("origin", &aired).expect("cancelled");
    let given = since(world, world.civil());
    wait_until(world, aired.sounds + 20 * SECOND);
    let last: Vec<f64> = SPEAKERS.iter().map(|speaker| last_sound(world, speaker, given - 2e6)).collect();
    let (first, latest) = (last.iter().copied().fold(f64::MAX, f64::min), last.iter().copied().fold(0.0, f64::max));
    assert!(latest < given + 1e6, "silent {} ms after the cancel", (latest - given) / 1e3);
    assert!(latest - first <= limits.on_time + FADE, "they fell silent {} ms apart", (latest - first) / 1e3);
    assert_calm(world);
}

pub fn a_hush_silences_its_area_until_its_end(world: &mut dyn World) {
    settle(world);
    let aired = air(world, "origin", Bulletin::new("vn", 40 * SECOND));
    wait_until(world, aired.sounds + 6 * SECOND);
    world.hush("origin", "vn/01", 10 * SECOND).expect("hushed");
    let given = since(world, world.civil());
    wait_until(world, aired.sounds + 42 * SECOND);
    for speaker in NORTHERN {
        let during = check::sounding(&world.heard(speaker), given + 1e6, given + 9.5e6);
        assert_eq!(during, None, "{speaker} sounded while hushed");
        assert_rest_whole(world, speaker, &aired, given + 11.5e6);
    }
    SOUTHERN.iter().for_each(|speaker| assert_whole(world, speaker, &aired));
    assert_calm(world);
}

pub fn a_broadcast_fetched_ahead_sounds_without_its_parents(world: &mut dyn World) {
    settle(world);
    let at = world.civil() + 30 * SECOND;
    let aired = air(world, "origin", Bulletin { at: Some(at), ..Bulletin::new("vn", 10 * SECOND) });
    assert_eq!(aired.sounds, at);
    wait_until(world, at - 4 * SECOND);
    ["north", "south", "origin"].into_iter().for_each(|node| world.stop(node));
    wait_until(world, at + 12 * SECOND);
    SPEAKERS.iter().for_each(|speaker| assert_whole(world, speaker, &aired));
    COMMUNES.iter().for_each(|commune| assert_in_step(world, commune, &aired, 0.0));
}

pub fn a_relay_speaks_to_its_own_area_without_those_above(world: &mut dyn World) {
    settle(world);
    world.air("north", &Bulletin::new("vn/02", 4 * SECOND)).expect_err("the south is not its to speak to");
    world.stop("origin");
    world.wait(2 * SECOND);
    let aired = air(world, "north", Bulletin::new("vn/01", 10 * SECOND));
    wait_until(world, aired.sounds + 12 * SECOND);
    NORTHERN.iter().for_each(|speaker| assert_whole(world, speaker, &aired));
    for speaker in SOUTHERN {
        assert_eq!(check::sounding(&world.heard(speaker), 0.0, f64::MAX), None, "{speaker} is not in the north");
    }
    assert_calm(world);
}

pub fn settle(world: &mut dyn World) {
    settle_all_but(world, &[]);
}

/// Waits until all have joined, and then until their clocks have had their first exchanges.
fn settle_all_but(world: &mut dyn World, absent: &[&str]) {
    let deadline = world.civil() + 30 * SECOND;
    while let Some(node) = NODES.iter().find(|node| !absent.contains(*node) && !world.ready(node)) {
        assert!(world.civil() < deadline, "{node} did not join within 30 s");
        world.wait(100 * MILLISECOND);
    }
    world.wait(2 * SECOND);
}

pub fn air(world: &mut dyn World, node: &str, bulletin: Bulletin) -> Aired {
    world.air(node, &bulletin).unwrap_or_else(|error| panic!("{error}"))
}

pub fn wait_until(world: &mut dyn World, civil: Civil) {
    let left = civil - world.civil();
    if left > 0 {
        world.wait(left);
    }
}

/// µs on the scale of `Heard::left`.
fn since(world: &dyn World, civil: Civil) -> f64 {
    (civil - world.epoch()) as f64
}

fn timeline(world: &dyn World, aired: &Aired) -> Timeline {
    Timeline { track: aired.track, zero: since(world, aired.sounds), tolerance: world.limits().on_time }
}

pub fn assert_whole(world: &dyn World, speaker: &str, aired: &Aired) {
    assert_rest_whole(world, speaker, aired, f64::MIN);
}

/// Everything that should leave after `from` did, in time, once and in order.
fn assert_rest_whole(world: &dyn World, speaker: &str, aired: &Aired, from: f64) {
    let timeline = timeline(world, aired);
    let heard = world.heard(speaker);
    let first = ((from - timeline.zero).max(0.0) * 48e-3) as u64;
    assert!(first < aired.samples, "{speaker}: nothing of the bulletin is left to judge");
    let account = Account::of(&heard, timeline, first, aired.samples);
    assert!(1.0 - account.share_on_time() <= world.limits().missing, "{speaker}: {account:?} from sample {first}");
    check::once_and_in_order(&heard, aired.track).unwrap_or_else(|error| panic!("{speaker}: {error}"));
}

fn assert_in_step(world: &dyn World, commune: &[&str], aired: &Aired, from: f64) {
    let heard: Vec<Vec<Heard>> = commune.iter().map(|speaker| world.heard(speaker)).collect();
    let heard: Vec<&[Heard]> = heard.iter().map(Vec::as_slice).collect();
    let windows = check::spread(&heard, aired.track);
    let windows: Vec<f64> =
        windows.into_iter().filter(|(at, _)| *at as f64 >= from).map(|(_, spread)| spread).collect();
    assert!(!windows.is_empty(), "{commune:?} never sounded together");
    let worst = check::percentile(&windows, 0.99);
    assert!(worst <= world.limits().step, "{commune:?} are {worst:.0} µs apart: {windows:.0?}");
}

/// Nothing foreign went through, and no queue ran over.
pub fn assert_calm(world: &dyn World) {
    assert_eq!(world.foreign(), 0, "false packets were passed on or sounded");
    assert_eq!(world.overrun(), Vec::<String>::new());
}

fn last_sound(world: &dyn World, speaker: &str, from: f64) -> f64 {
    let heard = world.heard(speaker);
    check::sounding(&heard, from, f64::MAX).unwrap_or_else(|| panic!("{speaker} was silent before")).1
}

/// µs over which a change of programme fades (`playout::Options`), and a step.
const FADE: f64 = 60_000.0;
