//! Shops with one protection left out. The same rounds and the same oracle must turn red on each, or they prove nothing.

use leeward_tests::crash::{Plan, run};
use leeward_tests::oracle::{Rule, listed};
use leeward_tests::{Options, Topology};

/// Rounds within which what is missing must be missed.
const ROUNDS_MAX: u64 = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_inbox_something_happens_twice() {
    let rules = [Rule::Message, Rule::Stock, Rule::Shipment, Rule::Return];
    must_turn_red(env!("CARGO_BIN_EXE_shop-without-inbox"), &rules).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_providers_key_money_is_set_aside_or_taken_twice() {
    must_turn_red(env!("CARGO_BIN_EXE_shop-without-provider-key"), &[Rule::Provider, Rule::Money]).await;
}

/// Runs rounds on `program` until one of `rules` is broken.
async fn must_turn_red(program: &str, rules: &[Rule]) {
    let mut shop = Options::new(Topology::One).program(program).open().await;
    let plan = Plan { rounds: ROUNDS_MAX, ..Plan::from_env() };
    let report = run(&mut shop, plan).await;
    let missed: Vec<_> =
        report.violations.iter().filter(|violation| rules.contains(&violation.rule)).cloned().collect();
    assert!(
        !missed.is_empty(),
        "after {} rounds the oracle sees nothing of {rules:?}:\n{}",
        report.rounds,
        listed(&report.violations)
    );
    println!("{program} turned red, as it must:\n{}", listed(&missed));
}
