//! What a speaker listens to: orders, tracks, and packets that came out of order or did not come.
use super::{Hot, Speaker};
use crate::world::World;
use loa::broadcast::{Body, Order, Priority};
use loa::io::clock::{self, Now};
use loa::node::instants::{
    COMES_BACK, COMES_BACK_SPREAD, INSIST, INSIST_SPREAD, LEAD, LEAVES, LEAVES_SPREAD, STARTS_SPREAD, spread,
};
use loa::session::child::{Via, Wish};
use loa::time::{Civil, MILLISECOND};
use loa::track::{Header, Secret};
use uuid::Uuid;

/// Of a packet out of order: the ear, its `next` before, the packet's index.
pub struct Before {
    pub ear: usize,
    pub next: u64,
    pub index: u64,
}

impl Speaker {
    /// A packet came after one that has not, or one that had been missing came.
    pub fn handle_unordered(&mut self, now: Now, hot: &mut Hot, world: &mut World, before: Before) {
        let Some(session) = &mut self.session else { return };
        let Some(ear) = hot.ears.get_mut(before.ear) else { return };
        let track = world.tracks[ear.track].info.id;
        let repaired = session.counters().repaired;
        session.handle_run(now.local, track, before.next, std::mem::take(&mut ear.untold));
        session.handle_accepted(now.local, track, before.index, Via::Live);
        world.tally(hot.cohort).repaired += session.counters().repaired - repaired;
    }

    /// What is before `until` should have come by now.
    pub fn handle_overdue(&mut self, now: Now, hot: &mut Hot, world: &World, at: usize, until: u64, late: bool) {
        let Some(session) = self.session.as_mut().filter(|_| self.joined) else { return };
        let Some(ear) = hot.ears.get_mut(at) else { return };
        let track = world.tracks[ear.track].info.id;
        if until > ear.overdue {
            ear.overdue = until;
            session.handle_run(now.local, track, ear.next(), std::mem::take(&mut ear.untold));
            if !session.is_crowded() {
                session.handle_head(now.local, track, until);
            }
        }
        if late {
            // As the session judges for itself where it reads media: one of many waits longer.
            session.handle_head(now.local, track, until);
            session.handle_late(now.local);
        }
    }

    /// A track is over, or may be listened to.
    pub fn look_again(&mut self, now: Now) {
        self.listen_at = Some(now.local);
    }

    /// Tells the session of packets that came in order since it was last told.
    pub(super) fn catch_up(&mut self, now: Now, hot: &mut Hot, world: &World) {
        let Some(session) = &mut self.session else { return };
        for ear in hot.ears.iter_mut().filter(|ear| ear.untold > 0 && ear.asked) {
            session.handle_run(now.local, world.tracks[ear.track].info.id, ear.next(), std::mem::take(&mut ear.untold));
        }
        let nacks = session.counters().nacks;
        world.add_nacks(hot.cohort, nacks.saturating_sub(self.nacks));
        self.nacks = nacks;
    }

    /// Packets of logs, and those of a track from before this speaker listened to it.
    #[allow(clippy::too_many_arguments, reason = "an event's fields, and what they are handled with")]
    pub(super) fn handle_packet(
        &mut self,
        now: Now,
        hot: &mut Hot,
        world: &mut World,
        track: Uuid,
        index: u64,
        bytes: &[u8],
        via: Via,
    ) {
        let held =
            if let Some(at) = hot.ears.iter().position(|ear| !ear.closed && world.tracks[ear.track].info.id == track) {
                world.take(hot, at, index, bytes).is_some()
            } else if let Some(heard) = world.orders.read_packet(track, index, bytes) {
                if let Body::Tick(tick) = &heard.order.body
                    && let Some(session) = &mut self.session
                {
                    session.handle_head(now.local, tick.log, tick.head);
                }
                let header = Header::parse(bytes);
                hot.read = header.filter(|_| via == Via::Live).map(|header| (header.ssrc, header.sequence));
                self.handle_order(now, world, &heard.order, &heard.keys);
                true
            } else {
                false
            };
        let Some(session) = &mut self.session else { return };
        match held {
            true => session.handle_accepted(now.local, track, index, via),
            false => session.handle_rejected(now.local, track, index),
        }
    }

    /// `keys`: those that came with it.
    pub(super) fn handle_order(&mut self, now: Now, world: &mut World, order: &Order, keys: &[(Uuid, Secret)]) {
        if !order.areas.iter().any(|area| area.contains(&self.area)) {
            return;
        }
        match &order.body {
            Body::Broadcast(broadcast) => {
                if let Some(track) = world.broadcast(order, broadcast)
                    && !self.wanted.contains(&track)
                {
                    self.wanted.push(track);
                }
                for (track, secret) in keys {
                    world.key(*track, secret);
                    if !self.keys.contains(track) {
                        self.keys.push(*track);
                    }
                }
                if broadcast.priority == Priority::Emergency {
                    self.fall_silent(order.id, broadcast.begins(), broadcast.until + broadcast.delay);
                }
                self.listen_at = Some(now.local);
            }
            Body::Cancel(cancel) => {
                world.cancel(cancel.broadcast, cancel.at);
                self.silent.retain(|(order, _, _)| *order != cancel.broadcast);
                self.listen_at = Some(now.local);
            }
            Body::Hush(hush) => {
                self.fall_silent(order.id, order.issued, hush.until);
                self.listen_at = Some(now.local);
            }
            _ => {}
        }
        if let Some(hush) = crate::tracks::measured(order)
            && !self.heard.contains(&order.id)
        {
            self.heard.push(order.id);
            let arrival = clock::wall().0 - order.issued.0;
            let mut obeyed = arrival;
            if let Body::Broadcast(broadcast) = &order.body {
                let begins = broadcast.begins().0 - self.error(now);
                obeyed = obeyed.max(begins - order.issued.0);
                self.first = Some((order.id, begins));
            }
            self.owe(now, order, hush);
            world.heard(order.id, hush, arrival, obeyed);
        }
    }

    /// As a node: leaves what is silenced, and asks for it again, at instants of its own.
    fn fall_silent(&mut self, order: Uuid, from: Civil, until: Civil) {
        if self.silent.iter().any(|(known, _, _)| *known == order) {
            return;
        }
        self.silent.push((order, from + LEAVES + spread(self.me.node, LEAVES_SPREAD), until));
    }

    /// Whether something that is no emergency is silenced, and when that changes next.
    fn silenced(&mut self, civil: Civil) -> (bool, Option<Civil>) {
        let ahead = COMES_BACK + spread(self.me.node, COMES_BACK_SPREAD);
        let over = self.silent.extract_if(.., |(_, _, until)| *until - ahead <= civil).map(|(_, _, until)| until);
        self.sounds_from = over.fold(self.sounds_from, Civil::max);
        let now = self.silent.iter().any(|(_, leaves, _)| *leaves <= civil);
        let changes =
            self.silent.iter().map(|(_, leaves, until)| if *leaves > civil { *leaves } else { *until - ahead });
        (now, changes.min())
    }

    /// Listens to what is on or about to be, and no more to what is over or silenced: as a node does.
    pub(super) fn listen(&mut self, now: Now, hot: &mut Hot, world: &World) {
        self.listen_at = None;
        let civil = clock::wall();
        let (silenced, changes) = self.silenced(civil);
        let (late, ahead) = (INSIST + spread(self.me.node, INSIST_SPREAD), LEAD + spread(self.me.node, STARTS_SPREAD));
        let Some(session) = self.session.as_mut().filter(|_| self.joined) else { return };
        self.listen_at = changes.map(|at| now.local + (at - civil).max(MILLISECOND));
        for &at in &self.wanted {
            let track = &world.tracks[at];
            let ear = hot.ears.iter().position(|ear| ear.track == at && !ear.closed);
            if civil >= track.over {
                if let Some(ear) = ear.and_then(|ear| hot.ears.get_mut(ear)) {
                    ear.closed = true;
                    ear.asked = false;
                    session.ended(track.info.id);
                }
                continue;
            }
            if silenced && !track.emergency {
                if let Some(ear) = ear.and_then(|ear| hot.ears.get_mut(ear)) {
                    ear.close();
                    session.unlisten(now.local, track.info.id);
                }
                continue;
            }
            let starts = track.info.anchor - ahead;
            if civil < starts {
                let at = now.local + (starts - civil);
                self.listen_at = Some(self.listen_at.map_or(at, |known| known.min(at)));
                continue;
            }
            if !self.keys.contains(&track.info.id) {
                continue;
            }
            let packet = track.info.packet_micros().max(1);
            // Nothing of what comes back is of use that would sound before.
            let sounds = if track.emergency { civil } else { civil.max(self.sounds_from) };
            let from = (sounds - (track.info.anchor + track.delay)).max(0) / packet;
            let ear = match ear {
                Some(ear) => ear,
                None => {
                    hot.ears.push(world.ear(at, from.unsigned_abs()));
                    hot.ears.len() - 1
                }
            };
            let ear = &mut hot.ears[ear];
            let expected = track.begins() + late;
            if ear.asked {
                if ear.counted && !ear.heard && civil >= expected {
                    session.insist(track.info.id);
                }
                ear.counted &= !ear.heard && civil < expected;
            } else {
                ear.counted = track.emergency && civil < track.begins();
            }
            if ear.counted {
                let at = now.local + (expected - civil);
                self.listen_at = Some(self.listen_at.map_or(at, |known| known.min(at)));
            }
            if ear.asked {
                continue;
            }
            ear.asked = true;
            if ear.counted {
                ear.begin(from.unsigned_abs());
                hot.quiet_until = 0;
            }
            session.listen(
                now.local,
                Wish {
                    track: track.info.id,
                    ssrc: track.info.ssrc,
                    // The worker says what has come and what is overdue.
                    duration: 0,
                    from: from.unsigned_abs(),
                    useful: (track.delay - packet - USEFUL_MARGIN).max(packet / 2),
                    packets: track.info.packets,
                    counted: ear.counted,
                },
            );
        }
    }

    /// Listens to nothing any more, since no session is there to listen with.
    pub(super) fn leave(&mut self, hot: &mut Hot) {
        for ear in &mut hot.ears {
            (ear.asked, ear.begun) = (false, false);
        }
    }
}

/// As a node: when a parent lacks a track; what a device's planner needs.
pub(super) const ASK_AGAIN: i64 = 100 * MILLISECOND;
const USEFUL_MARGIN: i64 = 120 * MILLISECOND;
