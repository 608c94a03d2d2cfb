//! One node as `io` would run it, without the world: a commune's relay with a loudspeaker, below a parent whose every
//! word comes from a seed. Its clock is right and its sound card runs true, so that instants can be told exactly.

use crate::country::{HERE, NODE, NOW, PARENT, Who, bytes, grants, placement};
use crate::oracle::Oracle;
use crate::programme::{Given, LOG, LOG_SSRC, Programme, log_secret};
use ::bytes::Bytes;
use loa::broadcast::Address;
use loa::node::trunk::{self, Input, Output, Trunk};
use loa::node::{Done, Job, Link, Peer, Role};
use loa::proto::{self, datagram, to_child, to_parent};
use loa::session::{Arrival, Departure, child};
use loa::time::{Local, MILLISECOND, SECOND};
use loa::track::Secret;
use loa::{audio, playout};
use prost::Message;
use std::collections::{BTreeSet, VecDeque};
use uuid::Uuid;

pub struct World<'a> {
    pub programme: &'a Programme,
    pub oracle: Oracle<'a>,
    /// µs since the world began.
    pub now: i64,
    /// The next of the programme's feed.
    fed: usize,
    /// What the parent holds back, and until when.
    held: Vec<(i64, Given)>,
    /// Indices of the log that the parent has used.
    pub logged: u64,
    pub given: Vec<Given>,
    trunk: Trunk,
    card: Card,
    journal: Vec<proto::Record>,
    link: Link,
    joined: bool,
    starts: u8,
    work: VecDeque<Input>,
    /// Bulk streams opened so far.
    pub streams: u64,
    pub links: u64,
}

impl<'a> World<'a> {
    pub fn new(programme: &'a Programme, lies: &'a BTreeSet<Bytes>) -> Self {
        let order = |signed| proto::Record { body: Some(proto::record::Body::Order(signed)) };
        let journal: Vec<_> = grants().into_iter().chain([placement(NODE, HERE)]).map(order).collect();
        let mut world = Self {
            programme,
            oracle: Oracle::new(programme, lies),
            now: 0,
            fed: 0,
            held: Vec::new(),
            logged: 0,
            given: Vec::new(),
            trunk: make_trunk(0, 0),
            card: Card::new(0),
            journal,
            link: 0,
            joined: false,
            starts: 0,
            work: VecDeque::new(),
            streams: 0,
            links: 0,
        };
        world.start();
        world
    }

    /// The process ends as if killed and comes back with what it had written down.
    pub fn restart(&mut self) {
        self.starts += 1;
        (self.trunk, self.card, self.joined) = (make_trunk(self.now, self.starts), Card::new(self.now), false);
        self.oracle.handle_restart(self.now);
        self.start();
    }

    fn start(&mut self) {
        self.feed(Input::Restore(self.journal.clone()));
    }

    /// What the parent says.
    pub fn arrive(&mut self, arrival: Arrival) {
        if self.joined {
            self.feed(Input::Arrival { link: self.link, arrival });
        }
    }

    pub fn say(&mut self, body: to_child::Body) {
        self.arrive(Arrival::Control(proto::ToChild { body: Some(body) }.encode_to_vec().into()));
    }

    /// The next of the programme's items comes so much later than it should.
    pub fn hold_back(&mut self, micros: i64) {
        if let Some((_, given)) = self.programme.feed.get(self.fed) {
            self.held.push((self.now + micros, given.clone()));
            self.fed += 1;
        }
    }

    pub fn counters(&self) -> trunk::Counters {
        self.trunk.counters()
    }

    /// Lets everything happen up to that instant.
    pub fn run_until(&mut self, until: i64) {
        for turn in 0.. {
            assert!(turn < 2_000_000, "the world does not move on from {}", self.now);
            let fed = self.programme.feed.get(self.fed).map(|(at, _)| *at);
            let held = self.held.iter().map(|(at, _)| *at).min();
            let timeout = self.trunk.poll_timeout().map(|(at, _)| at.0);
            let Some(next) = [fed, held, timeout, Some(self.card.due)].into_iter().flatten().min() else { break };
            if next > until {
                break;
            }
            self.now = self.now.max(next);
            if fed == Some(next) {
                let given = self.programme.feed[self.fed].1.clone();
                self.fed += 1;
                self.give(given);
            } else if held == Some(next) {
                let at = self.held.iter().position(|(at, _)| *at == next).expect("it was the earliest");
                let (_, given) = self.held.swap_remove(at);
                self.give(given);
            } else if self.card.due == next {
                let report = self.card.report(self.now);
                self.feed(Input::Device(report));
            } else {
                self.trunk.handle_timeout(Local(self.now));
                self.drain();
            }
        }
        self.now = self.now.max(until);
    }

    /// The parent hands on what it should.
    fn give(&mut self, given: Given) {
        match &given {
            Given::Order { packet, track, .. } => {
                self.logged = self.logged.max(packet.index + 1);
                if let Some(track) = track {
                    self.say_key(*track);
                }
                self.oracle.handle_given(self.now, &given);
                self.arrive(Arrival::Media(packet.bytes.clone()));
            }
            Given::Tick { packet, .. } => {
                self.logged = self.logged.max(packet.index + 1);
                self.arrive(Arrival::Media(packet.bytes.clone()));
            }
            Given::Sound { track, index } => {
                let packet = &self.programme.tracks[track].packets[*index as usize];
                return self.arrive(Arrival::Media(packet.bytes.clone()));
            }
        }
        self.given.push(given);
    }

    fn say_key(&mut self, track: Uuid) {
        let secret = self.programme.tracks[&track].secret.to_proto();
        self.say(to_child::Body::Key(proto::Key { track: bytes(track), secret: Some(secret) }));
    }

    /// A link is made and the parent welcomes: logs, all that was given so far, and the keys to it.
    fn join(&mut self) {
        self.links += 1;
        (self.link, self.joined) = (self.links, true);
        let peer = Peer { node: PARENT, role: Role::Relay };
        self.feed(Input::Up { parent: 0, link: self.link, peer });
        self.say(to_child::Body::Welcome(proto::Welcome {
            version: 1,
            features: 0,
            node: bytes(PARENT),
            placement: Some(placement(PARENT, "vn/01")),
            grants: Vec::new(),
            logs: vec![log(LOG, LOG_SSRC, &log_secret(), self.logged)],
            group: None,
            parents: Vec::new(),
        }));
        let given = self.given.clone();
        let mut orders = grants();
        for given in &given {
            match given {
                Given::Order { signed, track, .. } => {
                    if let Some(track) = track {
                        self.say_key(*track);
                    }
                    self.oracle.handle_given(self.now, given);
                    orders.push(signed.clone());
                }
                Given::Tick { .. } | Given::Sound { .. } => {}
            }
        }
        let tick = given.iter().rev().find_map(|given| match given {
            Given::Tick { signed, .. } => Some(signed.clone()),
            _ => None,
        });
        orders.extend(tick);
        self.say(to_child::Body::Push(proto::Push { orders, last: true }));
    }

    fn feed(&mut self, input: Input) {
        self.trunk.handle_input(Local(self.now), input);
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            while let Some(output) = self.trunk.poll_output() {
                self.handle_output(output);
            }
            match self.work.pop_front() {
                Some(input) => self.trunk.handle_input(Local(self.now), input),
                None => return,
            }
        }
    }

    fn handle_output(&mut self, output: Output) {
        match output {
            Output::Dial { parent: 0, .. } => self.join(),
            Output::Hang { .. } => self.joined = false,
            Output::Send { link, departure } if link == self.link && self.joined => self.answer(departure),
            Output::Branch { command, .. } => self.oracle.handle_command(&command),
            Output::Job { job, work } => {
                let done = self.perform(work);
                self.work.push_back(Input::Done { job, done });
            }
            Output::Step(step) => {
                let at = self.card.take(self.now, &step);
                self.oracle.handle_step(at, &step);
            }
            Output::Event(event) => self.oracle.handle_event(&event.what),
            _ => {}
        }
    }

    /// What the parent answers: true time, and to Listen from which packet on.
    fn answer(&mut self, departure: Departure) {
        let arrival = match departure {
            Departure::Datagram(bytes) => {
                match proto::Datagram::decode(bytes).ok().and_then(|datagram| datagram.body) {
                    Some(datagram::Body::Beat(beat)) => {
                        let civil = NOW.0 + self.now;
                        let body = Some(datagram::Body::Echo(proto::Echo {
                            origin: beat.sent,
                            received: civil,
                            sent: civil,
                            uncertainty: 500,
                            synced: true,
                            offset: NOW.0,
                            skew: 0.0,
                            every: 0,
                        }));
                        Arrival::Datagram(proto::Datagram { body }.encode_to_vec().into())
                    }
                    _ => return,
                }
            }
            Departure::Control(bytes) => match proto::ToParent::decode(bytes).ok().and_then(|message| message.body) {
                Some(to_parent::Body::Listen(listen)) => {
                    let listening = proto::Listening { track: listen.track, next: listen.from, together: 1 };
                    let body = Some(to_child::Body::Listening(listening));
                    Arrival::Control(proto::ToChild { body }.encode_to_vec().into())
                }
                _ => return,
            },
            _ => return,
        };
        self.work.push_back(Input::Arrival { link: self.link, arrival });
    }

    fn perform(&mut self, work: Job) -> Done {
        match work {
            Job::Journal(records) => {
                records.iter().for_each(|record| self.oracle.handle_record(self.now, record));
                self.journal.extend(records);
                Done::Ok
            }
            Job::Fetch { track, .. } => Done::Packets { track, packets: Vec::new() },
            Job::Keep { .. } | Job::Forget { .. } => Done::Ok,
            Job::Certify(_) => Done::Failed("nobody certifies here".to_owned()),
        }
    }
}

pub fn log(track: Uuid, ssrc: u32, secret: &Secret, next: u64) -> proto::Log {
    proto::Log { track: bytes(track), ssrc, secret: Some(secret.to_proto()), next, ended: false }
}

fn make_trunk(now: i64, start: u8) -> Trunk {
    let options = trunk::Options {
        node: NODE,
        role: Role::Relay,
        parents: vec![Address::new("parent:7460", 1).expect("an address")],
        siblings: Vec::new(),
        both: false,
        branches: 1,
        playout: Some(playout::Options::default()),
        session: child::Options::default(),
        roots: vec![Who::Root.key().public()],
        authority: None,
        log: trunk::Log { track: Uuid::from_u128(20), ssrc: 20, secret: Secret { key: [1; 16], salt: [2; 12] } },
        seed: [start; 32],
        tick: 10 * SECOND,
        rendition: Default::default(),
        daylight: trunk::Daylight::in_zone(0),
        issuer: false,
        backed: false,
        stored: u64::MAX,
        instance: 1,
    };
    Trunk::new(Local(now), options)
}

/// A sound card that runs true: 48 frames in a millisecond, silence by the period where no step is there.
struct Card {
    start: i64,
    due: i64,
    end: f64,
    inserted: u64,
    steps: u64,
}

impl Card {
    fn new(now: i64) -> Self {
        Self { start: now, due: now, end: 0.0, inserted: 0, steps: 0 }
    }

    fn played(&self, now: i64) -> f64 {
        (now - self.start) as f64 * FRAMES_PER_MICRO
    }

    fn fill(&mut self, now: i64) {
        let missing = self.played(now) - self.end;
        if missing > 0.0 {
            let frames = (missing / PERIOD).ceil() * PERIOD;
            self.inserted += frames as u64;
            self.end += frames;
        }
    }

    fn report(&mut self, now: i64) -> playout::Device {
        self.due = now + REPORT;
        self.fill(now);
        playout::Device { at: Local(now), played: self.played(now), inserted: self.inserted, steps: self.steps }
    }

    /// When the step's first sample leaves, µs of the world.
    fn take(&mut self, now: i64, step: &audio::Step) -> f64 {
        self.fill(now);
        self.steps += 1;
        let left = self.start as f64 + self.end / FRAMES_PER_MICRO;
        self.end += f64::from(step.count) * step.ratio;
        left
    }
}

const FRAMES_PER_MICRO: f64 = 0.048;
const PERIOD: f64 = 240.0;
const REPORT: i64 = 50 * MILLISECOND;
