//! An observer that keeps all that it is told, and a future that is polled by hand.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use leeward_resilience::{Event, Observer};

#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<Vec<Event>>);

impl Seen {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// What was told since it was last asked.
    pub(crate) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// The names of that.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.take().iter().map(|event| event.name().trim_start_matches("leeward.")).collect()
    }

    pub(crate) fn observer(self: &Arc<Self>) -> Option<Arc<dyn Observer>> {
        Some(Arc::<Self>::clone(self))
    }
}

impl Observer for Seen {
    fn observe(&self, name: &str, event: &Event) {
        assert_eq!(name, "upstream");
        self.0.lock().unwrap().push(*event);
    }
}

/// A future that is polled by hand.
pub(crate) struct Polled<F>(Pin<Box<F>>);

impl<F: Future> Polled<F> {
    pub(crate) fn new(future: F) -> Self {
        Self(Box::pin(future))
    }

    pub(crate) fn poll(&mut self) -> Option<F::Output> {
        match self.0.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }
}
