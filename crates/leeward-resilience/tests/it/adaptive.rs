//! Adaptive concurrency and adaptive throttling as layers.

use std::convert::Infallible;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use leeward_resilience::adaptive::AdaptiveLayer;
use leeward_resilience::retry::RetryLayer;
use leeward_resilience::throttle::ThrottleLayer;
use leeward_resilience::{
    Adaptive, AdaptiveLimit, Class, Clock, Error, Event, FastRng, ManualClock, Observer, Priority, Reason,
    Retry, Throttle, Throttler, TokioClock,
};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::strict::{Failed, classify};

const MS: Duration = Duration::from_millis(1);

#[derive(Debug, Default)]
struct Seen(Mutex<Vec<Event>>);

impl Observer for Seen {
    fn observe(&self, name: &str, event: &Event) {
        assert_eq!(name, "hung");
        self.0.lock().unwrap().push(*event);
    }
}

#[tokio::test(start_paused = true)]
async fn defect_9_an_adaptive_limit_is_one_for_all_clones_and_a_dropped_call_gives_its_permit_back() {
    let seen = Arc::<Seen>::default();
    let config = Adaptive { abandoned_after: 100 * MS, ..Adaptive::default() };
    let limit = AdaptiveLimit::with("hung", config, Arc::new(TokioClock), Some(seen.clone())).unwrap();
    let layer = AdaptiveLayer::new(limit.clone(), classify);
    let mut calls = Vec::new();
    for number in 0..30 {
        let hung = service_fn(async |()| std::future::pending::<Result<(), Infallible>>().await);
        let mut service = layer.clone().layer(hung);
        // Readiness takes no permit.
        for _ in 0..5 {
            assert!(service.clone().poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
        }
        let mut call = Box::pin(service.ready().await.unwrap().call(()));
        match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => assert!(number < 20),
            Poll::Ready(Err(Error::Rejected(rejected))) => {
                assert!(
                    number >= 20 && rejected.reason == Reason::AdaptiveLimit { limit: 20, in_flight: 20 }
                );
            }
            other => panic!("{other:?}"),
        }
        calls.push(call);
    }
    calls.truncate(10);
    assert_eq!((limit.in_flight(), limit.limit()), (10, 20), "given up early, they say nothing");
    tokio::time::advance(100 * MS).await;
    drop(calls);
    assert_eq!((limit.in_flight(), limit.limit()), (0, 18), "ten calls of one overload");
    let told = seen.0.lock().unwrap();
    let (last, rejections) = told.split_last().unwrap();
    assert!(rejections.len() == 10 && rejections.iter().all(|event| matches!(event, Event::Rejected(_))));
    assert_eq!(*last, Event::AdaptiveLimitChanged { from: 20, to: 18 });
}

#[tokio::test(start_paused = true)]
async fn a_throttled_call_is_not_sent_and_not_retried() {
    let throttler = Throttler::with(
        "upstream",
        Throttle { rejection_max: 1.0, ..Throttle::default() },
        Arc::new(TokioClock),
        Arc::new(FastRng::seeded(1)),
        None,
    )
    .unwrap();
    let sent = Arc::new(AtomicU32::new(0));
    let dead = service_fn({
        let sent = Arc::clone(&sent);
        move |(): ()| {
            sent.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Err::<(), _>(Failed(503)))
        }
    });
    // A caller of the throttled service, and one of its clone: the window is theirs together.
    let throttled = ThrottleLayer::new(throttler.clone(), classify, |(): &()| Priority::Normal).layer(dead);
    let asked = Arc::new(AtomicU32::new(0));
    let counted = service_fn({
        let asked = Arc::clone(&asked);
        move |request: ()| {
            asked.fetch_add(1, Ordering::SeqCst);
            throttled.clone().oneshot(request)
        }
    });
    let service = RetryLayer::new(Retry::default(), classify, |(): &()| Some(())).unwrap().layer(counted);
    let mut rejected = 0;
    for _ in 0..1000 {
        let before = (asked.load(Ordering::SeqCst), sent.load(Ordering::SeqCst));
        if let Err(Error::Inner(Error::Rejected(rejection))) = service.clone().oneshot(()).await {
            let Reason::Throttled { per_mille, requests, accepts, k_per_mille: 2000 } = rejection.reason
            else {
                panic!("{rejection}")
            };
            let formula = 1000.0 * f64::from(requests) / f64::from(requests + 1);
            assert!(accepts == 0 && (f64::from(per_mille) - formula).abs() <= 0.5, "{rejection}");
            rejected += 1;
            let after = (asked.load(Ordering::SeqCst), sent.load(Ordering::SeqCst));
            assert_eq!(
                after.0 - before.0,
                after.1 - before.1 + 1,
                "the rejection was the last that was asked"
            );
        }
    }
    assert!(rejected > 900, "{rejected}");
    assert!(sent.load(Ordering::SeqCst) < 100, "{sent:?}");
}

#[test]
fn an_overloaded_upstream_sees_about_k_times_what_it_accepts_and_is_soon_found_well_again() {
    let clock = ManualClock::new();
    let throttler = Throttler::with(
        "upstream",
        Throttle::default(),
        Arc::new(clock.clone()),
        Arc::new(FastRng::seeded(7)),
        None,
    )
    .unwrap();
    // A thousand calls a second, of which it takes a hundred: (sent, accepted).
    let second = |capacity: u32| {
        let (mut sent, mut accepted) = (0_u32, 0_u32);
        for _ in 0..1000 {
            clock.advance(MS);
            if let Ok(permit) = throttler.acquire(Priority::Normal, clock.now()) {
                sent += 1;
                let class = if accepted < capacity { Class::Success } else { Class::RETRYABLE };
                accepted += u32::from(class == Class::Success);
                permit.record(class, clock.now());
            }
        }
        (sent, accepted)
    };
    for _ in 0..60 {
        second(100);
    }
    for _ in 0..60 {
        let (sent, accepted) = second(100);
        assert!((150..=260).contains(&sent) && accepted == 100, "{sent} {accepted}");
    }
    for _ in 0..30 {
        second(0);
    }
    for _ in 0..60 {
        assert!(second(0).0 <= 150, "a tenth of the calls goes to see");
    }
    for _ in 0..60 {
        second(1000);
    }
    assert_eq!(second(1000), (1000, 1000));
}

#[test]
fn a_cancelled_call_was_refused_once_it_had_its_time() {
    let clock = ManualClock::new();
    let throttler = Throttler::with(
        "upstream",
        Throttle::default(),
        Arc::new(clock.clone()),
        Arc::new(FastRng::seeded(7)),
        None,
    )
    .unwrap();
    let hold = |held: Duration| {
        let permits: Vec<_> =
            (0..20).map_while(|_| throttler.acquire(Priority::Normal, clock.now()).ok()).collect();
        clock.advance(held);
        drop(permits);
        throttler.probability(Priority::Normal, clock.now())
    };
    assert!(hold(9_999 * MS).abs() < 1e-12);
    assert!((hold(10_000 * MS) - 0.9).abs() < 1e-12);
}
