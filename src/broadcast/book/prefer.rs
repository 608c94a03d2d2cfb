//! What an area would rather hear first, where several broadcasts of one class want to sound at once (DESIGN §7).

use super::super::order::keep;
use super::super::refusal::*;
use super::super::{Area, Prefer, Priority, Refusal, Vouched};
use super::{Book, Change, seen};
use crate::key::KeyId;
use crate::proto;
use crate::time::Civil;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// The newest of each authority for the same areas (sorted).
pub(super) type Preferences = BTreeMap<(KeyId, Vec<Area>), Preference>;

#[derive(Debug)]
pub(in super::super) struct Preference {
    broadcasts: Vec<Uuid>,
    up_to: Priority,
    id: Uuid,
    number: u64,
    issued: Civil,
    pub(in super::super) expires: Civil,
    pub(super) signed: proto::Signed,
}

impl Preference {
    /// Where a broadcast of a class up to its giver's stands in line.
    pub(in super::super) fn rank(&self, broadcast: Uuid, priority: Priority) -> usize {
        let position = self.broadcasts.iter().position(|id| *id == broadcast);
        position.filter(|_| priority <= self.up_to).unwrap_or(usize::MAX)
    }
}

impl Book {
    pub(super) fn handle_prefer(
        &mut self,
        order: &Vouched,
        prefer: &Prefer,
        signed: &proto::Signed,
    ) -> Result<Change, Refusal> {
        let areas: BTreeSet<Area> = order.areas.iter().cloned().collect();
        let key = (order.authority, areas.into_iter().collect());
        match self.preferences.get(&key) {
            Some(held) if held.id == order.id => return Err(seen(&held.signed, signed, order.id)),
            Some(held) if (held.issued, held.number, held.id) > (order.issued, order.number, order.id) => {
                let text = format!("preference {} is older than {} for the same areas", order.id, held.id);
                return Err(refuse(STALE, text));
            }
            Some(_) => {}
            None => self.make_room_for_preference(order)?,
        }
        let preference = Preference {
            broadcasts: prefer.broadcasts.clone(),
            up_to: order.up_to,
            id: order.id,
            number: order.number,
            issued: order.issued,
            expires: order.expires,
            signed: keep(signed),
        };
        self.preferences.insert(key, preference);
        Ok(Change::Other)
    }

    pub(super) fn preferences(&self) -> impl Iterator<Item = (Civil, Uuid, Civil, &proto::Signed)> {
        self.preferences.values().map(|held| (held.issued, held.id, held.expires, &held.signed))
    }

    /// What counts in `area` at `now`: of the narrowest area, the newest.
    pub(in super::super) fn preference(&self, area: &Area, now: Civil) -> Option<&Preference> {
        let about = |areas: &[Area]| areas.iter().filter(|of| of.contains(area)).map(Area::segments).max();
        let here = self.preferences.iter().filter(|(_, held)| held.issued <= now && now < held.expires);
        let here = here.filter_map(|((by, areas), held)| Some(((about(areas)?, held.issued, held.id, *by), held)));
        here.max_by_key(|(rank, _)| *rank).map(|(_, held)| held)
    }

    /// Instants at which another preference may count in `area`.
    pub(in super::super) fn preference_changes(&self, area: &Area) -> impl Iterator<Item = Civil> {
        let area = area.clone();
        let here = self.preferences.iter().filter(move |((_, areas), _)| areas.iter().any(|of| of.contains(&area)));
        here.flat_map(|(_, held)| [held.issued, held.expires])
    }

    fn make_room_for_preference(&mut self, order: &Vouched) -> Result<(), Refusal> {
        let own = self.preferences.keys().filter(|(by, _)| *by == order.authority).count();
        if own < MAX_PREFERENCES_PER_AUTHORITY && self.preferences.len() < MAX_PREFERENCES {
            return Ok(());
        }
        let text = format!("no room for preference {}: let those before expire, or name more areas in one", order.id);
        Err(refuse(FULL, text))
    }
}

/// Each is looked at for every choice; a commune's, its province's, the nation's, for some areas each.
const MAX_PREFERENCES: usize = 256;
const MAX_PREFERENCES_PER_AUTHORITY: usize = 32;
