//! Up to the parent that leads: repeated until it says that it holds them, and told anew to every other.

use super::{Own, Row};
use crate::node::trunk::Trunk;
use crate::proto;
use crate::session::{MOST_LACKING, MOST_RECEIPTS};
use crate::time::{Local, SECOND};
use uuid::Uuid;

/// A message that has not been answered.
pub struct Flight {
    sent: Local,
    own: Vec<(Uuid, u32)>,
    /// Order, relay, revision.
    sums: Vec<(Uuid, Uuid, u64)>,
}

impl Trunk {
    /// Its instant has come.
    pub(in super::super) fn handle_receipts_due(&mut self, now: Local) {
        self.receipts.send_at = None;
        self.send_own(now);
    }

    /// All that the parent has not heard, in one message: emergencies first, then the newest.
    fn send_own(&mut self, now: Local) {
        if self.options.branches > 0 || self.parents.session().is_none() {
            return;
        }
        let unsent = |row: &&Row| row.own.as_ref().is_some_and(|own| own.sent < own.receipt.revision);
        let mut rows: Vec<&Row> = self.receipts.rows.values().filter(unsent).collect();
        rows.sort_by_key(|row| (!row.heard.is_urgent(), std::cmp::Reverse(row.heard.issued)));
        let orders: Vec<Uuid> = rows.iter().map(|row| row.heard.order).collect();
        if orders.is_empty() || self.receipts.flights.len() >= FLIGHTS {
            return;
        }
        let mut own = Vec::new();
        let mut sent = Vec::new();
        for order in orders.iter().take(MOST_RECEIPTS) {
            let Some(held) = self.receipts.rows.get_mut(order).and_then(|row| row.own.as_mut()) else { continue };
            let Own { receipt, sent: revision, .. } = held;
            *revision = receipt.revision;
            own.push(receipt.write());
            sent.push((*order, receipt.revision));
        }
        let flight = Flight { sent: now, own: sent, sums: Vec::new() };
        self.give_receipts(proto::Receipts { batch: 0, own, sums: Vec::new() }, flight);
        if orders.len() > MOST_RECEIPTS {
            self.receipts.send_at = Some(now + SECOND);
        }
    }

    /// What has changed at this relay and those below it.
    pub(super) fn send_sums(&mut self, now: Local) {
        if self.parents.session().is_none() {
            return;
        }
        let mut unsent: Vec<_> = Vec::new();
        for (order, row) in &self.receipts.rows {
            let changed = row.sums.iter().filter(|(_, held)| held.sent < held.revision);
            unsent.extend(
                changed.map(|(relay, _)| (!row.heard.is_urgent(), std::cmp::Reverse(row.heard.issued), *order, *relay)),
            );
        }
        unsent.sort_unstable();
        let mut unsent = unsent.into_iter().peekable();
        for _ in 0..MESSAGES {
            if unsent.peek().is_none() || self.receipts.flights.len() >= FLIGHTS {
                return;
            }
            let (mut sums, mut told, mut bytes) = (Vec::new(), Vec::new(), 0);
            while let Some((_, _, order, relay)) = unsent.peek().copied() {
                let row = self.receipts.rows.get_mut(&order);
                let Some(held) = row.and_then(|row| row.sums.get_mut(&relay)) else { break };
                bytes += held.wire.len();
                if !sums.is_empty() && (bytes > MESSAGE || sums.len() >= MOST_RECEIPTS) {
                    break;
                }
                held.sent = held.revision;
                told.push((order, relay, held.revision));
                sums.extend(held.message());
                unsent.next();
            }
            let flight = Flight { sent: now, own: Vec::new(), sums: told };
            self.give_receipts(proto::Receipts { batch: 0, own: Vec::new(), sums }, flight);
        }
    }

    fn give_receipts(&mut self, receipts: proto::Receipts, flight: Flight) {
        // The 0 is that of questions.
        self.receipts.batch += 1;
        let batch = self.receipts.batch;
        if let Some(child) = self.parents.session() {
            child.receipts(proto::Receipts { batch, ..receipts });
            self.receipts.flights.insert(batch, flight);
        }
    }

    /// The parent holds what a message said, or has no word of some orders.
    pub(in super::super) fn handle_receipted(&mut self, now: Local, receipted: proto::Receipted) {
        if let Some(flight) = self.receipts.flights.remove(&receipted.batch) {
            for (order, revision) in flight.own {
                if let Some(own) = self.receipts.rows.get_mut(&order).and_then(|row| row.own.as_mut()) {
                    own.held = own.held.max(revision);
                }
            }
            for (order, relay, revision) in flight.sums {
                let row = self.receipts.rows.get_mut(&order);
                if let Some(held) = row.and_then(|row| row.sums.get_mut(&relay)) {
                    held.held = held.held.max(revision);
                }
            }
        }
        for signed in receipted.lacking.into_iter().take(MOST_LACKING) {
            self.handle_lacking(now, signed);
        }
    }

    /// Another parent leads, or the same one anew: it hears all that it may need.
    pub(in super::super) fn tell_receipts_again(&mut self, now: Local) {
        self.receipts.flights.clear();
        let civil = self.time.civil(now);
        for row in self.receipts.rows.values_mut() {
            let old = civil.is_some_and(|civil| row.heard.ends + AGAIN < civil);
            if let Some(own) = &mut row.own {
                own.sent = if old { own.held } else { 0 };
            }
            for held in row.sums.values_mut() {
                held.sent = if old { held.held } else { 0 };
            }
        }
        self.send_soon(now);
    }

    /// What was not answered: the parent's disk may have refused it.
    pub(super) fn send_again(&mut self, now: Local) {
        let late = self.receipts.flights.iter().filter(|(_, flight)| flight.sent + PATIENCE <= now);
        for batch in late.map(|(batch, _)| *batch).collect::<Vec<_>>() {
            let Some(flight) = self.receipts.flights.remove(&batch) else { continue };
            for (order, _) in flight.own {
                if let Some(own) = self.receipts.rows.get_mut(&order).and_then(|row| row.own.as_mut()) {
                    own.sent = own.held;
                }
            }
            for (order, relay, _) in flight.sums {
                let row = self.receipts.rows.get_mut(&order);
                if let Some(held) = row.and_then(|row| row.sums.get_mut(&relay)) {
                    held.sent = held.held;
                }
            }
            self.send_soon(now);
        }
    }
}

/// Messages that wait for an answer: more change while the first is being written to a disk.
const FLIGHTS: usize = 16;
/// µs after which one is sent again.
const PATIENCE: i64 = 15 * SECOND;
/// Bytes of sums in one message, which has 64 KiB.
const MESSAGE: usize = 40_000;
/// Messages with sums in one turn: of 3,400 relays the last is heard after some turns.
const MESSAGES: usize = 8;
/// µs after an order's end for which another parent is told of it, if the one before holds it.
const AGAIN: i64 = 24 * 3_600 * SECOND;
