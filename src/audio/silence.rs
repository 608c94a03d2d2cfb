//! Silence at the beginning, at the end and within.
use crate::time::RATE;

/// Keeps the level of every 10 ms: one byte each, 1.4 MB at four hours.
///
/// Silence is what lies [`BELOW`] the programme's loudness or lower, whatever a recording's own noise, for
/// longer than a click lasts.
pub(super) struct Quiet {
    /// Half decibels below full scale, of the RMS.
    levels: Vec<u8>,
    sum: f32,
    count: usize,
    samples: u64,
}

/// Where the sound lies, in samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sounding {
    pub begin: u64,
    pub end: u64,
    /// The longest silence between these.
    pub longest: u64,
}

impl Quiet {
    pub fn new() -> Self {
        Self { levels: Vec::new(), sum: 0.0, count: 0, samples: 0 }
    }

    pub fn push(&mut self, mut samples: &[f32]) {
        self.samples += samples.len() as u64;
        while !samples.is_empty() {
            let (now, later) = samples.split_at(samples.len().min(STEP - self.count));
            self.sum += energy(now);
            self.count += now.len();
            if self.count == STEP {
                self.step();
            }
            samples = later;
        }
    }

    fn step(&mut self) {
        let level = -20.0 * (self.sum / STEP as f32).max(1e-20).log10();
        self.levels.push(level.clamp(0.0, 255.0) as u8);
        (self.sum, self.count) = (0.0, 0);
    }

    /// `loudness` of the programme, LUFS; `None` if nothing sounds at all.
    pub fn sounding(&mut self, loudness: f64) -> Option<Sounding> {
        if self.count > 0 {
            self.step();
        }
        let quiet = (-2.0 * threshold(loudness)) as u8;
        let (mut begin, mut end, mut longest) = (None, 0, 0);
        let mut at = 0;
        for run in self.levels.chunk_by(|a, b| (*a < quiet) == (*b < quiet)) {
            // A click between two silences doesn't part them.
            if run[0] < quiet && run.len() >= CLICK {
                if begin.is_some() {
                    longest = longest.max(at - end);
                }
                begin.get_or_insert(at);
                end = at + run.len();
            }
            at += run.len();
        }
        let samples = |steps: usize| ((steps * STEP) as u64).min(self.samples);
        begin.map(|begin| Sounding { begin: samples(begin), end: samples(end), longest: samples(longest) })
    }
}

/// Sum of the squares.
fn energy(samples: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let mut lanes = samples.chunks_exact(8);
    for lane in &mut lanes {
        for (sum, sample) in sums.iter_mut().zip(lane) {
            *sum += sample * sample;
        }
    }
    sums.iter().sum::<f32>() + lanes.remainder().iter().map(|sample| sample * sample).sum::<f32>()
}

/// dBFS below which there is silence.
fn threshold(loudness: f64) -> f64 {
    (loudness - BELOW).clamp(-75.0, -45.0)
}

/// Trims both ends while the sound passes, when nobody has heard all of it: the level of the programme is that
/// of the loudest 10 ms so far, and at the end no more than [`MOST_HELD`] are waited for.
pub(super) struct Trimmer {
    keep: usize,
    /// Quiet so far, and what may be its end.
    held: Vec<f32>,
    waiting: Vec<f32>,
    loudest: f64,
    begun: bool,
    pub trimmed: u64,
}

impl Trimmer {
    /// `keep` seconds of silence.
    pub fn new(keep: f64) -> Self {
        let keep = (keep * f64::from(RATE)) as usize;
        Self { keep, held: Vec::new(), waiting: Vec::with_capacity(STEP), loudest: FIRST, begun: false, trimmed: 0 }
    }

    /// Appends what is certain to stay.
    pub fn push(&mut self, mut samples: &[f32], out: &mut Vec<f32>) {
        while !samples.is_empty() {
            let (now, later) = samples.split_at(samples.len().min(STEP - self.waiting.len()));
            self.waiting.extend_from_slice(now);
            if self.waiting.len() == STEP {
                self.step(out);
            }
            samples = later;
        }
    }

    fn step(&mut self, out: &mut Vec<f32>) {
        let level = 10.0 * f64::from(energy(&self.waiting) / STEP as f32).max(1e-20).log10();
        self.loudest = self.loudest.max(level);
        self.held.append(&mut self.waiting);
        // The loudest 10 ms of speech lie 10 dB above its loudness.
        if level > threshold(self.loudest - 10.0) {
            if !self.begun {
                self.shorten_front();
            }
            self.begun = true;
            out.append(&mut self.held);
        } else if !self.begun {
            self.shorten_front();
        } else if self.held.len() > MOST_HELD + self.keep {
            out.extend(self.held.drain(..STEP));
        }
    }

    fn shorten_front(&mut self) {
        let excess = self.held.len().saturating_sub(self.keep + STEP);
        self.trimmed += excess as u64;
        self.held.drain(..excess);
    }

    pub fn finish(mut self, out: &mut Vec<f32>) -> u64 {
        let keep = self.keep.min(self.held.len());
        out.extend_from_slice(&self.held[..keep]);
        let rest = self.held.len() - keep;
        // Less than 10 ms are left as they are.
        out.append(&mut self.waiting);
        self.trimmed + rest as u64
    }
}

/// Samples: 10 ms.
const STEP: usize = RATE as usize / 100;
/// dB below the programme's loudness: a quiet consonant lies 25 below, the room of a good recording 40.
const BELOW: f64 = 35.0;
/// Steps: 30 ms; a relay's click is shorter.
const CLICK: usize = 3;
/// dBFS: what the loudest 10 ms are taken for before any have been heard, so that silence is what lies below −60.
const FIRST: f64 = -15.0;
/// Samples: 20 s, 4 MB.
const MOST_HELD: usize = 20 * RATE as usize;

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(seconds: f64, size: f32) -> Vec<f32> {
        (0..(seconds * 48_000.0) as usize).map(|at| (at as f32 * 0.05).sin() * size).collect()
    }

    fn programme(noise: f32) -> Vec<f32> {
        [tone(1.5, noise), tone(2.0, 0.2), tone(0.7, noise), tone(1.0, 0.1), tone(3.0, noise)].concat()
    }

    #[test]
    fn silence_is_found_below_the_programme_and_a_click_is_none() {
        let mut samples = programme(0.0005);
        samples[24_000] = 0.9;
        let mut quiet = Quiet::new();
        for piece in samples.chunks(777) {
            quiet.push(piece);
        }
        let found = quiet.sounding(-18.0).unwrap();
        assert_eq!(found, Sounding { begin: 72_000, end: 249_600, longest: 33_600 });
    }

    #[test]
    fn a_noisy_recording_has_no_silence_and_nothing_has_no_sound() {
        let mut quiet = Quiet::new();
        let samples = programme(0.02);
        quiet.push(&samples);
        assert_eq!(quiet.sounding(-18.0), Some(Sounding { begin: 0, end: samples.len() as u64, longest: 0 }));
        let mut nothing = Quiet::new();
        nothing.push(&[0.0; 96_000]);
        assert_eq!(nothing.sounding(-23.0), None);
    }

    #[test]
    fn while_it_passes_both_ends_are_trimmed_and_the_middle_stays() {
        for noise in [0.0, 0.0005] {
            let samples = programme(noise);
            let (mut trimmer, mut out) = (Trimmer::new(0.3), Vec::new());
            for piece in samples.chunks(777) {
                trimmer.push(piece, &mut out);
            }
            let trimmed = trimmer.finish(&mut out);
            assert_eq!(out.len() as u64 + trimmed, samples.len() as u64);
            assert!((out.len() as f64 / 48_000.0 - (0.3 + 3.7 + 0.3)).abs() < 0.03, "{}", out.len());
            let begin = out.iter().position(|sample| sample.abs() > 0.1).unwrap();
            assert!(begin.abs_diff(14_400) < 600, "{begin}");
        }
    }
}
