//! What one run of the load tool found: the JSON that it writes, and what the page and the thresholds are made of.
//! Units stand in the names; µs of CPU are of the machine's clock, KiB are resident.
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Outcome {
    pub profile: String,
    /// RFC 3339, local time with its zone.
    pub started: String,
    pub command: String,
    /// The profile as it was run, in TOML, whatever was set on the command line in it.
    #[serde(default)]
    pub settings: String,
    /// Ended before its time: what is here is what was found until then.
    pub interrupted: bool,
    pub machine: Machine,
    /// What was asked of the tree.
    pub speakers: u64,
    pub relays: u64,
    pub tracks: u64,
    pub bitrate: u64,
    pub packet_ms: u64,
    /// Packets that leave in one send, where the playout delay can spare the wait.
    pub together: u64,
    /// How long all of them streamed after the last join.
    pub held_s: f64,
    pub joined: u64,
    /// Dial to the first verified packet of sound, or to the end of the welcome where nothing sounds.
    pub join_ms: Quantiles,
    pub sound: Sound,
    pub targets: Vec<Target>,
    /// The load tool's own processes together.
    pub load: Usage,
    pub emergency: Option<Emergency>,
    pub storm: Option<Storm>,
    /// What the hostile part of the listeners did and what became of them: kind to count.
    /// Those with `target: ` are what the tree counted meanwhile.
    pub hostile: std::collections::BTreeMap<String, u64>,
    /// Delivery to all, before some turned hostile.
    pub without_hostile_ms: Quantiles,
    /// One for each step of a growth profile.
    pub steps: Vec<Step>,
    /// About one a second.
    pub samples: Vec<Sample>,
    pub events: Vec<Event>,
    pub thresholds: Vec<Threshold>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    pub processor: String,
    pub cores: u64,
    pub memory_mib: u64,
    pub kernel: String,
}

/// Of the samples of one run; `count` 0 means that there were none and the rest says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    pub count: u64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// Packets of sound, summed over the well-behaved listeners and over every window in which the run was held. Delays
/// are the last window's alone, as `held_s` is; a growth's steps and `without_hostile_ms` tell of the others.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sound {
    /// Indices that the listeners should have had.
    pub expected: u64,
    /// Of these, those that came, by whatever way.
    pub received: u64,
    pub lost: u64,
    /// Came again on request.
    pub repaired: u64,
    pub duplicates: u64,
    /// From the instant that the packet's place on the track's timeline gives the origin to send it; of packets that
    /// leave together, the last one's place.
    pub delivery_ms: Quantiles,
    /// Unprotected and their seals checked: a sample of the listeners.
    pub checked: u64,
    pub forged: u64,
    pub bytes: u64,
}

/// One process of the tree under test.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Target {
    pub name: String,
    pub role: String,
    pub listeners: u64,
    /// While the run was held.
    pub cpu_s: f64,
    pub cpu_us_per_listener_second: f64,
    pub rss_before_kib: u64,
    pub rss_joined_kib: u64,
    pub rss_end_kib: u64,
    pub rss_kib_per_listener: f64,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    pub cpu_s: f64,
    pub rss_kib: u64,
    pub processes: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Emergency {
    pub rounds: u64,
    /// Of all rounds together; from the origin's acceptance.
    pub order_ms: Quantiles,
    pub first_sound_ms: Quantiles,
    pub hush_ms: Quantiles,
    /// Speakers, each counted in every round.
    pub reached: u64,
    /// By the order, and by its hush.
    pub not_reached: u64,
    /// From the origin's acceptance until it had receipts of all of them: the longest of all rounds.
    #[serde(default)]
    pub receipts_s: f64,
    /// Speakers of whom it had none then.
    #[serde(default)]
    pub no_receipt: u64,
}

impl Emergency {
    /// One round: whom of all its order reached, and whom its hush.
    pub fn count(&mut self, speakers: u64, reached: u64, silenced: u64) {
        self.reached += reached;
        self.not_reached += speakers.saturating_sub(reached) + speakers.saturating_sub(silenced);
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Storm {
    pub sessions: u64,
    /// Until the last of them streamed.
    pub all_streaming_s: f64,
    pub stream_ms: Quantiles,
    /// Of those that streamed already.
    pub others: u64,
    /// From the storm's first instant to the end of the run.
    pub others_lost: u64,
    /// From the storm's first instant until all streamed, and for ten seconds at least.
    pub others_delivery_ms: Quantiles,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Step {
    pub listeners: u64,
    pub tracks: u64,
    pub cpu_percent: f64,
    pub cpu_us_per_listener_second: f64,
    pub rss_kib: u64,
    /// With all sessions there and no sound yet.
    pub idle_rss_kib: Option<u64>,
    pub rss_kib_per_listener: f64,
    pub delivery_ms: Quantiles,
    pub lost: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sample {
    pub at_s: f64,
    pub joined: u64,
    pub streaming: u64,
    pub packets_per_s: f64,
    pub lost: u64,
    pub delivery_p50_ms: f64,
    pub delivery_p99_ms: f64,
    pub delivery_max_ms: f64,
    pub target_cpu_percent: f64,
    pub load_cpu_percent: f64,
    pub target_rss_kib: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Event {
    pub at_s: f64,
    pub text: String,
}

/// A bound that the profile sets, and whether it held.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Threshold {
    pub name: String,
    /// At most (or, for `joined`, at least) so much.
    pub bound: f64,
    /// None: nothing of the kind was measured, and that does not hold.
    pub value: Option<f64>,
    pub held: bool,
}
