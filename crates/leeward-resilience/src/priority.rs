//! How much a call matters, for the policies that refuse the lowest first.

use std::fmt;

/// The request header in which a hop tells the next one how much the call matters: the name of a [`Priority`]. One from outside
/// must not be believed: drop it at the edge, or everybody is critical.
pub const PRIORITY_HEADER: &str = "x-priority";

/// The priority of a call. It comes from whoever starts the work and travels with it: what is done for a call has its
/// priority. Four classes, as in Google's criticality (Site Reliability Engineering, 2016, "Handling Overload"): more are
/// never told apart in practice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Nobody waits for it: batches, prefetching, rebuilding.
    Low,
    /// The default.
    #[default]
    Normal,
    /// Somebody notices at once when it fails.
    High,
    /// Money or safety: checkout, health of the platform itself.
    Critical,
}

impl Priority {
    /// All of them, lowest first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::High, Self::Critical];

    /// The name in labels and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// Reads a header's value: a name, as [`as_str`](Self::as_str) gives it. `None` for anything else, which is no reason to
    /// refuse a call.
    #[must_use]
    pub fn from_header(value: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.as_str().eq_ignore_ascii_case(value.trim()))
    }

    /// 0 for the lowest.
    pub(crate) const fn rank(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_one_of_the_four() {
        for priority in Priority::ALL {
            assert_eq!(Priority::from_header(priority.as_str()), Some(priority));
        }
        assert_eq!(Priority::from_header(" Critical "), Some(Priority::Critical));
        for text in ["", "urgent", "3", "low, critical"] {
            assert_eq!(Priority::from_header(text), None, "{text}");
        }
    }
}
