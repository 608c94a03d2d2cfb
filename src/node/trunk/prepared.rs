//! Prepared sound: fetched ahead by everybody in its areas and kept, so that an order of some hundred bytes airs it at
//! once, wherever the network is by then.
//!
//! A prepared broadcast and those that air its sound name the same tracks, each with an anchor of its own. One of them at
//! a time has a track here: what sounds or is to sound before what waits, the sooner first; when it is over the next has
//! it. Nothing else differs from other stored tracks: who lacks the packets listens, and a parent airs what it has.

use super::drafts::SIGNED_WITHIN;
use super::requests::{Airing, DELAY, EMERGENCY_DELAY, EXPIRES_AFTER, Refused, instants, no_authority};
use super::{AirPrepared, Trunk};
use crate::broadcast::{Body, Broadcast, Entry, Priority, State};
use crate::time::Local;
use crate::track::Info;
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
            (None, civil) => civil.is_some_and(|civil| entry.broadcast.ends() <= civil),
        };
        let live = |entry: &&Entry| matches!(entry.state, State::Known | State::Sounding) && !over(entry);
        let rank = |entry: &&Entry| (entry.broadcast.prepared, entry.broadcast.begins(), entry.id);
        let Some(holder) = self.book.all().filter(live).filter(of).min_by_key(rank) else { return false };
        if holder.id == track.broadcast {
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
        if let Some(key) = &mut track.key {
            key.renew();
        }
        if let Some(player) = &mut self.player {
            player.handle_renewed(id);
        }
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

/// Whether both are the same packets.
fn alike(one: &Info, other: &Info) -> bool {
    let packets = |info: &Info| (info.id, info.ssrc, info.duration, info.key_hash, info.bitrate, info.packets);
    packets(one) == packets(other) && one.sign == other.sign
}
