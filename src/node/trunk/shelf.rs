//! How much of the disk stored sound may take, and what stays without room when it wants more.
//!
//! Sound that this node made is the only copy there is and stays. Of what it fetches ahead, what is needed soonest comes
//! first: what is kept ready for emergencies, then whatever airs next. What is needed later gives way, and is fetched
//! again once there is room; what airs before there is any is heard from the parent, as live sound is.
//!
//! ```text
//!  soonest                                                    budget │
//!  [ready for emergencies][08:00 ][11:30   ][17:00 ][tomorrow 05:00 ]│[tomorrow 08:00] waits
//! ```

use super::tracks::{Have, Track};
use super::{Command, Job, Pending, Trunk};
use crate::time::{Civil, Local};
use crate::track::Writer;
use uuid::Uuid;

/// What is known of it since the tracks were last gone through.
#[derive(Default)]
pub(super) struct Shelf {
    /// Bytes of all that is stored or is being fetched.
    used: Option<u64>,
    /// The soonest that found no room: nothing needed later does.
    full: Option<Need>,
}

/// What sounds in an emergency before all else, then by the instant of its first packet.
type Need = (bool, Civil, Uuid);

impl Trunk {
    /// Before all tracks are gone through.
    pub(super) fn open_shelf(&mut self) {
        self.shelf = Shelf::default();
    }

    /// Whether a track may be fetched ahead; what is needed later than it may have to go.
    pub(super) fn find_room(&mut self, now: Local, id: Uuid) -> bool {
        let (Some(need), Some(track)) = (self.need(id), self.tracks.get(&id)) else { return false };
        if self.shelf.full.is_some_and(|full| full <= need) {
            return false;
        }
        let (room, size) = (self.options.stored, bytes(track));
        let used =
            self.shelf.used.unwrap_or_else(|| self.tracks.values().filter(|track| takes(track)).map(bytes).sum());
        let mut left = used;
        let mut leaving = Vec::new();
        if left.saturating_add(size) > room {
            let mut later: Vec<(Need, u64)> =
                self.tracks.iter().filter_map(|(id, track)| self.gives_way(*id, track)).collect();
            later.retain(|(other, _)| *other > need);
            later.sort_unstable();
            while left.saturating_add(size) > room
                && let Some(((_, _, last), size)) = later.pop()
            {
                left = left.saturating_sub(size);
                leaving.push(last);
            }
        }
        let fits = left.saturating_add(size) <= room;
        if fits {
            leaving.into_iter().for_each(|id| self.take_off(now, id));
            self.shelf.used = Some(left + size);
        } else {
            self.shelf.used = Some(used);
            self.shelf.full = Some(need);
        }
        fits
    }

    /// Once a second: people are told while something stays without room.
    pub(super) fn judge_shelf(&mut self, now: Local) {
        let (short, stored) = (self.shelf.full.is_some(), self.options.stored >> 20);
        self.stands(now, "disk.budget", short, || match short {
            true => format!(
                "not all that is to sound fits into the {stored} MiB that stored sound may take: what comes last waits for room; \
                 raise [node] stored_mib"
            ),
            false => "all that is to sound has room".to_owned(),
        });
    }

    fn need(&self, id: Uuid) -> Option<Need> {
        let track = self.tracks.get(&id)?;
        let prepared = self.book.get(track.broadcast)?.broadcast.prepared;
        let at = if prepared { Civil::default() } else { track.info.anchor };
        Some((!prepared && !track.emergency, at, id))
    }

    /// What a track would free, and how soon it is needed: neither what was made here, by an earlier process too, nor what
    /// is on the air.
    fn gives_way(&self, id: Uuid, track: &Track) -> Option<(Need, u64)> {
        let own = self.options.authority.as_ref().map(|key| key.id());
        let ours = own.is_some() && self.book.get(track.broadcast).map(|entry| entry.authority) == own;
        let may = takes(track) && !track.made_here && !ours && track.source.is_none() && !track.listening;
        Some((self.need(id).filter(|_| may)?, bytes(track)))
    }

    fn take_off(&mut self, now: Local, id: Uuid) {
        let Some(track) = self.tracks.get_mut(&id) else { return };
        track.have = Have::default();
        track.forget_unkept();
        let shed = |pending: &mut Pending| matches!(pending, Pending::Kept { track, .. } if *track == id);
        self.jobs.values_mut().filter_map(|pending| shed(pending).then_some(pending)).for_each(|pending| {
            // Written before it is forgotten: nothing of it is there then.
            *pending = Pending::Record;
        });
        let Some(track) = self.tracks.get_mut(&id) else { return };
        if track.fetch.take().is_some_and(|fetch| fetch.asked) {
            self.parents.unlisten(now, id);
        }
        self.dropped("stored");
        self.tell_branches(Command::Unstored { track: id });
        self.job(Pending::Record, Job::Forget { track: id });
    }
}

fn takes(track: &Track) -> bool {
    track.made_here || track.fetch.is_some() || !track.have.is_empty()
}

/// On the disk, when it is whole.
fn bytes(track: &Track) -> u64 {
    let packet = Writer::room(track.info.bitrate, track.info.duration) as u64 + AROUND;
    track.info.packets.unwrap_or(0).saturating_mul(packet)
}

/// Bytes around the sound of a packet: RTP header, time, seal and tag (DESIGN §3), and the record in its file.
const AROUND: u64 = 12 + 8 + 64 + 16 + 16;
