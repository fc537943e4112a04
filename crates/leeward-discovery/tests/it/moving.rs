//! Endpoint sets that change while calls run.

use std::time::Duration;

use leeward_discovery::{Algorithm, Balance, Directory, Endpoint, Outlier, PeakEwma, PickHint};
use leeward_resilience::{Class, Clock, FastRng, TokioClock};

use crate::{World, endpoint};

#[test]
fn a_service_moves_out_and_back_under_its_callers() {
    let directory = Directory::new();
    let inventory = directory.upstream("inventory");
    let mut seen = inventory.watch();
    let here = Endpoint::parse("http://127.0.0.1:40001").unwrap();
    let there = Endpoint::parse("http://10.0.0.9:4003").unwrap();
    let target = || inventory.pick(TokioClock.now(), &PickHint::default()).unwrap();
    assert!(inventory.pick(TokioClock.now(), &PickHint::default()).is_err());
    directory.set("inventory", [here.clone()]);
    let old = target();
    assert_eq!(*old.endpoint(), here);
    directory.set("inventory", [there.clone()]);
    assert_eq!(*target().endpoint(), there);
    assert!(seen.has_changed().unwrap());
    seen.mark_unchanged();
    // The call that was on its way ends as if nothing had happened.
    old.report(Class::Success, TokioClock.now());
    directory.set("inventory", [here.clone()]);
    assert_eq!(*target().endpoint(), here);
    directory.clear("inventory");
    assert!(inventory.pick(TokioClock.now(), &PickHint::default()).is_err());
}

#[test]
fn who_stays_keeps_its_history_and_who_is_new_starts_like_the_others() {
    let world = World::with(Balance::default(), 2);
    let before = world.pick_and_fail_until_ejected();
    let kept = world.upstream.endpoints();
    world.directory.set("inventory", [endpoint(0), endpoint(1), endpoint(2)]);
    let after = world.upstream.endpoints();
    assert_eq!(after[..2], kept[..]);
    assert!(after.iter().any(|it| it.ejected_for.is_some() && *it.endpoint.id() == before));
    assert_eq!(after[2].latency, (kept[0].latency + kept[1].latency) / 2);
    // The same id at another URL is another endpoint.
    let moved = Endpoint::parse("http://10.9.9.9:1").unwrap().with_id(before);
    world.directory.set("inventory", [moved]);
    assert_eq!(world.upstream.endpoints()[0].ejected_for, None);
}

impl World {
    fn pick_and_fail_until_ejected(&self) -> std::sync::Arc<str> {
        loop {
            let picked = self.upstream.pick(self.clock.now(), &PickHint::default()).unwrap();
            let id = picked.endpoint().id().clone();
            self.clock.advance(Duration::from_millis(3));
            let class = if *id == *"e0" { Class::RETRYABLE } else { Class::Success };
            picked.report(class, self.clock.now());
            if self.upstream.endpoints().iter().any(|it| it.ejected_for.is_some()) {
                return id;
            }
        }
    }
}

#[test]
fn setting_the_same_again_changes_nothing() {
    let world = World::new(3);
    let (seen, all) = (world.upstream.watch(), world.directory.watch());
    world.directory.set("inventory", [endpoint(0), endpoint(1), endpoint(2), endpoint(1)]);
    assert_eq!((seen.has_changed().unwrap(), all.has_changed().unwrap()), (false, false));
    world.directory.set("inventory", [endpoint(0)]);
    assert_eq!((seen.has_changed().unwrap(), all.has_changed().unwrap()), (true, true));
    assert_eq!(world.upstream.endpoints().len(), 1);
}

#[test]
fn services_are_listed_by_name_and_shared_by_clones() {
    let directory = Directory::new();
    assert!(directory.service("orders").is_none());
    directory.clone().set("orders", [endpoint(1)]);
    directory.set("carts", [endpoint(2)]);
    let names: Vec<_> = directory.services().iter().map(|it| it.name().to_string()).collect();
    assert_eq!(names, ["carts", "orders"]);
    assert!(directory.service("orders").unwrap().is_available());
}

#[test]
fn mistakes_are_reported_together() {
    let outlier = Some(Outlier { ejected_share_max: 2.0, ..Outlier::default() });
    let algorithm = Algorithm::PeakEwma(PeakEwma { decay: Duration::ZERO });
    let wrong = Balance { algorithm, outstanding_max: 0, outlier, ..Balance::default() };
    let rng = std::sync::Arc::new(FastRng::seeded(1));
    let errors = Directory::with(wrong, std::sync::Arc::new(TokioClock), rng).unwrap_err();
    assert_eq!(
        errors.paths(),
        ["balance.peak_ewma.decay", "endpoint_concurrency_limit", "outlier_ejection.ejected_share_max"]
    );
    assert!(TokioClock.now() > leeward_resilience::Instant::ZERO);
}

#[test]
fn a_name_that_came_to_nothing_is_forgotten_and_one_that_somebody_uses_is_not() {
    let directory = Directory::new();
    drop(directory.upstream("nobodys"));
    assert!(directory.forget_unused("nobodys") && directory.service("nobodys").is_none());
    assert!(!directory.forget_unused("unheard-of"));
    // Somebody put it there meanwhile, or waits for it.
    directory.set("theirs", [endpoint(0)]);
    let waited_for = directory.upstream("waited-for");
    assert!(!directory.forget_unused("theirs") && !directory.forget_unused("waited-for"));
    directory.set("waited-for", [endpoint(1)]);
    assert_eq!((waited_for.endpoints().len(), directory.upstream("theirs").endpoints().len()), (1, 1));
}

#[test]
fn what_a_service_does_after_it_was_forgotten_is_shown_nowhere() {
    let world = World::new(2);
    let registry = leeward_telemetry::metrics::Registry::new();
    world.directory.export(&registry);
    let shown = || registry.encode().contains("leeward_endpoints{service=\"inventory\"}");
    assert!(shown());
    world.directory.remove("inventory");
    assert!(!shown());
    // Calls that are on their way still find it, and may have it say how it is.
    world.pick_and_fail_until_ejected();
    assert!(!shown());
}
