//! Where a mistake stands in a configuration text: file, line, field and mend. Whoever reads a TOML file of its
//! own says its mistakes in the same way.
use super::Error;
use std::path::Path;

/// A configuration text, for saying where something stands in it.
pub struct Page<'a> {
    pub text: &'a str,
    pub file: &'a Path,
}

impl Page<'_> {
    /// What `toml` and `serde` refuse, with the place, the field and the nearest known name.
    pub fn refuse(&self, error: &toml::de::Error) -> Error {
        let offset = error.span().map_or(0, |span| span.start);
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        let field = self.field(offset);
        if message.starts_with("unknown field") {
            return self.at(offset, "config.unknown_field", &unknown_field(&message));
        }
        if message.starts_with("missing field") {
            let missing = message.split('`').nth(1).unwrap_or_default();
            let text = format!("{field}: the field {missing} is missing; add it");
            return self.at(offset, "config.missing_field", &text);
        }
        self.at(offset, "config.invalid", &format!("{field}: {message}"))
    }

    /// A value that reads well and cannot be right.
    pub fn wrong(&self, table: &str, key: &str, what: &str) -> Error {
        let name = if key.is_empty() { format!("[{table}]") } else { format!("{table}.{key}") };
        self.at(self.find(table, key), "config.invalid", &format!("{name}: {what}"))
    }

    fn at(&self, offset: usize, code: &'static str, what: &str) -> Error {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Error { code, text: format!("{}:{line}:{column}: {what}", self.file.display()) }
    }

    /// `table.key` of the line at `offset`.
    fn field(&self, offset: usize) -> String {
        let start = self.text.get(..offset).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
        let line = self.text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let table = self.text.get(..start + line.len()).and_then(|before| before.lines().rev().find_map(header));
        match (table, line.split_once('=')) {
            (Some(table), Some((key, _))) => format!("{table}.{}", key.trim()),
            (Some(table), None) => format!("[{table}]"),
            (None, Some((key, _))) => key.trim().to_owned(),
            (None, None) => "the file".to_owned(),
        }
    }

    /// Where `key` of `[table]` stands; the table's header, or the start, if it is not written.
    fn find(&self, table: &str, key: &str) -> usize {
        let (mut offset, mut inside, mut found) = (0, false, 0);
        for line in self.text.split_inclusive('\n') {
            if let Some(name) = header(line) {
                inside = name == table;
                if inside {
                    found = offset;
                }
            } else if inside && line.split_once('=').is_some_and(|(name, _)| name.trim() == key) {
                return offset + line.len() - line.trim_start().len();
            }
            offset += line.len();
        }
        found
    }
}

/// What serde says of a field that it does not know, with the nearest one that it does.
pub fn unknown_field(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = quoted.next().unwrap_or_default();
    let known: Vec<&str> = quoted.collect();
    let mend = match nearest(unknown, &known) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("known here: {}", known.join(", ")),
    };
    format!("unknown field {unknown}; {mend}")
}

/// `table` of a line `[table]`.
fn header(line: &str) -> Option<&str> {
    line.split('#').next()?.trim().strip_prefix('[')?.strip_suffix(']').map(str::trim)
}

/// The known name that differs in the fewest letters, if that is at most a third of them (and one).
fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    let limit = unknown.chars().count() / 3 + 1;
    known
        .iter()
        .map(|name| (distance(unknown, name), *name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein's.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, letter) in from.chars().enumerate() {
        let mut diagonal = above;
        let mut left = above + 1;
        for (cell, other) in row.iter_mut().skip(1).zip(&to) {
            let best = (*cell + 1).min(left + 1).min(diagonal + usize::from(letter != *other));
            diagonal = std::mem::replace(cell, best);
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = above + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}
