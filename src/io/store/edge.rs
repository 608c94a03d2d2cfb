//! The store's edge to the file system. Whatever changes a file of it passes here, so that a test can write down what was
//! asked and what was synced, and cut the power between any two of them (`tests/crash.rs`).
use super::at;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file system, and whoever watches.
#[derive(Clone, Default)]
pub struct Edge {
    watch: Option<Watch>,
}

/// Told of each act once it is done.
pub type Watch = Arc<dyn Fn(Act) + Send + Sync>;

/// What was done to the file system; only what is synced outlasts a power cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// A folder was made that was not there.
    Folder(PathBuf),
    /// A file was made that was not there.
    File(PathBuf),
    Write {
        path: PathBuf,
        from: u64,
        bytes: Vec<u8>,
    },
    Length {
        path: PathBuf,
        length: u64,
    },
    /// The bytes of a file are on the disk.
    Sync(PathBuf),
    /// The names in a folder are.
    SyncFolder(PathBuf),
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    /// A folder was removed with what was in it.
    Remove(PathBuf),
}

impl Edge {
    pub fn watched(watch: Watch) -> Self {
        Self { watch: Some(watch) }
    }

    /// Mode 0700; those above it too.
    pub(super) fn make_folder(&self, path: &Path) -> io::Result<()> {
        let there = self.watch.is_some() && path.exists();
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        if !there {
            self.tell(|| Act::Folder(path.to_owned()));
        }
        Ok(())
    }

    /// For reading and writing, mode 0600; made if it is not there.
    pub(super) fn open(&self, path: &Path) -> io::Result<File> {
        let there = self.watch.is_some() && path.exists();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).map_err(|error| at(path, error))?;
        if !there {
            self.tell(|| Act::File(path.to_owned()));
        }
        Ok(file)
    }

    pub(super) fn write(&self, file: &mut File, path: &Path, from: u64, bytes: &[u8]) -> io::Result<()> {
        file.seek(SeekFrom::Start(from))?;
        file.write_all(bytes)?;
        self.tell(|| Act::Write { path: path.to_owned(), from, bytes: bytes.to_vec() });
        Ok(())
    }

    pub(super) fn cut(&self, file: &File, path: &Path, length: u64) -> io::Result<()> {
        file.set_len(length)?;
        self.tell(|| Act::Length { path: path.to_owned(), length });
        Ok(())
    }

    /// The bytes of a file, and its length.
    pub(super) fn sync(&self, file: &File, path: &Path) -> io::Result<()> {
        file.sync_data()?;
        self.tell(|| Act::Sync(path.to_owned()));
        Ok(())
    }

    /// The names in a folder, not only the bytes of its files.
    pub(super) fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path).and_then(|folder| folder.sync_all()).map_err(|error| at(path, error))?;
        self.tell(|| Act::SyncFolder(path.to_owned()));
        Ok(())
    }

    /// Over what has that name, if anything.
    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to).map_err(|error| at(to, error))?;
        self.tell(|| Act::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)?;
        self.tell(|| Act::Remove(path.to_owned()));
        Ok(())
    }

    fn tell(&self, act: impl FnOnce() -> Act) {
        if let Some(watch) = &self.watch {
            watch(act());
        }
    }
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edge").field("watched", &self.watch.is_some()).finish()
    }
}
