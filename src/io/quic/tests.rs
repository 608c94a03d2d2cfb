//! Two drivers over real loopback sockets, with a translator of addresses in between where one is
//! needed.
use super::*;
use crate::io::socket::Socket;
use crate::io::tls;
use crate::io::tls::tests::identity;
use crate::io::wake::{Interest, wait};
use crate::node::Role;
use std::net::UdpSocket;

/// Real time that a test waits at most for what must come; it ends as soon as it has.
const PATIENCE: Duration = Duration::from_secs(20);

struct End {
    driver: Driver,
    events: Vec<Event>,
}

impl End {
    fn parent(seed: u8) -> Self {
        let identity = identity(&[seed; 32], Role::Relay);
        Self::new(Options { client: None, server: Some(tls::server(&identity).unwrap()), most_links: 100 })
    }

    fn child(seed: u8) -> Self {
        let identity = identity(&[seed; 32], Role::Speaker);
        Self::new(Options { client: Some(tls::client(&identity).unwrap()), server: None, most_links: 4 })
    }

    fn new(options: Options) -> Self {
        let socket = Socket::bind(([127, 0, 0, 1], 0).into(), 1 << 18).unwrap();
        Self { driver: Driver::new(Arc::new(socket), options).unwrap(), events: Vec::new() }
    }

    fn address(&self) -> SocketAddr {
        self.driver.socket().local_address().unwrap()
    }

    fn dial(&mut self, address: SocketAddr) -> Link {
        self.driver.dial(Instant::now(), address).unwrap()
    }

    fn send(&mut self, link: Link, departure: Departure) {
        self.driver.send(Instant::now(), link, departure);
    }

    fn turn(&mut self) {
        let now = Instant::now();
        while self.driver.handle_readable(now) {
            self.events.extend(std::iter::from_fn(|| self.driver.poll_event()));
        }
        self.driver.handle_timeout(now);
        self.driver.flush(now);
        self.events.extend(std::iter::from_fn(|| self.driver.poll_event()));
    }

    fn up(&self) -> Option<Link> {
        self.events.iter().find_map(|event| match event {
            Event::Up { link, .. } => Some(*link),
            _ => None,
        })
    }

    fn down(&self) -> Option<&str> {
        self.events.iter().find_map(|event| match event {
            Event::Down { reason, .. } => Some(reason.as_str()),
            _ => None,
        })
    }

    fn arrivals(&self) -> impl Iterator<Item = &Arrival> {
        self.events.iter().filter_map(|event| match event {
            Event::Arrival { arrival, .. } => Some(arrival),
            _ => None,
        })
    }

    fn control(&self) -> Vec<Bytes> {
        self.arrivals()
            .filter_map(|arrival| match arrival {
                Arrival::Control(bytes) => Some(bytes.clone()),
                _ => None,
            })
            .collect()
    }

    fn media(&self) -> usize {
        self.arrivals().filter(|arrival| matches!(arrival, Arrival::Media(_))).count()
    }
}

/// Runs both until `done`, or fails.
fn run(parent: &mut End, child: &mut End, what: &str, mut done: impl FnMut(&mut End, &mut End) -> bool) {
    let began = Instant::now();
    loop {
        parent.turn();
        child.turn();
        if done(parent, child) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: parent {:?} child {:?}", parent.events, child.events);
        let interest = |end: &End| Interest { descriptor: end.driver.socket().descriptor(), write: false };
        wait([interest(parent), interest(child)], Duration::from_millis(2));
    }
}

/// A parent and a child that are connected, and their links.
fn pair() -> (End, End, Link, Link) {
    let (mut parent, mut child) = (End::parent(1), End::child(1));
    let address = parent.address();
    let below = child.dial(address);
    // The parent learns of the control stream with the first message.
    run(&mut parent, &mut child, "handshake", |parent, child| parent.up().is_some() && child.up().is_some());
    let above = parent.up().unwrap();
    assert_eq!(child.up(), Some(below));
    child.send(below, Departure::Control(Bytes::from_static(b"hello")));
    run(&mut parent, &mut child, "hello", |parent, _| !parent.control().is_empty());
    (parent, child, above, below)
}

/// SRTP by its first byte; nothing else is looked at here.
fn rtp(number: u8) -> Bytes {
    Bytes::from(vec![0x80, 96, 0, number, 1, 2, 3])
}

#[test]
fn control_bulk_datagrams_and_media_share_one_socket_and_keep_apart() {
    let (mut parent, mut child, above, below) = pair();
    for number in 0..40u8 {
        parent.send(above, Departure::Control(Bytes::from(vec![number; 30_000])));
        parent.send(above, Departure::Bulk { stream: 0, frame: Bytes::from(vec![number; 1_100]) });
        parent.send(above, Departure::Bulk { stream: 1, frame: Bytes::from(vec![number]) });
        parent.send(above, Departure::Media(rtp(number)));
    }
    parent.send(above, Departure::BulkEnd { stream: 0 });
    parent.send(above, Departure::Datagram(Bytes::from_static(&[0x22, 0])));
    child.send(below, Departure::Datagram(Bytes::from_static(&[0x1a, 0])));
    run(&mut parent, &mut child, "all of it", |parent, child| {
        child.control().len() == 40
            && child.arrivals().any(|arrival| *arrival == Arrival::BulkEnd { stream: 0 })
            && child.arrivals().filter(|arrival| matches!(arrival, Arrival::Bulk { stream: 1, .. })).count() == 40
            && child.media() == 40
            && child.arrivals().any(|arrival| matches!(arrival, Arrival::Datagram(_)))
            && parent.arrivals().any(|arrival| matches!(arrival, Arrival::Datagram(_)))
    });
    for (number, frame) in child.control().iter().enumerate() {
        assert!(frame.len() == 30_000 && frame[0] == number as u8);
    }
    let bulk: Vec<u8> = child
        .arrivals()
        .filter_map(|arrival| match arrival {
            Arrival::Bulk { stream: 0, frame } => Some(frame[0]),
            _ => None,
        })
        .collect();
    assert_eq!(bulk, (0..40).collect::<Vec<u8>>());
}

#[test]
fn what_was_said_before_hanging_up_arrives_and_the_reason_too() {
    let (mut parent, mut child, above, _) = pair();
    parent.send(above, Departure::Control(Bytes::from(vec![7; 60_000])));
    parent.driver.close(Instant::now(), above, "node.stopping", "this node is stopping");
    parent.send(above, Departure::Control(Bytes::from_static(b"too late")));
    run(&mut parent, &mut child, "farewell", |parent, child| parent.down().is_some() && child.down().is_some());
    assert_eq!(child.control().len(), 1);
    assert!(child.down().unwrap().contains("node.stopping: this node is stopping"), "{:?}", child.down());
    assert_eq!((parent.driver.links(), child.driver.links()), (0, 0));
    assert_eq!(parent.driver.media_address(above), None);
}

#[test]
fn a_child_of_another_root_is_told_so_and_never_becomes_a_link() {
    let (mut parent, mut child) = (End::parent(1), End::child(2));
    let address = parent.address();
    child.dial(address);
    run(&mut parent, &mut child, "refusal", |_, child| child.down().is_some());
    assert!(child.down().unwrap().contains("certificate"), "{:?}", child.down());
    assert!(parent.up().is_none() && parent.down().is_none());
    run(&mut parent, &mut child, "clean-up", |parent, _| parent.driver.shaking.open() == 0);
}

#[test]
fn a_dial_that_nobody_answers_ends_with_the_mend() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut child = End::child(1);
    let link = child.dial(silent.local_addr().unwrap());
    child.turn();
    let later = Instant::now() + Duration::from_secs(6);
    child.driver.handle_timeout(later);
    child.driver.flush(later);
    let Some(Event::Down { link: down, reason }) = child.driver.poll_event() else { panic!("down") };
    assert!(down == link && reason.contains("firewall"), "{reason}");
    assert_eq!(child.driver.poll_event(), None);
}

#[test]
fn floods_of_garbage_and_half_open_handshakes_disturb_nobody() {
    let (mut parent, mut child, above, below) = pair();
    let address = parent.address();
    let flood = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut state = 1u64;
    for round in 0..2_000usize {
        let length = round % 1_300;
        let garbage: Vec<u8> = (0..length)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        flood.send_to(&garbage, address).unwrap();
        if round % 16 == 0 {
            parent.turn();
        }
    }
    flood.send_to(&rtp(1), address).unwrap();
    run(&mut parent, &mut child, "flood", |parent, _| parent.driver.counters().unknown_source > 0);
    assert_eq!(parent.media(), 0, "media of strangers is dropped");
    // Handshakes that are begun and never go on, each from its own address.
    let mut strangers: Vec<End> = (0..300).map(|_| End::child(3)).collect();
    for stranger in &mut strangers {
        stranger.dial(address);
        let now = Instant::now();
        stranger.driver.flush(now);
        parent.turn();
        assert!(parent.driver.shaking.open() <= 32, "beyond, an address must prove itself");
    }
    assert!(parent.driver.counters().retries >= 200, "{:?}", parent.driver.counters());
    let mut late = End::child(1);
    late.dial(address);
    run(&mut parent, &mut late, "a child that comes meanwhile", |_, late| late.up().is_some());
    child.send(below, Departure::Control(Bytes::from_static(b"still here")));
    parent.send(above, Departure::Media(rtp(2)));
    run(&mut parent, &mut child, "the link", |parent, child| parent.control().len() == 2 && child.media() == 1);
    assert!(child.down().is_none());
}

#[test]
fn strangers_wait_while_they_are_held_and_are_let_in_after_it() {
    let (mut parent, mut child, above, _) = pair();
    parent.driver.hold_strangers(true);
    let mut stranger = End::child(1);
    stranger.dial(parent.address());
    run(&mut parent, &mut stranger, "a stranger", |parent, _| parent.driver.counters().handshakes_queued == 1);
    let due = parent.driver.shaking.poll_timeout().unwrap();
    assert!(due > Instant::now() + Duration::from_secs(1), "waiting must not keep the node awake");
    parent.send(above, Departure::Media(rtp(1)));
    run(&mut parent, &mut child, "the link", |_, child| child.media() == 1);
    assert!(parent.driver.shaking.open() == 0 && stranger.up().is_none());
    parent.driver.hold_strangers(false);
    run(&mut parent, &mut stranger, "the stranger", |_, stranger| stranger.up().is_some());
}

/// Forwards between a child and a parent, like a NAT: the child sends to `inside`, the parent sees
/// `outside`.
struct Translator {
    inside: UdpSocket,
    outside: Vec<UdpSocket>,
    /// Which outer socket the child's packets leave by.
    current: usize,
    /// Whether what the parent sends to each outer socket reaches the child.
    back: Vec<bool>,
    child: Option<SocketAddr>,
    parent: SocketAddr,
}

impl Translator {
    fn new(parent: SocketAddr) -> Self {
        let bind = || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        };
        Self { inside: bind(), outside: vec![bind(), bind()], current: 0, back: vec![true, true], child: None, parent }
    }

    fn turn(&mut self) {
        let mut bytes = [0; 2_000];
        while let Ok((length, from)) = self.inside.recv_from(&mut bytes) {
            self.child = Some(from);
            self.outside[self.current].send_to(&bytes[..length], self.parent).unwrap();
        }
        for (outside, back) in self.outside.iter().zip(&self.back) {
            while let Ok(length) = outside.recv(&mut bytes) {
                if let Some(child) = self.child.filter(|_| *back) {
                    self.inside.send_to(&bytes[..length], child).unwrap();
                }
            }
        }
    }
}

fn translated() -> (End, End, Link, Link, Translator) {
    let (mut parent, mut child) = (End::parent(1), End::child(1));
    let mut translator = Translator::new(parent.address());
    let below = child.dial(translator.inside.local_addr().unwrap());
    run(&mut parent, &mut child, "handshake", |parent, child| {
        translator.turn();
        parent.up().is_some() && child.up().is_some()
    });
    let above = parent.up().unwrap();
    assert_eq!(parent.driver.media_address(above), Some(translator.outside[0].local_addr().unwrap()));
    (parent, child, above, below, translator)
}

#[test]
fn media_follows_a_child_to_a_new_address_once_a_nonce_came_back_from_it() {
    let (mut parent, mut child, above, below, mut translator) = translated();
    translator.current = 1;
    let new = translator.outside[1].local_addr().unwrap();
    child.send(below, Departure::Control(Bytes::from_static(b"from elsewhere")));
    run(&mut parent, &mut child, "move", |parent, _| {
        translator.turn();
        parent.events.contains(&Event::Moved { link: above, address: new })
    });
    assert_eq!(parent.driver.media_address(above), Some(new));
    parent.send(above, Departure::Media(rtp(9)));
    run(&mut parent, &mut child, "media", |_, child| {
        translator.turn();
        child.media() == 1
    });
}

#[test]
fn media_stays_when_packets_are_only_replayed_from_another_address() {
    let (mut parent, mut child, above, below, mut translator) = translated();
    let old = translator.outside[0].local_addr().unwrap();
    // Somebody on the way sends the child's packets on from an address of theirs, and nothing comes
    // back to the child from there.
    translator.current = 1;
    translator.back[1] = false;
    child.send(below, Departure::Control(Bytes::from_static(b"stolen")));
    run(&mut parent, &mut child, "the stolen packet", |parent, _| {
        translator.turn();
        !parent.control().is_empty()
    });
    let mut turns = 0;
    run(&mut parent, &mut child, "some time", |_, _| {
        translator.turn();
        turns += 1;
        turns > 300
    });
    assert_eq!(parent.driver.media_address(above), Some(old));
    assert!(!parent.events.iter().any(|event| matches!(event, Event::Moved { .. })));
}

#[test]
fn bulk_for_a_child_that_does_not_read_is_bounded_and_counted() {
    let (mut parent, _child, above, _) = pair();
    for _ in 0..2_000 {
        parent.send(above, Departure::Bulk { stream: 0, frame: Bytes::from(vec![0; 1_100]) });
    }
    assert!(parent.driver.counters().dropped_bulk > 1_000);
    assert!(parent.driver.media_address(above).is_some(), "the link itself lives");
}

#[test]
fn a_control_queue_that_nobody_reads_ends_the_link_with_its_name() {
    let (mut parent, _child, above, _) = pair();
    for _ in 0..200 {
        parent.send(above, Departure::Control(Bytes::from(vec![0; 60_000])));
    }
    parent.events.extend(std::iter::from_fn(|| parent.driver.poll_event()));
    assert!(parent.down().unwrap().contains("link.slow"), "{:?}", parent.down());
}

#[test]
fn links_that_hold_most_are_cut_first_when_all_together_hold_too_much() {
    let (mut parent, mut child, above, _) = pair();
    let address = parent.address();
    let mut deaf: Vec<End> = (0..3).map(|_| End::child(1)).collect();
    let mut links = Vec::new();
    for end in &mut deaf {
        end.dial(address);
        parent.events.clear();
        run(&mut parent, end, "handshake", |parent, _| parent.up().is_some());
        let below = end.up().unwrap_or(1 << SLOT_BITS);
        end.send(below, Departure::Control(Bytes::from_static(b"hello")));
        run(&mut parent, end, "hello", |parent, _| parent.arrivals().next().is_some());
        links.push(parent.up().unwrap());
    }
    parent.events.clear();
    // None of the three reads; each stays within its own bound.
    for _ in 0..110 {
        links.iter().for_each(|link| parent.send(*link, Departure::Control(Bytes::from(vec![0; 60_000]))));
        parent.send(above, Departure::Control(Bytes::from_static(b"listen")));
        parent.turn();
    }
    let cut: Vec<Link> = parent
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Down { link, reason } if reason.contains("link.slow") => Some(*link),
            _ => None,
        })
        .collect();
    assert!((1..=2).contains(&cut.len()) && cut.iter().all(|link| links.contains(link)), "{cut:?} of {links:?}");
    let counters = parent.driver.counters();
    assert_eq!((counters.cut_slow, counters.cut_protocol), (cut.len() as u64, 0));
    assert!(counters.held <= 12 << 20, "{counters:?}");
    run(&mut parent, &mut child, "the one that reads", |_, child| child.control().len() == 110);
    let first = links.iter().position(|link| cut.contains(link)).unwrap();
    run(&mut parent, &mut deaf[first], "the reason", |_, end| end.down().is_some());
    assert!(deaf[first].down().unwrap().contains("link.slow"), "{:?}", deaf[first].down());
}

#[test]
fn what_a_peer_has_acknowledged_is_held_no_more() {
    let (mut parent, mut child, above, _) = pair();
    for _ in 0..20 {
        parent.send(above, Departure::Control(Bytes::from(vec![1; 50_000])));
        parent.send(above, Departure::Bulk { stream: 0, frame: Bytes::from(vec![2; 1_000]) });
    }
    assert!(parent.driver.counters().held > 1_000_000);
    run(&mut parent, &mut child, "acknowledgements", |parent, _| parent.driver.counters().held == 0);
}

#[test]
fn a_link_outlives_key_updates_after_its_tls_is_gone() {
    let (mut parent, mut child, above, below) = pair();
    for round in 1..=3 {
        // From either side, the secrets of the handshake must have been kept.
        let (end, link) = if round % 2 == 0 { (&mut parent, above) } else { (&mut child, below) };
        let slot = end.driver.slot(link).unwrap();
        end.driver.line(slot).unwrap().connection.force_key_update();
        child.send(below, Departure::Control(Bytes::from_static(b"again")));
        parent.send(above, Departure::Control(Bytes::from_static(b"again")));
        run(&mut parent, &mut child, "both after a key update", |parent, child| {
            parent.control().len() == 1 + round && child.control().len() == round
        });
    }
}

#[test]
fn a_storm_from_one_address_gets_its_turn_a_slice_at_a_time() {
    let (mut parent, mut child, above, below) = pair();
    let address = parent.address();
    let mut crowd: Vec<End> = (0..90).map(|_| End::child(1)).collect();
    for end in &mut crowd {
        end.dial(address);
        end.driver.flush(Instant::now());
    }
    let began = Instant::now();
    while !crowd.iter().all(|end| end.up().is_some()) {
        assert!(began.elapsed() < PATIENCE, "{:?}", parent.driver.counters());
        parent.turn();
        assert!(parent.driver.shaking.open() <= 64, "half-open from one address");
        crowd.iter_mut().for_each(End::turn);
    }
    assert_eq!(parent.driver.counters().handshakes_refused, 0);
    child.send(below, Departure::Control(Bytes::from_static(b"still here")));
    parent.send(above, Departure::Media(rtp(2)));
    run(&mut parent, &mut child, "the link", |parent, child| parent.control().len() >= 2 && child.media() == 1);
}

/// Datagrams to the parent that a link of its own sends with the address of another on them.
#[test]
fn no_link_gets_anothers_media_nor_its_name_by_writing_its_address_on_packets() {
    let (mut parent, mut child, above, _) = pair();
    let address = parent.address();
    let victim = child.address();
    let mut thief = End::child(1);
    // All that the thief sends goes through here, so that its source can be forged.
    let tap = UdpSocket::bind("127.0.0.1:0").unwrap();
    tap.set_nonblocking(true).unwrap();
    let gate = tap.local_addr().unwrap();
    let stolen = thief.dial(gate);
    let mut forged = false;
    let mut thiefs = None;
    let mut bytes = [0; 2_000];
    let began = Instant::now();
    let mut turns = 0;
    while turns < 200 {
        assert!(began.elapsed() < PATIENCE);
        thief.turn();
        while let Ok((length, from)) = tap.recv_from(&mut bytes) {
            if from == address {
                tap.send_to(&bytes[..length], thief.address()).unwrap();
            } else if forged {
                parent.driver.handle_datagram(Instant::now(), victim, &bytes[..length]);
            } else {
                tap.send_to(&bytes[..length], address).unwrap();
            }
        }
        parent.turn();
        child.turn();
        thiefs = thiefs.or_else(|| {
            let other = |event: &Event| match event {
                Event::Up { link, .. } if *link != above => Some(*link),
                _ => None,
            };
            parent.events.iter().find_map(other)
        });
        if thiefs.is_some() && thief.up().is_some() {
            forged = true;
            turns += 1;
            if turns % 20 == 1 {
                thief.send(stolen, Departure::Control(Bytes::from_static(b"mine")));
            }
        }
        std::thread::yield_now();
    }
    assert!(!parent.events.iter().any(|event| matches!(event, Event::Moved { .. })), "{:?}", parent.events);
    assert_eq!(parent.driver.media_address(thiefs.unwrap()), Some(gate));
    assert_eq!(parent.driver.media_address(above), Some(victim));
    parent.driver.handle_datagram(Instant::now(), victim, &rtp(5));
    parent.turn();
    let of_the_victim =
        |event: &Event| matches!(event, Event::Arrival { link, arrival: Arrival::Media(_) } if *link == above);
    assert!(parent.events.iter().any(of_the_victim), "media from there is still the victim's");
}

#[test]
fn an_address_that_was_anothers_becomes_a_links_own_once_proven_and_stays_so() {
    let (mut parent, mut child, above, below, mut translator) = translated();
    let (old, new) = (translator.outside[0].local_addr().unwrap(), translator.outside[1].local_addr().unwrap());
    translator.current = 1;
    child.send(below, Departure::Control(Bytes::from_static(b"from elsewhere")));
    run(&mut parent, &mut child, "move", |parent, _| {
        translator.turn();
        parent.driver.media_address(above) == Some(new)
    });
    // The translator gives the first one's old place to another child.
    let (mut second, first_inside) = (End::child(1), translator.child);
    translator.current = 0;
    translator.back = vec![true, false];
    translator.child = None;
    second.dial(translator.inside.local_addr().unwrap());
    parent.events.clear();
    run(&mut parent, &mut second, "the second's handshake", |parent, second| {
        translator.turn();
        parent.up().is_some() && second.up().is_some()
    });
    let other = parent.up().unwrap();
    assert_eq!(parent.driver.by_address.get(&old), Some(&other));
    assert_eq!(parent.driver.by_address.get(&new), Some(&above));
    // The end of the first, wherever it has been, takes nothing from the second.
    parent.driver.close(Instant::now(), above, "node.stopping", "enough");
    translator.child = first_inside;
    translator.back = vec![false, true];
    run(&mut parent, &mut child, "the end of the first", |parent, _| {
        translator.turn();
        parent.down().is_some()
    });
    assert_eq!(parent.driver.by_address.get(&old), Some(&other));
    assert_eq!(parent.driver.by_address.get(&new), None);
}
