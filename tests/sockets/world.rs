//! The second world of the contract: nodes of `io`, each with its data folder, its threads, sockets and
//! certificates, on loopback.

use super::contract::{self, Attack, Limits};
use super::ports;
use super::tap::{Genuine, Tap, hold};
use loa::config::Config;
use loa::io::identity::{NewNode, Root};
use loa::io::node::{Handle, Played};
use loa::io::{Node, clock};
use loa::node::Role;
use loa::node::trunk::{Air, Event, Reply, Request};
use loa::sim::{Aired, Bulletin, Forgery, Heard, Random, Tracks, What};
use loa::time::{Civil, Local, MILLISECOND, SECOND, micros};
use loa::track::{Info, Packet, Secret};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::broadcast::Receiver;
use uuid::Uuid;

/// The standard tree of the contract as processes would run it, and a [`Tap`] above every child.
pub struct Sockets {
    folder: TempDir,
    root: Arc<Root>,
    runtime: Runtime,
    members: BTreeMap<String, Member>,
    genuine: Arc<Mutex<Genuine>>,
    tracks: Tracks,
    /// Tracks that tests made of real sound.
    made: BTreeSet<Uuid>,
    random: Random,
    options: Options,
    epoch: Civil,
    begin: Local,
}

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Share of the datagrams that go missing on the last hop, each way.
    pub loss: f64,
    /// Speakers write what they play to [`Sockets::wav`].
    pub wav: bool,
}

pub struct Member {
    pub config: Config,
    pub id: Uuid,
    /// First port for its children.
    pub port: Option<u16>,
    shards: u16,
    tap: Option<Tap>,
    node: Option<Node>,
    events: Option<Receiver<Event>>,
    /// Of processes that have ended.
    past: Vec<Played>,
    overrun: Vec<String>,
}

/// Where a node stands.
pub struct Place<'a> {
    pub name: &'a str,
    pub area: &'a str,
    pub parent: Option<&'a str>,
    /// Threads for children; 0: a speaker.
    pub shards: u16,
    pub speaks: bool,
    /// Of its sound card.
    pub ppm: f64,
}

impl Sockets {
    /// Every node of the standard tree, started.
    pub fn start(options: Options) -> Self {
        let mut sockets = Self::empty(options);
        let relay = |name, area, parent, shards, speaks| Place { name, area, parent, shards, speaks, ppm: 0.0 };
        sockets.add(&relay("origin", "vn", None, 1, true));
        sockets.add(&relay("north", "vn/01", Some("origin"), 2, true));
        sockets.add(&relay("south", "vn/02", Some("origin"), 1, false));
        for (name, area, parent, ppm) in [
            ("n1a", "vn/01/00001", "north", -80.0),
            ("n1b", "vn/01/00001", "north", 80.0),
            ("n2a", "vn/01/00002", "north", 35.0),
            ("n2b", "vn/01/00002", "north", -20.0),
            ("s1a", "vn/02/00001", "south", 60.0),
            ("s1b", "vn/02/00001", "south", -55.0),
        ] {
            sockets.add(&Place { name, area, parent: Some(parent), shards: 0, speaks: false, ppm });
        }
        for name in contract::NODES {
            contract::World::start(&mut sockets, name);
        }
        sockets
    }

    pub fn empty(options: Options) -> Self {
        // The first provider of cryptography stays; another test may have been faster.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let seed = u64::from_le_bytes(loa::io::identity::random());
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            root: Arc::new(Root::generate()),
            runtime: runtime.expect("a runtime"),
            members: BTreeMap::new(),
            genuine: Arc::default(),
            tracks: Tracks::default(),
            made: BTreeSet::new(),
            random: Random::of(seed, "sockets", 0),
            options,
            epoch: clock::wall(),
            begin: clock::local(),
        }
    }

    /// Provisions and configures a node; it does not run yet.
    pub fn add(&mut self, place: &Place<'_>) {
        let tap = place.parent.map(|parent| {
            let parent = self.member(parent);
            let (port, shards) = (parent.port.expect("a relay"), parent.shards);
            let last_hop = place.shards == 0;
            let loss = if last_hop { self.options.loss } else { 0.0 };
            let above = parent.config.parent.is_none();
            let ports = (ports::free(shards), port, shards);
            let weather = (loss, self.random.number());
            let tap = Tap::start(self.runtime.handle(), self.genuine.clone(), ports, above, weather);
            (tap.expect("ports for a tap"), shards)
        });
        let dial = tap.as_ref().map(|(tap, shards)| (vec![tap.address().to_string()], *shards));
        let config = self.configure(place, dial);
        let id = self.provision(&self.root, place, &config.config.node.data);
        let member = Member { tap: tap.map(|(tap, _)| tap), id, ..config };
        self.members.insert(place.name.to_owned(), member);
    }

    /// A node that dials these addresses itself, provisioned by `root`.
    pub fn add_stranger(&mut self, place: &Place<'_>, root: &Root, addresses: Vec<String>, shards: u16) {
        let member = self.configure(place, Some((addresses, shards)));
        let id = self.provision(root, place, &member.config.node.data);
        self.members.insert(place.name.to_owned(), Member { id, ..member });
    }

    fn provision(&self, root: &Root, place: &Place<'_>, data: &Path) -> Uuid {
        let role = if place.shards == 0 { Role::Speaker } else { Role::Relay };
        let area = place.area.parse().expect("an area");
        let authority = place.speaks.then(|| "main".to_owned());
        let node = NewNode { role, area, name: place.name.to_owned(), authority };
        root.provision(data, &node).unwrap_or_else(|error| panic!("{}: {error}", place.name))
    }

    fn configure(&self, place: &Place<'_>, dial: Option<(Vec<String>, u16)>) -> Member {
        let mut text = format!("[node]\ndata = \"{}\"\n", place.name);
        if let Some((addresses, shards)) = &dial {
            let _ = write!(text, "[parent]\naddresses = {addresses:?}\nshards = {shards}\n");
        }
        let port = (place.shards > 0).then(|| ports::free(place.shards));
        match port {
            Some(port) => {
                let _ = write!(text, "[children]\nlisten = \"127.0.0.1:{port}\"\nshards = {}\n", place.shards);
            }
            None => {
                let device = if self.options.wav { format!("wav:{}.wav", place.name) } else { "null".to_owned() };
                let _ = write!(text, "[playout]\ndevice = \"{device}\"\nrate_error_ppm = {:.1}\n", place.ppm);
            }
        }
        if place.speaks {
            text += "[sources]\nauthority = \"main\"\n";
        }
        let file = self.folder.path().join(format!("{}.toml", place.name));
        std::fs::write(&file, &text).expect("a configuration");
        let config = Config::load(&file).unwrap_or_else(|error| panic!("{error}\n{text}"));
        Member {
            config,
            id: Uuid::nil(),
            port,
            shards: place.shards,
            tap: None,
            node: None,
            events: None,
            past: Vec::new(),
            overrun: Vec::new(),
        }
    }

    pub fn root(&self) -> Arc<Root> {
        self.root.clone()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What a speaker's device wrote.
    pub fn wav(&self, speaker: &str) -> PathBuf {
        self.folder.path().join(format!("{speaker}.wav"))
    }

    pub fn member(&self, name: &str) -> &Member {
        self.members.get(name).unwrap_or_else(|| panic!("no node named {name} in this world"))
    }

    fn member_mut(&mut self, name: &str) -> &mut Member {
        self.members.get_mut(name).unwrap_or_else(|| panic!("no node named {name} in this world"))
    }

    pub fn handle(&self, name: &str) -> Option<Handle> {
        self.member(name).node.as_ref().map(Node::handle)
    }

    /// What the device of a speaker has played, in all its processes.
    pub fn played(&self, speaker: &str) -> Vec<Played> {
        let mut played = self.member(speaker).past.clone();
        played.extend(self.handle(speaker).map(|handle| handle.played()).unwrap_or_default());
        played
    }

    /// The value of a counter in a node's metrics, over all labels that contain `label`.
    pub fn metric(&self, node: &str, name: &str, label: &str) -> u64 {
        let text = self.handle(node).map(|handle| handle.metrics()).unwrap_or_default();
        text.lines()
            .filter(|line| line.starts_with(name) && line.contains(label))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum::<f64>() as u64
    }

    pub fn request(&self, node: &str, request: Request) -> Option<Reply> {
        let handle = self.handle(node)?;
        self.runtime.block_on(async { tokio::time::timeout(ANSWER, handle.request(request)).await.ok().flatten() })
    }

    /// Puts packets on the air that a test made itself.
    pub fn air_made(
        &mut self,
        node: &str,
        bulletin: &Bulletin,
        (info, secret, packets): (Info, Secret, Vec<Packet>),
    ) -> Result<Aired, String> {
        let handle = self.handle(node).ok_or("it does not run")?;
        let (track, samples) = (info.id, packets.len() as u64 * u64::from(info.duration));
        self.made.insert(track);
        hold(&self.genuine).sound.extend(packets.iter().map(|packet| packet.bytes.to_vec()));
        handle.store().keep(track, &packets).map_err(|error| error.to_string())?;
        let air = Air {
            id: None,
            title: format!("track {track}"),
            areas: bulletin.areas.clone(),
            priority: bulletin.priority,
            at: bulletin.at,
            delay: bulletin.delay,
            track: info,
            secret,
            others: Vec::new(),
            live: false,
            resume: bulletin.resume,
            second: false,
            prepared: None,
            purpose: bulletin.purpose,
        };
        match self.request(node, Request::Air(Box::new(air))) {
            Some(Reply::Aired { broadcast, accepted, from, until, sounds, .. }) => {
                Ok(Aired { broadcast, track, samples, accepted, from, until, sounds })
            }
            other => Err(format!("{node} did not air it: {other:?}")),
        }
    }

    /// Datagrams that taps have carried and lost.
    pub fn counted(&self) -> (u64, u64) {
        let taps = self.members.values().filter_map(|member| member.tap.as_ref());
        let lossy = taps.map(Tap::counted).filter(|(_, lost)| *lost > 0);
        lossy.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    fn order(&self, node: &str, request: Request) -> Result<(), String> {
        match self.request(node, request) {
            Some(Reply::Done { .. }) => Ok(()),
            other => Err(format!("{node} did not do it: {other:?}")),
        }
    }
}

impl contract::World for Sockets {
    fn epoch(&self) -> Civil {
        self.epoch
    }

    fn civil(&self) -> Civil {
        self.epoch + (clock::local() - self.begin)
    }

    fn wait(&mut self, micros: i64) {
        std::thread::sleep(Duration::from_micros(micros.max(0) as u64));
    }

    fn ready(&self, node: &str) -> bool {
        self.handle(node).is_some_and(|handle| handle.snapshot().ready)
    }

    fn air(&mut self, node: &str, bulletin: &Bulletin) -> Result<Aired, String> {
        assert!(!bulletin.live, "live sources come with a source");
        let packets = (bulletin.length / micros(u64::from(bulletin.duration))).max(1) as u64;
        let civil = contract::World::civil(self);
        let made =
            self.tracks.make(&mut self.random, civil, packets, bulletin.duration, bulletin.bitrate, bulletin.live);
        self.air_made(node, bulletin, made.map_err(|error| error.to_string())?)
    }

    fn cancel(&mut self, node: &str, aired: &Aired) -> Result<(), String> {
        self.order(node, Request::Cancel { broadcast: aired.broadcast })
    }

    fn hush(&mut self, node: &str, area: &str, duration: i64) -> Result<(), String> {
        let area = area.parse().map_err(|error| format!("{area}: {error}"))?;
        self.order(node, Request::Hush { areas: vec![area], duration })
    }

    fn stop(&mut self, name: &str) {
        let overrun = self.overrun_of(name);
        let member = self.member_mut(name);
        member.overrun.extend(overrun);
        if let Some(node) = member.node.take() {
            let handle = node.handle();
            node.stop();
            member.past.extend(handle.played());
        }
    }

    fn start(&mut self, name: &str) {
        let member = self.member_mut(name);
        assert!(member.node.is_none(), "{name} runs already");
        let node = Node::start(&member.config).unwrap_or_else(|error| panic!("{name}: {error}"));
        member.events = Some(node.handle().events());
        member.node = Some(node);
    }

    fn heard(&self, speaker: &str) -> Vec<Heard> {
        self.played(speaker).iter().map(|played| heard(played, self.begin)).collect()
    }

    fn attack(&mut self, attack: Attack, from: &str, to: &str, aired: &Aired) {
        let member = self.members.get(to).unwrap_or_else(|| panic!("no node named {to} in this world"));
        let tap = member.tap.as_ref().unwrap_or_else(|| panic!("nothing stands between {from} and {to}"));
        let newest = ((contract::World::civil(self) - aired.sounds) / (240 * MILLISECOND) + 4).max(1) as u64;
        let (tracks, random) = (&self.tracks, &mut self.random);
        let mut forge = |index, forgery| tracks.forge(random, aired.track, index, forgery).map(|bytes| bytes.to_vec());
        let false_packets: Vec<Vec<u8>> = match attack {
            Attack::Forge => (newest..newest + 2).filter_map(|index| forge(index, Forgery::Sealed)).collect(),
            Attack::Splice => [(newest, Forgery::Spliced), (newest, Forgery::Altered), (newest + 9, Forgery::Spliced)]
                .into_iter()
                .filter_map(|(index, forgery)| forge(index, forgery))
                .collect(),
            Attack::Corrupt => {
                // Of one that has come, and of those that are about to.
                let coming = (newest..newest + 2).filter_map(|index| tracks.packet(aired.track, index));
                let packets = tap.tapped().into_iter().next_back().into_iter();
                let flip = |mut packet: Vec<u8>| {
                    // Behind the first byte: QUIC takes care of its own.
                    let bit = 8 + random.below(8 * (packet.len() as u64 - 1)) as usize;
                    packet[bit / 8] ^= 1 << (bit % 8);
                    packet
                };
                packets.chain(coming.map(|packet| packet.bytes.to_vec())).map(flip).collect()
            }
            Attack::Replay => tap.tapped(),
            Attack::Garbage => (0..4)
                .map(|_| {
                    let mut bytes = vec![0; 1 + random.below(1_400) as usize];
                    random.fill(&mut bytes);
                    bytes
                })
                .collect(),
        };
        false_packets.iter().for_each(|packet| tap.inject(packet));
    }

    fn rejected(&self, node: &str) -> u64 {
        self.handle(node).map_or(0, |handle| handle.snapshot().trunk.packets_rejected.values().sum())
    }

    fn foreign(&self) -> u64 {
        let mut foreign = 0;
        for (name, member) in &self.members {
            for what in member.tap.iter().flat_map(Tap::foreign) {
                eprintln!("towards {name}: {what}");
                foreign += 1;
            }
            let unknown = |played: &&Played| played.track.is_some_and(|track| !self.made.contains(&track));
            foreign += self.played(name).iter().filter(unknown).count() as u64;
        }
        foreign
    }

    fn overrun(&self) -> Vec<String> {
        let past = self.members.values().flat_map(|member| member.overrun.clone());
        past.chain(self.members.keys().flat_map(|name| self.overrun_of(name))).collect()
    }

    fn limits(&self) -> Limits {
        Limits { step: 5_000.0, on_time: 15_000.0, missing: 0.0 }
    }
}

impl Sockets {
    /// Every queue of a running node that has dropped something.
    fn overrun_of(&self, name: &str) -> Vec<String> {
        let text = self.handle(name).map(|handle| handle.metrics()).unwrap_or_default();
        text.lines()
            .filter(|line| line.starts_with("loa_queue_dropped_total{") && !line.ends_with(" 0"))
            .map(|line| format!("{name}: {line}"))
            .collect()
    }
}

/// What happened, for whoever looks into a failure.
impl Drop for Sockets {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for (name, member) in &mut self.members {
            if let Some(node) = &member.node {
                let snapshot = node.handle().snapshot();
                eprintln!("{name} {}: {:?} {:?}", member.id, snapshot.trunk, snapshot.branches);
            }
            while let Some(event) = member.events.as_mut().and_then(|events| events.try_recv().ok()) {
                let at = event.at.map(|at| at - self.epoch);
                eprintln!("  {at:>10?} {:?}", event.what);
            }
        }
    }
}

fn heard(played: &Played, begin: Local) -> Heard {
    let what = match played {
        Played { concealed: true, .. } => What::Concealed,
        Played { track: Some(_), .. } => What::Sound,
        Played { track: None, .. } => What::Tone,
    };
    let Played { track, sample, count, left, lasts, gain, .. } = *played;
    Heard { what, track, sample, count, left: left - begin.0 as f64, lasts, gain }
}

/// How long a node may take to answer a request.
const ANSWER: Duration = Duration::from_micros(5 * SECOND as u64);
