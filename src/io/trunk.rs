//! The trunk's thread: a [`Trunk`], the links to its parents, and the queues to everybody else.
use super::clock::{self, Now};
use super::group;
use super::jobs::{Asker, Jobs};
use super::metrics::Metrics;
use super::queue;
use super::quic::{self, Driver};
use super::resolve::{Resolved, Resolver};
use super::sound::Said;
use super::told::Told;
use super::wake::{Interest, Waker, wait};
use crate::audio::Step;
use crate::node::branch::{Command, Notice};
use crate::node::trunk::{Counters, Event, Input, Options, Output, Reply, Request};
use crate::node::{Done, Link, Trunk};
use crate::playout::Phase;
use crate::proto;
use crate::session::Arrival;
use crate::time::{Civil, Local};
use crate::track::Packet;
use bytes::Bytes;
use crossbeam_channel::Receiver;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, oneshot};
use uuid::Uuid;

/// What control asks of the trunk's thread.
pub enum Ask {
    Request { request: Box<Request>, reply: oneshot::Sender<Reply> },
    Drain,
}

/// What the trunk's thread is given.
pub struct Setup {
    pub journal: Vec<proto::Record>,
    pub driver: Driver,
    pub waker: Waker,
    pub resolver: Resolver,
    pub resolved: Receiver<Resolved>,
    pub asks: Receiver<Ask>,
    /// Packets of live sources.
    pub made: Receiver<(Uuid, Packet)>,
    pub notices: Receiver<(usize, Notice)>,
    pub devices: Receiver<Said>,
    /// To the look-out.
    pub certified: crossbeam_channel::Sender<Vec<Bytes>>,
    pub results: Receiver<(u64, Done)>,
    pub branches: Vec<queue::Sender<Command>>,
    pub steps: Option<queue::Sender<Step>>,
    /// Whether to join a parent's multicast group.
    pub multicast: bool,
    /// Whether this machine's clock is trusted where no parent tells the time.
    pub clock: crate::config::Clock,
    pub jobs: Jobs,
    pub events: broadcast::Sender<Event>,
    pub metrics: Arc<Metrics>,
    pub state: Arc<Mutex<State>>,
}

/// What the trunk knows and counts, at most a second old.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// When it was written.
    pub at: Local,
    pub civil: Option<Civil>,
    /// The line from local to civil time, while that is trusted.
    pub phase: Option<Phase>,
    pub ready: bool,
    pub trunk: Counters,
    pub quic: quic::Counters,
}

/// Starts the thread; it ends after `Ask::Drain`, or when every handle is gone.
pub fn start(options: Options, setup: Setup) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("trunk".into()).spawn(move || Loop::new(options, setup).run())
}

struct Loop {
    setup: Setup,
    trunk: Trunk,
    /// A root origin's civil time is this machine's clock.
    root: bool,
    /// Links to parents, and whether they are up.
    parents: BTreeMap<Link, (usize, bool)>,
    /// Groups of parents, by link: at most [`GROUPS`].
    groups: BTreeMap<Link, group::Listener>,
    replies: BTreeMap<u64, oneshot::Sender<Reply>>,
    next_request: u64,
    /// Inputs that answer an output at once.
    again: VecDeque<Input>,
    leaving: Option<Instant>,
    second: Instant,
    told: Told,
}

impl Loop {
    fn new(options: Options, setup: Setup) -> Self {
        let now = Now::read();
        let root = options.parents.is_empty();
        let trunk = Trunk::new(now.local, options);
        let (parents, groups) = (BTreeMap::new(), BTreeMap::new());
        let (replies, again) = (BTreeMap::new(), VecDeque::new());
        Self {
            setup,
            trunk,
            root,
            parents,
            groups,
            replies,
            next_request: 0,
            again,
            leaving: None,
            second: now.instant,
            told: Told::default(),
        }
    }

    fn run(mut self) {
        let now = Now::read();
        let journal = std::mem::take(&mut self.setup.journal);
        self.input(now, Input::Restore(journal));
        self.each_second(now);
        loop {
            self.setup.waker.rest();
            let mut now = Now::read();
            let mut more = self.setup.driver.handle_readable(now.instant);
            self.take_events(now);
            more |= self.take_groups(now);
            more |= self.take_queues(now);
            if self.trunk.poll_timeout().is_some_and(|(at, _)| at <= now.local) {
                self.trunk.handle_timeout(now.local);
                self.drain(now);
            }
            self.setup.driver.handle_timeout(now.instant);
            self.take_events(now);
            self.setup.driver.flush(now.instant);
            self.take_events(now);
            self.setup.driver.flush(now.instant);
            let mut late = false;
            for branch in &mut self.setup.branches {
                late |= branch.flush();
            }
            now = Now::read();
            if now.instant - self.second >= SECOND {
                self.each_second(now);
            }
            if let Some(until) = self.leaving
                && (now.instant >= until || (self.setup.driver.links() == 0 && !late))
            {
                self.setup.driver.flush(now.instant);
                return;
            }
            let timeout = if more { Duration::ZERO } else { self.timeout(now, late) };
            let socket = self.setup.driver.socket().descriptor();
            let mut interests = [Interest { descriptor: NOBODY, write: false }; 2 + GROUPS];
            interests[0] = Interest { descriptor: socket, write: self.setup.driver.wants_write() };
            interests[1].descriptor = self.setup.waker.descriptor();
            for (interest, group) in interests.iter_mut().skip(2).zip(self.groups.values()) {
                interest.descriptor = group.descriptor();
            }
            wait(interests, timeout);
        }
    }

    fn timeout(&self, now: Now, late: bool) -> Duration {
        let trunk = self.trunk.poll_timeout().map(|(at, _)| now.until(at));
        let quic = self.setup.driver.poll_timeout().map(|at| at.saturating_duration_since(now.instant));
        let second = Some((self.second + SECOND).saturating_duration_since(now.instant));
        let again = (late || self.leaving.is_some()).then_some(AGAIN);
        [trunk, quic, second, again].into_iter().flatten().min().unwrap_or(SECOND)
    }

    fn each_second(&mut self, now: Now) {
        self.second = now.instant;
        if self.root {
            self.input(now, Input::Wall { civil: clock::wall(), uncertainty: WALL });
        } else if let Some(uncertainty) = clock::trusted(&self.setup.clock) {
            self.input(now, Input::Wall { civil: clock::wall(), uncertainty });
        }
        *self.setup.state.lock().unwrap_or_else(PoisonError::into_inner) = State {
            at: now.local,
            civil: self.trunk.civil(now.local),
            phase: self.trunk.phase(now.local),
            ready: self.trunk.ready(),
            trunk: self.trunk.counters(),
            quic: self.setup.driver.counters(),
        };
        self.setup.metrics.upkeep();
        self.told.rest(now.instant);
        // Whoever asked and went away is forgotten.
        self.replies.retain(|_, reply| !reply.is_closed());
    }

    /// What waits in the queues, at most so much that packets get their turn. True if some is left.
    fn take_queues(&mut self, now: Now) -> bool {
        let mut inputs: Vec<Input> = Vec::new();
        inputs.extend(self.setup.made.try_iter().take(TURN).map(|(track, packet)| Input::Made { track, packet }));
        inputs.extend(self.setup.devices.try_iter().take(TURN).map(of_device));
        inputs.extend(self.setup.results.try_iter().take(TURN).map(|(job, done)| Input::Done { job, done }));
        let notices = self.setup.notices.try_iter().take(TURN);
        inputs.extend(notices.map(|(branch, notice)| Input::Notice { branch, notice }));
        let more = inputs.len() >= TURN;
        for input in inputs {
            self.input(now, input);
        }
        let asks: Vec<Ask> = self.setup.asks.try_iter().take(TURN).collect();
        for ask in asks {
            match ask {
                // Dropping the sender tells the asker that there is no room.
                Ask::Request { .. } if self.replies.len() >= REQUESTS => {}
                Ask::Request { request, reply } => {
                    let id = self.next_request;
                    self.next_request += 1;
                    self.replies.insert(id, reply);
                    self.input(now, Input::Request { id, request: *request });
                }
                Ask::Drain => {
                    self.leaving = Some(now.instant + FAREWELL);
                    self.input(now, Input::Drain);
                }
            }
        }
        let resolved: Vec<Resolved> = self.setup.resolved.try_iter().collect();
        for Resolved { parent, address } in resolved {
            let dialled = address.and_then(|address| self.setup.driver.dial(now.instant, address));
            match dialled {
                Ok(link) => {
                    self.parents.insert(link, (parent, false));
                }
                Err(reason) => self.input(now, Input::Down { parent, link: None, reason }),
            }
        }
        more
    }

    /// Media by groups. True if some may be left.
    fn take_groups(&mut self, now: Now) -> bool {
        let mut more = false;
        let mut came = Vec::new();
        for (link, group) in &mut self.groups {
            more |= group.receive(|bytes| came.push((*link, bytes)));
        }
        for (link, bytes) in came {
            self.input(now, Input::Arrival { link, arrival: Arrival::Group(bytes) });
        }
        more
    }

    fn join(&mut self, link: Link, named: &proto::Group) {
        let source = self.setup.driver.media_address(link);
        if let (true, Some(source)) = (self.setup.multicast && self.groups.len() < GROUPS, source) {
            let joined = group::read(named).ok_or_else(|| "not a source-specific group".to_owned());
            match joined.and_then(|group| group::Listener::join(group, source).map_err(|error| error.to_string())) {
                Ok(listener) => drop(self.groups.insert(link, listener)),
                // All comes by unicast, as to whoever was not told.
                Err(error) => {
                    tracing::warn!(code = "parent.multicast", %source, %error, "cannot join the parent's multicast group")
                }
            }
        }
    }

    fn take_events(&mut self, now: Now) {
        while let Some(event) = self.setup.driver.poll_event() {
            match event {
                quic::Event::Up { link, peer } => {
                    if let Some((parent, up)) = self.parents.get_mut(&link) {
                        *up = true;
                        let parent = *parent;
                        self.input(now, Input::Up { parent, link, peer });
                    }
                }
                quic::Event::Down { link, reason } => {
                    self.groups.remove(&link);
                    if let Some((parent, up)) = self.parents.remove(&link) {
                        // A link that this node ends itself, as it stops, is no news.
                        if reason.starts_with("node.stopping: this node") {
                            tracing::debug!(parent, %reason, "a parent's link is closed");
                        } else {
                            tracing::info!(parent, %reason, "a parent's link is down");
                        }
                        self.input(now, Input::Down { parent, link: up.then_some(link), reason });
                    }
                }
                quic::Event::Arrival { link, arrival } => self.input(now, Input::Arrival { link, arrival }),
                // Children don't send media.
                quic::Event::Moved { .. } => {}
            }
        }
    }

    fn input(&mut self, now: Now, input: Input) {
        self.trunk.handle_input(now.local, input);
        self.drain(now);
    }

    fn drain(&mut self, now: Now) {
        loop {
            while let Some(output) = self.trunk.poll_output() {
                self.output(now, output);
            }
            match self.again.pop_front() {
                Some(input) => self.trunk.handle_input(now.local, input),
                None => return,
            }
        }
    }

    fn output(&mut self, now: Now, output: Output) {
        match output {
            Output::Dial { parent, address } => {
                if let Err(reason) = self.setup.resolver.resolve(parent, &address) {
                    self.again.push_back(Input::Down { parent, link: None, reason });
                }
            }
            Output::Send { link, departure } => self.setup.driver.send(now.instant, link, departure),
            Output::Hang { link, code, text } => self.setup.driver.close(now.instant, link, &code, &text),
            Output::Join { link, group } => self.join(link, &group),
            Output::Branch { branch: Some(branch), command } => {
                if let Some(sender) = self.setup.branches.get_mut(branch) {
                    give(sender, command);
                }
            }
            Output::Branch { branch: None, command } => {
                for sender in &mut self.setup.branches {
                    give(sender, command.clone());
                }
            }
            Output::Job { job, work } => {
                if let Err(done) = self.setup.jobs.give(Asker::Trunk, job, work) {
                    self.again.push_back(Input::Done { job, done });
                }
            }
            Output::Reply { id, reply } => {
                if let Some(asker) = self.replies.remove(&id) {
                    // Whoever has gone away is owed nothing.
                    let _ = asker.send(reply);
                }
            }
            Output::Certified { chain } => {
                // Whoever looks after the certificate takes one at a time, and asks again.
                let _ = self.setup.certified.try_send(chain);
            }
            Output::FirstSound { priority, after } => self.setup.metrics.first_sound(priority, after),
            Output::Event(event) => {
                self.told.tell(now.instant, &event.what);
                // Nobody needs to be listening.
                drop(self.setup.events.send(event));
            }
            Output::Step(step) => {
                if let Some(steps) = &self.setup.steps {
                    steps.offer(step);
                }
            }
        }
    }
}

fn of_device(said: Said) -> Input {
    match said {
        Said::Device(device) => Input::Device(device),
        Said::Level(reading) => Input::Level(reading),
        Said::Switch(on) => Input::Switch(on),
        Said::Trouble { code, text } => Input::Trouble { code, text },
        Said::Mended { code, text } => Input::Mended { code, text },
        Said::Renew { key, proof, chain } => Input::Renew { key, proof, chain },
    }
}

/// Packets that find a shard's queue full are lost and repaired; what is said once is not.
fn give(sender: &mut queue::Sender<Command>, command: Command) {
    let kept = match &command {
        Command::Packet { .. } | Command::Missing { .. } | Command::Phase(_) => {
            sender.offer(command);
            return;
        }
        _ => sender.send(command),
    };
    if !kept {
        tracing::error!(
            code = "node.shard",
            "a shard takes no commands any more; its children miss what was said to them"
        );
    }
}

/// Inputs taken from the queues before the socket is looked at again.
const TURN: usize = 256;
/// Requests under way at once: as many as may wait in the queue.
const REQUESTS: usize = 256;
/// µs by which reading the wall clock errs. A root origin's clock is civil time by definition; how far
/// it is from UTC is for NTP to say.
const WALL: u64 = 100;
/// Groups joined at once: of two parents.
const GROUPS: usize = 2;
/// poll leaves out what is negative.
const NOBODY: RawFd = -1;
const SECOND: Duration = Duration::from_secs(1);
/// How soon to try a full queue again.
const AGAIN: Duration = Duration::from_millis(2);
/// How long goodbyes may take.
const FAREWELL: Duration = Duration::from_millis(1_500);
