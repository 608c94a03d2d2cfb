//! Which packets of one track one speaker has. Small, since it is looked at for every packet.
use loa::track::extend;

/// All indices from `first` on are waited for; those of the newest [`WINDOW`] that have come are known one by one.
#[derive(Clone, Debug)]
pub struct Ear {
    /// In the worker's table.
    pub track: usize,
    pub ssrc: u32,
    /// Where counting begins.
    first: u64,
    /// One beyond the newest that came.
    next: u64,
    /// Bit k: index `next - 1 - k` has come.
    window: u64,
    /// Distinct indices from `first` on.
    came: u64,
    /// Whether any packet came.
    pub heard: bool,
    /// How late packets are as a rule, µs.
    pub usual: i64,
    /// Came in order since the session was last told, and how far: see `session::Child::handle_run`.
    pub untold: u32,
    /// Before this one the session has been told of what is overdue.
    pub overdue: u64,
    /// This session listens to the track; and its parent has said what comes live.
    pub asked: bool,
    pub begun: bool,
    /// The broadcast is over, or something else sounds.
    pub closed: bool,
    /// One beyond the last that is waited for.
    until: u64,
    /// Its parent has not been asked for it: it sends emergencies by itself.
    pub counted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// The one after the newest.
    Next,
    /// Beyond one that has not come.
    Ahead,
    /// Had been missing.
    Behind,
    Duplicate,
    /// Too old to know.
    Old,
}

impl Ear {
    /// Listens from `first` on.
    pub fn new(track: usize, ssrc: u32, first: u64) -> Self {
        Self {
            track,
            ssrc,
            first,
            next: first,
            window: 0,
            came: 0,
            heard: false,
            usual: 0,
            untold: 0,
            overdue: 0,
            asked: false,
            begun: false,
            closed: false,
            until: u64::MAX,
            counted: false,
        }
    }

    /// The parent sends `next` and later ones: what is before need not come. Of a speaker that has heard the track
    /// already, everything goes on counting.
    pub fn begin(&mut self, next: u64) {
        self.begun = true;
        if !self.heard && next > self.next {
            self.next = next;
            self.first = self.first.max(next);
        }
    }

    /// Counts anew from `first` on.
    pub fn count_from(&mut self, first: u64) {
        let beyond = self.next.saturating_sub(first);
        self.came = u64::from((self.window & mask(beyond)).count_ones());
        self.first = first;
        if !self.heard {
            self.next = self.next.max(first);
        }
    }

    /// Listens no more: what has not come by now need not.
    pub fn close(&mut self) {
        (self.closed, self.asked, self.until) = (true, false, self.next);
    }

    pub fn first(&self) -> u64 {
        self.first
    }

    pub fn next(&self) -> u64 {
        self.next
    }

    /// The index that a bare packet claims.
    pub fn claim(&self, sequence: u16) -> u64 {
        extend(sequence, self.next.saturating_sub(1))
    }

    /// A verified packet.
    pub fn insert(&mut self, index: u64) -> Placed {
        let placed = if index >= self.next {
            let ahead = index - self.next;
            self.window = if ahead >= WINDOW - 1 { 1 } else { self.window << (ahead + 1) | 1 };
            self.next = index + 1;
            if ahead == 0 { Placed::Next } else { Placed::Ahead }
        } else {
            let back = self.next - 1 - index;
            if back >= WINDOW {
                return Placed::Old;
            }
            if self.window & 1 << back != 0 {
                return Placed::Duplicate;
            }
            self.window |= 1 << back;
            Placed::Behind
        };
        self.heard = true;
        self.came += u64::from(index >= self.first);
        placed
    }

    /// Indices of `[first, until)`, and how many of them have come.
    pub fn tally(&self, until: u64) -> (u64, u64) {
        let until = until.min(self.until);
        let expected = until.saturating_sub(self.first);
        let beyond = u64::from((self.window & mask(self.next.saturating_sub(until.max(self.first)))).count_ones());
        (expected, self.came.saturating_sub(beyond).min(expected))
    }

    /// Whether everything before `until` of what is still known has come.
    pub fn is_whole(&self, until: u64) -> bool {
        if self.next < until {
            return false;
        }
        let known = mask(self.next.saturating_sub(self.first)) & !mask(self.next.saturating_sub(until));
        self.window & known == known
    }
}

/// The lowest `count` bits.
fn mask(count: u64) -> u64 {
    if count >= WINDOW { u64::MAX } else { (1 << count) - 1 }
}

/// 15 s at 240 ms: more than any playout delay, so that what comes later is lost to a listener anyway.
const WINDOW: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_counts_as_a_set_would(first in 0u64..200, steps in prop::collection::vec((0u64..8, any::<bool>()), 1..200), again in 0u64..300) {
            let (mut ear, mut set) = (Ear::new(0, 1, first), BTreeSet::new());
            let mut newest = first;
            for (step, back) in steps {
                let index = if back { newest.saturating_sub(step * 5).max(first) } else { newest + step };
                newest = newest.max(index);
                if ear.next() > index && ear.next() - index > WINDOW {
                    continue;
                }
                let placed = ear.insert(index);
                prop_assert_eq!(placed == Placed::Duplicate, !set.insert(index), "{}", index);
            }
            for until in [first, newest, newest + 1, newest + 9] {
                let came = set.iter().filter(|index| (first..until).contains(*index)).count() as u64;
                prop_assert_eq!(ear.tally(until), (until - first, came), "until {}", until);
            }
            let anew = newest.saturating_sub(WINDOW - 1).max(first) + again % 70;
            ear.count_from(anew);
            let came = set.iter().filter(|index| (anew..=newest).contains(*index)).count() as u64;
            prop_assert_eq!(ear.tally(newest + 1), ((newest + 1).saturating_sub(anew), came));
        }
    }

    #[test]
    fn one_who_joins_late_waits_for_nothing_that_was_before() {
        let mut ear = Ear::new(0, 1, 10);
        ear.begin(14);
        assert_eq!(ear.tally(14), (0, 0));
        assert!(ear.is_whole(14) && !ear.is_whole(15));
        assert_eq!(ear.insert(15), Placed::Ahead);
        assert_eq!(ear.tally(16), (2, 1));
        assert!(!ear.is_whole(16));
        ear.begin(99);
        assert_eq!(ear.insert(14), Placed::Behind);
        assert!(ear.is_whole(16));
        assert_eq!(ear.tally(16), (2, 2));
    }

    #[test]
    fn a_sequence_that_wraps_is_the_next_index() {
        let mut ear = Ear::new(0, 1, 65_534);
        for index in 65_534..65_540u64 {
            assert_eq!(ear.claim(index as u16), index);
            assert_eq!(ear.insert(index), Placed::Next);
        }
    }
}
