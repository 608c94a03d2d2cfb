//! QUIC and SRTP side by side on one UDP socket, by hand on `quinn-proto` (DESIGN §4, RFC 9443).
//!
//! Contract: one thread owns a [`Driver`]. When the socket is readable, `handle_readable`; after any
//! `handle_*`, `send` or `close`, drain `poll_event`; before waiting, `flush`; wait until
//! `poll_timeout`, then `handle_timeout`.
use super::socket::{Receiver, Socket};
use super::tls;
use crate::node::{Link, Peer};
use crate::session::{Arrival, Departure, Violation};
use crate::track::is_rtp;
use bytes::{Bytes, BytesMut};
use handshakes::{Handshakes, Verdict};
use link::{Closing, Line, Lost};
use quinn_proto as quic;
use quinn_proto::{ConnectionHandle, DatagramEvent, StreamEvent, VarInt};
use rustls::pki_types::CertificateDer;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

mod handshakes;
mod link;
mod transport;

/// All links of one socket.
pub struct Driver {
    socket: Arc<Socket>,
    /// Made by the first read, and away while a batch is being taken in.
    receiver: Option<Receiver>,
    endpoint: quic::Endpoint,
    client: Option<quic::ClientConfig>,
    /// By connection handle; a link's number holds its handle in the lower bits.
    lines: Vec<Option<Box<Line>>>,
    by_address: HashMap<SocketAddr, Link>,
    timers: BTreeSet<(Instant, usize)>,
    dirty: Vec<usize>,
    events: VecDeque<Event>,
    /// QUIC packets that the kernel had no room for.
    stuck: VecDeque<(Vec<u8>, SocketAddr)>,
    serial: u64,
    links: usize,
    most_links: usize,
    handshakes: Handshakes,
    counters: Counters,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A handshake is complete; `dialled` by us or by the peer.
    Up {
        link: Link,
        peer: Peer,
    },
    /// Once per link that was up or dialled; nothing of it follows.
    Down {
        link: Link,
        reason: String,
    },
    Arrival {
        link: Link,
        arrival: Arrival,
    },
    /// Media now goes to this address.
    Moved {
        link: Link,
        address: SocketAddr,
    },
}

/// What came and was not taken, or was not sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub datagrams_received: u64,
    /// SRTP from an address with no link.
    pub unknown_source: u64,
    pub handshakes_refused: u64,
    pub handshakes_failed: u64,
    pub retries: u64,
    pub violations: u64,
    /// Bounds hit: QUIC packets and media that the kernel had no room for; bulk and datagrams that a
    /// link had no room for.
    pub dropped_quic: u64,
    pub dropped_media: u64,
    pub dropped_bulk: u64,
    pub dropped_datagrams: u64,
}

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.datagrams_received += other.datagrams_received;
        self.unknown_source += other.unknown_source;
        self.handshakes_refused += other.handshakes_refused;
        self.handshakes_failed += other.handshakes_failed;
        self.retries += other.retries;
        self.violations += other.violations;
        self.dropped_quic += other.dropped_quic;
        self.dropped_media += other.dropped_media;
        self.dropped_bulk += other.dropped_bulk;
        self.dropped_datagrams += other.dropped_datagrams;
    }
}

/// What a driver is for.
pub struct Options {
    /// Dials with this.
    pub client: Option<Arc<rustls::ClientConfig>>,
    /// Answers with this.
    pub server: Option<Arc<rustls::ServerConfig>>,
    pub most_links: usize,
}

impl Driver {
    pub fn new(socket: Arc<Socket>, options: Options) -> Result<Self, quic::crypto::rustls::NoInitialCipherSuite> {
        let transport = Arc::new(transport::config());
        let server = options.server.map(|config| transport::server(config, transport.clone())).transpose()?;
        let client = options.client.map(|config| transport::client(config, transport)).transpose()?;
        Ok(Self {
            socket,
            receiver: None,
            endpoint: quic::Endpoint::new(Arc::new(transport::endpoint()), server, true, None),
            client,
            lines: Vec::new(),
            by_address: HashMap::new(),
            timers: BTreeSet::new(),
            dirty: Vec::new(),
            events: VecDeque::new(),
            stuck: VecDeque::new(),
            serial: 0,
            links: 0,
            most_links: options.most_links,
            handshakes: Handshakes::default(),
            counters: Counters::default(),
        })
    }

    pub fn socket(&self) -> &Arc<Socket> {
        &self.socket
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Links that are up.
    pub fn links(&self) -> usize {
        self.links
    }

    /// Begins a handshake; `Up` or `Down` follows.
    pub fn dial(&mut self, now: Instant, address: SocketAddr) -> Result<Link, String> {
        let config = self.client.clone().ok_or("this socket does not dial")?;
        // The name is not checked (see `tls`); SNI must hold something.
        let (handle, connection) =
            self.endpoint.connect(now, config, address, "loa").map_err(|error| error.to_string())?;
        Ok(self.insert(now, handle, connection, None))
    }

    /// Takes one batch from the socket. True if there may be more.
    pub fn handle_readable(&mut self, now: Instant) -> bool {
        let mut receiver = self.receiver.take().unwrap_or_default();
        let socket = self.socket.clone();
        let more = receiver.receive(&socket, |source, bytes| self.handle_datagram(now, source, bytes));
        self.receiver = Some(receiver);
        more.unwrap_or_else(|error| {
            // ICMP errors of earlier sends come out here; none of them is the socket's end.
            tracing::debug!(%error, "receiving");
            false
        })
    }

    /// Queues what shall go over a link. Nothing happens on a link that is gone.
    pub fn send(&mut self, now: Instant, link: Link, departure: Departure) {
        let Some(slot) = self.slot(link) else { return };
        let Some(line) = self.line(slot) else { return };
        if line.closing.is_some() || !line.up {
            return;
        }
        if let Departure::Media(bytes) = &departure {
            let media = line.media;
            if self.socket.send(bytes, media).is_err() {
                self.counters.dropped_media += 1;
            }
            return;
        }
        let result = line.depart(departure);
        self.touch(slot);
        match result {
            Ok(()) => {}
            Err(Ok(Lost::Bulk)) => self.counters.dropped_bulk += 1,
            Err(Ok(Lost::Datagram)) => self.counters.dropped_datagrams += 1,
            Err(Ok(Lost::Media)) => self.counters.dropped_media += 1,
            Err(Err(violation)) => self.violate(now, slot, &violation),
        }
    }

    /// Hangs up once what was sent before has arrived, or after a second. `Down` follows.
    pub fn close(&mut self, now: Instant, link: Link, code: &str, text: &str) {
        let Some(slot) = self.slot(link) else { return };
        let Some(line) = self.line(slot) else { return };
        if line.closing.is_none() {
            let closing = Closing { until: now + FAREWELL, code: code.to_owned(), text: text.to_owned() };
            line.closing = Some(closing);
            self.touch(slot);
        }
    }

    /// Where media of a link goes.
    pub fn media_address(&self, link: Link) -> Option<SocketAddr> {
        let line = self.lines.get(self.slot(link)?)?.as_ref()?;
        (line.up && line.closing.is_none()).then_some(line.media)
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Sends what QUIC has to send, on the connections that something happened to.
    pub fn flush(&mut self, now: Instant) {
        while let Some((bytes, to)) = self.stuck.front() {
            if would_block(&self.socket.send(bytes, *to)) {
                break;
            }
            self.stuck.pop_front();
        }
        let mut buffer = Vec::with_capacity(1_500);
        for _ in 0..ROUNDS {
            for slot in std::mem::take(&mut self.dirty) {
                self.pump(now, slot, &mut buffer);
            }
        }
    }

    /// Whether the driver waits for room in the kernel's buffer.
    pub fn wants_write(&self) -> bool {
        !self.stuck.is_empty()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, slot)) = self.timers.first() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            let Some(line) = self.line(slot) else { continue };
            line.timer = None;
            line.connection.handle_timeout(now);
            if !line.up && !line.down && line.patience <= now {
                self.lose(now, slot, "no answer to the handshake within 5 s; check address, port and firewall");
            } else {
                line.probe(now);
                self.absorb(now, slot, None);
            }
            self.touch(slot);
        }
    }

    /// One UDP datagram, for a caller that reads many sockets itself.
    pub fn handle_datagram(&mut self, now: Instant, source: SocketAddr, bytes: &[u8]) {
        self.counters.datagrams_received += 1;
        if is_rtp(bytes) {
            match self.by_address.get(&source) {
                Some(&link) => {
                    let arrival = Arrival::Media(Bytes::copy_from_slice(bytes));
                    self.events.push_back(Event::Arrival { link, arrival });
                }
                None => self.counters.unknown_source += 1,
            }
            return;
        }
        let mut answer = Vec::new();
        match self.endpoint.handle(now, source, None, None, BytesMut::from(bytes), &mut answer) {
            Some(DatagramEvent::ConnectionEvent(ConnectionHandle(slot), event)) => {
                if let Some(line) = self.line(slot) {
                    line.connection.handle_event(event);
                    self.absorb(now, slot, Some(source));
                    self.touch(slot);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.handle_incoming(now, incoming),
            Some(DatagramEvent::Response(transmit)) => self.transmit(&answer, transmit.size, transmit.destination),
            None => {}
        }
    }

    fn handle_incoming(&mut self, now: Instant, incoming: quic::Incoming) {
        let mut answer = Vec::new();
        let source = incoming.remote_address();
        let proven = incoming.remote_address_validated() || !incoming.may_retry();
        let verdict = match self.handshakes.judge(source.ip(), proven) {
            _ if self.links >= self.most_links => Verdict::Refuse,
            verdict => verdict,
        };
        if verdict == Verdict::Retry {
            self.counters.retries += 1;
            if let Ok(transmit) = self.endpoint.retry(incoming, &mut answer) {
                self.transmit(&answer, transmit.size, transmit.destination);
            }
            return;
        }
        if verdict == Verdict::Refuse {
            self.counters.handshakes_refused += 1;
            let transmit = self.endpoint.refuse(incoming, &mut answer);
            self.transmit(&answer, transmit.size, transmit.destination);
            return;
        }
        match self.endpoint.accept(incoming, now, &mut answer, None) {
            Ok((handle, connection)) => {
                self.handshakes.begin(source.ip());
                self.insert(now, handle, connection, Some(source));
                self.absorb(now, handle.0, Some(source));
            }
            Err(error) => {
                self.counters.handshakes_failed += 1;
                if let Some(transmit) = error.response {
                    self.transmit(&answer, transmit.size, transmit.destination);
                }
            }
        }
    }

    fn insert(
        &mut self,
        now: Instant,
        handle: ConnectionHandle,
        connection: quic::Connection,
        shaking: Option<SocketAddr>,
    ) -> Link {
        let slot = handle.0;
        self.serial += 1;
        let link = self.serial << SLOT_BITS | slot as Link;
        if self.lines.len() <= slot {
            self.lines.resize_with(slot + 1, || None);
        }
        if let Some(place) = self.lines.get_mut(slot) {
            *place = Some(Box::new(Line::new(link, connection, now, shaking)));
        }
        self.touch(slot);
        link
    }

    /// Takes in what a connection has learnt. `source`: of the UDP datagram just handled.
    fn absorb(&mut self, now: Instant, slot: usize, source: Option<SocketAddr>) {
        let Self { lines, events, .. } = self;
        let Some(line) = lines.get_mut(slot).and_then(Option::as_mut) else { return };
        let mut violation = None;
        let mut lost = None;
        let mut connected = false;
        let mut fresh = false;
        while let Some(event) = line.connection.poll() {
            let result = match event {
                quic::Event::Connected => {
                    connected = true;
                    line.begin();
                    Ok(())
                }
                quic::Event::ConnectionLost { reason } => {
                    lost = Some(reason);
                    Ok(())
                }
                // What comes before the peer is known is read afterwards.
                quic::Event::Stream(StreamEvent::Opened { dir }) => line.accept(dir, events),
                quic::Event::Stream(StreamEvent::Readable { id }) => line.read(id, events),
                quic::Event::Stream(StreamEvent::Stopped { id, .. }) => line.stopped(id),
                quic::Event::Stream(_) | quic::Event::HandshakeDataReady | quic::Event::DatagramsUnblocked => Ok(()),
                quic::Event::DatagramReceived => {
                    fresh = true;
                    Ok(())
                }
            };
            violation = violation.or(result.err());
            if connected && !line.up {
                // Up must precede what came in the same datagram.
                match peer_of(&line.connection) {
                    Ok(peer) => {
                        line.up = true;
                        line.peer = Some(peer);
                        events.push_back(Event::Up { link: line.link, peer });
                    }
                    Err(text) => violation = Some(Violation { code: "link.certificate", text }),
                }
            }
        }
        let before = line.media;
        match source {
            Some(source) if fresh => line.datagrams(now, source, events),
            Some(_) => line.probe(now),
            None => {}
        }
        let (link, media, up) = (line.link, line.media, line.up);
        if connected && up {
            self.links += 1;
            self.settle(slot);
            self.by_address.insert(media, link);
        }
        if before != media {
            self.forget(before, link);
            self.by_address.insert(media, link);
            self.events.push_back(Event::Moved { link, address: media });
        }
        if let Some(violation) = violation {
            self.violate(now, slot, &violation);
        }
        if let Some(reason) = lost {
            self.gone(slot, transport::explain(&reason));
        }
    }

    /// Everything that one connection has to say, to the wire and to the endpoint.
    fn pump(&mut self, now: Instant, slot: usize, buffer: &mut Vec<u8>) {
        let Some(line) = self.line(slot) else { return };
        line.dirty = false;
        line.write();
        let farewell = match &line.closing {
            Some(closing) if !line.down => (now >= closing.until).then_some(()).or_else(|| {
                let closed = line.connection.is_closed();
                (closed || line.is_said()).then_some(())
            }),
            _ => None,
        };
        if farewell.is_some() {
            let (code, text) = line.closing.as_ref().map(|c| (c.code.clone(), c.text.clone())).unwrap_or_default();
            self.hang_up(now, slot, &code, &text, 0);
        }
        loop {
            buffer.clear();
            let Some(line) = self.line(slot) else { return };
            let Some(transmit) = line.connection.poll_transmit(now, 1, buffer) else { break };
            self.transmit(buffer, transmit.size, transmit.destination);
        }
        let mut drained = false;
        while let Some(event) = self.line(slot).and_then(|line| line.connection.poll_endpoint_events()) {
            drained |= event.is_drained();
            if let Some(answer) = self.endpoint.handle_event(ConnectionHandle(slot), event)
                && let Some(line) = self.line(slot)
            {
                line.connection.handle_event(answer);
                self.touch(slot);
            }
        }
        if drained {
            self.gone(slot, "closed".to_owned());
            self.remove(slot);
            return;
        }
        let Some(line) = self.line(slot) else { return };
        let (deadline, timer) = (line.deadline(), line.timer);
        if deadline != timer {
            line.timer = deadline;
            if let Some(at) = timer {
                self.timers.remove(&(at, slot));
            }
            if let Some(at) = deadline {
                self.timers.insert((at, slot));
            }
        }
    }

    /// The peer broke the protocol, or a bound of its own.
    fn violate(&mut self, now: Instant, slot: usize, violation: &Violation) {
        self.counters.violations += 1;
        if let Some(line) = self.line(slot) {
            tracing::warn!(
                peer = %line.connection.remote_address(),
                node = ?line.peer.map(|peer| peer.node),
                "closing a link: {violation}"
            );
        }
        self.hang_up(now, slot, violation.code, &violation.text, 1);
    }

    fn lose(&mut self, now: Instant, slot: usize, reason: &str) {
        self.hang_up(now, slot, "link.handshake", reason, 1);
    }

    fn hang_up(&mut self, now: Instant, slot: usize, code: &str, text: &str, number: u32) {
        let Some(line) = self.line(slot) else { return };
        let reason = format!("{code}: {text}");
        let cut = reason.floor_char_boundary(LONGEST_REASON.min(reason.len()));
        let bytes = Bytes::copy_from_slice(reason.get(..cut).unwrap_or_default().as_bytes());
        line.connection.close(now, VarInt::from_u32(number), bytes);
        self.touch(slot);
        self.gone(slot, reason);
    }

    /// Says `Down` once and takes no more media.
    fn gone(&mut self, slot: usize, reason: String) {
        self.settle(slot);
        let Some(line) = self.line(slot) else { return };
        if line.down {
            return;
        }
        line.down = true;
        let (link, media, was_up) = (line.link, line.media, std::mem::take(&mut line.up));
        let dialled = line.connection.side().is_client();
        self.forget(media, link);
        if was_up {
            self.links -= 1;
        } else if !dialled {
            // A stranger that never became a link: refused, broken off or given up.
            self.counters.handshakes_failed += 1;
            tracing::debug!(%reason, "a handshake failed");
            return;
        }
        self.events.push_back(Event::Down { link, reason });
    }

    /// An address may have passed to another link since.
    fn forget(&mut self, address: SocketAddr, link: Link) {
        if self.by_address.get(&address) == Some(&link) {
            self.by_address.remove(&address);
        }
    }

    /// A child's handshake is over, one way or the other.
    fn settle(&mut self, slot: usize) {
        if let Some(source) = self.line(slot).and_then(|line| line.shaking.take()) {
            self.handshakes.end(source.ip());
        }
    }

    fn remove(&mut self, slot: usize) {
        if let Some(line) = self.lines.get_mut(slot).and_then(Option::take)
            && let Some(at) = line.timer
        {
            self.timers.remove(&(at, slot));
        }
    }

    fn transmit(&mut self, buffer: &[u8], size: usize, to: SocketAddr) {
        let bytes = buffer.get(..size).unwrap_or(buffer);
        if self.stuck.is_empty() && !would_block(&self.socket.send(bytes, to)) {
            return;
        }
        if self.stuck.len() >= STUCK {
            // QUIC takes it for lost and sends again.
            self.counters.dropped_quic += 1;
            return;
        }
        self.stuck.push_back((bytes.to_vec(), to));
    }

    fn touch(&mut self, slot: usize) {
        if let Some(line) = self.lines.get_mut(slot).and_then(Option::as_mut)
            && !line.dirty
        {
            line.dirty = true;
            self.dirty.push(slot);
        }
    }

    fn slot(&self, link: Link) -> Option<usize> {
        let slot = (link & ((1 << SLOT_BITS) - 1)) as usize;
        self.lines.get(slot)?.as_ref().filter(|line| line.link == link && !line.down).map(|_| slot)
    }

    fn line(&mut self, slot: usize) -> Option<&mut Line> {
        self.lines.get_mut(slot)?.as_deref_mut()
    }
}

fn peer_of(connection: &quic::Connection) -> Result<Peer, String> {
    let identity = connection.crypto_session().peer_identity();
    let chain = identity.as_ref().and_then(|any| any.downcast_ref::<Vec<CertificateDer<'static>>>());
    let leaf = chain.and_then(|chain| chain.first()).ok_or("the other side showed no certificate")?;
    tls::peer(leaf)
}

/// Whether to try again when there is room; any other error is a lost packet.
fn would_block(result: &io::Result<()>) -> bool {
    result
        .as_ref()
        .is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS))
}

/// A pump may touch its connection again (new identifiers, a hang-up): what is left after so many rounds
/// waits for the next wake.
const ROUNDS: usize = 4;
/// QUIC packets kept while the kernel has no room: one batch.
const STUCK: usize = 64;
/// How long a hang-up waits for what was said before it.
const FAREWELL: Duration = Duration::from_secs(1);
/// Of the reason in CONNECTION_CLOSE, so that it fits one packet beside its header.
const LONGEST_REASON: usize = 200;
/// Room for 16 million connections at once, and 2^40 over a process's life.
const SLOT_BITS: u32 = 24;

#[cfg(test)]
#[path = "quic/tests.rs"]
mod tests;
