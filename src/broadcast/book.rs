//! The state of every order that a node knows: one per id, tombstones included.

mod prefer;

use super::order::keep;
use super::refusal::*;
use super::{Area, Body, Broadcast, Cancel, Hush, Priority, Refusal, Tick, Vouched, area};
use crate::key::KeyId;
use crate::proto;
use crate::time::Civil;
use prefer::Preferences;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Known,
    Sounding,
    Ended,
    Cancelled,
}

/// A broadcast in the book.
#[derive(Clone, Debug)]
pub struct Entry {
    pub id: Uuid,
    pub authority: KeyId,
    pub areas: Vec<Area>,
    pub issued: Civil,
    pub broadcast: Broadcast,
    pub state: State,
    /// Set by a cancel, or because its authority was revoked or locked: it stops sounding at this instant.
    pub cancelled_at: Option<Civil>,
    withdrawn_at: Option<Civil>,
    pub signed: proto::Signed,
}

impl Entry {
    /// Over because its authority was revoked or locked.
    pub fn is_withdrawn(&self) -> bool {
        self.withdrawn_at.is_some()
    }

    fn is_cancelled(&self, now: Option<Civil>) -> bool {
        self.cancelled_at.is_some_and(|at| now.is_none_or(|now| at <= now))
    }
}

/// What an order changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A broadcast is new, or its renditions were replaced by a higher revision.
    Broadcast {
        id: Uuid,
        replaced: bool,
    },
    /// A cancel came, for a broadcast known or not; or a broadcast that was cancelled before it came.
    Cancelled {
        id: Uuid,
    },
    Hushed,
    /// Grants, revocations and placements, which the book does not keep, ticks, of which it keeps the
    /// number, and revisions of what was over already.
    Other,
}

/// Bounded: 4,096 broadcasts, 4,096 tombstones, 256 hushes; the oldest ended go first, and a new one
/// is refused with `order.full` rather than a live one dropped. Whatever the order in which orders
/// come, the same ones lead to the same choice.
#[derive(Debug, Default)]
pub struct Book {
    broadcasts: BTreeMap<Uuid, Held>,
    /// Broadcasts known or sounding, oldest first: what the tuner looks at.
    live: BTreeSet<(Civil, Uuid)>,
    /// Cancels by broadcast, authority and own id. Each is kept even when it does not reach the
    /// broadcast known by that id: somebody else's of the same id may have come first.
    cancels: BTreeMap<(Uuid, KeyId, Uuid), Stop>,
    /// The newest hush of each authority for the same areas (sorted).
    hushes: BTreeMap<(KeyId, Vec<Area>), Quiet>,
    preferences: Preferences,
    /// The highest number of a tick per authority and log, and when it was issued.
    ticks: BTreeMap<(KeyId, Uuid), (u64, Civil)>,
}

#[derive(Debug)]
struct Held {
    entry: Entry,
    expires: Civil,
    depth: u8,
}

#[derive(Debug)]
struct Stop {
    areas: Vec<Area>,
    up_to: Priority,
    at: Civil,
    issued: Civil,
    expires: Civil,
    signed: proto::Signed,
}

impl Stop {
    fn reaches(&self, entry: &Entry) -> bool {
        entry.broadcast.priority <= self.up_to && area::within(&self.areas, &entry.areas).is_ok()
    }
}

#[derive(Debug)]
pub(super) struct Quiet {
    pub(super) hush: Hush,
    pub(super) issued: Civil,
    id: Uuid,
    number: u64,
    expires: Civil,
    depth: u8,
    signed: proto::Signed,
}

impl Book {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a checked order in. Refuses: seen before (same id, not a higher revision; a repetition of
    /// the very same bytes is `order.repeated`, which callers need not log), expired at `now`, until in
    /// the past, a hush or cancel weaker than the one held, a cancel that does not reach its broadcast.
    /// A cancel that comes first leaves a tombstone until its expiry.
    ///
    /// A revision that is over when it comes is kept, ended, so that one before it, which may say another
    /// end, is refused wherever it still turns up: how a live broadcast ends at a node that missed its end.
    ///
    /// Ids are remembered until the order's expiry, across restarts: the caller replays its journal
    /// through [`super::Authorities::recall`] and `handle` with `now: None`, then calls
    /// [`Book::expire`].
    pub fn handle(&mut self, now: Option<Civil>, order: &Vouched, signed: &proto::Signed) -> Result<Change, Refusal> {
        if now.is_some_and(|now| order.expires <= now) {
            return Err(refuse(EXPIRED, format!("order {} has expired: give it anew", order.id)));
        }
        match &order.body {
            Body::Broadcast(broadcast) => self.handle_broadcast(now, order, broadcast, signed),
            Body::Cancel(cancel) => self.handle_cancel(now, order, cancel, signed),
            Body::Hush(hush) => self.handle_hush(now, order, hush, signed),
            Body::Tick(tick) => self.handle_tick(order, tick),
            Body::Prefer(prefer) => self.handle_prefer(order, prefer, signed),
            Body::Grant(_) | Body::Revoke(_) | Body::Expel(_) => Ok(Change::Other),
            Body::Placement(_) | Body::Invite(_) | Body::Settings(_) => Ok(Change::Other),
            Body::Lock(_) | Body::Release(_) => Ok(Change::Other),
        }
    }

    pub fn get(&self, id: Uuid) -> Option<&Entry> {
        self.broadcasts.get(&id).map(|held| &held.entry)
    }

    /// Every broadcast held, by id and so by age.
    pub fn all(&self) -> impl Iterator<Item = &Entry> + '_ {
        self.broadcasts.values().map(|held| &held.entry)
    }

    /// Ended and cancelled are final: only a revision makes an ended broadcast known again.
    pub fn set_state(&mut self, id: Uuid, state: State) {
        let Some(Held { entry, .. }) = self.broadcasts.get_mut(&id) else { return };
        if matches!(entry.state, State::Known | State::Sounding) {
            entry.state = state;
            self.file(id);
        }
    }

    /// Broadcasts not ended or cancelled whose area touches `area`, oldest first.
    pub fn live(&self, area: &Area) -> impl Iterator<Item = &Entry> + '_ {
        let area = area.clone();
        self.live
            .iter()
            .filter_map(|(_, id)| self.get(*id))
            .filter(move |entry| entry.areas.iter().any(|of| of.touches(&area)))
    }

    /// Hushes in force that cover `area` at `now`.
    pub fn hushes(&self, area: &Area, now: Civil) -> impl Iterator<Item = &Hush> + '_ {
        self.quiets(area).filter(move |quiet| quiet.issued <= now && now < quiet.hush.until).map(|quiet| &quiet.hush)
    }

    /// Where, of `areas`, a broadcast of this priority is silenced at `at`, and until when.
    pub fn silenced(&self, areas: &[Area], priority: Priority, at: Civil) -> Vec<(Area, Civil)> {
        let mut found = BTreeMap::new();
        for ((_, of), quiet) in &self.hushes {
            if quiet.issued > at || at >= quiet.hush.until || quiet.hush.up_to < priority {
                continue;
            }
            for area in areas.iter().filter(|area| !quiet.hush.exempt.iter().any(|exempt| exempt.contains(area))) {
                for of in of.iter().filter(|of| of.touches(area)) {
                    let narrower = if of.contains(area) { area } else { of };
                    let until = found.entry(narrower.clone()).or_insert(quiet.hush.until);
                    *until = quiet.hush.until.max(*until);
                }
            }
        }
        found.into_iter().collect()
    }

    /// Hushes that cover `area`, whenever they are in force.
    pub(super) fn quiets(&self, area: &Area) -> impl Iterator<Item = &Quiet> + '_ {
        let area = area.clone();
        let covers = move |areas: &[Area]| areas.iter().any(|of| of.contains(&area));
        self.hushes
            .iter()
            .filter(move |((_, areas), quiet)| covers(areas) && !covers(&quiet.hush.exempt))
            .map(|(_, quiet)| quiet)
    }

    /// Signed orders still in force at `now`, for a child that joins and for journal compaction:
    /// first what silences (cancels, hushes), so that nobody sounds what was stopped, then
    /// broadcasts, each oldest first; also revisions that are over, for a child that holds the one before.
    /// A book rebuilt from them chooses the same.
    pub fn in_force(&self, now: Option<Civil>) -> Vec<proto::Signed> {
        let over = |instant: Civil| now.is_some_and(|now| instant <= now);
        let mut stops: Vec<_> = self
            .cancels
            .iter()
            .filter(|((id, _, _), stop)| !over(stop.expires) || self.broadcasts.contains_key(id))
            .map(|((_, _, id), stop)| (stop.issued, *id, &stop.signed))
            .collect();
        let hushes = self.hushes.values().filter(|quiet| !over(quiet.expires));
        stops.extend(hushes.map(|quiet| (quiet.issued, quiet.id, &quiet.signed)));
        stops.extend(
            self.preferences().filter(|(_, _, expires, _)| !over(*expires)).map(|(at, id, _, signed)| (at, id, signed)),
        );
        stops.sort_by_key(|(issued, id, _)| (*issued, *id));
        let stands = |held: &&Held| {
            let Held { entry, expires, .. } = held;
            let revised = entry.broadcast.revision > 0 && !over(*expires);
            (revised || !over(entry.broadcast.ends())) && !entry.cancelled_at.is_some_and(over)
        };
        let mut broadcasts: Vec<&Entry> = self.broadcasts.values().filter(stands).map(|held| &held.entry).collect();
        broadcasts.sort_by_key(|entry| (entry.issued, entry.id));
        let stops = stops.into_iter().map(|(_, _, signed)| signed);
        stops.chain(broadcasts.into_iter().map(|entry| &entry.signed)).cloned().collect()
    }

    /// Ends, as of `at`, what rests on a key that was revoked or locked since: its broadcasts, the silence that it
    /// ordered, what it preferred. Cancels stay: nothing starts anew by itself. Whether anything changed.
    pub fn withdraw(&mut self, at: Civil, is_withdrawn: impl Fn(&proto::Signed) -> bool) -> bool {
        let before = self.hushes.len() + self.preferences.len();
        self.hushes.retain(|_, quiet| !is_withdrawn(&quiet.signed));
        self.preferences.retain(|_, held| !is_withdrawn(&held.signed));
        let lifted = self.hushes.len() + self.preferences.len() < before;
        let live = self.live.iter().filter_map(|(_, id)| self.get(*id));
        let withdrawn = live.filter(|entry| entry.withdrawn_at.is_none() && is_withdrawn(&entry.signed));
        let withdrawn: Vec<Uuid> = withdrawn.map(|entry| entry.id).collect();
        for id in &withdrawn {
            if let Some(Held { entry, .. }) = self.broadcasts.get_mut(id) {
                entry.withdrawn_at = Some(at);
            }
            self.apply_cancels(*id, Some(at));
        }
        lifted || !withdrawn.is_empty()
    }

    /// Forgets what has expired; marks broadcasts past their `until` (+ delay) as ended and returns
    /// them. Cancels whose instant has come are marked too.
    pub fn expire(&mut self, now: Civil) -> Vec<Uuid> {
        let mut ended = Vec::new();
        let live: Vec<Uuid> = self.live.iter().map(|(_, id)| *id).collect();
        for id in live {
            let Some(Held { entry, .. }) = self.broadcasts.get_mut(&id) else { continue };
            if entry.is_cancelled(Some(now)) {
                entry.state = State::Cancelled;
            } else if entry.broadcast.ends() <= now {
                entry.state = State::Ended;
                ended.push(id);
            } else {
                continue;
            }
            self.file(id);
        }
        self.broadcasts.retain(|_, held| held.expires > now || held.entry.broadcast.ends() > now);
        let Self { broadcasts, live, cancels, hushes, .. } = self;
        live.retain(|(_, id)| broadcasts.contains_key(id));
        cancels.retain(|(id, _, _), stop| stop.expires > now || broadcasts.contains_key(id));
        hushes.retain(|_, quiet| quiet.expires > now);
        self.preferences.retain(|_, held| held.expires > now);
        ended
    }

    fn handle_broadcast(
        &mut self,
        now: Option<Civil>,
        order: &Vouched,
        broadcast: &Broadcast,
        signed: &proto::Signed,
    ) -> Result<Change, Refusal> {
        let id = order.id;
        let over = now.is_some_and(|now| broadcast.ends() <= now);
        if over && broadcast.revision == 0 {
            return Err(refuse(EXPIRED, format!("broadcast {id} is over: give it anew")));
        }
        let replaced = match self.broadcasts.get(&id) {
            Some(held) => {
                replaces(held, order, broadcast, signed)?;
                self.live.remove(&(held.entry.issued, id));
                true
            }
            None => {
                self.make_room_for_broadcast(now, order, broadcast)?;
                false
            }
        };
        // A revision does not silence a broadcast while it goes on.
        let state = match self.broadcasts.get(&id).map(|held| held.entry.state) {
            Some(State::Sounding) => State::Sounding,
            None | Some(State::Ended) if over => State::Ended,
            _ => State::Known,
        };
        let entry = Entry {
            id,
            authority: order.authority,
            areas: order.areas.clone(),
            issued: order.issued,
            broadcast: broadcast.clone(),
            state,
            cancelled_at: None,
            withdrawn_at: None,
            signed: keep(signed),
        };
        self.broadcasts.insert(id, Held { entry, expires: order.expires, depth: order.depth });
        self.apply_cancels(id, now);
        if self.get(id).is_some_and(|entry| entry.is_cancelled(now)) {
            return Ok(Change::Cancelled { id });
        }
        if state == State::Ended {
            return Ok(Change::Other);
        }
        Ok(Change::Broadcast { id, replaced })
    }

    fn handle_cancel(
        &mut self,
        now: Option<Civil>,
        order: &Vouched,
        cancel: &Cancel,
        signed: &proto::Signed,
    ) -> Result<Change, Refusal> {
        let id = cancel.broadcast;
        let key = (id, order.authority, order.id);
        if let Some(held) = self.cancels.get(&key) {
            return Err(seen(&held.signed, signed, order.id));
        }
        let stop = Stop {
            areas: order.areas.clone(),
            up_to: order.up_to,
            at: cancel.at,
            issued: order.issued,
            expires: order.expires,
            signed: keep(signed),
        };
        let verdict = match self.get(id) {
            Some(entry) if !stop.reaches(entry) => {
                let text =
                    format!("cancel {} does not reach broadcast {id}: have a wider authority cancel it", order.id);
                Err(refuse(SCOPE, text))
            }
            Some(Entry { cancelled_at: Some(at), .. }) if *at <= stop.at => {
                Err(refuse(STALE, format!("broadcast {id} is cancelled already, no later than this asks")))
            }
            _ => Ok(Change::Cancelled { id }),
        };
        // The first cancel that reaches a broadcast is never refused for want of room: there are no
        // more of these than broadcasts.
        let first = verdict.is_ok() && self.get(id).is_some_and(|entry| entry.cancelled_at.is_none());
        if !first && let Err(full) = self.make_room_for_cancel(now, order.authority) {
            return verdict.and(Err(full));
        }
        self.cancels.insert(key, stop);
        self.apply_cancels(id, now);
        verdict
    }

    fn handle_hush(
        &mut self,
        now: Option<Civil>,
        order: &Vouched,
        hush: &Hush,
        signed: &proto::Signed,
    ) -> Result<Change, Refusal> {
        let areas: BTreeSet<Area> = order.areas.iter().cloned().collect();
        let key = (order.authority, areas.into_iter().collect());
        match self.hushes.get(&key) {
            Some(held) if held.id == order.id => return Err(seen(&held.signed, signed, order.id)),
            Some(held) if (held.issued, held.number, held.id) > (order.issued, order.number, order.id) => {
                let text = format!("hush {} is older than hush {} for the same areas", order.id, held.id);
                return Err(refuse(STALE, text));
            }
            Some(_) => {}
            None => self.make_room_for_hush(now, order)?,
        }
        let quiet = Quiet {
            hush: hush.clone(),
            issued: order.issued,
            id: order.id,
            number: order.number,
            expires: order.expires,
            depth: order.depth,
            signed: keep(signed),
        };
        self.hushes.insert(key, quiet);
        Ok(Change::Hushed)
    }

    fn handle_tick(&mut self, order: &Vouched, tick: &Tick) -> Result<Change, Refusal> {
        let key = (order.authority, tick.log);
        match self.ticks.get(&key) {
            Some((number, _)) if *number == order.number => {
                return Err(refuse(REPEATED, format!("tick {} of log {} is known", order.number, tick.log)));
            }
            Some((number, _)) if *number > order.number => {
                return Err(refuse(
                    REPLAYED,
                    format!("tick {} of log {} is older than {number}", order.number, tick.log),
                ));
            }
            _ => {}
        }
        if !self.ticks.contains_key(&key) && self.ticks.len() >= MAX_TICKS {
            let oldest = self.ticks.iter().min_by_key(|(_, (_, issued))| *issued).map(|(key, _)| *key);
            oldest.and_then(|key| self.ticks.remove(&key));
        }
        self.ticks.insert(key, (order.number, order.issued));
        Ok(Change::Other)
    }

    /// Finds the earliest cancel that reaches broadcast `id`. Its state waits for a trusted time: a
    /// journal is replayed without one, and the cancel may be for later.
    fn apply_cancels(&mut self, id: Uuid, now: Option<Civil>) {
        let (first, last) = ((id, KeyId([0; 16]), Uuid::nil()), (id, KeyId([0xff; 16]), Uuid::max()));
        let Some(Held { entry, .. }) = self.broadcasts.get_mut(&id) else { return };
        let reaching = self.cancels.range(first..=last).filter(|(_, stop)| stop.reaches(entry));
        entry.cancelled_at = reaching.map(|(_, stop)| stop.at).chain(entry.withdrawn_at).min();
        if now.is_some() && entry.is_cancelled(now) && entry.state != State::Ended {
            entry.state = State::Cancelled;
        }
        self.file(id);
    }

    /// Keeps `live` true to the state of `id`.
    fn file(&mut self, id: Uuid) {
        let Some(Held { entry, .. }) = self.broadcasts.get(&id) else { return };
        match entry.state {
            State::Known | State::Sounding => self.live.insert((entry.issued, id)),
            State::Ended | State::Cancelled => self.live.remove(&(entry.issued, id)),
        };
    }

    fn make_room_for_broadcast(&mut self, now: Option<Civil>, order: &Vouched, new: &Broadcast) -> Result<(), Refusal> {
        let own = self.broadcasts.values().filter(|held| held.entry.authority == order.authority).count();
        let most = if new.priority == Priority::Emergency { MAX_BROADCASTS } else { MAX_BROADCASTS - RESERVE };
        if own < MAX_BROADCASTS_PER_AUTHORITY && self.broadcasts.len() < most {
            return Ok(());
        }
        // What is over can't come back: it would be refused as over. What is cancelled has its tombstone.
        let past = |held: &Held| now.is_some_and(|now| held.entry.broadcast.ends() <= now);
        let gone = self
            .broadcasts
            .iter()
            .filter(|(_, held)| own < MAX_BROADCASTS_PER_AUTHORITY || held.entry.authority == order.authority)
            .filter(|(_, held)| past(held) || held.entry.state == State::Cancelled)
            .min_by_key(|(_, held)| held.entry.broadcast.ends())
            .map(|(id, _)| *id);
        let text = || format!("no room for broadcast {}: cancel others that are still to come", order.id);
        let gone = gone.ok_or_else(|| refuse(FULL, text()))?;
        if let Some(held) = self.broadcasts.remove(&gone) {
            self.live.remove(&(held.entry.issued, gone));
        }
        Ok(())
    }

    fn make_room_for_cancel(&mut self, now: Option<Civil>, authority: KeyId) -> Result<(), Refusal> {
        if let Some(now) = now.filter(|_| self.cancels.len() >= MAX_TOMBSTONES) {
            let Self { cancels, broadcasts, .. } = self;
            cancels.retain(|(id, _, _), stop| stop.expires > now || broadcasts.contains_key(id));
        }
        let own = self.cancels.keys().filter(|(_, by, _)| *by == authority).count();
        if self.cancels.len() >= MAX_TOMBSTONES || own >= MAX_TOMBSTONES_PER_AUTHORITY {
            return Err(refuse(FULL, "no room for another cancel: let cancels expire sooner"));
        }
        Ok(())
    }

    fn make_room_for_hush(&mut self, now: Option<Civil>, order: &Vouched) -> Result<(), Refusal> {
        let own = self.hushes.keys().filter(|(by, _)| *by == order.authority).count();
        let full_own = own >= MAX_HUSHES_PER_AUTHORITY;
        if !full_own && self.hushes.len() < MAX_HUSHES {
            return Ok(());
        }
        let over = |quiet: &Quiet| now.is_some_and(|now| quiet.hush.until <= now);
        // A stop-all from above must find room whatever those below have filled the book with.
        let gone = self
            .hushes
            .iter()
            .filter(|((by, _), _)| !full_own || *by == order.authority)
            .filter(|(_, quiet)| over(quiet) || (!full_own && quiet.depth > order.depth))
            .min_by_key(|(_, quiet)| (!over(quiet), std::cmp::Reverse(quiet.depth), quiet.hush.until))
            .map(|(key, _)| key.clone());
        let text = || format!("no room for hush {}: name more areas in one hush", order.id);
        self.hushes.remove(&gone.ok_or_else(|| refuse(FULL, text()))?);
        Ok(())
    }
}

/// Whether `order` takes the place of the broadcast held by its id.
fn replaces(held: &Held, order: &Vouched, new: &Broadcast, signed: &proto::Signed) -> Result<(), Refusal> {
    let entry = &held.entry;
    if entry.authority != order.authority {
        // Two authorities, one id: one of them took it from the other. The nearer to the root keeps it.
        if (order.depth, order.authority) < (held.depth, entry.authority) {
            return Ok(());
        }
        return Err(refuse(REPLAYED, format!("broadcast {} belongs to another authority: take a fresh id", order.id)));
    }
    if new.revision <= entry.broadcast.revision {
        return Err(seen(&entry.signed, signed, order.id));
    }
    // Its rank among others must not depend on which revision a node saw first.
    if (order.issued, new.priority) != (entry.issued, entry.broadcast.priority) || order.areas != entry.areas {
        let text =
            format!("revision {} of {} changes issued, priority or areas: take a fresh id", new.revision, order.id);
        return Err(refuse(REPLAYED, text));
    }
    Ok(())
}

fn seen(held: &proto::Signed, new: &proto::Signed, id: Uuid) -> Refusal {
    if held.payload == new.payload {
        return refuse(REPEATED, format!("order {id} is known"));
    }
    refuse(REPLAYED, format!("order {id} is known, with other content: take a fresh id"))
}

/// A month of a commune's timetable (31 days × 10) under a province's and the nation's, ten times
/// over; about 2 KiB each.
const MAX_BROADCASTS: usize = 4_096;
/// Kept free for emergencies.
const RESERVE: usize = 512;
/// So that one stolen key can't fill the book.
const MAX_BROADCASTS_PER_AUTHORITY: usize = 1_024;
/// As many as there can be broadcasts to cancel.
const MAX_TOMBSTONES: usize = 4_096;
const MAX_TOMBSTONES_PER_AUTHORITY: usize = 1_024;
/// Every hush is looked at for every choice.
const MAX_HUSHES: usize = 256;
const MAX_HUSHES_PER_AUTHORITY: usize = 64;
/// Logs whose origin speaks to this node, former processes' included.
const MAX_TICKS: usize = 256;
