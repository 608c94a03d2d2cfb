//! Handshakes of children, a slice at a time: each costs the parent half a millisecond of signatures, and
//! a province that comes back must not keep the packets of those who stream waiting.
//!
//! ```text
//!  first packet ─▶ judged: refused, sent back to prove its address, or ─▶ waits ─▶ accepted ┐ together at
//!  second flight ────────────────────────────────────────────────────────▶ waits ─▶ checked ┘ most SLICE a turn
//! ```
use super::Driver;
use super::handshakes::{Handshakes, Verdict};
use crate::node::Link;
use quinn_proto::{ConnectionEvent, Incoming};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

#[derive(Default)]
pub struct Shaking {
    handshakes: Handshakes,
    /// First packets, in the order of their coming.
    strangers: VecDeque<(Instant, Incoming)>,
    /// Packets of handshakes under way.
    begun: VecDeque<(Instant, Link, ConnectionEvent, SocketAddr)>,
    /// Every stranger that waits lacks room, not time: until a handshake ends.
    blocked: bool,
    /// Nobody new is accepted now: see [`Driver::hold_strangers`].
    held: bool,
}

impl Shaking {
    pub fn open(&self) -> usize {
        self.handshakes.open()
    }

    pub fn queued(&self) -> usize {
        self.strangers.len()
    }

    pub fn end(&mut self, address: IpAddr) {
        self.handshakes.end(address);
        self.blocked = false;
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let stranger = self.strangers.front().map(|(at, _)| if self.blocked || self.held { *at + STALE } else { *at });
        self.begun.front().map(|(at, ..)| *at).into_iter().chain(stranger).min()
    }
}

impl Driver {
    /// While the node is behind with those who stream already, strangers wait; those who wait too long find another
    /// parent. Handshakes under way go on.
    pub fn hold_strangers(&mut self, hold: bool) {
        self.shaking.held = hold;
    }

    pub(super) fn receive_stranger(&mut self, now: Instant, incoming: Incoming) {
        let mut answer = Vec::new();
        if self.shunned.has(now, incoming.remote_address()) {
            self.counters.handshakes_shunned += 1;
            self.endpoint.ignore(incoming);
            return;
        }
        let address = incoming.remote_address().ip();
        let proven = incoming.remote_address_validated() || !incoming.may_retry();
        let verdict = match self.shaking.handshakes.judge(address, proven) {
            _ if self.links + self.shaking.open() >= self.most_links => Verdict::Refuse,
            verdict => verdict,
        };
        match verdict {
            Verdict::Wait => {
                self.shaking.handshakes.wait(address);
                self.shaking.strangers.push_back((now, incoming));
                self.shaking.blocked = false;
            }
            Verdict::Retry => {
                self.counters.retries += 1;
                if let Ok(transmit) = self.endpoint.retry(incoming, &mut answer) {
                    self.transmit(&answer, transmit.size, transmit.destination);
                }
            }
            Verdict::Refuse => {
                self.counters.handshakes_refused += 1;
                let transmit = self.endpoint.refuse(incoming, &mut answer);
                self.transmit(&answer, transmit.size, transmit.destination);
            }
        }
    }

    pub(super) fn defer(&mut self, now: Instant, link: Link, event: ConnectionEvent, source: SocketAddr) {
        if self.shaking.begun.len() >= BEGUN {
            // QUIC takes it for lost and sends again.
            self.counters.dropped_handshakes += 1;
            return;
        }
        self.shaking.begun.push_back((now, link, event, source));
    }

    /// As many steps as fit a slice, and one at least: those that began first.
    pub(super) fn shake(&mut self, now: Instant) {
        let began = Instant::now();
        while let Some((_, link, event, source)) = self.shaking.begun.pop_front() {
            if let Some(slot) = self.slot(link) {
                self.handle_connection_event(now, slot, event, source);
            }
            if began.elapsed() >= SLICE {
                return;
            }
        }
        // Whoever lacks room goes to the end: each is looked at once.
        for _ in 0..self.shaking.strangers.len() {
            let Some((came, incoming)) = self.shaking.strangers.pop_front() else { return };
            let address = incoming.remote_address().ip();
            if now.saturating_duration_since(came) >= STALE {
                self.shaking.handshakes.leave(address);
                self.counters.handshakes_stale += 1;
                self.endpoint.ignore(incoming);
                continue;
            }
            if self.shaking.held || self.shaking.handshakes.is_full() {
                self.shaking.strangers.push_front((came, incoming));
                break;
            }
            if !self.shaking.handshakes.has_room(address) {
                self.shaking.strangers.push_back((came, incoming));
                continue;
            }
            self.shaking.handshakes.leave(address);
            self.accept(now, incoming);
            if began.elapsed() >= SLICE {
                return;
            }
        }
        self.shaking.blocked = !self.shaking.held;
    }

    fn accept(&mut self, now: Instant, incoming: Incoming) {
        let mut answer = Vec::new();
        let source = incoming.remote_address();
        match self.endpoint.accept(incoming, now, &mut answer, None) {
            Ok((handle, connection)) => {
                self.shaking.handshakes.begin(source.ip());
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
}

/// Time for handshakes between two looks at the socket, the timers and the media that is due: short
/// against the 20 ms that separate the copies of a repair, long enough for four handshakes.
const SLICE: Duration = Duration::from_millis(2);
/// A child gives up after 5 s; it dials again, and shaking hands with whom it was is work for nobody.
const STALE: Duration = Duration::from_secs(4);
/// Packets of half-open handshakes: four each.
const BEGUN: usize = 1_024;
