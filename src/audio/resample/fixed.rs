//! Any rate to 48 kHz, where sound enters.
use super::process;
use rubato::{Fft, FixedSync, Resampler, WindowFunction};

/// Resamples by a fixed ratio; exact in length and without delay.
pub struct ToPlayoutRate {
    rate: u64,
    /// `None`: the rate is 48 kHz already.
    stage: Option<Stage>,
    taken: u64,
    given: u64,
}

struct Stage {
    transform: Fft<f32>,
    /// Fewer samples than one block.
    waiting: Vec<f32>,
    block: usize,
    output: Vec<f32>,
    /// Of the filter's delay, what is still to be dropped.
    trim: usize,
}

impl ToPlayoutRate {
    pub fn new(rate: u32) -> Self {
        let rate = u64::from(rate);
        Self { rate, stage: (rate != RATE).then(|| Stage::new(rate)), taken: 0, given: 0 }
    }

    /// The whole output for `samples` of input at `rate`, which is above zero.
    pub fn length(rate: u64, samples: u64) -> u64 {
        let twice = u128::from(samples) * u128::from(RATE) * 2 + u128::from(rate);
        (twice / (2 * u128::from(rate))) as u64
    }

    pub fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        self.taken += samples.len() as u64;
        let before = out.len();
        match &mut self.stage {
            None => out.extend_from_slice(samples),
            Some(stage) => stage.push(samples, out),
        }
        self.given += (out.len() - before) as u64;
    }

    /// What the filter still holds. Nothing may be pushed afterwards.
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        let wanted = Self::length(self.rate, self.taken);
        let silence = [0.0; BLOCK as usize];
        while self.given < wanted {
            self.push(&silence, out);
        }
        let excess = (self.given - wanted) as usize;
        out.truncate(out.len().saturating_sub(excess));
        self.given = wanted;
    }
}

impl Stage {
    fn new(rate: u64) -> Self {
        let smallest = rate / greatest_common_divisor(rate, RATE);
        // An even number of the smallest possible blocks puts the filter's middle on a whole sample
        // of input and of output, so that dropping its delay aligns exactly.
        let block = smallest * BLOCK.div_ceil(smallest).next_multiple_of(2);
        let transform = Fft::new_custom(
            rate as usize,
            RATE as usize,
            block as usize,
            1,
            1,
            WindowFunction::BlackmanHarris2,
            FixedSync::Both,
        )
        .expect("both rates and the block are above zero");
        Self {
            block: transform.input_frames_next(),
            output: vec![0.0; transform.output_frames_max()],
            trim: transform.output_delay(),
            waiting: Vec::new(),
            transform,
        }
    }

    fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        self.waiting.extend_from_slice(samples);
        let whole = self.waiting.len() / self.block * self.block;
        for block in self.waiting[..whole].chunks_exact(self.block) {
            let produced = process(&mut self.transform, block, &mut self.output);
            let trim = self.trim.min(produced);
            self.trim -= trim;
            out.extend_from_slice(&self.output[trim..produced]);
        }
        self.waiting.drain(..whole);
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

const RATE: u64 = crate::time::RATE as u64;

/// Input samples per block of the transform, at least. 1,024 at 8 kHz keep the pass band flat up to
/// 3.9 kHz.
const BLOCK: u64 = 1_024;
