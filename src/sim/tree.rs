//! Which nodes there are, who is whose parent, who may speak where: a whole tree from a seed.

use super::world::EPOCH;
use super::{Conditions, Random};
use crate::broadcast::{self, Area, Body, Grant, Kind, Order, Placement, Priority};
use crate::key::{PublicKey, SigningKey};
use crate::node::trunk::{Daylight, Wished};
use crate::node::{Role, branch};
use crate::playout::hands;
use crate::proto;
use crate::time::SECOND;
use uuid::Uuid;

/// A tree of any depth, built from the top. Nodes are named; names are unique.
pub struct Tree {
    pub(super) seed: u64,
    pub(super) members: Vec<Member>,
    random: Random,
    root: SigningKey,
    /// Stands between the root and every node's authority, so that chains have a middle.
    ministry: SigningKey,
    orders: u64,
    ppm: f64,
    wander: f64,
}

/// How a child reaches its parent.
#[derive(Clone, Debug, PartialEq)]
pub struct Hop {
    pub up: Conditions,
    pub down: Conditions,
}

impl Hop {
    pub fn both(conditions: Conditions) -> Self {
        Self { up: conditions.clone(), down: conditions }
    }
}

/// One node as its provisioning left it.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub name: String,
    pub node: Uuid,
    pub role: Role,
    pub parents: Vec<(usize, Hop)>,
    pub roots: Vec<PublicKey>,
    /// Seed of its authority's key.
    pub authority: Option<[u8; 32]>,
    pub journal: Vec<proto::Record>,
    pub branches: usize,
    /// Beats a second that each branch lets its children send.
    pub beats: u32,
    pub rendition: Wished,
    /// Sound from two parents at once.
    pub both: bool,
    pub oscillator: super::Oscillator,
    pub device_ppm: f64,
    /// Whether it runs when the world begins.
    pub awake: bool,
    /// When it may say its code, if it has no place.
    pub daylight: Daylight,
    pub hands: hands::Options,
    /// Of a clock of its own that it trusts: by how much it is off, and what is said of it, µs.
    pub clock: Option<(i64, u64)>,
    /// Bytes of disk for stored sound.
    pub stored: u64,
}

impl Tree {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::of(seed, "tree", 0);
        let root = SigningKey::from_seed(&random.bytes());
        let ministry = SigningKey::from_seed(&random.bytes());
        Self { seed, members: Vec::new(), random, root, ministry, orders: 0, ppm: 0.0, wander: 0.0 }
    }

    /// Oscillators and sound cards of nodes added from now on err by up to this, either way.
    pub fn err_by(&mut self, ppm: f64) -> &mut Self {
        self.ppm = ppm;
        self
    }

    /// Their oscillators drift by as much more and less, over ten minutes, as crystals warm and cool.
    pub fn wander_by(&mut self, ppm: f64) -> &mut Self {
        self.wander = ppm;
        self
    }

    /// A node without parents; it may speak for its area.
    pub fn origin(&mut self, name: &str, area: &str) -> &mut Self {
        self.add(name, area, Role::Relay, Vec::new(), true)
    }

    pub fn relay(&mut self, name: &str, area: &str, parent: &str, hop: Hop) -> &mut Self {
        let parent = self.index(parent);
        self.add(name, area, Role::Relay, vec![(parent, hop)], false)
    }

    /// A relay that may also speak for its own area.
    pub fn station(&mut self, name: &str, area: &str, parent: &str, hop: Hop) -> &mut Self {
        let parent = self.index(parent);
        self.add(name, area, Role::Relay, vec![(parent, hop)], true)
    }

    pub fn speaker(&mut self, name: &str, area: &str, parent: &str, hop: Hop) -> &mut Self {
        let parent = self.index(parent);
        self.add(name, area, Role::Speaker, vec![(parent, hop)], false)
    }

    /// The newest node has one more parent; of several it takes sound from the one that leads.
    pub fn spare(&mut self, parent: &str, hop: Hop) -> &mut Self {
        let parent = self.index(parent);
        if let Some(member) = self.members.last_mut() {
            member.parents.push((parent, hop));
        }
        self
    }

    /// The newest node was enrolled, and nobody has placed it yet.
    pub fn unplaced(&mut self) -> &mut Self {
        if let Some(member) = self.members.last_mut() {
            // Its placement was provisioned last.
            member.journal.pop();
        }
        self
    }

    /// Where the newest node stands it is night.
    pub fn at_night(&mut self) -> &mut Self {
        if let Some(member) = self.members.last_mut() {
            member.daylight = Daylight::in_zone(0);
        }
        self
    }

    /// Volumes as the newest node's configuration has them.
    pub fn as_loud_as(&mut self, hands: hands::Options) -> &mut Self {
        if let Some(member) = self.members.last_mut() {
            member.hands = hands;
        }
        self
    }

    /// The newest node trusts a clock of its own to `stated` µs, which is `off` by so many.
    pub fn clock(&mut self, off: i64, stated: u64) -> &mut Self {
        if let Some(member) = self.members.last_mut() {
            member.clock = Some((off, stated));
        }
        self
    }

    /// The newest node has so many bytes of disk for stored sound.
    pub fn stored(&mut self, bytes: u64) -> &mut Self {
        if let Some(member) = self.members.last_mut() {
            member.stored = bytes;
        }
        self
    }

    /// The newest node takes sound from two parents at once.
    pub fn both(&mut self) -> &mut Self {
        if let Some(member) = self.members.last_mut() {
            member.both = true;
        }
        self
    }

    /// Of the one added last: which rendition it wishes for.
    pub fn wishing(&mut self, rendition: Wished) -> &mut Self {
        if let Some(member) = self.members.last_mut() {
            member.rendition = rendition;
        }
        self
    }

    /// The newest node runs so many branches.
    pub fn branches(&mut self, count: usize) -> &mut Self {
        if let Some(member) = self.members.last_mut() {
            member.branches = count;
        }
        self
    }

    /// The children of the newest node beat so often a second, all of them together.
    pub fn beats(&mut self, limit: u32) -> &mut Self {
        if let Some(member) = self.members.last_mut() {
            member.beats = limit;
        }
        self
    }

    /// This node does not run until it is started.
    pub fn asleep(&mut self, name: &str) -> &mut Self {
        let index = self.index(name);
        self.members[index].awake = false;
        self
    }

    fn add(&mut self, name: &str, area: &str, role: Role, parents: Vec<(usize, Hop)>, speaks: bool) -> &mut Self {
        assert!(self.members.iter().all(|member| member.name != name), "two nodes named {name}");
        let area: Area = area.parse().unwrap_or_else(|error| panic!("the area of {name}: {error}"));
        let node = self.random.id(EPOCH.0);
        let mut journal = Vec::new();
        let authority = speaks.then(|| self.random.bytes());
        if let Some(seed) = &authority {
            journal.extend(self.grants(name, &area, SigningKey::from_seed(seed).public()));
        }
        let placement = Placement { node, area: area.clone(), name: name.into(), parents: Vec::new() };
        journal.push(self.order_of_root(vec![area.clone()], Body::Placement(placement)));
        let error = |tree: &mut Self| tree.random.between(-tree.ppm, tree.ppm);
        let ppm = error(self);
        let device_ppm = error(self);
        let offset = self.random.below(10_000_000_000) as i64;
        let oscillator = super::Oscillator::new(offset, ppm, self.wander, self.random.unit());
        self.members.push(Member {
            name: name.into(),
            node,
            role,
            parents,
            roots: vec![self.root.public()],
            authority,
            journal,
            branches: usize::from(role == Role::Relay),
            beats: branch::Options::default().beats,
            rendition: Wished::default(),
            both: false,
            oscillator,
            device_ppm,
            awake: true,
            // A world begins at midnight, UTC.
            daylight: Daylight::in_zone(DAY / 2),
            hands: hands::Options::default(),
            clock: None,
            stored: u64::MAX,
        });
        self
    }

    /// Root → ministry → this node's authority.
    fn grants(&mut self, name: &str, area: &Area, key: PublicKey) -> [proto::Record; 2] {
        let all =
            vec![Kind::Broadcast, Kind::Cancel, Kind::Hush, Kind::Grant, Kind::Revoke, Kind::Placement, Kind::Tick];
        let top: Area = area.as_str().split('/').next().unwrap_or_default().parse().expect("a segment of an area");
        let grant = |key, areas, name: &str| {
            let (from, until) = (EPOCH - DAY, EPOCH + 10 * DAY);
            Grant {
                key,
                areas,
                kinds: all.clone(),
                up_to: Priority::Emergency,
                from,
                until,
                name: name.into(),
                alone_from: 0,
            }
        };
        let ministry = grant(self.ministry.public(), vec![top.clone()], "ministry");
        let own = grant(key, vec![area.clone()], name);
        let above = self.order_of_root(vec![top], Body::Grant(ministry));
        let own = self.order(vec![area.clone()], Body::Grant(own));
        [above, sign(&own, &self.ministry)]
    }

    fn order_of_root(&mut self, areas: Vec<Area>, body: Body) -> proto::Record {
        let order = Order { authority: self.root.id(), ..self.order(areas, body) };
        sign(&order, &self.root)
    }

    fn order(&mut self, areas: Vec<Area>, body: Body) -> Order {
        self.orders += 1;
        Order {
            id: self.random.id(EPOCH.0 - DAY),
            authority: self.ministry.id(),
            number: self.orders,
            issued: EPOCH - DAY,
            expires: EPOCH + 10 * DAY,
            areas,
            body,
        }
    }

    fn index(&self, name: &str) -> usize {
        self.members
            .iter()
            .position(|member| member.name == name)
            .unwrap_or_else(|| panic!("no node named {name}: add parents before their children"))
    }
}

fn sign(order: &Order, key: &SigningKey) -> proto::Record {
    proto::Record { body: Some(proto::record::Body::Order(broadcast::sign(order, key))) }
}

/// µs. Grants are kept at 14 days or less (DESIGN §6).
const DAY: i64 = 86_400 * SECOND;
