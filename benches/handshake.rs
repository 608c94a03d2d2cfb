//! What a session costs its parent to accept, how many come in a second, and whether those who already
//! stream notice.
//!
//! The parent is one socket's links on a thread of its own core; streamers and dialers are on the other.
//! The streamers take a packet of 830 bytes each 240 ms (24 kb/s), spread over half of it; their delay is
//! from the instant at which each packet was due. Then as many dialers as may be under way come and go.
//! `LOA_BENCH_STREAMERS`, `LOA_BENCH_SECONDS`, `LOA_BENCH_WAVE`; `LOA_BENCH_SHORT=1` shows only that it
//! works.
mod machine;

use bytes::Bytes;
use loa::broadcast::Area;
use loa::io::identity::{Identity, NewNode, Root};
use loa::io::quic::{Driver, Event, Options};
use loa::io::socket::{Receiver, Socket};
use loa::io::tls;
use loa::io::wake::{Interest, wait};
use loa::node::Role;
use loa::session::{Arrival, Departure};
use machine::{number, pin, raise_files, short, thread_cpu};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

fn main() {
    let streamers = number("LOA_BENCH_STREAMERS").unwrap_or(if short() { 200 } else { 5_000 });
    let seconds = number("LOA_BENCH_SECONDS").unwrap_or(if short() { 2 } else { 20 }) as u64;
    let wave = number("LOA_BENCH_WAVE").unwrap_or(if short() { 100 } else { 1_000 });
    let files = raise_files();
    assert!(streamers + wave + 64 <= files, "this process may open {files} files: ulimit -n");
    let root = Root::generate();
    let [server, client] = [Role::Relay, Role::Speaker].map(|role| identity(&root, role));
    let client = tls::client(&client).expect("a TLS configuration");
    let socket = Arc::new(Socket::bind(([127, 0, 0, 1], 0).into(), 8 << 20).expect("a port"));
    let address = socket.local_address().expect("its address");
    let options =
        Options { client: None, server: Some(tls::server(&server).expect("a TLS configuration")), most_links: 100_000 };
    let driver = Driver::new(socket, options).expect("a cipher suite for QUIC");
    let shared = Arc::new(Shared { began: Instant::now(), ..Shared::default() });
    let parent = std::thread::spawn({
        let shared = shared.clone();
        move || serve(driver, streamers, &shared)
    });
    pin(1);
    let mut load = Load::new(client, address, streamers, shared.clone());
    while load.up < streamers {
        load.dial(streamers, WAVE);
        load.turn();
    }
    shared.streaming.store(true, Relaxed);
    load.run(Duration::from_secs(1), 0);
    println!("{streamers} streamers; dialers at once: {wave}; {seconds} s each");
    println!(
        "          sessions/s   parent's CPU   µs per session   media: received of due   p50 ms   p99 ms   max ms"
    );
    let quiet = load.phase("before", Duration::from_secs(seconds), 0, 0.0);
    load.phase("during", Duration::from_secs(seconds), wave, quiet);
    shared.done.store(true, Relaxed);
    parent.join().expect("the parent ends");
}

struct Shared {
    began: Instant,
    streaming: AtomicBool,
    done: AtomicBool,
    accepted: AtomicU64,
    /// ns that the parent's thread has used.
    cpu: AtomicU64,
}

impl Default for Shared {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        let no = || AtomicBool::new(false);
        Self { began: Instant::now(), streaming: no(), done: no(), accepted: zero(), cpu: zero() }
    }
}

/// The parent: the loop of a shard, with a paced send to each streamer in place of its fan-out.
fn serve(mut driver: Driver, streamers: usize, shared: &Shared) {
    pin(0);
    let mut links = Vec::new();
    let (mut next, mut round) = (0, None);
    while !shared.done.load(Relaxed) {
        let now = Instant::now();
        let more = driver.handle_readable(now);
        driver.handle_timeout(now);
        while let Some(event) = driver.poll_event() {
            if let Event::Up { link, .. } = event {
                shared.accepted.fetch_add(1, Relaxed);
                if links.len() < streamers {
                    links.push(link);
                }
            }
        }
        if shared.streaming.load(Relaxed) {
            let begin = *round.get_or_insert(now);
            while next < links.len() {
                let due = begin + SPREAD * next as u32 / links.len() as u32;
                if due > now {
                    break;
                }
                driver.send(now, links[next], Departure::Media(packet(due - shared.began)));
                next += 1;
            }
            if next == links.len() && now >= begin + PACKET {
                (next, round) = (0, Some(begin + PACKET));
            }
        }
        driver.flush(now);
        shared.cpu.store(thread_cpu().as_nanos() as u64, Relaxed);
        let timer = driver.poll_timeout().map_or(TICK, |at| at.saturating_duration_since(now));
        let interest = Interest { descriptor: driver.socket().descriptor(), write: driver.wants_write() };
        wait([interest, interest], if more { Duration::ZERO } else { timer.min(TICK) });
    }
}

struct Load {
    client: Arc<rustls::ClientConfig>,
    parent: SocketAddr,
    shared: Arc<Shared>,
    epoll: i32,
    receiver: Receiver,
    ends: Vec<Option<End>>,
    free: Vec<usize>,
    up: usize,
    shaking: usize,
    looked: Instant,
    streamers: usize,
    /// µs of each packet of media that was due in the measured time, from due to read.
    delays: Vec<u64>,
    /// That time, µs since all began.
    counted: Range<u64>,
}

struct End {
    driver: Driver,
    stays: bool,
    up: bool,
}

impl Load {
    fn new(client: Arc<rustls::ClientConfig>, parent: SocketAddr, streamers: usize, shared: Arc<Shared>) -> Self {
        // SAFETY: no pointer is passed.
        let epoll = unsafe { libc::epoll_create1(0) };
        let (ends, free, delays) = (Vec::new(), Vec::new(), Vec::new());
        let receiver = Receiver::default();
        let (up, shaking, looked, counted) = (0, 0, Instant::now(), 0..0);
        Self { client, parent, shared, epoll, receiver, ends, free, up, shaking, looked, streamers, delays, counted }
    }

    /// Dials until so many are under way; those that stay are `streamers` at most.
    fn dial(&mut self, streamers: usize, wave: usize) {
        let stays = streamers > 0;
        while self.shaking < wave && (!stays || self.up + self.shaking < streamers) {
            let slot = self.free.pop().unwrap_or_else(|| {
                self.ends.push(None);
                self.ends.len() - 1
            });
            let host = [127, 0, 0, 1 + (slot % ADDRESSES) as u8];
            let socket = Arc::new(Socket::bind((host, 0).into(), 64 << 10).expect("a port for each"));
            let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: slot as u64 };
            // SAFETY: the event is ours and only read; a socket that closes leaves the set by itself.
            let added =
                unsafe { libc::epoll_ctl(self.epoll, libc::EPOLL_CTL_ADD, socket.descriptor(), &raw mut event) };
            assert_eq!(added, 0, "epoll takes a socket");
            let options = Options { client: Some(self.client.clone()), server: None, most_links: 0 };
            let mut driver = Driver::new(socket, options).expect("a cipher suite for QUIC");
            let now = Instant::now();
            driver.dial(now, self.parent).expect("an address to dial");
            driver.flush(now);
            self.shaking += 1;
            self.ends[slot] = Some(End { driver, stays, up: false });
        }
    }

    fn turn(&mut self) {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 256];
        // SAFETY: the events are ours and as many as stated.
        let ready = unsafe { libc::epoll_wait(self.epoll, events.as_mut_ptr(), events.len() as i32, 1) };
        let now = Instant::now();
        for event in events.iter().take(ready.max(0) as usize) {
            let slot = event.u64 as usize;
            let Some(end) = &mut self.ends[slot] else { continue };
            let socket = end.driver.socket().clone();
            let mut take = |source, bytes: &[u8]| end.driver.handle_datagram(now, source, bytes);
            while self.receiver.receive(&socket, &mut take).unwrap_or(false) {}
            self.settle(now, slot);
        }
        if now - self.looked >= LOOK {
            self.looked = now;
            for slot in 0..self.ends.len() {
                if self.ends[slot].as_ref().is_some_and(|end| end.driver.poll_timeout().is_some_and(|at| at <= now)) {
                    self.settle(now, slot);
                }
            }
        }
    }

    fn settle(&mut self, now: Instant, slot: usize) {
        let Some(end) = &mut self.ends[slot] else { return };
        end.driver.handle_timeout(now);
        end.driver.flush(now);
        let mut gone = None;
        while let Some(event) = end.driver.poll_event() {
            match event {
                Event::Up { link, .. } => {
                    self.shaking -= 1;
                    self.up += 1;
                    end.up = true;
                    if !end.stays {
                        end.driver.close(now, link, "bench.done", "that was all");
                        end.driver.flush(now);
                    }
                }
                Event::Down { reason, .. } if end.driver.links() == 0 => gone = Some(reason),
                Event::Arrival { arrival: Arrival::Media(bytes), .. } => {
                    let due = bytes.get(12..20).and_then(|due| due.try_into().ok()).map_or(0, u64::from_be_bytes);
                    if self.counted.contains(&due) {
                        let read = self.shared.began.elapsed().as_micros() as u64;
                        self.delays.push(read.saturating_sub(due));
                    }
                }
                _ => {}
            }
        }
        if let Some(reason) = gone {
            let what = if end.up { "lost its link" } else { "was not let in" };
            assert!(!end.stays, "a streamer {what}: {reason}");
            end.driver.flush(now);
            // One that was refused never came up; it is dialled anew.
            self.ends[slot] = None;
            self.free.push(slot);
            self.shaking = self.ends.iter().flatten().filter(|end| end.driver.links() == 0).count();
        }
    }

    fn run(&mut self, time: Duration, wave: usize) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.dial(0, wave);
            self.turn();
        }
    }

    /// Prints a line; the parent's CPU without sessions, as a share of a core, comes back.
    fn phase(&mut self, name: &str, time: Duration, wave: usize, quiet: f64) -> f64 {
        let read = |shared: &Shared| [&shared.accepted, &shared.cpu].map(|counter| counter.load(Relaxed) as f64);
        // Whole packets: each streamer is then due as many, wherever in a round the time begins.
        let packets = (time.as_micros() / PACKET.as_micros()).max(1) as u32;
        let time = PACKET * packets;
        let due = packets as usize * self.streamers;
        self.delays.clear();
        let (before, began) = (read(&self.shared), Instant::now());
        let from = (began - self.shared.began).as_micros() as u64;
        self.counted = from..from + time.as_micros() as u64;
        self.run(time, wave);
        let (after, took) = (read(&self.shared), began.elapsed().as_secs_f64());
        let [accepted, cpu] = [0, 1].map(|at| after[at] - before[at]);
        // What is under way may still come; nobody dials meanwhile.
        let until = Instant::now() + DRAIN;
        while self.delays.len() < due && Instant::now() < until {
            self.turn();
        }
        let share = cpu / 1e9 / took;
        let each = if accepted > 0.0 { (share - quiet) * took * 1e6 / accepted } else { 0.0 };
        self.delays.sort_unstable();
        let quantile = |share: f64| {
            let at = (self.delays.len() as f64 * share) as usize;
            self.delays.get(at.min(self.delays.len().saturating_sub(1))).map_or(0.0, |delay| *delay as f64 / 1e3)
        };
        println!(
            "{name:<9} {:>10.0} {:>12.1} % {each:>16.0} {:>14} of {due:>8} {:>8.1} {:>8.1} {:>8.1}",
            accepted / took,
            100.0 * share,
            self.delays.len(),
            quantile(0.5),
            quantile(0.99),
            quantile(1.0)
        );
        share
    }
}

/// RTP by its first byte, with the time at which it was due; nothing else is looked at.
fn packet(due: Duration) -> Bytes {
    let mut bytes = vec![0; BYTES];
    bytes[0] = 0x80;
    bytes[12..20].copy_from_slice(&(due.as_micros() as u64).to_be_bytes());
    bytes.into()
}

fn identity(root: &Root, role: Role) -> Identity {
    let folder = tempfile::tempdir().expect("a folder for keys");
    let data = folder.path().join("node");
    let area: Area = "vn".parse().expect("an area");
    let node = NewNode { role, area, name: "bench".into(), authority: None };
    root.provision(&data, &node).expect("a folder for a node");
    Identity::load(&data).expect("the keys just written")
}

/// 24 kb/s with seal, tag and header.
const BYTES: usize = 830;
const PACKET: Duration = Duration::from_millis(240);
/// How late a packet may come and still counts.
const DRAIN: Duration = Duration::from_secs(2);
/// A shard spreads a packet's sends over at most half its duration.
const SPREAD: Duration = Duration::from_millis(120);
/// The parent looks at what is due at least so often.
const TICK: Duration = Duration::from_millis(1);
/// Handshakes under way while the streamers come.
const WAVE: usize = 64;
/// Between two looks at all timers.
const LOOK: Duration = Duration::from_millis(20);
/// 127.0.0.1 and on: a storm comes from more than one address.
const ADDRESSES: usize = 100;
