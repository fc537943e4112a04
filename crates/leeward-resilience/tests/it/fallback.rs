//! Fallback: handle and layer.

use std::future::{Ready, pending, ready};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use leeward_resilience::fallback::{Answer, Cause, FallbackLayer};
use leeward_resilience::{Class, Error, Event, Fallback, FallbackPolicy, Observer, Reason, Rejected};
use tower::{Layer, Service, ServiceExt, service_fn};

type Result<T> = std::result::Result<T, Error<u16>>;

const REJECTED: Rejected = Rejected::new("breaker", Reason::ForcedOpen);

#[derive(Debug, Default)]
struct Seen(Mutex<Vec<(Cause, bool)>>);

impl Observer for Seen {
    fn observe(&self, name: &str, event: &Event) {
        assert_eq!(name, "upstream");
        let Event::FellBack { cause, answered } = *event else { panic!("{event:?}") };
        self.0.lock().unwrap().push((cause, answered));
    }
}

fn policy(config: Fallback) -> (FallbackPolicy, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    (FallbackPolicy::new("upstream", config, Some(seen.clone())).unwrap(), seen)
}

/// By HTTP status, of an answer or an error; 4xx are the caller's mistake.
fn classify(result: &std::result::Result<u16, u16>) -> Class {
    let (Ok(status) | Err(status)) = *result;
    if (400..429).contains(&status) { Class::Ignored } else { Class::of_http_status(status, None) }
}

/// Every way in which a call ends, and what it is as a cause.
fn endings() -> Vec<(Result<u16>, Option<Cause>)> {
    vec![
        (Ok(200), None),
        (Ok(404), None),
        (Err(Error::Inner(404)), None),
        (Ok(503), Some(Cause::Retryable)),
        (Err(Error::Inner(503)), Some(Cause::Retryable)),
        (Ok(500), Some(Cause::Permanent)),
        (Err(Error::Inner(500)), Some(Cause::Permanent)),
        (Err(Error::Rejected(REJECTED)), Some(Cause::Rejected(REJECTED))),
        (Err(Error::Timeout { after: Duration::from_secs(1) }), Some(Cause::Timeout)),
        (Err(Error::DeadlineExceeded { attempts: 1, last: Some(500) }), Some(Cause::DeadlineExceeded)),
    ]
}

#[tokio::test]
async fn by_default_it_covers_what_passes_and_hides_no_bug() {
    for (ending, cause) in endings() {
        let (policy, seen) = policy(Fallback::default());
        let covered = cause.filter(|&cause| cause != Cause::Permanent);
        let answer = policy.or_value(ready(ending.clone()), classify, |_| 7).await;
        match covered {
            Some(cause) => {
                assert_eq!(answer, Ok(Answer::Substitute { value: 7, cause }));
                assert_eq!(answer.unwrap().cause(), Some(cause));
                assert_eq!(*seen.0.lock().unwrap(), [(cause, true)]);
            }
            None => {
                assert_eq!(answer, ending.map(Answer::Real));
                assert!(seen.0.lock().unwrap().is_empty());
            }
        }
    }
}

#[tokio::test]
async fn each_cause_is_chosen_by_its_own_option_and_the_caller_s_mistake_by_none() {
    let none = Fallback {
        on_rejected: false,
        on_timeout: false,
        on_deadline: false,
        on_retryable: false,
        on_permanent: false,
        ..Fallback::default()
    };
    let only = [
        (Fallback { on_rejected: true, ..none.clone() }, "rejected"),
        (Fallback { on_timeout: true, ..none.clone() }, "timeout"),
        (Fallback { on_deadline: true, ..none.clone() }, "deadline"),
        (Fallback { on_retryable: true, ..none.clone() }, "retryable"),
        (Fallback { on_permanent: true, ..none.clone() }, "permanent"),
    ];
    for (config, name) in only {
        let (policy, _) = policy(config);
        for (ending, cause) in endings() {
            let answer = policy.or_value(ready(ending.clone()), classify, |_| 7).await;
            match cause.filter(|cause| cause.as_str() == name) {
                Some(cause) => assert_eq!(answer, Ok(Answer::Substitute { value: 7, cause })),
                None => assert_eq!(answer, ending.map(Answer::Real)),
            }
        }
    }
    let errors = FallbackPolicy::new("x", Fallback { within: Duration::ZERO, ..none }, None).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "fallback is for no cause, allowed: at least one cause; \
         fallback.within is 0s, allowed: more than 0s, at most 1m"
    );
}

#[tokio::test(start_paused = true)]
async fn a_substitute_that_fails_or_takes_too_long_leaves_the_first_result() {
    let (policy, seen) = policy(Fallback::default());
    let start = tokio::time::Instant::now();
    let fails = policy.or_call(ready(Err(Error::Inner(503))), classify, |_| ready(Err::<u16, _>("no"))).await;
    assert_eq!(fails, Err(Error::Inner(503)));
    let hangs = policy.or_call(ready(Ok(503)), classify, |_| pending::<std::result::Result<_, ()>>()).await;
    assert_eq!(hangs, Ok(Answer::Real(503)));
    assert_eq!(start.elapsed(), Duration::from_millis(500));
    let works = policy.or_call(ready(Ok(503)), classify, |_| ready(Ok::<_, ()>(7))).await;
    assert_eq!(works, Ok(Answer::Substitute { value: 7, cause: Cause::Retryable }));
    let told = [(Cause::Retryable, false), (Cause::Retryable, false), (Cause::Retryable, true)];
    assert_eq!(*seen.0.lock().unwrap(), told);
    let none = policy.or_call(ready(Ok(200)), classify, |_| -> Ready<std::result::Result<_, ()>> {
        panic!("nothing to replace")
    });
    assert_eq!(none.await.unwrap().into_inner(), 200);
}

#[tokio::test(start_paused = true)]
async fn the_layer_does_what_the_handle_does() {
    for (ending, _) in endings() {
        let (policy, seen) = policy(Fallback::default());
        let by_handle = policy.or_value(ready(ending.clone()), classify, |_| 7).await;
        let substitute = |kept: &'static str, _| {
            assert_eq!(kept, "request");
            ready(Ok::<_, ()>(7))
        };
        let layer = FallbackLayer::new(policy, classify, |request: &&'static str| *request, substitute);
        let mut service = layer.layer(service_fn(move |_: &'static str| ready(ending.clone())));
        assert_eq!(service.ready().await.unwrap().call("request").await, by_handle);
        let told = seen.0.lock().unwrap().clone();
        assert_eq!(told.len(), 2 * usize::from(by_handle.is_ok_and(|answer| answer.cause().is_some())));
    }
}

#[tokio::test(start_paused = true)]
async fn the_layer_bounds_its_substitute_too() {
    let (policy, seen) = policy(Fallback::default());
    let hung = |(), _| pending::<std::result::Result<u16, ()>>();
    let layer = FallbackLayer::new(policy, classify, |(): &()| (), hung);
    let start = tokio::time::Instant::now();
    let answer = layer.layer(service_fn(|()| ready(Err(Error::Inner(503))))).oneshot(()).await;
    assert_eq!((answer, start.elapsed()), (Err(Error::Inner(503)), Duration::from_millis(500)));
    assert_eq!(*seen.0.lock().unwrap(), [(Cause::Retryable, false)]);
}
