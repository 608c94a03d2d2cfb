//! A new tree by the command line alone, as an operator makes it: roots, an origin, a relay and a loudspeaker, each a
//! process of its own; rights renewed and revoked while they run.

use serde_json::Value;
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PASSPHRASE: &str = "bốn từ không liên quan";

/// A folder with a tree and its processes, which end with it.
struct Tree {
    folder: tempfile::TempDir,
    running: Vec<Child>,
}

impl Drop for Tree {
    fn drop(&mut self) {
        for child in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Tree {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("passphrase"), format!("{PASSPHRASE}\n")).unwrap();
        let tree = Self { folder, running: Vec::new() };
        let done =
            tree.loa(&["init", &tree.path("tree"), "--area", "vn", "--passphrase-file", &tree.path("passphrase")]);
        assert!(done.status.success(), "{done:?}");
        tree
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn loa(&self, words: &[&str]) -> Output {
        let program = env!("CARGO_BIN_EXE_loa");
        Command::new(program).args(words).env("LANG", "C").stdin(Stdio::null()).output().unwrap()
    }

    fn enrol(&self, words: &[&str]) -> Output {
        let (root, passphrase) = (self.path("tree/carry-away/main.root"), self.path("passphrase"));
        let head = ["enrol", "--root", &root, "--passphrase-file", &passphrase];
        self.loa(&[&head[..], words].concat())
    }

    /// JSON of a command that speaks to the origin; the exit code too.
    fn ask(&self, words: &[&str]) -> (Value, Option<i32>) {
        let origin = self.path("tree/origin");
        let done = self.loa(&[&["--json"], words, &["--data", &origin]].concat());
        let text = String::from_utf8(done.stdout).unwrap();
        (
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text} {:?}", done.stderr)),
            done.status.code(),
        )
    }

    fn run(&mut self, data: &str) {
        let log = fs::File::create(Path::new(data).join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_loa"));
        command.args(["run", "--config", &format!("{data}/loa.toml")]).stderr(log).stdin(Stdio::null());
        self.running.push(command.spawn().unwrap());
    }
}

/// Gives a node ports of its own.
fn port(data: &str, table: &str, listen: &str) {
    let file = PathBuf::from(data).join("loa.toml");
    let text = fs::read_to_string(&file).unwrap();
    let line = format!("listen = \"{listen}\"\n");
    let head = format!("[{table}]\n");
    let text = match text.split_once(&head) {
        Some((before, after)) => {
            let after = after.strip_prefix("listen = \"0.0.0.0:7460\"\n").unwrap_or(after);
            format!("{before}{head}{line}{after}")
        }
        None => format!("{text}\n{head}{line}"),
    };
    fs::write(file, text).unwrap();
}

fn udp() -> String {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn tcp() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_tree_made_by_the_command_line_speaks_until_its_right_is_revoked() {
    let mut tree = Tree::new();
    let (origin, relay, pole) = (tree.path("tree/origin"), tree.path("relay"), tree.path("pole"));
    let (sessions, below) = (udp(), udp());
    let made = |done: Output| assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    made(tree.enrol(&[
        "--role",
        "relay",
        "--area",
        "vn/01",
        "--name",
        "Hà Nội",
        "--parent",
        &sessions,
        "--folder",
        &relay,
    ]));
    made(tree.enrol(&[
        "--role",
        "speaker",
        "--area",
        "vn/01/00004",
        "--name",
        "Cột 12",
        "--parent",
        &below,
        "--folder",
        &pole,
    ]));
    port(&origin, "children", &sessions);
    port(&origin, "api", &tcp());
    port(&relay, "children", &below);
    for data in [&origin, &relay, &pole] {
        port(data, "admin", &tcp());
        tree.run(data);
    }
    until("the origin answers", || tree.loa(&["--json", "status", "--data", &origin]).status.success());
    until("the loudspeaker is known", || {
        let (status, _) = tree.ask(&["status"]);
        let nodes = status["nodes"]["nodes"].as_array().cloned().unwrap_or_default();
        nodes.iter().any(|node| node["name"] == "Cột 12" && node["state"] == "idle" && node["area"] == "vn/01/00004")
    });

    // Renewed while the origin runs: it takes the new orders by its API, and no restart is needed.
    let rights = |tree: &Tree| tree.ask(&["revoke"]).0["authorities"].as_array().cloned().unwrap_or_default();
    let before = rights(&tree);
    assert_eq!(
        (before.len(), before[0]["name"].as_str(), before[0]["alive"].as_bool()),
        (1, Some("national"), Some(true))
    );
    made(tree.enrol(&["--renew", &origin]));
    let after = rights(&tree);
    assert_eq!(after.len(), 2, "the grant once more");
    assert!(after[1]["until_us"].as_i64() > before[0]["until_us"].as_i64());

    let sound = tree.path("a.wav");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(&sound, spec).unwrap();
    (0..8_000).for_each(|at| writer.write_sample(((at % 100) * 200 - 10_000) as i16).unwrap());
    writer.finalize().unwrap();
    let (aired, code) = tree.ask(&["air", &sound, "--area", "vn/01"]);
    assert_eq!(code, Some(0), "{aired}");

    // Without a root nobody takes a right away; with it, it is gone at once.
    let key = before[0]["key"].as_str().unwrap().to_owned();
    assert_eq!(tree.ask(&["revoke", &key]).0["code"], "revoke.root");
    let (root, passphrase) = (tree.path("tree/carry-away/main.root"), tree.path("passphrase"));
    let (done, code) = tree.ask(&["revoke", &key, "--root", &root, "--passphrase-file", &passphrase]);
    assert_eq!(code, Some(0), "{done}");
    assert!(rights(&tree).iter().all(|right| right["alive"] == false));
    let (refused, code) = tree.ask(&["air", &sound, "--area", "vn/01"]);
    assert_eq!((refused["code"].as_str(), code), (Some("order.revoked"), Some(1)), "{refused}");
    assert_eq!(tree.ask(&["revoke", "0000", "--root", &root]).0["code"], "revoke.unknown");
}
