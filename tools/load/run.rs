//! One run from its profile to its outcome: the tree, the sound, the scenario, the verdict.
use crate::failure::{Failure, Result};
use crate::outcome::{Machine, Outcome};
use crate::plan::Place;
use crate::process;
use crate::profile::{Kind, Profile};
use crate::progress::Progress;
use crate::scenario::{self, Options, Scenario, Used};
use crate::thresholds;
use crate::tree::{Media, Tree};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use uuid::Uuid;

/// Starts what there is to start, loads it, judges it, and ends all of it.
pub fn run(profile: &Profile, loa: &Path, out: &Path) -> Result<Outcome> {
    crate::sockets::raise_files(0);
    let started = chrono::Local::now();
    let mut progress = Progress::new(profile.most_speakers());
    if profile.attach.is_none() {
        progress.say("starting the tree");
    }
    let tree = Tree::start(profile, loa, out)?;
    progress.say(&match profile.attach {
        None => format!("{} nodes are ready", tree.readings().len()),
        Some(_) => "the tree answers; its own speakers will sound what is aired now".to_owned(),
    });
    let options = options(profile, &tree)?;
    // Encoded before anything is measured.
    let emergency = match profile.run.kind {
        Kind::Emergency => Some(tree.upload(EMERGENCY)?),
        _ => None,
    };
    let mut target = Target { tree, media: None, emergency, tracks: profile.sound.tracks };
    let outcome = scenario::run(&options, &mut target, &mut progress);
    progress.end();
    // What was dropped and refused, and why, beside the logs.
    let folder = out.join("logs");
    std::fs::create_dir_all(&folder).map_err(|error| Failure::run(format!("{}: {error}", folder.display())))?;
    for (name, text) in target.tree.metrics() {
        let file = folder.join(format!("{name}.metrics"));
        std::fs::write(&file, text).map_err(|error| Failure::run(format!("{}: {error}", file.display())))?;
    }
    // A node that died is the reason for whatever else went wrong.
    target.tree.check()?;
    let logs =
        target.tree.logs().map_or_else(String::new, |logs| format!("; the nodes' logs are in {}", logs.display()));
    let mut outcome = outcome.map_err(|error| Failure::run(format!("{error}{logs}")))?;
    outcome.interrupted = process::interrupted();
    outcome.profile.clone_from(&profile.title);
    outcome.started = started.to_rfc3339_opts(chrono::SecondsFormat::Secs, false);
    outcome.command = std::env::args().collect::<Vec<_>>().join(" ");
    outcome.machine = Machine::read();
    outcome.relays = target.tree.relays();
    outcome.bitrate = u64::from(profile.sound.bitrate);
    if outcome.packet_ms == 0 {
        outcome.packet_ms = packet_ms(profile);
    }
    outcome.tracks = outcome.tracks.max(profile.sound.tracks);
    outcome.settings = toml::to_string(profile).unwrap_or_default();
    // Half a run is no ground for a verdict.
    if !outcome.interrupted {
        outcome.thresholds = thresholds::judge(&profile.thresholds, &outcome);
    }
    Ok(outcome)
}

/// The tree as a scenario asks for it.
struct Target {
    tree: Tree,
    /// Made when it is first aired, and anew if something longer is asked for.
    media: Option<Media>,
    emergency: Option<Media>,
    tracks: u64,
}

impl scenario::Tree for Target {
    fn air(&mut self, area: &str, seconds: f64) -> io::Result<Vec<Uuid>> {
        let media = match self.media.take().filter(|media| media.seconds >= seconds) {
            Some(media) => media,
            None => self.tree.upload(seconds).map_err(io::Error::other)?,
        };
        let aired = self.air_all(area, &media).map_err(io::Error::other);
        self.media = Some(media);
        aired
    }

    fn cancel(&mut self, broadcast: Uuid) -> io::Result<()> {
        self.tree.cancel(broadcast).map_err(io::Error::other)
    }

    fn emergency(&mut self, area: &str) -> io::Result<Uuid> {
        let areas = self.areas(area);
        let media = match self.emergency.take() {
            Some(media) => media,
            // Its length decides nothing: it is hushed.
            None => self.tree.upload(EMERGENCY).map_err(io::Error::other)?,
        };
        let aired = self.tree.emergency(&media, &areas).map(|aired| aired.id).map_err(io::Error::other);
        self.emergency = Some(media);
        aired
    }

    fn hush(&mut self, area: &str) -> io::Result<Uuid> {
        self.tree.hush(&self.areas(area)).map(|hushed| hushed.order).map_err(io::Error::other)
    }

    fn reached(&mut self, order: Uuid) -> io::Result<u64> {
        self.tree.reached(order).map_err(io::Error::other)
    }

    fn cuts(&mut self) -> BTreeMap<String, u64> {
        let mut cuts = BTreeMap::new();
        for (_, text) in self.tree.metrics() {
            for (name, value) in text.lines().filter_map(cut) {
                *cuts.entry(name).or_default() += value;
            }
        }
        cuts
    }

    fn usage(&mut self) -> io::Result<Vec<Used>> {
        self.tree.check().map_err(io::Error::other)?;
        let used = self.tree.readings().into_iter().map(|reading| Used {
            name: reading.name,
            role: reading.role,
            cpu_s: reading.cpu_s,
            rss_kib: reading.rss_kib,
            dialled: reading.dialled,
        });
        Ok(used.collect())
    }
}

impl Target {
    /// To everybody: all tracks, each to its own areas below each parent.
    fn air_all(&self, area: &str, media: &Media) -> Result<Vec<Uuid>> {
        if area != EVERYBODY || self.tracks == 1 {
            return self.tree.air(media, &self.areas(area)).map(|aired| vec![aired.id]);
        }
        let areas =
            |track| self.tree.parents().iter().map(move |parent| Tree::speaker_area(parent, track)).collect::<Vec<_>>();
        let air = |areas: Vec<String>| self.tree.air(media, &areas).map(|aired| aired.id);
        (0..self.tracks).map(|track| air(areas(track))).collect()
    }

    /// Of a tree that ran already, everybody stands in several areas.
    fn areas(&self, area: &str) -> Vec<String> {
        match area == EVERYBODY {
            true => self.tree.everywhere().to_vec(),
            false => vec![area.to_owned()],
        }
    }
}

fn options(profile: &Profile, tree: &Tree) -> Result<Options> {
    let speakers = &profile.speakers;
    let short = |count: u64| u32::try_from(count).map_err(|_| Failure::usage("too many speakers"));
    let shorts = |counts: &[u64]| counts.iter().map(|count| short(*count)).collect::<Result<Vec<u32>>>();
    let mut all = speakers.count;
    let kind = match profile.run.kind {
        Kind::Hold => Scenario::Hold,
        Kind::Storm => {
            all += profile.storm.as_ref().map_or(0, |storm| storm.newcomers);
            Scenario::Storm { steady: short(speakers.count)? }
        }
        Kind::Emergency => Scenario::Emergency { rounds: profile.rounds() },
        Kind::Growth => {
            all = profile.most_speakers();
            let growth = profile.growth.as_ref().ok_or_else(|| Failure::usage("there is no section [growth]"))?;
            let each = short(growth.listeners_per_track)?;
            Scenario::Growth { listeners: shorts(&growth.listeners)?, tracks: shorts(&growth.tracks)?, each }
        }
    };
    let places = (0..profile.most_tracks()).flat_map(|track| {
        tree.parents().iter().map(move |parent| {
            let ports = (0..parent.shards).map(|shard| parent.address.port().saturating_add(shard));
            let addresses = ports.map(|port| (parent.address.ip(), port).into()).collect();
            Place { addresses, area: Tree::speaker_area(parent, track) }
        })
    });
    let per_process = match u32::from(speakers.processes) {
        0 => Options::default().per_process,
        processes => short(all)?.div_ceil(processes),
    };
    process::check_cores(&speakers.cores)?;
    Ok(Options {
        kind,
        root: tree.root().to_owned(),
        places: places.collect(),
        speakers: short(all)?,
        connect_rate: speakers.connect_per_second,
        area: EVERYBODY.into(),
        tracks: short(profile.sound.tracks)?,
        settle_s: profile.run.settle_seconds,
        hold_s: profile.run.seconds,
        patience_s: profile.run.join_seconds,
        hostile: speakers.hostile,
        hostile_kinds: profile.hostile_kinds(),
        checked: u32::try_from(speakers.checked_one_in).unwrap_or(u32::MAX),
        gro: speakers.gro,
        nap_us: speakers.nap_us,
        per_process,
        cores: speakers.cores.clone(),
        ..Options::default()
    })
}

/// A line of `/metrics` that counts what a node has cut or dropped: the name with its reason, and how often.
fn cut(line: &str) -> Option<(String, u64)> {
    let (name, value) = line.split_once(' ')?;
    let (metric, reason) = name.strip_suffix("\"}")?.split_once("{reason=\"")?;
    CUTS.contains(&metric).then_some(())?;
    Some((format!("{metric}{{{reason}}}"), value.trim().parse().ok()?))
}

/// As the origin packs it (DESIGN §3).
fn packet_ms(profile: &Profile) -> u64 {
    match profile.sound.bitrate {
        _ if profile.sound.delay_ms < 500 => 60,
        0..=16_000 => 480,
        16_001..=32_000 => 240,
        _ => 120,
    }
}

/// The area of all trees that this tool starts.
const EVERYBODY: &str = "vn";
/// What tells of children that misbehave.
const CUTS: [&str; 3] = ["loa_sessions_cut_total", "loa_input_dropped_total", "loa_links_cut_total"];
/// Seconds.
const EMERGENCY: f64 = 120.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_cuts_is_read_with_its_reason_and_nothing_else_is() {
        let line = "loa_sessions_cut_total{reason=\"peer.flood\"} 3";
        assert_eq!(cut(line), Some(("loa_sessions_cut_total{peer.flood}".into(), 3)));
        for other in ["# TYPE loa_sessions_cut_total counter", "loa_sessions 4", "loa_x_total{reason=\"a\"} 3", ""] {
            assert_eq!(cut(other), None, "{other}");
        }
    }
}
