//! Logs: orders as tracks, this node's own and those it carries.

use super::{From, Log, Order, Pending, Trunk};
use crate::broadcast::{Body, Tick};
use crate::node::branch::{Carry, Command};
use crate::proto;
use crate::time::{Local, MILLISECOND, SECOND};
use crate::track::{Cipher, Info, Packet, Reject, Ring, Secret};
use prost::Message;
use uuid::Uuid;

/// One log.
pub(super) struct LogTrack {
    pub id: Uuid,
    ssrc: u32,
    secret: Secret,
    cipher: Cipher,
    /// Index of the next packet (own) or of the first one that is of interest (others').
    next: u64,
    /// What the parent at a join, or a signed tick, last named as the next index. An order does not say
    /// at which index it stands, and every holder of the key can pack one again: what is further ahead
    /// than [`SEEN`] would push the window past packets still to come.
    head: u64,
    /// Which of the present parents carry it.
    carried: [bool; 2],
    /// Those verified and forwarded.
    seen: Ring,
    pub own: bool,
}

impl LogTrack {
    pub fn own(log: &Log) -> Self {
        Self::new(log.track, log.ssrc, log.secret.clone(), 0, true)
    }

    pub fn new(id: Uuid, ssrc: u32, secret: Secret, next: u64, own: bool) -> Self {
        Self {
            id,
            ssrc,
            cipher: Cipher::new(&secret, ssrc),
            secret,
            next,
            head: next,
            carried: [own; 2],
            seen: Ring::new(SEEN),
            own,
        }
    }

    /// Bytes of the packets remembered.
    #[cfg(test)]
    pub fn memory(&self) -> usize {
        self.seen.memory()
    }

    /// The session with that parent is over: it stays until another has named its logs.
    pub fn left(&mut self, parent: usize) {
        self.carried[parent] = self.own;
    }
}

impl Trunk {
    pub(super) fn carry_log(&mut self, log: &LogTrack) {
        self.tell_branches(Command::Carry(Carry {
            track: log.id,
            ssrc: log.ssrc,
            secret: log.secret.clone(),
            log: true,
            emergency: false,
            rode: false,
            areas: Vec::new(),
            duration: 0,
            delay: 0,
            rate: LOG_RATE,
            together: 1,
            next: log.next,
            stored: 0,
        }));
    }

    /// The parent carries this log (it says so at every join).
    pub(super) fn handle_log(&mut self, parent: usize, id: Uuid, ssrc: u32, secret: Secret, next: u64) {
        if let Some(log) = self.logs.get_mut(&id) {
            if !log.own {
                log.next = log.next.max(next);
                log.head = log.head.max(next);
                log.carried[parent] = true;
            }
            return;
        }
        if self.logs.len() >= LOGS {
            self.dropped("logs");
            return;
        }
        let mut log = LogTrack::new(id, ssrc, secret, next, false);
        log.carried[parent] = true;
        self.carry_log(&log);
        self.logs.insert(id, log);
    }

    pub(super) fn handle_log_ended(&mut self, parent: usize, id: Uuid) {
        let Some(log) = self.logs.get_mut(&id).filter(|log| !log.own) else { return };
        log.carried[parent] = false;
        if log.carried == [false; 2] {
            self.logs.remove(&id);
            self.tell_branches(Command::Drop { track: id });
        }
    }

    /// A parent has welcomed this node, and names its logs next.
    pub(super) fn begin_logs(&mut self, parent: usize) {
        self.logs.values_mut().for_each(|log| log.carried[parent] = log.own);
    }

    /// It has named them all. Logs of processes that are gone make room for those of their successors.
    pub(super) fn end_logs(&mut self, parent: usize) {
        let gone: Vec<Uuid> = self.logs.values().filter(|log| log.carried == [false; 2]).map(|log| log.id).collect();
        gone.into_iter().for_each(|id| self.handle_log_ended(parent, id));
    }

    /// A verified tick names the next index of its log.
    pub(super) fn handle_log_head(&mut self, id: Uuid, head: u64) {
        if let Some(log) = self.logs.get_mut(&id) {
            log.head = log.head.max(head);
        }
    }

    /// A candidate packet of a log: verify, act, forward. `Err` if it is not what it says.
    pub(super) fn handle_log_packet(&mut self, now: Local, packet: Packet, id: Uuid) -> Result<(), Reject> {
        let log = self.logs.get(&id).ok_or(Reject::UnknownSsrc)?;
        if log.seen.get(packet.index).is_some() {
            return Err(Reject::Duplicate);
        }
        let payload = log.cipher.unprotect(packet.index, &packet.bytes)?;
        let ahead = packet.index >= log.head.saturating_add(SEEN as u64);
        let logged = proto::Logged::decode(payload).map_err(|_| Reject::Malformed)?;
        let keys = logged.keys.iter().take(RIDERS).filter_map(Secret::of_track).collect();
        let signed = proto::Signed { payload: logged.payload, signatures: logged.signatures };
        // Only a tick says where it stands, and may so follow a long silence.
        if ahead && !self.is_tick_at(now, &signed, id, packet.index) {
            return Err(Reject::OutOfWindow);
        }
        self.handle_order(now, signed, From::Log { track: id, packet, keys });
        Ok(())
    }

    fn is_tick_at(&self, now: Local, signed: &proto::Signed, log: Uuid, index: u64) -> bool {
        let order = self.authorities.check(signed, self.time.civil(now)).map(crate::broadcast::Vouched::into_order);
        matches!(order, Ok(Order { body: Body::Tick(tick), .. }) if tick.log == log && tick.head == index)
    }

    /// A log packet whose order is good goes on, once.
    pub(super) fn forward(&mut self, now: Local, track: Uuid, packet: Packet, urgent: bool) {
        let Some(log) = self.logs.get_mut(&track) else { return };
        if !log.seen.insert(packet.clone()) {
            return;
        }
        self.counters.received += u64::from(!log.own);
        self.send_log(now, track, packet, urgent);
    }

    fn send_log(&mut self, now: Local, track: Uuid, packet: Packet, urgent: bool) {
        if urgent {
            for (number, after) in REPEATS.into_iter().enumerate() {
                let key = (now + after, packet.index << 8 | number as u64, track);
                if self.repeats.len() < REPEATS_QUEUED {
                    self.repeats.insert(key, packet.clone());
                } else {
                    self.dropped("repeats");
                }
            }
        }
        self.tell_branches(Command::Packet { track, packet, again: false });
    }

    /// Appends an own order to the own log, and with it the keys that ride along.
    pub(super) fn append(&mut self, now: Local, signed: &proto::Signed, keys: &[(Uuid, Secret)], urgent: bool) {
        let id = self.options.log.track;
        let Some(log) = self.logs.get_mut(&id) else { return };
        let index = log.next;
        log.next += 1;
        if urgent {
            self.ordered_at = Some(now);
            self.tick_at = self.tick_at.min(now + TICK_AFTER_ORDER);
        }
        let bytes = log.cipher.protect(index, index as u32, LOG_PAYLOAD_TYPE, &logged(signed, keys).encode_to_vec());
        self.forward(now, id, Packet { index, bytes }, urgent);
    }

    /// The signed heartbeat.
    pub(super) fn tick(&mut self, now: Local) {
        let Some(time) = self.time.civil(now) else {
            self.tick_at = now + TICK_AFTER_ORDER;
            return;
        };
        let ordered = self.ordered_at.is_some_and(|at| now - at < ORDER_IS_NEW);
        self.tick_at = now + if ordered { TICK_AFTER_ORDER } else { self.options.tick };
        let Some(log) = self.logs.get(&self.options.log.track) else { return };
        let tick = Tick { time, log: log.id, head: log.next, epoch: self.authorities.epoch() };
        let expires = time + 2 * self.options.tick + 60 * SECOND;
        let areas = self.place.iter().map(|place| place.area.clone()).collect();
        if let Some((order, signed)) = self.make(now, areas, expires, Body::Tick(tick)) {
            self.below.last_tick = Some((order.authority, signed.clone()));
            self.time.handle_own_tick(now);
            self.append(now, &signed, &[], false);
        }
    }

    pub(super) fn journal(&mut self, now: Local, mut records: Vec<proto::Record>, pending: Pending) {
        if let Some(civil) = self.time.surely(now) {
            records.insert(0, proto::Record { body: Some(proto::record::Body::Time(civil.0)) });
        }
        self.job(pending, super::Job::Journal(records));
    }

    /// Signs an own order. `None` without an authority or without time.
    pub(super) fn make(
        &mut self,
        now: Local,
        areas: Vec<crate::broadcast::Area>,
        expires: crate::time::Civil,
        body: Body,
    ) -> Option<(Order, proto::Signed)> {
        self.make_as(now, None, areas, expires, body)
    }

    /// The same with an id that was drawn before.
    pub(super) fn make_as(
        &mut self,
        now: Local,
        id: Option<Uuid>,
        areas: Vec<crate::broadcast::Area>,
        expires: crate::time::Civil,
        body: Body,
    ) -> Option<(Order, proto::Signed)> {
        let issued = self.time.civil(now)?;
        let id = id.unwrap_or_else(|| self.ids.next(issued));
        let number = self.next_number(issued);
        let key = self.options.authority.as_ref()?;
        let order = Order { id, authority: key.id(), number, issued, expires, areas, body };
        let signed = crate::broadcast::sign(&order, key);
        Some((order, signed))
    }

    /// Rises across restarts without being stored: µs since 1970, and never twice the same.
    pub(super) fn next_number(&mut self, now: crate::time::Civil) -> u64 {
        self.number = (self.number + 1).max(now.0.unsigned_abs());
        self.number
    }
}

/// The keys that an emergency's packet has room for: with them no node below waits for its parent to hand them to
/// each of its children.
pub(super) fn riding(signed: &proto::Signed, tracks: &[(Info, Secret)]) -> Vec<(Uuid, Secret)> {
    let mut keys: Vec<(Uuid, Secret)> =
        tracks.iter().take(RIDERS).map(|(info, secret)| (info.id, secret.clone())).collect();
    while !keys.is_empty() && logged(signed, &keys).encoded_len() > MAX_ORDER {
        keys.pop();
    }
    keys
}

fn logged(signed: &proto::Signed, keys: &[(Uuid, Secret)]) -> proto::Logged {
    let key = |(track, secret): &(Uuid, Secret)| proto::Key {
        track: track.as_bytes().to_vec().into(),
        secret: Some(secret.to_proto()),
    };
    proto::Logged {
        payload: signed.payload.clone(),
        signatures: signed.signatures.clone(),
        keys: keys.iter().map(key).collect(),
    }
}

/// Fresh UUIDv7s out of one seed.
pub(super) struct Ids {
    seed: [u8; 32],
    counter: u64,
}

impl Ids {
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed, counter: 0 }
    }

    /// 32 bytes that nobody can foretell who lacks the seed.
    pub fn random(&mut self) -> [u8; 32] {
        use aws_lc_rs::digest::{SHA256, digest};
        self.counter += 1;
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, &[&self.seed[..], &self.counter.to_be_bytes()].concat()).as_ref());
        bytes
    }

    pub fn next(&mut self, civil: crate::time::Civil) -> Uuid {
        let random = self.random();
        let mut tail = [0; 10];
        tail.copy_from_slice(&random[..10]);
        uuid::Builder::from_unix_timestamp_millis(civil.0.max(0).unsigned_abs() / 1_000, &tail).into_uuid()
    }

    /// µs in `[0, below)`.
    pub fn jitter(&mut self, below: i64) -> i64 {
        let random = self.random();
        let mut number = [0; 8];
        number.copy_from_slice(&random[..8]);
        (u64::from_be_bytes(number) % below.max(1).unsigned_abs()) as i64
    }
}

/// An order is at most this long, `Signed` included, so that one packet carries it (DESIGN §3).
pub(super) const MAX_ORDER: usize = 1_100;
/// Keys that ride with one order: an emergency goes as its first rendition.
const RIDERS: usize = 1;
/// RTP payload type of logs.
const LOG_PAYLOAD_TYPE: u8 = 97;
/// Log packets remembered against replay: ticks alone fill it in 40 minutes.
const SEEN: usize = 256;
/// One log per node above that may speak, and their predecessors until the next join.
const LOGS: usize = 64;
/// Bytes per second for the repair budget of a log: three orders.
const LOG_RATE: u32 = 3_300;
/// Broadcast, cancel and hush go three times (DESIGN §3).
const REPEATS: [i64; 2] = [40 * MILLISECOND, 80 * MILLISECOND];
/// Where all three copies fell into one burst of loss (400 ms at most, DESIGN §11), a tick shows the gap;
/// for so long ticks come often.
const TICK_AFTER_ORDER: i64 = 400 * MILLISECOND;
const ORDER_IS_NEW: i64 = 1_500 * MILLISECOND;
/// 256 urgent orders in 80 ms are not from people.
const REPEATS_QUEUED: usize = 512;
