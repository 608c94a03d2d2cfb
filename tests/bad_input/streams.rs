//! Readers that misbehave: slow ones, broken ones, files that change; and pipes.

use crate::bounded::bounded;
use crate::made::Plain;
use crate::measure::{hear_input, hear_reader, place};
use crate::{check_refusal, whole_files};
use loa::audio::{Error, Options, Pcm, Source, frames_of};
use proptest::prelude::*;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Gives odd pieces, is interrupted in between, and may break or shrink on the way.
struct Unsteady {
    bytes: Cursor<Vec<u8>>,
    turn: usize,
    /// From this place on.
    breaks: Option<usize>,
    /// Where the file now ends.
    end: Arc<AtomicUsize>,
}

impl Unsteady {
    fn new(bytes: Vec<u8>) -> Self {
        let end = Arc::new(AtomicUsize::new(bytes.len()));
        Self { bytes: Cursor::new(bytes), turn: 0, breaks: None, end }
    }
}

impl Read for Unsteady {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.turn += 1;
        if self.turn.is_multiple_of(7) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let place = self.bytes.position() as usize;
        if self.breaks.is_some_and(|breaks| place >= breaks) {
            return Err(io::Error::other("the disk is gone"));
        }
        let end = self.breaks.unwrap_or(usize::MAX).min(self.end.load(Ordering::Relaxed));
        let piece = buffer.len().min([1, 333, 7, 4_096, 65_536][self.turn % 5]).min(end.saturating_sub(place));
        self.bytes.read(&mut buffer[..piece])
    }
}

impl Seek for Unsteady {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(to)
    }
}

#[test]
fn a_reader_in_odd_pieces_gives_the_same_sound() {
    for file in whole_files() {
        let plain = hear_reader(Cursor::new(file.bytes.clone()), &file.name()).unwrap();
        let pieces = hear_reader(Unsteady::new(file.bytes.clone()), &file.name()).unwrap();
        assert!(plain.samples == pieces.samples && plain.found == pieces.found, "{}", file.kind.name);
    }
}

#[test]
fn a_disk_that_breaks_is_named_as_such() {
    for file in whole_files() {
        for part in [0.0, 0.3, 0.8] {
            let mut reader = Unsteady::new(file.bytes.clone());
            reader.breaks = Some((file.bytes.len() as f64 * part) as usize);
            let case = format!("{} broken at {part}", file.kind.name);
            let error = bounded(&case, || hear_reader(reader, &file.name())).err().expect(&case);
            check_refusal(&case, &error, &file.name());
            assert!(error.code == "media.read" && error.text.contains("the disk is gone"), "{case}: {error}");
        }
    }
}

/// It shrinks to half on the first or the second pass, or while it is open.
#[test]
fn a_file_that_changes_while_it_is_read_is_never_encoded_as_if_whole() {
    for file in whole_files() {
        for (case, shrinks) in [("between passes", 1), ("within the first", 0)] {
            let case = format!("{} {case}", file.kind.name);
            let mut passes = 0;
            let open = || {
                let reader = Unsteady::new(file.bytes.clone());
                if passes >= shrinks {
                    reader.end.store(file.bytes.len() * 7 / 10, Ordering::Relaxed);
                }
                passes += 1;
                Ok(reader)
            };
            let options = Options { complexity: 0, ..Options::default() };
            let outcome = frames_of(open, &file.name(), &options, |_| {});
            // One that has shrunk before it was opened is a truncated file; which of the two, one pass can't tell.
            match outcome {
                Err(error) => check_refusal(&case, &error, &file.name()),
                Ok((frames, report)) => {
                    let lasts = frames[0].frames.len() as f64 * 0.02;
                    // The last frame is filled up, and holds what the encoder looked ahead.
                    assert!((0.0..0.03).contains(&(lasts - report.duration)), "{case}: {lasts} s, {report:?}");
                }
            }
        }
    }
}

/// A pipe: no seeking, no length.
struct Pipe(Unsteady);

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

#[test]
fn every_format_that_can_be_read_forward_comes_down_a_pipe() {
    let mut faults = Vec::new();
    for file in whole_files() {
        let case = file.kind.name;
        let reader = Pipe(Unsteady::new(file.bytes.clone()));
        // An index behind the sound can't be waited for: it may be hours away.
        let backwards = ["mp4 video", "m4a alac", "caf alac"].contains(&case);
        match bounded(case, || Source::stream(reader, "standard input").and_then(hear_input)) {
            Err(error) => {
                check_refusal(case, &error, "standard input");
                if !backwards {
                    faults.push(format!("{case}: {error}"));
                }
            }
            Ok(heard) => {
                let (before, behind) = file.kind.tells.allowed(44_100);
                let expected = file.plain.expected();
                let (lag, alike) = place(&expected, &heard.samples, -48..=(before as isize).max(48));
                let longer = heard.samples.len() as f64 - expected.len() as f64;
                // Without a look at the end, the fill of the last frame may stay.
                let fill = behind.max(1_152.0 * 48.0 / 44.1);
                if alike < file.kind.alike || longer < -48.0 || longer > before + fill + 48.0 {
                    faults.push(format!("{case}: like {alike:.3} at {lag}, {longer:+} samples"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

fn pcm(bytes: &[u8], form: &str) -> Result<crate::measure::Heard, Error> {
    let form: Pcm = form.parse().unwrap();
    Source::pcm(Cursor::new(bytes.to_vec()), "standard input", form).and_then(hear_input)
}

#[test]
fn bare_samples_of_every_kind_come_down_a_pipe() {
    let plain = Plain::new(44_100, 1);
    let wav = std::fs::read(&plain.path).unwrap();
    let shorts: Vec<i16> = wav[44..].chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]])).collect();
    let expected = plain.expected();
    let forms: [(&str, Vec<u8>); 6] = [
        ("u8", shorts.iter().map(|sample| ((sample >> 8) + 128) as u8).collect()),
        ("s16le", shorts.iter().flat_map(|sample| sample.to_le_bytes()).collect()),
        ("s16be", shorts.iter().flat_map(|sample| sample.to_be_bytes()).collect()),
        ("s24le", shorts.iter().flat_map(|sample| [0, sample.to_le_bytes()[0], sample.to_le_bytes()[1]]).collect()),
        ("s32le", shorts.iter().flat_map(|sample| (i32::from(*sample) << 16).to_le_bytes()).collect()),
        ("f32le", shorts.iter().flat_map(|sample| (f32::from(*sample) / 32_768.0).to_le_bytes()).collect()),
    ];
    for (form, bytes) in &forms {
        let heard = pcm(bytes, &format!("{form}:44100:1")).unwrap_or_else(|error| panic!("{form}: {error}"));
        let (lag, alike) = place(&expected, &heard.samples, -48..=48);
        assert!(alike > 0.99 && lag.abs() <= 1, "{form}: like {alike} at {lag}");
        assert!((heard.samples.len() as f64 - plain.length()).abs() <= 1.0, "{form}: {}", heard.samples.len());
        let twice: Vec<u8> =
            bytes.chunks_exact(bytes.len() / shorts.len()).flat_map(|one| [one, one].concat()).collect();
        let stereo = pcm(&twice, &format!("{form}:44100:2")).unwrap();
        assert_eq!(stereo.samples.len(), heard.samples.len());
        // Ended within a sample: what is whole is played.
        let cut = pcm(&twice[..twice.len() - 1], &format!("{form}:44100:2")).unwrap();
        assert!(stereo.samples.len() - cut.samples.len() <= 2, "{form}");
        let error = pcm(&[], &format!("{form}:44100:2")).err().expect("nothing came");
        check_refusal(form, &error, "standard input");
        assert_eq!(error.code, "media.empty");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_makes_the_form_of_bare_samples_panic(text in "\\PC{0,40}") {
        if let Err(error) = text.parse::<Pcm>() {
            prop_assert_eq!(error.code, "media.pcm");
            prop_assert!(error.text.contains("s16le:48000:1"), "{}", error);
        }
    }

    #[test]
    fn the_form_of_bare_samples_takes_what_a_decoder_takes(
        sample in 0usize..8, rate in 0u32..400_000, channels in 0u16..20,
    ) {
        let sample = ["u8", "s16le", "s16be", "s24le", "s32le", "f32le", "s8", ""][sample];
        let right = !["s8", ""].contains(&sample) && (8_000..=192_000).contains(&rate) && (1..=8).contains(&channels);
        let parsed = format!("{sample}:{rate}:{channels}").parse::<Pcm>();
        prop_assert_eq!(parsed.is_ok(), right, "{:?}", parsed);
        if let Ok(parsed) = parsed {
            prop_assert_eq!((parsed.rate, parsed.channels), (rate, channels));
        }
    }

    #[test]
    fn no_bytes_make_bare_samples_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..3_000), form in 0usize..6, channels in 1u16..9,
    ) {
        let form = ["u8", "s16le", "s16be", "s24le", "s32le", "f32le"][form];
        match pcm(&bytes, &format!("{form}:16000:{channels}")) {
            Ok(heard) => prop_assert!(heard.samples.iter().all(|sample| sample.is_finite())),
            Err(error) => check_refusal(form, &error, "standard input"),
        }
    }
}
