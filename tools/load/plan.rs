//! What a worker and its coordinator say to each other: lines of JSON, a [`Plan`] and then [`Command`]s down its
//! standard input, [`Report`]s up its standard output about once a second. A worker ends when its input does.
use crate::quantiles::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use uuid::Uuid;

/// What all speakers of a run have in common, and which of them are this worker's.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// `root.key` of a test tree, as `Root::save` wrote it: it certifies and places the speakers.
    pub root: PathBuf,
    /// Speakers are numbered through all workers; this one has `first .. first + count`. None dials before `Join`.
    pub first: u32,
    pub count: u32,
    /// Speaker `n` dials `places[n / together % places.len()]`.
    pub places: Vec<Place>,
    pub together: u32,
    /// One in so many unprotects every packet and checks its seal itself; the others compare theirs, byte by
    /// byte, with one that was. 0: none does.
    pub checked: u32,
    /// Of every socket, bytes.
    pub receive_buffer: usize,
    /// Sockets take several packets that left in one send in one read (UDP_GRO).
    pub gro: bool,
    /// µs slept between two looks at the sockets, so that one look finds many packets. As over a real network,
    /// the sender then does not pay for waking readers.
    pub nap_us: u64,
    /// The core to run on, and how far to give way to others there: 0 to 19.
    pub core: Option<usize>,
    pub nice: i32,
    /// Reconnects and the order of what is random come from this.
    pub seed: u64,
}

/// A parent and the area in which its speakers stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// One for each shard, in their order.
    pub addresses: Vec<SocketAddr>,
    pub area: String,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            root: PathBuf::new(),
            first: 0,
            count: 0,
            places: Vec::new(),
            together: 1,
            checked: 100,
            receive_buffer: 64 << 10,
            gro: false,
            nap_us: 1_000,
            core: None,
            nice: 0,
            seed: 1,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Dials so many more, the next by number, at most so many a second; they belong to `cohort`.
    Join { count: u32, per_second: f64, cohort: Cohort },
    /// Measuring begins: what is due from `from` (µs Unix UTC) on counts. `epoch` comes back in the reports.
    Hold { epoch: u32, from: i64 },
    /// Measuring ends: what is due from `until` on counts no more.
    Release { until: i64 },
    /// Drops the sessions of `count` speakers of a cohort without a word, and lets them dial again, all at once.
    Drop { count: u32, cohort: Cohort },
    /// Turns `count` of the well-behaved into hostile ones, kinds in turn.
    Turn { count: u32, kinds: Vec<Kind> },
    /// Says goodbye and ends.
    Finish,
}

/// Whose counts are kept apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cohort {
    #[default]
    Steady,
    /// Those of a storm.
    Newcomers,
    Hostile,
}

/// What a hostile listener does, once it has joined and heard its first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Never reads its socket again.
    Stalled,
    /// Takes sound in and drops all QUIC that comes: never acknowledges.
    Deaf,
    /// Asks for every packet again, 2,000 indices a second.
    Nacks,
    /// Reports of other nodes, other areas and endless loss.
    Lies,
    /// A new address every second under the same connection.
    Wanders,
    /// Sixteen sessions with one identity.
    Hydra,
}

impl Kind {
    pub const ALL: [Self; 6] = [Self::Stalled, Self::Deaf, Self::Nacks, Self::Lies, Self::Wanders, Self::Hydra];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stalled => "stalled",
            Self::Deaf => "deaf",
            Self::Nacks => "nacks",
            Self::Lies => "lies",
            Self::Wanders => "wanders",
            Self::Hydra => "hydra",
        }
    }
}

/// What a worker tells about once a second. Counts and histograms are of the time since its last report, but for
/// those that say "now".
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Of the last `Hold` that was obeyed.
    pub epoch: u32,
    /// Answers `Release`: the window's counts are final.
    pub released: bool,
    /// Now: the most packets of a track that leave in one send.
    pub together: u32,
    /// Now: asked to join; welcomed and told all orders in force; hearing a track of sound (at most two packets
    /// lack); of the last, by cohort.
    pub dialled: u64,
    pub joined: u64,
    pub streaming: u64,
    pub streaming_of: [u64; 3],
    /// Dials that failed and sessions that ended, by reason.
    pub ended: BTreeMap<String, u64>,
    /// First dial to orders in force, and to the first verified packet of sound, µs.
    pub welcomed: Histogram,
    pub first_packet: Histogram,
    /// All packets of sound of this second, whoever took them.
    pub packets: u64,
    pub delivery: Histogram,
    /// Packets due in the measured window, by cohort.
    pub window: [Tally; 3],
    pub orders: Vec<Heard>,
    /// Of a hostile listener, now: "stalled: up", "nacks: cut peer.flood".
    pub hostile: BTreeMap<String, u64>,
    /// Numbers of speakers of the steady cohort that an emergency or a hush has not reached now: the first few.
    pub unreached: Vec<u32>,
}

/// Packets of sound of one cohort.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Of the whole window until now, and final once `released`: indices due, and those that came.
    pub expected: u64,
    pub received: u64,
    /// Since the last report.
    pub repaired: u64,
    pub duplicates: u64,
    pub nacks: u64,
    /// Unprotected and the seal checked one by one; compared byte by byte with one that was; neither held.
    pub checked: u64,
    pub compared: u64,
    pub forged: u64,
    pub bytes: u64,
    pub delivery: Histogram,
}

/// An emergency or a hush, as this worker's speakers heard of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Heard {
    /// Of the order: an emergency's is the broadcast's.
    pub order: Uuid,
    pub hush: bool,
    /// Since `issued`, µs: the order's arrival; the first sound (for a hush: silence).
    pub arrival: Histogram,
    pub obeyed: Histogram,
}
