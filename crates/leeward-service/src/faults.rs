//! Faults on demand: latency, errors, refusal, lost replies, for a service and for each target that it calls.
//!
//! They exist so that an operator can watch the platform survive them. A service takes none unless it was started with
//! faults allowed, and those that it takes end by themselves. Each place has an experiment of
//! [`leeward_resilience::fault`]; with no fault set, the cost is one atomic load a request.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::StatusCode;
use leeward_resilience::fault::{self, FaultInjector};
use leeward_resilience::{Clock, Observer, Rng};
use serde::{Deserialize, Serialize};

/// The longest injected latency: longer than every deadline, short enough to end.
const LATENCY_MS_MAX: u64 = 60_000;
/// How long faults last that do not say it: long enough to look, short enough to be forgotten.
const LASTS_S_DEFAULT: u32 = 600;
/// The longest that faults last.
const LASTS_S_MAX: u32 = 24 * 3600;
/// The most targets with a fault of their own.
const TARGETS_MAX: usize = 64;
/// What errors and metrics call the policies in front of the service itself.
pub(crate) const INBOUND: &str = "inbound";

/// What goes wrong, and how often. Everything is off by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fault {
    /// Added before the work, in milliseconds, at most 60,000.
    pub latency_ms: u64,
    /// Percent of requests answered with `error_status` instead of being worked on. The three percentages together are at
    /// most 100: a request has one fault.
    pub error_percent: u8,
    /// The status of those errors: 500 to 599, 503 when 0.
    pub error_status: u16,
    /// Percent of requests whose connection is cut before the work.
    pub refuse_percent: u8,
    /// Percent of requests whose work is done and whose reply never arrives.
    pub lost_reply_percent: u8,
    /// The faults end by themselves after so many seconds, at most 86,400; 600 when 0.
    pub lasts_s: u32,
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

impl Fault {
    fn check(&self, of: &str) -> Result<(), Error> {
        let out_of_range = |what: String| Err(Error::OutOfRange(format!("{of}: {what}")));
        let percents = [self.error_percent, self.refuse_percent, self.lost_reply_percent];
        if percents.iter().map(|percent| u32::from(*percent)).sum::<u32>() > 100 {
            return out_of_range("the percentages are 0 to 100, and together at most 100".to_owned());
        }
        if self.latency_ms > LATENCY_MS_MAX {
            return out_of_range(format!("latency_ms is 0 to {LATENCY_MS_MAX}"));
        }
        if self.error_status != 0 && !(500..600).contains(&self.error_status) {
            return out_of_range("error_status is 500 to 599, or 0 for 503".to_owned());
        }
        if self.lasts_s > LASTS_S_MAX {
            return out_of_range(format!("lasts_s is 1 to {LASTS_S_MAX}, or 0 for {LASTS_S_DEFAULT}"));
        }
        Ok(())
    }

    /// The same in the terms of the crate that injects it.
    fn experiment(&self) -> fault::Faults {
        let share = |percent: u8| f64::from(percent) / 100.0;
        let latency = Duration::from_millis(self.latency_ms);
        let lasts_s = if self.lasts_s == 0 { LASTS_S_DEFAULT } else { self.lasts_s };
        fault::Faults {
            latency_share: if latency.is_zero() { 0.0 } else { 1.0 },
            latency_min: latency,
            latency_max: latency,
            refused_share: share(self.refuse_percent),
            error_share: share(self.error_percent),
            lost_reply_share: share(self.lost_reply_percent),
            // An operator watches an outage for its time, however busy the service is.
            faults_max: u64::MAX,
            lasts: Duration::from_secs(lasts_s.into()),
            ..fault::Faults::default()
        }
    }
}

/// The faults in force. Cheap to clone; clones share them.
#[derive(Debug, Clone)]
pub struct Faults(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    allowed: bool,
    surroundings: Surroundings,
    places: ArcSwap<Places>,
}

/// What every experiment is made with.
#[derive(Debug, Clone)]
struct Surroundings {
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    observer: Option<Arc<dyn Observer>>,
}

#[derive(Debug, Default)]
struct Places {
    inbound: Option<Arc<Place>>,
    outbound: BTreeMap<String, Arc<Place>>,
}

/// A place where faults happen, and its experiment.
#[derive(Debug)]
pub(crate) struct Place {
    asked: Fault,
    injector: FaultInjector,
}

impl Faults {
    /// No faults; `allowed` says whether [`Faults::set`] takes any. The observer hears of every fault, by the name `inbound` or
    /// that of the target.
    #[must_use]
    pub fn new(
        allowed: bool,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        observer: Option<Arc<dyn Observer>>,
    ) -> Self {
        let surroundings = Surroundings { clock, rng, observer };
        Self(Arc::new(Inner { allowed, surroundings, places: ArcSwap::default() }))
    }

    /// Whether this service takes faults at all.
    #[must_use]
    pub fn allowed(&self) -> bool {
        self.0.allowed
    }

    /// The faults in force, without those that ended by themselves.
    #[must_use]
    pub fn get(&self) -> FaultSet {
        let places = self.0.places.load();
        let asked = |place: &Arc<Place>| place.injector.running().map(|_| place.asked.clone());
        FaultSet {
            inbound: places.inbound.as_ref().and_then(asked),
            outbound: places
                .outbound
                .iter()
                .filter_map(|(target, place)| Some((target.clone(), asked(place)?)))
                .collect(),
        }
    }

    /// Puts `set` in force instead of what was; an empty one ends all faults.
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
        set.inbound.iter().try_for_each(|fault| fault.check(INBOUND))?;
        set.outbound.iter().try_for_each(|(target, fault)| fault.check(target))?;
        tracing::warn!(?set, "faults change");
        let begin = |of: &str, fault: &Fault| Place::begin(of, fault, &self.0.surroundings).map(Arc::new);
        let inbound = set.inbound.as_ref().map(|fault| begin(INBOUND, fault)).transpose()?;
        let outbound = set.outbound.iter().map(|(target, fault)| Ok((target.clone(), begin(target, fault)?)));
        let outbound = outbound.collect::<Result<_, Error>>()?;
        self.0.places.store(Arc::new(Places { inbound, outbound }));
        Ok(())
    }

    /// What happens to requests that have come in.
    pub(crate) fn inbound(&self) -> Option<Arc<Place>> {
        self.0.places.load().inbound.clone()
    }

    /// What happens to calls that go out.
    pub(crate) fn outbound(&self, target: &str) -> Option<Arc<Place>> {
        self.0.places.load().outbound.get(target).cloned()
    }
}

impl Place {
    fn begin(of: &str, asked: &Fault, surroundings: &Surroundings) -> Result<Self, Error> {
        let Surroundings { clock, rng, observer } = surroundings.clone();
        let injector = FaultInjector::with(of, clock, rng, observer);
        injector.set(asked.experiment()).map_err(|error| Error::OutOfRange(format!("{of}: {error}")))?;
        Ok(Self { asked: asked.clone(), injector })
    }

    /// Does the work, or what the experiment makes of it. `seen_as` says what the caller sees of a fault.
    pub(crate) async fn disturb<T, F: Future<Output = T>>(
        &self,
        work: impl FnOnce() -> F,
        seen_as: impl FnOnce(fault::Fault) -> T,
    ) -> T {
        let work = async || Ok::<T, Infallible>(work().await);
        let Ok(done) = self.injector.call(work, |fault| Ok(seen_as(fault))).await;
        done
    }

    /// What an injected error is answered with.
    pub(crate) fn error_status(&self) -> StatusCode {
        StatusCode::from_u16(self.asked.error_status)
            .ok()
            .filter(StatusCode::is_server_error)
            .unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use leeward_resilience::{FastRng, ManualClock};

    use super::*;

    fn faults(allowed: bool) -> (Faults, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new());
        let rng = Arc::new(FastRng::seeded(3));
        (Faults::new(allowed, Arc::clone(&clock) as Arc<dyn Clock>, rng, None), clock)
    }

    fn inbound(fault: Fault) -> FaultSet {
        FaultSet { inbound: Some(fault), ..FaultSet::default() }
    }

    /// What became of `count` requests: passed, refused, failed with a status, lost.
    async fn outcomes(faults: &Faults, count: usize) -> BTreeMap<String, usize> {
        let mut seen = BTreeMap::new();
        for _ in 0..count {
            let outcome = match faults.inbound() {
                None => "off".to_owned(),
                Some(place) => {
                    place.disturb(async || "passed".to_owned(), |fault| fault.as_str().to_owned()).await
                }
            };
            *seen.entry(outcome).or_default() += 1;
        }
        seen
    }

    #[tokio::test]
    async fn off_unless_allowed() {
        let (faults, _clock) = faults(false);
        let refuse = Fault { refuse_percent: 100, ..Fault::default() };
        assert_eq!(faults.set(inbound(refuse)), Err(Error::NotAllowed));
        assert_eq!(outcomes(&faults, 3).await, [("off".to_owned(), 3)].into());
    }

    #[test]
    fn a_wrong_value_changes_nothing() {
        let (faults, _clock) = faults(true);
        let good = inbound(Fault { error_percent: 10, ..Fault::default() });
        faults.set(good.clone()).unwrap();
        for bad in [
            Fault { error_percent: 101, ..Fault::default() },
            Fault { error_percent: 60, refuse_percent: 30, lost_reply_percent: 11, ..Fault::default() },
            Fault { latency_ms: 60_001, ..Fault::default() },
            Fault { error_status: 404, ..Fault::default() },
            Fault { lasts_s: 86_401, ..Fault::default() },
        ] {
            let outbound = FaultSet { outbound: [("stock".to_owned(), bad.clone())].into(), ..good.clone() };
            assert!(
                matches!(faults.set(outbound), Err(Error::OutOfRange(what)) if what.starts_with("stock: "))
            );
            assert!(matches!(faults.set(inbound(bad)), Err(Error::OutOfRange(_))));
        }
        assert_eq!(faults.get(), good);
        let edge =
            Fault { error_percent: 60, refuse_percent: 30, lost_reply_percent: 10, ..Fault::default() };
        faults.set(inbound(edge)).unwrap();
    }

    #[tokio::test]
    async fn each_kind_happens_as_often_as_asked() {
        let (faults, _clock) = faults(true);
        let mixed =
            Fault { refuse_percent: 10, error_percent: 20, lost_reply_percent: 30, ..Fault::default() };
        faults.set(inbound(mixed)).unwrap();
        let seen = outcomes(&faults, 10_000).await;
        for (kind, expected) in
            [("refused", 1_000), ("error", 2_000), ("lost-reply", 3_000), ("passed", 4_000)]
        {
            assert!(seen[kind].abs_diff(expected) < 200, "{kind}: {seen:?}");
        }
    }

    #[test]
    fn an_error_has_the_status_that_was_asked_for() {
        let status = |error_status| {
            let (faults, _clock) = faults(true);
            faults.set(inbound(Fault { error_percent: 100, error_status, ..Fault::default() })).unwrap();
            faults.inbound().unwrap().error_status().as_u16()
        };
        assert_eq!((status(0), status(500), status(599)), (503, 500, 599));
    }

    #[tokio::test]
    async fn what_is_forgotten_ends_by_itself() {
        let (faults, clock) = faults(true);
        let refuse = |lasts_s| Fault { refuse_percent: 100, lasts_s, ..Fault::default() };
        for (lasts_s, ends) in [(0, 600), (5, 5)] {
            faults.set(inbound(refuse(lasts_s))).unwrap();
            clock.advance(Duration::from_secs(ends) - Duration::from_nanos(1));
            assert_eq!(faults.get(), inbound(refuse(lasts_s)));
            assert_eq!(outcomes(&faults, 1).await, [("refused".to_owned(), 1)].into());
            clock.advance(Duration::from_nanos(1));
            assert_eq!(faults.get(), FaultSet::default());
            assert_eq!(outcomes(&faults, 1).await, [("passed".to_owned(), 1)].into());
        }
    }
}
