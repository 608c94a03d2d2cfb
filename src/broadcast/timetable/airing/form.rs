//! Records as a node keeps them: JSON, read back as they were or not at all.

use super::super::entry::Plays;
use super::super::form::{plays_json, priority_name};
use super::super::plan::Item;
use super::record::{Part, Record, State};
use crate::broadcast::{Area, Priority};
use crate::time::Civil;
use serde_json::{Value, json};
use uuid::Uuid;

/// What [`read`] reads back; without what only a running node needs.
pub fn write<'a>(records: impl Iterator<Item = &'a Record>) -> Value {
    let one = |record: &Record| {
        let Part { item, areas } = &record.part;
        json!({
            "id": record.id,
            "state": state_name(record.state),
            "spoke": record.spoke,
            "entry": item.entry,
            "title": item.title,
            "priority": priority_name(item.priority),
            "plays": plays_json(&item.plays),
            "start_us": item.start.0,
            "end_us": item.end.0,
            "areas": areas,
        })
    };
    records.map(one).collect()
}

/// `None` for what no node has written.
pub fn read(value: &Value) -> Option<Vec<Record>> {
    value.as_array()?.iter().map(record).collect()
}

fn record(value: &Value) -> Option<Record> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let number = |name: &str| value.get(name).and_then(Value::as_i64);
    let id = |name: &str| Uuid::parse_str(text(name)?).ok();
    let plays = value.get("plays")?;
    let plays = match (plays.get("media").and_then(Value::as_str), plays.get("live").and_then(Value::as_str)) {
        (Some(sha256), None) => Plays::Media { sha256: sha256.into(), length: plays.get("length_us")?.as_i64()? },
        (None, Some(name)) => Plays::Live { name: name.into(), limit: plays.get("limit_us")?.as_i64()? },
        _ => return None,
    };
    let priority = [Priority::Normal, Priority::Priority].into_iter();
    let item = Item {
        entry: id("entry")?,
        title: text("title")?.into(),
        priority: priority.into_iter().find(|one| Some(priority_name(*one)) == text("priority"))?,
        plays,
        start: Civil(number("start_us")?),
        end: Civil(number("end_us")?),
    };
    let areas = value.get("areas")?.as_array()?.iter();
    let areas = areas.map(|area| area.as_str()?.parse().ok()).collect::<Option<Vec<Area>>>()?;
    let state = STATES.into_iter().find(|state| Some(state_name(*state)) == text("state"))?;
    let mut record = Record::new(id("id")?, Part { item, areas });
    (record.state, record.spoke) = (state, value.get("spoke")?.as_bool()?);
    Some(record)
}

const fn state_name(state: State) -> &'static str {
    match state {
        State::Promised => "promised",
        State::Given => "given",
        State::Open => "open",
        State::Cancelling => "cancelling",
        State::Withdrawn => "withdrawn",
        State::Cancelled => "cancelled",
        State::Aired => "aired",
        State::Missed => "missed",
    }
}

const STATES: [State; 8] = [
    State::Promised,
    State::Given,
    State::Open,
    State::Cancelling,
    State::Withdrawn,
    State::Cancelled,
    State::Aired,
    State::Missed,
];
