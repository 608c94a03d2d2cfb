//! What a child says, read: control messages and datagrams.
use super::{Event, MAX_LISTENS, Parent, WISH_EVERY, WISHES};
use crate::proto;
use crate::proto::datagram::Body;
use crate::proto::to_parent;
use crate::session::Told;
use crate::session::child::REPORTS_PER_FRAME;
use crate::session::wire::MOST_RECEIPTS;
use crate::session::{Departure, Violation, wire};
use crate::time::Local;
use bytes::Bytes;

impl Parent {
    pub(super) fn handle_control(&mut self, now: Local, message: proto::ToParent) -> Result<(), Violation> {
        use to_parent::Body::*;
        // A body of a later release: unknown fields are ignored.
        let Some(body) = message.body else { return Ok(()) };
        if self.greeted == matches!(body, Hello(_)) && !matches!(body, Goodbye(_) | Enrol(_)) {
            return Err(match self.greeted {
                true => Violation::new("hello.repeated", "a child says Hello once"),
                false => Violation::new("hello.expected", "the first message of a child must be Hello"),
            });
        }
        match body {
            Hello(hello) => {
                wire::check_version(hello.version)?;
                wire::check_grants(&hello.grants)?;
                let node = wire::read_id(&hello.node, "Hello.node")?;
                (self.greeted, self.began, self.beat) = (true, now, now);
                self.events.push_back(Event::Hello { node, placement: hello.placement, grants: hello.grants });
            }
            Listen(listen) => {
                let track = wire::read_id(&listen.track, "Listen.track")?;
                let from = wire::read_index(listen.from, "Listen.from")?;
                if !self.may_wish(now) {
                    self.unavailable(track, TOO_OFTEN);
                    return Ok(());
                }
                let held = self.rations.iter().filter(|ration| !ration.left).count();
                if self.ration(track).is_none() && held >= MAX_LISTENS {
                    let text = format!("this session listens to {MAX_LISTENS} tracks already; unlisten one first");
                    self.unavailable(track, &text);
                    return Ok(());
                }
                self.events.push_back(Event::Listen { track, from });
            }
            Unlisten(unlisten) => {
                let track = wire::read_id(&unlisten.track, "Unlisten.track")?;
                self.events.push_back(Event::Unlisten { track });
            }
            Fetch(fetch) => {
                let track = wire::read_id(&fetch.track, "Fetch.track")?;
                let from = wire::read_index(fetch.from, "Fetch.from")?;
                let until = wire::read_index(fetch.until, "Fetch.until")?;
                if !self.may_wish(now) {
                    self.unavailable(track, TOO_OFTEN);
                    return Ok(());
                }
                self.events.push_back(Event::Fetch { track, from, until });
            }
            Health(health) => {
                if health.reports.len() > REPORTS_PER_FRAME {
                    let text = format!("{} reports in one Health; at most 64", health.reports.len());
                    return Err(Violation::new("control.malformed", text));
                }
                let mut reports = health.reports;
                let mut heard = 0;
                for _ in 0..reports.len() {
                    heard += usize::from(self.reports.handle(now)?);
                }
                self.counters.flooded += (reports.len() - heard) as u64;
                reports.truncate(heard);
                self.events.push_back(Event::Health(reports));
            }
            Goodbye(goodbye) => {
                let (code, text) = wire::read_goodbye(&goodbye);
                self.events.push_back(Event::Goodbye { code, text });
            }
            Hearing(hearing) => self.events.push_back(Event::Hearing { group: hearing.group }),
            Standby(word) => self.events.push_back(Event::Standby { standby: word.standby }),
            Enrol(enrol) => {
                wire::check_grants(&enrol.grants)?;
                wire::check_chain(&enrol.chain)?;
                if !self.greeted {
                    // In Hello's place: the answer may come from the country's other end.
                    (self.greeted, self.began, self.beat) = (true, now, now);
                }
                self.events.push_back(Event::Enrol(Box::new(enrol)));
            }
            Receipts(receipts) => {
                if receipts.own.len() > MOST_RECEIPTS || receipts.sums.len() > MOST_RECEIPTS {
                    let (own, sums) = (receipts.own.len(), receipts.sums.len());
                    let text =
                        format!("{own} receipts and {sums} sums in one message; at most {MOST_RECEIPTS} of each");
                    return Err(Violation::new("control.malformed", text));
                }
                self.events.push_back(Event::Receipts(Box::new(receipts)));
            }
            Nonce(_) => {}
        }
        Ok(())
    }

    pub(super) fn handle_datagram(&mut self, now: Local, phase: Option<Told>, bytes: Bytes) -> Result<(), Violation> {
        let Some(body) = wire::read_datagram(bytes) else {
            self.counters.malformed += 1;
            return Ok(());
        };
        match body {
            Some(Body::Beat(beat)) if self.beats.handle(now)? => self.handle_beat(now, phase, beat),
            Some(Body::Beat(_)) => self.counters.flooded += 1,
            Some(Body::Nack(nack)) => return self.handle_nack(now, &nack),
            Some(Body::PathEcho(path)) => self.events.push_back(Event::PathEchoed { nonce: path.nonce }),
            // What only a parent says, or a later release.
            Some(Body::Missing(_) | Body::Echo(_) | Body::Path(_)) | None => self.counters.malformed += 1,
        }
        Ok(())
    }

    fn handle_beat(&mut self, now: Local, phase: Option<Told>, beat: proto::Beat) {
        self.beat = now;
        if std::mem::take(&mut self.broken) {
            self.events.push_back(Event::Breaker { open: false });
        }
        self.rations.iter_mut().for_each(|ration| ration.forget_old(now));
        self.rations.retain_mut(|ration| !ration.left || !ration.is_full(now));
        let told = phase.unwrap_or_default();
        let echo = proto::Echo {
            origin: beat.sent,
            received: told.civil.0,
            sent: told.civil.0,
            uncertainty: told.uncertainty,
            synced: phase.is_some(),
            offset: told.line.offset,
            skew: told.line.skew,
            every: u64::from(self.asked),
        };
        self.told_before = std::mem::replace(&mut self.told, self.asked);
        self.departures.push_back(Departure::Datagram(wire::datagram(Body::Echo(echo))));
        if let Some(report) = beat.report {
            self.events.push_back(Event::Report(report));
        }
    }

    fn handle_nack(&mut self, now: Local, nack: &proto::Nack) -> Result<(), Violation> {
        let Ok(track) = wire::read_id(&nack.track, "Nack.track") else {
            self.counters.malformed += 1;
            return Ok(());
        };
        let Some(at) = self.rations.iter().position(|ration| ration.track == track && !ration.left) else {
            self.counters.unknown_track += 1;
            return Ok(());
        };
        let indices = wire::read_ranges(&nack.ranges).flat_map(|(first, count)| first..first + count);
        for index in indices.take(INDICES_PER_NACK) {
            if !self.rations[at].is_new(now, index, nack.round) {
                if !self.repeats.handle(now)? {
                    self.counters.flooded += 1;
                    break;
                }
                continue;
            }
            if self.indices.handle(now)? {
                self.counters.nacked += 1;
                self.events.push_back(Event::Nack { track, index });
            } else {
                self.counters.flooded += 1;
            }
        }
        Ok(())
    }

    /// Whether one more Listen or Fetch is heard.
    fn may_wish(&mut self, now: Local) -> bool {
        let (left, since) = &mut self.wishes;
        let more = (now - *since).max(0) / WISH_EVERY;
        *left = left.saturating_add(u32::try_from(more).unwrap_or(WISHES)).min(WISHES);
        *since += more.saturating_mul(WISH_EVERY);
        let may = *left > 0;
        *left = left.saturating_sub(1);
        self.counters.wishes += u64::from(!may);
        may
    }
}

const TOO_OFTEN: &str = "too many Listen and Fetch; ask again in a second";
/// Read of one NACK: a range may claim 2^48 indices. A child asks for at most 59 in a datagram.
const INDICES_PER_NACK: usize = 512;
