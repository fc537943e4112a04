//! Timeout and deadline: a bound on one attempt, and a bound on everything that is done for a caller.
//!
//! An attempt timeout says how long this upstream may take; when it is over, the upstream is at fault. A deadline says
//! how long the caller waits; when it is over, nobody is at fault, and nothing new is started. Neither stops the upstream:
//! after both the call may have been executed.
//!
//! **Rule.** An attempt that has no answer after `after` is dropped, and is a failure that a retry can help against. A call
//! that has none at its deadline is dropped with whatever it waits for; when the deadline was the caller's and earlier than
//! what an attempt may take, that is neutral for the policies. The earlier of the two bounds holds.
//!
//! **Cost.** One timer for both, armed only when the attempt does not end at its first poll.
//!
//! Trade-off: too short, it fails calls that would have worked and adds their retries to the load; too long, every hung
//! attempt holds its permit for that time. See [tuning](crate::guide::tuning).
//!
//! Source: Nygard, "Release It!" (2007), "Timeouts"; the deadline over all attempts as in gRPC.
//!
//! ```
//! use std::time::Duration;
//! use leeward_resilience::{Call, Class, Deadline, Error, Pipeline};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let after = Duration::from_millis(300);
//! let pipeline = Pipeline::builder("search").deadline(Duration::from_secs(2)).attempt_timeout(after).build()?;
//! let hung = async |_| std::future::pending::<Result<u32, &str>>().await;
//! let ended = pipeline.call(Call::REPLAYABLE, hung, |_| Class::Success).await;
//! assert_eq!(ended, Err(Error::Timeout { after }));
//!
//! // A caller that has 100 ms left is told so after these.
//! let near = Deadline::after(pipeline.clock().now(), Duration::from_millis(100));
//! let ended = pipeline.call(Call::REPLAYABLE.deadline(near), hung, |_| Class::Success).await;
//! assert_eq!(ended, Err(Error::DeadlineExceeded { attempts: 1, last: None }));
//! # Ok(())
//! # }
//! ```
//! An attempt timeout in [`Mode::Shadow`] cuts nothing short: it tells of each attempt that it would have, when
//! it would have. A deadline has no shadow mode, since what comes after it comes for nobody.

mod layer;
mod policy;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use parking_lot::Mutex;
use pin_project_lite::pin_project;
use tokio::time::Sleep;

pub use self::layer::{
    DeadlineFuture, DeadlineLayer, DeadlineService, TimeoutFuture, TimeoutLayer, TimeoutService,
};
pub use self::policy::TimeoutPolicy;

use crate::config::{self, ConfigErrors, Fields, HOUR, Options, above, units};
use crate::deadline::Deadline;
use crate::mode::Mode;
use crate::time::{Clock, Instant};

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
        config::check(self)
    }
}

impl Options for Timeout {
    const NAME: &'static str = "attempt_timeout";
    const SHORT: Option<&'static str> = Some("a duration as 500ms");

    fn base() -> Self {
        Self::default()
    }

    fn visit(&mut self, fields: &mut Fields<'_>) {
        let what = "The longest that one attempt may take.";
        let at = fields.at("after", what, "What answers at all answers within.");
        at.duration(&mut self.after, above(Duration::ZERO, HOUR));
        fields.mode(&mut self.mode);
    }

    fn from_short(text: &str) -> Option<Self> {
        units::duration(text).map(Self::from)
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

/// A timer that is kept from one call to the next by somebody who makes one at a time, as a connection does: to set one for each call and to take
/// it back costs more than the rest of a timeout. It belongs to the runtime that it was first used in.
///
/// **Rule.** One that was set for an earlier call stays set. When it rings before the present call's time it is set anew; so it rings once
/// a timeout instead of being set once a call. Of two calls at a time, the second one has a timer of its own.
#[derive(Debug, Default)]
pub struct Timer(Mutex<Option<Pin<Box<Sleep>>>>);

/// A [`Timer`] while a call has it.
#[derive(Debug)]
pub(crate) struct Lent<'a> {
    home: &'a Timer,
    /// `Some` until it is given back.
    sleep: Option<Pin<Box<Sleep>>>,
    due: tokio::time::Instant,
}

impl Timer {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    fn lend(&self, left: Duration) -> Lent<'_> {
        let now = tokio::time::Instant::now();
        // As far away as tokio's own sleep takes what does not fit.
        let due = now.checked_add(left).unwrap_or_else(|| now + FAR);
        let mut sleep = self.0.lock().take().unwrap_or_else(|| Box::pin(tokio::time::sleep_until(due)));
        if sleep.is_elapsed() || sleep.deadline() > due {
            sleep.as_mut().reset(due);
        }
        Lent { home: self, sleep: Some(sleep), due }
    }
}

/// What is never waited for: thirty years.
const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);

impl Lent<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(sleep) = &mut self.sleep else { return Poll::Ready(()) };
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= self.due {
                return Poll::Ready(());
            }
            // It was set for an earlier call.
            sleep.as_mut().reset(self.due);
        }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        *self.home.0.lock() = self.sleep.take();
    }
}

pin_project! {
    /// One attempt under both bounds with a single timer, which is armed only when the attempt does not end at once.
    pub(crate) struct Bounded<'a, F> {
        #[pin]
        attempt: F,
        #[pin]
        sleep: Option<Sleep>,
        timer: Option<&'a Timer>,
        lent: Option<Lent<'a>>,
        attempt_until: Deadline,
        deadline: Deadline,
        // When it begins, if somebody has looked.
        began: Option<Instant>,
        clock: &'a dyn Clock,
    }
}

/// Runs one attempt under both bounds.
pub(crate) const fn bounded<F: Future>(
    attempt: F,
    attempt_until: Deadline,
    deadline: Deadline,
    clock: &dyn Clock,
) -> Bounded<'_, F> {
    Bounded { attempt, sleep: None, timer: None, lent: None, attempt_until, deadline, began: None, clock }
}

/// As [`bounded`], by a timer that somebody keeps, for an attempt that begins now.
pub(crate) const fn bounded_by<'a, F: Future>(
    attempt: F,
    timer: Option<&'a Timer>,
    (attempt_until, deadline): (Deadline, Deadline),
    now: Instant,
    clock: &'a dyn Clock,
) -> Bounded<'a, F> {
    Bounded { attempt, sleep: None, timer, lent: None, attempt_until, deadline, began: Some(now), clock }
}

impl<F: Future> Future for Bounded<'_, F> {
    type Output = Result<F::Output, Expired>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(answer) = this.attempt.poll(cx) {
            return Poll::Ready(Ok(answer));
        }
        let (attempt_until, deadline) = (*this.attempt_until, *this.deadline);
        if this.sleep.is_none() && this.lent.is_none() {
            let now = this.began.unwrap_or_else(|| this.clock.now());
            let left = attempt_until.earlier(deadline).remaining(now);
            match *this.timer {
                Some(timer) => *this.lent = Some(timer.lend(left)),
                None => this.sleep.set(Some(tokio::time::sleep(left))),
            }
        }
        if let Some(sleep) = this.sleep.as_pin_mut() {
            ready!(sleep.poll(cx));
        }
        if let Some(lent) = this.lent {
            ready!(lent.poll(cx));
        }
        let of_attempt = attempt_until <= deadline;
        Poll::Ready(Err(if of_attempt { Expired::Attempt } else { Expired::Deadline }))
    }
}
