use super::{Yaml, quote};
use crate::split::{Deal, Split};

/// Who shares a route's requests.
pub(super) fn print(out: &mut Yaml, split: &Split) {
    out.open(2, "split");
    for arm in &split.arms {
        out.line(3, &quote(&arm.service), split.written(arm));
    }
    if split.deal != Deal::default() {
        out.line(2, "deal", split.deal.as_str());
    }
}
