//! What is under way of one track, and to whom.
use super::super::socket::Socket;
use super::forming::{Forming, Parts};
use super::lane::{Flow, Lane, Moved, Unreachable};
use super::pace::{LEAST, REST};
use super::{Counters, EMERGENCIES, ORDERS, SOUND};
use crate::node::Link;
use std::collections::VecDeque;
use std::time::Duration;

pub(super) struct Track {
    /// Of a packet; zero is an order's.
    pub duration: Duration,
    /// Goes before other sound.
    pub urgent: bool,
    pub forming: Forming,
    /// Stands in a ring.
    pub ringed: bool,
    /// Those that a bunch reaches in one send, and those for whom each packet is one.
    bunched: Lane,
    single: Lane,
    /// Bunches under way. The first is served in passes: of all its packets to `bunched`, then of each
    /// of them to `single`.
    queue: VecDeque<Parts>,
    pass: usize,
}

impl Track {
    pub fn new() -> Self {
        Self {
            duration: Duration::ZERO,
            urgent: false,
            forming: Forming::new(),
            ringed: false,
            bunched: Lane::new(),
            single: Lane::new(),
            queue: VecDeque::new(),
            pass: 0,
        }
    }

    pub fn class(&self) -> usize {
        match (self.duration.is_zero(), self.urgent) {
            (true, _) => ORDERS,
            (false, true) => EMERGENCIES,
            (false, false) => SOUND,
        }
    }

    pub fn lane(&mut self, single: bool) -> &mut Lane {
        if single { &mut self.single } else { &mut self.bunched }
    }

    pub fn links(&self) -> impl Iterator<Item = Link> {
        self.bunched.links.iter().chain(&self.single.links).copied()
    }

    pub fn listeners(&self) -> usize {
        self.bunched.len() + self.single.len()
    }

    /// Millionths of packets a second that one listener gets.
    pub fn share(&self) -> u64 {
        1_000_000_000_000u64.checked_div(self.duration.as_micros() as u64).unwrap_or(0)
    }

    /// … and all.
    pub fn load(&self) -> u64 {
        self.share() * self.listeners() as u64
    }

    /// Sends that so many packets in one bunch take.
    pub fn sends(&self, packets: usize) -> usize {
        self.bunched.len() + self.single.len() * packets
    }

    /// Sends in a turn while other tracks wait: what its own pace would be.
    pub fn quantum(&self) -> usize {
        let sends = self.queue.front().map_or(0, |parts| self.sends(parts.len())) as u128;
        let share = sends * REST.as_micros() / (self.duration.as_micros() / 2).max(1);
        (share as usize).max(LEAST)
    }

    /// Lets the headers hold as many packets as a bunch may have now.
    pub fn widen(&mut self) {
        let waiting = self.queue.iter().map(Vec::len).max().unwrap_or(1);
        self.bunched.widen(self.forming.together().max(waiting));
    }

    /// Returns how many packets to how many listeners this has overtaken.
    pub fn enqueue(&mut self, bunch: Parts) -> u64 {
        let most = match self.class() {
            ORDERS => MOST_ORDERS,
            _ => MOST_SOUND.max(2 * self.forming.together()),
        };
        let mut waiting: usize = self.queue.iter().map(Vec::len).sum();
        let mut dropped = 0;
        while waiting + bunch.len() > most
            && let Some(first) = self.queue.front()
        {
            waiting -= first.len();
            dropped += self.left_of_first();
            self.finish();
        }
        if bunch.len() > self.bunched.width() {
            self.bunched.widen(bunch.len());
        }
        self.queue.push_back(bunch);
        dropped
    }

    pub fn is_behind(&self) -> bool {
        self.queue.len() > 1
    }

    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Sends what is under way, at most so many sends.
    pub fn send(&mut self, socket: &Socket, most: usize, counters: &mut Counters) -> (usize, Flow) {
        let mut sent = 0;
        while let Some(parts) = self.queue.front() {
            let (lane, packets) = match self.pass {
                0 => (&mut self.bunched, parts.as_slice()),
                // The bunched lane has had all of them.
                pass => (&mut self.single, parts.get(pass - 1..pass).unwrap_or_default()),
            };
            if packets.is_empty() || (self.pass > 0 && lane.len() == 0) {
                self.finish();
                continue;
            }
            let (done, flow) = lane.send(socket, packets, most - sent, counters);
            sent += done;
            if lane.left() == 0 {
                lane.next = 0;
                self.pass += 1;
                if self.pass > parts.len() || self.single.len() == 0 {
                    self.finish();
                }
            }
            if flow != Flow::Went || sent >= most {
                return (sent, flow);
            }
        }
        (sent, Flow::Went)
    }

    /// Leaves out the next listener.
    pub fn skip(&mut self, reason: Unreachable, counters: &mut Counters) {
        let Some(parts) = self.queue.front() else { return };
        match self.pass {
            0 => self.bunched.skip(reason, parts.len(), counters),
            _ => self.single.skip(reason, 1, counters),
        }
    }

    /// Moves the next listener to the lane of single packets, which this bunch has not come to yet.
    /// Returns who it is, where it stands, and who has filled its place.
    pub fn single_out(&mut self) -> Option<(Link, usize, Moved)> {
        let place = self.bunched.next;
        let (link, name) = self.bunched.name(place)?;
        let moved = self.bunched.remove(place);
        self.single.push(link, name);
        Some((link, self.single.len() - 1, moved))
    }

    /// No bunches any more. Who has had the first one in one piece may get it again, which harms
    /// nobody; what is held back leaves.
    pub fn break_up(&mut self) {
        self.bunched.next = 0;
        self.single.next = 0;
        self.pass = 0;
        let held = self.forming.set_together(1);
        let parts = std::mem::take(&mut self.queue).into_iter().chain(held).flatten();
        self.queue = parts.map(|part| vec![part]).collect();
        self.widen();
    }

    /// Packets that were not sent yet, each for each listener.
    pub fn left(&self) -> u64 {
        let later: usize = self.queue.iter().skip(1).map(|parts| parts.len() * self.listeners()).sum();
        self.left_of_first() + later as u64
    }

    fn left_of_first(&self) -> u64 {
        let Some(parts) = self.queue.front() else { return 0 };
        let left = match self.pass {
            0 => (self.bunched.left() + self.single.len()) * parts.len(),
            pass => self.single.left() + self.single.len() * parts.len().saturating_sub(pass),
        };
        left as u64
    }

    fn finish(&mut self) {
        self.queue.pop_front();
        (self.pass, self.bunched.next, self.single.next) = (0, 0, 0);
    }
}

/// Packets of sound that may wait per track; where they leave together, two bunches (a torn one comes in pieces). A
/// shard that stood still for most of a second still sends what is of use at the default playout delay: to drop it
/// would make every listener ask for it.
const MOST_SOUND: usize = 4;
/// Orders that may wait per log; what is dropped beyond is repaired by index.
const MOST_ORDERS: usize = 256;
