//! `loa receipts`, `loa report`, `loa verify`.
use super::forms::{Exception, Receipt, Receipts};
use super::query::Ask;
use super::{sheet, verify as check};
use crate::audio::Frames;
use crate::broadcast::receipt::Outcome;
use crate::control::cli::{DONE, NodeArgs, SHORT, print_json};
use crate::control::client::Client;
use crate::control::text::{Failure, Language, plain, say};
use crate::control::{blocking, table, when};
use crate::io::statement::Roots;
use crate::time::Civil;
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};
use uuid::Uuid;

#[derive(Debug, Args)]
pub struct ReceiptsArgs {
    /// As `loa air` gave it; without it, what was on the air in the last day
    broadcast: Option<Uuid>,
    #[command(flatten)]
    of: Of,
    /// Writes a sheet for Excel or LibreOffice
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    #[command(flatten)]
    node: NodeArgs,
}

#[derive(Debug, Args)]
pub struct ReportArgs {
    /// One broadcast
    #[arg(long, value_name = "ID", required_unless_present = "area")]
    broadcast: Option<Uuid>,
    #[command(flatten)]
    of: Of,
    /// The report
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    node: NodeArgs,
}

/// Of what area and period.
#[derive(Debug, Args)]
pub struct Of {
    /// An area and all within it
    #[arg(long)]
    area: Option<String>,
    /// RFC 3339, or a day such as 2026-11-22
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// The same; a day ends at midnight
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// As `loa report` wrote it
    bundle: PathBuf,
    /// A folder with the roots' NAME.crt and NAME.pub
    #[arg(long, value_name = "DIR")]
    roots: PathBuf,
    /// Sound: is it what sounded? As a node keeps it of an upload (media/…/frames), or an Ogg Opus file of `loa transcode`
    #[arg(long, value_name = "FILE", num_args = 1..)]
    audio: Vec<PathBuf>,
}

impl Of {
    fn ask(&self, broadcast: Option<Uuid>, zone: chrono_tz::Tz) -> Result<Ask, Failure> {
        let area = self.area.as_deref().map(str::parse).transpose();
        let area = area.map_err(|error: String| Failure::from_room("area.invalid", error))?;
        let time = |text: &Option<String>, last: bool| {
            text.as_deref().map(|text| when::day_or_time(text, last, zone)).transpose()
        };
        Ok(Ask { broadcast, area, from: time(&self.from, false)?, to: time(&self.to, true)? })
    }
}

/// 3 if somebody was not reached.
pub async fn receipts(args: ReceiptsArgs, json: bool, language: Language) -> Result<u8, Failure> {
    let client = Client::of(&args.node, language)?;
    let nodes = client.nodes().await?;
    let mut ask = args.of.ask(args.broadcast, nodes.zone)?;
    if ask.broadcast.is_none() && ask.from.is_none() {
        ask.from = nodes.now_us.map(|now| Civil(now) - DAY);
    }
    let list: Receipts = client.receipts("/v1/receipts", &ask).await?;
    if let Some(broadcast) = ask.broadcast.filter(|_| list.receipts.is_empty()) {
        return Err(Failure::new("receipts.unknown", [&broadcast]));
    }
    if let Some(file) = &args.csv {
        write(file, &sheet::receipts(&list, language))?;
    }
    match json {
        true => print_json(&list),
        false => print!("{}", picture(&list, language)),
    }
    Ok(if list.receipts.iter().any(Receipt::is_short) { SHORT } else { DONE })
}

pub async fn report(args: ReportArgs, json: bool, language: Language) -> Result<u8, Failure> {
    let client = Client::of(&args.node, language)?;
    let zone = client.nodes().await?.zone;
    let text = client.report(&args.of.ask(args.broadcast, zone)?).await?;
    let orders = text.lines().count().saturating_sub(2);
    if orders == 0 {
        return Err(Failure::new("receipts.none", []));
    }
    write(&args.out, &text)?;
    match json {
        true => print_json(&serde_json::json!({ "file": args.out, "orders": orders })),
        false => println!("{}", say(language, "report.written", [&args.out.display(), &orders])),
    }
    Ok(DONE)
}

/// Needs no node.
pub async fn verify(args: VerifyArgs, json: bool, language: Language) -> Result<u8, Failure> {
    let unread = |file: &Path, error: &dyn std::fmt::Display| Failure::new("client.file", [&file.display(), error]);
    let verified = blocking(move || {
        let length = fs::metadata(&args.bundle).map_err(|error| unread(&args.bundle, &error))?.len();
        if length > LONGEST {
            return Err(Failure::new("report.damaged", [&0, &format!("{length} bytes are no report")]));
        }
        let text = fs::read_to_string(&args.bundle).map_err(|error| unread(&args.bundle, &error))?;
        let roots = Roots::load(&args.roots).map_err(|error| Failure::new("report.roots", [&error]))?;
        let mut audio = Vec::new();
        for file in &args.audio {
            let bytes = fs::read(file).map_err(|error| unread(file, &error))?;
            let frames = match bytes.starts_with(b"OggS") {
                true => Frames::from_ogg(&bytes),
                false => Frames::from_bytes(&bytes),
            };
            let frames = frames.map_err(|error| unread(file, &error.text))?;
            audio.push((file.display().to_string(), frames));
        }
        check::verify(&text, &roots, &audio)
    });
    let verified = verified.await?;
    match json {
        true => print_json(&verified),
        false => {
            let places: [&dyn std::fmt::Display; 4] =
                [&verified.orders, &verified.as_run, &verified.node, &verified.made];
            println!("{}", say(language, "report.holds", places));
            for broadcast in &verified.sounds {
                println!("{}", say(language, "report.sounds", [broadcast]));
            }
        }
    }
    Ok(DONE)
}

/// Who was reached first, then who was not.
fn picture(list: &Receipts, language: Language) -> String {
    if list.receipts.is_empty() {
        return format!("{}\n", say(language, "receipts.none", []));
    }
    let head = [
        "receipts.order",
        "receipts.what",
        "receipts.begins",
        "receipts.expected",
        "receipts.reached",
        "receipts.played",
        "receipts.not_reached",
        "receipts.unknown_nodes",
    ];
    let rows = list.receipts.iter().map(|order| {
        let done = if order.kind == "broadcast" { order.played } else { order.reached };
        [
            order.id.to_string(),
            what(order, language),
            order.begins.get(..19).unwrap_or(&order.begins).replace('T', " "),
            order.expected.to_string(),
            order.reached.to_string(),
            done.to_string(),
            (order.count(Outcome::NotReached) + order.count(Outcome::Missed)).to_string(),
            order.count(Outcome::Unknown).to_string(),
        ]
    });
    let head = head.map(|code| say(language, code, []));
    let mut text = table::align(std::iter::once(head).chain(rows).collect(), &[3, 4, 5, 6, 7]);
    for order in &list.receipts {
        // One that came to what the table says of everybody has nothing to add.
        if order.exceptions.is_empty() && order.unnamed == 0 && order.outcomes.len() < 2 {
            continue;
        }
        let outcomes =
            order.outcomes.iter().map(|(outcome, count)| format!("{} {count}", sheet::named(language, outcome)));
        let outcomes: Vec<String> = outcomes.collect();
        text += &format!("\n{} ({}): {}\n", what(order, language), order.id, outcomes.join(", "));
        let rows = order.exceptions.iter().take(SHOWN).map(|node| {
            let name = if node.name.is_empty() { node.node.to_string() } else { node.name.clone() };
            [format!("  {name}"), node.area.clone(), sheet::named(language, &node.outcome), why(node, language)]
        });
        text += &table::align(rows.collect(), &[]);
        let more = order.unnamed + order.exceptions.len().saturating_sub(SHOWN) as u64;
        if more > 0 {
            text += &format!("  {}\n", say(language, "receipts.more", [&more]));
        }
    }
    text
}

fn what(order: &Receipt, language: Language) -> String {
    match order.kind.as_str() {
        "cancel" => say(language, "receipts.cancel", []),
        "hush" => say(language, "receipts.hush", [&order.areas.join(",")]),
        _ => order.title.clone(),
    }
}

fn why(node: &Exception, language: Language) -> String {
    let mut said = Vec::new();
    if !node.why.is_empty() {
        said.push(reason(&node.why, language));
    }
    if let Some(by) = node.by {
        said.push(say(language, "receipts.by", [&by]));
    }
    if node.lost_per_mille > 0 {
        said.push(say(language, "receipts.lost", [&node.lost_per_mille]));
    }
    said.join(", ")
}

/// In words, or the code of a later release.
pub fn reason(code: &str, language: Language) -> String {
    plain(language, &format!("why.{code}")).unwrap_or(code).to_owned()
}

/// Of the table of texts.
pub fn outcome_code(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pending => "outcome.pending",
        Outcome::Received => "outcome.received",
        Outcome::Cached => "outcome.cached",
        Outcome::Playing => "outcome.playing",
        Outcome::Played => "outcome.played",
        Outcome::Partly => "outcome.partly",
        Outcome::Hushed => "outcome.hushed",
        Outcome::Muted => "outcome.muted",
        Outcome::Preempted => "outcome.preempted",
        Outcome::Cancelled => "outcome.cancelled",
        Outcome::Missed => "outcome.missed",
        Outcome::Failed => "outcome.failed",
        Outcome::Unknown => "outcome.unknown",
        Outcome::NotReached => "outcome.not_reached",
    }
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    fs::write(file, text).map_err(|error| Failure::new("report.unwritten", [&file.display(), &error]))
}

/// µs.
const DAY: i64 = 24 * 3_600 * crate::time::SECOND;
/// Names under one order: all of them stand in the sheet and the JSON.
const SHOWN: usize = 40;
/// Bytes of a report: 3,000 orders with thousands of names each would be less.
const LONGEST: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::receipts::forms::OfArea;

    #[test]
    fn the_table_says_who_was_reached_and_names_who_was_not_in_both_languages() {
        let outcomes = [("played".to_owned(), 2), ("failed".to_owned(), 1), ("not_reached".to_owned(), 1)].into();
        let area = OfArea { area: "vn/01".into(), expected: 4, reached: 3, outcomes, ..Default::default() };
        let why = "track.packets".into();
        let node = Exception { name: "cột 7".into(), outcome: "failed".into(), why, ..Default::default() };
        let mut order = Receipt {
            kind: "broadcast".into(),
            title: "Bản tin".into(),
            by_area: vec![area],
            exceptions: vec![node],
            unnamed: 2,
            ..Default::default()
        };
        order.add_up();
        assert!(order.is_short());
        let list = Receipts { receipts: vec![order] };
        let (vietnamese, english) = (picture(&list, Language::Vietnamese), picture(&list, Language::English));
        for text in [&vietnamese, &english] {
            assert!(text.contains("Bản tin") && text.contains("cột 7"), "{text}");
        }
        assert!(english.contains("failed 1, not reached 1, played 2") && english.contains("2 more"), "{english}");
        assert!(english.contains("no sound came") && vietnamese.contains("không có âm thanh"), "{vietnamese}");
        assert_eq!(reason("moon.full", Language::English), "moon.full");
    }

    #[test]
    fn every_outcome_has_its_words() {
        for outcome in Outcome::ALL {
            assert_ne!(say(Language::English, outcome_code(outcome), []), "", "{outcome:?}");
            assert_eq!(Outcome::of_str(outcome.as_str()), Some(outcome));
        }
    }
}
