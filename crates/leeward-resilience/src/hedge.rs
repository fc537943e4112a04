//! Hedging: a second attempt beside one that takes long, so that a slow endpoint does not make a slow answer.
//!
//! **Rule.** When an attempt has no answer after the delay, another one is sent beside it, up to `max_hedges` of them,
//! each a delay after the one before. The first good answer wins and the others are dropped at once: they were cancelled,
//! they did not fail. An answer that is not good ends nothing while another attempt is on its way, and no hedge is sent
//! after one, since hedging is against slowness and not against failure; when none is good, the answer of the first
//! attempt is the answer. Nothing is sent beside the first attempt when
//! - the call may not be repeated,
//! - it already is a retry of somebody further out: layers must not multiply,
//! - `attempt_min` does not fit before the deadline,
//! - or the [`RetryBudget`] is spent. Retries and hedges draw on the same one, so that both together stay bounded.
//!
//! **Delay.** Fixed, or a quantile of the latencies of the first attempts within the last 10 to 20 seconds, known to an
//! eighth. A first attempt that lost, or whose call was dropped, counts with the time that it had lasted if that was
//! longer than the delay: else the estimate would forget the slow ones and sink.
//!
//! **Cost.** Without a hedge: a timer if the attempt does not end at once, and no allocation; with a quantile one short lock
//! before the attempt and one after it, with a fixed delay none. A hedge is one boxed future and takes the budget's lock.
//!
//! **Reload.** Other options hold for every call that starts from then on; latencies and budget are kept.
//!
//! **Shadow.** In [`Mode::Shadow`](crate::Mode::Shadow) a hedge that is due draws on the budget, is told, and is not sent.
//!
//! Trade-off: a hedge costs the upstream a whole call, and dropping the loser does not undo what it did there. The
//! quantile bounds the cost while the upstream is well, the budget does when it is not.
//!
//! Source: Dean, Barroso, "The tail at scale" (CACM 2013).

mod config;
mod layer;
mod quantile;
mod race;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

pub use self::config::{Delay, Hedge};
pub use self::layer::{HedgeLayer, HedgeService};

use self::quantile::Latencies;
use crate::config::ConfigErrors;
use crate::deadline::Deadline;
use crate::live::Live;
use crate::observe::{Event, Observer, Teller};
use crate::outcome::Class;
use crate::pipeline::Call;
use crate::retry::RetryBudget;
use crate::time::{Clock, Instant, TokioClock};

/// The policy's name in metrics and `explain()`.
pub const NAME: &str = "hedge";

/// Names of the metrics that show [`Counts`].
pub mod metrics {
    /// Counter `{policy}`: attempts sent beside one that took long.
    pub const HEDGES: &str = "leeward_hedges_total";
    /// Counter `{policy}`: hedges that had the first good answer.
    pub const HEDGES_WON: &str = "leeward_hedges_won_total";
    /// Counter `{policy}`: hedges that were not sent since the retry budget was spent.
    pub const HEDGES_REFUSED: &str = "leeward_hedges_refused_total";
}

/// Half of the time that the quantile looks back.
const LOOK_BACK_HALF: Duration = Duration::from_secs(10);

/// Fewer latencies say nothing about the one in twenty.
const SAMPLES_MIN: u32 = 50;

/// What a [`Hedger`] did since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Hedges that were sent.
    pub sent: u64,
    /// Hedges that had the first good answer.
    pub won: u64,
    /// Hedges that were not sent since the budget was spent.
    pub refused: u64,
}

/// Hedges calls. Clones share latencies, budget and counts.
#[derive(Clone)]
pub struct Hedger {
    shared: Arc<Shared>,
}

struct Shared {
    teller: Teller,
    live: Live<Hedge>,
    budget: RetryBudget,
    /// Whether the calls are counted here. Not when the budget is that of a policy further out, which counts them: a call
    /// that brought twice would allow twice.
    deposits: bool,
    /// Not looked into while the delay is fixed.
    latencies: Mutex<Latencies>,
    sent: AtomicU64,
    won: AtomicU64,
    refused: AtomicU64,
    clock: Arc<dyn Clock>,
}

impl Hedger {
    /// A hedger on tokio time with a budget of its own, for calls that no retry policy counts.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn new(config: Hedge) -> Result<Self, ConfigErrors> {
        Self::with(NAME, config, None, Arc::new(TokioClock), None)
    }

    /// A hedger with its own name, clock and observer, that draws on `shared`, the budget of a policy further out which
    /// counts the calls, or has a budget of its own.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn with(
        name: impl Into<Arc<str>>,
        config: Hedge,
        shared: Option<RetryBudget>,
        clock: Arc<dyn Clock>,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Self, ConfigErrors> {
        config.validate()?;
        let deposits = shared.is_none();
        let budget = shared.map_or_else(|| RetryBudget::new(&config.budget, clock.now()), Ok)?;
        let latencies = Mutex::new(Latencies::new(config.delay.quantile(), LOOK_BACK_HALF, clock.now()));
        let (sent, won, refused) = Default::default();
        let (teller, live) = (Teller::new(name, observer), Live::new(config));
        let shared = Shared { teller, live, budget, deposits, latencies, sent, won, refused, clock };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// A hedger that draws on the budget of a policy further out, which counts the calls.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn sharing(config: Hedge, budget: RetryBudget, clock: Arc<dyn Clock>) -> Result<Self, ConfigErrors> {
        Self::with(NAME, config, Some(budget), clock, None)
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shared.teller.name()
    }

    /// Puts other options into force, for every call that starts from now on. Latencies and counts are kept, and so is
    /// the budget, which gets other options too unless it is that of a policy further out.
    ///
    /// # Errors
    /// Every option outside its range; the old options then stay.
    pub fn reconfigure(&self, config: Hedge) -> Result<(), ConfigErrors> {
        let shared = &*self.shared;
        config.validate()?;
        let now = shared.clock.now();
        if shared.deposits {
            shared.budget.reconfigure(&config.budget, now)?;
        }
        let version = shared.live.replace(config, |_, new| {
            shared.latencies.lock().look_for(new.delay.quantile(), now);
        });
        shared.teller.tell(&Event::Reconfigured { policy: NAME, version });
        Ok(())
    }

    /// Makes a call. `send` is called with the number of the attempt, 0 for the first; `classify` once for each answer.
    ///
    /// # Errors
    /// The call's own. This policy rejects nothing.
    ///
    /// # Cancel safety
    /// Dropping the future drops all its attempts.
    pub async fn call<T, E, F, Fut, C>(&self, call: Call, send: F, classify: C) -> Result<T, E>
    where
        F: FnMut(u32) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        C: Fn(&Result<T, E>) -> Class,
    {
        self.call_while(|_| true, call, send, classify).await
    }

    /// As [`call`](Self::call), with hedges only while `may` says so: one that a policy further in would refuse must neither
    /// draw on the budget nor count as sent.
    pub(crate) async fn call_while<T, E, F, Fut, C>(
        &self,
        may: impl Fn(Instant) -> bool,
        call: Call,
        send: F,
        classify: C,
    ) -> Result<T, E>
    where
        F: FnMut(u32) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        C: Fn(&Result<T, E>) -> Class,
    {
        let now = self.shared.clock.now();
        if self.shared.deposits {
            self.shared.budget.deposit(now);
        }
        race::run(&self.shared, may, call, now, send, classify).await
    }

    /// The options in force.
    #[must_use]
    pub fn config(&self) -> Hedge {
        self.shared.live.load().options.clone()
    }

    /// How long an attempt may take at `now` before another one is sent beside it.
    #[must_use]
    pub fn delay(&self, now: Instant) -> Duration {
        self.shared.delay(&self.shared.live.load().options, now)
    }

    /// Counts the latency of a first attempt.
    pub(crate) fn learn(&self, latency: Duration, now: Instant) {
        self.shared.record(&self.shared.live.load().options, latency, now);
    }

    /// What it did so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Shared { sent, won, refused, .. } = &*self.shared;
        Counts { sent: read(sent), won: read(won), refused: read(refused) }
    }
}

impl Shared {
    fn delay(&self, options: &Hedge, now: Instant) -> Duration {
        match options.delay {
            Delay::Quantile { initial, min, max, .. } => {
                let known = self.latencies.lock().quantile(SAMPLES_MIN, now);
                known.unwrap_or(initial).clamp(min, max)
            }
            Delay::Fixed(delay) => delay,
        }
    }

    fn record(&self, options: &Hedge, latency: Duration, now: Instant) {
        if matches!(options.delay, Delay::Quantile { .. }) {
            self.latencies.lock().record(latency, now);
        }
    }

    /// Decides about a hedge that is due, and tells of it. In shadow mode it is as good as sent, and is not.
    fn decide(&self, options: &Hedge, attempt: u32, delay: Duration, now: Instant) -> Due {
        if !self.budget.withdraw(now) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            self.teller.tell(&Event::HedgeRefused);
            return Due::Refused;
        }
        if options.mode.is_shadow() {
            self.teller.tell(&Event::WouldHedge { attempt, delay });
            return Due::Shadowed;
        }
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.teller.tell(&Event::Hedged { attempt, delay });
        Due::Send
    }

    fn win(&self) {
        self.won.fetch_add(1, Ordering::Relaxed);
        self.teller.tell(&Event::HedgeWon);
    }
}

/// What becomes of a hedge that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Send,
    /// It would be sent, were it not for shadow mode.
    Shadowed,
    /// The budget is spent.
    Refused,
}

impl Hedge {
    /// When the next hedge is due after an attempt that started at `now`, or `None` when there is none.
    pub(crate) fn due(&self, sent: u32, call: Call, delay: Duration, now: Instant) -> Option<Instant> {
        let may = call.replayable && call.effort.may_repeat() && sent < self.max_hedges;
        let due = now + delay;
        (may && self.fits(call.deadline, due)).then_some(due)
    }

    pub(crate) fn fits(&self, deadline: Option<Deadline>, now: Instant) -> bool {
        deadline.is_none_or(|deadline| self.attempt_min < deadline.remaining(now))
    }
}

impl fmt::Debug for Hedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hedger").field("config", &self.live.load().options).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::effort::Effort;

    const NOW: Instant = Instant::from_nanos(9_000_000_000);

    proptest! {
        #[test]
        fn no_hedge_is_due_that_could_not_end_before_the_deadline(
            remaining_ms in 0_u64..200, delay_ms in 1_u64..200, sent in 0_u32..4,
        ) {
            let hedge = Hedge { max_hedges: 3, ..Hedge::default() };
            let call = Call::REPLAYABLE.deadline(Deadline::after(NOW, Duration::from_millis(remaining_ms)));
            let due = hedge.due(sent, call, Duration::from_millis(delay_ms), NOW);
            prop_assert_eq!(due.is_some(), sent < 3 && delay_ms + 5 < remaining_ms);
        }
    }

    #[test]
    fn what_may_not_be_repeated_is_not_hedged() {
        let due = |call| Hedge::default().due(0, call, Duration::from_millis(10), NOW);
        assert_eq!(due(Call::REPLAYABLE), Some(NOW + Duration::from_millis(10)));
        assert_eq!(due(Call::ONCE), None);
        assert_eq!(due(Call::REPLAYABLE.effort(Effort { attempt: 1, ..Effort::FIRST })), None);
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let delay = Delay::Quantile {
            quantile: 0.3,
            initial: Duration::ZERO,
            min: Duration::from_secs(2),
            max: Duration::from_secs(1),
        };
        let budget = crate::Budget { ratio: 2.0, ..crate::Budget::default() };
        let errors = Hedger::new(Hedge { delay, max_hedges: 9, budget, ..Hedge::default() }).unwrap_err();
        let paths = errors.paths();
        let expected = [
            "hedge.delay.quantile.quantile",
            "hedge.delay.quantile.initial",
            "hedge.delay.quantile.min",
            "hedge.max_hedges",
            "hedge.budget.ratio",
        ];
        assert_eq!(paths, expected);
    }
}
