//! What a process says on standard error, and how much of it; and to a collector, where telemetry is built in.
#[cfg(feature = "otel")]
use super::telemetry::Telemetry;
use crate::config::Config;
use crate::io::Handle;
use std::io::IsTerminal;
use tracing::Metadata;
use tracing_subscriber::filter::{FilterExt, FilterFn, LevelFilter, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

/// The one log of this process.
pub struct Logging {
    /// The environment's word; it comes before the configuration's.
    fixed: Option<String>,
    filter: reload::Handle<EnvFilter, Registry>,
    #[cfg(feature = "otel")]
    telemetry: Telemetry,
}

/// A part of what becomes of each event and span.
pub type Part = Box<dyn Layer<Registry> + Send + Sync>;

impl Logging {
    /// `LOA_LOG` chooses what is said (`debug`, `loa=debug`), `LOA_LOG_FORMAT=json` how. To standard error, so that
    /// answers stay alone on standard output.
    pub fn start() -> Self {
        let fixed = std::env::var("LOA_LOG").ok().filter(|level| EnvFilter::try_new(level).is_ok());
        let (filter, handle) = reload::Layer::new(EnvFilter::new(fixed.as_deref().unwrap_or(QUIET)));
        // Loa's own spans are for a collector: a line says all that it has to say by itself.
        let filter = filter.and(every_level(|what| what.is_event() || !is_own(what)));
        let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
        let lines: Part = match std::env::var("LOA_LOG_FORMAT").is_ok_and(|format| format == "json") {
            true => lines.json().with_filter(filter).boxed(),
            false => lines.with_filter(filter).boxed(),
        };
        #[cfg(feature = "otel")]
        let (telemetry, parts) = Telemetry::new();
        #[cfg(not(feature = "otel"))]
        let parts: [Part; 0] = [];
        let parts: Vec<Part> = std::iter::once(lines).chain(parts).collect();
        // The process's own; it ends with it.
        tracing_subscriber::registry().with(parts).init();
        Self {
            fixed,
            filter: handle,
            #[cfg(feature = "otel")]
            telemetry,
        }
    }

    /// What `[log]` and `[telemetry]` of a configuration that has been checked say of how much is said.
    pub fn follow(&self, config: &Config) {
        if self.fixed.is_none() {
            // Its layer lasts as long as the process.
            let _ = self.filter.reload(EnvFilter::new(self.level(config)));
        }
        #[cfg(feature = "otel")]
        self.telemetry.follow(config, self.level(config));
    }

    /// What `[telemetry]` asks for is sent from now on, if it is there.
    pub async fn export(&self, config: &Config, handle: &Handle) {
        #[cfg(feature = "otel")]
        self.telemetry.start(config, handle, self.level(config)).await;
        #[cfg(not(feature = "otel"))]
        let _ = (config, handle);
    }

    /// Sends what is left to send, for a short while.
    pub async fn end(&self) {
        #[cfg(feature = "otel")]
        self.telemetry.stop().await;
    }

    fn level<'a>(&'a self, config: &'a Config) -> &'a str {
        self.fixed.as_deref().or(config.log.level.as_deref()).unwrap_or(QUIET)
    }
}

/// Whether this program says it, and none of what it is built from.
pub fn is_own(what: &Metadata<'_>) -> bool {
    what.target() == "loa" || what.target().starts_with("loa::")
}

/// A filter that says of itself that it stops no level: beside one that does, what is not said then costs nothing.
pub fn every_level<F: Fn(&Metadata<'_>) -> bool>(wanted: F) -> FilterFn<F> {
    filter_fn(wanted).with_max_level_hint(LevelFilter::TRACE)
}

const QUIET: &str = "warn,loa=info";
