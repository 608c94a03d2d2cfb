use super::*;
use uuid::Uuid;

const DURATION: i64 = 240 * MILLISECOND;
const RTT: i64 = 100 * MILLISECOND;

fn log(from: u64) -> Wish {
    Wish { track: Uuid::nil(), ssrc: 1, duration: 0, from, useful: i64::MAX, packets: None, counted: false }
}

fn seeker(packets: Option<u64>) -> Seeker {
    let useful = 640 * MILLISECOND;
    let mut seeker = Seeker::new(Wish { duration: DURATION, useful, packets, ..log(0) });
    seeker.anchor(0);
    seeker
}

fn arrival(index: u64) -> Local {
    Local(index as i64 * DURATION)
}

/// What is asked for, when, as (µs, first, count), from `now` until nothing more happens.
fn asks(seeker: &mut Seeker, until: Local) -> Vec<(Local, u64, u64)> {
    let mut asks = Vec::new();
    while let Some(now) = seeker.poll_timeout().filter(|now| *now < until) {
        seeker.handle_timeout(now);
        while let Some(ask) = seeker.poll_ask(now, RTT, 200) {
            asks.extend(ask.nack.ranges.iter().map(|range| (now, range.first, range.count)));
        }
    }
    asks
}

#[test]
fn a_lost_packet_is_noticed_by_its_due_time_without_any_later_arrival() {
    let mut seeker = seeker(None);
    seeker.handle_accepted(arrival(0), 0, true, RTT);
    let asks = asks(&mut seeker, arrival(2));
    assert_eq!(asks[0], (arrival(1) + 15 * MILLISECOND, 1, 1));
}

#[test]
fn a_child_of_many_waits_for_what_may_only_be_late_and_one_of_a_vast_crowd_asks_ever_more_rarely() {
    let wait = 70 * MILLISECOND;
    let asked = |overtaken: bool, vast: bool| {
        let mut seeker = seeker(Some(2 + u64::from(overtaken)));
        seeker.wish.useful = 2 * SECOND;
        seeker.crowd(Some(Crowd { wait, vast }));
        seeker.handle_accepted(arrival(0), 0, true, RTT);
        if overtaken {
            seeker.handle_accepted(arrival(1), 2, true, RTT);
        }
        let mut asks = Vec::new();
        while let Some(now) = seeker.poll_timeout() {
            seeker.handle_timeout(now);
            let asked = std::iter::from_fn(|| seeker.poll_ask(now, RTT, 200));
            asks.extend(asked.map(|ask| ((now - arrival(1)) / MILLISECOND, ask.twice)));
        }
        asks
    };
    // 15 ms of margin, 40 of patience, its own 70.
    assert_eq!(asked(false, false)[0], (15 + 40 + 70, false));
    assert_eq!(asked(true, false)[0], (10 + 70, true));
    assert_eq!(asked(true, true)[0], (10 + 70, false));
    let last = |asks: Vec<(i64, bool)>| asks.windows(2).map(|pair| pair[1].0 - pair[0].0).max();
    assert!(last(asked(true, true)) > last(asked(true, false)));
}

#[test]
fn a_later_packet_shows_a_gap_before_its_due_time_is_sure() {
    let mut seeker = seeker(None);
    seeker.handle_accepted(arrival(0), 0, true, RTT);
    let early = arrival(1) - 20 * MILLISECOND;
    seeker.handle_accepted(early, 2, true, RTT);
    assert_eq!(asks(&mut seeker, arrival(1))[0], (early + REORDER, 1, 1));
}

#[test]
fn a_packet_reordered_by_the_network_is_not_asked_for() {
    let mut seeker = seeker(Some(3));
    seeker.handle_accepted(arrival(0), 0, true, RTT);
    seeker.handle_accepted(arrival(1), 2, true, RTT);
    assert!(!seeker.handle_accepted(arrival(1) + 5 * MILLISECOND, 1, true, RTT));
    assert_eq!(asks(&mut seeker, Local(i64::MAX)), []);
}

#[test]
fn asking_grows_denser_towards_the_deadline_and_ends_a_round_trip_before_it() {
    let mut seeker = seeker(Some(2));
    seeker.handle_accepted(arrival(0), 0, true, RTT);
    let times: Vec<i64> = asks(&mut seeker, Local(i64::MAX)).iter().map(|ask| ask.0 - arrival(1)).collect();
    assert!(times.len() >= 5, "{times:?}");
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] <= RTT + ROUND_MARGIN), "{times:?}");
    assert!(*times.last().unwrap() <= 640 * MILLISECOND - RTT, "{times:?}");
    assert!(*times.last().unwrap() >= 640 * MILLISECOND - RTT - ROUND_LEAST, "{times:?}");
    assert_eq!(seeker.take_abandoned(), 1);
}

#[test]
fn a_track_that_stops_is_asked_for_a_few_packets_and_no_more() {
    let mut seeker = seeker(None);
    seeker.handle_accepted(arrival(0), 0, true, RTT);
    let asks = asks(&mut seeker, Local(3_600 * SECOND));
    assert_eq!(asks.iter().map(|ask| ask.1 + ask.2).max(), Some(1 + 640 / 240 + AHEAD - 1));
    assert_eq!(seeker.gaps(), 0);
}

#[test]
fn nothing_is_asked_for_beyond_the_end_of_the_track() {
    let mut seeker = seeker(Some(1));
    seeker.handle_accepted(arrival(0), 0, true, RTT);
    assert_eq!(seeker.poll_timeout(), None);
    assert_eq!(seeker.ping_at(Local(0)), None);
}

#[test]
fn a_path_that_grows_longer_is_learnt_anew() {
    let mut seeker = seeker(None);
    for index in 0..20 {
        seeker.handle_accepted(arrival(index), index, true, RTT);
    }
    for index in 20..60 {
        let at = arrival(index) + 180 * MILLISECOND;
        asks(&mut seeker, at);
        seeker.handle_accepted(at, index, true, RTT);
    }
    assert_eq!(asks(&mut seeker, arrival(60) + 180 * MILLISECOND), []);
}

#[test]
fn repairs_do_not_make_the_due_times_later() {
    let mut seeker = seeker(None);
    for index in 0..200 {
        let at = if index % 4 == 3 { arrival(index) + 130 * MILLISECOND } else { arrival(index) };
        asks(&mut seeker, at);
        seeker.handle_accepted(at, index, true, RTT);
    }
    assert_eq!(seeker.arrivals.missing_at(200), Some(arrival(200) + 15 * MILLISECOND));
}

#[test]
fn what_the_parent_lacks_is_left_alone_for_half_the_time_there_is() {
    let mut seeker = seeker(Some(2));
    seeker.handle_accepted(arrival(0), 0, true, RTT);
    seeker.handle_missing(arrival(1), 1, 1, RTT);
    let times: Vec<i64> = asks(&mut seeker, Local(i64::MAX)).iter().map(|ask| ask.0 - arrival(1)).collect();
    assert_eq!(times[0], (640 - 100) / 2 * MILLISECOND);
    assert!(times.len() <= 4, "{times:?}");
}

#[test]
fn a_missing_order_is_asked_for_ever_more_slowly_and_then_given_up() {
    let mut seeker = Seeker::new(log(7));
    seeker.anchor(7);
    seeker.handle_head(Local(0), 8);
    let asks = asks(&mut seeker, Local(i64::MAX));
    assert_eq!(asks.len(), MAX_ROUNDS as usize);
    assert!(asks.windows(2).all(|pair| pair[1].0 - pair[0].0 <= ROUND_MOST));
    assert!(asks[59].0 - asks[0].0 > 90 * SECOND);
    assert_eq!((seeker.gaps(), seeker.take_abandoned()), (0, 1));
}

#[test]
fn a_leap_ahead_leaves_a_bounded_number_of_gaps() {
    let mut seeker = Seeker::new(log(0));
    seeker.anchor(0);
    seeker.handle_accepted(Local(0), 1 << 40, true, RTT);
    assert_eq!(seeker.gaps() as u64, MAX_GAPS);
    let ask = std::iter::from_fn(|| seeker.poll_ask(Local(SECOND), RTT, 200)).take(5).map(|ask| ask.indices);
    assert!(ask.sum::<u32>() <= 5 * 60);
}
