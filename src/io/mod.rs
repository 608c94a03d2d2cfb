//! The world: sockets, threads, files, sound devices, TLS, metrics, the wall clock (DESIGN §8).

pub mod identity;
pub mod node;
pub mod store;

pub use node::{Handle, Node};
