//! Holds the true peak of a run of samples below a ceiling, by looking ahead.
use super::peak::{Interpolation, TAPS, highest};
use std::collections::VecDeque;

/// A look-ahead limiter on true peaks (ITU-R BS.1770-4 Annex 2).
///
/// ```text
/// samples ─┬─▶ 4× peaks ─▶ gain needed ─▶ least of the next 5 ms ─▶ slow return ─▶ two moving averages ─┐
///          └─▶ 5 ms of delay ───────────────────────────────────────────────────────────────────────────×─▶
/// ```
/// The least gain is held as long as the averages are, so that they have come down to it when the peak
/// arrives; they make it a smooth curve without corners, so that limiting adds no crackle. Below the ceiling,
/// samples pass bit by bit. A gain that moves between the samples under one interpolated point can lift it a
/// little: a second, shorter stage takes that.
///
/// What comes out aligns with what goes in, sample by sample: the delay is made up for at both ends.
pub struct Limiter {
    first: Stage,
    second: Stage,
    between: Vec<f32>,
}

impl Limiter {
    /// Samples that are held back.
    pub const LATENCY: usize = FIRST.delay() + SECOND.delay();

    /// `ceiling` in dBTP.
    pub fn new(ceiling: f64) -> Self {
        let aim = 10f64.powf((ceiling - MARGIN) / 20.0) as f32;
        Self { first: Stage::new(aim, FIRST), second: Stage::new(aim, SECOND), between: Vec::new() }
    }

    /// Appends to `out` as many samples as it takes, but for the first [`Limiter::LATENCY`].
    pub fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        self.between.clear();
        self.first.push(samples, &mut self.between);
        self.second.push(&self.between, out);
    }

    /// Appends what was held back: all of them are then as many as went in.
    pub fn finish(mut self, out: &mut Vec<f32>) {
        self.push(&[0.0; Self::LATENCY], out);
    }

    /// The most that was taken off so far, dB.
    pub fn most_reduction(&self) -> f64 {
        decibels(self.first.least) + decibels(self.second.least)
    }

    /// What is being taken off now, dB: the most since this was last asked.
    pub fn reduction(&mut self) -> f64 {
        decibels(std::mem::replace(&mut self.first.recent, 1.0))
            + decibels(std::mem::replace(&mut self.second.recent, 1.0))
    }
}

fn decibels(gain: f32) -> f64 {
    20.0 * f64::from(1.0 / gain).log10()
}

/// Samples of each moving average.
#[derive(Clone, Copy)]
struct Shape(usize);

impl Shape {
    /// Samples that both averages together look back.
    const fn reach(self) -> usize {
        2 * self.0 - 1
    }

    /// So that both averages, and all samples under the filter, lie within what is held for a peak.
    const fn delay(self) -> usize {
        self.reach() + TAPS - 2
    }

    const fn hold(self) -> usize {
        self.delay() + 1
    }
}

struct Stage {
    interpolation: Interpolation,
    shape: Shape,
    aim: f32,
    /// The last `delay` samples, and what comes.
    line: Vec<f32>,
    /// Of the first samples, those still to be left out: they are the delay.
    skip: usize,
    /// Number of the next sample.
    now: u64,
    /// Gains below 1 that a later sample doesn't undercut, with their numbers: the first is the least.
    needed: VecDeque<(u64, f32)>,
    returning: f32,
    averages: [Average; 2],
    /// Samples since all was at rest: neither a gain needed nor one given.
    at_rest: usize,
    least: f32,
    recent: f32,
}

impl Stage {
    fn new(aim: f32, shape: Shape) -> Self {
        Self {
            interpolation: Interpolation::new(),
            shape,
            aim,
            line: vec![0.0; shape.delay()],
            skip: shape.delay(),
            now: 0,
            needed: VecDeque::with_capacity(shape.hold()),
            returning: 1.0,
            averages: [Average::new(shape.0), Average::new(shape.0)],
            at_rest: shape.hold() + shape.reach(),
            least: 1.0,
            recent: 1.0,
        }
    }

    fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        for chunk in samples.chunks(CHUNK) {
            self.line.extend_from_slice(chunk);
            let begin = out.len();
            self.limit(chunk.len(), out);
            if self.skip > 0 {
                let skip = self.skip.min(chunk.len());
                self.skip -= skip;
                out.drain(begin..begin + skip);
            }
            self.line.drain(..chunk.len());
        }
    }

    /// Appends the `count` oldest samples of the line.
    fn limit(&mut self, count: usize, out: &mut Vec<f32>) {
        let delay = self.shape.delay();
        let beneath = delay + 1 - TAPS;
        let mut peaks = [0.0; CHUNK];
        let peaks = &mut peaks[..count];
        // Without a sample that the filter could lift above the aim, none needs computing.
        if highest(&self.line[beneath..]) * self.interpolation.most > self.aim {
            self.interpolation.peaks(&self.line[beneath..], peaks);
        }
        if self.at_rest >= self.shape.hold() + self.shape.reach() && highest(peaks) <= self.aim {
            self.now += count as u64;
            out.extend_from_slice(&self.line[..count]);
            return;
        }
        for (peak, sample) in peaks.iter().zip(&self.line[..count]) {
            let needed = if *peak > self.aim { self.aim / peak } else { 1.0 };
            if needed < 1.0 {
                while self.needed.back().is_some_and(|(_, gain)| *gain >= needed) {
                    self.needed.pop_back();
                }
                self.needed.push_back((self.now, needed));
            }
            if self.needed.front().is_some_and(|(since, _)| since + self.shape.hold() as u64 <= self.now) {
                self.needed.pop_front();
            }
            let held = self.needed.front().map_or(1.0, |(_, gain)| *gain);
            self.returning += (held - self.returning) * if held < self.returning { 1.0 } else { RETURN };
            if held == 1.0 && self.returning > RESTING {
                self.returning = 1.0;
            }
            let [first, second] = &mut self.averages;
            let gain = second.push(first.push(self.returning));
            self.at_rest = if self.returning < 1.0 { 0 } else { self.at_rest + 1 };
            self.recent = self.recent.min(gain);
            out.push(sample * gain);
            self.now += 1;
        }
        self.least = self.least.min(self.recent);
        if self.at_rest >= self.shape.hold() + self.shape.reach() {
            self.averages.iter_mut().for_each(Average::rest);
        }
    }
}

/// The mean of the last samples.
struct Average {
    ring: Vec<f32>,
    next: usize,
    /// In double precision: its rounding stays below 16 bits for years.
    sum: f64,
}

impl Average {
    fn new(length: usize) -> Self {
        Self { ring: vec![1.0; length], next: 0, sum: length as f64 }
    }

    fn push(&mut self, value: f32) -> f32 {
        let oldest = std::mem::replace(&mut self.ring[self.next], value);
        self.next = if self.next + 1 == self.ring.len() { 0 } else { self.next + 1 };
        self.sum += f64::from(value) - f64::from(oldest);
        (self.sum / self.ring.len() as f64) as f32
    }

    /// All its samples are 1, but for what rounding left.
    fn rest(&mut self) {
        self.ring.fill(1.0);
        self.sum = self.ring.len() as f64;
    }
}

/// Samples from one look at the bound to the next.
const CHUNK: usize = 64;
/// Two averages of 2.4 ms: 5 ms of look-ahead.
const FIRST: Shape = Shape(115);
/// For what the first leaves, hundredths of a dB: 1.2 ms.
const SECOND: Shape = Shape(24);
/// Per sample, of the way back to 1: by a factor e in 80 ms. A voice's lowest tone lasts 12 ms, so that the
/// gain doesn't follow its wave; a loud syllable leaves no hole behind it.
const RETURN: f32 = 1.0 / (0.08 * 48_000.0);
/// As good as 1: 0.004 dB. Nearer, steps of [`RETURN`] are too small for 24 bits.
const RESTING: f32 = 0.9995;
/// dB below the ceiling at which both stages aim.
const MARGIN: f64 = 0.01;

#[cfg(test)]
mod tests {
    use super::*;
    use ebur128::{EbuR128, Mode};
    use proptest::prelude::*;

    fn limited(samples: &[f32], ceiling: f64, piece: usize) -> (Vec<f32>, f64) {
        let mut limiter = Limiter::new(ceiling);
        let mut out = Vec::new();
        for piece in samples.chunks(piece.max(1)) {
            limiter.push(piece, &mut out);
        }
        let most = limiter.most_reduction();
        limiter.finish(&mut out);
        (out, most)
    }

    fn true_peak(samples: &[f32]) -> f64 {
        let mut meter = EbuR128::new(1, 48_000, Mode::TRUE_PEAK).unwrap();
        meter.add_frames_f32(samples).unwrap();
        20.0 * meter.true_peak(0).unwrap().log10()
    }

    #[test]
    fn below_the_ceiling_every_sample_passes_bit_by_bit() {
        let samples: Vec<f32> = (0..20_000).map(|at| (at as f32 * 0.05).sin() * 0.8).collect();
        let (out, most) = limited(&samples, -1.5, 777);
        assert!(out == samples);
        assert_eq!(most, 0.0);
    }

    #[test]
    fn one_peak_is_met_by_a_smooth_dip_and_nothing_else_is_touched() {
        let mut samples: Vec<f32> = (0..96_000).map(|at| (at as f32 * 0.03).sin() * 0.4).collect();
        samples[30_000] = 2.0;
        let (out, most) = limited(&samples, -1.5, 480);
        assert_eq!(out.len(), samples.len());
        assert!(out[..30_000 - Limiter::LATENCY] == samples[..30_000 - Limiter::LATENCY]);
        assert!(out[80_000..] == samples[80_000..]);
        assert!((true_peak(&out) + 1.5).abs() < 0.05, "{}", true_peak(&out));
        assert!((most - (6.02 + 1.5)).abs() < 0.3, "{most} dB");
    }

    #[derive(Clone, Copy, Debug)]
    enum Kind {
        Noise,
        Square,
        Impulses,
        Sine,
        Bursts,
    }

    fn sound(kind: Kind, loud: f32, seed: u64, length: usize) -> Vec<f32> {
        let mut state = seed | 1;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        let period = 3 + (seed % 500) as usize;
        let pace = 0.01 + (seed % 1_000) as f32 / 330.0;
        (0..length)
            .map(|at| match kind {
                Kind::Noise => random() * loud,
                Kind::Square => {
                    if (at / period).is_multiple_of(2) {
                        loud
                    } else {
                        -loud
                    }
                }
                Kind::Impulses => {
                    if at % period == 0 {
                        random() * loud
                    } else {
                        random() * 0.01
                    }
                }
                Kind::Sine => (at as f32 * pace).sin() * loud,
                Kind::Bursts => random() * if at / 900 % 3 == 0 { loud } else { 0.05 },
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn whatever_goes_in_the_true_peak_stays_below_the_ceiling(
            kind in prop_oneof![Just(Kind::Noise), Just(Kind::Square), Just(Kind::Impulses), Just(Kind::Sine), Just(Kind::Bursts)],
            loud in 0.1f32..30.0,
            seed: u64,
            ceiling in -20.0f64..0.0,
            piece in 1usize..3_000,
        ) {
            let samples = sound(kind, loud, seed, 12_000);
            let (out, _) = limited(&samples, ceiling, piece);
            prop_assert_eq!(out.len(), samples.len());
            let peak = true_peak(&out);
            prop_assert!(peak <= ceiling, "{kind:?} at {loud}: {peak} dBTP above {ceiling}");
        }
    }
}
