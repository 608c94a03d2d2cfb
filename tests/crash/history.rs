//! What a node writes down in its life: true orders with true signatures, and packets with true seals.
use crate::dice::Dice;
use bytes::Bytes;
use loa::broadcast::*;
use loa::key::SigningKey;
use loa::proto::{self, Record, record};
use loa::time::{Civil, SECOND};
use loa::track::{Info, Packet, Reader, Secret, Writer};
use std::collections::BTreeMap;
use uuid::Uuid;

pub const NOW: Civil = Civil(1_800_000_000 * SECOND);
const DAY: i64 = 86_400 * SECOND;
/// Tracks that a history writes, and packets of each.
pub const TRACKS: u8 = 3;
pub const PACKETS: u64 = 60;

pub fn root() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

pub fn own() -> SigningKey {
    SigningKey::from_seed(&[2; 32])
}

pub fn node() -> Uuid {
    id(7)
}

fn id(number: u64) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(1_800_000_000_000 + number, &[9; 10]).into_uuid()
}

/// Draws what is appended next.
pub struct Orders {
    number: u64,
    broadcasts: Vec<Uuid>,
}

impl Orders {
    pub fn new() -> Self {
        Self { number: 100, broadcasts: Vec::new() }
    }

    /// As a node's folder is made: its place, and its right to speak.
    pub fn first(&mut self) -> Vec<Record> {
        let all = [Kind::Broadcast, Kind::Cancel, Kind::Hush, Kind::Grant, Kind::Revoke, Kind::Placement, Kind::Tick];
        let grant = grant(own(), vec![area("vn")], &all);
        let place = Placement { node: node(), area: area("vn"), name: "origin".into(), parents: Vec::new() };
        vec![
            self.signed(&root(), vec![area("vn")], Body::Placement(place)),
            self.signed(&root(), vec![area("vn")], Body::Grant(grant)),
        ]
    }

    /// One to four records, some of them longer than a page of the disk.
    pub fn draw(&mut self, dice: &mut Dice) -> Vec<Record> {
        (0..=dice.below(4)).map(|_| self.one(dice)).collect()
    }

    fn one(&mut self, dice: &mut Dice) -> Record {
        let here = area(&format!("vn/{:02}", dice.below(30)));
        let known = dice.pick(&self.broadcasts).copied();
        let stranger = SigningKey::from_seed(&[100 + dice.below(20) as u8; 32]);
        let body = match (dice.below(9), known) {
            (0, _) => return Record { body: Some(record::Body::Time(NOW.0 + dice.below(DAY as u64) as i64)) },
            (1, _) => {
                let (track, secret) = (id(500 + dice.below(9)), secret(dice.below(9) as u8).to_proto());
                let key = proto::StoredKey { track: bytes(track), secret: (!dice.one_in(3)).then_some(secret) };
                return Record { body: Some(record::Body::Key(key)) };
            }
            (2, Some(broadcast)) => Body::Cancel(Cancel { broadcast, at: NOW + SECOND }),
            (3, _) => Body::Hush(Hush { until: NOW + 600 * SECOND, up_to: Priority::Normal, exempt: Vec::new() }),
            (4, _) => Body::Expel(Expel { node: id(3_000 + dice.below(50)) }),
            (5, _) => {
                // Eight segments of up to 32 letters each: as long as an order gets.
                let far =
                    (0..40).map(|at| area(&format!("vn/{here}{}/x{at}", "/segment-of-31-letters-or-so".repeat(3))));
                let far: Vec<Area> = far.collect();
                let grant = grant(stranger, far.clone(), &[Kind::Broadcast]);
                return self.signed(&own(), far, Body::Grant(grant));
            }
            (6, _) => {
                let revoke = Revoke { key: stranger.public().id(), epoch: self.number };
                return self.signed(&own(), vec![area("vn")], Body::Revoke(revoke));
            }
            _ => {
                let broadcast = broadcast(self.number);
                let order = self.signed(&own(), vec![here], Body::Broadcast(broadcast));
                self.broadcasts.push(id(self.number));
                return order;
            }
        };
        self.signed(&own(), vec![here], body)
    }

    fn signed(&mut self, by: &SigningKey, areas: Vec<Area>, body: Body) -> Record {
        self.number += 1;
        let order = Order::new(id(self.number), by.public().id(), self.number, NOW, areas, body);
        Record { body: Some(record::Body::Order(sign(&order, by))) }
    }
}

fn grant(to: SigningKey, areas: Vec<Area>, kinds: &[Kind]) -> Grant {
    let (from, until) = (NOW - DAY, NOW + 10 * DAY);
    Grant {
        key: to.public(),
        areas,
        kinds: kinds.to_vec(),
        up_to: Priority::Emergency,
        from,
        until,
        name: "a".into(),
        alone_from: 0,
    }
}

fn broadcast(number: u64) -> Broadcast {
    let from = NOW + (number % 50) as i64 * 60 * SECOND;
    Broadcast {
        priority: Priority::Normal,
        purpose: Purpose::Real,
        from,
        until: from + 60 * SECOND,
        delay: SECOND,
        renditions: vec![Info { id: id(number), anchor: from, ..info(0) }],
        tone: None,
        title: format!("Bản tin {number}"),
        revision: 0,
        supersedes: None,
        stored: false,
        resume: false,
        prepared: false,
    }
}

fn area(text: &str) -> Area {
    text.parse().unwrap()
}

fn bytes(id: Uuid) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

fn secret(number: u8) -> Secret {
    Secret { key: [number; 16], salt: [number; 12] }
}

fn info(number: u8) -> Info {
    Info {
        id: id(5_000 + u64::from(number)),
        sign: SigningKey::from_seed(&[200 + number; 32]).public(),
        ssrc: 4_000 + u32::from(number),
        duration: 11_520,
        anchor: NOW,
        key_hash: secret(number).hash(),
        bitrate: 24_000,
        packets: Some(PACKETS),
    }
}

/// Every packet of every track, and what reads them.
pub struct Sound {
    pub tracks: BTreeMap<Uuid, Vec<Packet>>,
    readers: BTreeMap<Uuid, Reader>,
}

impl Sound {
    pub fn new() -> Self {
        let made = |number: u8| {
            let (info, key) = (info(number), SigningKey::from_seed(&[200 + number; 32]));
            let room = Writer::room(info.bitrate, info.duration);
            let mut writer = Writer::new(info.clone(), &secret(number), key, room);
            let record = |index: u64| vec![index as u8 ^ number; 60 + index as usize % 7];
            let packets = (0..PACKETS).map(|index| writer.write(&[record(index)], NOW).unwrap()).collect();
            (info.id, packets)
        };
        let reader = |number| (info(number).id, Reader::new(&info(number), &secret(number)).unwrap());
        Self { tracks: (0..TRACKS).map(made).collect(), readers: (0..TRACKS).map(reader).collect() }
    }

    /// What is read back is what was written, and a loudspeaker would sound it.
    pub fn check(&self, track: Uuid, packet: &Packet) {
        assert_eq!(self.tracks[&track].get(packet.index as usize), Some(packet), "a packet that nobody made");
        assert!(self.readers[&track].read(packet.index, &packet.bytes).is_ok(), "a packet that does not verify");
    }
}
