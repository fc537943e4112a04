//! What every long-running command needs: a runtime, logs, spans, and an end.

use std::sync::Arc;
use std::time::Duration;

use leeward_gateway::Gateway;
use leeward_gateway::reload::Cause;
use leeward_resilience::{Clock, TokioClock};
use leeward_runtime::signals::Hangups;
use leeward_runtime::{Env, Stage, StopReport, Tasks, signals};
use leeward_telemetry::logs::{self, Format, LogGuard, LogOptions};
use leeward_telemetry::{Registry, otlp, span};
use tokio::runtime::{Builder, Runtime};

use crate::Error;
use crate::cli::{LogFormat, Logs};
use crate::upgrade::Upgrades;

/// How long a stop may take where a gateway does not need longer to drain: work in hand is finished, then what is left is
/// cut. Five seconds are promised, and half of one is for what a busy machine adds.
const STOP_WITHIN: Duration = Duration::from_millis(4_500);

/// What the parts behind a gateway have for their stop, however long the gateway took.
const BEHIND_MIN: Duration = Duration::from_millis(800);

/// The longest drain with which a gateway and all behind it stop within [`STOP_WITHIN`].
#[cfg(feature = "demo")]
pub(crate) const DRAIN_MAX: Duration = Duration::from_secs(3);

/// A gateway of this process, which stops before what it calls.
#[derive(Debug)]
pub(crate) struct Edge {
    /// Its tasks and no others.
    pub(crate) tasks: Tasks,
    /// The gateway itself, which says how long its requests may take to finish: `limits.drain` of the configuration in force.
    pub(crate) gateway: Gateway,
    /// Whether another process may take its place.
    pub(crate) upgrades: Option<Upgrades>,
}

/// Resolves once another process answers in place of the gateway.
async fn taken_over(edge: Option<&mut Edge>) {
    match edge {
        Some(Edge { gateway, upgrades: Some(upgrades), .. }) => upgrades.taken_over(gateway).await,
        _ => std::future::pending().await,
    }
}

/// What the tasks of a gateway need, so that its drain is kept in full: [`Tasks::shutdown`] sets an eighth aside for the one stage
/// behind the data plane, that of the admin API, which needs half a second to close its streams.
fn budget(drain: Duration) -> Duration {
    drain * 8 / 7 + Duration::from_millis(250)
}

/// Has the gateway read its configuration again at each SIGHUP. What comes of it is in the log.
pub(crate) fn reload_on_hangup(gateway: &Gateway, tasks: &Tasks) -> Result<(), Error> {
    let (gateway, mut hangups) = (gateway.clone(), Hangups::listen()?);
    tasks.spawn(Stage::Work, "gateway.hangups", |stop| async move {
        while stop.or(hangups.next()).await.is_some() {
            let _logged = gateway.read_again(Cause::Hangup).await;
        }
    });
    Ok(())
}

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

/// Waits for a signal, for a critical task to end, or for another process to take over, then stops everything in its order.
///
/// # Errors
/// The critical task that ended.
pub(crate) async fn until_stopped(tasks: Tasks, mut edge: Option<Edge>) -> Result<(), Error> {
    let failed = tokio::select! {
        _signal = signals::terminated() => None,
        failure = tasks.failure() => Some(failure),
        () = taken_over(edge.as_mut()) => None,
    };
    let from = TokioClock.now();
    // The gateway stops first: while it answers what is on its way, everything behind it is still there.
    if let Some(edge) = edge {
        let drain = edge.gateway.config().limits.drain;
        complain(&edge.tasks.shutdown(budget(drain)).await);
    }
    let took = TokioClock.now().saturating_duration_since(from);
    complain(&tasks.shutdown(STOP_WITHIN.saturating_sub(took).max(BEHIND_MIN)).await);
    failed.map_or(Ok(()), |failure| Err(failure.to_string().into()))
}

fn complain(report: &StopReport) {
    if !report.is_clean() {
        tracing::warn!(%report, "not everything came to rest in time");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_kept_in_full() {
        for ms in [1, 100, 3_000, 30_000, 3_600_000] {
            let drain = Duration::from_millis(ms);
            assert!(budget(drain) * 7 / 8 > drain, "{drain:?}");
        }
    }

    #[test]
    #[cfg(feature = "demo")]
    fn the_demo_is_down_within_its_promise() {
        assert!(budget(DRAIN_MAX) + BEHIND_MIN <= STOP_WITHIN);
    }
}
