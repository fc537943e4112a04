//! The storm runner and its example.

use std::num::NonZeroU32;
use std::time::Duration;

use leeward_resilience::hedge::Delay;
use leeward_resilience::rate::Rule;
use leeward_resilience::storm::{Client, Report, Service, Storm, Upstream, Weather};
use leeward_resilience::{Breaker, Budget, Concurrency, Hedge, Mode, Order, RateLimit, Retry, SlidingWindow};

#[path = "../../examples/retry_storm.rs"]
mod retry_storm;

const MS: Duration = Duration::from_millis(1);
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

/// 1,300 calls a second for an upstream that manages 1,000, from a client that gives up after 250 ms and retries nothing.
fn overload(client: Client) -> Report {
    let service = Service::Fixed(10 * MS);
    let client = Client { retry: None, ..client };
    let calls_per_second = NonZeroU32::new(1_300).unwrap();
    let upstream = Upstream { service, ..Upstream::default() };
    Storm { calls_per_second, upstream, client, seconds: 30, ..Storm::default() }.run().unwrap()
}

/// The naive model of an upstream: a tank of attempts, millisecond by millisecond, into which so many a second flow evenly.
/// How many of those that flowed in are served before their callers give up, for each that was offered.
fn tank(offered_per_second: f64, let_in_per_second: f64) -> f64 {
    let (served_per_ms, places, patience_ms) = (1.0, 510.0, 250.0);
    let (mut level, mut good) = (0.0_f64, 0.0);
    for _ in 0..30_000 {
        // Whoever comes waits for all that is in the tank.
        if level / served_per_ms <= patience_ms {
            good += let_in_per_second / 1_000.0;
        }
        level = (level + let_in_per_second / 1_000.0 - served_per_ms).clamp(0.0, places);
    }
    good / (offered_per_second * 30.0)
}

#[test]
fn a_rate_limit_below_what_an_upstream_manages_saves_it_from_overload() {
    let count = |number| NonZeroU32::new(number).unwrap();
    let without = overload(Client::default());
    assert!((without.goodput(0, 30) - tank(1_300.0, 1_300.0)).abs() < 0.01, "{}", without.picture());
    assert!(without.goodput(5, 30) < 0.01 && (without.amplification(0, 30) - 1.0).abs() < 1e-9);
    for rule in [
        RateLimit { burst: count(10), ..RateLimit::per_second(count(900)) }.into(),
        SlidingWindow { period: 100 * MS, ..SlidingWindow::per_second(count(90)) }.into(),
    ] {
        let with = overload(Client { rate_limit: Some(rule), ..Client::default() });
        // A sliding window gives back up to a tenth late.
        let least = if matches!(rule, Rule::SlidingWindow(_)) { 900.0 * 10.0 / 11.0 } else { 890.0 };
        let (least, most) = (tank(1_300.0, least) - 0.01, tank(1_300.0, 901.0) + 0.01);
        assert!((least..most).contains(&with.goodput(0, 30)), "{least} {most} {}", with.goodput(0, 30));
        assert!((with.amplification(0, 30) - with.goodput(0, 30)).abs() < 0.01, "nothing was sent in vain");
        let refused = total(&with, |it| it.rate_refused);
        assert_eq!(refused + total(&with, |it| it.attempts), total(&with, |it| it.offered));
        assert_eq!(refused, total(&with, |it| it.lost));
    }
}

/// Erlang's formula: the share of calls that find all of so many lines taken.
fn erlang_b(load: f64, lines: u32) -> f64 {
    (1..=lines).fold(1.0, |blocked, line| load * blocked / (f64::from(line) + load * blocked))
}

#[test]
fn a_concurrency_limit_without_a_queue_blocks_as_erlang_says() {
    let without = overload(Client::default());
    for limit in [3, 7, 10] {
        let count = NonZeroU32::new(limit).unwrap();
        let concurrency = Concurrency { limit: count, queue: 0, ..Concurrency::default() };
        let with = overload(Client { concurrency: Some(concurrency), ..Client::default() });
        let passed = 1.0 - erlang_b(13.0, limit);
        assert!((with.goodput(0, 30) - passed).abs() < 0.01, "{passed} {}", with.goodput(0, 30));
        assert!((with.amplification(0, 30) - passed).abs() < 0.01, "nothing was sent in vain");
        assert!(with.goodput(5, 30) > without.goodput(5, 30) + 0.1);
        assert_eq!(total(&with, |it| it.concurrency_refused), total(&with, |it| it.lost));
    }
}

/// Each call of an overload waits behind the whole queue, in the fair order; a place that is kept for as long as the queue takes
/// is worth its wait, and one that is given up before is not.
#[test]
fn a_queue_before_the_limit_is_served_in_order_and_its_wait_is_bounded() {
    let limit = NonZeroU32::new(10).unwrap();
    let run = |queue, max_wait, order| {
        let concurrency = Concurrency { limit, queue, max_wait, order, ..Concurrency::default() };
        overload(Client { concurrency: Some(concurrency), ..Client::default() })
    };
    // The limit is always in use: a thousand a second are served, and the upstream's own queue stays empty.
    let served = 1_000.0 / 1_300.0;
    let patient = run(100, SECOND, Order::Fifo);
    assert!((patient.goodput(1, 30) - served).abs() < 0.02, "{}", patient.picture());
    assert_eq!(total(&patient, |it| it.timed_out + it.queue_full + it.wasted), 0);
    // A hundred places are 100 ms: who waits for no more than 50 gets his turn when 50 are before him, and 1,000 are served.
    let impatient = run(100, 50 * MS, Order::Fifo);
    assert!((impatient.goodput(1, 30) - served).abs() < 0.02, "{}", impatient.picture());
    // In the reverse order those who come last are served, and those displaced are refused.
    let reversed = run(100, SECOND, Order::LifoUnderOverload { after: 50 * MS });
    assert!((reversed.goodput(1, 30) - served).abs() < 0.02, "{}", reversed.picture());
    let on_their_way =
        |report| total(report, |it| it.offered) - total(report, |it| it.good + it.concurrency_refused);
    for report in [&patient, &reversed] {
        assert!((90..=110).contains(&on_their_way(report)), "{}", on_their_way(report));
    }
    // The 65 that came within the last 50 ms at most, some more or less, and the ten that are served.
    assert!((50..=90).contains(&on_their_way(&impatient)), "{}", on_their_way(&impatient));
}

/// Without a queue in the way: the upstream has a worker for everybody, and takes 10 ms in the mean.
fn slow_now_and_then(client: Client) -> Report {
    let service = Service::Exponential(10 * MS);
    let upstream = Upstream { workers: NonZeroU32::new(10_000).unwrap(), queue: 0, service };
    let client = Client { retry: None, attempt_timeout: 20 * MS, ..client };
    Storm { upstream, client, ..Storm::default() }.run().unwrap()
}

#[test]
fn hedges_do_what_the_odds_of_two_throws_say() {
    // The odds that one attempt takes longer than so many milliseconds.
    let longer = |ms: f64| (-ms / 10.0_f64).exp();
    let (lost, due) = (longer(20.0), longer(5.0));
    let near = |is: f64, should: f64| assert!((is - should).abs() < 0.012, "{is} {should}");
    let without = slow_now_and_then(Client::default());
    near(without.goodput(0, 60), 1.0 - lost);
    near(without.amplification(0, 60), 1.0);

    let budget = Budget { ratio: 0.2, floor: 0, ..Budget::default() };
    let hedge = Hedge { delay: Delay::Fixed(5 * MS), max_hedges: 1, budget, ..Hedge::default() };
    let hedged = Client { hedge: Some(hedge.clone()), ..Client::default() };
    // Two attempts of which one is enough, the second sent to those that are late.
    let with = slow_now_and_then(Client { with_budget: false, ..hedged.clone() });
    near(with.goodput(0, 60), 1.0 - lost * lost);
    near(with.amplification(0, 60), 1.0 + due);
    assert_eq!(total(&with, |it| it.hedges) + total(&with, |it| it.offered), total(&with, |it| it.attempts));
    // What lost is dropped at once, and worked on for nobody.
    let worked_on = total(&with, |it| it.good + it.wasted);
    assert!(total(&with, |it| it.attempts) - worked_on <= 50, "the others are still on their way");
    // A hedge wins against a first attempt that is late, by the odds of two throws that remember nothing.
    let won = f64::from(total(&with, |it| it.hedges_won)) / f64::from(total(&with, |it| it.hedges));
    let (both_run, alone) = (0.5 * (1.0 - longer(30.0)), longer(15.0) * (longer(15.0) - longer(20.0)));
    near(won, both_run + alone);

    // The budget pays for a fifth of the calls. Whose hedge is not sent has its first throw alone.
    let with = slow_now_and_then(hedged);
    near(with.amplification(10, 60), 1.2);
    let of_late = longer(15.0);
    near(with.goodput(10, 60), 1.0 - lost + 0.2 * of_late * (1.0 - lost));
    assert!(total(&with, |it| it.budget_refused) > 10_000);

    let shadow = Hedge { mode: Mode::Shadow, ..hedge };
    let shadow = slow_now_and_then(Client { hedge: Some(shadow), ..Client::default() });
    near(shadow.goodput(0, 60), 1.0 - lost);
    assert_eq!(total(&shadow, |it| it.hedges), 0);
}

#[test]
fn every_mistake_is_reported_at_once() {
    let client = Client {
        attempt_timeout: 9 * SECOND,
        hedge: Some(Hedge { max_hedges: 99, ..Hedge::default() }),
        concurrency: Some(Concurrency { max_wait: 61 * SECOND, ..Concurrency::default() }),
        ..Client::default()
    };
    let script = vec![(SECOND, Weather::Slow(0.5))];
    let errors = Storm { seconds: 0, client, script, ..Storm::default() }.run().unwrap_err();
    let paths = errors.paths();
    let expected = [
        "storm.seconds",
        "storm.client.attempt_timeout",
        "hedge.max_hedges",
        "concurrency.max_wait",
        "storm.script",
    ];
    assert_eq!(paths, expected);
    let years = Storm { seconds: 3600, calls_per_second: NonZeroU32::MAX, ..Storm::default() };
    assert_eq!(years.run().unwrap_err().mistakes[0].path, "storm.calls_per_second");
}
