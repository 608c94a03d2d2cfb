//! What became of one part of an airing.

use super::super::entry::Plays;
use super::super::plan::Item;
use crate::broadcast::Area;
use crate::time::Civil;
use uuid::Uuid;

/// One time of an entry, for as many of its areas as fit an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub item: Item,
    /// In the order of their codes.
    pub areas: Vec<Area>,
}

impl Part {
    pub fn is_live(&self) -> bool {
        matches!(self.item.plays, Plays::Live { .. })
    }

    /// Whether somebody could hear both at once.
    pub fn meets(&self, other: &Self) -> bool {
        let at_once = self.item.start < other.item.end && other.item.start < self.item.end;
        at_once && self.areas.iter().any(|area| other.areas.iter().any(|of| of.touches(area)))
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Of the broadcast; of a live part, which is a new broadcast with every source, of the record alone.
    pub id: Uuid,
    pub part: Part,
    pub state: State,
    /// What was in the way last.
    pub fault: Option<Fault>,
    pub(super) again: Civil,
    /// The newest plan asks for it.
    pub(super) stands: bool,
    /// Live: it was on the air; its end was asked for.
    pub(super) spoke: bool,
    pub(super) closing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its id is drawn; whether its order was given shows in the book.
    Promised,
    Given,
    /// Live: its source is opened, or on the air.
    Open,
    /// It no longer stands: a cancel is to be given, was given.
    Cancelling,
    Withdrawn,
    /// Somebody has taken it off the air by hand: it is not given again.
    Cancelled,
    /// Its time is over.
    Aired,
    Missed,
}

/// A stable code, and an English sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub code: String,
    pub text: String,
}

impl Fault {
    pub fn new(code: impl Into<String>, text: impl Into<String>) -> Self {
        Self { code: code.into(), text: text.into() }
    }

    pub(super) fn ended() -> Self {
        Self::new("live.over", "the source ended before its time")
    }
}

/// A state as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shown {
    Planned,
    Given,
    Sounding,
    Aired,
    Refused,
    Missed,
    Cancelled,
}

impl Shown {
    pub const ALL: [Self; 7] =
        [Self::Planned, Self::Given, Self::Sounding, Self::Aired, Self::Refused, Self::Missed, Self::Cancelled];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Given => "given",
            Self::Sounding => "sounding",
            Self::Aired => "aired",
            Self::Refused => "refused",
            Self::Missed => "missed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Record {
    pub(super) fn new(id: Uuid, part: Part) -> Self {
        Self {
            id,
            part,
            state: State::Promised,
            fault: None,
            again: Civil::default(),
            stands: true,
            spoke: false,
            closing: false,
        }
    }

    /// It may still sound.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Promised | State::Given | State::Open | State::Cancelling)
    }

    pub fn shown(&self, now: Civil) -> Shown {
        match self.state {
            State::Promised if self.fault.is_some() => Shown::Refused,
            State::Promised => Shown::Planned,
            State::Given if self.part.item.start <= now => Shown::Sounding,
            State::Given => Shown::Given,
            State::Open if self.spoke && self.part.item.start <= now => Shown::Sounding,
            State::Open => Shown::Given,
            State::Cancelling | State::Withdrawn | State::Cancelled => Shown::Cancelled,
            State::Aired => Shown::Aired,
            State::Missed => Shown::Missed,
        }
    }
}
