//! A new version of a service that takes over from the one before it, at the pace of an operator.
//!
//! **Rule.** The file says where a delivery begins; from then on operators move the candidate's share, each knowing what they move from:
//! an order names the version of the state that it was given for, and one that comes too late changes nothing. A request goes by the
//! share at the moment when its service is chosen, and stays there.
//!
//! The state belongs to the route's id. It survives a reload as long as the route's `delivery` is the same, and begins anew when it is
//! not; it is in memory alone, so that a restart begins where the file says.

mod state;

use std::sync::Arc;

use arc_swap::ArcSwap;
use leeward_telemetry::metrics::Gauge;
use parking_lot::Mutex;

pub(crate) use self::state::State;
pub use self::state::{Kind, Order, Refused};
use crate::split::{Shares, Split, WHOLE};

/// A delivery at work.
#[derive(Debug)]
pub(crate) struct Moving {
    /// As the file says it.
    pub(crate) kind: Kind,
    pub(crate) begins: u32,
    pub(crate) services: [Arc<str>; 2],
    shares: Arc<ArcSwap<Shares>>,
    state: Mutex<State>,
    gauge: Gauge,
}

impl Moving {
    /// What the file says; `after` is what another file said of the same route before.
    pub(crate) fn new(
        split: &Split,
        kind: Kind,
        after: Option<&Self>,
        gauge: Gauge,
        now_ms: i64,
    ) -> Option<Self> {
        let [stable, candidate] = split.arms.as_slice() else { return None };
        let version = after.map_or(1, |after| after.state().version + 1);
        let begins = candidate.weight;
        Some(Self {
            kind,
            begins,
            services: [Arc::clone(&stable.service), Arc::clone(&candidate.service)],
            shares: Arc::new(ArcSwap::from_pointee(split.shares())),
            state: Mutex::new(State { share: begins, version, since_ms: now_ms }),
            gauge,
        })
    }

    /// Whether the file says the same as another one did.
    pub(crate) fn begins_as(&self, other: &Self) -> bool {
        (self.kind, self.begins, &self.services) == (other.kind, other.begins, &other.services)
    }

    pub(crate) fn shares(&self) -> &Arc<ArcSwap<Shares>> {
        &self.shares
    }

    pub(crate) fn state(&self) -> State {
        *self.state.lock()
    }

    /// Shows the share in the metrics.
    pub(crate) fn measure(&self) {
        self.gauge.set(i64::from(self.state().share));
    }

    /// Does what an operator wants, at once for all cores.
    pub(crate) fn order(&self, order: Order, expected: Option<u64>, now_ms: i64) -> Result<State, Refused> {
        let mut state = self.state.lock();
        let next = state.after(self.kind, order, expected, now_ms)?;
        let [stable, candidate] = &self.services;
        let weights = [(&**stable, WHOLE - next.share), (&**candidate, next.share)];
        self.shares.store(Arc::new(Shares::new(weights.into_iter())));
        self.gauge.set(i64::from(next.share));
        *state = next;
        Ok(next)
    }
}
