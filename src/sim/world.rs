//! The event queue: nodes, paths and everything under way, in virtual time.

use super::host::{Effect, Host, Input, Owner, Process};
use super::network::Direction;
use super::{Random, Tracks, Tree};
use crate::node::{Done, Job, Link, branch, trunk};
use crate::session::{Arrival, Departure};
use crate::time::{Civil, MILLISECOND, SECOND};
use aws_lc_rs::digest;
use bytes::Bytes;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use uuid::Uuid;

/// Civil time of true time 0: 2026-11-22 00:00 UTC.
pub const EPOCH: Civil = Civil(1_795_305_600_000_000);

/// A tree of nodes and the network between them.
pub struct World {
    pub(super) seed: u64,
    pub(super) now: i64,
    pub(super) random: Random,
    pub(super) hosts: Vec<Host>,
    pub(super) paths: Vec<Path>,
    pub(super) connections: BTreeMap<Link, Connection>,
    pub(super) tracks: Tracks,
    pub(super) requests: u64,
    queue: BinaryHeap<Reverse<Scheduled>>,
    sequence: u64,
    pub(super) links: Link,
    digest: digest::Context,
    delivered: u64,
}

/// From one child to one of its parents; lasts while connections over it come and go.
pub(super) struct Path {
    pub child: usize,
    /// The parent, and which of the child's parents it is.
    pub parent: usize,
    pub rank: usize,
    /// Which of the child's two sessions it was dialled for last.
    pub slot: usize,
    pub up: Direction,
    pub down: Direction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Child,
    Parent,
}

impl End {
    pub fn other(self) -> Self {
        if self == Self::Child { Self::Parent } else { Self::Child }
    }
}

impl Path {
    /// The machine at that end.
    pub fn host(&self, end: End) -> usize {
        if end == End::Child { self.child } else { self.parent }
    }

    /// The direction that leads there.
    pub fn towards(&mut self, end: End) -> &mut Direction {
        if end == End::Child { &mut self.down } else { &mut self.up }
    }
}

/// One QUIC connection with the bare packets beside it.
pub(super) struct Connection {
    pub path: usize,
    pub branch: usize,
    pub ends: [Party; 2],
    /// When the newest message of each stream arrives, by the end it travels to.
    pub streams: [BTreeMap<Option<u64>, i64>; 2],
    /// The newest bare packets that went down, for those who replay.
    pub tap: VecDeque<Bytes>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Party {
    pub incarnation: u64,
    pub open: bool,
    /// When something last arrived here.
    pub heard: i64,
}

struct Scheduled {
    at: i64,
    sequence: u64,
    what: Happening,
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Scheduled {}

pub(super) enum Happening {
    Wake {
        host: usize,
        incarnation: u64,
    },
    Wall {
        host: usize,
        incarnation: u64,
    },
    Report {
        host: usize,
        incarnation: u64,
    },
    Finished {
        host: usize,
        incarnation: u64,
        owner: Owner,
        job: u64,
        work: Box<Job>,
    },
    /// A client's first flight reaches the server's machine.
    Initial {
        path: usize,
        incarnation: u64,
        began: i64,
        attempt: u32,
    },
    Established {
        path: usize,
        incarnation: u64,
        server: u64,
    },
    DialFailed {
        path: usize,
        incarnation: u64,
    },
    Arrival {
        link: Link,
        to: End,
        arrival: Arrival,
    },
    /// The connection ends at this end.
    Closed {
        link: Link,
        end: End,
        reason: String,
    },
    Idle {
        link: Link,
    },
    /// A live source hands in its next packet, and after the last says so.
    Made {
        host: usize,
        incarnation: u64,
        broadcast: Uuid,
        track: Uuid,
        index: u64,
    },
}

impl World {
    pub fn new(tree: Tree) -> Self {
        let seed = tree.seed;
        let hosts: Vec<Host> = tree.members.into_iter().map(Host::new).collect();
        let mut paths = Vec::new();
        for (child, host) in hosts.iter().enumerate() {
            for (rank, (parent, hop)) in host.member.parents.iter().enumerate() {
                let number = 2 * paths.len() as u64;
                let up = Direction::new(hop.up.clone(), seed, number);
                let down = Direction::new(hop.down.clone(), seed, number + 1);
                paths.push(Path { child, parent: *parent, rank, slot: 0, up, down });
            }
        }
        let mut world = Self {
            seed,
            now: 0,
            random: Random::of(seed, "world", 0),
            hosts,
            paths,
            connections: BTreeMap::new(),
            tracks: Tracks::default(),
            requests: 0,
            queue: BinaryHeap::new(),
            sequence: 0,
            links: 0,
            digest: digest::Context::new(&digest::SHA256),
            delivered: 0,
        };
        for host in 0..world.hosts.len() {
            if world.hosts[host].member.awake {
                world.power_on(host);
            }
        }
        world
    }

    /// µs since the world began.
    pub fn now(&self) -> i64 {
        self.now
    }

    pub fn civil(&self) -> Civil {
        EPOCH + self.now
    }

    /// Runs everything up to and including `until`.
    pub fn run_until(&mut self, until: i64) {
        while let Some(Reverse(next)) = self.queue.peek() {
            if next.at > until {
                break;
            }
            if let Some(Reverse(next)) = self.queue.pop() {
                self.now = next.at;
                self.happen(next.what);
            }
        }
        self.now = self.now.max(until);
    }

    /// Over every event delivered so far: time, node, kind and bytes. Equal for equal seeds and verbs.
    pub fn hash(&self) -> String {
        let digest = self.digest.clone().finish();
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Events delivered so far.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    pub(super) fn schedule(&mut self, at: i64, what: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse(Scheduled { at: at.max(self.now), sequence: self.sequence, what }));
    }

    pub(super) fn power_on(&mut self, host: usize) {
        if self.hosts[host].process.is_some() {
            return;
        }
        let incarnation = self.hosts[host].incarnation + 1;
        let mut random = Random::of(self.seed, "process", (host as u64) << 32 | incarnation);
        let effects = self.hosts[host].start(self.now, &mut random, &mut self.tracks);
        self.after(host, effects);
        if self.hosts[host].wall(self.now).is_some() {
            self.schedule(self.now, Happening::Wall { host, incarnation });
        }
        let first = self.now + self.random.below(REPORT as u64) as i64;
        self.schedule(first, Happening::Report { host, incarnation });
    }

    /// The process is gone at once. `say`: its connections are closed in good order, as by a kernel or
    /// a library that outlives it; otherwise the others find out by themselves.
    pub(super) fn power_off(&mut self, host: usize, say: bool) {
        self.hosts[host].stop(self.now);
        for link in self.connections.keys().copied().collect::<Vec<_>>() {
            let Some(end) = self.end_of(link, host) else { continue };
            let connection = self.connections.get_mut(&link).expect("a key of the map");
            if std::mem::replace(&mut connection.ends[end as usize].open, false) && say {
                self.close_far(link, end, "the peer stopped");
            }
        }
    }

    pub(super) fn feed(&mut self, host: usize, input: Input) {
        let effects = self.hosts[host].handle(self.now, input, &mut self.tracks);
        self.after(host, effects);
    }

    /// Carries out what a node wants, and sets its next wake-up.
    fn after(&mut self, host: usize, effects: Vec<Effect>) {
        let incarnation = self.hosts[host].incarnation;
        for effect in effects {
            match effect {
                Effect::Dial { slot, rank } => self.dial(host, slot, rank),
                Effect::Send { link, departure } => self.send(host, link, departure),
                Effect::Air { links, packet } => {
                    links.into_iter().for_each(|link| self.send(host, link, Departure::Media(packet.bytes.clone())));
                }
                Effect::Hang { link, code, text } => self.hang(host, link, &format!("{code}: {text}")),
                Effect::Job { owner, job, work } => {
                    let at = self.now + if matches!(work, Job::Journal(_)) { SYNC } else { DISK };
                    self.schedule(at, Happening::Finished { host, incarnation, owner, job, work: Box::new(work) });
                }
            }
        }
        let Some(next) = self.hosts[host].next(self.now) else { return };
        let Some(process) = self.hosts[host].process.as_mut() else { return };
        if process.wake.is_none_or(|wake| next < wake) {
            process.wake = Some(next);
            self.schedule(next, Happening::Wake { host, incarnation });
        }
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Wake { host, incarnation } => {
                let due = self.process(host, incarnation).is_some_and(|process| process.wake == Some(self.now));
                if due {
                    self.note(host, 1, &[]);
                    let effects = self.hosts[host].wake(self.now, &mut self.tracks);
                    self.after(host, effects);
                }
            }
            Happening::Wall { host, incarnation } if self.process(host, incarnation).is_some() => {
                self.note(host, 2, &[]);
                if let Some((civil, uncertainty)) = self.hosts[host].wall(self.now) {
                    self.feed(host, Input::Trunk(trunk::Input::Wall { civil, uncertainty }));
                }
                self.schedule(self.now + SECOND, Happening::Wall { host, incarnation });
            }
            Happening::Report { host, incarnation } if self.process(host, incarnation).is_some() => {
                let effects = self.hosts[host].report(self.now, &mut self.tracks);
                self.after(host, effects);
                // A sound thread is never quite punctual.
                let next = self.now + REPORT + self.random.below(REPORT_JITTER) as i64;
                self.schedule(next, Happening::Report { host, incarnation });
            }
            Happening::Finished { host, incarnation, owner, job, work } => {
                if self.process(host, incarnation).is_some() {
                    self.note(host, 3, &job.to_le_bytes());
                    let done = self.hosts[host].store.perform(*work);
                    self.finish(host, owner, job, done);
                }
            }
            Happening::Initial { path, incarnation, began, attempt } => self.answer(path, incarnation, began, attempt),
            Happening::Established { path, incarnation, server } => self.establish(path, incarnation, server),
            Happening::DialFailed { path, incarnation } => {
                let (host, parent) = (self.paths[path].child, self.paths[path].slot);
                if self.process(host, incarnation).is_some() {
                    self.note(host, 4, &[]);
                    let reason = "no answer from the parent".to_string();
                    self.feed(host, Input::Trunk(trunk::Input::Down { parent, link: None, reason }));
                }
            }
            Happening::Arrival { link, to, arrival } => self.arrive(link, to, arrival),
            Happening::Closed { link, end, reason } => self.down(link, end, reason),
            Happening::Idle { link } => self.check_idle(link),
            Happening::Made { host, incarnation, .. } if self.process(host, incarnation).is_none() => {}
            Happening::Made { host, incarnation, broadcast, track, index } => {
                let Some(packet) = self.tracks.packet(track, index).cloned() else { return };
                self.note(host, 5, &packet.bytes);
                self.feed(host, Input::Trunk(trunk::Input::Made { track, packet }));
                let next = index + 1;
                if self.tracks.packet(track, next).is_none() {
                    self.requests += 1;
                    let (id, request) = (self.requests, trunk::Request::Finish { broadcast, packets: next });
                    return self.feed(host, Input::Trunk(trunk::Input::Request { id, request }));
                }
                let every = self.tracks.info(track).map_or(SECOND, |info| info.packet_micros());
                self.schedule(self.now + every, Happening::Made { host, incarnation, broadcast, track, index: next });
            }
            Happening::Wall { .. } | Happening::Report { .. } => {}
        }
    }

    fn process(&self, host: usize, incarnation: u64) -> Option<&Process> {
        let host = &self.hosts[host];
        host.process.as_ref().filter(|_| host.incarnation == incarnation)
    }

    pub(super) fn note(&mut self, host: usize, kind: u8, bytes: &[u8]) {
        self.delivered += 1;
        self.digest.update(&self.now.to_le_bytes());
        self.digest.update(&[host as u8, (host >> 8) as u8, kind]);
        self.digest.update(&(bytes.len() as u32).to_le_bytes());
        self.digest.update(bytes);
    }

    fn finish(&mut self, host: usize, owner: Owner, job: u64, done: Done) {
        self.feed(
            host,
            match owner {
                Owner::Trunk => Input::Trunk(trunk::Input::Done { job, done }),
                Owner::Branch(index) => Input::Branch(index, branch::Input::Done { job, done }),
            },
        );
    }
}

/// µs until a journal is on a cheap SD card, and until a file is read or written.
const SYNC: i64 = 8 * MILLISECOND;
const DISK: i64 = 4 * MILLISECOND;
/// µs between reports of a sound card, and how late the sound thread may be.
const REPORT: i64 = 50 * MILLISECOND;
const REPORT_JITTER: u64 = 3_000;
