//! A board that has no certificate yet: it asks for one, and says so to whoever looks, until it has it.
use super::doctor::Own;
use super::serve::serve;
use super::text::Failure;
use crate::config::{Config, Enrol};
use crate::io::enrolment::{self, Ticket};
use crate::io::notify;
use axum::Json;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

/// At once where there is a certificate, or nothing to ask for one with. Gives the listener back.
pub async fn wait(config: &Config, admin: TcpListener) -> Result<TcpListener, Failure> {
    let (Some(Enrol { ticket }), Some(parent)) = (&config.enrol, &config.parent) else { return Ok(admin) };
    let data = config.node.data.clone();
    if !enrolment::is_needed(&data) {
        return Ok(admin);
    }
    let ticket = Ticket::read(ticket).map_err(|error| Failure::new("enrol.ticket", [&error]))?;
    tracing::info!(data = %data.display(), parents = ?parent.addresses, "asking for a certificate");
    // Whoever manages the service need not wait: this may take until the network is there.
    notify::ready();
    let node = {
        let (data, ticket) = (data.clone(), ticket.clone());
        super::blocking(move || {
            enrolment::begin(&data, &ticket).map_err(|error| Failure::from_room("node.identity", error.to_string()))
        })
        .await?
    };
    let hindrance = Arc::new(Mutex::new(None));
    let (admin, meanwhile) = twice(admin).map_err(|error| Failure::from_room("node.admin", error.to_string()))?;
    let (end, ended) = watch::channel(false);
    let mut tasks = JoinSet::new();
    serve(&mut tasks, meanwhile, router(node, parent.addresses.clone(), hindrance.clone()), &ended);

    let stop = Stop::default();
    let (flag, addresses, shards) = (stop.0.clone(), parent.addresses.clone(), parent.shards);
    let asking = tokio::task::spawn_blocking(move || {
        enrolment::obtain(&data, &addresses, shards, &ticket, &flag, &mut |code, text| {
            *hindrance.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("{code}: {text}"));
        })
    });
    let found = asking.await.unwrap_or_else(|error| Err(io::Error::other(error)));
    let _ = end.send(true);
    let all = async { while tasks.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(DRAIN, all).await;
    match found {
        Ok(Some(node)) => {
            tracing::info!(%node, "has its certificate");
            Ok(admin)
        }
        Ok(None) => Err(Failure::new("node.stopping", [])),
        Err(error) => Err(Failure::from_room("node.identity", error.to_string())),
    }
}

/// Ends the asking with whoever waits for it.
#[derive(Default)]
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Why there is no certificate yet, as the last parent that was asked said.
type Hindrance = Arc<Mutex<Option<String>>>;

fn router(node: Uuid, parents: Vec<String>, hindrance: Hindrance) -> Router {
    let read = move || hindrance.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let why = read.clone();
    let ready = move || {
        let text = why().unwrap_or_else(|| "no parent has answered yet".to_owned());
        async move { (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: not enrolled yet ({text})\n")) }
    };
    let doctor = move || {
        let own = Own::newcomer(node, &parents, read());
        async move { Json(own) }
    };
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/v1/doctor", get(doctor))
        .route("/metrics", get(async || "# TYPE loa_enrolled gauge\nloa_enrolled 0\n"))
}

/// The same port, served twice: connections that come in between wait.
fn twice(listener: TcpListener) -> io::Result<(TcpListener, TcpListener)> {
    let first = listener.into_std()?;
    let second = first.try_clone()?;
    Ok((TcpListener::from_std(first)?, TcpListener::from_std(second)?))
}

/// What a request under way may still take.
const DRAIN: Duration = Duration::from_secs(1);
