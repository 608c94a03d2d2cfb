//! The RTP packet (RFC 3550 §5.1) and its 48-bit index.
use bytes::Bytes;

/// No packet of sound or of a log is longer, so that one fits any path (DESIGN §3).
pub const MAX_PACKET: usize = 1_200;

/// The greatest index: SRTP gives a key 2^48 packets, 32 bits of roll-over counter and 16 of
/// sequence (RFC 3711 §9.2).
pub const LAST_INDEX: u64 = (1 << 48) - 1;

/// One protected packet. Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// 48 bits, from 0; RTP sequence = index mod 2^16.
    pub index: u64,
    pub bytes: Bytes,
}

/// The clear header, validated.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |1 0|0|0|0 0 0 0|0| payload type|           sequence            |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                           timestamp                           |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                             SSRC                              |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
}

impl Header {
    pub const LEN: usize = 12;
    /// Payload type of sealed sound.
    pub const SOUND: u8 = 96;
    /// Payload type of the orders in a log.
    pub const LOG: u8 = 97;

    /// Reads and validates; `None` unless version 2, no padding, no extension, no CSRC, no marker,
    /// and at least 12 bytes. RTCP (RFC 5761 §4) has the marker's bit set and so is `None` too.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let &[FIRST, payload_type @ 0..=0x7f, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3, ..] = bytes else {
            return None;
        };
        Some(Self {
            payload_type,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
        })
    }

    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[0] = FIRST;
        bytes[1] = self.payload_type & 0x7f;
        bytes[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[8..].copy_from_slice(&self.ssrc.to_be_bytes());
        bytes
    }
}

/// Whether a UDP payload is RTP or RTCP rather than QUIC (RFC 9443 §2: first byte 128–191).
pub fn is_rtp(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(128..=191))
}

/// The index nearest to `newest` whose low 16 bits are `sequence`; of two equally near, the
/// earlier. Never below 0 nor above [`LAST_INDEX`].
pub fn extend(sequence: u16, newest: u64) -> u64 {
    let newest = newest.min(LAST_INDEX);
    let distance = sequence.wrapping_sub(newest as u16) as i16;
    match newest.checked_add_signed(distance.into()) {
        Some(index @ ..=LAST_INDEX) => index,
        // One step of the roll-over counter back inside: newest is within 2^15 of that end.
        Some(beyond) => beyond - (1 << 16),
        None => sequence.into(),
    }
}

/// Version 2, no padding, no extension, no CSRC.
const FIRST: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: [u8; 12] = [0x80, 96, 0x12, 0x34, 0xde, 0xad, 0xbe, 0xef, 0xca, 0xfe, 0xba, 0xbe];

    #[test]
    fn a_header_reads_as_it_was_written() {
        let header =
            Header { payload_type: Header::SOUND, sequence: 0x1234, timestamp: 0xdead_beef, ssrc: 0xcafe_babe };
        assert_eq!(header.to_bytes(), HEADER);
        assert_eq!(Header::parse(&HEADER), Some(header));
    }

    #[test]
    fn a_header_that_no_track_makes_is_refused() {
        let with = |at: usize, byte: u8| {
            let mut bytes = HEADER;
            bytes[at] = byte;
            Header::parse(&bytes)
        };
        assert!(with(0, 0x40).is_none(), "version 1");
        assert!(with(0, 0xa0).is_none(), "padding");
        assert!(with(0, 0x90).is_none(), "extension");
        assert!(with(0, 0x81).is_none(), "one CSRC");
        assert!(with(1, 0x80 | 96).is_none(), "marker");
        assert!(with(1, 200).is_none(), "RTCP sender report");
        assert!(Header::parse(&HEADER[..11]).is_none(), "11 bytes");
        assert!(Header::parse(&[]).is_none());
    }

    #[test]
    fn only_first_bytes_128_to_191_are_rtp() {
        let rtp: Vec<u8> = (0..=255).filter(|&byte| is_rtp(&[byte])).collect();
        assert_eq!(rtp, (128..=191).collect::<Vec<u8>>());
        assert!(!is_rtp(&[]));
    }

    #[test]
    fn a_sequence_extends_across_the_wrap_in_both_directions() {
        assert_eq!(extend(0, 0xffff), 0x1_0000);
        assert_eq!(extend(0xffff, 0x1_0000), 0xffff);
        assert_eq!(extend(3, 5), 3);
        assert_eq!(extend(0xffff, 5), 0xffff, "there is no index before 0");
        assert_eq!(extend(0, LAST_INDEX), LAST_INDEX - 0xffff, "there is no index after the last");
        assert_eq!(extend(0x8000, 0x1_0000), 0x8000, "of two equally near, the earlier");
    }

    proptest! {
        #[test]
        fn an_extended_sequence_is_the_nearest_index_with_these_bits(sequence: u16, newest in 0..=LAST_INDEX) {
            let index = extend(sequence, newest);
            prop_assert_eq!(index as u16, sequence);
            prop_assert!(index <= LAST_INDEX);
            let inner = (0x8000..=LAST_INDEX - 0x8000).contains(&newest);
            prop_assert!(index.abs_diff(newest) <= 0x8000 || !inner);
        }

        #[test]
        fn an_index_less_than_half_a_wrap_away_extends_to_itself(newest in 0..=LAST_INDEX, step in -0x7fffi64..=0x7fff) {
            if let Some(index @ ..=LAST_INDEX) = newest.checked_add_signed(step) {
                prop_assert_eq!(extend(index as u16, newest), index);
            }
        }

        #[test]
        fn any_newest_and_any_bytes_are_survived(sequence: u16, newest: u64, bytes: Vec<u8>) {
            prop_assert!(extend(sequence, newest) <= LAST_INDEX);
            if let Some(header) = Header::parse(&bytes) {
                prop_assert_eq!(&header.to_bytes()[..], &bytes[..12]);
            }
        }
    }
}
