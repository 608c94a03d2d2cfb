//! A modelled sound card: its frame counter runs with the machine's monotonic clock times
//! 48,000 × (1 + error), and exactly the frames that are due leave it.
use super::feed::{Feed, Line};
use crate::audio::Step;
use crate::playout::Device;
use crate::time::{Local, RATE};

pub struct Card {
    pub line: Line,
    pub feed: Feed,
}

impl Card {
    pub fn new(start: Local, error_ppm: f64) -> Self {
        let rate = f64::from(RATE) * (1.0 + error_ppm * 1e-6) / 1e6;
        Self { line: Line { at: start, frame: 0.0, rate }, feed: Feed::new() }
    }

    pub fn report(&self, now: Local) -> Device {
        Device { at: now, played: self.line.frame(now), inserted: self.feed.inserted, steps: self.feed.steps }
    }

    /// Lets out exactly the frames that are due: of the plan, or of silence where it has none.
    pub fn advance(&mut self, now: Local, out: &mut Vec<f32>, next: impl FnMut() -> Option<Step>) {
        let due = self.line.frame(now) as u64;
        // A thread that was held up for long must not fill memory with what nobody will hear.
        let mut left = usize::try_from(due.saturating_sub(self.feed.out)).unwrap_or(usize::MAX);
        if left > LONGEST_GAP {
            self.feed.pass((left - LONGEST_GAP) as u64);
            left = LONGEST_GAP;
        }
        let sounded = self.feed.sound(left, &self.line, out, next);
        self.feed.silence(left - sounded, out);
    }
}

/// Frames let out in one go: a second.
pub const LONGEST_GAP: usize = RATE as usize;
