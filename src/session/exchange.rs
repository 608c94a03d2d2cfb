//! Clock exchanges: four timestamps (RFC 5905 §8, without its filters), and when to begin one. The
//! same datagrams keep the link alive and carry the child's report.
use super::child::Options;
use crate::time::{Civil, Local, MILLISECOND, SECOND};
use std::collections::VecDeque;

/// What a child learns from one `Beat` and its `Echo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// When the child sent (its oscillator).
    pub sent: Local,
    /// When the parent received and answered (its phase time).
    pub parent_received: Civil,
    pub parent_sent: Civil,
    /// When the answer arrived (child's oscillator).
    pub received: Local,
    /// µs, the parent's own.
    pub parent_uncertainty: u64,
}

/// A node's phase against its own oscillator.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Line {
    /// `civil − local`, µs.
    pub offset: i64,
    /// Civil µs per local µs, minus one.
    pub skew: f64,
}

/// What a parent tells of its time when it answers a beat.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Told {
    pub civil: Civil,
    /// µs.
    pub uncertainty: u64,
    /// Of `civil`, at the same instant.
    pub line: Line,
}

/// µs between the beats of a session that began `age` µs ago: `quick` until `settle`, then in proportion
/// to the age, up to `slow`. A skew is known the better the longer the baseline, so the gaps may grow
/// with it; measured with 50 ms of jitter, 1 Hz and then a beat each 10 s leave speakers 1.5 ms apart at
/// p99, this 0.6 ms.
pub fn spacing(age: i64, quick: i64, settle: i64, slow: i64) -> i64 {
    let grown = i128::from(age.max(0)) * i128::from(quick) / i128::from(settle.max(1));
    i64::try_from(grown).unwrap_or(slow).clamp(quick, slow.max(quick))
}

/// How this child spares a parent that has many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowd {
    /// How long it waits before it first asks for a repair, µs.
    pub wait: i64,
    /// It asks once, not twice, even for what is surely lost, and ever more rarely.
    pub vast: bool,
}

/// Decides when a child sends a beat, and when its parent counts as silent.
#[derive(Debug)]
pub struct Pulse {
    options: Options,
    began: Local,
    joining: u32,
    /// The next beat of the schedule, and the next one at all: earlier when an echo stays out.
    regular: Local,
    next: Local,
    pinged: Local,
    /// Beats without echo, oldest first.
    open: VecDeque<Local>,
    heard: Local,
    round_trip: Option<i64>,
    /// µs between beats that the parent asks for at least; 0 while it has few children.
    asked: i64,
}

/// Why a beat goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// One of the quick ones at join: for the clock alone.
    Join,
    Regular,
}

impl Pulse {
    #[cfg(test)]
    pub fn memory(&self) -> usize {
        self.open.capacity() * size_of::<Local>()
    }

    pub fn new(now: Local, options: Options) -> Self {
        Self {
            options,
            began: now,
            joining: options.join_exchanges,
            regular: now,
            next: now,
            pinged: Local(i64::MIN),
            open: VecDeque::new(),
            heard: now,
            round_trip: None,
            asked: 0,
        }
    }

    pub fn poll_timeout(&self) -> Local {
        self.next.min(self.silent_at())
    }

    /// The beat that is due, if any: send it with `now`.
    pub fn poll_beat(&mut self, now: Local) -> Option<Beat> {
        (self.next <= now).then(|| self.beat(now))
    }

    /// A beat now, out of turn.
    pub fn beat(&mut self, now: Local) -> Beat {
        if self.open.len() == OPEN {
            self.open.pop_front();
        }
        self.open.push_back(now);
        if self.joining > 0 {
            self.joining -= 1;
            let last = self.joining == 0;
            // A busy parent gets the first four as quickly as any, since they give a first phase.
            let quick = self.options.join_exchanges.saturating_sub(self.joining) < FIRST_PHASE;
            let spread = if quick { 0 } else { self.asked / SHARE };
            self.regular = now + if last { self.interval(now) } else { self.options.join_spacing.max(spread) };
            self.next = self.regular;
            return Beat::Join;
        }
        if self.regular <= now {
            self.regular = now + self.interval(now);
        }
        // A single lost datagram must not look like a dead parent: ask again soon.
        let again = self.round_trip.map_or(AGAIN, |round_trip| round_trip.saturating_mul(2)).clamp(AGAIN, SECOND);
        self.next = self.regular.min(now + again.max(self.asked / TRIES));
        Beat::Regular
    }

    /// Whether a ping may go now (at most one a second); if so, a beat is due at once, or soon.
    pub fn ping(&mut self, now: Local) -> bool {
        let may = self.may_ping_at() <= now;
        if may {
            self.pinged = now;
            self.hurry(now);
        }
        may
    }

    pub fn may_ping_at(&self) -> Local {
        self.pinged + SECOND.max(self.asked)
    }

    /// What can't wait for the next beat. What stirs one child of a busy parent stirs all of them: they
    /// then spread over a share of what lies between their beats, each by the microsecond of its join.
    pub fn hurry(&mut self, now: Local) {
        let place = self.began.0.rem_euclid(PLACES);
        self.next = self.next.min(now + self.asked / HURRY * place / PLACES);
    }

    /// The parent asks to be left alone for so long between two beats.
    pub fn handle_asked(&mut self, now: Local, every: u64) {
        self.asked = i64::try_from(every).unwrap_or(i64::MAX).min(self.options.slow);
        if self.joining == 0 {
            self.regular = self.regular.min(now + self.interval(now));
            self.next = self.regular;
        }
    }

    /// Where the parent asks its children to spare it.
    pub fn crowd(&self) -> Option<Crowd> {
        let place = self.began.0.rem_euclid(PLACES);
        let wait = (self.asked / REPAIRS).min(REPAIRS_MOST) * place / PLACES;
        (self.asked > 0).then_some(Crowd { wait, vast: self.asked >= VAST })
    }

    /// When the beat was sent that this echo answers; `None` for a duplicate or an invention.
    pub fn handle_echo(&mut self, now: Local, origin: Local) -> Option<Local> {
        let at = self.open.iter().position(|sent| *sent == origin)?;
        self.open.remove(at);
        let sample = (now - origin).max(0);
        // RFC 6298 §2.
        self.round_trip = Some(self.round_trip.map_or(sample, |smooth| smooth + (sample - smooth) / 8));
        self.handle_heard(now);
        if self.joining == 0 {
            self.next = self.regular;
        }
        Some(origin)
    }

    /// The parent answered that it has no time yet: the exchanges of the join are still to come.
    pub fn handle_unsynced(&mut self, now: Local) {
        self.joining = self.options.join_exchanges;
        self.regular = now + AGAIN.max(self.asked);
        self.next = self.regular;
    }

    /// The parent is alive: something came from it that only it can send.
    pub fn handle_heard(&mut self, now: Local) {
        self.heard = self.heard.max(now);
    }

    pub fn is_silent(&self, now: Local) -> bool {
        self.silent_at() <= now
    }

    pub fn round_trip(&self) -> Option<i64> {
        self.round_trip
    }

    fn silent_at(&self) -> Local {
        let interval = self.interval(self.heard).max(SECOND);
        self.heard + interval.saturating_mul(self.options.missed_beats.max(1) as i64)
    }

    fn interval(&self, at: Local) -> i64 {
        spacing(at - self.began, self.options.quick, self.options.settle, self.options.slow).max(self.asked)
    }
}

/// A beat without echo is repeated after this, or after two round trips if that is longer: at 10 %
/// loss both ways some dozen tries then fall into the three seconds after which a parent is silent.
const AGAIN: i64 = 250 * MILLISECOND;
/// A beat without echo is repeated at most so often before the next one is due: a parent that is late
/// with its answers must not be asked ever more.
const TRIES: i64 = 4;
/// Of what a busy parent asks to lie between beats: so far apart are the exchanges of the join beyond the first.
const SHARE: i64 = 4;
/// Over so much of it the children spread what would come from all at once: twice the beats that it bears, for as
/// long as whatever stirred them lasts.
const HURRY: i64 = 2;
/// Over such a part of it, and so many µs at most, they spread their first requests for a packet that all lack:
/// the default playout delay of a second leaves two rounds after it.
const REPAIRS: i64 = 64;
const REPAIRS_MOST: i64 = 100 * MILLISECOND;
/// What 12,000 children are asked for by a parent that bears 4,000 beats a second: of more, requests for a packet that
/// the parent has dropped for all of them are a load of their own.
const VAST: i64 = 3 * SECOND;
/// A clock makes its first guess of four exchanges (`playout::Clock`).
const FIRST_PHASE: u32 = 4;
/// Places among which children spread; the low digits of a microsecond are as good as random.
const PLACES: i64 = 1_000;
/// Beats remembered: at join one leaves every 20 ms, so this spans round trips of over a second.
const OPEN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// Beats of `seconds`, each answered after `round_trip` µs if `answered` says so of its number.
    fn run(seconds: i64, round_trip: i64, answered: impl Fn(usize) -> bool) -> (Vec<i64>, Option<Local>) {
        let mut pulse = Pulse::new(Local(0), Options::default());
        let (mut beats, mut echoes) = (Vec::new(), VecDeque::new());
        let mut now = Local(0);
        while now < Local(seconds * SECOND) {
            if pulse.is_silent(now) {
                return (beats, Some(now));
            }
            while echoes.front().is_some_and(|(at, _)| *at <= now) {
                let (_, origin) = echoes.pop_front().unwrap();
                assert_eq!(pulse.handle_echo(now, origin), Some(origin));
            }
            if pulse.poll_beat(now).is_some() {
                if answered(beats.len()) {
                    echoes.push_back((now + round_trip, now));
                }
                beats.push(now.0);
            }
            now = echoes.front().map_or(pulse.poll_timeout(), |(at, _)| pulse.poll_timeout().min(*at));
        }
        (beats, None)
    }

    #[test]
    fn sixteen_exchanges_at_join_then_five_a_second_then_ever_fewer() {
        let (beats, silent) = run(4_000, 100_000, |_| true);
        assert_eq!(silent, None);
        assert!(beats[..16].windows(2).all(|pair| pair[1] - pair[0] == 20_000));
        let after =
            |from: i64, until: i64| beats.iter().filter(|at| (from * SECOND..until * SECOND).contains(*at)).count();
        assert_eq!(after(10, 30), 100);
        assert!((100..=105).contains(&after(360, 480)), "about one in 1.2 s: {}", after(360, 480));
        assert_eq!(after(3_700, 3_800), 10);
    }

    #[test]
    fn a_parent_that_never_answers_is_silent_after_three_seconds() {
        assert_eq!(run(300, 0, |_| false).1, Some(Local(3 * SECOND)));
    }

    #[test]
    fn lost_beats_are_repeated_before_the_parent_counts_as_silent() {
        let (beats, silent) = run(600, 100_000, |number| number < 16 || number % 5 == 0);
        assert_eq!(silent, None);
        assert!(beats.len() > 300, "{} beats", beats.len());
    }

    #[test]
    fn an_echo_counts_once_and_only_for_a_beat_that_was_sent() {
        let mut pulse = Pulse::new(Local(0), Options::default());
        assert_eq!(pulse.poll_beat(Local(0)), Some(Beat::Join));
        assert_eq!(pulse.handle_echo(Local(70_000), Local(5)), None);
        assert_eq!(pulse.handle_echo(Local(80_000), Local(0)), Some(Local(0)));
        assert_eq!(pulse.handle_echo(Local(90_000), Local(0)), None);
        assert_eq!(pulse.round_trip(), Some(80_000));
    }

    #[test]
    fn a_busy_parent_is_left_alone_for_as_long_as_it_asks_but_never_for_longer_than_the_slowest_beat() {
        let mut pulse = Pulse::new(Local(0), Options::default());
        let mut beats = Vec::new();
        while beats.last().is_none_or(|at| *at < 100 * SECOND) {
            let now = pulse.poll_timeout();
            assert!(!pulse.is_silent(now) && pulse.poll_beat(now).is_some());
            pulse.handle_echo(now, now);
            pulse.handle_asked(now, if now < Local(50 * SECOND) { 2_000_000 } else { u64::MAX });
            beats.push(now.0);
        }
        let gap = |at: usize| beats[at + 1] - beats[at];
        // Four quick ones give a first phase; the other exchanges of the join are spread.
        assert_eq!((gap(0), gap(2), gap(3), gap(14), gap(16)), (20_000, 20_000, 500_000, 500_000, 2_000_000));
        assert_eq!(gap(beats.len() - 2), 10 * SECOND);
    }

    #[test]
    fn what_stirs_all_children_of_a_busy_parent_comes_spread() {
        let mut beats: Vec<i64> = (0..1_000)
            .map(|number| {
                let mut pulse = Pulse::new(Local(number * 7), Options { join_exchanges: 0, ..Options::default() });
                pulse.beat(Local(SECOND));
                pulse.handle_echo(Local(SECOND), Local(SECOND));
                pulse.handle_asked(Local(SECOND), 10_000_000);
                let now = pulse.poll_timeout();
                pulse.beat(now);
                pulse.handle_echo(now, now);
                assert!(pulse.ping(now) && !pulse.ping(now + 4 * SECOND));
                pulse.poll_timeout() - now
            })
            .collect();
        beats.sort_unstable();
        assert!(beats[999] <= 5_000_000, "{}", beats[999]);
        let most = (0..50).map(|tenth| beats.iter().filter(|at| **at / 100_000 == tenth).count()).max();
        assert!(most <= Some(25), "{most:?} of a thousand in a tenth of a second");
    }

    #[test]
    fn pings_are_at_most_one_a_second() {
        let mut pulse = Pulse::new(Local(0), Options::default());
        assert!(pulse.ping(Local(0)));
        assert!(!pulse.ping(Local(999_999)));
        assert!(pulse.ping(Local(SECOND)));
    }
}
