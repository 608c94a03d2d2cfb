//! One place, some days: who sounds and who does not.

use super::local::{add_days, day, instant, last_instant, midnight};
use super::policy::{MINUTE, Rules};
use crate::broadcast::said::Said;
use crate::broadcast::{Area, Priority};
use crate::time::Civil;
use chrono::NaiveDate;
use chrono_tz::Tz;
use std::collections::BTreeMap;

/// An item that wants to sound.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    /// Of the entry among all, in the order in which they are taken.
    pub rank: usize,
    pub priority: Priority,
    pub start: Civil,
    pub end: Civil,
    /// Local, on which it begins.
    pub day: NaiveDate,
    /// What stands against it whatever else sounds.
    pub never: Vec<Said>,
}

/// What a place's day looks like, as far as it has been settled. Items keep at least the gap from each other, so one
/// map by beginning holds them.
pub(super) struct Day<'a> {
    pub place: &'a Area,
    pub zone: Tz,
    pub rules: &'a Rules,
    /// Of which title each rank is, for sentences.
    pub titles: &'a dyn Fn(usize) -> String,
    /// By beginning: its end, and its rank.
    taken: BTreeMap<Civil, (Civil, usize)>,
    /// By local day: sessions, and µs.
    used: BTreeMap<NaiveDate, (u32, i64)>,
    /// From and until, in order; as far as was asked for.
    quiet: Vec<(Civil, Civil)>,
}

/// What stands against an item at one time, and when that is over.
pub(super) struct Against {
    pub said: Said,
    /// The earliest time at which this, by itself, no longer stands in the way.
    pub until: Civil,
}

impl<'a> Day<'a> {
    /// Of the local days from `first` to `last`, both with the one around them.
    pub fn new(
        place: &'a Area,
        zone: Tz,
        rules: &'a Rules,
        titles: &'a dyn Fn(usize) -> String,
        (first, last): (NaiveDate, NaiveDate),
    ) -> Self {
        let mut quiet = Vec::new();
        if rules.quiet.from != rules.quiet.until {
            let over_midnight = i64::from(rules.quiet.until < rules.quiet.from);
            for day in add_days(first, -2).iter_days().take_while(|day| *day <= add_days(last, 2)) {
                let from = instant(zone, day.and_time(rules.quiet.from));
                let until = last_instant(zone, add_days(day, over_midnight).and_time(rules.quiet.until));
                if from < until {
                    quiet.push((from, until));
                }
            }
        }
        Self { place, zone, rules, titles, taken: BTreeMap::new(), used: BTreeMap::new(), quiet }
    }

    pub fn take(&mut self, wish: &Wish) {
        self.taken.insert(wish.start, (wish.end, wish.rank));
        let (sessions, micros) = self.used.entry(wish.day).or_default();
        *sessions += 1;
        *micros += wish.end - wish.start;
    }

    /// Everything that stands against an item in this place at this time, in the order of the rules; empty if it may
    /// sound.
    pub fn against(&self, priority: Priority, start: Civil, end: Civil) -> Vec<Against> {
        let mut against = Vec::new();
        against.extend(self.quiet(priority, start, end));
        against.extend(self.neighbour(start, end));
        against.extend(self.quota(start, end));
        against
    }

    pub fn quiet(&self, priority: Priority, start: Civil, end: Civil) -> Option<Against> {
        if priority != Priority::Normal && self.rules.priority_in_quiet {
            return None;
        }
        let after = self.quiet.partition_point(|(_, until)| *until <= start);
        let (_, until) = self.quiet.get(after).filter(|(from, _)| *from < end)?;
        let (from, to) = (self.rules.quiet.from.format("%H:%M"), self.rules.quiet.until.format("%H:%M"));
        Some(Against { said: Said::new("timetable.quiet_hours", [&from, &to, self.place]), until: *until })
    }

    /// The item that sounds at that time, or is too near.
    fn neighbour(&self, start: Civil, end: Civil) -> Option<Against> {
        let gap = self.rules.gap;
        let overlaps = |from: Civil, until: Civil| from < end && start < until;
        let near: Vec<(Civil, Civil, usize)> = (self.taken.range(..end + gap).rev())
            .map(|(from, (until, rank))| (*from, *until, *rank))
            .take_while(|(_, until, _)| *until + gap > start)
            .collect();
        // Of several, one that overlaps tells more than one that is only near.
        let telling = near.iter().find(|(from, until, _)| overlaps(*from, *until)).or(near.first());
        let (other, until, rank) = *telling?;
        let title = (self.titles)(rank);
        let shown = |at: Civil| super::local::local(self.zone, at).format("%H:%M:%S").to_string();
        let (from, to) = (shown(other), shown(until));
        let said = if overlaps(other, until) {
            Said::new("timetable.overlap", [&title, &from, &to])
        } else {
            Said::new("timetable.gap", [&title, &from, &to, &(gap / MINUTE)])
        };
        Some(Against { said, until: until + gap })
    }

    fn quota(&self, start: Civil, end: Civil) -> Option<Against> {
        let day = day(self.zone, start);
        let quota = self.rules.quota(day)?;
        let (sessions, micros) = self.used.get(&day).copied().unwrap_or_default();
        let all = micros + (end - start);
        let said = if quota.sessions.is_some_and(|most| sessions >= most) {
            Said::new("timetable.sessions", [&sessions, self.place])
        } else if let Some(most) = quota.minutes.filter(|most| all > i64::from(*most) * MINUTE) {
            Said::new("timetable.minutes", [&minutes(all), self.place, &minutes(i64::from(most) * MINUTE)])
        } else {
            return None;
        };
        Some(Against { said, until: midnight(self.zone, add_days(day, 1)) })
    }
}

/// A length in a sentence.
pub(super) fn minutes(micros: i64) -> String {
    let seconds = micros.max(0) / crate::time::SECOND;
    match seconds % 60 {
        0 => format!("{} min", seconds / 60),
        rest => format!("{} min {rest} s", seconds / 60),
    }
}
