//! What a process says on standard error, and how much of it.
use crate::config::Log;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// The one log of this process.
pub struct Logging {
    /// The environment's word comes before the configuration's.
    fixed: bool,
    set: Box<dyn Fn(EnvFilter) + Send + Sync>,
}

impl Logging {
    /// `LOA_LOG` chooses what is said (`debug`, `loa=debug`), `LOA_LOG_FORMAT=json` how. To standard error, so that
    /// answers stay alone on standard output.
    pub fn start() -> Self {
        let chosen = EnvFilter::try_from_env("LOA_LOG");
        let fixed = chosen.is_ok();
        let logger = tracing_subscriber::fmt()
            .with_env_filter(chosen.unwrap_or_else(|_| EnvFilter::new(QUIET)))
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal());
        // What is reloaded is the process's own; it ends with it.
        let set: Box<dyn Fn(EnvFilter) + Send + Sync> =
            match std::env::var("LOA_LOG_FORMAT").is_ok_and(|format| format == "json") {
                true => {
                    let logger = logger.json().with_filter_reloading();
                    let handle = logger.reload_handle();
                    logger.init();
                    Box::new(move |filter| drop(handle.reload(filter)))
                }
                false => {
                    let logger = logger.with_filter_reloading();
                    let handle = logger.reload_handle();
                    logger.init();
                    Box::new(move |filter| drop(handle.reload(filter)))
                }
            };
        Self { fixed, set }
    }

    /// What `[log]` of a configuration that has been checked says.
    pub fn follow(&self, log: &Log) {
        if !self.fixed {
            (self.set)(EnvFilter::new(log.level.as_deref().unwrap_or(QUIET)));
        }
    }
}

const QUIET: &str = "warn,loa=info";
