//! The pipeline in words.

use super::PipelineOptions;
use crate::config::{self, Options};
use crate::rate::Rule;
use crate::{adaptive, breaker, cache, concurrency, fallback, hedge, rate, retry, throttle, timeout};

/// The order and the values in force, outermost first, with the defaults marked. A policy that is off has no line.
pub(super) fn explain(name: &str, options: &PipelineOptions) -> String {
    let mut lines = Lines(Vec::new());
    lines.policy(fallback::NAME, options.fallback.as_ref());
    lines.policy(cache::NAME, options.cache.as_ref());
    let mark = if options.deadline == PipelineOptions::default().deadline { " (default)" } else { "" };
    let deadline = config::units::show_duration(options.deadline);
    lines.0.push(("deadline", format!("{deadline}{mark} for all attempts, or the caller's when earlier")));
    lines.policy(retry::NAME, options.retry.as_ref());
    lines.policy(hedge::NAME, options.hedge.as_ref());
    lines.policy(throttle::NAME, options.throttle.as_ref());
    lines.policy(breaker::NAME, options.breaker.as_ref());
    match &options.rate_limit {
        Some(Rule::Gcra(limit)) => lines.policy(rate::NAME, Some(limit)),
        Some(Rule::SlidingWindow(window)) => lines.policy(rate::NAME, Some(window)),
        None => {}
    }
    lines.policy(adaptive::NAME, options.adaptive.as_ref());
    lines.policy(concurrency::NAME, options.concurrency.as_ref());
    lines.policy(timeout::NAME, options.attempt_timeout.as_ref());
    lines.0.push(("call", name.to_owned()));
    lines.0.iter().map(|(policy, values)| format!("{policy:<20} {values}\n")).collect()
}

struct Lines(Vec<(&'static str, String)>);

impl Lines {
    fn policy<T: Options>(&mut self, policy: &'static str, options: Option<&T>) {
        if let Some(options) = options {
            self.0.push((policy, config::line(options)));
        }
    }
}
