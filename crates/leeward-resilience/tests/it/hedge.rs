//! Hedging: handle and layer.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use leeward_resilience::breaker::State;
use leeward_resilience::hedge::{Counts, Delay, HedgeLayer};
use leeward_resilience::{
    Breaker, Budget, Call, CircuitBreaker, Clock, Deadline, Effort, Hedge, Hedger, RetryBudget, TokioClock,
};
use tower::{Layer, Service, ServiceExt};

use crate::strict::{Failed, Strict, classify};

const MS: Duration = Duration::from_millis(1);

fn fixed(delay_ms: u64) -> Hedge {
    Hedge { delay: Delay::Fixed(Duration::from_millis(delay_ms)), ..Hedge::default() }
}

/// Attempts that are on their way.
#[derive(Clone, Default)]
struct Live(Arc<AtomicU32>);

struct OnItsWay(Live);

impl Live {
    fn enter(&self) -> OnItsWay {
        self.0.fetch_add(1, Ordering::SeqCst);
        OnItsWay(self.clone())
    }

    fn count(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Each attempt takes its time and then answers its number, well or not.
async fn call(hedger: &Hedger, call: Call, attempts: &[(u64, bool)]) -> (Result<u32, u32>, u64) {
    let live = Live::default();
    let start = tokio::time::Instant::now();
    let send = |number: u32| {
        let (ms, good) = attempts[usize::try_from(number).unwrap()];
        let on_its_way = live.enter();
        async move {
            let _on_its_way = on_its_way;
            tokio::time::sleep(Duration::from_millis(ms)).await;
            if good { Ok(number) } else { Err(number) }
        }
    };
    let answer = hedger.call(call, send, classify).await;
    assert_eq!(live.count(), 0, "nothing is on its way after the answer");
    (answer, u64::try_from(start.elapsed().as_millis()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn the_first_good_answer_wins_and_the_others_are_dropped() {
    let hedger = Hedger::new(fixed(50)).unwrap();
    let replayable = Call::REPLAYABLE;
    assert_eq!(call(&hedger, replayable, &[(1000, true), (10, true)]).await, (Ok(1), 60));
    assert_eq!(hedger.counts(), Counts { sent: 1, won: 1, refused: 0 });
    assert_eq!(call(&hedger, replayable, &[(70, true), (100, true)]).await, (Ok(0), 70));
    assert_eq!(call(&hedger, replayable, &[(40, true)]).await, (Ok(0), 40));
    assert_eq!(hedger.counts(), Counts { sent: 2, won: 1, refused: 0 });
}

#[tokio::test(start_paused = true)]
async fn a_bad_answer_ends_nothing_while_another_attempt_is_on_its_way() {
    let hedger = Hedger::new(Hedge { max_hedges: 3, ..fixed(50) }).unwrap();
    let replayable = Call::REPLAYABLE;
    assert_eq!(call(&hedger, replayable, &[(60, false), (40, true)]).await, (Ok(1), 90));
    assert_eq!(call(&hedger, replayable, &[(300, true), (10, false)]).await, (Ok(0), 300));
    assert_eq!(call(&hedger, replayable, &[(60, false), (300, false)]).await, (Err(0), 350));
    assert_eq!(call(&hedger, replayable, &[(80, false), (10, false)]).await, (Err(0), 80));
    let before = hedger.counts().sent;
    assert_eq!(call(&hedger, replayable, &[(20, false)]).await, (Err(0), 20), "failure is for retry");
    assert_eq!(hedger.counts().sent, before);
}

#[tokio::test(start_paused = true)]
async fn so_many_hedges_and_no_more_each_a_delay_after_the_one_before() {
    let hedger = Hedger::new(Hedge { max_hedges: 3, ..fixed(50) }).unwrap();
    let slow = [(1000, true); 4];
    assert_eq!(call(&hedger, Call::REPLAYABLE, &slow).await, (Ok(0), 1000));
    assert_eq!(hedger.counts().sent, 3);
    let third = [(1000, true), (1000, true), (1000, true), (7, true)];
    assert_eq!(call(&hedger, Call::REPLAYABLE, &third).await, (Ok(3), 157));
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_repeated_is_sent_once() {
    let hedger = Hedger::new(fixed(50)).unwrap();
    for once in [Call::ONCE, Call::REPLAYABLE.effort(Effort { attempt: 1, ..Effort::FIRST })] {
        assert_eq!(call(&hedger, once, &[(1000, true)]).await, (Ok(0), 1000));
    }
    assert_eq!(hedger.counts(), Counts::default());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_after_the_deadline_nor_so_late_that_it_cannot_end_before() {
    let hedger = Hedger::new(fixed(50)).unwrap();
    let within = |ms| Call::REPLAYABLE.deadline(Deadline::after(TokioClock.now(), Duration::from_millis(ms)));
    call(&hedger, within(55), &[(1000, true)]).await.0.unwrap();
    assert_eq!(hedger.counts().sent, 0);
    call(&hedger, within(57), &[(1000, true), (1000, true)]).await.0.unwrap();
    assert_eq!(hedger.counts().sent, 1);
}

#[tokio::test(start_paused = true)]
async fn a_timer_that_fires_late_sends_nothing_after_the_deadline() {
    let hedger = Hedger::new(fixed(50)).unwrap();
    let deadline = Deadline::after(TokioClock.now(), 100 * MS);
    let mut future = pin!(hedger.call(
        Call::REPLAYABLE.deadline(deadline),
        async |_| std::future::pending::<Result<(), ()>>().await,
        classify,
    ));
    assert!(poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await.is_pending());
    tokio::time::advance(99 * MS).await;
    assert!(poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await.is_pending());
    assert_eq!(hedger.counts(), Counts::default());
}

/// Defect 7: hedges that no budget bounds multiply the load just as retries do.
#[tokio::test(start_paused = true)]
async fn defect_7_hedges_and_retries_draw_on_one_budget() {
    let floor = Budget { ratio: 0.0, floor: 5, ..Budget::default() };
    let budget = RetryBudget::new(&floor, TokioClock.now()).unwrap();
    let hedger = Hedger::sharing(fixed(50), budget.clone(), Arc::new(TokioClock)).unwrap();
    assert!(budget.withdraw(TokioClock.now()) && budget.withdraw(TokioClock.now()), "two retries");
    for _ in 0..10 {
        assert_eq!(call(&hedger, Call::REPLAYABLE, &[(60, true), (60, true)]).await, (Ok(0), 60));
    }
    assert_eq!(hedger.counts(), Counts { sent: 3, won: 0, refused: 7 });
    assert!(!budget.withdraw(TokioClock.now()));
}

/// Defect 7, finagle #956: a call that brings twice allows twice.
#[tokio::test(start_paused = true)]
async fn defect_7_a_shared_budget_counts_each_call_once() {
    let all = Budget { ratio: 1.0, floor: 0, ..Budget::default() };
    let budget = RetryBudget::new(&all, TokioClock.now()).unwrap();
    let shared = Hedger::sharing(fixed(50), budget.clone(), Arc::new(TokioClock)).unwrap();
    let own = Hedger::new(Hedge { budget: all, ..fixed(50) }).unwrap();
    for hedger in [&shared, &own] {
        for _ in 0..10 {
            call(hedger, Call::REPLAYABLE, &[(60, true), (60, true)]).await.0.unwrap();
        }
    }
    assert_eq!(shared.counts().sent, 0, "nobody further out counted a call");
    assert_eq!(own.counts().sent, 10);
}

/// Defects 2 and 3: a loser ends its permit as cancelled, which is neutral before the attempt timeout.
#[tokio::test(start_paused = true)]
async fn defect_3_losers_do_not_count_as_failures_and_leave_no_permit_behind() {
    let hedger =
        Hedger::new(Hedge { budget: Budget { ratio: 1.0, ..Budget::default() }, ..fixed(10) }).unwrap();
    let breaker = CircuitBreaker::new("upstream", Breaker::default()).unwrap();
    for _ in 0..100 {
        let send = |number: u32| {
            let breaker = breaker.clone();
            async move {
                let permit = breaker.acquire(TokioClock.now()).map_err(drop)?;
                tokio::time::sleep(if number == 0 { 500 * MS } else { MS }).await;
                permit.success(TokioClock.now());
                Ok::<_, ()>(number)
            }
        };
        assert_eq!(hedger.call(Call::REPLAYABLE, send, classify).await, Ok(1));
    }
    assert_eq!(breaker.state(TokioClock.now()), State::Closed);
    assert_eq!(hedger.counts().won, 100);
}

#[tokio::test(start_paused = true)]
async fn the_delay_follows_the_latencies_and_forgets_no_loser() {
    let budget = Budget { ratio: 1.0, floor: 1000, ..Budget::default() };
    let delay = Delay::Quantile { quantile: 0.95, initial: 20 * MS, min: 2 * MS, max: 500 * MS };
    let config = Hedge { delay, budget, ..Hedge::default() };
    let steady = Hedger::new(config.clone()).unwrap();
    for done in 0..100 {
        assert!(done >= 50 || steady.delay(TokioClock.now()) == 20 * MS);
        call(&steady, Call::REPLAYABLE, &[(10, true)]).await.0.unwrap();
    }
    let learned = steady.delay(TokioClock.now());
    assert!(learned > 10 * MS && learned <= Duration::from_micros(11_300), "{learned:?}");
    // A fifth is slow and loses against its hedge. The 95th percentile lies among those, so that the delay must rise.
    let tail = Hedger::new(config).unwrap();
    for number in 0..100 {
        let first_ms = if number % 5 == 0 { 200 } else { 10 };
        call(&tail, Call::REPLAYABLE, &[(first_ms, true), (15, true)]).await.0.unwrap();
    }
    assert!(tail.delay(TokioClock.now()) > 20 * MS, "{:?}", tail.delay(TokioClock.now()));
}

/// The first call never answers.
async fn first_hangs(call: u32, (): ()) -> Result<u32, Failed> {
    if call == 0 { std::future::pending().await } else { Ok(call) }
}

type BoxFuture = Pin<Box<dyn Future<Output = Result<u32, Failed>> + Send>>;

fn hanging() -> Strict<fn(u32, ()) -> BoxFuture> {
    Strict::new(|call, request| Box::pin(first_hangs(call, request)))
}

/// Defect 9.
#[tokio::test(start_paused = true)]
async fn defect_9_the_layer_keeps_the_contract_of_poll_ready() {
    let hedger = Hedger::new(fixed(50)).unwrap();
    let layer = HedgeLayer::new(hedger.clone(), classify, |(): &()| Some(()));
    let mut service = layer.layer(hanging());
    assert_eq!(service.ready().await.unwrap().call(()).await, Ok(1));
    assert_eq!(service.clone().oneshot(()).await, Ok(2));
    assert_eq!(hedger.counts(), Counts { sent: 1, won: 1, refused: 0 });
    let once = HedgeLayer::new(hedger.clone(), classify, |(): &()| None).layer(hanging());
    assert!(tokio::time::timeout(9 * Duration::from_secs(1), once.oneshot(())).await.is_err());
    let no_time = HedgeLayer::new(hedger.clone(), classify, |(): &()| Some(())).within(54 * MS);
    let no_time = no_time.layer(hanging()).oneshot(());
    assert!(tokio::time::timeout(9 * Duration::from_secs(1), no_time).await.is_err());
    assert_eq!(hedger.counts().sent, 1);
}
