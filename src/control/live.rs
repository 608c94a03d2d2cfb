//! Live sources: from the body of a request to packets on the air.
//!
//! ```text
//!  HTTP body ─▶ feeder ─▶ decoder (its own process) ─▶ decoding thread ─▶ audio::live ◀─ pacing thread ─▶ trunk
//!             4 pieces      64 KiB                         8 s of sound                     sealed packets
//! ```
//! Each arrow waits for the next one: whoever sends faster than time passes is not read. The order is given once
//! the first sound has come out of the decoder; the keys of its tracks live in the pacing thread and nowhere else.
//! A source ends in one way, however it came about: what was heard of it is played, its order is revised to end
//! with the last packet, and its state says why.
mod air;
pub mod http;
mod pacing;

use super::forms;
use super::text::{Failure, Language};
use super::when;
use crate::audio::{self, Facts};
use crate::broadcast::{Area, Priority, Purpose};
use crate::io::Handle;
use crate::io::decoder::{Form, Isolation};
use crate::time::{Civil, MILLISECOND};
use axum::body::Bytes;
use chrono_tz::Tz;
use pacing::Pacing;
use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

/// How this node takes live sound.
#[derive(Clone, Debug)]
pub struct Settings {
    pub isolation: Isolation,
    /// All but the length of a packet.
    pub audio: audio::live::Options,
}

/// What is to be aired.
#[derive(Clone, Debug)]
pub struct Wish {
    pub id: Uuid,
    pub title: String,
    pub areas: Vec<Area>,
    pub priority: Priority,
    pub purpose: Purpose,
    /// µs.
    pub delay: Option<i64>,
    pub form: Form,
    /// When its first sound is to be heard, if that is still to come; and when its slot is over.
    pub at: Option<Civil>,
    pub until: Option<Civil>,
}

/// The live sources of a node: those that go on, and the newest that are over or were refused.
pub struct Sources {
    settings: RwLock<Arc<Settings>>,
    handle: Handle,
    known: Mutex<VecDeque<Arc<Source>>>,
}

/// The two ends of a source under way.
pub struct Begun {
    /// Pieces of the stream; dropped at its end.
    pub feed: mpsc::Sender<Bytes>,
    pub source: Arc<Source>,
    /// Why it ended, once it has.
    pub ended: oneshot::Receiver<()>,
}

impl Sources {
    pub fn new(handle: Handle, settings: Settings) -> Self {
        Self { settings: RwLock::new(Arc::new(settings)), handle, known: Mutex::default() }
    }

    /// From the next source on; those under way go on as they began.
    pub fn change(&self, change: impl FnOnce(&mut Settings)) {
        let mut held = self.settings.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut held));
    }

    fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// b/s of the renditions that are aired.
    pub fn bitrates(&self) -> Vec<u32> {
        self.settings().audio.bitrates.clone()
    }

    pub fn get(&self, id: Uuid) -> Option<Arc<Source>> {
        self.hold().iter().find(|source| source.wish.id == id).cloned()
    }

    /// The newest first.
    pub fn all(&self) -> Vec<Arc<Source>> {
        self.hold().iter().rev().cloned().collect()
    }

    /// Remembers a source that was turned away, for whoever asks by its id.
    pub fn refused(&self, wish: Wish, failure: &Failure) {
        let mut known = self.hold();
        if known.iter().all(|source| source.wish.id != wish.id) {
            let source = Source::new(wish);
            source.end(failure.clone());
            keep(&mut known, Arc::new(source));
        }
    }

    /// Takes a place and starts its threads, which end with it.
    pub fn begin(&self, wish: Wish) -> Result<Begun, Failure> {
        let source = {
            let mut known = self.hold();
            if known.iter().any(|source| source.wish.id == wish.id) {
                return Err(Failure::new("live.id_taken", [&wish.id]));
            }
            if known.iter().filter(|source| !source.is_over()).count() >= SOURCES {
                return Err(Failure::new("live.busy", [&SOURCES]));
            }
            let source = Arc::new(Source::new(wish));
            keep(&mut known, source.clone());
            source
        };
        self.start(&source).inspect_err(|failure| source.end(failure.clone()))
    }

    fn start(&self, source: &Arc<Source>) -> Result<Begun, Failure> {
        let wish = &source.wish;
        let name = if wish.title.is_empty() { "live" } else { &wish.title };
        let unstarted = |error: std::io::Error| Failure::new("live.start", [&error]);
        let settings = self.settings();
        let (mut mouth, begin) = settings.isolation.stream(wish.form, name).map_err(unstarted)?;
        let tracks = air::Tracks::new(&settings.audio.bitrates, wish.priority, wish.delay, &self.handle)?;
        let options = audio::live::Options { packet: tracks.packet(), ..settings.audio.clone() };
        let live = audio::live::Live::new(options).map_err(|error| Failure::from_room(error.code, error.text))?;
        let shared =
            Arc::new(Shared { held: Mutex::new(Held { live, failed: None, stop: None }), changed: Condvar::new() });
        *hold(&source.shared) = Some(shared.clone());

        let (feed, mut pieces) = mpsc::channel::<Bytes>(PIECES);
        let named = |what: &str| std::thread::Builder::new().name(format!("live-{what}"));
        let feeder = move || {
            while let Some(piece) = pieces.blocking_recv() {
                // The decoder has ended: the channel closes, and the sender learns of it.
                if mouth.write_all(&piece).is_err() {
                    return;
                }
            }
        };
        let decoder = {
            let (shared, source) = (shared.clone(), source.clone());
            move || {
                let failed = decode(begin, &shared, &source).err();
                let mut held = shared.hold();
                if let Some(error) = failed {
                    held.failed.get_or_insert_with(|| Failure::from_room(error.code, error.text));
                }
                held.live.finish();
                shared.changed.notify_all();
            }
        };
        let (over, ended) = oneshot::channel();
        let pacing = Pacing::new(self.handle.clone(), shared, source.clone(), tracks);
        let pacer = {
            let source = source.clone();
            move || {
                source.end(pacing.run());
                let _ = over.send(());
            }
        };
        named("feed").spawn(feeder).map_err(unstarted)?;
        named("decode").spawn(decoder).map_err(unstarted)?;
        named("pace").spawn(pacer).map_err(unstarted)?;
        Ok(Begun { feed, source: source.clone(), ended })
    }

    /// The node stops: what has been said is on the air, and nothing follows. Blocks for two seconds at most.
    pub fn stop(&self) {
        let all = self.all();
        all.iter().for_each(|source| source.stop(Failure::new("node.stopping", [])));
        let deadline = Instant::now() + STOPPING;
        while all.iter().any(|source| !source.is_over()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn hold(&self) -> MutexGuard<'_, VecDeque<Arc<Source>>> {
        hold(&self.known)
    }
}

/// Makes room by forgetting the oldest that is over.
fn keep(known: &mut VecDeque<Arc<Source>>, source: Arc<Source>) {
    if known.len() >= KEPT
        && let Some(oldest) = known.iter().position(|source| source.is_over())
    {
        known.remove(oldest);
    }
    known.push_back(source);
}

/// Samples from the decoder into the buffer, as there is room.
fn decode(begin: crate::io::decoder::Begin, shared: &Shared, source: &Source) -> Result<(), audio::Error> {
    let mut input = begin()?;
    source.change(|state| state.facts = Some(input.facts().clone()));
    let mut block = Vec::new();
    let mut more = true;
    while more {
        block.clear();
        let read = input.read(&mut block);
        let mut rest = &block[..];
        while !rest.is_empty() {
            let mut held = shared.hold();
            if held.stop.is_some() {
                return Ok(());
            }
            let fits = rest.len().min(held.live.room());
            if fits == 0 {
                drop(shared.changed.wait(held));
                continue;
            }
            held.live.push(&rest[..fits]);
            rest = &rest[fits..];
            shared.changed.notify_all();
        }
        more = read?;
    }
    Ok(())
}

/// What the threads of one source share.
struct Shared {
    held: Mutex<Held>,
    changed: Condvar,
}

struct Held {
    live: audio::live::Live,
    /// Why the decoder gave up; only once it has ended.
    failed: Option<Failure>,
    /// End at once, for this reason.
    stop: Option<Failure>,
}

impl Shared {
    fn hold(&self) -> MutexGuard<'_, Held> {
        hold(&self.held)
    }
}

/// One live source, from its request until it is forgotten.
pub struct Source {
    wish: Wish,
    state: Mutex<State>,
    shared: Mutex<Option<Arc<Shared>>>,
}

#[derive(Clone, Default)]
struct State {
    facts: Option<Facts>,
    aired: Option<Aired>,
    status: Option<audio::live::Status>,
    silent_since: Option<Civil>,
    packets: u64,
    /// Packets that the node had no room for.
    lost: u64,
    bytes: u64,
    end: Option<Failure>,
}

/// The node's answer to the order.
#[derive(Clone, Copy)]
struct Aired {
    broadcast: Uuid,
    /// accepted, from, until, sounds.
    times: [Civil; 4],
    /// When the first word is heard.
    speech: Civil,
    packet: i64,
}

impl Source {
    fn new(wish: Wish) -> Self {
        Self { wish, state: Mutex::default(), shared: Mutex::default() }
    }

    /// More of it has come in.
    pub fn received(&self, bytes: usize) {
        self.change(|state| state.bytes += bytes as u64);
    }

    /// Ends it: what waits to be aired is dropped.
    pub fn stop(&self, why: Failure) {
        if let Some(shared) = &*hold(&self.shared) {
            shared.hold().stop.get_or_insert(why);
            shared.changed.notify_all();
        }
    }

    /// Ends it because of what became of its stream: what came before is played.
    pub fn break_off(&self, why: Failure) {
        if let Some(shared) = &*hold(&self.shared) {
            shared.hold().failed.get_or_insert(why);
        }
    }

    pub fn is_over(&self) -> bool {
        self.hold().end.is_some()
    }

    /// Why it is over.
    pub fn why(&self) -> Failure {
        self.hold().end.clone().unwrap_or_else(|| Failure::new("live.over", []))
    }

    pub fn is_on_air(&self) -> bool {
        let state = self.hold();
        state.aired.is_some() && state.end.is_none()
    }

    /// The failure of a source that was never on the air.
    pub fn failure(&self) -> Option<Failure> {
        let state = self.hold();
        state.end.clone().filter(|_| state.aired.is_none())
    }

    fn end(&self, why: Failure) {
        self.change(|state| {
            state.end.get_or_insert(why);
        });
        *hold(&self.shared) = None;
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut hold(&self.state));
    }

    fn hold(&self) -> MutexGuard<'_, State> {
        hold(&self.state)
    }

    pub fn form(&self, zone: Tz, language: Language) -> forms::Live {
        let state = self.hold().clone();
        let name = match (&state.end, &state.aired) {
            (Some(_), _) => "ended",
            (None, Some(_)) => "on_air",
            (None, None) => "waiting",
        };
        let status = state.status;
        let level = |of: fn(&audio::live::Status) -> f64| status.as_ref().map(of).filter(|value| value.is_finite());
        let tenths = |value: f64| (value * 10.0).round() / 10.0;
        forms::Live {
            id: self.wish.id,
            state: name.into(),
            title: self.wish.title.clone(),
            areas: self.wish.areas.iter().map(ToString::to_string).collect(),
            priority: self.wish.priority.into(),
            format: state.facts.as_ref().map(describe),
            broadcast: state.aired.map(|aired| forms::Aired::new(aired.broadcast, aired.times, zone)),
            speech: state.aired.map(|aired| when::show(aired.speech, zone)),
            speech_us: state.aired.map(|aired| aired.speech.0),
            received_bytes: state.bytes,
            packets: state.packets,
            seconds: state.aired.map_or(0.0, |aired| (state.packets as i64 * aired.packet) as f64 / 1e6),
            peak_db: level(|status| status.level.peak).map(tenths),
            level_db: level(|status| status.level.rms).map(tenths),
            gain_db: status.map_or(0.0, |status| tenths(status.gain)),
            silent: status.is_some_and(|status| status.silent),
            silent_since: state.silent_since.map(|since| when::show(since, zone)),
            overloaded: status.is_some_and(|status| status.overloaded),
            gaps: status.map_or(0, |status| status.gaps),
            missing_ms: status.map_or(0, |status| status.missing / MILLISECOND),
            reserve_ms: status.map_or(0, |status| status.reserve / MILLISECOND),
            slow_ppm: status.map_or(0.0, |status| tenths(status.slow_ppm)),
            dropped: state.lost + status.map_or(0, |status| status.dropped),
            end: state.end.map(|why| forms::Fault { text: why.text(language), code: why.code }),
        }
    }
}

fn describe(facts: &Facts) -> String {
    format!("{}, {}, {} Hz × {}", facts.container, facts.codec, facts.rate, facts.channels)
}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sources at once: each encodes at a twentieth of a core for every rendition and keeps three threads and a decoder.
const SOURCES: usize = 8;
/// Sources remembered, those that are over included.
const KEPT: usize = 64;
/// Pieces of a body on their way to the decoder, some KiB each.
const PIECES: usize = 4;
/// For the last orders of all sources.
const STOPPING: Duration = Duration::from_millis(1_500);
