//! What a parent may spend on repairing one track for one child, and which requests it has seen.
use crate::time::Local;
use std::collections::VecDeque;
use uuid::Uuid;

/// The repair budget of one track: a bucket that refills at a share of the media rate.
#[derive(Debug)]
pub struct Ration {
    pub track: Uuid,
    /// Bytes; may not go below 0.
    tokens: f64,
    capacity: f64,
    /// Bytes per µs.
    refill: f64,
    at: Local,
    /// The child listens no more; kept until it is full again, so that nothing is won by leaving and coming.
    pub left: bool,
    /// Requests of the last moments, oldest first: (when, index, round).
    seen: VecDeque<(Local, u64, u32)>,
}

/// How often to send an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Twice,
    Once,
    Never,
}

impl Ration {
    /// `rate`: media bytes per second; `share` of it over `window` µs may go into repair. A track
    /// whose rate is not known (0) gets nothing.
    pub fn new(now: Local, track: Uuid, rate: u32, share: f64, window: i64) -> Self {
        let mut ration =
            Self { track, tokens: 0.0, capacity: 0.0, refill: 0.0, at: now, left: false, seen: VecDeque::new() };
        ration.set(now, rate, share, window);
        ration.tokens = ration.capacity;
        ration
    }

    /// Changes the rate; what was spent stays spent.
    pub fn set(&mut self, now: Local, rate: u32, share: f64, window: i64) {
        self.fill(now);
        let spent = self.capacity - self.tokens;
        self.refill = share * rate as f64 / 1e6;
        self.capacity = if rate == 0 { 0.0 } else { (self.refill * window as f64).max(CAPACITY_LEAST) };
        self.tokens = (self.capacity - spent).max(0.0);
    }

    /// The child listens no more. What it was given when it came is charged now.
    pub fn leave(&mut self, now: Local) {
        self.fill(now);
        (self.tokens, self.left, self.seen) = (0.0, true, VecDeque::new());
    }

    pub fn is_full(&mut self, now: Local) -> bool {
        self.fill(now);
        self.tokens >= self.capacity
    }

    /// Takes `bytes` for what is sent once, if they are there.
    pub fn afford(&mut self, now: Local, bytes: usize) -> bool {
        self.fill(now);
        let may = bytes as f64 <= self.tokens;
        if may {
            self.tokens -= bytes as f64;
        }
        may
    }

    /// Takes what an answer of `bytes` costs.
    pub fn spend(&mut self, now: Local, bytes: usize) -> Verdict {
        self.fill(now);
        let cost = bytes as f64;
        let verdict = match self.tokens {
            tokens if tokens < cost => return Verdict::Never,
            tokens if tokens < self.capacity / 2.0 || tokens < 2.0 * cost => Verdict::Once,
            _ => Verdict::Twice,
        };
        self.tokens -= if verdict == Verdict::Twice { 2.0 * cost } else { cost };
        verdict
    }

    /// Whether this request is new: neither the second copy of one, nor overtaken by a later round.
    pub fn is_new(&mut self, now: Local, index: u64, round: u32) -> bool {
        self.forget_old(now);
        if let Some((at, _, newest)) = self.seen.iter_mut().find(|(_, seen, _)| *seen == index) {
            let ahead = round.wrapping_sub(*newest) as i32;
            if ahead > 0 {
                (*at, *newest) = (now, round);
            }
            return ahead > 0;
        }
        if self.seen.len() == SEEN {
            self.seen.pop_front();
        }
        self.seen.push_back((now, index, round));
        true
    }

    /// Frees what only a busy moment needs.
    pub fn forget_old(&mut self, now: Local) {
        self.seen.retain(|(at, _, _)| now - *at < SEEN_FOR);
        if self.seen.is_empty() && self.seen.capacity() > 0 {
            self.seen = VecDeque::new();
        }
    }

    #[cfg(test)]
    pub fn memory(&self) -> usize {
        self.seen.capacity() * size_of::<(Local, u64, u32)>()
    }

    fn fill(&mut self, now: Local) {
        let elapsed = (now - self.at).max(0) as f64;
        self.tokens = (self.tokens + elapsed * self.refill).min(self.capacity);
        self.at = self.at.max(now);
    }
}

/// Two packets of the greatest length, twice: less could not repair anything.
const CAPACITY_LEAST: f64 = 4.0 * crate::track::MAX_PACKET as f64;
/// A copy comes 20 ms after its request, a jitter of some hundred apart.
const SEEN_FOR: i64 = 500_000;
/// Requests remembered: what the limit on indices lets through in `SEEN_FOR`.
const SEEN: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SECOND;

    fn ration() -> Ration {
        Ration::new(Local(0), Uuid::nil(), 3_750, 0.4, 10 * SECOND)
    }

    #[test]
    fn answers_go_twice_then_once_then_not_at_all() {
        let mut ration = ration();
        let verdicts: Vec<_> = (0..20).map(|_| ration.spend(Local(0), 900)).collect();
        // 15,000 bytes: twice while at least half is there.
        let count = |verdict| verdicts.iter().filter(|one| **one == verdict).count();
        assert_eq!((count(Verdict::Twice), count(Verdict::Once)), (5, 6));
        assert!(verdicts.is_sorted_by_key(|verdict| *verdict as u8));
    }

    #[test]
    fn the_budget_refills_at_its_share_of_the_media_rate() {
        let mut ration = ration();
        let mut spent = 0;
        for now in 0..1_000 {
            spent += match ration.spend(Local(now * 100_000), 900) {
                Verdict::Twice => 1_800,
                Verdict::Once => 900,
                Verdict::Never => 0,
            };
        }
        let allowed = 15_000.0 + 0.4 * 3_750.0 * 100.0;
        assert!((0.95..=1.0).contains(&(spent as f64 / allowed)), "{spent} of {allowed}");
    }

    #[test]
    fn the_second_copy_of_a_request_is_not_new_and_neither_is_an_overtaken_one() {
        let mut ration = ration();
        assert!(ration.is_new(Local(0), 7, u32::MAX));
        assert!(!ration.is_new(Local(20_000), 7, u32::MAX));
        assert!(ration.is_new(Local(100_000), 7, 0));
        assert!(!ration.is_new(Local(110_000), 7, u32::MAX));
        assert!(ration.is_new(Local(110_000), 8, u32::MAX));
    }

    #[test]
    fn an_idle_ration_holds_no_buffer() {
        let mut ration = ration();
        (0..1_000).for_each(|index| assert!(ration.is_new(Local(0), index, 1)));
        assert!(ration.seen.len() <= SEEN);
        ration.forget_old(Local(SECOND));
        assert_eq!(ration.seen.capacity(), 0);
    }
}
