//! `loa check`: everything that is wrong with a configuration, and with what a node of it would find on this machine
//! and on its network. Nothing is changed, and a node that runs there is not disturbed.
mod clock;
mod folder;
mod identity;
mod network;
mod sound;
mod timetable;

use super::cli::{DONE, USAGE};
use super::doctor;
use super::text::{Failure, Language, say};
use crate::config::{self, Config, Mistake};
use crate::io::{enrolment, store};
use serde::Serialize;
use std::fmt::Display;
use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    /// It works, and may not always.
    Warning,
    Mistake,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    pub level: Level,
    pub code: String,
    /// What is so, where, and the mend.
    pub text: String,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

/// Where it stands in the configuration file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Place {
    pub file: String,
    /// Both from 1; 0 when the file as a whole is meant.
    pub line: usize,
    pub column: usize,
    pub field: String,
}

impl Place {
    /// As it stands before what is said of it.
    fn shown(&self) -> String {
        format!("{}:{}:{}: ", self.file, self.line, self.column)
    }
}

/// What was found, in the reader's language.
pub struct Report {
    pub language: Language,
    pub findings: Vec<Finding>,
}

impl Report {
    pub fn new(language: Language) -> Self {
        Self { language, findings: Vec::new() }
    }

    pub fn ok<const N: usize>(&mut self, code: &str, places: [&dyn Display; N]) {
        self.add(Level::Ok, code, say(self.language, code, places));
    }

    pub fn warning<const N: usize>(&mut self, code: &str, places: [&dyn Display; N]) {
        self.add(Level::Warning, code, say(self.language, code, places));
    }

    pub fn mistake<const N: usize>(&mut self, code: &str, places: [&dyn Display; N]) {
        self.add(Level::Mistake, code, say(self.language, code, places));
    }

    /// What another room refused.
    pub fn failure(&mut self, failure: &Failure) {
        self.add(Level::Mistake, &failure.code, failure.text(self.language));
    }

    pub fn add(&mut self, level: Level, code: &str, text: String) {
        self.findings.push(Finding { level, code: code.to_owned(), text, place: None });
    }

    /// What the file asks for and this build has not.
    pub fn unbuilt(&mut self, mistakes: &[Mistake]) {
        self.findings.extend(mistakes.iter().map(|mistake| of_mistake(mistake, self.language)));
    }

    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// What is wrong first; a line each.
    pub fn lines(&self) -> String {
        let mut findings: Vec<&Finding> = self.findings.iter().collect();
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        let mark = |level| match level {
            Level::Ok => say(self.language, "check.fine", []),
            Level::Warning => say(self.language, "check.warning", []),
            Level::Mistake => say(self.language, "check.mistake", []),
        };
        let widest = [Level::Ok, Level::Warning, Level::Mistake].map(|level| mark(level).chars().count());
        let width = widest.into_iter().max().unwrap_or(0);
        findings
            .into_iter()
            .map(|finding| {
                let place = finding.place.as_ref().map_or_else(String::new, Place::shown);
                format!("{:<width$}  {place}{} [{}]\n", mark(finding.level), finding.text, finding.code)
            })
            .collect()
    }
}

/// Exit status 2 if anything is wrong; warnings are not.
pub async fn run(file: &Path, json: bool, language: Language) -> Result<u8, Failure> {
    let (mut sections, mut whole) = (Vec::new(), true);
    let report = match Config::survey(file) {
        Err(error) if json => of_file(&error, language),
        Err(error) => return Err(Failure::of_config(error)),
        Ok((config, unbuilt)) => {
            (sections, whole) = (config.sections(), unbuilt.is_empty());
            let own = doctor::ask(config.admin.listen, language).await.ok();
            super::blocking(move || {
                let mut report = Report::new(language);
                report.unbuilt(&unbuilt);
                // A board without a certificate holds no folder yet, and has its port all the same.
                let own = own.filter(|own| own.is_of(&config));
                let running = own.is_some() || store::holder(&config.node.data).is_some();
                if let Some(waits) = own.and_then(|own| own.waits) {
                    doctor::waits(&waits, Level::Warning, &mut report);
                }
                look(&config, &mut report, Around { running, joined: false });
                Ok(report)
            })
            .await?
        }
    };
    let wrong = report.count(Level::Mistake);
    if json {
        let answer = serde_json::json!({ "valid": wrong == 0, "sections": sections, "findings": report.findings });
        println!("{answer}");
    } else {
        if whole {
            println!("{}", say(language, "cli.checked", [&file.display(), &sections.join(", ")]));
        }
        print!("{}", report.lines());
        println!("{}", say(language, "check.sum", [&wrong, &report.count(Level::Warning)]));
    }
    Ok(if wrong == 0 { DONE } else { USAGE })
}

/// What a look must leave to a node that runs here.
#[derive(Clone, Copy, Debug)]
pub struct Around {
    /// It holds the data folder, so ports and sound are its own.
    pub running: bool,
    /// It has a parent.
    pub joined: bool,
}

/// Everything beyond the file itself.
pub fn look(config: &Config, report: &mut Report, Around { running, joined }: Around) {
    let identity = match &config.enrol {
        Some(enrol) if enrolment::is_needed(&config.node.data) => {
            // Its first start makes the folder.
            if config.node.data.exists() {
                folder::look(config, report, running);
            }
            identity::newcomer(enrol, config.node.zone, report)
        }
        _ if folder::look(config, report, running) => identity::look(config, report),
        _ => None,
    };
    clock::look(config, report);
    network::ports(config, report, running);
    if !joined {
        network::parents(config, identity.as_ref(), report);
    }
    timetable::look(config, report);
    sound::look(config, report, running);
}

fn of_file(error: &config::Error, language: Language) -> Report {
    Report { language, findings: error.mistakes.iter().map(|mistake| of_mistake(mistake, language)).collect() }
}

fn of_mistake(mistake: &Mistake, language: Language) -> Finding {
    Finding {
        level: Level::Mistake,
        code: mistake.code.to_owned(),
        text: match language {
            Language::Vietnamese => mistake.said.vietnamese.clone(),
            Language::English => mistake.said.english.clone(),
        },
        place: Some(Place {
            file: mistake.file.display().to_string(),
            line: mistake.line,
            column: mistake.column,
            field: mistake.field.clone(),
        }),
    }
}

#[cfg(test)]
#[path = "check/tests.rs"]
mod tests;
