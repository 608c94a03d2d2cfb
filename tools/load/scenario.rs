//! A run by its kind: who joins when, what is aired, what is measured, and what the outcome says of it.
//!
//! ```text
//!  hold       join all ▸ wait for sound ▸ measure S seconds
//!  storm      5,000 stream and are measured ▸ 20,000 more dial at once ▸ until all stream
//!  emergency  join all through the tiers ▸ emergency at the origin ▸ first sound at each ▸ hush ▸ again
//!  growth     ever more tracks, then ever more listeners: a short steady window at each step
//! ```
mod course;
mod measure;

use crate::outcome::{Outcome, Sample};
use crate::plan::{Kind, Place};
use course::Course;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use uuid::Uuid;

/// What a scenario asks of the tree under test.
pub trait Tree {
    /// Airs sound to an area from now on, for at least `seconds`, and says which broadcasts those are: one for each
    /// track. Does not wait for their end.
    fn air(&mut self, area: &str, seconds: f64) -> io::Result<Vec<Uuid>>;
    fn cancel(&mut self, broadcast: Uuid) -> io::Result<()>;
    /// An emergency with its tone, at the origin.
    fn emergency(&mut self, area: &str) -> io::Result<Uuid>;
    /// Silences an area for a minute; the order's id.
    fn hush(&mut self, area: &str) -> io::Result<Uuid>;
    /// Of how many speakers the origin knows that an order reached them.
    fn reached(&mut self, order: Uuid) -> io::Result<u64>;
    /// What the nodes have cut and dropped until now, by metric and reason.
    fn cuts(&mut self) -> BTreeMap<String, u64>;
    /// What each process has used until now.
    fn usage(&mut self) -> io::Result<Vec<Used>>;
}

/// One process of the tree, now.
#[derive(Clone, Debug, Default)]
pub struct Used {
    pub name: String,
    pub role: String,
    /// Since it began.
    pub cpu_s: f64,
    pub rss_kib: u64,
    /// Speakers dial it: its listeners are those of the run.
    pub dialled: bool,
}

/// Who watches: once a second, and when something happens.
pub trait Watch {
    fn sample(&mut self, sample: &Sample);
    fn event(&mut self, at_s: f64, text: &str);
    /// Whether to stop now and measure no more.
    fn is_over(&self) -> bool {
        false
    }
}

#[derive(Clone, Debug)]
pub struct Options {
    pub kind: Scenario,
    /// The test tree's `root.key`.
    pub root: PathBuf,
    /// Where speakers go, in turn.
    pub places: Vec<Place>,
    pub speakers: u32,
    /// Dials in a second, of all workers together.
    pub connect_rate: f64,
    /// Where everybody stands.
    pub area: String,
    /// Aired at once to `area`, each to its own listeners.
    pub tracks: u32,
    /// Seconds between the last join and the measured window.
    pub settle_s: f64,
    /// Seconds of the measured window.
    pub hold_s: f64,
    /// Seconds within which all must have joined and hear sound.
    pub patience_s: f64,
    /// A tenth is 0.1.
    pub hostile: f64,
    pub hostile_kinds: Vec<Kind>,
    /// One in so many listeners checks every seal itself.
    pub checked: u32,
    pub gro: bool,
    pub nap_us: u64,
    pub per_process: u32,
    /// Of the load tool.
    pub cores: Vec<usize>,
    pub seed: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Scenario {
    Hold,
    /// So many (of `Options::speakers`) stream before the rest dials at once.
    Storm {
        steady: u32,
    },
    /// And its hush, so many times.
    Emergency {
        rounds: u32,
    },
    /// Tracks at each step, each with `each` listeners and a place of its own; then listeners of one track.
    Growth {
        listeners: Vec<u32>,
        tracks: Vec<u32>,
        each: u32,
    },
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kind: Scenario::Hold,
            root: PathBuf::new(),
            places: Vec::new(),
            speakers: 100,
            connect_rate: 500.0,
            area: "vn".into(),
            tracks: 1,
            settle_s: 5.0,
            hold_s: 20.0,
            patience_s: 120.0,
            hostile: 0.0,
            hostile_kinds: Kind::ALL.to_vec(),
            checked: 100,
            gro: false,
            nap_us: 1_000,
            per_process: 10_000,
            cores: Vec::new(),
            seed: 1,
        }
    }
}

/// Runs it. Fills of the outcome what was measured; who asked, the machine and the thresholds are the caller's.
pub fn run(options: &Options, tree: &mut dyn Tree, watch: &mut dyn Watch) -> io::Result<Outcome> {
    let mut course = Course::begin(options, tree, watch)?;
    let done = match &options.kind {
        Scenario::Hold => course.hold(),
        Scenario::Storm { steady } => course.storm(*steady),
        Scenario::Emergency { rounds } => course.emergency(*rounds),
        Scenario::Growth { listeners, tracks, each } => course.growth(listeners, tracks, *each),
    };
    // Whoever ends a run early wants what was found until then.
    match done {
        Err(error) if !course.is_over() => Err(error),
        _ => course.end(),
    }
}
