use super::*;
use std::net::UdpSocket;

const TRACK: Uuid = Uuid::from_u128(1);

fn fanout() -> Fanout {
    Fanout::new(Arc::new(Socket::bind(([127, 0, 0, 1], 0).into(), 1 << 20).unwrap()))
}

fn listeners(count: usize) -> Vec<UdpSocket> {
    (0..count)
        .map(|_| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        })
        .collect()
}

/// First bytes of the datagrams that wait at a socket.
fn heard(socket: &UdpSocket) -> Vec<u8> {
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
fn what_is_still_under_way_when_the_packet_after_next_comes_is_dropped_and_counted() {
    let now = Instant::now();
    let mut fanout = fanout();
    let sockets = listeners(600);
    fanout.carry(now, TRACK, 20_000, 1);
    for (link, socket) in sockets.iter().enumerate() {
        fanout.listen(now, link as Link, TRACK, socket.local_addr().unwrap());
    }
    for number in 0..4 {
        fanout.air(now, TRACK, 0, Bytes::from(vec![number]));
    }
    while let Some(at) = fanout.poll_timeout() {
        fanout.handle_timeout(at);
    }
    let counters = fanout.counters();
    assert!(counters.dropped > 0);
    assert_eq!(counters.sent + counters.dropped, 4 * 600);
    assert!(sockets.iter().all(|socket| heard(socket).contains(&3)), "the newest packet reaches all");
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
    assert_eq!(fanout.counters(), Counters { sent: 2, unreachable: 1, ..Counters::default() });
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
