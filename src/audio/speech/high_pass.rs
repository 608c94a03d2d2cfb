//! Below a voice there is only hum, wind and footsteps, and a horn can't play them.
use crate::time::RATE;

/// Butterworth of the fourth order at 80 Hz: 24 dB per octave.
pub(super) struct HighPass {
    sections: [Section; 2],
}

#[derive(Clone, Copy)]
struct Section {
    /// The numerator is this × (1, −2, 1).
    b: f64,
    a: [f64; 2],
    state: [f64; 2],
}

impl HighPass {
    pub fn new() -> Self {
        // The two pairs of poles of the fourth order: 1 / (2 cos 22.5°) and 1 / (2 cos 67.5°).
        Self { sections: [0.541_196_1, 1.306_563].map(Section::new) }
    }

    pub fn push(&mut self, samples: &mut [f32]) {
        let [mut first, mut second] = self.sections;
        for sample in samples.iter_mut() {
            *sample = second.next(first.next(f64::from(*sample))) as f32;
        }
        first.settle();
        second.settle();
        self.sections = [first, second];
    }
}

impl Section {
    /// By the bilinear transform.
    fn new(quality: f64) -> Self {
        let k = (std::f64::consts::PI * CORNER / f64::from(RATE)).tan();
        let scale = 1.0 / (1.0 + k / quality + k * k);
        Self { b: scale, a: [2.0 * (k * k - 1.0) * scale, (1.0 - k / quality + k * k) * scale], state: [0.0; 2] }
    }

    fn next(&mut self, input: f64) -> f64 {
        let input = self.b * input;
        let output = input + self.state[0];
        self.state[0] = -2.0 * input - self.a[0] * output + self.state[1];
        self.state[1] = input - self.a[1] * output;
        output
    }

    /// What has decayed to nothing would slow the arithmetic down.
    fn settle(&mut self) {
        self.state = self.state.map(|value| if value.abs() < 1e-30 { 0.0 } else { value });
    }
}

/// Hz: the deepest voices begin at 85.
const CORNER: f64 = 80.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn gain(hertz: f64) -> f64 {
        let pace = std::f64::consts::TAU * hertz / 48_000.0;
        let mut samples: Vec<f32> = (0..96_000).map(|at| (pace * f64::from(at)).sin() as f32).collect();
        HighPass::new().push(&mut samples);
        let power = samples[48_000..].iter().map(|sample| f64::from(sample * sample)).sum::<f64>() / 48_000.0;
        10.0 * (2.0 * power).log10()
    }

    #[test]
    fn hum_falls_by_sixteen_decibels_and_a_voice_stays() {
        assert!(gain(50.0) < -16.0, "{}", gain(50.0));
        assert!(gain(25.0) < -38.0, "{}", gain(25.0));
        for hertz in [120.0, 200.0, 1_000.0, 8_000.0] {
            assert!(gain(hertz).abs() < 0.25, "{hertz} Hz: {}", gain(hertz));
        }
    }
}
