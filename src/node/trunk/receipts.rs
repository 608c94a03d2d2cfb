//! Receipts on their way up (`broadcast::receipt`): a node's own, out of what its player says; those of its children,
//! summed; and what all of it comes to at whoever asks.
//!
//! ```text
//!  player, tuner ─▶ own ─▶ journal                                          speaker
//!                    │ ≤ 3 s, at an instant of the node's own; acknowledged
//!                    ▼
//!                  rows: an entry for each child ─▶ journal what is final   relay
//!                    │ judged and summed, ≤ once in 2 s an order
//!                    ▼
//!                  rows: a sum for each relay below ─▶ accounts             every relay above
//! ```
//!
//! # Who counts, and where
//!
//! A loudspeaker is expected where its line stands, by the relay that this line names as its parent, if it stands in the
//! order's areas and is not exempt while the order is in force, or until 30 s after. That relay alone counts it; sums travel
//! up one for each relay, not added up, so that whoever is higher knows whose they are. A node that goes to another
//! parent tells that one all that it told the first; the first forgets it, or, if it does not learn of that, names it as
//! out of touch. Above, where lines of both are known, what a relay says by name of a node whose line names another
//! parent does not count; and of a relay that is gone, nobody is counted whose line has gone elsewhere.
//!
//! # What is said of a node that gave no receipt
//!
//! | | | |
//! |---|---|---|
//! | its line says that it is in touch | for less than 10 s since the order, or since it came back | pending |
//! | | longer | not reached |
//! | it is out of touch, and was so when the order came, ever since | the order is not over yet | unknown |
//! | | it is over | not reached |
//! | it went out of touch later | | unknown, until it says itself |
//!
//! One that gave a receipt which is not its last, and is out of touch now, is unknown too: it may have sounded what it
//! had cached. Of nodes under a relay that is out of touch the same is said by that relay's line. The relay is asked what
//! is missing when it comes back, and so is a node: its parent sends the orders that are over and of which it has no
//! word, and who never heard of one says that it missed it.
//!
//! # What is kept
//!
//! Own receipts stand in the journal as they change, so that offline days and restarts cost none; final ones of children
//! stand in their parent's, before they are acknowledged. Sums are told anew to every new parent. Orders are held for
//! seven days, or the newest 256.

mod account;
mod own;
mod rows;
mod send;
mod shares;

pub use account::Account;

use super::{Command, Link, Pending, Trunk};
use crate::broadcast::receipt::{Audio, Heard, Outcome, Receipt, Sum};
use crate::broadcast::{Area, Body, Kind, Order};
use crate::proto;
use crate::time::{Civil, Local, SECOND};
use crate::track::{Print, Sound};
use own::Own;
use send::Flight;
use shares::{Held, Shares};
use std::collections::BTreeMap;
use uuid::Uuid;

#[derive(Default)]
pub(super) struct Receipts {
    rows: BTreeMap<Uuid, Row>,
    /// Entries in all rows.
    entries: usize,
    shares: Shares,
    /// When this process first knew the time: before, the node was off.
    since: Option<Civil>,
    /// Hashes of tracks under way.
    prints: BTreeMap<Uuid, Print>,
    /// For the journal, and who waits for it.
    to_write: Vec<proto::Receipt>,
    acks: Vec<Ack>,
    /// Messages that the parent has not answered.
    flights: BTreeMap<u64, Flight>,
    batch: u64,
    send_at: Option<Local>,
    judge_at: Local,
    /// Orders that a parent lacks word of, until the time is known.
    early: Vec<proto::Signed>,
    /// How many were looked at in this second.
    asked: usize,
    /// Rises with every change that somebody may look at.
    version: u64,
}

/// One order.
struct Row {
    heard: Heard,
    /// When this node took it in, and held all of its packets ahead of air time.
    received: Civil,
    cached: Option<Civil>,
    /// From a root down to all who signed it, as they were when it came.
    grants: Vec<proto::Signed>,
    own: Option<Own>,
    /// Children by name.
    entries: BTreeMap<Uuid, Entry>,
    /// By relay; this node's own too.
    sums: BTreeMap<Uuid, Held>,
    /// Of its renditions, as they came by here.
    audio: BTreeMap<Uuid, Audio>,
    dirty: bool,
    /// Whom it concerns has been looked up once.
    counted: bool,
    /// Over, and judged for the last time but for what still comes.
    settled: bool,
    /// When it is judged again although nobody says anything new.
    judged_at: Civil,
    version: u64,
}

/// What a child that is expected has said.
struct Entry {
    receipt: Option<Box<Receipt>>,
    area: Area,
    /// It was out of touch when the order came, and has been since.
    gone: bool,
    /// When it was first seen in touch.
    back: Option<Civil>,
}

/// A child's message, to be acknowledged.
pub(super) struct Ack {
    branch: usize,
    link: Link,
    batch: u64,
}

impl Row {
    fn new(heard: Heard, received: Civil) -> Self {
        Self {
            heard,
            received,
            cached: None,
            grants: Vec::new(),
            own: None,
            entries: BTreeMap::new(),
            sums: BTreeMap::new(),
            audio: BTreeMap::new(),
            dirty: true,
            counted: false,
            settled: false,
            judged_at: Civil(0),
            version: 0,
        }
    }

    fn is_over(&self, civil: Civil) -> bool {
        civil >= self.heard.ends + SETTLE
    }

    /// Whether a parent still has to hear something of it.
    fn is_owed(&self) -> bool {
        self.own.as_ref().is_some_and(|own| own.held < own.receipt.revision)
            || self.sums.values().any(|held| held.held < held.revision)
    }
}

impl Trunk {
    /// An order that this node took in, or a revision of one.
    pub(super) fn hear(&mut self, now: Local, order: &Order, signed: &proto::Signed) {
        let civil = self.time.civil(now).unwrap_or(order.issued);
        if self.hear_at(civil, order, signed) {
            self.own_changed(now, order.id);
        }
    }

    /// Whether there is a new receipt of its own.
    pub(super) fn hear_at(&mut self, civil: Civil, order: &Order, signed: &proto::Signed) -> bool {
        let (Some(heard), Some(place)) = (Heard::of(order, signed), &self.place) else { return false };
        if let Body::Cancel(cancel) = &order.body
            && let Some(row) = self.receipts.rows.get_mut(&cancel.broadcast)
        {
            row.heard.ends = row.heard.ends.min(cancel.at);
            row.dirty = true;
        }
        let own = self.player.is_some() && heard.concerns(place.area.as_str());
        if self.options.branches == 0 && !own {
            return false;
        }
        let cancelled = self.book.get(order.id).and_then(|entry| entry.cancelled_at);
        let ends = cancelled.map_or(heard.ends, |at| heard.ends.min(at));
        if let Some(row) = self.receipts.rows.get_mut(&order.id) {
            row.heard = Heard { ends, ..heard };
            row.dirty = true;
            return false;
        }
        self.make_room(civil);
        let mut row = Row::new(Heard { ends, ..heard }, civil);
        row.grants = self.authorities.chains(signed, order.issued);
        if own {
            let mut receipt = match row.heard.sounds() && row.heard.ends <= civil {
                true => Receipt::missed(order.id, civil),
                false => Receipt::new(order.id, civil),
            };
            if !row.heard.sounds() && !row.heard.prepared {
                receipt.close_done();
            }
            row.own = Some(Own::new(receipt));
        }
        self.receipts.rows.insert(order.id, row);
        own
    }

    /// The oldest that nobody waits for goes first.
    fn make_room(&mut self, civil: Civil) {
        let receipts = &mut self.receipts;
        let old: Vec<Uuid> = receipts
            .rows
            .iter()
            .filter(|(_, row)| row.heard.ends + KEPT < civil && !row.is_owed())
            .map(|(order, _)| *order)
            .collect();
        for order in old {
            receipts.remove(order);
        }
        while receipts.rows.len() >= ORDERS || receipts.entries >= ENTRIES {
            let age = |(order, row): (&Uuid, &Row)| (row.is_owed(), row.heard.ends, *order);
            let Some((owed, _, order)) = receipts.rows.iter().map(age).min() else { return };
            receipts.remove(order);
            // After years the journal has more.
            if owed && receipts.since.is_some() {
                *self.counters.dropped.entry(QUEUE).or_default() += 1;
            }
        }
    }

    /// Once a second: what has ended, what is to be written, what is to be asked for anew.
    pub(super) fn settle_receipts(&mut self, now: Local) {
        self.receipts.asked = 0;
        let Some(civil) = self.time.civil(now) else { return };
        if self.receipts.since.is_none() {
            self.receipts.since = Some(civil);
            for signed in std::mem::take(&mut self.receipts.early) {
                self.handle_lacking(now, signed);
            }
        }
        self.settle_own(now, civil);
        if self.options.branches > 0 && self.receipts.judge_at <= now {
            self.receipts.judge_at = now + JUDGED;
            self.judge(civil);
            self.send_sums(now);
        }
        self.write_receipts(now);
        self.send_again(now);
    }

    /// A track is over: what is known of its sound stays.
    pub(super) fn end_print(&mut self, broadcast: Uuid, track: Uuid, packets: Option<u64>) {
        let Some(print) = self.receipts.prints.remove(&track) else { return };
        let audio = packets.and_then(|packets| print.of(packets));
        if let (Some(audio), Some(row)) = (audio, self.receipts.rows.get_mut(&broadcast)) {
            row.audio.insert(track, audio);
            row.dirty = true;
        }
    }

    fn write_receipts(&mut self, now: Local) {
        let receipts = std::mem::take(&mut self.receipts.to_write);
        let acks = std::mem::take(&mut self.receipts.acks);
        if receipts.is_empty() {
            return self.acknowledge(acks);
        }
        let record = |receipts: &[proto::Receipt]| proto::Record {
            body: Some(proto::record::Body::Receipts(proto::Kept { receipts: receipts.to_vec() })),
        };
        let records = receipts.chunks(WRITTEN).map(record).collect();
        self.journal(now, records, Pending::Receipts(acks));
    }

    /// What the parent of these children holds for good now.
    pub(super) fn acknowledge(&mut self, acks: Vec<Ack>) {
        for Ack { branch, link, batch } in acks {
            let receipted = Box::new(proto::Receipted { batch, lacking: Vec::new() });
            let command = Command::Receipted { link, receipted };
            self.outputs.push_back(super::Output::Branch { branch: Some(branch), command });
        }
    }

    /// Out of the journal, after the order that it is of.
    pub(super) fn restore_receipts(&mut self, kept: proto::Kept) {
        for wire in kept.receipts {
            let Some(receipt) = Receipt::read(&wire, Civil(i64::MAX)) else { continue };
            let Some(row) = self.receipts.rows.get_mut(&receipt.order) else { continue };
            match Uuid::from_slice(&wire.node) {
                Ok(node) => {
                    let Ok(area) = wire.area.parse() else { continue };
                    let entry = row.entries.entry(node).or_insert_with(|| {
                        self.receipts.entries += 1;
                        Entry { receipt: None, area, gone: false, back: None }
                    });
                    if entry.receipt.as_ref().is_none_or(|held| held.is_older_than(&receipt)) {
                        entry.receipt = Some(Box::new(receipt));
                    }
                }
                Err(_) => {
                    if row.own.as_ref().is_none_or(|own| own.receipt.is_older_than(&receipt)) {
                        row.own = Some(Own::new(receipt));
                    }
                }
            }
        }
    }

    /// An order out of the journal.
    pub(super) fn restore_heard(&mut self, order: &Order, signed: &proto::Signed) {
        self.hear_at(order.issued, order, signed);
        if let Some(row) = self.receipts.rows.get_mut(&order.id) {
            // Who was expected then is not who stands here now.
            row.counted = true;
            row.own.iter_mut().for_each(|own| own.unsaid = true);
        }
    }

    /// Another parent counts it from now on.
    pub(super) fn forget_receipts(&mut self, node: Uuid) {
        for row in self.receipts.rows.values_mut() {
            if row.entries.remove(&node).is_some() {
                self.receipts.entries -= 1;
                row.dirty = true;
            }
        }
    }
}

impl Receipts {
    fn remove(&mut self, order: Uuid) {
        if let Some(row) = self.rows.remove(&order) {
            self.entries -= row.entries.len();
            row.sums.values().for_each(|held| self.shares.give_back(held.child, held.size()));
        }
    }

    /// Verified sound of a track.
    pub fn take(&mut self, track: Uuid, sound: &Sound) {
        self.prints.entry(track).or_default().take(sound);
    }

    /// When something is to be sent.
    pub fn poll_timeout(&self) -> Option<Local> {
        self.send_at
    }

    fn changed(&mut self, order: Uuid) {
        self.version += 1;
        if let Some(row) = self.rows.get_mut(&order) {
            row.version = self.version;
        }
    }
}

/// Whether an order is a broadcast that was stopped before its own end.
fn is_stopped(row: &Row, entry: Option<&crate::broadcast::Entry>) -> bool {
    row.heard.kind == Kind::Broadcast && entry.is_some_and(|entry| entry.cancelled_at.is_some())
}

/// As [`super::QUEUES`] names what had no room here.
pub(super) const QUEUE: &str = "receipts";
/// Orders of which receipts are held, and for how long: ten bulletins a day for a commune that is cut off for weeks, a
/// hundred a day at a country's origin, which has a store besides.
const ORDERS: usize = 256;
const KEPT: i64 = 7 * 24 * 3_600 * SECOND;
/// Receipts of children in all: some 200 bytes each, so 80 MiB.
const ENTRIES: usize = 400_000;
/// µs after an order's end at which no more is expected of the player, which plans ahead of the device.
const SETTLE: i64 = 2 * SECOND;
/// µs between two sums of one order.
const JUDGED: i64 = 2 * SECOND;
/// Receipts in one record of the journal, which has 64 KiB.
const WRITTEN: usize = 128;

/// Sums of all areas of one order, by outcome.
pub(super) type Totals = [u64; Outcome::ALL.len()];
