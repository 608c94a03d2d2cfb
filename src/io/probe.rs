//! Whether a parent answers, tried once and without joining: the name, UDP, the QUIC handshake, both certificates.
//!
//! A link that says no Hello is nobody's session: a parent counts a handshake and forgets it.
use super::identity::Identity;
use super::quic::{self, Driver, Event, REFUSED, REFUSES_US};
use super::resolve::{look_up_all, shard, shifted};
use super::socket::Socket;
use super::tls;
use super::wake::{Interest, wait};
use crate::node::Peer;
use crossbeam_channel::bounded;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What became of one try.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// Each has taken the other's certificate, so long after the first packet.
    Answers { address: SocketAddr, peer: Peer, took: Duration },
    /// The name has no address, or the resolver does not answer.
    NoName(String),
    /// The machine says that nobody listens on the port.
    Closed(SocketAddr),
    /// Nothing comes back.
    Silent(SocketAddr),
    /// It does not take this node's certificate.
    RefusesUs(SocketAddr, String),
    /// Its certificate, or what it speaks, is not to be trusted.
    Refused(SocketAddr, String),
    /// Not a matter of the network.
    Broken(String),
}

/// Tries `host:port` of a parent's first shard; blocks for [`PATIENCE`] each for the name and for the answer.
pub fn parent(identity: &Identity, name: &str, shards: u16) -> Found {
    match find(name) {
        Ok(first) => shake(identity, shifted(first, shard(identity.node, shards))),
        Err(why) => Found::NoName(why),
    }
}

/// An address of `host:port`; a resolver that hangs is left behind.
pub fn find(name: &str) -> Result<SocketAddr, String> {
    let (answer, answered) = bounded(1);
    let asked = name.to_owned();
    std::thread::Builder::new()
        .name("resolve".into())
        .spawn(move || drop(answer.send(look_up_all(&asked))))
        .map_err(|error| format!("no thread for a look-up: {error}"))?;
    match answered.recv_timeout(PATIENCE) {
        Ok(Ok(found)) => found.first().copied().ok_or_else(|| "it has no address".to_owned()),
        Ok(Err(why)) => Err(why),
        Err(_) => Err(format!("no answer from the resolver within {} s", PATIENCE.as_secs())),
    }
}

fn shake(identity: &Identity, address: SocketAddr) -> Found {
    let began = Instant::now();
    match try_handshake(identity, address, began + PATIENCE) {
        Err(why) => Found::Broken(why),
        Ok(Outcome::Up(peer)) => Found::Answers { address, peer, took: began.elapsed() },
        Ok(Outcome::Down(why)) if why.starts_with(REFUSES_US) => Found::RefusesUs(address, why),
        Ok(Outcome::Down(why)) if why.starts_with(REFUSED) => Found::Refused(address, why),
        Ok(Outcome::Down(why)) => Found::Broken(why),
        Ok(Outcome::Silence) if is_closed(address).unwrap_or(false) => Found::Closed(address),
        Ok(Outcome::Silence) => Found::Silent(address),
    }
}

enum Outcome {
    Up(Peer),
    Down(String),
    Silence,
}

fn try_handshake(identity: &Identity, address: SocketAddr, until: Instant) -> Result<Outcome, String> {
    let client = tls::client(identity).map_err(|error| error.to_string())?;
    let socket = Socket::any(BUFFER).map_err(|error| error.to_string())?;
    let options = quic::Options { client: Some(client), server: None, most_links: 0 };
    let mut driver = Driver::new(Arc::new(socket), options).map_err(|error| error.to_string())?;
    let link = driver.dial(Instant::now(), address)?;
    let mut up = None;
    let mut left = None;
    loop {
        let now = Instant::now();
        while driver.handle_readable(now) {}
        driver.handle_timeout(now);
        driver.flush(now);
        while let Some(event) = driver.poll_event() {
            match event {
                Event::Up { peer, .. } => up = Some(peer),
                Event::Down { reason, .. } => {
                    return Ok(match (left, up) {
                        (Some(_), Some(peer)) => Outcome::Up(peer),
                        _ => Outcome::Down(reason),
                    });
                }
                Event::Arrival { .. } | Event::Moved { .. } => {}
            }
        }
        if left.is_none() && up.is_some() && driver.is_confirmed(link) {
            driver.close(now, link, "goodbye", "only looked whether you answer");
            driver.flush(now);
            left = Some(now + FAREWELL);
        }
        let end = left.unwrap_or(until);
        if now >= end {
            return Ok(match (left, up) {
                (Some(_), Some(peer)) => Outcome::Up(peer),
                _ => Outcome::Silence,
            });
        }
        let next = driver.poll_timeout().map_or(end, |at| at.min(end));
        let interest = Interest { descriptor: driver.socket().descriptor(), write: driver.wants_write() };
        wait([interest], next.saturating_duration_since(now));
    }
}

/// A connected socket is told of the ICMP error that a port without a listener answers with.
fn is_closed(address: SocketAddr) -> io::Result<bool> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(REFUSAL))?;
    // Neither QUIC nor RTP: whoever listens drops it.
    socket.send(&[0])?;
    Ok(socket.recv(&mut [0; 64]).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
}

/// How long a name may take, and an answer: three retransmissions of the first packet.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// How long a goodbye may take.
const FAREWELL: Duration = Duration::from_millis(200);
/// How long an ICMP error may take.
const REFUSAL: Duration = Duration::from_millis(500);
/// Bytes: a handshake.
const BUFFER: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::super::clock;
    use super::super::examine::{Verdict, examine};
    use super::*;
    use crate::node::Role;
    use rcgen::{CertificateParams, DnType, Issuer, KeyPair, PKCS_ED25519, SanType, date_time_ymd};
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

    type Stop = crossbeam_channel::Sender<()>;

    fn run(identity: &Identity) -> (SocketAddr, std::thread::JoinHandle<()>, Stop) {
        let socket = Socket::bind(([127, 0, 0, 1], 0).into(), BUFFER).unwrap();
        let address = socket.local_address().unwrap();
        let options = quic::Options { client: None, server: Some(tls::server(identity).unwrap()), most_links: 8 };
        let mut driver = Driver::new(Arc::new(socket), options).unwrap();
        let (stop, stopped) = bounded::<()>(0);
        let thread = std::thread::spawn(move || {
            while stopped.try_recv() != Err(crossbeam_channel::TryRecvError::Disconnected) {
                let now = Instant::now();
                while driver.handle_readable(now) {}
                driver.handle_timeout(now);
                driver.flush(now);
                while driver.poll_event().is_some() {}
                let interest = Interest { descriptor: driver.socket().descriptor(), write: false };
                wait([interest], Duration::from_millis(5));
            }
        });
        (address, thread, stop)
    }

    fn tried(child: &Identity, above: &Identity) -> Found {
        let (address, thread, stop) = run(above);
        let found = parent(child, &address.to_string(), 1);
        drop(stop);
        thread.join().unwrap();
        found
    }

    /// Of the root with this seed, for January 2025 alone.
    fn expired(seed: [u8; 32], role: Role) -> Identity {
        // RFC 8410 §7.
        const HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        let root = PrivatePkcs8KeyDer::from([&HEAD[..], &seed].concat());
        let root = KeyPair::from_pkcs8_der_and_sign_algo(&root, &PKCS_ED25519).unwrap();
        let mut issuer = CertificateParams::new(Vec::new()).unwrap();
        issuer.distinguished_name.push(DnType::CommonName, "Loa root");
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut leaf = CertificateParams::new(Vec::new()).unwrap();
        let identity = tls::tests::identity(&seed, role);
        let name = format!("urn:loa:node:{}:{}", identity.node, role.as_str());
        leaf.subject_alt_names = vec![SanType::URI(name.try_into().unwrap())];
        (leaf.not_before, leaf.not_after) = (date_time_ymd(2025, 1, 1), date_time_ymd(2025, 2, 1));
        let leaf = leaf.signed_by(&key, &Issuer::new(issuer, root)).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Identity { chain: vec![leaf.der().clone()], key, ..identity }
    }

    #[test]
    fn a_parent_that_answers_and_those_that_are_not_to_be_had_are_told_apart() {
        let child = tls::tests::identity(&[1; 32], Role::Speaker);
        let relay = tls::tests::identity(&[1; 32], Role::Relay);
        assert!(matches!(tried(&child, &relay), Found::Answers { peer, .. } if peer.role == Role::Relay));
        let speaker = tls::tests::identity(&[1; 32], Role::Speaker);
        assert!(matches!(tried(&child, &speaker), Found::Refused(..)), "a speaker is no parent");
        let other = tls::tests::identity(&[2; 32], Role::Relay);
        assert!(matches!(tried(&child, &other), Found::Refused(..)), "of another root");
        let mut stranger = tls::tests::identity(&[3; 32], Role::Speaker);
        stranger.trust = child.trust.clone();
        assert!(matches!(tried(&stranger, &relay), Found::RefusesUs(..)), "it does not know our root");
    }

    #[test]
    fn a_certificate_that_has_ended_is_refused_by_either_side() {
        let (child, relay) =
            (tls::tests::identity(&[1; 32], Role::Speaker), tls::tests::identity(&[1; 32], Role::Relay));
        let (old_child, old_relay) = (expired([1; 32], Role::Speaker), expired([1; 32], Role::Relay));
        assert_eq!(examine(&old_child, clock::wall()).verdict, Verdict::Expired);
        assert!(matches!(tried(&old_child, &relay), Found::RefusesUs(..)), "ours has ended");
        assert!(matches!(tried(&child, &old_relay), Found::Refused(..)), "the parent's has ended");
    }

    #[test]
    fn a_port_that_nobody_listens_on_and_one_that_says_nothing_are_told_apart() {
        let child = tls::tests::identity(&[1; 32], Role::Speaker);
        let mute = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = mute.local_addr().unwrap();
        assert_eq!(parent(&child, &address.to_string(), 1), Found::Silent(address));
        drop(mute);
        assert_eq!(parent(&child, &address.to_string(), 1), Found::Closed(address));
    }

    #[test]
    fn a_name_that_is_nowhere_is_told_as_such() {
        let child = tls::tests::identity(&[1; 32], Role::Speaker);
        assert!(matches!(parent(&child, "x..y:7460", 1), Found::NoName(_)));
    }
}
