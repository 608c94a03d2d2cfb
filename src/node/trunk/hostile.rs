//! What a neighbour that lies can do to a trunk: nothing that lasts.

use super::keys::Brought;
use super::*;
use crate::broadcast::{self, Body, Placement, Priority, Purpose, Tick};
use crate::key::SigningKey;
use crate::session;
use crate::time::SECOND;
use crate::track::{Cipher, LAST_INDEX};
use prost::Message;

pub(super) const NOW: Civil = Civil(1_800_000_000 * SECOND);
/// A UUIDv7, as in a signed tick it must be.
pub(super) const LOG: Uuid = Uuid::from_u128(0x018f_0000_0000_7000_8000_0000_0000_001f);
pub(super) const SSRC: u32 = 7;

pub(super) fn root() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

pub(super) fn secret() -> Secret {
    Secret { key: [3; 16], salt: [4; 12] }
}

pub(super) fn id(number: u64) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(number, &[0; 10]).into_uuid()
}

pub(super) fn areas(text: &str) -> Vec<Area> {
    vec![text.parse().unwrap()]
}

pub(super) fn signed(number: u64, area: &str, body: Body) -> proto::Signed {
    broadcast::sign(&Order::new(id(number), root().id(), number, NOW, areas(area), body), &root())
}

pub(super) fn tick(number: u64, head: u64) -> proto::Signed {
    signed(number, "vn", Body::Tick(Tick { time: NOW, log: LOG, head, epoch: 0 }))
}

/// Anybody who holds the key of the log can make this: a neighbour too.
fn in_log(index: u64, order: &proto::Signed) -> Packet {
    let bytes = Cipher::new(&secret(), SSRC).protect(index, index as u32, 97, &order.encode_to_vec());
    Packet { index, bytes }
}

fn broadcast_of(priority: Priority, secret: &Secret) -> broadcast::Broadcast {
    let rendition = crate::track::Info {
        id: id(70),
        sign: root().public(),
        ssrc: 5,
        duration: 5_760,
        anchor: NOW + 6 * SECOND,
        key_hash: secret.hash(),
        bitrate: 24_000,
        packets: None,
    };
    broadcast::Broadcast {
        priority,
        from: NOW,
        until: NOW + 60 * SECOND,
        delay: 600_000,
        renditions: vec![rendition],
        purpose: Purpose::Real,
        tone: None,
        title: String::new(),
        revision: 0,
        supersedes: None,
        stored: false,
        resume: false,
        prepared: false,
    }
}

/// A packet of the log that brings an order and a key for one track.
fn riding(index: u64, order: &proto::Signed, track: Uuid, secret: &Secret) -> Packet {
    let keys = vec![proto::Key { track: track.as_bytes().to_vec().into(), secret: Some(secret.to_proto()) }];
    let (payload, signatures) = (order.payload.clone(), order.signatures.clone());
    let logged = proto::Logged { payload, signatures, keys };
    let bytes = Cipher::new(&self::secret(), SSRC).protect(index, index as u32, 97, &logged.encode_to_vec());
    Packet { index, bytes }
}

pub(super) fn relay() -> Trunk {
    let mut trunk = Trunk::new(
        Local(0),
        Options {
            node: id(1),
            role: Role::Relay,
            parents: vec![Address::new("parent:7460", 1).unwrap()],
            siblings: Vec::new(),
            both: false,
            branches: 1,
            playout: None,
            session: session::child::Options::default(),
            roots: vec![root().public()],
            authority: None,
            log: Log { track: id(2), ssrc: 9, secret: secret() },
            seed: [5; 32],
            tick: 10 * SECOND,
            rendition: Default::default(),
            daylight: super::Daylight::in_zone(0),
            issuer: false,
            backed: false,
            stored: u64::MAX,
            instance: 1,
        },
    );
    let place = |node, name: &str| {
        signed(
            3,
            "vn/01",
            Body::Placement(Placement { node, area: "vn/01".parse().unwrap(), name: name.into(), parents: Vec::new() }),
        )
    };
    let own = proto::Record { body: Some(proto::record::Body::Order(place(id(1), "relay"))) };
    trunk.handle_input(Local(0), Input::Restore(vec![own]));
    assert!(trunk.place.is_some());
    trunk.handle_log(0, LOG, SSRC, secret(), 0);
    while trunk.poll_output().is_some() {}
    trunk
}

fn forwarded(trunk: &mut Trunk) -> Vec<u64> {
    let packet = |output| match output {
        Output::Branch { command: Command::Packet { packet, .. }, .. } => Some(packet.index),
        _ => None,
    };
    std::iter::from_fn(|| trunk.poll_output()).filter_map(packet).collect()
}

#[test]
fn a_genuine_order_packed_again_far_ahead_does_not_make_a_relay_deaf() {
    let mut trunk = relay();
    let order = tick(10, 0);
    assert_eq!(trunk.handle_log_packet(Local(1), in_log(0, &order), LOG), Ok(()));
    for index in [5, 300, 1 << 40, LAST_INDEX] {
        let _ = trunk.handle_log_packet(Local(2), in_log(index, &order), LOG);
    }
    assert_eq!(trunk.handle_log_packet(Local(3), in_log(1, &tick(11, 1)), LOG), Ok(()));
    assert_eq!(forwarded(&mut trunk), [0, 1], "{:?}", trunk.counters.orders_rejected);
}

#[test]
fn a_log_packet_that_no_signed_head_can_explain_is_refused() {
    let mut trunk = relay();
    trunk.handle_log_packet(Local(1), in_log(40, &tick(10, 40)), LOG).unwrap();
    let cancel = broadcast::Cancel { broadcast: id(99), at: NOW };
    let order = signed(12, "vn", Body::Cancel(cancel));
    assert_eq!(trunk.handle_log_packet(Local(2), in_log(9_000, &order), LOG), Err(Reject::OutOfWindow));
    assert_eq!(trunk.handle_log_packet(Local(2), in_log(41, &order), LOG), Ok(()));
    assert_eq!(forwarded(&mut trunk), [40, 41]);
}

#[test]
fn an_emergencys_key_comes_with_its_order_and_nobody_below_is_told_it_again() {
    let mut trunk = relay();
    let key = Secret { key: [8; 16], salt: [9; 12] };
    let order = signed(20, "vn", Body::Broadcast(broadcast_of(Priority::Emergency, &key)));
    trunk.handle_log_packet(Local(1), riding(0, &order, id(70), &key), LOG).unwrap();
    let outputs: Vec<Output> = std::iter::from_fn(|| trunk.poll_output()).collect();
    let carries = |output: &Output| {
        matches!(output, Output::Branch { command: Command::Carry(carry), .. }
            if carry.track == id(70) && carry.rode && carry.emergency && carry.secret == key)
    };
    let carried = outputs.iter().position(carries).expect("the track is carried");
    let sent = |output: &Output| matches!(output, Output::Branch { command: Command::Packet { .. }, .. });
    // Whoever is admitted in between is told by its welcome, so the order must not have gone before.
    assert!(outputs.iter().position(sent).is_some_and(|sent| carried < sent));
}

pub(super) fn synchronise(trunk: &mut Trunk) {
    for number in 1..40 {
        let sent = Local(number * 20_000);
        let told = NOW + sent.0 + 1_000;
        let received = sent + 2_000;
        let exchange =
            session::Exchange { sent, parent_received: told, parent_sent: told, received, parent_uncertainty: 0 };
        trunk.time.handle_exchange(received, true, exchange, session::Line { offset: NOW.0, skew: 0.0 });
    }
    trunk.handle_log_packet(Local(SECOND), in_log(0, &tick(10, 0)), LOG).unwrap();
}

#[test]
fn an_emergency_whose_key_somebody_took_out_of_its_packet_is_asked_for() {
    let mut trunk = relay();
    synchronise(&mut trunk);
    let key = Secret { key: [8; 16], salt: [9; 12] };
    let order = signed(20, "vn", Body::Broadcast(broadcast_of(Priority::Emergency, &key)));
    trunk.handle_log_packet(Local(SECOND), in_log(1, &order), LOG).unwrap();
    // The true packet comes too late: its order is known, its place in the log taken.
    assert_eq!(trunk.handle_log_packet(Local(SECOND), riding(1, &order, id(70), &key), LOG), Err(Reject::Duplicate));
    let mut at = |now: i64| {
        trunk.handle_timeout(Local(now));
        while trunk.poll_output().is_some() {}
        trunk.tracks[&id(70)].listening
    };
    let asked = (1_000..4_000).step_by(10).find(|at_ms| at(at_ms * 1_000));
    assert!(asked.is_some_and(|at_ms| (1_500..=2_520).contains(&at_ms)), "{asked:?}");
}

#[test]
fn an_emergency_whose_sound_does_not_come_is_asked_for() {
    let mut trunk = relay();
    synchronise(&mut trunk);
    let key = Secret { key: [8; 16], salt: [9; 12] };
    let order = signed(20, "vn", Body::Broadcast(broadcast_of(Priority::Emergency, &key)));
    trunk.handle_log_packet(Local(SECOND), riding(1, &order, id(70), &key), LOG).unwrap();
    let mut at = |now: i64| {
        trunk.handle_timeout(Local(now));
        while trunk.poll_output().is_some() {}
        let track = &trunk.tracks[&id(70)];
        (track.listening, track.asks)
    };
    // Its first packet, a live one, leaves its origin at 6.12 s; a relay listens four seconds before its anchor.
    assert_eq!(at(1_900_000), (false, false));
    assert_eq!(at(2_100_000), (true, false));
    assert_eq!(at(6_400_000), (true, false));
    let asked = (6_400..8_000).step_by(10).find(|at_ms| at(at_ms * 1_000).1);
    assert!(asked.is_some_and(|at_ms| (6_420..=7_430).contains(&at_ms)), "{asked:?}");
}

#[test]
fn a_key_that_its_order_does_not_prove_is_not_taken() {
    let (key, other) = (Secret { key: [8; 16], salt: [9; 12] }, Secret { key: [7; 16], salt: [9; 12] });
    let alarm = broadcast_of(Priority::Emergency, &key);
    let normal = broadcast_of(Priority::Normal, &key);
    for (broadcast, track, secret) in [(&alarm, id(70), &other), (&alarm, id(71), &key), (&normal, id(70), &key)] {
        let mut trunk = relay();
        let order = signed(20, "vn", Body::Broadcast(broadcast.clone()));
        let _ = trunk.handle_log_packet(Local(1), riding(0, &order, track, secret), LOG);
        assert!(trunk.early.is_empty());
        let carried = |output| matches!(output, Output::Branch { command: Command::Carry(_), .. });
        assert!(!std::iter::from_fn(|| trunk.poll_output()).any(carried), "{track} {:?}", broadcast.priority);
    }
}

#[test]
fn keys_whose_orders_never_come_do_not_shut_later_ones_out() {
    let mut trunk = relay();
    for number in 0..4_000 {
        trunk.handle_key(Local(1), id(number), secret(), Brought::Link);
    }
    assert!(trunk.early.contains_key(&id(3_999)), "the newest key is held");
    assert!(trunk.early.len() <= 2_048);
}

#[test]
fn orders_repeated_to_a_node_that_knows_them_do_not_reach_the_disk_again() {
    let mut trunk = relay();
    trunk.time = Time::new(true, false);
    trunk.time.handle_wall(Local(0), NOW, 0);
    let hush = broadcast::Hush { until: NOW + 60 * SECOND, up_to: Priority::Normal, exempt: Vec::new() };
    let grant = broadcast::Grant {
        key: SigningKey::from_seed(&[8; 32]).public(),
        areas: areas("vn/01"),
        kinds: vec![broadcast::Kind::Hush],
        up_to: Priority::Normal,
        from: NOW,
        until: NOW + 60 * SECOND,
        name: "commune".into(),
        alone_from: 0,
    };
    let orders = [signed(20, "vn/01", Body::Hush(hush)), signed(21, "vn/01", Body::Grant(grant))];
    let (mut journalled, mut pushed) = (0, 0);
    for _ in 0..50 {
        for order in &orders {
            trunk.handle_order(Local(1), order.clone(), From::Push);
            while let Some(output) = trunk.poll_output() {
                match output {
                    Output::Job { job, work: Job::Journal(_) } => {
                        journalled += 1;
                        trunk.handle_input(Local(1), Input::Done { job, done: Done::Ok });
                    }
                    Output::Branch { command: Command::Push(_), .. } => pushed += 1,
                    _ => {}
                }
            }
        }
    }
    assert_eq!((journalled, pushed), (2, 2));
}

#[test]
fn an_authority_elsewhere_cannot_take_a_node_away() {
    let mut trunk = relay();
    synchronise(&mut trunk);
    let neighbour = SigningKey::from_seed(&[8; 32]);
    let grant = broadcast::Grant {
        key: neighbour.public(),
        areas: areas("vn/02"),
        kinds: vec![broadcast::Kind::Placement],
        up_to: Priority::Emergency,
        from: NOW,
        until: NOW + 3_600 * SECOND,
        name: "neighbour".into(),
        alone_from: 0,
    };
    trunk.handle_order(Local(SECOND), signed(30, "vn/02", Body::Grant(grant)), From::Push);
    while let Some(output) = trunk.poll_output() {
        if let Output::Job { job, .. } = output {
            trunk.handle_input(Local(SECOND), Input::Done { job, done: Done::Ok });
        }
    }
    let place = |area: &str| {
        let area: Area = area.parse().unwrap();
        Body::Placement(Placement { node: id(1), area, name: "relay".into(), parents: Vec::new() })
    };
    let order = Order::new(id(31), neighbour.id(), 31, NOW, areas("vn/02"), place("vn/02"));
    let before = trunk.counters.orders_rejected.get("order.scope").copied().unwrap_or(0);
    trunk.handle_order(Local(SECOND), broadcast::sign(&order, &neighbour), From::Push);
    assert_eq!(trunk.counters.orders_rejected.get("order.scope").copied(), Some(before + 1));
    let written = |output| matches!(output, Output::Job { work: Job::Journal(_), .. });
    assert!(!std::iter::from_fn(|| trunk.poll_output()).any(written), "nor does it come back after a restart");
    assert_eq!(trunk.place.as_ref().map(|place| place.area.as_str()), Some("vn/01"));
    // A root is over both.
    trunk.handle_order(Local(SECOND), signed(32, "vn/02", place("vn/02")), From::Push);
    while let Some(output) = trunk.poll_output() {
        if let Output::Job { job, .. } = output {
            trunk.handle_input(Local(SECOND), Input::Done { job, done: Done::Ok });
        }
    }
    assert_eq!(trunk.place.as_ref().map(|place| place.area.as_str()), Some("vn/02"));
}

#[test]
fn a_relay_below_cannot_speak_for_a_child_of_this_node() {
    let mut trunk = relay();
    let child = Peer { node: id(50), role: Role::Speaker };
    let area: Area = "vn/01/1".parse().unwrap();
    let placement = signed(
        51,
        "vn/01",
        Body::Placement(Placement { node: child.node, area, name: "pole".into(), parents: Vec::new() }),
    );
    let hello = Notice::Hello { link: 4, peer: child, placement: Some(placement), grants: Vec::new() };
    trunk.handle_input(Local(1), Input::Notice { branch: 0, notice: hello });
    let bytes = |id: Uuid| id.as_bytes().to_vec().into();
    let forged = proto::Report {
        node: bytes(child.node),
        parent: bytes(id(60)),
        area: "vn/01/2".into(),
        state: "sounding".into(),
        ..Default::default()
    };
    let endless = proto::Report { node: bytes(id(61)), state: "x".repeat(60_000), ..forged.clone() };
    let reports = Notice::Reports(vec![forged, endless]);
    trunk.handle_input(Local(2), Input::Notice { branch: 0, notice: reports });
    let nodes = trunk.nodes(Local(2));
    let held = nodes.iter().find(|report| report.node.as_ref() == child.node.as_bytes()).unwrap();
    assert_eq!(held.state, "joining");
    assert!(nodes.iter().all(|report| report.state.len() < 64));
}

fn bulletin(number: u64, from: Civil) -> proto::Signed {
    let info = crate::track::Info {
        id: id(number),
        sign: root().public(),
        ssrc: number as u32,
        duration: 11_520,
        anchor: from,
        key_hash: secret().hash(),
        bitrate: 24_000,
        packets: Some(50),
    };
    let body = broadcast::Broadcast {
        priority: Priority::Normal,
        from,
        until: from + 12 * SECOND,
        delay: SECOND,
        renditions: vec![info],
        purpose: Purpose::Real,
        tone: None,
        title: format!("bulletin {number}"),
        revision: 0,
        supersedes: None,
        stored: true,
        resume: false,
        prepared: false,
    };
    let order = Order::new(id(number), root().id(), number, from - SECOND, areas("vn/01"), Body::Broadcast(body));
    broadcast::sign(&order, &root())
}

#[test]
fn a_journal_of_years_does_not_keep_the_newest_bulletin_out() {
    let mut trunk = relay();
    let record = |body| proto::Record { body: Some(body) };
    let mut records = Vec::new();
    const BULLETINS: u64 = 1_200;
    for number in 0..BULLETINS {
        let from = NOW + number as i64 * 600 * SECOND;
        let key = proto::StoredKey { track: id(number).as_bytes().to_vec().into(), secret: Some(secret().to_proto()) };
        records.push(record(proto::record::Body::Time(from.0 - SECOND)));
        records.push(record(proto::record::Body::Key(key)));
        records.push(record(proto::record::Body::Order(bulletin(number, from))));
    }
    trunk.handle_input(Local(1), Input::Restore(records));
    assert!(trunk.book.get(id(BULLETINS - 1)).is_some());
    assert!(trunk.tracks.get(&id(BULLETINS - 1)).is_some_and(|track| track.key.is_some()));
    let jobs = std::iter::from_fn(|| trunk.poll_output()).filter(|output| matches!(output, Output::Job { .. }));
    assert_eq!(jobs.count(), 1, "the store is asked for what can still sound");
}
