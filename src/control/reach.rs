//! Whether anybody can hear what is said to an area, as far as reports tell.
use super::text::Failure;
use crate::broadcast::Area;

/// A node that is known of, this one or one below it.
#[derive(Clone, Debug)]
pub struct Known {
    pub area: Area,
    /// What is said to the areas within its own sounds there: a speaker.
    pub sounds: bool,
    /// The node that was asked.
    pub own: bool,
}

/// Refuses an area in which nobody stands and above which nobody stands who sounds it. A relay counts as
/// standing above while no node below it is known, since its children have yet to report; the node that
/// was asked itself counts so for an emergency alone, which waits for every speaker that reappears.
pub fn check(areas: &[Area], known: &[Known], emergency: bool) -> Result<(), Failure> {
    let leaf = |node: &Known| !known.iter().any(|other| other.area != node.area && node.area.contains(&other.area));
    let serves = |node: &Known, area: &Area| {
        area.contains(&node.area) || node.area.contains(area) && (node.sounds || leaf(node) && (!node.own || emergency))
    };
    match areas.iter().find(|area| !known.iter().any(|node| serves(node, area))) {
        None => Ok(()),
        Some(area) => Err(Failure::new("area.unknown", [area, &nearest(area, known)])),
    }
}

/// Those of `areas` in which no loudspeaker is known to stand.
pub fn empty<'a>(areas: &'a [Area], known: &[Known]) -> Vec<&'a Area> {
    let heard = |area: &Area| known.iter().any(|node| node.sounds && area.contains(&node.area));
    areas.iter().filter(|area| !heard(area)).collect()
}

/// The known areas that share most of the path with `area`.
fn nearest(area: &Area, known: &[Known]) -> String {
    let shared =
        |other: &Area| area.as_str().split('/').zip(other.as_str().split('/')).take_while(|(a, b)| a == b).count();
    let mut areas: Vec<&Area> = known.iter().map(|node| &node.area).collect();
    areas.sort_by_key(|other| (std::cmp::Reverse(shared(other)), *other));
    areas.dedup();
    let names: Vec<&str> = areas.into_iter().take(NEAREST).map(Area::as_str).collect();
    if names.is_empty() { "-".into() } else { names.join(", ") }
}

/// Known areas named in a refusal: as many as one reads.
const NEAREST: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn area(text: &str) -> Area {
        text.parse().unwrap()
    }

    fn node(text: &str, sounds: bool) -> Known {
        Known { area: area(text), sounds, own: text == "vn" }
    }

    fn refused(asked: &str, known: &[Known], emergency: bool) -> Option<String> {
        check(&[area(asked)], known, emergency).err().map(|failure| failure.to_string())
    }

    #[test]
    fn an_area_is_known_by_those_who_stand_in_it() {
        let tree = [node("vn", false), node("vn/01", false), node("vn/01/00001", true), node("vn/02", false)];
        for known in ["vn", "vn/01", "vn/01/00001", "vn/01/00001/loa-7", "vn/02", "vn/02/00009"] {
            assert_eq!(refused(known, &tree, false), None, "{known}");
        }
        for unknown in ["vn/01/00002", "vn/03", "la"] {
            assert!(refused(unknown, &tree, true).is_some(), "{unknown}");
        }
    }

    #[test]
    fn a_refusal_names_the_nearest_areas_first() {
        let tree = [node("vn", false), node("vn/02", false), node("vn/01", false), node("vn/01/00001", true)];
        let text = refused("vn/01/00002", &tree, false).unwrap();
        assert!(text.ends_with("vn/01, vn/01/00001, vn, vn/02"), "{text}");
    }

    #[test]
    fn an_area_without_a_loudspeaker_is_told_of_though_a_relay_may_lead_there() {
        let tree = [node("vn", false), node("vn/01", false), node("vn/01/00001", true), node("vn/02", false)];
        let asked: Vec<Area> = ["vn", "vn/01", "vn/01/00001", "vn/01/00002", "vn/02"].map(area).into();
        assert_eq!(empty(&asked, &tree), [&area("vn/01/00002"), &area("vn/02")]);
    }

    #[test]
    fn an_emergency_may_wait_for_nodes_that_have_yet_to_appear() {
        let alone = [node("vn", false)];
        assert!(refused("vn/01", &alone, false).is_some());
        assert_eq!(refused("vn/01", &alone, true), None);
        assert_eq!(refused("vn", &alone, false), None);
        assert!(refused("la", &alone, true).is_some());
        assert!(refused("vn", &[], true).is_some());
    }
}
