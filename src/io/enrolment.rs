//! How a board without a certificate comes by one: it makes a key, dials the parents of its configuration, shows its
//! ticket, and writes down what it gets.
//!
//! ```text
//!  ticket  a message `Ticket` of loa.v1 in hex, of which white space counts for nothing: token, the chain of its
//!          authority, the roots' certificates. It holds no secret of the tree: whoever copies it may enrol a board of
//!          his own, is counted, and waits without a place.
//!  folder  node.key roots/ node.crt, in this order: what is there is kept, so that a board that loses power has no
//!          second key
//! ```
use super::certify;
use super::identity::{self, Identity};
use super::probe::{PATIENCE as NAME, find};
use super::quic::{self, Driver, Event};
use super::resolve::{shard, shifted};
use super::socket::Socket;
use super::tls;
use super::wake::{Interest, wait};
use crate::broadcast::{Body, Order};
use crate::key::SigningKey;
use crate::node::{Role, id_of};
use crate::proto::{self, to_child, to_parent};
use crate::session::{Arrival, Departure};
use crate::time::Civil;
use bytes::Bytes;
use prost::Message;
use rcgen::{KeyPair, PKCS_ED25519};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use uuid::Uuid;
use zeroize::Zeroizing;

/// What a new board is given to come in with.
#[derive(Clone, Debug, PartialEq)]
pub struct Ticket(proto::Ticket);

impl Ticket {
    /// `roots`: certificates in DER.
    pub fn new(token: proto::Signed, grants: Vec<proto::Signed>, roots: Vec<Bytes>) -> Self {
        Self(proto::Ticket { token: Some(token), grants, roots })
    }

    /// In lines of 96 digits.
    pub fn write(&self) -> String {
        let digits: Vec<u8> =
            self.0.encode_to_vec().iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect();
        let lines: Vec<&str> = digits.chunks(96).filter_map(|line| std::str::from_utf8(line).ok()).collect();
        lines.join("\n")
    }

    /// An error says what is wrong with it and what to do.
    pub fn read(text: &str) -> Result<Self, String> {
        let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let whole = |what: &str| format!("{what}; copy the file anew that `loa enrol --count` made");
        if digits.len() > LONGEST || !digits.len().is_multiple_of(2) {
            return Err(whole("the ticket is cut off or too long"));
        }
        let pairs = digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap_or_default(), 16));
        let bytes: Vec<u8> = pairs.collect::<Result<_, _>>().map_err(|_| whole("the ticket is not all hex digits"))?;
        let ticket = proto::Ticket::decode(&bytes[..]).map_err(|_| whole("the ticket is damaged"))?;
        let token = ticket.token.as_ref().ok_or_else(|| whole("the ticket holds no token"))?;
        let order = Order::decode(&token.payload).map_err(|_| whole("the ticket's token is damaged"))?;
        if !matches!(order.body, Body::Invite(_)) {
            return Err(whole("the ticket's token is another kind of order"));
        }
        if ticket.roots.is_empty() || ticket.roots.len() > ROOTS || ticket.grants.len() > GRANTS {
            return Err(whole("the ticket names no roots, or too many"));
        }
        for root in &ticket.roots {
            certify::key_of(root).map_err(|error| whole(&format!("the ticket holds an unreadable root ({error})")))?;
        }
        Ok(Self(ticket))
    }

    /// When its token expires.
    pub fn ends(&self) -> Civil {
        let token = self.0.token.as_ref().and_then(|token| Order::decode(&token.payload).ok());
        token.map_or(Civil(0), |order| order.expires)
    }
}

/// An identity with a key of the moment, that is let in where a ticket's board would be: to see whether a parent answers.
pub fn stranger(ticket: &Ticket) -> io::Result<Identity> {
    let pair = KeyPair::generate_for(&PKCS_ED25519).map_err(io::Error::other)?;
    Ok(newcomer(&pair, ticket)?.identity)
}

/// Whether the board of this data folder has to ask for a certificate before it can be a node.
pub fn is_needed(data: &Path) -> bool {
    !data.join("node.crt").exists()
}

/// The key and the roots of a board's folder, made if they are not there yet; which node it will be.
pub fn begin(data: &Path, ticket: &Ticket) -> io::Result<Uuid> {
    prepare(data, ticket).map(|newcomer| id_of(&newcomer.key.public()))
}

/// Which node a board's folder will be, once it has a key.
pub fn node_of(data: &Path) -> Option<Uuid> {
    let key = std::fs::read_to_string(data.join("node.key")).map(Zeroizing::new).ok()?;
    let pair = KeyPair::from_pem_and_sign_algo(&key, &PKCS_ED25519).ok()?;
    SigningKey::from_pkcs8(&pair.serialize_der()).map(|key| id_of(&key.public()))
}

/// Asks until there is a certificate, or `stop`. Blocks. What is in the way is logged when it changes, and put in
/// `hindrance`. `Err` names what only people can mend.
pub fn obtain(
    data: &Path,
    parents: &[String],
    shards: u16,
    ticket: &Ticket,
    stop: &AtomicBool,
    hindrance: &mut dyn FnMut(&str, &str),
) -> io::Result<Option<Uuid>> {
    let newcomer = prepare(data, ticket)?;
    let mut told: Option<(String, String)> = None;
    let mut failures = 0u32;
    while !stop.load(Ordering::Relaxed) {
        for parent in parents {
            match ask(&newcomer, parent, shards, ticket, stop) {
                Ok((chain, node)) => return identity::write_chain(data, &chain).map(|()| Some(node)),
                Err((code, text)) => {
                    let text = format!("{parent}: {text}");
                    hindrance(&code, &text);
                    let news = Some((code.clone(), text.clone()));
                    if told != news {
                        tracing::warn!(code, "no certificate yet: {text}");
                        told = news;
                    }
                }
            }
        }
        let longest = FIRST * 2u32.pow(failures.min(DOUBLINGS));
        failures = failures.saturating_add(1);
        // Boards of one delivery are switched on by one hand.
        let share = u64::from_be_bytes(identity::random()) % 1_000;
        let until = Instant::now() + longest / 2 + longest.mul_f64(share as f64 / 1_000.0);
        while Instant::now() < until && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(TURN);
        }
    }
    Ok(None)
}

struct Newcomer {
    identity: Identity,
    key: SigningKey,
}

/// The folder, the key and the roots; what is there is kept.
fn prepare(data: &Path, ticket: &Ticket) -> io::Result<Newcomer> {
    let key = identity::make_key(data)?;
    identity::trust_roots(data, &ticket.0.roots)?;
    newcomer(&KeyPair::from_pem_and_sign_algo(&key, &PKCS_ED25519).map_err(io::Error::other)?, ticket)
}

fn newcomer(pair: &KeyPair, ticket: &Ticket) -> io::Result<Newcomer> {
    let certificate = certify::newcomer(pair).map_err(io::Error::other)?.der().clone();
    let peer = tls::peer(&certificate).map_err(io::Error::other)?;
    let mut trust = RootCertStore::empty();
    for root in &ticket.0.roots {
        trust.add(CertificateDer::from(root.to_vec())).map_err(io::Error::other)?;
    }
    let der = pair.serialize_der();
    let key = SigningKey::from_pkcs8(&der).ok_or_else(|| io::Error::other("node.key is no Ed25519 key"))?;
    let identity = Identity {
        node: peer.node,
        role: Role::New,
        roots: Vec::new(),
        chain: vec![certificate],
        key: PrivateKeyDer::try_from(der).map_err(io::Error::other)?,
        trust: Arc::new(trust),
        shown: OnceLock::new(),
    };
    Ok(Newcomer { identity, key })
}

/// A code for programs, a text for people.
type Hindrance = (String, String);

fn ask(
    newcomer: &Newcomer,
    parent: &str,
    shards: u16,
    ticket: &Ticket,
    stop: &AtomicBool,
) -> Result<(Vec<CertificateDer<'static>>, Uuid), Hindrance> {
    let code = |code: &str, text: String| (code.to_owned(), text);
    let first = find(parent).map_err(|why| code("parent.name", why))?;
    let address = shifted(first, shard(newcomer.identity.node, shards));
    let key = &newcomer.key;
    let token = ticket.0.token.clone().unwrap_or_default();
    let enrol = proto::Enrol {
        id: 1,
        key: Bytes::copy_from_slice(&key.public().0),
        proof: identity::prove(key, &token.payload),
        token: Some(token),
        grants: ticket.0.grants.clone(),
        ..Default::default()
    };
    let message = proto::ToParent { body: Some(to_parent::Body::Enrol(enrol)) }.encode_to_vec();
    let chain = converse(&newcomer.identity, address, message.into(), stop)?;
    // Of a hostile relay, or by a clock that is off: another parent may do better.
    let judged = newcomer.identity.judge(&chain);
    judged
        .map(|(chain, peer)| (chain, peer.node))
        .map_err(|why| code("enrol.chain", format!("what it sent is no certificate of this tree: {why}")))
}

/// One link, one question, one answer.
fn converse(
    identity: &Identity,
    address: SocketAddr,
    question: Bytes,
    stop: &AtomicBool,
) -> Result<Vec<Bytes>, Hindrance> {
    let broken = |text: String| ("enrol.link".to_owned(), text);
    let client = tls::client(identity).map_err(|error| broken(error.to_string()))?;
    let socket = Socket::any(BUFFER).map_err(|error| broken(error.to_string()))?;
    let options = quic::Options { client: Some(client), server: None, most_links: 0 };
    let mut driver = Driver::new(Arc::new(socket), options).map_err(|error| broken(error.to_string()))?;
    let began = Instant::now();
    let link = driver.dial(began, address).map_err(broken)?;
    let mut answer = None;
    let mut up = false;
    loop {
        let now = Instant::now();
        while driver.handle_readable(now) {}
        driver.handle_timeout(now);
        while let Some(event) = driver.poll_event() {
            match event {
                Event::Up { .. } => {
                    up = true;
                    driver.send(now, link, Departure::Control(question.clone()));
                }
                Event::Down { reason, .. } => return answer.unwrap_or_else(|| Err(broken(reason))),
                Event::Arrival { arrival: Arrival::Control(bytes), .. } if answer.is_none() => {
                    answer = read(bytes);
                    if answer.is_some() {
                        driver.close(now, link, "goodbye", "has its answer");
                    }
                }
                Event::Arrival { .. } | Event::Moved { .. } => {}
            }
        }
        driver.flush(now);
        let patience = if up { ANSWER } else { NAME };
        if answer.is_some() || now >= began + patience || stop.load(Ordering::Relaxed) {
            let silent = match up {
                true => ("enrol.silent", "it has not answered the question for a certificate"),
                false => ("parent.silent", "nothing comes back; is UDP blocked on the way?"),
            };
            return answer.unwrap_or_else(|| Err((silent.0.to_owned(), silent.1.to_owned())));
        }
        let next = driver.poll_timeout().map_or(TURN, |at| at.saturating_duration_since(now).min(TURN));
        wait([Interest { descriptor: driver.socket().descriptor(), write: driver.wants_write() }], next);
    }
}

/// `None` for what is no answer.
fn read(frame: Bytes) -> Option<Result<Vec<Bytes>, Hindrance>> {
    match proto::ToChild::decode(frame).ok()?.body? {
        to_child::Body::Enrolled(enrolled) if enrolled.chain.is_empty() => Some(Err((enrolled.code, enrolled.text))),
        to_child::Body::Enrolled(enrolled) => Some(Ok(enrolled.chain)),
        to_child::Body::Goodbye(goodbye) => Some(Err((goodbye.code, goodbye.text))),
        _ => None,
    }
}

/// Hex digits: a token, eight grants and four roots are half of it.
const LONGEST: usize = 32 * 1024;
const ROOTS: usize = 4;
const GRANTS: usize = 8;
/// Between two rounds of all parents: half to one and a half of this, doubled up to a minute.
const FIRST: Duration = Duration::from_secs(2);
const DOUBLINGS: u32 = 5;
/// How long a parent may take for its answer, which may come from the country's other end.
const ANSWER: Duration = Duration::from_secs(25);
/// How soon a stop is noticed.
const TURN: Duration = Duration::from_millis(100);
/// Bytes: a handshake.
const BUFFER: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::super::clock;
    use super::*;
    use crate::broadcast::{Area, Invite, sign};

    fn ticket() -> Ticket {
        let key = SigningKey::from_seed(&[3; 32]);
        let area: Area = "vn/01/00004".parse().unwrap();
        let body = Body::Invite(Invite { count: 40, relay: false });
        let id = identity::new_id(clock::wall());
        let order = Order::new(id, key.id(), 1, Civil(1_800_000_000_000_000), vec![area], body);
        let root = certify::Certifier::new(&[1; 32]).unwrap();
        Ticket::new(sign(&order, &key), Vec::new(), vec![Bytes::copy_from_slice(root.root.der())])
    }

    #[test]
    fn a_ticket_is_read_as_it_was_written_whatever_an_editor_did_to_its_lines() {
        let written = ticket().write();
        assert_eq!(Ticket::read(&written), Ok(ticket_of(&written)));
        assert_eq!(Ticket::read(&written.replace('\n', "\r\n  ")), Ok(ticket_of(&written)));
    }

    fn ticket_of(text: &str) -> Ticket {
        Ticket::read(text).unwrap()
    }

    #[test]
    fn a_ticket_that_was_cut_or_spoilt_is_refused_with_the_mend() {
        let written = ticket().write();
        for spoilt in [&written[..written.len() / 2], &written.replace('a', "z"), "", "00", &"0".repeat(40_000)] {
            let error = Ticket::read(spoilt).unwrap_err();
            assert!(error.contains("loa enrol --count"), "{error}");
        }
    }

    #[test]
    fn a_board_keeps_its_key_when_it_is_switched_off_in_the_middle() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let first = prepare(&data, &ticket()).unwrap();
        assert!(is_needed(&data));
        let again = prepare(&data, &ticket()).unwrap();
        assert_eq!(first.key.public(), again.key.public());
        assert_eq!(first.identity.role, Role::New);
    }
}
