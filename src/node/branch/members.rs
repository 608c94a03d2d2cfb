//! Who listens to what: admission, the tracks carried, Listen and Unlisten.

use super::{Branch, Carried, Carry, Child, Notice, Output, Standing, place, touches};
use crate::broadcast::Area;
use crate::node::{GROUP, Link};
use crate::proto;
use crate::time::Local;
use crate::track::{Packet, Ring};
use std::collections::{BTreeSet, VecDeque};
use uuid::Uuid;

impl Branch {
    pub(super) fn admit(
        &mut self,
        now: Local,
        link: Link,
        area: Area,
        mut welcome: Box<proto::Welcome>,
        orders: Vec<proto::Signed>,
    ) {
        let Some(child) = self.children.get_mut(&link) else { return };
        welcome.logs = self.tracks.values().filter(|carried| carried.carry.log).map(log_of).collect();
        child.standing = Standing::Member { area: area.clone(), since: self.work.newest() };
        child.told = welcome.group.is_some();
        child.session.welcome(*welcome);
        child.session.push(orders);
        if child.joined.is_none() {
            child.joined = Some(now);
            self.beats.joined(now);
        }
        self.places.insert((place(&area), link));
        let mut at_once = Vec::new();
        for (track, carried) in &mut self.tracks {
            if carried.carry.log {
                child.session.budget(now, *track, carried.carry.rate);
                self.outputs.push_back(Output::Listen { link, track: *track });
            } else if touches(&carried.carry.areas, &area) {
                if !carried.carry.rode {
                    child.session.key(*track, &carried.carry.secret);
                }
                if carried.carry.emergency && !child.standby {
                    at_once.push(*track);
                }
            }
        }
        for track in at_once {
            self.listen(now, link, track, 0, true);
        }
        self.settle(now, link);
    }

    /// The child has no place: it learns the time and whom to believe, and waits.
    pub(super) fn keep_waiting(
        &mut self,
        now: Local,
        link: Link,
        welcome: Box<proto::Welcome>,
        orders: Vec<proto::Signed>,
    ) {
        let Some(child) = self.children.get_mut(&link) else { return };
        child.standing = Standing::Unplaced;
        child.session.welcome(*welcome);
        child.session.push(orders);
        if child.joined.is_none() {
            child.joined = Some(now);
            self.beats.joined(now);
        }
        self.settle(now, link);
    }

    /// Another session brings the child sound: emergencies do not go to it unasked. Or they do from now on.
    pub(super) fn stand_by(&mut self, now: Local, link: Link, standby: bool) {
        let Some(child) = self.children.get_mut(&link) else { return };
        if std::mem::replace(&mut child.standby, standby) == standby {
            return;
        }
        self.outputs.push_back(Output::Notice(Notice::Standby { link, node: child.peer.node, standby }));
        let Standing::Member { area, .. } = &child.standing else { return };
        let emergencies = self.tracks.iter().filter(|(_, carried)| carried.carry.emergency);
        let here = emergencies.filter(|(_, carried)| touches(&carried.carry.areas, area));
        for track in here.map(|(track, _)| *track).collect::<Vec<_>>() {
            match standby {
                true => self.unlisten(now, link, track),
                false => self.listen(now, link, track, 0, true),
            }
        }
    }

    /// Takes a track up, or takes over what changed of one already carried.
    pub(super) fn carry(&mut self, now: Local, carry: Carry) {
        let track = carry.track;
        if let Some(carried) = self.tracks.get_mut(&track) {
            carried.carry = Carry { next: carried.carry.next, stored: carried.carry.stored.max(carry.stored), ..carry };
            return;
        }
        if self.tracks.len() >= TRACKS {
            self.counters.dropped += 1;
            return;
        }
        let carried = Carried { ring: Ring::new(self.options.ring), listeners: BTreeSet::new(), told: 0, carry };
        self.forget_at_once(now, track);
        let (carry, log) = (carried.carry.clone(), log_of(&carried));
        self.tracks.insert(track, carried);
        self.give_carry(now, &carry, log);
    }

    pub(super) fn drop_track(&mut self, now: Local, track: Uuid) {
        let Some(carried) = self.tracks.remove(&track) else { return };
        self.outputs.push_back(Output::Dropped { track });
        let log = carried.carry.log.then(|| proto::Log { ended: true, ..log_of(&carried) });
        self.give_dropped(now, track, log, carried.listeners);
    }

    /// Answers Listen: from here on the child gets every `Air` of the track, and in bulk what it can
    /// still use of the past. Not `told`: it knows that without an answer.
    pub(super) fn listen(&mut self, now: Local, link: Link, track: Uuid, from: u64, told: bool) {
        let Some(child) = self.children.get_mut(&link) else { return };
        let Standing::Member { area, .. } = &child.standing else { return };
        let Some(carried) = self.tracks.get_mut(&track) else {
            child.session.unavailable(track, "this parent does not carry the track");
            return;
        };
        let carry = &carried.carry;
        if carry.log {
            return;
        }
        if !touches(&carry.areas, area) {
            child.session.unavailable(track, "the track is not for your area");
            return;
        }
        let new = !child.listens.contains(&track);
        if new && child.listens.len() >= TRACKS_PER_CHILD {
            child.session.unavailable(track, "you listen to as many tracks as a session may");
            return;
        }
        // It comes live now, so that the rest of a transfer would come twice.
        child.end_transfer(track);
        self.fetchers.remove(&(track, link));
        let next = carried.next();
        if !told {
            child.session.budget(now, track, carry.rate);
            return Self::count_in(&mut self.outputs, child, carried, link);
        }
        let reach = (carry.delay / carry.duration.max(1)).unsigned_abs() + 2;
        let backlog: Vec<Packet> = carried.ring.from(from.max(next.saturating_sub(reach))).collect();
        if carry.rode {
            // Whoever asks may lack it: what came with the order can be repacked without it by any holder of the log's key.
            child.session.key(track, &carry.secret);
        }
        child.session.listening(now, track, next, carry.rate, carry.together, backlog);
        Self::count_in(&mut self.outputs, child, carried, link);
    }

    fn count_in(outputs: &mut VecDeque<Output>, child: &mut Child, carried: &mut Carried, link: Link) {
        let track = carried.carry.track;
        if child.listens.contains(&track) {
            return;
        }
        child.listens.reserve_exact(1);
        child.listens.push(track);
        carried.listeners.insert(link);
        if carried.listeners.len() == 1 {
            outputs.push_back(Output::Notice(Notice::Wanted { track, listeners: 1 }));
        }
        if child.told {
            carried.told += 1;
            if carried.told == 1 {
                outputs.push_back(Output::Listen { link: GROUP, track });
            }
        }
        if !child.broken && !child.hears {
            outputs.push_back(Output::Listen { link, track });
        }
    }

    /// Sound reaches a child by the group, or does no longer: it needs none by unicast while it does.
    pub(super) fn hear(&mut self, link: Link, group: bool) {
        let Some(child) = self.children.get_mut(&link) else { return };
        if !child.told || child.hears == group {
            return;
        }
        child.hears = group;
        match group {
            true => self.counters.by_group += 1,
            false => self.counters.by_group -= 1,
        }
        for &track in child.listens.iter().filter(|_| !child.broken) {
            self.outputs.push_back(match group {
                true => Output::Unlisten { link, track },
                false => Output::Listen { link, track },
            });
        }
    }

    pub(super) fn unlisten(&mut self, now: Local, link: Link, track: Uuid) {
        let Some(child) = self.children.get_mut(&link) else { return };
        let before = child.listens.len();
        child.listens.retain(|held| *held != track);
        if child.listens.len() == before {
            return;
        }
        child.session.unlistened(now, track);
        let told = child.told;
        self.outputs.push_back(Output::Unlisten { link, track });
        self.count_down(link, track, told);
    }

    /// One listener of a track less; `told`: of the group.
    pub(super) fn count_down(&mut self, link: Link, track: Uuid, told: bool) {
        let Some(carried) = self.tracks.get_mut(&track) else { return };
        if !carried.listeners.remove(&link) {
            return;
        }
        if told {
            carried.told = carried.told.saturating_sub(1);
            if carried.told == 0 {
                self.outputs.push_back(Output::Unlisten { link: GROUP, track });
            }
        }
        if carried.listeners.is_empty() {
            self.outputs.push_back(Output::Notice(Notice::Wanted { track, listeners: 0 }));
        }
    }
}

fn log_of(carried: &Carried) -> proto::Log {
    proto::Log {
        track: carried.carry.track.as_bytes().to_vec().into(),
        ssrc: carried.carry.ssrc,
        secret: Some(carried.carry.secret.to_proto()),
        next: carried.next(),
        ended: false,
    }
}

/// Tracks carried at once: the 2,048 tracks and 64 logs of a trunk.
const TRACKS: usize = 2_112;
/// Tracks one child listens to at once (`session` bounds its own side alike).
const TRACKS_PER_CHILD: usize = 64;
