//! What goes into a branch and what comes out of it.
use super::super::{Done, Job, Link, Peer};
use super::{CUTS, IGNORED};
use crate::broadcast::Area;
use crate::playout::Phase;
use crate::proto;
use crate::session::{self, Arrival, Departure};
use crate::track::{Packet, Secret};
use uuid::Uuid;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub session: session::parent::Options,
    /// Packets kept per track for repair and late joiners.
    pub ring: usize,
    /// Sessions held at most; beyond it links are refused with `branch.full`.
    pub sessions: usize,
    /// Bytes per second of all bulk transfers of one link while something live is on the same link, and otherwise.
    pub bulk_live: u32,
    pub bulk_idle: u32,
    /// Beats a second of all children together, or one in ten seconds of each if that is more; 0: as they
    /// like.
    pub beats: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            session: session::parent::Options::default(),
            ring: 128,
            sessions: 50_000,
            // Headers of IP, UDP, QUIC and frames included, less than 32 kb/s (DESIGN §3).
            bulk_live: 3_600,
            bulk_idle: 125_000,
            // At 15 µs 6 % of a core, as much as the sound of 6,000 listeners.
            beats: 4_000,
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
    /// What is held of a bunch waits no longer for its last packet.
    Flush {
        track: Uuid,
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
    /// Its key went with its order: every child that was there has it.
    pub rode: bool,
    pub areas: Vec<Area>,
    /// µs per packet.
    pub duration: i64,
    /// Playout delay, µs: how far back a late joiner's backlog goes.
    pub delay: i64,
    /// Media bytes per second.
    pub rate: u32,
    /// Packets that leave in one send: those whose index divided by it is the same.
    pub together: u32,
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
        welcome: Box<proto::Welcome>,
        orders: Vec<proto::Signed>,
    },
    /// It has no place yet: it is kept, with what it needs to learn the time and to believe its placement.
    Wait {
        link: Link,
        welcome: Box<proto::Welcome>,
        orders: Vec<proto::Signed>,
    },
    Refuse {
        link: Link,
        code: String,
        text: String,
    },
    /// The answer to a child's Enrol.
    Enrolled {
        link: Link,
        enrolled: Box<proto::Enrolled>,
    },
    /// The trunk holds receipts of this child, or lacks some.
    Receipted {
        link: Link,
        receipted: Box<proto::Receipted>,
    },
    /// A node was expelled where it stands: all of its links end.
    Expelled {
        node: Uuid,
    },
    /// An order for the child or one below it.
    Deliver {
        link: Link,
        deliver: Box<proto::Deliver>,
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
    /// No more packets come of the bunch that is under way: the track has ended.
    Flush {
        track: Uuid,
    },
    /// `[0, until)` of a stored track can be fetched now.
    Stored {
        track: Uuid,
        until: u64,
    },
    /// A track's packets go out once more, from the first.
    Renew {
        track: Uuid,
    },
    /// Nothing of a stored track is here any more: others needed its room sooner.
    Unstored {
        track: Uuid,
    },
    /// Orders and grants that this node learnt at a join of its own: to every child.
    Push(Vec<proto::Signed>),
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
    /// The link is its child's spare, or is no longer.
    Standby {
        link: Link,
        node: Uuid,
        standby: bool,
    },
    /// It or one below it asks for a certificate.
    Enrol {
        link: Link,
        peer: Peer,
        enrol: Box<proto::Enrol>,
    },
    /// How many listen now.
    Wanted {
        track: Uuid,
        listeners: u64,
    },
    /// A child fetches more of it than is stored here.
    Fetched {
        track: Uuid,
    },
    Reports(Vec<proto::Report>),
    /// What became of orders at children and below them.
    Receipts(Vec<Told>),
}

/// Receipts, and whose word they are.
#[derive(Clone, Debug)]
pub struct Told {
    pub link: Link,
    pub node: Uuid,
    pub receipts: proto::Receipts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub sessions: u64,
    /// Those of them that get no sound until they report again.
    pub paused: u64,
    /// Those that hear the multicast group.
    pub by_group: u64,
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
    /// Sessions ended or refused, as [`CUTS`] names them; see [`Counters::cuts`].
    pub(super) cut: [u64; CUTS.len()],
    /// Input ignored, as [`IGNORED`] names it; see [`Counters::ignored_inputs`].
    pub(super) ignored: [u64; IGNORED.len()],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    Session,
    Bulk,
    Work,
    Report,
}
