//! Handles to the metrics of requests that were answered or refused lately.

use std::cell::RefCell;
use std::time::Duration;

use http::StatusCode;
use leeward_resilience::{Mode, Priority};
use leeward_telemetry::metrics::{Counter, Histogram};

use crate::metrics::Metrics;
use crate::refusal::Stage;

/// Kinds of requests whose handles are kept: a route is asked by one or two methods and answers with a few statuses, and where there are more
/// routes than these, two that share a place look up theirs in turn.
const SLOTS: usize = 256;

/// One kind of request: its route, its method and its status.
type Kind = (Option<usize>, &'static str, StatusCode);

/// Handles by kind, of one core under one snapshot: a request of a kind that was there before looks none up.
#[derive(Debug)]
pub(crate) struct Series {
    slots: RefCell<Box<[Slot]>>,
    refused: Few<(Stage, &'static str)>,
    shed: Few<(Priority, Mode)>,
}

type Slot = Option<(Kind, Counter, Histogram)>;

/// Counters of a family that has few, by what they count.
#[derive(Debug)]
struct Few<K>(RefCell<Vec<(K, Counter)>>);

impl<K: Copy + Eq> Few<K> {
    const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    fn inc(&self, key: K, find: impl FnOnce() -> Counter) {
        let mut known = self.0.borrow_mut();
        if let Some((_, counter)) = known.iter().find(|(other, _)| *other == key) {
            return counter.inc();
        }
        let counter = find();
        counter.inc();
        known.push((key, counter));
    }
}

impl Series {
    pub(crate) fn new() -> Self {
        let slots = RefCell::new((0..SLOTS).map(|_| None).collect());
        Self { slots, refused: Few::new(), shed: Few::new() }
    }

    /// Counts a refusal.
    pub(super) fn refused(&self, metrics: &Metrics, stage: Stage, code: &'static str) {
        self.refused.inc((stage, code), || metrics.refusals.with([stage.as_str(), code]));
    }

    /// Counts a request that its core does not work on.
    pub(super) fn shed(&self, metrics: &Metrics, priority: Priority, mode: Mode) {
        self.shed
            .inc((priority, mode), || metrics.overload.requests.with([priority.as_str(), mode.as_str()]));
    }

    /// Counts a request. `label` is its route's.
    pub(super) fn count(&self, metrics: &Metrics, kind: Kind, label: &str, took: Duration) {
        let (route, method, status) = kind;
        let mut slots = self.slots.borrow_mut();
        let at = route.unwrap_or(SLOTS - 1).wrapping_mul(4) ^ usize::from(status.as_u16()) ^ method.len();
        let slot = &mut slots[at % SLOTS];
        if slot.as_ref().is_none_or(|(known, ..)| *known != kind) {
            let requests = metrics.requests.with([method, label, status.as_str()]);
            *slot = Some((kind, requests, metrics.durations.with([method, label])));
        }
        if let Some((_, requests, durations)) = slot {
            requests.inc();
            durations.observe_duration(took);
        }
    }
}

#[cfg(test)]
mod tests {
    use leeward_telemetry::metrics::Registry;

    use super::*;

    #[test]
    fn each_refusal_is_counted_for_what_it_is() {
        let (metrics, series) = (Metrics::new(Registry::new(), 3), Series::new());
        let refusals = [(Stage::Parse, "a"), (Stage::Parse, "b"), (Stage::Route, "a")];
        let shed =
            [(Priority::Low, Mode::Enforced), (Priority::Low, Mode::Shadow), (Priority::High, Mode::Shadow)];
        for times in 1..=2 {
            for (stage, code) in refusals {
                series.refused(&metrics, stage, code);
                assert_eq!(metrics.refusals.with([stage.as_str(), code]).get(), times);
            }
            for (priority, mode) in shed {
                series.shed(&metrics, priority, mode);
                assert_eq!(metrics.overload.requests.with([priority.as_str(), mode.as_str()]).get(), times);
            }
        }
    }

    #[test]
    fn each_request_is_counted_for_what_it_is() {
        let (metrics, series) = (Metrics::new(Registry::new(), 3), Series::new());
        let label = |route: Option<usize>| route.map_or("none".to_owned(), |route| format!("r{route}"));
        let kinds = || {
            // Routes that share a place, too.
            let routes = [None, Some(0), Some(1), Some(SLOTS), Some(SLOTS / 4)];
            routes.into_iter().flat_map(|route| {
                ["GET", "PUT"].into_iter().flat_map(move |method| {
                    [StatusCode::OK, StatusCode::NOT_FOUND].map(|status| (route, method, status))
                })
            })
        };
        for _ in 0..3 {
            for kind in kinds() {
                series.count(&metrics, kind, &label(kind.0), Duration::from_millis(1));
            }
        }
        for (route, method, status) in kinds() {
            let counted = metrics.requests.with([method, &label(route), status.as_str()]).get();
            assert_eq!(counted, 3, "{route:?} {method} {status}");
            assert_eq!(metrics.durations.with([method, &label(route)]).count(), 6);
        }
    }
}
