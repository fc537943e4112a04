//! What may be chosen for one target.

use std::time::Duration;

use leeward_resilience::config::{Datum, Fields};
use leeward_resilience::{Breaker, Concurrency, Options, Retry};

/// How one target is called. The defaults suit a service nearby. Read from a configuration by
/// [`Node::policy`](leeward_runtime::config::Node::policy).
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The longest a call may take with all its attempts, 1 ms ..= 1 h. Default 5 s; a nearer deadline of the caller wins.
    pub deadline: Duration,
    /// The longest one attempt may take, 1 ms ..= `deadline`. Default 2 s.
    pub attempt_timeout: Duration,
    /// How a failed attempt is repeated. Only for calls that may be.
    pub retry: Retry,
    /// When to stop calling.
    pub breaker: Breaker,
    /// Calls to the target at a time.
    pub concurrency: Concurrency,
    /// The largest answer that is read, 1 B ..= 1 GiB. Default 8 MiB.
    pub answer_bytes_max: usize,
    /// Whether the target is a service that understands our assertions. False for anything outside.
    pub asserts: bool,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(2),
            retry: Retry::default(),
            breaker: Breaker::default(),
            concurrency: Concurrency::default(),
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
        let hour = Duration::from_secs(3600);
        let what = "The longest a call may take with all its attempts.";
        let at = fields.at("deadline", what, "A person waits for the whole, and this is a part of it.");
        at.duration(&mut self.deadline, MOMENT..=hour);
        let at = fields.at(
            "attempt_timeout",
            "The longest one attempt may take.",
            "Two of them fit into a deadline.",
        );
        let at = at.at_most("deadline", Datum::Time(self.deadline));
        at.duration(&mut self.attempt_timeout, MOMENT..=hour);
        fields.at("retry", "How a failed attempt is repeated.", "").group(&mut self.retry);
        fields.at("breaker", "When to stop calling.", "").group(&mut self.breaker);
        fields.at("concurrency", "Calls to the target at a time.", "").group(&mut self.concurrency);
        let at = fields.at(
            "answer_bytes_max",
            "The largest answer that is read.",
            "Larger ones are streamed or paged.",
        );
        at.size(&mut self.answer_bytes_max, 1..=1 << 30);
        let what = "Whether the target is a service that understands our assertions.";
        fields.at("asserts", what, "Most targets are.").flag(&mut self.asserts);
    }
}

/// The shortest time that any option takes.
const MOMENT: Duration = Duration::from_millis(1);
