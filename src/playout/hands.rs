//! How loud a loudspeaker may be now, and whether it is silent, as the hands near it have set it: the signed settings of
//! whoever places it, the people at the node, its switch, its configuration.
//!
//! ```text
//!   order ─┐                            ┌─ normal     its volume, at most what the hour allows · mute
//!   people ┼─▶ the newest word of each ─┼─ priority   the same
//!   file  ─┘                            └─ emergency  its volume, at least the floor · no hour, no mute
//! ```
//! - **What is not real is no emergency.** An exercise or test at emergency priority sounds as priority does, under hour
//!   and mute (DESIGN §7): who has silenced a loudspeaker beside a sickbed is not woken by a trial.
//! - **One mute**, whoever gave it; the latest word counts. It ends by itself after 30 minutes, though the switch stays
//!   on; off and on again begins anew. The monotonic clock counts them, so that no clock that is set lengthens them.
//! - **Hours** are those of the wall, in the settings' own zone or else the node's; where several limits hold, the least.
//! - **What comes later.** A cluster's delay and a group's turn shift all that sounds here, tone and speech, emergencies
//!   too: otherwise two clusters would meet in an echo just when a word matters most. A cancel and a hush are not shifted.
//! - What a speaker says of itself (its code) is normal.
//!
//! The gain is made in software; a board's mixer is left as its technician set it.
use crate::broadcast::{HourLimit, Mute, Priority, Purpose, Settings, Volume};
use crate::time::{Civil, Local, SECOND};
use chrono::{DateTime, Timelike, Utc};
use chrono_tz::Tz;

/// As the node's configuration has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub normal: Volume,
    pub priority: Volume,
    pub emergency: Volume,
    /// Raises [`Volume::FLOOR`], and never lowers it.
    pub floor: Volume,
    pub hours: Vec<HourLimit>,
    pub zone: Tz,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            normal: Volume::FULL,
            priority: Volume::FULL,
            emergency: Volume::FULL,
            floor: Volume::FLOOR,
            hours: Vec::new(),
            zone: chrono_tz::Asia::Ho_Chi_Minh,
        }
    }
}

/// What is set now.
#[derive(Clone, Debug)]
pub struct Hands {
    options: Options,
    settings: Option<Settings>,
    /// What people at the node said after that.
    normal: Option<Volume>,
    priority: Option<Volume>,
    muted: Option<Local>,
    switched: bool,
}

impl Hands {
    pub fn new(options: Options) -> Self {
        Self { options, settings: None, normal: None, priority: None, muted: None, switched: false }
    }

    /// A newer order's, its mute aside. What it leaves as the order before had it, people at the node may still have
    /// set otherwise.
    pub fn handle_settings(&mut self, settings: &Settings) {
        let before = self.settings.as_ref();
        if before.and_then(|before| before.normal) != settings.normal {
            self.normal = None;
        }
        if before.and_then(|before| before.priority) != settings.priority {
            self.priority = None;
        }
        self.settings = Some(settings.clone());
    }

    /// An order's word on the mute, once the time is known.
    pub fn handle_mute(&mut self, now: Local, civil: Civil, mute: Mute) {
        let left = match mute {
            Mute::Until(until) => (until - civil).min(Settings::MUTE),
            Mute::Off => 0,
        };
        self.muted = (left > 0).then_some(now + left);
    }

    /// Of people at the node; `None` leaves it.
    pub fn handle_local(&mut self, normal: Option<Volume>, priority: Option<Volume>) {
        self.normal = normal.or(self.normal);
        self.priority = priority.or(self.priority);
    }

    pub fn mute(&mut self, now: Local) {
        self.muted = Some(now + Settings::MUTE);
    }

    pub fn unmute(&mut self) {
        self.muted = None;
    }

    /// Where the switch stands. Turning it begins a mute, or ends the one there is.
    pub fn handle_switch(&mut self, now: Local, on: bool) {
        if std::mem::replace(&mut self.switched, on) == on {
            return;
        }
        match on {
            true => self.mute(now),
            false => self.unmute(),
        }
    }

    /// As it stood when this node last wrote it down.
    pub fn restore(&mut self, normal: Option<Volume>, priority: Option<Volume>, switched: bool) {
        (self.normal, self.priority, self.switched) = (normal, priority, switched);
    }

    /// What the journal needs of what people at the node set.
    pub fn local(&self) -> (Option<Volume>, Option<Volume>, bool) {
        (self.normal, self.priority, self.switched)
    }

    /// Until when what is no real emergency is silent.
    pub fn muted(&self, now: Local) -> Option<Local> {
        self.muted.filter(|until| now < *until)
    }

    pub fn is_muted(&self, class: Priority, now: Local) -> bool {
        class != Priority::Emergency && self.muted(now).is_some()
    }

    /// What a class sounds with, its mute aside, and until when that surely holds: limits begin and end at whole
    /// minutes, and so do the leaps of every zone's clock.
    pub fn volume(&self, class: Priority, civil: Civil) -> (Volume, Civil) {
        let settings = self.settings.as_ref();
        let volume = match class {
            Priority::Normal => {
                let ordered = settings.and_then(|settings| settings.normal);
                self.normal.or(ordered).unwrap_or(self.options.normal).min(self.most(civil))
            }
            Priority::Priority => {
                let ordered = settings.and_then(|settings| settings.priority);
                self.priority.or(ordered).unwrap_or(self.options.priority).min(self.most(civil))
            }
            Priority::Emergency => {
                let ordered = settings.and_then(|settings| settings.emergency);
                ordered.unwrap_or(self.options.emergency).max(self.floor())
            }
        };
        (volume, Civil((civil.0.div_euclid(MINUTE) + 1).saturating_mul(MINUTE)))
    }

    /// µs by which all that sounds here comes later.
    pub fn late(&self) -> i64 {
        self.settings.as_ref().map_or(0, Settings::late)
    }

    pub fn floor(&self) -> Volume {
        self.options.floor.max(Volume::FLOOR)
    }

    /// What the hour allows.
    fn most(&self, civil: Civil) -> Volume {
        let settings = self.settings.as_ref();
        let hours = settings.and_then(|settings| settings.hours.as_ref()).unwrap_or(&self.options.hours);
        if hours.is_empty() {
            return Volume::FULL;
        }
        let zone = settings.and_then(|settings| settings.zone).unwrap_or(self.options.zone);
        let minute = minute_of_day(civil, zone);
        hours.iter().filter(|limit| limit.holds(minute)).map(|limit| limit.most).min().unwrap_or(Volume::FULL)
    }
}

/// What a broadcast counts as here.
pub fn class(priority: Priority, purpose: Purpose) -> Priority {
    match (priority, purpose) {
        (Priority::Emergency, Purpose::Exercise | Purpose::Test) => Priority::Priority,
        (priority, _) => priority,
    }
}

fn minute_of_day(civil: Civil, zone: Tz) -> u16 {
    let wall = DateTime::<Utc>::from_timestamp_micros(civil.0).unwrap_or_default().with_timezone(&zone).time();
    (wall.hour() * 60 + wall.minute()) as u16
}

/// The gain of one voice, on its way from one volume to another: never at once, which would click.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Level {
    now: f32,
    target: f32,
    /// Samples until it is there.
    left: u32,
}

impl Level {
    pub fn at(target: f32) -> Self {
        Self { now: target, target, left: 0 }
    }

    /// From and to, across the next `count` samples.
    pub fn pass(&mut self, target: f32, count: u32) -> (f32, f32) {
        if target != self.target {
            (self.target, self.left) = (target, RAMP);
        }
        let from = self.now;
        self.now = match count < self.left {
            true => from + (self.target - from) * count as f32 / self.left as f32,
            false => self.target,
        };
        self.left = self.left.saturating_sub(count);
        (from, self.now)
    }
}

/// Whether a broadcast was heard, as far as it sounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Muted {
    #[default]
    No,
    Partly,
    Wholly,
}

/// Samples of one broadcast that sounded, and that were muted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    pub sounded: u64,
    pub muted: u64,
}

impl Heard {
    pub fn note(&mut self, (from, to): (f32, f32), count: u32) {
        let side = if from == 0.0 && to == 0.0 { &mut self.muted } else { &mut self.sounded };
        *side = side.saturating_add(count.into());
    }

    pub fn plus(self, other: Self) -> Self {
        Self { sounded: self.sounded + other.sounded, muted: self.muted + other.muted }
    }

    pub fn says(self) -> Muted {
        match (self.sounded, self.muted) {
            (_, 0) => Muted::No,
            (0, _) => Muted::Wholly,
            _ => Muted::Partly,
        }
    }
}

const MINUTE: i64 = 60 * SECOND;
/// Samples of the way from one volume to another: 50 ms, as a change of programme.
const RAMP: u32 = 2_400;

#[cfg(test)]
#[path = "hands/tests.rs"]
mod tests;
