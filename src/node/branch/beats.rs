//! How often children may beat, so that all of them together cost no more than a branch can spare.
//!
//! A child beats five times a second for its first 72 s, then ever less often, down to once in ten
//! seconds: its clock learns by it. A beat costs 13–18 µs on either side. Five thousand children that
//! joined within a minute would beat 25,000 times a second; the branch then asks the younger ones, in each
//! echo, to leave more between their beats. The elder ones beat less often than that by themselves.
//!
//! Up to 800 children, whatever their age, nothing changes. 5,000 that joined at once beat each 1.25 s,
//! 50,000 each 10 s from the first minute on; of the sixteen exchanges of the join the first four go as
//! ever, the others are spread over three times as long. What that leaves of the step of a commune's
//! speakers, `speakers_of_a_parent_that_spares_its_beats_stay_in_step` in tests/simulation.rs holds to, at p99 before
//! three minutes have passed and after them: 5 and 1 ms of up to 800 children, 10 and 2 of 5,000, 20 and 10 of 50,000.
use crate::session::parent;
use crate::time::{Local, SECOND};
use std::collections::{BTreeMap, VecDeque};

/// The children of a branch by their age, and what they are asked for.
#[derive(Debug)]
pub(super) struct Beats {
    /// Beats a second of all children; 0: as they like.
    limit: u32,
    session: parent::Options,
    /// How many joined within each span of [`SPAN`] µs, as far back as it matters.
    joined: BTreeMap<i64, u32>,
    /// How many joined before that: they beat once a `slow` by themselves.
    old: u32,
    /// When the newest joined, of the last second.
    fresh: VecDeque<(Local, u32)>,
    every: i64,
    due: Local,
}

impl Beats {
    pub fn new(now: Local, limit: u32, session: parent::Options) -> Self {
        let (joined, fresh) = (BTreeMap::new(), VecDeque::new());
        Self { limit, session, joined, old: 0, fresh, every: 0, due: now }
    }

    pub fn joined(&mut self, now: Local) {
        *self.joined.entry(span(now)).or_default() += 1;
        match self.fresh.back_mut() {
            Some((at, count)) if now - *at < SECOND / FRESH => *count += 1,
            _ => self.fresh.push_back((now, 1)),
        }
        self.forget_fresh(now);
    }

    /// Of a child that joined at `at`.
    pub fn left(&mut self, at: Local) {
        match self.joined.get_mut(&span(at)) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) => drop(self.joined.remove(&span(at))),
            None => self.old = self.old.saturating_sub(1),
        }
    }

    /// µs that children are asked to leave between beats; 0: as they like.
    pub fn every(&mut self, now: Local) -> i64 {
        if self.limit > 0 && self.due <= now {
            self.due = now + SECOND / FRESH;
            self.forget_fresh(now);
            self.forget_old(now);
            self.every = self.work_out(now);
        }
        self.every
    }

    /// The least that holds the limit: whoever beats less often by age keeps to that, all younger ones
    /// share what is left.
    fn work_out(&self, now: Local) -> i64 {
        let slow = self.session.slow;
        let fresh: u32 = self.fresh.iter().map(|(_, count)| count).sum();
        let limit = f64::from(self.limit);
        // Who joins goes before who is in; those keep a part all the same.
        let mut left = (limit - f64::from(fresh) * JOIN_BEATS).max(limit / 4.0) - rate(self.old, slow);
        let mut many: u32 = self.joined.values().sum();
        for (span, count) in &self.joined {
            let own = self.session.spacing(now - Local(span.saturating_mul(SPAN)));
            let shared = if left > 0.0 { f64::from(many) * SECOND as f64 / left } else { f64::INFINITY };
            if (own as f64) < shared {
                return (shared.ceil() as i64).min(slow);
            }
            left -= rate(*count, own);
            many -= count;
        }
        0
    }

    fn forget_fresh(&mut self, now: Local) {
        while self.fresh.front().is_some_and(|(at, _)| now - *at >= SECOND) {
            self.fresh.pop_front();
        }
    }

    fn forget_old(&mut self, now: Local) {
        while let Some(oldest) = self.joined.first_entry() {
            let end = Local((oldest.key() + 1).saturating_mul(SPAN));
            if self.session.spacing(now - end) < self.session.slow {
                break;
            }
            self.old += oldest.remove();
        }
    }
}

/// Beats a second.
fn rate(children: u32, every: i64) -> f64 {
    f64::from(children) * SECOND as f64 / every.max(1) as f64
}

fn span(at: Local) -> i64 {
    at.0.div_euclid(SPAN)
}

/// Children that joined within this are of one age, µs: an hour of them are 450 numbers.
const SPAN: i64 = 8 * SECOND;
/// So often a second the rate is worked out anew: a storm of joins shows within a tenth of one.
const FRESH: i64 = 10;
/// The exchanges of a join (`session::child::Options::join_exchanges`).
const JOIN_BEATS: f64 = 16.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn beats(limit: u32) -> Beats {
        Beats::new(Local(0), limit, parent::Options::default())
    }

    /// Beats a second of all children that joined at `joined`, as they are asked at `now`.
    fn load(beats: &mut Beats, joined: &[Local], now: Local) -> f64 {
        let every = beats.every(now);
        assert!((0..=10 * SECOND).contains(&every), "{every}");
        let options = parent::Options::default();
        joined.iter().map(|at| rate(1, options.spacing(now - *at).max(every))).sum()
    }

    #[test]
    fn a_few_hundred_children_beat_as_they_like() {
        let mut beats = beats(4_000);
        (0..700).for_each(|child| beats.joined(Local(child * SECOND / 10)));
        for second in 71..4_000 {
            assert_eq!(beats.every(Local(second * SECOND)), 0);
        }
    }

    #[test]
    fn however_many_join_and_leave_their_beats_together_stay_within_the_limit() {
        let mut beats = beats(4_000);
        let mut joined = Vec::new();
        for second in 0..5_000_i64 {
            let now = Local(second * SECOND);
            let come = if second < 60 || second % 1_000 > 980 { 200 } else { 1 };
            for place in 0..come {
                let at = now + place * 1_000;
                beats.joined(at);
                joined.push(at);
            }
            if second % 10 == 9 {
                let (first, last) = (joined.remove(0), joined.pop().unwrap());
                [first, last].into_iter().for_each(|at| beats.left(at));
            }
            if second % 10 == 5 {
                let now = now + SECOND / 2;
                let load = load(&mut beats, &joined, now);
                // The ages within a span differ by 8 s.
                assert!(load <= 4_080.0, "{load:.0} beats a second of {} children at {second} s", joined.len());
            }
        }
        // Whoever is old beats each ten seconds; the newest few again as they like.
        assert!(joined.len() > 20_000 && beats.every(Local(9_000 * SECOND)) == 0);
        joined.into_iter().for_each(|at| beats.left(at));
        assert_eq!((beats.old, beats.joined.len()), (0, 0));
    }

    #[test]
    fn fifty_thousand_children_beat_each_ten_seconds_and_no_less_often() {
        let mut beats = beats(4_000);
        let joined: Vec<Local> = (0..50_000).map(|child| Local(child * 1_000)).collect();
        joined.iter().for_each(|at| beats.joined(*at));
        let now = Local(60 * SECOND);
        assert_eq!(beats.every(now), 10 * SECOND);
        assert_eq!(load(&mut beats, &joined, now).round(), 5_000.0);
    }

    #[test]
    fn a_storm_of_joins_slows_down_the_others_at_once() {
        let mut beats = beats(4_000);
        assert_eq!(beats.every(Local(0)), 0);
        (0..300).for_each(|child| beats.joined(Local(child * 500)));
        assert!(beats.every(Local(SECOND / 4)) > 200_000);
        assert_eq!(beats.every(Local(5 * SECOND)), 0);
    }
}
