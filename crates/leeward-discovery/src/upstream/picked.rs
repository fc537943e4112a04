//! An endpoint picked for one call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use leeward_resilience::{Class, Instant};

use super::Shared;
use super::member::Member;
use crate::endpoint::Endpoint;
use crate::load::Sample;

/// The endpoint of one call, on its way until it is reported. Dropping it means that the call was cancelled: the time it
/// took still counts as slowness, and as a failure when it was [`abandoned_after`](Self::abandoned_after) or longer.
#[must_use = "dropping a pick records the call as cancelled"]
pub struct Picked {
    upstream: Arc<Shared>,
    member: Arc<Member>,
    started: Instant,
    reported: bool,
    /// When its answer began, where its end is still to come.
    answered: Option<Instant>,
    /// The longest that this call may take, where that is not what all calls may.
    abandoned_after: Option<Duration>,
}

impl Picked {
    pub(super) fn new(upstream: Arc<Shared>, member: Arc<Member>, started: Instant) -> Self {
        Self { upstream, member, started, reported: false, answered: None, abandoned_after: None }
    }

    /// Dropped after so long, the call counts as one that hung. Default: [`Balance::abandoned_after`](crate::Balance::abandoned_after).
    pub fn abandoned_after(&mut self, longest: Duration) {
        self.abandoned_after = Some(longest);
    }

    /// Where to send the call.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.member.endpoint
    }

    /// The answer began at `now`, and how the call ends is still to come: what is measured is the time until here, and a caller that
    /// leaves later says nothing about the endpoint.
    pub fn answered(&mut self, now: Instant) {
        self.answered = Some(now);
    }

    /// Ends the call now, as [`report`](Self::report) does.
    pub fn report_now(self, class: Class) {
        let now = self.upstream.clock.now();
        self.report(class, now);
    }

    /// Ends the call at `now`: passive health, and what the next picks go by.
    pub fn report(mut self, class: Class, now: Instant) {
        self.reported = true;
        let sample = match class {
            Class::Success => Sample::Success,
            Class::Failure { retry_after, .. } => {
                Sample::Failure { asks_for_patience: retry_after.is_some() }
            }
            Class::Ignored => Sample::Unknown,
        };
        self.end(sample, now);
    }

    fn end(&self, sample: Sample, now: Instant) {
        let latency = self.answered.unwrap_or(now).saturating_duration_since(self.started);
        self.upstream.report(&self.member, sample, latency, now);
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        if !self.reported {
            let now = self.upstream.clock.now();
            let longest =
                self.abandoned_after.unwrap_or_else(|| self.upstream.set.load().balance.abandoned_after);
            let abandoned = self.answered.is_none() && now.saturating_duration_since(self.started) >= longest;
            let sample =
                if abandoned { Sample::Failure { asks_for_patience: false } } else { Sample::Unknown };
            self.end(sample, now);
        }
        self.member.give_back();
    }
}

impl fmt::Debug for Picked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Picked").field("endpoint", &self.member.endpoint).finish_non_exhaustive()
    }
}
