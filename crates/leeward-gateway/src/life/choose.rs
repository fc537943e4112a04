//! Which of a route's services gets the request.

use std::sync::atomic::Ordering;

use http::request::Parts;
use leeward_discovery::ring;

use super::Peer;
use super::trip::Trip;
use crate::config::HashOn;
use crate::jwt::Subject;
use crate::shared::{Answers, Dealt, RouteState, Service, Shared};
use crate::split::{Deal, Shares, Split, Sticky, key_of_address};
use crate::target::Target;

/// The service; `None` where the gateway answers itself.
pub(super) fn service<'s>(
    shared: &'s Shared,
    trip: &mut Trip,
    route: &RouteState,
    (head, peer): (&mut Parts, &Peer),
    subject: Option<&Subject>,
) -> Option<&'s Service> {
    let (dealt, split) = match (&route.answers, &route.config.target) {
        (Answers::Service(at), _) => return shared.services.get(*at),
        (Answers::OneOf(dealt), Target::Split(split)) => (dealt, split),
        _ => return None,
    };
    let pinned = split.pinned(head.uri.query(), &head.headers).map(|pin| pin.arm);
    if let Some(sticky) = &split.sticky {
        trip.key = key(shared, trip, sticky, (head, peer), subject);
    }
    let shares = dealt.shares.load();
    let home = || trip.key.map(|key| shares.home(key));
    let place = pinned.or_else(home).unwrap_or_else(|| next(shared, split, dealt, &shares));
    dealt.requests[place].inc();
    Some(trip.is_answered_by(shared, dealt.services[place]))
}

/// What a request without a key gets.
fn next(shared: &Shared, split: &Split, dealt: &Dealt, shares: &Shares) -> usize {
    match split.deal {
        Deal::Turns => shares.turn(dealt.turns.fetch_add(1, Ordering::Relaxed)),
        Deal::Random => shares.draw(shared.rng.next_u64()),
    }
}

fn key(
    shared: &Shared,
    trip: &mut Trip,
    sticky: &Sticky,
    (head, peer): (&mut Parts, &Peer),
    subject: Option<&Subject>,
) -> Option<u64> {
    let in_headers = sticky.key_in(&head.headers);
    match sticky {
        Sticky::On(HashOn::ClientAddress) => Some(key_of_address(trip.client)),
        Sticky::On(HashOn::User) => subject.map(|subject| ring::hash(subject.id.as_bytes())),
        Sticky::On(_) => in_headers,
        Sticky::Cookie(own) => {
            own.take_out(&mut head.headers);
            in_headers.or_else(|| {
                let (key, line) = own.make(shared.rng.next_u64(), peer.is_encrypted);
                trip.cookie = line;
                Some(key)
            })
        }
    }
}
