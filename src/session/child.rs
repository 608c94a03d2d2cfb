//! The child's side of a link to a parent.
use super::{Arrival, Departure, Exchange, Violation};
use crate::proto;
use crate::time::Local;
use crate::track::Secret;
use bytes::Bytes;
use uuid::Uuid;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Clock exchanges at join and their spacing, µs.
    pub join_exchanges: u32,
    pub join_spacing: i64,
    /// Then one a `quick` until `settle` after joining, then one a `slow`.
    pub quick: i64,
    pub settle: i64,
    pub slow: i64,
    /// A parent silent for so many beats is gone (`Event::Silent`).
    pub missed_beats: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            join_exchanges: 16,
            join_spacing: 20_000,
            quick: 1_000_000,
            settle: 180_000_000,
            slow: 10_000_000,
            missed_beats: 3,
        }
    }
}

/// How this node introduces itself.
#[derive(Clone, Debug)]
pub struct Me {
    pub node: Uuid,
    pub placement: Option<proto::Signed>,
    pub grants: Vec<proto::Signed>,
}

/// A track that this child wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    pub track: Uuid,
    pub ssrc: u32,
    /// µs per packet; 0 for a log (no due times: gaps show by later indices only).
    pub duration: i64,
    /// First index of use.
    pub from: u64,
    /// µs after its due arrival for which a packet is still worth asking for; `i64::MAX` for a log.
    pub useful: i64,
    /// Number of packets, if known: beyond it nothing is due.
    pub packets: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Live,
    Bulk,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The parent's answer to Hello; the caller checks placement and role and goes on or hangs up.
    Welcomed {
        node: Uuid,
        placement: Option<proto::Signed>,
        grants: Vec<proto::Signed>,
    },
    /// A log that the parent carries: the child listens to it by itself (duration 0).
    Log {
        track: Uuid,
        ssrc: u32,
        secret: Secret,
        next: u64,
    },
    LogEnded {
        track: Uuid,
    },
    /// Orders and grants in force.
    Order(proto::Signed),
    /// All of them have come.
    OrdersDone,
    Key {
        track: Uuid,
        secret: Secret,
    },
    Listening {
        track: Uuid,
        next: u64,
    },
    Unavailable {
        track: Uuid,
        reason: String,
    },
    /// A candidate, not verified. Answer with `handle_accepted` or `handle_rejected`.
    Packet {
        track: Uuid,
        index: u64,
        bytes: Bytes,
        via: Via,
    },
    /// The parent itself lacks these.
    Missing {
        track: Uuid,
        first: u64,
        count: u64,
    },
    /// This session itself found these missing and asks for them: so that those below need not.
    Gap {
        track: Uuid,
        first: u64,
        count: u64,
    },
    /// A bulk transfer of this track ended (whole or cut).
    Fetched {
        track: Uuid,
    },
    Exchange(Exchange),
    /// No echo for `missed_beats` beats: hang up and dial again.
    Silent,
    Goodbye {
        code: String,
        text: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    Beat,
    Nack,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub nacks: u64,
    /// Packets accepted that had been asked for.
    pub repaired: u64,
    /// Not asked for any more: too late.
    pub abandoned: u64,
    pub unknown_ssrc: u64,
    pub malformed: u64,
}

/// One link's session, seen from below. Bounded: 64 tracks, 512 gaps per track.
pub struct Child {}

impl Child {
    /// The link is up: queues Hello and the first exchange.
    pub fn new(_now: Local, _options: Options, _me: Me) -> Self {
        todo!()
    }

    pub fn handle_arrival(&mut self, _now: Local, _arrival: Arrival) -> Result<(), Violation> {
        todo!()
    }

    /// Sends Listen (or updates `useful` and `packets` of a wish already made).
    pub fn listen(&mut self, _now: Local, _wish: Wish) {
        todo!()
    }

    pub fn unlisten(&mut self, _now: Local, _track: Uuid) {
        todo!()
    }

    /// Asks for `[from, until)` in bulk.
    pub fn fetch(&mut self, _now: Local, _track: Uuid, _ssrc: u32, _from: u64, _until: u64) {
        todo!()
    }

    /// The packet of an `Event::Packet` was verified, or came another way: no need to ask for it.
    pub fn handle_accepted(&mut self, _now: Local, _track: Uuid, _index: u64, _via: Via) {
        todo!()
    }

    pub fn handle_rejected(&mut self, _now: Local, _track: Uuid, _index: u64) {
        todo!()
    }

    /// A signed tick names the next index of its log: what is before it and has not come is missing.
    pub fn handle_head(&mut self, _now: Local, _track: Uuid, _head: u64) {
        todo!()
    }

    /// What the next beat says. `urgent` sends a beat at once.
    pub fn report(&mut self, _now: Local, _report: proto::Report, _urgent: bool) {
        todo!()
    }

    /// Sends reports of those below, at most 64 a frame.
    pub fn health(&mut self, _reports: Vec<proto::Report>) {
        todo!()
    }

    pub fn goodbye(&mut self, _code: &str, _text: &str) {
        todo!()
    }

    pub fn poll_departure(&mut self) -> Option<Departure> {
        todo!()
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        todo!()
    }

    pub fn poll_timeout(&self) -> Option<(Local, Reason)> {
        todo!()
    }

    pub fn handle_timeout(&mut self, _now: Local) {
        todo!()
    }

    pub fn counters(&self) -> Counters {
        todo!()
    }

    /// Smoothed round trip, µs.
    pub fn round_trip(&self) -> Option<i64> {
        todo!()
    }
}
