//! Faults on demand: latency, errors, refusal, lost replies, for a service and for each target that it calls.
//!
//! They exist so that an operator can watch the platform survive them. A service takes none unless it was started with
//! faults allowed. With no fault set, the cost is one atomic load a request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use leeward_resilience::Rng;
use serde::{Deserialize, Serialize};

/// The longest injected latency: longer than every deadline, short enough to end.
const LATENCY_MS_MAX: u64 = 60_000;
/// The most targets with a fault of their own.
const TARGETS_MAX: usize = 64;

/// What goes wrong, and how often. Everything is off by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fault {
    /// Added before the work, in milliseconds, at most 60,000.
    pub latency_ms: u64,
    /// Percent of requests answered with `error_status` instead of being worked on.
    pub error_percent: u8,
    /// The status of those errors: 500 to 599, 503 when 0.
    pub error_status: u16,
    /// Percent of requests whose connection is cut before the work.
    pub refuse_percent: u8,
    /// Percent of requests whose work is done and whose reply never arrives.
    pub lost_reply_percent: u8,
}

/// All faults of one service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FaultSet {
    /// Of the service itself, as its callers see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inbound: Option<Fault>,
    /// Of what it calls, by target, as the service sees them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub outbound: BTreeMap<String, Fault>,
}

/// Why a set of faults is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The service was not started with faults allowed.
    #[error("faults are off; start with --allow-faults")]
    NotAllowed,
    /// A value is outside its range.
    #[error("{0}")]
    OutOfRange(String),
}

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Injection {
    /// To wait first.
    pub latency: Duration,
    /// And then.
    pub then: Then,
}

/// How an injected fault ends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// As if nothing was.
    Pass,
    /// The connection is cut; nothing is done.
    Refuse,
    /// An error of this status; nothing is done.
    Fail(u16),
    /// The work is done; the reply is not sent.
    LoseReply,
}

impl Fault {
    /// Decides one request.
    #[must_use]
    pub fn decide(&self, rng: &dyn Rng) -> Injection {
        let hit = |percent: u8| percent > 0 && rng.below(100) < u64::from(percent);
        let then = if hit(self.refuse_percent) {
            Then::Refuse
        } else if hit(self.error_percent) {
            Then::Fail(if self.error_status == 0 { 503 } else { self.error_status })
        } else if hit(self.lost_reply_percent) {
            Then::LoseReply
        } else {
            Then::Pass
        };
        Injection { latency: Duration::from_millis(self.latency_ms), then }
    }

    fn check(&self, of: &str) -> Result<(), Error> {
        let percents = [self.error_percent, self.refuse_percent, self.lost_reply_percent];
        if percents.iter().any(|percent| *percent > 100) {
            return Err(Error::OutOfRange(format!("{of}: a percentage is 0 to 100")));
        }
        if self.latency_ms > LATENCY_MS_MAX {
            return Err(Error::OutOfRange(format!("{of}: latency_ms is 0 to {LATENCY_MS_MAX}")));
        }
        if self.error_status != 0 && !(500..600).contains(&self.error_status) {
            return Err(Error::OutOfRange(format!("{of}: error_status is 500 to 599, or 0 for 503")));
        }
        Ok(())
    }
}

/// The faults in force. Cheap to clone; clones share them.
#[derive(Debug, Clone)]
pub struct Faults(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    allowed: bool,
    /// Whether any is set: spares the request path the rest.
    any: AtomicBool,
    set: ArcSwap<FaultSet>,
}

impl Faults {
    /// No faults; `allowed` says whether [`Faults::set`] takes any.
    #[must_use]
    pub fn new(allowed: bool) -> Self {
        Self(Arc::new(Inner { allowed, any: AtomicBool::new(false), set: ArcSwap::default() }))
    }

    /// Whether this service takes faults at all.
    #[must_use]
    pub fn allowed(&self) -> bool {
        self.0.allowed
    }

    /// The faults in force.
    #[must_use]
    pub fn get(&self) -> Arc<FaultSet> {
        self.0.set.load_full()
    }

    /// Puts `set` in force instead of what was.
    ///
    /// # Errors
    /// When faults are not allowed, or a value is out of its range; then nothing changes.
    pub fn set(&self, set: FaultSet) -> Result<(), Error> {
        if !self.0.allowed {
            return Err(Error::NotAllowed);
        }
        if set.outbound.len() > TARGETS_MAX {
            return Err(Error::OutOfRange(format!("at most {TARGETS_MAX} targets")));
        }
        set.inbound.iter().try_for_each(|fault| fault.check("inbound"))?;
        set.outbound.iter().try_for_each(|(target, fault)| fault.check(target))?;
        let any = set != FaultSet::default();
        tracing::warn!(?set, "faults changed");
        self.0.set.store(Arc::new(set));
        self.0.any.store(any, Ordering::Release);
        Ok(())
    }

    /// What happens to a request that has come in.
    pub(crate) fn inbound(&self, rng: &dyn Rng) -> Option<Injection> {
        if !self.0.any.load(Ordering::Acquire) {
            return None;
        }
        self.0.set.load().inbound.as_ref().map(|fault| fault.decide(rng))
    }

    /// What happens to a call that goes out.
    pub(crate) fn outbound(&self, target: &str, rng: &dyn Rng) -> Option<Injection> {
        if !self.0.any.load(Ordering::Acquire) {
            return None;
        }
        self.0.set.load().outbound.get(target).map(|fault| fault.decide(rng))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use leeward_resilience::FastRng;

    use super::*;

    fn inbound(fault: Fault) -> FaultSet {
        FaultSet { inbound: Some(fault), ..FaultSet::default() }
    }

    #[test]
    fn off_unless_allowed() {
        let faults = Faults::new(false);
        assert_eq!(
            faults.set(inbound(Fault { refuse_percent: 100, ..Fault::default() })),
            Err(Error::NotAllowed)
        );
        assert_eq!(faults.inbound(&FastRng::seeded(1)), None);
    }

    #[test]
    fn a_wrong_value_changes_nothing() {
        let faults = Faults::new(true);
        let good = inbound(Fault { error_percent: 10, ..Fault::default() });
        faults.set(good.clone()).unwrap();
        for bad in [
            Fault { error_percent: 101, ..Fault::default() },
            Fault { latency_ms: 60_001, ..Fault::default() },
            Fault { error_status: 404, ..Fault::default() },
        ] {
            assert!(matches!(faults.set(inbound(bad)), Err(Error::OutOfRange(_))));
        }
        assert_eq!(*faults.get(), good);
    }

    #[test]
    fn each_kind_happens_as_often_as_asked() {
        let rng = FastRng::seeded(3);
        let always = |fault: Fault| fault.decide(&rng).then;
        assert_eq!(always(Fault { refuse_percent: 100, ..Fault::default() }), Then::Refuse);
        assert_eq!(always(Fault { error_percent: 100, ..Fault::default() }), Then::Fail(503));
        assert_eq!(
            always(Fault { error_percent: 100, error_status: 500, ..Fault::default() }),
            Then::Fail(500)
        );
        assert_eq!(always(Fault { lost_reply_percent: 100, ..Fault::default() }), Then::LoseReply);
        assert_eq!(always(Fault::default()), Then::Pass);
        let third = Fault { error_percent: 33, ..Fault::default() };
        let hits = (0..10_000).filter(|_| third.decide(&rng).then != Then::Pass).count();
        assert!((3_100..3_500).contains(&hits), "{hits}");
    }

    #[test]
    fn clearing_brings_the_cheap_path_back() {
        let faults = Faults::new(true);
        faults.set(inbound(Fault { latency_ms: 5, ..Fault::default() })).unwrap();
        assert!(faults.inbound(&FastRng::seeded(1)).is_some());
        faults.set(FaultSet::default()).unwrap();
        assert_eq!(faults.inbound(&FastRng::seeded(1)), None);
    }
}
