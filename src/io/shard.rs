//! One shard: a thread, a UDP port, a [`Branch`] and the links of its children.
use super::clock::Now;
use super::fanout::{self, Fanout};
use super::group;
use super::jobs::{Asker, Jobs};
use super::queue;
use super::quic::{self, Driver};
use super::wake::{Interest, Waker, wait};
use crate::node::branch::{Command, Counters, Input, Notice, Options, Output, TOO_OFTEN};
use crate::node::{Branch, Done, GROUP};
use crossbeam_channel::{Receiver, TryRecvError};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a shard's thread is given.
pub struct Setup {
    pub index: usize,
    pub options: Options,
    pub driver: Driver,
    pub waker: Waker,
    pub commands: Receiver<Command>,
    pub results: Receiver<(u64, Done)>,
    pub notices: queue::Sender<(usize, Notice)>,
    pub jobs: Jobs,
    /// Where media goes once for all children that hear it there.
    pub group: Option<SocketAddr>,
    pub state: Arc<Mutex<State>>,
}

/// What a shard counts, about a second old.
#[derive(Clone, Copy, Debug, Default)]
pub struct State {
    pub branch: Counters,
    pub quic: quic::Counters,
    pub fanout: fanout::Counters,
}

/// Starts the thread; it ends after `Command::Drain`, or when the trunk is gone.
pub fn start(setup: Setup) -> io::Result<JoinHandle<()>> {
    let name = format!("shard {}", setup.index);
    std::thread::Builder::new().name(name).spawn(move || Shard::new(setup).run())
}

struct Shard {
    setup: Setup,
    branch: Branch,
    fanout: Fanout,
    /// When the thread ends at the latest, once it is told to.
    leaving: Option<Instant>,
    counted: Instant,
}

impl Shard {
    fn new(setup: Setup) -> Self {
        let now = Now::read();
        let branch = Branch::new(now.local, setup.options);
        let fanout = Fanout::new(setup.driver.socket().clone());
        Self { branch, fanout, leaving: None, counted: now.instant, setup }
    }

    fn run(mut self) {
        loop {
            self.setup.waker.rest();
            let (mut now, mut more) = self.read();
            more |= self.take_queues(now);
            if self.branch.poll_timeout().is_some_and(|(at, _)| at <= now.local) {
                self.branch.handle_timeout(now.local);
                self.drain(now);
            }
            self.setup.driver.handle_timeout(now.instant);
            self.take_events(now);
            if self.fanout.wants_write() || self.fanout.poll_timeout().is_some_and(|at| at <= now.instant) {
                self.fanout.handle_timeout(now.instant);
            }
            self.setup.driver.flush(now.instant);
            // Flushing may end links; what the branch says to that goes out at once.
            self.take_events(now);
            self.setup.driver.flush(now.instant);
            let late = self.setup.notices.flush();
            now = Now::read();
            if now.instant - self.counted >= COUNT {
                self.count(now.instant);
            }
            if let Some(until) = self.leaving
                && (now.instant >= until || self.setup.driver.links() == 0)
            {
                self.setup.driver.flush(now.instant);
                self.count(now.instant);
                return;
            }
            // Before the next look at what children say, and at when strangers are due.
            self.tell_behind();
            let timeout = if more { Duration::ZERO } else { self.timeout(now, late) };
            let socket = self.setup.driver.socket().descriptor();
            let write = self.fanout.wants_write() || self.setup.driver.wants_write();
            wait(
                [
                    Interest { descriptor: socket, write },
                    Interest { descriptor: self.setup.waker.descriptor(), write: false },
                ],
                timeout,
            );
        }
    }

    /// Whoever streams already goes before repairs and strangers.
    fn tell_behind(&mut self) {
        let behind = self.fanout.is_behind();
        self.branch.set_behind(behind);
        self.setup.driver.hold_strangers(behind);
    }

    /// Reads what children say until there is nothing more, or it has had its share of the turn. True if there
    /// may be more. One batch a turn would be too little: beside handshakes and sound, which take milliseconds of
    /// a turn, the kernel's buffer would overflow, and children that are not heard would dial anew.
    fn read(&mut self) -> (Now, bool) {
        let began = Now::read();
        let mut now = began;
        loop {
            let more = self.setup.driver.handle_readable(now.instant);
            self.take_events(now);
            if !more || now.instant - began.instant >= READING {
                return (now, more);
            }
            now = Now::read();
        }
    }

    fn timeout(&self, now: Now, late: bool) -> Duration {
        let branch = self.branch.poll_timeout().map(|(at, _)| now.until(at));
        let quic = self.setup.driver.poll_timeout().map(|at| at.saturating_duration_since(now.instant));
        let fanout = self.fanout.poll_timeout().map(|at| at.saturating_duration_since(now.instant));
        let count = Some((self.counted + COUNT).saturating_duration_since(now.instant));
        let late = late.then_some(AGAIN);
        let leaving = self.leaving.map(|_| AGAIN);
        [branch, quic, fanout, count, late, leaving].into_iter().flatten().min().unwrap_or(COUNT)
    }

    /// Commands and results that wait, at most so many that packets get their turn. True if some are
    /// left.
    fn take_queues(&mut self, now: Now) -> bool {
        let commands = self.setup.commands.clone();
        let mut taken = 0;
        while taken < TURN && !self.fanout.spent(now.instant) {
            let mut command = match commands.try_recv() {
                Ok(command) => command,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    // The trunk is gone without a word: children are better off with another parent.
                    self.leaving = self.leaving.or(Some(now.instant));
                    break;
                }
            };
            taken += 1;
            match &mut command {
                Command::Admit { welcome, .. } => welcome.group = self.setup.group.map(group::name),
                Command::Carry(carry) => {
                    self.fanout.carry(now.instant, carry.track, carry.duration, carry.together);
                    if carry.emergency {
                        self.fanout.hasten(carry.track);
                    }
                }
                Command::Drain => self.leaving = Some(now.instant + FAREWELL),
                _ => {}
            }
            self.input(now, Input::Command(command));
        }
        let results = self.setup.results.clone();
        for (job, done) in results.try_iter().take(TURN) {
            taken += 1;
            self.input(now, Input::Done { job, done });
        }
        taken >= TURN || self.fanout.spent(now.instant)
    }

    fn take_events(&mut self, now: Now) {
        while let Some(event) = self.setup.driver.poll_event() {
            match event {
                quic::Event::Up { link, peer } => self.input(now, Input::Up { link, peer }),
                quic::Event::Down { link, reason } => {
                    tracing::debug!(link, %reason, "a child's link is down");
                    self.fanout.remove(link);
                    self.input(now, Input::Down { link });
                }
                quic::Event::Arrival { link, arrival } => self.input(now, Input::Arrival { link, arrival }),
                quic::Event::Moved { link, address } => self.fanout.readdress(link, address),
            }
        }
    }

    fn input(&mut self, now: Now, input: Input) {
        self.branch.handle_input(now.local, input);
        self.drain(now);
    }

    fn drain(&mut self, now: Now) {
        while let Some(output) = self.branch.poll_output() {
            match output {
                Output::Send { link, departure } => self.setup.driver.send(now.instant, link, departure),
                Output::Hang { link, code, text } => {
                    self.fanout.remove(link);
                    match code == TOO_OFTEN {
                        true => self.setup.driver.shun(now.instant, link, &code, &text),
                        false => self.setup.driver.close(now.instant, link, &code, &text),
                    }
                }
                Output::Air { track, packet } => self.fanout.air(now.instant, track, packet.index, packet.bytes),
                Output::Flush { track } => self.fanout.flush(now.instant, track),
                Output::Listen { link, track } => {
                    let address = match link {
                        GROUP => self.setup.group,
                        link => self.setup.driver.media_address(link),
                    };
                    if let Some(address) = address {
                        self.fanout.listen(now.instant, link, track, address);
                    }
                }
                Output::Unlisten { link, track } => self.fanout.unlisten(link, track),
                Output::Dropped { track } => self.fanout.forget(track),
                // The next reports say the same and more, and receipts that nobody answers come again; everything else is
                // said once.
                Output::Notice(notice @ (Notice::Reports(_) | Notice::Receipts(_))) => {
                    self.setup.notices.offer((self.setup.index, notice));
                }
                Output::Notice(notice) => {
                    self.setup.notices.send((self.setup.index, notice));
                }
                Output::Job { job, work } => {
                    if let Err(done) = self.setup.jobs.give(Asker::Branch(self.setup.index), job, work) {
                        self.branch.handle_input(now.local, Input::Done { job, done });
                    }
                }
            }
        }
    }

    fn count(&mut self, now: Instant) {
        self.counted = now;
        *self.setup.state.lock().unwrap_or_else(PoisonError::into_inner) = State {
            branch: self.branch.counters(),
            quic: self.setup.driver.counters(),
            fanout: self.fanout.counters(),
        };
    }
}

/// The address of shard `index`: port + index, or any port where none is named.
pub fn address(first: SocketAddr, index: u16) -> SocketAddr {
    let port = if first.port() == 0 { 0 } else { first.port().saturating_add(index) };
    (first.ip(), port).into()
}

/// Commands or results taken before the socket is looked at again: a millisecond's work.
const TURN: usize = 256;
/// Of a turn for reading: as long as handshakes have, and as what the fan-out sends at once takes.
const READING: Duration = Duration::from_millis(2);
const COUNT: Duration = Duration::from_secs(1);
/// How soon to try a full queue again.
const AGAIN: Duration = Duration::from_millis(2);
/// How long goodbyes may take.
const FAREWELL: Duration = Duration::from_millis(1_500);
