//! The commands that speak to a node, or need none: sound on the air, silence, what there is, files, keys and rights; and
//! the demonstration. A loudspeaker's build lacks them.
use super::cli::{DONE, FAILED, NodeArgs, print_json};
use super::client::Client;
use super::forms::{Air, Level, Listed, Purpose, Stop};
use super::text::{Failure, Language, say};
use super::transcode::{self, Transcode};
use super::tree::{self, View};
use super::{enrol, places, receipts, report, second, serve, speak, table, timetable, up, when};
use crate::audio::Pcm;
use crate::io::decoder::{self, Form};
use crate::time::Civil;
use clap::{Args, Subcommand};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use uuid::Uuid;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs a whole tree on this machine: an origin, two relays, six loudspeakers
    Up(up::Options),
    /// Makes a new tree's roots, to be carried away, and its first node
    Init(enrol::Init),
    /// Makes the folder of a further node with a root at hand, or renews what runs out in one
    Enrol(Box<enrol::Enrol>),
    /// Lists all nodes, those first that wait for a place
    Nodes(places::ListArgs),
    /// Says where a node stands, such as a board that waits
    Place(places::PlaceArgs),
    /// Lists who may say what; takes it from one of them; or expels a node
    Revoke {
        /// A key as the list names it or its beginning, or a node: its id, the first eight digits of that, its code, its
        /// name; without it, lists
        key: Option<String>,
        /// Expels a node, named in full, that the node asked has not heard of
        #[arg(long, requires = "key")]
        unheard: bool,
        #[command(flatten)]
        root: enrol::AtHand,
        #[command(flatten)]
        node: NodeArgs,
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
        /// For how long; 0 lifts the silence that was ordered for the same areas
        #[arg(long, default_value_t = 10)]
        minutes: i64,
        /// Also locks this key, as `loa revoke` names it or its beginning: what it said is over, and it says nothing more
        #[arg(long, value_name = "KEY")]
        lock: Option<String>,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Puts a sound file onto a node, for its timetable; says the file's id
    Upload {
        /// A sound file
        file: PathBuf,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Has sound kept ready by everybody, for `loa air --prepared`; without a file, lists it
    Prepare(second::PrepareArgs),
    /// Lifts a lock: it takes two, or a root
    Release(second::ReleaseArgs),
    /// Makes the key of a person who signs beside a node what takes two
    Signer(second::SignerArgs),
    /// Says what an area hears first where several broadcasts want to sound at once
    Prefer(second::PreferArgs),
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
    /// Says what became of broadcasts: who was reached, who played, and who did not, by name
    Receipts(receipts::ReceiptsArgs),
    /// Writes receipts and what areas sounded into a file that can be checked offline
    Report(receipts::ReportArgs),
    /// Checks such a file: signatures, the chain of grants, hashes; needs no node
    Verify(receipts::VerifyArgs),
    /// What a node airs by itself, and what became of it; or what files come to, which needs no node
    Timetable(Box<timetable::TimetableArgs>),
    /// Looks an area up in a register of areas, or checks the register; a node's own, or a file's
    Area(Box<timetable::AreaArgs>),
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
pub struct AreaArgs {
    /// Areas, such as vn/01/00001, separated by commas
    #[arg(long = "area", value_name = "AREA", value_delimiter = ',', required = true)]
    areas: Vec<String>,
}

/// What is not real: every loudspeaker says so before it, and it gives way to what is.
#[derive(Clone, Copy, Debug, Args)]
pub struct Meant {
    /// Loudspeakers say first that this is an exercise
    #[arg(long)]
    exercise: bool,
    /// Loudspeakers say first that this is a test
    #[arg(long, conflicts_with = "exercise")]
    test: bool,
}

impl Meant {
    pub fn purpose(self) -> Purpose {
        match (self.exercise, self.test) {
            (true, _) => Purpose::Exercise,
            (false, true) => Purpose::Test,
            (false, false) => Purpose::Real,
        }
    }

    /// As a query has it.
    pub fn word(self) -> &'static str {
        match self.purpose() {
            Purpose::Real => "real",
            Purpose::Exercise => "exercise",
            Purpose::Test => "test",
        }
    }
}

#[derive(Debug, Args)]
pub struct AirArgs {
    /// A sound file
    #[arg(required_unless_present = "prepared")]
    file: Option<PathBuf>,
    /// What is kept ready under this name, in place of a file: nothing but an order goes out
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    prepared: Option<String>,
    #[command(flatten)]
    areas: AreaArgs,
    #[arg(long, value_enum, default_value_t = Level::Normal)]
    priority: Level,
    #[command(flatten)]
    meant: Meant,
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
    /// How often a file sounds, up to 20
    #[arg(long, value_name = "COUNT", conflicts_with = "prepared")]
    times: Option<u32>,
    /// Silence between, up to 4 seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3, requires = "times", value_parser = clap::value_parser!(u32).range(0..=4))]
    pause: u32,
    #[command(flatten)]
    second: second::Second,
    #[command(flatten)]
    node: NodeArgs,
}

impl Command {
    /// What must be done before there are threads and a log: a decoder has little memory, and its standard error is
    /// nobody's.
    pub fn run_bare(&self) -> Option<ExitCode> {
        match self {
            Self::Decode { name, stream, pcm } => {
                Some(decoder::serve(stream.then(|| pcm.map_or(Form::Container, Form::Pcm)), name))
            }
            _ => None,
        }
    }

    /// Whether it has no pipes but its own input and output.
    pub fn only_prints(&self) -> bool {
        !matches!(self, Self::Up(_) | Self::Live { .. } | Self::Transcode(_) | Self::Decode { .. })
    }

    pub async fn run(self, json: bool, language: Language) -> Result<u8, Failure> {
        match self {
            Self::Up(options) => up::up(options, json, language).await,
            Self::Init(options) => {
                let made = enrol::init(&options, language)?;
                told(json, &made, || enrol::made(&made, true, language));
                Ok(DONE)
            }
            Self::Enrol(options) if options.is_for_boards() => {
                let made = options.boards(language).await?;
                told(json, &made, || enrol::boards_made(&made, language));
                Ok(DONE)
            }
            Self::Enrol(options) => {
                let made = enrol::enrol(*options, language).await?;
                told(json, &made, || enrol::enrolled(&made, language));
                Ok(DONE)
            }
            Self::Nodes(args) => places::list(&args, json, language).await,
            Self::Place(args) => places::put(args, json, language).await,
            Self::Revoke { key, unheard, root, node } => {
                revoke(key, unheard, &root, &Client::of(&node, language)?, json, language).await
            }
            Self::Receipts(args) => receipts::receipts(args, json, language).await,
            Self::Report(args) => receipts::report(args, json, language).await,
            Self::Verify(args) => receipts::verify(args, json, language).await,
            Self::Upload { file, node } => {
                let media = Client::of(&node, language)?.upload(&file).await?;
                for warning in media.report.iter().flat_map(|found| report::warnings(found, &media.name, language)) {
                    eprintln!("loa: {warning}");
                }
                let seconds = format!("{:.1}", media.duration);
                told(json, &media, || say(language, "cli.uploaded", [&media.id, &media.name, &seconds]));
                Ok(DONE)
            }
            Self::Air(args) => air(args, json, language).await,
            Self::Live { live, node } => {
                let whole = speak::live(live, Client::of(&node, language)?, json, language).await?;
                Ok(if whole { DONE } else { FAILED })
            }
            Self::Cancel { id, node } => {
                let id: Uuid = id.parse().map_err(|_| Failure::new("broadcast.id", [&format!("{id:?}")]))?;
                let done = Client::of(&node, language)?.cancel(id).await?;
                told(json, &done, || say(language, "cli.cancelled", [&id]));
                Ok(DONE)
            }
            Self::Stop { areas, minutes, lock, node } => {
                let (areas, client) = (areas.areas, Client::of(&node, language)?);
                // A mistake in the key is found before anything falls silent.
                let lock = match lock {
                    Some(key) => Some(second::find_key(&client, &key).await?),
                    None => None,
                };
                let done = client.stop(&Stop { areas: areas.clone(), minutes }).await?;
                let silence = match minutes {
                    0 => say(language, "cli.stop_lifted", [&areas.join(", ")]),
                    _ => say(language, "cli.stopped", [&minutes, &areas.join(", ")]),
                };
                match lock {
                    None => told(json, &done, || silence),
                    Some(key) => {
                        // The silence stands, whatever comes of the lock.
                        let locked = second::put_lock(&client, &key, areas).await;
                        let locked = locked.inspect_err(|_| eprintln!("{silence}"))?;
                        let both = serde_json::json!({ "order": done.order, "lock": locked.order });
                        told(json, &both, || silence + "\n" + &say(language, "lock.done", [&key, &locked.order]));
                    }
                }
                Ok(DONE)
            }
            Self::Prepare(args) => second::ready(args, json, language).await,
            Self::Release(args) => second::release(args, json, language).await,
            Self::Signer(args) => second::signer(args, json, language).await,
            Self::Prefer(args) => second::put_first(args, json, language).await,
            Self::Timetable(args) => timetable::timetable(*args, json, language).await,
            Self::Area(args) => timetable::area(*args, json, language).await,
            Self::Transcode(args) => transcode::run(*args, json, language).await,
            // Done before there was a runtime.
            Self::Decode { .. } => Ok(DONE),
            Self::Status { watch, view, node } => {
                status(watch, &view, Client::of(&node, language)?, json, language).await
            }
        }
    }
}

async fn air(args: AirArgs, json: bool, language: Language) -> Result<u8, Failure> {
    let client = Client::of(&args.node, language)?;
    let second = args.second.open(language).await?;
    // Asked before the upload, so that a mistaken time costs none; and "+30s" counts from the command.
    let nodes = client.nodes().await?;
    let at = match &args.at {
        None => None,
        Some(text) => {
            let now = nodes.now_us.map(Civil).ok_or_else(|| Failure::new("time.unknown", []))?;
            Some(when::show(when::spoken(text, now, nodes.zone)?, nodes.zone))
        }
    };
    let prepared = match &args.prepared {
        Some(name) => Some(second::prepared(&client, name).await?),
        None => None,
    };
    let media = match &args.file {
        Some(file) => {
            let media = client.upload(file).await?;
            for warning in media.report.iter().flat_map(|found| report::warnings(found, &media.name, language)) {
                eprintln!("loa: {warning}");
            }
            media.id
        }
        None => String::new(),
    };
    let form = Air {
        media,
        prepared,
        areas: args.areas.areas,
        priority: args.priority,
        purpose: args.meant.purpose(),
        at,
        title: args.title,
        delay_ms: args.delay,
        resume: args.resume,
        times: args.times,
        pause_ms: args.times.map_or(0, |_| args.pause * 1_000),
    };
    let aired = match second {
        None => client.air(&form).await?,
        Some(second) => second::air(&client, form, &second).await?,
    };
    for warning in &aired.warnings {
        eprintln!("loa: {} [{}]", warning.text, warning.code);
    }
    let short = |micros| when::moment(Civil(micros), nodes.zone, language);
    told(json, &aired, || say(language, "cli.aired", [&aired.id, &short(aired.sounds_us), &short(aired.until_us)]));
    Ok(DONE)
}

async fn revoke(
    key: Option<String>,
    unheard: bool,
    root: &enrol::AtHand,
    client: &Client,
    json: bool,
    language: Language,
) -> Result<u8, Failure> {
    let Some(key) = key else {
        let list = client.authorities().await?;
        told(json, &list, || table::authorities(&list, language).trim_end().to_owned());
        return Ok(DONE);
    };
    let (done, taken) = enrol::revoke(client, &key, root, unheard, language).await?;
    told(json, &done, || match &taken {
        enrol::Taken::Key(key) => say(language, "revoke.done", [key]),
        enrol::Taken::Node(node, name) => say(language, "revoke.expelled", [node, name]),
    });
    Ok(DONE)
}

/// Nobody who looks at it may take an exercise for real.
pub fn called(listed: &Listed, language: Language) -> String {
    match listed.purpose {
        Purpose::Real => listed.title.clone(),
        Purpose::Exercise => say(language, "status.exercise", [&listed.title]),
        Purpose::Test => say(language, "status.test", [&listed.title]),
    }
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
            let titles = broadcasts.broadcasts.iter().map(|one| (one.id, called(one, language))).collect();
            let picture = tree::draw(&nodes.nodes, &titles, view, language)?;
            let room = if watch { screen.room() } else { None };
            let list = if watch { String::new() } else { table::on_air(&broadcasts.broadcasts, nodes.zone, language) };
            screen.show(&(picture.text(colour, room, language) + &list));
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

fn told(json: bool, answer: &impl Serialize, text: impl FnOnce() -> String) {
    match json {
        true => print_json(answer),
        false => println!("{}", text()),
    }
}

const WATCH: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::super::cli::{Cli, Command as All};
    use super::*;
    use clap::Parser;

    #[test]
    fn areas_are_separated_by_commas_and_required() {
        let cli =
            Cli::try_parse_from(["loa", "air", "a.wav", "--area", "vn/01,vn/02", "--at", "+5m", "--json"]).unwrap();
        assert!(cli.json);
        let All::Operator(Command::Air(args)) = cli.command else { panic!("{cli:?}") };
        assert_eq!(args.areas.areas, ["vn/01", "vn/02"]);
        let missing = Cli::try_parse_from(["loa", "air", "a.wav"]).unwrap_err();
        assert_eq!(missing.exit_code(), 2);
        assert!(Cli::try_parse_from(["loa", "air", "a.wav", "--area", "vn", "--priority", "loud"]).is_err());
    }
}
