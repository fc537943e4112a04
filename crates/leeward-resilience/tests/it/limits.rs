//! The concurrency limit.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use leeward_resilience::{Concurrency, ConcurrencyLimit, Reason};
use tokio::task::JoinSet;

fn limit(limit: u32, queue: u32, max_wait_ms: u64) -> ConcurrencyLimit {
    let limit = NonZeroU32::new(limit).unwrap();
    let max_wait = Duration::from_millis(max_wait_ms);
    ConcurrencyLimit::new(Concurrency { limit, queue, max_wait, ..Concurrency::default() }).unwrap()
}

#[tokio::test(start_paused = true)]
async fn beyond_the_limit_calls_wait_and_beyond_the_queue_they_are_rejected() {
    let limit = limit(2, 3, 1000);
    let held = [limit.acquire().await.unwrap(), limit.acquire().await.unwrap()];
    let mut waiting = JoinSet::new();
    for _ in 0..3 {
        let limit = limit.clone();
        waiting.spawn(async move { limit.acquire().await.map(drop) });
    }
    tokio::task::yield_now().await;
    assert_eq!((limit.in_flight(), limit.waiting()), (2, 3));
    let rejected = limit.acquire().await.unwrap_err();
    assert_eq!(rejected.reason, Reason::QueueFull { limit: 2, queue: 3 });
    drop(held);
    assert!(waiting.join_all().await.into_iter().all(|result| result.is_ok()));
    assert_eq!((limit.in_flight(), limit.waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_wait_is_bounded_by_the_option_and_by_the_caller() {
    let limit = limit(1, 10, 200);
    let _held = limit.acquire().await.unwrap();
    let start = tokio::time::Instant::now();
    let rejected = limit.acquire().await.unwrap_err();
    assert_eq!(rejected.reason, Reason::WaitedTooLong { waited: Duration::from_millis(200) });
    assert_eq!(start.elapsed(), Duration::from_millis(200));
    limit.acquire_within(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::from_millis(250));
    assert_eq!(limit.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_first_come_first_served_and_nobody_overtakes() {
    let limit = limit(1, 10, 1000);
    let held = limit.acquire().await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiting = JoinSet::new();
    for number in 0..5 {
        let (limit, order) = (limit.clone(), Arc::clone(&order));
        waiting.spawn(async move {
            let _permit = limit.acquire().await.unwrap();
            order.lock().unwrap().push(number);
            tokio::task::yield_now().await;
        });
        tokio::task::yield_now().await;
    }
    drop(held);
    assert!(limit.try_acquire().is_none(), "the permit belongs to the first in the queue");
    waiting.join_all().await;
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_gives_up_loses_no_permit() {
    let limit = limit(1, 10, 10_000);
    let held = limit.acquire().await.unwrap();
    for _ in 0..20 {
        let gave_up = tokio::time::timeout(Duration::from_millis(5), limit.acquire()).await;
        assert!(gave_up.is_err());
    }
    assert_eq!(limit.waiting(), 0);
    drop(held);
    assert!(limit.try_acquire().is_some());
    assert_eq!(limit.in_flight(), 0);
}
