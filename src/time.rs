//! Time as an argument (DESIGN §1): two clocks that must never be mixed up, both in µs.

use std::ops::{Add, AddAssign, Sub};

macro_rules! clock {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i64);

        impl Add<i64> for $name {
            type Output = Self;
            fn add(self, micros: i64) -> Self {
                Self(self.0.saturating_add(micros))
            }
        }

        impl AddAssign<i64> for $name {
            fn add_assign(&mut self, micros: i64) {
                *self = *self + micros;
            }
        }

        impl Sub<i64> for $name {
            type Output = Self;
            fn sub(self, micros: i64) -> Self {
                Self(self.0.saturating_sub(micros))
            }
        }

        impl Sub for $name {
            type Output = i64;
            fn sub(self, earlier: Self) -> i64 {
                self.0.saturating_sub(earlier.0)
            }
        }
    };
}

clock! {
    /// µs of this node's oscillator since some moment before it started. Never goes back; its rate
    /// errs by up to a few hundred parts per million.
    Local
}

clock! {
    /// µs Unix UTC: what orders, anchors and stores speak (DESIGN §5, §9).
    Civil
}

/// µs in a millisecond.
pub const MILLISECOND: i64 = 1_000;
/// µs in a second.
pub const SECOND: i64 = 1_000_000;
/// Samples per second of every track and every plan.
pub const RATE: u32 = 48_000;

/// µs that `samples` at 48 kHz last, rounded down.
pub const fn micros(samples: u64) -> i64 {
    (samples as i128 * SECOND as i128 / RATE as i128) as i64
}
