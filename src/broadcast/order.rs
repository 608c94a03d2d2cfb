//! Orders: anything a node is told to do, signed by an authority.

use super::{Address, Area, Grant, Settings};
use crate::key::{Domain, KeyId, SigningKey};
use crate::proto;
use crate::time::{Civil, SECOND};
use crate::track;
use bytes::Bytes;
use uuid::Uuid;

/// A decoded order. Only [`super::Authorities::check`] vouches for one.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// UUIDv7; of a broadcast too, and kept through its revisions.
    pub id: Uuid,
    pub authority: KeyId,
    /// Rises with every order of this authority, across restarts.
    pub number: u64,
    pub issued: Civil,
    /// Not acted on from here; until then its id is remembered.
    pub expires: Civil,
    /// Whom it concerns; what a cancel or revocation reaches.
    pub areas: Vec<Area>,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Broadcast(Broadcast),
    Cancel(Cancel),
    Hush(Hush),
    Grant(Grant),
    Revoke(Revoke),
    Placement(Placement),
    Tick(Tick),
    Invite(Invite),
    Expel(Expel),
    Settings(Settings),
    Lock(Lock),
    Release(Release),
    Prefer(Prefer),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    Normal,
    Priority,
    Emergency,
}

/// Whether what is said is so. What is not begins with words that say it, which every speaker keeps and says by itself,
/// and gives way to what is real.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    Test,
    Exercise,
    #[default]
    Real,
}

impl Purpose {
    /// The stored sound that says what it is, if it is not real.
    pub fn said_by(self) -> Option<u32> {
        match self {
            Self::Test => Some(Tone::TEST),
            Self::Exercise => Some(Tone::EXERCISE),
            Self::Real => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Broadcast,
    Cancel,
    Hush,
    Grant,
    Revoke,
    Placement,
    Tick,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Broadcast {
    pub priority: Priority,
    pub purpose: Purpose,
    pub from: Civil,
    pub until: Civil,
    /// Playout delay, µs: 0 < delay ≤ 60 s.
    pub delay: i64,
    /// 1 to 4; same duration and anchor.
    pub renditions: Vec<track::Info>,
    /// Of emergencies, and of every exercise and test, of which it says what they are. It ends before speech begins
    /// (anchor + delay ≥ at + duration).
    pub tone: Option<Tone>,
    pub title: String,
    pub revision: u32,
    /// An older broadcast of the same class that this one takes the place of while both are on. An
    /// emergency yields only to its own authority or to an emergency for all of its areas.
    pub supersedes: Option<Uuid>,
    /// The packets exist before air time, so their number is known.
    pub stored: bool,
    pub resume: bool,
    /// It never sounds by itself: others name its tracks, with anchors of their own.
    pub prepared: bool,
}

impl Broadcast {
    /// When it begins to occupy the speakers: `from`, or the tone's T0.
    pub fn begins(&self) -> Civil {
        self.tone.map_or(self.from, |tone| tone.at)
    }

    /// When it no longer does: `until + delay`.
    pub fn ends(&self) -> Civil {
        self.until + self.delay
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tone {
    /// T0: when every speaker starts it.
    pub at: Civil,
    /// Which of the stored sounds; silence where a speaker does not know it. In an order, below [`Tone::LOCAL`].
    pub which: u32,
    /// µs.
    pub duration: i64,
}

impl Tone {
    /// The stored words that say that an exercise, or a test, is what follows.
    pub const EXERCISE: u32 = 2;
    pub const TEST: u32 = 3;
    /// µs that an order has to leave for those words, at least.
    pub const SAID: i64 = 2 * SECOND;
    /// From this number on, stored sounds are what a speaker says of itself (its code, `audio::CODE`): no order may
    /// name one, or whoever may speak could pass a speaker off as another.
    pub const LOCAL: u32 = 1 << 24;
}

/// Stops a broadcast, for good: a later cancel can only bring the stop forward. It reaches only what
/// lies within the order's areas and at most at its authority's priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancel {
    pub broadcast: Uuid,
    pub at: Civil,
}

/// Silences the order's areas from `issued` until `until`. The newest hush of one authority for the
/// same areas is in force, so one with `until == issued` lifts the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hush {
    pub until: Civil,
    pub up_to: Priority,
    pub exempt: Vec<Area>,
}

/// Kills the grants of `key` that lie within the order's areas (all of them when a root signs), and
/// everything beneath them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoke {
    pub key: KeyId,
    pub epoch: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    pub node: Uuid,
    pub area: Area,
    pub name: String,
    /// Whom the node dials, best first, before those that its configuration names; at most 8.
    pub parents: Vec<Address>,
}

/// A token: until the order expires so many new nodes may have a certificate, by whoever gave it. It is shown by those
/// who come, and never distributed; they stand nowhere until they are placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invite {
    pub count: u32,
    /// They may be parents; else loudspeakers.
    pub relay: bool,
}

/// Ends a node for good where it stands within the order's areas (anywhere when a root signs): no parent takes it, no
/// child takes it as one. An issuer gives a key one name, so that it can't come back under another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expel {
    pub node: Uuid,
}

/// Takes from `key`, and from everything beneath it, what its grants within the order's areas allow, until two have
/// released it or the order expires. What it said before is over for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    pub key: KeyId,
}

/// Lifts a lock: signed by two, neither of whom empowered the other, or by a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// The lock's order.
    pub lock: Uuid,
}

/// What sounds first where several broadcasts of one class want to at once; emergencies are not asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefer {
    /// Best first, 1 to 8. Others of the class stand behind them.
    pub broadcasts: Vec<Uuid>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    pub time: Civil,
    pub log: Uuid,
    pub head: u64,
    pub epoch: u64,
}

impl Body {
    pub fn kind(&self) -> Kind {
        match self {
            // Whoever may speak there may say what is heard first.
            Self::Broadcast(_) | Self::Prefer(_) => Kind::Broadcast,
            Self::Cancel(_) => Kind::Cancel,
            // Whoever may silence a place may silence a key.
            Self::Hush(_) | Self::Lock(_) | Self::Release(_) => Kind::Hush,
            Self::Grant(_) => Kind::Grant,
            Self::Revoke(_) | Self::Expel(_) => Kind::Revoke,
            // Whoever may place nodes may call them, and say how they sound.
            Self::Placement(_) | Self::Invite(_) | Self::Settings(_) => Kind::Placement,
            Self::Tick(_) => Kind::Tick,
        }
    }
}

impl Order {
    pub(super) fn is_placement(&self) -> bool {
        matches!(self.body, Body::Placement(_))
    }

    /// An order with the lifetime that fits its body: what ends by itself lives until it has ended,
    /// what must outlast other orders (cancel, hush, revocation, placement) as long as its kind may.
    /// See [`Order::until`] for another.
    pub fn new(id: Uuid, authority: KeyId, number: u64, issued: Civil, areas: Vec<Area>, body: Body) -> Self {
        let expires = match &body {
            Body::Broadcast(broadcast) => broadcast.ends() + SKEW,
            Body::Grant(grant) => grant.until,
            Body::Cancel(_) | Body::Hush(_) | Body::Lock(_) | Body::Release(_) => issued + MAX_LIFE,
            Body::Prefer(_) => issued + DAY,
            Body::Revoke(_) | Body::Expel(_) => issued + MAX_LONG_LIFE,
            Body::Placement(_) | Body::Invite(_) | Body::Settings(_) => issued + MAX_LONG_LIFE,
            Body::Tick(_) => issued + SKEW,
        };
        Self { id, authority, number, issued, expires, areas, body }
    }

    /// The same order, expiring at `expires`.
    pub fn until(mut self, expires: Civil) -> Self {
        self.expires = expires;
        self
    }

    /// The next revision of a broadcast: `renditions` replace its own. It keeps its id, areas,
    /// priority and `issued`, and with them its place among others. Another kind of order stays as
    /// it is but for its number.
    pub fn revise(&self, number: u64, renditions: Vec<track::Info>) -> Self {
        let mut next = Self { number, ..self.clone() };
        if let Body::Broadcast(broadcast) = &mut next.body {
            broadcast.renditions = renditions;
            broadcast.revision = broadcast.revision.saturating_add(1);
        }
        next
    }

    /// The next revision of a live broadcast, once its length is known: every rendition has `packets`, at
    /// least one, and it is over with the last of them. It expires as it did, so that nobody takes the
    /// revision before for a newer order.
    pub fn finish(&self, number: u64, packets: u64) -> Self {
        let Body::Broadcast(broadcast) = &self.body else { return self.clone() };
        let ended = |info: &track::Info| track::Info { packets: Some(packets.max(1)), ..info.clone() };
        let mut next = self.revise(number, broadcast.renditions.iter().map(ended).collect());
        if let Body::Broadcast(broadcast) = &mut next.body
            && let Some(end) = broadcast.renditions.iter().map(|info| info.instant(packets.max(1))).max()
        {
            broadcast.until = end.min(broadcast.until);
        }
        next
    }

    pub fn kind(&self) -> Kind {
        self.body.kind()
    }

    /// Whether it is a real emergency; cancels and hushes answer for themselves.
    pub fn is_emergency(&self) -> bool {
        let real =
            |broadcast: &Broadcast| (broadcast.priority, broadcast.purpose) == (Priority::Emergency, Purpose::Real);
        matches!(&self.body, Body::Broadcast(broadcast) if real(broadcast))
    }

    /// Every area it lays claim to: all must lie within its authority's grant.
    pub(super) fn claims(&self) -> impl Iterator<Item = &Area> {
        let body: &[Area] = match &self.body {
            Body::Grant(grant) => &grant.areas,
            Body::Placement(placement) => std::slice::from_ref(&placement.area),
            _ => &[],
        };
        self.areas.iter().chain(body)
    }

    /// The priority it lays claim to.
    pub(super) fn claimed_priority(&self) -> Option<Priority> {
        match &self.body {
            Body::Broadcast(broadcast) => Some(broadcast.priority),
            Body::Hush(hush) => Some(hush.up_to),
            Body::Grant(grant) => Some(grant.up_to),
            Body::Cancel(_) | Body::Revoke(_) | Body::Placement(_) | Body::Tick(_) => None,
            Body::Invite(_) | Body::Expel(_) | Body::Settings(_) => None,
            Body::Lock(_) | Body::Release(_) | Body::Prefer(_) => None,
        }
    }

    /// How long its kind may live, µs from `issued`.
    pub(super) fn max_life(&self) -> i64 {
        match self.kind() {
            Kind::Grant | Kind::Revoke | Kind::Placement => MAX_LONG_LIFE,
            Kind::Broadcast | Kind::Cancel | Kind::Hush | Kind::Tick => MAX_LIFE,
        }
    }
}

/// The signature of a second key under an order that another has signed.
pub fn countersign(payload: &[u8], key: &SigningKey) -> proto::Signature {
    let value = Bytes::copy_from_slice(&key.sign(Domain::Order, payload));
    proto::Signature { key: Bytes::copy_from_slice(&key.id().0), value }
}

/// Encodes and signs; `order.authority` must be `key.id()`.
///
/// # Panics
/// When it is not: whoever gives an order chose both.
pub fn sign(order: &Order, key: &SigningKey) -> proto::Signed {
    assert_eq!(order.authority, key.id(), "an order is signed by its own authority");
    let payload = order.encode();
    let signature = countersign(&payload, key);
    proto::Signed { payload: payload.into(), signatures: vec![signature] }
}

/// A copy to keep: what came off the wire may be a slice of a much larger buffer, and would hold on
/// to the whole of it.
pub(super) fn keep(signed: &proto::Signed) -> proto::Signed {
    let copy = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
    let signature = |held: &proto::Signature| proto::Signature { key: copy(&held.key), value: copy(&held.value) };
    proto::Signed { payload: copy(&signed.payload), signatures: signed.signatures.iter().map(signature).collect() }
}

/// How far clocks may differ before an order counts as issued in the future: a node that lost its
/// time server keeps within this for weeks.
pub(super) const SKEW: i64 = 60 * SECOND;
const DAY: i64 = 86_400 * SECOND;
/// Of what is planned by the month; it bounds how long ids must be remembered.
pub(super) const MAX_LIFE: i64 = 31 * DAY;
/// Of grants, revocations and placements: a year and a month to renew them in.
pub(super) const MAX_LONG_LIFE: i64 = 400 * DAY;
