use super::*;
use proptest::prelude::*;
use prost::Message;

const ORDER: Uuid = Uuid::from_u128(7);
const OTHER: Uuid = Uuid::from_u128(8);
const AT: Civil = Civil(1_795_305_600_000_000);

fn receipt() -> Receipt {
    Receipt::new(ORDER, AT)
}

fn area(text: &str) -> Area {
    text.parse().unwrap()
}

#[test]
fn what_is_played_whole_says_from_when_to_when() {
    let mut receipt = receipt();
    assert!(receipt.handle_cached(AT + 1) && receipt.handle_began(AT + 2));
    assert!(receipt.handle_let_out(AT + 9, 0) && receipt.handle_audio([3; 32]) && receipt.handle_played(true));
    assert!(receipt.close(false, "") && receipt.closed);
    assert_eq!((receipt.from, receipt.to, receipt.cached), (Some(AT + 2), Some(AT + 9), Some(AT + 1)));
    assert_eq!((Outcome::of(&receipt), receipt.revision), (Outcome::Played, 7));
}

#[test]
fn nothing_that_comes_later_makes_less_of_what_was_played() {
    let mut played = receipt();
    played.handle_began(AT + 2);
    played.handle_let_out(AT + 9, 0);
    played.handle_played(true);
    let before = played.clone();
    assert!(!played.handle_silenced(AT + 10, Silence::Hushed));
    assert!(!played.handle_cancelled(AT + 10));
    played.handle_cached(AT + 11);
    assert_eq!(played.state, before.state);
    played.close(true, "track.packets");
    assert_eq!(Outcome::of(&played), Outcome::Played);
    assert!(!played.handle_began(AT + 20) && !played.handle_let_out(AT + 30, 5), "it is closed");
    // What came again after a restart, with fewer changes behind it.
    assert!(!played.is_older_than(&receipt()) && receipt().is_older_than(&played));
}

#[test]
fn a_revision_that_is_higher_but_says_less_is_not_believed() {
    let mut played = receipt();
    played.handle_began(AT + 2);
    played.handle_played(true);
    let forgetful = Receipt { revision: 99, ..receipt() };
    assert!(!played.is_older_than(&forgetful));
}

#[test]
fn who_was_cut_into_and_came_back_played_but_not_whole() {
    let mut receipt = receipt();
    receipt.handle_began(AT + 2);
    receipt.handle_let_out(AT + 5, 0);
    assert!(receipt.handle_silenced(AT + 5, Silence::Preempted(OTHER)));
    assert_eq!(Outcome::of(&receipt), Outcome::Preempted);
    receipt.handle_began(AT + 8);
    assert_eq!(receipt.from, Some(AT + 2), "the first sample of all");
    receipt.handle_let_out(AT + 10, 0);
    receipt.handle_played(true);
    assert_eq!((Outcome::of(&receipt), receipt.by, receipt.stopped), (Outcome::Partly, Some(OTHER), Some(AT + 5)));
}

#[test]
fn what_never_sounded_is_missed_where_the_node_was_off_and_failed_where_it_was_not() {
    let mut off = receipt();
    off.handle_cached(AT + 1);
    off.close(true, "track.packets");
    assert_eq!((Outcome::of(&off), &*off.why), (Outcome::Missed, ""));
    let mut on = receipt();
    on.close(false, "track.packets");
    assert_eq!((Outcome::of(&on), &*on.why), (Outcome::Failed, "track.packets"));
    let mut cut = receipt();
    cut.handle_began(AT);
    cut.close(true, "node.stopped");
    assert_eq!((Outcome::of(&cut), cut.from), (Outcome::Failed, Some(AT)), "it began, and nobody saw its end");
}

#[test]
fn the_first_silence_stays_and_a_cancel_says_more_than_it() {
    let mut receipt = receipt();
    receipt.handle_silenced(AT + 3, Silence::Hushed);
    assert!(!receipt.handle_silenced(AT + 4, Silence::Muted));
    assert_eq!(Outcome::of(&receipt), Outcome::Hushed);
    assert!(receipt.handle_cancelled(AT + 6));
    assert_eq!((Outcome::of(&receipt), receipt.stopped), (Outcome::Cancelled, Some(AT + 3)));
}

#[test]
fn a_sum_counts_everyone_once_and_names_those_of_whom_somebody_asks() {
    let mut sum = Sum::new(ORDER, OTHER);
    let mut played = receipt();
    played.handle_began(AT + 2);
    played.handle_let_out(AT + 9, 0);
    played.handle_audio([3; 32]);
    played.handle_played(true);
    let commune = area("vn/01/00001");
    for node in 0..10 {
        sum.add(Uuid::from_u128(node), &commune, Outcome::of(&played), Some(&played), node == 4);
    }
    sum.add(Uuid::from_u128(20), &commune, Outcome::NotReached, None, false);
    let failed = Receipt { state: State::Failed, why: "sound.device".into(), ..receipt() };
    sum.add(Uuid::from_u128(21), &area("vn/01/00002"), Outcome::of(&failed), Some(&failed), false);
    sum.finish();
    let tally = &sum.areas[&commune];
    assert_eq!((tally.expected(), tally.reached(), tally.count(Outcome::Played)), (11, 10, 10));
    assert_eq!((tally.from, tally.to, tally.audio[&[3; 32]]), (Some(AT + 2), Some(AT + 9), 10));
    let names: Vec<_> = sum.named.iter().map(|named| (named.node.as_u128(), named.outcome)).collect();
    assert_eq!(names, [(21, Outcome::Failed), (20, Outcome::NotReached), (4, Outcome::Played)]);
    let mut less = sum.clone();
    less.forget(Uuid::from_u128(20));
    less.forget(Uuid::from_u128(99));
    assert_eq!((less.areas[&commune].expected(), less.named.len()), (10, 2));
}

#[test]
fn a_sum_of_too_many_names_and_areas_keeps_every_count_and_the_worst_names() {
    let mut sum = Sum::new(ORDER, OTHER);
    for node in 0..1_000u128 {
        let outcome = if node == 999 { Outcome::Failed } else { Outcome::Hushed };
        sum.add(Uuid::from_u128(node), &area(&format!("vn/01/{node}")), outcome, None, false);
    }
    sum.finish();
    assert_eq!((sum.areas.len(), sum.named.len(), sum.unnamed), (MOST_AREAS, MOST_NAMED, 744));
    assert_eq!(sum.areas.values().map(Tally::expected).sum::<u32>(), 1_000);
    assert_eq!(sum.named[0].outcome, Outcome::Failed);
    let wire = sum.write();
    assert!(wire.encoded_len() < 60_000, "{} bytes", wire.encoded_len());
    assert_eq!(Sum::read(&wire, AT), Some(sum));
}

#[test]
fn an_order_concerns_whoever_stands_in_its_areas_and_is_not_exempt() {
    let hush = super::super::Hush { until: AT + 5, up_to: Priority::Priority, exempt: vec![area("vn/01/00002")] };
    let order = Order::new(ORDER, KeyId([1; 16]), 1, AT, vec![area("vn/01")], Body::Hush(hush));
    let heard = Heard::of(&order, &proto::Signed::default()).unwrap();
    for (place, concerned) in [
        ("vn/01", true),
        ("vn/01/00001", true),
        ("vn/01/00002", false),
        ("vn/01/00002/a", false),
        ("vn/011", false),
        ("vn", false),
    ] {
        assert_eq!(heard.concerns(place), concerned, "{place}");
    }
    assert_eq!((heard.begins, heard.ends, heard.sounds()), (AT, AT + 5, false));
}

#[test]
fn what_no_receipt_says_is_refused() {
    let good = receipt().write();
    assert_eq!(Receipt::read(&good, AT), Some(receipt()));
    for bad in [
        proto::Receipt { order: vec![1; 15].into(), ..good.clone() },
        proto::Receipt { state: 0, ..good.clone() },
        proto::Receipt { state: 11, ..good.clone() },
        proto::Receipt { received: 0, ..good.clone() },
        proto::Receipt { by: vec![1; 3].into(), ..good.clone() },
        proto::Receipt { audio: vec![1; 31].into(), ..good.clone() },
        proto::Receipt { why: "x".repeat(65), ..good.clone() },
    ] {
        assert_eq!(Receipt::read(&bad, AT), None, "{bad:?}");
    }
    let future = proto::Receipt { to: i64::MAX, lost: u32::MAX, ..good };
    let read = Receipt::read(&future, AT + 5).unwrap();
    assert_eq!((read.to, read.lost), (Some(AT + 5), 1_000), "a clock that errs is as likely as a lie");
}

#[derive(Clone, Debug)]
enum Step {
    Cached,
    Began,
    Silenced(Silence),
    LetOut(u16),
    Played(bool),
    Cancelled,
    Audio,
    Close(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        Just(Step::Cached),
        Just(Step::Began),
        Just(Step::Silenced(Silence::Hushed)),
        Just(Step::Silenced(Silence::Muted)),
        Just(Step::Silenced(Silence::Preempted(OTHER))),
        (0u16..1_100).prop_map(Step::LetOut),
        any::<bool>().prop_map(Step::Played),
        Just(Step::Cancelled),
        Just(Step::Audio),
        any::<bool>().prop_map(Step::Close),
    ];
    proptest::collection::vec(step, 0..20)
}

proptest! {
    #[test]
    fn whatever_happens_states_only_advance_revisions_rise_and_the_wire_keeps_all(steps in steps()) {
        let mut receipt = receipt();
        for (number, step) in steps.into_iter().enumerate() {
            let (before, at) = (receipt.clone(), AT + number as i64);
            let changed = match step {
                Step::Cached => receipt.handle_cached(at),
                Step::Began => receipt.handle_began(at),
                Step::Silenced(silence) => receipt.handle_silenced(at, silence),
                Step::LetOut(lost) => receipt.handle_let_out(at, lost),
                Step::Played(whole) => receipt.handle_played(whole),
                Step::Cancelled => receipt.handle_cancelled(at),
                Step::Audio => receipt.handle_audio([9; 32]),
                Step::Close(off) => receipt.close(off, "track.packets"),
            };
            prop_assert!(receipt.state.rank() >= before.state.rank());
            prop_assert_eq!(receipt.revision, before.revision + u32::from(changed));
            prop_assert_eq!(before.is_older_than(&receipt), changed);
            prop_assert!(!before.closed || !changed);
            let wire = proto::Receipt::decode(&receipt.write().encode_to_vec()[..]).unwrap();
            prop_assert_eq!(Receipt::read(&wire, AT + 100), Some(receipt.clone()));
        }
    }

    #[test]
    fn no_bytes_of_a_peer_break_a_reader(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Some(sum) = proto::Sum::decode(&bytes[..]).ok().and_then(|wire| Sum::read(&wire, AT)) {
            prop_assert!(sum.areas.len() <= MOST_AREAS && sum.named.len() <= MOST_NAMED);
        }
        if let Ok(wire) = proto::Receipt::decode(&bytes[..]) {
            let _ = Receipt::read(&wire, AT);
        }
    }
}
