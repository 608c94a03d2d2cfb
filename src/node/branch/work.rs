//! What concerns many children at once, done a slice at a time: 50,000 keys are over a second's work, and
//! packets, repairs and clock answers must not wait for it.
//!
//! A task remembers how far it got, not whom it concerns: a few hundred bytes each, whatever the number of
//! children. Whoever is admitted after it was given has had all of it in its welcome, and is passed over.
use super::bulk::Transfer;
use super::{Branch, Carry, Child, Cut, Output, STOPPING, Standing};
use crate::node::Link;
use crate::node::places::{Place, touched};
use crate::proto;
use crate::time::Local;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};
use uuid::Uuid;

/// The tasks of a branch, in the order in which they are done: what is urgent first.
#[derive(Default)]
pub(super) struct Work {
    tasks: VecDeque<Task>,
    /// Tasks ever given.
    number: u64,
    /// The instant of the newest command, and what may still be done at it.
    at: Local,
    left: usize,
}

struct Task {
    number: u64,
    /// Emergencies, and logs, which bring them.
    urgent: bool,
    what: What,
    whom: Whom,
}

enum What {
    /// Key of a track of sound, of an emergency also the track itself.
    Carry(Uuid),
    Log(proto::Log, u32),
    LogEnded(proto::Log, Uuid),
    Push(Vec<proto::Signed>),
    Missing {
        track: Uuid,
        first: u64,
        count: u64,
    },
    Stored(Uuid),
    /// Of a track dropped already: what children's entries still say of it.
    Forget(Uuid),
    Drain,
}

impl What {
    fn track(&self) -> Option<Uuid> {
        match self {
            Self::Carry(track) | Self::Stored(track) | Self::Forget(track) | Self::LogEnded(_, track) => Some(*track),
            Self::Missing { track, .. } => Some(*track),
            Self::Log(log, _) => Uuid::from_slice(&log.track).ok(),
            Self::Push(_) | Self::Drain => None,
        }
    }
}

/// Who is still to come.
enum Whom {
    /// Every child, from the one after this.
    All(Option<Link>),
    /// Members within ranges of [`Place`]s, from the one after this.
    Places(VecDeque<(Place, Place)>, Option<(Place, Link)>),
    Listeners(Uuid, Option<Link>),
    Fetchers(Uuid, Option<Link>),
    These(BTreeSet<Link>),
}

impl Work {
    pub fn newest(&self) -> u64 {
        self.number
    }

    /// When there is something to do: at once.
    pub fn due(&self) -> Option<Local> {
        (!self.tasks.is_empty()).then_some(self.at)
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    fn cancel(&mut self, unless: impl Fn(&What) -> bool) {
        self.tasks.retain(|task| unless(&task.what));
    }
}

impl Branch {
    pub(super) fn give_carry(&mut self, now: Local, carry: &Carry, log: proto::Log) {
        match carry.log {
            true => self.give(now, true, What::Log(log, carry.rate), Whom::All(None)),
            false => {
                let whom = Whom::Places(touched(&carry.areas), None);
                self.give(now, carry.emergency, What::Carry(carry.track), whom);
            }
        }
    }

    pub(super) fn give_push(&mut self, now: Local, orders: Vec<proto::Signed>) {
        self.give(now, false, What::Push(orders), Whom::All(None));
    }

    /// Announced to those who listen; where much waits already, they find out by themselves and ask.
    pub(super) fn give_missing(&mut self, now: Local, log: bool, track: Uuid, first: u64, count: u64) {
        if self.work.tasks.len() >= ANNOUNCED {
            self.counters.dropped += 1;
            return;
        }
        let whom = if log { Whom::All(None) } else { Whom::Listeners(track, None) };
        self.give(now, false, What::Missing { track, first, count }, whom);
    }

    pub(super) fn give_stored(&mut self, now: Local, track: Uuid) {
        // One that has begun does not reach those it has passed: the newest is the one to keep.
        self.work.cancel(|what| !matches!(what, What::Stored(stored) if *stored == track));
        self.give(now, false, What::Stored(track), Whom::Fetchers(track, None));
    }

    /// What was still to be said of it is not said any more.
    pub(super) fn give_dropped(&mut self, now: Local, track: Uuid, log: Option<proto::Log>, mut known: BTreeSet<Link>) {
        self.work.cancel(|what| what.track() != Some(track));
        match log {
            Some(log) => self.give(now, true, What::LogEnded(log, track), Whom::All(None)),
            None => {
                known.extend(self.fetchers_of(track, None).map(|(_, link)| *link));
                self.give(now, false, What::Forget(track), Whom::These(known));
            }
        }
    }

    /// A track comes back before all have forgotten it: they do so at once. Nothing is sent for that.
    pub(super) fn forget_at_once(&mut self, now: Local, track: Uuid) {
        let forgets = |task: &Task| matches!(task.what, What::Forget(gone) if gone == track);
        if let Some(at) = self.work.tasks.iter().position(forgets)
            && let Some(task) = self.work.tasks.remove(at)
        {
            self.work_on(now, task, usize::MAX);
        }
    }

    /// Nothing else matters any more.
    pub(super) fn give_drain(&mut self, now: Local) {
        self.work.tasks.clear();
        self.give(now, true, What::Drain, Whom::All(None));
    }

    /// The next slice.
    pub(super) fn work_slice(&mut self, now: Local) {
        self.work_some(now, SLICE);
    }

    fn give(&mut self, now: Local, urgent: bool, what: What, whom: Whom) {
        self.work.number += 1;
        let task = Task { number: self.work.number, urgent, what, whom };
        let before = if urgent { self.work.tasks.iter().take_while(|task| task.urgent).count() } else { usize::MAX };
        let place = before.min(self.work.tasks.len());
        self.work.tasks.insert(place, task);
        if self.work.tasks.len() > TASKS
            && let Some(first) = self.work.tasks.pop_front()
        {
            self.work_on(now, first, usize::MAX);
        }
        if self.work.at != now {
            (self.work.at, self.work.left) = (now, SLICE);
        }
        // A small branch does at once what it is told.
        self.work.left = self.work_some(now, self.work.left);
    }

    /// Returns how many more children there would have been time for.
    fn work_some(&mut self, now: Local, mut left: usize) -> usize {
        while left > 0
            && let Some(task) = self.work.tasks.pop_front()
        {
            left = self.work_on(now, task, left);
        }
        left
    }

    fn work_on(&mut self, now: Local, mut task: Task, mut left: usize) -> usize {
        while let Some(link) = self.next_of(&mut task.whom) {
            self.work_for(now, link, &task);
            left -= 1;
            if left == 0 {
                self.work.tasks.push_front(task);
                return 0;
            }
        }
        left
    }

    fn next_of(&self, whom: &mut Whom) -> Option<Link> {
        let after = |link: &Option<Link>| (link.map_or(Unbounded, Excluded), Unbounded);
        match whom {
            Whom::All(last) => {
                *last = Some(*self.children.range(after(last)).next()?.0);
                *last
            }
            Whom::Listeners(track, last) => {
                *last = Some(*self.tracks.get(track)?.listeners.range(after(last)).next()?);
                *last
            }
            Whom::Fetchers(track, last) => {
                *last = Some(self.fetchers_of(*track, *last).next()?.1);
                *last
            }
            Whom::These(links) => links.pop_first(),
            Whom::Places(ranges, last) => loop {
                let (from, until) = ranges.front()?;
                let from = last.clone().map_or((from.clone(), 0), |(place, link)| (place, link.saturating_add(1)));
                let end = (until.clone(), 0);
                if let Some(next) = (from < end).then(|| self.places.range(from..end).next()).flatten() {
                    *last = Some(next.clone());
                    return Some(next.1);
                }
                ranges.pop_front();
                *last = None;
            },
        }
    }

    fn fetchers_of(&self, track: Uuid, after: Option<Link>) -> impl Iterator<Item = &(Uuid, Link)> {
        let from = after.map_or(0, |link| link.saturating_add(1));
        self.fetchers.range((track, from)..=(track, Link::MAX))
    }

    fn work_for(&mut self, now: Local, link: Link, task: &Task) {
        let Some(child) = self.children.get_mut(&link) else { return };
        let member = matches!(child.standing, Standing::Member { since, .. } if since < task.number);
        match &task.what {
            What::Drain => return self.cut(link, Cut::Stopping, "node.stopping", STOPPING),
            What::Forget(track) => {
                child.forget(now, *track);
                self.fetchers.remove(&(*track, link));
                return;
            }
            What::Stored(_) => return self.advance_transfers(now, link),
            _ if !member => return,
            What::Carry(track) => {
                let Some(carried) = self.tracks.get(track) else { return };
                let carry = &carried.carry;
                let (rode, emergency) = (carry.rode, carry.emergency && !child.standby);
                if !rode {
                    child.session.key(*track, &carry.secret);
                }
                if emergency {
                    // Whoever got the key with the order expects the sound from its first packet on.
                    let untold = rode && carried.ring.newest().is_none();
                    self.listen(now, link, *track, 0, !untold);
                }
            }
            What::Log(log, rate) => {
                let Ok(track) = Uuid::from_slice(&log.track) else { return };
                child.session.log(log.clone());
                child.session.budget(now, track, *rate);
                self.outputs.push_back(Output::Listen { link, track });
            }
            What::LogEnded(log, track) => {
                child.forget(now, *track);
                child.session.log(log.clone());
            }
            What::Push(orders) => child.session.push(orders.clone()),
            What::Missing { track, first, count } => child.session.missing(*track, *first, *count),
        }
        self.settle(now, link);
    }
}

impl Child {
    fn forget(&mut self, now: Local, track: Uuid) {
        self.listens.retain(|held| *held != track);
        self.end_transfer(track);
        self.session.unlistened(now, track);
    }

    /// A stream that were left open would be one less for good.
    pub(super) fn end_transfer(&mut self, track: Uuid) {
        self.transfers.retain(|transfer: &Transfer| transfer.track != track);
        self.session.end_bulk(track);
    }
}

/// Children served in one go: at 25 µs each 6 ms, less than a listener's packets are spread over.
const SLICE: usize = 256;
/// Tasks that wait: half of the 2,112 tracks come or go at once. A trunk that gives more has the first done
/// whole, since none of them may be lost.
const TASKS: usize = 1_024;
/// Tasks beyond which what is missing is not announced.
const ANNOUNCED: usize = 64;
