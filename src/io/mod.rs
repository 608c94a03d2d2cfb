//! The world: sockets, threads, files, sound devices, TLS, metrics, the wall clock (DESIGN §8).
//!
//! ```text
//!   node   assembles everything and hands out a Handle
//!     ├─ trunk ── quic, group ── socket            one thread: parents, a LAN's group, queues from everybody
//!     ├─ shard ── quic, fanout, group ── socket    one thread per UDP port: children
//!     ├─ jobs ── store                             one thread: the disk
//!     ├─ sound                                     one thread: the device
//!     ├─ switch                                    one thread: the mute's switch beside it
//!     └─ health                                    one thread: disk, clock, certificate, parents
//!   decoder                                        a process per file, for `control`
//!   queue, wake   how they speak;  clock, identity, tls, resolve, metrics   what they need
//!   telemetry     what the process says of itself, to a collector, if it is built in
//!   disk, examine, probe, rights   looks at what is outside, for health and for `control`;  notify   the service manager
//! ```
//!
//! A shard's two ways out of one socket, and what each is made of:
//!
//! ```text
//!   Air { track, packet } ─▶ fanout: sound and orders, a send per listener
//!                              track     its lanes: those alike in what they can be sent, and who joins or leaves
//!                              forming   packets that leave together wait for the last of their bunch
//!                              lane      prebuilt headers ─▶ sendmmsg, UDP_SEGMENT; what the kernel refuses
//!                              pace      how many sends a turn may make, all tracks together
//!                              group     one more listener: the LAN's multicast group
//!   Send { link, … } ──────▶ quic: control, bulk, datagrams, repair
//!                              shaking, handshakes   strangers: who waits, who proves its address, a slice a turn
//!                              crypto    TLS for the handshake, then keys as bytes
//!                              life      a connection from its first event to the last
//!                              link      queues in front of it;  ledger   what all of them hold
//!                              window    how much may be under way;  transport   QUIC's own settings
//! ```

pub mod certify;
pub mod clock;
#[cfg(feature = "full")]
pub mod decoder;
pub mod disk;
pub mod enrolment;
pub mod examine;
pub mod fanout;
pub mod group;
mod health;
pub mod identity;
mod jobs;
mod metrics;
pub mod node;
pub mod notify;
pub mod probe;
mod queue;
pub mod quic;
pub mod reader;
mod resolve;
pub mod rights;
mod shard;
pub mod socket;
pub mod sound;
pub mod source;
pub mod statement;
pub mod store;
pub mod switch;
#[cfg(feature = "otel")]
pub mod telemetry;
pub mod tls;
mod told;
mod trunk;
pub mod wake;

pub use metrics::Planned;
pub use node::{Handle, Node};
pub use resolve::shard as shard_of;
