//! One typed configuration file (TOML). What a node is follows from the sections present (DESIGN §1).
//!
//! Unknown fields are rejected with file, line and field, and every other mistake with them, at once; durations and
//! sizes carry their unit in the field's name.
//!
//! ```text
//!   text ─▶ read: every type and name ─▶ rules: ranges, contradictions ─▶ Config, or all mistakes, each on its page
//! ```
mod mistake;
pub mod page;
mod read;
mod rules;
mod words;

pub use mistake::{Error, Mistake, Said};
pub use rules::is_device;

use page::Page;
use read::Reading;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub node: Node,
    pub enrol: Option<Enrol>,
    pub parent: Option<Parent>,
    pub children: Option<Children>,
    pub sources: Option<Sources>,
    pub playout: Option<Playout>,
    pub api: Option<Api>,
    #[serde(default)]
    pub timetable: Timetable,
    #[serde(default)]
    pub clock: Clock,
    #[serde(default)]
    pub admin: Admin,
    #[serde(default)]
    pub log: Log,
    pub telemetry: Option<Telemetry>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// The data folder; relative to the configuration file.
    pub data: PathBuf,
    /// Zone in which times are shown.
    #[serde(default = "zone")]
    pub zone: chrono_tz::Tz,
    /// MiB of disk that stored sound may take: fetched ahead, given up by need.
    #[serde(default)]
    pub stored_mib: Option<u64>,
}

/// How a node comes by its identity that has none yet.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrol {
    /// As `loa enrol --count` wrote it.
    pub ticket: String,
}

/// Where orders and sound come from.
#[derive(Clone, Debug, PartialEq, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Playout {
    /// `wav:FILE`, `pipe:COMMAND`, `alsa:DEVICE` or `null`.
    pub device: String,
    /// Rate error of the modelled sound card behind `wav:` and `null`, parts per million, ±500.
    #[serde(default)]
    pub rate_error_ppm: f64,
    /// Volumes beside the sound as it came, -30 dB to 0, as long as no settings come from above.
    #[serde(default)]
    pub normal_db: f64,
    #[serde(default)]
    pub priority_db: f64,
    #[serde(default)]
    pub emergency_db: f64,
    /// No real emergency sounds with less; -6 dB at the least.
    #[serde(default = "floor")]
    pub emergency_floor_db: f64,
    /// What normal and priority may be by the hour, at most.
    #[serde(default)]
    pub hours: Vec<Hours>,
    /// A file that says 1 or 0: on mutes normal and priority for half an hour.
    pub mute_switch: Option<PathBuf>,
    /// The configuration file's folder: where a command runs. Not a field of the file.
    #[serde(skip)]
    pub folder: PathBuf,
}

impl Playout {
    /// All but the device by default.
    pub fn new(device: impl Into<String>) -> Self {
        Self {
            device: device.into(),
            rate_error_ppm: 0.0,
            normal_db: 0.0,
            priority_db: 0.0,
            emergency_db: 0.0,
            emergency_floor_db: floor(),
            hours: Vec::new(),
            mute_switch: None,
            folder: PathBuf::new(),
        }
    }
}

/// From one time of the local day until another, over midnight too.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    /// HH:MM. What is left out is told with the rest of what is wrong with it.
    #[serde(default)]
    pub from: String,
    #[serde(default)]
    pub until: String,
    #[serde(default = "none")]
    pub most_db: f64,
}

/// Minutes of the day of a time like 21:30.
pub fn minute_of_day(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':').filter(|_| text.len() == 5)?;
    let digits =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u16>().ok()).flatten();
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
}

/// HTTP/JSON for people and programs.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Api {
    #[serde(default = "api")]
    pub listen: SocketAddr,
    /// `postgres://USER@HOST/NAME` in the place of `loa.db` in the data folder.
    #[serde(default)]
    pub database: Option<String>,
    /// Receipts and the as-run log are kept for so long.
    #[serde(default = "keep_days")]
    pub keep_days: u32,
}

/// What a node with `[sources]` and `[api]` airs by itself. The files are what it begins with: once people have put
/// others in their place, those in the data folder hold.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timetable {
    /// JSON; relative to the configuration file, as all of them.
    pub entries: Option<PathBuf>,
    pub policies: Option<PathBuf>,
    /// The register of areas: CSV, or JSON if its name ends so.
    pub register: Option<PathBuf>,
    /// So many hours ahead orders are given.
    pub hours: u16,
    /// Live sources by the names that entries call them: `http://…`, or `pipe:COMMAND`, whose standard output is sound.
    pub streams: BTreeMap<String, String>,
    /// The configuration file's folder: where a command runs. Not a field of the file.
    #[serde(skip)]
    pub folder: PathBuf,
}

impl Default for Timetable {
    fn default() -> Self {
        let (streams, folder) = (BTreeMap::new(), PathBuf::new());
        Self { entries: None, policies: None, register: None, hours: HOURS, streams, folder }
    }
}

/// Whether this machine's own clock is believed where no parent tells the time.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clock {
    pub trusted: Trusted,
    /// By how many milliseconds it may be off, with no network for three days. Must be stated for an RTC; 50 for NTP, 10
    /// for GNSS.
    pub error_ms: Option<u32>,
}

impl Clock {
    /// µs; `None` where it is not trusted.
    pub fn error(&self) -> Option<u64> {
        let millis = match self.trusted {
            Trusted::None => return None,
            Trusted::Rtc => self.error_ms?,
            Trusted::Ntp => self.error_ms.unwrap_or(50),
            Trusted::Gnss => self.error_ms.unwrap_or(10),
        };
        Some(u64::from(millis) * 1_000)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trusted {
    #[default]
    None,
    /// A battery keeps it while the power is off.
    Rtc,
    /// While the kernel says that something sets it.
    Ntp,
    Gnss,
}

/// `/metrics`, `/healthz`, `/readyz`; loopback.
#[derive(Clone, Debug, PartialEq, Deserialize)]
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

/// What the node says of itself on standard error.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// `info`, or a filter such as `info,loa::io=debug`; `LOA_LOG` of the environment comes before it.
    pub level: Option<String>,
}

/// Where the traces of a process that runs this node go, if it was built with the feature `otel`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// `http://HOST:PORT` of a collector; `/v1/traces` and `/v1/logs` are put behind it.
    pub otlp: String,
    /// As of the log, whose level holds where this is left out.
    pub level: Option<String>,
}

impl Config {
    /// Reads and checks a file; every mistake that can be found without starting is found here, all at once.
    pub fn load(file: &Path) -> Result<Self, Error> {
        Self::parse(&Self::read(file)?, file)
    }

    fn read(file: &Path) -> Result<String, Error> {
        let length = std::fs::metadata(file).map_err(|error| unreadable(file, &error))?.len();
        if length > LONGEST {
            let said = Said::new(
                format!("{length} byte không phải là tệp cấu hình; chỉ đọc tối đa {LONGEST}"),
                format!("{length} bytes are no configuration; at most {LONGEST} are read"),
            );
            return Err(whole(file, "config.too_long", said).into());
        }
        std::fs::read_to_string(file).map_err(|error| unreadable(file, &error))
    }

    /// The same from text; `file` names it in errors and anchors relative paths.
    pub fn parse(text: &str, file: &Path) -> Result<Self, Error> {
        match Self::survey_text(text, file)? {
            (config, unbuilt) if unbuilt.is_empty() => Ok(config),
            (_, unbuilt) => Err(Error::of(unbuilt)),
        }
    }

    /// A file that says nothing wrong, and what it asks for that this build has not: whoever looks at a machine looks on.
    pub fn survey(file: &Path) -> Result<(Self, Vec<Mistake>), Error> {
        Self::survey_text(&Self::read(file)?, file)
    }

    fn survey_text(text: &str, file: &Path) -> Result<(Self, Vec<Mistake>), Error> {
        let page = Page { text, file };
        let (mut reading, config) = Reading::new(&page);
        if let Some(config) = &config {
            rules::check(config, &mut reading);
        }
        let mut mistakes = reading.mistakes;
        mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
        let mut config = match config {
            Some(config) if mistakes.iter().all(|mistake| mistake.code == rules::NO_SOUND) => config,
            _ => return Err(Error::of(mistakes)),
        };
        if let Some(sources) = &mut config.sources
            && sources.bitrates.is_empty()
        {
            sources.bitrates = vec![sources.bitrate.take().unwrap_or(BITRATE)];
        }
        let folder = file.parent().unwrap_or(Path::new(""));
        config.node.data = folder.join(&config.node.data);
        let Timetable { entries, policies, register, .. } = &mut config.timetable;
        for file in [entries, policies, register].into_iter().flatten() {
            *file = folder.join(&*file);
        }
        config.timetable.folder = folder.join(".");
        if let Some(playout) = &mut config.playout {
            // An empty path is no folder that a command could run in.
            playout.folder = folder.join(".");
            playout.mute_switch = playout.mute_switch.take().map(|file| folder.join(file));
            if let Some(name) = playout.device.strip_prefix("wav:") {
                playout.device = format!("wav:{}", folder.join(name).display());
            }
        }
        Ok((config, mistakes))
    }

    /// Bytes of disk that stored sound may take: three days of all that a loudspeaker hears, or of a province's.
    pub fn stored(&self) -> u64 {
        let usual = if self.children.is_some() { 8_192 } else { 1_024 };
        self.node.stored_mib.unwrap_or(usual) << 20
    }

    /// Which sections there are: what the node is.
    pub fn sections(&self) -> Vec<&'static str> {
        let all = [
            ("parent", self.parent.is_some()),
            ("children", self.children.is_some()),
            ("sources", self.sources.is_some()),
            ("playout", self.playout.is_some()),
            ("api", self.api.is_some()),
        ];
        all.into_iter().filter_map(|(name, there)| there.then_some(name)).collect()
    }
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

fn unreadable(file: &Path, error: &std::io::Error) -> Error {
    let said = Said::new(
        format!("{error}; chỉ ra một tệp đọc được bằng --config"),
        format!("{error}; name a readable file with --config"),
    );
    whole(file, "config.unreadable", said).into()
}

/// A mistake of the file, not of a line of it.
fn whole(file: &Path, code: &'static str, said: Said) -> Mistake {
    Mistake { code, file: file.to_owned(), line: 0, column: 0, field: String::new(), said }
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

/// No volume.
fn none() -> f64 {
    f64::NAN
}

fn floor() -> f64 {
    -6.0
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

fn keep_days() -> u32 {
    365
}

fn admin() -> SocketAddr {
    ([127, 0, 0, 1], 9460).into()
}

/// Why `alsa:` is not to be had, and the mend.
pub const WITHOUT_SOUND: &str = "this loa was built without sound cards: build with --features sound";
/// Why `[telemetry]` is not to be had, and the mend.
pub const WITHOUT_TELEMETRY: &str =
    "this loa was built without OpenTelemetry: build with --features otel, or remove the section";
/// A configuration is a page of text; more is the wrong file.
const LONGEST: u64 = 1 << 20;
/// A day beyond the three that stations live through alone.
const HOURS: u16 = 96;
/// Opus, mono speech.
const BITRATE: u32 = 24_000;

#[cfg(test)]
mod tests;
