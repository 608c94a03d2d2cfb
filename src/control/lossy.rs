//! A bad last hop for the demonstration and the tests: a UDP forwarder that loses datagrams at random,
//! both ways, from a seed.
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::task::{AbortHandle, JoinSet};

/// Stops forwarding when dropped.
pub struct Lossy {
    address: SocketAddr,
    counted: Arc<Counted>,
    _task: JoinSet<()>,
}

#[derive(Default)]
struct Counted {
    carried: AtomicU64,
    lost: AtomicU64,
}

impl Lossy {
    /// Listens at `listen` and forwards to `to`, each client over a socket of its own. `share`: 0 to 1.
    pub async fn start(listen: SocketAddr, to: SocketAddr, share: f64, seed: u64) -> io::Result<Self> {
        let socket = Arc::new(UdpSocket::bind(listen).await?);
        let address = socket.local_addr()?;
        let counted = Arc::new(Counted::default());
        let mut task = JoinSet::new();
        task.spawn(forward(socket, to, share, seed, counted.clone()));
        Ok(Self { address, counted, _task: task })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Datagrams carried and lost so far.
    pub fn counted(&self) -> (u64, u64) {
        (self.counted.carried.load(Ordering::Relaxed), self.counted.lost.load(Ordering::Relaxed))
    }
}

struct Client {
    socket: Arc<UdpSocket>,
    dice: Dice,
    heard: Instant,
    back: AbortHandle,
}

async fn forward(socket: Arc<UdpSocket>, to: SocketAddr, share: f64, seed: u64, counted: Arc<Counted>) {
    let mut clients: BTreeMap<SocketAddr, Client> = BTreeMap::new();
    // Dropped with this task, and the tasks with it.
    let mut backs = JoinSet::new();
    let mut buffer = vec![0; LARGEST];
    let mut number = 0;
    loop {
        // An ICMP error of an earlier send comes back here; the next datagram may fare better.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        if !clients.contains_key(&from) {
            if clients.len() >= CLIENTS {
                let gone = |client: &Client| client.heard.elapsed() > FORGET;
                clients.retain(|_, client| {
                    let gone = gone(client);
                    if gone {
                        client.back.abort();
                    }
                    !gone
                });
            }
            let up = match UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await {
                Ok(up) if clients.len() < CLIENTS && up.connect(to).await.is_ok() => Arc::new(up),
                _ => continue,
            };
            number += 1;
            let down = Dice::new(seed ^ (number << 1 | 1));
            let back = backs.spawn(back(up.clone(), socket.clone(), from, share, down, counted.clone()));
            let dice = Dice::new(seed ^ (number << 1));
            clients.insert(from, Client { socket: up, dice, heard: Instant::now(), back });
        }
        if let Some(client) = clients.get_mut(&from) {
            client.heard = Instant::now();
            if client.dice.loses(share) {
                counted.lost.fetch_add(1, Ordering::Relaxed);
            } else if let Some(datagram) = buffer.get(..length) {
                counted.carried.fetch_add(1, Ordering::Relaxed);
                let _ = client.socket.send(datagram).await;
            }
        }
    }
}

async fn back(
    up: Arc<UdpSocket>,
    socket: Arc<UdpSocket>,
    client: SocketAddr,
    share: f64,
    mut dice: Dice,
    counted: Arc<Counted>,
) {
    let mut buffer = vec![0; LARGEST];
    loop {
        let length = match up.recv(&mut buffer).await {
            Ok(length) => length,
            Err(_) => {
                // The parent's port is closed for now; not faster than it can come back.
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        if dice.loses(share) {
            counted.lost.fetch_add(1, Ordering::Relaxed);
        } else if let Some(datagram) = buffer.get(..length) {
            counted.carried.fetch_add(1, Ordering::Relaxed);
            let _ = socket.send_to(datagram, client).await;
        }
    }
}

/// SplitMix64: the same seed loses the same datagrams of a run of the same length.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn loses(&mut self, share: f64) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // 53 bits: what a double holds exactly.
        ((z >> 11) as f64 / (1u64 << 53) as f64) < share
    }
}

/// Bytes: no UDP datagram is larger.
const LARGEST: usize = 65_536;
/// Speakers behind one forwarder of the demonstration, ten times over.
const CLIENTS: usize = 64;
/// A client that sent nothing for so long makes room for others; keep-alives come each 10 s.
const FORGET: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_loses_the_same_and_about_as_much_as_asked() {
        let lost = |seed| {
            let mut dice = Dice::new(seed);
            (0..100_000).map(|_| dice.loses(0.05)).collect::<Vec<_>>()
        };
        assert_eq!(lost(7), lost(7));
        assert_ne!(lost(7), lost(8));
        let share = lost(7).iter().filter(|lost| **lost).count();
        assert!((4_700..5_300).contains(&share), "{share}");
        assert!(!Dice::new(1).loses(0.0) && Dice::new(1).loses(1.0));
    }

    #[tokio::test]
    async fn clients_are_answered_each_at_its_own_address() {
        let parent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let to = parent.local_addr().unwrap();
        let lossy = Lossy::start("127.0.0.1:0".parse().unwrap(), to, 0.0, 1).await.unwrap();
        let mut buffer = [0; 64];
        for name in [b"a", b"b"] {
            let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            client.send_to(name, lossy.address()).await.unwrap();
            let (length, from) = parent.recv_from(&mut buffer).await.unwrap();
            parent.send_to(&buffer[..length], from).await.unwrap();
            let (length, from) = client.recv_from(&mut buffer).await.unwrap();
            assert_eq!((&buffer[..length], from), (&name[..], lossy.address()));
        }
        assert_eq!(lossy.counted(), (4, 0));
    }
}
