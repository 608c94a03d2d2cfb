//! A real Prometheus, scraping a tree every second.
use crate::tree::Tree;
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub struct Prometheus {
    process: Child,
    api: String,
    http: reqwest::Client,
    _folder: TempDir,
}

impl Prometheus {
    /// With the rules of `config/`, but that none waits before it fires.
    pub async fn start(tree: &Tree) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("alerts.yml"), without_waiting(&crate::read("config/prometheus/alerts.yml"))).unwrap();
        let targets: Vec<Value> = tree.nodes.iter().map(target).collect();
        std::fs::write(file("nodes.json"), Value::from(targets).to_string()).unwrap();
        std::fs::write(file("prometheus.yml"), CONFIG).unwrap();
        let port = crate::ports::free(1);
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", file("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", file("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=error")
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("prometheus: {error}; apt-get install prometheus"));
        let api = format!("http://127.0.0.1:{port}");
        let prometheus = Self { process, api, http: tree.http.clone(), _folder: folder };
        prometheus.until_scraped(tree.nodes.len()).await;
        prometheus
    }

    /// All targets answer, twice, so that there are rates.
    async fn until_scraped(&self, targets: usize) {
        self.until("every target is up", &format!("count(count_over_time(up[1m]) > 3 and up == 1) == {targets}")).await;
    }

    /// Waits until a query has a result.
    pub async fn until(&self, what: &str, query: &str) {
        let deadline = Instant::now() + crate::tree::PATIENCE;
        let mut said = String::new();
        while Instant::now() < deadline {
            match self.query(query).await {
                Ok(found) if found > 0 => return,
                Ok(_) => said = "it has no result".into(),
                Err(error) => said = error,
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        panic!("{what}: {query}: {said}");
    }

    /// How many results there are.
    pub async fn query(&self, query: &str) -> Result<usize, String> {
        let answer = self.get("/api/v1/query", &[("query", query)]).await?;
        match answer["resultType"].as_str() {
            Some("vector") => Ok(answer["result"].as_array().map_or(0, Vec::len)),
            Some("scalar") => Ok(1),
            _ => Err(format!("{query}: {answer}")),
        }
    }

    /// What stands under `data` of an answer.
    pub async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, String> {
        let answer = self.http.get(format!("{}{path}", self.api)).query(query).send().await;
        let text = answer.map_err(|error| error.to_string())?.text().await.map_err(|error| error.to_string())?;
        let answer: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].clone()),
            _ => Err(format!("{path} {query:?}: {}", answer["error"])),
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs promtool; what it says if it finds fault.
pub fn promtool(arguments: &[&str], input: Option<&str>) -> Result<String, String> {
    let mut process = Command::new("promtool")
        .args(arguments)
        .current_dir(crate::file("config/prometheus"))
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("promtool: {error}; apt-get install prometheus"));
    if let (Some(mut stdin), Some(input)) = (process.stdin.take(), input) {
        stdin.write_all(input.as_bytes()).unwrap();
    }
    let output = process.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if output.status.success() { Ok(said) } else { Err(said) }
}

fn target(node: &crate::tree::Node) -> Value {
    json!({ "targets": [node.admin.to_string()], "labels": { "tier": node.tier, "area": node.area } })
}

/// A test has not half an hour.
fn without_waiting(rules: &str) -> String {
    let wait = |line: &&str| line.trim_start().starts_with("for: ");
    assert!(rules.lines().filter(wait).count() > 10, "the rules have no waits to leave out");
    rules.lines().filter(|line| !wait(line)).map(|line| format!("{line}\n")).collect()
}

const CONFIG: &str = "
global: { scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }
rule_files: [alerts.yml]
scrape_configs:
  - job_name: loa
    file_sd_configs: [{ files: [nodes.json] }]
";
