//! Keys and their chains of grants from a root.
use super::{Area, Kind, Order, Priority, Refusal};
use crate::key::PublicKey;
use crate::proto;
use crate::time::Civil;

/// What a key may do; each link of a chain is narrower than the one above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub key: PublicKey,
    pub areas: Vec<Area>,
    pub kinds: Vec<Kind>,
    pub up_to: Priority,
    pub from: Civil,
    pub until: Civil,
    pub name: String,
}

/// Roots, grants and revocations known to a node.
#[derive(Debug)]
pub struct Authorities {}

impl Authorities {
    /// Roots may sign anything.
    pub fn new(_roots: Vec<PublicKey>) -> Self {
        todo!()
    }

    /// Decodes and vouches: every named signature holds, the authority's chain leads to a root
    /// (depth ≤ 8), nothing on it is revoked, and the order lies within every grant on it: areas
    /// (a hush's and broadcast's areas contained; a cancel's too), kind, priority, validity at
    /// `now`. `now: None` (no trusted time yet) skips validity dates, for emergencies, grants, ticks
    /// and placements only; other kinds are refused with `order.no_time`.
    pub fn check(&self, _signed: &proto::Signed, _now: Option<Civil>) -> Result<Order, Refusal> {
        todo!()
    }

    /// Takes a checked grant or revocation in. Bounded; the oldest expired grants go first.
    pub fn admit(&mut self, _order: &Order, _signed: &proto::Signed) {
        todo!()
    }

    /// The signed grants from a root down to `key`, for `Hello` and `Welcome`; empty for a root.
    pub fn chain(&self, _key: crate::key::KeyId) -> Vec<proto::Signed> {
        todo!()
    }

    /// Every signed grant and revocation held, for a child that joins.
    pub fn all(&self) -> Vec<proto::Signed> {
        todo!()
    }

    /// The highest priority that `key` may give orders of `kind` at; `Normal` if it may not at all.
    pub fn highest(&self, _key: crate::key::KeyId, _kind: Kind) -> Priority {
        todo!()
    }

    /// Highest revocation epoch seen.
    pub fn epoch(&self) -> u64 {
        todo!()
    }
}
