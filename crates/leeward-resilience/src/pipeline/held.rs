//! An answer with the permits that it still holds.

use std::sync::Arc;

use super::permits::Permits;
use super::trial::Watch;
use crate::outcome::Class;
use crate::time::Clock;

/// What an attempt holds until its end is known. Dropping it means that the attempt was cancelled.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) permits: Permits,
    pub(super) watch: Option<Watch>,
}

impl Hold {
    pub(super) fn finish(self, class: Class, clock: &dyn Clock) {
        if let Some(watch) = self.watch {
            watch.finish(class, clock);
        }
        self.permits.finish(class, clock);
    }
}

/// The permits of a call whose answer is still coming in. Dropping it means that the call was cancelled.
#[derive(Debug)]
#[must_use = "dropping a guard records the call as cancelled"]
pub struct Guard {
    pub(super) hold: Hold,
    pub(super) clock: Arc<dyn Clock>,
}

impl Guard {
    /// Ends the call: its body came to the end, or broke off.
    pub fn record(self, class: Class) {
        self.hold.finish(class, &*self.clock);
    }
}

/// An answer that holds on to its permits, or to none when it was classified as a failure.
#[derive(Debug)]
pub struct Held<T> {
    pub(super) value: T,
    pub(super) guard: Option<Guard>,
}

impl<T> Held<T> {
    /// The answer, complete: the call was a success.
    pub fn finish(self) -> T {
        if let Some(guard) = self.guard {
            guard.record(Class::Success);
        }
        self.value
    }

    /// The answer, and the guard to hold until its end.
    #[must_use]
    pub fn into_parts(self) -> (T, Option<Guard>) {
        (self.value, self.guard)
    }
}
