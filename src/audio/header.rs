//! What sound Loa takes in, whatever its format.
use super::Error;

/// 8 kHz is telephone speech, 192 kHz the highest rate that studios use.
pub(super) const RATES: std::ops::RangeInclusive<u32> = 8_000..=192_000;
/// What FLAC can hold, and more than any recording of speech has.
pub(super) const MOST_CHANNELS: u16 = 8;

pub(super) fn unreadable(name: &str, error: &std::io::Error) -> Error {
    Error::read(name, error)
}
