//! One typed configuration file (TOML). What a node is follows from the sections present (DESIGN §1).
//!
//! Unknown fields are rejected with file, line and field; durations and sizes carry their unit in the
//! field's name.
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub node: Node,
    pub parent: Option<Parent>,
    pub children: Option<Children>,
    pub sources: Option<Sources>,
    pub playout: Option<Playout>,
    pub api: Option<Api>,
    #[serde(default)]
    pub admin: Admin,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// The data folder; relative to the configuration file.
    pub data: PathBuf,
    /// Zone in which times are shown.
    #[serde(default = "zone")]
    pub zone: chrono_tz::Tz,
}

/// Where orders and sound come from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    /// `host:port` of each parent's first shard.
    pub addresses: Vec<String>,
    /// How many shards each parent has: the node picks port + hash(id) mod shards.
    #[serde(default = "one")]
    pub shards: u16,
}

/// Who may dial in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Children {
    /// Address and port of the first shard; shard n takes port + n.
    #[serde(default = "sessions")]
    pub listen: SocketAddr,
    /// Threads, one UDP port each.
    #[serde(default = "one")]
    pub shards: u16,
}

/// This node may speak itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    /// `authorities/<name>.key` in the data folder.
    pub authority: String,
    #[serde(default = "bitrate")]
    pub bitrate: u32,
}

/// This node sounds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Playout {
    /// `wav:FILE` or `null`.
    pub device: String,
    /// Rate error of the modelled sound card behind `wav:` and `null`, parts per million, ±500.
    #[serde(default)]
    pub rate_error_ppm: f64,
}

/// HTTP/JSON for people and programs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Api {
    #[serde(default = "api")]
    pub listen: SocketAddr,
}

/// `/metrics`, `/healthz`, `/readyz`; loopback.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    #[serde(default = "admin")]
    pub listen: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: admin() }
    }
}

/// What is wrong with a configuration: file, line, field and mend in one text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    pub code: &'static str,
    pub text: String,
}

impl Config {
    /// Reads and checks a file; every mistake that can be found without starting is found here.
    pub fn load(_file: &Path) -> Result<Self, Error> {
        todo!()
    }

    /// The same from text; `file` names it in errors and anchors relative paths.
    pub fn parse(_text: &str, _file: &Path) -> Result<Self, Error> {
        todo!()
    }
}

fn zone() -> chrono_tz::Tz {
    chrono_tz::Asia::Ho_Chi_Minh
}

fn one() -> u16 {
    1
}

fn bitrate() -> u32 {
    24_000
}

fn sessions() -> SocketAddr {
    ([0, 0, 0, 0], 7460).into()
}

fn api() -> SocketAddr {
    ([127, 0, 0, 1], 8460).into()
}

fn admin() -> SocketAddr {
    ([127, 0, 0, 1], 9460).into()
}
