//! What one peer may send in a second, before it is ignored and before it is hung up on.
use super::Violation;
use crate::time::{Local, SECOND};

/// A peer that exceeds a limit by this factor means harm, or is broken beyond ignoring.
const HANG_UP: u16 = 10;
/// So many seconds in a row beyond a limit are no burst: what is ignored still has to be read.
const PATIENCE: u8 = 10;

/// Counts one kind of input in windows of a second. Small: each session has several.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    what: &'static str,
    limit: u16,
    began: Local,
    count: u16,
    /// Seconds in a row beyond the limit.
    over: u8,
}

impl Meter {
    pub fn new(what: &'static str, limit: u16) -> Self {
        Self { what, limit, began: Local(i64::MIN), count: 0, over: 0 }
    }

    /// What may still go in this second; for one's own output.
    pub fn left(&self, now: Local) -> u32 {
        u32::from(if now - self.began >= SECOND { self.limit } else { self.limit.saturating_sub(self.count) })
    }

    pub fn take(&mut self, now: Local, count: u32) {
        if now - self.began >= SECOND {
            let again = self.count > self.limit && now - self.began < 2 * SECOND;
            self.over = if again { self.over.saturating_add(1) } else { 0 };
            (self.began, self.count) = (now, 0);
        }
        self.count = self.count.saturating_add(u16::try_from(count).unwrap_or(u16::MAX));
    }

    /// Whether one more is within the limit. `Err` (`peer.flood`) beyond ten times the limit, or after ten
    /// seconds in a row beyond it.
    pub fn handle(&mut self, now: Local) -> Result<bool, Violation> {
        self.take(now, 1);
        if self.count > self.limit.saturating_mul(HANG_UP) {
            let (what, limit) = (self.what, self.limit);
            let text = format!("more than {HANG_UP} times the {limit} {what} that a peer may send in a second");
            return Err(Violation::new("peer.flood", text));
        }
        if self.over >= PATIENCE {
            let (what, limit) = (self.what, self.limit);
            let text = format!("for {PATIENCE} s more than the {limit} {what} that a peer may send in a second");
            return Err(Violation::new("peer.flood", text));
        }
        Ok(self.count <= self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_heard_then_ignored_then_hung_up_on() {
        let mut meter = Meter::new("datagrams", 3);
        let now = Local(5);
        let answers: Vec<_> = (0..31).map(|_| meter.handle(now).map_err(|violation| violation.code)).collect();
        assert!(answers[..3].iter().all(|answer| *answer == Ok(true)));
        assert!(answers[3..30].iter().all(|answer| *answer == Ok(false)));
        assert_eq!(answers[30], Err("peer.flood"));
        assert_eq!(meter.handle(now + SECOND), Ok(true));
    }

    #[test]
    fn a_peer_that_never_stops_is_hung_up_on_after_ten_seconds_and_one_that_pauses_is_not() {
        let cut = |pause: i64| {
            let mut meter = Meter::new("datagrams", 100);
            (0..60_000).find(|at| {
                let now = Local(at * SECOND / 200);
                (pause == 0 || now.0 / SECOND % pause != 0) && meter.handle(now).is_err()
            })
        };
        assert_eq!(cut(0), Some(2_000));
        assert_eq!(cut(5), None);
    }
}
