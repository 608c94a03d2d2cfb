//! Phase: this node's estimate of the origin's time, from four timestamps per exchange.
use crate::session::Exchange;
use crate::time::{Civil, Local};

/// A line from local to civil time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Phase {
    pub at: Local,
    pub civil: Civil,
    /// Civil µs per local µs, minus one.
    pub skew: f64,
    /// µs; the parent's included.
    pub uncertainty: u64,
}

impl Phase {
    /// An origin's: its own wall clock.
    pub fn of_origin(at: Local, civil: Civil, uncertainty: u64) -> Self {
        Self { at, civil, skew: 0.0, uncertainty }
    }

    pub fn civil(&self, local: Local) -> Civil {
        let elapsed = local - self.at;
        self.civil + elapsed + (elapsed as f64 * self.skew).round() as i64
    }

    pub fn local(&self, civil: Civil) -> Local {
        self.at + ((civil - self.civil) as f64 / (1.0 + self.skew)).round() as i64
    }
}

/// Lower envelope per direction with a skew fit. After acquisition (≥ 4 exchanges) the phase given
/// out never jumps: it slews at ≤ 500 ppm towards the fit.
#[derive(Debug, Default)]
pub struct Clock {}

impl Clock {
    pub fn new() -> Self {
        todo!()
    }

    /// Ignores an exchange whose round trip is negative or over 10 s.
    pub fn handle_exchange(&mut self, _now: Local, _exchange: Exchange) {
        todo!()
    }

    /// Another parent: forgets the samples, keeps the phase given out and slews from it (steps only
    /// when more than 50 ms off).
    pub fn handle_new_parent(&mut self, _now: Local) {
        todo!()
    }

    /// `None` until acquired. The same line for equal `now`; continuous in `now`.
    pub fn phase(&self, _now: Local) -> Option<Phase> {
        todo!()
    }

    pub fn exchanges(&self) -> u64 {
        todo!()
    }
}
