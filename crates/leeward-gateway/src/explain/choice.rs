//! Which of a route's services a request would go to, as far as that can be said beforehand.

use super::Explanation;
use crate::config::Route;
use crate::split::{Deal, Split};
use crate::target::Target;

/// The services that may get it; none where the gateway answers itself.
pub(super) fn services<'r>(told: &mut Explanation, route: &'r Route) -> Vec<&'r str> {
    let Target::Split(split) = &route.target else {
        return route.target.services().map(|name| &**name).collect();
    };
    let how = match split.deal {
        Deal::Random => "by chance, each request for itself",
        Deal::Turns => "in turns, over all requests of the route",
    };
    told.step("version", &*route.origin, format!("{split}: {how}"));
    with_a_share(split)
}

fn with_a_share(split: &Split) -> Vec<&str> {
    split.arms.iter().filter(|arm| arm.weight > 0).map(|arm| &*arm.service).collect()
}
