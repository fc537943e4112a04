//! Priority shedding as a tower layer.

use std::fmt;
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::Shedder;
use crate::concurrency::ConcurrencyFuture;
use crate::layer::take_ready;
use crate::outcome::Error;
use crate::priority::Priority;

/// Puts a [`Shedder`] in front of a service. Every service that the layer makes shares its permits, queue and level.
#[derive(Clone)]
pub struct ShedLayer<P> {
    shedder: Shedder,
    priority_of: P,
}

impl<P> ShedLayer<P> {
    /// `priority_of` is a `Fn(&Request) -> Priority`.
    #[must_use]
    pub const fn new(shedder: Shedder, priority_of: P) -> Self {
        Self { shedder, priority_of }
    }
}

impl<P> fmt::Debug for ShedLayer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShedLayer").field("shedder", &self.shedder).finish_non_exhaustive()
    }
}

impl<S, P: Clone> Layer<S> for ShedLayer<P> {
    type Service = ShedService<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        ShedService { inner, layer: self.clone() }
    }
}

/// A service behind a [`Shedder`].
#[derive(Clone, Debug)]
pub struct ShedService<S, P> {
    inner: S,
    layer: ShedLayer<P>,
}

impl<S, P, Request> Service<Request> for ShedService<S, P>
where
    S: Service<Request> + Clone,
    P: Fn(&Request) -> Priority,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ConcurrencyFuture<S, Request>;

    /// Ready when the inner service is. The call decides: readiness has no priority.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let shedder = &self.layer.shedder;
        match shedder.try_acquire((self.layer.priority_of)(&request)) {
            Ok(Some(permit)) => ConcurrencyFuture::calling(self.inner.call(request), permit),
            Ok(None) => {
                let shedder = shedder.clone();
                let ready = take_ready(&mut self.inner);
                // The limit's own `max_wait` is what bounds it.
                let acquire = Box::pin(async move { shedder.wait(std::time::Duration::MAX).await });
                ConcurrencyFuture::waiting(acquire, ready, request)
            }
            Err(rejected) => ConcurrencyFuture::rejected(rejected),
        }
    }
}
