//! One attempt of a call, and the hedges beside it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

use super::held::Hold;
use super::parts::Parts;
use super::permits::Permits;
use super::{Attempt, Call, Shared};
use crate::deadline::Deadline;
use crate::effort::Effort;
use crate::fault::Fault;
use crate::hedge::Hedger;
use crate::mode::Mode;
use crate::observe::Event;
use crate::outcome::{Class, Error, Rejected};
use crate::time::Instant;
use crate::timeout::{Expired, Timeout, Timer, bounded, bounded_by};

/// How one attempt ended.
pub(super) enum Turn<T, E> {
    /// Well, and what it holds is not given back yet.
    Good(T, Hold),
    /// With an answer that stands, though it is no success.
    Final(Result<T, E>),
    /// With a failure, which is final unless it is retried.
    Failed(Failed<T, E>, Class),
    /// It was not started: a policy refused.
    Refused(Rejected),
    /// It was not started: no time was left.
    NotStarted,
    /// The deadline cut it short.
    CutShort,
}

impl<T, E> Turn<T, E> {
    /// What it means for the hedges: a refusal of ours says nothing about the upstream.
    fn class(&self) -> Class {
        match self {
            Self::Good(..) => Class::Success,
            Self::Failed(_, class) => *class,
            Self::Final(_) | Self::Refused(_) | Self::NotStarted | Self::CutShort => Class::Ignored,
        }
    }
}

pub(super) enum Failed<T, E> {
    Answer(Result<T, E>),
    Timeout { after: std::time::Duration },
    Injected(Fault),
}

impl<T, E> Failed<T, E> {
    pub(super) fn into_result(self) -> Result<T, Error<E>> {
        match self {
            Self::Answer(answer) => answer.map_err(Error::Inner),
            Self::Timeout { after } => Err(Error::Timeout { after }),
            Self::Injected(fault) => Err(Error::Injected(fault)),
        }
    }

    pub(super) fn into_error(self) -> Option<E> {
        match self {
            Self::Answer(answer) => answer.err(),
            Self::Timeout { .. } | Self::Injected(_) => None,
        }
    }
}

/// One call on its way through the policies.
pub(super) struct Trip<'a> {
    pub(super) shared: &'a Shared,
    pub(super) parts: &'a Parts,
    pub(super) call: Call,
    /// What the attempts are timed by, if the caller keeps a timer.
    pub(super) timer: Option<&'a Timer>,
    pub(super) deadline: Deadline,
    /// Whether that is the pipeline's own deadline, and not an earlier one of the caller.
    pub(super) own_deadline: bool,
    /// What was spent of the retry budget when the call came in.
    pub(super) spent_percent: u8,
    /// Attempts that were sent, hedges among them.
    pub(super) sent: AtomicU32,
}

impl Trip<'_> {
    /// One attempt, with hedges beside it where there are some.
    pub(super) async fn turn<T, E, F, Fut, C>(&self, now: Instant, send: &mut F, classify: &C) -> Turn<T, E>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        C: Fn(&Result<T, E>) -> Class,
    {
        match &self.parts.hedger {
            None => self.attempt(now, send, classify).await,
            Some(hedger) => self.hedged(hedger, send, classify).await,
        }
    }

    async fn hedged<T, E, F, Fut, C>(&self, hedger: &Hedger, send: &mut F, classify: &C) -> Turn<T, E>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        C: Fn(&Result<T, E>) -> Class,
    {
        // Locked for as long as it takes to make a future, and by this task alone.
        let send = Mutex::new(send);
        let attempt = |_| {
            let send = &send;
            async move {
                let now = self.shared.around.clock.now();
                Ok::<_, Infallible>(self.attempt(now, |attempt| (send.lock())(attempt), classify).await)
            }
        };
        let call = self.call.deadline(self.deadline);
        let classify = |turn: &Result<Turn<T, E>, Infallible>| match turn {
            Ok(turn) => turn.class(),
            Err(never) => match *never {},
        };
        let breaker = self.parts.breaker.as_ref();
        let may = |now| breaker.is_none_or(|breaker| breaker.retry_after(now).is_none());
        let Ok(turn) = hedger.call_while(may, call, attempt, classify).await;
        turn
    }

    async fn attempt<T, E, F, Fut, C>(&self, now: Instant, send: F, classify: &C) -> Turn<T, E>
    where
        F: FnOnce(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        C: Fn(&Result<T, E>) -> Class,
    {
        let Self { shared, parts, deadline, .. } = *self;
        let clock = &*shared.around.clock;
        if deadline.is_past(now) {
            return Turn::NotStarted;
        }
        let admitted = Permits::acquire(parts, &self.call, deadline, now, clock).await;
        let trial = shared.trial();
        let watch = trial.and_then(|trial| trial.watch(self.call.priority, admitted.is_err(), now, clock));
        let watch = watch.map(Box::new);
        let (permits, now) = match admitted {
            Ok(admitted) => admitted,
            Err(rejected) => {
                // The policy has told of it.
                shared.counters.rejected();
                return Turn::Refused(rejected);
            }
        };
        let hold = Hold { permits, watch };
        let timeout = parts.options.attempt_timeout;
        let enforced = timeout.filter(|timeout| !timeout.mode.is_shadow()).map(|timeout| timeout.after);
        let bound = |after: Option<_>| after.map_or(Deadline::NEVER, |after| Deadline::after(now, after));
        let until = deadline.earlier(bound(enforced));
        if until.is_past(now) {
            hold.finish(Class::Ignored, clock);
            return Turn::NotStarted;
        }
        shared.counters.attempt();
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let attempt = Attempt { number, deadline: until, effort: self.effort(number) };
        let sent = async {
            match &shared.faults {
                None => Ok(send(attempt).await),
                Some(faults) => faults.call(async || Ok(send(attempt).await), Err).await,
            }
        };
        let mut sent = pin!(sent);
        let attempt_until = bound(timeout.map(|timeout| timeout.after));
        let mut answer = bounded_by(sent.as_mut(), self.timer, (attempt_until, deadline), now, clock).await;
        if let (Err(Expired::Attempt), Some(Timeout { after, mode: Mode::Shadow })) = (&answer, timeout) {
            shared.tell(&Event::WouldTimeOut { after });
            answer = bounded(sent, Deadline::NEVER, deadline, clock).await;
        }
        let answer = match answer {
            Ok(answer) => answer,
            Err(Expired::Attempt) => {
                let after = enforced.unwrap_or_default();
                hold.finish(Class::RETRYABLE, clock);
                shared.tell(&Event::AttemptTimeout { after });
                return Turn::Failed(Failed::Timeout { after }, Class::RETRYABLE);
            }
            Err(Expired::Deadline) => {
                // Without an attempt timeout our own deadline is what bounds the upstream. Else this is a cancellation.
                if self.own_deadline && enforced.is_none() {
                    hold.finish(Class::RETRYABLE, clock);
                }
                return Turn::CutShort;
            }
        };
        match answer {
            Ok(answer) => Self::ended(answer, hold, classify, clock),
            Err(fault) => {
                hold.finish(Class::RETRYABLE, clock);
                Turn::Failed(Failed::Injected(fault), Class::RETRYABLE)
            }
        }
    }

    fn ended<T, E>(
        answer: Result<T, E>,
        hold: Hold,
        classify: &impl Fn(&Result<T, E>) -> Class,
        clock: &dyn crate::time::Clock,
    ) -> Turn<T, E> {
        let class = classify(&answer);
        match (class, answer) {
            (Class::Success, Ok(value)) => Turn::Good(value, hold),
            (Class::Failure { .. }, answer) => {
                hold.finish(class, clock);
                Turn::Failed(Failed::Answer(answer), class)
            }
            (_, answer) => {
                hold.finish(class, clock);
                Turn::Final(answer)
            }
        }
    }

    /// What the next hop is told.
    fn effort(&self, number: u32) -> Effort {
        let attempt = self.call.effort.attempt.saturating_add(number);
        Effort { attempt, spent_percent: self.spent_percent.max(self.call.effort.spent_percent) }
    }
}
