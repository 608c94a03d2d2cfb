//! `loa live`: streams what comes in to a node and shows how it goes.
//!
//! ```text
//!  standard input ─▶ thread ─▶ 8 blocks ─▶ pipe ─▶ body of POST /v1/live
//!                                                  GET /v1/live/{id} each second ─▶ standard error
//! ```
//! End of input and Ctrl-C close the pipe: the node then plays what it has and answers.
use super::client::Client;
use super::forms::{Level, Live};
use super::operator::Meant;
use super::text::{Failure, Language, say};
use super::{serve, when};
use crate::audio::Pcm;
use crate::io::{clock, identity};
use crate::time::Civil;
use clap::Args;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use uuid::Uuid;

#[derive(Debug, Args)]
pub struct Options {
    /// "-" for standard input, or a named pipe
    #[arg(default_value = "-")]
    source: PathBuf,
    /// Areas, such as vn/01/00001, separated by commas
    #[arg(long = "area", value_name = "AREA", value_delimiter = ',', required = true)]
    areas: Vec<String>,
    #[arg(long, value_enum, default_value_t = Level::Normal)]
    priority: Level,
    #[command(flatten)]
    meant: Meant,
    /// What the broadcast is called
    #[arg(long)]
    title: Option<String>,
    /// Playout delay in milliseconds [default: 1000, in an emergency 600]
    #[arg(long, value_name = "MS")]
    delay: Option<i64>,
    /// Samples without a container, such as s16le:48000:1 [default: told by the first bytes]
    #[arg(long, value_name = "SAMPLE:RATE:CHANNELS")]
    pcm: Option<Pcm>,
    /// A sound device, such as alsa:default, instead of standard input
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
}

/// Until the input ends or Ctrl-C. 0 if all that came was aired.
pub async fn live(options: Options, client: Client, json: bool, language: Language) -> Result<bool, Failure> {
    // Where a sound card's reader would be opened, in place of `read`'s.
    if let Some(device) = &options.device {
        return Err(Failure::new("usage.device", [device]));
    }
    let zone = client.nodes().await?.zone;
    let id = identity::new_id(clock::wall());
    let (sender, receiver) = pipe::pipe().map_err(|error| unread(&options.source, &error))?;
    let body = receiver.into_blocking_fd().map_err(|error| unread(&options.source, &error))?;
    let blocks = read(&options.source)?;
    let feed = tokio::spawn(feed(blocks, sender));

    let mut query = vec![("id", id.to_string()), ("areas", options.areas.join(","))];
    query.push(("priority", priority(options.priority).into()));
    query.push(("purpose", options.meant.word().into()));
    query.extend(options.title.map(|title| ("title", title)));
    query.extend(options.delay.map(|delay| ("delay_ms", delay.to_string())));
    query.extend(options.pcm.map(|pcm| ("pcm", pcm.to_string())));
    let body = tokio::fs::File::from_std(std::fs::File::from(body));
    let mut stream = std::pin::pin!(client.stream(&query, body.into()));

    let mut screen = Meter::new(json, language, zone);
    screen.waiting(id);
    let answer = loop {
        tokio::select! {
            answer = &mut stream => break answer,
            () = tokio::time::sleep(LOOK) => {
                // A node that doesn't answer now may do so in a second.
                if let Ok(state) = client.live(id).await {
                    screen.show(&state);
                }
            }
        }
    };
    feed.abort();
    let answer = match answer {
        // A refusal before the body was read may be lost with the connection; the node remembers it.
        Err(failure) if failure.code == "client.unreachable" => match client.live(id).await {
            Ok(Live { end: Some(end), broadcast: None, .. }) => Err(Failure::from_node(end.code, end.text)),
            Ok(state) if state.end.is_some() => Ok(state),
            _ => Err(failure),
        },
        other => other,
    }?;
    screen.ended(&answer);
    Ok(answer.end.is_none_or(|end| end.code == "live.over"))
}

/// Reads in a thread of its own, which may wait for a microphone for ever and ends with the program.
fn read(source: &Path) -> Result<mpsc::Receiver<Vec<u8>>, Failure> {
    let from_input = source == Path::new("-");
    let opened =
        if from_input { None } else { Some(std::fs::File::open(source).map_err(|error| unread(source, &error))?) };
    let (blocks, receiver) = mpsc::channel(BLOCKS);
    let name = source.to_owned();
    let work = move || {
        let mut reader: Box<dyn Read> = match opened {
            Some(file) => Box::new(file),
            None => Box::new(std::io::stdin().lock()),
        };
        let mut block = vec![0; BLOCK];
        loop {
            match reader.read(&mut block) {
                Ok(0) => return,
                Ok(count) => {
                    if blocks.blocking_send(block[..count].to_vec()).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::error!(code = "client.file", "{}: {error}", name.display());
                    return;
                }
            }
        }
    };
    std::thread::Builder::new().name("live-input".into()).spawn(work).map_err(|error| unread(source, &error))?;
    Ok(receiver)
}

async fn feed(mut blocks: mpsc::Receiver<Vec<u8>>, mut into: pipe::Sender) {
    let mut interrupted = std::pin::pin!(serve::interrupted());
    loop {
        let block = tokio::select! {
            block = blocks.recv() => block,
            () = &mut interrupted => None,
        };
        let Some(block) = block else { return };
        tokio::select! {
            written = into.write_all(&block) => if written.is_err() { return },
            () = &mut interrupted => return,
        }
    }
}

fn unread(source: &Path, error: &std::io::Error) -> Failure {
    Failure::new("client.file", [&source.display(), error])
}

fn priority(level: Level) -> &'static str {
    match level {
        Level::Normal => "normal",
        Level::Priority => "priority",
        Level::Emergency => "emergency",
    }
}

/// What is shown of a source: on a terminal a line that moves, and lines that stay for what happens; elsewhere
/// the latter alone; for programs each state as a line of JSON.
struct Meter {
    json: bool,
    terminal: bool,
    language: Language,
    zone: chrono_tz::Tz,
    on_air: bool,
    silent: bool,
    overloaded: bool,
    gaps: u64,
}

impl Meter {
    fn new(json: bool, language: Language, zone: chrono_tz::Tz) -> Self {
        let terminal = std::io::stderr().is_terminal() && !json;
        Self { json, terminal, language, zone, on_air: false, silent: false, overloaded: false, gaps: 0 }
    }

    fn waiting(&self, id: Uuid) {
        if self.terminal {
            self.say(&say(self.language, "cli.live_waiting", [&id]));
        }
    }

    fn show(&mut self, state: &Live) {
        if self.json {
            println!("{}", serde_json::to_string(state).unwrap_or_default());
            return;
        }
        self.news(state);
        if self.terminal && state.state == "on_air" {
            eprint!("\r{}\x1b[K", meter(state));
            let _ = std::io::stderr().flush();
        }
    }

    fn news(&mut self, state: &Live) {
        let title = &state.title;
        if let Some(aired) = state.broadcast.as_ref().filter(|_| !self.on_air) {
            self.on_air = true;
            // Alone on standard output, for whoever wants to cancel it.
            println!("{}", aired.id);
            let short = |micros| when::moment(Civil(micros), self.zone, self.language);
            let (sounds, speech) = (short(aired.sounds_us), short(state.speech_us.unwrap_or(aired.sounds_us)));
            self.say(&say(self.language, "cli.live_on_air", [&aired.id, &sounds, &speech]));
            for warning in &aired.warnings {
                self.say(&format!("{} [{}]", warning.text, warning.code));
            }
        }
        if std::mem::replace(&mut self.silent, state.silent) != state.silent {
            match state.silent {
                true => self.say(&say(self.language, "live.note_silent", [title])),
                false => self.say(&say(self.language, "live.note_sound", [title])),
            }
        }
        if std::mem::replace(&mut self.overloaded, state.overloaded) != state.overloaded {
            match state.overloaded {
                true => self.say(&say(self.language, "live.note_overload", [title])),
                false => self.say(&say(self.language, "live.note_clear", [title])),
            }
        }
        if std::mem::replace(&mut self.gaps, state.gaps) < state.gaps {
            self.say(&say(self.language, "cli.live_gaps", [&state.gaps, &state.missing_ms]));
        }
    }

    fn ended(&mut self, state: &Live) {
        if self.json {
            println!("{}", serde_json::to_string(state).unwrap_or_default());
            return;
        }
        self.news(state);
        let seconds = format!("{:.1}", state.seconds);
        let why = state.end.as_ref().map_or("", |end| end.text.as_str());
        self.say(&say(self.language, "cli.live_ended", [&seconds, &state.packets, &why]));
    }

    /// A line that stays.
    fn say(&self, line: &str) {
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        eprintln!("{clear}{line}");
    }
}

/// ```text
///   00:01:23  ████████████▌·······|····  −18.2 dB  peak −6.1  gain +3.0
/// ```
fn meter(state: &Live) -> String {
    let seconds = state.seconds as u64;
    let place =
        |level: Option<f64>| (((level.unwrap_or(LOWEST) - LOWEST) / -LOWEST).clamp(0.0, 1.0) * WIDTH as f64) as usize;
    let (level, peak) = (place(state.level_db), place(state.peak_db));
    let bar: String = (0..WIDTH)
        .map(|at| match at {
            _ if at < level => '█',
            _ if at + 1 == peak => '|',
            _ => '·',
        })
        .collect();
    let number = |level: Option<f64>| level.map_or("  -∞ ".to_owned(), |level| format!("{level:5.1}"));
    format!(
        "{:02}:{:02}:{:02}  {bar}  {} dB  peak {}  gain {:+.1}",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60,
        number(state.level_db),
        number(state.peak_db),
        state.gain_db
    )
}

/// How often the state is asked for.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes read at once, and blocks on their way: beyond them it is not read.
const BLOCK: usize = 4_096;
const BLOCKS: usize = 8;
/// Cells of the meter, and dBFS at its left end.
const WIDTH: usize = 30;
const LOWEST: f64 = -60.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_meter_is_as_wide_whatever_the_level() {
        let mut state: Live = serde_json::from_value(serde_json::json!({
            "id": Uuid::nil(), "state": "on_air", "title": "", "areas": [], "priority": "normal", "format": null,
            "broadcast": null, "speech": null, "speech_us": null, "received_bytes": 0, "packets": 0, "seconds": 3_723.9,
            "peak_db": null, "level_db": null, "gain_db": -2.0, "silent": true, "silent_since": null,
            "overloaded": false, "gaps": 0, "missing_ms": 0, "reserve_ms": 0, "slow_ppm": 0.0, "dropped": 0, "end": null
        }))
        .unwrap();
        let silent = meter(&state);
        assert!(silent.starts_with("01:02:03  ···"), "{silent}");
        (state.level_db, state.peak_db) = (Some(-20.0), Some(-6.0));
        let loud = meter(&state);
        assert_eq!(loud.chars().count(), silent.chars().count());
        assert!(loud.contains('|') && loud.matches('█').count() == 20, "{loud}");
        (state.level_db, state.peak_db) = (Some(9.0), Some(9.0));
        assert_eq!(meter(&state).matches('█').count(), WIDTH);
    }
}
