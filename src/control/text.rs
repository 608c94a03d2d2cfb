//! What people read, in Vietnamese and in English, by its stable code (DESIGN §9).
use super::when;
use crate::broadcast;
use crate::config::{self, Mistake};
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Vietnamese,
    English,
}

impl Language {
    /// From `LC_ALL`, `LC_MESSAGES` or `LANG`, the first that is set.
    pub fn of_environment() -> Self {
        let set = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().filter_map(|name| std::env::var(name).ok());
        Self::of_locale(set.into_iter().find(|value| !value.is_empty()).as_deref().unwrap_or(""))
    }

    fn of_locale(locale: &str) -> Self {
        if is_vietnamese(locale.split(['_', '.', '@']).next().unwrap_or("")) { Self::Vietnamese } else { Self::English }
    }

    /// From `Accept-Language` (RFC 9110 §12.5.4): Vietnamese where it weighs at least as much as English
    /// and is asked for at all.
    pub fn of_header(header: &str) -> Self {
        let weight = |wanted: fn(&str) -> bool| {
            // Sixteen ranges are more than any reader has languages.
            header.split(',').take(16).filter_map(move |range| {
                let mut parts = range.split(';');
                let tag = parts.next()?.trim().split('-').next()?;
                let quality = parts.find_map(|part| part.trim().strip_prefix("q=")?.parse::<f32>().ok());
                wanted(tag).then_some(quality.unwrap_or(1.0))
            })
        };
        let vietnamese = weight(is_vietnamese).fold(0.0, f32::max);
        let english = weight(|tag| tag.eq_ignore_ascii_case("en")).fold(0.0, f32::max);
        if vietnamese > 0.0 && vietnamese >= english { Self::Vietnamese } else { Self::English }
    }

    pub const fn tag(self) -> &'static str {
        match self {
            Self::Vietnamese => "vi",
            Self::English => "en",
        }
    }
}

fn is_vietnamese(tag: &str) -> bool {
    tag.eq_ignore_ascii_case("vi")
}

/// Something that was asked for and not done: a stable code and a text that names the thing, the place
/// and the mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub code: String,
    said: Said,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    /// Fills the places of the table's text.
    Here(Vec<String>),
    /// Another room's own English text, with the place in it.
    English(String),
    /// A node's answer, already in the reader's language.
    Ready(String),
    /// All that is wrong with a configuration, each in both languages.
    Config(Vec<Mistake>),
    /// All that is wrong with a file of entries, policies or areas, and its name.
    Rules(String, Vec<broadcast::Mistake>),
}

impl Failure {
    pub fn new<const N: usize>(code: &'static str, places: [&dyn fmt::Display; N]) -> Self {
        Self { code: code.into(), said: Said::Here(places.iter().map(ToString::to_string).collect()) }
    }

    /// What the rules of areas and of the timetable said.
    pub fn of_said(said: &broadcast::Said) -> Self {
        Self { code: said.code.into(), said: Said::Here(said.places.clone()) }
    }

    /// What another room said, in English.
    pub fn from_room(code: impl Into<String>, text: impl Into<String>) -> Self {
        Self { code: code.into(), said: Said::English(text.into()) }
    }

    /// What a node answered.
    pub fn from_node(code: impl Into<String>, text: impl Into<String>) -> Self {
        Self { code: code.into(), said: Said::Ready(text.into()) }
    }

    /// What is wrong with entries, policies or areas.
    pub fn of_mistakes(code: &'static str, of: &std::path::Path, mistakes: Vec<broadcast::Mistake>) -> Self {
        Self { code: code.into(), said: Said::Rules(of.display().to_string(), mistakes) }
    }

    /// What is wrong with a configuration.
    pub fn of_config(error: config::Error) -> Self {
        Self { code: error.code.into(), said: Said::Config(error.mistakes) }
    }

    /// Of a configuration, if this is one's.
    pub fn mistakes(&self) -> &[Mistake] {
        match &self.said {
            Said::Config(mistakes) => mistakes,
            Said::Here(_) | Said::English(_) | Said::Ready(_) | Said::Rules(..) => &[],
        }
    }

    /// Code and text of each thing that is wrong.
    pub fn parts(&self, language: Language) -> Vec<(String, String)> {
        match &self.said {
            Said::Config(mistakes) => {
                mistakes.iter().map(|one| (one.code.to_owned(), in_language(one, language))).collect()
            }
            Said::Rules(of, mistakes) => {
                mistakes.iter().map(|one| (one.said.code.to_owned(), of_rule(of, one, language))).collect()
            }
            Said::Here(_) | Said::English(_) | Said::Ready(_) => vec![(self.code.clone(), self.text(language))],
        }
    }

    pub fn text(&self, language: Language) -> String {
        match (&self.said, language) {
            (Said::Config(mistakes), _) => {
                mistakes.iter().map(|one| in_language(one, language)).collect::<Vec<_>>().join("\n")
            }
            (Said::Rules(of, mistakes), _) => {
                mistakes.iter().map(|one| of_rule(of, one, language)).collect::<Vec<_>>().join("\n")
            }
            (Said::Ready(text), _) | (Said::English(text), Language::English) => text.clone(),
            (Said::Here(places), _) => fill(pick(&self.code, language), places, language),
            // The detail has the place in it, and it exists in English alone.
            (Said::English(detail), Language::Vietnamese) => match find(&self.code).or_else(|| self.family()) {
                // A sentence with places of its own has nothing to fill them with.
                Some(entry) if entry.vietnamese.contains('{') => detail.clone(),
                Some(entry) => format!("{} (chi tiết: {detail})", entry.vietnamese),
                None => detail.clone(),
            },
        }
    }

    /// The configuration's own codes say only which rule a field breaks.
    fn family(&self) -> Option<&'static Entry> {
        self.code.starts_with("config.").then(|| find("config.invalid")).flatten()
    }

    /// The HTTP status that goes with the code.
    pub fn status(&self) -> u16 {
        find(&self.code).map_or(422, |entry| entry.status)
    }

    /// The exit code of a command that ends with this (DESIGN §9).
    pub fn exit(&self) -> u8 {
        let usage = USAGE.iter().any(|code| match code.ends_with('.') {
            true => self.code.starts_with(code),
            false => self.code == *code,
        });
        if usage { 2 } else { 1 }
    }
}

/// Codes of what was written wrongly, on the command line or in a configuration, and families of them.
const USAGE: &[&str] = &[
    "config.",
    "usage.",
    "request.json",
    "request.query",
    "request.too_long",
    "area.invalid",
    "area.missing",
    "area.many",
    "broadcast.time",
    "broadcast.title",
    "broadcast.id",
    "node.id",
    "token.range",
    "volume.range",
    "volume.floor",
    "volume.hour",
    "volume.hours",
    "volume.delay",
    "volume.group",
];

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.text(Language::English))
    }
}

impl std::error::Error for Failure {}

/// A mistake of a file, with its place.
pub fn of_rule(of: &str, mistake: &broadcast::Mistake, language: Language) -> String {
    let place = match mistake.at {
        broadcast::At::Whole => String::new(),
        broadcast::At::Line(line) => format!("{line}:"),
        broadcast::At::Item(item) => say(language, "timetable.item", [&item]),
    };
    let field = if mistake.field.is_empty() { String::new() } else { format!("{}: ", mistake.field) };
    format!("{of}:{place} {field}{}", tell(language, mistake.said.code, &mistake.said.places))
}

fn in_language(mistake: &Mistake, language: Language) -> String {
    match language {
        Language::Vietnamese => mistake.vietnamese(),
        Language::English => mistake.english(),
    }
}

/// A line of the table with its places filled.
pub fn say<const N: usize>(language: Language, code: &str, places: [&dyn fmt::Display; N]) -> String {
    fill(pick(code, language), &places.map(|place| place.to_string()), language)
}

/// The same with places that another room has gathered.
pub fn tell(language: Language, code: &str, places: &[String]) -> String {
    fill(pick(code, language), places, language)
}

/// A line of the table that has no places.
pub fn plain(language: Language, code: &str) -> Option<&'static str> {
    find(code).map(|_| pick(code, language)).filter(|text| !text.contains('{'))
}

fn pick(code: &str, language: Language) -> &'static str {
    match (find(code), language) {
        (Some(entry), Language::Vietnamese) => entry.vietnamese,
        (Some(entry), Language::English) => entry.english,
        // A code without a line is a mistake that a test below finds.
        (None, _) => "",
    }
}

fn find(code: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.code == code)
}

/// Puts `places[n]` where the text says `{n}`, times as the reader writes them. What is filled in is not looked at again.
fn fill(text: &str, places: &[String], language: Language) -> String {
    let mut filled = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let (number, behind) = after.split_once('}').unwrap_or((after, ""));
        let place = number.parse().ok().and_then(|n: usize| places.get(n));
        filled.push_str(&place.map_or_else(String::new, |place| when::retold_moment(place, language)));
        rest = behind;
    }
    filled.push_str(rest);
    filled
}

struct Entry {
    code: &'static str,
    status: u16,
    vietnamese: &'static str,
    english: &'static str,
}

macro_rules! table {
    ($($code:literal $status:literal $vietnamese:literal $english:literal)*) => {
        &[$(Entry { code: $code, status: $status, vietnamese: $vietnamese, english: $english }),*]
    };
}

const TABLE: &[Entry] = include!("text.table");

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_is_there_once_in_both_languages_with_the_same_places() {
        let mut seen = BTreeSet::new();
        let places = |text: &str| -> BTreeSet<usize> {
            text.split('{').skip(1).map(|part| part.split('}').next().unwrap().parse().unwrap()).collect()
        };
        for entry in TABLE {
            assert!(seen.insert(entry.code), "{} stands twice", entry.code);
            assert!(!entry.vietnamese.is_empty() && !entry.english.is_empty(), "{}", entry.code);
            assert_ne!(entry.vietnamese, entry.english, "{}", entry.code);
            assert_eq!(places(entry.vietnamese), places(entry.english), "{}", entry.code);
            assert!((200..600).contains(&entry.status), "{}", entry.code);
        }
    }

    #[test]
    fn every_code_that_this_room_says_is_in_the_table() {
        let mut files = 0;
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/control");
        let within = ["transcode", "check", "live", "tree", "enrol", "receipts", "timetable"]
            .map(|name| std::fs::read_dir(format!("{folder}/{name}")).unwrap());
        for file in std::fs::read_dir(folder).unwrap().chain(within.into_iter().flatten()) {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|kind| kind != "rs") {
                continue;
            }
            files += 1;
            let text = std::fs::read_to_string(&path).unwrap();
            let report = ["ok", "warning", "mistake"].map(|level| format!("report.{level}(\""));
            let others = ["Failure::new(\"", "say(language, \"", "Failure::from_room(\"", "say(self.language, \""];
            for opening in others.into_iter().chain(report.iter().map(String::as_str)) {
                let flat = text.split_whitespace().collect::<Vec<_>>().join(" ").replace("( ", "(");
                for part in flat.split(opening).skip(1) {
                    let code = part.split('"').next().unwrap();
                    assert!(find(code).is_some(), "{}: {code} has no text", path.display());
                }
            }
        }
        assert!(files > 5);
    }

    /// The register and the timetable speak English themselves; here is what they say in the other language.
    #[test]
    fn every_sentence_of_the_register_and_the_timetable_is_in_the_table() {
        for (code, english) in crate::broadcast::ENGLISH {
            let entry = find(code).unwrap_or_else(|| panic!("{code} has no text"));
            assert_eq!(entry.english, *english, "{code}");
        }
    }

    #[test]
    fn the_header_chooses_the_language_by_weight() {
        for (header, expected) in [
            ("vi", Language::Vietnamese),
            ("vi-VN,vi;q=0.9,en;q=0.8", Language::Vietnamese),
            ("en-GB, vi;q=0.5", Language::English),
            ("fr, de", Language::English),
            ("vi;q=0", Language::English),
            ("", Language::English),
            (";;q=;,,", Language::English),
        ] {
            assert_eq!(Language::of_header(header), expected, "{header}");
        }
        assert_eq!(Language::of_locale("vi_VN.UTF-8"), Language::Vietnamese);
        assert_eq!(Language::of_locale("C.UTF-8"), Language::English);
    }

    #[test]
    fn what_is_filled_in_cannot_ask_for_more() {
        let filled = |places: [&str; 2], language| fill("{1} and {0} and {7}{", &places.map(str::to_owned), language);
        assert_eq!(filled(["{1}", "b"], Language::English), "b and {1} and ");
        let time = "2026-12-07T08:40:00+07:00";
        assert_eq!(filled(["a", time], Language::English), format!("{time} and a and "));
        assert_eq!(
            filled(["2026-12-07", time], Language::Vietnamese),
            "07/12/2026 08:40:00 +07:00 and 07/12/2026 and "
        );
    }

    #[test]
    fn another_rooms_text_keeps_its_place_in_both_languages() {
        let failure = Failure::from_room("media.damaged", "a.flac: 3.2 s: bad frame; upload it again");
        assert!(failure.text(Language::English).contains("3.2 s"));
        assert!(failure.text(Language::Vietnamese).contains("3.2 s"));
        assert_ne!(failure.text(Language::English), failure.text(Language::Vietnamese));
        assert_eq!(failure.status(), 422);
        let strange = "config.no_such_rule";
        let failure = Failure::from_room(strange, "loa.toml:3:1: unknown field bad");
        assert!(failure.text(Language::Vietnamese).starts_with("cấu hình"));
        assert_eq!(failure.exit(), 2);
        let exits =
            ["area.invalid", "volume.range", "node.identity", "request.cut"].map(|code| Failure::new(code, []).exit());
        assert_eq!(exits, [2, 2, 1, 1]);
    }
}
