//! Settings of this node and of those below: taken in, given, told until they are taken; the mute and its switch; what
//! people at this node set. What they mean for sound stands in [`crate::playout::hands`].

use super::requests::{Refused, no_authority};
use super::{Note, Order, Output, Pending, Reply, Trunk, What};
use crate::broadcast::{Body, HourLimit, Mute, Priority, Settings, Stagger, Volume};
use crate::playout::hands;
use crate::proto::{self, record};
use crate::time::{Civil, Local, SECOND};
use chrono_tz::Tz;
use std::collections::BTreeMap;
use uuid::Uuid;

#[derive(Default)]
pub(super) struct Held {
    /// In force here, and the number of its order: a higher one takes its place.
    settings: Option<Settings>,
    pub number: u64,
    /// Of others, the newest that this node gave to each.
    given: BTreeMap<Uuid, Given>,
    /// Those that have not been seen in force: when they are told again, and how often they were.
    untold: BTreeMap<Uuid, (Local, u32)>,
    /// A mute of which this node does not know yet how much is left.
    mute: Option<Mute>,
    /// What people set, or the mute, has changed since it was written down, which was then.
    unwritten: bool,
    written: Option<Local>,
}

struct Given {
    number: u64,
    settings: Settings,
    signed: proto::Signed,
}

/// What of a node's settings shall be another; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    pub node: Uuid,
    pub normal: Option<Volume>,
    pub priority: Option<Volume>,
    pub emergency: Option<Volume>,
    /// With their zone.
    pub hours: Option<(Vec<HourLimit>, Tz)>,
    pub delay: Option<i64>,
    pub stagger: Option<Stagger>,
    /// For half an hour from now, or not any more.
    pub mute: Option<bool>,
}

/// What people at the node itself may set: volumes of what is no emergency, and the mute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    pub normal: Option<Volume>,
    pub priority: Option<Volume>,
    pub mute: Option<bool>,
}

/// How loud this node is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loudness {
    /// Of normal, priority and real emergencies, limits of the hour included.
    pub volumes: [Volume; 3],
    pub muted_until: Option<Civil>,
    pub is_muted: bool,
    /// µs by which everything sounds later here.
    pub late: i64,
}

impl Trunk {
    /// µs by which everything sounds later here than its broadcast says.
    pub(super) fn late(&self) -> i64 {
        self.player.as_ref().map_or(0, |player| player.hands().late())
    }

    /// `None` without a device.
    pub(super) fn loudness(&self, now: Local) -> Option<Loudness> {
        let hands = self.player.as_ref()?.hands();
        let civil = self.time.civil(now).unwrap_or_default();
        let muted = hands.muted(now);
        Some(Loudness {
            volumes: CLASSES.map(|class| hands.volume(class, civil).0),
            muted_until: muted.filter(|_| civil != Civil::default()).map(|until| civil + (until - now)),
            is_muted: muted.is_some(),
            late: hands.late(),
        })
    }

    /// What applies to what sounds, or else to normal.
    pub(super) fn volume_now(&self, now: Local, sounding: Option<Uuid>) -> Option<Volume> {
        let entry = sounding.and_then(|id| self.book.get(id));
        let class =
            entry.map_or(Priority::Normal, |entry| hands::class(entry.broadcast.priority, entry.broadcast.purpose));
        let hands = self.player.as_ref()?.hands();
        Some(hands.volume(class, self.time.civil(now).unwrap_or_default()).0)
    }

    /// The journal's, in its order.
    pub(super) fn restore_settings(&mut self, settings: &Settings, order: &Order, signed: &proto::Signed) {
        if settings.node != self.options.node {
            self.note_settings(order, signed);
        } else if self.held.settings.is_none() || self.held.number < order.number {
            self.settle(settings, order.number);
        }
    }

    pub(super) fn restore_hands(&mut self, stored: &proto::Hands) {
        let volume = |tenths: Option<i32>| tenths.and_then(Volume::new);
        if let Some(player) = &mut self.player {
            player.hands_mut().restore(volume(stored.normal), volume(stored.priority), stored.switched);
        }
        self.held.mute = Some(match stored.muted_until {
            0 => Mute::Off,
            until => Mute::Until(Civil(until)),
        });
    }

    /// Of this node, checked and on disk. Whether it was news.
    pub(super) fn take_settings(&mut self, now: Local, settings: &Settings, order: &Order) -> bool {
        if self.held.settings.is_some() && self.held.number >= order.number {
            return false;
        }
        self.settle(settings, order.number);
        self.held.unwritten |= settings.mute.is_some();
        self.resolve_mute(now);
        self.tune(now);
        self.report_now(now);
        true
    }

    fn settle(&mut self, settings: &Settings, number: u64) {
        if let Some(player) = &mut self.player {
            player.hands_mut().handle_settings(settings);
        }
        self.held.mute = settings.mute.or(self.held.mute);
        (self.held.settings, self.held.number) = (Some(settings.clone()), number);
    }

    /// Once the time is known, it is known how much is left of a mute.
    pub(super) fn resolve_mute(&mut self, now: Local) {
        let (Some(player), Some(civil)) = (&mut self.player, self.time.civil(now)) else { return };
        if let Some(mute) = self.held.mute.take() {
            let before = player.hands().muted(now);
            player.hands_mut().handle_mute(now, civil, mute);
            if before.is_some() != player.hands().muted(now).is_some() {
                self.tell_mute(now);
            }
        }
    }

    pub(super) fn handle_switch(&mut self, now: Local, on: bool) {
        self.resolve_mute(now);
        let Some(player) = &mut self.player else { return };
        let before = player.hands().local();
        let muted = player.hands().muted(now);
        player.hands_mut().handle_switch(now, on);
        if before == player.hands().local() {
            return;
        }
        // Whatever was left of one before: this is the later word.
        self.held.mute = None;
        self.held.unwritten = true;
        if muted != self.player.as_ref().and_then(|player| player.hands().muted(now)) {
            self.tell_mute(now);
        }
        self.write_hands(now);
    }

    pub(super) fn request_turn(&mut self, now: Local, id: u64, turn: Turn) -> Result<(), Refused> {
        self.resolve_mute(now);
        let none = || ("playout.none", "this node has no [playout], so nothing is loud here".to_owned());
        let hands = self.player.as_mut().ok_or_else(none)?.hands_mut();
        let muted = hands.muted(now).is_some();
        hands.handle_local(turn.normal, turn.priority);
        match turn.mute {
            Some(true) => hands.mute(now),
            Some(false) => hands.unmute(),
            None => {}
        }
        if turn.mute.is_some() {
            self.held.mute = None;
        }
        if turn != Turn::default() {
            self.held.unwritten = true;
            if turn.mute.is_some_and(|mute| mute || muted) {
                self.tell_mute(now);
            }
            self.write_hands(now);
            self.report_now(now);
        }
        let reply = Reply::Loudness(self.loudness(now).unwrap_or_default());
        self.outputs.push_back(Output::Reply { id, reply });
        Ok(())
    }

    fn tell_mute(&mut self, now: Local) {
        let broadcast = self.player.as_ref().and_then(|player| player.status(now).broadcast);
        let muted = self.player.as_ref().is_some_and(|player| player.hands().muted(now).is_some());
        let (code, text) = match muted {
            true => ("mute.on", "normal and priority are silent here for 30 minutes at most; emergencies are not"),
            false => ("mute.off", "normal and priority sound here again"),
        };
        self.event(now, What::Note(Note { code, text: text.to_owned(), broadcast }));
        self.report_now(now);
    }

    /// Once a second, and when something changes: what must survive a restart, at most once in [`WRITE`], so that a
    /// switch that bounces for years wears out no card.
    pub(super) fn write_hands(&mut self, now: Local) {
        let (Some(player), Some(civil)) = (&self.player, self.time.civil(now)) else { return };
        if !self.held.unwritten || self.held.written.is_some_and(|written| now - written < WRITE) {
            return;
        }
        let (normal, priority, switched) = player.hands().local();
        let tenths = |volume: Option<Volume>| volume.map(|volume| i32::from(volume.tenths()));
        let hands = proto::Hands {
            normal: tenths(normal),
            priority: tenths(priority),
            muted_until: player.hands().muted(now).map_or(0, |until| (civil + (until - now)).0),
            switched,
        };
        (self.held.unwritten, self.held.written) = (false, Some(now));
        self.journal(now, vec![proto::Record { body: Some(record::Body::Hands(hands)) }], Pending::Record);
    }

    /// Composes, signs and keeps settings of a node, and tells them to it.
    pub(super) fn request_settings(&mut self, now: Local, id: u64, change: Change) -> Result<(), Refused> {
        let civil = self.now_or_refuse(now)?;
        let node = change.node;
        let unknown = || ("node.unknown", format!("node {node} is not known here; `loa nodes` lists those that are"));
        let area = match node == self.options.node {
            true => self.place.as_ref().map(|place| place.area.clone()).ok_or_else(unknown)?,
            false => self.place_of(node).ok_or_else(unknown)?.area,
        };
        if self.held.given.len() >= GIVEN && node != self.options.node && !self.held.given.contains_key(&node) {
            let text = format!("this node has set {GIVEN} others; set more from another one");
            return Err(("settings.full", text));
        }
        let settings = change.over(self.settings_of(node).unwrap_or_else(|| Settings::open(node)), civil);
        let made = self.make(now, vec![area], civil + LIFE, Body::Settings(settings)).ok_or_else(no_authority)?;
        let (order, signed) = made;
        self.authorities.check(&signed, Some(civil)).map_err(|refusal| (refusal.code, refusal.text))?;
        let record = proto::Record { body: Some(record::Body::Order(signed.clone())) };
        self.journal(now, vec![record], Pending::Settings { id, order: Box::new(order), signed });
        Ok(())
    }

    /// They are on disk.
    pub(super) fn handle_settled(&mut self, now: Local, id: u64, order: &Order, signed: proto::Signed) {
        let Body::Settings(settings) = &order.body else { return };
        let node = settings.node;
        let told = match node == self.options.node {
            true => {
                self.handle_order(now, signed, super::From::Push);
                true
            }
            false => {
                self.note_settings(order, &signed);
                self.held.untold.insert(node, (now + AGAIN, 0));
                self.deliver(node, signed)
            }
        };
        let reply = Reply::Settled { order: order.id, settings: Box::new(settings.clone()), told };
        self.outputs.push_back(Output::Reply { id, reply });
    }

    pub(super) fn note_settings(&mut self, order: &Order, signed: &proto::Signed) {
        let Body::Settings(settings) = &order.body else { return };
        let node = settings.node;
        let own = self.options.authority.as_ref().is_some_and(|key| key.id() == order.authority);
        let newer = self.held.given.get(&node).is_none_or(|given| given.number < order.number);
        if own && newer && node != self.options.node {
            let given = Given { number: order.number, settings: settings.clone(), signed: signed.clone() };
            self.held.given.insert(node, given);
            self.held.untold.insert(node, (Local(0), 0));
        }
    }

    /// As this node gave them last, or as they are in force, if it is itself.
    pub(super) fn settings_of(&self, node: Uuid) -> Option<Settings> {
        match node == self.options.node {
            true => self.held.settings.clone(),
            false => self.held.given.get(&node).map(|given| given.settings.clone()),
        }
    }

    /// Once a second: settings whose node was not there, or has not taken them.
    pub(super) fn tell_settings(&mut self, now: Local) {
        self.resolve_mute(now);
        self.write_hands(now);
        let due = self.held.untold.iter().filter(|(_, (at, _))| *at <= now);
        let due: Vec<(Uuid, u32)> = due.map(|(node, (_, told))| (*node, *told)).collect();
        for (node, told) in due {
            let Some(given) = self.held.given.get(&node) else {
                self.held.untold.remove(&node);
                continue;
            };
            if self.below.lines.get(node).is_some_and(|line| line.settings() >= given.number) {
                self.held.untold.remove(&node);
                continue;
            }
            let signed = given.signed.clone();
            let told = told + u32::from(self.deliver(node, signed));
            // A release before this one takes them and does not say so.
            let again = if told < TOLD_ENOUGH { AGAIN } else { RARELY };
            self.held.untold.insert(node, (now + again, told));
        }
    }
}

impl Change {
    fn over(self, before: Settings, civil: Civil) -> Settings {
        let (hours, zone) = match self.hours {
            Some((hours, zone)) => (Some(hours), Some(zone)),
            None => (before.hours, before.zone),
        };
        Settings {
            node: before.node,
            normal: self.normal.or(before.normal),
            priority: self.priority.or(before.priority),
            emergency: self.emergency.or(before.emergency),
            hours,
            zone,
            delay: self.delay.unwrap_or(before.delay),
            stagger: self.stagger.or(before.stagger),
            mute: self.mute.map(|mute| if mute { Mute::Until(civil + Settings::MUTE) } else { Mute::Off }),
        }
    }
}

const CLASSES: [Priority; 3] = [Priority::Normal, Priority::Priority, Priority::Emergency];
/// Settings of others that a node remembers: a country's speakers.
const GIVEN: usize = 200_000;
/// µs between two writes of what people set.
const WRITE: i64 = 10 * SECOND;
/// µs until a node that has not taken its settings is told again.
const AGAIN: i64 = 10 * SECOND;
/// One that was told so often, and says nothing of it, is told rarely.
const TOLD_ENOUGH: u32 = 6;
const RARELY: i64 = 3600 * SECOND;
/// µs that settings may be delivered: the longest that is accepted. What was taken lasts.
const LIFE: i64 = 400 * 24 * 3600 * SECOND;
