//! One packet to every listener of its track: `sendmmsg` of shared bytes from prebuilt vectors.
//!
//! ```text
//!  track ─▶ Vector ─┬─ links      [ link 7 | link 9 | link 4 | … ]   swap-remove, so no holes
//!                   ├─ names      [ address | address | address | … ]
//!                   ├─ headers    [ mmsghdr | mmsghdr | mmsghdr | … ]  each points at its name …
//!                   └─ payload    iovec ◀────────┴─────────┘           … and all at this one
//! ```
//! Per packet and listener there is no allocation, no lock and no look-up: the payload's address is
//! written once, and the kernel walks the headers, at most [`BATCH`] a call. A track with many
//! listeners is paced: its sends are spread over at most half the packet's duration.
use super::socket::Socket;
use crate::node::Link;
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The vectors of one shard. Lives on its thread.
pub struct Fanout {
    socket: Arc<Socket>,
    vectors: Vec<Vector>,
    /// Index into `vectors`; looked up once per packet.
    tracks: HashMap<Uuid, usize>,
    /// Where each link stands, in which vectors.
    members: HashMap<Link, Vec<(Uuid, usize)>>,
    /// The kernel had no room: waits for it.
    blocked: bool,
    counters: Counters,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub sent: u64,
    /// Destinations that the kernel refused (no route, filtered): skipped, the rest goes on.
    pub unreachable: u64,
    /// Sends not made because the next packets of the track were due already.
    pub dropped: u64,
    /// How often the kernel had no room.
    pub blocked: u64,
}

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.unreachable += other.unreachable;
        self.dropped += other.dropped;
        self.blocked += other.blocked;
    }
}

struct Vector {
    links: Vec<Link>,
    names: Vec<Name>,
    headers: Vec<libc::mmsghdr>,
    /// What all headers point at; boxed so that it stays where it is.
    payload: Box<libc::iovec>,
    /// Packets under way; the first has been sent to the headers before `next`.
    queue: VecDeque<Bytes>,
    next: usize,
    /// When the rest of the first may go on.
    resume: Instant,
    /// µs per packet; 0 is never paced.
    duration: i64,
}

/// A socket address as the kernel reads it.
#[repr(C)]
#[derive(Clone, Copy)]
union Name {
    four: libc::sockaddr_in,
    six: libc::sockaddr_in6,
}

impl Fanout {
    pub fn new(socket: Arc<Socket>) -> Self {
        Self {
            socket,
            vectors: Vec::new(),
            tracks: HashMap::new(),
            members: HashMap::new(),
            blocked: false,
            counters: Counters::default(),
        }
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Says how long a packet of a track lasts, µs (0 for a log), and how many leave in one send.
    pub fn carry(&mut self, now: Instant, track: Uuid, duration: i64, _together: u32) {
        let vector = self.vector(now, track);
        if let Some(vector) = self.vectors.get_mut(vector) {
            vector.duration = duration;
        }
    }

    /// Adds a link to a track's vector; a link that is there gets the new address.
    pub fn listen(&mut self, now: Instant, link: Link, track: Uuid, address: SocketAddr) {
        let name = Name::new(self.socket.outward(address));
        let index = self.vector(now, track);
        let Some(vector) = self.vectors.get_mut(index) else { return };
        let places = self.members.entry(link).or_default();
        if let Some((_, place)) = places.iter().find(|(other, _)| *other == track) {
            vector.rename(*place, name);
        } else {
            places.push((track, vector.links.len()));
            vector.push(link, name);
        }
    }

    pub fn unlisten(&mut self, link: Link, track: Uuid) {
        let Some(places) = self.members.get_mut(&link) else { return };
        let Some(at) = places.iter().position(|(other, _)| *other == track) else { return };
        let (_, place) = places.swap_remove(at);
        if places.is_empty() {
            self.members.remove(&link);
        }
        let Some(vector) = self.tracks.get(&track).and_then(|index| self.vectors.get_mut(*index)) else { return };
        for (moved, to) in vector.remove(place).into_iter().flatten() {
            let places = self.members.get_mut(&moved);
            if let Some(place) = places.and_then(|places| places.iter_mut().find(|(other, _)| *other == track)) {
                place.1 = to;
            }
        }
    }

    /// A link is gone: out of every vector.
    pub fn remove(&mut self, link: Link) {
        let tracks: Vec<Uuid> = self.members.get(&link).into_iter().flatten().map(|(track, _)| *track).collect();
        for track in tracks {
            self.unlisten(link, track);
        }
    }

    /// A link's media has moved.
    pub fn readdress(&mut self, link: Link, address: SocketAddr) {
        let name = Name::new(self.socket.outward(address));
        for (track, place) in self.members.get(&link).into_iter().flatten() {
            if let Some(vector) = self.tracks.get(track).and_then(|index| self.vectors.get_mut(*index)) {
                vector.rename(*place, name);
            }
        }
    }

    /// A track is over: what is under way of it is dropped.
    pub fn forget(&mut self, track: Uuid) {
        let Some(index) = self.tracks.remove(&track) else { return };
        let vector = self.vectors.swap_remove(index);
        self.counters.dropped += vector.unsent();
        for link in vector.links {
            if let Some(places) = self.members.get_mut(&link) {
                places.retain(|(other, _)| *other != track);
                if places.is_empty() {
                    self.members.remove(&link);
                }
            }
        }
        if let Some(moved) = self.tracks.values_mut().find(|place| **place == self.vectors.len()) {
            *moved = index;
        }
    }

    /// Queues a packet for every listener and sends what may go at once.
    pub fn air(&mut self, now: Instant, track: Uuid, _index: u64, packet: Bytes) {
        let Some(vector) = self.tracks.get(&track).and_then(|index| self.vectors.get_mut(*index)) else { return };
        if vector.links.is_empty() {
            return;
        }
        if vector.queue.len() >= vector.most_waiting() {
            self.counters.dropped += (vector.links.len() - vector.next) as u64;
            vector.next = 0;
            vector.queue.pop_front();
        }
        vector.queue.push_back(packet);
        if vector.queue.len() == 1 {
            vector.next = 0;
            vector.resume = now;
        }
        if !self.blocked {
            self.blocked = vector.pump(now, &self.socket, &mut self.counters);
        }
    }

    /// Goes on with what is due; after the socket took packets again, too.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.blocked = false;
        for vector in &mut self.vectors {
            if !self.blocked && !vector.queue.is_empty() && vector.resume <= now {
                self.blocked = vector.pump(now, &self.socket, &mut self.counters);
            }
        }
    }

    /// Whether to wait for room in the kernel's buffer rather than for `poll_timeout`.
    pub fn wants_write(&self) -> bool {
        self.blocked
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.blocked {
            return None;
        }
        self.vectors.iter().filter(|vector| !vector.queue.is_empty()).map(|vector| vector.resume).min()
    }

    fn vector(&mut self, now: Instant, track: Uuid) -> usize {
        *self.tracks.entry(track).or_insert_with(|| {
            self.vectors.push(Vector::new(now));
            self.vectors.len() - 1
        })
    }
}

impl Vector {
    fn new(now: Instant) -> Self {
        Self {
            links: Vec::new(),
            names: Vec::new(),
            headers: Vec::new(),
            payload: Box::new(libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }),
            queue: VecDeque::new(),
            next: 0,
            resume: now,
            duration: 0,
        }
    }

    fn push(&mut self, link: Link, name: Name) {
        let before = self.names.as_ptr();
        self.links.push(link);
        self.names.push(name);
        // SAFETY: all zero is a value of mmsghdr (null pointers, zero lengths).
        let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
        header.msg_hdr.msg_iov = &raw mut *self.payload;
        header.msg_hdr.msg_iovlen = 1;
        self.headers.push(header);
        if self.names.as_ptr() == before {
            self.point(self.names.len() - 1);
        } else {
            // The names have moved to a larger place: every header must follow.
            (0..self.names.len()).for_each(|place| self.point(place));
        }
    }

    fn rename(&mut self, place: usize, name: Name) {
        if let Some(held) = self.names.get_mut(place) {
            *held = name;
            self.point(place);
        }
    }

    /// Takes a place out. Whoever has to fill the hole keeps having, or not having, got the first
    /// packet of the queue. Returns who moved, and to where.
    fn remove(&mut self, place: usize) -> [Option<(Link, usize)>; 2] {
        let Some(last) = self.links.len().checked_sub(1) else { return [None; 2] };
        let mut hole = place;
        let mut moved = [None; 2];
        if !self.queue.is_empty() && hole < self.next {
            self.next -= 1;
            moved[0] = self.fill(hole, self.next);
            hole = self.next;
        }
        moved[1] = self.fill(hole, last);
        self.links.truncate(last);
        self.names.truncate(last);
        self.headers.truncate(last);
        moved
    }

    /// Copies one place over another.
    fn fill(&mut self, hole: usize, from: usize) -> Option<(Link, usize)> {
        if hole == from {
            return None;
        }
        let (link, name) = (*self.links.get(from)?, *self.names.get(from)?);
        *self.links.get_mut(hole)? = link;
        self.rename(hole, name);
        Some((link, hole))
    }

    /// Lets a header point at the name of its place.
    fn point(&mut self, place: usize) {
        if let (Some(header), Some(name)) = (self.headers.get_mut(place), self.names.get_mut(place)) {
            header.msg_hdr.msg_namelen = name.length();
            header.msg_hdr.msg_name = std::ptr::from_mut(name).cast();
        }
    }

    /// Sends as far as pace and kernel allow. True when the kernel has no room.
    fn pump(&mut self, now: Instant, socket: &Socket, counters: &mut Counters) -> bool {
        while let Some(packet) = self.queue.front() {
            *self.payload = libc::iovec { iov_base: packet.as_ptr().cast_mut().cast(), iov_len: packet.len() };
            let (batch, pause) = self.pace();
            while let Some(rest) = self.headers.get_mut(self.next..)
                && !rest.is_empty()
            {
                let count = rest.len().min(batch);
                // SAFETY: `rest` holds at least `count` headers, each pointing at its name in
                // `self.names` and at `self.payload`; both are alive and where they were when pointed
                // at (`push` points anew when the names move). The payload's bytes belong to
                // `packet`, which the queue holds; sendmmsg only reads them.
                let sent = unsafe {
                    libc::sendmmsg(socket.descriptor(), rest.as_mut_ptr(), count as libc::c_uint, libc::MSG_DONTWAIT)
                };
                if sent > 0 {
                    self.next += sent as usize;
                    counters.sent += sent as u64;
                } else {
                    let error = io::Error::last_os_error();
                    match error.raw_os_error() {
                        Some(libc::EINTR) => continue,
                        Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => {
                            counters.blocked += 1;
                            return true;
                        }
                        // Of the first destination alone: no route, filtered, packet too long for its
                        // path, or an ICMP error of an earlier send.
                        _ => {
                            self.next += 1;
                            counters.unreachable += 1;
                            continue;
                        }
                    }
                }
                if self.next < self.headers.len() && !pause.is_zero() {
                    self.resume = now + pause;
                    return false;
                }
            }
            self.queue.pop_front();
            self.next = 0;
        }
        false
    }

    /// How many sends at a time, and how long to rest in between.
    fn pace(&self) -> (usize, Duration) {
        let listeners = self.headers.len() as i64;
        if self.duration <= 0 || listeners * 1_000_000 / self.duration < PACED {
            return (BATCH, Duration::ZERO);
        }
        let batch = (listeners * REST / (self.duration / 2).max(1) + 1).clamp(LEAST, BATCH as i64);
        let rests = (listeners / batch).max(1);
        (batch as usize, Duration::from_micros((self.duration / 2 / rests).min(REST) as u64))
    }

    /// A track of sound waits for nothing older than the packet before; orders must all go out.
    fn most_waiting(&self) -> usize {
        if self.duration > 0 { MOST_SOUND } else { MOST_ORDERS }
    }

    fn unsent(&self) -> u64 {
        (self.queue.len() * self.links.len() - if self.queue.is_empty() { 0 } else { self.next }) as u64
    }
}

impl Name {
    fn new(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(four) => Self {
                four: libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: four.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from(*four.ip()).to_be() },
                    sin_zero: [0; 8],
                },
            },
            SocketAddr::V6(six) => Self {
                six: libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: six.port().to_be(),
                    sin6_flowinfo: six.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: six.ip().octets() },
                    sin6_scope_id: six.scope_id(),
                },
            },
        }
    }

    fn length(&self) -> libc::socklen_t {
        // SAFETY: both variants begin with the family, which every `Name` has set.
        let family = unsafe { self.four.sin_family };
        let length = if libc::c_int::from(family) == libc::AF_INET {
            mem::size_of::<libc::sockaddr_in>()
        } else {
            mem::size_of::<libc::sockaddr_in6>()
        };
        length as libc::socklen_t
    }
}

/// The kernel takes no more a call (UIO_MAXIOV).
const BATCH: usize = 1_024;
/// Packets per second from which a track is paced: below, a burst is over within 50 ms and fits any
/// queue on the way.
const PACED: i64 = 20_000;
/// µs between two paced batches, and the smallest batch: a wake costs as much as three sends.
const REST: i64 = 1_000;
const LEAST: i64 = 64;
/// Packets of sound that may wait per track: the one under way and the newest one.
const MOST_SOUND: usize = 2;
/// Orders that may wait per log; what is dropped beyond is repaired by index.
const MOST_ORDERS: usize = 256;

#[cfg(test)]
#[path = "fanout/tests.rs"]
mod tests;
