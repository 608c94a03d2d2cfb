//! The node's own timetable: plans every few minutes and at every change, and carries out what
//! [`Airings`] wants, one thing after the other.
//!
//! ```text
//!  Store ─▶ Tables ─▶ Asked (plan) ─▶ Airings ─▶ List · Keep · Give · Cancel · Open · Close
//!             ▲ PUT                      ▲ book of the trunk
//! ```
use super::give;
use super::store::{Change, Held, Store, Tables};
use super::streams;
use crate::broadcast::register::Register;
use crate::broadcast::timetable::airing::{self, Airings, Asked, Fault, Listed, Output, Record, Shown, Tell};
use crate::broadcast::timetable::{Entry, Lengths, Plays, Policies};
use crate::config;
use crate::control::blocking;
use crate::control::live::Sources;
use crate::control::media::Library;
use crate::control::text::{Failure, Language, say};
use crate::control::when;
use crate::io::{Handle, Planned, clock, identity};
use crate::node::trunk::{Note, Reply, Request, room_for_areas};
use crate::time::{Civil, SECOND};
use chrono_tz::Tz;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, watch};
use uuid::Uuid;

/// What it works with.
pub struct Setup {
    pub handle: Handle,
    pub library: Arc<Library>,
    /// One at a time: a live source keeps its core.
    pub encoders: Arc<Semaphore>,
    pub live: Arc<Sources>,
    pub zone: Tz,
    pub config: config::Timetable,
}

pub struct Desk {
    pub setup: Setup,
    store: Store,
    state: Mutex<State>,
    /// One change at a time.
    pub changing: tokio::sync::Mutex<()>,
    wake: Notify,
}

struct State {
    tables: Tables,
    airings: Airings,
    lengths: Lengths,
    asked: Option<Arc<Asked>>,
    /// Why there is no plan.
    unplanned: Option<String>,
    /// Why the records are not on disk.
    unkept: Option<String>,
    /// Entries whose airings are to end at once.
    stop: BTreeSet<Uuid>,
    /// The live source of each record that is open.
    open: BTreeMap<Uuid, Uuid>,
    plan_at: Option<Civil>,
    /// Troubles that the trunk was told of.
    stands: BTreeMap<&'static str, Option<String>>,
}

impl Desk {
    pub fn open(setup: Setup) -> Result<Self, Failure> {
        let store = Store::open(setup.handle.data())?;
        let tables = store.tables(&setup.config)?;
        let airings = Airings::new(identity::random(), store.records()?).renditions(setup.live.bitrates().len());
        let state = State {
            tables,
            airings,
            lengths: Lengths::new(),
            asked: None,
            unplanned: None,
            unkept: None,
            stop: BTreeSet::new(),
            open: BTreeMap::new(),
            plan_at: None,
            stands: BTreeMap::new(),
        };
        Ok(Self { setup, store, state: Mutex::new(state), changing: tokio::sync::Mutex::new(()), wake: Notify::new() })
    }

    /// Until `ended`.
    pub async fn run(self: Arc<Self>, mut ended: watch::Receiver<bool>) {
        loop {
            let wait = tokio::select! {
                wait = self.clone().turn() => wait,
                _ = ended.changed() => return,
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.wake.notified() => {}
                _ = ended.changed() => return,
            }
        }
    }

    /// All that is to be done now; how long to wait then.
    async fn turn(self: Arc<Self>) -> Duration {
        let Some(now) = self.now() else { return RESTS };
        if self.hold().plan_at.is_none_or(|at| at <= now || at > now + PLAN_AGAIN) {
            self.plan(now).await;
        }
        for _ in 0..TURN {
            let now = self.now();
            let output = self.hold().airings.poll_output(now);
            match (output, now) {
                (Some(output), Some(_)) => self.clone().carry_out(output).await,
                _ => break,
            }
            self.tell().await;
            if self.hold().plan_at.is_none() {
                // A change has come: what it takes back must not be given first.
                return Duration::ZERO;
            }
        }
        self.tell().await;
        self.show();
        let Some(now) = self.now() else { return RESTS };
        let state = self.hold();
        let next = state.airings.poll_timeout().min(state.plan_at.unwrap_or(now));
        Duration::from_micros(u64::try_from(next - now).unwrap_or(0)).clamp(RESTS, LOOKS)
    }

    /// Civil time, while that is trusted.
    pub fn now(&self) -> Option<Civil> {
        self.setup.handle.phase().map(|phase| phase.civil(clock::local()))
    }

    pub fn tables(&self) -> Tables {
        self.hold().tables.clone()
    }

    /// From a day before `now`, so that what sounds now is in it, as far as orders are given.
    pub fn window(&self, now: Civil) -> (Civil, Civil) {
        (now - DAY, now + i64::from(self.setup.config.hours) * 3_600 * SECOND)
    }

    /// What tables come to; their files are looked at.
    pub async fn ask(&self, tables: Tables, window: (Civil, Civil)) -> Result<Asked, Failure> {
        let (library, known) = (self.setup.library.clone(), self.hold().lengths.clone());
        let (asked, lengths) = blocking(move || {
            let entries = &tables.entries.value;
            let lengths = lengths(entries, &library, known);
            let asked = Asked::of(entries, &tables.policies.value, &tables.areas.value, &lengths, window);
            Ok((asked.map_err(|said| Failure::of_said(&said))?, lengths))
        })
        .await?;
        self.hold().lengths = lengths;
        Ok(asked)
    }

    /// Whether the sound of an entry is here; asked after [`Desk::ask`] has looked.
    pub fn has(&self, sha256: &str) -> bool {
        self.hold().lengths.contains_key(sha256)
    }

    async fn plan(&self, now: Civil) {
        let tables = {
            let mut state = self.hold();
            state.plan_at = Some(now + PLAN_AGAIN);
            state.tables.clone()
        };
        let window = self.window(now);
        match self.ask(tables, window).await {
            Ok(asked) => {
                let renditions = self.setup.live.bitrates().len();
                let mut state = self.hold();
                let stop = std::mem::take(&mut state.stop);
                let room = |item: &crate::broadcast::timetable::Item| {
                    let live = matches!(item.plays, Plays::Live { .. });
                    room_for_areas(&item.title, renditions, live)
                };
                state.airings.handle_plan(now, window.1, asked.wanted.clone(), &stop, &room);
                let first = asked.uncovered.first();
                state.unplanned = first.map(|(item, said)| format!("{:?}: {said}", item.title));
                state.asked = Some(Arc::new(asked));
            }
            // What was given goes on.
            Err(failure) => self.hold().unplanned = Some(failure.text(Language::English)),
        }
    }

    async fn carry_out(self: Arc<Self>, output: Output) {
        match output {
            Output::List => {
                let asked = self.request(Request::Broadcasts).await;
                let Some(now) = self.now() else { return self.hold().airings.handle_not_listed(Civil(0)) };
                match asked {
                    Ok(Reply::Broadcasts(all)) => {
                        let listed = |state: &str| match state {
                            "cancelled" => Listed::Cancelled,
                            "withdrawn" => Listed::Withdrawn,
                            "ended" => Listed::Ended,
                            _ => Listed::Known,
                        };
                        let listed = all.iter().map(|one| (one.broadcast, listed(one.state))).collect();
                        self.hold().airings.handle_listed(now, &listed);
                    }
                    _ => self.hold().airings.handle_not_listed(now),
                }
            }
            Output::Keep => {
                let records = airing::write(self.hold().airings.records());
                let store = self.store.clone();
                let kept = blocking(move || store.keep_records(&records)).await;
                let now = self.now().unwrap_or_default();
                let mut state = self.hold();
                state.airings.handle_kept(now, kept.is_ok());
                state.unkept = kept.err().map(|failure| failure.text(Language::English));
            }
            Output::Give { id, part } => {
                let given = give::give(&self.setup, id, &part).await;
                let now = self.now().unwrap_or_default();
                let mut state = self.hold();
                match given {
                    Ok(false) => state.airings.handle_busy(now, id),
                    given => state.airings.handle_given(now, id, given.map(|_| ()).map_err(|failure| fault(&failure))),
                }
            }
            Output::Cancel { id } => {
                let cancelled = match self.request(Request::Cancel { broadcast: id }).await {
                    Ok(_) => Ok(()),
                    Err(failure) if OVER.contains(&failure.code.as_str()) => Ok(()),
                    Err(failure) => Err(fault(&failure)),
                };
                let now = self.now().unwrap_or_default();
                self.hold().airings.handle_cancelled(now, id, cancelled);
            }
            Output::Open { id, part } => {
                let desk = self.clone();
                tokio::spawn(async move {
                    let over = streams::speak(&desk, id, part).await;
                    let (fault, cancelled) = match over {
                        Ok(()) => (None, false),
                        Err(failure) => (Some(fault(&failure)), failure.code == "live.cancelled"),
                    };
                    let now = desk.now().unwrap_or_default();
                    {
                        let mut state = desk.hold();
                        state.open.remove(&id);
                        state.airings.handle_over(now, id, fault, cancelled);
                    }
                    desk.wake.notify_one();
                });
            }
            Output::Close { id } => {
                let source = self.hold().open.get(&id).copied();
                if let Some(source) = source.and_then(|source| self.setup.live.get(source)) {
                    source.stop(Failure::new("live.closed", []));
                }
            }
        }
    }

    /// The source that speaks for a record, and later that it is on the air.
    pub fn opened(&self, record: Uuid, source: Uuid) {
        let mut state = self.hold();
        state.open.insert(record, source);
        let stands = state.airings.records().any(|one| one.id == record && one.state == airing::State::Open);
        drop(state);
        // Its end was asked for while it was being opened.
        if let (false, Some(source)) = (stands, self.setup.live.get(source)) {
            source.stop(Failure::new("live.closed", []));
        }
    }

    pub fn on_air(&self, record: Uuid) {
        self.hold().airings.handle_on_air(record);
    }

    pub async fn request(&self, request: Request) -> Result<Reply, Failure> {
        give::request(&self.setup.handle, request).await
    }

    /// Events for people, and what stands while it does.
    async fn tell(&self) {
        loop {
            let Some(tell) = self.hold().airings.poll_tell() else { break };
            let (code, part, why) = match tell {
                Tell::Fault { part, fault } => (trouble_of(&part, &fault), part, fault.text),
                Tell::Missed { part } => ("timetable.missed", part, String::new()),
                Tell::Cancelled { part } => ("timetable.withdrawn", part, String::new()),
            };
            let text = self.sentence(code, &part, &why);
            tracing::warn!(code, "{text}");
            let _ = self.request(Request::Note(Note { code, text, broadcast: None })).await;
        }
        let mut found: BTreeMap<&'static str, String> = BTreeMap::new();
        {
            let state = self.hold();
            let open = state.airings.records().filter(|record| record.is_open());
            let mut faulty: Vec<&Record> = open.filter(|record| record.fault.is_some()).collect();
            faulty.sort_by_key(|record| record.part.item.start);
            for record in faulty {
                let Some(fault) = &record.fault else { continue };
                let code = trouble_of(&record.part, fault);
                found.entry(code).or_insert_with(|| self.sentence(code, &record.part, &fault.text));
            }
            for why in state.unkept.iter().chain(&state.unplanned) {
                found.entry(ORDER).or_insert_with(|| why.clone());
            }
        }
        for code in [MEDIA, ORDER, LIVE] {
            self.stands(code, found.remove(code)).await;
        }
    }

    fn sentence(&self, code: &'static str, part: &airing::Part, why: &str) -> String {
        let at = when::show(part.item.start, self.setup.zone);
        let areas = part.areas.iter().take(SHOWN).map(|area| area.as_str()).collect::<Vec<_>>().join(", ");
        let code = if TROUBLES.contains(&code) { "timetable.note_fault" } else { code };
        say(Language::English, code, [&part.item.title, &at, &areas, &why])
    }

    /// Tells the trunk when it has changed whether something stands.
    async fn stands(&self, code: &'static str, wrong: Option<String>) {
        let before = self.hold().stands.get(code).cloned().flatten();
        if before.is_some() == wrong.is_some() {
            return;
        }
        if self.request(Request::Stands { code, wrong: wrong.clone() }).await.is_ok() {
            self.hold().stands.insert(code, wrong);
        }
    }

    /// For `/metrics`.
    fn show(&self) {
        let Some(now) = self.now() else { return };
        let state = self.hold();
        let counts = state.airings.count(now);
        let counts = Shown::ALL.iter().zip(counts).map(|(shown, count)| (shown.name(), count)).collect();
        let planned = Planned { airings: counts, reaches: state.airings.reaches(now) };
        drop(state);
        self.setup.handle.set_planned(Some(planned));
    }

    /// Takes a change in that has been checked: written first.
    pub async fn change(&self, by: &str, changed: Changed, stop: BTreeSet<Uuid>) -> Result<Change, Failure> {
        let (store, before, by) = (self.store.clone(), self.tables(), by.to_owned());
        let tables = blocking(move || changed.keep(&store, before, &by)).await?;
        let newest = tables.1;
        let mut state = self.hold();
        state.tables = tables.0;
        state.stop.extend(stop);
        state.plan_at = None;
        drop(state);
        self.wake.notify_one();
        Ok(newest)
    }

    /// A file came: what waits for one is tried again, and lengths are compared.
    pub fn news(&self) {
        let mut state = self.hold();
        state.airings.handle_news();
        state.plan_at = None;
        drop(state);
        self.wake.notify_one();
    }

    /// What stands in the records of each item, for the plan that is shown.
    pub fn records(&self) -> Vec<Record> {
        self.hold().airings.records().cloned().collect()
    }

    fn hold(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the tables, to be put in its place.
#[derive(Clone)]
pub enum Changed {
    Entries(Vec<Entry>),
    Policies(Policies),
    Areas(Box<Register>),
}

impl Changed {
    /// To look at, and to keep.
    pub fn twice(self) -> (Self, Self) {
        (self.clone(), self)
    }

    /// As they would stand.
    pub fn apply(self, tables: &Tables) -> Tables {
        let mut tables = tables.clone();
        match self {
            Self::Entries(entries) => tables.entries.value = Arc::new(entries),
            Self::Policies(policies) => tables.policies.value = Arc::new(policies),
            Self::Areas(register) => tables.areas.value = Arc::new(*register),
        }
        tables
    }

    fn keep(self, store: &Store, mut tables: Tables, by: &str) -> Result<(Tables, Change), Failure> {
        let newest = match self {
            Self::Entries(entries) => {
                let content = entries.iter().map(Entry::to_json).collect();
                put(store, super::store::ENTRIES, &mut tables.entries, entries, by, content)?
            }
            Self::Policies(policies) => {
                let content = policies.to_json();
                put(store, super::store::POLICIES, &mut tables.policies, policies, by, content)?
            }
            Self::Areas(register) => {
                let content = Value::String(register.to_csv());
                put(store, super::store::AREAS, &mut tables.areas, *register, by, content)?
            }
        };
        Ok((tables, newest))
    }
}

fn put<T>(
    store: &Store,
    name: &str,
    held: &mut Held<T>,
    value: T,
    by: &str,
    content: Value,
) -> Result<Change, Failure> {
    held.changes = store.keep(name, held.changes.clone(), by, content)?;
    held.value = Arc::new(value);
    Ok(held.newest())
}

/// Of files that entries name; what is known of one does not change.
fn lengths(entries: &[Entry], library: &Library, known: Lengths) -> Lengths {
    let mut lengths = Lengths::new();
    for entry in entries.iter().filter(|entry| entry.enabled) {
        let Plays::Media { sha256, .. } = &entry.plays else { continue };
        let length = known.get(sha256).copied().or_else(|| {
            let media = library.get(sha256).ok().flatten()?;
            Some((media.duration * 1e6).round() as i64)
        });
        lengths.extend(length.map(|length| (sha256.clone(), length)));
    }
    lengths
}

fn fault(failure: &Failure) -> Fault {
    Fault::new(failure.code.clone(), failure.text(Language::English))
}

fn trouble_of(part: &airing::Part, fault: &Fault) -> &'static str {
    match fault.code.as_str() {
        _ if part.is_live() => LIVE,
        "timetable.media_long" => MEDIA,
        code if code.starts_with("media.") => MEDIA,
        _ => ORDER,
    }
}

const MEDIA: &str = "timetable.media";
const ORDER: &str = "timetable.order";
const LIVE: &str = "timetable.live";
const TROUBLES: [&str; 3] = [MEDIA, ORDER, LIVE];
/// A broadcast that is to be cancelled is gone already.
const OVER: [&str; 3] = ["broadcast.unknown", "broadcast.over", "order.stale"];
/// µs.
const DAY: i64 = 86_400 * SECOND;
/// µs between two plans without a change: days begin, files come.
const PLAN_AGAIN: i64 = 180 * SECOND;
/// Things done before metrics are shown anew.
const TURN: usize = 64;
/// The shortest and the longest sleep.
const RESTS: Duration = Duration::from_millis(200);
const LOOKS: Duration = Duration::from_secs(10);
/// Areas in a sentence.
const SHOWN: usize = 5;
