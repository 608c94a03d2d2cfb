//! What goes before a broadcast: told to whoever airs it.

use super::{Behind, Trunk};
use crate::broadcast::{Area, choose};
use crate::time::Civil;
use std::collections::BTreeSet;
use uuid::Uuid;

impl Trunk {
    /// Where in `areas` something else sounds at `at` although this broadcast is on; each place once, the widest that it
    /// holds for.
    pub(super) fn behind(&self, broadcast: Uuid, areas: &[Area], at: Civil) -> Vec<Behind> {
        let until = self.book.get(broadcast).map(|entry| entry.broadcast.ends());
        // Who speaks to a part of an area is heard there alone.
        let parts = areas.iter().flat_map(|area| self.book.live(area)).flat_map(|entry| &entry.areas);
        let parts = parts.filter(|part| areas.iter().any(|area| area.contains(part)));
        let places: BTreeSet<&Area> = areas.iter().chain(parts).collect();
        let mut found: Vec<(Uuid, Behind)> = Vec::new();
        // What contains a place stands before it in the order of areas.
        for area in places.into_iter().take(LOOKED_AT) {
            let chosen = choose(&self.book, area, Some(at)).broadcast.filter(|chosen| *chosen != broadcast);
            let Some(entry) = chosen.and_then(|chosen| self.book.get(chosen)) else { continue };
            if found.iter().any(|(id, behind)| *id == entry.id && behind.area.contains(area)) {
                continue;
            }
            let ends = entry.broadcast.ends();
            let (title, wholly) = (entry.broadcast.title.clone(), until.is_some_and(|until| until <= ends));
            found.push((entry.id, Behind { area: area.clone(), title, until: ends, wholly }));
        }
        found.into_iter().map(|(_, behind)| behind).collect()
    }
}

/// Places that are looked at; each costs a look at every broadcast.
const LOOKED_AT: usize = 64;
