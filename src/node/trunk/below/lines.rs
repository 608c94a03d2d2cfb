//! What is known of every node below: kept small, since a country has 150,000 of them, and passed up at a
//! bounded rate, what people look at first.

mod tally;

use super::super::{Known, STATES};
use crate::broadcast::{Settings, Volume};
use crate::proto;
use crate::session::is_sane_report;
use crate::time::{Civil, SECOND};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use tally::Tally;
use uuid::Uuid;

/// One node's newest report, about 350 bytes with its texts and its place in the map. Nil stands for no id.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    seen: Seen,
    received: u64,
    repaired: u32,
    lost: u32,
    concealed: u64,
    rejected: u32,
    at: i64,
    buffer: i32,
    offset: i32,
    uncertainty: u32,
    peak: Option<i16>,
    rms: Option<i16>,
    bitrate: u32,
    /// Tenths of dB, and the number of its settings.
    volume: Option<i16>,
    settings: u64,
    /// Of the process that said it, and of the one before; 0 if unknown.
    instance: u64,
    before: u64,
}

/// What people look at: it goes up before counters do.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    area: Box<str>,
    name: Box<str>,
    trouble: Box<str>,
    parent: Uuid,
    sounding: Uuid,
    first: Uuid,
    ended: Uuid,
    first_at: i64,
    /// Seconds, to the end of the one it is in: a clock for people.
    muted: u32,
    state: u8,
    role: u8,
}

impl Line {
    /// `None` if it is longer than anything true. Counts and times beyond reason are cut to it.
    pub fn read(report: &proto::Report, latest: Civil) -> Option<Self> {
        if !is_sane_report(report) {
            return None;
        }
        let id = |bytes: &[u8]| if bytes.is_empty() { Some(Uuid::nil()) } else { Uuid::from_slice(bytes).ok() };
        let count = |count: u64| count.min(GREATEST);
        // In a lifetime a loudspeaker misses fewer.
        let few = |count: u64| count.min(u64::from(u32::MAX)) as u32;
        let time = |at: i64| at.clamp(0, latest.0.max(0));
        let micros = |micros: i64| micros.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
        let level = |level: i32| level.clamp(-10_000, 10_000) as i16;
        let index = |names: &[&str], text: &str| names.iter().position(|name| *name == text).unwrap_or(0) as u8;
        Some(Self {
            seen: Seen {
                area: report.area.as_str().into(),
                name: report.name.as_str().into(),
                trouble: report.trouble.as_str().into(),
                parent: id(&report.parent)?,
                sounding: id(&report.sounding)?,
                first: id(&report.first)?,
                ended: id(&report.ended)?,
                first_at: time(report.first_at),
                muted: seconds(report.muted.min(latest.0.max(0).saturating_add(Settings::MUTE))),
                state: index(&STATES, &report.state),
                role: index(&ROLES, &report.role),
            },
            received: count(report.received),
            repaired: few(report.repaired),
            lost: few(report.lost),
            concealed: count(report.concealed),
            rejected: few(report.rejected),
            at: time(report.at),
            buffer: micros(report.buffer),
            offset: micros(report.offset),
            uncertainty: report.uncertainty.min(u64::from(u32::MAX)) as u32,
            peak: report.peak.map(level),
            rms: report.rms.map(level),
            bitrate: report.bitrate,
            volume: report.volume.and_then(Volume::new).map(Volume::tenths),
            settings: report.settings,
            instance: report.instance,
            before: 0,
        })
    }

    pub fn area(&self) -> &str {
        &self.seen.area
    }

    pub fn name(&self) -> &str {
        &self.seen.name
    }

    /// Number of the settings that it says are in force there.
    pub fn settings(&self) -> u64 {
        self.settings
    }

    /// `None` while nothing is known of the way to it.
    pub fn parent(&self) -> Option<Uuid> {
        (!self.is_gone() && !self.seen.parent.is_nil()).then_some(self.seen.parent)
    }

    pub fn is_waiting(&self) -> bool {
        STATES.get(usize::from(self.seen.state)) == Some(&"waiting")
    }

    /// It has no place, whatever else it says.
    pub fn wait(&mut self) {
        self.seen.state = STATES.iter().position(|known| *known == "waiting").unwrap_or(0) as u8;
    }

    pub fn waits(&self) -> bool {
        STATES.get(usize::from(self.seen.state)) == Some(&"waiting")
    }

    /// It was expelled, whatever somebody still says of it.
    pub fn expel(&mut self) {
        self.seen.state = STATES.iter().position(|known| *known == EXPELLED).unwrap_or(0) as u8;
    }

    /// Who said so last, also if nothing is known of the way to it any more.
    pub fn stands_below(&self) -> Uuid {
        self.seen.parent
    }

    pub fn is_relay(&self) -> bool {
        self.seen.role == RELAY
    }

    /// A loudspeaker that orders are for.
    pub fn is_expected(&self) -> bool {
        let state = STATES.get(usize::from(self.seen.state));
        self.is_speaker() && !matches!(state, Some(&"waiting" | &EXPELLED))
    }

    /// Whether it was out of touch at that time: nothing that it said is younger than its session could have lasted.
    pub fn was_gone_by(&self, at: Civil) -> bool {
        self.is_gone() && self.at + SILENT < at.0
    }

    pub fn is_gone(&self) -> bool {
        matches!(STATES.get(usize::from(self.seen.state)), None | Some(&"lost" | &"unknown" | &EXPELLED))
    }

    /// What this node knows better.
    pub fn stand(&mut self, area: &str, name: &str, role: &str, parent: Uuid) {
        let role = ROLES.iter().position(|known| *known == role).unwrap_or(0) as u8;
        self.seen = Seen { area: area.into(), name: name.into(), role, parent, ..self.seen.clone() };
    }

    /// Whether the node itself has said it, and it was not written down at its joining.
    fn is_said(&self) -> bool {
        self.at != 0
    }

    fn begins(&self, newer: &Self) -> Option<(Uuid, Civil)> {
        let Seen { first, first_at, .. } = newer.seen;
        (self.is_said() && first != self.seen.first && !first.is_nil()).then_some((first, Civil(first_at)))
    }

    fn write(&self, node: Uuid) -> proto::Report {
        let id = |id: Uuid| if id.is_nil() { Default::default() } else { id.as_bytes().to_vec().into() };
        let Seen { area, name, trouble, .. } = &self.seen;
        proto::Report {
            node: node.as_bytes().to_vec().into(),
            area: area.to_string(),
            name: name.to_string(),
            parent: id(self.seen.parent),
            state: STATES[usize::from(self.seen.state) % STATES.len()].into(),
            received: self.received,
            repaired: self.repaired.into(),
            lost: self.lost.into(),
            concealed: self.concealed,
            buffer: self.buffer.into(),
            offset: self.offset.into(),
            sounding: id(self.seen.sounding),
            first: id(self.seen.first),
            first_at: self.seen.first_at,
            role: ROLES[usize::from(self.seen.role) % ROLES.len()].into(),
            rejected: self.rejected.into(),
            ended: id(self.seen.ended),
            at: self.at,
            uncertainty: self.uncertainty.into(),
            peak: self.peak.map(i32::from),
            rms: self.rms.map(i32::from),
            trouble: trouble.to_string(),
            bitrate: self.bitrate,
            instance: self.instance,
            muted: i64::from(self.seen.muted) * SECOND,
            volume: self.volume.map(i32::from),
            settings: self.settings,
        }
    }
}

/// All nodes below.
#[derive(Default)]
pub struct Lines {
    lines: BTreeMap<Uuid, Line>,
    /// Those of which people should see something new that the parent has not been sent, and those of which
    /// only counts have changed; and who of each went last, so that all have their turn.
    seen: Changed,
    counted: Changed,
    /// This node's.
    own: Option<Line>,
    tally: Tally,
}

#[derive(Default)]
struct Changed {
    nodes: BTreeSet<Uuid>,
    last: Option<Uuid>,
}

impl Changed {
    fn next(&mut self) -> Option<Uuid> {
        let after = (self.last.map_or(Unbounded, Excluded), Unbounded);
        let next = self.nodes.range(after).next().or_else(|| self.nodes.first()).copied()?;
        self.nodes.remove(&next);
        self.last = Some(next);
        self.last
    }
}

impl Lines {
    /// False if there is no room for another node. That it is lost is for its own parent to say: whoever had it before
    /// learns late that it has gone to another.
    pub fn take(&mut self, node: Uuid, line: Line) -> bool {
        let old = self.lines.get(&node);
        if line.is_gone() && old.is_some_and(|old| !old.is_gone() && old.seen.parent != line.seen.parent) {
            return true;
        }
        if old.is_none() && self.lines.len() >= NODES {
            return false;
        }
        if old.is_none_or(|old| old.seen != line.seen) {
            self.counted.nodes.remove(&node);
            self.seen.nodes.insert(node);
        } else if !self.seen.nodes.contains(&node) {
            self.counted.nodes.insert(node);
        }
        self.tally.take(old, &line);
        self.lines.insert(node, line);
        true
    }

    pub fn iter(&self) -> impl Iterator<Item = (Uuid, &Line)> {
        self.lines.iter().map(|(node, line)| (*node, line))
    }

    pub fn get(&self, node: Uuid) -> Option<&Line> {
        self.lines.get(&node)
    }

    /// Whether a process speaks that another had taken the place of: then two nodes hold one key. What comes late, by
    /// another way, was said before.
    pub fn is_twice(&self, node: Uuid, line: &mut Line) -> bool {
        let Some(old) = self.lines.get(&node).filter(|old| old.instance != 0) else { return false };
        if line.instance == 0 {
            (line.instance, line.before) = (old.instance, old.before);
            return false;
        }
        if line.instance == old.instance {
            line.before = old.before;
            return false;
        }
        let later = line.at > old.at;
        line.before = if later { old.instance } else { old.before };
        later && line.instance == old.before
    }

    /// This node's own line, which it gives itself: only counted. Answers as `begins`.
    pub fn take_own(&mut self, line: Line) -> Option<(Uuid, Civil)> {
        self.tally.take(self.own.as_ref(), &line);
        let begins = self.own.as_ref().and_then(|own| own.begins(&line));
        self.own = Some(line);
        begins
    }

    pub fn known(&self) -> Known {
        self.tally.known()
    }

    /// The broadcast that `line` is the first to say began there, and when. What had begun before the node was heard of
    /// is no news.
    pub fn begins(&self, node: Uuid, line: &Line) -> Option<(Uuid, Civil)> {
        self.lines.get(&node)?.begins(line)
    }

    /// The node's link is down: what sounds there now, and how loud, is not known any more, and of those below it
    /// nothing is, until another parent of theirs says it.
    pub fn lose(&mut self, node: Uuid) {
        self.go(node, "lost");
    }

    /// It was expelled: of whom nothing is heard any more, and nothing expected.
    pub fn expel(&mut self, node: Uuid) {
        self.go(node, EXPELLED);
    }

    fn go(&mut self, node: Uuid, state: &str) {
        self.stand_still(node, state);
        let mut gone = BTreeSet::from([node]);
        let is_relay = |line: &Line| line.seen.role == RELAY;
        if !self.lines.get(&node).is_some_and(is_relay) {
            return;
        }
        // Once for each tier below: lines stand in the order of their ids.
        loop {
            let below = |(id, line): &(&Uuid, &Line)| gone.contains(&line.seen.parent) && !gone.contains(id);
            let found: Vec<Uuid> = self.lines.iter().filter(below).map(|(id, _)| *id).collect();
            if found.is_empty() {
                return;
            }
            found.iter().for_each(|id| self.stand_still(*id, "unknown"));
            gone.extend(found);
        }
    }

    fn stand_still(&mut self, node: Uuid, state: &str) {
        let Some(line) = self.lines.get(&node) else { return };
        let state = STATES.iter().position(|known| *known == state).unwrap_or(0) as u8;
        let seen = Seen { state, sounding: Uuid::nil(), trouble: "".into(), muted: 0, ..line.seen.clone() };
        let line = Line { seen, peak: None, rms: None, ..line.clone() };
        self.take(node, line);
    }

    /// Another parent reports on it from now on.
    pub fn forget(&mut self, node: Uuid) {
        if let Some(line) = self.lines.remove(&node) {
            self.tally.leave(&line);
        }
        self.seen.nodes.remove(&node);
        self.counted.nodes.remove(&node);
    }

    pub fn send_all_again(&mut self) {
        self.counted.nodes.clear();
        self.seen.nodes = self.lines.keys().copied().collect();
    }

    pub fn all(&self) -> impl Iterator<Item = proto::Report> + '_ {
        self.lines.iter().map(|(node, line)| line.write(*node))
    }

    /// What goes up in this second: first what people look at, then new counts of some others.
    pub fn next(&mut self) -> Vec<proto::Report> {
        let mut nodes: Vec<Uuid> = std::iter::from_fn(|| self.seen.next()).take(AT_ONCE).collect();
        let counts = (self.lines.len() / ROUND).clamp(COUNTS_LEAST, COUNTS_MOST).min(AT_ONCE - nodes.len());
        nodes.extend(std::iter::from_fn(|| self.counted.next()).take(counts));
        nodes.into_iter().filter_map(|node| Some(self.lines.get(&node)?.write(node))).collect()
    }
}

/// Of a time, the second in which it ends.
fn seconds(micros: i64) -> u32 {
    micros.clamp(0, i64::from(u32::MAX) * SECOND).unsigned_abs().div_ceil(SECOND.unsigned_abs()) as u32
}

/// The state of a node that was expelled.
const EXPELLED: &str = "expelled";
/// As loa.proto names them. The first is what a later release may say.
const ROLES: [&str; 3] = ["", "relay", "speaker"];
/// Its place there.
const RELAY: u8 = 1;
/// µs after which a session without a word ends (`session::parent`).
const SILENT: i64 = 35 * SECOND;
/// Packets or frames that no node can have counted: nine million years of sound.
const GREATEST: u64 = 1 << 48;
/// Nodes remembered: the country has 150,000 speakers.
const NODES: usize = 200_000;
/// Reports passed up in a second: of 5,000 nodes that begin to sound at once the last is known after five.
const AT_ONCE: usize = 1_024;
/// Of them, counts alone: each node's about once a minute, in one frame a second at least and eight at most.
/// The origin of a country with thirty provinces so hears of 2,000 a second.
const ROUND: usize = 60;
const COUNTS_LEAST: usize = 64;
const COUNTS_MOST: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn report(state: &str, received: u64) -> proto::Report {
        let (area, name) = ("vn/01/00004".into(), "pole 4711 by the market".into());
        let parent = vec![7; 16].into();
        proto::Report {
            area,
            name,
            parent,
            state: state.into(),
            received,
            role: "speaker".into(),
            ..Default::default()
        }
    }

    fn line(state: &str, received: u64) -> Line {
        Line::read(&report(state, received), Civil(i64::MAX)).unwrap()
    }

    fn id(node: usize) -> Uuid {
        Uuid::from_u128(node as u128 + 1)
    }

    #[test]
    fn a_report_is_passed_on_as_it_came() {
        let report = proto::Report {
            node: id(3).as_bytes().to_vec().into(),
            repaired: 1,
            lost: 2,
            concealed: 3,
            buffer: -4,
            offset: 5,
            sounding: vec![1; 16].into(),
            first: vec![2; 16].into(),
            first_at: 6,
            rejected: 7,
            ended: vec![3; 16].into(),
            at: 8,
            uncertainty: 9,
            peak: Some(-10_000),
            rms: Some(-1),
            trouble: "sound.silent".into(),
            instance: 10,
            muted: 11 * SECOND,
            volume: Some(-60),
            settings: 12,
            ..report("buffering", 10)
        };
        assert_eq!(Line::read(&report, Civil(100)).unwrap().write(id(3)), report);
    }

    #[test]
    fn a_parent_that_a_node_has_left_cannot_say_that_it_is_lost() {
        let mut lines = Lines::default();
        let at = |parent: u8, state: &str| {
            let report = proto::Report { parent: vec![parent; 16].into(), ..report(state, 1) };
            Line::read(&report, Civil(i64::MAX)).unwrap()
        };
        let state = |lines: &Lines| lines.all().next().unwrap().state;
        assert!(lines.take(id(0), at(1, "idle")) && lines.take(id(0), at(2, "sounding")));
        lines.take(id(0), at(1, "lost"));
        assert_eq!(state(&lines), "sounding");
        lines.take(id(0), at(2, "lost"));
        assert_eq!(state(&lines), "lost");
        lines.forget(id(0));
        assert_eq!((lines.all().count(), lines.next().len()), (0, 0));
    }

    #[test]
    fn lies_are_cut_to_what_can_be() {
        let lie = proto::Report {
            received: u64::MAX,
            buffer: i64::MIN,
            offset: i64::MAX,
            first_at: i64::MAX,
            at: i64::MIN,
            uncertainty: u64::MAX,
            peak: Some(i32::MAX),
            ..report("dancing", 0)
        };
        let shown = Line::read(&lie, Civil(1_000)).unwrap().write(id(0));
        assert_eq!((shown.received, shown.first_at, shown.at, shown.state.as_str()), (1 << 48, 1_000, 0, "unknown"));
        assert_eq!((shown.buffer, shown.offset), (i64::from(i32::MIN), i64::from(i32::MAX)));
        assert_eq!(Line::read(&proto::Report { name: "x".repeat(257), ..report("idle", 0) }, Civil(0)), None);
        assert_eq!(Line::read(&proto::Report { first: vec![1; 15].into(), ..report("idle", 0) }, Civil(0)), None);
    }

    #[test]
    fn changes_go_up_before_counts_and_everyone_has_a_turn() {
        const NODES: usize = 5_000;
        let mut lines = Lines::default();
        (0..NODES).for_each(|node| assert!(lines.take(id(node), line("idle", 0))));
        let mut sent = 0;
        while sent < NODES {
            let some = lines.next();
            assert!(!some.is_empty() && some.len() <= AT_ONCE);
            sent += some.len();
        }
        let mut counted = BTreeSet::new();
        for second in 1..=NODES / COUNTS_MOST * 60 {
            // All report each second: the first nodes do not keep the last ones from their turn.
            (0..NODES).for_each(|node| assert!(lines.take(id(node), line("idle", second as u64))));
            lines.take(id(NODES - 1 - second % 100), line("sounding", second as u64));
            let some = lines.next();
            assert_eq!(some[0].state, if second <= 100 { "sounding" } else { some[0].state.as_str() });
            assert!(some.len() <= COUNTS_LEAST.max(NODES / ROUND) + 101, "{} in a second", some.len());
            counted.extend(some.into_iter().map(|report| report.node));
        }
        assert_eq!(counted.len(), NODES);
    }

    #[test]
    fn of_what_is_below_a_lost_relay_nothing_is_known_until_it_is_said_anew() {
        let mut lines = Lines::default();
        let below = |parent: usize, role: &str| {
            let parent = id(parent).as_bytes().to_vec().into();
            let report = proto::Report { parent, role: role.into(), at: 1, ..report("sounding", 5) };
            Line::read(&report, Civil(i64::MAX)).unwrap()
        };
        // Ids fall on the way down, so that one pass would not do.
        for (node, parent, role) in [(9, 20, "relay"), (8, 9, "relay"), (7, 8, "speaker"), (6, 20, "speaker")] {
            lines.take(id(node), below(parent, role));
        }
        let state = |lines: &Lines, node: usize| lines.lines[&id(node)].write(id(node)).state;
        lines.lose(id(9));
        assert_eq!([9, 8, 7, 6].map(|node| state(&lines, node)), ["lost", "unknown", "unknown", "sounding"]);
        assert_eq!(lines.known().speakers.iter().sum::<u64>(), 2);
        lines.take(id(7), below(8, "speaker"));
        assert_eq!(state(&lines, 7), "sounding");
    }

    #[test]
    fn only_what_begins_after_a_node_was_heard_of_is_news() {
        let mut lines = Lines::default();
        let first = |at: i64, broadcast: u8| {
            let first = vec![broadcast; 16].into();
            let report = proto::Report { at, first, first_at: 9, ..report("sounding", 5) };
            Line::read(&report, Civil(i64::MAX)).unwrap()
        };
        assert_eq!(lines.begins(id(1), &first(1, 1)), None, "it is new here");
        lines.take(id(1), line("joining", 0));
        assert_eq!(lines.begins(id(1), &first(1, 1)), None, "it said nothing yet");
        lines.take(id(1), first(1, 1));
        assert_eq!(lines.begins(id(1), &first(2, 1)), None, "it said so already");
        assert_eq!(lines.begins(id(1), &first(2, 2)), Some((Uuid::from_bytes([2; 16]), Civil(9))));
    }

    #[test]
    fn a_node_is_remembered_in_less_than_half_a_kilobyte() {
        let line = line("sounding", 1);
        let texts = [&line.seen.area, &line.seen.name, &line.seen.trouble].map(|text| text.len()).iter().sum::<usize>();
        let bytes = (size_of::<(Uuid, Line)>() + 2 * size_of::<Uuid>()) * 5 / 3 + 2 * 16 + texts;
        assert!(bytes < 512, "{bytes} bytes");
    }
}
