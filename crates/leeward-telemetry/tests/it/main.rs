//! The public behaviour of leeward-telemetry.
#![allow(clippy::unwrap_used, reason = "tests")]

mod logs;
mod metrics;
mod otlp;
