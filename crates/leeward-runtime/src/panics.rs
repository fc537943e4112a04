//! Panics as values, for those who go on after one: they catch it, say so in the log and count it.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;

/// Drives a future; a panic inside becomes its message.
///
/// What the future owns is dropped before this returns, so that it can be made anew from its parts. Whatever it shares with
/// others must be valid at every await and every call that may panic; locks that are poisoned by a panic say so themselves.
///
/// # Errors
/// The panic's message.
///
/// # Cancel safety
/// That of the future.
pub async fn unpanicked<Fut: Future>(body: Fut) -> Result<Fut::Output, String> {
    let mut body = pin!(body);
    // Unwind safety: after a panic the body is only dropped, never polled again.
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| body.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => std::task::Poll::Ready(Err(message(panic.as_ref()))),
    })
    .await
}

fn message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}
