//! People and programs: HTTP/JSON, the command line, and the demonstration tree (DESIGN §8, §9).
//!
//! `serve` runs a node with its listeners; `api` answers what people ask of it; `client` asks. What the
//! trunk must decide goes to it as a `Request`; this room only reads files, forms and times, and says
//! what came of it in the reader's language.

mod admin;
#[cfg(feature = "full")]
mod answer;
#[cfg(feature = "full")]
mod api;
#[cfg(feature = "full")]
mod broadcasts;
mod check;
pub mod cli;
#[cfg(feature = "full")]
pub mod client;
#[cfg(feature = "full")]
mod demo;
mod doctor;
#[cfg(feature = "full")]
mod enrol;
mod enrolling;
#[cfg(feature = "full")]
mod forms;
mod help;
#[cfg(feature = "full")]
mod live;
mod logging;
#[cfg(feature = "full")]
pub mod lossy;
#[cfg(feature = "full")]
mod media;
#[cfg(feature = "full")]
mod operator;
#[cfg(feature = "full")]
mod outcome;
#[cfg(feature = "full")]
#[doc(hidden)]
pub mod outside;
#[cfg(feature = "full")]
mod packets;
#[cfg(feature = "full")]
mod passphrase;
#[cfg(feature = "full")]
mod people;
#[cfg(not(feature = "full"))]
#[path = "nobody.rs"]
mod people;
#[cfg(feature = "full")]
mod places;
#[cfg(feature = "full")]
mod reach;
#[cfg(feature = "full")]
mod receipts;
mod reload;
#[cfg(feature = "full")]
mod report;
#[cfg(feature = "full")]
mod second;
pub mod serve;
#[cfg(feature = "full")]
mod settings;
#[cfg(feature = "full")]
mod speak;
#[cfg(feature = "full")]
pub mod sync;
#[cfg(feature = "full")]
mod table;
#[cfg(feature = "otel")]
mod telemetry;
pub mod text;
#[cfg(feature = "full")]
mod timetable;
#[cfg(feature = "full")]
mod token;
#[cfg(feature = "full")]
mod trace;
#[cfg(feature = "full")]
mod transcode;
#[cfg(feature = "full")]
mod tree;
#[cfg(feature = "full")]
mod up;
mod volume;
pub mod when;

/// The configuration file of a node, where it lies in the data folder.
pub const CONFIG: &str = "loa.toml";
/// The origin of `loa up`.
pub const DEMO: &str = "data/demo/origin";

/// Work that waits for disks and networks, off the threads that people wait on.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, text::Failure> + Send + 'static,
) -> Result<T, text::Failure> {
    let span = tracing::Span::current();
    // It ends early only when it panicked or the program is stopping.
    tokio::task::spawn_blocking(move || span.in_scope(work))
        .await
        .unwrap_or_else(|_| Err(text::Failure::new("node.stopping", [])))
}
