//! A tree of four tiers in one process, each node with its own `/metrics`.
use loa::config::Config;
use loa::control::serve::{self, Running};
use loa::io::identity::{NewNode, Root};
use loa::node::Role;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub struct Tree {
    folder: TempDir,
    root: Root,
    pub http: reqwest::Client,
    pub nodes: Vec<Node>,
}

pub struct Node {
    pub name: &'static str,
    pub tier: &'static str,
    pub area: &'static str,
    pub admin: SocketAddr,
    api: Option<SocketAddr>,
    /// Where its children dial.
    listening: Option<SocketAddr>,
    running: Option<Running>,
}

impl Tree {
    /// An origin, a province, a commune and its speaker, all of them ready.
    pub async fn start() -> Self {
        // The first provider of cryptography stays; another test may have been faster.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut tree = Self {
            folder: tempfile::tempdir().unwrap(),
            root: Root::generate(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            nodes: Vec::new(),
        };
        tree.add("origin", "national", "vn", None).await;
        tree.add("province", "province", "vn/01", Some("origin")).await;
        tree.add("commune", "commune", "vn/01/00001", Some("province")).await;
        tree.add("speaker-a", "speaker", "vn/01/00001", Some("commune")).await;
        tree
    }

    pub async fn add(&mut self, name: &'static str, tier: &'static str, area: &'static str, parent: Option<&str>) {
        let speaker = tier == "speaker";
        let mut text = format!("[node]\ndata = \"{name}\"\n[admin]\nlisten = \"127.0.0.1:0\"\n");
        if let Some(parent) = parent.and_then(|parent| self.node(parent).listening) {
            text += &format!("[parent]\naddresses = [\"{parent}\"]\n");
        }
        text += match (speaker, parent) {
            (true, _) => "[playout]\ndevice = \"null\"\n",
            (false, Some(_)) => "[children]\nlisten = \"127.0.0.1:0\"\n",
            (false, None) => {
                "[children]\nlisten = \"127.0.0.1:0\"\n[sources]\nauthority = \"main\"\n[api]\nlisten = \"127.0.0.1:0\"\n"
            }
        };
        let role = if speaker { Role::Speaker } else { Role::Relay };
        let authority = parent.is_none().then(|| "main".to_owned());
        let new = NewNode { role, area: area.parse().unwrap(), name: name.into(), authority };
        self.root.provision(&self.folder.path().join(name), &new).unwrap();
        let config = Config::parse(&text, &self.folder.path().join("loa.toml")).unwrap();
        let running = serve::start(&config).await.unwrap();
        let node = Node {
            name,
            tier,
            area,
            admin: running.admin,
            api: running.api,
            listening: running.handle.listening().first().copied(),
            running: Some(running),
        };
        self.nodes.push(node);
        self.until(name, "loa_ready", 1.0).await;
    }

    pub fn node(&self, name: &str) -> &Node {
        self.nodes.iter().find(|node| node.name == name).unwrap_or_else(|| panic!("no node is named {name}"))
    }

    pub async fn stop(&mut self, name: &str) {
        let node = self.nodes.iter_mut().find(|node| node.name == name).unwrap();
        node.running.take().unwrap().stop().await;
    }

    pub async fn metrics(&self, name: &str) -> String {
        let url = format!("http://{}/metrics", self.node(name).admin);
        self.http.get(url).send().await.unwrap().text().await.unwrap()
    }

    /// Waits until a series of a node, by its name and labels, has this value.
    pub async fn until(&self, name: &str, series: &str, value: f64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.metrics(name).await;
            let shown = text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse::<f64>().ok());
            if shown == Some(value) {
                return;
            }
            assert!(Instant::now() < deadline, "{name}: {series} is {shown:?}, not {value}, after {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Puts the demonstration's short bulletin on the air everywhere.
    pub async fn air(&self, priority: &str) {
        let flac = std::fs::read(crate::file("config/demo/bulletin-2.flac")).unwrap();
        let media = self.post("/v1/media?name=bulletin.flac", flac).await;
        let form = json!({ "media": media["id"], "areas": ["vn"], "priority": priority });
        self.post("/v1/broadcasts", form.to_string().into_bytes()).await;
    }

    async fn post(&self, path: &str, body: Vec<u8>) -> Value {
        let token = std::fs::read_to_string(self.folder.path().join("origin/api.token")).unwrap();
        let url = format!("http://{}{path}", self.node("origin").api.unwrap());
        let request = self.http.post(url).bearer_auth(token.trim()).header("content-type", "application/json");
        let answer = request.body(body).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status}: {text}");
        serde_json::from_str(&text).unwrap()
    }
}

pub const PATIENCE: Duration = Duration::from_secs(60);
