//! A plan as people and programs read it.

use super::form::{plays_json, priority_name};
use super::plan::{Item, Place, Plan};
use crate::broadcast::said::Said;
use crate::time::Civil;
use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use serde_json::{Map, Value, json};

/// What stands in a row of [`Plan::rows`], by column.
pub const ROW: [&str; 8] = ["area", "day", "start", "end", "priority", "title", "result", "free"];

impl Plan {
    /// ```json
    /// {"from": "…", "until": "…", "places": [{"area": "vn/01", "zone": "Asia/Ho_Chi_Minh",
    ///  "sounding": [{"entry": "…", "title": "…", "priority": "normal", "plays": {…}, "start": "…", "end": "…"}],
    ///  "refused": [{"entry": "…", …, "why": [{"code": "timetable.overlap", "text": "…", "places": ["…"]}],
    ///               "free": "2026-11-23T06:40:00+07:00"}]}]}
    /// ```
    /// Times are RFC 3339 with the place's own offset; `from` and `until` are in UTC. `text` is English; who speaks
    /// another language puts `places` into a sentence of its own.
    pub fn to_json(&self) -> Value {
        let places = self.places.iter().map(|place| {
            let refused = place.refused.iter().map(|refused| {
                let mut map = item_json(&refused.item, place.zone);
                map.insert("why".into(), refused.why.iter().map(said_json).collect());
                if let Some(free) = refused.free {
                    map.insert("free".into(), json!(rfc3339(free, place.zone)));
                }
                Value::Object(map)
            });
            let sounding = place.sounding.iter().map(|item| Value::Object(item_json(item, place.zone)));
            json!({
                "area": place.area,
                "zone": place.zone.name(),
                "sounding": sounding.collect::<Value>(),
                "refused": refused.collect::<Value>(),
            })
        });
        json!({
            "from": rfc3339(self.from, Tz::UTC),
            "until": rfc3339(self.until, Tz::UTC),
            "places": places.collect::<Value>(),
        })
    }

    /// A line for each item, sounding and refused together in the order of time, with the columns of [`ROW`]. `result`
    /// is `sounds` or the codes of what stands against it; times are local, and end with the day where that is another.
    pub fn rows(&self) -> Vec<[String; ROW.len()]> {
        self.places.iter().flat_map(rows_of).collect()
    }
}

fn rows_of(place: &Place) -> Vec<[String; ROW.len()]> {
    let refused = place.refused.iter().map(|refused| (&refused.item, &refused.why[..], refused.free));
    let mut items: Vec<_> = place.sounding.iter().map(|item| (item, &[][..], None)).chain(refused).collect();
    items.sort_by_key(|(item, why, _)| (item.start, !why.is_empty(), item.entry));
    let row = |(item, why, free): (&Item, &[Said], Option<Civil>)| {
        let local = |at: Civil| super::local::local(place.zone, at);
        let (start, end) = (local(item.start), local(item.end));
        let elsewhen = |at: chrono::NaiveDateTime| {
            let form = if at.date() == start.date() { "%H:%M:%S" } else { "%H:%M:%S %Y-%m-%d" };
            at.format(form).to_string()
        };
        let codes: Vec<&str> = why.iter().map(|said| said.code).collect();
        [
            place.area.to_string(),
            start.date().to_string(),
            start.format("%H:%M:%S").to_string(),
            elsewhen(end),
            priority_name(item.priority).to_owned(),
            item.title.clone(),
            if codes.is_empty() { "sounds".to_owned() } else { codes.join(" ") },
            free.map_or(String::new(), |at| elsewhen(local(at))),
        ]
    };
    items.into_iter().map(row).collect()
}

fn item_json(item: &Item, zone: Tz) -> Map<String, Value> {
    let fields = [
        ("entry", json!(item.entry)),
        ("title", json!(item.title)),
        ("priority", json!(priority_name(item.priority))),
        ("plays", plays_json(&item.plays)),
        ("start", json!(rfc3339(item.start, zone))),
        ("end", json!(rfc3339(item.end, zone))),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn said_json(said: &Said) -> Value {
    json!({ "code": said.code, "text": said.to_string(), "places": said.places })
}

/// With the offset that holds there then; fractions only where there are some.
fn rfc3339(at: Civil, zone: Tz) -> String {
    let utc = DateTime::<Utc>::from_timestamp_micros(at.0).unwrap_or_default();
    utc.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::AutoSi, false)
}
