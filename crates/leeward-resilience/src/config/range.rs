//! The values that an option may have.

use std::fmt;
use std::ops::{Bound, RangeBounds};

use super::datum::Datum;

/// The values that an option may have.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    /// The least value.
    pub least: Datum,
    /// Whether the least value itself is out of range.
    pub above: bool,
    /// The greatest value; `None` where there is none.
    pub most: Option<Datum>,
    /// Another option that it may not be less than.
    pub floor: Option<Other>,
    /// Another option that it may not be greater than.
    pub ceiling: Option<Other>,
}

/// Another option of the same policy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Other {
    /// Its name.
    pub name: &'static str,
    /// Its value; `None` while it is off, and bounds nothing.
    pub value: Option<Datum>,
}

impl Range {
    pub(super) fn of<U: Copy>(bounds: &impl RangeBounds<U>, zero: Datum, datum: fn(U) -> Datum) -> Self {
        let (least, above) = match bounds.start_bound() {
            Bound::Included(least) => (datum(*least), false),
            Bound::Excluded(least) => (datum(*least), true),
            Bound::Unbounded => (zero, false),
        };
        // No option's range excludes its greatest value.
        let most = match bounds.end_bound() {
            Bound::Included(most) | Bound::Excluded(most) => Some(datum(*most)),
            Bound::Unbounded => None,
        };
        Self { least, above, most, floor: None, ceiling: None }
    }

    /// Whether a value is within the range, whatever other options are.
    #[must_use]
    pub fn admits(&self, value: Datum) -> bool {
        self.is_enough(value) && self.most.is_none_or(|most| value <= most)
    }

    /// Whether a value goes with the other options. If these do not go with each other, it does: the mistake is theirs.
    #[must_use]
    pub fn fits(&self, value: Datum) -> bool {
        let floor = self.floor.and_then(|other| other.value);
        let ceiling = self.ceiling.and_then(|other| other.value);
        let crossed = floor.zip(ceiling).is_some_and(|(floor, ceiling)| floor > ceiling);
        crossed
            || (floor.is_none_or(|floor| value >= floor) && ceiling.is_none_or(|ceiling| value <= ceiling))
    }

    fn is_enough(&self, value: Datum) -> bool {
        if self.above { value > self.least } else { value >= self.least }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = |other: Option<Other>| other.filter(|other| other.value.is_some());
        let (floor, ceiling) = (on(self.floor), on(self.ceiling));
        let least = floor.map_or_else(|| self.least.to_string(), |other| other.name.to_owned());
        let most = ceiling.map(|other| other.name.to_owned()).or(self.most.map(|most| most.to_string()));
        match (self.above && floor.is_none(), most) {
            (true, Some(most)) => write!(f, "more than {least}, at most {most}")?,
            (true, None) => write!(f, "more than {least}")?,
            (false, Some(most)) => write!(f, "{least} to {most}")?,
            (false, None) => write!(f, "at least {least}")?,
        }
        match self.ceiling {
            Some(Other { name, value: None }) => write!(f, ", at most {name}"),
            _ => Ok(()),
        }
    }
}
