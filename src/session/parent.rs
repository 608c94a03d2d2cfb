//! The parent's side of a link to one child. Small: a branch holds thousands.
use super::{Arrival, Departure, Violation};
use crate::proto;
use crate::time::{Civil, Local};
use crate::track::{Packet, Secret};
use bytes::Bytes;
use uuid::Uuid;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Share of a track's media rate that repair may take, over `repair_window` µs.
    pub repair_share: f64,
    pub repair_window: i64,
    /// No beat for so long ends the session, µs.
    pub silence: i64,
    /// Hello must come within, µs.
    pub hello: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self { repair_share: 0.4, repair_window: 10_000_000, silence: 35_000_000, hello: 5_000_000 }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Hello {
        node: Uuid,
        placement: Option<proto::Signed>,
        grants: Vec<proto::Signed>,
    },
    Listen {
        track: Uuid,
        from: u64,
    },
    Unlisten {
        track: Uuid,
    },
    Fetch {
        track: Uuid,
        from: u64,
        until: u64,
    },
    /// The child lacks this; the caller looks it up and calls `answer`. Already deduplicated
    /// (the second of two equal NACKs) and bounded.
    Nack {
        track: Uuid,
        index: u64,
    },
    Report(proto::Report),
    Health(Vec<proto::Report>),
    /// Media stops going to this child (three missed reports, RFC 8083) or may go again.
    Breaker {
        open: bool,
    },
    PathEchoed {
        nonce: u64,
    },
    /// Gone: hang up.
    Silent,
    Goodbye {
        code: String,
        text: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    Silence,
    Answer,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub nacked: u64,
    pub answered: u64,
    /// Answers not given for lack of budget.
    pub over_budget: u64,
    pub unknown_index: u64,
}

/// One link's session, seen from above.
pub struct Parent {}

impl Parent {
    /// The link is up: waits for Hello.
    pub fn new(_now: Local, _options: Options) -> Self {
        todo!()
    }

    /// `phase`: this node's civil time for `now` and its uncertainty, for clock answers.
    pub fn handle_arrival(
        &mut self,
        _now: Local,
        _phase: Option<(Civil, u64)>,
        _arrival: Arrival,
    ) -> Result<(), Violation> {
        todo!()
    }

    pub fn welcome(&mut self, _welcome: proto::Welcome) {
        todo!()
    }

    pub fn log(&mut self, _log: proto::Log) {
        todo!()
    }

    /// Orders and grants in force; split into frames of at most 32 KiB, the last one marked.
    pub fn push(&mut self, _orders: Vec<proto::Signed>) {
        todo!()
    }

    pub fn key(&mut self, _track: Uuid, _secret: &Secret) {
        todo!()
    }

    /// The answer to Listen. `rate`: media bytes per second, for the repair budget. `backlog`: packets
    /// before `next` that the child can still use, sent as one bulk stream (gaps begin a new one).
    pub fn listening(&mut self, _now: Local, _track: Uuid, _next: u64, _rate: u32, _backlog: Vec<Packet>) {
        todo!()
    }

    /// Sets the repair budget of a track that needs no Listen: a log. `rate`: bytes per second.
    pub fn budget(&mut self, _now: Local, _track: Uuid, _rate: u32) {
        todo!()
    }

    /// Forgets the track's budget and answers.
    pub fn unlistened(&mut self, _track: Uuid) {
        todo!()
    }

    pub fn unavailable(&mut self, _track: Uuid, _reason: &str) {
        todo!()
    }

    /// Part of an answer to Fetch. `last` finishes the stream.
    pub fn bulk(&mut self, _track: Uuid, _packets: &[Packet], _last: bool) {
        todo!()
    }

    /// Answers a NACK: the same bytes as media, now and 20 ms later (once only when the budget is half
    /// used, not at all when it is spent); without bytes, tells the child that they are missing here.
    pub fn answer(&mut self, _now: Local, _track: Uuid, _index: u64, _bytes: Option<Bytes>) {
        todo!()
    }

    /// Announces what this node itself lacks.
    pub fn missing(&mut self, _track: Uuid, _first: u64, _count: u64) {
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
}
