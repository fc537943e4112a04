//! The permit of one call through a breaker.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::core::{Outcome, Ticket};
use super::shared::Handle;
use crate::outcome::Class;
use crate::time::Instant;

/// The right to make one call. It ends in exactly one of success, failure, ignored; dropped, it was cancelled.
#[must_use = "dropping a permit records the call as cancelled"]
pub struct Permit {
    /// `None` once the outcome is known.
    open: Option<(Arc<Handle>, Ticket)>,
}

impl Permit {
    pub(super) fn new(handle: Arc<Handle>, ticket: Ticket) -> Self {
        Self { open: Some((handle, ticket)) }
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
        self.end(Outcome::of(class), now);
    }

    /// The outcome by class, by the breaker's own clock, which is not read where nothing depends on it: see *Time* in
    /// [the module's documentation](super).
    pub fn finish(mut self, class: Class) {
        let Some((handle, ticket)) = self.open.take() else { return };
        let shared = &handle.shared;
        if class != Class::Success || !shared.count_success_timeless(ticket) {
            shared.record(ticket, Outcome::of(class), shared.clock.now());
        }
    }

    fn end(mut self, outcome: Outcome, now: Instant) {
        if let Some((handle, ticket)) = self.open.take() {
            handle.shared.record(ticket, outcome, now);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some((handle, ticket)) = self.open.take() {
            let shared = &handle.shared;
            shared.record(ticket, Outcome::Cancelled, shared.clock.now());
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("open", &self.open.is_some()).finish()
    }
}
