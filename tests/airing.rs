//! A node that airs by its timetable and a loudspeaker that hears it: processes of the program, spoken to as people do.

mod ports;

use loa::io::identity::{NewNode, Root};
use loa::node::Role;
use serde_json::{Value, json};
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Real time that a test waits at most for what must come; it ends as soon as it has.
const PATIENCE: Duration = Duration::from_secs(60);

struct Tree {
    folder: TempDir,
    http: reqwest::Client,
    api: u16,
    processes: Vec<(&'static str, Child)>,
}

impl Drop for Tree {
    fn drop(&mut self) {
        for (_, process) in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Tree {
    async fn start() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().expect("a folder");
        let root = Root::generate();
        let new = |name: &str, role, area: &str, authority: Option<&str>| NewNode {
            role,
            area: area.parse().expect("an area"),
            name: name.to_owned(),
            authority: authority.map(str::to_owned),
        };
        let provision = |name: &str, node: NewNode| root.provision(&folder.path().join(name), &node).expect("a node");
        provision("origin", new("origin", Role::Relay, "vn", Some("main")));
        provision("loa", new("loa", Role::Speaker, "vn/01", None));
        let (sessions, api) = (ports::free(1), ports::free(1));
        write(
            folder.path(),
            "policies.json",
            r#"[{"area": "vn", "quiet": {"from": "00:00", "until": "00:00"}, "approval": true}]"#,
        );
        std::fs::write(folder.path().join("tone.wav"), wav(20.0)).expect("a file");
        let origin = format!(
            "[node]\ndata = \"origin\"\nzone = \"UTC\"\n[children]\nlisten = \"127.0.0.1:{sessions}\"\n[sources]\nauthority = \"main\"\n\
             [api]\nlisten = \"127.0.0.1:{api}\"\n[admin]\nlisten = \"127.0.0.1:{}\"\n\
             [timetable]\npolicies = \"policies.json\"\n[timetable.streams]\ntone = \"pipe:cat tone.wav\"\nbroken = \"pipe:exit 3\"\n",
            ports::free(1)
        );
        let speaker = format!(
            "[node]\ndata = \"loa\"\n[parent]\naddresses = [\"127.0.0.1:{sessions}\"]\n[playout]\ndevice = \"null\"\n\
             [admin]\nlisten = \"127.0.0.1:{}\"\n",
            ports::free(1)
        );
        write(folder.path(), "origin.toml", &origin);
        write(folder.path(), "loa.toml", &speaker);
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let mut tree = Self { folder, http, api, processes: Vec::new() };
        tree.run("origin");
        tree.run("loa");
        tree.until("the loudspeaker is idle", async |tree| tree.speaker().await["state"] == "idle").await;
        tree
    }

    fn run(&mut self, name: &'static str) {
        let config = self.folder.path().join(format!("{name}.toml"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_loa"));
        command.arg("run").arg("--config").arg(config).env("LANG", "C").stdout(Stdio::null());
        self.processes.push((name, command.spawn().expect("loa runs")));
    }

    /// The power is cut.
    fn kill(&mut self, name: &str) {
        let at = self.processes.iter().position(|(running, _)| *running == name).expect("it runs");
        let (_, mut process) = self.processes.remove(at);
        process.kill().and_then(|()| process.wait()).expect("it ends");
    }

    /// As a person at the origin says it.
    fn loa(&self, words: &[&str]) -> Output {
        let config = self.folder.path().join("origin.toml");
        let mut command = Command::new(env!("CARGO_BIN_EXE_loa"));
        command.env_remove("LC_ALL").env("LANG", "C").current_dir(self.folder.path());
        command.args(words).arg("--config").arg(config).output().expect("loa runs")
    }

    async fn get(&self, path: &str) -> Option<Value> {
        let token = std::fs::read_to_string(self.folder.path().join("origin/api.token")).ok()?;
        let url = format!("http://127.0.0.1:{}{path}", self.api);
        self.http.get(url).bearer_auth(token.trim()).send().await.ok()?.json().await.ok()
    }

    async fn speaker(&self) -> Value {
        let nodes = self.get("/v1/nodes").await.unwrap_or_default();
        let all = nodes["nodes"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|node| node["name"] == "loa").unwrap_or_default()
    }

    /// Broadcasts of a title, and their states.
    async fn broadcasts(&self, title: &str) -> Vec<(String, String)> {
        let all = self.get("/v1/broadcasts").await.unwrap_or_default();
        let of = |one: &Value| Some((one["id"].as_str()?.to_owned(), one["state"].as_str()?.to_owned()));
        let all = all["broadcasts"].as_array().cloned().unwrap_or_default();
        all.iter().filter(|one| one["title"] == title).filter_map(of).collect()
    }

    /// From yesterday, since midnight may come while it is tested.
    async fn plan(&self) -> Value {
        let from = (chrono::Utc::now() - chrono::TimeDelta::days(1)).format("%Y-%m-%d");
        self.get(&format!("/v1/timetable/plan?from={from}&days=3")).await.unwrap_or_default()
    }

    /// What `loa timetable` shows of a title.
    async fn shown(&self, title: &str) -> String {
        let plan = self.plan().await;
        let rows = plan["rows"].as_array().cloned().unwrap_or_default();
        let row = rows.iter().find(|row| row[5] == title);
        row.and_then(|row| row[6].as_str()).unwrap_or("-").to_owned()
    }

    async fn until(&self, what: &str, is: impl AsyncFn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is(self).await {
            if Instant::now() >= deadline {
                let plan = self.plan().await;
                panic!("{what}: not within {PATIENCE:?}; {}", plan["rows"]);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, text).expect("a file");
    file
}

fn wav(seconds: f64) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    let sample_format = hound::SampleFormat::Int;
    let spec = hound::WavSpec { channels: 1, sample_rate: 16_000, bits_per_sample: 16, sample_format };
    let mut writer = hound::WavWriter::new(&mut out, spec).expect("a header");
    for n in 0..(seconds * 16_000.0) as u32 {
        let phase = f64::from(n) * 300.0 / 16_000.0 * std::f64::consts::TAU;
        writer.write_sample((phase.sin() * 9_000.0) as i16).expect("a sample");
    }
    writer.finalize().expect("a file");
    out.into_inner()
}

fn entry(number: u8, title: &str, plays: Value, at: chrono::DateTime<chrono::Utc>) -> Value {
    json!({
        "id": format!("0199f3c1-0000-7000-8000-0000000000{number:02}"), "title": title, "areas": ["vn"],
        "priority": "normal", "plays": plays, "when": {"once": at.format("%Y-%m-%dT%H:%M:%S").to_string()},
        "zone": "UTC", "approver": "Nguyễn Văn An", "created": "2026-11-20T08:00:00Z",
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timetable_is_aired_by_itself_once_each_through_a_restart_and_as_people_change_it() {
    let mut tree = Tree::start().await;
    let (file, late) = (wav(12.0), wav(3.5));
    let digest = |bytes: &[u8]| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let upload = async |tree: &Tree, bytes: Vec<u8>| {
        let token = std::fs::read_to_string(tree.folder.path().join("origin/api.token")).expect("a token");
        let url = format!("http://127.0.0.1:{}/v1/media?name=tin.wav", tree.api);
        let answer = tree.http.post(url).bearer_auth(token.trim()).body(bytes).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{:?}", answer.text().await);
    };
    upload(&tree, file.clone()).await;
    // A slot of 2.5 s is too short for the file.
    let media = |bytes: &[u8], micros: i64| json!({"media": digest(bytes), "length_us": micros});
    // As entries state it: in whole seconds.
    let now = chrono::SubsecRound::trunc_subsecs(chrono::Utc::now(), 0);
    let at = |seconds: i64| now + chrono::TimeDelta::seconds(seconds);
    let live = |name: &str| json!({"live": name, "limit_us": 10_000_000});
    let mut entries = vec![
        entry(1, "sáng", media(&file, 12_000_000), at(60)),
        entry(2, "trưa", media(&file, 12_000_000), at(600)),
        entry(3, "chiều", media(&file, 12_000_000), at(700)),
        entry(4, "thiếu", media(&late, 4_000_000), at(800)),
        entry(5, "dài", media(&file, 2_500_000), at(900)),
        entry(6, "trực tiếp", live("tone"), at(80)),
        entry(7, "hỏng", live("broken"), at(95)),
    ];
    let mut draft = entry(8, "nháp", media(&file, 12_000_000), at(1_000));
    draft["approver"].take();
    draft.as_object_mut().expect("an object").remove("approver");
    entries.push(draft);
    let put = |tree: &Tree, entries: &[Value], more: &[&str]| {
        let file = write(tree.folder.path(), "new.json", &Value::from(entries.to_vec()).to_string());
        let file = file.display().to_string();
        let words = ["timetable", "set", &file, "--by", "Trần Thị Bình"];
        tree.loa(&[&words[..], more].concat())
    };
    let dry = put(&tree, &entries, &["--dry-run"]);
    let told = text(&dry.stdout);
    assert_eq!(dry.status.code(), Some(1), "something is refused: {told} {}", text(&dry.stderr));
    assert!(told.contains("sounds ") && told.contains("sáng  (vn)"), "{told}");
    assert!(told.contains("[timetable.media_long]") && told.contains("[timetable.not_approved]"), "{told}");
    let doubts = |told: &str| told.lines().filter(|line| line.contains("[timetable.doubt_")).count();
    assert!(told.contains("[timetable.doubt_media]") && doubts(&told) == 1, "{told}");
    let doubtful =
        [entry(9, "không nguồn", live("nobody"), at(950)), entry(10, "đã qua", media(&file, 12_000_000), at(-90_000))];
    let told = text(&put(&tree, &[&entries[..], &doubtful].concat(), &["--dry-run"]).stdout);
    assert!(told.contains("[timetable.doubt_stream]") && told.contains("[timetable.doubt_past]"), "{told}");
    assert_eq!(tree.get("/v1/timetable").await.expect("an answer")["version"], 0, "a dry run changes nothing");
    put(&tree, &entries, &[]);
    let standing = tree.get("/v1/timetable").await.expect("an answer");
    assert_eq!((&standing["version"], &standing["by"]), (&json!(1), &json!("Trần Thị Bình")));

    tree.until("all are given", async |tree| {
        tree.shown("sáng").await == "given"
            && tree.shown("trưa").await == "given"
            && tree.shown("chiều").await == "given"
    })
    .await;
    assert_eq!(tree.shown("dài").await, "timetable.media_long");
    assert_eq!(tree.shown("nháp").await, "timetable.not_approved");
    tree.until("a missing file is told", async |tree| tree.shown("thiếu").await == "refused media.unknown").await;
    let before = [tree.broadcasts("sáng").await, tree.broadcasts("trưa").await].concat();

    // The power is cut at the origin; what it promised it knows again, and gives nothing twice.
    tree.kill("origin");
    tree.run("origin");
    tree.until("it is back", async |tree| tree.shown("sáng").await == "given").await;
    assert_eq!([tree.broadcasts("sáng").await, tree.broadcasts("trưa").await].concat(), before);

    tree.until("a trouble stands for the missing file", async |tree| {
        tree.get("/v1/events").await.unwrap_or_default().to_string().contains("timetable.media")
    })
    .await;
    upload(&tree, late.clone()).await;
    tree.until("the file that came is given", async |tree| tree.shown("thiếu").await == "given").await;

    tree.until("it sounds at its time", async |tree| tree.speaker().await["sounding"] == before[0].0.as_str()).await;
    let began = tree.speaker().await["first_at_us"].as_i64().expect("it says when it began");
    let late = (began - at(60).timestamp_micros()) / 1_000;
    assert!((-500..3_500).contains(&late), "it sounded {late} ms after its time");
    // What is changed and what is removed is taken back; the rest is left alone, and what sounds goes on.
    entries[1]["title"] = json!("trưa mới");
    entries.remove(2);
    let changed = text(&put(&tree, &entries, &[]).stdout);
    let stops = |title: &str| changed.lines().any(|line| line.starts_with("stops") && line.contains(title));
    assert!(stops("chiều") && stops("trưa") && !stops("sáng"), "{changed}");
    tree.until("the change is carried out", async |tree| {
        let state = |all: Vec<(String, String)>| all.first().map(|(_, state)| state.clone()).unwrap_or_default();
        state(tree.broadcasts("trưa").await) == "cancelled"
            && state(tree.broadcasts("chiều").await) == "cancelled"
            && state(tree.broadcasts("trưa mới").await) == "known"
    })
    .await;
    assert_eq!(tree.broadcasts("sáng").await.len(), 1);

    tree.until("a live source speaks in its slot", async |tree| tree.shown("trực tiếp").await == "sounding").await;
    tree.until("and ends with it", async |tree| tree.shown("trực tiếp").await == "aired").await;
    let over = (chrono::Utc::now() - at(90)).num_milliseconds();
    assert!((-1_500..10_000).contains(&over), "it was over {over} ms after its slot");
    assert_eq!(tree.broadcasts("trực tiếp").await.len(), 1);
    tree.until("a source that fails is told", async |tree| {
        tree.get("/v1/events").await.unwrap_or_default().to_string().contains("timetable.live")
    })
    .await;
    tree.until("and its slot ends", async |tree| tree.shown("hỏng").await.starts_with("missed")).await;
    let register = "code,name:vi,kind,zone\nvn,Việt Nam,country,Asia/Ho_Chi_Minh\nvn/01,Hà Nội,city,\n";
    std::fs::write(tree.folder.path().join("areas.csv"), register).expect("written");
    let register = tree.folder.path().join("areas.csv").display().to_string();
    let done = tree.loa(&["area", "set", &register, "--by", "Trần Thị Bình"]);
    assert_eq!(done.status.code(), Some(0), "{}{}", text(&done.stdout), text(&done.stderr));
    let policies = json!([{"area": "vn/01", "gap_minutes": 1}, {"area": "vn/10", "gap_minutes": 1}]);
    let policies = write(tree.folder.path(), "lost.json", &policies.to_string()).display().to_string();
    let told = text(&tree.loa(&["timetable", "policies", &policies, "--dry-run"]).stdout);
    assert!(told.contains("no area vn/10") && !told.contains("no area vn/01"), "{told}");
    let wrong = tree.loa(&["timetable", "set", "policies.json"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stderr).contains("[read.foreign]"), "{}", text(&wrong.stderr));
}
