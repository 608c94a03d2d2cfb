//! What a test does to a world, and what it may look at.

use super::device::{Faults, Heard};
use super::host::Input;
use super::network::Conditions;
use super::sources::flip;
use super::world::{EPOCH, End, Happening, World};
use super::{Forgery, PathCounters};
use crate::broadcast::{Area, Body, Broadcast, Order, Priority, Purpose, Settings};
use crate::node::trunk::{Air, AirPrepared, Change, Event, Loudness, Reply, Request, Turn};
use crate::node::{Link, branch, trunk};
use crate::proto;
use crate::session::Arrival;
use crate::time::{Civil, MILLISECOND, SECOND};
use bytes::Bytes;
use uuid::Uuid;

/// What is put on the air.
#[derive(Clone, Debug)]
pub struct Bulletin {
    pub areas: Vec<Area>,
    pub priority: Priority,
    pub purpose: Purpose,
    /// `None`: now.
    pub at: Option<Civil>,
    /// µs; `None`: what the priority says.
    pub delay: Option<i64>,
    /// µs of sound, cut to whole packets.
    pub length: i64,
    /// Samples per packet, and b/s.
    pub duration: u32,
    pub bitrate: u32,
    /// Further renditions, b/s.
    pub others: Vec<u32>,
    /// Each packet comes into being when its sound has been spoken.
    pub live: bool,
    pub resume: bool,
    /// Does not sound: is kept ready for so many µs.
    pub prepared: Option<i64>,
}

impl Bulletin {
    /// Normal, now, stored, 240 ms packets at 24 kb/s.
    pub fn new(area: &str, length: i64) -> Self {
        Self {
            areas: vec![area.parse().unwrap_or_else(|error| panic!("{area}: {error}"))],
            priority: Priority::Normal,
            purpose: Purpose::Real,
            at: None,
            delay: None,
            length,
            duration: 11_520,
            bitrate: 24_000,
            others: Vec::new(),
            live: false,
            resume: false,
            prepared: None,
        }
    }

    /// An emergency: 120 ms packets.
    pub fn emergency(area: &str, length: i64) -> Self {
        Self { priority: Priority::Emergency, duration: 5_760, ..Self::new(area, length) }
    }
}

/// A broadcast that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aired {
    pub broadcast: Uuid,
    pub track: Uuid,
    /// Samples of the whole track.
    pub samples: u64,
    pub accepted: Civil,
    pub from: Civil,
    pub until: Civil,
    /// When the first sound of all, speech or tone, leaves every speaker.
    pub sounds: Civil,
}

impl World {
    pub fn run_for(&mut self, duration: i64) {
        self.run_until(self.now + duration);
    }

    pub fn air(&mut self, node: &str, bulletin: &Bulletin) -> Result<Aired, String> {
        let host = self.host(node);
        let packet = crate::time::micros(u64::from(bulletin.duration));
        let packets = (bulletin.length / packet).max(1) as u64;
        let civil = self.civil();
        let (info, secret, made) = self
            .tracks
            .make(&mut self.random, civil, packets, bulletin.duration, bulletin.bitrate, bulletin.live)
            .map_err(|error| error.to_string())?;
        if !bulletin.live {
            self.hosts[host].store.keep(info.id, made);
        }
        let track = info.id;
        let mut others = Vec::new();
        for &bitrate in &bulletin.others {
            let (info, secret, made) = self
                .tracks
                .make(&mut self.random, civil, packets, bulletin.duration, bitrate, bulletin.live)
                .map_err(|error| error.to_string())?;
            if !bulletin.live {
                self.hosts[host].store.keep(info.id, made);
            }
            self.tracks.join(track, info.id);
            others.push((info, secret));
        }
        let all: Vec<Uuid> = std::iter::once(track).chain(others.iter().map(|(info, _)| info.id)).collect();
        let request = Request::Air(Box::new(Air {
            id: None,
            title: format!("bulletin {}", self.requests),
            areas: bulletin.areas.clone(),
            priority: bulletin.priority,
            purpose: bulletin.purpose,
            at: bulletin.at,
            delay: bulletin.delay,
            track: info,
            secret,
            others,
            live: bulletin.live,
            resume: bulletin.resume,
            second: false,
            prepared: bulletin.prepared,
        }));
        match self.request(node, request) {
            Some(Reply::Aired { broadcast, accepted, from, until, sounds, anchor, .. }) => {
                if bulletin.live {
                    let incarnation = self.hosts[host].incarnation;
                    let first = anchor - EPOCH + packet;
                    for track in all {
                        self.schedule(first, Happening::Made { host, incarnation, broadcast, track, index: 0 });
                    }
                }
                let samples = packets * u64::from(bulletin.duration);
                Ok(Aired { broadcast, track, samples, accepted, from, until, sounds })
            }
            other => Err(format!("{node} did not air it: {other:?}")),
        }
    }

    /// Airs what was prepared, by an order alone.
    pub fn air_prepared(
        &mut self,
        node: &str,
        prepared: &Aired,
        area: &str,
        priority: Priority,
        purpose: Purpose,
    ) -> Result<Aired, String> {
        let air = AirPrepared {
            prepared: prepared.broadcast,
            title: None,
            areas: vec![area.parse()?],
            priority,
            purpose,
            at: None,
            delay: None,
            second: false,
        };
        match self.request(node, Request::AirPrepared(Box::new(air))) {
            Some(Reply::Aired { broadcast, accepted, from, until, sounds, .. }) => {
                Ok(Aired { broadcast, accepted, from, until, sounds, ..*prepared })
            }
            other => Err(format!("{node} did not air it: {other:?}")),
        }
    }

    pub fn cancel(&mut self, node: &str, broadcast: Uuid) -> Result<Uuid, String> {
        self.order(node, Request::Cancel { broadcast })
    }

    pub fn hush(&mut self, node: &str, area: &str, duration: i64) -> Result<Uuid, String> {
        let area = area.parse().map_err(|error| format!("{area}: {error}"))?;
        self.order(node, Request::Hush { areas: vec![area], duration })
    }

    /// Somebody turns the switch beside a loudspeaker.
    pub fn switch(&mut self, node: &str, on: bool) {
        let host = self.host(node);
        self.note(host, 24, &[u8::from(on)]);
        self.feed(host, Input::Trunk(trunk::Input::Switch(on)));
    }

    /// Says how a node shall sound; `change` names it by itself.
    pub fn set(&mut self, by: &str, node: &str, change: Change) -> Result<Settings, String> {
        let node = self.hosts[self.host(node)].member.node;
        match self.request(by, Request::Settings(Box::new(Change { node, ..change }))) {
            Some(Reply::Settled { settings, .. }) => Ok(*settings),
            other => Err(format!("{by} did not set it: {other:?}")),
        }
    }

    /// Somebody at the node itself sets something, or looks.
    pub fn turn(&mut self, node: &str, turn: Turn) -> Option<Loudness> {
        match self.request(node, Request::Turn(turn))? {
            Reply::Loudness(loudness) => Some(loudness),
            _ => None,
        }
    }

    fn order(&mut self, node: &str, request: Request) -> Result<Uuid, String> {
        match self.request(node, request) {
            Some(Reply::Done { order }) => Ok(order),
            other => Err(format!("{node} did not do it: {other:?}")),
        }
    }

    /// Asks a node and runs the world until it answers, at most two seconds.
    pub fn request(&mut self, node: &str, request: Request) -> Option<Reply> {
        let host = self.host(node);
        self.requests += 1;
        let id = self.requests;
        self.note(host, 20, &id.to_le_bytes());
        self.feed(host, Input::Trunk(trunk::Input::Request { id, request }));
        let deadline = self.now + 2 * SECOND;
        while self.now < deadline && !self.hosts[host].witness.replies.contains_key(&id) {
            self.run_for(MILLISECOND);
        }
        self.hosts[host].witness.replies.remove(&id)
    }

    /// Power comes back, or comes for the first time.
    pub fn start(&mut self, node: &str) {
        let host = self.host(node);
        self.note(host, 21, &[]);
        self.power_on(host);
    }

    /// Stopped in good order: it says goodbye.
    pub fn stop(&mut self, node: &str) {
        let host = self.host(node);
        self.note(host, 22, &[]);
        self.feed(host, Input::Trunk(trunk::Input::Drain));
        self.run_for(DRAIN);
        self.power_off(host, true);
    }

    /// Power is cut.
    pub fn kill(&mut self, node: &str) {
        let host = self.host(node);
        self.note(host, 23, &[]);
        self.power_off(host, false);
    }

    /// Stopped in good order and started again as soon as a machine can.
    pub fn restart(&mut self, node: &str) {
        self.stop(node);
        self.run_for(RESTART);
        self.start(node);
    }

    /// Nothing passes between two neighbours for so long.
    pub fn partition(&mut self, one: &str, other: &str, duration: i64) {
        let pair = [self.host(one), self.host(other)];
        let (from, until) = (self.now, self.now + duration);
        for path in self.paths.iter_mut().filter(|path| pair.contains(&path.child) && pair.contains(&path.parent)) {
            path.up.cut(from, until);
            path.down.cut(from, until);
        }
    }

    /// Other weather between a child and its parent from now on.
    pub fn change(&mut self, child: &str, up: Conditions, down: Conditions) {
        let (child, now) = (self.host(child), self.now);
        for path in self.paths.iter_mut().filter(|path| path.child == child) {
            path.up.change(now, up.clone());
            path.down.change(now, down.clone());
        }
    }

    /// Puts something on the link between two neighbours as if `from` had sent it; it arrives at once.
    /// False: there is no link.
    pub fn inject(&mut self, from: &str, to: &str, arrival: Arrival) -> bool {
        let Some((link, to)) = self.link(from, to) else { return false };
        self.schedule(self.now, Happening::Arrival { link, to, arrival });
        true
    }

    /// The newest packets that went down a link.
    pub fn tapped(&self, from: &str, to: &str) -> Vec<Bytes> {
        let link = self.link(from, to).and_then(|(link, _)| self.connections.get(&link));
        link.map_or_else(Vec::new, |connection| connection.tap.iter().cloned().collect())
    }

    /// One bit flipped somewhere.
    pub fn corrupted(&mut self, bytes: &Bytes) -> Bytes {
        flip(&mut self.random, bytes)
    }

    pub fn forged(&mut self, track: Uuid, index: u64, forgery: Forgery) -> Option<Bytes> {
        self.tracks.forge(&mut self.random, track, index, forgery)
    }

    pub fn genuine(&self, track: Uuid, index: u64) -> Option<Bytes> {
        self.tracks.packet(track, index).map(|packet| packet.bytes.clone())
    }

    pub fn heard(&self, speaker: &str) -> &[Heard] {
        &self.hosts[self.host(speaker)].witness.heard
    }

    pub fn events(&self, node: &str) -> &[(i64, Event)] {
        &self.hosts[self.host(node)].witness.events
    }

    /// What a node says of itself; `None` while it does not run.
    pub fn report(&mut self, node: &str) -> Option<proto::Report> {
        match self.request(node, Request::Nodes)? {
            Reply::Nodes(reports) => reports.into_iter().next(),
            _ => None,
        }
    }

    /// `None` while it does not run.
    pub fn counters(&self, node: &str) -> Option<trunk::Counters> {
        self.hosts[self.host(node)].process.as_ref().map(|process| process.counters())
    }

    pub fn branch_counters(&self, node: &str) -> Vec<branch::Counters> {
        let process = self.hosts[self.host(node)].process.as_ref();
        process.map_or_else(Vec::new, |process| process.branch_counters())
    }

    pub fn is_ready(&self, node: &str) -> bool {
        self.hosts[self.host(node)].process.as_ref().is_some_and(|process| process.ready())
    }

    /// How far a node's civil time is from the truth, µs.
    pub fn civil_error(&self, node: &str) -> Option<i64> {
        let host = &self.hosts[self.host(node)];
        let civil = host.process.as_ref()?.civil(host.local(self.now))?;
        Some(civil - self.civil())
    }

    /// Packets of a track on a node's disk.
    pub fn held(&self, node: &str, track: Uuid) -> u64 {
        self.hosts[self.host(node)].store.held(track)
    }

    /// From now on every job of this node's disk fails, or works again.
    pub fn break_disk(&mut self, node: &str, broken: bool) {
        let host = self.host(node);
        self.hosts[host].store.broken = broken;
    }

    /// A broadcast as the node that gave it wrote it down.
    pub fn order_of(&self, node: &str, broadcast: Uuid) -> Option<Broadcast> {
        self.hosts[self.host(node)].store.journal.iter().find_map(|record| {
            let Some(proto::record::Body::Order(signed)) = &record.body else { return None };
            let order = Order::decode(&signed.payload).ok()?;
            match order.body {
                Body::Broadcast(body) if order.id == broadcast => Some(body),
                _ => None,
            }
        })
    }

    /// Packets that nodes passed on and no origin ever sent.
    pub fn foreign(&self) -> u64 {
        self.hosts.iter().map(|host| host.witness.foreign).sum()
    }

    /// What plans did that no plan may do.
    pub fn faults(&self) -> Faults {
        self.hosts.iter().fold(Faults::default(), |sum, host| sum.plus(host.faults()))
    }

    /// The most that ever waited between a trunk and its branches.
    pub fn longest_queue(&self) -> usize {
        self.hosts.iter().map(|host| host.witness.longest).max().unwrap_or_default()
    }

    /// What the paths from a child upwards and down to it have carried.
    pub fn path(&self, child: &str) -> Option<(PathCounters, PathCounters)> {
        let child = self.host(child);
        let path = self.paths.iter().find(|path| path.child == child)?;
        Some((path.up.counters(), path.down.counters()))
    }

    fn host(&self, name: &str) -> usize {
        let found = self.hosts.iter().position(|host| host.member.name == name);
        found.unwrap_or_else(|| panic!("no node named {name} in this world"))
    }

    /// The newest open link between two neighbours, and the end that `to` is.
    fn link(&self, from: &str, to: &str) -> Option<(Link, End)> {
        let (from, to) = (self.host(from), self.host(to));
        self.connections.iter().rev().find_map(|(link, connection)| {
            let path = &self.paths[connection.path];
            let end = match (path.child, path.parent) {
                (child, parent) if (child, parent) == (to, from) => End::Child,
                (child, parent) if (child, parent) == (from, to) => End::Parent,
                _ => return None,
            };
            connection.ends[end as usize].open.then_some((*link, end))
        })
    }
}

/// µs that a node has for its goodbyes.
const DRAIN: i64 = 100 * MILLISECOND;
/// µs from the end of a process to the begin of the next.
const RESTART: i64 = 500 * MILLISECOND;
