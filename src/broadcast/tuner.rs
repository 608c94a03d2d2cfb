//! The rule that picks, among the broadcasts now valid for an area, the one that sounds (DESIGN §7).

use super::{Area, Book, Entry, Priority, Purpose};
use crate::time::Civil;
use std::collections::BTreeSet;
use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The broadcast that sounds at `now`, if any.
    pub broadcast: Option<Uuid>,
    /// Something would sound but for a hush.
    pub hushed: bool,
    /// The next instant at which the answer may differ without a new order.
    pub next: Option<Civil>,
}

/// What sounds at `now` in `area`, the node's own. A broadcast occupies `[from, until + delay)`, an
/// emergency with a tone from T0, and ends early at the instant of its cancel. Emergency > priority >
/// normal, and of each what is real > an exercise > a test; within a class the older (`issued`, then id) goes on unless
/// the newer supersedes it, or, emergencies aside, the area prefers another.
/// A hush silences its priority and those below from `issued` until its end.
/// Without trusted time (`now: None`): real emergencies only, and a cancel counts at once. Two nodes with
/// the same orders choose the same.
///
/// Called for every packet: linear in live broadcasts and hushes, and no allocation unless something
/// supersedes.
pub fn choose(book: &Book, area: &Area, now: Option<Civil>) -> Choice {
    choose_late(book, area, now, 0)
}

/// The same for a node at which everything sounds `late` µs later: it occupies the speakers so much longer and later. A
/// cancel and a hush are not later.
pub fn choose_late(book: &Book, area: &Area, now: Option<Civil>, late: i64) -> Choice {
    let mut next = Soonest { now, at: None };
    let mut quiet: Option<Priority> = None;
    for held in book.quiets(area) {
        next.consider(held.issued);
        next.consider(held.hush.until);
        if now.is_some_and(|now| held.issued <= now && now < held.hush.until) {
            quiet = quiet.max(Some(held.hush.up_to));
        }
    }

    let preference = now.and_then(|now| book.preference(area, now));
    book.preference_changes(area).for_each(|at| next.consider(at));

    // The highest class that is on, and whatever in it gives way to something newer.
    let mut class: Option<Class> = None;
    let mut gone: BTreeSet<Uuid> = BTreeSet::new();
    for entry in here(book, area) {
        let (begins, ends) = span(entry, late);
        next.consider(begins);
        next.consider(ends);
        if is_on(entry, now, late) {
            class = class.max(Some(class_of(entry)));
            gone.extend(entry.broadcast.supersedes.filter(|older| supersedes(book, entry, *older)));
        }
    }
    let hushed = class.is_some_and(|(priority, _)| Some(priority) <= quiet);
    let broadcast = class.filter(|_| !hushed).and_then(|class| {
        here(book, area)
            .filter(|entry| class_of(entry) == class && is_on(entry, now, late) && !gone.contains(&entry.id))
            .min_by_key(|entry| match preference.filter(|_| class.0 < Priority::Emergency) {
                Some(preference) => preference.rank(entry.id, class.0),
                // The first of equals is taken: the oldest.
                None => 0,
            })
            .map(|entry| entry.id)
    });
    Choice { broadcast, hushed, next: next.at }
}

/// Broadcasts of one class stand in line; a higher one cuts in.
type Class = (Priority, Purpose);

fn class_of(entry: &Entry) -> Class {
    (entry.broadcast.priority, entry.broadcast.purpose)
}

/// Live broadcasts meant for a node that stands in `area`, oldest first.
fn here<'a>(book: &'a Book, area: &'a Area) -> impl Iterator<Item = &'a Entry> {
    let here = |entry: &&Entry| !entry.broadcast.prepared && entry.areas.iter().any(|of| of.contains(area));
    book.live(area).filter(here)
}

fn span(entry: &Entry, late: i64) -> (Civil, Civil) {
    let ends = entry.broadcast.ends() + late;
    (entry.broadcast.begins() + late, entry.cancelled_at.map_or(ends, |at| at.min(ends)))
}

fn is_on(entry: &Entry, now: Option<Civil>, late: i64) -> bool {
    let (begins, ends) = span(entry, late);
    match now {
        Some(now) => begins <= now && now < ends,
        None => class_of(entry) == (Priority::Emergency, Purpose::Real) && entry.cancelled_at.is_none(),
    }
}

/// Whether `newer` may take the place of the broadcast `older`. Only the newer can, so there are no
/// circles; nothing real makes room for an exercise; and no emergency is pushed aside by somebody who speaks to fewer areas.
fn supersedes(book: &Book, newer: &Entry, older: Uuid) -> bool {
    book.get(older).is_some_and(|older| {
        (newer.issued, newer.id) > (older.issued, older.id)
            && newer.broadcast.priority == older.broadcast.priority
            && newer.broadcast.purpose >= older.broadcast.purpose
            && (older.broadcast.priority < Priority::Emergency
                || newer.authority == older.authority
                || super::area::within(&newer.areas, &older.areas).is_ok())
    })
}

/// The earliest instant after now.
struct Soonest {
    now: Option<Civil>,
    at: Option<Civil>,
}

impl Soonest {
    fn consider(&mut self, instant: Civil) {
        if self.now.is_some_and(|now| instant > now) {
            self.at = Some(self.at.map_or(instant, |at| at.min(instant)));
        }
    }
}
