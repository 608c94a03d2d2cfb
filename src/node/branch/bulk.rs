//! Bulk transfers of stored tracks: read from the store in small pieces, sent slower than what is live
//! on the same link (DESIGN §3).

use super::{Branch, Done, Job, Output, Standing, touches};
use crate::node::Link;
use crate::time::{Local, SECOND};
use crate::track::{MAX_PACKET, Packet};
use uuid::Uuid;

/// One child's fetch, in progress.
pub(super) struct Transfer {
    pub track: Uuid,
    next: u64,
    until: u64,
    /// A piece is being read.
    reading: bool,
    /// When the next piece may go.
    due: Local,
}

impl Branch {
    pub(super) fn fetch(&mut self, now: Local, link: Link, track: Uuid, from: u64, until: u64) {
        let Some(child) = self.children.get_mut(&link) else { return };
        let Standing::Member { area } = &child.standing else { return };
        let carried = self.tracks.get(&track).filter(|carried| touches(&carried.carry.areas, area));
        if carried.is_none() || until <= from {
            child.session.unavailable(track, "this parent has nothing stored of the track for your area");
            return;
        }
        child.transfers.retain(|transfer| transfer.track != track);
        if child.transfers.len() >= TRANSFERS {
            child.session.unavailable(track, "as many transfers as a session may have are under way");
            return;
        }
        child.transfers.push(Transfer { track, next: from, until, reading: false, due: now });
        self.advance_transfers(now, link);
    }

    /// Starts reading what is due, and sets the time for what is not.
    pub(super) fn advance_transfers(&mut self, now: Local, link: Link) {
        let Some(child) = self.children.get_mut(&link) else { return };
        for transfer in &mut child.transfers {
            let Some(carried) = self.tracks.get(&transfer.track) else { continue };
            if transfer.reading || transfer.next >= carried.carry.stored {
                continue;
            }
            if transfer.due > now {
                self.paced.insert((transfer.due, link));
                continue;
            }
            let until = transfer.until.min(carried.carry.stored).min(transfer.next + PIECE);
            transfer.reading = true;
            let job = self.next_job;
            self.next_job += 1;
            self.jobs.insert(job, (link, transfer.track));
            let work = Job::Fetch { track: transfer.track, from: transfer.next, until };
            self.outputs.push_back(Output::Job { job, work });
        }
    }

    pub(super) fn handle_done(&mut self, now: Local, job: u64, done: Done) {
        let Some((link, track)) = self.jobs.remove(&job) else { return };
        let Some(child) = self.children.get_mut(&link) else { return };
        let Some(place) = child.transfers.iter().position(|transfer| transfer.track == track) else { return };
        let transfer = &mut child.transfers[place];
        transfer.reading = false;
        let packets = match done {
            Done::Packets { packets, .. } => packets,
            Done::Ok | Done::Failed(_) => Vec::new(),
        };
        let Some(last) = packets.last() else {
            // Promised by `Stored` and not readable: the child asks again, or gets it live.
            child.transfers.remove(place);
            child.session.bulk(track, &[], true);
            self.settle(now, link);
            return;
        };
        transfer.next = last.index + 1;
        let finished = transfer.next >= transfer.until;
        let rate = if child.listens.is_empty() { self.options.bulk_idle } else { self.options.bulk_live };
        transfer.due = now + cost(&packets) * SECOND / rate.max(1) as i64;
        self.counters.bulk_packets += packets.len() as u64;
        child.session.bulk(track, &packets, finished);
        if finished {
            child.transfers.remove(place);
        }
        self.settle(now, link);
        self.advance_transfers(now, link);
    }
}

fn cost(packets: &[Packet]) -> i64 {
    packets.iter().map(|packet| packet.bytes.len().min(MAX_PACKET) as i64).sum()
}

/// Transfers of one child at once: the next two bulletins and their revisions.
const TRANSFERS: usize = 4;
/// Packets read and sent at a time: 4 at 830 bytes are 0.8 s at the slow rate.
const PIECE: u64 = 4;
