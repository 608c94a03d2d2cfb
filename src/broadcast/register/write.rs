//! Writes a register as it is read.

use super::read::NAME;
use super::{Register, Unit};
use serde::ser::{Serialize, SerializeMap, Serializer};

impl Register {
    /// A table that [`Register::from_csv`] reads back as the same register.
    pub fn to_csv(&self) -> String {
        let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
        let names = self.languages().iter().map(|language| format!("{NAME}{language}"));
        let header = std::iter::once("code".to_owned()).chain(names).chain(REST.map(str::to_owned));
        // Memory takes whatever is written, and every line has as many cells as the header.
        let mut whole = writer.write_record(header).is_ok();
        for unit in self.units() {
            let cells = self.cells(unit).into_iter().map(|(_, cell)| cell.unwrap_or_default());
            whole &= writer.write_record(cells).is_ok();
        }
        debug_assert!(whole);
        writer.into_inner().ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// An array that [`Register::from_json`] reads back as the same register.
    pub fn to_json(&self) -> String {
        let lines: Vec<String> =
            self.units().filter_map(|unit| serde_json::to_string(&Line { register: self, unit }).ok()).collect();
        format!("[\n{}\n]\n", lines.join(",\n"))
    }

    /// Column and cell, in the order of the header; `None` for what a unit does not have.
    fn cells(&self, unit: &Unit) -> Vec<(String, Option<String>)> {
        let name = |language: &String| {
            let name = unit.names.iter().find(|(named, _)| named == language).map(|(_, name)| name.clone());
            (format!("{NAME}{language}"), name)
        };
        let successors = unit.successors.iter().map(|area| area.as_str()).collect::<Vec<_>>().join(" ");
        let rest = [
            (!unit.kind.is_empty()).then(|| unit.kind.clone()),
            unit.zone.map(|zone| zone.name().to_owned()),
            unit.from.map(|date| date.to_string()),
            unit.until.map(|date| date.to_string()),
            (!successors.is_empty()).then_some(successors),
        ];
        let code = ("code".to_owned(), Some(unit.code.to_string()));
        let rest = REST.iter().map(|name| (*name).to_owned()).zip(rest);
        std::iter::once(code).chain(self.languages().iter().map(name)).chain(rest).collect()
    }
}

/// One unit as a JSON object. Names that it does not have are null: so the order of the languages stands in the first.
struct Line<'a> {
    register: &'a Register,
    unit: &'a Unit,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        for (column, cell) in self.register.cells(self.unit) {
            if column == "successors" {
                if !self.unit.successors.is_empty() {
                    map.serialize_entry(&column, &self.unit.successors)?;
                }
            } else if cell.is_some() || column.starts_with(NAME) {
                map.serialize_entry(&column, &cell)?;
            }
        }
        map.end()
    }
}

const REST: [&str; 5] = ["kind", "zone", "from", "until", "successors"];
