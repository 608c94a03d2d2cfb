//! The world: sockets, threads, files, sound devices, TLS, metrics, the wall clock (DESIGN §8).
//!
//! ```text
//!   node   assembles everything and hands out a Handle
//!     ├─ trunk ── quic ── socket        one thread: parents, queues from everybody
//!     ├─ shard ── quic, fanout ── socket   one thread per UDP port: children
//!     ├─ jobs ── store                  one thread: the disk
//!     └─ sound                          one thread: the device
//!   queue, wake   how they speak;  clock, identity, tls, resolve, metrics   what they need
//! ```

pub mod clock;
pub mod decoder;
pub mod fanout;
pub mod identity;
mod jobs;
mod metrics;
pub mod node;
mod queue;
pub mod quic;
mod resolve;
mod shard;
pub mod socket;
mod sound;
pub mod store;
pub mod tls;
mod trunk;
pub mod wake;

pub use node::{Handle, Node};
pub use resolve::shard as shard_of;
