//! Keys and their chains of grants from a root.

mod line;
mod lock;
mod second;
mod standing;

pub use standing::Standing;

use super::refusal::*;
use super::{Area, Body, Grant, Kind, Order, Priority, Refusal, area, order};
use crate::key::{Domain, KeyId, PublicKey};
use crate::proto;
use crate::time::Civil;
use lock::Locks;
use std::collections::BTreeMap;
use std::ops::Deref;
use uuid::Uuid;

/// Roots, grants and revocations known to a node.
///
/// A grant is alive while a chain of at most eight grants, each within the one above, leads from a
/// root to it and no revocation reaches any of them. Since a grant's validity lies within that of
/// the one above, its own dates speak for the whole chain.
#[derive(Debug)]
pub struct Authorities {
    roots: BTreeMap<KeyId, PublicKey>,
    /// By the key that they empower.
    grants: BTreeMap<KeyId, Vec<Held>>,
    /// By the key that they revoke.
    revocations: BTreeMap<KeyId, Vec<Revocation>>,
    locks: Locks,
    /// How many of the grants held each key gave.
    given: BTreeMap<KeyId, usize>,
    epoch: u64,
    /// Counts admissions: replayed in this order, each item finds what it rests on.
    sequence: u64,
    /// The latest `issued` admitted: what ended before it has expired.
    newest: Civil,
}

/// An order whose signatures, chain and scope hold. The only way to one is [`Authorities::check`]
/// (or [`Authorities::recall`] for a node's own journal).
#[derive(Clone, Debug, PartialEq)]
pub struct Vouched {
    order: Order,
    /// The highest priority of the grant that covers it.
    pub(super) up_to: Priority,
    /// Links between the authority and a root; 0 is a root itself.
    pub(super) depth: u8,
}

impl Vouched {
    pub fn into_order(self) -> Order {
        self.order
    }

    /// Another order of the same shape, to fill a book in tests without as many signatures.
    #[cfg(test)]
    pub(super) fn set_id(&mut self, id: Uuid) {
        self.order.id = id;
    }
}

impl Deref for Vouched {
    type Target = Order;
    fn deref(&self) -> &Order {
        &self.order
    }
}

#[derive(Debug)]
struct Held {
    id: Uuid,
    granter: KeyId,
    grant: Grant,
    /// Length of the shortest chain that ends in it; `None` while none does.
    depth: Option<u8>,
    /// Orders issued before it are dead: the release of a lock on it, or on whoever is above.
    since: Civil,
    /// The same length if no lock were, and when the first one came: what was placed before stays where it stands.
    placing: Option<(u8, Civil)>,
    sequence: u64,
    signed: proto::Signed,
}

#[derive(Debug)]
struct Revocation {
    id: Uuid,
    by: KeyId,
    /// `None`: by a root, reaches everything.
    areas: Option<Vec<Area>>,
    expires: Civil,
    sequence: u64,
    signed: proto::Signed,
}

impl Revocation {
    fn reaches(&self, grant: &Grant) -> bool {
        self.areas.as_ref().is_none_or(|areas| area::within(areas, &grant.areas).is_ok())
    }
}

impl Authorities {
    /// Roots may sign anything.
    pub fn new(roots: Vec<PublicKey>) -> Self {
        Self {
            roots: roots.into_iter().map(|key| (key.id(), key)).collect(),
            grants: BTreeMap::new(),
            revocations: BTreeMap::new(),
            locks: Locks::default(),
            given: BTreeMap::new(),
            epoch: 0,
            sequence: 0,
            newest: Civil(i64::MIN),
        }
    }

    /// Decodes and vouches: every signature of a known key holds, the authority's is among them, its
    /// chain leads to a root (depth ≤ 8), nothing on it is revoked, and the order lies within every
    /// grant on it: areas, kind, priority, validity at `now`. What has expired, or is issued more
    /// than 60 s ahead of `now`, is refused.
    ///
    /// `now: None` (no trusted time yet) skips all dates, for emergencies, grants, ticks, placements,
    /// cancels and revocations; the others are refused with `order.no_time`. Cancels and revocations
    /// are let through because a stop must not wait for a clock, and replaying one can start nothing.
    pub fn check(&self, signed: &proto::Signed, now: Option<Civil>) -> Result<Vouched, Refusal> {
        let order = Order::decode(&signed.payload)?;
        self.check_signatures(&order, signed)?;
        match now {
            Some(now) if order.issued > now + order::SKEW => {
                return Err(refuse(
                    FUTURE,
                    format!("order {} is issued in the future: set the issuer's clock", order.id),
                ));
            }
            Some(now) if order.expires <= now => {
                return Err(refuse(EXPIRED, format!("order {} has expired: give it anew", order.id)));
            }
            None if needs_time(&order) => {
                let text =
                    format!("a {:?} order needs trusted time, and there is none yet: wait for a tick", order.kind());
                return Err(refuse(NO_TIME, text));
            }
            _ => {}
        }
        let vouched = self.vouch(order, now, true, signed)?;
        self.check_release(&vouched, now, signed)?;
        self.check_lock(&vouched)?;
        Ok(vouched)
    }

    /// Vouches once more for what was vouched for before, from the node's own journal and nothing
    /// else: a cancel stays in force though its authority's grant has expired or was revoked since.
    /// Signatures, chain and scope are checked again; dates and revocations are not.
    pub fn recall(&self, signed: &proto::Signed) -> Result<Vouched, Refusal> {
        let order = Order::decode(&signed.payload)?;
        self.check_signatures(&order, signed)?;
        self.vouch(order, None, false, signed)
    }

    /// Takes a checked grant, revocation, lock or release in; other orders change nothing here. Bounded: expired
    /// grants go first, then the deepest of whoever gave most, so that a flood displaces itself.
    pub fn admit(&mut self, order: &Vouched, signed: &proto::Signed) {
        self.newest = self.newest.max(order.issued);
        self.sequence += 1;
        match &order.body {
            Body::Grant(grant) => self.admit_grant(order, grant, signed),
            Body::Revoke(revoke) => {
                self.epoch = self.epoch.max(revoke.epoch);
                self.admit_revocation(order, revoke.key, signed);
            }
            Body::Lock(lock) => self.admit_lock(order, lock.key, signed),
            Body::Release(release) => self.admit_release(order, release.lock, signed),
            _ => {}
        }
    }

    /// Every signed grant, revocation, lock and release held, for a child that joins and for the journal, in the
    /// order in which they can be checked.
    pub fn all(&self) -> Vec<proto::Signed> {
        let grants = self.grants.values().flatten().map(|held| (held.sequence, &held.signed));
        let revocations = self.revocations.values().flatten().map(|held| (held.sequence, &held.signed));
        let by_sequence: BTreeMap<_, _> = grants.chain(revocations).chain(self.locks.all()).collect();
        by_sequence.into_values().cloned().collect()
    }

    /// Every grant held, and whether a chain from a root makes it hold now; in the order of their coming.
    pub fn grants(&self) -> Vec<(&Grant, bool)> {
        let mut held: Vec<&Held> = self.grants.values().flatten().collect();
        held.sort_by_key(|held| held.sequence);
        held.into_iter().map(|held| (&held.grant, held.depth.is_some())).collect()
    }

    /// The highest priority that `key` may give orders of `kind` at; `Normal` if it may not at all.
    pub fn highest(&self, key: KeyId, kind: Kind) -> Priority {
        if self.roots.contains_key(&key) {
            return Priority::Emergency;
        }
        let alive = self.grants.get(&key).into_iter().flatten().filter(|held| held.depth.is_some());
        let fitting = alive.filter(|held| held.grant.kinds.contains(&kind));
        fitting.map(|held| held.grant.up_to).max().unwrap_or(Priority::Normal)
    }

    /// Where `key` may give orders of `kind`; empty for a root, which may anywhere, and for a key that may nowhere.
    pub fn areas(&self, key: KeyId, kind: Kind) -> Vec<Area> {
        let alive = self.grants.get(&key).into_iter().flatten().filter(|held| held.depth.is_some());
        let fitting = alive.filter(|held| held.grant.kinds.contains(&kind));
        let mut areas: Vec<Area> = fitting.flat_map(|held| held.grant.areas.clone()).collect();
        areas.sort();
        areas.dedup();
        areas
    }

    /// Whether `key` may give orders of `kind` for the whole of `area`; without trusted time (`None`) dates are not asked.
    pub fn covers(&self, key: KeyId, kind: Kind, area: &Area, now: Option<Civil>) -> bool {
        let alive = self.grants.get(&key).into_iter().flatten().filter(|held| held.depth.is_some());
        let reaches = |grant: &Grant| grant.areas.iter().any(|of| of.contains(area)) && grant.kinds.contains(&kind);
        self.roots.contains_key(&key) || alive.into_iter().any(|held| held.grant.is_valid(now) && reaches(&held.grant))
    }

    /// Until when the grant of `key` that lasts longest is valid; a root needs none. `None` if no living grant is known.
    pub fn until(&self, key: KeyId) -> Option<Civil> {
        if self.roots.contains_key(&key) {
            return Some(Civil(i64::MAX));
        }
        let alive = self.grants.get(&key)?.iter().filter(|held| held.depth.is_some());
        alive.map(|held| held.grant.until).max()
    }

    /// Highest revocation epoch seen.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Forgets grants that ended long enough ago for every cancel under them to have expired, and
    /// expired revocations of keys that hold no grant any more.
    pub fn expire(&mut self, now: Civil) {
        if self.locks.expire(now) {
            self.relink();
        }
        let Self { grants, revocations, given, .. } = self;
        grants.retain(|_, held| {
            held.retain(|held| {
                let keep = held.grant.until + order::MAX_LIFE > now;
                if !keep {
                    forget_given(given, held.granter);
                }
                keep
            });
            !held.is_empty()
        });
        revocations.retain(|key, held| {
            held.retain(|revocation| revocation.expires > now || grants.contains_key(key));
            !held.is_empty()
        });
    }

    fn key(&self, id: KeyId) -> Option<PublicKey> {
        let granted = || self.grants.get(&id)?.first().map(|held| held.grant.key);
        self.roots.get(&id).copied().or_else(granted)
    }

    fn check_signatures(&self, order: &Order, signed: &proto::Signed) -> Result<(), Refusal> {
        let count = signed.signatures.len();
        if !(1..=MAX_SIGNATURES).contains(&count) {
            let text = format!("order {} has {count} signatures: give one to {MAX_SIGNATURES}", order.id);
            return Err(refuse(MALFORMED, text));
        }
        let mut keys = Vec::with_capacity(count);
        for signature in &signed.signatures {
            let Some(id) = KeyId::from_slice(&signature.key).filter(|id| !keys.contains(id)) else {
                return Err(refuse(
                    MALFORMED,
                    format!("order {}: each signature names another key, in 16 bytes", order.id),
                ));
            };
            keys.push(id);
        }
        if !keys.contains(&order.authority) {
            let text = format!("order {} lacks the signature of its authority {}: sign it", order.id, order.authority);
            return Err(refuse(SIGNATURE, text));
        }
        if self.key(order.authority).is_none() {
            let text = format!("no grant is known for key {}: send its chain of grants first", order.authority);
            return Err(refuse(GRANT_UNKNOWN, text));
        }
        for (id, signature) in keys.into_iter().zip(&signed.signatures) {
            let known = self.key(id);
            if known.is_some_and(|key| !key.verify(Domain::Order, &signed.payload, &signature.value)) {
                let text = format!("the signature of key {id} under order {} fails: it is forged or damaged", order.id);
                return Err(refuse(SIGNATURE, text));
            }
        }
        Ok(())
    }

    /// Finds the grant under which `order` stands. `strict` asks whether the grant is alive.
    fn vouch(
        &self,
        order: Order,
        now: Option<Civil>,
        strict: bool,
        signed: &proto::Signed,
    ) -> Result<Vouched, Refusal> {
        if let Body::Revoke(revoke) = &order.body {
            self.check_revocation(&order, revoke.key)?;
        }
        if self.roots.contains_key(&order.authority) {
            return Ok(Vouched { order, up_to: Priority::Emergency, depth: 0 });
        }
        let key = order.authority;
        let mut refusal = refuse(GRANT_UNKNOWN, format!("no grant is known for key {key}: send its chain first"));
        let mut best: Option<(Priority, u8)> = None;
        for held in self.grants.get(&key).into_iter().flatten() {
            // A lock must not shut out all whom its key placed, from emergencies too.
            let placed = held.placing.filter(|(_, locked)| order.is_placement() && order.issued < *locked);
            let depth = match held.depth {
                _ if placed.is_some() => placed.map_or(MAX_DEPTH, |(depth, _)| depth),
                Some(_) if strict && order.issued <= held.since => {
                    let text =
                        format!("key {key}, or one above it, was locked when it gave order {}: give it anew", order.id);
                    keep_nearest(&mut refusal, refuse(LOCKED, text));
                    continue;
                }
                Some(depth) => depth,
                None if strict => {
                    keep_nearest(&mut refusal, self.gone(held));
                    continue;
                }
                None => MAX_DEPTH,
            };
            if strict
                && held.grant.needs_second(&order)
                && let Err(alone) = self.second(&order, held, signed, now)
            {
                keep_nearest(&mut refusal, alone);
            } else if !held.grant.is_valid(now) {
                let text = format!("the grant of {:?}, key {key}, is not valid now: renew it", held.grant.name);
                keep_nearest(&mut refusal, refuse(GRANT_EXPIRED, text));
            } else if order.kind() == Kind::Grant && depth >= MAX_DEPTH {
                let text =
                    format!("key {key} ends a chain of {MAX_DEPTH} grants: have a key nearer the root grant this");
                keep_nearest(&mut refusal, refuse(DEPTH, text));
            } else if let Err(outside) = held.grant.covers(&order) {
                keep_nearest(&mut refusal, outside);
            } else if best.is_none_or(|(up_to, best)| (held.grant.up_to, u8::MAX - depth) > (up_to, u8::MAX - best)) {
                best = Some((held.grant.up_to, depth));
            }
        }
        let (up_to, depth) = best.ok_or(refusal)?;
        Ok(Vouched { order, up_to, depth })
    }

    /// Why a grant without a living chain does not serve.
    fn gone(&self, held: &Held) -> Refusal {
        let key = held.grant.key.id();
        match self.is_locked(held) {
            true => refuse(LOCKED, format!("key {key}, or one above it, is locked: two administrators release it")),
            false => refuse(
                REVOKED,
                format!(
                    "key {key}, or one above it, is revoked, and its orders are refused everywhere: enrol its node anew with a root, under a new authority"
                ),
            ),
        }
    }

    /// A revocation reaches grants within its areas; one that reaches none of the grants that its
    /// key is known to hold is a mistake or an attack.
    fn check_revocation(&self, order: &Order, key: KeyId) -> Result<(), Refusal> {
        if self.roots.contains_key(&key) {
            let text = format!("key {key} is a root: withdraw it by removing its file from every node");
            return Err(refuse(SCOPE, text));
        }
        let held = self.grants.get(&key).map_or(&[][..], Vec::as_slice);
        let reaches = |held: &Held| area::within(&order.areas, &held.grant.areas).is_ok();
        if self.roots.contains_key(&order.authority) || held.is_empty() || held.iter().any(reaches) {
            return Ok(());
        }
        Err(refuse(
            SCOPE,
            format!("no grant of key {key} lies within the areas of this revocation: have a wider key revoke it"),
        ))
    }

    fn admit_grant(&mut self, order: &Order, grant: &Grant, signed: &proto::Signed) {
        let key = grant.key.id();
        let held = self.grants.entry(key).or_default();
        if self.roots.contains_key(&key)
            || held.iter().any(|held| held.id == order.id && held.granter == order.authority)
        {
            if held.is_empty() {
                self.grants.remove(&key);
            }
            return;
        }
        let mut new = Held {
            id: order.id,
            granter: order.authority,
            grant: grant.clone(),
            depth: None,
            since: Civil(i64::MIN),
            placing: None,
            sequence: self.sequence,
            signed: order::keep(signed),
        };
        if let Some((depth, since)) = self.link_of(&new) {
            (new.depth, new.since) = (Some(depth), since);
        }
        self.grants.entry(key).or_default().push(new);
        *self.given.entry(order.authority).or_default() += 1;
        self.bound_grants(key, order.authority);
        // Those beneath an earlier grant of this key may now have a shorter chain.
        if self.given.contains_key(&key) {
            self.relink();
        }
    }

    fn admit_revocation(&mut self, order: &Order, key: KeyId, signed: &proto::Signed) {
        let by = order.authority;
        let known = self.revocations.get(&key).into_iter().flatten().any(|held| held.id == order.id && held.by == by);
        if known || !self.make_room_for_revocation(by) {
            return;
        }
        let areas = (!self.roots.contains_key(&by)).then(|| order.areas.clone());
        let sequence = self.sequence;
        let revocation =
            Revocation { id: order.id, by, areas, expires: order.expires, sequence, signed: order::keep(signed) };
        self.revocations.entry(key).or_default().push(revocation);
        if self.grants.contains_key(&key) {
            self.relink();
        }
    }

    /// The length of the shortest living chain that ends in `held`, and from when on its orders count.
    fn link_of(&self, held: &Held) -> Option<(u8, Civil)> {
        let key = held.grant.key.id();
        if self.revocations.get(&key).into_iter().flatten().any(|revocation| revocation.reaches(&held.grant)) {
            return None;
        }
        if self.roots.contains_key(&held.granter) {
            return Some((1, self.locks.since(&held.grant, 1)?));
        }
        let above = self.grants.get(&held.granter)?;
        let chains = above.iter().filter(|above| above.grant.contains(&held.grant));
        let (depth, since) = chains.filter_map(|above| Some((above.depth?, above.since))).min()?;
        let depth = (depth < MAX_DEPTH).then_some(depth + 1)?;
        Some((depth, since.max(self.locks.since(&held.grant, depth)?)))
    }

    /// Finds every grant's depth anew, from the roots down: no circle of keys that grant to one
    /// another holds itself up.
    fn relink(&mut self) {
        self.grants.values_mut().flatten().for_each(|held| (held.depth, held.placing) = (None, None));
        self.relink_places();
        for _ in 0..MAX_DEPTH {
            let linked: Vec<(KeyId, usize, (u8, Civil))> = self
                .grants
                .iter()
                .flat_map(|(key, all)| all.iter().enumerate().map(move |(index, held)| (*key, index, held)))
                .filter(|(_, _, held)| held.depth.is_none())
                .filter_map(|(key, index, held)| Some((key, index, self.link_of(held)?)))
                .collect();
            if linked.is_empty() {
                return;
            }
            for (key, index, (depth, since)) in linked {
                if let Some(held) = self.grants.get_mut(&key).and_then(|all| all.get_mut(index)) {
                    (held.depth, held.since) = (Some(depth), since);
                }
            }
        }
    }

    fn bound_grants(&mut self, key: KeyId, granter: KeyId) {
        let all = self.grants.get(&key).map_or(&[][..], Vec::as_slice);
        let ends_first = |held: &&Held| (held.grant.until, held.sequence);
        let of_pair: Vec<&Held> = all.iter().filter(|held| held.granter == granter).collect();
        let victim = if of_pair.len() > MAX_GRANTS_PER_PAIR {
            of_pair.into_iter().min_by_key(ends_first)
        } else if all.len() > MAX_GRANTS_PER_KEY {
            all.iter().max_by_key(|held| (depth_rank(held), std::cmp::Reverse(held.grant.until)))
        } else if self.given.values().sum::<usize>() > MAX_GRANTS {
            let every = || self.grants.values().flatten();
            let expired = every().filter(|held| held.grant.until <= self.newest).min_by_key(ends_first);
            let given = |held: &Held| self.given.get(&held.granter).copied().unwrap_or(0);
            expired.or_else(|| every().max_by_key(|held| (depth_rank(held), given(held), held.sequence)))
        } else {
            None
        };
        if let Some((key, sequence)) = victim.map(|held| (held.grant.key.id(), held.sequence)) {
            self.forget_grant(key, sequence);
        }
    }

    fn forget_grant(&mut self, key: KeyId, sequence: u64) {
        let Some(held) = self.grants.get_mut(&key) else { return };
        if let Some(index) = held.iter().position(|held| held.sequence == sequence) {
            forget_given(&mut self.given, held.remove(index).granter);
        }
        if held.is_empty() {
            self.grants.remove(&key);
        }
        if self.given.contains_key(&key) {
            self.relink();
        }
    }

    /// False when nothing may go: to forget a revocation that holds a key down is never right.
    fn make_room_for_revocation(&mut self, by: KeyId) -> bool {
        let every = || self.revocations.values().flatten();
        let own = every().filter(|held| held.by == by).count();
        if own >= MAX_REVOCATIONS_PER_KEY && !self.roots.contains_key(&by) {
            return false;
        }
        if every().count() < MAX_REVOCATIONS {
            return true;
        }
        let idle = self.revocations.iter().filter(|(key, _)| !self.grants.contains_key(key));
        let victim = idle
            .flat_map(|(key, all)| all.iter().map(move |held| (*key, held)))
            .min_by_key(|(_, held)| (held.expires > self.newest, held.areas.is_none(), held.sequence))
            .map(|(key, held)| (key, held.sequence));
        let Some((key, sequence)) = victim else { return false };
        if let Some(all) = self.revocations.get_mut(&key) {
            all.retain(|held| held.sequence != sequence);
            if all.is_empty() {
                self.revocations.remove(&key);
            }
        }
        true
    }
}

fn needs_time(order: &Order) -> bool {
    match order.kind() {
        Kind::Broadcast => !order.is_emergency(),
        Kind::Hush => true,
        Kind::Grant | Kind::Tick | Kind::Placement | Kind::Cancel | Kind::Revoke => false,
    }
}

/// Of the reasons why each of several grants does not serve, tells the one that came closest.
fn keep_nearest(kept: &mut Refusal, other: Refusal) {
    const FAR_TO_NEAR: [&str; 7] = [GRANT_UNKNOWN, REVOKED, GRANT_EXPIRED, DEPTH, SCOPE, LOCKED, SECOND];
    let rank = |code| FAR_TO_NEAR.iter().position(|&other| other == code);
    if rank(other.code) >= rank(kept.code) {
        *kept = other;
    }
}

/// Without a chain counts as deepest.
fn depth_rank(held: &Held) -> u8 {
    held.depth.unwrap_or(u8::MAX)
}

fn forget_given(given: &mut BTreeMap<KeyId, usize>, granter: KeyId) {
    if let Some(count) = given.get_mut(&granter) {
        *count -= 1;
        if *count == 0 {
            given.remove(&granter);
        }
    }
}

/// Links of a chain (DESIGN §6): nation, province, commune, station, and as many again.
const MAX_DEPTH: u8 = 8;
/// An authority's own and co-signers'.
const MAX_SIGNATURES: usize = 4;
/// A country's commune-level units (3,321) and provinces twice over, while grants are renewed;
/// about 1 KiB each.
const MAX_GRANTS: usize = 8_192;
/// A key's grants from one granter: renewed weekly for two weeks, three overlap.
const MAX_GRANTS_PER_PAIR: usize = 4;
/// Checking an order looks at each of its key's grants.
const MAX_GRANTS_PER_KEY: usize = 16;
/// Grants are short-lived, so few keys need revoking at a time.
const MAX_REVOCATIONS: usize = 4_096;
/// By one key that is not a root, so that a stolen one can't fill the list.
const MAX_REVOCATIONS_PER_KEY: usize = 256;
