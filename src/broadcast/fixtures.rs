//! A small country for tests: a root, a nation, two provinces, a commune, and a stranger.

use super::*;
use crate::key::{KeyId, PublicKey, SigningKey};
use crate::proto;
use crate::time::{Civil, SECOND};
use crate::track;
use std::cell::Cell;
use uuid::Uuid;

/// 2027-01-15, when every test happens.
pub const NOW: Civil = Civil(1_800_000_000 * SECOND);
pub const MINUTE: i64 = 60 * SECOND;
pub const DAY: i64 = 24 * 60 * MINUTE;

pub const EVERY_KIND: [Kind; 7] =
    [Kind::Broadcast, Kind::Cancel, Kind::Hush, Kind::Grant, Kind::Revoke, Kind::Placement, Kind::Tick];

/// A key that gives orders, numbered, with ids that rise across all signers of a thread.
pub struct Signer {
    pub key: SigningKey,
    number: Cell<u64>,
}

impl Signer {
    pub fn new(seed: u8) -> Self {
        Self { key: SigningKey::from_seed(&[seed; 32]), number: Cell::new(0) }
    }

    pub fn id(&self) -> KeyId {
        self.key.id()
    }

    pub fn public(&self) -> PublicKey {
        self.key.public()
    }

    /// An order issued at [`NOW`].
    pub fn order(&self, areas: &[&str], body: Body) -> Order {
        self.number.set(self.number.get() + 1);
        Order::new(fresh_id(), self.id(), self.number.get(), NOW, areas_of(areas), body)
    }

    pub fn sign(&self, areas: &[&str], body: Body) -> proto::Signed {
        sign(&self.order(areas, body), &self.key)
    }

    pub fn grants(&self, grant: Grant) -> proto::Signed {
        let areas: Vec<&str> = grant.areas.iter().map(Area::as_str).collect();
        self.sign(&areas, Body::Grant(grant.clone()))
    }
}

pub struct Country {
    pub root: Signer,
    pub nation: Signer,
    /// `vn/01`, emergencies too.
    pub province: Signer,
    /// `vn/02`.
    pub neighbour: Signer,
    /// `vn/01/00004`, up to priority; may not grant.
    pub commune: Signer,
    pub stranger: Signer,
    pub authorities: Authorities,
}

impl Country {
    pub fn new() -> Self {
        let [root, nation, province, neighbour, commune, stranger] = [1, 2, 3, 4, 5, 6].map(Signer::new);
        let mut authorities = Authorities::new(vec![root.public()]);
        let local = [Kind::Broadcast, Kind::Cancel, Kind::Hush, Kind::Tick];
        let grants = [
            root.grants(grant(&nation, &["vn"], &EVERY_KIND, Priority::Emergency, 13)),
            nation.grants(grant(&province, &["vn/01"], &EVERY_KIND, Priority::Emergency, 12)),
            nation.grants(grant(&neighbour, &["vn/02"], &EVERY_KIND, Priority::Emergency, 12)),
            province.grants(grant(&commune, &["vn/01/00004"], &local, Priority::Priority, 11)),
        ];
        for signed in &grants {
            let order = authorities.check(signed, Some(NOW)).unwrap();
            authorities.admit(&order, signed);
        }
        Self { root, nation, province, neighbour, commune, stranger, authorities }
    }

    /// Checks, admits and books at `now`, as a node does.
    pub fn take(&mut self, book: &mut Book, now: Civil, signed: &proto::Signed) -> Result<Change, Refusal> {
        let order = self.authorities.check(signed, Some(now))?;
        let change = book.handle(Some(now), &order, signed)?;
        self.authorities.admit(&order, signed);
        Ok(change)
    }
}

pub fn area(text: &str) -> Area {
    text.parse().unwrap()
}

pub fn areas_of(texts: &[&str]) -> Vec<Area> {
    texts.iter().map(|text| area(text)).collect()
}

/// Valid from a day ago for `days` from now.
pub fn grant(to: &Signer, areas: &[&str], kinds: &[Kind], up_to: Priority, days: i64) -> Grant {
    Grant {
        key: to.public(),
        areas: areas_of(areas),
        kinds: kinds.to_vec(),
        up_to,
        from: NOW - (days * DAY),
        until: NOW + days * DAY,
        name: format!("{areas:?}"),
        alone_from: 0,
    }
}

/// Minutes from [`NOW`].
pub fn at(minutes: i64) -> Civil {
    NOW + minutes * MINUTE
}

/// On the air between two minutes from [`NOW`].
pub fn bulletin(priority: Priority, from: i64, until: i64) -> Broadcast {
    Broadcast {
        priority,
        from: at(from),
        until: at(until),
        delay: SECOND,
        renditions: vec![rendition(at(from))],
        purpose: Purpose::Real,
        tone: None,
        title: "Bản tin".to_owned(),
        revision: 0,
        supersedes: None,
        stored: false,
        resume: false,
        prepared: false,
    }
}

pub fn rendition(anchor: Civil) -> track::Info {
    let id = fresh_id();
    track::Info {
        id,
        sign: SigningKey::from_seed(&[77; 32]).public(),
        ssrc: id.as_u128() as u32,
        duration: 11_520,
        anchor,
        key_hash: [9; 32],
        bitrate: 24_000,
        packets: None,
    }
}

pub fn cancel(broadcast: Uuid, at: Civil) -> Body {
    Body::Cancel(Cancel { broadcast, at })
}

pub fn hush(up_to: Priority, until: Civil) -> Body {
    Body::Hush(Hush { until, up_to, exempt: Vec::new() })
}

pub fn order_id(signed: &proto::Signed) -> Uuid {
    Order::decode(&signed.payload).unwrap().id
}

/// A UUIDv7; later ones are greater.
pub fn fresh_id() -> Uuid {
    thread_local!(static COUNT: Cell<u64> = const { Cell::new(0) });
    let count = COUNT.replace(COUNT.get() + 1);
    let mut tail = [0; 10];
    tail[6..].copy_from_slice(&(count as u32).to_be_bytes());
    uuid::Builder::from_unix_timestamp_millis((NOW.0 / 1_000) as u64 + count, &tail).into_uuid()
}
