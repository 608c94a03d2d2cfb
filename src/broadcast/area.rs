//! A path in the tree of administrative units.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// 1–8 segments `[a-z0-9][a-z0-9-]{0,31}` joined by `/`, at most 128 bytes (DESIGN §9).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Area(Arc<str>);

impl Area {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whole segments: `vn/01` contains itself and `vn/01/00004`, not `vn/011`.
    pub fn contains(&self, other: &Area) -> bool {
        match other.0.strip_prefix(&*self.0) {
            Some(rest) => rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }

    /// The unit that this one lies in; `None` for the first segment.
    pub fn parent(&self) -> Option<Area> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.into()))
    }

    /// Itself, then what contains it, nearest first: `vn/01/00004`, `vn/01`, `vn`.
    pub fn lineage(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(Some(&*self.0), |at| at.rsplit_once('/').map(|(parent, _)| parent))
    }

    /// How many there are, 1 to 8.
    pub fn segments(&self) -> usize {
        self.0.split('/').count()
    }

    /// The last segment: what tells it from its siblings.
    pub fn last(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// One contains the other: what is said to this area concerns a node that serves `other`.
    pub fn touches(&self, other: &Area) -> bool {
        self.contains(other) || other.contains(self)
    }
}

/// Whether each of `inner` lies within one of `outer`; `Err` names the first that does not.
pub(super) fn within<'a>(outer: &[Area], inner: impl IntoIterator<Item = &'a Area>) -> Result<(), &'a Area> {
    match inner.into_iter().find(|area| !outer.iter().any(|wide| wide.contains(area))) {
        Some(area) => Err(area),
        None => Ok(()),
    }
}

impl FromStr for Area {
    type Err = String;

    /// The error says which rule the text breaks and how to mend it.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > MAX_BYTES {
            return Err(format!("an area is at most {MAX_BYTES} bytes, this has {}: shorten it", text.len()));
        }
        let count = text.split('/').count();
        if count > MAX_SEGMENTS {
            return Err(format!("area {text:?} has {count} segments: join at most {MAX_SEGMENTS} with \"/\""));
        }
        for segment in text.split('/') {
            let Some(first) = segment.bytes().next() else {
                return Err(format!(
                    "area {text:?} has an empty segment: write it like \"vn/01/00004\", without a \"/\" at either end"
                ));
            };
            if segment.len() > MAX_SEGMENT_BYTES {
                return Err(format!(
                    "segment {segment:?} of area {text:?} exceeds {MAX_SEGMENT_BYTES} bytes: shorten it"
                ));
            }
            let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            if !letter(first) || !segment.bytes().all(|byte| letter(byte) || byte == b'-') {
                return Err(format!(
                    "segment {segment:?} of area {text:?}: use a-z, 0-9 and \"-\" only, beginning with a letter or digit"
                ));
            }
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Ordered as its text is, so a map by area can be asked with a `&str`.
impl Borrow<str> for Area {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for Area {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Area {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

// DESIGN §9 fixes all three; a change needs a version.
const MAX_BYTES: usize = 128;
const MAX_SEGMENTS: usize = 8;
const MAX_SEGMENT_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn area(text: &str) -> Area {
        text.parse().unwrap()
    }

    #[test]
    fn containment_is_by_whole_segments() {
        assert!(area("vn/01").contains(&area("vn/01")));
        assert!(area("vn/01").contains(&area("vn/01/00004")));
        assert!(!area("vn/01").contains(&area("vn/011")));
        assert!(!area("vn/01/00004").contains(&area("vn/01")));
        assert!(area("vn/01/00004").touches(&area("vn")));
        assert!(!area("vn/01").touches(&area("vn/02")));
    }

    #[test]
    fn a_lineage_goes_up_by_whole_segments() {
        let commune = area("vn/01/00004");
        assert_eq!(commune.lineage().collect::<Vec<_>>(), ["vn/01/00004", "vn/01", "vn"]);
        assert_eq!((commune.parent(), commune.last()), (Some(area("vn/01")), "00004"));
        assert_eq!((area("vn").parent(), area("vn").last()), (None, "vn"));
    }

    #[test]
    fn what_breaks_the_grammar_is_refused_with_the_place() {
        let nine = ["a"; 9].join("/");
        let long_segment = "a".repeat(33);
        let long = ["a"; 4].map(|letter| letter.repeat(32)).join("/");
        let bad =
            ["", "/vn", "vn/", "vn//01", "VN", "vn/-1", "vn 01", "vn/hà-nội", "vn\0", &nine, &long_segment, &long];
        for text in bad {
            assert!(text.parse::<Area>().is_err(), "{text:?} was taken");
        }
        assert!("vn/Hanoi".parse::<Area>().unwrap_err().contains("\"Hanoi\""));
        assert!(["a"; 8].join("/").parse::<Area>().is_ok());
        assert!("a".repeat(32).parse::<Area>().is_ok());
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused_without_a_panic(text in ".{0,160}") {
            if let Ok(area) = text.parse::<Area>() {
                prop_assert_eq!(area.as_str(), text);
            }
        }

        #[test]
        fn an_area_contains_exactly_itself_and_what_extends_it(
            left in "[ab]{1,2}(/[ab]{1,2}){0,3}",
            right in "[ab]{1,2}(/[ab]{1,2}){0,3}",
        ) {
            let (segments, of): (Vec<_>, Vec<_>) = (left.split('/').collect(), right.split('/').collect());
            prop_assert_eq!(area(&left).contains(&area(&right)), of.starts_with(&segments));
        }
    }
}
