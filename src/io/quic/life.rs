//! What becomes of a link between its handshake and its end.
use super::crypto;
use super::link::Line;
use super::link::SLOW;
use super::transport;
use super::window;
use super::{Driver, Event, SLOT_BITS};
use crate::node::Link;
use crate::session::Violation;
use bytes::Bytes;
use quinn_proto as quic;
use quinn_proto::{ConnectionEvent, ConnectionHandle, StreamEvent, VarInt};
use std::net::SocketAddr;
use std::time::Instant;

impl Driver {
    pub(super) fn handle_connection_event(
        &mut self,
        now: Instant,
        slot: usize,
        event: ConnectionEvent,
        source: SocketAddr,
    ) {
        let Some(line) = self.line(slot) else { return };
        line.connection.handle_event(event);
        self.absorb(now, slot, Some(source));
        self.touch(slot);
    }

    pub(super) fn insert(
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
            *place = Some(Box::new(Line::new(link, connection, now, shaking, self.ledger.open())));
        }
        self.touch(slot);
        link
    }

    /// Takes in what a connection has learnt. `source`: of the UDP datagram just handled.
    pub(super) fn absorb(&mut self, now: Instant, slot: usize, source: Option<SocketAddr>) {
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
                match crypto::peer(&line.connection) {
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
    pub(super) fn pump(&mut self, now: Instant, slot: usize, buffer: &mut Vec<u8>) {
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

    /// Cuts the links that hold most until all together hold what they may.
    pub(super) fn relieve(&mut self, now: Instant) {
        while self.ledger.held() > MOST_HELD {
            let up = self.lines.iter().enumerate().filter_map(|(slot, line)| Some((slot, line.as_ref()?)));
            let worst = up.filter(|(_, line)| !line.down).max_by_key(|(_, line)| line.held());
            let Some((slot, held)) = worst.map(|(slot, line)| (slot, line.held())) else { return };
            let text = format!("{held} bytes wait for this side, more than for any other; read and acknowledge");
            self.violate(now, slot, &Violation { code: SLOW, text });
        }
    }

    /// The peer broke the protocol, or a bound of its own.
    pub(super) fn violate(&mut self, now: Instant, slot: usize, violation: &Violation) {
        self.counters.violations += 1;
        *match violation.code {
            SLOW => &mut self.counters.cut_slow,
            _ => &mut self.counters.cut_protocol,
        } += 1;
        if let Some(line) = self.line(slot) {
            tracing::warn!(
                code = violation.code,
                peer = %line.connection.remote_address(),
                node = ?line.peer.map(|peer| peer.node),
                "closing a link: {violation}"
            );
        }
        self.hang_up(now, slot, violation.code, &violation.text, 1);
    }

    pub(super) fn lose(&mut self, now: Instant, slot: usize, reason: &str) {
        self.hang_up(now, slot, "link.handshake", reason, 1);
    }

    fn hang_up(&mut self, now: Instant, slot: usize, code: &str, text: &str, number: u32) {
        let Some(line) = self.line(slot) else { return };
        let reason = format!("{code}: {text}");
        let cut = reason.floor_char_boundary(LONGEST_REASON.min(reason.len()));
        let bytes = Bytes::copy_from_slice(reason.get(..cut).unwrap_or_default().as_bytes());
        window::open(&line.connection);
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
        line.let_go();
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
            self.shaking.end(source.ip());
        }
    }

    fn remove(&mut self, slot: usize) {
        if let Some(line) = self.lines.get_mut(slot).and_then(Option::take)
            && let Some(at) = line.timer
        {
            self.timers.remove(&(at, slot));
        }
    }
}

/// Of the reason in CONNECTION_CLOSE, so that it fits one packet beside its header.
const LONGEST_REASON: usize = 200;
/// Bytes that all links of a socket may hold for peers that have not acknowledged them: a join of each of
/// 1,000 speakers with 100 orders, or 2.5 KiB for each of 50,000.
#[cfg(not(test))]
const MOST_HELD: usize = 128 << 20;
/// Two links' worth, so that a test reaches it.
#[cfg(test)]
const MOST_HELD: usize = 12 << 20;
