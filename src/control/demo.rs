//! The tree of `loa up`: who stands where, made once with keys of its own, configured at each run like
//! any other (`data/demo/<node>/loa.toml`).
use super::CONFIG;
use super::text::Failure;
use crate::broadcast::{Area, Body, Order, Placement};
use crate::io::clock;
use crate::io::identity::{Identity, NewNode, PLACES, Rights, Root, load_authority};
use crate::io::store::Store;
use crate::node::Role;
use crate::proto;
use crate::time::SECOND;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

/// One node of the tree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    pub name: &'static str,
    pub area: &'static str,
    pub parent: Option<&'static str>,
    /// Of its sound card; `None` for those that do not sound.
    pub rate_error_ppm: Option<f64>,
}

impl Place {
    pub fn is_speaker(&self) -> bool {
        self.rate_error_ppm.is_some()
    }

    const fn relay(name: &'static str, area: &'static str, parent: Option<&'static str>) -> Self {
        Self { name, area, parent, rate_error_ppm: None }
    }

    const fn speaker(name: &'static str, area: &'static str, parent: &'static str, ppm: f64) -> Self {
        Self { name, area, parent: Some(parent), rate_error_ppm: Some(ppm) }
    }
}

/// Parents before their children.
pub const TREE: [Place; 9] = [
    Place::relay(ORIGIN, "vn", None),
    Place::relay("relay-01", "vn/01", Some(ORIGIN)),
    Place::relay("relay-02", "vn/02", Some(ORIGIN)),
    Place::speaker("vn-01-00001-a", "vn/01/00001", "relay-01", -80.0),
    Place::speaker("vn-01-00001-b", "vn/01/00001", "relay-01", 60.0),
    Place::speaker("vn-01-00002-a", "vn/01/00002", "relay-01", -35.0),
    Place::speaker("vn-01-00002-b", "vn/01/00002", "relay-01", 20.0),
    Place::speaker("vn-02-00001-a", "vn/02/00001", "relay-02", 80.0),
    Place::speaker("vn-02-00001-b", "vn/02/00001", "relay-02", -55.0),
];

pub const ORIGIN: &str = "origin";

/// The folder of a tree, held by this process alone.
pub struct Demo {
    folder: PathBuf,
    /// Where children dial each parent.
    sessions: BTreeMap<&'static str, SocketAddr>,
    ports: Ports,
    _lock: File,
}

impl Demo {
    /// Makes what is not there yet, renews what runs out, and writes nothing else.
    pub fn open(folder: &Path) -> Result<Self, Failure> {
        let unusable = |place: &Path, error: &io::Error| Failure::new("node.folder", [&place.display(), error]);
        fs::create_dir_all(folder.join(SPEAKERS)).map_err(|error| unusable(folder, &error))?;
        let folder = &folder.canonicalize().map_err(|error| unusable(folder, &error))?;
        let lock = File::create(folder.join("LOCK")).map_err(|error| unusable(folder, &error))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => Failure::new("demo.busy", [&folder.display()]),
            fs::TryLockError::Error(error) => unusable(folder, &error),
        })?;
        let root = root(&folder.join("root.key")).map_err(|error| unusable(&folder.join("root.key"), &error))?;
        for place in TREE {
            let data = folder.join(place.name);
            prepare(&root, place, &data).map_err(|error| Failure::new("demo.half_made", [&data.display(), &error]))?;
        }
        let mut ports = Ports::default();
        let parents = TREE.iter().filter(|place| !place.is_speaker());
        let sessions = parents.map(|place| Ok((place.name, ports.udp(SESSIONS)?))).collect::<Result<_, Failure>>()?;
        Ok(Self { folder: folder.clone(), sessions, ports, _lock: lock })
    }

    pub fn data(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where each speaker's sound is written.
    pub fn speakers(&self) -> PathBuf {
        self.folder.join(SPEAKERS)
    }

    /// Where the children of `parent` dial when nothing stands between.
    pub fn sessions(&self, parent: &str) -> Option<SocketAddr> {
        self.sessions.get(parent).copied()
    }

    /// A free UDP port for something between a parent and its children.
    pub fn between(&mut self) -> Result<SocketAddr, Failure> {
        self.ports.udp(SESSIONS)
    }

    /// Writes every node's configuration; `dial` says where a speaker finds its parent, when not at the
    /// parent itself. Returns the files in the order of [`TREE`].
    pub fn configure(&mut self, dial: &BTreeMap<&str, SocketAddr>) -> Result<Vec<PathBuf>, Failure> {
        TREE.iter()
            .map(|place| {
                let text = self.configuration(place, dial)?;
                let file = self.data(place.name).join(CONFIG);
                let written = fs::write(&file, text);
                written.map_err(|error| Failure::new("node.folder", [&file.display(), &error]))?;
                Ok(file)
            })
            .collect()
    }

    fn configuration(&mut self, place: &Place, dial: &BTreeMap<&str, SocketAddr>) -> Result<String, Failure> {
        let mut text = format!("# {} of the demonstration; written anew by each \"loa up\".\n", place.name);
        text += "[node]\ndata = \".\"\n";
        if let Some(parent) = place.parent {
            let direct = self.sessions(parent);
            let between = dial.get(parent).copied().filter(|_| place.is_speaker());
            if let Some(address) = between.or(direct) {
                text += &format!("\n[parent]\naddresses = [\"{address}\"]\n");
            }
        }
        if let Some(listen) = self.sessions(place.name) {
            text += &format!("\n[children]\nlisten = \"{listen}\"\nshards = 1\n");
            if place.parent.is_none() {
                text += &format!("\n[sources]\nauthority = \"{AUTHORITY}\"\nbitrate = 24000\n");
            }
            text += &format!("\n[api]\nlisten = \"{}\"\n", self.ports.tcp(API)?);
        }
        if let Some(ppm) = place.rate_error_ppm {
            let file = self.speakers().join(format!("{}.wav", place.name));
            let device = toml::Value::String(format!("wav:{}", file.display()));
            text += &format!("\n[playout]\ndevice = {device}\nrate_error_ppm = {ppm:.1}\n");
        }
        text += &format!("\n[admin]\nlisten = \"{}\"\n", self.ports.tcp(ADMIN)?);
        Ok(text)
    }
}

fn root(file: &Path) -> io::Result<Root> {
    if file.exists() {
        return Root::load(file);
    }
    let root = Root::generate();
    root.save(file)?;
    Ok(root)
}

/// A node's folder appears whole, by its rename; one that is there has its grant looked after.
fn prepare(root: &Root, place: Place, data: &Path) -> io::Result<()> {
    let area: Area = place.area.parse().map_err(io::Error::other)?;
    if data.join("node.key").exists() {
        return renew(root, place, area, data);
    }
    let making = data.with_file_name(format!(".new-{}", place.name));
    if making.exists() {
        fs::remove_dir_all(&making)?;
    }
    let role = if place.is_speaker() { Role::Speaker } else { Role::Relay };
    let authority = place.parent.is_none().then(|| AUTHORITY.to_owned());
    let node = NewNode { role, area, name: place.name.into(), authority };
    root.provision_with(&making, &node, &Rights::of(&PLACES), Vec::new())?;
    fs::rename(&making, data)
}

/// Grants are short-lived and placements end (DESIGN §6): the root, which lies beside, gives new ones in
/// good time.
fn renew(root: &Root, place: Place, area: Area, data: &Path) -> io::Result<()> {
    let node = Identity::load(data)?.node;
    let store = Store::open(data)?;
    let now = clock::wall();
    let journal = store.journal()?;
    let lasting = |wanted: &dyn Fn(&Order) -> bool| {
        journal.iter().any(|record| match &record.body {
            Some(proto::record::Body::Order(signed)) => {
                Order::decode(&signed.payload).is_ok_and(|order| order.expires > now + RENEW_BEFORE && wanted(&order))
            }
            _ => false,
        })
    };
    let mut renewed = Vec::new();
    if !lasting(&|order| matches!(&order.body, Body::Placement(placement) if placement.node == node)) {
        let placement = Placement { node, area: area.clone(), name: place.name.into(), parents: Vec::new() };
        renewed.push(root.placement(placement, now));
    }
    if place.parent.is_none() {
        let key = load_authority(data, AUTHORITY)?.public();
        if !lasting(&|order| matches!(&order.body, Body::Grant(grant) if grant.key == key)) {
            renewed.push(root.grant(&key, area, AUTHORITY, &Rights::of(&PLACES), now));
        }
    }
    if renewed.is_empty() {
        return Ok(());
    }
    let record = |order| proto::Record { body: Some(proto::record::Body::Order(order)) };
    store.append(&renewed.into_iter().map(record).collect::<Vec<_>>())
}

/// Free ports on loopback, from the fixed defaults upwards; none given twice.
#[derive(Debug, Default)]
struct Ports {
    given: BTreeSet<u16>,
}

impl Ports {
    fn udp(&mut self, from: u16) -> Result<SocketAddr, Failure> {
        self.find("udp", from, |address| UdpSocket::bind(address).is_ok())
    }

    fn tcp(&mut self, from: u16) -> Result<SocketAddr, Failure> {
        self.find("tcp", from, |address| TcpListener::bind(address).is_ok())
    }

    fn find(&mut self, kind: &str, from: u16, free: impl Fn(SocketAddr) -> bool) -> Result<SocketAddr, Failure> {
        for port in (from..=u16::MAX).take(TRIED) {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            if !self.given.contains(&port) && free(address) {
                self.given.insert(port);
                return Ok(address);
            }
        }
        Err(Failure::new("demo.ports", [&kind, &from]))
    }
}

const AUTHORITY: &str = "national";
const SPEAKERS: &str = "speakers";
/// DESIGN §9.
const SESSIONS: u16 = 7460;
const API: u16 = 8460;
const ADMIN: u16 = 9460;
/// Ports looked at: the next service's own begin a thousand further.
const TRIED: usize = 900;
/// µs: half of what a grant lasts.
const RENEW_BEFORE: i64 = 7 * 86_400 * SECOND;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_before_their_children_and_contain_them() {
        for (at, place) in TREE.iter().enumerate() {
            let area: Area = place.area.parse().unwrap();
            match place.parent {
                None => assert_eq!(at, 0),
                Some(parent) => {
                    let parent = TREE[..at].iter().find(|other| other.name == parent).unwrap();
                    assert!(!parent.is_speaker());
                    assert!(parent.area.parse::<Area>().unwrap().contains(&area));
                }
            }
        }
        let rates: BTreeSet<i64> = TREE.iter().filter_map(|place| place.rate_error_ppm).map(|ppm| ppm as i64).collect();
        assert_eq!(rates.len(), 6);
    }

    #[test]
    fn ports_that_are_taken_or_given_are_passed_over() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut ports = Ports::default();
        let first = ports.tcp(port).unwrap().port();
        let second = ports.tcp(port).unwrap().port();
        assert!(port < first && first < second);
    }

    #[test]
    fn a_second_tree_in_one_folder_is_refused_and_the_first_keeps_its_keys() {
        let folder = tempfile::tempdir().unwrap();
        let mut demo = Demo::open(folder.path()).unwrap();
        assert_eq!(Demo::open(folder.path()).err().unwrap().code, "demo.busy");
        let files = demo.configure(&BTreeMap::new()).unwrap();
        assert_eq!(files.len(), TREE.len());
        let key = fs::read(demo.data(ORIGIN).join("node.key")).unwrap();
        drop(demo);
        let journal = |name: &str| Store::open(&folder.path().join(name)).unwrap().journal().unwrap().len();
        let before = (journal(ORIGIN), journal("relay-01"));
        let again = Demo::open(folder.path()).unwrap();
        assert_eq!(fs::read(again.data(ORIGIN).join("node.key")).unwrap(), key);
        // What lasts is not renewed.
        assert_eq!((journal(ORIGIN), journal("relay-01")), before);
    }

    #[test]
    fn every_configuration_is_one_that_a_node_takes() {
        let folder = tempfile::tempdir().unwrap();
        let mut demo = Demo::open(folder.path()).unwrap();
        let between: SocketAddr = "127.0.0.1:7777".parse().unwrap();
        let files = demo.configure(&[("relay-01", between)].into()).unwrap();
        for (file, place) in files.iter().zip(TREE) {
            let config = crate::config::Config::load(file).unwrap();
            assert_eq!(config.playout.is_some(), place.is_speaker());
            assert_eq!(config.sources.is_some(), place.name == ORIGIN);
            let through = config.parent.is_some_and(|parent| parent.addresses == [between.to_string()]);
            assert_eq!(through, place.parent == Some("relay-01"), "{}", place.name);
        }
    }
}
