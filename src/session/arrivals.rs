//! When the packets of a track come over this link: learnt from those that came (DESIGN §3 Repair).
//!
//! ```text
//!  arrival − index × duration
//!     │        ·                     ·
//!     │   ·          ·   ·                  ← due + margin: beyond it a packet is missing
//!     │ ·    ·   ·          ·   ·  ·
//!     └─·──·────·──·─·──·──────·────·──     ← due: the lower envelope of the newest 64
//! ```
//!
//! Packets that leave together come when the last of them would: they are learnt, and due, as that one.
use crate::time::{Local, MILLISECOND};
use crate::track::last_of_bunch;
use std::collections::VecDeque;

/// The arrivals of one track over one link.
#[derive(Debug)]
pub struct Arrivals {
    /// µs per packet; 0: nothing is ever due.
    duration: i64,
    /// So many packets leave in one send.
    together: u32,
    /// Arrivals are kept relative to this index, so that no product overflows.
    base: u64,
    /// arrival − (last of the bunch − base) × duration, oldest first.
    window: VecDeque<i64>,
    envelope: i64,
    margin: i64,
}

impl Arrivals {
    pub fn new(duration: i64) -> Self {
        Self { duration, together: 1, base: 0, window: VecDeque::new(), envelope: 0, margin: MARGIN_LEAST }
    }

    #[cfg(test)]
    pub fn memory(&self) -> usize {
        self.window.capacity() * size_of::<i64>()
    }

    /// How many packets leave in one send, as the parent says.
    pub fn bunch(&mut self, together: u32) {
        // Of a later release's parent, or a liar's: no more than leaves the due times of use.
        let together = together.clamp(1, MOST_BELIEVED);
        if together != self.together {
            self.together = together;
            self.forget();
        }
    }

    pub fn together(&self) -> u32 {
        self.together
    }

    /// A packet came of itself, not because it was asked for.
    pub fn learn(&mut self, index: u64, at: Local) {
        if self.duration <= 0 {
            return;
        }
        if self.window.is_empty() {
            self.base = index;
        }
        if self.window.len() == WINDOW {
            self.window.pop_front();
        }
        self.window.push_back(at.0.saturating_sub(self.span(self.last(index))));
        let mut sorted: Vec<i64> = self.window.iter().copied().collect();
        sorted.sort_unstable();
        self.envelope = sorted[0];
        let high = sorted[(sorted.len() * 95).div_ceil(100) - 1];
        // A quarter more than was seen: what comes later than the margin is asked for and so not
        // learnt, and without room to grow the margin would shrink for ever.
        self.margin =
            high.saturating_sub(self.envelope).saturating_mul(5).saturating_div(4).clamp(MARGIN_LEAST, MARGIN_MOST);
    }

    /// The path has changed: what was learnt holds no more.
    pub fn forget(&mut self) {
        self.window.clear();
    }

    /// When the packet comes, if the link is at its best. `None` while nothing was learnt.
    pub fn due(&self, index: u64) -> Option<Local> {
        (!self.window.is_empty()).then(|| Local(self.envelope.saturating_add(self.span(self.last(index)))))
    }

    /// When the packet would come if it waited for no other: its sound follows this by a fixed time.
    pub fn alone(&self, index: u64) -> Option<Local> {
        (!self.window.is_empty()).then(|| Local(self.envelope.saturating_add(self.span(index))))
    }

    /// When the packet is missing, if it has not come by then.
    pub fn missing_at(&self, index: u64) -> Option<Local> {
        self.due(index).map(|due| due + self.margin)
    }

    fn last(&self, index: u64) -> u64 {
        last_of_bunch(index, self.together)
    }

    fn span(&self, index: u64) -> i64 {
        let packets = index as i64 - self.base as i64;
        packets.saturating_mul(self.duration)
    }
}

/// Arrivals remembered: 15 s at 240 ms, in which an oscillator 100 ppm off drifts by 1.5 ms.
const WINDOW: usize = 64;
/// Packets in a send that are believed: four times what this release sends. A liar's word must not put off for long
/// when its silence shows.
pub(super) const MOST_BELIEVED: u32 = 16;
/// Below this a busy host would be taken for a lossy link.
const MARGIN_LEAST: i64 = 15 * MILLISECOND;
/// Beyond this, asking too early costs less than asking too late.
const MARGIN_MOST: i64 = 150 * MILLISECOND;

#[cfg(test)]
mod tests {
    use super::*;

    const DURATION: i64 = 240 * MILLISECOND;

    fn learnt(jitter: impl Fn(u64) -> i64) -> Arrivals {
        let mut arrivals = Arrivals::new(DURATION);
        for index in 1_000..1_100 {
            arrivals.learn(index, Local(5_000_000 + index as i64 * DURATION + jitter(index)));
        }
        arrivals
    }

    #[test]
    fn a_packet_is_due_when_the_quickest_of_its_kind_would_come() {
        let arrivals = learnt(|index| (index as i64 % 7) * 10 * MILLISECOND);
        assert_eq!(arrivals.due(1_100), Some(Local(5_000_000 + 1_100 * DURATION)));
        assert_eq!(arrivals.due(0), Some(Local(5_000_000)));
        assert_eq!(arrivals.missing_at(0), Some(Local(5_000_000 + 75 * MILLISECOND)));
    }

    #[test]
    fn the_margin_stays_between_its_bounds() {
        assert_eq!(learnt(|_| 0).margin, MARGIN_LEAST);
        assert_eq!(learnt(|index| (index as i64 % 2) * 900 * MILLISECOND).margin, MARGIN_MOST);
    }

    #[test]
    fn rare_stragglers_do_not_widen_the_margin() {
        assert_eq!(learnt(|index| if index % 50 == 0 { 400 * MILLISECOND } else { 0 }).margin, MARGIN_LEAST);
    }

    #[test]
    fn packets_that_leave_together_are_due_with_the_last_of_them() {
        let mut arrivals = Arrivals::new(DURATION);
        arrivals.bunch(4);
        for index in 1_000..1_100 {
            arrivals.learn(index, Local(5_000_000 + last_of_bunch(index, 4) as i64 * DURATION));
        }
        for index in 1_100..1_104 {
            assert_eq!(arrivals.due(index), Some(Local(5_000_000 + 1_103 * DURATION)));
            assert_eq!(arrivals.missing_at(index), Some(Local(5_000_000 + 1_103 * DURATION + MARGIN_LEAST)));
            assert_eq!(arrivals.alone(index), Some(Local(5_000_000 + index as i64 * DURATION)));
        }
    }

    #[test]
    fn a_parent_that_boasts_of_its_bunches_is_not_believed() {
        let mut arrivals = learnt(|_| 0);
        arrivals.bunch(0);
        assert!(arrivals.due(1_100).is_some());
        arrivals.bunch(u32::MAX);
        assert_eq!(arrivals.due(1_100), None);
        arrivals.learn(1_100, Local(0));
        assert_eq!(arrivals.due(1_103), Some(Local(0)));
        assert_eq!(arrivals.due(1_104), Some(Local(16 * DURATION)));
    }

    #[test]
    fn a_log_has_no_due_times() {
        let mut arrivals = Arrivals::new(0);
        arrivals.learn(3, Local(7));
        assert_eq!(arrivals.due(4), None);
    }
}
