//! Files that appear whole or not at all, also when somebody loses patience.
use crate::audio::{Error, Facts, Found, Input};
use crate::io::{clock, identity};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Ends all work under way, and sweeps up what it leaves.
#[derive(Default)]
pub struct Stop {
    stopped: AtomicBool,
    half_made: Mutex<BTreeSet<PathBuf>>,
}

impl Stop {
    /// Every [`Stoppable`] ends at its next block.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Removes what nobody had the time to remove; called last.
    pub fn sweep(&self) {
        for path in self.half_made().iter() {
            let _ = fs::remove_file(path);
        }
    }

    fn half_made(&self) -> std::sync::MutexGuard<'_, BTreeSet<PathBuf>> {
        self.half_made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file in the making, in the folder where it will stand; dropped, it leaves nothing.
pub struct Partial<'a> {
    path: PathBuf,
    target: PathBuf,
    stop: &'a Stop,
}

impl<'a> Partial<'a> {
    pub fn create(target: &Path, stop: &'a Stop) -> io::Result<(Self, File)> {
        let name = format!(".{}.part", identity::new_id(clock::wall()));
        let partial = Self { path: target.with_file_name(name), target: target.to_owned(), stop };
        if stop.stopped() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        stop.half_made().insert(partial.path.clone());
        let file = File::create_new(&partial.path)?;
        Ok((partial, file))
    }

    /// `file` is all written. With `force` it takes the place of what stood there.
    pub fn place(self, file: &File, force: bool) -> io::Result<()> {
        file.sync_all()?;
        if !force && self.target.symlink_metadata().is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        // Under the lock, so that it is either swept or placed.
        let mut half_made = self.stop.half_made();
        fs::rename(&self.path, &self.target)?;
        half_made.remove(&self.path);
        Ok(())
    }
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        if self.stop.half_made().remove(&self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Sound that ends with an error once it is to stop.
pub struct Stoppable {
    pub inner: Box<dyn Input>,
    pub stop: Arc<Stop>,
}

impl Input for Stoppable {
    fn facts(&self) -> &Facts {
        self.inner.facts()
    }

    fn read(&mut self, out: &mut Vec<f32>) -> Result<bool, Error> {
        if self.stop.stopped() {
            return Err(Error::new("transcode.interrupted", "interrupted; nothing is left of it".into()));
        }
        self.inner.read(out)
    }

    fn found(&self) -> &Found {
        self.inner.found()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let (target, stop) = (folder.path().join("a.opus"), Stop::default());
        let (partial, mut file) = Partial::create(&target, &stop).unwrap();
        file.write_all(b"half").unwrap();
        assert!(!target.exists());
        drop(partial);
        assert_eq!(names(folder.path()), [""; 0]);
        let (partial, mut file) = Partial::create(&target, &stop).unwrap();
        file.write_all(b"whole").unwrap();
        partial.place(&file, false).unwrap();
        assert_eq!(names(folder.path()), ["a.opus"]);
        let (partial, file) = Partial::create(&target, &stop).unwrap();
        assert_eq!(partial.place(&file, false).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(names(folder.path()), ["a.opus"]);
        assert_eq!(fs::read(&target).unwrap(), b"whole");
        let (partial, file) = Partial::create(&target, &stop).unwrap();
        partial.place(&file, true).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"");
    }

    #[test]
    fn a_sweep_takes_what_is_half_made() {
        let folder = tempfile::tempdir().unwrap();
        let stop = Stop::default();
        let (_partial, _file) = Partial::create(&folder.path().join("a.opus"), &stop).unwrap();
        stop.stop();
        stop.sweep();
        assert_eq!(names(folder.path()), [""; 0]);
    }
}
