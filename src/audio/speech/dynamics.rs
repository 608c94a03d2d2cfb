//! Gate and compressor: both hear 10 ms, and move a gain slowly.
use crate::time::RATE;

/// Decides on a gain from the level of 10 ms.
pub(super) trait Decide {
    /// `level` in dBFS (RMS), at least [`LOWEST`]; the gain in dB for these 10 ms' end.
    fn decide(&mut self, level: f64) -> f64;
}

/// Applies a gain in straight lines over 10 ms each, one step late: a word's first sound has the gain that its
/// level asks for. Aligned: as many samples come out, in their places.
pub(super) struct Ramped<D> {
    decide: D,
    /// The step that waits for its end's gain, then the one that fills.
    line: Vec<f32>,
    gain: f32,
}

impl<D: Decide> Ramped<D> {
    pub fn new(decide: D) -> Self {
        Self { decide, line: Vec::with_capacity(2 * STEP), gain: 1.0 }
    }

    pub fn push(&mut self, mut samples: &[f32], out: &mut Vec<f32>) {
        while !samples.is_empty() {
            let (now, later) = samples.split_at(samples.len().min(2 * STEP - self.line.len()));
            self.line.extend_from_slice(now);
            if self.line.len() == 2 * STEP {
                let square = self.line[STEP..].iter().map(|sample| sample * sample).sum::<f32>() / STEP as f32;
                let level = 10.0 * f64::from(square).max(1e-20).log10();
                let gain = self.decide.decide(level.max(LOWEST));
                self.ramp(10f64.powf(gain / 20.0) as f32, STEP, out);
            }
            samples = later;
        }
    }

    pub fn finish(&mut self, out: &mut Vec<f32>) {
        self.ramp(self.gain, self.line.len(), out);
    }

    fn ramp(&mut self, to: f32, count: usize, out: &mut Vec<f32>) {
        let (from, slope) = (self.gain, (to - self.gain) / STEP as f32);
        out.extend(self.line.drain(..count).enumerate().map(|(at, sample)| sample * (from + slope * at as f32)));
        self.gain = to;
    }
}

/// A downward expander: what lies near the noise goes down, by [`DEEPEST`] at most; what lies above it passes.
///
/// The floor is the lowest level of the last seconds; the gate begins [`ABOVE`] over it, but always far below the
/// voice. It opens within 10 ms and closes slowly, after a hold, so that no word loses its end.
pub(super) struct Gate {
    /// Least of each quarter of the time looked back, the newest last.
    lows: [f64; 4],
    steps: usize,
    smooth: f64,
    /// Slow peak of the level.
    voice: f64,
    hold: usize,
    gain: f64,
}

impl Gate {
    pub fn new() -> Self {
        Self { lows: [0.0; 4], steps: 0, smooth: LOWEST, voice: LOWEST, hold: 0, gain: 0.0 }
    }
}

impl Decide for Gate {
    fn decide(&mut self, level: f64) -> f64 {
        self.smooth += (level - self.smooth) * if self.steps == 0 { 1.0 } else { 0.25 };
        if self.steps.is_multiple_of(QUARTER) {
            self.lows.rotate_left(1);
            self.lows[3] = self.smooth;
        }
        self.steps += 1;
        self.lows[3] = self.lows[3].min(self.smooth);
        self.voice = level.max(self.voice - VOICE_FALL);
        let floor = self.lows.iter().copied().fold(0.0, f64::min);
        let threshold = (floor + ABOVE).min(self.voice - FAR);
        if level >= threshold {
            self.hold = HOLD;
        }
        let wanted = if self.hold > 0 { 0.0 } else { (level - threshold).clamp(-DEEPEST, 0.0) };
        self.hold = self.hold.saturating_sub(1);
        self.gain = if wanted > self.gain { wanted } else { self.gain + (wanted - self.gain) * CLOSE };
        self.gain
    }
}

/// Brings loud and soft sentences together: half of every difference to the mean of the last [`MEAN`], 2:1. In
/// pauses it stands still, so that it raises no noise.
pub(super) struct Compressor {
    level: f64,
    mean: f64,
    /// Steps of voice heard.
    heard: f64,
    voice: f64,
    gain: f64,
}

impl Compressor {
    pub fn new() -> Self {
        Self { level: 0.0, mean: 0.0, heard: 0.0, voice: LOWEST, gain: 0.0 }
    }
}

impl Decide for Compressor {
    fn decide(&mut self, level: f64) -> f64 {
        self.voice = level.max(self.voice - VOICE_FALL);
        if level > self.voice - VOICED && level > LOWEST + 10.0 {
            self.heard += 1.0;
            let power = 10f64.powf(level / 10.0);
            self.level += (power - self.level) / self.heard.min(SYLLABLES);
            self.mean += (power - self.mean) / self.heard.min(MEAN);
            let apart = 10.0 * (self.level / self.mean).log10();
            let wanted = (-apart / 2.0).clamp(-MOST, MOST);
            self.gain += (wanted - self.gain) * 0.1;
        }
        self.gain
    }
}

/// Samples: 10 ms.
const STEP: usize = RATE as usize / 100;
/// dBFS.
const LOWEST: f64 = -100.0;

/// Steps: four of them, 3 s, in which even a fast speaker breathes.
const QUARTER: usize = 75;
/// dB over the floor, where the gate begins.
const ABOVE: f64 = 8.0;
/// dB below the voice: above that it never begins, or it would take the ends of words.
const FAR: f64 = 25.0;
/// dB per step: 3 dB in a second.
const VOICE_FALL: f64 = 0.03;
/// Steps: 200 ms.
const HOLD: usize = 20;
/// Of the way, per step: closes by a factor e in 100 ms.
const CLOSE: f64 = 0.1;
/// dB. Deeper, the room would vanish between words, and that is heard more than its noise.
const DEEPEST: f64 = 12.0;

/// dB below the slow peak: voice.
const VOICED: f64 = 20.0;
/// Steps of voice: 250 ms, a few syllables.
const SYLLABLES: f64 = 25.0;
/// Steps: 20 s of voice.
const MEAN: f64 = 2_000.0;
/// dB.
const MOST: f64 = 6.0;

#[cfg(test)]
mod tests {
    use super::*;
    use ebur128::{EbuR128, Mode};

    /// Sentences of 3 s, each of its own level in turn, over hiss; 1 s between.
    fn sentences(count: usize, levels: &[f32], noise: f32) -> Vec<f32> {
        let factor = |decibels: f32| 10f32.powf(decibels / 20.0);
        let mut state = 7_u64;
        (0..count * 192_000)
            .map(|at| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let hiss = ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * factor(noise);
                let (sentence, second) = (at / 192_000, (at % 192_000) as f32 / 48_000.0);
                let syllable = (std::f32::consts::PI * second * 4.0).sin().powi(2);
                let size = if second < 3.0 { factor(levels[sentence % levels.len()]) } else { 0.0 };
                let wave: f32 = (1..6).map(|n| (second * 880.0 * n as f32).sin() / n as f32).sum();
                hiss + wave * syllable * size
            })
            .collect()
    }

    fn through<D: Decide>(decide: D, samples: &[f32]) -> Vec<f32> {
        let (mut ramped, mut out) = (Ramped::new(decide), Vec::new());
        for piece in samples.chunks(777) {
            ramped.push(piece, &mut out);
        }
        ramped.finish(&mut out);
        assert_eq!(out.len(), samples.len());
        out
    }

    fn decibels(samples: &[f32]) -> f64 {
        10.0 * (samples.iter().map(|sample| f64::from(sample * sample)).sum::<f64>() / samples.len() as f64).log10()
    }

    #[test]
    fn noise_in_pauses_goes_down_and_speech_stays_as_it_is() {
        let samples = sentences(6, &[-14.0], -50.0);
        let out = through(Gate::new(), &samples);
        for sentence in 2..6 {
            let begin = sentence * 192_000;
            let pause = begin + 168_000..begin + 190_000;
            let down = decibels(&samples[pause.clone()]) - decibels(&out[pause]);
            assert!(down > 6.0, "sentence {sentence}: {down} dB");
            // From the first syllable to the last.
            for syllable in 0..12 {
                let from = begin + syllable * 12_000;
                let change = decibels(&out[from..from + 12_000]) - decibels(&samples[from..from + 12_000]);
                assert!(change.abs() < 0.1, "sentence {sentence}, syllable {syllable}: {change} dB");
            }
        }
    }

    #[test]
    fn the_gate_leaves_steady_speech_without_pauses_alone() {
        let samples: Vec<f32> =
            sentences(6, &[-14.0], -70.0).chunks(192_000).flat_map(|sentence| sentence[..144_000].to_vec()).collect();
        let out = through(Gate::new(), &samples);
        assert!((decibels(&out) - decibels(&samples)).abs() < 0.05);
    }

    #[test]
    fn loud_and_soft_sentences_come_nearer_and_pauses_are_not_raised() {
        let samples = sentences(16, &[-8.0, -8.0, -20.0, -20.0], -60.0);
        let out = through(Compressor::new(), &samples);
        let range = |samples: &[f32]| {
            let mut meter = EbuR128::new(1, 48_000, Mode::LRA).unwrap();
            meter.add_frames_f32(samples).unwrap();
            meter.loudness_range().unwrap()
        };
        let (before, after) = (range(&samples), range(&out));
        assert!(after < before - 3.0, "{before} LU became {after} LU");
        for sentence in 6..16 {
            let pause = sentence * 192_000 + 150_000..(sentence + 1) * 192_000 - 2_000;
            let raised = decibels(&out[pause.clone()]) - decibels(&samples[pause]);
            assert!(raised < MOST, "sentence {sentence}: {raised} dB");
        }
    }
}
