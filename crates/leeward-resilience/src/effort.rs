//! What a caller tells the next hop about its own retries, so that layers do not multiply.
//!
//! **Rule.** A hop that hears of an attempt after the first, or of a caller that has spent half of its retry budget, retries
//! and hedges nothing by itself. What it sends on counts the attempts of all hops, and names the larger of the two shares.
//!
//! Trade-off: a hop believes what it hears. A caller that says it is retrying when it is not loses retries here, and nothing
//! else; one that says nothing is a first attempt.
//!
//! Source: Google's retry rule of one layer (Beyer et al., "Site Reliability Engineering", 2016, chapter 22) and Envoy's
//! `x-envoy-attempt-count`.
//!
//! ```
//! use leeward_resilience::Effort;
//!
//! assert!(Effort::FIRST.may_repeat() && Effort::FIRST.is_first());
//! let second = Effort::from_header("1;spent=20");
//! assert_eq!((second.attempt, second.may_repeat()), (1, false));
//! // In an outage of the caller first attempts are not repeated either.
//! assert!(!Effort::from_header("0;spent=85").may_repeat());
//! assert_eq!(Effort { attempt: 0, spent_percent: 85 }.to_string(), "0;spent=85");
//! ```

use std::fmt;

/// How hard the caller is trying: the value of [`ATTEMPT_HEADER`](crate::ATTEMPT_HEADER), as `2;spent=85`.
///
/// Three layers that each send a call three times make 27 calls of one. So a hop that hears of an attempt after the first,
/// or of a caller that has spent half of its retry budget, retries and hedges nothing itself: the outermost layer decides,
/// and its budget bounds what all the layers below it do.
///
/// A header from outside must not be believed: drop it at the edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Attempts made before this one, over all hops further out; 0 for a first attempt.
    pub attempt: u32,
    /// What the caller has spent of its retry budget, in percent, 0 ..= 100.
    pub spent_percent: u8,
}

/// From here on a caller's budget says that it is in an outage.
const SPENT_PERCENT_MAX: u8 = 50;

impl Effort {
    /// The outermost caller, which has not retried anything.
    pub const FIRST: Self = Self { attempt: 0, spent_percent: 0 };

    /// Reads a header's value. Anything else than what [`Display`](fmt::Display) writes is a first attempt: a header is a
    /// hint, and no reason to refuse a call.
    #[must_use]
    pub fn from_header(value: &str) -> Self {
        let mut parts = value.split(';').map(str::trim);
        let Some(attempt) = parts.next().and_then(|text| text.parse().ok()) else { return Self::FIRST };
        let spent = parts.find_map(|part| part.strip_prefix("spent=")).map_or(Ok(0), str::parse::<u32>);
        let Ok(spent) = spent else { return Self::FIRST };
        Self { attempt, spent_percent: u8::try_from(spent.min(100)).unwrap_or(100) }
    }

    /// Whether this hop may repeat the call by itself.
    #[must_use]
    pub const fn may_repeat(self) -> bool {
        self.attempt == 0 && self.spent_percent < SPENT_PERCENT_MAX
    }

    /// Whether there is anything to tell.
    #[must_use]
    pub const fn is_first(self) -> bool {
        self.attempt == 0 && self.spent_percent == 0
    }
}

impl fmt::Display for Effort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.spent_percent {
            0 => write!(f, "{}", self.attempt),
            spent => write!(f, "{};spent={spent}", self.attempt),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(attempt in any::<u32>(), spent_percent in 0_u8..=100) {
            let hop = Effort { attempt, spent_percent };
            prop_assert_eq!(Effort::from_header(&hop.to_string()), hop);
        }

        #[test]
        fn nonsense_is_a_first_attempt_and_never_a_panic(text in ".{0,40}") {
            prop_assert!(Effort::from_header(&text).spent_percent <= 100);
        }
    }

    #[test]
    fn nonsense_is_nothing() {
        for text in ["", "soon", "-1", ";", "1e3", "spent=9", "99999999999", "abc;spent=85", "1;spent=lots"] {
            assert!(Effort::from_header(text).is_first(), "{text}");
        }
        assert_eq!(Effort::from_header("1; spent=300"), Effort { attempt: 1, spent_percent: 100 });
        assert_eq!(Effort::from_header("1; spent=120").spent_percent, 100);
    }

    #[test]
    fn a_retry_and_a_caller_in_an_outage_are_not_repeated() {
        assert!(Effort::FIRST.may_repeat());
        assert!(Effort { attempt: 0, spent_percent: 49 }.may_repeat());
        assert!(!Effort { attempt: 0, spent_percent: 50 }.may_repeat());
        assert!(!Effort { attempt: 1, spent_percent: 0 }.may_repeat());
    }
}
