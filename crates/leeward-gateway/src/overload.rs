//! What a core does that does not keep up: it refuses what matters least, before it works on it.
//!
//! **Signal.** How long work that is ready waits for its turn on the core. The run queue of a core is first come, first served, so that a
//! task which is woken now and finds out when it runs has seen the whole queue. Such a probe is sent along with the traffic, at most every few
//! milliseconds, and without a pause while the core is behind; an idle core has none. Nothing of it depends on how long services take: a request
//! that waits for one waits in no queue of the core.
//!
//! **Rule.** A core is behind once every probe of an `interval` has waited for longer than `target` (a standing queue, not a burst, which drains:
//! Nichols and Jacobson, "Controlling Queue Delay", ACM Queue 2012), until none of an `interval` has. As long as it is, a request is refused
//! when the queue is longer than its priority may wait: [`Priority::Low`] `target`, and each higher one twice as long as the one below. So the queue stays
//! about as long as the lowest class that there is enough of may wait, the core is never without work, and a class
//! above is only refused when it alone is too much.
//!
//! - A request is judged as soon as its route is known: before its token is verified, its limits are counted or a service is asked.
//! - A connection is judged when it comes, and by how long it has waited itself, before its handshake, which costs more than most requests. It counts
//!   as [`Priority::Normal`], since what will be asked on it nobody knows. Without TLS there is no handshake, and it is let in.
//! - The first request after a handshake counts as [`Priority::Critical`]: most of what it costs is spent already.
//! - The gateway's own health has no route and is always answered, as is the admin side, which has a thread of its own.
//!
//! Source of judging by priority from the time in the queue: Zhou et al., "Overload Control for Scaling WeChat Microservices", SoCC 2018; of the
//! doubled times: Maurer, "Fail at Scale", ACM Queue 2015.
//!
//! Trade-off: a refusal costs reading the request and writing the answer. At three times the capacity what is left for good answers is
//! `(1 - 3r) / (1 - r)` of it, where `r` is what a refusal costs of what an answer does.

mod rule;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use leeward_resilience::{Instant, Mode, Priority};
use tokio::sync::Notify;

pub(crate) use self::rule::allowed;

use self::rule::Rule;
use crate::config::Shed;
use crate::plane::Load;
use crate::plane::current::Current;

/// How often a refusal is kept among the decisions: each tells what all tell that are refused with it.
const KEEP_EVERY: Duration = Duration::from_millis(10);
/// How often the queue is looked at while the core keeps up: a few times in the shortest interval, and rarely enough to cost nothing.
const PROBE_EVERY: Duration = Duration::from_millis(3);
/// How soon it is looked at again while it does not.
const PROBE_AGAIN: Duration = Duration::from_millis(1);

/// How one core keeps up.
#[derive(Debug)]
pub(crate) struct Overload {
    options: Cell<Option<Shed>>,
    rule: RefCell<Rule>,
    is_behind: Cell<bool>,
    /// What the last probe waited.
    delay: Cell<Duration>,
    /// Since when a probe is on its way, or will be.
    asked: Cell<Option<Instant>>,
    /// When the last one set out.
    asked_last: Cell<Instant>,
    /// When a refusal was kept last.
    kept_last: Cell<Instant>,
    probe: Notify,
    load: Arc<Load>,
}

/// Why something is not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Late {
    /// What work waits on the core now.
    pub(crate) delay: Duration,
    /// What this may wait.
    pub(crate) allowed: Duration,
    pub(crate) target: Duration,
    /// By which priority it was judged.
    pub(crate) priority: Priority,
    /// Whether it is refused or only counted.
    pub(crate) mode: Mode,
}

impl Overload {
    pub(crate) fn new(options: Option<Shed>, load: Arc<Load>) -> Self {
        Self {
            options: Cell::new(options),
            rule: RefCell::default(),
            is_behind: Cell::new(false),
            delay: Cell::new(Duration::ZERO),
            asked: Cell::new(None),
            asked_last: Cell::new(Instant::ZERO),
            kept_last: Cell::new(Instant::ZERO),
            probe: Notify::new(),
            load,
        }
    }

    /// Puts other options into force. What was seen stays.
    pub(crate) fn configure(&self, options: Option<Shed>) {
        self.options.set(options);
    }

    /// Why a request of this priority is not let in now. Two loads and a branch as long as the core keeps up.
    pub(crate) fn judge(&self, priority: Priority, now: Instant) -> Result<(), Late> {
        self.look(now);
        if !self.is_behind.get() {
            return Ok(());
        }
        // A probe that is still on its way has waited as long already.
        let waits = self.asked.get().map_or(Duration::ZERO, |asked| now.saturating_duration_since(asked));
        self.hold(priority, self.delay.get().max(waits))
    }

    /// Why a connection is not let in that has waited so long for the core.
    pub(crate) fn judge_connection(&self, waited: Duration, now: Instant) -> Result<(), Late> {
        self.look(now);
        if self.is_behind.get() { self.hold(Priority::Normal, waited) } else { Ok(()) }
    }

    fn hold(&self, priority: Priority, delay: Duration) -> Result<(), Late> {
        let Some(Shed { target, mode, .. }) = self.options.get() else { return Ok(()) };
        let allowed = allowed(target, priority);
        if delay > allowed { Err(Late { delay, allowed, target, priority, mode }) } else { Ok(()) }
    }

    /// Whether a refusal at `now` is to be kept among the decisions.
    pub(crate) fn is_worth_keeping(&self, now: Instant) -> bool {
        let is_due = now.saturating_duration_since(self.kept_last.get()) >= KEEP_EVERY;
        if is_due {
            self.kept_last.set(now);
        }
        is_due
    }

    /// Sends a probe when the last one was a while ago.
    fn look(&self, now: Instant) {
        let is_due = now.saturating_duration_since(self.asked_last.get()) >= PROBE_EVERY;
        if is_due && self.asked.get().is_none() && self.options.get().is_some() {
            self.ask(now);
            self.probe.notify_one();
        }
    }

    fn ask(&self, now: Instant) {
        self.asked.set(Some(now));
        self.asked_last.set(now);
    }

    /// The next probe follows, once its time has come.
    fn ask_again(&self, now: Instant) {
        self.ask(now + PROBE_AGAIN);
    }

    /// A probe has come through. Whether that changed anything.
    fn seen(&self, now: Instant) -> (Duration, bool) {
        let asked = self.asked.take();
        let delay = asked.map_or(Duration::ZERO, |asked| now.saturating_duration_since(asked));
        let was_behind = self.is_behind.get();
        let is_behind = match self.options.get() {
            Some(options) => self.rule.borrow_mut().seen(&options, delay, now),
            None => {
                self.rule.take();
                false
            }
        };
        self.delay.set(delay);
        self.is_behind.set(is_behind);
        let is_full = self.hold(Priority::Normal, delay).is_err_and(|late| !late.mode.is_shadow());
        self.load.keeps_up(delay, is_behind, is_behind && is_full);
        (delay, was_behind != is_behind)
    }
}

/// The probe of one core, for as long as the core runs.
pub(crate) async fn watch(overload: Rc<Overload>, current: Rc<Current>) {
    loop {
        overload.probe.notified().await;
        loop {
            let core = current.core();
            let (clock, metrics) = (&core.shared.clock, &core.shared.metrics.overload);
            let (delay, changed) = overload.seen(clock.now());
            metrics.delay.observe_duration(delay);
            let is_behind = overload.is_behind.get();
            if changed {
                tell(is_behind, delay);
                if is_behind { metrics.behind.inc() } else { metrics.behind.dec() }
            }
            if !is_behind {
                break;
            }
            overload.ask_again(clock.now());
            drop(core);
            // It waits for its turn like everything else, once its time has come.
            tokio::time::sleep(PROBE_AGAIN).await;
        }
    }
}

fn tell(is_behind: bool, delay: Duration) {
    let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    if is_behind {
        tracing::warn!(delay_ms, "a core does not keep up: what matters least is refused");
    } else {
        tracing::info!(delay_ms, "a core keeps up again");
    }
}

#[cfg(test)]
impl Overload {
    /// Probes that each wait so long, one after the other, until a time is over.
    pub(crate) fn probes(&self, delay: Duration, from: Instant, time: Duration) -> Instant {
        let mut now = from;
        while now.saturating_duration_since(from) < time {
            now = now + Duration::from_millis(1);
            self.ask(now);
            now = now + delay;
            self.seen(now);
        }
        now
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const START: Instant = Instant::from_nanos(1_000_000_000);

    fn overload(options: Option<Shed>) -> Overload {
        Overload::new(options, Arc::default())
    }

    fn probes(overload: &Overload, delay: Duration, from: Instant, time: Duration) -> Instant {
        overload.probes(delay, from, time)
    }

    #[test]
    fn a_core_that_is_behind_refuses_the_lowest_first() {
        let overload = overload(Some(Shed::default()));
        let lets_in = |overload: &Overload, now| Priority::ALL.map(|it| overload.judge(it, now).is_ok());
        let now = probes(&overload, 30 * MS, START, 90 * MS);
        assert_eq!(lets_in(&overload, now), [true; 4], "not for as long as an interval");
        for (delay, expected) in [
            (30 * MS, [false, true, true, true]),
            (60 * MS, [false, false, true, true]),
            (100 * MS, [false, false, false, true]),
            (200 * MS, [false; 4]),
        ] {
            let now = probes(&overload, delay, now, 150 * MS);
            assert_eq!(lets_in(&overload, now), expected, "{delay:?}");
        }
    }

    #[test]
    fn a_probe_that_has_not_come_through_counts_as_long_as_it_is_on_its_way() {
        let overload = overload(Some(Shed::default()));
        let now = probes(&overload, 30 * MS, START, 300 * MS);
        assert_eq!(overload.judge(Priority::Normal, now), Ok(()));
        overload.ask(now);
        assert_eq!(overload.judge(Priority::Normal, now + 40 * MS), Ok(()));
        let late = overload.judge(Priority::Normal, now + 41 * MS).unwrap_err();
        assert_eq!((late.delay, late.allowed, late.mode), (41 * MS, 40 * MS, Mode::Enforced));
    }

    #[test]
    fn a_connection_counts_by_what_it_has_waited_itself() {
        let overload = overload(Some(Shed::default()));
        assert_eq!(overload.judge_connection(500 * MS, START), Ok(()), "the core keeps up");
        let now = probes(&overload, 100 * MS, START + MS, 400 * MS);
        assert_eq!(overload.judge_connection(40 * MS, now), Ok(()));
        assert!(overload.judge_connection(41 * MS, now).is_err());
    }

    #[test]
    fn one_refusal_in_a_while_is_kept() {
        let overload = overload(Some(Shed::default()));
        let kept = (0..100).filter(|ms| overload.is_worth_keeping(START + *ms * MS)).count();
        assert_eq!(kept, 10);
    }

    #[test]
    fn what_is_off_lets_everything_in_and_sends_no_probe() {
        let off = overload(None);
        assert_eq!(off.judge(Priority::Low, START), Ok(()));
        assert_eq!(off.asked.get(), None);
        let on = overload(Some(Shed::default()));
        let now = probes(&on, 300 * MS, START, 900 * MS);
        assert!(on.judge(Priority::Critical, now).is_err());
        on.configure(None);
        assert_eq!(on.judge(Priority::Low, now), Ok(()), "from the moment of a reload on");
    }

    #[test]
    fn what_comes_first_wakes_the_probe() {
        for is_connection in [false, true] {
            let overload = overload(Some(Shed::default()));
            let sets_out = || {
                let mut cx = Context::from_waker(Waker::noop());
                pin!(overload.probe.notified()).poll(&mut cx).is_ready()
            };
            assert!(!sets_out(), "an idle core has none");
            let judged = if is_connection {
                overload.judge_connection(Duration::ZERO, START)
            } else {
                overload.judge(Priority::Normal, START)
            };
            assert_eq!(judged, Ok(()));
            assert_eq!(overload.asked.get(), Some(START), "connection: {is_connection}");
            assert!(sets_out(), "connection: {is_connection}");
        }
    }

    #[test]
    fn the_pause_in_front_of_a_probe_is_no_wait() {
        let overload = overload(Some(Shed::default()));
        overload.ask_again(START);
        assert_eq!(overload.seen(START + PROBE_AGAIN + 7 * MS).0, 7 * MS);
    }

    #[test]
    fn a_change_is_told_once() {
        let overload = overload(Some(Shed::default()));
        let changes = |delay: Duration, from: Instant| {
            let (mut now, mut told) = (from, 0);
            for _ in 0..10 {
                overload.ask(now);
                now = now + delay + MS;
                told += usize::from(overload.seen(now).1);
            }
            // As much again of the same.
            for _ in 0..10 {
                overload.ask(now);
                now = now + delay + MS;
                assert!(!overload.seen(now).1);
            }
            (told, now)
        };
        let (told, now) = changes(30 * MS, START);
        assert_eq!(told, 1, "it has fallen behind");
        assert_eq!(changes(15 * MS, now).0, 1, "it keeps up again");
    }

    #[test]
    fn who_hands_out_connections_hears_how_it_is() {
        for (options, delay, is_behind, is_full) in [
            (Shed::default(), 50 * MS, true, true),
            // Ordinary work may wait for as long as that.
            (Shed::default(), 40 * MS, true, false),
            (Shed::default(), 20 * MS, false, false),
            // A queue that is longer, on a core that keeps up: a burst.
            (Shed { interval: Duration::from_secs(10), ..Shed::default() }, 50 * MS, false, false),
            (Shed { mode: Mode::Shadow, ..Shed::default() }, 50 * MS, true, false),
        ] {
            let overload = overload(Some(options));
            probes(&overload, delay, START, 400 * MS);
            let load = &overload.load;
            assert_eq!(
                (load.delay_us(), load.is_behind(), load.is_full()),
                (u64::try_from(delay.as_micros()).unwrap(), is_behind, is_full),
                "{options:?} {delay:?}"
            );
        }
    }

    #[test]
    fn what_was_seen_before_it_was_off_is_forgotten() {
        let overload = overload(Some(Shed::default()));
        let now = probes(&overload, 30 * MS, START, 300 * MS);
        assert!(overload.load.is_behind());
        overload.configure(None);
        overload.ask(now);
        let now = now + 30 * MS;
        assert_eq!(overload.seen(now), (30 * MS, true), "that it is over is told too");
        assert!(!overload.is_behind.get() && !overload.load.is_behind());
        overload.configure(Some(Shed::default()));
        overload.ask(now);
        overload.seen(now + 30 * MS);
        assert_eq!(overload.judge(Priority::Low, now + 30 * MS), Ok(()), "an interval begins anew");
    }

    #[test]
    fn a_probe_goes_along_with_the_first_request_and_then_once_in_a_while() {
        let overload = overload(Some(Shed::default()));
        assert_eq!(overload.judge(Priority::Normal, START), Ok(()));
        assert_eq!(overload.asked.get(), Some(START));
        overload.seen(START + MS);
        assert_eq!(overload.judge(Priority::Normal, START + 2 * MS), Ok(()));
        assert_eq!(overload.asked.get(), None);
        assert_eq!(overload.judge(Priority::Normal, START + 3 * MS), Ok(()));
        assert_eq!(overload.asked.get(), Some(START + 3 * MS));
    }
}
