//! A decoder that misbehaves in every way a process can: what is said of it, and that nothing of it stays.
use super::message::Messenger;
use super::process::{Limits, Process};
use super::remote::Decoder;
use crate::audio::{Error, Facts, Input};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

const LIMITS: Limits = Limits { memory: 512 << 20, seconds: Some(20), descriptors: 16, nice: 0 };

fn shell(script: &str, limits: Limits) -> Process {
    Process::spawn(Path::new("/bin/sh"), &["-c".into(), script.into()], Stdio::null(), limits).unwrap()
}

fn opened(script: &str, limits: Limits, patience: Duration) -> Result<Decoder, Error> {
    Decoder::patient(shell(script, limits), "tin.mp3", false, patience)
}

fn refused(script: &str) -> String {
    let error = opened(script, LIMITS, Duration::from_secs(60)).err().unwrap();
    assert_eq!(error.code, "media.decoder", "{error}");
    assert!(error.text.starts_with("tin.mp3: at 0.000 s: the decoder "), "{error}");
    error.text
}

/// A script that says these bytes.
fn says(bytes: &[u8]) -> String {
    let octal: String = bytes.iter().map(|byte| format!("\\{byte:03o}")).collect();
    format!("printf '{octal}'")
}

fn begun(samples: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut to = Messenger::new(&mut bytes);
    to.facts(&Facts::default()).unwrap();
    to.samples(samples).unwrap();
    bytes
}

#[test]
fn a_program_that_says_nothing_or_something_else_is_named_so() {
    assert!(refused("exit 0").contains("ended with exit code 0"));
    assert!(refused("exit 3").contains("ended with exit code 3"));
    assert!(refused("echo this is no decoder at all").contains("is not understood"));
    assert!(refused(&says(b"E\0\0\0\0")).contains("is not understood"));
    assert!(refused("kill -SEGV $$").contains("signal 11"));
    assert!(refused("echo 'memory allocation of 99 bytes failed' >&2; kill -ABRT $$").contains("more memory than"));
}

#[test]
fn a_death_in_the_middle_gives_what_came_before_and_the_second_reached() {
    let script = format!("{}; kill -KILL $$", says(&begun(&[0.5; 4_800])));
    let mut decoder = opened(&script, LIMITS, Duration::from_secs(60)).unwrap();
    let mut samples = Vec::new();
    assert_eq!(decoder.read(&mut samples), Ok(true));
    assert_eq!(samples, [0.5; 4_800]);
    let error = decoder.read(&mut samples).unwrap_err();
    assert_eq!(error.code, "media.decoder");
    assert!(error.text.starts_with("tin.mp3: at 0.100 s: the decoder was ended by signal 9"), "{error}");
    assert_eq!(decoder.read(&mut samples), Err(error));
    assert_eq!(samples.len(), 4_800);
}

#[test]
fn an_end_is_the_last_word() {
    let bytes = [&begun(&[0.5; 10])[..], b"E\0\0\0\0E\0\0\0\0"].concat();
    let mut decoder = opened(&says(&bytes), LIMITS, Duration::from_secs(60)).unwrap();
    let mut samples = Vec::new();
    while let Ok(true) = decoder.read(&mut samples) {}
    assert!(decoder.read(&mut samples).unwrap_err().text.contains("more than the end"));
}

#[test]
fn silence_for_too_long_is_an_end() {
    let mut decoder =
        opened(&format!("{}; sleep 600", says(&begun(&[0.5; 10]))), LIMITS, Duration::from_secs(2)).unwrap();
    let mut samples = Vec::new();
    assert_eq!(decoder.read(&mut samples), Ok(true));
    assert!(decoder.read(&mut samples).unwrap_err().text.contains("said nothing for 2.0 s"));
}

#[test]
fn a_live_decoder_may_wait_but_not_compute_without_a_word() {
    let script = format!("{}; while :; do :; done", says(&begun(&[0.5; 10])));
    let process = shell(&script, LIMITS);
    let mut decoder = Decoder::patient(process, "-", true, Duration::from_millis(500)).unwrap();
    let mut samples = Vec::new();
    assert_eq!(decoder.read(&mut samples), Ok(true));
    assert!(decoder.read(&mut samples).unwrap_err().text.contains("said nothing"));
    // Three times its patience, and yet it is waited for.
    let script = format!("sleep 1; {}", says(&begun(&[0.5; 10])));
    assert!(Decoder::patient(shell(&script, LIMITS), "-", true, Duration::from_millis(300)).is_ok());
}

#[test]
fn computing_without_end_is_ended_by_the_kernel() {
    let limits = Limits { seconds: Some(1), ..LIMITS };
    let error = opened("while :; do :; done", limits, Duration::from_secs(60)).err().unwrap();
    assert!(error.text.contains("took all the computing time it may"), "{error}");
}

#[test]
fn nothing_is_written_to_any_file_and_no_environment_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("written");
    let text = refused(&format!("echo a > {}", file.display()));
    assert!(text.contains("signal 25") || text.contains("exit code"), "{text}");
    assert_eq!(std::fs::read(&file).unwrap_or_default(), b"");
    assert!(refused("test -z \"$HOME$CARGO_MANIFEST_DIR\" && exit 7").contains("exit code 7"));
}

#[test]
fn a_dropped_decoder_and_all_that_it_started_is_gone() {
    let process = shell("sleep 600 & sleep 600", LIMITS);
    let id = process.id();
    let there = || Path::new(&format!("/proc/{id}")).exists();
    assert!(there());
    drop(process);
    assert!(!there(), "a zombie is left");
    // The group is empty as soon as the killed grandchild is reaped by whoever adopts it.
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    // SAFETY: signal 0 only asks whether the group exists.
    while unsafe { libc::kill(-(id as libc::pid_t), 0) } == 0 && !only_zombies(id) {
        assert!(std::time::Instant::now() < deadline, "a grandchild is left");
        std::thread::yield_now();
    }
}

/// Killed, and not reaped by an init that doesn't.
fn only_zombies(group: u32) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().all(|entry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        fields.get(2) != Some(&group.to_string().as_str()) || fields.first() == Some(&"Z")
    })
}

#[test]
fn many_words_on_standard_error_block_nobody() {
    let script =
        format!("yes a long complaint | head -c 1000000 >&2; {}", says(&[&begun(&[0.5])[..], b"E\0\0\0\0"].concat()));
    let mut decoder = opened(&script, LIMITS, Duration::from_secs(60)).unwrap();
    let mut samples = Vec::new();
    while decoder.read(&mut samples).unwrap() {}
    assert_eq!(samples, [0.5]);
}
