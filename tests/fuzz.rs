//! A short, seeded fuzz of everything that parses bytes. `LOA_FUZZ_RUNS` makes it long, `LOA_FUZZ_SEED`
//! repeats a failure, `LOA_FUZZ_TARGET` chooses one target, `LOA_FUZZ_CORPUS=DIR` writes the seeds for
//! libFuzzer: see `tools/fuzz/Cargo.toml`.

#[path = "../tools/fuzz/seeds.rs"]
mod seeds;
#[path = "../tools/fuzz/targets.rs"]
mod targets;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
fn no_bytes_from_outside_make_a_parser_panic() {
    let runs = number("LOA_FUZZ_RUNS").unwrap_or(500);
    let seed = number("LOA_FUZZ_SEED").unwrap_or(20_261_122);
    let corpus = std::env::var_os("LOA_FUZZ_CORPUS").map(std::path::PathBuf::from);
    let only = std::env::var("LOA_FUZZ_TARGET").ok();
    for (name, target) in targets::TARGETS.iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name)) {
        if let Some(folder) = &corpus {
            seeds::write(folder, name);
        }
        let seeds = seeds::of(name);
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        // What decodes sound, signs or syncs a disk takes milliseconds where the others take microseconds.
        let slow = [
            "media_file",
            "riff",
            "flac",
            "mp3",
            "adts",
            "mp4",
            "ogg",
            "matroska",
            "aiff",
            "caf",
            "opus_records",
            "relay",
            "journal",
            "track_file",
        ];
        let slow = slow.contains(name);
        let runs = if slow { runs / 10 } else { runs };
        for run in 0..runs {
            // Seeds as they are come first: what is well formed must pass, too.
            let input = match seeds.get(run as usize) {
                Some(seed) => seed.clone(),
                None => input(&mut random, &seeds),
            };
            let ended = catch_unwind(AssertUnwindSafe(|| target(&input)));
            assert!(ended.is_ok(), "target {name}, LOA_FUZZ_SEED={seed}, run {run}, input {}", hex(&input));
        }
    }
}

/// libFuzzer runs the same list.
#[test]
fn every_target_has_a_program_of_its_own() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let programs = std::fs::read_dir(folder.join("fuzz_targets")).unwrap().count();
    assert_eq!(programs, targets::TARGETS.len());
    for (name, _) in targets::TARGETS {
        let text = std::fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).unwrap_or_default();
        assert!(text.contains(&format!("targets::{name}(bytes)")), "{name} has no program");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in tools/fuzz/Cargo.toml");
    }
}

/// Otherwise the mutations above stay at the door.
#[test]
fn the_seeds_of_the_relay_reach_its_rules() {
    let ends: Vec<_> = seeds::of("relay").iter().map(|seed| targets::node::Relay::play(seed).counters()).collect();
    let (trunk, branch) = &ends[0];
    assert!(trunk.synced && trunk.received > 10 && trunk.orders_accepted >= 5 && branch.aired > 10, "{ends:?}");
    let (trunk, branch) = &ends[1];
    assert!(trunk.received > 3 && branch.nacked > 0 && branch.answered > 0, "{ends:?}");
    assert!(ends.iter().all(|(_, branch)| branch.violations == 0), "{ends:?}");
}

/// A seed with some bytes changed, cut or doubled; now and then pure noise.
fn input(random: &mut ChaCha8Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut below = |bound: usize| (random.next_u64() % bound.max(1) as u64) as usize;
    if below(8) == 0 {
        let length = below(1_500);
        return (0..length).map(|_| below(256) as u8).collect();
    }
    let mut bytes = seeds[below(seeds.len())].clone();
    for _ in 0..below(8) {
        let at = below(bytes.len());
        match below(4) {
            0 if !bytes.is_empty() => bytes[at] = below(256) as u8,
            1 if !bytes.is_empty() => bytes[at] ^= 1 << below(8),
            2 => bytes.truncate(at),
            _ => {
                let piece: Vec<u8> = bytes.iter().skip(at).take(below(64)).copied().collect();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
