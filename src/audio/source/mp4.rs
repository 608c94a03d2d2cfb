//! MP4, M4A and QuickTime (ISO 14496-12): the first track of sound, whatever else is there.
//!
//! "moov" tells where every sample stands and how long it lasts; "moof" does so for a stretch. What the encoder
//! put around the sound is told by the track's edit list (§8.6.6), or, where iTunes wrote the file, by a comment:
//! ```text
//! elst: version 1, 3 │ count 4 │ ( lasts 4, in ticks of the movie │ begins 4, in ticks of the track │ rate 4 )*     8 and 8 in version 1
//! iTunSMPB: " 00000000 DELAY PADDING SAMPLES …", hexadecimal
//! ```
use super::bytes::Bytes;
use super::fault::Fault;
use super::stream::{Codec, Demuxer, Packet, Step, Stream};
use boxes::{boxes, head, inside, u32_at, u64_at};
use entry::Entry;
use std::collections::VecDeque;
use table::{Sample, Table, Usual, fragment};

mod boxes;
pub(super) mod entry;
mod table;

pub(super) struct Mp4 {
    bytes: Bytes,
    first: Option<Stream>,
    table: Table,
    fragments: Option<Fragments>,
    rate: u32,
    ticks: u32,
    /// Samples before the sound.
    delay: i64,
    /// A packet of plain numbers says itself how long it is.
    plain: bool,
}

/// Pieces that come one after another, each with its own table.
struct Fragments {
    track: u32,
    usual: Usual,
    waiting: VecDeque<Sample>,
    /// Where the next box begins, and ticks so far.
    next: u64,
    now: u64,
}

impl Mp4 {
    pub fn new(mut bytes: Bytes) -> Result<Self, Fault> {
        for _ in 0..MOST_BOXES {
            let place = bytes.position();
            let Some((kind, head, length)) = head(bytes.peek(16)?) else {
                let ended = bytes.peek(16)?.len() < 16;
                return Err(if ended {
                    Fault::ends_in_header()
                } else {
                    Fault::damaged(format!("byte {place}: no box of MP4"))
                });
            };
            match &kind {
                b"moov" => {
                    if length > MOST_MOOV {
                        return Err(Fault::unsupported(format!("a table of {length} bytes in front of the sound")));
                    }
                    let size = if length == 0 { MOST_MOOV } else { length } as usize;
                    let moov = bytes.up_to(size)?;
                    if length > 0 && moov.len() < size {
                        return Err(Fault::ends_in_header());
                    }
                    let next = bytes.position();
                    return Self::movie(bytes, &moov[head..], next);
                }
                b"mdat" | b"moof" if !bytes.is_seekable() => {
                    let text = "the sound comes before the table that tells where it is, and a pipe can't be read twice; \
                                export it with faststart (ffmpeg -movflags +faststart), or as another format";
                    return Err(Fault::new("media.unsupported", text));
                }
                _ if length == 0 => return Err(Fault::damaged("MP4 without \"moov\", the table of its sound")),
                _ => {
                    if !bytes.skip(length)? {
                        return Err(Fault::new(
                            "media.truncated",
                            "the file ends before \"moov\", the table that tells where its sound is; copy or export it again",
                        ));
                    }
                }
            }
        }
        Err(Fault::damaged(format!("no table of sound in the first {MOST_BOXES} boxes")))
    }

    fn movie(bytes: Bytes, moov: &[u8], next: u64) -> Result<Self, Fault> {
        let short = || Fault::damaged("the table of the sound is cut short");
        let handler =
            |trak: &[u8]| inside(trak, &[b"mdia", b"hdlr"]).and_then(|body| u32_at(body, 8)).map(u32::to_be_bytes);
        let tracks = || boxes(moov).filter(|(kind, _)| kind == b"trak").map(|(_, trak)| trak);
        let Some(trak) = tracks().find(|trak| handler(trak) == Some(*b"soun")) else {
            let video = tracks().any(|trak| handler(trak) == Some(*b"vide"));
            return Err(Fault::no_sound(if video { "a video" } else { "MP4" }));
        };
        let mdhd = inside(trak, &[b"mdia", b"mdhd"]).ok_or_else(short)?;
        let ticks = u32_at(mdhd, if mdhd.first() == Some(&1) { 20 } else { 12 })
            .filter(|ticks| *ticks > 0)
            .ok_or_else(short)?;
        let stbl = inside(trak, &[b"mdia", b"minf", b"stbl"]).ok_or_else(short)?;
        let entry = Entry::parse(inside(stbl, &[b"stsd"]).ok_or_else(short)?)?;
        let plain = match &entry.codec {
            Codec::Pcm(number) => Some(number.bytes() as u64 * u64::from(entry.layout.channels())),
            _ => None,
        };
        let table = Table::new(stbl, plain).ok_or_else(short)?;
        let track =
            inside(trak, &[b"tkhd"]).and_then(|body| u32_at(body, if body.first() == Some(&1) { 20 } else { 12 }));
        let fragments = inside(moov, &[b"mvex"]).zip(track).map(|(mvex, track)| {
            let own = boxes(mvex).find(|(kind, body)| kind == b"trex" && u32_at(body, 4) == Some(track));
            let field = |at: usize| own.and_then(|(_, body)| u32_at(body, at)).unwrap_or(0);
            let usual = Usual { ticks: field(12), size: field(16) };
            Fragments { track, usual, waiting: VecDeque::new(), next, now: table.lasts() }
        });
        let scale = |ticks_in: u64, per: u32| {
            (u128::from(ticks_in) * u128::from(entry.rate) + u128::from(per / 2)) / u128::from(per)
        };
        let samples = |ticks_in: u64, per: u32| i64::try_from(scale(ticks_in, per)).unwrap_or(i64::MAX);
        let all = samples(table.lasts(), ticks);
        let movie =
            inside(moov, &[b"mvhd"]).and_then(|body| u32_at(body, if body.first() == Some(&1) { 20 } else { 12 }));
        let edit = inside(trak, &[b"edts", b"elst"]).and_then(edit);
        let comment = comment(moov);
        let (delay, total) = match (edit, comment, movie) {
            (Some((begins, lasts)), _, Some(movie)) if begins > 0 && movie > 0 => {
                let (delay, lasts) = (samples(begins, ticks), samples(lasts, movie));
                let rest = all.saturating_sub(delay);
                // The movie's ticks are coarse; where both agree within them, the table is exact.
                let coarse = samples(3, movie) / 2;
                (delay, if lasts == 0 || (lasts - rest).abs() <= coarse { rest } else { lasts.min(rest) })
            }
            (_, Some((delay, total)), _) if all - delay >= total => (delay, total),
            (None, None, _) => (entry.delay.into(), all - i64::from(entry.delay)),
            _ => (0, all),
        };
        let total = fragments.is_none().then_some(total.max(0) as u64);
        let first = Stream {
            container: "MP4".into(),
            name: entry.name,
            codec: entry.codec,
            rate: entry.rate,
            layout: entry.layout,
            begins: -delay,
            ends: total,
            samples: total,
            // A tick of another scale rounds; a sample that really is missing lasts ten times as long.
            slack: if ticks == entry.rate { 0 } else { u64::from(entry.rate.div_ceil(ticks)) + 1 },
            full_scale: entry.full_scale,
        };
        Ok(Self { bytes, rate: first.rate, first: Some(first), table, fragments, ticks, delay, plain: plain.is_some() })
    }

    /// The next sample of the file's table, then of its fragments.
    fn sample(&mut self) -> Result<Option<Sample>, Fault> {
        if let Some(sample) = self.table.next() {
            return Ok(Some(sample));
        }
        let Some(fragments) = &mut self.fragments else { return Ok(None) };
        for _ in 0..MOST_BOXES {
            if let Some(sample) = fragments.waiting.pop_front() {
                return Ok(Some(sample));
            }
            self.bytes.seek_to(fragments.next)?;
            let Some((kind, head, length)) = head(self.bytes.peek(16)?).filter(|(_, _, length)| *length > 0) else {
                return Ok(None);
            };
            let place = fragments.next;
            fragments.next = place.saturating_add(length);
            if &kind != b"moof" {
                continue;
            }
            let moof = self.bytes.up_to(length.min(MOST_MOOF) as usize)?;
            let body = moof.get(head..).unwrap_or_default();
            let samples = fragment(body, place, fragments.track, fragments.usual, fragments.now);
            fragments.now = samples.last().map_or(fragments.now, |last| last.begins + last.lasts);
            fragments.waiting = samples.into();
            // The box that holds them; once they are read, its head lies behind.
            if let Some((kind, _, length @ 1..)) = boxes::head(self.bytes.peek(16)?)
                && &kind == b"mdat"
            {
                fragments.next = fragments.next.saturating_add(length);
            }
        }
        Ok(None)
    }
}

impl Demuxer for Mp4 {
    fn next(&mut self) -> Result<Step, Fault> {
        if let Some(stream) = self.first.take() {
            return Ok(Step::Stream(stream));
        }
        let Some(sample) = self.sample()? else { return Ok(Step::End) };
        let place =
            |ticks: u64| (u128::from(ticks) * u128::from(self.rate) / u128::from(self.ticks)) as i64 - self.delay;
        let (at, after) = (place(sample.begins), place(sample.begins.saturating_add(sample.lasts)));
        let samples = after.saturating_sub(at).max(0) as u64;
        if sample.size > LONGEST_PACKET {
            return Ok(Step::Lost { samples, what: "a packet that is longer than any of sound" });
        }
        if self.bytes.length().is_some_and(|length| sample.place > length) {
            return Ok(Step::Early { what: "the file ends before its sound does" });
        }
        self.bytes.seek_to(sample.place)?;
        let data = self.bytes.up_to(sample.size as usize)?;
        if data.len() < sample.size as usize {
            return Ok(Step::Early { what: "the file ends before its sound does" });
        }
        // The last packet is given less time than it holds; so is any where both count alike.
        let until = (self.fragments.is_some() && self.ticks == self.rate && !self.plain).then_some(after);
        Ok(Step::Packet(Packet { data, at: Some(at), until, cut: 0, samples }))
    }
}

/// Of the first edit that isn't empty: where it begins, in ticks of the track, and how long it lasts, in ticks of
/// the movie; of several, only the beginning.
fn edit(elst: &[u8]) -> Option<(u64, u64)> {
    let wide = elst.first() == Some(&1);
    let count = u32_at(elst, 4)?.min(MOST_EDITS) as usize;
    let entry = |at: usize| {
        let at = 8 + at * if wide { 20 } else { 12 };
        Some(if wide {
            (u64_at(elst, at + 8)? as i64, u64_at(elst, at)?)
        } else {
            (i64::from(u32_at(elst, at + 4)? as i32), u64::from(u32_at(elst, at)?))
        })
    };
    let mut real = (0..count).map_while(entry).filter(|(begins, _)| *begins >= 0);
    let (begins, lasts) = real.next()?;
    Some((begins as u64, if real.next().is_some() { 0 } else { lasts }))
}

/// Delay and length of iTunes' comment.
fn comment(moov: &[u8]) -> Option<(i64, i64)> {
    let name = b"iTunSMPB";
    let at = moov.windows(name.len()).position(|eight| eight == name)?;
    let near = moov.get(at..)?.get(..MOST_COMMENT.min(moov.len() - at))?;
    let data = near.windows(4).position(|four| four == b"data")?;
    let text = std::str::from_utf8(near.get(data + 12..data + 12 + 44)?).ok()?;
    let mut numbers = text.split_ascii_whitespace().map(|number| i64::from_str_radix(number, 16).ok());
    let (_, delay, _padding, samples) = (numbers.next()??, numbers.next()??, numbers.next()??, numbers.next()??);
    (samples > 0 && delay < 1 << 20).then_some((delay, samples))
}

/// A day's fragments of a second each, twice.
const MOST_BOXES: usize = 200_000;
/// A day of AAC has 4 million packets of 8 bytes each in the tables.
const MOST_MOOV: u64 = 64 << 20;
const MOST_MOOF: u64 = 4 << 20;
/// Far beyond any packet of sound.
const LONGEST_PACKET: u64 = 1 << 20;
const MOST_EDITS: u32 = 1_024;
/// Bytes from the comment's name to its end.
const MOST_COMMENT: usize = 256;
