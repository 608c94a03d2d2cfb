//! The world: sockets, threads, files, sound devices, TLS, metrics, the wall clock (DESIGN §8).

pub mod clock;
pub mod fanout;
pub mod identity;
mod link;
pub mod node;
mod queue;
pub mod quic;
pub mod socket;
mod sound;
pub mod store;
pub mod tls;
pub mod wake;

pub use node::{Handle, Node};
