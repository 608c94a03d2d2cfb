//! One virtual speaker: its own socket, key and certificate, a real QUIC session, and the child's half of the
//! protocol as a node runs it. Sound it takes in and does not play.
//!
//! What comes as media is read and judged by the worker ([`crate::worker`]) without a look at anything here; this
//! half is touched by QUIC, timers, orders, and where a packet is missing.
mod listening;

pub use listening::Before;

use crate::ear::Ear;
use crate::hostile::Mischief;
use crate::plan::{Cohort, Kind};
use crate::sockets;
use crate::world::World;
use bytes::Bytes;
use listening::ASK_AGAIN;
use loa::broadcast::receipt::State;
use loa::broadcast::{Area, Order, Placement};
use loa::io::clock::{self, Now};
use loa::io::identity::{Mint, Root};
use loa::io::quic::{self, Driver};
use loa::io::socket::Socket;
use loa::io::tls;
use loa::node::Link;
use loa::proto;
use loa::session::child::{self, Event, Me};
use loa::session::{Arrival, Child, Exchange};
use loa::time::{Civil, Local, MILLISECOND, SECOND};
use smallvec::SmallVec;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;
use std::sync::Arc;
use uuid::Uuid;

/// What is looked at for every packet.
pub struct Hot {
    pub socket: RawFd,
    /// Mostly one: in place, since the next line of memory costs as much as all else that is done with a packet.
    pub ears: SmallVec<[Ear; 1]>,
    /// µs Unix UTC, of the last packet of sound.
    pub last: i64,
    /// Checks every seal itself.
    pub itself: bool,
    /// The newest packet of a log that it has read, by SSRC and sequence: what is urgent comes three times.
    pub read: Option<(u32, u16)>,
    pub cohort: Cohort,
    /// Any packet of sound has come.
    pub sounded: bool,
    /// µs Unix UTC: nothing can be overdue before. 0: must be looked at.
    pub quiet_until: i64,
    /// When the worker looks at this speaker next, as it stands among its timers.
    pub wake: Option<Local>,
}

pub struct Speaker {
    pub number: u32,
    area: Area,
    me: Me,
    pub driver: Driver,
    parent: SocketAddr,
    pub link: Option<Link>,
    pub session: Option<Child>,
    pub joined: bool,
    /// When it first dialled; `None` before.
    pub began: Option<Local>,
    welcomed: bool,
    attempts: u32,
    redial_at: Option<Local>,
    /// Tracks of orders that have reached this speaker, in the worker's table, and those whose key has.
    wanted: Vec<usize>,
    keys: Vec<Uuid>,
    listen_at: Option<Local>,
    /// Orders that silence what is not an emergency: from when on it is left, and when it sounds again; and when it did
    /// after the last that is over.
    silent: Vec<(Uuid, Civil, Civil)>,
    sounds_from: Civil,
    /// Emergencies and hushes that it has heard of.
    pub heard: Vec<Uuid>,
    /// Of the exchange with the shortest way: that way, and civil − local.
    clock: Option<(i64, i64)>,
    report_at: Local,
    nacks: u64,
    /// Receipts, and when they go up: as a real one's, each speaker's at an instant of its own.
    owed: Vec<(Local, proto::Receipt)>,
    batch: u64,
    /// Of the newest emergency.
    first: Option<(Uuid, i64)>,
    pub mischief: Option<Mischief>,
}

/// What speakers are made with.
pub struct Maker {
    root: Root,
    mint: Mint,
    template: Option<Arc<rustls::ClientConfig>>,
}

impl Maker {
    pub fn new(root: Root) -> Result<Self, String> {
        Ok(Self { mint: root.mint()?, root, template: None })
    }

    /// Bound and ready to dial.
    pub fn make(&mut self, world: &World, number: u32, cohort: Cohort) -> Result<(Hot, Speaker), String> {
        let places = &world.plan.places;
        let place = &places[(number / world.plan.together.max(1)) as usize % places.len().max(1)];
        let identity = self.mint.speaker()?;
        let tls = match &self.template {
            Some(template) => tls::client_as(template, &identity),
            None => tls::client(&identity),
        };
        let tls = tls.map_err(|error| error.to_string())?;
        let area: Area = place.area.parse().map_err(|_| format!("{} is no area", place.area))?;
        let node = identity.node;
        let placement = Placement { node, area: area.clone(), name: format!("speaker {number}"), parents: Vec::new() };
        let placement = Some(self.root.placement(placement, clock::wall()));
        let shard = loa::io::shard_of(node, place.addresses.len() as u16);
        let parent = *place.addresses.get(usize::from(shard)).ok_or("a place without addresses")?;
        let socket = Socket::bind(source(parent.ip(), number), world.plan.receive_buffer)
            .map_err(|error| format!("socket {number}: {error}"))?;
        let descriptor = socket.descriptor();
        sockets::set_gro(descriptor, world.plan.gro);
        sockets::connect(descriptor, parent).map_err(|error| format!("{parent}: {error}"))?;
        let options = quic::Options { client: Some(tls.clone()), server: None, most_links: 0 };
        let driver = Driver::new(Arc::new(socket), options).map_err(|error| error.to_string())?;
        self.template.get_or_insert(tls);
        let checked = world.plan.checked;
        let hot = Hot {
            socket: descriptor,
            ears: SmallVec::new(),
            last: 0,
            itself: checked > 0 && number.is_multiple_of(checked),
            read: None,
            cohort,
            sounded: false,
            quiet_until: 0,
            wake: None,
        };
        let speaker = Speaker {
            number,
            area,
            me: Me { node, placement, grants: Vec::new() },
            driver,
            parent,
            link: None,
            session: None,
            joined: false,
            began: None,
            welcomed: false,
            attempts: 0,
            redial_at: None,
            wanted: Vec::new(),
            keys: Vec::new(),
            listen_at: None,
            silent: Vec::new(),
            sounds_from: Civil(0),
            heard: Vec::new(),
            clock: None,
            report_at: Local(0),
            nacks: 0,
            owed: Vec::new(),
            batch: 0,
            first: None,
            mischief: None,
        };
        Ok((hot, speaker))
    }
}

impl Speaker {
    pub fn dial(&mut self, now: Now, world: &mut World) {
        self.began.get_or_insert(now.local);
        self.redial_at = None;
        match self.driver.dial(now.instant, self.parent) {
            Ok(link) => self.link = Some(link),
            Err(error) => self.end(now, world, &format!("dial: {error}")),
        }
    }

    /// A datagram that is not sound of a known track.
    pub fn handle_datagram(&mut self, now: Now, bytes: &[u8]) {
        if self.kind() != Some(Kind::Deaf) {
            self.driver.handle_datagram(now.instant, self.parent, bytes);
        }
    }

    /// A packet of a log, for the session alone: one goes to every speaker in the same instant. Returns when `turn` is
    /// to be called.
    pub fn handle_log(&mut self, now: Now, hot: &mut Hot, world: &mut World, bytes: &[u8]) -> Option<Local> {
        if self.kind() == Some(Kind::Deaf) {
            return None;
        }
        let arrival = Arrival::Media(Bytes::copy_from_slice(bytes));
        // Nothing in media ends a session.
        let _ = self.session.as_mut()?.handle_arrival(now.local, arrival);
        if self.drain(now, hot, world) {
            return Some(now.local);
        }
        let session = self.session.as_ref().and_then(Child::poll_timeout).map(|(at, _)| at);
        let receipts = self.owed.iter().map(|(at, _)| *at).min();
        [session, self.listen_at, receipts].into_iter().flatten().min()
    }

    pub fn parent(&self) -> SocketAddr {
        self.parent
    }

    /// Everything but media: QUIC, the session, timers. Returns when to be called again.
    pub fn turn(&mut self, now: Now, hot: &mut Hot, world: &mut World) -> Option<Local> {
        self.driver.handle_timeout(now.instant);
        while let Some(event) = self.driver.poll_event() {
            self.handle_event(now, hot, world, event);
        }
        if self.redial_at.is_some_and(|at| at <= now.local) {
            self.dial(now, world);
        }
        self.catch_up(now, hot, world);
        if let Some(session) = &mut self.session {
            if session.poll_timeout().is_some_and(|(at, _)| at <= now.local) {
                if self.joined && self.report_at <= now.local {
                    self.report_at = now.local + REPORT;
                    let report = self.report(hot, now);
                    if let Some(session) = &mut self.session {
                        session.report(now.local, report, false);
                    }
                }
                if let Some(session) = &mut self.session {
                    session.handle_timeout(now.local);
                }
            }
            self.drain(now, hot, world);
        }
        if self.listen_at.is_some_and(|at| at <= now.local) {
            self.listen(now, hot, world);
            self.drain(now, hot, world);
        }
        self.misbehave(now, hot, world);
        self.send_receipts(now);
        self.drain(now, hot, world);
        self.driver.flush(now.instant);
        while let Some(event) = self.driver.poll_event() {
            self.handle_event(now, hot, world, event);
            self.driver.flush(now.instant);
        }
        let session = self.session.as_ref().and_then(Child::poll_timeout).map(|(at, _)| at);
        let quic = self.driver.poll_timeout().map(|at| now.local_at(at));
        let mischief = self.mischief.as_ref().and_then(Mischief::poll_timeout);
        let receipts = self.owed.iter().map(|(at, _)| *at).min().filter(|_| self.joined);
        [session, quic, self.redial_at, self.listen_at, mischief, receipts].into_iter().flatten().min()
    }

    /// Lets the session go without a word and dials again after a moment, or at once.
    pub fn forget(&mut self, now: Now, hot: &mut Hot, world: &mut World) {
        self.end(now, world, "dropped by the profile");
        self.leave(hot);
        self.redial_at = Some(now.local);
        self.attempts = 0;
    }

    pub fn goodbye(&mut self, now: Now) {
        if let (Some(session), Some(link)) = (&mut self.session, self.link) {
            session.goodbye("node.stopping", "this speaker is stopping");
            while let Some(departure) = session.poll_departure() {
                self.driver.send(now.instant, link, departure);
            }
            self.driver.close(now.instant, link, "node.stopping", "this speaker is stopping");
        }
        (self.session, self.redial_at, self.joined) = (None, None, false);
        self.driver.flush(now.instant);
    }

    fn handle_event(&mut self, now: Now, hot: &mut Hot, world: &mut World, event: quic::Event) {
        match event {
            quic::Event::Up { link, .. } if self.link == Some(link) => {
                self.session = Some(Child::new(now.local, child::Options::default(), self.me.clone()));
                self.nacks = 0;
                self.leave(hot);
                self.drain(now, hot, world);
            }
            quic::Event::Down { link, reason } if self.link == Some(link) => {
                self.end(now, world, short(&reason));
                self.leave(hot);
            }
            quic::Event::Arrival { link, arrival } if self.link == Some(link) => {
                let Some(session) = &mut self.session else { return };
                if let Err(violation) = session.handle_arrival(now.local, arrival) {
                    self.driver.close(now.instant, link, violation.code, &violation.text);
                    self.end(now, world, violation.code);
                    self.leave(hot);
                    return;
                }
                self.drain(now, hot, world);
            }
            quic::Event::Down { reason, .. } if self.kind() == Some(Kind::Hydra) => {
                world.cut(Kind::Hydra, short(&reason));
            }
            // Of links that are forgotten.
            _ => {}
        }
    }

    /// True if anything is to be sent.
    fn drain(&mut self, now: Now, hot: &mut Hot, world: &mut World) -> bool {
        while let Some(event) = self.session.as_mut().and_then(Child::poll_event) {
            match event {
                Event::Welcomed { grants, .. } => grants.iter().for_each(|grant| {
                    world.orders.read_pushed(grant);
                }),
                Event::Log { track, ssrc, secret, .. } => world.orders.log(track, ssrc, &secret),
                Event::Order(signed) => {
                    if let Some(heard) = world.orders.read_pushed(&signed) {
                        self.handle_order(now, world, &heard.order, &[]);
                    }
                }
                Event::OrdersDone => self.handle_joined(now, hot, world),
                Event::Key { track, secret } => {
                    world.key(track, &secret);
                    if !self.keys.contains(&track) {
                        self.keys.push(track);
                    }
                    self.listen_at = Some(now.local);
                }
                Event::Listening { track, next, together } => {
                    if let Some(ear) =
                        hot.ears.iter_mut().find(|ear| !ear.closed && world.tracks[ear.track].info.id == track)
                    {
                        world.tracks[ear.track].bunch(together);
                        ear.begin(next);
                        hot.quiet_until = 0;
                    }
                }
                Event::Unavailable { track, .. } => {
                    if let Some(ear) =
                        hot.ears.iter_mut().find(|ear| !ear.closed && world.tracks[ear.track].info.id == track)
                    {
                        ear.asked = false;
                    }
                    self.listen_at = Some(now.local + ASK_AGAIN);
                }
                Event::Packet { track, index, bytes, via } => {
                    self.handle_packet(now, hot, world, track, index, &bytes, via)
                }
                Event::Exchange(exchange, _) => self.handle_exchange(exchange),
                Event::Silent => {
                    self.hang_up(now, hot, world, "session.silent");
                    return true;
                }
                Event::Goodbye { code, .. } => {
                    self.hang_up(now, hot, world, &code);
                    return true;
                }
                // Everybody here takes sound by unicast: that is what is measured.
                Event::Group(_)
                | Event::LogEnded { .. }
                | Event::Missing { .. }
                | Event::Gap { .. }
                | Event::Fetched { .. }
                | Event::Enrolled(_)
                | Event::Deliver(_)
                | Event::Receipted(_) => {}
            }
        }
        let Some(link) = self.link else { return false };
        let mut sent = false;
        while let Some(departure) = self.session.as_mut().and_then(Child::poll_departure) {
            self.driver.send(now.instant, link, departure);
            sent = true;
        }
        sent
    }

    fn handle_joined(&mut self, now: Now, hot: &mut Hot, world: &mut World) {
        if self.joined {
            return;
        }
        self.joined = true;
        self.attempts = 0;
        if !self.welcomed {
            self.welcomed = true;
            world.report.welcomed.add(now.local - self.began.unwrap_or(now.local));
        }
        let report = self.report(hot, now);
        if let Some(session) = &mut self.session {
            session.report(now.local, report, true);
        }
        self.report_at = now.local + REPORT;
        self.listen_at = Some(now.local);
    }

    /// How far this speaker's clock, as its parent has taught it, is ahead of the machine's, µs.
    fn error(&self, now: Now) -> i64 {
        self.clock.map_or(0, |(_, offset)| now.local.0 + offset - clock::wall().0)
    }

    fn handle_exchange(&mut self, exchange: Exchange) {
        let way = (exchange.received - exchange.sent) - (exchange.parent_sent - exchange.parent_received);
        let there = exchange.parent_received.0 - exchange.sent.0;
        let back = exchange.parent_sent.0 - exchange.received.0;
        if self.clock.is_none_or(|(best, _)| way <= best) {
            self.clock = Some((way, (there + back) / 2));
        }
    }

    fn hang_up(&mut self, now: Now, hot: &mut Hot, world: &mut World, reason: &str) {
        if let Some(link) = self.link {
            self.driver.close(now.instant, link, "session.over", reason);
        }
        self.end(now, world, reason);
        self.leave(hot);
    }

    /// The session is over: dials again, as late as a node would.
    fn end(&mut self, now: Now, world: &mut World, reason: &str) {
        match self.kind() {
            Some(kind) => world.cut(kind, reason),
            None => *world.report.ended.entry(reason.to_owned()).or_default() += 1,
        }
        (self.session, self.link, self.joined) = (None, None, false);
        let base = (DIAL_FIRST << self.attempts.min(DIAL_DOUBLINGS)).min(DIAL_LONGEST);
        self.attempts += 1;
        self.redial_at = Some(now.local + base / 2 + world.jitter(base));
    }

    /// It will say that it sounds this, or has taken this silence.
    fn owe(&mut self, now: Now, order: &Order, hush: bool) {
        let civil = clock::wall().0 + self.error(now);
        let receipt = proto::Receipt {
            order: Bytes::copy_from_slice(order.id.as_bytes()),
            revision: 2,
            state: if hush { State::Received } else { State::Playing } as u32,
            received: civil,
            from: self.first.filter(|(broadcast, _)| *broadcast == order.id).map_or(0, |(_, at)| at),
            closed: hush,
            ..Default::default()
        };
        // Once the sound has begun, within the time that a receipt may take.
        let begins = (receipt.from - civil).clamp(0, SECOND);
        let crowded = self.session.as_ref().is_some_and(|session| session.is_crowded());
        let within = if crowded { SENT_IN_A_CROWD } else { SENT };
        let own = i64::try_from(self.me.node.as_u128() % (within as u128)).unwrap_or(0);
        self.owed.push((now.local + begins + own, receipt));
    }

    fn send_receipts(&mut self, now: Now) {
        let Some(session) = self.session.as_mut().filter(|_| self.joined) else { return };
        let due: Vec<_> = self.owed.extract_if(.., |(at, _)| *at <= now.local).map(|(_, receipt)| receipt).collect();
        if !due.is_empty() {
            self.batch += 1;
            session.receipts(proto::Receipts { batch: self.batch, own: due, sums: Vec::new() });
        }
    }

    /// What it says of itself in its beats: what a real one says, made up where it has no device.
    fn report(&self, hot: &Hot, now: Now) -> proto::Report {
        let received = hot.ears.iter().map(|ear| ear.tally(u64::MAX >> 1).1).sum();
        let sounding = hot.ears.iter().any(|ear| ear.heard && !ear.closed);
        let id = |uuid: Uuid| bytes::Bytes::copy_from_slice(uuid.as_bytes());
        proto::Report {
            node: id(self.me.node),
            area: self.area.to_string(),
            name: format!("speaker {}", self.number),
            state: if sounding { "sounding" } else { "idle" }.into(),
            received,
            first: self.first.map(|(broadcast, _)| id(broadcast)).unwrap_or_default(),
            first_at: self.first.map_or(0, |(_, at)| at),
            role: "speaker".into(),
            at: clock::wall().0 + self.error(now),
            ..proto::Report::default()
        }
    }
}

/// Many addresses on this machine, since a parent bounds handshakes by address, and ports are 28,000 on each; where
/// the parent is elsewhere, whatever address leads there.
fn source(parent: IpAddr, number: u32) -> SocketAddr {
    match parent {
        IpAddr::V4(four) if four.is_loopback() => {
            let [third, fourth] = [1 + number % 4, 1 + number / 4 % 250].map(|part| part as u8);
            ([127, 0, third, fourth], 0).into()
        }
        IpAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        IpAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// The code of a reason, or what it begins with: a count by whole texts would have one for each speaker.
fn short(reason: &str) -> &str {
    let end = reason.find([':', ';', '(']).unwrap_or(reason.len()).min(60);
    reason.get(..end).unwrap_or(reason)
}

/// As a node waits before it dials again.
const DIAL_FIRST: i64 = 200 * MILLISECOND;
const DIAL_DOUBLINGS: u32 = 5;
const DIAL_LONGEST: i64 = 5 * SECOND;
/// A node's receipts go up within this.
const SENT: i64 = 2 * SECOND;
/// The same below a parent that asks its children to spare it.
const SENT_IN_A_CROWD: i64 = 8 * SECOND;
/// What it says of itself is made anew so often; beats in between repeat it.
const REPORT: i64 = 10 * SECOND;
