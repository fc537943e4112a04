//! The policies of an outbound call in their one order.
//!
//! ```text
//! deadline > retry (budget) > circuit breaker > concurrency limit > attempt timeout > call
//! ```
//!
//! Outermost first. The breaker sits inside retry, so that it sees each attempt, and outside the attempt timeout, so that
//! a timeout is an outcome for it. Choosing an endpoint, and what belongs to it, happens in the call itself. Another
//! order is possible by stacking the tower layers of the policies; [`Pipeline::explain`] prints this one with the values
//! in force.

mod builder;
mod call;
mod explain;
mod held;
mod options;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

pub use self::builder::PipelineBuilder;
pub use self::held::{Guard, Held};
pub use self::options::PipelineOptions;

use crate::breaker::CircuitBreaker;
use crate::concurrency::ConcurrencyLimit;
use crate::deadline::Deadline;
use crate::observe::{Event, Observer};
use crate::outcome::{Class, Error};
use crate::random::Rng;
use crate::retry::{Retry, RetryBudget};
use crate::time::Clock;

/// The policies in front of one upstream. Clones share all state: budget, breaker, permits.
#[derive(Clone)]
pub struct Pipeline {
    parts: Arc<Parts>,
}

struct Parts {
    name: Arc<str>,
    deadline: Duration,
    retry: Option<(Retry, RetryBudget)>,
    breaker: Option<CircuitBreaker>,
    concurrency: Option<ConcurrencyLimit>,
    attempt_timeout: Option<Duration>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    observer: Option<Arc<dyn Observer>>,
}

/// What the caller says about one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The caller's own deadline; the pipeline's stays in force when it is earlier.
    pub deadline: Option<Deadline>,
    /// Whether the call may be sent more than once: it is idempotent and its body can be sent again.
    pub replayable: bool,
    /// The number of attempts made further out ([`ATTEMPT_HEADER`](crate::ATTEMPT_HEADER)). More than 0: not retried here.
    pub attempt_in: u32,
}

impl Call {
    /// A call that may be sent more than once.
    pub const REPLAYABLE: Self = Self { deadline: None, replayable: true, attempt_in: 0 };
    /// A call that must be sent at most once.
    pub const ONCE: Self = Self { deadline: None, replayable: false, attempt_in: 0 };

    /// The call with the caller's deadline.
    #[must_use]
    pub const fn deadline(mut self, deadline: Deadline) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

/// What an attempt knows about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// 0 for the first one.
    pub number: u32,
    /// When this attempt is cut short: what to send as [`DEADLINE_HEADER`](crate::DEADLINE_HEADER).
    pub deadline: Deadline,
}

impl Pipeline {
    /// A pipeline with a deadline of 10 s and nothing else, to add policies to.
    pub fn builder(name: impl Into<Arc<str>>) -> PipelineBuilder {
        PipelineBuilder::new(name.into())
    }

    /// Makes a call through all the policies. `send` is called once for each attempt, `classify` once for each answer.
    ///
    /// # Errors
    /// The last real error of the call itself ([`Error::Inner`]) or what a policy did instead. An answer that `classify`
    /// takes for a failure is still the answer, once it is not retried.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the attempt: permits are given back, and the breaker counts it as a failure only when
    /// it had taken as long as an attempt may.
    pub async fn call<T, E, F, Fut, C>(&self, call: Call, send: F, classify: C) -> Result<T, Error<E>>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        C: Fn(&Result<T, E>) -> Class,
    {
        self.call_held(call, send, classify).await.map(Held::finish)
    }

    /// Like [`call`](Self::call), for an answer whose body is still on its way: permits and outcome are held until the
    /// [`Held`] answer is finished.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_held<T, E, F, Fut, C>(
        &self,
        call: Call,
        send: F,
        classify: C,
    ) -> Result<Held<T>, Error<E>>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        C: Fn(&Result<T, E>) -> Class,
    {
        self.run(call, send, classify).await
    }

    /// The order and the values in force, one policy a line, outermost first.
    #[must_use]
    pub fn explain(&self) -> String {
        explain::explain(&self.parts)
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.parts.name
    }

    /// Its breaker, if it has one.
    #[must_use]
    pub fn breaker(&self) -> Option<&CircuitBreaker> {
        self.parts.breaker.as_ref()
    }

    /// Its concurrency limit, if it has one.
    #[must_use]
    pub fn concurrency(&self) -> Option<&ConcurrencyLimit> {
        self.parts.concurrency.as_ref()
    }

    /// The clock that its deadlines are on.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.parts.clock
    }

    fn tell(&self, event: &Event) {
        if let Some(observer) = &self.parts.observer {
            observer.observe(&self.parts.name, event);
        }
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = &*self.parts;
        f.debug_struct("Pipeline")
            .field("name", &parts.name)
            .field("deadline", &parts.deadline)
            .finish_non_exhaustive()
    }
}
