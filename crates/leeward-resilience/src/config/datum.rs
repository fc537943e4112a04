//! Values of options, and how they are written.

use std::fmt;
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
