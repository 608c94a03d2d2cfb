//! One branch: the child sessions of one shard.
use super::{Done, Job, Link, Peer};
use crate::broadcast::Area;
use crate::playout::Phase;
use crate::proto;
use crate::session::{self, Arrival, Departure};
use crate::time::Local;
use crate::track::{Packet, Secret};
use uuid::Uuid;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub session: session::parent::Options,
    /// Packets kept per track for repair and late joiners.
    pub ring: usize,
    /// Sessions held at most; beyond it links are refused with `branch.full`.
    pub sessions: usize,
    /// Bytes per second of one bulk transfer while something live is on the same link, and otherwise.
    pub bulk_live: u32,
    pub bulk_idle: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            session: session::parent::Options::default(),
            ring: 128,
            sessions: 50_000,
            bulk_live: 4_000,
            bulk_idle: 125_000,
        }
    }
}

#[derive(Clone, Debug)]
pub enum Input {
    /// A child's link is up.
    Up {
        link: Link,
        peer: Peer,
    },
    Down {
        link: Link,
    },
    Arrival {
        link: Link,
        arrival: Arrival,
    },
    Command(Command),
    Done {
        job: u64,
        done: Done,
    },
}

#[derive(Clone, Debug)]
pub enum Output {
    Send {
        link: Link,
        departure: Departure,
    },
    /// Close the link with this code and text, after what was sent before.
    Hang {
        link: Link,
        code: String,
        text: String,
    },
    /// One packet to every listener of its track: the driver's address vector.
    Air {
        track: Uuid,
        packet: Packet,
    },
    Listen {
        link: Link,
        track: Uuid,
    },
    Unlisten {
        link: Link,
        track: Uuid,
    },
    /// No such track any more: the driver drops its vector.
    Dropped {
        track: Uuid,
    },
    Notice(Notice),
    Job {
        job: u64,
        work: Job,
    },
}

/// A track that the branch carries.
#[derive(Clone, Debug)]
pub struct Carry {
    pub track: Uuid,
    pub ssrc: u32,
    pub secret: Secret,
    /// A log goes to every child; sound to those that listen.
    pub log: bool,
    /// Every child in the areas counts as listening.
    pub emergency: bool,
    pub areas: Vec<Area>,
    /// µs per packet.
    pub duration: i64,
    /// Playout delay, µs: how far back a late joiner's backlog goes.
    pub delay: i64,
    /// Media bytes per second.
    pub rate: u32,
    /// Index of the next packet.
    pub next: u64,
    /// Packets that `Fetch` may ask for, `[0, stored)`.
    pub stored: u64,
}

#[derive(Clone, Debug)]
pub enum Command {
    Admit {
        link: Link,
        area: Area,
        welcome: proto::Welcome,
        orders: Vec<proto::Signed>,
    },
    Refuse {
        link: Link,
        code: String,
        text: String,
    },
    Carry(Carry),
    Drop {
        track: Uuid,
    },
    /// A verified packet: into the ring and out to the listeners. `again` repeats one (orders).
    Packet {
        track: Uuid,
        packet: Packet,
        again: bool,
    },
    /// This node lacks these.
    Missing {
        track: Uuid,
        first: u64,
        count: u64,
    },
    /// `[0, until)` of a stored track can be fetched now.
    Stored {
        track: Uuid,
        until: u64,
    },
    Phase(Phase),
    /// Say goodbye to all children.
    Drain,
}

#[derive(Clone, Debug)]
pub enum Notice {
    Hello {
        link: Link,
        peer: Peer,
        placement: Option<proto::Signed>,
        grants: Vec<proto::Signed>,
    },
    Left {
        link: Link,
        node: Uuid,
    },
    /// How many listen now.
    Wanted {
        track: Uuid,
        listeners: u64,
    },
    Reports(Vec<proto::Report>),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub sessions: u64,
    /// `Air`s, not sends.
    pub aired: u64,
    pub nacked: u64,
    pub answered: u64,
    pub over_budget: u64,
    pub violations: u64,
    pub refused: u64,
    pub bulk_packets: u64,
    /// Outputs not given because a bound was hit.
    pub dropped: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    Session,
    Bulk,
}

/// The child sessions of one shard.
pub struct Branch {}

impl Branch {
    pub fn new(_now: Local, _options: Options) -> Self {
        todo!()
    }

    pub fn handle_input(&mut self, _now: Local, _input: Input) {
        todo!()
    }

    pub fn poll_output(&mut self) -> Option<Output> {
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
