//! What one node may take of a branch, and why sessions end: a fixed set of reasons, so that a hostile
//! peer can't make metrics grow.
use super::Counters;
use crate::node::Link;
use crate::session::parent;
use crate::time::{Local, SECOND};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Why a branch ended or refused a session: the codes that the peer is told, in groups.
pub const CUTS: [&str; 10] = [
    "peer.flood",
    "protocol",
    "hello.node",
    "session.silent",
    "session.replaced",
    "session.often",
    "branch.full",
    "refused",
    "goodbye",
    "node.stopping",
];

/// Of these, for whoever joins again and again although it was told to wait a minute.
pub const TOO_OFTEN: &str = "session.often";

/// Why a branch ignored what a child said, and went on.
pub const IGNORED: [&str; 8] =
    ["flood", "malformed", "nack.track", "nack.budget", "nack.behind", "wish", "report", "receipts"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Cut {
    Flood,
    Protocol,
    HelloNode,
    Silent,
    Replaced,
    Often,
    Full,
    Refused,
    Goodbye,
    Stopping,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Ignored {
    Flood,
    Malformed,
    NackTrack,
    NackBudget,
    NackBehind,
    Wish,
    Report,
    Receipts,
}

impl Counters {
    pub(super) fn add_session(&mut self, session: parent::Counters) {
        self.nacked += session.nacked;
        self.answered += session.answered;
        self.over_budget += session.over_budget;
        self.ignored(Ignored::Flood, session.flooded);
        self.ignored(Ignored::Malformed, session.malformed);
        self.ignored(Ignored::NackTrack, session.unknown_track);
        self.ignored(Ignored::NackBudget, session.over_budget);
        self.ignored(Ignored::Wish, session.wishes);
    }

    pub(super) fn cut(&mut self, why: Cut) {
        self.cut[why as usize] += 1;
    }

    pub(super) fn ignored(&mut self, why: Ignored, count: u64) {
        self.ignored[why as usize] += count;
    }

    /// Sessions ended or refused, by reason.
    pub fn cuts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CUTS.into_iter().zip(self.cut)
    }

    /// Input ignored, by reason.
    pub fn ignored_inputs(&self) -> impl Iterator<Item = (&'static str, u64)> {
        IGNORED.into_iter().zip(self.ignored)
    }
}

/// Questions for certificates: a node has one of its own in a minute, a newcomer one in its life, a relay those of all
/// below it: a delivery of boards at once, then so many a second. Small: each child has one.
#[derive(Debug)]
pub(super) struct Questions {
    asked: bool,
    left: u8,
    /// In seconds.
    since: u32,
}

impl Questions {
    pub fn new(now: Local) -> Self {
        Self { asked: false, left: QUESTIONS, since: seconds(now) }
    }

    pub fn newcomers(&mut self) -> bool {
        !std::mem::replace(&mut self.asked, true)
    }

    pub fn own(&mut self, now: Local) -> bool {
        let may = !self.asked || seconds(now).saturating_sub(self.since) >= OWN_EVERY;
        if may {
            (self.asked, self.since) = (true, seconds(now));
        }
        may
    }

    pub fn relays(&mut self, now: Local) -> bool {
        let more = seconds(now).saturating_sub(self.since).saturating_mul(QUESTIONS_A_SECOND);
        self.left = u8::try_from(more).map_or(QUESTIONS, |more| self.left.saturating_add(more).min(QUESTIONS));
        self.since = seconds(now);
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

fn seconds(now: Local) -> u32 {
    u32::try_from(now.0 / SECOND).unwrap_or(u32::MAX)
}

/// Each costs its parent half a millisecond of signatures: a hostile relay 1 % of a core.
const QUESTIONS: u8 = 128;
const QUESTIONS_A_SECOND: u32 = 20;
/// Seconds; a node asks each ten minutes at most.
const OWN_EVERY: u32 = 60;

/// The links of each node, and how often it came.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    /// The elder link first.
    links: BTreeMap<Uuid, (Link, Option<Link>)>,
    /// Joins within this window and the one before.
    joins: [BTreeMap<Uuid, u32>; 2],
    began: Option<Local>,
}

impl Nodes {
    /// Whether the node may have another session; counts it.
    pub fn may_join(&mut self, now: Local, node: Uuid) -> bool {
        let windows = self.began.map_or(2, |began| (now - began).max(0) / WINDOW);
        if windows > 0 {
            let newest = std::mem::take(&mut self.joins[0]);
            self.joins[1] = if windows == 1 { newest } else { BTreeMap::new() };
            self.began = Some(now);
        }
        let before = self.joins[1].get(&node).copied().unwrap_or(0);
        if self.joins[0].len() >= COUNTED && !self.joins[0].contains_key(&node) {
            return true;
        }
        let count = self.joins[0].entry(node).or_default();
        *count = count.saturating_add(1);
        count.saturating_add(before) <= JOINS
    }

    /// Returns the link that makes room for this one.
    pub fn join(&mut self, node: Uuid, link: Link) -> Option<Link> {
        let Some(links) = self.links.get_mut(&node) else {
            self.links.insert(node, (link, None));
            return None;
        };
        match links.1.replace(link) {
            Some(newer) => Some(std::mem::replace(&mut links.0, newer)),
            None => None,
        }
    }

    /// The elder first.
    pub fn links(&self, node: Uuid) -> Vec<Link> {
        let links = self.links.get(&node);
        links.map_or_else(Vec::new, |(elder, newer)| std::iter::once(*elder).chain(*newer).collect())
    }

    pub fn leave(&mut self, node: Uuid, link: Link) {
        let Some(links) = self.links.get_mut(&node) else { return };
        match *links {
            (elder, Some(newer)) if elder == link => *links = (newer, None),
            (_, Some(newer)) if newer == link => links.1 = None,
            (only, None) if only == link => drop(self.links.remove(&node)),
            _ => {}
        }
    }
}

/// Sessions of one node at once: the one that a lost link left behind, and its successor.
#[cfg(test)]
const SESSIONS: usize = 2;
/// Joins of one node within two windows at most. A child that is refused for good dials 16 times a
/// minute; one whose parent hangs up again and again would dial twice a second.
pub(super) const JOINS: u32 = 60;
const WINDOW: i64 = 60 * SECOND;
/// Nodes whose joins are counted: twice the children of a full branch. Only certificates of this system
/// get here, so that more means that all of it moves; nobody is refused for that.
const COUNTED: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_two_sessions_and_the_newest_replaces_the_oldest() {
        let (node, mut nodes) = (Uuid::from_u128(7), Nodes::default());
        let replaced: Vec<_> = (1..=4).map(|link| nodes.join(node, link)).collect();
        assert_eq!(replaced, [None, None, Some(1), Some(2)]);
        assert_eq!(replaced.iter().filter(|link| link.is_none()).count(), SESSIONS);
        nodes.leave(node, 1);
        nodes.leave(node, 3);
        nodes.leave(node, 4);
        assert!(nodes.links.is_empty());
    }

    #[test]
    fn a_node_that_joins_again_and_again_is_refused_for_a_while_and_others_are_not() {
        let (node, mut nodes) = (Uuid::from_u128(7), Nodes::default());
        let joined = (0..200).filter(|at| nodes.may_join(Local(at * SECOND / 10), node)).count();
        assert_eq!(joined as u32, JOINS);
        assert!(nodes.may_join(Local(21 * SECOND), Uuid::from_u128(8)));
        assert!(nodes.may_join(Local(121 * SECOND), node));
    }

    #[test]
    fn a_relay_passes_on_a_delivery_at_once_and_then_twenty_a_second() {
        let mut questions = Questions::new(Local(0));
        assert_eq!((0..200).filter(|_| questions.relays(Local(0))).count(), usize::from(QUESTIONS));
        let asked = (1..=200).filter(|turn| questions.relays(Local(turn * 10_000)));
        assert_eq!(asked.count(), 21, "of two seconds, one question after the second");
        assert!(questions.relays(Local(i64::MAX)));
        let (mut own, minute) = (Questions::new(Local(0)), 60 * SECOND);
        assert!(own.own(Local(0)) && !own.own(Local(minute - 1)) && own.own(Local(minute)));
        let mut new = Questions::new(Local(0));
        assert!(new.newcomers() && !new.newcomers());
    }

    #[test]
    fn each_reason_has_its_name() {
        assert_eq!(CUTS[Cut::Flood as usize], "peer.flood");
        assert_eq!(CUTS[Cut::Often as usize], TOO_OFTEN);
        assert_eq!(CUTS[Cut::Stopping as usize], "node.stopping");
        assert_eq!((IGNORED[Ignored::Flood as usize], IGNORED[Ignored::Report as usize]), ("flood", "report"));
        assert_eq!(IGNORED[Ignored::Receipts as usize], "receipts");
        assert_eq!((Cut::Stopping as usize + 1, Ignored::Receipts as usize + 1), (CUTS.len(), IGNORED.len()));
    }
}
