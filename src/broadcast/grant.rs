//! What a key may do, and whether an order or a further grant lies within it.

use super::refusal::{Refusal, SCOPE, refuse};
use super::{Area, Body, Kind, Order, Priority, area};
use crate::key::PublicKey;
use crate::time::Civil;

/// What a key may do; each link of a chain is narrower than the one above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub key: PublicKey,
    pub areas: Vec<Area>,
    pub kinds: Vec<Kind>,
    pub up_to: Priority,
    pub from: Civil,
    /// Exclusive.
    pub until: Civil,
    pub name: String,
    /// This key may wake one area of so many segments alone: an emergency that does not lie within one such takes a second
    /// signature. 0: none does. [`Self::NEVER_ALONE`]: whatever it gives does.
    pub alone_from: u8,
}

impl Grant {
    /// Of somebody who signs beside others only: more segments than an area has.
    pub const NEVER_ALONE: u8 = 9;

    /// Whether it is in force; without trusted time (`None`) dates are not asked.
    pub fn is_valid(&self, now: Option<Civil>) -> bool {
        now.is_none_or(|now| self.from <= now && now < self.until)
    }

    /// Whether `order` lies within it: kind, areas, priority, and of a grant all that it grants.
    pub(super) fn covers(&self, order: &Order) -> Result<(), Refusal> {
        let outside = |what: String| {
            Err(refuse(SCOPE, format!("{what} lies outside the grant of {:?}: ask for a wider grant", self.name)))
        };
        if !self.kinds.contains(&order.kind()) {
            return outside(format!("a {:?} order", order.kind()));
        }
        if let Err(area) = area::within(&self.areas, order.claims()) {
            return outside(format!("area {area}"));
        }
        if order.claimed_priority().is_some_and(|priority| priority > self.up_to) {
            return outside(format!("priority {:?}", order.claimed_priority()));
        }
        match &order.body {
            Body::Grant(inner) if !self.contains(inner) => {
                outside(format!("the grant to {:?}, by its kinds or validity,", inner.name))
            }
            _ => Ok(()),
        }
    }

    /// Whether `order` takes a second signature under this grant.
    pub(super) fn needs_second(&self, order: &Order) -> bool {
        if self.alone_from == Self::NEVER_ALONE {
            return true;
        }
        let emergency = matches!(&order.body, Body::Broadcast(broadcast) if broadcast.priority == Priority::Emergency);
        // The area of so many segments that it lies within.
        let unit = |area: &Area| {
            let above = area.segments().checked_sub(usize::from(self.alone_from))?;
            area.lineage().nth(above).map(str::to_owned)
        };
        let first = order.areas.first().and_then(unit);
        emergency && self.alone_from > 0 && (first.is_none() || order.areas.iter().any(|area| unit(area) != first))
    }

    /// Whether its holder may give `inner`: no wider in areas, kinds, priority or time.
    pub(super) fn contains(&self, inner: &Grant) -> bool {
        self.kinds.contains(&Kind::Grant)
            && inner.kinds.iter().all(|kind| self.kinds.contains(kind))
            && inner.up_to <= self.up_to
            && inner.alone_from >= self.alone_from
            && self.from <= inner.from
            && inner.until <= self.until
            && area::within(&self.areas, &inner.areas).is_ok()
    }
}
