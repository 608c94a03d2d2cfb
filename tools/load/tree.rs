//! The tree under test: an origin and its relays, one process each, with a root of their own; or one that runs
//! already. It is spoken to as people speak to it: by HTTP.
mod api;
mod member;
mod sound;

pub use api::{Aired, Hushed};

use crate::failure::{Failure, Result};
use crate::process;
use crate::profile::{Attach, Profile};
use api::Api;
use loa::io::identity::Root;
use member::{Making, Member, Ports};
use serde::{Deserialize, Serialize};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Everything that was started ends when this goes.
pub struct Tree {
    /// From the origin down: children end before their parents.
    members: Vec<Member>,
    parents: Vec<Parent>,
    /// `Root::load` takes the file; every speaker is provisioned from it.
    root: PathBuf,
    /// Where all stand.
    everywhere: Vec<String>,
    api: Api,
    delay_ms: i64,
    file: Option<PathBuf>,
    /// Processes of a tree that ran already, and whether speakers dial them.
    attached: Vec<(u32, bool)>,
    /// Its `/metrics`, if it is to be read.
    admin: Option<SocketAddr>,
    folder: PathBuf,
    /// Empty if nothing was started, as `folder` is.
    logs: PathBuf,
}

/// A node that speakers dial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parent {
    pub name: String,
    pub area: String,
    /// Of its first shard; a speaker takes port + hash(id) mod `shards`.
    pub address: SocketAddr,
    pub shards: u16,
}

/// Sound that lies at the origin, ready to be aired any number of times.
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    pub id: String,
    pub seconds: f64,
}

/// One process of the tree at one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    pub name: String,
    /// "origin", "province", "commune"; "attached".
    pub role: String,
    /// Since it started.
    pub cpu_s: f64,
    pub rss_kib: u64,
    /// Whether speakers dial it.
    pub dialled: bool,
}

impl Tree {
    /// Starts the profile's tree and waits until every node is ready; or finds the one that runs. Logs go below
    /// `out`. To be called by a thread that lives as long as the tree shall.
    pub fn start(profile: &Profile, loa: &Path, out: &Path) -> Result<Self> {
        match &profile.attach {
            Some(attach) => Self::attach(profile, attach),
            None => Self::grow(profile, loa, out),
        }
    }

    fn grow(profile: &Profile, loa: &Path, out: &Path) -> Result<Self> {
        let wanted = profile.tree.clone().unwrap_or_default();
        process::check_cores(&wanted.cores)?;
        sweep();
        let folder = std::env::temp_dir().join(format!("{FOLDER}{}", std::process::id()));
        let logs = out.join("logs");
        for folder in [&folder, &logs] {
            fs::create_dir_all(folder).map_err(|error| broken(folder, &error))?;
        }
        let root = Root::generate();
        let root_file = folder.join("root.key");
        root.save(&root_file).map_err(|error| broken(&root_file, &error))?;
        let mut tree = Self {
            members: Vec::new(),
            parents: Vec::new(),
            root: root_file,
            everywhere: vec![COUNTRY.into()],
            api: Api::new(([127, 0, 0, 1], 0).into(), String::new())?,
            delay_ms: profile.sound.delay_ms,
            file: profile.sound.file.clone(),
            attached: Vec::new(),
            admin: None,
            folder,
            logs,
        };
        tree.plant(profile, &wanted, &root, loa)?;
        Ok(tree)
    }

    /// Level by level, each once its parents are ready.
    fn plant(&mut self, profile: &Profile, wanted: &crate::profile::Tree, root: &Root, loa: &Path) -> Result<()> {
        let mut ports = Ports::default();
        for place in places(wanted) {
            let parent = place.parent.and_then(|parent| self.members.get(parent)).map(|parent| parent.sessions);
            let (folder, logs) = (self.folder.as_path(), self.logs.as_path());
            let making = Making { profile, tree: wanted, root, folder, loa, logs };
            let member = Member::start(&place, parent, &making, &mut ports)?;
            self.members.push(member);
            // A relay dials at once, and one that finds nobody waits before it dials again.
            if self.members.len() == 1 {
                self.ready()?;
            }
        }
        self.ready()?;
        let origin = self.members.first().ok_or_else(|| Failure::run("there is no origin"))?;
        self.api = origin.api()?;
        let parents = self.members.iter().filter(|member| member.dialled);
        self.parents = parents.map(|member| member.parent(wanted.shards)).collect();
        Ok(())
    }

    fn attach(profile: &Profile, attach: &Attach) -> Result<Self> {
        let token = fs::read_to_string(&attach.token_file)
            .map_err(|error| Failure::usage(format!("attach.token_file = {:?}: {error}", attach.token_file)))?;
        Root::load(&attach.root_key)
            .map_err(|error| Failure::usage(format!("attach.root_key = {:?}: {error}", attach.root_key)))?;
        let others = attach.processes.iter().map(|process| (*process, false));
        let dialled = attach.relays.iter().filter_map(|relay| Some((relay.process?, true)));
        let attached: Vec<(u32, bool)> = others.chain(dialled).collect();
        if let Some((gone, _)) = attached.iter().find(|(process, _)| process::cpu_s(*process).is_none()) {
            return Err(Failure::usage(format!("[attach]: there is no process {gone} on this machine")));
        }
        let parents = attach.relays.iter().zip(1..).map(|(relay, number)| Parent {
            name: format!("relay-{number}"),
            area: relay.area.clone(),
            address: relay.address,
            shards: relay.shards,
        });
        let tree = Self {
            members: Vec::new(),
            parents: parents.collect(),
            root: attach.root_key.clone(),
            everywhere: attach.relays.iter().map(|relay| relay.area.clone()).collect(),
            api: Api::new(attach.api, token.trim().to_owned())?,
            delay_ms: profile.sound.delay_ms,
            file: profile.sound.file.clone(),
            attached,
            admin: attach.admin,
            folder: PathBuf::new(),
            logs: PathBuf::new(),
        };
        tree.civil_offset()?;
        if let Some(admin) = tree.admin {
            let answer = tree.api.get_text(admin, "/metrics");
            answer.map_err(|error| Failure::usage(format!("attach.admin = \"{admin}\" does not answer: {error}")))?;
        }
        Ok(tree)
    }

    /// What a profile says to attach to this tree, which lasts as long as this program does.
    pub fn attachment(&self) -> Option<String> {
        let origin = self.members.first()?;
        let mut text = format!("[attach]\nroot_key = {:?}\n", self.root) + &origin.attachment()?;
        for member in self.members.iter().filter(|member| member.dialled) {
            let parent = self.parents.iter().find(|parent| parent.name == member.name)?;
            let (address, shards, area) = (parent.address, parent.shards, &parent.area);
            text += &format!("[[attach.relays]]\naddress = \"{address}\"\nshards = {shards}\narea = \"{area}\"\n");
            text += &format!("process = {}\n", member.process());
        }
        Some(text)
    }

    /// Where speakers dial, to be shared out evenly.
    pub fn parents(&self) -> &[Parent] {
        &self.parents
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The areas that hold everybody.
    pub fn everywhere(&self) -> &[String] {
        &self.everywhere
    }

    pub fn relays(&self) -> u64 {
        match self.members.len() {
            0 => self.parents.len() as u64,
            nodes => nodes as u64 - 1,
        }
    }

    /// Where a speaker of this parent stands that shall hear this track, both counted from 0.
    pub fn speaker_area(parent: &Parent, track: u64) -> String {
        // The country's own children are provinces, two digits; all below have five.
        match parent.area.contains('/') {
            false => format!("{}/{:02}", parent.area, track + 1),
            true => format!("{}/{:05}", parent.area, track + 1),
        }
    }

    /// Makes the sound of a run, or takes the profile's file, and has it encoded once. Takes about a second for each
    /// five minutes of it.
    pub fn upload(&self, seconds: f64) -> Result<Media> {
        let Some(file) = &self.file else {
            let file = std::env::temp_dir().join(format!("loa-load-{}-{:.0}.wav", std::process::id(), seconds));
            let made = sound::write(&file, seconds).map_err(|error| broken(&file, &error));
            let media = made.and_then(|()| self.api.upload(&file));
            let _ = fs::remove_file(&file);
            return media;
        };
        let media = self.api.upload(file)?;
        match media.seconds >= seconds {
            true => Ok(media),
            false => Err(Failure::usage(format!(
                "sound.file: {} lasts {:.0} s and the run {seconds:.0}: name a longer one, or leave it out",
                file.display(),
                media.seconds
            ))),
        }
    }

    /// From now on, to some areas; one in which nobody has reported yet is waited for.
    pub fn air(&self, media: &Media, areas: &[String]) -> Result<Aired> {
        let title = format!("load {}", areas.join(" "));
        let title: String = title.chars().take(TITLE).collect();
        let until = Instant::now() + REPORTED;
        loop {
            match self.api.air(media, areas, "normal", Some(self.delay_ms), &title) {
                Err(error) if error.to_string().contains("area.unknown") && Instant::now() < until => {
                    std::thread::sleep(Duration::from_secs(1));
                }
                other => return other,
            }
        }
    }

    /// To everybody in some areas, with the delay of emergencies.
    pub fn emergency(&self, media: &Media, areas: &[String]) -> Result<Aired> {
        self.api.air(media, areas, "emergency", None, "load emergency")
    }

    /// Silences areas for a minute: the shortest that there is.
    pub fn hush(&self, areas: &[String]) -> Result<Hushed> {
        self.api.hush(areas, 1)
    }

    pub fn reached(&self, order: Uuid) -> Result<u64> {
        self.api.reached(order)
    }

    pub fn cancel(&self, broadcast: Uuid) -> Result<()> {
        self.api.cancel(broadcast)
    }

    /// What to add to this machine's monotonic µs (`loa::io::clock::local`) for the origin's civil time. Of several
    /// readings the one with the shortest way counts. To be asked before there are thousands of speakers: the answer
    /// names every node.
    pub fn civil_offset(&self) -> Result<i64> {
        self.api.civil_offset()
    }

    /// CPU and memory of every process of the tree that can be seen from here.
    pub fn readings(&self) -> Vec<Reading> {
        let own = self.members.iter().filter_map(Member::reading);
        let attached = self.attached.iter().filter_map(|(process, dialled)| {
            let (cpu_s, rss_kib) = (process::cpu_s(*process)?, process::rss_kib(*process)?);
            Some(Reading { name: process.to_string(), role: "attached".into(), cpu_s, rss_kib, dialled: *dialled })
        });
        own.chain(attached).collect()
    }

    /// The text of every node's `/metrics` that can be reached, with the node's name.
    pub fn metrics(&self) -> Vec<(String, String)> {
        let all = self.members.iter().map(|member| (member.name.clone(), member.admin));
        let all = all.chain(self.admin.map(|admin| ("attached".to_owned(), admin)));
        all.filter_map(|(name, admin)| Some((name, self.api.get_text(admin, "/metrics").ok()?))).collect()
    }

    /// An error names a node that ended, and its log.
    pub fn check(&mut self) -> Result<()> {
        let logs = self.logs.clone();
        for member in &mut self.members {
            member.check(&logs)?;
        }
        Ok(())
    }

    /// Where the nodes' logs are, for whoever tells of a failure.
    pub fn logs(&self) -> Option<&Path> {
        (!self.members.is_empty()).then_some(self.logs.as_path())
    }

    /// Until every node says so of itself.
    fn ready(&mut self) -> Result<()> {
        let until = Instant::now() + READY;
        loop {
            self.check()?;
            let waiting: Vec<&str> = self
                .members
                .iter()
                .filter(|member| self.api.get_text(member.admin, "/readyz").is_err())
                .map(|member| member.name.as_str())
                .collect();
            if waiting.is_empty() {
                return Ok(());
            }
            if process::interrupted() {
                return Err(Failure::run("interrupted"));
            }
            if Instant::now() >= until {
                let (seconds, names, logs) = (READY.as_secs(), waiting.join(", "), self.logs.display());
                let text = format!("not ready after {seconds} s: {names}; their logs are in {logs}");
                return Err(Failure::run(text));
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // Children first, so that none sees its parent go and dials in vain.
        while let Some(member) = self.members.pop() {
            drop(member);
        }
        if !self.folder.as_os_str().is_empty() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Folders of runs that were killed, which hold a root key: removed once their process is gone.
fn sweep() {
    let all = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    for folder in all {
        let name = folder.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(FOLDER)).and_then(|id| id.parse::<u32>().ok());
        if process.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists()) {
            // What may not be removed stays: another user's.
            let _ = fs::remove_dir_all(folder.path());
        }
    }
}

/// Where a node stands, and below which of those before it.
#[derive(Debug, PartialEq)]
struct Place {
    name: String,
    area: String,
    role: &'static str,
    parent: Option<usize>,
    dialled: bool,
}

/// Parents before their children.
fn places(tree: &crate::profile::Tree) -> Vec<Place> {
    let origin =
        Place { name: "origin".into(), area: COUNTRY.into(), role: "origin", parent: None, dialled: tree.relays == 0 };
    let mut all = vec![origin];
    for province in 1..=tree.relays {
        let area = format!("{COUNTRY}/{province:02}");
        let dialled = tree.communes == 0;
        all.push(Place { name: format!("province-{province:02}"), area, role: "province", parent: Some(0), dialled });
    }
    for province in 1..=tree.relays {
        for commune in 1..=tree.communes {
            all.push(Place {
                name: format!("commune-{province:02}-{commune:05}"),
                area: format!("{COUNTRY}/{province:02}/{commune:05}"),
                role: "commune",
                parent: Some(usize::from(province)),
                dialled: true,
            });
        }
    }
    all
}

fn broken(place: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::run(format!("{}: {error}", place.display()))
}

const COUNTRY: &str = "vn";
/// In the system's folder for temporary files, with the process's number behind it.
const FOLDER: &str = "loa-load-";
/// Handshakes, clocks and a first report of each level, on a machine that is busy.
const READY: Duration = Duration::from_secs(60);
/// A speaker reports every ten seconds, and each level passes that on at its own pace.
const REPORTED: Duration = Duration::from_secs(60);
/// Bytes that the API takes, areas being ASCII.
const TITLE: usize = 200;
const LOOK: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speakers_dial_the_lowest_level_and_every_parent_comes_before_its_children() {
        let tree = |relays, communes| crate::profile::Tree { relays, communes, ..Default::default() };
        for (tree, nodes, dialled) in [(tree(0, 0), 1, 1), (tree(2, 0), 3, 2), (tree(2, 3), 9, 6)] {
            let places = places(&tree);
            assert_eq!(places.len(), nodes);
            assert_eq!(places.iter().filter(|place| place.dialled).count(), dialled);
            for (at, place) in places.iter().enumerate().skip(1) {
                let parent = place.parent.unwrap();
                assert!(parent < at && place.area.starts_with(&format!("{}/", places[parent].area)), "{place:?}");
            }
        }
    }

    #[test]
    fn each_track_has_areas_of_its_own_below_each_parent() {
        let parent =
            |area: &str| Parent { name: "a".into(), area: area.into(), address: ([127, 0, 0, 1], 1).into(), shards: 1 };
        assert_eq!(Tree::speaker_area(&parent("vn"), 0), "vn/01");
        assert_eq!(Tree::speaker_area(&parent("vn"), 199), "vn/200");
        assert_eq!(Tree::speaker_area(&parent("vn/01/00002"), 4), "vn/01/00002/00005");
    }
}
