//! Watching a tree: what its nodes tell Prometheus, and what the rules and dashboards in `config/` make of it. With
//! real nodes and a real Prometheus; `promtool` is of the same package.

mod conventions;
mod dashboards;
mod exposition;
mod logs;
#[path = "../ports/mod.rs"]
mod ports;
mod prometheus;
mod rules;
mod tree;

use std::path::PathBuf;

/// A file of the repository.
fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
