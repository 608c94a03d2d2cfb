//! Receipts and the as-run log for people: kept in a database, asked for by broadcast, area and period, and handed over
//! as a report that can be checked offline.
//!
//! ```text
//!  trunk ── accounts, every five seconds ──▶ store: orders, sums by area, exceptions, as-run ──▶ JSON, CSV, report
//! ```
//! `GET /v1/receipts` and `GET /v1/as-run` take `broadcast`, `area`, `from`, `to` (RFC 3339) and `format=csv`; `GET
//! /v1/report` takes the same and gives the lines of [`bundle`].
mod bundle;
mod command;
#[cfg(test)]
mod fixture;
mod forms;
mod query;
mod sheet;
mod store;
mod verify;

pub use command::{ReceiptsArgs, ReportArgs, VerifyArgs, receipts, report, verify};
pub use query::Ask;
pub use store::Store;
pub use verify::outside;

use super::answer::{done, refuse};
use super::api::{Api, Shared};
use super::text::{Failure, Language};
use crate::time::{Civil, SECOND};
use axum::Extension;
use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What the store has of orders.
pub async fn list(State(api): Shared, Extension(language): Extension<Language>, uri: Uri) -> Response {
    let work = async {
        let (ask, sheet) = query::read(&uri)?;
        api.receipts.refresh(&api.handle).await?;
        Ok((api.receipts.receipts(&ask, api.zone).await?, sheet))
    };
    match work.await {
        Ok((list, true)) => csv(sheet::receipts(&list, language), "receipts.csv"),
        Ok((list, false)) => done(Ok(list), language),
        Err(failure) => refuse(&failure, language),
    }
}

/// What areas actually sounded.
pub async fn as_run(State(api): Shared, Extension(language): Extension<Language>, uri: Uri) -> Response {
    let work = async {
        let (ask, sheet) = query::read(&uri)?;
        api.receipts.refresh(&api.handle).await?;
        Ok((api.receipts.as_run(&ask, api.zone).await?, sheet))
    };
    match work.await {
        Ok((log, true)) => csv(sheet::as_run(&log, language), "as-run.csv"),
        Ok((log, false)) => done(Ok(log), language),
        Err(failure) => refuse(&failure, language),
    }
}

/// All of it, with the orders as they were signed, under this node's own signature.
pub async fn bundled(State(api): Shared, Extension(language): Extension<Language>, uri: Uri) -> Response {
    let work = async {
        let (ask, _) = query::read(&uri)?;
        api.receipts.refresh(&api.handle).await?;
        let proofs = api.receipts.proofs(&ask, api.zone).await?;
        let made = api.handle.snapshot().civil.ok_or_else(|| Failure::new("time.unknown", []))?;
        bundle::write(&proofs, &api.handle, made, api.zone)
    };
    match work.await {
        Ok(text) => ([(header::CONTENT_TYPE, "application/x-ndjson")], text).into_response(),
        Err(failure) => refuse(&failure, language),
    }
}

fn csv(text: String, name: &str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    (headers, text).into_response()
}

/// Takes in what the trunk knows, and forgets what is older than is kept: the one owner of both.
pub async fn keep(api: Arc<Api>, mut end: watch::Receiver<bool>) {
    let mut purged: Option<Civil> = None;
    let mut fails = false;
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = end.changed() => return,
        }
        match api.receipts.refresh(&api.handle).await {
            Ok(()) if std::mem::take(&mut fails) => tracing::info!("receipts are kept again"),
            Ok(()) => {}
            // Said once, not every five seconds. The trunk holds what is not kept yet.
            Err(failure) if !std::mem::replace(&mut fails, true) => {
                tracing::error!(code = failure.code, "{failure}");
            }
            Err(_) => continue,
        }
        let Some(now) = api.handle.snapshot().civil else { continue };
        if purged.is_none_or(|purged| now - purged >= PURGED) {
            purged = Some(now);
            if let Err(failure) = api.receipts.purge(now).await {
                tracing::error!(code = failure.code, "{failure}");
            }
        }
    }
}

const EVERY: Duration = Duration::from_secs(5);
/// µs between two looks for what is too old.
const PURGED: i64 = 3_600 * SECOND;
