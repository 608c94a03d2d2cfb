//! The parent's side of a link to one child. Small: a branch holds thousands.
mod input;
#[cfg(test)]
mod memory;

use super::exchange::{Told, spacing};
use super::flood::Meter;
use super::ration::{Ration, Verdict};
use super::{Arrival, Departure, VERSION, Violation, wire};
use crate::proto;
use crate::proto::datagram::Body;
use crate::proto::to_child;
use crate::time::{Local, MILLISECOND, SECOND};
use crate::track::{LAST_INDEX, Packet, Secret};
use bytes::Bytes;
use prost::Message;
use std::collections::VecDeque;
use uuid::Uuid;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Share of a track's media rate that repair may take, over `repair_window` µs.
    pub repair_share: f64,
    pub repair_window: i64,
    /// No beat for so long ends the session, µs.
    pub silence: i64,
    /// Hello must come within, µs.
    pub hello: i64,
    /// A child reports once a `quick` until `settle` after joining, then ever less often, down to once a
    /// `slow`, µs: as `child::Options` say.
    pub quick: i64,
    pub settle: i64,
    pub slow: i64,
    /// So many missed reports in a row stop media (RFC 8083 §4.2).
    pub missed_reports: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            repair_share: 0.4,
            repair_window: 10 * SECOND,
            silence: 35 * SECOND,
            hello: 5 * SECOND,
            quick: 200 * MILLISECOND,
            settle: 72 * SECOND,
            slow: 10 * SECOND,
            missed_reports: 3,
        }
    }
}

impl Options {
    /// µs between the beats of a session that began `age` µs ago and is not asked for more.
    pub fn spacing(&self, age: i64) -> i64 {
        spacing(age, self.quick, self.settle, self.slow)
    }
}

#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "a Hello comes once in a session; the queue is mostly empty")]
pub enum Event {
    Hello {
        node: Uuid,
        placement: Option<proto::Signed>,
        grants: Vec<proto::Signed>,
    },
    Listen {
        track: Uuid,
        from: u64,
    },
    Unlisten {
        track: Uuid,
    },
    Fetch {
        track: Uuid,
        from: u64,
        until: u64,
    },
    /// The child lacks this; the caller looks it up and calls `answer`. Already deduplicated
    /// (the second of two equal NACKs) and bounded.
    Nack {
        track: Uuid,
        index: u64,
    },
    Report(proto::Report),
    Health(Vec<proto::Report>),
    /// Sound reaches this child by the group, or does no longer.
    Hearing {
        group: bool,
    },
    /// This session is the child's spare, or is no longer.
    Standby {
        standby: bool,
    },
    /// It, or a node below it, asks for a certificate.
    Enrol(Box<proto::Enrol>),
    /// What became of orders at it and below.
    Receipts(Box<proto::Receipts>),
    /// Media stops going to this child (three missed reports, RFC 8083) or may go again.
    Breaker {
        open: bool,
    },
    PathEchoed {
        nonce: u64,
    },
    /// Gone: hang up.
    Silent,
    Goodbye {
        code: String,
        text: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    Silence,
    Answer,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub nacked: u64,
    pub answered: u64,
    /// Answers not given for lack of budget.
    pub over_budget: u64,
    pub unknown_index: u64,
    /// Requests for tracks that this child does not listen to.
    pub unknown_track: u64,
    pub malformed: u64,
    /// Input beyond what a peer may send in a second.
    pub flooded: u64,
    /// Listen, Unlisten and Fetch beyond what a child can mean.
    pub wishes: u64,
}

/// One link's session, seen from above.
#[derive(Debug)]
pub struct Parent {
    options: Options,
    began: Local,
    greeted: bool,
    silent: bool,
    /// The last beat; before the first, the beginning.
    beat: Local,
    /// µs to leave between beats: what the next echo says, what the last two said.
    asked: u32,
    told: u32,
    told_before: u32,
    broken: bool,
    rations: Vec<Ration>,
    /// Second copies of answers, in the order of their times.
    copies: VecDeque<Copy>,
    /// What is to be announced as missing: (track, index), merged when departures are drained.
    lacking: Vec<(Uuid, u64)>,
    /// Open transfers.
    transfers: Vec<Transfer>,
    streams: u64,
    control: Meter,
    datagrams: Meter,
    indices: Meter,
    /// Indices asked for again, which cost a search and are ignored.
    repeats: Meter,
    beats: Meter,
    reports: Meter,
    /// What Listen and Fetch may still go, and since when: see [`WISHES`].
    wishes: (u32, Local),
    counters: Counters,
    departures: VecDeque<Departure>,
    events: VecDeque<Event>,
}

#[derive(Debug)]
struct Copy {
    at: Local,
    track: Uuid,
    bytes: Bytes,
}

/// A bulk stream that goes on.
#[derive(Debug)]
struct Transfer {
    track: Uuid,
    stream: u64,
    next: u64,
}

impl Parent {
    /// The link is up: waits for Hello.
    pub fn new(now: Local, options: Options) -> Self {
        Self {
            options,
            began: now,
            greeted: false,
            silent: false,
            beat: now,
            asked: 0,
            told: 0,
            told_before: 0,
            broken: false,
            rations: Vec::new(),
            copies: VecDeque::new(),
            lacking: Vec::new(),
            transfers: Vec::new(),
            streams: 0,
            control: Meter::new("control messages", CONTROL_PER_SECOND),
            datagrams: Meter::new("datagrams", DATAGRAMS_PER_SECOND),
            indices: Meter::new("indices asked for", INDICES_PER_SECOND),
            repeats: Meter::new("indices asked for again", REPEATS_PER_SECOND),
            beats: Meter::new("beats", BEATS_PER_SECOND),
            reports: Meter::new("reports", REPORTS_PER_SECOND),
            wishes: (WISHES, now),
            counters: Counters::default(),
            departures: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// `phase`: this node's civil time for `now`, for clock answers.
    pub fn handle_arrival(&mut self, now: Local, phase: Option<Told>, arrival: Arrival) -> Result<(), Violation> {
        match arrival {
            Arrival::Control(bytes) => {
                if !self.control.handle(now)? {
                    self.counters.flooded += 1;
                }
                self.handle_control(now, wire::read_control(bytes)?)
            }
            Arrival::Datagram(bytes) => {
                if self.datagrams.handle(now)? {
                    return self.handle_datagram(now, phase, bytes);
                }
                self.counters.flooded += 1;
                Ok(())
            }
            Arrival::Bulk { .. } | Arrival::BulkEnd { .. } => {
                Err(Violation::new("bulk.unexpected", "bulk streams go from parent to child alone"))
            }
            // A bare packet from the child's address: anybody can send one.
            Arrival::Media(_) | Arrival::Group(_) => {
                self.counters.malformed += 1;
                Ok(())
            }
        }
    }

    /// µs that the next echo asks to be left between beats; 0: as the child likes. At most `Options::slow`,
    /// so that no bound on silence changes.
    pub fn ask(&mut self, every: i64) {
        self.asked = u32::try_from(every.clamp(0, self.options.slow)).unwrap_or(u32::MAX);
    }

    /// Version and features are this node's, whatever the message says.
    pub fn welcome(&mut self, welcome: proto::Welcome) {
        self.control(to_child::Body::Welcome(proto::Welcome { version: VERSION, features: 0, ..welcome }));
    }

    pub fn log(&mut self, log: proto::Log) {
        self.control(to_child::Body::Log(log));
    }

    /// Orders and grants in force; split into frames of at most 32 KiB, the last one marked.
    pub fn push(&mut self, orders: Vec<proto::Signed>) {
        let mut push = proto::Push::default();
        let mut length = 0;
        for order in orders {
            let more = order.encoded_len() + 8;
            if !push.orders.is_empty() && (length + more > PUSH_BYTES || push.orders.len() >= PUSH_ORDERS) {
                self.control(to_child::Body::Push(std::mem::take(&mut push)));
                length = 0;
            }
            length += more;
            push.orders.push(order);
        }
        push.last = true;
        self.control(to_child::Body::Push(push));
    }

    pub fn key(&mut self, track: Uuid, secret: &Secret) {
        self.control(to_child::Body::Key(proto::Key { track: wire::id(track), secret: Some(secret.to_proto()) }));
    }

    /// The answer to Listen. `rate`: media bytes per second, for the repair budget. `together`: packets that
    /// leave in one send. `backlog`: packets before `next` that the child can still use, sent as one bulk
    /// stream (gaps begin a new one; of more than [`BACKLOG_RUNS`] runs the newest go).
    pub fn listening(&mut self, now: Local, track: Uuid, next: u64, rate: u32, together: u32, backlog: Vec<Packet>) {
        let again = self.rations.iter().any(|ration| ration.track == track);
        self.budget(now, track, rate);
        self.control(to_child::Body::Listening(proto::Listening { track: wire::id(track), next, together }));
        let runs: Vec<&[Packet]> = backlog.chunk_by(|one, other| one.index + 1 == other.index).collect();
        for run in &runs[runs.len().saturating_sub(BACKLOG_RUNS)..] {
            // Whoever comes for the first time gets all of it; again, what its budget holds.
            let bytes = run.iter().map(|packet| packet.bytes.len()).sum();
            if again && !self.ration(track).is_some_and(|ration| ration.afford(now, bytes)) {
                self.counters.over_budget += 1;
                continue;
            }
            let stream = self.begin_stream(track, run[0].index);
            self.send_run(stream, run);
            self.departures.push_back(Departure::BulkEnd { stream });
        }
    }

    /// Sets the repair budget of a track that needs no Listen: a log. `rate`: bytes per second.
    pub fn budget(&mut self, now: Local, track: Uuid, rate: u32) {
        let (share, window) = (self.options.repair_share, self.options.repair_window);
        if let Some(ration) = self.rations.iter_mut().find(|ration| ration.track == track) {
            ration.left = false;
            ration.set(now, rate, share, window);
            return;
        }
        if self.rations.len() >= MAX_RATIONS
            && let Some(at) = self.rations.iter().position(|ration| ration.left)
        {
            self.rations.remove(at);
        }
        if self.rations.len() < MAX_RATIONS {
            // Most sessions have one or two, for good.
            self.rations.reserve_exact(1);
            self.rations.push(Ration::new(now, track, rate, share, window));
        }
    }

    /// Forgets the track's answers; its budget once it is full again.
    pub fn unlistened(&mut self, now: Local, track: Uuid) {
        if let Some(ration) = self.ration(track) {
            ration.leave(now);
        }
        self.copies.retain(|copy| copy.track != track);
        self.lacking.retain(|(lacking, _)| *lacking != track);
    }

    pub fn unavailable(&mut self, track: Uuid, reason: &str) {
        let reason = wire::cut(reason, wire::MAX_TEXT).into();
        self.control(to_child::Body::Unavailable(proto::Unavailable { track: wire::id(track), reason }));
    }

    /// Part of an answer to Fetch. `last` finishes the stream.
    pub fn bulk(&mut self, track: Uuid, packets: &[Packet], last: bool) {
        for run in packets.chunk_by(|one, other| one.index + 1 == other.index) {
            let first = run[0].index;
            let open = self.transfers.iter().position(|transfer| transfer.track == track);
            let at = match open {
                Some(at) if self.transfers[at].next == first => at,
                Some(at) => {
                    // The stream can't leave out an index: a gap begins another.
                    self.departures.push_back(Departure::BulkEnd { stream: self.transfers[at].stream });
                    self.transfers[at].stream = self.begin_stream(track, first);
                    at
                }
                None => {
                    let stream = self.begin_stream(track, first);
                    self.transfers.push(Transfer { track, stream, next: first });
                    self.transfers.len() - 1
                }
            };
            self.transfers[at].next = first + run.len() as u64;
            self.send_run(self.transfers[at].stream, run);
        }
        if last {
            let stream = match self.transfers.iter().position(|transfer| transfer.track == track) {
                Some(at) => self.transfers.swap_remove(at).stream,
                // Nothing to send: an empty stream says that the transfer is over.
                None => self.begin_stream(track, 0),
            };
            self.departures.push_back(Departure::BulkEnd { stream });
        }
    }

    /// The rest of a transfer does not come: its stream, if one is open, ends here.
    pub fn end_bulk(&mut self, track: Uuid) {
        if let Some(at) = self.transfers.iter().position(|transfer| transfer.track == track) {
            let stream = self.transfers.swap_remove(at).stream;
            self.departures.push_back(Departure::BulkEnd { stream });
        }
    }

    /// Answers a NACK: the same bytes as media, now and 20 ms later (once only when the budget is half
    /// used, not at all when it is spent); without bytes, tells the child that they are missing here.
    pub fn answer(&mut self, now: Local, track: Uuid, index: u64, bytes: Option<Bytes>) {
        let Some(bytes) = bytes else {
            self.counters.unknown_index += 1;
            if self.lacking.len() < MAX_LACKING {
                self.lacking.push((track, index));
            }
            return;
        };
        if self.broken {
            return;
        }
        let verdict = self.ration(track).map_or(Verdict::Never, |ration| ration.spend(now, bytes.len()));
        if verdict == Verdict::Never {
            self.counters.over_budget += 1;
            return;
        }
        if verdict == Verdict::Twice {
            self.copies.push_back(Copy { at: now + COPY_AFTER, track, bytes: bytes.clone() });
        }
        self.media(bytes);
    }

    /// Announces what this node itself lacks.
    pub fn missing(&mut self, track: Uuid, first: u64, count: u64) {
        if count == 0 || first > LAST_INDEX {
            return;
        }
        let ranges = vec![proto::Range { first, count }];
        let missing = proto::Missing { track: wire::id(track), ranges };
        self.departures.push_back(Departure::Datagram(wire::datagram(Body::Missing(missing))));
    }

    /// Asks the child's address for a sign of life; `Event::PathEchoed` answers. `nonce` must be
    /// unguessable: media moves to the address that returns it.
    pub fn challenge(&mut self, _now: Local, nonce: u64) {
        let path = wire::datagram(Body::Path(proto::PathNonce { nonce }));
        self.departures.push_back(Departure::Datagram(path));
    }

    pub fn receipted(&mut self, receipted: proto::Receipted) {
        self.control(to_child::Body::Receipts(receipted));
    }

    pub fn enrolled(&mut self, enrolled: proto::Enrolled) {
        self.control(to_child::Body::Enrolled(enrolled));
    }

    pub fn deliver(&mut self, deliver: proto::Deliver) {
        self.control(to_child::Body::Deliver(deliver));
    }

    pub fn goodbye(&mut self, code: &str, text: &str) {
        self.control(to_child::Body::Goodbye(wire::goodbye(code, text)));
    }

    pub fn poll_departure(&mut self) -> Option<Departure> {
        if !self.lacking.is_empty() {
            self.announce_lacking();
        }
        let departure = self.departures.pop_front();
        if self.departures.is_empty() && self.departures.capacity() > 0 {
            // A branch holds thousands of sessions, nearly all of them idle.
            self.departures = VecDeque::new();
        }
        departure
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if self.events.is_empty() && self.events.capacity() > 0 {
            self.events = VecDeque::new();
        }
        event
    }

    pub fn poll_timeout(&self) -> Option<(Local, Reason)> {
        if self.silent {
            return None;
        }
        let silence = match (self.greeted, self.broken) {
            (false, _) => self.began + self.options.hello,
            (true, false) => self.breaks_at().min(self.beat + self.options.silence),
            (true, true) => self.beat + self.options.silence,
        };
        let answer = self.copies.front().map(|copy| (copy.at, Reason::Answer));
        Some(answer.map_or((silence, Reason::Silence), |answer| answer.min((silence, Reason::Silence))))
    }

    pub fn handle_timeout(&mut self, now: Local) {
        while self.copies.front().is_some_and(|copy| copy.at <= now) {
            if let Some(copy) = self.copies.pop_front()
                && !self.broken
            {
                self.media(copy.bytes);
            }
        }
        if self.copies.is_empty() && self.copies.capacity() > 0 {
            self.copies = VecDeque::new();
        }
        if self.silent {
            return;
        }
        if self.greeted && !self.broken && self.breaks_at() <= now {
            self.broken = true;
            self.events.push_back(Event::Breaker { open: true });
        }
        let gone = if self.greeted { self.beat + self.options.silence } else { self.began + self.options.hello };
        if gone <= now {
            self.silent = true;
            self.events.push_back(Event::Silent);
        }
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What was counted since this was last asked.
    pub fn take_counters(&mut self) -> Counters {
        std::mem::take(&mut self.counters)
    }

    /// When media stops for want of reports.
    fn breaks_at(&self) -> Local {
        // An echo may be lost: the child then keeps to the one before.
        let asked = i64::from(self.told.max(self.told_before));
        let interval = self.options.spacing(self.beat - self.began).max(asked).max(SECOND);
        self.beat + interval.saturating_mul(self.options.missed_reports.max(1) as i64) + REPORT_GRACE
    }

    fn announce_lacking(&mut self) {
        let mut lacking = std::mem::take(&mut self.lacking);
        lacking.sort_unstable();
        lacking.dedup();
        for of_track in lacking.chunk_by(|one, other| one.0 == other.0) {
            for some in of_track.chunks(wire::MAX_RANGES) {
                let ranges = wire::ranges(some.iter().map(|(_, index)| *index));
                let missing = proto::Missing { track: wire::id(of_track[0].0), ranges };
                self.departures.push_back(Departure::Datagram(wire::datagram(Body::Missing(missing))));
            }
        }
    }

    fn ration(&mut self, track: Uuid) -> Option<&mut Ration> {
        self.rations.iter_mut().find(|ration| ration.track == track && !ration.left)
    }

    fn begin_stream(&mut self, track: Uuid, first: u64) -> u64 {
        let stream = self.streams;
        self.streams += 1;
        let bulk = proto::Bulk { track: wire::id(track), first };
        self.departures.push_back(Departure::Bulk { stream, frame: bulk.encode_to_vec().into() });
        stream
    }

    fn send_run(&mut self, stream: u64, run: &[Packet]) {
        let frames = run.iter().map(|packet| Departure::Bulk { stream, frame: packet.bytes.clone() });
        self.departures.extend(frames);
    }

    fn media(&mut self, bytes: Bytes) {
        self.counters.answered += 1;
        self.departures.push_back(Departure::Media(bytes));
    }

    fn control(&mut self, body: to_child::Body) {
        self.departures.push_back(Departure::Control(proto::ToChild { body: Some(body) }.encode_to_vec().into()));
    }
}

/// The second copy of an answer comes so long after the first that most short bursts take only one.
const COPY_AFTER: i64 = 20 * MILLISECOND;
/// A report may be late by a retry or two before it counts as missed.
const REPORT_GRACE: i64 = 500 * MILLISECOND;
/// Tracks that a child may listen to at once, logs included (as the child bounds itself).
const MAX_LISTENS: usize = super::child::MAX_TRACKS;
/// Budgets held: what this node gives unasked in an emergency may exceed what a child may ask for.
const MAX_RATIONS: usize = 2 * MAX_LISTENS;
/// Runs of a backlog: each is a stream, and a child reads [`super::MAX_BULK_STREAMS`] at once.
pub const BACKLOG_RUNS: usize = 4;
/// Listen, Unlisten, Health: some a second; a relay of 1,000 speakers sends 16 frames of Health.
const CONTROL_PER_SECOND: u16 = 200;
/// Twice what a child sends that asks for [`INDICES_PER_SECOND`] one by one, each twice.
const DATAGRAMS_PER_SECOND: u16 = 1_000;
/// Indices asked for: far beyond the media rate of any link that can carry the answers.
pub const INDICES_PER_SECOND: u16 = 500;
/// Every request comes twice, and once more in a later round of a later beat.
const REPEATS_PER_SECOND: u16 = 4 * INDICES_PER_SECOND;
/// At join 50 a second; later 5, and some for what can't wait.
const BEATS_PER_SECOND: u16 = 100;
/// Its own and those that it passes on: twice what a relay sends (`node::trunk`).
const REPORTS_PER_SECOND: u16 = 2_048;
/// Listen and Fetch at once, and how soon another may come, µs: all tracks of a session four times over,
/// then twenty a second. A child whose parent lacks a track asks ten times a second.
const WISHES: u32 = 4 * MAX_LISTENS as u32;
const WISH_EVERY: i64 = 50 * MILLISECOND;
/// Announced in one go; what is beyond is asked for again.
const MAX_LACKING: usize = 512;
const PUSH_BYTES: usize = 32 * 1024;
/// The child refuses a Push of more than 1,024 orders.
const PUSH_ORDERS: usize = 512;
