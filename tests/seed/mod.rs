//! Runs a test from each of a few seeds; the one that fails is printed.

/// Prints the seed of a test that fails while this lives.
pub struct Seed(pub u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed was {}: run it alone with LOA_SEED={0}", self.0);
        }
    }
}

/// The seed that `LOA_SEED` names, or else 1 to `count`.
pub fn seeds(count: u64) -> Vec<u64> {
    let chosen = std::env::var("LOA_SEED").ok().and_then(|seed| seed.parse().ok());
    chosen.map_or_else(|| (1..=count).collect(), |seed| vec![seed])
}

/// Of `count` seeds.
pub fn each_seed(count: u64, test: impl Fn(u64)) {
    for seed in seeds(count) {
        let _seed = Seed(seed);
        test(seed);
    }
}
