//! What the store holds of each track, found out after a restart, a few tracks at a time.

use super::tracks::READ;
use super::{Command, Job, Packet, Pending, Trunk};
use crate::time::Local;
use uuid::Uuid;

impl Trunk {
    /// After a restart: what does the store hold of it?
    pub(super) fn count_stored(&mut self, track: Uuid) {
        if self.tracks.get(&track).is_some_and(|held| held.info.packets.is_some()) {
            self.uncounted.insert(track);
            self.count_more();
        }
    }

    /// A few at a time: others wait for the disk too.
    fn count_more(&mut self) {
        while self.counting.len() < COUNTING
            && let Some(track) = self.uncounted.pop_first()
        {
            let Some(packets) = self.tracks.get(&track).and_then(|held| held.info.packets) else { continue };
            self.counting.insert(track);
            self.job(Pending::Air { track, from: 0 }, Job::Fetch { track, from: 0, until: packets.min(READ) });
        }
    }

    pub(super) fn counted(&mut self, track: Uuid) {
        if self.counting.remove(&track) {
            self.count_more();
        }
    }

    /// Whether it is not known yet what the store holds of a track.
    pub(super) fn is_uncounted(&self, track: Uuid) -> bool {
        self.counting.contains(&track) || self.uncounted.contains(&track)
    }

    /// A piece of what the store held at a restart.
    pub(super) fn handle_counted(&mut self, now: Local, id: Uuid, packets: &[Packet]) {
        let Some(track) = self.tracks.get_mut(&id) else { return };
        let Some(total) = track.info.packets else { return };
        packets.iter().for_each(|packet| track.have.insert(packet.index));
        let next = packets.last().map_or(total, |last| last.index + 1);
        if next < total {
            let job = Job::Fetch { track: id, from: next, until: total.min(next + READ) };
            self.job(Pending::Air { track: id, from: next }, job);
            return;
        }
        let until = track.have.until;
        self.counted(id);
        self.tell_branches(Command::Stored { track: id, until });
        self.tune(now);
    }
}

/// Tracks that are counted at once after a restart.
const COUNTING: usize = 32;
