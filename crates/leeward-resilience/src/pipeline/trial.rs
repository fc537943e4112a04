//! Other options for a pipeline, tried out on its own traffic without acting.
//!
//! The trial has policies of its own, which see every attempt: they are asked as if they decided, and they learn from the
//! same outcomes. What they would have done otherwise is counted. Their queues never wait, so that a trial's concurrency
//! limit refuses nothing; its caches and fallbacks are not played.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::PipelineOptions;
use super::parts::Parts;
use super::permits::Permits;
use crate::outcome::Class;
use crate::priority::Priority;
use crate::retry::Wait;
use crate::time::{Clock, Instant};

/// How the decisions of a trial differ from those that were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrialReport {
    /// Attempts that it saw.
    pub attempts: u64,
    /// Attempts that both refused.
    pub rejected_by_both: u64,
    /// Attempts that were refused and that the trial would have sent.
    pub rejected_only_live: u64,
    /// Attempts that were sent and that the trial would have refused.
    pub rejected_only_trial: u64,
    /// Attempts that ended well and that the trial would have cut short.
    pub timed_out_only_trial: u64,
    /// Failures that were retried and that the trial would have let stand.
    pub retried_only_live: u64,
    /// Failures that stood and that the trial would have retried.
    pub retried_only_trial: u64,
    /// Attempts that took so long that the trial would have sent another one beside them.
    pub hedged: u64,
}

impl TrialReport {
    /// Decisions that would have been others; hedges are not among them, since nobody knows what they would have changed.
    #[must_use]
    pub const fn differences(&self) -> u64 {
        self.rejected_only_live
            + self.rejected_only_trial
            + self.timed_out_only_trial
            + self.retried_only_live
            + self.retried_only_trial
    }
}

#[derive(Debug)]
pub(super) struct Trial {
    parts: Parts,
    attempts: AtomicU64,
    rejected_by_both: AtomicU64,
    rejected_only_live: AtomicU64,
    rejected_only_trial: AtomicU64,
    timed_out_only_trial: AtomicU64,
    retried_only_live: AtomicU64,
    retried_only_trial: AtomicU64,
    hedged: AtomicU64,
}

impl Trial {
    pub(super) fn new(parts: Parts) -> Self {
        let [a, b, c, d, e, f, g, h] = [(); 8].map(|()| AtomicU64::new(0));
        Self {
            parts,
            attempts: a,
            rejected_by_both: b,
            rejected_only_live: c,
            rejected_only_trial: d,
            timed_out_only_trial: e,
            retried_only_live: f,
            retried_only_trial: g,
            hedged: h,
        }
    }

    pub(super) const fn options(&self) -> &PipelineOptions {
        &self.parts.options
    }

    pub(super) const fn parts(&self) -> &Parts {
        &self.parts
    }

    /// A call came in.
    pub(super) fn call(&self, now: Instant) {
        if let Some(budget) = &self.parts.budget {
            budget.deposit(now);
        }
    }

    /// An attempt was sent, or refused.
    pub(super) fn watch(
        self: &Arc<Self>,
        priority: Priority,
        refused: bool,
        now: Instant,
        clock: &dyn Clock,
    ) -> Option<Watch> {
        count(&self.attempts);
        match (refused, Permits::acquire_at_once(&self.parts, priority, now, clock)) {
            (false, Ok(permits)) => Some(Watch { trial: Arc::clone(self), permits, started: now }),
            (false, Err(_)) => {
                count(&self.rejected_only_trial);
                None
            }
            (true, Ok(permits)) => {
                count(&self.rejected_only_live);
                permits.finish(Class::Ignored, clock);
                None
            }
            (true, Err(_)) => {
                count(&self.rejected_by_both);
                None
            }
        }
    }

    /// A failure would be retried, or stands, as far as the budgets allow.
    pub(super) fn retry(&self, live: bool, trial: Option<Wait>, now: Instant) {
        let granted = trial.is_some() && self.parts.budget.as_ref().is_none_or(|budget| budget.withdraw(now));
        match (live, granted) {
            (true, false) => count(&self.retried_only_live),
            (false, true) => count(&self.retried_only_trial),
            _ => {}
        }
    }

    pub(super) fn report(&self) -> TrialReport {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TrialReport {
            attempts: read(&self.attempts),
            rejected_by_both: read(&self.rejected_by_both),
            rejected_only_live: read(&self.rejected_only_live),
            rejected_only_trial: read(&self.rejected_only_trial),
            timed_out_only_trial: read(&self.timed_out_only_trial),
            retried_only_live: read(&self.retried_only_live),
            retried_only_trial: read(&self.retried_only_trial),
            hedged: read(&self.hedged),
        }
    }
}

/// A trial's view of one attempt. Dropping it means that the attempt was cancelled.
#[derive(Debug)]
pub(super) struct Watch {
    trial: Arc<Trial>,
    permits: Permits,
    started: Instant,
}

impl Watch {
    /// So much of the time until now was not the attempt's.
    pub(super) fn put_off(&mut self, by: Duration) {
        self.started = self.started + by;
        self.permits.put_off(by);
    }

    pub(super) fn answered(&mut self, clock: &dyn Clock) {
        self.permits.answered(clock);
    }

    pub(super) fn finish(self, class: Class, clock: &dyn Clock) {
        let Self { trial, permits, started } = self;
        let now = clock.now();
        let took = now.saturating_duration_since(started);
        let late = took >= trial.parts.options.attempt_longest();
        if late && class == Class::Success {
            count(&trial.timed_out_only_trial);
        }
        if trial.parts.hedger.as_ref().is_some_and(|hedger| took >= hedger.delay(now)) {
            count(&trial.hedged);
        }
        permits.finish(if late { Class::RETRYABLE } else { class }, clock);
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
