//! The permit of one call through a breaker.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::core::{Outcome, Ticket};
use super::shared::{Handle, Keeps, Shared};
use crate::outcome::Class;
use crate::time::Instant;

/// The right to make one call. It ends in exactly one of success, failure, ignored; dropped, it was cancelled.
///
/// By default it keeps its breaker alive. One that only [borrows](Borrowed) it costs less.
#[must_use = "dropping a permit records the call as cancelled"]
#[allow(private_bounds, reason = "there are no other ways to hold a breaker than these two")]
pub struct Permit<Breaker: Keeps = Kept> {
    breaker: Breaker,
    /// `None` once the outcome is known; from the start for a call that passes a breaker in shadow mode which would have
    /// stopped it: a break must not be judged by the calls that it is there to prevent.
    open: Option<Ticket>,
    /// The longest that this call may take, where that is not what all calls may.
    abandoned_after: Option<Duration>,
}

/// How a [`Permit`] that may go anywhere holds its breaker.
pub struct Kept(Arc<Handle>);

/// How a [`Permit`] of [`acquire_ref`](super::CircuitBreaker::acquire_ref) holds its breaker.
pub struct Borrowed<'a>(&'a Shared);

impl Keeps for Kept {
    #[inline]
    fn shared(&self) -> &Shared {
        &self.0.shared
    }
}

impl Keeps for Borrowed<'_> {
    #[inline]
    fn shared(&self) -> &Shared {
        self.0
    }
}

impl Permit {
    pub(super) fn kept(handle: Arc<Handle>, ticket: Option<Ticket>) -> Self {
        Self { breaker: Kept(handle), open: ticket, abandoned_after: None }
    }
}

impl<'a> Permit<Borrowed<'a>> {
    pub(super) const fn borrowed(shared: &'a Shared, ticket: Option<Ticket>) -> Self {
        Self { breaker: Borrowed(shared), open: ticket, abandoned_after: None }
    }
}

#[allow(private_bounds, reason = "see the type")]
impl<Breaker: Keeps> Permit<Breaker> {
    /// Dropped after so long it is one that hung, whatever the options say.
    pub(crate) const fn abandoned_after(&mut self, longest: Duration) {
        self.abandoned_after = Some(longest);
    }

    /// The call begins at this time, and not when the permit was taken.
    pub(crate) const fn start_at(&mut self, at: Instant) {
        if let Some(ticket) = &mut self.open {
            ticket.started = at;
        }
    }

    /// So much of the time until now was not the call's.
    pub(crate) fn put_off(&mut self, by: Duration) {
        if let Some(ticket) = &mut self.open {
            ticket.started = ticket.started + by;
        }
    }

    /// The upstream did its work.
    #[inline]
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
    #[inline]
    pub fn record(self, class: Class, now: Instant) {
        self.end(Outcome::of(class), now);
    }

    /// The outcome by class, by the breaker's own clock, which is not read where nothing depends on it: see *Time* in
    /// [the module's documentation](super).
    #[inline]
    pub fn finish(mut self, class: Class) {
        let Some(ticket) = self.open.take() else { return };
        let shared = self.breaker.shared();
        if class != Class::Success || !shared.count_success_timeless(ticket) {
            shared.settle(ticket, Outcome::of(class), shared.clock.now());
        }
    }

    #[inline]
    fn end(mut self, outcome: Outcome, now: Instant) {
        if let Some(ticket) = self.open.take() {
            let shared = self.breaker.shared();
            if outcome != Outcome::Success || !shared.count_success(ticket, now) {
                shared.settle(ticket, outcome, now);
            }
        }
    }
}

impl<Breaker: Keeps> Drop for Permit<Breaker> {
    #[inline]
    fn drop(&mut self) {
        if let Some(ticket) = self.open.take() {
            let shared = self.breaker.shared();
            let now = shared.clock.now();
            let is_over = |longest| now.saturating_duration_since(ticket.started) >= longest;
            let outcome = match self.abandoned_after.map(is_over) {
                None => Outcome::Cancelled,
                Some(true) => Outcome::Failure { retry_after: None },
                Some(false) => Outcome::Ignored,
            };
            shared.settle(ticket, outcome, now);
        }
    }
}

impl<Breaker: Keeps> fmt::Debug for Permit<Breaker> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("open", &self.open.is_some()).finish()
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept")
    }
}

impl fmt::Debug for Borrowed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Borrowed")
    }
}
