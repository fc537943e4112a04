//! An endpoint picked for one call.

use std::fmt;
use std::sync::Arc;

use leeward_resilience::{Class, Instant};

use super::Shared;
use super::member::Member;
use crate::endpoint::Endpoint;
use crate::load::Sample;

/// The endpoint of one call, on its way until it is reported. Dropping it means that the call was cancelled: the time it
/// took still counts as slowness, and as a failure when it was `abandoned_after` or longer.
#[must_use = "dropping a pick records the call as cancelled"]
pub struct Picked {
    upstream: Arc<Shared>,
    member: Arc<Member>,
    started: Instant,
    reported: bool,
}

impl Picked {
    pub(super) fn new(upstream: Arc<Shared>, member: Arc<Member>, started: Instant) -> Self {
        Self { upstream, member, started, reported: false }
    }

    /// Where to send the call.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.member.endpoint
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
        let latency = now.saturating_duration_since(self.started);
        self.upstream.report(&self.member, sample, latency, now);
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        if !self.reported {
            let now = self.upstream.clock.now();
            let abandoned = now.saturating_duration_since(self.started)
                >= self.upstream.set.load().balance.abandoned_after;
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
