//! The events of a storm, one after the other.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::report::{Report, Second};
use super::scenario::{Storm, Weather, exponential};
use crate::breaker::{CircuitBreaker, Permit};
use crate::config::ConfigErrors;
use crate::deadline::Deadline;
use crate::outcome::Class;
use crate::random::FastRng;
use crate::retry::{Done, RetryBudget};
use crate::time::{Clock, Instant, ManualClock};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happens {
    /// A worker is done with an attempt, well or not.
    Served { attempt: usize, good: bool },
    /// The client waits no longer for an attempt.
    TimedOut { attempt: usize },
    /// A retry of a call is due.
    Again { call: Call },
    /// A new call arrives.
    Arrives,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Call {
    deadline: Instant,
    retries: Done,
}

/// An attempt for which the client still waits.
#[derive(Debug)]
struct Waiting {
    call: Call,
    permit: Option<Permit>,
}

struct Run<'a> {
    storm: &'a Storm,
    clock: ManualClock,
    start: Instant,
    end: Instant,
    rng: Arc<FastRng>,
    budget: Option<RetryBudget>,
    breaker: Option<CircuitBreaker>,
    events: BinaryHeap<Reverse<(Instant, u64, Happens)>>,
    numbers: u64,
    /// By number; `None` once the client has its answer or gave up.
    attempts: Vec<Option<Waiting>>,
    queue: VecDeque<usize>,
    idle: u32,
    seconds: Vec<Second>,
}

pub(super) fn run(storm: &Storm) -> Result<Report, ConfigErrors> {
    let clock = ManualClock::new();
    let (start, rng) = (clock.now(), Arc::new(FastRng::seeded(storm.seed)));
    let budget = match &storm.client.retry {
        Some(retry) if storm.client.with_budget => Some(RetryBudget::new(&retry.budget, start)?),
        _ => None,
    };
    let breaker = match storm.client.breaker.clone() {
        Some(config) => {
            Some(CircuitBreaker::with("storm", config, Arc::new(clock.clone()), rng.clone(), None)?)
        }
        None => None,
    };
    let seconds = (0..storm.seconds).map(Second::new).collect();
    let end = start + Duration::from_secs(u64::from(storm.seconds));
    let (events, queue, idle) = (BinaryHeap::new(), VecDeque::new(), storm.upstream.workers.get());
    let attempts = Vec::new();
    let numbers = 0;
    let mut run = Run {
        storm,
        clock,
        start,
        end,
        rng,
        budget,
        breaker,
        events,
        numbers,
        attempts,
        queue,
        idle,
        seconds,
    };
    run.arrive_next(start);
    while let Some(Reverse((at, _, event))) = run.events.pop()
        && at < end
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
                self.send(Call { deadline: now + self.storm.client.deadline, retries: Done::default() }, now);
            }
            Happens::Again { call } => self.send(call, now),
            Happens::TimedOut { attempt } => {
                if let Some(waiting) = self.attempts[attempt].take() {
                    self.second(now).timed_out += 1;
                    self.failed(waiting, now);
                }
            }
            Happens::Served { attempt, good } => {
                self.idle += 1;
                self.work(now);
                match self.attempts[attempt].take() {
                    None => self.second(now).wasted += 1,
                    Some(waiting) if good => {
                        if let Some(permit) = waiting.permit {
                            permit.success(now);
                        }
                        self.second(now).good += 1;
                    }
                    Some(waiting) => self.failed(waiting, now),
                }
            }
        }
    }

    fn arrive_next(&mut self, now: Instant) {
        let mean = Duration::from_secs(1) / self.storm.calls_per_second.get();
        let next = now + exponential(mean, &*self.rng);
        self.at(next, Happens::Arrives);
    }

    /// Sends an attempt, unless the breaker is open.
    fn send(&mut self, call: Call, now: Instant) {
        let permit = match self.breaker.as_ref().map(|breaker| breaker.acquire(now)) {
            Some(Err(_)) => {
                let second = self.second(now);
                second.breaker_refused += 1;
                second.lost += 1;
                return;
            }
            Some(Ok(permit)) => Some(permit),
            None => None,
        };
        self.second(now).attempts += 1;
        let waiting = Waiting { call, permit };
        let down = self.storm.weather(now.saturating_duration_since(self.start)) == Weather::Down;
        if down {
            return self.failed(waiting, now);
        }
        if self.idle == 0
            && self.queue.len() >= usize::try_from(self.storm.upstream.queue).unwrap_or(usize::MAX)
        {
            self.second(now).queue_full += 1;
            return self.failed(waiting, now);
        }
        let attempt = self.attempts.len();
        self.attempts.push(Some(waiting));
        self.queue.push_back(attempt);
        let times_out = (now + self.storm.client.attempt_timeout).min(call.deadline);
        self.at(times_out, Happens::TimedOut { attempt });
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

    /// An attempt failed: it is retried, or its call is lost.
    fn failed(&mut self, waiting: Waiting, now: Instant) {
        let Waiting { call, permit } = waiting;
        if let Some(permit) = permit {
            permit.failure(now);
        }
        let deadline = Deadline::at(call.deadline);
        let retry = self.storm.client.retry.as_ref();
        let wait =
            retry.and_then(|retry| retry.next(Class::RETRYABLE, call.retries, now, deadline, &*self.rng));
        let open =
            |delay| self.breaker.as_ref().is_some_and(|breaker| breaker.retry_after(now + delay).is_some());
        // As the pipeline does: a retry that an open breaker would refuse must not draw on the budget.
        let Some(wait) = wait.filter(|wait| !open(wait.delay)) else {
            self.second(now).lost += 1;
            return;
        };
        if self.budget.as_ref().is_none_or(|budget| budget.withdraw(now)) {
            self.at(now + wait.delay, Happens::Again { call: Call { retries: wait.done, ..call } });
        } else {
            let second = self.second(now);
            second.budget_refused += 1;
            second.lost += 1;
        }
    }

    fn at(&mut self, when: Instant, event: Happens) {
        self.numbers += 1;
        self.events.push(Reverse((when, self.numbers, event)));
    }

    fn second(&mut self, now: Instant) -> &mut Second {
        debug_assert!(now < self.end, "nothing is played after the end");
        let index =
            usize::try_from(now.saturating_duration_since(self.start).as_secs()).unwrap_or(usize::MAX);
        let last = self.seconds.len() - 1;
        &mut self.seconds[index.min(last)]
    }
}
