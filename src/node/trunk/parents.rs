//! Sessions with parents: dialling, joining, and what comes over them.

use super::keys::Brought;
use super::{Counters, From, Link, Output, Packet, Peer, Reason, Role, Trunk, What};
use crate::session::child::{self, Child, Event, Me, Wish};
use crate::session::{Arrival, Exchange, Line};
use crate::time::{Local, MILLISECOND, SECOND};
use crate::track::{Info, Reject};
use uuid::Uuid;

/// One parent at a time (two come with issue 5): the configured ones are tried in turn.
pub(super) struct Parents {
    configured: usize,
    /// Which one is dialled or joined.
    current: usize,
    session: Option<Joined>,
    /// When to dial next; `None` while a dial or a session is under way.
    dial_at: Option<Local>,
    attempts: u32,
    /// Counters of sessions that have ended.
    past: child::Counters,
}

struct Joined {
    link: Link,
    peer: Peer,
    child: Child,
    welcomed: bool,
}

impl Parents {
    pub fn new(now: Local, configured: usize) -> Self {
        let dial_at = (configured > 0).then_some(now);
        Self { configured, current: 0, session: None, dial_at, attempts: 0, past: child::Counters::default() }
    }

    pub fn poll_timeout(&self) -> Option<(Local, Reason)> {
        let session = self.session.as_ref().and_then(|joined| joined.child.poll_timeout());
        let session = session.map(|(at, _)| (at, Reason::Session));
        let dial = self.dial_at.map(|at| (at, Reason::Dial));
        session.into_iter().chain(dial).min()
    }

    pub fn welcomed(&self) -> usize {
        self.session.iter().filter(|joined| joined.welcomed).count()
    }

    pub fn node(&self) -> Option<Uuid> {
        self.session.as_ref().filter(|joined| joined.welcomed).map(|joined| joined.peer.node)
    }

    /// Of the present session and of those before.
    fn counters(&self) -> child::Counters {
        let mut sum = self.past;
        if let Some(joined) = &self.session {
            let now = joined.child.counters();
            sum.nacks += now.nacks;
            sum.repaired += now.repaired;
            sum.came += now.came;
            sum.missed += now.missed;
            sum.abandoned += now.abandoned;
            sum.unknown_ssrc += now.unknown_ssrc;
            sum.malformed += now.malformed;
            sum.duplicate += now.duplicate;
            sum.flooded += now.flooded;
            sum.dropped += now.dropped;
        }
        sum
    }

    /// Packets that came of themselves, and those that were lost at first.
    pub fn losses(&self) -> (u64, u64) {
        let counters = self.counters();
        (counters.came, counters.missed)
    }

    /// Adds what sessions have counted to what the trunk has.
    pub fn count(&self, counters: &mut Counters) {
        let session = self.counters();
        counters.repaired = session.repaired;
        counters.lost = session.abandoned;
        counters.parents = self.welcomed() as u64;
        let rejected = [
            (Reject::UnknownSsrc, session.unknown_ssrc),
            (Reject::Malformed, session.malformed),
            (Reject::Duplicate, session.duplicate),
        ];
        for (reject, count) in rejected.into_iter().filter(|(_, count)| *count > 0) {
            *counters.packets_rejected.entry(reject).or_default() += count;
        }
        let dropped = [("session.flood", session.flooded), ("session.events", session.dropped)];
        counters.dropped.extend(dropped.into_iter().filter(|(_, count)| *count > 0));
    }

    pub fn session(&mut self) -> Option<&mut Child> {
        self.session.as_mut().filter(|joined| joined.welcomed).map(|joined| &mut joined.child)
    }

    pub fn listen(&mut self, now: Local, wish: Wish) {
        if let Some(child) = self.session() {
            child.listen(now, wish);
        }
    }

    /// Asks for a track that the parent was expected to send by itself.
    pub fn insist(&mut self, track: Uuid) {
        if let Some(child) = self.session() {
            child.insist(track);
        }
    }

    pub fn ended(&mut self, track: Uuid) {
        if let Some(child) = self.session() {
            child.ended(track);
        }
    }

    pub fn unlisten(&mut self, now: Local, track: Uuid) {
        if let Some(child) = self.session() {
            child.unlisten(now, track);
        }
    }

    pub fn fetch(&mut self, now: Local, info: &Info, from: u64, until: u64) {
        if let Some(child) = self.session() {
            child.fetch(now, info.id, info.ssrc, from, until);
        }
    }

    pub fn handle_head(&mut self, now: Local, log: Uuid, head: u64) {
        if let Some(child) = self.session() {
            child.handle_head(now, log, head);
        }
    }
}

impl Trunk {
    pub(super) fn handle_parents_timeout(&mut self, now: Local) {
        if self.parents.dial_at.is_some_and(|at| at <= now) && !self.draining {
            self.parents.dial_at = None;
            self.outputs.push_back(Output::Dial { parent: self.parents.current });
        }
        if let Some(joined) = &mut self.parents.session
            && joined.child.poll_timeout().is_some_and(|(at, _)| at <= now)
        {
            joined.child.handle_timeout(now);
        }
    }

    pub(super) fn handle_parent_up(&mut self, now: Local, parent: usize, link: Link, peer: Peer) {
        if peer.role != Role::Relay || self.parents.session.is_some() || self.draining {
            let text = format!("node {} is a {}, which may not be a parent", peer.node, peer.role.as_str());
            self.outputs.push_back(Output::Hang { link, code: "parent.role".into(), text: text.clone() });
            if self.parents.session.is_none() {
                self.dial_later(now, parent, &text);
            }
            return;
        }
        let me = Me {
            node: self.options.node,
            placement: self.place.as_ref().map(|place| place.signed.clone()),
            grants: self.chain_of_place(),
        };
        let child = Child::new(now, self.options.session, me);
        self.parents.session = Some(Joined { link, peer, child, welcomed: false });
    }

    pub(super) fn handle_parent_down(&mut self, now: Local, parent: usize, link: Option<Link>, reason: &str) {
        match &self.parents.session {
            Some(joined) if link == Some(joined.link) => self.leave_parent(now, reason),
            Some(_) => {}
            None if link.is_none() => self.dial_later(now, parent, reason),
            None => {}
        }
    }

    /// The session is over: forget it, keep what was learnt, dial again.
    fn leave_parent(&mut self, now: Local, reason: &str) {
        self.parents.past = self.parents.counters();
        if let Some(joined) = self.parents.session.take()
            && joined.welcomed
        {
            self.parents.attempts = 0;
        }
        let parent = self.parents.current;
        self.dial_later(now, parent, reason);
        self.report_now(now);
    }

    fn dial_later(&mut self, now: Local, parent: usize, reason: &str) {
        self.event(now, What::Parent { parent, up: false, reason: reason.into() });
        if self.draining || self.parents.configured == 0 {
            return;
        }
        self.parents.current = (parent + 1) % self.parents.configured;
        let base = (DIAL_FIRST << self.parents.attempts.min(DIAL_DOUBLINGS)).min(DIAL_LONGEST);
        self.parents.attempts += 1;
        self.parents.dial_at = Some(now + base / 2 + self.ids.jitter(base));
    }

    fn hang_parent(&mut self, now: Local, code: &str, text: &str) {
        let Some(joined) = &mut self.parents.session else { return };
        let link = joined.link;
        joined.child.goodbye(code, text);
        self.flush_departures();
        self.outputs.push_back(Output::Hang { link, code: code.into(), text: text.into() });
        self.leave_parent(now, text);
    }

    pub(super) fn goodbye_to_parents(&mut self, now: Local) {
        self.hang_parent(now, "node.stopping", "this node is stopping");
        self.parents.dial_at = None;
    }

    pub(super) fn handle_arrival(&mut self, now: Local, link: Link, arrival: Arrival) {
        let Some(joined) = self.parents.session.as_mut().filter(|joined| joined.link == link) else { return };
        if let Err(violation) = joined.child.handle_arrival(now, arrival) {
            self.hang_parent(now, violation.code, &violation.text);
        }
    }

    fn flush_departures(&mut self) {
        if let Some(joined) = &mut self.parents.session {
            while let Some(departure) = joined.child.poll_departure() {
                self.outputs.push_back(Output::Send { link: joined.link, departure });
            }
        }
    }

    pub(super) fn drain_sessions(&mut self, now: Local) {
        while let Some(event) = self.parents.session.as_mut().and_then(|joined| joined.child.poll_event()) {
            self.handle_session_event(now, event);
        }
        self.flush_departures();
    }

    fn handle_session_event(&mut self, now: Local, event: Event) {
        match event {
            Event::Welcomed { node, placement, grants } => self.handle_welcomed(now, node, placement, &grants),
            Event::Group(group) => {
                if let Some(joined) = &self.parents.session {
                    self.outputs.push_back(Output::Join { link: joined.link, group });
                }
            }
            Event::Log { track, ssrc, secret, next } => self.handle_log(track, ssrc, secret, next),
            Event::LogEnded { track } => self.handle_log_ended(track),
            Event::Order(signed) => self.handle_order(now, signed, From::Push),
            Event::OrdersDone => {
                self.end_logs();
                self.listen_again(now);
            }
            Event::Key { track, secret } => self.handle_key(now, track, secret, Brought::Link),
            Event::Listening { .. } => {}
            Event::Unavailable { track, .. } => self.handle_unavailable(now, track),
            Event::Packet { track, index, bytes, via } => {
                let packet = Packet { index, bytes };
                let result = match self.logs.contains_key(&track) {
                    true => self.handle_log_packet(now, packet, track),
                    false => self.handle_sound_packet(now, track, packet, via),
                };
                let Some(joined) = &mut self.parents.session else { return };
                match result {
                    Ok(()) | Err(Reject::Duplicate) => joined.child.handle_accepted(now, track, index, via),
                    Err(reject) => {
                        joined.child.handle_rejected(now, track, index);
                        *self.counters.packets_rejected.entry(reject).or_default() += 1;
                    }
                }
                if result == Err(Reject::Duplicate) {
                    *self.counters.packets_rejected.entry(Reject::Duplicate).or_default() += 1;
                }
            }
            Event::Missing { track, first, count } | Event::Gap { track, first, count } => {
                self.tell_branches(super::Command::Missing { track, first, count });
            }
            Event::Fetched { track } => self.handle_fetch_ended(now, track),
            Event::Exchange(exchange, line) => self.handle_exchange(now, exchange, line),
            Event::Silent => self.hang_parent(now, "session.silent", "the parent does not answer"),
            Event::Goodbye { code, text } => {
                let reason = format!("the parent says {code}: {text}");
                self.hang_parent(now, "goodbye", &reason);
            }
        }
    }

    fn handle_exchange(&mut self, now: Local, exchange: Exchange, line: Line) {
        self.time.handle_exchange(now, exchange, line);
        self.handle_phase(now);
    }

    /// The parent does not have the track (yet): ask again in a moment.
    fn handle_unavailable(&mut self, now: Local, id: Uuid) {
        let Some(track) = self.tracks.get_mut(&id) else { return };
        (track.listening, track.asks) = (false, true);
        if let Some(fetch) = &mut track.fetch {
            fetch.at = now + SECOND;
        }
        self.tune_at = Some(self.tune_at.map_or(now + ASK_AGAIN, |at| at.min(now + ASK_AGAIN)));
    }

    fn handle_welcomed(
        &mut self,
        now: Local,
        node: Uuid,
        placement: Option<crate::proto::Signed>,
        grants: &[crate::proto::Signed],
    ) {
        self.admit_grants(now, grants);
        let Some(peer) = self.parents.session.as_ref().map(|joined| joined.peer) else { return };
        let refusal = match self.check_placement(now, peer.node, placement.as_ref()) {
            Ok((area, _)) => match &self.place {
                Some(place) if node == peer.node && area.contains(&place.area) => None,
                Some(place) => Some(format!("the parent stands in {area}, which does not contain {}", place.area)),
                None => Some("this node has no placement; place it before it is started".into()),
            },
            Err(refusal) => Some(refusal.to_string()),
        };
        if let Some(text) = refusal {
            self.hang_parent(now, "parent.place", &text);
            return;
        }
        if let Some(joined) = &mut self.parents.session {
            joined.welcomed = true;
        }
        self.parents.attempts = 0;
        self.begin_logs();
        self.time.handle_new_parent(now);
        let parent = self.parents.current;
        self.event(now, What::Parent { parent, up: true, reason: String::new() });
        self.below.send_all_again();
        self.report_now(now);
    }
}

/// Delays before dialling again: doubled at each failure, and spread over twice the value, so that a
/// province that comes back does not come at once.
const DIAL_FIRST: i64 = 200 * MILLISECOND;
const DIAL_DOUBLINGS: u32 = 5;
const DIAL_LONGEST: i64 = 5 * SECOND;
/// A parent that lacks a track mostly learns of it within this.
const ASK_AGAIN: i64 = 100 * MILLISECOND;
