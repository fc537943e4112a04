//! The storm runner: what policies do to an upstream in trouble, on virtual time, for tests and for looking at.
//!
//! **Model.** Calls arrive at random at a steady mean rate. Each is sent to an upstream with so many workers and a queue of
//! a bounded length; an attempt that finds the queue full is refused. A worker is busy for a random service time, also
//! with an attempt whose caller gave up long ago: that wasted work is what keeps an overload going after its cause is
//! gone. A script says when the upstream is down, slow, or fails in part. The client has an attempt timeout, retries, hedges, a
//! budget for both, a breaker, a rate limit and a concurrency limit, in the [pipeline](crate::pipeline)'s order: the crate's own
//! [`Retry`](crate::Retry), [`Hedger`](crate::Hedger), [`RetryBudget`](crate::RetryBudget),
//! [`CircuitBreaker`](crate::CircuitBreaker), [`RateLimiter`](crate::RateLimiter) and queue of a
//! [`ConcurrencyLimit`](crate::ConcurrencyLimit), not models of them.
//!
//! **Result.** For each second: calls offered, attempts made, calls that ended well ([`Second::good`], by the second of the
//! answer), and what refused the rest. The same seed gives the same numbers. [`Report::picture`] draws it, and
//! [`Report::csv`] is for other tools.
//!
//! **Bounds.** At most 3,600 seconds and 10,000,000 calls of up to 11 attempts, each with its hedges; beyond, the options are refused.
//!
//! ```
//! use std::time::Duration;
//! use leeward_resilience::storm::{Client, Storm, Weather};
//!
//! let script = vec![(Duration::from_secs(5), Weather::Down), (Duration::from_secs(8), Weather::Well)];
//! let report = Storm { seconds: 20, script, client: Client::default(), ..Storm::default() }.run()?;
//! assert!(report.goodput(5, 8) < 0.05 && report.goodput(10, 20) > 0.95);
//! # Ok::<(), leeward_resilience::ConfigErrors>(())
//! ```
//!
//! Trade-off: no network, one upstream, one client that stands for all; it shows the shape of an outage and not its
//! numbers.
//!
//! Source: metastable failures, Bronson et al. (HotOS 2021).

mod limit;
mod report;
mod run;
mod scenario;
mod turn;

pub use self::report::{Report, Second};
pub use self::scenario::{Client, Service, Storm, Upstream, Weather};

use crate::config::ConfigErrors;

impl Storm {
    /// Runs it to its end.
    ///
    /// # Errors
    /// Every option outside its range, also those of the policies.
    pub fn run(&self) -> Result<Report, ConfigErrors> {
        self.validate()?;
        run::run(self)
    }
}
