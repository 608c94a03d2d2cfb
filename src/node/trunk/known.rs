//! What this node knows of all below it, in numbers; and the names by which states, bounds and troubles are told.

/// Nodes in numbers. Counts of packets and frames are those that speakers added since this node knows of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// By [`STATES`].
    pub speakers: [u64; STATES.len()],
    pub relays: [u64; STATES.len()],
    /// Speakers with something wrong, by [`TROUBLES`]; the last stands for codes of later releases.
    pub troubled: [u64; TROUBLES.len() + 1],
    /// Speakers that sound more than 20 ms off, or don't know the time to 50 ms.
    pub out_of_step: u64,
    pub received: u64,
    pub repaired: u64,
    pub lost: u64,
    /// Frames of 20 ms.
    pub concealed: u64,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            speakers: [0; STATES.len()],
            relays: [0; STATES.len()],
            troubled: [0; TROUBLES.len() + 1],
            out_of_step: 0,
            received: 0,
            repaired: 0,
            lost: 0,
            concealed: 0,
        }
    }
}

/// What a node can be doing, as loa.proto names it. `unknown`: its relay is lost, or it is of a later release.
/// `waiting`: it has no place yet. `expelled`: it is no part of the tree any more.
pub const STATES: [&str; 9] =
    ["unknown", "joining", "idle", "buffering", "sounding", "hushed", "lost", "waiting", "expelled"];
/// Bounds of the trunk and of its sessions that [`super::Counters::dropped`] counts by.
pub const QUEUES: [&str; 12] = [
    "tracks",
    "stored",
    "made_packets",
    "reports",
    "reports_too_long",
    "parked_orders",
    "logs",
    "repeats",
    "enrolments",
    "receipts",
    "session.flood",
    "session.events",
];
/// Codes of what can be wrong with a node: with its sound, its disk, its clock, its certificate, its right to speak, its
/// parents, its timetable.
pub const TROUBLES: [&str; 33] = [
    "authority.expired",
    "authority.expires",
    "authority.locked",
    "authority.revoked",
    "authority.ungranted",
    "certificate.expired",
    "certificate.expires",
    "certificate.foreign",
    "certificate.not_yet",
    "certificate.unusable",
    "clock.backup",
    "clock.jumped",
    "clock.off",
    "clock.stepped",
    "clock.unset",
    "disk.budget",
    "disk.full",
    "disk.gone",
    "disk.read_only",
    "issuer.expires",
    "mute.switch",
    "node.expelled",
    "node.waits",
    "parent.lost",
    "sound.clockless",
    "sound.device",
    "sound.file",
    "sound.pipe",
    "sound.silent",
    "store.failed",
    "timetable.live",
    "timetable.media",
    "timetable.order",
];
