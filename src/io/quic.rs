//! QUIC and SRTP side by side on one UDP socket, by hand on `quinn-proto` (DESIGN §4, RFC 9443).
//!
//! Contract: one thread owns a [`Driver`]. When the socket is readable, `handle_readable`; after any
//! `handle_*`, `send` or `close`, drain `poll_event`; before waiting, `flush`; wait until
//! `poll_timeout`, then `handle_timeout`.
use super::socket::{Receiver, Socket};
use crate::node::{Link, Peer};
use crate::session::{Arrival, Departure};
use crate::track::is_rtp;
use bytes::{Bytes, BytesMut};
use ledger::Ledger;
use link::{Closing, Line, Lost};
use quinn_proto as quic;
use quinn_proto::{ConnectionHandle, DatagramEvent};
use shaking::Shaking;
use shunned::Shunned;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use counters::Counters;
pub(super) use crypto::suite;
pub(super) use transport::{REFUSED, REFUSES_US};

mod counters;
mod crypto;
mod handshakes;
mod ledger;
mod life;
mod link;
mod shaking;
mod shunned;
mod transport;
mod window;

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
    shaking: Shaking,
    shunned: Shunned,
    ledger: Ledger,
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

/// What a driver is for.
pub struct Options {
    /// Dials with this.
    pub client: Option<Arc<rustls::ClientConfig>>,
    /// Answers with this.
    pub server: Option<Arc<rustls::ServerConfig>>,
    pub most_links: usize,
}

impl Driver {
    /// `Err` if the TLS configuration has no cipher suite for QUIC (`tls` makes those that have).
    pub fn new(socket: Arc<Socket>, options: Options) -> Result<Self, rustls::Error> {
        let providers = [
            options.server.as_ref().map(|config| config.crypto_provider()),
            options.client.as_ref().map(|config| config.crypto_provider()),
        ];
        let known = |suite: &rustls::SupportedCipherSuite| suite.tls13().is_some_and(|suite| suite.quic.is_some());
        if providers.into_iter().flatten().any(|provider| !provider.cipher_suites.iter().any(known)) {
            return Err(rustls::Error::General("no cipher suite of TLS 1.3 that QUIC can use".into()));
        }
        let server = options.server.map(transport::server);
        Ok(Self {
            socket,
            receiver: None,
            endpoint: quic::Endpoint::new(Arc::new(transport::endpoint()), server, true, None),
            client: options.client.map(transport::client),
            lines: Vec::new(),
            by_address: HashMap::new(),
            timers: BTreeSet::new(),
            dirty: Vec::new(),
            events: VecDeque::new(),
            stuck: VecDeque::new(),
            serial: 0,
            links: 0,
            most_links: options.most_links,
            shaking: Shaking::default(),
            shunned: Shunned::default(),
            ledger: Ledger::default(),
            counters: Counters::default(),
        })
    }

    pub fn socket(&self) -> &Arc<Socket> {
        &self.socket
    }

    pub fn counters(&self) -> Counters {
        Counters {
            handshakes_open: self.shaking.open() as u64,
            handshakes_queued: self.shaking.queued() as u64,
            held: self.ledger.held() as u64,
            ..self.counters
        }
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
            Ok(()) => self.relieve(now),
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

    /// The same, and nobody is listened to for a minute who dials from that address.
    pub fn shun(&mut self, now: Instant, link: Link, code: &str, text: &str) {
        if let Some(address) = self.slot(link).and_then(|slot| Some(self.line(slot)?.connection.remote_address())) {
            self.shunned.add(now, address);
        }
        self.close(now, link, code, text);
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
        let timer = self.timers.first().map(|(at, _)| *at);
        timer.into_iter().chain(self.shaking.poll_timeout()).min()
    }

    /// Timers, and a turn's share of handshakes.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.shake(now);
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
                match self.line(slot) {
                    // A stranger's signature and chain are checked when there is time.
                    Some(line) if line.shaking.is_some() => {
                        let link = line.link;
                        self.defer(now, link, event, source);
                    }
                    Some(_) => self.handle_connection_event(now, slot, event, source),
                    None => {}
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.receive_stranger(now, incoming),
            Some(DatagramEvent::Response(transmit)) => self.transmit(&answer, transmit.size, transmit.destination),
            None => {}
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
/// Room for 16 million connections at once, and 2^40 over a process's life.
const SLOT_BITS: u32 = 24;

#[cfg(test)]
#[path = "quic/tests.rs"]
mod tests;
