//! The process environment, read once and in one place.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A snapshot of environment variables. Cheap to clone.
///
/// All other code takes an `Env` instead of asking the process, so that a test can say what the environment
/// is, and so that the whole list of keys in use can be found by reading the callers of one type.
#[derive(Clone, Debug, Default)]
pub struct Env {
    vars: Arc<BTreeMap<String, String>>,
}

impl Env {
    /// The environment of this process as it is now. Variables whose name or value is not UTF-8 are left out.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the one reader of the environment")]
    pub fn process() -> Self {
        let utf8 = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self { vars: Arc::new(utf8.collect()) }
    }

    /// An environment of exactly these variables.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        Self { vars: Arc::new(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect()) }
    }

    /// The variable's value. A variable set to nothing counts as not set, as shells and the OpenTelemetry
    /// keys have it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The names that start with `prefix`, in order: for finding keys that nothing reads.
    pub fn names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.vars.keys().map(String::as_str).filter(move |name| name.starts_with(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_is_not_set() {
        let env = Env::from_pairs([("LEEWARD_A", "1"), ("LEEWARD_B", ""), ("OTHER", "2")]);
        assert_eq!(env.get("LEEWARD_A"), Some("1"));
        assert_eq!(env.get("LEEWARD_B"), None);
        assert_eq!(env.get("LEEWARD_C"), None);
        assert_eq!(env.names("LEEWARD_").collect::<Vec<_>>(), ["LEEWARD_A", "LEEWARD_B"]);
    }

    #[test]
    fn the_process_environment_is_seen() {
        assert!(Env::process().get("PATH").is_some());
    }
}
