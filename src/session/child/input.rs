//! What a parent says, read: control messages, datagrams and media.
use super::{Child, Event, MAX_TRACKS, Via, Wish, hearing};
use crate::proto;
use crate::proto::datagram::Body;
use crate::proto::to_child;
use crate::session::Line;
use crate::session::repair::{ROUND_TRIP, Seeker};
use crate::session::wire::MOST_LACKING;
use crate::session::{Exchange, Violation, wire};
use crate::time::{Civil, Local};
use crate::track::{Header, MAX_PACKET};
use bytes::Bytes;

impl Child {
    pub(super) fn handle_control(&mut self, message: proto::ToChild) -> Result<(), Violation> {
        use to_child::Body::*;
        // A body of a later release: unknown fields are ignored.
        let Some(body) = message.body else { return Ok(()) };
        if !self.welcomed && !matches!(body, Welcome(_) | Goodbye(_)) {
            return Err(Violation::new("welcome.expected", "the first message of a parent must be Welcome or Goodbye"));
        }
        match body {
            Welcome(welcome) => return self.handle_welcome(welcome),
            Log(log) => return self.handle_log(log),
            Push(push) => {
                if push.orders.len() > ORDERS_PER_FRAME {
                    let text = format!("{} orders in one Push; at most {ORDERS_PER_FRAME}", push.orders.len());
                    return Err(Violation::new("control.malformed", text));
                }
                push.orders.into_iter().for_each(|order| self.event(Event::Order(order)));
                if push.last {
                    self.event(Event::OrdersDone);
                }
            }
            Key(key) => {
                let track = wire::read_id(&key.track, "Key.track")?;
                let secret = wire::read_secret(key.secret.as_ref(), "Key.secret")?;
                self.event(Event::Key { track, secret });
            }
            Listening(listening) => {
                let track = wire::read_id(&listening.track, "Listening.track")?;
                let next = wire::read_index(listening.next, "Listening.next")?;
                self.hears.together(listening.together);
                if let Some(seeker) = self.seeker(track) {
                    seeker.bunch(listening.together);
                    seeker.anchor(next);
                }
                self.event(Event::Listening { track, next, together: listening.together });
            }
            Unavailable(unavailable) => {
                let track = wire::read_id(&unavailable.track, "Unavailable.track")?;
                // A wish refused is no wish; one already granted stands, only a fetch was refused.
                if self.seeker(track).is_some_and(|seeker| !seeker.is_anchored()) {
                    self.forget(track);
                }
                let reason = wire::cut(&unavailable.reason, wire::MAX_TEXT).into();
                self.event(Event::Unavailable { track, reason });
            }
            Goodbye(goodbye) => {
                let (code, text) = wire::read_goodbye(&goodbye);
                self.event(Event::Goodbye { code, text });
            }
            Enrolled(enrolled) => {
                wire::check_chain(&enrolled.chain)?;
                let (code, text) =
                    (wire::cut(&enrolled.code, 64).into(), wire::cut(&enrolled.text, wire::MAX_TEXT).into());
                self.event(Event::Enrolled(proto::Enrolled { code, text, ..enrolled }));
            }
            Deliver(deliver) => {
                wire::check_grants(&deliver.grants)?;
                self.event(Event::Deliver(deliver));
            }
            Receipts(receipted) => {
                if receipted.lacking.len() > MOST_LACKING {
                    let text = format!("{} orders in one Receipted; at most {MOST_LACKING}", receipted.lacking.len());
                    return Err(Violation::new("control.malformed", text));
                }
                self.event(Event::Receipted(receipted));
            }
            Nonce(_) => {}
        }
        Ok(())
    }

    fn handle_welcome(&mut self, welcome: proto::Welcome) -> Result<(), Violation> {
        if self.welcomed {
            return Err(Violation::new("welcome.repeated", "a parent welcomes once"));
        }
        wire::check_version(welcome.version)?;
        wire::check_grants(&welcome.grants)?;
        let node = wire::read_id(&welcome.node, "Welcome.node")?;
        self.welcomed = true;
        wire::check_addresses(&welcome.parents)?;
        let (placement, grants, parents) = (welcome.placement, welcome.grants, welcome.parents);
        self.event(Event::Welcomed { node, placement, grants, parents });
        if let Some(group) = welcome.group {
            self.event(Event::Group(group));
        }
        welcome.logs.into_iter().try_for_each(|log| self.handle_log(log))
    }

    fn handle_log(&mut self, log: proto::Log) -> Result<(), Violation> {
        let track = wire::read_id(&log.track, "Log.track")?;
        if log.ended {
            self.forget(track);
            self.event(Event::LogEnded { track });
            return Ok(());
        }
        let secret = wire::read_secret(log.secret.as_ref(), "Log.secret")?;
        let next = wire::read_index(log.next, "Log.next")?;
        if self.seeker(track).is_some() {
            return Ok(());
        }
        if self.tracks.len() >= MAX_TRACKS {
            return Err(Violation::new("log.too_many", format!("more than {MAX_TRACKS} tracks with this log")));
        }
        let wish =
            Wish { track, ssrc: log.ssrc, duration: 0, from: next, useful: i64::MAX, packets: None, counted: false };
        let mut seeker = Seeker::new(wish);
        seeker.crowd(self.pulse.crowd());
        seeker.anchor(next);
        self.tracks.push(seeker);
        self.event(Event::Log { track, ssrc: log.ssrc, secret, next });
        Ok(())
    }

    pub(super) fn handle_datagram(&mut self, now: Local, bytes: Bytes) {
        let Some(body) = wire::read_datagram(bytes) else {
            self.counters.malformed += 1;
            return;
        };
        match body {
            Some(Body::Echo(echo)) => self.handle_echo(now, echo),
            Some(Body::Missing(missing)) => {
                let Ok(track) = wire::read_id(&missing.track, "Missing.track") else {
                    self.counters.malformed += 1;
                    return;
                };
                let round_trip = self.round_trip().unwrap_or(ROUND_TRIP);
                for (first, count) in wire::read_ranges(&missing.ranges) {
                    if let Some(seeker) = self.seeker(track) {
                        seeker.handle_missing(now, first, count, round_trip);
                        self.event(Event::Missing { track, first, count });
                    }
                }
            }
            Some(Body::Path(path)) => {
                self.datagram(wire::datagram(Body::PathEcho(path)));
            }
            // What only a child says, or a later release.
            Some(Body::Nack(_) | Body::Beat(_) | Body::PathEcho(_)) | None => self.counters.malformed += 1,
        }
    }

    fn handle_echo(&mut self, now: Local, echo: proto::Echo) {
        let Some(sent) = self.pulse.handle_echo(now, Local(echo.origin as i64)) else { return };
        self.pulse.handle_asked(now, echo.every);
        let crowd = self.pulse.crowd();
        self.tracks.iter_mut().for_each(|seeker| seeker.crowd(crowd));
        if !echo.synced {
            self.pulse.handle_unsynced(now);
        } else {
            let exchange = Exchange {
                sent,
                parent_received: Civil(echo.received),
                parent_sent: Civil(echo.sent),
                received: now,
                parent_uncertainty: echo.uncertainty,
            };
            self.event(Event::Exchange(exchange, Line { offset: echo.offset, skew: echo.skew }));
        }
    }

    pub(super) fn handle_media(&mut self, now: Local, bytes: Bytes, group: bool) {
        let Some(header) = Header::parse(&bytes).filter(|_| bytes.len() <= MAX_PACKET) else {
            self.counters.malformed += 1;
            return;
        };
        // SSRCs are random: of two tracks with the same one, verification tells which it is.
        let mut known = false;
        for at in 0..self.tracks.len() {
            let seeker = &self.tracks[at];
            if seeker.wish.ssrc == header.ssrc {
                known = true;
                match seeker.claim(header.sequence) {
                    Some(index) => {
                        let (track, bytes) = (seeker.wish.track, bytes.clone());
                        self.hears.offer(track, index, &bytes, group);
                        self.event(Event::Packet { track, index, bytes, via: Via::Live });
                    }
                    None if group => match self.hears.handle_copy(now, &bytes, seeker.wish.duration) {
                        Some(true) => self.departures.push_back(hearing(true)),
                        Some(false) => {}
                        None => self.counters.duplicate += 1,
                    },
                    None => self.counters.duplicate += 1,
                }
            }
        }
        self.counters.unknown_ssrc += !known as u64;
    }
}

/// Orders in one Push: a frame of 32 KiB has room for about 150 real ones.
const ORDERS_PER_FRAME: usize = 1_024;
