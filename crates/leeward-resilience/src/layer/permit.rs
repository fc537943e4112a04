//! A permit over each call: taken when the call is made, ended by the class of its answer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::outcome::{Class, Error, Rejected};
use crate::time::{Clock, Instant};

/// The right to make one call. Dropped before its end, the call was cancelled.
pub trait Permit {
    /// Ends it by the class of the answer.
    fn end(self, class: Class, now: Instant);
}

/// What gives permits. Clones share its state.
pub trait Admit: Clone {
    /// What it gives.
    type Permit: Permit;

    /// The clock that its instants are on.
    fn clock(&self) -> &Arc<dyn Clock>;
}

/// What gives a permit for a request, or refuses it.
pub trait AdmitRequest<Request>: Admit {
    /// Asks to send `request` at `now`.
    fn admit(&self, request: &Request, now: Instant) -> Result<Self::Permit, Rejected>;
}

/// Puts a policy that gives permits in front of a service. Every service that the layer makes shares its state.
#[derive(Clone)]
pub struct PermitLayer<A, C> {
    pub(crate) admit: A,
    pub(crate) classify: C,
}

impl<A: fmt::Debug, C> fmt::Debug for PermitLayer<A, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PermitLayer").field("policy", &self.admit).finish_non_exhaustive()
    }
}

impl<S, A: Clone, C: Clone> Layer<S> for PermitLayer<A, C> {
    type Service = PermitService<S, A, C>;

    fn layer(&self, inner: S) -> Self::Service {
        PermitService { inner, layer: self.clone() }
    }
}

/// A service behind a policy that gives permits.
#[derive(Clone, Debug)]
pub struct PermitService<S, A, C> {
    inner: S,
    layer: PermitLayer<A, C>,
}

impl<S, A, C, Request> Service<Request> for PermitService<S, A, C>
where
    S: Service<Request>,
    A: AdmitRequest<Request>,
    C: Fn(&Result<S::Response, S::Error>) -> Class + Clone,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = PermitFuture<S::Future, A::Permit, C>;

    /// Ready when the inner service is: a permit taken here would be held by every clone that was polled and not called,
    /// and one of a half-open breaker would be a probe that never ends.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let PermitLayer { admit, classify } = &self.layer;
        let clock = admit.clock();
        let state = match admit.admit(&request, clock.now()) {
            Ok(permit) => State::Calling {
                call: self.inner.call(request),
                permit: Some(permit),
                clock: Arc::clone(clock),
                classify: classify.clone(),
            },
            Err(rejected) => State::Rejected { rejected },
        };
        PermitFuture { state }
    }
}

pin_project! {
    /// The call of a service behind a policy that gives permits. Dropped before its end, it was cancelled.
    pub struct PermitFuture<F, P, C> {
        #[pin]
        state: State<F, P, C>,
    }
}

impl<F, P, C> fmt::Debug for PermitFuture<F, P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PermitFuture")
    }
}

pin_project! {
    #[project = Projected]
    enum State<F, P, C> {
        Calling { #[pin] call: F, permit: Option<P>, clock: Arc<dyn Clock>, classify: C },
        Rejected { rejected: Rejected },
    }
}

impl<F, P, C, T, E> Future for PermitFuture<F, P, C>
where
    F: Future<Output = Result<T, E>>,
    P: Permit,
    C: Fn(&Result<T, E>) -> Class,
{
    type Output = Result<T, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projected::Calling { call, permit, clock, classify } => {
                let result = ready!(call.poll(cx));
                // From here on the permit is free, not when the caller drops the future.
                if let Some(permit) = permit.take() {
                    permit.end(classify(&result), clock.now());
                }
                Poll::Ready(result.map_err(Error::Inner))
            }
            Projected::Rejected { rejected } => Poll::Ready(Err(Error::Rejected(*rejected))),
        }
    }
}
