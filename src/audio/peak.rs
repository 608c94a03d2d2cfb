//! True peak: the highest point of the wave between samples (ITU-R BS.1770-4 Annex 2).

/// Samples that one interpolated point rests on.
pub(super) const TAPS: usize = 12;
const PHASES: usize = 4;
/// Samples from one look at the bound to the next.
const CHUNK: usize = 64;
/// Points computed side by side: two vectors of four.
const LANE: usize = 8;

/// The filter that finds points between samples: a sinc of 48 taps under a Hann window, four times
/// oversampled, as libebur128 has it, so that its meter and this one agree to the last bit but rounding.
#[derive(Clone)]
pub(super) struct Interpolation {
    /// The phases ¼, ½ and ¾; phase 0 gives back the samples.
    phases: [[f32; TAPS]; PHASES - 1],
    /// No point is higher than this × the highest sample beneath the filter: the largest sum of |taps|.
    pub most: f32,
}

impl Interpolation {
    pub fn new() -> Self {
        let mut phases = [[0.0; TAPS]; PHASES - 1];
        for (phase, taps) in phases.iter_mut().enumerate() {
            for (tap, value) in taps.iter_mut().enumerate() {
                let place = (tap * PHASES + phase + 1) as f64;
                let window = 0.5 * (1.0 - (std::f64::consts::TAU * place / (TAPS * PHASES) as f64).cos());
                let angle = (place - (TAPS * PHASES / 2) as f64) * std::f64::consts::PI / PHASES as f64;
                *value = (window * angle.sin() / angle) as f32;
            }
        }
        let sum = |taps: &[f32; TAPS]| taps.iter().map(|tap| tap.abs()).sum::<f32>();
        let most = phases.iter().map(sum).fold(1.0, f32::max);
        Self { phases, most }
    }

    /// `peaks[n]` becomes the highest point that rests on `line[n..n + 12]`, from its sixth sample on to just
    /// before its seventh.
    pub fn peaks(&self, line: &[f32], peaks: &mut [f32]) {
        debug_assert_eq!(line.len() + 1, peaks.len() + TAPS);
        let mut begin = 0;
        while begin < peaks.len() {
            let count = LANE.min(peaks.len() - begin);
            let mut high = [0.0f32; LANE];
            if count == LANE {
                for taps in &self.phases {
                    let mut sums = [0.0f32; LANE];
                    for (tap, factor) in taps.iter().enumerate() {
                        // The newest sample is under the first tap.
                        let from = begin + TAPS - 1 - tap;
                        let samples: &[f32; LANE] = line[from..from + LANE].try_into().expect("a lane is a lane");
                        for (sum, sample) in sums.iter_mut().zip(samples) {
                            *sum += factor * sample;
                        }
                    }
                    for (high, sum) in high.iter_mut().zip(&sums) {
                        *high = high.max(sum.abs());
                    }
                }
            } else {
                for (at, high) in high.iter_mut().enumerate().take(count) {
                    for taps in &self.phases {
                        let sum: f32 =
                            taps.iter().enumerate().map(|(tap, f)| f * line[begin + at + TAPS - 1 - tap]).sum();
                        *high = high.max(sum.abs());
                    }
                }
            }
            for (at, high) in high.iter().enumerate().take(count) {
                peaks[begin + at] = high.max(line[begin + at + TAPS - 1 - TAPS / 2].abs());
            }
            begin += count;
        }
    }
}

/// The highest sample, whatever its sign.
pub(super) fn highest(samples: &[f32]) -> f32 {
    let mut high = [0.0f32; LANE];
    let mut lanes = samples.chunks_exact(LANE);
    for lane in &mut lanes {
        for (high, sample) in high.iter_mut().zip(lane) {
            *high = high.max(sample.abs());
        }
    }
    let rest = lanes.remainder().iter().fold(0.0f32, |high, sample| high.max(sample.abs()));
    high.into_iter().fold(rest, f32::max)
}

/// Measures the true peak of a run of samples.
///
/// Exact, and cheap: where the bound on what can lie between samples is below the highest point so far,
/// nothing is computed.
pub(super) struct TruePeak {
    interpolation: Interpolation,
    /// The last samples of what was measured, and what comes.
    line: Vec<f32>,
    peak: f32,
}

impl TruePeak {
    pub fn new() -> Self {
        Self { interpolation: Interpolation::new(), line: vec![0.0; TAPS - 1], peak: 0.0 }
    }

    pub fn push(&mut self, samples: &[f32]) {
        let mut peaks = [0.0; CHUNK];
        for chunk in samples.chunks(CHUNK) {
            self.line.extend_from_slice(chunk);
            let high = highest(&self.line);
            self.peak = self.peak.max(highest(chunk));
            if high * self.interpolation.most > self.peak {
                let peaks = &mut peaks[..chunk.len()];
                self.interpolation.peaks(&self.line, peaks);
                self.peak = self.peak.max(highest(peaks));
            }
            self.line.drain(..chunk.len());
        }
    }

    /// dBTP so far; `None` for digital silence.
    pub fn peak(&self) -> Option<f64> {
        (self.peak > 0.0).then(|| 20.0 * f64::from(self.peak).log10())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebur128::{EbuR128, Mode};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn true_peak_is_what_libebur128_measures(
            samples in prop::collection::vec(-2.0f32..2.0, 1..700),
            quiet in 0usize..700,
            pieces in 1usize..90,
        ) {
            let mut samples = samples;
            for sample in samples.iter_mut().take(quiet) {
                *sample *= 0.3;
            }
            let mut theirs = EbuR128::new(1, 48_000, Mode::TRUE_PEAK).unwrap();
            theirs.add_frames_f32(&samples).unwrap();
            let mut ours = TruePeak::new();
            for piece in samples.chunks(pieces) {
                ours.push(piece);
            }
            let theirs = 20.0 * theirs.true_peak(0).unwrap().log10();
            let ours = ours.peak().unwrap_or(f64::NEG_INFINITY);
            prop_assert!((ours - theirs).abs() < 1e-4 || ours == theirs, "{ours} dBTP, libebur128 {theirs}");
        }
    }
}
