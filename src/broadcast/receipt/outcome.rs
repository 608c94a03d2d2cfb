//! What a node's receipt comes to, or that there is none.

use super::{Receipt, State};

/// In the order of the wire, where each is a place in a list of counts. A later release may add to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Outcome {
    /// No word yet, and none is due.
    Pending,
    Received,
    Cached,
    Playing,
    /// To its end, whole.
    Played,
    /// To its end, but for some packets or because it came late.
    Partly,
    Hushed,
    Muted,
    Preempted,
    Cancelled,
    Missed,
    Failed,
    /// It is out of touch now: nobody knows.
    Unknown,
    /// It was in touch and gave no receipt, or out of touch from before the order until this was over.
    NotReached,
}

impl Outcome {
    pub const ALL: [Self; 14] = [
        Self::Pending,
        Self::Received,
        Self::Cached,
        Self::Playing,
        Self::Played,
        Self::Partly,
        Self::Hushed,
        Self::Muted,
        Self::Preempted,
        Self::Cancelled,
        Self::Missed,
        Self::Failed,
        Self::Unknown,
        Self::NotReached,
    ];

    /// As JSON, CSV and metrics say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Received => "received",
            Self::Cached => "cached",
            Self::Playing => "playing",
            Self::Played => "played",
            Self::Partly => "partly",
            Self::Hushed => "hushed",
            Self::Muted => "muted",
            Self::Preempted => "preempted",
            Self::Cancelled => "cancelled",
            Self::Missed => "missed",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::NotReached => "not_reached",
        }
    }

    pub fn of_str(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }

    pub fn of_number(number: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }

    pub fn of(receipt: &Receipt) -> Self {
        match receipt.state {
            State::Received => Self::Received,
            State::Cached => Self::Cached,
            State::Playing => Self::Playing,
            State::Played if receipt.whole => Self::Played,
            State::Played => Self::Partly,
            State::Hushed => Self::Hushed,
            State::Muted => Self::Muted,
            State::Preempted => Self::Preempted,
            State::Cancelled => Self::Cancelled,
            State::Missed => Self::Missed,
            State::Failed => Self::Failed,
        }
    }

    /// Whether the order came in time to a node that could act on it: what it then did is another question.
    pub const fn is_reached(self) -> bool {
        !matches!(self, Self::Pending | Self::Missed | Self::Unknown | Self::NotReached)
    }

    /// Whether its node is named: the higher, the sooner. 0: it is counted only.
    pub const fn weight(self) -> u8 {
        match self {
            Self::Failed => 9,
            Self::NotReached => 8,
            Self::Missed => 7,
            Self::Unknown => 6,
            Self::Muted => 5,
            Self::Partly => 4,
            Self::Preempted => 3,
            Self::Hushed => 2,
            Self::Pending | Self::Received | Self::Cached | Self::Playing | Self::Played | Self::Cancelled => 0,
        }
    }
}
