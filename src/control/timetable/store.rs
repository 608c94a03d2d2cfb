//! What people have made of a node's timetable, in its data folder.
//!
//! ```text
//! timetable/entries.json    {"version", "by", "at", "changes": [the newest, oldest first], "content": [entries]}
//!           policies.json   the same of policies
//!           areas.json      the same, as the text of a CSV file: the order of its languages is kept
//!           airings.json    [records]: which broadcasts were promised, see broadcast::timetable::airing
//! ```
//! Each file is replaced whole: written beside, synced, renamed, its folder synced.
use crate::broadcast::Register;
use crate::broadcast::timetable::airing::{self, Record};
use crate::broadcast::timetable::{Entry, Policies};
use crate::config;
use crate::control::text::Failure;
use crate::control::when;
use crate::io::clock;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Who made it so, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Rises by one with each.
    pub version: u64,
    pub by: String,
    /// RFC 3339.
    pub at: String,
}

/// One of the three, as it stands.
#[derive(Clone, Debug)]
pub struct Held<T> {
    pub value: Arc<T>,
    /// The newest last; never empty.
    pub changes: Vec<Change>,
}

impl<T> Held<T> {
    pub fn newest(&self) -> Change {
        self.changes.last().cloned().unwrap_or_else(|| nobody(0))
    }
}

/// What plans are made of.
#[derive(Clone, Debug)]
pub struct Tables {
    pub entries: Held<Vec<Entry>>,
    pub policies: Held<Policies>,
    pub areas: Held<Register>,
}

/// `timetable/` of one data folder. Blocking.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    version: u64,
    by: String,
    at: String,
    changes: Vec<Change>,
    content: Value,
}

impl Store {
    pub fn open(data: &Path) -> Result<Self, Failure> {
        let folder = data.join("timetable");
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|error| unkept(&folder, &error))?;
        Ok(Self { folder })
    }

    /// What is kept, or else what the configuration names.
    pub fn tables(&self, config: &config::Timetable) -> Result<Tables, Failure> {
        let entries = self.table(ENTRIES, config.entries.as_deref(), Entry::read_all)?;
        let policies = self.table(POLICIES, config.policies.as_deref(), Policies::read)?;
        let of_config = self.read(AREAS)?.is_none() && config.register.as_deref().is_some_and(is_json);
        let areas = if of_config { Register::from_json } else { Register::from_csv };
        let areas = self.table(AREAS, config.register.as_deref(), areas)?;
        Ok(Tables { entries, policies, areas })
    }

    fn table<T: Default>(
        &self,
        name: &str,
        start: Option<&Path>,
        read: impl Fn(&[u8]) -> Result<T, Vec<crate::broadcast::Mistake>>,
    ) -> Result<Held<T>, Failure> {
        if let Some(file) = self.read(name)? {
            let bytes = match file.content {
                Value::String(text) => text.into_bytes(),
                content => content.to_string().into_bytes(),
            };
            let place = self.folder.join(name);
            let value = read(&bytes).map_err(|mistakes| Failure::of_mistakes("timetable.damaged", &place, mistakes))?;
            return Ok(Held { value: Arc::new(value), changes: file.changes });
        }
        let Some(start) = start else {
            return Ok(Held { value: Arc::default(), changes: vec![nobody(0)] });
        };
        let bytes = fs::read(start).map_err(|error| Failure::new("client.file", [&start.display(), &error]))?;
        let value = read(&bytes).map_err(|mistakes| Failure::of_mistakes("timetable.wrong", start, mistakes))?;
        Ok(Held { value: Arc::new(value), changes: vec![nobody(0)] })
    }

    fn read(&self, name: &str) -> Result<Option<Kept>, Failure> {
        let place = self.folder.join(name);
        let damaged = |error: &dyn std::fmt::Display| Failure::new("timetable.damaged", [&place.display(), error]);
        match fs::read(&place) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| damaged(&error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(damaged(&error)),
        }
    }

    /// Puts `content` in the place of `held`.
    pub fn keep(&self, name: &str, mut changes: Vec<Change>, by: &str, content: Value) -> Result<Vec<Change>, Failure> {
        let version = changes.last().map_or(0, |change| change.version) + 1;
        let change = Change { version, by: by.to_owned(), ..nobody(version) };
        changes.push(change.clone());
        let Change { version, by, at } = change;
        changes.drain(..changes.len().saturating_sub(CHANGES));
        let file = Kept { version, by, at, changes, content };
        self.write(name, &serde_json::to_vec(&file).unwrap_or_default())?;
        Ok(file.changes)
    }

    /// None that could be read are told by name: what was promised must not be promised again.
    pub fn records(&self) -> Result<Vec<Record>, Failure> {
        let place = self.folder.join(AIRINGS);
        let bytes = match fs::read(&place) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unkept(&place, &error)),
        };
        let value: Option<Value> = serde_json::from_slice(&bytes).ok();
        value
            .and_then(|value| airing::read(&value))
            .ok_or_else(|| Failure::new("timetable.damaged", [&place.display(), &"it holds no airings"]))
    }

    pub fn keep_records(&self, records: &Value) -> Result<(), Failure> {
        self.write(AIRINGS, records.to_string().as_bytes())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let (place, beside) = (self.folder.join(name), self.folder.join(format!(".{name}.new")));
        let write = || -> io::Result<()> {
            let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&beside, &place)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|error| unkept(&place, &error))
    }
}

pub fn is_json(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

/// As the configuration has it, or the empty one.
fn nobody(version: u64) -> Change {
    Change { version, by: "-".into(), at: when::show(clock::wall(), chrono_tz::UTC) }
}

fn unkept(place: &Path, error: &io::Error) -> Failure {
    Failure::new("timetable.store", [&place.display(), error])
}

pub const ENTRIES: &str = "entries.json";
pub const POLICIES: &str = "policies.json";
pub const AREAS: &str = "areas.json";
const AIRINGS: &str = "airings.json";
/// Of which it is remembered who made them.
const CHANGES: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_comes_back_with_who_made_it_and_comes_before_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let config = config::Timetable {
            entries: Some(root.join("config/timetable/entries.json")),
            policies: Some(root.join("config/timetable/policies.json")),
            register: Some(root.join("config/areas-vn.csv")),
            ..config::Timetable::default()
        };
        let first = store.tables(&config).unwrap();
        assert_eq!((first.entries.value.len(), first.entries.newest().version), (3, 0));
        let content = Value::Array(first.entries.value.iter().skip(1).map(Entry::to_json).collect());
        let changes = store.keep(ENTRIES, first.entries.changes, "Trần Thị Bình", content).unwrap();
        assert_eq!(changes.last().map(|change| (change.version, change.by.as_str())), Some((1, "Trần Thị Bình")));
        let areas = Value::String(first.areas.value.to_csv());
        store.keep(AREAS, first.areas.changes, "An", areas).unwrap();
        let again = store.tables(&config).unwrap();
        assert_eq!((again.entries.value.len(), again.entries.changes), (2, changes));
        assert_eq!(again.areas.value, first.areas.value);
        assert_eq!(again.policies.value, first.policies.value);
    }

    #[test]
    fn a_damaged_file_is_named_and_nothing_is_taken_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        for (name, bytes) in [(ENTRIES, "{\"version\": 1"), (POLICIES, "[]")] {
            fs::write(store.folder.join(name), bytes).unwrap();
            let failure = store.tables(&config::Timetable::default()).unwrap_err();
            assert_eq!(failure.code, "timetable.damaged");
            assert!(failure.to_string().contains(name), "{failure}");
            fs::remove_file(store.folder.join(name)).unwrap();
        }
        fs::write(store.folder.join(AIRINGS), "[{}]").unwrap();
        assert_eq!(store.records().unwrap_err().code, "timetable.damaged");
    }
}
