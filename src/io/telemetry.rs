//! Sends the spans and log records of this process to an OpenTelemetry collector: OTLP over HTTP, as protobuf.
//!
//! ```text
//!   tracing ─▶ tracer, logger ─▶ Queue (bounded) ─▶ courier: a batch a second ─▶ collector ─▶ POST /v1/traces, /v1/logs
//! ```
//!
//! Whoever says something only ever offers it to the queue. What finds it full is dropped and counted. A batch that a
//! collector doesn't answer is kept and sent again; one that it refuses is dropped.
mod collector;
mod courier;

use super::queue::Drops;
use courier::{Courier, Item};
use opentelemetry::trace::TracerProvider;
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogProcessor, SdkLogRecord, SdkLoggerProvider};
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, Span, SpanData, SpanProcessor};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

/// Who speaks; the collector hears it with every batch.
#[derive(Clone, Debug)]
pub struct Speaker {
    pub node: Uuid,
    /// As its placement says, where that is known.
    pub name: Option<String>,
    pub area: Option<String>,
    pub role: Option<String>,
}

/// What sends, until [`Exporter::stop`].
pub struct Exporter {
    spans: SdkTracerProvider,
    logs: SdkLoggerProvider,
    end: watch::Sender<Option<Instant>>,
    courier: JoinHandle<()>,
}

impl Exporter {
    /// To a collector at `url`, which has been checked as the configuration was read. In a tokio runtime.
    pub fn start(url: &str, speaker: &Speaker, drops: Drops) -> Result<Self, String> {
        let resource = resource(speaker);
        let (sender, items) = mpsc::channel(QUEUE);
        let (end, ended) = watch::channel(None);
        let courier = Courier::new(url, &resource, items, ended, drops.clone())?;
        let queue = Queue { sender, drops };
        let spans = SdkTracerProvider::builder()
            .with_resource(resource.clone())
            .with_sampler(Sampler::AlwaysOn)
            .with_span_processor(queue.clone())
            .build();
        let logs = SdkLoggerProvider::builder().with_resource(resource).with_log_processor(queue).build();
        Ok(Self { spans, logs, end, courier: tokio::spawn(courier.run()) })
    }

    pub fn tracer(&self) -> SdkTracer {
        self.spans.tracer(SERVICE)
    }

    pub fn logs(&self) -> &SdkLoggerProvider {
        &self.logs
    }

    /// Sends what is left, for at most two seconds, and none where the collector did not answer before.
    pub async fn stop(self) {
        self.end.send_replace(Some(Instant::now() + FLUSH));
        // It ends by itself then; whatever holds it up holds nobody else up.
        let _ = tokio::time::timeout(FLUSH + GRACE, self.courier).await;
    }
}

fn resource(speaker: &Speaker) -> Resource {
    let named = |name: &'static str, value: &Option<String>| {
        value.as_ref().filter(|value| !value.is_empty()).map(|value| KeyValue::new(name, value.clone()))
    };
    // Nothing of the environment: what is sent is what is read here.
    Resource::builder_empty()
        .with_service_name(SERVICE)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", speaker.node.to_string()))
        .with_attributes(named("loa.node.name", &speaker.name))
        .with_attributes(named("loa.node.area", &speaker.area))
        .with_attributes(named("loa.node.role", &speaker.role))
        .build()
}

/// The way in: it never waits.
#[derive(Clone, Debug)]
struct Queue {
    sender: mpsc::Sender<Item>,
    drops: Drops,
}

impl Queue {
    fn offer(&self, item: Item) {
        if self.sender.try_send(item).is_err() {
            self.drops.add(1);
        }
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.offer(Item::Span(Box::new(span)));
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl LogProcessor for Queue {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        self.offer(Item::Log(Box::new((record.clone(), scope.clone()))));
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

const SERVICE: &str = "loa";
/// Spans and log records that wait: half a minute of seventy requests a second, some 4 MiB.
const QUEUE: usize = 2_048;
/// What the last batches may take at shutdown.
const FLUSH: Duration = Duration::from_secs(2);
/// For the courier to notice that its time is over.
const GRACE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_and_counts_and_waits_for_nobody() {
        let (sender, mut items) = mpsc::channel(2);
        let queue = Queue { sender, drops: Drops::new("telemetry") };
        let provider = SdkLoggerProvider::builder().with_log_processor(queue.clone()).build();
        let logger = opentelemetry::logs::LoggerProvider::logger(&provider, SERVICE);
        for _ in 0..5 {
            use opentelemetry::logs::Logger;
            logger.emit(logger.create_log_record());
        }
        assert_eq!(queue.drops.count(), 3);
        assert!(items.try_recv().is_ok() && items.try_recv().is_ok() && items.try_recv().is_err());
    }

    #[test]
    fn a_node_without_a_place_says_none() {
        let speaker = Speaker { node: Uuid::nil(), name: None, area: Some(String::new()), role: Some("relay".into()) };
        let said: Vec<String> = resource(&speaker).iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert!(said.contains(&"loa.node.role=relay".to_owned()) && said.contains(&"service.name=loa".to_owned()));
        assert!(
            !said.iter().any(|one| one.contains("name=") && one.contains("node") || one.contains("area")),
            "{said:?}"
        );
    }
}
