//! Retries multiply nothing.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use leeward_resilience::breaker::BreakerLayer;
use leeward_resilience::rate::RateLimitLayer;
use leeward_resilience::retry::RetryLayer;
use leeward_resilience::{
    Attempt, Breaker, Budget, Call, CircuitBreaker, Clock, Error, FastRng, Pipeline, RateLimit, RateLimiter,
    Rejected, Retry, RetryBudget, TokioClock,
};
use tower::{Layer, ServiceExt};

use crate::strict::{Failed, Strict, classify};

/// Always ready to retry, without a budget in the way.
fn eager() -> Retry {
    let budget = Budget { ratio: 1.0, floor: 10_000, ..Budget::default() };
    Retry { budget, ..Retry::default() }
}

fn pipeline(retry: Retry) -> Pipeline {
    Pipeline::builder("down").retry(retry).rng(Arc::new(FastRng::seeded(1))).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn defect_07_an_outage_adds_a_fifth_and_not_a_multiple() {
    let (sent, pipeline) = (AtomicU32::new(0), pipeline(Retry::default()));
    let send = |_| {
        sent.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Err::<(), _>(Failed(503)))
    };
    for _ in 0..1_000 {
        pipeline.call(Call::REPLAYABLE, send, classify).await.unwrap_err();
    }
    assert!((1_100..=1_200).contains(&sent.into_inner()));
}

#[tokio::test(start_paused = true)]
async fn defect_07_nested_layers_do_not_multiply() {
    let (outer, inner, sent) = (pipeline(eager()), pipeline(eager()), AtomicU32::new(0));
    let (inner, sent) = (&inner, &sent);
    let hop = async |attempt: Attempt| {
        // What the next hop reads from the attempt header.
        let call = Call::REPLAYABLE.effort(attempt.effort);
        let send = |_| {
            sent.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Err::<(), _>(Failed(503)))
        };
        inner.call(call, send, classify).await
    };
    outer.call(Call::REPLAYABLE, hop, classify).await.unwrap_err();
    // The first attempt of the outer one is retried twice further in, and its own two retries are not: 5 and not 9.
    assert_eq!(sent.load(Ordering::SeqCst), 5);
}

#[tokio::test(start_paused = true)]
async fn defect_07_a_rejection_is_never_retried_at_any_depth_whatever_the_classification_says() {
    let rate = RateLimiter::new(&RateLimit::per_second(NonZeroU32::MIN)).unwrap();
    let breaker = CircuitBreaker::new("upstream", Breaker::default()).unwrap();
    let asked = Strict::new(|_, ()| std::future::ready(Ok::<_, Failed>(())));
    // The limit is two errors deep under the retry, and `classify` takes every error for a failure that passes.
    let service = RateLimitLayer::new(rate).layer(asked.clone());
    let breaking = BreakerLayer::new(breaker.clone(), classify).layer(service);
    let seen = Strict::new(move |_, ()| breaking.clone().oneshot(()));
    let service = RetryLayer::new(eager(), classify, |(): &()| Some(())).unwrap().layer(seen.clone());
    service.clone().oneshot(()).await.unwrap();
    let error = service.clone().oneshot(()).await.unwrap_err();
    assert!(matches!(error, Error::Inner(Error::Inner(Error::Rejected(_)))) && Rejected::caused(&error));
    assert_eq!((seen.calls(), asked.calls()), (2, 1), "rejected once, not asked again");
    // One error deep: the breaker itself.
    breaker.force_open();
    let error = service.oneshot(()).await.unwrap_err();
    assert!(matches!(error, Error::Inner(Error::Rejected(_))));
    assert_eq!((seen.calls(), asked.calls()), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn defect_07_rejections_burn_no_budget() {
    let now = TokioClock.now();
    let floor = Budget { ratio: 0.0, floor: 10, ..Budget::default() };
    let budget = RetryBudget::new(&floor, now).unwrap();
    let pipeline = Pipeline::builder("down")
        .retry(Retry::default())
        .retry_budget(budget.clone())
        .breaker(Breaker::default())
        .build()
        .unwrap();
    pipeline.breaker().unwrap().force_open();
    for _ in 0..100 {
        let send = async |_| Ok::<_, Failed>(());
        assert!(pipeline.call(Call::REPLAYABLE, send, classify).await.is_err_and(|error| error.not_sent()));
    }
    assert_eq!((0..20).filter(|_| budget.withdraw(now)).count(), 10);
}

#[test]
fn defect_07_a_budget_neither_truncates_nor_counts_a_call_twice() {
    let now = TokioClock.now();
    for (calls, expected) in [(4, 0), (5, 1), (9, 1), (10, 2), (1_000, 200)] {
        let budget = RetryBudget::new(&Budget { floor: 0, ..Budget::default() }, now).unwrap();
        for _ in 0..calls {
            budget.deposit(now);
        }
        assert_eq!((0..calls).filter(|_| budget.withdraw(now)).count(), expected, "of {calls}");
    }
}
