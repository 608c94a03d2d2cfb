//! Ogg Opus as it leaves: other people's tools read it, find its tags, and play it to the sample.
use bytes::Bytes;
use loa::audio::{Encoders, Frames, LOOKAHEAD, OggOpus};
use std::path::Path;
use std::process::Command;

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; apt-get install ffmpeg opus-tools"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {out}{err}");
    format!("{out}{err}")
}

/// Chirps, so that a place in them can be told.
fn chirps(samples: usize) -> Vec<f32> {
    (0..samples).map(|at| ((at % 24_000) as f32 * 0.004).powi(2).sin() * 0.4).collect()
}

fn write(path: &Path, samples: &[f32], bitrate: u32, tags: &[(&str, &str)]) {
    let file = std::fs::File::create(path).unwrap();
    let mut ogg = OggOpus::new(file, tags, 0x10a, LOOKAHEAD as u16).unwrap();
    let mut frames: Vec<Bytes> = Vec::new();
    let mut keep = |_, frame| {
        frames.push(frame);
        Ok(())
    };
    let mut encoders = Encoders::new(&[bitrate], 5).unwrap();
    encoders.push(samples, &mut keep).unwrap();
    encoders.finish(&mut keep).unwrap();
    for frame in frames {
        ogg.frame(frame).unwrap();
    }
    ogg.finish(samples.len() as u64).unwrap();
}

#[test]
fn every_length_comes_back_to_the_sample_and_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    for length in [1, 647, 648, 649, 960, 48_000, 48_001, 96_000 + 777, 240_000] {
        let (path, raw) = (folder.path().join("a.opus"), folder.path().join("a.f32"));
        let samples = chirps(length);
        write(&path, &samples, 32_000, &[]);
        let form = ["-v", "error", "-y", "-i", path.to_str().unwrap(), "-f", "f32le", raw.to_str().unwrap()];
        assert_eq!(run("ffmpeg", &form), "");
        let bytes = std::fs::read(&raw).unwrap();
        let played: Vec<f32> = bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
        assert_eq!(played.len(), length);
        if length < 48_000 {
            continue;
        }
        let alike = |lag: usize| -> f64 {
            let pairs = samples[4_000..40_000].iter().zip(&played[4_000 + lag - 20..]);
            pairs.map(|(a, b)| f64::from(a * b)).sum()
        };
        let best = (0..40).max_by(|a, b| alike(*a).total_cmp(&alike(*b))).unwrap();
        assert!(best.abs_diff(20) <= 3, "{length} samples: {best} − 20 off their place");
    }
}

#[test]
fn opusinfo_finds_nothing_wrong_and_everyone_reads_the_tags() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.opus");
    let tags = [("TITLE", "Bản tin sáng"), ("COMMENT", "a = b"), ("DATE", "2026-11-22")];
    write(&path, &chirps(500_123), 24_000, &tags);
    let said = run("opusinfo", &[path.to_str().unwrap()]);
    for line in ["Pre-skip: 312", "TITLE=Bản tin sáng", "COMMENT=a = b", "ENCODER=loa ", "Playback length: 0m:10.419s"]
    {
        assert!(said.contains(line), "no {line:?} in {said}");
    }
    assert!(!said.to_lowercase().contains("warning"), "{said}");
    // One second of frames in each page.
    assert!(said.contains("1000.0ms (max)"), "{said}");
    let probed = run(
        "ffprobe",
        &["-v", "error", "-show_entries", "stream=duration_ts,codec_name:stream_tags", path.to_str().unwrap()],
    );
    assert!(probed.contains("codec_name=opus") && probed.contains("TAG:TITLE=Bản tin sáng"), "{probed}");
    assert!(probed.contains("duration_ts=500435"), "{probed}");
}

#[test]
fn tags_that_no_reader_would_take_are_refused() {
    let long = "x".repeat(70_000);
    for tags in [("A=B", "c"), ("", "c"), ("Ö", "c"), ("COMMENT", long.as_str())] {
        let error = OggOpus::new(Vec::new(), &[tags], 1, 312).err().expect("refused");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
}

#[test]
fn a_stream_without_a_frame_is_still_two_headers() {
    let bytes = OggOpus::new(Vec::new(), &[], 1, 312).unwrap().finish(0).unwrap();
    assert_eq!(bytes.windows(4).filter(|four| four == b"OggS").count(), 2);
}

#[test]
fn what_was_written_is_read_back_frame_by_frame_and_what_others_made_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.opus");
    let samples = chirps(48_000);
    write(&path, &samples, 24_000, &[("TITLE", "Bản tin")]);
    let mut frames: Vec<Bytes> = Vec::new();
    let mut keep = |_, frame| {
        frames.push(frame);
        Ok(())
    };
    let mut encoders = Encoders::new(&[24_000], 5).unwrap();
    encoders.push(&samples, &mut keep).unwrap();
    encoders.finish(&mut keep).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(Frames::from_ogg(&bytes).unwrap(), Frames { bitrate: 24_000, frames });

    let code = |bytes: &[u8]| Frames::from_ogg(bytes).map_err(|error| error.code).unwrap_err();
    let mut changed = bytes.clone();
    changed[bytes.len() / 2] ^= 1;
    assert_eq!(code(&changed), "media.damaged", "a page's checksum");
    assert_eq!(code(b"OggS"), "media.damaged");
    let foreign = folder.path().join("b.opus");
    let wav = folder.path().join("b.wav");
    run("ffmpeg", &["-v", "error", "-y", "-i", path.to_str().unwrap(), wav.to_str().unwrap()]);
    run("opusenc", &["--quiet", "--framesize", "60", wav.to_str().unwrap(), foreign.to_str().unwrap()]);
    assert_eq!(code(&std::fs::read(foreign).unwrap()), "media.damaged");
}
