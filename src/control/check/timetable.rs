//! The files that a node's timetable begins with.
use super::Report;
use crate::broadcast::timetable::{Entry, Policies};
use crate::broadcast::{Mistake, Register};
use crate::config::Config;
use crate::control::text::Failure;
use std::path::Path;

pub fn look(config: &Config, report: &mut Report) {
    let timetable = &config.timetable;
    let is_json = |file: &Path| file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    if let Some(file) = &timetable.entries {
        one(file, |bytes| Entry::read_all(bytes).map(drop), report);
    }
    if let Some(file) = &timetable.policies {
        one(file, |bytes| Policies::read(bytes).map(drop), report);
    }
    if let Some(file) = &timetable.register {
        let read = if is_json(file) { Register::from_json } else { Register::from_csv };
        one(file, |bytes| read(bytes).map(drop), report);
    }
}

fn one(file: &Path, read: impl Fn(&[u8]) -> Result<(), Vec<Mistake>>, report: &mut Report) {
    match std::fs::read(file) {
        Err(error) => report.mistake("client.file", [&file.display(), &error]),
        Ok(bytes) => match read(&bytes) {
            Ok(()) => report.ok("timetable.fine", [&file.display()]),
            Err(mistakes) => report.failure(&Failure::of_mistakes("timetable.wrong", file, mistakes)),
        },
    }
}
