//! The rate limit as a tower layer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::RateLimiter;
use crate::outcome::{Error, Rejected};
use crate::time::{Clock, TokioClock};

/// Puts a [`RateLimiter`] in front of a service. Every service that the layer makes, and every clone of it, shares the
/// limit. A call beyond it is rejected, not delayed.
#[derive(Clone, Debug)]
pub struct RateLimitLayer {
    limiter: RateLimiter,
    clock: Arc<dyn Clock>,
}

impl RateLimitLayer {
    /// A layer over `limiter`, on tokio time.
    #[must_use]
    pub fn new(limiter: RateLimiter) -> Self {
        Self { limiter, clock: Arc::new(TokioClock) }
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimitService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimitService { inner, layer: self.clone() }
    }
}

/// A service behind a [`RateLimiter`].
#[derive(Clone, Debug)]
pub struct RateLimitService<S> {
    inner: S,
    layer: RateLimitLayer,
}

impl<S: Service<Request>, Request> Service<Request> for RateLimitService<S> {
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = RateLimitFuture<S::Future>;

    /// Ready when the inner service is: readiness is no promise of a call, so that it must not use up the limit.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match self.layer.limiter.check(self.layer.clock.now()).rejected() {
            None => RateLimitFuture::Calling { call: self.inner.call(request) },
            Some(rejected) => RateLimitFuture::Rejected { rejected },
        }
    }
}

pin_project! {
    /// The call of a [`RateLimitService`].
    #[project = Projected]
    #[derive(Debug)]
    #[allow(missing_docs, reason = "the variants are not for use")]
    pub enum RateLimitFuture<F> {
        Calling { #[pin] call: F },
        Rejected { rejected: Rejected },
    }
}

impl<F: Future<Output = Result<T, E>>, T, E> Future for RateLimitFuture<F> {
    type Output = Result<T, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projected::Calling { call } => call.poll(cx).map_err(Error::Inner),
            Projected::Rejected { rejected } => Poll::Ready(Err(Error::Rejected(*rejected))),
        }
    }
}
