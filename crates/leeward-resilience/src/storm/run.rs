//! The events of a storm, one after the other.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::limit::Limit;
use super::report::{Report, Second};
use super::scenario::{Client, Storm, Weather, exponential};
use super::turn::{Attempt, Turn};
use crate::breaker::CircuitBreaker;
use crate::config::ConfigErrors;
use crate::hedge::Hedger;
use crate::random::FastRng;
use crate::rate::RateLimiter;
use crate::retry::{Done, RetryBudget};
use crate::time::{Clock, Instant, ManualClock};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Happens {
    /// A worker is done with an attempt, well or not.
    Served { attempt: usize, good: bool },
    /// The client waits no longer for an attempt.
    TimedOut { attempt: usize },
    /// An attempt has been before the concurrency limit for as long as it may.
    WaitedTooLong { attempt: usize },
    /// The next hedge of a turn.
    HedgeDue { turn: usize },
    /// A retry of a call is due.
    Again { call: Call },
    /// A new call arrives.
    Arrives,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Call {
    pub(super) deadline: Instant,
    pub(super) retries: Done,
}

pub(super) struct Run<'a> {
    pub(super) storm: &'a Storm,
    clock: ManualClock,
    start: Instant,
    end: Instant,
    pub(super) rng: Arc<FastRng>,
    pub(super) budget: Option<RetryBudget>,
    pub(super) hedger: Option<Hedger>,
    pub(super) breaker: Option<CircuitBreaker>,
    pub(super) rate: Option<RateLimiter>,
    pub(super) limit: Option<Limit>,
    events: BinaryHeap<Reverse<(Instant, u64, Happens)>>,
    numbers: u64,
    /// By number, until the client has its answer.
    pub(super) turns: HashMap<usize, Turn>,
    pub(super) next_turn: usize,
    /// By number; `None` once the client has its answer or gave up.
    pub(super) attempts: Vec<Option<Attempt>>,
    queue: VecDeque<usize>,
    idle: u32,
    seconds: Vec<Second>,
}

impl<'a> Run<'a> {
    fn new(storm: &'a Storm) -> Result<Self, ConfigErrors> {
        let Client { retry, hedge, breaker, rate_limit, concurrency, with_budget, .. } = &storm.client;
        let clock = ManualClock::new();
        let (start, rng) = (clock.now(), Arc::new(FastRng::seeded(storm.seed)));
        let shared_clock = || Arc::new(clock.clone());
        let budget = retry.as_ref().map(|retry| &retry.budget).or(hedge.as_ref().map(|hedge| &hedge.budget));
        let budget = budget.filter(|_| *with_budget).map(|config| RetryBudget::new(config, start));
        let hedger = hedge.clone().map(|config| Hedger::with("storm", config, None, shared_clock(), None));
        let breaker = breaker
            .clone()
            .map(|config| CircuitBreaker::with("storm", config, shared_clock(), rng.clone(), None));
        let rate = rate_limit.map(|rule| RateLimiter::with("storm", &rule, shared_clock(), None));
        Ok(Self {
            storm,
            start,
            end: start + Duration::from_secs(u64::from(storm.seconds)),
            budget: budget.transpose()?,
            hedger: hedger.transpose()?,
            breaker: breaker.transpose()?,
            rate: rate.transpose()?,
            limit: concurrency.as_ref().map(Limit::new),
            events: BinaryHeap::new(),
            numbers: 0,
            turns: HashMap::new(),
            next_turn: 0,
            attempts: Vec::new(),
            queue: VecDeque::new(),
            idle: storm.upstream.workers.get(),
            seconds: (0..storm.seconds).map(Second::new).collect(),
            rng,
            clock,
        })
    }
}

pub(super) fn run(storm: &Storm) -> Result<Report, ConfigErrors> {
    let mut run = Run::new(storm)?;
    run.arrive_next(run.start);
    while let Some(Reverse((at, _, event))) = run.events.pop()
        && at < run.end
    {
        run.clock.advance(at.saturating_duration_since(run.clock.now()));
        run.step(at, event);
    }
    Ok(Report { seconds: run.seconds })
}

impl Run<'_> {
    fn step(&mut self, now: Instant, event: Happens) {
        match event {
            Happens::Arrives => {
                self.arrive_next(now);
                self.second(now).offered += 1;
                if let Some(budget) = &self.budget {
                    budget.deposit(now);
                }
                let deadline = now + self.storm.client.deadline;
                self.begin(Call { deadline, retries: Done::default() }, now);
            }
            Happens::Again { call } => self.begin(call, now),
            Happens::HedgeDue { turn } => self.hedge(turn, now),
            Happens::WaitedTooLong { attempt } => self.waited_too_long(attempt, now),
            Happens::TimedOut { attempt } => {
                if self.attempts[attempt].is_some() {
                    self.second(now).timed_out += 1;
                    self.failed(attempt, now);
                }
            }
            Happens::Served { attempt, good } => {
                self.idle += 1;
                self.work(now);
                if self.attempts[attempt].is_none() {
                    self.second(now).wasted += 1;
                } else if good {
                    self.succeeded(attempt, now);
                } else {
                    self.failed(attempt, now);
                }
            }
        }
        self.let_in(now);
    }

    fn arrive_next(&mut self, now: Instant) {
        let mean = Duration::from_secs(1) / self.storm.calls_per_second.get();
        let next = now + exponential(mean, &*self.rng);
        self.at(next, Happens::Arrives);
    }

    /// Sends an attempt that no policy refused.
    pub(super) fn dispatch(&mut self, attempt: usize, now: Instant) {
        self.second(now).attempts += 1;
        if self.storm.weather(now.saturating_duration_since(self.start)) == Weather::Down {
            return self.failed(attempt, now);
        }
        let places = usize::try_from(self.storm.upstream.queue).unwrap_or(usize::MAX);
        if self.idle == 0 && self.queue.len() >= places {
            self.second(now).queue_full += 1;
            return self.failed(attempt, now);
        }
        self.queue.push_back(attempt);
        let latest = now + self.storm.client.attempt_timeout;
        let until = self.deadline(attempt).map_or(latest, |deadline| latest.min(deadline));
        self.at(until, Happens::TimedOut { attempt });
        self.work(now);
    }

    /// Idle workers take what waits, whether anybody still wants it or not.
    fn work(&mut self, now: Instant) {
        while self.idle > 0
            && let Some(attempt) = self.queue.pop_front()
        {
            self.idle -= 1;
            let weather = self.storm.weather(now.saturating_duration_since(self.start));
            let time = self.storm.upstream.service.draw(&*self.rng);
            let (time, good) = match weather {
                Weather::Well => (time, true),
                Weather::Slow(times) => (time.mul_f64(times), true),
                Weather::Failing(share) => (time, crate::random::Rng::unit_f64(&*self.rng) >= share),
                Weather::Down => (Duration::ZERO, false),
            };
            self.at(now + time, Happens::Served { attempt, good });
        }
    }

    pub(super) fn at(&mut self, when: Instant, event: Happens) {
        self.numbers += 1;
        self.events.push(Reverse((when, self.numbers, event)));
    }

    pub(super) fn second(&mut self, now: Instant) -> &mut Second {
        debug_assert!(now < self.end, "nothing is played after the end");
        let index =
            usize::try_from(now.saturating_duration_since(self.start).as_secs()).unwrap_or(usize::MAX);
        let last = self.seconds.len() - 1;
        &mut self.seconds[index.min(last)]
    }
}
