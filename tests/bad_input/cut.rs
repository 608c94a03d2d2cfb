//! Files that end early: they play as far as they go, and say where they end; with less than half of what they
//! promise they are refused.

use crate::kinds::Tells;
use crate::measure::place;
use crate::{Whole, check_refusal, hear_bytes, whole_files};

#[test]
fn a_file_cut_anywhere_plays_as_far_as_it_goes_or_says_where_it_ends() {
    let mut faults = Vec::new();
    let mut count = 0;
    for file in whole_files() {
        let length = file.bytes.len();
        let near_the_start = [1, 2, 3, 4, 7, 8, 11, 12, 13, 20, 36, 43, 44, 45, 58, 100, 200, 333, 1_000, 3_000];
        let parts = (1..40).map(|part| length * part / 40);
        let near_the_end = [length - 300, length - 17, length - 1];
        for end in near_the_start.into_iter().filter(|end| *end < length).chain(parts).chain(near_the_end) {
            count += 1;
            check(&file, end, &mut faults);
        }
    }
    assert!(count > 1_500, "{count} cases");
    assert!(faults.is_empty(), "{} faults in {count} cases, some of them:\n{}", faults.len(), first(&faults));
}

/// Three faults of each kind of file.
fn first(faults: &[String]) -> String {
    let kind = |fault: &str| fault.split(" cut at").next().map(str::to_owned);
    let first = faults.iter().enumerate().filter(|(at, fault)| {
        let before = faults[..*at].iter().filter(|other| kind(other) == kind(fault));
        before.count() < 3
    });
    first.map(|(_, fault)| fault.as_str()).collect::<Vec<_>>().join("\n")
}

fn check(file: &Whole, end: usize, faults: &mut Vec<String>) {
    let whole = file.plain.length();
    let start = file.before_sound();
    let part = end.saturating_sub(start) as f64 / (file.bytes.len() - start) as f64;
    let case = format!("{} cut at byte {end} ({:.1} %)", file.kind.name, part * 100.0);
    let mut expect = |holds: bool, what: String| {
        if !holds {
            faults.push(format!("{case}: {what}"));
        }
    };
    match hear_bytes(&case, file.bytes[..end].to_vec(), &file.name()) {
        Err(error) => {
            check_refusal(&case, &error, &file.name());
            let codes = ["media.truncated", "media.empty", "media.unknown_format", "media.damaged"];
            expect(codes.contains(&error.code), format!("refused: {error}"));
            expect(end > 12 || error.code != "media.damaged", format!("refused: {error}"));
            expect(part < 0.6 || index_behind(file), format!("refused: {error}"));
            // A place: a second, a byte, or the header.
            let placed =
                [" s ", " s:", " s;", "byte", "header", "table"].iter().any(|place| error.text.contains(place));
            expect(placed || error.code == "media.unknown_format", format!("no place: {error}"));
        }
        Ok(heard) => {
            let told = heard.found.damage.first().map(|damage| damage.at);
            let sound = told.map_or(heard.samples.len(), |at| ((at * 48_000.0) as usize).min(heard.samples.len()));
            let missing = (whole - sound as f64) / 48.0;
            let refusable = tells_at_the_start(file) && part < 0.4;
            expect(!refusable, format!("{sound} samples of {whole:.0} played, under half of those promised"));
            // A part of a second at the end may stand in padding, tags, an index or a trailer.
            expect(
                told.is_some() || missing < 100.0 || !tells_at_the_start(file),
                format!("{missing:.0} ms lost untold"),
            );
            expect(heard.samples.len() as f64 <= whole + 4_500.0, format!("{} samples", heard.samples.len()));
            let expected = file.plain.expected();
            let sound = sound.min(expected.len());
            if sound > 30_000 {
                let (before, _) = file.kind.tells.allowed(44_100);
                let (lag, alike) = place(&expected[..sound], &heard.samples, -48..=(before as isize).max(48));
                expect(alike > file.kind.alike - 0.02, format!("like {alike:.3} at {lag}"));
            }
        }
    }
}

/// Formats whose index stands behind the sound: without it nothing can be found.
fn index_behind(file: &Whole) -> bool {
    ["mp4 video", "m4a alac"].contains(&file.kind.name) || file.kind.name.starts_with("caf a")
}

/// Ogg and Matroska as written into a pipe tell their length at their end, by where the last page or block is;
/// ADTS and a bare MP3 nowhere; an index behind the sound is gone.
fn tells_at_the_start(file: &Whole) -> bool {
    let behind = ["ogg", "opus", "webm", "mkv"].contains(&file.kind.suffix);
    !behind && !index_behind(file) && !matches!(file.kind.tells, Tells::Frames { .. })
}
