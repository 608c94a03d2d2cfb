//! The admin listener, named for who may reach it: the machine itself (`/metrics`, `/healthz`,
//! `/readyz`, `/v1/doctor`, `/v1/volume`). All but the last ask nothing of the trunk, so they answer when it is busy.
use super::doctor::Own;
use super::text::Language;
use super::volume::{self, Fault};
use crate::io::Handle;
use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// `parents`: those of the node's configuration.
pub fn router(handle: Handle, parents: Vec<String>) -> Router {
    let own = handle.clone();
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/v1/doctor", get(move || doctor(own, parents)))
        .route("/v1/volume", get(loudness).post(loudness))
        .with_state(handle)
}

async fn metrics(State(handle): State<Handle>) -> Response {
    match aside(move || handle.metrics()).await {
        Some(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the counters did not come within 2 s\n").into_response(),
    }
}

async fn doctor(handle: Handle, parents: Vec<String>) -> Response {
    match aside(move || Own::of(&handle, &parents)).await {
        Some(own) => Json(own).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "no snapshot within 2 s\n").into_response(),
    }
}

async fn loudness(State(handle): State<Handle>, headers: HeaderMap, body: Body) -> Response {
    let Ok(Ok(body)) = tokio::time::timeout(WAIT, axum::body::to_bytes(body, LONGEST_FORM)).await else {
        return (StatusCode::BAD_REQUEST, "the form did not come, or is too long\n").into_response();
    };
    let language = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or("");
    match tokio::time::timeout(WAIT, volume::turn(&handle, &headers, &body)).await {
        Ok(Ok(here)) => Json(here).into_response(),
        Ok(Err(failure)) => {
            let status = StatusCode::from_u16(failure.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let fault = Fault { code: failure.code.clone(), text: failure.text(Language::of_header(language)) };
            (status, Json(fault)).into_response()
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the node did not answer within 2 s\n").into_response(),
    }
}

async fn ready(State(handle): State<Handle>) -> Response {
    match aside(move || handle.snapshot().ready).await {
        Some(true) => "ready\n".into_response(),
        Some(false) => {
            (StatusCode::SERVICE_UNAVAILABLE, "not ready: no trusted time yet, or no parent\n").into_response()
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, "not ready: no snapshot within 2 s\n").into_response(),
    }
}

/// Off the listener's own threads: a lock that is held elsewhere must not silence `/healthz`.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::time::timeout(WAIT, tokio::task::spawn_blocking(work)).await.ok()?.ok()
}

/// One short question by HTTP/1.0 on loopback, POST if it has a body: a loudspeaker's build has no client for more. The
/// status and the answer's body.
pub async fn ask(
    admin: SocketAddr,
    path: &str,
    body: Option<&str>,
    language: Language,
) -> Result<(u16, String), String> {
    let method = if body.is_some() { "POST" } else { "GET" };
    let body = body.unwrap_or("");
    let question = format!(
        "{method} {path} HTTP/1.0\r\nHost: {admin}\r\nAccept-Language: {}\r\nContent-Length: {}\r\n\r\n{body}",
        language.tag(),
        body.len()
    );
    let asked = async {
        let mut stream = TcpStream::connect(admin).await?;
        stream.write_all(question.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(LONGEST).read_to_end(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let answer = tokio::time::timeout(PATIENCE, asked).await;
    let answer = answer.map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))?;
    let answer = answer.map_err(|error| error.to_string())?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("another program answers there")?;
    let status = head.lines().next().unwrap_or_default();
    let number = status.split_whitespace().nth(1).and_then(|number| number.parse().ok());
    Ok((number.ok_or_else(|| status.to_owned())?, body.to_owned()))
}

/// Less than a scraper waits.
const WAIT: Duration = Duration::from_secs(2);
/// The admin listener answers from memory.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of an answer; a node's is some hundreds.
const LONGEST: u64 = 64 << 10;
/// Bytes of what is asked.
const LONGEST_FORM: usize = 4 << 10;
