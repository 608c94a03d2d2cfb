//! Speaks to a node's API, as the command line does.
use super::cli::NodeArgs;
use super::forms::{self, Fault};
use super::media::Media;
use super::receipts::Ask;
use super::text::{Failure, Language};
use super::token::{self, Token};
use super::{CONFIG, DEMO};
use crate::config::Config;
use crate::proto;
use reqwest::{Body, Method, RequestBuilder};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use uuid::Uuid;

/// One node's API.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    address: SocketAddr,
    token: Token,
    language: Language,
}

impl Client {
    pub fn new(address: SocketAddr, token: Token, language: Language) -> Result<Self, Failure> {
        // A proxy from the environment has no business between a node and its operator.
        let http = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT).read_timeout(READ).build();
        let http = http.map_err(|error| unreachable(address, &error))?;
        Ok(Self { http, address: reachable(address), token, language })
    }

    /// The node of a configuration file; or of a data folder, which may have its `loa.toml` beside it; or
    /// else the demonstration's origin, if there is one.
    pub fn find(config: Option<&Path>, data: Option<&Path>, language: Language) -> Result<Self, Failure> {
        let (address, data) = locate(config, data, Path::new(DEMO))?;
        let token = Token::read(&data)
            .map_err(|error| Failure::new("client.token", [&token::path(&data).display(), &error]))?;
        Self::new(address, token, language)
    }

    pub fn of(node: &NodeArgs, language: Language) -> Result<Self, Failure> {
        Self::find(node.config.as_deref(), node.data.as_deref(), language)
    }

    pub async fn upload(&self, file: &Path) -> Result<Media, Failure> {
        let unread = |error: &dyn std::fmt::Display| Failure::new("client.file", [&file.display(), error]);
        let opened = tokio::fs::File::open(file).await.map_err(|error| unread(&error))?;
        if opened.metadata().await.map_err(|error| unread(&error))?.is_dir() {
            return Err(unread(&"it is a folder"));
        }
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        self.upload_bytes(&name, opened.into()).await
    }

    pub async fn upload_bytes(&self, name: &str, body: Body) -> Result<Media, Failure> {
        self.ask(self.to(Method::POST, "/v1/media").query(&[("name", name)]).body(body)).await
    }

    pub async fn air(&self, form: &forms::Air) -> Result<forms::Aired, Failure> {
        self.send("/v1/broadcasts", form).await
    }

    /// Streams a live source until its body ends; answered then. As long as that takes.
    pub async fn stream(&self, query: &[(&str, String)], body: Body) -> Result<forms::Live, Failure> {
        let patient = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT).build();
        let http = patient.map_err(|error| unreachable(self.address, &error))?;
        let patient = Self { http, ..self.clone() };
        patient.ask(patient.to(Method::POST, "/v1/live").query(query).body(body)).await
    }

    pub async fn live(&self, id: Uuid) -> Result<forms::Live, Failure> {
        self.ask(self.to(Method::GET, &format!("/v1/live/{id}"))).await
    }

    pub async fn broadcasts(&self) -> Result<forms::Broadcasts, Failure> {
        self.ask(self.to(Method::GET, "/v1/broadcasts")).await
    }

    pub async fn cancel(&self, broadcast: Uuid) -> Result<forms::Done, Failure> {
        self.ask(self.to(Method::DELETE, &format!("/v1/broadcasts/{broadcast}"))).await
    }

    pub async fn authorities(&self) -> Result<forms::Authorities, Failure> {
        self.ask(self.to(Method::GET, "/v1/authorities")).await
    }

    /// Hands the node an order that was signed elsewhere.
    pub async fn give(&self, order: &proto::Signed) -> Result<forms::Done, Failure> {
        self.send("/v1/authorities", &forms::Give::new(order)).await
    }

    pub async fn stop(&self, form: &forms::Stop) -> Result<forms::Done, Failure> {
        self.send("/v1/stop", form).await
    }

    pub async fn nodes(&self) -> Result<forms::Nodes, Failure> {
        self.ask(self.to(Method::GET, "/v1/nodes")).await
    }

    pub async fn events(&self, after: u64) -> Result<forms::Events, Failure> {
        self.ask(self.to(Method::GET, "/v1/events").query(&[("after", after)])).await
    }

    pub(super) async fn receipts<T: DeserializeOwned>(&self, path: &str, ask: &Ask) -> Result<T, Failure> {
        self.ask(self.to(Method::GET, path).query(&ask.pairs())).await
    }

    /// As text: it is signed as it stands.
    pub(super) async fn report(&self, ask: &Ask) -> Result<String, Failure> {
        let bytes = self.bytes(self.to(Method::GET, "/v1/report").query(&ask.pairs())).await?;
        String::from_utf8(bytes.to_vec()).map_err(|error| Failure::new("client.answer", [&self.address, &200, &error]))
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T, Failure> {
        self.ask(self.to(Method::GET, path).query(query)).await
    }

    pub(super) async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        body: impl Into<Body>,
    ) -> Result<T, Failure> {
        self.ask(self.to(Method::PUT, path).query(query).body(body)).await
    }

    pub(super) async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.ask(self.to(Method::DELETE, path)).await
    }

    pub(super) async fn send<T: DeserializeOwned>(&self, path: &str, form: &impl Serialize) -> Result<T, Failure> {
        self.ask(self.to(Method::POST, path).json(form)).await
    }

    fn to(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("http://{}{path}", self.address))
            .bearer_auth(self.token.as_str())
            .header(reqwest::header::ACCEPT_LANGUAGE, self.language.tag())
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failure> {
        let bytes = self.bytes(request).await?;
        serde_json::from_slice(&bytes).map_err(|error| Failure::new("client.answer", [&self.address, &200, &error]))
    }

    async fn bytes(&self, request: RequestBuilder) -> Result<bytes::Bytes, Failure> {
        let unreached = |error: reqwest::Error| unreachable(self.address, &error);
        let response = request.send().await.map_err(unreached)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(unreached)?;
        if !status.is_success()
            && let Ok(Fault { code, text }) = serde_json::from_slice(&bytes)
        {
            return Err(Failure::from_node(code, text));
        }
        let beginning = || String::from_utf8_lossy(&bytes).chars().take(120).collect::<String>();
        if !status.is_success() {
            return Err(Failure::new("client.answer", [&self.address, &status.as_u16(), &beginning()]));
        }
        Ok(bytes)
    }
}

/// Address and data folder.
fn locate(config: Option<&Path>, data: Option<&Path>, demo: &Path) -> Result<(SocketAddr, PathBuf), Failure> {
    if let Some(file) = config {
        return of_config(file);
    }
    let data = match data {
        Some(data) => data,
        None if demo.is_dir() => demo,
        None => return Err(Failure::new("client.nowhere", [])),
    };
    let file = data.join(CONFIG);
    if file.is_file() {
        return of_config(&file);
    }
    Ok((SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)), data.to_owned()))
}

fn of_config(file: &Path) -> Result<(SocketAddr, PathBuf), Failure> {
    let config = Config::load(file).map_err(Failure::of_config)?;
    let api = config.api.ok_or_else(|| Failure::new("client.no_api", [&file.display()]))?;
    Ok((api.listen, config.node.data))
}

/// What listens on every address is dialled on this machine's own.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, v6.port()).into(),
        other => other,
    }
}

fn unreachable(address: SocketAddr, error: &reqwest::Error) -> Failure {
    // The cause below says "connection refused"; the one on top only repeats the address.
    let mut cause: &dyn std::error::Error = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    Failure::new("client.unreachable", [&address, &cause])
}

/// DESIGN §9.
const PORT: u16 = 8460;
const CONNECT: Duration = Duration::from_secs(5);
/// Encoding four hours of sound takes some two minutes, and another upload may come first.
const READ: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_node_named_the_demonstration_is_spoken_to_if_there_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let demo = folder.path().join("origin");
        assert_eq!(locate(None, None, &demo).unwrap_err().code, "client.nowhere");
        std::fs::create_dir(&demo).unwrap();
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 8460));
        assert_eq!(locate(None, None, &demo), Ok((local, demo.clone())));
        assert_eq!(locate(None, Some(folder.path()), &demo), Ok((local, folder.path().to_owned())));
    }

    #[test]
    fn an_address_of_all_is_dialled_on_this_machine() {
        assert_eq!(reachable("0.0.0.0:1".parse().unwrap()), "127.0.0.1:1".parse().unwrap());
        assert_eq!(reachable("[::]:1".parse().unwrap()), "[::1]:1".parse().unwrap());
        assert_eq!(reachable("10.0.0.7:1".parse().unwrap()), "10.0.0.7:1".parse().unwrap());
    }

    #[tokio::test]
    async fn a_node_that_does_not_run_is_said_to_be_so() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let folder = tempfile::tempdir().unwrap();
        let client = Client::new(address, Token::open(folder.path()).unwrap(), Language::English).unwrap();
        let failure = client.nodes().await.unwrap_err();
        assert_eq!(failure.code, "client.unreachable");
        assert!(failure.to_string().contains("is it running?"), "{failure}");
    }
}
