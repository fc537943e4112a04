//! A permit over each call: taken when the call is made, ended by the class of its answer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::outcome::{Class, Error, Rejected};

/// The right to make one call. Dropped before its end, the call was cancelled.
pub trait Ends {
    /// Ends it by the class of the answer, by the policy's own clock.
    fn end(self, class: Class);
}

/// What gives a permit for a request, or refuses it.
pub trait Admit<Request> {
    /// What it gives.
    type Permit: Ends;

    /// Asks to send `request`, by the policy's own clock.
    fn admit(&self, request: &Request) -> Result<Self::Permit, Rejected>;
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
    A: Admit<Request>,
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
        let state = match admit.admit(&request) {
            Ok(permit) => State::Calling {
                call: self.inner.call(request),
                permit: Some(permit),
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
        Calling { #[pin] call: F, permit: Option<P>, classify: C },
        Rejected { rejected: Rejected },
    }
}

impl<F, P, C, T, E> Future for PermitFuture<F, P, C>
where
    F: Future<Output = Result<T, E>>,
    P: Ends,
    C: Fn(&Result<T, E>) -> Class,
{
    type Output = Result<T, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projected::Calling { call, permit, classify } => {
                let result = ready!(call.poll(cx));
                // From here on the permit is free, not when the caller drops the future.
                if let Some(permit) = permit.take() {
                    permit.end(classify(&result));
                }
                Poll::Ready(result.map_err(Error::Inner))
            }
            Projected::Rejected { rejected } => Poll::Ready(Err(Error::Rejected(*rejected))),
        }
    }
}
