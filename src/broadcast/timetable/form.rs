//! An entry as JSON: what the API takes and gives, and a node keeps.
//!
//! ```json
//! {"id": "0199f3c1-0000-7000-8000-000000000001", "title": "Bản tin sáng",
//!  "areas": ["vn/01"], "except": ["vn/01/00004"], "priority": "normal",
//!  "plays": {"media": "<sha256>", "length_us": 600000000},
//!  "when": {"start": "2026-11-23T06:30:00", "rrule": "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR",
//!           "except": ["2027-01-01"], "extra": ["2026-12-24T19:00:00"]},
//!  "zone": "Asia/Ho_Chi_Minh", "from": "2026-11-23", "until": "2027-11-23",
//!  "approver": "Nguyễn Văn An", "enabled": true, "created": "2026-11-22T08:00:00Z"}
//! ```
//!
//! Or `"plays": {"live": "studio", "limit_us": 600000000}` and `"when": {"once": "2026-11-23T06:30"}`. What may be left
//! out: `except`, `zone`, `from`, `until`, `approver`; `enabled`, which is then true.

use super::entry::{Entry, MOST_DATES, MOST_EXCEPT, Plays, When};
use super::fields::{self, DAY, Fields, LOCAL, TEXT, YES, ZONE, civil, day, local, text, zone};
use crate::broadcast::said::{At, Mistake, Mistakes, Said, quoted};
use crate::broadcast::{Area, Priority};
use crate::time::Civil;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

impl Entry {
    /// Reads and checks one entry; all that is wrong with it is told.
    pub fn read(json: &[u8]) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Mistakes::default();
        let entry = value(json, &mut mistakes).and_then(|value| Self::of(&value, At::Whole, &mut mistakes));
        finish(entry, mistakes)
    }

    /// Reads an array of entries, each with an id of its own.
    pub fn read_all(json: &[u8]) -> Result<Vec<Self>, Vec<Mistake>> {
        let mut mistakes = Mistakes::default();
        let Some(value) = value(json, &mut mistakes) else { return finish(None, mistakes) };
        let Some(values) = value.as_array() else {
            mistakes.add(At::Whole, "", Said::new("read.array", []));
            return finish(None, mistakes);
        };
        if let Some(said) = fields::foreign(values, KNOWN) {
            mistakes.add(At::Item(1), "", said);
            return finish(None, mistakes);
        }
        if values.len() > super::MOST_ENTRIES {
            mistakes.add(At::Whole, "", Said::new("read.many", [&values.len(), &super::MOST_ENTRIES]));
            return finish(None, mistakes);
        }
        let mut ids = std::collections::BTreeSet::new();
        let mut entries = Vec::new();
        for (value, item) in values.iter().zip(1..) {
            if let Some(entry) = Self::of(value, At::Item(item), &mut mistakes) {
                if !ids.insert(entry.id) {
                    mistakes.add(At::Item(item), "id", Said::new("timetable.id", [&quoted(&entry.title)]));
                }
                entries.push(entry);
            }
        }
        mistakes.or(entries)
    }

    /// What [`Entry::read`] reads back as the same entry.
    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        let mut put = |name: &str, value: Value| drop(map.insert(name.to_owned(), value));
        put("id", json!(self.id));
        put("title", json!(self.title));
        put("areas", json!(self.areas));
        if !self.except.is_empty() {
            put("except", json!(self.except));
        }
        put("priority", json!(priority_name(self.priority)));
        put("plays", plays_json(&self.plays));
        put(
            "when",
            match &self.when {
                When::Once(at) => json!({ "once": at.to_string().replace(' ', "T") }),
                When::Rule { start, rrule, except, extra } => json!({
                    "start": start.to_string().replace(' ', "T"),
                    "rrule": rrule,
                    "except": except.iter().map(ToString::to_string).collect::<Vec<_>>(),
                    "extra": extra.iter().map(|at| at.to_string().replace(' ', "T")).collect::<Vec<_>>(),
                }),
            },
        );
        if let Some(zone) = self.zone {
            put("zone", json!(zone.name()));
        }
        for (name, day) in [("from", self.from), ("until", self.until)] {
            if let Some(day) = day {
                put(name, json!(day.to_string()));
            }
        }
        if let Some(approver) = &self.approver {
            put("approver", json!(approver));
        }
        put("enabled", json!(self.enabled));
        put("created", json!(rfc3339(self.created)));
        Value::Object(map)
    }

    /// `None` only with a mistake told.
    fn of(value: &Value, at: At, mistakes: &mut Mistakes) -> Option<Self> {
        let before = mistakes.count();
        let mut fields = Fields::of(value, "", at, KNOWN, mistakes)?;
        let id = fields.need("id", ("an id", "\"0199f3c1-0000-7000-8000-000000000001\""), |value| {
            value.as_str().and_then(|text| Uuid::parse_str(text).ok())
        });
        let title = fields.need("title", TEXT, text);
        let areas = fields.areas("areas", MOST_LISTED);
        let except = fields.areas("except", MOST_EXCEPT);
        let priority = fields.need("priority", ("normal or priority", "\"normal\""), |value| match value.as_str()? {
            "normal" => Some(Priority::Normal),
            "priority" => Some(Priority::Priority),
            _ => None,
        });
        let zone = fields.may("zone", ZONE, zone);
        let (from, until) = (fields.may("from", DAY, day), fields.may("until", DAY, day));
        let approver = fields.may("approver", TEXT, text);
        let enabled = fields.may("enabled", YES, Value::as_bool).unwrap_or(true);
        let created = fields.need("created", ("a time (RFC 3339)", "\"2026-11-22T08:00:00Z\""), civil);
        let plays =
            fields.need("plays", ("an object", "{\"media\": …, \"length_us\": …}"), |value| Some(value.clone()));
        let when = fields.need("when", ("an object", "{\"once\": \"2026-11-23T06:30\"}"), |value| Some(value.clone()));
        let plays = plays.and_then(|value| plays_of(&value, at, mistakes));
        let when = when.and_then(|value| when_of(&value, at, mistakes));
        let entry = Self {
            id: id?,
            title: title?,
            areas: in_order(areas),
            except: in_order(except),
            priority: priority?,
            plays: plays?,
            when: when?,
            zone,
            from,
            until,
            approver,
            enabled,
            created: created?,
        };
        // What could not be read would be told again.
        if mistakes.count() == before {
            entry.check_into(at, mistakes);
        }
        Some(entry)
    }
}

fn plays_of(value: &Value, at: At, mistakes: &mut Mistakes) -> Option<Plays> {
    let mut fields = Fields::of(value, "plays.", at, &["media", "length_us", "live", "limit_us"], mistakes)?;
    let length: super::fields::Kind = ("a number of µs", "600000000");
    if fields.value("live").is_some() {
        for other in ["media", "length_us"] {
            if fields.value(other).is_some() {
                fields.wrong(other, Said::new("read.column", [&quoted(other), &"live, limit_us"]));
            }
        }
        let (name, limit) = (fields.need("live", TEXT, text), fields.need("limit_us", length, Value::as_i64));
        return Some(Plays::Live { name: name?, limit: limit? });
    }
    if fields.value("limit_us").is_some() {
        fields.wrong("limit_us", Said::new("read.column", [&"limit_us", &"media, length_us"]));
    }
    let sha256 = fields.need("media", ("a SHA-256", "64 hex digits"), text);
    let length = fields.need("length_us", length, Value::as_i64);
    Some(Plays::Media { sha256: sha256?.to_ascii_lowercase(), length: length? })
}

fn when_of(value: &Value, at: At, mistakes: &mut Mistakes) -> Option<When> {
    let mut fields = Fields::of(value, "when.", at, &["once", "start", "rrule", "except", "extra"], mistakes)?;
    if fields.value("once").is_some() {
        for other in ["start", "rrule", "except", "extra"] {
            if fields.value(other).is_some() {
                fields.wrong(other, Said::new("read.column", [&quoted(other), &"once"]));
            }
        }
        return fields.need("once", LOCAL, local).map(When::Once);
    }
    let start = fields.need("start", LOCAL, local);
    let rrule = fields.need("rrule", ("a rule", "\"FREQ=DAILY\""), text);
    let mut except = fields.list("except", MOST_DATES, DAY, day);
    let mut extra = fields.list("extra", MOST_DATES, LOCAL, local);
    except.sort_unstable();
    extra.sort_unstable();
    Some(When::Rule { start: start?, rrule: rrule?, except, extra })
}

/// The same areas are the same entry, however they were written down.
fn in_order(mut areas: Vec<Area>) -> Vec<Area> {
    areas.sort();
    areas.dedup();
    areas
}

pub(super) fn plays_json(plays: &Plays) -> Value {
    match plays {
        Plays::Media { sha256, length } => json!({ "media": sha256, "length_us": length }),
        Plays::Live { name, limit } => json!({ "live": name, "limit_us": limit }),
    }
}

pub(super) fn priority_name(priority: Priority) -> &'static str {
    match priority {
        Priority::Normal => "normal",
        Priority::Priority => "priority",
        Priority::Emergency => "emergency",
    }
}

fn rfc3339(at: Civil) -> String {
    let utc = DateTime::<Utc>::from_timestamp_micros(at.0).unwrap_or_default();
    utc.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// JSON of a size that is read.
pub(super) fn value(json: &[u8], mistakes: &mut Mistakes) -> Option<Value> {
    if json.len() > MOST_BYTES {
        mistakes.add(At::Whole, "", Said::new("read.size", [&json.len(), &MOST_BYTES]));
        return None;
    }
    match serde_json::from_slice(json) {
        Ok(value) => Some(value),
        Err(error) => {
            mistakes.add(At::Line(error.line() as u64), "", Said::new("read.json", [&error]));
            None
        }
    }
}

fn finish<T>(read: Option<T>, mistakes: Mistakes) -> Result<T, Vec<Mistake>> {
    match read {
        Some(read) => mistakes.or(read),
        // Whatever could not be read was told.
        None => mistakes.or(()).and(Err(Vec::new())),
    }
}

const KNOWN: &[&str] = &[
    "id", "title", "areas", "except", "priority", "plays", "when", "zone", "from", "until", "approver", "enabled",
    "created",
];
/// Of a list of areas, before the entry's own bound is told.
const MOST_LISTED: usize = 1_000;
/// Of a whole timetable: 100,000 entries of 600 bytes.
const MOST_BYTES: usize = 64 << 20;
