//! Groups: sets of areas with a name, such as the coast. What people choose becomes areas here.

use super::cover::Reach;
use super::{NotThere, Register};
use crate::broadcast::Area;
use crate::broadcast::said::{At, Mistake, Mistakes, Said, quoted};
use chrono::NaiveDate;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// An area, or a group by its name with an `@` before it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pick {
    Area(Area),
    Group(String),
}

/// What somebody chose: these, without those.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    pub areas: Vec<Pick>,
    #[serde(default)]
    pub except: Vec<Pick>,
}

/// A selection with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    pub name: String,
    pub areas: Vec<Pick>,
    #[serde(default)]
    pub except: Vec<Pick>,
}

/// Groups by name, of which none contains itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups(BTreeMap<String, Group>);

impl Groups {
    /// Checks names, what the groups name, and that none contains itself.
    pub fn new(groups: Vec<Group>) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Mistakes::default();
        if groups.len() > MOST_GROUPS {
            mistakes.add(At::Whole, "", Said::new("read.many", [&groups.len(), &MOST_GROUPS]));
            return mistakes.or(Self::default());
        }
        let mut known = Self::default();
        for (group, item) in groups.into_iter().zip(1..) {
            let at = At::Item(item);
            if !is_name(&group.name) {
                mistakes.add(at, "name", Said::new("group.name", [&quoted(&group.name)]));
            }
            let members = group.areas.len() + group.except.len();
            if members > MOST_MEMBERS {
                mistakes.add(at, "areas", Said::new("read.many", [&members, &MOST_MEMBERS]));
            }
            if group.areas.is_empty() {
                mistakes.add(at, "areas", Said::new("read.missing", [&"[\"vn/01\"]"]));
            }
            if known.0.contains_key(&group.name) {
                mistakes.add(at, "name", Said::new("group.twice", [&quoted(&group.name)]));
            } else {
                known.0.insert(group.name.clone(), group);
            }
        }
        known.check(&mut mistakes);
        mistakes.or(known)
    }

    pub fn get(&self, name: &str) -> Option<&Group> {
        self.0.get(name)
    }

    /// By name.
    pub fn iter(&self) -> impl Iterator<Item = &Group> {
        self.0.values()
    }

    fn check(&self, mistakes: &mut Mistakes) {
        for group in self.0.values() {
            for (field, picks) in [("areas", &group.areas), ("except", &group.except)] {
                for pick in picks {
                    if let Pick::Group(name) = pick
                        && !self.0.contains_key(name)
                    {
                        let field = format!("{}.{field}", group.name);
                        mistakes.add(At::Whole, &field, self.unknown(name));
                    }
                }
            }
        }
        // Whatever names only groups that are done is done; what is never done goes round in a circle.
        let mut done: BTreeSet<&str> = BTreeSet::new();
        loop {
            let before = done.len();
            for (name, group) in &self.0 {
                if self.named(group).all(|inner| done.contains(inner)) {
                    done.insert(name);
                }
            }
            if done.len() == before {
                break;
            }
        }
        for (name, group) in &self.0 {
            // Told of those that really come back to themselves, not of those that only name one that does.
            if !done.contains(name.as_str())
                && let Some(by) = self.named(group).find(|inner| self.reaches(inner, name))
            {
                mistakes.add(At::Whole, name, Said::new("group.cycle", [name, &format!("@{by}")]));
            }
        }
    }

    /// The known groups that a group names.
    fn named<'a>(&'a self, group: &'a Group) -> impl Iterator<Item = &'a str> {
        group.areas.iter().chain(&group.except).filter_map(|pick| match pick {
            Pick::Group(name) if self.0.contains_key(name) => Some(name.as_str()),
            _ => None,
        })
    }

    fn reaches(&self, from: &str, to: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![from];
        while let Some(name) = open.pop() {
            if name == to {
                return true;
            }
            if seen.insert(name)
                && let Some(group) = self.0.get(name)
            {
                open.extend(self.named(group));
            }
        }
        false
    }

    fn unknown(&self, name: &str) -> Said {
        let known: Vec<String> = self.0.keys().take(MOST_TOLD).map(|name| format!("@{name}")).collect();
        let known = if known.is_empty() { "-".to_owned() } else { known.join(", ") };
        Said::new("group.unknown", [&name, &known])
    }
}

impl Register {
    /// What a selection means on a day: the fewest areas, and what is left out of them. Every area that is not there
    /// is told. The groups' areas are asked for too, so that one that merged does not fall silent unseen.
    pub fn expand(&self, groups: &Groups, selection: &Selection, on: NaiveDate) -> Result<Reach, Vec<Said>> {
        let mut sets = BTreeMap::new();
        let mut wrong = BTreeSet::new();
        let all = Group { name: String::new(), areas: selection.areas.clone(), except: selection.except.clone() };
        // A group before those that name it; each is worked out once, however often it is named.
        let mut open = vec![(&all, false)];
        while let Some((group, ready)) = open.pop() {
            if sets.contains_key(group.name.as_str()) {
                continue;
            }
            if !ready {
                open.push((group, true));
                let inner = groups.named(group).filter_map(|name| groups.get(name));
                open.extend(inner.filter(|inner| !sets.contains_key(inner.name.as_str())).map(|inner| (inner, false)));
                continue;
            }
            match self.set(groups, group, &sets, on) {
                Ok(reach) => drop(sets.insert(group.name.as_str(), reach)),
                Err(said) => {
                    wrong.extend(said);
                    sets.insert(group.name.as_str(), Reach::default());
                }
            }
        }
        if !wrong.is_empty() {
            return Err(wrong.into_iter().collect());
        }
        match sets.remove("") {
            Some(reach) if !reach.areas.is_empty() => Ok(reach),
            _ => Err(vec![Said::new("group.empty", [])]),
        }
    }

    /// One group, those that it names being known.
    fn set(
        &self,
        groups: &Groups,
        group: &Group,
        sets: &BTreeMap<&str, Reach>,
        on: NaiveDate,
    ) -> Result<Reach, Vec<Said>> {
        let mut wrong = Vec::new();
        let mut of = |picks: &[Pick]| {
            let mut reaches = Vec::new();
            for pick in picks {
                match pick {
                    Pick::Area(area) => match self.resolve(area, on) {
                        Ok(_) => reaches.push(Reach { areas: vec![area.clone()], except: Vec::new() }),
                        Err(not_there) => wrong.push(not_there),
                    },
                    // One that is not known is told below.
                    Pick::Group(name) => reaches.extend(sets.get(name.as_str()).cloned()),
                }
            }
            reaches
        };
        let (with, without) = (of(&group.areas), of(&group.except));
        let unknown = group.areas.iter().chain(&group.except).filter_map(|pick| match pick {
            Pick::Group(name) if groups.get(name).is_none() => Some(groups.unknown(name)),
            _ => None,
        });
        let wrong: Vec<Said> = unknown.chain(wrong.iter().map(NotThere::said)).collect();
        if !wrong.is_empty() {
            return Err(wrong);
        }
        self.without(&with, &without, on).map_err(|said| vec![said])
    }
}

fn is_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= MOST_NAME
        && name.bytes().next().is_some_and(letter)
        && name.bytes().all(|byte| letter(byte) || byte == b'-')
}

impl FromStr for Pick {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix('@') {
            Some(name) if is_name(name) => Ok(Self::Group(name.to_owned())),
            Some(name) => Err(Said::new("group.name", [&quoted(name)]).to_string()),
            None => text.parse().map(Self::Area),
        }
    }
}

impl fmt::Display for Pick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Area(area) => area.fmt(f),
            Self::Group(name) => write!(f, "@{name}"),
        }
    }
}

impl Serialize for Pick {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pick {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// Of one node; a country has provinces, regions and coasts, not thousands of sets.
pub const MOST_GROUPS: usize = 1_000;
/// Of one group, areas and exceptions: every commune of a country.
pub const MOST_MEMBERS: usize = 4_096;
const MOST_NAME: usize = 64;
/// Of the groups, where one is not known.
const MOST_TOLD: usize = 10;
