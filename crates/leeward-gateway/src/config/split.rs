//! Reading which services share a route's requests.

use leeward_runtime::config::Node;
use leeward_runtime::units;

use super::routes::{Services, named, service};
use super::sticky::sticky;
use super::takes::conditions;
use crate::split::{ARMS_MAX, Arm, Deal, PARTS_MAX, PINS_MAX, Pin, Split, Sticky, Unit, WHOLE};

const WEIGHT: &str = "a share as 90% or 2.5%, or parts as 9, at most 1000000";

/// `split` with what says how it is done.
pub(super) fn split(route: &Node<'_>, services: &mut Services, knows_users: bool) -> Option<Split> {
    let node = route.get("split");
    let entries = node.entries();
    if entries.is_empty() || entries.len() > ARMS_MAX {
        node.reject("has no services, or too many", format_args!("1 to {ARMS_MAX} lines SERVICE: WEIGHT"));
        let _read = choices(route, &[], services, knows_users);
        return None;
    }
    let mut arms: Vec<Arm> = Vec::new();
    let mut units = Vec::new();
    for (name, node) in &entries {
        let service = named(node, name, services);
        let weight = node.clone().required().parse_with("a weight", WEIGHT, weight);
        let Some((service, (unit, weight))) = service.zip(weight) else { continue };
        if arms.iter().any(|arm| arm.service == service) {
            node.reject(format_args!("is for `{service}`, which stands here already"), "each service once");
        }
        units.push(unit);
        arms.push(Arm { service, weight });
    }
    let (deal, pins, sticky) = choices(route, &arms, services, knows_users);
    let unit = *units.first()?;
    if arms.len() < entries.len() {
        return None;
    }
    let all: u32 = arms.iter().map(|arm| arm.weight).sum();
    if units.iter().any(|other| *other != unit) {
        node.reject("has shares and parts", "either shares of 100%, or parts");
    } else if unit == Unit::Percent && all != WHOLE {
        let all = units::show_percentage(f64::from(all) / f64::from(WHOLE));
        node.reject(format_args!("has shares that are {all} together"), "shares that are 100% together");
    } else if all == 0 {
        node.reject("has no weight above 0: nobody would answer", "one weight above 0 at least");
    }
    Some(Split { arms, unit, deal, pins, sticky, delivery: None })
}

/// How requests are shared out among services.
pub(super) fn choices(
    route: &Node<'_>,
    arms: &[Arm],
    services: &mut Services,
    knows_users: bool,
) -> (Deal, Vec<Pin>, Option<Sticky>) {
    let deal = route.get("deal").one_of(&Deal::ALL).unwrap_or_default();
    let pins = pins(&route.get("pin"), arms, services);
    (deal, pins, sticky(&route.get("sticky"), knows_users))
}

/// Requests that go to one of the services whatever the shares are.
fn pins(node: &Node<'_>, arms: &[Arm], services: &mut Services) -> Vec<Pin> {
    let items = node.items();
    if node.is_given() && (items.is_empty() || items.len() > PINS_MAX) {
        node.reject("has no pins, or too many", format_args!("1 to {PINS_MAX} pins, or no `pin`"));
    }
    items.iter().filter_map(|item| pin(item, arms, services)).collect()
}

fn pin(node: &Node<'_>, arms: &[Arm], services: &mut Services) -> Option<Pin> {
    let service_node = node.get("service").required();
    let conditions = conditions(node);
    if !["headers", "query", "cookies"].into_iter().any(|key| node.has(key)) {
        node.reject(
            "has no conditions: all requests would fit",
            "`headers`, `query` or `cookies`, as in `match`",
        );
    }
    let service = service(&service_node, services)?;
    let arm = arms.iter().position(|arm| arm.service == service);
    if arm.is_none() {
        service_node.reject_name("is no service of the split", arms.iter().map(|arm| &*arm.service));
    }
    Some(Pin { arm: arm?, conditions })
}

fn weight(text: &str) -> Option<(Unit, u32)> {
    if !text.contains('%') {
        return text.parse().ok().filter(|parts| *parts <= PARTS_MAX).map(|parts| (Unit::Parts, parts));
    }
    hundredths(text).map(|weight| (Unit::Percent, weight))
}

/// A share as hundredths of a percent. What is finer would be another share than the one that was written.
pub(crate) fn hundredths(text: &str) -> Option<u32> {
    let hundredths = units::percentage(text)? * f64::from(WHOLE);
    let whole = hundredths.round();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 10000")]
    let weight = whole as u32;
    ((hundredths - whole).abs() < 1e-6).then_some(weight)
}
