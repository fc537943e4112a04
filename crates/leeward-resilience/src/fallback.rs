//! Fallback: another answer for a call that failed, which says that it is one.
//!
//! **Rule.** When a call ends for one of the chosen [`Cause`]s, a substitute is asked for: a value, or another call of at
//! most `within`. The answer is marked as a [`Answer::Substitute`] with its cause, and the observer is told; nobody
//! can take it for the real one by mistake. A substitute that fails or takes too long leaves the first result as it was,
//! since that says what is wrong.
//!
//! **Which causes.** A fallback hides what it covers, so that it must not cover bugs. By default it stands in for a
//! rejection by one of our policies, for a timeout, for a passed deadline, and for a failure that is retryable, all of
//! which pass by themselves. It does not stand in for a permanent failure (a 500, an answer that cannot be read), which
//! is a bug until somebody has looked at it, unless `on_permanent` says so. Never for what was classified as
//! [`Class::Ignored`], the caller's own mistake, and never for a panic.
//!
//! In [`Mode::Shadow`] the first result always stands, no substitute is asked for, and the observer hears of
//! each that would have been.
//!
//! Trade-off: a path that runs only in outages is the least tested one. A substitute that calls the same upstream, or
//! one that shares its fate, makes the outage worse; prefer a value.
//!
//! **Cost.** Nothing but the match on the result and its classification, as long as calls end well.
//!
//! Source: the fallback of Netflix' Hystrix (2012), where whoever wanted to know had to ask whether an answer was one.

mod layer;
mod options;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

pub use self::layer::{FallbackFuture, FallbackLayer, FallbackService};

use crate::config::{self, ConfigErrors};
use crate::live::Live;
use crate::mode::Mode;
use crate::observe::{Event, Observer, Teller};
use crate::outcome::{Class, Error, Rejected};

/// The policy's name in metrics and `explain()`.
pub const NAME: &str = "fallback";

/// Names of the metrics that an [`Observer`] should feed.
pub mod metrics {
    /// Counter `{policy, cause}`: answers that were a substitute.
    pub const FALLBACKS: &str = "leeward_fallbacks_total";
    /// Counter `{policy, cause}`: substitutes that failed or took too long, so that the first result stood.
    pub const FALLBACKS_FAILED: &str = "leeward_fallbacks_failed_total";
}

/// Why a substitute was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// One of our own policies refused the call.
    Rejected(Rejected),
    /// The last attempt took longer than the attempt timeout.
    Timeout,
    /// The caller's deadline passed.
    DeadlineExceeded,
    /// The upstream failed in a way that passes.
    Retryable,
    /// The upstream failed in a way that does not.
    Permanent,
}

impl Cause {
    /// The name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected(_) => "rejected",
            Self::Timeout => "timeout",
            Self::DeadlineExceeded => "deadline",
            Self::Retryable => "retryable",
            Self::Permanent => "permanent",
        }
    }

    /// What a result is to the policy, whether it is chosen or not; `None` for a success and for the caller's mistake.
    pub(crate) fn of<T, E>(
        result: Result<T, Error<E>>,
        classify: impl Fn(&Result<T, E>) -> Class,
    ) -> (Result<T, Error<E>>, Option<Self>) {
        let inner = match result {
            Ok(value) => Ok(value),
            Err(Error::Inner(error)) => Err(error),
            Err(Error::Rejected(rejected)) => {
                return (Err(Error::Rejected(rejected)), Some(Self::Rejected(rejected)));
            }
            Err(error @ Error::Timeout { .. }) => return (Err(error), Some(Self::Timeout)),
            Err(Error::Injected(fault)) => return (Err(Error::Injected(fault)), Some(Self::Retryable)),
            Err(error @ Error::DeadlineExceeded { .. }) => return (Err(error), Some(Self::DeadlineExceeded)),
        };
        let cause = Self::of_class(classify(&inner));
        (inner.map_err(Error::Inner), cause)
    }

    /// What an answer, or an error of the call itself, is to the policy by its class; `None` for a success and for the caller's
    /// mistake.
    #[must_use]
    pub const fn of_class(class: Class) -> Option<Self> {
        match class {
            Class::Success | Class::Ignored => None,
            Class::Failure { retryable: true, .. } => Some(Self::Retryable),
            Class::Failure { retryable: false, .. } => Some(Self::Permanent),
        }
    }
}

/// Options of a [`FallbackPolicy`]: which causes fall back, and how long a substitute may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// A policy refused. Default yes: nothing was sent, and the policy is working as it was told to.
    pub on_rejected: bool,
    /// No answer in time. Default yes.
    pub on_timeout: bool,
    /// The deadline passed. Default yes: a value at hand is better than none.
    pub on_deadline: bool,
    /// A failure that passes. Default yes.
    pub on_retryable: bool,
    /// A failure that does not pass. Default no: that is a bug, and a fallback would hide it.
    pub on_permanent: bool,
    /// The longest that a substitute may take, more than 0, at most 60 s. Default 500 ms: the caller waited already.
    pub within: Duration,
    /// Whether a substitute is asked for, or it is only said that one would be. Default [`Mode::Enforced`].
    pub mode: Mode,
}

impl Default for Fallback {
    fn default() -> Self {
        Self {
            on_rejected: true,
            on_timeout: true,
            on_deadline: true,
            on_retryable: true,
            on_permanent: false,
            within: Duration::from_millis(500),
            mode: Mode::Enforced,
        }
    }
}

impl Fallback {
    /// Checks every option.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        config::check(self)
    }

    /// Whether this cause falls back.
    #[must_use]
    pub const fn covers(&self, cause: Cause) -> bool {
        match cause {
            Cause::Rejected(_) => self.on_rejected,
            Cause::Timeout => self.on_timeout,
            Cause::DeadlineExceeded => self.on_deadline,
            Cause::Retryable => self.on_retryable,
            Cause::Permanent => self.on_permanent,
        }
    }
}

/// An answer that knows whether it is the real one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// What the call answered.
    Real(T),
    /// What the fallback answered in its place.
    Substitute {
        /// The substitute.
        value: T,
        /// Why there is one.
        cause: Cause,
    },
}

impl<T> Answer<T> {
    /// The answer, whichever it is.
    #[must_use]
    pub fn into_inner(self) -> T {
        match self {
            Self::Real(value) | Self::Substitute { value, .. } => value,
        }
    }

    /// Why this is a substitute; `None` for the real answer.
    #[must_use]
    pub const fn cause(&self) -> Option<Cause> {
        match self {
            Self::Real(_) => None,
            Self::Substitute { cause, .. } => Some(*cause),
        }
    }
}

/// Gives substitutes. Clones share the options.
///
/// ```
/// use leeward_resilience::fallback::{Answer, Cause, Fallback, FallbackPolicy};
/// use leeward_resilience::{Class, Error};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let fallback = FallbackPolicy::new("recommendations", Fallback::default(), None)?;
/// let call = async { Err::<Vec<u32>, _>(Error::Inner(std::io::Error::other("503"))) };
/// let answer = fallback.or_value(call, |_| Class::RETRYABLE, |_| Vec::new()).await?;
/// assert_eq!(answer, Answer::Substitute { value: Vec::new(), cause: Cause::Retryable });
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FallbackPolicy {
    shared: Arc<Shared>,
}

struct Shared {
    teller: Teller,
    live: Live<Fallback>,
}

impl FallbackPolicy {
    /// A policy with these options. The observer hears of every substitute.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn new(
        name: impl Into<Arc<str>>,
        config: Fallback,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Self, ConfigErrors> {
        config.validate()?;
        let shared = Shared { teller: Teller::new(name, observer), live: Live::new(config) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The options in force.
    #[must_use]
    pub fn config(&self) -> Fallback {
        self.shared.live.load().options.clone()
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shared.teller.name()
    }

    /// Puts other options into force, for every call that ends from now on.
    ///
    /// # Errors
    /// Every option outside its range; the old options then stay.
    pub fn reconfigure(&self, config: Fallback) -> Result<(), ConfigErrors> {
        config.validate()?;
        let version = self.shared.live.replace(config, |_, _| {});
        self.shared.teller.tell(&Event::Reconfigured { policy: NAME, version });
        Ok(())
    }

    /// Awaits `call`, and takes the value of `substitute` when it ends for a chosen cause.
    ///
    /// # Errors
    /// The call's own, for a cause that is not chosen.
    ///
    /// # Cancel safety
    /// Dropping the future drops the call; nothing falls back.
    pub async fn or_value<T, E>(
        &self,
        call: impl Future<Output = Result<T, Error<E>>>,
        classify: impl Fn(&Result<T, E>) -> Class,
        substitute: impl FnOnce(Cause) -> T,
    ) -> Result<Answer<T>, Error<E>> {
        match self.chosen(call.await, classify) {
            (_, Some(cause)) => {
                let value = substitute(cause);
                self.report(cause, true);
                Ok(Answer::Substitute { value, cause })
            }
            (result, None) => result.map(Answer::Real),
        }
    }

    /// Awaits `call`, and makes the call `substitute` when it ends for a chosen cause. When that one fails as well, or
    /// takes longer than `within`, the first result stands.
    ///
    /// # Errors
    /// The first call's own.
    ///
    /// # Cancel safety
    /// Dropping the future drops the call that is on its way.
    pub async fn or_call<T, E, Other, Fut>(
        &self,
        call: impl Future<Output = Result<T, Error<E>>>,
        classify: impl Fn(&Result<T, E>) -> Class,
        substitute: impl FnOnce(Cause) -> Fut,
    ) -> Result<Answer<T>, Error<E>>
    where
        Fut: Future<Output = Result<T, Other>>,
    {
        let (result, cause) = self.chosen(call.await, classify);
        let Some(cause) = cause else { return result.map(Answer::Real) };
        let answer = tokio::time::timeout(self.within(), substitute(cause)).await;
        self.decide(result, cause, answer.ok().and_then(Result::ok))
    }

    /// Whether this cause falls back now, for who makes the substitute without [`or_value`](Self::or_value) or
    /// [`or_call`](Self::or_call), and says by [`report`](Self::report) what became of it. In [`Mode::Shadow`] none does, and the
    /// observer hears of each that would have.
    #[must_use]
    pub fn takes(&self, cause: Cause) -> bool {
        let live = self.shared.live.load();
        let covered = live.options.covers(cause);
        if covered && live.options.mode.is_shadow() {
            self.shared.teller.tell(&Event::WouldFallBack { cause });
            return false;
        }
        covered
    }

    /// Tells the observer what became of a substitute: whether it answered.
    pub fn report(&self, cause: Cause, answered: bool) {
        self.shared.teller.tell(&Event::FellBack { cause, answered });
    }

    /// The longest that a substitute may take.
    #[must_use]
    pub fn within(&self) -> Duration {
        self.shared.live.load().options.within
    }

    /// The result, and the cause if it is one of those that fall back.
    fn chosen<T, E>(
        &self,
        result: Result<T, Error<E>>,
        classify: impl Fn(&Result<T, E>) -> Class,
    ) -> (Result<T, Error<E>>, Option<Cause>) {
        let (result, cause) = Cause::of(result, classify);
        (result, cause.filter(|cause| self.takes(*cause)))
    }

    /// Which of the two stands.
    fn decide<T, E>(
        &self,
        first: Result<T, Error<E>>,
        cause: Cause,
        substitute: Option<T>,
    ) -> Result<Answer<T>, Error<E>> {
        self.report(cause, substitute.is_some());
        match substitute {
            Some(value) => Ok(Answer::Substitute { value, cause }),
            None => first.map(Answer::Real),
        }
    }
}

impl fmt::Debug for FallbackPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { teller, live } = &*self.shared;
        let config = &live.load().options;
        f.debug_struct("FallbackPolicy").field("name", teller).field("config", config).finish()
    }
}
