//! The concurrency limit's queue: its order, its bounds, and callers who give up at any point.

use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use leeward_resilience::concurrency::{Order, Permit};
use leeward_resilience::{Concurrency, ConcurrencyLimit, Reason, Rejected};
use proptest::prelude::*;

const MS: Duration = Duration::from_millis(1);
const LIFO: Order = Order::LifoUnderOverload { after: Duration::from_millis(100) };

fn limit(limit: u32, queue: u32, order: Order) -> ConcurrencyLimit {
    let limit = NonZeroU32::new(limit).unwrap();
    let max_wait = Duration::from_secs(60);
    let config = Concurrency { limit, queue, max_wait, order, ..Concurrency::default() };
    ConcurrencyLimit::new(config).unwrap()
}

type Waiting = Pin<Box<dyn Future<Output = Result<Permit, Rejected>>>>;

fn acquire(limit: &ConcurrencyLimit) -> Waiting {
    let limit = limit.clone();
    Box::pin(async move { limit.acquire().await })
}

fn poll(waiting: &mut Waiting) -> Poll<Result<Permit, Rejected>> {
    waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn waiting<const N: usize>(limit: &ConcurrencyLimit) -> [Waiting; N] {
    std::array::from_fn(|_| {
        let mut waiting = acquire(limit);
        assert!(poll(&mut waiting).is_pending());
        waiting
    })
}

#[tokio::test(start_paused = true)]
async fn under_overload_who_came_last_is_served_first_and_a_newcomer_takes_the_oldest_place() {
    let limit = limit(1, 3, LIFO);
    let held = limit.try_acquire().unwrap();
    let mut queue = waiting::<3>(&limit);
    assert!(matches!(poll(&mut acquire(&limit)), Poll::Ready(Err(_))), "no overload yet: first come");
    tokio::time::advance(100 * MS).await;
    let [mut newcomer] = waiting(&limit);
    let Poll::Ready(Err(rejected)) = poll(&mut queue[0]) else { panic!("displaced") };
    assert_eq!(rejected.reason, Reason::QueueFull { limit: 1, queue: 3 });
    drop(held);
    let Poll::Ready(Ok(permit)) = poll(&mut newcomer) else { panic!("the last is the first") };
    drop(permit);
    let Poll::Ready(Ok(permit)) = poll(&mut queue[2]) else { panic!("then the one before") };
    drop(permit);
    assert!(matches!(poll(&mut queue[1]), Poll::Ready(Ok(_))));
    // The queue was empty: fair again.
    let held = limit.try_acquire().unwrap();
    let mut queue = waiting::<2>(&limit);
    drop(held);
    assert!(matches!(poll(&mut queue[0]), Poll::Ready(Ok(_))));
    drop(queue);
    assert_eq!((limit.in_flight(), limit.waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_newcomers_starves_nobody() {
    let limit = limit(2, 5, Order::Fifo);
    let mut held = vec![limit.try_acquire().unwrap(), limit.try_acquire().unwrap()];
    let mut queue: Vec<_> = waiting::<5>(&limit).into_iter().collect();
    for _ in 0..1000 {
        drop(held.remove(0));
        assert!(limit.try_acquire().is_none(), "nobody overtakes");
        let mut first = queue.remove(0);
        let Poll::Ready(Ok(permit)) = poll(&mut first) else { panic!("the permit is the first one's") };
        held.push(permit);
        assert!(queue.iter_mut().all(|other| poll(other).is_pending()));
        queue.extend(waiting::<1>(&limit));
    }
}

#[tokio::test(start_paused = true)]
async fn given_up_at_any_point_a_caller_leaves_nothing_behind() {
    for order in [Order::Fifo, LIFO] {
        // Before it was polled, in the queue, with a permit it does not know of, and displaced.
        for point in 0..4 {
            let limit = limit(1, 1, order);
            let held = limit.try_acquire().unwrap();
            let mut gives_up = acquire(&limit);
            if point > 0 {
                assert!(poll(&mut gives_up).is_pending());
            }
            let mut held = Some(held);
            if point == 2 {
                held = None;
                assert_eq!((limit.in_flight(), limit.waiting()), (1, 0));
            }
            tokio::time::advance(200 * MS).await;
            let mut displacing = (point == 3).then(|| acquire(&limit));
            let displaced = displacing.as_mut().is_some_and(|it| poll(it).is_pending());
            assert_eq!(displaced, point == 3 && order == LIFO);
            drop(gives_up);
            let [mut next] = if displaced { [displacing.unwrap()] } else { limit_next(&limit, point) };
            drop(held);
            assert!(matches!(poll(&mut next), Poll::Ready(Ok(_))), "{order:?} {point}");
            assert_eq!((limit.in_flight(), limit.waiting()), (0, 0), "{order:?} {point}");
        }
    }
}

/// Somebody who comes after: in the queue, unless the permit is free again.
fn limit_next(limit: &ConcurrencyLimit, point: u32) -> [Waiting; 1] {
    if point == 2 { [acquire(limit)] } else { waiting(limit) }
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_came_too_late_goes_to_the_next() {
    let limit = limit(1, 5, Order::Fifo);
    let held = limit.try_acquire().unwrap();
    let [first, second, mut third] = waiting::<3>(&limit);
    drop(held);
    drop(first);
    drop(second);
    assert!(matches!(poll(&mut third), Poll::Ready(Ok(_))));
    assert_eq!((limit.in_flight(), limit.waiting()), (0, 0));
}

proptest! {
    /// The naive model: the numbers of those who hold a permit, and of those who wait, in order.
    #[test]
    fn it_does_what_two_lists_do(
        steps in prop::collection::vec((0_u32..4, 0_usize..20), 1..200),
        permits in 1_u32..4,
        places in 0_u32..5,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _guard = runtime.enter();
        let limit = limit(permits, places, Order::Fifo);
        let (mut held, mut queue) = (Vec::<Permit>::new(), Vec::<(u32, Waiting)>::new());
        let (mut holders, mut model) = (0_usize, Vec::<u32>::new());
        for (number, (step, index)) in (0_u32..).zip(steps) {
            match step {
                0 | 1 => {
                    let mut new = acquire(&limit);
                    match poll(&mut new) {
                        Poll::Ready(Ok(permit)) => {
                            prop_assert!(model.is_empty() && holders < permits as usize);
                            held.push(permit);
                            holders += 1;
                        }
                        Poll::Ready(Err(_)) => prop_assert!(model.len() == places as usize && holders == permits as usize),
                        Poll::Pending => {
                            prop_assert!(model.len() < places as usize && holders == permits as usize);
                            queue.push((number, new));
                            model.push(number);
                        }
                    }
                }
                2 if !held.is_empty() => {
                    drop(held.swap_remove(index % held.len()));
                    if model.is_empty() {
                        holders -= 1;
                    } else {
                        let next = model.remove(0);
                        let place = queue.iter().position(|(number, _)| *number == next).unwrap();
                        let Poll::Ready(Ok(permit)) = poll(&mut queue.remove(place).1) else { panic!("{next}") };
                        held.push(permit);
                    }
                }
                3 if !queue.is_empty() => {
                    let (number, _) = queue.remove(index % queue.len());
                    model.retain(|&other| other != number);
                }
                _ => {}
            }
            prop_assert_eq!((limit.in_flight() as usize, limit.waiting() as usize), (holders, model.len()));
        }
    }
}

#[test]
fn many_threads_lose_no_permit_and_no_caller() {
    let limit = limit(2, 64, Order::Fifo);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    runtime.block_on(async {
        let mut calls = tokio::task::JoinSet::new();
        for number in 0..16_u32 {
            let limit = limit.clone();
            calls.spawn(async move {
                for round in 0..200_u32 {
                    if (number + round) % 3 == 0 {
                        // Given up after one poll.
                        let mut given_up = std::pin::pin!(limit.acquire());
                        std::future::poll_fn(|cx| {
                            let _ = given_up.as_mut().poll(cx);
                            Poll::Ready(())
                        })
                        .await;
                    } else {
                        let _permit = limit.acquire().await.unwrap();
                        assert!(limit.in_flight() <= 2);
                        tokio::task::yield_now().await;
                    }
                }
            });
        }
        calls.join_all().await;
    });
    assert_eq!((limit.in_flight(), limit.waiting()), (0, 0));
}
