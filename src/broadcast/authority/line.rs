//! Lines of grants: as they prove an order, and as they stood before any lock.

use super::{Authorities, Held, MAX_DEPTH, second};
use crate::key::KeyId;
use crate::proto;
use crate::time::Civil;

impl Authorities {
    /// The signed grants from a root down to `key`, for `Hello` and `Welcome`; empty for a root, and
    /// for a key without a living grant. Of several, those that are valid longest.
    pub fn chain(&self, key: KeyId) -> Vec<proto::Signed> {
        let alive = self.grants.get(&key).into_iter().flatten().filter(|held| held.depth.is_some());
        let line = alive.max_by_key(|held| held.grant.until).map_or(Vec::new(), |held| self.line(held));
        line.into_iter().rev().map(|held| held.signed.clone()).collect()
    }

    fn chain_at(&self, key: KeyId, at: Civil) -> Vec<proto::Signed> {
        let held = self.grants.get(&key).into_iter().flatten();
        let serves = |held: &&Held| held.depth.is_some() && held.grant.is_valid(Some(at));
        let Some(last) = held.filter(serves).max_by_key(|held| held.grant.until) else { return self.chain(key) };
        let above = |held: &&Held| {
            let above = self.grants.get(&held.granter).into_iter().flatten();
            let leads = |above: &&Held| above.depth < held.depth && above.grant.contains(&held.grant);
            above.filter(serves).filter(leads).max_by_key(|above| above.grant.until)
        };
        let mut line: Vec<&Held> = std::iter::successors(Some(last), above).collect();
        line.reverse();
        line.into_iter().map(|held| held.signed.clone()).collect()
    }

    /// Whether somebody signed an order of whom nothing is known here.
    pub fn lacks_signer(&self, signed: &proto::Signed) -> bool {
        second::signers(signed).any(|key| self.key(key).is_none())
    }

    /// The signed grants from a root down to all who signed an order: what proves it to somebody who knows the roots alone.
    /// Of several grants of a key, one that was valid when the order was issued.
    pub fn chains(&self, signed: &proto::Signed, issued: Civil) -> Vec<proto::Signed> {
        let mut all: Vec<proto::Signed> = Vec::new();
        for grant in second::signers(signed).flat_map(|key| self.chain_at(key, issued)) {
            if !all.contains(&grant) {
                all.push(grant);
            }
        }
        all
    }

    pub(super) fn relink_places(&mut self) {
        for _ in 0..MAX_DEPTH {
            let linked: Vec<(KeyId, usize, (u8, Civil))> = self
                .grants
                .iter()
                .flat_map(|(key, all)| all.iter().enumerate().map(move |(index, held)| (*key, index, held)))
                .filter(|(_, _, held)| held.placing.is_none())
                .filter_map(|(key, index, held)| Some((key, index, self.placing_of(held)?)))
                .collect();
            if linked.is_empty() {
                return;
            }
            for (key, index, placing) in linked {
                if let Some(held) = self.grants.get_mut(&key).and_then(|all| all.get_mut(index)) {
                    held.placing = Some(placing);
                }
            }
        }
    }

    /// As [`Self::link_of`], locks aside.
    fn placing_of(&self, held: &Held) -> Option<(u8, Civil)> {
        let key = held.grant.key.id();
        if self.revocations.get(&key).into_iter().flatten().any(|revocation| revocation.reaches(&held.grant)) {
            return None;
        }
        if self.roots.contains_key(&held.granter) {
            return Some((1, self.locks.begins(&held.grant, 1)));
        }
        let above = self.grants.get(&held.granter)?;
        let chains = above.iter().filter(|above| above.grant.contains(&held.grant));
        let (depth, locked) =
            chains.filter_map(|above| above.placing).max_by_key(|(depth, locked)| (*locked, u8::MAX - *depth))?;
        let depth = (depth < MAX_DEPTH).then_some(depth + 1)?;
        Some((depth, locked.min(self.locks.begins(&held.grant, depth))))
    }
}
