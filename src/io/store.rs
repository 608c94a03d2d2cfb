//! Files of a node: the journal and the track files. Blocking; owned by the job thread, shared by
//! reference with `control`.
use crate::proto;
use crate::track::Packet;
use std::io;
use std::path::Path;
use uuid::Uuid;

/// `journal/`, `tracks/<id>/` and `VERSION` of one data folder, locked by `LOCK`.
#[derive(Debug)]
pub struct Store {}

impl Store {
    /// Makes the folders (mode 0700), takes the lock (an error names the other process), checks
    /// VERSION, mends a torn last record of the journal.
    pub fn open(_data: &Path) -> io::Result<Self> {
        todo!()
    }

    /// Every record, oldest first.
    pub fn journal(&self) -> io::Result<Vec<proto::Record>> {
        todo!()
    }

    /// Appends and syncs to disk before it returns.
    pub fn append(&self, _records: &[proto::Record]) -> io::Result<()> {
        todo!()
    }

    /// Writes packets of a track (any indices; the same bytes again are ignored).
    pub fn keep(&self, _track: Uuid, _packets: &[Packet]) -> io::Result<()> {
        todo!()
    }

    /// Those of `[from, until)` that are there, ascending.
    pub fn fetch(&self, _track: Uuid, _from: u64, _until: u64) -> io::Result<Vec<Packet>> {
        todo!()
    }

    pub fn forget(&self, _track: Uuid) -> io::Result<()> {
        todo!()
    }
}
