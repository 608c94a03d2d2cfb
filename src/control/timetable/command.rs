//! `loa timetable`, `loa timetable set`, `… policies`, `loa area set`: a node's own timetable.
use super::http::{Changes, Row, Shown, Standing};
use crate::broadcast::timetable::{Entry, Policies, ROW};
use crate::broadcast::{Mistake, Register};
use crate::control::cli::{DONE, FAILED, NodeArgs, print_json};
use crate::control::client::Client;
use crate::control::table;
use crate::control::text::{Failure, Language, say, tell};
use crate::control::when;
use chrono::NaiveDate;
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub struct SetArgs {
    /// The whole of it: what is not in the file is gone
    pub file: PathBuf,
    /// Who says so [default: LOA_BY, or the user of this machine]
    #[arg(long, value_name = "NAME", env = "LOA_BY")]
    pub by: Option<String>,
    /// Only says what it would come to
    #[arg(long)]
    pub dry_run: bool,
    /// Only if this version still holds
    #[arg(long, value_name = "N")]
    pub version: Option<u64>,
    /// What sounds now and is removed or disabled stops at once
    #[arg(long)]
    pub now: bool,
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Which of a node's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Timetable,
    Policies,
    Areas,
}

impl What {
    fn path(self) -> &'static str {
        match self {
            Self::Timetable => "/v1/timetable",
            Self::Policies => "/v1/policies",
            Self::Areas => "/v1/areas",
        }
    }
}

impl Client {
    pub async fn standing(&self, what: What) -> Result<Standing, Failure> {
        self.get(what.path(), &[]).await
    }

    async fn put_table(&self, what: What, query: &[(&str, String)], bytes: Vec<u8>) -> Result<Changes, Failure> {
        self.put(what.path(), query, bytes).await
    }

    async fn plan(&self, query: &[(&str, String)]) -> Result<Shown, Failure> {
        self.get("/v1/timetable/plan", query).await
    }
}

/// What of these days sounds, with the state of each airing. Exit code 1 if anything is refused.
pub async fn show(
    node: &NodeArgs,
    areas: &[String],
    from: Option<NaiveDate>,
    days: u16,
    json: bool,
    language: Language,
) -> Result<u8, Failure> {
    let mut query = vec![("days", days.to_string())];
    if !areas.is_empty() {
        query.push(("areas", areas.join(",")));
    }
    query.extend(from.map(|from| ("from", from.to_string())));
    let shown = Client::of(node, language)?.plan(&query).await?;
    match json {
        true => print_json(&shown),
        false => print!("{}", picture(&shown, language)),
    }
    Ok(if shown.refused.is_empty() && shown.faults.is_empty() { DONE } else { FAILED })
}

fn picture(shown: &Shown, language: Language) -> String {
    if shown.rows.is_empty() {
        return say(language, "timetable.nothing", []) + "\n";
    }
    let head = ROW.map(|column| say(language, &format!("timetable.column.{column}"), []));
    let rows = shown.rows.iter().map(|row| {
        let mut cells: [String; ROW.len()] = Default::default();
        cells.iter_mut().zip(row).for_each(|(cell, text)| cell.clone_from(text));
        super::retell(&mut cells, language);
        cells
    });
    let mut text = table::align(std::iter::once(head).chain(rows).collect(), &[]);
    for (area, title, code, places) in &shown.refused {
        text += &format!("{area} {title:?}: {} [{code}]\n", tell(language, code, places));
    }
    for (title, start, code, why) in &shown.faults {
        text += &format!("{title:?} {}: {why} [{code}]\n", when::retold_moment(start, language));
    }
    text
}

/// Reads the file here, so that its mistakes are told with its name; shows what it comes to; and then sets it.
pub async fn set(what: What, args: &SetArgs, json: bool, language: Language) -> Result<u8, Failure> {
    let bytes =
        std::fs::read(&args.file).map_err(|error| Failure::new("client.file", [&args.file.display(), &error]))?;
    check(what, &args.file, &bytes)
        .map_err(|mistakes| Failure::of_mistakes("timetable.wrong", &args.file, mistakes))?;
    let client = Client::of(&args.node, language)?;
    let standing = client.standing(what).await?;
    let version = args.version.unwrap_or(standing.newest.version);
    let mut query = vec![("version", version.to_string()), ("now", args.now.to_string())];
    let dry = [&query[..], &[("dry_run", "true".to_owned())]].concat();
    let would = client.put_table(what, &dry, bytes.clone()).await?;
    if !json {
        print!("{}", changes(&would, language));
    }
    let changed = match args.dry_run {
        true => would,
        false => {
            let by = args
                .by
                .clone()
                .or_else(|| std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).ok())
                .unwrap_or_default();
            query.push(("by", by));
            let changed = client.put_table(what, &query, bytes).await?;
            if !json {
                let newest = &changed.newest;
                println!("{}", say(language, "timetable.set", [&newest.version, &newest.by, &newest.at]));
                if !changed.refused.is_empty() {
                    println!("{}", say(language, "timetable.set_refused", [&changed.refused.len()]));
                }
            }
            changed
        }
    };
    if json {
        print_json(&changed);
    }
    Ok(if changed.refused.is_empty() { DONE } else { FAILED })
}

fn check(what: What, file: &Path, bytes: &[u8]) -> Result<(), Vec<Mistake>> {
    match what {
        What::Timetable => Entry::read_all(bytes).map(drop),
        What::Policies => Policies::read(bytes).map(drop),
        What::Areas if super::store::is_json(file) => Register::from_json(bytes).map(drop),
        What::Areas => Register::from_csv(bytes).map(drop),
    }
}

fn changes(changes: &Changes, language: Language) -> String {
    let Changes { sounds, stops, refused, goes_on, left_out, doubts, .. } = changes;
    if [sounds, stops, refused, goes_on].iter().all(|rows| rows.is_empty()) && doubts.is_empty() {
        return say(language, "timetable.same", []) + "\n";
    }
    let mut text = String::new();
    for (code, rows) in [
        ("timetable.would_stop", stops),
        ("timetable.would_sound", sounds),
        ("timetable.would_refuse", refused),
        ("timetable.goes_on", goes_on),
    ] {
        for Row { title, start, end, areas, why, .. } in rows {
            let [start, end] = [start, end].map(|time| when::retold_moment(time, language));
            text += &say(language, code, [&start, &end, title, &areas.join(", ")]);
            for (code, places) in why {
                text += &format!(": {} [{code}]", tell(language, code, places));
            }
            text.push('\n');
        }
    }
    for (code, places) in doubts {
        text += &format!("{} [{code}]\n", tell(language, code, places));
    }
    if *left_out > 0 {
        text += &(say(language, "timetable.left_out", [left_out]) + "\n");
    }
    text
}
