//! Makes a tree's roots and its nodes' folders, and renews what runs out in them.
//!
//! ```text
//! loa init DIR      DIR/carry-away/main.root spare.root     sealed with a passphrase: off the servers, two places
//!                   DIR/carry-away/roots/                   what every node knows of them
//!                   DIR/origin/                             the first node: its data folder and loa.toml
//! loa enrol …       a further node's folder, made with a root at hand
//! loa enrol --renew new placement and grants in a folder that is there, or given to its running node
//! ```
//! A folder appears whole or not at all.
mod renew;

use super::CONFIG;
use super::client::Client;
use super::forms::{Done, Node};
use super::passphrase;
use super::places::{self, BoardsArgs};
use super::text::{Failure, Language, say};
use crate::broadcast::{Address, Area};
use crate::config::is_device;
use crate::io::clock;
use crate::io::identity::{GOVERNS, NewNode, PLACES, Rights, Root, load_authority};
use crate::key::KeyId;
use crate::node::Role;
use clap::{Args, ValueEnum};
use renew::{Renewed, renew};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use uuid::Uuid;
use zeroize::Zeroizing;

#[derive(Debug, Args)]
pub struct Init {
    /// A folder to make
    folder: PathBuf,
    /// The whole tree's
    #[arg(long, default_value = "vn")]
    area: String,
    /// What the first node is called
    #[arg(long, default_value = "origin")]
    name: String,
    /// It wakes one area of so many segments alone; an emergency for more takes a second signature. 0: none does
    #[arg(long, value_name = "SEGMENTS", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=8))]
    alone_from: u8,
    #[command(flatten)]
    passphrase: passphrase::Options,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Relay,
    Speaker,
}

#[derive(Debug, Args)]
pub struct Enrol {
    /// A sealed root, such as carry-away/main.root; roots/ beside it is what nodes know of all roots
    #[arg(long, value_name = "FILE", required_unless_present = "count")]
    root: Option<PathBuf>,
    /// Makes this folder: the node's data and its loa.toml
    #[arg(long, value_name = "DIR", required_unless_present_any = ["renew", "count"], conflicts_with = "renew")]
    folder: Option<PathBuf>,
    /// Renews placement and grants in this data folder, or of the node that runs there
    #[arg(long, value_name = "DIR")]
    renew: Option<PathBuf>,
    #[arg(long, value_enum, required_unless_present_any = ["renew", "count"])]
    role: Option<Kind>,
    /// Where it stands, such as vn/01/00004
    #[arg(long, required_unless_present = "renew")]
    area: Option<String>,
    /// What people call it
    #[arg(long, required_unless_present_any = ["renew", "count"])]
    name: Option<String>,
    /// host:port of a parent's first shard; several, best first
    #[arg(long = "parent", value_name = "HOST:PORT", value_delimiter = ',', required_unless_present = "renew")]
    parents: Vec<String>,
    /// Lets it speak to its own area, by an authority of this name
    #[arg(long, value_name = "NAME")]
    authority: Option<String>,
    /// It wakes one area of so many segments alone; an emergency for more takes a second signature. 0: none does
    #[arg(long, value_name = "SEGMENTS", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=8))]
    alone_from: u8,
    /// Lets it certify new boards by its own tokens; such as a province's
    #[arg(long, conflicts_with = "count")]
    issuer: bool,
    /// Where a speaker sounds, as playout.device has it
    #[arg(long, default_value = "null")]
    device: String,
    #[command(flatten)]
    boards: BoardsArgs,
    #[command(flatten)]
    passphrase: passphrase::Options,
}

impl Enrol {
    /// Asks a running node for a token, and needs no root.
    pub fn is_for_boards(&self) -> bool {
        self.boards.count.is_some()
    }

    pub async fn boards(&self, language: Language) -> Result<places::Made, Failure> {
        self.check_device()?;
        let (area, relay) = (self.area.as_deref().unwrap_or_default(), self.role == Some(Kind::Relay));
        places::boards(&self.boards, area, &self.parents, relay, &self.device, language).await
    }
}

impl Enrol {
    /// A board that cannot sound would be found out at the top of its pole.
    fn check_device(&self) -> Result<(), Failure> {
        match is_device(&self.device) {
            true => Ok(()),
            false => Err(Failure::new("usage.playout", [&format!("{:?}", self.device)])),
        }
    }
}

/// What was made, for people and programs.
#[derive(Debug, Serialize)]
pub struct Made {
    pub folder: PathBuf,
    pub node: Uuid,
    /// By which it may speak: the top needs it whole to revoke what only a root has heard of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

pub fn init(options: &Init, language: Language) -> Result<Made, Failure> {
    let area = area(&options.area)?;
    let carried = options.folder.join(CARRIED);
    let passphrase = options.passphrase.choose(&carried.join("main.root"), language)?;
    whole(&options.folder, |making| {
        let (main, spare) = (Root::generate(), Root::generate());
        let (carried, origin) = (making.join(CARRIED), making.join("origin"));
        for (root, name) in [(&main, "main"), (&spare, "spare")] {
            root.publish(&carried.join(ROOTS), name)?;
            root.seal(&carried.join(format!("{name}.root")), name, &passphrase)?;
        }
        let authority = Some(AUTHORITY.to_owned());
        let node = NewNode { role: Role::Relay, area, name: options.name.clone(), authority };
        let rights = Rights { kinds: &GOVERNS, alone_from: options.alone_from };
        let id = main.provision_with(&origin, &node, &rights, Vec::new())?;
        trust(&carried.join(ROOTS), &origin)?;
        let sources = format!("\n[sources]\nauthority = \"{AUTHORITY}\"\n\n[api]\n");
        fs::write(origin.join(CONFIG), format!("{NODE}{CHILDREN}{sources}"))?;
        Ok(id)
    })
    .map(|node| Made { folder: options.folder.clone(), node, key: None })
}

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Enrolled {
    Made(Made),
    Renewed(Renewed),
}

/// Makes a folder, or renews one.
pub async fn enrol(options: Enrol, language: Language) -> Result<Enrolled, Failure> {
    options.check_device()?;
    // Clap has asked for it.
    let file = options.root.clone().unwrap_or_default();
    let passphrase = options.passphrase.ask(&file, language)?;
    let root = open(file.clone(), passphrase).await?;
    match &options.renew {
        Some(data) => renew(&root, data, options.issuer, language).await.map(Enrolled::Renewed),
        None => make(&root, &file, &options).map(Enrolled::Made),
    }
}

/// A root that an order is signed with.
#[derive(Debug, Args)]
pub struct AtHand {
    /// A sealed root, such as carry-away/main.root
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    #[command(flatten)]
    passphrase: passphrase::Options,
}

impl AtHand {
    /// The root, if one was named.
    pub async fn open(&self, language: Language) -> Result<Option<Root>, Failure> {
        let Some(file) = self.root.clone() else { return Ok(None) };
        let passphrase = self.passphrase.ask(&file, language)?;
        open(file, passphrase).await.map(Some)
    }
}

/// From whom what was taken.
pub enum Taken {
    /// A key's rights.
    Key(String),
    /// A node's part in the tree; with its name, where it is known.
    Node(Uuid, String),
}

/// Has the node tell everybody that a key's rights are gone, or that a node is expelled: `whom` is the beginning of one
/// key or node that it knows. `unheard`: it may be one that the node does not know, named in full.
pub async fn revoke(
    client: &Client,
    whom: &str,
    root: &AtHand,
    unheard: bool,
    language: Language,
) -> Result<(Done, Taken), Failure> {
    let known = client.authorities().await?.authorities;
    let found = known.iter().filter(|authority| authority.key.starts_with(&whom.to_lowercase()));
    let keys: BTreeSet<&str> = found.map(|authority| authority.key.as_str()).collect();
    let nodes = client.nodes().await?.nodes;
    // A province's own key need not be known above it, and its rights hold there too. A key's digits stand together, a
    // node's do not.
    let in_full = whom.parse::<KeyId>().ok().filter(|_| root.root.is_some() && keys.is_empty() && !whom.contains('-'));
    let key = match (&keys.into_iter().collect::<Vec<_>>()[..], in_full) {
        ([key], _) => (*key).to_owned(),
        ([], Some(key)) => key.to_string(),
        ([], None) => return expel(client, whom, &nodes, root, unheard, language).await,
        _ => return Err(Failure::new("revoke.unknown", [&whom])),
    };
    let id: KeyId = key.parse().map_err(|_| Failure::new("revoke.unknown", [&whom]))?;
    let root = root.open(language).await?.ok_or_else(|| Failure::new("revoke.root", []))?;
    let done = client.give(&root.revoke(id, own_area(&nodes)?, clock::wall())).await?;
    Ok((done, Taken::Key(key)))
}

/// Has a node put out of the tree, by the node's own authority, or a root's.
async fn expel(
    client: &Client,
    whom: &str,
    nodes: &[Node],
    root: &AtHand,
    unheard: bool,
    language: Language,
) -> Result<(Done, Taken), Failure> {
    let node = places::named(whom, nodes).map_err(|failure| match failure.code.as_str() {
        "node.none" => Failure::new("revoke.unknown", [&whom]),
        _ => failure,
    })?;
    let name = nodes.iter().find(|known| known.id == node).map(|known| known.name.clone());
    if name.is_none() && !unheard {
        return Err(Failure::new("node.unheard", [&node]));
    }
    let done = match root.open(language).await? {
        None => client.expel(node).await?,
        Some(root) => client.give(&root.expel(node, own_area(nodes)?, clock::wall())).await?,
    };
    Ok((done, Taken::Node(node, name.unwrap_or_default())))
}

/// Where the node stands that was asked. A root's word holds everywhere: it goes to all below that node.
pub(super) fn own_area(nodes: &[Node]) -> Result<Area, Failure> {
    area(nodes.first().map(|node| node.area.as_str()).unwrap_or_default())
}

/// Stretching a passphrase takes a moment of a core.
async fn open(file: PathBuf, passphrase: Zeroizing<String>) -> Result<Root, Failure> {
    let root = tokio::task::spawn_blocking(move || Root::open(&file, &passphrase)).await;
    let root = root.unwrap_or_else(|error| Err(io::Error::other(error)));
    root.map_err(|error| Failure::new("enrol.root", [&error]))
}

fn make(root: &Root, file: &Path, options: &Enrol) -> Result<Made, Failure> {
    // Clap has asked for them.
    let (Some(folder), Some(role)) = (&options.folder, options.role) else {
        return Err(Failure::new("enrol.folder", [&""]));
    };
    let area = area(options.area.as_deref().unwrap_or_default())?;
    let parents: Vec<Address> = options
        .parents
        .iter()
        .map(|host| Address::new(host, 1))
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::new("enrol.parent", [&error]))?;
    let role = if role == Kind::Relay { Role::Relay } else { Role::Speaker };
    let roots = file.parent().unwrap_or(Path::new("")).join(ROOTS);
    let name = options.name.clone().unwrap_or_default();
    let node = NewNode { role, area, name, authority: options.authority.clone() };
    let (node, key) = whole(folder, |making| {
        let rights = Rights { kinds: &PLACES, alone_from: options.alone_from };
        let id = root.provision_with(making, &node, &rights, parents.clone())?;
        trust(&roots, making)?;
        if options.issuer {
            root.appoint(making)?;
        }
        fs::write(making.join(CONFIG), configuration(options, role))?;
        let key = options.authority.as_ref().map(|name| load_authority(making, name)).transpose()?;
        Ok((id, key))
    })?;
    Ok(Made { folder: folder.clone(), node, key: key.map(|key| key.id().to_string()) })
}

fn configuration(options: &Enrol, role: Role) -> String {
    let hosts = toml::Value::from(options.parents.clone());
    let mut text = format!("{NODE}\n[parent]\naddresses = {hosts}\n");
    match role {
        Role::Relay => text += CHILDREN,
        Role::Speaker | Role::New => {
            text += &format!("\n[playout]\ndevice = {}\n", toml::Value::from(options.device.clone()))
        }
    }
    if let Some(authority) = &options.authority {
        text += &format!("\n[sources]\nauthority = {}\n\n[api]\n", toml::Value::from(authority.clone()));
    }
    text
}

/// The one file of many boards: their whole configuration.
pub fn boards_file(
    ticket: &places::Ticket,
    area: &str,
    count: u32,
    parents: &[String],
    shards: u16,
    relay: bool,
    device: &str,
) -> String {
    let (hosts, roots) = (toml::Value::from(parents.to_vec()), ticket.roots.join("\n#   "));
    let mut text = format!(
        "# For {count} boards of {area}, until {until}: the same file on each, with an empty data folder.\n\
         # A board makes its own key, asks its parents for a certificate, and waits for a place: `loa nodes`, `loa place`.\n\
         # Roots of the tree, SHA-256 of their certificates:\n#   {roots}\n\n\
         [node]\ndata = \"data\"\n\n[enrol]\nticket = \"\"\"\n{ticket}\"\"\"\n\n\
         [parent]\naddresses = {hosts}\nshards = {shards}\n",
        until = ticket.until,
        ticket = ticket.ticket,
    );
    match relay {
        true => text += CHILDREN,
        false => text += &format!("\n[playout]\ndevice = {}\n", toml::Value::from(device)),
    }
    text
}

/// What a person reads of it.
pub fn boards_made(made: &places::Made, language: Language) -> String {
    say(
        language,
        "enrol.boards",
        [&made.file.display(), &made.count, &super::when::retold(&made.until, language), &made.roots.join(", ")],
    )
}

/// Makes a folder by way of another beside it, so that it is whole or not there.
fn whole<T>(folder: &Path, make: impl FnOnce(&Path) -> io::Result<T>) -> Result<T, Failure> {
    let failed = |error: &io::Error| Failure::new("enrol.folder", [&format!("{}: {error}", folder.display())]);
    if folder.exists() {
        return Err(Failure::new("enrol.exists", [&folder.display()]));
    }
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(".making");
    let making = folder.with_file_name(name);
    if let Some(parent) = making.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(|error| failed(&error))?;
    }
    // What an interrupted run has left holds keys that nobody knows of.
    if making.exists() {
        fs::remove_dir_all(&making).map_err(|error| failed(&error))?;
    }
    let made = make(&making).and_then(|made| fs::rename(&making, folder).map(|()| made));
    made.map_err(|error| {
        let _ = fs::remove_dir_all(&making);
        failed(&error)
    })
}

/// What nodes know of all roots.
fn trust(from: &Path, data: &Path) -> io::Result<()> {
    for entry in
        fs::read_dir(from).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", from.display())))?
    {
        let entry = entry?;
        fs::copy(entry.path(), data.join(ROOTS).join(entry.file_name()))?;
    }
    Ok(())
}

fn area(text: &str) -> Result<Area, Failure> {
    text.parse().map_err(|error| Failure::new("enrol.area", [&error]))
}

/// What a person reads of either.
pub fn enrolled(done: &Enrolled, language: Language) -> String {
    match done {
        Enrolled::Made(new) => made(new, false, language),
        Enrolled::Renewed(renewed) => renewed.text(language),
    }
}

/// What a person reads.
pub fn made(made: &Made, first: bool, language: Language) -> String {
    let folder = made.folder.display();
    match first {
        true => say(language, "init.made", [&folder, &made.node]),
        false => {
            let text = say(language, "enrol.made", [&folder, &made.node]);
            let key = made.key.as_ref().map(|key| say(language, "enrol.key", [key]));
            match key {
                Some(key) => format!("{text}\n{key}"),
                None => text,
            }
        }
    }
}

const CARRIED: &str = "carry-away";
const ROOTS: &str = "roots";
const AUTHORITY: &str = "national";
const NODE: &str = "# Every field stands in the commented examples of config/.\n[node]\ndata = \".\"\n";
const CHILDREN: &str = "\n[children]\nlisten = \"0.0.0.0:7460\"\n";

#[cfg(test)]
mod tests {
    use super::super::when;
    use super::*;
    use crate::broadcast::{Body, Order};
    use crate::config::Config;
    use crate::io::identity::Identity;
    use crate::io::store::Store;
    use crate::proto;
    use crate::time::{Civil, SECOND};
    use clap::Parser;

    #[derive(Parser)]
    struct Line<T: Args> {
        #[command(flatten)]
        args: T,
    }

    fn parse<T: Args>(words: &[&str]) -> T {
        Line::<T>::try_parse_from(std::iter::once(&"loa").chain(words)).unwrap_or_else(|error| panic!("{error}")).args
    }

    fn tree(folder: &Path) -> (String, PathBuf) {
        let passphrase = folder.join("passphrase");
        fs::write(&passphrase, "xin chào các làng xã\n").unwrap();
        let (passphrase, tree) = (passphrase.display().to_string(), folder.join("tree"));
        let words = [tree.display().to_string(), "--passphrase-file".into(), passphrase.clone()];
        init(&parse::<Init>(&words.each_ref().map(String::as_str)), Language::English).unwrap();
        (passphrase, tree)
    }

    #[test]
    fn a_new_trees_folders_are_those_of_nodes_that_start() {
        let folder = tempfile::tempdir().unwrap();
        let (_, tree) = tree(folder.path());
        let config = Config::load(&tree.join("origin/loa.toml")).unwrap();
        assert!(config.sources.is_some() && config.children.is_some() && config.parent.is_none());
        let identity = Identity::load(&tree.join("origin")).unwrap();
        assert_eq!(identity.roots.len(), 2, "main and spare");
        let carried = fs::read_to_string(tree.join("carry-away/main.root")).unwrap();
        assert!(carried.contains("sealed = ") && !tree.join("root.key").exists());
        assert_eq!(fs::read_dir(&tree).unwrap().count(), 2);
        assert!(!folder.path().join("tree.making").exists());
    }

    #[tokio::test]
    async fn a_node_is_enrolled_with_the_sealed_root_and_renewed_later() {
        let folder = tempfile::tempdir().unwrap();
        let (passphrase, tree) = tree(folder.path());
        let root = tree.join("carry-away/main.root").display().to_string();
        let data = folder.path().join("relay");
        let words = |more: &[&str]| -> Vec<String> {
            let all = ["--root", &root, "--passphrase-file", &passphrase].into_iter().chain(more.iter().copied());
            all.map(str::to_owned).collect()
        };
        let place = data.display().to_string();
        let line = words(&[
            "--folder",
            &place,
            "--role",
            "relay",
            "--area",
            "vn/01",
            "--name",
            "Hà Nội",
            "--parent",
            "origin.example:7460,other.example:7460",
            "--authority",
            "ha-noi",
        ]);
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        let done = enrol(parse(&line), Language::English).await.unwrap();
        let Enrolled::Made(Made { node, key: Some(key), .. }) = &done else { panic!("nothing to renew: {done:?}") };
        assert_eq!(*key, load_authority(&data, "ha-noi").unwrap().id().to_string());
        assert!(enrolled(&done, Language::Vietnamese).contains(&format!("loa revoke {key} --root")));
        let config = Config::load(&data.join("loa.toml")).unwrap();
        assert_eq!(config.parent.unwrap().addresses.len(), 2);
        assert_eq!(Identity::load(&data).unwrap().node, *node);
        assert_eq!(enrol(parse(&line), Language::English).await.unwrap_err().code, "enrol.exists");

        let before = Store::open(&data).unwrap().journal().unwrap();
        let line = words(&["--renew", &place]);
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        let done = enrol(parse(&line), Language::English).await.unwrap();
        let Enrolled::Renewed(renewed) = &done else { panic!("{done:?}") };
        let until = when::date(Civil(renewed.until_us.unwrap()), chrono_tz::Asia::Ho_Chi_Minh, Language::Vietnamese);
        assert!(
            enrolled(&done, Language::Vietnamese).contains(&format!("được phát đến {until}"))
                && until.ends_with("+07:00")
        );
        assert!(enrolled(&done, Language::English).contains("may speak until 2"), "{done:?}");
        let after = Store::open(&data).unwrap().journal().unwrap();
        assert_eq!((before.len(), after.len()), (2, 4), "a placement and a grant, each once more");
        let newest = |journal: &[proto::Record]| -> i64 {
            let orders = journal.iter().filter_map(|record| match &record.body {
                Some(proto::record::Body::Order(signed)) => Order::decode(&signed.payload).ok(),
                _ => None,
            });
            orders.filter(|order| matches!(order.body, Body::Grant(_))).map(|order| order.expires.0).max().unwrap()
        };
        assert!(newest(&after) > newest(&before) && newest(&after) < clock::wall().0 + 15 * 86_400 * SECOND);
    }

    #[tokio::test]
    async fn a_wrong_passphrase_is_said_and_nothing_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let (_, tree) = tree(folder.path());
        let wrong = folder.path().join("wrong");
        fs::write(&wrong, "not the passphrase\n").unwrap();
        let (root, wrong) = (tree.join("carry-away/main.root").display().to_string(), wrong.display().to_string());
        let data = folder.path().join("pole");
        let place = data.display().to_string();
        let line = [
            "--root",
            &root,
            "--passphrase-file",
            &wrong,
            "--folder",
            &place,
            "--role",
            "speaker",
            "--area",
            "vn/01/1",
            "--name",
            "pole",
            "--parent",
            "relay.example:7460",
        ];
        let failure = enrol(parse(&line), Language::English).await.unwrap_err();
        assert_eq!(failure.code, "enrol.root");
        assert!(failure.to_string().contains("passphrase"), "{failure}");
        assert!(!data.exists() && !folder.path().join("pole.making").exists());
    }
}
