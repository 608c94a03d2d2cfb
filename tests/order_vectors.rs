//! `tests/vectors/orders.json` holds orders as another implementer needs them: keys, fields, bytes,
//! signatures, and what must be refused. How an order is encoded is drawn in `broadcast::codec`.

use loa::broadcast::*;
use loa::key::{Domain, PublicKey, SigningKey};
use loa::proto;
use loa::time::{Civil, SECOND};
use loa::track;
use prost::Message;
use serde_json::{Value, json};
use uuid::Uuid;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/orders.json");
const NOW: Civil = Civil(1_800_000_000 * SECOND);
const DAY: i64 = 86_400 * SECOND;
const NAMES: [&str; 3] = ["root", "nation", "commune"];

fn key(name: &str) -> SigningKey {
    let seed = NAMES.iter().position(|known| *known == name).unwrap() as u8 + 1;
    SigningKey::from_seed(&[seed; 32])
}

fn id(number: u8) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(1_800_000_000_000, &[number; 10]).into_uuid()
}

fn area(text: &str) -> Area {
    text.parse().unwrap()
}

fn grant(to: &str, place: &str, kinds: &[Kind], up_to: Priority, days: i64) -> Body {
    Body::Grant(Grant {
        key: key(to).public(),
        areas: vec![area(place)],
        kinds: kinds.to_vec(),
        up_to,
        from: NOW,
        until: NOW + days * DAY,
        name: to.to_owned(),
        alone_from: 0,
    })
}

fn emergency() -> Broadcast {
    let tone = Tone { at: NOW + SECOND / 2, which: 1, duration: 3 * SECOND };
    let delay = 600_000;
    Broadcast {
        priority: Priority::Emergency,
        from: NOW,
        until: NOW + 600 * SECOND,
        delay,
        renditions: vec![track::Info {
            id: id(100),
            sign: SigningKey::from_seed(&[9; 32]).public(),
            ssrc: 0x1234_5678,
            duration: 5_760,
            anchor: tone.at + tone.duration - delay,
            key_hash: [0xab; 32],
            bitrate: 24_000,
            packets: None,
        }],
        purpose: Purpose::Real,
        tone: Some(tone),
        title: "Cảnh báo lũ".to_owned(),
        revision: 0,
        supersedes: None,
        stored: false,
        resume: false,
        prepared: false,
    }
}

/// Name, signer, areas and body of each order, in an order in which they can be checked.
fn orders() -> Vec<(&'static str, &'static str, &'static str, Body)> {
    use Kind::*;
    let all = [Broadcast, Cancel, Hush, Grant, Revoke, Placement, Tick];
    let local = [Broadcast, Cancel, Hush, Tick];
    let commune = "vn/01/00004";
    let tick = loa::broadcast::Tick { time: NOW, log: id(101), head: 41, epoch: 0 };
    let placement = loa::broadcast::Placement {
        node: id(102),
        area: area(commune),
        name: "Nhà văn hóa".to_owned(),
        parents: Vec::new(),
    };
    let settings = loa::broadcast::Settings {
        normal: Volume::of_decibels(-6.5),
        hours: Some(vec![HourLimit { from: 21 * 60, until: 6 * 60, most: Volume::FLOOR }]),
        zone: "Asia/Ho_Chi_Minh".parse().ok(),
        delay: 120_000,
        stagger: Some(Stagger { group: 2, groups: 3, step: SECOND }),
        mute: Some(Mute::Until(NOW + loa::broadcast::Settings::MUTE)),
        ..loa::broadcast::Settings::open(id(102))
    };
    let hush = loa::broadcast::Hush {
        until: NOW + 300 * SECOND,
        up_to: Priority::Priority,
        exempt: vec![area("vn/01/00004/2")],
    };
    let cancel = loa::broadcast::Cancel { broadcast: id(3), at: NOW + 60 * SECOND };
    let revoke = loa::broadcast::Revoke { key: key("commune").id(), epoch: 1 };
    vec![
        ("grant to the nation", "root", "vn", grant("nation", "vn", &all, Priority::Emergency, 14)),
        ("grant to a commune", "nation", commune, grant("commune", commune, &local, Priority::Priority, 13)),
        ("emergency", "nation", "vn", Body::Broadcast(emergency())),
        ("cancel", "nation", "vn", Body::Cancel(cancel)),
        ("hush", "commune", commune, Body::Hush(hush)),
        ("placement", "nation", commune, Body::Placement(placement)),
        ("tick", "nation", "vn", Body::Tick(tick)),
        ("revocation", "root", "vn", Body::Revoke(revoke)),
        ("invitation", "nation", commune, Body::Invite(Invite { count: 40, relay: false })),
        ("expulsion", "nation", commune, Body::Expel(Expel { node: id(102) })),
        ("lock", "nation", commune, Body::Lock(Lock { key: key("commune").id() })),
        ("release", "root", "vn", Body::Release(Release { lock: id(11) })),
        ("preference", "nation", commune, Body::Prefer(Prefer { broadcasts: vec![id(3), id(103)] })),
        ("settings", "nation", commune, Body::Settings(settings)),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &Value) -> Vec<u8> {
    let digits = text.as_str().unwrap().as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The fields of an order by their names on the wire.
fn describe(order: &Order) -> Value {
    let areas = |areas: &[Area]| areas.iter().map(Area::to_string).collect::<Vec<_>>();
    let name = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
    let body = match &order.body {
        Body::Broadcast(body) => {
            let rendition = &body.renditions[0];
            json!({"broadcast": {
                "priority": name(&body.priority), "from": body.from.0, "until": body.until.0, "delay": body.delay,
                "renditions": [{
                    "track": rendition.id, "sign": hex(&rendition.sign.0), "ssrc": rendition.ssrc,
                    "duration": rendition.duration, "anchor": rendition.anchor.0, "key_hash": hex(&rendition.key_hash),
                    "bitrate": rendition.bitrate, "packets": rendition.packets.unwrap_or(0),
                }],
                "tone": body.tone.map(|tone| json!({"at": tone.at.0, "which": tone.which, "duration": tone.duration})),
                "title": body.title, "revision": body.revision, "supersedes": body.supersedes, "stored": body.stored,
                "resume": body.resume,
            }})
        }
        Body::Cancel(body) => json!({"cancel": {"broadcast": body.broadcast, "at": body.at.0}}),
        Body::Hush(body) => {
            json!({"hush": {"until": body.until.0, "up_to": name(&body.up_to), "exempt": areas(&body.exempt)}})
        }
        Body::Grant(body) => json!({"grant": {
            "key": hex(&body.key.0), "areas": areas(&body.areas), "up_to": name(&body.up_to), "from": body.from.0,
            "kinds": body.kinds.iter().map(|kind| name(kind)).collect::<Vec<_>>(), "until": body.until.0, "name": body.name, "alone_from": body.alone_from,
        }}),
        Body::Revoke(body) => json!({"revoke": {"key": hex(&body.key.0), "epoch": body.epoch}}),
        Body::Placement(body) => {
            json!({"placement": {"node": body.node, "area": body.area.as_str(), "name": body.name}})
        }
        Body::Invite(body) => json!({"invite": {"count": body.count, "relay": body.relay}}),
        Body::Expel(body) => json!({"expel": {"node": body.node}}),
        Body::Lock(body) => json!({"lock": {"key": hex(&body.key.0)}}),
        Body::Release(body) => json!({"release": {"lock": body.lock}}),
        Body::Prefer(body) => json!({"prefer": {"broadcasts": body.broadcasts}}),
        Body::Settings(body) => {
            let volume = |volume: Option<Volume>| volume.map(Volume::tenths);
            let limit =
                |limit: &HourLimit| json!({"from": limit.from, "until": limit.until, "most": limit.most.tenths()});
            let limits = |hours: &Vec<HourLimit>| json!({"limits": hours.iter().map(limit).collect::<Vec<_>>(), "zone": body.zone.map(|zone| zone.name())});
            let stagger =
                |stagger: Stagger| json!({"group": stagger.group, "groups": stagger.groups, "step": stagger.step});
            json!({"settings": {
                "node": body.node, "normal": volume(body.normal), "priority": volume(body.priority),
                "emergency": volume(body.emergency), "hours": body.hours.as_ref().map(limits), "delay": body.delay,
                "stagger": body.stagger.map(stagger),
                "muted_until": body.mute.map(|mute| if let Mute::Until(until) = mute { until.0 } else { 0 }),
            }})
        }
        Body::Tick(body) => {
            json!({"tick": {"time": body.time.0, "log": body.log, "head": body.head, "epoch": body.epoch}})
        }
    };
    json!({
        "id": order.id, "authority": hex(&order.authority.0), "number": order.number, "issued": order.issued.0,
        "expires": order.expires.0, "areas": areas(&order.areas), "body": body,
    })
}

/// The file as our own encoder would have it.
fn written() -> Value {
    let made: Vec<_> = orders()
        .into_iter()
        .enumerate()
        .map(|(index, (name, signer, place, body))| {
            let number = index as u8 + 1;
            let order = Order::new(id(number), key(signer).id(), number.into(), NOW, vec![area(place)], body);
            (name, signer, order)
        })
        .collect();
    let described = made.iter().map(|(name, signer, order)| {
        let signed = sign(order, &key(signer));
        json!({
            "name": name, "signer": signer, "fields": describe(order), "payload": hex(&signed.payload),
            "signature": hex(&signed.signatures[0].value), "signed": hex(&signed.encode_to_vec()),
        })
    });
    let broadcast = &made[2].2;
    let mut wide = Order { authority: key("commune").id(), ..broadcast.clone() };
    let outside = sign(&wide, &key("commune"));
    wide.areas = vec![area("vn/01/00004")];
    let too_high = sign(&wide, &key("commune"));
    let mut tampered = sign(broadcast, &key("nation"));
    let mut payload = tampered.payload.to_vec();
    *payload.iter_mut().find(|byte| **byte == b'C').unwrap() = b'c';
    tampered.payload = payload.into();
    let mut sealed = sign(broadcast, &key("nation"));
    sealed.signatures[0].value = key("nation").sign(Domain::Seal, &sealed.payload).to_vec().into();
    let late = sign(&Order { issued: NOW + 61 * SECOND, ..broadcast.clone() }, &key("nation"));
    let refused = [
        ("a letter of the title is changed", tampered, "order.signature"),
        ("signed for another domain", sealed, "order.signature"),
        ("the commune speaks to the nation", outside, "order.scope"),
        ("the commune gives an emergency", too_high, "order.scope"),
        ("issued 61 s from now", late, "order.future"),
    ];
    json!({
        "about": [
            "Orders of package loa.v1. Hex throughout, times in µs Unix UTC.",
            "signature = Ed25519(seed of signer, domain ‖ payload); key id = SHA-256(public)[..16].",
            "signed is the encoded message Signed { payload, signatures: [{ key id, signature }] }.",
            "Taken in order, at time now, by a node that knows the root alone, each of orders is accepted;",
            "each of refused is refused, with this code, by a node that has taken the first two of orders.",
            "Another encoder may write other bytes for the same fields: readers verify what came.",
        ],
        "domain": hex(Domain::Order.prefix()),
        "now": NOW.0,
        "keys": NAMES.map(|name| json!({
            "name": name, "seed": hex(&[NAMES.iter().position(|known| *known == name).unwrap() as u8 + 1; 32]),
            "public": hex(&key(name).public().0), "id": hex(&key(name).id().0),
        })),
        "orders": described.collect::<Vec<_>>(),
        "refused": refused.map(|(name, signed, code)| json!({
            "name": name, "signed": hex(&signed.encode_to_vec()), "code": code,
        })),
    })
}

fn read() -> Value {
    serde_json::from_str(&std::fs::read_to_string(FILE).unwrap()).unwrap()
}

fn signed(vector: &Value) -> proto::Signed {
    proto::Signed::decode(unhex(&vector["signed"]).as_slice()).unwrap()
}

fn take(authorities: &mut Authorities, vector: &Value) -> Result<Order, Refusal> {
    let signed = signed(vector);
    let order = authorities.check(&signed, Some(NOW))?;
    authorities.admit(&order, &signed);
    Ok(order.into_order())
}

fn root() -> Authorities {
    Authorities::new(vec![key("root").public()])
}

#[test]
#[ignore = "writes the vectors anew, after a change of the wire format that was meant"]
fn write_the_vectors() {
    std::fs::write(FILE, serde_json::to_string_pretty(&written()).unwrap() + "\n").unwrap();
}

#[test]
fn orders_are_encoded_and_signed_as_the_vectors_say() {
    let (file, ours) = (read(), written());
    for name in ["domain", "now", "keys", "refused"] {
        assert_eq!(file[name], ours[name], "{name}");
    }
    for (theirs, ours) in file["orders"].as_array().unwrap().iter().zip(ours["orders"].as_array().unwrap()) {
        assert_eq!(theirs, ours);
    }
    assert_eq!(file, ours);
}

#[test]
fn every_vector_reads_and_verifies_and_its_chain_leads_to_the_root() {
    let file = read();
    let mut authorities = root();
    for vector in file["orders"].as_array().unwrap() {
        let order = take(&mut authorities, vector).unwrap_or_else(|refusal| panic!("{}: {refusal}", vector["name"]));
        assert_eq!(describe(&order), vector["fields"], "{}", vector["name"]);
        assert_eq!(signed(vector).payload, unhex(&vector["payload"]));
        let signer = file["keys"].as_array().unwrap().iter().find(|key| key["name"] == vector["signer"]).unwrap();
        let public = PublicKey::from_slice(&unhex(&signer["public"])).unwrap();
        assert!(public.verify(Domain::Order, &unhex(&vector["payload"]), &unhex(&vector["signature"])));
        assert_eq!(hex(&public.id().0), signer["id"]);
    }
    assert_eq!(authorities.epoch(), 1, "the last one revokes the commune");
}

#[test]
fn every_vector_to_be_refused_is_refused_for_its_reason() {
    let file = read();
    let mut authorities = root();
    for vector in &file["orders"].as_array().unwrap()[..2] {
        take(&mut authorities, vector).unwrap();
    }
    for vector in file["refused"].as_array().unwrap() {
        let refusal = authorities.check(&signed(vector), Some(NOW)).unwrap_err();
        assert_eq!(refusal.code, vector["code"], "{}: {refusal}", vector["name"]);
    }
}
