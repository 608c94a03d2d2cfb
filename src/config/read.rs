//! From text to a typed configuration, past every mistake on the way.
//!
//! Serde tells one mistake at a time and stops. So whatever it refuses is taken out of the parsed document, or
//! stood in for where it is required, and the rest is read again: the types of [`Config`] stay the only list of
//! fields, and everything that is wrong is told at once.
use super::mistake::Mistake;
use super::page::{Page, named};
use super::{Config, words};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue, Deserializer, Error};

/// A text as far as it could be read.
pub struct Reading<'a> {
    page: &'a Page<'a>,
    root: DeTable<'a>,
    /// Fields and sections that were refused: nothing more is said of them, and nothing is concluded from them.
    broken: BTreeSet<String>,
    /// What cannot be parsed may have been anything.
    garbled: bool,
    pub mistakes: Vec<Mistake>,
}

impl<'a> Reading<'a> {
    /// The configuration with stand-ins for what was refused; `None` when nothing can be stood in.
    pub fn new(page: &'a Page<'a>) -> (Self, Option<Config>) {
        let (root, errors) = DeTable::parse_recoverable(page.text);
        let mistakes = errors.iter().take(MOST).map(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            page.at(offset, "config.syntax", &page.field(offset), words::syntax(error.message()))
        });
        let mistakes: Vec<Mistake> = mistakes.collect();
        let garbled = !mistakes.is_empty();
        let mut reading = Self { page, root: root.into_inner(), broken: BTreeSet::new(), garbled, mistakes };
        let config = reading.read();
        (reading, config)
    }

    /// Whether a field or section (`table.key`, `table`) means what is written.
    pub fn is_sound(&self, field: &str) -> bool {
        !self.garbled && !self.broken.contains(field)
    }

    /// Whether any section was refused, and may have been meant as another.
    pub fn all_sections_sound(&self) -> bool {
        !self.garbled && self.broken.iter().all(|field| field.contains('.'))
    }

    /// Where a field stands; its section, or the start, if it is not written.
    pub fn place(&self, table: &str, key: &str) -> usize {
        let Some(section) = self.root.get(table) else { return self.page.find(table, key) };
        let entry = section.get_ref().as_table().and_then(|table| table.get_key_value(key));
        entry.map_or(section.span().start, |(key, _)| key.span().start)
    }

    /// What is wrong with a field that reads well, unless it was refused before.
    pub fn wrong(&mut self, code: &'static str, table: &str, key: &str, said: super::mistake::Said) {
        let field = named(table, key);
        if self.mistakes.len() < MOST && !self.broken.contains(&field) && !self.broken.contains(table) {
            self.mistakes.push(self.page.at(self.place(table, key), code, &field, said));
        }
    }

    fn read(&mut self) -> Option<Config> {
        // Each round tells one mistake, or stands in for what one left open.
        for _ in 0..2 * MOST {
            let root = Spanned::new(0..0, self.root.clone());
            match Config::deserialize(Deserializer::from(root)) {
                Ok(config) => return Some(config),
                Err(_) if self.mistakes.len() >= MOST => return None,
                Err(error) if error.message().starts_with("missing field") => self.stand_in(&error)?,
                Err(error) => self.take_out(&error)?,
            }
        }
        None
    }

    /// Tells of a required field that is missing, and gives it a value that nothing is wrong with.
    fn stand_in(&mut self, error: &Error) -> Option<()> {
        let missing = error.message().split('`').nth(1)?.to_owned();
        let span = error.span().unwrap_or_default();
        let within = self.root.iter().find(|(_, value)| value.span() == span && value.get_ref().is_table());
        let section = within.map(|(name, _)| name.get_ref().to_string());
        let path = section.as_ref().map_or(missing.clone(), |section| format!("{section}.{missing}"));
        // What cannot be parsed may be what is missing.
        if !self.garbled && self.broken.insert(path.clone()) {
            self.mistakes.push(match &section {
                Some(section) => self.page.refused(error, span.start, &named(section, "")),
                None => self.page.missing(&missing),
            });
        }
        let (_, value) = STAND_INS.iter().find(|(field, _)| *field == path)?;
        // Where nothing that is written stands.
        let nowhere = self.page.text.len() + 1;
        let value = Spanned::new(nowhere..nowhere, DeValue::parse(value).ok()?.into_inner());
        let key = Spanned::new(nowhere..nowhere, DeString::Owned(missing));
        match section {
            Some(section) => match self.root.get_mut(section.as_str())?.get_mut() {
                DeValue::Table(table) => table.insert(key, value),
                _ => return None,
            },
            None => self.root.insert(key, value),
        };
        Some(())
    }

    /// Tells of a field or section that is not known or not of its type, and takes it out.
    fn take_out(&mut self, error: &Error) -> Option<()> {
        let at = error.span().map_or(0, |span| span.start);
        let Some((section, key)) = self.entry(at) else {
            self.mistakes.push(self.page.refused(error, at, &self.page.field(at)));
            return None;
        };
        let is_table = |name: &str| self.root.get(name).is_some_and(|value| value.get_ref().is_table());
        if key.is_none() && error.message().starts_with("unknown field") && is_table(&section) {
            return self.rename(error.message(), at, &section);
        }
        let (path, field) = match &key {
            Some(key) => (format!("{section}.{key}"), named(&section, key)),
            None => (section.clone(), section.clone()),
        };
        self.broken.insert(path);
        let mistake = self.page.refused(error, at, &field);
        // The same line garbled is one mistake.
        if !self.mistakes.iter().any(|told| told.code == "config.syntax" && told.line == mistake.line) {
            self.mistakes.push(mistake);
        }
        match key {
            None => self.root.remove(section.as_str()).map(drop),
            Some(key) => match self.root.get_mut(section.as_str())?.get_mut() {
                DeValue::Table(table) => table.remove(key.as_str()).map(drop),
                _ => None,
            },
        }
    }

    /// Tells of a section that is not known. What stands in it is read as the one that it was probably meant as.
    fn rename(&mut self, message: &str, at: usize, section: &str) -> Option<()> {
        let (said, near) = words::section(message);
        self.mistakes.push(self.page.place(at, "config.unknown_field", section, said));
        let (key, value) = self.root.remove_entry(section)?;
        match near.filter(|near| !self.root.contains_key(*near)) {
            Some(near) => {
                let key = Spanned::new(key.span(), DeString::Owned(near.to_owned()));
                self.root.insert(key, value);
            }
            None => drop(self.broken.insert(section.to_owned())),
        }
        Some(())
    }

    /// Section, and key within it, of what stands at `offset`.
    fn entry(&self, offset: usize) -> Option<(String, Option<String>)> {
        let holds = |span: Range<usize>| span.contains(&offset) || span.start == offset;
        let mut whole = None;
        for (name, value) in &self.root {
            if let DeValue::Table(table) = value.get_ref() {
                let within = table.iter().find(|(key, value)| holds(key.span()) || holds(value.span()));
                if let Some((key, _)) = within {
                    return Some((name.get_ref().to_string(), Some(key.get_ref().to_string())));
                }
            }
            if whole.is_none() && (holds(name.span()) || holds(value.span())) {
                whole = Some((name.get_ref().to_string(), None));
            }
        }
        whole
    }
}

/// Mistakes told at once: beyond them the file is another one, or generated.
pub const MOST: usize = 64;
/// For every field that is required: a value that no rule objects to.
pub const STAND_INS: &[(&str, &str)] = &[
    ("node", "{ data = \"data\" }"),
    ("node.data", "\"data\""),
    ("enrol.ticket", "\"00\""),
    ("parent.addresses", "[\"localhost:7460\"]"),
    ("sources.authority", "\"main\""),
    ("playout.device", "\"null\""),
    ("telemetry.otlp", "\"http://127.0.0.1:4318\""),
];
