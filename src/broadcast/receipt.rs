//! What became of an order at one node, and of many nodes together.
//!
//! ```text
//!  Received ─▶ Cached ─▶ Playing ─▶ Hushed │ Muted │ Preempted ─▶ Played │ Cancelled │ Missed │ Failed
//! ```
//! A [`Receipt`] only goes to the right; of two by the same node the one with the higher revision counts. So a restart
//! never makes of what was played something that was received. A cancel or a hush has done all it can once it is
//! received. What was refused has no receipt, only a count.
//!
//! A [`Sum`] counts the nodes of one relay by where they stand and by [`Outcome`], and names those of whom somebody may
//! ask.

mod outcome;
mod sum;
#[cfg(test)]
mod tests;
mod wire;

pub use outcome::Outcome;
pub use sum::{MOST_AREAS, MOST_NAMED, Named, Sum, Tally};

use super::{Area, Body, Kind, Order, Priority, Purpose};
use crate::key::KeyId;
use crate::proto;
use crate::time::Civil;
use uuid::Uuid;

/// SHA-256 of a track's sound (`track::Print`).
pub type Audio = [u8; 32];

/// What became of one order at one node. Instants are civil time.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    pub order: Uuid,
    pub revision: u32,
    pub state: State,
    pub received: Civil,
    /// When all of its packets were here, ahead of air time.
    pub cached: Option<Civil>,
    /// When the first sample was let out, and the last.
    pub from: Option<Civil>,
    pub to: Option<Civil>,
    /// Of its packets between the two, per mille.
    pub lost: u16,
    /// Every packet was sounded.
    pub whole: bool,
    /// The broadcast that cut in first.
    pub by: Option<Uuid>,
    /// When it was first silenced.
    pub stopped: Option<Civil>,
    /// Code of a failure.
    pub why: Box<str>,
    pub audio: Option<Audio>,
    /// The order is over and nothing changes any more.
    pub closed: bool,
}

/// The numbers are those of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    Received = 1,
    Cached = 2,
    Playing = 3,
    Hushed = 4,
    Muted = 5,
    Preempted = 6,
    Cancelled = 7,
    Missed = 8,
    Failed = 9,
    Played = 10,
}

/// Why a broadcast that is on does not sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    Hushed,
    Muted,
    Preempted(Uuid),
}

impl State {
    const ALL: [Self; 10] = [
        Self::Received,
        Self::Cached,
        Self::Playing,
        Self::Hushed,
        Self::Muted,
        Self::Preempted,
        Self::Cancelled,
        Self::Missed,
        Self::Failed,
        Self::Played,
    ];

    fn of(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as u32 == number)
    }

    /// How far it is: states of one rank exclude each other, the first stays.
    fn rank(self) -> u8 {
        match self {
            Self::Received => 0,
            Self::Cached => 1,
            Self::Playing => 2,
            Self::Hushed | Self::Muted | Self::Preempted => 3,
            Self::Cancelled | Self::Missed | Self::Failed | Self::Played => 4,
        }
    }
}

impl Receipt {
    pub fn new(order: Uuid, received: Civil) -> Self {
        Self {
            order,
            revision: 1,
            state: State::Received,
            received,
            cached: None,
            from: None,
            to: None,
            lost: 0,
            whole: false,
            by: None,
            stopped: None,
            why: "".into(),
            audio: None,
            closed: false,
        }
    }

    /// Of an order that was over when it came, or over which the node was off.
    pub fn missed(order: Uuid, received: Civil) -> Self {
        Self { state: State::Missed, closed: true, ..Self::new(order, received) }
    }

    /// Whether `other`, by the same node, is newer.
    pub fn is_older_than(&self, other: &Self) -> bool {
        self.revision < other.revision && self.state.rank() <= other.state.rank()
    }

    pub fn handle_cached(&mut self, at: Civil) -> bool {
        self.change(|receipt| {
            receipt.cached.get_or_insert(at);
            receipt.advance(State::Cached);
        })
    }

    /// It sounds, for the first time or again.
    pub fn handle_began(&mut self, at: Civil) -> bool {
        self.change(|receipt| {
            receipt.from.get_or_insert(at);
            receipt.advance(State::Playing);
        })
    }

    /// It would sound now but for this.
    pub fn handle_silenced(&mut self, at: Civil, silence: Silence) -> bool {
        self.change(|receipt| {
            let (state, by) = match silence {
                Silence::Hushed => (State::Hushed, None),
                Silence::Muted => (State::Muted, None),
                Silence::Preempted(by) => (State::Preempted, Some(by)),
            };
            if receipt.advance(state) {
                (receipt.stopped, receipt.by) = (Some(at), by);
            }
        })
    }

    /// A stretch of it is over: it ended here, something cut in, or it was cancelled. `lost`: per mille so far.
    pub fn handle_let_out(&mut self, to: Civil, lost: u16) -> bool {
        self.change(|receipt| {
            receipt.to = receipt.to.max(Some(to));
            receipt.lost = lost.min(1_000);
        })
    }

    /// It sounded to its end. Whoever was silenced on the way was not whole, whatever the last stretch was.
    pub fn handle_played(&mut self, whole: bool) -> bool {
        self.change(|receipt| {
            if receipt.advance(State::Played) {
                receipt.whole = whole && receipt.stopped.is_none() && receipt.lost == 0;
            }
        })
    }

    /// All of its sound came.
    pub fn handle_audio(&mut self, audio: Audio) -> bool {
        self.change(|receipt| receipt.audio = Some(audio))
    }

    pub fn handle_cancelled(&mut self, at: Civil) -> bool {
        self.change(|receipt| {
            if receipt.advance(State::Cancelled) {
                receipt.stopped.get_or_insert(at);
            }
        })
    }

    /// The order is over. What has not come to an end by then ends as missed (`off`: the node did not run while it was
    /// on) or failed.
    pub fn close(&mut self, off: bool, why: &str) -> bool {
        self.change(|receipt| {
            match receipt.state {
                State::Received | State::Cached if off => receipt.state = State::Missed,
                State::Received | State::Cached | State::Playing => {
                    (receipt.state, receipt.why) = (State::Failed, why.into());
                }
                _ => {}
            }
            receipt.closed = true;
        })
    }

    /// A cancel or hush has nothing more to do.
    pub fn close_done(&mut self) -> bool {
        self.change(|receipt| receipt.closed = true)
    }

    fn advance(&mut self, to: State) -> bool {
        let further = to.rank() > self.state.rank();
        if further {
            self.state = to;
        }
        further
    }

    fn change(&mut self, change: impl FnOnce(&mut Self)) -> bool {
        if self.closed {
            return false;
        }
        let before = self.clone();
        change(self);
        let changed = *self != before;
        if changed {
            self.revision = self.revision.saturating_add(1);
        }
        changed
    }
}

/// An order as receipts need it, for as long as somebody may still say something of it.
#[derive(Clone, Debug)]
pub struct Heard {
    pub order: Uuid,
    pub kind: Kind,
    pub authority: KeyId,
    pub title: String,
    pub priority: Priority,
    pub purpose: Purpose,
    pub areas: Vec<Area>,
    pub exempt: Vec<Area>,
    pub issued: Civil,
    /// When it begins to occupy the speakers, and when it no longer does.
    pub begins: Civil,
    pub ends: Civil,
    /// It does not sound: it is kept ready.
    pub prepared: bool,
    pub signed: proto::Signed,
}

impl Heard {
    /// `None` for what gets no receipts: only what matters to people does.
    pub fn of(order: &Order, signed: &proto::Signed) -> Option<Self> {
        let heard = Self {
            order: order.id,
            kind: order.kind(),
            authority: order.authority,
            title: String::new(),
            priority: Priority::Emergency,
            purpose: Purpose::Real,
            areas: order.areas.clone(),
            exempt: Vec::new(),
            issued: order.issued,
            begins: order.issued,
            ends: order.issued,
            prepared: false,
            signed: signed.clone(),
        };
        match &order.body {
            Body::Broadcast(broadcast) if broadcast.prepared => Some(Self {
                title: broadcast.title.clone(),
                priority: broadcast.priority,
                purpose: broadcast.purpose,
                prepared: true,
                ..heard
            }),
            Body::Broadcast(broadcast) => Some(Self {
                title: broadcast.title.clone(),
                priority: broadcast.priority,
                purpose: broadcast.purpose,
                begins: broadcast.begins(),
                ends: broadcast.ends(),
                ..heard
            }),
            Body::Cancel(cancel) => {
                Some(Self { title: cancel.broadcast.to_string(), begins: cancel.at, ends: cancel.at, ..heard })
            }
            Body::Hush(hush) => {
                Some(Self { priority: hush.up_to, ends: hush.until, exempt: hush.exempt.clone(), ..heard })
            }
            _ => None,
        }
    }

    /// Whether it has sound of its own.
    pub fn sounds(&self) -> bool {
        self.kind == Kind::Broadcast && !self.prepared
    }

    /// Whether a node that stands there should do what it says.
    pub fn concerns(&self, area: &str) -> bool {
        let within =
            |of: &Area| area.strip_prefix(of.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.areas.iter().any(within) && !self.exempt.iter().any(within)
    }

    /// What goes up before other things: emergencies, and what silences.
    pub fn is_urgent(&self) -> bool {
        self.priority == Priority::Emergency || !self.sounds()
    }
}
