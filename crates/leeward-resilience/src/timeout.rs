//! Timeout and deadline: a bound on one attempt, and a bound on everything that is done for a caller.
//!
//! An attempt timeout says how long this upstream may take; when it is over, the upstream is at fault. A deadline says
//! how long the caller waits; when it is over, nobody is at fault, and nothing new is started. Neither stops the upstream:
//! after both the call may have been executed.
//!
//! An attempt timeout in [`Mode::Shadow`](crate::Mode::Shadow) cuts nothing short: it tells of each attempt that it would have, when
//! it would have. A deadline has no shadow mode, since what comes after it comes for nobody.

mod layer;
mod policy;

use std::future::Future;
use std::time::Duration;

pub use self::layer::{
    DeadlineFuture, DeadlineLayer, DeadlineService, TimeoutFuture, TimeoutLayer, TimeoutService,
};
pub use self::policy::TimeoutPolicy;

use crate::config::ConfigErrors;
use crate::deadline::Deadline;
use crate::mode::Mode;
use crate::time::Instant;

/// The policy's name in metrics and `explain()`.
pub const NAME: &str = "timeout";

/// Options of the attempt timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout {
    /// The longest that one attempt may take, more than 0, at most 1 h. Default 1 s: what answers at all answers within.
    pub after: Duration,
    /// Whether it cuts attempts short or only counts those that it would have.
    pub mode: Mode,
}

impl Default for Timeout {
    fn default() -> Self {
        Self { after: Duration::from_secs(1), mode: Mode::Enforced }
    }
}

impl From<Duration> for Timeout {
    fn from(after: Duration) -> Self {
        Self { after, mode: Mode::Enforced }
    }
}

impl Timeout {
    /// Checks every option.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let after_ok = !self.after.is_zero() && self.after <= Duration::from_secs(3600);
        errors.check(after_ok, "timeout.after", self.after, "more than 0, at most 1h");
        errors.finish()
    }
}

/// Which bound ended an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// The attempt took longer than an attempt may.
    Attempt,
    /// The caller's deadline passed.
    Deadline,
}

/// Runs one attempt from `now` under both bounds with a single timer, which is armed only when the attempt does not end
/// at once.
pub(crate) async fn bounded<F: Future>(
    attempt: F,
    now: Instant,
    attempt_max: Duration,
    deadline: Deadline,
) -> Result<F::Output, Expired> {
    let remaining = deadline.remaining(now);
    let (bound, expired) = if attempt_max <= remaining {
        (attempt_max, Expired::Attempt)
    } else {
        (remaining, Expired::Deadline)
    };
    tokio::time::timeout(bound, attempt).await.map_err(|_| expired)
}
