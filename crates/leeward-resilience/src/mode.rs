//! Whether a policy acts, or only says what it would do.

use std::fmt;

/// Every policy that can refuse, repeat, replace or cut short a call has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// It acts. The default.
    #[default]
    Enforced,
    /// It counts and decides as if it acted, tells the observer what it would have done, and lets the call pass: for
    /// trying out a policy, or other options for one, on real traffic.
    Shadow,
}

impl Mode {
    /// The name in configurations, metrics and pages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforced => "enforced",
            Self::Shadow => "shadow",
        }
    }

    /// Whether it only watches.
    #[must_use]
    pub const fn is_shadow(self) -> bool {
        matches!(self, Self::Shadow)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
