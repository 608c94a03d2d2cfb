//! The newest packets of a track, by index.
use super::Packet;
use bytes::Bytes;

/// A window of at most `capacity` indices that ends at the newest one inserted.
#[derive(Debug, Default)]
pub struct Ring {}

impl Ring {
    pub fn new(_capacity: usize) -> Self {
        todo!()
    }

    /// False (and nothing changes) for a duplicate or an index before the window. An index far
    /// ahead moves the window in O(capacity).
    pub fn insert(&mut self, _packet: Packet) -> bool {
        todo!()
    }

    pub fn get(&self, _index: u64) -> Option<&Bytes> {
        todo!()
    }

    pub fn newest(&self) -> Option<u64> {
        todo!()
    }

    /// First index of the window (it may be missing).
    pub fn oldest(&self) -> Option<u64> {
        todo!()
    }

    /// Present packets with index ≥ `from`, ascending.
    pub fn from(&self, _from: u64) -> impl Iterator<Item = Packet> + '_ {
        std::iter::empty()
    }
}
