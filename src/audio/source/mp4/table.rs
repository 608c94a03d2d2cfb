//! Where the samples of a track stand: the tables of a whole file (ISO 14496-12 §8.6–8.7), and of a fragment (§8.8).
//!
//! ```text
//! stts: 4 │ count 4 │ ( samples 4 │ ticks each 4 )*          how long each lasts
//! stsc: 4 │ count 4 │ ( first chunk 4 │ samples 4 │ 4 )*     how many to a chunk
//! stsz: 4 │ size of all, or 0 4 │ count 4 │ ( size 4 )*      stz2: 4 │ 3 │ bits 1 │ count 4 │ sizes
//! stco: 4 │ count 4 │ ( place 4 )*                           co64: the same with 8
//! trun: flags 4 │ count 4 │ [ place 4 ] │ [ 4 ] │ ( [ ticks 4 ] [ size 4 ] [ 4 ] [ 4 ] )*
//! ```
//! Tables are read where they lie; nothing is taken for what they claim.
use super::boxes::{boxes, inside, u16_at, u32_at, u64_at};

/// One sample, as MP4 calls a packet; of plain numbers, a run of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub place: u64,
    pub size: u64,
    /// In ticks of the track.
    pub begins: u64,
    pub lasts: u64,
}

/// Steps through the tables of a whole file.
pub(super) struct Table {
    times: Vec<u8>,
    chunks: Vec<u8>,
    sizes: Sizes,
    places: Vec<u8>,
    wide: bool,
    /// Bytes of one sample, where each is one number of each channel.
    plain: Option<u64>,
    chunk: usize,
    /// Of the present chunk: samples left, and place of the next.
    left: u64,
    place: u64,
    sample: usize,
    /// Entry of stts, and samples left in it.
    time: usize,
    alike: u64,
    begins: u64,
    /// Entry of stsc.
    run: usize,
}

enum Sizes {
    Same(u64),
    Each { bits: usize, table: Vec<u8> },
}

impl Table {
    /// `None` where a table is missing.
    pub fn new(stbl: &[u8], plain: Option<u64>) -> Option<Self> {
        let table = |kind| inside(stbl, &[kind]);
        let (places, wide) = match table(b"stco") {
            Some(places) => (places, false),
            None => (table(b"co64")?, true),
        };
        let sizes = match (table(b"stsz"), table(b"stz2")) {
            (Some(sizes), _) => match u32_at(sizes, 4)? {
                0 => Sizes::Each { bits: 32, table: sizes.get(12..)?.to_vec() },
                same => Sizes::Same(same.into()),
            },
            (None, Some(sizes)) => Sizes::Each { bits: (*sizes.get(7)?).into(), table: sizes.get(12..)?.to_vec() },
            (None, None) => return None,
        };
        Some(Self {
            times: table(b"stts")?.get(8..)?.to_vec(),
            chunks: table(b"stsc")?.get(8..)?.to_vec(),
            places: places.get(8..)?.to_vec(),
            sizes,
            wide,
            plain,
            chunk: 0,
            left: 0,
            place: 0,
            sample: 0,
            time: 0,
            alike: 0,
            begins: 0,
            run: 0,
        })
    }

    /// Ticks of all samples.
    pub fn lasts(&self) -> u64 {
        let entries = self.times.chunks_exact(8);
        let ticks =
            entries.map(|entry| u64::from(u32_at(entry, 0).unwrap_or(0)) * u64::from(u32_at(entry, 4).unwrap_or(0)));
        ticks.fold(0, u64::saturating_add)
    }

    /// Samples in the chunk of this number.
    fn seek_chunk(&mut self) -> Option<u64> {
        let run = |at: usize| self.chunks.get(at * 12..at * 12 + 12);
        while run(self.run + 1).and_then(|next| u32_at(next, 0)).is_some_and(|first| first as usize <= self.chunk + 1) {
            self.run += 1;
        }
        u32_at(run(self.run)?, 4).map(u64::from)
    }

    fn size(&self) -> Option<u64> {
        match &self.sizes {
            Sizes::Same(size) => Some(*size),
            Sizes::Each { bits: 32, table } => u32_at(table, self.sample * 4).map(u64::from),
            Sizes::Each { bits: 16, table } => u16_at(table, self.sample * 2).map(u64::from),
            Sizes::Each { bits: 8, table } => table.get(self.sample).map(|size| u64::from(*size)),
            Sizes::Each { .. } => None,
        }
    }

    /// Ticks of the next `count` samples.
    fn ticks(&mut self, count: u64) -> u64 {
        let (mut left, mut ticks) = (count, 0u64);
        while left > 0 {
            if self.alike == 0 {
                let Some(many) = u32_at(&self.times, self.time * 8) else { break };
                (self.time, self.alike) = (self.time + 1, many.into());
                continue;
            }
            let each = u32_at(&self.times, (self.time - 1) * 8 + 4).unwrap_or(0);
            let count = left.min(self.alike);
            ticks = ticks.saturating_add(count.saturating_mul(each.into()));
            (left, self.alike) = (left - count, self.alike - count);
        }
        ticks
    }
}

impl Iterator for Table {
    type Item = Sample;

    fn next(&mut self) -> Option<Sample> {
        while self.left == 0 {
            self.place = match self.wide {
                false => u32_at(&self.places, self.chunk * 4).map(u64::from)?,
                true => u64_at(&self.places, self.chunk * 8)?,
            };
            self.left = self.seek_chunk()?;
            self.chunk += 1;
        }
        let (count, size) = match self.plain {
            Some(bytes) => (self.left.min(MOST_PLAIN), self.left.min(MOST_PLAIN) * bytes),
            None => (1, self.size()?),
        };
        let lasts = self.ticks(count);
        let sample = Sample { place: self.place, size, begins: self.begins, lasts };
        (self.left, self.sample) = (self.left - count, self.sample.saturating_add(count as usize));
        (self.place, self.begins) = (self.place.saturating_add(size), self.begins.saturating_add(lasts));
        Some(sample)
    }
}

/// What the samples of a track are unless a fragment says otherwise ("trex"): ticks and bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usual {
    pub ticks: u32,
    pub size: u32,
}

/// The samples of one track in a fragment that begins at `place`; `now`: ticks so far, where it doesn't say.
/// ```text
/// tfhd: flags 4 │ track 4 │ [ base 8, if 1 ] [ 4, if 2 ] [ ticks 4, if 8 ] [ size 4, if 0x10 ] [ 4, if 0x20 ]
/// tfdt: version 1, 3 │ time 4, or 8 in version 1
/// ```
pub(super) fn fragment(moof: &[u8], place: u64, track: u32, usual: Usual, mut now: u64) -> Vec<Sample> {
    let mut all = Vec::new();
    for (_, traf) in boxes(moof).filter(|(kind, _)| kind == b"traf") {
        let Some(head) = inside(traf, &[b"tfhd"]).filter(|head| u32_at(head, 4) == Some(track)) else { continue };
        let flags = u32_at(head, 0).unwrap_or(0);
        let (mut at, mut usual, mut base) = (8, usual, place);
        if flags & 1 != 0 {
            (base, at) = (u64_at(head, at).unwrap_or(place), at + 8);
        }
        at += if flags & 2 != 0 { 4 } else { 0 };
        if flags & 8 != 0 {
            (usual.ticks, at) = (u32_at(head, at).unwrap_or(0), at + 4);
        }
        if flags & 0x10 != 0 {
            usual.size = u32_at(head, at).unwrap_or(0);
        }
        let time = inside(traf, &[b"tfdt"]);
        now = time
            .and_then(|time| if time[0] == 1 { u64_at(time, 4) } else { u32_at(time, 4).map(u64::from) })
            .unwrap_or(now);
        let mut next = base;
        for (_, run) in boxes(traf).filter(|(kind, _)| kind == b"trun") {
            let (Some(flags), Some(count)) = (u32_at(run, 0), u32_at(run, 4)) else { continue };
            let mut at = 8;
            if flags & 1 != 0 {
                let offset = u32_at(run, at).unwrap_or(0) as i32;
                (next, at) = (base.saturating_add_signed(offset.into()), at + 4);
            }
            at += if flags & 4 != 0 { 4 } else { 0 };
            let width: usize = [0x100, 0x200, 0x400, 0x800].iter().filter(|flag| flags & **flag != 0).count() * 4;
            // A run that names nothing of its samples is bounded by what it can name.
            let there = run.len().saturating_sub(at).checked_div(width).unwrap_or(MOST_UNNAMED);
            for _ in 0..(count as usize).min(there) {
                let mut field = at;
                let mut take = |flag: u32, usual: u32| match flags & flag {
                    0 => usual,
                    _ => {
                        field += 4;
                        u32_at(run, field - 4).unwrap_or(0)
                    }
                };
                let (lasts, size) = (u64::from(take(0x100, usual.ticks)), u64::from(take(0x200, usual.size)));
                all.push(Sample { place: next, size, begins: now, lasts });
                (next, now, at) = (next.saturating_add(size), now.saturating_add(lasts), at + width);
            }
        }
    }
    all
}

/// Numbers of each channel to one packet.
const MOST_PLAIN: u64 = 4_096;
/// Samples of one run.
const MOST_UNNAMED: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn table(kind: &[u8; 4], fields: &[u32]) -> Vec<u8> {
        let length = (fields.len() as u32 + 2) * 4;
        [&length.to_be_bytes()[..], kind]
            .concat()
            .into_iter()
            .chain(fields.iter().flat_map(|field| field.to_be_bytes()))
            .collect()
    }

    #[test]
    fn samples_are_found_through_all_four_tables() {
        let stbl = [
            table(b"stts", &[0, 2, 2, 1_024, 1, 500]),
            table(b"stsc", &[0, 2, 1, 2, 1, 2, 1, 1]),
            table(b"stsz", &[0, 0, 3, 10, 11, 12]),
            table(b"stco", &[0, 2, 1_000, 2_000]),
        ];
        let all = Table::new(&stbl.concat(), None).unwrap();
        assert_eq!(all.lasts(), 2_548);
        let sample = |place, size, begins, lasts| Sample { place, size, begins, lasts };
        let wanted = [sample(1_000, 10, 0, 1_024), sample(1_010, 11, 1_024, 1_024), sample(2_000, 12, 2_048, 500)];
        assert_eq!(all.collect::<Vec<_>>(), wanted);
        // Plain numbers come in runs, however many are claimed.
        let stbl = [
            table(b"stts", &[0, 1, u32::MAX, 1]),
            table(b"stsc", &[0, 1, 1, 5_000, 1]),
            table(b"stsz", &[0, 2, u32::MAX]),
            table(b"stco", &[0, 1, 100]),
        ];
        let all: Vec<_> = Table::new(&stbl.concat(), Some(2)).unwrap().collect();
        assert_eq!(all, [sample(100, 8_192, 0, 4_096), sample(8_292, 1_808, 4_096, 904)]);
        assert!(Table::new(&stbl[..3].concat(), None).is_none());
    }
}
