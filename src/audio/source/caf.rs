//! CAF (Apple Core Audio Format Specification 1.0), all numbers big-endian:
//! ```text
//! "caff" │ version 2 │ flags 2 │ ( kind 4 │ length 8, −1 for sound to the end │ body )*
//! "desc": rate f64 │ format 4 │ flags 4 │ bytes per packet 4 │ samples per packet 4 │ channels 4 │ bits 4
//! "pakt": packets 8 │ samples 8 │ before the sound 4 │ behind it 4 │ ( length, 7 bits a byte )*
//! "data": edits 4 │ sound       "kuki": what the codec says       "chan": layout 4 │ mask 4 │ …
//! ```
use super::bytes::Bytes;
use super::fault::Fault;
use super::mp4::entry::{Entry, aac, alac, esds, linear};
use super::pcm::Number;
use super::riff::Samples;
use super::stream::{Codec, Demuxer, Packet, Step, Stream};
use crate::audio::mix::Layout;

/// Stands on the first byte of the file.
pub(super) fn caf(mut bytes: Bytes) -> Result<Box<dyn Demuxer>, Fault> {
    bytes.array::<8>()?;
    let (mut description, mut cookie, mut table, mut mask, mut sound) = (None, None, None, 0, None);
    let mut cut = false;
    for _ in 0..MOST_CHUNKS {
        let head = match bytes.array::<12>() {
            Ok(head) => head,
            Err(fault) if fault.code == "media.read" => return Err(fault),
            Err(_) => break,
        };
        let length = head.last_chunk().map_or(0, |eight| i64::from_be_bytes(*eight));
        let size = u64::try_from(length).unwrap_or(u64::MAX);
        let wanted = match &head[..4] {
            b"desc" => 32,
            b"kuki" => MOST_COOKIE,
            b"pakt" => MOST_TABLE,
            b"chan" => 12,
            b"data" => {
                bytes.array::<4>()?;
                sound = Some((bytes.position(), (length >= 4).then(|| size - 4)));
                let plain = description.as_ref().is_some_and(|body: &Vec<u8>| body.get(8..12) == Some(b"lpcm"));
                // Tables may come behind the sound; plain numbers need none, and a pipe can't go there.
                if length < 4 || plain || table.is_some() || !bytes.is_seekable() {
                    break;
                }
                if !bytes.skip(size - 4)? {
                    cut = true;
                    break;
                }
                continue;
            }
            _ => 0,
        };
        let body = bytes.up_to(size.min(wanted) as usize)?;
        if !bytes.skip(size - body.len() as u64)? && sound.is_none() {
            return Err(Fault::ends_in_header());
        }
        match &head[..4] {
            b"desc" => description = Some(body),
            b"kuki" => cookie = Some(body),
            b"pakt" => table = Some(body),
            b"chan" if body.get(..4) == Some(&[0, 1, 0, 0]) => {
                mask = body.get(4..8).and_then(|four| four.first_chunk()).map_or(0, |four| u32::from_be_bytes(*four));
            }
            _ => {}
        }
    }
    let (Some(description), Some((place, claimed))) = (description, sound) else { return Err(Fault::ends_in_header()) };
    let Some(fields) = description.first_chunk::<32>() else { return Err(Fault::ends_in_header()) };
    bytes.seek_to(place)?;
    let four = |at: usize| fields[at..].first_chunk().map_or(0, |four| u32::from_be_bytes(*four));
    let rate = fields.first_chunk().map_or(0.0, |eight| f64::from_be_bytes(*eight)) as u32;
    let (flags, each, per_packet, bits) = (four(12), four(16), four(20), four(28) as u16);
    let channels = u16::try_from(four(24)).unwrap_or(u16::MAX);
    let layout = if mask == 0 { Layout::usual(channels) } else { Layout::mask(channels, mask) };
    let name = &fields[8..12];
    let number = match name {
        // Flags: 1 float, 2 little-endian.
        b"lpcm" => Some(linear((flags & 1) | (!flags & 2), bits)),
        b"alaw" => Some(Number::ALaw),
        b"ulaw" => Some(Number::MuLaw),
        _ => None,
    };
    if let Some(number) = number {
        let stream = Stream {
            container: "CAF".into(),
            name: String::new(),
            codec: Codec::Pcm(number),
            rate,
            layout,
            begins: 0,
            ends: None,
            samples: None,
            slack: 0,
            full_scale: 1.0,
        };
        return Ok(Box::new(Samples::pcm(bytes, stream, number, claimed)));
    }
    let cookie = cookie.unwrap_or_default();
    let entry = match name {
        b"alac" => alac(&cookie)?,
        b"aac " => esds(&cookie, rate, channels)
            .or_else(|fault| if fault.code == "media.damaged" { aac(&cookie) } else { Err(fault) })?,
        b"aach" | b"aacp" => return Err(Fault::he_aac()),
        other => {
            let name: String =
                other.iter().map(|byte| if byte.is_ascii_graphic() { *byte as char } else { '?' }).collect();
            return Err(Fault::unsupported(format!("CAF with sound of the kind {name:?}")));
        }
    };
    if table.is_none() && cut {
        let text = "the file ends before the table of its packets; copy or export it again";
        return Err(Fault::new("media.truncated", text));
    }
    let Some(table) = table.filter(|table| table.len() >= 24) else {
        let text = "the table of packets is missing, or comes behind the sound, where a pipe can't go";
        return Err(Fault::unsupported(format!("CAF: {text}")));
    };
    let mut packets = Packets::new(bytes, entry, &table, each, per_packet);
    if name == b"alac" {
        packets.shorten(place, &table)?;
    }
    Ok(Box::new(packets))
}

/// Packets of a table.
struct Packets {
    bytes: Bytes,
    first: Option<Stream>,
    table: Vec<u8>,
    at: usize,
    /// Bytes of each, or 0 if the table says; samples of each.
    each: u64,
    samples: u64,
    left: u64,
}

impl Packets {
    fn new(bytes: Bytes, entry: Entry, table: &[u8], each: u32, per_packet: u32) -> Self {
        let eight = |at: usize| table[at..].first_chunk().map_or(0, |eight| u64::from_be_bytes(*eight));
        let before = table[16..].first_chunk().map_or(0, |four| i32::from_be_bytes(*four)).max(0);
        // What the packets can't hold isn't there, whatever is promised.
        let held = match per_packet {
            0 => u64::MAX,
            samples => eight(0).saturating_mul(samples.into()).saturating_sub(before.unsigned_abs().into()),
        };
        let valid = eight(8).min(held);
        let first = Stream {
            container: "CAF".into(),
            name: entry.name,
            codec: entry.codec,
            rate: entry.rate,
            layout: entry.layout,
            begins: -i64::from(before),
            ends: Some(valid),
            samples: Some(valid),
            slack: 0,
            full_scale: entry.full_scale,
        };
        let (each, samples) = (each.into(), per_packet.into());
        Self { bytes, first: Some(first), table: table[24..].to_vec(), at: 0, each, samples, left: eight(0) }
    }

    /// ffmpeg counts ALAC's last packet as full, and it may be shorter; then the packet itself tells:
    /// ```text
    /// element 3 │ instance 4 │ 12 │ partial 1 │ 3 │ [ samples 32, if partial ]      in bits
    /// ```
    fn shorten(&mut self, sound: u64, table: &[u8]) -> Result<(), Fault> {
        let Some(stream) = &mut self.first else { return Ok(()) };
        let behind = table[20..24] != [0; 4];
        if behind || self.each > 0 || stream.samples != self.left.checked_mul(self.samples) {
            return Ok(());
        }
        stream.samples = None;
        if !self.bytes.is_seekable() {
            return Ok(());
        }
        let (at, left) = (self.at, self.left);
        let (mut place, mut last) = (sound, 0);
        while let Some(size) = self.size() {
            (place, last) = (place.saturating_add(last), size);
        }
        (self.at, self.left) = (at, left);
        let mut head = [0; 8];
        if self.bytes.length().is_some_and(|length| place < length) {
            self.bytes.seek_to(place)?;
            self.bytes.read_up_to(&mut head[1..])?;
        }
        self.bytes.seek_to(sound)?;
        let bits = u64::from_be_bytes(head);
        let (partial, samples) = (bits >> 36 & 1 == 1, bits >> 1 & 0xffff_ffff);
        let short = if partial { self.samples.saturating_sub(samples) } else { 0 };
        if let Some(stream) = &mut self.first {
            stream.samples = stream.ends.map(|all| all.saturating_sub(short));
            stream.ends = stream.samples;
        }
        Ok(())
    }

    /// Bytes of the next packet.
    fn size(&mut self) -> Option<u64> {
        self.left = self.left.checked_sub(1)?;
        if self.each > 0 {
            return Some(self.each);
        }
        let mut size = 0u64;
        loop {
            let byte = *self.table.get(self.at)?;
            (size, self.at) = (size << 7 | u64::from(byte & 0x7f), self.at + 1);
            if byte & 0x80 == 0 || size > LONGEST_PACKET {
                return Some(size);
            }
        }
    }
}

impl Demuxer for Packets {
    fn next(&mut self) -> Result<Step, Fault> {
        if let Some(stream) = self.first.take() {
            return Ok(Step::Stream(stream));
        }
        let Some(size) = self.size() else { return Ok(Step::End) };
        if size > LONGEST_PACKET {
            return Err(Fault::damaged("a packet that is longer than any of sound"));
        }
        let data = self.bytes.up_to(size as usize)?;
        if data.len() < size as usize {
            return Ok(Step::Early { what: "the file ends before its sound does" });
        }
        Ok(Step::Packet(Packet { data, at: None, until: None, cut: 0, samples: self.samples }))
    }
}

/// Real files have fewer than twenty; the bound ends the walk through a hostile one.
const MOST_CHUNKS: usize = 1_024;
const MOST_COOKIE: u64 = 4_096;
/// A day of packets of AAC, two bytes each, twice.
const MOST_TABLE: u64 = 16 << 20;
/// Far beyond any packet of sound.
const LONGEST_PACKET: u64 = 1 << 20;
