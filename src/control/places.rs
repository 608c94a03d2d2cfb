//! Who may come in and where they stand: tokens, placements, expulsions; what the API answers, and the commands.
//!
//! ```text
//! POST   /v1/tokens              Token      → Ticket    what new boards come in with
//! POST   /v1/nodes               Place      → Placed    where a node shall stand
//! DELETE /v1/nodes/{id}                     → Done      it is no child and no parent any more
//! ```
use super::answer::{created, done, read};
use super::api::{Shared, ordered, request, unexpected};
use super::cli::{DONE, NodeArgs, SHORT, print_json};
use super::client::Client;
use super::forms::{Done, Node};
use super::text::{Failure, Language, say};
use super::{enrol, table, tree, when};
use crate::broadcast::{Address, Area, Order};
use crate::io::enrolment;
use crate::io::identity;
use crate::node::code;
use crate::node::trunk::{self, Reply, Request};
use crate::time::SECOND;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use clap::Args;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// `POST /v1/tokens`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Where those who come will stand.
    pub area: String,
    pub count: u32,
    pub days: i64,
    /// They may be parents; else loudspeakers.
    #[serde(default)]
    pub relay: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ticket {
    /// As `enrol.ticket` of a configuration has it.
    pub ticket: String,
    pub until: String,
    pub until_us: i64,
    /// SHA-256 of each root's certificate, in hex: for comparing with what was carried away.
    pub roots: Vec<String>,
}

/// `POST /v1/nodes`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    pub node: Uuid,
    /// Left out: those of the node that it replaces, or its own.
    #[serde(default)]
    pub area: Option<String>,
    #[serde(default)]
    pub name: Option<String>,
    /// `host:port`, best first, before those of its configuration.
    #[serde(default)]
    pub parents: Vec<String>,
    /// Whose place it takes; that node is expelled.
    #[serde(default)]
    pub replaces: Option<Uuid>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Placed {
    /// Id of the order that was given.
    pub order: Uuid,
    pub area: String,
    /// The node, or one that leads to it, was there to be told; else it is told when it comes.
    pub told: bool,
}

pub(super) async fn token(State(api): Shared, Extension(language): Extension<Language>, body: Body) -> Response {
    let work = async {
        let Token { area, count, days, relay } = read(body).await?;
        let area = parse(&area)?;
        let asked = Request::Invite { area, count, relay, lasting: days.saturating_mul(86_400 * SECOND) };
        let (token, grants) = match request(&api, asked).await {
            Ok(Reply::Invited { token, grants }) => (token, grants),
            other => return Err(unexpected(other)),
        };
        let until =
            Order::decode(&token.payload).map_err(|refusal| Failure::from_room(refusal.code, refusal.text))?.expires;
        let data = api.handle.data().to_owned();
        let roots = tokio::task::spawn_blocking(move || identity::roots(&data)).await;
        let roots = roots.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        let roots = roots.map_err(|error| Failure::from_room("node.identity", error.to_string()))?;
        let fingerprints = roots.iter().map(|root| identity::fingerprint(root)).collect();
        let ticket = enrolment::Ticket::new(token, grants, roots).write();
        Ok(Ticket { ticket, until: when::show(until, api.zone), until_us: until.0, roots: fingerprints })
    };
    created(work.await, language)
}

pub(super) async fn place(State(api): Shared, Extension(language): Extension<Language>, body: Body) -> Response {
    let work = async {
        let Place { node, area, name, parents, replaces } = read(body).await?;
        let area = area.as_deref().map(parse).transpose()?;
        let parents = parents.iter().map(|host| Address::new(host, 1)).collect::<Result<_, _>>();
        let parents = parents.map_err(|error| Failure::new("enrol.parent", [&error]))?;
        let place = trunk::Place { node, area, name, parents, replaces };
        match request(&api, Request::Place(Box::new(place))).await {
            Ok(Reply::Placed { order, area, told }) => Ok(Placed { order, area: area.to_string(), told }),
            other => Err(unexpected(other)),
        }
    };
    created(work.await, language)
}

pub(super) async fn expel(
    State(api): Shared,
    Extension(language): Extension<Language>,
    Path(id): Path<String>,
) -> Response {
    let work = async {
        let node = id.parse().map_err(|_| Failure::new("node.id", [&format!("{id:?}")]))?;
        ordered(request(&api, Request::Expel { node }).await)
    };
    done(work.await, language)
}

fn parse(area: &str) -> Result<Area, Failure> {
    area.parse().map_err(|error| Failure::from_room("area.invalid", error))
}

impl Client {
    pub async fn invite(&self, form: &Token) -> Result<Ticket, Failure> {
        self.send("/v1/tokens", form).await
    }

    pub async fn place(&self, form: &Place) -> Result<Placed, Failure> {
        self.send("/v1/nodes", form).await
    }

    pub async fn expel(&self, node: Uuid) -> Result<Done, Failure> {
        self.delete(&format!("/v1/nodes/{node}")).await
    }
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only those that wait for a place
    #[arg(long)]
    waiting: bool,
    #[command(flatten)]
    node: NodeArgs,
}

#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// The code that a waiting board speaks, its node id, the first eight digits of that, or its name
    node: String,
    /// Where it shall stand, such as vn/01/00004; a node that waits needs one, another stays where it is
    #[arg(long, required_unless_present_any = ["replace", "name", "parents"])]
    area: Option<String>,
    /// What people call it; a node that waits needs a name, another keeps its own
    #[arg(long)]
    name: Option<String>,
    /// host:port of a parent's first shard, best first, before those of its configuration
    #[arg(long = "parent", value_name = "HOST:PORT", value_delimiter = ',')]
    parents: Vec<String>,
    /// The node whose place it takes, as its id; that one is expelled
    #[arg(long, value_name = "NODE")]
    replace: Option<String>,
    #[command(flatten)]
    speaks_to: NodeArgs,
}

/// A file for new boards.
#[derive(Debug, Args)]
pub struct BoardsArgs {
    /// So many boards may come in with the file
    #[arg(long, requires_all = ["area", "parents", "out"], conflicts_with_all = ["root", "folder", "renew", "authority"])]
    pub count: Option<u32>,
    /// For so long
    #[arg(long, default_value_t = 14, requires = "count")]
    days: i64,
    /// The file to make: the boards' whole configuration
    #[arg(long, value_name = "FILE", requires = "count")]
    out: Option<PathBuf>,
    /// How many shards each parent has
    #[arg(long, default_value_t = 1, requires = "count")]
    shards: u16,
    #[command(flatten)]
    speaks_to: NodeArgs,
}

/// What was made.
#[derive(Debug, Serialize)]
pub struct Made {
    pub file: PathBuf,
    pub count: u32,
    pub until: String,
    pub roots: Vec<String>,
}

/// Makes the one file that goes on every board's card.
pub async fn boards(
    args: &BoardsArgs,
    area: &str,
    parents: &[String],
    relay: bool,
    device: &str,
    language: Language,
) -> Result<Made, Failure> {
    let (Some(count), Some(file)) = (args.count, args.out.clone()) else {
        return Err(Failure::new("enrol.folder", [&""]));
    };
    for parent in parents {
        Address::new(parent, args.shards).map_err(|error| Failure::new("enrol.parent", [&error]))?;
    }
    if file.exists() {
        return Err(Failure::new("enrol.exists", [&file.display()]));
    }
    let client = Client::of(&args.speaks_to, language)?;
    let form = Token { area: area.to_owned(), count, days: args.days, relay };
    let ticket = client.invite(&form).await?;
    let text = enrol::boards_file(&ticket, area, count, parents, args.shards, relay, device);
    // A token lets boards in: it is for its owner's eyes.
    let written = identity::write_private(&file, &text);
    written.map_err(|error| Failure::new("enrol.folder", [&error]))?;
    Ok(Made { file, count, until: ticket.until, roots: ticket.roots })
}

pub async fn list(args: &ListArgs, json: bool, language: Language) -> Result<u8, Failure> {
    let mut listed = Client::of(&args.node, language)?.nodes().await?;
    if args.waiting {
        listed.nodes.retain(|node| node.state == WAITING);
    }
    // Those that somebody should look at first.
    listed.nodes.sort_by_key(|node| (node.state != WAITING, node.area.clone(), node.name.clone()));
    match json {
        true => print_json(&listed),
        false => print!("{}", picture(&listed.nodes, language)),
    }
    Ok(DONE)
}

fn picture(nodes: &[Node], language: Language) -> String {
    let head = ["nodes.code", "demo.node", "demo.state", "nodes.role", "demo.area", "revoke.name", "nodes.at"];
    let head = head.map(|code| say(language, code, []));
    let rows = nodes.iter().map(|node| {
        let code = if node.state == WAITING { format!("{:06}", code(node.id)) } else { "-".into() };
        let role =
            if node.role == "relay" { say(language, "role.relay", []) } else { say(language, "role.speaker", []) };
        let (area, name) = (tree::stands(node, language), node.name.clone());
        [
            code,
            node.id.to_string(),
            std::iter::once(tree::state(&node.state, language))
                .chain(tree::muted(node, language))
                .collect::<Vec<_>>()
                .join(" "),
            role,
            area,
            name,
            node.at.as_deref().map_or_else(|| "-".into(), |at| when::retold(at, language)),
        ]
    });
    table::align(std::iter::once(head).chain(rows).collect(), &[])
}

/// Places a node, and waits until it stands there.
pub async fn put(args: PlaceArgs, json: bool, language: Language) -> Result<u8, Failure> {
    let client = Client::of(&args.speaks_to, language)?;
    let nodes = client.nodes().await?.nodes;
    let node = named(&args.node, &nodes)?;
    let replaces = args.replace.as_deref().map(|old| named(old, &nodes)).transpose()?;
    let PlaceArgs { area, name, parents, .. } = args;
    let placed = client.place(&Place { node, area, name: name.clone(), parents, replaces }).await?;
    let stands = stands(&client, node, &placed.area, name.as_deref()).await?;
    match json {
        true => print_json(&serde_json::json!({ "node": node, "order": placed.order, "stands": stands })),
        false => {
            let code = if stands { "place.done" } else { "place.later" };
            println!("{}", say(language, code, [&node]));
        }
    }
    Ok(if stands { DONE } else { SHORT })
}

/// Whether the node is placed before long, as the node that was asked sees it.
async fn stands(client: &Client, node: Uuid, area: &str, name: Option<&str>) -> Result<bool, Failure> {
    let until = Instant::now() + TAKES;
    loop {
        let nodes = client.nodes().await?.nodes;
        let found = nodes.iter().find(|one| one.id == node);
        let there = |one: &&Node| one.area == area && name.is_none_or(|name| one.name == name);
        if found.filter(there).is_some_and(|one| !matches!(one.state.as_str(), WAITING | "lost" | "unknown")) {
            return Ok(true);
        }
        if Instant::now() >= until {
            return Ok(false);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The one node that is meant: by its code if it waits, by its id, by the first digits of that, or by its name.
pub fn named(text: &str, nodes: &[Node]) -> Result<Uuid, Failure> {
    if let Some(id) = text.contains('-').then(|| text.parse::<Uuid>().ok()).flatten() {
        return Ok(id);
    }
    let digits = text.replace(' ', "");
    let by_code = digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_digit());
    let meant = |node: &&Node| match by_code {
        true => node.state == WAITING && format!("{:06}", code(node.id)) == digits,
        false => text == node.name || text.len() >= 8 && node.id.to_string().starts_with(&text.to_lowercase()),
    };
    let found: Vec<Uuid> = nodes.iter().filter(meant).map(|node| node.id).collect();
    match found[..] {
        [one] => Ok(one),
        [] => Err(Failure::new("node.none", [&text])),
        _ => Err(Failure::new("node.many", [&text, &found.len()])),
    }
}

const WAITING: &str = "waiting";
/// How long a board may take to come back with its placement.
const TAKES: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u128, state: &str) -> Node {
        Node { id: Uuid::from_u128(id), state: state.into(), ..Node::default() }
    }

    #[test]
    fn a_waiting_board_is_named_by_its_code_and_any_by_its_id() {
        let nodes = [node(0x0190_0000_0000_7000_8000_0000_0006_8557, "waiting"), node(0x0190_0001 << 96, "idle")];
        assert_eq!(code(nodes[0].id), 203_159);
        assert_eq!(named("203159", &nodes), Ok(nodes[0].id));
        assert_eq!(named("203 159", &nodes), Ok(nodes[0].id));
        assert_eq!(named(&nodes[1].id.to_string(), &nodes), Ok(nodes[1].id));
        assert_eq!(named("01900001", &nodes), Ok(nodes[1].id));
        assert_eq!(named("0190", &nodes).unwrap_err().code, "node.none");
        assert_eq!(named("123456", &nodes).unwrap_err().code, "node.none");
        let twice = [nodes[0].clone(), nodes[0].clone()];
        assert_eq!(named("203159", &twice).unwrap_err().code, "node.many");
    }
}
