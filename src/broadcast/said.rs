//! What the rules of areas and of the timetable say to people: a stable code, and what fills its sentence.

use std::fmt;

/// The English sentence is its `Display`; a room that speaks other languages fills its own by `code` and `places`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Said {
    /// One of [`ENGLISH`].
    pub code: &'static str,
    /// What stands at `{0}`, `{1}` … of the sentence.
    pub places: Vec<String>,
}

impl Said {
    pub(super) fn new<const N: usize>(code: &'static str, places: [&dyn fmt::Display; N]) -> Self {
        Self { code, places: places.iter().map(ToString::to_string).collect() }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentence = ENGLISH.iter().find(|(code, _)| *code == self.code).map_or("", |(_, sentence)| sentence);
        let mut rest = sentence;
        while let Some((before, after)) = rest.split_once('{') {
            f.write_str(before)?;
            let (number, behind) = after.split_once('}').unwrap_or((after, ""));
            f.write_str(number.parse().ok().and_then(|n: usize| self.places.get(n)).map_or("", String::as_str))?;
            rest = behind;
        }
        f.write_str(rest)
    }
}

/// Where in what was read a mistake stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum At {
    /// All of it, or one thing that was read alone.
    Whole,
    /// A line of a table, from 1; the line with the names of the columns counts.
    Line(u64),
    /// An element of a JSON array, from 1.
    Item(u64),
}

/// One thing to mend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    pub at: At,
    /// Column or field, as it is written there; empty where none is meant.
    pub field: String,
    pub said: Said,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            At::Whole => {}
            At::Line(line) => write!(f, "line {line}: ")?,
            At::Item(item) => write!(f, "item {item}: ")?,
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        self.said.fmt(f)
    }
}

/// Gathers mistakes, so that all are told at once.
#[derive(Debug, Default)]
pub(super) struct Mistakes(Vec<Mistake>);

impl Mistakes {
    pub fn add(&mut self, at: At, field: &str, said: Said) {
        if self.0.len() < MOST_MISTAKES {
            self.0.push(Mistake { at, field: field.to_owned(), said });
        }
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// `value`, unless something is wrong.
    pub fn or<T>(self, value: T) -> Result<T, Vec<Mistake>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }
}

/// Of the names in the first object of a file: where most of them are unknown it is another file, and that is the one
/// mistake to tell. Those names, quoted.
pub(super) fn foreign<'n>(names: impl Iterator<Item = &'n str>, known: impl Fn(&str) -> bool) -> Option<String> {
    let (right, wrong): (Vec<_>, Vec<_>) = names.partition(|name| known(name));
    let is_foreign = wrong.len() >= FOREIGN && wrong.len() >= right.len() || wrong.len() > 1 && right.is_empty();
    let shown: Vec<String> = wrong.into_iter().take(MOST_SHOWN).map(quoted).collect();
    is_foreign.then(|| shown.join(", "))
}

/// Names that are unknown beside known ones: fewer may be slips of the hand.
const FOREIGN: usize = 3;
const MOST_SHOWN: usize = 6;

/// Told at once; whoever made a hundred has made the same one a hundred times.
pub const MOST_MISTAKES: usize = 100;

/// What is quoted of a wrong text: enough to find it.
pub(super) fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(MOST_QUOTED).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

const MOST_QUOTED: usize = 60;

/// Every code there is, with its sentence. Codes are stable; control tells them in Vietnamese too.
#[rustfmt::skip]
pub const ENGLISH: &[(&str, &str)] = &[
    // What was read as a whole.
    ("read.size", "it has {0} bytes, at most {1} are read; leave out what is not needed"),
    ("read.utf8", "byte {0} is not UTF-8; save the file as UTF-8"),
    ("read.csv", "the table cannot be read: {0}; mend this line"),
    ("read.json", "the JSON cannot be read: {0}; mend it there"),
    ("read.array", "a JSON array is needed; put [ and ] around the objects"),
    ("read.object", "a JSON object is needed; put braces around its named fields"),
    ("read.foreign", "this seems to be another file, since its objects have {0}; give the one whose objects have {1}"),
    ("read.header", "no line names the columns; begin with: {0}"),
    ("read.column", "there is no column or field {0}; use {1}"),
    ("read.twice", "{0} stands twice; leave out one"),
    ("read.cells", "the line has {0} cells, the header {1}; put what has a comma in it between double quotes"),
    ("read.missing", "it is missing; write for instance {0}"),
    ("read.kind", "{0} is not {1}; write for instance {2}"),
    ("read.long", "it has {0} bytes, at most {1} are taken; shorten it"),
    ("read.control", "{0} has a character that cannot be shown; leave it out"),
    ("read.many", "there are {0}, at most {1} are taken; leave some out"),
    // Areas and groups.
    ("area.path", "the code of an area is not valid: {0}"),
    ("area.twice", "area {0} stands in {1} already; leave out one of the two"),
    ("area.parent", "area {0} lies in {1} by its code, not in {2}; mend one of them"),
    ("area.orphan", "area {0} lies in {1}, which is not in the register; add it, or mend the code"),
    ("area.nameless", "area {0} has no name; give one, for instance name:vi"),
    ("area.zone", "there is no time zone {0}; use a name like Asia/Ho_Chi_Minh"),
    ("area.dates", "area {0} would end on {1}, not after it begins on {2}; mend one of the dates"),
    ("area.still_there", "area {0} has successors but no end; say in until when they took over"),
    ("area.successor", "the successor {0} is not in the register; add it, or mend the code"),
    ("area.own_successor", "area {0} cannot be its own successor; name the area that took over"),
    ("area.unknown", "area {0} is not known; the nearest known areas: {1}"),
    ("area.ceased", "area {0} ceased on {1}; its successors: {2}"),
    ("area.not_yet", "area {0} begins only on {1}; name the area that is there before"),
    ("area.uncovered", "{0} cannot be left out of {1}, of which the register knows no parts; add them to the register"),
    ("area.many", "{0} areas are named, at most {1} fit; name one that contains them"),
    ("group.name", "{0} is not the name of a group; use 1 to 64 bytes of a-z, 0-9 and \"-\", beginning with a letter or digit"),
    ("group.twice", "group {0} stands twice; rename or leave out one"),
    ("group.unknown", "there is no group @{0}; the groups: {1}"),
    ("group.cycle", "group @{0} contains itself by {1}; take one of them out"),
    ("group.empty", "nothing is left of what was named; name an area that is not left out again"),
    // An entry of the timetable.
    ("timetable.priority", "{0} cannot stand in a timetable; use normal or priority"),
    ("timetable.sha256", "{0} is not the SHA-256 of a media file; give its 64 hex digits"),
    ("timetable.length", "it lasts {0} s; give more than 0 and at most {1} s"),
    ("timetable.year", "the year {0} cannot be planned; give {1} to {2}"),
    ("timetable.dates", "it would end on {0}, not after it begins on {1}; mend one of the dates"),
    ("timetable.id", "{0} has the id of another entry; give it an id of its own"),
    ("timetable.excepted", "{0} lies in no area of this entry; leave it out of except"),
    ("rule.part", "{0} is not a part of a rule; write it like FREQ=WEEKLY;BYDAY=MO,FR (RFC 5545, section 3.3.10)"),
    ("rule.unknown", "{0} cannot be used; use FREQ, INTERVAL, COUNT, UNTIL, BYMONTH, BYWEEKNO, BYYEARDAY, BYMONTHDAY, BYDAY, BYHOUR, BYMINUTE, BYSETPOS, WKST"),
    ("rule.twice", "{0} stands twice; leave out one"),
    ("rule.freq", "the rule does not say how often; begin with FREQ=DAILY, WEEKLY, MONTHLY or YEARLY"),
    ("rule.too_fine", "FREQ={0} is finer than a day; use FREQ=DAILY with BYHOUR and BYMINUTE"),
    ("rule.often", "the rule sounds {0} times a day, at most {1} are planned; name fewer hours or minutes"),
    ("rule.value", "{0} is not a value of {1}; use {2}"),
    ("rule.together", "{0} cannot stand with {1} (RFC 5545, section 3.3.10); use {2}"),
    ("rule.ends_twice", "COUNT and UNTIL stand both; leave out one"),
    ("rule.never", "the rule never sounds within {0} years of its start; mend it or its dates"),
    // Policies.
    ("policy.quota", "the quota limits nothing; give sessions or minutes"),
    ("policy.twice", "{0} has a policy already; put both into one"),
    // Why something does not sound.
    ("timetable.area_ceased", "area {0} ceased on {1}; give the entry its successors: {2}"),
    ("timetable.area_unknown", "area {0} is not known; the nearest known areas: {1}"),
    ("timetable.area_not_yet", "area {0} begins only on {1}; let the entry begin then"),
    ("timetable.not_approved", "nobody has approved it, as the policy of {0} asks; have it approved by name"),
    ("timetable.media_long", "its file lasts {0} s, its slot {1} s; make the slot longer, or upload a shorter file"),
    ("timetable.too_long", "it lasts {0}, at most {1} are allowed in {2}; shorten it"),
    ("timetable.quiet_hours", "it would sound between {0} and {1}, when {2} is quiet; move it"),
    ("timetable.overlap", "{0} sounds there from {1} to {2} and comes before it; move one of them"),
    ("timetable.gap", "{0} sounds from {1} to {2}, and {3} min must lie between two items; move one of them"),
    ("timetable.sessions", "{0} sessions sound in {1} on this day already, as many as are allowed; move it to another day"),
    ("timetable.minutes", "with it {0} would sound in {1} on this day, at most {2} are allowed; shorten it or move it to another day"),
    // What was asked of the timetable.
    ("timetable.window", "{0} days cannot be planned at once; ask for more than none and at most {1}"),
    ("timetable.entries", "the timetable has {0} entries, at most {1} are planned; remove what is over"),
    ("timetable.size", "the plan would have more than {0} items; ask for fewer days or a smaller area"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_sentence_is_filled_once() {
        let said = Said::new("area.twice", [&"{1}", &"line 2"]);
        assert_eq!(said.to_string(), "area {1} stands in line 2 already; leave out one of the two");
        let mistake = Mistake { at: At::Line(7), field: "code".into(), said };
        assert!(mistake.to_string().starts_with("line 7: code: area {1}"));
    }

    #[test]
    fn no_more_mistakes_are_told_than_the_bound() {
        let mut mistakes = Mistakes::default();
        for _ in 0..1_000 {
            mistakes.add(At::Whole, "", Said::new("read.array", []));
        }
        assert_eq!(mistakes.or(()).unwrap_err().len(), MOST_MISTAKES);
    }

    /// A code that is spelled out in these rooms has a sentence, and every sentence is said somewhere.
    #[test]
    fn every_code_in_use_has_a_sentence_and_every_sentence_is_in_use() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/src/broadcast");
        let mut used = BTreeSet::new();
        for folder in ["", "/register", "/timetable", "/timetable/rule"].map(|room| format!("{root}{room}")) {
            for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if file.extension().is_none_or(|end| end != "rs") || file.ends_with("said.rs") {
                    continue;
                }
                let text = std::fs::read_to_string(&file).unwrap();
                let flat = text.split_whitespace().collect::<Vec<_>>().join(" ").replace("( ", "(");
                for opening in ["Said::new(\"", "let code = \""] {
                    for part in flat.split(opening).skip(1) {
                        used.insert(part.split('"').next().unwrap().to_owned());
                    }
                }
            }
        }
        let listed: BTreeSet<_> = ENGLISH.iter().map(|(code, _)| (*code).to_owned()).collect();
        assert_eq!(listed.len(), ENGLISH.len(), "a code stands twice");
        assert_eq!(used.difference(&listed).collect::<Vec<_>>(), [] as [&String; 0], "without a sentence");
        assert_eq!(listed.difference(&used).collect::<Vec<_>>(), [] as [&String; 0], "never said");
    }
}
