//! A tree made by the command line: an origin and a loudspeaker, each a process that says all it can.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub const PASSPHRASE: &str = "sáu từ không hề liên quan";

pub struct Tree {
    folder: TempDir,
    pub running: Vec<Child>,
    /// Of the origin and the loudspeaker.
    pub admin: [SocketAddr; 2],
    pub api: SocketAddr,
    /// All that was answered, by commands and over HTTP.
    pub told: Vec<String>,
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Tree {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("passphrase"), format!("{PASSPHRASE}\n")).unwrap();
        let mut tree = Self { folder, running: Vec::new(), admin: [free(), free()], api: free(), told: Vec::new() };
        let (made, passphrase) = (tree.path("tree"), tree.path("passphrase"));
        tree.loa(&["init", &made, "--area", "vn", "--passphrase-file", &passphrase]);
        assert!(Path::new(&made).join("origin/node.key").exists(), "{:?}", tree.told);
        tree
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// A command to its end; what it said.
    pub fn loa(&mut self, words: &[&str]) -> String {
        let program = env!("CARGO_BIN_EXE_loa");
        let done = Command::new(program).args(words).envs(ALL).stdin(Stdio::null()).output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        self.told.push(text.clone());
        text
    }

    pub fn enrol(&mut self, words: &[&str]) {
        let (root, passphrase) = (self.path("tree/carry-away/main.root"), self.path("passphrase"));
        let text = self.loa(&[&["enrol", "--root", &root, "--passphrase-file", &passphrase], words].concat());
        assert!(Path::new(&self.path("pole")).join("node.key").exists(), "{text}");
    }

    /// Ports of loopback that are free, and everything in the log.
    pub fn configure(&self) {
        let sessions = free();
        let [origin, pole] = self.admin.map(|admin| format!("[admin]\nlisten = \"{admin}\"\n"));
        let node = "[node]\ndata = \".\"\n\n";
        let speaks = format!(
            "[children]\nlisten = \"{sessions}\"\n\n[sources]\nauthority = \"national\"\n\n[api]\nlisten = \"{}\"\n\n",
            self.api
        );
        let hears = format!("[parent]\naddresses = [\"{sessions}\"]\n\n[playout]\ndevice = \"null\"\n\n");
        fs::write(self.path("tree/origin/loa.toml"), format!("{node}{speaks}{origin}")).unwrap();
        fs::write(self.path("pole/loa.toml"), format!("{node}{hears}{pole}")).unwrap();
    }

    pub fn run(&mut self, data: &str) {
        let log = fs::File::create(Path::new(data).join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_loa"));
        command.args(["run", "--config", &format!("{data}/loa.toml")]).envs(ALL).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.running.push(command.spawn().unwrap());
    }

    pub fn log(&self, data: &str) -> String {
        fs::read_to_string(Path::new(data).join("log")).unwrap_or_default()
    }

    /// SIGHUP to the node that was started as the nth.
    pub fn hang_up(&self, at: usize) {
        let sent = Command::new("kill").args(["-HUP", &self.running[at].id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    pub fn stop(&mut self) {
        for child in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// A second of sound.
    pub fn sound(&self) -> String {
        let file = self.path("a.wav");
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 8_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(&file, spec).unwrap();
        (0..16_000).for_each(|at| writer.write_sample(((at % 100) * 200 - 10_000) as i16).unwrap());
        writer.finalize().unwrap();
        file
    }

    /// Logs and answers, with their names.
    pub fn everything(&self) -> Vec<(String, String)> {
        let logs = ["tree/origin", "pole"].map(|data| (format!("the log of {data}"), self.log(&self.path(data))));
        let told = self.told.iter().enumerate().map(|(at, text)| {
            let head: String = text.chars().take(60).collect();
            (format!("answer {at} ({head:?})"), text.clone())
        });
        logs.into_iter().chain(told).collect()
    }
}

pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn free() -> SocketAddr {
    ([127, 0, 0, 1], crate::ports::free(1)).into()
}

/// The body of an answer with status 200.
pub fn get(address: SocketAddr, path: &str, token: Option<&str>) -> Option<String> {
    let answer = answer(address, path, token)?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
}

/// The whole answer.
pub fn answer(address: SocketAddr, path: &str, token: Option<&str>) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: loa\r\n{token}Connection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Nothing is left unsaid.
const ALL: [(&str, &str); 2] = [("LANG", "C"), ("LOA_LOG", "trace")];
