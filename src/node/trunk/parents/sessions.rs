//! Both sessions as one: what is asked of the parent that leads, of the other, or of both.

use super::lead::{Election, SPREAD, Seen};
use super::{AGO, Candidates, Parents, SECOND_AFTER, SECOND_SPREAD};
use crate::broadcast::Address;
use crate::node::instants::spread;
use crate::node::trunk::{Counters, Reason};
use crate::session::child::{self, Child, Via, Wish};
use crate::time::Local;
use crate::track::{Info, Reject};
use std::collections::BTreeMap;
use uuid::Uuid;

impl Parents {
    pub(in super::super) fn new(now: Local, node: Uuid, configured: Vec<Address>, both: bool) -> Self {
        let mut parents = Self {
            candidates: Candidates::new(configured),
            slots: Default::default(),
            lead: 0,
            election: Election::new(now, spread(node, SPREAD)),
            both,
            wishes: BTreeMap::new(),
            past: child::Counters::default(),
            hindrance: None,
        };
        parents.slots[0].dial_at = Some(now);
        // The first may be down: another is tried before its dial has failed.
        parents.slots[1].dial_at = Some(now + SECOND_AFTER + spread(node, SECOND_SPREAD));
        parents
    }

    pub(in super::super) fn poll_timeout(&self) -> Option<(Local, Reason)> {
        let sessions = self.slots.iter().filter_map(|slot| slot.session.as_ref()?.child.poll_timeout());
        let sessions = sessions.map(|(at, _)| (at, Reason::Session));
        let dials = self.slots.iter().filter(|_| !self.candidates.all().is_empty());
        let dials = dials.filter_map(|slot| slot.dial_at.map(|at| (at, Reason::Dial)));
        let election = self.election.poll_timeout(self.seen(self.lead), self.seen(self.spare()));
        sessions.chain(dials).chain(election.map(|at| (at, Reason::Lead))).min()
    }

    pub(in super::super) fn leader(&self) -> usize {
        self.lead
    }

    pub(super) fn spare(&self) -> usize {
        1 - self.lead
    }

    pub(super) fn seen(&self, slot: usize) -> Option<Seen> {
        let slot = &self.slots[slot];
        let joined = slot.welcomed()?;
        let rank = slot.address.as_ref().map_or(usize::MAX, |address| self.candidates.rank(address));
        Some(Seen { since: joined.welcomed?, starves_at: joined.child.starves_at(), heard: joined.heard, rank })
    }

    pub(in super::super) fn welcomed(&self) -> usize {
        self.slots.iter().filter(|slot| slot.welcomed().is_some()).count()
    }

    /// The parent that leads.
    pub(in super::super) fn node(&self) -> Option<Uuid> {
        self.slots[self.lead].welcomed().map(|joined| joined.peer.node)
    }

    /// What this node's placement says of its parents.
    pub(in super::super) fn place(&mut self, parents: Vec<Address>) {
        self.candidates.place(parents);
    }

    /// Of the present sessions and of those before.
    pub(super) fn counters(&self) -> child::Counters {
        let mut sum = self.past;
        for joined in self.slots.iter().filter_map(|slot| slot.session.as_ref()) {
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
    pub(in super::super) fn losses(&self) -> (u64, u64) {
        let counters = self.counters();
        (counters.came, counters.missed)
    }

    /// Adds what sessions have counted to what the trunk has.
    pub(in super::super) fn count(&self, counters: &mut Counters) {
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

    /// The session that leads.
    pub(in super::super) fn session(&mut self) -> Option<&mut Child> {
        self.slots[self.lead].welcomed_mut().map(|joined| &mut joined.child)
    }

    pub(super) fn welcomed_sessions(&mut self) -> impl Iterator<Item = &mut Child> {
        self.slots.iter_mut().filter_map(|slot| slot.welcomed_mut().map(|joined| &mut joined.child))
    }

    /// `due`: when the first packet should be here.
    pub(in super::super) fn listen(&mut self, now: Local, wish: Wish, due: Option<Local>) {
        self.wishes.insert(wish.track, (wish, due));
        if let Some(child) = self.session() {
            child.listen(now, wish);
            due.into_iter().for_each(|due| child.expect(wish.track, due));
        }
        if self.both {
            self.listen_at(now, self.spare(), wish, due);
        }
    }

    /// Listens at a session that is not counted in by its parent.
    pub(super) fn listen_at(&mut self, now: Local, slot: usize, wish: Wish, due: Option<Local>) {
        if let Some(joined) = self.slots[slot].welcomed_mut() {
            joined.child.listen(now, Wish { counted: false, ..wish });
            due.into_iter().for_each(|due| joined.child.expect(wish.track, due));
        }
    }

    /// Asks for a track that the parent was expected to send by itself.
    pub(in super::super) fn insist(&mut self, track: Uuid) {
        if let Some(child) = self.session() {
            child.insist(track);
        }
    }

    pub(in super::super) fn ended(&mut self, track: Uuid) {
        self.wishes.remove(&track);
        self.welcomed_sessions().for_each(|child| child.ended(track));
    }

    pub(in super::super) fn unlisten(&mut self, now: Local, track: Uuid) {
        self.wishes.remove(&track);
        self.welcomed_sessions().for_each(|child| child.unlisten(now, track));
    }

    pub(in super::super) fn fetch(&mut self, now: Local, info: &Info, from: u64, until: u64) {
        if let Some(child) = self.session() {
            child.fetch(now, info.id, info.ssrc, from, until);
        }
    }

    pub(in super::super) fn handle_head(&mut self, now: Local, log: Uuid, head: u64) {
        self.welcomed_sessions().for_each(|child| child.handle_head(now, log, head));
    }

    /// A packet of sound has come by another session: this one need not ask for it.
    pub(super) fn handle_come(&mut self, now: Local, by: usize, track: Uuid, index: u64) {
        if let (true, Some(joined)) = (self.both, self.slots[1 - by].welcomed_mut()) {
            joined.child.handle_accepted(now, track, index, Via::Bulk);
        }
    }

    /// How far what is listened to has come by a session: another goes on from there.
    pub(super) fn note_newest(&mut self, slot: usize) {
        let Some(joined) = self.slots[slot].welcomed() else { return };
        for (track, (wish, _)) in &mut self.wishes {
            let newest = joined.child.newest(*track).unwrap_or_default();
            wish.from = wish.from.max(newest.saturating_sub(AGO));
        }
    }

    /// From now on that slot leads; the other, if it is there, stands by.
    pub(super) fn lead_by(&mut self, now: Local, slot: usize) {
        self.note_newest(self.lead);
        let (from, both) = (std::mem::replace(&mut self.lead, slot), self.both);
        if let Some(joined) = self.slots[slot].welcomed_mut() {
            joined.child.stand_by(false);
        }
        for (wish, due) in self.wishes.values().copied().collect::<Vec<_>>() {
            self.listen_at(now, slot, wish, due.map(|due| due.max(now)));
        }
        if let Some(joined) = self.slots[from].welcomed_mut().filter(|_| from != slot) {
            joined.child.stand_by(true);
            if !both {
                self.wishes.keys().for_each(|track| joined.child.unlisten(now, *track));
            }
        }
    }
}
