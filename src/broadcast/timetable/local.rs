//! From the clock on the wall to the instant, where clocks leap too.

use crate::time::Civil;
use chrono::{DateTime, LocalResult, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// The instant of a local time: the first of two, or the first after a gap.
pub fn instant(zone: Tz, local: NaiveDateTime) -> Civil {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Civil(at.timestamp_micros()),
        LocalResult::None => after_gap(zone, local),
    }
}

/// The same, but the second of two: when something that ends at a local time is surely over.
pub(super) fn last_instant(zone: Tz, local: NaiveDateTime) -> Civil {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(at) | LocalResult::Ambiguous(_, at) => Civil(at.timestamp_micros()),
        LocalResult::None => after_gap(zone, local),
    }
}

/// The first instant whose local time lies behind `local`. No zone is farther than a day from UTC, and none leaps
/// twice in these two days, so local time rises through the gap.
fn after_gap(zone: Tz, local: NaiveDateTime) -> Civil {
    let as_utc = local.and_utc().timestamp();
    let is_behind = |second: i64| {
        DateTime::<Utc>::from_timestamp(second, 0).is_some_and(|at| at.with_timezone(&zone).naive_local() >= local)
    };
    let (mut before, mut behind) = (as_utc - WIDEST, as_utc + WIDEST);
    while behind - before > 1 {
        let middle = before + (behind - before) / 2;
        if is_behind(middle) { behind = middle } else { before = middle }
    }
    Civil(behind.saturating_mul(crate::time::SECOND))
}

/// What the clock on the wall shows.
pub(super) fn local(zone: Tz, at: Civil) -> NaiveDateTime {
    let utc = DateTime::<Utc>::from_timestamp_micros(at.0).unwrap_or_default();
    utc.with_timezone(&zone).naive_local()
}

pub(super) fn day(zone: Tz, at: Civil) -> NaiveDate {
    local(zone, at).date()
}

/// When a local day begins.
pub(super) fn midnight(zone: Tz, day: NaiveDate) -> Civil {
    instant(zone, day.and_time(chrono::NaiveTime::MIN))
}

/// A day later or earlier; the calendar's own end stays where it is.
pub(super) fn add_days(day: NaiveDate, days: i64) -> NaiveDate {
    day.checked_add_signed(TimeDelta::days(days)).unwrap_or(day)
}

/// Seconds; more than any zone lies from UTC, with the day that Samoa left out.
const WIDEST: i64 = 26 * 3_600;

#[cfg(test)]
mod tests {
    use super::*;
    use chrono_tz::{America::St_Johns, Asia::Ho_Chi_Minh, Europe::Berlin, Pacific::Apia};
    use proptest::prelude::*;

    fn at(text: &str) -> NaiveDateTime {
        text.parse().unwrap()
    }

    fn shown(zone: Tz, text: &str) -> String {
        let utc = DateTime::<Utc>::from_timestamp_micros(instant(zone, at(text)).0).unwrap();
        utc.with_timezone(&zone).to_rfc3339()
    }

    #[test]
    fn a_time_that_does_not_exist_is_the_first_instant_after_the_gap() {
        assert_eq!(shown(Berlin, "2026-03-29T02:30:00"), "2026-03-29T03:00:00+02:00");
        assert_eq!(shown(Berlin, "2026-03-29T02:00:00"), "2026-03-29T03:00:00+02:00");
        assert_eq!(shown(Berlin, "2026-03-29T03:00:00"), "2026-03-29T03:00:00+02:00");
        // Samoa left out the whole of 30 December 2011.
        assert_eq!(shown(Apia, "2011-12-30T06:30:00"), "2011-12-31T00:00:00+14:00");
        assert_eq!(shown(St_Johns, "2026-03-08T02:15:00"), "2026-03-08T03:00:00-02:30");
    }

    #[test]
    fn a_time_that_comes_twice_is_the_first_of_the_two() {
        assert_eq!(shown(Berlin, "2026-10-25T02:30:00"), "2026-10-25T02:30:00+02:00");
        let last = last_instant(Berlin, at("2026-10-25T02:30:00"));
        assert_eq!(last - instant(Berlin, at("2026-10-25T02:30:00")), 3_600_000_000);
    }

    #[test]
    fn vietnam_has_one_clock_all_year() {
        assert_eq!(shown(Ho_Chi_Minh, "2026-03-29T02:30:00"), "2026-03-29T02:30:00+07:00");
    }

    proptest! {
        #[test]
        fn later_on_the_wall_is_never_earlier_in_time(start in 1_700_000_000_i64..1_900_000_000, step in 0_i64..200_000) {
            for zone in [Berlin, Apia, Ho_Chi_Minh] {
                // Within a fold the second hour has no local time of its own: the order can only be weak.
                let first = DateTime::<Utc>::from_timestamp(start, 0).unwrap().naive_utc();
                let second = first + TimeDelta::seconds(step);
                prop_assert!(instant(zone, first) <= instant(zone, second), "{first} {second} {zone}");
            }
        }
    }
}
