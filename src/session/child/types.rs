//! What goes into a child's session and what comes out of it.
use super::super::Exchange;
use super::super::exchange::Line;
use crate::proto;
use crate::track::Secret;
use bytes::Bytes;
use uuid::Uuid;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Clock exchanges at join and their spacing, µs.
    pub join_exchanges: u32,
    pub join_spacing: i64,
    /// Then one a `quick` until `settle` after joining, then ever fewer, down to one a `slow`.
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
            quick: 200_000,
            settle: 72_000_000,
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
    /// An emergency whose key came with its order: the parent counts this child in by itself, from the first packet
    /// on. Nothing is sent.
    pub counted: bool,
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
        /// Others that this node may dial.
        parents: Vec<proto::Address>,
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
        /// So many packets leave the parent in one send.
        together: u32,
    },
    Unavailable {
        track: Uuid,
        reason: String,
    },
    /// The parent sends media by this multicast group too: what comes by it is `Arrival::Group`.
    Group(proto::Group),
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
    Exchange(Exchange, Line),
    /// The answer to `enrol`, or to one that was passed on.
    Enrolled(proto::Enrolled),
    /// An order for this node or one below.
    Deliver(proto::Deliver),
    /// The parent holds receipts, or lacks some.
    Receipted(proto::Receipted),
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
    /// Packets that came of themselves, and those that had to be asked for.
    pub came: u64,
    pub missed: u64,
    /// Packets accepted that had been asked for.
    pub repaired: u64,
    /// Not asked for any more: too late.
    pub abandoned: u64,
    pub unknown_ssrc: u64,
    pub malformed: u64,
    /// Media packets dropped unread: their index was already accepted.
    pub duplicate: u64,
    /// Candidates that the caller refused.
    pub rejected: u64,
    /// Input beyond what a peer may send in a second, and events and datagrams beyond their queues.
    pub flooded: u64,
    pub dropped: u64,
}
