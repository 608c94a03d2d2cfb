//! `/v1/timetable`, `/v1/policies`, `/v1/areas`: what people make of a node's timetable, and what comes of it.
//!
//! ```text
//! GET /v1/timetable, /v1/policies, /v1/areas                       → Standing
//! PUT /v1/timetable?by=NAME[&version=N][&dry_run=true][&now=true]  JSON array         → Changes
//! PUT /v1/policies?by=NAME…                                        JSON array         → Changes
//! PUT /v1/areas?by=NAME…                                           CSV or JSON array  → Changes
//! GET /v1/timetable/plan[?areas=A,B][&from=DAY][&days=N]           → Shown
//! ```
//! A change is taken whole or not at all; with `version` only if nobody has changed it since. With `dry_run` nothing is
//! changed. What sounds now goes on to its end, unless `now` says that entries which are gone or disabled stop at once.
use super::desk::{Changed, Desk};
use super::doubts::doubts;
use super::store::{Change, Tables};
use crate::broadcast::register::{NotThere, Register};
use crate::broadcast::timetable::airing::{Record, Wanted};
use crate::broadcast::timetable::{Entry, MOST_DAYS, Plan, Policies, instant};
use crate::broadcast::{Area, At, Mistake};
use crate::control::answer::{STALLED, done};
use crate::control::api::Shared;
use crate::control::text::{Failure, Language};
use crate::control::when;
use crate::time::Civil;
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use chrono::{Days, NaiveDate, NaiveTime};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

/// What holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Standing {
    #[serde(flatten)]
    pub newest: Change,
    /// The newest last.
    pub changes: Vec<Change>,
    /// Entries or policies as they are put; areas as the text of a CSV file, which keeps the order of languages.
    pub content: Value,
}

/// What a change does, or would.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Changes {
    #[serde(flatten)]
    pub newest: Change,
    pub dry_run: bool,
    /// Of the time for which orders are given.
    pub sounds: Vec<Row>,
    pub stops: Vec<Row>,
    pub refused: Vec<Row>,
    /// Sounding now, no longer in the timetable, and going on to their end unless told to stop.
    pub goes_on: Vec<Row>,
    /// How many rows were left out of these lists.
    pub left_out: usize,
    /// Code and places of what will not sound although nothing refuses it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<(String, Vec<String>)>,
}

/// One time of an entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub entry: Uuid,
    pub title: String,
    pub start: String,
    pub end: String,
    pub areas: Vec<String>,
    /// Code and places of each reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<(String, Vec<String>)>,
}

/// The plan of some days, with what became of each airing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shown {
    pub zone: Tz,
    pub plan: Value,
    /// With the columns of the dry run; the result of what sounds is its state.
    pub rows: Vec<Vec<String>>,
    /// Area, title, code and places of each reason.
    pub refused: Vec<(String, String, String, Vec<String>)>,
    /// Title, start and reason of what could not be given yet.
    pub faults: Vec<(String, String, String, String)>,
}

pub async fn timetable(State(api): Shared, Extension(language): Extension<Language>) -> Response {
    done(
        standing(api.desk(), |tables| {
            let content = tables.entries.value.iter().map(Entry::to_json).collect();
            (tables.entries.changes.clone(), content)
        }),
        language,
    )
}

pub async fn policies(State(api): Shared, Extension(language): Extension<Language>) -> Response {
    done(standing(api.desk(), |tables| (tables.policies.changes.clone(), tables.policies.value.to_json())), language)
}

pub async fn areas(State(api): Shared, Extension(language): Extension<Language>) -> Response {
    done(
        standing(api.desk(), |tables| (tables.areas.changes.clone(), Value::String(tables.areas.value.to_csv()))),
        language,
    )
}

fn standing(
    desk: Result<&Arc<Desk>, Failure>,
    of: impl FnOnce(&Tables) -> (Vec<Change>, Value),
) -> Result<Standing, Failure> {
    let (changes, content) = of(&desk?.tables());
    let newest = changes.last().cloned().ok_or_else(|| Failure::new("timetable.none", []))?;
    Ok(Standing { newest, changes, content })
}

pub async fn put_timetable(
    State(api): Shared,
    Extension(language): Extension<Language>,
    uri: Uri,
    body: Body,
) -> Response {
    let work = async {
        let (desk, asked, bytes) = (api.desk()?, Put::of(&uri)?, whole(body).await?);
        let entries = Entry::read_all(&bytes).map_err(|mistakes| wrong("timetable", mistakes))?;
        let tables = desk.tables();
        let now = desk.now().ok_or_else(|| Failure::new("time.unknown", []))?;
        check_areas(&entries, &tables.areas.value, now, api.zone)?;
        put(desk, &asked, Changed::Entries(entries), now).await
    };
    done(work.await, language)
}

pub async fn put_policies(
    State(api): Shared,
    Extension(language): Extension<Language>,
    uri: Uri,
    body: Body,
) -> Response {
    let work = async {
        let (desk, asked, bytes) = (api.desk()?, Put::of(&uri)?, whole(body).await?);
        let policies = Policies::read(&bytes).map_err(|mistakes| wrong("policies", mistakes))?;
        let now = desk.now().ok_or_else(|| Failure::new("time.unknown", []))?;
        put(desk, &asked, Changed::Policies(policies), now).await
    };
    done(work.await, language)
}

pub async fn put_areas(State(api): Shared, Extension(language): Extension<Language>, uri: Uri, body: Body) -> Response {
    let work = async {
        let (desk, asked, bytes) = (api.desk()?, Put::of(&uri)?, whole(body).await?);
        let is_json = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
        let read = if is_json { Register::from_json } else { Register::from_csv };
        let register = read(&bytes).map_err(|mistakes| wrong("areas", mistakes))?;
        let now = desk.now().ok_or_else(|| Failure::new("time.unknown", []))?;
        put(desk, &asked, Changed::Areas(Box::new(register)), now).await
    };
    done(work.await, language)
}

pub async fn plan(State(api): Shared, Extension(language): Extension<Language>, uri: Uri) -> Response {
    let work = async {
        let desk = api.desk()?;
        let query = Query::of(&uri, &["areas", "from", "days"])?;
        let tables = desk.tables();
        let now = desk.now().ok_or_else(|| Failure::new("time.unknown", []))?;
        let areas = query.get("areas").map(|areas| areas.split(',').map(str::to_owned).collect::<Vec<_>>());
        let areas = areas.map(|areas| crate::control::api::areas(&areas)).transpose()?;
        let first =
            areas.as_ref().and_then(|areas| areas.first()).or_else(|| tables.entries.value.first()?.areas.first());
        let zone = first.map_or(api.zone, |area| tables.areas.value.zone(area));
        let from = match query.get("from") {
            Some(text) => text.parse().map_err(|_| Failure::new("request.query", [&format!("from={text:?}")]))?,
            None => today(now, zone),
        };
        let days: u64 = query.number("days")?.unwrap_or(1);
        let last = from.checked_add_days(Days::new(days));
        let last = last.filter(|_| (1..=MOST_DAYS.unsigned_abs()).contains(&days));
        let last = last.ok_or_else(|| Failure::new("usage.days", [&days, &MOST_DAYS]))?;
        let midnight = |day: NaiveDate| instant(zone, day.and_time(NaiveTime::MIN));
        let mut asked = desk.ask(tables, (midnight(from), midnight(last))).await?;
        if let Some(areas) = &areas {
            let plan = &mut asked.plan;
            plan.places.retain(|place| areas.iter().any(|area| area.touches(&place.area)));
        }
        Ok(shown(&asked.plan, &desk.records(), now, zone))
    };
    done(work.await, language)
}

fn shown(plan: &Plan, records: &[Record], now: Civil, zone: Tz) -> Shown {
    let mut of: BTreeMap<(Uuid, Civil), Vec<&Record>> = BTreeMap::new();
    for record in records {
        of.entry((record.part.item.entry, record.part.item.start)).or_default().push(record);
    }
    // The column of the result, in rows that are in the order of the places and of time.
    let mut rows: Vec<Vec<String>> = plan.rows().into_iter().map(Vec::from).collect();
    let mut at = 0;
    for place in &plan.places {
        let refused = place.refused.iter().map(|refused| (&refused.item, false));
        let mut items: Vec<_> = place.sounding.iter().map(|item| (item, true)).chain(refused).collect();
        items.sort_by_key(|(item, sounds)| (item.start, !sounds, item.entry));
        for (item, sounds) in items {
            let heard = |record: &&&Record| {
                record.part.item == *item && record.part.areas.iter().any(|area| area.touches(&place.area))
            };
            let records = of.get(&(item.entry, item.start));
            let record = records.and_then(|records| records.iter().filter(heard).max_by_key(|record| record.id));
            if let (true, Some(record), Some(row)) = (sounds, record, rows.get_mut(at)) {
                let state = record.shown(now).name();
                row[RESULT] = match &record.fault {
                    Some(fault) => format!("{state} {}", fault.code),
                    None => state.to_owned(),
                };
            }
            if let (true, None, true, Some(row)) = (sounds, record, item.start < now, rows.get_mut(at)) {
                row[RESULT] = PAST.to_owned();
            }
            at += 1;
        }
    }
    let refused = plan.places.iter().flat_map(|place| {
        place.refused.iter().flat_map(move |refused| {
            let of = move |why: &crate::broadcast::Said| {
                (place.area.to_string(), refused.item.title.clone(), why.code.to_owned(), why.places.clone())
            };
            refused.why.iter().map(of)
        })
    });
    let within = |record: &&Record| plan.from <= record.part.item.start && record.part.item.start < plan.until;
    let faults = records.iter().filter(within).filter_map(|record| {
        let fault = record.fault.as_ref()?;
        let item = &record.part.item;
        Some((item.title.clone(), when::show(item.start, zone), fault.code.clone(), fault.text.clone()))
    });
    Shown { zone, plan: plan.to_json(), rows, refused: refused.collect(), faults: faults.collect() }
}

/// What a PUT says besides its body.
struct Put {
    by: String,
    version: Option<u64>,
    dry_run: bool,
    now: bool,
}

impl Put {
    fn of(uri: &Uri) -> Result<Self, Failure> {
        let query = Query::of(uri, &["by", "version", "dry_run", "now"])?;
        let by = query.get("by").unwrap_or_default().to_owned();
        let (dry_run, now) = (query.is("dry_run")?, query.is("now")?);
        if !dry_run && (by.trim().is_empty() || by.len() > LONGEST_NAME || by.chars().any(char::is_control)) {
            return Err(Failure::new("timetable.who", [&LONGEST_NAME]));
        }
        Ok(Self { by, version: query.number("version")?, dry_run, now })
    }
}

struct Query<'a>(BTreeMap<&'a str, String>);

impl<'a> Query<'a> {
    fn of(uri: &Uri, names: &[&'a str]) -> Result<Self, Failure> {
        let wrong = |what: &dyn std::fmt::Display| Failure::new("request.query", [what]);
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
        let mut found = BTreeMap::new();
        for (name, value) in pairs.map_err(|error| wrong(&error.body_text()))?.0 {
            let known = names.iter().find(|known| **known == name);
            let known = known.ok_or_else(|| wrong(&format!("{name:?} is none of {}", names.join(", "))))?;
            found.insert(*known, value);
        }
        Ok(Self(found))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn is(&self, name: &str) -> Result<bool, Failure> {
        let read = |text: &str| text.parse().map_err(|_| Failure::new("request.query", [&format!("{name}={text:?}")]));
        self.get(name).map_or(Ok(false), read)
    }

    fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        let read = |text: &str| text.parse().map_err(|_| Failure::new("request.query", [&format!("{name}={text:?}")]));
        self.get(name).map(read).transpose()
    }
}

async fn put(desk: &Arc<Desk>, asked: &Put, changed: Changed, now: Civil) -> Result<Changes, Failure> {
    // Whoever comes at the same time waits, and sees this change.
    let _turn = desk.changing.lock().await;
    let before = desk.tables();
    let held = match &changed {
        Changed::Entries(_) => before.entries.newest(),
        Changed::Policies(_) => before.policies.newest(),
        Changed::Areas(_) => before.areas.newest(),
    };
    if let Some(version) = asked.version.filter(|version| *version != held.version) {
        return Err(Failure::new("timetable.version", [&version, &held.version, &held.by, &held.at]));
    }
    let (changed, again) = changed.twice();
    let after = changed.apply(&before);
    let window = desk.window(now);
    let (old, new) = (desk.ask(before.clone(), window).await?, desk.ask(after.clone(), window).await?);
    let doubts = doubts(desk, &before, &after, now);
    let gone = gone(&before.entries.value, &after.entries.value);
    let stop = if asked.now { gone.clone() } else { BTreeSet::new() };
    let newest = match asked.dry_run {
        true => held,
        false => desk.change(&asked.by, again, stop).await?,
    };
    let mut left_out = 0;
    let mut rows = |wanted: Vec<Wanted>| {
        let mut rows: Vec<Row> = wanted.iter().map(|wanted| row(wanted, &after.areas.value)).collect();
        left_out += rows.len().saturating_sub(MOST_ROWS);
        rows.truncate(MOST_ROWS);
        rows
    };
    let sounding = |wanted: &&Wanted| wanted.item.start <= now && now < wanted.item.end;
    let ends = |wanted: &&Wanted| !new.wanted.iter().any(|other| other.item == wanted.item);
    let cut = |wanted: &&Wanted| asked.now && gone.contains(&wanted.item.entry);
    let cut: Vec<Wanted> = old.wanted.iter().filter(sounding).filter(cut).cloned().collect();
    let stops = cut.into_iter().chain(old.beyond(&new, now)).collect();
    let (sounds, stops) = (rows(new.beyond(&old, now)), rows(stops));
    let goes_on = if asked.now {
        let kept = |wanted: &&Wanted| !gone.contains(&wanted.item.entry);
        rows(old.wanted.iter().filter(sounding).filter(ends).filter(kept).cloned().collect())
    } else {
        rows(old.wanted.iter().filter(sounding).filter(ends).cloned().collect())
    };
    let mut refused = refused(&new.plan, &old.plan, &after.areas.value, now);
    left_out += refused.len().saturating_sub(MOST_ROWS);
    refused.truncate(MOST_ROWS);
    Ok(Changes { newest, dry_run: asked.dry_run, sounds, stops, refused, goes_on, left_out, doubts })
}

/// Entries that are removed or disabled.
fn gone(before: &[Entry], after: &[Entry]) -> BTreeSet<Uuid> {
    let there: BTreeSet<Uuid> = after.iter().filter(|entry| entry.enabled).map(|entry| entry.id).collect();
    before.iter().map(|entry| entry.id).filter(|id| !there.contains(id)).collect()
}

/// What is refused now and was not.
fn refused(new: &Plan, old: &Plan, register: &Register, now: Civil) -> Vec<Row> {
    let known: BTreeSet<(&Area, Civil, Uuid)> = (old.places.iter())
        .flat_map(|place| place.refused.iter().map(move |one| (&place.area, one.item.start, one.item.entry)))
        .collect();
    let all = new.places.iter().flat_map(|place| place.refused.iter().map(move |one| (place, one)));
    let news = all.filter(|(place, one)| {
        now <= one.item.start && !known.contains(&(&place.area, one.item.start, one.item.entry))
    });
    let rows = news.map(|(place, one)| Row {
        why: one.why.iter().map(|said| (said.code.to_owned(), said.places.clone())).collect(),
        ..row(&Wanted { item: one.item.clone(), areas: vec![place.area.clone()] }, register)
    });
    rows.collect()
}

fn row(wanted: &Wanted, register: &Register) -> Row {
    let Wanted { item, areas } = wanted;
    let zone = areas.first().map_or(Tz::UTC, |area| register.zone(area));
    Row {
        entry: item.entry,
        title: item.title.clone(),
        start: when::show(item.start, zone),
        end: when::show(item.end, zone),
        areas: areas.iter().take(MOST_ROWS).map(ToString::to_string).collect(),
        why: Vec::new(),
    }
}

/// An area that the register does not know is a mistake; one that is gone on some day is refused on that day.
fn check_areas(entries: &[Entry], register: &Register, now: Civil, zone: Tz) -> Result<(), Failure> {
    let on = today(now, zone);
    let mut mistakes = Vec::new();
    for (entry, item) in entries.iter().zip(1..) {
        for area in &entry.areas {
            if let Err(unknown @ NotThere::Unknown { .. }) = register.resolve(area, on) {
                mistakes.push(Mistake { at: At::Item(item), field: "areas".into(), said: unknown.said() });
            }
        }
    }
    mistakes.truncate(crate::broadcast::MOST_MISTAKES);
    if mistakes.is_empty() { Ok(()) } else { Err(wrong("timetable", mistakes)) }
}

fn today(now: Civil, zone: Tz) -> NaiveDate {
    let utc = chrono::DateTime::from_timestamp_micros(now.0).unwrap_or_default();
    utc.with_timezone(&zone).date_naive()
}

fn wrong(what: &str, mistakes: Vec<Mistake>) -> Failure {
    Failure::of_mistakes("timetable.wrong", Path::new(what), mistakes)
}

async fn whole(body: Body) -> Result<Bytes, Failure> {
    match tokio::time::timeout(4 * STALLED, axum::body::to_bytes(body, MOST_BYTES)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(Failure::new("request.too_long", [&MOST_BYTES])),
        Err(_) => Err(Failure::new("request.cut", [&0, &"nothing more came"])),
    }
}

/// Of a time that was over before anything could be given for it.
const PAST: &str = "past";
/// Column of [`crate::broadcast::timetable::ROW`].
const RESULT: usize = 6;
/// Of each list in an answer, and areas of a row.
const MOST_ROWS: usize = 500;
/// Bytes of a person's name.
const LONGEST_NAME: usize = 200;
/// Bytes of a register of a whole country, with each of its clusters.
const MOST_BYTES: usize = 64 << 20;
