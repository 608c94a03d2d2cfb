//! Decoded sound kept from the first pass for the second, in bounded memory; and excerpts of it to try things on.

/// A run of samples at half its size: 16 bits and one scale for each block of 100 ms, so that quiet passages
/// keep their 16 bits too. What it loses lies 96 dB below each block's highest sample.
pub(super) struct Spool {
    blocks: Vec<Block>,
    /// Blocks that may be kept.
    most: usize,
    /// Less than a block.
    waiting: Vec<f32>,
    /// Samples pushed.
    taken: u64,
}

struct Block {
    scale: f32,
    samples: Box<[i16]>,
}

impl Spool {
    /// Keeps as many whole blocks as fit in `bytes`.
    pub fn new(bytes: usize) -> Self {
        Self { blocks: Vec::new(), most: bytes / (2 * BLOCK), waiting: Vec::with_capacity(BLOCK), taken: 0 }
    }

    pub fn push(&mut self, mut samples: &[f32]) {
        self.taken += samples.len() as u64;
        while !samples.is_empty() && self.blocks.len() < self.most {
            let (now, later) = samples.split_at(samples.len().min(BLOCK - self.waiting.len()));
            self.waiting.extend_from_slice(now);
            if self.waiting.len() == BLOCK {
                self.keep();
            }
            samples = later;
        }
    }

    /// The last block may be shorter. Nothing may be pushed afterwards.
    pub fn finish(&mut self) {
        if !self.waiting.is_empty() {
            self.keep();
        }
    }

    fn keep(&mut self) {
        let high = super::peak::highest(&self.waiting);
        let scale = if high > 0.0 { high / 32_767.0 } else { 1.0 };
        let inverse = 1.0 / scale;
        self.blocks
            .push(Block { scale, samples: self.waiting.iter().map(|sample| rounded(sample * inverse)).collect() });
        self.waiting.clear();
    }

    /// Samples kept: the first ones of all.
    pub fn kept(&self) -> u64 {
        self.blocks.iter().map(|block| block.samples.len() as u64).sum()
    }

    /// Samples pushed.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Hands out what was kept, block by block, forgetting each: `out` is filled anew.
    pub fn drain(self) -> impl FnMut(&mut Vec<f32>) -> bool {
        let mut blocks = self.blocks.into_iter();
        move |out| {
            out.clear();
            let Some(block) = blocks.next() else { return false };
            out.extend(block.samples.iter().map(|sample| f32::from(*sample) * block.scale));
            true
        }
    }
}

/// To the nearest, for |value| ≤ 32,767: adding 1.5 × 2^23 leaves the number in the lowest bits.
fn rounded(value: f32) -> i16 {
    (value + 12_582_912.0).to_bits() as i16
}

/// Samples: 100 ms, 9.6 kB.
const BLOCK: usize = crate::time::RATE as usize / 10;
/// Bytes: eleven and a half minutes, so that a file of ordinary length is decoded once.
pub(super) const SPOOLED: usize = 64 << 20;

/// Up to a minute of a run of samples of any length, in pieces spread evenly over it: all of what is shorter
/// than a minute.
pub(super) struct Excerpts {
    pieces: Vec<Vec<f32>>,
    piece: Vec<f32>,
    /// Every so many pieces, one is kept.
    stride: u64,
    /// Pieces seen.
    seen: u64,
    /// Samples of the present one.
    filled: usize,
}

impl Excerpts {
    pub fn new() -> Self {
        Self { pieces: Vec::new(), piece: Vec::with_capacity(PIECE), stride: 1, seen: 0, filled: 0 }
    }

    pub fn push(&mut self, mut samples: &[f32]) {
        while !samples.is_empty() {
            let (now, later) = samples.split_at(samples.len().min(PIECE - self.filled));
            if self.seen.is_multiple_of(self.stride) {
                self.piece.extend_from_slice(now);
            }
            self.filled += now.len();
            if self.filled == PIECE {
                self.next();
            }
            samples = later;
        }
    }

    /// The pieces, in order; the last may be shorter.
    pub fn finish(mut self) -> Vec<Vec<f32>> {
        if !self.piece.is_empty() {
            self.pieces.push(self.piece);
        }
        self.pieces
    }

    fn next(&mut self) {
        if self.seen.is_multiple_of(self.stride) {
            if self.pieces.len() == PIECES {
                // Every second one goes, and from now on every second one is taken.
                let mut number = 0;
                self.pieces.retain(|_| {
                    number += 1;
                    number % 2 == 1
                });
                self.stride *= 2;
            }
            let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
            if self.seen.is_multiple_of(self.stride) {
                self.pieces.push(piece);
            }
        }
        self.piece.clear();
        self.seen += 1;
        self.filled = 0;
    }
}

/// Samples: two seconds, long enough for the gates of EBU R128.
const PIECE: usize = 2 * crate::time::RATE as usize;
/// 32 × 2 s, 12 MB.
const PIECES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(samples: usize) -> Vec<f32> {
        (0..samples).map(|at| (at as f32 * 0.01).sin() * if at < 20_000 { 0.9 } else { 0.001 }).collect()
    }

    #[test]
    fn what_is_kept_comes_back_within_sixteen_bits_of_each_block() {
        let samples = wave(50_001);
        let mut spool = Spool::new(1 << 20);
        for piece in samples.chunks(777) {
            spool.push(piece);
        }
        spool.finish();
        assert_eq!((spool.kept(), spool.taken()), (50_001, 50_001));
        let (mut next, mut block, mut all) = (spool.drain(), Vec::new(), Vec::new());
        while next(&mut block) {
            all.extend_from_slice(&block);
        }
        assert_eq!(all.len(), samples.len());
        for (at, (a, b)) in samples.iter().zip(&all).enumerate() {
            let bound = if at < 24_000 { 0.9 } else { 0.001 } / 65_000.0;
            assert!((a - b).abs() <= bound, "sample {at}: {a} became {b}");
        }
    }

    #[test]
    fn no_more_is_kept_than_fits() {
        let mut spool = Spool::new(40_000);
        spool.push(&wave(100_000));
        spool.finish();
        assert_eq!((spool.kept(), spool.taken()), (4 * BLOCK as u64, 100_000));
    }

    #[test]
    fn excerpts_are_all_of_a_short_run_and_a_minute_spread_over_a_long_one() {
        for seconds in [1usize, 63, 64, 65, 200, 1_000] {
            let mut excerpts = Excerpts::new();
            for second in 0..seconds {
                excerpts.push(&vec![second as f32; 48_000]);
            }
            let pieces = excerpts.finish();
            let total = pieces.iter().map(Vec::len).sum::<usize>() / 48_000;
            if seconds <= 65 {
                assert_eq!(total, seconds);
            } else {
                assert!((32..=66).contains(&total), "{seconds} s: {total}");
                assert!(pieces.last().unwrap()[0] > seconds as f32 * 0.9, "{seconds} s");
            }
            assert!(pieces.is_sorted_by(|a, b| a[0] <= b[0]));
        }
    }
}
