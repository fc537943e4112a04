//! A shared rate limit as a tower layer.

use std::fmt;
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::{RateStore, SharedRateLimiter};
use crate::layer::{BoxFuture, take_ready};
use crate::outcome::Error;

/// Puts a [`SharedRateLimiter`] in front of a service, with a key for each request. It costs one boxed future a call.
pub struct SharedRateLayer<S, K> {
    limiter: SharedRateLimiter<S>,
    key_of: K,
}

impl<S, K> SharedRateLayer<S, K> {
    /// `key_of` is a `Fn(&Request) -> String`.
    #[must_use]
    pub const fn new(limiter: SharedRateLimiter<S>, key_of: K) -> Self {
        Self { limiter, key_of }
    }
}

impl<S, K: Clone> Clone for SharedRateLayer<S, K> {
    fn clone(&self) -> Self {
        Self { limiter: self.limiter.clone(), key_of: self.key_of.clone() }
    }
}

impl<S: fmt::Debug, K> fmt::Debug for SharedRateLayer<S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedRateLayer").field("limiter", &self.limiter).finish_non_exhaustive()
    }
}

impl<I, S, K: Clone> Layer<I> for SharedRateLayer<S, K> {
    type Service = SharedRateService<I, S, K>;

    fn layer(&self, inner: I) -> Self::Service {
        SharedRateService { inner, limiter: self.limiter.clone(), key_of: self.key_of.clone() }
    }
}

/// A service behind a [`SharedRateLimiter`].
pub struct SharedRateService<I, S, K> {
    inner: I,
    limiter: SharedRateLimiter<S>,
    key_of: K,
}

impl<I: Clone, S, K: Clone> Clone for SharedRateService<I, S, K> {
    fn clone(&self) -> Self {
        let (inner, key_of) = (self.inner.clone(), self.key_of.clone());
        Self { inner, limiter: self.limiter.clone(), key_of }
    }
}

impl<I: fmt::Debug, S: fmt::Debug, K> fmt::Debug for SharedRateService<I, S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedRateService")
            .field("inner", &self.inner)
            .field("limiter", &self.limiter)
            .finish_non_exhaustive()
    }
}

impl<I, S, K, Request> Service<Request> for SharedRateService<I, S, K>
where
    I: Service<Request> + Clone + Send + 'static,
    I::Future: Send,
    Request: Send + 'static,
    S: RateStore,
    K: Fn(&Request) -> String,
{
    type Response = I::Response;
    type Error = Error<I::Error>;
    type Future = BoxFuture<Result<I::Response, Self::Error>>;

    /// Ready when the inner service is: readiness is no promise of a call, so that it must not use up the limit.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let mut ready = take_ready(&mut self.inner);
        let (limiter, key) = (self.limiter.clone(), (self.key_of)(&request));
        Box::pin(async move {
            match limiter.check(&key).await.rejected() {
                None => ready.call(request).await.map_err(Error::Inner),
                Some(rejected) => Err(Error::Rejected(rejected)),
            }
        })
    }
}
