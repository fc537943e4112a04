//! The breaker as a tower layer.

use std::sync::Arc;

use super::{CircuitBreaker, Permit};
use crate::layer::permit::{self, Admit, AdmitRequest, PermitFuture, PermitLayer, PermitService};
use crate::outcome::{Class, Rejected};
use crate::time::{Clock, Instant};

/// Puts a [`CircuitBreaker`] in front of a service. Every service that the layer makes shares its state.
pub type BreakerLayer<C> = PermitLayer<CircuitBreaker, C>;

/// A service behind a [`CircuitBreaker`].
pub type BreakerService<S, C> = PermitService<S, CircuitBreaker, C>;

/// The call of a [`BreakerService`]. Dropped before its end, it was cancelled.
pub type BreakerFuture<F, C> = PermitFuture<F, Permit, C>;

impl<C> BreakerLayer<C> {
    /// `classify` is a `Fn(&Result<Response, Error>) -> Class`.
    #[must_use]
    pub const fn new(breaker: CircuitBreaker, classify: C) -> Self {
        Self { admit: breaker, classify }
    }
}

impl Admit for CircuitBreaker {
    type Permit = Permit;

    fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.clock
    }
}

impl<Request> AdmitRequest<Request> for CircuitBreaker {
    fn admit(&self, _: &Request, now: Instant) -> Result<Permit, Rejected> {
        self.acquire(now)
    }
}

impl permit::Permit for Permit {
    fn end(self, class: Class, now: Instant) {
        self.record(class, now);
    }
}
