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

pub mod branch;
pub mod instants;
mod places;
pub mod trunk;

pub use branch::Branch;
pub use trunk::Trunk;

use crate::proto;
use crate::track::Packet;
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
}

impl Role {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Speaker => "speaker",
        }
    }
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
}

#[derive(Clone, Debug, PartialEq)]
pub enum Done {
    Ok,
    Packets {
        track: Uuid,
        packets: Vec<Packet>,
    },
    /// Disk full, read-only, damaged: named with the path.
    Failed(String),
}
