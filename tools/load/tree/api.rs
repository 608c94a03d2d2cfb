//! The HTTP API of the node that speaks, as a program uses it.
use super::Media;
use crate::failure::{Failure, Result};
use crate::process;
use loa::io::clock;
use reqwest::{Method, RequestBuilder};
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::runtime::Runtime;
use uuid::Uuid;

/// Blocks; any number of threads may ask at once.
pub struct Api {
    address: SocketAddr,
    token: String,
    http: reqwest::Client,
    runtime: Runtime,
}

/// A broadcast as the origin accepted it; civil time, µs Unix UTC.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Aired {
    pub id: Uuid,
    pub accepted_us: i64,
    pub from_us: i64,
    pub until_us: i64,
    /// When its first sound leaves the speakers.
    pub sounds_us: i64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hushed {
    pub order: Uuid,
    /// Civil µs, exact to the millisecond that the order's id carries.
    pub accepted_us: i64,
}

impl Api {
    pub fn new(address: SocketAddr, token: String) -> Result<Self> {
        let broken = |error: &dyn std::fmt::Display| Failure::run(format!("no HTTP: {error}"));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        // A proxy from the environment has no business here.
        let http = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT).read_timeout(READ).build();
        Ok(Self {
            address,
            token,
            http: http.map_err(|error| broken(&error))?,
            runtime: runtime.map_err(|error| broken(&error))?,
        })
    }

    pub fn upload(&self, file: &Path) -> Result<Media> {
        let unread = |error: std::io::Error| Failure::usage(format!("{}: {error}", file.display()));
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let opened = self.runtime.block_on(tokio::fs::File::open(file)).map_err(unread)?;
        let request = self.to(Method::POST, "/v1/media").query(&[("name", &name)]).body(opened);
        let answer = self.ask(request)?;
        let (id, seconds) = (answer["id"].as_str(), answer["duration"].as_f64());
        match (id, seconds) {
            (Some(id), Some(seconds)) => Ok(Media { id: id.to_owned(), seconds }),
            _ => Err(self.strange(&answer)),
        }
    }

    pub fn air(
        &self,
        media: &Media,
        areas: &[String],
        priority: &str,
        delay_ms: Option<i64>,
        title: &str,
    ) -> Result<Aired> {
        let mut form = json!({ "media": media.id, "areas": areas, "priority": priority, "title": title });
        if let Some(delay) = delay_ms {
            form["delay_ms"] = delay.into();
        }
        let answer = self.ask(self.to(Method::POST, "/v1/broadcasts").json(&form))?;
        Aired::deserialize(&answer).map_err(|_| self.strange(&answer))
    }

    pub fn hush(&self, areas: &[String], minutes: i64) -> Result<Hushed> {
        let answer =
            self.ask(self.to(Method::POST, "/v1/stop").json(&json!({ "areas": areas, "minutes": minutes })))?;
        let order =
            answer["order"].as_str().and_then(|id| id.parse::<Uuid>().ok()).ok_or_else(|| self.strange(&answer))?;
        let millis = i64::try_from(order.as_u128() >> 80).map_err(|_| self.strange(&answer))?;
        Ok(Hushed { order, accepted_us: millis * 1_000 })
    }

    pub fn cancel(&self, broadcast: Uuid) -> Result<()> {
        let request = self.to(Method::DELETE, &format!("/v1/broadcasts/{broadcast}")).timeout(ADMIN);
        // After Ctrl-C too: a tree that runs on is left as it was found.
        self.runtime.block_on(self.answer(request)).map(|_| ())
    }

    /// Of how many the origin has receipts.
    pub fn reached(&self, order: Uuid) -> Result<u64> {
        let answer = self.ask(self.to(Method::GET, &format!("/v1/receipts?broadcast={order}")))?;
        Ok(answer["receipts"][0]["reached"].as_u64().unwrap_or(0))
    }

    pub fn civil_offset(&self) -> Result<i64> {
        let mut best: Option<(i64, i64)> = None;
        for _ in 0..READINGS {
            let asked = clock::local();
            let answer = self.ask(self.to(Method::GET, "/v1/nodes"))?;
            let way = clock::local() - asked;
            let civil = answer["now_us"].as_i64().ok_or_else(|| Failure::run("the origin knows no civil time yet"))?;
            let reading = (way, civil - (asked.0 + way / 2));
            best = Some(best.map_or(reading, |best| best.min(reading)));
        }
        best.map(|(_, civil)| civil).ok_or_else(|| Failure::run("the origin knows no civil time yet"))
    }

    /// Of any listener of the tree; anything but success is an error.
    pub fn get_text(&self, address: SocketAddr, path: &str) -> Result<String> {
        let url = format!("http://{address}{path}");
        let failed = |error: reqwest::Error| Failure::run(format!("{url}: {error}"));
        self.runtime.block_on(async {
            let answer = self.http.get(&url).timeout(ADMIN).send().await.map_err(failed)?;
            answer.error_for_status().map_err(failed)?.text().await.map_err(failed)
        })
    }

    fn to(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.address)).bearer_auth(&self.token)
    }

    /// Gives up on Ctrl-C.
    fn ask(&self, request: RequestBuilder) -> Result<Value> {
        self.runtime.block_on(async {
            tokio::select! {
                answer = self.answer(request) => answer,
                () = interruption() => Err(Failure::run("interrupted")),
            }
        })
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Value> {
        let failed = |error: reqwest::Error| {
            // The cause below says "connection refused"; the one on top only repeats the address.
            let mut cause: &dyn std::error::Error = &error;
            while let Some(below) = cause.source() {
                cause = below;
            }
            Failure::run(format!("the API at {} does not answer: {cause}", self.address))
        };
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(failed)?;
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if status.is_success() {
            return Ok(answer);
        }
        let (code, text) = (answer["code"].as_str().unwrap_or("-"), answer["text"].as_str().unwrap_or("-"));
        Err(Failure::run(format!("the API at {} refuses ({status}): {text} [{code}]", self.address)))
    }

    fn strange(&self, answer: &Value) -> Failure {
        Failure::run(format!("the API at {} answers what this tool does not understand: {answer}", self.address))
    }
}

async fn interruption() {
    while !process::interrupted() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

const CONNECT: Duration = Duration::from_secs(5);
/// Encoding hours of sound takes minutes.
const READ: Duration = Duration::from_secs(600);
/// As the admin listener itself waits at most, and a little.
const ADMIN: Duration = Duration::from_secs(3);
const READINGS: usize = 8;
