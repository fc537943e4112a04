//! An answer with the permits that it still holds.

use std::sync::Arc;
use std::time::Duration;

use super::permits::Permits;
use super::trial::Watch;
use crate::outcome::Class;
use crate::time::{Clock, Instant};

/// What an attempt holds until its end is known. Dropping it means that the attempt was cancelled.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) permits: Permits,
    /// In a box, since few pipelines try something out and every answer carries it along.
    pub(super) watch: Option<Box<Watch>>,
}

impl Hold {
    fn put_off(&mut self, by: Duration) {
        self.permits.put_off(by);
        if let Some(watch) = &mut self.watch {
            watch.put_off(by);
        }
    }

    pub(super) fn finish(self, class: Class, clock: &dyn Clock) {
        if let Some(watch) = self.watch {
            watch.finish(class, clock);
        }
        self.permits.finish(class, clock);
    }
}

/// The permits of a call whose answer is still coming in, all but that of an adaptive limit: that one ends where the answer begins. Dropping it means that the call was cancelled.
#[derive(Debug)]
#[must_use = "dropping a guard records the call as cancelled"]
pub struct Guard {
    /// `None` once the end is recorded.
    hold: Option<Hold>,
    /// Since when it is the reader's turn.
    paused: Option<Instant>,
    clock: Arc<dyn Clock>,
}

impl Guard {
    pub(super) fn new(mut hold: Hold, clock: &Arc<dyn Clock>) -> Self {
        hold.permits.answered(&**clock);
        if let Some(watch) = &mut hold.watch {
            watch.answered(&**clock);
        }
        Self { hold: Some(hold), paused: None, clock: Arc::clone(clock) }
    }

    /// From now on whoever reads the body takes the time, and not the upstream: it makes the call neither slow, nor one that hung
    /// when it is dropped. A reader that is slow, or goes away, says nothing about the upstream.
    pub fn pause(&mut self) {
        if self.paused.is_none() {
            self.paused = Some(self.clock.now());
        }
    }

    /// It is the upstream's turn again.
    pub fn resume(&mut self) {
        if let (Some(since), Some(hold)) = (self.paused.take(), &mut self.hold) {
            hold.put_off(self.clock.now().saturating_duration_since(since));
        }
    }

    /// Ends the call: its body came to the end, or broke off.
    pub fn record(mut self, class: Class) {
        self.resume();
        if let Some(hold) = self.hold.take() {
            hold.finish(class, &*self.clock);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.resume();
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
