//! What is in force, with the defaults marked.

use std::fmt;

use super::datum::Datum;
use super::field::Field;
use super::group::Group;
use super::options::Options;
use super::visitor::{Enter, Visitor, visit_over};

/// One option in force. Displayed as `name value`, with `(default)` behind a default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The path below the options, as `budget.ratio`.
    pub name: String,
    /// The value, as it is written in a document; `on`, `off` or the name of its form for a group.
    pub value: String,
    /// Whether it is what would hold if nothing were said.
    pub is_default: bool,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.is_default { " (default)" } else { "" };
        write!(f, "{} {}{mark}", self.name, self.value)
    }
}

/// Every option in force, in the order of the reference. What is below a group that is off, or belongs to a form that is
/// not taken, is left out.
#[must_use]
pub fn settings<T: Options>(options: &T) -> Vec<Setting> {
    settings_over(options, &T::base())
}

/// The same, where others than its own hold where nothing is said.
#[must_use]
pub fn settings_over<T: Options>(options: &T, base: &T) -> Vec<Setting> {
    let prefix = if T::NAME.is_empty() { 0 } else { T::NAME.len() + 1 };
    let mut print = Print { prefix, settings: Vec::new() };
    visit_over(&mut options.clone(), base, &mut print);
    print.settings
}

/// Every option in force in one line: `max_retries 1, jitter full (default), …`.
///
/// ```
/// use leeward_resilience::{config, retry::Budget};
/// let budget = Budget { floor: 3, ..Budget::default() };
/// assert_eq!(config::line(&budget), "ratio 20% (default), floor 3, window 10s (default)");
/// ```
#[must_use]
pub fn line<T: Options>(options: &T) -> String {
    let settings: Vec<String> = settings(options).iter().map(ToString::to_string).collect();
    settings.join(", ")
}

struct Print {
    /// What of a path is the options' own name.
    prefix: usize,
    settings: Vec<Setting>,
}

impl Print {
    fn push(&mut self, path: &str, now: Datum, default: Option<Datum>) {
        let name = path.get(self.prefix..).unwrap_or(path).to_owned();
        self.settings.push(Setting { name, value: now.to_string(), is_default: default == Some(now) });
    }
}

impl Visitor for Print {
    fn field(&mut self, field: &Field, now: Datum) -> Option<Datum> {
        self.push(&field.path, now, field.default);
        None
    }

    fn enter(&mut self, group: &Group, _: &mut dyn FnMut(&str) -> bool) -> Enter {
        if let Some(state) = group.state() {
            self.push(&group.path, state, group.default);
        }
        Enter::Inside
    }

    fn leave(&mut self) {}
}
