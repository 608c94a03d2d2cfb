//! The shape of the house: which room may import which, what pure rooms may not call, how long a file
//! may be. A limit here is only ever lowered.

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms and leaves in the order of the import rule, each with those it may name.
const ARROWS: &[(&str, &[&str])] = &[
    ("time", &[]),
    ("key", &[]),
    ("address", &["proto"]),
    ("track", &["time", "key", "proto"]),
    ("audio", &["time", "track"]),
    ("broadcast", &["time", "key", "address", "proto", "track"]),
    ("session", &["time", "key", "proto", "track", "broadcast"]),
    ("playout", &["time", "track", "audio", "broadcast", "session"]),
    ("node", &["time", "key", "proto", "track", "audio", "broadcast", "session", "playout"]),
    ("sim", &["time", "key", "proto", "track", "audio", "broadcast", "session", "playout", "node"]),
    ("config", &["address"]),
    ("io", &["time", "key", "proto", "track", "audio", "broadcast", "session", "playout", "node", "config"]),
    ("control", &["time", "key", "proto", "track", "audio", "broadcast", "session", "playout", "node", "config", "io"]),
];

/// Rooms that run in virtual time from a seed.
const PURE: &[&str] = &["time", "key", "address", "track", "audio", "broadcast", "session", "playout", "node", "sim"];

/// What a pure room never says, outside its tests: clocks, sockets, files, threads, randomness, and maps
/// whose order differs from run to run.
const BANNED: &[&str] = &[
    "Instant::now",
    "SystemTime",
    "std::net",
    "std::fs",
    "fs::",
    "File::",
    "std::thread",
    "thread::spawn",
    "thread::sleep",
    "tokio::",
    "rand::",
    "thread_rng",
    "getrandom",
    "SystemRandom",
    "HashMap",
    "HashSet",
    "println!",
    "eprintln!",
    "unsafe ",
    "std::env",
    "std::process",
];

/// Lines in a source file.
const LONGEST: usize = 596;

#[test]
fn imports_point_one_way() {
    let rooms: Vec<&str> = ARROWS.iter().map(|(room, _)| *room).collect();
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let Some((room, allowed)) = ARROWS.iter().find(|(room, _)| *room == room_of(&file)) else { continue };
        if is_test(&file) {
            continue;
        }
        for (number, line) in code_lines(&text) {
            for other in &rooms {
                let names = line.contains(&format!("crate::{other}::")) || line.contains(&format!("crate::{other};"));
                if names && other != room && !allowed.contains(other) {
                    wrong.push(format!("{}:{number}: {room} may not import {other}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn pure_rooms_touch_no_world() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        if !PURE.contains(&room_of(&file).as_str()) || is_test(&file) {
            continue;
        }
        for (number, line) in code_lines(&text) {
            for banned in BANNED {
                if line.contains(banned) {
                    wrong.push(format!("{}:{number}: {banned} in a pure room", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn unsafe_stands_in_io_alone_and_argues_its_safety() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        for (number, line) in code_lines(&text).filter(|(_, line)| is_unsafe(line)) {
            if room_of(&file) != "io" {
                wrong.push(format!("{}:{number}: unsafe stands in `io` alone: {line}", file.display()));
            }
        }
    }
    for (file, text) in sources().into_iter().chain(files("tests")).chain(files("tools")).chain(files("benches")) {
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| is_unsafe(line)) {
            // One argument may stand for two calls in a row, and may have three lines.
            let argued = lines[at.saturating_sub(4)..at]
                .iter()
                .any(|line| line.contains("// SAFETY: ") || line.contains("/// # Safety"));
            if !argued {
                wrong.push(format!("{}:{}: a SAFETY comment is missing above: {line}", file.display(), at + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn is_unsafe(line: &str) -> bool {
    let code = line.trim_start();
    let begins = ["unsafe {", "unsafe impl", "unsafe fn"].iter().any(|word| code.contains(word));
    begins && !code.starts_with("//") && !code.contains('"')
}

#[test]
fn only_the_world_sees_the_configuration() {
    for (file, text) in sources() {
        let room = room_of(&file);
        if !["io", "control", "config", "main"].contains(&room.as_str()) {
            assert!(!text.contains("crate::config"), "{} names config; give the room its own Options", file.display());
        }
    }
}

#[test]
fn only_io_quic_names_the_quic_library() {
    for (file, text) in sources() {
        if file.to_string_lossy().contains("io/quic") {
            continue;
        }
        assert!(!text.contains("quinn"), "{} names quinn", file.display());
    }
}

#[test]
fn no_file_is_too_long() {
    for (file, text) in sources().into_iter().chain(files("tests")).chain(files("tools")).chain(files("benches")) {
        let lines = text.lines().count();
        assert!(lines <= LONGEST, "{} has {lines} lines, {LONGEST} are allowed: split it", file.display());
    }
}

fn sources() -> Vec<(PathBuf, String)> {
    files("src")
}

fn files(folder: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).expect("a source file is UTF-8");
                found.push((path.strip_prefix(root).expect("below the root").to_path_buf(), text));
            }
        }
    }
    found.sort();
    found
}

/// `src/track/ring.rs` and `src/track.rs` are both of the room `track`.
fn room_of(file: &Path) -> String {
    let part = file.iter().nth(1).map(|part| part.to_string_lossy().into_owned()).unwrap_or_default();
    part.trim_end_matches(".rs").to_owned()
}

/// Files that are tests as a whole.
fn is_test(file: &Path) -> bool {
    file.iter().any(|part| part == "tests") || file.file_stem().is_some_and(|stem| stem == "tests" || stem == "model")
}

/// Lines with their numbers, without comments, up to the tests at the file's end.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("#[cfg(test)]").unwrap_or(text.len());
    let code = &text[..end];
    code.lines().enumerate().map(|(at, line)| (at + 1, line)).filter(|(_, line)| !line.trim_start().starts_with("//"))
}
