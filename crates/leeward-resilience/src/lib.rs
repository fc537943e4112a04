//! The resilience policies of Leeward: circuit breaker, retry with budget, timeout and deadline, hedging, limits of
//! concurrency (fixed or adaptive) and of rate (in this process or shared), adaptive throttling, priority shedding,
//! fallback, cache with coalescing, and fault injection; one [`Pipeline`]; and a [`storm`] runner that shows on virtual
//! time what they do together.
//!
//! The [`Pipeline`] holds fallback, cache, deadline, retry, hedge, throttle, breaker, rate limit, adaptive and fixed
//! concurrency limit and attempt timeout in their one order. Priority shedding and limits on who calls belong to a server
//! and stand by themselves; all of them are also handles and tower layers.
//!
//! Each policy has the same shape: options with documented defaults, a pure core that takes `now`, a cheap handle whose
//! clones share the state, and a tower layer. It is not an HTTP client, it chooses no endpoint, and it never decides what
//! an answer means: the caller classifies ([`Class`]).
//!
//! ```
//! use std::time::Duration;
//! use leeward_resilience::{Breaker, Call, Class, Error, Pipeline, Retry};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pipeline = Pipeline::builder("payments")
//!     .deadline(Duration::from_secs(2))
//!     .attempt_timeout(Duration::from_millis(500))
//!     .retry(Retry::default())
//!     .breaker(Breaker::default())
//!     .build()?;
//! let answer: Result<u32, Error<std::io::Error>> = pipeline
//!     .call(Call::REPLAYABLE, async |attempt| Ok(attempt.number), |answer| match answer {
//!         Ok(_) => Class::Success,
//!         Err(_) => Class::RETRYABLE,
//!     })
//!     .await;
//! assert_eq!(answer?, 0);
//! # Ok(())
//! # }
//! ```
//!
//! Where to read on:
//! - [`guide`]: [which policy when](guide::which_policy), [choosing numbers](guide::tuning), and the settings of
//!   [Resilience4j](guide::from_resilience4j), [Polly](guide::from_polly), [opossum](guide::from_opossum),
//!   [tenacity](guide::from_tenacity) and [failsafe-go](guide::from_failsafe_go) in ours.
//! - A page for each policy, with its rule, options, trade-off and source: [`timeout`] and [`deadline`], [`retry`],
//!   [`hedge`], [`throttle`], [`breaker`], [`rate`], [`adaptive`], [`concurrency`], [`shed`], [`fallback`], [`cache`],
//!   [`fault`].
//! - How they stand together: [`pipeline`]. What hops tell each other: [`deadline`] and [`effort`]. Errors and what to do
//!   about them: [`outcome`]. Watching only: [`mode`]. An outage on virtual time: [`storm`].
//!
//! Any handle can get other options while calls are on their way (`reconfigure`), and keeps its state: windows, permits, queues,
//! what is used up of a rate. Each policy also has a [`Mode`] in which it only says what it would do. A rejection names what
//! was counted, the threshold, and the version of the options. [`Keyed`] holds a policy for each key, in bounded memory.
//!
//! Invariants:
//! - A permit is linear: taken, then exactly one of success, failure, ignored, or, when it is dropped, cancelled. It carries
//!   the generation of the state that gave it; a stale outcome changes nothing.
//! - A rejection by one of these policies is never retried, and nothing was sent.
//! - Nothing is started, neither an attempt nor a wait, that could not end before the deadline, and a deadline always exists.
//! - State is shared by all clones of a handle or a layer. Every queue, window and key set is bounded.
//! - The path of a call takes no async lock and does not allocate.

pub mod adaptive;
pub mod breaker;
pub mod cache;
pub mod concurrency;
pub mod config;
pub mod deadline;
pub mod effort;
pub mod fallback;
pub mod fault;
pub mod guide;
pub mod hedge;
pub mod keyed;
mod layer;
mod live;
pub mod mode;
pub mod observe;
pub mod outcome;
pub mod pipeline;
pub mod priority;
pub mod random;
pub mod rate;
mod recent;
pub mod retry;
pub mod shed;
pub mod storm;
mod sync;
pub mod throttle;
pub mod time;
pub mod timeout;
mod window;

pub use adaptive::{Adaptive, AdaptiveLimit, Aimd, Algorithm, Gradient2, Knee};
pub use breaker::{Breaker, CircuitBreaker};
pub use cache::{AnswerCache, Cache, MemoryStore};
pub use concurrency::{Concurrency, ConcurrencyLimit, Order};
pub use config::{ConfigErrors, Mistake, Options};
pub use deadline::{ATTEMPT_HEADER, DEADLINE_HEADER, Deadline};
pub use effort::Effort;
pub use fallback::{Fallback, FallbackPolicy};
pub use fault::{FaultInjector, Faults};
pub use hedge::{Hedge, Hedger};
pub use keyed::{Keyed, KeyedBreakers, KeyedOptions, Panic};
pub use mode::Mode;
pub use observe::{Event, Observer, SpanEvent};
pub use outcome::{Advice, Blame, Class, Error, Opened, OpenedBy, Reason, Rejected};
pub use pipeline::{Attempt, Call, Pipeline, PipelineOptions};
pub use priority::{PRIORITY_HEADER, Priority};
pub use random::{FastRng, Rng};
pub use rate::{
    Decision, KeyedRateLimiter, RateLimit, RateLimiter, SharedRate, SharedRateLimiter, SlidingWindow,
};
pub use retry::{Budget, Jitter, Retry, RetryBudget, RetryPolicy};
pub use shed::{Shed, Shedder};
pub use storm::Storm;
pub use throttle::{Throttle, Throttler};
pub use time::{Clock, Instant, ManualClock, TokioClock};
pub use timeout::{Timeout, TimeoutPolicy, Timer};
