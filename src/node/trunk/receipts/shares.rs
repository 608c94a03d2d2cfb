//! Sums as they are held, and how much of them each child brought: one that lies must not take the room of the others.

use crate::broadcast::receipt::Sum;
use crate::proto;
use crate::time::Civil;
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeMap;
use uuid::Uuid;

/// One relay's sum of one order, as it travels: some 150 bytes of a commune where all went well, where the same taken
/// apart is two thousand.
pub(super) struct Held {
    pub wire: Bytes,
    pub revision: u64,
    /// Who brought it.
    pub child: Uuid,
    /// Revisions that went up, and that the parent holds.
    pub sent: u64,
    pub held: u64,
}

impl Held {
    pub fn new(sum: &Sum, child: Uuid) -> Self {
        let wire = sum.write().encode_to_vec().into();
        Self { wire, revision: sum.revision, child, sent: 0, held: 0 }
    }

    /// It was a sum before it was held.
    pub fn sum(&self) -> Option<Sum> {
        Sum::read(&self.message()?, Civil(i64::MAX))
    }

    pub fn message(&self) -> Option<proto::Sum> {
        proto::Sum::decode(self.wire.clone()).ok()
    }

    pub fn size(&self) -> usize {
        self.wire.len() + AROUND
    }
}

/// In bytes.
pub(super) struct Shares {
    room: Room,
    all: usize,
    by_child: BTreeMap<Uuid, usize>,
}

#[derive(Clone, Copy)]
struct Room {
    of_one: usize,
    of_all: usize,
}

impl Default for Shares {
    fn default() -> Self {
        Self { room: Room { of_one: OF_ONE, of_all: OF_ALL }, all: 0, by_child: BTreeMap::new() }
    }
}

impl Shares {
    /// Room for `sum`, which `child` brings in the place of `before`. Names have half of a child's room and three quarters of all: whoever they are of stays
    /// counted. `None` if there is no room for counts either.
    pub fn take(&mut self, child: Uuid, before: Option<&Held>, sum: &mut Sum) -> Option<Held> {
        before.inspect(|before| self.give_back(before.child, before.size()));
        let taken = self.by_child.get(&child).copied().unwrap_or(0);
        let Room { of_one, of_all } = self.room;
        let fits = |held: &Held, of_one: usize, of_all: usize| {
            taken + held.size() <= of_one && self.all + held.size() <= of_all
        };
        let mut held = Held::new(sum, child);
        if !sum.named.is_empty() && !fits(&held, of_one / 2, of_all / 4 * 3) {
            sum.unnamed = sum.unnamed.saturating_add(sum.named.len() as u32);
            sum.named.clear();
            held = Held::new(sum, child);
        }
        if !fits(&held, of_one, of_all) {
            before.inspect(|before| self.put(before.child, before.size()));
            return None;
        }
        self.put(child, held.size());
        Some(held)
    }

    /// A node's own sums have no share.
    pub fn give_back(&mut self, child: Uuid, size: usize) {
        let Some(held) = self.by_child.get_mut(&child) else { return };
        let given = size.min(*held);
        *held -= given;
        self.all -= given;
        if *held == 0 {
            self.by_child.remove(&child);
        }
    }

    fn put(&mut self, child: Uuid, size: usize) {
        self.all += size;
        *self.by_child.entry(child).or_default() += size;
    }
}

/// Bytes around each sum: its place in the map, the counts of its buffer.
const AROUND: usize = 160;
/// A country of 3,321 communes behind one relay, and 256 orders.
const OF_ONE: usize = OF_ALL / 2;
/// The same again in names, and for others.
const OF_ALL: usize = 512 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broadcast::receipt::Outcome;

    fn sum(names: u128, areas: u32) -> Sum {
        let mut sum = Sum::new(Uuid::nil(), Uuid::nil());
        for area in 0..areas {
            let area = format!("vn/01/{area:05}").parse().unwrap();
            (0..names).for_each(|name| sum.add(Uuid::from_u128(name), &area, Outcome::Failed, None, true));
            sum.add(Uuid::nil(), &area, Outcome::Played, None, false);
        }
        sum.finish();
        sum
    }

    #[test]
    fn a_sum_is_held_as_it_came() {
        let whole = Sum { revision: 7, received: Some(Civil(5)), ..sum(3, 2) };
        let held = Held::new(&whole, Uuid::nil());
        assert_eq!((held.sum(), held.revision), (Some(whole), 7));
        let usual = Held::new(&sum(0, 1), Uuid::nil());
        assert!(usual.wire.len() < 150, "{}", usual.wire.len());
    }

    #[test]
    fn a_child_that_fills_its_share_loses_its_names_then_its_counts_and_leaves_room_for_others() {
        let (liar, honest) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let of_one = 1 << 20;
        let mut shares = Shares { room: Room { of_one, of_all: 2 * of_one }, ..Shares::default() };
        let (mut taken, mut nameless, mut last) = (0, 0, None);
        loop {
            let mut brought = sum(40, 6);
            let counted: u32 = brought.areas.values().map(|tally| tally.expected()).sum();
            let Some(held) = shares.take(liar, None, &mut brought) else { break };
            assert_eq!(held.sum().unwrap().areas.values().map(|tally| tally.expected()).sum::<u32>(), counted);
            taken += held.size();
            nameless += usize::from(brought.named.is_empty());
            last = Some(held);
        }
        assert!(nameless > 0 && taken <= of_one && taken > of_one - 10_000, "{nameless} {taken}");
        let mut brought = sum(40, 6);
        let own = shares.take(honest, None, &mut brought).unwrap();
        assert_eq!(brought.unnamed, 0);
        // What it had makes room for what it says now.
        let (last, mut newer) = (last.unwrap(), sum(0, 6));
        let newer = shares.take(liar, Some(&last), &mut newer).unwrap();
        shares.give_back(liar, taken - last.size() + newer.size());
        shares.give_back(honest, own.size());
        assert!(shares.all == 0 && shares.by_child.is_empty());
    }
}
