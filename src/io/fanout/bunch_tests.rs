//! Several packets in one send.
use super::tests::{TRACK, fanout, finish, heard, listeners};
use super::*;

const DURATION: Duration = Duration::from_millis(240);

fn packet(index: u64) -> Bytes {
    Bytes::from(vec![index as u8; 832])
}

/// A fan-out whose listeners get packets of [`TRACK`] so many at a time.
fn bunching(now: Instant, sockets: &[std::net::UdpSocket], together: u32) -> Fanout {
    let mut fanout = fanout();
    fanout.carry(now, TRACK, DURATION.as_micros() as i64, together);
    for (link, socket) in sockets.iter().enumerate() {
        fanout.listen(now, link as Link, TRACK, socket.local_addr().unwrap());
    }
    fanout
}

#[test]
fn a_bunch_leaves_in_one_send_and_arrives_as_its_packets() {
    let now = Instant::now();
    let sockets = listeners(20);
    for together in 2..=4u64 {
        let mut fanout = bunching(now, &sockets, together as u32);
        for index in 0..together - 1 {
            fanout.air(now, TRACK, index, packet(index));
            assert_eq!(fanout.counters().sent, 0, "packet {index} of {together} waits");
        }
        fanout.air(now, TRACK, together - 1, packet(together - 1));
        for socket in &sockets {
            assert_eq!(heard(socket), (0..together as u8).collect::<Vec<_>>());
        }
        let sent = 20 * together;
        assert_eq!(fanout.counters(), Counters { sent, bunched: sent, ..Counters::default() });
        assert_eq!(fanout.poll_timeout(), None);
    }
}

#[test]
fn two_bunches_may_wait_and_a_third_overtakes_the_first() {
    let now = Instant::now();
    let sockets = listeners(1);
    let mut fanout = bunching(now, &sockets, 4);
    lane::FAULTS.set([libc::EAGAIN].into());
    (0..12).for_each(|index| fanout.air(now, TRACK, index, packet(index)));
    finish(&mut fanout, now);
    fanout.handle_timeout(now);
    assert_eq!(heard(&sockets[0]), [4, 5, 6, 7, 8, 9, 10, 11]);
    assert_eq!(fanout.counters().dropped, 4);
}

#[test]
fn a_reader_with_gro_gets_the_bunch_in_one_piece() {
    let now = Instant::now();
    let reader = Socket::bind(([127, 0, 0, 1], 0).into(), 1 << 20).unwrap();
    let mut fanout = bunching(now, &[], 4);
    fanout.listen(now, 0, TRACK, reader.local_address().unwrap());
    (0..4).for_each(|index| fanout.air(now, TRACK, index, packet(index)));
    let mut seen = Vec::new();
    let mut receiver = super::super::socket::Receiver::default();
    let until = Instant::now() + Duration::from_secs(10);
    while seen.len() < 4 && Instant::now() < until {
        receiver.receive(&reader, |_, bytes| seen.push((bytes[0], bytes.len()))).unwrap();
    }
    assert_eq!(seen, [(0, 832), (1, 832), (2, 832), (3, 832)]);
}

#[test]
fn a_bunch_that_does_not_complete_leaves_when_its_last_packet_is_overdue() {
    let now = Instant::now();
    let sockets = listeners(2);
    let mut fanout = bunching(now, &sockets, 4);
    fanout.air(now, TRACK, 0, packet(0));
    fanout.air(now + DURATION, TRACK, 1, packet(1));
    assert_eq!(fanout.poll_timeout(), Some(now + 4 * DURATION));
    fanout.handle_timeout(now + 4 * DURATION);
    assert!(sockets.iter().all(|socket| heard(socket) == [0, 1]));
    assert_eq!(fanout.poll_timeout(), None);
    // One that is over holds nothing back.
    fanout.air(now + 5 * DURATION, TRACK, 4, packet(4));
    fanout.forget(TRACK);
    assert_eq!(fanout.poll_timeout(), None);
}

#[test]
fn who_joins_leaves_or_moves_while_a_bunch_forms_gets_whole_packets_in_order() {
    let now = Instant::now();
    let sockets = listeners(5);
    let mut fanout = bunching(now, &sockets[..3], 4);
    fanout.air(now, TRACK, 0, packet(0));
    fanout.air(now, TRACK, 1, packet(1));
    fanout.listen(now, 7, TRACK, sockets[3].local_addr().unwrap());
    fanout.remove(0);
    fanout.readdress(1, sockets[4].local_addr().unwrap());
    fanout.air(now, TRACK, 2, packet(2));
    fanout.air(now, TRACK, 3, packet(3));
    let all: Vec<Vec<u8>> = sockets.iter().map(heard).collect();
    assert_eq!(all, [vec![], vec![], vec![0, 1, 2, 3], vec![0, 1, 2, 3], vec![0, 1, 2, 3]]);
}

#[test]
fn whoever_cannot_be_sent_a_bunch_is_sent_its_packets_and_stays_so_on_every_track() {
    let now = Instant::now();
    let sockets = listeners(4);
    let mut fanout = bunching(now, &sockets, 3);
    lane::FAULTS.set([libc::EMSGSIZE].into());
    (0..3).for_each(|index| fanout.air(now, TRACK, index, packet(index)));
    assert_eq!(fanout.counters(), Counters { sent: 12, bunched: 9, singles: 1, ..Counters::default() });
    (3..6).for_each(|index| fanout.air(now, TRACK, index, packet(index)));
    assert!(sockets.iter().all(|socket| heard(socket) == [0, 1, 2, 3, 4, 5]));
    assert_eq!(fanout.counters(), Counters { sent: 24, bunched: 18, singles: 1, ..Counters::default() });
    let other = Uuid::from_u128(2);
    fanout.carry(now, other, DURATION.as_micros() as i64, 2);
    fanout.listen(now, 0, other, sockets[0].local_addr().unwrap());
    (0..2).for_each(|index| fanout.air(now, other, index, packet(index)));
    assert_eq!(heard(&sockets[0]), [0, 1]);
    assert_eq!(fanout.counters(), Counters { sent: 26, bunched: 18, singles: 1, ..Counters::default() });
    // It may still move and go.
    fanout.readdress(0, sockets[1].local_addr().unwrap());
    fanout.unlisten(0, other);
    (6..9).for_each(|index| fanout.air(now, TRACK, index, packet(index)));
    assert_eq!((heard(&sockets[0]).len(), heard(&sockets[1]).len()), (0, 6));
    fanout.remove(0);
    assert!(fanout.singles.is_empty());
}

#[test]
fn what_is_too_long_for_one_send_goes_in_several() {
    let now = Instant::now();
    let sockets = listeners(3);
    let mut fanout = bunching(now, &sockets, 4);
    // Four of them are more than a UDP datagram may be, so that the kernel itself refuses.
    (0..4u8).for_each(|index| fanout.air(now, TRACK, index.into(), Bytes::from(vec![index; 20_000])));
    assert!(sockets.iter().all(|socket| heard(socket) == [0, 1, 2, 3]));
    assert_eq!(fanout.counters(), Counters { sent: 12, singles: 3, ..Counters::default() });
}

#[test]
fn a_device_that_cannot_cut_ends_bunches_for_the_whole_socket() {
    let now = Instant::now();
    let sockets = listeners(3);
    let mut fanout = bunching(now, &sockets, 2);
    lane::FAULTS.set([libc::EIO].into());
    (0..2).for_each(|index| fanout.air(now, TRACK, index, packet(index)));
    finish(&mut fanout, now);
    fanout.air(now, TRACK, 2, packet(2));
    assert!(sockets.iter().all(|socket| heard(socket) == [0, 1, 2]));
    let other = Uuid::from_u128(2);
    fanout.carry(now, other, DURATION.as_micros() as i64, 4);
    fanout.listen(now, 0, other, sockets[0].local_addr().unwrap());
    fanout.air(now, other, 0, packet(0));
    assert_eq!(heard(&sockets[0]), [0]);
    assert_eq!(fanout.counters(), Counters { sent: 10, devices: 1, ..Counters::default() });
}

#[test]
fn orders_never_wait_for_company() {
    let now = Instant::now();
    let sockets = listeners(1);
    let mut fanout = bunching(now, &sockets, 4);
    fanout.carry(now, TRACK, 0, 4);
    fanout.air(now, TRACK, 0, packet(0));
    assert_eq!(heard(&sockets[0]), [0]);
}

#[test]
fn a_large_audience_gets_its_bunches_paced_and_one_that_leaves_meanwhile_tears_none() {
    let now = Instant::now();
    let sockets = listeners(300);
    let mut fanout = bunching(now, &sockets, 2);
    fanout.carry(now, TRACK, 10_000, 2);
    lane::FAULTS.set([libc::EINVAL, libc::EINVAL].into());
    (0..2).for_each(|index| fanout.air(now, TRACK, index, packet(index)));
    let first = fanout.counters().sent;
    assert!((64..600).contains(&first), "{first} at once");
    fanout.remove(3);
    fanout.remove(298);
    let last = finish(&mut fanout, now);
    assert!(last - now <= Duration::from_millis(5), "{:?}", last - now);
    for (at, socket) in sockets.iter().enumerate() {
        let heard = heard(socket);
        assert!(heard == [0, 1] || (heard.is_empty() && [3, 298].contains(&at)), "listener {at}: {heard:?}");
    }
}

#[test]
fn what_waits_for_a_packet_that_will_not_come_leaves_when_that_is_known() {
    let now = Instant::now();
    let sockets = listeners(2);
    let mut fanout = bunching(now, &sockets, 4);
    (0..2).for_each(|index| fanout.air(now, TRACK, index, packet(index)));
    fanout.flush(now, TRACK);
    assert_eq!(heard(&sockets[0]), [0, 1]);
    fanout.air(now, TRACK, 3, packet(3));
    assert_eq!(heard(&sockets[0]), [3]);
    assert_eq!(fanout.poll_timeout(), None);
}
