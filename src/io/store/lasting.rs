//! What of a journal still means anything: it is written anew, shorter, when a node starts on a long one. Of what a node
//! says of itself the newest counts; an order that could not be repeated any more for a week, the keys of its tracks
//! and what became of it have had their time. Rights, places and locks stay whatever they are.

use crate::broadcast::{Body, Order};
use crate::proto::{self, record};
use crate::time::{Civil, SECOND};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Those of `records` that a node needs after a restart, in their order; receipts behind their orders.
pub fn lasting(records: Vec<proto::Record>) -> Vec<proto::Record> {
    let decoded = |signed: &proto::Signed| Order::decode(&signed.payload).ok();
    let issued = |record: &proto::Record| match &record.body {
        Some(record::Body::Time(time)) => Some(Civil(*time)),
        Some(record::Body::Order(signed)) => decoded(signed).map(|order| order.issued),
        _ => None,
    };
    let newest = records.iter().filter_map(issued).max().unwrap_or_default();
    let past = |at: Civil| at + KEPT < newest;
    let (mut kept_tracks, mut gone_tracks) = (BTreeSet::new(), BTreeSet::new());
    let mut over = |signed: &proto::Signed| {
        let Some(order) = decoded(signed) else { return false };
        let ended = past(order.expires)
            && matches!(order.body, Body::Broadcast(_) | Body::Cancel(_) | Body::Hush(_) | Body::Prefer(_));
        if let Body::Broadcast(broadcast) = &order.body {
            let tracks = if ended { &mut gone_tracks } else { &mut kept_tracks };
            tracks.extend(broadcast.renditions.iter().map(|info| info.id));
        }
        ended
    };
    let (mut kept, mut time, mut hands) = (Vec::with_capacity(records.len()), None, None);
    let mut receipts: BTreeMap<(Vec<u8>, Vec<u8>), proto::Receipt> = BTreeMap::new();
    for record in records {
        match &record.body {
            Some(record::Body::Order(signed)) if over(signed) => {}
            Some(record::Body::Time(_)) => time = Some(record),
            Some(record::Body::Hands(_)) => hands = Some(record),
            Some(record::Body::Receipts(of)) => {
                for receipt in &of.receipts {
                    let key = (receipt.order.to_vec(), receipt.node.to_vec());
                    let newer = receipts.get(&key).is_none_or(|held| held.revision < receipt.revision);
                    if newer && !given(&receipt.order).is_some_and(past) {
                        receipts.insert(key, receipt.clone());
                    }
                }
            }
            _ => kept.push(record),
        }
    }
    let gone = |record: &proto::Record| match &record.body {
        Some(record::Body::Key(key)) => Uuid::from_slice(&key.track)
            .is_ok_and(|track| gone_tracks.contains(&track) && !kept_tracks.contains(&track)),
        _ => false,
    };
    kept.retain(|record| !gone(record));
    let receipts: Vec<proto::Receipt> = receipts.into_values().collect();
    let said = receipts
        .chunks(TOGETHER)
        .map(|some| proto::Record { body: Some(record::Body::Receipts(proto::Kept { receipts: some.to_vec() })) });
    kept.extend(said.chain(hands).chain(time));
    kept
}

/// When an order was given, as its id (UUIDv7) has it.
fn given(order: &[u8]) -> Option<Civil> {
    let (seconds, nanoseconds) = Uuid::from_slice(order).ok()?.get_timestamp()?.to_unix();
    Some(Civil(i64::try_from(seconds).ok()?.saturating_mul(SECOND) + i64::from(nanoseconds / 1_000)))
}

/// µs beyond an order's end: its receipts are asked for as long, and a little more.
const KEPT: i64 = 8 * 24 * 3_600 * SECOND;
/// Receipts in one record: a record is 64 KiB at most.
const TOGETHER: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broadcast::{Cancel, Grant, Kind, Priority, sign};
    use crate::key::SigningKey;

    const NOW: Civil = Civil(1_800_000_000 * SECOND);
    const DAY: i64 = 24 * 3_600 * SECOND;

    fn record(body: record::Body) -> proto::Record {
        proto::Record { body: Some(body) }
    }

    fn id(at: Civil, number: u8) -> Uuid {
        uuid::Builder::from_unix_timestamp_millis((at.0 / 1_000) as u64, &[number; 10]).into_uuid()
    }

    fn order(at: Civil, number: u8, body: Body) -> proto::Record {
        let key = SigningKey::from_seed(&[1; 32]);
        let areas = vec!["vn".parse().unwrap()];
        record(record::Body::Order(sign(&Order::new(id(at, number), key.id(), 1, at, areas, body), &key)))
    }

    fn cancel(at: Civil, number: u8) -> proto::Record {
        order(at, number, Body::Cancel(Cancel { broadcast: id(at, 99), at }))
    }

    fn receipt(at: Civil, number: u8, node: u8, revision: u32) -> proto::Receipt {
        let order = id(at, number).as_bytes().to_vec().into();
        proto::Receipt { order, node: vec![node; 16].into(), revision, ..Default::default() }
    }

    fn said(receipts: &[proto::Receipt]) -> proto::Record {
        record(record::Body::Receipts(proto::Kept { receipts: receipts.to_vec() }))
    }

    #[test]
    fn what_had_its_time_goes_and_of_what_is_said_again_the_newest_stays() {
        let old = NOW + -60 * DAY;
        let grant = Grant {
            key: SigningKey::from_seed(&[2; 32]).public(),
            areas: vec!["vn/01".parse().unwrap()],
            kinds: vec![Kind::Broadcast],
            up_to: Priority::Normal,
            from: old,
            until: old + DAY,
            name: "ended long ago".into(),
            alone_from: 0,
        };
        let (right, recent) = (order(old, 1, Body::Grant(grant)), cancel(NOW + -3_600 * SECOND, 2));
        let ago = NOW + -DAY;
        let records = vec![
            right.clone(),
            cancel(old, 3),
            record(record::Body::Time(old.0)),
            said(&[receipt(old, 3, 1, 5), receipt(ago, 4, 1, 2)]),
            recent.clone(),
            said(&[receipt(ago, 4, 1, 7), receipt(ago, 4, 2, 1)]),
            said(&[receipt(ago, 4, 1, 3)]),
            record(record::Body::Time(NOW.0)),
        ];
        let kept = lasting(records);
        let both = said(&[receipt(ago, 4, 1, 7), receipt(ago, 4, 2, 1)]);
        assert_eq!(kept, [right, recent, both, record(record::Body::Time(NOW.0))]);
        assert_eq!(lasting(kept.clone()), kept, "once is enough");
        assert_eq!(lasting(Vec::new()), []);
    }
}
