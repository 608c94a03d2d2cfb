//! Reads the text of a rule, part by part.

use super::super::entry::{FIRST_YEAR, LAST_YEAR};
use super::super::fields::digits;
use super::{End, Frequency};
use crate::broadcast::said::{Said, quoted};
use crate::time::Civil;
use chrono::{Datelike, NaiveDate, NaiveTime, Timelike, Weekday};
use std::collections::BTreeMap;

pub(super) fn parts(text: &str) -> Result<BTreeMap<String, String>, Vec<Said>> {
    if text.len() > MOST_TEXT {
        return Err(vec![Said::new("read.long", [&text.len(), &MOST_TEXT])]);
    }
    let mut wrong = Vec::new();
    let mut parts = BTreeMap::new();
    let text = text.trim();
    let text = text.strip_prefix("RRULE:").unwrap_or(text);
    for part in text.split(';') {
        let Some((name, value)) = part.split_once('=') else {
            wrong.push(Said::new("rule.part", [&quoted(part)]));
            continue;
        };
        let name = name.trim().to_ascii_uppercase();
        if !PARTS.contains(&name.as_str()) {
            wrong.push(Said::new("rule.unknown", [&quoted(&name)]));
        } else if parts.insert(name.clone(), value.trim().to_ascii_uppercase()).is_some() {
            wrong.push(Said::new("rule.twice", [&name]));
        }
    }
    if wrong.is_empty() { Ok(parts) } else { Err(wrong) }
}

pub(super) fn frequency(parts: &BTreeMap<String, String>, wrong: &mut Vec<Said>) -> Option<Frequency> {
    match parts.get("FREQ").map(String::as_str) {
        Some("DAILY") => return Some(Frequency::Daily),
        Some("WEEKLY") => return Some(Frequency::Weekly),
        Some("MONTHLY") => return Some(Frequency::Monthly),
        Some("YEARLY") => return Some(Frequency::Yearly),
        Some(fine @ ("SECONDLY" | "MINUTELY" | "HOURLY")) => wrong.push(Said::new("rule.too_fine", [&fine])),
        Some(other) => wrong.push(Said::new("rule.value", [&quoted(other), &"FREQ", &"DAILY"])),
        None => wrong.push(Said::new("rule.freq", [])),
    }
    None
}

pub(super) struct Reader<'a> {
    pub(super) parts: &'a BTreeMap<String, String>,
    pub(super) wrong: Vec<Said>,
}

impl Reader<'_> {
    pub(super) fn number(&mut self, name: &str, least: i32, most: i32) -> Option<i32> {
        let text = self.parts.get(name)?;
        let number = digits(text).filter(|number| (least..=most).contains(number));
        if number.is_none() {
            self.wrong.push(Said::new("rule.value", [&quoted(text), &name, &format!("{least} to {most}")]));
        }
        number
    }

    /// A list; from the end too where `signed`.
    pub(super) fn numbers(&mut self, name: &str, least: i32, most: i32, signed: bool) -> Vec<i32> {
        let Some(text) = self.parts.get(name) else { return Vec::new() };
        let mut numbers = Vec::new();
        for one in text.split(',') {
            let (negative, bare) = match one.strip_prefix('-') {
                Some(bare) if signed => (true, bare),
                _ => (false, one.strip_prefix('+').filter(|_| signed).unwrap_or(one)),
            };
            match digits(bare).filter(|number| (least..=most).contains(number)) {
                Some(number) => numbers.push(if negative { -number } else { number }),
                None => {
                    let range = if signed {
                        format!("{least} to {most} or -{least} to -{most}")
                    } else {
                        format!("{least} to {most}")
                    };
                    self.wrong.push(Said::new("rule.value", [&quoted(one), &name, &range]));
                }
            }
        }
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    pub(super) fn weekdays(&mut self) -> Vec<(i32, Weekday)> {
        let Some(text) = self.parts.get("BYDAY") else { return Vec::new() };
        let mut weekdays = Vec::new();
        for one in text.split(',') {
            let at = one.len().saturating_sub(2);
            let read = one.is_char_boundary(at).then(|| one.split_at(at)).and_then(|(nth, name)| {
                let bare = nth.strip_prefix(['-', '+']).unwrap_or(nth);
                let number = if nth.is_empty() { 0 } else { digits(bare).filter(|nth| (1..=53).contains(nth))? };
                Some((if nth.starts_with('-') { -number } else { number }, weekday(name)?))
            });
            match read {
                Some(weekday) => weekdays.push(weekday),
                None => self.wrong.push(Said::new(
                    "rule.value",
                    [&quoted(one), &"BYDAY", &"MO, TU, WE, TH, FR, SA, SU, 1MO or -1FR"],
                )),
            }
        }
        weekdays
    }

    pub(super) fn week_start(&mut self) -> Weekday {
        let Some(text) = self.parts.get("WKST") else { return Weekday::Mon };
        weekday(text).unwrap_or_else(|| {
            self.wrong.push(Said::new("rule.value", [&quoted(text), &"WKST", &"MO or SU"]));
            Weekday::Mon
        })
    }

    /// A day means the whole of it.
    pub(super) fn until(&mut self) -> End {
        let Some(text) = self.parts.get("UNTIL") else { return End::Never };
        let (bare, is_utc) = text.strip_suffix('Z').map_or((text.as_str(), false), |bare| (bare, true));
        let (day, time) = bare.split_once('T').unwrap_or((bare, if is_utc { "" } else { "235959" }));
        let number = |text: &str, at: std::ops::Range<usize>| text.get(at).and_then(digits).map(i32::unsigned_abs);
        let read = || {
            let year = day.get(0..4).and_then(digits).filter(|_| day.len() == 8 && time.len() == 6)?;
            let date = NaiveDate::from_ymd_opt(year, number(day, 4..6)?, number(day, 6..8)?)?;
            date.and_hms_opt(number(time, 0..2)?, number(time, 2..4)?, number(time, 4..6)?)
        };
        match read().filter(|at| (FIRST_YEAR..=LAST_YEAR).contains(&at.year())) {
            Some(at) if is_utc => End::Instant(Civil(at.and_utc().timestamp_micros())),
            Some(at) => End::Local(at),
            None => {
                self.wrong.push(Said::new("rule.value", [&quoted(text), &"UNTIL", &"20261231 or 20261231T235959"]));
                End::Never
            }
        }
    }
}

fn weekday(name: &str) -> Option<Weekday> {
    let names = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"];
    u8::try_from(names.iter().position(|known| *known == name)?).ok()?.try_into().ok()
}

pub(super) fn times(start: NaiveTime, hours: &[i32], minutes: &[i32]) -> Vec<NaiveTime> {
    let or = |list: &[i32], open: u32| -> Vec<u32> {
        if list.is_empty() { vec![open] } else { list.iter().map(|number| number.unsigned_abs()).collect() }
    };
    let (hours, minutes) = (or(hours, start.hour()), or(minutes, start.minute()));
    let minutes = &minutes;
    let all = hours.into_iter().flat_map(|hour| minutes.iter().map(move |minute| (hour, *minute)));
    all.filter_map(|(hour, minute)| start.with_hour(hour)?.with_minute(minute)).collect()
}

const PARTS: &[&str] = &[
    "FREQ",
    "INTERVAL",
    "COUNT",
    "UNTIL",
    "BYMONTH",
    "BYWEEKNO",
    "BYYEARDAY",
    "BYMONTHDAY",
    "BYDAY",
    "BYHOUR",
    "BYMINUTE",
    "BYSETPOS",
    "WKST",
];
/// Of a rule; every day of a month by number has 90 bytes.
const MOST_TEXT: usize = 512;
