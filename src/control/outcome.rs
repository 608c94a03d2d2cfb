//! What became of one airing of the demonstration, speaker by speaker.
use super::forms::Node;
use super::sync::{self, Spread};
use super::table::align;
use super::text::{Language, say};
use crate::io::node::Played;
use crate::node::trunk::{Event, What};
use serde::Serialize;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Gathers what one speaker does from before a broadcast until after it.
#[derive(Debug)]
pub struct Speaker {
    name: String,
    area: String,
    /// Its report before the broadcast, and its newest.
    before: Node,
    now: Node,
    /// µs Unix UTC of its first sound, as planned.
    first: Option<i64>,
    /// Whether it played all of it, once it has ended.
    ended: Option<bool>,
    played: Vec<Played>,
    /// Of the newest chunk taken: each is taken once.
    newest: f64,
}

impl Speaker {
    /// `played`: the device's log so far, which is of earlier sound.
    pub fn new(name: &str, area: &str, before: Node, played: &[Played]) -> Self {
        let newest = played.iter().map(|chunk| chunk.left).fold(f64::NEG_INFINITY, f64::max);
        let now = before.clone();
        Self { name: name.into(), area: area.into(), before, now, first: None, ended: None, played: Vec::new(), newest }
    }

    pub fn handle_event(&mut self, broadcast: Uuid, event: &Event) {
        match event.what {
            What::Began { broadcast: id, at } if id == broadcast => {
                self.first.get_or_insert(at.0);
            }
            What::Ended { broadcast: id, whole, .. } if id == broadcast => {
                // Pre-empted and resumed, it ends more than once; the last word counts.
                self.ended = Some(whole == Some(true));
            }
            _ => {}
        }
    }

    pub fn handle_report(&mut self, report: Node) {
        self.now = report;
    }

    pub fn handle_played(&mut self, log: &[Played]) {
        let newer = log.iter().filter(|chunk| chunk.left > self.newest);
        let room = MOST_CHUNKS.saturating_sub(self.played.len());
        self.played.extend(newer.take(room));
        self.newest = log.iter().map(|chunk| chunk.left).fold(self.newest, f64::max);
    }

    pub fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// When the first sample left the device, µs Unix UTC: what its log says of the instant that was
    /// planned. `civil`: what to add to the machine's monotonic µs.
    fn first_sound(&self, civil: f64) -> Option<f64> {
        let planned = self.first? as f64;
        let left = self.played.iter().map(|chunk| chunk.left + civil);
        left.filter(|left| *left > planned - BEFORE_PLAN).min_by(f64::total_cmp)
    }

    fn line(&self, accepted: i64, civil: f64) -> Line {
        let since = |count: fn(&Node) -> u64| count(&self.now).saturating_sub(count(&self.before));
        Line {
            name: self.name.clone(),
            area: self.area.clone(),
            first_sound_ms: self.first_sound(civil).map(|first| (first - accepted as f64) / 1e3),
            received: since(|node| node.received),
            repaired: since(|node| node.repaired),
            lost: since(|node| node.lost),
            concealed: since(|node| node.concealed),
            whole: self.ended == Some(true),
        }
    }
}

/// The last lines of `loa up`.
#[derive(Debug, Serialize)]
pub struct Outcome {
    pub broadcast: Uuid,
    pub whole: bool,
    pub speakers: Vec<Line>,
    pub communes: Vec<Commune>,
    /// Over all communes, µs.
    pub p99_us: Option<f64>,
    pub largest_us: Option<f64>,
}

#[derive(Debug, Serialize)]
pub struct Line {
    pub name: String,
    pub area: String,
    /// From the origin's acceptance to the first sample that left the speaker.
    pub first_sound_ms: Option<f64>,
    /// Packets, verified.
    pub received: u64,
    pub repaired: u64,
    pub lost: u64,
    /// Frames of 20 ms.
    pub concealed: u64,
    pub whole: bool,
}

#[derive(Debug, Serialize)]
pub struct Commune {
    pub area: String,
    #[serde(flatten)]
    pub spread: Spread,
}

impl Outcome {
    /// `accepted`: µs Unix UTC; `civil`: what to add to the machine's monotonic µs for those.
    pub fn new(broadcast: Uuid, accepted: i64, civil: f64, speakers: &[Speaker]) -> Self {
        let lines: Vec<Line> = speakers.iter().map(|speaker| speaker.line(accepted, civil)).collect();
        let mut logs: BTreeMap<&str, Vec<Vec<Played>>> = BTreeMap::new();
        for speaker in speakers {
            logs.entry(&speaker.area).or_default().push(speaker.played.clone());
        }
        let communes: Vec<Commune> =
            logs.into_iter().map(|(area, logs)| Commune { area: area.into(), spread: sync::spread(&logs) }).collect();
        let most = |value: fn(&Spread) -> f64| {
            let measured = communes.iter().filter(|commune| commune.spread.windows > 0);
            measured.map(|commune| value(&commune.spread)).max_by(f64::total_cmp)
        };
        Self {
            broadcast,
            whole: !lines.is_empty() && lines.iter().all(|line| line.whole),
            p99_us: most(|spread| spread.p99),
            largest_us: most(|spread| spread.largest),
            speakers: lines,
            communes,
        }
    }

    /// Who did not play the whole of it, and what is known of why.
    pub fn missing(&self) -> String {
        let missing = self.speakers.iter().filter(|line| !line.whole).map(|line| match line.first_sound_ms {
            None => format!("{}: no sound (received {})", line.name, line.received),
            Some(_) => format!("{}: lost {}, concealed {}", line.name, line.lost, line.concealed),
        });
        missing.collect::<Vec<_>>().join("; ")
    }

    pub fn text(&self, language: Language) -> String {
        let head = [
            say(language, "demo.node", []),
            say(language, "demo.area", []),
            say(language, "demo.first", []),
            say(language, "demo.received", []),
            say(language, "demo.repaired", []),
            say(language, "demo.lost", []),
            say(language, "demo.concealed", []),
            say(language, "demo.whole", []),
        ];
        let rows = self.speakers.iter().map(|line| {
            [
                line.name.clone(),
                line.area.clone(),
                line.first_sound_ms.map_or("-".into(), |ms| format!("{ms:.1}")),
                line.received.to_string(),
                line.repaired.to_string(),
                line.lost.to_string(),
                line.concealed.to_string(),
                if line.whole { say(language, "demo.yes", []) } else { say(language, "demo.no", []) },
            ]
        });
        let mut text = align(std::iter::once(head).chain(rows).collect(), &[2, 3, 4, 5, 6]);
        let micros = |value: f64| format!("{value:.0}");
        for commune in &self.communes {
            let Spread { windows, p99, largest } = commune.spread;
            text += &match windows {
                0 => say(language, "demo.unmeasured", [&commune.area]),
                _ => say(language, "demo.sync", [&commune.area, &micros(p99), &micros(largest), &windows]),
            };
            text.push('\n');
        }
        if let (Some(p99), Some(largest)) = (self.p99_us, self.largest_us) {
            text += &say(language, "demo.sync_all", [&micros(p99), &micros(largest)]);
            text.push('\n');
        }
        text
    }
}

/// µs by which a first sample may leave before its plan and still be meant; a fade of what sounded before
/// is over by then.
const BEFORE_PLAN: f64 = 20_000.0;
/// Chunks of 10 ms kept per speaker: an hour.
const MOST_CHUNKS: usize = 360_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Civil;

    const THIS: Uuid = Uuid::from_u128(7);

    fn speaker(name: &str) -> Speaker {
        Speaker::new(name, "vn/01/00001", Node { received: 100, lost: 1, ..Default::default() }, &[])
    }

    fn event(what: What) -> Event {
        Event { number: 1, at: None, what }
    }

    fn chunk(sample: u64, left: f64) -> Played {
        Played { track: Some(THIS), sample, count: 480, concealed: false, left, lasts: 10_000.0, gain: 1.0 }
    }

    #[test]
    fn a_speaker_that_played_all_of_this_broadcast_and_no_other_is_whole() {
        let mut heard = speaker("a");
        heard.handle_event(THIS, &event(What::Began { broadcast: Uuid::nil(), at: Civil(1) }));
        heard.handle_event(THIS, &event(What::Ended { broadcast: Uuid::nil(), at: Civil(1), whole: Some(true) }));
        assert!(!heard.has_ended());
        heard.handle_event(THIS, &event(What::Began { broadcast: THIS, at: Civil(1_600_000) }));
        heard.handle_event(THIS, &event(What::Began { broadcast: THIS, at: Civil(1_900_000) }));
        heard.handle_event(THIS, &event(What::Ended { broadcast: THIS, at: Civil(2_000_000), whole: Some(true) }));
        heard.handle_report(Node { received: 130, lost: 1, ..Default::default() });
        heard.handle_played(&[chunk(0, 570_000.0), chunk(0, 590_000.0), chunk(480, 610_250.0)]);
        heard.handle_played(&[chunk(0, 100.0)]);
        let outcome = Outcome::new(THIS, 500_000, 1_000_000.0, &[heard]);
        assert!(outcome.whole);
        let line = &outcome.speakers[0];
        assert_eq!((line.first_sound_ms, line.received, line.lost), (Some(1_090.0), 30, 0));
        assert_eq!(outcome.missing(), "");
    }

    #[test]
    fn one_silent_speaker_is_named_and_the_whole_is_not_whole() {
        let mut heard = speaker("a");
        heard.handle_event(THIS, &event(What::Began { broadcast: THIS, at: Civil(1) }));
        heard.handle_event(THIS, &event(What::Ended { broadcast: THIS, at: Civil(2), whole: Some(true) }));
        let outcome = Outcome::new(THIS, 0, 0.0, &[heard, speaker("b")]);
        assert!(!outcome.whole);
        assert_eq!(outcome.missing(), "b: no sound (received 0)");
        for language in [Language::English, Language::Vietnamese] {
            assert!(outcome.text(language).lines().count() >= 4);
        }
        assert!(!Outcome::new(THIS, 0, 0.0, &[]).whole);
    }

    #[test]
    fn the_logs_of_one_commune_are_compared_and_each_chunk_is_taken_once() {
        let (mut a, mut b) = (speaker("a"), speaker("b"));
        let log = |late: f64| (0..100).map(|n| chunk(n * 480, n as f64 * 10_000.0 + late)).collect::<Vec<_>>();
        a.handle_played(&log(0.0)[..60]);
        a.handle_played(&log(0.0));
        b.handle_played(&log(120.0));
        assert_eq!(a.played.len(), 100);
        let outcome = Outcome::new(THIS, 0, 0.0, &[a, b]);
        assert_eq!(outcome.communes.len(), 1);
        assert!((outcome.largest_us.unwrap() - 120.0).abs() < 0.01);
        let json = serde_json::to_value(&outcome).unwrap();
        assert!(json["communes"][0]["p99"].is_number() && json["speakers"][1]["whole"] == false);
    }

    #[test]
    fn sound_from_before_is_left_out() {
        let old: Vec<Played> = (0..10).map(|n| chunk(n * 480, n as f64 * 10_000.0)).collect();
        let mut late = Speaker::new("a", "vn", Node::default(), &old);
        late.handle_played(&old);
        assert_eq!(late.played.len(), 0);
    }
}
