//! What the policies do, told to whoever counts or logs it.
//!
//! A handle that was made with an [`Observer`] tells it everything that it decides, once, whoever asked: rejections and
//! would-be rejections too. Without one, an event costs a branch.

pub mod metrics;
pub mod span_events;
mod teller;

use std::fmt::Debug;
use std::time::Duration;

pub use self::span_events::{SpanEvent, Value};
pub(crate) use self::teller::Teller;

use crate::breaker::State;
use crate::cache::Answered;
use crate::fallback::Cause;
use crate::fault::Fault;
use crate::outcome::Rejected;

/// Something a policy did, or, in [shadow mode](crate::Mode::Shadow), would have done.
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
    /// A policy in shadow mode would have refused a call, and let it pass.
    WouldReject(Rejected),
    /// An attempt failed and another one follows after the delay.
    Retrying {
        /// The number of the attempt that follows, from 1.
        attempt: u32,
        /// The time until then.
        delay: Duration,
    },
    /// An attempt failed, and a retry policy in shadow mode let the failure stand that it would have retried.
    WouldRetry {
        /// The number of the attempt that would have followed, from 1.
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
    /// An attempt took longer than an attempt timeout in shadow mode, and goes on.
    WouldTimeOut {
        /// The attempt timeout.
        after: Duration,
    },
    /// Another attempt was sent beside one that takes long.
    Hedged {
        /// The number of the hedge, from 1.
        attempt: u32,
        /// How long the attempt before it had taken.
        delay: Duration,
    },
    /// Hedging in shadow mode would have sent another attempt.
    WouldHedge {
        /// The number of the hedge, from 1.
        attempt: u32,
        /// How long the attempt before it had taken.
        delay: Duration,
    },
    /// A hedge had the first good answer.
    HedgeWon,
    /// A hedge was due and not sent, since the retry budget was spent.
    HedgeRefused,
    /// A cache gave an answer, or loaded one.
    CacheAnswered {
        /// Where it came from.
        from: Answered,
    },
    /// A cache in shadow mode would have given an answer, and the call was made all the same.
    WouldAnswer {
        /// Where it would have come from.
        from: Answered,
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
    /// A fallback in shadow mode would have been asked for a substitute; the result stood.
    WouldFallBack {
        /// Why.
        cause: Cause,
    },
    /// A call was touched by an experiment.
    FaultInjected {
        /// How long it waited first, if it did.
        latency: Option<Duration>,
        /// What went wrong, if anything did.
        fault: Option<Fault>,
    },
    /// An experiment in shadow mode would have touched a call.
    WouldFault {
        /// How long it would have waited first.
        latency: Option<Duration>,
        /// What would have gone wrong.
        fault: Option<Fault>,
    },
    /// Other options came into force.
    Reconfigured {
        /// The policy: one of the `NAME` constants of the policy modules.
        policy: &'static str,
        /// Their version.
        version: u32,
    },
    /// Keyed policies made room for another key by forgetting one.
    KeyEvicted {
        /// Whether it still had something to forget: permits on their way, or a state that is not the one of a new policy.
        busy: bool,
    },
    /// Keyed breakers began or ceased to let everything pass, since too many keys are open for it to be their own fault.
    PanicChanged {
        /// Whether everything passes.
        panicking: bool,
        /// Keys whose breaker is open or half-open.
        open: u32,
        /// All keys.
        keys: u32,
    },
}

/// Gets every [`Event`] of the policies it is given to. It is called on the path of a call: it must not block.
pub trait Observer: Send + Sync + Debug + 'static {
    /// `name` is the name of the policy's handle, or of the pipeline.
    fn observe(&self, name: &str, event: &Event);
}
