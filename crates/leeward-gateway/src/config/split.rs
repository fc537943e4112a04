//! Reading which services share a route's requests.

use leeward_runtime::config::Node;
use leeward_runtime::units;

use super::routes::{Services, named};
use crate::split::{ARMS_MAX, Arm, Deal, PARTS_MAX, Split, Unit, WHOLE};

const WEIGHT: &str = "a share as 90% or 2.5%, or parts as 9, at most 1000000";

/// `split` with what says how it is done.
pub(super) fn split(route: &Node<'_>, services: &mut Services) -> Option<Split> {
    let node = route.get("split");
    let entries = node.entries();
    let deal = route.get("deal").one_of(&Deal::ALL).unwrap_or_default();
    if entries.is_empty() || entries.len() > ARMS_MAX {
        node.reject("has no services, or too many", format_args!("1 to {ARMS_MAX} lines SERVICE: WEIGHT"));
        return None;
    }
    let mut split = Split { arms: Vec::new(), unit: Unit::Parts, deal };
    let mut units = Vec::new();
    for (name, node) in &entries {
        let service = named(node, name, services);
        let weight = node.clone().required().parse_with("a weight", WEIGHT, weight);
        let Some((service, (unit, weight))) = service.zip(weight) else { continue };
        if split.arms.iter().any(|arm| arm.service == service) {
            node.reject(format_args!("is for `{service}`, which stands here already"), "each service once");
        }
        units.push(unit);
        split.arms.push(Arm { service, weight });
    }
    let is_whole = split.arms.len() == entries.len();
    split.unit = *units.first()?;
    if !is_whole {
        return None;
    }
    let all: u32 = split.arms.iter().map(|arm| arm.weight).sum();
    if units.iter().any(|unit| *unit != split.unit) {
        node.reject("has shares and parts", "either shares of 100%, or parts");
    } else if split.unit == Unit::Percent && all != WHOLE {
        let all = units::show_percentage(f64::from(all) / f64::from(WHOLE));
        node.reject(format_args!("has shares that are {all} together"), "shares that are 100% together");
    } else if all == 0 {
        node.reject("has no weight above 0: nobody would answer", "one weight above 0 at least");
    }
    Some(split)
}

fn weight(text: &str) -> Option<(Unit, u32)> {
    if !text.contains('%') {
        return text.parse().ok().filter(|parts| *parts <= PARTS_MAX).map(|parts| (Unit::Parts, parts));
    }
    let hundredths = units::percentage(text)? * f64::from(WHOLE);
    let whole = hundredths.round();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 10000")]
    let weight = whole as u32;
    // What is finer would be another share than the one that was written.
    ((hundredths - whole).abs() < 1e-6).then_some((Unit::Percent, weight))
}
