//! A path in the tree of administrative units.
use std::str::FromStr;
use std::sync::Arc;

/// 1–8 segments `[a-z0-9][a-z0-9-]{0,31}` joined by `/`, at most 128 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Area(Arc<str>);

impl Area {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whole segments: `vn/01` contains itself and `vn/01/00004`, not `vn/011`.
    pub fn contains(&self, _other: &Area) -> bool {
        todo!()
    }

    /// One contains the other: what is said to this area concerns a node that serves `other`.
    pub fn touches(&self, other: &Area) -> bool {
        self.contains(other) || other.contains(self)
    }
}

impl FromStr for Area {
    type Err = String;
    /// The error says which rule the text breaks and how to mend it.
    fn from_str(_text: &str) -> Result<Self, String> {
        todo!()
    }
}

impl std::fmt::Display for Area {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
