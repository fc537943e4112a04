//! The breaker as a tower layer.

use super::{CircuitBreaker, Permit};
use crate::layer::permit::{Admit, Ends, PermitFuture, PermitLayer, PermitService};
use crate::outcome::{Class, Rejected};

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

impl<Request> Admit<Request> for CircuitBreaker {
    type Permit = Permit;

    fn admit(&self, _: &Request) -> Result<Permit, Rejected> {
        self.acquire(self.shared.clock.now())
    }
}

impl Ends for Permit {
    fn end(self, class: Class) {
        self.finish(class);
    }
}
