//! The breaker as a tower layer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{CircuitBreaker, Permit};
use crate::outcome::{Class, Error, Rejected};

/// Puts a [`CircuitBreaker`] in front of a service. Every service that the layer makes shares its state.
#[derive(Clone, Debug)]
pub struct BreakerLayer<C> {
    breaker: CircuitBreaker,
    classify: C,
}

impl<C> BreakerLayer<C> {
    /// `classify` is a `Fn(&Result<Response, Error>) -> Class`.
    #[must_use]
    pub const fn new(breaker: CircuitBreaker, classify: C) -> Self {
        Self { breaker, classify }
    }
}

impl<S, C: Clone> Layer<S> for BreakerLayer<C> {
    type Service = BreakerService<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        BreakerService { inner, breaker: self.breaker.clone(), classify: self.classify.clone() }
    }
}

/// A service behind a [`CircuitBreaker`].
#[derive(Clone, Debug)]
pub struct BreakerService<S, C> {
    inner: S,
    breaker: CircuitBreaker,
    classify: C,
}

impl<S, C, Request> Service<Request> for BreakerService<S, C>
where
    S: Service<Request>,
    C: Fn(&Result<S::Response, S::Error>) -> Class + Clone,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = BreakerFuture<S::Future, C>;

    /// Ready when the inner service is: a permit taken here and not used would count as a probe that never ends.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match self.breaker.acquire(self.breaker.shared.clock.now()) {
            Ok(permit) => BreakerFuture::Calling {
                call: self.inner.call(request),
                permit: Some(permit),
                breaker: self.breaker.clone(),
                classify: self.classify.clone(),
            },
            Err(rejected) => BreakerFuture::Rejected { rejected },
        }
    }
}

pin_project! {
    /// The call of a [`BreakerService`]. Dropped before its end, it was cancelled.
    #[project = Projected]
    #[derive(Debug)]
    #[allow(missing_docs, reason = "the variants are not for use")]
    pub enum BreakerFuture<F, C> {
        Calling { #[pin] call: F, permit: Option<Permit>, breaker: CircuitBreaker, classify: C },
        Rejected { rejected: Rejected },
    }
}

impl<F, C, T, E> Future for BreakerFuture<F, C>
where
    F: Future<Output = Result<T, E>>,
    C: Fn(&Result<T, E>) -> Class,
{
    type Output = Result<T, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projected::Calling { call, permit, breaker, classify } => {
                let result = ready!(call.poll(cx));
                if let Some(permit) = permit.take() {
                    permit.record(classify(&result), breaker.shared.clock.now());
                }
                Poll::Ready(result.map_err(Error::Inner))
            }
            Projected::Rejected { rejected } => Poll::Ready(Err(Error::Rejected(*rejected))),
        }
    }
}
