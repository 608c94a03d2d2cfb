//! One running node: the only place that assembles threads, sockets, store and device.
use super::store::Store;
use crate::config::Config;
use crate::node::trunk::{Event, Reply, Request};
use crate::node::{branch, trunk};
use crate::time::Civil;
use std::sync::Arc;
use uuid::Uuid;

/// Why a node does not start: names file, port or key, and the mend.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {text}")]
pub struct StartError {
    pub code: &'static str,
    pub text: String,
}

/// A running node; `stop` (or drop) drains and joins its threads.
pub struct Node {}

impl Node {
    pub fn start(_config: &Config) -> Result<Self, StartError> {
        todo!()
    }

    pub fn handle(&self) -> Handle {
        todo!()
    }

    /// Goodbye to parent and children, journal synced, threads joined; at most 3 s.
    pub fn stop(self) {
        todo!()
    }
}

/// What `control` holds of a node. Cheap to clone.
#[derive(Clone)]
pub struct Handle {}

impl Handle {
    pub fn id(&self) -> Uuid {
        todo!()
    }

    /// `None` when the node is stopping or its queue (256) is full.
    pub async fn request(&self, _request: Request) -> Option<Reply> {
        todo!()
    }

    /// Events from now on; a slow reader loses the oldest and is told how many.
    pub fn events(&self) -> tokio::sync::broadcast::Receiver<Event> {
        todo!()
    }

    pub fn snapshot(&self) -> Snapshot {
        todo!()
    }

    pub fn store(&self) -> Arc<Store> {
        todo!()
    }

    /// Prometheus text.
    pub fn metrics(&self) -> String {
        todo!()
    }

    /// What the speaker's device has played: the newest chunks (bounded), for sync measurements.
    pub fn played(&self) -> Vec<Played> {
        todo!()
    }
}

/// Counters as they stood at most a second ago.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub civil: Option<Civil>,
    pub ready: bool,
    pub trunk: trunk::Counters,
    pub branches: Vec<branch::Counters>,
}

/// One step as a sound card let it out.
#[derive(Clone, Copy, Debug)]
pub struct Played {
    pub track: Option<Uuid>,
    /// Sample of the track (index × duration + offset) and of the tone (`track: None`).
    pub sample: u64,
    pub count: u32,
    pub concealed: bool,
    /// When its first sample left the device: µs of the machine's monotonic clock, with a fraction.
    pub left: f64,
}
