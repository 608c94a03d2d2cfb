//! Source-specific multicast (RFC 4607): one send for all children of a LAN, and how a child gets it.
use super::socket::{Socket, set_option};
use crate::config::is_source_specific;
use crate::proto;
use bytes::Bytes;
use socket2::{Domain, Protocol, Type};
use std::ffi::CString;
use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

/// How a parent names its group.
pub fn name(group: SocketAddr) -> proto::Group {
    let address = match group.ip() {
        IpAddr::V4(four) => four.octets().to_vec(),
        IpAddr::V6(six) => six.octets().to_vec(),
    };
    proto::Group { address: address.into(), port: group.port().into() }
}

/// The group that a parent names.
pub fn read(group: &proto::Group) -> Option<SocketAddr> {
    let port = u16::try_from(group.port).ok()?;
    let four = <[u8; 4]>::try_from(group.address.as_ref()).map(IpAddr::from);
    let ip = four.or_else(|_| <[u8; 16]>::try_from(group.address.as_ref()).map(IpAddr::from)).ok()?;
    Some((ip, port).into()).filter(|group| is_source_specific(*group))
}

/// Lets a socket send to groups: one hop, out of this interface, heard on this machine too.
pub fn speak(socket: &Socket, group: SocketAddr, interface: Option<&str>) -> io::Result<()> {
    let index = interface.map(index_of).transpose()?.unwrap_or(0);
    let descriptor = socket.descriptor();
    if group.is_ipv6() {
        set_option(descriptor, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS, 1)?;
        set_option(descriptor, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_LOOP, 1)?;
        return if index == 0 {
            Ok(())
        } else {
            set_option(descriptor, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, index as libc::c_int)
        };
    }
    set_option(descriptor, libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, 1)?;
    set_option(descriptor, libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP, 1)?;
    let own = match socket.local_address()?.ip() {
        IpAddr::V4(four) if !four.is_unspecified() => four,
        _ => Ipv4Addr::UNSPECIFIED,
    };
    if index == 0 && own.is_unspecified() {
        // The routing table says where groups are.
        return Ok(());
    }
    let choice = libc::ip_mreqn {
        imr_multiaddr: raw(Ipv4Addr::UNSPECIFIED),
        imr_address: raw(own),
        imr_ifindex: index as libc::c_int,
    };
    set_struct(descriptor, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &choice)
}

/// What comes by a group from one source.
#[derive(Debug)]
pub struct Listener {
    udp: UdpSocket,
    source: SocketAddr,
    buffer: Vec<u8>,
}

impl Listener {
    /// `source`: where the parent sends from, as this node reaches it.
    pub fn join(group: SocketAddr, source: SocketAddr) -> io::Result<Self> {
        if !is_source_specific(group) || group.is_ipv4() != source.is_ipv4() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a group of that source"));
        }
        let socket = socket2::Socket::new(Domain::for_address(group), Type::DGRAM, Some(Protocol::UDP))?;
        // Several speakers on one machine hear the same group.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        // Less than asked for loses nothing that repair doesn't bring.
        let _ = socket.set_recv_buffer_size(BUFFER);
        socket.bind(&group.into())?;
        match (group.ip(), source.ip()) {
            (IpAddr::V4(group), IpAddr::V4(from)) => {
                // What others on this machine have joined is theirs.
                set_option(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, 0)?;
                let IpAddr::V4(own) = own_address(source)? else {
                    return Err(io::Error::other("the way to the parent is not IPv4"));
                };
                let request = libc::ip_mreq_source {
                    imr_multiaddr: raw(group),
                    imr_interface: raw(own),
                    imr_sourceaddr: raw(from),
                };
                set_struct(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_ADD_SOURCE_MEMBERSHIP, &request)?;
            }
            _ => {
                let interface = match source {
                    SocketAddr::V6(six) => six.scope_id(),
                    SocketAddr::V4(_) => 0,
                };
                let request = SourceRequest { interface, group: storage(group), source: storage(source) };
                set_struct(socket.as_raw_fd(), libc::IPPROTO_IPV6, MCAST_JOIN_SOURCE_GROUP, &request)?;
            }
        }
        Ok(Self { udp: socket.into(), source, buffer: vec![0; LONGEST] })
    }

    /// Takes what is there, at most so much that others get their turn. True if there may be more.
    pub fn receive(&mut self, mut take: impl FnMut(Bytes)) -> bool {
        for _ in 0..TURN {
            match self.udp.recv_from(&mut self.buffer) {
                // The kernel has looked at the address; the port is the shard's.
                Ok((length, from)) if from == self.source => {
                    take(Bytes::copy_from_slice(self.buffer.get(..length).unwrap_or_default()));
                }
                Ok(_) => {}
                Err(_) => return false,
            }
        }
        true
    }

    pub fn descriptor(&self) -> RawFd {
        self.udp.as_raw_fd()
    }
}

/// `struct group_source_req` (RFC 3678).
#[repr(C)]
struct SourceRequest {
    interface: u32,
    group: libc::sockaddr_storage,
    source: libc::sockaddr_storage,
}

/// The address of the interface by which this machine reaches another.
fn own_address(other: SocketAddr) -> io::Result<IpAddr> {
    let any: SocketAddr = if other.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    // Nothing is sent: the kernel looks for the way.
    socket.connect(other)?;
    Ok(socket.local_addr()?.ip())
}

fn index_of(interface: &str) -> io::Result<u32> {
    let name = CString::new(interface)?;
    // SAFETY: the name is a C string of ours.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

fn raw(address: Ipv4Addr) -> libc::in_addr {
    libc::in_addr { s_addr: u32::from(address).to_be() }
}

fn storage(address: SocketAddr) -> libc::sockaddr_storage {
    let name = socket2::SockAddr::from(address);
    // SAFETY: sockaddr_storage is plain bytes; all zero is a value of it.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    // SAFETY: a SockAddr is at most as long as a sockaddr_storage, and says how long it is.
    unsafe {
        std::ptr::copy_nonoverlapping(
            name.as_ptr().cast::<u8>(),
            (&raw mut storage).cast::<u8>(),
            (name.len() as usize).min(mem::size_of::<libc::sockaddr_storage>()),
        );
    }
    storage
}

fn set_struct<T>(descriptor: RawFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the value is a C structure that outlives the call, and its size is stated.
    let result = unsafe {
        libc::setsockopt(
            descriptor,
            level,
            name,
            std::ptr::from_ref(value).cast(),
            mem::size_of::<T>() as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Linux has it in <linux/in.h>, the libc crate not on every target.
const MCAST_JOIN_SOURCE_GROUP: libc::c_int = 46;
/// Datagrams before the trunk looks at its timers.
const TURN: usize = 64;
/// A packet is at most 1,200 bytes; what is longer is cut and fails its verification.
const LONGEST: usize = 1_500;
/// Half a second of 64 tracks.
const BUFFER: usize = 1 << 18;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::fanout::Fanout;
    use crate::io::wake::{Interest, wait};
    use std::sync::Arc;
    use std::time::{Duration, Instant};
    use uuid::Uuid;

    fn heard(listener: &mut Listener, wanted: usize) -> Vec<Bytes> {
        let mut seen = Vec::new();
        let until = Instant::now() + Duration::from_secs(5);
        while seen.len() < wanted && Instant::now() < until {
            wait([Interest { descriptor: listener.descriptor(), write: false }], Duration::from_millis(100));
            listener.receive(|bytes| seen.push(bytes));
        }
        seen
    }

    #[test]
    fn one_send_of_the_fan_out_reaches_everybody_who_has_joined_and_nobody_else_can_speak_there() {
        let group: SocketAddr = "232.7.4.60:7494".parse().unwrap();
        let socket = Arc::new(Socket::bind(([127, 0, 0, 1], 0).into(), 1 << 16).unwrap());
        speak(&socket, group, None).unwrap();
        let source = socket.local_address().unwrap();
        let mut listeners = [0; 3].map(|_| Listener::join(group, source).unwrap());
        let stranger = Socket::bind(([127, 0, 0, 2], 0).into(), 1 << 16).unwrap();
        speak(&stranger, group, None).unwrap();
        stranger.send(b"forged", group).unwrap();
        let other_port = Socket::bind(([127, 0, 0, 1], 0).into(), 1 << 16).unwrap();
        speak(&other_port, group, None).unwrap();
        other_port.send(b"forged", group).unwrap();

        let (now, track) = (Instant::now(), Uuid::from_u128(1));
        let mut fanout = Fanout::new(socket);
        fanout.carry(now, track, 240_000, 2);
        fanout.listen(now, crate::node::GROUP, track, group);
        for index in 0..2u8 {
            fanout.air(now, track, index.into(), Bytes::from(vec![index; 832]));
        }
        for listener in &mut listeners {
            assert_eq!(heard(listener, 2), [vec![0; 832], vec![1; 832]]);
        }
        assert_eq!(fanout.counters().sent, 2, "once for all");
    }

    #[test]
    fn a_group_is_one_that_a_source_can_have_for_itself() {
        for (address, expected) in [
            ("232.7.4.60:7470", true),
            ("232.0.0.1:7470", false),
            ("239.7.4.60:7470", false),
            ("232.7.4.60:0", false),
            ("10.0.0.1:7470", false),
            ("[ff32::8000:1]:7470", true),
            ("[ff32:0:1::1]:7470", false),
            ("[ff02::1]:7470", false),
        ] {
            assert_eq!(is_source_specific(address.parse().unwrap()), expected, "{address}");
        }
        for known in ["232.7.4.60:7470", "[ff32::8000:1]:7470"] {
            assert_eq!(read(&name(known.parse().unwrap())), Some(known.parse().unwrap()));
        }
        assert_eq!(read(&name("10.0.0.1:7470".parse().unwrap())), None);
        let source = "127.0.0.1:7460".parse().unwrap();
        assert!(Listener::join("224.0.0.1:7470".parse().unwrap(), source).is_err());
    }

    #[test]
    fn a_group_of_ipv6_is_heard_where_this_machine_has_a_way_for_it() {
        let group: SocketAddr = "[ff31::8000:7494]:7495".parse().unwrap();
        let socket = match Socket::bind(([0, 0, 0, 0, 0, 0, 0, 1u16], 0).into(), 1 << 16) {
            Ok(socket) => socket,
            Err(error) => return println!("not run: this machine has no IPv6: {error}"),
        };
        let joined = speak(&socket, group, Some("lo"))
            .and_then(|()| Listener::join(group, socket.local_address()?))
            .and_then(|listener| socket.send(b"x", group).map(|()| listener));
        match joined {
            Ok(mut listener) => assert_eq!(heard(&mut listener, 1), [&b"x"[..]]),
            Err(error) => println!("not run: ip -6 route add ff31::/16 dev lo table local is missing: {error}"),
        }
    }
}
