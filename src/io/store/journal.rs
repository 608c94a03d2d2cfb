//! `journal/orders`: every order and key that this node must know after a restart, append-only.
use super::{Edge, at, record};
use crate::proto;
use prost::Message;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::PathBuf;

#[derive(Debug)]
pub struct Journal {
    edge: Edge,
    file: File,
    path: PathBuf,
    /// Where the last whole record ends.
    end: u64,
    /// A write failed half-way and the torn record could not be cut off yet: nothing is written before that.
    broken: bool,
}

impl Journal {
    /// Cuts a torn last record off (a crash while appending). Damage before whole records is not
    /// mended: it is an error that names the byte, since what follows it may be a cancel.
    pub fn open(edge: Edge, path: PathBuf) -> io::Result<Self> {
        let file = edge.open(&path)?;
        if let Some(folder) = path.parent() {
            edge.sync_folder(folder)?;
        }
        let mut journal = Self { edge, file, path, end: 0, broken: false };
        let whole = journal.scan(|_| Ok(()))?;
        let length = journal.file.metadata()?.len();
        if whole < length {
            if journal.whole_record_after(whole)? {
                return Err(journal.damaged(whole));
            }
            tracing::warn!(
                code = "journal.cut", file = %journal.path.display(), from = whole, bytes = length - whole,
                "the last record was cut short by a crash and is removed"
            );
            journal.edge.cut(&journal.file, &journal.path, whole)?;
            journal.edge.sync(&journal.file, &journal.path)?;
        }
        journal.end = whole;
        Ok(journal)
    }

    pub fn read(&mut self) -> io::Result<Vec<proto::Record>> {
        let (records, whole) = self.all()?;
        if whole == self.end { Ok(records) } else { Err(self.damaged(whole)) }
    }

    /// What stands there now, while another process may be writing the next record.
    pub fn peek(path: PathBuf) -> io::Result<Vec<proto::Record>> {
        let file = File::open(&path).map_err(|error| at(&path, error))?;
        let mut journal = Self { edge: Edge::default(), file, path, end: 0, broken: false };
        journal.all().map(|(records, _)| records)
    }

    fn all(&mut self) -> io::Result<(Vec<proto::Record>, u64)> {
        let mut records = Vec::new();
        let path = self.path.clone();
        let whole = self.scan(|bytes| {
            if bytes.is_empty() {
                return Ok(());
            }
            let record = proto::Record::decode(bytes)
                .map_err(|error| at(&path, io::Error::new(io::ErrorKind::InvalidData, error)))?;
            records.push(record);
            Ok(())
        })?;
        Ok((records, whole))
    }

    pub fn length(&self) -> u64 {
        self.end
    }

    /// These in the place of all that is there. A power cut meanwhile leaves the one or the other.
    pub fn replace(&mut self, records: &[proto::Record]) -> io::Result<()> {
        let path = self.path.with_extension("new");
        let edge = self.edge.clone();
        let mut anew = Self { file: edge.open(&path)?, edge, path, end: 0, broken: false };
        anew.edge.cut(&anew.file, &anew.path, 0)?;
        let mut bytes = Vec::new();
        for record in records {
            record::write(&record.encode_to_vec(), &mut bytes);
        }
        anew.put(0, &bytes).map_err(|error| at(&anew.path, error))?;
        self.edge.rename(&anew.path, &self.path)?;
        if let Some(folder) = self.path.parent() {
            self.edge.sync_folder(folder)?;
        }
        (self.file, self.end, self.broken) = (anew.file, bytes.len() as u64, false);
        Ok(())
    }

    /// On disk when it returns, all of them. A power cut meanwhile leaves all or none.
    pub fn append(&mut self, records: &[proto::Record]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for record in records {
            let encoded = record.encode_to_vec();
            if encoded.len() > record::LONGEST {
                let text = format!("a record of {} bytes; at most {} are kept", encoded.len(), record::LONGEST);
                return Err(at(&self.path, io::Error::new(io::ErrorKind::InvalidInput, text)));
            }
            record::write(&encoded, &mut bytes);
        }
        if self.broken {
            // The disk was full or read-only then, and may not be any more.
            self.cut()?;
        }
        let written = match records.len() {
            0 => return Ok(()),
            1 => self.put(0, &bytes),
            _ => self.put_together(&bytes),
        };
        match written {
            Ok(()) => {
                self.end += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                // What may be half there must not come before the next record.
                let _ = self.cut();
                Err(at(&self.path, error))
            }
        }
    }

    /// Writes behind the last record, and syncs.
    fn put(&mut self, from: u64, bytes: &[u8]) -> io::Result<()> {
        let Self { edge, file, path, .. } = self;
        edge.write(file, path, self.end + from, bytes).and_then(|()| edge.sync(file, path))
    }

    /// Several records: of what is not synced yet any part may reach the disk, the last one whole before the first. So the
    /// first one states a length that none has, and nothing from it on counts, until the rest is safe; then one byte is
    /// put right.
    fn put_together(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.end % SECTOR > SECTOR - record::HEADER as u64 {
            // A header in two sectors could come without that byte; an empty record moves it.
            let mut empty = Vec::new();
            record::write(&[], &mut empty);
            self.put(0, &empty)?;
            self.end += empty.len() as u64;
        }
        let (first, rest) = bytes.split_at(1);
        self.put(0, &[&[UNSURE], rest].concat())?;
        self.put(0, first)
    }

    /// Cuts off what a failed write left behind the last whole record.
    fn cut(&mut self) -> io::Result<()> {
        let Self { edge, file, path, .. } = self;
        let cut = edge.cut(file, path, self.end).and_then(|()| edge.sync(file, path));
        self.broken = cut.is_err();
        cut.map_err(|error| at(&self.path, error))
    }

    /// Gives every whole record from the start; returns where the last of them ends.
    fn scan(&mut self, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<u64> {
        self.file.seek(SeekFrom::Start(0)).map_err(|error| at(&self.path, error))?;
        let mut reader = BufReader::new(&self.file);
        let (mut end, mut bytes) = (0, Vec::new());
        while next(&mut reader, &mut bytes).map_err(|error| at(&self.path, error))? {
            take(&bytes)?;
            end += (record::HEADER + bytes.len()) as u64;
        }
        Ok(end)
    }

    /// Whether a record that holds begins anywhere behind the bad one at `offset`, where the bad one
    /// says that it ends.
    fn whole_record_after(&mut self, offset: u64) -> io::Result<bool> {
        self.file.seek(SeekFrom::Start(offset))?;
        let mut reader = BufReader::new(&self.file);
        let mut header = [0; record::HEADER];
        if !fill(&mut reader, &mut header)? {
            return Ok(false);
        }
        let Some(length) = record::length(&header) else { return Ok(false) };
        let mut bytes = vec![0; length];
        Ok(fill(&mut reader, &mut bytes)? && next(&mut reader, &mut bytes)?)
    }

    fn damaged(&self, offset: u64) -> io::Error {
        let text = format!(
            "damaged at byte {offset}, with whole records behind it; restore the file from a backup, or move it away and place the node anew"
        );
        at(&self.path, io::Error::new(io::ErrorKind::InvalidData, text))
    }
}

/// What a disk writes as one, at least.
const SECTOR: u64 = 512;
/// As a length's first byte, more than any record has.
const UNSURE: u8 = 0xff;

/// Reads one record into `bytes`; false at the end or when it does not hold.
fn next(reader: &mut impl Read, bytes: &mut Vec<u8>) -> io::Result<bool> {
    let mut header = [0; record::HEADER];
    if !fill(reader, &mut header)? {
        return Ok(false);
    }
    let Some(length) = record::length(&header) else { return Ok(false) };
    bytes.resize(length, 0);
    Ok(fill(reader, bytes)? && record::holds(&header, bytes))
}

/// False when the file ends before `bytes` are full.
fn fill(reader: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::record::Body;
    use std::fs;
    use std::io::Write;

    fn time(value: i64) -> proto::Record {
        proto::Record { body: Some(Body::Time(value)) }
    }

    #[test]
    fn a_crash_at_any_byte_leaves_the_records_before_it_and_room_for_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders");
        let mut journal = Journal::open(Edge::default(), path.clone()).unwrap();
        let mut ends = vec![0];
        for value in [1, 1 << 40, 3] {
            journal.append(&[time(value)]).unwrap();
            ends.push(journal.end as usize);
        }
        drop(journal);
        let whole = fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let mut journal = Journal::open(Edge::default(), path.clone()).unwrap();
            let left = ends.iter().filter(|end| **end <= cut).count() - 1;
            let mut expected: Vec<_> = [1, 1 << 40, 3].into_iter().take(left).map(time).collect();
            assert_eq!(journal.read().unwrap(), expected, "cut at {cut}");
            journal.append(&[time(9)]).unwrap();
            drop(journal);
            expected.push(time(9));
            assert_eq!(Journal::open(Edge::default(), path.clone()).unwrap().read().unwrap(), expected, "cut at {cut}");
        }
    }

    #[test]
    fn what_a_failed_write_left_is_cut_off_as_soon_as_the_disk_lets_it_and_the_next_record_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders");
        let mut journal = Journal::open(Edge::default(), path.clone()).unwrap();
        journal.append(&[time(1)]).unwrap();
        // A disk that took half a record and then nothing, not even the cut.
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"half").unwrap();
        journal.broken = true;
        let writing = std::mem::replace(&mut journal.file, File::open(&path).unwrap());
        assert!(journal.append(&[time(2)]).is_err(), "it cannot be written yet");
        assert!(journal.broken);
        journal.file = writing;
        journal.append(&[time(3)]).unwrap();
        drop(journal);
        assert_eq!(Journal::open(Edge::default(), path).unwrap().read().unwrap(), [time(1), time(3)]);
    }

    #[test]
    fn several_records_come_together_wherever_their_first_header_falls() {
        let folder = tempfile::tempdir().unwrap();
        for before in 490..530usize {
            let path = folder.path().join(before.to_string());
            let mut journal = Journal::open(Edge::default(), path.clone()).unwrap();
            let key = proto::StoredKey { track: vec![7; before - record::HEADER - 4].into(), secret: None };
            let first = proto::Record { body: Some(Body::Key(key)) };
            journal.append(std::slice::from_ref(&first)).unwrap();
            let end = journal.end;
            journal.append(&[time(1), time(2)]).unwrap();
            journal.append(&[]).unwrap();
            drop(journal);
            // Without the first header's first byte none of them is there, and the next ones are.
            let mut bytes = fs::read(&path).unwrap();
            let header = if end % SECTOR > SECTOR - 8 { end + 8 } else { end } as usize;
            bytes[header] = UNSURE;
            let torn = folder.path().join("torn");
            fs::write(&torn, bytes).unwrap();
            let mut journal = Journal::open(Edge::default(), torn).unwrap();
            assert_eq!(journal.read().unwrap(), std::slice::from_ref(&first), "{end}");
            journal.append(&[time(3)]).unwrap();
            assert_eq!(journal.read().unwrap(), [first.clone(), time(3)]);
            let whole = Journal::open(Edge::default(), path).unwrap().read().unwrap();
            assert_eq!(whole, [first, time(1), time(2)], "{end}");
        }
    }

    #[test]
    fn a_changed_byte_in_the_middle_is_reported_with_its_place_and_not_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders");
        let mut journal = Journal::open(Edge::default(), path.clone()).unwrap();
        journal.append(&[time(1), time(2), time(3)]).unwrap();
        drop(journal);
        let whole = fs::read(&path).unwrap();
        let mut changed = whole.clone();
        changed[record::HEADER] ^= 1;
        fs::write(&path, &changed).unwrap();
        let error = Journal::open(Edge::default(), path.clone()).unwrap_err().to_string();
        assert!(error.contains("byte 0"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), changed);
    }
}
