//! `tower-resilience`: tower layers after Resilience4j.

use std::future::{poll_fn, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_resilience::bulkhead::BulkheadLayer;
use tower_resilience::circuitbreaker::{CircuitBreakerLayer, SlidingWindowType};
use tower_resilience::ratelimiter::RateLimiterLayer;
use tower_resilience::retry::{RetryLayer, TokenBucketBudget};
use tower_resilience::timelimiter::TimeLimiterLayer;

use crate::harness::{Run, Sample, Subject, Suspend, asked, expect, measure, proven, resumed};

const LIB: &str = "tower-resilience";

pub fn subjects() -> Vec<Subject> {
    use SlidingWindowType::{CountBased, TimeBased};
    vec![
        Subject::new("breaker_closed", LIB, "std, several", |run| closed(run, TimeBased))
            .note("grows with the calls in the window: measured over the first moments only"),
        Subject::new("breaker_closed_count_window", LIB, "std, several", |run| closed(run, CountBased))
            .note("the window does not slide"),
        Subject::new("breaker_open", LIB, "std once", open)
            .note("at two threads it sleeps for 1 ms when its lock is taken: not measured")
            .one_thread(),
        Subject::new("retry_ok", LIB, "none", retry_ok).note("with its budget"),
        Subject::new("bulkhead", LIB, "std, several", bulkhead),
        Subject::new("rate_limit", LIB, "std once", rate_limit),
        Subject::new("pipeline", LIB, "std, several", |run| pipeline(run, false)),
        Subject::new("pipeline_pending", LIB, "std, several", |run| pipeline(run, true)),
    ]
}

type Answer = Result<u32, &'static str>;

/// An answer by the sign of the request.
fn call<S: Service<i32, Response = u32>>(service: &mut S, request: i32) -> Result<u32, S::Error> {
    asked(poll_fn(|cx| service.poll_ready(cx)))?;
    asked(service.call(request))
}

fn answer(request: i32) -> std::future::Ready<Answer> {
    ready(u32::try_from(request).map_err(|_| "no"))
}

fn breaker(window: SlidingWindowType) -> CircuitBreakerLayer {
    CircuitBreakerLayer::builder()
        .failure_rate_threshold(0.5)
        .sliding_window_type(window)
        .sliding_window_size(100)
        .sliding_window_duration(Duration::from_secs(10))
        .minimum_number_of_calls(20)
        .wait_duration_in_open(Duration::from_secs(60))
        .build()
        .expect("the options are in range")
}

fn opens<S: Service<i32, Response = u32> + Clone>(service: &S) -> Result<(), String> {
    let mut service = service.clone();
    (0..200).for_each(|_| drop(call(&mut service, -1)));
    expect(call(&mut service, 7).is_err(), "two hundred failures did not open it")
}

fn closed(run: &Run, window: SlidingWindowType) -> Result<Sample, String> {
    proven(|_| opens(&breaker(window).layer(service_fn(answer))))?;
    let shared = breaker(window).layer(service_fn(answer));
    measure(run, || {
        let mut service = shared.clone();
        move || assert!(call(&mut service, 7).is_ok())
    })
}

fn open(run: &Run) -> Result<Sample, String> {
    let shared = breaker(SlidingWindowType::CountBased).layer(service_fn(answer));
    proven(|_| opens(&shared))?;
    measure(run, || {
        let mut service = shared.clone();
        move || assert!(call(&mut service, 7).is_err())
    })
}

fn retry() -> RetryLayer<i32, u32, &'static str> {
    let budget = TokenBucketBudget::new(10.0, 10, 10).expect("the options are in range");
    RetryLayer::builder()
        .max_attempts(3)
        .fixed_backoff(Duration::from_millis(1))
        .budget(Arc::new(budget))
        .build()
}

fn retry_ok(run: &Run) -> Result<Sample, String> {
    proven(|runtime| {
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let failing = retry().layer(service_fn(move |_: i32| {
            counted.fetch_add(1, Ordering::Relaxed);
            answer(-1)
        }));
        let failed = runtime.block_on(failing.oneshot(7)).is_err();
        expect(failed && calls.load(Ordering::Relaxed) == 3, "a failure was not retried twice")
    })?;
    let shared = retry().layer(service_fn(answer));
    measure(run, || {
        let mut service = shared.clone();
        move || assert!(call(&mut service, 7).is_ok())
    })
}

fn bulkhead(run: &Run) -> Result<Sample, String> {
    let layer = |calls| {
        let bulkhead = BulkheadLayer::builder().max_concurrent_calls(calls).reject_when_full();
        bulkhead.build().expect("the options are in range")
    };
    proven(|_| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|it| it.to_string())?;
        let one = layer(1).layer(service_fn(|request: i32| async move {
            Suspend::default().await;
            answer(request).await
        }));
        let mut held = Box::pin(one.clone().oneshot(7));
        let is_held = held.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending();
        let second = runtime.block_on(one.clone().oneshot(7)).is_err();
        expect(is_held && second, "a second call passed a limit of one")
    })?;
    let shared = layer(100).layer(service_fn(answer));
    measure(run, || {
        let mut service = shared.clone();
        move || assert!(call(&mut service, 7).is_ok())
    })
}

fn limit(calls: usize) -> RateLimiterLayer {
    RateLimiterLayer::builder()
        .limit_for_period(calls)
        .refresh_period(Duration::from_secs(1))
        .timeout_duration(Duration::ZERO)
        .build()
        .expect("the options are in range")
}

fn rate_limit(run: &Run) -> Result<Sample, String> {
    proven(|_| {
        let mut ten = limit(10).layer(service_fn(answer));
        let passed = (0..100).filter(|_| call(&mut ten, 7).is_ok()).count();
        expect(passed == 10, &format!("{passed} of 100 calls passed a limit of 10"))
    })?;
    let shared = limit(1_000_000_000).layer(service_fn(answer));
    measure(run, || {
        let mut service = shared.clone();
        move || assert!(call(&mut service, 7).is_ok())
    })
}

fn pipeline(run: &Run, suspended: bool) -> Result<Sample, String> {
    let answer = move |request: i32| async move {
        if suspended {
            Suspend::default().await;
        }
        answer(request).await
    };
    let bulkhead =
        BulkheadLayer::builder().max_concurrent_calls(256).build().expect("the options are in range");
    let within = TimeLimiterLayer::builder().timeout_duration(Duration::from_secs(1)).build();
    let build = || {
        ServiceBuilder::new()
            .map_err(|_| "no")
            .layer(retry())
            .map_err(|_| "no")
            .layer(breaker(SlidingWindowType::CountBased))
            .layer(limit(1_000_000_000))
            .layer(bulkhead.clone())
            .layer(within.clone())
            .service(service_fn(answer))
    };
    let shared = build();
    proven(|runtime| {
        let mut failing = shared.clone();
        let failures = (0..200).filter(|_| runtime.block_on(failing.call(-1)).is_err()).count();
        expect(failures == 200, "an error was swallowed")?;
        expect(runtime.block_on(failing.call(7)).is_err(), "two hundred failures did not open its breaker")
    })?;
    let shared = build();
    measure(run, || {
        let mut service = shared.clone();
        move || {
            assert!(asked(poll_fn(|cx| service.poll_ready(cx))).is_ok());
            let call = service.call(7);
            let answer = if suspended { resumed(call) } else { asked(call) };
            assert!(answer.is_ok());
        }
    })
}
