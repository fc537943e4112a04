//! What the clones of a breaker and its permits share: the core under its lock, and what can be read without.

use std::fmt;
use std::sync::Arc;

use super::Breaker;
use super::core::{Core, Outcome, Ticket};
use super::notice::Notice;
use super::{NAME, State};
use crate::mode::Mode;
use crate::observe::{Event, Observer, Teller};
use crate::outcome::{Reason, Rejected};
use crate::random::Rng;
use crate::sync::{AtomicU64, Mutex, Ordering};
use crate::time::{Clock, Instant, nanos};
use crate::window::{Stripes, slot, slots};

/// The lowest bits of the gate say what it does; the generation is above them.
const FREE: u64 = 1;
const BROKEN: u64 = 2;
const GENERATION: u32 = 2;

/// The lowest bit of the options; the version is above it.
const SHADOW: u64 = 1;

pub(super) struct Shared {
    pub(super) teller: Teller,
    /// The generation, and `FREE` while calls pass without being counted in, or `BROKEN` while the notice says why not.
    /// Written under the lock of the core, after all that it vouches for.
    gate: AtomicU64,
    /// The version of the options, and `SHADOW` or not.
    options: AtomicU64,
    /// From how many nanoseconds on a call is slow.
    slow_nanos: AtomicU64,
    /// Successes that the core has not absorbed yet.
    stripes: Stripes,
    notice: Notice,
    pub(super) core: Mutex<Core>,
    pub(super) clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
}

impl Shared {
    pub(super) fn new(
        name: Arc<str>,
        config: Breaker,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        observer: Option<Arc<dyn Observer>>,
    ) -> Self {
        let core = Core::new(config, clock.now());
        let (gate, slow_nanos) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        let (stripes, notice) = (Stripes::new(), Notice::default());
        let core = Mutex::new(core);
        let (teller, options) = (Teller::new(name, observer), AtomicU64::new(0));
        let shared = Self { teller, gate, options, slow_nanos, stripes, notice, core, clock, rng };
        shared.publish(&shared.core.lock(), 0);
        shared
    }

    /// `permit` makes what the caller gets, of no ticket for a call that passes although it would be stopped: the breaker is in
    /// shadow mode.
    #[inline]
    pub(super) fn acquire<P>(
        &self,
        now: Instant,
        permit: impl FnOnce(Option<Ticket>) -> P,
    ) -> Result<P, Rejected> {
        let gate = self.gate.load(Ordering::Acquire);
        if gate & FREE != 0 {
            return Ok(permit(Some(Ticket { generation: gate >> GENERATION, started: now })));
        }
        self.acquire_slowly(gate, now, permit)
    }

    #[inline(never)]
    fn acquire_slowly<P>(
        &self,
        gate: u64,
        now: Instant,
        permit: impl FnOnce(Option<Ticket>) -> P,
    ) -> Result<P, Rejected> {
        // Straight out, where nobody is to be told: a rejection is many words, which are better not copied about.
        let until = self.notice.until();
        let options = self.options.load(Ordering::Relaxed);
        if gate & BROKEN != 0 && now < until && options & SHADOW == 0 && !self.teller.is_heard() {
            let opened = self.notice.opened();
            if self.gate.load(Ordering::Acquire) == gate {
                return Err(Rejected {
                    policy: NAME,
                    reason: Reason::Open(opened),
                    retry_after: Some(until.saturating_duration_since(now)),
                    version: version_of(options),
                });
            }
        }
        match self.ask(gate, now) {
            Ok(ticket) => Ok(permit(Some(ticket))),
            Err(rejected) => self.reject(rejected).map(|()| permit(None)),
        }
    }

    /// Like [`acquire`](Self::acquire), but what would be refused passes, unless an operator forced it open.
    pub(super) fn acquire_or_pass(
        &self,
        now: Instant,
        passes: impl FnOnce(),
    ) -> Result<Option<Ticket>, Rejected> {
        let gate = self.gate.load(Ordering::Acquire);
        if gate & FREE != 0 {
            return Ok(Some(Ticket { generation: gate >> GENERATION, started: now }));
        }
        match self.ask(gate, now) {
            Ok(ticket) => Ok(Some(ticket)),
            Err(Rejected { reason, .. }) if reason != Reason::ForcedOpen => {
                passes();
                let gate = self.gate.load(Ordering::Acquire);
                Ok(Some(Ticket { generation: gate >> GENERATION, started: now }))
            }
            Err(rejected) => self.reject(rejected).map(|()| None),
        }
    }

    fn ask(&self, gate: u64, now: Instant) -> Result<Ticket, Rejected> {
        match self.read_notice(gate, now) {
            Some(rejected) => Err(rejected),
            None => self.change(|core| core.acquire(now, &*self.rng)),
        }
    }

    /// Tells of a rejection, and says whether it is one: in shadow mode the call passes.
    #[cold]
    fn reject(&self, rejected: Rejected) -> Result<(), Rejected> {
        let is_shadow = self.options.load(Ordering::Relaxed) & SHADOW != 0;
        self.teller.reject(if is_shadow { Mode::Shadow } else { Mode::Enforced }, rejected)
    }

    pub(super) fn passes_freely(&self) -> bool {
        self.gate.load(Ordering::Acquire) & FREE != 0
    }

    /// The rejection, while the break lasts.
    fn read_notice(&self, gate: u64, now: Instant) -> Option<Rejected> {
        let until = self.notice.until();
        if gate & BROKEN == 0 || now >= until {
            return None;
        }
        let reason = Reason::Open(self.notice.opened());
        let retry_after = Some(until.saturating_duration_since(now));
        let version = version_of(self.options.load(Ordering::Relaxed));
        let rejected = Rejected::new(NAME, reason).with_retry_after(retry_after).with_version(version);
        let same = self.gate.load(Ordering::Acquire) == gate;
        same.then_some(rejected)
    }

    /// Records an outcome under the lock.
    #[cold]
    pub(super) fn settle(&self, ticket: Ticket, outcome: Outcome, now: Instant) {
        self.change(|core| core.record(ticket, outcome, now, &*self.rng));
    }

    /// Counts a success without the lock, unless it may change more than the count.
    #[inline]
    pub(super) fn count_success(&self, ticket: Ticket, now: Instant) -> bool {
        let took_nanos = now.as_nanos().saturating_sub(ticket.started.as_nanos());
        took_nanos < self.slow_nanos.load(Ordering::Relaxed) && self.hit(ticket, now)
    }

    /// The same without knowing when it ended, where only slow calls would tell the difference.
    #[inline]
    pub(super) fn count_success_timeless(&self, ticket: Ticket) -> bool {
        self.slow_nanos.load(Ordering::Relaxed) == u64::MAX && self.hit(ticket, ticket.started)
    }

    #[inline]
    fn hit(&self, ticket: Ticket, now: Instant) -> bool {
        let gate = ticket.generation << GENERATION | FREE;
        let holds = || self.gate.load(Ordering::Acquire) == gate;
        slot().is_some_and(|slot| self.stripes.hit(slot, now, holds))
    }

    /// Runs `step` on the core, publishes what came of it, and tells the observer what changed after the lock is free.
    pub(super) fn change<T>(&self, step: impl FnOnce(&mut Core) -> T) -> T {
        let (result, changed) = {
            let mut core = self.core.lock();
            let (before, samples) = (core.phase_state(), core.samples());
            core.absorb(self.stripes.total());
            let result = step(&mut core);
            self.publish(&core, samples);
            let after = core.phase_state();
            (result, (before != after).then_some((before, after)))
        };
        if let Some((from, to)) = changed {
            self.teller.tell(&Event::BreakerChanged { from, to });
        }
        result
    }

    /// The gate comes last: who finds it open knows that the rest is there. Before the successes begin anew it leaves the
    /// old generation: who finds it unchanged knows that what was read before is not of a later one.
    fn publish(&self, core: &Core, samples_before: u64) {
        let generation = core.generation() << GENERATION;
        if core.samples() != samples_before {
            if self.gate.load(Ordering::Relaxed) >> GENERATION != core.generation() {
                self.gate.store(generation, Ordering::Release);
            }
            self.stripes.restart();
        }
        let options = u64::from(core.version()) << 1 | u64::from(core.config().mode.is_shadow());
        self.options.store(options, Ordering::Relaxed);
        let slow_nanos = core.config().slow_after.map_or(u64::MAX, nanos);
        self.slow_nanos.store(slow_nanos, Ordering::Relaxed);
        self.stripes.quiet_until(core.quiet_until());
        let (broken, state) = (core.broken(), core.phase_state());
        let bits = match (broken, state) {
            (Some(_), _) => BROKEN,
            (None, State::Closed | State::ForcedClosed) => FREE,
            _ => 0,
        };
        let gate = generation | bits;
        if self.gate.load(Ordering::Relaxed) != gate {
            if let Some((until, opened)) = &broken {
                self.notice.write(*until, opened);
            }
            self.gate.store(gate, Ordering::Release);
        }
    }
}

fn version_of(options: u64) -> u32 {
    u32::try_from(options >> 1).unwrap_or(u32::MAX)
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.core.lock().phase_state();
        f.debug_struct("CircuitBreaker")
            .field("name", &self.teller)
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

/// How a permit holds its breaker.
pub(super) trait Keeps {
    fn shared(&self) -> &Shared;
}

/// Keeps a breaker alive for its permits. There is one for each slot, so that threads which make calls at the same time do
/// not count them in the same place. Two cache lines, since processors fetch them in pairs.
#[repr(align(128))]
pub(super) struct Handle {
    pub(super) shared: Arc<Shared>,
}

/// The handles of all slots.
#[derive(Clone)]
pub(super) struct Handles {
    all: Arc<[Arc<Handle>]>,
}

impl Handles {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        let handle = |_| Arc::new(Handle { shared: Arc::clone(shared) });
        Self { all: (0..slots()).map(handle).collect() }
    }

    /// Whether anybody has a clone of them, or a permit that keeps one.
    pub(super) fn are_held(&self) -> bool {
        Arc::strong_count(&self.all) > 1 || self.all.iter().any(|handle| Arc::strong_count(handle) > 1)
    }

    /// That of the calling thread; one that others use too is as good, only slower.
    #[inline]
    pub(super) fn one(&self) -> Arc<Handle> {
        Arc::clone(&self.all[slot().unwrap_or(0)])
    }
}
