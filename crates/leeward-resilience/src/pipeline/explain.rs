//! The pipeline in words.

use super::PipelineOptions;
use crate::retry::Jitter;
use crate::{adaptive, breaker, cache, concurrency, fallback, hedge, rate, retry, throttle, timeout};

/// The order and the values in force, outermost first. A policy that is off has no line.
pub(super) fn explain(name: &str, options: &PipelineOptions) -> String {
    let mut lines = Vec::new();
    if let Some(config) = &options.fallback {
        lines.push((fallback::NAME, format!("within {:?}", config.within)));
    }
    if let Some(config) = &options.cache {
        lines.push((cache::NAME, format!("fresh for {:?}, stale for {:?}", config.ttl, config.stale_max)));
    }
    lines
        .push(("deadline", format!("{:?} for all attempts, or the caller's when earlier", options.deadline)));
    if let Some(config) = &options.retry {
        let budget = &config.budget;
        lines.push((
            retry::NAME,
            format!(
                "at most {}, {} to {:?}, budget {:.0} % of the calls of {:?} and at least {}",
                config.max_retries,
                match config.jitter {
                    Jitter::Full => format!("full jitter up to {:?} doubling", config.backoff_base),
                    Jitter::Decorrelated => format!("decorrelated jitter from {:?}", config.backoff_base),
                },
                config.backoff_max,
                budget.ratio * 100.0,
                budget.window,
                budget.floor,
            ),
        ));
    }
    if let Some(config) = &options.hedge {
        lines.push((hedge::NAME, format!("{} after {:?}", config.max_hedges, config.delay)));
    }
    if let Some(config) = &options.throttle {
        lines.push((throttle::NAME, format!("over {:?}", config.window)));
    }
    if let Some(config) = &options.breaker {
        let in_a_row = config
            .consecutive_failures
            .map(|count| format!(", or {count} failures in a row"))
            .unwrap_or_default();
        let slow = config
            .slow_after
            .map(|after| format!(", or {:.0} % taking {after:?} or longer", config.slow_rate * 100.0))
            .unwrap_or_default();
        let window = match config.window_calls {
            Some(calls) => format!("of the last {calls}"),
            None => format!("in {:?}", config.window),
        };
        lines.push((
            breaker::NAME,
            format!(
                "opens at {:.0} % failures of at least {} calls {window}{slow}{in_a_row}; break {:?} to {:?}; {} probes",
                config.failure_rate * 100.0,
                config.minimum_calls,
                config.break_initial,
                config.break_max,
                config.probes,
            ),
        ));
    }
    if let Some(rule) = &options.rate_limit {
        lines.push((rate::NAME, format!("{rule:?}")));
    }
    if let Some(config) = &options.adaptive {
        lines.push((adaptive::NAME, format!("{} to {}", config.limit_min, config.limit_max)));
    }
    if let Some(config) = &options.concurrency {
        lines.push((
            concurrency::NAME,
            format!("{} at a time, {} wait for up to {:?}", config.limit, config.queue, config.max_wait),
        ));
    }
    if let Some(after) = options.attempt_timeout.map(|timeout| timeout.after) {
        lines.push((timeout::NAME, format!("{after:?} for each attempt")));
    }
    lines.push(("call", name.to_owned()));
    lines.iter().map(|(policy, values)| format!("{policy:<12} {values}\n")).collect()
}
