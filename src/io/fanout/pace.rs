//! How many sends may leave in a turn: the pace of all tracks of a shard together.
//!
//! Every bunch asks for the rate at which it would be through in half of its packet's duration. The
//! rates add up until then; a turn spends what they have earned since the turn before. What a late
//! wake has not sent is made up for at no more than twice the pace, so that a stall ends in no burst:
//! twice what the time since the last turn asks, or the time between turns of late if it is shorter. A
//! shard that is busy with its children for some milliseconds of each turn keeps its pace in larger turns.
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Pace {
    /// Sends a second that the bunches under way ask for, and the most of it since there was none.
    rate: u64,
    peak: u64,
    /// When which part of the rate ends.
    ends: BinaryHeap<Reverse<(Instant, u64)>>,
    /// Millionths of a send that were earned and not spent.
    credit: u64,
    earned: Instant,
    /// When the next turn is; the first is whenever something is there.
    due: Option<Instant>,
    /// When the last turn was, and how far apart turns are of late.
    turned: Option<Instant>,
    usual: Duration,
}

impl Pace {
    pub fn new(now: Instant) -> Self {
        Self { rate: 0, peak: 0, ends: BinaryHeap::new(), credit: 0, earned: now, due: None, turned: None, usual: REST }
    }

    /// So many sends shall be through in `within`; the first of them may leave at once.
    pub fn begin(&mut self, now: Instant, sends: usize, within: Duration) {
        self.earn(now);
        let rate = (sends as u64 * MILLION).div_ceil((within.as_micros() as u64).max(1));
        self.rate += rate;
        self.peak = self.peak.max(self.rate);
        self.credit += rate * REST.as_micros() as u64;
        self.ends.push(Reverse((now + within, rate)));
    }

    pub fn due(&self) -> Instant {
        self.due.unwrap_or(self.earned)
    }

    /// What this turn may send; none before it is due.
    pub fn turn(&mut self, now: Instant) -> usize {
        if self.due.is_some_and(|due| now < due) {
            return 0;
        }
        self.earn(now);
        let passed = self.turned.map_or(REST, |turned| now.saturating_duration_since(turned));
        let most = 2 * self.peak * passed.min(self.usual).max(REST).as_micros() as u64;
        (self.credit.min(most) / MILLION).max(LEAST as u64) as usize
    }

    pub fn spend(&mut self, now: Instant, sends: usize) {
        self.credit = self.credit.saturating_sub(sends as u64 * MILLION);
        self.due = Some(now + REST);
        if let Some(turned) = self.turned.replace(now) {
            self.usual = (3 * self.usual + now.saturating_duration_since(turned).clamp(REST, LONGEST_TURN)) / 4;
        }
    }

    /// Nothing is under way any more: what is left of the rates is nobody's.
    pub fn idle(&mut self) {
        (self.rate, self.peak, self.credit) = (0, 0, 0);
        (self.turned, self.usual) = (None, REST);
        self.ends.clear();
    }

    fn earn(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.earned).min(LONGEST).as_micros() as u64;
        self.earned = self.earned.max(now);
        self.credit = self.credit.saturating_add(self.rate.saturating_mul(passed));
        while let Some(&Reverse((end, rate))) = self.ends.peek()
            && end <= now
        {
            self.ends.pop();
            self.rate -= rate;
        }
    }
}

/// Between two turns: a wake costs as much as thirty sends where 5,000 listeners hear 240 ms packets
/// (`tools/compare icecast`).
pub(super) const REST: Duration = Duration::from_millis(2);
/// Sends in the smallest turn, for the same reason.
pub(super) const LEAST: usize = 160;
/// Counted of the time between two turns: children are read, handshakes made and packets sent for some
/// milliseconds each.
const LONGEST_TURN: Duration = Duration::from_millis(16);
/// A stall of which what was earned is still counted: the longest packet's.
const LONGEST: Duration = Duration::from_millis(480);
const MILLION: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns until `sends` are through: what each sent.
    fn run(pace: &mut Pace, began: Instant, mut sends: usize) -> Vec<usize> {
        let mut turns = Vec::new();
        let mut now = began;
        while sends > 0 {
            let turn = pace.turn(now).min(sends);
            pace.spend(now, turn);
            turns.push(turn);
            sends -= turn;
            now = pace.due();
        }
        turns
    }

    #[test]
    fn bunches_of_many_tracks_at_one_instant_share_one_even_pace() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        (0..200).for_each(|_| pace.begin(now, 50, Duration::from_millis(120)));
        let turns = run(&mut pace, now, 10_000);
        assert!((55..=60).contains(&turns.len()), "{} turns", turns.len());
        assert!(turns.iter().all(|turn| *turn <= 2 * 167), "{turns:?}");
    }

    #[test]
    fn a_stall_is_made_up_for_at_twice_the_pace_and_not_in_a_burst() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        pace.begin(now, 12_000, Duration::from_millis(120));
        pace.spend(now, 0);
        let late = now + Duration::from_millis(90);
        let turns = run(&mut pace, late, 12_000);
        assert!(turns.iter().all(|turn| *turn <= 400), "{turns:?}");
        assert!(turns[..20].iter().all(|turn| *turn == 400), "{turns:?}");
    }

    #[test]
    fn a_shard_that_is_long_busy_between_its_turns_keeps_its_pace() {
        let began = Instant::now();
        let mut pace = Pace::new(began);
        let mut now = began;
        for gaps in [[5, 5], [1, 9], [2, 12], [9, 1]] {
            let (begun, mut sent) = (now, 0);
            pace.begin(now, 50_000, Duration::from_millis(120));
            for gap in gaps.into_iter().cycle() {
                if now >= begun + Duration::from_millis(150) {
                    break;
                }
                let turn = pace.turn(now).min(50_000 - sent);
                pace.spend(now, turn);
                sent += turn;
                now += Duration::from_millis(gap);
            }
            assert_eq!(sent, 50_000, "{gaps:?} ms");
            pace.idle();
        }
    }

    #[test]
    fn nothing_earned_outlives_the_work_it_was_earned_for() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        pace.begin(now, 100_000, Duration::from_millis(100));
        pace.idle();
        assert_eq!(pace.turn(now + Duration::from_millis(50)), LEAST);
    }
}
