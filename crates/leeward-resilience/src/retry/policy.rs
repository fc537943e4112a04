//! The retry policy as a handle: what a pipeline and a tower layer decide with.

use std::fmt;
use std::sync::Arc;

use super::{Done, NAME, Retry, RetryBudget, Wait};
use crate::config::ConfigErrors;
use crate::deadline::Deadline;
use crate::live::Live;
use crate::observe::{Event, Observer, Teller};
use crate::outcome::Class;
use crate::pipeline::Call;
use crate::random::{FastRng, Rng};
use crate::time::{Clock, Instant, TokioClock};

/// Decides about retries, and draws on a budget for them. Clones share options and budget.
///
/// It only decides: [`RetryLayer`](super::RetryLayer) and [`Pipeline`](crate::Pipeline) wait and send.
///
/// ```
/// use leeward_resilience::{Retry, RetryPolicy};
///
/// let policy = RetryPolicy::new("payments", Retry::default())?;
/// policy.reconfigure(Retry { max_retries: 1, ..Retry::default() })?;
/// assert_eq!(policy.config().max_retries, 1);
/// assert!(policy.reconfigure(Retry { max_retries: 99, ..Retry::default() }).is_err());
/// assert_eq!(policy.config().max_retries, 1);
/// # Ok::<(), leeward_resilience::ConfigErrors>(())
/// ```
#[derive(Clone)]
pub struct RetryPolicy {
    shared: Arc<Shared>,
}

struct Shared {
    teller: Teller,
    live: Live<Retry>,
    budget: RetryBudget,
    /// Whether the budget is this policy's own, with the options in its own.
    owns_budget: bool,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
}

impl RetryPolicy {
    /// A policy with a budget of its own, on tokio time.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn new(name: impl Into<Arc<str>>, config: Retry) -> Result<Self, ConfigErrors> {
        Self::with(name, config, None, Arc::new(TokioClock), Arc::new(FastRng::from_entropy()), None)
    }

    /// A policy that draws on `budget`, which others may share, or has one of its own; with its own clock, randomness and
    /// observer.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn with(
        name: impl Into<Arc<str>>,
        config: Retry,
        budget: Option<RetryBudget>,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Self, ConfigErrors> {
        config.validate()?;
        let owns_budget = budget.is_none();
        let budget = budget.map_or_else(|| RetryBudget::new(&config.budget, clock.now()), Ok)?;
        let (teller, live) = (Teller::new(name, observer), Live::new(config));
        Ok(Self { shared: Arc::new(Shared { teller, live, budget, owns_budget, clock, rng }) })
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shared.teller.name()
    }

    /// The options in force.
    #[must_use]
    pub fn config(&self) -> Retry {
        self.shared.live.load().options.clone()
    }

    /// The budget that it draws on.
    #[must_use]
    pub fn budget(&self) -> &RetryBudget {
        &self.shared.budget
    }

    /// The clock that it goes by.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.clock
    }

    /// Puts other options into force, also for calls that are on their way. What the budget knows is kept, and one that was
    /// given to the policy keeps its options too.
    ///
    /// # Errors
    /// Every option outside its range; the old options then stay.
    pub fn reconfigure(&self, config: Retry) -> Result<(), ConfigErrors> {
        config.validate()?;
        let shared = &*self.shared;
        if shared.owns_budget {
            shared.budget.reconfigure(&config.budget, shared.clock.now())?;
        }
        let version = shared.live.replace(config, |_, _| {});
        shared.teller.tell(&Event::Reconfigured { policy: NAME, version });
        Ok(())
    }

    /// What would come before the next attempt after the retries `done`, if the budget allows one; `None` when the failure is
    /// final.
    pub(crate) fn wanted(
        &self,
        call: Call,
        class: Class,
        done: Done,
        now: Instant,
        deadline: Deadline,
    ) -> Option<Wait> {
        let may_be_repeated = call.replayable || matches!(class, Class::Failure { untouched: true, .. });
        if !may_be_repeated || !call.effort.may_repeat() {
            return None;
        }
        let Shared { live, rng, .. } = &*self.shared;
        live.load().options.next(class, done, now, deadline, &**rng)
    }

    /// Draws on the budget for a retry that is wanted, and tells of it. `None` when it is spent, or in shadow mode.
    pub(crate) fn grant(&self, wait: Wait, now: Instant) -> Option<Wait> {
        let Shared { teller, live, budget, .. } = &*self.shared;
        if !budget.withdraw(now) {
            teller.tell(&Event::RetryBudgetExhausted);
            return None;
        }
        let (attempt, delay) = (wait.done.retries, wait.delay);
        if live.load().options.mode.is_shadow() {
            teller.tell(&Event::WouldRetry { attempt, delay });
            return None;
        }
        teller.tell(&Event::Retrying { attempt, delay });
        Some(wait)
    }
}

impl fmt::Debug for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryPolicy")
            .field("name", &self.shared.teller)
            .field("config", &self.shared.live.load().options)
            .finish_non_exhaustive()
    }
}
