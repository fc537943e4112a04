//! What was measured beside what is asked for.

use serde_json::{Value, json};

/// One figure with its bound.
#[derive(Clone, Debug)]
pub(super) struct Check {
    name: &'static str,
    value: f64,
    bound: f64,
    is_at_least: bool,
}

impl Check {
    pub(super) fn at_least(name: &'static str, value: f64, bound: f64) -> Self {
        Self { name, value, bound, is_at_least: true }
    }

    pub(super) fn at_most(name: &'static str, value: f64, bound: f64) -> Self {
        Self { name, value, bound, is_at_least: false }
    }

    fn holds(&self) -> bool {
        if self.is_at_least { self.value >= self.bound } else { self.value <= self.bound }
    }
}

/// One case of one round.
#[derive(Clone, Debug)]
pub(super) struct Row {
    case: &'static str,
    checks: Vec<Check>,
}

impl Row {
    pub(super) fn new(case: &'static str, checks: Vec<Check>) -> Self {
        Self { case, checks }
    }

    pub(super) fn case(&self) -> &'static str {
        self.case
    }

    pub(super) fn line(&self) -> String {
        let shown = |check: &Check| {
            let mark = if check.holds() { "" } else { " (!)" };
            format!("{} {:.3}{mark}", check.name, check.value)
        };
        format!("{:<16} {}", self.case, self.checks.iter().map(shown).collect::<Vec<_>>().join("  "))
    }

    /// The medians of rounds of the same case.
    pub(super) fn median(rounds: &[&Self]) -> Option<Self> {
        let first = rounds.first()?;
        let of = |at: usize| {
            let values = rounds.iter().filter_map(|row| row.checks.get(at)).map(|check| check.value);
            let value = crate::figures::median(values)?;
            Some(Check { value, ..first.checks.get(at)?.clone() })
        };
        Some(Self { case: first.case, checks: (0..first.checks.len()).filter_map(of).collect() })
    }

    /// What does not hold, in words.
    pub(super) fn faults(&self) -> Vec<String> {
        let failed = self.checks.iter().filter(|check| !check.holds());
        failed
            .map(|Check { name, value, bound, is_at_least }| {
                let than = if *is_at_least { "less" } else { "more" };
                format!("{}: {name} is {value:.3}, {than} than {bound:.3}", self.case)
            })
            .collect()
    }

    pub(super) fn json(&self) -> Value {
        let checks: serde_json::Map<String, Value> = self
            .checks
            .iter()
            .map(|check| {
                let value = json!({ "value": rounded(check.value), "bound": rounded(check.bound), "holds": check.holds() });
                (check.name.to_owned(), value)
            })
            .collect();
        json!({ "case": self.case, "checks": checks })
    }
}

fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_holds_at_itself_and_a_median_is_taken_figure_by_figure() {
        let row = |goodput, late| {
            Row::new(
                "case",
                vec![Check::at_least("goodput", goodput, 0.9), Check::at_most("late", late, 0.1)],
            )
        };
        assert_eq!(row(0.9, 0.1).faults(), Vec::<String>::new());
        assert_eq!(row(0.8, 0.2).faults().len(), 2);
        let rounds = [row(0.1, 0.05), row(0.95, 0.5), row(0.93, 0.06)];
        let median = Row::median(&rounds.iter().collect::<Vec<_>>());
        assert_eq!(median.map(|row| row.faults()), Some(Vec::new()));
    }
}
