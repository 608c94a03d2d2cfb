//! Headers of some listeners, and the system call that serves them.
use super::super::socket::Socket;
use super::Counters;
use super::forming::MOST_TOGETHER;
use crate::node::Link;
use bytes::Bytes;
use std::io;
use std::mem;
use std::net::SocketAddr;

/// Who has filled a hole, and where they stand now.
pub(super) type Moved = [Option<(Link, usize)>; 2];

/// Listeners that are sent the same.
pub(super) struct Lane {
    pub links: Vec<Link>,
    names: Vec<Name>,
    headers: Vec<libc::mmsghdr>,
    /// What all headers point at; boxed so that it stays where it is.
    payload: Box<Payload>,
    /// Packets that a send may hold.
    width: usize,
    /// Places before it have been served in this pass.
    pub next: usize,
}

/// What became of some sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// As many went as were asked for, or as there were.
    Went,
    /// The kernel's buffer is full: poll says when there is room.
    Blocked,
    /// The kernel or the device has no memory: no poll says when it has.
    Starved,
    /// The listener at `next` can't be sent several packets at once.
    Whole,
    /// The device can't send several packets at once.
    Device,
}

/// Why the kernel did not take a send for one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    Refused,
    NoRoute,
    Filtered,
    TooLong,
    Full,
    Device,
    Invalid,
}

impl Unreachable {
    /// In the order of the variants.
    pub const NAMES: [&str; 7] = ["refused", "no_route", "filtered", "too_long", "full", "device", "invalid"];

    fn of(error: i32) -> Self {
        match error {
            libc::ECONNREFUSED => Self::Refused,
            libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EHOSTDOWN => Self::NoRoute,
            libc::EPERM | libc::EACCES => Self::Filtered,
            libc::EMSGSIZE => Self::TooLong,
            libc::ENOBUFS | libc::ENOMEM => Self::Full,
            libc::EIO => Self::Device,
            _ => Self::Invalid,
        }
    }
}

/// A socket address as the kernel reads it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) union Name {
    four: libc::sockaddr_in,
    six: libc::sockaddr_in6,
}

struct Payload {
    parts: [libc::iovec; MOST_TOGETHER],
    control: Control,
}

/// UDP_SEGMENT as `CMSG_FIRSTHDR` would lay it out.
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    length: u16,
    fill: [u8; CONTROL - mem::size_of::<libc::cmsghdr>() - 2],
}

impl Lane {
    pub fn new() -> Self {
        let empty = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        // SAFETY: all zero is a value of cmsghdr (some C libraries add fields of their own).
        let mut header: libc::cmsghdr = unsafe { mem::zeroed() };
        header.cmsg_len = CONTROL_LENGTH as _;
        header.cmsg_level = libc::SOL_UDP;
        header.cmsg_type = libc::UDP_SEGMENT;
        let control = Control { header, length: 0, fill: [0; _] };
        Self {
            links: Vec::new(),
            names: Vec::new(),
            headers: Vec::new(),
            payload: Box::new(Payload { parts: [empty; MOST_TOGETHER], control }),
            width: 1,
            next: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// How many wait in this pass.
    pub fn left(&self) -> usize {
        self.len() - self.next
    }

    pub fn push(&mut self, link: Link, name: Name) {
        let before = self.names.as_ptr();
        self.links.push(link);
        self.names.push(name);
        // SAFETY: all zero is a value of mmsghdr (null pointers, zero lengths).
        self.headers.push(unsafe { mem::zeroed() });
        let last = self.headers.len() - 1;
        self.shape(last);
        if self.names.as_ptr() == before {
            self.point(last);
        } else {
            // The names have moved to a larger place: every header must follow.
            (0..self.names.len()).for_each(|place| self.point(place));
        }
    }

    pub fn rename(&mut self, place: usize, name: Name) {
        if let Some(held) = self.names.get_mut(place) {
            *held = name;
            self.point(place);
        }
    }

    pub fn name(&self, place: usize) -> Option<(Link, Name)> {
        Some((*self.links.get(place)?, *self.names.get(place)?))
    }

    /// Takes a place out. Whoever has to fill the hole keeps being, or not being, served in this pass.
    /// Returns who moved, and to where.
    pub fn remove(&mut self, place: usize) -> Moved {
        let Some(last) = self.links.len().checked_sub(1) else { return [None; 2] };
        let mut hole = place;
        let mut moved = [None; 2];
        if hole < self.next {
            self.next -= 1;
            moved[0] = self.fill(hole, self.next);
            hole = self.next;
        }
        moved[1] = self.fill(hole, last);
        self.links.truncate(last);
        self.names.truncate(last);
        self.headers.truncate(last);
        moved
    }

    /// How many packets a send may hold from now on.
    pub fn widen(&mut self, width: usize) {
        let width = width.clamp(1, MOST_TOGETHER);
        if self.width != width {
            self.width = width;
            (0..self.headers.len()).for_each(|place| self.shape(place));
        }
    }

    pub fn width(&self) -> usize {
        self.width
    }

    /// Sends these, at most [`Lane::width`], to at most `most` of those that wait. Returns how many it
    /// was done with, sent or not, and why it ended.
    pub fn send(&mut self, socket: &Socket, parts: &[Bytes], most: usize, counters: &mut Counters) -> (usize, Flow) {
        self.load(parts);
        let (began, mut tried) = (self.next, 0);
        loop {
            let done = self.next - began;
            let count = self.left().min(most.saturating_sub(done));
            if count == 0 {
                return (done, Flow::Went);
            }
            let Some(rest) = self.headers.get_mut(self.next..self.next + count) else { return (done, Flow::Went) };
            // SAFETY: each of `rest` points at its name in `self.names` and at `self.payload`; both are
            // alive and where they were when pointed at (`push` points anew when the names move), and
            // `shape` states no more parts and control bytes than the payload has. The parts' bytes
            // belong to `parts`, which outlives the call; sendmmsg only reads them.
            let sent = unsafe { system_call(socket, rest) };
            match sent {
                Ok(sent) => {
                    self.next += sent;
                    tried = 0;
                    counters.sent += (sent * parts.len()) as u64;
                    if parts.len() > 1 {
                        counters.bunched += (sent * parts.len()) as u64;
                    }
                }
                Err(libc::EINTR) => {}
                Err(libc::EAGAIN) => {
                    counters.blocked += 1;
                    return (done, Flow::Blocked);
                }
                Err(libc::EINVAL | libc::EMSGSIZE) if parts.len() > 1 => return (done, Flow::Whole),
                Err(libc::EIO) if parts.len() > 1 => return (done, Flow::Device),
                Err(libc::ENOBUFS | libc::ENOMEM) => {
                    counters.blocked += 1;
                    return (done, Flow::Starved);
                }
                Err(error) => {
                    // What ICMP said of an earlier send is given to the next one, whoever that is for:
                    // only who is refused twice is meant.
                    tried += 1;
                    if tried > 1 {
                        self.skip(Unreachable::of(error), parts.len(), counters);
                        tried = 0;
                    }
                }
            }
        }
    }

    /// Leaves out the next listener.
    pub fn skip(&mut self, reason: Unreachable, packets: usize, counters: &mut Counters) {
        self.next = (self.next + 1).min(self.len());
        counters.unreachable[reason as usize] += packets as u64;
    }

    fn load(&mut self, parts: &[Bytes]) {
        let Payload { parts: vectors, control } = &mut *self.payload;
        for (at, vector) in vectors.iter_mut().enumerate() {
            *vector = match parts.get(at) {
                Some(part) => libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() },
                None => libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 },
            };
        }
        // 0: not to be cut.
        let first = if parts.len() > 1 { parts.first().map_or(0, Bytes::len) } else { 0 };
        control.length = u16::try_from(first).unwrap_or(0);
    }

    /// Copies one place over another.
    fn fill(&mut self, hole: usize, from: usize) -> Option<(Link, usize)> {
        if hole == from {
            return None;
        }
        let (link, name) = self.name(from)?;
        *self.links.get_mut(hole)? = link;
        self.rename(hole, name);
        Some((link, hole))
    }

    /// Lets a header point at the name of its place.
    fn point(&mut self, place: usize) {
        if let (Some(header), Some(name)) = (self.headers.get_mut(place), self.names.get_mut(place)) {
            header.msg_hdr.msg_namelen = name.length();
            header.msg_hdr.msg_name = std::ptr::from_mut(name).cast();
        }
    }

    /// Lets a header point at the payload.
    fn shape(&mut self, place: usize) {
        let Some(header) = self.headers.get_mut(place) else { return };
        header.msg_hdr.msg_iov = (&raw mut self.payload.parts).cast();
        header.msg_hdr.msg_iovlen = self.width as _;
        // A control message costs the kernel a look, so only who may need it has one.
        let bunched = self.width > 1;
        header.msg_hdr.msg_control =
            if bunched { (&raw mut self.payload.control).cast() } else { std::ptr::null_mut() };
        header.msg_hdr.msg_controllen = if bunched { CONTROL as _ } else { 0 };
    }
}

impl Name {
    pub fn new(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(four) => Self {
                four: libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: four.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from(*four.ip()).to_be() },
                    sin_zero: [0; 8],
                },
            },
            SocketAddr::V6(six) => Self {
                six: libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: six.port().to_be(),
                    sin6_flowinfo: six.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: six.ip().octets() },
                    sin6_scope_id: six.scope_id(),
                },
            },
        }
    }

    fn length(&self) -> libc::socklen_t {
        // SAFETY: both variants begin with the family, which every `Name` has set.
        let family = unsafe { self.four.sin_family };
        let length = if libc::c_int::from(family) == libc::AF_INET {
            mem::size_of::<libc::sockaddr_in>()
        } else {
            mem::size_of::<libc::sockaddr_in6>()
        };
        length as libc::socklen_t
    }
}

/// How many of the headers the kernel has sent, or its error for the first of them.
///
/// # Safety
/// SAFETY of the callers: what the headers point at must be alive and as long as they say.
unsafe fn system_call(socket: &Socket, headers: &mut [libc::mmsghdr]) -> Result<usize, i32> {
    #[cfg(test)]
    if let Some(fault) = FAULTS.with_borrow_mut(std::collections::VecDeque::pop_front) {
        return Err(fault);
    }
    // SAFETY: as the caller promises; the length is the slice's.
    let sent = unsafe {
        libc::sendmmsg(socket.descriptor(), headers.as_mut_ptr(), headers.len() as libc::c_uint, libc::MSG_DONTWAIT)
    };
    match usize::try_from(sent) {
        Ok(sent) if sent > 0 => Ok(sent),
        _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL)),
    }
}

#[cfg(test)]
thread_local! {
    /// Errors that the next system calls of this thread give instead of sending.
    pub(super) static FAULTS: std::cell::RefCell<std::collections::VecDeque<i32>> = const {
        std::cell::RefCell::new(std::collections::VecDeque::new())
    };
}

/// Of one control message that holds a u16.
// SAFETY: CMSG_SPACE only computes.
const CONTROL: usize = unsafe { libc::CMSG_SPACE(2) } as usize;
// SAFETY: as above.
const CONTROL_LENGTH: usize = unsafe { libc::CMSG_LEN(2) } as usize;
const _: () = assert!(mem::size_of::<Control>() == CONTROL);
