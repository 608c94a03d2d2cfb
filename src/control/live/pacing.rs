//! The thread that puts one live source on the air and gives it its pace.
use super::air::Tracks;
use super::{Aired, Held, Shared, Source};
use crate::audio::live::Event;
use crate::control::text::{Failure, Language, say};
use crate::io::{Handle, clock};
use crate::node::trunk::{self, Note, Reply, Request};
use crate::playout::Phase;
use crate::time::{Civil, SECOND};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime;
use uuid::Uuid;

pub struct Pacing {
    handle: Handle,
    shared: Arc<Shared>,
    source: Arc<Source>,
    tracks: Tracks,
    /// Requests that nobody waits for are asked on it.
    runtime: runtime::Handle,
    last_gap: Option<Instant>,
}

impl Pacing {
    /// Within a runtime.
    pub fn new(handle: Handle, shared: Arc<Shared>, source: Arc<Source>, tracks: Tracks) -> Self {
        Self { handle, shared, source, tracks, runtime: runtime::Handle::current(), last_gap: None }
    }

    /// Until the source is over and its broadcast has its end; says why it ended.
    pub fn run(mut self) -> Failure {
        let (aired, anchor) = match self.wait_for_sound().and_then(|()| self.air()) {
            Ok(aired) => aired,
            Err(failure) => {
                self.release();
                return failure;
            }
        };
        let broadcast = aired.broadcast;
        self.shared.hold().live.handle_air(anchor);
        self.source.change(|state| state.aired = Some(aired));
        let (why, packets) = self.pace(&aired, anchor);
        self.release();
        self.finish(broadcast, packets);
        let text = say(Language::English, "live.note_ended", [&self.source.wish.title, &why.text(Language::English)]);
        self.note("live.ended", text, Some(broadcast));
        why
    }

    /// Whoever waits for room learns that there will be none.
    fn release(&self) {
        self.shared.hold().stop.get_or_insert_with(|| Failure::new("live.over", []));
        self.shared.changed.notify_all();
    }

    fn wait_for_sound(&self) -> Result<(), Failure> {
        let mut held = self.shared.hold();
        loop {
            if let Some(why) = &held.stop {
                return Err(why.clone());
            }
            if held.live.has_begun() {
                return Ok(());
            }
            if held.live.packets().is_some() {
                return Err(held.failed.clone().unwrap_or_else(|| Failure::new("live.empty", [])));
            }
            held = self.shared.changed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn air(&self) -> Result<(Aired, Civil), Failure> {
        let wish = &self.source.wish;
        let mut listed = self.tracks.listed();
        let (track, secret) = listed.next().ok_or_else(|| Failure::new("node.stopping", []))?;
        let air = trunk::Air {
            id: None,
            title: wish.title.clone(),
            areas: wish.areas.clone(),
            priority: wish.priority,
            purpose: wish.purpose,
            at: wish.at.filter(|at| self.handle.phase().is_some_and(|phase| phase.civil(clock::local()) + SOON < *at)),
            delay: wish.delay,
            track,
            secret,
            others: listed.collect(),
            live: true,
            resume: false,
            second: false,
            prepared: None,
        };
        match self.ask(Request::Air(Box::new(air)))? {
            Reply::Aired { broadcast, accepted, from, until, sounds, anchor, delay } => {
                let (times, packet) = ([accepted, from, until, sounds], self.tracks.packet_micros());
                Ok((Aired { broadcast, times, speech: anchor + delay, packet }, anchor))
            }
            _ => Err(Failure::new("node.stopping", [])),
        }
    }

    /// Packet by packet, until it is over: why, and how many there were.
    fn pace(&mut self, aired: &Aired, anchor: Civil) -> (Failure, u64) {
        // What is made until then is heard a delay later.
        let slot = self.source.wish.until.map(|until| until - (aired.speech - anchor));
        let until = slot.map_or(aired.times[2], |slot| slot.min(aired.times[2]));
        let mut made = 0;
        let mut phase = self.handle.phase();
        let mut looked = Instant::now();
        loop {
            phase = self.handle.phase().or(phase);
            let shared = self.shared.clone();
            let mut held = shared.hold();
            if let Some(why) = held.stop.clone() {
                return (why, made);
            }
            let Some(due) = held.live.poll_timeout() else {
                let why = held.failed.clone().unwrap_or_else(|| Failure::new("live.over", []));
                return (why, made);
            };
            if due > until && slot == Some(until) {
                return (Failure::new("live.slot", []), made);
            }
            if due > until {
                return (Failure::new("live.longest", [&((until - anchor) / (3_600 * SECOND))]), made);
            }
            if let Some(wait) = phase.and_then(|phase| wait(&phase, due)) {
                drop(shared.changed.wait_timeout(held, wait.min(LOOK)));
                if looked.elapsed() >= LOOK {
                    looked = Instant::now();
                    self.look(aired.broadcast);
                }
                continue;
            }
            match self.make(&mut held, due) {
                Ok(Some(next)) => made = next,
                Ok(None) => {}
                Err(failure) => return (failure, made),
            }
            let events: Vec<Event> = std::iter::from_fn(|| held.live.poll_event()).collect();
            let status = held.live.status();
            drop(held);
            // Whoever waits for room has it.
            shared.changed.notify_all();
            self.source.change(|state| (state.status, state.packets) = (Some(status), made));
            events.into_iter().for_each(|event| self.tell(event, aired.broadcast));
        }
    }

    /// Makes the packet that is due and hands it over. Returns the number of packets so far.
    fn make(&mut self, held: &mut MutexGuard<'_, Held>, due: Civil) -> Result<Option<u64>, Failure> {
        let now = self.handle.phase().map_or(due, |phase| phase.civil(clock::local()).max(due));
        let made = held.live.poll_packet(now).map_err(|error| Failure::from_room(error.code, error.text))?;
        let Some(made) = made else { return Ok(None) };
        for (track, packet) in self.tracks.seal(&made, now)? {
            if !self.handle.made(track, packet) {
                self.source.change(|state| state.lost += 1);
            }
        }
        Ok(Some(made.index + 1))
    }

    /// Tells everybody which packet is the last one.
    fn finish(&self, broadcast: Uuid, packets: u64) {
        let finish = Request::Finish { broadcast, packets: packets.max(1) };
        match self.ask(finish) {
            Ok(_) => {}
            // Cancelled meanwhile.
            Err(failure) if failure.code == "broadcast.over" => {}
            Err(failure) => {
                tracing::warn!(code = failure.code, %broadcast, "a live broadcast's end could not be given: {failure}; it is cancelled");
                if let Err(failure) = self.ask(Request::Cancel { broadcast }) {
                    tracing::error!(code = failure.code, %broadcast, "and it could not be cancelled: {failure}");
                }
            }
        }
    }

    /// Is it still on the air? Somebody may have cancelled it.
    fn look(&self, broadcast: Uuid) {
        let (handle, source) = (self.handle.clone(), self.source.clone());
        self.runtime.spawn(async move {
            if let Some(Reply::Broadcasts(all)) = handle.request(Request::Broadcasts).await {
                let on = |one: &trunk::Listed| one.broadcast == broadcast && matches!(one.state, "known" | "sounding");
                if !all.iter().any(on) {
                    source.stop(Failure::new("live.cancelled", [&broadcast]));
                }
            }
        });
    }

    fn tell(&mut self, event: Event, broadcast: Uuid) {
        let title = &self.source.wish.title;
        let (code, text) = match event {
            Event::Silence { since } => {
                self.source.change(|state| state.silent_since = Some(since));
                ("live.silent", say(Language::English, "live.note_silent", [title]))
            }
            Event::Sound { .. } => {
                self.source.change(|state| state.silent_since = None);
                ("live.sound", say(Language::English, "live.note_sound", [title]))
            }
            Event::Overload { .. } => ("live.overload", say(Language::English, "live.note_overload", [title])),
            Event::Clear { .. } => ("live.clear", say(Language::English, "live.note_clear", [title])),
            Event::Gap { lasts, .. } => {
                // A source that stutters would push everything else out of the events.
                if self.last_gap.is_some_and(|last| last.elapsed() < BETWEEN_GAPS) {
                    return;
                }
                self.last_gap = Some(Instant::now());
                ("live.gap", say(Language::English, "live.note_gap", [title, &(lasts / 1_000)]))
            }
        };
        self.note(code, text, Some(broadcast));
    }

    fn note(&self, code: &'static str, text: String, broadcast: Option<Uuid>) {
        let handle = self.handle.clone();
        let note = Request::Note(Note { code, text, broadcast });
        self.runtime.spawn(async move { handle.request(note).await });
    }

    fn ask(&self, request: Request) -> Result<Reply, Failure> {
        let asked = self.runtime.block_on(async { tokio::time::timeout(SILENT, self.handle.request(request)).await });
        match asked {
            Err(_) => Err(Failure::new("node.silent", [&SILENT.as_secs()])),
            Ok(None) => Err(Failure::new("node.stopping", [])),
            Ok(Some(Reply::Refused { code, text })) => Err(Failure::from_room(code, text)),
            Ok(Some(reply)) => Ok(reply),
        }
    }
}

/// How long until then; `None` if it has passed.
fn wait(phase: &Phase, due: Civil) -> Option<Duration> {
    let left = phase.local(due) - clock::local();
    u64::try_from(left).ok().filter(|left| *left > 0).map(Duration::from_micros)
}

/// µs: what begins sooner begins now.
const SOON: i64 = SECOND / 2;
/// How often to look whether the broadcast is still on the air; and the longest sleep.
const LOOK: Duration = Duration::from_secs(1);
/// Gaps are told at most so often; the state counts them all.
const BETWEEN_GAPS: Duration = Duration::from_secs(10);
/// An order waits for the disk.
const SILENT: Duration = Duration::from_secs(10);
