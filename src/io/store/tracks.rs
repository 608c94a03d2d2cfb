//! `tracks/<id>/packets`: the packets of a stored track, in the order in which they came.
//!
//! Each record (see `record`) is the index (u64, big-endian) and the packet's bytes. A torn tail is
//! cut off when a file is opened; a damaged record in the middle is skipped like one that was never
//! fetched, since it can be fetched again.
use super::{Edge, at, record};
use crate::track::{MAX_PACKET, Packet};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::PathBuf;
use uuid::Uuid;

/// Files held open with their index map: as many as are on air, or fetched ahead, at once.
const OPEN: usize = 32;
/// Indices of one track: four hours of 20 ms packets. Bounds a map to some 40 MB, and a file to
/// under 1 GB.
const PACKETS: usize = 720_000;
const INDEX: usize = 8;

#[derive(Debug)]
pub struct Tracks {
    edge: Edge,
    folder: PathBuf,
    open: BTreeMap<Uuid, Track>,
    /// Least recently used first.
    used: VecDeque<Uuid>,
}

#[derive(Debug)]
struct Track {
    edge: Edge,
    file: File,
    path: PathBuf,
    /// Where the packet of each index begins, and its length.
    places: BTreeMap<u64, (u64, u32)>,
    end: u64,
}

impl Tracks {
    pub fn new(edge: Edge, folder: PathBuf) -> Self {
        Self { edge, folder, open: BTreeMap::new(), used: VecDeque::new() }
    }

    pub fn keep(&mut self, id: Uuid, packets: &[Packet]) -> io::Result<()> {
        self.track(id, true)?.map_or(Ok(()), |track| track.keep(packets))
    }

    /// The packets, and the names that lead to them.
    pub fn settle(&mut self, id: Uuid) -> io::Result<()> {
        let Some(track) = self.track(id, false)? else { return Ok(()) };
        let path = track.path.clone();
        track.edge.sync(&track.file, &path).map_err(|error| at(&path, error))?;
        self.edge.sync_folder(&self.folder.join(id.to_string()))?;
        self.edge.sync_folder(&self.folder)
    }

    pub fn fetch(&mut self, id: Uuid, from: u64, until: u64) -> io::Result<Vec<Packet>> {
        self.track(id, false)?.map_or(Ok(Vec::new()), |track| track.fetch(from, until))
    }

    pub fn forget(&mut self, id: Uuid) -> io::Result<()> {
        self.open.remove(&id);
        self.used.retain(|used| *used != id);
        let folder = self.folder.join(id.to_string());
        match self.edge.remove(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&folder, error)),
            _ => Ok(()),
        }
    }

    fn track(&mut self, id: Uuid, create: bool) -> io::Result<Option<&mut Track>> {
        if !self.open.contains_key(&id) {
            let folder = self.folder.join(id.to_string());
            let path = folder.join("packets");
            if !create && !path.exists() {
                return Ok(None);
            }
            self.edge.make_folder(&folder).map_err(|error| at(&folder, error))?;
            while self.used.len() >= OPEN {
                if let Some(oldest) = self.used.pop_front() {
                    self.open.remove(&oldest);
                }
            }
            self.open.insert(id, Track::open(self.edge.clone(), path)?);
        }
        self.used.retain(|used| *used != id);
        self.used.push_back(id);
        Ok(self.open.get_mut(&id))
    }
}

impl Track {
    fn open(edge: Edge, path: PathBuf) -> io::Result<Self> {
        let file = edge.open(&path)?;
        let mut track = Self { edge, file, path, places: BTreeMap::new(), end: 0 };
        track.index().map_err(|error| at(&track.path, error))?;
        Ok(track)
    }

    fn index(&mut self) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        let mut reader = BufReader::new(&self.file);
        let (mut header, mut bytes) = ([0; record::HEADER], Vec::new());
        while let Some(size) = read_exact(&mut reader, &mut header)?.then(|| record::length(&header)).flatten() {
            bytes.resize(size, 0);
            if !read_exact(&mut reader, &mut bytes)? {
                break;
            }
            if let Some(index) = index_of(&bytes)
                && record::holds(&header, &bytes)
            {
                self.places
                    .insert(index, (self.end + (record::HEADER + INDEX) as u64, size.saturating_sub(INDEX) as u32));
            }
            self.end += (record::HEADER + size) as u64;
        }
        if self.end < length {
            self.edge.cut(&self.file, &self.path, self.end)?;
        }
        Ok(())
    }

    fn keep(&mut self, packets: &[Packet]) -> io::Result<()> {
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        for packet in packets {
            if packet.bytes.len() > MAX_PACKET || self.places.contains_key(&packet.index) {
                continue;
            }
            if self.places.len() + places.len() >= PACKETS {
                let text = format!("the track has more than {PACKETS} packets, four hours at 20 ms");
                return Err(at(&self.path, io::Error::new(io::ErrorKind::FileTooLarge, text)));
            }
            let begin = self.end + (bytes.len() + record::HEADER + INDEX) as u64;
            record::write(&[&packet.index.to_be_bytes(), &packet.bytes[..]].concat(), &mut bytes);
            places.push((packet.index, (begin, packet.bytes.len() as u32)));
        }
        let Self { edge, file, path, .. } = self;
        if let Err(error) = edge.write(file, path, self.end, &bytes) {
            let _ = edge.cut(file, path, self.end);
            return Err(at(path, error));
        }
        self.end += bytes.len() as u64;
        self.places.extend(places);
        Ok(())
    }

    fn fetch(&mut self, from: u64, until: u64) -> io::Result<Vec<Packet>> {
        let mut packets = Vec::new();
        if from >= until {
            return Ok(packets);
        }
        for (&index, &(begin, length)) in self.places.range(from..until) {
            let mut bytes = vec![0; length as usize];
            self.file
                .seek(SeekFrom::Start(begin))
                .and_then(|_| self.file.read_exact(&mut bytes))
                .map_err(|error| at(&self.path, error))?;
            packets.push(Packet { index, bytes: Bytes::from(bytes) });
        }
        Ok(packets)
    }
}

fn index_of(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk::<INDEX>().map(|index| u64::from_be_bytes(*index))
}

fn read_exact(reader: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn packet(index: u64) -> Packet {
        Packet { index, bytes: Bytes::from(vec![index as u8; 5 + index as usize % 3]) }
    }

    fn fetched(tracks: &mut Tracks, id: Uuid) -> Vec<u64> {
        tracks.fetch(id, 0, u64::MAX).unwrap().into_iter().map(|packet| packet.index).collect()
    }

    #[test]
    fn packets_come_back_ascending_whatever_order_they_came_in() {
        let folder = tempfile::tempdir().unwrap();
        let id = Uuid::from_u128(7);
        let mut tracks = Tracks::new(Edge::default(), folder.path().to_owned());
        tracks.keep(id, &[packet(5), packet(1)]).unwrap();
        tracks.keep(id, &[packet(3), packet(5)]).unwrap();
        assert_eq!(tracks.fetch(id, 1, 5).unwrap(), [packet(1), packet(3)]);
        let mut again = Tracks::new(Edge::default(), folder.path().to_owned());
        assert_eq!(again.fetch(id, 0, 9).unwrap(), [packet(1), packet(3), packet(5)]);
        again.forget(id).unwrap();
        again.forget(id).unwrap();
        assert!(again.fetch(id, 0, 9).unwrap().is_empty());
        assert!(again.fetch(id, 9, 0).unwrap().is_empty());
    }

    #[test]
    fn a_file_cut_at_any_byte_keeps_what_is_whole_and_takes_more() {
        let folder = tempfile::tempdir().unwrap();
        let id = Uuid::from_u128(7);
        let mut tracks = Tracks::new(Edge::default(), folder.path().to_owned());
        tracks.keep(id, &[packet(0), packet(1), packet(2)]).unwrap();
        let path = folder.path().join(id.to_string()).join("packets");
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let mut tracks = Tracks::new(Edge::default(), folder.path().to_owned());
            let left = fetched(&mut tracks, id);
            assert!(left.len() < 3 && left.iter().copied().eq(0..left.len() as u64), "cut at {cut}: {left:?}");
            tracks.keep(id, &[packet(0), packet(1), packet(2)]).unwrap();
            let mut tracks = Tracks::new(Edge::default(), folder.path().to_owned());
            assert_eq!(tracks.fetch(id, 0, 9).unwrap(), [packet(0), packet(1), packet(2)]);
        }
    }

    #[test]
    fn a_damaged_packet_is_missing_and_the_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let id = Uuid::from_u128(7);
        Tracks::new(Edge::default(), folder.path().to_owned()).keep(id, &[packet(0), packet(1), packet(2)]).unwrap();
        let path = folder.path().join(id.to_string()).join("packets");
        let mut bytes = fs::read(&path).unwrap();
        let second = record::HEADER + INDEX + 5 + record::HEADER + INDEX;
        bytes[second] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let mut tracks = Tracks::new(Edge::default(), folder.path().to_owned());
        assert_eq!(fetched(&mut tracks, id), [0, 2]);
        tracks.keep(id, &[packet(1)]).unwrap();
        assert_eq!(tracks.fetch(id, 1, 2).unwrap(), [packet(1)]);
    }

    #[test]
    fn more_tracks_than_are_held_open_are_all_there() {
        let folder = tempfile::tempdir().unwrap();
        let mut tracks = Tracks::new(Edge::default(), folder.path().to_owned());
        for id in 0..OPEN as u128 + 5 {
            tracks.keep(Uuid::from_u128(id), &[packet(id as u64)]).unwrap();
        }
        assert_eq!(tracks.open.len(), OPEN);
        for id in 0..OPEN as u128 + 5 {
            assert_eq!(tracks.fetch(Uuid::from_u128(id), 0, 99).unwrap(), [packet(id as u64)]);
        }
    }
}
