//! The concurrency limit as a tower layer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{ConcurrencyLimit, Permit};
use crate::layer::{BoxFuture, take_ready};
use crate::outcome::{Error, Rejected};

/// Puts a [`ConcurrencyLimit`] in front of a service. Every service that the layer makes shares its permits.
#[derive(Clone, Debug)]
pub struct ConcurrencyLayer {
    limit: ConcurrencyLimit,
}

impl ConcurrencyLayer {
    /// A layer over `limit`.
    #[must_use]
    pub const fn new(limit: ConcurrencyLimit) -> Self {
        Self { limit }
    }
}

impl<S> Layer<S> for ConcurrencyLayer {
    type Service = ConcurrencyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ConcurrencyService { inner, limit: self.limit.clone() }
    }
}

/// A service behind a [`ConcurrencyLimit`].
#[derive(Clone, Debug)]
pub struct ConcurrencyService<S> {
    inner: S,
    limit: ConcurrencyLimit,
}

impl<S, Request> Service<Request> for ConcurrencyService<S>
where
    S: Service<Request> + Clone,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ConcurrencyFuture<S, Request>;

    /// Ready when the inner service is. The permit is taken by the call: one taken here would be held by every clone
    /// that was polled and not called, and the queue could not reject.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match self.limit.try_acquire() {
            Some(permit) => ConcurrencyFuture::calling(self.inner.call(request), permit),
            None => {
                let limit = self.limit.clone();
                let ready = take_ready(&mut self.inner);
                let acquire = Box::pin(async move { limit.acquire().await });
                ConcurrencyFuture::waiting(acquire, ready, request)
            }
        }
    }
}

type Acquire = BoxFuture<Result<Permit, Rejected>>;

pin_project! {
    /// The call of a [`ConcurrencyService`] or of a [`ShedService`](crate::shed::ShedService). Only one that has to wait allocates.
    pub struct ConcurrencyFuture<S: Service<Request>, Request> {
        #[pin]
        state: State<S, S::Future, Request>,
    }
}

impl<S: Service<Request>, Request> ConcurrencyFuture<S, Request> {
    pub(crate) const fn calling(call: S::Future, permit: Permit) -> Self {
        Self { state: State::Calling { call, _permit: permit } }
    }

    pub(crate) const fn waiting(acquire: Acquire, ready: S, request: Request) -> Self {
        Self { state: State::Waiting { acquire, waiting: Some((ready, request)) } }
    }

    pub(crate) const fn rejected(rejected: Rejected) -> Self {
        Self { state: State::Rejected { rejected } }
    }
}

impl<S: Service<Request>, Request> fmt::Debug for ConcurrencyFuture<S, Request> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConcurrencyFuture")
    }
}

pin_project! {
    #[project = Projected]
    enum State<S, F, Request> {
        Waiting { acquire: Acquire, waiting: Option<(S, Request)> },
        Calling { #[pin] call: F, _permit: Permit },
        Rejected { rejected: Rejected },
        Ended,
    }
}

impl<S: Service<Request>, Request> Future for ConcurrencyFuture<S, Request> {
    type Output = Result<S::Response, Error<S::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                Projected::Calling { call, .. } => {
                    let result = ready!(call.poll(cx)).map_err(Error::Inner);
                    // The permit is free from here on, not when the caller drops the future.
                    this.state.set(State::Ended);
                    return Poll::Ready(result);
                }
                Projected::Waiting { acquire, waiting } => {
                    match (ready!(acquire.as_mut().poll(cx)), waiting.take()) {
                        (Ok(permit), Some((mut ready, request))) => {
                            State::Calling { call: ready.call(request), _permit: permit }
                        }
                        (Err(rejected), _) => return Poll::Ready(Err(Error::Rejected(rejected))),
                        (Ok(_), None) => unreachable!("a call waits once"),
                    }
                }
                Projected::Rejected { rejected } => return Poll::Ready(Err(Error::Rejected(*rejected))),
                Projected::Ended => panic!("polled after its end"),
            };
            this.state.set(next);
        }
    }
}
