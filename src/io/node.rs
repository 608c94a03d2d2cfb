//! One running node: the only place that assembles threads, sockets, store and device.
use super::identity::{self, Identity, random};
use super::metrics::{Metrics, Planned, World};
use super::queue::{self, Drops, bounded};
use super::quic::{self, Driver};
use super::resolve::Resolver;
use super::shard;
use super::socket::Socket;
use super::statement::Statement;
use super::store::Store;
use super::trunk::{self as trunk_loop, Ask};
use super::wake::Waker;
use super::{clock, disk, examine, fanout, group, health, jobs, sound, switch, tls};
use crate::broadcast::{Address, HourLimit, Volume};
use crate::config::{self, Children, Config, Playout};
use crate::node::trunk::{Event, Log, Reply, Request};
use crate::node::{Role, branch, trunk};
use crate::playout::{Phase, hands};
use crate::time::{Civil, SECOND};
use crate::track::{Packet, Secret};
use crate::{playout, session};
use crossbeam_channel::Sender;
use std::collections::VecDeque;
use std::fmt::Display;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{broadcast, oneshot};
use uuid::Uuid;

/// Why a node does not start: names file, port or key, and the mend.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {text}")]
pub struct StartError {
    pub code: &'static str,
    pub text: String,
}

/// A running node; `stop` (or drop) drains and joins its threads.
pub struct Node {
    handle: Handle,
    /// The trunk's first: when it ends, the others' queues end.
    threads: Vec<JoinHandle<()>>,
    /// Ends the look-out for what goes wrong.
    look_out: Option<Sender<()>>,
}

impl Node {
    pub fn start(config: &Config) -> Result<Self, StartError> {
        let data = &config.node.data;
        let identity = Identity::load(data).map_err(|error| because("node.identity", error))?;
        check_role(config, &identity)?;
        let office = identity::load_office(data, &identity).unwrap_or_else(|error| {
            // Sound is worth more than new boards.
            tracing::error!(code = "issuer.unusable", %error, "this node certifies nobody; renew it: loa enrol --renew --issuer");
            None
        });
        let (identity, issuer) = (Arc::new(identity), office.is_some());
        let authority = match &config.sources {
            Some(sources) => Some(
                identity::load_authority(data, &sources.authority).map_err(|error| because("node.authority", error))?,
            ),
            None => None,
        };
        let store = Arc::new(Store::open(data).map_err(of_store)?);
        let journal = store.journal_to_start_with().map_err(of_store)?;
        let drivers = match &config.children {
            Some(children) => listen(children, &identity)?,
            None => Vec::new(),
        };
        let listening = drivers.iter().filter_map(|driver| driver.socket().local_address().ok()).collect();

        // Every queue between the threads, made before any of them.
        let mut queues = Vec::new();
        let waker = new_waker()?;
        let (notices, from_shards) = bounded("trunk.notices", NOTICES, Some(waker.clone()));
        let (asks, from_control) = bounded("trunk.requests", REQUESTS, Some(waker.clone()));
        let (made, from_sources) = bounded("trunk.made", MADE, Some(waker.clone()));
        let (reports, from_device) = bounded("trunk.devices", DEVICES, Some(waker.clone()));
        let (results, to_trunk) = bounded("trunk.results", RESULTS, Some(waker.clone()));
        queues.extend([notices.drops(), asks.drops(), made.drops(), reports.drops()]);
        let (mut shards, mut commands, mut branch_results) = (Vec::new(), Vec::new(), Vec::new());
        for driver in drivers {
            let waker = new_waker()?;
            let (command, from_trunk) = bounded("shard.commands", COMMANDS, Some(waker.clone()));
            let (result, from_jobs) = bounded("shard.results", RESULTS, Some(waker.clone()));
            queues.push(command.drops());
            commands.push(command);
            branch_results.push(result);
            shards.push((driver, waker, from_trunk, from_jobs));
        }

        let started = |error: std::io::Error| because("node.thread", error);
        let mut threads = Vec::new();
        let (jobs, thread) = jobs::start(store.clone(), office, results, branch_results).map_err(started)?;
        threads.push(thread);
        let mut states = Vec::new();
        for (index, (driver, waker, commands, results)) in shards.into_iter().enumerate() {
            let state = Arc::new(Mutex::new(shard::State::default()));
            states.push(state.clone());
            let (notices, jobs, children) = (notices.clone(), jobs.clone(), config.children.as_ref());
            let mut options = branch::Options::default();
            options.beats = children.and_then(|children| children.beats_per_second).unwrap_or(options.beats);
            let group =
                children.and_then(|children| children.multicast).map(|first| shard::address(first, index as u16));
            if let Some(group) = group {
                let interface = children.and_then(|children| children.interface.as_deref());
                group::speak(driver.socket(), group, interface).map_err(|error| {
                    let text = format!(
                        "multicast by {group} out of {}: {error}",
                        interface.unwrap_or("the default interface")
                    );
                    because("node.multicast", text)
                })?;
            }
            let setup = shard::Setup { index, options, driver, waker, commands, results, notices, jobs, group, state };
            threads.push(shard::start(setup).map_err(started)?);
        }
        if config.telemetry.is_some() {
            queues.push(Drops::new(TELEMETRY));
        }
        let (look_out, end) = crossbeam_channel::bounded(0);
        let (certified, to_look_out) = crossbeam_channel::bounded(1);
        let from_health = reports.clone();
        if let Some(file) = config.playout.as_ref().and_then(|playout| playout.mute_switch.clone()) {
            let setup = switch::Setup { file, reports: reports.clone(), end: end.clone() };
            threads.push(switch::start(setup).map_err(started)?);
        }
        let played = Arc::new(Mutex::new(VecDeque::new()));
        let steps = match &config.playout {
            Some(device) => {
                let (steps, receiver) = bounded("sound.steps", STEPS, None);
                queues.push(steps.drops());
                let dropped = Drops::new("sound.pipe");
                queues.push(dropped.clone());
                let options = sound::Options {
                    output: sound::Output::new(device),
                    rate_error_ppm: device.rate_error_ppm,
                    steps: receiver,
                    reports,
                    played: played.clone(),
                    dropped,
                };
                threads.push(sound::start(options).map_err(|error| because("node.device", error))?);
                Some(steps)
            }
            None => None,
        };
        let addresses = |hosts: &[String], shards| {
            // Checked as the configuration was read.
            hosts.iter().filter_map(|host| Address::new(host, shards).ok()).collect::<Vec<_>>()
        };
        let parents = config.parent.as_ref();
        let parents = parents.map_or_else(Vec::new, |parent| addresses(&parent.addresses, parent.shards));
        let children = config.children.as_ref();
        let siblings = children.map_or_else(Vec::new, |children| addresses(&children.siblings, children.shards));
        let configured = parents.len();
        let options = trunk::Options {
            node: identity.node,
            role: identity.role,
            parents,
            siblings,
            both: config.parent.as_ref().is_some_and(|parent| parent.both),
            branches: commands.len(),
            playout: config.playout.as_ref().map(|device| playout::Options {
                horizon: sound::Output::new(device).horizon(),
                hands: volumes(device, config.node.zone),
                ..playout::Options::default()
            }),
            session: session::child::Options::default(),
            roots: identity.roots.clone(),
            authority,
            log: Log {
                track: identity::new_id(clock::wall()),
                ssrc: u32::from_be_bytes(random()),
                secret: Secret { key: random(), salt: random() },
            },
            seed: random(),
            daylight: trunk::Daylight::in_zone(offset(config.node.zone)),
            issuer,
            backed: config.clock.error().is_some(),
            stored: config.stored(),
            // Never the 0 of those who don't say.
            instance: u64::from_be_bytes(random()) | 1,
            tick: TICK,
            rendition: config.parent.as_ref().map_or_else(Default::default, |parent| trunk::Wished {
                bitrate: parent.bitrate,
                data: parent.data_mib_per_day.map(|mebibytes| mebibytes << 20),
            }),
        };
        let (events, _) = broadcast::channel(EVENTS);
        let metrics = Arc::new(Metrics::new().map_err(|error| because("node.metrics", error))?);
        let state = Arc::new(Mutex::new(trunk_loop::State::default()));
        let health = health::Setup {
            data: data.clone(),
            identity: identity.clone(),
            certified: to_look_out,
            parents: configured,
            state: state.clone(),
            reports: from_health,
            end,
        };
        threads.push(health::start(health).map_err(started)?);
        let (resolver, resolved) = Resolver::new(identity.node, waker.clone());
        let trunk = trunk_loop::Setup {
            journal,
            driver: dialler(&identity)?,
            waker,
            resolver,
            resolved,
            asks: from_control,
            made: from_sources,
            notices: from_shards,
            devices: from_device,
            certified,
            results: to_trunk,
            branches: commands,
            steps,
            multicast: config.parent.as_ref().is_some_and(|parent| parent.multicast),
            clock: config.clock.clone(),
            jobs,
            events: events.clone(),
            metrics: metrics.clone(),
            state: state.clone(),
        };
        threads.insert(0, trunk_loop::start(options, trunk).map_err(started)?);
        let shared = Shared {
            id: identity.node,
            listening,
            asks,
            made,
            events,
            trunk: state,
            shards: states,
            store,
            metrics,
            data: data.clone(),
            identity: identity.clone(),
            queues,
            played,
            planned: Mutex::default(),
        };
        Ok(Self { handle: Handle(Arc::new(shared)), threads, look_out: Some(look_out) })
    }

    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Goodbye to parent and children, journal synced, threads joined; at most 3 s.
    pub fn stop(self) {}
}

impl Drop for Node {
    fn drop(&mut self) {
        self.look_out = None;
        // Offered to a full queue it would be lost, and the threads would be waited for in vain.
        self.handle.0.asks.wait(Ask::Drain);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!(code = "node.thread", "a thread of the node had panicked");
            }
        }
    }
}

/// What `control` holds of a node. Cheap to clone.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

struct Shared {
    id: Uuid,
    listening: Vec<SocketAddr>,
    asks: queue::Sender<Ask>,
    made: queue::Sender<(Uuid, Packet)>,
    events: broadcast::Sender<Event>,
    trunk: Arc<Mutex<trunk_loop::State>>,
    shards: Vec<Arc<Mutex<shard::State>>>,
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    data: PathBuf,
    identity: Arc<Identity>,
    queues: Vec<Drops>,
    played: Arc<Mutex<VecDeque<Played>>>,
    planned: Mutex<Option<Planned>>,
}

impl Handle {
    pub fn id(&self) -> Uuid {
        self.0.id
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.0.data
    }

    /// Where children dial, one address per shard.
    pub fn listening(&self) -> &[SocketAddr] {
        &self.0.listening
    }

    /// `None` when the node is stopping or its queue (256) is full.
    pub async fn request(&self, request: Request) -> Option<Reply> {
        let (reply, answer) = oneshot::channel();
        let asked = self.0.asks.offer(Ask::Request { request: Box::new(request), reply });
        if asked { answer.await.ok() } else { None }
    }

    /// A packet of a live track of this node, aired at once. False, and counted, when the queue is full: it
    /// is lost, as on a network.
    pub fn made(&self, track: Uuid, packet: Packet) -> bool {
        self.0.made.offer((track, packet))
    }

    /// The line from this machine's monotonic clock to civil time, while that is trusted. It is at most a
    /// second old, so it errs by half a millisecond while the clock slews.
    pub fn phase(&self) -> Option<Phase> {
        hold(&self.0.trunk).phase
    }

    /// Events from now on; a slow reader loses the oldest and is told how many.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.0.events.subscribe()
    }

    pub fn snapshot(&self) -> Snapshot {
        let trunk = hold(&self.0.trunk).clone();
        let branches = self.0.shards.iter().map(|shard| hold(shard).branch).collect();
        Snapshot { civil: trunk.civil, ready: trunk.ready, trunk: trunk.trunk, branches }
    }

    /// This node's word for what is hashed.
    pub fn state(&self, digest: &[u8]) -> Option<Statement> {
        Statement::sign(&self.0.identity, digest)
    }

    pub fn store(&self) -> Arc<Store> {
        self.0.store.clone()
    }

    /// Counts what was dropped of telemetry; shown with the node's own queues, if it has `[telemetry]`.
    #[cfg(feature = "otel")]
    pub fn telemetry(&self) -> Option<Drops> {
        self.0.queues.iter().find(|drops| drops.queue == TELEMETRY).cloned()
    }

    /// Prometheus text.
    pub fn metrics(&self) -> String {
        let (mut quic, written, tick) = {
            let trunk = hold(&self.0.trunk);
            (trunk.quic, trunk.at, trunk.trunk.tick)
        };
        let mut fanout = fanout::Counters::default();
        for shard in &self.0.shards {
            let shard = *hold(shard);
            fanout += shard.fanout;
            quic += shard.quic;
        }
        let now = clock::local();
        let planned = hold(&self.0.planned).clone();
        let world = World {
            fanout,
            quic,
            queues: &self.0.queues,
            age: now - written,
            tick_age: tick.map(|tick| now - tick),
            disk: disk::room(&self.0.data).ok(),
            certificate: examine::until(&self.0.identity),
            planned: planned.as_ref(),
        };
        self.0.metrics.render(&self.snapshot(), &world)
    }

    /// What its own timetable has come to, for metrics; `None`: it has none.
    pub fn set_planned(&self, planned: Option<Planned>) {
        *hold(&self.0.planned) = planned;
    }

    /// What the speaker's device has played: the newest chunks (bounded), for sync measurements.
    pub fn played(&self) -> Vec<Played> {
        hold(&self.0.played).iter().copied().collect()
    }
}

/// Counters as they stood at most a second ago.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub civil: Option<Civil>,
    pub ready: bool,
    pub trunk: trunk::Counters,
    pub branches: Vec<branch::Counters>,
}

/// One step as a sound card let it out.
#[derive(Clone, Copy, Debug)]
pub struct Played {
    pub track: Option<Uuid>,
    /// Sample of the track (index × duration + offset) and of the tone (`track: None`).
    pub sample: u64,
    pub count: u32,
    pub concealed: bool,
    /// When its first sample left the device: µs of the machine's monotonic clock, with a fraction.
    pub left: f64,
    /// µs that all of them take.
    pub lasts: f64,
    /// Strongest gain within.
    pub gain: f32,
}

/// µs east of UTC, as it is now.
/// What `[playout]` says of loudness; checked as the configuration was read.
fn volumes(playout: &Playout, zone: chrono_tz::Tz) -> hands::Options {
    let volume = |decibels: f64| Volume::of_decibels(decibels).unwrap_or(Volume::FULL);
    let limit = |hours: &config::Hours| {
        let (from, until) = (config::minute_of_day(&hours.from)?, config::minute_of_day(&hours.until)?);
        Some(HourLimit { from, until, most: volume(hours.most_db) })
    };
    hands::Options {
        normal: volume(playout.normal_db),
        priority: volume(playout.priority_db),
        emergency: volume(playout.emergency_db),
        floor: volume(playout.emergency_floor_db),
        hours: playout.hours.iter().filter_map(limit).collect(),
        zone,
    }
}

fn offset(zone: chrono_tz::Tz) -> i64 {
    use chrono::{Offset, TimeZone};
    // A board without a clock starts in 1970, when zones were others.
    let now = chrono::DateTime::from_timestamp_micros(clock::wall().max(clock::EARLIEST).0).unwrap_or_default();
    let seconds = zone.offset_from_utc_datetime(&now.naive_utc()).fix().local_minus_utc();
    i64::from(seconds) * SECOND
}

fn check_role(config: &Config, identity: &Identity) -> Result<(), StartError> {
    if identity.role == Role::Speaker && config.children.is_some() {
        let text = format!(
            "{}: the certificate says speaker, and only a relay may have [children]; provision the node as a relay",
            config.node.data.join("node.crt").display()
        );
        return Err(StartError { code: "config.role", text });
    }
    Ok(())
}

/// Why a data folder cannot be used: each has another mend.
fn of_store(error: std::io::Error) -> StartError {
    let code = match error.kind() {
        ErrorKind::ResourceBusy => "data.in_use",
        ErrorKind::Unsupported => "data.version",
        ErrorKind::ReadOnlyFilesystem => "disk.read_only",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "disk.full",
        _ => "node.store",
    };
    because(code, error)
}

fn listen(children: &Children, identity: &Identity) -> Result<Vec<Driver>, StartError> {
    let server = tls::server(identity).map_err(|error| because("node.tls", error))?;
    (0..children.shards)
        .map(|index| {
            let address = shard::address(children.listen, index);
            let socket = Socket::bind(address, SHARD_BUFFER).map_err(|error| StartError {
                code: "node.port",
                text: format!("udp {address}: {error}; free the port, or choose another one as children.listen"),
            })?;
            let most_links = branch::Options::default().sessions;
            let options = quic::Options { client: None, server: Some(server.clone()), most_links };
            Driver::new(Arc::new(socket), options).map_err(|error| because("node.tls", error))
        })
        .collect()
}

fn dialler(identity: &Identity) -> Result<Driver, StartError> {
    let client = tls::client(identity).map_err(|error| because("node.tls", error))?;
    let socket = Socket::any(TRUNK_BUFFER).map_err(|error| because("node.port", error))?;
    let options = quic::Options { client: Some(client), server: None, most_links: 0 };
    Driver::new(Arc::new(socket), options).map_err(|error| because("node.tls", error))
}

fn new_waker() -> Result<Waker, StartError> {
    Waker::new().map_err(|error| because("node.descriptors", error))
}

fn because(code: &'static str, error: impl Display) -> StartError {
    StartError { code, text: error.to_string() }
}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As metrics name its queue.
const TELEMETRY: &str = "telemetry";
/// Notices of all shards: a second of joins at ten thousand a second would fill it.
const NOTICES: usize = 8_192;
/// Requests of control: people and programs, not packets.
const REQUESTS: usize = 256;
/// Packets of live sources: two seconds of eight of them at 60 ms.
const MADE: usize = 256;
/// What the device says of itself: a second of reports; of these the newest counts.
const DEVICES: usize = 20;
/// Results of jobs: the job thread waits when it is full.
const RESULTS: usize = 256;
/// Commands to a shard: 4,096 packets of 1,200 bytes, seconds of any node's tracks.
const COMMANDS: usize = 4_096;
/// Steps ahead of the device: the player gives out 10 (100 ms).
const STEPS: usize = 256;
/// Events that a slow reader may lag behind.
const EVENTS: usize = 1_024;
/// µs between ticks (DESIGN §3).
const TICK: i64 = 10 * SECOND;
/// Socket buffers: a burst of acknowledgements from 10,000 children; and seconds of one parent's sound.
const SHARD_BUFFER: usize = 8 << 20;
const TRUNK_BUFFER: usize = 192 << 10;

#[cfg(test)]
#[path = "node/tests.rs"]
mod tests;
