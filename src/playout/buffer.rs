//! The jitter buffer: verified packets that wait for their time.
use super::Program;
use crate::track::Sound;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;

/// At most [`TRACKS`] tracks of at most [`PACKETS`] packets each.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    tracks: Vec<Track>,
    uses: u64,
}

#[derive(Debug)]
pub(super) struct Track {
    pub id: Uuid,
    packets: BTreeMap<u64, Arc<Sound>>,
    /// Packets that were missing at their time; the newest [`PACKETS`].
    lost: BTreeSet<u64>,
    /// First sample not played yet: content plays once, whatever becomes of the clocks.
    pub done: u64,
    /// The newest programme that used it.
    pub program: Option<Program>,
    used: u64,
    newest_used: Option<u64>,
}

/// What became of a packet handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inserted {
    Kept,
    Duplicate,
    /// After its time, and it had been missed.
    Late,
    /// So many packets (this or older ones) were dropped for lack of room.
    Dropped(u64),
}

impl Buffer {
    pub fn track(&self, id: Uuid) -> Option<&Track> {
        self.tracks.iter().find(|track| track.id == id)
    }

    pub fn track_mut(&mut self, id: Uuid) -> Option<&mut Track> {
        self.tracks.iter_mut().find(|track| track.id == id)
    }

    /// The track, made if it isn't there. Room is taken from the track longest unused, unless it is
    /// one of `keep`. Also says how many packets went with that one.
    pub fn open(&mut self, id: Uuid, keep: [Option<Uuid>; 2]) -> Option<(&mut Track, u64)> {
        self.uses += 1;
        let mut dropped = 0;
        if self.track(id).is_none() {
            if self.tracks.len() >= TRACKS {
                let spare = |track: &&Track| !keep.contains(&Some(track.id));
                let oldest = self.tracks.iter().filter(spare).min_by_key(|track| track.used)?.id;
                dropped = self.track(oldest).map_or(0, |track| track.packets.len() as u64);
                self.tracks.retain(|track| track.id != oldest);
            }
            let (packets, lost) = (BTreeMap::new(), BTreeSet::new());
            self.tracks.push(Track { id, packets, lost, done: 0, program: None, used: 0, newest_used: None });
        }
        let uses = self.uses;
        let track = self.track_mut(id)?;
        track.used = uses;
        Some((track, dropped))
    }

    pub fn forget(&mut self, id: Uuid) {
        self.tracks.retain(|track| track.id != id);
    }
}

impl Track {
    /// `needed`: the first index still of use, if the track's place in time is known.
    pub fn insert(&mut self, sound: Arc<Sound>, needed: Option<u64>) -> Inserted {
        let index = sound.index;
        if let Some(needed) = needed {
            self.forget_before(needed);
            if index < needed {
                return if self.lost.remove(&index) { Inserted::Late } else { Inserted::Duplicate };
            }
            if index - needed >= PACKETS as u64 {
                return Inserted::Dropped(1);
            }
        }
        if self.packets.contains_key(&index) {
            return Inserted::Duplicate;
        }
        self.packets.insert(index, sound);
        if self.packets.len() > PACKETS {
            self.packets.pop_first();
            return Inserted::Dropped(1);
        }
        Inserted::Kept
    }

    pub fn get(&self, index: u64) -> Option<&Arc<Sound>> {
        self.packets.get(&index)
    }

    pub fn has(&self, index: u64) -> bool {
        self.packets.contains_key(&index)
    }

    pub fn forget_before(&mut self, index: u64) {
        while self.packets.first_entry().is_some_and(|first| *first.key() < index) {
            self.packets.pop_first();
        }
    }

    /// Notes that a packet was not there; true the first time.
    pub fn lose(&mut self, index: u64) -> bool {
        let new = self.lost.insert(index);
        if self.lost.len() > PACKETS {
            self.lost.pop_first();
        }
        new
    }

    /// Notes that a packet sounds; true the first time.
    pub fn use_packet(&mut self, index: u64) -> bool {
        self.newest_used.replace(index) != Some(index)
    }

    /// The first index from `index` on that is not held.
    pub fn first_missing(&self, index: u64) -> u64 {
        let mut next = index;
        for &held in self.packets.range(index..).map(|(held, _)| held) {
            if held != next {
                break;
            }
            next += 1;
        }
        next
    }
}

/// The one that sounds and the one that comes next or was interrupted.
pub(super) const TRACKS: usize = 2;
/// 77 s of 240 ms packets, 12.8 s of a LAN's 40 ms packets: more than its playout delay and the turn of the last group;
/// 375 KiB at 1,200 bytes each.
pub(super) const PACKETS: usize = 320;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Civil;

    fn sound(index: u64) -> Arc<Sound> {
        Arc::new(Sound { index, time: Civil(0), records: Vec::new() })
    }

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    #[test]
    fn a_track_without_a_place_in_time_keeps_the_newest_packets() {
        let mut buffer = Buffer::default();
        let (track, _) = buffer.open(id(1), [None; 2]).unwrap();
        for index in 0..PACKETS as u64 {
            assert_eq!(track.insert(sound(index), None), Inserted::Kept);
        }
        assert_eq!(track.insert(sound(320), None), Inserted::Dropped(1));
        assert!(!track.has(0) && track.has(1) && track.has(320));
    }

    #[test]
    fn a_packet_too_far_ahead_is_refused_and_one_behind_is_late_only_if_it_was_missed() {
        let mut buffer = Buffer::default();
        let (track, _) = buffer.open(id(1), [None; 2]).unwrap();
        assert_eq!(track.insert(sound(330), Some(10)), Inserted::Dropped(1));
        assert_eq!(track.insert(sound(329), Some(10)), Inserted::Kept);
        assert!(track.lose(9) && !track.lose(9));
        assert_eq!(track.insert(sound(9), Some(10)), Inserted::Late);
        assert_eq!(track.insert(sound(9), Some(10)), Inserted::Duplicate);
    }

    #[test]
    fn a_third_track_takes_the_room_of_the_one_longest_unused_but_never_of_one_kept() {
        let mut buffer = Buffer::default();
        buffer.open(id(1), [None; 2]).unwrap().0.insert(sound(0), None);
        buffer.open(id(2), [None; 2]).unwrap();
        assert!(buffer.open(id(3), [Some(id(1)), Some(id(2))]).is_none());
        assert_eq!(buffer.open(id(3), [Some(id(2)), None]).unwrap().1, 1);
        assert!(buffer.track(id(1)).is_none() && buffer.track(id(2)).is_some());
    }
}
