//! The pipeline in words.

use super::Parts;
use crate::breaker::CircuitBreaker;
use crate::concurrency::ConcurrencyLimit;
use crate::retry::Jitter;
use crate::{breaker, concurrency, retry, timeout};

/// The order and the values in force, outermost first. A policy that is off has no line.
pub(super) fn explain(parts: &Parts) -> String {
    let mut lines =
        vec![("deadline", format!("{:?} for all attempts, or the caller's when earlier", parts.deadline))];
    if let Some((config, _)) = &parts.retry {
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
    if let Some(config) = parts.breaker.as_ref().map(CircuitBreaker::config) {
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
    if let Some(config) = parts.concurrency.as_ref().map(ConcurrencyLimit::config) {
        lines.push((
            concurrency::NAME,
            format!("{} at a time, {} wait for up to {:?}", config.limit, config.queue, config.max_wait),
        ));
    }
    if let Some(after) = parts.attempt_timeout {
        lines.push((timeout::NAME, format!("{after:?} for each attempt")));
    }
    lines.push(("call", parts.name.to_string()));
    lines.iter().map(|(policy, values)| format!("{policy:<12} {values}\n")).collect()
}
