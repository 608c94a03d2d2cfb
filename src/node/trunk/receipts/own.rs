//! This node's own receipts, out of what the player, the tuner and the store say.

use super::{Row, is_stopped};
use crate::broadcast::State;
use crate::broadcast::receipt::{Receipt, Silence};
use crate::node::instants::spread;
use crate::node::trunk::Trunk;
use crate::playout::{self, Muted, class};
use crate::time::{Civil, Local, MILLISECOND, SECOND};
use uuid::Uuid;

pub struct Own {
    pub receipt: Receipt,
    /// Revisions that went up, and that the parent holds.
    pub sent: u32,
    pub held: u32,
    /// Packets that were missing when they were due.
    lost: u64,
    /// Out of the journal, where nothing is said of what became of it.
    pub unsaid: bool,
    /// What keeps it from sounding, should it never.
    why: &'static str,
}

impl Own {
    pub fn new(receipt: Receipt) -> Self {
        Self { receipt, sent: 0, held: 0, lost: 0, unsaid: false, why: "track.packets" }
    }
}

impl Trunk {
    /// What the player lets out, as it says it.
    pub(in super::super) fn note_playout(&mut self, now: Local, event: &playout::Event) {
        match event {
            playout::Event::Began { broadcast, at } => {
                self.change_own(now, *broadcast, |row| row.receipt.handle_began(*at))
            }
            playout::Event::Ended { broadcast, at, whole } => self.note_let_out(now, *broadcast, *at, *whole),
            playout::Event::Lost { track, .. } => {
                let broadcast = self.tracks.get(track).map(|track| track.broadcast);
                let row = broadcast.and_then(|broadcast| self.receipts.rows.get_mut(&broadcast));
                if let Some(own) = row.and_then(|row| row.own.as_mut()) {
                    own.lost += 1;
                }
            }
            playout::Event::Restarted { .. } => {}
        }
    }

    fn note_let_out(&mut self, now: Local, broadcast: Uuid, at: Civil, whole: bool) {
        let silence = self.silence(now, broadcast);
        let muted = self.player.as_ref().map_or(Muted::No, |player| player.muted(broadcast));
        let entry = self.book.get(broadcast);
        let packet = entry.and_then(|entry| entry.broadcast.renditions.first()).map_or(1, |info| info.packet_micros());
        let cancelled = entry.and_then(|entry| entry.cancelled_at).filter(|cancelled| *cancelled <= at + NEAR);
        let audio = entry
            .into_iter()
            .flat_map(|entry| &entry.broadcast.renditions)
            .find_map(|info| self.receipts.prints.get(&info.id)?.of(info.packets?));
        let ends = self.receipts.rows.get(&broadcast).map_or(at, |row| row.heard.ends) + self.late();
        self.change_own(now, broadcast, |own| {
            let lasted = own.receipt.from.map_or(0, |from| at - from).max(packet);
            let packets = (lasted / packet.max(1)).max(1).unsigned_abs();
            // One that is missing counts, however long the rest.
            let lost = (own.lost.saturating_mul(1_000).div_ceil(packets)).min(1_000) as u16;
            let mut changed = own.receipt.handle_let_out(at, lost);
            changed |= audio.is_some_and(|audio| own.receipt.handle_audio(audio));
            if muted != Muted::No {
                changed |= own.receipt.handle_silenced(at, Silence::Muted);
            }
            changed
                | match (cancelled, silence) {
                    // The player went through it, and nobody heard it.
                    _ if muted == Muted::Wholly => false,
                    _ if whole => own.receipt.handle_played(true),
                    (Some(_), _) => own.receipt.handle_cancelled(at),
                    (None, Some(silence)) if at + NEAR < ends => own.receipt.handle_silenced(at, silence),
                    // Nothing explains it, and it may go on.
                    _ if at + NEAR < ends => false,
                    _ => own.receipt.handle_played(false),
                }
        });
    }

    /// Whether a person's hand silences such a broadcast here.
    fn is_muted(&self, now: Local, broadcast: Uuid) -> bool {
        let (Some(player), Some(entry)) = (&self.player, self.book.get(broadcast)) else { return false };
        player.hands().is_muted(class(entry.broadcast.priority, entry.broadcast.purpose), now)
    }

    /// Why a broadcast that is on does not sound here.
    fn silence(&self, now: Local, broadcast: Uuid) -> Option<Silence> {
        let choice = self.tuned?;
        match choice.broadcast {
            _ if choice.hushed => Some(Silence::Hushed),
            _ if self.is_muted(now, broadcast) => Some(Silence::Muted),
            Some(other) if other != broadcast => Some(Silence::Preempted(other)),
            _ => None,
        }
    }

    /// All packets of a stored track are here.
    pub(in super::super) fn note_cached(&mut self, now: Local, broadcast: Uuid) {
        let Some(civil) = self.time.civil(now) else { return };
        let Some(row) = self.receipts.rows.get_mut(&broadcast) else { return };
        row.cached.get_or_insert(civil);
        row.dirty = true;
        let prepared = row.heard.prepared;
        self.change_own(now, broadcast, |own| {
            own.receipt.handle_cached(civil) | (prepared && own.receipt.close_done())
        });
    }

    /// What is silenced while it is on, and what is over.
    pub(super) fn settle_own(&mut self, now: Local, civil: Civil) {
        let open = |row: &Row| row.own.as_ref().is_some_and(|own| !own.receipt.closed);
        let open: Vec<Uuid> = self.receipts.rows.iter().filter(|(_, row)| open(row)).map(|(id, _)| *id).collect();
        // Everything sounds so much later here.
        let late = self.late();
        for id in open {
            let Some(row) = self.receipts.rows.get_mut(&id).filter(|row| !row.heard.prepared) else { continue };
            // Until its first sound, what went before it may have the loudspeaker.
            let delay = self.book.get(id).map_or(0, |entry| entry.broadcast.delay);
            let (begins, ends, over) =
                (row.heard.begins + delay + late, row.heard.ends + late, row.is_over(civil - late));
            let since = self.receipts.since;
            if over && row.own.as_ref().is_some_and(|own| own.unsaid) && since.is_none_or(|since| since >= ends) {
                // An earlier release, which gave none, may have played it.
                row.own = None;
                continue;
            }
            if over {
                let entry = self.book.get(id);
                let stopped = is_stopped(row, entry) || entry.is_some_and(|entry| entry.state == State::Cancelled);
                let off = self.receipts.since.is_none_or(|since| since >= ends);
                self.change_own(now, id, |own| {
                    let began = own.receipt.from.is_some();
                    let cancelled = stopped && own.receipt.handle_cancelled(ends);
                    cancelled | own.receipt.close(off, if began { STOPPED } else { own.why })
                });
            } else if begins + BEGUN <= civil {
                let why = self.obstacle(id);
                if let Some(own) = self.receipts.rows.get_mut(&id).and_then(|row| row.own.as_mut()) {
                    own.why = why;
                }
                // The tuner is asked ahead: what follows at the end does not cut in.
                if civil + NEAR < ends
                    && let Some(silence) = self.silence(now, id)
                {
                    self.change_own(now, id, |own| own.receipt.handle_silenced(civil, silence));
                }
            }
        }
    }

    fn obstacle(&self, broadcast: Uuid) -> &'static str {
        let mut tracks = self.tracks.values().filter(|track| track.broadcast == broadcast);
        match self.below.troubles.contains("sound.device") {
            true => "sound.device",
            false if tracks.any(|track| track.key.is_some()) => "track.packets",
            false => "track.key",
        }
    }

    fn change_own(&mut self, now: Local, order: Uuid, change: impl FnOnce(&mut Own) -> bool) {
        let own = self.receipts.rows.get_mut(&order).and_then(|row| row.own.as_mut());
        if own.is_some_and(change) {
            self.own_changed(now, order);
        }
    }

    /// Into the journal, and up; a relay that sounds counts itself among its children.
    pub(in super::super) fn own_changed(&mut self, now: Local, order: Uuid) {
        let Some(row) = self.receipts.rows.get(&order) else { return };
        let Some(receipt) = row.own.as_ref().map(|own| own.receipt.clone()) else { return };
        let wire = receipt.write();
        self.receipts.to_write.retain(|waits| !waits.node.is_empty() || waits.order != wire.order);
        self.receipts.to_write.push(wire);
        self.receipts.changed(order);
        if self.options.branches > 0 {
            self.enter_own(order, receipt);
        } else {
            self.send_soon(now);
        }
    }

    pub(super) fn send_soon(&mut self, now: Local) {
        let crowded = self.parents.session().is_some_and(|parent| parent.is_crowded());
        let within = if crowded { SENT_IN_A_CROWD } else { SENT };
        let phase = spread(self.options.node, within);
        let wait = (phase - now.0.rem_euclid(within)).rem_euclid(within);
        self.receipts.send_at.get_or_insert(now + wait);
    }
}

/// µs within which an end and the cause of it are one.
const NEAR: i64 = 400 * MILLISECOND;
/// µs that a broadcast may take to begin before it counts as silenced.
const BEGUN: i64 = SECOND;
/// Everybody's receipts go up within this, each node's at an instant of its own: 20,000 that begin at once.
const SENT: i64 = 3 * SECOND - 100 * MILLISECOND;
/// The same below a parent that asks its children to spare it, as one of thousands does: what they all say at once must not
/// hold up what they hear.
const SENT_IN_A_CROWD: i64 = 8 * SECOND;
/// It began, and the node did not live to see its end.
const STOPPED: &str = "node.stopped";
