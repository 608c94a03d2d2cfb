//! What a profile may say, and what the command line says over it.
use super::{Hostile, Kind, Profile};
use crate::failure::{Failure, Result};
use loa::config::page::unknown_field;
use std::path::Path;

/// Table, key and what is wrong with it.
type Mistake = Option<(&'static str, &'static str, String)>;

impl Profile {
    pub(super) fn mistake(&self) -> Mistake {
        self.parts().or_else(|| self.kinds()).or_else(|| self.numbers()).or_else(|| self.bounds())
    }

    fn parts(&self) -> Mistake {
        let Some(attach) = &self.attach else {
            return match &self.tree {
                None => wrong("run", "", "there is nothing to load: add [tree], or [attach] for one that runs already"),
                Some(tree) if tree.communes > 0 && tree.relays == 0 => {
                    wrong("tree", "communes", "stand below relays: say how many with relays")
                }
                Some(tree) if u32::from(tree.relays) * u32::from(tree.communes) > MOST_NODES => {
                    wrong("tree", "communes", &format!("make more than {MOST_NODES} nodes, one process each"))
                }
                Some(tree) if !(1..=64).contains(&tree.shards) => wrong("tree", "shards", "must be 1 to 64"),
                Some(tree) if tree.complexity > 10 => wrong("tree", "complexity", "must be 0 to 10"),
                Some(tree) if u32::from(tree.relays) > MOST_NODES => {
                    wrong("tree", "relays", &format!("must be 0 to {MOST_NODES}, one process each"))
                }
                Some(tree) if self.most_tracks() > 1 && tree.relays * tree.communes.max(1) > MOST_AREAS => wrong(
                    "sound",
                    "tracks",
                    &format!("an order names at most {MOST_AREAS} areas: fewer relays, or one track"),
                ),
                Some(tree) if self.sound.tracks > 1 && tree.relays == 0 => wrong(
                    "sound",
                    "tracks",
                    "an origin alone refuses areas of which it knows nobody: set relays in [tree], or use growth",
                ),
                Some(_) => None,
            };
        };
        if self.tree.is_some() {
            return wrong("tree", "", "either [tree] or [attach]: remove one");
        }
        if attach.relays.is_empty() {
            return wrong("attach", "relays", "names no relay: [[attach.relays]] with address and area");
        }
        None
    }

    fn kinds(&self) -> Mistake {
        let sections = [
            ("storm", self.storm.is_some()),
            ("growth", self.growth.is_some()),
            ("emergency", self.emergency.is_some()),
        ];
        let wanted = match self.run.kind {
            Kind::Hold => "",
            Kind::Emergency => "emergency",
            Kind::Storm => "storm",
            Kind::Growth => "growth",
        };
        for (section, there) in sections {
            if section == wanted && !there && self.run.kind != Kind::Emergency {
                return wrong("run", "kind", &format!("\"{section}\" needs the section [{section}]; add it"));
            }
            if section != wanted && there {
                return wrong(
                    section,
                    "",
                    &format!("is for kind = \"{section}\" in [run]; change that or remove this"),
                );
            }
        }
        None
    }

    fn numbers(&self) -> Mistake {
        let (speakers, sound, run) = (&self.speakers, &self.sound, &self.run);
        let seconds = |value: f64| value.is_finite() && (0.0..=LONGEST_RUN).contains(&value);
        if self.most_speakers() > MOST_SPEAKERS {
            return wrong("speakers", "count", &format!("must be at most {MOST_SPEAKERS}"));
        }
        if speakers.count == 0 && self.run.kind != Kind::Growth {
            return wrong("speakers", "count", "must be at least 1");
        }
        if !(speakers.connect_per_second > 0.0 && speakers.connect_per_second.is_finite()) {
            return wrong("speakers", "connect_per_second", "must be more than 0");
        }
        if speakers.checked_one_in == 0 {
            return wrong("speakers", "checked_one_in", "must be at least 1: every speaker checks");
        }
        if !(0.0..=0.5).contains(&speakers.hostile) {
            return wrong("speakers", "hostile", "is a share, 0 to 0.5");
        }
        if speakers.hostile > 0.0 && run.kind != Kind::Hold {
            return wrong("speakers", "hostile", "is for kind = \"hold\" in [run]; change that or remove this");
        }
        if !speakers.kinds.is_empty() && speakers.hostile == 0.0 {
            return wrong("speakers", "kinds", "are those of hostile speakers: set hostile to their share");
        }
        if !(6_000..=64_000).contains(&sound.bitrate) {
            return wrong("sound", "bitrate", "is in bits per second, 6000 to 64000");
        }
        if !(180..=60_000).contains(&sound.delay_ms) {
            return wrong("sound", "delay_ms", "must be 180 to 60000");
        }
        if !(1..=MOST_TRACKS).contains(&sound.tracks) {
            return wrong("sound", "tracks", &format!("must be 1 to {MOST_TRACKS}"));
        }
        if !(run.seconds >= 1.0 && seconds(run.seconds)) {
            return wrong("run", "seconds", &format!("must be 1 to {LONGEST_RUN}"));
        }
        if !seconds(run.settle_seconds) {
            return wrong("run", "settle_seconds", &format!("must be 0 to {LONGEST_RUN}"));
        }
        if !(run.join_seconds >= 1.0 && seconds(run.join_seconds)) {
            return wrong("run", "join_seconds", &format!("must be 1 to {LONGEST_RUN}"));
        }
        self.sections()
    }

    fn sections(&self) -> Mistake {
        if self.storm.as_ref().is_some_and(|storm| storm.newcomers == 0) {
            return wrong("storm", "newcomers", "must be at least 1");
        }
        if !(1..=MOST_ROUNDS).contains(&self.rounds()) {
            return wrong("emergency", "rounds", &format!("must be 1 to {MOST_ROUNDS}"));
        }
        if let Some(growth) = &self.growth {
            let rising = |steps: &[u64]| steps.first() != Some(&0) && steps.is_sorted_by(|a, b| a < b);
            if growth.listeners.is_empty() && growth.tracks.is_empty() {
                return wrong("growth", "", "has no step: give listeners, tracks, or both");
            }
            if !rising(&growth.listeners) {
                return wrong("growth", "listeners", "must rise from step to step, from 1 on");
            }
            if !rising(&growth.tracks) || growth.tracks.last().is_some_and(|tracks| *tracks > MOST_TRACKS) {
                return wrong("growth", "tracks", &format!("must rise from step to step, 1 to {MOST_TRACKS}"));
            }
            if growth.listeners_per_track == 0 {
                return wrong("growth", "listeners_per_track", "must be at least 1");
            }
        }
        None
    }

    fn bounds(&self) -> Mistake {
        let thresholds = &self.thresholds;
        let share = |bound: Option<f64>| bound.is_none_or(|bound| (0.0..=1.0).contains(&bound));
        if !share(thresholds.joined) {
            return wrong("thresholds", "joined", "is a share of the speakers, 0 to 1");
        }
        if !share(thresholds.cpu_r2) || !share(thresholds.memory_r2) {
            return wrong("thresholds", "cpu_r2", "an R² is 0 to 1");
        }
        let needs: [(&str, bool, Kind); 10] = [
            ("order_p99_ms", thresholds.order_p99_ms.is_some(), Kind::Emergency),
            ("first_sound_p99_ms", thresholds.first_sound_p99_ms.is_some(), Kind::Emergency),
            ("hush_p99_ms", thresholds.hush_p99_ms.is_some(), Kind::Emergency),
            ("not_reached", thresholds.not_reached.is_some(), Kind::Emergency),
            ("receipts_s", thresholds.receipts_s.is_some(), Kind::Emergency),
            ("storm_all_streaming_s", thresholds.storm_all_streaming_s.is_some(), Kind::Storm),
            ("others_lost", thresholds.others_lost.is_some(), Kind::Storm),
            ("others_delivery_p99_ms", thresholds.others_delivery_p99_ms.is_some(), Kind::Storm),
            ("cpu_r2", thresholds.cpu_r2.is_some(), Kind::Growth),
            ("memory_r2", thresholds.memory_r2.is_some(), Kind::Growth),
        ];
        let (key, _, kind) = needs.into_iter().find(|(_, set, kind)| *set && self.run.kind != *kind)?;
        wrong("thresholds", key, &format!("is nothing that a run of this kind finds, but one of kind {kind:?}"))
    }

    /// The ways of the hostile part: those named, or all.
    pub fn hostile_kinds(&self) -> Vec<Hostile> {
        match self.speakers.kinds.is_empty() {
            true => Hostile::ALL.to_vec(),
            false => self.speakers.kinds.clone(),
        }
    }
}

/// The profile with `key=value` set, as `--set` and its shorter friends say: `speakers.count=200`.
pub(super) fn overridden(text: &str, file: &Path, overrides: &[String]) -> Result<Profile> {
    let mut table: toml::Table = toml::from_str(text).map_err(|error| Failure::usage(error.to_string()))?;
    // One profile serves every kind of run: what only its own kind knows does not go with another.
    let mut kinds =
        overrides.iter().filter_map(|one| one.split_once('=').filter(|(path, _)| path.trim() == "run.kind"));
    if kinds.next_back().is_some_and(|(_, kind)| kind.trim().trim_matches('"') != "hold")
        && let Some(speakers) = table.get_mut("speakers").and_then(toml::Value::as_table_mut)
    {
        speakers.remove("hostile");
        speakers.remove("kinds");
    }
    for one in overrides {
        let refuse = |why: &str| Failure::usage(format!("--set {one}: {why}"));
        let (path, value) =
            one.split_once('=').ok_or_else(|| refuse("is not key=value, such as speakers.count=200"))?;
        // A word needs no quotes on a command line.
        let parsed = toml::from_str::<toml::Table>(&format!("value = {value}")).ok();
        let value = parsed.and_then(|mut table| table.remove("value")).unwrap_or_else(|| value.into());
        let mut keys: Vec<&str> = path.trim().split('.').collect();
        let last = keys.pop().filter(|key| !key.is_empty()).ok_or_else(|| refuse("names no field"))?;
        let mut here = &mut table;
        for key in keys {
            let below = here.entry(key).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            here = below.as_table_mut().ok_or_else(|| refuse(&format!("{key} is no section")))?;
        }
        here.insert(last.to_owned(), value);
    }
    let said = overrides.join(", ");
    let wrong = |why: String| Failure::usage(format!("{} with {said} set: {why}", file.display()));
    let profile: Profile = table.try_into().map_err(|error: toml::de::Error| {
        wrong(match error.message() {
            unknown if unknown.starts_with("unknown field") => unknown_field(unknown),
            other => other.to_owned(),
        })
    })?;
    match profile.mistake() {
        Some((table, key, what)) => Err(wrong(format!("{table}.{key}: {what}").replace(".:", ":"))),
        None => Ok(profile),
    }
}

fn wrong(table: &'static str, key: &'static str, what: &str) -> Mistake {
    Some((table, key, what.to_owned()))
}

/// Processes: beyond these the machine measures its own scheduler.
const MOST_NODES: u32 = 256;
/// As an order takes.
const MOST_AREAS: u16 = 64;
/// More than any machine plays; a thousand loopback addresses have ports for all of them.
const MOST_SPEAKERS: u64 = 900_000;
/// Each is sealed beforehand and lies on disk until it is over.
const MOST_TRACKS: u64 = 1_000;
/// More than a minute each.
const MOST_ROUNDS: u32 = 60;
/// A day, seconds.
const LONGEST_RUN: f64 = 86_400.0;
