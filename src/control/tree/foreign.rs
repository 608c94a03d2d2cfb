//! Broadcasts that sound below and are not known here: a province speaks to its own by itself, and no order goes up.
use crate::control::forms::Node;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// By broadcast, the area of whoever speaks, as far as it can be told: whoever stands next above all that sound it,
/// below the node that was asked, which would know of it. `nodes`: that node first.
pub fn speakers(nodes: &[Node], known: impl Fn(&Uuid) -> bool) -> BTreeMap<Uuid, String> {
    let mut sounding: BTreeMap<Uuid, Vec<&Node>> = BTreeMap::new();
    for node in nodes {
        if let Some(id) = node.sounding.filter(|id| !known(id)) {
            sounding.entry(id).or_default().push(node);
        }
    }
    if sounding.is_empty() {
        return BTreeMap::new();
    }
    let places: BTreeMap<Uuid, &Node> = nodes.iter().map(|node| (node.id, node)).collect();
    let asked = nodes.first().map(|node| node.id);
    let way = |node: &Node| -> Vec<Uuid> {
        let above = |id: &Uuid| places.get(id).and_then(|node| node.parent);
        let up = std::iter::successors(node.parent, above).take(TIERS);
        up.take_while(|id| Some(*id) != asked).collect()
    };
    let mut found = BTreeMap::new();
    for (id, hearers) in sounding {
        let mut ways = hearers.iter().map(|node| std::iter::once(node.id).chain(way(node)).collect::<Vec<_>>());
        let mut common = ways.next().unwrap_or_default();
        for other in ways {
            let other: BTreeSet<Uuid> = other.into_iter().collect();
            common.retain(|id| other.contains(id));
        }
        // A loudspeaker gives no orders.
        let speaks = |id: &&Uuid| places.get(id).is_some_and(|node| node.role != "speaker");
        let speaker = common.iter().find(speaks).or(common.first()).and_then(|id| places.get(id));
        let area = speaker.map_or_else(|| hearers[0].area.clone(), |node| node.area.clone());
        found.insert(id, area);
    }
    found
}

/// Links on the way up: an area has eight segments at most; those who claim to stand in a ring are no way.
const TIERS: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u128, parent: u128, role: &str, area: &str, sounding: u128) -> Node {
        let sounding = (sounding > 0).then(|| Uuid::from_u128(sounding));
        let (id, parent) = (Uuid::from_u128(id), (parent > 0).then(|| Uuid::from_u128(parent)));
        Node { id, parent, role: role.into(), area: area.into(), sounding, ..Node::default() }
    }

    #[test]
    fn whoever_stands_above_all_that_sound_it_speaks() {
        let nodes = [
            node(1, 0, "relay", "vn", 70),
            node(2, 1, "relay", "vn/01", 0),
            node(3, 2, "speaker", "vn/01/00001", 71),
            node(4, 2, "speaker", "vn/01/00002", 71),
            node(5, 1, "speaker", "vn/02", 72),
            node(6, 6, "speaker", "vn/03", 73),
        ];
        let found = speakers(&nodes, |id| *id == Uuid::from_u128(70));
        let found: Vec<(u128, &str)> = found.iter().map(|(id, area)| (id.as_u128(), area.as_str())).collect();
        assert_eq!(found, [(71, "vn/01"), (72, "vn/02"), (73, "vn/03")]);
    }
}
