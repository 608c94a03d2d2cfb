//! The world: sockets, threads, files, sound devices, TLS, metrics, the wall clock (DESIGN §8).

pub mod clock;
mod fanout;
pub mod identity;
mod link;
pub mod node;
mod queue;
mod quic;
mod socket;
mod sound;
pub mod store;
mod tls;
mod wake;

pub use node::{Handle, Node};
