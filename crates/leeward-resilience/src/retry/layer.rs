//! The retry policy as a tower layer.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tower_layer::Layer;
use tower_service::Service;

use super::{Done, Retry, RetryBudget};
use crate::config::ConfigErrors;
use crate::deadline::Deadline;
use crate::outcome::{Class, Error};
use crate::random::{FastRng, Rng};
use crate::time::{Clock, TokioClock};

/// The time that all the attempts of a call have together unless [`RetryLayer::within`] says otherwise.
const WITHIN: Duration = Duration::from_secs(10);

/// Retries the calls of a service. Every service that the layer makes shares the budget.
///
/// It costs one boxed future a call. The layer does not cut an attempt short (a timeout layer inside does), but it starts
/// none that could not end in time.
#[derive(Clone, Debug)]
pub struct RetryLayer<C, R> {
    policy: Arc<Policy>,
    classify: C,
    replay: R,
}

#[derive(Debug)]
struct Policy {
    retry: Retry,
    budget: RetryBudget,
    within: Duration,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
}

impl<C, R> RetryLayer<C, R> {
    /// `classify` is a `Fn(&Result<Response, Error>) -> Class`. `replay` is a `Fn(&Request) -> Option<Request>` that
    /// copies a request which may be sent again, and says `None` for any other.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn new(retry: Retry, classify: C, replay: R) -> Result<Self, ConfigErrors> {
        retry.validate()?;
        let clock = TokioClock;
        let budget = RetryBudget::new(&retry.budget, clock.now())?;
        let rng = Arc::new(FastRng::from_entropy());
        let policy = Policy { retry, budget, within: WITHIN, clock: Arc::new(clock), rng };
        Ok(Self { policy: Arc::new(policy), classify, replay })
    }

    /// The time that all the attempts of a call have together.
    #[must_use]
    pub fn within(mut self, within: Duration) -> Self {
        let old = &self.policy;
        let (clock, rng) = (Arc::clone(&old.clock), Arc::clone(&old.rng));
        let policy = Policy { retry: old.retry.clone(), budget: old.budget.clone(), within, clock, rng };
        self.policy = Arc::new(policy);
        self
    }
}

impl<S, C: Clone, R: Clone> Layer<S> for RetryLayer<C, R> {
    type Service = RetryService<S, C, R>;

    fn layer(&self, inner: S) -> Self::Service {
        RetryService {
            inner,
            policy: Arc::clone(&self.policy),
            classify: self.classify.clone(),
            replay: self.replay.clone(),
        }
    }
}

/// A service whose calls are retried.
#[derive(Clone)]
pub struct RetryService<S, C, R> {
    inner: S,
    policy: Arc<Policy>,
    classify: C,
    replay: R,
}

impl<S: fmt::Debug, C, R> fmt::Debug for RetryService<S, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryService")
            .field("inner", &self.inner)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl<S, C, R, Request> Service<Request> for RetryService<S, C, R>
where
    S: Service<Request> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Send,
    S::Error: Send,
    Request: Send + 'static,
    C: Fn(&Result<S::Response, S::Error>) -> Class + Clone + Send + Sync + 'static,
    R: Fn(&Request) -> Option<Request> + Clone + Send + Sync + 'static,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // The service that was polled ready goes with the call; the clone that stays must be polled anew.
        let clone = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, clone);
        let (policy, classify, replay) =
            (Arc::clone(&self.policy), self.classify.clone(), self.replay.clone());
        Box::pin(run(ready, request, policy, classify, replay))
    }
}

async fn run<S, C, R, Request>(
    mut service: S,
    mut request: Request,
    policy: Arc<Policy>,
    classify: C,
    replay: R,
) -> Result<S::Response, Error<S::Error>>
where
    S: Service<Request>,
    C: Fn(&Result<S::Response, S::Error>) -> Class,
    R: Fn(&Request) -> Option<Request>,
{
    let started = policy.clock.now();
    let deadline = Deadline::after(started, policy.within);
    policy.budget.deposit(started);
    let mut done = Done::default();
    // Bounded by `Retry::max_retries`.
    loop {
        let copy = replay(&request);
        let result = service.call(request).await;
        let Some(copy) = copy else { return result.map_err(Error::Inner) };
        let now = policy.clock.now();
        let wait = policy.retry.next(classify(&result), done, now, deadline, &*policy.rng);
        let Some(wait) = wait.filter(|_| policy.budget.withdraw(now)) else {
            return result.map_err(Error::Inner);
        };
        done = wait.done;
        tokio::time::sleep(wait.delay).await;
        if poll_fn(|cx| service.poll_ready(cx)).await.is_err() {
            // The last real answer says more than a service that is gone by now.
            return result.map_err(Error::Inner);
        }
        request = copy;
    }
}
