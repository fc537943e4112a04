//! What is said of one option.

use super::datum::{Datum, Kind};
use super::range::Range;

/// One option.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// The path from the root, as `retry.budget.ratio`.
    pub path: String,
    /// The last part of the path.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub what: &'static str,
    /// Why its default is what it is.
    pub why: &'static str,
    /// What its value looks like.
    pub kind: Kind,
    /// The values that it may have; `None` where the kind says all.
    pub range: Option<Range>,
    /// Whether it may be off.
    pub optional: bool,
    /// Whether something must be said.
    pub required: bool,
    /// Its value where nothing is said; `None` where something must be, and where the [visitor](super::visit) is told of none.
    pub default: Option<Datum>,
    /// The option whose value is its default.
    pub follows: Option<&'static str>,
}

impl Field {
    /// The values that it may have, in words.
    #[must_use]
    pub fn allowed(&self) -> String {
        let range = self.range.as_ref().map_or_else(|| self.kind.grammar(), ToString::to_string);
        if self.optional { format!("{range}, or off") } else { range }
    }

    /// The values that it may have and how they are written.
    #[must_use]
    pub fn written(&self) -> String {
        match &self.range {
            Some(_) => format!("{}, {}", self.kind.grammar(), self.allowed()),
            None => self.allowed(),
        }
    }

    /// Reads a text: a mistake says what it should have been.
    ///
    /// # Errors
    /// What is allowed; whether it was a value at all, out of its range.
    pub fn parse(&self, text: &str) -> Result<Datum, Refused> {
        if self.optional && text.trim() == "off" {
            return Ok(Datum::Off);
        }
        let datum = self.kind.parse(text).ok_or(Refused::Form)?;
        self.accept(datum)
    }

    /// The value if it is in the range.
    pub(super) fn accept(&self, datum: Datum) -> Result<Datum, Refused> {
        let fits = self.range.as_ref().is_none_or(|range| range.admits(datum));
        if fits { Ok(datum) } else { Err(Refused::Range) }
    }
}

/// Why a text is no value of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It does not have the form.
    Form,
    /// It has, and is out of the range.
    Range,
}
