//! Who may speak where, and who may not: keys and grants, and how they sign.

use bytes::Bytes;
use loa::broadcast::{Area, Body, Grant, Kind, Order, Placement, Priority, Revoke, sign};
use loa::key::SigningKey;
use loa::proto;
use loa::time::{Civil, SECOND};
use std::ops::Range;
use std::sync::OnceLock;
use uuid::Uuid;

/// Civil time at local time 0 of every world.
pub const NOW: Civil = Civil(1_800_000_000 * SECOND);
pub const DAY: i64 = 86_400 * SECOND;
/// Where the node of every world stands.
pub const HERE: &str = "vn/01/00004";
pub const NODE: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);
pub const PARENT: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0002);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Root,
    /// `vn`, everything.
    Nation,
    /// `vn/01`, everything.
    Province,
    /// `vn/02`, everything.
    Neighbour,
    /// The node's commune, up to priority; may grant nothing.
    Commune,
    /// The same; its right is taken in the midst of every programme.
    Mayor,
    /// The same; its right ended when the world began.
    Lapsed,
    /// May cancel and hush in the node's commune, and no more.
    Warden,
    /// Without any right.
    Stranger,
    /// Named by those who may not name anybody.
    Puppet,
}

impl Who {
    pub fn key(self) -> &'static SigningKey {
        static KEYS: OnceLock<Vec<SigningKey>> = OnceLock::new();
        let keys = KEYS.get_or_init(|| (1..=10).map(|seed| SigningKey::from_seed(&[seed; 32])).collect());
        &keys[self as usize]
    }

    /// An order with its number as its id, issued at `issued` of the world's time (µs).
    pub fn order(self, number: u64, issued: i64, areas: &[&str], body: Body) -> Order {
        Order::new(id(number), self.key().id(), number, NOW + issued, areas_of(areas), body)
    }

    pub fn sign(self, number: u64, issued: i64, areas: &[&str], body: Body) -> proto::Signed {
        sign(&self.order(number, issued, areas, body), self.key())
    }

    /// A grant that holds between two days, counted from the world's beginning.
    pub fn grants(
        self,
        number: u64,
        to: Who,
        place: &str,
        may: (&[Kind], Priority),
        days: Range<i64>,
    ) -> proto::Signed {
        let grant = Grant {
            key: to.key().public(),
            areas: areas_of(&[place]),
            kinds: may.0.to_vec(),
            up_to: may.1,
            from: NOW + days.start * DAY,
            until: NOW + days.end * DAY,
            name: format!("{to:?}"),
            alone_from: 0,
        };
        self.sign(number, days.start * DAY, &[place], Body::Grant(grant))
    }
}

/// All that a node of this country is given at every join, and has in its journal.
pub fn grants() -> Vec<proto::Signed> {
    let all = (&EVERY_KIND[..], Priority::Emergency);
    let local = (&[Kind::Broadcast, Kind::Cancel, Kind::Hush][..], Priority::Priority);
    let stops = (&[Kind::Cancel, Kind::Hush][..], Priority::Priority);
    vec![
        Who::Root.grants(1, Who::Nation, "vn", all, -20..20),
        Who::Nation.grants(2, Who::Province, "vn/01", all, -19..19),
        Who::Nation.grants(3, Who::Neighbour, "vn/02", all, -19..19),
        Who::Province.grants(4, Who::Commune, HERE, local, -18..18),
        Who::Province.grants(5, Who::Mayor, HERE, local, -18..18),
        Who::Province.grants(6, Who::Lapsed, HERE, local, -13..0),
        Who::Province.grants(7, Who::Warden, HERE, stops, -18..18),
    ]
}

/// Where a node stands, said by a root.
pub fn placement(node: Uuid, place: &str) -> proto::Signed {
    let number = 20 + (node.as_u128() & 0xf) as u64;
    Who::Root.sign(number, -DAY, &["vn"], placed(node, place))
}

pub fn placed(node: Uuid, place: &str) -> Body {
    Body::Placement(Placement { node, area: area(place), name: "a node".into(), parents: Vec::new() })
}

pub fn revoked(who: Who) -> Body {
    Body::Revoke(Revoke { key: who.key().id(), epoch: 1 })
}

pub fn area(text: &str) -> Area {
    text.parse().expect("an area")
}

pub fn areas_of(texts: &[&str]) -> Vec<Area> {
    texts.iter().map(|text| area(text)).collect()
}

/// UUIDv7s that rise with their number.
pub fn id(number: u64) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis((NOW.0 / 1_000).unsigned_abs() + number, &[7; 10]).into_uuid()
}

pub fn bytes(id: Uuid) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

pub const EVERY_KIND: [Kind; 7] =
    [Kind::Broadcast, Kind::Cancel, Kind::Hush, Kind::Grant, Kind::Revoke, Kind::Placement, Kind::Tick];
