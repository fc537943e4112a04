//! A request that may be sent more than once: a policy makes one call of several attempts.

use std::fmt;
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::{BoxFuture, take_ready};

/// A policy that may send a copy of a request after or beside the first one.
pub trait Replay<S: Service<Request>, Request, C, R>: Clone {
    /// How its calls fail.
    type Error;

    /// What it makes of an inner service that is broken.
    fn broken(error: S::Error) -> Self::Error;

    /// Makes a call. `ready` was polled ready for its first attempt.
    fn run(
        layer: ReplayLayer<Self, C, R>,
        ready: S,
        request: Request,
    ) -> BoxFuture<Result<S::Response, Self::Error>>;
}

/// Puts a policy that sends copies of requests around a service. Every service that the layer makes shares its state.
#[derive(Clone)]
pub struct ReplayLayer<P, C, R> {
    pub(crate) policy: P,
    pub(crate) classify: C,
    pub(crate) replay: R,
}

impl<P: fmt::Debug, C, R> fmt::Debug for ReplayLayer<P, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayLayer").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl<S, P: Clone, C: Clone, R: Clone> Layer<S> for ReplayLayer<P, C, R> {
    type Service = ReplayService<S, P, C, R>;

    fn layer(&self, inner: S) -> Self::Service {
        ReplayService { inner, layer: self.clone() }
    }
}

/// A service inside a policy that sends copies of requests. It costs one boxed future a call.
#[derive(Clone, Debug)]
pub struct ReplayService<S, P, C, R> {
    inner: S,
    layer: ReplayLayer<P, C, R>,
}

impl<S, P, C, R, Request> Service<Request> for ReplayService<S, P, C, R>
where
    S: Service<Request> + Clone,
    P: Replay<S, Request, C, R>,
    C: Clone,
    R: Clone,
{
    type Response = S::Response;
    type Error = P::Error;
    type Future = BoxFuture<Result<S::Response, P::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(P::broken)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        P::run(self.layer.clone(), take_ready(&mut self.inner), request)
    }
}
