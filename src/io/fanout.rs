//! One packet to every listener of its track: `sendmmsg` of shared bytes from prebuilt vectors.
//!
//! ```text
//!  track ─▶ Lane ─┬─ links      [ link 7 | link 9 | link 4 | … ]   swap-remove, so no holes
//!                 ├─ names      [ address | address | address | … ]
//!                 ├─ headers    [ mmsghdr | mmsghdr | mmsghdr | … ]  each points at its name …
//!                 └─ payload    iovecs, UDP_SEGMENT ◀──┴─────────┘     … and all at this one
//! ```
//! Per packet and listener there is no allocation, no lock and no look-up: the payload's address is
//! written once, and the kernel walks the headers, at most [`BATCH`] a call.
//!
//! **Bunches.** Packets of a track that may leave together wait for the last of their bunch and leave
//! as one send a listener, which the kernel or the card cuts (UDP_SEGMENT). Whoever can't be sent that
//! (its path is narrower than a packet, say) has a lane of its own where each packet is a send; where
//! the device can't cut, nobody is. What comes bunched from a parent completes its bunch at once, so
//! that the wait is had once, not at every hop.
//!
//! **Turns.** Tracks with something under way stand in rings: orders, emergencies, sound. A turn serves
//! the rings in this order and a ring's tracks in turn, each its own share. Sound of an audience that is
//! large, all tracks together, is paced ([`pace`]); orders are not. A turn is bounded, so that what
//! children say is read between two.
use super::socket::Socket;
use crate::node::Link;
use bytes::Bytes;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

mod forming;
mod lane;
mod pace;
mod track;

use lane::{Flow, Moved, Name};
use pace::Pace;
use track::Track;

pub use lane::Unreachable;

/// The vectors of one shard. Lives on its thread.
pub struct Fanout {
    socket: Arc<Socket>,
    /// Slots stay where they are, since rings and places name them.
    tracks: Vec<Option<Track>>,
    free: Vec<usize>,
    /// Slots; looked up once per packet.
    slots: HashMap<Uuid, usize>,
    /// Where each link stands.
    members: HashMap<Link, Vec<Place>>,
    /// Links that can't be sent several packets at once.
    singles: HashSet<Link>,
    /// The device cuts no sends, so that there are no bunches any more.
    whole: bool,
    /// Slots with something under way, by class: those of a higher class wait.
    rings: [VecDeque<usize>; CLASSES],
    /// When which bunch leaves incomplete.
    deadlines: BTreeSet<(Instant, usize)>,
    pace: Pace,
    /// Millionths of packets a second that all listeners of sound together get.
    load: u64,
    /// The kernel's buffer is full: waits until it can be written to.
    blocked: bool,
    /// The kernel has no memory: waits until then. How often it said so in a row.
    rest: Option<Instant>,
    starved: u32,
    /// Sends made at this instant.
    turn: Instant,
    spent: usize,
    counters: Counters,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets, one for each listener.
    pub sent: u64,
    /// Those of them that left together with others.
    pub bunched: u64,
    /// Packets that the kernel refused for one listener, by [`Unreachable`]: the rest goes on.
    pub unreachable: [u64; Unreachable::NAMES.len()],
    /// Listeners, and devices, that turned out to take single packets only.
    pub singles: u64,
    pub devices: u64,
    /// Sends not made because the next packets of the track were due already.
    pub dropped: u64,
    /// How often the kernel had no room.
    pub blocked: u64,
}

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.bunched += other.bunched;
        for (count, more) in self.unreachable.iter_mut().zip(other.unreachable) {
            *count += more;
        }
        self.singles += other.singles;
        self.devices += other.devices;
        self.dropped += other.dropped;
        self.blocked += other.blocked;
    }
}

/// One listener of one track.
#[derive(Clone, Copy, Debug)]
struct Place {
    track: u32,
    at: u32,
    /// In the lane of single packets.
    single: bool,
}

impl Fanout {
    pub fn new(socket: Arc<Socket>) -> Self {
        let now = Instant::now();
        Self {
            socket,
            tracks: Vec::new(),
            free: Vec::new(),
            slots: HashMap::new(),
            members: HashMap::new(),
            singles: HashSet::new(),
            whole: false,
            rings: Default::default(),
            deadlines: BTreeSet::new(),
            pace: Pace::new(now),
            load: 0,
            blocked: false,
            rest: None,
            starved: 0,
            turn: now,
            spent: 0,
            counters: Counters::default(),
        }
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Says how long a packet of a track lasts, µs (0 for a log), and how many leave in one send.
    pub fn carry(&mut self, now: Instant, track: Uuid, duration: i64, together: u32) {
        let slot = self.slot(track);
        let together = if duration <= 0 || self.whole { 1 } else { together };
        let Some(track) = self.tracks.get_mut(slot).and_then(Option::as_mut) else { return };
        self.load -= track.load();
        track.duration = Duration::from_micros(duration.max(0) as u64);
        self.load += track.load();
        if let Some(deadline) = track.forming.deadline() {
            self.deadlines.remove(&(deadline, slot));
        }
        let held = track.forming.set_together(together);
        if let Some(deadline) = track.forming.deadline() {
            self.deadlines.insert((deadline, slot));
        }
        track.widen();
        self.enqueue(now, slot, held);
        self.reclass(slot);
        self.pump(now);
    }

    /// Says that a track goes before others.
    pub fn hasten(&mut self, track: Uuid) {
        let slot = self.slot(track);
        if let Some(track) = self.tracks.get_mut(slot).and_then(Option::as_mut) {
            track.urgent = true;
            self.reclass(slot);
        }
    }

    /// Adds a link to a track's vector; a link that is there gets the new address.
    pub fn listen(&mut self, _now: Instant, link: Link, track: Uuid, address: SocketAddr) {
        let name = Name::new(self.socket.outward(address));
        let slot = self.slot(track);
        let Some(track) = self.tracks.get_mut(slot).and_then(Option::as_mut) else { return };
        let places = self.members.entry(link).or_default();
        if let Some(place) = places.iter().find(|place| place.track as usize == slot) {
            track.lane(place.single).rename(place.at as usize, name);
            return;
        }
        let single = self.singles.contains(&link);
        let lane = track.lane(single);
        places.push(Place { track: slot as u32, at: lane.len() as u32, single });
        lane.push(link, name);
        self.load += track.share();
    }

    pub fn unlisten(&mut self, link: Link, track: Uuid) {
        if let Some(&slot) = self.slots.get(&track) {
            self.leave(link, slot);
        }
    }

    /// A link is gone: out of every vector.
    pub fn remove(&mut self, link: Link) {
        let slots: Vec<usize> =
            self.members.get(&link).into_iter().flatten().map(|place| place.track as usize).collect();
        for slot in slots {
            self.leave(link, slot);
        }
        self.singles.remove(&link);
    }

    /// A link's media has moved.
    pub fn readdress(&mut self, link: Link, address: SocketAddr) {
        let name = Name::new(self.socket.outward(address));
        // The new path may be wider; tracks to come will tell.
        self.singles.remove(&link);
        for place in self.members.get(&link).into_iter().flatten() {
            if let Some(track) = self.tracks.get_mut(place.track as usize).and_then(Option::as_mut) {
                track.lane(place.single).rename(place.at as usize, name);
            }
        }
    }

    /// A track is over: what is under way of it is dropped.
    pub fn forget(&mut self, track: Uuid) {
        let Some(slot) = self.slots.remove(&track) else { return };
        let Some(track) = self.tracks.get_mut(slot).and_then(Option::take) else { return };
        self.free.push(slot);
        self.rings.iter_mut().for_each(|ring| ring.retain(|other| *other != slot));
        if let Some(deadline) = track.forming.deadline() {
            self.deadlines.remove(&(deadline, slot));
        }
        self.load -= track.load();
        self.counters.dropped += track.left();
        for link in track.links() {
            if let Some(places) = self.members.get_mut(&link) {
                places.retain(|place| place.track as usize != slot);
                if places.is_empty() {
                    self.members.remove(&link);
                }
            }
        }
    }

    /// Queues a packet for every listener and sends what may go at once.
    pub fn air(&mut self, now: Instant, track: Uuid, index: u64, packet: Bytes) {
        let Some(&slot) = self.slots.get(&track) else { return };
        let Some(track) = self.tracks.get_mut(slot).and_then(Option::as_mut) else { return };
        if let Some(deadline) = track.forming.deadline() {
            self.deadlines.remove(&(deadline, slot));
        }
        let bunches = track.forming.handle(now, index, packet, track.duration);
        if let Some(deadline) = track.forming.deadline() {
            self.deadlines.insert((deadline, slot));
        }
        for bunch in bunches {
            self.enqueue(now, slot, bunch);
        }
        self.pump(now);
    }

    /// Sends what waits for the rest of its bunch: the rest is known not to come.
    pub fn flush(&mut self, now: Instant, track: Uuid) {
        let Some(&slot) = self.slots.get(&track) else { return };
        let Some(track) = self.tracks.get_mut(slot).and_then(Option::as_mut) else { return };
        if let Some(deadline) = track.forming.deadline() {
            self.deadlines.remove(&(deadline, slot));
        }
        let held = track.forming.take();
        self.enqueue(now, slot, held);
        self.pump(now);
    }

    /// Goes on with what is due; after the socket took packets again, too.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.blocked = false;
        while let Some(&(at, slot)) = self.deadlines.first()
            && at <= now
        {
            self.deadlines.pop_first();
            let held = self.tracks.get_mut(slot).and_then(Option::as_mut).and_then(|track| track.forming.take());
            self.enqueue(now, slot, held);
        }
        self.pump(now);
    }

    /// Whether to wait for room in the kernel's buffer rather than for `poll_timeout`.
    pub fn wants_write(&self) -> bool {
        self.blocked
    }

    /// Whether some sound waits so long that its next packets wait behind it.
    pub fn is_behind(&self) -> bool {
        let waiting = self.rings[EMERGENCIES].iter().chain(&self.rings[SOUND]);
        waiting.filter_map(|slot| self.tracks.get(*slot)?.as_ref()).any(Track::is_behind)
    }

    /// Whether as much was sent at this instant as may be before children are heard again.
    pub fn spent(&self, now: Instant) -> bool {
        self.turn == now && self.spent >= TURN
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.blocked {
            return None;
        }
        let waiting = self.rings.iter().any(|ring| !ring.is_empty());
        let next = if self.rest.is_some() && waiting {
            self.rest
        } else if !self.rings[ORDERS].is_empty() || (waiting && !self.paced()) {
            Some(self.turn + AT_ONCE)
        } else if waiting {
            Some(self.pace.due())
        } else {
            None
        };
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        next.into_iter().chain(deadline).min()
    }

    fn slot(&mut self, track: Uuid) -> usize {
        let Self { slots, tracks, free, .. } = self;
        *slots.entry(track).or_insert_with(|| {
            let slot = free.pop().unwrap_or_else(|| {
                tracks.push(None);
                tracks.len() - 1
            });
            tracks[slot] = Some(Track::new());
            slot
        })
    }

    fn leave(&mut self, link: Link, slot: usize) {
        let Some(places) = self.members.get_mut(&link) else { return };
        let Some(at) = places.iter().position(|place| place.track as usize == slot) else { return };
        let place = places.swap_remove(at);
        if places.is_empty() {
            self.members.remove(&link);
        }
        let Some(track) = self.tracks.get_mut(slot).and_then(Option::as_mut) else { return };
        self.load -= track.share();
        let moved = track.lane(place.single).remove(place.at as usize);
        self.follow(slot, moved);
    }

    /// Notes where links stand that have filled a hole.
    fn follow(&mut self, slot: usize, moved: Moved) {
        for (link, to) in moved.into_iter().flatten() {
            let places = self.members.get_mut(&link);
            if let Some(place) = places.and_then(|places| places.iter_mut().find(|place| place.track as usize == slot))
            {
                place.at = to as u32;
            }
        }
    }

    fn enqueue(&mut self, now: Instant, slot: usize, bunch: Option<forming::Parts>) {
        let Some(track) = self.tracks.get_mut(slot).and_then(Option::as_mut) else { return };
        let Some(bunch) = bunch.filter(|_| track.listeners() > 0) else { return };
        let (sends, within) = (track.sends(bunch.len()), track.duration / 2);
        self.counters.dropped += track.enqueue(bunch);
        let class = track.class();
        if class != ORDERS {
            if self.rings[EMERGENCIES].is_empty() && self.rings[SOUND].is_empty() {
                self.pace.idle();
            }
            self.pace.begin(now, sends, within);
        }
        if !track.ringed {
            track.ringed = true;
            self.rings[class].push_back(slot);
        }
    }

    /// A track's class may have changed while it stood in a ring.
    fn reclass(&mut self, slot: usize) {
        let Some(track) = self.tracks.get(slot).and_then(Option::as_ref).filter(|track| track.ringed) else { return };
        let class = track.class();
        self.rings.iter_mut().for_each(|ring| ring.retain(|other| *other != slot));
        self.rings[class].push_back(slot);
    }

    /// Whether the shard's audience is so large that bursts would hurt.
    fn paced(&self) -> bool {
        self.load >= PACED * 1_000_000
    }

    /// A turn: sends what may go now.
    fn pump(&mut self, now: Instant) {
        if self.turn != now {
            (self.turn, self.spent) = (now, 0);
        }
        if self.blocked || self.rest.is_some_and(|until| now < until) {
            return;
        }
        self.rest = None;
        let left = TURN.saturating_sub(self.spent);
        let sent = self.serve(now, ORDERS, BATCH.min(left));
        // What is paced is due: a turn that comes late makes up for it.
        let most = if self.paced() { self.pace.turn(now).min(left - sent) } else { BATCH.min(left) - sent };
        let sent = self.serve(now, EMERGENCIES, most);
        let sent = sent + self.serve(now, SOUND, most - sent);
        if sent > 0 {
            self.pace.spend(now, sent);
        }
        if self.rings[EMERGENCIES].is_empty() && self.rings[SOUND].is_empty() {
            self.pace.idle();
        }
    }

    /// Serves the tracks of a ring in turn, at most so many sends. Returns how many were made.
    fn serve(&mut self, now: Instant, class: usize, most: usize) -> usize {
        let mut sent = 0;
        while sent < most && !self.blocked && self.rest.is_none() {
            let Some(slot) = self.rings[class].pop_front() else { break };
            let alone = self.rings[class].is_empty();
            let Some(track) = self.tracks.get_mut(slot).and_then(Option::as_mut) else { continue };
            let share = if alone { most } else { track.quantum() };
            let (done, flow) = track.send(&self.socket, share.min(most - sent), &mut self.counters);
            sent += done;
            self.spent += done;
            if done > 0 {
                self.starved = 0;
            }
            if track.is_idle() {
                track.ringed = false;
            } else if flow == Flow::Went {
                self.rings[class].push_back(slot);
            } else {
                self.rings[class].push_front(slot);
            }
            match flow {
                Flow::Went => {}
                Flow::Blocked => self.blocked = true,
                Flow::Starved => self.starve(now, slot),
                Flow::Whole => {
                    sent += 1;
                    self.single(slot);
                }
                Flow::Device => self.break_up(),
            }
        }
        sent
    }

    /// Waits a little; a listener whose device never has memory must not hold up the others.
    fn starve(&mut self, now: Instant, slot: usize) {
        self.rest = Some(now + STARVED);
        self.starved += 1;
        if self.starved >= MOST_STARVED
            && let Some(track) = self.tracks.get_mut(slot).and_then(Option::as_mut)
        {
            track.skip(Unreachable::Full, &mut self.counters);
        }
    }

    /// The next listener of a track takes single packets only: from now on it is sent those.
    fn single(&mut self, slot: usize) {
        let Some(track) = self.tracks.get_mut(slot).and_then(Option::as_mut) else { return };
        let Some((link, at, moved)) = track.single_out() else { return };
        self.counters.singles += 1;
        self.singles.insert(link);
        self.follow(slot, moved);
        let places = self.members.get_mut(&link);
        if let Some(place) = places.and_then(|places| places.iter_mut().find(|place| place.track as usize == slot)) {
            *place = Place { track: slot as u32, at: at as u32, single: true };
        }
    }

    /// The device cuts no sends: from now on each packet is one.
    fn break_up(&mut self) {
        if !self.whole {
            tracing::warn!(
                code = "node.offload",
                "the network device cannot cut bunches of packets (UDP_SEGMENT needs checksum offload): each packet \
                 is sent by itself, which costs more; ethtool -K DEVICE tx on"
            );
        }
        self.whole = true;
        self.counters.devices += 1;
        self.deadlines.clear();
        for (slot, track) in self.tracks.iter_mut().enumerate() {
            let Some(track) = track else { continue };
            track.break_up();
            if !track.ringed && !track.is_idle() {
                track.ringed = true;
                self.rings[track.class()].push_back(slot);
            }
        }
    }
}

const ORDERS: usize = 0;
const EMERGENCIES: usize = 1;
const SOUND: usize = 2;
const CLASSES: usize = 3;
/// The kernel takes no more a call (UIO_MAXIOV).
const BATCH: usize = 1_024;
/// Sends at one instant before children are heard again: about ten milliseconds.
const TURN: usize = 4 * BATCH;
/// What is left of a turn goes on after the others have had theirs.
const AT_ONCE: Duration = Duration::from_micros(1);
/// Packets per second from which sound is paced: below, a burst is over within 50 ms and fits any
/// queue on the way.
const PACED: u64 = 20_000;
/// A device's queue of 1,000 packets is empty by then at 1 Gb/s; and how often in a row until the
/// listener is left out.
const STARVED: Duration = Duration::from_millis(2);
const MOST_STARVED: u32 = 5;

#[cfg(test)]
#[path = "fanout/bunch_tests.rs"]
mod bunch_tests;
#[cfg(test)]
#[path = "fanout/tests.rs"]
mod tests;
