//! One call through the pipeline: attempts, and the waits between them.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};

use super::attempt::{Failed, Trip, Turn};
use super::held::Hold;
use super::parts::Parts;
use super::{Attempt, Call, Guard, Held, Pipeline};
use crate::deadline::Deadline;
use crate::outcome::{Class, Error};
use crate::retry::{Done, Wait};
use crate::time::Instant;
use crate::timeout::Timer;

impl Pipeline {
    pub(super) async fn run<T, E, F, Fut, C>(
        &self,
        timer: Option<&Timer>,
        call: Call,
        mut send: F,
        classify: C,
    ) -> Result<(T, Option<Hold>), Error<E>>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        C: Fn(&Result<T, E>) -> Class,
    {
        let shared = &*self.shared;
        // Not a guard of the swap: of these a thread has few, and a call may take long.
        let parts = shared.parts.load_full();
        let parts = &*parts;
        let started = shared.around.clock.now();
        let own = Deadline::after(started, parts.options.deadline);
        let deadline = call.deadline.map_or(own, |theirs| theirs.earlier(own));
        let spent_percent = parts.budget.as_ref().map_or(0, |budget| {
            budget.deposit(started);
            budget.spent_percent(started)
        });
        shared.counters.call(call.effort.attempt > 0);
        if let Some(trial) = shared.trial() {
            trial.call(started);
        }
        let own_deadline = deadline == own;
        let trip = Trip {
            shared,
            parts,
            call,
            timer,
            deadline,
            own_deadline,
            spent_percent,
            sent: AtomicU32::new(0),
        };
        let mut last: Option<Failed<T, E>> = None;
        let mut done = Done::default();
        let mut now = started;
        // Bounded by `Retry::max_retries`: `next_wait` says when to stop.
        loop {
            match trip.turn(now, &mut send, &classify).await {
                Turn::Good(value, hold) => return Ok((value, Some(hold))),
                Turn::Final(answer) => return answer.map(|value| (value, None)).map_err(Error::Inner),
                // The last real answer says more than a rejection that came after it.
                Turn::Refused(rejected) => {
                    let refused = || Err(Error::Rejected(rejected));
                    return last.map_or_else(refused, |last| last.into_result().map(|value| (value, None)));
                }
                Turn::NotStarted => {
                    let attempts = trip.sent.load(Ordering::Relaxed);
                    let late = || Err(Error::DeadlineExceeded { attempts, last: None });
                    return last.map_or_else(late, |last| last.into_result().map(|value| (value, None)));
                }
                Turn::CutShort => {
                    let attempts = trip.sent.load(Ordering::Relaxed);
                    return Err(Error::DeadlineExceeded {
                        attempts,
                        last: last.and_then(Failed::into_error),
                    });
                }
                Turn::Failed(failed, class) => match trip.next_wait(done, class) {
                    Some(wait) => {
                        (last, done) = (Some(failed), wait.done);
                        tokio::time::sleep(wait.delay).await;
                        now = shared.around.clock.now();
                    }
                    None => return failed.into_result().map(|value| (value, None)),
                },
            }
        }
    }

    pub(super) async fn run_held<T, E, F, Fut, C>(
        &self,
        timer: Option<&Timer>,
        call: Call,
        send: F,
        classify: C,
    ) -> Result<Held<T>, Error<E>>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        C: Fn(&Result<T, E>) -> Class,
    {
        let (value, hold) = self.run(timer, call, send, classify).await?;
        let guard = hold.map(|hold| Guard::new(hold, &self.shared.around.clock));
        Ok(Held { value, guard })
    }
}

impl Trip<'_> {
    /// How long to wait before the next attempt, or `None` when this failure is final.
    fn next_wait(&self, done: Done, class: Class) -> Option<Wait> {
        let Self { shared, parts, .. } = self;
        let now = shared.around.clock.now();
        let wait = self.may_retry(parts, done, class, now);
        let granted = parts.retry.as_ref().and_then(|retry| retry.grant(wait?, now));
        if let Some(trial) = shared.trial() {
            trial.retry(granted.is_some(), self.may_retry(trial.parts(), done, class, now), now);
        }
        granted
    }

    /// What comes before the next attempt, if the budget allows one.
    fn may_retry(&self, parts: &Parts, done: Done, class: Class, now: Instant) -> Option<Wait> {
        let Self { call, deadline, .. } = self;
        let wait = parts.retry.as_ref()?.wanted(*call, class, done, now, *deadline)?;
        // A breaker that will still be open would only burn the budget and the caller's time.
        let open = parts.breaker.as_ref().is_some_and(|it| it.retry_after(now + wait.delay).is_some());
        (!open).then_some(wait)
    }
}
