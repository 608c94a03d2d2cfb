//! The one source of chance in a simulated world: everything follows from its seed.

use uuid::Uuid;

/// xoshiro256++ (Blackman and Vigna, 2018), its state filled by SplitMix64. Not for secrets.
#[derive(Clone, Debug)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut mixer = seed;
        Self { state: std::array::from_fn(|_| split_mix(&mut mixer)) }
    }

    /// A stream of its own for each `purpose`: drawing more from one never shifts another.
    pub fn of(seed: u64, purpose: &str, number: u64) -> Self {
        let mut mixer = seed ^ super::fingerprint(purpose.as_bytes());
        Self::new(split_mix(&mut mixer) ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub fn number(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// In `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// In `[low, high)`; `low` when the range is empty.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low).max(0.0) * self.unit()
    }

    /// In `[0, bound)`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.number()) * u128::from(bound)) >> 64) as u64
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Exponentially distributed.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.number().to_le_bytes()[..chunk.len()]);
        }
    }

    /// A UUIDv7 of this civil time, µs.
    pub fn id(&mut self, civil: i64) -> Uuid {
        uuid::Builder::from_unix_timestamp_millis(civil.max(0) as u64 / 1_000, &self.bytes()).into_uuid()
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_mix_gives_its_published_first_numbers() {
        // Vigna's reference implementation, seed 1234567.
        let mut state = 1_234_567;
        let first: Vec<u64> = (0..3).map(|_| split_mix(&mut state)).collect();
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn the_generator_gives_its_published_first_numbers() {
        // From the authors' C, state 1, 2, 3, 4.
        let mut random = Random { state: [1, 2, 3, 4] };
        assert_eq!(
            [random.number(), random.number(), random.number()],
            [41_943_041, 58_720_359, 3_588_806_011_781_223]
        );
    }

    #[test]
    fn equal_seeds_give_equal_numbers_and_purposes_differ() {
        let draw = |mut random: Random| (0..8).map(|_| random.number()).collect::<Vec<_>>();
        assert_eq!(draw(Random::of(7, "loss", 1)), draw(Random::of(7, "loss", 1)));
        assert_ne!(draw(Random::of(7, "loss", 1)), draw(Random::of(7, "loss", 2)));
        assert_ne!(draw(Random::of(7, "loss", 1)), draw(Random::of(7, "burst", 1)));
        assert_ne!(draw(Random::of(7, "loss", 1)), draw(Random::of(8, "loss", 1)));
    }

    #[test]
    fn numbers_keep_to_their_range_and_mean() {
        let mut random = Random::new(1);
        let count = 100_000;
        let mean = (0..count).map(|_| random.between(10.0, 30.0)).sum::<f64>() / f64::from(count);
        assert!((mean - 20.0).abs() < 0.1, "{mean}");
        let mean = (0..count).map(|_| random.exponential(5.0)).sum::<f64>() / f64::from(count);
        assert!((mean - 5.0).abs() < 0.1, "{mean}");
        assert!((0..1_000).all(|_| random.below(3) < 3));
        assert_eq!(random.below(0), 0);
    }
}
