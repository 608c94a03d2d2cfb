//! Packets that leave together: one send for several, where the playout delay can spare the wait.
//!
//! ```text
//!  index      4    5    6    7 │  8    9   10   11      together = 4
//!  made       ·    ·    ·    · │  ·    ·    ·    ·
//!  leaves     └────┴────┴────┴─▶  └────┴────┴────┴─▶    once the last is there
//! ```
//!
//! At a relay all of a bunch come at once, so the wait is had once, not at every hop.

/// How many packets of a track may leave in one send: the first of them waits for the last, and must
/// still come as long before its sound as every packet of a track of the default delay does.
/// `delay` and `duration`: µs.
pub fn together(delay: i64, duration: i64) -> u32 {
    if duration <= 0 {
        return 1;
    }
    let spare = delay.saturating_sub(KEPT).max(0) / duration;
    u32::try_from(spare.saturating_add(1)).unwrap_or(MOST_TOGETHER).min(MOST_TOGETHER)
}

/// The index with which the bunch of `index` is whole.
pub fn last_of_bunch(index: u64, together: u32) -> u64 {
    let together = u64::from(together.max(1));
    (index / together).saturating_mul(together).saturating_add(together - 1)
}

/// Beyond four, the rest of a send's cost (the kernel's copy, the reader's wake-up) is what counts.
pub const MOST_TOGETHER: u32 = 4;
/// µs of the delay that are not for waiting but for the network and repair: the default delay.
const KEPT: i64 = crate::time::SECOND;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{MILLISECOND, SECOND};

    #[test]
    fn packets_wait_for_each_other_only_as_long_as_a_second_is_left() {
        let long = 240 * MILLISECOND;
        assert_eq!(together(2 * SECOND, long), 4);
        assert_eq!(together(SECOND, long), 1);
        assert_eq!(together(SECOND + long - 1, long), 1);
        assert_eq!(together(SECOND + long, long), 2);
        assert_eq!(together(600 * MILLISECOND, 120 * MILLISECOND), 1);
        assert_eq!(together(2 * SECOND, 480 * MILLISECOND), 3);
        for delay in (0..5_000).map(|delay| delay * MILLISECOND) {
            for duration in [20, 40, 60, 120, 240, 480].map(|duration| duration * MILLISECOND) {
                let waits = i64::from(together(delay, duration) - 1) * duration;
                assert!(waits == 0 || delay - waits >= SECOND, "{delay} µs, {duration} µs");
            }
        }
    }

    #[test]
    fn no_delay_and_no_duration_are_beyond_the_rule() {
        assert_eq!(together(i64::MAX, 1), MOST_TOGETHER);
        assert_eq!(together(i64::MIN, i64::MAX), 1);
        assert_eq!(together(i64::MAX, 0), 1);
        assert_eq!(together(i64::MAX, i64::MIN), 1);
    }

    #[test]
    fn a_bunch_is_whole_with_its_last_index() {
        assert_eq!([0, 1, 3, 4, 7, 8].map(|index| last_of_bunch(index, 4)), [3, 3, 3, 7, 7, 11]);
        assert_eq!([0, 1, 9].map(|index| last_of_bunch(index, 1)), [0, 1, 9]);
        assert_eq!(last_of_bunch(5, 0), 5);
        assert_eq!(last_of_bunch(u64::MAX, u32::MAX), u64::MAX);
    }
}
