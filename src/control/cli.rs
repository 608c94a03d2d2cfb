//! The command line (DESIGN §9): reads it, does what it says, and ends with 0 done, 1 failed, 2 usage or
//! config, 3 someone not reached.
use super::client::Client;
use super::forms::{Air, Level, Stop};
use super::text::{Failure, Language, say};
use super::transcode::{self, Transcode};
use super::tree::{self, View};
use super::{enrol, report, serve, speak, table, up, when};
use crate::audio::Pcm;
use crate::config::Config;
use crate::io::decoder::{self, Form};
use crate::time::Civil;
use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use uuid::Uuid;

#[derive(Debug, Parser)]
#[command(name = "loa", version, about = "Carries a country's public loudspeakers")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Answers in JSON, for programs
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the node that a configuration file describes
    Run {
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Runs a whole tree on this machine: an origin, two relays, six loudspeakers
    Up(up::Options),
    /// Makes a new tree's roots, to be carried away, and its first node
    Init(enrol::Init),
    /// Makes the folder of a further node with a root at hand, or renews what runs out in one
    Enrol(enrol::Enrol),
    /// Lists who may say what, or takes it from one of them
    Revoke {
        /// As the list names it; without it, lists
        key: Option<String>,
        #[command(flatten)]
        root: enrol::AtHand,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Says what is wrong with a configuration file, without starting anything
    Check {
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Puts a sound file on the air
    Air(AirArgs),
    /// Puts live sound on the air: arecord -t raw -f S16_LE -r 48000 | loa live --area vn/01 --pcm s16le:48000:1 -
    Live {
        #[command(flatten)]
        live: speak::Options,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Takes a broadcast off the air, or out of what is to come
    Cancel {
        /// As `loa air` gave it
        id: String,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Silences areas
    Stop {
        #[command(flatten)]
        areas: AreaArgs,
        /// For how long
        #[arg(long, default_value_t = 10)]
        minutes: i64,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Shows the tree of nodes, what sounds where and what is wrong
    Status {
        /// Shows it anew each second until Ctrl-C
        #[arg(long)]
        watch: bool,
        #[command(flatten)]
        view: View,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Makes Ogg Opus files of sound files, equally loud; needs no node
    Transcode(Box<Transcode>),
    /// Decodes standard input for another process of this program
    #[command(hide = true)]
    Decode {
        /// For messages
        #[arg(long, default_value = "-")]
        name: String,
        /// Standard input is a pipe
        #[arg(long)]
        stream: bool,
        /// Bare samples come down the pipe, such as s16le:48000:1
        #[arg(long, requires = "stream")]
        pcm: Option<Pcm>,
    },
}

#[derive(Debug, Args)]
struct NodeArgs {
    /// Speak to the node of this configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Speak to the node of this data folder [default: data/demo/origin, if it is there]
    #[arg(long, value_name = "DIR", env = "LOA_DATA", conflicts_with = "config")]
    data: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct AreaArgs {
    /// Areas, such as vn/01/00001, separated by commas
    #[arg(long = "area", value_name = "AREA", value_delimiter = ',', required = true)]
    areas: Vec<String>,
}

#[derive(Debug, Args)]
struct AirArgs {
    /// A sound file
    file: PathBuf,
    #[command(flatten)]
    areas: AreaArgs,
    #[arg(long, value_enum, default_value_t = Level::Normal)]
    priority: Level,
    /// RFC 3339; HH:MM or HH:MM:SS, today or tomorrow in the node's zone; +30s, +5m [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// What the broadcast is called [default: the file's name]
    #[arg(long)]
    title: Option<String>,
    /// Playout delay in milliseconds [default: 1000, in an emergency 600]
    #[arg(long, value_name = "MS")]
    delay: Option<i64>,
    /// Go on afterwards where something more urgent cut in
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    node: NodeArgs,
}

/// Does what the command line says, in its own runtime.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // Neither threads nor a log: it has little memory, and its standard error is nobody's.
    if let Command::Decode { name, stream, pcm } = &cli.command {
        return decoder::serve(stream.then(|| pcm.map_or(Form::Container, Form::Pcm)), name);
    }
    log();
    let language = Language::of_environment();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(command(cli.command, cli.json, language)),
        Err(error) => Err(Failure::from_room("node.start", format!("no threads for the program: {error}"))),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            if cli.json {
                print_json(&serde_json::json!({ "code": failure.code, "text": failure.text(language) }));
            }
            eprintln!("loa: {} [{}]", failure.text(language), failure.code);
            ExitCode::from(failure.exit())
        }
    }
}

async fn command(command: Command, json: bool, language: Language) -> Result<u8, Failure> {
    match command {
        Command::Run { config } => {
            let config = load(&config)?;
            serve::run(&config, serve::interrupted()).await.map(|()| DONE)
        }
        Command::Up(options) => up::up(options, json, language).await,
        Command::Init(options) => {
            let made = enrol::init(&options, language)?;
            told(json, &made, || enrol::made(&made, true, language));
            Ok(DONE)
        }
        Command::Revoke { key, root, node } => {
            let client = find(&node, language)?;
            let Some(key) = key else {
                let list = client.authorities().await?;
                told(json, &list, || table::authorities(&list.authorities, language).trim_end().to_owned());
                return Ok(DONE);
            };
            let done = enrol::revoke(&client, &key, &root, language).await?;
            told(json, &done, || say(language, "revoke.done", [&key]));
            Ok(DONE)
        }
        Command::Enrol(options) => {
            let made = enrol::enrol(options, language).await?;
            told(json, &made, || enrol::made(&made, false, language));
            Ok(DONE)
        }
        Command::Check { config: file } => {
            let config = load(&file)?;
            let kinds = [
                ("parent", config.parent.is_some()),
                ("children", config.children.is_some()),
                ("sources", config.sources.is_some()),
                ("playout", config.playout.is_some()),
                ("api", config.api.is_some()),
            ];
            let kinds: Vec<&str> = kinds.into_iter().filter_map(|(name, there)| there.then_some(name)).collect();
            match json {
                true => print_json(&serde_json::json!({ "valid": true, "sections": kinds })),
                false => println!("{}", say(language, "cli.checked", [&file.display(), &kinds.join(", ")])),
            }
            Ok(DONE)
        }
        Command::Air(args) => air(args, json, language).await,
        Command::Live { live, node } => {
            let whole = speak::live(live, find(&node, language)?, json, language).await?;
            Ok(if whole { DONE } else { FAILED })
        }
        Command::Cancel { id, node } => {
            let id: Uuid = id.parse().map_err(|_| Failure::new("broadcast.id", [&format!("{id:?}")]))?;
            let done = find(&node, language)?.cancel(id).await?;
            told(json, &done, || say(language, "cli.cancelled", [&id]));
            Ok(DONE)
        }
        Command::Stop { areas, minutes, node } => {
            let areas = areas.areas;
            let done = find(&node, language)?.stop(&Stop { areas: areas.clone(), minutes }).await?;
            told(json, &done, || say(language, "cli.stopped", [&minutes, &areas.join(", ")]));
            Ok(DONE)
        }
        Command::Transcode(args) => transcode::run(*args, json, language).await,
        // Done before there was a runtime.
        Command::Decode { .. } => Ok(DONE),
        Command::Status { watch, view, node } => status(watch, &view, find(&node, language)?, json, language).await,
    }
}

async fn air(args: AirArgs, json: bool, language: Language) -> Result<u8, Failure> {
    let client = find(&args.node, language)?;
    // Asked before the upload, so that a mistaken time costs none; and "+30s" counts from the command.
    let nodes = client.nodes().await?;
    let at = match &args.at {
        None => None,
        Some(text) => {
            let now = nodes.now_us.map(Civil).ok_or_else(|| Failure::new("time.unknown", []))?;
            Some(when::show(when::spoken(text, now, nodes.zone)?, nodes.zone))
        }
    };
    let media = client.upload(&args.file).await?;
    for warning in media.report.iter().flat_map(|found| report::warnings(found, &media.name, language)) {
        eprintln!("loa: {warning}");
    }
    let form = Air {
        media: media.id,
        areas: args.areas.areas,
        priority: args.priority,
        at,
        title: args.title,
        delay_ms: args.delay,
        resume: args.resume,
    };
    let aired = client.air(&form).await?;
    let short = |micros| when::show_short(Civil(micros), nodes.zone);
    told(json, &aired, || say(language, "cli.aired", [&aired.id, &short(aired.sounds_us), &short(aired.until_us)]));
    Ok(DONE)
}

async fn status(watch: bool, view: &View, client: Client, json: bool, language: Language) -> Result<u8, Failure> {
    let mut screen = table::Screen::new();
    let mut interrupted = std::pin::pin!(serve::interrupted());
    let colour = screen.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    loop {
        let asked = Instant::now();
        let (nodes, broadcasts) = (client.nodes().await?, client.broadcasts().await?);
        if json {
            print_json(&serde_json::json!({ "nodes": nodes, "broadcasts": broadcasts.broadcasts }));
        } else {
            let titles = broadcasts.broadcasts.iter().map(|one| (one.id, one.title.clone())).collect();
            let picture = tree::draw(&nodes.nodes, &titles, view, language)?;
            let room = if watch { screen.room() } else { None };
            screen.show(&picture.text(colour, room, language));
        }
        if !watch {
            return Ok(DONE);
        }
        // A country's list takes its time: watching it must not be most of what its node does.
        let pause = WATCH.max(asked.elapsed() * 9);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = &mut interrupted => return Ok(DONE),
        }
    }
}

fn find(node: &NodeArgs, language: Language) -> Result<Client, Failure> {
    Client::find(node.config.as_deref(), node.data.as_deref(), language)
}

fn load(file: &std::path::Path) -> Result<Config, Failure> {
    // Whatever is wrong with it, the exit code is that of a configuration.
    Config::load(file).map_err(|error| match error.code.starts_with("config.") {
        true => Failure::from_room(error.code, error.text),
        false => Failure::from_room("config.invalid", format!("{}: {}", error.code, error.text)),
    })
}

fn told(json: bool, answer: &impl Serialize, text: impl FnOnce() -> String) {
    match json {
        true => print_json(answer),
        false => println!("{}", text()),
    }
}

fn print_json(value: &impl Serialize) {
    // The forms have string keys and finite numbers: they can be written.
    println!("{}", serde_json::to_string(value).unwrap_or_default());
}

/// `LOA_LOG` chooses what is said (`debug`, `loa=debug`), `LOA_LOG_FORMAT=json` how. To standard error, so
/// that answers stay alone on standard output.
fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("LOA_LOG");
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(QUIET));
    let logger = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match std::env::var("LOA_LOG_FORMAT").is_ok_and(|format| format == "json") {
        true => logger.json().init(),
        false => logger.init(),
    }
}

pub const DONE: u8 = 0;
/// Some of what was asked for, and the rest is done.
pub const FAILED: u8 = 1;
/// A threshold missed or someone not reached.
pub const MISSED: u8 = 3;
/// Threads for people and programs; the node has its own for sound.
const THREADS: usize = 2;
const QUIET: &str = "warn,loa=info";
const WATCH: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn areas_are_separated_by_commas_and_required() {
        let cli =
            Cli::try_parse_from(["loa", "air", "a.wav", "--area", "vn/01,vn/02", "--at", "+5m", "--json"]).unwrap();
        assert!(cli.json);
        let Command::Air(args) = cli.command else { panic!("{cli:?}") };
        assert_eq!(args.areas.areas, ["vn/01", "vn/02"]);
        let missing = Cli::try_parse_from(["loa", "air", "a.wav"]).unwrap_err();
        assert_eq!(missing.exit_code(), 2);
        assert!(Cli::try_parse_from(["loa", "air", "a.wav", "--area", "vn", "--priority", "loud"]).is_err());
    }
}
