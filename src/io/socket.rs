//! One UDP socket: many datagrams per system call in, one out (many out is `fanout`).
use socket2::{Domain, Protocol, Type};
use std::io;
use std::mem;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

/// Datagrams (or GRO runs of them) per call: a shard looks at its timers at least so often.
const MESSAGES: usize = 16;
/// The kernel glues at most 64 KiB together (GRO).
const RUN: usize = 65_536;
/// Room for one control message (the GRO segment size), aligned.
const CONTROL: usize = 64;
/// Expedited forwarding (RFC 3246) in the upper six bits of the traffic class.
const EXPEDITED: libc::c_int = 46 << 2;

/// A bound, non-blocking socket. IPv6 ones speak IPv4 too; addresses are shown in their own family.
#[derive(Debug)]
pub struct Socket {
    udp: UdpSocket,
    six: bool,
}

impl Socket {
    /// `buffer`: bytes asked of the kernel for each direction; less is warned about with the mend.
    pub fn bind(address: SocketAddr, buffer: usize) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        let six = address.is_ipv6();
        if six {
            socket.set_only_v6(false)?;
        }
        socket.set_nonblocking(true)?;
        ask_buffers(&socket, buffer);
        let set = |level, name, value| set_option(socket.as_raw_fd(), level, name, value);
        // Don't-fragment without the kernel's own guess: QUIC probes the path itself (RFC 8899).
        set(libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)?;
        // A network that refuses the mark still carries the packets: not worth failing for.
        let _ = set(libc::IPPROTO_IP, libc::IP_TOS, EXPEDITED);
        if six {
            set(libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE)?;
            let _ = set(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, EXPEDITED);
        }
        // Kernels before 5.0 lack it and hand out single datagrams, which is read the same way.
        let _ = set(libc::SOL_UDP, libc::UDP_GRO, 1);
        socket.bind(&address.into())?;
        Ok(Self { udp: socket.into(), six })
    }

    /// For dialling: any port, both families where the machine has IPv6.
    pub fn any(buffer: usize) -> io::Result<Self> {
        Self::bind((Ipv6Addr::UNSPECIFIED, 0).into(), buffer).or_else(|_| Self::bind(([0, 0, 0, 0], 0).into(), buffer))
    }

    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.udp.local_addr()
    }

    /// One datagram. `WouldBlock` when the kernel's buffer is full.
    pub fn send(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        self.udp.send_to(bytes, self.outward(to)).map(drop)
    }

    /// The form in which this socket's kernel side wants an address.
    pub fn outward(&self, address: SocketAddr) -> SocketAddr {
        match address {
            SocketAddr::V4(four) if self.six => (four.ip().to_ipv6_mapped(), four.port()).into(),
            other => other,
        }
    }

    pub fn descriptor(&self) -> RawFd {
        self.udp.as_raw_fd()
    }
}

/// Buffers for receiving, kept between calls.
pub struct Receiver {
    runs: Vec<u8>,
    names: Vec<libc::sockaddr_storage>,
    controls: Vec<Control>,
}

#[repr(align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL]);

impl Default for Receiver {
    fn default() -> Self {
        // SAFETY: sockaddr_storage is plain bytes; all zero is a value of it (family "unspecified").
        let name: libc::sockaddr_storage = unsafe { mem::zeroed() };
        Self {
            runs: vec![0; MESSAGES * RUN],
            names: vec![name; MESSAGES],
            controls: vec![Control([0; CONTROL]); MESSAGES],
        }
    }
}

impl Receiver {
    /// Takes what is there, at most one batch, and gives each datagram with its source. False when
    /// nothing was there.
    pub fn receive(&mut self, socket: &Socket, mut take: impl FnMut(SocketAddr, &[u8])) -> io::Result<bool> {
        // SAFETY: all zero is a value of mmsghdr (null pointers, zero lengths).
        let mut headers: [libc::mmsghdr; MESSAGES] = unsafe { mem::zeroed() };
        let mut vectors = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; MESSAGES];
        let rooms = self.runs.chunks_exact_mut(RUN).zip(&mut self.names).zip(&mut self.controls);
        for ((header, vector), ((run, name), control)) in headers.iter_mut().zip(&mut vectors).zip(rooms) {
            *vector = libc::iovec { iov_base: run.as_mut_ptr().cast(), iov_len: RUN };
            let message = &mut header.msg_hdr;
            message.msg_name = std::ptr::from_mut(name).cast();
            message.msg_namelen = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            message.msg_iov = vector;
            message.msg_iovlen = 1;
            message.msg_control = control.0.as_mut_ptr().cast();
            message.msg_controllen = CONTROL as _;
        }
        // SAFETY: every pointer in `headers` is to memory of `self` or of this frame that outlives the
        // call and is of the length stated beside it; MESSAGES is the length of `headers`.
        let count = unsafe {
            libc::recvmmsg(
                socket.descriptor(),
                headers.as_mut_ptr(),
                MESSAGES as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(false),
                _ => Err(error),
            };
        }
        for ((header, run), name) in
            headers.iter().take(count as usize).zip(self.runs.chunks_exact(RUN)).zip(&self.names)
        {
            let Some(source) = read_name(name) else { continue };
            let bytes = run.get(..header.msg_len as usize).unwrap_or_default();
            // SAFETY: the kernel has just filled in `msg_hdr`, whose control buffer is ours and alive.
            let segment = unsafe { segment_size(&header.msg_hdr) }.unwrap_or(bytes.len());
            for datagram in bytes.chunks(segment.max(1)) {
                take(source, datagram);
            }
        }
        Ok(count > 0)
    }
}

/// The size of the datagrams that GRO has glued, if it has.
///
/// # Safety
/// SAFETY of the callers: `message` must have been filled in by recvmsg, and its control buffer must be alive.
unsafe fn segment_size(message: &libc::msghdr) -> Option<usize> {
    // SAFETY: as the caller promises; CMSG_FIRSTHDR and CMSG_NXTHDR stay within msg_controllen.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(message);
        while !control.is_null() {
            if (*control).cmsg_level == libc::SOL_UDP && (*control).cmsg_type == libc::UDP_GRO {
                let size = std::ptr::read_unaligned(libc::CMSG_DATA(control).cast::<libc::c_int>());
                return usize::try_from(size).ok();
            }
            control = libc::CMSG_NXTHDR(message, control);
        }
    }
    None
}

/// The address that the kernel wrote; IPv4 in IPv6 form is given as IPv4.
fn read_name(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says which structure this is; storage is large enough and aligned
            // for each.
            let four = unsafe { &*std::ptr::from_ref(name).cast::<libc::sockaddr_in>() };
            let ip = u32::from_be(four.sin_addr.s_addr).into();
            Some(SocketAddrV4::new(ip, u16::from_be(four.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let six = unsafe { &*std::ptr::from_ref(name).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(six.sin6_addr.s6_addr);
            let port = u16::from_be(six.sin6_port);
            Some(match ip.to_ipv4_mapped() {
                Some(four) => (IpAddr::V4(four), port).into(),
                None => SocketAddrV6::new(ip, port, 0, six.sin6_scope_id).into(),
            })
        }
        _ => None,
    }
}

pub(super) fn set_option(
    descriptor: RawFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the value is an int of ours and its size is stated.
    let result = unsafe {
        libc::setsockopt(
            descriptor,
            level,
            name,
            std::ptr::from_ref(&value).cast(),
            mem::size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Asks, reads back and warns: a kernel silently gives less than it was asked for. Whoever may
/// administer the network is given it beyond the limits; anybody else up to them.
fn ask_buffers(socket: &socket2::Socket, wanted: usize) {
    let bytes = wanted.min(i32::MAX as usize) as libc::c_int;
    if set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes).is_err() {
        let _ = socket.set_recv_buffer_size(wanted);
    }
    if set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, bytes).is_err() {
        let _ = socket.set_send_buffer_size(wanted);
    }
    for (given, key) in
        [(socket.recv_buffer_size(), "net.core.rmem_max"), (socket.send_buffer_size(), "net.core.wmem_max")]
    {
        let given = given.unwrap_or(0);
        if given < wanted {
            tracing::warn!(
                code = "node.socket_buffer",
                wanted,
                given,
                "the kernel gives a smaller socket buffer than asked for; bursts may be lost: sysctl -w {key}={wanted}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(receiver: &mut Receiver, socket: &Socket, wanted: usize) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut seen = Vec::new();
        for _ in 0..1_000 {
            if seen.len() >= wanted {
                break;
            }
            super::super::wake::wait(
                [super::super::wake::Interest { descriptor: socket.descriptor(), write: false }],
                std::time::Duration::from_millis(100),
            );
            receiver.receive(socket, |source, bytes| seen.push((source, bytes.to_vec()))).unwrap();
        }
        seen
    }

    #[test]
    fn a_run_glued_by_the_kernel_comes_out_as_its_datagrams() {
        let socket = Socket::bind(([127, 0, 0, 1], 0).into(), 1 << 16).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        // UDP_SEGMENT makes the kernel treat one write as five datagrams, which GRO keeps glued.
        set_option(sender.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, 300).unwrap();
        let mut run = Vec::new();
        for part in 0..5u8 {
            run.extend(std::iter::repeat_n(part, if part == 4 { 100 } else { 300 }));
        }
        sender.send_to(&run, socket.local_address().unwrap()).unwrap();
        let seen = receive(&mut Receiver::default(), &socket, 5);
        assert_eq!(seen.len(), 5);
        for (part, (source, bytes)) in seen.iter().enumerate() {
            assert_eq!(*source, sender.local_addr().unwrap());
            assert_eq!(bytes.len(), if part == 4 { 100 } else { 300 });
            assert!(bytes.iter().all(|byte| usize::from(*byte) == part));
        }
    }

    #[test]
    fn one_socket_speaks_both_families() {
        let Ok(both) = Socket::bind((Ipv6Addr::UNSPECIFIED, 0).into(), 1 << 16) else {
            return; // A machine without IPv6.
        };
        let four = Socket::bind(([127, 0, 0, 1], 0).into(), 1 << 16).unwrap();
        let port = both.local_address().unwrap().port();
        four.send(b"up", ([127, 0, 0, 1], port).into()).unwrap();
        let seen = receive(&mut Receiver::default(), &both, 1);
        assert_eq!(seen, [(four.local_address().unwrap(), b"up".to_vec())]);
        both.send(b"down", four.local_address().unwrap()).unwrap();
        let seen = receive(&mut Receiver::default(), &four, 1);
        assert_eq!(seen, [((([127, 0, 0, 1]), port).into(), b"down".to_vec())]);
    }

    /// The traffic class of the next datagram, as the receiver's kernel tells it.
    fn traffic_class(receiver: &UdpSocket) -> Option<u8> {
        let mut bytes = [0u8; 16];
        let mut control = Control([0; CONTROL]);
        let mut vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        // SAFETY: all zero is a value of msghdr (null pointers, zero lengths).
        let mut message: libc::msghdr = unsafe { mem::zeroed() };
        message.msg_iov = &raw mut vector;
        message.msg_iovlen = 1;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = CONTROL as _;
        // SAFETY: the message points at buffers of this frame, of the lengths stated beside them; CMSG_*
        // stay within what the kernel has filled in.
        unsafe {
            if libc::recvmsg(receiver.as_raw_fd(), &raw mut message, 0) < 0 {
                return None;
            }
            let mut header = libc::CMSG_FIRSTHDR(&raw const message);
            while !header.is_null() {
                match ((*header).cmsg_level, (*header).cmsg_type) {
                    (libc::IPPROTO_IP, libc::IP_TOS) => return Some(*libc::CMSG_DATA(header)),
                    (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                        return Some(std::ptr::read_unaligned(libc::CMSG_DATA(header).cast::<libc::c_int>()) as u8);
                    }
                    _ => header = libc::CMSG_NXTHDR(&raw const message, header),
                }
            }
        }
        None
    }

    #[test]
    fn every_datagram_is_marked_for_expedited_forwarding_in_both_families() {
        let four = UdpSocket::bind("127.0.0.1:0").unwrap();
        set_option(four.as_raw_fd(), libc::IPPROTO_IP, libc::IP_RECVTOS, 1).unwrap();
        let socket = Socket::bind(([127, 0, 0, 1], 0).into(), 1 << 16).unwrap();
        socket.send(b"x", four.local_addr().unwrap()).unwrap();
        assert_eq!(traffic_class(&four), Some(46 << 2));
        let Ok(both) = Socket::bind((Ipv6Addr::UNSPECIFIED, 0).into(), 1 << 16) else {
            println!("IPv6 not tried: this machine has none");
            return;
        };
        let six = UdpSocket::bind("[::1]:0").unwrap();
        set_option(six.as_raw_fd(), libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1).unwrap();
        both.send(b"x", six.local_addr().unwrap()).unwrap();
        assert_eq!(traffic_class(&six), Some(46 << 2));
        both.send(b"x", four.local_addr().unwrap()).unwrap();
        assert_eq!(traffic_class(&four), Some(46 << 2));
    }

    #[test]
    fn an_empty_datagram_is_nothing_and_hurts_nobody() {
        let socket = Socket::bind(([127, 0, 0, 1], 0).into(), 1 << 16).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.send_to(&[], socket.local_address().unwrap()).unwrap();
        sender.send_to(&[7], socket.local_address().unwrap()).unwrap();
        let seen = receive(&mut Receiver::default(), &socket, 1);
        assert_eq!(seen[0].1, [7]);
    }
}
