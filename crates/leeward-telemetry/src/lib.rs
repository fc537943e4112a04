//! What lets others see what a process does: trace context and correlation that travel with the work, spans
//! exported by OTLP, Prometheus metrics, and logs.
//!
//! It deliberately holds no business metrics and no names of other crates' metrics: a name lives in the crate
//! that emits it. The policies of leeward-resilience have no registry of their own; [`PolicyMetrics`] counts for them. It does not read the environment; keys come in through [`otlp::Options::from_lookup`].
//!
//! ```
//! use leeward_resilience::FastRng;
//! use leeward_telemetry::{Correlation, Registry, SpanKind, metrics::http, span};
//!
//! let registry = Registry::new();
//! let requests = registry.counters(http::REQUESTS_TOTAL, "Requests answered", http::REQUEST_LABELS);
//!
//! let work = Correlation::new_root(&FastRng::from_entropy());
//! let span = span("GET /cart", SpanKind::Server, "orders", &work.trace);
//! let work = work.at(span.context());     // what is called from here is a child of the span
//! requests.with(["GET", "/cart", "200"]).inc();
//!
//! assert!(work.trace.header_value().starts_with("00-"));
//! assert!(registry.encode().contains("http_requests_total{"));
//! ```
//!
//! Invariants:
//! - Nothing here makes the code that is observed wait: spans and log lines go through bounded queues and are
//!   dropped and counted when these are full; counting is a few atomic operations.
//! - Without an exporter a span costs an id.
//! - Every label set is bounded ([`metrics::Bound`]); every text taken from outside is checked or cut.

pub mod correlation;
pub mod logs;
pub mod metrics;
pub mod otlp;
pub mod policies;
pub mod span;
pub mod trace;

pub use correlation::{CORRELATION_ID, Correlation, REQUEST_ID};
pub use metrics::Registry;
pub use policies::PolicyMetrics;
pub use span::{Recorder, Span, SpanKind, span};
pub use trace::{TRACEPARENT, TraceContext, hex_id};
