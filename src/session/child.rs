//! The child's side of a link to a parent.
mod group;
mod input;
#[cfg(test)]
mod memory;
mod reports;
mod types;

use super::bulk::{Read, Streams};
use super::exchange::Pulse;
use super::flood::Meter;
use super::repair::{COPY_AFTER, ROUND_TRIP, Seeker};
use super::{Arrival, Departure, VERSION, Violation, wire};
use crate::proto;
use crate::proto::datagram::Body;
use crate::proto::to_parent;
use crate::time::{Local, SECOND};
use bytes::Bytes;
use group::Hears;
use prost::Message;
use std::collections::VecDeque;
use uuid::Uuid;

pub use types::{Counters, Event, Me, Options, Reason, Via, Wish};

/// One link's session, seen from below. Bounded: 64 tracks, 512 gaps per track.
#[derive(Debug)]
pub struct Child {
    welcomed: bool,
    began: Local,
    silent: bool,
    pulse: Pulse,
    report: Option<proto::Report>,
    /// The report changed since it was sent.
    fresh: bool,
    tracks: Vec<Seeker>,
    /// Another session brings sound.
    standby: bool,
    /// Tracks asked for in bulk, with their SSRC.
    fetches: Vec<(Uuid, u32)>,
    streams: Streams,
    hears: Hears,
    /// Second copies of requests, in the order of their times.
    copies: VecDeque<(Local, Bytes)>,
    asked: Meter,
    control: Meter,
    datagrams: Meter,
    /// Packets that came of themselves, and packets asked for, since the last beat.
    came: u32,
    lost: u32,
    counters: Counters,
    departures: VecDeque<Departure>,
    events: VecDeque<Event>,
}

impl Child {
    /// The link is up: queues Hello and the first exchange.
    pub fn new(now: Local, options: Options, me: Me) -> Self {
        let mut child = Self {
            welcomed: false,
            began: now,
            silent: false,
            pulse: Pulse::new(now, options),
            report: None,
            fresh: false,
            tracks: Vec::new(),
            standby: false,
            fetches: Vec::new(),
            streams: Streams::default(),
            hears: Hears::default(),
            copies: VecDeque::new(),
            asked: Meter::new("indices", INDICES_PER_SECOND),
            control: Meter::new("control messages", CONTROL_PER_SECOND),
            datagrams: Meter::new("datagrams", DATAGRAMS_PER_SECOND),
            came: 0,
            lost: 0,
            counters: Counters::default(),
            departures: VecDeque::new(),
            events: VecDeque::new(),
        };
        child.control(to_parent::Body::Hello(proto::Hello {
            version: VERSION,
            features: 0,
            node: wire::id(me.node),
            placement: me.placement,
            grants: me.grants,
        }));
        child.beat_if_due(now);
        child
    }

    pub fn handle_arrival(&mut self, now: Local, arrival: Arrival) -> Result<(), Violation> {
        match arrival {
            Arrival::Control(bytes) => {
                self.pulse.handle_heard(now);
                if !self.control.handle(now)? {
                    self.counters.flooded += 1;
                }
                self.handle_control(wire::read_control(bytes)?)
            }
            Arrival::Datagram(bytes) => {
                if self.datagrams.handle(now)? {
                    self.handle_datagram(now, bytes);
                } else {
                    self.counters.flooded += 1;
                }
                Ok(())
            }
            Arrival::Media(bytes) => {
                self.handle_media(now, bytes, false);
                Ok(())
            }
            Arrival::Group(bytes) => {
                self.handle_media(now, bytes, true);
                Ok(())
            }
            Arrival::Bulk { stream, frame } => {
                self.pulse.handle_heard(now);
                let (tracks, fetches) = (&self.tracks, &self.fetches);
                let wished =
                    |track| tracks.iter().find(|seeker| seeker.wish.track == track).map(|seeker| seeker.wish.ssrc);
                let fetched = |track| fetches.iter().find(|(fetched, _)| *fetched == track).map(|(_, ssrc)| *ssrc);
                match self.streams.handle_frame(stream, frame, |track| wished(track).or_else(|| fetched(track)))? {
                    Read::Packet { track, index, bytes } => {
                        self.event(Event::Packet { track, index, bytes, via: Via::Bulk });
                    }
                    Read::Begun => {}
                    Read::Useless => self.counters.malformed += 1,
                }
                Ok(())
            }
            Arrival::BulkEnd { stream } => {
                let mut ended = None;
                self.streams.handle_end(stream, |track| ended = Some(track));
                if let Some(track) = ended {
                    self.event(Event::Fetched { track });
                }
                Ok(())
            }
        }
    }

    /// Sends Listen (or updates `useful` and `packets` of a wish already made).
    pub fn listen(&mut self, _now: Local, wish: Wish) {
        if let Some(seeker) = self.seeker(wish.track) {
            (seeker.wish.useful, seeker.wish.packets) = (wish.useful, wish.packets);
            return;
        }
        if self.tracks.len() >= MAX_TRACKS {
            let reason = format!("this session listens to {MAX_TRACKS} tracks already; unlisten one first");
            self.event(Event::Unavailable { track: wish.track, reason });
            return;
        }
        let mut seeker = Seeker::new(wish);
        seeker.crowd(self.pulse.crowd());
        match wish.counted {
            true => seeker.anchor(wish.from),
            false => self.control(listen(&wish)),
        }
        self.tracks.push(seeker);
    }

    /// Tells the parent whether this session is the node's spare.
    pub fn stand_by(&mut self, standby: bool) {
        if std::mem::replace(&mut self.standby, standby) != standby {
            self.control(to_parent::Body::Standby(proto::Standby { standby }));
            // What was reported to another parent is news to this one.
            self.fresh = self.report.is_some();
        }
    }

    /// When the first packet of a track listened to should be here: before one has come, nothing else says when another
    /// is late.
    pub fn expect(&mut self, track: Uuid, due: Local) {
        if let Some(seeker) = self.seeker(track) {
            seeker.expect(due);
        }
    }

    /// When sound is so late that another parent should be heard. `None`: nothing is due.
    pub fn starves_at(&self) -> Option<Local> {
        self.tracks.iter().filter_map(Seeker::starves_at).min()
    }

    /// The newest index of a track that came live.
    pub fn newest(&self, track: Uuid) -> Option<u64> {
        self.tracks.iter().find(|seeker| seeker.wish.track == track).map(Seeker::newest)
    }

    /// Nothing has come of a track that the parent should send by itself: asks for it.
    pub fn insist(&mut self, track: Uuid) {
        if let Some(seeker) = self.seeker(track).filter(|seeker| seeker.wish.counted) {
            seeker.wish.counted = false;
            let body = listen(&seeker.wish);
            self.control(body);
        }
    }

    pub fn unlisten(&mut self, _now: Local, track: Uuid) {
        if self.forget(track) {
            self.control(to_parent::Body::Unlisten(proto::Unlisten { track: wire::id(track) }));
        }
    }

    /// The track is over, as the parent knows by itself: nothing is sent.
    pub fn ended(&mut self, track: Uuid) {
        self.forget(track);
    }

    /// Asks for `[from, until)` in bulk. The parent answers with streams of this track and SSRC.
    pub fn fetch(&mut self, _now: Local, track: Uuid, ssrc: u32, from: u64, until: u64) {
        self.fetches.retain(|(fetched, _)| *fetched != track);
        if self.fetches.len() >= MAX_TRACKS {
            self.fetches.remove(0);
        }
        self.fetches.push((track, ssrc));
        self.control(to_parent::Body::Fetch(proto::Fetch { track: wire::id(track), from, until }));
    }

    /// The packet of an `Event::Packet` was verified (`via` as there: at once, since the time of a live
    /// one teaches when packets are due), or came over another link (`Via::Bulk`): no need to ask for it.
    pub fn handle_accepted(&mut self, now: Local, track: Uuid, index: u64, via: Via) {
        let round_trip = self.round_trip().unwrap_or(ROUND_TRIP);
        let Some(seeker) = self.tracks.iter_mut().find(|seeker| seeker.wish.track == track) else { return };
        let live = via == Via::Live;
        if live {
            self.pulse.handle_heard(now);
        }
        if live && self.hears.handle_accepted(now, track, index, seeker.wish.duration) {
            self.departures.push_back(hearing(true));
        }
        if seeker.handle_accepted(now, index, live, round_trip) {
            self.counters.repaired += 1;
        } else if live {
            self.came = self.came.saturating_add(1);
            self.counters.came += 1;
        }
    }

    /// For a caller that reads media itself: all packets of a track before `next` have come, or were told of one by
    /// one; `came` of them as media since it last said so. Such a track is listened to with `duration` 0, and
    /// `handle_head` says what is overdue.
    pub fn handle_run(&mut self, now: Local, track: Uuid, next: u64, came: u32) {
        if came > 0 {
            self.pulse.handle_heard(now);
        }
        if let Some(seeker) = self.seeker(track) {
            seeker.handle_run(next);
            self.came = self.came.saturating_add(came);
        }
    }

    /// Whether the parent has so many children that they wait before they ask for what no later packet has overtaken.
    pub fn is_crowded(&self) -> bool {
        self.pulse.crowd().is_some()
    }

    /// For the same caller: a packet is far beyond its due time, so the parent is asked whether it is still there
    /// (at most once a second; of a parent that rations its beats, at most once in what it asks to be left).
    pub fn handle_late(&mut self, now: Local) {
        if self.pulse.ping(now) {
            self.beat_if_due(now);
        }
    }

    /// The packet of an `Event::Packet` is not what it claims: nothing but a count changes.
    pub fn handle_rejected(&mut self, _now: Local, _track: Uuid, _index: u64) {
        self.counters.rejected += 1;
    }

    /// A signed tick names the next index of its log: what is before it and has not come is missing.
    pub fn handle_head(&mut self, now: Local, track: Uuid, head: u64) {
        if let Some(seeker) = self.seeker(track) {
            seeker.handle_head(now, head);
        }
    }

    /// What the next beat says. `urgent` sends a beat at once.
    pub fn report(&mut self, now: Local, report: proto::Report, urgent: bool) {
        self.report = Some(report);
        self.fresh = true;
        if urgent {
            self.pulse.hurry(now);
            self.beat_if_due(now);
        }
    }

    /// Asks for a certificate, for this node or one below.
    pub fn enrol(&mut self, enrol: proto::Enrol) {
        self.control(to_parent::Body::Enrol(enrol));
    }

    pub fn goodbye(&mut self, code: &str, text: &str) {
        self.control(to_parent::Body::Goodbye(wire::goodbye(code, text)));
    }

    pub fn poll_departure(&mut self) -> Option<Departure> {
        self.departures.pop_front()
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<(Local, Reason)> {
        if self.silent {
            return None;
        }
        let mut beat = self.pulse.poll_timeout();
        if !self.welcomed {
            beat = beat.min(self.began + WELCOME_WITHIN);
        }
        let earliest = self.pulse.may_ping_at();
        let ping = self.tracks.iter().filter_map(|seeker| seeker.ping_at(earliest)).min();
        let copy = self.copies.front().map(|(at, _)| *at);
        let nack = self.tracks.iter().filter_map(Seeker::poll_timeout).chain(copy).min();
        beat = self.hears.poll_timeout().map_or(beat, |silence| silence.min(beat));
        let beat = (ping.map_or(beat, |ping| ping.min(beat)), Reason::Beat);
        Some(nack.map_or(beat, |at| beat.min((at, Reason::Nack))))
    }

    pub fn handle_timeout(&mut self, now: Local) {
        if self.silent {
            return;
        }
        if self.pulse.is_silent(now) || !self.welcomed && self.began + WELCOME_WITHIN <= now {
            self.silent = true;
            self.event(Event::Silent);
            return;
        }
        let earliest = self.pulse.may_ping_at();
        if self.tracks.iter().any(|seeker| seeker.ping_at(earliest).is_some_and(|at| at <= now)) {
            self.pulse.ping(now);
        }
        if self.hears.handle_timeout(now) {
            self.departures.push_back(hearing(false));
        }
        self.beat_if_due(now);
        while self.copies.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, copy)) = self.copies.pop_front() {
                self.datagram(copy);
            }
        }
        self.seek(now);
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Smoothed round trip, µs.
    pub fn round_trip(&self) -> Option<i64> {
        self.pulse.round_trip()
    }

    fn seek(&mut self, now: Local) {
        let round_trip = self.round_trip().unwrap_or(ROUND_TRIP);
        for at in 0..self.tracks.len() {
            self.tracks[at].handle_timeout(now);
            self.counters.abandoned += self.tracks[at].take_abandoned();
            while let Some(ask) = self.tracks[at].poll_ask(now, round_trip, self.asked.left(now)) {
                self.asked.take(now, ask.indices);
                let track = self.tracks[at].wish.track;
                for range in ask.found {
                    self.lost = self.lost.saturating_add(range.count as u32);
                    self.counters.missed += range.count;
                    self.event(Event::Gap { track, first: range.first, count: range.count });
                }
                self.counters.nacks += 1;
                let nack = wire::datagram(Body::Nack(ask.nack));
                if ask.twice && self.copies.len() < MAX_COPIES {
                    self.copies.push_back((now + COPY_AFTER, nack.clone()));
                }
                self.datagram(nack);
            }
        }
    }

    fn beat_if_due(&mut self, now: Local) {
        if let Some(beat) = self.pulse.poll_beat(now) {
            self.send_beat(now, beat);
        }
    }

    fn seeker(&mut self, track: Uuid) -> Option<&mut Seeker> {
        self.tracks.iter_mut().find(|seeker| seeker.wish.track == track)
    }

    fn forget(&mut self, track: Uuid) -> bool {
        let before = self.tracks.len();
        self.tracks.retain(|seeker| seeker.wish.track != track);
        self.tracks.len() < before
    }

    fn control(&mut self, body: to_parent::Body) {
        self.departures.push_back(Departure::Control(proto::ToParent { body: Some(body) }.encode_to_vec().into()));
    }

    fn datagram(&mut self, bytes: Bytes) {
        if self.departures.len() < MAX_DEPARTURES {
            self.departures.push_back(Departure::Datagram(bytes));
        } else {
            self.counters.dropped += 1;
        }
    }

    fn event(&mut self, event: Event) {
        // What came reliably must not be lost in a queue; its number is bounded by one frame.
        let unreliable =
            matches!(event, Event::Packet { via: Via::Live, .. } | Event::Missing { .. } | Event::Gap { .. });
        if unreliable && self.events.len() >= MAX_EVENTS {
            self.counters.dropped += 1;
        } else {
            self.events.push_back(event);
        }
    }
}

fn listen(wish: &Wish) -> to_parent::Body {
    to_parent::Body::Listen(proto::Listen { track: wire::id(wish.track), from: wish.from })
}

fn hearing(group: bool) -> Departure {
    let body = Some(to_parent::Body::Hearing(proto::Hearing { group }));
    Departure::Control(proto::ToParent { body }.encode_to_vec().into())
}

/// Tracks listened to at once, logs included: a node needs what it or those below may sound now.
pub const MAX_TRACKS: usize = 64;
/// A node asks for fewer indices a second than its parent answers (`parent::INDICES_PER_SECOND`).
const INDICES_PER_SECOND: u16 = 200;
/// Orders, keys and logs come some a minute; at join, within a few frames.
const CONTROL_PER_SECOND: u16 = 200;
/// Echoes and announcements: some a second.
const DATAGRAMS_PER_SECOND: u16 = 1_000;
/// A parent must check a placement first, and may be starting itself.
const WELCOME_WITHIN: i64 = 10 * SECOND;
/// Fixed by the contract of `health`; the parent refuses more.
pub const REPORTS_PER_FRAME: usize = 64;
/// Requests whose second copy waits: 20 ms of them.
const MAX_COPIES: usize = 64;
/// Both queues are drained after every call; these hold what one call may leave behind and more.
const MAX_DEPARTURES: usize = 1_024;
const MAX_EVENTS: usize = 1_024;
