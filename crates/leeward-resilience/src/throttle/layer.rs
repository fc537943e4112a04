//! Adaptive throttling as a tower layer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{Permit, Throttler};
use crate::outcome::{Class, Error, Rejected};
use crate::priority::Priority;

/// Puts a [`Throttler`] in front of a service. Every service that the layer makes shares its window.
#[derive(Clone, Debug)]
pub struct ThrottleLayer<C, P> {
    throttler: Throttler,
    classify: C,
    priority_of: P,
}

impl<C, P> ThrottleLayer<C, P> {
    /// `classify` is a `Fn(&Result<Response, Error>) -> Class`, `priority_of` a `Fn(&Request) -> Priority`: always
    /// [`Priority::Normal`] where there are none.
    #[must_use]
    pub const fn new(throttler: Throttler, classify: C, priority_of: P) -> Self {
        Self { throttler, classify, priority_of }
    }
}

impl<S, C: Clone, P: Clone> Layer<S> for ThrottleLayer<C, P> {
    type Service = ThrottleService<S, C, P>;

    fn layer(&self, inner: S) -> Self::Service {
        ThrottleService { inner, layer: self.clone() }
    }
}

/// A service behind a [`Throttler`].
#[derive(Clone, Debug)]
pub struct ThrottleService<S, C, P> {
    inner: S,
    layer: ThrottleLayer<C, P>,
}

impl<S, C, P, Request> Service<Request> for ThrottleService<S, C, P>
where
    S: Service<Request>,
    C: Fn(&Result<S::Response, S::Error>) -> Class + Clone,
    P: Fn(&Request) -> Priority,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ThrottleFuture<S::Future, C>;

    /// Ready when the inner service is: readiness is no promise of a call, so that it must not count as one.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let ThrottleLayer { throttler, classify, priority_of } = &self.layer;
        match throttler.acquire(priority_of(&request), throttler.shared.clock.now()) {
            Ok(permit) => ThrottleFuture::Calling {
                call: self.inner.call(request),
                permit: Some(permit),
                throttler: throttler.clone(),
                classify: classify.clone(),
            },
            Err(rejected) => ThrottleFuture::Rejected { rejected },
        }
    }
}

pin_project! {
    /// The call of a [`ThrottleService`]. Dropped before its end, it was cancelled.
    #[project = Projected]
    #[derive(Debug)]
    #[allow(missing_docs, reason = "the variants are not for use")]
    pub enum ThrottleFuture<F, C> {
        Calling { #[pin] call: F, permit: Option<Permit>, throttler: Throttler, classify: C },
        Rejected { rejected: Rejected },
    }
}

impl<F, C, T, E> Future for ThrottleFuture<F, C>
where
    F: Future<Output = Result<T, E>>,
    C: Fn(&Result<T, E>) -> Class,
{
    type Output = Result<T, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projected::Calling { call, permit, throttler, classify } => {
                let result = ready!(call.poll(cx));
                if let Some(permit) = permit.take() {
                    permit.record(classify(&result), throttler.shared.clock.now());
                }
                Poll::Ready(result.map_err(Error::Inner))
            }
            Projected::Rejected { rejected } => Poll::Ready(Err(Error::Rejected(*rejected))),
        }
    }
}
