//! One node: a trunk that owns tracks and rules, and branches, one per core, that own child sessions
//! (DESIGN §2, §8).
//!
//! Contract: pure. The owner feeds a [`Trunk`] and its [`Branch`]es with `handle_input(now, …)`, drains
//! `poll_output()` until `None` after every input, and calls `handle_timeout(now)` once `poll_timeout()`
//! has passed. Trunk and branches speak by [`branch::Command`] (down) and [`branch::Notice`] (up) over
//! bounded queues that the owner keeps; both run on the same oscillator.
//!
//! ```text
//!            parent links                        control
//!                 │ Arrival            Request / Reply, Event
//!                 ▼                               ▼
//!   Job ◀──── trunk: orders, tracks, tuner, clock, playout ────▶ Step (sound device)
//!                 │ Command                ▲ Notice
//!                 ▼                        │
//!               branch 0 … n-1: sessions, rings, repair ────▶ Air { track, packet } ▶ address vectors
//!                                               Listen, Unlisten { link, track } ▶ who stands in them
//! ```
//!
//! A branch has tens of thousands of children, so what concerns many of them is done in slices (`work`),
//! their beats together are bounded (`beats`), and so is what one of them may take (`guard`). The parent's
//! multicast group is one more listener, [`GROUP`], in the place of those who hear it. The trunk keeps a
//! line of every node below (`below`) and chooses the rendition that this node sounds (`choice`); children
//! choose theirs.
//!
//! # What one peer can make a node hold
//!
//! Each store has a bound of its own, and drops and counts what is beyond; tests drive peers that fill all they can.
//!
//! | for one child | bound | shown by |
//! |---|---|---|
//! | its session: 128 repair budgets with the requests of half a second, what it lacks (512) | 192 KiB; 320 while one input is dealt with | `session::ceilings` |
//! | its place in the branch: 64 tracks listened to, 4 transfers | 32 KiB with the session of a node that asks for everything | `node::branch::tests` |
//! | QUIC: 512 KiB received and not read, 64 KiB sent and not acknowledged, 2.5 KiB of datagrams each way, handshake 16 KiB | 600 KiB | the library's own limits, `io::quic::transport` |
//! | said and not taken: 8 MiB of control, 512 KiB of bulk; then it is cut | 8.5 MiB | `io::quic::tests` |
//! | all children together: said and not taken | 128 MiB, whoever holds most is cut | `io::quic::tests` |
//! | sessions of one node | 2, and 60 joins in two minutes | `node::branch::guard` |
//! | all children together: receipts | 256 orders, 400,000 entries of 200 bytes; 8,192 sums an order, 512 MiB of them in all, half of it and of them by one | `node::trunk::receipts` |
//!
//! | for one parent | bound | shown by |
//! |---|---|---|
//! | its session: 64 tracks of 512 gaps, 64 bulk streams, queues of 1,024 | 4 MiB | `session::ceilings` |
//! | the trunk: 64 logs of 256 packets, 512 orders that wait for their grant, 2,048 keys that wait for their order, 512 repeats | 24 MiB | `node::trunk::ceilings` |
//! | QUIC: 512 KiB received in all, a frame of 64 KiB on each of 8 bulk streams and the control stream | 1.1 MiB | `io::quic::transport`, `session::frame` |
//!
//! A node has two parents: 59 MiB at the worst. What is signed is bounded apart from peers (`broadcast`: 4,096
//! broadcasts, 4,096 cancels, 8,192 grants), and so is what is known of nodes below: 200,000 lines, 80 MiB; a
//! relay that lies may fill these alone, and then no more nodes are shown.

pub mod branch;
pub mod instants;
mod places;
pub mod trunk;

pub use branch::Branch;
pub use trunk::Trunk;

use crate::key::PublicKey;
use crate::proto;
use crate::track::Packet;
use bytes::Bytes;
use uuid::Uuid;

/// Names a link within the trunk or the branch that owns it; never used twice.
pub type Link = u64;

/// Not a link: the parent's multicast group, which listens in the place of all children that hear it.
pub const GROUP: Link = Link::MAX;

/// What a certificate says of the other end (URI SAN `urn:loa:node:<uuid>:<role>`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub node: Uuid,
    pub role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// May be a parent (origins are relays without a parent).
    Relay,
    Speaker,
    /// Has no certificate of any root yet, only a key: it may ask for one.
    New,
}

impl Role {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Speaker => "speaker",
            Self::New => "new",
        }
    }
}

/// The id of a node whose certificate an issuer gives: its key's, in the form of a UUIDv7 (RFC 9562 §5.7). So an issuer
/// can't give one node the name of another, and a key has one name whatever token it comes with.
pub fn id_of(key: &PublicKey) -> Uuid {
    let mut bytes = key.id().0;
    bytes[6] = 0x70 | bytes[6] & 0x0f;
    bytes[8] = 0x80 | bytes[8] & 0x3f;
    Uuid::from_bytes(bytes)
}

/// What a node that waits for a place is called in the meantime: six digits that a loudspeaker can say.
pub fn code(node: Uuid) -> u32 {
    // The lower half of a UUIDv7 is random but for two bits (RFC 9562 §5.7).
    (node.as_u128() as u64 % 1_000_000) as u32
}

/// Long work that leaves a trunk or branch and comes back as `Done` with the same id.
#[derive(Clone, Debug, PartialEq)]
pub enum Job {
    /// Append to the journal, durably, in order.
    Journal(Vec<proto::Record>),
    /// Put packets into a track's file.
    Keep { track: Uuid, packets: Vec<Packet> },
    /// Read `[from, until)`, at most 256 packets; those that are there.
    Fetch { track: Uuid, from: u64, until: u64 },
    /// Delete a track's file.
    Forget { track: Uuid },
    /// Certify a node's key with this node's own issuer.
    Certify(Certify),
}

/// Whom to certify.
#[derive(Clone, Debug, PartialEq)]
pub enum Certify {
    /// A node that a token has admitted.
    New { node: Uuid, relay: bool, key: PublicKey },
    /// Whoever holds these certificates (DER, leaf first), if they hold and are of this node and key.
    Again { node: Uuid, key: PublicKey, chain: Vec<Bytes> },
}

#[derive(Clone, Debug, PartialEq)]
pub enum Done {
    Ok,
    Packets {
        track: Uuid,
        packets: Vec<Packet>,
    },
    /// DER, leaf first.
    Certified(Vec<Bytes>),
    /// Disk full, read-only, damaged: named with the path.
    Failed(String),
}
