//! The same nodes on a virtual network in virtual time (DESIGN §1.3, §8).
//!
//! A [`World`] runs trunks and branches as `io` would, each on an oscillator and a sound device of its
//! own that err, over paths that delay, lose, repeat, damage and cut. All of it follows from one seed:
//! the same seed gives the same event hash. What the loudspeakers let out, and when, is kept as
//! [`Heard`] and judged by [`check`].
//!
//! ```text
//!   world: one queue of events in true time, ordered by (time, sequence)
//!     │  arrivals, wake-ups, device reports, finished jobs
//!     ▼
//!   host: trunk + branches + store + device, all on one oscillator
//!     │  sends, dials, jobs
//!     ▼
//!   network: one Direction each way per path
//! ```

mod bunch;
pub mod check;
mod device;
mod host;
mod network;
mod oscillator;
mod random;
mod sources;
mod store;
mod tree;
mod verbs;
mod wire;
mod world;

pub use device::{Heard, What};
pub use network::{Bursts, Conditions, Counters as PathCounters};
pub use oscillator::Oscillator;
pub use random::Random;
pub use sources::{Forgery, Tracks};
pub use tree::{Hop, Tree};
pub use verbs::{Aired, Bulletin};
pub use world::{EPOCH, World};

/// FNV-1a, 64 bits: tells byte strings apart inside a simulation, where nobody looks for collisions.
pub(crate) fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3))
}
