//! Every interleaving of two calls through an adaptive limit.

use std::num::NonZeroU32;

use loom::thread;

use super::*;
use crate::time::ManualClock;

#[test]
fn loom_permits_come_back_whatever_becomes_of_the_limit() {
    loom::model(|| {
        let clock = ManualClock::new();
        let two = NonZeroU32::new(2).unwrap();
        let config = Adaptive {
            limit_min: NonZeroU32::MIN,
            limit_initial: two,
            limit_max: two,
            ..Adaptive::default()
        };
        let limit = AdaptiveLimit::with("loom", config, Arc::new(clock.clone()), None).unwrap();
        let overloaded = thread::spawn({
            let (limit, clock) = (limit.clone(), clock.clone());
            move || limit.acquire(clock.now()).unwrap().overload(clock.now())
        });
        let here = limit.acquire(clock.now());
        assert!(here.is_ok() || limit.limit() == 1, "two at a time, or one after the overload");
        drop(here);
        overloaded.join().unwrap();
        assert_eq!((limit.limit(), limit.in_flight()), (1, 0));
        let one = limit.acquire(clock.now()).unwrap();
        assert!(limit.acquire(clock.now()).is_err());
        one.success(clock.now());
    });
}
