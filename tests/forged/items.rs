//! What a hostile or confused parent does next: each item of a sequence, drawn and carried out.

use crate::country::{HERE, area, bytes, id};
use crate::dice::Dice;
use crate::pool::{FAULTS, Fault, Pool, TICK_AT};
use crate::programme::{Given, LENGTH, LOG, LOG_SSRC, REVOKED, Track, in_log, log_cipher, log_secret};
use crate::world::{World, log};
use bytes::Bytes;
use loa::broadcast::{Body, Cancel, Priority};
use loa::proto::{self, to_child};
use loa::session::Arrival;
use loa::time::{MILLISECOND, SECOND};
use loa::track::{Cipher, Header, LAST_INDEX, Secret};
use prost::Message;

/// By name, for the count of what was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    FalseBroadcast(Fault),
    FalseOrder,
    FalseTick,
    NarrowCancel,
    CutOrder,
    FlippedOrder,
    ReplayedOrder,
    GarbageInLog,
    LogFarAhead,
    OtherLog,
    FlippedPacket,
    CutPacket,
    OtherSeal,
    MovedSeal,
    OtherTracksSeal,
    OtherKey,
    ReplayedPacket,
    FarAhead,
    UnknownSsrc,
    Noise,
    FalseBulk,
    WrongSecret,
    HeldBack,
    Restart,
}

/// How many restarts there are in ten thousand items: each costs as much as a hundred others.
const RESTARTS: u64 = 4;

pub fn draw(dice: &mut Dice) -> Item {
    use Item::*;
    if dice.below(10_000) < RESTARTS {
        return Restart;
    }
    match dice.below(100) {
        0..18 => FalseBroadcast(FAULTS[dice.below(FAULTS.len() as u64) as usize]),
        18..22 => FalseOrder,
        22..24 => FalseTick,
        24..26 => NarrowCancel,
        26..30 => CutOrder,
        30..34 => FlippedOrder,
        34..39 => ReplayedOrder,
        39..42 => GarbageInLog,
        42..43 => LogFarAhead,
        43..45 => OtherLog,
        45..53 => FlippedPacket,
        53..58 => CutPacket,
        58..64 => OtherSeal,
        64..68 => MovedSeal,
        68..72 => OtherTracksSeal,
        72..76 => OtherKey,
        76..81 => ReplayedPacket,
        81..85 => FarAhead,
        85..88 => UnknownSsrc,
        88..92 => Noise,
        92..95 => FalseBulk,
        95..98 => WrongSecret,
        _ => HeldBack,
    }
}

/// Carries an item out; false: there was nothing yet to do it with.
pub fn play(world: &mut World, pool: &Pool, dice: &mut Dice, item: Item) -> bool {
    use Item::*;
    match item {
        FalseBroadcast(fault) => false_broadcast(world, pool, dice, fault),
        FalseOrder => dice.pick(&pool.others).is_some_and(|order| by_any_way(world, dice, order)),
        FalseTick => {
            let Some(tick) = dice.pick(&pool.ticks) else { return false };
            if dice.one_in(2) {
                media(world, in_log(&log_cipher(), TICK_AT, tick).bytes);
                return true;
            }
            by_any_way(world, dice, tick)
        }
        NarrowCancel => narrow_cancel(world, dice),
        CutOrder | FlippedOrder => {
            let Some(mut order) = known_order(world, dice) else { return false };
            let flip = item == FlippedOrder;
            match dice.below(3) {
                0 if flip => order.signatures[0].value = flipped(dice, &order.signatures[0].value),
                0 => order.signatures[0].value.truncate(dice.below(64) as usize),
                _ if flip => order.payload = flipped(dice, &order.payload),
                _ => order.payload.truncate(dice.below(order.payload.len() as u64) as usize),
            }
            by_any_way(world, dice, &order)
        }
        ReplayedOrder => {
            let Some(order) = known_order(world, dice) else { return false };
            by_any_way(world, dice, &order)
        }
        GarbageInLog => {
            let garbage = if dice.one_in(2) { vec![] } else { noise(dice) };
            let index = log_index(world, dice);
            media(world, log_cipher().protect(index, index as u32, 97, &garbage));
            true
        }
        LogFarAhead => {
            let Some(order) = known_order(world, dice) else { return false };
            let far = [300, 1 << 16, 1 << 40][dice.below(3) as usize] + dice.below(1_000);
            media(world, in_log(&log_cipher(), world.logged + far, &order).bytes);
            true
        }
        OtherLog => {
            other_log(world, pool, dice);
            true
        }
        HeldBack => {
            world.hold_back(dice.between(10 * MILLISECOND, 2 * SECOND));
            true
        }
        Restart => {
            world.restart();
            let settled = world.now + 700 * MILLISECOND;
            world.run_until(settled);
            true
        }
        WrongSecret => {
            wrong_secret(world, pool, dice);
            true
        }
        _ => {
            packet(world, dice, item);
            true
        }
    }
}

/// The order, the key to its track and some of its sound: all that a true one brings, but for the right to it.
fn false_broadcast(world: &mut World, pool: &Pool, dice: &mut Dice, fault: Fault) -> bool {
    let (_, orders, own) = pool.of(fault);
    if fault == Fault::Revoked && world.now < REVOKED + 3 * SECOND {
        return false;
    }
    let bulletin = world.programme.broadcasts.keys().next().copied();
    if fault == Fault::StolenId && !bulletin.is_some_and(|id| world.oracle.is_given(id)) {
        return false;
    }
    let Some(order) = dice.pick(orders) else { return false };
    by_any_way(world, dice, order);
    if dice.one_in(3) {
        let key = proto::Key { track: bytes(own.info.id), secret: Some(own.secret.to_proto()) };
        world.say(to_child::Body::Key(key));
        let next = (world.now / own.info.packet_micros()).clamp(0, own.packets.len() as i64 - 2) as usize;
        own.packets[next..next + 2].iter().for_each(|packet| media(world, packet.bytes.clone()));
    }
    true
}

/// By one who may cancel here, of what is meant for more than here or is an emergency.
fn narrow_cancel(world: &mut World, dice: &mut Dice) -> bool {
    let here = area(HERE);
    let beyond: Vec<_> = world
        .programme
        .broadcasts
        .iter()
        .filter(|(id, truth)| {
            let wide = truth.areas.iter().any(|area| !here.contains(area));
            (wide || truth.priority == Priority::Emergency) && world.oracle.is_given(**id) && truth.ends > world.now
        })
        .map(|(id, _)| *id)
        .collect();
    let Some(broadcast) = dice.pick(&beyond) else { return false };
    let at = crate::country::NOW + world.now;
    let body = Body::Cancel(Cancel { broadcast: *broadcast, at });
    let order = crate::country::Who::Warden.sign(800_000 + dice.below(1_000), world.now, &[HERE], body);
    by_any_way(world, dice, &order);
    true
}

/// One that the parent was given: on the air, over, cancelled, or a stop.
fn known_order(world: &World, dice: &mut Dice) -> Option<proto::Signed> {
    dice.pick(&world.given).and_then(|given| match given {
        Given::Order { signed, .. } | Given::Tick { signed, .. } => Some(signed.clone()),
        Given::Sound { .. } => None,
    })
}

/// In a log's packet, at an index that is no true order's, or on the control stream.
fn by_any_way(world: &mut World, dice: &mut Dice, order: &proto::Signed) -> bool {
    if dice.one_in(3) {
        world.say(to_child::Body::Push(proto::Push { orders: vec![order.clone()], last: false }));
    } else {
        let packet = in_log(&log_cipher(), log_index(world, dice), order);
        media(world, packet.bytes);
    }
    true
}

/// A true order's that has come, or so far ahead that none comes to stand there: where one is still to come its place
/// could be taken, and a parent that wants to withhold an order need not go to such lengths.
fn log_index(world: &World, dice: &mut Dice) -> u64 {
    let used = dice.pick(&world.given).and_then(|given| match given {
        Given::Order { packet, .. } | Given::Tick { packet, .. } => Some(packet.index),
        Given::Sound { .. } => None,
    });
    used.filter(|_| dice.one_in(4)).unwrap_or_else(|| 128 + dice.below(120))
}

/// A log that nobody above has: anybody can make one and pack orders into it.
fn other_log(world: &mut World, pool: &Pool, dice: &mut Dice) {
    let number = dice.below(4);
    let (track, ssrc) = (id(900_000 + number), 7_000 + number as u32);
    let secret = Secret { key: [number as u8 + 1; 16], salt: [number as u8; 12] };
    let cipher = Cipher::new(&secret, ssrc);
    world.say(to_child::Body::Log(log(track, ssrc, &secret, 0)));
    world.oracle.handle_log(track, Cipher::new(&secret, ssrc));
    if let Some(order) = dice.pick(&pool.others) {
        let index = dice.below(200);
        media(world, in_log(&cipher, index, order).bytes);
    }
}

fn wrong_secret(world: &mut World, pool: &Pool, dice: &mut Dice) {
    let key = Secret { key: dice.bytes(), salt: dice.bytes() };
    let (track, secret) = match dice.below(3) {
        0 => (pool.of(Fault::Forged).2.info.id, pool.of(Fault::Forged).2.secret.clone()),
        1 => (LOG, key),
        _ => {
            let at = dice.below(64);
            (world.programme.nth_track(at).info.id, key)
        }
    };
    world.say(to_child::Body::Key(proto::Key { track: bytes(track), secret: Some(secret.to_proto()) }));
}

/// False packets of a true track, and true ones where they do not belong.
fn packet(world: &mut World, dice: &mut Dice, item: Item) {
    let programme = world.programme;
    let at = dice.below(64);
    // Mostly of what is on the air, or is about to be: the node looks at nothing else.
    let on = programme.on_air(world.now);
    let on = dice.pick(&on).filter(|_| !dice.one_in(4)).and_then(|track| programme.tracks.get(track));
    let track = on.unwrap_or_else(|| programme.nth_track(at));
    let index = near(world.now, track, dice);
    let genuine = &track.packets[index];
    let cipher = &track.cipher;
    let protect =
        |index: u64, payload: &[u8]| cipher.protect(index, track.info.timestamp(index), Header::SOUND, payload);
    let payload = |track: &Track, index: usize| {
        let packet = &track.packets[index];
        track.cipher.unprotect(packet.index, &packet.bytes).expect("a packet of our own")
    };
    let false_packet = match item {
        Item::FlippedPacket => flipped(dice, &genuine.bytes),
        Item::CutPacket => genuine.bytes.slice(..dice.below(genuine.bytes.len() as u64) as usize),
        Item::OtherSeal => track.pirated[index].bytes.clone(),
        Item::MovedSeal => {
            let from = dice.below(track.packets.len() as u64) as usize;
            let from = if from == index { (index + 1) % track.packets.len() } else { from };
            protect(index as u64, &payload(track, from))
        }
        Item::OtherTracksSeal => {
            let other = programme.nth_track(at + 1);
            let from = index.min(other.packets.len() - 1);
            protect(index as u64, &payload(other, from))
        }
        Item::OtherKey => {
            let other = Cipher::new(&Secret { key: dice.bytes(), salt: dice.bytes() }, track.info.ssrc);
            other.protect(index as u64, track.info.timestamp(index as u64), Header::SOUND, &payload(track, index))
        }
        Item::ReplayedPacket => genuine.bytes.clone(),
        Item::FarAhead => {
            let far = [300, 1 << 15, 1 << 16, 1 << 40, LAST_INDEX - 1_000][dice.below(5) as usize];
            protect((index as u64 + far).min(LAST_INDEX), &payload(track, index))
        }
        Item::UnknownSsrc => {
            let mut bytes = genuine.bytes.to_vec();
            bytes[8..12].copy_from_slice(&dice.bytes::<4>());
            bytes.into()
        }
        Item::FalseBulk => return false_bulk(world, dice, track, index),
        _ => noise(dice).into(),
    };
    media(world, false_packet);
}

/// A bulk stream of a true track, or of the log, that holds what nobody sealed.
fn false_bulk(world: &mut World, dice: &mut Dice, track: &Track, index: usize) {
    world.streams += 1;
    let stream = world.streams;
    let frame = |world: &mut World, frame: Bytes| world.arrive(Arrival::Bulk { stream, frame });
    if dice.one_in(4) {
        frame(world, proto::Bulk { track: bytes(LOG), first: 130 }.encode_to_vec().into());
        let cipher = Cipher::new(&log_secret(), LOG_SSRC);
        frame(world, cipher.protect(130, 130, 97, &noise(dice)));
    } else {
        frame(world, proto::Bulk { track: bytes(track.info.id), first: index as u64 }.encode_to_vec().into());
        let until = (index + 3).min(track.packets.len());
        for at in index..until {
            let packet = if dice.one_in(2) { &track.pirated[at] } else { &track.packets[at] };
            let bytes = if dice.one_in(4) { flipped(dice, &packet.bytes) } else { packet.bytes.clone() };
            frame(world, bytes);
        }
    }
    world.arrive(Arrival::BulkEnd { stream });
}

/// Mostly the packet that is due about now, else any.
fn near(now: i64, track: &Track, dice: &mut Dice) -> usize {
    let due = (now - (track.info.anchor - crate::country::NOW)) / track.info.packet_micros();
    let due = due + dice.between(-5, 3);
    let last = track.packets.len() as i64 - 1;
    let any = dice.one_in(4) || !(0..LENGTH).contains(&now);
    if any { dice.below(track.packets.len() as u64) as usize } else { due.clamp(0, last) as usize }
}

fn media(world: &mut World, bytes: Bytes) {
    world.arrive(Arrival::Media(bytes));
}

fn flipped(dice: &mut Dice, bytes: &Bytes) -> Bytes {
    let mut flipped = bytes.to_vec();
    let bit = dice.below(flipped.len() as u64 * 8);
    if let Some(byte) = flipped.get_mut(bit as usize / 8) {
        *byte ^= 1 << (bit % 8);
    }
    flipped.into()
}

fn noise(dice: &mut Dice) -> Vec<u8> {
    let length = dice.below(120) as usize;
    let mut bytes: Vec<u8> = (0..length).map(|_| dice.below(256) as u8).collect();
    if let (true, Some(first)) = (dice.one_in(2), bytes.first_mut()) {
        *first = 0x80;
    }
    bytes
}
