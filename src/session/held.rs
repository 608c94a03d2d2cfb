//! Which of the newest indices of a track have come.

/// Indices remembered: more than twice the gaps that are asked for, so that every gap lies inside.
const WINDOW: u64 = 1_024;

/// A window of [`WINDOW`] indices that ends at the newest.
#[derive(Debug)]
pub struct Held {
    /// One beyond the newest.
    end: u64,
    bits: [u64; (WINDOW / 64) as usize],
}

impl Held {
    pub fn new() -> Self {
        Self { end: 0, bits: [0; (WINDOW / 64) as usize] }
    }

    /// False for one that is held already or lies before the window.
    pub fn insert(&mut self, index: u64) -> bool {
        if index >= self.end {
            if index - self.end >= WINDOW {
                self.bits.fill(0);
            } else {
                (self.end..index).for_each(|skipped| self.set(skipped, false));
            }
            self.end = index + 1;
        } else if self.end - index > WINDOW || self.contains(index) {
            return false;
        }
        self.set(index, true);
        true
    }

    pub fn contains(&self, index: u64) -> bool {
        index < self.end && self.end - index <= WINDOW && self.bits[word(index)] & mask(index) != 0
    }

    fn set(&mut self, index: u64, held: bool) {
        if held {
            self.bits[word(index)] |= mask(index);
        } else {
            self.bits[word(index)] &= !mask(index);
        }
    }
}

fn word(index: u64) -> usize {
    (index % WINDOW / 64) as usize
}

fn mask(index: u64) -> u64 {
    1 << (index % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_answers_as_a_set_of_the_newest_indices_would(steps in prop::collection::vec((any::<bool>(), 0u64..3_000), 1..200)) {
            let (mut held, mut set) = (Held::new(), BTreeSet::new());
            let mut newest = 0u64;
            for (ahead, step) in steps {
                let index = if ahead { newest + step } else { newest.saturating_sub(step) };
                newest = newest.max(index);
                let inside = newest - index < WINDOW;
                prop_assert_eq!(held.insert(index), inside && set.insert(index), "{}", index);
                for probe in index.saturating_sub(3)..index + 3 {
                    let expected = set.contains(&probe) && newest - probe.min(newest) < WINDOW && probe <= newest;
                    prop_assert_eq!(held.contains(probe), expected, "{}", probe);
                }
            }
        }
    }
}
