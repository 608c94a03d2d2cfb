//! Which of two sessions leads: brings sound, tells the time, takes reports (DESIGN §4).
//!
//! ```text
//!  the leader is gone                                                     at once
//!  sound 300 ms beyond its due time (600 where the parent lacks it too)   and a spread of the node's own
//!  no order or tick by it for 25 s, and by the other since                likewise
//!  the other is the better candidate and has been up for minutes          so that parents share the load again
//! ```
//! A source that falls silent looks like a parent that does, at both of them: so each change by lateness puts the next
//! one off twice as long.

use crate::time::{Local, MILLISECOND, SECOND};

/// What is seen of one session that has been welcomed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Seen {
    /// Since when it is welcomed.
    pub since: Local,
    /// When its sound counts as missing.
    pub starves_at: Option<Local>,
    /// When an order or tick last came by it.
    pub heard: Local,
    /// How good a candidate it is: 0 is best.
    pub rank: usize,
}

/// Why another leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Why {
    Gone,
    Late,
    Withholds,
    Better,
}

impl Why {
    pub fn text(self) -> &'static str {
        match self {
            Self::Gone => "the other parent is gone",
            Self::Late => "sound of the other parent is late",
            Self::Withholds => "the other parent passes no orders on",
            Self::Better => "it comes first in the list",
        }
    }
}

#[derive(Debug)]
pub(in super::super) struct Election {
    /// µs, this node's own: siblings do not all turn in one instant.
    spread: i64,
    /// Lateness is not looked at before.
    quiet_until: Local,
    hold: i64,
    /// When it was last looked.
    looked: Local,
}

impl Election {
    /// `spread`: in `[0, SPREAD)`.
    pub fn new(now: Local, spread: i64) -> Self {
        Self { spread, quiet_until: now, hold: HOLD_FIRST, looked: now }
    }

    /// Whether the other one shall lead, now.
    pub fn judge(&mut self, now: Local, lead: Option<Seen>, other: Option<Seen>) -> Option<Why> {
        self.looked = now;
        let other = other?;
        let Some(lead) = lead else { return Some(Why::Gone) };
        if now < self.quiet_until {
            return None;
        }
        let starved = |seen: &Seen| seen.starves_at.is_some_and(|at| at <= now);
        if self.late_at(&lead).is_some_and(|at| at <= now) && !starved(&other) {
            return Some(Why::Late);
        }
        if self.silent_at(&lead, &other).is_some_and(|at| at <= now) {
            return Some(Why::Withholds);
        }
        (self.better_at(&lead, &other).is_some_and(|at| at <= now) && !starved(&other)).then_some(Why::Better)
    }

    /// When [`Election::judge`] may say something else than now.
    pub fn poll_timeout(&self, lead: Option<Seen>, other: Option<Seen>) -> Option<Local> {
        let (lead, other) = (lead?, other?);
        let times = [self.late_at(&lead), self.silent_at(&lead, &other), self.better_at(&lead, &other)];
        // What is late at both may stay so.
        times.into_iter().flatten().min().map(|at| at.max(self.quiet_until).max(self.looked + LOOK))
    }

    /// Another leads now.
    pub fn handle_change(&mut self, now: Local, why: Why) {
        let calm = now - self.quiet_until > CALM;
        self.hold = match why {
            Why::Late if calm => HOLD_FIRST,
            Why::Late => (2 * self.hold).min(HOLD_MOST),
            _ => self.hold,
        };
        let hold = if why == Why::Gone { HOLD_FIRST } else { self.hold };
        self.quiet_until = now + hold;
    }

    fn late_at(&self, lead: &Seen) -> Option<Local> {
        lead.starves_at.map(|at| at + self.spread)
    }

    /// When the leader counts as withholding what the other brings.
    fn silent_at(&self, lead: &Seen, other: &Seen) -> Option<Local> {
        let at = lead.heard.max(lead.since) + SILENT + self.spread;
        (other.heard > lead.heard.max(lead.since) + SILENT / 2).then_some(at)
    }

    fn better_at(&self, lead: &Seen, other: &Seen) -> Option<Local> {
        (other.rank < lead.rank).then(|| other.since.max(lead.since) + PREFERS + self.spread * PREFERS_SPREAD)
    }
}

/// µs over which siblings turn to their other parent: two rounds of repair are left of the default delay.
pub(in super::super) const SPREAD: i64 = 150 * MILLISECOND;
/// Between two looks.
const LOOK: i64 = 50 * MILLISECOND;
/// Two ticks missed and half a one.
const SILENT: i64 = 25 * SECOND;
/// Lateness is not looked at for so long after a change, then ever longer; again so after a minute of calm.
const HOLD_FIRST: i64 = 2 * SECOND;
const HOLD_MOST: i64 = 60 * SECOND;
const CALM: i64 = 60 * SECOND;
/// A better parent that came back leads again after two to five minutes.
const PREFERS: i64 = 120 * SECOND;
const PREFERS_SPREAD: i64 = 180 * SECOND / SPREAD;

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Local = Local(100 * SECOND);

    fn seen() -> Seen {
        Seen { since: AT, starves_at: None, heard: AT, rank: 0 }
    }

    #[test]
    fn a_leader_that_is_gone_is_followed_at_once_and_nobody_follows_nobody() {
        let mut election = Election::new(AT, 0);
        assert_eq!(election.judge(AT, None, Some(seen())), Some(Why::Gone));
        assert_eq!(election.judge(AT, Some(seen()), None), None);
        assert_eq!(election.judge(AT, None, None), None);
    }

    #[test]
    fn late_sound_lets_the_other_lead_unless_it_is_as_late_there() {
        let mut election = Election::new(AT, 50 * MILLISECOND);
        let late = Seen { starves_at: Some(AT + SECOND), ..seen() };
        let other = Seen { rank: 1, ..seen() };
        let at = election.poll_timeout(Some(late), Some(other)).unwrap();
        assert_eq!(at, AT + SECOND + 50 * MILLISECOND);
        assert_eq!(election.judge(at - 1, Some(late), Some(other)), None);
        assert_eq!(election.judge(at, Some(late), Some(other)), Some(Why::Late));
        assert_eq!(election.judge(at, Some(late), Some(Seen { starves_at: Some(AT), ..other })), None);
    }

    #[test]
    fn a_source_that_falls_silent_is_sought_ever_more_rarely() {
        let mut election = Election::new(AT, 0);
        let late = Seen { starves_at: Some(AT), ..seen() };
        let (mut now, mut changes) = (AT, 0);
        while now < AT + 300 * SECOND {
            if election.judge(now, Some(late), Some(seen())).is_some() {
                election.handle_change(now, Why::Late);
                changes += 1;
            }
            now += 100 * MILLISECOND;
        }
        assert!((5..=10).contains(&changes), "{changes}");
    }

    #[test]
    fn a_parent_that_passes_no_orders_on_is_left_once_the_other_does() {
        let mut election = Election::new(AT, 0);
        let now = AT + SILENT;
        assert_eq!(election.judge(now, Some(seen()), Some(seen())), None, "neither does: the origin is out of reach");
        let other = Seen { heard: AT + 20 * SECOND, rank: 1, ..seen() };
        assert_eq!(election.judge(now - 1, Some(seen()), Some(other)), None);
        assert_eq!(election.judge(now, Some(seen()), Some(other)), Some(Why::Withholds));
    }

    #[test]
    fn the_better_candidate_leads_again_after_minutes() {
        let mut election = Election::new(AT, SPREAD / 2);
        let (lead, better) = (Seen { rank: 1, ..seen() }, seen());
        let at = election.poll_timeout(Some(lead), Some(better)).unwrap();
        assert!(at > AT + PREFERS && at < AT + 2 * PREFERS, "{at:?}");
        assert_eq!(election.judge(at, Some(lead), Some(better)), Some(Why::Better));
        assert_eq!(election.judge(at, Some(better), Some(lead)), None);
    }
}
