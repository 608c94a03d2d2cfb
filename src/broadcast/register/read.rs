//! Reads a register: rows of named fields, out of a table or out of JSON, and units out of rows.

use super::{MOST_BYTES, MOST_LANGUAGES, MOST_SUCCESSORS, MOST_UNITS, Register, Unit};
use crate::broadcast::Area;
use crate::broadcast::said::{At, Mistake, Mistakes, Said, foreign, quoted};
use chrono::NaiveDate;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;

impl Register {
    /// Reads a table: UTF-8, the first line names the columns, cells with a comma in them stand between double quotes
    /// (RFC 4180). What spreadsheets make of that is taken too: a byte order mark, semicolons or tabs for commas.
    pub fn from_csv(bytes: &[u8]) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Mistakes::default();
        let Some(text) = text(bytes, &mut mistakes) else { return mistakes.or(Self::default()) };
        let mut reader =
            csv::ReaderBuilder::new().flexible(true).delimiter(delimiter(text)).from_reader(text.as_bytes());
        let mut rows = Vec::new();
        let columns = match reader.headers() {
            Ok(header) => columns(header.iter(), &mut mistakes),
            Err(error) => {
                mistakes.add(At::Line(1), "", Said::new("read.csv", [&error]));
                Vec::new()
            }
        };
        if !columns.iter().any(|name| name == "code") {
            return mistakes.or(Self::default());
        }
        for record in reader.records() {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    let line = error.position().map_or(0, csv::Position::line);
                    mistakes.add(At::Line(line), "", Said::new("read.csv", [&error]));
                    continue;
                }
            };
            let at = At::Line(record.position().map_or(0, csv::Position::line));
            if record.iter().all(|cell| cell.trim().is_empty()) {
                continue;
            }
            if record.len() != columns.len() {
                mistakes.add(at, "", Said::new("read.cells", [&record.len(), &columns.len()]));
                continue;
            }
            if rows.len() > MOST_UNITS {
                break;
            }
            let cells = record.iter().map(|cell| cell.trim().to_owned());
            let fields = columns.iter().cloned().zip(cells).filter(|(_, cell)| !cell.is_empty()).collect();
            rows.push(Row { at, fields });
        }
        let languages = languages(columns.iter().map(String::as_str));
        Self::of_rows(rows, languages, mistakes)
    }

    /// Reads an array of objects with the same fields as a table has columns; `successors` may be an array.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Mistakes::default();
        let Some(text) = text(bytes, &mut mistakes) else { return mistakes.or(Self::default()) };
        let elements: Vec<Element> = match serde_json::from_str(text) {
            Ok(elements) => elements,
            Err(error) => {
                // A text that is JSON, but no array, says what is needed instead.
                let said = match serde_json::from_str::<serde::de::IgnoredAny>(text) {
                    Ok(_) => Said::new("read.array", []),
                    Err(_) => Said::new("read.json", [&error]),
                };
                mistakes.add(At::Line(error.line() as u64), "", said);
                return mistakes.or(Self::default());
            }
        };
        if let Some(Element::Object(fields)) = elements.first()
            && let Some(names) = foreign(fields.iter().map(|(field, _)| field.as_str()), is_column)
        {
            mistakes.add(At::Item(1), "", Said::new("read.foreign", [&names, &KNOWN]));
            return mistakes.or(Self::default());
        }
        let mut rows = Vec::new();
        let mut spoken = Vec::new();
        for (element, item) in elements.into_iter().zip(1..).take(MOST_UNITS + 1) {
            let at = At::Item(item);
            let Element::Object(fields) = element else {
                mistakes.add(at, "", Said::new("read.object", []));
                continue;
            };
            let mut row = Row { at, fields: Vec::new() };
            for (field, value) in fields {
                if !is_column(&field) {
                    mistakes.add(at, &field, Said::new("read.column", [&quoted(&field), &KNOWN]));
                    continue;
                }
                if row.fields.iter().any(|(known, _)| *known == field) {
                    mistakes.add(at, &field, Said::new("read.twice", [&quoted(&field)]));
                    continue;
                }
                if let Some(language) = field.strip_prefix(NAME)
                    && !spoken.iter().any(|known| known == language)
                {
                    spoken.push(language.to_owned());
                }
                match cell(&field, &value) {
                    Some(cell) if cell.is_empty() => {}
                    Some(cell) => row.fields.push((field, cell)),
                    None => {
                        let said = Said::new("read.kind", [&quoted(&value.to_string()), &"a text", &"\"vn/01\""]);
                        mistakes.add(at, &field, said);
                    }
                }
            }
            rows.push(row);
        }
        Self::of_rows(rows, spoken, mistakes)
    }

    fn of_rows(rows: Vec<Row>, languages: Vec<String>, mut mistakes: Mistakes) -> Result<Self, Vec<Mistake>> {
        if languages.len() > MOST_LANGUAGES {
            mistakes.add(At::Whole, "name", Said::new("read.many", [&languages.len(), &MOST_LANGUAGES]));
        }
        let units = rows.iter().filter_map(|row| Some((row.at, row.unit(&mut mistakes)?))).collect();
        Self::build(units, languages, mistakes)
    }
}

/// The fields of one unit that are not empty.
struct Row {
    at: At,
    fields: Vec<(String, String)>,
}

impl Row {
    fn has(&self, field: &str) -> bool {
        self.fields.iter().any(|(known, _)| known == field)
    }

    fn read(&self, field: &str, mistakes: &mut Mistakes) -> Option<&str> {
        let (_, text) = self.fields.iter().find(|(known, _)| known == field)?;
        let most = if field == "successors" { MOST_LIST } else { MOST_TEXT };
        if text.len() > most {
            mistakes.add(self.at, field, Said::new("read.long", [&text.len(), &most]));
            return None;
        }
        if text.chars().any(char::is_control) {
            mistakes.add(self.at, field, Said::new("read.control", [&quoted(text)]));
            return None;
        }
        Some(text)
    }

    fn date(&self, field: &str, mistakes: &mut Mistakes) -> Option<NaiveDate> {
        let text = self.read(field, mistakes)?;
        let date = day(text);
        if date.is_none() {
            mistakes.add(self.at, field, Said::new("read.kind", [&quoted(text), &"a date", &"2025-07-01"]));
        }
        date
    }

    /// `None` where there is no code to speak of; other fields that are wrong are told and left out.
    fn unit(&self, mistakes: &mut Mistakes) -> Option<Unit> {
        if !self.has("code") {
            mistakes.add(self.at, "code", Said::new("read.missing", [&"vn/01/00004"]));
        }
        let code: Area = match self.read("code", mistakes)?.parse() {
            Ok(code) => code,
            Err(error) => {
                mistakes.add(self.at, "code", Said::new("area.path", [&error]));
                return None;
            }
        };
        if let Some(parent) = self.read("parent", mistakes)
            && code.parent().is_none_or(|known| known.as_str() != parent)
        {
            let known = code.parent().map_or("nothing".to_owned(), |parent| parent.to_string());
            mistakes.add(self.at, "parent", Said::new("area.parent", [&code, &known, &quoted(parent)]));
        }
        let mut names = Vec::new();
        for (field, _) in &self.fields {
            if let Some(language) = field.strip_prefix(NAME) {
                // A name that was wrong has been told; the unit isn't nameless for that.
                let name = self.read(field, mistakes).unwrap_or_default();
                names.push((language.to_owned(), name.to_owned()));
            }
        }
        let zone = self.read("zone", mistakes).and_then(|zone| {
            let known = zone.parse().ok();
            if known.is_none() {
                mistakes.add(self.at, "zone", Said::new("area.zone", [&quoted(zone)]));
            }
            known
        });
        let (from, until) = (self.date("from", mistakes), self.date("until", mistakes));
        let mut successors = Vec::new();
        for successor in self.read("successors", mistakes).unwrap_or_default().split_whitespace() {
            match successor.parse() {
                Ok(successor) => successors.push(successor),
                Err(error) => mistakes.add(self.at, "successors", Said::new("area.path", [&error])),
            }
        }
        let kind = self.read("kind", mistakes).unwrap_or_default().to_owned();
        Some(Unit { code, names, kind, zone, from, until, successors })
    }
}

/// A day as this program writes it, in years that have four digits.
pub(in crate::broadcast) fn day(text: &str) -> Option<NaiveDate> {
    let digits =
        |at: std::ops::Range<usize>| text.get(at).filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    if text.len() != 10 || text.get(4..5) != Some("-") || text.get(7..8) != Some("-") {
        return None;
    }
    let (year, month, day) = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
    NaiveDate::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)
}

/// The whole of it, without a byte order mark.
pub(in crate::broadcast) fn text<'a>(bytes: &'a [u8], mistakes: &mut Mistakes) -> Option<&'a str> {
    if bytes.len() > MOST_BYTES {
        mistakes.add(At::Whole, "", Said::new("read.size", [&bytes.len(), &MOST_BYTES]));
        return None;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            let at = error.valid_up_to();
            let line = 1 + bytes.iter().take(at).filter(|byte| **byte == b'\n').count() as u64;
            mistakes.add(At::Line(line), "", Said::new("read.utf8", [&(at + 1)]));
            None
        }
    }
}

/// Of the three that spreadsheets write, the one that the first line has most of.
fn delimiter(text: &str) -> u8 {
    let header = text.lines().next().unwrap_or_default();
    let count = |delimiter: &u8| header.bytes().filter(|byte| byte == delimiter).count();
    // The last of equals wins, so a comma where nothing tells.
    [b'\t', b';', b','].into_iter().max_by_key(count).unwrap_or(b',')
}

/// Names of the columns; one that is wrong keeps its place.
fn columns<'a>(header: impl Iterator<Item = &'a str>, mistakes: &mut Mistakes) -> Vec<String> {
    let columns: Vec<String> = header.map(|name| name.trim().to_owned()).collect();
    if !columns.iter().any(|name| name == "code") {
        mistakes.add(
            At::Line(1),
            "",
            Said::new("read.header", [&"code,name:vi,name:en,kind,zone,from,until,successors"]),
        );
        return columns;
    }
    for (at, name) in columns.iter().enumerate() {
        if !is_column(name) {
            mistakes.add(At::Line(1), name, Said::new("read.column", [&quoted(name), &KNOWN]));
        } else if columns.iter().take(at).any(|before| before == name) {
            mistakes.add(At::Line(1), name, Said::new("read.twice", [&quoted(name)]));
        }
    }
    columns
}

fn languages<'a>(columns: impl Iterator<Item = &'a str>) -> Vec<String> {
    columns.filter_map(|name| name.strip_prefix(NAME)).map(str::to_owned).collect()
}

fn is_column(name: &str) -> bool {
    match name.strip_prefix(NAME) {
        // As language tags are written (BCP 47).
        Some(tag) => {
            (2..=35).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        }
        None => COLUMNS.contains(&name),
    }
}

/// A JSON value as a table would have it.
fn cell(field: &str, value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Null => Some(String::new()),
        Value::Array(values) if field == "successors" => {
            let texts: Option<Vec<&str>> = values.iter().map(Value::as_str).collect();
            texts.map(|texts| texts.join(" "))
        }
        _ => None,
    }
}

/// An object's fields in the order in which they stand: it tells which language is the default.
enum Element {
    Object(Vec<(String, Value)>),
    Other,
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Elements)
    }
}

struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = Element;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Element, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            if fields.len() <= MOST_FIELDS {
                fields.push(field);
            }
        }
        Ok(Element::Object(fields))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Element, A::Error> {
        while list.next_element::<serde::de::IgnoredAny>()?.is_some() {}
        Ok(Element::Other)
    }

    fn visit_unit<E>(self) -> Result<Element, E> {
        Ok(Element::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Element, E> {
        Ok(Element::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Element, E> {
        Ok(Element::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Element, E> {
        Ok(Element::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Element, E> {
        Ok(Element::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Element, E> {
        Ok(Element::Other)
    }
}

pub(super) const NAME: &str = "name:";
pub(super) const COLUMNS: &[&str] = &["code", "parent", "kind", "zone", "from", "until", "successors"];
const KNOWN: &str = "code, parent, name:vi, name:en, kind, zone, from, until, successors";
/// Bytes of a name or a kind: a long name of a unit in any script.
const MOST_TEXT: usize = 200;
/// Bytes of a list of successors: all of them, of the longest codes.
const MOST_LIST: usize = MOST_SUCCESSORS * 129;
/// Of one object: every column, and every language.
const MOST_FIELDS: usize = COLUMNS.len() + MOST_LANGUAGES;
