//! The level of what leaves a device: sample peak and RMS second by second, and sound that should be
//! there and is not.
//!
//! Contract: pure; time is counted in frames. After every `push`, drain `poll`.
use crate::time::{RATE, micros};
use std::collections::VecDeque;

/// Levels of one second, dBFS: of full scale, so that a sine at full scale has a peak of 0 and an RMS
/// of −3. Never below [`Reading::FLOOR`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    pub peak: f32,
    pub rms: f32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Metered {
    /// Once for every second of frames.
    Level(Reading),
    /// Sound should have been leaving for [`Meter::PATIENCE`] and was below [`Meter::SILENT`] throughout.
    Silent,
    /// The end of it: sound leaves again (`heard`), or none is due any more. `lasted`: µs in all.
    Over { heard: bool, lasted: i64 },
}

/// One device's meter.
#[derive(Debug, Default)]
pub struct Meter {
    second: Span,
    block: Span,
    /// Frames of silence in a row where sound was due, and whether that has been said.
    quiet: u64,
    silent: bool,
    metered: VecDeque<Metered>,
}

impl Reading {
    /// dBFS: below what 16 bits can say.
    pub const FLOOR: f32 = -100.0;
}

impl Meter {
    /// dBFS, RMS of a block: far below a whispered word, and a click does not lift a block above it.
    pub const SILENT: f32 = -60.0;
    /// µs: no speaker pauses for so long.
    pub const PATIENCE: i64 = 5_000_000;

    pub fn new() -> Self {
        Self::default()
    }

    /// Frames that left, in order; `due`: a broadcast should be sounding in them.
    pub fn push(&mut self, frames: &[f32], due: bool) {
        let mut rest = frames;
        while !rest.is_empty() {
            let room = (BLOCK - self.block.frames).min(rest.len());
            let (now, later) = rest.split_at(room);
            rest = later;
            self.block.add(now, due);
            if self.block.frames == BLOCK {
                let block = std::mem::take(&mut self.block);
                self.judge(&block);
                self.second.join(&block);
            }
            if self.second.frames >= RATE as usize {
                let second = std::mem::take(&mut self.second);
                self.say(Metered::Level(second.reading()));
            }
        }
    }

    pub fn poll(&mut self) -> Option<Metered> {
        self.metered.pop_front()
    }

    fn judge(&mut self, block: &Span) {
        let heard = block.reading().rms >= Self::SILENT;
        if block.due && !heard {
            self.quiet += block.frames as u64;
            if !self.silent && micros(self.quiet) >= Self::PATIENCE {
                self.silent = true;
                self.say(Metered::Silent);
            }
            return;
        }
        if self.silent {
            self.say(Metered::Over { heard, lasted: micros(self.quiet) });
        }
        (self.quiet, self.silent) = (0, false);
    }

    fn say(&mut self, metered: Metered) {
        // For a caller that does not drain: the newest matter most.
        if self.metered.len() >= MOST {
            self.metered.pop_front();
        }
        self.metered.push_back(metered);
    }
}

/// A run of frames, summed up.
#[derive(Debug, Default)]
struct Span {
    frames: usize,
    peak: f32,
    squares: f64,
    due: bool,
}

impl Span {
    fn add(&mut self, frames: &[f32], due: bool) {
        self.frames += frames.len();
        self.due |= due;
        for frame in frames.iter().filter(|frame| frame.is_finite()) {
            self.peak = self.peak.max(frame.abs());
            self.squares += f64::from(*frame).powi(2);
        }
    }

    fn join(&mut self, other: &Self) {
        self.frames += other.frames;
        self.due |= other.due;
        self.peak = self.peak.max(other.peak);
        self.squares += other.squares;
    }

    fn reading(&self) -> Reading {
        let decibels = |power: f64| ((10.0 * power.log10()) as f32).max(Reading::FLOOR);
        let rms = decibels(self.squares / self.frames.max(1) as f64);
        Reading { peak: decibels(f64::from(self.peak).powi(2)), rms }
    }
}

/// Frames judged at once: 100 ms, so that a click is not taken for sound.
const BLOCK: usize = RATE as usize / 10;
/// What waits to be polled: a minute of readings.
const MOST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(seconds: f64, gain: f32) -> Vec<f32> {
        let angle = std::f64::consts::TAU * 1_000.0 / f64::from(RATE);
        (0..(seconds * f64::from(RATE)) as usize).map(|at| gain * (at as f64 * angle).sin() as f32).collect()
    }

    /// What comes of `frames` pushed in pieces as a sound thread has them.
    fn push(meter: &mut Meter, frames: &[f32], due: bool) -> Vec<Metered> {
        let mut metered = Vec::new();
        for piece in frames.chunks(481) {
            meter.push(piece, due);
            metered.extend(std::iter::from_fn(|| meter.poll()));
        }
        metered
    }

    fn troubles(metered: Vec<Metered>) -> Vec<Metered> {
        metered.into_iter().filter(|metered| !matches!(metered, Metered::Level(_))).collect()
    }

    #[test]
    fn a_second_of_a_sine_reads_its_peak_and_three_decibels_less() {
        for (gain, peak) in [(1.0, 0.0), (0.1, -20.0), (0.001, -60.0)] {
            let metered = push(&mut Meter::new(), &sine(1.0, gain), true);
            let [Metered::Level(reading)] = metered[..] else { panic!("{metered:?}") };
            assert!((reading.peak - peak).abs() < 0.01, "{reading:?}");
            assert!((reading.rms - (peak - 3.0103)).abs() < 0.01, "{reading:?}");
        }
    }

    #[test]
    fn silence_reads_the_floor_and_every_second_is_read_by_itself() {
        let mut meter = Meter::new();
        let frames = [sine(1.0, 0.5), vec![0.0; RATE as usize], sine(1.0, 0.5)].concat();
        let readings = push(&mut meter, &frames, false);
        let peaks: Vec<f32> = readings
            .iter()
            .map(|metered| match metered {
                Metered::Level(reading) => reading.peak.round(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(peaks, [-6.0, -100.0, -6.0]);
    }

    #[test]
    fn silence_where_sound_is_due_is_said_once_after_five_seconds_and_so_is_its_end() {
        let mut meter = Meter::new();
        assert_eq!(troubles(push(&mut meter, &sine(3.0, 0.3), true)), []);
        assert_eq!(troubles(push(&mut meter, &sine(4.9, 0.0005), true)), []);
        assert_eq!(troubles(push(&mut meter, &sine(0.1, 0.0005), true)), [Metered::Silent]);
        assert_eq!(troubles(push(&mut meter, &sine(20.0, 0.0), true)), []);
        let over = Metered::Over { heard: true, lasted: 25_000_000 };
        assert_eq!(troubles(push(&mut meter, &sine(1.0, 0.3), true)), [over]);
    }

    #[test]
    fn silence_where_no_sound_is_due_is_as_it_should_be_and_ends_a_silence_that_was_said() {
        let mut meter = Meter::new();
        assert_eq!(troubles(push(&mut meter, &sine(60.0, 0.0), false)), []);
        assert_eq!(troubles(push(&mut meter, &sine(6.0, 0.0), true)), [Metered::Silent]);
        let over = Metered::Over { heard: false, lasted: 6_000_000 };
        assert_eq!(troubles(push(&mut meter, &sine(6.0, 0.0), false)), [over]);
    }

    #[test]
    fn a_pause_between_two_sentences_is_no_silence_and_a_click_is_no_sound() {
        let mut meter = Meter::new();
        for _ in 0..10 {
            assert_eq!(troubles(push(&mut meter, &sine(4.5, 0.0), true)), []);
            assert_eq!(troubles(push(&mut meter, &sine(0.5, 0.1), true)), []);
        }
        let mut clicks = vec![0.0; 6 * RATE as usize];
        clicks.iter_mut().step_by(RATE as usize).for_each(|click| *click = 0.05);
        assert_eq!(troubles(push(&mut meter, &clicks, true)), [Metered::Silent]);
    }

    #[test]
    fn what_is_no_number_is_not_measured() {
        let metered = push(&mut Meter::new(), &vec![f32::NAN; RATE as usize], false);
        assert_eq!(metered, [Metered::Level(Reading { peak: Reading::FLOOR, rms: Reading::FLOOR })]);
    }
}
