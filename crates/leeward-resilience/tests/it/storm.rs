//! The storm runner and its example.

use std::num::NonZeroU32;
use std::time::Duration;

use leeward_resilience::storm::{Client, Report, Service, Storm, Upstream, Weather};
use leeward_resilience::{Breaker, Retry};

#[path = "../../examples/retry_storm.rs"]
mod retry_storm;

const SECOND: Duration = Duration::from_secs(1);

fn total(report: &Report, count: impl Fn(&leeward_resilience::storm::Second) -> u32) -> u32 {
    report.seconds.iter().map(count).sum()
}

/// Defect 7: without a budget the outage outlives its cause, with it the upstream recovers.
#[test]
fn defect_7_a_retry_storm_needs_no_cause_to_go_on_unless_there_is_a_budget() {
    let without = retry_storm::outage(false).unwrap();
    let with = retry_storm::outage(true).unwrap();
    for report in [&without, &with] {
        assert!(report.goodput(0, 10) > 0.98 && report.goodput(11, 15) < 0.3);
        assert!(report.amplification(0, 10) < 1.05);
    }
    assert!(without.goodput(25, 40) < 0.2, "{}", without.picture());
    assert!(without.amplification(25, 40) > 2.5, "{}", without.picture());
    assert!(with.goodput(25, 40) > 0.95, "{}", with.picture());
    assert!(with.amplification(10, 40) < 1.21, "{}", with.picture());
    assert!(total(&with, |it| it.budget_refused) > 0 && total(&without, |it| it.budget_refused) == 0);
}

#[test]
fn the_example_shows_both() {
    let picture = retry_storm::text(false).unwrap();
    assert!(picture.contains("without a retry budget: ten seconds after") && picture.contains("###"));
    assert_eq!(retry_storm::text(true).unwrap().lines().filter(|line| line.starts_with("39,")).count(), 2);
    retry_storm::main().unwrap();
}

#[test]
fn the_same_seed_gives_the_same_numbers_and_another_one_others() {
    let run = |seed| Storm { seed, seconds: 5, ..Storm::default() }.run().unwrap();
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
    assert_eq!(run(7).csv(), run(7).csv());
}

/// One worker that is half busy, with a queue that is long enough.
#[test]
fn every_call_ends_once_and_nothing_is_lost_in_good_weather() {
    let service = Service::Fixed(Duration::from_millis(1));
    let upstream = Upstream { workers: NonZeroU32::MIN, queue: 1000, service };
    let client = Client { retry: None, ..Client::default() };
    let calls_per_second = NonZeroU32::new(500).unwrap();
    let report = Storm { calls_per_second, upstream, client, seconds: 20, ..Storm::default() }.run().unwrap();
    let (offered, good) = (total(&report, |it| it.offered), total(&report, |it| it.good));
    assert!(offered.abs_diff(10_000) < 400, "{offered}");
    assert!(offered - good <= 5, "only those on their way at the end are missing");
    assert_eq!((total(&report, |it| it.attempts), total(&report, |it| it.lost)), (offered, 0));
}

#[test]
fn an_upstream_that_fails_in_part_is_seen_in_that_part() {
    let client = Client { retry: None, ..Client::default() };
    let script = vec![(Duration::ZERO, Weather::Failing(0.3))];
    let report = Storm { client, script, ..Storm::default() }.run().unwrap();
    assert!((report.goodput(0, 60) - 0.7).abs() < 0.02, "{}", report.goodput(0, 60));
}

#[test]
fn a_breaker_spares_an_upstream_that_is_down_and_lets_it_come_back() {
    let storm = |breaker| {
        let client = Client { breaker, retry: Some(Retry::default()), ..Client::default() };
        let script = vec![(10 * SECOND, Weather::Down), (20 * SECOND, Weather::Well)];
        Storm { client, script, ..Storm::default() }.run().unwrap()
    };
    let (with, without) = (storm(Some(Breaker::default())), storm(None));
    assert!(without.amplification(10, 20) > 1.1, "{}", without.picture());
    assert!(with.amplification(11, 20) < 0.1, "{}", with.picture());
    assert!(total(&with, |it| it.breaker_refused) > 5000);
    assert!(with.goodput(40, 60) > 0.98, "{}", with.picture());
}

/// Defect 7: what an open breaker would refuse is not sent again.
#[test]
fn defect_7_an_open_breaker_is_not_retried() {
    let breaker = Breaker {
        consecutive_failures: Some(NonZeroU32::MIN),
        break_initial: 60 * SECOND,
        ..Breaker::default()
    };
    let client = Client { breaker: Some(breaker), ..Client::default() };
    let script = vec![(Duration::ZERO, Weather::Down)];
    let report = Storm { client, script, seconds: 30, ..Storm::default() }.run().unwrap();
    assert_eq!(total(&report, |it| it.attempts), 1);
    assert_eq!(total(&report, |it| it.breaker_refused), total(&report, |it| it.offered) - 1);
}

/// Defect 7: each call brings its fifth of a retry once, however long the outage is.
#[test]
fn defect_7_an_outage_adds_a_fifth_of_the_load_and_no_more() {
    let script = vec![(Duration::ZERO, Weather::Down)];
    let report = Storm { script, ..Storm::default() }.run().unwrap();
    let times = report.amplification(10, 60);
    assert!((1.17..1.21).contains(&times), "{times}");
}

#[test]
fn a_full_queue_refuses_and_late_answers_are_wasted() {
    let upstream = Upstream { workers: NonZeroU32::MIN, queue: 50, ..Upstream::default() };
    let client = Client { retry: None, ..Client::default() };
    let report = Storm { upstream, client, ..Storm::default() }.run().unwrap();
    assert!(total(&report, |it| it.queue_full) > 10_000);
    assert!(total(&report, |it| it.wasted) > 1000 && total(&report, |it| it.timed_out) > 1000);
    // A worker does not know who gave up: it works through all that came in, a hundred a second and no more.
    let accepted = total(&report, |it| it.attempts) - total(&report, |it| it.queue_full);
    assert!((5_700..6_300).contains(&accepted), "{accepted}");
    let ended = total(&report, |it| it.good) + total(&report, |it| it.lost);
    assert!(total(&report, |it| it.offered) - ended <= 51);
}

#[test]
fn every_mistake_is_reported_at_once() {
    let client = Client { attempt_timeout: 9 * SECOND, ..Client::default() };
    let script = vec![(SECOND, Weather::Slow(0.5))];
    let errors = Storm { seconds: 0, client, script, ..Storm::default() }.run().unwrap_err();
    let paths = errors.paths();
    assert_eq!(paths, ["storm.seconds", "storm.client.attempt_timeout", "storm.script"]);
    let years = Storm { seconds: 3600, calls_per_second: NonZeroU32::MAX, ..Storm::default() };
    assert_eq!(years.run().unwrap_err().mistakes[0].path, "storm.calls_per_second");
}
