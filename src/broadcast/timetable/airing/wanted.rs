//! What entries come to, as areas that orders can name.

use super::super::entry::Entry;
use super::super::local::day;
use super::super::plan::{Item, Lengths, Plan, plan_of};
use super::super::policy::Policies;
use super::Wanted;
use crate::broadcast::Area;
use crate::broadcast::register::{NotThere, Register, outermost};
use crate::broadcast::said::Said;
use crate::time::Civil;
use std::collections::BTreeMap;
use uuid::Uuid;

/// A plan of all areas that entries name, and what becomes of it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub plan: Plan,
    pub wanted: Vec<Wanted>,
    /// What sounds where no set of areas says so.
    pub uncovered: Vec<(Item, Said)>,
}

impl Asked {
    /// From `from` until before `until`.
    pub fn of(
        entries: &[Entry],
        policies: &Policies,
        register: &Register,
        lengths: &Lengths,
        (from, until): (Civil, Civil),
    ) -> Result<Self, Said> {
        let areas = named(entries, register, from);
        let plan = plan_of(entries, policies, register, lengths, &areas, from, until)?;
        let (mut wanted, mut uncovered) = (Vec::new(), Vec::new());
        for airing in plan.airings() {
            let Some(first) = airing.areas.first() else { continue };
            let on = day(register.zone(first), airing.item.start);
            match register.cover_all(&airing.areas, &airing.except, on) {
                Ok(areas) => wanted.push(Wanted { item: airing.item, areas }),
                Err(said) => uncovered.push((airing.item, said)),
            }
        }
        Ok(Self { plan, wanted, uncovered })
    }

    /// What of `self` begins at `now` or later and is not in `other` as it is, each time of each entry with its areas.
    pub fn beyond(&self, other: &Self, now: Civil) -> Vec<Wanted> {
        let there: BTreeMap<(Civil, Uuid, &Area), &Item> = (other.wanted.iter())
            .flat_map(|wanted| {
                wanted.areas.iter().map(|area| ((wanted.item.start, wanted.item.entry, area), &wanted.item))
            })
            .collect();
        let same = |one: &Wanted, area: &Area| {
            there.get(&(one.item.start, one.item.entry, area)).is_some_and(|item| **item == one.item)
        };
        let begins = self.wanted.iter().filter(|wanted| now <= wanted.item.start);
        let rest = begins.map(|wanted| Wanted {
            item: wanted.item.clone(),
            areas: wanted.areas.iter().filter(|area| !same(wanted, area)).cloned().collect(),
        });
        rest.filter(|wanted| !wanted.areas.is_empty()).collect()
    }
}

/// Areas that entries name and that the register knows; of no two does one contain the other.
fn named(entries: &[Entry], register: &Register, at: Civil) -> Vec<Area> {
    let all: Vec<Area> = entries.iter().filter(|entry| entry.enabled).flat_map(|entry| entry.areas.clone()).collect();
    let known = |area: &Area| {
        let on = day(register.zone(area), at);
        !matches!(register.resolve(area, on), Err(NotThere::Unknown { .. }))
    };
    outermost(&all.into_iter().filter(known).collect::<Vec<_>>())
}
