//! What takes two, and what locks: persons' own keys, drafts and their second signature, locks and their release, and
//! what an area would rather hear.
//!
//! ```text
//! POST /v1/drafts          Draft       → Drafted   signed by this node's authority; for seconds
//! POST /v1/signatures      Give        → Aired or Done   the same bytes with another signature
//! POST /v1/locks           Lock        → Done      a key says nothing more in these areas; what it said is over
//! POST /v1/preferences     Prefer      → Done      what sounds first where several want to at once
//! POST /v1/prepared        Prepare     → Aired     sound that everybody there keeps ready
//! ```
//! The key of a second is a file of its own, sealed with a passphrase, in the hands of a person; no node holds it.
use super::answer::{created, read};
use super::api::{Shared, areas, ordered, request, unexpected};
use super::broadcasts::{How, put, title, warnings};
use super::cli::{DONE, NodeArgs, print_json};
use super::client::Client;
use super::enrol::{self, AtHand};
use super::forms::{self, Aired, Give, Level};
use super::passphrase;
use super::table;
use super::text::{Failure, Language, say};
use crate::broadcast::{self, Area, Grant, Order, countersign};
use crate::io::clock;
use crate::io::identity::{Person, RELEASES, Rights};
use crate::key::{KeyId, SigningKey};
use crate::node::trunk::{Reply, Request};
use crate::proto;
use crate::time::SECOND;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use clap::Args;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;
use uuid::Uuid;

/// `POST /v1/drafts`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Draft {
    Broadcast(forms::Air),
    /// The lock's order.
    Release(Uuid),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Drafted {
    pub id: Uuid,
    /// A message `Signed` of loa.v1, in hex, with one signature.
    pub order: String,
}

/// `POST /v1/locks`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    pub key: String,
    pub areas: Vec<String>,
}

/// `POST /v1/preferences`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prefer {
    /// Best first.
    pub broadcasts: Vec<Uuid>,
    pub areas: Vec<String>,
    pub minutes: i64,
}

pub(super) async fn draft(State(api): Shared, Extension(language): Extension<Language>, body: Body) -> Response {
    let work = async {
        let reply = match read(body).await? {
            Draft::Broadcast(form) => put(&api, form, How::Draft).await,
            Draft::Release(lock) => request(&api, Request::Release { lock }).await,
        };
        match reply {
            Ok(Reply::Draft { order, signed }) => Ok(Drafted { id: order, order: Give::new(&signed).order }),
            other => Err(unexpected(other)),
        }
    };
    created(work.await, language)
}

/// Of a broadcast or of another order.
#[derive(Serialize)]
#[serde(untagged)]
enum Given {
    Aired(Aired),
    Done(forms::Done),
}

pub(super) async fn sign(State(api): Shared, Extension(language): Extension<Language>, body: Body) -> Response {
    let work = async {
        let form: Give = read(body).await?;
        let signed = form.read().ok_or_else(|| Failure::new("order.unread", []))?;
        let spoken = Order::decode(&signed.payload).ok().and_then(|order| match order.body {
            broadcast::Body::Broadcast(found) => Some((order.areas, found.priority)),
            _ => None,
        });
        match request(&api, Request::Countersign(Box::new(signed))).await {
            Ok(Reply::Aired { broadcast, accepted, from, until, sounds, .. }) => {
                let mut aired = Aired::new(broadcast, [accepted, from, until, sounds], api.zone);
                if let Some((areas, priority)) = spoken {
                    aired.warnings = warnings(&api, broadcast, areas, priority, sounds, language).await;
                }
                Ok(Given::Aired(aired))
            }
            other => ordered(other).map(Given::Done),
        }
    };
    created(work.await, language)
}

pub(super) async fn lock(State(api): Shared, Extension(language): Extension<Language>, body: Body) -> Response {
    let work = async {
        let form: Lock = read(body).await?;
        let key = form.key.parse::<KeyId>().map_err(|_| Failure::new("revoke.unknown", [&form.key]))?;
        ordered(request(&api, Request::Lock { key, areas: areas(&form.areas)? }).await)
    };
    created(work.await, language)
}

pub(super) async fn prefer(State(api): Shared, Extension(language): Extension<Language>, body: Body) -> Response {
    let work = async {
        let form: Prefer = read(body).await?;
        if !(1..=MOST_PREFERRED).contains(&form.broadcasts.len()) {
            return Err(Failure::new("prefer.count", [&form.broadcasts.len(), &MOST_PREFERRED]));
        }
        let lasting = form.minutes.saturating_mul(60 * SECOND);
        let areas = areas(&form.areas)?;
        ordered(request(&api, Request::Prefer { areas, broadcasts: form.broadcasts, lasting }).await)
    };
    created(work.await, language)
}

pub(super) async fn prepare(State(api): Shared, Extension(language): Extension<Language>, body: Body) -> Response {
    let work = async {
        let forms::Prepare { media, areas, title: called, days } = read(body).await?;
        if called.is_empty() {
            return Err(Failure::new("prepared.title", []));
        }
        let form =
            forms::Air { media, areas, title: Some(title(&called)?), priority: Level::Priority, ..Default::default() };
        match put(&api, form, How::Prepare(days)).await {
            Ok(Reply::Aired { broadcast, accepted, from, until, sounds, .. }) => {
                Ok(Aired::new(broadcast, [accepted, from, until, sounds], api.zone))
            }
            other => Err(unexpected(other)),
        }
    };
    created(work.await, language)
}

#[derive(Debug, Args)]
pub struct PrepareArgs {
    /// A sound file; without it, lists what is kept ready
    #[arg(requires_all = ["name", "areas"])]
    file: Option<PathBuf>,
    /// What it is called: hazard and language, such as lũ-quét.vi
    #[arg(long)]
    name: Option<String>,
    /// Areas, such as vn/01/00001, separated by commas
    #[arg(long = "area", value_name = "AREA", value_delimiter = ',')]
    areas: Vec<String>,
    /// For how long it is kept, up to 30
    #[arg(long, default_value_t = 30)]
    days: i64,
    #[command(flatten)]
    node: NodeArgs,
}

/// Has sound kept ready by everybody, or lists what is.
pub async fn ready(args: PrepareArgs, json: bool, language: Language) -> Result<u8, Failure> {
    let client = Client::of(&args.node, language)?;
    let Some(file) = &args.file else {
        let (nodes, mut list) = (client.nodes().await?, client.broadcasts().await?);
        list.broadcasts.retain(|one| one.prepared);
        match json {
            true => print_json(&list),
            false => print!("{}", table::prepared(&list.broadcasts, nodes.zone, language)),
        }
        return Ok(DONE);
    };
    let media = client.upload(file).await?.id;
    let title = args.name.unwrap_or_default();
    let form = forms::Prepare { media, areas: args.areas, title: title.clone(), days: args.days };
    let aired: Aired = client.send("/v1/prepared", &form).await?;
    match json {
        true => print_json(&aired),
        false => println!("{}", say(language, "prepared.done", [&title, &aired.until])),
    }
    Ok(DONE)
}

/// The newest that is kept ready under this name, or the one with this id.
pub async fn prepared(client: &Client, name: &str) -> Result<Uuid, Failure> {
    let list = client.broadcasts().await?.broadcasts;
    let meant = |one: &&forms::Listed| one.title == name || one.id.to_string() == name;
    let ready = list.iter().filter(|one| one.prepared && one.state == "known").filter(meant);
    ready.map(|one| one.id).max().ok_or_else(|| Failure::new("prepared.unknown", [&name]))
}

/// The key of a person, and the file that holds it.
#[derive(Debug, Args)]
pub struct SignerArgs {
    /// The file to make
    file: PathBuf,
    /// Whose key it is
    #[arg(long)]
    name: String,
    /// Where its holder may sign, such as vn/01
    #[arg(long)]
    area: String,
    #[command(flatten)]
    root: AtHand,
    /// The first line of this file is the new key's passphrase [default: it is asked for]
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    node: NodeArgs,
}

/// Another's key beside the node's own.
#[derive(Debug, Args)]
pub struct Second {
    /// Signed by this person's key too, as `loa signer` made it
    #[arg(long, value_name = "FILE")]
    second: Option<PathBuf>,
    /// The first line of this file is that key's passphrase [default: it is asked for]
    #[arg(long, value_name = "FILE", requires = "second")]
    second_passphrase_file: Option<PathBuf>,
}

impl Second {
    /// Opened before anything is asked of the node: a draft waits for seconds.
    pub async fn open(&self, language: Language) -> Result<Option<SigningKey>, Failure> {
        let Some(file) = self.second.clone() else { return Ok(None) };
        let passphrase = passphrase::of(self.second_passphrase_file.as_deref()).ask(&file, language)?;
        let opened = tokio::task::spawn_blocking(move || Person::open(&file, &passphrase)).await;
        let opened = opened.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        opened.map(|person| Some(person.into_key())).map_err(|error| Failure::new("enrol.root", [&error]))
    }
}

#[derive(Debug, Args)]
pub struct ReleaseArgs {
    /// The lock, as `loa revoke` lists it
    lock: Uuid,
    #[command(flatten)]
    second: Second,
    #[command(flatten)]
    root: AtHand,
    #[command(flatten)]
    node: NodeArgs,
}

#[derive(Debug, Args)]
pub struct PreferArgs {
    /// Broadcasts, best first, as `loa status` lists them
    #[arg(required = true)]
    broadcasts: Vec<Uuid>,
    /// Areas, such as vn/01/00001, separated by commas
    #[arg(long = "area", value_name = "AREA", value_delimiter = ',', required = true)]
    areas: Vec<String>,
    /// For how long
    #[arg(long, default_value_t = 1_440)]
    minutes: i64,
    #[command(flatten)]
    node: NodeArgs,
}

/// The one key whose name begins so.
pub async fn find_key(client: &Client, key: &str) -> Result<String, Failure> {
    let known = client.authorities().await?.authorities;
    let found = known.iter().filter(|authority| authority.key.starts_with(&key.to_lowercase()));
    let found: BTreeSet<String> = found.map(|authority| authority.key.clone()).collect();
    // A province's own key need not be known above it.
    let in_full = key.parse::<KeyId>().ok().filter(|_| found.is_empty()).map(|key| key.to_string());
    let mut found = found.into_iter().chain(in_full);
    match (found.next(), found.next()) {
        (Some(key), None) => Ok(key),
        _ => Err(Failure::new("revoke.unknown", [&key])),
    }
}

pub async fn put_lock(client: &Client, key: &str, areas: Vec<String>) -> Result<forms::Done, Failure> {
    client.send("/v1/locks", &Lock { key: key.to_owned(), areas }).await
}

/// Makes a person's key, and has the node tell everybody what it may sign.
pub async fn signer(args: SignerArgs, json: bool, language: Language) -> Result<u8, Failure> {
    let client = Client::of(&args.node, language)?;
    let area: Area = args.area.parse().map_err(|error: String| Failure::from_room("area.invalid", error))?;
    let root = args.root.open(language).await?.ok_or_else(|| Failure::new("signer.root", []))?;
    let passphrase = passphrase::of(args.new_passphrase_file.as_deref()).choose(&args.file, language)?;
    let person = Person::generate();
    let (file, name) = (args.file.clone(), args.name.clone());
    person.seal(&file, &name, &passphrase).map_err(|error| Failure::new("enrol.folder", [&error]))?;
    // A key in somebody's pocket says nothing by itself.
    let rights = Rights { kinds: &RELEASES, alone_from: Grant::NEVER_ALONE };
    let grant = root.grant(&person.public(), area, &name, &rights, clock::wall());
    if let Err(failure) = client.give(&grant).await {
        // A key that may sign nothing is of no use, and its file would be in the way of the next try.
        let _ = std::fs::remove_file(&args.file);
        return Err(failure);
    }
    let key = person.public().id();
    match json {
        true => print_json(&serde_json::json!({ "key": key.to_string(), "file": args.file })),
        false => println!("{}", say(language, "signer.made", [&args.file.display(), &key, &args.area])),
    }
    Ok(DONE)
}

pub async fn release(args: ReleaseArgs, json: bool, language: Language) -> Result<u8, Failure> {
    let client = Client::of(&args.node, language)?;
    let done = match (args.second.open(language).await?, args.root.open(language).await?) {
        (_, Some(root)) => {
            let nodes = client.nodes().await?.nodes;
            client.give(&root.release(args.lock, enrol::own_area(&nodes)?, clock::wall())).await?
        }
        (Some(second), None) => {
            let drafted: Drafted = client.send("/v1/drafts", &Draft::Release(args.lock)).await?;
            client.send("/v1/signatures", &also_signed(&drafted, &second)?).await?
        }
        (None, None) => return Err(Failure::new("release.second", [])),
    };
    match json {
        true => print_json(&done),
        false => println!("{}", say(language, "release.done", [&args.lock])),
    }
    Ok(DONE)
}

pub async fn put_first(args: PreferArgs, json: bool, language: Language) -> Result<u8, Failure> {
    let PreferArgs { broadcasts, areas, minutes, node } = args;
    let shown = areas.join(", ");
    let done: forms::Done =
        Client::of(&node, language)?.send("/v1/preferences", &Prefer { broadcasts, areas, minutes }).await?;
    match json {
        true => print_json(&done),
        false => println!("{}", say(language, "prefer.done", [&shown, &minutes])),
    }
    Ok(DONE)
}

/// Airs with a second signature.
pub async fn air(client: &Client, form: forms::Air, second: &SigningKey) -> Result<Aired, Failure> {
    let drafted: Drafted = client.send("/v1/drafts", &Draft::Broadcast(form)).await?;
    client.send("/v1/signatures", &also_signed(&drafted, second)?).await
}

fn also_signed(drafted: &Drafted, second: &SigningKey) -> Result<Give, Failure> {
    let draft = Give { order: drafted.order.clone() };
    let mut signed: proto::Signed = draft.read().ok_or_else(|| Failure::new("order.unread", []))?;
    signed.signatures.push(countersign(&signed.payload, second));
    Ok(Give::new(&signed))
}

/// As an order takes them.
const MOST_PREFERRED: usize = 8;
