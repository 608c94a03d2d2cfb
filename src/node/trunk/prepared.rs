//! Prepared sound: fetched ahead by everybody in its areas and kept, so that an order of some hundred bytes airs it at
//! once, wherever the network is by then.
//!
//! A prepared broadcast and those that air its sound name the same tracks, each with an anchor of its own. One of them at
//! a time has a track here: of what is on the air or about to be what wins it, then what is to come, the sooner first, then
//! what waits; when it is over the next has it. Nothing else differs from other stored tracks: who lacks the packets listens, and a parent airs what it has.

use super::drafts::SIGNED_WITHIN;
use super::requests::{Airing, DELAY, EMERGENCY_DELAY, EXPIRES_AFTER, Refused, instants, no_authority};
use super::{AirPrepared, Command, Trunk};
use crate::broadcast::{Body, Broadcast, Entry, Priority, State};
use crate::time::{Civil, Local, SECOND};
use crate::track::Info;
use std::cmp::Reverse;
use uuid::Uuid;

impl Trunk {
    /// Gives the track to the broadcast that should have it now. `false` if none does any more.
    pub(super) fn hand_over(&mut self, now: Local, id: Uuid) -> bool {
        let civil = self.time.civil(now);
        let Some(track) = self.tracks.get(&id) else { return false };
        let of = |entry: &&Entry| entry.broadcast.renditions.iter().any(|info| alike(info, &track.info));
        let over = |entry: &Entry| match (entry.cancelled_at, civil) {
            (Some(at), Some(civil)) => at <= civil,
            (Some(_), None) => true,
            (None, Some(civil)) => sounded_by(entry).unwrap_or(entry.broadcast.ends()) <= civil,
            (None, None) => false,
        };
        let live = |entry: &&Entry| matches!(entry.state, State::Known | State::Sounding) && !over(entry);
        let rank = |entry: &&Entry| {
            let broadcast = &entry.broadcast;
            let later = civil.is_some_and(|civil| broadcast.begins() > civil + SOON);
            (broadcast.prepared, later, Reverse((broadcast.priority, broadcast.purpose)), broadcast.begins(), entry.id)
        };
        let mut sharing: Vec<&Entry> = self.book.all().filter(live).filter(of).collect();
        sharing.sort_by_key(|entry| rank(entry));
        let shared = sharing.iter().filter(|entry| !entry.broadcast.prepared).count() > 1;
        let Some(holder) = sharing.first() else { return false };
        if holder.id == track.broadcast {
            if let Some(track) = self.tracks.get_mut(&id) {
                track.shared = shared;
            }
            return true;
        }
        let (broadcast, areas, delay) = (holder.id, holder.areas.clone(), holder.broadcast.delay);
        let emergency = holder.broadcast.priority == Priority::Emergency;
        let first = holder.broadcast.renditions.first().map_or(id, |info| info.id);
        let info = holder.broadcast.renditions.iter().find(|info| info.id == id).cloned();
        self.stop_listening(now, id);
        let Some((track, info)) = self.tracks.get_mut(&id).zip(info) else { return false };
        (track.broadcast, track.sounds_as, track.first) = (broadcast, first, first == id);
        (track.areas, track.emergency, track.delay, track.info) = (areas, emergency, delay, info);
        // No parent counts anybody in: it took the track for what it was before.
        (track.again, track.asks, track.insist_at, track.source) = (true, true, None, None);
        track.shared = shared;
        if let Some(key) = &mut track.key {
            key.renew();
        }
        if let Some(player) = &mut self.player {
            player.handle_renewed(id);
        }
        self.tell_branches(Command::Renew { track: id });
        true
    }

    pub(super) fn request_air_prepared(&mut self, now: Local, id: u64, air: AirPrepared) -> Result<(), Refused> {
        let civil = self.now_or_refuse(now)?;
        let unknown = || {
            let text = format!("no prepared sound {} is known here; `loa prepared` lists what there is", air.prepared);
            ("prepared.unknown", text)
        };
        let entry = self.book.get(air.prepared).filter(|entry| entry.broadcast.prepared).ok_or_else(unknown)?;
        let ends = entry.broadcast.until;
        if matches!(entry.state, State::Ended | State::Cancelled) || entry.cancelled_at.is_some() || ends <= civil {
            return Err(unknown());
        }
        if let Some(area) = air.areas.iter().find(|area| !entry.areas.iter().any(|of| of.contains(area))) {
            let text = format!("area {area} is outside of those for which this was prepared; prepare it there too");
            return Err(("prepared.area", text));
        }
        if air.at.is_some_and(|at| at < civil) {
            let text = "the time to broadcast at has passed; give a time to come, or none for now";
            return Err(("broadcast.past", text.into()));
        }
        let emergency = air.priority == Priority::Emergency;
        let delay = air.delay.unwrap_or(if emergency { EMERGENCY_DELAY } else { DELAY });
        let ready = civil + if air.second { SIGNED_WITHIN } else { 0 };
        let (tone, anchor) = instants(ready, air.priority, air.purpose, air.at, delay);
        let anchored = |info: &Info| Info { anchor, ..info.clone() };
        let renditions: Vec<Info> = entry.broadcast.renditions.iter().map(anchored).collect();
        let length = renditions.iter().map(|info| info.instant(info.packets.unwrap_or(0)) - anchor).max().unwrap_or(0);
        let (from, until) = (tone.map_or(anchor, |tone| tone.at.min(anchor)), anchor + length);
        let broadcast = Broadcast {
            priority: air.priority,
            purpose: air.purpose,
            from,
            until,
            delay,
            renditions,
            tone,
            title: air.title.unwrap_or_else(|| entry.broadcast.title.clone()),
            revision: 0,
            supersedes: None,
            stored: true,
            resume: false,
            prepared: false,
        };
        let sounds = tone.map_or(anchor + delay, |tone| tone.at);
        let expires = until + delay + EXPIRES_AFTER;
        let made = self.make(now, air.areas, expires, Body::Broadcast(broadcast)).ok_or_else(no_authority)?;
        let (order, signed) = made;
        let (tracks, packets, live) = (Vec::new(), None, false);
        let airing = Airing { order, signed, tracks, packets, live, emergency, from, until, sounds, anchor, delay };
        match air.second {
            true => self.hold_airing(now, id, airing),
            false => self.put_on_air(now, id, airing),
        }
    }
}

/// When the last of its sound has left, whatever it says of itself.
fn sounded_by(entry: &Entry) -> Option<Civil> {
    let broadcast = &entry.broadcast;
    let info = broadcast.renditions.first().filter(|_| !broadcast.prepared)?;
    Some(info.instant(info.packets?) + broadcast.delay)
}

/// Whether both are the same packets.
fn alike(one: &Info, other: &Info) -> bool {
    let packets = |info: &Info| (info.id, info.ssrc, info.duration, info.key_hash, info.bitrate, info.packets);
    packets(one) == packets(other) && one.sign == other.sign
}

/// µs ahead of its beginning a broadcast has its sound, should another sound it until then.
const SOON: i64 = 2 * SECOND;
