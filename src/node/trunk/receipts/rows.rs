//! A relay's rows: an entry for each child that an order concerns, judged and summed.

use super::{Ack, ENTRIES, Entry, Held, Outcome, QUEUE, Receipt, Row, Sum, Totals};
use crate::broadcast::Area;
use crate::node::branch::Told;
use crate::node::trunk::below::Line;
use crate::node::trunk::{Command, Link, Output, Role, Trunk};
use crate::proto;
use crate::session::MOST_LACKING;
use crate::time::{Civil, Local, SECOND};
use std::collections::btree_map;
use uuid::Uuid;

impl Trunk {
    /// What children say of themselves and of those below.
    pub(in super::super) fn handle_receipts(&mut self, now: Local, branch: usize, told: Vec<Told>) {
        let Some(civil) = self.time.civil(now) else { return };
        for Told { link, node, receipts } in told {
            // Whoever stands by tells another parent.
            let Some(area) = self.below.area_of(node, branch, link) else { continue };
            let mut written = false;
            for wire in &receipts.own {
                match Receipt::read(wire, civil + FUTURE) {
                    Some(receipt) => written |= self.enter(civil, node, &area, receipt),
                    None => self.dropped(QUEUE),
                }
            }
            for wire in &receipts.sums {
                match Sum::read(wire, civil + FUTURE) {
                    Some(sum) => self.take_sum(node, sum),
                    None => self.dropped(QUEUE),
                }
            }
            let ack = Ack { branch, link, batch: receipts.batch };
            match written {
                true => self.receipts.acks.push(ack),
                false => self.acknowledge(vec![ack]),
            }
        }
        if self.receipts.acks.len() >= ACKS {
            self.write_receipts(now);
        }
    }

    /// Whether it is to be written down before it is acknowledged. Of orders that are forgotten nothing is kept.
    fn enter(&mut self, civil: Civil, node: Uuid, area: &Area, receipt: Receipt) -> bool {
        let order = receipt.order;
        let room = self.receipts.entries < ENTRIES;
        let Some(row) = self.receipts.rows.get_mut(&order) else { return false };
        if !row.heard.concerns(area.as_str()) {
            return false;
        }
        let entry = match row.entries.entry(node) {
            btree_map::Entry::Occupied(entry) => entry.into_mut(),
            btree_map::Entry::Vacant(_) if !room => {
                *self.counters.dropped.entry(QUEUE).or_default() += 1;
                return false;
            }
            btree_map::Entry::Vacant(place) => {
                self.receipts.entries += 1;
                place.insert(Entry { receipt: None, area: area.clone(), gone: false, back: Some(civil) })
            }
        };
        if entry.receipt.as_ref().is_some_and(|held| !held.is_older_than(&receipt)) {
            return false;
        }
        let last = receipt.closed;
        if last {
            let node = node.as_bytes().to_vec().into();
            self.receipts.to_write.push(proto::Receipt { node, area: area.to_string(), ..receipt.write() });
        }
        entry.receipt = Some(Box::new(receipt));
        row.dirty = true;
        last
    }

    /// This node sounds itself.
    pub(super) fn enter_own(&mut self, order: Uuid, receipt: Receipt) {
        let Some(area) = self.place.as_ref().map(|place| place.area.clone()) else { return };
        let Some(row) = self.receipts.rows.get_mut(&order) else { return };
        let entry = row.entries.entry(self.options.node).or_insert_with(|| {
            self.receipts.entries += 1;
            Entry { receipt: None, area, gone: false, back: None }
        });
        entry.receipt = Some(Box::new(receipt));
        row.dirty = true;
    }

    /// `child`: who brought it. It may speak for itself and for relays that it leads to.
    fn take_sum(&mut self, child: Uuid, mut sum: Sum) {
        let leads = |relay: Uuid| {
            let mut at = relay;
            for _ in 0..DEEPEST {
                if at == child {
                    return true;
                }
                match self.below.lines.get(at).map(Line::stands_below) {
                    Some(parent) => at = parent,
                    None => return false,
                }
            }
            false
        };
        if sum.relay == self.options.node || !leads(sum.relay) {
            return self.dropped(QUEUE);
        }
        let order = sum.order;
        let Some(row) = self.receipts.rows.get_mut(&order) else { return };
        if !row.sums.contains_key(&sum.relay) {
            let brought = || row.sums.values().filter(|held| held.child == child).count();
            if row.sums.len() >= 2 * RELAYS || row.sums.len() >= RELAYS && brought() >= RELAYS {
                return self.dropped(QUEUE);
            }
        }
        let known = row.sums.get(&sum.relay);
        if known.is_some_and(|held| held.revision >= sum.revision) {
            return;
        }
        // A relay that has moved is brought by another.
        let (sent, held) = known.map_or((0, 0), |known| (known.sent, known.held));
        let Some(new) = self.receipts.shares.take(child, known, &mut sum) else { return self.dropped(QUEUE) };
        row.sums.insert(sum.relay, Held { sent, held, ..new });
        self.receipts.changed(order);
    }

    /// Sums anew what has changed, and what the time alone changes.
    pub(super) fn judge(&mut self, civil: Civil) {
        let due = |row: &Row| row.dirty || !row.settled && row.judged_at <= civil;
        let mut orders: Vec<(bool, bool, Uuid, usize)> = Vec::new();
        for (order, row) in self.receipts.rows.iter().filter(|(_, row)| due(row)) {
            orders.push((row.settled, !row.heard.is_urgent(), *order, row.entries.len()));
        }
        if orders.is_empty() {
            return;
        }
        orders.sort_unstable();
        let own = self.options.node;
        let mut direct = Vec::new();
        for (node, line) in self.below.lines.iter().filter(|(_, line)| line.stands_below() == own && line.is_expected())
        {
            if let Ok(area) = line.area().parse::<Area>() {
                direct.push((node, area, line.is_gone()));
            }
        }
        let mut looked_at = 0;
        for (.., order, entries) in orders {
            self.expect(civil, order, &direct);
            self.sum(civil, order);
            looked_at += entries.max(direct.len());
            if looked_at >= LOOKED_AT {
                break;
            }
        }
        self.counters.receipts = self.totals();
    }

    /// A child is out of touch: it may be counted elsewhere, so its parent names it from now on.
    pub(in super::super) fn name_lost(&mut self, now: Local, node: Uuid) {
        let Some(civil) = self.time.civil(now) else { return };
        for row in self.receipts.rows.values_mut() {
            row.dirty |= civil < row.heard.ends + ASKED && row.entries.contains_key(&node);
        }
    }

    /// Whom it concerns, while that can still change. `direct`: whoever this node is parent of, and is out of touch.
    fn expect(&mut self, civil: Civil, order: Uuid, direct: &[(Uuid, Area, bool)]) {
        let Some(row) = self.receipts.rows.get_mut(&order) else { return };
        if std::mem::replace(&mut row.counted, true) && civil >= row.heard.ends + GRACE {
            return;
        }
        for (node, area, gone) in direct {
            if let Some(entry) = row.entries.get_mut(node) {
                if entry.gone && !gone {
                    (entry.gone, entry.back) = (false, Some(civil));
                }
                continue;
            }
            if !row.heard.concerns(area.as_str()) {
                continue;
            }
            if self.receipts.entries >= ENTRIES {
                *self.counters.dropped.entry(QUEUE).or_default() += 1;
                break;
            }
            self.receipts.entries += 1;
            let entry = Entry { receipt: None, area: area.clone(), gone: *gone, back: (!gone).then_some(civil) };
            row.entries.insert(*node, entry);
        }
    }

    fn sum(&mut self, civil: Civil, order: Uuid) {
        let own = self.options.node;
        let Some(row) = self.receipts.rows.get_mut(&order) else { return };
        let mut sum = Sum::new(order, own);
        (sum.received, sum.cached) = (Some(row.received), row.cached);
        for (node, entry) in &row.entries {
            let line = self.below.lines.get(*node);
            if *node != own && line.is_some_and(|line| line.stands_below() != own || !line.is_expected()) {
                continue;
            }
            let gone = *node != own && line.is_none_or(Line::is_gone);
            let outcome = outcome_of(row, entry, gone, civil);
            sum.add(*node, &entry.area, outcome, entry.receipt.as_deref(), gone);
        }
        sum.finish();
        row.dirty = false;
        row.settled = civil >= row.heard.ends + GRACE && civil >= row.received + GRACE;
        row.judged_at = civil + pause(row, civil);
        let before = row.sums.get(&own);
        if !before.and_then(Held::sum).is_some_and(|before| before.says(&sum)) {
            let (revision, sent, held) = before.map_or((0, 0, 0), |held| (held.revision, held.sent, held.held));
            // Above that of an earlier process too.
            sum.revision = (revision + 1).max(civil.0.max(0).unsigned_abs());
            row.sums.insert(own, Held { sent, held, ..Held::new(&sum, own) });
            self.receipts.changed(order);
        }
    }

    /// The newest broadcast that has begun.
    fn totals(&self) -> Totals {
        let sounding = self.receipts.rows.values().filter(|row| row.heard.sounds());
        let mut totals = Totals::default();
        let Some(newest) = sounding.max_by_key(|row| (row.heard.issued, row.heard.order)) else { return totals };
        for tally in newest.sums.values().filter_map(Held::sum).flat_map(|sum| sum.areas.into_values()) {
            for (outcome, count) in tally.counts() {
                totals[outcome as usize] += u64::from(count);
            }
        }
        totals
    }

    /// Orders that are over and of which this node has no word of a child that joins.
    pub(in super::super) fn lacking(&self, now: Local, node: Uuid, role: Role, area: &Area) -> Vec<proto::Signed> {
        let Some(civil) = self.time.civil(now) else { return Vec::new() };
        let concerns = |row: &Row| match role {
            Role::Relay => row.heard.areas.iter().any(|of| of.touches(area)),
            Role::Speaker | Role::New => row.heard.concerns(area.as_str()),
        };
        let unsaid = |row: &Row| match role {
            Role::Relay => !row.sums.contains_key(&node),
            Role::Speaker | Role::New => row.entries.get(&node).is_none_or(|entry| entry.receipt.is_none()),
        };
        let recent = |row: &Row| row.is_over(civil) && civil < row.heard.ends + ASKED;
        let mut rows: Vec<&Row> = self
            .receipts
            .rows
            .values()
            .filter(|row| row.heard.sounds() && recent(row) && concerns(row) && unsaid(row))
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.heard.issued));
        rows.into_iter().take(MOST_LACKING).map(|row| row.heard.signed.clone()).collect()
    }

    /// Asks a child after them, once it is welcomed.
    pub(in super::super) fn ask_lacking(&mut self, branch: usize, link: Link, lacking: Vec<proto::Signed>) {
        if !lacking.is_empty() {
            let receipted = Box::new(proto::Receipted { batch: 0, lacking });
            let command = Command::Receipted { link, receipted };
            self.outputs.push_back(Output::Branch { branch: Some(branch), command });
        }
    }

    /// The parent has no word of an order that is over. Whoever never heard of it missed it, and so did those below.
    pub(super) fn handle_lacking(&mut self, now: Local, signed: proto::Signed) {
        let Some(civil) = self.time.civil(now) else {
            if self.receipts.early.len() < MOST_LACKING {
                self.receipts.early.push(signed);
            }
            return;
        };
        self.receipts.asked += 1;
        if self.receipts.asked > ASKED_A_SECOND {
            return self.dropped(QUEUE);
        }
        // Its grant may have ended since; its signatures and their reach are checked.
        let Ok(order) = self.authorities.recall(&signed) else { return self.dropped(QUEUE) };
        if let Some(row) = self.receipts.rows.get_mut(&order.id) {
            if let Some(own) = &mut row.own {
                (own.sent, own.held) = (0, 0);
            }
            row.sums.values_mut().for_each(|held| (held.sent, held.held) = (0, 0));
            return self.send_soon(now);
        }
        let over = super::Heard::of(&order, &signed).is_some_and(|heard| heard.sounds() && heard.ends <= civil);
        if !over {
            return;
        }
        self.hear(now, &order, &signed);
        let Some(row) = self.receipts.rows.get(&order.id) else { return };
        let whom: Vec<(usize, Link)> = self.below.links_where(|area| row.heard.concerns(area)).collect();
        for (branch, link) in whom {
            self.ask_lacking(branch, link, vec![signed.clone()]);
        }
    }
}

/// Until something may be due: soon after the order, its beginning and its end; in between links come and go.
fn pause(row: &Row, civil: Civil) -> i64 {
    let near = |at: Civil| at - NO_WORD <= civil && civil <= at + GRACE;
    match [row.received, row.heard.begins, row.heard.ends].into_iter().any(near) {
        true => 0,
        false if civil >= row.heard.begins => NO_WORD,
        // It is a day off, perhaps; and it is not overslept.
        false => (row.heard.begins - NO_WORD - civil).clamp(0, 60 * SECOND),
    }
}

fn outcome_of(row: &Row, entry: &Entry, gone: bool, civil: Civil) -> Outcome {
    match &entry.receipt {
        Some(receipt) if gone && !receipt.closed => Outcome::Unknown,
        Some(receipt) => Outcome::of(receipt),
        None if gone && entry.gone && row.is_over(civil) => Outcome::NotReached,
        None if gone => Outcome::Unknown,
        None if civil < entry.back.map_or(row.received, |back| back.max(row.received)) + NO_WORD => Outcome::Pending,
        None => Outcome::NotReached,
    }
}

/// µs for which a node that is in touch may be silent: three to speak, and as much for a repeated order.
pub(super) const NO_WORD: i64 = 10 * SECOND;
/// µs after an order's end for which nodes that come are still expected to say something of it.
pub(super) const GRACE: i64 = 30 * SECOND;
/// µs that a child's clock may be ahead.
const FUTURE: i64 = 60 * SECOND;
/// µs for which a node that comes back is asked: what was missed longer ago is shown as not reached.
const ASKED: i64 = 24 * 3_600 * SECOND;
/// Entries looked at in one turn, some 20 ms; the rest in the next: 20,000 that leave at once change a day's rows.
const LOOKED_AT: usize = 50_000;
/// Orders that a parent may ask after in a second, each of which costs its signatures: twice what a join brings.
const ASKED_A_SECOND: usize = 2 * MOST_LACKING;
/// Relays in one row that one child may bring, a country's communes and provinces; all together twice that.
const RELAYS: usize = 4_096;
/// Tiers of a tree.
const DEEPEST: usize = 8;
/// Messages that wait for the journal: 20,000 speakers in three seconds would be 6,700 a second.
const ACKS: usize = 1_024;
