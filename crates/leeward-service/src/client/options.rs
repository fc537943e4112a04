//! What may be chosen for one target.

use std::time::Duration;

use leeward_resilience::config::{Datum, Fields};
use leeward_resilience::{Breaker, Concurrency, Options, PipelineOptions, Retry, Timeout};

/// How one target is called. The defaults suit a service nearby. Read from a configuration by
/// [`Node::policy`](leeward_runtime::config::Node::policy).
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The policies in front of every call, in the configuration at the same level as the rest. Default: a deadline of 5 s (a
    /// nearer one of the caller wins), an attempt timeout of 2 s so that two attempts fit into it, retries of calls that may be
    /// repeated, a breaker, a concurrency limit. A `fallback` or a `cache` is refused here: an old copy is asked for by the
    /// call, with [`Outgoing::stale_if_error`](super::Outgoing::stale_if_error).
    pub policies: PipelineOptions,
    /// The largest answer that is read, 1 B ..= 1 GiB. Default 8 MiB: larger ones are streamed or paged.
    pub answer_bytes_max: usize,
    /// Whether the target is a service that understands our assertions. False for anything outside.
    pub asserts: bool,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            policies: PipelineOptions {
                deadline: Duration::from_secs(5),
                retry: Some(Retry::default()),
                breaker: Some(Breaker::default()),
                concurrency: Some(Concurrency::default()),
                attempt_timeout: Some(Timeout::from(Duration::from_secs(2))),
                ..PipelineOptions::default()
            },
            answer_bytes_max: 8 * 1024 * 1024,
            asserts: true,
        }
    }
}

impl ClientOptions {
    /// For a target that is no service of ours, such as a payment provider: no assertion is sent there.
    #[must_use]
    pub fn outside() -> Self {
        Self { asserts: false, ..Self::default() }
    }
}

impl Options for ClientOptions {
    const NAME: &'static str = "client";

    fn base() -> Self {
        Self::default()
    }

    fn visit(&mut self, fields: &mut Fields<'_>) {
        let what = "The longest a call may take with all its attempts.";
        let at = fields.at("deadline", what, "A person waits for the whole, and this is a part of it.");
        at.duration(&mut self.policies.deadline, MOMENT..=HOUR);
        self.policies.visit_policies(fields);
        let what = "The largest answer that is read.";
        let at = fields.at("answer_bytes_max", what, "Larger ones are streamed or paged.");
        at.size(&mut self.answer_bytes_max, 1..=1 << 30);
        let what = "Whether the target is a service that understands our assertions.";
        fields.at("asserts", what, "Most targets are.").flag(&mut self.asserts);
        let (after, deadline) = (self.policies.attempt_timeout.map(|it| it.after), self.policies.deadline);
        let fits = after.is_none_or(|after| after <= deadline);
        fields.rule(
            "attempt_timeout.after",
            fits,
            Datum::Time(after.unwrap_or_default()),
            "at most the deadline",
        );
        for (name, is_off) in
            [("fallback", self.policies.fallback.is_none()), ("cache", self.policies.cache.is_none())]
        {
            fields.rule(name, is_off, "on", "off: the call itself asks for an old copy");
        }
    }
}

const MOMENT: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
