//! Many receipts in a few numbers.

use super::{Audio, Outcome, Receipt};
use crate::broadcast::Area;
use crate::time::Civil;
use std::collections::BTreeMap;
use uuid::Uuid;

/// What became of an order at the nodes that one relay is parent of.
#[derive(Clone, Debug, PartialEq)]
pub struct Sum {
    pub order: Uuid,
    pub relay: Uuid,
    /// The highest of one relay counts.
    pub revision: u64,
    /// When the relay took the order in, and when it held all of its packets ahead of air time.
    pub received: Option<Civil>,
    pub cached: Option<Civil>,
    pub areas: BTreeMap<Area, Tally>,
    /// At most [`MOST_NAMED`], those that matter most.
    pub named: Vec<Named>,
    /// For whom there was no room.
    pub unnamed: u32,
}

/// Nodes of one area.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    counts: [u32; Outcome::ALL.len()],
    /// The earliest first sample and the latest last one.
    pub from: Option<Civil>,
    pub to: Option<Civil>,
    /// Per mille, the most.
    pub lost: u16,
    /// How many had all of this sound: as many as there may be renditions.
    pub audio: BTreeMap<Audio, u32>,
}

/// One node of whom somebody may ask.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    pub node: Uuid,
    pub area: Area,
    pub outcome: Outcome,
    pub lost: u16,
    pub by: Option<Uuid>,
    pub why: Box<str>,
    pub from: Option<Civil>,
    pub to: Option<Civil>,
}

impl Sum {
    pub fn new(order: Uuid, relay: Uuid) -> Self {
        let (areas, named) = (BTreeMap::new(), Vec::new());
        Self { order, relay, revision: 0, received: None, cached: None, areas, named, unnamed: 0 }
    }

    /// `always`: it is named whatever it did.
    pub fn add(&mut self, node: Uuid, area: &Area, outcome: Outcome, receipt: Option<&Receipt>, always: bool) {
        let area = match self.areas.contains_key(area) || self.areas.len() < MOST_AREAS {
            true => area.clone(),
            // Beyond, what lies around it stands for it: no order names more areas than this either.
            false => area.parent().filter(|parent| self.areas.contains_key(parent)).unwrap_or_else(|| {
                self.areas.first_key_value().map_or_else(|| area.clone(), |(first, _)| first.clone())
            }),
        };
        self.areas.entry(area.clone()).or_default().add(outcome, receipt);
        if outcome.weight() > 0 || always {
            let (lost, by, why) =
                receipt.map_or((0, None, "".into()), |receipt| (receipt.lost, receipt.by, receipt.why.clone()));
            let (from, to) = receipt.map_or((None, None), |receipt| (receipt.from, receipt.to));
            self.named.push(Named { node, area, outcome, lost, by, why, from, to });
        }
    }

    /// Those that matter most first, and no more than go into a message.
    pub fn finish(&mut self) {
        self.named.sort_by_key(|named| (std::cmp::Reverse(named.outcome.weight()), named.node));
        self.unnamed = self.named.len().saturating_sub(MOST_NAMED) as u32;
        self.named.truncate(MOST_NAMED);
    }

    /// Whether it says the same, whenever it was said.
    pub fn says(&self, other: &Self) -> bool {
        Self { revision: 0, ..self.clone() } == Self { revision: 0, ..other.clone() }
    }

    /// Takes back what was said of one of those that are named.
    pub fn forget(&mut self, node: Uuid) {
        let Some(at) = self.named.iter().position(|named| named.node == node) else { return };
        let named = self.named.swap_remove(at);
        if let Some(tally) = self.areas.get_mut(&named.area) {
            tally.take_away(named.outcome, 1);
        }
    }
}

impl Tally {
    pub fn count(&self, outcome: Outcome) -> u32 {
        self.counts[outcome as usize]
    }

    pub fn expected(&self) -> u32 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    pub fn reached(&self) -> u32 {
        let reached = Outcome::ALL.into_iter().filter(|outcome| outcome.is_reached());
        reached.fold(0, |sum, outcome| sum.saturating_add(self.count(outcome)))
    }

    pub fn counts(&self) -> impl Iterator<Item = (Outcome, u32)> + '_ {
        Outcome::ALL.into_iter().zip(self.counts)
    }

    pub fn put(&mut self, outcome: Outcome, count: u32) {
        let held = &mut self.counts[outcome as usize];
        *held = held.saturating_add(count);
    }

    /// At most so many; returns how many there were.
    pub fn take_away(&mut self, outcome: Outcome, count: u32) -> u32 {
        let held = &mut self.counts[outcome as usize];
        let taken = count.min(*held);
        *held -= taken;
        taken
    }

    fn add(&mut self, outcome: Outcome, receipt: Option<&Receipt>) {
        self.put(outcome, 1);
        let Some(receipt) = receipt else { return };
        self.from = earliest(self.from, receipt.from);
        self.to = self.to.max(receipt.to);
        self.lost = self.lost.max(receipt.lost);
        if let Some(audio) = receipt.audio {
            self.add_audio(audio, 1);
        }
    }

    pub(super) fn add_audio(&mut self, audio: Audio, nodes: u32) {
        if let Some(count) = self.audio.get_mut(&audio) {
            *count = count.saturating_add(nodes);
        } else if self.audio.len() < RENDITIONS {
            self.audio.insert(audio, nodes);
        }
    }

    pub fn merge(&mut self, other: &Self) {
        other.counts().for_each(|(outcome, count)| self.put(outcome, count));
        self.from = earliest(self.from, other.from);
        self.to = self.to.max(other.to);
        self.lost = self.lost.max(other.lost);
        other.audio.iter().for_each(|(audio, nodes)| self.add_audio(*audio, *nodes));
    }
}

fn earliest(one: Option<Civil>, other: Option<Civil>) -> Option<Civil> {
    [one, other].into_iter().flatten().min()
}

/// Areas in one sum: a relay's nodes stand in few, and an order names at most so many.
pub const MOST_AREAS: usize = 64;
/// Nodes in one sum, of some 60 bytes: with all else it fits a frame of 64 KiB.
pub const MOST_NAMED: usize = 256;
/// Of one broadcast (`broadcast::order`).
const RENDITIONS: usize = 4;
