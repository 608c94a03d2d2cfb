//! Sound for a run: enough like speech that the encoder has its usual work, and the same in each run.
use std::f32::consts::TAU;
use std::path::Path;

/// Mono, 16 bits, 16 kHz: voiced syllables with pauses and hiss between.
pub fn write(file: &Path, seconds: f64) -> Result<(), hound::Error> {
    let spec =
        hound::WavSpec { channels: 1, sample_rate: RATE, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut writer = hound::WavWriter::create(file, spec)?;
    let samples = (seconds * f64::from(RATE)).ceil() as u64;
    let mut voice = Voice { noise: 1, phase: 0.0, pitch: 120.0, syllable: 0 };
    for at in 0..samples {
        writer.write_sample(voice.next(at))?;
    }
    writer.finalize()
}

struct Voice {
    noise: u32,
    phase: f32,
    pitch: f32,
    syllable: u64,
}

impl Voice {
    fn next(&mut self, at: u64) -> i16 {
        let place = at % SYLLABLE;
        if place == 0 {
            self.syllable = at / SYLLABLE;
            self.pitch = 95.0 + (self.random() % 80) as f32;
        }
        let loud = (place as f32 / SYLLABLE as f32 * TAU / 2.0).sin();
        let hiss = (self.random() as i32 >> 16) as f32 / 32_768.0;
        // After every dozen syllables comes a breath.
        if self.syllable % 12 >= 10 {
            return (hiss * 60.0) as i16;
        }
        self.phase = (self.phase + self.pitch / RATE as f32).fract();
        let formant = 3.0 + (self.syllable * 7 % 5) as f32;
        let voiced = (self.phase * TAU).sin()
            + 0.6 * (self.phase * TAU * 2.0).sin()
            + 0.5 * (self.phase * TAU * formant).sin()
            + 0.3 * (self.phase * TAU * (formant * 3.0)).sin();
        ((voiced * 3_500.0 + hiss * 500.0) * loud) as i16
    }

    /// Numerical Recipes' generator: the same hiss in each run.
    fn random(&mut self) -> u32 {
        self.noise = self.noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.noise
    }
}

const RATE: u32 = 16_000;
/// Five a second.
const SYLLABLE: u64 = RATE as u64 / 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sound_lasts_as_long_as_asked_and_is_neither_silent_nor_clipped() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.wav");
        write(&file, 5.0).unwrap();
        let samples: Vec<i16> = hound::WavReader::open(&file).unwrap().samples().map(Result::unwrap).collect();
        assert_eq!(samples.len(), 80_000);
        let peak = samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
        assert!((2_000..30_000).contains(&peak), "{peak}");
        let quiet = samples.iter().filter(|sample| sample.unsigned_abs() < 100).count();
        assert!((5_000..60_000).contains(&quiet), "{quiet}");
    }
}
