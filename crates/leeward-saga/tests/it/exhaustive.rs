//! Every crash and every outcome of every step, and that the harness goes red when it must.

use leeward_saga::testing::exhaust;

use crate::shop::Shop;

#[tokio::test]
async fn the_checkout_survives_everything() {
    let report = exhaust(Shop::default).await.unwrap_or_else(|failures| panic!("{failures}"));
    // 6 steps that can die and 3 undos, each at 3 moments, and both ends.
    assert_eq!(report.crashes, 6 * 3 + 3 * 3 + 2 * 3);
    // Four outcomes each, three where effect and record are one.
    assert_eq!(report.outcomes, 4 * 4 + 2 * 3 + 2 * 4 + 3);
}

#[tokio::test]
async fn a_participant_without_idempotency_is_found_out() {
    let failures = exhaust(|| Shop { forgets_keys: true, ..Shop::default() }).await.unwrap_err();
    let found = |words: &str| failures.failures.iter().any(|failure| failure.scenario.contains(words));
    assert!(found("after the effect of `capture`"), "{failures}");
    assert!(found("`authorise` happens, and its outcome is unknown"), "{failures}");
    assert!(!found("no trouble") && !found("before the effect of `capture`"), "{failures}");
}

#[tokio::test]
async fn an_undo_that_does_nothing_is_found_out() {
    let failures = exhaust(|| Shop { forgets_to_void: true, ..Shop::default() }).await.unwrap_err();
    assert!(
        failures.failures.iter().any(|failure| failure.scenario == "compensating, no trouble"),
        "{failures}"
    );
    assert!(!failures.failures.iter().any(|failure| failure.scenario == "no trouble"), "{failures}");
}
