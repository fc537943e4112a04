//! The permit of one call through a breaker.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::core::{Outcome, Ticket};
use crate::outcome::Class;
use crate::time::Instant;

/// The right to make one call. It ends in exactly one of success, failure, ignored; dropped, it was cancelled.
#[must_use = "dropping a permit records the call as cancelled"]
pub struct Permit {
    /// `None` once the outcome is known.
    open: Option<(Arc<Shared>, Ticket)>,
}

impl Permit {
    pub(super) fn new(shared: Arc<Shared>, ticket: Ticket) -> Self {
        Self { open: Some((shared, ticket)) }
    }

    /// The upstream did its work.
    pub fn success(self, now: Instant) {
        self.end(Outcome::Success, now);
    }

    /// The upstream failed.
    pub fn failure(self, now: Instant) {
        self.end(Outcome::Failure { retry_after: None }, now);
    }

    /// The upstream failed, and asked to be left alone for a while.
    pub fn failure_until(self, now: Instant, retry_after: Option<Duration>) {
        self.end(Outcome::Failure { retry_after }, now);
    }

    /// The call says nothing about the upstream.
    pub fn ignored(self, now: Instant) {
        self.end(Outcome::Ignored, now);
    }

    /// The outcome by class.
    pub fn record(self, class: Class, now: Instant) {
        match class {
            Class::Success => self.success(now),
            Class::Failure { retry_after, .. } => self.failure_until(now, retry_after),
            Class::Ignored => self.ignored(now),
        }
    }

    /// For a call that passes a breaker in shadow mode which would have stopped it: it records nothing, or the break would
    /// be judged by calls that it is there to prevent.
    pub(super) const fn unrecorded() -> Self {
        Self { open: None }
    }

    fn end(mut self, outcome: Outcome, now: Instant) {
        if let Some((shared, ticket)) = self.open.take() {
            shared.change(|core| core.record(ticket, outcome, now, &*shared.rng));
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some((shared, ticket)) = self.open.take() {
            let now = shared.clock.now();
            shared.change(|core| core.record(ticket, Outcome::Cancelled, now, &*shared.rng));
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("open", &self.open.is_some()).finish()
    }
}
