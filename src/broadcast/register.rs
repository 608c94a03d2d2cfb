//! The register of areas: what units there are, what people call them, which clock they live by, and what became
//! of those that merged. Areas are data: nothing here knows how deep a country is or where it lies.
//!
//! A register is read whole from CSV or JSON, checked whole, and then only asked. The same fields stand in both:
//!
//! | column or field | meaning |
//! |---|---|
//! | `code` | the area's path, such as `vn/01/00004`; each once |
//! | `parent` | may be left out: it follows from the code, and is refused where it says something else |
//! | `name:vi`, `name:en` … | what it is called, by language; the first language is the default |
//! | `kind` | a free word: country, city, province, commune, cluster |
//! | `zone` | an IANA time zone; left out, that of the nearest unit above that names one |
//! | `from`, `until` | `YYYY-MM-DD`: its first day, and the first day on which it is gone |
//! | `successors` | codes of the units that took over; in CSV with spaces between, in JSON an array |
//!
//! A code means one unit. Where a country gives an old code to a new unit, as Vietnam did in 2025 when Bắc Ninh took
//! the 24 of Bắc Giang, the path goes on and only its names change: whoever stood in it still does.

mod cover;
mod group;
mod names;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use cover::{MOST_AREAS, Reach};
pub(super) use cover::{layers, outermost};
pub use group::{Group, Groups, MOST_GROUPS, MOST_MEMBERS, Pick, Selection};
pub use names::fold;
pub(super) use read::day;

use super::area::Area;
use super::said::{At, Mistake, Mistakes, Said};
use chrono::NaiveDate;
use chrono_tz::Tz;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// One unit of the country.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    pub code: Area,
    /// Language and name; the first is the default. Never empty in a register.
    pub names: Vec<(String, String)>,
    /// A free word; may be empty.
    pub kind: String,
    pub zone: Option<Tz>,
    /// Its first day, where that is known.
    pub from: Option<NaiveDate>,
    /// The first day on which it is gone.
    pub until: Option<NaiveDate>,
    /// Who took over then: one where it merged, several where it was split.
    pub successors: Vec<Area>,
}

impl Unit {
    /// A unit with a code and one name, all else left out.
    pub fn new(code: Area, language: &str, name: &str) -> Self {
        let names = vec![(language.to_owned(), name.to_owned())];
        Self { code, names, kind: String::new(), zone: None, from: None, until: None, successors: Vec::new() }
    }

    /// What it is called in `language`, or else in the default one.
    pub fn name(&self, language: &str) -> &str {
        let named = self.names.iter().find(|(named, _)| named == language);
        named.or(self.names.first()).map_or(self.code.as_str(), |(_, name)| name)
    }

    pub fn is_there(&self, on: NaiveDate) -> bool {
        self.from.is_none_or(|from| from <= on) && self.until.is_none_or(|until| on < until)
    }
}

/// Units by code; see the module. The default is the empty one, which knows nothing and refuses no area.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    units: BTreeMap<Area, Unit>,
    /// Of each known unit that has any; in the order of their codes.
    children: BTreeMap<Area, Vec<Area>>,
    /// Who became part of a unit.
    predecessors: BTreeMap<Area, Vec<Area>>,
    /// Folded names.
    names: BTreeMap<String, Vec<Area>>,
    languages: Vec<String>,
    zone: Tz,
}

/// Why an area cannot be spoken to on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotThere {
    /// The codes that were probably meant, best first.
    Unknown {
        area: Area,
        near: Vec<Area>,
    },
    /// `unit` is the area, or what it lies in.
    Ceased {
        unit: Area,
        since: NaiveDate,
        successors: Vec<Area>,
    },
    NotYet {
        unit: Area,
        from: NaiveDate,
    },
}

impl NotThere {
    /// `area.unknown`, `area.ceased` or `area.not_yet`.
    pub fn said(&self) -> Said {
        match self {
            Self::Unknown { area, near } => Said::new("area.unknown", [area, &list(near)]),
            Self::Ceased { unit, since, successors } => Said::new("area.ceased", [unit, since, &list(successors)]),
            Self::NotYet { unit, from } => Said::new("area.not_yet", [unit, from]),
        }
    }
}

impl Default for Register {
    fn default() -> Self {
        Self {
            units: BTreeMap::new(),
            children: BTreeMap::new(),
            predecessors: BTreeMap::new(),
            names: BTreeMap::new(),
            languages: Vec::new(),
            zone: chrono_tz::Asia::Ho_Chi_Minh,
        }
    }
}

impl Register {
    /// Checks every unit against the others. Languages are in the order in which units first name them; each unit's
    /// names are put in that order.
    pub fn new(units: Vec<Unit>) -> Result<Self, Vec<Mistake>> {
        let mut languages: Vec<String> = Vec::new();
        for (language, _) in units.iter().flat_map(|unit| &unit.names) {
            if !languages.contains(language) && languages.len() < MOST_LANGUAGES {
                languages.push(language.clone());
            }
        }
        let units = units.into_iter().zip(1..).map(|(unit, item)| (At::Item(item), unit)).collect();
        Self::build(units, languages, Mistakes::default())
    }

    /// The zone of areas above which no unit names one; Asia/Ho_Chi_Minh unless this is called.
    pub fn with_zone(mut self, zone: Tz) -> Self {
        self.zone = zone;
        self
    }

    pub fn len(&self) -> usize {
        self.units.len()
    }

    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// Default first.
    pub fn languages(&self) -> &[String] {
        &self.languages
    }

    /// In the order of their codes.
    pub fn units(&self) -> impl Iterator<Item = &Unit> {
        self.units.values()
    }

    pub fn unit(&self, area: &Area) -> Option<&Unit> {
        self.units.get(area)
    }

    /// The unit itself, or the nearest that contains it.
    pub fn nearest(&self, area: &Area) -> Option<&Unit> {
        area.lineage().find_map(|at| self.units.get(at))
    }

    /// One level down, in the order of their codes, those that are gone too.
    pub fn children(&self, area: &Area) -> impl Iterator<Item = &Unit> {
        self.children.get(area).into_iter().flatten().filter_map(|code| self.units.get(code))
    }

    /// Everything that lies in it, at any depth, without itself.
    pub fn beneath(&self, area: &Area) -> impl Iterator<Item = &Unit> {
        // '0' follows '/' in ASCII, so nothing but what lies in the area sorts between the two.
        let (first, end) = (format!("{area}/"), format!("{area}0"));
        let range = (Bound::Included(first.as_str()), Bound::Excluded(end.as_str()));
        self.units.range::<str, _>(range).map(|(_, unit)| unit)
    }

    /// Units that became part of this one.
    pub fn predecessors(&self, area: &Area) -> &[Area] {
        self.predecessors.get(area).map_or(&[], Vec::as_slice)
    }

    /// By which clock an area lives; also one deeper than the register knows.
    pub fn zone(&self, area: &Area) -> Tz {
        area.lineage().find_map(|at| self.units.get(at)?.zone).unwrap_or(self.zone)
    }

    /// Whether an area was ever there, or lies deeper than the register goes.
    pub fn knows(&self, area: &Area) -> bool {
        match self.nearest(area) {
            Some(unit) => unit.code == *area || !self.children.contains_key(&unit.code),
            None => self.units.is_empty(),
        }
    }

    /// Whether an area is there on a day: it and all that contains it. Where the register knows some parts of a unit,
    /// another part is unknown; where it knows none, it does not go that deep, and takes any. Gives the nearest unit
    /// that it knows.
    pub fn resolve(&self, area: &Area, on: NaiveDate) -> Result<Option<&Unit>, NotThere> {
        let nearest = self.nearest(area);
        if !self.knows(area) {
            return Err(NotThere::Unknown { area: area.clone(), near: self.near(area, on) });
        }
        for unit in area.lineage().filter_map(|at| self.units.get(at)) {
            if let Some(since) = unit.until.filter(|until| *until <= on) {
                let successors = unit.successors.clone();
                return Err(NotThere::Ceased { unit: unit.code.clone(), since, successors });
            }
            if let Some(from) = unit.from.filter(|from| on < *from) {
                return Err(NotThere::NotYet { unit: unit.code.clone(), from });
            }
        }
        Ok(nearest)
    }

    /// Who stands for a unit on a day: itself while it is there, then its successors, theirs once they are gone, and so
    /// on. Empty where a unit was given up without any.
    pub fn heirs(&self, area: &Area, on: NaiveDate) -> Vec<Area> {
        let mut heirs = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut open = vec![area.clone()];
        while let Some(area) = open.pop() {
            if !seen.insert(area.clone()) {
                continue;
            }
            match self.units.get(&area).filter(|unit| unit.until.is_some_and(|until| until <= on)) {
                Some(gone) => open.extend(gone.successors.iter().cloned()),
                None => drop(heirs.insert(area)),
            }
        }
        heirs.into_iter().collect()
    }

    /// Puts read units together; `mistakes` are those of reading.
    fn build(units: Vec<(At, Unit)>, languages: Vec<String>, mut mistakes: Mistakes) -> Result<Self, Vec<Mistake>> {
        if units.len() > MOST_UNITS {
            mistakes.add(At::Whole, "", Said::new("read.many", [&units.len(), &MOST_UNITS]));
            return mistakes.or(Self::default());
        }
        let mut register = Self { languages, ..Self::default() };
        let mut places: BTreeMap<Area, At> = BTreeMap::new();
        let rank = |languages: &[String], language: &str| languages.iter().position(|known| known == language);
        for (at, mut unit) in units {
            if let Some(before) = places.get(&unit.code) {
                mistakes.add(at, "code", Said::new("area.twice", [&unit.code, &place(*before)]));
                continue;
            }
            places.insert(unit.code.clone(), at);
            unit.names.sort_by_key(|(language, _)| rank(&register.languages, language));
            register.units.insert(unit.code.clone(), unit);
        }
        for (code, at) in &places {
            if let Some(unit) = register.units.get(code) {
                register.check(*at, unit, &mut mistakes);
            }
        }
        mistakes.or(())?;
        if register.units.is_empty() {
            // Nobody speaks them.
            register.languages.clear();
        }
        for unit in register.units.values() {
            if let Some(parent) = unit.code.parent().filter(|parent| register.units.contains_key(parent)) {
                register.children.entry(parent).or_default().push(unit.code.clone());
            }
            for successor in &unit.successors {
                register.predecessors.entry(successor.clone()).or_default().push(unit.code.clone());
            }
            let folded: BTreeSet<_> = unit.names.iter().map(|(_, name)| fold(name)).collect();
            for name in folded {
                register.names.entry(name).or_default().push(unit.code.clone());
            }
        }
        Ok(register)
    }

    fn check(&self, at: At, unit: &Unit, mistakes: &mut Mistakes) {
        let mut wrong = |field: &str, said: Said| mistakes.add(at, field, said);
        if unit.names.is_empty() {
            wrong("name", Said::new("area.nameless", [&unit.code]));
        }
        if let Some(parent) = unit.code.parent()
            && !self.units.contains_key(&parent)
            && self.nearest(&parent).is_some()
        {
            wrong("code", Said::new("area.orphan", [&unit.code, &parent]));
        }
        if let (Some(from), Some(until)) = (unit.from, unit.until)
            && until <= from
        {
            wrong("until", Said::new("area.dates", [&unit.code, &until, &from]));
        }
        if !unit.successors.is_empty() && unit.until.is_none() {
            wrong("until", Said::new("area.still_there", [&unit.code]));
        }
        if unit.successors.len() > MOST_SUCCESSORS {
            wrong("successors", Said::new("read.many", [&unit.successors.len(), &MOST_SUCCESSORS]));
        }
        for successor in unit.successors.iter().take(MOST_SUCCESSORS) {
            if *successor == unit.code {
                wrong("successors", Said::new("area.own_successor", [&unit.code]));
            } else if !self.units.contains_key(successor) {
                wrong("successors", Said::new("area.successor", [successor]));
            }
        }
    }
}

fn place(at: At) -> String {
    match at {
        At::Whole => "the register".to_owned(),
        At::Line(line) => format!("line {line}"),
        At::Item(item) => format!("item {item}"),
    }
}

/// Areas in a sentence.
pub(super) fn list(areas: &[Area]) -> String {
    match areas {
        [] => "-".to_owned(),
        _ => areas.iter().map(Area::as_str).collect::<Vec<_>>().join(", "),
    }
}

/// Of a country of 150,000 clusters and 3,400 communes, with a fifth more for those that are gone.
pub const MOST_UNITS: usize = 200_000;
/// A register of so many units, each with a line of 300 bytes.
pub const MOST_BYTES: usize = 64 << 20;
/// More than are official in any country.
pub const MOST_LANGUAGES: usize = 64;
/// Of one unit; a province is split into a few.
pub const MOST_SUCCESSORS: usize = 64;
