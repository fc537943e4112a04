//! Fault injection: handle and layer.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use leeward_resilience::fault::{Fault, FaultLayer, SetError};
use leeward_resilience::{FastRng, FaultInjector, Faults, TokioClock};
use tower::{Layer, ServiceExt, service_fn};

fn injector() -> FaultInjector {
    FaultInjector::allowed(Arc::new(TokioClock), Arc::new(FastRng::seeded(5)))
}

async fn calls(injector: &FaultInjector, count: u64) -> (u64, u64) {
    let (sent, answered) = (AtomicU64::new(0), AtomicU64::new(0));
    for _ in 0..count {
        let call = || async {
            sent.fetch_add(1, Ordering::SeqCst);
            Ok(())
        };
        let answer = injector.call(call, Err).await;
        answered.fetch_add(u64::from(answer.is_ok()), Ordering::SeqCst);
    }
    (sent.into_inner(), answered.into_inner())
}

#[tokio::test(start_paused = true)]
async fn nothing_is_injected_unless_it_is_allowed_and_set() {
    let all = Faults { refused_share: 1.0, latency_share: 1.0, ..Faults::default() };
    let start = tokio::time::Instant::now();
    let off = FaultInjector::off();
    assert_eq!(off.set(all.clone()), Err(SetError::NotAllowed));
    assert_eq!(calls(&off, 100).await, (100, 100));
    let injector = injector();
    assert_eq!(calls(&injector, 100).await, (100, 100));
    assert_eq!(start.elapsed(), Duration::ZERO);
    injector.clone().set(all.clone()).unwrap();
    assert_eq!(injector.running(), Some(all));
    assert_eq!(calls(&injector, 100).await, (0, 0));
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    injector.clear();
    assert_eq!((calls(&injector, 100).await, injector.running()), ((100, 100), None));
    assert!(matches!(
        injector.set(Faults { error_share: -1.0, ..Faults::default() }),
        Err(SetError::Config(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn each_fault_comes_by_its_share_and_only_a_lost_reply_was_sent() {
    let injector = injector();
    let shares = Faults { refused_share: 0.1, error_share: 0.2, lost_reply_share: 0.3, ..Faults::default() };
    injector.set(shares).unwrap();
    let (sent, answered) = calls(&injector, 10_000).await;
    let counts = injector.counts();
    assert_eq!(sent, 10_000 - counts.refused - counts.errors);
    assert_eq!(answered, sent - counts.lost_replies);
    for (count, share) in [(counts.refused, 1000), (counts.errors, 2000), (counts.lost_replies, 3000)] {
        assert!(count.abs_diff(share) < 200, "{counts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_experiment_ends_by_itself_by_number_and_by_time() {
    let injector = injector();
    let few = Faults { error_share: 1.0, faults_max: 7, ..Faults::default() };
    injector.set(few.clone()).unwrap();
    assert_eq!(calls(&injector, 100).await, (93, 93));
    injector.set(Faults { faults_max: 1000, lasts: Duration::from_secs(5), ..few }).unwrap();
    assert_eq!(calls(&injector, 100).await, (0, 0));
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(injector.running(), None);
    assert_eq!(calls(&injector, 100).await, (100, 100));
}

#[tokio::test(start_paused = true)]
async fn the_layer_shares_the_experiment() {
    let (injector, sent) = (injector(), Arc::new(AtomicU64::new(0)));
    let layer = FaultLayer::new(injector.clone(), Err);
    let service = || {
        let sent = Arc::clone(&sent);
        layer.layer(service_fn(move |()| {
            sent.fetch_add(1, Ordering::SeqCst);
            ready(Ok::<_, Fault>(()))
        }))
    };
    assert_eq!(service().oneshot(()).await, Ok(()));
    injector.set(Faults { refused_share: 1.0, ..Faults::default() }).unwrap();
    assert_eq!((service().oneshot(()).await, sent.load(Ordering::SeqCst)), (Err(Fault::Refused), 1));
    injector.set(Faults { lost_reply_share: 1.0, ..Faults::default() }).unwrap();
    assert_eq!((service().oneshot(()).await, sent.load(Ordering::SeqCst)), (Err(Fault::LostReply), 2));
}
