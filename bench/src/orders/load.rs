//! One rate: orders start by the clock, for as long as asked, whatever becomes of them.

mod order;
mod step;
mod window;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hdrhistogram::Histogram;
use leeward_resilience::FastRng;
use tokio::sync::mpsc;

pub(super) use self::order::order;
use self::order::{Answered, Failure};
pub(super) use self::step::Step;
use self::window::Window;
use super::customers::Customers;
use super::facts::Facts;
use super::shop::Shop;
use super::watch::Watch;
use super::zipf::Zipf;

/// Load before what counts, at the same rate: caches, connections and prepared statements are those of a running shop.
const WARM_UP: Duration = Duration::from_secs(3);

/// Orders a second whose completion is watched, at most.
const SAMPLED_PER_S: u32 = 50;

/// Orders that were accepted end within this, or never.
const DRAIN_WITHIN: Duration = Duration::from_secs(240);

/// A group that has work moves on at least this often.
const STILL_FOR: Duration = Duration::from_millis(1_500);

/// How often a drain is asked whether it is done.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Orders that are due but not started yet, in the channel to the driver's thread: when it is full the schedule waits,
/// and catches up, since every order knows when it was due.
const DUE_MAX: usize = 4_096;

/// The id of an order, a UUID.
pub(super) type OrderId = uuid::Uuid;

/// What every rate has in common.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) shop: &'a Shop,
    pub(super) customers: &'a Customers,
    products: &'a Zipf,
    pub(super) facts: Facts,
    pub(super) seconds: u32,
    /// Grows with each measurement, so that no two share an Idempotency-Key.
    runs: Cell<u32>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(
        shop: &'a Shop,
        customers: &'a Customers,
        products: &'a Zipf,
        seconds: u32,
    ) -> Result<Self, String> {
        Ok(Self { shop, customers, products, facts: Facts::open(shop.data())?, seconds, runs: Cell::new(0) })
    }
}

/// An order that is to start.
#[derive(Clone, Copy, Debug)]
struct Due {
    number: u32,
    at: Instant,
    /// Whether it starts after the warm-up.
    counts: bool,
}

/// What the orders of one rate leave behind.
#[derive(Debug)]
struct Tally {
    /// Every order that got its 202, those of the warm-up among them.
    accepted: Vec<OrderId>,
    /// Orders that were refused, by request and answer.
    refusals: BTreeMap<String, u64>,
    /// Checkouts without an answer: nobody knows whether there is an order.
    unanswered: u64,
    /// Orders that did not start, since every customer had one under way.
    no_customer: u64,
    /// Orders of the sample whose completion was not watched.
    unwatched: u64,
    /// The checkout alone, and how late its order started.
    checkout_ns: Histogram<u64>,
    /// From when the order should have started to its 202.
    order_ns: Histogram<u64>,
    /// How late orders started.
    late_ns: Histogram<u64>,
}

/// Measures `rate` orders a second.
pub(super) async fn run(plan: &Plan<'_>, rate: u32) -> Result<Step, String> {
    let watch = Watch::start(plan.shop.data())?;
    let from = Instant::now() + WARM_UP + Duration::from_millis(50);
    let until = from + Duration::from_secs(u64::from(plan.seconds));
    let work = Work {
        plan,
        watch: &watch,
        tally: RefCell::new(Tally::new()?),
        rng: FastRng::seeded(u64::from(rate)),
        sample_every: rate.div_ceil(SAMPLED_PER_S),
        run: plan.runs.replace(plan.runs.get() + 1),
    };
    let due = schedule(from, rate, plan.seconds)?;
    let ((), window) = tokio::join!(work.all(due), Window::measure(plan.shop, from, until));
    let (tally, window) = (work.tally.into_inner(), window?);

    drain(plan).await?;
    let seen =
        tokio::task::spawn_blocking(move || watch.end()).await.map_err(|error| error.to_string())??;
    Step::new(rate, plan, tally, &window, seen)
}

/// A thread that says when orders are due, evenly spaced: it sleeps to the nearest 0.1 ms, which a runtime's timer of
/// whole milliseconds cannot.
fn schedule(from: Instant, rate: u32, seconds: u32) -> Result<mpsc::Receiver<Due>, String> {
    let (sender, due) = mpsc::channel(DUE_MAX);
    let warm_up = rate * u32::try_from(WARM_UP.as_secs()).unwrap_or(0);
    let start = from - WARM_UP;
    let tick = move || {
        for number in 0..warm_up + rate * seconds {
            let at = start + Duration::from_nanos(u64::from(number) * 1_000_000_000 / u64::from(rate));
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            if sender.blocking_send(Due { number, at, counts: number >= warm_up }).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("schedule".into()).spawn(tick).map_err(|error| error.to_string())?;
    Ok(due)
}

/// Waits until every accepted order has come to its end and every event has been taken.
async fn drain(plan: &Plan<'_>) -> Result<(), String> {
    let from = Instant::now();
    let (mut last, mut still_since) = (serde_json::Value::Null, Instant::now());
    loop {
        let sagas = plan.facts.sagas_in_flight()?;
        let mut lag = plan.shop.lag().await?;
        let relayed = Shop::is_relayed(&lag);
        if sagas > 0 || !relayed || lag != last {
            (last, still_since) = (lag.take(), Instant::now());
        } else if still_since.elapsed() > STILL_FOR {
            return Ok(());
        }
        if from.elapsed() > DRAIN_WITHIN {
            return Err(format!("{sagas} sagas are still under way {DRAIN_WITHIN:?} after the load; {last}"));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// What every order of one rate needs.
struct Work<'a> {
    plan: &'a Plan<'a>,
    watch: &'a Watch,
    tally: RefCell<Tally>,
    rng: FastRng,
    sample_every: u32,
    run: u32,
}

impl Work<'_> {
    /// Starts every order when it is due, and waits for the last one's answer.
    async fn all(&self, mut due: mpsc::Receiver<Due>) {
        let mut under_way = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                next = due.recv() => match next {
                    Some(due) => under_way.push(self.one(due)),
                    None => break,
                },
                Some(()) = under_way.next(), if !under_way.is_empty() => {}
            }
        }
        while under_way.next().await.is_some() {}
    }

    async fn one(&self, due: Due) {
        let Some((customer, authorization)) = self.plan.customers.take() else {
            self.tally.borrow_mut().no_customer += 1;
            return;
        };
        let late = due.at.elapsed();
        let key = format!("bench-{}-{}", self.run, due.number);
        let products = self.plan.products.two(&self.rng);
        let answered = order(self.plan.shop.gateway(), &authorization, products, &key).await;
        self.plan.customers.put_back(customer);
        let mut tally = self.tally.borrow_mut();
        match answered {
            Ok(answered) => {
                let sampled = due.counts && due.number.is_multiple_of(self.sample_every);
                if sampled && !self.watch.follow(answered.order_id, answered.at) {
                    tally.unwatched += 1;
                }
                tally.accept(due, late, &answered);
            }
            Err(failure) => tally.refuse(failure),
        }
    }
}

impl Tally {
    fn new() -> Result<Self, String> {
        Ok(Self {
            accepted: Vec::new(),
            refusals: BTreeMap::new(),
            unanswered: 0,
            no_customer: 0,
            unwatched: 0,
            checkout_ns: histogram()?,
            order_ns: histogram()?,
            late_ns: histogram()?,
        })
    }

    fn accept(&mut self, due: Due, late: Duration, answered: &Answered) {
        self.accepted.push(answered.order_id);
        if due.counts {
            let record = |histogram: &mut Histogram<u64>, took: Duration| {
                histogram.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
            };
            record(&mut self.checkout_ns, answered.checkout + late);
            record(&mut self.order_ns, answered.at.saturating_duration_since(due.at));
            record(&mut self.late_ns, late);
        }
    }

    fn refuse(&mut self, failure: Failure) {
        if failure.may_be_placed {
            self.unanswered += 1;
        }
        *self.refusals.entry(failure.to_string()).or_default() += 1;
    }
}

/// Three digits up to ten minutes.
pub(super) fn histogram() -> Result<Histogram<u64>, String> {
    Histogram::new_with_max(600_000_000_000, 3).map_err(|error| error.to_string())
}
