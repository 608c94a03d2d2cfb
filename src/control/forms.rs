//! The JSON that the API takes and gives; the client reads the same forms.
use super::when;
use crate::broadcast::{self, Priority};
use crate::node::trunk;
use crate::proto;
use crate::time::Civil;
use chrono_tz::Tz;
use prost::Message;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    #[default]
    Normal,
    Priority,
    Emergency,
}

impl From<Level> for Priority {
    fn from(level: Level) -> Self {
        match level {
            Level::Normal => Self::Normal,
            Level::Priority => Self::Priority,
            Level::Emergency => Self::Emergency,
        }
    }
}

impl From<Priority> for Level {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Normal => Self::Normal,
            Priority::Priority => Self::Priority,
            Priority::Emergency => Self::Emergency,
        }
    }
}

/// Whether what is aired is so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    #[default]
    Real,
    Exercise,
    Test,
}

impl From<Purpose> for broadcast::Purpose {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Real => Self::Real,
            Purpose::Exercise => Self::Exercise,
            Purpose::Test => Self::Test,
        }
    }
}

impl From<broadcast::Purpose> for Purpose {
    fn from(purpose: broadcast::Purpose) -> Self {
        match purpose {
            broadcast::Purpose::Real => Self::Real,
            broadcast::Purpose::Exercise => Self::Exercise,
            broadcast::Purpose::Test => Self::Test,
        }
    }
}

/// `POST /v1/broadcasts`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Air {
    /// Id of an upload; left out with `prepared`.
    #[serde(default)]
    pub media: String,
    /// A prepared broadcast, in the place of an upload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepared: Option<Uuid>,
    pub areas: Vec<String>,
    #[serde(default)]
    pub priority: Level,
    #[serde(default)]
    pub purpose: Purpose,
    /// RFC 3339 with offset; now if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// The file's name if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<i64>,
    /// Goes on where it was when something pre-empted it.
    #[serde(default)]
    pub resume: bool,
    /// An upload sounds so often, with so much silence between; once if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    #[serde(default)]
    pub pause_ms: u32,
}

/// `POST /v1/prepared`: sound that everybody there keeps ready.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prepare {
    /// Id of an upload.
    pub media: String,
    pub areas: Vec<String>,
    /// What it is called: hazard and language.
    pub title: String,
    pub days: i64,
}

/// `POST /v1/stop`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    pub areas: Vec<String>,
    #[serde(default = "ten")]
    pub minutes: i64,
}

fn ten() -> i64 {
    10
}

/// The answer to [`Air`]. Times in the node's zone, and in µs Unix UTC.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Aired {
    pub id: Uuid,
    pub accepted: String,
    pub accepted_us: i64,
    pub from: String,
    pub from_us: i64,
    pub until: String,
    pub until_us: i64,
    /// When the first sound leaves the speakers.
    pub sounds: String,
    pub sounds_us: i64,
    /// Why fewer may hear it than was asked for: it is on the air all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Fault>,
}

impl Aired {
    pub fn new(id: Uuid, [accepted, from, until, sounds]: [Civil; 4], zone: Tz) -> Self {
        Self {
            id,
            accepted: when::show(accepted, zone),
            accepted_us: accepted.0,
            from: when::show(from, zone),
            from_us: from.0,
            until: when::show(until, zone),
            until_us: until.0,
            sounds: when::show(sounds, zone),
            sounds_us: sounds.0,
            warnings: Vec::new(),
        }
    }
}

/// `GET /v1/live`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AllLive {
    /// The newest first.
    pub live: Vec<Live>,
}

/// A live source: `GET /v1/live/{id}`, and the answer to its stream once that has ended. Levels in dBFS as the
/// sound came in; absent for digital silence.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Live {
    pub id: Uuid,
    /// "waiting" for its first sound, "on_air", "ended".
    pub state: String,
    pub title: String,
    pub areas: Vec<String>,
    pub priority: Level,
    /// What the stream turned out to be.
    pub format: Option<String>,
    pub broadcast: Option<Aired>,
    /// When its first word is heard: behind an emergency's tone.
    pub speech: Option<String>,
    pub speech_us: Option<i64>,
    pub received_bytes: u64,
    pub packets: u64,
    /// Aired so far.
    pub seconds: f64,
    pub peak_db: Option<f64>,
    /// Over the last 400 ms.
    pub level_db: Option<f64>,
    /// Of the slow gain.
    pub gain_db: f64,
    pub silent: bool,
    pub silent_since: Option<String>,
    pub overloaded: bool,
    /// Stretches of silence aired because nothing came in.
    pub gaps: u64,
    pub missing_ms: i64,
    /// Sound that waits to be aired.
    pub reserve_ms: i64,
    /// How much slower than the node's clock the source's runs.
    pub slow_ppm: f64,
    /// Packets or samples for which there was no room.
    pub dropped: u64,
    /// Why it ended, or was never aired.
    pub end: Option<Fault>,
}

/// `GET /v1/authorities`: who may say what.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Authorities {
    pub authorities: Vec<Authority>,
    #[serde(default)]
    pub locks: Vec<Locked>,
}

/// A lock in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Locked {
    /// Id of its order: what releases it.
    pub lock: Uuid,
    pub key: String,
    /// Empty: everywhere.
    pub areas: Vec<String>,
}

impl Locked {
    pub fn new(locked: &trunk::Locked) -> Self {
        let areas = locked.areas.iter().map(ToString::to_string).collect();
        Self { lock: locked.order, key: locked.key.to_string(), areas }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Authority {
    /// The first 16 bytes of SHA-256(public key), in hex.
    pub key: String,
    pub name: String,
    pub areas: Vec<String>,
    pub kinds: Vec<String>,
    pub up_to: Level,
    pub from: String,
    pub until: String,
    pub until_us: i64,
    /// Neither expired nor revoked, nor anybody above it.
    pub alive: bool,
}

impl Authority {
    pub fn new(granted: &trunk::Granted, zone: Tz) -> Self {
        let grant = &granted.grant;
        Self {
            key: grant.key.id().to_string(),
            name: grant.name.clone(),
            areas: grant.areas.iter().map(ToString::to_string).collect(),
            kinds: grant.kinds.iter().map(|kind| format!("{kind:?}").to_lowercase()).collect(),
            up_to: grant.up_to.into(),
            from: when::show(grant.from, zone),
            until: when::show(grant.until, zone),
            until_us: grant.until.0,
            alive: granted.alive,
        }
    }
}

/// `POST /v1/authorities`: an order signed elsewhere.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Give {
    /// A message `Signed` of loa.v1, in hex.
    pub order: String,
}

impl Give {
    pub fn new(order: &proto::Signed) -> Self {
        Self { order: order.encode_to_vec().iter().map(|byte| format!("{byte:02x}")).collect() }
    }

    pub fn read(&self) -> Option<proto::Signed> {
        let digits = Some(self.order.as_bytes()).filter(|digits| digits.len() % 2 == 0 && self.order.is_ascii())?;
        let pairs = digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        proto::Signed::decode(pairs.collect::<Option<Vec<u8>>>()?.as_slice()).ok()
    }
}

/// The answer to a cancel and a stop.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Done {
    /// Id of the order that was given.
    pub order: Uuid,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Broadcasts {
    pub broadcasts: Vec<Listed>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Listed {
    pub id: Uuid,
    pub title: String,
    pub areas: Vec<String>,
    pub priority: Level,
    #[serde(default)]
    pub purpose: Purpose,
    pub from: String,
    pub from_us: i64,
    pub until: String,
    pub until_us: i64,
    pub state: String,
    /// Kept ready; it does not sound by itself.
    #[serde(default)]
    pub prepared: bool,
}

impl Listed {
    pub fn new(listed: trunk::Listed, zone: Tz) -> Self {
        Self {
            id: listed.broadcast,
            title: listed.title,
            areas: listed.areas.iter().map(ToString::to_string).collect(),
            priority: listed.priority.into(),
            purpose: listed.purpose.into(),
            from: when::show(listed.from, zone),
            from_us: listed.from.0,
            until: when::show(listed.until, zone),
            until_us: listed.until.0,
            state: listed.state.into(),
            prepared: listed.prepared,
        }
    }
}

/// The answer to `GET /v1/nodes`: this node first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Nodes {
    pub zone: Tz,
    /// This node's civil time, once it knows it.
    pub now: Option<String>,
    pub now_us: Option<i64>,
    pub nodes: Vec<Node>,
}

/// What a node last said of itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Node {
    pub id: Uuid,
    pub name: String,
    pub area: String,
    pub role: String,
    pub parent: Option<Uuid>,
    pub state: String,
    pub buffer_us: i64,
    pub offset_us: i64,
    pub uncertainty_us: u64,
    pub received: u64,
    pub repaired: u64,
    pub lost: u64,
    /// Frames of 20 ms.
    pub concealed: u64,
    pub rejected: u64,
    pub sounding: Option<Uuid>,
    /// Newest broadcast that began to sound there, and when.
    pub first: Option<Uuid>,
    pub first_at: Option<String>,
    pub first_at_us: Option<i64>,
    /// Newest broadcast that sounded to its end there.
    pub ended: Option<Uuid>,
    /// What left its device in the last second, dBFS: sample peak and RMS, −100 for silence. `None` without a
    /// device, or from a node too old to say.
    #[serde(default)]
    pub peak_dbfs: Option<f64>,
    #[serde(default)]
    pub rms_dbfs: Option<f64>,
    /// b/s of the rendition that sounds there.
    #[serde(default)]
    pub bitrate: Option<u32>,
    /// What applies there now beside the sound as it came, decibels; of a node with a device.
    #[serde(default)]
    pub volume_db: Option<f64>,
    /// Until when normal and priority are silent there by somebody's wish.
    #[serde(default)]
    pub muted_until: Option<String>,
    #[serde(default)]
    pub muted_until_us: Option<i64>,
    /// Codes of what is wrong with its sound now, such as `sound.silent`.
    #[serde(default)]
    pub trouble: Vec<String>,
    /// When it said so.
    pub at: Option<String>,
    pub at_us: Option<i64>,
}

impl Node {
    pub fn new(report: &proto::Report, zone: Tz) -> Self {
        let id = |bytes: &[u8]| Uuid::from_slice(bytes).ok();
        let time = |micros: i64| (micros != 0).then_some(micros);
        let shown = |micros: i64| time(micros).map(|micros| when::show(Civil(micros), zone));
        Self {
            id: id(&report.node).unwrap_or_default(),
            name: report.name.clone(),
            area: report.area.clone(),
            role: report.role.clone(),
            parent: id(&report.parent),
            state: report.state.clone(),
            buffer_us: report.buffer,
            offset_us: report.offset,
            uncertainty_us: report.uncertainty,
            received: report.received,
            repaired: report.repaired,
            lost: report.lost,
            concealed: report.concealed,
            rejected: report.rejected,
            sounding: id(&report.sounding),
            first: id(&report.first),
            first_at: shown(report.first_at),
            first_at_us: time(report.first_at),
            ended: id(&report.ended),
            peak_dbfs: report.peak.map(|level| f64::from(level) / 100.0),
            rms_dbfs: report.rms.map(|level| f64::from(level) / 100.0),
            bitrate: Some(report.bitrate).filter(|bitrate| *bitrate > 0),
            volume_db: report.volume.map(|volume| f64::from(volume) / 10.0),
            muted_until: shown(report.muted),
            muted_until_us: time(report.muted),
            trouble: report.trouble.split_whitespace().map(str::to_owned).collect(),
            at: shown(report.at),
            at_us: time(report.at),
        }
    }
}

impl Node {
    /// Hours and minutes of the end of its mute, in the zone of the node that was asked.
    pub fn muted_clock(&self) -> Option<&str> {
        self.muted_until.as_deref().and_then(|until| until.split_once('T')?.1.get(..5))
    }
}

/// The answer to `GET /v1/events?after=N`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Events {
    pub events: Vec<Event>,
    /// Ask for what comes after this next time.
    pub next: u64,
    /// How many of those asked for are no longer kept.
    pub missed: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    pub number: u64,
    pub at: Option<String>,
    pub at_us: Option<i64>,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "lowercase")]
pub enum What {
    Order {
        id: Uuid,
        kind: String,
        title: String,
    },
    Refused {
        code: String,
        text: String,
    },
    Began {
        broadcast: Uuid,
        sounds: String,
        sounds_us: i64,
    },
    Ended {
        broadcast: Uuid,
        ends: String,
        ends_us: i64,
        /// Of a node that sounds.
        #[serde(skip_serializing_if = "Option::is_none")]
        whole: Option<bool>,
    },
    Parent {
        parent: usize,
        up: bool,
        reason: String,
    },
    Child {
        node: Uuid,
        up: bool,
    },
    Enrolled {
        node: Uuid,
    },
    Trouble {
        code: String,
        text: String,
    },
    Note {
        code: String,
        text: String,
        broadcast: Option<Uuid>,
    },
    Mended {
        code: String,
        text: String,
    },
}

impl Event {
    pub fn new(event: &trunk::Event, zone: Tz) -> Self {
        let what = match event.what.clone() {
            trunk::What::Order { id, kind, title } => What::Order { id, kind: kind.into(), title },
            trunk::What::Refused { code, text } => What::Refused { code, text },
            trunk::What::Began { broadcast, at } => {
                What::Began { broadcast, sounds: when::show(at, zone), sounds_us: at.0 }
            }
            trunk::What::Ended { broadcast, at, whole } => {
                What::Ended { broadcast, ends: when::show(at, zone), ends_us: at.0, whole }
            }
            trunk::What::Parent { parent, up, reason } => What::Parent { parent, up, reason },
            trunk::What::Child { node, up } => What::Child { node, up },
            trunk::What::Enrolled { node } => What::Enrolled { node },
            trunk::What::Trouble { code, text } => What::Trouble { code: code.into(), text },
            trunk::What::Note(trunk::Note { code, text, broadcast }) => {
                What::Note { code: code.into(), text, broadcast }
            }
            trunk::What::Mended { code, text } => What::Mended { code: code.into(), text },
        };
        Self { number: event.number, at: event.at.map(|at| when::show(at, zone)), at_us: event.at.map(|at| at.0), what }
    }
}

/// The answer to anything that was not done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fault {
    pub code: String,
    pub text: String,
}
