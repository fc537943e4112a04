//! The policies of an outbound call in their one order.
//!
//! ```text
//! fallback > cache > deadline > retry (budget) > hedge > throttle > circuit breaker > rate limit > adaptive limit >
//! concurrency limit > attempt timeout > fault injection > call
//! ```
//!
//! Outermost first, whatever the order in which they were asked for, and each only where it is switched on:
//! - A fallback stands in for whatever failed below it, and a cache saves all of it.
//! - The deadline bounds all attempts and the waits between them. Retry sends another attempt after one that failed, hedging
//!   one beside an attempt that takes long; both draw on one budget.
//! - The throttle and the breaker see each attempt. The throttle comes first: what it holds back must not be a probe.
//! - The rate limit comes before the limits on attempts at a time, since only those wait.
//! - The breaker is outside the attempt timeout, so that a timeout is an outcome for it.
//! - Injected faults come last: every policy above sees what a real fault would show it.
//!
//! Choosing an endpoint, and what belongs to it, happens in the call itself. Priority shedding and limits on who calls belong
//! to a server and not here. Another order is possible by stacking the tower layers of the policies.
//!
//! [`Pipeline::explain`] prints the order with the values in force, [`Pipeline::lint`] what does not fit together.
//! [`Pipeline::reconfigure`] puts other options into force and keeps what the policies have learnt;
//! [`Pipeline::try_out`] runs other options beside those in force and says what they would change.
//!
//! **Cost.** A reference to the options in force, which is counted in one place for all threads, then the cost of each policy that
//! is on. A call that is not hedged and does not wait allocates nothing.
//!
//! Trade-off: one order for all is wrong for somebody; who needs another one stacks the layers, and loses budget, lint and trials
//! over the whole.
//!
//! Source: deadline, retry, breaker and attempt timeout stand as in .NET's standard resilience handler; throttle and limits
//! came in between for the reasons above.
//!
//! ```
//! use std::time::Duration;
//! use leeward_resilience::{Breaker, Pipeline, Retry};
//!
//! let pipeline = Pipeline::builder("users")
//!     .attempt_timeout(Duration::from_secs(1))
//!     .breaker(Breaker::default())
//!     .retry(Retry::default())
//!     .build()?;
//! let explained = pipeline.explain();
//! let order: Vec<_> = explained.lines().filter_map(|line| line.split_whitespace().next()).collect();
//! assert_eq!(order, ["deadline", "retry", "breaker", "timeout", "call"]);
//! assert!(pipeline.lint(&Default::default()).is_empty());
//! # Ok::<(), leeward_resilience::ConfigErrors>(())
//! ```

mod attempt;
mod builder;
mod call;
mod counts;
mod explain;
mod held;
mod lint;
mod options;
mod parts;
mod permits;
mod sharing;
mod substitute;
mod trial;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;

pub use self::builder::PipelineBuilder;
pub use self::counts::Counts;
pub use self::held::{Guard, Held};
pub use self::lint::{Facts, Finding, Kind};
pub use self::options::{PipelineOptions, PolicyNames};
pub use self::sharing::Part;
pub use self::trial::TrialReport;

use self::counts::Counters;
use self::parts::{Parts, Surroundings};
use self::trial::Trial;
use crate::breaker::CircuitBreaker;
use crate::concurrency::ConcurrencyLimit;
use crate::config::ConfigErrors;
use crate::deadline::Deadline;
use crate::effort::Effort;
use crate::fault::FaultInjector;
use crate::observe::Event;
use crate::outcome::{Class, Error};
use crate::priority::Priority;
use crate::time::Clock;
use crate::timeout::Timer;

/// The policies in front of one upstream. Clones share all state: budget, breaker, permits.
#[derive(Clone)]
pub struct Pipeline {
    shared: Arc<Shared>,
}

struct Shared {
    around: Surroundings,
    parts: ArcSwap<Parts>,
    reloading: Mutex<()>,
    /// Options that are tried out.
    trial: ArcSwapOption<Trial>,
    /// Whether there are any: all that a call looks at when there are none.
    is_trying: AtomicBool,
    faults: Option<FaultInjector>,
    counters: Counters,
}

/// What the caller says about one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The caller's own deadline; the pipeline's stays in force when it is earlier.
    pub deadline: Option<Deadline>,
    /// Whether the call may be sent more than once: it is idempotent and its body can be sent again. One that may not is retried all
    /// the same when it comes back [untouched](Class::Failure).
    pub replayable: bool,
    /// What the hop further out said about its own attempts. One that repeats the call itself: not repeated here.
    pub effort: Effort,
    /// How much the call matters: the throttle holds the lowest back first.
    pub priority: Priority,
    /// An attempt that is dropped after so long is one that hung, and counts as a failure. `None`, the default: the longest that an
    /// attempt may take. For a caller whose deadline is a bound on the upstream, and not its own patience.
    pub abandoned_after: Option<Duration>,
}

impl Call {
    /// A call that may be sent more than once.
    pub const REPLAYABLE: Self = Self { replayable: true, ..Self::ONCE };
    /// A call that must be sent at most once.
    pub const ONCE: Self = Self {
        deadline: None,
        replayable: false,
        effort: Effort::FIRST,
        priority: Priority::Normal,
        abandoned_after: None,
    };

    /// The call with the caller's deadline.
    #[must_use]
    pub const fn deadline(mut self, deadline: Deadline) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The call with what the hop further out said.
    #[must_use]
    pub const fn effort(mut self, effort: Effort) -> Self {
        self.effort = effort;
        self
    }

    /// The call with its priority.
    #[must_use]
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }
}

/// What an attempt knows about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// 0 for the first one of this call; hedges count too.
    pub number: u32,
    /// When this attempt is cut short: what to send as [`DEADLINE_HEADER`](crate::DEADLINE_HEADER).
    pub deadline: Deadline,
    /// What to send as [`ATTEMPT_HEADER`](crate::ATTEMPT_HEADER), unless it [is the first](Effort::is_first).
    pub effort: Effort,
}

impl Pipeline {
    /// A pipeline with a deadline of 10 s and nothing else, to add policies to.
    pub fn builder(name: impl Into<Arc<str>>) -> PipelineBuilder {
        PipelineBuilder::new(name.into())
    }

    /// Makes a call through all the policies but fallback and cache. `send` is called once for each attempt, `classify` once
    /// for each answer.
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
        let (value, hold) = self.run(None, call, send, classify).await?;
        if let Some(hold) = hold {
            hold.finish(Class::Success, &*self.shared.around.clock);
        }
        Ok(value)
    }

    /// Like [`call`](Self::call), for an answer whose body is still on its way: permits and outcome are held until the
    /// [`Held`] answer is finished. Only the permit of an adaptive limit ends here: it measures how long an answer takes to begin.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    ///
    /// # Cancel safety
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
        self.run_held(None, call, send, classify).await
    }

    /// Like [`call_held`](Self::call_held), timed by a timer that the caller keeps from one call to the next.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    ///
    /// # Cancel safety
    /// As [`call`](Self::call).
    pub async fn call_held_by<T, E, F, Fut, C>(
        &self,
        timer: &Timer,
        call: Call,
        send: F,
        classify: C,
    ) -> Result<Held<T>, Error<E>>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        C: Fn(&Result<T, E>) -> Class,
    {
        self.run_held(Some(timer), call, send, classify).await
    }

    fn parts(&self) -> Arc<Parts> {
        self.shared.parts.load_full()
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.around.name
    }

    /// The options in force.
    #[must_use]
    pub fn options(&self) -> PipelineOptions {
        self.shared.parts.load().options.clone()
    }

    /// The order and the values in force, one policy a line, outermost first.
    #[must_use]
    pub fn explain(&self) -> String {
        let options = &self.shared.parts.load().options;
        explain::explain(self.name(), options, None, &PipelineOptions::default())
    }

    /// The same in the words of a configuration: each policy by its key there, marked where it is as in `defaults`. `abandoned_after` is left out: it follows
    /// from the attempt timeout.
    #[must_use]
    pub fn explain_as(&self, names: &PolicyNames, defaults: &PipelineOptions) -> String {
        explain::explain(self.name(), &self.shared.parts.load().options, Some(names), defaults)
    }

    /// What of the options in force does not fit together, see [`PipelineOptions::lint`].
    #[must_use]
    pub fn lint(&self, facts: &Facts) -> Vec<Finding> {
        self.shared.parts.load().options.lint(facts)
    }

    /// Its breaker, if it has one.
    #[must_use]
    pub fn breaker(&self) -> Option<CircuitBreaker> {
        self.shared.parts.load().breaker.clone()
    }

    /// Its concurrency limit, if it has one.
    #[must_use]
    pub fn concurrency(&self) -> Option<ConcurrencyLimit> {
        self.shared.parts.load().concurrency.clone()
    }

    /// The clock that its deadlines are on.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.around.clock
    }

    /// What it did so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.counters.read()
    }

    /// How often the options were put into force, from 1.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.shared.parts.load().version
    }

    /// Puts other options into force for all calls that come in from now on, and says their version. What the policies have
    /// learnt is kept: windows, states, permits, places in queues, budgets, levels. A policy that was off begins anew, one that is
    /// off from now on is forgotten. Calls on their way go on
    /// under the old order of policies, which are the same ones. A [`cache`](Self::cache) that was made from the pipeline is its
    /// owner's: [`AnswerCache::reconfigure`](crate::AnswerCache::reconfigure) it as well.
    ///
    /// # Errors
    /// Every option outside its range; then nothing changes.
    pub fn reconfigure(&self, options: PipelineOptions) -> Result<u32, ConfigErrors> {
        self.after(options, None)
    }

    /// As [`reconfigure`](Self::reconfigure), sharing these policies with the pipeline that it was built to
    /// [share](PipelineBuilder::sharing) some with. A policy that is shared no more begins anew; without such a pipeline none is shared.
    ///
    /// # Errors
    /// As [`reconfigure`](Self::reconfigure).
    pub fn reconfigure_sharing(
        &self,
        options: PipelineOptions,
        parts: impl IntoIterator<Item = Part>,
    ) -> Result<u32, ConfigErrors> {
        self.after(options, Some(parts.into_iter().collect()))
    }

    fn after(&self, options: PipelineOptions, shared: Option<Arc<[Part]>>) -> Result<u32, ConfigErrors> {
        let _one_at_a_time = self.shared.reloading.lock();
        let old = self.shared.parts.load();
        let shared = shared.unwrap_or_else(|| Arc::clone(&old.shared));
        let parts = Parts::after(Some(&**old), options, &shared, &self.shared.around)?;
        let version = parts.version;
        self.shared.parts.store(Arc::new(parts));
        Ok(version)
    }

    /// Tries out other options beside those in force, in place of a trial before it. Nothing changes for the calls; what
    /// would change is in the [`trial`](Self::trial)'s report.
    ///
    /// # Errors
    /// Every option outside its range; no trial is started, and one that runs goes on.
    pub fn try_out(&self, options: PipelineOptions) -> Result<(), ConfigErrors> {
        let quiet = Surroundings { observer: None, budget: None, with: None, ..self.shared.around.clone() };
        let trial = Trial::new(Parts::new(options, &Arc::default(), &quiet)?);
        self.shared.trial.store(Some(Arc::new(trial)));
        self.shared.is_trying.store(true, Ordering::Release);
        Ok(())
    }

    /// The options that are tried out, and what they would have changed so far.
    #[must_use]
    pub fn trial(&self) -> Option<(PipelineOptions, TrialReport)> {
        self.shared.trial.load().as_ref().map(|trial| (trial.options().clone(), trial.report()))
    }

    /// Ends the trial, and says what it would have changed.
    pub fn end_trial(&self) -> Option<(PipelineOptions, TrialReport)> {
        self.shared.is_trying.store(false, Ordering::Release);
        let trial = self.shared.trial.swap(None);
        trial.map(|trial| (trial.options().clone(), trial.report()))
    }
}

impl Shared {
    fn tell(&self, event: &Event) {
        if let Some(observer) = &self.around.observer {
            observer.observe(&self.around.name, event);
        }
    }

    fn trial(&self) -> Option<Arc<Trial>> {
        if self.is_trying.load(Ordering::Acquire) { self.trial.load_full() } else { None }
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("name", &self.shared.around.name)
            .field("options", &self.shared.parts.load().options)
            .finish_non_exhaustive()
    }
}
