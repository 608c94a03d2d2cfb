//! From plans to orders: which broadcasts a node gives for its timetable, once each, days ahead, and which it takes
//! back.
//!
//! ```text
//!  plan ─▶ parts ─▶ records ─▶ Keep ─▶ Give (nearest first) ─▶ given ─▶ aired
//!             │                          └ refused: again in some minutes, until it is too late: missed
//!             └ what was given and no longer stands: Cancel, before anything else is given there
//! ```
//! An [`Airings`] sees no clock, file or network: its owner hands in plans, what the node's book lists and what became
//! of each wish, and carries out what [`Airings::poll_output`] wants, one thing after the other.
//!
//! # Once each
//! A broadcast's id stands in a record that is on disk before its order is given. At a start nothing is given before
//! the node's book has been read: an id that stands in it was given; one that does not is given with that same id, so
//! that whatever was half done before a crash is the same broadcast still.
//!
//! # What a change touches
//! Of a new plan, records stand whose item is the same in every field and whose areas are all still wanted; what they
//! leave over is given anew. All others are cancelled before they sound, once the disk knows that they are taken back;
//! if it takes nothing, shortly before their time all the same. One that sounds goes on to its end, unless its
//! owner says that the entry is to stop now, and nothing that overlaps it in its areas is given.
//!
//! # How an order's bounds are kept
//! An order names at most [`MOST_AREAS`] areas and is at most 1,100 bytes long. An airing for more is cut, in the order
//! of the codes, into as few parts as hold both; each is a broadcast with tracks of its own.
//!
//! # Live
//! The keys of a live track exist in the process that speaks, so a relay of a live source is opened shortly before its
//! time and ended with its slot. If its source fails within it, it is opened again, as another broadcast.

mod form;
mod output;
mod record;
mod wanted;

pub use form::{read, write};
pub use output::{Listed, Output, Tell};
pub use record::{Fault, Part, Record, Shown, State};
pub use wanted::Asked;

use super::entry::Plays;
use super::plan::Item;
use crate::broadcast::{Area, MOST_AREAS};
use crate::time::{Civil, SECOND};
use aws_lc_rs::digest::{SHA256, digest};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// See the module.
#[derive(Debug)]
pub struct Airings {
    seed: [u8; 32],
    drawn: u64,
    records: BTreeMap<Uuid, Record>,
    most: usize,
    /// How far the plan reaches, and the first thing in it that found no room among the records.
    until: Civil,
    left_over: Option<Civil>,
    /// The book was read since the start, and since a wish last failed.
    listed: bool,
    list_at: Civil,
    keep_at: Civil,
    /// Records have changed since they were last kept; `owed`: among them ids that must be on disk before they are
    /// used.
    changed: bool,
    owed: bool,
    /// What the owner is carrying out.
    busy: Option<Busy>,
    told: Vec<Tell>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Busy {
    List,
    /// What changes while it is written is not in it. `owed`: there were ids in it that must be on disk.
    Keep {
        owed: bool,
    },
    Give(Uuid),
    Cancel(Uuid),
}

/// What is wanted, and the areas for which nothing is kept yet.
type Open = (Item, BTreeSet<Area>);

/// One time of an entry, and all the areas in which it sounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub item: Item,
    pub areas: Vec<Area>,
}

impl Airings {
    /// `records`: what was kept last, all of it. `seed`: fresh at every start; ids come of it.
    pub fn new(seed: [u8; 32], records: Vec<Record>) -> Self {
        let mut records: BTreeMap<Uuid, Record> = records.into_iter().map(|record| (record.id, record)).collect();
        for record in records.values_mut() {
            // The process that spoke is gone.
            record.state = match record.state {
                State::Open if record.part.is_live() => State::Promised,
                State::Cancelling if record.part.is_live() => State::Withdrawn,
                state => state,
            };
            (record.fault, record.again) = (None, Civil::default());
        }
        Self {
            seed,
            drawn: 0,
            records,
            most: MOST_OPEN,
            until: Civil::default(),
            left_over: None,
            listed: false,
            list_at: Civil::default(),
            keep_at: Civil::default(),
            changed: false,
            owed: false,
            busy: None,
            told: Vec::new(),
        }
    }

    /// So many broadcasts are given ahead at most: [`MOST_TRACKS`] bounds the tracks of all of them.
    pub fn renditions(mut self, count: usize) -> Self {
        self.most = MOST_OPEN.min(MOST_TRACKS / count.max(1));
        self
    }

    /// All that is known of, for the disk and for people.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// What shall sound from a day before `now` until `until`: that much, so that what sounds now is in it.
    /// `stop`: entries whose airings that sound now, and no longer stand, end at once. `room`: bytes that an order of
    /// this item has for areas.
    pub fn handle_plan(
        &mut self,
        now: Civil,
        until: Civil,
        wanted: Vec<Wanted>,
        stop: &BTreeSet<Uuid>,
        room: &dyn Fn(&Item) -> usize,
    ) {
        self.pass(now);
        self.until = until;
        let mut open: BTreeMap<(Civil, Uuid), Vec<Open>> = BTreeMap::new();
        for Wanted { item, areas } in wanted {
            open.entry((item.start, item.entry)).or_default().push((item, areas.into_iter().collect()));
        }
        let mut gone = Vec::new();
        for record in self.records.values_mut() {
            let wishes = open.get_mut(&(record.part.item.start, record.part.item.entry));
            let wish = wishes.and_then(|wishes| {
                let stands = |(item, areas): &&mut Open| {
                    *item == record.part.item && record.part.areas.iter().all(|area| areas.contains(area))
                };
                wishes.iter_mut().find(stands)
            });
            match wish {
                // What is taken back stays so, and is given anew.
                Some(_) if matches!(record.state, State::Cancelling | State::Withdrawn) => {}
                Some((_, areas)) => {
                    areas.retain(|area| !record.part.areas.contains(area));
                    record.stands = true;
                }
                None => {
                    record.stands = false;
                    let sounds = record.part.item.start <= now;
                    if record.is_open() && (!sounds || stop.contains(&record.part.item.entry)) {
                        gone.push(record.id);
                    }
                }
            }
        }
        for id in gone {
            self.take_back(id);
        }
        self.left_over = None;
        // What goes on to its end though it no longer stands keeps others out of its areas alone.
        let goes_on = |record: &&Record| record.is_open() && !record.stands && record.state != State::Cancelling;
        let goes_on: Vec<Part> = self.records.values().filter(goes_on).map(|record| record.part.clone()).collect();
        let mut promised = self.records.values().filter(|record| record.is_open()).count();
        for (item, areas) in open.into_values().flatten() {
            let late = match item.plays {
                Plays::Media { .. } => item.start < now + LATEST,
                Plays::Live { .. } => item.end < now + SHORTEST,
            };
            if late || areas.is_empty() {
                continue;
            }
            let (held, free): (BTreeSet<Area>, BTreeSet<Area>) = areas.into_iter().partition(|area| {
                let one = Part { item: item.clone(), areas: vec![area.clone()] };
                goes_on.iter().any(|part| part.meets(&one))
            });
            let room = room(&item);
            for areas in split(free, room).into_iter().chain(split(held, room)) {
                if promised >= self.most {
                    self.left_over = Some(self.left_over.map_or(item.start, |first| first.min(item.start)));
                    continue;
                }
                promised += 1;
                let id = self.draw(now);
                let record = Record::new(id, Part { item: item.clone(), areas });
                self.owed |= !record.part.is_live();
                self.changed = true;
                self.records.insert(id, record);
            }
        }
    }

    /// What the node's book has; asked for by [`Output::List`].
    pub fn handle_listed(&mut self, now: Civil, listed: &BTreeMap<Uuid, Listed>) {
        self.busy = None;
        self.listed = true;
        self.list_at = now + LIST_AGAIN;
        for record in self.records.values_mut().filter(|record| !record.part.is_live()) {
            let state = match (record.state, listed.get(&record.id)) {
                (State::Promised, Some(Listed::Known)) => State::Given,
                // Somebody has taken it off the air: it is not given again.
                (State::Promised | State::Given, Some(Listed::Cancelled)) => State::Cancelled,
                // Its key was locked or revoked: what is wanted is given anew, under another id, once it may be.
                (State::Promised | State::Given, Some(Listed::Withdrawn)) => State::Withdrawn,
                (State::Promised | State::Given, Some(Listed::Ended)) => State::Aired,
                // The node has lost it: it is given again, as the same broadcast.
                (State::Given, None) if record.part.item.end > now => State::Promised,
                (State::Cancelling, None | Some(Listed::Cancelled | Listed::Withdrawn | Listed::Ended)) => {
                    State::Withdrawn
                }
                (state, _) => state,
            };
            self.changed |= state != record.state;
            record.state = state;
        }
        self.pass(now);
    }

    /// The book could not be read.
    pub fn handle_not_listed(&mut self, now: Civil) {
        (self.busy, self.list_at) = (None, now + ASK_AGAIN);
    }

    /// The records were written, or could not be: then nothing new is given.
    pub fn handle_kept(&mut self, now: Civil, kept: bool) {
        if let Some(Busy::Keep { owed }) = self.busy.take()
            && !kept
        {
            (self.changed, self.owed, self.keep_at) = (true, self.owed || owed, now + KEEP_AGAIN);
        }
    }

    pub fn handle_given(&mut self, now: Civil, id: Uuid, given: Result<(), Fault>) {
        self.busy = None;
        let Some(record) = self.records.get_mut(&id) else { return };
        self.changed = true;
        match given {
            Ok(()) => {
                record.fault = None;
                if record.state == State::Promised {
                    record.state = State::Given;
                }
            }
            Err(fault) => {
                // It may have been given all the same.
                self.listed = false;
                self.list_at = now;
                self.handle_fault(now, id, fault, GIVE_AGAIN);
            }
        }
    }

    /// It could not be given now: there is time, and other things to do.
    pub fn handle_busy(&mut self, now: Civil, id: Uuid) {
        self.busy = None;
        if let Some(record) = self.records.get_mut(&id) {
            record.again = now + BUSY_AGAIN;
        }
    }

    pub fn handle_cancelled(&mut self, now: Civil, id: Uuid, cancelled: Result<(), Fault>) {
        self.busy = None;
        let Some(record) = self.records.get_mut(&id) else { return };
        match cancelled {
            Ok(()) => {
                (record.state, record.fault, self.changed) = (State::Withdrawn, None, true);
                self.told.push(Tell::Cancelled { part: record.part.clone() });
            }
            Err(fault) => {
                self.listed = false;
                self.list_at = now;
                self.handle_fault(now, id, fault, CANCEL_AGAIN);
            }
        }
    }

    /// A live source that was opened is over. `fault`: why, unless it spoke to its end; `cancelled`: somebody has
    /// taken it off the air.
    pub fn handle_over(&mut self, now: Civil, id: Uuid, fault: Option<Fault>, cancelled: bool) {
        let Some(record) = self.records.get_mut(&id) else { return };
        self.changed = true;
        record.spoke |= fault.is_none();
        let over = record.part.item.end < now + SHORTEST;
        if record.state == State::Cancelling {
            record.state = State::Withdrawn;
        } else if cancelled {
            record.state = State::Cancelled;
        } else if fault.is_none() && over {
            record.state = State::Aired;
        } else {
            record.state = State::Promised;
            let fault = fault.unwrap_or_else(Fault::ended);
            self.handle_fault(now, id, fault, OPEN_AGAIN);
        }
        self.pass(now);
    }

    /// Something has changed that may have been in the way, such as a file that came: what was refused is tried again.
    pub fn handle_news(&mut self) {
        for record in self.records.values_mut().filter(|record| record.fault.is_some()) {
            record.again = Civil::default();
        }
    }

    /// The source of a live part is on the air.
    pub fn handle_on_air(&mut self, id: Uuid) {
        if let Some(record) = self.records.get_mut(&id) {
            (record.spoke, record.fault, self.changed) = (true, None, true);
        }
    }

    /// What is to be done now; nothing while something is being done, or while the time is not known.
    pub fn poll_output(&mut self, now: Option<Civil>) -> Option<Output> {
        let now = now.filter(|_| self.busy.is_none())?;
        self.pass(now);
        if let Some(record) = self.live_to_close() {
            record.closing = true;
            return Some(Output::Close { id: record.id });
        }
        if self.list_at <= now {
            self.busy = Some(Busy::List);
            return Some(Output::List);
        }
        let keeps = self.keep_at <= now;
        if self.owed && keeps {
            return Some(self.keep());
        }
        let cancel = |record: &&Record| {
            record.state == State::Cancelling && record.again <= now && (!self.owed || self.cancel_by(record) <= now)
        };
        if let Some(id) = self.nearest(|record| cancel(record) && !record.part.is_live()) {
            self.busy = Some(Busy::Cancel(id));
            return Some(Output::Cancel { id });
        }
        let planned = self.until > now;
        if planned && let Some(id) = self.nearest(|record| self.may_open(record, now)) {
            let record = self.records.get_mut(&id)?;
            (record.state, record.closing, self.changed) = (State::Open, false, true);
            return Some(Output::Open { id, part: record.part.clone() });
        }
        if planned
            && self.listed
            && !self.owed
            && let Some(id) = self.nearest(|record| self.may_give(record, now))
        {
            self.busy = Some(Busy::Give(id));
            return Some(Output::Give { id, part: self.records.get(&id)?.part.clone() });
        }
        (self.changed && keeps).then(|| self.keep())
    }

    fn keep(&mut self) -> Output {
        self.busy = Some(Busy::Keep { owed: self.owed });
        (self.changed, self.owed) = (false, false);
        Output::Keep
    }

    pub fn poll_tell(&mut self) -> Option<Tell> {
        (!self.told.is_empty()).then(|| self.told.remove(0))
    }

    /// When there may be something to do next.
    pub fn poll_timeout(&self) -> Civil {
        let next = self.records.values().filter_map(|record| match record.state {
            State::Promised if record.part.is_live() => Some((record.part.item.start - OPEN_AHEAD).max(record.again)),
            State::Cancelling if self.owed => Some(record.again.max(self.keep_at.min(self.cancel_by(record)))),
            State::Promised if self.owed => Some(record.again.max(self.keep_at)),
            State::Promised | State::Cancelling => Some(record.again),
            _ => None,
        });
        next.chain([self.list_at]).min().unwrap_or(self.list_at)
    }

    /// How far ahead of `now` all that is stored has been given, µs.
    pub fn reaches(&self, now: Civil) -> i64 {
        let missing = self.records.values().filter(|record| record.state == State::Promised && !record.part.is_live());
        let first = missing.map(|record| record.part.item.start).chain(self.left_over).min();
        first.map_or(self.until, |first| first.min(self.until)) - now
    }

    /// How many records are shown as what.
    pub fn count(&self, now: Civil) -> [u64; Shown::ALL.len()] {
        let mut counts = [0; Shown::ALL.len()];
        for record in self.records.values() {
            counts[record.shown(now) as usize] += 1;
        }
        counts
    }

    /// Time has passed: what has sounded, what can no longer, what is long over.
    fn pass(&mut self, now: Civil) {
        let Self { records, told, busy, listed, .. } = self;
        let mut changed = false;
        for record in records.values_mut() {
            let Item { start, end, .. } = record.part.item;
            let live = record.part.is_live();
            let state = match record.state {
                State::Given if end <= now => State::Aired,
                State::Promised if live && end < now + SHORTEST => {
                    if record.spoke {
                        State::Aired
                    } else {
                        State::Missed
                    }
                }
                // One that may have been given is not judged before the book was read.
                State::Promised if !live && start < now + LATEST && *listed && *busy != Some(Busy::Give(record.id)) => {
                    State::Missed
                }
                State::Cancelling if end <= now && !live => State::Withdrawn,
                state => state,
            };
            if state == State::Missed && record.state != State::Missed {
                told.push(Tell::Missed { part: record.part.clone() });
            }
            changed |= state != record.state;
            record.state = state;
        }
        let before = records.len();
        records.retain(|_, record| record.is_open() || now < record.part.item.end + KEPT);
        self.changed |= changed || records.len() != before;
    }

    fn take_back(&mut self, id: Uuid) {
        let Some(record) = self.records.get_mut(&id) else { return };
        self.changed = true;
        (record.again, record.fault) = (Civil::default(), None);
        let untouched = record.state == State::Promised && (record.part.is_live() || self.listed);
        if untouched && self.busy != Some(Busy::Give(id)) {
            self.records.remove(&id);
        } else {
            record.state = State::Cancelling;
            self.owed = true;
        }
    }

    fn handle_fault(&mut self, now: Civil, id: Uuid, fault: Fault, after: i64) {
        let Some(record) = self.records.get_mut(&id) else { return };
        record.again = now + after;
        if record.fault.as_ref() != Some(&fault) {
            self.told.push(Tell::Fault { part: record.part.clone(), fault: fault.clone() });
        }
        record.fault = Some(fault);
    }

    fn may_give(&self, record: &Record, now: Civil) -> bool {
        record.state == State::Promised && !record.part.is_live() && record.again <= now && self.is_free(record)
    }

    fn may_open(&self, record: &Record, now: Civil) -> bool {
        let Item { start, end, .. } = record.part.item;
        let due = start - OPEN_AHEAD <= now && now + SHORTEST <= end;
        record.state == State::Promised && record.part.is_live() && due && record.again <= now && self.is_free(record)
    }

    /// When it is cancelled though the disk does not know of it: shortly before it sounds, or before what is live in its
    /// place. Until then the disk comes first, as after a crash what the book has as cancelled would look as if a person
    /// had taken it off the air.
    fn cancel_by(&self, record: &Record) -> Civil {
        let live = |other: &&Record| other.part.is_live() && other.state == State::Promised;
        let in_its_place = self.records.values().filter(live).filter(|other| other.part.meets(&record.part));
        let first = in_its_place.map(|other| other.part.item.start).chain([record.part.item.start]).min();
        first.unwrap_or_default() - CANCEL_LATEST
    }

    fn live_to_close(&mut self) -> Option<&mut Record> {
        let mut live = self.records.values_mut().filter(|record| record.part.is_live());
        live.find(|record| record.state == State::Cancelling && !record.closing)
    }

    /// Nothing that no longer stands, and may still sound, is in its way.
    fn is_free(&self, record: &Record) -> bool {
        let stale = |other: &&Record| other.is_open() && !other.stands;
        !self.records.values().filter(stale).any(|other| other.id != record.id && other.part.meets(&record.part))
    }

    fn nearest(&self, wanted: impl Fn(&&Record) -> bool) -> Option<Uuid> {
        let found = self.records.values().filter(wanted);
        found.min_by_key(|record| (record.part.item.start, record.id)).map(|record| record.id)
    }

    /// A UUIDv7 that nobody has used.
    fn draw(&mut self, now: Civil) -> Uuid {
        self.drawn += 1;
        let random = digest(&SHA256, &[&self.seed[..], &self.drawn.to_be_bytes()].concat());
        let mut tail = [0; 10];
        tail.iter_mut().zip(random.as_ref()).for_each(|(byte, random)| *byte = *random);
        uuid::Builder::from_unix_timestamp_millis(now.0.max(0).unsigned_abs() / 1_000, &tail).into_uuid()
    }
}

/// Areas in the order of their codes, in as few parts as fit.
fn split(areas: BTreeSet<Area>, room: usize) -> Vec<Vec<Area>> {
    let mut parts: Vec<Vec<Area>> = Vec::new();
    let mut left = 0;
    for area in areas {
        let bytes = area.as_str().len() + AREA;
        match parts.last_mut().filter(|part| bytes <= left && part.len() < MOST_AREAS) {
            Some(part) => {
                left -= bytes;
                part.push(area);
            }
            None => {
                left = room.saturating_sub(bytes);
                parts.push(vec![area]);
            }
        }
    }
    parts
}

/// µs. Given later than this before its time, nobody below has it ahead, and some would begin late.
pub const LATEST: i64 = 3 * SECOND;
/// µs of a live source that are worth an order.
const SHORTEST: i64 = 2 * SECOND;
/// µs by which a live source is opened before it sounds: a name is resolved, a link is made, a decoder fills.
pub const OPEN_AHEAD: i64 = 8 * SECOND;
const OPEN_AGAIN: i64 = 3 * SECOND;
/// µs until one is tried again for which there was no time.
const BUSY_AGAIN: i64 = 5 * SECOND;
/// µs until what was refused is tried again: somebody must upload a file or mend a disk.
const GIVE_AGAIN: i64 = 180 * SECOND;
const CANCEL_AGAIN: i64 = 10 * SECOND;
/// µs before its time at which what is taken back is cancelled though the disk does not know of it.
const CANCEL_LATEST: i64 = 120 * SECOND;
const ASK_AGAIN: i64 = 5 * SECOND;
const KEEP_AGAIN: i64 = 10 * SECOND;
/// µs between two looks into the book.
const LIST_AGAIN: i64 = 60 * SECOND;
/// µs for which it is shown what became of something.
const KEPT: i64 = 48 * 3_600 * SECOND;
/// Under the 1,024 broadcasts that a book holds of one authority, with room for what people put on the air.
pub const MOST_OPEN: usize = 900;
/// Of the 2,048 tracks that a node keeps; fewer than the 1,024 jobs of its disk, which counts them all at a restart.
pub const MOST_TRACKS: usize = 900;
/// Bytes that name and length of an area take in an order.
const AREA: usize = 2;
