//! Priority shedding, by virtual time.

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use leeward_resilience::shed::ShedLayer;
use leeward_resilience::{
    Clock, Concurrency, Error, Event, FastRng, Observer, Priority, Reason, Shed, Shedder, TokioClock,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt, service_fn};

const MS: Duration = Duration::from_millis(1);

#[derive(Debug, Default)]
struct Seen(Mutex<Vec<Event>>);

impl Observer for Seen {
    fn observe(&self, _: &str, event: &Event) {
        self.0.lock().unwrap().push(*event);
    }
}

/// Four at a time.
fn shedder(seen: &Arc<Seen>) -> Shedder {
    let limit = NonZeroU32::new(4).unwrap();
    let concurrency = Concurrency { limit, queue: 100, max_wait: 500 * MS, ..Concurrency::default() };
    let config = Shed { concurrency, ..Shed::default() };
    let rng = Arc::new(FastRng::seeded(3));
    Shedder::with("shop", config, Arc::new(TokioClock), rng, Some(seen.clone())).unwrap()
}

/// How the calls of one class ended.
#[derive(Clone, Copy, Debug, Default)]
struct Ended {
    served: u32,
    shed: u32,
    other: u32,
    slowest: Duration,
}

/// A call of each of `classes` every `pause`, for two seconds; each takes 10 ms of one of four places.
async fn load(shedder: &Shedder, pause: Duration, classes: &[Priority]) -> Vec<Ended> {
    let layer = ShedLayer::new(shedder.clone(), |priority: &Priority| *priority);
    let mut calls = JoinSet::new();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        for (place, priority) in classes.iter().copied().enumerate() {
            let service = layer.layer(service_fn(async |_: Priority| {
                sleep(10 * MS).await;
                Ok::<_, Infallible>(())
            }));
            calls.spawn(async move {
                let start = Instant::now();
                (place, service.oneshot(priority).await, start.elapsed())
            });
        }
        sleep(pause).await;
    }
    let mut ended = vec![Ended::default(); classes.len()];
    for (place, answer, took) in calls.join_all().await {
        let its = &mut ended[place];
        match answer {
            Ok(()) => (its.served, its.slowest) = (its.served + 1, its.slowest.max(took)),
            Err(Error::Rejected(rejected)) if matches!(rejected.reason, Reason::Shed { .. }) => its.shed += 1,
            Err(_) => its.other += 1,
        }
    }
    ended
}

#[tokio::test(start_paused = true)]
async fn under_overload_the_lowest_class_is_shed_and_the_others_are_served_in_time() {
    let seen: Arc<Seen> = Arc::default();
    let shedder = shedder(&seen);
    // 400 a second can be served, 600 come.
    let classes = [Priority::Low, Priority::Normal, Priority::Critical];
    load(&shedder, 5 * MS, &classes).await;
    let told = || {
        let is_shed = |event: &&Event| matches!(event, Event::Rejected(it) if it.policy == "shed");
        seen.0.lock().unwrap().iter().filter(is_shed).count()
    };
    let told_before = told();
    let [low, normal, critical] = load(&shedder, 5 * MS, &classes).await[..] else { panic!("three classes") };
    assert!(low.shed > 250, "{low:?}");
    assert!(normal.shed < 80 && normal.other == 0, "{normal:?}");
    assert!(critical.shed + critical.other == 0, "{critical:?}");
    assert!(critical.slowest < 150 * MS, "{critical:?}: without shedding, the queue's 250 ms");
    assert!(
        low.served + normal.served + critical.served > 700,
        "nothing is shed that could have been served"
    );
    sleep(Duration::from_secs(5)).await;
    assert_eq!(shedder.shedding(Priority::Low, TokioClock.now()), 0.0);
    let levels: Vec<Event> = seen.0.lock().unwrap().clone();
    let levels: Vec<_> = levels.into_iter().filter(|event| !matches!(event, Event::Rejected(_))).collect();
    assert_eq!(told() - told_before, (low.shed + normal.shed + critical.shed) as usize);
    assert!(levels.iter().all(|event| matches!(event, Event::ShedLevelChanged { from, to } if from != to)));
    assert_eq!(levels.first(), Some(&Event::ShedLevelChanged { from: 0, to: 2 }));
    assert!(matches!(levels.last(), Some(Event::ShedLevelChanged { to: 0, .. })));
}

#[tokio::test(start_paused = true)]
async fn below_its_limit_and_in_a_burst_nothing_is_shed() {
    let seen = Arc::default();
    let shedder = shedder(&seen);
    let ended = load(&shedder, 10 * MS, &[Priority::Low; 3]).await;
    assert!(ended.iter().all(|its| its.shed + its.other == 0), "{ended:?}");
    // Thirty at once take 80 ms, less than an interval.
    for _ in 0..20 {
        let mut burst = JoinSet::new();
        for _ in 0..30 {
            let shedder = shedder.clone();
            burst.spawn(async move {
                let _permit = shedder.acquire(Priority::Low).await.unwrap();
                sleep(10 * MS).await;
            });
        }
        burst.join_all().await;
        sleep(120 * MS).await;
    }
    assert!(seen.0.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn calls_that_hang_shed_too_and_given_up_at_any_point_a_caller_leaves_nothing_behind() {
    let seen = Arc::default();
    let shedder = shedder(&seen);
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(shedder.acquire(Priority::Low).await.unwrap());
    }
    let mut waiting = JoinSet::new();
    for _ in 0..3 {
        let shedder = shedder.clone();
        waiting.spawn(async move { shedder.acquire(Priority::Critical).await.map(drop) });
    }
    for _ in 0..40 {
        let gave_up = tokio::time::timeout(10 * MS, shedder.acquire(Priority::Critical)).await;
        assert!(gave_up.is_err());
    }
    assert_eq!(shedder.limit().waiting(), 3);
    assert!(shedder.shedding(Priority::Low, TokioClock.now()) >= 0.5, "nobody left the queue for 400 ms");
    drop(held);
    assert!(waiting.join_all().await.iter().all(Result::is_ok));
    assert_eq!((shedder.limit().in_flight(), shedder.limit().waiting()), (0, 0));
}

#[test]
fn all_mistakes_come_together() {
    let concurrency = Concurrency { queue: 2_000_000, ..Concurrency::default() };
    let config = Shed { target: Duration::ZERO, interval: Duration::ZERO, concurrency, ..Shed::default() };
    let errors = config.validate().unwrap_err();
    let paths = errors.paths();
    assert_eq!(paths, ["shed.target", "shed.interval", "shed.concurrency.queue"]);
}
