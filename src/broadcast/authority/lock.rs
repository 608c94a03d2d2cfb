//! Locks: what a key may do is taken from it, and given back by two.
//!
//! A lock reaches the grants of its key that lie within its areas, up to its giver's priority, and only those beneath its
//! giver, who is nearer the root or speaks to more than they do: a station can't lock its neighbours, or those above. It takes
//! everything beneath along, as a revocation does. What was said before its release is dead. A release that comes before
//! its lock waits for it; whoever stands on the chains of those who signed it can't be released by it.

use super::super::refusal::*;
use super::super::{Area, Body, Grant, Kind, Order, Priority, Refusal, area, order};
use super::{Authorities, Vouched};
use crate::key::KeyId;
use crate::proto;
use crate::time::Civil;
use std::collections::BTreeMap;
use uuid::Uuid;

#[derive(Debug, Default)]
pub(super) struct Locks {
    /// By the order's id.
    held: BTreeMap<Uuid, Lock>,
    /// By the lock that they lift.
    releases: BTreeMap<Uuid, Vec<Release>>,
}

#[derive(Debug)]
struct Lock {
    key: KeyId,
    by: KeyId,
    /// `None`: by a root, reaches everything.
    areas: Option<Vec<Area>>,
    up_to: Priority,
    depth: u8,
    /// Where its giver may silence.
    wide: Vec<Area>,
    issued: Civil,
    expires: Civil,
    sequence: u64,
    signed: proto::Signed,
}

#[derive(Debug)]
struct Release {
    id: Uuid,
    areas: Vec<Area>,
    /// Everyone on the chains of those who signed.
    involved: Vec<KeyId>,
    /// It lifts whatever it names.
    root: bool,
    issued: Civil,
    expires: Civil,
    sequence: u64,
    signed: proto::Signed,
}

/// For one more lock.
#[derive(PartialEq)]
enum Room {
    Free,
    /// In place of this one.
    Of(Uuid),
    None,
}

impl Lock {
    fn reaches(&self, grant: &Grant, depth: u8) -> bool {
        let inside = |areas: &Vec<Area>| area::within(areas, &grant.areas).is_ok();
        self.key == grant.key.id()
            && self.areas.as_ref().is_none_or(inside)
            && grant.up_to <= self.up_to
            && (self.depth < depth
                || grant.areas.iter().all(|area| self.wide.iter().any(|of| of != area && of.contains(area))))
    }
}

impl Release {
    fn lifts(&self, lock: &Lock) -> bool {
        let within = |areas: &Vec<Area>| area::within(&self.areas, areas).is_ok();
        self.root || lock.areas.as_ref().is_some_and(within) && !self.involved.contains(&lock.key)
    }
}

impl Locks {
    /// From when on orders under a grant that ends a chain of `depth` count, as far as locks go; `None` while one is on it.
    pub fn since(&self, grant: &Grant, depth: u8) -> Option<Civil> {
        let reaching = self.held.iter().filter(|(_, lock)| lock.reaches(grant, depth));
        let mut since = Civil(i64::MIN);
        for (id, lock) in reaching {
            let lifted = self.releases.get(id).into_iter().flatten().filter(|release| release.lifts(lock));
            since = since.max(lifted.map(|release| release.issued).min()?);
        }
        Some(since)
    }

    /// When the first lock on it came, lifted or not.
    pub fn begins(&self, grant: &Grant, depth: u8) -> Civil {
        let reaching = self.held.values().filter(|lock| lock.reaches(grant, depth));
        reaching.map(|lock| lock.issued).min().unwrap_or(Civil(i64::MAX))
    }

    /// In force for somebody who joins: released ones too, as they say what is dead.
    pub fn all(&self) -> impl Iterator<Item = (u64, &proto::Signed)> {
        let locks = self.held.values().map(|lock| (lock.sequence, &lock.signed));
        locks.chain(self.releases.values().flatten().map(|release| (release.sequence, &release.signed)))
    }

    /// Whether a lock was forgotten.
    pub fn expire(&mut self, now: Civil) -> bool {
        let before = self.held.len();
        self.held.retain(|_, lock| lock.expires > now);
        self.releases.retain(|_, all| {
            all.retain(|release| release.expires > now);
            !all.is_empty()
        });
        self.held.len() != before
    }

    fn is_lifted(&self, id: &Uuid, lock: &Lock) -> bool {
        self.releases.get(id).into_iter().flatten().any(|release| release.lifts(lock))
    }

    /// Whether a lock by `by` has room. Who is no root has so many in force at most; those that were lifted go first, the
    /// oldest before others, and whoever stands nearer the root takes the place of whoever stands further.
    fn room(&self, by: KeyId, depth: u8) -> Room {
        let own = || self.held.iter().filter(|(id, lock)| lock.by == by && !self.is_lifted(id, lock)).count();
        if depth > 0 && own() >= MAX_LOCKS_PER_AUTHORITY {
            return Room::None;
        }
        if self.held.len() < MAX_LOCKS {
            return Room::Free;
        }
        let lifted = self.held.iter().filter(|(id, lock)| self.is_lifted(id, lock));
        if let Some((id, _)) = lifted.min_by_key(|(_, lock)| lock.sequence) {
            return Room::Of(*id);
        }
        let deepest = self.held.iter().max_by_key(|(_, lock)| (lock.depth, lock.sequence));
        deepest.filter(|(_, lock)| lock.depth > depth).map_or(Room::None, |(id, _)| Room::Of(*id))
    }

    /// One that lifts the lock takes the place of one that does not: whoever gives useless ones must not keep the proper
    /// one out. Before the lock is known, a root's does.
    fn make_room_beside(&mut self, lock: Uuid, release: &Release) -> bool {
        let locked = self.held.get(&lock);
        let serves = |release: &Release| locked.map_or(release.root, |lock| release.lifts(lock));
        let Some(others) = self.releases.get_mut(&lock) else { return true };
        if others.len() < MAX_RELEASES_PER_LOCK {
            return true;
        }
        let useless = others.iter().position(|other| !serves(other));
        useless.filter(|_| serves(release)).map(|at| others.remove(at)).is_some()
    }

    fn make_room_for_release(&mut self) -> bool {
        if self.releases.values().map(Vec::len).sum::<usize>() < MAX_LOCKS {
            return true;
        }
        // One that lifts nothing, or that waits for a lock that never came.
        let idle = |lock: &Uuid, release: &Release| self.held.get(lock).is_none_or(|lock| !release.lifts(lock));
        let each = self.releases.iter().flat_map(|(lock, all)| all.iter().map(move |release| (*lock, release)));
        let oldest = each.filter(|(lock, release)| idle(lock, release)).min_by_key(|(_, release)| release.sequence);
        let Some((lock, id)) = oldest.map(|(lock, release)| (lock, release.id)) else { return false };
        if let Some(all) = self.releases.get_mut(&lock) {
            all.retain(|release| release.id != id);
            if all.is_empty() {
                self.releases.remove(&lock);
            }
        }
        true
    }
}

impl Authorities {
    pub(super) fn admit_lock(&mut self, order: &Vouched, key: KeyId, signed: &proto::Signed) {
        // The places of what has expired are free; at a restart everything comes back out of the journal first.
        if self.locks.expire(self.newest) {
            self.relink();
        }
        if self.locks.held.contains_key(&order.id) {
            return;
        }
        match self.locks.room(order.authority, order.depth) {
            Room::Free => {}
            Room::Of(other) => drop(self.locks.held.remove(&other)),
            Room::None => return,
        }
        let lock = self.lock(order, key, order::keep(signed));
        self.locks.held.insert(order.id, lock);
        self.relink();
    }

    /// Refuses a lock for which there is no room, so that nobody believes it holds.
    pub(super) fn check_lock(&self, order: &Vouched) -> Result<(), Refusal> {
        let new = matches!(order.body, Body::Lock(_)) && !self.locks.held.contains_key(&order.id);
        if !new || self.locks.room(order.authority, order.depth) != Room::None {
            return Ok(());
        }
        let text = format!(
            "lock {} finds no room: {MAX_LOCKS_PER_AUTHORITY} of one authority or {MAX_LOCKS} in all are in force; revoke the key, or release locks that have done their work",
            order.id
        );
        Err(refuse(FULL, text))
    }

    /// Whether a lock would take anything from `key`, as far as is known here: a province's own is known below alone.
    pub fn would_lock(&self, order: &Vouched, key: KeyId) -> bool {
        let lock = self.lock(order, key, proto::Signed::default());
        let reached = |held: &super::Held| held.depth.is_some_and(|depth| lock.reaches(&held.grant, depth));
        self.grants.get(&key).is_none_or(|held| held.iter().any(reached))
    }

    fn lock(&self, order: &Vouched, key: KeyId, signed: proto::Signed) -> Lock {
        Lock {
            key,
            by: order.authority,
            areas: (!self.roots.contains_key(&order.authority)).then(|| order.areas.clone()),
            up_to: order.up_to,
            depth: order.depth,
            wide: self.areas(order.authority, Kind::Hush),
            issued: order.issued,
            expires: order.expires,
            sequence: self.sequence,
            signed,
        }
    }

    pub(super) fn admit_release(&mut self, order: &Vouched, lock: Uuid, signed: &proto::Signed) {
        let held = self.locks.releases.get(&lock).map_or(&[][..], Vec::as_slice);
        if held.iter().any(|held| held.id == order.id) {
            return;
        }
        let root = signed.signatures.iter().filter_map(|signature| KeyId::from_slice(&signature.key));
        let release = Release {
            id: order.id,
            areas: order.areas.clone(),
            involved: self.involved(signed),
            root: root.into_iter().any(|key| self.roots.contains_key(&key)),
            issued: order.issued,
            expires: order.expires,
            sequence: self.sequence,
            signed: order::keep(signed),
        };
        if !self.locks.make_room_beside(lock, &release) || !self.locks.make_room_for_release() {
            return;
        }
        self.locks.releases.entry(lock).or_default().push(release);
        self.relink();
    }

    /// The locks in force: the order's id, the key, and where.
    pub fn locks(&self) -> impl Iterator<Item = (Uuid, KeyId, &[Area])> {
        let in_force = self.locks.held.iter().filter(|(id, lock)| !self.locks.is_lifted(id, lock));
        in_force.map(|(id, lock)| (*id, lock.key, lock.areas.as_deref().unwrap_or_default()))
    }

    /// Whether what `order` rests on was revoked or locked since it was taken in: it is over.
    pub fn is_withdrawn(&self, order: &Order) -> bool {
        let held = self.grants.get(&order.authority).into_iter().flatten();
        let mut under = held.filter(|held| held.grant.covers(order).is_ok()).peekable();
        under.peek().is_some() && under.all(|held| held.depth.is_none() || order.issued <= held.since)
    }

    /// Whether a lock, and not a revocation, is on this key or on one above it.
    pub(super) fn is_locked(&self, held: &super::Held) -> bool {
        let mut keys = vec![held.grant.key.id()];
        // Grants above may have lost their depth too, so that this is bounded by count.
        for _ in 0..super::MAX_DEPTH {
            if self.locks().any(|(_, locked, _)| keys.contains(&locked)) {
                return true;
            }
            let above = keys.iter().filter_map(|key| self.grants.get(key)).flatten();
            keys = above.map(|held| held.granter).collect();
            keys.sort_unstable();
            keys.dedup();
        }
        false
    }
}

/// Every lock is looked at for every grant.
const MAX_LOCKS: usize = 256;
const MAX_LOCKS_PER_AUTHORITY: usize = 64;
/// One that holds, and those by whom the lock's key had a hand in.
const MAX_RELEASES_PER_LOCK: usize = 4;
