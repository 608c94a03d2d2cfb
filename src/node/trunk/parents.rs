//! Sessions with parents: two where there are two parents, orders from both, sound from the one that leads (from both on
//! wired links), and what comes over them.
//!
//! ```text
//!  slot 0 ── session ──▶ parent A   leads: sound, time, fetches, reports    ┐ orders, keys and logs
//!  slot 1 ── session ──▶ parent B   stands by: clock exchanges              ┘ come by both
//! ```

mod candidates;
mod lead;
mod sessions;

use super::keys::Brought;
use super::tracks::Came;
use super::{Address, Area, From, Link, Output, Packet, Peer, Role, Trunk, What};
use crate::proto;
use crate::session::child::{self, Child, Event, Me, Wish};
use crate::session::{Arrival, Exchange, Line};
use crate::time::{Local, MILLISECOND, SECOND};
use crate::track::Reject;
use candidates::Candidates;
use lead::{Election, Why};
use std::collections::BTreeMap;
use uuid::Uuid;

pub(super) struct Parents {
    candidates: Candidates,
    slots: [Slot; SLOTS],
    /// The slot that leads, if its session is welcomed.
    lead: usize,
    election: Election,
    /// Sound is listened to at both.
    both: bool,
    /// What is listened to, for a session that takes over.
    wishes: BTreeMap<Uuid, (Wish, Option<Local>)>,
    /// Counters of sessions that have ended.
    past: child::Counters,
    /// Why the last attempt to have a parent failed, while none has welcomed this node.
    pub(super) hindrance: Option<String>,
}

#[derive(Default)]
struct Slot {
    /// Whom it dials, or has joined, or tried last.
    address: Option<Address>,
    session: Option<Joined>,
    /// When to dial next; `None` while a dial or a session is under way, or there is nobody to dial.
    dial_at: Option<Local>,
    dialling: bool,
    attempts: u32,
}

struct Joined {
    link: Link,
    peer: Peer,
    child: Child,
    /// Since when.
    welcomed: Option<Local>,
    /// When an order or tick last came by it.
    heard: Local,
    /// Where the parent stands.
    area: Option<Area>,
}

impl Slot {
    fn welcomed(&self) -> Option<&Joined> {
        self.session.as_ref().filter(|joined| joined.welcomed.is_some())
    }

    fn welcomed_mut(&mut self) -> Option<&mut Joined> {
        self.session.as_mut().filter(|joined| joined.welcomed.is_some())
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.session.as_mut()?.child.poll_event()
    }
}

impl Trunk {
    pub(super) fn handle_parents_timeout(&mut self, now: Local) {
        for slot in 0..SLOTS {
            if self.parents.slots[slot].dial_at.is_some_and(|at| at <= now) && !self.draining {
                self.dial(now, slot);
            }
            if let Some(joined) = &mut self.parents.slots[slot].session
                && joined.child.poll_timeout().is_some_and(|(at, _)| at <= now)
            {
                joined.child.handle_timeout(now);
            }
        }
        self.elect(now);
    }

    fn dial(&mut self, now: Local, slot: usize) {
        let taken = self.parents.slots[1 - slot].address.clone().filter(|_| {
            let other = &self.parents.slots[1 - slot];
            other.session.is_some() || other.dialling
        });
        let tried = &mut self.parents.slots[slot];
        tried.dial_at = None;
        let all = self.parents.candidates.all().len();
        match self.parents.candidates.next(tried.address.as_ref(), taken.as_ref()) {
            Some(address) if slot == 0 || all > 1 => {
                tried.address = Some(address.clone());
                tried.dialling = true;
                self.outputs.push_back(Output::Dial { parent: slot, address });
            }
            // Another may be named, or the other session end.
            _ if all == 0 => {}
            _ => tried.dial_at = Some(now + LOOK_AGAIN),
        }
    }

    /// Lets the other session lead where the rule says so.
    fn elect(&mut self, now: Local) {
        let (lead, other) = (self.parents.lead, self.parents.spare());
        let (leads, spare) = (self.parents.seen(lead), self.parents.seen(other));
        if let Some(why) = self.parents.election.judge(now, leads, spare) {
            self.change_lead(now, other, why);
        }
    }

    fn change_lead(&mut self, now: Local, slot: usize, why: Why) {
        self.parents.election.handle_change(now, why);
        self.parents.lead_by(now, slot);
        self.time.handle_other_parent(now);
        self.handle_phase(now);
        self.below.send_all_again();
        self.tell_receipts_again(now);
        self.fetch_again(now);
        self.report_now(now);
        self.counters.leads += 1;
        self.event(now, What::Parent { parent: slot, up: true, reason: format!("it leads now: {}", why.text()) });
    }

    pub(super) fn handle_parent_up(&mut self, now: Local, parent: usize, link: Link, peer: Peer) {
        let Some(slot) = self.parents.slots.get_mut(parent) else { return };
        slot.dialling = false;
        let free = slot.session.is_none() && !self.draining;
        let same = self.parents.slots[1 - parent].session.as_ref().is_some_and(|other| other.peer.node == peer.node);
        if peer.role != Role::Relay || !free {
            let text = format!("node {} is a {}, which may not be a parent", peer.node, peer.role.as_str());
            return self.hang_stranger(now, parent, link, "parent.role", &text, free);
        }
        if same {
            let text = format!("node {} is the other parent by another address", peer.node);
            return self.hang_stranger(now, parent, link, "parent.same", &text, free);
        }
        let me = Me {
            node: self.options.node,
            placement: self.place.as_ref().map(|place| place.signed.clone()),
            grants: self.chain_of_place(),
        };
        let mut child = Child::new(now, self.options.session, me);
        // Said at once, so that an emergency is not sent twice to whoever joins in the middle of it.
        child.stand_by(self.parents.node().is_some());
        // Its exchanges begin before it has welcomed this node, and may not mix with those of another.
        match parent == self.parents.lead {
            true => self.time.handle_new_parent(now),
            false => self.time.handle_spare_parent(),
        }
        self.parents.slots[parent].session = Some(Joined { link, peer, child, welcomed: None, heard: now, area: None });
    }

    fn hang_stranger(&mut self, now: Local, slot: usize, link: Link, code: &str, text: &str, dial: bool) {
        self.outputs.push_back(Output::Hang { link, code: code.into(), text: text.into() });
        if dial {
            self.dial_later(now, slot, text);
            if code == "parent.same" {
                self.parents.slots[slot].dial_at = Some(now + SAME_AGAIN);
            }
        }
    }

    pub(super) fn handle_parent_down(&mut self, now: Local, parent: usize, link: Option<Link>, reason: &str) {
        match link {
            Some(link) => {
                if let Some(slot) = self.slot_of(link) {
                    self.leave_parent(now, slot, reason);
                }
            }
            None => {
                let Some(slot) = self.parents.slots.get_mut(parent).filter(|slot| slot.session.is_none()) else {
                    return;
                };
                slot.dialling = false;
                self.dial_later(now, parent, reason);
            }
        }
    }

    /// The session is over: forget it, keep what was learnt, dial again, hear the other.
    fn leave_parent(&mut self, now: Local, slot: usize, reason: &str) {
        self.parents.past = self.parents.counters();
        self.parents.note_newest(slot);
        if self.parents.slots[slot].session.take().is_some_and(|joined| joined.welcomed.is_some()) {
            self.parents.slots[slot].attempts = 0;
        }
        self.logs.values_mut().for_each(|log| log.left(slot));
        self.dial_later(now, slot, reason);
        self.elect(now);
        if self.parents.node().is_none() {
            // What the next one must be asked for is worked out anew.
            self.parents.wishes.clear();
        }
        self.report_now(now);
    }

    fn dial_later(&mut self, now: Local, slot: usize, reason: &str) {
        self.event(now, What::Parent { parent: slot, up: false, reason: reason.into() });
        if self.draining {
            return;
        }
        let said = reason.strip_prefix(SAYS).unwrap_or(reason);
        if self.parents.welcomed() == 0 {
            self.parents.hindrance = Some(said.chars().take(SAID).collect());
        }
        let expelled = said.starts_with("node.expelled:");
        // Where another parent takes it, it is no trouble that one does not.
        if expelled && self.parents.welcomed() == 0 {
            self.note_expelled(now, true);
        }
        let slot = &mut self.parents.slots[slot];
        // Whoever says so will say it again.
        let base = if expelled {
            EXPELLED_AGAIN
        } else if said.starts_with("child.area:") {
            ELSEWHERE_AGAIN
        } else {
            (DIAL_FIRST << slot.attempts.min(DIAL_DOUBLINGS)).min(DIAL_LONGEST)
        };
        slot.attempts += 1;
        slot.dial_at = Some(now + base / 2 + self.ids.jitter(base));
    }

    /// This node stands elsewhere now: it introduces itself anew, to whom its placement names.
    pub(super) fn placed(&mut self, now: Local) {
        self.stands(now, "node.waits", false, || "it has a place now".to_owned());
        for slot in 0..SLOTS {
            self.hang_parent(now, slot, "node.placed", "this node stands elsewhere now");
        }
        self.tune(now);
    }

    /// A node was expelled: if it is a parent, it is none any more.
    pub(super) fn leave_expelled(&mut self, now: Local, node: Uuid) {
        for slot in 0..SLOTS {
            let parent = self.parents.slots[slot].session.as_ref().filter(|joined| joined.peer.node == node);
            let area = parent.and_then(|joined| joined.area.as_ref());
            if area.is_some_and(|area| self.roster.expelled.is_expelled(node, area)) {
                self.hang_parent(now, slot, "parent.expelled", "this parent was expelled");
            }
        }
    }

    fn hang_parent(&mut self, now: Local, slot: usize, code: &str, text: &str) {
        let Some(joined) = &mut self.parents.slots[slot].session else { return };
        let link = joined.link;
        joined.child.goodbye(code, text);
        self.flush_departures();
        self.outputs.push_back(Output::Hang { link, code: code.into(), text: text.into() });
        self.leave_parent(now, slot, text);
    }

    pub(super) fn goodbye_to_parents(&mut self, now: Local) {
        // The spare first, so that it does not come to lead for a moment.
        for slot in [self.parents.spare(), self.parents.lead] {
            self.hang_parent(now, slot, "node.stopping", "this node is stopping");
        }
        self.parents.slots.iter_mut().for_each(|slot| slot.dial_at = None);
    }

    pub(super) fn handle_arrival(&mut self, now: Local, link: Link, arrival: Arrival) {
        let Some(slot) = self.slot_of(link) else { return };
        let Some(joined) = &mut self.parents.slots[slot].session else { return };
        if let Err(violation) = joined.child.handle_arrival(now, arrival) {
            self.hang_parent(now, slot, violation.code, &violation.text);
        }
    }

    fn slot_of(&self, link: Link) -> Option<usize> {
        self.parents.slots.iter().position(|slot| slot.session.as_ref().is_some_and(|joined| joined.link == link))
    }

    fn flush_departures(&mut self) {
        for joined in self.parents.slots.iter_mut().filter_map(|slot| slot.session.as_mut()) {
            while let Some(departure) = joined.child.poll_departure() {
                self.outputs.push_back(Output::Send { link: joined.link, departure });
            }
        }
    }

    pub(super) fn drain_sessions(&mut self, now: Local) {
        for slot in 0..SLOTS {
            while let Some(event) = self.parents.slots[slot].poll_event() {
                self.handle_session_event(now, slot, event);
            }
        }
        self.flush_departures();
    }

    fn handle_session_event(&mut self, now: Local, slot: usize, event: Event) {
        let leads = slot == self.parents.lead;
        match event {
            Event::Welcomed { node, placement, grants, parents } => {
                let parents = parents.iter().filter_map(|address| Address::from_proto(address).ok()).collect();
                self.handle_welcomed(now, slot, node, placement, &grants, parents);
            }
            Event::Group(group) => {
                if let Some(joined) = &self.parents.slots[slot].session {
                    self.outputs.push_back(Output::Join { link: joined.link, group });
                }
            }
            Event::Log { track, ssrc, secret, next } => self.handle_log(slot, track, ssrc, secret, next),
            Event::LogEnded { track } => self.handle_log_ended(slot, track),
            Event::Order(signed) => self.handle_order(now, signed, From::Push),
            Event::OrdersDone => {
                self.end_logs(slot);
                match leads {
                    true => self.listen_again(now),
                    false if self.parents.both => self.listen_too(now, slot),
                    false => {}
                }
            }
            Event::Key { track, secret } => self.handle_key(now, track, secret, Brought::Link),
            Event::Listening { .. } => {}
            Event::Unavailable { track, .. } if leads => self.handle_unavailable(now, track),
            Event::Unavailable { .. } => {}
            Event::Packet { track, index, bytes, via } => {
                let packet = Packet { index, bytes };
                let log = self.logs.contains_key(&track);
                let result = match log {
                    true => self.handle_log_packet(now, packet, track).map(|()| Came::Now),
                    false => self.handle_sound_packet(now, track, packet, via),
                };
                let Some(joined) = &mut self.parents.slots[slot].session else { return };
                match result {
                    Ok(Came::Ahead) => {}
                    Ok(Came::Now) | Err(Reject::Duplicate) => {
                        joined.child.handle_accepted(now, track, index, via);
                        if log {
                            joined.heard = now;
                        } else {
                            self.parents.handle_come(now, slot, track, index);
                        }
                    }
                    Err(reject) => {
                        joined.child.handle_rejected(now, track, index);
                        *self.counters.packets_rejected.entry(reject).or_default() += 1;
                    }
                }
                // Of two parents each brings every order.
                if result == Err(Reject::Duplicate) && !(log && self.parents.welcomed() == SLOTS) {
                    *self.counters.packets_rejected.entry(Reject::Duplicate).or_default() += 1;
                }
            }
            // What one parent lacks the other may still bring.
            Event::Missing { track, first, count } | Event::Gap { track, first, count } if leads => {
                self.tell_branches(super::Command::Missing { track, first, count });
            }
            Event::Missing { .. } | Event::Gap { .. } => {}
            Event::Fetched { track } => self.handle_fetch_ended(now, track),
            Event::Exchange(exchange, line) => self.handle_exchange(now, leads, exchange, line),
            Event::Enrolled(enrolled) => self.handle_enrolled(now, slot, enrolled),
            Event::Deliver(deliver) => self.handle_deliver(now, deliver),
            Event::Receipted(receipted) => self.handle_receipted(now, receipted),
            Event::Silent => self.hang_parent(now, slot, "session.silent", "the parent does not answer"),
            Event::Goodbye { code, text } => {
                let reason = format!("{SAYS}{code}: {text}");
                self.hang_parent(now, slot, "goodbye", &reason);
            }
        }
    }

    fn handle_exchange(&mut self, now: Local, leads: bool, exchange: Exchange, line: Line) {
        self.time.handle_exchange(now, leads, exchange, line);
        if leads {
            self.handle_phase(now);
        }
    }

    /// A second session brings the same sound.
    fn listen_too(&mut self, now: Local, slot: usize) {
        for (wish, due) in self.parents.wishes.values().copied().collect::<Vec<_>>() {
            self.parents.listen_at(now, slot, wish, due.map(|due| due.max(now)));
        }
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
        slot: usize,
        node: Uuid,
        placement: Option<proto::Signed>,
        grants: &[proto::Signed],
        parents: Vec<Address>,
    ) {
        self.admit_grants(now, grants);
        let Some(peer) = self.parents.slots[slot].session.as_ref().map(|joined| joined.peer) else { return };
        let mut stands = None;
        let refusal = match self.check_placement(now, peer.node, placement.as_ref()) {
            Ok((area, _)) if self.roster.expelled.is_expelled(peer.node, &area) => {
                Some(format!("node {} was expelled", peer.node))
            }
            Ok((area, _)) => match (stands.insert(area.clone()), &self.place).1 {
                Some(place) if node == peer.node && area.contains(&place.area) => None,
                Some(place) => Some(format!("the parent stands in {area}, which does not contain {}", place.area)),
                // It waits there for its place.
                None if node == peer.node => None,
                None => Some(format!("the parent calls itself {node}, its certificate {}", peer.node)),
            },
            Err(refusal) => Some(refusal.to_string()),
        };
        if let Some(text) = refusal {
            self.hang_parent(now, slot, "parent.place", &text);
            return;
        }
        let leads = self.parents.node().is_none();
        let joined = &mut self.parents.slots[slot];
        joined.attempts = 0;
        if let Some(joined) = &mut joined.session {
            (joined.welcomed, joined.heard, joined.area) = (Some(now), now, stands);
            joined.child.stand_by(!leads);
        }
        self.parents.hindrance = None;
        self.begin_logs(slot);
        self.event(now, What::Parent { parent: slot, up: true, reason: String::new() });
        let node = self.options.node;
        // A parent that has not heard of it yet takes it all the same.
        if !self.place.as_ref().is_some_and(|place| self.roster.expelled.is_expelled(node, &place.area)) {
            self.note_expelled(now, false);
        }
        self.stands(now, "node.waits", self.place.is_none(), || waits(node));
        if !leads {
            return;
        }
        if std::mem::replace(&mut self.parents.lead, slot) != slot {
            self.time.handle_other_parent(now);
        }
        self.parents.candidates.suggest(parents);
        // Whoever waits for a second parent lets all others have their first one before.
        let spare = &mut self.parents.slots[1 - slot];
        if spare.session.is_none() && !spare.dialling {
            spare.dial_at = Some(now + SPARE_AFTER + self.ids.jitter(SPARE_SPREAD));
        }
        self.below.send_all_again();
        self.tell_receipts_again(now);
        self.report_now(now);
    }
}

/// For whoever stands beside a board that waits, and has no ear for it.
fn waits(node: Uuid) -> String {
    let code = format!("{:06}", crate::node::code(node));
    format!("this node waits for a place; its code is {code}: `loa place {code}` at the node that its file came from")
}

/// Sessions that a node keeps (DESIGN §4).
const SLOTS: usize = 2;
/// Delays before dialling again: doubled at each failure, and spread over twice the value, so that a
/// province that comes back does not come at once.
const DIAL_FIRST: i64 = 200 * MILLISECOND;
const DIAL_DOUBLINGS: u32 = 5;
const DIAL_LONGEST: i64 = 5 * SECOND;
/// At the start the second candidate is dialled so much later, if the first has not welcomed this node by then.
const SECOND_AFTER: i64 = 1_500 * MILLISECOND;
const SECOND_SPREAD: i64 = SECOND;
/// After the first welcome the spare is dialled.
const SPARE_AFTER: i64 = 3 * SECOND;
const SPARE_SPREAD: i64 = 7 * SECOND;
/// How a parent's own word for the end begins.
const SAYS: &str = "the parent says ";
/// Letters of it that are kept to be shown: a sentence or two.
const SAID: usize = 300;
/// After a refusal that time alone does not change; a new root's word, or another placement, may.
const EXPELLED_AGAIN: i64 = 300 * SECOND;
const ELSEWHERE_AGAIN: i64 = 15 * SECOND;
/// One parent by two addresses: perhaps it will be another one later.
const SAME_AGAIN: i64 = 60 * SECOND;
/// There is nobody else to dial: perhaps the other session ends.
const LOOK_AGAIN: i64 = 5 * SECOND;
/// A parent that lacks a track mostly learns of it within this.
const ASK_AGAIN: i64 = 100 * MILLISECOND;
/// Packets before the newest that came by one parent, from which on they are asked for at the other; which of them are
/// still of use it knows.
const AGO: u64 = 64;
