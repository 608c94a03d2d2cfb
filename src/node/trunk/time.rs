//! Civil time and phase of one node (DESIGN §5).
//!
//! A root origin follows its wall clock, slewing. Everybody else takes phase from the parent, and trusts
//! it as civil time once a signed tick has come that does not contradict it.

use crate::broadcast::Area;
use crate::playout::{Clock, Phase};
use crate::session::{Exchange, Line};
use crate::time::{Civil, Local, SECOND};

pub(super) struct Time {
    root: bool,
    wall: Option<Phase>,
    clock: Clock,
    /// Of the parent that stands by.
    spare: Clock,
    /// The latest signed time, and when it was heard: civil time is never before it.
    floor: Option<Civil>,
    /// A tick has been verified since the start: when the newest was, that counted.
    ticked: Option<Local>,
    /// Over what area the authority of the newest tick speaks, and when it was heard.
    teller: Option<(Area, Local)>,
}

impl Time {
    pub fn new(root: bool) -> Self {
        let (clock, spare) = (Clock::new(), Clock::new());
        Self { root, wall: None, clock, spare, floor: None, ticked: None, teller: None }
    }

    /// The wall clock of a root origin. Returns by how many µs it was stepped under us, if it was.
    pub fn handle_wall(&mut self, now: Local, civil: Civil, uncertainty: u64) -> Option<i64> {
        if !self.root {
            return None;
        }
        let Some(line) = self.wall else {
            // What was said before a restart is not taken back.
            let civil = self.floor.map_or(civil, |floor| floor.max(civil));
            self.wall = Some(Phase::of_origin(now, civil, uncertainty));
            return None;
        };
        let given = line.civil(now);
        let behind = civil - given;
        let skew = (behind as f64 / SLEW_OVER as f64).clamp(-MAX_SLEW, MAX_SLEW);
        let uncertainty = uncertainty + behind.unsigned_abs();
        self.wall = Some(Phase { at: now, civil: given, skew, uncertainty });
        (behind.abs() > STEP).then_some(behind)
    }

    /// `leads`: with the parent whose time this node takes.
    pub fn handle_exchange(&mut self, now: Local, leads: bool, exchange: Exchange, line: Line) {
        let clock = if leads { &mut self.clock } else { &mut self.spare };
        clock.handle_exchange_with_line(now, exchange, line);
    }

    /// The parent that stood by leads: its exchanges count, and the line given out bends towards them.
    pub fn handle_other_parent(&mut self, now: Local) {
        self.clock.exchange_samples(now, &mut self.spare);
    }

    /// Another stands by.
    pub fn handle_spare_parent(&mut self) {
        self.spare = Clock::new();
    }

    pub fn handle_new_parent(&mut self, now: Local) {
        self.clock.handle_new_parent(now);
    }

    /// A time that this node wrote down itself: a lower bound.
    pub fn handle_written(&mut self, time: Civil) {
        self.floor = self.floor.max(Some(time));
    }

    /// The time in a verified seal: a lower bound until ticks tell more. Later it says nothing, so that
    /// a commune's key can't drive its area's clocks out of trust with a date to come.
    pub fn handle_seal(&mut self, time: Civil) {
        if self.ticked.is_none() {
            self.handle_written(time);
        }
    }

    /// A verified tick: a lower bound that also vouches for phase. Time comes from the topmost origin
    /// that is reachable: while one over a wider area is heard, the others don't count. A tick that names no
    /// area, as any authority may sign one, is the narrowest of all.
    pub fn handle_tick(&mut self, now: Local, area: Option<&Area>, time: Civil) {
        let wider = |held: &Area| area.is_some_and(|area| area.contains(held));
        if self.teller.as_ref().is_some_and(|(held, at)| now - *at < TELLER_GONE && !wider(held)) {
            return;
        }
        self.teller = area.map(|area| (area.clone(), now));
        self.handle_written(time);
        self.ticked = Some(now);
    }

    /// A root origin gave a tick itself.
    pub fn handle_own_tick(&mut self, now: Local) {
        if self.root {
            self.ticked = Some(now);
        }
    }

    pub fn ticked_at(&self) -> Option<Local> {
        self.ticked
    }

    pub fn phase(&self, now: Local) -> Option<Phase> {
        if self.root { self.wall } else { self.clock.phase(now) }
    }

    /// `None` until trusted, and while phase lags signed time by more than [`DISAGREE`].
    pub fn civil(&self, now: Local) -> Option<Civil> {
        let civil = self.phase(now)?.civil(now);
        match self.floor {
            _ if self.root => Some(civil),
            Some(floor) if self.ticked.is_some() && floor - civil <= DISAGREE => Some(civil.max(floor)),
            _ => None,
        }
    }
}

/// A wall clock's error is worked off over ten seconds …
const SLEW_OVER: i64 = 10 * SECOND;
/// … at 500 ppm at most (DESIGN §5).
const MAX_SLEW: f64 = 500e-6;
/// An error that NTP would not leave standing: somebody set the clock.
const STEP: i64 = SECOND;
/// Six ticks missed: the origin that told the time is out of reach.
const TELLER_GONE: i64 = 60 * SECOND;
/// Phase and signed time may differ by the uncertainty of a bad path; more is a parent that lies.
const DISAGREE: i64 = SECOND;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::MILLISECOND;

    const CIVIL: i64 = 1_800_000_000 * SECOND;

    /// A node that has phase, `CIVIL` at local 0, and no tick yet.
    fn synced() -> Time {
        let mut time = Time::new(false);
        for at in (0..20).map(|number| Local(number * 20 * MILLISECOND)) {
            let told = Civil(CIVIL + at.0 + 5 * MILLISECOND);
            let received = at + 10 * MILLISECOND;
            let exchange =
                Exchange { sent: at, parent_received: told, parent_sent: told, received, parent_uncertainty: 0 };
            time.handle_exchange(received, true, exchange, Line { offset: CIVIL, skew: 0.0 });
        }
        time
    }

    fn area(text: &str) -> Area {
        text.parse().expect("an area")
    }

    #[test]
    fn phase_alone_is_not_civil_time_and_a_tick_makes_it_so() {
        let mut time = synced();
        let now = Local(SECOND);
        assert_eq!(time.civil(now), None);
        time.handle_tick(now, Some(&area("vn")), Civil(CIVIL + SECOND));
        let civil = time.civil(now).expect("trusted");
        assert!((civil - Civil(CIVIL + SECOND)).abs() < 5 * MILLISECOND, "{civil:?}");
    }

    #[test]
    fn a_seal_or_a_narrower_tick_dated_ahead_does_not_take_trusted_time_away() {
        let mut time = synced();
        let now = Local(SECOND);
        time.handle_tick(now, Some(&area("vn")), Civil(CIVIL + SECOND));
        time.handle_seal(Civil(CIVIL + 3_600 * SECOND));
        time.handle_tick(now, Some(&area("vn/01")), Civil(CIVIL + 3_600 * SECOND));
        assert!(time.civil(now).is_some());
        // Of the topmost it is believed, and phase that contradicts it is not.
        time.handle_tick(now, Some(&area("vn")), Civil(CIVIL + 3_600 * SECOND));
        assert_eq!(time.civil(now), None);
    }

    #[test]
    fn a_tick_that_names_no_area_does_not_take_trusted_time_away() {
        let mut time = synced();
        let now = Local(SECOND);
        time.handle_tick(now, Some(&area("vn")), Civil(CIVIL + SECOND));
        time.handle_tick(now, None, Civil(CIVIL + 50 * SECOND));
        assert!(time.civil(now).is_some());
        // Where nobody else tells the time it counts.
        let mut alone = synced();
        alone.handle_tick(now, None, Civil(CIVIL + SECOND));
        assert!(alone.civil(now).is_some());
    }

    #[test]
    fn the_next_origin_below_tells_the_time_when_the_topmost_is_out_of_reach() {
        let mut time = synced();
        time.handle_tick(Local(SECOND), Some(&area("vn")), Civil(CIVIL + SECOND));
        let later = Local(SECOND) + TELLER_GONE;
        time.handle_tick(later, Some(&area("vn/01")), Civil(CIVIL + 7_200 * SECOND));
        assert_eq!(time.civil(later), None, "its tick counts now, and contradicts phase");
    }
}
