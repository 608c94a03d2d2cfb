//! What a session holds, for tests of its bounds.
use super::{Copy, Parent, Ration, Transfer};
use crate::session::Departure;
use crate::session::parent::Event;
use uuid::Uuid;

impl Parent {
    /// Bytes that this session holds, its buffers included.
    pub fn memory(&self) -> usize {
        let rations: usize = self.rations.iter().map(Ration::memory).sum();
        size_of::<Self>()
            + rations
            + self.rations.capacity() * size_of::<Ration>()
            + self.copies.capacity() * size_of::<Copy>()
            + self.lacking.capacity() * size_of::<(Uuid, u64)>()
            + self.transfers.capacity() * size_of::<Transfer>()
            + self.departures.capacity() * size_of::<Departure>()
            + self.events.capacity() * size_of::<Event>()
    }
}
