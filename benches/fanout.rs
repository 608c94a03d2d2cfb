//! One packet to every listener: what `io::fanout` costs beside a bare paced `sendmmsg` loop that sends the
//! same bytes to the same sockets (DESIGN §11: at most 1.15 times as much).
//!
//! Both take turns within one run; the sender keeps core 0, a thread that reads every socket keeps core 1.
//! `LOA_BENCH_LISTENERS=10000` changes the number of sockets, `LOA_BENCH_SHORT=1` shows only that it works.
mod machine;

use bytes::Bytes;
use loa::io::fanout::Fanout;
use loa::io::socket::Socket;
use loa::io::wake::{Interest, Waker, wait};
use loa::track::{OVERHEAD, Writer};
use machine::{median, number, pin, raise_files, short, thread_cpu};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use uuid::Uuid;

const BITRATE: u32 = 24_000;
const DURATION: Duration = Duration::from_millis(240);
/// How much a ratio may be (DESIGN §11).
const BOUND: f64 = 1.15;

/// Bytes of every packet of such a track.
fn length() -> usize {
    Writer::room(BITRATE, DURATION.as_millis() as u32 * 48) + OVERHEAD
}

struct Plan {
    listeners: usize,
    rounds: usize,
    packets: usize,
    warm_up: usize,
}

fn main() {
    let mut plan = if short() {
        Plan { listeners: 500, rounds: 3, packets: 2, warm_up: 1 }
    } else {
        Plan { listeners: 5_000, rounds: 5, packets: 16, warm_up: 4 }
    };
    plan.listeners = number("LOA_BENCH_LISTENERS").unwrap_or(plan.listeners);
    let files = raise_files();
    assert!(
        plan.listeners + 64 <= files,
        "{} listeners need as many open files, and this process may have {files}: ulimit -n, or LOA_BENCH_LISTENERS",
        plan.listeners
    );

    let listeners: Vec<UdpSocket> = (0..plan.listeners).map(|_| listener()).collect();
    let addresses: Vec<SocketAddr> = listeners.iter().map(|socket| socket.local_addr().unwrap()).collect();
    let readers = Readers::start(listeners);
    let socket = Arc::new(Socket::bind(([127, 0, 0, 1], 0).into(), 8 << 20).expect("a loopback port"));

    pin(0);
    let mut loa = Loa::new(socket.clone(), &addresses);
    let mut bare = Bare::new(&socket, &addresses);
    let sent = loa.run(plan.warm_up).sent + bare.run(plan.warm_up).sent;
    readers.wait_for(sent);
    println!(
        "fan-out: {} listeners, packets of {} bytes each {} ms, {} a round",
        plan.listeners,
        length(),
        DURATION.as_millis(),
        plan.packets
    );
    println!("µs of the sender's CPU per listener-second; one send a packet and listener");
    println!("round   io::fanout   bare sendmmsg   ratio   received of sent");
    let mut figures: [Vec<f64>; 3] = Default::default();
    for round in 1..=plan.rounds {
        let before = readers.received();
        let ours = loa.run(plan.packets);
        let theirs = bare.run(plan.packets);
        let sent = ours.sent + theirs.sent;
        let received = readers.wait_for(before + sent) - before;
        let row = [ours, theirs].map(|run| run.cpu.as_secs_f64() * 1e6 / (run.sent as f64 * DURATION.as_secs_f64()));
        let ratio = row[0] / row[1];
        println!("{round:>5}   {:>10.2}   {:>13.2}   {ratio:>5.2}   {received} of {sent}", row[0], row[1]);
        if ours.late > 0 {
            println!("        {} sends not made: the machine had no time for the thread", ours.late);
        }
        for (figures, value) in figures.iter_mut().zip([row[0], row[1], ratio]) {
            figures.push(value);
        }
    }
    let [ours, theirs, ratio] = figures.map(|values| median(&values));
    let verdict = if ratio <= BOUND { "holds" } else { "MISSED" };
    println!("median  {ours:>10.2}   {theirs:>13.2}   {ratio:>5.2}   bound {BOUND}: {verdict}");
}

/// What some packets to all listeners took.
#[derive(Clone, Copy)]
struct Run {
    cpu: Duration,
    sent: u64,
    /// Sends that were overtaken by the packet after next.
    late: u64,
}

/// A socket that a loudspeaker would have.
fn listener() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a loopback port for each listener");
    socket.set_nonblocking(true).expect("sockets may be non-blocking");
    socket
}

/// `io::fanout` as a shard drives it: air, then wait for the socket, for a wake, or for the pace.
struct Loa {
    socket: Arc<Socket>,
    fanout: Fanout,
    waker: Waker,
    track: Uuid,
    packet: Bytes,
}

impl Loa {
    fn new(socket: Arc<Socket>, addresses: &[SocketAddr]) -> Self {
        let now = Instant::now();
        let track = Uuid::from_u128(1);
        let mut fanout = Fanout::new(socket.clone());
        fanout.carry(now, track, DURATION.as_micros() as i64, 1);
        for (link, address) in addresses.iter().enumerate() {
            fanout.listen(now, link as u64, track, *address);
        }
        let waker = Waker::new().expect("an eventfd");
        Self { socket, fanout, waker, track, packet: Bytes::from(packet()) }
    }

    /// So many packets, with the waiting.
    fn run(&mut self, packets: usize) -> Run {
        let before = self.fanout.counters();
        let began = Instant::now();
        let cpu = thread_cpu();
        for number in 0..packets {
            let due = began + DURATION * (number as u32 + 1);
            self.fanout.air(Instant::now(), self.track, number as u64, self.packet.clone());
            loop {
                let now = Instant::now();
                if self.fanout.wants_write() || self.fanout.poll_timeout().is_some_and(|at| at <= now) {
                    self.fanout.handle_timeout(now);
                }
                if now >= due {
                    break;
                }
                let until = self.fanout.poll_timeout().map_or(due, |at| at.min(due));
                let write = self.fanout.wants_write();
                wait(
                    [
                        Interest { descriptor: self.socket.descriptor(), write },
                        Interest { descriptor: self.waker.descriptor(), write: false },
                    ],
                    until.saturating_duration_since(Instant::now()),
                );
            }
        }
        let cpu = thread_cpu() - cpu;
        let after = self.fanout.counters();
        assert_eq!(after.unreachable, [0; 7], "every listener has a socket");
        Run { cpu, sent: after.sent - before.sent, late: after.dropped - before.dropped }
    }
}

/// The least that sends the same: headers made once, `sendmmsg`, `clock_nanosleep`. It spreads a packet over
/// the same half of its duration, in the same batches, since pace alone changes what a send costs: a reader
/// that sleeps must be woken.
struct Bare {
    descriptor: i32,
    headers: Vec<libc::mmsghdr>,
    batch: usize,
    rest: Duration,
    // What the headers point at.
    _names: Vec<libc::sockaddr_in>,
    _vector: Box<libc::iovec>,
    _packet: Vec<u8>,
}

impl Bare {
    fn new(socket: &Socket, addresses: &[SocketAddr]) -> Self {
        let mut names: Vec<libc::sockaddr_in> = addresses.iter().map(name).collect();
        let mut packet = packet();
        let mut vector = Box::new(libc::iovec { iov_base: packet.as_mut_ptr().cast(), iov_len: packet.len() });
        let headers = names.iter_mut().map(|name| {
            // SAFETY: all zero is a value of mmsghdr.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            header.msg_hdr.msg_name = std::ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            header.msg_hdr.msg_iov = &raw mut *vector;
            header.msg_hdr.msg_iovlen = 1;
            header
        });
        let headers = headers.collect();
        // As `io::fanout` does: below 20,000 packets a second a burst, above 64 or more each millisecond.
        let burst = addresses.len() as f64 / DURATION.as_secs_f64() < 20_000.0;
        let batches = (DURATION / 2).as_millis() as usize;
        let (batch, rest) = if burst {
            (1_024, Duration::ZERO)
        } else {
            ((addresses.len() / batches + 1).clamp(64, 1_024), Duration::from_millis(1))
        };
        let descriptor = socket.descriptor();
        Self { descriptor, headers, batch, rest, _names: names, _vector: vector, _packet: packet }
    }

    fn run(&mut self, packets: usize) -> Run {
        let began = Instant::now();
        let cpu = thread_cpu();
        for number in 0..packets {
            let mut next = began + DURATION * number as u32;
            for batch in self.headers.chunks_mut(self.batch) {
                sleep_until(next);
                // From the last one, not from the first: to catch up would be another pace.
                next = Instant::now() + self.rest;
                send(self.descriptor, batch);
            }
            sleep_until(began + DURATION * (number as u32 + 1));
        }
        Run { cpu: thread_cpu() - cpu, sent: (packets * self.headers.len()) as u64, late: 0 }
    }
}

fn send(descriptor: i32, mut headers: &mut [libc::mmsghdr]) {
    while !headers.is_empty() {
        // SAFETY: the headers point at names, a vector and a packet that `Bare` keeps where they are.
        let sent = unsafe { libc::sendmmsg(descriptor, headers.as_mut_ptr(), headers.len() as libc::c_uint, 0) };
        if sent > 0 {
            headers = &mut headers[sent as usize..];
        }
    }
}

fn sleep_until(at: Instant) {
    let rest = at.saturating_duration_since(Instant::now());
    if !rest.is_zero() {
        thread::sleep(rest);
    }
}

fn name(address: &SocketAddr) -> libc::sockaddr_in {
    let SocketAddr::V4(four) = address else { panic!("listeners are on 127.0.0.1") };
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: four.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*four.ip()).to_be() },
        sin_zero: [0; 8],
    }
}

fn packet() -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..length()).map(|at| at as u8).collect();
    bytes[0] = 0x80;
    bytes
}

/// A thread that reads all sockets as the packets come.
struct Readers {
    received: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Readers {
    fn start(sockets: Vec<UdpSocket>) -> Self {
        let (received, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (received.clone(), stop.clone());
        let thread = thread::spawn(move || read(&sockets, &count, &end));
        Self { received, stop, thread: Some(thread) }
    }

    fn received(&self) -> u64 {
        self.received.load(Ordering::Acquire)
    }

    /// Until so many have come, at most two seconds.
    fn wait_for(&self, wanted: u64) -> u64 {
        let until = Instant::now() + Duration::from_secs(2);
        while self.received() < wanted && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
        self.received()
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn read(sockets: &[UdpSocket], received: &AtomicU64, stop: &AtomicBool) {
    pin(1);
    // SAFETY: epoll_create1 takes no pointer; epoll_ctl reads the event, which is ours.
    let epoll = unsafe { libc::epoll_create1(0) };
    for (at, socket) in sockets.iter().enumerate() {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: at as u64 };
        // SAFETY: as above.
        let result = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &raw mut event) };
        assert_eq!(result, 0, "epoll takes every socket: {}", std::io::Error::last_os_error());
    }
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 1_024];
    let mut buffer = [0; 2_048];
    let expected = self::length();
    while !stop.load(Ordering::Acquire) {
        // SAFETY: the events are ours and as many as stated.
        let ready = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), events.len() as i32, 100) };
        let mut packets = 0;
        for event in events.iter().take(ready.max(0) as usize) {
            while let Ok(length) = sockets[event.u64 as usize].recv(&mut buffer) {
                assert_eq!(length, expected, "a whole packet");
                packets += 1;
            }
        }
        received.fetch_add(packets, Ordering::AcqRel);
    }
}
