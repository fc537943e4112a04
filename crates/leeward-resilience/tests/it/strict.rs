//! What the tests of the layers put innermost.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use leeward_resilience::Class;
use tower::Service;

/// A service that insists on the contract: each call needs a `poll_ready` of the same clone before it. `answer` gets the
/// number of the call, from 0, and the request.
#[derive(Debug)]
pub(crate) struct Strict<F> {
    ready: bool,
    calls: Arc<AtomicU32>,
    answer: F,
}

impl<F> Strict<F> {
    pub(crate) fn new(answer: F) -> Self {
        Self { ready: false, calls: Arc::default(), answer }
    }

    /// Calls of all the clones.
    pub(crate) fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }
}

impl<F: Clone> Clone for Strict<F> {
    fn clone(&self) -> Self {
        Self { ready: false, calls: Arc::clone(&self.calls), answer: self.answer.clone() }
    }
}

impl<F, Fut, Request, T, E> Service<Request> for Strict<F>
where
    F: Fn(u32, Request) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    type Response = T;
    type Error = E;
    type Future = Fut;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Fut {
        assert!(std::mem::take(&mut self.ready), "called without being ready");
        (self.answer)(self.calls.fetch_add(1, Ordering::SeqCst), request)
    }
}

/// An upstream's failure, with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed: {0}")]
pub(crate) struct Failed(pub(crate) u32);

/// Every error is a failure that a retry can help against: rejections too, for a policy must know these by itself.
pub(crate) fn classify<T, E>(result: &Result<T, E>) -> Class {
    if result.is_ok() { Class::Success } else { Class::RETRYABLE }
}
