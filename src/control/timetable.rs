//! `loa timetable` and `loa area`: what files of areas, policies and entries come to, without any node; and the
//! timetable that a node airs by itself.
mod command;
mod desk;
mod doubts;
mod give;
pub mod http;
mod store;
mod streams;

pub use desk::{Desk, Setup};

use super::cli::{DONE, FAILED, NodeArgs, USAGE, print_json};
use super::client::Client;
use super::table;
use super::text::{self, Failure, Language, of_rule, say, tell};
use super::when;
use crate::broadcast::register::{NotThere, Unit, fold};
use crate::broadcast::timetable::{Entry, MOST_DAYS, Plan, Policies, ROW, instant, plan};
use crate::broadcast::{Area, Mistake, Register};
use crate::io::clock;
use crate::time::{Civil, SECOND};
use chrono::{Days, NaiveDate, NaiveTime};
use chrono_tz::Tz;
use clap::{Args, Subcommand};
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct TimetableArgs {
    #[command(subcommand)]
    change: Option<Change>,
    /// Entries, as a JSON array: what they come to, without any node [default: a node's own timetable]
    #[arg(requires = "register", requires = "areas")]
    entries: Option<PathBuf>,
    /// The register of areas: CSV, or JSON if its name ends so
    #[arg(long, value_name = "FILE", requires = "entries")]
    register: Option<PathBuf>,
    /// What areas allow, as a JSON array [default: quiet from 22:00 until 05:00]
    #[arg(long, value_name = "FILE", requires = "entries")]
    policies: Option<PathBuf>,
    /// Areas, such as vn/01, separated by commas [default: all that a node's timetable names]
    #[arg(long = "area", value_name = "AREA", value_delimiter = ',')]
    areas: Vec<String>,
    /// First day, such as 2026-11-23, in the first area's zone [default: today]
    #[arg(long, value_name = "DAY")]
    from: Option<NaiveDate>,
    /// So many days
    #[arg(long, default_value_t = 1)]
    days: u16,
    /// What sounds, for a calendar (iCalendar)
    #[arg(long, requires = "entries")]
    ics: bool,
    #[command(flatten)]
    node: NodeArgs,
}

#[derive(Debug, Subcommand)]
enum Change {
    /// Puts a file of entries in the place of a node's timetable; shows first what it comes to
    Set(command::SetArgs),
    /// The same of what areas allow
    Policies(command::SetArgs),
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct AreaArgs {
    #[command(subcommand)]
    change: Option<AreaChange>,
    /// A code, or a name or part of one in any language; accents may be left out. Without it, the file is checked
    text: Option<String>,
    /// The register of areas: CSV, or JSON if its name ends so [default: a node's own]
    #[arg(long, value_name = "FILE")]
    register: Option<PathBuf>,
    /// As things stood on this day [default: today]
    #[arg(long, value_name = "DAY")]
    on: Option<NaiveDate>,
    #[command(flatten)]
    node: NodeArgs,
}

#[derive(Debug, Subcommand)]
enum AreaChange {
    /// Puts a file of areas, CSV or JSON, in the place of a node's register; shows first what it comes to
    Set(command::SetArgs),
}

pub async fn timetable(args: TimetableArgs, json: bool, language: Language) -> Result<u8, Failure> {
    match (&args.change, &args.entries) {
        (Some(Change::Set(set)), _) => command::set(command::What::Timetable, set, json, language).await,
        (Some(Change::Policies(set)), _) => command::set(command::What::Policies, set, json, language).await,
        (None, Some(entries)) => dry_run(&args, entries, json, language),
        (None, None) => command::show(&args.node, &args.areas, args.from, args.days, json, language).await,
    }
}

pub async fn area(args: AreaArgs, json: bool, language: Language) -> Result<u8, Failure> {
    if let Some(AreaChange::Set(set)) = &args.change {
        return command::set(command::What::Areas, set, json, language).await;
    }
    let (register, name) = match &args.register {
        Some(file) => match register(file) {
            Ok(register) => (register, file.display().to_string()),
            Err(wrong) => return wrong.told(json, language),
        },
        None => {
            let standing = Client::of(&args.node, language)?.standing(command::What::Areas).await?;
            let read = Register::from_csv(standing.content.as_str().unwrap_or_default().as_bytes());
            let name = "/v1/areas".to_owned();
            (read.map_err(|mistakes| Failure::of_mistakes("timetable.wrong", Path::new(&name), mistakes))?, name)
        }
    };
    find(&args, &register, &name, json, language)
}

/// The dry run: what sounds, what is refused, why, and when it could. Exit code 1 if anything is refused.
fn dry_run(args: &TimetableArgs, file: &Path, json: bool, language: Language) -> Result<u8, Failure> {
    let read = register(args.register.as_deref().unwrap_or(Path::new(""))).and_then(|register| {
        let policies = args.policies.as_deref().map_or(Ok(Policies::default()), |file| {
            Policies::read(&bytes(file)?).map_err(|mistakes| Wrong::of(file, mistakes))
        })?;
        let entries = Entry::read_all(&bytes(file)?).map_err(|mistakes| Wrong::of(file, mistakes))?;
        Ok((register, policies, entries))
    });
    let (register, policies, entries) = match read {
        Ok(read) => read,
        Err(wrong) => return wrong.told(json, language),
    };
    let areas = args.areas.iter().map(|text| parse(text)).collect::<Result<Vec<Area>, Failure>>()?;
    let zone = areas.first().map_or(Tz::UTC, |area| register.zone(area));
    let first = args.from.unwrap_or_else(|| today(zone));
    let last = first.checked_add_days(Days::new(u64::from(args.days)));
    let days = || Failure::new("usage.days", [&args.days, &MOST_DAYS]);
    let last = last.filter(|_| (1..=MOST_DAYS).contains(&i64::from(args.days))).ok_or_else(days)?;
    let midnight = |day: NaiveDate| instant(zone, day.and_time(NaiveTime::MIN));
    let planned = plan(&entries, &policies, &register, &areas, midnight(first), midnight(last));
    let planned = planned.map_err(|said| Failure::of_said(&said))?;
    match (args.ics, json) {
        (true, _) => print!("{}", planned.to_icalendar(&register, language.tag(), clock::wall())),
        (false, true) => print_json(&planned.to_json()),
        (false, false) => print!("{}", picture(&planned, language)),
    }
    let refused = planned.places.iter().any(|place| !place.refused.is_empty());
    Ok(if refused { FAILED } else { DONE })
}

/// Days as the reader writes them, and words for what becomes of an item.
fn retell(cells: &mut [String], language: Language) {
    cells.iter_mut().for_each(|cell| *cell = when::retold_moment(cell, language));
    for column in ["priority", "result"] {
        let Some(cell) = ROW.iter().position(|name| *name == column).and_then(|at| cells.get_mut(at)) else { continue };
        let (word, rest) = cell.split_once(' ').unwrap_or((cell, ""));
        if let Some(said) = text::plain(language, &format!("timetable.is.{word}")) {
            *cell = format!("{said} {rest}").trim_end().to_owned();
        }
    }
}

/// A table of all items, and under it a sentence for each that is refused.
fn picture(plan: &Plan, language: Language) -> String {
    let head = ROW.map(|column| say(language, &format!("timetable.column.{column}"), []));
    let rows = plan.rows();
    if rows.is_empty() {
        return say(language, "timetable.nothing", []) + "\n";
    }
    let mut rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    rows.iter_mut().for_each(|row| retell(row, language));
    let mut text = table::align(rows, &[]);
    for place in &plan.places {
        for refused in &place.refused {
            for why in &refused.why {
                let sentence = tell(language, why.code, &why.places);
                text += &format!("{} {:?}: {sentence} [{}]\n", place.area, refused.item.title, why.code);
            }
        }
    }
    text
}

/// What the register knows of a code or a name. Exit code 1 if nothing is meant by it, or it is gone.
fn find(args: &AreaArgs, register: &Register, name: &str, json: bool, language: Language) -> Result<u8, Failure> {
    let Some(text) = &args.text else {
        match json {
            true => print_json(&serde_json::json!({ "units": register.len() })),
            false => println!("{}", say(language, "area.fine", [&name, &register.len()])),
        }
        return Ok(DONE);
    };
    let on =
        args.on.unwrap_or_else(|| today(register.units().next().map_or(Tz::UTC, |unit| register.zone(&unit.code))));
    let found: Vec<&Unit> = match text.parse::<Area>() {
        Ok(code) if text.contains('/') || register.unit(&code).is_some() => match register.resolve(&code, on) {
            Ok(unit) => unit.into_iter().collect(),
            // What is gone is shown with who took over.
            Err(NotThere::Ceased { unit, .. } | NotThere::NotYet { unit, .. }) => {
                register.unit(&unit).into_iter().collect()
            }
            Err(unknown) => return Err(Failure::of_said(&unknown.said())),
        },
        _ => register.find(text, MOST_FOUND),
    };
    if found.is_empty() {
        return Err(Failure::new("area.no_name", [&fold(text)]));
    }
    let there = found.iter().any(|unit| unit.is_there(on));
    match json {
        true => print_json(&found.iter().map(|unit| form(unit, register, on)).collect::<Vec<_>>()),
        false => print!("{}", units(&found, register, on, language)),
    }
    Ok(if there { DONE } else { FAILED })
}

fn form(unit: &Unit, register: &Register, on: NaiveDate) -> serde_json::Value {
    let names: serde_json::Map<_, _> =
        unit.names.iter().map(|(language, name)| (language.clone(), name.as_str().into())).collect();
    serde_json::json!({
        "code": unit.code, "names": names, "kind": unit.kind, "zone": register.zone(&unit.code).name(),
        "there": unit.is_there(on), "from": unit.from, "until": unit.until, "successors": unit.successors,
        "children": register.children(&unit.code).count(),
    })
}

fn units(found: &[&Unit], register: &Register, on: NaiveDate, language: Language) -> String {
    let head = ["code", "name", "kind", "zone", "became"];
    let head = head.map(|column| say(language, &format!("area.column.{column}"), []));
    let rows = found.iter().map(|unit| {
        let heirs: Vec<String> = unit.successors.iter().map(ToString::to_string).collect();
        let became = match (unit.is_there(on), unit.until) {
            (true, _) => String::new(),
            (false, Some(until)) if until <= on => format!("{} ({until})", heirs.join(" ")),
            (false, _) => say(language, "area.later", [&unit.from.map_or(String::new(), |day| day.to_string())]),
        };
        let zone = register.zone(&unit.code).name().to_owned();
        [unit.code.to_string(), unit.name(language.tag()).to_owned(), unit.kind.clone(), zone, became]
    });
    table::align(std::iter::once(head).chain(rows).collect(), &[])
}

/// What cannot be used of a file.
enum Wrong {
    Unread(Failure),
    File(PathBuf, Vec<Mistake>),
}

impl Wrong {
    fn of(file: &Path, mistakes: Vec<Mistake>) -> Self {
        Self::File(file.to_owned(), mistakes)
    }

    /// All of it at once, each with its place.
    fn told(self, json: bool, language: Language) -> Result<u8, Failure> {
        let (file, mistakes) = match self {
            Self::Unread(failure) => return Err(failure),
            Self::File(file, mistakes) => (file, mistakes),
        };
        let text = |mistake: &Mistake| of_rule(&file.display().to_string(), mistake, language);
        if json {
            let form = |mistake: &Mistake| serde_json::json!({ "code": mistake.said.code, "text": text(mistake) });
            print_json(&serde_json::json!({ "mistakes": mistakes.iter().map(form).collect::<Vec<_>>() }));
        }
        for mistake in &mistakes {
            eprintln!("loa: {} [{}]", text(mistake), mistake.said.code);
        }
        Ok(USAGE)
    }
}

fn register(file: &Path) -> Result<Register, Wrong> {
    let is_json = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let read = if is_json { Register::from_json } else { Register::from_csv };
    read(&bytes(file)?).map_err(|mistakes| Wrong::of(file, mistakes))
}

fn bytes(file: &Path) -> Result<Vec<u8>, Wrong> {
    fs::read(file).map_err(|error| Wrong::Unread(Failure::new("client.file", [&file.display(), &error])))
}

fn parse(text: &str) -> Result<Area, Failure> {
    text.parse().map_err(|error: String| Failure::from_room("area.invalid", error))
}

fn today(zone: Tz) -> NaiveDate {
    let Civil(now) = clock::wall();
    let utc = chrono::DateTime::from_timestamp(now.div_euclid(SECOND), 0).unwrap_or_default();
    utc.with_timezone(&zone).date_naive()
}

/// Of one name: a page of them.
const MOST_FOUND: usize = 50;
