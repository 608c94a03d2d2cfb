//! Takes the fields out of a JSON object one by one, and tells of all that are wrong.

use crate::broadcast::Area;
use crate::broadcast::said::{self, At, Mistakes, Said, quoted};
use crate::time::Civil;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use serde_json::{Map, Value};

/// Whether a file's first object is one of another kind of file.
pub(super) fn foreign(values: &[Value], known: &[&str]) -> Option<Said> {
    let names = values.first()?.as_object()?.keys().map(String::as_str);
    let names = said::foreign(names, |name| known.contains(&name))?;
    Some(Said::new("read.foreign", [&names, &known.join(", ")]))
}

/// An object, and where it stands.
pub(super) struct Fields<'v, 'm> {
    map: &'v Map<String, Value>,
    /// Before the name of a field: `when.`.
    prefix: &'static str,
    at: At,
    mistakes: &'m mut Mistakes,
}

impl<'v, 'm> Fields<'v, 'm> {
    /// `None`, and told, where the value is no object. Fields that are not `known` are told.
    pub fn of(
        value: &'v Value,
        prefix: &'static str,
        at: At,
        known: &[&str],
        mistakes: &'m mut Mistakes,
    ) -> Option<Self> {
        let Some(map) = value.as_object() else {
            mistakes.add(at, prefix.trim_end_matches('.'), Said::new("read.object", []));
            return None;
        };
        for name in map.keys().filter(|name| !known.contains(&name.as_str())) {
            let field = format!("{prefix}{}", name.get(..name.floor_char_boundary(60)).unwrap_or_default());
            mistakes.add(at, &field, Said::new("read.column", [&quoted(name), &known.join(", ")]));
        }
        Some(Self { map, prefix, at, mistakes })
    }

    /// A field that is there and is not null.
    pub fn value(&self, name: &str) -> Option<&'v Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    pub fn wrong(&mut self, name: &str, said: Said) {
        self.mistakes.add(self.at, &format!("{}{name}", self.prefix), said);
    }

    /// A field that must be there, read by `read`; told where it is not, or is something else.
    pub fn need<T>(&mut self, name: &str, kind: Kind, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        if self.value(name).is_none() {
            self.wrong(name, Said::new("read.missing", [&kind.1]));
        }
        self.may(name, kind, read)
    }

    /// The same where it may be left out.
    pub fn may<T>(&mut self, name: &str, kind: Kind, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let value = self.value(name)?;
        let read = read(value);
        if read.is_none() {
            self.wrong(name, Said::new("read.kind", [&quoted(&shown(value)), &kind.0, &kind.1]));
        }
        read
    }

    /// A list, each of its elements read by `read`; what is wrong in it is told and left out.
    pub fn list<T>(&mut self, name: &str, most: usize, kind: Kind, read: impl Fn(&Value) -> Option<T>) -> Vec<T> {
        let Some(value) = self.value(name) else { return Vec::new() };
        let Some(values) = value.as_array() else {
            self.wrong(name, Said::new("read.kind", [&quoted(&shown(value)), &"a list", &format!("[{}]", kind.1)]));
            return Vec::new();
        };
        if values.len() > most {
            self.wrong(name, Said::new("read.many", [&values.len(), &most]));
        }
        let mut list = Vec::new();
        for value in values.iter().take(most) {
            match read(value) {
                Some(one) => list.push(one),
                None => self.wrong(name, Said::new("read.kind", [&quoted(&shown(value)), &kind.0, &kind.1])),
            }
        }
        list
    }

    /// Areas; why one is none is told.
    pub fn areas(&mut self, name: &str, most: usize) -> Vec<Area> {
        let texts = self.list(name, most, ("an area", "\"vn/01/00004\""), text);
        let mut areas = Vec::new();
        for text in texts {
            match text.parse() {
                Ok(area) => areas.push(area),
                Err(error) => self.wrong(name, Said::new("area.path", [&error])),
            }
        }
        areas
    }
}

/// What a field should be, and an example.
pub(super) type Kind = (&'static str, &'static str);

pub(super) const TEXT: Kind = ("a text", "\"Bản tin sáng\"");
pub(super) const DAY: Kind = ("a day", "\"2026-11-23\"");
pub(super) const LOCAL: Kind = ("a local time", "\"2026-11-23T06:30\"");
pub(super) const CLOCK: Kind = ("a time of day", "\"22:00\"");
pub(super) const ZONE: Kind = ("a time zone", "\"Asia/Ho_Chi_Minh\"");
pub(super) const YES: Kind = ("true or false", "true");

pub(super) fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

pub(super) fn day(value: &Value) -> Option<NaiveDate> {
    crate::broadcast::register::day(value.as_str()?)
}

/// `2026-11-23T06:30` or with seconds, without an offset: a time on the wall has none.
pub(super) fn local(value: &Value) -> Option<NaiveDateTime> {
    let (day, time) = value.as_str()?.split_once('T')?;
    Some(crate::broadcast::register::day(day)?.and_time(clock_of(time)?))
}

pub(super) fn clock(value: &Value) -> Option<NaiveTime> {
    clock_of(value.as_str()?)
}

fn clock_of(text: &str) -> Option<NaiveTime> {
    let mut parts = text.split(':');
    let mut two = || parts.next().map(|part| digits(part).filter(|_| part.len() == 2).map(i32::unsigned_abs));
    let (hour, minute, second) = (two()??, two()??, two().unwrap_or(Some(0))?);
    if parts.next().is_some() { None } else { NaiveTime::from_hms_opt(hour, minute, second) }
}

/// RFC 3339.
pub(super) fn civil(value: &Value) -> Option<Civil> {
    let text = value.as_str().filter(|text| text.len() <= 64)?;
    DateTime::parse_from_rfc3339(text).ok().map(|at| Civil(at.timestamp_micros()))
}

pub(super) fn zone(value: &Value) -> Option<chrono_tz::Tz> {
    value.as_str()?.parse().ok()
}

/// A number out of nothing but digits.
pub(super) fn digits(text: &str) -> Option<i32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// A value as it is quoted: a text without its JSON quotes.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
