//! Areas in an order in which all that lies within one of them is a range.
use crate::broadcast::Area;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// An area as its segments sort, whatever its neighbours are called.
pub(super) type Place = Arc<str>;

pub(super) fn place(area: &Area) -> Place {
    area.as_str().replace('/', "\0").into()
}

/// Ranges of the places that touch one of the areas: each once, in order.
pub(super) fn touched(areas: &[Area]) -> VecDeque<(Place, Place)> {
    let mut ranges = BTreeMap::new();
    let mut add = |from: &str, end: &str| {
        let until: Place = format!("{from}{end}").into();
        let held: &mut Place = ranges.entry(Place::from(from)).or_insert_with(|| until.clone());
        if *held < until {
            *held = until;
        }
    };
    for area in areas {
        let place = place(area);
        add(&place, "\u{1}");
        place.match_indices('\0').for_each(|(end, _)| add(&place[..end], "\0"));
    }
    let mut found: VecDeque<(Place, Place)> = VecDeque::new();
    for (from, until) in ranges {
        if found.back().is_none_or(|(_, end)| *end <= from) {
            found.push_back((from, until));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_places_that_touch_some_areas_are_those_within_and_those_around_each_once() {
        let area = |text: &str| text.parse::<Area>().unwrap();
        let all = ["vn", "vn/01", "vn/01/00004", "vn/01/00004/a", "vn/01-x", "vn/011", "vn/02", "vn/02/1", "vo"];
        for areas in [
            vec!["vn"],
            vec!["vn/01"],
            vec!["vn/01/00004"],
            vec!["vn/01/00004", "vn/01", "vn/02/1"],
            vec!["vn/02/1/a", "vn/02/1", "vo/1"],
            vec!["vp"],
            vec![],
        ] {
            let areas: Vec<Area> = areas.into_iter().map(area).collect();
            let places: BTreeSet<Place> = all.iter().map(|text| place(&area(text))).collect();
            let mut found: Vec<String> = Vec::new();
            for (from, until) in touched(&areas) {
                found.extend(places.range(from..until).map(|place| place.replace('\0', "/")));
            }
            found.sort_unstable();
            let mut expected: Vec<&str> =
                all.iter().copied().filter(|text| areas.iter().any(|one| one.touches(&area(text)))).collect();
            expected.sort_unstable();
            assert_eq!(found, expected, "{areas:?}");
        }
    }
}
