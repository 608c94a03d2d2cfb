//! `loa transcode`: files to Ogg Opus, several at once, without a node.
//!
//! ```text
//!   files ─▶ plan: who becomes what ─▶ as many threads as cores: work ─▶ here, in the order of the files:
//!            refuses, or begins          one file each, partial until whole     lines, reports, warnings
//! ```
mod partial;
mod plan;
mod work;

use super::cli::{DONE, FAILED};
use super::report::warnings;
use super::serve::interrupted;
use super::text::{Failure, Language, say};
use crate::audio;
use crate::io::decoder::Isolation;
use clap::{Args, ValueEnum};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use partial::Stop;
use plan::{Task, plan};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use work::{Done, Work};

#[derive(Debug, Args)]
pub struct Transcode {
    /// Sound files; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A file, or for several inputs a folder (DIR/ is made) [default: beside the input, as .opus]
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
    /// Replaces files that are there
    #[arg(long)]
    force: bool,
    /// Files at once [default: as many as there are cores]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// Bits per second, 6000 to 64000; several, separated by commas, make OUT-16k.opus and so on
    #[arg(long, value_name = "BPS", value_delimiter = ',', default_value = "24000")]
    bitrate: Vec<u32>,
    /// Of the Opus encoder, 0 to 10
    #[arg(long, default_value_t = 10)]
    complexity: i32,
    /// Integrated loudness wanted, LUFS
    #[arg(long, value_name = "LUFS", default_value_t = -16.0, allow_hyphen_values = true)]
    loudness: f64,
    /// True peak allowed, dBTP
    #[arg(long, value_name = "DBTP", default_value_t = -1.5, allow_hyphen_values = true)]
    peak: f64,
    /// How loudness is brought there: measured first, slowly as for live sound, or not at all
    #[arg(long, value_enum, default_value_t = Leveling::Measured)]
    leveling: Leveling,
    /// Treats speech for horn loudspeakers: high-pass, de-clip, gate, gentle compression
    #[arg(long)]
    speech: bool,
    /// Leaves so much silence at the beginning and the end [default: all]
    #[arg(long, value_name = "SECONDS")]
    silence: Option<f64>,
    /// Begins with the attention tone
    #[arg(long)]
    tone: bool,
    /// Sounds before each file, after the tone
    #[arg(long, value_name = "FILE")]
    before: Option<PathBuf>,
    /// Sounds after each file
    #[arg(long, value_name = "FILE")]
    after: Option<PathBuf>,
    /// Longest file accepted
    #[arg(long, value_name = "SECONDS", default_value_t = 14_400)]
    longest: u32,
    /// For what Loa doesn't read itself: ffmpeg, or a program called like it
    #[arg(long, value_name = "PROGRAM")]
    decoder: Option<PathBuf>,
    /// What was found and done, one JSON object for each file: on standard output, or in a file
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    report: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Leveling {
    Measured,
    Slow,
    Off,
}

/// What a worker says of a task.
type Outcome = (usize, Result<Done, Failure>);

/// 0 all done, 1 some failed and the others done; a mistaken command is an error before anything is done.
pub async fn run(args: Transcode, json: bool, language: Language) -> Result<u8, Failure> {
    let options = args.options()?;
    let tasks = plan(&args.files, args.output.as_deref(), &options.bitrates)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = args.jobs.map_or(cores, usize::from).min(tasks.len());
    let work = Arc::new(Work {
        isolation: Isolation::own(args.decoder.clone()),
        options,
        force: args.force,
        before: args.before.clone(),
        after: args.after.clone(),
    });
    let (tasks, stop) = (Arc::new(tasks), Arc::new(Stop::default()));
    let outcomes = begin(&tasks, &work, &stop, jobs);
    let to = match (&args.report, json) {
        (Some(path), _) if path.as_os_str() != "-" => Report::File(path.clone(), Vec::new()),
        (None, false) => Report::Lines,
        _ => Report::Output,
    };
    let mut teller = Teller { to, language, failed: false };
    let names: Vec<String> = tasks.iter().map(|task| task.name.clone()).collect();
    let told = tell(&mut teller, outcomes, &names, &stop).await;
    stop.sweep();
    teller.finish(&stop)?;
    Ok(if told && !teller.failed { DONE } else { FAILED })
}

impl Transcode {
    fn options(&self) -> Result<audio::Options, Failure> {
        let options = audio::Options {
            bitrates: self.bitrate.clone(),
            complexity: self.complexity,
            leveling: match self.leveling {
                Leveling::Measured => audio::Leveling::Measured,
                Leveling::Slow => audio::Leveling::Slow,
                Leveling::Off => audio::Leveling::Off,
            },
            loudness: self.loudness,
            peak: self.peak,
            speech: self.speech,
            silence: self.silence,
            tone: self.tone,
            longest: self.longest,
        };
        options.check().map_err(|error| Failure::from_room("usage.options", error.text))?;
        Ok(options)
    }
}

/// Each thread takes the next task as soon as it is free; the decoders that a thread starts live as long as it.
fn begin(tasks: &Arc<Vec<Task>>, work: &Arc<Work>, stop: &Arc<Stop>, jobs: usize) -> mpsc::Receiver<Outcome> {
    // One place for each task: no worker ever waits to be heard.
    let (sender, receiver) = mpsc::channel(tasks.len().max(1));
    let (next, bars) = (Arc::new(AtomicUsize::new(0)), Bars::new());
    for _ in 0..jobs {
        let (tasks, work, stop) = (tasks.clone(), work.clone(), stop.clone());
        let (next, sender, bars) = (next.clone(), sender.clone(), bars.clone());
        std::thread::spawn(move || {
            while !stop.stopped() {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(task) = tasks.get(number) else { return };
                let mut bar = bars.bar(&task.name);
                let outcome = work.run(task, &stop, |part| bar.set(part));
                bar.end();
                if sender.blocking_send((number, outcome)).is_err() {
                    return;
                }
            }
        });
    }
    receiver
}

/// False when somebody interrupted.
async fn tell(teller: &mut Teller, mut outcomes: mpsc::Receiver<Outcome>, names: &[String], stop: &Stop) -> bool {
    let count = names.len();
    let (mut waiting, mut next) = (BTreeMap::new(), 0);
    let mut interrupted = std::pin::pin!(interrupted());
    while next < count {
        tokio::select! {
            outcome = outcomes.recv() => match outcome {
                Some((number, outcome)) => { waiting.insert(number, outcome); }
                // Every worker has gone, though tasks are left: one broke.
                None => break,
            },
            () = &mut interrupted => {
                stop.stop();
                let gone = async { while outcomes.recv().await.is_some() {} };
                let _ = tokio::time::timeout(LEAVING, gone).await;
                eprintln!("loa: {}", say(teller.language, "transcode.interrupted", []));
                return false;
            }
        }
        while let Some(outcome) = waiting.remove(&next) {
            teller.tell(&names[next], outcome);
            next += 1;
        }
    }
    next == count
}

/// Where results go.
enum Report {
    Lines,
    Output,
    File(PathBuf, Vec<u8>),
}

struct Teller {
    to: Report,
    language: Language,
    failed: bool,
}

impl Teller {
    fn tell(&mut self, name: &str, outcome: Result<Done, Failure>) {
        let line = match &outcome {
            Ok(done) => {
                for warning in warnings(&done.report, &done.file, self.language) {
                    eprintln!("loa: {warning}");
                }
                serde_json::to_string(done).unwrap_or_default()
            }
            Err(failure) => {
                self.failed = true;
                let text = failure.text(self.language);
                eprintln!("loa: {text} [{}]", failure.code);
                serde_json::json!({ "file": name, "code": failure.code, "text": text }).to_string()
            }
        };
        match (&mut self.to, outcome) {
            (Report::Output, _) => println!("{line}"),
            (Report::File(_, lines), _) => lines.extend_from_slice(format!("{line}\n").as_bytes()),
            (Report::Lines, Ok(done)) => println!("{}", summary(&done, self.language)),
            (Report::Lines, Err(_)) => {}
        }
    }

    fn finish(&mut self, stop: &Stop) -> Result<(), Failure> {
        let Report::File(path, lines) = &self.to else { return Ok(()) };
        let written = partial::Partial::create(path, stop).and_then(|(partial, mut file)| {
            std::io::Write::write_all(&mut file, lines)?;
            partial.place(&file, true)
        });
        written.map_err(|error| Failure::new("transcode.write", [&path.display(), &error]))
    }
}

fn summary(done: &Done, language: Language) -> String {
    let loud = |loudness: Option<f64>| loudness.map_or("-".into(), |loudness| format!("{loudness:.1}"));
    let outputs: Vec<String> = done.outputs.iter().map(|made| made.file.display().to_string()).collect();
    let report = &done.report;
    let (before, after) = (loud(report.before.loudness), loud(report.after.loudness));
    say(
        language,
        "cli.transcoded",
        [&done.file, &outputs.join(", "), &format!("{:.3}", report.duration), &before, &after],
    )
}

/// Bars on a terminal, for what takes over a second.
#[derive(Clone)]
struct Bars(Option<MultiProgress>);

struct Bar {
    all: Option<MultiProgress>,
    name: String,
    began: Instant,
    shown: Option<ProgressBar>,
}

impl Bars {
    fn new() -> Self {
        Self(std::io::stderr().is_terminal().then(MultiProgress::new))
    }

    fn bar(&self, name: &str) -> Bar {
        let name = Path::new(name).file_name().map_or(name.into(), |last| last.to_string_lossy().into_owned());
        Bar { all: self.0.clone(), name, began: Instant::now(), shown: None }
    }
}

impl Bar {
    fn set(&mut self, part: f64) {
        let Some(all) = &self.all else { return };
        if self.shown.is_none() && self.began.elapsed() > SHOWN_AFTER {
            // The template is a constant; if it were wrong, the plain bar would do.
            let style = ProgressStyle::with_template("{msg:30!} {bar:40} {percent:>3} %  {eta:>4}");
            let bar = ProgressBar::new(1_000).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            self.shown = Some(all.add(bar.with_message(self.name.clone())));
        }
        if let Some(bar) = &self.shown {
            bar.set_position((part * 1e3) as u64);
        }
    }

    fn end(&mut self) {
        if let Some(bar) = self.shown.take() {
            bar.finish_and_clear();
        }
    }
}

const SHOWN_AFTER: Duration = Duration::from_secs(1);
/// What workers have to sweep up after themselves when interrupted.
const LEAVING: Duration = Duration::from_secs(2);
