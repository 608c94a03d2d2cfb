//! Decoding in a process of its own, with the real program: the same samples, and nothing that a file or a
//! stranger does reaches this process.
use loa::audio::{Error, Input, Pcm};
use loa::io::decoder::{Form, Isolation};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const BULLETIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/demo/bulletin.flac");

fn isolated() -> Isolation {
    Isolation { program: Some(env!("CARGO_BIN_EXE_loa").into()), foreign: None }
}

fn through(program: impl Into<PathBuf>) -> Isolation {
    Isolation { program: Some(program.into()), foreign: None }
}

fn ffmpeg(arguments: &[&str]) {
    let output = Command::new("ffmpeg").args(["-v", "error", "-y"]).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("ffmpeg: {error}; apt-get install ffmpeg"));
    assert!(output.status.success(), "ffmpeg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn all(mut input: Box<dyn Input>) -> Result<Vec<f32>, Error> {
    let mut samples = Vec::new();
    while input.read(&mut samples)? {}
    Ok(samples)
}

/// Processes whose parent is this thread's process and whose command line has this word.
fn children(word: &str) -> Vec<u32> {
    let own = std::process::id().to_string();
    let ids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id: &u32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)).unwrap_or("");
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        parent == own && String::from_utf8_lossy(&line).contains(word)
    })
    .collect()
}

#[test]
fn a_file_gives_the_same_samples_as_in_this_process_bit_by_bit() {
    let folder = tempfile::tempdir().unwrap();
    let wav = folder.path().join("a.wav");
    ffmpeg(&["-i", BULLETIN, "-ar", "22050", "-ac", "2", wav.to_str().unwrap()]);
    for path in [Path::new(BULLETIN), &wav] {
        let (here, there) = (Isolation::default().file(path, "tin").unwrap(), isolated().file(path, "tin").unwrap());
        assert_eq!(here.facts(), there.facts());
        let (here, there) = (all(here).unwrap(), all(there).unwrap());
        assert!(!here.is_empty());
        assert_eq!(here.len(), there.len());
        assert!(here.iter().zip(&there).all(|(a, b)| a.to_bits() == b.to_bits()), "{}", path.display());
    }
}

#[test]
fn what_the_decoder_says_of_a_file_arrives_as_it_was_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let whole = fs::read(BULLETIN).unwrap();
    for path in [file("empty.wav", b""), file("text.txt", b"this is no sound"), file("cut.flac", &whole[..5_000])] {
        let name = path.file_name().unwrap().to_str().unwrap();
        let ends = |isolation: Isolation| isolation.file(&path, name).and_then(all).unwrap_err();
        assert_eq!(ends(Isolation::default()), ends(isolated()));
    }
    let nowhere = isolated().file(&folder.path().join("none.wav"), "none.wav").err().unwrap();
    assert_eq!(nowhere.code, "media.read");
    let a_folder = isolated().file(folder.path(), "tin").err().unwrap();
    assert!(a_folder.text.contains("folder"), "{a_folder}");
    let device = isolated().file(Path::new("/dev/zero"), "zero").err().unwrap();
    assert!(device.text.contains("no regular file"), "{device}");
}

#[test]
fn a_decoder_that_is_killed_midway_is_an_error_with_the_second_reached() {
    let folder = tempfile::tempdir().unwrap();
    let long = folder.path().join("long.wav");
    // Ten minutes: more than a pipe and both buffers hold.
    ffmpeg(&["-f", "lavfi", "-i", "sine=frequency=440:duration=600", "-ar", "48000", long.to_str().unwrap()]);
    let mut input = isolated().file(&long, "killed-midway.wav").unwrap();
    let mut samples = Vec::new();
    assert_eq!(input.read(&mut samples), Ok(true));
    let found = children("killed-midway.wav");
    assert_eq!(found.len(), 1);
    assert!(Command::new("kill").args(["-KILL", &found[0].to_string()]).status().unwrap().success());
    let error = loop {
        match input.read(&mut samples) {
            Ok(more) => assert!(more, "a killed decoder has no end"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code, "media.decoder");
    let seconds =
        format!("killed-midway.wav: at {:.3} s: the decoder was ended by signal 9", samples.len() as f64 / 48e3);
    assert!(error.text.starts_with(&seconds), "{error}");
    assert!(samples.len() < 600 * 48_000);
    assert!(children("killed-midway.wav").is_empty(), "a zombie is left");
}

#[test]
fn a_decoder_that_is_dropped_is_gone() {
    let input = isolated().file(Path::new(BULLETIN), "dropped.flac").unwrap();
    assert_eq!(children("dropped.flac").len(), 1);
    drop(input);
    assert!(children("dropped.flac").is_empty());
}

#[test]
fn a_program_that_is_not_there_or_not_loa_is_said_to_be_so() {
    let error = through("/nowhere/loa").file(Path::new(BULLETIN), "a.flac").err().unwrap();
    assert!(error.text.contains("/nowhere/loa can't be started"), "{error}");
    for (program, what) in
        [("/bin/true", "ended with exit code 0"), ("/bin/cat", "exit code 1"), ("/bin/echo", "is not understood")]
    {
        let error = through(program).file(Path::new(BULLETIN), "a.flac").err().unwrap();
        assert_eq!(error.code, "media.decoder", "{program}");
        assert!(error.text.starts_with("a.flac: ") && error.text.contains(what), "{program}: {error}");
    }
}

#[test]
fn a_stream_comes_out_as_it_goes_in_and_ends_with_its_writer() {
    let pcm: Pcm = "s16le:48000:1".parse().unwrap();
    let (mut mouth, begin) = isolated().stream(Form::Pcm(pcm), "studio").unwrap();
    let writer = std::thread::spawn(move || {
        for _ in 0..20 {
            mouth.write_all(&vec![0u8; 9_600]).unwrap();
        }
    });
    let samples = all(begin().unwrap()).unwrap();
    writer.join().unwrap();
    assert_eq!(samples.len(), 96_000);
}
