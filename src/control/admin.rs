//! The admin listener, named for who may reach it: the machine itself (`/metrics`, `/healthz`,
//! `/readyz`, `/v1/doctor`). It asks nothing of the trunk, so it answers when the trunk is busy.
use super::doctor::Own;
use crate::io::Handle;
use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::time::Duration;

/// `parents`: those of the node's configuration.
pub fn router(handle: Handle, parents: Vec<String>) -> Router {
    let own = handle.clone();
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/v1/doctor", get(move || doctor(own, parents)))
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

/// Less than a scraper waits.
const WAIT: Duration = Duration::from_secs(2);
