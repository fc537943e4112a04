//! What a pipeline is made from.

use std::time::Duration;

use crate::adaptive::Adaptive;
use crate::breaker::Breaker;
use crate::cache::Cache;
use crate::concurrency::Concurrency;
use crate::config::{self, ConfigErrors, Datum, Fields, HOUR, Options, above};
use crate::fallback::Fallback;
use crate::hedge::Hedge;
use crate::mode::Mode;
use crate::rate::Rule;
use crate::retry::Retry;
use crate::throttle::Throttle;
use crate::timeout::Timeout;

/// The options of every policy of a [`Pipeline`](super::Pipeline), in its order; `None` is off.
///
/// Faults are not among them: an experiment is started by somebody and ends by itself, see
/// [`FaultInjector`](crate::FaultInjector).
#[derive(Clone, Debug, PartialEq)]
pub struct PipelineOptions {
    /// What stands in for a failed call.
    pub fallback: Option<Fallback>,
    /// Answers that are kept, and loaded once for all that ask.
    pub cache: Option<Cache>,
    /// The longest that a call may take with all its attempts, more than 0, at most 1 h. Default 10 s: about what a person
    /// waits before reloading. There always is one.
    pub deadline: Duration,
    /// Failed attempts are repeated.
    pub retry: Option<Retry>,
    /// Another attempt beside one that takes long.
    pub hedge: Option<Hedge>,
    /// Attempts are held back while the upstream refuses many.
    pub throttle: Option<Throttle>,
    /// No attempts for a while after too many failures.
    pub breaker: Option<Breaker>,
    /// So many attempts a period, at most.
    pub rate_limit: Option<Rule>,
    /// So many attempts at a time, found by measuring.
    pub adaptive: Option<Adaptive>,
    /// So many attempts at a time.
    pub concurrency: Option<Concurrency>,
    /// The longest that one attempt may take.
    pub attempt_timeout: Option<Timeout>,
}

impl Default for PipelineOptions {
    fn default() -> Self {
        Self {
            fallback: None,
            cache: None,
            deadline: Duration::from_secs(10),
            retry: None,
            hedge: None,
            throttle: None,
            breaker: None,
            rate_limit: None,
            adaptive: None,
            concurrency: None,
            attempt_timeout: None,
        }
    }
}

/// What policies are called in a document, where it is not always the same.
#[derive(Clone, Copy, Debug)]
pub struct PolicyNames {
    /// The breaker. Default `breaker`.
    pub breaker: &'static str,
    /// The fixed limit. Default `concurrency`.
    pub concurrency: &'static str,
    /// The rate limit; `None` where there is none. Default `rate_limit`.
    pub rate_limit: Option<&'static str>,
    /// Whether an attempt always has a time, so that its timeout cannot be off. Default no.
    pub bounds_attempts: bool,
    /// Why the defaults are what they are, where that are not those of [`PipelineOptions`] and its policies, by path: `retry`, `breaker.failure_rate`.
    /// Default: none.
    pub reasons: &'static [(&'static str, &'static str)],
}

impl Default for PolicyNames {
    fn default() -> Self {
        Self {
            breaker: "breaker",
            concurrency: "concurrency",
            rate_limit: Some("rate_limit"),
            bounds_attempts: false,
            reasons: &[],
        }
    }
}

impl PipelineOptions {
    /// Checks every option of every policy.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        config::check(self)
    }

    /// The options of the policies that need nothing from the caller: all but fallback, cache and deadline. For options that hold
    /// these beside others, as those of a client.
    pub fn visit_policies(&mut self, fields: &mut Fields<'_>) {
        self.visit_policies_as(fields, &PolicyNames::default());
    }

    /// The same under other names, where others beside them could be meant.
    pub fn visit_policies_as(&mut self, fields: &mut Fields<'_>, names: &PolicyNames) {
        fields.because(names.reasons, |fields| self.show_policies(fields, names));
    }

    fn show_policies(&mut self, fields: &mut Fields<'_>, names: &PolicyNames) {
        let why = "Only the caller knows whether a call may be repeated.";
        fields.at("retry", "Failed attempts are repeated.", why).optional(&mut self.retry);
        let why = "It costs load, and not every call may be made twice.";
        fields.at("hedge", "Another attempt beside one that takes long.", why).optional(&mut self.hedge);
        let what = "Attempts are held back while the upstream refuses many.";
        fields.at("throttle", what, "A breaker is enough for most.").optional(&mut self.throttle);
        let what = "No attempts for a while after too many failures.";
        fields.at(names.breaker, what, "What is a failure has to be said first.").optional(&mut self.breaker);
        if let Some(name) = names.rate_limit {
            let what = "So many attempts a period, at most.";
            fields.at(name, what, "Its rate is a contract.").optional_one_of(&mut self.rate_limit);
        }
        let what = "So many attempts at a time, found by measuring.";
        fields.at("adaptive", what, "A fixed limit is easier to foresee.").optional(&mut self.adaptive);
        let why = "Only its owner knows what an upstream bears.";
        fields.at(names.concurrency, "So many attempts at a time.", why).optional(&mut self.concurrency);
        let why = "The deadline bounds a single attempt as well.";
        let at = fields.at("attempt_timeout", "The longest that one attempt may take.", why);
        match &mut self.attempt_timeout {
            Some(timeout) if names.bounds_attempts => at.group(timeout),
            timeout => at.optional(timeout),
        }
    }

    /// The same, with what follows from other options: a permit that is dropped counts as a failure from the attempt timeout
    /// on, or else from the deadline on.
    pub(super) fn settled(mut self) -> Self {
        let after = self.attempt_longest();
        for abandoned_after in [
            self.breaker.as_mut().map(|it| &mut it.abandoned_after),
            self.throttle.as_mut().map(|it| &mut it.abandoned_after),
            self.adaptive.as_mut().map(|it| &mut it.abandoned_after),
        ]
        .into_iter()
        .flatten()
        {
            *abandoned_after = after;
        }
        self
    }

    /// The longest that an attempt may take: the attempt timeout, where one is enforced, and at most the deadline.
    #[must_use]
    pub fn attempt_longest(&self) -> Duration {
        match self.attempt_timeout {
            Some(Timeout { after, mode: Mode::Enforced }) => after.min(self.deadline),
            _ => self.deadline,
        }
    }
}

impl Options for PipelineOptions {
    const NAME: &'static str = "";

    fn base() -> Self {
        Self::default()
    }

    fn visit(&mut self, fields: &mut Fields<'_>) {
        let at =
            fields.at("fallback", "What stands in for a failed call.", "Only the caller has a substitute.");
        at.optional(&mut self.fallback);
        let what = "Answers that are kept, and loaded once for all that ask.";
        fields.at("cache", what, "Not every answer may be kept.").optional(&mut self.cache);
        let what = "The longest that a call may take with all its attempts.";
        let at = fields.at("deadline", what, "About what a person waits before reloading.");
        at.duration(&mut self.deadline, above(Duration::ZERO, HOUR));
        self.visit_policies(fields);
        let after = self.attempt_timeout.map_or(self.deadline, |timeout| timeout.after);
        let ok = after <= self.deadline || self.deadline.is_zero();
        fields.rule("attempt_timeout.after", ok, Datum::Time(after), "at most the deadline");
    }
}
