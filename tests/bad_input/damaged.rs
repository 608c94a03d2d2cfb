//! Files damaged in their middle: both sides are heard, and the report tells the time.

use crate::kinds::Tells;
use crate::measure::place;
use crate::{Whole, check_refusal, hear_bytes, whole_files};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// `LOA_DAMAGE_SEED` repeats a run.
fn seed() -> u64 {
    std::env::var("LOA_DAMAGE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_122)
}

/// Damage of every sort at every place: nothing panics or takes too much, and what is refused is refused well.
#[test]
fn no_damage_makes_a_decoder_panic_or_swell() {
    let seed = seed();
    println!("LOA_DAMAGE_SEED={seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut count, mut refused) = (0, 0);
    for file in whole_files() {
        for number in 0..CASES {
            let mut bytes = file.bytes.clone();
            let what = damage(&mut random, &mut bytes);
            let case = format!("LOA_DAMAGE_SEED={seed}, {} number {number}: {what}", file.kind.name);
            count += 1;
            if let Err(error) = hear_bytes(&case, bytes, &file.name()) {
                check_refusal(&case, &error, &file.name());
                refused += 1;
            }
        }
    }
    println!("{count} damaged files, {refused} refused");
    assert!(count >= 300 && refused < count / 3, "{refused} of {count} refused");
}

/// One sort of damage, mostly in the body; half of what stands in a header makes a file unreadable.
fn damage(random: &mut ChaCha8Rng, bytes: &mut Vec<u8>) -> String {
    let mut below = |bound: usize| (random.next_u64() % bound.max(1) as u64) as usize;
    let at = if below(4) == 0 { below(bytes.len().min(600)) } else { below(bytes.len()) };
    let length = (1 + below(2_000)).min(bytes.len() - at);
    match below(6) {
        0 => {
            bytes[at..at + length].fill(0);
            format!("{length} zeros at {at}")
        }
        1 => {
            bytes[at..at + length].fill_with(|| below(256) as u8);
            format!("{length} of noise at {at}")
        }
        2 => {
            bytes.drain(at..at + length);
            format!("{length} missing at {at}")
        }
        3 => {
            let noise: Vec<u8> = (0..length).map(|_| below(256) as u8).collect();
            bytes.splice(at..at, noise);
            format!("{length} more at {at}")
        }
        4 => {
            let piece = bytes[at..at + length].to_vec();
            let to = below(bytes.len());
            bytes.splice(to..to, piece);
            format!("{length} of {at} again at {to}")
        }
        _ => {
            for _ in 0..5 {
                let place = below(bytes.len());
                bytes[place] ^= 1 << below(8);
            }
            "five bits".to_owned()
        }
    }
}

/// Six hundred bytes of noise in the middle, as a bad sector or a broken copy leaves.
#[test]
fn both_sides_of_a_hole_are_heard_and_its_time_is_told() {
    let mut faults = Vec::new();
    for file in whole_files() {
        let mut random = ChaCha8Rng::seed_from_u64(seed());
        let start = file.before_sound();
        let middle = start + (file.bytes.len() - start) / 2;
        let mut bytes = file.bytes.clone();
        bytes[middle..middle + 600].fill_with(|| (random.next_u64() % 256) as u8);
        check_hole(&file, bytes, &mut faults);
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

fn check_hole(file: &Whole, bytes: Vec<u8>, faults: &mut Vec<String>) {
    let case = file.kind.name;
    let mut expect = |holds: bool, what: String| {
        if !holds {
            faults.push(format!("{case}: {what}"));
        }
    };
    let heard = match hear_bytes(case, bytes, &file.name()) {
        Ok(heard) => heard,
        Err(error) => return expect(false, format!("refused: {error}")),
    };
    let expected = file.plain.expected();
    let found = &heard.found;
    println!(
        "{case:<20} {:>7} of {:>7} samples, lost {:.3} s: {:?}",
        heard.samples.len(),
        expected.len(),
        found.lost,
        found.damage
    );
    if !without_checksums(file) {
        let seconds = expected.len() as f64 / 96_000.0;
        // Half of the bytes is about half of the time.
        let about = seconds - 0.45..seconds + 0.45;
        let told = found.damage.iter().any(|damage| damage.at < about.end && damage.at + damage.lasts > about.start);
        expect(told, format!("damage near {seconds:.2} s is not among {:?}", found.damage));
    }
    // A page of Ogg is lost as a whole, and opusenc's last a second.
    expect(found.lost < 1.1, format!("{} s lost of {:?}", found.lost, found.damage));
    // Two milliseconds: Matroska rounds a block's time to one, before the hole and behind it.
    let longer = heard.samples.len() as f64 - expected.len() as f64;
    let (before, behind) = file.kind.tells.allowed(44_100);
    expect(longer > -48.0 - slip(file) as f64 && longer < before + behind + 96.0, format!("{longer:+} samples"));

    let late = (before as isize).max(48);
    let third =
        (found.damage.iter().map(|damage| (damage.at * 48_000.0) as usize)).fold(expected.len() / 3, usize::min);
    let (lag, alike) = place(&expected[..third], &heard.samples[..third.min(heard.samples.len())], -48..=late);
    expect(alike > file.kind.alike - 0.02, format!("before the hole like {alike:.3} at {lag}"));
    // Both ends cut alike, so that a lag is one of time.
    let behind = found.damage.iter().map(|damage| ((damage.at + damage.lasts) * 48_000.0) as usize);
    let from = behind.fold(expected.len() * 2 / 3, usize::max).min(expected.len() - 24_000);
    let after = heard.samples.get(from..).unwrap_or(&[]);
    let (lag, alike) = place(&expected[from..], after, -slip(file)..=late.max(slip(file)));
    expect(alike > file.kind.alike - 0.02, format!("after the hole like {alike:.3} at {lag}"));
}

/// Samples at 48 kHz by which the sound behind a hole may be off its place: a millisecond where each frame, page
/// or block carries its time; elsewhere two frames of 1,152.
fn slip(file: &Whole) -> isize {
    let timed = matches!(file.kind.tells, Tells::Samples | Tells::Milliseconds) && file.kind.suffix != "mp3";
    if timed { 48 } else { 2_600 }
}

/// Bare samples: noise among them is noise, and nothing tells it from sound. Any bytes are Opus, too, and Matroska
/// has no checksums; and half of a video's bytes are its pictures.
fn without_checksums(file: &Whole) -> bool {
    ["wav", "aiff", "aifc"].contains(&file.kind.suffix)
        || ["caf pcm", "webm opus", "mkv opus", "mp4 video"].contains(&file.kind.name)
}

/// Of each kind; some thirty kinds.
const CASES: u32 = 16;
