//! What a policy's handle says about itself: its name, its options, and what is printed of it.

use std::sync::Arc;
use std::time::Duration;

use leeward_resilience::{
    Adaptive, AdaptiveLimit, Budget, Clock, Hedge, Hedger, Retry, RetryBudget, RetryPolicy, Throttle,
    Throttler, TokioClock,
};

#[tokio::test(start_paused = true)]
async fn a_handle_knows_its_name_and_its_options() {
    let options = Adaptive { abandoned_after: Duration::from_secs(7), ..Adaptive::default() };
    let adaptive = AdaptiveLimit::new("search", options.clone()).unwrap();
    assert_eq!((adaptive.name(), adaptive.config()), ("search", options));
    assert!(format!("{adaptive:?}").starts_with("AdaptiveLimit {"));
    assert_eq!(format!("{:?}", adaptive.acquire(TokioClock.now()).unwrap()), "Permit { open: true }");

    let options = Retry { max_retries: 1, ..Retry::default() };
    let retry = RetryPolicy::new("search", options.clone()).unwrap();
    assert_eq!((retry.name(), retry.config()), ("search", options));
    assert!(format!("{retry:?}").starts_with("RetryPolicy {"));
    assert!(RetryPolicy::new("search", Retry { max_retries: 99, ..Retry::default() }).is_err());
    assert!(retry.reconfigure(Retry { max_retries: 99, ..Retry::default() }).is_err());

    let options = Budget { floor: 3, ..Budget::default() };
    let budget = RetryBudget::new(&options, TokioClock.now()).unwrap();
    assert_eq!((budget.version(), budget.config()), (1, options));
    assert!(format!("{budget:?}").starts_with("RetryBudget {"));

    let options = Hedge { max_hedges: 2, ..Hedge::default() };
    let hedger = Hedger::with("search", options.clone(), None, Arc::new(TokioClock), None).unwrap();
    assert_eq!((hedger.name(), hedger.config()), ("search", options));
    assert!(format!("{hedger:?}").starts_with("Hedger {"));

    let options = Throttle { k: 3.0, ..Throttle::default() };
    assert_eq!(Throttler::new(options.clone()).unwrap().config(), options);
}
