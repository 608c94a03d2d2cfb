//! Repair by due time (DESIGN §3): what is missing, when to ask, when to give up. One `Seeker` per
//! track that a child listens to; the budget of the one who answers is `ration`.
//!
//! ```text
//!  due ── margin ──▶ missing: ask, ask ──── round trip ───▶ ask, ask ─▶ … denser ─▶ due + useful
//!                    (twice, 20 ms apart)                   again                   given up
//! ```
use super::arrivals::Arrivals;
use super::child::Wish;
use super::exchange::Crowd;
use super::held::Held;
use super::wire;
use crate::proto;
use crate::time::{Local, MILLISECOND, SECOND};
use crate::track::{LAST_INDEX, extend, last_of_bunch};
use std::collections::BTreeMap;

/// Finds what one track lacks. Only verified packets move it: a forged one changes nothing.
#[derive(Debug)]
pub struct Seeker {
    pub wish: Wish,
    /// Everything before is held, in `gaps` or given up. `None` until the parent says what comes live.
    next: Option<u64>,
    /// The newest index that came live and was verified; before, where the track is expected to begin.
    newest: u64,
    held: Held,
    gaps: BTreeMap<u64, Gap>,
    arrivals: Arrivals,
    /// When the first packet should be here, until one is.
    expected: Option<Local>,
    /// Packets in a row that came after they were asked for.
    late: u32,
    /// Of a parent with many children: see [`Seeker::crowd`].
    crowd: Option<Crowd>,
    round: u32,
    abandoned: u64,
}

#[derive(Clone, Copy, Debug)]
struct Gap {
    /// When it would have come by itself, not waiting for others of its bunch.
    due: Local,
    ask_at: Local,
    first_asked: Option<Local>,
    rounds: u32,
    /// The parent said that it lacks this itself.
    lacking: bool,
}

/// How far apart requests for what a track lacks are, µs.
struct Rounds {
    /// A packet is of use for so long after it was due.
    useful: i64,
    round_trip: i64,
    /// Of the first.
    length: i64,
    /// From here on nothing was overtaken: perhaps the parent is only late.
    newest: u64,
    crowd: Option<Crowd>,
}

/// One request, and which of its indices are asked for the first time.
#[derive(Debug)]
pub struct Ask {
    pub nack: proto::Nack,
    pub found: Vec<proto::Range>,
    pub indices: u32,
    /// To be sent a second time.
    pub twice: bool,
}

impl Seeker {
    /// Bytes behind this one: gaps, and what was learnt of arrivals.
    #[cfg(test)]
    pub fn memory(&self) -> usize {
        // Leaves of a B-tree are at least half full.
        2 * self.gaps.len() * size_of::<(u64, Gap)>() + self.arrivals.memory()
    }

    pub fn new(wish: Wish) -> Self {
        Self {
            next: None,
            newest: wish.from.min(LAST_INDEX),
            held: Held::new(),
            gaps: BTreeMap::new(),
            arrivals: Arrivals::new(wish.duration),
            expected: None,
            late: 0,
            crowd: None,
            round: 0,
            abandoned: 0,
            wish,
        }
    }

    /// The parent sends `next` and later ones live. Only the first such word counts.
    pub fn anchor(&mut self, next: u64) {
        if self.next.is_none() {
            let next = next.max(self.wish.from);
            self.next = Some(next);
            self.newest = self.newest.max(next);
            self.skip_held();
        }
    }

    /// So many packets leave the parent in one send.
    pub fn bunch(&mut self, together: u32) {
        self.arrivals.bunch(together);
    }

    /// The parent has many children. What it drops or sends late all of them miss in the same instant, and if each
    /// asked at once, twice and again, their requests would make it later still, for good. So each waits a time of
    /// its own; for what no later packet has overtaken, which may only be late, it waits longer and asks at first
    /// once instead of twice; in a vast crowd always once, and ever more rarely.
    pub fn crowd(&mut self, crowd: Option<Crowd>) {
        self.crowd = crowd;
    }

    pub fn is_anchored(&self) -> bool {
        self.next.is_some()
    }

    /// The index that a bare packet claims by its sequence number; `None` if it is held already.
    pub fn claim(&self, sequence: u16) -> Option<u64> {
        let index = extend(sequence, self.newest);
        (!self.held.contains(index)).then_some(index)
    }

    /// A packet was verified. `live`: it came over this link as media, just now. True if it had been
    /// asked for.
    pub fn handle_accepted(&mut self, now: Local, index: u64, live: bool, round_trip: i64) -> bool {
        // What a bulk transfer brings from far ahead would move the window away from what is live.
        if index > LAST_INDEX || !live && index >= self.newest + MAX_GAPS {
            return false;
        }
        let gap = self.gaps.remove(&index);
        let asked = gap.and_then(|gap| gap.first_asked);
        let expected = gap.is_some() || self.next.is_none_or(|next| index >= next);
        if !self.held.insert(index) {
            return asked.is_some();
        }
        if live {
            self.newest = self.newest.max(index);
            if expected && !gap.is_some_and(|gap| gap.lacking) {
                self.learn(now, index, asked, round_trip);
            }
            self.find_before(now, index);
        }
        self.skip_held();
        asked.is_some()
    }

    /// Everything before `next` has come, or a gap is open for it: nothing else before it is missing.
    pub fn handle_run(&mut self, next: u64) {
        let next = next.min(LAST_INDEX);
        if self.next.is_some_and(|known| known < next) {
            self.next = Some(next);
            self.newest = self.newest.max(next.saturating_sub(1));
        }
    }

    /// Everything before `head` exists: what has not come is missing.
    pub fn handle_head(&mut self, now: Local, head: u64) {
        self.find_before(now, head.min(LAST_INDEX));
        self.skip_held();
    }

    /// The parent itself lacks these: asking for them now is vain. It sends them once it has them,
    /// but that one sending may be lost too, so they are asked for again before it is too late.
    pub fn handle_missing(&mut self, now: Local, first: u64, count: u64, round_trip: i64) {
        let last = first.saturating_add(count.saturating_sub(1));
        let rounds = self.rounds(round_trip);
        for gap in self.gaps.range_mut(first..=last).map(|(_, gap)| gap) {
            if !gap.lacking || gap.ask_at <= now {
                gap.lacking = true;
                gap.ask_at = gap.next_ask(now, &rounds);
            }
        }
        let Some(next) = self.next else { return };
        for index in first.max(next)..last.saturating_add(1).min(self.limit()).min(next + MAX_GAPS) {
            if !self.held.contains(index) && !self.gaps.contains_key(&index) {
                self.open(now, index, now);
                if let Some(gap) = self.gaps.get_mut(&index) {
                    gap.lacking = true;
                    gap.ask_at = gap.next_ask(now, &rounds);
                }
            }
        }
    }

    /// Finds what is overdue, and forgets what is too late.
    pub fn handle_timeout(&mut self, now: Local) {
        while let Some(next) = self.next
            && next < self.limit()
            && self.overdue_at(next).is_some_and(|at| at <= now)
        {
            self.open(now, next, now);
            self.next = Some(next + 1);
            self.skip_held();
        }
        let useful = self.wish.useful;
        let before = self.gaps.len();
        self.gaps.retain(|_, gap| gap.until(useful) > now && (gap.rounds < MAX_ROUNDS || gap.ask_at > now));
        self.abandoned += (before - self.gaps.len()) as u64;
    }

    /// The next request that is due, of at most `allowance` indices; call until `None`.
    pub fn poll_ask(&mut self, now: Local, round_trip: i64, allowance: u32) -> Option<Ask> {
        if !self.gaps.values().any(|gap| gap.ask_at <= now) {
            return None;
        }
        let rounds = self.rounds(round_trip);
        let (mut asked, mut found, mut twice) = (Vec::new(), Vec::new(), false);
        for (&index, gap) in &mut self.gaps {
            if gap.ask_at > now + TOGETHER || gap.until(rounds.useful) <= now || gap.rounds >= MAX_ROUNDS {
                continue;
            }
            if asked.len() as u32 >= allowance {
                gap.ask_at = now + POSTPONE;
                continue;
            }
            if asked.len() >= wire::MAX_RANGES {
                break;
            }
            if gap.first_asked.is_none() {
                gap.first_asked = Some(now);
                found.push(index);
            }
            gap.rounds += 1;
            gap.ask_at = gap.next_ask(now, &rounds);
            twice |= !rounds.spare(index, gap.rounds);
            asked.push(index);
        }
        if asked.is_empty() {
            return None;
        }
        self.round = self.round.wrapping_add(1);
        let indices = asked.len() as u32;
        let nack = proto::Nack { track: wire::id(self.wish.track), ranges: wire::ranges(asked), round: self.round };
        Some(Ask { nack, found: wire::ranges(found), indices, twice })
    }

    /// When `handle_timeout` and `poll_ask` have something to do.
    pub fn poll_timeout(&self) -> Option<Local> {
        let due = self.next.filter(|next| *next < self.limit());
        let overdue = due.and_then(|next| self.overdue_at(next));
        let gaps = self.gaps.values().map(|gap| gap.ask_at.min(gap.until(self.wish.useful)));
        gaps.chain(overdue).min()
    }

    /// When to ask whether the parent is still there: the next packet is far beyond its due time.
    /// `earliest`: when that may be asked at all.
    pub fn ping_at(&self, earliest: Local) -> Option<Local> {
        // What is lost of a bunch that came says nothing of the parent.
        let expected = last_of_bunch(self.newest, self.arrivals.together()) + 1;
        if self.wish.packets.is_some_and(|packets| expected >= packets) {
            return None;
        }
        let late = self.arrivals.due(expected)? + PING_AFTER;
        let at = late.max(earliest);
        (at < late + PING_FOR).then_some(at)
    }

    pub fn expect(&mut self, due: Local) {
        self.expected = Some(due);
    }

    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// When the next packet is so late that another parent should be heard: that the parent itself lacks it gives that
    /// one time to turn to another of its own.
    pub fn starves_at(&self) -> Option<Local> {
        let come = last_of_bunch(self.newest, self.arrivals.together());
        let next = if self.held.contains(self.newest) { come + 1 } else { come };
        if self.wish.packets.is_some_and(|packets| next >= packets) {
            return None;
        }
        let due = self.arrivals.due(next).or(self.expected.filter(|_| self.wish.duration > 0))?;
        let lacking = self.gaps.get(&next).is_some_and(|gap| gap.lacking);
        Some(due + if lacking { LACKS_AFTER } else { STARVES_AFTER })
    }

    /// Packets given up since the last call.
    pub fn take_abandoned(&mut self) -> u64 {
        std::mem::take(&mut self.abandoned)
    }

    #[cfg(test)]
    pub fn gaps(&self) -> usize {
        self.gaps.len()
    }

    fn learn(&mut self, now: Local, index: u64, asked: Option<Local>, round_trip: i64) {
        // Sooner than any answer could be here, it is the packet itself, only late.
        let answered = asked.is_some_and(|asked| now - asked >= round_trip / 4 * 3);
        self.late = if answered { self.late + 1 } else { 0 };
        if self.late >= LATE_IN_A_ROW {
            // Not losses but a longer path: everything comes, and everything was asked for first.
            self.arrivals.forget();
            self.late = 0;
        } else if answered {
            return;
        }
        self.arrivals.learn(index, now);
    }

    /// Opens gaps for what is missing before `index`, after a short allowance for reordering.
    fn find_before(&mut self, now: Local, index: u64) {
        let Some(next) = self.next.filter(|next| *next < index) else { return };
        let first = next.max(index.saturating_sub(MAX_GAPS));
        self.abandoned += first - next;
        for missing in first..index {
            if !self.held.contains(missing) {
                // Others of its bunch may overtake it by as much as the path jitters.
                let together = self.arrivals.together() > 1;
                let due = self.arrivals.missing_at(missing).filter(|_| together);
                let wait = self.crowd.map_or(0, |crowd| crowd.wait.min(self.left(missing, now) / WAIT_OF_LEFT));
                self.open(now, missing, due.unwrap_or(now).max(now + REORDER + wait));
            }
        }
        self.next = Some(index);
    }

    /// When what has not come by itself, and was not overtaken, is asked for.
    fn overdue_at(&self, index: u64) -> Option<Local> {
        let at = self.arrivals.missing_at(index)?;
        let patience = self.crowd.map_or(0, |crowd| crowd.wait + PATIENCE).min(self.left(index, at) / WAIT_OF_LEFT);
        Some(at + patience)
    }

    /// µs for which a packet is still of use.
    fn left(&self, index: u64, now: Local) -> i64 {
        (self.arrivals.alone(index).unwrap_or(now) + self.wish.useful - now).max(0)
    }

    fn open(&mut self, now: Local, index: u64, ask_at: Local) {
        let due = self.arrivals.alone(index).unwrap_or(now);
        if self.gaps.contains_key(&index) {
            return;
        }
        if due + self.wish.useful <= now {
            self.abandoned += 1;
            return;
        }
        if self.gaps.len() as u64 >= MAX_GAPS {
            self.gaps.pop_first();
            self.abandoned += 1;
        }
        self.gaps.insert(index, Gap { due, ask_at, first_asked: None, rounds: 0, lacking: false });
    }

    fn rounds(&self, round_trip: i64) -> Rounds {
        // A bunch is lost at once, and rounds of answers into the burst that took it would spend the whole budget
        // before its end.
        let times = if self.arrivals.together() > 1 { 2 } else { 1 };
        let length = round_trip.saturating_add(ROUND_MARGIN).saturating_mul(times).clamp(ROUND_LEAST, ROUND_MOST);
        Rounds { useful: self.wish.useful, round_trip, length, newest: self.newest, crowd: self.crowd }
    }

    fn skip_held(&mut self) {
        while let Some(next) = self.next
            && self.held.contains(next)
        {
            self.next = Some(next + 1);
        }
    }

    /// Nothing from here on is asked for by its due time: it lies beyond the track's end, or so far
    /// beyond the last packet that came that rather the track has stopped.
    fn limit(&self) -> u64 {
        let ahead = match self.wish.duration {
            0 => MAX_GAPS,
            duration => (self.wish.useful / duration).unsigned_abs().saturating_add(AHEAD).min(MAX_GAPS),
        };
        self.wish.packets.unwrap_or(LAST_INDEX).min(self.newest + ahead)
    }
}

impl Rounds {
    /// Whether the parent is to be spared the second copy of a request for this packet, its first being 1.
    fn spare(&self, index: u64, request: u32) -> bool {
        self.crowd.is_some_and(|crowd| crowd.vast || request == 1 && index >= self.newest)
    }
}

impl Gap {
    fn until(&self, useful: i64) -> Local {
        self.due + useful
    }

    /// When to ask next, having asked now.
    fn next_ask(&self, now: Local, rounds: &Rounds) -> Local {
        let until = self.until(rounds.useful);
        let left = until - rounds.round_trip - now;
        if left < COPY_AFTER {
            return until;
        }
        let wait = if self.lacking {
            (left / 2).clamp(ROUND_LEAST, LACKING_MOST)
        } else {
            let quick = if rounds.crowd.is_some_and(|crowd| crowd.vast) { 1 } else { QUICK_ROUNDS };
            let doublings = self.rounds.saturating_sub(quick).min(6);
            // The end in sight, waiting for an answer is no use any more: what matters is that one
            // request falls outside a burst of loss.
            (rounds.length << doublings).min(ROUND_MOST).min((left / 2).max(ROUND_LEAST))
        };
        now + wait.min(left)
    }
}

/// Beyond its due time (DESIGN §4); and where the parent said that it lacks the packet: it turns to another parent
/// after as much, and the packet then comes.
const STARVES_AFTER: i64 = 300 * MILLISECOND;
const LACKS_AFTER: i64 = 2 * STARVES_AFTER;
/// Each request goes twice, so far apart that most short bursts of loss take only one.
pub const COPY_AFTER: i64 = 20 * MILLISECOND;
/// Before an exchange has measured it: a mobile network's.
pub const ROUND_TRIP: i64 = 150 * MILLISECOND;
/// Gaps remembered per track: two minutes at 240 ms, more than any playout delay.
pub const MAX_GAPS: u64 = 512;

/// A packet that the network only reordered comes within this.
const REORDER: i64 = 10 * MILLISECOND;
/// Requests due so soon go in the same datagram.
const TOGETHER: i64 = 5 * MILLISECOND;
/// Beyond the allowance of one second, so that asking does not look like a flood to the parent.
const POSTPONE: i64 = 100 * MILLISECOND;
/// A child of many waits so much longer, beside its own time, for what the parent may only be late with; and never
/// longer than such a part of the time that the packet is still of use.
const PATIENCE: i64 = 40 * MILLISECOND;
const WAIT_OF_LEFT: i64 = 3;
/// A round lasts a round trip and this: both copies of the request, and some jitter.
const ROUND_MARGIN: i64 = COPY_AFTER + 5 * MILLISECOND;
const ROUND_LEAST: i64 = 60 * MILLISECOND;
const ROUND_MOST: i64 = 2 * SECOND;
/// Rounds before they grow longer: nearly a second at a round trip of 100 ms.
const QUICK_ROUNDS: u32 = 6;
/// Rounds after which a packet without deadline (an order) is given up: about two minutes. The
/// tick and the next join show what is in force.
const MAX_ROUNDS: u32 = 60;
/// What the parent lacks is asked for again after half the time left, at most this.
const LACKING_MOST: i64 = SECOND;
/// Packets that a stopped track is asked for, beyond those whose time has not passed.
const AHEAD: u64 = 4;
/// At 10 % loss eight packets in a row would all be lost once in 10^8.
const LATE_IN_A_ROW: u32 = 8;
/// A packet so late means more than jitter (DESIGN §4).
const PING_AFTER: i64 = 200 * MILLISECOND;
/// A track silent for longer has stopped, and the ordinary beats tell whether the parent lives.
const PING_FOR: i64 = 10 * SECOND;

#[cfg(test)]
mod tests;
