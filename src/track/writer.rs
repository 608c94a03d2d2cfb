//! The packetizer: records → RTP payload ▸ seal ▸ SRTP, once, where sound enters.
use super::cipher::Cipher;
use super::packet::LAST_INDEX;
use super::seal::{LENGTH, MAX_RECORDS, OVERHEAD, PLACE, place};
use super::{Header, Info, MAX_PACKET, Packet, Secret};
use crate::key::{Domain, SigningKey};
use crate::time::Civil;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    #[error("the records of packet {index} take {needed} bytes, the track has room for {room}")]
    TooLong { index: u64, needed: usize, room: usize },
    #[error("packet {index} has {count} records, it takes 1 to {MAX_RECORDS}: join the frames into Opus packets")]
    Count { index: u64, count: usize },
    #[error("record {record} of packet {index} is empty, an Opus packet has at least its TOC byte")]
    Empty { index: u64, record: usize },
    #[error("the track has no index left")]
    Exhausted,
}

/// Makes the packets of one track of sound, index 0 first, all of one length.
pub struct Writer {
    info: Info,
    cipher: Cipher,
    key: SigningKey,
    room: usize,
    next: u64,
    /// What the seal covers and the seal: reused, so that a packet costs one allocation.
    message: Vec<u8>,
}

impl Writer {
    /// `room`: bytes for records with their 2-byte lengths, at most [`MAX_PACKET`] − 100; the rest
    /// of a packet adds 100. No reader takes the packets unless `key` belongs to `info.sign` and
    /// `secret` to `info.key_hash`. The caller must use each (secret, ssrc) for one writer only.
    pub fn new(info: Info, secret: &Secret, key: SigningKey, room: usize) -> Self {
        let cipher = Cipher::new(secret, info.ssrc);
        let room = room.min(MAX_PACKET - OVERHEAD);
        let message = Vec::with_capacity(PLACE + room + OVERHEAD);
        Self { info, cipher, key, room, next: 0, message }
    }

    /// The room that hard-CBR records of `bitrate` need for packets of `duration` samples, with
    /// slack for repacketizer framing; total ≤ [`super::MAX_PACKET`] or an error from `write`.
    ///
    /// Enough whatever the TOCs: joining frames of one TOC into a record never makes them longer
    /// than a record for each (RFC 6716 §3.2.5: two bytes more for the record, one less per frame).
    pub fn room(bitrate: u32, duration: u32) -> usize {
        let frames = duration.div_ceil(FRAME) as usize;
        // 8 bits a byte, 50 frames a second.
        frames * (LENGTH + bitrate.div_ceil(8 * 50) as usize)
    }

    pub fn info(&self) -> &Info {
        &self.info
    }

    /// The index that the next packet gets.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Leaves out the indices before `index`, whose time went by without sound. Never goes back.
    pub fn skip_to(&mut self, index: u64) {
        self.next = self.next.max(index);
    }

    /// After an error, the index is still free.
    pub fn write<R: AsRef<[u8]>>(&mut self, records: &[R], time: Civil) -> Result<Packet, WriteError> {
        let index = self.next;
        if index > LAST_INDEX || self.info.packets.is_some_and(|packets| index >= packets) {
            return Err(WriteError::Exhausted);
        }
        if !(1..=MAX_RECORDS).contains(&records.len()) {
            return Err(WriteError::Count { index, count: records.len() });
        }
        if let Some(record) = records.iter().position(|record| record.as_ref().is_empty()) {
            return Err(WriteError::Empty { index, record });
        }
        let needed = records.iter().map(|record| LENGTH + record.as_ref().len()).sum();
        if needed > self.room {
            return Err(WriteError::TooLong { index, needed, room: self.room });
        }

        let message = &mut self.message;
        message.clear();
        message.extend_from_slice(&place(self.info.id, index));
        for record in records.iter().map(AsRef::as_ref) {
            // The room is below 2^16.
            message.extend_from_slice(&(record.len() as u16).to_be_bytes());
            message.extend_from_slice(record);
        }
        message.resize(PLACE + self.room, 0);
        message.extend_from_slice(&time.0.to_be_bytes());
        let seal = self.key.sign(Domain::Seal, message);
        message.extend_from_slice(&seal);
        let bytes = self.cipher.protect(index, self.info.timestamp(index), Header::SOUND, &message[PLACE..]);
        self.next += 1;
        Ok(Packet { index, bytes })
    }
}

/// Samples of an Opus frame of 20 ms, the shortest record.
const FRAME: u32 = 960;

#[cfg(test)]
mod tests {
    use super::super::seal::tests::{TIME_NOW, info, key, reader, secret};
    use super::*;
    use proptest::prelude::*;

    fn writer(room: usize) -> Writer {
        Writer::new(info(), &secret(), key(), room)
    }

    #[test]
    fn packets_are_numbered_from_0_and_all_of_one_length() {
        let mut writer = writer(720);
        for index in 0..20 {
            let records = vec![vec![1; 17 * index + 1]; 2];
            let packet = writer.write(&records, TIME_NOW).unwrap();
            assert_eq!((packet.index, packet.bytes.len()), (index as u64, 820));
            let header = Header::parse(&packet.bytes).unwrap();
            assert_eq!((header.sequence, header.timestamp), (index as u16, index as u32 * 11_520));
        }
    }

    #[test]
    fn an_index_of_48_bits_reads_back_and_the_one_after_the_last_does_not_exist() {
        let mut writer = writer(40);
        for index in [65_535, 65_536, 1 << 32, LAST_INDEX] {
            writer.skip_to(index);
            let packet = writer.write(&[b"x"], TIME_NOW).unwrap();
            assert_eq!(packet.index, index);
            assert_eq!(reader().read(index, &packet.bytes).unwrap().records, ["x"]);
        }
        assert_eq!(writer.write(&[b"x"], TIME_NOW), Err(WriteError::Exhausted));
        writer.skip_to(0);
        assert_eq!(writer.next(), LAST_INDEX + 1, "no index is given twice");
    }

    #[test]
    fn a_track_that_names_its_number_of_packets_ends_there() {
        let mut writer = Writer::new(Info { packets: Some(1), ..info() }, &secret(), key(), 40);
        assert!(writer.write(&[b"x"], TIME_NOW).is_ok());
        assert_eq!(writer.write(&[b"x"], TIME_NOW), Err(WriteError::Exhausted));
    }

    #[test]
    fn records_that_make_no_packet_are_refused_and_take_no_index() {
        let mut writer = writer(10);
        let error = writer.write(&[b"12345", b"67890"], TIME_NOW).unwrap_err();
        assert_eq!(error, WriteError::TooLong { index: 0, needed: 14, room: 10 });
        assert_eq!(writer.write::<&[u8]>(&[], TIME_NOW), Err(WriteError::Count { index: 0, count: 0 }));
        assert_eq!(writer.write(&[b"1"; 25], TIME_NOW), Err(WriteError::Count { index: 0, count: 25 }));
        assert_eq!(writer.write(&["1", ""], TIME_NOW), Err(WriteError::Empty { index: 0, record: 1 }));
        assert_eq!(writer.write(&["12345", "6"], TIME_NOW).unwrap().index, 0, "full to the last byte");
    }

    #[test]
    fn room_beyond_the_longest_packet_is_not_given() {
        let error = writer(5_000).write(&[vec![1; 1_099]], TIME_NOW).unwrap_err();
        assert_eq!(error, WriteError::TooLong { index: 0, needed: 1_101, room: 1_100 });
        assert_eq!(writer(5_000).write(&[vec![1; 1_098]], TIME_NOW).unwrap().bytes.len(), MAX_PACKET);
    }

    #[test]
    fn the_usual_renditions_fit_into_a_packet_even_with_a_record_per_frame() {
        for (bitrate, milliseconds) in [(24_000, 240), (32_000, 240), (16_000, 480), (64_000, 120), (128_000, 60)] {
            let frames = milliseconds as usize / 20;
            let room = Writer::room(bitrate, milliseconds * 48);
            let frame = vec![1; bitrate as usize / 400];
            let packet = writer(room).write(&vec![frame; frames], TIME_NOW).unwrap();
            assert_eq!(packet.bytes.len(), room + OVERHEAD);
        }
        // DESIGN §11: at most 1.25 times the 720 Opus bytes, with 28 of IP and UDP.
        assert!(Writer::room(24_000, 11_520) + OVERHEAD + 28 <= 720 * 125 / 100);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 1..=MAX_RECORDS),
            index in 0..=LAST_INDEX,
            time: i64,
        ) {
            let mut writer = writer(MAX_RECORDS * 42);
            writer.skip_to(index);
            let packet = writer.write(&records, Civil(time)).unwrap();
            let sound = reader().read(packet.index, &packet.bytes).unwrap();
            prop_assert_eq!((sound.index, sound.time), (index, Civil(time)));
            prop_assert_eq!(sound.records, records);
        }

        #[test]
        fn any_records_are_written_or_named_in_the_error(
            lengths in prop::collection::vec(prop_oneof![0usize..100, 60_000usize..70_000], 0..30),
            room in 0usize..2_000,
        ) {
            let records: Vec<Vec<u8>> = lengths.iter().map(|&length| vec![1; length]).collect();
            let mut writer = writer(room);
            match writer.write(&records, TIME_NOW) {
                Ok(packet) => prop_assert_eq!(reader().read(0, &packet.bytes).unwrap().records, records),
                Err(_) => prop_assert_eq!(writer.next(), 0),
            }
        }
    }
}
