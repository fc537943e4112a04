use super::{Yaml, print_conditions, quote};
use crate::split::{Deal, Split, Sticky};

/// Who shares a route's requests.
pub(super) fn print(out: &mut Yaml, split: &Split) {
    match (split.delivery, split.arms.as_slice()) {
        (Some(kind), [stable, candidate]) => {
            out.open(2, "delivery");
            out.line(3, "kind", kind.as_str());
            out.quoted(3, "stable", &stable.service);
            out.quoted(3, "candidate", &candidate.service);
            out.line(3, "share", split.written(candidate));
        }
        (_, arms) => {
            out.open(2, "split");
            for arm in arms {
                out.line(3, &quote(&arm.service), split.written(arm));
            }
        }
    }
    if split.deal != Deal::default() {
        out.line(2, "deal", split.deal.as_str());
    }
    if !split.pins.is_empty() {
        out.open(2, "pin");
    }
    for pin in &split.pins {
        out.quoted(3, "- service", &split.arms[pin.arm].service);
        print_conditions(out, 4, &pin.conditions);
    }
    match &split.sticky {
        None => {}
        Some(Sticky::On(on)) => out.line(2, "sticky", on),
        Some(Sticky::Cookie(own)) => out.line(2, "sticky", own),
    }
}
