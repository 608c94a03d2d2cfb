//! A disk as the store sees it: what was asked of it, what was synced, and what a power cut may leave of the rest.
//!
//! ```text
//!  bytes   of a file are certain up to its last sync; of what was written since, all may be there, nothing, the first
//!          so many bytes, or any pages of it (a page that is not there reads as before, or as zeros)
//!  names   of files and folders are certain once their folder was synced; else they may be there or not
//! ```
use crate::dice::Dice;
use loa::io::store::Act;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Paths are those below the store's folder.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    files: BTreeMap<PathBuf, File>,
    /// And whether their names are certain.
    folders: BTreeMap<PathBuf, bool>,
    /// Folders that were removed, whose removal is not certain.
    removed: BTreeMap<PathBuf, BTreeMap<PathBuf, File>>,
}

#[derive(Clone, Debug, Default)]
struct File {
    /// As last synced.
    certain: Vec<u8>,
    pending: Vec<Change>,
    named: bool,
    /// Another name that it had, and what had this one: so it is until the folder is synced, or not.
    before: Option<(PathBuf, Box<File>)>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Disk {
    /// What lies in a folder after the power came back.
    pub fn of(folder: &Path) -> Self {
        let mut disk = Self::default();
        let mut todo = vec![folder.to_owned()];
        while let Some(next) = todo.pop() {
            for entry in fs::read_dir(&next).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(folder).unwrap().to_owned();
                if path.is_dir() {
                    disk.folders.insert(name, true);
                    todo.push(path);
                } else if name != Path::new("LOCK") {
                    let certain = fs::read(&path).unwrap();
                    disk.files.insert(name, File { certain, pending: Vec::new(), named: true, before: None });
                }
            }
        }
        disk
    }

    pub fn handle(&mut self, folder: &Path, act: &Act) {
        let below = |path: &Path| path.strip_prefix(folder).unwrap().to_owned();
        match act {
            Act::Folder(path) => drop(self.folders.insert(below(path), false)),
            Act::File(path) => drop(self.files.insert(below(path), File::default())),
            Act::Write { path, from, bytes } => {
                let change = Change::Write(usize::try_from(*from).unwrap(), bytes.clone());
                self.files.get_mut(&below(path)).expect("it was made").pending.push(change);
            }
            Act::Length { path, length } => {
                let change = Change::Length(usize::try_from(*length).unwrap());
                self.files.get_mut(&below(path)).expect("it was made").pending.push(change);
            }
            Act::Sync(path) => {
                let file = self.files.get_mut(&below(path)).expect("it was made");
                file.certain = file.all();
                file.pending.clear();
            }
            Act::SyncFolder(path) => {
                let folder = below(path);
                let within = |path: &Path| path.parent() == Some(folder.as_path());
                self.files.iter_mut().filter(|(path, _)| within(path)).for_each(|(_, file)| {
                    (file.named, file.before) = (true, None);
                });
                self.folders.iter_mut().filter(|(path, _)| within(path)).for_each(|(_, named)| *named = true);
                self.removed.retain(|path, _| !within(path));
            }
            Act::Rename { from, to } => {
                let mut file = self.files.remove(&below(from)).expect("it was made");
                let old = self.files.remove(&below(to)).expect("only what is there is replaced");
                (file.named, file.before) = (true, Some((below(from), Box::new(old))));
                self.files.insert(below(to), file);
            }
            Act::Remove(path) => {
                let path = below(path);
                let inside: BTreeMap<PathBuf, File> = self
                    .files
                    .iter()
                    .filter(|(file, _)| file.starts_with(&path))
                    .map(|(a, b)| (a.clone(), b.clone()))
                    .collect();
                self.files.retain(|file, _| !file.starts_with(&path));
                if self.folders.remove(&path).is_some() {
                    // One that was removed before, and is still uncertain, is as likely to be found.
                    self.removed.entry(path).or_insert(inside);
                }
            }
        }
    }

    /// Whether a folder holds just what was asked for: nothing reached it but by way of what this disk was told.
    pub fn check(&self, folder: &Path) {
        let there = Self::of(folder);
        let names = |disk: &Self| disk.files.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(names(&there), names(self), "files that nobody told of");
        for (path, file) in &there.files {
            assert!(file.certain == self.files[path].all(), "{}: bytes that nobody told of", path.display());
        }
        assert!(there.folders.keys().eq(self.folders.keys()), "folders that nobody told of");
    }

    /// What a power cut leaves now, written into an empty folder.
    pub fn cut_power(&self, dice: &mut Dice, into: &Path) {
        let mut there = BTreeSet::from([PathBuf::new()]);
        for (path, named) in &self.folders {
            if there.contains(path.parent().unwrap()) && (*named || dice.one_in(2)) {
                there.insert(path.clone());
                fs::create_dir(into.join(path)).unwrap();
            }
        }
        for (path, file) in &self.files {
            if let Some((other, old)) = file.before.as_ref().filter(|_| dice.one_in(2)) {
                fs::write(into.join(path), old.left(dice)).unwrap();
                fs::write(into.join(other), file.left(dice)).unwrap();
            } else if there.contains(path.parent().unwrap()) && (file.named || dice.one_in(2)) {
                fs::write(into.join(path), file.left(dice)).unwrap();
            }
        }
        for (path, files) in &self.removed {
            if there.contains(path.parent().unwrap()) && !there.contains(path) && dice.one_in(2) {
                fs::create_dir(into.join(path)).unwrap();
                for (path, file) in files {
                    if !dice.one_in(3) {
                        fs::write(into.join(path), file.left(dice)).unwrap();
                    }
                }
            }
        }
    }
}

impl File {
    /// With all that was written.
    fn all(&self) -> Vec<u8> {
        let mut bytes = self.certain.clone();
        self.pending.iter().for_each(|change| change.apply(&mut bytes));
        bytes
    }

    fn left(&self, dice: &mut Dice) -> Vec<u8> {
        match dice.below(4) {
            _ if self.pending.is_empty() => self.certain.clone(),
            0 => self.all(),
            1 => self.certain.clone(),
            2 => self.in_order(dice),
            _ => self.by_pages(dice),
        }
    }

    /// The first changes, the last of them cut at any byte.
    fn in_order(&self, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = self.certain.clone();
        let last = dice.below(self.pending.len() as u64) as usize;
        self.pending[..last].iter().for_each(|change| change.apply(&mut bytes));
        if let Change::Write(from, whole) = &self.pending[last] {
            let length = dice.below(whole.len() as u64 + 1) as usize;
            Change::Write(*from, whole[..length].to_vec()).apply(&mut bytes);
        }
        bytes
    }

    /// Any pages, and any length that it had or grew through.
    fn by_pages(&self, dice: &mut Dice) -> Vec<u8> {
        let mut all = self.certain.clone();
        let (mut shortest, mut longest) = (all.len(), all.len());
        for change in &self.pending {
            change.apply(&mut all);
            (shortest, longest) = (shortest.min(all.len()), longest.max(all.len()));
        }
        let length = shortest + dice.below((longest - shortest) as u64 + 1) as usize;
        all.resize(length, 0);
        let size = if dice.one_in(2) { PAGE } else { SECTOR };
        for page in (0..length).step_by(size) {
            let end = (page + size).min(length);
            if dice.one_in(3) {
                for (at, byte) in all.iter_mut().enumerate().take(end).skip(page) {
                    *byte = self.certain.get(at).copied().unwrap_or(0);
                }
            }
        }
        all
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(from, more) => {
                bytes.resize(bytes.len().max(from + more.len()), 0);
                bytes[*from..from + more.len()].copy_from_slice(more);
            }
            Self::Length(length) => bytes.resize(*length, 0),
        }
    }
}

/// What reaches the disk as one: of most file systems, and of a disk that loses its power in the middle of that.
const PAGE: usize = 4_096;
const SECTOR: usize = 512;
