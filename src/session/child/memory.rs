//! What a session holds, for tests of its bounds.
use super::{Child, Event, Seeker};
use crate::session::Departure;
use crate::time::Local;
use bytes::Bytes;
use uuid::Uuid;

impl Child {
    /// Bytes that this session holds, its buffers and what waits in them included.
    pub fn memory(&self) -> usize {
        let seekers: usize = self.tracks.iter().map(Seeker::memory).sum();
        let copies: usize = self.copies.iter().map(|(_, bytes)| bytes.len()).sum();
        let departures: usize = self.departures.iter().map(sent).sum();
        size_of::<Self>()
            + seekers
            + copies
            + departures
            + self.tracks.capacity() * size_of::<Seeker>()
            + self.fetches.capacity() * size_of::<(Uuid, u32)>()
            + self.streams.memory()
            + self.hears.memory()
            + self.pulse.memory()
            + self.copies.capacity() * size_of::<(Local, Bytes)>()
            + self.departures.capacity() * size_of::<Departure>()
            + self.events.capacity() * size_of::<Event>()
    }
}

fn sent(departure: &Departure) -> usize {
    match departure {
        Departure::Control(bytes) | Departure::Datagram(bytes) | Departure::Media(bytes) => bytes.len(),
        Departure::Bulk { frame, .. } => frame.len(),
        Departure::BulkEnd { .. } => 0,
    }
}
