//! The trunk: broadcasts, tracks, tuner, clock, playout, parent sessions.
mod behind;
mod below;
mod calling;
#[cfg(test)]
mod ceilings;
mod choice;
mod counting;
mod drafts;
mod enrol;
mod hands;
#[cfg(test)]
mod hostile;
mod keys;
mod known;
mod logs;
mod orders;
mod parents;
mod prepared;
mod receipts;
mod renditions;
mod requests;
mod rights;
mod roster;
mod shelf;
mod time;
mod tracks;
mod tune;
mod types;

pub use calling::Daylight;
pub use choice::Wished;
pub use hands::{Change, Loudness, Turn};
pub use known::*;
pub use receipts::Account;
pub use requests::room_for_areas;
pub use roster::Place;
pub use types::*;

use super::branch::{Command, Notice};
use super::{Done, Job, Link, Peer, Role};
use crate::broadcast::{Address, Area, Authorities, Book, Choice, Order, State, Tone, Vouched};
use crate::key::KeyId;
use crate::playout::{self, Player};
use crate::proto;
use crate::time::{Civil, Local, MILLISECOND};
use crate::track::{Packet, Reject, Secret};
use below::Below;
use choice::Choosing;
use enrol::{Admission, Asker, Enrolments};
use keys::Brought;
use logs::{Ids, LogTrack};
use parents::Parents;
use receipts::{Ack, Receipts};
use roster::Roster;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use time::Time;
use tracks::Track;
use uuid::Uuid;

/// One node's trunk.
pub struct Trunk {
    options: Options,
    ids: Ids,
    /// Where this node stands, once its journal or its parent has said so.
    place: Option<Stand>,
    authorities: Authorities,
    book: Book,
    /// Highest order number of this node's own authority.
    number: u64,
    time: Time,
    /// The line from local to civil time as of the last input.
    line: Option<playout::Phase>,
    player: Option<Player>,
    parents: Parents,
    choosing: Choosing,
    /// Bytes of sound that came, headers included.
    sound_bytes: u64,
    logs: BTreeMap<Uuid, LogTrack>,
    tracks: BTreeMap<Uuid, Track>,
    /// Tracks that this process made, and how many packets of each are stored (0: live).
    own_tracks: BTreeMap<Uuid, u64>,
    /// Secrets that came before their order, in the order of their coming in `early_ids`.
    early: BTreeMap<Uuid, (Secret, Brought)>,
    /// Live broadcasts of this node's processes that are gone: to be ended as soon as the time is known.
    orphans: Vec<Uuid>,
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
    enrolments: Enrolments,
    drafts: drafts::Drafts,
    receipts: Receipts,
    roster: Roster,
    held: hands::Held,
    shelf: shelf::Shelf,
    /// Tracks of which it is not known yet what the store holds; and those that it is being asked about.
    uncounted: BTreeSet<Uuid>,
    counting: BTreeSet<Uuid>,
    tick_at: Local,
    /// When this node last gave an order.
    ordered_at: Option<Local>,
    tune_at: Option<Local>,
    /// What the tuner chose last.
    tuned: Option<Choice>,
    /// Of an exercise or test that sounds: the words that it began with here.
    said: Option<(Uuid, Tone)>,
    /// What it will choose some seconds on, as far as orders say now.
    coming: Option<Uuid>,
    event_number: u64,
    outputs: VecDeque<Output>,
    counters: Counters,
    draining: bool,
}

/// This node's signed place.
struct Stand {
    area: Area,
    name: String,
    signed: proto::Signed,
    authority: KeyId,
    /// Of the order: a higher one takes its place.
    number: u64,
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
    Air { track: Uuid, from: u64 },
    /// A node that a token admits.
    Admission(Box<Admission>),
    /// A certificate for whoever asked for it.
    /// `again`: the question of a renewal, which the next one above may answer too.
    Certificate { asker: Asker, again: Option<Box<proto::Enrol>> },
    /// Another node's placement, which is told to it once it is on disk; and who is expelled for it.
    Placement { id: u64, order: Box<Order>, signed: proto::Signed, expel: Option<proto::Signed> },
    /// Receipts of this node and of children, who wait for it.
    Receipts(Vec<Ack>),
    /// A node's settings, the same way.
    Settings { id: u64, order: Box<Order>, signed: proto::Signed },
}

/// Where an order came from, and so what must follow when it is accepted.
#[derive(Clone, Debug)]
enum From {
    /// A packet of a log: it is forwarded once the order is good.
    Log { track: Uuid, packet: Packet, keys: Vec<(Uuid, Secret)> },
    /// Handed over at a join.
    Push,
    /// Given by this node: it goes into the own log, and the reply is sent.
    Own { request: Option<(u64, Box<Reply>)>, keys: Vec<(Uuid, Secret)> },
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
            time: Time::new(options.parents.is_empty(), options.backed),
            line: None,
            player: options.playout.clone().map(Player::new),
            parents: Parents::new(now, options.node, options.parents.clone(), options.both),
            choosing: Choosing::new(now, options.rendition),
            sound_bytes: 0,
            logs: BTreeMap::new(),
            tracks: BTreeMap::new(),
            own_tracks: BTreeMap::new(),
            early: BTreeMap::new(),
            orphans: Vec::new(),
            early_ids: VecDeque::new(),
            written: BTreeSet::new(),
            parked: VecDeque::new(),
            jobs: BTreeMap::new(),
            next_job: 0,
            repeats: BTreeMap::new(),
            below: Below::new(now),
            enrolments: Enrolments::default(),
            drafts: drafts::Drafts::default(),
            receipts: Receipts::default(),
            roster: Roster::default(),
            held: hands::Held::default(),
            shelf: shelf::Shelf::default(),
            uncounted: BTreeSet::new(),
            counting: BTreeSet::new(),
            tick_at: now,
            ordered_at: None,
            tune_at: None,
            tuned: None,
            said: None,
            coming: None,
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
            Input::Level(reading) => self.counters.level = Some(reading),
            Input::Switch(on) => self.handle_switch(now, on),
            Input::Trouble { code, text } => {
                self.below.troubles.insert(code);
                self.trouble(now, code, text);
                self.report_now(now);
            }
            Input::Mended { code, text } => {
                self.below.troubles.remove(code);
                self.event(now, What::Mended { code, text });
                self.report_now(now);
            }
            Input::Wall { civil, uncertainty } => {
                let behind = self.time.handle_wall(now, civil, uncertainty);
                self.stands(now, "clock.stepped", behind.is_some(), || match behind {
                    Some(behind) => format!(
                        "the wall clock is {behind} µs off the time given out; it is followed by 500 ppm at most: set it \
                         back, or restart the node if it is right now"
                    ),
                    None => "the wall clock and the time given out agree again".to_owned(),
                });
                let belied = self.time.belied(now);
                self.stands(now, "clock.backup", belied.is_some(), || match belied {
                    Some(off) => format!(
                        "this machine's clock is {} ms off signed time, more than [clock] error_ms says: alone, what is \
                         stored would sound so far off; set it, replace its battery, or state a larger error",
                        off / MILLISECOND
                    ),
                    None => "this machine's clock is as right again as [clock] says".to_owned(),
                });
                self.handle_phase(now);
            }
            Input::Renew { key, proof, chain } => self.handle_renew(now, key, proof, chain),
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
            self.receipts.poll_timeout().map(|at| (at, Reason::Receipts)),
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
        if self.receipts.poll_timeout().is_some_and(|at| at <= now) {
            self.handle_receipts_due(now);
        }
        self.after(now);
    }

    pub fn counters(&self) -> Counters {
        let mut counters = self.counters.clone();
        self.parents.count(&mut counters);
        counters.children = self.below.direct() as u64;
        counters.known = self.below.known();
        counters.tick = self.time.ticked_at();
        if let Some(player) = &self.player {
            counters.player = player.counters();
            counters.lost = counters.player.lost;
        }
        counters.troubles.clone_from(&self.below.troubles);
        counters.placed = self.place.is_some();
        counters.hindrance = self.parents.hindrance.clone();
        counters
    }

    /// This node's civil time, once trusted.
    pub fn civil(&self, now: Local) -> Option<Civil> {
        self.time.civil(now)
    }

    /// The line from local to civil time, while that is trusted.
    pub fn phase(&self, now: Local) -> Option<playout::Phase> {
        self.time.civil(now).and_then(|_| self.time.phase(now))
    }

    /// A root origin with a clock, or a node that a parent has welcomed and that has trusted time.
    pub fn ready(&self) -> bool {
        let reached = self.options.parents.is_empty() || self.place.is_some() && self.parents.welcomed() > 0;
        self.counters.synced && reached
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
            self.resolve_mute(now);
            self.retry_parked(now);
            self.tune(now);
            self.drain_sessions(now);
        }
        self.line = self.time.phase(now);
        self.counters.uncertainty = self.line.map_or(0, |phase| phase.uncertainty);
    }

    fn drain_player_events(&mut self, now: Local) {
        while let Some(event) = self.player.as_mut().and_then(|player| player.poll_event()) {
            if self.place.is_none() && matches!(event, playout::Event::Began { .. } | playout::Event::Ended { .. }) {
                // Its own code, which is no broadcast.
                continue;
            }
            self.note_playout(now, &event);
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
                    self.event(now, What::Ended { broadcast, at, whole: Some(whole) });
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
        match (&pending, &done) {
            // Whether a certificate can be had says nothing of the disk.
            (Pending::Certificate { .. }, _) => {}
            (_, Done::Failed(text)) => self.stands(now, "store.failed", true, || text.clone()),
            // What can be read may still not be written.
            (Pending::Air { .. }, _) => {}
            (_, _) => self.stands(now, "store.failed", false, || "the disk takes what is written again".to_owned()),
        }
        match (pending, done) {
            (Pending::Record, _) => {}
            (Pending::Admission(admission), Done::Failed(text)) => self.handle_admitted(now, *admission, Err(text)),
            (Pending::Admission(admission), _) => self.handle_admitted(now, *admission, Ok(())),
            (Pending::Certificate { asker, .. }, Done::Certified(chain)) => self.answer(now, asker, Ok(chain)),
            (Pending::Certificate { asker, again }, done) => {
                let text = if let Done::Failed(text) = done { text } else { "no certificate came of it".to_owned() };
                self.handle_not_certified(now, asker, again, text);
            }
            (Pending::Placement { id, .. }, Done::Failed(text)) => {
                let text = format!("the placement could not be written to disk and was not given: {text}");
                self.refuse(id, "store.failed", &text);
            }
            (Pending::Placement { id, order, signed, expel }, _) => self.handle_placed(now, id, &order, signed, expel),
            (Pending::Settings { id, .. }, Done::Failed(text)) => {
                let text = format!("the settings could not be written to disk and were not given: {text}");
                self.refuse(id, "store.failed", &text);
            }
            (Pending::Settings { id, order, signed }, _) => self.handle_settled(now, id, &order, signed),
            (Pending::Order { order, signed, from }, Done::Failed(text)) => {
                if let From::Own { request: Some((id, _)), .. } = from {
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
            (Pending::Receipts(acks), Done::Ok) => self.acknowledge(acks),
            // Those of children come again.
            (Pending::Receipts(_), _) => {}
            (Pending::Kept { track, indices }, Done::Ok) => self.handle_kept(now, track, &indices),
            (Pending::Kept { .. }, _) => {}
            (Pending::Air { track, from }, Done::Packets { packets, .. }) => {
                self.handle_fetched_to_air(now, track, from, packets);
            }
            (Pending::Air { track, from }, _) => self.handle_fetched_to_air(now, track, from, Vec::new()),
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

    /// Tells of something that is wrong when it begins, and when it is over; not while it lasts.
    fn stands(&mut self, now: Local, code: &'static str, wrong: bool, text: impl FnOnce() -> String) {
        debug_assert!(TROUBLES.contains(&code), "{code} is not among the metrics");
        if wrong == self.below.troubles.contains(code) {
            return;
        }
        if wrong {
            self.below.troubles.insert(code);
            self.trouble(now, code, text());
        } else {
            self.below.troubles.remove(code);
            self.event(now, What::Mended { code, text: text() });
        }
        self.report_now(now);
    }

    fn refuse(&mut self, id: u64, code: &str, text: &str) {
        let reply = Reply::Refused { code: code.into(), text: text.into() };
        self.outputs.push_back(Output::Reply { id, reply });
    }

    fn dropped(&mut self, queue: &'static str) {
        debug_assert!(QUEUES.contains(&queue), "{queue} has no zero to begin from");
        *self.counters.dropped.entry(queue).or_default() += 1;
    }
}
