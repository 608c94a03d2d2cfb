//! One process full of speakers: `loa-load worker`. One thread, one epoll, one buffer.
//!
//! ```text
//!  epoll ▸ recv ▸ sound of a known track? ▸ same bytes as one that was verified? ▸ bitmap, histogram
//!                 │ no                                     │ out of order
//!                 ▼                                        ▼
//!               QUIC ▸ session ▸ timer, one per speaker, in a heap that is looked at, never searched
//! ```
//!
//! Delivery is the wall clock when the speaker's process has read the packet, less the instant at which the packet's
//! place on its track's timeline gives the origin to send it: of packets that leave together, the last one's, since
//! the others wait for it by design. It assumes that origin and speakers read one clock:
//! true on one machine; for a target elsewhere the difference of the clocks is part of every sample.
use crate::ear::Placed;
use crate::plan::{Cohort, Command, Kind, Plan, Report};
use crate::sockets::{self, Poll};
use crate::speaker::{Before, Hot, Maker, Speaker};
use crate::tracks::Track;
use crate::world::World;
use loa::io::clock::{self, Now};
use loa::io::identity::Root;
use loa::time::{Local, MILLISECOND, SECOND};
use loa::track::{Header, is_rtp};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, BufRead, Write};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

/// Reads its plan and commands from standard input, tells by standard output, ends when the input does.
pub fn run() -> io::Result<()> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let plan: Plan = serde_json::from_str(&line)?;
    if let Some(core) = plan.core {
        sockets::pin(core)?;
    }
    sockets::give_way(plan.nice);
    let (sender, commands) = channel();
    std::thread::Builder::new().name("commands".into()).spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            let command = serde_json::from_str::<Command>(&line).map_err(|error| format!("{error}: {line}"));
            if sender.send(command).is_err() {
                return;
            }
        }
    })?;
    Worker::new(plan)?.run(&commands)
}

struct Worker {
    world: World,
    poll: Poll,
    /// By number less the plan's first.
    hots: Vec<Option<Hot>>,
    speakers: Vec<Option<Box<Speaker>>>,
    timers: BinaryHeap<Reverse<(Local, usize)>>,
    joins: VecDeque<Joining>,
    dialled: usize,
    buffer: Vec<u8>,
    sweep_at: Local,
    report_at: Local,
}

/// Speakers that are to dial.
struct Joining {
    count: u32,
    done: u32,
    per_second: f64,
    cohort: Cohort,
    /// Dials that the rate allows and that were not made, and when that was counted.
    allowed: f64,
    counted: Local,
}

impl Worker {
    fn new(plan: Plan) -> io::Result<Self> {
        let needed = u64::from(plan.count) + FILES;
        let files = sockets::raise_files(needed);
        if files < needed {
            let text = format!("{} sockets, and this process may open {files} files: ulimit -Hn", plan.count);
            return Err(io::Error::other(text));
        }
        if plan.places.is_empty() {
            return Err(io::Error::other("a plan without a place to dial"));
        }
        let root = Root::load(&plan.root)?;
        let mut world = World::new(plan, root.key().public());
        let mut maker = Maker::new(root).map_err(io::Error::other)?;
        let poll = Poll::new()?;
        let (mut hots, mut speakers) = (Vec::new(), Vec::new());
        for at in 0..world.plan.count {
            let number = world.plan.first + at;
            let (hot, speaker) = maker.make(&world, number, Cohort::Steady).map_err(io::Error::other)?;
            poll.add(hot.socket, u64::from(at))?;
            hots.push(Some(hot));
            speakers.push(Some(Box::new(speaker)));
        }
        world.report = Report::default();
        let now = clock::local();
        Ok(Self {
            world,
            poll,
            hots,
            speakers,
            timers: BinaryHeap::new(),
            joins: VecDeque::new(),
            dialled: 0,
            buffer: vec![0; 1 << 16],
            sweep_at: now,
            report_at: now,
        })
    }

    fn run(mut self, commands: &Receiver<Result<Command, String>>) -> io::Result<()> {
        loop {
            loop {
                match commands.try_recv() {
                    Ok(command) => {
                        if !self.obey(command.map_err(io::Error::other)?) {
                            return Ok(());
                        }
                    }
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Ok(()),
                }
            }
            let ready = self.poll.wait(0);
            for at in 0..ready {
                self.read(self.poll.ready(at) as usize);
            }
            let now = Now::read();
            let behind = ready >= BUSY;
            let waiting = self.dial(now, behind);
            let late = self.expire(now, behind);
            // A loudspeaker reads what has come before it misses anything.
            if self.sweep_at + if behind { SWEEP_AT_LAST } else { 0 } <= now.local {
                self.sweep_at = now.local + SWEEP;
                self.sweep(now);
            }
            if self.report_at <= now.local {
                self.report_at = now.local + SECOND;
                self.tell()?;
            }
            if !behind && !late && !waiting {
                let nap = self.timers.peek().map_or(SWEEP, |Reverse((at, _))| *at - now.local);
                let nap = nap.clamp(0, self.world.plan.nap_us.max(50) as i64);
                std::thread::sleep(Duration::from_micros(nap.unsigned_abs()));
            }
        }
    }

    /// False: it is over.
    fn obey(&mut self, command: Command) -> bool {
        let now = Now::read();
        match command {
            Command::Join { count, per_second, cohort } => {
                self.joins.push_back(Joining { count, done: 0, per_second, cohort, allowed: 0.0, counted: now.local });
            }
            Command::Hold { epoch, from } => {
                self.world.report.epoch = epoch;
                self.world.hold(from, &mut self.hots);
            }
            Command::Release { until } => self.world.release(until),
            Command::Drop { count, cohort } => {
                let mut left = count;
                for at in 0..self.speakers.len() {
                    let (Some(speaker), Some(hot)) = (&mut self.speakers[at], &mut self.hots[at]) else { continue };
                    if left > 0 && hot.cohort == cohort && speaker.joined {
                        left -= 1;
                        speaker.forget(now, hot, &mut self.world);
                        self.turn(now, at);
                    }
                }
            }
            Command::Turn { count, kinds } => self.corrupt(now, count, &kinds),
            Command::Finish => {
                self.speakers.iter_mut().flatten().for_each(|speaker| speaker.goodbye(now));
                return false;
            }
        }
        true
    }

    /// Makes some of the steady ones hostile.
    fn corrupt(&mut self, now: Now, count: u32, kinds: &[Kind]) {
        let mut kinds = kinds.iter().cycle();
        let mut left = count;
        for at in 0..self.speakers.len() {
            let (Some(speaker), Some(hot)) = (&mut self.speakers[at], &mut self.hots[at]) else { continue };
            if left == 0 || hot.cohort != Cohort::Steady || !speaker.joined {
                continue;
            }
            let Some(kind) = kinds.next() else { return };
            left -= 1;
            speaker.turn_hostile(now, hot, *kind);
            if *kind == Kind::Stalled {
                self.poll.remove(hot.socket);
            }
            self.turn(now, at);
        }
    }

    /// Dials as many as the rate allows; while `behind` with reading, none: more speakers than this machine can
    /// play would time out, dial again and so take the time of the others. True if more may dial at once.
    fn dial(&mut self, now: Now, behind: bool) -> bool {
        let Some(joining) = self.joins.front_mut() else { return false };
        let seconds = (now.local - joining.counted) as f64 / SECOND as f64;
        joining.counted = now.local;
        if behind {
            return false;
        }
        let left = joining.count - joining.done;
        joining.allowed = (joining.allowed + seconds * joining.per_second).min(f64::from(left));
        let cohort = joining.cohort;
        let part = (joining.allowed as u32).min(DIALS);
        joining.done += part;
        joining.allowed -= f64::from(part);
        let more = joining.allowed >= 1.0;
        if joining.done == joining.count {
            self.joins.pop_front();
        }
        for _ in 0..part {
            let at = self.dialled;
            self.dialled += 1;
            let (Some(Some(speaker)), Some(Some(hot))) = (self.speakers.get_mut(at), self.hots.get_mut(at)) else {
                continue;
            };
            hot.cohort = cohort;
            speaker.dial(now, &mut self.world);
            self.turn(now, at);
        }
        more
    }

    /// Timers that are due, at most so many that sockets get their turn. True if some are left. While `behind` with
    /// reading, each speaker reads first.
    fn expire(&mut self, now: Now, behind: bool) -> bool {
        for _ in 0..TURNS {
            match self.timers.peek() {
                Some(Reverse((at, _))) if *at <= now.local => {}
                _ => return false,
            }
            let Some(Reverse((at, number))) = self.timers.pop() else { return false };
            if behind {
                self.read(number);
            }
            let Some(Some(hot)) = self.hots.get_mut(number) else { continue };
            // One that was set anew stands in the heap twice.
            if hot.wake == Some(at) {
                hot.wake = None;
                self.turn(Now::read(), number);
            }
        }
        true
    }

    /// Reads what has come for one speaker.
    fn read(&mut self, at: usize) {
        let Some(Some(hot)) = self.hots.get(at) else { return };
        let socket = hot.socket;
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut other = false;
        loop {
            let run = match self.world.plan.gro {
                true => sockets::receive_run(socket, &mut buffer),
                false => sockets::receive(socket, &mut buffer),
            };
            let Some(run) = run else { break };
            for datagram in buffer.get(..run.length).unwrap_or_default().chunks(run.segment) {
                other |= self.take(at, datagram);
            }
        }
        if other {
            self.turn(Now::read(), at);
        }
        self.buffer = buffer;
    }

    /// One datagram. True if the speaker must be looked at.
    fn take(&mut self, at: usize, bytes: &[u8]) -> bool {
        let Some(Some(hot)) = self.hots.get_mut(at) else { return false };
        let header = if is_rtp(bytes) { Header::parse(bytes) } else { None };
        if header.is_some_and(|header| hot.read == Some((header.ssrc, header.sequence))) {
            return false;
        }
        let Some(header) = header.filter(|header| header.payload_type == Header::SOUND) else {
            let Some(Some(speaker)) = self.speakers.get_mut(at) else { return false };
            let now = Now::read();
            if header.is_some() {
                let next = speaker.handle_log(now, hot, &mut self.world, bytes);
                self.wake(at, next);
                return false;
            }
            speaker.handle_datagram(now, bytes);
            return true;
        };
        let Some(ear) = hot.ears.iter().position(|ear| ear.ssrc == header.ssrc && !ear.closed) else { return false };
        let (index, next) = (hot.ears[ear].claim(header.sequence), hot.ears[ear].next());
        let placed = self.world.take(hot, ear, index, bytes);
        if !hot.sounded
            && placed.is_some()
            && let Some(Some(speaker)) = self.speakers.get(at)
        {
            hot.sounded = true;
            let now = clock::local();
            self.world.report.first_packet.add(now - speaker.began.unwrap_or(now));
        }
        match placed {
            Some(Placed::Next) => {
                hot.ears[ear].untold += 1;
                // When nothing more could be overdue was reckoned without this one.
                if index < hot.ears[ear].overdue {
                    hot.quiet_until = 0;
                }
                false
            }
            Some(Placed::Ahead | Placed::Behind) => {
                hot.quiet_until = 0;
                let Some(Some(speaker)) = self.speakers.get_mut(at) else { return false };
                speaker.handle_unordered(Now::read(), hot, &mut self.world, Before { ear, next, index });
                true
            }
            Some(Placed::Duplicate | Placed::Old) | None => false,
        }
    }

    fn turn(&mut self, now: Now, at: usize) {
        let (Some(Some(hot)), Some(Some(speaker))) = (self.hots.get_mut(at), self.speakers.get_mut(at)) else { return };
        if speaker.kind() == Some(Kind::Stalled) {
            return;
        }
        let socket = hot.socket;
        let next = speaker.turn(now, hot, &mut self.world);
        if hot.socket != socket && self.poll.add(hot.socket, at as u64).is_err() {
            return;
        }
        self.wake(at, next);
    }

    fn wake(&mut self, at: usize, next: Option<Local>) {
        // An earlier timer stands as it is: when it fires, this is asked again.
        if let Some(next) = next
            && let Some(Some(hot)) = self.hots.get_mut(at)
            && hot.wake.is_none_or(|wake| next < wake)
        {
            hot.wake = Some(next);
            self.timers.push(Reverse((next, at)));
        }
    }

    /// Looks for packets that are overdue and tracks that are over.
    fn sweep(&mut self, now: Now) {
        let wall = clock::wall().0;
        for at in 0..self.hots.len() {
            let Some(hot) = &mut self.hots[at] else { continue };
            if wall < hot.quiet_until {
                continue;
            }
            let Some(speaker) = &mut self.speakers[at] else { continue };
            let (mut touched, mut quiet) = (false, i64::MAX);
            for number in 0..hot.ears.len() {
                let ear = &hot.ears[number];
                if !ear.asked || !ear.begun {
                    continue;
                }
                let track = &self.world.tracks[ear.track];
                if track.over.0 <= wall {
                    speaker.look_again(now);
                    (touched, quiet) = (true, 0);
                    continue;
                }
                // Beyond some packets the track has stopped rather than that they are lost: as nodes judge.
                let until = track.index_from(wall - ear.usual - OVERDUE).min(ear.next() + AHEAD);
                let news = until > ear.overdue && !ear.is_whole(until);
                let late = ear.next() < track.index_from(wall - ear.usual - LATE);
                let again = match (late, ear.next() < until) {
                    (true, _) => wall + LATE_AGAIN,
                    (false, true) => track.due(ear.next()) + ear.usual + LATE,
                    (false, false) => track.due(ear.next().max(ear.overdue.max(until))) + ear.usual + OVERDUE,
                };
                quiet = quiet.min(again).min(track.over.0);
                if news || late {
                    speaker.handle_overdue(now, hot, &self.world, number, until, late);
                    touched = true;
                }
            }
            hot.quiet_until = quiet;
            if touched {
                self.turn(now, at);
            }
        }
    }

    fn tell(&mut self) -> io::Result<()> {
        let wall = clock::wall().0;
        self.world.count(&self.hots);
        let mut report = std::mem::take(&mut self.world.report);
        self.world.report.epoch = report.epoch;
        report.dialled = self.dialled as u64;
        report.hostile = self.world.cuts.clone();
        report.together = self.world.tracks.iter().map(Track::together).max().unwrap_or(1);
        let newest = self.world.newest_order();
        for (hot, speaker) in self.hots.iter().flatten().zip(self.speakers.iter().flatten()) {
            if let Some(kind) = speaker.kind() {
                let how = match (kind, speaker.joined) {
                    // It reads nothing, so only the tree knows.
                    (Kind::Stalled, _) => "reads nothing",
                    (_, true) => "up",
                    (_, false) => "down",
                };
                *report.hostile.entry(format!("{}: {how}", kind.as_str())).or_default() += 1;
            }
            report.joined += u64::from(speaker.joined);
            let tracks = hot.ears.iter().filter(|ear| !ear.closed).map(|ear| &self.world.tracks[ear.track]);
            let longest = tracks.map(Track::longest_pause).max().unwrap_or(0);
            let streams = hot.ears.iter().any(|ear| ear.heard) && wall - hot.last <= longest + LATE;
            report.streaming += u64::from(streams);
            report.streaming_of[hot.cohort as usize] += u64::from(streams);
            if let Some(order) = newest
                && report.unreached.len() < UNREACHED
                && speaker.began.is_some()
                && !speaker.heard.contains(&order)
            {
                report.unreached.push(speaker.number);
            }
        }
        let mut line = serde_json::to_string(&report)?;
        line.push('\n');
        let mut output = io::stdout().lock();
        output.write_all(line.as_bytes())?;
        output.flush()
    }
}

/// Beside the sockets: standard streams, epoll, what libraries open.
const FILES: u64 = 64;
/// So many sockets ready at one look: the next look is due at once.
const BUSY: usize = 512;
/// Dials in one turn of the loop, half a millisecond each, and timers: in between sockets are read.
const DIALS: u32 = 16;
const TURNS: usize = 1_024;
/// How often speakers are searched for what is overdue.
const SWEEP: i64 = 100 * MILLISECOND;
/// And how much later at the latest, while there is more to read than time.
const SWEEP_AT_LAST: i64 = SECOND;
/// Beyond the usual delay, at which a packet is asked for; nodes learn 15 to 150 ms.
const OVERDUE: i64 = 100 * MILLISECOND;
/// Packets in a row that are asked for by their due time.
const AHEAD: u64 = 6;
/// Beyond the usual delay, at which a child asks whether its parent is there.
const LATE: i64 = 200 * MILLISECOND;
/// As long as it is late: a child does so once a second at most.
const LATE_AGAIN: i64 = 500 * MILLISECOND;
/// Numbers of those whom an order has not reached: enough to look for the cause.
const UNREACHED: usize = 20;
