//! One direction of a path between two nodes: what becomes of each packet, and when it arrives.
//!
//! Media and datagrams are lost, delayed, overtaken, repeated and damaged. Streams (control, bulk)
//! are QUIC's: nothing is lost and nothing damaged, but a lost segment holds back itself and all
//! behind it until it has been sent again.

use super::Random;
use std::collections::VecDeque;

/// What a direction does to packets. Times in µs.
#[derive(Clone, Debug, PartialEq)]
pub struct Conditions {
    /// Every packet takes this long and between nothing and `jitter` more, uniformly.
    pub delay: i64,
    pub jitter: i64,
    /// Share of packets lost at random.
    pub loss: f64,
    /// Gilbert–Elliott's bad state, in which everything is lost.
    pub bursts: Option<Bursts>,
    /// Share of packets held back by `late_by` more, so that others overtake them.
    pub late: f64,
    pub late_by: i64,
    pub duplicate: f64,
    /// Share of bare packets with one bit flipped. What QUIC carries would fail its tag: lost.
    pub corrupt: f64,
    /// Bytes per second, and the bytes that may wait for it; more are dropped.
    pub rate: Option<u64>,
    pub queue: u64,
}

/// Gilbert–Elliott's two states by their sojourn times: good ones exponential, bad ones bounded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bursts {
    /// Mean µs from the end of one to the begin of the next.
    pub apart: i64,
    /// Mean length, and the longest.
    pub mean: i64,
    pub longest: i64,
}

impl Conditions {
    /// Loses nothing.
    pub const fn clean(delay: i64, jitter: i64) -> Self {
        Self {
            delay,
            jitter,
            loss: 0.0,
            bursts: None,
            late: 0.0,
            late_by: 0,
            duplicate: 0.0,
            corrupt: 0.0,
            rate: None,
            queue: 64 * 1024,
        }
    }

    /// The last hop of DESIGN §11: 10 % at random, 100 ms there and back, 50 ms jitter, bursts of
    /// 200 ms in the mean and 400 ms at most.
    pub const fn last_hop() -> Self {
        let bursts = Bursts { apart: 25_000_000, mean: 200_000, longest: 400_000 };
        Self { loss: 0.10, bursts: Some(bursts), ..Self::clean(50_000, 50_000) }
    }

    /// Everything above the last hop there: 1 %.
    pub const fn backbone() -> Self {
        Self { loss: 0.01, ..Self::clean(20_000, 5_000) }
    }
}

/// What becomes of one packet: when it arrives, once or twice or not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    pub arrivals: [Option<i64>; 2],
    pub corrupt: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub sent: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub corrupted: u64,
    /// Dropped because the queue of the rate limit was full.
    pub overflowed: u64,
    /// Segments of streams that had to be sent again.
    pub resent: u64,
}

/// One direction, with its memory.
#[derive(Clone, Debug)]
pub struct Direction {
    conditions: Conditions,
    random: Random,
    weather: Random,
    /// Bad states drawn so far that still matter, and the time up to which they are drawn.
    bursts: VecDeque<(i64, i64)>,
    drawn: i64,
    cuts: Vec<(i64, i64)>,
    /// When the rate limit has sent everything that waits.
    free: i64,
    counters: Counters,
}

impl Direction {
    pub fn new(conditions: Conditions, seed: u64, number: u64) -> Self {
        Self {
            conditions,
            random: Random::of(seed, "network", number),
            weather: Random::of(seed, "weather", number),
            bursts: VecDeque::new(),
            drawn: 0,
            cuts: Vec::new(),
            free: 0,
            counters: Counters::default(),
        }
    }

    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// From now on; what is under way arrives as it would have.
    pub fn change(&mut self, now: i64, conditions: Conditions) {
        self.bursts.clear();
        self.drawn = now;
        self.free = now;
        self.conditions = conditions;
    }

    /// Nothing passes in `[from, until)`.
    pub fn cut(&mut self, from: i64, until: i64) {
        self.cuts.push((from, until));
    }

    /// A bare packet or a QUIC datagram.
    pub fn packet(&mut self, now: i64, length: usize) -> Fate {
        self.counters.sent += 1;
        let lost = !self.passes(now, now);
        let Some(leaves) = self.queue(now, length) else {
            self.counters.overflowed += 1;
            return Fate::default();
        };
        // Every packet takes the same draws, whatever becomes of it.
        let first = leaves + self.travel();
        let again = self.random.chance(self.conditions.duplicate).then(|| leaves + self.travel());
        let corrupt = self.random.chance(self.conditions.corrupt);
        if lost {
            self.counters.lost += 1;
            return Fate::default();
        }
        self.counters.duplicated += u64::from(again.is_some());
        self.counters.corrupted += u64::from(corrupt);
        Fate { arrivals: [Some(first), again], corrupt }
    }

    /// One message of a stream: when its last segment arrives. `None`: not within [`PATIENCE`].
    pub fn message(&mut self, now: i64, length: usize) -> Option<i64> {
        let mut last = now;
        let mut left = length.max(1);
        while left > 0 {
            let segment = left.min(SEGMENT);
            left -= segment;
            last = last.max(self.segment(now, segment)?);
        }
        Some(last)
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn segment(&mut self, now: i64, length: usize) -> Option<i64> {
        let mut at = now;
        let mut leaves = self.queue(now, length);
        loop {
            if let (Some(leaves), true) = (leaves, self.passes(now, at)) {
                return Some(leaves.max(at) + self.travel());
            }
            self.counters.resent += 1;
            let wait = 2 * self.conditions.delay + self.conditions.jitter + self.jitter();
            at += wait.max(SHORTEST_RESEND);
            if at - now > PATIENCE {
                return None;
            }
            // What found the queue full finds it as it drains; what was lost has been through it.
            leaves = leaves.or((self.free <= at).then_some(at));
        }
    }

    /// When the rate limit lets these bytes go; `None` if they find no room.
    fn queue(&mut self, now: i64, length: usize) -> Option<i64> {
        let Some(rate) = self.conditions.rate else { return Some(now) };
        let rate = rate.max(1);
        let begins = self.free.max(now);
        let waiting = (begins - now) as u128 * u128::from(rate) / 1_000_000;
        if waiting + length as u128 > u128::from(self.conditions.queue) {
            return None;
        }
        self.free = begins + (length as u128 * 1_000_000 / u128::from(rate)) as i64;
        Some(self.free)
    }

    /// Whether what is sent at `at` (now or later) gets through.
    fn passes(&mut self, now: i64, at: i64) -> bool {
        let lost = self.random.chance(self.conditions.loss);
        let cut = self.cuts.iter().any(|(from, until)| (*from..*until).contains(&at));
        !(lost | cut | self.is_bad(now, at))
    }

    fn is_bad(&mut self, now: i64, at: i64) -> bool {
        let Some(bursts) = self.conditions.bursts else { return false };
        while self.drawn <= at {
            let from = self.drawn + self.weather.exponential(bursts.apart as f64) as i64;
            let until = from + self.burst_length(bursts);
            self.bursts.push_back((from, until));
            self.drawn = until;
        }
        while self.bursts.front().is_some_and(|(_, until)| *until <= now) {
            self.bursts.pop_front();
        }
        self.bursts.iter().any(|(from, until)| (*from..*until).contains(&at))
    }

    /// Exponential lengths cut at the longest would miss their mean; where the mean is half of the
    /// longest or more, the flat distribution that has it is taken instead.
    fn burst_length(&mut self, bursts: Bursts) -> i64 {
        if bursts.mean * 2 >= bursts.longest {
            let shortest = (2 * bursts.mean - bursts.longest).max(0);
            return self.weather.between(shortest as f64, bursts.longest as f64) as i64;
        }
        (self.weather.exponential(bursts.mean as f64) as i64).min(bursts.longest)
    }

    fn travel(&mut self) -> i64 {
        let late = if self.random.chance(self.conditions.late) { self.conditions.late_by } else { 0 };
        self.conditions.delay + late + self.jitter()
    }

    fn jitter(&mut self) -> i64 {
        self.random.below(self.conditions.jitter.max(0) as u64 + 1) as i64
    }
}

/// Bytes of stream in one QUIC packet on any path.
const SEGMENT: usize = 1_200;
/// µs: QUIC's timer granularity (RFC 9002 §6.1.2); nothing is sent again faster.
const SHORTEST_RESEND: i64 = 1_000;
/// µs: the idle timeout of a connection. What has not got through by then never will.
pub const PATIENCE: i64 = 30_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn direction(conditions: Conditions) -> Direction {
        Direction::new(conditions, 1, 1)
    }

    #[test]
    fn a_clean_path_delays_and_loses_nothing() {
        let mut path = direction(Conditions::clean(50_000, 50_000));
        for at in (0..1_000).map(|n| n * 10_000) {
            let Fate { arrivals: [Some(arrival), None], corrupt: false } = path.packet(at, 800) else { panic!() };
            assert!((at + 50_000..=at + 100_000).contains(&arrival));
        }
        assert_eq!(path.counters(), Counters { sent: 1_000, ..Counters::default() });
    }

    #[test]
    fn random_loss_has_the_share_that_was_asked_for() {
        let mut path = direction(Conditions { loss: 0.1, ..Conditions::clean(1_000, 0) });
        for at in 0..100_000 {
            path.packet(at * 100, 100);
        }
        assert!((9_500..10_500).contains(&path.counters().lost), "{:?}", path.counters());
    }

    #[test]
    fn bursts_have_their_mean_and_their_longest() {
        let bursts = Bursts { apart: 2_000_000, mean: 200_000, longest: 400_000 };
        let mut path = direction(Conditions { bursts: Some(bursts), ..Conditions::clean(0, 0) });
        let (mut runs, mut run) = (Vec::new(), 0);
        for at in 0..2_000_000i64 {
            if path.packet(at * 1_000, 100).arrivals[0].is_none() {
                run += 1;
            } else if run > 0 {
                runs.push(std::mem::take(&mut run));
            }
        }
        let mean = runs.iter().sum::<i64>() as f64 / runs.len() as f64;
        assert!(runs.iter().all(|run| *run <= 401), "{runs:?}");
        assert!((180.0..220.0).contains(&mean), "{mean} ms over {} bursts", runs.len());
        assert!((750..1_100).contains(&runs.len()), "{}", runs.len());
    }

    #[test]
    fn a_lost_segment_delays_a_message_and_a_cut_holds_it_until_it_ends() {
        let mut path = direction(Conditions::clean(50_000, 0));
        assert_eq!(path.message(0, 5_000), Some(50_000));
        path.cut(1_000_000, 5_000_000);
        let arrival = path.message(1_000_000, 10).expect("within the idle timeout");
        assert!((5_050_000..5_200_000).contains(&arrival), "{arrival}");
        path.cut(10_000_000, 50_000_000);
        assert_eq!(path.message(10_000_000, 10), None);
        let mut lossy = direction(Conditions { loss: 0.5, ..Conditions::clean(50_000, 0) });
        assert!((0..100).all(|_| lossy.message(0, 10).is_some_and(|at| (at - 50_000) % 100_000 == 0)));
        assert!(lossy.counters().resent > 50);
    }

    #[test]
    fn a_rate_limit_spaces_packets_and_drops_what_its_queue_cannot_hold() {
        let mut path = direction(Conditions { rate: Some(100_000), queue: 2_000, ..Conditions::clean(0, 0) });
        let arrivals: Vec<_> = (0..5).map(|_| path.packet(0, 1_000).arrivals[0]).collect();
        assert_eq!(arrivals, [Some(10_000), Some(20_000), None, None, None]);
        assert_eq!(path.counters().overflowed, 3);
        assert_eq!(path.packet(20_000, 1_000).arrivals[0], Some(30_000));
    }

    #[test]
    fn packets_are_overtaken_repeated_and_damaged_as_asked() {
        let conditions =
            Conditions { late: 0.1, late_by: 5_000, duplicate: 0.1, corrupt: 0.1, ..Conditions::clean(1_000, 0) };
        let mut path = direction(conditions);
        let fates: Vec<_> = (0..10_000).map(|n| path.packet(n * 1_000, 100)).collect();
        let overtaken = fates.windows(2).filter(|pair| pair[0].arrivals[0] > pair[1].arrivals[0]).count();
        for (name, count) in [
            ("overtaken", overtaken),
            ("duplicated", path.counters().duplicated as usize),
            ("corrupted", path.counters().corrupted as usize),
        ] {
            assert!((700..1_200).contains(&count), "{name}: {count}");
        }
    }
}
