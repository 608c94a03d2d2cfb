//! The world that the tests of this room run in: true time, oscillators, exchanges, sound cards.
use super::Clock;
use crate::session::Exchange;
use crate::time::{Civil, Local};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Shortest one-way delay and the jitter above it, µs.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    pub delay: i64,
    pub jitter: i64,
}

/// DESIGN §11: 50 ms of jitter.
pub const ACROSS: Path = Path { delay: 20_000, jitter: 50_000 };

/// True time is µs since the world began.
pub struct World {
    random: ChaCha8Rng,
}

/// A node's clock.
#[derive(Clone, Copy, Debug)]
pub struct Oscillator {
    pub start: i64,
    pub ppm: f64,
}

impl Oscillator {
    pub fn local(&self, time: i64) -> Local {
        Local(self.start + time + (time as f64 * self.ppm * 1e-6).round() as i64)
    }
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self { random: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// Evenly from 0 to `below`, exclusive.
    pub fn below(&mut self, below: i64) -> i64 {
        if below <= 0 { 0 } else { (self.random.next_u64() % below as u64) as i64 }
    }

    /// Evenly within ±`reach`.
    pub fn within(&mut self, reach: f64) -> f64 {
        (self.random.next_u64() as f64 / u64::MAX as f64 * 2.0 - 1.0) * reach
    }

    /// Any start, any rate within ±100 ppm.
    pub fn oscillator(&mut self) -> Oscillator {
        Oscillator { start: self.below(1_000_000_000_000), ppm: self.within(100.0) }
    }

    pub fn civil(&self, time: i64) -> Civil {
        Civil(1_700_000_000_000_000 + time)
    }

    /// One exchange begun at `time` with a parent that knows the time; handed to `clock` when it
    /// has come back.
    pub fn exchange(&mut self, clock: &mut Clock, node: &Oscillator, time: i64, path: Path) {
        let answer = |time| (self_civil(time), 0);
        self.exchange_with(clock, node, time, path, answer);
    }

    /// With any parent: `answer` gives its phase time and uncertainty. Returns when it was back.
    pub fn exchange_with(
        &mut self,
        clock: &mut Clock,
        node: &Oscillator,
        time: i64,
        path: Path,
        answer: impl Fn(i64) -> (Civil, u64),
    ) -> i64 {
        let there = time + path.delay + self.below(path.jitter);
        let back = there + 100 + path.delay + self.below(path.jitter);
        let (parent_received, _) = answer(there);
        let (parent_sent, parent_uncertainty) = answer(there + 100);
        let received = node.local(back);
        let exchange = Exchange { sent: node.local(time), parent_received, parent_sent, received, parent_uncertainty };
        clock.handle_exchange(received, exchange);
        back
    }
}

fn self_civil(time: i64) -> Civil {
    Civil(1_700_000_000_000_000 + time)
}
