//! What is played.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::breaker::Breaker;
use crate::concurrency::Concurrency;
use crate::config::ConfigErrors;
use crate::hedge::Hedge;
use crate::random::Rng;
use crate::rate::Rule;
use crate::retry::Retry;

/// A scenario.
#[derive(Clone, Debug)]
pub struct Storm {
    /// The same seed gives the same numbers. Default 1.
    pub seed: u64,
    /// Seconds that are played, 1 ..= 3600. Default 60.
    pub seconds: u32,
    /// Calls a second in the mean, at most 10,000,000 in all. Default 700.
    pub calls_per_second: NonZeroU32,
    /// Who is called.
    pub upstream: Upstream,
    /// Who calls.
    pub client: Client,
    /// What the upstream does, from so long after the start on, in the order of time. Before the first it is well.
    pub script: Vec<(Duration, Weather)>,
}

/// The upstream of a [`Storm`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Upstream {
    /// Attempts that are worked on at a time, at most 100,000. Default 10.
    pub workers: NonZeroU32,
    /// Attempts that wait for a worker, at most 1,000,000. Default 500.
    pub queue: u32,
    /// How long a worker takes.
    pub service: Service,
}

/// How long a worker takes for an attempt; each up to 1 h.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Service {
    /// Always as long.
    Fixed(Duration),
    /// Anything between the two, as likely.
    Uniform(Duration, Duration),
    /// Exponential with this mean.
    Exponential(Duration),
}

/// What the upstream does at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weather {
    /// It works.
    Well,
    /// Nobody listens: each attempt fails at once.
    Down,
    /// A worker takes so many times as long, 1 ..= 1000.
    Slow(f64),
    /// This share of attempts is worked on and fails, 0 ..= 1.
    Failing(f64),
}

/// The client of a [`Storm`].
#[derive(Clone, Debug)]
pub struct Client {
    /// The longest that an attempt may take. Default 250 ms.
    pub attempt_timeout: Duration,
    /// The longest that a call may take with all its attempts. Default 2 s.
    pub deadline: Duration,
    /// Failed attempts are retried. Default: as [`Retry`] has it.
    pub retry: Option<Retry>,
    /// Whether retries and hedges are bounded by a budget: the retry policy's, or without one the hedging's. Default yes; no is
    /// for showing what it prevents.
    pub with_budget: bool,
    /// Another attempt is sent beside one that takes long. Default none.
    pub hedge: Option<Hedge>,
    /// A breaker in front of the upstream. Default none.
    pub breaker: Option<Breaker>,
    /// So many attempts a period. Default none.
    pub rate_limit: Option<Rule>,
    /// So many attempts at a time, and a queue before them. Default none.
    pub concurrency: Option<Concurrency>,
}

impl Default for Storm {
    fn default() -> Self {
        Self {
            seed: 1,
            seconds: 60,
            calls_per_second: const { count(700) },
            upstream: Upstream::default(),
            client: Client::default(),
            script: Vec::new(),
        }
    }
}

impl Default for Upstream {
    fn default() -> Self {
        let service = Service::Exponential(Duration::from_millis(10));
        Self { workers: const { count(10) }, queue: 500, service }
    }
}

impl Default for Client {
    fn default() -> Self {
        Self {
            attempt_timeout: Duration::from_millis(250),
            deadline: Duration::from_secs(2),
            retry: Some(Retry::default()),
            with_budget: true,
            hedge: None,
            breaker: None,
            rate_limit: None,
            concurrency: None,
        }
    }
}

const fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("the default is not zero")
}

const CALLS_MAX: u64 = 10_000_000;
const HOUR: Duration = Duration::from_secs(3600);

impl Storm {
    /// Checks every option, also those of the policies.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::default();
        errors.check((1..=3600).contains(&self.seconds), "storm.seconds", self.seconds, "1 to 3600");
        let calls = u64::from(self.calls_per_second.get()) * u64::from(self.seconds);
        errors.check(calls <= CALLS_MAX, "storm.calls_per_second", calls, "at most 10000000 calls in all");
        let Upstream { workers, queue, service } = self.upstream;
        errors.check(workers.get() <= 100_000, "storm.upstream.workers", workers, "1 to 100000");
        errors.check(queue <= 1_000_000, "storm.upstream.queue", queue, "0 to 1000000");
        let service_ok = match service {
            Service::Fixed(time) | Service::Exponential(time) => !time.is_zero() && time <= HOUR,
            Service::Uniform(from, to) => from <= to && !to.is_zero() && to <= HOUR,
        };
        errors.check(service_ok, "storm.upstream.service", service, "more than 0, at most 1h");
        let Client { attempt_timeout, deadline, retry, hedge, breaker, rate_limit, concurrency, .. } =
            &self.client;
        let deadline_ok = !deadline.is_zero() && *deadline <= HOUR;
        errors.check(deadline_ok, "storm.client.deadline", deadline, "more than 0, at most 1h");
        let timeout_ok = !attempt_timeout.is_zero() && attempt_timeout <= deadline;
        let allowed = "more than 0, at most the deadline";
        errors.check(timeout_ok, "storm.client.attempt_timeout", attempt_timeout, allowed);
        errors.merge(retry.as_ref().map_or(Ok(()), Retry::validate));
        errors.merge(hedge.as_ref().map_or(Ok(()), Hedge::validate));
        errors.merge(breaker.as_ref().map_or(Ok(()), Breaker::validate));
        errors.merge(rate_limit.as_ref().map_or(Ok(()), Rule::validate));
        errors.merge(concurrency.as_ref().map_or(Ok(()), Concurrency::validate));
        let script_ok = self.script.is_sorted_by_key(|&(from, _)| from)
            && self.script.iter().all(|(_, weather)| match weather {
                Weather::Well | Weather::Down => true,
                Weather::Slow(times) => (1.0..=1000.0).contains(times),
                Weather::Failing(share) => (0.0..=1.0).contains(share),
            });
        let allowed = "in the order of time, slow 1 to 1000, failing 0% to 100%";
        errors.check(script_ok, "storm.script", &self.script, allowed);
        errors.finish()
    }

    pub(super) fn weather(&self, at: Duration) -> Weather {
        self.script.iter().rev().find(|(from, _)| *from <= at).map_or(Weather::Well, |&(_, weather)| weather)
    }
}

impl Service {
    pub(super) fn draw(self, rng: &dyn Rng) -> Duration {
        match self {
            Self::Fixed(time) => time,
            Self::Uniform(from, to) => from + (to - from).mul_f64(rng.unit_f64()),
            Self::Exponential(mean) => exponential(mean, rng),
        }
    }
}

/// Of this mean, at most 37 times as long: a number below 1 has 53 bits.
pub(super) fn exponential(mean: Duration, rng: &dyn Rng) -> Duration {
    mean.mul_f64(-(1.0 - rng.unit_f64()).ln())
}
