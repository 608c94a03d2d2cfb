//! Tops that an overloaded input has cut off, drawn anew.
use crate::time::RATE;

/// Where samples stand at full scale, a cubic goes from the last sound sample to the next one, with the slopes of
/// the three on either side, and takes the place of the flat top where it is higher. What isn't clipped passes bit by bit.
pub(super) struct Declip {
    /// From the last three samples on: what isn't certain yet.
    line: Vec<f32>,
    /// Samples of the line that have been handed out already.
    given: usize,
}

impl Declip {
    pub fn new() -> Self {
        Self { line: Vec::new(), given: 0 }
    }

    pub fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        self.line.extend_from_slice(samples);
        let mut at = self.given;
        while let Some(begin) = self.line[at..].iter().position(|sample| sample.abs() >= FULL).map(|found| at + found) {
            let negative = self.line[begin] < 0.0;
            let flat = |sample: &f32| sample.abs() >= FULL && (*sample < 0.0) == negative;
            let length = self.line[begin..].iter().take_while(|sample| flat(sample)).count();
            let end = begin + length;
            if end + SIDE > self.line.len() && length <= LONGEST {
                // Its other side is still to come.
                out.extend_from_slice(&self.line[self.given..begin]);
                self.given = begin;
                return self.forget();
            }
            if (SHORTEST..=LONGEST).contains(&length) && begin >= SIDE {
                draw(&mut self.line[begin - SIDE..end + SIDE]);
            }
            at = end;
        }
        out.extend_from_slice(&self.line[self.given..]);
        self.given = self.line.len();
        self.forget();
    }

    /// What was held back.
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        out.extend_from_slice(&self.line[self.given..]);
        self.given = self.line.len();
        self.forget();
    }

    fn forget(&mut self) {
        let past = self.given.saturating_sub(SIDE);
        self.line.drain(..past);
        self.given -= past;
    }
}

/// Three sound samples, the flat top, three sound samples.
fn draw(top: &mut [f32]) {
    let span = (top.len() - 2 * SIDE + 1) as f32;
    let (from, to) = (top[SIDE - 1], top[top.len() - SIDE]);
    // By second-order differences, over the whole span (Hermite's form).
    let slope = |near: f32, next: f32, far: f32| (3.0 * near - 4.0 * next + far) / 2.0 * span;
    let rise = slope(from, top[SIDE - 2], top[SIDE - 3]);
    let fall = slope(to, top[top.len() - SIDE + 1], top[top.len() - SIDE + 2]);
    let end = top.len() - SIDE;
    for (at, sample) in top[SIDE..end].iter_mut().enumerate() {
        let t = (at + 1) as f32 / span;
        let (one, two) = (t * t * (3.0 - 2.0 * t), t * (1.0 - t));
        let drawn = from + (to - from) * one + two * ((1.0 - t) * rise + t * fall);
        if drawn.abs() > sample.abs() && (drawn < 0.0) == (*sample < 0.0) {
            *sample = drawn.clamp(-HIGHEST, HIGHEST);
        }
    }
}

/// Sound samples on either side.
const SIDE: usize = 3;
/// A converter's full scale is reached when a sample is this high: some stop a little short of 1.
const FULL: f32 = 0.985;
/// Samples; two at full scale may be chance.
const SHORTEST: usize = 3;
/// Samples: 5 ms, a tone of 50 Hz cut to a square. What is longer is no top of a wave.
const LONGEST: usize = RATE as usize / 200;
/// 6 dB above full scale: where slopes are wrong, the guess stays harmless.
const HIGHEST: f32 = 2.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn voice(samples: usize) -> Vec<f32> {
        let partials = [(140.0, 0.8), (280.0, 0.5), (420.0, 0.35), (1_260.0, 0.2), (2_300.0, 0.08)];
        let wave = |at: usize| -> f32 {
            let second = at as f32 / 48_000.0;
            let swell = 0.6 + 0.4 * (second * 11.0).sin();
            partials.iter().map(|(hertz, size)| size * (std::f32::consts::TAU * hertz * second).sin()).sum::<f32>()
                * swell
        };
        (0..samples).map(wave).collect()
    }

    /// Signal to distortion, dB.
    fn sdr(clean: &[f32], other: &[f32]) -> f64 {
        let power = |samples: &mut dyn Iterator<Item = f32>| samples.map(|s| f64::from(s * s)).sum::<f64>();
        let noise = power(&mut clean.iter().zip(other).map(|(a, b)| a - b));
        10.0 * (power(&mut clean.iter().copied()) / noise).log10()
    }

    fn declipped(samples: &[f32], piece: usize) -> Vec<f32> {
        let (mut declip, mut out) = (Declip::new(), Vec::new());
        for piece in samples.chunks(piece) {
            declip.push(piece, &mut out);
        }
        declip.finish(&mut out);
        out
    }

    #[test]
    fn clipped_speech_comes_nearer_to_what_was_said() {
        for over in [1.0, 1.3] {
            let clean: Vec<f32> = voice(96_000).iter().map(|sample| sample * over).collect();
            let clipped: Vec<f32> = clean.iter().map(|sample| sample.clamp(-1.0, 1.0)).collect();
            let mended = declipped(&clipped, 960);
            let (before, after) = (sdr(&clean, &clipped), sdr(&clean, &mended));
            assert!(after > before + 4.5, "{before} dB became {after} dB");
        }
    }

    #[test]
    fn what_is_not_clipped_passes_bit_by_bit_and_pieces_make_no_difference() {
        let soft: Vec<f32> = voice(20_000).iter().map(|sample| sample * 0.4).collect();
        assert!(declipped(&soft, 777) == soft);
        let hard: Vec<f32> = voice(20_000).iter().map(|sample| (sample * 2.0).clamp(-1.0, 1.0)).collect();
        let whole = declipped(&hard, 20_000);
        for piece in [1, 2, 3, 480] {
            let out = declipped(&hard, piece);
            assert_eq!(out.len(), hard.len());
            assert!(out == whole, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_square_wave_stays_one() {
        let square: Vec<f32> = (0..48_000).map(|at| if at / 480 % 2 == 0 { 1.0 } else { -1.0 }).collect();
        assert!(declipped(&square, 777) == square);
    }
}
