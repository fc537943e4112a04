//! Processes are killed at random moments under load. No order is lost, charged twice or shipped twice.

use leeward_tests::crash::{DEEP_ROUNDS, Plan, run};
use leeward_tests::oracle::listed;
use leeward_tests::{Shop, Topology};

use crate::on_both;

on_both!(killed_at_random);

async fn killed_at_random(topology: Topology) {
    let plan = Plan::from_env();
    let mut shop = Shop::open(topology).await;
    let report = run(&mut shop, plan).await;
    assert!(
        report.violations.is_empty(),
        "{} violations:\n{}",
        report.violations.len(),
        listed(&report.violations)
    );
    assert_eq!(report.rounds, plan.rounds, "too many rounds in which no saga was under way");
    assert!(report.voided > 0, "no payment was voided in {} rounds", report.rounds);
    println!(
        "{topology:?}: {} rounds, {} payments voided, sagas by step at the kills: {:?}, missed {:?}",
        report.rounds,
        report.voided,
        report.steps,
        report.missed()
    );
    if plan.rounds >= DEEP_ROUNDS {
        assert_eq!(report.missed(), [""; 0], "steps that no kill has met");
    }
}
