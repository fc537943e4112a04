//! What every long-running command needs: a runtime, logs, spans, and an end.

use std::sync::Arc;
use std::time::Duration;

use leeward_resilience::TokioClock;
use leeward_runtime::{Env, Stage, Tasks, signals};
use leeward_telemetry::logs::{self, Format, LogGuard, LogOptions};
use leeward_telemetry::{Registry, otlp, span};
use tokio::runtime::{Builder, Runtime};

use crate::Error;
use crate::cli::{LogFormat, Logs};

/// How long a stop may take: work in hand is finished, then what is left is cut.
const STOP_WITHIN: Duration = Duration::from_millis(4_500);

/// Sets up the logs; they are written until the guard is dropped.
pub(crate) fn log(options: &Logs) -> Result<LogGuard, Error> {
    let format = match options.log_format {
        LogFormat::Human => Format::Human,
        LogFormat::Json => Format::Json,
    };
    Ok(logs::init(&LogOptions { format, filter: options.log.clone(), ..LogOptions::default() })?)
}

/// The runtime of everything but the gateway's data plane, which brings its own.
pub(crate) fn runtime() -> Result<Runtime, Error> {
    Ok(Builder::new_multi_thread().thread_name("leeward").enable_all().build()?)
}

/// Exports spans by OTLP where the standard environment keys say so.
pub(crate) fn export_spans(env: &Env, tasks: &Tasks) -> Result<(), Error> {
    if let Some(options) = otlp::Options::from_lookup(|key| env.get(key))? {
        let (recorder, export) = otlp::start(options, Arc::new(TokioClock), &Registry::new());
        span::install(recorder).map_err(|_second| "spans are recorded already")?;
        tasks.spawn(Stage::Store, "otlp.export", |stop| async move { export.run(stop.requested()).await });
    }
    Ok(())
}

/// Waits for a signal or for a critical task to end, then stops everything in its order.
///
/// # Errors
/// The critical task that ended.
pub(crate) async fn until_stopped(tasks: Tasks, edge: Option<Tasks>) -> Result<(), Error> {
    let failed = tokio::select! {
        _signal = signals::terminated() => None,
        failure = tasks.failure() => Some(failure),
    };
    // The gateway stops first: while it answers what is on its way, everything behind it is still there.
    if let Some(edge) = edge {
        let _report = edge.shutdown(STOP_WITHIN / 2).await;
    }
    let report = tasks.shutdown(STOP_WITHIN / 2).await;
    if !report.is_clean() {
        tracing::warn!(%report, "not everything came to rest in time");
    }
    failed.map_or(Ok(()), |failure| Err(failure.to_string().into()))
}
