use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use leeward_resilience::Clock;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};

use super::client::Sender;
use super::convert::{WallClock, span_data};
use super::options::Options;
use crate::metrics::{Counter, Registry};
use crate::span::{Counts, Finished, Receiver, Recorder, Sampling};

/// Spans that wait for export at most: about half a second of a busy process, some four megabytes.
pub const QUEUE_SPANS_MAX: usize = 8192;
/// Spans of one request at most, as the OpenTelemetry SDKs have it.
pub const BATCH_SPANS_MAX: usize = 512;
/// How long the first span of a batch waits for others. Long enough that a busy process wakes the exporter
/// five times a second and not with every span.
pub const LINGER: Duration = Duration::from_millis(200);
/// Services of one process that have a resource of their own; the spans of any further one are dropped and
/// counted.
pub const SERVICES_MAX: usize = 64;

/// Counts spans taken into the queue.
pub const SPANS_RECORDED_TOTAL: &str = "leeward_spans_recorded_total";
/// Counts spans that were lost: queue full, collector away, or more services than [`SERVICES_MAX`].
pub const SPANS_DROPPED_TOTAL: &str = "leeward_spans_dropped_total";
/// Counts spans that the collector has accepted.
pub const SPANS_EXPORTED_TOTAL: &str = "leeward_spans_exported_total";

/// Sets up the export: a recorder for [`install`](crate::span::install), and the [`Export`] to run as a task.
///
/// `registry` takes the export's own counters.
#[must_use]
pub fn start(options: Options, clock: Arc<dyn Clock>, registry: &Registry) -> (Recorder, Export) {
    let counts = Counts {
        recorded: registry.counter(SPANS_RECORDED_TOTAL, "Spans taken into the export queue"),
        dropped: registry
            .counter(SPANS_DROPPED_TOTAL, "Spans lost: queue full, collector away, or too many services"),
    };
    let exported = registry.counter(SPANS_EXPORTED_TOTAL, "Spans accepted by the collector");
    let dropped = counts.dropped.clone();
    let sampling = Sampling::share(options.share);
    let (recorder, queue) = Recorder::new(Arc::clone(&clock), sampling, counts, QUEUE_SPANS_MAX);
    let wall = WallClock::new(&*clock);
    let scope = InstrumentationScope::builder("leeward").with_version(env!("CARGO_PKG_VERSION")).build();
    let sender = Arc::new(Sender::new(options.timeout));
    let exporters = Exporters { options, sender, by_service: HashMap::new() };
    let export = Export { queue, clock, wall, scope, exporters, exported, dropped, is_failing: false };
    (recorder, export)
}

/// The task that sends recorded spans to the collector.
#[derive(Debug)]
pub struct Export {
    queue: Receiver,
    clock: Arc<dyn Clock>,
    wall: WallClock,
    scope: InstrumentationScope,
    exporters: Exporters,
    exported: Counter,
    dropped: Counter,
    /// So that a collector that is away is one line in the log, not one a batch.
    is_failing: bool,
}

/// One exporter a service, since a service is a resource and an exporter has one; they share the connections.
#[derive(Debug)]
struct Exporters {
    options: Options,
    sender: Arc<Sender>,
    by_service: HashMap<Arc<str>, SpanExporter>,
}

impl Export {
    /// Sends batches until `stop` resolves, then what is left in the queue.
    ///
    /// Run it among the last tasks to stop. Sending what is left takes as long as the collector does: the
    /// owner bounds it.
    ///
    /// # Cancel safety
    /// Not safe: the batch being sent is lost.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut batch = Vec::with_capacity(BATCH_SPANS_MAX);
        loop {
            tokio::select! {
                received = self.queue.recv_many(&mut batch, 1) => if received == 0 { return },
                () = &mut stop => break,
            }
            let is_stopping = tokio::select! {
                () = tokio::time::sleep(LINGER) => false,
                () = &mut stop => true,
            };
            if is_stopping {
                break;
            }
            self.drain(&mut batch).await;
        }
        self.queue.close();
        self.drain(&mut batch).await;
    }

    /// Sends `batch` and all that waits now, and leaves `batch` empty.
    async fn drain(&mut self, batch: &mut Vec<Finished>) {
        // Bounded by what waits at the beginning, so that a flood of spans cannot keep a stop from being
        // seen.
        let mut left = self.queue.len();
        loop {
            while batch.len() < BATCH_SPANS_MAX
                && left > 0
                && let Ok(span) = self.queue.try_recv()
            {
                batch.push(span);
                left -= 1;
            }
            if batch.is_empty() {
                return;
            }
            self.send(batch).await;
            if left == 0 {
                return;
            }
        }
    }

    async fn send(&mut self, batch: &mut Vec<Finished>) {
        self.wall.adjust(&*self.clock);
        let mut by_service: HashMap<Arc<str>, Vec<SpanData>> = HashMap::new();
        for span in batch.drain(..) {
            let service = Arc::clone(&span.service);
            by_service.entry(service).or_default().push(span_data(span, &self.wall, &self.scope));
        }
        for (service, spans) in by_service {
            let count = u64::try_from(spans.len()).unwrap_or(u64::MAX);
            let sent = match self.exporters.of(&service) {
                Ok(exporter) => exporter.export(spans).await.map_err(|error| shown(&error)),
                Err(error) => Err(error),
            };
            let counter = if sent.is_ok() { &self.exported } else { &self.dropped };
            counter.add(count);
            self.report(sent.err());
        }
    }

    fn report(&mut self, error: Option<String>) {
        match (error, self.is_failing) {
            (Some(error), false) => {
                tracing::warn!(%error, "spans are lost: the trace collector does not take them")
            }
            (None, true) => tracing::info!("the trace collector takes spans again"),
            (Some(_), true) | (None, false) => return,
        }
        self.is_failing = !self.is_failing;
    }
}

impl Exporters {
    fn of(&mut self, service: &Arc<str>) -> Result<&SpanExporter, String> {
        if !self.by_service.contains_key(service) {
            if self.by_service.len() >= SERVICES_MAX {
                return Err(format!("more than {SERVICES_MAX} services in one process"));
            }
            let exporter = self.build(service).map_err(|error| error.to_string())?;
            self.by_service.insert(Arc::clone(service), exporter);
        }
        self.by_service.get(service).ok_or_else(|| "no exporter".to_owned())
    }

    fn build(&self, service: &Arc<str>) -> Result<SpanExporter, ExporterBuildError> {
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_shared_http_client(Arc::clone(&self.sender) as _)
            .with_endpoint(self.options.endpoint.to_string())
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(self.options.timeout)
            .with_headers(self.options.headers.clone())
            .with_retry_policy(RetryPolicy::disabled())
            .build()?;
        let attributes =
            self.options.attributes.iter().cloned().map(|(name, value)| KeyValue::new(name, value));
        let resource =
            Resource::builder_empty().with_attributes(attributes).with_service_name(service.to_string());
        exporter.set_resource(&resource.build());
        Ok(exporter)
    }
}

fn shown(error: &OTelSdkError) -> String {
    error.to_string()
}
