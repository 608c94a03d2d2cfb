//! The seal in every packet of sound, and the reader that checks it.
use super::cipher::{Cipher, TAG};
use super::{Header, Info, MAX_PACKET, Reject, Secret};
use crate::key::Domain;
use crate::time::Civil;
use bytes::Bytes;
use std::ops::RangeInclusive;
use uuid::Uuid;

/// A verified packet of sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sound {
    pub index: u64,
    /// When its origin sealed it.
    pub time: Civil,
    /// Opus packets of at most 120 ms, in order, 1 to [`MAX_RECORDS`]; together `Info::duration`
    /// samples. What is in them is the sealing origin's word: it is not looked at here.
    pub records: Vec<Bytes>,
}

/// Unprotects and verifies the packets of one track. Stateless between packets.
pub struct Reader {
    info: Info,
    cipher: Cipher,
}

impl Reader {
    /// `None` if the secret's hash is not the one that the signed broadcast names.
    pub fn new(info: &Info, secret: &Secret) -> Option<Self> {
        let cipher = Cipher::new(secret, info.ssrc);
        (secret.hash() == info.key_hash).then(|| Self { info: info.clone(), cipher })
    }

    pub fn info(&self) -> &Info {
        &self.info
    }

    /// Tag, then seal, then the records' framing. About 0.1 ms on a server.
    ///
    /// The header must be the only one that this index can have: every holder of the secret could
    /// change a timestamp and make a new tag.
    pub fn read(&self, index: u64, bytes: &[u8]) -> Result<Sound, Reject> {
        let header = self.cipher.check(index, bytes)?;
        if !LENGTHS.contains(&bytes.len()) || header.payload_type != Header::SOUND {
            return Err(Reject::Malformed);
        }
        if header.timestamp != self.info.timestamp(index) {
            return Err(Reject::WrongIndex);
        }
        if self.info.packets.is_some_and(|packets| index >= packets) {
            return Err(Reject::OutOfWindow);
        }
        // One buffer from decryption to the records: the signed bytes are in a row in it.
        let mut message = Vec::with_capacity(PLACE + bytes.len() - Header::LEN - TAG);
        message.extend_from_slice(&place(self.info.id, index));
        self.cipher.open(index, bytes, &mut message)?;
        let (signed, seal) = message.split_at(message.len() - SEAL);
        if !self.info.sign.verify(Domain::Seal, signed, seal) {
            return Err(Reject::Seal);
        }
        let (body, time) = signed.split_last_chunk::<TIME>().ok_or(Reject::Malformed)?;
        let time = Civil(i64::from_be_bytes(*time));
        let end = body.len();
        let records = split(&message.into(), PLACE, end).ok_or(Reject::Malformed)?;
        Ok(Sound { index, time, records })
    }
}

/// What the seal covers before the payload: where the packet stands.
/// ```text
/// | track id, 16 bytes | index, u64 big-endian |
/// ```
pub(super) fn place(track: Uuid, index: u64) -> [u8; PLACE] {
    let mut place = [0; PLACE];
    place[..16].copy_from_slice(track.as_bytes());
    place[16..].copy_from_slice(&index.to_be_bytes());
    place
}

/// The records between `at` and `end`; `None` unless there are 1 to [`MAX_RECORDS`] and only zeros
/// behind them.
/// ```text
/// | length, u16 | record | length | record | … | 0 0 | 0 … 0 |
/// ```
fn split(bytes: &Bytes, mut at: usize, end: usize) -> Option<Vec<Bytes>> {
    let mut records = Vec::new();
    while let Some(&[high, low, ref rest @ ..]) = bytes.get(at..end) {
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length == 0 {
            break;
        }
        if length > rest.len() || records.len() == MAX_RECORDS {
            return None;
        }
        let start = at + LENGTH;
        at = start + length;
        records.push(bytes.slice(start..at));
    }
    let fill = bytes.get(at..end)?;
    (!records.is_empty() && fill.iter().all(|&byte| byte == 0)).then_some(records)
}

/// One per 20 ms frame of the longest packet, should each frame have its own TOC; four of 120 ms
/// are the usual most.
pub const MAX_RECORDS: usize = 24;
/// Bytes of a packet that are neither records nor fill: header, origin time, seal and tag.
pub const OVERHEAD: usize = Header::LEN + TIME + SEAL + TAG;
/// Of a packet of sound, from one record of one byte on.
const LENGTHS: RangeInclusive<usize> = OVERHEAD + LENGTH + 1..=MAX_PACKET;
/// Bytes before each record.
pub(super) const LENGTH: usize = 2;
pub(super) const PLACE: usize = 24;
const TIME: usize = 8;
const SEAL: usize = 64;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::key::SigningKey;
    use crate::track::{Packet, Writer};
    use proptest::prelude::*;

    pub const TIME_NOW: Civil = Civil(1_795_000_000_000_000);

    pub fn secret() -> Secret {
        Secret { key: [3; 16], salt: [5; 12] }
    }

    pub fn key() -> SigningKey {
        SigningKey::from_seed(&[7; 32])
    }

    pub fn info() -> Info {
        Info {
            id: "01936f1e-7a10-7c3b-9d5e-0123456789ab".parse().unwrap(),
            sign: key().public(),
            ssrc: 0xcafe_babe,
            duration: 11_520,
            anchor: TIME_NOW,
            key_hash: secret().hash(),
            bitrate: 24_000,
            packets: None,
        }
    }

    pub fn reader() -> Reader {
        Reader::new(&info(), &secret()).unwrap()
    }

    fn first_packet() -> Packet {
        Writer::new(info(), &secret(), key(), 40).write(&[b"one".as_slice(), b"two"], TIME_NOW).unwrap()
    }

    /// What a holder of the secret can make: any payload, with or without the origin's key.
    fn forge(index: u64, key: &SigningKey, place_index: u64, body: &[u8]) -> Bytes {
        let mut message = place(info().id, place_index).to_vec();
        message.extend_from_slice(body);
        message.extend_from_slice(&TIME_NOW.0.to_be_bytes());
        let seal = key.sign(Domain::Seal, &message);
        message.extend_from_slice(&seal);
        protect(index, info().timestamp(index), Header::SOUND, &message[PLACE..])
    }

    fn protect(index: u64, timestamp: u32, payload_type: u8, payload: &[u8]) -> Bytes {
        Cipher::new(&secret(), info().ssrc).protect(index, timestamp, payload_type, payload)
    }

    fn payload_of(packet: &Packet) -> Vec<u8> {
        Cipher::new(&secret(), info().ssrc).unprotect(packet.index, &packet.bytes).unwrap().to_vec()
    }

    #[test]
    fn a_reader_needs_the_secret_that_the_broadcast_names() {
        assert!(Reader::new(&info(), &secret()).is_some());
        assert!(Reader::new(&info(), &Secret { salt: [6; 12], ..secret() }).is_none());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let packet = first_packet();
        let reader = reader();
        assert!(reader.read(0, &packet.bytes).is_ok());
        for bit in 0..packet.bytes.len() * 8 {
            let mut bytes = packet.bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(reader.read(0, &bytes).is_err(), "bit {bit}");
        }
        for len in 0..packet.bytes.len() {
            assert!(reader.read(0, &packet.bytes[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn a_holder_of_the_secret_cannot_change_a_bit_of_a_payload() {
        let packet = first_packet();
        let reader = reader();
        let payload = payload_of(&packet);
        for byte in 0..payload.len() {
            let mut changed = payload.clone();
            changed[byte] ^= 1 << (byte % 8);
            assert_eq!(reader.read(0, &protect(0, 0, Header::SOUND, &changed)), Err(Reject::Seal), "byte {byte}");
        }
    }

    #[test]
    fn a_holder_of_the_secret_cannot_move_a_payload_or_relabel_it() {
        let packet = first_packet();
        let reader = reader();
        let payload = payload_of(&packet);
        for index in [1, 65_536, 1 << 40] {
            let moved = protect(index, info().timestamp(index), Header::SOUND, &payload);
            assert_eq!(reader.read(index, &moved), Err(Reject::Seal), "index {index}");
        }
        assert_eq!(reader.read(0, &protect(0, 11_520, Header::SOUND, &payload)), Err(Reject::WrongIndex));
        assert_eq!(reader.read(0, &protect(0, 0, Header::LOG, &payload)), Err(Reject::Malformed));
        let longer = [&payload[..], &[0]].concat();
        assert_eq!(reader.read(0, &protect(0, 0, Header::SOUND, &longer)), Err(Reject::Seal));
    }

    #[test]
    fn a_packet_of_another_track_or_signer_is_refused() {
        let packet = first_packet();
        let read = |info: Info| Reader::new(&info, &secret()).unwrap().read(0, &packet.bytes);
        assert!(read(info()).is_ok());
        assert_eq!(read(Info { id: Uuid::from_u128(info().id.as_u128() ^ 1), ..info() }), Err(Reject::Seal));
        assert_eq!(read(Info { sign: SigningKey::from_seed(&[8; 32]).public(), ..info() }), Err(Reject::Seal));
        assert_eq!(read(Info { ssrc: 1, ..info() }), Err(Reject::UnknownSsrc));
        let other = Secret { key: [4; 16], ..secret() };
        let reader = Reader::new(&Info { key_hash: other.hash(), ..info() }, &other).unwrap();
        assert_eq!(reader.read(0, &packet.bytes), Err(Reject::Tag));
        assert_eq!(reader.read(65_536, &packet.bytes), Err(Reject::WrongIndex), "its timestamp is another's");
    }

    #[test]
    fn a_finished_track_has_no_packet_after_its_last() {
        let mut writer = Writer::new(info(), &secret(), key(), 40);
        let packets = [(); 3].map(|()| writer.write(&[b"x"], TIME_NOW).unwrap());
        let reader = Reader::new(&Info { packets: Some(2), ..info() }, &secret()).unwrap();
        assert!(reader.read(1, &packets[1].bytes).is_ok());
        assert_eq!(reader.read(2, &packets[2].bytes), Err(Reject::OutOfWindow));
    }

    #[test]
    fn sealed_framing_must_be_that_of_the_format() {
        let read = |body: &[u8]| reader().read(5, &forge(5, &key(), 5, body)).map(|sound| sound.records);
        assert_eq!(read(b"\0\x01a\0\x02bc").unwrap(), ["a", "bc"], "full to the last byte");
        assert_eq!(read(b"\0\x01a\0").unwrap(), ["a"], "one byte of fill");
        assert_eq!(read(b"\0\x01a\0\0\0\0").unwrap(), ["a"]);
        assert_eq!(read(&b"\0\x01a".repeat(24)).unwrap().len(), 24);
        let refused: [(&str, &[u8]); 8] = [
            ("no record", b"\0\0\0"),
            ("a record longer than the rest", b"\0\x04abc"),
            ("half a length, not zero", b"\0\x01a\x01"),
            ("fill that is not zero", b"\0\x01a\0\0\0\x01"),
            ("a record behind an empty one", b"\0\x01a\0\0\0\x01b"),
            ("the longest length", b"\xff\xffabc"),
            ("25 records", &b"\0\x01a".repeat(25)),
            ("less than a record", b"\0\x01"),
        ];
        for (what, body) in refused {
            assert_eq!(read(body), Err(Reject::Malformed), "{what}");
        }
        assert_eq!(read(b""), Err(Reject::Malformed));
    }

    #[test]
    fn a_packet_may_be_as_long_as_the_longest_and_no_longer() {
        let read = |room: usize| {
            let mut body = vec![0; room];
            body[..3].copy_from_slice(b"\0\x01a");
            let packet = forge(0, &key(), 0, &body);
            assert_eq!(packet.len(), room + OVERHEAD);
            reader().read(0, &packet)
        };
        assert!(read(MAX_PACKET - OVERHEAD).is_ok());
        assert_eq!(read(MAX_PACKET - OVERHEAD + 1), Err(Reject::Malformed));
    }

    #[test]
    fn a_seal_of_another_index_is_refused_whatever_the_header_says() {
        assert!(reader().read(9, &forge(9, &key(), 9, b"\0\x01a")).is_ok());
        assert_eq!(reader().read(9, &forge(9, &key(), 10, b"\0\x01a")), Err(Reject::Seal));
        let stranger = SigningKey::from_seed(&[8; 32]);
        assert_eq!(reader().read(9, &forge(9, &stranger, 9, b"\0\x01a")), Err(Reject::Seal));
    }

    proptest! {
        #[test]
        fn random_bytes_are_refused(index: u64, bytes in prop::collection::vec(any::<u8>(), 0..MAX_PACKET + 20)) {
            prop_assert!(reader().read(index, &bytes).is_err());
        }

        #[test]
        fn any_encrypted_payload_without_the_seal_is_refused(
            index in 0..super::super::LAST_INDEX,
            payload in prop::collection::vec(any::<u8>(), 0..MAX_PACKET - Cipher::OVERHEAD),
        ) {
            let packet = protect(index, info().timestamp(index), Header::SOUND, &payload);
            let reason = reader().read(index, &packet).unwrap_err();
            prop_assert!(matches!(reason, Reject::Seal | Reject::Malformed));
        }

        /// Even sealed: framing is parsed by nodes that did not write it.
        #[test]
        fn any_sealed_body_reads_as_framed_or_is_refused(
            body in prop::collection::vec(prop_oneof![3 => Just(0u8), 2 => 0u8..6, 1 => any::<u8>()], 0..200),
        ) {
            if let Ok(sound) = reader().read(1, &forge(1, &key(), 1, &body)) {
                let mut framed: Vec<u8> = Vec::new();
                for record in &sound.records {
                    prop_assert!(!record.is_empty());
                    framed.extend_from_slice(&(record.len() as u16).to_be_bytes());
                    framed.extend_from_slice(record);
                }
                framed.resize(body.len(), 0);
                prop_assert_eq!(framed, body);
            }
        }
    }
}
