use std::collections::HashSet;
use std::sync::Arc;

/// The label value that stands for all values beyond a bound.
pub const OTHER: &str = "other";

/// How far a family may grow. What exceeds it is counted under [`OTHER`], so the sums stay right.
///
/// A time series costs about a kilobyte here and more in Prometheus, and a label fed from outside (a path, a
/// tenant) would otherwise grow for as long as someone sends new values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Distinct values of one label; a further value of that label becomes [`OTHER`]. Default 100: the routes
    /// of a large service.
    pub values_per_label: usize,
    /// Series of one family; beyond it every label becomes [`OTHER`]. Default 1,000.
    pub series: usize,
}

impl Default for Bound {
    fn default() -> Self {
        Self { values_per_label: 100, series: 1000 }
    }
}

/// The values that were let in so far.
#[derive(Debug)]
pub(super) struct Admitted<const L: usize> {
    bound: Bound,
    values: [HashSet<Arc<str>>; L],
}

impl<const L: usize> Admitted<L> {
    pub(super) fn new(bound: Bound) -> Self {
        Self { bound, values: std::array::from_fn(|_| HashSet::new()) }
    }

    /// Makes room for another value.
    pub(super) fn forget(&mut self, label: usize, value: &str) {
        if let Some(values) = self.values.get_mut(label) {
            values.remove(value);
        }
    }

    /// The label set under which to count `labels` when there are `series` already and `labels` is not one of
    /// them.
    pub(super) fn admit<'a>(&mut self, labels: [&'a str; L], series: usize) -> [&'a str; L] {
        // The last place is for the set of all OTHER.
        if series + 1 >= self.bound.series {
            return [OTHER; L];
        }
        let mut index = 0;
        labels.map(|value| {
            let known = &mut self.values[index];
            index += 1;
            if known.contains(value) {
                return value;
            }
            if known.len() >= self.bound.values_per_label {
                return OTHER;
            }
            known.insert(value.into());
            value
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_label_that_overflows_becomes_other() {
        let mut admitted = Admitted::new(Bound { values_per_label: 2, series: 100 });
        assert_eq!(admitted.admit(["a", "200"], 0), ["a", "200"]);
        assert_eq!(admitted.admit(["b", "200"], 1), ["b", "200"]);
        assert_eq!(admitted.admit(["c", "404"], 2), [OTHER, "404"]);
        assert_eq!(admitted.admit(["a", "500"], 3), ["a", OTHER]);
    }

    #[test]
    fn a_full_family_takes_one_more_series_which_is_other() {
        let mut admitted = Admitted::new(Bound { values_per_label: 100, series: 3 });
        assert_eq!(admitted.admit(["a"], 0), ["a"]);
        assert_eq!(admitted.admit(["b"], 1), ["b"]);
        assert_eq!(admitted.admit(["c"], 2), [OTHER]);
    }
}
