//! Who may say what, where and when: areas, authorities, orders and the tuner (DESIGN §2, §6, §7).
//!
//! [`register`] knows what areas there are; [`timetable`] says what shall sound in them by itself; [`receipt`] says what
//! became of an order.
//!
//! Contract: pure, no I/O, no clock. Everything that arrives from outside goes through
//! [`Authorities::check`] (signatures, chain of grants, scope) and then [`Book::handle`]
//! (one state per id, replay, expiry) before anybody acts on it; grants and revocations then go to
//! [`Authorities::admit`]. Both take nothing but a [`Vouched`] order, and only the check makes one.
//! After a restart, [`Authorities::recall`] does for the node's own journal.
//!
//! # An order on the wire
//! Encoded once, signed, and never re-encoded on its way.
//! ```text
//! Signed   0a len │ payload: an encoded Order, these exact bytes
//!          12 54  │ 0a 10 key id (16)   12 40 Ed25519 signature (64)        1 to 4 times
//!
//! signed bytes   "loa/1 order\0" (12 bytes) ‖ payload
//! key id         SHA-256(Ed25519 public key)[..16]
//!
//! Order    0a 10 id, UUIDv7 (16)
//!          12 10 key id of the authority (16); one of the signatures is its
//!          18    number, varint
//!          20    issued, varint: µs Unix UTC
//!          28    expires, varint
//!          32 len│ area, ASCII                                             0 to 64 times
//!          52 len│ Broadcast    or 5a Cancel · 62 Hush · 6a Grant · 72 Revoke · 7a Placement
//!                               or 82 01 Tick · 8a 01 Invite · 92 01 Expel · 9a 01 Settings · a2 01 Lock
//!                               or aa 01 Release · b2 01 Prefer
//! ```
//! Fields, their numbers and their types stand in `session/loa.proto` (protobuf, proto3). Whoever
//! signs may order fields as it likes: readers verify the bytes that came and never rebuild them.
//! Unknown fields are ignored. `tests/vectors/orders.json` holds examples with their keys.

mod area;
mod authority;
mod book;
mod codec;
mod expelled;
#[cfg(test)]
mod fixtures;
mod grant;
mod order;
pub mod receipt;
mod refusal;
pub mod register;
mod said;
mod settings;
#[cfg(test)]
mod tests;
pub mod timetable;
mod tuner;

pub use crate::address::{Address, MOST_ADDRESSES, NoAddress};
pub use area::Area;
pub use authority::{Authorities, Standing, Vouched};
pub use book::{Book, Change, Entry, State};
pub use expelled::Expelled;
pub use grant::Grant;
pub use order::{
    Body, Broadcast, Cancel, Expel, Hush, Invite, Kind, Lock, Order, Placement, Prefer, Priority, Purpose, Release,
    Revoke, Tick, Tone, countersign, sign,
};
pub use refusal::{CODES, Refusal};
pub use register::{MOST_AREAS, Register};
pub use said::{At, ENGLISH, MOST_MISTAKES, Mistake, Said};
pub use settings::{HourLimit, Mute, Settings, Stagger, Volume};
pub use tuner::{Choice, choose, choose_late};
