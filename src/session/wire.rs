//! Between messages and bytes: what `child` and `parent` share in reading and writing loa.proto.
use super::Violation;
use crate::broadcast::MOST_ADDRESSES;
use crate::proto;
use crate::proto::datagram::Body;
use crate::track::{LAST_INDEX, Secret};
use bytes::Bytes;
use prost::Message;
use uuid::Uuid;

/// A datagram must fit a QUIC packet on any path (RFC 9000 §14: 1,200 bytes), headers and tag off.
pub const MAX_DATAGRAM: usize = 1_100;
/// Ranges in one datagram: each takes at most 2 + 1 + 7 + 1 + 7 bytes, so that 59 fit.
pub const MAX_RANGES: usize = 59;
/// Grants in a Hello or Welcome (loa.proto).
pub const MAX_GRANTS: usize = 8;
/// Certificates that a node shows, and bytes of each: one of Ed25519 takes about 500.
pub const MAX_CHAIN: usize = 4;
pub const MAX_CERTIFICATE: usize = 2_048;
/// A Goodbye is for people who read logs; longer text is cut.
pub const MAX_TEXT: usize = 512;
/// Receipts, and sums, in one message.
pub const MOST_RECEIPTS: usize = 64;
/// Orders that a parent asks after in one message.
pub const MOST_LACKING: usize = 16;
/// Bytes of a text in a report, which is kept once per node: an area has 128, a name not more.
const LONGEST_REPORTED: usize = 256;

impl Violation {
    pub(super) fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

pub fn id(uuid: Uuid) -> Bytes {
    Bytes::copy_from_slice(uuid.as_bytes())
}

/// A node or track id out of a control message.
pub fn read_id(bytes: &[u8], field: &str) -> Result<Uuid, Violation> {
    Uuid::from_slice(bytes)
        .map_err(|_| Violation::new("control.malformed", format!("{field} has {} bytes; an id has 16", bytes.len())))
}

pub fn read_index(index: u64, field: &str) -> Result<u64, Violation> {
    if index <= LAST_INDEX {
        return Ok(index);
    }
    Err(Violation::new("control.malformed", format!("{field} is {index}; an index has 48 bits")))
}

pub fn read_secret(secret: Option<&proto::Secret>, field: &str) -> Result<Secret, Violation> {
    secret.and_then(Secret::from_proto).ok_or_else(|| {
        Violation::new("control.malformed", format!("{field} must have a key of 16 bytes and a salt of 12"))
    })
}

/// Neighbours may differ by one release (DESIGN §9).
pub fn check_version(version: u32) -> Result<(), Violation> {
    if version > 0 && version.abs_diff(super::VERSION) <= 1 {
        return Ok(());
    }
    let text = format!("the peer speaks version {version}, this node {}; neighbours may differ by one", super::VERSION);
    Err(Violation::new("version.unsupported", text))
}

pub fn check_grants(grants: &[proto::Signed]) -> Result<(), Violation> {
    if grants.len() <= MAX_GRANTS {
        return Ok(());
    }
    let text = format!("{} grants in an introduction; a chain has at most {MAX_GRANTS}", grants.len());
    Err(Violation::new("control.malformed", text))
}

pub fn check_addresses(addresses: &[proto::Address]) -> Result<(), Violation> {
    if addresses.len() <= MOST_ADDRESSES {
        return Ok(());
    }
    let text = format!("{} parents in a Welcome; at most {MOST_ADDRESSES}", addresses.len());
    Err(Violation::new("control.malformed", text))
}

pub fn check_chain(chain: &[Bytes]) -> Result<(), Violation> {
    if chain.len() <= MAX_CHAIN && chain.iter().all(|certificate| certificate.len() <= MAX_CERTIFICATE) {
        return Ok(());
    }
    let text = format!("a chain has at most {MAX_CHAIN} certificates of {MAX_CERTIFICATE} bytes");
    Err(Violation::new("control.malformed", text))
}

/// A control frame. Only the code stands in the text: the decoder's words may hold what a peer wrote.
pub fn read_control<M: Message + Default>(frame: Bytes) -> Result<M, Violation> {
    let length = frame.len();
    M::decode(frame).map_err(|_| {
        Violation::new("control.malformed", format!("a control frame of {length} bytes is not a message of loa.v1"))
    })
}

/// Whether a report's texts and ids are of a length that is kept; what it claims is judged where it comes in.
pub fn is_sane_report(report: &proto::Report) -> bool {
    let texts = [&report.area, &report.name, &report.state, &report.role, &report.trouble];
    let ids = [&report.parent, &report.sounding, &report.first, &report.ended];
    texts.iter().all(|text| text.len() <= LONGEST_REPORTED) && ids.iter().all(|id| id.is_empty() || id.len() == 16)
}

pub fn datagram(body: Body) -> Bytes {
    proto::Datagram { body: Some(body) }.encode_to_vec().into()
}

/// `None` for what is not a datagram of loa.v1; `Some(None)` for one of a later release.
pub fn read_datagram(bytes: Bytes) -> Option<Option<Body>> {
    proto::Datagram::decode(bytes).ok().map(|datagram| datagram.body)
}

/// The valid part of a peer's ranges: at most [`MAX_RANGES`], each non-empty and of 48-bit indices,
/// as (first, count).
pub fn read_ranges(ranges: &[proto::Range]) -> impl Iterator<Item = (u64, u64)> + '_ {
    ranges
        .iter()
        .take(MAX_RANGES)
        .filter(|range| range.first <= LAST_INDEX && range.count > 0)
        .map(|range| (range.first, range.count.min(LAST_INDEX - range.first + 1)))
}

/// Merges ascending indices into ranges.
pub fn ranges(indices: impl IntoIterator<Item = u64>) -> Vec<proto::Range> {
    let mut ranges: Vec<proto::Range> = Vec::new();
    for index in indices {
        match ranges.last_mut() {
            Some(range) if range.first + range.count == index => range.count += 1,
            _ => ranges.push(proto::Range { first: index, count: 1 }),
        }
    }
    ranges
}

pub fn goodbye(code: &str, text: &str) -> proto::Goodbye {
    proto::Goodbye { code: cut(code, 64).into(), text: cut(text, MAX_TEXT).into() }
}

/// The peer's last words, at most as long as ours may be.
pub fn read_goodbye(goodbye: &proto::Goodbye) -> (String, String) {
    (cut(&goodbye.code, 64).into(), cut(&goodbye.text, MAX_TEXT).into())
}

/// At most `limit` bytes of `text`, cut between characters.
pub fn cut(text: &str, limit: usize) -> &str {
    let end = (0..=limit.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_may_differ_by_one_release() {
        assert!(check_version(1).is_ok());
        assert!(check_version(2).is_ok());
        assert_eq!(check_version(3).unwrap_err().code, "version.unsupported");
        assert_eq!(check_version(0).unwrap_err().code, "version.unsupported");
    }

    #[test]
    fn the_ranges_of_a_full_nack_fit_a_datagram() {
        let ranges =
            (0..MAX_RANGES as u64).map(|n| proto::Range { first: LAST_INDEX - n, count: LAST_INDEX }).collect();
        let nack = proto::Nack { track: id(Uuid::max()), ranges, round: u32::MAX };
        let length = datagram(Body::Nack(nack)).len();
        assert!(length <= MAX_DATAGRAM, "{length} bytes");
    }

    #[test]
    fn the_first_frame_of_a_bulk_stream_has_the_documented_bytes() {
        let bulk = proto::Bulk { track: vec![7; 16].into(), first: 300 };
        let expected = [&[0x15, 0x0a, 0x10][..], &[7; 16], &[0x10, 0xac, 0x02]].concat();
        assert_eq!(super::super::frame::encode(&bulk.encode_to_vec()), expected);
    }

    #[test]
    fn neighbouring_indices_share_a_range() {
        let merged = ranges([3, 4, 5, 9, 11, 12]);
        let pairs: Vec<_> = merged.iter().map(|range| (range.first, range.count)).collect();
        assert_eq!(pairs, [(3, 3), (9, 1), (11, 2)]);
    }

    #[test]
    fn a_peers_ranges_stay_within_the_indices_there_are() {
        let claims = [
            proto::Range { first: LAST_INDEX, count: u64::MAX },
            proto::Range { first: u64::MAX, count: 1 },
            proto::Range { first: 3, count: 0 },
        ];
        assert_eq!(read_ranges(&claims).collect::<Vec<_>>(), [(LAST_INDEX, 1)]);
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(cut("phường", 3), "ph");
        assert_eq!(cut("xã", 9), "xã");
    }
}
