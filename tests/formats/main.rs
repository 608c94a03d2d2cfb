//! The table: every format × {8, 22.05, 44.1, 48, 96 kHz} × {1, 2, 6 channels}, made by the programs that
//! stations use. Each file is decoded, and its length, place and likeness compared with what it was made of;
//! then transcoded and played, and loudness, true peak and place measured again.
//!
//! ```sh
//! cargo test --test formats -- --nocapture     # shows the figures of every case
//! ```

mod chains;
mod kinds;
mod made;
// Shared with the tests of bad input, which use more of it.
#[allow(dead_code)]
mod measure;
mod mixing;

use kinds::{Kind, MILLISECOND, Tells};
use loa::audio::{FRAME, LOOKAHEAD, Options, frames_of};
use made::Plain;
use measure::{correlation, hear, level, place, played};
use std::fmt::Write;
use std::fs::File;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn wav_of_every_kind_of_sample() {
    check(kinds::WAV);
}

#[test]
fn rf64() {
    check(kinds::RF64);
}

#[test]
fn flac() {
    check(kinds::FLAC);
}

#[test]
fn mp3_with_and_without_what_surrounds_it() {
    check(kinds::MP3);
}

#[test]
fn aac_in_adts_m4a_video_and_caf() {
    check(kinds::AAC);
}

#[test]
fn alac_in_m4a_and_caf() {
    check(kinds::ALAC);
}

#[test]
fn pcm_in_aiff_and_caf() {
    check(kinds::PCM);
}

#[test]
fn vorbis_in_ogg_webm_and_matroska_and_chained() {
    check(kinds::VORBIS);
}

#[test]
fn opus_in_ogg_webm_and_matroska_and_chained() {
    check(kinds::OPUS);
}

/// Runs every case of these kinds on all cores; fails with the figures of all that fail.
fn check(kinds: &[Kind]) {
    let cases: Vec<(&Kind, u32, u16)> = (kinds.iter())
        .flat_map(|kind| kind.rates.iter().map(move |rate| (kind, *rate)))
        .flat_map(|(kind, rate)| kind.channels.iter().map(move |channels| (kind, rate, *channels)))
        .collect();
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((kind, rate, channels)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let row = match (kind.impossible)(*rate, *channels) {
                        Some(why) => Row { figures: format!("cannot be: {why}"), faults: Vec::new() },
                        None => check_case(kind, *rate, *channels),
                    };
                    let case = format!("{:<18} {rate:>6} Hz × {channels}", kind.name);
                    rows.lock().unwrap().push((case, row));
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap();
    assert_eq!(rows.len(), cases.len(), "no case is left out");
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    let mut table = String::new();
    for (case, row) in &rows {
        writeln!(table, "{case}  {}", row.figures).unwrap();
    }
    println!("{table}");
    let faults: Vec<String> = (rows.iter())
        .filter(|(_, row)| !row.faults.is_empty())
        .map(|(case, row)| format!("{case}  {}\n    {}", row.figures, row.faults.join("; ")))
        .collect();
    assert!(faults.is_empty(), "{} of {} cases:\n{}", faults.len(), rows.len(), faults.join("\n"));
}

struct Row {
    figures: String,
    faults: Vec<String>,
}

fn check_case(kind: &Kind, rate: u32, channels: u16) -> Row {
    let plain = Plain::new(rate, channels);
    let path = (kind.make)(&plain);
    let name = format!("bulletin.{}", kind.suffix);
    let mut row = Row { figures: String::new(), faults: Vec::new() };
    let refusal = (kind.refused)(rate, channels);
    let heard = match hear(&path, &name) {
        Ok(heard) => heard,
        Err(error) if refusal.is_some_and(|word| error.code == "media.unsupported" && error.text.contains(word)) => {
            row.figures = format!("refused: {}", error.text);
            return row;
        }
        Err(error) => {
            row.faults.push(format!("refused: {error} ({})", path.display()));
            return row;
        }
    };
    let (added, behind) = kind.tells.allowed(rate);
    let mut expect = |holds: bool, what: &str| {
        if !holds {
            row.faults.push(what.to_owned());
        }
    };

    let promised = heard.facts.samples;
    expect(promised.is_none_or(|promised| promised == heard.samples.len() as u64), "another length than promised");
    let told = !matches!(kind.tells, Tells::Frames { .. });
    // Matroska tells what to leave out at its end alone, where a first reading doesn't look.
    let before = told && !["webm", "mkv"].contains(&kind.suffix);
    expect(promised.is_some() || !before, "the file tells its length, and it isn't known");
    let longer = heard.samples.len() as f64 - plain.length();
    let shortest = if told { -behind } else { -MILLISECOND };
    expect(longer >= shortest && longer <= added + behind, "length");
    expect(heard.facts.channels == channels, "number of channels");
    expect(heard.found.damage.is_empty() && heard.found.lost == 0.0, "damage in a whole file");

    let expected = plain.expected();
    let near = -(MILLISECOND as isize) * 2;
    let mut found = place(&expected, &heard.samples, near..=(added as isize).max(-near));
    if found.1 < kind.alike {
        // Only to say where it went.
        let far = place(&expected, &heard.samples, -6_000..=12_000);
        found = if far.1 > found.1 { far } else { found };
    }
    let (lag, alike) = found;
    expect(lag as f64 >= -MILLISECOND && lag as f64 <= added.max(MILLISECOND), "not at its place");
    expect(alike >= kind.alike, "not like the original");

    let options = Options::default();
    let (frames, report) = match frames_of(|| File::open(&path), &name, &options, |_| {}) {
        Ok(done) => done,
        Err(error) => {
            row.faults.push(format!("not transcoded: {error}"));
            return row;
        }
    };
    let sound = played(&frames[0]);
    let (loudness, decoded_peak) = level(&sound);
    let peak = report.after.true_peak.unwrap_or(f64::NAN);
    let (later, same) = place(&heard.samples, &sound, -96..=96);
    expect((loudness + 16.0).abs() <= LOUDNESS, "loudness");
    expect(peak <= options.peak + 0.005, "true peak of what went into the encoder");
    expect(report.after.loudness.is_some_and(|after| (after + 16.0).abs() <= LOUDNESS), "loudness of what went in");
    expect(decoded_peak <= MOST_DECODED, "peak that a speaker makes of it");
    expect(frames[0].frames.len() == (heard.samples.len() + LOOKAHEAD).div_ceil(FRAME), "number of frames");
    expect((later as f64).abs() <= MILLISECOND, "place after coding");
    expect(same >= AFTER_CODING, "likeness after coding");
    row.figures = format!(
        "{:+7.2} ms long, {:+6.2} ms late, like {alike:.4} | {:6.2} → {loudness:6.2} LUFS, {peak:5.2} dBTP in, \
         {decoded_peak:5.2} out, {:+5.2} ms, like {same:.3}",
        longer / MILLISECOND,
        lag as f64 / MILLISECOND,
        report.before.loudness.unwrap_or(f64::NAN),
        later as f64 / MILLISECOND,
    );
    row
}

/// LU around −16 LUFS.
const LOUDNESS: f64 = 0.5;
/// dBTP. Opus at 24 kb/s rounds a limiter's flat peaks off, some of them upwards; a speaker clips beyond full
/// scale, so nothing may reach it.
const MOST_DECODED: f64 = 0.0;
/// Opus at 24 kb/s in its speech mode, waveform against waveform.
const AFTER_CODING: f64 = 0.8;

#[test]
fn the_table_has_every_row() {
    let kinds: Vec<&Kind> = kinds::ALL.iter().copied().flatten().collect();
    let mut names: Vec<_> = kinds.iter().map(|kind| kind.name).collect();
    names.dedup();
    assert_eq!(names.len(), kinds.len(), "no two have one name");
    let full = kinds.iter().filter(|kind| kind.rates == kinds::RATES && kind.channels == kinds::CHANNELS);
    // The others are ways to store a sample, at 44.1 kHz.
    assert!(full.count() >= 22 && kinds.iter().all(|kind| !kind.rates.is_empty() && !kind.channels.is_empty()));
}

#[test]
fn likeness_is_told_from_unlikeness_and_a_shift_is_found() {
    let plain = Plain::new(44_100, 1);
    let sound = plain.expected();
    let late: Vec<f32> = std::iter::repeat_n(0.0, 37).chain(sound.iter().map(|sample| sample / 3.0)).collect();
    let (lag, alike) = place(&sound, &late, -96..=96);
    assert!(lag == 37 && alike > 0.9999, "{lag} {alike}");
    assert!(correlation(&sound, &late, 0) < 0.9);
    assert_eq!(place(&late, &sound, -96..=96).0, -37);
    let other: Vec<f32> = made::at_rate(made::BULLETIN, 48_000, sound.len() as u64, 8.0);
    assert!(place(&sound, &other, -960..=960).1 < 0.5);
}
