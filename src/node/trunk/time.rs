//! Civil time and phase of one node (DESIGN §5).
//!
//! A root origin follows its wall clock, slewing. Everybody else takes phase from the parent, and trusts
//! it as civil time once a signed tick has come that does not contradict it.
//!
//! Where the configuration says that a node's own wall clock is right to so many µs, that clock backs civil time:
//!
//! | parent | signed tick since the start | phase | trusted |
//! |---|---|---|---|
//! | answers | yes | the parent's | by the tick |
//! | answers, as the own clock does | no | the parent's: siblings stay in step | by the own clock |
//! | answers, and the own clock contradicts it | no | the own | by the own clock |
//! | is gone | yes | that which is surer, the parent's line as it goes on or the own | by either |
//! | is gone | no | the own | by the own clock |
//!
//! An own clock that lies before what was signed or written down, as one does whose battery is empty, backs nothing.

use crate::broadcast::Area;
use crate::playout::{Clock, Phase};
use crate::session::{Exchange, Line};
use crate::time::{Civil, Local, MILLISECOND, SECOND};

pub(super) struct Time {
    root: bool,
    /// The configuration trusts this machine's wall clock.
    backed: bool,
    /// Of the wall clock: what a root origin gives out, or what it said last.
    wall: Option<Phase>,
    /// When the parent that leads last answered.
    answered: Option<Local>,
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
    pub fn new(root: bool, backed: bool) -> Self {
        let (clock, spare) = (Clock::new(), Clock::new());
        let backed = backed && !root;
        Self { root, backed, wall: None, answered: None, clock, spare, floor: None, ticked: None, teller: None }
    }

    /// The wall clock, of a root origin or a trusted one. Returns by how many µs it was stepped under a root, if it was.
    pub fn handle_wall(&mut self, now: Local, civil: Civil, uncertainty: u64) -> Option<i64> {
        if !self.root {
            self.wall = self.backed.then(|| Phase::of_origin(now, civil, uncertainty));
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
        if leads {
            self.answered = Some(now);
        }
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
        if self.ticked.is_none() && self.wall.is_none() {
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
        if self.root {
            return self.wall;
        }
        let (heard, own) = (self.clock.phase(now), self.own(now));
        let (Some(heard), Some(own)) = (heard, own) else { return heard.or(own) };
        let answers = self.answered.is_some_and(|at| now - at < TELLER_GONE);
        let keeps = match (answers, self.ticked.is_some()) {
            (true, true) => true,
            (true, false) => agree(now, &heard, &own),
            (false, true) => heard.uncertainty <= own.uncertainty,
            (false, false) => false,
        };
        Some(if keeps { heard } else { own })
    }

    /// `None` until trusted, and while phase lags signed time by more than [`DISAGREE`].
    pub fn civil(&self, now: Local) -> Option<Civil> {
        let phase = self.phase(now)?;
        let civil = phase.civil(now);
        match self.floor {
            _ if self.root => Some(civil),
            Some(floor) if self.ticked.is_some() && floor - civil <= DISAGREE => Some(civil.max(floor)),
            floor => self
                .own(now)
                .filter(|own| agree(now, &phase, own))
                .map(|_| floor.map_or(civil, |floor| civil.max(floor))),
        }
    }

    /// What may be written down as surely past; a clock of this node's own is right to its uncertainty only.
    pub fn surely(&self, now: Local) -> Option<Civil> {
        let civil = self.civil(now)?;
        let signed = self.root || self.ticked.is_some_and(|at| now - at < TELLER_GONE);
        let uncertainty = self.phase(now).map_or(0, |phase| phase.uncertainty);
        Some(if signed { civil } else { civil - i64::try_from(uncertainty).unwrap_or(i64::MAX) })
    }

    /// By how many µs the own clock is off signed time, where that is more than was said of it.
    pub fn belied(&self, now: Local) -> Option<i64> {
        let (wall, heard) = (self.wall.filter(|_| self.backed)?, self.clock.phase(now)?);
        let signed = self.ticked.is_some_and(|at| now - at < TELLER_GONE);
        (signed && !agree(now, &heard, &wall)).then(|| wall.civil(now) - heard.civil(now))
    }

    /// The wall clock, where it is trusted and not before what is known to be past.
    fn own(&self, now: Local) -> Option<Phase> {
        let wall = self.wall.filter(|_| self.backed)?;
        let silent = (now - wall.at).max(0) as f64;
        let own = Phase { uncertainty: wall.uncertainty + (silent * UNHEARD) as u64, ..wall };
        let ahead = |floor: Civil| u64::try_from(floor - own.civil(now)).unwrap_or(0);
        self.floor.is_none_or(|floor| ahead(floor) <= own.uncertainty + DISAGREE.unsigned_abs()).then_some(own)
    }
}

/// As far as each is sure.
fn agree(now: Local, one: &Phase, other: &Phase) -> bool {
    let apart = (one.civil(now) - other.civil(now)).unsigned_abs();
    apart <= one.uncertainty.saturating_add(other.uncertainty).saturating_add(AGREE)
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
/// µs by which a reading of the wall clock, once a second, may come late.
const AGREE: u64 = 20 * MILLISECOND.unsigned_abs();
/// Of the oscillator, since the wall clock was last read: worse than any sold.
const UNHEARD: f64 = 200e-6;

#[cfg(test)]
mod tests {
    use super::*;

    const CIVIL: i64 = 1_800_000_000 * SECOND;

    /// A node that has phase, `CIVIL` at local 0, and no tick yet.
    fn synced() -> Time {
        let mut time = Time::new(false, false);
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

    /// A clock that is said to be right to half a second, and a parent that has answered for a while.
    fn backed(parent: bool) -> Time {
        let mut time = if parent { synced() } else { Time::new(false, false) };
        time.backed = true;
        time
    }

    const STATED: u64 = 500_000;

    #[test]
    fn a_clock_that_is_trusted_backs_time_after_a_restart_and_one_that_is_not_does_not() {
        let (at, wall) = (Local(SECOND), Civil(CIVIL + 300 * MILLISECOND));
        let mut time = backed(false);
        time.handle_written(Civil(CIVIL));
        assert_eq!(time.civil(at), None);
        time.handle_wall(at, wall, STATED);
        assert_eq!(time.civil(at), Some(wall));
        assert_eq!(time.phase(at).map(|phase| phase.uncertainty), Some(STATED));
        assert_eq!(time.surely(at), Some(wall - STATED as i64), "no more is written down than is sure");
        let mut other = Time::new(false, false);
        other.handle_wall(at, wall, STATED);
        assert_eq!((other.civil(at), other.phase(at)), (None, None));
    }

    #[test]
    fn a_clock_whose_battery_was_empty_backs_nothing() {
        let mut time = backed(false);
        time.handle_written(Civil(CIVIL));
        time.handle_wall(Local(0), Civil(CIVIL - 3_600 * SECOND), STATED);
        assert_eq!(time.civil(Local(0)), None);
        // Within its error it is not before what was written: time stands there until the clock has come so far.
        time.handle_wall(Local(0), Civil(CIVIL - SECOND), STATED);
        assert_eq!(time.civil(Local(0)), Some(Civil(CIVIL)));
    }

    #[test]
    fn below_a_parent_that_hears_no_tick_siblings_keep_its_phase_if_their_own_clocks_vouch_for_it() {
        let now = Local(SECOND);
        let mut time = backed(true);
        assert_eq!(time.civil(now), None);
        time.handle_wall(now, Civil(CIVIL + SECOND + 400 * MILLISECOND), STATED);
        let civil = time.civil(now).expect("trusted");
        assert!((civil - Civil(CIVIL + SECOND)).abs() < 5 * MILLISECOND, "{civil:?} is not the parent's");
        // A parent that says something else is not followed.
        time.handle_wall(now, Civil(CIVIL + 60 * SECOND), STATED);
        assert_eq!(time.civil(now), Some(Civil(CIVIL + 60 * SECOND)));
    }

    #[test]
    fn signed_time_comes_before_an_own_clock_which_is_told_to_be_off() {
        let now = Local(SECOND);
        let mut time = backed(true);
        time.handle_tick(now, Some(&area("vn")), Civil(CIVIL + SECOND));
        time.handle_wall(now, Civil(CIVIL + 100 * SECOND), STATED);
        let civil = time.civil(now).expect("trusted");
        assert!((civil - Civil(CIVIL + SECOND)).abs() < 5 * MILLISECOND, "{civil:?}");
        assert!(time.belied(now).is_some_and(|off| (off - 99 * SECOND).abs() < 5 * MILLISECOND));
        time.handle_wall(now, Civil(CIVIL + SECOND), STATED);
        assert_eq!(time.belied(now), None);
    }

    #[test]
    fn a_seal_dated_ahead_does_not_take_a_trusted_clock_away() {
        let mut time = backed(false);
        time.handle_wall(Local(0), Civil(CIVIL), STATED);
        time.handle_seal(Civil(CIVIL + 3_600 * SECOND));
        assert_eq!(time.civil(Local(0)), Some(Civil(CIVIL)));
    }

    #[test]
    fn with_no_parent_the_surer_of_two_clocks_counts() {
        let mut time = backed(true);
        time.handle_tick(Local(SECOND), Some(&area("vn")), Civil(CIVIL + SECOND));
        let later = Local(SECOND) + 3_600 * SECOND;
        let true_time = Civil(CIVIL) + later.0;
        time.handle_wall(later, true_time + 400 * MILLISECOND, STATED);
        let civil = time.civil(later).expect("trusted");
        assert!((civil - true_time).abs() < 50 * MILLISECOND, "a line of an hour is surer than {STATED} µs");
        time.handle_wall(later, true_time + 7, 10);
        assert_eq!(time.civil(later), Some(true_time + 7), "and a receiver's clock surer than that");
    }
}
