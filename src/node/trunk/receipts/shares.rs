//! How much of what is held of sums each child brought: one that lies must not take the room of the others.

use crate::broadcast::receipt::Sum;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Counted in areas and names, some 200 bytes each.
#[derive(Default)]
pub(super) struct Shares {
    all: usize,
    by_child: BTreeMap<Uuid, usize>,
}

impl Shares {
    /// Takes the room of `sum`, which `child` brings in the place of what another or it brought before. The names go
    /// where there is none, whoever they are of stays counted; `false` if the counts have no room either.
    pub fn take(&mut self, child: Uuid, before: Option<(Uuid, usize)>, sum: &mut Sum) -> bool {
        before.inspect(|(other, size)| self.give_back(*other, *size));
        let held = self.by_child.get(&child).copied().unwrap_or(0);
        let room = OF_ONE.saturating_sub(held).min(OF_ALL.saturating_sub(self.all));
        if sum.areas.len() > room {
            before.inspect(|(other, size)| self.put(*other, *size));
            return false;
        }
        let names = sum.named.len().min(room - sum.areas.len());
        sum.unnamed = sum.unnamed.saturating_add((sum.named.len() - names) as u32);
        sum.named.truncate(names);
        self.put(child, size(sum));
        true
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
        if size > 0 {
            self.all += size;
            *self.by_child.entry(child).or_default() += size;
        }
    }
}

pub(super) fn size(sum: &Sum) -> usize {
    sum.areas.len() + sum.named.len()
}

/// A province of 200 communes, 256 orders and half a dozen names for each of them.
const OF_ONE: usize = 400_000;
/// 3,321 communes and 256 orders, with as many names: 400 MB.
const OF_ALL: usize = 2_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broadcast::receipt::Outcome;

    fn sum(names: u128) -> Sum {
        let mut sum = Sum::new(Uuid::nil(), Uuid::nil());
        let area = "vn/01".parse().unwrap();
        (0..names).for_each(|name| sum.add(Uuid::from_u128(name), &area, Outcome::Failed, None, true));
        sum
    }

    #[test]
    fn a_child_that_fills_its_share_loses_its_names_then_its_counts_and_leaves_room_for_others() {
        let (liar, honest) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut shares = Shares::default();
        let mut taken = 0;
        loop {
            let mut brought = sum(255);
            if !shares.take(liar, None, &mut brought) {
                break;
            }
            assert_eq!(brought.named.len() + brought.unnamed as usize, 255);
            taken += size(&brought);
        }
        assert_eq!(taken, OF_ONE);
        let mut brought = sum(255);
        assert!(shares.take(honest, None, &mut brought) && brought.unnamed == 0);
        // What it had makes room for what it says now.
        let mut newer = sum(100);
        assert!(shares.take(liar, Some((liar, 256)), &mut newer) && newer.unnamed == 0);
        shares.give_back(liar, taken - 256 + 101);
        shares.give_back(honest, 256);
        assert!(shares.all == 0 && shares.by_child.is_empty());
    }
}
