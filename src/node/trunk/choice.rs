//! Which of a broadcast's renditions this node sounds: the highest it wishes for, lower while its link
//! loses packets (DESIGN §4, RFC 8083 §4.3) or its data budget runs out.
//!
//! ```text
//!  loss over 10 % of ten seconds ──▶ a step down, at once
//!  below 2 % for a minute        ──▶ a step up; if that fails within a minute, twice as long the next time
//! ```

use crate::time::{Local, SECOND};
use std::collections::VecDeque;

/// What the node asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wished {
    /// b/s: nothing higher is taken while there is something lower. `None`: the first that is listed.
    pub bitrate: Option<u32>,
    /// Bytes of sound in a day. Emergencies count and are never refused.
    pub data: Option<u64>,
}

/// What has come over all links so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Packets that came of themselves, and those that had to be asked for.
    pub came: u64,
    pub lost: u64,
    /// Bytes of sound.
    pub bytes: u64,
}

#[derive(Debug)]
pub(super) struct Choosing {
    wished: Wished,
    /// Steps down for loss.
    down: usize,
    /// The last ten seconds, a sample each second.
    window: VecDeque<(Local, Seen)>,
    /// Nothing before this is judged: a change makes losses of its own.
    settled: Local,
    calm: Option<Local>,
    /// µs of calm before a step up.
    hold: i64,
    stepped_up: Option<Local>,
    /// When this day of the budget began, and what had come by then.
    day: (Local, u64),
    used: u64,
}

impl Choosing {
    pub fn new(now: Local, wished: Wished) -> Self {
        Self {
            wished,
            down: 0,
            window: VecDeque::new(),
            settled: now,
            calm: None,
            hold: HOLD,
            stepped_up: None,
            day: (now, 0),
            used: 0,
        }
    }

    /// Which of these bitrates, by its place in the list.
    pub fn choose(&self, bitrates: &[u32]) -> usize {
        let ladder = self.ladder(bitrates);
        let steps = self.down.saturating_add(self.saved());
        ladder.get(steps.min(ladder.len().saturating_sub(1))).copied().unwrap_or(0)
    }

    /// Once a second: what has come, and the bitrates of what sounds (none: silence). True if the answer may
    /// have changed.
    pub fn handle_seen(&mut self, now: Local, seen: Seen, bitrates: &[u32]) -> bool {
        let before = (self.down, self.saved());
        if now - self.day.0 >= DAY {
            self.day = (now, seen.bytes);
        }
        self.used = seen.bytes.saturating_sub(self.day.1);
        self.judge(now, seen, self.ladder(bitrates).len().saturating_sub(1));
        before != (self.down, self.saved())
    }

    fn judge(&mut self, now: Local, seen: Seen, room: usize) {
        if now < self.settled {
            return;
        }
        self.window.push_back((now, seen));
        while self.window.len() > 1 && self.window.front().is_some_and(|(at, _)| now - *at > WINDOW) {
            self.window.pop_front();
        }
        let oldest = self.window.front().map_or(seen, |(_, seen)| *seen);
        let lost = seen.lost.saturating_sub(oldest.lost);
        let packets = seen.came.saturating_sub(oldest.came) + lost;
        if packets < LEAST {
            self.calm = None;
            return;
        }
        if self.stepped_up.is_some_and(|at| now - at >= FAILED) {
            (self.stepped_up, self.hold) = (None, HOLD);
        }
        if lost * 1_000 > packets * TOO_MUCH {
            if self.stepped_up.take().is_some() {
                self.hold = (self.hold * 2).min(HOLD_MOST);
            }
            if self.down < room {
                self.step(now, self.down + 1);
            }
            self.calm = None;
        } else if lost * 1_000 < packets * LITTLE {
            let since = *self.calm.get_or_insert(now);
            if self.down > 0 && now - since >= self.hold {
                self.step(now, self.down.min(room).saturating_sub(1));
                self.stepped_up = Some(now);
            }
        } else {
            self.calm = None;
        }
    }

    fn step(&mut self, now: Local, down: usize) {
        self.down = down;
        self.window.clear();
        self.calm = None;
        self.settled = now + SETTLE;
    }

    /// Places of those that may be chosen, from the one wished for downwards.
    fn ladder(&self, bitrates: &[u32]) -> Vec<usize> {
        let Some(first) = bitrates.first() else { return Vec::new() };
        let cap = self.wished.bitrate.unwrap_or(*first).max(bitrates.iter().copied().min().unwrap_or(0));
        let mut ladder: Vec<usize> = (0..bitrates.len()).filter(|at| bitrates[*at] <= cap).collect();
        ladder.sort_by_key(|at| (std::cmp::Reverse(bitrates[*at]), *at));
        ladder
    }

    /// Steps down for the budget: one after half of it, two after three quarters, then the lowest.
    fn saved(&self) -> usize {
        let Some(data) = self.wished.data else { return 0 };
        let used = self.used.saturating_mul(8) / data.max(1);
        match used {
            0..4 => 0,
            4..6 => 1,
            6..7 => 2,
            _ => usize::MAX / 2,
        }
    }
}

/// Judged at a time: a report's interval.
const WINDOW: i64 = 10 * SECOND;
/// Packets without which a share says little: seven seconds of the longest ones.
const LEAST: u64 = 15;
/// Per mille of packets, before repair: DESIGN §4; and what a healthy link loses at most.
const TOO_MUCH: u64 = 100;
const LITTLE: u64 = 20;
/// After a change: the backlog of the other rendition is on its way, and its due times are not known yet.
const SETTLE: i64 = 3 * SECOND;
/// Calm before a step up: at first, and at most after steps that failed.
const HOLD: i64 = 60 * SECOND;
const HOLD_MOST: i64 = 960 * SECOND;
/// A step up has succeeded when nothing took it back for so long.
const FAILED: i64 = 60 * SECOND;
const DAY: i64 = 86_400 * SECOND;

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: [u32; 3] = [24_000, 32_000, 16_000];

    /// A link and how it is judged.
    struct Link {
        choosing: Choosing,
        now: Local,
        seen: Seen,
        /// (second, place in the list) at each change.
        changes: Vec<(i64, usize)>,
    }

    impl Link {
        fn new(wished: Wished) -> Self {
            let choosing = Choosing::new(Local(0), wished);
            Self { choosing, now: Local(0), seen: Seen::default(), changes: Vec::new() }
        }

        fn run(&mut self, seconds: i64, per_mille: u64) {
            for _ in 0..seconds {
                self.now += SECOND;
                // A thousand packets a second, so that shares are exact.
                self.seen.lost += per_mille;
                self.seen.came += 1_000 - per_mille;
                self.seen.bytes += 3_000;
                if self.choosing.handle_seen(self.now, self.seen, &LIST) {
                    self.changes.push((self.now.0 / SECOND, self.choosing.choose(&LIST)));
                }
            }
        }
    }

    #[test]
    fn the_first_of_the_list_is_taken_unless_another_is_wished_for() {
        let choose = |bitrate| Choosing::new(Local(0), Wished { bitrate, data: None }).choose(&LIST);
        assert_eq!(choose(None), 0);
        assert_eq!(choose(Some(64_000)), 1);
        assert_eq!(choose(Some(31_999)), 0);
        assert_eq!(choose(Some(16_000)), 2);
        assert_eq!(choose(Some(6_000)), 2);
        assert_eq!(Choosing::new(Local(0), Wished::default()).choose(&[]), 0);
    }

    #[test]
    fn loss_over_a_tenth_steps_down_at_once_and_a_minute_of_calm_up_again() {
        let mut link = Link::new(Wished { bitrate: Some(32_000), data: None });
        link.run(60, 100);
        assert_eq!(link.changes, []);
        link.run(30, 101);
        // One step, and once its own effects are over the next; the lowest is the end.
        assert!(matches!(link.changes[..], [(60..62, 0), (64..67, 2)]), "{:?}", link.changes);
        link.changes.clear();
        link.run(150, 0);
        let began = 90 + 10;
        assert!(matches!(link.changes[..], [(first, 0), (_, 1)] if first <= began + 61), "{:?}", link.changes);
    }

    #[test]
    fn loss_between_the_two_marks_changes_nothing() {
        let mut link = Link::new(Wished::default());
        link.run(20, 150);
        assert_eq!(link.choosing.choose(&LIST), 2);
        link.changes.clear();
        link.run(600, 21);
        assert_eq!(link.changes, []);
    }

    #[test]
    fn a_step_up_that_fails_is_tried_ever_more_rarely_and_again_soon_once_it_held() {
        let mut link = Link::new(Wished::default());
        let mut waits = Vec::new();
        link.run(20, 200);
        for _ in 0..7 {
            let began = link.now;
            while link.choosing.choose(&LIST) == 2 {
                link.run(1, 0);
            }
            waits.push((link.now - began) / SECOND);
            while link.choosing.choose(&LIST) == 0 {
                link.run(1, 200);
            }
        }
        assert!(waits.windows(2).all(|pair| pair[0] < pair[1] || pair[1] >= 960), "{waits:?}");
        assert!(waits[0] < 80 && *waits.last().unwrap() < 1_000, "{waits:?}");
        link.run(1_100, 0);
        assert_eq!(link.choosing.choose(&LIST), 0);
        link.run(20, 200);
        let began = link.now;
        while link.choosing.choose(&LIST) == 2 {
            link.run(1, 0);
        }
        assert!(link.now - began < 80 * SECOND);
    }

    #[test]
    fn a_budget_is_stretched_by_lower_renditions_until_the_next_day() {
        let data = Some(3_000 * 800);
        let mut link = Link::new(Wished { bitrate: Some(32_000), data });
        link.run(399, 0);
        assert_eq!(link.choosing.choose(&LIST), 1);
        link.run(2, 0);
        assert_eq!(link.choosing.choose(&LIST), 0);
        link.run(200, 0);
        assert_eq!(link.choosing.choose(&LIST), 2);
        link.run(86_400, 0);
        assert_eq!(link.changes.iter().filter(|(second, place)| *second >= 86_400 && *place == 1).count(), 1);
    }

    #[test]
    fn silence_is_no_calm() {
        let mut link = Link::new(Wished::default());
        link.run(20, 200);
        assert_eq!(link.choosing.choose(&LIST), 2);
        for _ in 0..1_000 {
            link.now += SECOND;
            link.choosing.handle_seen(link.now, link.seen, &[]);
        }
        assert_eq!(link.choosing.choose(&LIST), 2);
    }
}
