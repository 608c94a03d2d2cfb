//! A provisioned node in a folder of its own, and the real program started on it.
use loa::io::identity::{NewNode, Root};
use loa::node::Role;
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Real time that a test waits at most for what must come; it ends as soon as it has.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Place {
    pub folder: TempDir,
    pub admin: SocketAddr,
}

impl Place {
    /// An origin with children, sources and an API; all ports free ones of loopback.
    pub fn origin() -> Self {
        let place = Self::of(Role::Relay, Some("national"));
        let api = free();
        place.configure(&format!(
            "[children]\nlisten = \"127.0.0.1:0\"\n\n[sources]\nauthority = \"national\"\n\n[api]\nlisten = \"{api}\"\n"
        ));
        place
    }

    /// Its identity and nothing else.
    pub fn of(role: Role, authority: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        provision(&Root::generate(), &folder.path().join("data"), role, authority);
        Self { folder, admin: free() }
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn file(&self) -> PathBuf {
        self.folder.path().join("loa.toml")
    }

    /// Writes the configuration: the data folder, the admin listener, and these sections.
    pub fn configure(&self, sections: &str) {
        let text = format!("[node]\ndata = \"data\"\n\n[admin]\nlisten = \"{}\"\n\n{sections}", self.admin);
        fs::write(self.file(), text).unwrap();
    }

    /// `loa WORDS --config FILE`, to its end.
    pub fn loa(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loa"));
        command.args(words).arg("--config").arg(self.file()).env("LANG", "C");
        command.env_remove("LC_ALL").env_remove("LC_MESSAGES").env_remove("LOA_LOG").env_remove("NOTIFY_SOCKET");
        command
    }

    /// `loa run`, which ends with the test; its log goes to a file of the folder.
    pub fn run(&self) -> Process {
        self.run_with(self.command(&["run"]))
    }

    pub fn run_with(&self, mut command: Command) -> Process {
        let log = self.folder.path().join("log");
        let file = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        Process { child: command.stdout(Stdio::null()).stderr(file).spawn().unwrap(), log }
    }

    /// What the node says of itself; `None` while nobody answers.
    pub fn own(&self) -> Option<Value> {
        serde_json::from_str(&get(self.admin, "/v1/doctor", None)?).ok()
    }

    pub fn metric(&self, line: &str) -> bool {
        get(self.admin, "/metrics", None).is_some_and(|text| text.lines().any(|shown| shown == line))
    }

    /// Waits for the node's troubles to be these.
    pub fn until_troubled_by(&self, codes: &[&str]) {
        let mut last = None;
        until(&format!("troubles are {codes:?}"), || {
            last = self.own();
            let troubles = last.as_ref().and_then(|own| own["troubles"].as_array().cloned()).unwrap_or_default();
            last.is_some()
                && troubles.len() == codes.len()
                && codes.iter().all(|code| troubles.contains(&Value::from(*code)))
        });
    }
}

pub fn provision(root: &Root, data: &Path, role: Role, authority: Option<&str>) {
    let authority = authority.map(str::to_owned);
    let node = NewNode { role, area: "vn".parse().unwrap(), name: "node".into(), authority };
    root.provision(data, &node).unwrap();
}

pub struct Process {
    pub child: Child,
    log: PathBuf,
}

impl Process {
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        until("the process ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    pub fn until_says(&self, text: &str) {
        until(&format!("the log says {text:?}:\n{}", self.log()), || self.log().contains(text));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "not within {} s: {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}{}", text(&output.stdout), text(&output.stderr));
    })
}

/// Codes of the findings of this level.
pub fn codes(answer: &Value, level: &str) -> Vec<String> {
    let findings = answer["findings"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let wanted = findings.iter().filter(|finding| finding["level"] == level);
    wanted.map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

pub fn free() -> SocketAddr {
    ([127, 0, 0, 1], crate::ports::free(1)).into()
}

/// The body of an answer with status 200.
pub fn get(address: SocketAddr, path: &str, token: Option<&str>) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: loa\r\n{token}Connection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
}
