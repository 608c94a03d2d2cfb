//! A bunch that waits for the last of its packets. Plain rules, no sockets.
use crate::track;
use bytes::Bytes;
use std::time::{Duration, Instant};

/// Packets that leave in one send. At most [`MOST_TOGETHER`].
pub(super) type Parts = Vec<Bytes>;

#[derive(Debug)]
pub(super) struct Forming {
    together: u64,
    parts: Parts,
    /// One above the newest index that came.
    expected: u64,
    /// When what is there leaves without the rest.
    deadline: Option<Instant>,
}

impl Forming {
    pub fn new() -> Self {
        Self { together: 1, parts: Parts::new(), expected: 0, deadline: None }
    }

    pub fn together(&self) -> usize {
        self.together as usize
    }

    /// From the next packet on. Returns what the old number held back.
    pub fn set_together(&mut self, together: u32) -> Option<Parts> {
        let together = u64::from(together).clamp(1, MOST_TOGETHER as u64);
        if together == self.together {
            return None;
        }
        self.together = together;
        self.take()
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Takes a packet in and gives what leaves now, in this order. `duration`: of a packet.
    pub fn handle(&mut self, now: Instant, index: u64, packet: Bytes, duration: Duration) -> [Option<Parts>; 2] {
        if self.together == 1 || index < self.expected {
            // A packet behind the newest one is a repaired or repeated one, and late already.
            return [Some(vec![packet]), None];
        }
        let mut held = None;
        let follows = index == self.expected && !index.is_multiple_of(self.together);
        if !follows || self.parts.first().is_some_and(|first| packet.len() > first.len()) {
            held = self.take();
        }
        self.expected = index + 1;
        // Segments are of one length; only the last may be shorter.
        let last = self.parts.first().is_some_and(|first| packet.len() < first.len());
        if self.parts.is_empty() {
            self.parts.reserve_exact(self.together());
            self.deadline = Some(now + duration * self.together as u32);
        }
        self.parts.push(packet);
        let complete = last || index % self.together == self.together - 1;
        [held, if complete { self.take() } else { None }]
    }

    /// What is there, if anything.
    pub fn take(&mut self) -> Option<Parts> {
        self.deadline = None;
        Some(std::mem::take(&mut self.parts)).filter(|parts| !parts.is_empty())
    }
}

/// Of 1,200 bytes each they are far below the kernel's 64 KiB.
pub(super) const MOST_TOGETHER: usize = track::MOST_TOGETHER as usize;

#[cfg(test)]
mod tests {
    use super::*;

    const DURATION: Duration = Duration::from_millis(240);

    /// What leaves as packets of these (index, length) come: the indices of each bunch.
    fn leaves(together: u32, packets: &[(u8, usize)]) -> (Vec<Vec<u8>>, Forming) {
        let now = Instant::now();
        let mut forming = Forming::new();
        forming.set_together(together);
        let mut left = Vec::new();
        for (index, length) in packets {
            let packet = Bytes::from(vec![*index; *length]);
            let bunches = forming.handle(now, u64::from(*index), packet, DURATION);
            left.extend(bunches.into_iter().flatten().map(|parts| parts.iter().map(|part| part[0]).collect()));
        }
        (left, forming)
    }

    fn whole(indices: &[u8]) -> Vec<(u8, usize)> {
        indices.iter().map(|index| (*index, 100)).collect()
    }

    #[test]
    fn a_bunch_leaves_with_its_last_packet_and_a_late_joiner_begins_in_the_middle() {
        assert_eq!(leaves(4, &whole(&[2, 3, 4, 5, 6, 7, 8])).0, [vec![2, 3], vec![4, 5, 6, 7]]);
        assert_eq!(leaves(1, &whole(&[0, 1])).0, [[0], [1]]);
    }

    #[test]
    fn a_gap_sends_what_is_there_and_a_repaired_packet_goes_by_itself() {
        assert_eq!(leaves(4, &whole(&[0, 2, 3, 1, 4])).0, [vec![0], vec![2, 3], vec![1]]);
        // The last of one bunch and the first of the next are lost: neither holds the other up.
        assert_eq!(leaves(2, &whole(&[0, 3, 4, 6, 7])).0, [vec![0], vec![3], vec![4], vec![6, 7]]);
    }

    #[test]
    fn segments_have_one_length_but_for_a_shorter_last_one() {
        assert_eq!(leaves(4, &[(0, 100), (1, 60), (2, 100), (3, 100)]).0, [vec![0, 1], vec![2, 3]]);
        assert_eq!(leaves(4, &[(0, 60), (1, 100), (2, 100), (3, 100)]).0, [vec![0], vec![1, 2, 3]]);
    }

    #[test]
    fn what_is_held_back_has_a_deadline_and_leaves_when_the_number_changes() {
        let now = Instant::now();
        let mut forming = Forming::new();
        assert_eq!(forming.set_together(3), None);
        assert_eq!(forming.handle(now, 0, Bytes::from_static(b"a"), DURATION), [None, None]);
        forming.handle(now + DURATION, 1, Bytes::from_static(b"b"), DURATION);
        assert_eq!(forming.deadline(), Some(now + 3 * DURATION));
        assert_eq!(forming.set_together(2).map(|parts| parts.len()), Some(2));
        assert_eq!(forming.deadline(), None);
    }
}
