//! What stands in the timetable.

use super::rule::Rule;
use crate::broadcast::register::{Register, outermost};
use crate::broadcast::said::{At, Mistake, Mistakes, Said, quoted};
use crate::broadcast::{Area, MOST_AREAS, Priority};
use crate::time::{Civil, SECOND};
use chrono::{Datelike, NaiveDate, NaiveDateTime};
use chrono_tz::Tz;
use uuid::Uuid;

/// One programme: what, where and when. [`Entry::read`] takes one in as JSON and checks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: Uuid,
    pub title: String,
    pub areas: Vec<Area>,
    /// Parts of these areas in which it does not sound.
    pub except: Vec<Area>,
    /// Normal or priority; an emergency is spoken, not planned.
    pub priority: Priority,
    pub plays: Plays,
    pub when: When,
    /// By which clock `when` is meant; that of each place where none is named.
    pub zone: Option<Tz>,
    /// The first day on which it sounds.
    pub from: Option<NaiveDate>,
    /// The first day on which it no longer sounds.
    pub until: Option<NaiveDate>,
    /// Who has approved it, where a policy asks for somebody.
    pub approver: Option<String>,
    /// What is not enabled is kept, and neither sounds nor is refused.
    pub enabled: bool,
    /// When it was entered: within a class, who came first keeps the slot.
    pub created: Civil,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plays {
    /// A stored file, by the 64 hex digits of its SHA-256. Length in µs.
    Media { sha256: String, length: i64 },
    /// A live source, which may speak for so long, µs; its slot is that long.
    Live { name: String, limit: i64 },
}

impl Plays {
    /// How long it holds the speakers, µs.
    pub fn length(&self) -> i64 {
        match self {
            Self::Media { length, .. } => *length,
            Self::Live { limit, .. } => *limit,
        }
    }
}

/// Times of the clock on the wall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    Once(NaiveDateTime),
    /// Again and again, by RFC 5545: see [`Rule`] for what is taken. `start` is the first time that may sound; it does
    /// only if the rule says so.
    Rule {
        start: NaiveDateTime,
        rrule: String,
        /// Days on which it stays silent, such as holidays; extra times too.
        except: Vec<NaiveDate>,
        /// Times at which it sounds besides.
        extra: Vec<NaiveDateTime>,
    },
}

impl Entry {
    /// Everything that is wrong with it by itself. Whether its areas are there, and whether policies let it sound, is
    /// for [`super::plan()`] to say, day by day.
    pub fn check(&self) -> Result<(), Vec<Mistake>> {
        let mut mistakes = Mistakes::default();
        self.check_into(At::Whole, &mut mistakes);
        mistakes.or(())
    }

    pub(super) fn check_into(&self, at: At, mistakes: &mut Mistakes) {
        let mut wrong = |field: &str, said: Said| mistakes.add(at, field, said);
        word(&self.title, "title", "\"Bản tin sáng\"", &mut wrong);
        if self.areas.is_empty() {
            wrong("areas", Said::new("read.missing", [&"[\"vn/01/00004\"]"]));
        }
        for (field, areas) in [("areas", &self.areas), ("except", &self.except)] {
            let most = if field == "areas" { MOST_AREAS } else { MOST_EXCEPT };
            if areas.len() > most {
                wrong(field, Said::new("read.many", [&areas.len(), &most]));
            }
        }
        for area in self.except.iter().take(MOST_EXCEPT) {
            if !self.areas.iter().any(|wide| wide.contains(area)) {
                wrong("except", Said::new("timetable.excepted", [area]));
            }
        }
        if self.priority == Priority::Emergency {
            wrong("priority", Said::new("timetable.priority", [&"emergency"]));
        }
        let field = match &self.plays {
            Plays::Media { sha256, .. } => {
                if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    wrong("plays.media", Said::new("timetable.sha256", [&quoted(sha256)]));
                }
                "plays.length_us"
            }
            Plays::Live { name, .. } => {
                word(name, "plays.live", "\"studio\"", &mut wrong);
                "plays.limit_us"
            }
        };
        let length = self.plays.length();
        if length <= 0 || length > MOST_LENGTH {
            wrong(field, Said::new("timetable.length", [&(length / SECOND), &(MOST_LENGTH / SECOND)]));
        }
        for (field, day) in [("from", self.from), ("until", self.until)] {
            year(field, day.into_iter(), &mut wrong);
        }
        if let (Some(from), Some(until)) = (self.from, self.until)
            && until <= from
        {
            wrong("until", Said::new("timetable.dates", [&until, &from]));
        }
        if let Some(approver) = &self.approver {
            word(approver, "approver", "\"Nguyễn Văn An\"", &mut wrong);
        }
        match &self.when {
            When::Once(at) => year("when.once", std::iter::once(at.date()), &mut wrong),
            When::Rule { start, rrule, except, extra } => {
                year("when.start", std::iter::once(start.date()), &mut wrong);
                year("when.extra", extra.iter().map(NaiveDateTime::date), &mut wrong);
                for (field, count) in [("when.except", except.len()), ("when.extra", extra.len())] {
                    if count > MOST_DATES {
                        wrong(field, Said::new("read.many", [&count, &MOST_DATES]));
                    }
                }
                if is_planned(start.date())
                    && let Err(said) = Rule::read(rrule, *start)
                {
                    said.into_iter().for_each(|said| wrong("when.rrule", said));
                }
            }
        }
    }

    /// Local times at which it begins, on the days from `first` to `last`, both with their day; in order, each once.
    /// Nothing for an entry that [`Entry::check`] refuses.
    pub fn begins(&self, first: NaiveDate, last: NaiveDate, zone: Tz) -> Vec<NaiveDateTime> {
        let zone = self.zone.unwrap_or(zone);
        let first = self.from.map_or(first, |from| first.max(from));
        let last = self.until.and_then(|until| until.pred_opt()).map_or(last, |day| last.min(day));
        let mut begins = match &self.when {
            When::Once(at) => vec![*at],
            When::Rule { start, rrule, except, extra } => {
                let mut begins = match Rule::read(rrule, *start) {
                    Ok(rule) => rule.between(first, last, zone),
                    Err(_) => return Vec::new(),
                };
                begins.extend(extra);
                begins.retain(|at| !except.contains(&at.date()));
                begins
            }
        };
        begins.retain(|at| first <= at.date() && at.date() <= last);
        begins.sort_unstable();
        begins.dedup();
        begins
    }

    /// Whether its areas, and not its exceptions, hold a place.
    pub fn covers(&self, place: &Area) -> bool {
        self.areas.iter().any(|area| area.contains(place)) && !self.except.iter().any(|area| area.contains(place))
    }

    /// What it means by a clock: the zone that it names, or that of its first area.
    pub fn zone(&self, register: &Register) -> Tz {
        self.zone.unwrap_or_else(|| {
            let first = outermost(&self.areas).into_iter().next();
            first.map_or(chrono_tz::UTC, |area| register.zone(&area))
        })
    }
}

/// A word for people: not empty, not long, nothing in it that cannot be shown.
fn word(text: &str, field: &str, example: &str, wrong: &mut impl FnMut(&str, Said)) {
    if text.trim().is_empty() {
        wrong(field, Said::new("read.missing", [&example]));
    } else if text.len() > MOST_WORD {
        wrong(field, Said::new("read.long", [&text.len(), &MOST_WORD]));
    } else if text.chars().any(char::is_control) {
        wrong(field, Said::new("read.control", [&quoted(text)]));
    }
}

fn year(field: &str, days: impl Iterator<Item = NaiveDate>, wrong: &mut impl FnMut(&str, Said)) {
    for day in days.filter(|day| !is_planned(*day)).take(1) {
        wrong(field, Said::new("timetable.year", [&day.year(), &FIRST_YEAR, &LAST_YEAR]));
    }
}

fn is_planned(day: NaiveDate) -> bool {
    (FIRST_YEAR..=LAST_YEAR).contains(&day.year())
}

/// µs: a day. What sounds longer is several items.
pub const MOST_LENGTH: i64 = 86_400 * SECOND;
/// Bytes of a title, a name, a source: as orders take them.
pub(super) const MOST_WORD: usize = 200;
/// Communes of a large province.
pub(super) const MOST_EXCEPT: usize = 256;
/// Days and times of one entry besides its rule: a year of them.
pub(super) const MOST_DATES: usize = 366;
/// Time zones are known, and calendars hold, for these.
pub(super) const FIRST_YEAR: i32 = 2000;
pub(super) const LAST_YEAR: i32 = 2199;
