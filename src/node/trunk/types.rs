//! What goes into a trunk and what comes out of it.

use super::super::branch::{Command, Notice};
use super::super::{Done, Job, Link, Peer, Role};
use crate::audio::{Reading, Step};
use crate::broadcast::receipt::Outcome;
use crate::broadcast::{Address, Area, Grant, Priority, Purpose, Settings};
use crate::key::{KeyId, PublicKey, SigningKey};
use crate::playout;
use crate::proto;
use crate::session::{self, Arrival, Departure};
use crate::time::{Civil, Local};
use crate::track::{Info, Packet, Reject, Secret};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

pub struct Options {
    pub node: Uuid,
    pub role: Role,
    /// Those that are configured, best first. None: a root origin.
    pub parents: Vec<Address>,
    /// Others that this node's children may dial.
    pub siblings: Vec<Address>,
    /// Sound comes from two of them at once, where two are there.
    pub both: bool,
    pub branches: usize,
    pub playout: Option<playout::Options>,
    pub session: session::child::Options,
    pub roots: Vec<PublicKey>,
    /// Signs this node's own orders; `None` for a node that gives none.
    pub authority: Option<SigningKey>,
    /// The log of this process: fresh identity and key at each start.
    pub log: Log,
    /// Fresh random bytes: order ids and jitter are drawn from them.
    pub seed: [u8; 32],
    /// µs between ticks.
    pub tick: i64,
    /// Of several renditions of what sounds here.
    pub rendition: super::Wished,
    /// When a loudspeaker without a place may say its code.
    pub daylight: super::Daylight,
    /// It holds a key that certifies nodes.
    pub issuer: bool,
    /// Its wall clock is trusted where no parent tells the time: it comes as [`Input::Wall`] with its stated error.
    pub backed: bool,
    /// Bytes that stored sound may take.
    pub stored: u64,
    /// Drawn at each start: two that speak at once are two nodes with one key.
    pub instance: u64,
}

#[derive(Clone, Debug)]
pub struct Log {
    pub track: Uuid,
    pub ssrc: u32,
    pub secret: Secret,
}

#[derive(Clone, Debug)]
pub enum Input {
    /// The journal, once, before anything else (empty on a new node). Placement and grants of a node
    /// stand in it from its provisioning.
    Restore(Vec<proto::Record>),
    /// A dialled link is up / could not be made or went down.
    Up {
        parent: usize,
        link: Link,
        peer: Peer,
    },
    Down {
        parent: usize,
        link: Option<Link>,
        reason: String,
    },
    Arrival {
        link: Link,
        arrival: Arrival,
    },
    Notice {
        branch: usize,
        notice: Notice,
    },
    Request {
        id: u64,
        request: Request,
    },
    Done {
        job: u64,
        done: Done,
    },
    Device(playout::Device),
    /// What left this node's device in the last second.
    Level(Reading),
    /// Where the switch beside the loudspeaker stands, at start and whenever it is turned: on mutes.
    Switch(bool),
    /// Something is wrong with the device or its sound, and its end: `sound.silent`, `sound.device`…
    Trouble {
        code: &'static str,
        text: String,
    },
    Mended {
        code: &'static str,
        text: String,
    },
    /// The wall clock of a root origin, or of a node whose clock is trusted, at start and about once a second; ignored
    /// by others.
    Wall {
        civil: Civil,
        uncertainty: u64,
    },
    /// This node's certificate should be renewed: its key, the proof that it holds it, and what it shows now.
    Renew {
        key: PublicKey,
        proof: Bytes,
        chain: Vec<Bytes>,
    },
    /// A live source's next packet, of a track that this process put on the air; it is aired at once.
    Made {
        track: Uuid,
        packet: Packet,
    },
    /// Stop in good order: goodbye to parent and children.
    Drain,
}

#[derive(Clone, Debug)]
pub enum Output {
    /// `parent`: 0 or 1, which of the node's two sessions it is for.
    Dial {
        parent: usize,
        address: Address,
    },
    Send {
        link: Link,
        departure: Departure,
    },
    Hang {
        link: Link,
        code: String,
        text: String,
    },
    /// The parent of this link sends media by a multicast group too; what comes by it is an
    /// `Arrival::Group` of the link.
    Join {
        link: Link,
        group: proto::Group,
    },
    /// To all branches, or one.
    Branch {
        branch: Option<usize>,
        command: Command,
    },
    Job {
        job: u64,
        work: Job,
    },
    Reply {
        id: u64,
        reply: Reply,
    },
    /// This node's new certificate and what proves it, DER, leaf first: not judged.
    Certified {
        chain: Vec<Bytes>,
    },
    Event(Event),
    Step(Step),
    /// A node, this one or one below, began to sound a broadcast `after` µs. Counted from the instant at which the
    /// broadcast was accepted or, if it was accepted ahead of its time, from the one at which it was due.
    FirstSound {
        priority: Priority,
        after: i64,
    },
}

#[derive(Clone, Debug)]
pub enum Request {
    Air(Box<Air>),
    /// Sound that was prepared, and is here.
    AirPrepared(Box<AirPrepared>),
    Cancel {
        broadcast: Uuid,
    },
    /// Stop-all for `duration` µs, up to this node's own authority's priority.
    Hush {
        areas: Vec<Area>,
        duration: i64,
    },
    Nodes,
    Broadcasts,
    /// Where this broadcast does not sound at `at` although it is on.
    Silenced {
        broadcast: Uuid,
        areas: Vec<Area>,
        priority: Priority,
        at: Civil,
    },
    /// Who may say what, as far as this node knows.
    Authorities,
    /// What became of orders: of one, or of all that have changed since `after` of an answer before.
    Receipts {
        after: u64,
        order: Option<Uuid>,
    },
    /// A token for `count` new nodes that will stand in `area`, for `lasting` µs.
    Invite {
        area: Area,
        count: u32,
        relay: bool,
        lasting: i64,
    },
    /// Where another node shall stand.
    Place(Box<super::Place>),
    /// How a node shall sound.
    Settings(Box<super::Change>),
    /// How a node sounds, as far as this one has said.
    SettingsOf {
        node: Uuid,
    },
    /// What people at this node set; nothing, to see how it stands.
    Turn(super::Turn),
    /// A node that shall be no child and no parent any more.
    Expel {
        node: Uuid,
    },
    /// Takes from a key what it may do in `areas`, and ends what it said there.
    Lock {
        key: KeyId,
        areas: Vec<Area>,
    },
    /// Answered by a draft: it takes a second signature.
    Release {
        lock: Uuid,
    },
    /// What sounds first in `areas`, for `lasting` µs.
    Prefer {
        areas: Vec<Area>,
        broadcasts: Vec<Uuid>,
        lasting: i64,
    },
    /// A draft of this node's, with another signature.
    Countersign(Box<proto::Signed>),
    /// An order signed elsewhere, such as by a root: taken in as if it had come, and given to all below.
    Give(Box<proto::Signed>),
    /// A live broadcast of this process ends with packet `packets - 1`; to be asked once it is made, or a
    /// little before.
    Finish {
        broadcast: Uuid,
        packets: u64,
    },
    /// Something that people shall find among the numbered events.
    Note(Note),
    /// Whether something of [`super::TROUBLES`] is so that control has to tell of; `wrong`: what.
    Stands {
        code: &'static str,
        wrong: Option<String>,
    },
}

/// What a source of this node has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub code: &'static str,
    pub text: String,
    /// What it is about, if that is on the air.
    pub broadcast: Option<Uuid>,
}

/// A broadcast of a stored track whose packets are already in the store, or of a live one.
#[derive(Clone, Debug)]
pub struct Air {
    /// `None`: a fresh one. One that was written down before is given once, whatever becomes of processes.
    pub id: Option<Uuid>,
    pub title: String,
    pub areas: Vec<Area>,
    pub priority: Priority,
    pub purpose: Purpose,
    /// `None`: now.
    pub at: Option<Civil>,
    /// `None`: 1,000 ms, 600 ms for emergencies.
    pub delay: Option<i64>,
    /// `anchor` is set by the trunk; `packets` must be known (live: `None`, then `live` is true).
    pub track: Info,
    pub secret: Secret,
    /// More renditions of the same sound, cut alike.
    pub others: Vec<(Info, Secret)>,
    pub live: bool,
    pub resume: bool,
    /// It waits for a second signature, and is answered by a draft.
    pub second: bool,
    /// It does not sound: it is kept ready for so many µs, for broadcasts that name it.
    pub prepared: Option<i64>,
}

/// A broadcast of prepared sound: nothing but an order, for those who have the sound already.
#[derive(Clone, Debug)]
pub struct AirPrepared {
    pub prepared: Uuid,
    /// `None`: that of what was prepared.
    pub title: Option<String>,
    /// Within those for which it was prepared.
    pub areas: Vec<Area>,
    pub priority: Priority,
    pub purpose: Purpose,
    pub at: Option<Civil>,
    pub delay: Option<i64>,
    pub second: bool,
}

#[derive(Clone, Debug)]
pub enum Reply {
    /// An order that is to be signed again, within seconds.
    Draft {
        order: Uuid,
        signed: proto::Signed,
    },
    /// Packet 0 begins at `anchor`, and is heard `delay` µs later.
    Aired {
        broadcast: Uuid,
        accepted: Civil,
        from: Civil,
        until: Civil,
        sounds: Civil,
        anchor: Civil,
        delay: i64,
    },
    Done {
        order: Uuid,
    },
    Noted,
    /// What whoever comes with it shows.
    Invited {
        token: proto::Signed,
        grants: Vec<proto::Signed>,
    },
    /// Whether the node, or one that leads to it, was there to be told.
    Placed {
        order: Uuid,
        area: Area,
        told: bool,
    },
    /// Settings were given; whether somebody was there to be told.
    Settled {
        order: Uuid,
        settings: Box<Settings>,
        told: bool,
    },
    SettingsOf(Option<Box<Settings>>),
    Loudness(super::Loudness),
    Nodes(Vec<proto::Report>),
    Authorities(Vec<Granted>, Vec<Locked>),
    Silenced {
        /// Each such area, and until when nobody may speak there.
        hushed: Vec<(Area, Civil)>,
        behind: Vec<Behind>,
    },
    Receipts {
        version: u64,
        accounts: Vec<super::Account>,
        /// Others have changed too: to be asked for with this version.
        more: bool,
    },
    Broadcasts(Vec<Listed>),
    Refused {
        code: String,
        text: String,
    },
}

/// A grant, and whether its holder may still use it.
#[derive(Clone, Debug)]
pub struct Granted {
    pub grant: Grant,
    pub alive: bool,
}

/// A lock in force.
#[derive(Clone, Debug)]
pub struct Locked {
    pub order: Uuid,
    pub key: KeyId,
    /// Empty: everywhere.
    pub areas: Vec<Area>,
}

#[derive(Clone, Debug)]
pub struct Listed {
    pub broadcast: Uuid,
    pub title: String,
    pub areas: Vec<Area>,
    pub priority: Priority,
    pub purpose: Purpose,
    pub from: Civil,
    pub until: Civil,
    pub state: &'static str,
    pub prepared: bool,
}

/// What sounds somewhere in the stead of another.
#[derive(Clone, Debug)]
pub struct Behind {
    pub area: Area,
    pub title: String,
    pub until: Civil,
    /// Until the end of the other.
    pub wholly: bool,
}

/// What happened, numbered; HTTP, audit and receipts share the numbers.
#[derive(Clone, Debug)]
pub struct Event {
    pub number: u64,
    pub at: Option<Civil>,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    Order {
        id: Uuid,
        kind: &'static str,
        title: String,
    },
    Refused {
        code: String,
        text: String,
    },
    Began {
        broadcast: Uuid,
        at: Civil,
    },
    Ended {
        broadcast: Uuid,
        at: Civil,
        /// `None`: nothing sounds at this node.
        whole: Option<bool>,
    },
    Parent {
        parent: usize,
        up: bool,
        reason: String,
    },
    Child {
        node: Uuid,
        up: bool,
    },
    /// A token of this node has admitted another.
    Enrolled {
        node: Uuid,
    },
    /// Something an operator must know: disk, clock, authority.
    Trouble {
        code: &'static str,
        text: String,
    },
    /// From a live source: silence, overload, a gap, its end.
    Note(Note),
    /// The end of a trouble of the same code.
    Mended {
        code: &'static str,
        text: String,
    },
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters {
    /// Verified packets of sound and of logs.
    pub received: u64,
    pub repaired: u64,
    pub lost: u64,
    pub packets_rejected: BTreeMap<Reject, u64>,
    pub orders_accepted: u64,
    pub orders_rejected: BTreeMap<&'static str, u64>,
    pub parents: u64,
    /// How often the other of two parents came to lead.
    pub leads: u64,
    pub children: u64,
    pub player: playout::Counters,
    /// Playout error, µs.
    pub offset: i64,
    pub synced: bool,
    pub uncertainty: u64,
    /// Packets or orders dropped because a bound was hit, by queue.
    pub dropped: BTreeMap<&'static str, u64>,
    /// µs from the origin's seal to this node's verification, newest.
    pub delivery: i64,
    /// What left the device in the last second; `None` without a device.
    pub level: Option<Reading>,
    /// How loud it may be; `None` without a device.
    pub loudness: Option<super::Loudness>,
    /// This node and all below, as they last said.
    pub known: super::Known,
    /// When the newest tick of the origin that tells the time was heard, or given.
    pub tick: Option<Local>,
    /// Until when this node's own authority may give orders; `None` if it has none.
    pub granted: Option<Civil>,
    /// Whether this node has a place.
    pub placed: bool,
    /// Why no parent has it, as the last one tried said or as the link broke; `None` while one has.
    pub hindrance: Option<String>,
    /// How often a key was seen to be used by two nodes.
    pub twice: u64,
    /// Nodes by what became of the newest broadcast, as `broadcast::receipt::Outcome` counts them.
    pub receipts: [u64; Outcome::ALL.len()],
    /// Those of [`super::TROUBLES`] that are so at this node now.
    pub troubles: BTreeSet<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    Session,
    Dial,
    Lead,
    Tick,
    Air,
    Repeat,
    Tune,
    Fetch,
    Step,
    Report,
    Receipts,
}
