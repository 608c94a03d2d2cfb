//! A man in the middle: a forwarder between one child and its parent's ports. It sees every packet, may
//! lose some, and can speak in the parent's name.

use loa::sim::Random;
use loa::track::{Header, is_rtp};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::runtime::Handle;

/// What origins ever sent: the packets that the test made, and the orders that left the origin.
#[derive(Debug, Default)]
pub struct Genuine {
    pub sound: BTreeSet<Vec<u8>>,
    orders: BTreeSet<Vec<u8>>,
    /// Logs of the origin; relays have their own beside.
    logs: BTreeSet<u32>,
}

/// One child's way to its parent, one port for each of the parent's shards.
pub struct Tap {
    shared: Arc<Shared>,
    address: SocketAddr,
}

struct Shared {
    genuine: Arc<Mutex<Genuine>>,
    /// The parent is the origin: what it says of orders is the truth.
    above: bool,
    loss: f64,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// The newest media packets that went down, as the parent sent them.
    media: VecDeque<Vec<u8>>,
    foreign: Vec<String>,
    carried: u64,
    lost: u64,
    /// The child's newest address, and the socket it knows as its parent.
    child: Option<(Arc<UdpSocket>, SocketAddr)>,
}

impl Tap {
    /// Listens at as many ports from `listen` on as the parent has from `parent` on. `loss`: share of the
    /// datagrams that go missing, each way.
    pub fn start(
        runtime: &Handle,
        genuine: Arc<Mutex<Genuine>>,
        (listen, parent, shards): (u16, u16, u16),
        above: bool,
        (loss, seed): (f64, u64),
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared { genuine, above, loss, seen: Mutex::default() });
        for shard in 0..shards {
            let socket = runtime.block_on(UdpSocket::bind(loopback(listen + shard)))?;
            let random = Random::of(seed, "loss", u64::from(shard));
            runtime.spawn(forward(Arc::new(socket), loopback(parent + shard), shared.clone(), random));
        }
        Ok(Self { shared, address: loopback(listen) })
    }

    /// Where the child dials.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn tapped(&self) -> Vec<Vec<u8>> {
        hold(&self.shared.seen).media.iter().cloned().collect()
    }

    /// Packets that the parent sent and no origin ever made.
    pub fn foreign(&self) -> Vec<String> {
        hold(&self.shared.seen).foreign.clone()
    }

    /// Datagrams carried and lost.
    pub fn counted(&self) -> (u64, u64) {
        let seen = hold(&self.shared.seen);
        (seen.carried, seen.lost)
    }

    /// Sends to the child as its parent does.
    pub fn inject(&self, bytes: &[u8]) {
        if let Some((socket, child)) = &hold(&self.shared.seen).child {
            // A full buffer loses it, as any network may.
            let _ = socket.try_send_to(bytes, *child);
        }
    }
}

async fn forward(socket: Arc<UdpSocket>, parent: SocketAddr, shared: Arc<Shared>, mut random: Random) {
    let mut ways: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
    let mut backs = tokio::task::JoinSet::new();
    let mut buffer = vec![0; LARGEST];
    loop {
        // ICMP errors of earlier sends come back here.
        let Ok((length, child)) = socket.recv_from(&mut buffer).await else { continue };
        let way = match ways.get(&child) {
            Some(way) => way.clone(),
            None => {
                let way = Arc::new(UdpSocket::bind(loopback(0)).await.expect("a free port"));
                way.connect(parent).await.expect("loopback is routed");
                let dice = Random::new(random.number());
                backs.spawn(back(way.clone(), socket.clone(), child, shared.clone(), dice));
                hold(&shared.seen).child = Some((socket.clone(), child));
                ways.insert(child, way.clone());
                way
            }
        };
        if shared.passes(&mut random) {
            let _ = way.send(&buffer[..length]).await;
        }
    }
}

async fn back(way: Arc<UdpSocket>, socket: Arc<UdpSocket>, child: SocketAddr, shared: Arc<Shared>, mut random: Random) {
    let mut buffer = vec![0; LARGEST];
    loop {
        let Ok(length) = way.recv(&mut buffer).await else {
            // The parent is down; not faster than it can come back.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        shared.look(&buffer[..length]);
        if shared.passes(&mut random) {
            let _ = socket.send_to(&buffer[..length], child).await;
        }
    }
}

impl Shared {
    fn passes(&self, random: &mut Random) -> bool {
        let passes = !random.chance(self.loss);
        let mut seen = hold(&self.seen);
        *(if passes { &mut seen.carried } else { &mut seen.lost }) += 1;
        passes
    }

    /// Looks at what the parent sent.
    fn look(&self, bytes: &[u8]) {
        if !is_rtp(bytes) {
            return;
        }
        let mut seen = hold(&self.seen);
        let mut genuine = hold(&self.genuine);
        if let Err(what) = genuine.judge(bytes, self.above) {
            seen.foreign.push(what);
        }
        seen.media.push_back(bytes.to_vec());
        if seen.media.len() > TAPPED {
            seen.media.pop_front();
        }
    }
}

impl Genuine {
    fn judge(&mut self, bytes: &[u8], above: bool) -> Result<(), String> {
        let Some(header) = Header::parse(bytes) else { return Err(format!("no RTP header: {bytes:02x?}")) };
        if header.payload_type == Header::SOUND {
            return if self.sound.contains(bytes) {
                Ok(())
            } else {
                Err(format!("sound that nobody made: {header:?}"))
            };
        }
        if above {
            self.logs.insert(header.ssrc);
            self.orders.insert(bytes.to_vec());
        } else if self.logs.contains(&header.ssrc) && !self.orders.contains(bytes) {
            return Err(format!("an order that the origin did not give: {header:?}"));
        }
        Ok(())
    }
}

pub fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Packets remembered for a replay: those of about eight seconds.
const TAPPED: usize = 32;
/// Bytes: no UDP datagram is larger.
const LARGEST: usize = 65_536;
