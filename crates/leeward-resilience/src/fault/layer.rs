//! Fault injection as a tower layer.

use std::fmt;
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::{Fault, FaultInjector};
use crate::layer::{BoxFuture, take_ready};

/// Puts a [`FaultInjector`] in front of a service. Every service that the layer makes shares the experiment. It costs one
/// boxed future a call.
#[derive(Clone, Debug)]
pub struct FaultLayer<F> {
    injector: FaultInjector,
    seen_as: F,
}

impl<F> FaultLayer<F> {
    /// `seen_as` is a `Fn(Fault) -> Result<Response, Error>`: what the caller sees of a fault.
    #[must_use]
    pub const fn new(injector: FaultInjector, seen_as: F) -> Self {
        Self { injector, seen_as }
    }
}

impl<S, F: Clone> Layer<S> for FaultLayer<F> {
    type Service = FaultService<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        FaultService { inner, layer: self.clone() }
    }
}

/// A service with faults.
#[derive(Clone)]
pub struct FaultService<S, F> {
    inner: S,
    layer: FaultLayer<F>,
}

impl<S: fmt::Debug, F> fmt::Debug for FaultService<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultService")
            .field("inner", &self.inner)
            .field("injector", &self.layer.injector)
            .finish_non_exhaustive()
    }
}

impl<S, F, Request> Service<Request> for FaultService<S, F>
where
    S: Service<Request> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Send,
    S::Error: Send,
    F: Fn(Fault) -> Result<S::Response, S::Error> + Clone + Send + 'static,
    Request: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let mut ready = take_ready(&mut self.inner);
        let FaultLayer { injector, seen_as } = self.layer.clone();
        Box::pin(async move { injector.call(|| ready.call(request), seen_as).await })
    }
}
