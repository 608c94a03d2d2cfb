//! What a run asks of a tree: one typed TOML file. Unknown fields are rejected with file, line and field, as a
//! node's configuration rejects them; units stand in the names.
mod check;

use crate::failure::{Failure, Result};
use crate::plan::Kind as Hostile;
use check::overridden;
use loa::config::Error;
use loa::config::page::Page;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What the run is called on its page; the file's name if left out.
    #[serde(default)]
    pub title: String,
    /// The tree that the tool starts for itself. Left out only beside `[attach]`.
    pub tree: Option<Tree>,
    /// A tree that runs already.
    pub attach: Option<Attach>,
    pub speakers: Speakers,
    #[serde(default)]
    pub sound: Sound,
    pub run: Run,
    /// For `kind = "storm"` alone, and required there.
    pub storm: Option<Storm>,
    /// For `kind = "emergency"` alone.
    pub emergency: Option<Emergency>,
    /// For `kind = "growth"` alone, and required there.
    pub growth: Option<Growth>,
    /// What must hold; whatever is left out is only shown.
    #[serde(default)]
    pub thresholds: Thresholds,
}

/// One process per node, on loopback, in a temporary folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tree {
    /// Directly below the origin; speakers dial the lowest level there is.
    #[serde(default)]
    pub relays: u16,
    /// A second level: so many below each of `relays`.
    #[serde(default)]
    pub communes: u16,
    /// Of every node: threads, one UDP port each.
    #[serde(default = "one")]
    pub shards: u16,
    /// Of every node's children together; the node's own bound, if left out.
    pub beats_per_second: Option<u32>,
    /// The processor cores that the nodes may use; all, if empty. One the machine lacks is an error.
    #[serde(default)]
    pub cores: Vec<usize>,
    /// Of the Opus encoder; the tool measures no encoder, so the cheapest is the default.
    #[serde(default)]
    pub complexity: u8,
}

/// Nothing is started and nothing is stopped: the tool sends broadcasts to the running tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attach {
    /// Where the speakers dial, shared out evenly.
    pub relays: Vec<Relay>,
    /// `root.key` of the tree: the tool makes an identity for each speaker.
    pub root_key: PathBuf,
    /// The API of the node that speaks, such as "127.0.0.1:8460".
    pub api: SocketAddr,
    /// Its data folder's `api.token`.
    pub token_file: PathBuf,
    /// Its admin listener, for `/metrics`; nothing is read if left out.
    pub admin: Option<SocketAddr>,
    /// Other processes of the tree on this machine whose CPU and memory are measured, such as the origin's.
    #[serde(default)]
    pub processes: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relay {
    /// Of its first shard.
    pub address: SocketAddr,
    #[serde(default = "one")]
    pub shards: u16,
    /// Where the relay stands; its speakers stand below.
    pub area: String,
    /// Of the relay, if it runs on this machine: its CPU and memory are measured.
    pub process: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Speakers {
    /// All of them; of a storm, those that stream before it.
    pub count: u64,
    /// New sessions a second, at most, over all processes.
    #[serde(default = "connect")]
    pub connect_per_second: f64,
    /// One in so many unprotects every packet and checks its seal; the others compare theirs, byte by
    /// byte, with one that was checked.
    #[serde(default = "checked")]
    pub checked_one_in: u64,
    /// Reads several packets that left together with one call (UDP_GRO).
    #[serde(default = "yes")]
    pub gro: bool,
    /// µs slept between two looks at the sockets, so that one look finds many packets.
    #[serde(default = "nap")]
    pub nap_us: u64,
    /// Processes that carry the speakers; 0: one for each 10,000. A storm's newcomers have processes of their own, of
    /// the same size at most.
    #[serde(default)]
    pub processes: u16,
    /// The processor cores that these may use; all, if empty.
    #[serde(default)]
    pub cores: Vec<usize>,
    /// 0 to 0.5: this share of the speakers misbehaves, and is judged by nobody. For `kind = "hold"` alone.
    #[serde(default)]
    pub hostile: f64,
    /// How they misbehave, in turn; all ways if empty.
    #[serde(default)]
    pub kinds: Vec<Hostile>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sound {
    /// Of Opus, b/s; with `delay_ms` it decides how long a packet is.
    #[serde(default = "bitrate")]
    pub bitrate: u32,
    /// Playout delay of the broadcasts. Of packets of 240 ms, two may leave at once from 1240 on, three from 1480,
    /// four from 1720 (src/track/bunch.rs).
    #[serde(default = "delay")]
    pub delay_ms: i64,
    /// Broadcasts at once, each to areas of its own with its own listeners; more than one needs relays.
    #[serde(default = "tracks")]
    pub tracks: u64,
    /// Aired instead of generated speech-like sound; must last the run.
    pub file: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    pub kind: Kind,
    /// How long everything is measured once all have joined; of a storm, from its first
    /// instant until so long after its last newcomer streams; of growth, each step. An emergency ends with its hush.
    pub seconds: f64,
    /// Between the last join and the first measurement.
    #[serde(default = "settle")]
    pub settle_seconds: f64,
    /// For all to join and hear sound; of growth, each step's.
    #[serde(default = "patience")]
    pub join_seconds: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// All listen, for a time.
    Hold,
    /// Some stream; many more connect at once.
    Storm,
    /// An emergency cuts in, and is hushed once everybody sounds it.
    Emergency,
    /// Step by step more listeners, and more tracks.
    Growth,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storm {
    /// Sessions that begin as fast as this tool can dial, beside those of `[speakers]`, whatever `connect_per_second`
    /// says.
    pub newcomers: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Emergency {
    /// An emergency and its hush, so many times. A hush lasts a minute and silences the next one, so that is waited out.
    #[serde(default = "rounds")]
    pub rounds: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Growth {
    /// Speakers of each step on one track, rising; 100 to 50,000 if left out, none if empty.
    #[serde(default = "listener_steps")]
    pub listeners: Vec<u64>,
    /// Tracks of each step, rising, with listeners of their own; 1 to 200 if left out, none if empty.
    #[serde(default = "track_steps")]
    pub tracks: Vec<u64>,
    #[serde(default = "per_track")]
    pub listeners_per_track: u64,
}

/// At most so much, but for those that say "at least".
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// At least this share of the speakers, 0 to 1, joined and heard sound; of growth, at every step.
    pub joined: Option<f64>,
    pub join_p99_ms: Option<f64>,
    /// Packets of sound that a well-behaved listener never had.
    pub lost: Option<f64>,
    /// Packets whose seal failed, among those checked.
    pub forged: Option<f64>,
    /// From the instant at which the origin should send; of several windows, the worst.
    pub delivery_p50_ms: Option<f64>,
    pub delivery_p99_ms: Option<f64>,
    pub delivery_max_ms: Option<f64>,
    /// Of the whole tree, per listener and second, µs.
    pub cpu_us_per_listener_second: Option<f64>,
    /// What the listeners added to the nodes they dial.
    pub rss_kib_per_listener: Option<f64>,
    /// Of any node, from the last join to the end.
    pub memory_growth_kib: Option<f64>,
    pub order_p99_ms: Option<f64>,
    pub first_sound_p99_ms: Option<f64>,
    pub hush_p99_ms: Option<f64>,
    /// Speakers that an emergency did not reach, and those that its hush did not.
    pub not_reached: Option<f64>,
    /// From an emergency's acceptance until the origin has receipts of all speakers.
    pub receipts_s: Option<f64>,
    pub storm_all_streaming_s: Option<f64>,
    /// Packets that those lost who streamed before a storm, from its first instant to the end.
    pub others_lost: Option<f64>,
    /// From a storm's first instant until all newcomers stream, and for ten seconds at least.
    pub others_delivery_p99_ms: Option<f64>,
    /// R² of the straight lines of growth: at least so much.
    pub cpu_r2: Option<f64>,
    pub memory_r2: Option<f64>,
}

impl Profile {
    /// Reads and checks; paths in it are relative to the file.
    pub fn load(file: &Path, overrides: &[String]) -> Result<Self> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            Failure::usage(format!("{}: {error}; name a readable profile with --profile", file.display()))
        })?;
        let mut profile = Self::parse(&text, file)?;
        if !overrides.is_empty() {
            profile = overridden(&text, file, overrides)?;
        }
        profile.anchor(file);
        Ok(profile)
    }

    pub fn parse(text: &str, file: &Path) -> std::result::Result<Self, Error> {
        let page = Page { text, file };
        let profile: Self = toml::from_str(text).map_err(|error| page.refuse(&error))?;
        match profile.mistake() {
            Some((table, key, what)) => Err(page.wrong(table, key, &what)),
            None => Ok(profile),
        }
    }

    /// All speakers that are there at the end.
    pub fn most_speakers(&self) -> u64 {
        let growth = self.growth.iter().flat_map(|growth| {
            let tracks = growth.tracks.iter().map(|tracks| tracks.saturating_mul(growth.listeners_per_track));
            growth.listeners.iter().copied().chain(tracks)
        });
        let storm = self.storm.as_ref().map_or(0, |storm| storm.newcomers);
        growth.max().unwrap_or_else(|| self.speakers.count.saturating_add(storm))
    }

    pub fn rounds(&self) -> u32 {
        self.emergency.as_ref().map_or_else(rounds, |emergency| emergency.rounds)
    }

    pub fn most_tracks(&self) -> u64 {
        let growth = self.growth.iter().flat_map(|growth| growth.tracks.iter().copied());
        growth.max().unwrap_or(0).max(self.sound.tracks)
    }

    fn anchor(&mut self, file: &Path) {
        let folder = file.parent().unwrap_or(Path::new(""));
        if self.title.is_empty() {
            self.title = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        }
        if let Some(file) = &mut self.sound.file {
            *file = folder.join(&*file);
        }
        if let Some(attach) = &mut self.attach {
            attach.token_file = folder.join(&attach.token_file);
            attach.root_key = folder.join(&attach.root_key);
        }
    }
}

fn one() -> u16 {
    1
}

fn connect() -> f64 {
    500.0
}

fn checked() -> u64 {
    100
}

fn nap() -> u64 {
    1_000
}

fn yes() -> bool {
    true
}

fn bitrate() -> u32 {
    24_000
}

fn delay() -> i64 {
    1_000
}

fn tracks() -> u64 {
    1
}

fn settle() -> f64 {
    5.0
}

fn patience() -> f64 {
    300.0
}

fn rounds() -> u32 {
    3
}

fn listener_steps() -> Vec<u64> {
    vec![100, 1_000, 5_000, 10_000, 20_000, 30_000, 40_000, 50_000]
}

fn track_steps() -> Vec<u64> {
    vec![1, 10, 25, 50, 100, 150, 200]
}

fn per_track() -> u64 {
    50
}

impl Default for Sound {
    fn default() -> Self {
        Self { bitrate: bitrate(), delay_ms: delay(), tracks: tracks(), file: None }
    }
}

#[cfg(test)]
mod tests;
