//! Nodes that were expelled, and where.

use super::order::keep;
use super::{Area, Body, Vouched};
use crate::key::KeyId;
use crate::proto;
use crate::time::Civil;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Expulsions known to a node: of each node those that no other one contains.
#[derive(Debug, Default)]
pub struct Expelled {
    nodes: BTreeMap<Uuid, Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    by: KeyId,
    /// `None`: by a root, everywhere.
    areas: Option<Vec<Area>>,
    expires: Civil,
    signed: proto::Signed,
}

impl Entry {
    fn reaches(&self, area: &Area) -> bool {
        self.areas.as_ref().is_none_or(|areas| areas.iter().any(|one| one.contains(area)))
    }

    /// Whether it holds wherever and as long as the other does.
    fn contains(&self, other: &Self) -> bool {
        let wide = match &other.areas {
            None => self.areas.is_none(),
            Some(areas) => areas.iter().all(|area| self.reaches(area)),
        };
        wide && self.expires >= other.expires
    }
}

impl Expelled {
    /// Takes a vouched expulsion in; other orders change nothing here. False if there is no room for it: what one
    /// authority has expelled makes no room for what it expels next, since none of them may come back.
    pub fn admit(&mut self, order: &Vouched, signed: &proto::Signed) -> bool {
        let Body::Expel(expel) = &order.body else { return true };
        let areas = (order.depth > 0).then(|| order.areas.clone());
        let entry = Entry { by: order.authority, areas, expires: order.expires, signed: keep(signed) };
        let full = self.nodes.len() >= MOST || self.given(order.authority) >= MOST_BY_ONE && order.depth > 0;
        if !self.nodes.contains_key(&expel.node) && full {
            return false;
        }
        let held = self.nodes.entry(expel.node).or_default();
        if held.iter().any(|one| one.contains(&entry)) {
            return true;
        }
        held.retain(|one| !entry.contains(one));
        if held.len() >= OF_ONE {
            return false;
        }
        held.push(entry);
        true
    }

    /// Whether the node may not take part where it stands.
    pub fn is_expelled(&self, node: Uuid, area: &Area) -> bool {
        self.nodes.get(&node).is_some_and(|held| held.iter().any(|entry| entry.reaches(area)))
    }

    /// Whether it was expelled from anywhere.
    pub fn is_known(&self, node: Uuid) -> bool {
        self.nodes.contains_key(&node)
    }

    /// Whether these very bytes were taken in: they need no second look.
    pub fn holds(&self, node: Uuid, signed: &proto::Signed) -> bool {
        self.nodes.get(&node).is_some_and(|held| held.iter().any(|entry| entry.signed == *signed))
    }

    /// Every signed expulsion that concerns a relay which stands there, for its join.
    pub fn touching(&self, area: &Area) -> impl Iterator<Item = proto::Signed> + '_ {
        let area = area.clone();
        let touches =
            move |entry: &&Entry| entry.areas.as_ref().is_none_or(|areas| areas.iter().any(|one| one.touches(&area)));
        self.nodes.values().flatten().filter(touches).map(|entry| entry.signed.clone())
    }

    pub fn expire(&mut self, now: Civil) {
        self.nodes.retain(|_, held| {
            held.retain(|entry| entry.expires > now);
            !held.is_empty()
        });
    }

    fn given(&self, by: KeyId) -> usize {
        self.nodes.values().flatten().filter(|entry| entry.by == by).count()
    }
}

/// Of a country's 150,000 loudspeakers each tenth, stolen or replaced within the 400 days that one lasts.
const MOST: usize = 16_384;
/// By one key that is not a root: a province's.
const MOST_BY_ONE: usize = 2_048;
/// Of one node: by its commune, its province, its nation and a root.
const OF_ONE: usize = 4;

#[cfg(test)]
mod tests {
    use super::super::fixtures::*;
    use super::super::{Expel, Order};
    use super::*;

    #[test]
    fn a_node_is_expelled_where_the_order_reaches_and_nowhere_else() {
        let c = Country::new();
        let node = fresh_id();
        let (here, there) = (area("vn/01/00004"), area("vn/02/1"));
        let mut expelled = Expelled::default();
        let take = |signed: &proto::Signed, expelled: &mut Expelled| {
            c.authorities
                .check(signed, Some(NOW))
                .map(|order| expelled.admit(&order, signed))
                .map_err(|refusal| refusal.code)
        };
        let own = c.province.sign(&["vn/01"], Body::Expel(Expel { node }));
        assert_eq!(take(&own, &mut expelled), Ok(true));
        assert!(expelled.is_expelled(node, &here) && !expelled.is_expelled(node, &there));
        // A lesser one, given later and for longer, takes nothing from it.
        let lesser = c.province.order(&["vn/01/00004"], Body::Expel(Expel { node }));
        let lesser = super::super::sign(
            &Order { expires: lesser.expires + DAY, issued: lesser.issued + DAY, ..lesser },
            &c.province.key,
        );
        let order = c.authorities.check(&lesser, Some(NOW + DAY)).unwrap();
        assert!(expelled.admit(&order, &lesser));
        assert!(expelled.is_expelled(node, &area("vn/01/7")) && expelled.is_expelled(node, &here));
        let outside = c.province.sign(&["vn/02"], Body::Expel(Expel { node }));
        assert_eq!(take(&outside, &mut expelled), Err("order.scope"));
        let by_root = c.root.sign(&["vn/09"], Body::Expel(Expel { node }));
        assert_eq!(take(&by_root, &mut expelled), Ok(true));
        assert!(expelled.is_expelled(node, &there), "a root's word holds everywhere");
        assert_eq!(take(&own, &mut expelled), Ok(true));
        assert!(expelled.is_expelled(node, &there), "and no lesser one narrows it");
        assert!(!expelled.is_expelled(fresh_id(), &here));
        assert_eq!(expelled.touching(&there).collect::<Vec<_>>(), [by_root]);
        expelled.expire(Civil(i64::MAX));
        assert!(!expelled.is_expelled(node, &here));
    }
}
