//! Outcomes that are recorded while another thread gives the breaker another state: each counts for the state that gave its
//! permit, or for none.

use super::*;
use crate::outcome::Class;

type Change = fn(&Scene);

/// Each of them ends closed, with an empty window.
const ANEW: [Change; 3] = [
    |scene| scene.breaker.reset(),
    |scene| {
        scene.breaker.force_open();
        scene.breaker.reset();
    },
    |scene| {
        scene.breaker.force_closed();
        scene.breaker.reset();
    },
];

type End = fn(Permit, &Scene);

/// With the time of its end, and without.
const SUCCEED: [End; 2] =
    [|permit, scene| permit.success(scene.clock.now()), |permit, _| permit.finish(Class::Success)];

impl Scene {
    /// Opens by the rate alone: as soon as the failures are more than the successes.
    fn by_rate() -> Arc<Self> {
        Self::with(rated(None))
    }

    fn succeed(&self) {
        self.acquire().unwrap().success(self.clock.now());
    }

    /// How many successes a closed breaker without failures has counted: that many failures do not open it, one more does.
    fn successes_counted(&self) -> u32 {
        for failures in 0..8 {
            self.acquire().unwrap().failure(self.clock.now());
            if self.state() == State::Open {
                return failures;
            }
        }
        panic!("it does not open");
    }
}

fn rated(window_calls: Option<u32>) -> Breaker {
    Breaker {
        failure_rate: 0.51,
        minimum_calls: NonZeroU32::MIN,
        window_calls: window_calls.and_then(NonZeroU32::new),
        consecutive_failures: None,
        probes: NonZeroU32::MIN,
        ..Breaker::default()
    }
}

#[test]
fn loom_no_success_of_before_counts_in_a_window_that_begins_meanwhile() {
    for (change, end) in ANEW.into_iter().flat_map(|change| SUCCEED.map(|end| (change, end))) {
        loom::model(move || {
            let scene = Scene::by_rate();
            scene.succeed();
            let stale = scene.acquire().unwrap();
            let late = spawn(&scene, move |scene| end(stale, scene));
            change(&scene);
            scene.succeed();
            late.join().unwrap();
            assert_eq!(scene.successes_counted(), 1, "the one after the change");
        });
    }
}

#[test]
fn loom_no_success_of_before_counts_in_a_breaker_that_closes_meanwhile() {
    for end in SUCCEED {
        loom::model(move || {
            let scene = Scene::by_rate();
            scene.succeed();
            let stale = scene.acquire().unwrap();
            while let Ok(permit) = scene.acquire() {
                permit.failure(scene.clock.now());
            }
            scene.clock.advance(Duration::from_secs(7));
            let probe = scene.acquire().unwrap();
            let late = spawn(&scene, move |scene| end(stale, scene));
            probe.success(scene.clock.now());
            late.join().unwrap();
            assert_eq!(scene.state(), State::Closed);
            assert_eq!(scene.successes_counted(), 0);
        });
    }
}

#[test]
fn loom_a_success_during_a_change_of_the_window_is_in_one_of_the_two() {
    loom::model(|| {
        let scene = Scene::by_rate();
        scene.succeed();
        scene.succeed();
        let running = scene.acquire().unwrap();
        let ends = spawn(&scene, move |scene| running.success(scene.clock.now()));
        scene.breaker.reconfigure(rated(Some(16))).unwrap();
        scene.succeed();
        ends.join().unwrap();
        let counted = scene.successes_counted();
        assert!(counted == 1 || counted == 2, "{counted}: the new window is empty at first");
    });
}

#[test]
fn loom_no_failure_of_before_opens_a_breaker_that_begins_anew_meanwhile() {
    for change in ANEW {
        loom::model(move || {
            let scene = Scene::new(2, 1);
            scene.acquire().unwrap().failure(scene.clock.now());
            let stale = scene.acquire().unwrap();
            let late = spawn(&scene, move |scene| stale.failure(scene.clock.now()));
            change(&scene);
            scene.acquire().expect("closed").failure(scene.clock.now());
            late.join().unwrap();
            assert_eq!(scene.state(), State::Closed, "one failure of the new state");
            scene.acquire().unwrap().failure(scene.clock.now());
            assert_eq!(scene.state(), State::Open, "two");
        });
    }
}
