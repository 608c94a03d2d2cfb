//! The RTP packet (RFC 3550 §5.1) and its 48-bit index.
use bytes::Bytes;

/// No packet of sound or of a log is longer, so that one fits any path (DESIGN §3).
pub const MAX_PACKET: usize = 1_200;

/// One protected packet. Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// 48 bits, from 0; RTP sequence = index mod 2^16.
    pub index: u64,
    pub bytes: Bytes,
}

/// The clear header, validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
}

impl Header {
    pub const LEN: usize = 12;

    /// Reads and validates; `None` unless version 2, no padding, no extension, no CSRC, and at
    /// least 12 bytes.
    pub fn parse(_bytes: &[u8]) -> Option<Self> {
        todo!()
    }
}

/// Whether a UDP payload is RTP or RTCP rather than QUIC (RFC 9443 §2: first byte 128–191).
pub fn is_rtp(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(128..=191))
}

/// The index nearest to `newest` whose low 16 bits are `sequence`.
pub fn extend(_sequence: u16, _newest: u64) -> u64 {
    todo!()
}
