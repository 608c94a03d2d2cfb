//! What people ask of this node: broadcasts, cancels, hushes, lists.

use super::drafts::SIGNED_WITHIN;
use super::keys::Brought;
use super::{Air, From, Granted, Listed, Locked, Pending, Reply, Request, Trunk, What};
use crate::broadcast::{
    Area, Body, Broadcast, Cancel, Grant, Hush, Invite, Kind, Order, Priority, Purpose, State, Tone,
};
use crate::key::KeyId;
use crate::proto::{self, record};
use crate::time::{Civil, Local, MILLISECOND, SECOND};
use crate::track::{Info, Secret};
use prost::Message;
use uuid::Uuid;

/// A broadcast that is about to be put on the air.
pub(super) struct Airing {
    pub order: Order,
    pub signed: proto::Signed,
    pub tracks: Vec<(Info, Secret)>,
    pub packets: Option<u64>,
    pub live: bool,
    pub emergency: bool,
    pub from: Civil,
    pub until: Civil,
    pub sounds: Civil,
    pub anchor: Civil,
    pub delay: i64,
}

/// A code for programs, a text for people.
pub(super) type Refused = (&'static str, String);

impl Trunk {
    pub(super) fn handle_request(&mut self, now: Local, id: u64, request: Request) {
        let result = match request {
            Request::Air(air) => self.request_air(now, id, *air),
            Request::AirPrepared(air) => self.request_air_prepared(now, id, *air),
            Request::Cancel { broadcast } => self.request_cancel(now, id, broadcast),
            Request::Hush { areas, duration } => self.request_hush(now, id, areas, duration),
            Request::Nodes => {
                let reply = Reply::Nodes(self.nodes(now));
                self.outputs.push_back(super::Output::Reply { id, reply });
                Ok(())
            }
            Request::Broadcasts => {
                let reply = Reply::Broadcasts(self.broadcasts());
                self.outputs.push_back(super::Output::Reply { id, reply });
                Ok(())
            }
            Request::Silenced { broadcast, areas, priority, at } => {
                let hushed = self.book.silenced(&areas, priority, at);
                let reply = Reply::Silenced { hushed, behind: self.behind(broadcast, &areas, at) };
                self.outputs.push_back(super::Output::Reply { id, reply });
                Ok(())
            }
            Request::Authorities => {
                let civil = self.time.civil(now);
                let granted = |(grant, alive): (&Grant, bool)| Granted {
                    grant: grant.clone(),
                    alive: alive && grant.is_valid(civil),
                };
                let locked = |(order, key, areas): (Uuid, KeyId, &[Area])| Locked { order, key, areas: areas.to_vec() };
                let locks = self.authorities.locks().map(locked).collect();
                let reply = Reply::Authorities(self.authorities.grants().into_iter().map(granted).collect(), locks);
                self.outputs.push_back(super::Output::Reply { id, reply });
                Ok(())
            }
            Request::Receipts { after, order } => {
                let (version, accounts, more) = self.accounts(now, after, order);
                let reply = Reply::Receipts { version, accounts, more };
                self.outputs.push_back(super::Output::Reply { id, reply });
                Ok(())
            }
            Request::Invite { area, count, relay, lasting } => {
                self.request_invite(now, id, area, count, relay, lasting)
            }
            Request::Place(place) => self.request_place(now, id, *place),
            Request::Expel { node } => self.request_expel(now, id, node),
            Request::Lock { key, areas } => self.request_lock(now, id, key, areas),
            Request::Release { lock } => self.request_release(now, id, lock),
            Request::Prefer { areas, broadcasts, lasting } => self.request_prefer(now, id, areas, broadcasts, lasting),
            Request::Countersign(signed) => self.request_countersign(now, id, *signed),
            Request::Settings(change) => self.request_settings(now, id, *change),
            Request::SettingsOf { node } => {
                let reply = Reply::SettingsOf(self.settings_of(node).map(Box::new));
                self.outputs.push_back(super::Output::Reply { id, reply });
                Ok(())
            }
            Request::Turn(turn) => self.request_turn(now, id, turn),
            Request::Give(signed) => self.request_give(now, id, *signed),
            Request::Finish { broadcast, packets } => self.request_finish(now, id, broadcast, packets),
            Request::Note(note) => {
                self.event(now, What::Note(note));
                self.outputs.push_back(super::Output::Reply { id, reply: Reply::Noted });
                Ok(())
            }
            Request::Stands { code, wrong } => {
                self.stands(now, code, wrong.is_some(), || wrong.unwrap_or_else(|| "over".to_owned()));
                self.outputs.push_back(super::Output::Reply { id, reply: Reply::Noted });
                Ok(())
            }
        };
        if let Err((code, text)) = result {
            self.refuse(id, code, &text);
        }
    }

    pub(super) fn now_or_refuse(&self, now: Local) -> Result<Civil, Refused> {
        let text = "this node does not know the time yet: it waits for its parent or its clock; try again in a moment";
        self.time.civil(now).ok_or_else(|| ("time.unknown", text.into()))
    }

    /// Grants and revocations concern all below; a placement and settings this node alone.
    fn request_give(&mut self, now: Local, id: u64, signed: proto::Signed) -> Result<(), Refused> {
        let order = Order::decode(&signed.payload).map_err(|refusal| (refusal.code, refusal.text))?;
        let reply = Reply::Done { order: order.id };
        match &order.body {
            Body::Grant(_) | Body::Revoke(_) | Body::Expel(_) | Body::Lock(_) | Body::Release(_) => {
                let request = Some((id, Box::new(reply)));
                self.handle_order(now, signed, From::Own { request, keys: Vec::new() });
            }
            Body::Settings(settings) if settings.node == self.options.node => {
                let checked = self.authorities.check(&signed, self.time.civil(now));
                let checked = checked.and_then(|order| self.check_move(now, &order));
                checked.map_err(|refusal| (refusal.code, refusal.text))?;
                self.handle_order(now, signed, From::Push);
                self.outputs.push_back(super::Output::Reply { id, reply });
            }
            Body::Placement(placement) if placement.node == self.options.node => {
                let checked = self.authorities.check(&signed, self.time.civil(now));
                let checked = checked.and_then(|order| self.check_move(now, &order));
                checked.map_err(|refusal| (refusal.code, refusal.text))?;
                self.handle_order(now, signed, From::Push);
                self.outputs.push_back(super::Output::Reply { id, reply });
            }
            other => {
                let text = format!("a {:?} order is not given this way; give it by its own command", other.kind());
                return Err(("order.not_here", text));
            }
        }
        Ok(())
    }

    fn request_invite(
        &mut self,
        now: Local,
        id: u64,
        area: Area,
        count: u32,
        relay: bool,
        lasting: i64,
    ) -> Result<(), Refused> {
        let civil = self.now_or_refuse(now)?;
        if !self.options.issuer {
            let text = "this node certifies nobody: it has no issuer.key. `loa enrol --renew` with a root gives it one";
            return Err(("issuer.none", text.into()));
        }
        if !(1..=INVITED).contains(&count) || !(SECOND..=INVITE_LONGEST).contains(&lasting) {
            let text =
                "a token is for 1 to 10,000 nodes and lasts up to 365 days; give fewer, or make another".to_owned();
            return Err(("token.range", text));
        }
        self.may_place(&area)?;
        let body = Body::Invite(Invite { count, relay });
        let (order, token) = self.make(now, vec![area], civil + lasting, body).ok_or_else(no_authority)?;
        self.authorities.check(&token, Some(civil)).map_err(|refusal| (refusal.code, refusal.text))?;
        let grants = self.authorities.chain(order.authority);
        self.outputs.push_back(super::Output::Reply { id, reply: Reply::Invited { token, grants } });
        Ok(())
    }

    /// Whoever would enrol or place nodes elsewhere learns where this one may.
    pub(super) fn may_place(&self, area: &Area) -> Result<(), Refused> {
        let Some(key) = self.options.authority.as_ref().map(|key| key.id()) else { return Err(no_authority()) };
        let may = self.authorities.areas(key, Kind::Placement);
        if may.is_empty() || self.authorities.covers(key, Kind::Placement, area, None) {
            // Whether it may at all, and still, the order's own refusal says.
            return Ok(());
        }
        let may = may.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let text = format!(
            "this node may place nodes in {may} alone, and {area} lies outside; give an area within, or ask above"
        );
        Err(("placement.outside", text))
    }

    fn request_air(&mut self, now: Local, id: u64, air: Air) -> Result<(), Refused> {
        let civil = self.now_or_refuse(now)?;
        let emergency = air.priority == Priority::Emergency;
        let delay = air.delay.unwrap_or(if emergency { EMERGENCY_DELAY } else { DELAY });
        let packets = match (air.live, air.track.packets) {
            (false, None | Some(0)) => {
                return Err(("media.empty", "the track has no packets; upload a file with sound".into()));
            }
            (_, packets) => packets,
        };
        if let Some(known) = air.id.filter(|id| self.book.get(*id).is_some()) {
            return Err(("broadcast.known", format!("broadcast {known} was given already; take a fresh id")));
        }
        if air.at.is_some_and(|at| at < civil) {
            return Err((
                "broadcast.past",
                "the time to broadcast at has passed; give a time to come, or none for now".into(),
            ));
        }
        let mut track = air.track;
        // Whoever signs it too needs a moment.
        let ready = civil + if air.second { SIGNED_WITHIN } else { 0 };
        let length = packets.map_or(LIVE_LONGEST, |packets| packets as i64 * track.packet_micros());
        let (tone, mut anchor) = instants(ready, air.priority, air.purpose, air.at, delay);
        if let Some(lasting) = air.prepared {
            if air.live || !(length..=PREPARED_LONGEST).contains(&lasting) {
                let text = "sound is prepared for up to 30 days, and for longer than it lasts itself; give its days";
                return Err(("prepared.days", text.into()));
            }
            anchor = civil + lasting - length;
        }
        track.anchor = anchor;
        let alike = |(info, secret): (Info, Secret)| (Info { anchor: track.anchor, ..info }, secret);
        let tracks: Vec<(Info, Secret)> =
            std::iter::once((track.clone(), air.secret)).chain(air.others.into_iter().map(alike)).collect();
        let sounds = tone.map_or(track.anchor + delay, |tone| tone.at);
        let from = match air.prepared {
            Some(_) => civil,
            None => tone.map_or(track.anchor, |tone| tone.at.min(track.anchor)),
        };
        let until = track.anchor + length;
        let broadcast = Broadcast {
            priority: air.priority,
            purpose: air.purpose,
            from,
            until,
            delay,
            renditions: tracks.iter().map(|(info, _)| info.clone()).collect(),
            tone,
            title: air.title,
            revision: 0,
            supersedes: None,
            stored: !air.live && track.anchor - civil > STORED_AHEAD,
            resume: air.resume,
            prepared: air.prepared.is_some(),
        };
        let expires = until + delay + EXPIRES_AFTER;
        let id_of = air.id;
        let Some((order, signed)) = self.make_as(now, id_of, air.areas, expires, Body::Broadcast(broadcast)) else {
            return Err(no_authority());
        };
        let (live, anchor) = (air.live, track.anchor);
        let airing = Airing { order, signed, tracks, packets, live, emergency, from, until, sounds, anchor, delay };
        match air.second {
            true => self.hold_airing(now, id, airing),
            false => self.put_on_air(now, id, airing),
        }
    }

    /// A broadcast that is signed as it has to be.
    pub(super) fn put_on_air(&mut self, now: Local, id: u64, airing: Airing) -> Result<(), Refused> {
        let civil = self.now_or_refuse(now)?;
        let Airing { order, signed, tracks, packets, live, emergency, from, until, sounds, anchor, delay } = airing;
        check_length(&signed)?;
        let checked = self.authorities.check(&signed, Some(civil)).map_err(|refusal| (refusal.code, refusal.text))?;
        let rides =
            if emergency { super::logs::riding(&signed, tracks.get(..1).unwrap_or_default()) } else { Vec::new() };
        let mut records = Vec::new();
        // Beside the order, so that a restart can go on with what is stored; and of what is live knows that
        // it was made here and nobody can go on with it.
        for (info, secret) in tracks {
            self.own_tracks.insert(info.id, packets.unwrap_or(0));
            let stored = (!live).then(|| secret.to_proto());
            let rode = rides.iter().any(|(id, _)| *id == info.id);
            self.hold_early(info.id, secret, if rode { Brought::Log } else { Brought::Link });
            let key = proto::StoredKey { track: info.id.as_bytes().to_vec().into(), secret: stored };
            records.push(proto::Record { body: Some(record::Body::Key(key)) });
        }
        self.journal(now, records, Pending::Record);
        let reply = Reply::Aired { broadcast: checked.id, accepted: order.issued, from, until, sounds, anchor, delay };
        self.handle_order(now, signed, From::Own { request: Some((id, Box::new(reply))), keys: rides });
        Ok(())
    }

    fn request_cancel(&mut self, now: Local, id: u64, broadcast: Uuid) -> Result<(), Refused> {
        let civil = self.now_or_refuse(now)?;
        let Some(entry) = self.book.get(broadcast) else {
            let text = format!("this node knows no broadcast {broadcast}; `loa status` lists those on air and to come");
            return Err(("broadcast.unknown", text));
        };
        if matches!(entry.state, State::Ended | State::Cancelled) {
            return Err(("broadcast.over", format!("broadcast {broadcast} is over already")));
        }
        let (areas, expires) = (entry.areas.clone(), cancel_expires(&entry.broadcast, civil));
        let cancel = Cancel { broadcast, at: civil + CANCEL_AHEAD };
        self.give(now, id, areas, expires, Body::Cancel(cancel))
    }

    /// The end of a live broadcast is its next revision, not a cancel: a speaker then knows which packet is
    /// the last, plays it whole, and says whether it had all of them.
    fn request_finish(&mut self, now: Local, id: u64, broadcast: Uuid, packets: u64) -> Result<(), Refused> {
        let civil = self.now_or_refuse(now)?;
        let unknown = || ("broadcast.unknown", format!("no live broadcast {broadcast} was put on the air here"));
        let entry = self.book.get(broadcast).ok_or_else(unknown)?;
        if matches!(entry.state, State::Ended | State::Cancelled) || entry.cancelled_at.is_some() {
            return Err(("broadcast.over", format!("broadcast {broadcast} is over already")));
        }
        let made_here = self.tracks.values().any(|track| track.broadcast == broadcast && track.made_here);
        if !made_here || entry.broadcast.renditions.iter().any(|info| info.packets.is_some()) {
            return Err(unknown());
        }
        let order = self.authorities.recall(&entry.signed).map_err(|refusal| (refusal.code, refusal.text))?;
        let order = order.into_order().finish(self.next_number(civil), packets);
        let key = self.options.authority.as_ref().filter(|key| key.id() == order.authority).ok_or_else(no_authority)?;
        let signed = crate::broadcast::sign(&order, key);
        let reply = Reply::Done { order: order.id };
        self.handle_order(now, signed, From::Own { request: Some((id, Box::new(reply))), keys: Vec::new() });
        Ok(())
    }

    /// Ends what a process of this node that is gone was speaking live: its keys are gone with it.
    pub(super) fn end_orphans(&mut self, now: Local, civil: Civil) {
        for id in std::mem::take(&mut self.orphans) {
            let Some(entry) = self.book.get(id) else { continue };
            if matches!(entry.state, State::Ended | State::Cancelled) || entry.cancelled_at.is_some() {
                continue;
            }
            let (areas, expires) = (entry.areas.clone(), cancel_expires(&entry.broadcast, civil));
            let text = format!("live broadcast {id} (\"{}\") had lost its source and was ended", entry.broadcast.title);
            let cancel = Cancel { broadcast: id, at: civil + CANCEL_AHEAD };
            if let Some((_, signed)) = self.make(now, areas, expires, Body::Cancel(cancel)) {
                self.trouble(now, "live.orphaned", text);
                self.handle_order(now, signed, From::Own { request: None, keys: Vec::new() });
            }
        }
    }

    fn request_hush(&mut self, now: Local, id: u64, areas: Vec<Area>, duration: i64) -> Result<(), Refused> {
        let civil = self.now_or_refuse(now)?;
        // One of no length takes the place of an earlier one for the same areas.
        if duration != 0 && !(SECOND..=HUSH_LONGEST).contains(&duration) {
            return Err(("hush.duration", "a hush lasts from one second to one day; give its minutes".into()));
        }
        let key = self.options.authority.as_ref().ok_or_else(no_authority)?.id();
        let until = civil + duration;
        let hush = Hush { until, up_to: self.authorities.highest(key, Kind::Hush), exempt: Vec::new() };
        let lasts = if duration == 0 { HUSH_LONGEST } else { EXPIRES_AFTER };
        self.give(now, id, areas, until + lasts, Body::Hush(hush))
    }

    fn give(&mut self, now: Local, id: u64, areas: Vec<Area>, expires: Civil, body: Body) -> Result<(), Refused> {
        let (_, signed) = self.make(now, areas, expires, body).ok_or_else(no_authority)?;
        self.give_signed(now, id, signed)
    }

    /// An order of this node's own.
    pub(super) fn give_signed(&mut self, now: Local, id: u64, signed: proto::Signed) -> Result<(), Refused> {
        check_length(&signed)?;
        let order = Order::decode(&signed.payload).map_err(|refusal| (refusal.code, refusal.text))?;
        let reply = Reply::Done { order: order.id };
        self.handle_order(now, signed, From::Own { request: Some((id, Box::new(reply))), keys: Vec::new() });
        Ok(())
    }

    fn broadcasts(&self) -> Vec<Listed> {
        self.book
            .all()
            .map(|entry| Listed {
                broadcast: entry.id,
                title: entry.broadcast.title.clone(),
                areas: entry.areas.clone(),
                priority: entry.broadcast.priority,
                purpose: entry.broadcast.purpose,
                prepared: entry.broadcast.prepared,
                from: entry.broadcast.from,
                until: entry.broadcast.until,
                state: match entry.state {
                    State::Cancelled if entry.is_withdrawn() => "withdrawn",
                    State::Cancelled => "cancelled",
                    State::Ended => "ended",
                    State::Sounding => "sounding",
                    State::Known if self.tuned.is_some_and(|choice| choice.broadcast == Some(entry.id)) => "sounding",
                    State::Known => "known",
                },
            })
            .collect()
    }
}

/// The stored sound that begins it, and its anchor: its first sample sounds at `anchor + delay`, at the time asked for or
/// right behind that sound. `ready`: when the order can be given at the earliest.
pub(super) fn instants(
    ready: Civil,
    priority: Priority,
    purpose: Purpose,
    at: Option<Civil>,
    delay: i64,
) -> (Option<Tone>, Civil) {
    let emergency = priority == Priority::Emergency;
    let stored = match purpose.said_by() {
        Some(which) => Some((which, crate::audio::words_micros(which))),
        None => emergency.then(|| (crate::audio::TONE, crate::audio::tone_micros())),
    };
    let first = ready + if emergency { T0 } else { LEAD + delay };
    let tone = stored.map(|(which, duration)| Tone { at: at.unwrap_or(first), which, duration });
    let anchor = match (&tone, at) {
        (Some(tone), _) => tone.at + tone.duration - delay,
        (None, Some(at)) => (at - delay).max(ready + LEAD),
        (None, None) => ready + LEAD,
    };
    (tone, anchor)
}

fn cancel_expires(broadcast: &Broadcast, now: Civil) -> Civil {
    broadcast.until.max(now) + broadcast.delay + EXPIRES_AFTER
}

pub(super) fn no_authority() -> Refused {
    let text = "this node has no authority to give orders; name one under [sources] in its configuration";
    ("authority.none", text.into())
}

/// Bytes that an order of a stored or live broadcast has for its areas, each of which takes two more than its name.
pub fn room_for_areas(title: &str, renditions: usize, live: bool) -> usize {
    let info = Info {
        id: Uuid::max(),
        sign: crate::key::PublicKey([0xFF; 32]),
        ssrc: u32::MAX,
        duration: 23_040,
        anchor: WIDEST,
        key_hash: [0xFF; 32],
        bitrate: 128_000,
        packets: (!live).then_some(1 << 20),
    };
    let broadcast = Broadcast {
        priority: Priority::Priority,
        purpose: Purpose::Real,
        from: WIDEST,
        until: WIDEST,
        delay: 60 * SECOND,
        renditions: vec![info; renditions],
        tone: None,
        title: title.to_owned(),
        revision: u32::from(live),
        supersedes: None,
        stored: true,
        resume: true,
        prepared: false,
    };
    let key = crate::key::SigningKey::from_seed(&[0; 32]);
    let (id, number) = (Uuid::max(), WIDEST.0.unsigned_abs());
    let order = Order {
        id,
        authority: key.id(),
        number,
        issued: WIDEST,
        expires: WIDEST,
        areas: Vec::new(),
        body: Body::Broadcast(broadcast),
    };
    super::logs::MAX_ORDER.saturating_sub(crate::broadcast::sign(&order, &key).encoded_len())
}

pub(super) fn check_length(signed: &proto::Signed) -> Result<(), Refused> {
    let length = signed.encoded_len();
    if length <= super::logs::MAX_ORDER {
        return Ok(());
    }
    let text = format!(
        "the order takes {length} bytes, {} fit; name fewer areas (or one that contains them) or a shorter title",
        super::logs::MAX_ORDER
    );
    Err(("order.too_long", text))
}

/// A number that takes as many bytes as those of any order.
const WIDEST: Civil = Civil(1 << 51);
/// Playout delay (DESIGN §3).
pub(super) const DELAY: i64 = SECOND;
pub(super) const EMERGENCY_DELAY: i64 = 600 * MILLISECOND;
/// Emergency: from acceptance to the tone at every speaker (DESIGN §3).
pub(super) const T0: i64 = 500 * MILLISECOND;
/// From acceptance to a track's first packet: the order and its key travel first.
const LEAD: i64 = 100 * MILLISECOND;
/// A cancel takes effect everywhere at one instant, once it can be everywhere.
const CANCEL_AHEAD: i64 = 300 * MILLISECOND;
/// What begins later than this is fetched ahead.
const STORED_AHEAD: i64 = 5 * SECOND;
/// Orders are remembered for so long after their end, against replay with clocks that err.
pub(super) const EXPIRES_AFTER: i64 = 60 * SECOND;
/// A live broadcast ends by itself after this, whatever became of its source.
const LIVE_LONGEST: i64 = 12 * 3600 * SECOND;
/// Of one token.
const INVITED: u32 = 10_000;
const INVITE_LONGEST: i64 = 365 * 24 * 3600 * SECOND;
/// A broadcast's order lives for 31.
const PREPARED_LONGEST: i64 = 30 * 24 * 3600 * SECOND;
const HUSH_LONGEST: i64 = 24 * 3600 * SECOND;
