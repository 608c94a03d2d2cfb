//! What a loudspeaker without a place sounds: its short code, once in a while and by day alone, for the technician who
//! stands below it.

use super::Trunk;
use crate::audio::{code_micros, code_number};
use crate::broadcast::{Priority, Purpose, Tone};
use crate::key::PublicKey;
use crate::node::instants::spread;
use crate::playout::Program;
use crate::time::{Civil, Local, MILLISECOND, SECOND};
use crate::track::Info;
use uuid::Uuid;

/// When a board that waits may be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Daylight {
    /// Of the zone in which people live, µs east of UTC.
    pub offset: i64,
    /// µs of the day there; nothing between `until` and `from`.
    pub from: i64,
    pub until: i64,
}

impl Daylight {
    /// From seven in the morning until eight in the evening.
    pub fn in_zone(offset: i64) -> Self {
        Self { offset, from: 7 * 3600 * SECOND, until: 20 * 3600 * SECOND }
    }

    fn is_at(&self, civil: Civil) -> bool {
        (self.from..self.until).contains(&(civil.0 + self.offset).rem_euclid(DAY))
    }
}

impl Trunk {
    /// Hands the next call to the player, of a board that waits.
    pub(super) fn call(&mut self, now: Local, civil: Option<Civil>) {
        let (Some(player), Some(civil)) = (&mut self.player, civil) else { return };
        let joined = self.parents.welcomed() > 0;
        let program = Some(next(self.options.node, civil))
            .filter(|program| joined && program.tone.is_some_and(|tone| self.options.daylight.is_at(tone.at)));
        player.handle_program(now, program);
    }
}

/// The call that sounds at `civil`, or comes next: each board at a second of its own, since several hang side by side.
fn next(node: Uuid, civil: Civil) -> Program {
    let code = crate::node::code(node);
    let duration = code_micros(code);
    let own = spread(node, EVERY);
    // The one under way stays until its end is surely out.
    let turn = (civil.0 - own - duration - SETTLE).div_euclid(EVERY) + 1;
    let at = Civil(turn * EVERY + own);
    let id = Uuid::from_u128(at.0.unsigned_abs().into());
    // Nothing follows the tone: the track has no packets.
    let track = Info {
        id,
        sign: PublicKey([0; 32]),
        ssrc: 0,
        duration: 11_520,
        anchor: at + duration - DELAY,
        key_hash: [0; 32],
        bitrate: 0,
        packets: Some(0),
    };
    let spoken = track.anchor;
    let tone = Some(Tone { at, which: code_number(code), duration });
    let (priority, purpose) = (Priority::Normal, Purpose::Real);
    Program { broadcast: id, priority, purpose, track, delay: DELAY, until: spoken, tone }
}

const DAY: i64 = 86_400 * SECOND;
/// Long enough to be borne, short enough to be waited for.
const EVERY: i64 = 60 * SECOND;
const DELAY: i64 = SECOND;
const SETTLE: i64 = 500 * MILLISECOND;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_calls_once_a_minute_at_a_second_of_its_own() {
        let (one, other) = (Uuid::from_u128(7 << 64 | 9_999), Uuid::from_u128(5 << 64 | 30_000_000));
        let now = Civil(1_800_000_000 * SECOND);
        let at = |node, civil| next(node, civil).tone.unwrap().at;
        let first = at(one, now);
        assert!(first > now - 30 * SECOND && first <= now + EVERY);
        assert_eq!(at(one, first), first, "the one under way stays");
        assert_eq!(at(one, first + EVERY), first + EVERY);
        assert_ne!((at(other, now).0 - at(one, now).0).rem_euclid(EVERY), 0);
        let program = next(one, now);
        assert_eq!(program.tone.unwrap().duration, code_micros(crate::node::code(one)));
        assert!(program.tone.unwrap().duration + SETTLE < EVERY, "a code is shorter than a minute");
    }

    #[test]
    fn nobody_is_woken_by_a_board_that_waits() {
        let day = Daylight::in_zone(7 * 3600 * SECOND);
        // 2027-01-15, in Hà Nội.
        let at = |hour: i64, minute: i64| Civil(1_799_946_000 * SECOND + (hour * 60 + minute) * 60 * SECOND);
        assert!(!day.is_at(at(3, 15)) && !day.is_at(at(6, 59)) && day.is_at(at(7, 0)));
        assert!(day.is_at(at(19, 59)) && !day.is_at(at(20, 0)) && !day.is_at(at(23, 59)));
    }
}
