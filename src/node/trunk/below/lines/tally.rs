//! All lines in a few numbers: how many there are of these does not grow with the nodes.
use super::{Line, ROLES, STATES};
use crate::node::trunk::{Known, TROUBLES};

/// Kept up with each line that comes, so that nobody has to walk 200,000 of them.
#[derive(Default)]
pub struct Tally {
    known: Known,
}

impl Tally {
    pub fn known(&self) -> Known {
        self.known
    }

    /// A node's line takes the place of an older one.
    pub fn take(&mut self, old: Option<&Line>, new: &Line) {
        if let Some(old) = old {
            self.stand(old, u64::wrapping_sub);
        }
        self.stand(new, u64::wrapping_add);
        // What a node had counted before it was known here is not of this node's time.
        let Some(old) = old.filter(|old| old.is_said() && new.is_said() && new.is_speaker()) else { return };
        let Known { received, repaired, lost, concealed, .. } = &mut self.known;
        *received += since(old.received, new.received);
        *repaired += since(old.repaired.into(), new.repaired.into());
        *lost += since(old.lost.into(), new.lost.into());
        *concealed += since(old.concealed, new.concealed);
    }

    /// Nobody's line takes its place.
    pub fn leave(&mut self, line: &Line) {
        self.stand(line, u64::wrapping_sub);
    }

    /// Counts a line in or out wherever it belongs.
    fn stand(&mut self, line: &Line, change: fn(u64, u64) -> u64) {
        let state = usize::from(line.seen.state) % STATES.len();
        if !line.is_speaker() {
            self.known.relays[state] = change(self.known.relays[state], 1);
            return;
        }
        self.known.speakers[state] = change(self.known.speakers[state], 1);
        if line.is_out_of_step() {
            self.known.out_of_step = change(self.known.out_of_step, 1);
        }
        for code in line.seen.trouble.split_whitespace() {
            // The last stands for all that a later release may say.
            let at = TROUBLES.iter().position(|known| *known == code).unwrap_or(TROUBLES.len());
            self.known.troubled[at] = change(self.known.troubled[at], 1);
        }
    }
}

impl Line {
    pub fn is_speaker(&self) -> bool {
        ROLES.get(usize::from(self.seen.role)) == Some(&"speaker")
    }

    fn is_out_of_step(&self) -> bool {
        let sounding = STATES.get(usize::from(self.seen.state)) == Some(&"sounding");
        sounding && (self.offset.unsigned_abs() > OFFSET || self.uncertainty > UNCERTAINTY)
    }
}

/// A count that is lower than before is that of a new process.
fn since(old: u64, new: u64) -> u64 {
    if new >= old { new - old } else { new }
}

/// µs: sound is 7 m late, or two speakers are an echo.
const OFFSET: u32 = 20_000;
/// µs: beyond it one speaker of a cluster should sound alone (DESIGN §5).
const UNCERTAINTY: u32 = 50_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Report;
    use crate::time::Civil;

    fn line(role: &str, state: &str, counted: u64, trouble: &str) -> Line {
        let (role, state, trouble) = (role.into(), state.into(), trouble.into());
        let report = Report { role, state, received: counted, lost: counted / 10, trouble, at: 1, ..Report::default() };
        Line::read(&report, Civil(i64::MAX)).unwrap()
    }

    fn of(states: &[u64], state: &str) -> u64 {
        states[STATES.iter().position(|known| *known == state).unwrap()]
    }

    #[test]
    fn a_node_is_counted_in_one_state_at_a_time() {
        let mut tally = Tally::default();
        let (idle, sounding) = (line("speaker", "idle", 0, ""), line("speaker", "sounding", 0, ""));
        tally.take(None, &idle);
        tally.take(None, &line("relay", "idle", 0, ""));
        tally.take(Some(&idle), &sounding);
        tally.take(Some(&sounding), &line("speaker", "dancing", 0, ""));
        let known = tally.known();
        assert_eq!(known.speakers.iter().sum::<u64>(), 1);
        assert_eq!((of(&known.speakers, "unknown"), of(&known.relays, "idle")), (1, 1));
    }

    #[test]
    fn counts_go_on_from_when_a_node_was_first_heard_of_and_over_its_restarts() {
        let mut tally = Tally::default();
        let counts = [1_000, 1_500, 20, 70];
        let lines = counts.map(|counted| line("speaker", "sounding", counted, ""));
        tally.take(None, &lines[0]);
        lines.windows(2).for_each(|pair| tally.take(Some(&pair[0]), &pair[1]));
        // At a join nothing has been said yet, and then all is said that was counted before.
        let joining = Line { at: 0, received: 0, ..lines[3].clone() };
        tally.take(Some(&lines[3]), &joining);
        tally.take(Some(&joining), &lines[3]);
        // What a relay counts came to it, not to a listener.
        tally.take(Some(&line("relay", "idle", 0, "")), &line("relay", "idle", 99, ""));
        assert_eq!((tally.known().received, tally.known().lost), (500 + 20 + 50, 50 + 2 + 5));
    }

    #[test]
    fn troubles_are_counted_by_code_and_strange_ones_together() {
        let mut tally = Tally::default();
        let troubled = line("speaker", "sounding", 0, "sound.silent moon.full");
        tally.take(None, &troubled);
        let silent = TROUBLES.iter().position(|code| *code == "sound.silent").unwrap();
        let known = tally.known();
        assert_eq!((known.troubled[silent], known.troubled[TROUBLES.len()]), (1, 1));
        tally.take(Some(&troubled), &line("speaker", "sounding", 0, ""));
        assert_eq!(tally.known().troubled, [0; TROUBLES.len() + 1]);
    }

    #[test]
    fn only_what_sounds_can_be_out_of_step() {
        let mut tally = Tally::default();
        for (state, offset, uncertainty) in
            [("sounding", -20_001, 0), ("sounding", 20_000, 50_000), ("sounding", 0, 50_001), ("idle", 90_000, 0)]
        {
            let (role, state) = ("speaker".into(), state.into());
            let report = Report { role, state, offset, uncertainty, ..Report::default() };
            tally.take(None, &Line::read(&report, Civil(i64::MAX)).unwrap());
        }
        assert_eq!(tally.known().out_of_step, 2);
    }
}
