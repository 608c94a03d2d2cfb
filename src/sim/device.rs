//! A modelled sound card: takes steps in, lets them out on a clock of its own, and writes down when.

use super::Tracks;
use crate::audio::{Content, Step};
use crate::playout;
use crate::time::{Local, RATE};
use uuid::Uuid;

/// One run of samples as a loudspeaker let it out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heard {
    pub what: What,
    /// Of sound and of what was concealed.
    pub track: Option<Uuid>,
    /// First sample: of the track, or of the tone.
    pub sample: u64,
    pub count: u32,
    /// When the first sample left, µs of true time with a fraction, and how long all of them took.
    pub left: f64,
    pub lasts: f64,
    /// Strongest gain within.
    pub gain: f32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    Silence,
    Tone,
    Sound,
    Concealed,
}

/// What a plan must never do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Steps whose number was not the one expected.
    pub misnumbered: u64,
    /// Steps that sounded what no source ever made.
    pub alien: u64,
    /// Steps of no samples, or with a ratio beyond 1 ± 0.002.
    pub misshapen: u64,
}

impl Faults {
    pub fn plus(self, other: Self) -> Self {
        Self {
            misnumbered: self.misnumbered + other.misnumbered,
            alien: self.alien + other.alien,
            misshapen: self.misshapen + other.misshapen,
        }
    }
}

/// One card. It never stops: where no step is there in time, silence goes out by the period.
#[derive(Debug)]
pub(super) struct Device {
    start: i64,
    /// Frames per µs of true time.
    rate: f64,
    /// Frame at which the next step will leave.
    end: f64,
    inserted: u64,
    steps: u64,
    /// The packet last compared with what its maker recorded.
    compared: Option<(Uuid, u64)>,
    pub faults: Faults,
}

impl Device {
    pub fn new(start: i64, ppm: f64) -> Self {
        Self {
            start,
            rate: f64::from(RATE) * 1e-6 * (1.0 + ppm * 1e-6),
            end: 0.0,
            inserted: 0,
            steps: 0,
            compared: None,
            faults: Faults::default(),
        }
    }

    pub fn report(&mut self, now: i64, local: Local) -> playout::Device {
        self.fill(now);
        playout::Device { at: local, played: self.played(now), inserted: self.inserted, steps: self.steps }
    }

    /// Takes a step into the queue; says when it will leave.
    pub fn take(&mut self, now: i64, step: &Step, tracks: &Tracks) -> Heard {
        self.fill(now);
        self.faults.misnumbered += u64::from(step.number != self.steps);
        self.faults.misshapen += u64::from(step.count == 0 || !(0.998..=1.002).contains(&step.ratio));
        self.steps += 1;
        let length = f64::from(step.count) * step.ratio;
        let left = self.start as f64 + self.end / self.rate;
        self.end += length;
        let (what, track, sample) = match &step.content {
            Content::Silence => (What::Silence, None, 0),
            Content::Tone { from, .. } => (What::Tone, None, *from),
            Content::Sound { track, sound, from } => {
                if self.compared != Some((*track, sound.index)) {
                    self.compared = Some((*track, sound.index));
                    self.faults.alien += u64::from(!tracks.recorded(*track, sound));
                }
                (What::Sound, Some(*track), tracks.sample(*track, sound.index, *from))
            }
            Content::Conceal { track, index, from } => {
                (What::Concealed, Some(*track), tracks.sample(*track, *index, *from))
            }
        };
        let gain = step.gain.from.max(step.gain.to);
        Heard { what, track, sample, count: step.count, left, lasts: length / self.rate, gain }
    }

    fn played(&self, now: i64) -> f64 {
        (now - self.start) as f64 * self.rate
    }

    fn fill(&mut self, now: i64) {
        let missing = self.played(now) - self.end;
        if missing > 0.0 {
            let frames = (missing / PERIOD).ceil() * PERIOD;
            self.inserted += frames as u64;
            self.end += frames;
        }
    }
}

/// Frames that a card fetches at once: 5 ms.
const PERIOD: f64 = 240.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Gain;

    fn silence(number: u64) -> Step {
        Step { number, content: Content::Silence, count: 480, ratio: 1.0, gain: Gain { from: 0.0, to: 0.0 }, at: 0.0 }
    }

    #[test]
    fn a_fast_card_lets_more_frames_out() {
        let mut device = Device::new(1_000, 100.0);
        let report = device.report(1_001_000, Local(5));
        assert!((report.played - 48_004.8).abs() < 1e-6);
        assert!(report.inserted as f64 >= report.played && report.inserted.is_multiple_of(240));
        assert_eq!((report.at, report.steps), (Local(5), 0));
    }

    #[test]
    fn steps_follow_each_other_without_a_gap_and_wrong_numbers_are_counted() {
        let mut device = Device::new(0, 0.0);
        let tracks = Tracks::default();
        let first = device.take(0, &silence(0), &tracks);
        let second = device.take(0, &silence(1), &tracks);
        assert!((second.left - first.left - 10_000.0).abs() < 1e-6);
        assert_eq!(device.faults, Faults::default());
        let third = device.take(50_000, &silence(1), &tracks);
        assert!((third.left - first.left - 50_000.0).abs() < 1e-6, "silence until it came: {third:?}");
        assert_eq!(device.faults.misnumbered, 1);
    }
}
