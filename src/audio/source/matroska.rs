//! Matroska and WebM (RFC 9559, on EBML, RFC 8794): the first track of sound, read forward.
//!
//! An element is an id and a length, each as long as its first byte's leading zeros say, and a body:
//! ```text
//! EBML 1A45DFA3
//! Segment 18538067 ┬ Info 1549A966 ─ TimestampScale 2AD7B1, ns
//!                  ├ Tracks 1654AE6B ─ TrackEntry AE ─ number D7, kind 83, CodecID 86, CodecPrivate 63A2, delay 56AA ns,
//!                  │                                   Audio E1 ─ rate B5, channels 9F, bits 6264
//!                  └ Cluster 1F43B675 ┬ Timestamp E7
//!                                     ├ SimpleBlock A3: track │ time 2, signed │ flags 1 │ [ lacing ] │ packets
//!                                     └ BlockGroup A0 ─ Block A1, DiscardPadding 75A2 ns
//! ```
//! Timestamps are rounded, to milliseconds as a rule: they tell what is missing, not where exactly a packet belongs.
//!
//! The first packet of Vorbis makes no sound (Vorbis I §4.3.8), and muxers differ in how much time they give it: half
//! its block (ffmpeg), a quarter or none. The sound begins where the second packet does:
//! ```text
//! ffmpeg: timestamp      0             h             h + n       h: half of the first block
//!         packet         │ first, mute │ second, n   │ third …
//!         place                        0             n
//! ```
use super::bytes::{Bytes, MOST_PEEKED};
use super::fault::Fault;
use super::mp4::entry::aac;
use super::opus;
use super::pcm::Number;
use super::stream::{Codec, Demuxer, Packet, Step, Stream};
use super::vorbis::{Blocks, Identification, translated};
use super::{flac, mp4::entry::linear};
use crate::audio::mix::Layout;
use std::collections::VecDeque;
use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_AAC, CODEC_ID_FLAC, CODEC_ID_MP3, CODEC_ID_VORBIS};
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters};

pub(super) struct Matroska {
    bytes: Bytes,
    first: Option<Stream>,
    track: u64,
    /// Nanoseconds of one step of a timestamp.
    scale: u64,
    rate: u32,
    /// Samples before the sound.
    delay: i64,
    /// Of Vorbis whose first packet is read and no block behind it: the place of that block if the first packet takes
    /// no time, and the most time that it takes.
    mute: Option<(i64, u64)>,
    sizes: Sizes,
    /// Of the present cluster.
    time: i64,
    ready: VecDeque<Packet>,
}

/// How the samples of a packet are known.
enum Sizes {
    Opus,
    Vorbis(Blocks),
    Same(u64),
    /// Bytes to a sample.
    Plain(u64),
    Unknown,
}

#[derive(Default)]
struct Track {
    number: u64,
    kind: u64,
    codec: String,
    private: Vec<u8>,
    delay: u64,
    rate: f64,
    channels: u16,
    bits: u16,
    encoded: bool,
}

impl Matroska {
    pub fn new(mut bytes: Bytes) -> Result<Self, Fault> {
        let mut scale = 1_000_000;
        let mut tracks = Vec::new();
        for _ in 0..MOST_ELEMENTS {
            let Some((id, length)) = element(&mut bytes)? else { return Err(Fault::ends_in_header()) };
            match id {
                SEGMENT => {}
                INFO => {
                    let body = bytes.up_to(length.min(MOST_HEADER) as usize)?;
                    scale =
                        elements(&body).find(|(id, _)| *id == 0x2a_d7b1).map_or(scale, |(_, body)| number(body)).max(1);
                }
                TRACKS => {
                    let body = bytes.up_to(length.min(MOST_HEADER) as usize)?;
                    tracks =
                        elements(&body).filter(|(id, _)| *id == 0xae).map(|(_, body)| Track::parse(body)).collect();
                }
                CLUSTER => {
                    let Some(track) = tracks.iter().find(|track| track.kind == 2) else {
                        let video = tracks.iter().any(|track| track.kind == 1);
                        return Err(Fault::no_sound(if video { "a video" } else { "Matroska" }));
                    };
                    return Self::begin(bytes, track, scale);
                }
                _ if length == UNKNOWN => return Err(Fault::damaged("Matroska with an element of unknown length")),
                _ => {
                    if !bytes.skip(length)? {
                        return Err(Fault::ends_in_header());
                    }
                }
            }
        }
        Err(Fault::damaged(format!("no sound in the first {MOST_ELEMENTS} elements")))
    }

    fn begin(bytes: Bytes, track: &Track, scale: u64) -> Result<Self, Fault> {
        let (stream, sizes) = track.stream()?;
        let rate = stream.rate;
        let delay = (u128::from(track.delay) * u128::from(rate) + 500_000_000) / 1_000_000_000;
        let delay = match sizes {
            // Its decoder leaves the delay out, and the timestamps tell it.
            Sizes::Vorbis(_) => 0,
            _ => i64::try_from(delay).unwrap_or(0).min(i64::from(rate)),
        };
        // ffmpeg 5.1 copies Ogg with timestamps that are off where long and short blocks meet.
        let uneven = if let Sizes::Vorbis(blocks) = &sizes { blocks.uneven() } else { u64::from(rate) / 200 };
        // Rounded down and up by half a step each.
        let slack = (u128::from(scale) * 2 * u128::from(rate) / 1_000_000_000) as u64 + uneven;
        let first = Some(Stream { begins: -delay, slack, ..stream });
        let (track, ready) = (track.number, VecDeque::new());
        Ok(Self { bytes, first, track, scale, rate, delay, mute: None, sizes, time: 0, ready })
    }

    /// A block's packets, from the body of "SimpleBlock" or "Block".
    fn block(&mut self, body: &[u8], discard: i64) {
        let Some((track, used)) = vint(body, true) else { return };
        let Some([a, b, flags, rest @ ..]) = body.get(used..).filter(|_| track == self.track) else { return };
        let Some(pieces) = unlace(*flags >> 1 & 3, rest) else { return };
        let time = self.time.saturating_add(i16::from_be_bytes([*a, *b]).into());
        let samples = |ns: i128| (ns * i128::from(self.rate) / 1_000_000_000) as i64;
        // The delay is part of the timestamps.
        let mut place = samples(i128::from(time) * i128::from(self.scale)).saturating_sub(self.delay);
        if let Some((next, most)) = self.mute.take() {
            let took = place.saturating_sub(next).clamp(0, most as i64);
            (self.delay, place) = (self.delay + took, place - took);
        }
        let begins = self.sizes.mute().is_none();
        let discard = (i128::from(discard).max(0) * i128::from(self.rate) + 500_000_000) / 1_000_000_000;
        let last = pieces.len().saturating_sub(1);
        let mut at = Some(place);
        let mut end = place;
        for (number, piece) in pieces.into_iter().enumerate() {
            let samples = self.sizes.of(piece);
            let cut = if number == last { discard as u64 } else { 0 };
            end = end.saturating_add_unsigned(samples);
            self.ready.push_back(Packet { data: piece.to_vec(), at: at.take(), until: None, cut, samples });
        }
        self.mute = self.sizes.mute().filter(|_| begins).map(|most| (end, most));
    }
}

impl Matroska {
    /// Goes on to the next cluster, or the next block of this track that another element follows; false at the end.
    fn search(&mut self) -> Result<bool, Fault> {
        loop {
            let ahead = self.bytes.peek(MOST_PEEKED)?;
            let (ended, track) = (ahead.len() < MOST_PEEKED, self.track);
            let block = |rest: &[u8]| {
                let (length, used) = vint(&rest[1..], true)?;
                let (number, _) = vint(rest.get(1 + used..)?, true)?;
                let (id, _) = vint(rest.get(1 + used + usize::try_from(length).ok()?..)?, false)?;
                (number == track && KNOWN.contains(&(id as u32))).then_some(())
            };
            let begins =
                |rest: &[u8]| rest.starts_with(&CLUSTER.to_be_bytes()) || rest[0] == 0xa3 && block(rest).is_some();
            if let Some(at) = (0..ahead.len()).find(|at| begins(&ahead[*at..])) {
                self.bytes.skip(at as u64)?;
                return Ok(true);
            }
            // A block at the end of what could be seen is found in the next look, unless it is longer than half.
            let step = if ended { ahead.len() } else { MOST_PEEKED / 2 };
            self.bytes.skip(step as u64)?;
            if ended {
                return Ok(false);
            }
        }
    }
}

impl Demuxer for Matroska {
    fn next(&mut self) -> Result<Step, Fault> {
        if let Some(stream) = self.first.take() {
            return Ok(Step::Stream(stream));
        }
        loop {
            if let Some(packet) = self.ready.pop_front() {
                return Ok(Step::Packet(packet));
            }
            let next = match element(&mut self.bytes) {
                Ok(None) => return Ok(Step::End),
                Ok(Some((id, length))) if KNOWN.contains(&id) => Some((id, length)),
                Err(fault) if fault.code == "media.read" => return Err(fault),
                _ => None,
            };
            match next {
                // Their bodies are what comes next.
                Some((SEGMENT | CLUSTER, _)) => continue,
                Some((0xe7 | 0xa3 | 0xa0, length)) if length <= LONGEST_BLOCK => {}
                Some((_, length)) if length < MOST_SKIPPED => {
                    if !self.bytes.skip(length)? {
                        return Ok(Step::Early { what: "the file ends within an element" });
                    }
                    continue;
                }
                // The timestamp of what follows tells what was lost.
                _ if self.search()? => continue,
                _ => return Ok(Step::Early { what: "nothing that could be read follows" }),
            }
            let Some((id, length)) = next else { continue };
            let body = self.bytes.up_to(length as usize)?;
            if (body.len() as u64) < length {
                return Ok(Step::Early { what: "the file ends within a block" });
            }
            match id {
                0xe7 => self.time = i64::try_from(number(&body)).unwrap_or(0),
                0xa3 => self.block(&body, 0),
                _ => {
                    let field = |wanted: u32| elements(&body).find(|(id, _)| *id == wanted).map(|(_, body)| body);
                    let discard = field(0x75a2).map_or(0, signed);
                    if let Some(block) = field(0xa1) {
                        self.block(block, discard);
                    }
                }
            }
        }
    }
}

impl Sizes {
    fn of(&mut self, packet: &[u8]) -> u64 {
        match self {
            Self::Opus => opus::samples(packet),
            Self::Vorbis(blocks) => blocks.samples(packet),
            Self::Same(samples) => *samples,
            Self::Plain(bytes) => packet.len() as u64 / *bytes,
            Self::Unknown => 0,
        }
    }

    /// Of Vorbis that has begun, half of its last block.
    fn mute(&self) -> Option<u64> {
        if let Self::Vorbis(blocks) = self { blocks.half() } else { None }
    }
}

impl Track {
    fn parse(body: &[u8]) -> Self {
        let mut track = Self { rate: 8_000.0, channels: 1, ..Self::default() };
        for (id, body) in elements(body) {
            match id {
                0xd7 => track.number = number(body),
                0x83 => track.kind = number(body),
                0x86 => track.codec = String::from_utf8_lossy(body).trim_end_matches('\0').to_owned(),
                0x63a2 => track.private = body.to_vec(),
                0x56aa => track.delay = number(body),
                0x6d80 => track.encoded = true,
                0xe1 => {
                    for (id, body) in elements(body) {
                        match id {
                            0xb5 => track.rate = float(body),
                            0x9f => track.channels = u16::try_from(number(body)).unwrap_or(u16::MAX),
                            0x6264 => track.bits = number(body) as u16,
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        track
    }

    fn stream(&self) -> Result<(Stream, Sizes), Fault> {
        if self.encoded {
            return Err(Fault::unsupported("the sound is packed or encrypted"));
        }
        let rate = self.rate as u32;
        let stream = |name: &str, codec, rate, layout| Stream {
            container: "Matroska".into(),
            name: name.into(),
            codec,
            rate,
            layout,
            begins: 0,
            ends: None,
            samples: None,
            slack: 0,
            full_scale: 1.0,
        };
        let library = |id: AudioCodecId, rate, channels, extra: &[u8]| {
            let mut parameters = AudioCodecParameters::new();
            parameters.for_codec(id).with_sample_rate(rate).with_channels(Channels::Discrete(channels));
            if !extra.is_empty() {
                parameters.with_extra_data(extra.into());
            }
            Codec::Library(Box::new(parameters))
        };
        let usual = Layout::usual(self.channels);
        let plain = |number: Number| {
            let made = stream(&number.name(), Codec::Pcm(number), rate, usual.clone());
            let bytes = number.bytes() as u64 * u64::from(self.channels.max(1));
            (Stream { full_scale: number.full_scale(), ..made }, Sizes::Plain(bytes))
        };
        Ok(match self.codec.as_str() {
            "A_OPUS" => {
                let head = opus::Head::parse(&self.private)?;
                let layout = head.layout();
                (stream("Opus", Codec::Opus(head), 48_000, layout), Sizes::Opus)
            }
            "A_VORBIS" => {
                // 2 │ lengths of two headers, laced as Xiph does │ three headers
                let headers = self.private.split_first().and_then(|(_, rest)| xiph(3, rest));
                let wrong = || Fault::damaged("the headers of Vorbis can't be read");
                let headers = headers.ok_or_else(wrong)?;
                let head = Identification::parse(headers[0]).ok_or_else(wrong)?;
                let blocks = Blocks::new(head, headers[2]).ok_or_else(wrong)?;
                let extra = [headers[0], &translated(head.channels, headers[2])].concat();
                let codec = library(CODEC_ID_VORBIS, head.rate, head.channels.into(), &extra);
                (stream("Vorbis", codec, head.rate, Layout::xiph(head.channels.into())), Sizes::Vorbis(blocks))
            }
            codec if codec.starts_with("A_AAC") => {
                let entry = aac(&self.private)?;
                (
                    stream(
                        "AAC-LC",
                        library(CODEC_ID_AAC, entry.rate, entry.layout.channels(), &self.private),
                        entry.rate,
                        entry.layout,
                    ),
                    Sizes::Same(1_024),
                )
            }
            "A_MPEG/L3" => {
                let samples = if rate < 32_000 { 576 } else { 1_152 };
                (stream("MP3", library(CODEC_ID_MP3, rate, self.channels, &[]), rate, usual), Sizes::Same(samples))
            }
            "A_FLAC" => {
                let block = self.private.get(8..42).unwrap_or_default();
                let known = flac::information(block)?;
                let codec = library(CODEC_ID_FLAC, known.rate, known.layout.channels(), block);
                (Stream { container: "Matroska".into(), codec, samples: None, ..known }, Sizes::Unknown)
            }
            "A_PCM/INT/LIT" if self.bits == 8 => plain(Number::U8),
            "A_PCM/INT/LIT" => plain(linear(0, self.bits)),
            "A_PCM/INT/BIG" => plain(linear(2, self.bits)),
            "A_PCM/FLOAT/IEEE" => plain(linear(1, self.bits)),
            other => return Err(Fault::unsupported(format!("sound of the kind {other:?} in Matroska"))),
        })
    }
}

/// Id and length of the next element; `None` at the end.
fn element(bytes: &mut Bytes) -> Result<Option<(u32, u64)>, Fault> {
    let ahead = bytes.peek(12)?;
    let Some((id, used)) = vint(ahead, false) else {
        let place = bytes.position();
        let ended = bytes.peek(12)?.len() < 12;
        return if ended { Ok(None) } else { Err(Fault::damaged(format!("byte {place}: no element of Matroska"))) };
    };
    let Some((length, more)) = vint(&ahead[used..], true) else { return Ok(None) };
    bytes.skip((used + more) as u64)?;
    Ok(Some((id as u32, length)))
}

/// The elements in a body.
fn elements(mut body: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        let (id, used) = vint(body, false)?;
        let (length, more) = vint(body.get(used..)?, true)?;
        let begin = used + more;
        let end = begin.checked_add(usize::try_from(length).ok()?)?;
        let inner = body.get(begin..end)?;
        body = &body[end..];
        Some((id as u32, inner))
    })
}

/// A number as long as the zeros that it begins with; of ids, the one that ends them is part of it.
fn vint(bytes: &[u8], plain: bool) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = first.leading_zeros() as usize + 1;
    if length > if plain { 8 } else { 4 } {
        return None;
    }
    let head = if plain { u64::from(first) & ((1 << (8 - length)) - 1) } else { first.into() };
    let value = bytes.get(1..length)?.iter().fold(head, |value, byte| value << 8 | u64::from(*byte));
    let unknown = plain && value == (1u64 << (7 * length)) - 1;
    Some((if unknown { UNKNOWN } else { value }, length))
}

fn number(body: &[u8]) -> u64 {
    body.iter().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn signed(body: &[u8]) -> i64 {
    let bits = 8 * body.len().min(8) as u32;
    if bits == 0 { 0 } else { (number(body) << (64 - bits)) as i64 >> (64 - bits) }
}

fn float(body: &[u8]) -> f64 {
    match body.len() {
        4 => f32::from_bits(number(body) as u32).into(),
        8 => f64::from_bits(number(body)),
        _ => 0.0,
    }
}

/// RFC 9559 §10.3: several packets in one block. Kinds: 0 none, 1 Xiph, 2 one length for all, 3 EBML.
fn unlace(kind: u8, body: &[u8]) -> Option<Vec<&[u8]>> {
    if kind == 0 {
        return Some(vec![body]);
    }
    let (count, mut rest) = body.split_first()?;
    let count = usize::from(*count) + 1;
    match kind {
        1 => xiph(count, rest),
        2 => Some(rest.chunks(rest.len().checked_div(count)?.max(1)).take(count).collect()),
        _ => {
            let mut sizes = Vec::new();
            let mut last = 0i64;
            for at in 0..count - 1 {
                let (value, used) = vint(rest, true)?;
                // The first is a length, each other the difference from the one before, shifted to be positive.
                last = if at == 0 { value as i64 } else { last + value as i64 - ((1 << (7 * used - 1)) - 1) };
                sizes.push(usize::try_from(last).ok()?);
                rest = &rest[used..];
            }
            split(&sizes, rest)
        }
    }
}

/// Lengths in bytes of 255 and one that is less, for all but the last.
fn xiph(count: usize, rest: &[u8]) -> Option<Vec<&[u8]>> {
    let (mut sizes, mut at) = (Vec::new(), 0);
    for _ in 0..count - 1 {
        let mut size = 0;
        loop {
            let byte = *rest.get(at)?;
            (size, at) = (size + usize::from(byte), at + 1);
            if byte < 255 {
                break;
            }
        }
        sizes.push(size);
    }
    split(&sizes, &rest[at..])
}

fn split<'a>(sizes: &[usize], mut rest: &'a [u8]) -> Option<Vec<&'a [u8]>> {
    let mut pieces = Vec::new();
    for size in sizes {
        pieces.push(rest.get(..*size)?);
        rest = &rest[*size..];
    }
    pieces.push(rest);
    Some(pieces)
}

const SEGMENT: u32 = 0x1853_8067;
const INFO: u32 = 0x1549_a966;
const TRACKS: u32 = 0x1654_ae6b;
const CLUSTER: u32 = 0x1f43_b675;
/// What may stand in a segment or a cluster: the above, and seek head, cues, chapters, tags, attachments, checksum and
/// padding; of a cluster, time, blocks, position, previous size and encrypted block.
const KNOWN: [u32; 17] = [
    SEGMENT,
    INFO,
    TRACKS,
    CLUSTER,
    0x114d_9b74,
    0x1c53_bb6b,
    0x1043_a770,
    0x1254_c367,
    0x1941_a469,
    0xbf,
    0xec,
    0xe7,
    0xa3,
    0xa0,
    0xa7,
    0xab,
    0xaf,
];
/// Live streams don't know the lengths of their segment and their clusters.
const UNKNOWN: u64 = u64::MAX;
/// In front of the sound; real files have some ten.
const MOST_ELEMENTS: usize = 10_000;
const MOST_HEADER: u64 = 4 << 20;
/// A second of eight channels of numbers, and far beyond any packet of sound.
const LONGEST_BLOCK: u64 = 8 << 20;
/// A picture of a video may be long; beyond this a length is damaged.
const MOST_SKIPPED: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_long_as_their_first_byte_says() {
        assert_eq!(vint(&[0x81], true), Some((1, 1)));
        assert_eq!(vint(&[0x40, 0x02], true), Some((2, 2)));
        assert_eq!(vint(&[0xff], true), Some((UNKNOWN, 1)));
        assert_eq!(vint(&[0x1a, 0x45, 0xdf, 0xa3], false), Some((0x1a45_dfa3, 4)));
        assert_eq!((vint(&[0x40], true), vint(&[0], true), vint(&[0x08, 0, 0, 0, 0], false)), (None, None, None));
        assert_eq!((signed(&[0xff, 0x38]), number(&[1, 0]), float(&8_000f32.to_be_bytes())), (-200, 256, 8_000.0));
    }

    #[test]
    fn laced_packets_are_taken_apart() {
        let three: Vec<&[u8]> = vec![b"a", b"bb", b"ccc"];
        assert_eq!(unlace(1, b"\x02\x01\x02abbccc").unwrap(), three);
        assert_eq!(unlace(3, b"\x02\x81\xc0abbccc").unwrap(), three);
        assert_eq!(unlace(2, b"\x01aabb").unwrap(), [b"aa", b"bb"]);
        assert_eq!(unlace(0, b"aabb").unwrap(), [b"aabb"]);
        assert!(unlace(1, b"\x02\xff\xff").is_none() && unlace(3, b"\x02\x8f").is_none());
    }
}
