//! What truly is on the air in a minute: broadcasts, their sound, what stops them, and when a parent that means well
//! would hand each of it on. Signed and sealed once, used by many worlds.

use crate::country::{HERE, NOW, Who, areas_of, grants, id, placement, revoked};
use crate::country::{NODE, PARENT};
use crate::dice::Dice;
use bytes::Bytes;
use loa::broadcast::{Area, Body, Broadcast, Cancel, Hush, Order, Priority, Purpose, Tick, Tone, sign};
use loa::key::SigningKey;
use loa::proto;
use loa::time::{MILLISECOND, SECOND};
use loa::track::{Cipher, Info, Packet, Secret, Writer};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// µs of every programme.
pub const LENGTH: i64 = 60 * SECOND;
/// When the mayor's right is taken.
pub const REVOKED: i64 = 30 * SECOND;
pub const LOG: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0003);
pub const LOG_SSRC: u32 = 9;
/// From the making of a packet to its arrival.
const ON_THE_WAY: i64 = 20 * MILLISECOND;

pub struct Programme {
    /// In the order of their times (µs of the world).
    pub feed: Vec<(i64, Given)>,
    pub broadcasts: BTreeMap<Uuid, Truth>,
    pub tracks: BTreeMap<Uuid, Track>,
    pub stops: Vec<Stop>,
    pub hushes: Vec<Quiet>,
    /// Every payload that an authority signed within its right.
    pub payloads: BTreeSet<Bytes>,
}

/// What a parent hands on, at its time.
#[derive(Clone)]
pub enum Given {
    /// A packet of the log with the order of this id; before it, where there is one, the key of its track.
    Order {
        id: Uuid,
        packet: Packet,
        signed: proto::Signed,
        track: Option<Uuid>,
    },
    Tick {
        packet: Packet,
        signed: proto::Signed,
    },
    Sound {
        track: Uuid,
        index: u64,
    },
}

/// One broadcast, as those who speak meant it. Times are µs of the world.
#[derive(Clone, Debug)]
pub struct Truth {
    pub who: Who,
    pub priority: Priority,
    pub areas: Vec<Area>,
    pub begins: i64,
    pub ends: i64,
    /// When the first sample of speech is heard.
    pub speech: i64,
    pub tone: Option<(i64, i64)>,
    pub track: Uuid,
}

pub struct Track {
    pub info: Info,
    pub secret: Secret,
    pub cipher: Cipher,
    pub packets: Vec<Packet>,
    pub records: Vec<Bytes>,
    /// The same indices with other sound under another's seal, all else as it should be.
    pub pirated: Vec<Packet>,
}

pub struct Stop {
    pub id: Uuid,
    pub broadcast: Uuid,
    /// From when it is silent.
    pub at: i64,
}

pub struct Quiet {
    pub id: Uuid,
    pub from: i64,
    pub until: i64,
    pub up_to: Priority,
}

/// What is planned, before it is signed.
struct Plan {
    who: Who,
    priority: Priority,
    area: &'static str,
    given: i64,
    from: i64,
    packets: u64,
}

impl Programme {
    pub fn new(number: u64) -> Self {
        let mut dice = Dice::new(0x10a0_0000 + number);
        let mut made = Made { number: 1_000 * (number + 1), ..Made::default() };
        for plan in plans(&mut dice) {
            made.broadcast(&mut dice, plan);
        }
        made.stops(&mut dice);
        let revoke = Who::Province.sign(made.next(), REVOKED, &["vn/01"], revoked(Who::Mayor));
        made.orders.push((REVOKED, revoke, None));
        made.finish()
    }

    /// Tracks that are heard about now.
    pub fn on_air(&self, now: i64) -> Vec<Uuid> {
        let on = |truth: &&Truth| truth.begins - 2 * SECOND < now && now < truth.ends;
        self.broadcasts.values().filter(on).map(|truth| truth.track).collect()
    }

    pub fn nth_track(&self, at: u64) -> &Track {
        self.tracks.values().nth(at as usize % self.tracks.len()).expect("a programme has tracks")
    }
}

/// A bulletin for the whole minute, and six that come in between.
fn plans(dice: &mut Dice) -> Vec<Plan> {
    let bulletin =
        |given, from, packets| Plan { who: Who::Nation, priority: Priority::Normal, area: "vn", given, from, packets };
    let mut plans = vec![bulletin(400 * MILLISECOND, 1_200 * MILLISECOND, 234)];
    for slot in 0..6 {
        let from = (3 + 9 * slot) * SECOND + dice.between(0, 3 * SECOND);
        let local = [Who::Commune, Who::Mayor][usize::from(dice.one_in(2) && from < REVOKED - 8 * SECOND)];
        let (who, area) = match dice.below(5) {
            0 => (Who::Nation, "vn"),
            1 => (Who::Nation, "vn/01"),
            2 => (Who::Province, "vn/01"),
            3 => (Who::Province, HERE),
            _ => (local, HERE),
        };
        let most = if who == local { 2 } else { 3 };
        let priority = [Priority::Normal, Priority::Priority, Priority::Emergency][dice.below(most) as usize];
        let ahead = [300 * MILLISECOND, SECOND, 2 * SECOND, 6 * SECOND][dice.below(4) as usize];
        let given = (from - ahead).max(500 * MILLISECOND);
        plans.push(Plan { who, priority, area, given, from, packets: 10 + dice.below(15) });
    }
    plans
}

#[derive(Default)]
struct Made {
    number: u64,
    orders: Vec<(i64, proto::Signed, Option<Uuid>)>,
    sound: Vec<(i64, Given)>,
    broadcasts: BTreeMap<Uuid, Truth>,
    tracks: BTreeMap<Uuid, Track>,
    stops: Vec<Stop>,
    hushes: Vec<Quiet>,
}

impl Made {
    fn next(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn broadcast(&mut self, dice: &mut Dice, plan: Plan) {
        let Plan { who, priority, area, given, from, packets } = plan;
        let emergency = priority == Priority::Emergency;
        let (duration, delay) = if emergency { (5_760, 600 * MILLISECOND) } else { (11_520, SECOND) };
        let tone = emergency.then_some((given + 500 * MILLISECOND, 1_200 * MILLISECOND));
        let anchor = tone.map_or(from, |(at, lasts)| at + lasts - delay);
        let track = make_track(dice, id(self.next()), anchor, duration, packets);
        let until = anchor + packets as i64 * track.info.packet_micros();
        let from = tone.map_or(anchor, |(at, _)| at.min(anchor));
        let body = Broadcast {
            priority,
            from: NOW + from,
            until: NOW + until,
            delay,
            renditions: vec![track.info.clone()],
            tone: tone.map(|(at, duration)| Tone { at: NOW + at, which: 1, duration }),
            title: format!("{who:?}"),
            revision: 0,
            supersedes: None,
            stored: false,
            resume: false,
            prepared: false,
            purpose: Purpose::Real,
        };
        let order = who.order(self.next(), given, &[area], Body::Broadcast(body));
        let signed = sign(&order, who.key());
        let truth = Truth {
            who,
            priority,
            areas: areas_of(&[area]),
            begins: tone.map_or(from, |(at, _)| at),
            ends: until + delay,
            speech: anchor + delay,
            tone,
            track: track.info.id,
        };
        let packet = track.info.packet_micros();
        for index in 0..packets {
            let at = anchor + (index as i64 + 1) * packet + ON_THE_WAY;
            self.sound.push((at, Given::Sound { track: track.info.id, index }));
        }
        self.orders.push((given, signed, Some(track.info.id)));
        self.tracks.insert(track.info.id, track);
        self.broadcasts.insert(order.id, truth);
    }

    /// Three broadcasts are cancelled, one of them before it was given; and it is quiet twice.
    fn stops(&mut self, dice: &mut Dice) {
        let all: Vec<(Uuid, Truth)> = self.broadcasts.iter().skip(1).map(|(id, truth)| (*id, truth.clone())).collect();
        for (at, (broadcast, truth)) in all.iter().enumerate().filter(|(at, _)| at % 2 == 0) {
            let given = match at {
                2 => truth.begins - 7 * SECOND,
                _ => truth.begins + dice.between(-200 * MILLISECOND, truth.ends - truth.begins),
            };
            let given = given.max(600 * MILLISECOND);
            let silent = given + 300 * MILLISECOND;
            let who = if dice.one_in(2) { truth.who } else { Who::Nation };
            let who = if who == Who::Mayor { Who::Province } else { who };
            let areas: Vec<&str> = truth.areas.iter().map(Area::as_str).collect();
            let body = Body::Cancel(Cancel { broadcast: *broadcast, at: NOW + silent });
            let number = self.next();
            self.orders.push((given, who.sign(number, given, &areas, body), None));
            self.stops.push(Stop { id: id(number), broadcast: *broadcast, at: silent });
        }
        for from in [10 * SECOND, 38 * SECOND] {
            let from = from + dice.between(0, 10 * SECOND);
            let until = from + dice.between(SECOND, 3 * SECOND);
            let up_to = if dice.one_in(2) { Priority::Priority } else { Priority::Emergency };
            let body = Body::Hush(Hush { until: NOW + until, up_to, exempt: Vec::new() });
            let number = self.next();
            self.orders.push((from, Who::Province.sign(number, from, &["vn/01"], body), None));
            self.hushes.push(Quiet { id: id(number), from, until, up_to });
        }
    }

    /// Puts orders and ticks into the log, and all of it into order.
    fn finish(mut self) -> Programme {
        let mut payloads: BTreeSet<Bytes> = grants().into_iter().map(|signed| signed.payload).collect();
        payloads.extend([NODE, PARENT].map(|node| placement(node, "vn/01").payload));
        payloads.insert(placement(NODE, HERE).payload);
        self.orders.sort_by_key(|(at, ..)| *at);
        let mut orders = std::mem::take(&mut self.orders).into_iter().peekable();
        let (mut feed, mut index) = (std::mem::take(&mut self.sound), 0);
        for at in (100 * MILLISECOND..LENGTH).step_by(10_000_000) {
            let tick = Tick { time: NOW + at, log: LOG, head: index, epoch: 0 };
            let signed = Who::Nation.sign(self.next(), at, &["vn"], Body::Tick(tick));
            payloads.insert(signed.payload.clone());
            feed.push((at, Given::Tick { packet: in_log(&log_cipher(), index, &signed), signed }));
            index += 1;
            while let Some((given, signed, track)) = orders.next_if(|(given, ..)| *given < at + 10_000_000) {
                payloads.insert(signed.payload.clone());
                let id = Order::decode(&signed.payload).expect("an order of our own").id;
                let packet = in_log(&log_cipher(), index, &signed);
                feed.push((given, Given::Order { id, packet, signed, track }));
                index += 1;
            }
        }
        feed.sort_by_key(|(at, _)| *at);
        let Made { broadcasts, tracks, stops, hushes, .. } = self;
        Programme { feed, broadcasts, tracks, stops, hushes, payloads }
    }
}

fn make_track(dice: &mut Dice, id: Uuid, anchor: i64, duration: u32, packets: u64) -> Track {
    let (seed, pirate) = (dice.bytes(), dice.bytes());
    let secret = Secret { key: dice.bytes(), salt: dice.bytes() };
    let info = Info {
        id,
        sign: SigningKey::from_seed(&seed).public(),
        ssrc: dice.below(1 << 32) as u32,
        duration,
        anchor: NOW + anchor,
        key_hash: secret.hash(),
        bitrate: 24_000,
        packets: None,
    };
    let room = Writer::room(info.bitrate, duration);
    let writer = |seed| Writer::new(info.clone(), &secret, SigningKey::from_seed(seed), room);
    let (mut own, mut other) = (writer(&seed), writer(&pirate));
    let mut track = Track {
        cipher: Cipher::new(&secret, info.ssrc),
        info: info.clone(),
        secret: secret.clone(),
        packets: Vec::new(),
        records: Vec::new(),
        pirated: Vec::new(),
    };
    for index in 0..packets {
        let mut record = vec![0; room - 2];
        record[..16].copy_from_slice(&dice.bytes::<16>());
        let false_record = [&[0xff; 16], &record[16..]].concat();
        let time = NOW + anchor + index as i64 * info.packet_micros();
        track.packets.push(own.write(&[&record], time).expect("a record that fits"));
        track.pirated.push(other.write(&[&false_record], time).expect("a record that fits"));
        track.records.push(record.into());
    }
    track
}

pub fn log_secret() -> Secret {
    Secret { key: [8; 16], salt: [9; 12] }
}

pub fn log_cipher() -> Cipher {
    Cipher::new(&log_secret(), LOG_SSRC)
}

/// An order as a log carries it: whoever holds the log's key can make this.
pub fn in_log(cipher: &Cipher, index: u64, order: &proto::Signed) -> Packet {
    Packet { index, bytes: cipher.protect(index, index as u32, 97, &order.encode_to_vec()) }
}
