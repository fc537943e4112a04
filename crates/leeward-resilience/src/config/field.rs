//! What is said of one option.

use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::time::Duration;

use super::units;

/// The value of one option. Displayed as it is written in a document.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub enum Datum {
    /// Off: an option that may be, and is.
    Off,
    /// Yes or no.
    Flag(bool),
    /// A whole number.
    Count(u64),
    /// A number.
    Number(f64),
    /// A share of something, 1 being all of it.
    Share(f64),
    /// Bytes.
    Size(u64),
    /// A time.
    Time(Duration),
    /// One of a few names.
    Choice(&'static str),
}

impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Off => f.write_str("off"),
            Self::Flag(yes) => write!(f, "{yes}"),
            Self::Count(count) => write!(f, "{count}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Share(share) => f.write_str(&units::show_share(share)),
            Self::Size(bytes) => f.write_str(&units::show_size(bytes)),
            Self::Time(time) => f.write_str(&units::show_duration(time)),
            Self::Choice(name) => f.write_str(name),
        }
    }
}

/// What an option's value looks like.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Count,
    /// A number.
    Number,
    /// A share, `50%` or `0.5`.
    Share,
    /// A size, `64KiB`.
    Size,
    /// A time, `250ms`.
    Time,
    /// One of these names.
    Choice(Vec<&'static str>),
}

impl Kind {
    /// The kind in a word.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Count => "count",
            Self::Number => "number",
            Self::Share => "share",
            Self::Size => "size",
            Self::Time => "duration",
            Self::Choice(_) => "choice",
        }
    }

    /// The kind in a sentence: "is not …".
    #[must_use]
    pub const fn noun(&self) -> &'static str {
        match self {
            Self::Flag => "true or false",
            Self::Count => "a whole number",
            Self::Number => "a number",
            Self::Share => "a share",
            Self::Size => "a size",
            Self::Time => "a duration",
            Self::Choice(_) => "one of the choices",
        }
    }

    /// How it is written.
    #[must_use]
    pub fn grammar(&self) -> String {
        match self {
            Self::Flag => "true, false".to_owned(),
            Self::Count => "a whole number".to_owned(),
            Self::Number => "a number".to_owned(),
            Self::Share => "a share as 50% or 0.5".to_owned(),
            Self::Size => "a size as 512B, 64KiB or 10MiB".to_owned(),
            Self::Time => "a duration as 250ms, 5s or 1m30s".to_owned(),
            Self::Choice(names) => names.join(", "),
        }
    }

    /// Reads a text, with any value that has the form, inside of the range or not.
    #[must_use]
    pub fn parse(&self, text: &str) -> Option<Datum> {
        let text = text.trim();
        let number = || text.parse().ok().filter(|number: &f64| number.is_finite());
        match self {
            Self::Flag => text.parse().ok().map(Datum::Flag),
            Self::Count => text.parse().ok().map(Datum::Count),
            Self::Number => number().map(Datum::Number),
            Self::Share => units::share(text).map(Datum::Share),
            Self::Size => units::size(text).map(Datum::Size),
            Self::Time => units::duration(text).map(Datum::Time),
            Self::Choice(names) => names.iter().find(|name| **name == text).map(|name| Datum::Choice(name)),
        }
    }
}

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
    /// Its value where nothing is said; `None` where something must be.
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

/// What kind of a group it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// Options under a name.
    Plain,
    /// Options under a name, that are all in force or off together.
    Optional {
        /// Whether they are in force.
        on: bool,
    },
    /// One of several forms, each with its own options, which come as a group within.
    OneOf {
        /// The names of the forms.
        names: &'static [&'static str],
        /// Which one it is; `None` is off.
        now: Option<usize>,
        /// Whether it may be off.
        optional: bool,
    },
    /// The options of the form that is taken.
    Taken,
}

/// Options under a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The path from the root.
    pub path: String,
    /// The last part of the path.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub what: &'static str,
    /// Why its default is what it is; empty where there is nothing to choose.
    pub why: &'static str,
    /// What kind of a group it is.
    pub form: Form,
    /// How the whole is written as one text, where it can be.
    pub short: Option<&'static str>,
    /// The form that it has, or whether it is on, where nothing is said.
    pub default: Option<Datum>,
}

impl Group {
    /// Its state as a value: the name of its form, or `on` or `off`.
    #[must_use]
    pub fn state(&self) -> Option<Datum> {
        match self.form {
            Form::Plain | Form::Taken => None,
            Form::Optional { on: true } => Some(Datum::Choice("on")),
            Form::Optional { on: false } | Form::OneOf { now: None, .. } => Some(Datum::Off),
            Form::OneOf { names, now: Some(now), .. } => Some(Datum::Choice(names.get(now)?)),
        }
    }

    /// What may stand here, in words.
    #[must_use]
    pub fn written(&self) -> String {
        let (mut ways, optional) = match self.form {
            Form::Plain | Form::Taken => (vec!["a map of its options".to_owned()], false),
            Form::Optional { .. } => (vec!["a map of its options".to_owned(), "on".to_owned()], true),
            Form::OneOf { names, optional, .. } => (vec![format!("one of {}", names.join(", "))], optional),
        };
        ways.extend(self.short.map(str::to_owned));
        ways.extend(optional.then(|| "off".to_owned()));
        ways.join(", or ")
    }
}
