//! SRTP keys of tracks: from whom they come, and what waits for its order.

use super::tracks::Keyed;
use super::{Command, Pending, Reject, Trunk};
use crate::node::branch::Carry;
use crate::proto::{self, record};
use crate::time::Local;
use crate::track::{Info, Reader, Secret, together};
use uuid::Uuid;

/// How a track's key has come to this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Brought {
    /// Made here, or on the parent's control stream: each child is told in the same way.
    Link,
    /// With its order: all below have it too.
    Log,
    Journal,
}

impl Trunk {
    /// The SRTP key of a track, from the parent, the journal or this node's own making.
    pub(super) fn handle_key(&mut self, now: Local, id: Uuid, secret: Secret, brought: Brought) {
        let Some(track) = self.tracks.get_mut(&id) else {
            self.hold_early(id, secret, brought);
            return;
        };
        if track.key.is_some() {
            return;
        }
        let Some(reader) = Reader::new(&track.info, &secret) else {
            *self.counters.packets_rejected.entry(Reject::Tag).or_default() += 1;
            return;
        };
        track.key = Some(Keyed::new(reader));
        let keep = brought != Brought::Journal && track.stored && !track.made_here;
        let carry = Carry {
            track: id,
            ssrc: track.info.ssrc,
            secret: secret.clone(),
            log: false,
            emergency: track.emergency && track.first,
            rode: brought == Brought::Log,
            areas: track.areas.clone(),
            duration: track.info.packet_micros(),
            delay: track.delay,
            rate: rate(&track.info),
            together: if track.emergency { 1 } else { together(track.delay, track.info.packet_micros()) },
            next: 0,
            stored: if track.stored { track.have.until } else { 0 },
        };
        self.tell_branches(Command::Carry(carry));
        if keep {
            self.journal_key(now, id, &secret);
        }
        self.tune(now);
    }

    /// A secret that came before its order. The longest held goes first: its order was refused, is over,
    /// or was lost, and the next join brings both again.
    pub(super) fn hold_early(&mut self, id: Uuid, secret: Secret, brought: Brought) {
        if self.early.insert(id, (secret, brought)).is_none() {
            self.early_ids.push_back(id);
        }
        let Self { early, early_ids, .. } = self;
        early_ids.retain(|id| early.contains_key(id));
        while early_ids.len() > EARLY
            && let Some(oldest) = early_ids.pop_front()
        {
            early.remove(&oldest);
        }
    }

    pub(super) fn journal_key(&mut self, now: Local, track: Uuid, secret: &Secret) {
        let track = track.as_bytes().to_vec().into();
        let key = proto::StoredKey { track, secret: Some(secret.to_proto()) };
        self.journal(now, vec![proto::Record { body: Some(record::Body::Key(key)) }], Pending::Record);
    }
}

/// Media bytes per second of a track: the Opus rate and 100 bytes a packet.
fn rate(info: &Info) -> u32 {
    let overhead = 100 * crate::time::RATE / info.duration.max(1);
    info.bitrate / 8 + overhead
}

/// Secrets that wait for their order, which waits for the disk: as many as a parent carries tracks.
const EARLY: usize = 2_048;
