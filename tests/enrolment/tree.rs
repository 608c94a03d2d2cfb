//! A tree of processes in a folder of its own.
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub const PASSPHRASE: &str = "bốn từ không liên quan";

/// A folder with a tree and its processes, which end with it.
pub struct Tree {
    folder: tempfile::TempDir,
    /// With the folder that each runs on.
    running: Vec<(String, Child)>,
}

impl Drop for Tree {
    fn drop(&mut self) {
        for (_, child) in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Tree {
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// Of roots made with further words.
    pub fn with(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("passphrase"), format!("{PASSPHRASE}\n")).unwrap();
        let tree = Self { folder, running: Vec::new() };
        let (place, passphrase) = (tree.path("tree"), tree.path("passphrase"));
        let done = tree.loa(&[&["init", &place, "--area", "vn", "--passphrase-file", &passphrase], more].concat());
        assert!(done.status.success(), "{done:?}");
        tree
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    pub fn loa(&self, words: &[&str]) -> Output {
        let program = env!("CARGO_BIN_EXE_loa");
        Command::new(program).args(words).env("LANG", "C").stdin(Stdio::null()).output().unwrap()
    }

    pub fn enrol(&self, words: &[&str]) -> Output {
        let (root, passphrase) = (self.path("tree/carry-away/main.root"), self.path("passphrase"));
        let head = ["enrol", "--root", &root, "--passphrase-file", &passphrase];
        self.loa(&[&head[..], words].concat())
    }

    /// Makes a node's folder with the root at hand.
    pub fn made(&self, role: &str, area: &str, name: &str, parent: &str, folder: &str, more: &[&str]) {
        let words = ["--role", role, "--area", area, "--name", name, "--parent", parent, "--folder", folder];
        let done = self.enrol(&[&words, more].concat());
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// JSON of a command that speaks to the origin; the exit code too.
    pub fn ask(&self, words: &[&str]) -> (Value, Option<i32>) {
        let origin = self.path("tree/origin");
        let done = self.loa(&[&["--json"], words, &["--data", &origin]].concat());
        let text = String::from_utf8(done.stdout).unwrap();
        (
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text} {:?}", done.stderr)),
            done.status.code(),
        )
    }

    pub fn run(&mut self, data: &str) {
        let log = fs::OpenOptions::new().create(true).append(true).open(Path::new(data).join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_loa"));
        command.args(["run", "--config", &format!("{data}/loa.toml")]).stderr(log).stdin(Stdio::null());
        self.running.push((data.to_owned(), command.spawn().unwrap()));
    }

    /// Kills what runs there.
    pub fn stop(&mut self, data: &str) {
        for (_, child) in self.running.iter_mut().filter(|(running, _)| running == data) {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.running.retain(|(running, _)| running != data);
    }

    /// Six seconds of a WAV file.
    pub fn sound(&self) -> String {
        let file = self.path("a.wav");
        let (channels, sample_format) = (1, hound::SampleFormat::Int);
        let spec = hound::WavSpec { channels, sample_rate: 8_000, bits_per_sample: 16, sample_format };
        let mut writer = hound::WavWriter::create(&file, spec).unwrap();
        (0..48_000).for_each(|at| writer.write_sample(((at % 100) * 200 - 10_000) as i16).unwrap());
        writer.finalize().unwrap();
        file
    }

    /// What the origin knows of all nodes.
    pub fn nodes(&self) -> Vec<Value> {
        self.ask(&["nodes"]).0["nodes"].as_array().cloned().unwrap_or_default()
    }
}

/// Gives a node ports of its own.
pub fn port(data: &str, table: &str, listen: &str) {
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

/// That a node may listen on, for UDP or TCP.
pub fn address() -> String {
    format!("127.0.0.1:{}", crate::ports::free(1))
}

pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
