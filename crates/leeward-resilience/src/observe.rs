//! What the policies do, told to whoever counts or logs it.

use std::fmt::Debug;
use std::time::Duration;

use crate::breaker::State;
use crate::fallback::Cause;
use crate::outcome::Rejected;

/// Names of the metrics that an [`Observer`] should feed, so that every Leeward process calls them the same.
pub mod metrics {
    /// Gauge `{policy}`: 0 closed, 1 half-open, 2 open, 3 forced open, 4 forced closed.
    pub const BREAKER_STATE: &str = "leeward_breaker_state";
    /// Counter `{policy, to}`: changes of a breaker's state.
    pub const BREAKER_TRANSITIONS: &str = "leeward_breaker_transitions_total";
    /// Counter `{policy, kind}`: calls that a policy refused.
    pub const REJECTIONS: &str = "leeward_policy_rejections_total";
    /// Counter `{policy}`: attempts after the first one.
    pub const RETRIES: &str = "leeward_retries_total";
    /// Counter `{policy}`: failures that were not retried since the retry budget was spent.
    pub const RETRY_BUDGET_EXHAUSTED: &str = "leeward_retry_budget_exhausted_total";
    /// Counter `{policy}`: attempts that the attempt timeout cut short.
    pub const ATTEMPT_TIMEOUTS: &str = "leeward_attempt_timeouts_total";
    /// Counter `{policy, allowed}`: calls about which the store of a shared rate limit gave no answer.
    pub const RATE_STORE_UNAVAILABLE: &str = "leeward_rate_store_unavailable_total";
    /// Gauge `{policy}`: the limit that an adaptive limit found.
    pub const ADAPTIVE_LIMIT: &str = "leeward_adaptive_limit";
    /// Gauge `{policy}`: the level of priority shedding, in eighths of a class; 0 sheds nothing.
    pub const SHED_LEVEL: &str = "leeward_shed_level";
}

/// Something a policy did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A breaker changed its state.
    BreakerChanged {
        /// From here.
        from: State,
        /// To here.
        to: State,
    },
    /// A policy refused a call.
    Rejected(Rejected),
    /// An attempt failed and another one follows after the delay.
    Retrying {
        /// The number of the attempt that follows, from 1.
        attempt: u32,
        /// The time until then.
        delay: Duration,
    },
    /// A failure could have been retried, but the retry budget was spent.
    RetryBudgetExhausted,
    /// An attempt took longer than the attempt timeout.
    AttemptTimeout {
        /// The attempt timeout.
        after: Duration,
    },
    /// The store of a shared rate limit gave no answer.
    RateStoreUnavailable {
        /// Whether the call passed.
        allowed: bool,
    },
    /// An adaptive limit found another value.
    AdaptiveLimitChanged {
        /// From so many calls at a time.
        from: u32,
        /// To so many.
        to: u32,
    },
    /// Priority shedding changed its level, in eighths of a class.
    ShedLevelChanged {
        /// From here.
        from: u32,
        /// To here.
        to: u32,
    },
    /// A fallback was asked for a substitute.
    FellBack {
        /// Why.
        cause: Cause,
        /// Whether there was one. If not, the first result stood.
        answered: bool,
    },
}

/// Gets every [`Event`] of the policies it is given to. It is called on the path of a call: it must not block.
pub trait Observer: Send + Sync + Debug + 'static {
    /// `name` is the name of the breaker or the pipeline.
    fn observe(&self, name: &str, event: &Event);
}
