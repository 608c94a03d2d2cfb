//! The rule that decides when a packet becomes sound (DESIGN §3 Playout, §5).
//!
//! Contract: pure. `handle_*` takes input with the local time, `poll_*` gives output; after every
//! `handle_*`, drain `poll_step` and `poll_event`, then wait until `poll_timeout`.

mod buffer;
mod clock;
mod device;
pub mod hands;
mod plan;
mod player;
mod timeline;

pub use clock::{Clock, Phase};
pub use device::{Device, DeviceClock};
pub use hands::{Hands, Muted, class};
pub use player::{Counters, Event, Options, Player, Program, Reason, State, Status};

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
