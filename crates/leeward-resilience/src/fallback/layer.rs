//! The fallback as a tower layer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_layer::Layer;
use tower_service::Service;

use super::{Answer, Cause, FallbackPolicy};
use crate::outcome::{Class, Error};

/// Puts a [`FallbackPolicy`] around a service. Its answers are marked: see [`Answer`].
#[derive(Clone, Debug)]
pub struct FallbackLayer<C, K, M> {
    policy: FallbackPolicy,
    classify: C,
    keep: K,
    substitute: M,
}

impl<C, K, M> FallbackLayer<C, K, M> {
    /// `classify` is a `Fn(&Result<Response, E>) -> Class` for a service whose error is an [`Error<E>`]. `keep` is a
    /// `Fn(&Request) -> Kept` that keeps what a substitute needs to know, and `substitute` a
    /// `Fn(Kept, Cause) -> impl Future<Output = Result<Response, _>>`.
    #[must_use]
    pub const fn new(policy: FallbackPolicy, classify: C, keep: K, substitute: M) -> Self {
        Self { policy, classify, keep, substitute }
    }
}

impl<S, C: Clone, K: Clone, M: Clone> Layer<S> for FallbackLayer<C, K, M> {
    type Service = FallbackService<S, C, K, M>;

    fn layer(&self, inner: S) -> Self::Service {
        FallbackService { inner, layer: self.clone() }
    }
}

/// A service with a fallback.
#[derive(Clone)]
pub struct FallbackService<S, C, K, M> {
    inner: S,
    layer: FallbackLayer<C, K, M>,
}

impl<S: fmt::Debug, C, K, M> fmt::Debug for FallbackService<S, C, K, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policy = &self.layer.policy;
        f.debug_struct("FallbackService")
            .field("inner", &self.inner)
            .field("policy", policy)
            .finish_non_exhaustive()
    }
}

impl<S, C, K, M, Request, E, Kept, Fut, Other> Service<Request> for FallbackService<S, C, K, M>
where
    S: Service<Request, Error = Error<E>>,
    C: Fn(&Result<S::Response, E>) -> Class + Clone,
    K: Fn(&Request) -> Kept,
    M: Fn(Kept, Cause) -> Fut + Clone,
    Fut: Future<Output = Result<S::Response, Other>>,
{
    type Response = Answer<S::Response>;
    type Error = Error<E>;
    type Future = FallbackFuture<S::Future, C, Kept, M, Fut, Result<S::Response, Error<E>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // A service that is not ready is no answer to any request, so that nothing falls back here.
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let FallbackLayer { policy, classify, keep, substitute } = &self.layer;
        let parts =
            Parts { classify: classify.clone(), kept: keep(&request), substitute: substitute.clone() };
        let call = self.inner.call(request);
        FallbackFuture { state: State::Calling { call, parts: Some(parts) }, policy: policy.clone() }
    }
}

struct Parts<C, Kept, M> {
    classify: C,
    kept: Kept,
    substitute: M,
}

pin_project! {
    /// The call of a [`FallbackService`], and that of its substitute.
    pub struct FallbackFuture<F, C, Kept, M, Fut, R> {
        #[pin]
        state: State<F, C, Kept, M, Fut, R>,
        policy: FallbackPolicy,
    }
}

impl<F, C, Kept, M, Fut, R> fmt::Debug for FallbackFuture<F, C, Kept, M, Fut, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FallbackFuture")
    }
}

pin_project! {
    #[project = Projected]
    enum State<F, C, Kept, M, Fut, R> {
        Calling { #[pin] call: F, parts: Option<Parts<C, Kept, M>> },
        FallingBack { #[pin] substitute: Fut, #[pin] sleep: Sleep, cause: Cause, first: Option<R> },
    }
}

impl<F, C, Kept, M, Fut, T, E, Other> Future for FallbackFuture<F, C, Kept, M, Fut, Result<T, Error<E>>>
where
    F: Future<Output = Result<T, Error<E>>>,
    C: Fn(&Result<T, E>) -> Class,
    M: Fn(Kept, Cause) -> Fut,
    Fut: Future<Output = Result<T, Other>>,
{
    type Output = Result<Answer<T>, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                Projected::Calling { call, parts } => {
                    let result = ready!(call.poll(cx));
                    let Some(Parts { classify, kept, substitute }) = parts.take() else {
                        panic!("polled after its end")
                    };
                    let (result, cause) = this.policy.chosen(result, classify);
                    let Some(cause) = cause else { return Poll::Ready(result.map(Answer::Real)) };
                    let sleep = tokio::time::sleep(this.policy.within());
                    let substitute = substitute(kept, cause);
                    this.state.set(State::FallingBack { substitute, sleep, cause, first: Some(result) });
                }
                Projected::FallingBack { substitute, sleep, cause, first } => {
                    let answer = match substitute.poll(cx) {
                        Poll::Ready(answer) => answer.ok(),
                        Poll::Pending => {
                            ready!(sleep.poll(cx));
                            None
                        }
                    };
                    let Some(first) = first.take() else { panic!("polled after its end") };
                    return Poll::Ready(this.policy.decide(first, *cause, answer));
                }
            }
        }
    }
}
