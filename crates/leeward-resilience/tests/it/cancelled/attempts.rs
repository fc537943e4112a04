//! What makes one call of several attempts: pipeline, retry, hedge.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use leeward_resilience::breaker::State;
use leeward_resilience::hedge::Delay;
use leeward_resilience::retry::RetryLayer;
use leeward_resilience::{
    Attempt, Breaker, Budget, Call, Clock, Concurrency, Event, FastRng, Hedge, Hedger, Observer, Pipeline,
    Retry, RetryBudget, TokioClock,
};
use tower::{Layer, ServiceExt};

use super::{Live, MS, at_every_await_point, at_once};
use crate::strict::{Strict, classify};

const FLOOR: u32 = 20;

fn budget() -> Budget {
    Budget { ratio: 0.0, floor: FLOOR, ..Budget::default() }
}

#[derive(Debug, Default)]
struct Seen(Mutex<Vec<Event>>);

impl Observer for Seen {
    fn observe(&self, _: &str, event: &Event) {
        self.0.lock().unwrap().push(*event);
    }
}

impl Seen {
    fn retries(&self) -> u32 {
        let retries = |event: &&Event| matches!(event, Event::Retrying { .. });
        u32::try_from(self.0.lock().unwrap().iter().filter(retries).count()).unwrap()
    }
}

struct Scene {
    pipeline: Pipeline,
    budget: RetryBudget,
    seen: Arc<Seen>,
    live: Live,
}

impl Scene {
    fn new() -> Self {
        let (budget, seen) = (RetryBudget::new(&budget(), TokioClock.now()).unwrap(), Arc::<Seen>::default());
        let pipeline = Pipeline::builder("upstream")
            .deadline(Duration::from_secs(5))
            .retry(Retry::default())
            .retry_budget(budget.clone())
            .breaker(Breaker::default())
            .concurrency(Concurrency {
                limit: NonZeroU32::MIN,
                queue: 1,
                max_wait: Duration::from_secs(1),
                ..Concurrency::default()
            })
            .attempt_timeout(Duration::from_secs(1))
            .rng(Arc::new(FastRng::seeded(3)))
            .observer(seen.clone())
            .build()
            .unwrap();
        // The first attempt must wait for its permit.
        let permit = pipeline.concurrency().unwrap().try_acquire().unwrap();
        tokio::spawn(async move {
            tokio::time::sleep(MS).await;
            drop(permit);
        });
        Self { pipeline, budget, seen, live: Live::default() }
    }

    /// Open for so long that its break is just over.
    fn half_open() -> Self {
        let scene = Self::new();
        let (breaker, before) = (scene.pipeline.breaker().unwrap(), TokioClock.now());
        let long_ago = before.saturating_sub(Duration::from_secs(60));
        for _ in 0..5 {
            breaker.acquire(long_ago).unwrap().failure(long_ago);
        }
        assert_eq!(breaker.state(before), State::HalfOpen);
        scene
    }

    async fn assert_clear(&self, at: &str) {
        tokio::time::sleep(5 * MS).await;
        let limit = self.pipeline.concurrency().unwrap();
        assert_eq!((limit.in_flight(), limit.waiting(), self.live.count()), (0, 0, 0), "{at}");
        let next = self.pipeline.call(Call::ONCE, |_| self.live.call(true), classify);
        assert_eq!(at_once(next, at).await, Ok(7), "{at}");
        let left = (0..2 * FLOOR).filter(|_| self.budget.withdraw(TokioClock.now())).count();
        assert_eq!(u32::try_from(left).unwrap(), FLOOR - self.seen.retries(), "{at}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_through_the_pipeline_that_is_retried() {
    let call = async |scene: &Scene| {
        let send = |attempt: Attempt| scene.live.call(attempt.number == 2);
        assert_eq!(scene.pipeline.call(Call::REPLAYABLE, send, classify).await, Ok(7));
    };
    let check = async |scene: &Scene, at: &str| {
        assert_eq!(scene.pipeline.breaker().unwrap().state(TokioClock.now()), State::Closed, "{at}");
        scene.assert_clear(at).await;
    };
    // The queue, three attempts of two, and two waits between them.
    assert_eq!(at_every_await_point(Scene::new, call, check).await, 9);
}

#[tokio::test(start_paused = true)]
async fn a_call_through_the_pipeline_that_is_the_probe() {
    let call = async |scene: &Scene| {
        let send = |_| scene.live.call(true);
        assert_eq!(scene.pipeline.call(Call::REPLAYABLE, send, classify).await, Ok(7));
    };
    let check = async |scene: &Scene, at: &str| {
        assert_eq!(scene.pipeline.breaker().unwrap().state(TokioClock.now()), State::HalfOpen, "{at}");
        scene.assert_clear(at).await;
    };
    assert_eq!(at_every_await_point(Scene::half_open, call, check).await, 3);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_held_is_dropped_with_its_permits() {
    let call = async |scene: &Scene| {
        let send = |_| scene.live.call(true);
        let held = scene.pipeline.call_held(Call::ONCE, send, classify).await.unwrap();
        let (answer, guard) = held.into_parts();
        // The body.
        tokio::time::sleep(MS).await;
        tokio::time::sleep(MS).await;
        drop((answer, guard));
    };
    let check = async |scene: &Scene, at: &str| scene.assert_clear(at).await;
    assert_eq!(at_every_await_point(Scene::half_open, call, check).await, 5);
}

#[tokio::test(start_paused = true)]
async fn a_retry_layer() {
    type Layered = RetryLayer<
        fn(&Result<u32, crate::strict::Failed>) -> leeward_resilience::Class,
        fn(&bool) -> Option<bool>,
    >;
    struct Scene {
        layer: Layered,
        live: Live,
        sent: Arc<AtomicU32>,
    }
    impl Scene {
        async fn call(&self, good: bool) -> bool {
            let (live, sent) = (self.live.clone(), Arc::clone(&self.sent));
            let inner = Strict::new(move |_, good| {
                sent.fetch_add(1, Ordering::SeqCst);
                let live = live.clone();
                async move { live.call(good).await }
            });
            self.layer.layer(inner).oneshot(good).await.is_ok()
        }
    }
    let scene = || {
        let retry = Retry { budget: Budget { floor: 3, ..budget() }, ..Retry::default() };
        let layer: Layered =
            RetryLayer::new(retry, classify as fn(&_) -> _, (|good| Some(*good)) as fn(&_) -> _).unwrap();
        Scene { layer, live: Live::default(), sent: Arc::default() }
    };
    let call = async |scene: &Scene| assert!(!scene.call(false).await);
    let check = async |scene: &Scene, at: &str| {
        assert_eq!(scene.live.count(), 0, "{at}");
        let retries = scene.sent.swap(0, Ordering::SeqCst).saturating_sub(1);
        assert!(at_once(scene.call(true), at).await, "{at}");
        scene.sent.store(0, Ordering::SeqCst);
        for _ in 0..5 {
            assert!(!scene.call(false).await);
        }
        // Three in all; one that was decided on and whose wait was not waited for is spent.
        let later = scene.sent.load(Ordering::SeqCst) - 5;
        assert!(later + retries == 3 || later + retries == 2, "{later} after {retries}: {at}");
    };
    assert_eq!(at_every_await_point(scene, call, check).await, 8);
}

#[tokio::test(start_paused = true)]
async fn a_call_with_hedges() {
    let scene = || {
        let budget = RetryBudget::new(&budget(), TokioClock.now()).unwrap();
        let config = Hedge { delay: Delay::Fixed(10 * MS), max_hedges: 3, ..Hedge::default() };
        let hedger = Hedger::sharing(config, budget.clone(), Arc::new(TokioClock)).unwrap();
        (hedger, budget, Live::default())
    };
    let call = async |(hedger, _, live): &(Hedger, RetryBudget, Live)| {
        let send = |number: u32| async move {
            let _on_its_way = live.enter();
            for _ in 0..8 {
                tokio::time::sleep(7 * MS).await;
                tokio::task::yield_now().await;
            }
            if number == 2 { Ok(()) } else { Err(()) }
        };
        hedger.call(Call::REPLAYABLE, send, classify).await.unwrap();
    };
    let check = async |(hedger, budget, live): &(Hedger, RetryBudget, Live), at: &str| {
        assert_eq!(live.count(), 0, "{at}");
        let left = (0..2 * FLOOR).filter(|_| budget.withdraw(TokioClock.now())).count();
        let spent = u64::from(FLOOR - u32::try_from(left).unwrap());
        assert_eq!(spent, hedger.counts().sent, "{at}");
    };
    assert!(at_every_await_point(scene, call, check).await > 40);
}
