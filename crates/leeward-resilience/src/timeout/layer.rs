//! Timeout and deadline as tower layers.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_layer::Layer;
use tower_service::Service;

use super::{NAME, Timeout, TimeoutPolicy};
use crate::deadline::Deadline;
use crate::mode::Mode;
use crate::observe::Teller;
use crate::outcome::Error;
use crate::time::{Clock, TokioClock};

/// Bounds each call of a service by the same time: the attempt timeout. Every service that the layer makes shares the
/// options.
#[derive(Clone, Debug)]
pub struct TimeoutLayer {
    policy: TimeoutPolicy,
}

impl TimeoutLayer {
    /// Each call may take so long. The time is taken as it is: [`TimeoutPolicy::new`] checks it.
    #[must_use]
    pub fn new(timeout: impl Into<Timeout>) -> Self {
        Self::of(TimeoutPolicy::unchecked(Teller::new(NAME, None), timeout.into()))
    }

    /// A layer over `policy`, which others may share.
    #[must_use]
    pub const fn of(policy: TimeoutPolicy) -> Self {
        Self { policy }
    }
}

impl<S> Layer<S> for TimeoutLayer {
    type Service = TimeoutService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TimeoutService { inner, policy: self.policy.clone() }
    }
}

/// A service whose calls are bounded by an attempt timeout.
#[derive(Clone, Debug)]
pub struct TimeoutService<S> {
    inner: S,
    policy: TimeoutPolicy,
}

impl<S: Service<Request>, Request> Service<Request> for TimeoutService<S> {
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = TimeoutFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let call = self.inner.call(request);
        let timeout = self.policy.config();
        let sleep = tokio::time::sleep(timeout.after);
        TimeoutFuture { call, sleep, timeout, policy: Some(self.policy.clone()) }
    }
}

pin_project! {
    /// The call of a [`TimeoutService`].
    #[derive(Debug)]
    pub struct TimeoutFuture<F> {
        #[pin]
        call: F,
        #[pin]
        sleep: Sleep,
        timeout: Timeout,
        // `None` once the time was over.
        policy: Option<TimeoutPolicy>,
    }
}

impl<F: Future<Output = Result<T, E>>, T, E> Future for TimeoutFuture<F> {
    type Output = Result<T, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(result) = this.call.poll(cx) {
            return Poll::Ready(result.map_err(Error::Inner));
        }
        if this.policy.is_some() {
            ready!(this.sleep.poll(cx));
        }
        let Timeout { after, mode } = *this.timeout;
        if let Some(policy) = this.policy.take() {
            policy.tell(after, mode);
        }
        match mode {
            Mode::Enforced => Poll::Ready(Err(Error::Timeout { after })),
            Mode::Shadow => Poll::Pending,
        }
    }
}

/// Bounds each call of a service by the deadline of its request.
#[derive(Clone, Debug)]
pub struct DeadlineLayer<D> {
    deadline_of: D,
    longest: Duration,
    clock: Arc<dyn Clock>,
}

impl<D> DeadlineLayer<D> {
    /// `deadline_of` is a `Fn(&Request) -> Option<Deadline>`, on tokio time. A request without one, or with a later one,
    /// has `longest`: nothing waits for ever.
    #[must_use]
    pub fn new(deadline_of: D, longest: Duration) -> Self {
        Self { deadline_of, longest, clock: Arc::new(TokioClock) }
    }
}

impl<S, D: Clone> Layer<S> for DeadlineLayer<D> {
    type Service = DeadlineService<S, D>;

    fn layer(&self, inner: S) -> Self::Service {
        DeadlineService { inner, layer: self.clone() }
    }
}

/// A service whose calls are bounded by their deadlines.
#[derive(Clone, Debug)]
pub struct DeadlineService<S, D> {
    inner: S,
    layer: DeadlineLayer<D>,
}

impl<S, D, Request> Service<Request> for DeadlineService<S, D>
where
    S: Service<Request>,
    D: Fn(&Request) -> Option<Deadline>,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = DeadlineFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let now = self.layer.clock.now();
        let latest = Deadline::after(now, self.layer.longest);
        let deadline = (self.layer.deadline_of)(&request).map_or(latest, |its| its.earlier(latest));
        if deadline.is_past(now) {
            return DeadlineFuture::Past;
        }
        let sleep = tokio::time::sleep(deadline.remaining(now));
        DeadlineFuture::Calling { call: self.inner.call(request), sleep }
    }
}

pin_project! {
    /// The call of a [`DeadlineService`].
    #[project = Projected]
    #[derive(Debug)]
    #[allow(missing_docs, reason = "the variants are not for use")]
    pub enum DeadlineFuture<F> {
        Calling { #[pin] call: F, #[pin] sleep: Sleep },
        Past,
    }
}

impl<F: Future<Output = Result<T, E>>, T, E> Future for DeadlineFuture<F> {
    type Output = Result<T, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let attempts = match self.project() {
            Projected::Calling { call, sleep } => {
                if let Poll::Ready(result) = call.poll(cx) {
                    return Poll::Ready(result.map_err(Error::Inner));
                }
                ready!(sleep.poll(cx));
                1
            }
            Projected::Past => 0,
        };
        Poll::Ready(Err(Error::DeadlineExceeded { attempts, last: None }))
    }
}
