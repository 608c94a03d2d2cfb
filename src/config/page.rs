//! Where a mistake stands in a configuration text: file, line, field and mend. Whoever reads a TOML file of its
//! own says its mistakes in the same way.
use super::mistake::{Error, Mistake, Said};
use super::words;
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
        self.refused(error, offset, &self.field(offset)).into()
    }

    /// A value that reads well and cannot be right.
    pub fn wrong(&self, table: &str, key: &str, what: &str) -> Error {
        let said = Said::new(what, what);
        self.at(self.find(table, key), "config.invalid", &named(table, key), said).into()
    }

    /// The same with the field as the caller knows it.
    pub(super) fn refused(&self, error: &toml::de::Error, offset: usize, field: &str) -> Mistake {
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        let quoted = message.split('`').nth(1).unwrap_or_default();
        if message.starts_with("unknown field") {
            return self.place(offset, "config.unknown_field", field, words::unknown(&message));
        }
        if message.starts_with("missing field") {
            let said = Said::new(
                format!("{field}: thiếu trường {quoted}; hãy thêm vào"),
                format!("{field}: the field {quoted} is missing; add it"),
            );
            return self.place(offset, "config.missing_field", field, said);
        }
        let (code, said) = words::refused(&message);
        self.at(offset, code, field, said)
    }

    /// A section that must be there.
    pub(super) fn missing(&self, section: &str) -> Mistake {
        let said = Said::new(
            format!("thiếu mục [{section}]; hãy thêm vào"),
            format!("the section [{section}] is missing; add it"),
        );
        self.place(0, "config.missing_field", &named(section, ""), said)
    }

    /// A mistake of `field`, whose name is put before what is said of it.
    pub(super) fn at(&self, offset: usize, code: &'static str, field: &str, said: Said) -> Mistake {
        let said = Said::new(format!("{field}: {}", said.vietnamese), format!("{field}: {}", said.english));
        self.place(offset, code, field, said)
    }

    pub(super) fn place(&self, offset: usize, code: &'static str, field: &str, said: Said) -> Mistake {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Mistake { code, file: self.file.to_owned(), line, column, field: field.to_owned(), said }
    }

    /// `table.key` of the line at `offset`.
    pub(super) fn field(&self, offset: usize) -> String {
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
    pub(super) fn find(&self, table: &str, key: &str) -> usize {
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
    words::unknown(message).english
}

/// `table.key`, or `[table]`.
pub(super) fn named(table: &str, key: &str) -> String {
    if key.is_empty() { format!("[{table}]") } else { format!("{table}.{key}") }
}

/// `table` of a line `[table]`.
fn header(line: &str) -> Option<&str> {
    line.split('#').next()?.trim().strip_prefix('[')?.strip_suffix(']').map(str::trim)
}
