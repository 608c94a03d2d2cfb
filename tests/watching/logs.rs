//! What a node says on standard error: little, and each warning with a code that does not change.
use loa::io::identity::{NewNode, Root};
use loa::node::Role;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

#[test]
fn every_warning_in_the_source_has_a_code() {
    let mut found = 0;
    let mut folders = vec![crate::file("src")];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found += check(&path, &std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    assert!(found > 10, "{found} warnings");
}

fn check(path: &Path, text: &str) -> usize {
    let calls = ["tracing::warn!(", "tracing::error!("].into_iter().flat_map(|call| text.split(call).skip(1));
    let mut found = 0;
    for call in calls {
        let first = call.trim_start();
        let coded = first.starts_with("code,") || first.starts_with("code = ");
        assert!(coded, "{}: no code in: {}", path.display(), first.lines().next().unwrap_or(""));
        found += 1;
    }
    found
}

/// A node whose journal was cut short by a crash.
struct Node {
    process: Child,
    log: BufReader<ChildStderr>,
    _folder: tempfile::TempDir,
}

impl Node {
    fn start(format: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("node");
        let new = NewNode { role: Role::Relay, area: "vn".parse().unwrap(), name: "origin".into(), authority: None };
        Root::generate().provision(&data, &new).unwrap();
        let journal = std::fs::read_dir(data.join("journal")).unwrap().next().unwrap().unwrap().path();
        std::fs::OpenOptions::new().append(true).open(journal).unwrap().write_all(&[7; 3]).unwrap();
        let file = folder.path().join("loa.toml");
        let listen = "listen = \"127.0.0.1:0\"";
        std::fs::write(&file, format!("[node]\ndata = \"node\"\n[children]\n{listen}\n[admin]\n{listen}\n")).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_loa"))
            .args(["run", "--config"])
            .arg(&file)
            .env_remove("LOA_LOG")
            .env("LOA_LOG_FORMAT", format)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(process.stderr.take().unwrap());
        Self { process, log, _folder: folder }
    }

    /// All lines up to the one that says that it runs.
    fn beginning(&mut self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        while !lines.last().is_some_and(|line| line.contains("running")) {
            let mut line = String::new();
            let count = self.log.read_line(&mut line).unwrap();
            assert!(count > 0, "it ended: {lines:?}");
            lines.push(line.trim_end().to_owned());
        }
        lines
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_log_in_json_has_a_code_in_every_warning() {
    let lines = Node::start("json").beginning();
    let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).expect(line)).collect();
    let loud = lines.iter().filter(|line| line["level"] == "WARN" || line["level"] == "ERROR");
    let codes: Vec<&str> = loud.map(|line| line["fields"]["code"].as_str().unwrap_or("none")).collect();
    assert!(codes.contains(&"journal.cut") && !codes.contains(&"none"), "{codes:?}");
    assert!(lines.len() <= 6, "a node begins quietly: {lines:?}");
}

#[test]
fn a_log_for_people_has_the_code_in_the_line() {
    let lines = Node::start("text").beginning();
    let line = lines.iter().find(|line| line.contains("WARN") && line.contains("cut short")).expect("a warning");
    assert!(line.contains("code=\"journal.cut\"") && !line.contains('\x1b'), "{line}");
}
