//! One branch: the child sessions of one shard.
use super::places::{Place, place};
use super::{Done, Job, Link, Peer, Role};
use crate::broadcast::Area;
use crate::playout::Phase;
use crate::proto;
use crate::session::{self, Arrival};
use crate::time::{Local, MILLISECOND, SECOND};
use crate::track::Ring;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use uuid::Uuid;

mod beats;
mod bulk;
mod events;
mod guard;
mod members;
mod types;
mod work;

#[cfg(test)]
mod tests;

pub use guard::{CUTS, IGNORED, TOO_OFTEN};
pub use types::*;

use beats::Beats;
use bulk::Transfer;
use guard::{Cut, Nodes, Questions};
use work::Work;

/// Who a child is allowed to be, once the trunk has said so.
enum Standing {
    /// The link is up; Hello has not been answered.
    Waiting,
    /// It has no place yet: it beats and reports, and gets nothing else.
    Unplaced,
    Member {
        area: Area,
        /// Tasks given before its welcome.
        since: u64,
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
    /// Another of its sessions brings it sound.
    standby: bool,
    /// It was told of the multicast group; sound reaches it by that.
    told: bool,
    hears: bool,
    /// When the session wants to be called, as it stands in `Branch::timers`.
    timer: Option<Local>,
    /// When it was counted among those that beat.
    joined: Option<Local>,
    questions: Questions,
}

/// A track that is carried, with its newest packets.
struct Carried {
    carry: Carry,
    ring: Ring,
    listeners: BTreeSet<Link>,
    /// Those of them who were told of the multicast group: it gets the track while there is one.
    told: u64,
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
    /// Boxed: links only grow, and a tree filled in order leaves its leaves half empty.
    children: BTreeMap<Link, Box<Child>>,
    tracks: BTreeMap<Uuid, Carried>,
    /// Members by where they stand.
    places: BTreeSet<(Place, Link)>,
    nodes: Nodes,
    beats: Beats,
    work: Work,
    timers: BTreeSet<(Local, Link)>,
    /// Who has a transfer of which track.
    fetchers: BTreeSet<(Uuid, Link)>,
    /// Bulk transfers that may go on at their time.
    paced: BTreeSet<(Local, Link)>,
    /// Fetches under way in the store: whose, of which track, from which index.
    jobs: BTreeMap<u64, (Link, Uuid, u64)>,
    next_job: u64,
    phase: Option<Phase>,
    outputs: VecDeque<Output>,
    reports: Vec<proto::Report>,
    receipts: Vec<Told>,
    /// When the reports that wait go up.
    reports_due: Local,
    /// Sound waits in the fan-out: see [`Branch::set_behind`].
    behind: bool,
    counters: Counters,
    draining: bool,
    /// Links of those that have no certificate yet, and until when they may have an answer.
    newcomers: BTreeSet<(Local, Link)>,
}

impl Branch {
    pub fn new(now: Local, options: Options) -> Self {
        Self {
            options,
            children: BTreeMap::new(),
            tracks: BTreeMap::new(),
            places: BTreeSet::new(),
            nodes: Nodes::default(),
            beats: Beats::new(now, options.beats, options.session),
            work: Work::default(),
            timers: BTreeSet::new(),
            fetchers: BTreeSet::new(),
            paced: BTreeSet::new(),
            jobs: BTreeMap::new(),
            next_job: 0,
            phase: None,
            outputs: VecDeque::new(),
            reports: Vec::new(),
            receipts: Vec::new(),
            reports_due: now,
            behind: false,
            counters: Counters::default(),
            draining: false,
            newcomers: BTreeSet::new(),
        }
    }

    pub fn handle_input(&mut self, now: Local, input: Input) {
        match input {
            Input::Up { link, peer } => self.handle_up(now, link, peer),
            Input::Down { link } => self.remove(link),
            Input::Arrival { link, arrival } => {
                let phase = self.phase.map(|phase| phase.told(now));
                let Some(child) = self.children.get_mut(&link) else { return };
                if matches!(arrival, Arrival::Datagram(_)) {
                    child.session.ask(self.beats.every(now));
                }
                if let Err(violation) = child.session.handle_arrival(now, phase, arrival) {
                    self.counters.violations += 1;
                    let why = if violation.code == "peer.flood" { Cut::Flood } else { Cut::Protocol };
                    self.cut(link, why, violation.code, &violation.text);
                } else {
                    self.settle(now, link);
                }
            }
            Input::Command(command) => self.handle_command(now, command),
            Input::Done { job, done } => self.handle_done(now, job, done),
        }
        self.flush_reports(now);
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<(Local, Reason)> {
        let newcomer = self.newcomers.first().map(|(at, _)| (*at, Reason::Session));
        let session = self.timers.first().map(|(at, _)| (*at, Reason::Session));
        let bulk = self.paced.first().map(|(at, _)| (*at, Reason::Bulk));
        let work = self.work.due().map(|at| (at, Reason::Work));
        let waits = !self.reports.is_empty() || !self.receipts.is_empty();
        let reports = waits.then_some((self.reports_due, Reason::Report));
        [newcomer, session, bulk, work, reports].into_iter().flatten().min()
    }

    pub fn handle_timeout(&mut self, now: Local) {
        while let Some((_, link)) = self.newcomers.first().copied().filter(|(at, _)| *at <= now) {
            self.newcomers.pop_first();
            self.cut(link, Cut::Silent, "enrol.late", "no answer came in time; ask again in a moment");
        }
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
        self.work_slice(now);
        self.flush_reports(now);
    }

    pub fn counters(&self) -> Counters {
        Counters { sessions: self.children.len() as u64, ..self.counters }
    }

    fn handle_up(&mut self, now: Local, link: Link, peer: Peer) {
        if self.draining {
            return self.refuse(link, Cut::Stopping, STOPPING.into());
        }
        if peer.role != Role::New && !self.nodes.may_join(now, peer.node) {
            let text = format!("node {} joined over {} times in two minutes; wait a minute", peer.node, guard::JOINS);
            return self.refuse(link, Cut::Often, text);
        }
        if self.children.len() >= self.options.sessions {
            let text = format!("this parent holds its {} sessions; dial another parent", self.options.sessions);
            return self.refuse(link, Cut::Full, text);
        }
        if peer.role == Role::New {
            if self.newcomers.len() >= NEWCOMERS {
                let text = format!("{NEWCOMERS} others ask this parent for a certificate; dial again in a moment");
                return self.refuse(link, Cut::Full, text);
            }
            self.newcomers.insert((now + ANSWERED, link));
        } else if let Some(oldest) = self.nodes.join(peer.node, link) {
            let text = "this node has two newer sessions; a node has at most two";
            self.cut(oldest, Cut::Replaced, "session.replaced", text);
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
            standby: false,
            told: false,
            hears: false,
            timer: None,
            joined: None,
            questions: Questions::new(now),
        };
        self.children.insert(link, Box::new(child));
        self.settle(now, link);
    }

    fn handle_command(&mut self, now: Local, command: Command) {
        match command {
            Command::Admit { link, area, welcome, orders } => self.admit(now, link, area, welcome, orders),
            Command::Refuse { link, code, text } => {
                if self.children.contains_key(&link) {
                    self.counters.refused += 1;
                }
                self.cut(link, Cut::Refused, &code, &text);
            }
            Command::Wait { link, welcome, orders } => self.keep_waiting(now, link, welcome, orders),
            Command::Enrolled { link, enrolled } => {
                let Some(child) = self.children.get_mut(&link) else { return };
                let new = child.peer.role == Role::New;
                child.session.enrolled(*enrolled);
                self.settle(now, link);
                if new {
                    self.cut(
                        link,
                        Cut::Goodbye,
                        "enrol.answered",
                        "the question is answered; dial again with the certificate",
                    );
                }
            }
            Command::Expelled { node } => {
                for link in self.nodes.links(node) {
                    self.counters.refused += 1;
                    self.cut(
                        link,
                        Cut::Refused,
                        "node.expelled",
                        "this node was expelled; a new board needs a key of its own",
                    );
                }
            }
            Command::Receipted { link, receipted } => {
                let Some(child) = self.children.get_mut(&link) else { return };
                child.session.receipted(*receipted);
                self.settle(now, link);
            }
            Command::Deliver { link, deliver } => {
                let Some(child) = self.children.get_mut(&link) else { return };
                child.session.deliver(*deliver);
                self.settle(now, link);
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
                let (log, together) = (carried.carry.log, carried.carry.together);
                if together > 1 {
                    // The others of its bunch would be asked for by everybody below.
                    self.outputs.push_back(Output::Flush { track });
                }
                self.give_missing(now, log, track, first, count);
            }
            Command::Flush { track } => {
                if self.tracks.get(&track).is_some_and(|carried| carried.carry.together > 1) {
                    self.outputs.push_back(Output::Flush { track });
                }
            }
            Command::Stored { track, until } => {
                let Some(carried) = self.tracks.get_mut(&track) else { return };
                carried.carry.stored = carried.carry.stored.max(until);
                self.give_stored(now, track);
            }
            Command::Renew { track } => {
                if let Some(carried) = self.tracks.get_mut(&track) {
                    carried.ring = Ring::new(self.options.ring);
                    carried.carry.next = 0;
                }
            }
            Command::Unstored { track } => {
                if let Some(carried) = self.tracks.get_mut(&track) {
                    carried.carry.stored = 0;
                }
            }
            Command::Push(orders) => self.give_push(now, orders),
            Command::Phase(phase) => self.phase = Some(phase),
            Command::Drain => {
                self.draining = true;
                self.give_drain(now);
            }
        }
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
        self.counters.add_session(child.session.take_counters());
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

    /// Ends a link that never became a session.
    fn refuse(&mut self, link: Link, why: Cut, text: String) {
        self.counters.refused += 1;
        self.counters.cut(why);
        self.outputs.push_back(Output::Hang { link, code: CUTS[why as usize].into(), text });
    }

    fn cut(&mut self, link: Link, why: Cut, code: &str, text: &str) {
        if self.children.contains_key(&link) {
            self.counters.cut(why);
        }
        self.hang(link, code, text);
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
        let Some(mut child) = self.children.remove(&link) else { return };
        if child.peer.role == Role::New {
            self.newcomers.retain(|(_, newcomer)| *newcomer != link);
        }
        self.counters.paused -= u64::from(child.broken);
        self.counters.by_group -= u64::from(child.hears);
        self.counters.add_session(child.session.take_counters());
        self.nodes.leave(child.peer.node, link);
        if let Some(joined) = child.joined {
            self.beats.left(joined);
        }
        if let Standing::Member { area, .. } = &child.standing {
            self.places.remove(&(place(area), link));
        }
        for transfer in &child.transfers {
            self.fetchers.remove(&(transfer.track, link));
        }
        if let Some(timer) = child.timer {
            self.timers.remove(&(timer, link));
        }
        for track in child.listens {
            self.outputs.push_back(Output::Unlisten { link, track });
            self.count_down(link, track, child.told);
        }
        for (track, carried) in &self.tracks {
            if carried.carry.log {
                self.outputs.push_back(Output::Unlisten { link, track: *track });
            }
        }
        // What it reported last must not come after the word that it is gone.
        self.give_reports();
        // Also of one not admitted yet: the trunk may have counted it, with the answer on its way.
        self.outputs.push_back(Output::Notice(Notice::Left { link, node: child.peer.node }));
    }
}

fn touches(areas: &[Area], area: &Area) -> bool {
    areas.iter().any(|one| one.touches(area))
}

/// µs within which a newcomer has its answer or is cut.
const ANSWERED: i64 = 30 * SECOND;
/// Newcomers at once: each asks once.
const NEWCOMERS: usize = 256;
const STOPPING: &str = "this node is stopping; dial again in a moment";
/// Reports that wait for each other, and for how long, µs: the trunk is not woken for each of thousands a
/// second.
const REPORTS: usize = 256;
const REPORTS_APART: i64 = 20 * MILLISECOND;
