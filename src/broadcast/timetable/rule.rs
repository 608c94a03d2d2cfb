//! Recurrence rules (RFC 5545, section 3.3.10), as far as a timetable needs them: daily and rarer.
//!
//! A rule is asked day by day whether it sounds, so a plan costs its own days and no others: the year in which the rule
//! began, how often it sounded since, and whether it ever does again make no difference. The `rrule` crate walks from
//! the start of a rule to each occurrence, 100,000 steps for one that has none, and reads local times by the machine's
//! zone; it is the oracle of the tests.

mod text;

use super::entry::{FIRST_YEAR, LAST_YEAR};
use super::local::instant;
use crate::broadcast::said::Said;
use crate::time::{Civil, SECOND};
use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Weekday};
use chrono_tz::Tz;
use text::{Reader, frequency, parts, times};

/// A rule that has been read, from its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    start: NaiveDateTime,
    frequency: Frequency,
    interval: i64,
    end: End,
    months: Vec<i32>,
    weeks: Vec<i32>,
    year_days: Vec<i32>,
    month_days: Vec<i32>,
    /// 0 where every one of the period is meant.
    weekdays: Vec<(i32, Weekday)>,
    /// Of a day on which it sounds; sorted.
    times: Vec<NaiveTime>,
    positions: Vec<i32>,
    week_start: Weekday,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frequency {
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Never,
    /// The last local time at which it may sound.
    Local(NaiveDateTime),
    /// The same as an instant: what the RFC asks for.
    Instant(Civil),
}

impl Rule {
    /// Reads `FREQ=WEEKLY;BYDAY=MO,FR` and the like; times and days that it leaves open are those of `start`. All that
    /// is wrong with it is told.
    pub fn read(text: &str, start: NaiveDateTime) -> Result<Self, Vec<Said>> {
        if !(FIRST_YEAR..=LAST_YEAR).contains(&start.year()) {
            return Err(vec![Said::new("timetable.year", [&start.year(), &FIRST_YEAR, &LAST_YEAR])]);
        }
        let parts = parts(text)?;
        let mut wrong = Vec::new();
        let frequency = frequency(&parts, &mut wrong);
        let mut reader = Reader { parts: &parts, wrong };
        let interval = reader.number("INTERVAL", 1, MOST_INTERVAL).unwrap_or(1);
        let count = reader.number("COUNT", 1, MOST_COUNT);
        let end = reader.until();
        let months = reader.numbers("BYMONTH", 1, 12, false);
        let weeks = reader.numbers("BYWEEKNO", 1, 53, true);
        let year_days = reader.numbers("BYYEARDAY", 1, 366, true);
        let month_days = reader.numbers("BYMONTHDAY", 1, 31, true);
        let positions = reader.numbers("BYSETPOS", 1, 366, true);
        let hours = reader.numbers("BYHOUR", 0, 23, false);
        let minutes = reader.numbers("BYMINUTE", 0, 59, false);
        let weekdays = reader.weekdays();
        let week_start = reader.week_start();
        if count.is_some() && end != End::Never {
            reader.wrong.push(Said::new("rule.ends_twice", []));
        }
        let times = times(start.time(), &hours, &minutes);
        if times.len() > MOST_A_DAY {
            reader.wrong.push(Said::new("rule.often", [&times.len(), &MOST_A_DAY]));
        }
        let mut wrong = reader.wrong;
        // Without a frequency nothing else can be judged.
        let Some(frequency) = frequency else { return Err(wrong) };
        let mut rule = Self {
            start,
            frequency,
            interval: interval.into(),
            end,
            months,
            weeks,
            year_days,
            month_days,
            weekdays,
            times,
            positions,
            week_start,
        };
        rule.agree(&mut wrong);
        if !wrong.is_empty() {
            return Err(wrong);
        }
        rule.complete();
        if let Some(count) = count {
            rule.end = End::Local(rule.last_of(count.unsigned_abs()));
        }
        if !rule.ever_sounds() {
            return Err(vec![Said::new("rule.never", [&FAR_YEARS])]);
        }
        Ok(rule)
    }

    /// Local times at which it sounds on the days from `first` to `last`, both with their day; in order.
    pub fn between(&self, first: NaiveDate, last: NaiveDate, zone: Tz) -> Vec<NaiveDateTime> {
        let mut found = Vec::new();
        let mut sets = Sets::default();
        let first = first.max(self.start.date());
        for day in first.iter_days().take_while(|day| *day <= last) {
            self.on(day, &mut sets, &mut found);
        }
        found.retain(|at| match self.end {
            End::Never => true,
            End::Local(last) => *at <= last,
            End::Instant(last) => instant(zone, *at) <= last,
        });
        found
    }

    /// Adds the times of one day, without regard to the rule's end.
    fn on(&self, day: NaiveDate, sets: &mut Sets, found: &mut Vec<NaiveDateTime>) {
        if !self.in_interval(day) || !self.fits(day) {
            return;
        }
        if self.positions.is_empty() {
            found.extend(self.times.iter().map(|time| day.and_time(*time)).filter(|at| *at >= self.start));
            return;
        }
        let days = sets.of(self, day);
        let all = days.len() * self.times.len();
        let Ok(before) = days.binary_search(&day) else { return };
        for (number, time) in self.times.iter().enumerate() {
            let from_first = (before * self.times.len() + number + 1) as i32;
            let from_last = from_first - all as i32 - 1;
            let at = day.and_time(*time);
            if at >= self.start && (self.positions.contains(&from_first) || self.positions.contains(&from_last)) {
                found.push(at);
            }
        }
    }

    /// Whether a day lies in a period that counts: every second week, every third month.
    fn in_interval(&self, day: NaiveDate) -> bool {
        let start = self.start.date();
        let passed = match self.frequency {
            Frequency::Daily => (day - start).num_days(),
            Frequency::Weekly => (self.week_of(day) - self.week_of(start)).num_days() / 7,
            Frequency::Monthly => {
                i64::from((day.year() - start.year()) * 12 + day.month() as i32 - start.month() as i32)
            }
            Frequency::Yearly => i64::from(day.year() - start.year()),
        };
        passed >= 0 && passed % self.interval == 0
    }

    fn week_of(&self, day: NaiveDate) -> NaiveDate {
        day.week(self.week_start).first_day()
    }

    /// Whether every BY part that speaks of days takes this one.
    fn fits(&self, day: NaiveDate) -> bool {
        let either = |parts: &[i32], from_first: i32, all: i32| {
            parts.is_empty() || parts.contains(&from_first) || parts.contains(&(from_first - all - 1))
        };
        let year_days = if day.leap_year() { 366 } else { 365 };
        let month_days = i32::from(day.num_days_in_month());
        (self.months.is_empty() || self.months.contains(&(day.month() as i32)))
            && either(&self.year_days, day.ordinal() as i32, year_days)
            && either(&self.month_days, day.day() as i32, month_days)
            && (self.weeks.is_empty() || self.fits_week(day))
            && (self.weekdays.is_empty() || self.fits_weekday(day, year_days, month_days))
    }

    /// Weeks of a year begin with the one that has four of its days.
    fn fits_week(&self, day: NaiveDate) -> bool {
        let week = self.week_of(day);
        // The fourth day of a week stands in the year that the week belongs to.
        let Some(middle) = week.checked_add_signed(TimeDelta::days(3)) else { return false };
        let number = middle.ordinal0() as i32 / 7 + 1;
        let last = [31, 30, 29, 28]
            .into_iter()
            .filter_map(|at| NaiveDate::from_ymd_opt(middle.year(), 12, at))
            .map(|at| self.week_of(at) + TimeDelta::days(3))
            .find(|fourth| fourth.year() == middle.year())
            .map_or(52, |fourth| fourth.ordinal0() as i32 / 7 + 1);
        // A week that belongs to the next or the last year counts where its number does: its days do, in this one.
        self.weeks.contains(&number) || self.weeks.contains(&(number - last - 1))
    }

    fn fits_weekday(&self, day: NaiveDate, year_days: i32, month_days: i32) -> bool {
        let by_month = self.frequency == Frequency::Monthly || !self.months.is_empty();
        let (at, all) = if by_month { (day.day0() as i32, month_days) } else { (day.ordinal0() as i32, year_days) };
        let (from_first, from_last) = (at / 7 + 1, -((all - 1 - at) / 7 + 1));
        self.weekdays
            .iter()
            .any(|(nth, weekday)| *weekday == day.weekday() && (*nth == 0 || *nth == from_first || *nth == from_last))
    }

    /// What a rule leaves open is what its start says (RFC 5545, section 3.3.10).
    fn complete(&mut self) {
        let start = self.start.date();
        let open = self.weeks.is_empty() && self.year_days.is_empty() && self.month_days.is_empty();
        if open && self.weekdays.is_empty() {
            match self.frequency {
                Frequency::Daily => {}
                Frequency::Weekly => self.weekdays = vec![(0, start.weekday())],
                Frequency::Monthly => self.month_days = vec![start.day() as i32],
                Frequency::Yearly => {
                    self.month_days = vec![start.day() as i32];
                    if self.months.is_empty() {
                        self.months = vec![start.month() as i32];
                    }
                }
            }
        }
    }

    /// Parts that the RFC forbids beside each other.
    fn agree(&self, wrong: &mut Vec<Said>) {
        let mut apart = |is: bool, part: &str, other: &str, mend: &str| {
            if is {
                wrong.push(Said::new("rule.together", [&part, &other, &mend]));
            }
        };
        let name = match self.frequency {
            Frequency::Daily => "FREQ=DAILY",
            Frequency::Weekly => "FREQ=WEEKLY",
            Frequency::Monthly => "FREQ=MONTHLY",
            Frequency::Yearly => "FREQ=YEARLY",
        };
        let yearly = self.frequency == Frequency::Yearly;
        let numbered = self.weekdays.iter().any(|(nth, _)| *nth != 0);
        let rare = matches!(self.frequency, Frequency::Monthly | Frequency::Yearly);
        apart(!yearly && !self.weeks.is_empty(), "BYWEEKNO", name, "FREQ=YEARLY");
        apart(!yearly && !self.year_days.is_empty(), "BYYEARDAY", name, "FREQ=YEARLY");
        let weekly = self.frequency == Frequency::Weekly;
        apart(weekly && !self.month_days.is_empty(), "BYMONTHDAY", name, "FREQ=MONTHLY");
        apart(!rare && numbered, "a numbered BYDAY", name, "FREQ=MONTHLY or FREQ=YEARLY");
        apart(numbered && !self.weeks.is_empty(), "a numbered BYDAY", "BYWEEKNO", "BYDAY=MO");
        apart(!self.weeks.is_empty() && self.weekdays.is_empty(), "BYWEEKNO", "no BYDAY", "BYDAY=MO beside it");
        let others = [&self.months, &self.weeks, &self.year_days, &self.month_days];
        let lonely = others.iter().all(|part| part.is_empty()) && self.weekdays.is_empty() && self.times.len() < 2;
        apart(lonely && !self.positions.is_empty(), "BYSETPOS", "no other BY part", "BYDAY beside it");
    }

    /// Whether it sounds at all, in a time that is long enough to tell.
    fn ever_sounds(&self) -> bool {
        let (mut sets, mut found) = (Sets::default(), Vec::new());
        for day in self.start.date().iter_days().take(FAR_DAYS).take_while(|day| day.year() <= LAST_YEAR) {
            self.on(day, &mut sets, &mut found);
            let Some(first) = found.first() else { continue };
            return match self.end {
                End::Never => true,
                End::Local(last) => *first <= last,
                // No zone is a day away from UTC.
                End::Instant(last) => first.and_utc().timestamp_micros() <= last.0.saturating_add(DAY),
            };
        }
        false
    }

    /// When it sounds for the `count`th time.
    fn last_of(&self, count: u32) -> NaiveDateTime {
        let mut sets = Sets::default();
        let mut found = Vec::new();
        let mut left = count as usize;
        for day in self.start.date().iter_days().take_while(|day| day.year() <= LAST_YEAR) {
            found.clear();
            self.on(day, &mut sets, &mut found);
            match found.get(left - 1) {
                Some(last) => return *last,
                None => left -= found.len(),
            }
        }
        NaiveDate::from_ymd_opt(LAST_YEAR + 1, 1, 1).unwrap_or_default().and_time(NaiveTime::MIN)
    }
}

/// The days of the period that was asked for last, of which BYSETPOS picks.
#[derive(Default)]
struct Sets(Option<(NaiveDate, Vec<NaiveDate>)>);

impl Sets {
    fn of(&mut self, rule: &Rule, day: NaiveDate) -> &[NaiveDate] {
        let (first, days) = match rule.frequency {
            Frequency::Daily => (day, 1),
            Frequency::Weekly => (rule.week_of(day), 7),
            Frequency::Monthly => (day.with_day(1).unwrap_or(day), usize::from(day.num_days_in_month())),
            Frequency::Yearly => (day.with_ordinal(1).unwrap_or(day), if day.leap_year() { 366 } else { 365 }),
        };
        if self.0.as_ref().is_none_or(|(known, _)| *known != first) {
            let set = first.iter_days().take(days).filter(|day| rule.fits(*day)).collect();
            self.0 = Some((first, set));
        }
        self.0.as_ref().map_or(&[], |(_, set)| set)
    }
}

/// Periods; every third year, with room.
const MOST_INTERVAL: i32 = 1_000;
/// It is counted day by day whenever a rule is read. Nearly three years of every day; what goes on longer says UNTIL.
const MOST_COUNT: i32 = 1_000;
/// Every hour of the day.
const MOST_A_DAY: usize = 24;
/// 29 February stays away for eight years at most, and falls on a Monday again within forty.
const FAR_YEARS: usize = 40;
const FAR_DAYS: usize = FAR_YEARS * 366;
const DAY: i64 = 86_400 * SECOND;
