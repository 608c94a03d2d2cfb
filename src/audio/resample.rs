//! The two resamplers: any rate to 48 kHz, once, where sound enters; and by parts per million at the
//! speaker, where the sound card's clock is never quite 48 kHz.
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Adjustable, Async, FixedAsync, Resampler, Resizable, SincInterpolationParameters, SincInterpolationType,
    WindowFunction,
};

#[cfg(feature = "full")]
mod fixed;

#[cfg(feature = "full")]
pub(super) use fixed::ToPlayoutRate;

/// Input samples to one call of [`ToDevice::push`], at most.
pub(super) const STEP: usize = 480;

/// Taps of the speaker's filter: flat to 15 kHz, where Opus at 24 kb/s ends at 12 and horns at 8.
const TAPS: usize = 32;
/// Places between two samples for which the filter is kept; a straight line between them errs by
/// less than 16 bits do.
const PHASES: usize = 256;
/// Of the resampler's own ratio; beyond what [`ToDevice::push`] lets through.
const WIDEST: f64 = 1.012;
/// Resamples to a sound card's clock by a ratio that may change with each step.
///
/// `rubato` alone loses up to |Δratio| of a frame at each change, because the part of a frame that a
/// step leaves over is counted at the next step's ratio; over an hour of changes that adds up. So
/// this keeps the plan's own sum and steers the next step by what the last ones left: the error stays
/// below a hundredth of a frame and never adds up.
pub(super) struct ToDevice {
    resampler: Async<f32>,
    output: Vec<f32>,
    /// Device frames planned (the sum of count × ratio) less those given. The difference alone is
    /// kept, so that it stays exact however long the device runs.
    owed: f64,
    /// Content of the last frame given: its place in the resampler, in samples before (below zero)
    /// the end of all content so far.
    place: f64,
    /// The same less where the plan has that frame.
    error: f64,
}

impl ToDevice {
    /// Device frames from a sample's place in the plan to the same place in the output: half the filter
    /// and one frame for the interpolation (less 1/256 of one, 0.1 µs).
    pub const LATENCY: usize = TAPS / 2 + 1;

    pub fn new() -> Self {
        let parameters = SincInterpolationParameters::new(TAPS, WindowFunction::Hann2)
            .oversampling_factor(PHASES)
            .interpolation(SincInterpolationType::Linear);
        let resampler = Async::new_sinc(1.0, WIDEST, &parameters, STEP, 1, FixedAsync::Input)
            .expect("the ratio, its bound and the step are above zero");
        let output = vec![0.0; resampler.output_frames_max()];
        let mut this = Self { resampler, output, owed: 0.0, place: -1.0, error: 0.0 };
        // One step of silence fills the filter, so that from the first step on as many frames come
        // out as the plan says.
        process(&mut this.resampler, &[0.0; STEP], &mut this.output);
        this
    }

    /// At most [`STEP`] samples; `ratio` within 1 ± 0.005.
    pub fn push(&mut self, samples: &[f32], ratio: f64, out: &mut Vec<f32>) {
        if samples.is_empty() {
            return;
        }
        let count = samples.len() as f64;
        // The step's frames then advance through `count - error` samples and end where they should.
        let steered = (ratio * count / (count - self.error)).clamp(1.0 / WIDEST, WIDEST);
        let set = self
            .resampler
            .set_chunk_size(samples.len())
            .and_then(|()| self.resampler.set_resample_ratio(steered, false));
        debug_assert!(set.is_ok(), "ratio {steered} and count {count} are within bounds");
        let produced = process(&mut self.resampler, samples, &mut self.output);
        out.extend_from_slice(&self.output[..produced]);
        let produced = produced as f64;
        self.place += produced / steered - count;
        self.owed += count * ratio - produced;
        // The last frame given begins `owed + 1` frames before the end of the plan.
        self.error = self.place + (self.owed + 1.0) / ratio;
    }
}

fn process(resampler: &mut impl Resampler<f32>, input: &[f32], output: &mut [f32]) -> usize {
    let frames = output.len();
    let (Ok(input), Ok(mut target)) =
        (InterleavedSlice::new(input, 1, input.len()), InterleavedSlice::new_mut(output, 1, frames))
    else {
        return 0;
    };
    let produced = resampler.process_into_buffer(&input, &mut target, None);
    debug_assert!(produced.is_ok(), "buffers have the lengths that the resampler asked for");
    produced.map_or(0, |(_, frames)| frames)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    /// Ratios that wander and jump within what a plan may say.
    fn ratio(step: usize) -> f64 {
        let wander = 300e-6 * (step as f64 / 700.0).sin();
        let jump = [0.0, 1_000e-6, -1_500e-6, 200e-6, -300e-6][step * 7 % 5];
        1.0 + wander + if step.is_multiple_of(3) { jump } else { 0.0 }
    }

    #[test]
    fn output_follows_the_plan_within_a_frame_over_ten_minutes_of_changing_ratios() {
        let mut device = ToDevice::new();
        let (mut planned, mut given, mut out) = (0.0, 0u64, Vec::new());
        let (mut least, mut most) = (f64::MAX, f64::MIN);
        for step in 0..60_000 {
            out.clear();
            device.push(&[0.0; STEP], ratio(step), &mut out);
            planned += STEP as f64 * ratio(step);
            given += out.len() as u64;
            least = least.min(planned - given as f64);
            most = most.max(planned - given as f64);
            assert!(device.error.abs() < 0.01, "step {step}: {}", device.error);
        }
        assert!(least > -0.02 && most < 1.02, "{least} to {most}");
    }

    /// Largest distance between what comes out and what the plan puts there, for a tone whose phase
    /// tells which content a frame is; in samples of content.
    fn misplaced(hertz: f64, ratio: impl Fn(usize) -> f64) -> f64 {
        let mut device = ToDevice::new();
        let pace = TAU * hertz / 48_000.0;
        let (mut out, mut begins) = (Vec::new(), vec![0.0]);
        for step in 0..1_000 {
            let content: Vec<f32> = (0..STEP).map(|at| (pace * (step * STEP + at) as f64).sin() as f32).collect();
            device.push(&content, ratio(step), &mut out);
            begins.push(begins[step] + STEP as f64 * ratio(step));
        }
        let mut worst = 0.0f64;
        for (frame, sample) in out.iter().enumerate().skip(ToDevice::LATENCY + STEP) {
            let place = (frame - ToDevice::LATENCY) as f64;
            let step = begins.partition_point(|begin| *begin <= place) - 1;
            let content = (step * STEP) as f64 + (place - begins[step]) / ratio(step);
            worst = worst.max((f64::from(*sample) - (pace * content).sin()).abs());
        }
        worst / pace
    }

    #[test]
    fn every_frame_is_the_content_that_the_plan_puts_there() {
        for hertz in [440.0, 3_000.0, 10_000.0] {
            let steady = misplaced(hertz, |_| 1.0003);
            assert!(steady < 0.015, "{hertz} Hz: {steady} samples");
            let slow = misplaced(hertz, |step| 1.0 + 300e-6 * (step as f64 / 300.0).sin());
            assert!(slow < 0.015, "{hertz} Hz: {slow} samples");
            // The filter spans 17 samples before and after a jump of 0.15 %.
            let jumping = misplaced(hertz, ratio);
            assert!(jumping < 0.05, "{hertz} Hz: {jumping} samples");
        }
    }

    #[test]
    fn the_delay_at_the_speaker_is_the_constant_named() {
        let mut device = ToDevice::new();
        let mut out = Vec::new();
        let mut content = [0.0; STEP];
        content[100] = 1.0;
        device.push(&content, 1.0, &mut out);
        assert_eq!(out.len(), STEP);
        let centre = out.iter().enumerate().map(|(at, sample)| at as f64 * f64::from(*sample)).sum::<f64>();
        let mass = out.iter().map(|sample| f64::from(*sample)).sum::<f64>();
        assert!((mass - 1.0).abs() < 1e-3, "{mass}");
        let delay = centre / mass - 100.0;
        assert!((delay - ToDevice::LATENCY as f64).abs() < 0.01, "{delay}");
    }

    #[test]
    fn steps_of_any_length_keep_their_place() {
        let mut device = ToDevice::new();
        let (mut out, mut taken) = (Vec::new(), 0);
        for count in [1, 480, 7, 64, 65, 66, 129, 1, 1, 2, 480, 479].into_iter().cycle().take(600) {
            let ramp: Vec<f32> = (0..count).map(|at| (taken + at) as f32 / 1e6).collect();
            device.push(&ramp, 1.0, &mut out);
            taken += count;
            assert!(out.len().abs_diff(taken) <= 1);
        }
        let place = out.len() - 500;
        assert!((f64::from(out[place]) * 1e6 - (place - ToDevice::LATENCY) as f64).abs() < 0.5);
    }

    #[test]
    fn any_rate_comes_out_at_its_length_and_in_its_place() {
        for rate in [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 47_999, 48_000, 88_200, 96_000, 176_400, 192_000] {
            for length in [1, 2, 1_000, rate as usize / 3 + 1] {
                let mut resampler = ToPlayoutRate::new(rate);
                let wave = |seconds: f64| (TAU * 1_000.0 * seconds).sin() * 0.5;
                let input: Vec<f32> = (0..length).map(|at| wave(at as f64 / f64::from(rate)) as f32).collect();
                let mut out = Vec::new();
                for piece in input.chunks(777) {
                    resampler.push(piece, &mut out);
                }
                resampler.finish(&mut out);
                let exact = (length as f64 * 48_000.0 / f64::from(rate)).round() as usize;
                assert_eq!(out.len(), exact, "{length} samples at {rate} Hz");
                assert_eq!(ToPlayoutRate::length(rate.into(), length as u64), exact as u64);
                // Away from the ends, where the wave begins and stops.
                let edge = 4_800;
                for (at, sample) in out.iter().enumerate().take(exact.saturating_sub(edge)).skip(edge) {
                    let error = f64::from(*sample) - wave(at as f64 / 48_000.0);
                    assert!(error.abs() < 1e-3, "{rate} Hz, sample {at}: off by {error}");
                }
            }
        }
    }
}
