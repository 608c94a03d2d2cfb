//! Who may stand where: nodes that wait for a place, placements on their way down to them, nodes that are expelled, and
//! keys that two nodes hold.

use super::requests::{Refused, no_authority};
use super::{Address, Command, Link, Order, Output, Peer, Pending, Reply, Role, Trunk};
use crate::broadcast::{Area, Body, Expel, Expelled, Kind, Placement};
use crate::proto::{self, record};
use crate::session::VERSION;
use crate::time::{Local, SECOND};
use std::collections::BTreeMap;
use uuid::Uuid;

#[derive(Default)]
pub(super) struct Roster {
    /// Children without a place.
    waiting: BTreeMap<Uuid, Waiting>,
    /// Placements that this node has given to others, the newest of each.
    given: BTreeMap<Uuid, Given>,
    /// Those of them that have not been seen where they shall stand: when they are told again, and how often they were.
    untold: BTreeMap<Uuid, (Local, u32)>,
    pub expelled: Expelled,
    /// When people were last told that two hold a node's key.
    twice: BTreeMap<Uuid, Local>,
}

struct Waiting {
    branch: usize,
    link: Link,
    role: Role,
    /// Another parent reports on it.
    standby: bool,
}

struct Given {
    number: u64,
    placement: Placement,
    signed: proto::Signed,
}

/// Where a node shall stand.
#[derive(Clone, Debug)]
pub struct Place {
    pub node: Uuid,
    /// `None`: where `replaces` stands, or the node itself.
    pub area: Option<Area>,
    pub name: Option<String>,
    /// Whom it dials, best first, before those of its configuration.
    pub parents: Vec<Address>,
    /// A node whose place it takes, and which is expelled.
    pub replaces: Option<Uuid>,
}

impl Trunk {
    /// A child without a place: it waits here, if this node has one.
    pub(super) fn keep_waiting(&mut self, now: Local, branch: usize, link: Link, peer: Peer) -> Result<(), Refused> {
        if self.place.is_none() {
            return Err(("parent.unplaced", UNPLACED.to_owned()));
        }
        // Wherever that was: whoever places it anew knows nothing of it.
        if self.roster.expelled.is_known(peer.node) {
            return Err(("node.expelled", format!("node {} was expelled", peer.node)));
        }
        if self.roster.waiting.len() >= WAITING {
            return Err((
                "parent.full",
                format!("{WAITING} others wait here for a place; place or expel some of them"),
            ));
        }
        let welcome = self.welcome();
        let mut orders = self.authorities.all();
        orders.extend(self.below.last_tick.iter().map(|(_, signed)| signed.clone()));
        self.below.leave(peer.node);
        self.roster.waiting.insert(peer.node, Waiting { branch, link, role: peer.role, standby: false });
        let command = Command::Wait { link, welcome: Box::new(welcome), orders };
        self.outputs.push_back(Output::Branch { branch: Some(branch), command });
        self.note_leads(now, peer.node);
        Ok(())
    }

    /// How this node answers a Hello.
    pub(super) fn welcome(&self) -> proto::Welcome {
        proto::Welcome {
            version: VERSION,
            features: 0,
            node: self.options.node.as_bytes().to_vec().into(),
            placement: self.place.as_ref().map(|own| own.signed.clone()),
            grants: self.chain_of_place(),
            logs: Vec::new(),
            group: None,
            parents: self.options.siblings.iter().map(Address::to_proto).collect(),
        }
    }

    /// Whether the link was that of a waiting child, which is then forgotten.
    pub(super) fn waiting_left(&mut self, branch: usize, link: Link, node: Uuid) -> bool {
        let same = |waiting: &&Waiting| (waiting.branch, waiting.link) == (branch, link);
        if self.roster.waiting.get(&node).filter(same).is_none() {
            return false;
        }
        let standby = self.roster.waiting.remove(&node).is_some_and(|waiting| waiting.standby);
        if !standby {
            self.lose_line(node);
        }
        true
    }

    /// Whether the link is that of a waiting child.
    pub(super) fn waiting_stands_by(&mut self, now: Local, link: Link, node: Uuid, standby: bool) -> bool {
        let Some(waiting) = self.roster.waiting.get_mut(&node).filter(|waiting| waiting.link == link) else {
            return false;
        };
        match (std::mem::replace(&mut waiting.standby, standby), standby) {
            (false, true) => self.below.lines.forget(node),
            (true, false) => self.note_leads(now, node),
            _ => {}
        }
        true
    }

    pub(super) fn is_placed(&mut self, node: Uuid) {
        self.roster.waiting.remove(&node);
    }

    /// Of a report by a child that waits: whether it counts, and what this node knows better.
    pub(super) fn stand_waiting(&self, node: Uuid, own: bool, line: &mut super::below::Line) -> Option<bool> {
        let waiting = self.roster.waiting.get(&node)?;
        if own == waiting.standby {
            return Some(false);
        }
        if own {
            let area = self.place.as_ref().map_or("", |place| place.area.as_str());
            line.stand(area, "", waiting.role.as_str(), self.options.node);
            line.wait();
        }
        Some(true)
    }

    pub(super) fn request_place(&mut self, now: Local, id: u64, place: Place) -> Result<(), Refused> {
        let Place { node, area, name, parents, replaces } = place;
        if self.roster.expelled.is_known(node) {
            return Err(super::enrol::expelled(node));
        }
        let civil = self.now_or_refuse(now)?;
        let before = match replaces {
            Some(old) => Some(self.place_of(old).ok_or_else(|| {
                ("node.unknown", format!("node {old}, which is to be replaced, is not known; give the area and name"))
            })?),
            None => self.place_of(node).filter(|_| !self.waits(node)),
        };
        let missing = |code, what: &str| (code, format!("node {node} has no place yet: name {what}"));
        let area = area.or_else(|| before.as_ref().map(|old| old.area.clone()));
        let area = area.ok_or_else(|| missing("placement.area", "the area where it shall stand"))?;
        let name = name.or_else(|| before.as_ref().map(|old| old.name.clone())).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| missing("placement.name", "what people shall call it"))?;
        let parents = match (parents.is_empty(), before) {
            (true, Some(old)) => old.parents,
            _ => parents,
        };
        self.may_place(&area)?;
        if parents.is_empty() {
            self.check_reach(node, &area)?;
        }
        if self.roster.given.len() >= GIVEN && !self.roster.given.contains_key(&node) {
            return Err((
                "placement.full",
                format!("this node has placed {GIVEN} others; place more from another one"),
            ));
        }
        let placement = Placement { node, area: area.clone(), name, parents };
        let body = Body::Placement(placement);
        let (order, signed) = self.make(now, vec![area], civil + LIFE, body).ok_or_else(no_authority)?;
        self.authorities.check(&signed, Some(civil)).map_err(|refusal| (refusal.code, refusal.text))?;
        let expel = match replaces {
            None => None,
            Some(old) => Some(self.expulsion(now, old)?),
        };
        // Together, or neither.
        let both = std::iter::once(signed.clone()).chain(expel.clone());
        let records = both.map(|signed| proto::Record { body: Some(record::Body::Order(signed)) }).collect();
        self.journal(now, records, Pending::Placement { id, order: Box::new(order), signed, expel });
        Ok(())
    }

    /// A node that stands where none of its parents takes it is out of everybody's reach.
    fn check_reach(&self, node: Uuid, area: &Area) -> Result<(), Refused> {
        let here = self.roster.waiting.contains_key(&node) || self.below.link_of(node).is_some();
        let above = if here { None } else { self.below.lines.get(node).and_then(super::below::Line::parent) };
        let over = match above.filter(|above| *above != self.options.node) {
            Some(above) => {
                self.below.lines.get(above).and_then(|line| Some((line.area().parse().ok()?, line.name().to_owned())))
            }
            None if here || above.is_some() => self.place.as_ref().map(|own| (own.area.clone(), own.name.clone())),
            None => None,
        };
        match over.filter(|(over, _): &(Area, String)| !over.contains(area)) {
            None => Ok(()),
            Some((over, name)) => Err((
                "placement.parent",
                format!(
                    "node {node} dials {name:?}, which stands in {over} and takes nobody of {area}; name parents that stand \
                     over {area} with --parent, or another area"
                ),
            )),
        }
    }

    /// A placement of another node is on disk.
    pub(super) fn handle_placed(
        &mut self,
        now: Local,
        id: u64,
        order: &Order,
        signed: proto::Signed,
        expel: Option<proto::Signed>,
    ) {
        let Body::Placement(placement) = &order.body else { return };
        let (node, area) = (placement.node, placement.area.clone());
        self.note_given(order, &signed);
        let told = if node == self.options.node {
            self.handle_order(now, signed, super::From::Push);
            true
        } else {
            self.roster.untold.insert(node, (now + AGAIN, 0));
            self.deliver(node, signed)
        };
        if let Some(expel) = expel {
            self.handle_order(now, expel, super::From::Own { request: None, keys: Vec::new() });
        }
        self.outputs.push_back(Output::Reply { id, reply: Reply::Placed { order: order.id, area, told } });
    }

    pub(super) fn note_given(&mut self, order: &Order, signed: &proto::Signed) {
        let Body::Placement(placement) = &order.body else { return };
        let own = self.options.authority.as_ref().is_some_and(|key| key.id() == order.authority);
        let newer = self.roster.given.get(&placement.node).is_none_or(|given| given.number < order.number);
        if own && newer && placement.node != self.options.node {
            let given = Given { number: order.number, placement: placement.clone(), signed: signed.clone() };
            self.roster.given.insert(placement.node, given);
            self.roster.untold.insert(placement.node, (Local(0), 0));
        }
    }

    pub(super) fn place_of(&self, node: Uuid) -> Option<Placement> {
        if let Some(given) = self.roster.given.get(&node) {
            return Some(given.placement.clone());
        }
        let line = self.below.lines.get(node)?;
        let (area, name) = (line.area().parse().ok()?, line.name().to_owned());
        Some(Placement { node, area, name, parents: Vec::new() })
    }

    /// Whether it has no place of its own: here, or as a parent below says.
    fn waits(&self, node: Uuid) -> bool {
        let said = || self.below.lines.get(node).is_some_and(super::below::Line::waits);
        self.roster.waiting.contains_key(&node) || !self.roster.given.contains_key(&node) && said()
    }

    /// Sends an order down towards its node. Whether somebody was there to take it.
    pub(super) fn deliver(&mut self, node: Uuid, signed: proto::Signed) -> bool {
        let Some((branch, link)) = self.way_to(node) else { return false };
        let grants = Order::decode(&signed.payload).map_or_else(|_| Vec::new(), |order| self.chain(order.authority));
        let deliver = proto::Deliver { node: node.as_bytes().to_vec().into(), order: Some(signed), grants };
        let command = Command::Deliver { link, deliver: Box::new(deliver) };
        self.outputs.push_back(Output::Branch { branch: Some(branch), command });
        true
    }

    /// From above: for this node, or for one below.
    pub(super) fn handle_deliver(&mut self, now: Local, deliver: proto::Deliver) {
        let (Ok(node), Some(signed)) = (Uuid::from_slice(&deliver.node), deliver.order.clone()) else { return };
        // As with everything: verified before it is passed on.
        self.admit_grants(now, &deliver.grants);
        let Ok(order) = self.authorities.check(&signed, self.time.civil(now)) else { return };
        let of = match &order.body {
            Body::Placement(placement) => placement.node,
            Body::Settings(settings) => settings.node,
            _ => return,
        };
        if of != node {
            return;
        }
        if node != self.options.node {
            if let Some((branch, link)) = self.way_to(node) {
                let command = Command::Deliver { link, deliver: Box::new(deliver) };
                self.outputs.push_back(Output::Branch { branch: Some(branch), command });
            }
            return;
        }
        // Its grants first, so that they stand before it in the journal and it holds after a restart.
        for grant in deliver.grants {
            self.handle_order(now, grant, super::From::Push);
        }
        self.handle_order(now, signed, super::From::Push);
    }

    /// The child that leads to a node: itself, or a relay above it.
    fn way_to(&self, node: Uuid) -> Option<(usize, Link)> {
        let mut at = node;
        for _ in 0..TIERS {
            if let Some(waiting) = self.roster.waiting.get(&at) {
                return Some((waiting.branch, waiting.link));
            }
            if let Some(link) = self.below.link_of(at) {
                return Some(link);
            }
            at = self.below.lines.get(at)?.parent()?;
        }
        None
    }

    /// A node that this one has placed waits again: it has lost its placement, or never had it.
    pub(super) fn note_waits(&mut self, now: Local, node: Uuid) {
        if self.roster.given.contains_key(&node) {
            self.roster.untold.entry(node).or_insert((now, 0));
        }
    }

    /// Once a second: placements whose node was not there, or has not taken them.
    pub(super) fn tell_places(&mut self, now: Local) {
        let due = self.roster.untold.iter().filter(|(_, (at, _))| *at <= now);
        let due: Vec<(Uuid, u32)> = due.map(|(node, (_, told))| (*node, *told)).collect();
        for (node, told) in due {
            let Some(given) = self.roster.given.get(&node) else {
                self.roster.untold.remove(&node);
                continue;
            };
            let (area, name) = (given.placement.area.as_str(), given.placement.name.as_str());
            let line = self.below.lines.get(node);
            let stands = line.is_some_and(|line| !line.is_waiting() && line.area() == area && line.name() == name);
            // Somebody else has placed it since: it knows which is newer.
            let elsewhere = told >= TOLD_ENOUGH && line.is_some_and(|line| !line.is_waiting());
            if stands || elsewhere {
                self.roster.untold.remove(&node);
                continue;
            }
            let signed = given.signed.clone();
            let told = told + u32::from(self.deliver(node, signed));
            self.roster.untold.insert(node, (now + AGAIN, told));
        }
    }

    pub(super) fn request_expel(&mut self, now: Local, id: u64, node: Uuid) -> Result<(), Refused> {
        let signed = self.expulsion(now, node)?;
        let order = Order::decode(&signed.payload).map_err(|refusal| (refusal.code, refusal.text))?.id;
        let request = Some((id, Box::new(Reply::Done { order })));
        self.handle_order(now, signed, super::From::Own { request, keys: Vec::new() });
        Ok(())
    }

    fn expulsion(&mut self, now: Local, node: Uuid) -> Result<proto::Signed, Refused> {
        if node == self.options.node {
            return Err(("node.own", "a node does not expel itself; ask the one above it".to_owned()));
        }
        // Wherever this authority's word holds: the node may have stood elsewhere, be switched off, or come back there.
        let key = self.options.authority.as_ref().ok_or_else(no_authority)?.id();
        let areas = self.authorities.areas(key, Kind::Revoke);
        if areas.is_empty() {
            let text = "this node's authority may expel nobody; have the node above do it, or a root".to_owned();
            return Err(("order.scope", text));
        }
        let civil = self.now_or_refuse(now)?;
        let (_, signed) = self.make(now, areas, civil + LIFE, Body::Expel(Expel { node })).ok_or_else(no_authority)?;
        self.authorities.check(&signed, Some(civil)).map_err(|refusal| (refusal.code, refusal.text))?;
        Ok(signed)
    }

    /// A node is expelled: it is no child and no parent from now on.
    pub(super) fn handle_expelled(&mut self, now: Local, node: Uuid) {
        let waits = self.roster.waiting.contains_key(&node);
        let stands = |area: &Area| self.roster.expelled.is_expelled(node, area);
        if waits || self.below.link_where(node, stands).is_some() {
            self.tell_branches(Command::Expelled { node });
        }
        self.roster.untold.remove(&node);
        // A child is lost with its link; of the others nothing is expected any more.
        if !waits && self.below.link_of(node).is_none() {
            self.lose_expelled(node);
        }
        self.leave_expelled(now, node);
        if node == self.options.node {
            let own = self.place.as_ref().is_some_and(|place| self.roster.expelled.is_expelled(node, &place.area));
            self.note_expelled(now, own);
        }
    }

    /// By the order itself, or by what its parents answer.
    pub(super) fn note_expelled(&mut self, now: Local, expelled: bool) {
        self.stands(now, "node.expelled", expelled, || {
            "this node was expelled: no parent takes it any more. If that was a mistake, delete its data folder and enrol it \
             anew"
                .to_owned()
        });
    }

    /// A node spoke as a process that another of the same key had taken the place of.
    pub(super) fn note_twice(&mut self, now: Local, node: Uuid) {
        self.counters.twice += 1;
        let told = &mut self.roster.twice;
        told.retain(|_, at| now - *at < TOLD_AGAIN);
        if told.contains_key(&node) || told.len() >= TOLD {
            return;
        }
        told.insert(node, now);
        let text = format!(
            "two nodes speak with the key of node {node}: a card or disk was copied. Expel it with `loa revoke {node}` and \
             enrol both boards anew, each with an empty data folder"
        );
        self.trouble(now, "node.twice", text);
    }
}

const UNPLACED: &str = "this parent has no placement yet; dial again later";
/// Nodes that wait at one parent: a province's delivery of boards.
const WAITING: usize = 8_192;
/// Placements of others that a node remembers: a country's speakers.
const GIVEN: usize = 200_000;
/// µs until a node that has not taken its placement is told again.
const AGAIN: i64 = 10 * SECOND;
/// A node that stands elsewhere is told so often.
const TOLD_ENOUGH: u32 = 6;
/// µs that a placement or expulsion lasts: the longest that is accepted.
const LIFE: i64 = 400 * 24 * 3600 * SECOND;
/// Links between a node and the farthest below it: as deep as an area.
const TIERS: usize = 8;
/// Keys held twice that people are told of in an hour, each once.
const TOLD: usize = 64;
const TOLD_AGAIN: i64 = 3600 * SECOND;
