//! What an area allows, as data: the nearest area that says something decides, field by field.
//!
//! ```json
//! [{"area": "vn", "quiet": {"from": "22:00", "until": "05:00"}},
//!  {"area": "vn/01", "quotas": [{"days": ["mo", "tu", "we", "th", "fr"], "sessions": 2},
//!                               {"days": ["sa", "su"], "sessions": 0}],
//!   "longest_minutes": 15, "gap_minutes": 5, "approval": true, "priority_in_quiet": false}]
//! ```

use super::fields::{CLOCK, Fields, YES, clock};
use super::form;
use crate::broadcast::Area;
use crate::broadcast::said::{At, Mistake, Mistakes, Said};
use crate::time::SECOND;
use chrono::{Datelike, NaiveDate, NaiveTime, Weekday};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What one area says; what it leaves open is said above it, or by [`Rules::default`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub quiet: Option<Quiet>,
    /// Whether priority may sound in quiet hours. Not by default.
    pub priority_in_quiet: Option<bool>,
    /// Of each day, the first quota that names its weekday holds. None by default; an empty list lifts those above.
    pub quotas: Option<Vec<Quota>>,
    pub longest_minutes: Option<u32>,
    /// Between the end of one item and the beginning of the next.
    pub gap_minutes: Option<u32>,
    /// Whether somebody must have approved it. Not by default.
    pub approval: Option<bool>,
}

/// Local times; from 22:00 until 05:00 goes over midnight. From a time until the same is never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quiet {
    pub from: NaiveTime,
    pub until: NaiveTime,
}

impl Quiet {
    pub const NEVER: Self = Self { from: NaiveTime::MIN, until: NaiveTime::MIN };
}

/// Of everything that sounds in an area and begins on such a day, priority too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// In the order of a week; empty means every day.
    pub days: Vec<Weekday>,
    /// Items; 0 lets none sound.
    pub sessions: Option<u32>,
    pub minutes: Option<u32>,
}

impl Quota {
    fn holds(&self, day: NaiveDate) -> bool {
        self.days.is_empty() || self.days.contains(&day.weekday())
    }
}

/// What holds at a place, every field decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    pub quiet: Quiet,
    pub priority_in_quiet: bool,
    pub quotas: Vec<Quota>,
    /// µs.
    pub longest: Option<i64>,
    /// µs.
    pub gap: i64,
    pub approval: bool,
}

impl Rules {
    /// Of the day on which an item begins.
    pub fn quota(&self, day: NaiveDate) -> Option<&Quota> {
        self.quotas.iter().find(|quota| quota.holds(day))
    }
}

/// Where nobody says anything: quiet from 22:00 until 05:00 (DESIGN §7), all else open.
impl Default for Rules {
    fn default() -> Self {
        let at = |hour| NaiveTime::from_hms_opt(hour, 0, 0).unwrap_or(NaiveTime::MIN);
        Self {
            quiet: Quiet { from: at(22), until: at(5) },
            priority_in_quiet: false,
            quotas: Vec::new(),
            longest: None,
            gap: 0,
            approval: false,
        }
    }
}

/// Policies by area.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies(BTreeMap<Area, Policy>);

impl Policies {
    pub fn new(policies: impl IntoIterator<Item = (Area, Policy)>) -> Self {
        Self(policies.into_iter().collect())
    }

    pub fn get(&self, area: &Area) -> Option<&Policy> {
        self.0.get(area)
    }

    /// In the order of the areas' codes.
    pub fn iter(&self) -> impl Iterator<Item = (&Area, &Policy)> {
        self.0.iter()
    }

    pub fn insert(&mut self, area: Area, policy: Policy) -> Option<Policy> {
        self.0.insert(area, policy)
    }

    pub fn remove(&mut self, area: &Area) -> Option<Policy> {
        self.0.remove(area)
    }

    /// What holds at an area.
    pub fn rules(&self, area: &Area) -> Rules {
        let above = || area.lineage().filter_map(|at| self.0.get(at));
        let open = Rules::default();
        let micros = |minutes: u32| i64::from(minutes) * MINUTE;
        Rules {
            quiet: above().find_map(|policy| policy.quiet).unwrap_or(open.quiet),
            priority_in_quiet: above().find_map(|policy| policy.priority_in_quiet).unwrap_or(open.priority_in_quiet),
            quotas: above().find_map(|policy| policy.quotas.clone()).unwrap_or(open.quotas),
            longest: above().find_map(|policy| policy.longest_minutes).map(micros).or(open.longest),
            gap: above().find_map(|policy| policy.gap_minutes).map_or(open.gap, micros),
            approval: above().find_map(|policy| policy.approval).unwrap_or(open.approval),
        }
    }

    /// Reads an array of policies, each with its area; all that is wrong is told.
    pub fn read(json: &[u8]) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Mistakes::default();
        let mut policies = Self::default();
        let Some(value) = form::value(json, &mut mistakes) else { return mistakes.or(policies) };
        let Some(values) = value.as_array() else {
            mistakes.add(At::Whole, "", Said::new("read.array", []));
            return mistakes.or(policies);
        };
        if let Some(said) = super::fields::foreign(values, KNOWN) {
            mistakes.add(At::Item(1), "", said);
            return mistakes.or(policies);
        }
        if values.len() > MOST_POLICIES {
            mistakes.add(At::Whole, "", Said::new("read.many", [&values.len(), &MOST_POLICIES]));
        }
        for (value, item) in values.iter().take(MOST_POLICIES).zip(1..) {
            let at = At::Item(item);
            if let Some((area, policy)) = policy(value, at, &mut mistakes)
                && policies.0.insert(area.clone(), policy).is_some()
            {
                mistakes.add(at, "area", Said::new("policy.twice", [&area]));
            }
        }
        mistakes.or(policies)
    }

    /// What [`Policies::read`] reads back as the same policies.
    pub fn to_json(&self) -> Value {
        Value::Array(self.0.iter().map(|(area, policy)| policy_json(area, policy)).collect())
    }
}

fn policy(value: &Value, at: At, mistakes: &mut Mistakes) -> Option<(Area, Policy)> {
    let mut fields = Fields::of(value, "", at, KNOWN, mistakes)?;
    let area = fields.need("area", ("an area", "\"vn/01\""), super::fields::text);
    let area = area.and_then(|text| match text.parse() {
        Ok(area) => Some(area),
        Err(error) => {
            fields.wrong("area", Said::new("area.path", [&error]));
            None
        }
    });
    let minutes = |value: &Value| u32::try_from(value.as_u64()?).ok().filter(|minutes| *minutes <= MOST_MINUTES);
    let policy = Policy {
        quiet: None,
        priority_in_quiet: fields.may("priority_in_quiet", YES, Value::as_bool),
        quotas: None,
        longest_minutes: fields.may("longest_minutes", WHOLE, minutes),
        gap_minutes: fields.may("gap_minutes", WHOLE, minutes),
        approval: fields.may("approval", YES, Value::as_bool),
    };
    let (quiet, quotas) = (fields.value("quiet"), fields.value("quotas"));
    let quiet = quiet.and_then(|value| quiet_of(value, at, mistakes));
    let quotas = quotas.map(|value| match value.as_array() {
        Some(values) => {
            if values.len() > MOST_QUOTAS {
                mistakes.add(at, "quotas", Said::new("read.many", [&values.len(), &MOST_QUOTAS]));
            }
            values.iter().take(MOST_QUOTAS).filter_map(|value| quota_of(value, at, mistakes)).collect()
        }
        None => {
            mistakes.add(at, "quotas", Said::new("read.array", []));
            Vec::new()
        }
    });
    Some((area?, Policy { quiet, quotas, ..policy }))
}

fn quiet_of(value: &Value, at: At, mistakes: &mut Mistakes) -> Option<Quiet> {
    let mut fields = Fields::of(value, "quiet.", at, &["from", "until"], mistakes)?;
    let (from, until) = (fields.need("from", CLOCK, clock), fields.need("until", CLOCK, clock));
    Some(Quiet { from: from?, until: until? })
}

fn quota_of(value: &Value, at: At, mistakes: &mut Mistakes) -> Option<Quota> {
    let mut fields = Fields::of(value, "quotas.", at, &["days", "sessions", "minutes"], mistakes)?;
    let weekday = |value: &Value| {
        let known = NAMES.iter().position(|name| Some(*name) == value.as_str())?;
        u8::try_from(known).ok()?.try_into().ok()
    };
    let mut days: Vec<Weekday> = fields.list("days", 7, ("mo, tu, we, th, fr, sa or su", "\"mo\""), weekday);
    days.sort_by_key(Weekday::num_days_from_monday);
    days.dedup();
    let number = |value: &Value| u32::try_from(value.as_u64()?).ok().filter(|number| *number <= MOST_MINUTES);
    let (sessions, minutes) = (fields.may("sessions", WHOLE, number), fields.may("minutes", WHOLE, number));
    if fields.value("sessions").or(fields.value("minutes")).is_none() {
        fields.wrong("sessions", Said::new("policy.quota", []));
    }
    Some(Quota { days, sessions, minutes })
}

fn policy_json(area: &Area, policy: &Policy) -> Value {
    let mut map = Map::new();
    map.insert("area".into(), json!(area));
    if let Some(quiet) = policy.quiet {
        map.insert("quiet".into(), json!({ "from": quiet.from.to_string(), "until": quiet.until.to_string() }));
    }
    if let Some(quotas) = &policy.quotas {
        let quota = |quota: &Quota| {
            let days: Vec<_> = quota.days.iter().map(|day| NAMES[day.num_days_from_monday() as usize % 7]).collect();
            let numbers = [("sessions", quota.sessions), ("minutes", quota.minutes)];
            let mut map = Map::from_iter([("days".to_owned(), json!(days))]);
            map.extend(numbers.iter().filter_map(|(name, number)| Some(((*name).to_owned(), json!((*number)?)))));
            Value::Object(map)
        };
        map.insert("quotas".into(), Value::Array(quotas.iter().map(quota).collect()));
    }
    let numbers = [("longest_minutes", policy.longest_minutes), ("gap_minutes", policy.gap_minutes)];
    map.extend(numbers.iter().filter_map(|(name, number)| Some(((*name).to_owned(), json!((*number)?)))));
    let said = [("priority_in_quiet", policy.priority_in_quiet), ("approval", policy.approval)];
    map.extend(said.iter().filter_map(|(name, said)| Some(((*name).to_owned(), json!((*said)?)))));
    Value::Object(map)
}

const KNOWN: &[&str] = &["area", "quiet", "priority_in_quiet", "quotas", "longest_minutes", "gap_minutes", "approval"];
const NAMES: [&str; 7] = ["mo", "tu", "we", "th", "fr", "sa", "su"];
const WHOLE: super::fields::Kind = ("a whole number up to 1440", "15");
/// A day of minutes, and of sessions of a minute each.
const MOST_MINUTES: u32 = 1_440;
/// µs.
pub(super) const MINUTE: i64 = 60 * SECOND;
/// One for each commune of a country, each province and the country.
const MOST_POLICIES: usize = 10_000;
/// One for each day of the week.
const MOST_QUOTAS: usize = 7;
