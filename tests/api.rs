//! An origin alone, spoken to over real HTTP: what good requests do, and what bad ones get.

use loa::config::Config;
use loa::control::serve::{self, Running};
use loa::io::identity::{NewNode, Root};
use loa::node::Role;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::io::Cursor;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

struct Origin {
    running: Running,
    http: reqwest::Client,
    token: String,
    _folder: TempDir,
}

const CONFIG: &str = "[node]\ndata = \"node\"\n\n[children]\nlisten = \"127.0.0.1:0\"\n\n[sources]\nauthority = \"national\"\n\n[api]\nlisten = \"127.0.0.1:0\"\n\n[admin]\nlisten = \"127.0.0.1:0\"\n";

fn provisioned() -> (TempDir, Config) {
    let folder = tempfile::tempdir().unwrap();
    let area = "vn".parse().unwrap();
    let node = NewNode { role: Role::Relay, area, name: "origin".into(), authority: Some("national".into()) };
    Root::generate().provision(&folder.path().join("node"), &node).unwrap();
    let config = Config::parse(CONFIG, &folder.path().join("loa.toml")).unwrap();
    (folder, config)
}

async fn origin() -> Origin {
    // The first provider of cryptography stays; another test may have been faster.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (folder, config) = provisioned();
    let running = serve::start(&config).await.unwrap();
    let token = std::fs::read_to_string(folder.path().join("node/api.token")).unwrap().trim().to_owned();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let origin = Origin { running, http, token, _folder: folder };
    origin.until_ready().await;
    origin
}

impl Origin {
    async fn until_ready(&self) {
        let url = format!("http://{}/readyz", self.running.admin);
        for _ in 0..100 {
            if self.http.get(&url).send().await.unwrap().status() == StatusCode::OK {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("not ready within 10 s");
    }

    /// Events are told beside the answers, not before them.
    async fn until_orders(&self, wanted: usize) -> Value {
        for _ in 0..100 {
            let events = self.get("/v1/events").await.1;
            let orders = events["events"].as_array().unwrap().iter().filter(|event| event["what"] == "order");
            if orders.count() >= wanted {
                return events;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("fewer than {wanted} orders among the events within 5 s");
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("http://{}{path}", self.running.api.unwrap());
        self.http.request(method, url).bearer_auth(&self.token)
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.request(Method::GET, path)).await
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        answer(self.request(Method::POST, path).json(body)).await
    }

    async fn upload(&self, name: &str, bytes: Vec<u8>) -> (u16, Value) {
        answer(self.request(Method::POST, "/v1/media").query(&[("name", name)]).body(bytes)).await
    }

    async fn admin(&self, path: &str) -> (StatusCode, String) {
        let response = self.http.get(format!("http://{}{path}", self.running.admin)).send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.bytes().await.unwrap();
    let value = serde_json::from_slice(&bytes);
    (status, value.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&bytes))))
}

fn wav(seconds: f64) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    let sample_format = hound::SampleFormat::Int;
    let spec = hound::WavSpec { channels: 1, sample_rate: 16_000, bits_per_sample: 16, sample_format };
    let mut writer = hound::WavWriter::new(&mut out, spec).unwrap();
    for n in 0..(seconds * 16_000.0) as u32 {
        let phase = f64::from(n) * 300.0 / 16_000.0 * std::f64::consts::TAU;
        writer.write_sample((phase.sin() * 9_000.0) as i16).unwrap();
    }
    writer.finalize().unwrap();
    out.into_inner()
}

fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["code"].as_str().unwrap_or("-"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_goes_in_a_broadcast_goes_out_and_is_cancelled() {
    let origin = origin().await;

    let (status, media) = origin.upload("bản tin.wav", wav(2.0)).await;
    assert_eq!(status, 201, "{media}");
    assert_eq!(media["name"], "bản tin.wav");
    assert!((media["duration"].as_f64().unwrap() - 2.0).abs() < 0.01);
    let id = media["id"].as_str().unwrap().to_owned();
    let (_, again) = origin.upload("other.wav", wav(2.0)).await;
    assert_eq!(again, media);
    assert_eq!(origin.get(&format!("/v1/media/{id}")).await, (200, media.clone()));
    assert_eq!(media["report"]["facts"]["container"], "WAV");
    assert_eq!(media["report"]["damage"], json!([]));
    // A list of thousands leaves the reports out.
    let mut short = media.clone();
    short.as_object_mut().unwrap().remove("report");
    assert_eq!(origin.get("/v1/media").await.1["media"], json!([short]));

    let later = json!({ "media": id, "areas": ["vn"], "at": in_seconds(3_600), "title": "Sáng" });
    let (status, aired) = origin.post("/v1/broadcasts", &later).await;
    assert_eq!(status, 201, "{aired}");
    assert!(aired["from_us"].as_i64() < aired["until_us"].as_i64());
    assert!(aired["sounds"].as_str().unwrap().ends_with("+07:00"));
    let broadcast = aired["id"].as_str().unwrap().to_owned();
    let listed = origin.get("/v1/broadcasts").await.1;
    assert_eq!((&listed["broadcasts"][0]["id"], &listed["broadcasts"][0]["title"]), (&aired["id"], &json!("Sáng")));

    let path = format!("/v1/broadcasts/{broadcast}");
    let (status, done) = answer(origin.request(Method::DELETE, &path)).await;
    assert_eq!(status, 200, "{done}");
    assert_eq!(code(&answer(origin.request(Method::DELETE, &path)).await), (409, "broadcast.over"));

    let (status, now) = origin.post("/v1/broadcasts", &json!({ "media": id, "areas": ["vn"] })).await;
    assert_eq!(status, 201, "{now}");
    assert_eq!(now["sounds_us"].as_i64().unwrap() - now["accepted_us"].as_i64().unwrap(), 1_100_000);
    let cancel = format!("/v1/broadcasts/{}/cancel", now["id"].as_str().unwrap());
    assert_eq!(origin.post(&cancel, &json!({})).await.0, 200);
    assert_eq!(origin.post("/v1/stop", &json!({ "areas": ["vn"], "minutes": 1 })).await.0, 200);

    let nodes = origin.get("/v1/nodes").await.1;
    assert_eq!((&nodes["zone"], &nodes["nodes"][0]["area"]), (&json!("Asia/Ho_Chi_Minh"), &json!("vn")));
    let events = origin.until_orders(4).await;
    let next = events["next"].as_u64().unwrap();
    assert_eq!(origin.get(&format!("/v1/events?after={next}")).await.1["missed"], 0);
    origin.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_request_gets_its_code_and_a_text_with_the_mend() {
    let origin = origin().await;
    let media = origin.upload("a.wav", wav(0.5)).await.1["id"].clone();

    for (name, bytes, expected) in [
        ("empty.wav", Vec::new(), "media.empty"),
        ("text.wav", b"no sound, only words".repeat(20), "media.unknown_format"),
        ("cut.wav", wav(1.0)[..2_000].to_vec(), "media.truncated"),
        ("a\u{7}.wav", wav(0.1), "media.name"),
    ] {
        let refused = origin.upload(name, bytes).await;
        assert_eq!(refused.1["code"], expected, "{refused:?}");
        assert!((400..500).contains(&refused.0), "{refused:?}");
    }
    assert_eq!(origin.get("/v1/media").await.1["media"].as_array().unwrap().len(), 1);

    let zeros = "0".repeat(64);
    for (change, status, expected) in [
        (json!({ "areas": [] }), 400, "area.missing"),
        (json!({ "areas": ["VN"] }), 400, "area.invalid"),
        (json!({ "areas": ["vn/77"] }), 422, "area.unknown"),
        (json!({ "areas": ["la"] }), 422, "area.unknown"),
        (json!({ "media": zeros }), 404, "media.unknown"),
        (json!({ "at": "2020-01-01T00:00:00Z" }), 422, "broadcast.past"),
        (json!({ "at": "2099-01-01T00:00:00Z" }), 422, "broadcast.far"),
        (json!({ "at": "06:30" }), 400, "broadcast.time"),
        (json!({ "delay_ms": 5 }), 422, "broadcast.delay"),
        (json!({ "title": "t".repeat(201) }), 400, "broadcast.title"),
        (json!({ "priority": "loud" }), 400, "request.json"),
        (json!({ "aera": "vn" }), 400, "request.json"),
    ] {
        let mut form = json!({ "media": media, "areas": ["vn"] });
        for (key, value) in change.as_object().unwrap() {
            form[key] = value.clone();
        }
        let refused = origin.post("/v1/broadcasts", &form).await;
        assert_eq!(code(&refused), (status, expected), "{change}: {refused:?}");
        assert!(refused.1["text"].as_str().unwrap().len() > 20);
    }

    let stranger = "/v1/broadcasts/019a0000-0000-7000-8000-000000000000";
    assert_eq!(code(&answer(origin.request(Method::DELETE, stranger)).await), (404, "broadcast.unknown"));
    let nonsense = origin.request(Method::DELETE, "/v1/broadcasts/nonsense");
    assert_eq!(code(&answer(nonsense).await), (400, "broadcast.id"));
    let stop = json!({ "areas": ["vn"], "minutes": 100_000 });
    assert_eq!(code(&origin.post("/v1/stop", &stop).await), (422, "stop.minutes"));
    assert_eq!(code(&origin.get("/v1/nothing").await), (404, "request.path"));
    assert_eq!(code(&origin.get("/v1/stop").await), (405, "request.method"));
    assert_eq!(code(&origin.get("/v1/events?before=3").await), (400, "request.query"));
    let flood = json!({ "media": "x".repeat(100_000), "areas": ["vn"] });
    assert_eq!(code(&origin.post("/v1/broadcasts", &flood).await), (413, "request.too_long"));

    // Nothing of this came through, and nothing else noticed.
    assert_eq!(origin.get("/v1/broadcasts").await.1["broadcasts"], json!([]));
    assert_eq!(origin.admin("/readyz").await.0, StatusCode::OK);
    origin.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_in_without_the_token_and_all_are_told_so_in_their_language() {
    let origin = origin().await;
    let url = format!("http://{}/v1/nodes", origin.running.api.unwrap());
    let bare = origin.http.get(&url).header("accept-language", "vi");
    let missing = answer(bare).await;
    assert_eq!(code(&missing), (401, "auth.missing"));
    assert!(missing.1["text"].as_str().unwrap().contains("mã truy cập"), "{missing:?}");
    let english = answer(origin.http.get(&url)).await;
    assert!(english.1["text"].as_str().unwrap().contains("api.token"), "{english:?}");
    for wrong in ["x", &origin.token[..63], &"0".repeat(64)] {
        assert_eq!(code(&answer(origin.http.get(&url).bearer_auth(wrong)).await), (401, "auth.wrong"), "{wrong}");
    }
    let basic = answer(origin.http.get(&url).basic_auth("admin", Some("admin"))).await;
    assert_eq!(code(&basic), (401, "auth.missing"));
    assert_eq!(origin.get("/v1/nodes").await.0, 200);
    origin.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_listener_answers_without_a_token() {
    let origin = origin().await;
    assert_eq!(origin.admin("/healthz").await, (StatusCode::OK, "ok\n".into()));
    let (status, metrics) = origin.admin("/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert!(metrics.contains("loa_"), "{metrics}");
    assert_eq!(origin.admin("/v1/nodes").await.0, StatusCode::NOT_FOUND);
    origin.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_is_named_with_its_section() {
    let (_folder, mut config) = provisioned();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = taken.local_addr().unwrap();
    config.admin.listen = address;
    let refused = serve::start(&config).await.err().unwrap().to_string();
    assert!(refused.contains("config.port_taken") && refused.contains("[admin]"), "{refused}");
    assert!(refused.contains(&address.to_string()), "{refused}");
    assert!(!Path::new(&config.node.data).join("api.token").exists());
}

fn in_seconds(seconds: i64) -> String {
    (chrono::Utc::now() + chrono::TimeDelta::seconds(seconds)).to_rfc3339()
}
