//! A thread that looks at the database while the load runs: how many sagas are under way, and when orders of a sample
//! are confirmed.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::facts::Facts;
use super::load::{OrderId, histogram};

/// How often the orders of the sample are looked up: the resolution of the completion times, which are late by up to
/// as much.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// How often the sagas under way are counted.
const COUNT_EVERY: Duration = Duration::from_millis(100);

/// Orders of the sample that are looked up at once. More wait in the channel, with their own start.
const WATCHED_MAX: usize = 128;

/// Orders that wait to be looked up. At the rate of the sample these are minutes.
const WAITING_MAX: usize = 8_192;

/// An order of the sample, and when its 202 came.
type Sampled = (OrderId, Instant);

/// The thread.
#[derive(Debug)]
pub(super) struct Watch {
    samples: Option<SyncSender<Sampled>>,
    thread: Option<JoinHandle<Result<Seen, String>>>,
}

/// What it saw.
#[derive(Debug)]
pub(super) struct Seen {
    /// From the 202 to confirmed, nanoseconds.
    pub(super) completion_ns: Histogram<u64>,
    /// When sagas were counted, and how many there were.
    pub(super) in_flight: Vec<(Instant, u64)>,
}

impl Watch {
    pub(super) fn start(data: &Path) -> Result<Self, String> {
        let facts = Facts::open(data)?;
        let (samples, queue) = sync_channel(WAITING_MAX);
        let thread = std::thread::Builder::new().name("watch".into()).spawn(move || watch(&facts, &queue));
        Ok(Self { samples: Some(samples), thread: Some(thread.map_err(|error| error.to_string())?) })
    }

    /// Adds an order to the sample. `false` when it could not be taken, which must not pass unseen.
    pub(super) fn follow(&self, order: OrderId, accepted: Instant) -> bool {
        let sent = self.samples.as_ref().map(|samples| samples.try_send((order, accepted)));
        !matches!(sent, None | Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))))
    }

    /// Ends the thread once every order of the sample is confirmed.
    pub(super) fn end(mut self) -> Result<Seen, String> {
        drop(self.samples.take());
        let thread = self.thread.take().ok_or("the watch ended twice")?;
        thread.join().map_err(|_| "the watch panicked".to_owned())?
    }
}

/// An order that takes longer than this is not waited for: the drain says what became of it.
const GIVE_UP_AFTER: Duration = Duration::from_secs(300);

fn watch(facts: &Facts, queue: &Receiver<Sampled>) -> Result<Seen, String> {
    let mut seen = Seen { completion_ns: histogram()?, in_flight: Vec::new() };
    let mut watched: VecDeque<Sampled> = VecDeque::new();
    let (mut next_count, mut open) = (Instant::now(), true);
    while open || !watched.is_empty() {
        open = refill(&mut watched, queue, next_count) && open;
        let now = Instant::now();
        if now >= next_count {
            seen.in_flight.push((now, facts.sagas_in_flight()?));
            next_count = now + COUNT_EVERY;
        }
        for _ in 0..watched.len() {
            let Some((order, accepted)) = watched.pop_front() else { break };
            if facts.is_confirmed(order)? {
                let took = u64::try_from(accepted.elapsed().as_nanos()).unwrap_or(u64::MAX);
                seen.completion_ns.saturating_record(took);
            } else if accepted.elapsed() > GIVE_UP_AFTER {
                return Err(format!("order {order} was not confirmed within {GIVE_UP_AFTER:?}"));
            } else {
                watched.push_back((order, accepted));
            }
        }
        if !watched.is_empty() {
            std::thread::sleep(LOOK_EVERY);
        }
    }
    Ok(seen)
}

/// Takes what waits in the channel; waits for something, but no longer than until the next count, when there is
/// nothing to look up. `false` when no more will come.
fn refill(watched: &mut VecDeque<Sampled>, queue: &Receiver<Sampled>, next_count: Instant) -> bool {
    if watched.is_empty() {
        match queue.recv_timeout(next_count.saturating_duration_since(Instant::now())) {
            Ok(sampled) => watched.push_back(sampled),
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
    while watched.len() < WATCHED_MAX {
        match queue.try_recv() {
            Ok(sampled) => watched.push_back(sampled),
            Err(TryRecvError::Empty) => return true,
            Err(TryRecvError::Disconnected) => return false,
        }
    }
    true
}
