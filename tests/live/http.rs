//! From an HTTP body to what a loudspeaker lets out: a real origin with its API, a real speaker, real time.

use loa::audio::{Input, Source};
use loa::config::Config;
use loa::control::serve::{self, Running};
use loa::io::Node;
use loa::io::identity::{NewNode, Root};
use loa::node::Role;
use loa::node::trunk::What;
use serde_json::Value;
use std::io::{Cursor, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::broadcast::Receiver;

struct Tree {
    origin: Running,
    speaker: Option<Node>,
    events: Receiver<loa::node::trunk::Event>,
    http: reqwest::Client,
    token: String,
    folder: TempDir,
}

impl Tree {
    async fn start() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let root = Root::generate();
        let node = |name: &str, area: &str, role, authority: Option<&str>| {
            let node =
                NewNode { role, area: area.parse().unwrap(), name: name.into(), authority: authority.map(Into::into) };
            root.provision(&folder.path().join(name), &node).unwrap();
        };
        node("origin", "vn", Role::Relay, Some("national"));
        node("speaker", "vn/01/00001", Role::Speaker, None);
        let ports = "[children]\nlisten = \"127.0.0.1:0\"\n[sources]\nauthority = \"national\"\n[api]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n";
        let config = |text: String| Config::parse(&text, &folder.path().join("loa.toml")).unwrap();
        let origin = serve::start(&config(format!("[node]\ndata = \"origin\"\n{ports}"))).await.unwrap();
        let parent = origin.handle.listening()[0];
        let text = format!(
            "[node]\ndata = \"speaker\"\n[parent]\naddresses = [\"{parent}\"]\n[playout]\ndevice = \"wav:out.wav\"\nrate_error_ppm = 40.0\n[admin]\nlisten = \"127.0.0.1:0\"\n"
        );
        let speaker = config(text);
        let speaker = tokio::task::spawn_blocking(move || Node::start(&speaker).unwrap()).await.unwrap();
        let events = speaker.handle().events();
        let token = std::fs::read_to_string(folder.path().join("origin/api.token")).unwrap().trim().to_owned();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let tree = Self { origin, speaker: Some(speaker), events, http, token, folder };
        tree.until("the speaker is idle", async |tree| {
            let nodes = tree.get("/v1/nodes").await.1;
            nodes["nodes"].as_array().unwrap().iter().any(|node| node["role"] == "speaker" && node["state"] == "idle")
        })
        .await;
        tree
    }

    async fn until(&self, what: &str, holds: impl AsyncFn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !holds(self).await {
            assert!(Instant::now() < deadline, "{what}: not within 30 s");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.origin.api.unwrap())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.http.get(self.url(path)).bearer_auth(&self.token)).await
    }

    /// The whole body at once.
    async fn post(&self, query: &str, body: Vec<u8>) -> (u16, Value) {
        answer(self.http.post(self.url(&format!("/v1/live?{query}"))).bearer_auth(&self.token).body(body)).await
    }

    /// Begins a body that goes on.
    fn begin(&self, query: &str) -> Stream {
        let mut stream = TcpStream::connect(self.origin.api.unwrap()).unwrap();
        let head = format!(
            "POST /v1/live?{query} HTTP/1.1\r\nHost: loa\r\nAuthorization: Bearer {}\r\nTransfer-Encoding: chunked\r\n\r\n",
            self.token
        );
        stream.write_all(head.as_bytes()).unwrap();
        Stream(stream)
    }

    async fn source(&self, id: &str) -> Value {
        self.get(&format!("/v1/live/{id}")).await.1
    }

    /// The same, once the request has come in.
    async fn known(&self, id: &str) -> Value {
        let wait = async {
            loop {
                let source = self.source(id).await;
                if !source["state"].is_null() {
                    return source;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait).await.expect("a request that was sent comes in")
    }

    /// How the broadcast ended at the speaker.
    async fn ended(&mut self, broadcast: &str) -> bool {
        let wait = async {
            loop {
                if let What::Ended { broadcast: id, whole, .. } = self.events.recv().await.unwrap().what
                    && id.to_string() == broadcast
                {
                    return whole == Some(true);
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it ends at the speaker")
    }

    /// What the speaker let out, once it has stopped.
    async fn heard(&mut self) -> Vec<f32> {
        let speaker = self.speaker.take().unwrap();
        tokio::task::spawn_blocking(move || speaker.stop()).await.unwrap();
        let mut reader = hound::WavReader::open(self.folder.path().join("out.wav")).unwrap();
        assert_eq!(reader.spec().channels, 1);
        reader.samples::<i16>().map(|sample| f32::from(sample.unwrap()) / 32_768.0).collect()
    }

    async fn stop(mut self) {
        self.origin.stop().await;
        if let Some(speaker) = self.speaker.take() {
            tokio::task::spawn_blocking(move || speaker.stop()).await.unwrap();
        }
    }
}

struct Stream(TcpStream);

impl Stream {
    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).unwrap();
        self.0.write_all(bytes).unwrap();
        self.0.write_all(b"\r\n").unwrap();
    }

    /// Status and answer.
    fn end(mut self) -> (u16, Value) {
        self.0.write_all(b"0\r\n\r\n").unwrap();
        self.answer()
    }

    fn answer(mut self) -> (u16, Value) {
        self.0.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut bytes = Vec::new();
        let mut piece = [0; 4_096];
        loop {
            let count = self.0.read(&mut piece).unwrap();
            bytes.extend_from_slice(&piece[..count]);
            let text = String::from_utf8_lossy(&bytes);
            if let Some((head, body)) = text.split_once("\r\n\r\n")
                && let Ok(value) = serde_json::from_str(body)
            {
                return (head.split(' ').nth(1).unwrap().parse().unwrap(), value);
            }
            assert!(count > 0, "{text}");
        }
    }
}

pub async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// Some seconds of the demonstration's bulletin.
pub fn speech(seconds: usize) -> Vec<f32> {
    let file = include_bytes!("../../config/demo/bulletin.flac");
    let mut source = Source::open(Cursor::new(file), "bulletin.flac").unwrap();
    let mut samples = Vec::new();
    while samples.len() < seconds * 48_000 && source.read(&mut samples).unwrap() {}
    samples.truncate(seconds * 48_000);
    samples
}

pub fn pcm(samples: &[f32]) -> Vec<u8> {
    samples.iter().flat_map(|sample| ((sample * 32_767.0) as i16).to_le_bytes()).collect()
}

pub const PCM: &str = "areas=vn/01/00001&pcm=s16le:48000:1";

fn correlation(a: &[f32], b: &[f32], step: usize) -> f64 {
    let (mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b).step_by(step) {
        let (a, b) = (f64::from(*a), f64::from(*b));
        (aa, bb, ab) = (aa + a * a, bb + b * b, ab + a * b);
    }
    ab / (aa * bb).sqrt().max(1e-9)
}

/// How alike each half second of `spoken` that isn't silent is to what was heard, `heard` beginning anywhere; a
/// sound card of another rate drifts away slowly, so each window is sought near the last one.
fn windows(spoken: &[f32], heard: &[f32]) -> Vec<(usize, f64)> {
    const WINDOW: usize = 24_000;
    let power = |part: &[f32]| part.iter().map(|sample| f64::from(sample * sample)).sum::<f64>() / part.len() as f64;
    let first = (0..spoken.len() - WINDOW).step_by(WINDOW).find(|at| power(&spoken[*at..at + WINDOW]) > 1e-3).unwrap();
    let seek = |window: usize, around: std::ops::Range<usize>, step: usize, look: usize| {
        let places = around.step_by(step).filter(|at| at + WINDOW <= heard.len());
        let alike = places.map(|at| (correlation(&spoken[window..window + WINDOW], &heard[at..at + WINDOW], look), at));
        alike.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
    };
    let (_, coarse) = seek(first, 0..heard.len() - WINDOW, 8, 16);
    let (_, mut place) = seek(first, coarse.saturating_sub(16)..coarse + 16, 1, 1);
    let mut all = Vec::new();
    for window in (first..=spoken.len() - WINDOW).step_by(WINDOW) {
        if power(&spoken[window..window + WINDOW]) > 1e-4 {
            let (alike, at) = seek(window, place.saturating_sub(60)..place + 60, 1, 1);
            place = at;
            all.push((window, alike));
        }
        place += WINDOW;
    }
    all
}

#[test]
fn what_is_spoken_into_a_request_comes_out_of_the_loudspeaker_to_the_last_word() {
    crate::in_real_time("what_is_spoken_into_a_request_comes_out_of_the_loudspeaker_to_the_last_word", async || {
        let mut tree = Tree::start().await;
        let id = "019a0000-0000-7000-8000-000000000001";
        let spoken = speech(7);
        let stream = tree.begin(&format!("{PCM}&id={id}&title=Tr%E1%BB%B1c%20ti%E1%BA%BFp"));
        assert_eq!(tree.known(id).await["state"], "waiting");
        let bytes = pcm(&spoken);
        let sending = tokio::task::spawn_blocking(move || {
            let mut stream = stream;
            let begun = Instant::now();
            // As a sound card does: 40 ms at a time, when they are over.
            for (number, piece) in (1..).zip(bytes.chunks(3_840)) {
                let due = begun + Duration::from_millis(40 * number);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                stream.send(piece);
            }
            stream.end()
        });
        tree.until("it is on the air", async |tree| tree.source(id).await["state"] == "on_air").await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        let state = tree.source(id).await;
        println!("{state}");
        assert!(state["level_db"].as_f64().is_some_and(|level| (-60.0..0.0).contains(&level)), "{state}");
        assert_eq!(
            (&state["gaps"], &state["dropped"], &state["silent"]),
            (&0.into(), &0.into(), &false.into()),
            "{state}"
        );
        assert_eq!(state["title"], "Trực tiếp");
        let (status, summary) = sending.await.unwrap();
        assert_eq!(
            (status, &summary["state"], &summary["end"]["code"]),
            (200, &"ended".into(), &"live.over".into()),
            "{summary}"
        );
        assert_eq!((&summary["gaps"], &summary["packets"]), (&0.into(), &30.into()), "{summary}");
        let broadcast = summary["broadcast"]["id"].as_str().unwrap().to_owned();
        assert!(tree.ended(&broadcast).await, "whole");
        tree.until("the speaker is free", async |tree| {
            let nodes = tree.get("/v1/nodes").await.1;
            nodes["nodes"].as_array().unwrap().iter().any(|node| node["role"] == "speaker" && node["state"] == "idle")
        })
        .await;
        let heard = tree.heard().await;
        let windows = windows(&spoken, &heard);
        let mut alike: Vec<f64> = windows.iter().map(|(_, alike)| *alike).collect();
        alike.sort_by(f64::total_cmp);
        println!(
            "{} windows of 0.5 s, correlation: least {:.3}, median {:.3}",
            alike.len(),
            alike[0],
            alike[alike.len() / 2]
        );
        assert!(alike.len() >= 8 && alike[0] > 0.8 && alike[alike.len() / 2] > 0.9, "{windows:?}");
        assert!(windows.last().unwrap().0 >= spoken.len() - 2 * 24_000, "to the last word: {windows:?}");
        tree.stop().await;
    });
}

#[test]
fn a_flood_takes_as_long_as_its_sound_and_none_of_it_is_lost() {
    crate::in_real_time("a_flood_takes_as_long_as_its_sound_and_none_of_it_is_lost", async || {
        let mut tree = Tree::start().await;
        let spoken = speech(12);
        let began = Instant::now();
        let (status, summary) = tree.post(PCM, pcm(&spoken)).await;
        assert_eq!(status, 200, "{summary}");
        assert!(began.elapsed() > Duration::from_secs(11), "{:?}", began.elapsed());
        assert_eq!(
            (&summary["gaps"], &summary["dropped"], &summary["packets"]),
            (&0.into(), &0.into(), &51.into()),
            "{summary}"
        );
        assert!(tree.ended(summary["broadcast"]["id"].as_str().unwrap()).await, "whole");
        let windows = windows(&spoken, &tree.heard().await);
        assert!(windows.iter().all(|(_, alike)| *alike > 0.75), "{windows:?}");
        tree.stop().await;
    });
}

#[test]
fn what_cannot_be_aired_is_refused_and_no_order_is_given() {
    crate::in_real_time("what_cannot_be_aired_is_refused_and_no_order_is_given", async || {
        let tree = Tree::start().await;
        for (query, body, status, code) in [
            ("areas=vn&title=a", b"no sound, only words. ".repeat(1_000), 415, "media.unknown_format"),
            ("areas=vn", Vec::new(), 422, "media.empty"),
            ("areas=vn&pcm=s16le:48000:1", Vec::new(), 422, "media.empty"),
            ("areas=vn&pcm=s16le:48000:1", vec![1; 700], 422, "live.empty"),
            ("areas=vn&pcm=s16", Vec::new(), 400, "media.pcm"),
            ("areas=vn/77", vec![0; 9_600], 422, "area.unknown"),
            ("title=a", Vec::new(), 400, "area.missing"),
            ("areas=vn&priority=loud", Vec::new(), 400, "request.query"),
            ("areas=vn&aera=vn", Vec::new(), 400, "request.query"),
            ("areas=vn&delay_ms=10", Vec::new(), 422, "broadcast.delay"),
            ("areas=vn&id=7", Vec::new(), 400, "request.query"),
        ] {
            let refused = tree.post(query, body).await;
            assert_eq!((refused.0, &refused.1["code"]), (status, &code.into()), "{query}: {refused:?}");
        }
        assert_eq!(tree.get("/v1/broadcasts").await.1["broadcasts"], serde_json::json!([]));
        assert_eq!(tree.get("/v1/live/019a0000-0000-7000-8000-000000000009").await.0, 404);
        // Refused before its body is read; whoever lost the answer finds it by the id.
        let id = "019a0000-0000-7000-8000-000000000002";
        let stream = tree.begin(&format!("areas=vn/77&id={id}"));
        assert_eq!(stream.answer().1["code"], "area.unknown");
        assert_eq!(tree.source(id).await["end"]["code"], "area.unknown");
        // The ninth is one too many; those before wait for their sound.
        let streams: Vec<Stream> = (0..8).map(|_| tree.begin(PCM)).collect();
        tree.until("eight wait", async |tree| {
            let live = tree.get("/v1/live").await.1;
            live["live"].as_array().unwrap().iter().filter(|source| source["state"] == "waiting").count() == 8
        })
        .await;
        let refused = tree.begin(PCM).answer();
        assert_eq!((refused.0, &refused.1["code"]), (503, &"live.busy".into()), "{refused:?}");
        for stream in streams {
            assert_eq!(stream.end().1["code"], "media.empty");
        }
        tree.stop().await;
    });
}

#[test]
fn a_source_that_breaks_off_is_cancelled_or_stopped_with_its_node_leaves_nothing_on_the_air() {
    crate::in_real_time(
        "a_source_that_breaks_off_is_cancelled_or_stopped_with_its_node_leaves_nothing_on_the_air",
        async || {
            let mut tree = Tree::start().await;
            let bytes = pcm(&speech(2));
            let on_air = async |tree: &Tree, id: &str| {
                tree.until("on the air", async |tree| tree.source(id).await["state"] == "on_air").await;
                tree.source(id).await["broadcast"]["id"].as_str().unwrap().to_owned()
            };
            // The connection breaks: what came is played.
            let id = "019a0000-0000-7000-8000-000000000003";
            let mut stream = tree.begin(&format!("{PCM}&id={id}"));
            stream.send(&bytes);
            let broadcast = on_air(&tree, id).await;
            stream.0.shutdown(Shutdown::Both).unwrap();
            drop(stream);
            assert!(tree.ended(&broadcast).await, "whole as far as it went");
            let state = tree.source(id).await;
            assert!(["request.cut", "live.over"].contains(&state["end"]["code"].as_str().unwrap()), "{state}");
            assert_eq!(state["packets"], 9, "{state}");

            // Somebody cancels it: its sender is told.
            let id = "019a0000-0000-7000-8000-000000000004";
            let mut stream = tree.begin(&format!("{PCM}&id={id}"));
            stream.send(&bytes);
            let broadcast = on_air(&tree, id).await;
            let cancel = tree.http.delete(tree.url(&format!("/v1/broadcasts/{broadcast}"))).bearer_auth(&tree.token);
            assert_eq!(answer(cancel).await.0, 200);
            let told = stream.answer();
            assert_eq!((told.0, &told.1["end"]["code"]), (200, &"live.cancelled".into()), "{told:?}");

            // The node stops.
            let id = "019a0000-0000-7000-8000-000000000005";
            let mut stream = tree.begin(&format!("{PCM}&id={id}"));
            stream.send(&bytes);
            let broadcast = on_air(&tree, id).await;
            tree.until("some of it is aired", async |tree| tree.source(id).await["packets"].as_u64() > Some(3)).await;
            let Tree { origin, events, speaker, http, token, folder } = tree;
            let (api, began) = (origin.api, Instant::now());
            origin.stop().await;
            assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
            let _ = (api, http, token, folder);
            let mut events = events;
            let over = async {
                loop {
                    if matches!(events.recv().await.unwrap().what, What::Ended { broadcast: id, .. } if id.to_string() == broadcast)
                    {
                        return;
                    }
                }
            };
            tokio::time::timeout(Duration::from_secs(10), over).await.expect("its end was told before the node went");
            tokio::task::spawn_blocking(move || speaker.unwrap().stop()).await.unwrap();
        },
    );
}

#[test]
fn the_command_streams_its_input_and_ends_with_it_or_with_an_interrupt() {
    crate::in_real_time("the_command_streams_its_input_and_ends_with_it_or_with_an_interrupt", async || {
        let mut tree = Tree::start().await;
        let config: PathBuf = tree.folder.path().join("client.toml");
        let api = tree.origin.api.unwrap();
        let text =
            format!("[node]\ndata = \"origin\"\n[sources]\nauthority = \"national\"\n[api]\nlisten = \"{api}\"\n");
        std::fs::write(&config, text).unwrap();
        let command = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_loa"));
            command.args(["live", "--area", "vn", "--pcm", "s16le:48000:1", "--config"]).arg(&config).arg("-");
            command.env("LANG", "C").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            command
        };
        let output = async |child: std::process::Child| {
            tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap()
        };
        let id = |output: &std::process::Output| String::from_utf8_lossy(&output.stdout).trim().to_owned();

        let mut child = command().spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let bytes = pcm(&speech(3));
        tokio::task::spawn_blocking(move || input.write_all(&bytes).unwrap()).await.unwrap();
        let ended = output(child).await;
        assert!(ended.status.success(), "{ended:?}");
        assert!(tree.ended(&id(&ended)).await, "whole");

        // A microphone that goes on, until somebody says that it is enough.
        let mut child = command().spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let bytes = pcm(&speech(2));
        let input = tokio::task::spawn_blocking(move || {
            input.write_all(&bytes).unwrap();
            input
        })
        .await
        .unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        let ended = output(child).await;
        drop(input);
        assert!(ended.status.success(), "{ended:?}");
        assert!(tree.ended(&id(&ended)).await, "what was said before is played: {ended:?}");

        // Words instead of sound.
        let mut child = Command::new(env!("CARGO_BIN_EXE_loa"))
            .args(["live", "--area", "vn", "--config"])
            .arg(&config)
            .env("LANG", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(&b"no sound, only words. ".repeat(1_000));
        let ended = output(child).await;
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert!(String::from_utf8_lossy(&ended.stderr).contains("media.unknown_format"), "{ended:?}");
        tree.stop().await;
    });
}
