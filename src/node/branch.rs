//! One branch: the child sessions of one shard.
use super::{Done, Job, Link, Peer};
use crate::broadcast::Area;
use crate::playout::Phase;
use crate::proto;
use crate::session::{self, Arrival, Departure};
use crate::time::Local;
use crate::track::{Packet, Ring, Secret};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use uuid::Uuid;

mod bulk;
mod events;
mod members;

use bulk::Transfer;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub session: session::parent::Options,
    /// Packets kept per track for repair and late joiners.
    pub ring: usize,
    /// Sessions held at most; beyond it links are refused with `branch.full`.
    pub sessions: usize,
    /// Bytes per second of all bulk transfers of one link while something live is on the same link, and otherwise.
    pub bulk_live: u32,
    pub bulk_idle: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            session: session::parent::Options::default(),
            ring: 128,
            sessions: 50_000,
            // Headers of IP, UDP, QUIC and frames included, less than 32 kb/s (DESIGN §3).
            bulk_live: 3_600,
            bulk_idle: 125_000,
        }
    }
}

#[derive(Clone, Debug)]
pub enum Input {
    /// A child's link is up.
    Up {
        link: Link,
        peer: Peer,
    },
    Down {
        link: Link,
    },
    Arrival {
        link: Link,
        arrival: Arrival,
    },
    Command(Command),
    Done {
        job: u64,
        done: Done,
    },
}

#[derive(Clone, Debug)]
pub enum Output {
    Send {
        link: Link,
        departure: Departure,
    },
    /// Close the link with this code and text, after what was sent before.
    Hang {
        link: Link,
        code: String,
        text: String,
    },
    /// One packet to every listener of its track: the driver's address vector.
    Air {
        track: Uuid,
        packet: Packet,
    },
    /// What is held of a bunch waits no longer for its last packet.
    Flush {
        track: Uuid,
    },
    Listen {
        link: Link,
        track: Uuid,
    },
    Unlisten {
        link: Link,
        track: Uuid,
    },
    /// No such track any more: the driver drops its vector.
    Dropped {
        track: Uuid,
    },
    Notice(Notice),
    Job {
        job: u64,
        work: Job,
    },
}

/// A track that the branch carries.
#[derive(Clone, Debug)]
pub struct Carry {
    pub track: Uuid,
    pub ssrc: u32,
    pub secret: Secret,
    /// A log goes to every child; sound to those that listen.
    pub log: bool,
    /// Every child in the areas counts as listening.
    pub emergency: bool,
    pub areas: Vec<Area>,
    /// µs per packet.
    pub duration: i64,
    /// Playout delay, µs: how far back a late joiner's backlog goes.
    pub delay: i64,
    /// Media bytes per second.
    pub rate: u32,
    /// Packets that leave in one send: those whose index divided by it is the same.
    pub together: u32,
    /// Index of the next packet.
    pub next: u64,
    /// Packets that `Fetch` may ask for, `[0, stored)`.
    pub stored: u64,
}

#[derive(Clone, Debug)]
pub enum Command {
    Admit {
        link: Link,
        area: Area,
        welcome: proto::Welcome,
        orders: Vec<proto::Signed>,
    },
    Refuse {
        link: Link,
        code: String,
        text: String,
    },
    Carry(Carry),
    Drop {
        track: Uuid,
    },
    /// A verified packet: into the ring and out to the listeners. `again` repeats one (orders).
    Packet {
        track: Uuid,
        packet: Packet,
        again: bool,
    },
    /// This node lacks these.
    Missing {
        track: Uuid,
        first: u64,
        count: u64,
    },
    /// No more packets come of the bunch that is under way: the track has ended.
    Flush {
        track: Uuid,
    },
    /// `[0, until)` of a stored track can be fetched now.
    Stored {
        track: Uuid,
        until: u64,
    },
    /// Orders and grants that this node learnt at a join of its own: to every child.
    Push(Vec<proto::Signed>),
    Phase(Phase),
    /// Say goodbye to all children.
    Drain,
}

#[derive(Clone, Debug)]
pub enum Notice {
    Hello {
        link: Link,
        peer: Peer,
        placement: Option<proto::Signed>,
        grants: Vec<proto::Signed>,
    },
    Left {
        link: Link,
        node: Uuid,
    },
    /// How many listen now.
    Wanted {
        track: Uuid,
        listeners: u64,
    },
    Reports(Vec<proto::Report>),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub sessions: u64,
    /// `Air`s, not sends.
    pub aired: u64,
    pub nacked: u64,
    pub answered: u64,
    pub over_budget: u64,
    pub violations: u64,
    pub refused: u64,
    pub bulk_packets: u64,
    /// Outputs not given because a bound was hit.
    pub dropped: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    Session,
    Bulk,
}

/// Who a child is allowed to be, once the trunk has said so.
enum Standing {
    /// The link is up; Hello has not been answered.
    Waiting,
    Member {
        area: Area,
    },
}

struct Child {
    session: session::Parent,
    peer: Peer,
    standing: Standing,
    /// Tracks of sound it listens to: at most `members::TRACKS_PER_CHILD`.
    listens: Vec<Uuid>,
    transfers: Vec<Transfer>,
    /// A piece of one of them is being read.
    reading: bool,
    /// When the next piece may go, of whichever transfer.
    bulk_due: Local,
    /// Media is withheld (RFC 8083).
    broken: bool,
    /// When the session wants to be called, as it stands in `Branch::timers`.
    timer: Option<Local>,
}

/// A track that is carried, with its newest packets.
struct Carried {
    carry: Carry,
    ring: Ring,
    listeners: u64,
}

impl Carried {
    /// Index of the packet that comes next.
    fn next(&self) -> u64 {
        self.ring.newest().map_or(self.carry.next, |newest| self.carry.next.max(newest + 1))
    }
}

/// The child sessions of one shard.
pub struct Branch {
    options: Options,
    children: BTreeMap<Link, Child>,
    tracks: BTreeMap<Uuid, Carried>,
    timers: BTreeSet<(Local, Link)>,
    /// Bulk transfers that may go on at their time.
    paced: BTreeSet<(Local, Link)>,
    /// Fetches under way in the store: whose, of which track, from which index.
    jobs: BTreeMap<u64, (Link, Uuid, u64)>,
    next_job: u64,
    phase: Option<Phase>,
    outputs: VecDeque<Output>,
    reports: Vec<proto::Report>,
    counters: Counters,
}

impl Branch {
    pub fn new(_now: Local, options: Options) -> Self {
        Self {
            options,
            children: BTreeMap::new(),
            tracks: BTreeMap::new(),
            timers: BTreeSet::new(),
            paced: BTreeSet::new(),
            jobs: BTreeMap::new(),
            next_job: 0,
            phase: None,
            outputs: VecDeque::new(),
            reports: Vec::new(),
            counters: Counters::default(),
        }
    }

    pub fn handle_input(&mut self, now: Local, input: Input) {
        match input {
            Input::Up { link, peer } => self.handle_up(now, link, peer),
            Input::Down { link } => self.remove(link),
            Input::Arrival { link, arrival } => {
                let phase = self.phase.map(|phase| phase.told(now));
                let Some(child) = self.children.get_mut(&link) else { return };
                if let Err(violation) = child.session.handle_arrival(now, phase, arrival) {
                    self.counters.violations += 1;
                    self.hang(link, violation.code, &violation.text);
                } else {
                    self.settle(now, link);
                }
            }
            Input::Command(command) => self.handle_command(now, command),
            Input::Done { job, done } => self.handle_done(now, job, done),
        }
        self.flush_reports();
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<(Local, Reason)> {
        let session = self.timers.first().map(|(at, _)| (*at, Reason::Session));
        let bulk = self.paced.first().map(|(at, _)| (*at, Reason::Bulk));
        session.into_iter().chain(bulk).min()
    }

    pub fn handle_timeout(&mut self, now: Local) {
        while let Some(&(at, link)) = self.timers.first() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            let Some(child) = self.children.get_mut(&link) else { continue };
            child.timer = None;
            child.session.handle_timeout(now);
            self.settle(now, link);
        }
        while let Some(&(at, link)) = self.paced.first() {
            if at > now {
                break;
            }
            self.paced.pop_first();
            self.advance_transfers(now, link);
        }
        self.flush_reports();
    }

    pub fn counters(&self) -> Counters {
        let mut counters = self.counters;
        counters.sessions = self.children.len() as u64;
        for child in self.children.values() {
            counters.add_session(child.session.counters());
        }
        counters
    }

    fn handle_up(&mut self, now: Local, link: Link, peer: Peer) {
        if self.children.len() >= self.options.sessions {
            self.counters.refused += 1;
            self.outputs.push_back(Output::Hang {
                link,
                code: "branch.full".into(),
                text: format!("this parent holds its {} sessions; dial another parent", self.options.sessions),
            });
            return;
        }
        let child = Child {
            session: session::Parent::new(now, self.options.session),
            peer,
            standing: Standing::Waiting,
            listens: Vec::new(),
            transfers: Vec::new(),
            reading: false,
            bulk_due: now,
            broken: false,
            timer: None,
        };
        self.children.insert(link, child);
        self.settle(now, link);
    }

    fn handle_command(&mut self, now: Local, command: Command) {
        match command {
            Command::Admit { link, area, welcome, orders } => self.admit(now, link, area, welcome, orders),
            Command::Refuse { link, code, text } => {
                self.counters.refused += 1;
                self.hang(link, &code, &text);
            }
            Command::Carry(carry) => self.carry(now, carry),
            Command::Drop { track } => self.drop_track(now, track),
            Command::Packet { track, packet, again } => {
                let Some(carried) = self.tracks.get_mut(&track) else { return };
                if carried.ring.insert(packet.clone()) || again {
                    self.counters.aired += 1;
                    self.outputs.push_back(Output::Air { track, packet });
                }
            }
            Command::Missing { track, first, count } => {
                let Some(carried) = self.tracks.get(&track) else { return };
                let log = carried.carry.log;
                if carried.carry.together > 1 {
                    // The others of its bunch would be asked for by everybody below.
                    self.outputs.push_back(Output::Flush { track });
                }
                for link in self.links() {
                    let Some(child) = self.children.get_mut(&link) else { continue };
                    if log || child.listens.contains(&track) {
                        child.session.missing(track, first, count);
                        self.settle(now, link);
                    }
                }
            }
            Command::Flush { track } => {
                if self.tracks.get(&track).is_some_and(|carried| carried.carry.together > 1) {
                    self.outputs.push_back(Output::Flush { track });
                }
            }
            Command::Stored { track, until } => {
                let Some(carried) = self.tracks.get_mut(&track) else { return };
                carried.carry.stored = carried.carry.stored.max(until);
                for link in self.links() {
                    self.advance_transfers(now, link);
                }
            }
            Command::Push(orders) => {
                for link in self.links() {
                    let Some(child) = self.children.get_mut(&link) else { continue };
                    if matches!(child.standing, Standing::Member { .. }) {
                        child.session.push(orders.clone());
                        self.settle(now, link);
                    }
                }
            }
            Command::Phase(phase) => self.phase = Some(phase),
            Command::Drain => {
                for link in self.links() {
                    self.hang(link, "node.stopping", "this node is stopping; dial again in a moment");
                }
            }
        }
    }

    fn links(&self) -> Vec<Link> {
        self.children.keys().copied().collect()
    }

    /// Drains a session and sets its timer anew. Every path that touches a session ends here.
    fn settle(&mut self, now: Local, link: Link) {
        while let Some(event) = self.children.get_mut(&link).and_then(|child| child.session.poll_event()) {
            self.handle_event(now, link, event);
        }
        let Some(child) = self.children.get_mut(&link) else { return };
        while let Some(departure) = child.session.poll_departure() {
            self.outputs.push_back(Output::Send { link, departure });
        }
        let timer = child.session.poll_timeout().map(|(at, _)| at);
        if timer != child.timer {
            if let Some(old) = child.timer {
                self.timers.remove(&(old, link));
            }
            if let Some(new) = timer {
                self.timers.insert((new, link));
            }
            child.timer = timer;
        }
    }

    /// Ends a session from this side; the driver's `Down` finds nothing left.
    fn hang(&mut self, link: Link, code: &str, text: &str) {
        if let Some(child) = self.children.get_mut(&link) {
            child.session.goodbye(code, text);
            while let Some(departure) = child.session.poll_departure() {
                self.outputs.push_back(Output::Send { link, departure });
            }
            self.outputs.push_back(Output::Hang { link, code: code.into(), text: text.into() });
            self.remove(link);
        }
    }

    fn remove(&mut self, link: Link) {
        let Some(child) = self.children.remove(&link) else { return };
        self.counters.add_session(child.session.counters());
        if let Some(timer) = child.timer {
            self.timers.remove(&(timer, link));
        }
        for track in child.listens {
            self.outputs.push_back(Output::Unlisten { link, track });
            self.count_down(track);
        }
        for (track, carried) in &self.tracks {
            if carried.carry.log {
                self.outputs.push_back(Output::Unlisten { link, track: *track });
            }
        }
        // Also of one not admitted yet: the trunk may have counted it, with the answer on its way.
        self.outputs.push_back(Output::Notice(Notice::Left { link, node: child.peer.node }));
    }

    fn flush_reports(&mut self) {
        if !self.reports.is_empty() {
            self.outputs.push_back(Output::Notice(Notice::Reports(std::mem::take(&mut self.reports))));
        }
    }
}

impl Counters {
    fn add_session(&mut self, session: session::parent::Counters) {
        self.nacked += session.nacked;
        self.answered += session.answered;
        self.over_budget += session.over_budget;
    }
}

fn touches(areas: &[Area], area: &Area) -> bool {
    areas.iter().any(|one| one.touches(area))
}
