//! What a connected, streaming loudspeaker costs its parent in resident memory (DESIGN §11: at most 24 KiB).
//!
//! The parent is `loa run` in its own process. The loudspeakers are sessions over real QUIC in this one,
//! each with its own socket, key and certificate; they take a track in and sound nothing.
//! `LOA_BENCH_SPEAKERS=1000` changes their number, `LOA_BENCH_SHORT=1` shows only that it works.
mod machine;

use loa::broadcast::{Area, Body, Order, Placement};
use loa::io::clock::{self, Now};
use loa::io::identity::{Identity, NewNode, Root};
use loa::io::quic::{self, Driver};
use loa::io::socket::{Receiver, Socket};
use loa::io::tls;
use loa::node::{Link, Role};
use loa::proto;
use loa::session::Child;
use loa::session::child::{self, Event, Me, Via, Wish};
use loa::time::MILLISECOND;
use loa::track::{Cipher, Info};
use machine::{number, raise_files, resident, short};
use prost::Message;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// KiB (DESIGN §11).
const BOUND: f64 = 24.0;
/// Handshakes under way at once: what the parent takes from one address without asking for proof.
const WAVE: usize = 24;
const BULLETIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/demo/bulletin-2.flac");
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at all speakers' timers: the shortest of them that matters here is 200 ms.
const LOOK: Duration = Duration::from_millis(20);
/// 127.0.0.1 and on: one address has ports for 28,000 sockets.
const ADDRESSES: usize = 100;

fn main() {
    let speakers = number("LOA_BENCH_SPEAKERS").unwrap_or(if short() { 50 } else { 10_000 });
    let packets = if short() { 4 } else { 20 };
    let files = raise_files();
    assert!(speakers + 64 <= files, "{speakers} sockets, and this process may open {files} files: ulimit -n");
    let folder = tempfile::tempdir().expect("a folder for keys");
    let root = Root::generate();
    let parent = Parent::start(&root, folder.path());
    let mut crowd = Crowd::new();

    // What the parent takes once, for its first listener and its first track, is not the price of the next.
    crowd.push(&root, folder.path(), 0, parent.sessions);
    crowd.run("the first speaker", |crowd| crowd.joined() == 1);
    let warm_up = crowd.air(&parent);
    crowd.run("the first packets", |crowd| crowd.received(warm_up) >= 4);
    parent.loa(&["cancel", &warm_up.to_string()]).wait().expect("loa cancel runs");
    crowd.linger(Duration::from_secs(1));
    let before = resident(parent.process.id());

    for number in 1..=speakers {
        crowd.push(&root, folder.path(), number, parent.sessions);
        crowd.run("room for a handshake", |crowd| crowd.speakers.len() - crowd.joined() < WAVE);
    }
    crowd.run("every speaker's welcome", |crowd| crowd.joined() == speakers + 1);
    crowd.linger(Duration::from_secs(1));
    let connected = resident(parent.process.id());

    let broadcast = crowd.air(&parent);
    crowd.run("packets for all", |crowd| crowd.received(broadcast) >= packets);
    let streaming = resident(parent.process.id());

    let each = |now: u64| now.saturating_sub(before) as f64 / speakers as f64;
    println!("memory of a parent, {speakers} speakers over QUIC, one session and one socket each");
    println!("                     RSS KiB   KiB per speaker");
    println!("before              {before:>8}");
    for (state, resident) in [("connected", connected), ("streaming", streaming)] {
        let verdict = if each(resident) <= BOUND { "holds" } else { "MISSED" };
        println!("{state:<19} {resident:>8}   {:>15.1}   bound {BOUND}: {verdict}", each(resident));
    }
    println!("every speaker received at least {packets} packets while it was measured");
}

/// `loa run` in its own process.
struct Parent {
    process: process::Child,
    config: PathBuf,
    sessions: SocketAddr,
}

impl Parent {
    fn start(root: &Root, folder: &Path) -> Self {
        let data = folder.join("origin");
        let node =
            NewNode { role: Role::Relay, area: area("vn"), name: "origin".into(), authority: Some("national".into()) };
        root.provision(&data, &node).expect("a folder for the origin");
        let sessions = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
        let tcp = || TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
        let config = data.join("loa.toml");
        let text = format!(
            "[node]\ndata = \".\"\n[children]\nlisten = \"{sessions}\"\n[sources]\nauthority = \"national\"\n\
             [api]\nlisten = \"{}\"\n[admin]\nlisten = \"{}\"\n",
            tcp(),
            tcp()
        );
        std::fs::write(&config, text).expect("the configuration is written");
        let mut run = Command::new(env!("CARGO_BIN_EXE_loa"));
        let process = run.arg("run").arg("--config").arg(&config).env("LOA_LOG", "error").spawn().expect("loa run");
        let parent = Self { process, config, sessions };
        let until = Instant::now() + PATIENCE;
        while !parent.loa(&["status"]).wait().expect("loa status runs").success() {
            assert!(Instant::now() < until, "the parent does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        parent
    }

    /// A command to this node.
    fn loa(&self, arguments: &[&str]) -> process::Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loa"));
        command.args(arguments).arg("--json").arg("--config").arg(&self.config);
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("loa runs")
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// All speakers, on one thread.
struct Crowd {
    epoll: i32,
    /// One for all sockets: a buffer for each would be the load's memory many times over.
    receiver: Receiver,
    speakers: Vec<Speaker>,
    looked: Instant,
}

struct Speaker {
    driver: Driver,
    link: Link,
    me: Me,
    session: Option<Child>,
    logs: Vec<(Uuid, Cipher)>,
    /// Tracks, the broadcast of each, and the packets of it that came.
    tracks: Vec<(Uuid, Uuid, usize)>,
    joined: bool,
}

impl Crowd {
    fn new() -> Self {
        // SAFETY: no pointer is passed.
        let epoll = unsafe { libc::epoll_create1(0) };
        Self { epoll, receiver: Receiver::default(), speakers: Vec::new(), looked: Instant::now() }
    }

    fn push(&mut self, root: &Root, folder: &Path, number: usize, parent: SocketAddr) {
        let speaker = Speaker::dial(root, &folder.join(format!("speaker-{number}")), number, parent);
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: self.speakers.len() as u64 };
        let descriptor = speaker.driver.socket().descriptor();
        // SAFETY: the event is ours and only read.
        let result = unsafe { libc::epoll_ctl(self.epoll, libc::EPOLL_CTL_ADD, descriptor, &raw mut event) };
        assert_eq!(result, 0, "epoll takes a socket");
        self.speakers.push(speaker);
    }

    fn joined(&self) -> usize {
        self.speakers.iter().filter(|speaker| speaker.joined).count()
    }

    /// Packets of a broadcast that even the last speaker has.
    fn received(&self, broadcast: Uuid) -> usize {
        let of = |speaker: &Speaker| {
            speaker.tracks.iter().filter(|track| track.1 == broadcast).map(|track| track.2).max().unwrap_or(0)
        };
        self.speakers.iter().map(of).min().unwrap_or(0)
    }

    /// Airs the bulletin, and goes on living meanwhile.
    fn air(&mut self, parent: &Parent) -> Uuid {
        let mut command = parent.loa(&["air", BULLETIN, "--area", "vn"]);
        self.run("loa air", |_| command.try_wait().expect("loa air runs").is_some());
        let output = command.wait_with_output().expect("loa air says something");
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("loa air answers in JSON");
        let id = answer["id"].as_str().and_then(|id| id.parse().ok());
        id.unwrap_or_else(|| panic!("loa air: {answer}"))
    }

    fn linger(&mut self, time: Duration) {
        let until = Instant::now() + time;
        self.run("time", |_| Instant::now() >= until);
    }

    fn run(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 256];
        while !done(self) {
            assert!(Instant::now() < until, "waited {PATIENCE:?} for {what}");
            // SAFETY: the events are ours and as many as stated.
            let ready = unsafe { libc::epoll_wait(self.epoll, events.as_mut_ptr(), events.len() as i32, 5) };
            for event in events.iter().take(ready.max(0) as usize) {
                self.speakers[event.u64 as usize].receive(&mut self.receiver);
            }
            let now = Now::read();
            if now.instant - self.looked >= LOOK {
                self.looked = now.instant;
                self.speakers.iter_mut().filter(|speaker| speaker.is_due(now)).for_each(Speaker::turn);
            }
        }
    }
}

impl Speaker {
    fn dial(root: &Root, data: &Path, number: usize, parent: SocketAddr) -> Self {
        let place = area("vn/01");
        let name = "speaker".to_owned();
        let node = NewNode { role: Role::Speaker, area: place.clone(), name: name.clone(), authority: None };
        let id = root.provision(data, &node).expect("a folder for the speaker");
        let placement = root.placement(Placement { node: id, area: place, name, parents: Vec::new() }, clock::wall());
        let identity = Identity::load(data).expect("the keys just written");
        std::fs::remove_dir_all(data).expect("they are not needed twice");
        let client = tls::client(&identity).expect("a TLS configuration");
        let socket = Socket::bind(([127, 0, 0, 1 + (number % ADDRESSES) as u8], 0).into(), 64 << 10)
            .expect("a port for each speaker");
        let options = quic::Options { client: Some(client), server: None, most_links: 0 };
        let mut driver = Driver::new(Arc::new(socket), options).expect("TLS 1.3 has its first suite");
        let link = driver.dial(Instant::now(), parent).expect("an address to dial");
        let me = Me { node: id, placement: Some(placement), grants: Vec::new() };
        let mut speaker = Self { driver, link, me, session: None, logs: vec![], tracks: vec![], joined: false };
        speaker.turn();
        speaker
    }

    fn is_due(&self, now: Now) -> bool {
        let session = self.session.as_ref().and_then(Child::poll_timeout);
        session.is_some_and(|(at, _)| at <= now.local) || self.driver.poll_timeout().is_some_and(|at| at <= now.instant)
    }

    fn receive(&mut self, receiver: &mut Receiver) {
        let now = Instant::now();
        let socket = self.driver.socket().clone();
        let driver = &mut self.driver;
        while receiver.receive(&socket, |source, bytes| driver.handle_datagram(now, source, bytes)).unwrap_or(false) {}
        self.turn();
    }

    fn turn(&mut self) {
        let now = Now::read();
        self.driver.handle_timeout(now.instant);
        while let Some(event) = self.driver.poll_event() {
            match event {
                quic::Event::Up { .. } => {
                    self.session = Some(Child::new(now.local, child::Options::default(), self.me.clone()));
                }
                quic::Event::Down { reason, .. } => panic!("the parent hung up: {reason}"),
                quic::Event::Moved { .. } => {}
                quic::Event::Arrival { arrival, .. } => {
                    let Some(session) = &mut self.session else { continue };
                    session.handle_arrival(now.local, arrival).expect("the parent keeps the protocol");
                }
            }
            self.drain(now);
        }
        if let Some(session) = &mut self.session
            && session.poll_timeout().is_some_and(|(at, _)| at <= now.local)
        {
            session.handle_timeout(now.local);
        }
        self.drain(now);
        self.driver.flush(now.instant);
    }

    fn drain(&mut self, now: Now) {
        while let Some(event) = self.session.as_mut().and_then(Child::poll_event) {
            match event {
                Event::Log { track, ssrc, secret, .. } => self.logs.push((track, Cipher::new(&secret, ssrc))),
                Event::Order(signed) => self.order(now, &signed),
                Event::OrdersDone => self.joined = true,
                Event::Packet { track, index, bytes, via } => self.packet(now, track, index, &bytes, via),
                Event::Silent => panic!("the parent fell silent"),
                Event::Goodbye { code, text } => panic!("the parent said goodbye: {code}: {text}"),
                _ => {}
            }
        }
        while let Some(departure) = self.session.as_mut().and_then(Child::poll_departure) {
            self.driver.send(now.instant, self.link, departure);
        }
    }

    /// Takes in a packet as a relay would; its seal is not this benchmark's matter.
    fn packet(&mut self, now: Now, track: Uuid, index: u64, bytes: &[u8], via: Via) {
        if let Some(session) = &mut self.session {
            session.handle_accepted(now.local, track, index, via);
        }
        let known = self.tracks.iter_mut().find(|known| known.0 == track);
        if let Some(known) = known {
            known.2 += 1;
            return;
        }
        let log = self.logs.iter().find(|log| log.0 == track);
        let payload = log.and_then(|(_, cipher)| cipher.unprotect(index, bytes).ok());
        if let Some(signed) = payload.and_then(|payload| proto::Signed::decode(payload).ok()) {
            self.order(now, &signed);
        }
    }

    /// Listens to the tracks of a broadcast.
    fn order(&mut self, now: Now, signed: &proto::Signed) {
        let Ok(Order { id, body: Body::Broadcast(broadcast), .. }) = Order::decode(&signed.payload) else { return };
        for info in &broadcast.renditions {
            let (Some(session), false) = (&mut self.session, self.tracks.iter().any(|track| track.0 == info.id)) else {
                continue;
            };
            self.tracks.push((info.id, id, 0));
            session.listen(now.local, wish(info));
        }
    }
}

fn wish(info: &Info) -> Wish {
    Wish {
        track: info.id,
        ssrc: info.ssrc,
        duration: info.packet_micros(),
        from: 0,
        useful: 700 * MILLISECOND,
        packets: info.packets,
        counted: false,
    }
}

fn area(text: &str) -> Area {
    text.parse().expect("an area")
}
