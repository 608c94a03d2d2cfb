//! The trunk: broadcasts, tracks, tuner, clock, playout, parent sessions.
mod below;
#[cfg(test)]
mod hostile;
mod logs;
mod orders;
mod parents;
mod requests;
mod time;
mod tracks;
mod tune;

use super::branch::{Command, Notice};
use super::{Done, Job, Link, Peer, Role};
use crate::audio::Step;
use crate::broadcast::{Area, Authorities, Book, Choice, Order, Priority, State, Vouched};
use crate::key::{KeyId, PublicKey, SigningKey};
use crate::playout::{self, Player};
use crate::proto;
use crate::session::{self, Arrival, Departure};
use crate::time::{Civil, Local};
use crate::track::{Info, Packet, Reject, Secret};
use below::Below;
use logs::{Ids, LogTrack};
use parents::Parents;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use time::Time;
use tracks::Track;
use uuid::Uuid;

pub struct Options {
    pub node: Uuid,
    pub role: Role,
    /// How many parents are configured; `Output::Dial` names one by its index. 0: a root origin.
    pub parents: usize,
    pub branches: usize,
    pub playout: Option<playout::Options>,
    pub session: session::child::Options,
    pub roots: Vec<PublicKey>,
    /// Signs this node's own orders; `None` for a node that gives none.
    pub authority: Option<SigningKey>,
    /// The log of this process: fresh identity and key at each start.
    pub log: Log,
    /// Fresh random bytes: order ids and jitter are drawn from them.
    pub seed: [u8; 32],
    /// µs between ticks.
    pub tick: i64,
}

#[derive(Clone, Debug)]
pub struct Log {
    pub track: Uuid,
    pub ssrc: u32,
    pub secret: Secret,
}

#[derive(Clone, Debug)]
pub enum Input {
    /// The journal, once, before anything else (empty on a new node). Placement and grants of a node
    /// stand in it from its provisioning.
    Restore(Vec<proto::Record>),
    /// A dialled link is up / could not be made or went down.
    Up {
        parent: usize,
        link: Link,
        peer: Peer,
    },
    Down {
        parent: usize,
        link: Option<Link>,
        reason: String,
    },
    Arrival {
        link: Link,
        arrival: Arrival,
    },
    Notice {
        branch: usize,
        notice: Notice,
    },
    Request {
        id: u64,
        request: Request,
    },
    Done {
        job: u64,
        done: Done,
    },
    Device(playout::Device),
    /// The wall clock of a root origin, at start and about once a second; ignored by others.
    Wall {
        civil: Civil,
        uncertainty: u64,
    },
    /// A live source's next packet (issue 3 feeds it); it is aired at once.
    Made {
        track: Uuid,
        packet: Packet,
    },
    /// Stop in good order: goodbye to parent and children.
    Drain,
}

#[derive(Clone, Debug)]
pub enum Output {
    Dial {
        parent: usize,
    },
    Send {
        link: Link,
        departure: Departure,
    },
    Hang {
        link: Link,
        code: String,
        text: String,
    },
    /// To all branches, or one.
    Branch {
        branch: Option<usize>,
        command: Command,
    },
    Job {
        job: u64,
        work: Job,
    },
    Reply {
        id: u64,
        reply: Reply,
    },
    Event(Event),
    Step(Step),
}

#[derive(Clone, Debug)]
pub enum Request {
    Air(Box<Air>),
    Cancel {
        broadcast: Uuid,
    },
    /// Stop-all for `duration` µs, up to this node's own authority's priority.
    Hush {
        areas: Vec<Area>,
        duration: i64,
    },
    Nodes,
    Broadcasts,
}

/// A broadcast of a stored track whose packets are already in the store.
#[derive(Clone, Debug)]
pub struct Air {
    pub title: String,
    pub areas: Vec<Area>,
    pub priority: Priority,
    /// `None`: now.
    pub at: Option<Civil>,
    /// `None`: 1,000 ms, 600 ms for emergencies.
    pub delay: Option<i64>,
    /// `anchor` is set by the trunk; `packets` must be known (live: `None`, then `live` is true).
    pub track: Info,
    pub secret: Secret,
    pub live: bool,
    pub resume: bool,
}

#[derive(Clone, Debug)]
pub enum Reply {
    Aired { broadcast: Uuid, accepted: Civil, from: Civil, until: Civil, sounds: Civil },
    Done { order: Uuid },
    Nodes(Vec<proto::Report>),
    Broadcasts(Vec<Listed>),
    Refused { code: String, text: String },
}

#[derive(Clone, Debug)]
pub struct Listed {
    pub broadcast: Uuid,
    pub title: String,
    pub areas: Vec<Area>,
    pub priority: Priority,
    pub from: Civil,
    pub until: Civil,
    pub state: &'static str,
}

/// What happened, numbered; HTTP, audit and receipts share the numbers.
#[derive(Clone, Debug)]
pub struct Event {
    pub number: u64,
    pub at: Option<Civil>,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    Order {
        id: Uuid,
        kind: &'static str,
        title: String,
    },
    Refused {
        code: String,
        text: String,
    },
    Began {
        broadcast: Uuid,
        at: Civil,
    },
    Ended {
        broadcast: Uuid,
        at: Civil,
        whole: bool,
    },
    Parent {
        parent: usize,
        up: bool,
        reason: String,
    },
    Child {
        node: Uuid,
        up: bool,
    },
    /// Something an operator must know: disk, clock, authority.
    Trouble {
        code: &'static str,
        text: String,
    },
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters {
    /// Verified packets of sound and of logs.
    pub received: u64,
    pub repaired: u64,
    pub lost: u64,
    pub packets_rejected: BTreeMap<Reject, u64>,
    pub orders_accepted: u64,
    pub orders_rejected: BTreeMap<&'static str, u64>,
    pub parents: u64,
    pub children: u64,
    pub player: playout::Counters,
    /// Playout error, µs.
    pub offset: i64,
    pub synced: bool,
    pub uncertainty: u64,
    /// Packets or orders dropped because a bound was hit, by queue.
    pub dropped: BTreeMap<&'static str, u64>,
    /// µs from the origin's seal to this node's verification, newest.
    pub delivery: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    Session,
    Dial,
    Tick,
    Air,
    Repeat,
    Tune,
    Fetch,
    Step,
    Report,
}

/// One node's trunk.
pub struct Trunk {
    options: Options,
    ids: Ids,
    /// Where this node stands, once its journal or its parent has said so.
    place: Option<Place>,
    authorities: Authorities,
    book: Book,
    /// Highest order number of this node's own authority.
    number: u64,
    time: Time,
    /// The line from local to civil time as of the last input.
    line: Option<playout::Phase>,
    player: Option<Player>,
    parents: Parents,
    logs: BTreeMap<Uuid, LogTrack>,
    tracks: BTreeMap<Uuid, Track>,
    /// Tracks that this process made, and how many packets of each are stored (0: live).
    own_tracks: BTreeMap<Uuid, u64>,
    /// Secrets that came before their order, in the order of their coming in `early_ids`.
    early: BTreeMap<Uuid, Secret>,
    early_ids: VecDeque<Uuid>,
    /// Grants and revocations that stand in the journal: every join brings them again.
    written: BTreeSet<Uuid>,
    /// Orders whose grant has not come yet.
    parked: VecDeque<(proto::Signed, From)>,
    jobs: BTreeMap<u64, Pending>,
    next_job: u64,
    /// Urgent log packets go again at these instants.
    repeats: BTreeMap<(Local, u64, Uuid), Packet>,
    below: Below,
    tick_at: Local,
    /// When this node last gave an order.
    ordered_at: Option<Local>,
    tune_at: Option<Local>,
    /// What the tuner chose last.
    tuned: Option<Choice>,
    event_number: u64,
    outputs: VecDeque<Output>,
    counters: Counters,
    draining: bool,
}

/// A node's signed place.
struct Place {
    area: Area,
    name: String,
    signed: proto::Signed,
    authority: KeyId,
}

/// What a job's answer is for.
enum Pending {
    /// A record that nobody waits for.
    Record,
    /// An order that becomes valid when it is on disk.
    Order { order: Box<Vouched>, signed: proto::Signed, from: From },
    /// Packets fetched ahead are on disk.
    Kept { track: Uuid, indices: Vec<u64> },
    /// Packets of an own stored track, to be aired.
    Air { track: Uuid },
}

/// Where an order came from, and so what must follow when it is accepted.
#[derive(Clone, Debug)]
enum From {
    /// A packet of a log: it is forwarded once the order is good.
    Log { track: Uuid, packet: Packet },
    /// Handed over at a join.
    Push,
    /// Given by this node: it goes into the own log, and the reply is sent.
    Own { request: Option<(u64, Box<Reply>)> },
}

impl Trunk {
    pub fn new(now: Local, options: Options) -> Self {
        let own = LogTrack::own(&options.log);
        let mut trunk = Self {
            ids: Ids::new(options.seed),
            place: None,
            authorities: Authorities::new(options.roots.clone()),
            book: Book::new(),
            number: 0,
            time: Time::new(options.parents == 0),
            line: None,
            player: options.playout.map(Player::new),
            parents: Parents::new(now, options.parents),
            logs: BTreeMap::new(),
            tracks: BTreeMap::new(),
            own_tracks: BTreeMap::new(),
            early: BTreeMap::new(),
            early_ids: VecDeque::new(),
            written: BTreeSet::new(),
            parked: VecDeque::new(),
            jobs: BTreeMap::new(),
            next_job: 0,
            repeats: BTreeMap::new(),
            below: Below::new(now),
            tick_at: now,
            ordered_at: None,
            tune_at: None,
            tuned: None,
            event_number: 0,
            outputs: VecDeque::new(),
            counters: Counters::default(),
            draining: false,
            options,
        };
        if trunk.options.authority.is_some() {
            trunk.carry_log(&own);
            trunk.logs.insert(own.id, own);
        }
        trunk
    }

    pub fn handle_input(&mut self, now: Local, input: Input) {
        match input {
            Input::Restore(records) => self.restore(now, records),
            Input::Up { parent, link, peer } => self.handle_parent_up(now, parent, link, peer),
            Input::Down { parent, link, reason } => self.handle_parent_down(now, parent, link, &reason),
            Input::Arrival { link, arrival } => self.handle_arrival(now, link, arrival),
            Input::Notice { branch, notice } => self.handle_notice(now, branch, notice),
            Input::Request { id, request } => self.handle_request(now, id, request),
            Input::Done { job, done } => self.handle_done(now, job, done),
            Input::Device(device) => {
                if let Some(player) = &mut self.player {
                    player.handle_device(now, device);
                }
            }
            Input::Wall { civil, uncertainty } => {
                if let Some(behind) = self.time.handle_wall(now, civil, uncertainty) {
                    let text = format!(
                        "the wall clock is {behind} µs off the time given out; it is followed by 500 ppm at most"
                    );
                    self.trouble(now, "clock.stepped", text);
                }
                self.handle_phase(now);
            }
            Input::Made { track, packet } => self.handle_made(now, track, packet),
            Input::Drain => self.drain(now),
        }
        self.after(now);
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<(Local, Reason)> {
        let own_log = (self.options.authority.is_some() && !self.draining).then_some((self.tick_at, Reason::Tick));
        [
            self.parents.poll_timeout(),
            own_log,
            self.next_air(),
            self.next_fetch(),
            self.repeats.first_key_value().map(|((at, ..), _)| (*at, Reason::Repeat)),
            self.tune_at.map(|at| (at, Reason::Tune)),
            self.player.as_ref().and_then(|player| player.poll_timeout()).map(|(at, _)| (at, Reason::Step)),
            Some((self.below.due(), Reason::Report)),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub fn handle_timeout(&mut self, now: Local) {
        self.handle_parents_timeout(now);
        if self.options.authority.is_some() && !self.draining && self.tick_at <= now {
            self.tick(now);
        }
        while let Some(entry) = self.repeats.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let track = entry.key().2;
            let packet = entry.remove();
            self.tell_branches(Command::Packet { track, packet, again: true });
        }
        self.air_due(now);
        self.fetch_due(now);
        if self.tune_at.is_some_and(|at| at <= now) {
            // A line bends where its slew ends, also when no exchange comes to say so.
            self.handle_phase(now);
            self.tune(now);
        }
        if self.below.due() <= now {
            self.report(now);
        }
        self.after(now);
    }

    pub fn counters(&self) -> Counters {
        let mut counters = self.counters.clone();
        let session = self.parents.counters();
        counters.repaired = session.repaired;
        counters.lost = session.abandoned;
        counters.parents = self.parents.welcomed() as u64;
        counters.children = self.below.direct() as u64;
        if let Some(player) = &self.player {
            counters.player = player.counters();
            counters.lost = counters.player.lost;
        }
        counters
    }

    /// This node's civil time, once trusted.
    pub fn civil(&self, now: Local) -> Option<Civil> {
        self.time.civil(now)
    }

    /// A root origin with a clock, or a node that a parent has welcomed and that has trusted time.
    pub fn ready(&self) -> bool {
        self.counters.synced && (self.options.parents == 0 || self.parents.welcomed() > 0)
    }

    /// Everything an input may have set in motion.
    fn after(&mut self, now: Local) {
        self.drain_sessions(now);
        if let Some(player) = &mut self.player {
            while let Some(step) = player.poll_step(now) {
                self.outputs.push_back(Output::Step(step));
            }
        }
        self.drain_player_events(now);
        let synced = self.time.civil(now).is_some();
        if synced != self.counters.synced {
            self.counters.synced = synced;
            self.retry_parked(now);
            self.tune(now);
            self.drain_sessions(now);
        }
        self.line = self.time.phase(now);
        self.counters.uncertainty = self.line.map_or(0, |phase| phase.uncertainty);
    }

    fn drain_player_events(&mut self, now: Local) {
        while let Some(event) = self.player.as_mut().and_then(|player| player.poll_event()) {
            match event {
                playout::Event::Began { broadcast, at } => {
                    self.book.set_state(broadcast, State::Sounding);
                    self.below.first = Some((broadcast, at));
                    self.event(now, What::Began { broadcast, at });
                    self.report_now(now);
                }
                playout::Event::Ended { broadcast, at, whole } => {
                    if whole {
                        self.below.ended = Some(broadcast);
                    }
                    self.event(now, What::Ended { broadcast, at, whole });
                    self.report_now(now);
                }
                playout::Event::Lost { .. } => {}
                playout::Event::Restarted { error } => {
                    let text = format!("playout was {error} µs off and began anew in step");
                    self.trouble(now, "playout.restarted", text);
                }
            }
        }
    }

    /// A new line from local to civil time: to the branches for clock answers, to the player.
    fn handle_phase(&mut self, now: Local) {
        let Some(phase) = self.time.phase(now) else { return };
        self.tell_branches(Command::Phase(phase));
        if let Some(player) = &mut self.player {
            player.handle_phase(now, phase);
        }
        if self.tune_at.is_none() || self.tuned.is_none() {
            self.tune(now);
        }
    }

    fn drain(&mut self, now: Local) {
        self.draining = true;
        self.tell_branches(Command::Drain);
        self.goodbye_to_parents(now);
        if let Some(player) = &mut self.player {
            player.handle_program(now, None);
        }
    }

    fn tell_branches(&mut self, command: Command) {
        if self.options.branches > 0 {
            self.outputs.push_back(Output::Branch { branch: None, command });
        }
    }

    fn job(&mut self, pending: Pending, work: Job) {
        let job = self.next_job;
        self.next_job += 1;
        self.jobs.insert(job, pending);
        self.outputs.push_back(Output::Job { job, work });
    }

    fn handle_done(&mut self, now: Local, job: u64, done: Done) {
        let Some(pending) = self.jobs.remove(&job) else { return };
        if let Done::Failed(text) = &done {
            self.trouble(now, "store.failed", text.clone());
        }
        match (pending, done) {
            (Pending::Record, _) => {}
            (Pending::Order { order, signed, from }, Done::Failed(text)) => {
                if let From::Own { request: Some((id, _)) } = from {
                    let text = format!("the order could not be written to disk and was not given: {text}");
                    self.refuse(id, "store.failed", &text);
                } else {
                    // A full disk must not silence a country: what is signed is acted on, unrecorded.
                    let _ = self.accept(now, *order, signed, from);
                }
            }
            (Pending::Order { order, signed, from }, _) => {
                let _ = self.accept(now, *order, signed, from);
            }
            (Pending::Kept { track, indices }, Done::Ok) => self.handle_kept(now, track, &indices),
            (Pending::Kept { .. }, _) => {}
            (Pending::Air { track }, Done::Packets { packets, .. }) => self.handle_fetched_to_air(now, track, packets),
            (Pending::Air { track }, _) => self.handle_fetched_to_air(now, track, Vec::new()),
        }
    }

    fn event(&mut self, now: Local, what: What) {
        let number = self.event_number;
        self.event_number += 1;
        self.outputs.push_back(Output::Event(Event { number, at: self.time.civil(now), what }));
    }

    fn trouble(&mut self, now: Local, code: &'static str, text: String) {
        self.event(now, What::Trouble { code, text });
    }

    fn refuse(&mut self, id: u64, code: &str, text: &str) {
        let reply = Reply::Refused { code: code.into(), text: text.into() };
        self.outputs.push_back(Output::Reply { id, reply });
    }

    fn dropped(&mut self, queue: &'static str) {
        *self.counters.dropped.entry(queue).or_default() += 1;
    }
}
