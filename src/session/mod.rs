//! The protocol that a child and a parent speak over one link (DESIGN §3, §4).
//!
//! A link gives: an ordered control stream of frames, unidirectional bulk streams of frames from
//! parent to child, unreliable QUIC datagrams, and bare SRTP packets ("media"). `io` and `sim` carry
//! them; this room decides what they say. Contract: pure; `handle_*`, then drain `poll_departure` and
//! `poll_event`, then wait until `poll_timeout` and call `handle_timeout`.

mod arrivals;
mod bulk;
pub mod child;
mod exchange;
mod flood;
pub mod frame;
mod held;
pub mod parent;
mod ration;
mod repair;
mod wire;

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod lossy;

pub use child::Child;
pub use exchange::{Exchange, Line, Told};
pub use parent::Parent;

use bytes::Bytes;

/// Version of the wire protocol in `Hello` and `Welcome`.
pub const VERSION: u32 = 1;
/// ALPN of the QUIC connection.
pub const ALPN: &[u8] = b"loa/1";
/// Bulk streams that a child reads at once: `io` gives the parent as many in QUIC's stream limit.
pub const MAX_BULK_STREAMS: usize = 8;

/// What came over a link. Frames are whole, without their length prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    Control(Bytes),
    Bulk {
        stream: u64,
        frame: Bytes,
    },
    /// The stream was finished or reset.
    BulkEnd {
        stream: u64,
    },
    Datagram(Bytes),
    Media(Bytes),
}

/// What shall go over a link. Bulk streams are numbered by the sender from 0 per link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Departure {
    Control(Bytes),
    Bulk { stream: u64, frame: Bytes },
    BulkEnd { stream: u64 },
    Datagram(Bytes),
    Media(Bytes),
}

/// The peer broke the protocol; the link must be closed with this code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {text}")]
pub struct Violation {
    pub code: &'static str,
    pub text: String,
}
