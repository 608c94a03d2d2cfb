//! The JSON of receipts and of the as-run log. Times in the node's zone, and in µs Unix UTC.
use crate::broadcast::receipt::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Receipts {
    pub receipts: Vec<Receipt>,
}

/// One order, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    pub id: Uuid,
    /// broadcast, cancel, hush
    pub kind: String,
    /// Of a cancel: the broadcast.
    pub title: String,
    pub priority: String,
    pub purpose: String,
    pub areas: Vec<String>,
    pub issued: String,
    pub issued_us: i64,
    pub begins: String,
    pub begins_us: i64,
    pub ends: String,
    pub ends_us: i64,
    /// Key id of the authority.
    pub signed_by: String,
    /// Nothing changes any more but by what nodes that come back still say.
    pub settled: bool,
    pub expected: u64,
    pub reached: u64,
    pub played: u64,
    /// By outcome; those of which there are any.
    pub outcomes: BTreeMap<String, u64>,
    pub relays: u64,
    pub relays_reached: u64,
    pub by_area: Vec<OfArea>,
    pub exceptions: Vec<Exception>,
    /// Exceptions that are counted and not named.
    pub unnamed: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OfArea {
    pub area: String,
    pub expected: u64,
    pub reached: u64,
    pub outcomes: BTreeMap<String, u64>,
    /// The earliest first sample and the latest last one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<String>,
    pub from_us: i64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<String>,
    pub to_us: i64,
    /// Of one node, the most.
    pub lost_per_mille: u16,
}

/// A node that did not sound all of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Exception {
    pub node: Uuid,
    pub name: String,
    pub area: String,
    pub outcome: String,
    /// Code of a failure.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub why: String,
    /// The broadcast that cut in.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by: Option<Uuid>,
    pub lost_per_mille: u16,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<String>,
    pub from_us: i64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<String>,
    pub to_us: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AsRunLog {
    pub as_run: Vec<AsRun>,
}

/// What one area sounded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AsRun {
    pub area: String,
    pub broadcast: Uuid,
    pub title: String,
    pub priority: String,
    pub purpose: String,
    pub from: String,
    pub from_us: i64,
    pub to: String,
    pub to_us: i64,
    /// The rendition that the hash is of; none if no node had all of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub track: Option<Uuid>,
    /// Of the sound (`track::Print`), hex; empty if no node had all of it.
    pub sha256: String,
    /// Nodes that say that they had all of this sound, of so many that sounded.
    pub alike: u64,
    pub nodes: u64,
    pub signed_by: String,
}

impl Receipt {
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(outcome.as_str()).copied().unwrap_or(0)
    }

    /// Whether somebody should have been reached and was not, as far as is known.
    pub fn is_short(&self) -> bool {
        [Outcome::NotReached, Outcome::Unknown, Outcome::Missed].into_iter().any(|outcome| self.count(outcome) > 0)
    }

    /// Counts anew from the areas that are left.
    pub fn add_up(&mut self) {
        (self.expected, self.reached, self.outcomes) = (0, 0, BTreeMap::new());
        for area in &self.by_area {
            self.expected += area.expected;
            self.reached += area.reached;
            for (outcome, count) in &area.outcomes {
                *self.outcomes.entry(outcome.clone()).or_default() += count;
            }
        }
        self.played = self.count(Outcome::Played);
    }
}
