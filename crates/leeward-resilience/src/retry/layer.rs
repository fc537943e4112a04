//! The retry policy as a tower layer.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tower_layer::Layer;
use tower_service::Service;

use super::{Done, NAME, Retry, RetryPolicy};
use crate::config::ConfigErrors;
use crate::deadline::Deadline;
use crate::outcome::{Class, Error};
use crate::pipeline::Call;

/// The time that all the attempts of a call have together unless [`RetryLayer::within`] says otherwise.
const WITHIN: Duration = Duration::from_secs(10);

/// Retries the calls of a service. Every service that the layer makes shares the budget.
///
/// It costs one boxed future a call. The layer does not cut an attempt short (a timeout layer inside does), but it starts
/// none that could not end in time.
#[derive(Clone, Debug)]
pub struct RetryLayer<C, R> {
    policy: RetryPolicy,
    within: Duration,
    classify: C,
    replay: R,
}

impl<C, R> RetryLayer<C, R> {
    /// `classify` is a `Fn(&Result<Response, Error>) -> Class`. `replay` is a `Fn(&Request) -> Option<Request>` that
    /// copies a request which may be sent again, and says `None` for any other.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn new(retry: Retry, classify: C, replay: R) -> Result<Self, ConfigErrors> {
        Ok(Self::of(RetryPolicy::new(NAME, retry)?, classify, replay))
    }

    /// A layer that decides by `policy`, which others may share.
    #[must_use]
    pub const fn of(policy: RetryPolicy, classify: C, replay: R) -> Self {
        Self { policy, within: WITHIN, classify, replay }
    }

    /// The time that all the attempts of a call have together.
    #[must_use]
    pub const fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }
}

impl<S, C: Clone, R: Clone> Layer<S> for RetryLayer<C, R> {
    type Service = RetryService<S, C, R>;

    fn layer(&self, inner: S) -> Self::Service {
        RetryService { inner, layer: self.clone() }
    }
}

/// A service whose calls are retried.
#[derive(Clone)]
pub struct RetryService<S, C, R> {
    inner: S,
    layer: RetryLayer<C, R>,
}

impl<S: fmt::Debug, C, R> fmt::Debug for RetryService<S, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryService")
            .field("inner", &self.inner)
            .field("policy", &self.layer.policy)
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
        Box::pin(run(ready, request, self.layer.clone()))
    }
}

async fn run<S, C, R, Request>(
    mut service: S,
    mut request: Request,
    layer: RetryLayer<C, R>,
) -> Result<S::Response, Error<S::Error>>
where
    S: Service<Request>,
    C: Fn(&Result<S::Response, S::Error>) -> Class,
    R: Fn(&Request) -> Option<Request>,
{
    let RetryLayer { policy, within, classify, replay } = layer;
    let started = policy.clock().now();
    let deadline = Deadline::after(started, within);
    policy.budget().deposit(started);
    let mut done = Done::default();
    // Bounded by `Retry::max_retries`.
    loop {
        let copy = replay(&request);
        let result = service.call(request).await;
        let Some(copy) = copy else { return result.map_err(Error::Inner) };
        let (now, class) = (policy.clock().now(), classify(&result));
        let Some(wait) = policy.decide(Call::REPLAYABLE, class, done, now, deadline, None) else {
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
