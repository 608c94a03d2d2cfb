//! An order with its grants and what became of it, for tests.
use crate::broadcast::receipt::{Heard, Named, Outcome, Receipt, Sum, Tally};
use crate::broadcast::{Area, Body, Broadcast, Grant, Kind, Order, Priority, Purpose, sign};
use crate::key::{PublicKey, SigningKey};
use crate::node::trunk::Account;
use crate::proto;
use crate::time::{Civil, SECOND};
use crate::track::{Info, Secret};
use std::collections::BTreeMap;
use uuid::Uuid;

pub const NOW: Civil = Civil(1_800_000_000 * SECOND);
const DAY: i64 = 24 * 3_600 * SECOND;

pub fn root() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn nation() -> SigningKey {
    SigningKey::from_seed(&[2; 32])
}

pub fn area(text: &str) -> Area {
    text.parse().unwrap()
}

fn grant(key: PublicKey) -> proto::Signed {
    let grant = Grant {
        key,
        areas: vec![area("vn")],
        kinds: vec![Kind::Broadcast, Kind::Cancel, Kind::Hush],
        up_to: Priority::Emergency,
        from: NOW - DAY,
        until: NOW + 10 * DAY,
        name: "the nation".into(),
        alone_from: 0,
    };
    let id = Uuid::from_u128(0x7000_8000_0000_0000_0001);
    let order = Order::new(id, root().id(), 1, NOW - DAY, vec![area("vn")], Body::Grant(grant));
    sign(&order, &root())
}

/// Broadcast `number`, at `at`, for two communes: three played all of it, and one was not reached.
pub fn account(number: u128, at: Civil) -> Account {
    let secret = Secret { key: [3; 16], salt: [5; 12] };
    let track = Info {
        id: Uuid::from_u128(0x0001_0000_7000_8000_0000_0000_0000 + number),
        sign: SigningKey::from_seed(&[9; 32]).public(),
        ssrc: 7,
        duration: 11_520,
        anchor: at,
        key_hash: secret.hash(),
        bitrate: 24_000,
        packets: Some(25),
    };
    let broadcast = Broadcast {
        priority: Priority::Normal,
        purpose: Purpose::Real,
        from: at,
        until: at + 6 * SECOND,
        delay: SECOND,
        renditions: vec![track.clone()],
        tone: None,
        title: "Bản tin".into(),
        revision: 0,
        supersedes: None,
        stored: false,
        resume: false,
        prepared: false,
    };
    let id = Uuid::from_u128(0x0002_0000_7000_8000_0000_0000_0000 + number);
    let order = Order::new(id, nation().id(), 5, at - SECOND, vec![area("vn/01")], Body::Broadcast(broadcast));
    let signed = sign(&order, &nation());
    let mut played = Receipt::new(id, at);
    played.handle_began(at + SECOND);
    played.handle_let_out(at + 7 * SECOND, 0);
    played.handle_audio([7; 32]);
    played.handle_played(true);
    let mut sum = Sum::new(id, Uuid::from_u128(1));
    for (node, commune) in [(10, "vn/01/00001"), (11, "vn/01/00001"), (12, "vn/01/00002")] {
        sum.add(Uuid::from_u128(node), &area(commune), Outcome::of(&played), Some(&played), false);
    }
    sum.add(Uuid::from_u128(13), &area("vn/01/00002"), Outcome::NotReached, None, false);
    let named: Vec<(Named, String)> = sum.named.iter().map(|named| (named.clone(), "cột 13".to_owned())).collect();
    let areas: BTreeMap<Area, Tally> = sum.areas;
    Account {
        heard: Heard::of(&order, &signed).unwrap(),
        received: at,
        settled: true,
        version: 1,
        areas,
        named,
        unnamed: 0,
        relays: 2,
        relays_reached: 2,
        audio: [(track.id, [7; 32])].into(),
        grants: vec![grant(nation().public())],
    }
}
