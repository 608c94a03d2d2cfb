//! Who stands below whom, and what there is below each, of the list that a node gives.
use crate::control::forms::Node;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The nodes of a list, each below its parent. Names come from afar: whoever claims to stand below itself stands at
/// the top.
pub struct Forest<'a> {
    pub nodes: Vec<&'a Node>,
    pub roots: Vec<usize>,
    /// By node, in the order of the list.
    pub below: Vec<Vec<usize>>,
    /// Of each node and all below it.
    pub sums: Vec<Sum>,
}

/// Some nodes in a few numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sum {
    pub speakers: Count,
    pub relays: Count,
    pub sounding: usize,
    /// Those of them with something wrong.
    pub troubled: usize,
    /// Boards that wait for a place: they are no loudspeakers of the tree yet.
    pub waiting: usize,
    pub received: u64,
    pub lost: u64,
    /// The largest, with its sign; of what sounds.
    pub offset_us: Option<i64>,
    /// How many have it.
    pub troubles: BTreeMap<String, usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Count {
    /// Of which something is heard.
    pub heard: usize,
    pub all: usize,
}

impl<'a> Forest<'a> {
    /// `nodes` in the order in which siblings shall stand.
    pub fn new(nodes: Vec<&'a Node>) -> Self {
        let places: BTreeMap<Uuid, usize> = nodes.iter().enumerate().map(|(at, node)| (node.id, at)).collect();
        let parents: Vec<Option<usize>> = nodes.iter().map(|node| places.get(&node.parent?).copied()).collect();
        let mut children = vec![Vec::new(); nodes.len()];
        for (at, parent) in parents.iter().enumerate() {
            if let Some(parent) = parent {
                children[*parent].push(at);
            }
        }
        let (mut below, mut roots, mut order) = (vec![Vec::new(); nodes.len()], Vec::new(), Vec::new());
        let mut seen = vec![false; nodes.len()];
        let first = (0..nodes.len()).filter(|at| parents[*at].is_none());
        // A ring has no top: any of it will do.
        for root in first.chain(0..nodes.len()) {
            if std::mem::replace(&mut seen[root], true) {
                continue;
            }
            roots.push(root);
            let mut next = vec![root];
            while let Some(at) = next.pop() {
                order.push(at);
                for child in &children[at] {
                    if !std::mem::replace(&mut seen[*child], true) {
                        below[at].push(*child);
                        next.push(*child);
                    }
                }
            }
        }
        let mut sums: Vec<Sum> = nodes.iter().map(|node| Sum::of(node)).collect();
        for at in order.into_iter().rev() {
            let all = below[at].iter().fold(sums[at].clone(), |sum, child| sum.and(&sums[*child]));
            sums[at] = all;
        }
        Self { nodes, roots, below, sums }
    }

    /// Of all nodes.
    pub fn sum(&self) -> Sum {
        self.roots.iter().fold(Sum::default(), |sum, root| sum.and(&self.sums[*root]))
    }
}

impl Sum {
    pub fn of(node: &Node) -> Self {
        let count = Count { heard: usize::from(!is_gone(&node.state)), all: 1 };
        let waits = node.state == WAITING;
        let (speakers, relays) = match node.role.as_str() {
            _ if waits => (Count::default(), Count::default()),
            "speaker" => (count, Count::default()),
            _ => (Count::default(), count),
        };
        let sounds = speakers.all > 0 && node.state == "sounding";
        Self {
            speakers,
            relays,
            sounding: usize::from(sounds),
            troubled: usize::from(sounds && !node.trouble.is_empty()),
            waiting: usize::from(waits),
            // What a relay counts, its speakers count again.
            received: node.received * speakers.all as u64,
            lost: node.lost * speakers.all as u64,
            offset_us: sounds.then_some(node.offset_us),
            troubles: node.trouble.iter().map(|code| (code.clone(), 1)).collect(),
        }
    }

    pub fn and(mut self, other: &Self) -> Self {
        for (count, more) in [(&mut self.speakers, other.speakers), (&mut self.relays, other.relays)] {
            count.heard += more.heard;
            count.all += more.all;
        }
        self.sounding += other.sounding;
        self.troubled += other.troubled;
        self.waiting += other.waiting;
        self.received = self.received.saturating_add(other.received);
        self.lost = self.lost.saturating_add(other.lost);
        self.offset_us = self.offset_us.max_by_size(other.offset_us);
        for (code, count) in &other.troubles {
            *self.troubles.entry(code.clone()).or_default() += count;
        }
        self
    }

    pub fn is_whole(&self) -> bool {
        self.speakers.heard == self.speakers.all && self.relays.heard == self.relays.all
    }
}

trait BySize {
    fn max_by_size(self, other: Self) -> Self;
}

impl BySize for Option<i64> {
    fn max_by_size(self, other: Self) -> Self {
        self.into_iter().chain(other).max_by_key(|offset| offset.unsigned_abs())
    }
}

/// The state of a board that has no place.
pub const WAITING: &str = "waiting";

/// Nothing is heard of it.
pub fn is_gone(state: &str) -> bool {
    matches!(state, "lost" | "unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u128, parent: u128, role: &str, state: &str) -> Node {
        let parent = (parent > 0).then(|| Uuid::from_u128(parent));
        Node { id: Uuid::from_u128(id), parent, role: role.into(), state: state.into(), ..Node::default() }
    }

    #[test]
    fn sums_gather_what_is_below() {
        let lossy = Node { received: 90, lost: 10, offset_us: -7, ..node(3, 2, "speaker", "sounding") };
        let silent = Node { trouble: vec!["sound.silent".into()], offset_us: 5, ..node(4, 2, "speaker", "sounding") };
        let list =
            [node(1, 0, "relay", "idle"), node(2, 1, "relay", "idle"), lossy, silent, node(5, 1, "speaker", "lost")];
        let forest = Forest::new(list.iter().collect());
        let sum = forest.sum();
        assert_eq!((sum.speakers, sum.relays), (Count { heard: 2, all: 3 }, Count { heard: 2, all: 2 }));
        assert_eq!((sum.lost, sum.received, sum.offset_us, sum.sounding), (10, 90, Some(-7), 2));
        assert_eq!((sum.troubled, sum.waiting), (1, 0));
        assert_eq!(sum.troubles.get("sound.silent"), Some(&1));
        assert!(forest.sums[1].is_whole() && !sum.is_whole());
    }

    #[test]
    fn those_who_claim_to_stand_below_each_other_are_shown_once_each() {
        let list = [node(1, 2, "relay", "idle"), node(2, 1, "relay", "idle"), node(3, 3, "speaker", "idle")];
        let forest = Forest::new(list.iter().collect());
        assert_eq!(forest.roots, [0, 2]);
        assert_eq!(forest.sum().relays.all, 2);
        // A chain of any length is no matter of the stack.
        let chain: Vec<Node> = (1..100_000).map(|at| node(at, at - 1, "relay", "idle")).collect();
        assert_eq!(Forest::new(chain.iter().collect()).sum().relays.all, 99_999);
    }
}
