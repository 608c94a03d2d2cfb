//! Files of a node: the journal and the track files. Blocking; owned by the job thread, shared by
//! reference with `control`.
use crate::proto;
use crate::track::Packet;
use journal::Journal;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tracks::Tracks;
use uuid::Uuid;

pub use edge::{Act, Edge, Watch};
pub use holder::holder;

mod edge;
mod holder;
mod journal;
mod lasting;
mod record;
mod tracks;

/// Version of the files' form; a program refuses a folder of another one rather than guess.
pub const VERSION: &str = "1";
/// Bytes of a journal that is written anew at the next start: a second to read.
const LONG: u64 = 16 << 20;

/// `journal/`, `tracks/<id>/` and `VERSION` of one data folder, locked by `LOCK`.
#[derive(Debug)]
pub struct Store {
    journal: Mutex<Journal>,
    tracks: Mutex<Tracks>,
    /// Held open: the lock ends with it, however the process ends.
    _lock: File,
}

impl Store {
    /// Makes the folders (mode 0700), takes the lock (an error names the other process), checks
    /// VERSION, mends a torn last record of the journal.
    pub fn open(data: &Path) -> io::Result<Self> {
        Self::open_by(Edge::default(), data)
    }

    /// The same by an edge that is watched.
    pub fn open_by(edge: Edge, data: &Path) -> io::Result<Self> {
        for folder in [data.to_owned(), data.join("journal"), data.join("tracks")] {
            edge.make_folder(&folder).map_err(|error| at(&folder, error))?;
        }
        let lock = lock(&data.join("LOCK"))?;
        check_version(&edge, &data.join("VERSION"))?;
        // Whoever made the folders may have been cut off before this.
        edge.sync_folder(data)?;
        let journal = Journal::open(edge.clone(), data.join("journal/orders"))?;
        let tracks = Tracks::new(edge, data.join("tracks"));
        Ok(Self { journal: Mutex::new(journal), tracks: Mutex::new(tracks), _lock: lock })
    }

    /// Every record, oldest first.
    pub fn journal(&self) -> io::Result<Vec<proto::Record>> {
        hold(&self.journal).read()
    }

    /// The same; of a long journal, which is then shorter, what still means anything.
    pub fn journal_to_start_with(&self) -> io::Result<Vec<proto::Record>> {
        let long = hold(&self.journal).length() >= LONG;
        if long { self.rewrite(lasting::lasting) } else { self.journal() }
    }

    /// Puts others in the place of all records. A power cut meanwhile leaves the one or the other.
    pub fn rewrite(
        &self,
        keep: impl FnOnce(Vec<proto::Record>) -> Vec<proto::Record>,
    ) -> io::Result<Vec<proto::Record>> {
        let mut journal = hold(&self.journal);
        let kept = keep(journal.read()?);
        journal.replace(&kept)?;
        Ok(kept)
    }

    /// Every record of a folder that another process uses.
    pub fn peek(data: &Path) -> io::Result<Vec<proto::Record>> {
        Journal::peek(data.join("journal/orders"))
    }

    /// Appends and syncs to disk before it returns.
    pub fn append(&self, records: &[proto::Record]) -> io::Result<()> {
        hold(&self.journal).append(records)
    }

    /// Writes packets of a track (any indices; the same bytes again are ignored).
    pub fn keep(&self, track: Uuid, packets: &[Packet]) -> io::Result<()> {
        hold(&self.tracks).keep(track, packets)
    }

    /// What was kept of a track outlasts a power cut from now on. Whoever can fetch it again need not ask for it.
    pub fn settle(&self, track: Uuid) -> io::Result<()> {
        hold(&self.tracks).settle(track)
    }

    /// Those of `[from, until)` that are there, ascending.
    pub fn fetch(&self, track: Uuid, from: u64, until: u64) -> io::Result<Vec<Packet>> {
        hold(&self.tracks).fetch(track, from, until)
    }

    pub fn forget(&self, track: Uuid) -> io::Result<()> {
        hold(&self.tracks).forget(track)
    }
}

/// A panic elsewhere leaves the files as they are on disk, which is what counts.
fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error that names the file.
fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn lock(path: &Path) -> io::Result<File> {
    let mut file = Edge::default().open(path)?;
    for turn in 0.. {
        // SAFETY: flock takes a descriptor that is open, and no pointer.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } >= 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::WouldBlock {
            return Err(at(path, error));
        }
        let mut owner = String::new();
        file.rewind()?;
        let _ = (&mut file).take(20).read_to_string(&mut owner);
        // A program that this process is starting holds all that was open for a moment, this lock with it.
        if owner.trim() == std::process::id().to_string() && turn < OWN_TURNS {
            std::thread::sleep(OWN_TURN);
            continue;
        }
        let text = format!(
            "{}: process {} uses this data folder; stop it first, or name another folder",
            path.display(),
            owner.trim()
        );
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
    }
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id()).map_err(|error| at(path, error))?;
    Ok(file)
}

/// How long a folder that this process had open itself may still be held.
const OWN_TURNS: u32 = 50;
const OWN_TURN: std::time::Duration = std::time::Duration::from_millis(10);

fn check_version(edge: &Edge, path: &Path) -> io::Result<()> {
    match fs::read_to_string(path) {
        Ok(text) if text.trim() == VERSION => Ok(()),
        // Created and not yet written when the power went.
        Ok(text) if text.trim_matches('\0').is_empty() => write_version(edge, path),
        Ok(text) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!(
                "{}: the folder has version {:.20}, this program reads {VERSION}; use the loa that wrote it, or a newer one",
                path.display(),
                text.trim()
            ),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => write_version(edge, path),
        Err(error) => Err(at(path, error)),
    }
}

fn write_version(edge: &Edge, path: &Path) -> io::Result<()> {
    let mut file = edge.open(path)?;
    let text = format!("{VERSION}\n");
    edge.write(&mut file, path, 0, text.as_bytes())
        .and_then(|()| edge.sync(&file, path))
        .map_err(|error| at(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    #[test]
    fn a_second_process_is_told_who_holds_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = Store::open(folder.path()).unwrap();
        let error = Store::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        drop(first);
        Store::open(folder.path()).unwrap();
    }

    #[test]
    fn a_folder_of_another_version_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        drop(Store::open(folder.path()).unwrap());
        fs::write(folder.path().join("VERSION"), "2\n").unwrap();
        assert!(Store::open(folder.path()).unwrap_err().to_string().contains("version 2"));
        fs::write(folder.path().join("VERSION"), "").unwrap();
        Store::open(folder.path()).unwrap();
    }

    #[test]
    fn nobody_else_may_look_into_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let store = Store::open(&data).unwrap();
        store.append(&[proto::Record::default()]).unwrap();
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(data.clone()), 0o700);
        assert_eq!(mode(data.join("journal")), 0o700);
        assert_eq!(mode(data.join("journal/orders")), 0o600);
    }
}
