//! One call through the pipeline.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::{Attempt, Call, Guard, Held, Pipeline};
use crate::breaker;
use crate::deadline::Deadline;
use crate::observe::Event;
use crate::outcome::{Class, Error, Rejected};
use crate::retry::{Done, Wait};
use crate::timeout::{Expired, bounded};

/// How one attempt ended.
enum Turn<T, E> {
    /// With an answer that stands.
    Final(Result<Held<T>, Error<E>>),
    /// With a failure, which is final unless it is retried.
    Failed(Failed<T, E>, Class),
    /// It was not started: a policy refused.
    Refused(Rejected),
    /// It was not started: no time was left.
    NotStarted,
    /// The deadline cut it short.
    CutShort,
}

enum Failed<T, E> {
    Answer(Result<T, E>),
    Timeout { after: Duration },
}

impl<T, E> Failed<T, E> {
    fn into_result(self) -> Result<Held<T>, Error<E>> {
        match self {
            Self::Answer(answer) => answer.map(|value| Held { value, guard: None }).map_err(Error::Inner),
            Self::Timeout { after } => Err(Error::Timeout { after }),
        }
    }

    fn into_error(self) -> Option<E> {
        match self {
            Self::Answer(answer) => answer.err(),
            Self::Timeout { .. } => None,
        }
    }
}

impl Pipeline {
    pub(super) async fn run<T, E, F, Fut, C>(
        &self,
        call: Call,
        mut send: F,
        classify: C,
    ) -> Result<Held<T>, Error<E>>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        C: Fn(&Result<T, E>) -> Class,
    {
        let started = self.parts.clock.now();
        let own = Deadline::after(started, self.parts.deadline);
        let deadline = call.deadline.map_or(own, |theirs| theirs.earlier(own));
        if let Some((_, budget)) = &self.parts.retry {
            budget.deposit(started);
        }
        let mut last: Option<Failed<T, E>> = None;
        let mut done = Done::default();
        // Bounded by `Retry::max_retries`: `next_wait` says when to stop.
        loop {
            let number = done.retries;
            match self.attempt(number, deadline, deadline == own, &mut send, &classify).await {
                Turn::Final(answer) => return answer,
                // The last real answer says more than a rejection that came after it.
                Turn::Refused(rejected) => {
                    return last.map_or(Err(Error::Rejected(rejected)), Failed::into_result);
                }
                Turn::NotStarted => {
                    let late = || Err(Error::DeadlineExceeded { attempts: number, last: None });
                    return last.map_or_else(late, Failed::into_result);
                }
                Turn::CutShort => {
                    let last = last.and_then(Failed::into_error);
                    return Err(Error::DeadlineExceeded { attempts: number + 1, last });
                }
                Turn::Failed(failed, class) => match self.next_wait(call, done, class, deadline) {
                    Some(wait) => {
                        (last, done) = (Some(failed), wait.done);
                        tokio::time::sleep(wait.delay).await;
                    }
                    None => return failed.into_result(),
                },
            }
        }
    }

    async fn attempt<T, E, F, Fut, C>(
        &self,
        number: u32,
        deadline: Deadline,
        own_deadline: bool,
        send: &mut F,
        classify: &C,
    ) -> Turn<T, E>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        C: Fn(&Result<T, E>) -> Class,
    {
        let clock = &self.parts.clock;
        let now = clock.now();
        if deadline.is_past(now) {
            return Turn::NotStarted;
        }
        let mut guard = match self.admit(deadline).await {
            Ok(guard) => guard,
            // The policy has told of it.
            Err(rejected) => return Turn::Refused(rejected),
        };
        let now = if self.parts.concurrency.is_some() { clock.now() } else { now };
        let longest = self.parts.attempt_timeout.unwrap_or(Duration::MAX);
        let attempt = Attempt { number, deadline: deadline.earlier(Deadline::after(now, longest)) };
        if attempt.deadline.is_past(now) {
            guard.record(Class::Ignored);
            return Turn::NotStarted;
        }
        let answer = match bounded(send(attempt), now, longest, deadline).await {
            Ok(answer) => answer,
            Err(Expired::Attempt) => {
                guard.record(Class::RETRYABLE);
                self.tell(&Event::AttemptTimeout { after: longest });
                return Turn::Failed(Failed::Timeout { after: longest }, Class::RETRYABLE);
            }
            Err(Expired::Deadline) => {
                // Without an attempt timeout our own deadline is what bounds the upstream. Else this is a cancellation.
                if own_deadline && self.parts.attempt_timeout.is_none() {
                    guard.record(Class::RETRYABLE);
                }
                return Turn::CutShort;
            }
        };
        let class = classify(&answer);
        match (class, answer) {
            (Class::Success, Ok(value)) => Turn::Final(Ok(Held { value, guard: Some(guard) })),
            (Class::Failure { .. }, answer) => {
                record(&mut guard.breaker, class, clock.now());
                Turn::Failed(Failed::Answer(answer), class)
            }
            (_, answer) => {
                record(&mut guard.breaker, class, clock.now());
                Turn::Final(answer.map(|value| Held { value, guard: None }).map_err(Error::Inner))
            }
        }
    }

    /// The permits of one attempt, outermost first.
    async fn admit(&self, deadline: Deadline) -> Result<Guard, Rejected> {
        let clock = &self.parts.clock;
        let now = clock.now();
        let breaker = match &self.parts.breaker {
            Some(breaker) => Some(breaker.acquire(now)?),
            None => None,
        };
        let concurrency = match &self.parts.concurrency {
            None => None,
            Some(limit) => match limit.try_acquire() {
                Some(permit) => Some(permit),
                None => match limit.acquire_within(deadline.remaining(now)).await {
                    Ok(permit) => Some(permit),
                    Err(rejected) => {
                        if let Some(permit) = breaker {
                            permit.ignored(clock.now());
                        }
                        return Err(rejected);
                    }
                },
            },
        };
        Ok(Guard { breaker, _concurrency: concurrency, clock: Arc::clone(clock) })
    }

    /// How long to wait before the next attempt, or `None` when this failure is final.
    fn next_wait(&self, call: Call, done: Done, class: Class, deadline: Deadline) -> Option<Wait> {
        let (retry, budget) = self.parts.retry.as_ref()?;
        if !call.replayable || call.attempt_in > 0 {
            return None;
        }
        let now = self.parts.clock.now();
        let wait = retry.next(class, done, now, deadline, &*self.parts.rng)?;
        // A breaker that will still be open would only burn the budget and the caller's time.
        if self.breaker().is_some_and(|breaker| breaker.retry_after(now + wait.delay).is_some()) {
            return None;
        }
        if !budget.withdraw(now) {
            self.tell(&Event::RetryBudgetExhausted);
            return None;
        }
        self.tell(&Event::Retrying { attempt: wait.done.retries, delay: wait.delay });
        Some(wait)
    }
}

fn record(permit: &mut Option<breaker::Permit>, class: Class, now: crate::time::Instant) {
    if let Some(permit) = permit.take() {
        permit.record(class, now);
    }
}
