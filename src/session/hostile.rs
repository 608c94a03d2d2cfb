//! What a peer may say wrong, and what a session does about it; and the bounds of both halves.
use super::child::{self, Child, Me, Via, Wish};
use super::parent::{self, Parent};
use super::{Arrival, Departure, Violation, wire};
use crate::proto;
use crate::proto::datagram::Body;
use crate::proto::{to_child, to_parent};
use crate::time::{Local, MILLISECOND, SECOND};
use crate::track::{Packet, Secret};
use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use uuid::Uuid;

const TRACK: Uuid = Uuid::from_u128(7);
const SSRC: u32 = 9;

pub(super) fn child() -> Child {
    Child::new(
        Local(0),
        child::Options::default(),
        Me { node: Uuid::from_u128(1), placement: None, grants: Vec::new() },
    )
}

fn parent() -> Parent {
    Parent::new(Local(0), parent::Options::default())
}

pub(super) fn to_child(body: to_child::Body) -> Arrival {
    Arrival::Control(proto::ToChild { body: Some(body) }.encode_to_vec().into())
}

pub(super) fn to_parent(body: to_parent::Body) -> Arrival {
    Arrival::Control(proto::ToParent { body: Some(body) }.encode_to_vec().into())
}

pub(super) fn welcome() -> Arrival {
    to_child(to_child::Body::Welcome(proto::Welcome { version: 1, node: wire::id(TRACK), ..Default::default() }))
}

fn hello() -> Arrival {
    to_parent(to_parent::Body::Hello(proto::Hello { version: 1, node: wire::id(TRACK), ..Default::default() }))
}

fn nack(first: u64, count: u64, round: u32) -> Arrival {
    let ranges = vec![proto::Range { first, count }];
    Arrival::Datagram(wire::datagram(Body::Nack(proto::Nack { track: wire::id(TRACK), ranges, round })))
}

fn beat(sent: u64) -> Arrival {
    Arrival::Datagram(wire::datagram(Body::Beat(proto::Beat { sent, report: None, loss: 0 })))
}

fn wish() -> Wish {
    Wish { track: TRACK, ssrc: SSRC, duration: 240_000, from: 0, useful: 640_000, packets: None, counted: false }
}

pub(super) fn media(index: u64) -> Bytes {
    let mut bytes = vec![0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, SSRC as u8, 1, 2, 3];
    bytes[2..4].copy_from_slice(&(index as u16).to_be_bytes());
    bytes.into()
}

fn code(result: Result<(), Violation>) -> &'static str {
    result.map_or_else(|violation| violation.code, |()| "ok")
}

pub(super) fn events(parent: &mut Parent) -> Vec<parent::Event> {
    std::iter::from_fn(|| parent.poll_event()).collect()
}

pub(super) fn departures(parent: &mut Parent) -> Vec<Departure> {
    std::iter::from_fn(|| parent.poll_departure()).collect()
}

/// A parent that was greeted and has a budget for the track.
pub(super) fn listening() -> Parent {
    let mut parent = parent();
    parent.handle_arrival(Local(0), None, hello()).unwrap();
    parent.listening(Local(0), TRACK, 0, 3_750, 1, Vec::new());
    events(&mut parent);
    departures(&mut parent);
    parent
}

#[test]
fn whoever_does_not_introduce_itself_first_is_hung_up_on() {
    let unlisten = to_parent(to_parent::Body::Unlisten(proto::Unlisten { track: wire::id(TRACK) }));
    let (mut above, mut below) = (parent(), child());
    assert_eq!(code(above.handle_arrival(Local(0), None, unlisten.clone())), "hello.expected");
    assert_eq!(code(above.handle_arrival(Local(0), None, hello())), "ok");
    assert_eq!(code(above.handle_arrival(Local(0), None, hello())), "hello.repeated");
    assert_eq!(code(above.handle_arrival(Local(0), None, unlisten)), "ok");
    let push = to_child(to_child::Body::Push(proto::Push::default()));
    assert_eq!(code(below.handle_arrival(Local(0), push.clone())), "welcome.expected");
    assert_eq!(code(below.handle_arrival(Local(0), welcome())), "ok");
    assert_eq!(code(below.handle_arrival(Local(0), welcome())), "welcome.repeated");
    assert_eq!(code(below.handle_arrival(Local(0), push)), "ok");
}

#[test]
fn an_emergency_is_expected_without_a_word_and_asked_for_once_if_it_does_not_come() {
    let mut below = child();
    below.handle_arrival(Local(0), welcome()).unwrap();
    let said = |below: &mut Child| {
        let control = |departure| match departure {
            Departure::Control(bytes) => proto::ToParent::decode(bytes).unwrap().body,
            _ => None,
        };
        std::iter::from_fn(|| below.poll_departure()).filter_map(control).collect::<Vec<_>>()
    };
    said(&mut below);
    below.listen(Local(0), Wish { counted: true, ..wish() });
    assert!(said(&mut below).is_empty());
    // What comes is known, and what an index has overtaken is missing: as if the parent had said `next` is 0.
    while below.poll_event().is_some() {}
    below.handle_arrival(Local(1_000), Arrival::Media(media(1))).unwrap();
    assert!(matches!(below.poll_event(), Some(child::Event::Packet { index: 1, .. })));
    below.handle_accepted(Local(1_000), TRACK, 1, child::Via::Live);
    below.handle_timeout(Local(50_000));
    assert!(std::iter::from_fn(|| below.poll_event()).any(|event| matches!(event, child::Event::Gap { first: 0, .. })));
    below.insist(TRACK);
    let listen = proto::Listen { track: wire::id(TRACK), from: 0 };
    assert_eq!(said(&mut below), [to_parent::Body::Listen(listen)]);
    below.insist(TRACK);
    assert!(said(&mut below).is_empty());
}

#[test]
fn a_control_message_with_a_wrong_field_names_it() {
    let mut above = listening();
    let listen = to_parent(to_parent::Body::Listen(proto::Listen { track: Bytes::from_static(b"short"), from: 0 }));
    let violation = above.handle_arrival(Local(0), None, listen).unwrap_err();
    assert_eq!(violation.code, "control.malformed");
    assert!(violation.text.contains("Listen.track has 5 bytes"), "{}", violation.text);
    let fetch = to_parent(to_parent::Body::Fetch(proto::Fetch { track: wire::id(TRACK), from: 1 << 48, until: 0 }));
    assert!(above.handle_arrival(Local(0), None, fetch).unwrap_err().text.contains("Fetch.from"));
    let mut below = child();
    below.handle_arrival(Local(0), welcome()).unwrap();
    let key = to_child(to_child::Body::Key(proto::Key { track: wire::id(TRACK), secret: None }));
    assert!(below.handle_arrival(Local(0), key).unwrap_err().text.contains("Key.secret"));
}

#[test]
fn a_child_that_never_says_hello_is_gone_after_five_seconds() {
    let mut parent = parent();
    let (at, _) = parent.poll_timeout().unwrap();
    assert_eq!(at, Local(5 * SECOND));
    parent.handle_timeout(at);
    assert_eq!(events(&mut parent), [parent::Event::Silent]);
    assert_eq!(parent.poll_timeout(), None);
}

#[test]
fn three_missed_reports_stop_media_and_the_next_one_starts_it_again() {
    let mut parent = listening();
    let (at, _) = parent.poll_timeout().unwrap();
    assert_eq!(at, Local(3_500 * MILLISECOND));
    parent.handle_timeout(at);
    assert_eq!(events(&mut parent), [parent::Event::Breaker { open: true }]);
    parent.answer(at, TRACK, 0, Some(media(0)));
    assert_eq!(departures(&mut parent), []);
    parent.handle_arrival(at, None, beat(3)).unwrap();
    assert_eq!(events(&mut parent), [parent::Event::Breaker { open: false }]);
    assert_eq!(departures(&mut parent).len(), 1);
    parent.answer(at, TRACK, 0, Some(media(0)));
    assert_eq!(departures(&mut parent), [Departure::Media(media(0))]);
}

#[test]
fn a_request_counts_once_and_its_answer_goes_twice() {
    let mut parent = listening();
    parent.handle_arrival(Local(0), None, nack(4, 2, 1)).unwrap();
    let asked = |index| parent::Event::Nack { track: TRACK, index };
    assert_eq!(events(&mut parent), [asked(4), asked(5)]);
    parent.handle_arrival(Local(20_000), None, nack(4, 2, 1)).unwrap();
    assert_eq!(events(&mut parent), []);
    parent.answer(Local(20_000), TRACK, 4, Some(media(4)));
    assert_eq!(departures(&mut parent), [Departure::Media(media(4))]);
    assert_eq!(parent.poll_timeout(), Some((Local(40_000), parent::Reason::Answer)));
    parent.handle_timeout(Local(40_000));
    assert_eq!(departures(&mut parent), [Departure::Media(media(4))]);
}

#[test]
fn a_child_that_is_asked_to_beat_less_often_is_waited_for_as_much_longer() {
    let mut parent = listening();
    parent.ask(4_000_000);
    parent.handle_arrival(Local(SECOND), None, beat(1)).unwrap();
    let [Departure::Datagram(bytes)] = &departures(&mut parent)[..] else { panic!("one datagram") };
    let Some(Some(Body::Echo(echo))) = wire::read_datagram(bytes.clone()) else { panic!("Echo") };
    assert_eq!(echo.every, 4_000_000);
    assert_eq!(parent.poll_timeout().unwrap().0, Local(13_500 * MILLISECOND));
    // The echo that takes it back may be lost: then the child keeps to what it knows.
    parent.ask(0);
    parent.handle_arrival(Local(5 * SECOND), None, beat(2)).unwrap();
    assert_eq!(parent.poll_timeout().unwrap().0, Local(17_500 * MILLISECOND));
    parent.handle_arrival(Local(6 * SECOND), None, beat(3)).unwrap();
    assert_eq!(parent.poll_timeout().unwrap().0, Local(9_500 * MILLISECOND));
    parent.ask(i64::MAX);
    parent.handle_arrival(Local(7 * SECOND), None, beat(4)).unwrap();
    assert_eq!(parent.poll_timeout().unwrap().0, Local(37_500 * MILLISECOND));
}

#[test]
fn a_parent_cannot_ask_a_child_for_silence() {
    let mut below = child();
    for turn in 0..20 {
        let now = below.poll_timeout().unwrap().0;
        below.handle_timeout(now);
        while let Some(departure) = below.poll_departure() {
            let Departure::Datagram(bytes) = departure else { continue };
            let Some(Some(Body::Beat(beat))) = wire::read_datagram(bytes) else { continue };
            let echo = proto::Echo { origin: beat.sent, synced: true, every: u64::MAX, ..Default::default() };
            below.handle_arrival(now, Arrival::Datagram(wire::datagram(Body::Echo(echo)))).unwrap();
        }
        if turn == 0 {
            below.handle_arrival(now, welcome()).unwrap();
        }
        assert!(below.poll_timeout().unwrap().0 <= now + 10 * SECOND);
    }
}

#[test]
fn leaving_and_coming_back_fills_no_budget() {
    let backlog = |first: u64| (first..first + 4).map(|index| Packet { index, bytes: vec![1; 800].into() }).collect();
    let mut parent = listening();
    let answered = |parent: &mut Parent, now| {
        (0..100).for_each(|index| parent.answer(now, TRACK, index, Some(vec![1; 800].into())));
        departures(parent).len()
    };
    assert!(answered(&mut parent, Local(0)) > 10);
    for turn in 1..100 {
        let now = Local(turn * MILLISECOND);
        parent.unlistened(now, TRACK);
        assert_eq!(answered(&mut parent, now), 0, "nothing is repaired for who does not listen");
        parent.listening(now, TRACK, 4, 3_750, 1, backlog(0));
        assert_eq!(departures(&mut parent).len(), 1, "Listening and nothing in bulk");
        assert_eq!(answered(&mut parent, now), 0);
    }
    let later = Local(20 * SECOND);
    parent.unlistened(Local(SECOND), TRACK);
    parent.handle_arrival(later, None, beat(1)).unwrap();
    departures(&mut parent);
    parent.listening(later, TRACK, 4, 3_750, 1, backlog(0));
    assert_eq!(departures(&mut parent).len(), 7, "Listening, a stream and its four packets");
}

#[test]
fn requests_repeated_without_end_are_not_even_searched_for() {
    let mut parent = listening();
    let mut codes = (0..100_000).map(|_| code(parent.handle_arrival(Local(0), None, nack(0, 200, 1))));
    assert_eq!(codes.position(|code| code == "peer.flood"), Some(1_000 * 10));
    assert_eq!(events(&mut parent).len(), 200);
}

#[test]
fn what_the_parent_lacks_is_announced_in_one_datagram() {
    let mut parent = listening();
    for index in [9, 4, 5, 4] {
        parent.answer(Local(0), TRACK, index, None);
    }
    let [Departure::Datagram(bytes)] = &departures(&mut parent)[..] else { panic!("one datagram") };
    let Some(Some(Body::Missing(missing))) = wire::read_datagram(bytes.clone()) else { panic!("Missing") };
    assert_eq!(wire::read_ranges(&missing.ranges).collect::<Vec<_>>(), [(4, 2), (9, 1)]);
}

#[test]
fn a_flood_of_requests_is_ignored_first_and_then_a_violation() {
    let mut parent = listening();
    let mut answers = (0..20u64).map(|n| code(parent.handle_arrival(Local(0), None, nack(n * 1_000, u64::MAX, 1))));
    assert_eq!(answers.find(|code| *code != "ok"), Some("peer.flood"));
    assert!(events(&mut parent).len() <= 500);
    assert!(parent.counters().flooded > 0);
}

#[test]
fn a_nonce_comes_back_from_the_child_at_once() {
    let (mut above, mut below) = (parent(), child());
    above.challenge(Local(0), 0x1234);
    let Some(Departure::Datagram(challenge)) = above.poll_departure() else { panic!("a datagram") };
    while below.poll_departure().is_some() {}
    below.handle_arrival(Local(0), Arrival::Datagram(challenge)).unwrap();
    let Some(Departure::Datagram(echo)) = below.poll_departure() else { panic!("a datagram") };
    above.handle_arrival(Local(0), None, Arrival::Datagram(echo)).unwrap();
    assert_eq!(above.poll_event(), Some(parent::Event::PathEchoed { nonce: 0x1234 }));
}

#[test]
fn an_echo_without_time_keeps_the_link_alive_but_is_no_exchange() {
    let (mut above, mut below) = (parent(), child());
    let sent: Vec<_> = std::iter::from_fn(|| below.poll_departure()).collect();
    let Some(Departure::Datagram(beat)) = sent.last() else { panic!("a beat") };
    above.handle_arrival(Local(10_000), None, Arrival::Datagram(beat.clone())).unwrap();
    let Some(Departure::Datagram(echo)) = above.poll_departure() else { panic!("an echo") };
    below.handle_arrival(Local(30_000), Arrival::Datagram(echo)).unwrap();
    assert_eq!(below.poll_event(), None);
    assert_eq!(below.round_trip(), Some(30_000));
}

#[test]
fn the_sixty_fifth_track_is_refused_where_it_is_wished() {
    let mut below = child();
    for track in 0..=child::MAX_TRACKS as u128 {
        below.listen(Local(0), Wish { track: Uuid::from_u128(track), ..wish() });
    }
    let Some(child::Event::Unavailable { track, .. }) = below.poll_event() else { panic!("Unavailable") };
    assert_eq!(track, Uuid::from_u128(child::MAX_TRACKS as u128));
    assert_eq!(below.poll_event(), None);
}

#[test]
fn packets_of_unknown_tracks_are_counted_and_leave_no_trace() {
    let mut below = child();
    below.handle_arrival(Local(0), Arrival::Media(media(3))).unwrap();
    below.listen(Local(0), wish());
    below.handle_arrival(Local(0), Arrival::Media(media(3))).unwrap();
    below.handle_arrival(Local(0), Arrival::Media(media(3).slice(..11))).unwrap();
    let packet = child::Event::Packet { track: TRACK, index: 3, bytes: media(3), via: Via::Live };
    assert_eq!((below.poll_event(), below.poll_event()), (Some(packet), None));
    assert_eq!((below.counters().unknown_ssrc, below.counters().malformed), (1, 1));
}

#[test]
fn a_long_list_of_orders_goes_in_frames_that_the_child_takes_whole() {
    let order = proto::Signed { payload: vec![3; 1_000].into(), signatures: Vec::new() };
    let (mut above, mut below) = (parent(), child());
    below.handle_arrival(Local(0), welcome()).unwrap();
    above.push(vec![order; 200]);
    let (mut orders, mut frames) = (0, 0);
    while let Some(Departure::Control(frame)) = above.poll_departure() {
        assert!(frame.len() <= 33 * 1024);
        frames += 1;
        below.handle_arrival(Local(0), Arrival::Control(frame)).unwrap();
        orders +=
            std::iter::from_fn(|| below.poll_event()).filter(|event| matches!(event, child::Event::Order(_))).count();
    }
    assert_eq!((orders, frames), (200, 7));
}

#[test]
fn a_backlog_and_a_fetch_arrive_whole_with_a_new_stream_at_each_gap() {
    let packets = |indices: std::ops::Range<u64>| indices.map(|index| Packet { index, bytes: media(index) });
    let (mut above, mut below) = (listening(), child());
    below.handle_arrival(Local(0), welcome()).unwrap();
    below.listen(Local(0), wish());
    above.listening(Local(0), TRACK, 9, 3_750, 1, packets(0..3).chain(packets(5..9)).collect());
    above.bulk(TRACK, &packets(20..22).collect::<Vec<_>>(), false);
    above.bulk(TRACK, &packets(22..24).chain(packets(30..31)).collect::<Vec<_>>(), true);
    above.bulk(TRACK, &[], true);
    for departure in departures(&mut above) {
        let arrival = match departure {
            Departure::Control(bytes) => Arrival::Control(bytes),
            Departure::Bulk { stream, frame } => Arrival::Bulk { stream, frame },
            Departure::BulkEnd { stream } => Arrival::BulkEnd { stream },
            other => panic!("unexpected {other:?}"),
        };
        below.handle_arrival(Local(0), arrival).unwrap();
    }
    let (mut indices, mut ends) = (Vec::new(), 0);
    while let Some(event) = below.poll_event() {
        match event {
            child::Event::Packet { index, via: Via::Bulk, .. } => indices.push(index),
            child::Event::Fetched { .. } => ends += 1,
            _ => {}
        }
    }
    assert_eq!(indices, [0, 1, 2, 5, 6, 7, 8, 20, 21, 22, 23, 30]);
    assert_eq!(ends, 5);
}

#[test]
fn an_idle_parent_takes_less_than_a_kibibyte() {
    let mut parent = listening();
    for second in 1..20 {
        let now = Local(second * SECOND);
        parent.handle_arrival(now, None, nack(second as u64 * 64, 50, second as u32)).unwrap();
        for event in events(&mut parent) {
            let parent::Event::Nack { track, index } = event else { panic!("{event:?}") };
            parent.answer(now, track, index, Some(media(index)));
        }
        parent.handle_arrival(now, None, beat(second as u64)).unwrap();
        departures(&mut parent);
        parent.handle_timeout(now + 20 * MILLISECOND);
        departures(&mut parent);
    }
    let now = Local(30 * SECOND);
    parent.handle_arrival(now, None, beat(1)).unwrap();
    departures(&mut parent);
    events(&mut parent);
    let bytes = parent.memory();
    assert!(bytes < 1_024, "{bytes} bytes");
}

fn arrivals() -> impl Strategy<Value = Arrival> {
    let noise = prop::collection::vec(any::<u8>(), 0..80).prop_map(Bytes::from);
    let range = (any::<u64>(), any::<u64>()).prop_map(|(first, count)| proto::Range { first, count });
    let near = (0u64..400, 0u64..80).prop_map(|(first, count)| proto::Range { first, count });
    let ranges = prop::collection::vec(prop_oneof![range, near], 0..8);
    prop_oneof![
        noise.clone().prop_map(Arrival::Control),
        noise.clone().prop_map(Arrival::Datagram),
        noise.clone().prop_map(Arrival::Media),
        (0u64..12, noise).prop_map(|(stream, frame)| Arrival::Bulk { stream, frame }),
        (0u64..12).prop_map(|stream| Arrival::BulkEnd { stream }),
        (0u64..12, any::<u64>()).prop_map(|(stream, first)| Arrival::Bulk {
            stream,
            frame: proto::Bulk { track: wire::id(TRACK), first }.encode_to_vec().into()
        }),
        (0u64..12, 0u64..400).prop_map(|(stream, index)| Arrival::Bulk { stream, frame: media(index) }),
        any::<u64>().prop_map(|index| Arrival::Media(media(index))),
        (0u64..400).prop_map(|index| Arrival::Media(media(index))),
        any::<u64>().prop_map(beat),
        ranges.clone().prop_map(|ranges| {
            Arrival::Datagram(wire::datagram(Body::Missing(proto::Missing { track: wire::id(TRACK), ranges })))
        }),
        (ranges, any::<u32>()).prop_map(|(ranges, round)| {
            Arrival::Datagram(wire::datagram(Body::Nack(proto::Nack { track: wire::id(TRACK), ranges, round })))
        }),
        (any::<u64>(), any::<u32>()).prop_map(|(next, together)| to_child(to_child::Body::Listening(
            proto::Listening { track: wire::id(TRACK), next, together }
        ))),
        (any::<u64>(), any::<bool>()).prop_map(|(next, ended)| {
            let secret = Some(Secret { key: [1; 16], salt: [2; 12] }.to_proto());
            to_child(to_child::Body::Log(proto::Log { track: wire::id(Uuid::nil()), ssrc: SSRC, secret, next, ended }))
        }),
        any::<u64>()
            .prop_map(|from| to_parent(to_parent::Body::Listen(proto::Listen { track: wire::id(TRACK), from }))),
        any::<i64>().prop_map(|sent| {
            let echo = proto::Echo {
                origin: sent as u64,
                received: sent,
                sent,
                uncertainty: u64::MAX,
                synced: sent % 2 == 0,
                offset: sent,
                skew: f64::NAN,
                every: u64::MAX,
            };
            Arrival::Datagram(wire::datagram(Body::Echo(echo)))
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_input_makes_a_child_panic_or_grow(steps in prop::collection::vec((arrivals(), 0i64..400_000, any::<bool>()), 0..120)) {
        let mut below = child();
        below.handle_arrival(Local(0), welcome()).unwrap();
        below.listen(Local(0), wish());
        let mut now = Local(0);
        for (arrival, wait, genuine) in steps {
            now += wait;
            // A violation ends a session; here it goes on, to try what the rest does.
            let _ = below.handle_arrival(now, arrival);
            let mut drained = 0;
            while let Some(event) = below.poll_event() {
                drained += 1;
                if let child::Event::Packet { track, index, via, .. } = event {
                    match genuine {
                        true => below.handle_accepted(now, track, index, via),
                        false => below.handle_rejected(now, track, index),
                    }
                }
            }
            prop_assert!(drained < 1_200);
            if below.poll_timeout().is_some_and(|(at, _)| at <= now) {
                below.handle_timeout(now);
            }
            let sent = std::iter::from_fn(|| below.poll_departure()).count();
            prop_assert!(sent < 50, "{} departures", sent);
            if let Some((at, reason)) = below.poll_timeout() {
                prop_assert!(at > now, "{:?} is due at {:?}, not after {:?}", reason, at, now);
            }
        }
    }

    #[test]
    fn no_input_makes_a_parent_panic_or_grow(steps in prop::collection::vec((arrivals(), 0i64..400_000, any::<bool>()), 0..120)) {
        let mut above = listening();
        let mut now = Local(0);
        for (arrival, wait, held) in steps {
            now += wait;
            let _ = above.handle_arrival(now, None, arrival);
            for event in events(&mut above) {
                if let parent::Event::Nack { track, index } = event {
                    above.answer(now, track, index, held.then(|| media(index)));
                }
            }
            above.handle_timeout(now);
            prop_assert!(departures(&mut above).len() < 600);
            if let Some((at, reason)) = above.poll_timeout() {
                prop_assert!(at > now, "{:?} is due at {:?}, not after {:?}", reason, at, now);
            }
        }
    }
}
