use super::*;
use std::net::UdpSocket;

pub(super) const TRACK: Uuid = Uuid::from_u128(1);

pub(super) fn fanout() -> Fanout {
    Fanout::new(Arc::new(Socket::bind(([127, 0, 0, 1], 0).into(), 1 << 20).unwrap()))
}

pub(super) fn listeners(count: usize) -> Vec<UdpSocket> {
    (0..count)
        .map(|_| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        })
        .collect()
}

/// Lets the fan-out do all that it has to, at the instants it asks for. Returns the last of them.
pub(super) fn finish(fanout: &mut Fanout, now: Instant) -> Instant {
    let mut last = now;
    while let Some(at) = fanout.poll_timeout() {
        assert!(at > last, "it asks for a time that has been");
        last = at;
        fanout.handle_timeout(at);
    }
    last
}

/// First bytes of the datagrams that wait at a socket.
pub(super) fn heard(socket: &UdpSocket) -> Vec<u8> {
    let mut bytes = [0; 2_000];
    std::iter::from_fn(|| socket.recv(&mut bytes).ok().map(|_| bytes[0])).collect()
}

#[test]
fn every_one_of_500_listeners_gets_every_packet_once() {
    let now = Instant::now();
    let mut fanout = fanout();
    let sockets = listeners(500);
    for (link, socket) in sockets.iter().enumerate() {
        fanout.listen(now, link as Link, TRACK, socket.local_addr().unwrap());
    }
    for number in 0..5 {
        fanout.air(now, TRACK, 0, Bytes::from(vec![number; 900]));
    }
    for socket in &sockets {
        assert_eq!(heard(socket), [0, 1, 2, 3, 4]);
    }
    assert_eq!(fanout.counters(), Counters { sent: 2_500, ..Counters::default() });
    assert_eq!(fanout.poll_timeout(), None);
}

#[test]
fn listeners_come_move_and_go_without_touching_the_others() {
    let now = Instant::now();
    let mut fanout = fanout();
    let sockets = listeners(40);
    let address = |at: usize| sockets[at].local_addr().unwrap();
    for link in 0..30 {
        fanout.listen(now, link as Link, TRACK, address(link));
    }
    for link in (0..30).step_by(3) {
        fanout.remove(link as Link);
    }
    fanout.unlisten(1, TRACK);
    fanout.unlisten(1, TRACK);
    fanout.listen(now, 2, TRACK, address(2));
    fanout.readdress(4, address(34));
    fanout.air(now, TRACK, 0, Bytes::from_static(b"x"));
    for (at, socket) in sockets.iter().enumerate() {
        let expected = usize::from(at == 34 || (at < 30 && at % 3 != 0 && at != 1 && at != 4));
        assert_eq!(heard(socket).len(), expected, "listener {at}");
    }
}

#[test]
fn a_large_audience_is_paced_over_at_most_half_a_packet_and_membership_may_change_meanwhile() {
    let now = Instant::now();
    let mut fanout = fanout();
    let sockets = listeners(600);
    fanout.carry(now, TRACK, 20_000, 1);
    for (link, socket) in sockets.iter().enumerate() {
        fanout.listen(now, link as Link, TRACK, socket.local_addr().unwrap());
    }
    fanout.air(now, TRACK, 0, Bytes::from_static(b"a"));
    let first = fanout.counters().sent;
    assert!((64..600).contains(&first), "{first} at once");
    // One that has been served and one that has not leave in the middle.
    fanout.remove(0);
    fanout.remove(599);
    let mut last = now;
    while let Some(at) = fanout.poll_timeout() {
        assert!(at > last);
        last = at;
        fanout.handle_timeout(at);
    }
    assert!(last - now <= Duration::from_millis(10), "{:?}", last - now);
    for (at, socket) in sockets.iter().enumerate() {
        assert_eq!(heard(socket).len(), usize::from(at != 599), "listener {at}");
    }
}

#[test]
fn of_packets_that_come_faster_than_they_leave_the_oldest_are_dropped_and_counted() {
    let now = Instant::now();
    let mut fanout = fanout();
    let sockets = listeners(600);
    fanout.carry(now, TRACK, 20_000, 1);
    for (link, socket) in sockets.iter().enumerate() {
        fanout.listen(now, link as Link, TRACK, socket.local_addr().unwrap());
    }
    for number in 0..8 {
        fanout.air(now, TRACK, 0, Bytes::from(vec![number]));
    }
    while let Some(at) = fanout.poll_timeout() {
        fanout.handle_timeout(at);
    }
    let counters = fanout.counters();
    assert!(counters.dropped > 0);
    assert_eq!(counters.sent + counters.dropped, 8 * 600);
    assert!(sockets.iter().all(|socket| heard(socket).contains(&7)), "the newest packet reaches all");
}

#[test]
fn a_destination_without_a_route_is_skipped_and_the_rest_is_served() {
    let now = Instant::now();
    let mut fanout = fanout();
    let sockets = listeners(3);
    fanout.listen(now, 0, TRACK, sockets[0].local_addr().unwrap());
    // A socket bound to loopback cannot reach outside it; port 0 is nobody's.
    fanout.listen(now, 1, TRACK, ([127, 0, 0, 1], 0).into());
    fanout.listen(now, 2, TRACK, sockets[2].local_addr().unwrap());
    fanout.air(now, TRACK, 0, Bytes::from_static(b"x"));
    assert_eq!((heard(&sockets[0]).len(), heard(&sockets[2]).len()), (1, 1));
    assert_eq!(fanout.counters(), Counters { sent: 2, unreachable: [0, 0, 0, 0, 0, 0, 1], ..Counters::default() });
}

#[test]
fn a_track_that_is_over_leaves_nothing_behind() {
    let now = Instant::now();
    let mut fanout = fanout();
    let sockets = listeners(2);
    let other = Uuid::from_u128(2);
    for track in [TRACK, other] {
        for (link, socket) in sockets.iter().enumerate() {
            fanout.listen(now, link as Link, track, socket.local_addr().unwrap());
        }
    }
    fanout.forget(TRACK);
    fanout.air(now, TRACK, 0, Bytes::from_static(b"x"));
    fanout.air(now, other, 0, Bytes::from_static(b"y"));
    assert_eq!(heard(&sockets[1]), b"y");
    fanout.remove(0);
    fanout.remove(1);
    assert!(fanout.members.is_empty());
}

#[test]
fn tracks_due_at_one_instant_are_paced_together_and_none_is_left_behind() {
    let now = Instant::now();
    let mut fanout = fanout();
    let sockets = listeners(40);
    let track = |number: usize| Uuid::from_u128(number as u128);
    // 48,000 packets a second, of which no track has more than 1,500.
    for (number, socket) in sockets.iter().enumerate() {
        fanout.carry(now, track(number), 20_000, 1);
        for listener in 0..30 {
            fanout.listen(now, (number * 30 + listener) as Link, track(number), socket.local_addr().unwrap());
        }
    }
    let mut turns = Vec::new();
    for number in 0..sockets.len() {
        fanout.air(now, track(number), 0, Bytes::from_static(b"x"));
    }
    turns.push(fanout.counters().sent);
    let mut last = now;
    while let Some(at) = fanout.poll_timeout() {
        fanout.handle_timeout(at);
        last = at;
        turns.push(fanout.counters().sent - turns.iter().sum::<u64>());
    }
    assert_eq!(turns.iter().sum::<u64>(), 1_200);
    // 240 in a turn of two milliseconds, and what is late at twice that.
    assert!(turns.iter().all(|turn| *turn <= 2 * 240), "{turns:?}");
    assert!(last - now <= Duration::from_millis(10), "{:?}", last - now);
    assert!(sockets.iter().all(|socket| heard(socket).len() == 30));
}

#[test]
fn orders_go_before_an_emergency_and_that_before_other_sound() {
    let now = Instant::now();
    let mut fanout = fanout();
    let sockets = listeners(3);
    let [sound, emergency, log] = [1, 2, 3].map(Uuid::from_u128);
    for (track, socket) in [sound, emergency, log].into_iter().zip(&sockets) {
        fanout.carry(now, track, if track == log { 0 } else { 20_000 }, 1);
        (0..400).for_each(|link| fanout.listen(now, link, track, socket.local_addr().unwrap()));
    }
    fanout.hasten(emergency);
    for track in [sound, emergency] {
        fanout.air(now, track, 0, Bytes::from_static(b"x"));
    }
    let before = heard(&sockets[0]).len();
    assert!(before < 400);
    fanout.air(now, log, 0, Bytes::from_static(b"x"));
    assert!(heard(&sockets[2]).len() >= 256, "orders wait for no pace; a socket's buffer holds as many");
    while heard(&sockets[1]).len() < 20 {
        assert_eq!(heard(&sockets[0]).len(), 0, "sound goes on before the emergency has gone");
        let at = fanout.poll_timeout().unwrap();
        fanout.handle_timeout(at);
    }
    let turn = fanout.turn;
    finish(&mut fanout, turn);
    assert_eq!(fanout.counters(), Counters { sent: 1_200, ..Counters::default() });
}

#[test]
fn a_turn_is_bounded_so_that_children_are_heard_between_two() {
    let now = Instant::now();
    let mut fanout = fanout();
    let sockets = listeners(1);
    (0..1_500).for_each(|link| fanout.listen(now, link, TRACK, sockets[0].local_addr().unwrap()));
    fanout.air(now, TRACK, 0, Bytes::from_static(b"x"));
    assert_eq!(fanout.counters().sent, BATCH as u64);
    for index in 1..5 {
        fanout.air(now, TRACK, index, Bytes::from_static(b"x"));
    }
    assert!(fanout.spent(now));
    assert_eq!(fanout.counters().sent, TURN as u64);
    finish(&mut fanout, now);
    assert_eq!(fanout.counters().sent, 5 * 1_500);
}

#[test]
fn a_full_buffer_waits_for_room_and_a_device_without_memory_for_a_moment() {
    let now = Instant::now();
    let mut fanout = fanout();
    let sockets = listeners(2);
    for (link, socket) in sockets.iter().enumerate() {
        fanout.listen(now, link as Link, TRACK, socket.local_addr().unwrap());
    }
    lane::FAULTS.set([libc::EAGAIN, libc::ENOBUFS].into());
    fanout.air(now, TRACK, 0, Bytes::from_static(b"x"));
    assert!(fanout.wants_write());
    assert_eq!(fanout.poll_timeout(), None);
    fanout.handle_timeout(now);
    assert!(!fanout.wants_write(), "poll says nothing of a device's queue");
    assert_eq!(fanout.poll_timeout(), Some(now + STARVED));
    fanout.handle_timeout(now + STARVED);
    assert_eq!(fanout.counters(), Counters { sent: 2, blocked: 2, ..Counters::default() });
    // A device that never has memory holds up nobody else for long.
    lane::FAULTS.set([libc::ENOBUFS; MOST_STARVED as usize].into());
    fanout.air(now + 2 * STARVED, TRACK, 1, Bytes::from_static(b"y"));
    finish(&mut fanout, now + 2 * STARVED);
    assert_eq!(heard(&sockets[0]), b"x");
    assert_eq!(heard(&sockets[1]), b"xy");
    assert_eq!(fanout.counters().unreachable[Unreachable::Full as usize], 1);
}

#[test]
fn sound_is_behind_while_a_packet_waits_for_the_one_before_it() {
    let now = Instant::now();
    let mut fanout = fanout();
    let sockets = listeners(1);
    fanout.carry(now, TRACK, 240_000, 1);
    fanout.listen(now, 0, TRACK, sockets[0].local_addr().unwrap());
    lane::FAULTS.set([libc::EAGAIN].into());
    let mut behind = Vec::new();
    for index in 0..3 {
        fanout.air(now, TRACK, index, Bytes::from(vec![index as u8; 9]));
        behind.push(fanout.is_behind());
    }
    assert_eq!(behind, [false, true, true]);
    fanout.handle_timeout(now);
    assert!(!fanout.is_behind());
    assert_eq!(heard(&sockets[0]), [0, 1, 2]);
}

#[test]
fn what_icmp_said_of_an_earlier_send_skips_nobody_else() {
    let now = Instant::now();
    let mut fanout = fanout();
    let on: libc::c_int = 1;
    // SAFETY: the value is an int of ours and its size is stated.
    let result = unsafe {
        libc::setsockopt(fanout.socket.descriptor(), libc::IPPROTO_IP, libc::IP_RECVERR, (&raw const on).cast(), 4)
    };
    assert_eq!(result, 0);
    let sockets = listeners(2);
    let closed = listeners(1).remove(0).local_addr().unwrap();
    fanout.listen(now, 0, TRACK, closed);
    fanout.air(now, TRACK, 0, Bytes::from_static(b"x"));
    fanout.remove(0);
    // The port's closed state is now an error of the socket, given to the next send.
    for (link, socket) in sockets.iter().enumerate() {
        fanout.listen(now, link as Link, TRACK, socket.local_addr().unwrap());
    }
    fanout.air(now, TRACK, 1, Bytes::from_static(b"y"));
    assert!(sockets.iter().all(|socket| heard(socket) == b"y"));
    assert_eq!(fanout.counters(), Counters { sent: 3, ..Counters::default() });
}

#[test]
fn every_reason_is_counted_as_what_it_is() {
    let now = Instant::now();
    let mut fanout = fanout();
    let sockets = listeners(1);
    fanout.listen(now, 0, TRACK, sockets[0].local_addr().unwrap());
    let reasons = [
        (libc::ECONNREFUSED, Unreachable::Refused),
        (libc::ENETUNREACH, Unreachable::NoRoute),
        (libc::EHOSTUNREACH, Unreachable::NoRoute),
        (libc::EPERM, Unreachable::Filtered),
        (libc::EMSGSIZE, Unreachable::TooLong),
        (libc::EIO, Unreachable::Device),
        (libc::EINVAL, Unreachable::Invalid),
    ];
    let mut expected = Counters::default();
    for (index, (error, reason)) in reasons.into_iter().enumerate() {
        lane::FAULTS.set([error, error].into());
        fanout.air(now, TRACK, index as u64, Bytes::from_static(b"x"));
        expected.unreachable[reason as usize] += 1;
        assert_eq!(fanout.counters(), expected, "errno {error}");
    }
}

#[test]
fn ipv6_and_ipv4_listeners_stand_in_one_vector() {
    let now = Instant::now();
    let Ok(socket) = Socket::bind((std::net::Ipv6Addr::UNSPECIFIED, 0).into(), 1 << 20) else {
        println!("not run: this machine has no IPv6");
        return;
    };
    let mut fanout = Fanout::new(Arc::new(socket));
    let sockets = ["[::1]:0", "127.0.0.1:0", "[::1]:0", "127.0.0.1:0"].map(|any| UdpSocket::bind(any).unwrap());
    fanout.carry(now, TRACK, 240_000, 2);
    for (link, socket) in sockets.iter().enumerate() {
        socket.set_nonblocking(true).unwrap();
        fanout.listen(now, link as Link, TRACK, socket.local_addr().unwrap());
    }
    for index in 0..4 {
        fanout.air(now, TRACK, index, Bytes::from(vec![index as u8; 800]));
    }
    for socket in &sockets {
        assert_eq!(heard(socket), [0, 1, 2, 3]);
    }
    assert_eq!(fanout.counters(), Counters { sent: 16, bunched: 16, ..Counters::default() });
}
