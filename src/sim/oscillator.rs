//! A node's oscillator: true time seen through a crystal that errs.

use crate::time::Local;
use std::f64::consts::TAU;

/// Maps true time (µs since the world began) to a node's `Local` and back.
#[derive(Clone, Copy, Debug)]
pub struct Oscillator {
    offset: i64,
    rate: f64,
    wander: f64,
    phase: f64,
}

impl Oscillator {
    /// Reads `offset` at true time 0 and runs `ppm` fast; `wander` ppm more or less over
    /// [`WANDER_PERIOD`], as a crystal does that warms and cools. Both together below 1,000 ppm.
    pub fn new(offset: i64, ppm: f64, wander: f64, phase: f64) -> Self {
        Self { offset, rate: ppm * 1e-6, wander: wander * 1e-6, phase: phase * TAU }
    }

    pub fn local(&self, at: i64) -> Local {
        Local(self.offset + at + self.error(at).round() as i64)
    }

    /// The first true time, in whole µs, at which the oscillator shows `local` or later.
    pub fn reaches(&self, local: Local) -> i64 {
        let elapsed = local.0.saturating_sub(self.offset);
        // One division is within a few µs per hour of wander; the steps below make it exact.
        let mut at = elapsed - self.error(elapsed).round() as i64;
        at = elapsed - self.error(at).round() as i64;
        while self.local(at) < local {
            at += 1;
        }
        while self.local(at - 1) >= local {
            at -= 1;
        }
        at
    }

    /// µs by which the oscillator is ahead.
    fn error(&self, at: i64) -> f64 {
        let at = at as f64;
        // The integral of wander × sin(2πt / period + phase).
        let turn = TAU / WANDER_PERIOD;
        let swing = self.wander / turn * (self.phase.cos() - (at * turn + self.phase).cos());
        at * self.rate + swing
    }
}

/// µs: a cabinet in the sun warms and cools over some minutes as clouds pass.
const WANDER_PERIOD: f64 = 600e6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_oscillator_gains_its_parts_per_million() {
        let oscillator = Oscillator::new(5_000, 100.0, 0.0, 0.0);
        assert_eq!(oscillator.local(0), Local(5_000));
        assert_eq!(oscillator.local(600_000_000), Local(5_000 + 600_000_000 + 60_000));
    }

    #[test]
    fn the_inverse_is_the_first_microsecond_that_reaches_it() {
        for (ppm, wander) in [(0.0, 0.0), (100.0, 0.0), (-100.0, 3.0), (37.5, 10.0)] {
            let oscillator = Oscillator::new(-77, ppm, wander, 0.3);
            for at in (0..2_000).map(|step| step * 1_234_567) {
                let local = oscillator.local(at) + 1;
                let reached = oscillator.reaches(local);
                assert!(oscillator.local(reached) >= local && oscillator.local(reached - 1) < local);
            }
        }
    }

    #[test]
    fn wander_comes_back_after_its_period() {
        let oscillator = Oscillator::new(0, 0.0, 5.0, 0.25);
        assert!((oscillator.local(600_000_000).0 - 600_000_000).abs() <= 1);
        assert!((oscillator.local(300_000_000).0 - 300_000_000).abs() <= 1_000);
    }
}
