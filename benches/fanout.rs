//! One packet to every listener: what `io::fanout` costs beside a bare paced `sendmmsg` loop that sends the
//! same bytes to the same sockets (DESIGN §11: at most 1.15 times as much).
//!
//! A row is a length of packet, how many leave in a send (UDP_SEGMENT), and whether the readers take them in
//! one piece (UDP_GRO). In each round of a row both take turns, first one, then the other; figures are medians
//! over rounds. The sender keeps core 0; a thread that reads every socket as packets come keeps core 1.
//!
//! **Why the comparison is fair.** What a send costs depends on the pace: a reader that sleeps must be woken, and
//! a sender that wakes more often pays for the wakes. So both follow one rule: a bunch is spread over half of a
//! packet's duration; a wake, two milliseconds after the one before, sends what is due by the clock. Late wakes then
//! make neither have more or fewer of them, and the wakes of both are shown: where they differ by much, the ratio
//! says nothing. The bare loop has no queue, no tracks, no error paths, one vector, and sleeps where a shard
//! polls its sockets; that difference is what is measured.
//!
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
/// How much a ratio may be (DESIGN §11).
const BOUND: f64 = 1.15;
/// As `io::fanout` has it: packets a second from which sends are paced, a wake's rest, its smallest batch and
/// the kernel's largest.
const PACED: f64 = 20_000.0;
const REST: Duration = Duration::from_millis(2);
const LEAST: usize = 160;
const MOST: usize = 1_024;
/// Sockets of one address: the kernel gives out 28,000 ports each.
const PER_ADDRESS: usize = 20_000;
const ROWS: [Row; 6] = [
    Row { duration: Duration::from_millis(60), together: 1, glued: false },
    Row { duration: Duration::from_millis(240), together: 1, glued: false },
    Row { duration: Duration::from_millis(240), together: 2, glued: false },
    Row { duration: Duration::from_millis(240), together: 2, glued: true },
    Row { duration: Duration::from_millis(240), together: 4, glued: false },
    Row { duration: Duration::from_millis(240), together: 4, glued: true },
];

/// What is compared.
#[derive(Clone, Copy)]
struct Row {
    duration: Duration,
    together: usize,
    /// The readers take what one send brought in one piece.
    glued: bool,
}

impl Row {
    /// Bytes of every packet of such a track.
    fn length(&self) -> usize {
        Writer::room(BITRATE, self.duration.as_millis() as u32 * 48) + OVERHEAD
    }

    /// Packets in so many seconds of sound, in whole bunches.
    fn packets(&self, seconds: f64) -> usize {
        let packets = (seconds / self.duration.as_secs_f64()).ceil() as usize;
        packets.div_ceil(self.together) * self.together
    }

    fn packet(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..self.length()).map(|at| at as u8).collect();
        bytes[0] = 0x80;
        bytes
    }
}

struct Plan {
    listeners: usize,
    rounds: usize,
    seconds: f64,
    warm_up: f64,
}

fn main() {
    let mut plan = if short() {
        Plan { listeners: 500, rounds: 3, seconds: 0.4, warm_up: 0.1 }
    } else {
        Plan { listeners: 10_000, rounds: 5, seconds: 3.84, warm_up: 0.96 }
    };
    plan.listeners = number("LOA_BENCH_LISTENERS").unwrap_or(plan.listeners);
    let files = raise_files();
    assert!(
        plan.listeners + 64 <= files,
        "{} listeners need as many open files, and this process may have {files}: ulimit -n, or LOA_BENCH_LISTENERS",
        plan.listeners
    );

    let listeners: Vec<UdpSocket> = (0..plan.listeners).map(listener).collect();
    let addresses: Vec<SocketAddr> = listeners.iter().map(|socket| socket.local_addr().unwrap()).collect();
    let readers = Readers::start(listeners);
    let socket = Arc::new(Socket::bind(([127, 0, 0, 1], 0).into(), 8 << 20).expect("a loopback port"));

    pin(0);
    println!("fan-out: {} listeners, {BITRATE} bit/s; µs of the sender's CPU per listener-second", plan.listeners);
    println!("packet    a send   GRO   io::fanout   bare sendmmsg   ratio   wakes of both   received of sent");
    let mut missed = 0;
    for row in ROWS {
        missed += usize::from(!compare(&plan, row, &socket, &addresses, &readers));
    }
    println!("{}", if missed == 0 { "every row holds".to_owned() } else { format!("{missed} rows MISSED") });
}

/// One row. Whether it holds.
fn compare(plan: &Plan, row: Row, socket: &Arc<Socket>, addresses: &[SocketAddr], readers: &Readers) -> bool {
    readers.glue(row.glued);
    let mut loa = Loa::new(row, socket.clone(), addresses);
    let mut bare = Bare::new(row, socket, addresses);
    let before = readers.received();
    let warm = loa.run(row.packets(plan.warm_up)).bytes + bare.run(row.packets(plan.warm_up)).bytes;
    readers.wait_for(before + warm);
    let mut figures: [Vec<f64>; 5] = Default::default();
    let (mut sent, mut received, mut late) = (0, 0, 0);
    for round in 0..plan.rounds {
        let before = readers.received();
        let packets = row.packets(plan.seconds);
        // Whoever is second finds the caches as the other has left them.
        let [ours, theirs] = if round % 2 == 0 {
            let ours = loa.run(packets);
            [ours, bare.run(packets)]
        } else {
            let theirs = bare.run(packets);
            [loa.run(packets), theirs]
        };
        let bytes = ours.bytes + theirs.bytes;
        sent += bytes;
        received += readers.wait_for(before + bytes) - before;
        late += ours.late;
        let cost = [ours, theirs].map(|run| {
            let packets = run.bytes as f64 / row.length() as f64;
            run.cpu.as_secs_f64() * 1e6 / (packets * row.duration.as_secs_f64())
        });
        let values = [cost[0], cost[1], cost[0] / cost[1], ours.wakes as f64, theirs.wakes as f64];
        for (figures, value) in figures.iter_mut().zip(values) {
            figures.push(value);
        }
    }
    let [ours, theirs, ratio, our_wakes, their_wakes] = figures.map(|values| median(&values));
    let holds = ratio <= BOUND;
    println!(
        "{:>3} ms   {:>6}   {:>4}  {ours:>10.2}   {theirs:>13.2}   {ratio:>5.2}   {our_wakes:>5} {their_wakes:>5}     {} of {}   bound {BOUND}: {}",
        row.duration.as_millis(),
        row.together,
        if row.glued { "yes" } else { "no" },
        received / row.length() as u64,
        sent / row.length() as u64,
        if holds { "holds" } else { "MISSED" },
    );
    if late > 0 {
        println!("         {late} packets not sent: the machine had no time for the thread");
    }
    holds
}

/// What some packets to all listeners took.
#[derive(Clone, Copy)]
struct Run {
    cpu: Duration,
    bytes: u64,
    wakes: usize,
    /// Packets that were overtaken by the ones after the next.
    late: u64,
}

/// A socket that a loudspeaker would have.
fn listener(number: usize) -> UdpSocket {
    let address = [127, 0, 0, 2 + (number / PER_ADDRESS) as u8];
    let socket = UdpSocket::bind((std::net::Ipv4Addr::from(address), 0)).expect("a loopback port for each listener");
    socket.set_nonblocking(true).expect("sockets may be non-blocking");
    socket
}

/// `io::fanout` as a shard drives it: air, then wait for the socket, for a wake, or for the pace.
struct Loa {
    row: Row,
    socket: Arc<Socket>,
    fanout: Fanout,
    waker: Waker,
    track: Uuid,
    packet: Bytes,
    next: u64,
}

impl Loa {
    fn new(row: Row, socket: Arc<Socket>, addresses: &[SocketAddr]) -> Self {
        let now = Instant::now();
        let track = Uuid::from_u128(1);
        let mut fanout = Fanout::new(socket.clone());
        fanout.carry(now, track, row.duration.as_micros() as i64, row.together as u32);
        for (link, address) in addresses.iter().enumerate() {
            fanout.listen(now, link as u64, track, *address);
        }
        let waker = Waker::new().expect("an eventfd");
        Self { row, socket, fanout, waker, track, packet: Bytes::from(row.packet()), next: 0 }
    }

    /// So many packets, with the waiting.
    fn run(&mut self, packets: usize) -> Run {
        let before = self.fanout.counters();
        let began = Instant::now();
        let cpu = thread_cpu();
        let mut wakes = 0;
        for number in 0..packets {
            let due = began + self.row.duration * (number as u32 + 1);
            self.fanout.air(Instant::now(), self.track, self.next, self.packet.clone());
            self.next += 1;
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
                wakes += 1;
            }
        }
        let cpu = thread_cpu() - cpu;
        let after = self.fanout.counters();
        assert_eq!(after.unreachable.iter().sum::<u64>(), 0, "every listener has a socket");
        assert_eq!(after.singles + after.devices, 0, "loopback takes bunches");
        let bytes = (after.sent - before.sent) * self.row.length() as u64;
        Run { cpu, bytes, wakes, late: after.dropped - before.dropped }
    }
}

/// The least that sends the same: headers made once, `sendmmsg`, `clock_nanosleep`.
struct Bare {
    row: Row,
    descriptor: i32,
    headers: Vec<libc::mmsghdr>,
    paced: bool,
    // What the headers point at.
    _names: Vec<libc::sockaddr_in>,
    _vectors: Vec<libc::iovec>,
    _control: Box<[u64; 3]>,
    _packet: Vec<u8>,
}

impl Bare {
    fn new(row: Row, socket: &Socket, addresses: &[SocketAddr]) -> Self {
        let mut names: Vec<libc::sockaddr_in> = addresses.iter().map(name).collect();
        let mut packet = row.packet();
        let vector = libc::iovec { iov_base: packet.as_mut_ptr().cast(), iov_len: packet.len() };
        let mut vectors = vec![vector; row.together];
        let mut control = Box::new([0u64; 3]);
        // SAFETY: the control buffer is as long as CMSG_SPACE(2) and aligned for cmsghdr.
        unsafe {
            assert_eq!(libc::CMSG_SPACE(2) as usize, size_of_val(&*control), "one control message of two bytes");
            let header = control.as_mut_ptr().cast::<libc::cmsghdr>();
            (*header).cmsg_len = libc::CMSG_LEN(2) as _;
            (*header).cmsg_level = libc::SOL_UDP;
            (*header).cmsg_type = libc::UDP_SEGMENT;
            std::ptr::write_unaligned(libc::CMSG_DATA(header).cast::<u16>(), row.length() as u16);
        }
        let headers = names.iter_mut().map(|name| {
            // SAFETY: all zero is a value of mmsghdr.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            header.msg_hdr.msg_name = std::ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            header.msg_hdr.msg_iov = vectors.as_mut_ptr();
            header.msg_hdr.msg_iovlen = row.together as _;
            if row.together > 1 {
                header.msg_hdr.msg_control = control.as_mut_ptr().cast();
                header.msg_hdr.msg_controllen = size_of_val(&*control) as _;
            }
            header
        });
        let headers = headers.collect();
        let paced = addresses.len() as f64 / row.duration.as_secs_f64() >= PACED;
        let descriptor = socket.descriptor();
        Self { row, descriptor, headers, paced, _names: names, _vectors: vectors, _control: control, _packet: packet }
    }

    fn run(&mut self, packets: usize) -> Run {
        let began = Instant::now();
        let cpu = thread_cpu();
        let all = self.headers.len();
        let per_second = all as f64 / (self.row.duration.as_secs_f64() / 2.0);
        let mut wakes = 0;
        for number in 0..packets {
            let first = Instant::now();
            // As `io::fanout`'s, a bunch leaves when its last packet is there.
            let mut sent = if (number + 1) % self.row.together == 0 { 0 } else { all };
            while sent < all {
                let now = Instant::now();
                let due = ((now - first + REST).as_secs_f64() * per_second) as usize;
                let count = if self.paced { due.saturating_sub(sent).max(LEAST) } else { MOST };
                let count = count.min(MOST).min(all - sent);
                send(self.descriptor, &mut self.headers[sent..sent + count]);
                sent += count;
                if self.paced && sent < all {
                    sleep_until(now + REST);
                    wakes += 1;
                }
            }
            sleep_until(began + self.row.duration * (number as u32 + 1));
            wakes += 1;
        }
        Run { cpu: thread_cpu() - cpu, bytes: (packets * all * self.row.length()) as u64, wakes, late: 0 }
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
    let SocketAddr::V4(four) = address else { panic!("listeners are on 127.0.0.x") };
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: four.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*four.ip()).to_be() },
        sin_zero: [0; 8],
    }
}

/// A thread that reads all sockets as the packets come.
struct Readers {
    /// Bytes.
    received: Arc<AtomicU64>,
    descriptors: Vec<i32>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Readers {
    fn start(sockets: Vec<UdpSocket>) -> Self {
        let (received, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (received.clone(), stop.clone());
        let descriptors = sockets.iter().map(AsRawFd::as_raw_fd).collect();
        let thread = thread::spawn(move || read(&sockets, &count, &end));
        Self { received, descriptors, stop, thread: Some(thread) }
    }

    /// Whether what one send brought is read in one piece.
    fn glue(&self, glued: bool) {
        let value = libc::c_int::from(glued);
        for descriptor in &self.descriptors {
            // SAFETY: the value is an int of ours and its size is stated.
            let result =
                unsafe { libc::setsockopt(*descriptor, libc::SOL_UDP, libc::UDP_GRO, (&raw const value).cast(), 4) };
            assert_eq!(result, 0, "UDP_GRO: {}", std::io::Error::last_os_error());
        }
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
    let mut buffer = vec![0; 65_536];
    while !stop.load(Ordering::Acquire) {
        // SAFETY: the events are ours and as many as stated.
        let ready = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), events.len() as i32, 100) };
        let mut bytes = 0;
        for event in events.iter().take(ready.max(0) as usize) {
            while let Ok(length) = sockets[event.u64 as usize].recv(&mut buffer) {
                bytes += length as u64;
            }
        }
        received.fetch_add(bytes, Ordering::AcqRel);
    }
}
