//! Export of spans by OTLP over HTTP with protobuf, the OpenTelemetry default.
//!
//! [`Options::from_lookup`] reads the standard `OTEL_*` keys; without an endpoint there is no export and no
//! cost. [`start`] yields the [`Recorder`] that spans go to and the [`Export`] to run as a task. Between them
//! is a bounded queue: when the collector is slow or away, spans are dropped and counted, and the service
//! never waits.
//!
//! Only plain `http` endpoints are spoken to: run a collector beside the process and let that one speak TLS.

mod client;
mod convert;
mod export;
mod options;

pub use self::export::{
    BATCH_SPANS_MAX, Export, LINGER, QUEUE_SPANS_MAX, SERVICES_MAX, SPANS_DROPPED_TOTAL,
    SPANS_EXPORTED_TOTAL, SPANS_RECORDED_TOTAL, start,
};
pub use self::options::{Error, Options};

#[cfg(doc)]
use crate::span::Recorder;
