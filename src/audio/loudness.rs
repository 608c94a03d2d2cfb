//! Loudness as people hear it: ITU-R BS.1770-4 with the gates of EBU R128, of mono sound.

/// Samples of one step of measurement: 100 ms, a quarter of a gating block.
pub(super) const STEP: usize = crate::time::RATE as usize / 10;

/// K-weighting (ITU-R BS.1770-4 Annex 1, tables 1 and 2): a shelf for the head, a high-pass for the ear.
#[derive(Clone)]
pub(super) struct Weighting {
    shelf: [f64; 2],
    pass: [f64; 2],
}

impl Weighting {
    pub fn new() -> Self {
        Self { shelf: [0.0; 2], pass: [0.0; 2] }
    }

    /// Sum of the squares of these samples, weighted.
    pub fn energy(&mut self, samples: &[f32]) -> f64 {
        let (mut shelf, mut pass) = (self.shelf, self.pass);
        let mut sum = 0.0;
        for sample in samples {
            let sample = f64::from(*sample);
            let shelved = SHELF_B[0] * sample + shelf[0];
            shelf[0] = SHELF_B[1] * sample - SHELF_A[0] * shelved + shelf[1];
            shelf[1] = SHELF_B[2] * sample - SHELF_A[1] * shelved;
            let passed = shelved + pass[0];
            pass[0] = -2.0 * shelved - PASS_A[0] * passed + pass[1];
            pass[1] = shelved - PASS_A[1] * passed;
            sum += passed * passed;
        }
        // What has decayed to nothing would slow the arithmetic down.
        let settle = |value: f64| if value.abs() < 1e-30 { 0.0 } else { value };
        (self.shelf, self.pass) = (shelf.map(settle), pass.map(settle));
        sum
    }
}

const SHELF_B: [f64; 3] = [1.535_124_859_586_97, -2.691_696_189_406_38, 1.198_392_810_852_85];
const SHELF_A: [f64; 2] = [-1.690_659_293_182_41, 0.732_480_774_215_85];
const PASS_A: [f64; 2] = [-1.990_047_454_833_98, 0.990_072_250_366_21];

/// LUFS of a mean square of weighted samples.
pub(super) fn lufs(mean_square: f64) -> f64 {
    -0.691 + 10.0 * mean_square.log10()
}

/// Loudness of the whole: keeps 4 bytes per 100 ms for the gates, 576 kB at four hours.
pub(super) struct Loudness {
    weighting: Weighting,
    /// Mean squares of all whole steps.
    steps: Vec<f32>,
    sum: f64,
    count: usize,
}

impl Loudness {
    pub fn new() -> Self {
        Self { weighting: Weighting::new(), steps: Vec::new(), sum: 0.0, count: 0 }
    }

    pub fn push(&mut self, mut samples: &[f32]) {
        while !samples.is_empty() {
            let (now, later) = samples.split_at(samples.len().min(STEP - self.count));
            self.sum += self.weighting.energy(now);
            self.count += now.len();
            if self.count == STEP {
                self.steps.push((self.sum / STEP as f64) as f32);
                (self.sum, self.count) = (0.0, 0);
            }
            samples = later;
        }
    }

    /// Integrated, LUFS (EBU Tech 3341 §2.4); `None` for silence and for less than 0.4 s.
    pub fn integrated(&self) -> Option<f64> {
        integrated(&self.steps)
    }
}

/// Steps in a gating block.
pub(super) const BLOCK: usize = 4;
/// Mean square at the absolute gate of −70 LUFS.
const ABSOLUTE: f64 = 1.172_465_3e-7;

/// Over gating blocks of four steps each, one beginning with every step: those above −70 LUFS, and of these,
/// those above 10 LU below their mean.
pub(super) fn integrated(steps: &[f32]) -> Option<f64> {
    let blocks = || steps.windows(BLOCK).map(|block| block.iter().map(|step| f64::from(*step)).sum::<f64>() / 4.0);
    let mean_above = |gate: f64| {
        let (sum, count) = blocks().filter(|block| *block >= gate).fold((0.0, 0u32), |(s, n), b| (s + b, n + 1));
        (count > 0).then(|| sum / f64::from(count))
    };
    let relative = mean_above(ABSOLUTE)? / 10.0;
    mean_above(relative.max(ABSOLUTE)).map(lufs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebur128::{EbuR128, Mode};

    /// Voices, noise and pauses of many levels.
    fn programme(seed: u64, seconds: usize) -> Vec<f32> {
        let mut state = seed | 1;
        let mut level = 0.1f32;
        (0..seconds * 48_000)
            .map(|at| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                if at % 7_000 == 0 {
                    level = 10f32.powf(((state >> 20) % 60) as f32 / -20.0);
                }
                let noise = (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
                level * (0.4 * noise + 0.5 * (at as f32 * 0.02).sin() + 0.1 * (at as f32 * 0.4).sin())
            })
            .collect()
    }

    #[test]
    fn loudness_is_what_libebur128_measures() {
        for seed in 1..6 {
            let samples = programme(seed * 7_919, 12);
            let mut theirs = EbuR128::new(1, 48_000, Mode::I).unwrap();
            theirs.add_frames_f32(&samples).unwrap();
            let mut ours = Loudness::new();
            for piece in samples.chunks(777 + seed as usize) {
                ours.push(piece);
            }
            let (ours, theirs) = (ours.integrated().unwrap(), theirs.loudness_global().unwrap());
            assert!((ours - theirs).abs() < 0.005, "seed {seed}: {ours} LUFS, libebur128 {theirs}");
        }
    }

    #[test]
    fn silence_and_what_is_shorter_than_a_gating_block_have_no_loudness() {
        let mut silent = Loudness::new();
        silent.push(&[0.0; 48_000]);
        assert_eq!(silent.integrated(), None);
        let mut short = Loudness::new();
        short.push(&programme(3, 1)[..19_199]);
        assert_eq!(short.integrated(), None);
    }

    #[test]
    fn a_tone_of_997_hz_at_full_scale_has_minus_three_lufs() {
        let mut loudness = Loudness::new();
        let pace = std::f64::consts::TAU * 997.0 / 48_000.0;
        loudness.push(&(0..96_000).map(|at| (pace * f64::from(at)).sin() as f32).collect::<Vec<_>>());
        // Annex 1, note 1: −3.01 LKFS.
        assert!((loudness.integrated().unwrap() + 3.01).abs() < 0.01, "{:?}", loudness.integrated());
    }
}
