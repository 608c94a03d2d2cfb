//! Orders: anything a node is told to do, signed by an authority.
use super::Area;
use crate::key::{KeyId, PublicKey, SigningKey};
use crate::proto;
use crate::time::Civil;
use crate::track;
use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    Normal,
    Priority,
    Emergency,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Broadcast,
    Cancel,
    Hush,
    Grant,
    Revoke,
    Placement,
    Tick,
}

/// A decoded order. Only [`super::Authorities::check`] vouches for one.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    pub id: Uuid,
    pub authority: KeyId,
    pub number: u64,
    pub issued: Civil,
    pub expires: Civil,
    pub areas: Vec<Area>,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Broadcast(Broadcast),
    Cancel(Cancel),
    Hush(Hush),
    Grant(super::Grant),
    Revoke(Revoke),
    Placement(Placement),
    Tick(Tick),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Broadcast {
    pub priority: Priority,
    pub from: Civil,
    pub until: Civil,
    /// Playout delay, µs: 0 < delay ≤ 60 s.
    pub delay: i64,
    /// 1 to 4; same duration and anchor.
    pub renditions: Vec<track::Info>,
    pub tone: Option<Tone>,
    pub title: String,
    pub revision: u32,
    pub supersedes: Option<Uuid>,
    pub stored: bool,
    pub resume: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tone {
    /// T0: when every speaker starts it.
    pub at: Civil,
    pub which: u32,
    /// µs.
    pub duration: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancel {
    pub broadcast: Uuid,
    pub at: Civil,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hush {
    pub until: Civil,
    pub up_to: Priority,
    pub exempt: Vec<Area>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoke {
    pub key: KeyId,
    pub epoch: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    pub node: Uuid,
    pub area: Area,
    pub name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    pub time: Civil,
    pub log: Uuid,
    pub head: u64,
    pub epoch: u64,
}

/// Why an order is not acted on: `code` is stable (`order.signature`, `order.scope`,
/// `order.expired`, `order.replayed`, `order.malformed`, `order.grant_unknown`, …), `text` names the
/// thing, the place and the mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {text}")]
pub struct Refusal {
    pub code: &'static str,
    pub text: String,
}

impl Order {
    pub fn kind(&self) -> Kind {
        todo!()
    }

    /// Reads the payload of a `Signed` and checks every field's range; no signature is checked here.
    pub fn decode(_payload: &[u8]) -> Result<Self, Refusal> {
        todo!()
    }

    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }
}

/// Encodes and signs; `order.authority` must be `key.id()`.
pub fn sign(_order: &Order, _key: &SigningKey) -> proto::Signed {
    todo!()
}

#[allow(dead_code)]
fn _uses(_: PublicKey) {}
