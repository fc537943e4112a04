//! Adaptive throttling as a tower layer.

use std::fmt;

use super::{Permit, Throttler};
use crate::layer::permit::{Admit, Ends, PermitFuture, PermitLayer, PermitService};
use crate::outcome::{Class, Rejected};
use crate::priority::Priority;

/// Puts a [`Throttler`] in front of a service. Every service that the layer makes shares its window.
pub type ThrottleLayer<C, P> = PermitLayer<Prioritized<P>, C>;

/// A service behind a [`Throttler`].
pub type ThrottleService<S, C, P> = PermitService<S, Prioritized<P>, C>;

/// The call of a [`ThrottleService`]. Dropped before its end, it was cancelled.
pub type ThrottleFuture<F, C> = PermitFuture<F, Permit, C>;

/// A [`Throttler`] that knows the priority of a request.
#[derive(Clone)]
pub struct Prioritized<P> {
    throttler: Throttler,
    priority_of: P,
}

impl<P> fmt::Debug for Prioritized<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.throttler.fmt(f)
    }
}

impl<C, P> ThrottleLayer<C, P> {
    /// `classify` is a `Fn(&Result<Response, Error>) -> Class`, `priority_of` a `Fn(&Request) -> Priority`: always
    /// [`Priority::Normal`] where there are none.
    #[must_use]
    pub const fn new(throttler: Throttler, classify: C, priority_of: P) -> Self {
        Self { admit: Prioritized { throttler, priority_of }, classify }
    }
}

impl<P: Fn(&Request) -> Priority, Request> Admit<Request> for Prioritized<P> {
    type Permit = Permit;

    fn admit(&self, request: &Request) -> Result<Permit, Rejected> {
        let now = self.throttler.shared.clock.now();
        self.throttler.acquire((self.priority_of)(request), now)
    }
}

impl Ends for Permit {
    fn end(self, class: Class) {
        self.finish(class);
    }
}
