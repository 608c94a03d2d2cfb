//! Ogg (RFC 3533): Opus, Vorbis and FLAC, one stream after another (chained) or beside a video.
//!
//! All numbers little-endian; the checksum is a CRC-32 of the page with itself as zero:
//! ```text
//! "OggS" │ version 1 │ flags 1 │ granule 8 │ serial 4 │ number 4 │ checksum 4 │ segments 1 │ lengths … │ body
//! flags: 1 goes on with a packet, 2 first of its stream, 4 last
//! ```
//! The granule is the place, in samples, where the last packet that ends in a page ends; a stream's length, what
//! is cut off at both its ends (RFC 7845 §4, Vorbis I appendix A.2) and what is missing within follow from it.
use super::bytes::Bytes;
use super::fault::Fault;
use super::flac;
use super::opus;
use super::run;
use super::stream::{Codec, Demuxer, Packet, Step, Stream};
use super::vorbis::{Blocks, Identification, translated};
use crate::audio::mix::Layout;
use std::collections::VecDeque;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_FLAC, CODEC_ID_VORBIS};

pub(super) struct Ogg {
    bytes: Bytes,
    link: Option<Link>,
    /// Pages that begin streams come together at a link's beginning.
    beginning: bool,
    /// What the link holds instead of sound.
    other: Option<&'static str>,
    ready: VecDeque<Step>,
    lengths: Vec<(u32, i64)>,
    begun: bool,
}

/// One stream of sound.
struct Link {
    serial: u32,
    kind: Kind,
    /// Packets still to come before the sound.
    headers: u8,
    /// Whether another link came before.
    follows: bool,
    /// Of Vorbis, the identification; of FLAC, its STREAMINFO.
    head: Vec<u8>,
    partial: Vec<u8>,
    /// Number of the next page, and whether some before it are missing.
    next: Option<u32>,
    broken: bool,
    /// Granule of the first sample, and where the last page ended.
    base: Option<i64>,
    place: i64,
}

enum Kind {
    Opus(opus::Head),
    Vorbis(Identification, Option<Blocks>),
    Flac,
}

struct Page {
    flags: u8,
    granule: i64,
    serial: u32,
    number: u32,
    segments: Vec<u8>,
    body: Vec<u8>,
}

impl Ogg {
    pub fn new(mut bytes: Bytes) -> Result<Self, Fault> {
        let begin = bytes.position();
        let mut lengths = Vec::new();
        if bytes.is_seekable() {
            lengths = survey(&mut bytes)?;
            bytes.seek_to(begin)?;
        }
        Ok(Self { bytes, link: None, beginning: true, other: None, ready: VecDeque::new(), lengths, begun: false })
    }

    fn take(&mut self, page: Page) -> Result<(), Fault> {
        if page.flags & FIRST != 0 {
            if !self.beginning {
                (self.link, self.beginning) = (None, true);
            }
            if self.link.is_none() {
                match Kind::of(&page.body) {
                    Ok(kind) => {
                        let mut link = Link::new(page.serial, kind, page.body);
                        link.follows = self.begun;
                        link.next = Some(page.number.wrapping_add(1));
                        self.link = Some(link);
                    }
                    Err(other) => self.other = Some(other),
                }
            }
            return Ok(());
        }
        self.beginning = false;
        match &mut self.link {
            Some(link) if link.serial == page.serial => link.take(&page, &mut self.ready, &mut self.lengths),
            Some(_) => Ok(()),
            None => Err(match self.other {
                Some(video @ ("Theora" | "Dirac")) => Fault::no_sound(&format!("an Ogg video ({video})")),
                other => Fault::unsupported(format!("{} in Ogg", other.unwrap_or("an unknown codec"))),
            }),
        }
    }
}

impl Demuxer for Ogg {
    fn next(&mut self) -> Result<Step, Fault> {
        loop {
            if let Some(step) = self.ready.pop_front() {
                self.begun = true;
                return Ok(step);
            }
            match page(&mut self.bytes, true)? {
                Some(page) => self.take(page)?,
                None if !self.begun => {
                    return Err(if self.link.is_some() || self.other.is_none() {
                        Fault::ends_in_header()
                    } else {
                        Fault::no_sound("Ogg")
                    });
                }
                None => {
                    let whole = self.bytes.peek(1)?.is_empty();
                    return Ok(if whole { Step::End } else { Step::Early { what: "the file ends within a page" } });
                }
            }
        }
    }

    fn lengths(&self) -> Option<Vec<(u32, u64)>> {
        let known = self.lengths.iter().map(|(rate, samples)| (*rate, (*samples).max(0) as u64));
        (!self.lengths.is_empty()).then(|| known.collect())
    }
}

impl Kind {
    /// By the first packet of a stream.
    fn of(packet: &[u8]) -> Result<Self, &'static str> {
        match packet {
            [b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', ..] => {
                opus::Head::parse(packet).map(Self::Opus).map_err(|_| "Opus of an unknown kind")
            }
            [1, b'v', b'o', b'r', b'b', b'i', b's', ..] => {
                Identification::parse(packet).map(|head| Self::Vorbis(head, None)).ok_or("Vorbis of an unknown kind")
            }
            [0x7f, b'F', b'L', b'A', b'C', ..] => Ok(Self::Flac),
            [0x80, b't', b'h', b'e', b'o', b'r', b'a', ..] => Err("Theora"),
            [b'B', b'B', b'C', b'D', ..] => Err("Dirac"),
            [b'S', b'p', b'e', b'e', b'x', ..] => Err("Speex"),
            _ => Err("an unknown codec"),
        }
    }

    fn rate(&self, head: &[u8]) -> u32 {
        match self {
            Self::Opus(_) => 48_000,
            Self::Vorbis(head, _) => head.rate,
            Self::Flac => {
                head.get(17..).and_then(|block| flac::information(block).ok()).map_or(0, |stream| stream.rate)
            }
        }
    }

    /// Samples before the sound.
    fn delay(&self) -> i64 {
        if let Self::Opus(head) = self { head.pre_skip.into() } else { 0 }
    }
}

impl Link {
    fn new(serial: u32, kind: Kind, head: Vec<u8>) -> Self {
        let headers = match &kind {
            Kind::Opus(_) => 1,
            Kind::Vorbis(..) => 2,
            Kind::Flac => 0,
        };
        let (partial, follows) = (Vec::new(), false);
        Self { serial, kind, headers, follows, head, partial, next: None, broken: false, base: None, place: 0 }
    }

    fn take(&mut self, page: &Page, ready: &mut VecDeque<Step>, lengths: &mut [(u32, i64)]) -> Result<(), Fault> {
        if self.next.is_some_and(|next| next != page.number) {
            self.broken = true;
            self.partial.clear();
        }
        self.next = Some(page.number.wrapping_add(1));
        let mut packets = self.packets(page);
        while self.headers > 0 && !packets.is_empty() {
            let header = packets.remove(0);
            self.header(&header)?;
        }
        if let Kind::Flac = self.kind {
            // Metadata blocks; a frame begins with its sync code.
            packets.retain(|packet| packet.first() == Some(&0xff));
        }
        if self.headers > 0 || packets.is_empty() || page.granule < 0 {
            return Ok(());
        }
        let last = page.flags & LAST != 0;
        let sizes: Vec<u64> = packets.iter().map(|packet| self.samples(packet)).collect();
        let all: i64 = sizes.iter().sum::<u64>() as i64;
        let before = page.granule.saturating_sub(all);
        let base = match self.base {
            Some(base) => base,
            None => {
                // A stream that was cut out of a longer one begins late; one that begins before zero is cut there,
                // but a single page's excess is at its end.
                let mut stream = self.stream()?;
                // Behind another link nobody cut: what stands before the first page (RFC 7845 §4.1) went with the
                // pages that are missing.
                let longest = (run::LONGEST_GAP * u64::from(stream.rate)) as i64;
                let hole = self.broken && self.follows && (1..=longest).contains(&before);
                let base = if hole { 0 } else { before.max(0) };
                self.place = if last && !hole { base } else { before };
                self.base = Some(base);
                if let Some((_, samples)) = lengths.first_mut().filter(|_| ready.is_empty() && base > 0) {
                    *samples -= base;
                }
                stream.begins = self.place - base - self.kind.delay();
                stream.begins = if hole { stream.begins.min(0) } else { stream.begins };
                ready.push_back(Step::Stream(stream));
                base
            }
        };
        let mut at = self.place;
        if self.broken && !last {
            at = before.max(at);
        }
        self.broken = false;
        let shift = base.saturating_add(self.kind.delay());
        for (data, samples) in packets.into_iter().zip(sizes) {
            let until = last.then(|| page.granule - shift);
            ready.push_back(Step::Packet(Packet { data, at: Some(at - shift), until, cut: 0, samples }));
            at = at.saturating_add(samples as i64);
        }
        self.place = page.granule.max(0);
        Ok(())
    }

    /// The packets that end in a page.
    fn packets(&mut self, page: &Page) -> Vec<Vec<u8>> {
        let (mut all, mut at) = (Vec::new(), 0);
        // The rest of a packet whose beginning is missing.
        let mut skip = page.flags & CONTINUED != 0 && self.partial.is_empty();
        if page.flags & CONTINUED == 0 {
            self.partial.clear();
        }
        for length in &page.segments {
            let piece = &page.body[at..at + usize::from(*length)];
            at += piece.len();
            // Titles with a picture may be longer than any sound; nobody reads their end.
            if self.partial.len() < LONGEST_PACKET {
                self.partial.extend_from_slice(piece);
            }
            if *length < 255 {
                let packet = std::mem::take(&mut self.partial);
                if !std::mem::take(&mut skip) {
                    all.push(packet);
                }
            }
        }
        all
    }

    fn header(&mut self, packet: &[u8]) -> Result<(), Fault> {
        self.headers -= 1;
        if let (Kind::Vorbis(identification, blocks), 0) = (&mut self.kind, self.headers) {
            *blocks = Blocks::new(*identification, packet);
            if blocks.is_none() {
                return Err(Fault::damaged("the setup header of Vorbis can't be read"));
            }
            self.head.extend(translated(identification.channels, packet));
        }
        Ok(())
    }

    fn samples(&mut self, packet: &[u8]) -> u64 {
        match &mut self.kind {
            Kind::Opus(_) => opus::samples(packet),
            Kind::Vorbis(_, Some(blocks)) => blocks.samples(packet),
            Kind::Vorbis(_, None) => 0,
            Kind::Flac => frame(packet).unwrap_or(0),
        }
    }

    fn stream(&self) -> Result<Stream, Fault> {
        let library = |id| {
            let mut parameters = AudioCodecParameters::new();
            parameters.for_codec(id);
            parameters
        };
        let stream = |name: &str, codec, rate, layout| Stream {
            container: "Ogg".into(),
            name: name.into(),
            codec,
            rate,
            layout,
            begins: 0,
            ends: None,
            samples: None,
            slack: u64::from(rate) / 200,
            full_scale: 1.0,
        };
        Ok(match &self.kind {
            Kind::Opus(head) => stream("Opus", Codec::Opus(head.clone()), 48_000, head.layout()),
            Kind::Vorbis(head, _) => {
                let mut parameters = library(CODEC_ID_VORBIS);
                parameters.with_sample_rate(head.rate).with_extra_data(self.head.clone().into());
                stream("Vorbis", Codec::Library(Box::new(parameters)), head.rate, Layout::xiph(head.channels.into()))
            }
            Kind::Flac => {
                // Ogg FLAC 1.0: 0x7f │ "FLAC" │ version 2 │ headers 2 │ "fLaC" │ STREAMINFO with its head of 4.
                let block = self.head.get(17..51).unwrap_or_default();
                let information = flac::information(block)?;
                let mut parameters = library(CODEC_ID_FLAC);
                parameters.with_sample_rate(information.rate).with_extra_data(block.into());
                let codec = Codec::Library(Box::new(parameters));
                Stream { container: "Ogg".into(), codec, samples: None, ..information }
            }
        })
    }
}

/// Samples in a FLAC frame, by its header (RFC 9639 §9.1.1); the number of the frame is as long as UTF-8 makes it.
fn frame(packet: &[u8]) -> Option<u64> {
    let code = packet.get(2)? >> 4;
    let after = 4 + match packet.get(4)?.leading_ones() {
        0 => 1,
        ones => ones as usize,
    };
    Some(match code {
        1 => 192,
        2..=5 => 576 << (code - 2),
        6 => u64::from(*packet.get(after)?) + 1,
        7 => u64::from(u16::from_be_bytes([*packet.get(after)?, *packet.get(after + 1)?])) + 1,
        8.. => 256 << (code - 8),
        _ => return None,
    })
}

/// Rate and length of each link, from the heads of all pages.
fn survey(bytes: &mut Bytes) -> Result<Vec<(u32, i64)>, Fault> {
    let mut links: Vec<(u32, i64)> = Vec::new();
    let (mut serial, mut delay, mut beginning) = (None, 0, true);
    while let Some(page) = page(bytes, false)? {
        if page.flags & FIRST != 0 {
            if !std::mem::replace(&mut beginning, true) {
                serial = None;
            }
            if let (None, Ok(kind)) = (serial, Kind::of(&page.body)) {
                (serial, delay) = (Some(page.serial), kind.delay());
                links.push((kind.rate(&page.body), 0));
            }
            continue;
        }
        beginning = false;
        if let (true, Some(link)) = (serial == Some(page.serial) && page.granule > 0, links.last_mut()) {
            link.1 = page.granule - delay;
        }
        if links.len() > MOST_LINKS {
            return Ok(Vec::new());
        }
    }
    Ok(links)
}

/// The next page that is whole; `None` at the end, before a page that is cut. Only a page `checked` for its sum, or
/// the first of a stream, has its body.
fn page(bytes: &mut Bytes, checked: bool) -> Result<Option<Page>, Fault> {
    loop {
        let ahead = bytes.peek(HEAD)?;
        if ahead.len() < HEAD {
            if !ahead.starts_with(b"OggS") {
                let rest = ahead.len() as u64;
                bytes.skip(rest)?;
            }
            return Ok(None);
        }
        if !ahead.starts_with(b"OggS") {
            // At least one byte on, to the next that may begin a page.
            let next = ahead[1..].iter().position(|byte| *byte == b'O').map_or(ahead.len(), |at| at + 1);
            bytes.skip(next as u64)?;
            continue;
        }
        let segments = usize::from(ahead[HEAD - 1]);
        let ahead = bytes.peek(HEAD + segments)?;
        if ahead.len() < HEAD + segments {
            return Ok(None);
        }
        let body: usize = ahead[HEAD..HEAD + segments].iter().map(|length| usize::from(*length)).sum();
        let all = HEAD + segments + body;
        let eight = |at: usize| ahead[at..at + 8].first_chunk().map_or(0, |eight| i64::from_le_bytes(*eight));
        let four = |at: usize| ahead[at..at + 4].first_chunk().map_or(0, |four| u32::from_le_bytes(*four));
        let (flags, sum) = (ahead[5], four(22));
        let mut page = Page {
            flags,
            granule: eight(6),
            serial: four(14),
            number: four(18),
            segments: ahead[HEAD..HEAD + segments].to_vec(),
            body: Vec::new(),
        };
        if !checked && flags & FIRST == 0 {
            bytes.skip(all as u64)?;
            return Ok(Some(page));
        }
        let ahead = bytes.peek(all)?;
        if ahead.len() < all {
            return Ok(None);
        }
        if checksum(&ahead[..all]) != sum {
            bytes.skip(1)?;
            continue;
        }
        page.body = ahead[HEAD + segments..all].to_vec();
        bytes.skip(all as u64)?;
        return Ok(Some(page));
    }
}

/// CRC-32 of the polynomial 0x04c11db7, highest bit first, from 0 (RFC 3533 §6).
fn checksum(page: &[u8]) -> u32 {
    let field = page.iter().enumerate().map(|(at, byte)| if (22..26).contains(&at) { 0 } else { *byte });
    field.fold(0, |sum, byte| sum << 8 ^ TABLE[(sum >> 24) as usize ^ usize::from(byte)])
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let (mut sum, mut bit) = ((at as u32) << 24, 0);
        while bit < 8 {
            sum = sum << 1 ^ if sum >> 31 == 1 { 0x04c1_1db7 } else { 0 };
            bit += 1;
        }
        table[at] = sum;
        at += 1;
    }
    table
};

const CONTINUED: u8 = 1;
const FIRST: u8 = 2;
const LAST: u8 = 4;
/// Bytes of a page before its lengths.
const HEAD: usize = 27;
/// Far beyond any packet of sound; of longer titles the rest is left out.
const LONGEST_PACKET: usize = 1 << 20;
/// A day of links of a second each.
const MOST_LINKS: usize = 86_400;
