//! Every policy that waits, dropped at every point at which it does.

mod answers;
mod attempts;
mod permits;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::sync::Notify;

const MS: Duration = Duration::from_millis(1);

/// Await points of one call, at most: a future that never ends is a mistake of the test.
const POINTS_MAX: usize = 100;

/// When, at an await point, a future is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// As soon as it waits.
    Waiting,
    /// When what it waits for has happened and it does not know yet.
    Woken,
}

struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// Polls a future so many times at most, each time when it asked for it, and drops it; whether it ended before.
async fn dropped_after<F: Future>(polls: usize, when: When, future: F) -> bool {
    let mut future = pin!(future);
    let woken = Arc::new(Woken(Notify::new()));
    let waker = Waker::from(Arc::clone(&woken));
    for polled in 1..=polls {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            drop(output);
            return true;
        }
        if polled < polls || when == When::Woken {
            woken.0.notified().await;
        }
    }
    false
}

/// Makes a scene and drops its call after no poll at all, after one, after two, until it comes to its end; each time
/// `check` looks at what is left. Says at how many points the call waited.
async fn at_every_await_point<S>(
    scene: impl Fn() -> S,
    call: impl AsyncFn(&S),
    check: impl AsyncFn(&S, &str),
) -> usize {
    let mut points = 0;
    for when in [When::Waiting, When::Woken] {
        for polls in 0..POINTS_MAX {
            let scene = scene();
            let ended = dropped_after(polls, when, call(&scene)).await;
            check(&scene, &format!("{polls} polls, {when:?}")).await;
            if ended {
                points = polls - 1;
                break;
            }
            assert!(polls + 1 < POINTS_MAX, "it never ends");
        }
    }
    points
}

/// Calls that are on their way.
#[derive(Clone, Debug, Default)]
struct Live(Arc<AtomicU32>);

struct OnItsWay(Live);

impl Live {
    fn enter(&self) -> OnItsWay {
        self.0.fetch_add(1, Ordering::SeqCst);
        OnItsWay(self.clone())
    }

    fn count(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }

    /// Waits twice, and then ends well or not.
    async fn call(&self, good: bool) -> Result<u32, crate::strict::Failed> {
        let _on_its_way = self.enter();
        tokio::time::sleep(MS).await;
        tokio::time::sleep(MS).await;
        if good { Ok(7) } else { Err(crate::strict::Failed(503)) }
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Ends when it must, and at once: nobody is to wait for what a dropped call left behind.
async fn at_once<F: Future>(future: F, at: &str) -> F::Output {
    let Ok(output) = tokio::time::timeout(3 * MS, future).await else { panic!("held up: {at}") };
    output
}

#[tokio::test(start_paused = true)]
async fn the_helper_stops_at_every_point() {
    let stopped = std::sync::Mutex::new(Vec::new());
    let call = async |reached: &AtomicU32| {
        for _ in 0..3 {
            reached.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(MS).await;
        }
        reached.fetch_add(1, Ordering::SeqCst);
    };
    let check = async |reached: &AtomicU32, _: &str| {
        stopped.lock().unwrap().push(reached.load(Ordering::SeqCst));
    };
    assert_eq!(at_every_await_point(AtomicU32::default, call, check).await, 3);
    assert_eq!(stopped.into_inner().unwrap(), [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
}
