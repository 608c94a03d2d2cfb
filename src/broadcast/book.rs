//! The state of every order that a node knows: one per id, tombstones included.
use super::{Area, Broadcast, Hush, Order, Refusal};
use crate::proto;
use crate::time::Civil;
use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Known,
    Sounding,
    Ended,
    Cancelled,
}

/// A broadcast in the book.
#[derive(Clone, Debug)]
pub struct Entry {
    pub id: Uuid,
    pub authority: crate::key::KeyId,
    pub areas: Vec<Area>,
    pub issued: Civil,
    pub broadcast: Broadcast,
    pub state: State,
    /// Set by a cancel: it stops sounding at this instant.
    pub cancelled_at: Option<Civil>,
    pub signed: proto::Signed,
}

/// What an order changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A broadcast is new, or its renditions were replaced by a higher revision.
    Broadcast {
        id: Uuid,
        replaced: bool,
    },
    Cancelled {
        id: Uuid,
    },
    Hushed,
    /// Grants, revocations, placements, ticks: nothing in the book but the number.
    Other,
}

/// Bounded: 4,096 broadcasts, 4,096 tombstones, 256 hushes; the oldest ended go first, and a new one
/// is refused with `order.full` rather than a live one dropped.
#[derive(Debug, Default)]
pub struct Book {}

impl Book {
    pub fn new() -> Self {
        todo!()
    }

    /// Takes a checked order in. Refuses: seen before (same id, not a higher revision; a repetition of
    /// the very same bytes is `order.repeated`, which callers need not log), expired at `now`, until in
    /// the past, a hush/cancel older than the one held. A cancel that comes first leaves a tombstone
    /// until its expiry. Ids are remembered until the order's expiry, across restarts (the caller
    /// replays its journal through `handle`).
    pub fn handle(&mut self, _now: Option<Civil>, _order: &Order, _signed: &proto::Signed) -> Result<Change, Refusal> {
        todo!()
    }

    pub fn get(&self, _id: Uuid) -> Option<&Entry> {
        todo!()
    }

    /// Every broadcast held, oldest first.
    pub fn all(&self) -> impl Iterator<Item = &Entry> + '_ {
        std::iter::empty()
    }

    pub fn set_state(&mut self, _id: Uuid, _state: State) {
        todo!()
    }

    /// Broadcasts not ended or cancelled whose area touches `area`, oldest first.
    pub fn live(&self, _area: &Area) -> impl Iterator<Item = &Entry> + '_ {
        std::iter::empty()
    }

    /// Hushes in force that cover `area` at `now`.
    pub fn hushes(&self, _area: &Area, _now: Civil) -> impl Iterator<Item = &Hush> + '_ {
        std::iter::empty()
    }

    /// Signed orders still in force at `now` (broadcasts, cancels, hushes), oldest first, for a child
    /// that joins and for journal compaction.
    pub fn in_force(&self, _now: Option<Civil>) -> Vec<proto::Signed> {
        todo!()
    }

    /// Forgets what has expired; marks broadcasts past their `until` (+ delay) as ended and returns them.
    pub fn expire(&mut self, _now: Civil) -> Vec<Uuid> {
        todo!()
    }
}
