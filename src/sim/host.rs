//! One simulated machine: a node's trunk and branches, its disk and its sound card, on one oscillator.
//! It does what `io` does between the parts of a node and leaves the network to the world.

use super::bunch::Bunch;
use super::device::{Device, Faults, Heard, What};
use super::store::Store;
use super::tree::Member;
use super::world::EPOCH;
use super::{Random, Tracks};
use crate::broadcast::Address;
use crate::key::SigningKey;
use crate::node::trunk::{Event, Reply};
use crate::node::{Branch, Job, Link, Role, Trunk, branch, trunk};
use crate::session::Departure;
use crate::time::{Civil, Local, RATE, SECOND};
use crate::track::{Packet, Secret};
use crate::{playout, session};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use uuid::Uuid;

pub(super) struct Host {
    pub member: Member,
    pub store: Store,
    pub process: Option<Process>,
    /// Counts the processes this machine has run.
    pub incarnation: u64,
    pub witness: Witness,
}

/// What was seen of a machine, whatever became of its processes.
#[derive(Default)]
pub(super) struct Witness {
    pub heard: Vec<Heard>,
    pub events: Vec<(i64, Event)>,
    pub replies: BTreeMap<u64, Reply>,
    /// Packets it sent to children that no origin ever sent.
    pub foreign: u64,
    /// The most that ever waited between trunk and branches.
    pub longest: usize,
    pub faults: Faults,
}

impl Witness {
    /// Three days of silence must not fill a machine's memory: it is kept by the second.
    fn hear(&mut self, heard: Heard) {
        match self.heard.last_mut() {
            Some(last)
                if (last.what, heard.what) == (What::Silence, What::Silence) && last.count + heard.count <= RATE =>
            {
                last.count += heard.count;
                last.lasts += heard.lasts;
            }
            _ => self.heard.push(heard),
        }
    }
}

/// A running node.
pub(super) struct Process {
    trunk: Trunk,
    branches: Vec<Branch>,
    listeners: Vec<BTreeMap<Uuid, BTreeSet<Link>>>,
    /// Tracks whose packets leave together.
    bunches: Vec<BTreeMap<Uuid, Bunch>>,
    device: Option<Device>,
    log: Uuid,
    /// True time of the wake-up that is under way.
    pub wake: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Trunk,
    Branch(usize),
}

pub(super) enum Input {
    Trunk(trunk::Input),
    Branch(usize, branch::Input),
}

/// What leaves the machine or takes time.
pub(super) enum Effect {
    Dial { slot: usize, rank: usize },
    Send { link: Link, departure: Departure },
    Air { links: Vec<Link>, packet: Packet },
    Hang { link: Link, code: String, text: String },
    Job { owner: Owner, job: u64, work: Job },
}

impl Host {
    pub fn new(mut member: Member) -> Self {
        let store = Store { journal: std::mem::take(&mut member.journal), ..Store::default() };
        Self { member, store, process: None, incarnation: 0, witness: Witness::default() }
    }

    pub fn local(&self, now: i64) -> Local {
        self.member.oscillator.local(now)
    }

    pub fn is_root(&self) -> bool {
        self.member.parents.is_empty()
    }

    /// What its wall clock says at this true time, and how sure that is; `None` where it goes by none.
    pub fn wall(&self, now: i64) -> Option<(Civil, u64)> {
        match self.member.clock {
            Some((off, stated)) => Some((EPOCH + now + off, stated)),
            None => self.is_root().then_some((EPOCH + now, WALL_UNCERTAINTY)),
        }
    }

    /// A new process with what the disk holds; fresh log, fresh randomness.
    pub fn start(&mut self, now: i64, random: &mut Random, tracks: &mut Tracks) -> Vec<Effect> {
        self.incarnation += 1;
        let local = self.local(now);
        let sounds = self.member.role == Role::Speaker;
        let log = trunk::Log {
            track: random.id(EPOCH.0 + now),
            ssrc: random.number() as u32,
            secret: Secret { key: random.bytes(), salt: random.bytes() },
        };
        let track = log.track;
        let options = trunk::Options {
            node: self.member.node,
            role: self.member.role,
            parents: self.member.parents.iter().enumerate().map(|(rank, _)| address(rank)).collect(),
            siblings: Vec::new(),
            both: self.member.both,
            branches: self.member.branches,
            playout: sounds.then(|| playout::Options { hands: self.member.hands.clone(), ..Default::default() }),
            session: session::child::Options::default(),
            roots: self.member.roots.clone(),
            authority: self.member.authority.as_ref().map(SigningKey::from_seed),
            log,
            seed: random.bytes(),
            tick: TICK,
            rendition: self.member.rendition,
            daylight: self.member.daylight,
            issuer: false,
            backed: self.member.clock.is_some(),
            stored: self.member.stored,
            instance: self.incarnation,
        };
        self.process = Some(Process {
            trunk: Trunk::new(local, options),
            branches: (0..self.member.branches)
                .map(|_| Branch::new(local, branch::Options { beats: self.member.beats, ..Default::default() }))
                .collect(),
            listeners: vec![BTreeMap::new(); self.member.branches],
            bunches: (0..self.member.branches).map(|_| BTreeMap::new()).collect(),
            device: sounds.then(|| Device::new(now, self.member.device_ppm)),
            log: track,
            wake: None,
        });
        self.handle(now, Input::Trunk(trunk::Input::Restore(self.store.journal.clone())), tracks)
    }

    /// Power off: nothing is said to anybody, and what the sound card still held never leaves it.
    pub fn stop(&mut self, now: i64) {
        let Some(process) = self.process.take() else { return };
        self.witness.faults = self.witness.faults.plus(process.faults());
        while self.witness.heard.last().is_some_and(|heard| heard.left > now as f64) {
            self.witness.heard.pop();
        }
    }

    pub fn handle(&mut self, now: i64, input: Input, tracks: &mut Tracks) -> Vec<Effect> {
        let Some(process) = self.process.as_mut() else { return Vec::new() };
        let local = self.member.oscillator.local(now);
        let mut round = Round::new(now, local, &mut self.witness, tracks);
        round.work.push_back(input);
        process.run(&mut round);
        round.effects
    }

    /// The sound card's report.
    pub fn report(&mut self, now: i64, tracks: &mut Tracks) -> Vec<Effect> {
        let local = self.local(now);
        let device = self.process.as_mut().and_then(|process| process.device.as_mut());
        let Some(report) = device.map(|device| device.report(now, local)) else { return Vec::new() };
        self.handle(now, Input::Trunk(trunk::Input::Device(report)), tracks)
    }

    /// Calls every timeout that has passed.
    pub fn wake(&mut self, now: i64, tracks: &mut Tracks) -> Vec<Effect> {
        let Some(process) = self.process.as_mut() else { return Vec::new() };
        let local = self.member.oscillator.local(now);
        let mut round = Round::new(now, local, &mut self.witness, tracks);
        process.wake = None;
        let mut turn = 0;
        while let Some(reasons) = process.handle_timeouts(&mut round) {
            turn += 1;
            assert!(turn < TURNS, "{}: timeouts that do not move on at {local:?}: {reasons}", self.member.name);
        }
        round.effects
    }

    /// True time of the next timeout.
    pub fn next(&self, now: i64) -> Option<i64> {
        let process = self.process.as_ref()?;
        let branches = process.branches.iter().filter_map(Branch::poll_timeout).map(|(at, _)| at);
        let next = process.trunk.poll_timeout().map(|(at, _)| at).into_iter().chain(branches).min()?;
        // Far timeouts mean "never"; waking once an hour costs nothing.
        let next = next.min(self.local(now) + 3_600 * SECOND);
        Some(self.member.oscillator.reaches(next).max(now))
    }

    pub fn faults(&self) -> Faults {
        self.process.as_ref().map_or(self.witness.faults, |process| self.witness.faults.plus(process.faults()))
    }
}

impl Process {
    pub fn counters(&self) -> trunk::Counters {
        self.trunk.counters()
    }

    pub fn branch_counters(&self) -> Vec<branch::Counters> {
        self.branches.iter().map(Branch::counters).collect()
    }

    pub fn civil(&self, local: Local) -> Option<Civil> {
        self.trunk.civil(local)
    }

    pub fn ready(&self) -> bool {
        self.trunk.ready()
    }

    fn faults(&self) -> Faults {
        self.device.as_ref().map_or(Faults::default(), |device| device.faults)
    }

    fn run(&mut self, round: &mut Round<'_>) {
        let mut longest = 0;
        while let Some(input) = round.work.pop_front() {
            longest = longest.max(round.work.len());
            match input {
                Input::Trunk(input) => {
                    self.trunk.handle_input(round.local, input);
                    self.drain_trunk(round);
                }
                Input::Branch(index, input) => {
                    if let branch::Input::Command(branch::Command::Carry(carry)) = &input
                        && carry.together > 1
                    {
                        self.bunches[index].entry(carry.track).or_insert_with(|| Bunch::new(carry.together));
                    }
                    self.branches[index].handle_input(round.local, input);
                    self.drain_branch(index, round);
                }
            }
        }
        round.witness.longest = round.witness.longest.max(longest);
    }

    /// One turn of timeouts; names those that had passed, `None` if none had.
    fn handle_timeouts(&mut self, round: &mut Round<'_>) -> Option<String> {
        let mut reasons = String::new();
        if let Some((at, reason)) = self.trunk.poll_timeout().filter(|(at, _)| *at <= round.local) {
            reasons += &format!("trunk {reason:?} at {at:?} ");
            self.trunk.handle_timeout(round.local);
            self.drain_trunk(round);
        }
        for index in 0..self.branches.len() {
            if let Some((at, reason)) = self.branches[index].poll_timeout().filter(|(at, _)| *at <= round.local) {
                reasons += &format!("branch {index} {reason:?} at {at:?} ");
                self.branches[index].handle_timeout(round.local);
                self.drain_branch(index, round);
            }
        }
        self.run(round);
        (!reasons.is_empty()).then_some(reasons)
    }

    fn drain_trunk(&mut self, round: &mut Round<'_>) {
        while let Some(output) = self.trunk.poll_output() {
            match output {
                trunk::Output::Dial { parent, address } => {
                    round.effects.push(Effect::Dial { slot: parent, rank: rank(&address) });
                }
                trunk::Output::Send { link, departure } => round.effects.push(Effect::Send { link, departure }),
                trunk::Output::Hang { link, code, text } => round.effects.push(Effect::Hang { link, code, text }),
                // No LAN is modelled.
                trunk::Output::Join { .. } => {}
                trunk::Output::Branch { branch, command } => {
                    let chosen = branch.map_or(0..self.branches.len(), |branch| branch..branch + 1);
                    let inputs = chosen.map(|index| Input::Branch(index, branch::Input::Command(command.clone())));
                    round.work.extend(inputs);
                }
                trunk::Output::Job { job, work } => round.effects.push(Effect::Job { owner: Owner::Trunk, job, work }),
                trunk::Output::Reply { id, reply } => drop(round.witness.replies.insert(id, reply)),
                // The sum of what all have heard is for a world that lasts.
                trunk::Output::FirstSound { .. } => {}
                // Nor are certificates.
                trunk::Output::Certified { .. } => {}
                trunk::Output::Event(event) => round.witness.events.push((round.now, event)),
                trunk::Output::Step(step) => {
                    if let Some(device) = self.device.as_mut() {
                        let heard = device.take(round.now, &step, round.tracks);
                        round.witness.hear(heard);
                    }
                }
            }
        }
    }

    fn drain_branch(&mut self, index: usize, round: &mut Round<'_>) {
        while let Some(output) = self.branches[index].poll_output() {
            match output {
                branch::Output::Send { link, departure } => {
                    if let Departure::Media(bytes) = &departure {
                        round.witness.foreign += u64::from(!round.tracks.is_genuine(bytes));
                    }
                    round.effects.push(Effect::Send { link, departure });
                }
                branch::Output::Hang { link, code, text } => {
                    self.forget(index, link);
                    round.effects.push(Effect::Hang { link, code, text });
                }
                branch::Output::Air { track, packet } => {
                    if track == self.log {
                        round.tracks.vouch(&packet.bytes);
                    }
                    round.witness.foreign += u64::from(!round.tracks.is_genuine(&packet.bytes));
                    let leaving = match self.bunches[index].get_mut(&track) {
                        Some(bunch) => bunch.handle(packet),
                        None => vec![packet],
                    };
                    self.air(index, track, leaving, round);
                }
                branch::Output::Flush { track } => {
                    let leaving = self.bunches[index].get_mut(&track).map(Bunch::flush).unwrap_or_default();
                    self.air(index, track, leaving, round);
                }
                branch::Output::Listen { link, track } => {
                    self.listeners[index].entry(track).or_default().insert(link);
                }
                branch::Output::Unlisten { link, track } => {
                    if let Some(links) = self.listeners[index].get_mut(&track) {
                        links.remove(&link);
                    }
                }
                branch::Output::Dropped { track } => {
                    self.bunches[index].remove(&track);
                    self.listeners[index].remove(&track);
                }
                branch::Output::Notice(notice) => {
                    round.work.push_back(Input::Trunk(trunk::Input::Notice { branch: index, notice }));
                }
                branch::Output::Job { job, work } => {
                    round.effects.push(Effect::Job { owner: Owner::Branch(index), job, work })
                }
            }
        }
    }

    fn air(&self, index: usize, track: Uuid, leaving: Vec<Packet>, round: &mut Round<'_>) {
        for packet in leaving {
            let links = self.listeners[index].get(&track).into_iter().flatten().copied().collect();
            round.effects.push(Effect::Air { links, packet });
        }
    }

    /// The link is gone: nothing is sent there any more.
    pub fn forget(&mut self, branch: usize, link: Link) {
        if let Some(listeners) = self.listeners.get_mut(branch) {
            for links in listeners.values_mut() {
                links.remove(&link);
            }
        }
    }
}

/// One input and everything that follows from it at once.
struct Round<'a> {
    now: i64,
    local: Local,
    witness: &'a mut Witness,
    tracks: &'a mut Tracks,
    work: VecDeque<Input>,
    effects: Vec<Effect>,
}

impl<'a> Round<'a> {
    fn new(now: i64, local: Local, witness: &'a mut Witness, tracks: &'a mut Tracks) -> Self {
        Self { now, local, witness, tracks, work: VecDeque::new(), effects: Vec::new() }
    }
}

/// How a node's parents are called in its configuration: by their place in it.
fn address(rank: usize) -> Address {
    Address::new(&format!("parent-{rank}:7460"), 1).unwrap_or_else(|error| panic!("{error}"))
}

fn rank(address: &Address) -> usize {
    let name = address.host().strip_prefix("parent-").and_then(|name| name.split(':').next());
    name.and_then(|rank| rank.parse().ok()).unwrap_or(usize::MAX)
}

/// µs between an origin's ticks (DESIGN §3).
const TICK: i64 = 10 * SECOND;
/// Turns of timeouts at one instant: a node that needs more never comes to rest.
const TURNS: u32 = 1_000;
/// µs: what an origin with NTP states.
const WALL_UNCERTAINTY: u64 = 1_000;
