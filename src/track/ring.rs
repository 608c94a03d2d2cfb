//! The newest packets of a track, by index.
use super::Packet;
use super::packet::LAST_INDEX;
use bytes::Bytes;

/// A window of at most `capacity` indices that ends at the newest one inserted.
///
/// ```text
/// capacity 8, newest 21:   index  14 15 16 17 18 19 20 21
///                          slot    6  7  0  1  2  3  4  5      slot = index mod capacity
/// ```
#[derive(Debug, Default)]
pub struct Ring {
    /// Holds the packet of a window's index, or nothing; never one from before the window. Empty until the first comes:
    /// days of programmes to come have no packets here yet.
    slots: Box<[Option<Bytes>]>,
    capacity: usize,
    newest: Option<u64>,
}

impl Ring {
    /// Memory: 32 bytes per index from the first packet on, besides the packets. Capacity 0 holds nothing.
    pub fn new(capacity: usize) -> Self {
        Self { slots: Box::default(), capacity, newest: None }
    }

    /// Bytes held, those of the packets included.
    #[cfg(test)]
    pub fn memory(&self) -> usize {
        let packets: usize = self.slots.iter().flatten().map(Bytes::len).sum();
        self.slots.len() * size_of::<Option<Bytes>>() + packets
    }

    /// False (and nothing changes) for a duplicate, an index before the window or one above
    /// [`LAST_INDEX`]. An index far ahead moves the window in O(capacity).
    pub fn insert(&mut self, packet: Packet) -> bool {
        let Packet { index, bytes } = packet;
        if index > LAST_INDEX || self.oldest().is_some_and(|oldest| index < oldest) {
            return false;
        }
        if self.capacity == 0 {
            return false;
        }
        if self.slots.is_empty() {
            self.slots = vec![None; self.capacity].into();
        }
        let slot = self.slot(index);
        match self.newest {
            Some(newest) if index <= newest => {
                if self.slots[slot].is_some() {
                    return false;
                }
            }
            Some(newest) => {
                let passed = (index - newest).min(self.slots.len() as u64);
                for gone in index - passed + 1..index {
                    let slot = self.slot(gone);
                    self.slots[slot] = None;
                }
                self.newest = Some(index);
            }
            None => self.newest = Some(index),
        }
        self.slots[slot] = Some(bytes);
        true
    }

    pub fn get(&self, index: u64) -> Option<&Bytes> {
        let inside = index <= self.newest? && index >= self.oldest()?;
        inside.then(|| self.slots[self.slot(index)].as_ref()).flatten()
    }

    pub fn newest(&self) -> Option<u64> {
        self.newest
    }

    /// First index of the window (it may be missing).
    pub fn oldest(&self) -> Option<u64> {
        Some((self.newest? + 1).saturating_sub(self.capacity as u64))
    }

    /// Present packets with index ≥ `from`, ascending.
    pub fn from(&self, from: u64) -> impl Iterator<Item = Packet> + '_ {
        // An empty ring has no window: the range 1..1.
        let (first, end) = match (self.oldest(), self.newest) {
            (Some(oldest), Some(newest)) => (from.max(oldest), newest + 1),
            _ => (1, 1),
        };
        (first..end).filter_map(|index| Some(Packet { index, bytes: self.get(index)?.clone() }))
    }

    /// Of an index within the window of a ring that has one.
    fn slot(&self, index: u64) -> usize {
        (index % self.slots.len() as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn packet(index: u64) -> Packet {
        Packet { index, bytes: Bytes::copy_from_slice(&index.to_be_bytes()) }
    }

    fn indices(ring: &Ring, from: u64) -> Vec<u64> {
        ring.from(from).map(|packet| packet.index).collect()
    }

    #[test]
    fn an_empty_ring_has_no_window() {
        let ring = Ring::new(4);
        assert_eq!((ring.newest(), ring.oldest(), ring.get(0)), (None, None, None));
        assert!(indices(&ring, 0).is_empty());
    }

    #[test]
    fn a_ring_without_capacity_holds_nothing() {
        let mut ring = Ring::default();
        assert!(!ring.insert(packet(0)));
        assert_eq!((ring.newest(), ring.get(0)), (None, None));
    }

    #[test]
    fn late_packets_fill_the_window_and_no_further() {
        let mut ring = Ring::new(4);
        assert!(ring.insert(packet(10)));
        assert_eq!(ring.oldest(), Some(7));
        assert!(ring.insert(packet(7)));
        assert!(!ring.insert(packet(6)), "before the window");
        assert!(!ring.insert(packet(10)), "a duplicate");
        assert_eq!(indices(&ring, 0), [7, 10]);
        assert_eq!(indices(&ring, 8), [10]);
        assert!(indices(&ring, 11).is_empty());
    }

    #[test]
    fn a_leap_ahead_leaves_nothing_of_the_past() {
        let mut ring = Ring::new(4);
        (0..4).for_each(|index| assert!(ring.insert(packet(index))));
        assert!(ring.insert(packet(LAST_INDEX)));
        assert_eq!(indices(&ring, 0), [LAST_INDEX]);
        assert!(!ring.insert(packet(LAST_INDEX + 1)), "there is no such index");
        assert!(!ring.insert(packet(u64::MAX)));
        assert_eq!(ring.oldest(), Some(LAST_INDEX - 3));
    }

    proptest! {
        /// Against a map that is cut to the window after each insertion.
        #[test]
        fn a_ring_holds_what_a_map_cut_to_its_window_holds(
            capacity in 1usize..20,
            inserted in prop::collection::vec(0u64..60, 0..80),
            from in 0u64..60,
        ) {
            let (mut ring, mut map) = (Ring::new(capacity), BTreeMap::new());
            let mut newest = None;
            for index in inserted {
                let first = newest.map_or(0, |newest: u64| (newest + 1).saturating_sub(capacity as u64));
                let fresh = index >= first && !map.contains_key(&index);
                prop_assert_eq!(ring.insert(packet(index)), fresh);
                if fresh {
                    map.insert(index, packet(index).bytes);
                    newest = newest.max(Some(index));
                    let first = newest.map_or(0, |newest| (newest + 1).saturating_sub(capacity as u64));
                    map.retain(|&index, _| index >= first);
                }
            }
            prop_assert_eq!(ring.newest(), newest);
            for index in 0..70 {
                prop_assert_eq!(ring.get(index), map.get(&index));
            }
            let expected: Vec<Packet> =
                map.range(from..).map(|(&index, bytes)| Packet { index, bytes: bytes.clone() }).collect();
            prop_assert_eq!(ring.from(from).collect::<Vec<_>>(), expected);
        }
    }
}
