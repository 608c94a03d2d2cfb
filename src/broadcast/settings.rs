//! How one node sounds: its volumes, what they may be by the hour, its mute, and by how much it comes after the others.

use crate::time::{Civil, MILLISECOND, SECOND};
use chrono_tz::Tz;
use std::fmt;
use uuid::Uuid;

/// What an order says of one node. What it leaves open is as the node's own configuration has it. A higher number takes
/// the place of all that the one before said, but for the mute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub node: Uuid,
    pub normal: Option<Volume>,
    pub priority: Option<Volume>,
    /// Of real emergencies; the node raises it to its floor.
    pub emergency: Option<Volume>,
    /// Caps what is no real emergency. At most [`Settings::HOURS`]; an empty list lifts those of the configuration.
    pub hours: Option<Vec<HourLimit>>,
    /// Of those hours; `None`: the node's own.
    pub zone: Option<Tz>,
    /// µs that this node's cluster comes after others, so that two that hear each other agree; 0 to [`Settings::DELAY`].
    pub delay: i64,
    pub stagger: Option<Stagger>,
    /// `None` leaves the node's mute as it is.
    pub mute: Option<Mute>,
}

impl Settings {
    /// As if none had been given.
    pub fn open(node: Uuid) -> Self {
        let (normal, priority, emergency) = (None, None, None);
        Self { node, normal, priority, emergency, hours: None, zone: None, delay: 0, stagger: None, mute: None }
    }

    /// µs by which everything sounds later here: at most 10.5 s.
    pub fn late(&self) -> i64 {
        self.delay + self.stagger.map_or(0, Stagger::late)
    }

    /// Sound needs it for 170 m, the distance of two clusters that disturb each other.
    pub const DELAY: i64 = 500 * MILLISECOND;
    /// A day has few turns: morning, noon, evening, night, and as many again.
    pub const HOURS: usize = 8;
    /// µs that a mute lasts: a conversation, a lesson, a funeral's prayer. Longer ones are a stop, by whoever may give one.
    pub const MUTE: i64 = 30 * 60 * SECOND;
}

/// Tenths of a decibel beside the sound as it came, -30 dB to 0. Sound comes at one loudness and at full scale, so that
/// more could only distort. At -30 dB a horn of 105 dB in a metre is 45 dB in thirty, a murmur: less would be a mute that
/// nothing ends, and that the watch at the device's end, at -60 dBFS, would take for a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Volume(i16);

impl Volume {
    pub const FULL: Self = Self(0);
    pub const QUIETEST: Self = Self(-300);
    /// No real emergency sounds with less: half of the amplitude, which is heard at half of the distance.
    pub const FLOOR: Self = Self(-60);

    pub fn new(tenths: i32) -> Option<Self> {
        i16::try_from(tenths).ok().map(Self).filter(|volume| (Self::QUIETEST..=Self::FULL).contains(volume))
    }

    /// Rounded to tenths.
    pub fn of_decibels(decibels: f64) -> Option<Self> {
        let tenths = (decibels * 10.0).round();
        (tenths.abs() < 1e6).then_some(tenths as i32).and_then(Self::new)
    }

    pub fn tenths(self) -> i16 {
        self.0
    }

    pub fn decibels(self) -> f64 {
        f64::from(self.0) / 10.0
    }

    /// Of the amplitude.
    pub fn gain(self) -> f32 {
        10f64.powf(self.decibels() / 20.0) as f32
    }
}

impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dB", self.decibels())
    }
}

/// From one minute of the local day until another; from 21:00 until 06:00 goes over midnight, and from a time until the
/// same is all day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HourLimit {
    /// Minutes of the day: 0 to 1,439.
    pub from: u16,
    pub until: u16,
    pub most: Volume,
}

impl HourLimit {
    pub fn holds(&self, minute: u16) -> bool {
        match self.from < self.until {
            true => (self.from..self.until).contains(&minute),
            false => minute >= self.from || minute < self.until,
        }
    }

    /// Minutes of a day.
    pub const DAY: u16 = 1_440;
}

/// Loudspeakers that stand in one another's hearing take turns: group `group` of `groups` says everything `group - 1`
/// steps after the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stagger {
    /// From 1.
    pub group: u32,
    pub groups: u32,
    /// µs.
    pub step: i64,
}

impl Stagger {
    pub fn late(self) -> i64 {
        i64::from(self.group.saturating_sub(1)).saturating_mul(self.step)
    }

    /// More groups than a hill has sides.
    pub const GROUPS: u32 = 16;
    /// µs of the last group: who waits longer for a warning has heard it twice from elsewhere.
    pub const LATEST: i64 = 10 * SECOND;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mute {
    /// At most [`Settings::MUTE`] after the order was issued.
    Until(Civil),
    Off,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_a_gain_and_no_more_than_it_came_with() {
        assert_eq!(Volume::FULL.gain(), 1.0);
        assert!((Volume::FLOOR.gain() - 0.501_187).abs() < 1e-6);
        assert_eq!([1, -301, 40_000].map(Volume::new), [None; 3]);
        assert_eq!(Volume::of_decibels(-6.04), Volume::new(-60));
        assert_eq!([f64::NAN, f64::INFINITY, 0.06, -30.06].map(Volume::of_decibels), [None; 4]);
        assert_eq!((Volume(-65).to_string(), Volume(0).to_string()), ("-6.5 dB".into(), "0 dB".into()));
    }

    #[test]
    fn hours_go_over_midnight_and_a_time_until_the_same_is_all_day() {
        let limit = |from, until| HourLimit { from, until, most: Volume::FLOOR };
        let night = limit(21 * 60, 6 * 60);
        assert_eq!(
            [1_259, 1_260, 1_439, 0, 359, 360].map(|at| night.holds(at)),
            [false, true, true, true, true, false]
        );
        assert!((0..HourLimit::DAY).all(|at| limit(77, 77).holds(at)));
        assert_eq!([59, 60, 119, 120].map(|at| limit(60, 120).holds(at)), [false, true, true, false]);
    }

    #[test]
    fn the_first_group_waits_for_nobody() {
        let late = |group| Stagger { group, groups: 3, step: 700 }.late();
        assert_eq!([1, 2, 3].map(late), [0, 700, 1_400]);
    }
}
