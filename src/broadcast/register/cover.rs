//! Sets of areas: what is reached, what is left out, and how to say it in an order.

use super::Register;
use crate::broadcast::Area;
use crate::broadcast::said::Said;
use chrono::NaiveDate;
use std::collections::{BTreeMap, BTreeSet};

/// What lies in one of `areas` and in none of `except`; of neither does one contain another, and each exception lies
/// in an area.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    pub areas: Vec<Area>,
    pub except: Vec<Area>,
}

impl Reach {
    pub fn contains(&self, area: &Area) -> bool {
        let within = |of: &[Area]| of.iter().any(|wide| wide.contains(area));
        within(&self.areas) && !within(&self.except)
    }
}

impl Register {
    /// The fewest known areas that together are `areas` without `except`, for an order, which has no exceptions: where
    /// something is left out, its siblings stand for their parent. Units that are not there on that day are passed
    /// over. Whoever is placed at such a parent itself, and not in one of its parts, is not reached.
    pub fn cover(&self, areas: &[Area], except: &[Area], on: NaiveDate) -> Result<Vec<Area>, Said> {
        let covered = self.carve(&outermost(areas), except, on)?;
        match covered.len() {
            0 => Err(Said::new("group.empty", [])),
            count if count > MOST_AREAS => Err(Said::new("area.many", [&count, &MOST_AREAS])),
            _ => Ok(covered),
        }
    }

    /// The same, however many they are: for several orders.
    pub fn cover_all(&self, areas: &[Area], except: &[Area], on: NaiveDate) -> Result<Vec<Area>, Said> {
        self.carve(&outermost(areas), except, on)
    }

    fn carve(&self, areas: &[Area], except: &[Area], on: NaiveDate) -> Result<Vec<Area>, Said> {
        let mut covered = Vec::new();
        let mut open: Vec<Area> = areas.iter().rev().cloned().collect();
        // Every unit is looked at once at most: no area of the list contains another.
        while let Some(area) = open.pop() {
            if except.iter().any(|wide| wide.contains(&area)) {
                continue;
            }
            let inner: Vec<&Area> = except.iter().filter(|inner| area.contains(inner)).collect();
            if inner.is_empty() {
                covered.push(area);
                continue;
            }
            let parts: Vec<&Area> =
                self.children(&area).filter(|unit| unit.is_there(on)).map(|unit| &unit.code).collect();
            // What lies in a unit that is gone, or in one that is not known, cannot be told from the rest.
            let lost = inner.iter().find(|inner| {
                let child = inner.lineage().find(|at| at.rsplit_once('/').is_some_and(|(up, _)| up == area.as_str()));
                !child.is_some_and(|child| self.units.contains_key(child))
            });
            if let Some(lost) = lost {
                return Err(Said::new("area.uncovered", [lost, &area]));
            }
            open.extend(parts.into_iter().rev().cloned());
        }
        Ok(covered)
    }

    /// What lies in one of `with` and in none of `without`.
    pub(super) fn without(&self, with: &[Reach], without: &[Reach], on: NaiveDate) -> Result<Reach, Said> {
        let index = |reaches: &[Reach], of: fn(&Reach) -> &Vec<Area>| -> BTreeMap<Area, BTreeSet<usize>> {
            let mut index: BTreeMap<Area, BTreeSet<usize>> = BTreeMap::new();
            for (number, reach) in reaches.iter().enumerate() {
                for area in of(reach) {
                    index.entry(area.clone()).or_default().insert(number);
                }
            }
            index
        };
        let (with_areas, with_except) = (index(with, |reach| &reach.areas), index(with, |reach| &reach.except));
        let (out_areas, out_except) = (index(without, |reach| &reach.areas), index(without, |reach| &reach.except));
        // Whoever stands in an area, and in none that is named deeper, is in the set or not as the area itself is.
        let is_in = |area: &Area, areas: &BTreeMap<Area, BTreeSet<usize>>, except: &BTreeMap<Area, BTreeSet<usize>>| {
            let of = |index: &BTreeMap<Area, BTreeSet<usize>>| -> BTreeSet<usize> {
                area.lineage().filter_map(|at| index.get(at)).flatten().copied().collect()
            };
            of(areas).difference(&of(except)).next().is_some()
        };
        let named = [&with_areas, &with_except, &out_areas, &out_except].into_iter().flat_map(BTreeMap::keys);
        let marks: BTreeMap<Area, bool> = named
            .map(|area| (area, is_in(area, &with_areas, &with_except) && !is_in(area, &out_areas, &out_except)))
            .map(|(area, inside)| (area.clone(), inside))
            .collect();
        self.flatten(&marks, on)
    }

    /// Marked areas as one set: where something is in again inside of what is out, its siblings are left out instead.
    fn flatten(&self, marks: &BTreeMap<Area, bool>, on: NaiveDate) -> Result<Reach, Said> {
        let layers = layers(marks);
        let mut reach = Reach::default();
        for (at, layer) in layers.iter().enumerate() {
            if at == 0 {
                reach.areas = layer.areas.clone();
            }
            let back = layers.get(at + 1).map_or(&[][..], |next| &next.areas);
            reach.except.extend(self.carve(&layer.except, back, on)?);
        }
        reach.except.sort();
        Ok(reach)
    }
}

/// Areas that are in or out, each with everything in it up to the next mark: as sets, of which each next one lies in
/// what the one before leaves out. Mostly there is one.
pub(in crate::broadcast) fn layers(marks: &BTreeMap<Area, bool>) -> Vec<Reach> {
    let mut layers: Vec<Reach> = Vec::new();
    for (area, inside) in marks {
        let mut above: Vec<bool> = area.lineage().skip(1).filter_map(|at| marks.get(at)).copied().collect();
        above.reverse();
        // Outside of everything nothing is in; each change above leads one set deeper in or out.
        let (mut now, mut changes) = (false, 0);
        for said in above {
            changes += usize::from(said != now);
            now = said;
        }
        if *inside == now {
            continue;
        }
        let at = changes / 2;
        if layers.len() <= at {
            layers.resize(at + 1, Reach::default());
        }
        if let Some(layer) = layers.get_mut(at) {
            if *inside { layer.areas.push(area.clone()) } else { layer.except.push(area.clone()) }
        }
    }
    layers
}

/// Without what another of them contains; sorted.
pub(in crate::broadcast) fn outermost(areas: &[Area]) -> Vec<Area> {
    let all: BTreeSet<&str> = areas.iter().map(Area::as_str).collect();
    let mut lone: Vec<Area> =
        areas.iter().filter(|area| !area.lineage().skip(1).any(|at| all.contains(at))).cloned().collect();
    lone.sort();
    lone.dedup();
    lone
}

/// What one order can carry (DESIGN §9, `broadcast` module).
pub const MOST_AREAS: usize = 64;
