//! The renditions of a broadcast are one sound in several tracks: which of them this node sounds, and how
//! it changes from one to another without a gap (DESIGN §3).
//!
//! ```text
//!  old   … 40 41 42 43 44 45 ┐          listened to until the first verified packet of the new one
//!  new            43 44 45 46 47 …      from the first index that has not come
//! ```
//! The player knows one timeline, the first rendition's, and takes any rendition's packet of an index.
//!
//! An emergency goes as the first rendition always, to every child in its area, unasked, whatever was chosen
//! before: its sound does not wait for a Listen, and one track is all that a link has to carry then.
//!
//! A stored broadcast is fetched ahead in the rendition that will sound here, and in those that children fetch.
//! Before anybody has asked a relay for one, it fetches the first.

use super::choice::Seen;
use super::tracks::Track;
use super::{State, Trunk};
use crate::time::Local;
use uuid::Uuid;

impl Trunk {
    /// The track of a broadcast that sounds here: what is on disk already, else the one chosen. An emergency's
    /// is the first, which its parent sends unasked.
    pub(super) fn sounded(&self, broadcast: Uuid) -> Option<Uuid> {
        let renditions = &self.book.get(broadcast)?.broadcast.renditions;
        let held = |id: &Uuid| self.tracks.get(id).is_some_and(|track| track.made_here || track.complete());
        let bitrates: Vec<u32> = renditions.iter().map(|info| info.bitrate).collect();
        let first = renditions.first()?.id;
        let emergency = self.tracks.get(&first).is_some_and(|track| track.emergency);
        let place = if emergency { 0 } else { self.choosing.choose(&bitrates) };
        let chosen = renditions.get(place)?.id;
        let other = || renditions.iter().map(|info| info.id).find(held);
        Some(if held(&chosen) { chosen } else { other().unwrap_or(chosen) })
    }

    /// Whether this node or one below it will sound the track.
    pub(super) fn wanted(&self, id: Uuid) -> bool {
        let Some(track) = self.tracks.get(&id) else { return false };
        let chosen = self.tuned.is_some_and(|choice| choice.broadcast == Some(track.broadcast));
        let soon = self.book.get(track.broadcast).is_some_and(|entry| entry.state == State::Known);
        let coming = self.coming == Some(track.broadcast);
        let here = self.player.is_some() && (chosen || soon || coming) && {
            let sounded = self.sounded(track.broadcast);
            let flows = sounded.and_then(|sounded| self.tracks.get(&sounded)).is_some_and(Track::flows);
            sounded == Some(id) || track.listening && !flows
        };
        // Before anybody has asked, the first is had ahead of those who will.
        let asked = || self.siblings(track).any(Track::listened_to);
        let below = track.listened_to() || track.first && !asked() && self.below.direct_in(&track.areas);
        // A loudspeaker that has the sound in another rendition needs no more of it.
        let had = self.options.branches == 0 && self.siblings(track).any(Track::complete);
        track.emergency && track.first && !had || here || below
    }

    /// Whether a stored track is to be here before it sounds.
    pub(super) fn wanted_ahead(&self, id: Uuid) -> bool {
        let Some(track) = self.tracks.get(&id) else { return false };
        let here = self.player.is_some() && self.sounded(track.broadcast) == Some(id);
        let relays = self.options.branches > 0;
        let asked = || self.siblings(track).any(|other| other.asked_ahead);
        here || track.asked_ahead || relays && track.first && !asked()
    }

    /// A child waits for a stored track that is not all here.
    pub(super) fn handle_fetched(&mut self, now: Local, id: Uuid) {
        let Some(track) = self.tracks.get_mut(&id) else { return };
        if !std::mem::replace(&mut track.asked_ahead, true) {
            self.tune(now);
        }
    }

    fn siblings<'a>(&'a self, track: &'a Track) -> impl Iterator<Item = &'a Track> {
        let renditions = self.book.get(track.broadcast).map_or(&[][..], |entry| &entry.broadcast.renditions);
        let others = renditions.iter().filter(|info| info.id != track.info.id);
        others.filter_map(|info| self.tracks.get(&info.id)).filter(|other| other.broadcast == track.broadcast)
    }

    /// From `from` on, the first packet that has not come in any rendition.
    pub(super) fn first_missing(&self, id: Uuid, from: u64) -> u64 {
        let Some(track) = self.tracks.get(&id) else { return from };
        if track.listened_to() {
            // Those below lack what came in another rendition.
            return from;
        }
        self.siblings(track).map(|other| other.first_unseen(from)).max().unwrap_or(from)
    }

    /// A packet of the track has come and is verified: another rendition of its sound is no longer needed.
    pub(super) fn handle_flow(&mut self, now: Local, id: Uuid) {
        let Some(track) = self.tracks.get_mut(&id) else { return };
        let began = !std::mem::replace(&mut track.flowing, true);
        let broadcast = track.broadcast;
        let other = |other: &Track| other.broadcast == broadcast && other.listening && other.info.id != id;
        if began && self.tracks.values().any(other) {
            self.tune(now);
        }
    }

    /// Once a second: is the choice still right?
    pub(super) fn judge_links(&mut self, now: Local) {
        let (came, lost) = self.parents.losses();
        let seen = Seen { came, lost, bytes: self.sound_bytes };
        let sounding = self.tuned.and_then(|choice| choice.broadcast).and_then(|id| self.book.get(id));
        let bitrates: Vec<u32> =
            sounding.iter().flat_map(|entry| &entry.broadcast.renditions).map(|info| info.bitrate).collect();
        if self.choosing.handle_seen(now, seen, &bitrates) {
            self.tune(now);
        }
    }

    /// b/s of what sounds here; 0: nothing.
    pub(super) fn bitrate_of(&self, broadcast: Option<Uuid>) -> u32 {
        let track = broadcast.filter(|_| self.player.is_some()).and_then(|id| self.sounded(id));
        track.and_then(|id| self.tracks.get(&id)).map_or(0, |track| track.info.bitrate)
    }
}
