//! System calls of a worker: many sockets looked at together, one buffer for all of them.
use std::io;
use std::os::fd::RawFd;

/// Which sockets have something new to read. Edge-triggered: a socket is told of once, so it must be read until it is
/// empty. That costs less than to be told of it again, by when the kernel's record of it has left the cache.
pub struct Poll {
    descriptor: RawFd,
    events: Vec<libc::epoll_event>,
}

impl Poll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointer is passed.
        let descriptor = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { descriptor, events: vec![libc::epoll_event { events: 0, u64: 0 }; BATCH] })
    }

    /// `number` comes back when there is something to read.
    pub fn add(&self, socket: RawFd, number: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: number };
        // SAFETY: the event is ours and only read.
        let result = unsafe { libc::epoll_ctl(self.descriptor, libc::EPOLL_CTL_ADD, socket, &raw mut event) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Nobody looks at this socket any more.
    pub fn remove(&self, socket: RawFd) {
        // SAFETY: no pointer is passed.
        unsafe { libc::epoll_ctl(self.descriptor, libc::EPOLL_CTL_DEL, socket, std::ptr::null_mut()) };
    }

    /// How many are ready, at most a batch; [`Poll::ready`] names them.
    pub fn wait(&mut self, milliseconds: i32) -> usize {
        // SAFETY: the events are ours and as many as stated.
        let count = unsafe {
            libc::epoll_wait(self.descriptor, self.events.as_mut_ptr(), self.events.len() as i32, milliseconds)
        };
        count.max(0) as usize
    }

    pub fn ready(&self, at: usize) -> u64 {
        self.events.get(at).map_or(0, |event| event.u64)
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        // SAFETY: it was opened by us and is closed once.
        unsafe { libc::close(self.descriptor) };
    }
}

/// What one read brought: so many bytes, in datagrams of `segment` bytes (the last one may be shorter).
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub length: usize,
    pub segment: usize,
}

/// One read of a socket. `None`: there is nothing more.
pub fn receive(socket: RawFd, buffer: &mut [u8]) -> Option<Run> {
    // SAFETY: the buffer is ours and of the length stated.
    let length = unsafe { libc::recv(socket, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) };
    run(length)
}

/// An ICMP error of something sent before comes out once, as a read without bytes.
fn run(length: isize) -> Option<Run> {
    match usize::try_from(length) {
        Ok(length) => Some(Run { length, segment: length.max(1) }),
        Err(_) => match io::Error::last_os_error().raw_os_error() {
            Some(libc::ECONNREFUSED | libc::EHOSTUNREACH | libc::ENETUNREACH | libc::EINTR) => {
                Some(Run { length: 0, segment: 1 })
            }
            _ => None,
        },
    }
}

/// One read of a socket that takes runs glued by GRO.
pub fn receive_run(socket: RawFd, buffer: &mut [u8]) -> Option<Run> {
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control = Control([0; 64]);
    // SAFETY: all zero is a value of msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    // SAFETY: every pointer in the message is to memory of ours that outlives the call, of the length stated.
    let length = unsafe { libc::recvmsg(socket, &raw mut message, libc::MSG_DONTWAIT) };
    let Run { length, mut segment } = run(length)?;
    if length == 0 {
        return Some(Run { length, segment });
    }
    // SAFETY: the kernel has filled the message in; CMSG_FIRSTHDR and CMSG_DATA stay within its control buffer.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        if !header.is_null() && (*header).cmsg_level == libc::SOL_UDP && (*header).cmsg_type == libc::UDP_GRO {
            let size = std::ptr::read_unaligned(libc::CMSG_DATA(header).cast::<libc::c_int>());
            segment = usize::try_from(size).unwrap_or(segment).max(1);
        }
    }
    Some(Run { length, segment })
}

#[repr(align(8))]
struct Control([u8; 64]);

/// Whether reads of this socket may bring runs.
pub fn set_gro(socket: RawFd, on: bool) {
    let value = libc::c_int::from(on);
    // SAFETY: the value is an int of ours and its size is stated. A kernel without GRO gives no runs.
    unsafe {
        let size = size_of::<libc::c_int>() as libc::socklen_t;
        libc::setsockopt(socket, libc::SOL_UDP, libc::UDP_GRO, (&raw const value).cast(), size);
    }
}

/// Only this peer is heard from now on, and none else can fill the buffer.
pub fn connect(socket: RawFd, peer: std::net::SocketAddr) -> io::Result<()> {
    let address = socket2::SockAddr::from(peer);
    // SAFETY: the address is ours and of the length stated.
    let result = unsafe { libc::connect(socket, address.as_ptr().cast(), address.len()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Files that this process may open: raised to the hard limit, and (as root) that to what is needed. Returns how many.
pub fn raise_files(needed: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is ours.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if limit.rlim_max < needed {
        let higher = libc::rlimit { rlim_cur: needed, rlim_max: needed };
        // SAFETY: as above. Refused to all but root: then the hard limit is what there is.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const higher) } == 0 {
            return needed;
        }
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    limit.rlim_max
}

/// Gives way to whatever else wants the processor.
pub fn give_way(nice: i32) {
    // SAFETY: no pointer is passed. Refused: then it takes its share like all others.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
}

/// Only this core from now on.
pub fn pin(core: usize) -> io::Result<()> {
    // SAFETY: all zero is an empty set; CPU_SET stays within it, since the core is below its size.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if core >= libc::CPU_SETSIZE as usize {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("there is no core {core}")));
        }
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sockets told of in one look: so many reads that clocks and timers are looked at every few ms.
const BATCH: usize = 1_024;
