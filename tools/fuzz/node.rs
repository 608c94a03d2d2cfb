//! A relay as `io` would run it, without the world: trunk and one branch, a parent above, a child below.

use bytes::Bytes;
use loa::broadcast::{Address, Area, Body, Grant, Kind, Order, Placement, Priority, sign};
use loa::key::{Domain, SigningKey};
use loa::node::branch::{self, Branch};
use loa::node::trunk::{self, Trunk};
use loa::node::{Done, Job, Link, Peer, Role};
use loa::proto;
use loa::session::{Departure, child};
use loa::time::{Civil, Local, SECOND};
use loa::track::{Cipher, Secret};
use prost::Message;
use std::collections::VecDeque;
use uuid::Uuid;

/// When every script plays.
pub const NOW: Civil = Civil(1_800_000_000 * SECOND);
pub const PARENT: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0010);
pub const CHILD: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0011);
const RELAY: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0012);
/// The log that the parent carries.
pub const LOG: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0013);
pub const LOG_SSRC: u32 = 9;
const ABOVE: Link = 1;
const BELOW: Link = 2;

/// Lanes 0 to 4 come from the parent, 5 to 9 from the child, as `targets::arrival` says. The others are what
/// only an insider can make: lane 10, an order that its authority signs, in the log; 11, the same in a Push;
/// 12, a packet of sound whose tag holds; 13, the link to the child (even length) or the parent ends and
/// comes again. Whatever else the parent says, its clock is honest and answers every beat.
pub struct Relay {
    now: Local,
    trunk: Trunk,
    branch: Branch,
    log: Cipher,
    logged: u64,
    aired: u64,
    /// Beats that the parent has not answered.
    beats: Vec<u64>,
}

enum Work {
    Trunk(trunk::Input),
    Branch(branch::Input),
}

impl Relay {
    pub fn new() -> Self {
        let now = Local(0);
        let options = trunk::Options {
            node: RELAY,
            role: Role::Relay,
            parents: vec![Address::new("parent:7460", 1).expect("an address")],
            siblings: Vec::new(),
            both: false,
            branches: 1,
            playout: Some(loa::playout::Options::default()),
            session: child::Options::default(),
            roots: vec![root().public()],
            authority: None,
            log: trunk::Log { track: Uuid::from_u128(20), ssrc: 20, secret: log_secret() },
            seed: [7; 32],
            tick: 10 * SECOND,
            rendition: Default::default(),
            daylight: trunk::Daylight::in_zone(0),
            issuer: false,
            backed: false,
            stored: u64::MAX,
            instance: 1,
        };
        let mut relay = Self {
            now,
            trunk: Trunk::new(now, options),
            branch: Branch::new(now, branch::Options::default()),
            log: Cipher::new(&log_secret(), LOG_SSRC),
            logged: 0,
            aired: 0,
            beats: Vec::new(),
        };
        let records = [placement(RELAY, "vn/01"), grant()]
            .map(|order| proto::Record { body: Some(proto::record::Body::Order(order)) });
        relay.run(Work::Trunk(trunk::Input::Restore(records.to_vec())));
        relay.timeouts();
        relay.connect_parent();
        relay.connect_child();
        relay
    }

    /// A relay that has been through a script.
    pub fn play(bytes: &[u8]) -> Self {
        let mut relay = Self::new();
        for super::Scripted { lane, wait, frame } in super::script(bytes) {
            relay.handle(lane, wait, frame);
        }
        relay
    }

    pub fn handle(&mut self, lane: u8, wait: i64, frame: Bytes) {
        self.now += wait;
        self.timeouts();
        for origin in std::mem::take(&mut self.beats) {
            let (civil, skew) = (NOW.0 + self.now.0, 0.0);
            let echo = proto::Echo {
                origin,
                received: civil,
                sent: civil,
                uncertainty: 500,
                synced: true,
                offset: NOW.0,
                skew,
                every: 0,
            };
            let body = Some(proto::datagram::Body::Echo(echo));
            self.parent_says(3, proto::Datagram { body }.encode_to_vec().into());
        }
        match lane % 14 {
            lane @ 0..5 => self.parent_says(lane, frame),
            lane @ 5..10 => {
                let arrival = super::arrival(lane, frame);
                self.run(Work::Branch(branch::Input::Arrival { link: BELOW, arrival }));
            }
            10 => {
                let bytes = self.log.protect(self.logged, self.logged as u32, 97, &signed(&frame).encode_to_vec());
                self.logged += 1;
                self.parent_says(4, bytes);
            }
            11 => {
                let push = proto::Push { orders: vec![signed(&frame)], last: true };
                let body = Some(proto::to_child::Body::Push(push));
                self.parent_says(0, proto::ToChild { body }.encode_to_vec().into());
            }
            12 => {
                let info = super::info(&super::secret());
                let cipher = Cipher::new(&super::secret(), info.ssrc);
                let frame = frame.slice(..frame.len().min(1_172));
                let bytes = cipher.protect(self.aired, info.timestamp(self.aired), 96, &frame);
                self.aired += 1;
                self.parent_says(4, bytes);
            }
            _ if frame.len().is_multiple_of(2) => {
                self.run(Work::Branch(branch::Input::Down { link: BELOW }));
                self.connect_child();
            }
            _ => {
                let down = trunk::Input::Down { parent: 0, link: Some(ABOVE), reason: "cut".into() };
                self.run(Work::Trunk(down));
                self.connect_parent();
            }
        }
    }

    pub fn counters(&self) -> (trunk::Counters, branch::Counters) {
        (self.trunk.counters(), self.branch.counters())
    }

    fn parent_says(&mut self, lane: u8, frame: Bytes) {
        self.run(Work::Trunk(trunk::Input::Arrival { link: ABOVE, arrival: super::arrival(lane, frame) }));
    }

    fn connect_parent(&mut self) {
        let peer = Peer { node: PARENT, role: Role::Relay };
        self.run(Work::Trunk(trunk::Input::Up { parent: 0, link: ABOVE, peer }));
    }

    fn connect_child(&mut self) {
        let peer = Peer { node: CHILD, role: Role::Speaker };
        self.run(Work::Branch(branch::Input::Up { link: BELOW, peer }));
    }

    /// As many as one wake would: a script that leaps over minutes wakes once, late.
    fn timeouts(&mut self) {
        for turn in 0.. {
            let trunk = self.trunk.poll_timeout().filter(|(at, _)| *at <= self.now);
            let branch = self.branch.poll_timeout().filter(|(at, _)| *at <= self.now);
            if trunk.is_none() && branch.is_none() {
                return;
            }
            assert!(turn < super::TURNS, "timeouts that never move on: {trunk:?} {branch:?} at {:?}", self.now);
            if trunk.is_some() {
                self.trunk.handle_timeout(self.now);
            }
            if branch.is_some() {
                self.branch.handle_timeout(self.now);
            }
            self.drain(VecDeque::new());
        }
    }

    fn run(&mut self, work: Work) {
        self.drain(VecDeque::from([work]));
    }

    fn drain(&mut self, mut work: VecDeque<Work>) {
        loop {
            while let Some(output) = self.trunk.poll_output() {
                match output {
                    trunk::Output::Branch { command, .. } => {
                        work.push_back(Work::Branch(branch::Input::Command(command)));
                    }
                    trunk::Output::Send { link: ABOVE, departure: Departure::Datagram(bytes) } => {
                        if let Ok(proto::Datagram { body: Some(proto::datagram::Body::Beat(beat)) }) =
                            proto::Datagram::decode(bytes)
                        {
                            self.beats.push(beat.sent);
                        }
                    }
                    trunk::Output::Job { job, work: asked } => {
                        work.push_back(Work::Trunk(trunk::Input::Done { job, done: done(&asked) }));
                    }
                    _ => {}
                }
            }
            while let Some(output) = self.branch.poll_output() {
                match output {
                    branch::Output::Notice(notice) => {
                        work.push_back(Work::Trunk(trunk::Input::Notice { branch: 0, notice }));
                    }
                    branch::Output::Job { job, work: asked } => {
                        work.push_back(Work::Branch(branch::Input::Done { job, done: done(&asked) }));
                    }
                    _ => {}
                }
            }
            match work.pop_front() {
                Some(Work::Trunk(input)) => self.trunk.handle_input(self.now, input),
                Some(Work::Branch(input)) => self.branch.handle_input(self.now, input),
                None => return,
            }
        }
    }
}

/// A store that works and holds nothing.
fn done(job: &Job) -> Done {
    match job {
        Job::Fetch { track, .. } => Done::Packets { track: *track, packets: Vec::new() },
        _ => Done::Ok,
    }
}

/// An order's bytes with the signature that they need.
fn signed(payload: &Bytes) -> proto::Signed {
    let key = authority();
    let signature =
        proto::Signature { key: key.id().0.to_vec().into(), value: key.sign(Domain::Order, payload).to_vec().into() };
    proto::Signed { payload: payload.clone(), signatures: vec![signature] }
}

pub fn root() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

pub fn authority() -> SigningKey {
    SigningKey::from_seed(&[2; 32])
}

pub fn log_secret() -> Secret {
    Secret { key: [8; 16], salt: [9; 12] }
}

pub fn placement(node: Uuid, place: &str) -> proto::Signed {
    let placement = Placement { node, area: area(place), name: "a node".into(), parents: Vec::new() };
    by_root(node.as_u128() as u64 & 0xff, Body::Placement(placement))
}

/// What [`authority`] may do: everything in the country.
pub fn grant() -> proto::Signed {
    let kinds = [Kind::Broadcast, Kind::Cancel, Kind::Hush, Kind::Grant, Kind::Revoke, Kind::Placement, Kind::Tick];
    let grant = Grant {
        key: authority().public(),
        areas: vec![area("vn")],
        kinds: kinds.to_vec(),
        up_to: Priority::Emergency,
        from: NOW + -3_600 * SECOND,
        until: NOW + 86_400 * SECOND,
        name: "nation".into(),
        alone_from: 0,
    };
    by_root(1, Body::Grant(grant))
}

fn by_root(number: u64, body: Body) -> proto::Signed {
    let id = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_1000 + u128::from(number));
    sign(&Order::new(id, root().id(), number, NOW, vec![area("vn")], body), &root())
}

pub fn area(text: &str) -> Area {
    text.parse().expect("an area")
}
