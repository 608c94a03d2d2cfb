//! Hands Loa's own spans and log events to what sends them to a collector; to nobody, until a node runs that has
//! `[telemetry]`.
//!
//! Spans are those of requests and of long work (`trace`); nothing is said of a packet or a listener. What the
//! libraries say stays here: at the level `trace` it would be a span for each packet, and the sending of it would be
//! told, too.
use super::logging::{Part, every_level, is_own};
use crate::config::Config;
use crate::io::Handle;
use crate::io::telemetry::{Exporter, Speaker};
use crate::node::trunk::{Reply, Request};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tracing::Metadata;
use tracing_subscriber::filter::{FilterExt, LevelFilter};
use tracing_subscriber::layer::Layer;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// Two parts of the log, one for spans and one for events, which may be filled while the process runs.
pub struct Telemetry {
    spans: Slot,
    events: Slot,
    exporter: Mutex<Option<Exporter>>,
}

/// Filters stay where they are: a layer that is put in later may bring none (`tracing_subscriber::reload`).
struct Slot {
    layer: reload::Handle<Option<Part>, Registry>,
    filter: reload::Handle<EnvFilter, Registry>,
}

impl Telemetry {
    /// And its parts of the log.
    pub fn new() -> (Self, [Part; 2]) {
        let (spans, one) = Slot::new(|what| what.is_span());
        let (events, two) = Slot::new(|what| what.is_event() && what.target() != QUOTING);
        (Self { spans, events, exporter: Mutex::default() }, [one, two])
    }

    /// For a node that has `[telemetry]`; `level` is the log's.
    pub async fn start(&self, config: &Config, handle: &Handle, level: &str) {
        let (Some(telemetry), Some(drops)) = (&config.telemetry, handle.telemetry()) else { return };
        match Exporter::start(&telemetry.otlp, &speaker(handle).await, drops) {
            Ok(exporter) => {
                let spans = tracing_opentelemetry::layer()
                    .with_tracer(exporter.tracer())
                    .with_location(false)
                    .with_threads(false)
                    .with_tracked_inactivity(false);
                self.spans.fill(Some(spans.boxed()));
                self.events.fill(Some(OpenTelemetryTracingBridge::new(exporter.logs()).boxed()));
                *self.exporter.lock().unwrap_or_else(PoisonError::into_inner) = Some(exporter);
                self.follow(config, level);
            }
            Err(error) => tracing::error!(code = "telemetry.start", %error, "there is no telemetry of this node"),
        }
    }

    /// How much is said from now on.
    pub fn follow(&self, config: &Config, level: &str) {
        let running = self.exporter.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if let Some(telemetry) = config.telemetry.as_ref().filter(|_| running) {
            let level = telemetry.level.as_deref().unwrap_or(level);
            self.spans.at(EnvFilter::new(level));
            self.events.at(EnvFilter::new(level));
        }
    }

    /// Nothing more is said; what was said is sent, for two seconds at most.
    pub async fn stop(&self) {
        let exporter = self.exporter.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(exporter) = exporter {
            for slot in [&self.spans, &self.events] {
                slot.at(nothing());
                slot.fill(None);
            }
            exporter.stop().await;
        }
    }
}

impl Slot {
    fn new(wanted: fn(&Metadata<'_>) -> bool) -> (Self, Part) {
        let (layer, fill) = reload::Layer::new(None::<Part>);
        let (filter, at) = reload::Layer::new(nothing());
        let filter = filter.and(every_level(move |what| is_own(what) && wanted(what)));
        (Self { layer: fill, filter: at }, layer.with_filter(filter).boxed())
    }

    // Neither fails: what is reloaded lasts as long as the process.
    fn fill(&self, layer: Option<Part>) {
        let _ = self.layer.reload(layer);
    }

    fn at(&self, filter: EnvFilter) {
        let _ = self.filter.reload(filter);
    }
}

fn nothing() -> EnvFilter {
    EnvFilter::default().add_directive(LevelFilter::OFF.into())
}

/// Who this node is, as it knows now; a board may get its place later.
async fn speaker(handle: &Handle) -> Speaker {
    let id = handle.id();
    let reports = match tokio::time::timeout(SILENT, handle.request(Request::Nodes)).await {
        Ok(Some(Reply::Nodes(reports))) => reports,
        _ => Vec::new(),
    };
    let own = reports.iter().find(|report| report.node.as_ref() == id.as_bytes().as_slice());
    let (name, area) = (own.map(|own| own.name.clone()), own.map(|own| own.area.clone()));
    Speaker { node: id, name, area, role: own.map(|own| own.role.clone()) }
}

/// Says what was refused in the caller's own words, which may be anything; its code is in the request's span.
const QUOTING: &str = "loa::control::answer";
/// For the trunk to say who it is: it answers within a tick.
const SILENT: Duration = Duration::from_secs(2);
