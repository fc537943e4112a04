//! Another answer than the service's, when its call has failed and no copy of an earlier one stands in for it.

use std::rc::Rc;

use http::Response;
use leeward_resilience::fallback::Cause;
use leeward_resilience::fault::Fault;
use leeward_resilience::pipeline::Guard;
use leeward_resilience::{Call, Class, Clock, Deadline, Error, Instant, Rejected};

use super::forward::Forward;
use super::outbound::{Answered, Failure, ask, checked, class_of, class_of_failure, pass_on};
use super::sending::{Sending, is_idempotent};
use super::trip::{Held, Trip};
use super::{Asks, Core, own};
use crate::body::Download;
use crate::config::Substitute;
use crate::refusal::Refusal;
use crate::shared::{RouteState, Standby};
use crate::upstream::{self, Got};

/// How the call of a service failed, as far as a substitute needs to know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed {
    cause: Cause,
    /// Whether another service may get the request: it may be repeated or was not seen, and its body is still there.
    may_go_on: bool,
}

/// What answered in the place of a route's service.
#[derive(Debug)]
pub(super) struct FellBack {
    pub(super) cause: Cause,
    /// The service, as its place in the snapshot; `None`: the gateway itself.
    pub(super) service: Option<usize>,
    /// What the client would have been told; `None` where the failure was an answer of the service.
    pub(super) refusal: Option<Refusal>,
}

/// What is to answer.
pub(super) enum Instead {
    /// The fixed answer.
    Fixed(Response<Download>),
    /// Another service's answer to the request as it got it.
    Of { service: usize, forward: Box<Forward>, got: Box<Got>, guard: Option<Guard> },
}

impl Failed {
    /// `None` for a call that went well, and where nothing may stand in: the mistake is the client's, or it has left.
    pub(super) fn of(
        answered: &Result<Answered, Error<Failure>>,
        (forward, sending): (&Forward, &Sending),
        trip: &Trip,
    ) -> Option<Self> {
        if sending.cut.get().is_some() {
            return None;
        }
        let cause = match answered {
            Ok((got, _)) => Cause::of_class(class_of(got, forward, trip))?,
            Err(Error::Rejected(rejected)) => Cause::Rejected(*rejected),
            Err(Error::Timeout { .. }) => Cause::Timeout,
            Err(Error::DeadlineExceeded { .. }) => Cause::DeadlineExceeded,
            Err(Error::Injected(_)) => Cause::Retryable,
            // To the breaker it says nothing of the service; to the client it is a rejection like others.
            Err(Error::Inner(Failure::NoEndpoint(error))) => Cause::Rejected(Rejected::from(error)),
            Err(Error::Inner(failure)) => Cause::of_class(class_of_failure(failure, sending))?,
        };
        let may_be_repeated = is_idempotent(&forward.method) || is_unseen(answered);
        Some(Self { cause, may_go_on: may_be_repeated && sending.can_be_sent() })
    }
}

/// Whether the service cannot have seen the request.
fn is_unseen(answered: &Result<Answered, Error<Failure>>) -> bool {
    match answered {
        Err(Error::Inner(Failure::NoEndpoint(_)) | Error::Injected(Fault::Refused)) => true,
        Err(Error::Inner(Failure::Upstream(error))) => matches!(
            error,
            upstream::Error::Connect(_) | upstream::Error::Handshake(_) | upstream::Error::Refused
        ),
        Err(error) => error.not_sent(),
        Ok(_) => false,
    }
}

/// Finds a substitute, where the route's policy wants one and there may be one.
pub(super) async fn find(
    core: &Rc<Core>,
    (route, standby): (&RouteState, &Standby),
    (forward, sending, asks): (&Forward, &Sending, Asks<'_>),
    failed: Failed,
    trip: &Trip,
) -> Option<Instead> {
    let now = core.shared.clock.now();
    let may_be = match standby.service {
        // No client of gRPC takes a fixed answer for one.
        None => !trip.is_call,
        Some(_) => failed.may_go_on,
    };
    // A call that has a time of its own is answered by that alone when it is over.
    let is_over = forward.call_until.is_some_and(|until| until.remaining(now).is_zero());
    if !may_be || is_over || !standby.policy.takes(failed.cause) {
        return None;
    }
    let instead = match standby.service {
        None => fixed(route),
        Some(service) => other(core, (standby, service), (forward, sending, asks), now, trip).await,
    };
    standby.policy.report(failed.cause, instead.is_some());
    instead
}

fn fixed(route: &RouteState) -> Option<Instead> {
    match &route.config.fallback.as_ref()?.substitute {
        Substitute::Respond(respond) => Some(Instead::Fixed(own::fixed(respond))),
        Substitute::Service(_) => None,
    }
}

/// Asks another service once. One that fails as well is no substitute.
async fn other(
    core: &Rc<Core>,
    (standby, place): (&Standby, usize),
    (forward, sending, (peer, subject)): (&Forward, &Sending, Asks<'_>),
    now: Instant,
    trip: &Trip,
) -> Option<Instead> {
    let shared = &core.shared;
    let service = shared.services.get(place)?;
    let forward = Box::new(forward.towards(shared, (service, trip.key), subject).ok()?);
    // The request's own time has its say no more: one that is almost over would leave none. A service that lets this one pass hangs.
    let (within, way) = (standby.policy.within(), service.outbound());
    let abandoned_after = Some(within.min(way.attempt_longest));
    let call = Call { deadline: Some(Deadline::after(now, within)), abandoned_after, ..Call::ONCE };
    let (got, guard) = ask(core, (service, way), (&forward, sending, &peer.timer), call, trip).await.ok()?;
    if matches!(class_of(&got, &forward, trip), Class::Failure { .. }) {
        return None;
    }
    let got = checked(service, got, &forward).ok()?;
    if got.picked.is_some() {
        sending.is_conversation();
    }
    Some(Instead::Of { service: place, forward, got, guard })
}

impl Instead {
    /// The answer. What the client would have been told otherwise is kept for whoever asks.
    pub(super) fn answer(
        self,
        core: &Rc<Core>,
        route: &RouteState,
        (failed, refusal): (Failed, Option<Refusal>),
        held: Held,
        trip: &Trip,
    ) -> Response<Download> {
        let cause = failed.cause;
        match self {
            Self::Fixed(answer) => {
                trip.falls_back(FellBack { cause, service: None, refusal });
                answer
            }
            Self::Of { service: place, forward, got, guard } => {
                trip.falls_back(FellBack { cause, service: Some(place), refusal });
                let service = &core.shared.services[place];
                pass_on(core, (route, service), &forward, got, (guard, held), trip)
            }
        }
    }
}
