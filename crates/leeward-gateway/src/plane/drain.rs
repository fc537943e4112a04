//! The word that no more requests are wanted, as one connection hears it.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::sync::watch;

/// Looks out for a drain for as long as a connection lives. Whoever waits stands in a queue behind a lock: to be in it once is enough,
/// however many requests there are.
pub(super) struct Drain {
    wanted: watch::Receiver<bool>,
    wait: Pin<Box<dyn Future<Output = ()>>>,
    /// Whom the queue wakes.
    waits: Option<Waker>,
}

impl Drain {
    pub(super) fn new(wanted: watch::Receiver<bool>) -> Self {
        let wait = wait(&wanted);
        Self { wanted, wait, waits: None }
    }

    /// The word itself.
    pub(super) fn wanted(&self) -> watch::Receiver<bool> {
        self.wanted.clone()
    }

    /// Ready while one is wanted.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_waiting = self.waits.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if is_waiting && self.wanted.has_changed().is_ok_and(|has_changed| !has_changed) {
            return Poll::Pending;
        }
        self.wanted.mark_unchanged();
        if self.wait.as_mut().poll(cx).is_pending() {
            self.waits = Some(cx.waker().clone());
            return Poll::Pending;
        }
        // It may be taken back.
        self.wait = wait(&self.wanted);
        self.waits = None;
        Poll::Ready(())
    }
}

fn wait(wanted: &watch::Receiver<bool>) -> Pin<Box<dyn Future<Output = ()>>> {
    let mut wanted = wanted.clone();
    Box::pin(async move {
        // A gateway that is gone wants nothing more either.
        let _gone = wanted.wait_for(|wanted| *wanted).await;
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn it_is_heard_taken_back_and_heard_again() {
        let (say, wanted) = watch::channel(false);
        let (woken, mut drain) = (Arc::new(Woken::default()), Drain::new(wanted));
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        for times in 1..4 {
            for _ in 0..3 {
                assert!(drain.poll(&mut cx).is_pending());
            }
            say.send_replace(true);
            assert_eq!(woken.0.load(Ordering::Relaxed), times);
            assert!(drain.poll(&mut cx).is_ready() && drain.poll(&mut cx).is_ready());
            say.send_replace(false);
        }
        assert!(drain.poll(&mut cx).is_pending());
        drop(say);
        assert_eq!(woken.0.load(Ordering::Relaxed), 4);
        assert!(drain.poll(&mut cx).is_ready());
    }

    #[test]
    fn who_asks_with_another_waker_is_woken_by_it() {
        let (say, wanted) = watch::channel(false);
        let (woken, mut drain) = (Arc::new(Woken::default()), Drain::new(wanted));
        assert!(drain.poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let waker = Waker::from(Arc::clone(&woken));
        assert!(drain.poll(&mut Context::from_waker(&waker)).is_pending());
        say.send_replace(true);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    }
}
