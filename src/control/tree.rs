//! The nodes as a tree, for a terminal: parents as branches, the many speakers of one summed up by area, what is wrong
//! in colour.
//!
//! ```text
//! 5 of 6 loudspeakers heard of, 5 (1 in trouble) sound; 3 of 3 relays heard of; lost 0.01 %
//! node                area         state          heard  lost      offset µs  level dB  what sounds
//! origin              vn           idle           5/6    3 (0 %)          12         -  Bản tin
//! ├─ relay-01         vn/01        idle           3/4    3 (0 %)          12         -  Bản tin
//! │  ├─ vn-01-a       vn/01/00001  sounding       -      0                 3     -18.2  Bản tin
//! │  └─ 45 speakers   vn/01/00002  42 sounding    44/45  3 (0 %)          12         -
//! ```
mod foreign;
mod forest;

use super::forms::Node;
use super::table::align;
use super::text::{Failure, Language, say};
use crate::broadcast::Area;
use crate::node::code;
use clap::Args;
use forest::{Forest, Sum, WAITING, is_gone};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// What of the tree is looked at.
#[derive(Clone, Debug, Default, Args)]
pub struct View {
    /// Shows this area alone, and who stands above it; its speakers one by one
    #[arg(long, value_name = "AREA", value_parser = |text: &str| text.parse::<Area>())]
    pub area: Option<Area>,
    /// Shows so many tiers below the top; what is below them is summed up in their lines
    #[arg(long, value_name = "TIERS")]
    pub depth: Option<usize>,
}

/// The drawn tree, a line for each row.
#[derive(Debug)]
pub struct Picture {
    lines: Vec<(Mood, String)>,
}

/// What a line's colour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Head,
    Plain,
    Good,
    Watch,
    Bad,
}

/// An area that nobody stands in is a failure that names it.
pub fn draw(
    nodes: &[Node],
    titles: &BTreeMap<Uuid, String>,
    view: &View,
    language: Language,
) -> Result<Picture, Failure> {
    let forest = Forest::new(within(nodes, view.area.as_ref())?);
    let foreign = foreign::speakers(nodes, |id| titles.contains_key(id));
    let mut page = Page { forest: &forest, titles, foreign, view, language, rows: Vec::new() };
    for root in &forest.roots {
        page.branch(*root, 0, "", "");
    }
    let (moods, rows): (Vec<Mood>, Vec<Row>) = page.rows.into_iter().unzip();
    let head = ["node", "area", "state"].map(|name| format!("demo.{name}"));
    let head = head
        .into_iter()
        .chain(["tree.heard", "demo.lost", "demo.offset", "demo.level", "demo.sounds"].map(str::to_owned));
    let head: Vec<String> = head.map(|code| say(language, &code, [])).collect();
    let head: Row = head.try_into().unwrap_or_default();
    let table = align(std::iter::once(head).chain(rows).collect(), &[5, 6]);
    let sum = forest.sum();
    let waiting = match sum.waiting {
        0 => String::new(),
        waiting => say(language, "tree.total_waiting", [&waiting]),
    };
    let (speakers, relays, sounding) = (sum.speakers, sum.relays, sounding(&sum, language));
    let total = say(
        language,
        "tree.total",
        [&speakers.heard, &speakers.all, &sounding, &relays.heard, &relays.all, &share(&sum), &waiting],
    );
    let lines = table.lines().map(str::to_owned);
    let moods = [mood(&sum, None), Mood::Head].into_iter().chain(moods);
    Ok(Picture { lines: moods.zip(std::iter::once(total).chain(lines)).collect() })
}

impl Picture {
    /// `room`: lines and columns that there are; what does not fit is counted in the last line.
    pub fn text(&self, colour: bool, room: Option<(usize, usize)>, language: Language) -> String {
        let (high, wide) = room.unwrap_or((usize::MAX, usize::MAX));
        let shown = if self.lines.len() > high { high.saturating_sub(1) } else { self.lines.len() };
        let mut text = String::new();
        for (mood, line) in &self.lines[..shown] {
            let line = console::truncate_str(line, wide, "…");
            match mood.code().filter(|_| colour) {
                Some(code) => text += &format!("\x1b[{code}m{line}\x1b[0m\n"),
                None => text += &format!("{line}\n"),
            }
        }
        if shown < self.lines.len() {
            let more = say(language, "tree.more", [&(self.lines.len() - shown)]);
            text += &format!("{}\n", console::truncate_str(&more, wide, "…"));
        }
        text
    }
}

impl Mood {
    /// Select Graphic Rendition, ECMA-48.
    const fn code(self) -> Option<&'static str> {
        match self {
            Self::Head => Some("1"),
            Self::Plain => None,
            Self::Good => Some("32"),
            Self::Watch => Some("33"),
            Self::Bad => Some("31"),
        }
    }
}

/// All nodes in the order of their areas, or those within one and whoever stands above them.
fn within<'a>(nodes: &'a [Node], area: Option<&Area>) -> Result<Vec<&'a Node>, Failure> {
    // Nobody waits for what was expelled; `loa nodes` still names it.
    let mut sorted: Vec<&Node> = nodes.iter().filter(|node| node.state != "expelled").collect();
    sorted.sort_by(|a, b| (&a.area, &a.role, &a.name).cmp(&(&b.area, &b.role, &b.name)));
    let Some(area) = area else { return Ok(sorted) };
    let inside = |node: &Node| node.area.parse().is_ok_and(|own: Area| area.contains(&own));
    let places: BTreeMap<Uuid, &Node> = nodes.iter().map(|node| (node.id, node)).collect();
    let mut kept: BTreeSet<Uuid> = BTreeSet::new();
    for node in sorted.iter().filter(|node| inside(node)) {
        let mut next = Some(*node);
        // Stops where somebody was kept already, so a ring ends too.
        while let Some(node) = next.filter(|node| kept.insert(node.id)) {
            next = node.parent.and_then(|parent| places.get(&parent).copied());
        }
    }
    if kept.is_empty() {
        let known: BTreeSet<&str> = nodes.iter().map(|node| node.area.as_str()).collect();
        let known: Vec<&str> = known.into_iter().take(NAMED).collect();
        return Err(Failure::new("area.unknown", [area, &known.join(", ")]));
    }
    sorted.retain(|node| kept.contains(&node.id));
    Ok(sorted)
}

type Row = [String; 8];

struct Page<'a> {
    forest: &'a Forest<'a>,
    titles: &'a BTreeMap<Uuid, String>,
    /// Areas of those who speak what has no title here.
    foreign: BTreeMap<Uuid, String>,
    view: &'a View,
    language: Language,
    rows: Vec<(Mood, Row)>,
}

impl Page<'_> {
    /// A node and what is below it: `own` stands before its name, `under` before the lines below.
    fn branch(&mut self, at: usize, depth: usize, own: &str, under: &str) {
        self.node(at, own);
        if depth >= self.view.depth.unwrap_or(TIERS).min(TIERS) {
            return;
        }
        let forest = self.forest;
        let leaf = |at: &&usize| forest.below[**at].is_empty() && forest.nodes[**at].role == "speaker";
        let (speakers, others): (Vec<&usize>, Vec<&usize>) = forest.below[at].iter().partition(leaf);
        let many = if self.view.area.is_some() { ONE_BY_ONE_IN_AREA } else { ONE_BY_ONE };
        let areas = if speakers.len() > many { self.by_area(&speakers) } else { Vec::new() };
        let single = if areas.is_empty() { &speakers[..] } else { &[] };
        let mut left = others.len() + single.len() + areas.len();
        let twig = |left: &mut usize| {
            *left -= 1;
            match *left {
                0 => (format!("{under}└─ "), format!("{under}   ")),
                _ => (format!("{under}├─ "), format!("{under}│  ")),
            }
        };
        for at in single.iter().chain(&others) {
            let (own, under) = twig(&mut left);
            self.branch(**at, depth + 1, &own, &under);
        }
        for (area, sum) in areas {
            let (own, _) = twig(&mut left);
            self.area(&own, &area, &sum);
        }
    }

    /// Speakers of one parent by their area, the most troubled first; those of quiet areas beyond [`AREAS`] together.
    fn by_area(&self, speakers: &[&usize]) -> Vec<(String, Sum)> {
        let mut areas: BTreeMap<String, Sum> = BTreeMap::new();
        for at in speakers {
            let sum = areas.entry(stands(self.forest.nodes[**at], self.language)).or_default();
            *sum = std::mem::take(sum).and(&self.forest.sums[**at]);
        }
        let mut areas: Vec<(String, Sum)> = areas.into_iter().collect();
        if areas.len() > AREAS {
            let missing = |sum: &Sum| sum.speakers.all - sum.speakers.heard;
            areas.sort_by_key(|(_, sum)| std::cmp::Reverse((missing(sum), sum.troubles.len(), sum.lost)));
            let rest = areas.split_off(AREAS);
            let name = say(self.language, "tree.areas", [&rest.len()]);
            areas.push((name, rest.iter().fold(Sum::default(), |sum, (_, more)| sum.and(more))));
        }
        areas
    }

    fn node(&mut self, at: usize, twigs: &str) {
        let (node, sum) = (self.forest.nodes[at], &self.forest.sums[at]);
        let speaker = node.role == "speaker" && self.forest.below[at].is_empty();
        let state = state(&node.state, self.language);
        let sounds = node.sounding.map(|id| self.titles.get(&id).cloned().unwrap_or_else(|| self.untitled(id)));
        let row = [
            format!("{twigs}{}", self.called(node)),
            stands(node, self.language),
            std::iter::once(state).chain(muted(node, self.language)).chain(troubles(sum)).collect::<Vec<_>>().join(" "),
            if speaker { "-".into() } else { heard(sum) },
            lost(sum),
            sum.offset_us.map_or("-".into(), |offset| offset.to_string()),
            node.rms_dbfs.map_or("-".into(), |level| format!("{level:.1}")),
            sounds.unwrap_or("-".into()),
        ];
        self.rows.push((mood(sum, Some(&node.state)), row));
    }

    /// What was given below: whoever asks there finds the rest.
    fn untitled(&self, id: Uuid) -> String {
        let (id, area) = (id.to_string(), self.foreign.get(&id));
        match area {
            Some(area) => say(self.language, "status.foreign", [&&id[..SHORT], area]),
            None => id,
        }
    }

    /// What waits for a place has no name but its code.
    fn called(&self, node: &Node) -> String {
        match node.state == WAITING {
            true => say(self.language, "node.code", [&format!("{:06}", code(node.id))]),
            false => node.name.clone(),
        }
    }

    fn area(&mut self, twigs: &str, area: &str, sum: &Sum) {
        let row = [
            format!("{twigs}{}", say(self.language, "tree.speakers", [&(sum.speakers.all + sum.waiting)])),
            area.to_owned(),
            std::iter::once(say(self.language, "tree.sounding", [&sounding(sum, self.language)]))
                .chain(troubles(sum))
                .collect::<Vec<_>>()
                .join(" "),
            heard(sum),
            lost(sum),
            sum.offset_us.map_or("-".into(), |offset| offset.to_string()),
            "-".into(),
            "-".into(),
        ];
        self.rows.push((mood(sum, None), row));
    }
}

fn mood(sum: &Sum, state: Option<&str>) -> Mood {
    match state {
        Some(state) if is_gone(state) => Mood::Bad,
        _ if !sum.troubles.is_empty() => Mood::Bad,
        Some("joining" | "buffering" | "hushed") => Mood::Watch,
        _ if !sum.is_whole() => Mood::Watch,
        _ if sum.sounding > 0 => Mood::Good,
        _ => Mood::Plain,
    }
}

/// Where it stands; of a board that waits, whose children's line it waits in.
pub fn stands(node: &Node, language: Language) -> String {
    match node.state == WAITING {
        true => say(language, "tree.waits", [&node.area]),
        false => node.area.clone(),
    }
}

/// How many sound, and how many of them with something wrong.
fn sounding(sum: &Sum, language: Language) -> String {
    match sum.troubled {
        0 => sum.sounding.to_string(),
        troubled => say(language, "tree.troubled", [&sum.sounding, &troubled]),
    }
}

pub fn state(state: &str, language: Language) -> String {
    let known = ["joining", "idle", "buffering", "sounding", "hushed", "lost", "unknown", "waiting", "expelled"];
    if known.contains(&state) { say(language, &format!("state.{state}"), []) } else { state.to_owned() }
}

/// Of a loudspeaker that somebody has silenced for a while.
pub fn muted(node: &Node, language: Language) -> Option<String> {
    node.muted_clock().map(|until| say(language, "state.muted", [&until]))
}

fn troubles(sum: &Sum) -> impl Iterator<Item = String> {
    sum.troubles.iter().map(|(code, count)| if *count > 1 { format!("{code}×{count}") } else { code.clone() })
}

fn heard(sum: &Sum) -> String {
    format!("{}/{}", sum.speakers.heard, sum.speakers.all)
}

fn lost(sum: &Sum) -> String {
    if sum.lost == 0 { "0".into() } else { format!("{} ({} %)", sum.lost, share(sum)) }
}

/// Percent of what should have come.
fn share(sum: &Sum) -> String {
    let share = 100.0 * sum.lost as f64 / (sum.lost.saturating_add(sum.received)).max(1) as f64;
    format!("{share:.2}")
}

/// Speakers of one parent that are shown each; more are summed up by area, unless one area is looked at.
const ONE_BY_ONE: usize = 16;
const ONE_BY_ONE_IN_AREA: usize = 400;
/// Areas of one parent's speakers that are shown each.
const AREAS: usize = 24;
/// Tiers drawn: areas have eight segments at most (DESIGN §9), and a parent's area contains its child's.
const TIERS: usize = 12;
/// Digits of an id whose title is not known, as `loa status` of the node that gave it begins it too.
const SHORT: usize = 13;
/// Known areas named in a refusal.
const NAMED: usize = 5;

#[cfg(test)]
#[path = "tree/tests.rs"]
mod tests;
