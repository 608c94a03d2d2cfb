//! Civil time and phase of one node (DESIGN §5).
//!
//! A root origin follows its wall clock, slewing. Everybody else takes phase from the parent, and trusts
//! it as civil time once a signed tick has come that does not contradict it.

use crate::playout::{Clock, Phase};
use crate::session::{Exchange, Line};
use crate::time::{Civil, Local, SECOND};

pub(super) struct Time {
    root: bool,
    wall: Option<Phase>,
    clock: Clock,
    /// The latest signed time, and when it was heard: civil time is never before it.
    floor: Option<Civil>,
    /// A tick has been verified since the start.
    ticked: bool,
}

impl Time {
    pub fn new(root: bool) -> Self {
        Self { root, wall: None, clock: Clock::new(), floor: None, ticked: false }
    }

    /// The wall clock of a root origin. Returns by how many µs it was stepped under us, if it was.
    pub fn handle_wall(&mut self, now: Local, civil: Civil, uncertainty: u64) -> Option<i64> {
        if !self.root {
            return None;
        }
        let Some(line) = self.wall else {
            // What was said before a restart is not taken back.
            let civil = self.floor.map_or(civil, |floor| floor.max(civil));
            self.wall = Some(Phase::of_origin(now, civil, uncertainty));
            return None;
        };
        let given = line.civil(now);
        let behind = civil - given;
        let skew = (behind as f64 / SLEW_OVER as f64).clamp(-MAX_SLEW, MAX_SLEW);
        let uncertainty = uncertainty + behind.unsigned_abs();
        self.wall = Some(Phase { at: now, civil: given, skew, uncertainty });
        (behind.abs() > STEP).then_some(behind)
    }

    pub fn handle_exchange(&mut self, now: Local, exchange: Exchange, line: Line) {
        self.clock.handle_exchange_with_line(now, exchange, line);
    }

    pub fn handle_new_parent(&mut self, now: Local) {
        self.clock.handle_new_parent(now);
    }

    /// A verified signed time: a lower bound. `tick`: it came in a tick, which also vouches for phase.
    pub fn handle_signed(&mut self, time: Civil, tick: bool) {
        self.floor = self.floor.max(Some(time));
        self.ticked |= tick;
    }

    pub fn phase(&self, now: Local) -> Option<Phase> {
        if self.root { self.wall } else { self.clock.phase(now) }
    }

    /// `None` until trusted, and while phase lags signed time by more than [`DISAGREE`].
    pub fn civil(&self, now: Local) -> Option<Civil> {
        let civil = self.phase(now)?.civil(now);
        match self.floor {
            _ if self.root => Some(civil),
            Some(floor) if self.ticked && floor - civil <= DISAGREE => Some(civil.max(floor)),
            _ => None,
        }
    }
}

/// A wall clock's error is worked off over ten seconds …
const SLEW_OVER: i64 = 10 * SECOND;
/// … at 500 ppm at most (DESIGN §5).
const MAX_SLEW: f64 = 500e-6;
/// An error that NTP would not leave standing: somebody set the clock.
const STEP: i64 = SECOND;
/// Phase and signed time may differ by the uncertainty of a bad path; more is a parent that lies.
const DISAGREE: i64 = SECOND;
