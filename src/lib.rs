//! Loa carries a country's public loudspeakers.
//!
//! (the map comes with the pieces)
pub mod audio;
pub mod broadcast;
pub mod config;
pub mod control;
pub mod io;
pub mod key;
pub mod node;
pub mod playout;
pub mod session;
pub mod sim;
pub mod time;
pub mod track;

/// The wire and stored messages, generated from `session/loa.proto`.
#[allow(clippy::large_enum_variant, reason = "generated; read and dropped one at a time")]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/loa.v1.rs"));
}
