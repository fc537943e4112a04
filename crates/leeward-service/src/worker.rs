//! Background work that is kept running: consumers, the saga engine, the relay.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use leeward_events::Backoff;
use leeward_resilience::Rng;
use leeward_runtime::{Stop, unpanicked};

use crate::health::{Health, Workers};

/// How long to wait before a worker is made again. Half a minute at most: what made it end has to be mended by somebody, and
/// a worker that comes back later than that is missed by people.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(30) };
/// A worker that has run for this long after an end counts as running again: two runs of its check, so that one which ends
/// again and again is never seen in good health in between.
const STEADY: Duration = Duration::from_secs(10);

/// The end of a worker that has no reason.
const RETURNED: &str = "it returned";

/// How one run of a worker came to its end, before it was asked to.
#[derive(Debug)]
pub(crate) enum End {
    /// A new run may do better.
    Early(String),
    /// Another run would end the same, or take the work away from who has it now.
    Final(String),
}

impl End {
    /// It returned without a reason.
    pub(crate) fn early() -> Self {
        Self::Early(RETURNED.to_owned())
    }
}

type Run = Pin<Box<dyn Future<Output = End> + Send>>;
type Make = Box<dyn FnMut(Stop) -> Option<Run> + Send>;

/// Work that runs until it is told to stop, and what makes it again when it ends before.
pub(crate) struct Worker {
    name: Cow<'static, str>,
    make: Make,
}

/// What a worker's end is told to.
pub(crate) struct Keeper {
    pub(crate) workers: Workers,
    pub(crate) health: Health,
    pub(crate) rng: Arc<dyn Rng>,
}

impl Worker {
    /// `make` gives one run, or none when there can be no other.
    pub(crate) fn new<Fut>(
        name: impl Into<Cow<'static, str>>,
        mut make: impl FnMut(Stop) -> Option<Fut> + Send + 'static,
    ) -> Self
    where
        Fut: Future<Output = End> + Send + 'static,
    {
        Self { name: name.into(), make: Box::new(move |stop| make(stop).map(|run| Box::pin(run) as Run)) }
    }

    /// Work that there is one run of, and that requests can be served without: its end shows in the check alone.
    pub(crate) fn once<Fut>(name: Cow<'static, str>, work: impl FnOnce(Stop) -> Fut + Send + 'static) -> Self
    where
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (mut work, own) = (Some(work), name.clone());
        Self::new(name, move |stop| {
            let (work, own) = (work.take()?, own.clone());
            Some(async move {
                match unpanicked(async move { work(stop).await }).await {
                    Ok(()) => End::Final(RETURNED.to_owned()),
                    Err(panic) => End::Final(panicked(&own, &panic)),
                }
            })
        })
    }

    pub(crate) fn name(&self) -> &Cow<'static, str> {
        &self.name
    }

    /// Runs it until `stop`. An end before that, a panic among them, turns the check red, and the worker is made again after
    /// a delay. One that cannot be made again takes readiness with it, since only a new process has it back.
    pub(crate) async fn keep(mut self, keeper: Keeper, stop: Stop) {
        let Keeper { workers, health, rng } = keeper;
        let mut ends = 0_u32;
        let Some(mut run) = (self.make)(stop.clone()) else { return };
        loop {
            let end = one(&self.name, run, &workers, &mut ends).await;
            if stop.is_requested() {
                return;
            }
            let name = &*self.name;
            let (End::Early(reason) | End::Final(reason)) = &end;
            tracing::error!(worker = name, reason, "ended before it was asked to");
            workers.ended(name, reason.clone());
            if matches!(end, End::Final(_)) {
                return;
            }
            ends = ends.saturating_add(1);
            if stop.or(tokio::time::sleep(BACKOFF.delay(ends, &*rng))).await.is_none() {
                return;
            }
            let Some(again) = (self.make)(stop.clone()) else {
                tracing::error!(worker = name, "cannot be made again: the process has to be restarted");
                health.close("background work has ended, and cannot be made again");
                return;
            };
            tracing::warn!(worker = name, ends, "runs again");
            run = again;
        }
    }
}

/// One run to its end.
async fn one(name: &str, run: Run, workers: &Workers, ends: &mut u32) -> End {
    let mut run = std::pin::pin!(unpanicked(run));
    let end = tokio::select! {
        biased;
        end = run.as_mut() => end,
        () = tokio::time::sleep(STEADY) => {
            *ends = 0;
            workers.runs(name);
            run.await
        }
    };
    end.unwrap_or_else(|panic| End::Early(panicked(name, &panic)))
}

/// Logged here and not with the end: a panic on the way to a stop is a defect as well.
fn panicked(name: &str, panic: &str) -> String {
    tracing::error!(worker = name, panic, "worker panicked");
    format!("panicked: {panic}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::sync::atomic::{AtomicU32, Ordering};

    use leeward_resilience::{FastRng, TokioClock};
    use tokio::time::Instant;

    use super::*;
    use crate::health::State;

    struct Kept {
        workers: Workers,
        health: Health,
        stopper: leeward_runtime::Stopper,
        keeping: tokio::task::JoinHandle<()>,
    }

    /// Keeps a worker of which `make` says, by its number, how each run goes.
    #[expect(clippy::disallowed_methods, reason = "the test owns the task")]
    fn kept<Fut>(mut make: impl FnMut(u32, Stop) -> Option<Fut> + Send + 'static) -> Kept
    where
        Fut: Future<Output = End> + Send + 'static,
    {
        let (stopper, stop) = Stop::manual();
        let (workers, health) = (Workers::default(), Health::new("orders", Arc::new(TokioClock)));
        let mut number = 0;
        let worker = Worker::new("sagas", move |stop| {
            number += 1;
            make(number, stop)
        });
        let rng = Arc::new(FastRng::seeded(7));
        let keeper = Keeper { workers: workers.clone(), health: health.clone(), rng };
        Kept { workers, health, stopper, keeping: tokio::spawn(worker.keep(keeper, stop)) }
    }

    impl Kept {
        async fn check(&self) -> (State, String) {
            let reading = self.workers.check().run().await;
            (reading.state, reading.value.into_owned())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_panics_turns_the_check_red_and_comes_back() {
        let (handed, mut runs) = tokio::sync::mpsc::channel(8);
        let kept = kept(move |number, stop| {
            let handed = handed.clone();
            Some(async move {
                handed.send(number).await.unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
                assert!(number > 2, "run {number}");
                stop.requested().await;
                End::Early(String::new())
            })
        });
        assert_eq!(runs.recv().await, Some(1));
        assert_eq!(kept.check().await.0, State::Up);
        assert_eq!(runs.recv().await, Some(2));
        assert_eq!(kept.check().await, (State::Down, "sagas: panicked: run 1".to_owned()));
        assert_eq!(runs.recv().await, Some(3));
        assert_eq!(kept.check().await, (State::Down, "sagas: panicked: run 2".to_owned()));
        tokio::time::sleep(STEADY - Duration::from_millis(1)).await;
        assert_eq!(kept.check().await.0, State::Down, "it has yet to show that it stays");
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert_eq!(kept.check().await.0, State::Up);
        assert!(kept.health.is_ready());
        kept.stopper.request();
        kept.keeping.await.unwrap();
        assert_eq!(runs.recv().await, None, "who was asked to stop is not made again");
        assert_eq!(kept.workers.check().run().await.state, State::Up);
    }

    #[tokio::test(start_paused = true)]
    async fn the_delay_grows_to_its_bound() {
        let (handed, mut runs) = tokio::sync::mpsc::channel(8);
        let kept = kept(move |_, _| {
            let handed = handed.clone();
            Some(async move {
                handed.send(Instant::now()).await.unwrap();
                End::Early("it returned".to_owned())
            })
        });
        let mut before = runs.recv().await.unwrap();
        for end in 0..20 {
            let now = runs.recv().await.unwrap();
            let most = BACKOFF.first.saturating_mul(1 << end).min(BACKOFF.longest);
            // The timer's grain is a millisecond.
            let waited = now - before;
            assert!(waited >= most / 2 && waited <= most + Duration::from_millis(2), "{end}: {waited:?}");
            before = now;
        }
        kept.stopper.request();
        kept.keeping.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_cannot_be_made_again_takes_readiness_along() {
        let kept = kept(|number, _| (number == 1).then_some(async { End::Early("it returned".to_owned()) }));
        kept.keeping.await.unwrap();
        let reading = kept.workers.check().run().await;
        assert_eq!((reading.state, &*reading.value), (State::Down, "sagas: it returned"));
        assert!(!kept.health.is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn a_final_end_is_final_and_requests_are_still_served() {
        let runs = Arc::<AtomicU32>::default();
        let counted = Arc::clone(&runs);
        let kept = kept(move |_, _| {
            counted.fetch_add(1, Ordering::SeqCst);
            Some(async { End::Final("another has the group".to_owned()) })
        });
        kept.keeping.await.unwrap();
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        let reading = kept.workers.check().run().await;
        assert_eq!((reading.state, &*reading.value), (State::Down, "sagas: another has the group"));
        assert!(kept.health.is_ready());
    }
}
