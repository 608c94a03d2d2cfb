//! Listeners with a socket each, all read by one thread on core 1, none decoding.
use super::heard::{Heard, Tally, clock};
use super::machine::pin;
use super::process::PATIENCE;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub struct Crowd {
    pub heard: Arc<Heard>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

pub enum Listener {
    /// Datagrams of so many bytes each (0: of any length), or several glued together by the kernel.
    Datagrams {
        socket: UdpSocket,
        length: usize,
        stamp: Stamp,
    },
    Stream {
        socket: TcpStream,
        rest: Vec<u8>,
        format: Format,
    },
}

/// Where in a datagram the time of its first sample stands.
#[derive(Clone, Copy)]
pub enum Stamp {
    /// Nanoseconds of the common clock behind the RTP header.
    Clock,
    /// An RTP timestamp at 48 kHz that began with 0 at this instant.
    Rtp(Duration),
}

#[derive(Clone, Copy)]
pub enum Format {
    /// Pages that last so long, of a stream that began at this instant.
    Ogg { began: Duration, page: Duration },
    /// Snapcast's messages, whose chunks carry the server's monotonic clock.
    Snapcast,
}

impl Crowd {
    pub fn start(listeners: Vec<Listener>) -> Self {
        let (heard, stop) = (Arc::new(Heard::default()), Arc::new(AtomicBool::new(false)));
        let (tally, end) = (heard.clone(), stop.clone());
        let thread = thread::spawn(move || listen(listeners, &tally, &end));
        Self { heard, stop, thread: Some(thread) }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Sockets as loudspeakers would have, and where they are.
pub fn sockets(count: usize, glue: bool) -> Result<(Vec<UdpSocket>, Vec<SocketAddr>), String> {
    let open = || -> io::Result<(UdpSocket, SocketAddr)> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_nonblocking(true)?;
        if glue {
            let on: libc::c_int = 1;
            let size = size_of::<libc::c_int>() as libc::socklen_t;
            // SAFETY: the option's value is ours, and its size is stated.
            let result = unsafe {
                libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_GRO, (&raw const on).cast(), size)
            };
            if result < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        let address = socket.local_addr()?;
        Ok((socket, address))
    };
    let opened: io::Result<Vec<_>> = (0..count).map(|_| open()).collect();
    opened.map(|pairs| pairs.into_iter().unzip()).map_err(|error| format!("a listener's socket: {error}"))
}

/// Servers keep few connections waiting (Icecast five), and the kernel would try again a second later.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect_timeout(&address, RETRY) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut && Instant::now() < deadline => {}
            done => return done,
        }
    }
}

/// A stream that has been asked for, for the crowd.
pub fn stream(socket: TcpStream, format: Format) -> io::Result<Listener> {
    socket.set_nonblocking(true)?;
    let none = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = size_of::<libc::linger>() as libc::socklen_t;
    // Thousands of ports would else wait a minute each after every round.
    // SAFETY: the option's value is ours, and its size is stated.
    unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const none).cast(), size) };
    Ok(Listener::Stream { socket, rest: Vec::new(), format })
}

fn listen(mut listeners: Vec<Listener>, heard: &Heard, stop: &AtomicBool) {
    pin(1);
    // SAFETY: epoll_create1 takes no pointer; epoll_ctl reads the event, which is ours.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    for (at, listener) in listeners.iter().enumerate() {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: at as u64 };
        // SAFETY: as above.
        let result = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, listener.descriptor(), &raw mut event) };
        assert_eq!(result, 0, "epoll takes every socket: {}", io::Error::last_os_error());
    }
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 1_024];
    let mut buffer = vec![0; 65_536];
    let mut round = 1;
    let mut last = vec![0u64; listeners.len()];
    let mut tally = Tally::default();
    while !stop.load(Ordering::Acquire) {
        // SAFETY: the events are ours and as many as stated.
        let ready = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), events.len() as i32, 100) };
        // Somebody took the tally: who is heard from now on counts anew.
        if heard.listeners() == 0 {
            round += 1;
        }
        for event in events.iter().take(ready.max(0) as usize) {
            let at = event.u64 as usize;
            let before = tally.packets;
            if !listeners[at].read(&mut buffer, &mut tally) {
                // SAFETY: a null event is allowed for this operation.
                unsafe {
                    libc::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, listeners[at].descriptor(), std::ptr::null_mut())
                };
            }
            if tally.packets > before && last[at] != round {
                last[at] = round;
                tally.listeners += 1;
            }
        }
        heard.add(&tally);
        tally.packets = 0;
        tally.bytes = 0;
        tally.listeners = 0;
        tally.delays.clear();
    }
    // SAFETY: the descriptor is ours and closed once.
    unsafe { libc::close(epoll) };
}

impl Listener {
    fn descriptor(&self) -> RawFd {
        match self {
            Self::Datagrams { socket, .. } => socket.as_raw_fd(),
            Self::Stream { socket, .. } => socket.as_raw_fd(),
        }
    }

    /// All that is there. False when nothing will come again.
    fn read(&mut self, buffer: &mut [u8], tally: &mut Tally) -> bool {
        match self {
            Self::Datagrams { socket, length, stamp } => {
                while let Ok(count) = socket.recv(buffer) {
                    let one = if *length == 0 { count } else { *length };
                    for packet in buffer[..count].chunks(one.max(1)) {
                        tally.packets += 1;
                        tally.bytes += packet.len() as u64 + UDP;
                        if let Some(first) = stamp.first(packet) {
                            tally.late(first);
                        }
                    }
                }
                true
            }
            Self::Stream { socket, rest, format } => {
                let count = match socket.read(buffer) {
                    Ok(0) => return false,
                    Ok(count) => count,
                    Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
                };
                // As on an Ethernet; loopback alone has longer segments.
                tally.bytes += count as u64 + count.div_ceil(SEGMENT) as u64 * TCP;
                rest.extend_from_slice(&buffer[..count]);
                let used = format.parse(rest, tally);
                rest.drain(..used);
                true
            }
        }
    }
}

impl Stamp {
    fn first(self, packet: &[u8]) -> Option<Duration> {
        match self {
            Self::Clock => Some(Duration::from_nanos(u64::from_be_bytes(*packet.get(12..)?.first_chunk()?))),
            Self::Rtp(began) => {
                let stamp = u32::from_be_bytes(*packet.get(4..)?.first_chunk()?);
                Some(began + samples(u64::from(stamp)))
            }
        }
    }
}

impl Format {
    /// Counts what is whole; says how many bytes are done with.
    fn parse(self, bytes: &[u8], tally: &mut Tally) -> usize {
        let mut at = 0;
        while let Some(length) = self.message(&bytes[at..], tally) {
            at += length;
        }
        at
    }

    fn message(self, bytes: &[u8], tally: &mut Tally) -> Option<usize> {
        match self {
            Self::Ogg { began, page } => {
                if !bytes.starts_with(b"OggS") && bytes.len() >= 4 {
                    // The HTTP header.
                    return bytes.windows(4).position(|four| four == b"OggS").filter(|at| *at > 0);
                }
                let table = bytes.get(27..27 + usize::from(*bytes.get(26)?))?;
                let length = 27 + table.len() + table.iter().map(|part| usize::from(*part)).sum::<usize>();
                bytes.get(..length)?;
                let granule = u64::from_le_bytes(*bytes.get(6..)?.first_chunk()?);
                // The two pages in front hold no sound.
                if granule > 0 {
                    tally.packets += 1;
                    tally.late((began + samples(granule)).saturating_sub(page));
                }
                Some(length)
            }
            Self::Snapcast => {
                let header: &[u8; 26] = bytes.first_chunk()?;
                let size = u32::from_le_bytes(*header.last_chunk()?) as usize;
                let body = bytes.get(26..26 + size)?;
                if header[..2] == WIRE_CHUNK.to_le_bytes() {
                    let seconds = u32::from_le_bytes(*body.first_chunk()?);
                    let microseconds = u32::from_le_bytes(*body.get(4..)?.first_chunk()?);
                    tally.packets += 1;
                    tally.late(Duration::new(seconds.into(), 0) + Duration::from_micros(microseconds.into()));
                }
                Some(26 + size)
            }
        }
    }
}

impl Tally {
    fn late(&mut self, first: Duration) {
        self.delays.add(clock().saturating_sub(first).as_millis() as u64, 1);
    }
}

fn samples(count: u64) -> Duration {
    Duration::from_nanos(count * 1_000_000 / 48)
}

/// Bytes of the headers of IPv4 and UDP.
const UDP: u64 = 28;
/// Bytes of the headers of IPv4 and TCP with its timestamps, and how much a segment behind them carries.
const TCP: u64 = 52;
const SEGMENT: usize = 1_448;
/// How long a connection is waited for before it's tried anew.
const RETRY: Duration = Duration::from_millis(20);
/// Snapcast's message type for sound.
const WIRE_CHUNK: u16 = 2;
