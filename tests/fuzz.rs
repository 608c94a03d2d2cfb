//! A short, seeded fuzz of everything that parses bytes. `LOA_FUZZ_RUNS` makes it long, `LOA_FUZZ_SEED`
//! repeats a failure. The long way is libFuzzer: see `tools/fuzz/Cargo.toml`.

#[path = "../tools/fuzz/targets.rs"]
mod targets;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
fn no_bytes_from_outside_make_a_parser_panic() {
    let runs = number("LOA_FUZZ_RUNS").unwrap_or(1_000);
    let seed = number("LOA_FUZZ_SEED").unwrap_or(20_261_122);
    let seeds = seeds();
    for (name, target) in targets::TARGETS {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        // A target that decodes sound takes milliseconds where the others take microseconds.
        let runs = if matches!(*name, "media_file" | "opus_records") { runs / 10 } else { runs };
        for run in 0..runs {
            let input = input(&mut random, &seeds);
            let ended = catch_unwind(AssertUnwindSafe(|| target(&input)));
            assert!(ended.is_ok(), "target {name}, LOA_FUZZ_SEED={seed}, run {run}, input {}", hex(&input));
        }
    }
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

/// Well-formed inputs to start from: the committed vectors and demo files.
fn seeds() -> Vec<Vec<u8>> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seeds =
        vec![b"vn/01/00004".to_vec(), b"[node]\ndata = \"d\"\n[children]\nlisten = \"0.0.0.0:1\"\n".to_vec()];
    for folder in ["tests/vectors", "config", "config/demo"] {
        for entry in std::fs::read_dir(root.join(folder)).into_iter().flatten().flatten() {
            let Ok(bytes) = std::fs::read(entry.path()) else { continue };
            if entry.path().extension().is_some_and(|end| end == "json") {
                seeds.extend(hex_strings(&bytes));
            } else {
                seeds.push(bytes[..bytes.len().min(20_000)].to_vec());
            }
        }
    }
    assert!(seeds.len() > 4, "the vectors are there");
    seeds
}

/// Every string of hex digits in a JSON file, as bytes.
fn hex_strings(json: &[u8]) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(json);
    let strings = text.split('"').filter(|part| part.len() >= 32 && part.len() % 2 == 0);
    let strings = strings.filter(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap_or("00"), 16).unwrap_or(0);
    strings.map(|part| part.as_bytes().chunks(2).map(byte).collect()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
