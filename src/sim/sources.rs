//! Tracks made for a simulation, what their makers recorded, and what a forger makes of them.

use super::{Random, fingerprint};
use crate::key::SigningKey;
use crate::time::Civil;
use crate::track::{Cipher, Info, Packet, Secret, Sound, WriteError, Writer};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Every track of sound of one world, and the fingerprint of every packet that an origin ever sent.
#[derive(Debug, Default)]
pub struct Tracks {
    made: BTreeMap<Uuid, Made>,
    /// Further renditions of a track, by its id.
    others: BTreeMap<Uuid, Vec<Uuid>>,
    genuine: BTreeSet<u64>,
}

#[derive(Debug)]
struct Made {
    info: Info,
    secret: Secret,
    packets: Vec<Packet>,
    /// Fingerprint of the records of each packet.
    records: Vec<u64>,
}

/// What an insider who holds a track's SRTP key can make; an outsider can make less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgery {
    /// Right tag, right index, other sound under another seal.
    Sealed,
    /// The sealed payload of another packet of the same track under this index.
    Spliced,
    /// The payload of the packet with one byte changed under the right tag.
    Altered,
}

impl Tracks {
    /// Makes `packets` packets of `duration` samples: real Opus framing around random bytes, since
    /// plans are checked without decoding.
    pub fn make(
        &mut self,
        random: &mut Random,
        civil: Civil,
        packets: u64,
        duration: u32,
        bitrate: u32,
        live: bool,
    ) -> Result<(Info, Secret, Vec<Packet>), WriteError> {
        let seed = random.bytes();
        let secret = Secret { key: random.bytes(), salt: random.bytes() };
        let info = Info {
            id: random.id(civil.0),
            sign: SigningKey::from_seed(&seed).public(),
            ssrc: random.number() as u32,
            duration,
            anchor: civil,
            key_hash: secret.hash(),
            bitrate,
            packets: (!live).then_some(packets),
        };
        let room = Writer::room(bitrate, duration);
        let mut writer = Writer::new(info.clone(), &secret, SigningKey::from_seed(&seed), room);
        let (mut made, mut marks) = (Vec::new(), Vec::new());
        for _ in 0..packets {
            let records = records(random, duration, bitrate);
            marks.push(mark(&records));
            made.push(writer.write(&records, civil)?);
        }
        self.genuine.extend(made.iter().map(|packet| fingerprint(&packet.bytes)));
        let entry = Made { info: info.clone(), secret: secret.clone(), packets: made.clone(), records: marks };
        self.made.insert(info.id, entry);
        Ok((info, secret, made))
    }

    /// `other` is the same sound as `track`.
    pub(super) fn join(&mut self, track: Uuid, other: Uuid) {
        self.others.entry(track).or_default().push(other);
    }

    pub fn info(&self, track: Uuid) -> Option<&Info> {
        self.made.get(&track).map(|made| &made.info)
    }

    pub fn packet(&self, track: Uuid, index: u64) -> Option<&Packet> {
        self.made.get(&track)?.packets.get(index as usize)
    }

    /// Sample of the track that packet `index` has at its sample `from`.
    pub fn sample(&self, track: Uuid, index: u64, from: u32) -> u64 {
        let duration = self.made.get(&track).map_or(0, |made| u64::from(made.info.duration));
        index.saturating_mul(duration).saturating_add(u64::from(from))
    }

    /// Whether this is what the track's maker recorded under that index.
    pub fn recorded(&self, track: Uuid, sound: &Sound) -> bool {
        let mark = mark(&sound.records);
        let others = self.others.get(&track).into_iter().flatten();
        let mut made = std::iter::once(&track).chain(others).filter_map(|id| self.made.get(id));
        made.any(|made| made.records.get(sound.index as usize) == Some(&mark))
    }

    /// An origin sent these bytes itself.
    pub(super) fn vouch(&mut self, bytes: &[u8]) {
        self.genuine.insert(fingerprint(bytes));
    }

    pub(super) fn is_genuine(&self, bytes: &[u8]) -> bool {
        self.genuine.contains(&fingerprint(bytes))
    }

    /// A false packet `index` of a track of at least two packets.
    pub fn forge(&self, random: &mut Random, track: Uuid, index: u64, forgery: Forgery) -> Option<Bytes> {
        let made = self.made.get(&track)?;
        let cipher = Cipher::new(&made.secret, made.info.ssrc);
        let timestamp = (index as u32).wrapping_mul(made.info.duration);
        let other = if index == 0 { 1 } else { index - 1 };
        let genuine = made.packets.get(index as usize)?;
        let payload = match forgery {
            Forgery::Sealed => {
                let key = SigningKey::from_seed(&random.bytes());
                let room = Writer::room(made.info.bitrate, made.info.duration);
                let mut writer = Writer::new(made.info.clone(), &made.secret, key, room);
                let records = records(random, made.info.duration, made.info.bitrate);
                // A writer begins at index 0; its last packet is the one wanted.
                let packets = (0..=index).map(|_| writer.write(&records, made.info.anchor));
                return packets.last()?.ok().map(|packet| packet.bytes);
            }
            Forgery::Spliced => {
                let packet = made.packets.get(other as usize)?;
                cipher.unprotect(other, &packet.bytes).ok()?
            }
            Forgery::Altered => {
                let mut payload = cipher.unprotect(index, &genuine.bytes).ok()?.to_vec();
                let place = random.below(payload.len() as u64) as usize;
                *payload.get_mut(place)? ^= 1 << random.below(8);
                payload.into()
            }
        };
        Some(cipher.protect(index, timestamp, PAYLOAD_SOUND, &payload))
    }
}

/// One bit of a packet flipped, anywhere: header, records, seal or tag.
pub(super) fn flip(random: &mut Random, bytes: &Bytes) -> Bytes {
    let mut flipped = bytes.to_vec();
    let bit = random.below(flipped.len() as u64 * 8);
    if let Some(byte) = flipped.get_mut(bit as usize / 8) {
        *byte ^= 1 << (bit % 8);
    }
    flipped.into()
}

/// Opus packets of at most six equal 20 ms frames (RFC 6716 §3.2.5):
/// ```text
///  TOC: SILK wideband 20 ms, mono, code 3 │ 0 0 count(6) │ frame │ frame │ …
/// ```
fn records(random: &mut Random, duration: u32, bitrate: u32) -> Vec<Bytes> {
    let frame = (bitrate / 50 / 8) as usize;
    let frames = (duration / 960) as usize;
    let record = |count: usize, random: &mut Random| {
        let mut bytes = vec![0; 2 + count * frame];
        random.fill(&mut bytes);
        bytes[0] = 9 << 3 | 3;
        bytes[1] = count as u8;
        Bytes::from(bytes)
    };
    (0..frames).step_by(6).map(|first| record((frames - first).min(6), random)).collect()
}

fn mark(records: &[Bytes]) -> u64 {
    records.iter().fold(0, |mark: u64, record| mark.rotate_left(1) ^ fingerprint(record))
}

/// RTP payload type of sound (`Cipher::protect`).
const PAYLOAD_SOUND: u8 = 96;
