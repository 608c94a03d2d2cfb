//! When something that is refused could sound instead.

use super::local::day;
use super::policy::MINUTE;
use super::settle::{Day, Wish};
use crate::time::Civil;

/// The first time from `earliest` at which nothing stands against the item, all else being as it is; none within the
/// horizon. Given in whole minutes where that fits too.
///
/// What stands in the way at a time says until when it does, so the search goes from one such time to the next and
/// leaves out nothing: no earlier time can be free.
pub(super) fn slot(day_of: &Day, wish: &Wish, earliest: Civil) -> Option<Civil> {
    if !wish.never.is_empty() {
        return None;
    }
    let length = wish.end - wish.start;
    let end = earliest + HORIZON;
    let mut at = earliest;
    for _ in 0..MOST_STEPS {
        let next = day_of.against(wish.priority, at, at + length).into_iter().map(|against| against.until).max();
        let Some(next) = next else {
            let whole = Civil(at.0.saturating_add(MINUTE - 1).div_euclid(MINUTE) * MINUTE);
            let same_day = day(day_of.zone, whole) == day(day_of.zone, at);
            let fits = same_day && whole <= end && day_of.against(wish.priority, whole, whole + length).is_empty();
            return Some(if fits { whole } else { at });
        };
        // Clocks that are set back over midnight could make a day begin twice.
        at = next.max(at + 1);
        if at > end {
            return None;
        }
    }
    None
}

/// How far a search goes.
pub(super) const HORIZON_DAYS: i64 = 7;
const HORIZON: i64 = HORIZON_DAYS * 86_400 * crate::time::SECOND;
/// Each step passes an item, a quiet time or a day: a hundred items on each day of the horizon.
const MOST_STEPS: usize = 1_000;
