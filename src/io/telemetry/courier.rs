//! Carries what the queue holds to the collector, batch by batch, and says once when it can't.
use super::super::queue::Drops;
use super::collector::{Answer, Collector};
use opentelemetry::InstrumentationScope;
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, Protocol, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{LogBatch, LogExporter as _, SdkLogRecord};
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

pub struct Courier {
    items: mpsc::Receiver<Item>,
    /// When it is over, once that is known.
    end: watch::Receiver<Option<Instant>>,
    batch: Batch,
    collector: Collector,
    spans: SpanExporter,
    logs: LogExporter,
    drops: Drops,
    trouble: Trouble,
    url: String,
}

#[derive(Debug)]
pub enum Item {
    Span(Box<SpanData>),
    Log(Box<(SdkLogRecord, InstrumentationScope)>),
}

/// Taken out of the queue, and not yet taken by the collector.
#[derive(Default)]
struct Batch {
    spans: Vec<SpanData>,
    logs: Vec<(SdkLogRecord, InstrumentationScope)>,
}

impl Courier {
    pub fn new(
        url: &str,
        resource: &Resource,
        items: mpsc::Receiver<Item>,
        end: watch::Receiver<Option<Instant>>,
        drops: Drops,
    ) -> Result<Self, String> {
        let collector = Collector::new()?;
        let url = url.trim_end_matches('/').to_owned();
        let because = |error: ExporterBuildError| error.to_string();
        // It would sleep on a thread of the API; the courier does that.
        let once = || RetryPolicy::default().with_max_retries(0);
        let mut spans = SpanExporter::builder()
            .with_http()
            .with_http_client(collector.clone())
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{url}/v1/traces"))
            .with_retry_policy(once())
            .build()
            .map_err(because)?;
        let mut logs = LogExporter::builder()
            .with_http()
            .with_http_client(collector.clone())
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{url}/v1/logs"))
            .with_retry_policy(once())
            .build()
            .map_err(because)?;
        spans.set_resource(resource);
        logs.set_resource(resource);
        let (batch, trouble) = (Batch::default(), Trouble::default());
        Ok(Self { items, end, batch, collector, spans, logs, drops, trouble, url })
    }

    /// Until the end is told, and then until nothing is left or the time is over.
    pub async fn run(mut self) {
        let (mut end, mut over) = (self.end.clone(), self.end.clone());
        let mut ended = std::pin::pin!(async move { drop(end.wait_for(Option::is_some).await) });
        let mut over = std::pin::pin!(async move {
            let deadline = over.wait_for(Option::is_some).await.ok().and_then(|deadline| *deadline);
            if let Some(deadline) = deadline {
                sleep_until(deadline).await;
            }
        });
        loop {
            tokio::select! {
                () = self.gather() => {}
                () = &mut ended => break,
            }
            // A batch under way is let go only when the time is over: it would come twice.
            let sent = tokio::select! {
                sent = self.send() => sent,
                () = &mut over => return,
            };
            if !sent {
                tokio::select! {
                    () = sleep(AGAIN) => {}
                    () = &mut ended => break,
                }
            }
        }
        if self.trouble.now {
            return;
        }
        self.items.close();
        let rest = async {
            loop {
                while self.batch.len() < BATCH
                    && let Ok(item) = self.items.try_recv()
                {
                    self.batch.push(item);
                }
                if self.batch.len() == 0 || !self.send().await {
                    return;
                }
            }
        };
        tokio::select! {
            () = rest => {}
            () = &mut over => {}
        }
    }

    /// Waits for the first item; the others have a second to come with it.
    async fn gather(&mut self) {
        if self.batch.len() == 0 {
            match self.items.recv().await {
                Some(item) => self.batch.push(item),
                // Nobody is left to say anything; the end will be told.
                None => std::future::pending().await,
            }
        }
        let until = Instant::now() + PAUSE;
        while self.batch.len() < BATCH {
            match timeout_at(until, self.items.recv()).await {
                Ok(Some(item)) => self.batch.push(item),
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// False if some of it has to wait.
    async fn send(&mut self) -> bool {
        let mut why = None;
        if !self.batch.spans.is_empty() {
            let taken = self.spans.export(self.batch.spans.clone()).await.is_ok();
            if !self.waits(taken, self.batch.spans.len(), &mut why) {
                self.batch.spans.clear();
            }
        }
        // Whoever is away is asked once.
        if !self.batch.logs.is_empty() && self.batch.spans.is_empty() {
            let borrowed: Vec<_> = self.batch.logs.iter().map(|one| (&one.0, &one.1)).collect();
            let taken = self.logs.export(LogBatch::new(&borrowed)).await.is_ok();
            if !self.waits(taken, self.batch.logs.len(), &mut why) {
                self.batch.logs.clear();
            }
        }
        match why {
            None => self.trouble.over(Instant::now(), &self.url, &self.drops),
            Some(why) => self.trouble.told(Instant::now(), &self.url, &why),
        }
        self.batch.len() == 0
    }

    /// Whether they are to be sent again; `why` something is wrong.
    fn waits(&self, taken: bool, count: usize, why: &mut Option<String>) -> bool {
        match self.collector.answer() {
            Some(Answer::Away(reason)) => {
                *why = Some(reason);
                return true;
            }
            Some(Answer::Refused(status)) => *why = Some(format!("it refuses what it is sent: HTTP status {status}")),
            _ if !taken => *why = Some("what it was to be sent could not be written".to_owned()),
            _ => return false,
        }
        self.drops.add(count as u64);
        false
    }
}

impl Batch {
    fn len(&self) -> usize {
        self.spans.len() + self.logs.len()
    }

    fn push(&mut self, item: Item) {
        match item {
            Item::Span(span) => self.spans.push(*span),
            Item::Log(log) => self.logs.push(*log),
        }
    }
}

/// A collector that is not there is told of once, not with each batch.
#[derive(Default)]
struct Trouble {
    /// The last batch was not taken.
    now: bool,
    /// Since when it has been told; `None` once that is over.
    told: Option<Instant>,
    /// When it was told last.
    last: Option<Instant>,
}

impl Trouble {
    fn told(&mut self, now: Instant, url: &str, why: &str) {
        self.now = true;
        if self.told.is_some() || self.last.is_some_and(|last| now - last < SILENCE) {
            return;
        }
        self.told = Some(now);
        self.last = self.told;
        tracing::warn!(
            code = "telemetry.collector",
            "the collector {url} takes no telemetry: {why}; see that it runs there and takes OTLP over HTTP; the node goes on without"
        );
    }

    fn over(&mut self, now: Instant, url: &str, drops: &Drops) {
        self.now = false;
        if let Some(since) = self.told.take() {
            let (seconds, dropped) = ((now - since).as_secs(), drops.count());
            tracing::info!(
                code = "telemetry.collector",
                dropped,
                "the collector {url} takes telemetry again after {seconds} s"
            );
        }
    }
}

/// Spans and log records in one request and its fellow: some 300 KiB.
const BATCH: usize = 512;
/// Soon enough for whoever watches; a request a second, or two.
const PAUSE: Duration = Duration::from_secs(1);
/// After a batch that was not taken.
const AGAIN: Duration = Duration::from_secs(5);
/// A collector that comes and goes is not told of more often.
const SILENCE: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_that_comes_and_goes_is_told_of_once_in_ten_minutes() {
        let (mut trouble, drops, start) = (Trouble::default(), Drops::new("telemetry"), Instant::now());
        let mut told = Vec::new();
        for second in (0..1_200).step_by(5) {
            let now = start + Duration::from_secs(second);
            trouble.told(now, "http://x:1", "away");
            told.extend(trouble.told.is_some().then_some(second));
            assert!(trouble.now);
            trouble.over(now, "http://x:1", &drops);
            assert!(!trouble.now && trouble.told.is_none());
        }
        assert_eq!(told, [0, 600]);
    }

    #[test]
    fn one_that_stays_away_is_told_of_once() {
        let (mut trouble, start) = (Trouble::default(), Instant::now());
        trouble.told(start, "http://x:1", "away");
        trouble.told(start + 10 * SILENCE, "http://x:1", "away");
        assert_eq!(trouble.last, Some(start));
    }
}
