//! `loa up`: a whole tree on this machine, with the code, sockets, certificates and configuration of a
//! real one; it airs a bulletin over HTTP like any client and says what became of it.
use super::cli::{DONE, MISSED};
use super::client::Client;
use super::demo::{Demo, ORIGIN, Place, TREE};
use super::forms::{Air, Aired, Node};
use super::lossy::Lossy;
use super::outcome::{Outcome, Speaker};
use super::serve::{self, Running};
use super::table::{self, Screen};
use super::text::{Failure, Language, say};
use super::token::Token;
use crate::config::Config;
use crate::io::decoder::Isolation;
use crate::io::{Handle, clock};
use crate::node::trunk::{Event, Reply, Request};
use clap::Args;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

#[derive(Debug, Args)]
pub struct Options {
    /// Air the bulletin once and end: with 0 if every loudspeaker played the whole of it
    #[arg(long)]
    once: bool,
    /// Where the tree lives
    #[arg(long, value_name = "DIR", default_value = "data/demo")]
    data: PathBuf,
    /// WAV or FLAC to air instead of the one that ships with Loa
    #[arg(long, value_name = "FILE")]
    bulletin: Option<PathBuf>,
    /// Lose so many percent of all datagrams between relays and loudspeakers, both ways
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    loss: f64,
    /// Which datagrams are lost
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs until Ctrl-C, or with `--once` until the bulletin has been played.
pub async fn up(options: Options, json: bool, language: Language) -> Result<u8, Failure> {
    if !(0.0..=50.0).contains(&options.loss) {
        return Err(Failure::new("usage.loss", [&options.loss]));
    }
    let folder = options.data.clone();
    if !json && !folder.join(ORIGIN).exists() {
        println!("{}", say(language, "demo.making", [&folder.display()]));
    }
    let opened = tokio::task::spawn_blocking(move || Demo::open(&folder)).await;
    let mut demo = opened.map_err(|error| Failure::from_room("node.start", error.to_string()))??;
    let forwarders = forwarders(&mut demo, &options).await?;
    let dial = forwarders.iter().map(|(parent, lossy)| (*parent, lossy.address())).collect();
    let files = demo.configure(&dial)?;

    let mut tree =
        Tree { members: Vec::new(), last: Vec::new(), screen: Screen::new(), titles: BTreeMap::new(), json, language };
    let result = tokio::select! {
        result = tree.run(&demo, files, &options) => result,
        // A demonstration that is stopped has not been heard to its end.
        () = serve::interrupted() => Ok(if options.once { INTERRUPTED } else { DONE }),
    };
    // Speakers first, so that none sees its parent go.
    for member in tree.members.into_iter().rev() {
        member.running.stop().await;
    }
    tree.last.iter().for_each(|line| println!("{line}"));
    result
}

/// A forwarder in front of each relay; none without loss.
async fn forwarders(demo: &mut Demo, options: &Options) -> Result<Vec<(&'static str, Lossy)>, Failure> {
    let mut all = Vec::new();
    if options.loss == 0.0 {
        return Ok(all);
    }
    let relays = TREE.iter().filter(|place| !place.is_speaker() && place.parent.is_some());
    for (number, place) in (0u64..).zip(relays) {
        let Some(parent) = demo.sessions(place.name) else { continue };
        let listen = demo.between()?;
        let seed = options.seed.wrapping_mul(1_000_003).wrapping_add(number << 32);
        let lossy = Lossy::start(listen, parent, options.loss / 100.0, seed).await;
        let lossy = lossy.map_err(|error| Failure::new("config.port_taken", [&listen, &"--loss", &error]))?;
        all.push((place.name, lossy));
    }
    Ok(all)
}

struct Member {
    place: Place,
    running: Running,
}

struct Tree {
    members: Vec<Member>,
    /// What stands below everything, once the nodes have stopped.
    last: Vec<String>,
    screen: Screen,
    titles: BTreeMap<Uuid, String>,
    json: bool,
    language: Language,
}

/// A bulletin as it is uploaded.
enum Bulletin {
    Shipped { name: &'static str, title: &'static str, bytes: &'static [u8] },
    File(PathBuf),
}

impl Tree {
    async fn run(&mut self, demo: &Demo, files: Vec<PathBuf>, options: &Options) -> Result<u8, Failure> {
        for (place, file) in TREE.into_iter().zip(files) {
            let config = Config::load(&file).map_err(Failure::of_config)?;
            let running = serve::start_with(&config, Isolation::own(None)).await?;
            self.members.push(Member { place, running });
        }
        let api = self.members.first().and_then(|origin| origin.running.api);
        let api = api.ok_or_else(|| Failure::new("client.no_api", [&ORIGIN]))?;
        let origin = demo.data(ORIGIN);
        let token = Token::open(&origin)?;
        let client = Client::new(api, token, self.language)?;
        self.ready(&client).await?;
        self.print(say(self.language, "demo.ready", [&self.members.len(), &origin.display()]));

        let bulletins = match &options.bulletin {
            Some(file) => vec![Bulletin::File(file.clone())],
            None => SHIPPED.map(|(name, title, bytes)| Bulletin::Shipped { name, title, bytes }).into(),
        };
        for bulletin in bulletins.iter().cycle() {
            let began = Instant::now();
            let outcome = self.air(&client, bulletin).await?;
            let said = match self.json {
                true => serde_json::to_string(&outcome).unwrap_or_default(),
                false => outcome.text(self.language).trim_end().to_owned(),
            };
            if options.once {
                if !self.json {
                    self.last.push(say(self.language, "demo.sound", [&demo.speakers().display()]));
                }
                self.last.push(said);
                return Ok(if outcome.whole { DONE } else { MISSED });
            }
            self.screen.leave();
            println!("{said}");
            self.watch(&client, began + EVERY).await;
        }
        Ok(DONE)
    }

    /// Until every node is ready and the origin knows of all of them.
    async fn ready(&self, client: &Client) -> Result<(), Failure> {
        let deadline = Instant::now() + READY;
        loop {
            let known = client.nodes().await?.nodes;
            let waiting = self.members.iter().filter_map(|member| {
                let name = member.place.name;
                let state = known.iter().find(|node| node.name == name).map(|node| node.state.as_str());
                match state {
                    _ if !member.running.handle.snapshot().ready => Some(format!("{name} ({})", state.unwrap_or("-"))),
                    None => Some(format!("{name} (not seen by {ORIGIN})")),
                    Some("joining" | "lost" | "unknown") => Some(format!("{name} ({})", state.unwrap_or("-"))),
                    Some(_) => None,
                }
            });
            let waiting: Vec<String> = waiting.collect();
            if waiting.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Failure::new("demo.not_ready", [&READY.as_secs(), &waiting.join(", ")]));
            }
            sleep(LOOK).await;
        }
    }

    /// Airs a bulletin to everybody and follows it to its end, or to the deadline.
    async fn air(&mut self, client: &Client, bulletin: &Bulletin) -> Result<Outcome, Failure> {
        let (media, title) = match bulletin {
            Bulletin::Shipped { name, title, bytes } => {
                (client.upload_bytes(name, (*bytes).into()).await?, Some((*title).to_owned()))
            }
            Bulletin::File(file) => (client.upload(file).await?, None),
        };
        let mut following = Vec::new();
        for member in self.members.iter().filter(|member| member.place.is_speaker()) {
            let handle = member.running.handle.clone();
            let events = handle.events();
            let before = own(&handle).await.unwrap_or_default();
            let speaker = Speaker::new(member.place.name, member.place.area, before, &handle.played());
            following.push(Following { handle, events, speaker });
        }
        let form = Air { media: media.id, areas: vec!["vn".into()], title, ..Default::default() };
        let aired: Aired = client.air(&form).await?;
        let seconds = format!("{:.1}", media.duration);
        self.print(say(self.language, "demo.airing", [&media.name, &seconds, &aired.id]));

        let length = Duration::from_secs_f64(media.duration.clamp(0.0, 1e6));
        let (began, mut drawn, mut gathered) = (Instant::now(), None, Instant::now());
        let mut last_look = None;
        loop {
            let now = Instant::now();
            for one in &mut following {
                one.take_events(aired.id);
            }
            if now >= gathered + GATHER {
                gathered = now;
                for one in &mut following {
                    one.speaker.handle_played(&one.handle.played());
                }
            }
            self.draw(client, &mut drawn).await;
            let ended = following.iter().all(|one| one.speaker.has_ended());
            // Its end is planned a moment before it is heard, and the counters follow it.
            let until = *last_look.get_or_insert(now + SETTLE);
            if !ended {
                last_look = None;
            }
            if ended && now >= until || now >= began + length + GRACE {
                break;
            }
            sleep(LOOK).await;
        }
        let mut speakers = Vec::new();
        for mut one in following {
            one.speaker.handle_played(&one.handle.played());
            if let Some(report) = own(&one.handle).await {
                one.speaker.handle_report(report);
            }
            speakers.push(one.speaker);
        }
        let civil = match self.members.first() {
            Some(origin) => civil_of(&origin.running.handle).await,
            None => None,
        };
        let civil = civil.unwrap_or_else(|| clock::wall().0 - clock::local().0) as f64;
        let outcome = Outcome::new(aired.id, aired.accepted_us, civil, &speakers);
        if !outcome.whole {
            let waited = began.elapsed().as_secs();
            let failure = Failure::new("demo.unfinished", [&aired.id, &waited, &outcome.missing()]);
            self.screen.leave();
            eprintln!("loa: {} [{}]", failure.text(self.language), failure.code);
        }
        Ok(outcome)
    }

    /// Shows the table, whatever anybody airs, until then.
    async fn watch(&mut self, client: &Client, until: Instant) {
        let mut drawn = None;
        while Instant::now() < until {
            self.draw(client, &mut drawn).await;
            sleep_until(until.min(Instant::now() + DRAW)).await;
        }
    }

    /// The table twice a second on a terminal; elsewhere a line now and then; nothing in JSON.
    async fn draw(&mut self, client: &Client, drawn: &mut Option<Instant>) {
        let often = if self.screen.is_terminal() { DRAW } else { LINE };
        if self.json || drawn.is_some_and(|drawn| drawn.elapsed() < often) {
            return;
        }
        *drawn = Some(Instant::now());
        let mut nodes = Vec::with_capacity(self.members.len());
        for member in &self.members {
            nodes.extend(own(&member.running.handle).await);
        }
        if self.screen.is_terminal() {
            if nodes.iter().filter_map(|node| node.sounding).any(|id| !self.titles.contains_key(&id))
                && let Ok(listed) = client.broadcasts().await
            {
                self.titles = listed.broadcasts.into_iter().map(|one| (one.id, one.title)).collect();
            }
            self.screen.show(&table::nodes(&nodes, &self.titles, self.language));
        } else {
            self.print(progress(&nodes, self.language));
        }
    }

    /// A line that stays.
    fn print(&mut self, line: String) {
        if !self.json {
            self.screen.leave();
            println!("{line}");
        }
    }
}

/// A speaker while a bulletin is on the air.
struct Following {
    handle: Handle,
    events: Receiver<Event>,
    speaker: Speaker,
}

impl Following {
    fn take_events(&mut self, broadcast: Uuid) {
        loop {
            match self.events.try_recv() {
                Ok(event) => self.speaker.handle_event(broadcast, &event),
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }
}

/// A node's own report, as fresh as it gets.
async fn own(handle: &Handle) -> Option<Node> {
    let asked = tokio::time::timeout(SILENT, handle.request(Request::Nodes)).await;
    match asked {
        Ok(Some(Reply::Nodes(reports))) => {
            let own = reports.iter().find(|report| report.node.as_ref() == handle.id().as_bytes().as_slice());
            own.map(|report| Node::new(report, chrono_tz::UTC))
        }
        _ => None,
    }
}

/// What to add to the machine's monotonic µs for the origin's civil time, which stamped the acceptance and
/// may differ from the wall clock that it follows. Of several readings the one with the shortest way counts.
async fn civil_of(origin: &Handle) -> Option<i64> {
    let mut best: Option<(i64, i64)> = None;
    for _ in 0..READINGS {
        let asked = clock::local();
        let Some(at) = own(origin).await.and_then(|own| own.at_us) else { continue };
        let way = clock::local() - asked;
        let reading = (way, at - (asked.0 + way / 2));
        best = Some(best.map_or(reading, |best| best.min(reading)));
    }
    best.map(|(_, civil)| civil)
}

fn progress(nodes: &[Node], language: Language) -> String {
    let speakers = || nodes.iter().filter(|node| node.role == "speaker");
    let sounding = speakers().filter(|node| node.sounding.is_some()).count();
    let lost: u64 = speakers().map(|node| node.lost).sum();
    let repaired: u64 = speakers().map(|node| node.repaired).sum();
    let offset = speakers().map(|node| node.offset_us.abs()).max().unwrap_or_default();
    say(language, "demo.progress", [&sounding, &speakers().count(), &lost, &repaired, &offset])
}

/// In the binary, so that it works anywhere.
const SHIPPED: [(&str, &str, &[u8]); 2] = [
    ("bulletin.flac", "Bản tin thử nghiệm", include_bytes!("../../config/demo/bulletin.flac")),
    ("bulletin-2.flac", "Bản tin thử nghiệm 2", include_bytes!("../../config/demo/bulletin-2.flac")),
];
/// Handshakes, sixteen exchanges of clocks and a first report, on a machine that is busy.
const READY: Duration = Duration::from_secs(30);
/// Beyond a bulletin's own length, for it to be heard everywhere.
const GRACE: Duration = Duration::from_secs(30);
/// From the plan of the last sample to its sound (100 ms) and to counters that show it (1 s).
const SETTLE: Duration = Duration::from_millis(1_200);
/// From the beginning of one bulletin to that of the next.
const EVERY: Duration = Duration::from_secs(120);
/// Of the origin's clock.
const READINGS: usize = 8;
const LOOK: Duration = Duration::from_millis(200);
const DRAW: Duration = Duration::from_millis(500);
const LINE: Duration = Duration::from_secs(5);
/// Devices log the newest chunks alone.
const GATHER: Duration = Duration::from_secs(2);
const SILENT: Duration = Duration::from_secs(2);
/// 128 + SIGINT, as shells say it.
const INTERRUPTED: u8 = 130;
