//! However a peer behaves, one session with it holds no more than its ceiling (the page of `session` has the table).
use super::hostile::{child, departures, events, listening, media, to_child, to_parent, welcome};
use super::*;
use crate::proto::datagram::Body;
use crate::proto::{self, to_child, to_parent};
use crate::time::{Local, MILLISECOND};
use crate::track::{Packet, Secret};
use prost::Message;
use uuid::Uuid;

/// A small generator: the same run each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound.max(1)
    }
}

fn track(number: u64) -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + u128::from(number))
}

fn packet(ssrc: u32, index: u64) -> Bytes {
    let mut bytes = media(index).to_vec();
    bytes[8..12].copy_from_slice(&ssrc.to_be_bytes());
    bytes.resize(1_200, 7);
    bytes.into()
}

fn ranges(dice: &mut Dice, newest: u64) -> Vec<proto::Range> {
    (0..dice.below(70)).map(|_| proto::Range { first: dice.below(newest + 600), count: 1 + dice.below(900) }).collect()
}

/// What a parent says that wants its child to burst: as many tracks as there may be, all of them full of holes that
/// verified packets tear, and every queue as full as it gets.
fn from_parent(dice: &mut Dice, newest: u64) -> Arrival {
    let of = dice.below(child::MAX_TRACKS as u64);
    let body = match dice.below(12) {
        0..5 => {
            let index = if dice.below(3) == 0 { newest + dice.below(700) } else { dice.below(newest + 1) };
            return Arrival::Media(packet(of as u32, index));
        }
        5 => Body::Missing(proto::Missing { track: wire::id(track(of)), ranges: ranges(dice, newest) }),
        6 => Body::Path(proto::PathNonce { nonce: dice.below(9) }),
        7 => {
            let (stream, first) = (dice.below(60), dice.below(newest + 1));
            let begin = proto::Bulk { track: wire::id(track(of)), first }.encode_to_vec();
            return Arrival::Bulk {
                stream,
                frame: if dice.below(2) == 0 { begin.into() } else { packet(of as u32, first) },
            };
        }
        8 => return Arrival::BulkEnd { stream: dice.below(60) },
        9 => {
            let (next, together) = (dice.below(newest + 1), dice.below(99) as u32);
            return to_child(to_child::Body::Listening(proto::Listening {
                track: wire::id(track(of)),
                next,
                together,
            }));
        }
        10 => {
            let orders = (0..1_000).map(|_| proto::Signed { payload: vec![1; 40].into(), signatures: Vec::new() });
            return to_child(to_child::Body::Push(proto::Push { orders: orders.collect(), last: false }));
        }
        _ => {
            let unavailable = proto::Unavailable { track: wire::id(track(of)), reason: "x".repeat(2_000) };
            return to_child(to_child::Body::Unavailable(unavailable));
        }
    };
    Arrival::Datagram(wire::datagram(body))
}

#[test]
fn a_parent_that_fills_all_it_can_makes_one_session_hold_no_more_than_its_ceiling() {
    let mut below = child();
    below.handle_arrival(Local(0), welcome()).unwrap();
    let secret = Some(Secret { key: [1; 16], salt: [2; 12] }.to_proto());
    for of in 0..child::MAX_TRACKS as u64 {
        let log =
            proto::Log { track: wire::id(track(of)), ssrc: of as u32, secret: secret.clone(), next: 0, ended: false };
        below.handle_arrival(Local(0), to_child(to_child::Body::Log(log))).unwrap();
        below.fetch(Local(0), track(of), of as u32, 0, 1_000);
    }
    let (mut dice, mut now, mut newest, mut most) = (Dice(7), Local(0), 0, 0);
    for _ in 0..60_000 {
        now += dice.below(2) as i64 * 12 * MILLISECOND;
        // A violation would end the session; here it goes on, to try what else can grow.
        let _ = below.handle_arrival(now, from_parent(&mut dice, newest));
        most = most.max(below.memory());
        while let Some(event) = below.poll_event() {
            if let child::Event::Packet { track, index, via, .. } = event {
                newest = newest.max(index.min(newest + 600));
                below.handle_accepted(now, track, index, via);
            }
        }
        below.handle_timeout(now);
        most = most.max(below.memory());
        departures_of(&mut below);
    }
    assert!(most > CHILD_CEILING / 8, "{most} bytes: the parent did not try hard");
    assert!(most <= CHILD_CEILING, "{most} bytes are held for one parent, {CHILD_CEILING} are the ceiling");
}

fn departures_of(child: &mut Child) {
    while child.poll_departure().is_some() {}
}

/// What a child says that wants its parent to burst.
fn from_child(dice: &mut Dice, newest: u64) -> Arrival {
    let of = dice.below(2 * child::MAX_TRACKS as u64);
    let body = match dice.below(10) {
        0..4 => Body::Nack(proto::Nack {
            track: wire::id(track(of)),
            ranges: ranges(dice, newest),
            round: dice.below(1 << 32) as u32,
        }),
        4 => {
            let report = proto::Report { name: "x".repeat(dice.below(900) as usize), ..Default::default() };
            Body::Beat(proto::Beat { sent: dice.below(1 << 40), report: Some(report), loss: 1 })
        }
        5 => {
            return to_parent(to_parent::Body::Listen(proto::Listen {
                track: wire::id(track(of)),
                from: dice.below(newest),
            }));
        }
        6 => return to_parent(to_parent::Body::Unlisten(proto::Unlisten { track: wire::id(track(of)) })),
        7 => {
            let (from, until) = (dice.below(newest), dice.below(newest));
            return to_parent(to_parent::Body::Fetch(proto::Fetch { track: wire::id(track(of)), from, until }));
        }
        8 => {
            let reports = (0..64).map(|_| proto::Report { name: "x".repeat(200), ..Default::default() }).collect();
            return to_parent(to_parent::Body::Health(proto::Health { reports }));
        }
        _ => Body::PathEcho(proto::PathNonce { nonce: dice.below(9) }),
    };
    Arrival::Datagram(wire::datagram(body))
}

#[test]
fn a_child_that_fills_all_it_can_makes_one_session_hold_no_more_than_its_ceiling() {
    let mut above = listening();
    let (mut dice, mut now, mut newest, mut most, mut rest) = (Dice(9), Local(0), 1_000, 0, 0);
    for step in 0..60_000 {
        now += dice.below(2) as i64 * 3 * MILLISECOND;
        newest += u64::from(step % 64 == 0);
        let _ = above.handle_arrival(now, None, from_child(&mut dice, newest));
        most = most.max(above.memory());
        for event in events(&mut above) {
            match event {
                parent::Event::Nack { track, index } => {
                    let held = dice.below(2) == 0;
                    above.answer(now, track, index, held.then(|| packet(0, index)));
                }
                parent::Event::Listen { track, from } => {
                    let backlog = [0, 1, 3].map(|after| Packet { index: from + after, bytes: packet(0, from + after) });
                    above.listening(now, track, from, 3_000, 1, backlog.to_vec());
                }
                parent::Event::Unlisten { track } => above.unlistened(now, track),
                _ => {}
            }
        }
        above.handle_timeout(now);
        most = most.max(above.memory());
        departures(&mut above);
        rest = rest.max(above.memory());
    }
    assert!(rest <= PARENT_REST, "{rest} bytes stay held for one child, {PARENT_REST} are the ceiling");
    assert!(most > PARENT_CEILING / 8, "{most} bytes: the child did not try hard");
    assert!(most <= PARENT_CEILING, "{most} bytes are held for one child, {PARENT_CEILING} are the ceiling");
}

/// For one parent: 64 tracks, each of 512 gaps and 64 arrivals, and queues of a thousand.
const CHILD_CEILING: usize = 4 << 20;
/// For one child: 128 budgets with the requests of half a second, what it lacks, second copies that wait.
const PARENT_REST: usize = 192 << 10;
/// And, until they are drained, queues that one input fills.
const PARENT_CEILING: usize = 320 << 10;
