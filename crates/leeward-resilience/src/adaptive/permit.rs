//! The permit of one call through an adaptive limit.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{End, Sample, Shared};
use crate::outcome::Class;
use crate::time::Instant;

/// The right to make one call. It ends in exactly one of success, failure, ignored; dropped, it was cancelled.
#[must_use = "dropping a permit records the call as cancelled"]
pub struct Permit {
    /// `None` once the outcome is known.
    shared: Option<Arc<Shared>>,
    started: Instant,
    in_flight: u32,
    /// The longest that this call may take, where that is not what all calls may.
    abandoned_after: Option<Duration>,
}

impl Permit {
    pub(super) const fn new(shared: Arc<Shared>, started: Instant, in_flight: u32) -> Self {
        Self { shared: Some(shared), started, in_flight, abandoned_after: None }
    }

    /// For a call beyond the limit that passes in shadow mode.
    pub(super) const fn unrecorded(started: Instant) -> Self {
        Self { shared: None, started, in_flight: 0, abandoned_after: None }
    }

    /// Dropped after so long it is one that hung, whatever the options say.
    pub(crate) const fn abandoned_after(&mut self, longest: Duration) {
        self.abandoned_after = Some(longest);
    }

    /// The call begins at this time, and not when the permit was taken.
    pub(crate) const fn start_at(&mut self, at: Instant) {
        self.started = at;
    }

    /// So much of the time until now was not the call's.
    pub(crate) fn put_off(&mut self, by: Duration) {
        self.started = self.started + by;
    }

    /// The upstream did its work: its latency counts.
    pub fn success(self, now: Instant) {
        self.record(Class::Success, now);
    }

    /// The upstream had too much to do: a timeout, or it said so.
    pub fn overload(self, now: Instant) {
        self.record(Class::RETRYABLE, now);
    }

    /// The outcome by class. A failure that a retry can help against is overload, any other says nothing.
    pub fn record(mut self, class: Class, now: Instant) {
        let end = match class {
            Class::Success => End::Success,
            Class::Failure { retryable: true, .. } => End::Overload,
            Class::Failure { retryable: false, .. } | Class::Ignored => End::Other,
        };
        self.end(end, || now);
    }

    /// The outcome by class, by the limit's own clock.
    pub fn finish(self, class: Class) {
        if let Some(shared) = &self.shared {
            let now = shared.clock.now();
            self.record(class, now);
        }
    }

    fn end(&mut self, end: End, now: impl Fn() -> Instant) {
        let Some(shared) = self.shared.take() else { return };
        let left = shared.gate.in_flight();
        shared.learn(Sample { started: self.started, in_flight: self.in_flight, left, end }, now());
        shared.gate.release(now);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(shared) = &self.shared else { return };
        let now = shared.clock.now();
        let longest = self.abandoned_after.unwrap_or_else(|| shared.live.load().options.abandoned_after);
        let abandoned = now.saturating_duration_since(self.started) >= longest;
        self.end(if abandoned { End::Overload } else { End::Cut }, || now);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("open", &self.shared.is_some()).finish()
    }
}
