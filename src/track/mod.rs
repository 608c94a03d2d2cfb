//! A track: a numbered run of immutable packets, the same bytes at every hop (DESIGN §1, §3).
//!
//! Contract: pure. The index of a packet is always an argument, never state. Nothing is accepted
//! before its GCM tag holds, nothing sounds before its seal holds.

mod cipher;
mod info;
mod packet;
mod ring;
mod seal;
mod writer;

pub use cipher::{Cipher, Reject, Secret};
pub use info::{Info, Invalid};
pub use packet::{Header, LAST_INDEX, MAX_PACKET, Packet, extend, is_rtp};
pub use ring::Ring;
pub use seal::{MAX_RECORDS, OVERHEAD, Reader, Sound};
pub use writer::{WriteError, Writer};
