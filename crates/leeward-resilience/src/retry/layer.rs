//! The retry policy as a tower layer.

use std::future::poll_fn;
use std::time::Duration;

use tower_service::Service;

use super::{Done, NAME, Retry, RetryPolicy};
use crate::config::ConfigErrors;
use crate::deadline::Deadline;
use crate::layer::BoxFuture;
use crate::layer::replay::{Replay, ReplayLayer, ReplayService};
use crate::outcome::{Class, Error, Rejected};
use crate::pipeline::Call;

/// The time that all the attempts of a call have together unless [`RetryLayer::within`] says otherwise.
const WITHIN: Duration = Duration::from_secs(10);

/// Retries the calls of a service. Every service that the layer makes shares the budget.
///
/// A rejection by one of our own policies further in is never retried, whatever `classify` says of it: the policy would
/// only be asked again. It is found at any depth of an error's causes ([`Rejected::caused`]), which is why the error of the
/// service must be a [`std::error::Error`].
///
/// It costs one boxed future a call. The layer does not cut an attempt short (a timeout layer inside does), but it starts
/// none that could not end in time.
pub type RetryLayer<C, R> = ReplayLayer<Retrying, C, R>;

/// A service whose calls are retried.
pub type RetryService<S, C, R> = ReplayService<S, Retrying, C, R>;

/// The policy of a [`RetryLayer`], and the time that it has. Clones share the policy.
#[derive(Clone, Debug)]
pub struct Retrying {
    policy: RetryPolicy,
    within: Duration,
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
        Self { policy: Retrying { policy, within: WITHIN }, classify, replay }
    }

    /// The time that all the attempts of a call have together. Default 10 s, that of a pipeline.
    #[must_use]
    pub const fn within(mut self, within: Duration) -> Self {
        self.policy.within = within;
        self
    }
}

impl<S, C, R, Request> Replay<S, Request, C, R> for Retrying
where
    S: Service<Request> + Send + 'static,
    S::Future: Send,
    S::Response: Send,
    S::Error: std::error::Error + Send + 'static,
    Request: Send + 'static,
    C: Fn(&Result<S::Response, S::Error>) -> Class + Send + Sync + 'static,
    R: Fn(&Request) -> Option<Request> + Send + Sync + 'static,
{
    type Error = Error<S::Error>;

    fn broken(error: S::Error) -> Self::Error {
        Error::Inner(error)
    }

    fn run(
        layer: RetryLayer<C, R>,
        ready: S,
        request: Request,
    ) -> BoxFuture<Result<S::Response, Self::Error>> {
        Box::pin(run(ready, request, layer))
    }
}

async fn run<S, C, R, Request>(
    mut service: S,
    mut request: Request,
    layer: RetryLayer<C, R>,
) -> Result<S::Response, Error<S::Error>>
where
    S: Service<Request>,
    S::Error: std::error::Error + 'static,
    C: Fn(&Result<S::Response, S::Error>) -> Class,
    R: Fn(&Request) -> Option<Request>,
{
    let ReplayLayer { policy: Retrying { policy, within }, classify, replay } = layer;
    let started = policy.clock().now();
    let deadline = Deadline::after(started, within);
    policy.budget().deposit(started);
    let mut done = Done::default();
    // Bounded by `Retry::max_retries`.
    loop {
        let copy = replay(&request);
        let result = service.call(request).await;
        let Some(copy) = copy else { return result.map_err(Error::Inner) };
        if result.as_ref().err().is_some_and(|error| Rejected::caused(error)) {
            return result.map_err(Error::Inner);
        }
        let (now, class) = (policy.clock().now(), classify(&result));
        let wait = policy.wanted(Call::REPLAYABLE, class, done, now, deadline);
        let Some(wait) = wait.and_then(|wait| policy.grant(wait, now)) else {
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
