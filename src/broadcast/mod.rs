//! Who may say what, where and when: areas, authorities, orders and the tuner (DESIGN §2, §6, §7).
//!
//! Contract: pure, no I/O, no clock. Everything that arrives from outside goes through
//! [`Authorities::check`] (signatures, chain of grants, scope) and then [`Book::handle`]
//! (one state per id, replay, expiry) before anybody acts on it.

mod area;
mod authority;
mod book;
mod codec;
#[cfg(test)]
mod fixtures;
mod grant;
mod order;
mod refusal;
#[cfg(test)]
mod tests;
mod tuner;

pub use area::Area;
pub use authority::{Authorities, Vouched};
pub use book::{Book, Change, Entry, State};
pub use grant::Grant;
pub use order::{Body, Broadcast, Cancel, Hush, Kind, Order, Placement, Priority, Revoke, Tick, Tone, sign};
pub use refusal::{CODES, Refusal};
pub use tuner::{Choice, choose};
