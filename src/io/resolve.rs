//! From a parent's address to the port of its shard that this node belongs to.
use super::wake::Waker;
use crate::broadcast::Address;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use uuid::Uuid;

/// Looks names up on a thread of its own: a resolver that hangs must not hold packets up. At most one
/// look-up for each of the trunk's sessions is under way.
pub struct Resolver {
    node: Uuid,
    answers: Sender<Resolved>,
    waker: Waker,
    /// How often each was asked for: names with several addresses are tried in turn.
    turns: BTreeMap<Address, usize>,
    under_way: Arc<AtomicUsize>,
}

/// Where to dial, or why there is nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    pub parent: usize,
    pub address: Result<SocketAddr, String>,
}

impl Resolver {
    pub fn new(node: Uuid, waker: Waker) -> (Self, Receiver<Resolved>) {
        let (answers, receiver) = bounded(MOST);
        (Self { node, answers, waker, turns: BTreeMap::new(), under_way: Arc::default() }, receiver)
    }

    /// The answer comes through the receiver, with `parent`.
    pub fn resolve(&mut self, parent: usize, address: &Address) -> Result<(), String> {
        if self.turns.len() >= REMEMBERED && !self.turns.contains_key(address) {
            self.turns.clear();
        }
        let turn = self.turns.entry(address.clone()).or_default();
        *turn += 1;
        let (name, turn, offset) = (address.host().to_owned(), *turn - 1, shard(self.node, address.shards()));
        if let Ok(address) = name.parse::<SocketAddr>() {
            self.answer(parent, Ok(shifted(address, offset)));
            return Ok(());
        }
        if self.under_way.fetch_add(1, Ordering::Relaxed) >= MOST {
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            return Err(format!("{name}: earlier look-ups of names have not come back"));
        }
        let (answers, waker, under_way) = (self.answers.clone(), self.waker.clone(), self.under_way.clone());
        let look_up = move || {
            let address = look_up(&name, turn).map(|address| shifted(address, offset));
            under_way.fetch_sub(1, Ordering::Relaxed);
            let _ = answers.try_send(Resolved { parent, address });
            waker.wake();
        };
        std::thread::Builder::new()
            .name("resolve".into())
            .spawn(look_up)
            .map(drop)
            .map_err(|error| format!("no thread for a look-up: {error}"))
    }

    fn answer(&self, parent: usize, address: Result<SocketAddr, String>) {
        let _ = self.answers.try_send(Resolved { parent, address });
        self.waker.wake();
    }
}

/// All addresses of `host:port`; may block as long as the resolver does.
pub(super) fn look_up_all(name: &str) -> Result<Vec<SocketAddr>, String> {
    name.to_socket_addrs().map(Iterator::collect).map_err(|error| error.to_string())
}

fn look_up(name: &str, turn: usize) -> Result<SocketAddr, String> {
    let found: Vec<SocketAddr> =
        name.to_socket_addrs().map_err(|error| format!("{name}: {error}; check parent.addresses"))?.collect();
    match found.len() {
        0 => Err(format!("{name} has no address; check parent.addresses")),
        count => found.get(turn % count).copied().ok_or_else(|| format!("{name} has no address")),
    }
}

/// Which shard of a parent a node belongs to (DESIGN §4): the same one every time, so that a NAT rebind
/// stays on its shard.
pub fn shard(node: Uuid, shards: u16) -> u16 {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, node.as_bytes());
    let number = digest.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    (number % u64::from(shards.max(1))) as u16
}

pub(super) fn shifted(address: SocketAddr, offset: u16) -> SocketAddr {
    (address.ip(), address.port().saturating_add(offset)).into()
}

/// Look-ups under way at once: of each session the present one, and one that hangs.
const MOST: usize = 4;
/// Addresses whose turns are remembered.
const REMEMBERED: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_node_always_dials_the_same_shard_and_nodes_spread_over_all() {
        let mut seen = [0; 4];
        for node in 0..400u128 {
            let node = Uuid::from_u128(node);
            assert_eq!(shard(node, 4), shard(node, 4));
            seen[usize::from(shard(node, 4))] += 1;
        }
        assert!(seen.iter().all(|count| *count > 60), "{seen:?}");
    }

    #[test]
    fn addresses_and_names_are_resolved_and_what_fails_is_named() {
        let (mut resolver, answers) = Resolver::new(Uuid::nil(), Waker::new().unwrap());
        let mut ask = |host| {
            resolver.resolve(1, &Address::new(host, 1).unwrap()).unwrap();
            let answer = answers.recv_timeout(Duration::from_secs(30)).unwrap();
            assert_eq!(answer.parent, 1);
            answer.address
        };
        assert_eq!(ask("127.0.0.1:7000"), Ok(([127, 0, 0, 1], 7000).into()));
        assert_eq!(ask("localhost:7001").unwrap().port(), 7001);
        assert!(ask("x..y:1").unwrap_err().contains("x..y"));
    }
}
