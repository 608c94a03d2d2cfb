//! `loa transcode` as people call it: what stands in the folder afterwards, what is said, and how it ends.
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const BULLETIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/demo/bulletin-2.flac");
/// Seconds.
const LENGTH: f64 = 12.64;

fn loa(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loa"));
    command.current_dir(folder).env("LANG", "C").env_remove("LC_ALL").env_remove("LC_MESSAGES");
    command.arg("transcode").args(["--complexity", "0"]).args(arguments);
    command
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A folder with these copies of a bulletin.
fn with(files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        fs::copy(BULLETIN, folder.path().join(file)).unwrap();
    }
    folder
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn seconds(path: &Path) -> f64 {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "stream=duration_ts,start_pts", "-of", "json"])
        .arg(path)
        .output()
        .unwrap_or_else(|error| panic!("ffprobe: {error}; apt-get install ffmpeg"));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    // What ffprobe calls the duration counts the pre-skip too.
    (said["streams"][0]["duration_ts"].as_f64().unwrap() - 312.0) / 48_000.0
}

#[test]
fn several_files_become_opus_beside_them_with_title_and_length() {
    let folder = with(&["bản tin.flac", "b.flac", "c.flac"]);
    let output = loa(folder.path(), &["bản tin.flac", "b.flac", "c.flac", "--report"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(names(folder.path()), ["b.flac", "b.opus", "bản tin.flac", "bản tin.opus", "c.flac", "c.opus"]);
    let lines: Vec<Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let files: Vec<&str> = lines.iter().map(|line| line["file"].as_str().unwrap()).collect();
    assert_eq!(files, ["bản tin.flac", "b.flac", "c.flac"]);
    for line in &lines {
        assert_eq!(line["facts"]["container"], "FLAC");
        assert!((line["duration"].as_f64().unwrap() - LENGTH).abs() < 2.0, "{line}");
        let before = line["before"]["loudness"].as_f64().unwrap();
        assert!((-40.0..0.0).contains(&before), "{line}");
        let made = seconds(&folder.path().join(line["outputs"][0]["file"].as_str().unwrap()));
        assert!((made - line["duration"].as_f64().unwrap()).abs() < 0.001, "{made} {line}");
    }
    let tags = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "stream_tags=title", "-of", "csv=p=0"])
        .arg(folder.path().join("bản tin.opus"))
        .output();
    assert_eq!(text(&tags.unwrap().stdout).trim(), "bản tin");
}

#[test]
fn renditions_go_into_a_folder_that_is_made() {
    let folder = with(&["a.flac"]);
    let output = loa(folder.path(), &["a.flac", "-o", "new/", "--bitrate", "16000,32000", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(names(&folder.path().join("new")), ["a-16k.opus", "a-32k.opus"]);
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line["outputs"][1]["bitrate"], 32_000);
}

#[test]
fn one_that_fails_holds_no_other_up_and_leaves_nothing() {
    let folder = with(&["a.flac", "z.flac"]);
    fs::write(folder.path().join("text.wav"), "no sound at all").unwrap();
    fs::write(folder.path().join("empty.mp3"), "").unwrap();
    fs::write(folder.path().join("cut.flac"), &fs::read(BULLETIN).unwrap()[..9_000]).unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    let files = ["a.flac", "text.wav", "empty.mp3", "none.wav", "sub", "z.flac", "--jobs", "2"];
    let output = loa(folder.path(), &files);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    for (file, code) in
        [("text.wav", "media."), ("empty.mp3", "[media.empty]"), ("none.wav", "[media.read]"), ("sub", "folder")]
    {
        let line = said.lines().find(|line| line.contains(file)).unwrap_or_else(|| panic!("{file}: {said}"));
        assert!(line.contains(code), "{line}");
    }
    assert_eq!(
        names(folder.path()),
        ["a.flac", "a.opus", "cut.flac", "empty.mp3", "sub", "text.wav", "z.flac", "z.opus"]
    );
    let output = command(folder.path(), &["empty.mp3", "--report=found.json"]).env("LANG", "vi_VN.UTF-8").output();
    let output = output.unwrap();
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""));
    assert!(text(&output.stderr).contains("tệp không có âm thanh"), "{}", text(&output.stderr));
    let found: Value = serde_json::from_slice(&fs::read(folder.path().join("found.json")).unwrap()).unwrap();
    assert_eq!(found["code"], "media.empty");
    assert_eq!(found["file"], "empty.mp3");
}

#[test]
fn nothing_is_overwritten_unless_forced_and_a_mistaken_command_does_nothing() {
    let folder = with(&["a.flac", "a2.flac"]);
    fs::write(folder.path().join("a.opus"), "precious").unwrap();
    let output = loa(folder.path(), &["a.flac", "a2.flac"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("[transcode.exists]"));
    assert_eq!(fs::read(folder.path().join("a.opus")).unwrap(), b"precious");
    assert!(folder.path().join("a2.opus").exists());
    assert_eq!(loa(folder.path(), &["a.flac", "--force"]).status.code(), Some(0));
    assert!(fs::read(folder.path().join("a.opus")).unwrap().starts_with(b"OggS"));
    let before = names(folder.path());
    let device = loa(folder.path(), &["a.flac", "--force", "-o", "/dev/null"]);
    assert!(text(&device.stderr).contains("[transcode.no_file]"), "{}", text(&device.stderr));
    for wrong in [
        &["a.flac", "a2.flac", "-o", "one.opus"][..],
        &["a.flac", "./a.flac", "--force"],
        &["a.flac", "--bitrate", "9"],
        &["a.flac", "--silence=-1"],
        &["-"],
        &[],
    ] {
        assert_eq!(loa(folder.path(), wrong).status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(names(folder.path()), before);
}

#[test]
fn standard_input_is_read_whether_it_is_a_pipe_or_a_file() {
    let folder = with(&[]);
    for (input, output) in [("a.opus", "pipe"), ("b.opus", "file")] {
        let mut command = command(folder.path(), &["-", "-o", input, "--tone"]);
        let mut child = match output {
            "file" => command.stdin(fs::File::open(BULLETIN).unwrap()).spawn().unwrap(),
            _ => command.stdin(Stdio::piped()).spawn().unwrap(),
        };
        if let Some(mut pipe) = child.stdin.take() {
            std::io::Write::write_all(&mut pipe, &fs::read(BULLETIN).unwrap()).unwrap();
        }
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    let lengths = ["a.opus", "b.opus"].map(|name| seconds(&folder.path().join(name)));
    assert!((lengths[0] - lengths[1]).abs() < 1e-9 && lengths[0] > LENGTH - 1.0, "{lengths:?}");
}

#[test]
fn an_interrupted_run_leaves_no_file_and_no_decoder() {
    let folder = with(&[]);
    let long = folder.path().join("long.wav");
    let sine = "sine=frequency=440:duration=1800";
    let made =
        Command::new("ffmpeg").args(["-v", "error", "-f", "lavfi", "-i", sine, "-ar", "48000"]).arg(&long).status();
    assert!(made.unwrap().success());
    let mut child = command(folder.path(), &["long.wav"]).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while names(folder.path()).len() < 2 {
        assert!(Instant::now() < deadline, "nothing is begun");
        std::thread::yield_now();
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(names(folder.path()), ["long.wav"]);
}
