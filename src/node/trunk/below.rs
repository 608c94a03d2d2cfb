//! Children and all below them: admission, reports on their way up, the list that people look at.

mod lines;

use super::super::places::{Place, place, touched};
use super::{Command, Known, Link, Notice, Output, Peer, Role, Trunk, What};
use crate::broadcast::{Area, Refusal};
use crate::key::KeyId;
use crate::playout;
use crate::proto;
use crate::time::{Civil, Local, SECOND};
use crate::track::Reject;
pub use lines::Line;
use lines::Lines;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

pub(super) struct Below {
    pub lines: Lines,
    /// Direct children: where they stand and their link.
    direct: BTreeMap<Uuid, Direct>,
    /// How many of them stand where.
    places: BTreeMap<Place, u32>,
    due: Local,
    /// Newest broadcast that began here, and when.
    pub first: Option<(Uuid, Civil)>,
    /// Newest broadcast that sounded to its end here.
    pub ended: Option<Uuid>,
    /// Codes of what is wrong with this node's own device or its sound.
    pub troubles: BTreeSet<&'static str>,
    /// Handed to children that join.
    pub last_tick: Option<(KeyId, proto::Signed)>,
}

struct Direct {
    area: Area,
    name: Box<str>,
    role: Role,
    branch: usize,
    link: Link,
    /// Another parent reports on it: here it is only known.
    standby: bool,
}

impl Below {
    pub fn new(now: Local) -> Self {
        Self {
            lines: Lines::default(),
            direct: BTreeMap::new(),
            places: BTreeMap::new(),
            due: now,
            first: None,
            ended: None,
            troubles: BTreeSet::new(),
            last_tick: None,
        }
    }

    pub fn due(&self) -> Local {
        self.due
    }

    pub fn direct(&self) -> usize {
        self.direct.len()
    }

    pub fn direct_in(&self, areas: &[Area]) -> bool {
        touched(areas).into_iter().any(|(from, until)| self.places.range(from..until).next().is_some())
    }

    /// A direct child's branch and link.
    pub fn link_of(&self, node: Uuid) -> Option<(usize, Link)> {
        self.direct.get(&node).map(|child| (child.branch, child.link))
    }

    /// The same, if it stands in such an area.
    pub fn link_where(&self, node: Uuid, stands: impl FnOnce(&Area) -> bool) -> Option<(usize, Link)> {
        self.direct.get(&node).filter(|child| stands(&child.area)).map(|child| (child.branch, child.link))
    }

    /// Where a child stands that this node reports on, if this is its link.
    pub fn area_of(&self, node: Uuid, branch: usize, link: Link) -> Option<Area> {
        let same = |child: &&Direct| (child.branch, child.link) == (branch, link) && !child.standby;
        self.direct.get(&node).filter(same).map(|child| child.area.clone())
    }

    /// Links of children that stand in such areas, or serve one.
    pub fn links_where(&self, stands: impl Fn(&str) -> bool) -> impl Iterator<Item = (usize, Link)> {
        let whom = move |child: &&Direct| child.role == Role::Relay || stands(child.area.as_str());
        self.direct.values().filter(whom).map(|child| (child.branch, child.link))
    }

    pub fn known(&self) -> Known {
        self.lines.known()
    }

    pub fn send_all_again(&mut self) {
        self.lines.send_all_again();
    }

    fn join(&mut self, node: Uuid, child: Direct) {
        self.leave(node);
        *self.places.entry(place(&child.area)).or_default() += 1;
        self.direct.insert(node, child);
    }

    pub fn leave(&mut self, node: Uuid) {
        let Some(child) = self.direct.remove(&node) else { return };
        let place = place(&child.area);
        if let Some(count) = self.places.get_mut(&place) {
            *count -= 1;
            if *count == 0 {
                self.places.remove(&place);
            }
        }
    }
}

impl Trunk {
    pub(super) fn handle_notice(&mut self, now: Local, branch: usize, notice: Notice) {
        match notice {
            Notice::Hello { link, peer, placement, grants } => {
                self.handle_hello(now, branch, link, peer, placement, &grants);
            }
            Notice::Left { link, node } => self.handle_left(now, branch, link, node),
            Notice::Enrol { link, peer, enrol } => self.handle_enrol(now, branch, link, peer, *enrol),
            Notice::Standby { link, node, standby } => self.handle_standby(now, branch, link, node, standby),
            Notice::Wanted { track, listeners } => {
                if let Some(track) = self.tracks.get_mut(&track)
                    && let Some(count) = track.listeners.get_mut(branch)
                {
                    *count = listeners;
                    self.tune(now);
                }
            }
            Notice::Fetched { track } => self.handle_fetched(now, track),
            Notice::Receipts(told) => self.handle_receipts(now, branch, told),
            Notice::Reports(reports) => {
                for report in reports {
                    self.handle_report(now, report);
                }
            }
        }
    }

    fn handle_hello(
        &mut self,
        now: Local,
        branch: usize,
        link: Link,
        peer: Peer,
        placement: Option<proto::Signed>,
        grants: &[proto::Signed],
    ) {
        self.admit_grants(now, grants);
        let placed = match &placement {
            Some(_) => self.check_placement(now, peer.node, placement.as_ref()),
            None => match self.keep_waiting(now, branch, link, peer) {
                Ok(()) => return,
                Err((code, text)) => Err(Refusal { code, text }),
            },
        };
        let (code, text) = match (placed, &self.place) {
            (Ok((area, _)), Some(_)) if self.roster.expelled.is_expelled(peer.node, &area) => {
                ("node.expelled", format!("node {} was expelled; a new board needs a key of its own", peer.node))
            }
            (Ok((area, name)), Some(own)) if own.area.contains(&area) => {
                let welcome = self.welcome();
                let orders = self.in_force(now, peer.role, &area);
                self.is_placed(peer.node);
                self.note_joined(now, branch, link, peer, &area, &name);
                let lacking = self.lacking(now, peer.node, peer.role, &area);
                let command = Command::Admit { link, area, welcome: Box::new(welcome), orders };
                self.outputs.push_back(Output::Branch { branch: Some(branch), command });
                self.ask_lacking(branch, link, lacking);
                self.tune(now);
                return;
            }
            (Ok((area, _)), Some(own)) => (
                "child.area",
                format!("node {} stands in {area}, outside {}; dial another parent", peer.node, own.area),
            ),
            (Ok(_), None) => ("parent.unplaced", "this parent has no placement yet; dial again later".into()),
            (Err(refusal), _) => (refusal.code, refusal.text),
        };
        self.event(now, What::Refused { code: code.into(), text: text.clone() });
        let command = Command::Refuse { link, code: code.into(), text };
        self.outputs.push_back(Output::Branch { branch: Some(branch), command });
    }

    fn note_joined(&mut self, now: Local, branch: usize, link: Link, peer: Peer, area: &Area, name: &str) {
        let child = Direct { area: area.clone(), name: name.into(), role: peer.role, branch, link, standby: false };
        self.below.join(peer.node, child);
        self.note_leads(now, peer.node);
    }

    /// A child is reported on from now on.
    pub(super) fn note_leads(&mut self, now: Local, node: Uuid) {
        let report =
            proto::Report { node: node.as_bytes().to_vec().into(), state: "joining".into(), ..Default::default() };
        self.handle_report(now, report);
        self.event(now, What::Child { node, up: true });
    }

    fn handle_standby(&mut self, now: Local, branch: usize, link: Link, node: Uuid, standby: bool) {
        if self.waiting_stands_by(now, link, node, standby) {
            return;
        }
        let same = |child: &&mut Direct| child.branch == branch && child.link == link;
        let Some(child) = self.below.direct.get_mut(&node).filter(same) else { return };
        match (std::mem::replace(&mut child.standby, standby), standby) {
            (false, true) => {
                self.below.lines.forget(node);
                self.forget_receipts(node);
            }
            (true, false) => self.note_leads(now, node),
            _ => {}
        }
    }

    fn handle_left(&mut self, now: Local, branch: usize, link: Link, node: Uuid) {
        // A child that came back over another link before this one was given up has not left.
        if self.waiting_left(branch, link, node) {
            return;
        }
        let same = |child: &Direct| child.branch == branch && child.link == link;
        let Some(child) = self.below.direct.get(&node).filter(|child| same(child)) else { return };
        let standby = child.standby;
        self.below.leave(node);
        if !standby {
            self.lose_line(node);
            self.name_lost(now, node);
            self.event(now, What::Child { node, up: false });
        }
    }

    fn handle_report(&mut self, now: Local, report: proto::Report) {
        let Ok(node) = Uuid::from_slice(&report.node) else { return };
        // A clock that errs is as likely as a lie: neither may stand before what is true.
        let latest = self.time.civil(now).map_or(Civil(i64::MAX), |civil| civil + FUTURE);
        let Some(mut line) = lines::Line::read(&report, latest) else { return self.dropped("reports_too_long") };
        match self.stand_waiting(node, report.parent.is_empty(), &mut line) {
            Some(true) => return self.take_line(now, node, line),
            Some(false) => return,
            None => {}
        }
        if let Some(child) = self.below.direct.get(&node) {
            // What another relay says of a child of this node is stale at best; a child names no parent. Of one that
            // stands by here another may have to say something, and itself nothing.
            if report.parent.is_empty() == child.standby {
                return;
            }
            if child.standby {
                return self.take_line(now, node, line);
            }
            line.stand(child.area.as_str(), &child.name, child.role.as_str(), self.options.node);
        }
        self.take_line(now, node, line);
    }

    /// Nothing is heard of it any more; of one that was expelled nothing is expected either.
    pub(super) fn lose_line(&mut self, node: Uuid) {
        match self.below.lines.get(node).is_some_and(|line| self.is_out(node, line)) {
            true => self.below.lines.expel(node),
            false => self.below.lines.lose(node),
        }
    }

    /// Of whom another says something, or nobody does any more.
    pub(super) fn lose_expelled(&mut self, node: Uuid) {
        if self.below.lines.get(node).is_some_and(|line| self.is_out(node, line)) {
            self.below.lines.expel(node);
        }
    }

    /// Whether it was expelled from where it stands: what was said of it elsewhere, by whoever may speak there, is nothing
    /// here.
    fn is_out(&self, node: Uuid, line: &Line) -> bool {
        line.area().parse().is_ok_and(|area| self.roster.expelled.is_expelled(node, &area))
    }

    fn take_line(&mut self, now: Local, node: Uuid, mut line: Line) {
        if !self.below.direct.contains_key(&node) && self.is_out(node, &line) {
            line.expel();
        }
        if line.is_waiting() {
            self.note_waits(now, node);
        }
        if self.below.lines.is_twice(node, &mut line) {
            self.note_twice(now, node);
        }
        let begins = self.below.lines.begins(node, &line);
        if !self.below.lines.take(node, line) {
            self.dropped("reports");
        }
        self.note_first_sound(begins);
    }

    fn note_first_sound(&mut self, begins: Option<(Uuid, Civil)>) {
        let Some((broadcast, at)) = begins else { return };
        let Some(entry) = self.book.get(broadcast) else { return };
        let anchor = entry.broadcast.renditions.first().map_or(entry.broadcast.from, |info| info.anchor);
        let delay = entry.broadcast.delay;
        let since = match &entry.broadcast.tone {
            Some(tone) if tone.at - entry.issued > AHEAD => tone.at,
            None if anchor - entry.issued > AHEAD => anchor + delay,
            _ => entry.issued,
        };
        let after = at - since;
        // A live broadcast's end is a newer order than its beginning.
        if (0..LATEST).contains(&after) {
            self.outputs.push_back(Output::FirstSound { priority: entry.broadcast.priority, after });
        }
    }

    /// This node's own line.
    pub(super) fn own_report(&self, now: Local) -> proto::Report {
        let counters = self.counters();
        let status = self.player.as_ref().map(|player| player.status(now)).unwrap_or_default();
        let joined = self.options.parents.is_empty() || self.parents.welcomed() > 0;
        let state = match status.state {
            _ if self.place.is_none() && !self.options.parents.is_empty() => "waiting",
            _ if !joined => "joining",
            _ if self.is_hushed() => "hushed",
            playout::State::Joining if self.player.is_some() => "joining",
            playout::State::Joining | playout::State::Idle => "idle",
            playout::State::Buffering => "buffering",
            playout::State::Sounding => "sounding",
        };
        // What a board without a place says is no broadcast.
        let sounding = match (self.player.is_some(), status.broadcast.filter(|_| self.place.is_some())) {
            (true, broadcast) => broadcast.filter(|_| status.state == playout::State::Sounding),
            (false, _) => self.tuned.and_then(|choice| choice.broadcast),
        };
        // Repairs and urgent orders come more than once: a duplicate says nothing of the other side.
        let refused = counters.packets_rejected.iter().filter(|(reject, _)| **reject != Reject::Duplicate);
        let refused: u64 = refused.map(|(_, count)| count).sum();
        let loudness = self.loudness(now);
        let bytes = |id: Uuid| id.as_bytes().to_vec().into();
        proto::Report {
            node: bytes(self.options.node),
            area: self.place.as_ref().map(|place| place.area.to_string()).unwrap_or_default(),
            name: self.place.as_ref().map(|place| place.name.clone()).unwrap_or_default(),
            parent: self.parents.node().map(bytes).unwrap_or_default(),
            state: state.into(),
            received: counters.received,
            repaired: counters.repaired,
            lost: counters.lost,
            concealed: counters.player.concealed.div_ceil(2),
            buffer: status.buffer,
            offset: status.offset,
            sounding: sounding.map(bytes).unwrap_or_default(),
            first: self.below.first.map(|(id, _)| bytes(id)).unwrap_or_default(),
            first_at: self.below.first.map_or(0, |(_, at)| at.0),
            role: self.options.role.as_str().into(),
            rejected: refused + counters.orders_rejected.values().sum::<u64>(),
            ended: self.below.ended.map(bytes).unwrap_or_default(),
            at: self.time.civil(now).map_or(0, |civil| civil.0),
            uncertainty: counters.uncertainty,
            peak: counters.level.map(|level| hundredths(level.peak)),
            rms: counters.level.map(|level| hundredths(level.rms)),
            bitrate: self.bitrate_of(sounding),
            trouble: self.below.troubles.iter().copied().collect::<Vec<_>>().join(" "),
            instance: self.options.instance,
            muted: loudness.and_then(|loudness| loudness.muted_until).map_or(0, |until| until.0),
            volume: self.volume_now(now, sounding).map(|volume| volume.tenths().into()),
            settings: self.held.number,
        }
    }

    /// Own and all below, for the list of nodes.
    pub(super) fn nodes(&self, now: Local) -> Vec<proto::Report> {
        std::iter::once(self.own_report(now)).chain(self.below.lines.all()).collect()
    }

    pub(super) fn report_now(&mut self, now: Local) {
        let own = self.own_report(now);
        if let Some(child) = self.parents.session() {
            child.report(now, own, true);
        }
    }

    /// Once a second: the own report for the next beat, and what has changed below.
    pub(super) fn report(&mut self, now: Local) {
        self.below.due = now + REPORT;
        self.judge_links(now);
        self.rest_enrolments(now);
        self.rest_drafts(now);
        self.tell_places(now);
        self.settle_receipts(now);
        self.tell_settings(now);
        self.counters.loudness = self.loudness(now);
        let own = self.own_report(now);
        if let Some(line) = lines::Line::read(&own, Civil(i64::MAX)) {
            let begins = self.below.lines.take_own(line);
            self.note_first_sound(begins);
        }
        self.judge_rights(now);
        self.judge_shelf(now);
        if let Some(status) = self.player.as_ref().map(|player| player.status(now)) {
            self.counters.offset = status.offset;
        }
        let Some(child) = self.parents.session() else { return };
        child.report(now, own, false);
        let reports = self.below.lines.next();
        if !reports.is_empty() {
            child.health(reports);
        }
    }
}

/// As levels go over the wire.
fn hundredths(decibels: f32) -> i32 {
    (decibels * 100.0).round() as i32
}

/// µs between reports.
const REPORT: i64 = SECOND;
/// µs that a node's clock may be ahead of this one's before its reports are dated back.
const FUTURE: i64 = 60 * SECOND;
/// µs before its sound that a broadcast is accepted if it was given for later; less is how one begins at once.
const AHEAD: i64 = 5 * SECOND;
/// µs: whoever begins later came back itself, or came back to what something more urgent had cut into.
const LATEST: i64 = 60 * SECOND;
