//! Tracks of sound: keys, verification, the store, and airing what is stored here.

use super::keys::Brought;
use super::{Command, Job, Packet, Pending, Reason, Reject, Trunk};
use crate::broadcast::{Area, Priority};
use crate::session::child::Via;
use crate::time::{Civil, Local, MILLISECOND, SECOND};
use crate::track::{Info, Reader, Ring};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use uuid::Uuid;

/// One track that concerns this node.
pub(super) struct Track {
    pub info: Info,
    pub broadcast: Uuid,
    /// The first of the broadcast's renditions, on whose timeline all of them sound, and whether it is this one.
    pub sounds_as: Uuid,
    pub first: bool,
    pub areas: Vec<Area>,
    pub emergency: bool,
    /// µs.
    pub delay: i64,
    /// Its packets may be fetched ahead.
    pub stored: bool,
    /// From the parent, once the key has come.
    pub key: Option<Keyed>,
    /// What the store holds of it.
    pub have: Have,
    /// Listening at the parent, from which packet on.
    pub listening: bool,
    /// A packet has come since.
    pub flowing: bool,
    /// The parent does not send it by itself, as it does an emergency: it is to be asked.
    pub asks: bool,
    /// When it is asked all the same, nothing having come.
    pub insist_at: Option<Civil>,
    /// Not sounded any more: listened to until then.
    pub leave_at: Option<Local>,
    /// This node airs it from its store.
    pub source: Option<Source>,
    pub fetch: Option<Fetch>,
    /// Verified packets on their way to the store.
    to_keep: Vec<Packet>,
    /// Children that listen, summed over the branches.
    pub listeners: Vec<u64>,
    /// A child has fetched it ahead.
    pub asked_ahead: bool,
    /// Made here, by this process.
    pub made_here: bool,
    /// Another broadcast had it before: its packets go out once more.
    pub again: bool,
    /// Several broadcasts are to sound it: which of them has it is looked at again.
    pub shared: bool,
}

pub(super) struct Keyed {
    reader: Reader,
    /// Verified lately: against duplicates.
    seen: Ring,
}

impl Keyed {
    pub fn new(reader: Reader) -> Self {
        Self { reader, seen: Ring::new(SEEN) }
    }

    /// For another broadcast of the same track.
    pub fn renew(&mut self) {
        self.seen = Ring::new(SEEN);
    }
}

/// A packet of a parent: of what is on the air, or of a transfer ahead of it.
#[derive(PartialEq)]
pub(super) enum Came {
    Now,
    Ahead,
}

/// Airing from the store.
pub(super) struct Source {
    /// Next index to air.
    next: u64,
    /// Next index to read.
    read: u64,
    reading: bool,
    ready: VecDeque<Packet>,
}

/// Fetching ahead.
pub(super) struct Fetch {
    pub at: Local,
    pub asked: bool,
}

/// A set of indices that mostly fills from the front.
#[derive(Default)]
pub(super) struct Have {
    /// All before this one.
    pub until: u64,
    beyond: BTreeSet<u64>,
}

impl Have {
    pub fn is_empty(&self) -> bool {
        self.until == 0 && self.beyond.is_empty()
    }

    fn contains(&self, index: u64) -> bool {
        index < self.until || self.beyond.contains(&index)
    }

    pub fn insert(&mut self, index: u64) {
        if index >= self.until {
            self.beyond.insert(index);
        }
        while self.beyond.remove(&self.until) {
            self.until += 1;
        }
    }
}

impl Track {
    /// Whether every packet is in the store.
    pub fn complete(&self) -> bool {
        self.info.packets.is_some_and(|packets| self.have.until >= packets)
    }

    pub fn forget_unkept(&mut self) {
        self.to_keep.clear();
    }

    pub fn flows(&self) -> bool {
        self.flowing || self.made_here || self.complete()
    }

    /// From `from` on, the first packet that has not come live.
    pub fn first_unseen(&self, from: u64) -> u64 {
        let seen = |index| self.key.as_ref().is_some_and(|key| key.seen.get(index).is_some());
        (from..from.saturating_add(SEEN as u64)).find(|index| !seen(*index)).unwrap_or(from)
    }

    pub fn listened_to(&self) -> bool {
        self.listeners.iter().any(|listeners| *listeners > 0)
    }
}

impl Trunk {
    /// A broadcast is new or its renditions were replaced.
    pub(super) fn start_tracks(&mut self, now: Local, id: Uuid, restored: bool) {
        let Some(entry) = self.book.get(id) else { return };
        let renditions = entry.broadcast.renditions.clone();
        let stays = |track: &Track| renditions.iter().any(|info| info.id == track.info.id);
        let gone = |track: &Track| track.broadcast == id && !stays(track);
        let gone: Vec<Uuid> = self.tracks.iter().filter(|(_, track)| gone(track)).map(|(id, _)| *id).collect();
        for gone in gone {
            self.end_track(now, gone);
        }
        let Some(first) = renditions.first().map(|info| info.id) else { return };
        for info in renditions {
            self.start_track(now, id, info, first, restored);
        }
    }

    fn start_track(&mut self, now: Local, id: Uuid, info: Info, sounds_as: Uuid, restored: bool) {
        let Some(entry) = self.book.get(id) else { return };
        let broadcast = &entry.broadcast;
        if self.tracks.get(&info.id).is_some_and(|track| track.broadcast == id && track.info.ssrc == info.ssrc) {
            let delay = broadcast.delay;
            return self.revise_track(now, info.id, info, delay);
        }
        let made = self.own_tracks.remove(&info.id);
        let track = Track {
            broadcast: id,
            sounds_as,
            first: info.id == sounds_as,
            areas: entry.areas.clone(),
            emergency: broadcast.priority == Priority::Emergency,
            delay: broadcast.delay,
            stored: broadcast.stored,
            key: None,
            have: Have { until: made.unwrap_or(0), ..Have::default() },
            listening: false,
            flowing: false,
            asks: restored,
            insist_at: None,
            leave_at: None,
            source: None,
            fetch: None,
            to_keep: Vec::new(),
            listeners: vec![0; self.options.branches],
            asked_ahead: false,
            made_here: made.is_some(),
            again: false,
            shared: false,
            info,
        };
        let track_id = track.info.id;
        if self.tracks.contains_key(&track_id) {
            self.hand_over(now, track_id);
            return;
        }
        if self.tracks.len() >= TRACKS {
            self.dropped("tracks");
            return;
        }
        self.tracks.insert(track_id, track);
        if restored {
            self.count_stored(track_id);
        }
        if let Some((secret, brought)) = self.early.remove(&track_id) {
            self.handle_key(now, track_id, secret, if restored { Brought::Journal } else { brought });
        }
    }

    /// The broadcast is over, or other renditions took its place.
    pub(super) fn end_track(&mut self, now: Local, id: Uuid) {
        if self.hand_over(now, id) {
            return;
        }
        let Some(track) = self.tracks.remove(&id) else { return };
        self.end_print(track.broadcast, id, track.info.packets);
        if track.fetch.is_some() {
            self.parents.unlisten(now, id);
        } else if track.listening {
            self.parents.ended(id);
        }
        self.tell_branches(Command::Drop { track: id });
        // A track of known length may be on disk from before a restart, which forgets who made it.
        if track.stored || track.made_here || track.info.packets.is_some() {
            self.job(Pending::Record, Job::Forget { track: id });
        }
    }

    /// A candidate from a parent: verified before it is kept, forwarded or sounded.
    pub(super) fn handle_sound_packet(
        &mut self,
        now: Local,
        id: Uuid,
        packet: Packet,
        via: Via,
    ) -> Result<Came, Reject> {
        let civil = self.time.civil(now);
        let track = self.tracks.get_mut(&id).ok_or(Reject::UnknownSsrc)?;
        let key = track.key.as_mut().ok_or(Reject::UnknownSsrc)?;
        if track.info.packets.is_some_and(|packets| packet.index >= packets) {
            return Err(Reject::OutOfWindow);
        }
        // The rest of a transfer, which comes although it is listened to by now, is not on the air yet: whoever were handed
        // it as if it were would take what lies before it for past, and it comes once more when it is.
        let early = civil.is_some_and(|civil| track.info.instant(packet.index) > civil + track.info.packet_micros());
        if early && track.listening && via == Via::Bulk {
            return Ok(Came::Ahead);
        }
        let ahead = via == Via::Bulk && !track.listening;
        if ahead && track.have.contains(packet.index) || key.seen.get(packet.index).is_some() {
            return Err(Reject::Duplicate);
        }
        if !ahead
            && key.seen.oldest().is_some_and(|oldest| packet.index < oldest)
            && key.seen.newest() > Some(SEEN as u64)
        {
            return Err(Reject::OutOfWindow);
        }
        let sound = key.reader.read(packet.index, &packet.bytes)?;
        self.receipts.take(id, &sound);
        self.counters.received += 1;
        self.sound_bytes += (packet.bytes.len() + BELOW) as u64;
        self.time.handle_seal(sound.time);
        if let (Via::Live, Some(civil)) = (via, civil) {
            self.counters.delivery = civil - sound.time;
        }
        if ahead {
            // Of a transfer that is not wanted any more the rest still comes.
            if track.stored && track.fetch.is_some() {
                track.to_keep.push(packet);
                if let Some(fetch) = &mut track.fetch {
                    // It comes: no reason to ask again yet.
                    fetch.at = now + FETCH_AGAIN;
                }
                if track.to_keep.len() >= KEEP {
                    self.keep(id);
                }
            }
            return Ok(Came::Ahead);
        }
        key.seen.insert(packet.clone());
        let sounds_as = track.sounds_as;
        self.hand_down(id, packet);
        if let Some(player) = &mut self.player {
            player.handle_sound(now, sounds_as, Arc::new(sound));
        }
        self.handle_flow(now, id);
        Ok(Came::Now)
    }

    /// Sends what has gathered to the store.
    pub(super) fn keep(&mut self, id: Uuid) {
        let Some(track) = self.tracks.get_mut(&id) else { return };
        let packets = std::mem::take(&mut track.to_keep);
        if packets.is_empty() {
            return;
        }
        let indices = packets.iter().map(|packet| packet.index).collect();
        self.job(Pending::Kept { track: id, indices }, Job::Keep { track: id, packets });
    }

    pub(super) fn handle_kept(&mut self, now: Local, id: Uuid, indices: &[u64]) {
        let Some(track) = self.tracks.get_mut(&id) else { return };
        indices.iter().for_each(|index| track.have.insert(*index));
        let until = track.have.until;
        let cached = track.complete().then_some(track.broadcast);
        if cached.is_some() {
            track.fetch = None;
        }
        cached.into_iter().for_each(|broadcast| self.note_cached(now, broadcast));
        self.tell_branches(Command::Stored { track: id, until });
        self.tune(now);
    }

    /// A live source of this node made a packet.
    pub(super) fn handle_made(&mut self, now: Local, id: Uuid, packet: Packet) {
        if self.tracks.get(&id).is_some_and(|track| track.made_here) {
            self.air(now, id, packet);
        } else {
            self.dropped("made_packets");
        }
    }

    /// Begins to air a complete stored track, from the first packet that can still sound.
    pub(super) fn start_source(&mut self, now: Local, id: Uuid) {
        let Some(civil) = self.time.civil(now) else { return };
        let own = self.late();
        let Some(track) = self.tracks.get_mut(&id) else { return };
        if track.source.is_some() {
            return;
        }
        let late = civil - (track.info.anchor + track.delay + own);
        let first = late.max(0).unsigned_abs() / track.info.packet_micros().max(1).unsigned_abs();
        track.source = Some(Source { next: first, read: first, reading: false, ready: VecDeque::new() });
        self.read_ahead(id);
    }

    fn read_ahead(&mut self, id: Uuid) {
        let Some(track) = self.tracks.get_mut(&id) else { return };
        let Some(source) = &mut track.source else { return };
        let end = track.info.packets.unwrap_or(0);
        if source.reading || source.read >= end || source.ready.len() >= READ as usize / 2 {
            return;
        }
        source.reading = true;
        let (from, until) = (source.read, end.min(source.read + READ));
        self.job(Pending::Air { track: id, from }, Job::Fetch { track: id, from, until });
    }

    pub(super) fn handle_fetched_to_air(&mut self, now: Local, id: Uuid, from: u64, packets: Vec<Packet>) {
        if !self.tracks.contains_key(&id) {
            return self.counted(id);
        }
        let Some(track) = self.tracks.get_mut(&id) else { return };
        let Some(source) = &mut track.source else {
            return self.handle_counted(now, id, &packets);
        };
        if from != source.read {
            // Asked for when another broadcast aired it.
            return;
        }
        source.reading = false;
        match packets.last() {
            Some(last) => source.read = last.index + 1,
            // Not readable: pass over this piece, so that the rest still sounds.
            None => source.read += READ,
        }
        source.ready.extend(packets);
        self.air_due(now);
    }

    /// When the next stored packet is to be aired.
    pub(super) fn next_air(&self) -> Option<(Local, Reason)> {
        if !self.counters.synced {
            // Nothing is aired without trusted time, however long it is due.
            return None;
        }
        let times = self.tracks.values().filter_map(|track| {
            let next = track.source.as_ref()?.ready.front()?;
            Some(self.line?.local(track.info.instant(next.index)))
        });
        times.min().map(|at| (at, Reason::Air))
    }

    pub(super) fn air_due(&mut self, now: Local) {
        let Some(civil) = self.time.civil(now) else { return };
        let ids: Vec<Uuid> =
            self.tracks.iter().filter(|(_, track)| track.source.is_some()).map(|(id, _)| *id).collect();
        for id in ids {
            while let Some(track) = self.tracks.get_mut(&id) {
                let (info, Some(source)) = (&track.info, &mut track.source) else { break };
                match source.ready.front() {
                    Some(packet) if info.instant(packet.index) <= civil + MILLISECOND => {}
                    _ => break,
                }
                let Some(packet) = source.ready.pop_front() else { break };
                source.next = packet.index + 1;
                self.air(now, id, packet);
            }
            self.read_ahead(id);
        }
    }

    /// A packet that stands in this node's own store, or was made here: out to all who listen.
    fn air(&mut self, now: Local, id: Uuid, packet: Packet) {
        if let Some(track) = self.tracks.get(&id) {
            let sounds = self.player.is_some() && self.sounded(track.broadcast) == Some(id);
            // Who made it says what it sounds like.
            let entered_here = track.made_here && track.first;
            if (sounds || entered_here)
                && let Some(key) = &track.key
                && let Ok(sound) = key.reader.read(packet.index, &packet.bytes)
            {
                let sounds_as = track.sounds_as;
                self.receipts.take(id, &sound);
                if let Some(player) = self.player.as_mut().filter(|_| sounds) {
                    player.handle_sound(now, sounds_as, Arc::new(sound));
                }
            }
        }
        self.hand_down(id, packet);
    }

    /// A verified packet to all who listen; with the last one there is nothing left to wait for.
    fn hand_down(&mut self, id: Uuid, packet: Packet) {
        let next = packet.index + 1;
        let again = self.tracks.get(&id).is_some_and(|track| track.again);
        self.tell_branches(Command::Packet { track: id, packet, again });
        if self.tracks.get(&id).is_some_and(|track| track.info.packets == Some(next)) {
            self.tell_branches(Command::Flush { track: id });
        }
    }

    /// When the next fetch is to begin.
    pub(super) fn next_fetch(&self) -> Option<(Local, Reason)> {
        let times = self.tracks.values().filter_map(|track| track.fetch.as_ref());
        times.map(|fetch| (fetch.at, Reason::Fetch)).min()
    }

    /// Asks for what is missing; asks again while it does not come.
    pub(super) fn fetch_due(&mut self, now: Local) {
        let due = |track: &Track| track.fetch.as_ref().is_some_and(|fetch| fetch.at <= now);
        let ids: Vec<Uuid> = self.tracks.iter().filter(|(_, track)| due(track)).map(|(id, _)| *id).collect();
        for id in ids {
            self.keep(id);
            let jitter = self.ids.jitter(SECOND);
            let Some(track) = self.tracks.get_mut(&id) else { continue };
            let first = track.have.until;
            let (info, Some(fetch)) = (&track.info, &mut track.fetch) else { continue };
            fetch.at = now + FETCH_AGAIN + jitter;
            fetch.asked = true;
            if let Some(packets) = info.packets
                && first < packets
            {
                self.parents.fetch(now, info, first, packets);
            }
        }
    }

    /// A transfer ended, whole or cut: store what came and ask for the rest soon.
    pub(super) fn handle_fetch_ended(&mut self, now: Local, id: Uuid) {
        self.keep(id);
        if let Some(fetch) = self.tracks.get_mut(&id).and_then(|track| track.fetch.as_mut()) {
            fetch.at = now + FETCH_SOON;
        }
    }
}

/// Bytes of IPv4 and UDP under each packet.
const BELOW: usize = 28;
/// Tracks at once: four days of what a province and its communes give ahead (`broadcast::timetable::airing` has 900
/// broadcasts of one rendition), under the nation's. Some 300 bytes each until its first packet.
const TRACKS: usize = 2_048;
/// Packets remembered against duplicates: a minute at 240 ms.
const SEEN: usize = 256;
/// Packets gathered before a write.
const KEEP: usize = 32;
/// Packets read at a time when airing from the store.
pub(super) const READ: u64 = 32;
/// A fetch that brings nothing is repeated after this.
const FETCH_AGAIN: i64 = 15 * SECOND;
/// One that ended is continued after this.
const FETCH_SOON: i64 = 300 * MILLISECOND;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Role;
    use crate::node::trunk::{Log, Options};
    use crate::session::{Exchange, Line, child};
    use crate::track::Secret;
    use bytes::Bytes;

    const NOW: Civil = Civil(1_800_000_000 * SECOND);

    #[test]
    fn a_packet_due_while_time_is_not_trusted_wakes_nobody_up() {
        let secret = Secret { key: [3; 16], salt: [4; 12] };
        let options = Options {
            node: Uuid::from_u128(1),
            role: Role::Relay,
            parents: vec![crate::broadcast::Address::new("parent:7460", 1).unwrap()],
            siblings: Vec::new(),
            both: false,
            branches: 1,
            playout: None,
            session: child::Options::default(),
            roots: Vec::new(),
            authority: None,
            log: Log { track: Uuid::from_u128(2), ssrc: 9, secret },
            seed: [5; 32],
            tick: 10 * SECOND,
            rendition: Default::default(),
            daylight: super::super::Daylight::in_zone(0),
            issuer: false,
            backed: false,
            stored: u64::MAX,
            instance: 1,
        };
        let mut trunk = Trunk::new(Local(0), options);
        for number in 1..40 {
            let sent = Local(number * 20 * MILLISECOND);
            let (told, received) = (NOW + sent.0 + MILLISECOND, sent + 2 * MILLISECOND);
            let exchange = Exchange { sent, parent_received: told, parent_sent: told, received, parent_uncertainty: 0 };
            trunk.time.handle_exchange(received, true, exchange, Line { offset: NOW.0, skew: 0.0 });
        }
        trunk.time.handle_tick(Local(0), None, NOW);
        let mut now = Local(SECOND);
        assert!(trunk.civil(now).is_some());
        let info = Info {
            id: Uuid::from_u128(3),
            sign: crate::key::SigningKey::from_seed(&[1; 32]).public(),
            ssrc: 1,
            duration: 11_520,
            anchor: NOW + 2 * SECOND,
            key_hash: [0; 32],
            bitrate: 24_000,
            packets: Some(1),
        };
        let ready = VecDeque::from([Packet { index: 0, bytes: Bytes::new() }]);
        let track = Track {
            broadcast: Uuid::from_u128(4),
            sounds_as: info.id,
            first: true,
            areas: Vec::new(),
            emergency: false,
            delay: SECOND,
            stored: true,
            key: None,
            have: Have { until: 1, ..Have::default() },
            listening: false,
            flowing: false,
            asks: false,
            insist_at: None,
            leave_at: None,
            source: Some(Source { next: 0, read: 1, reading: false, ready }),
            fetch: None,
            to_keep: Vec::new(),
            listeners: vec![0],
            asked_ahead: false,
            made_here: false,
            again: false,
            shared: false,
            info,
        };
        trunk.tracks.insert(Uuid::from_u128(3), track);
        // A seal from a future that this node's parent knows nothing of.
        trunk.time.handle_written(NOW + 3_600 * SECOND);
        trunk.after(now);
        now = Local(3 * SECOND);
        trunk.tune_at = Some(now + SECOND);
        trunk.handle_timeout(now);
        while trunk.poll_output().is_some() {}
        assert!(trunk.poll_timeout().is_some_and(|(at, _)| at > now), "{:?}", trunk.poll_timeout());
    }
}
