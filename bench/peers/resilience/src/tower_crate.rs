//! `tower` itself: retry, timeout, concurrency limit and rate limit. It has no circuit breaker.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tower::retry::Policy;
use tower::retry::budget::{Budget, TpsBudget};
use tower::{Service, ServiceBuilder, service_fn};

use crate::harness::{Run, Sample, Subject, Suspend, at_once, expect, measure, proven, resumed};

const LIB: &str = "tower";
const REDUCED: &str =
    "retry, timeout, concurrency limit; it has no breaker, and its rate limit cannot be cloned for retry";

pub fn subjects() -> Vec<Subject> {
    vec![
        Subject::new("retry_ok", LIB, "std once", retry_ok).note("with its budget"),
        Subject::new("bulkhead", LIB, "none", bulkhead),
        Subject::new("rate_limit", LIB, "std once", rate_limit)
            .note("it cannot be shared by threads")
            .one_thread(),
        Subject::new("pipeline", LIB, "std, several", |run| pipeline(run, false)).note(REDUCED),
        Subject::new("pipeline_pending", LIB, "std, several", |run| pipeline(run, true)).note(REDUCED),
    ]
}

/// Two retries within a budget, without a wait between.
#[derive(Clone)]
struct Twice {
    budget: Arc<TpsBudget>,
    left: u32,
}

impl Twice {
    fn new() -> Self {
        Self { budget: Arc::new(TpsBudget::new(Duration::from_secs(10), 10, 0.2)), left: 2 }
    }
}

impl<E> Policy<u32, u32, E> for Twice {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut u32, result: &mut Result<u32, E>) -> Option<Ready<()>> {
        if result.is_ok() {
            self.budget.deposit();
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        self.budget.withdraw().then(|| ready(()))
    }

    fn clone_request(&mut self, request: &u32) -> Option<u32> {
        Some(*request)
    }
}

fn retry_ok(run: &Run) -> Result<Sample, String> {
    let calls = AtomicU32::new(0);
    let failing = service_fn(|_: u32| {
        calls.fetch_add(1, Ordering::Relaxed);
        ready(Err::<u32, ()>(()))
    });
    let mut failing = ServiceBuilder::new().retry(Twice::new()).service(failing);
    let failed = at_once(failing.call(7)).is_err();
    expect(failed && calls.load(Ordering::Relaxed) == 3, "a failure was not retried twice")?;
    let policy = Twice::new();
    measure(run, || {
        let answer = |request: u32| ready(Ok::<u32, Infallible>(request));
        let mut service = ServiceBuilder::new().retry(policy.clone()).service(service_fn(answer));
        move || assert!(at_once(async { service.call(7).await }).is_ok())
    })
}

fn is_ready<S: Service<u32>>(service: &mut S) -> bool {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    matches!(service.poll_ready(&mut context), std::task::Poll::Ready(Ok(())))
}

fn bulkhead(run: &Run) -> Result<Sample, String> {
    let answer = |request: u32| ready(Ok::<u32, Infallible>(request));
    let mut one = ServiceBuilder::new().concurrency_limit(1).service(service_fn(answer));
    let mut other = one.clone();
    expect(is_ready(&mut one) && !is_ready(&mut other), "a second call passed a limit of one")?;
    let shared = ServiceBuilder::new().concurrency_limit(100).service(service_fn(answer));
    measure(run, || {
        let mut service = shared.clone();
        move || {
            assert!(is_ready(&mut service));
            assert!(at_once(service.call(7)).is_ok());
        }
    })
}

fn rate_limit(run: &Run) -> Result<Sample, String> {
    let answer = |request: u32| ready(Ok::<u32, Infallible>(request));
    proven(|_| {
        let mut ten =
            ServiceBuilder::new().rate_limit(10, Duration::from_secs(1)).service(service_fn(answer));
        let passed = (0..100).take_while(|_| is_ready(&mut ten) && at_once(ten.call(7)).is_ok()).count();
        expect(passed == 10, &format!("{passed} of 100 calls passed a limit of 10"))
    })?;
    measure(run, || {
        let limit = ServiceBuilder::new().rate_limit(1_000_000_000, Duration::from_secs(1));
        let mut service = limit.service(service_fn(answer));
        move || {
            assert!(is_ready(&mut service));
            assert!(at_once(service.call(7)).is_ok());
        }
    })
}

fn pipeline(run: &Run, suspended: bool) -> Result<Sample, String> {
    proven(|_| {
        let never = |_: u32| std::future::pending::<Result<u32, Infallible>>();
        let mut one = ServiceBuilder::new()
            .retry(Twice::new())
            .timeout(Duration::from_secs(1))
            .concurrency_limit(1)
            .service(service_fn(never));
        let mut other = one.clone();
        expect(is_ready(&mut one) && !is_ready(&mut other), "a second call passed a limit of one")
    })?;
    let answer = move |request: u32| async move {
        if suspended {
            Suspend::default().await;
        }
        Ok::<u32, Infallible>(request)
    };
    let shared = ServiceBuilder::new()
        .retry(Twice::new())
        .timeout(Duration::from_secs(1))
        .concurrency_limit(256)
        .service(service_fn(answer));
    measure(run, || {
        let mut service = shared.clone();
        move || {
            assert!(is_ready(&mut service));
            let call = service.call(7);
            let answer = if suspended { resumed(call) } else { at_once(call) };
            assert!(answer.is_ok());
        }
    })
}
