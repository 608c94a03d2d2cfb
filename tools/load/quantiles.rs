//! A histogram of times in µs: buckets about 1 % wide from 10 µs to 100 s, that add up over processes.
use serde::{Deserialize, Serialize};

/// Counts by bucket. Empty until the first sample; what is sent is only the buckets that hold something.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Sparse", into = "Sparse")]
pub struct Histogram {
    counts: Vec<u32>,
    count: u64,
    max: i64,
}

/// (bucket, count) of those that are not empty, and the largest sample.
#[derive(Default, Serialize, Deserialize)]
struct Sparse(Vec<(u16, u32)>, i64);

impl Histogram {
    /// µs; what is below the first bucket (or negative: the clocks differ by so much) counts in it.
    pub fn add(&mut self, micros: i64) {
        if self.counts.is_empty() {
            self.counts.resize(BUCKETS, 0);
        }
        if let Some(count) = self.counts.get_mut(bucket(micros)) {
            *count = count.saturating_add(1);
        }
        self.count += 1;
        self.max = self.max.max(micros);
    }

    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.counts.is_empty() {
            self.counts.resize(BUCKETS, 0);
        }
        for (sum, count) in self.counts.iter_mut().zip(&other.counts) {
            *sum = sum.saturating_add(*count);
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    #[cfg(test)]
    pub fn max(&self) -> i64 {
        self.max
    }

    /// µs, the upper edge of the bucket in which the share lies; never above the largest sample.
    pub fn quantile(&self, share: f64) -> i64 {
        let rank = (self.count as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= rank {
                return edge(at + 1).min(self.max);
            }
        }
        self.max
    }

    /// In ms.
    pub fn quantiles(&self) -> crate::outcome::Quantiles {
        let at = |share| self.quantile(share) as f64 / 1_000.0;
        crate::outcome::Quantiles {
            count: self.count,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: self.max as f64 / 1_000.0,
        }
    }
}

impl From<Sparse> for Histogram {
    fn from(Sparse(buckets, max): Sparse) -> Self {
        let mut histogram = Self { max, ..Self::default() };
        if buckets.is_empty() {
            return histogram;
        }
        histogram.counts.resize(BUCKETS, 0);
        for (at, count) in buckets {
            if let Some(slot) = histogram.counts.get_mut(usize::from(at)) {
                *slot = slot.saturating_add(count);
                histogram.count += u64::from(count);
            }
        }
        histogram
    }
}

impl From<Histogram> for Sparse {
    fn from(histogram: Histogram) -> Self {
        let buckets = histogram.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        Self(buckets.map(|(at, count)| (at as u16, *count)).collect(), histogram.max)
    }
}

/// Powers of two, each cut into 64 equal parts: no logarithm per packet, and at most 1.6 % wide.
fn bucket(micros: i64) -> usize {
    let micros = micros.max(LEAST) as u64;
    let power = 63 - micros.leading_zeros();
    let part = if power >= PARTS { micros >> (power - PARTS) } else { micros << (PARTS - power) } & MASK;
    let at = ((power - FIRST_POWER) as usize) << PARTS | part as usize;
    at.min(BUCKETS - 1)
}

/// µs, the lower edge.
fn edge(bucket: usize) -> i64 {
    let power = (bucket >> PARTS) as u32 + FIRST_POWER;
    let part = bucket as u64 & MASK | 1 << PARTS;
    let edge = if power >= PARTS { part << (power - PARTS) } else { part >> (PARTS - power) };
    edge as i64
}

/// Of each power of two, as an exponent: 64.
const PARTS: u32 = 6;
const MASK: u64 = (1 << PARTS) - 1;
/// 8 µs: below it a delivery on one machine is not.
const FIRST_POWER: u32 = 3;
const LEAST: i64 = 1 << FIRST_POWER;
/// Up to 2^27 µs, 134 s; what is longer counts there, and in `max`.
const BUCKETS: usize = (27 - FIRST_POWER as usize) << PARTS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_errs_by_less_than_two_percent_and_never_beyond_the_largest() {
        let mut histogram = Histogram::default();
        (1..=100_000).for_each(|micros| histogram.add(micros * 10));
        for (share, truth) in [(0.5, 500_000), (0.9, 900_000), (0.99, 990_000)] {
            let found = histogram.quantile(share);
            assert!((truth..=truth * 102 / 100).contains(&found), "{share}: {found}");
        }
        assert_eq!((histogram.quantile(1.0), histogram.max(), histogram.count()), (1_000_000, 1_000_000, 100_000));
    }

    #[test]
    fn what_is_added_up_over_processes_is_what_one_would_have_counted() {
        let (mut one, mut left, mut right) = (Histogram::default(), Histogram::default(), Histogram::default());
        for micros in [-5, 0, 9, 77, 1_000, 65_535, 999_999, 1 << 40] {
            one.add(micros);
            if micros % 2 == 0 { left.add(micros) } else { right.add(micros) }
        }
        let sent = serde_json::to_string(&right).unwrap();
        left.merge(&serde_json::from_str(&sent).unwrap());
        assert_eq!(left, one);
        assert_eq!(one.quantile(1.0), edge(BUCKETS));
    }

    #[test]
    fn every_bucket_begins_where_the_one_before_it_ends() {
        for at in 0..BUCKETS {
            assert!(edge(at) < edge(at + 1) || at >> PARTS < 3, "{at}");
            if at >> PARTS >= 3 {
                assert_eq!(bucket(edge(at)), at);
                assert_eq!(bucket(edge(at + 1) - 1), at);
            }
        }
    }
}
