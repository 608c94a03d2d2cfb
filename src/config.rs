//! One typed configuration file (TOML). What a node is follows from the sections present (DESIGN §1).
//!
//! Unknown fields are rejected with file, line and field; durations and sizes carry their unit in the
//! field's name.
pub mod page;

use crate::address::{Address, MOST_ADDRESSES};
use page::Page;
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};
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
    /// Whether to take sound by the parent's multicast group, where it has one.
    #[serde(default = "yes")]
    pub multicast: bool,
    /// Whether to take sound from two parents at once, where there are two: for wired links.
    #[serde(default)]
    pub both: bool,
    /// Of several renditions, the highest that is taken, b/s; `None`: the first that a source lists.
    #[serde(default)]
    pub bitrate: Option<u32>,
    /// MiB of sound in a day; as it runs out, lower renditions are taken.
    #[serde(default)]
    pub data_mib_per_day: Option<u64>,
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
    /// What all children of one shard together may send in beats (keep-alive, report, clock), datagrams a second; as a
    /// branch has it, if left out.
    pub beats_per_second: Option<u32>,
    /// Source-specific group (232/8, ff3x::/32) and port of the first shard, by which sound goes once for all
    /// children of a LAN; shard n takes port + n.
    pub multicast: Option<SocketAddr>,
    /// Name of the interface for it, where the routing table does not say.
    pub interface: Option<String>,
    /// `host:port` of the first shard of other parents that stand in for this one; as many shards each as this one.
    #[serde(default)]
    pub siblings: Vec<String>,
}

/// This node may speak itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    /// `authorities/<name>.key` in the data folder.
    pub authority: String,
    /// Of each Opus rendition, b/s; all are aired, and a node takes the first unless it says otherwise. Never empty once parsed.
    #[serde(default, deserialize_with = "some_bitrates")]
    pub bitrates: Vec<u32>,
    /// The one rendition's, as older configurations say it; empty once parsed.
    #[serde(default)]
    bitrate: Option<u32>,
    /// Of the Opus encoder, 0 to 10.
    #[serde(default = "complexity")]
    pub complexity: i32,
    /// Integrated, LUFS.
    #[serde(default = "loudness")]
    pub loudness: f64,
    /// True peak allowed, dBTP.
    #[serde(default = "peak")]
    pub peak: f64,
    /// Treats what comes as speech through a horn.
    #[serde(default)]
    pub speech: bool,
    /// Of silence left standing at the beginning and the end of a file; -1 leaves all.
    #[serde(default = "silence")]
    pub silence_ms: i32,
    /// A program called like ffmpeg, for what Loa doesn't read itself.
    pub decoder: Option<PathBuf>,
}

impl Sources {
    /// All but the authority by default.
    pub fn new(authority: impl Into<String>) -> Self {
        Self {
            authority: authority.into(),
            bitrates: vec![BITRATE],
            bitrate: None,
            complexity: complexity(),
            loudness: loudness(),
            peak: peak(),
            speech: false,
            silence_ms: silence(),
            decoder: None,
        }
    }
}

/// This node sounds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Playout {
    /// `wav:FILE`, `pipe:COMMAND`, `alsa:DEVICE` or `null`.
    pub device: String,
    /// Rate error of the modelled sound card behind `wav:` and `null`, parts per million, ±500.
    #[serde(default)]
    pub rate_error_ppm: f64,
    /// The configuration file's folder: where a command runs. Not a field of the file.
    #[serde(skip)]
    pub folder: PathBuf,
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
    pub fn load(file: &Path) -> Result<Self, Error> {
        let length = std::fs::metadata(file).map_err(|error| unreadable(file, &error))?.len();
        if length > LONGEST {
            return Err(Error {
                code: "config.too_long",
                text: format!("{}: {length} bytes are no configuration; at most {LONGEST} are read", file.display()),
            });
        }
        let text = std::fs::read_to_string(file).map_err(|error| unreadable(file, &error))?;
        Self::parse(&text, file)
    }

    /// The same from text; `file` names it in errors and anchors relative paths.
    pub fn parse(text: &str, file: &Path) -> Result<Self, Error> {
        let page = Page { text, file };
        let mut config: Self = toml::from_str(text).map_err(|error| page.refuse(&error))?;
        config.check(&page)?;
        if let Some(sources) = &mut config.sources
            && sources.bitrates.is_empty()
        {
            sources.bitrates = vec![sources.bitrate.take().unwrap_or(BITRATE)];
        }
        let folder = file.parent().unwrap_or(Path::new(""));
        config.node.data = folder.join(&config.node.data);
        if let Some(playout) = &mut config.playout {
            // An empty path is no folder that a command could run in.
            playout.folder = folder.join(".");
            if let Some(name) = playout.device.strip_prefix("wav:") {
                playout.device = format!("wav:{}", folder.join(name).display());
            }
        }
        Ok(config)
    }

    fn check(&self, page: &Page<'_>) -> Result<(), Error> {
        if self.node.data.as_os_str().is_empty() {
            return Err(page.wrong("node", "data", "is empty; name the data folder, such as \"data\""));
        }
        if self.parent.is_none() && self.children.is_none() && self.sources.is_none() && self.playout.is_none() {
            return Err(page.wrong(
                "node",
                "",
                "this node would do nothing: add [parent], [children], [sources] or [playout]",
            ));
        }
        if self.playout.is_some() && self.parent.is_none() && self.sources.is_none() {
            return Err(page.wrong(
                "playout",
                "",
                "nothing could ever sound here: add [parent], which orders and sound come from, or [sources]",
            ));
        }
        if self.api.is_some() && self.sources.is_none() && self.children.is_none() {
            return Err(page.wrong(
                "api",
                "",
                "an API without [sources] or [children] has nothing to command or show: remove it, or add one",
            ));
        }
        if let Some(parent) = &self.parent {
            check_parent(parent, page)?;
        }
        if let Some(children) = &self.children {
            let last = u32::from(children.listen.port()) + u32::from(children.shards);
            if !(1..=MOST_SHARDS).contains(&children.shards) {
                return Err(page.wrong("children", "shards", &format!("must be 1 to {MOST_SHARDS}")));
            }
            if children.listen.port() != 0 && last > 65_536 {
                return Err(page.wrong("children", "listen", "port + shards goes past 65535; choose a lower port"));
            }
            if children.beats_per_second.is_some_and(|beats| !BEATS.contains(&beats)) {
                let text = format!("must be {} to {}", BEATS.start(), BEATS.end());
                return Err(page.wrong("children", "beats_per_second", &text));
            }
            if children.siblings.len() > MOST_ADDRESSES {
                return Err(page.wrong("children", "siblings", &format!("must name at most {MOST_ADDRESSES}")));
            }
            check_addresses(page, "children", "siblings", &children.siblings, children.shards)?;
            check_multicast(children, page)?;
        }
        if let Some(sources) = &self.sources {
            check_sources(sources, page)?;
        }
        if let Some(playout) = &self.playout {
            check_playout(playout, page)?;
        }
        if !self.admin.listen.ip().is_loopback() {
            return Err(page.wrong(
                "admin",
                "listen",
                "must be a loopback address, such as \"127.0.0.1:9460\": the admin listener asks for no token",
            ));
        }
        Ok(())
    }
}

fn check_parent(parent: &Parent, page: &Page<'_>) -> Result<(), Error> {
    if !(1..=MOST_PARENTS).contains(&parent.addresses.len()) {
        return Err(page.wrong("parent", "addresses", &format!("must name 1 to {MOST_PARENTS} parents")));
    }
    if !(1..=MOST_SHARDS).contains(&parent.shards) {
        return Err(page.wrong("parent", "shards", &format!("must be 1 to {MOST_SHARDS}, as the parent has")));
    }
    if parent.bitrate.is_some_and(|bitrate| !BITRATES.contains(&bitrate)) {
        return Err(page.wrong("parent", "bitrate", "is in bits per second, 6000 to 64000"));
    }
    if parent.data_mib_per_day.is_some_and(|data| !(1..=MOST_DATA).contains(&data)) {
        return Err(page.wrong("parent", "data_mib_per_day", &format!("must be 1 to {MOST_DATA} MiB, or left out")));
    }
    check_addresses(page, "parent", "addresses", &parent.addresses, parent.shards)
}

fn check_addresses(page: &Page<'_>, table: &str, field: &str, hosts: &[String], shards: u16) -> Result<(), Error> {
    let wrong = hosts.iter().find_map(|host| Address::new(host, shards).err());
    wrong.map_or(Ok(()), |error| Err(page.wrong(table, field, &error.to_string())))
}

fn check_multicast(children: &Children, page: &Page<'_>) -> Result<(), Error> {
    let wrong = |field, what: &str| Err(page.wrong("children", field, what));
    let Some(group) = children.multicast else {
        return match children.interface {
            Some(_) => wrong("interface", "is for multicast; add multicast, or remove it"),
            None => Ok(()),
        };
    };
    if !is_source_specific(group) {
        return wrong(
            "multicast",
            "must be a source-specific group (232.0.1.0 to 232.255.255.255, or ff3x::/32) and a port, such as \"232.7.4.60:7470\" or \"[ff35::8000:1]:7470\"",
        );
    }
    if group.is_ipv6() && children.listen.is_ipv4() {
        return wrong("multicast", "is IPv6 while listen is IPv4; use one family");
    }
    if u32::from(group.port()) + u32::from(children.shards) > 65_536 {
        return wrong("multicast", "port + shards goes past 65535; choose a lower port");
    }
    Ok(())
}

/// Whether an address names a group that a source can have for itself.
pub fn is_source_specific(address: SocketAddr) -> bool {
    let range = match address.ip() {
        // 232.0.0.0/24 is reserved (RFC 4607 §1).
        IpAddr::V4(four) => four.octets()[0] == 232 && four.octets()[1..3] != [0, 0],
        // Unicast-prefix-based with a prefix of no length (RFC 3306 §6, RFC 4607 §1): ff3x::/96, any scope.
        IpAddr::V6(six) => six.segments()[0] & 0xfff0 == 0xff30 && six.segments()[1..6] == [0; 5],
    };
    range && address.port() != 0
}

fn check_sources(sources: &Sources, page: &Page<'_>) -> Result<(), Error> {
    let wrong = |field: &str, what: &str| Err(page.wrong("sources", field, what));
    if !is_name(&sources.authority) {
        return wrong(
            "authority",
            "is a name of letters, digits, '-', '_' and '.', for authorities/<name>.key in the data folder",
        );
    }
    if sources.bitrate.is_some() && !sources.bitrates.is_empty() {
        return wrong("bitrate", "says again what bitrates says; remove it");
    }
    if sources.bitrate.is_some_and(|bitrate| !BITRATES.contains(&bitrate)) {
        return wrong("bitrate", "is in bits per second, 6000 to 64000");
    }
    let (bitrates, count) = (&sources.bitrates, sources.bitrates.len());
    if count > MOST_RENDITIONS || !bitrates.iter().all(|bitrate| BITRATES.contains(bitrate)) {
        return wrong("bitrates", &format!("are 1 to {MOST_RENDITIONS}, in bits per second, 6000 to 64000 each"));
    }
    if (1..count).any(|at| bitrates[..at].contains(&bitrates[at])) {
        return wrong("bitrates", "names one of them twice; remove it");
    }
    if !(0..=10).contains(&sources.complexity) {
        return wrong("complexity", "must be 0 to 10");
    }
    if !(-70.0..=0.0).contains(&sources.loudness) {
        return wrong("loudness", "must be -70 to 0 LUFS");
    }
    if !(-70.0..=0.0).contains(&sources.peak) {
        return wrong("peak", "must be -70 to 0 dBTP");
    }
    if !(-1..=60_000).contains(&sources.silence_ms) {
        return wrong("silence_ms", "must be 0 to 60000 milliseconds, or -1 to leave all silence");
    }
    if sources.decoder.as_ref().is_some_and(|program| program.as_os_str().is_empty()) {
        return wrong("decoder", "is empty; name a program such as \"ffmpeg\", or leave it out");
    }
    Ok(())
}

fn check_playout(playout: &Playout, page: &Page<'_>) -> Result<(), Error> {
    let wrong = |key, what: &str| Err(page.wrong("playout", key, what));
    let (kind, rest) = playout.device.split_once(':').unwrap_or((&playout.device, ""));
    let (known, named) = (matches!(kind, "wav" | "pipe" | "alsa"), !rest.trim().is_empty() && !rest.contains('\0'));
    if !(known && named) && playout.device != "null" {
        return wrong("device", "must be \"wav:FILE\", \"pipe:COMMAND\", \"alsa:DEVICE\" or \"null\"");
    }
    if kind == "alsa" && !cfg!(feature = "sound") {
        return wrong("device", WITHOUT_SOUND);
    }
    if !(-500.0..=500.0).contains(&playout.rate_error_ppm) {
        return wrong("rate_error_ppm", "must be -500 to 500 parts per million");
    }
    if playout.rate_error_ppm != 0.0 && matches!(kind, "pipe" | "alsa") {
        return wrong("rate_error_ppm", "is of the modelled sound card behind wav: and null; remove it");
    }
    Ok(())
}

fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && !text.starts_with('.') && text.len() <= 64 && text.chars().all(plain)
}

fn unreadable(file: &Path, error: &std::io::Error) -> Error {
    Error {
        code: "config.unreadable",
        text: format!("{}: {error}; name a readable file with --config", file.display()),
    }
}

fn zone() -> chrono_tz::Tz {
    chrono_tz::Asia::Ho_Chi_Minh
}

fn yes() -> bool {
    true
}

fn one() -> u16 {
    1
}

fn complexity() -> i32 {
    10
}

fn loudness() -> f64 {
    -16.0
}

fn some_bitrates<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
    let bitrates = Vec::deserialize(deserializer)?;
    match bitrates.is_empty() {
        true => Err(serde::de::Error::custom("names no rendition; leave it out for one of 24000")),
        false => Ok(bitrates),
    }
}

fn peak() -> f64 {
    -1.5
}

fn silence() -> i32 {
    500
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

/// Why `alsa:` is not to be had, and the mend.
pub const WITHOUT_SOUND: &str = "this loa was built without sound cards: build with --features sound";
/// A configuration is a page of text; more is the wrong file.
const LONGEST: u64 = 1 << 20;
/// Fewer, and a thousand children would have no clock; more, and a core has no time for anything else.
const BEATS: std::ops::RangeInclusive<u32> = 200..=40_000;
/// More shards than any machine has cores for; a larger number is a typing mistake.
const MOST_SHARDS: u16 = 256;
/// Opus, mono speech.
const BITRATES: std::ops::RangeInclusive<u32> = 6_000..=64_000;
const BITRATE: u32 = 24_000;
/// MiB in a day: a TiB, more than any link of a speaker carries.
const MOST_DATA: u64 = 1 << 20;
/// As `audio::Options` takes.
const MOST_RENDITIONS: usize = 4;
/// A child keeps two sessions (DESIGN §4); spares beyond four were never wanted.
const MOST_PARENTS: usize = 4;

#[cfg(test)]
mod tests;
