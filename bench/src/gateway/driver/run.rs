//! Clients at work on one engine: closed or open loop, and what they saw.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::client::Step;
use super::pipe::{Ask, Pipe};
use super::poll::Source;
use super::{Driver, Seen};
use crate::gateway::case::Size;

/// Below this a wait costs more precision than it saves time.
const SPIN_BELOW: Duration = Duration::from_micros(100);

/// How long the last answers may take.
const DRAIN_WITHIN: Duration = Duration::from_secs(3);

/// A gateway that takes no connection for so long takes none.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// How long the idle connections may take to open, and how many of them wait for their answer at a time.
const OPEN_WITHIN: Duration = Duration::from_secs(20);
const OPENED_AT_ONCE: usize = 16;

/// Errors after which a measurement is given up: each is a new connection, and they prove nothing any more.
const ERRORS_MAX: u64 = 1_000;

/// What an engine is loaded with.
#[derive(Debug)]
pub(in crate::gateway) struct Load<'a> {
    pub(in crate::gateway) address: SocketAddr,
    /// Requests, one after the other and then from the beginning.
    pub(in crate::gateway) requests: &'a [Ask],
    pub(in crate::gateway) size: Size,
    /// Connections that carry requests.
    pub(in crate::gateway) connections: usize,
    /// Connections that carry one and then stay.
    pub(in crate::gateway) idle: usize,
    /// Requests a second; without it each follows on the answer before.
    pub(in crate::gateway) rate: Option<f64>,
}

/// What the clients saw.
#[derive(Clone, Debug)]
pub(in crate::gateway) struct Tally {
    /// Right answers.
    pub(in crate::gateway) completed: u64,
    /// Of these, those that told of a rate limit.
    pub(in crate::gateway) limited: u64,
    /// Everything else: other answers, closed connections, requests without an answer.
    pub(in crate::gateway) errors: u64,
    /// The first of them.
    pub(in crate::gateway) error: Option<String>,
    pub(in crate::gateway) latency_ns: Histogram<u64>,
    /// Requests of the open loop that were due and not sent: every connection waited for an answer. Their time so far is
    /// among the latencies.
    pub(in crate::gateway) unsent: u64,
}

impl Tally {
    fn new() -> Result<Self, String> {
        // Three digits up to a minute.
        let latency_ns = Histogram::new_with_max(60_000_000_000, 3).map_err(|error| error.to_string())?;
        Ok(Self { completed: 0, limited: 0, errors: 0, error: None, latency_ns, unsent: 0 })
    }

    fn fail(&mut self, reason: String) {
        self.errors += 1;
        self.error.get_or_insert(reason);
    }

    fn record(&mut self, took: Duration) {
        self.latency_ns.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }
}

/// Clients at work.
pub(in crate::gateway) struct Run<'d, 'a> {
    driver: &'d mut Driver,
    load: &'a Load<'a>,
    clients: Vec<Pipe>,
    /// Clients without a request, in the open loop.
    free: VecDeque<usize>,
    next_request: usize,
    /// When the next request of the open loop should start.
    next_due: Instant,
    /// Whether nothing new starts.
    ends: bool,
    tally: Tally,
}

impl Driver {
    /// Opens the connections of `load` and sends the first requests.
    pub(in crate::gateway) fn start<'d, 'a>(&'d mut self, load: &'a Load<'a>) -> Result<Run<'d, 'a>, String> {
        let mut run = Run {
            driver: self,
            load,
            clients: Vec::with_capacity(load.connections + load.idle),
            free: VecDeque::new(),
            next_request: 0,
            next_due: Instant::now(),
            ends: false,
            tally: Tally::new()?,
        };
        run.open_idle()?;
        for place in load.idle..load.idle + load.connections {
            let client = run.connect(place)?;
            run.clients.push(client);
            run.next(place)?;
        }
        Ok(run)
    }
}

impl Run<'_, '_> {
    /// Opens the idle connections, a few at a time: what they cost while they stand is asked for, not a burst.
    fn open_idle(&mut self) -> Result<(), String> {
        let until = Instant::now() + OPEN_WITHIN;
        for place in 0..self.load.idle {
            let client = self.connect(place)?;
            self.clients.push(client);
            self.begin(place, Instant::now())?;
            while self.waiting() >= OPENED_AT_ONCE {
                if Instant::now() > until {
                    return Err(format!("{place} connections were not open within {OPEN_WITHIN:?}"));
                }
                self.turn(Duration::from_millis(10))?;
            }
        }
        Ok(())
    }

    fn waiting(&self) -> usize {
        self.clients.iter().filter(|client| client.is_waiting()).count()
    }

    /// Loads for `time`; gives what was seen in it.
    pub(in crate::gateway) fn run(&mut self, time: Duration) -> Result<Tally, String> {
        self.run_until(time, || false)
    }

    /// Loads until `is_over`, and no longer than `longest`.
    pub(in crate::gateway) fn run_until(
        &mut self,
        longest: Duration,
        is_over: impl Fn() -> bool,
    ) -> Result<Tally, String> {
        let from = Instant::now();
        let mut until = from + longest;
        self.next_due = from;
        loop {
            let now = Instant::now();
            if is_over() {
                until = until.min(now);
            }
            if now >= until {
                break;
            }
            if self.tally.errors > ERRORS_MAX {
                let error = self.tally.error.as_deref().unwrap_or_default();
                return Err(format!("{} errors, the first: {error}", self.tally.errors));
            }
            self.start_due(now)?;
            self.turn(self.wait_max(now, until))?;
        }
        self.add_unsent(until);
        Ok(std::mem::replace(&mut self.tally, Tally::new()?))
    }

    /// Loads until the first answer, right or not, or until `longest` is over; whether it was right.
    pub(in crate::gateway) fn until_answered(&mut self, longest: Duration) -> Result<bool, String> {
        let until = Instant::now() + longest;
        while self.tally.completed + self.tally.errors == 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.turn(left)?;
        }
        Ok(self.tally.completed > 0 && self.tally.errors == 0)
    }

    /// What the upstream has seen so far.
    pub(in crate::gateway) fn seen(&self) -> Seen {
        self.driver.seen()
    }

    /// Lets the requests under way end, and closes all connections. What has no answer then gets none.
    pub(in crate::gateway) fn finish(mut self) -> Result<Tally, String> {
        self.ends = true;
        let until = Instant::now() + DRAIN_WITHIN;
        while self.waiting() > 0 && Instant::now() < until {
            self.turn(Duration::from_millis(10))?;
        }
        for _ in 0..self.waiting() {
            self.tally.fail(format!("no answer within {DRAIN_WITHIN:?}"));
        }
        Ok(self.tally)
    }

    fn turn(&mut self, longest: Duration) -> Result<(), String> {
        self.driver.wait(longest)?;
        for at in 0..self.driver.ready.len() {
            match self.driver.ready.get(at) {
                Source::Client(place) => self.at_client(place)?,
                other => self.driver.at_upstream(other)?,
            }
        }
        Ok(())
    }

    fn at_client(&mut self, place: usize) -> Result<(), String> {
        let Some(client) = self.clients.get_mut(place) else { return Ok(()) };
        let expected = &self.driver.body[..self.load.size.bytes()];
        let step = client.go_on(self.load.requests, expected, &mut self.driver.buffer);
        match step {
            Step::Waits => return Ok(()),
            Step::Done(done) => {
                self.tally.completed += 1;
                self.tally.limited += u64::from(done.limited);
                self.tally.record(done.due.elapsed());
                if done.closes {
                    self.clients[place] = self.connect(place)?;
                }
            }
            Step::Failed(reason) => {
                self.tally.fail(reason);
                self.clients[place] = self.connect(place)?;
            }
        }
        self.next(place)
    }

    /// Client `place` has nothing to do: in the closed loop it goes on, in the open one it waits for its turn.
    fn next(&mut self, place: usize) -> Result<(), String> {
        if self.ends || place < self.load.idle {
            return Ok(());
        }
        if self.load.rate.is_none() {
            return self.begin(place, Instant::now());
        }
        self.free.push_back(place);
        Ok(())
    }

    fn begin(&mut self, place: usize, due: Instant) -> Result<(), String> {
        let number = self.next_request;
        self.next_request = (number + 1) % self.load.requests.len();
        match self.clients[place].begin(number, due, self.load.requests) {
            Step::Failed(reason) => {
                self.tally.fail(reason);
                self.clients[place] = self.connect(place)?;
                if self.load.rate.is_some() && place >= self.load.idle {
                    self.free.push_back(place);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn start_due(&mut self, now: Instant) -> Result<(), String> {
        let Some(spacing) = self.spacing() else { return Ok(()) };
        while self.next_due <= now {
            let Some(place) = self.free.pop_front() else { break };
            self.begin(place, self.next_due)?;
            self.next_due += spacing;
        }
        Ok(())
    }

    fn wait_max(&self, now: Instant, until: Instant) -> Duration {
        let due = if self.load.rate.is_some() && !self.free.is_empty() { self.next_due } else { until };
        let wait = due.min(until).saturating_duration_since(now);
        if wait < SPIN_BELOW { Duration::ZERO } else { wait }
    }

    fn spacing(&self) -> Option<Duration> {
        self.load.rate.map(|rate| Duration::from_secs_f64(rate.recip()))
    }

    fn add_unsent(&mut self, until: Instant) {
        let Some(spacing) = self.spacing() else { return };
        while self.next_due < until {
            self.tally.record(until - self.next_due);
            self.tally.unsent += 1;
            self.next_due += spacing;
        }
    }

    fn connect(&self, place: usize) -> Result<Pipe, String> {
        let text = |error: std::io::Error| format!("{} takes no connection: {error}", self.load.address);
        let stream = TcpStream::connect_timeout(&self.load.address, CONNECT_WITHIN).map_err(text)?;
        stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true)).map_err(text)?;
        self.driver.poll.add(&stream, Source::Client(place))?;
        Pipe::new(stream, &self.load.requests[0])
    }
}
