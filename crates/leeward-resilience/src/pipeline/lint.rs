//! What of a pipeline's options does not fit together, though each option is in its range.

use std::fmt;
use std::time::Duration;

use super::PipelineOptions;
use crate::hedge::Delay;
use crate::timeout::Timeout;

/// What is known of the upstream beside the options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The latency that 99 in 100 calls stay below, if it was measured.
    pub latency_p99: Option<Duration>,
}

/// One thing that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind it is.
    pub kind: Kind,
    /// The options that it is about, as `policy.option`.
    pub options: Vec<&'static str>,
    /// What happens, with the numbers, and what to do.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.kind.as_str(), self.options.join(", "), self.message)
    }
}

/// The kinds of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// An inner bound is longer than what is left of an outer one.
    TimeoutInversion,
    /// The attempts together need more time than there is.
    AttemptsOverDeadline,
    /// A policy looks back over less time than a call takes.
    WindowTooShort,
    /// One call may become many at the upstream.
    Amplification,
    /// An option can never come into play.
    NeverReached,
    /// A policy is missing that another one relies on.
    Unprotected,
}

impl Kind {
    /// The name in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TimeoutInversion => "timeout-inversion",
            Self::AttemptsOverDeadline => "attempts-over-deadline",
            Self::WindowTooShort => "window-too-short",
            Self::Amplification => "amplification",
            Self::NeverReached => "never-reached",
            Self::Unprotected => "unprotected",
        }
    }
}

/// More attempts than that for one call are worth a finding: one call and two retries are three.
const ATTEMPTS_MAX: u32 = 3;

/// A budget above that adds half of the load again to an outage.
const BUDGET_RATIO_MAX: f64 = 0.5;

impl PipelineOptions {
    /// The most attempts that one call can become: each of the first and the retries with all its hedges.
    #[must_use]
    pub fn attempts_max(&self) -> u32 {
        let retries = self.retry.as_ref().map_or(0, |retry| retry.max_retries);
        let hedges = self.hedge.as_ref().map_or(0, |hedge| hedge.max_hedges);
        (1 + retries).saturating_mul(1 + hedges)
    }

    /// What the load becomes at most in a long outage, with the budget: 1.2 for a budget of a fifth.
    #[must_use]
    pub fn amplification_max(&self) -> f64 {
        let retries = self.retry.as_ref().filter(|retry| retry.max_retries > 0).map(|retry| &retry.budget);
        let hedges = self.hedge.as_ref().map(|hedge| &hedge.budget);
        let ratio = retries.or(hedges).map_or(0.0, |budget| budget.ratio);
        (1.0 + ratio).min(f64::from(self.attempts_max()))
    }

    /// What does not fit together, in the order of the policies. Empty for options that do.
    #[must_use]
    pub fn lint(&self, facts: &Facts) -> Vec<Finding> {
        let mut found = Findings(Vec::new());
        self.lint_times(&mut found);
        self.lint_repeats(&mut found);
        self.lint_windows(facts, &mut found);
        self.lint_reach(&mut found);
        found.0
    }

    /// What does not fit between this caller and a callee with `inner` options that makes calls of its own.
    #[must_use]
    pub fn lint_callee(&self, inner: &Self) -> Vec<Finding> {
        let mut found = Findings(Vec::new());
        let ours = self.attempt_longest();
        if inner.deadline > ours {
            found.add(
                Kind::TimeoutInversion,
                &["attempt_timeout", "deadline"],
                format!(
                    "we give up after {ours:?} and the callee works on for up to {:?}; hand the deadline down, or make \
                     the callee's shorter",
                    inner.deadline
                ),
            );
        }
        let product = self.attempts_max().saturating_mul(inner.attempts_max());
        if self.attempts_max() > 1 && inner.attempts_max() > 1 {
            found.add(
                Kind::Amplification,
                &["retry.max_retries"],
                format!(
                    "both layers repeat calls: up to {product} attempts of one call, unless the callee hears of ours by \
                     the attempt header"
                ),
            );
        }
        found.0
    }

    fn lint_times(&self, found: &mut Findings) {
        let (deadline, longest) = (self.deadline, self.attempt_longest());
        if let Some(concurrency) = &self.concurrency
            && concurrency.queue > 0
            && concurrency.max_wait >= deadline
        {
            found.add(
                Kind::TimeoutInversion,
                &["concurrency.max_wait", "deadline"],
                format!(
                    "a call may wait {:?} for its turn and has {deadline:?} in all; make the wait a fraction of it",
                    concurrency.max_wait
                ),
            );
        }
        if let Some(cache) = &self.cache
            && cache.wait_max > deadline
        {
            found.add(
                Kind::TimeoutInversion,
                &["cache.wait_max", "deadline"],
                format!(
                    "a call may wait {:?} for another one's load, which ends after {deadline:?}",
                    cache.wait_max
                ),
            );
        }
        let Some(retry) = self.retry.as_ref().filter(|retry| retry.max_retries > 0) else { return };
        if longest >= deadline {
            found.add(
                Kind::AttemptsOverDeadline,
                &["attempt_timeout", "deadline"],
                format!(
                    "one attempt may take all of the {deadline:?}, so that one that hangs is never retried; set an \
                     attempt timeout of at most {:?}",
                    deadline / (retry.max_retries + 1)
                ),
            );
            return;
        }
        let all = longest.saturating_mul(retry.max_retries + 1);
        if all > deadline {
            found.add(
                Kind::AttemptsOverDeadline,
                &["retry.max_retries", "attempt_timeout", "deadline"],
                format!(
                    "{} attempts of {longest:?} need {all:?} and there are {deadline:?}: the last is cut short or never \
                     sent",
                    retry.max_retries + 1
                ),
            );
        }
        if retry.backoff_base + retry.attempt_min >= deadline {
            found.add(
                Kind::NeverReached,
                &["retry.backoff_base", "deadline"],
                format!("no retry fits into {deadline:?} after a wait of {:?}", retry.backoff_base),
            );
        }
    }

    fn lint_repeats(&self, found: &mut Findings) {
        let attempts = self.attempts_max();
        if attempts > ATTEMPTS_MAX {
            found.add(
                Kind::Amplification,
                &["retry.max_retries", "hedge.max_hedges"],
                format!(
                    "one call may become {attempts} attempts, and over a long outage the load {:.1} times as much; every \
                     further layer that does the same multiplies it",
                    self.amplification_max()
                ),
            );
        } else if self.amplification_max() > 1.0 + BUDGET_RATIO_MAX {
            found.add(
                Kind::Amplification,
                &["retry.budget.ratio"],
                format!("in an outage the upstream gets {:.1} times its load", self.amplification_max()),
            );
        }
        if attempts > 1 && self.breaker.is_none() && self.throttle.is_none() {
            found.add(
                Kind::Unprotected,
                &["retry", "breaker"],
                "calls are repeated and nothing stops them when the upstream is down; add a breaker"
                    .to_owned(),
            );
        }
        if let (Some(retry), Some(breaker)) = (&self.retry, &self.breaker)
            && let Some(limit) = breaker.consecutive_failures
            && limit.get() <= retry.max_retries
        {
            found.add(
                Kind::NeverReached,
                &["breaker.consecutive_failures", "retry.max_retries"],
                format!(
                    "the attempts of one call alone are enough to open the breaker, which opens after {limit}"
                ),
            );
        }
    }

    fn lint_windows(&self, facts: &Facts, found: &mut Findings) {
        let slowest = facts.latency_p99.unwrap_or_else(|| self.attempt_longest());
        let known =
            if facts.latency_p99.is_some() { "one call in a hundred takes" } else { "an attempt may take" };
        let mut check = |option, window: Duration| {
            if window < slowest {
                found.add(
                    Kind::WindowTooShort,
                    &[option],
                    format!("it looks back {window:?} and {known} {slowest:?}: outcomes are forgotten as they come in"),
                );
            }
        };
        if let Some(breaker) = self.breaker.as_ref().filter(|breaker| breaker.window_calls.is_none()) {
            check("breaker.window", breaker.window);
        }
        if let Some(throttle) = &self.throttle {
            check("throttle.window", throttle.window);
        }
        if let Some(timeout) = self.attempt_timeout
            && let Some(p99) = facts.latency_p99
            && timeout.after < p99
        {
            found.add(
                Kind::TimeoutInversion,
                &["attempt_timeout"],
                format!(
                    "more than one call in a hundred takes longer than the {:?} it may take",
                    timeout.after
                ),
            );
        }
    }

    fn lint_reach(&self, found: &mut Findings) {
        let longest = self.attempt_longest();
        if let Some(slow) = self.breaker.as_ref().and_then(|breaker| breaker.slow_after)
            && slow >= longest
        {
            found.add(
                Kind::NeverReached,
                &["breaker.slow_after", "attempt_timeout"],
                format!("a call is slow from {slow:?} on and is cut short after {longest:?}"),
            );
        }
        if let Some(hedge) = &self.hedge {
            let soonest = match hedge.delay {
                Delay::Fixed(delay) => delay,
                Delay::Quantile { min, .. } => min,
            };
            if soonest >= longest {
                found.add(
                    Kind::NeverReached,
                    &["hedge.delay", "attempt_timeout"],
                    format!("another attempt is sent after {soonest:?} and the first is cut short after {longest:?}"),
                );
            }
        }
        if let (Some(adaptive), Some(concurrency)) = (&self.adaptive, &self.concurrency)
            && adaptive.limit_min >= concurrency.limit
        {
            found.add(
                Kind::NeverReached,
                &["adaptive.limit_min", "concurrency.limit"],
                format!(
                    "the adaptive limit never goes below {} and the fixed one lets {} pass",
                    adaptive.limit_min, concurrency.limit
                ),
            );
        }
        if let Some(Timeout { mode, .. }) = self.attempt_timeout
            && mode.is_shadow()
        {
            found.add(
                Kind::Unprotected,
                &["attempt_timeout.mode"],
                format!("attempts are only watched: one that hangs hangs for {:?}", self.deadline),
            );
        }
    }
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, kind: Kind, options: &[&'static str], message: String) {
        self.0.push(Finding { kind, options: options.to_vec(), message });
    }
}

#[cfg(test)]
mod tests;
