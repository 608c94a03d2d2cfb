//! Who may say what, where and when: areas, authorities, orders and the tuner (DESIGN §2, §6, §7).
//!
//! Contract: pure, no I/O, no clock. Everything that arrives from outside goes through
//! [`Authorities::check`] (signatures, chain of grants, scope) and then [`Book::handle`]
//! (one state per id, replay, expiry) before anybody acts on it.

mod area;
mod authority;
mod book;
mod order;
mod tuner;

pub use area::Area;
pub use authority::{Authorities, Grant};
pub use book::{Book, Change, Entry, State};
pub use order::{Body, Broadcast, Cancel, Hush, Kind, Order, Placement, Priority, Refusal, Revoke, Tick, Tone, sign};
pub use tuner::{Choice, choose};
