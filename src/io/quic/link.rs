//! One link: a QUIC connection with its control stream, bulk streams and datagrams, and the address to
//! which its media goes.
//!
//! ```text
//!  client ── bidirectional stream 0 ── server    control: varint length ‖ frame, both ways
//!  client ◀─ unidirectional stream n ─ server    bulk: flow id 0 (varint), then varint length ‖ frame
//!  client ── QUIC datagrams ────────── server    one message each; `path` and `path_echo` end here
//!  client ── bare SRTP ─────────────── server    same socket, same addresses
//! ```
use super::Event;
use super::ledger::Account;
use crate::io::identity::random;
use crate::node::{Link, Peer};
use crate::proto;
use crate::session::{Arrival, Departure, Violation, frame};
use bytes::Bytes;
use prost::Message;
use quinn_proto::{Connection, Dir, ReadError, Side, StreamId, VarInt, WriteError};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the driver keeps of one connection.
pub struct Line {
    pub link: Link,
    pub connection: Connection,
    pub peer: Option<Peer>,
    /// Since `Event::Up` and until `Event::Down`.
    pub up: bool,
    /// Given out once.
    pub down: bool,
    /// A handshake of a child that is not complete: the address it is counted under.
    pub shaking: Option<SocketAddr>,
    /// The handshake must be complete by then.
    pub patience: Instant,
    /// Where media goes, and from where it is taken.
    pub media: SocketAddr,
    pub closing: Option<Closing>,
    pub timer: Option<Instant>,
    pub dirty: bool,
    /// What the peer has not acknowledged.
    account: Arc<Account>,
    probe: Option<Probe>,
    control: Option<StreamId>,
    control_in: frame::Decoder,
    control_out: Outbound,
    bulk_in: BTreeMap<StreamId, BulkIn>,
    /// By the session's number.
    bulk_out: BTreeMap<u64, BulkOut>,
    bulk_bytes: usize,
}

/// Hanging up once what was sent before has been acknowledged.
pub struct Closing {
    pub until: Instant,
    pub code: String,
    pub text: String,
}

/// A new address of the peer on trial.
struct Probe {
    address: SocketAddr,
    nonce: u64,
    again: Instant,
    tries: u32,
}

#[derive(Default)]
struct Outbound {
    queue: VecDeque<Bytes>,
    bytes: usize,
}

#[derive(Default)]
struct BulkIn {
    /// Whether the flow id has been read off.
    begun: bool,
    frames: frame::Decoder,
}

#[derive(Default)]
struct BulkOut {
    stream: Option<StreamId>,
    out: Outbound,
    ended: bool,
    /// Refused by the peer, or dropped for lack of room: later frames go nowhere.
    gone: bool,
}

/// What was not sent because a bound was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    Bulk,
    Datagram,
    Media,
}

impl Line {
    pub fn new(
        link: Link,
        connection: Connection,
        now: Instant,
        shaking: Option<SocketAddr>,
        account: Arc<Account>,
    ) -> Self {
        let media = connection.remote_address();
        Self {
            link,
            connection,
            peer: None,
            up: false,
            down: false,
            shaking,
            patience: now + HANDSHAKE,
            media,
            closing: None,
            timer: None,
            dirty: false,
            account,
            probe: None,
            control: None,
            control_in: frame::Decoder::new(),
            control_out: Outbound::default(),
            bulk_in: BTreeMap::new(),
            bulk_out: BTreeMap::new(),
            bulk_bytes: 0,
        }
    }

    /// The handshake is complete: the one who dialled opens the control stream.
    pub fn begin(&mut self) {
        if self.connection.side() == Side::Client {
            self.control = self.connection.streams().open(Dir::Bi);
            self.prefer_control();
        }
    }

    /// Queues what goes over QUIC. `Media` is the driver's own.
    pub fn depart(&mut self, departure: Departure) -> Result<(), Result<Lost, Violation>> {
        match departure {
            Departure::Control(bytes) => {
                self.control_out.push(self.account.hold(frame::encode(&bytes)));
                if self.control_out.bytes > MOST_CONTROL {
                    return Err(Err(Violation {
                        code: SLOW,
                        text: format!("{MOST_CONTROL} bytes of control messages wait for the other side"),
                    }));
                }
            }
            Departure::Bulk { stream, frame } => {
                if self.bulk_bytes + frame.len() > MOST_BULK {
                    self.drop_bulk(stream);
                    return Err(Ok(Lost::Bulk));
                }
                let bulk = self.bulk_out.entry(stream).or_insert_with(|| {
                    self.bulk_bytes += FLOWS.len();
                    BulkOut::new()
                });
                if bulk.gone || bulk.ended {
                    return Err(Ok(Lost::Bulk));
                }
                let framed = frame::encode(&frame);
                self.bulk_bytes += framed.len();
                bulk.out.push(self.account.hold(framed));
            }
            Departure::BulkEnd { stream } => {
                if let Some(bulk) = self.bulk_out.get_mut(&stream) {
                    bulk.ended = true;
                }
            }
            Departure::Datagram(bytes) => {
                // Older ones give way: a newer NACK or beat says more.
                if self.connection.datagrams().send(bytes, true).is_err() {
                    return Err(Ok(Lost::Datagram));
                }
            }
            Departure::Media(_) => return Err(Ok(Lost::Media)),
        }
        Ok(())
    }

    /// Bytes of control and bulk that the peer has not acknowledged.
    pub fn held(&self) -> usize {
        self.account.held()
    }

    /// The link is down: nothing more is said.
    pub fn let_go(&mut self) {
        self.account.close();
        self.control_out = Outbound::default();
        self.bulk_out.clear();
        self.bulk_in.clear();
        self.bulk_bytes = 0;
    }

    /// Moves queued bytes into QUIC as far as flow control lets them.
    pub fn write(&mut self) {
        if let Some(id) = self.control
            && !self.control_out.queue.is_empty()
        {
            let _ = self.control_out.write(&mut self.connection, id);
        }
        let mut finished = Vec::new();
        for (number, bulk) in &mut self.bulk_out {
            if !bulk.gone && bulk.stream.is_none() {
                match self.connection.streams().open(Dir::Uni) {
                    Some(id) => bulk.stream = Some(id),
                    // The peer lets no more be open; the order of the streams stays.
                    None => break,
                }
            }
            if let Some(id) = bulk.stream
                && !bulk.gone
            {
                let before = bulk.out.bytes;
                let result = bulk.out.write(&mut self.connection, id);
                self.bulk_bytes -= before - bulk.out.bytes;
                if result.is_err() {
                    bulk.gone = true;
                    self.bulk_bytes -= bulk.out.clear();
                } else if bulk.ended && bulk.out.queue.is_empty() {
                    let _ = self.connection.send_stream(id).finish();
                    finished.push(*number);
                }
            }
            if bulk.gone && bulk.ended {
                finished.push(*number);
            }
        }
        for number in finished {
            self.bulk_out.remove(&number);
        }
    }

    /// Whether all that was to be said before hanging up has arrived; ends the control stream.
    pub fn is_said(&mut self) -> bool {
        if !self.control_out.queue.is_empty() {
            return false;
        }
        if let Some(id) = self.control {
            let _ = self.connection.send_stream(id).finish();
        }
        self.connection.streams().send_streams() == 0
    }

    /// Streams that the peer has opened.
    pub fn accept(&mut self, dir: Dir, events: &mut VecDeque<Event>) -> Result<(), Violation> {
        while let Some(id) = self.connection.streams().accept(dir) {
            match dir {
                Dir::Bi => {
                    self.control = Some(id);
                    self.prefer_control();
                }
                Dir::Uni => {
                    self.bulk_in.insert(id, BulkIn::default());
                }
            }
            self.read(id, events)?;
        }
        Ok(())
    }

    pub fn read(&mut self, id: StreamId, events: &mut VecDeque<Event>) -> Result<(), Violation> {
        let (link, listening) = (self.link, self.closing.is_none());
        let mut end = false;
        let mut give = |arrival: Arrival| {
            if listening {
                events.push_back(Event::Arrival { link, arrival });
            }
        };
        let mut stream = self.connection.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else { return Ok(()) };
        loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) if self.control == Some(id) => {
                    self.control_in.handle_bytes(&chunk.bytes)?;
                    while let Some(frame) = self.control_in.poll_frame() {
                        give(Arrival::Control(frame));
                    }
                }
                Ok(Some(chunk)) => {
                    let Some(bulk) = self.bulk_in.get_mut(&id) else { continue };
                    let bytes = bulk.begin(&chunk.bytes)?;
                    bulk.frames.handle_bytes(bytes)?;
                    while let Some(frame) = bulk.frames.poll_frame() {
                        give(Arrival::Bulk { stream: id.index(), frame });
                    }
                }
                Ok(None) | Err(ReadError::Reset(_)) => {
                    end = true;
                    break;
                }
                Err(ReadError::Blocked) => break,
            }
        }
        let _ = chunks.finalize();
        if end && self.bulk_in.remove(&id).is_some() {
            give(Arrival::BulkEnd { stream: id.index() });
        }
        Ok(())
    }

    /// The peer wants no more of a stream. Losing the control stream is losing the link.
    pub fn stopped(&mut self, id: StreamId) -> Result<(), Violation> {
        if self.control == Some(id) {
            return Err(Violation { code: "link.control_stopped", text: "the control stream was stopped".into() });
        }
        let _ = self.connection.send_stream(id).reset(VarInt::from_u32(0));
        if let Some(bulk) = self.bulk_out.values_mut().find(|bulk| bulk.stream == Some(id)) {
            bulk.gone = true;
            self.bulk_bytes -= bulk.out.clear();
        }
        Ok(())
    }

    /// QUIC datagrams that came in one UDP datagram from `source`. `media` has moved when it differs after.
    pub fn datagrams(&mut self, now: Instant, source: SocketAddr, events: &mut VecDeque<Event>) {
        while let Some(bytes) = self.connection.datagrams().recv() {
            match proto::Datagram::decode(&bytes[..]).ok().and_then(|datagram| datagram.body) {
                Some(proto::datagram::Body::Path(nonce)) => {
                    let echo = datagram(proto::datagram::Body::PathEcho(nonce));
                    let _ = self.connection.datagrams().send(echo, true);
                }
                Some(proto::datagram::Body::PathEcho(echo)) => {
                    let right =
                        self.probe.as_ref().is_some_and(|probe| probe.nonce == echo.nonce && probe.address == source);
                    if right {
                        self.probe = None;
                        self.media = source;
                    }
                }
                // Everything else is the session's to read, and to refuse.
                _ if self.closing.is_none() => {
                    events.push_back(Event::Arrival { link: self.link, arrival: Arrival::Datagram(bytes) });
                }
                _ => {}
            }
        }
        self.probe(now);
    }

    /// QUIC follows the peer's first packet from a new address before that address is proven; media,
    /// which is a hundred times as much, waits for a nonce echoed from it.
    pub fn probe(&mut self, now: Instant) {
        let address = self.connection.remote_address();
        if !self.up || address == self.media {
            self.probe = None;
            return;
        }
        let probe = match &mut self.probe {
            Some(probe) if probe.address == address => {
                if now < probe.again || probe.tries >= PROBES {
                    return;
                }
                probe.tries += 1;
                probe
            }
            other => other.insert(Probe { address, nonce: u64::from_be_bytes(random()), again: now, tries: 1 }),
        };
        probe.again = now + PROBE_AGAIN;
        let nonce = proto::PathNonce { nonce: probe.nonce };
        let _ = self.connection.datagrams().send(datagram(proto::datagram::Body::Path(nonce)), true);
    }

    /// When the line wants to be looked at next.
    pub fn deadline(&mut self) -> Option<Instant> {
        let patience = (!self.up && !self.down).then_some(self.patience);
        let closing = self.closing.as_ref().filter(|_| !self.down).map(|closing| closing.until);
        let probe = self.probe.as_ref().filter(|probe| probe.tries < PROBES).map(|probe| probe.again);
        [self.connection.poll_timeout(), patience, closing, probe].into_iter().flatten().min()
    }

    fn prefer_control(&mut self) {
        if let Some(id) = self.control {
            let _ = self.connection.send_stream(id).set_priority(1);
        }
    }

    fn drop_bulk(&mut self, number: u64) {
        let bulk = self.bulk_out.entry(number).or_default();
        bulk.gone = true;
        self.bulk_bytes -= bulk.out.clear();
        if let Some(id) = bulk.stream {
            let _ = self.connection.send_stream(id).reset(VarInt::from_u32(1));
        }
    }
}

impl Outbound {
    fn push(&mut self, bytes: Bytes) {
        self.bytes += bytes.len();
        self.queue.push_back(bytes);
    }

    fn clear(&mut self) -> usize {
        self.queue.clear();
        std::mem::take(&mut self.bytes)
    }

    fn write(&mut self, connection: &mut Connection, id: StreamId) -> Result<(), WriteError> {
        while let Some(first) = self.queue.front_mut() {
            match connection.send_stream(id).write_chunks(std::slice::from_mut(first)) {
                Ok(written) => {
                    self.bytes -= written.bytes;
                    if first.is_empty() {
                        self.queue.pop_front();
                    }
                }
                Err(WriteError::Blocked) => break,
                Err(error) => return Err(error),
            }
        }
        if self.queue.is_empty() {
            // An idle link holds no queue: a shard has thousands of them.
            self.queue = VecDeque::new();
        }
        Ok(())
    }
}

impl BulkIn {
    /// Takes the flow id off the first bytes.
    fn begin<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Violation> {
        if self.begun {
            return Ok(bytes);
        }
        match bytes.split_first() {
            Some((&FLOW, rest)) => {
                self.begun = true;
                Ok(rest)
            }
            Some((other, _)) => Err(Violation {
                code: "link.unknown_flow",
                text: format!("a bulk stream begins with flow id {other:#x}, and only 0 is known"),
            }),
            None => Ok(bytes),
        }
    }
}

impl BulkOut {
    fn new() -> Self {
        let mut bulk = Self::default();
        bulk.out.push(Bytes::from_static(&FLOWS));
        bulk
    }
}

fn datagram(body: proto::datagram::Body) -> Bytes {
    proto::Datagram { body: Some(body) }.encode_to_vec().into()
}

/// Why a link is cut that does not take what is said to it.
pub const SLOW: &str = "link.slow";
/// RTP over QUIC's flow identifier, as a varint of one byte; there is one flow.
const FLOW: u8 = 0;
const FLOWS: [u8; 1] = [FLOW];
/// A handshake takes two round trips; five seconds are room for losses, and bound what half-open ones
/// hold.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Bytes of control messages that may wait: 4,096 orders of 1.1 KiB with their grants.
const MOST_CONTROL: usize = 8 << 20;
/// Bytes of bulk that may wait: a ring of packets for each of two tracks. What is dropped is asked for
/// again.
const MOST_BULK: usize = 512 << 10;
/// A nonce may be lost like any datagram.
const PROBE_AGAIN: Duration = Duration::from_millis(500);
const PROBES: u32 = 10;
