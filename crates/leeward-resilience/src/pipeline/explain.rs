//! The pipeline in words.

use super::{PipelineOptions, PolicyNames};
use crate::config::{self, Options};
use crate::rate::Rule;
use crate::{adaptive, breaker, cache, concurrency, fallback, hedge, rate, retry, throttle, timeout};

/// The order and the values in force, outermost first, those of `defaults` marked. A policy that is off has no line. With `keys` each is called as in
/// a configuration, else as in metrics, and what follows from the attempt timeout is left out.
pub(super) fn explain(
    name: &str,
    options: &PipelineOptions,
    keys: Option<&PolicyNames>,
    defaults: &PipelineOptions,
) -> String {
    let mut lines = Lines { is_whole: keys.is_none(), list: Vec::new() };
    let called = |policy, key: fn(&PolicyNames) -> &'static str| keys.map_or(policy, key);
    lines.policy(fallback::NAME, options.fallback.as_ref(), defaults.fallback.as_ref());
    lines.policy(cache::NAME, options.cache.as_ref(), defaults.cache.as_ref());
    let mark = if options.deadline == defaults.deadline { " (default)" } else { "" };
    let deadline = config::units::show_duration(options.deadline);
    lines.list.push(("deadline", format!("{deadline}{mark} for all attempts, or the caller's when earlier")));
    lines.policy(retry::NAME, options.retry.as_ref(), defaults.retry.as_ref());
    lines.policy(hedge::NAME, options.hedge.as_ref(), defaults.hedge.as_ref());
    lines.policy(throttle::NAME, options.throttle.as_ref(), defaults.throttle.as_ref());
    let called_breaker = called(breaker::NAME, |keys| keys.breaker);
    lines.policy(called_breaker, options.breaker.as_ref(), defaults.breaker.as_ref());
    let called_rate = called(rate::NAME, |keys| keys.rate_limit.unwrap_or(rate::NAME));
    match &options.rate_limit {
        Some(Rule::Gcra(limit)) => lines.policy(called_rate, Some(limit), None),
        Some(Rule::SlidingWindow(window)) => lines.policy(called_rate, Some(window), None),
        None => {}
    }
    let called_adaptive = called(adaptive::NAME, |_| "adaptive");
    lines.policy(called_adaptive, options.adaptive.as_ref(), defaults.adaptive.as_ref());
    let called_concurrency = called(concurrency::NAME, |keys| keys.concurrency);
    lines.policy(called_concurrency, options.concurrency.as_ref(), defaults.concurrency.as_ref());
    let called_timeout = called(timeout::NAME, |_| "attempt_timeout");
    lines.policy(called_timeout, options.attempt_timeout.as_ref(), defaults.attempt_timeout.as_ref());
    lines.list.push(("call", name.to_owned()));
    lines.list.iter().map(|(policy, values)| format!("{policy:<20} {values}\n")).collect()
}

struct Lines {
    is_whole: bool,
    list: Vec<(&'static str, String)>,
}

impl Lines {
    /// The values of a policy. Where it is off in the defaults, what it has by itself is its default.
    fn policy<T: Options>(&mut self, policy: &'static str, options: Option<&T>, default: Option<&T>) {
        let Some(options) = options else { return };
        let default = default.cloned().unwrap_or_else(T::base);
        let settings = config::settings_over(options, &default).into_iter();
        let shown = settings.filter(|setting| self.is_whole || setting.name != "abandoned_after");
        let values: Vec<String> = shown.map(|setting| setting.to_string()).collect();
        self.list.push((policy, values.join(", ")));
    }
}
