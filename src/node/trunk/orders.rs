//! Orders: checked, made durable, acted on, forwarded, in that order; emergencies, cancels and hushes act
//! first and are written beside (DESIGN §6, §8).

use super::keys::Brought;
use super::{Area, From, KeyId, Order, Output, Pending, Role, Stand, Trunk, Vouched, What};
use crate::broadcast::{Authorities, Body, Broadcast, Change, Entry, Kind, Placement, Priority, Refusal, State};
use crate::proto::{self, record};
use crate::time::{Civil, Local};
use crate::track::{Info, Secret};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

impl Trunk {
    /// The journal of an earlier run, oldest first.
    pub(super) fn restore(&mut self, now: Local, records: Vec<proto::Record>) {
        let mut keys = BTreeMap::new();
        let mut live_here = BTreeSet::new();
        for record in records {
            match record.body {
                Some(record::Body::Time(time)) => {
                    self.time.handle_written(Civil(time));
                    // What was over by then makes room, as it did when this was written: years of
                    // bulletins must not keep the newest out.
                    self.book.expire(Civil(time));
                }
                Some(record::Body::Key(key)) => match (Uuid::from_slice(&key.track), key.secret) {
                    (Ok(track), None) => drop(live_here.insert(track)),
                    (Ok(track), secret) => drop(secret_of(secret).map(|secret| keys.insert(track, secret))),
                    (Err(_), _) => {}
                },
                Some(record::Body::Order(signed)) => self.restore_order(now, signed),
                Some(record::Body::Admitted(admitted)) => self.restore_admitted(&admitted),
                Some(record::Body::Receipts(kept)) => self.restore_receipts(kept),
                Some(record::Body::Hands(hands)) => self.restore_hands(&hands),
                None => {}
            }
        }
        self.book.withdraw(LONG_AGO, withdrawn(&self.authorities));
        let live = |entry: &&Entry| matches!(entry.state, State::Known | State::Sounding);
        let live: Vec<Uuid> = self.book.all().filter(live).map(|entry| entry.id).collect();
        for id in live {
            self.start_tracks(now, id, true);
            let renditions = self.book.get(id).map_or(&[][..], |entry| &entry.broadcast.renditions);
            if renditions.iter().any(|info| info.packets.is_none() && live_here.contains(&info.id)) {
                self.orphans.push(id);
            }
        }
        for track in self.tracks.keys().copied().collect::<Vec<_>>() {
            if let Some(secret) = keys.remove(&track) {
                self.handle_key(now, track, secret, Brought::Journal);
            }
        }
        self.announce_self(now);
        self.tune(now);
    }

    fn restore_order(&mut self, now: Local, signed: proto::Signed) {
        let order = match self.authorities.recall(&signed) {
            Ok(order) => order,
            Err(refusal) => {
                self.note_refusal(now, &refusal);
                return;
            }
        };
        match &order.body {
            Body::Placement(placement) if placement.node == self.options.node => {
                if self.place.as_ref().is_none_or(|place| place.number < order.number) {
                    self.stand(placement, &order, &signed);
                }
            }
            Body::Placement(_) => self.note_given(&order, &signed),
            Body::Settings(settings) => self.restore_settings(settings, &order, &signed),
            Body::Tick(_) | Body::Invite(_) => {}
            Body::Expel(_) => {
                self.written.insert(order.id);
                self.roster.expelled.admit(&order, &signed);
            }
            Body::Grant(_) | Body::Revoke(_) | Body::Lock(_) | Body::Release(_) => {
                self.written.insert(order.id);
                self.authorities.admit(&order, &signed);
            }
            Body::Broadcast(_) | Body::Cancel(_) | Body::Hush(_) | Body::Prefer(_) => {
                // Repetitions and what the book had no room for; the rest was accepted when it was written.
                let _ = self.book.handle(None, &order, &signed);
                self.restore_heard(&order, &signed);
            }
        }
    }

    /// No room for all that is held: what begins last goes, and what stops things stays.
    fn unpark_last(&mut self) {
        let begins = |signed: &proto::Signed| match Order::decode(&signed.payload).ok()?.body {
            Body::Broadcast(broadcast) if !broadcast.prepared => Some(broadcast.begins()),
            Body::Broadcast(_) => Some(Civil(i64::MAX)),
            _ => None,
        };
        let last = self.parked.iter().enumerate().filter_map(|(at, (signed, _))| Some((begins(signed)?, at)));
        let at = last.max().map_or(0, |(_, at)| at);
        self.parked.remove(at);
        self.dropped("parked_orders");
    }

    /// An order from outside, or given here.
    pub(super) fn handle_order(&mut self, now: Local, signed: proto::Signed, from: From) {
        if matches!(from, From::Push) && self.is_known_expulsion(&signed) {
            return;
        }
        let civil = self.time.civil(now);
        let order = match self.authorities.check(&signed, civil) {
            Ok(order) => order,
            // What a parent pushes comes before its clock has been read: held until it has.
            Err(refusal)
                if !matches!(from, From::Own { .. })
                    && (matches!(refusal.code, "order.grant_unknown" | "order.no_time")
                        || refusal.code == "order.second" && self.authorities.lacks_signer(&signed)) =>
            {
                self.parked.push_back((signed, from));
                if self.parked.len() > PARKED {
                    self.unpark_last();
                }
                return;
            }
            Err(refusal) => return self.refuse_order(now, &refusal, from),
        };
        if let Err(refusal) = self.check_move(now, &order) {
            return self.refuse_order(now, &refusal, from);
        }
        if self
            .jobs
            .values()
            .any(|pending| matches!(pending, Pending::Order { signed: held, .. } if held.payload == signed.payload))
        {
            // Its first copy is on the way to disk and will be forwarded from there.
            return;
        }
        let lasting =
            matches!(order.body, Body::Grant(_) | Body::Revoke(_) | Body::Expel(_) | Body::Lock(_) | Body::Release(_));
        if lasting && self.written.contains(&order.id) {
            // Every join brings it again: neither news, nor for those below.
            return self.pass_on(now, &signed, from, false);
        }
        let urgent = match &order.body {
            Body::Broadcast(broadcast) => broadcast.priority == Priority::Emergency,
            Body::Cancel(_) | Body::Hush(_) | Body::Lock(_) => true,
            _ => false,
        };
        let durable = match &order.body {
            Body::Placement(placement) => placement.node == self.options.node,
            Body::Settings(settings) => settings.node == self.options.node && self.held.number < order.number,
            Body::Tick(_) | Body::Invite(_) => false,
            Body::Grant(_) | Body::Revoke(_) | Body::Expel(_) | Body::Lock(_) | Body::Release(_) => {
                self.written.insert(order.id)
            }
            Body::Broadcast(_) | Body::Cancel(_) | Body::Hush(_) | Body::Prefer(_) => self.concerns_us(&order),
        };
        let known = self.book.get(order.id).is_some_and(|entry| entry.signed == signed);
        let record = || vec![proto::Record { body: Some(record::Body::Order(signed.clone())) }];
        if !durable || known {
            self.accept(now, order, signed, from);
        } else if urgent {
            let records = record();
            if self.accept(now, order, signed, from) {
                self.journal(now, records, Pending::Record);
            }
        } else {
            let records = record();
            self.journal(now, records, Pending::Order { order: Box::new(order), signed, from });
        }
    }

    /// Every join brings all of them again: thousands, whose signatures were checked when they were news.
    fn is_known_expulsion(&self, signed: &proto::Signed) -> bool {
        let expelled = |order: Order| match order.body {
            Body::Expel(expel) => Some(expel.node),
            _ => None,
        };
        let node = Order::decode(&signed.payload).ok().and_then(expelled);
        node.is_some_and(|node| self.roster.expelled.holds(node, signed))
    }

    /// A placement of this node is for an authority over both places, the one that it leaves too: a key stolen
    /// elsewhere must not take nodes away to where it may speak. Settings are for one over the place where it stands.
    pub(super) fn check_move(&self, now: Local, order: &Order) -> Result<(), Refusal> {
        let own = self.options.node;
        let covers =
            |area: &Area| self.authorities.covers(order.authority, Kind::Placement, area, self.time.civil(now));
        let text = match (&order.body, &self.place) {
            (Body::Placement(placement), Some(place)) if placement.node == own && !covers(&place.area) => format!(
                "placement {} would move this node out of {}, which its authority {} may not place: have one over both do it",
                order.id, place.area, order.authority
            ),
            (Body::Settings(settings), Some(place)) if settings.node == own && !covers(&place.area) => format!(
                "settings {} are by {}, which may not say how nodes of {} sound: have one over it do it",
                order.id, order.authority, place.area
            ),
            (Body::Settings(settings), None) if settings.node == own => {
                format!("settings {} came before this node has a place: place it first", order.id)
            }
            _ => return Ok(()),
        };
        Err(Refusal { code: "order.scope", text })
    }

    fn concerns_us(&self, order: &Order) -> bool {
        self.place.as_ref().is_some_and(|place| order.areas.iter().any(|area| area.touches(&place.area)))
    }

    /// A checked and durable order: act, then pass it on. Whether it was new.
    pub(super) fn accept(&mut self, now: Local, order: Vouched, signed: proto::Signed, from: From) -> bool {
        let civil = self.time.civil(now);
        let mut urgent = false;
        let mut title = String::new();
        match &order.body {
            Body::Tick(tick) => {
                // A tick says at which index of its log it stands; packed at another it is a replay.
                if let From::Log { track, packet, .. } = &from
                    && (tick.log, tick.head) != (*track, packet.index)
                {
                    let text = format!("tick {} stands at another place than it says", order.id);
                    self.refuse_order(now, &Refusal { code: "order.replayed", text }, from);
                    return false;
                }
                if let Err(refusal) = self.book.handle(civil, &order, &signed) {
                    match refusal.code {
                        "order.repeated" => self.pass_on(now, &signed, from, false),
                        _ => self.refuse_order(now, &refusal, from),
                    }
                    return false;
                }
                // At a join the tick is up to one period old, so it bounds time from below only; either
                // way it is signed, and phase that contradicts it is not believed.
                self.time.handle_tick(now, order.areas.first(), tick.time);
                self.below.last_tick = Some((order.authority, signed.clone()));
                self.handle_log_head(tick.log, tick.head);
                self.parents.handle_head(now, tick.log, tick.head);
            }
            Body::Placement(placement) if placement.node == self.options.node => {
                let newer = self.place.as_ref().is_none_or(|place| place.number < order.number);
                if !newer {
                    return self.repeat(now, &signed, from);
                }
                self.stand(placement, &order, &signed);
                self.placed(now);
            }
            // A token is shown, and does nothing here.
            Body::Placement(_) | Body::Invite(_) => {}
            Body::Settings(settings) if settings.node == self.options.node => {
                if !self.take_settings(now, settings, &order) {
                    return self.repeat(now, &signed, from);
                }
            }
            Body::Settings(_) => {}
            Body::Expel(expel) => {
                if !self.roster.expelled.admit(&order, &signed) {
                    let text =
                        "there is no room for another expelled node: revoke those that matter with a root".into();
                    self.refuse_order(now, &Refusal { code: "order.full", text }, from);
                    return false;
                }
                self.handle_expelled(now, expel.node);
            }
            Body::Grant(_) | Body::Revoke(_) | Body::Lock(_) | Body::Release(_) => {
                self.authorities.admit(&order, &signed);
                // What stolen keys said ends with them.
                urgent = matches!(order.body, Body::Lock(_));
                if order.kind() != Kind::Grant && self.book.withdraw(order.issued, withdrawn(&self.authorities)) {
                    self.tune(now);
                }
                self.retry_parked(now);
            }
            Body::Broadcast(_) | Body::Cancel(_) | Body::Hush(_) | Body::Prefer(_) if self.concerns_us(&order) => {
                // Its key may have been taken away while it was on its way to disk.
                if self.authorities.is_withdrawn(&order) {
                    let text =
                        format!("the key of order {} was revoked or locked just now: use another authority", order.id);
                    self.refuse_order(now, &Refusal { code: "order.revoked", text }, from);
                    return false;
                }
                // Sent once, a tenth of the speakers behind a bad hop would learn of it from a tick alone.
                urgent = !matches!(order.body, Body::Prefer(_));
                if let Body::Broadcast(broadcast) = &order.body {
                    title = broadcast.title.clone();
                    self.take_riders(broadcast, &from);
                }
                match self.book.handle(civil, &order, &signed) {
                    Ok(change) => {
                        self.hear(now, &order, &signed);
                        self.act(now, change);
                    }
                    // Seen before: not acted on again, but a child may still lack the packet.
                    Err(refusal) if refusal.code == "order.repeated" => {
                        self.pass_on(now, &signed, from, false);
                        return false;
                    }
                    Err(refusal) => {
                        self.refuse_order(now, &refusal, from);
                        return false;
                    }
                }
            }
            Body::Broadcast(_) | Body::Cancel(_) | Body::Hush(_) | Body::Prefer(_) => {}
        }
        if !matches!(order.body, Body::Tick(_)) {
            self.counters.orders_accepted += 1;
            self.event(now, What::Order { id: order.id, kind: kind_name(&order.body), title });
        }
        if matches!(from, From::Push) && order.kind() != Kind::Placement {
            // Those below may have joined before this node did, and no log will bring it to them.
            self.tell_branches(super::Command::Push(vec![signed.clone()]));
        }
        self.pass_on(now, &signed, from, urgent);
        true
    }

    /// Keys that came with an order, of its own tracks alone: held until those begin, which is now.
    fn take_riders(&mut self, broadcast: &Broadcast, from: &From) {
        let From::Log { keys, .. } = from else { return };
        for (id, secret) in keys {
            let proven = |info: &&Info| info.id == *id && info.key_hash == secret.hash();
            let emergency = broadcast.priority == Priority::Emergency;
            if emergency && broadcast.renditions.first().filter(proven).is_some() {
                self.hold_early(*id, secret.clone(), Brought::Log);
            }
        }
    }

    /// Where this node stands from now on.
    fn stand(&mut self, placement: &Placement, order: &Order, signed: &proto::Signed) {
        let (area, name) = (placement.area.clone(), placement.name.clone());
        self.parents.place(placement.parents.clone());
        let (authority, number) = (order.authority, order.number);
        self.place = Some(Stand { area, name, signed: signed.clone(), authority, number });
    }

    /// Known already: whoever gave it is answered.
    fn repeat(&mut self, now: Local, signed: &proto::Signed, from: From) -> bool {
        self.pass_on(now, signed, from, false);
        false
    }

    fn act(&mut self, now: Local, change: Change) {
        match change {
            Change::Broadcast { id, .. } => self.start_tracks(now, id, false),
            Change::Cancelled { .. } | Change::Hushed | Change::Other => {}
        }
        self.tune(now);
    }

    fn pass_on(&mut self, now: Local, signed: &proto::Signed, from: From, urgent: bool) {
        match from {
            From::Log { track, packet, .. } => self.forward(now, track, packet, urgent),
            From::Push => {}
            From::Own { request, keys } => {
                self.append(now, signed, &keys, urgent);
                if let Some((id, reply)) = request {
                    self.outputs.push_back(Output::Reply { id, reply: *reply });
                }
            }
        }
    }

    pub(super) fn retry_parked(&mut self, now: Local) {
        for (signed, from) in std::mem::take(&mut self.parked) {
            self.handle_order(now, signed, from);
        }
    }

    fn refuse_order(&mut self, now: Local, refusal: &Refusal, from: From) {
        match from {
            From::Own { request: Some((id, _)), .. } => self.refuse(id, refusal.code, &refusal.text),
            // What a parent pushes at every join is mostly known already.
            From::Push if refusal.code == "order.repeated" => {}
            _ => self.note_refusal(now, refusal),
        }
    }

    fn note_refusal(&mut self, now: Local, refusal: &Refusal) {
        *self.counters.orders_rejected.entry(refusal.code).or_default() += 1;
        self.event(now, What::Refused { code: refusal.code.into(), text: refusal.text.clone() });
    }

    /// The grants from a root down to `key`, for Hello and Welcome.
    pub(super) fn chain_of_place(&self) -> Vec<proto::Signed> {
        self.place.as_ref().map_or_else(Vec::new, |place| self.chain(place.authority))
    }

    pub(super) fn chain(&self, key: KeyId) -> Vec<proto::Signed> {
        self.authorities.chain(key)
    }

    /// Takes in grants that came with a Hello or Welcome; those that do not hold are left out.
    pub(super) fn admit_grants(&mut self, now: Local, grants: &[proto::Signed]) {
        let civil = self.time.civil(now);
        for signed in grants.iter().take(CHAIN) {
            if let Ok(order) = self.authorities.check(signed, civil)
                && order.kind() == Kind::Grant
            {
                self.authorities.admit(&order, signed);
            }
        }
    }

    /// What a joining child must know: grants, the latest tick, and the orders in force; and a parent, whom not to take.
    pub(super) fn in_force(&self, now: Local, role: Role, area: &Area) -> Vec<proto::Signed> {
        let mut orders = self.authorities.all();
        if role == Role::Relay {
            orders.extend(self.roster.expelled.touching(area));
        }
        orders.extend(self.below.last_tick.iter().map(|(_, signed)| signed.clone()));
        orders.extend(self.book.in_force(self.time.civil(now)));
        orders
    }

    /// The place of another node, if its signed placement holds.
    pub(super) fn check_placement(
        &self,
        now: Local,
        node: Uuid,
        placement: Option<&proto::Signed>,
    ) -> Result<(crate::broadcast::Area, String), Refusal> {
        let missing = || Refusal {
            code: "placement.missing",
            text: format!("node {node} shows no placement; place it with an authority over its area"),
        };
        let order = self.authorities.check(placement.ok_or_else(missing)?, self.time.civil(now))?;
        match order.into_order().body {
            Body::Placement(placement) if placement.node == node => Ok((placement.area, placement.name)),
            _ => Err(Refusal {
                code: "placement.other",
                text: format!("the placement that node {node} shows is not its own"),
            }),
        }
    }
}

/// Whether the key of an order was revoked or locked since it was taken in.
fn withdrawn(authorities: &Authorities) -> impl Fn(&proto::Signed) -> bool {
    |signed| Order::decode(&signed.payload).is_ok_and(|order| authorities.is_withdrawn(&order))
}

pub(super) fn secret_of(secret: Option<proto::Secret>) -> Option<Secret> {
    Secret::from_proto(&secret?)
}

fn kind_name(body: &Body) -> &'static str {
    match body.kind() {
        Kind::Placement if matches!(body, Body::Settings(_)) => "settings",
        Kind::Broadcast => "broadcast",
        Kind::Cancel => "cancel",
        Kind::Hush => "hush",
        Kind::Grant => "grant",
        Kind::Revoke => "revoke",
        Kind::Placement => "placement",
        Kind::Tick => "tick",
    }
}

/// Before whatever there is.
const LONG_AGO: Civil = Civil(0);
/// Orders held for a grant that is being repaired or for the time: both come within seconds. A node that has just come
/// is handed four days of a timetable before it has read its clock.
const PARKED: usize = 512;
/// Grants taken from one Hello or Welcome (a chain has at most 8 links).
const CHAIN: usize = 8;
