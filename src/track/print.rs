//! The hash of a track's sound: what a receipt and the as-run log name it by.
//!
//! ```text
//! leaf of packet n   SHA-256( for each record: length, u16 big-endian ‖ record )
//! hash of the sound  SHA-256( leaf 0 ‖ leaf 1 ‖ … ‖ leaf of the last packet )
//! ```
//! The records alone are hashed: not the fill, the times, the seals or the encryption, so that whoever holds the Opus
//! packets can compute it. In two layers, so that packets may come in any order.

use super::Sound;
use aws_lc_rs::digest::{Context, SHA256};
use std::collections::BTreeMap;

/// Takes packets in as they come.
#[derive(Clone)]
pub struct Print {
    hash: Context,
    next: u64,
    /// Of packets that came before one that is missing.
    ahead: BTreeMap<u64, [u8; 32]>,
    /// Too many waited: it will not be known.
    broken: bool,
}

impl Default for Print {
    fn default() -> Self {
        Self { hash: Context::new(&SHA256), next: 0, ahead: BTreeMap::new(), broken: false }
    }
}

impl Print {
    /// A packet that came before is passed over.
    pub fn take(&mut self, sound: &Sound) {
        self.take_records(sound.index, sound.records.iter().map(|record| &record[..]));
    }

    pub fn take_records<'a>(&mut self, index: u64, records: impl Iterator<Item = &'a [u8]>) {
        if self.broken || index < self.next {
            return;
        }
        let mut leaf = Context::new(&SHA256);
        for record in records {
            leaf.update(&u16::try_from(record.len()).unwrap_or(u16::MAX).to_be_bytes());
            leaf.update(record);
        }
        self.ahead.insert(index, value(leaf));
        while let Some(leaf) = self.ahead.remove(&self.next) {
            self.hash.update(&leaf);
            self.next += 1;
        }
        if self.ahead.len() > AHEAD {
            (self.broken, self.ahead) = (true, BTreeMap::new());
        }
    }

    /// Of `packets` packets, if all of them came and nothing beyond.
    pub fn of(&self, packets: u64) -> Option<[u8; 32]> {
        (!self.broken && packets > 0 && self.next == packets && self.ahead.is_empty()).then(|| value(self.hash.clone()))
    }
}

fn value(context: Context) -> [u8; 32] {
    let mut value = [0; 32];
    value.copy_from_slice(context.finish().as_ref());
    value
}

/// Packets that wait for one before them: as many as playout keeps.
const AHEAD: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn print(indices: impl IntoIterator<Item = u64>) -> Print {
        let mut print = Print::default();
        for index in indices {
            print.take_records(index, [&[index as u8, 1][..], &[2]].into_iter());
        }
        print
    }

    #[test]
    fn packets_may_come_in_any_order_and_twice() {
        let whole = print(0..5).of(5);
        assert!(whole.is_some());
        assert_eq!(print([3, 0, 0, 1, 4, 2, 3]).of(5), whole);
        assert_eq!(print([0, 1, 2, 4]).of(5), None, "one is missing");
        assert_eq!(print(0..6).of(5), None, "one is too many");
        assert_ne!(print(0..4).of(4), whole);
    }

    #[test]
    fn where_a_record_ends_is_part_of_it() {
        let of = |records: &[&[u8]]| {
            let mut print = Print::default();
            print.take_records(0, records.iter().copied());
            print.of(1)
        };
        assert_ne!(of(&[&[1, 2], &[3]]), of(&[&[1], &[2, 3]]));
    }

    #[test]
    fn a_gap_that_stays_costs_a_bounded_memory() {
        let print = print(1..10_000);
        assert!(print.ahead.len() <= AHEAD);
        assert_eq!(print.of(10_000), None);
    }
}
