//! In the place of `people`, in a build for loudspeakers: there is no API, and its configuration may have none.
use super::text::Failure;
use crate::config::Config;
use crate::io::Handle;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Nobody.
pub enum People {}

/// Nothing is decoded here.
#[derive(Clone, Debug, Default)]
pub struct Isolation {}

impl Isolation {
    pub fn own(_foreign: Option<PathBuf>) -> Self {
        Self {}
    }
}

pub async fn open(_config: &Config) -> Result<Option<TcpListener>, Failure> {
    Ok(None)
}

pub fn start(
    _config: &Config,
    _handle: &Handle,
    _isolation: Isolation,
    _listener: TcpListener,
    _tasks: &mut JoinSet<()>,
    _ended: &watch::Receiver<bool>,
) -> Result<People, Failure> {
    Err(Failure::new("config.not_built", []))
}

impl People {
    pub fn address(&self) -> SocketAddr {
        match *self {}
    }

    pub async fn stop(self) {
        match self {}
    }

    pub fn reload(&self, _config: &Config) {
        match *self {}
    }
}
