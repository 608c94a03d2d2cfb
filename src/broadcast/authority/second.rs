//! Two signatures: for an emergency that is wider than one may give alone, and to release a lock.
//!
//! The second counts if its key may give the same order, and if neither of the two empowered the other: whoever holds one
//! key must not be able to make the other. Whoever empowered both is not asked, as it could have given the order itself;
//! if it could not, the two that it made do not count either.

use super::super::refusal::*;
use super::{Authorities, Body, Held, Order, Refusal, Vouched};
use crate::key::KeyId;
use crate::proto;
use crate::time::Civil;

impl Authorities {
    /// Whether one of the signatures under `order`, which hold, is a second beside the grant `first`.
    pub(super) fn second(
        &self,
        order: &Order,
        first: &Held,
        signed: &proto::Signed,
        now: Option<Civil>,
    ) -> Result<(), Refusal> {
        let restricted = |held: &Held| held.grant.needs_second(order);
        let others = signers(signed).filter(|key| *key != order.authority);
        if others.into_iter().any(|key| self.is_second(order, first, key, now, restricted)) {
            return Ok(());
        }
        let text = format!(
            "order {} wakes more than {:?} may alone: have another authority over these areas sign it too",
            order.id, first.grant.name
        );
        Err(refuse(SECOND, text))
    }

    /// A release takes two that may lock there, or a root.
    pub(super) fn check_release(
        &self,
        order: &Vouched,
        now: Option<Civil>,
        signed: &proto::Signed,
    ) -> Result<(), Refusal> {
        if !matches!(order.body, Body::Release(_)) || signers(signed).any(|key| self.roots.contains_key(&key)) {
            return Ok(());
        }
        let firsts = self.alive(order, order.authority, now);
        let mut seconds = signers(signed).filter(|key| *key != order.authority);
        let counts = |key: KeyId| firsts.iter().any(|first| self.is_second(order, first, key, now, |_| false));
        if seconds.any(counts) {
            return Ok(());
        }
        let text =
            format!("release {} bears one signature that counts: have a second administrator sign it too", order.id);
        Err(refuse(SECOND, text))
    }

    /// Every key on the chains of those who signed, themselves included.
    pub(super) fn involved(&self, signed: &proto::Signed) -> Vec<KeyId> {
        let mut keys: Vec<KeyId> = signers(signed).collect();
        let held = keys.iter().filter_map(|key| self.grants.get(key)).flatten();
        let above: Vec<KeyId> = held.flat_map(|held| self.line(held)).map(|held| held.granter).collect();
        keys.extend(above);
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    fn is_second(
        &self,
        order: &Order,
        first: &Held,
        key: KeyId,
        now: Option<Civil>,
        restricted: impl Fn(&Held) -> bool,
    ) -> bool {
        if self.roots.contains_key(&key) {
            return true;
        }
        let line = self.line(first);
        self.alive(order, key, now).into_iter().any(|second| {
            let other = self.line(second);
            let empowers = |by: &Held, line: &[&Held]| line.iter().any(|held| held.granter == by.grant.key.id());
            let both = line.iter().filter(|held| other.iter().any(|held_too| held_too.grant.key == held.grant.key));
            !empowers(first, &other) && !empowers(second, &line) && !both.into_iter().any(|held| restricted(held))
        })
    }

    /// Grants of `key` under which it may give `order` now, a second signature left aside.
    fn alive(&self, order: &Order, key: KeyId, now: Option<Civil>) -> Vec<&Held> {
        let held = self.grants.get(&key).into_iter().flatten();
        let serves = |held: &&Held| held.depth.is_some() && held.since < order.issued && held.grant.is_valid(now);
        held.filter(serves).filter(|held| held.grant.covers(order).is_ok()).collect()
    }

    /// The grants from `held` up to a root.
    pub(super) fn line<'a>(&'a self, held: &'a Held) -> Vec<&'a Held> {
        let above = |held: &&'a Held| {
            let above = self.grants.get(&held.granter).into_iter().flatten();
            // Depths fall strictly on the way up, so this ends.
            above
                .filter(|parent| parent.depth.is_some() && parent.depth < held.depth)
                .filter(|parent| parent.grant.contains(&held.grant))
                .max_by_key(|parent| parent.grant.until)
        };
        std::iter::successors(Some(held), above).collect()
    }
}

pub(super) fn signers(signed: &proto::Signed) -> impl Iterator<Item = KeyId> {
    signed.signatures.iter().filter_map(|signature| KeyId::from_slice(&signature.key))
}
