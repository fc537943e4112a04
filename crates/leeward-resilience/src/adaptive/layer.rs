//! The adaptive limit as a tower layer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{AdaptiveLimit, Permit};
use crate::outcome::{Class, Error, Rejected};

/// Puts an [`AdaptiveLimit`] in front of a service. Every service that the layer makes shares its state.
#[derive(Clone, Debug)]
pub struct AdaptiveLayer<C> {
    limit: AdaptiveLimit,
    classify: C,
}

impl<C> AdaptiveLayer<C> {
    /// `classify` is a `Fn(&Result<Response, Error>) -> Class`.
    #[must_use]
    pub const fn new(limit: AdaptiveLimit, classify: C) -> Self {
        Self { limit, classify }
    }
}

impl<S, C: Clone> Layer<S> for AdaptiveLayer<C> {
    type Service = AdaptiveService<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        AdaptiveService { inner, limit: self.limit.clone(), classify: self.classify.clone() }
    }
}

/// A service behind an [`AdaptiveLimit`].
#[derive(Clone, Debug)]
pub struct AdaptiveService<S, C> {
    inner: S,
    limit: AdaptiveLimit,
    classify: C,
}

impl<S, C, Request> Service<Request> for AdaptiveService<S, C>
where
    S: Service<Request>,
    C: Fn(&Result<S::Response, S::Error>) -> Class + Clone,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = AdaptiveFuture<S::Future, C>;

    /// Ready when the inner service is: a permit taken here would be held by every clone that was polled and not called.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match self.limit.acquire(self.limit.shared.clock.now()) {
            Ok(permit) => AdaptiveFuture::Calling {
                call: self.inner.call(request),
                permit: Some(permit),
                limit: self.limit.clone(),
                classify: self.classify.clone(),
            },
            Err(rejected) => AdaptiveFuture::Rejected { rejected },
        }
    }
}

pin_project! {
    /// The call of an [`AdaptiveService`]. Dropped before its end, it was cancelled.
    #[project = Projected]
    #[derive(Debug)]
    #[allow(missing_docs, reason = "the variants are not for use")]
    pub enum AdaptiveFuture<F, C> {
        Calling { #[pin] call: F, permit: Option<Permit>, limit: AdaptiveLimit, classify: C },
        Rejected { rejected: Rejected },
    }
}

impl<F, C, T, E> Future for AdaptiveFuture<F, C>
where
    F: Future<Output = Result<T, E>>,
    C: Fn(&Result<T, E>) -> Class,
{
    type Output = Result<T, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projected::Calling { call, permit, limit, classify } => {
                let result = ready!(call.poll(cx));
                if let Some(permit) = permit.take() {
                    permit.record(classify(&result), limit.shared.clock.now());
                }
                Poll::Ready(result.map_err(Error::Inner))
            }
            Projected::Rejected { rejected } => Poll::Ready(Err(Error::Rejected(*rejected))),
        }
    }
}
