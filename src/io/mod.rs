//! The world: sockets, threads, files, sound devices, TLS, metrics, the wall clock (DESIGN §8).

pub mod clock;
pub mod identity;
pub mod node;
mod fanout;
mod link;
mod queue;
mod quic;
mod socket;
mod sound;
pub mod store;
mod tls;
mod wake;

pub use node::{Handle, Node};
