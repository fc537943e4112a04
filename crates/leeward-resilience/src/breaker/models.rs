//! Every interleaving of two or three callers of a breaker, through what everybody can call.

mod changes;

use std::num::NonZeroU32;
use std::sync::Mutex;

use loom::sync::Arc;
use loom::thread;

use super::*;
use crate::time::ManualClock;

#[derive(Debug, Default)]
struct Seen(Mutex<Vec<(State, State)>>);

impl Observer for Seen {
    fn observe(&self, _: &str, event: &Event) {
        if let Event::BreakerChanged { from, to } = *event {
            self.0.lock().unwrap().push((from, to));
        }
    }
}

impl Seen {
    fn opened(&self) -> usize {
        self.0.lock().unwrap().iter().filter(|(_, to)| *to == State::Open).count()
    }
}

struct Scene {
    breaker: CircuitBreaker,
    clock: ManualClock,
    seen: std::sync::Arc<Seen>,
}

impl Scene {
    /// Opens after so many failures in a row, and closes after so many probes.
    fn new(consecutive: u32, probes: u32) -> Arc<Self> {
        Self::with(Breaker {
            consecutive_failures: NonZeroU32::new(consecutive),
            probes: NonZeroU32::new(probes).unwrap(),
            ..Breaker::default()
        })
    }

    fn with(config: Breaker) -> Arc<Self> {
        let (clock, seen) = (ManualClock::new(), std::sync::Arc::<Seen>::default());
        let (its_clock, rng) = (std::sync::Arc::new(clock.clone()), std::sync::Arc::new(FastRng::seeded(1)));
        let breaker = CircuitBreaker::with("loom", config, its_clock, rng, Some(seen.clone())).unwrap();
        Arc::new(Self { breaker, clock, seen })
    }

    fn half_open(probes: u32) -> Arc<Self> {
        let scene = Self::new(1, probes);
        scene.acquire().unwrap().failure(scene.clock.now());
        scene.clock.advance(Duration::from_secs(7));
        assert_eq!(scene.state(), State::HalfOpen);
        scene
    }

    fn acquire(&self) -> Result<Permit, Rejected> {
        self.breaker.acquire(self.clock.now())
    }

    fn state(&self) -> State {
        self.breaker.state(self.clock.now())
    }
}

fn spawn<T: 'static>(scene: &Arc<Scene>, run: impl FnOnce(&Scene) -> T + 'static) -> thread::JoinHandle<T> {
    let scene = Arc::clone(scene);
    thread::spawn(move || run(&scene))
}

#[test]
fn loom_failures_of_several_threads_open_it_exactly_once() {
    loom::model(|| {
        let scene = Scene::new(2, 1);
        let permits = [(); 3].map(|()| scene.acquire().unwrap());
        let threads = permits.map(|permit| spawn(&scene, move |scene| permit.failure(scene.clock.now())));
        let _ = threads.map(|thread| thread.join().unwrap());
        assert_eq!((scene.state(), scene.seen.opened()), (State::Open, 1));
        assert!(scene.acquire().is_err());
    });
}

#[test]
fn loom_no_success_undoes_a_break() {
    loom::model(|| {
        let scene = Scene::new(1, 1);
        let (fails, succeeds) = (scene.acquire().unwrap(), scene.acquire().unwrap());
        let failure = spawn(&scene, move |scene| fails.failure(scene.clock.now()));
        let success = spawn(&scene, move |scene| succeeds.success(scene.clock.now()));
        let third = scene.acquire();
        failure.join().unwrap();
        success.join().unwrap();
        assert_eq!((scene.state(), scene.seen.opened()), (State::Open, 1));
        // Whoever passed before the break ends after it: stale.
        if let Ok(permit) = third {
            permit.success(scene.clock.now());
        }
        assert_eq!(scene.state(), State::Open);
    });
}

#[test]
fn loom_every_success_counts_in_the_rate() {
    loom::model(|| {
        let clock = ManualClock::new();
        let config = Breaker {
            consecutive_failures: None,
            minimum_calls: NonZeroU32::new(4).unwrap(),
            ..Breaker::default()
        };
        let (its_clock, rng) = (std::sync::Arc::new(clock.clone()), std::sync::Arc::new(FastRng::seeded(1)));
        let breaker = CircuitBreaker::with("loom", config, its_clock, rng, None).unwrap();
        let succeed = |breaker: &CircuitBreaker, clock: &ManualClock| {
            breaker.acquire(clock.now()).unwrap().success(clock.now());
        };
        // The first of a tenth may be counted in another way than those after it.
        succeed(&breaker, &clock);
        let thread = thread::spawn({
            let (breaker, clock) = (breaker.clone(), clock.clone());
            move || succeed(&breaker, &clock)
        });
        succeed(&breaker, &clock);
        thread.join().unwrap();
        // Three good ones: two bad ones are less than a half, three are a half.
        for expected in [State::Closed, State::Closed, State::Open] {
            breaker.acquire(clock.now()).unwrap().failure(clock.now());
            assert_eq!(breaker.state(clock.now()), expected);
        }
    });
}

#[test]
fn loom_one_probe_passes_and_a_dropped_one_is_not_lost() {
    loom::model(|| {
        let scene = Scene::half_open(2);
        // Dropped at once: the other may come before, meanwhile or after.
        let drops = spawn(&scene, |scene| scene.acquire().is_ok());
        let holds = scene.acquire();
        let dropped = drops.join().unwrap();
        assert!(dropped || holds.is_ok(), "one of them was first");
        if holds.is_ok() {
            assert!(scene.acquire().is_err(), "one at a time");
        }
        drop(holds);
        assert_eq!(scene.state(), State::HalfOpen);
        let next = scene.acquire().expect("no probe is lost");
        assert!(scene.acquire().is_err());
        next.success(scene.clock.now());
    });
}

#[test]
fn loom_the_probes_close_it_once_or_open_it_once() {
    loom::model(|| {
        let scene = Scene::half_open(2);
        scene.acquire().unwrap().success(scene.clock.now());
        // Two may run now: one success more closes it, a failure opens it again, whichever comes first.
        let (good, bad) = (scene.acquire().unwrap(), scene.acquire().unwrap());
        assert!(scene.acquire().is_err());
        let good = spawn(&scene, move |scene| good.success(scene.clock.now()));
        let bad = spawn(&scene, move |scene| bad.failure(scene.clock.now()));
        good.join().unwrap();
        bad.join().unwrap();
        let changes = scene.seen.0.lock().unwrap().len();
        assert_eq!(changes, 3, "opened, half-open, and one change more: the other outcome was stale");
        assert!(matches!(scene.state(), State::Closed | State::Open));
    });
}

#[test]
fn loom_a_stale_outcome_does_not_count_for_the_probe() {
    loom::model(|| {
        let scene = Scene::new(1, 2);
        let (stale, opens) = (scene.acquire().unwrap(), scene.acquire().unwrap());
        opens.failure(scene.clock.now());
        scene.clock.advance(Duration::from_secs(7));
        let late = spawn(&scene, move |scene| stale.failure(scene.clock.now()));
        let probe = scene.acquire().expect("the first probe");
        probe.success(scene.clock.now());
        late.join().unwrap();
        assert_eq!((scene.state(), scene.seen.opened()), (State::HalfOpen, 1));
        assert!(scene.acquire().is_ok());
    });
}
