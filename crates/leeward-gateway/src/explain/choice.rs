//! Which of a route's services a request would go to, as far as that can be said beforehand.

use http::request::Parts;

use super::Explanation;
use crate::config::{HashOn, Route};
use crate::split::{Deal, Split, Sticky};
use crate::target::Target;

/// The services that may get it; none where the gateway answers itself.
pub(super) fn services<'r>(told: &mut Explanation, route: &'r Route, parts: &Parts) -> Vec<&'r str> {
    let Target::Split(split) = &route.target else {
        return route.target.services().map(|name| &**name).collect();
    };
    let (how, services) = how(split, parts);
    let moved = match split.delivery {
        Some(kind) => format!(
            "\n{} of {}: operators may have moved the share of a running gateway",
            kind.as_str(),
            route.id
        ),
        None => String::new(),
    };
    told.step("version", &*route.origin, format!("{split}: {how}{moved}"));
    services
}

/// What decides, and for whom, where the request itself says it.
fn how<'r>(split: &'r Split, parts: &Parts) -> (String, Vec<&'r str>) {
    let name = |place: usize| &*split.arms[place].service;
    if let Some(pin) = split.pinned(parts.uri.query(), &parts.headers) {
        let conditions: Vec<String> = pin.conditions.iter().map(ToString::to_string).collect();
        return (format!("{}, pinned by {}", name(pin.arm), conditions.join(" and ")), vec![name(pin.arm)]);
    }
    let Some(sticky) = &split.sticky else { return (dealt(split).to_owned(), with_a_share(split)) };
    if let Some(key) = sticky.key_in(&parts.headers) {
        let home = name(split.shares().home(key));
        return (format!("{home}, where the {sticky} of this request belongs"), vec![home]);
    }
    let how = match sticky {
        Sticky::On(HashOn::ClientAddress) => "where the client\'s address belongs".to_owned(),
        Sticky::On(on) => format!("where its {on} belongs, which says nothing here; else {}", dealt(split)),
        Sticky::Cookie(own) => {
            format!("by chance, and with the cookie {} that comes back there again", own.name)
        }
    };
    (how, with_a_share(split))
}

const fn dealt(split: &Split) -> &'static str {
    match split.deal {
        Deal::Random => "by chance, each request for itself",
        Deal::Turns => "in turns, over all requests of the route",
    }
}

fn with_a_share(split: &Split) -> Vec<&str> {
    split.arms.iter().filter(|arm| arm.weight > 0).map(|arm| &*arm.service).collect()
}
