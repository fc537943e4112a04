//! Which of a route's services gets the request.

use std::sync::atomic::Ordering;

use super::trip::Trip;
use crate::shared::{Answers, Dealt, RouteState, Service, Shared};
use crate::split::Deal;
use crate::target::Target;

/// The service; `None` where the gateway answers itself.
pub(super) fn service<'s>(shared: &'s Shared, trip: &mut Trip, route: &RouteState) -> Option<&'s Service> {
    match &route.answers {
        Answers::Gateway => None,
        Answers::Service(at) => shared.services.get(*at),
        Answers::OneOf(dealt) => {
            let place = place(shared, route, dealt);
            dealt.requests[place].inc();
            Some(trip.is_answered_by(shared, dealt.services[place]))
        }
    }
}

fn place(shared: &Shared, route: &RouteState, dealt: &Dealt) -> usize {
    match &route.config.target {
        Target::Split(split) if split.deal == Deal::Turns => {
            dealt.shares.turn(dealt.turns.fetch_add(1, Ordering::Relaxed))
        }
        _ => dealt.shares.draw(shared.rng.next_u64()),
    }
}
