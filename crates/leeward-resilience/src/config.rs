//! Options: one description of each policy's, from which come their check, their reading from a document, their printing
//! and the [reference](mod@self::reference).
//!
//! Every options struct implements [`Options`]: it names each option with its range, what it is and why its default is
//! what it is. The names in a document are the names of the fields. A [`Visitor`] walks the description; those here
//! - [`check`] ranges (each policy's `validate`),
//! - [`read`] a [`Value`] tree, which any YAML, JSON or TOML parser fills through the feature `serde`,
//! - [`write`](fn@self::write) one, so that what is in force can be printed and read back,
//! - give [`settings`] with the defaults marked, and the [`rows`] of the reference.
//!
//! All mistakes are reported at once, each with its path, what was given, what is allowed, and the nearest known name.
//!
//! In a document, times are written `250ms`, `5s`, `1m30s`, shares `50%` or `0.5`, sizes `64KiB`. An option that may be
//! off is `off`. A policy that is off by default is switched on by its map, `{}` or `on` being enough, and off by `off`.
//! Where an option is one of several forms, the form is a key of its own: `algorithm: {gradient2: {window: 1s}}`, or its
//! name alone: `algorithm: gradient2`.
//!
//! ```
//! use leeward_resilience::{PipelineOptions, config::{self, Value}};
//!
//! let map = |entries: &[(&str, Value)]| {
//!     Value::Map(entries.iter().map(|(key, value)| (key.to_string(), value.clone())).collect())
//! };
//! let retry = map(&[("max_retries", Value::Whole(1)), ("backoff_base", "10ms".into())]);
//! let options: PipelineOptions = config::read(&map(&[("retry", retry), ("attempt_timeout", "500ms".into())]))?;
//! assert_eq!(options.retry.expect("given").max_retries, 1);
//!
//! let wrong = map(&[("retry", map(&[("max_retires", Value::Whole(1)), ("backoff_max", "5 parsecs".into())]))]);
//! let errors = config::read::<PipelineOptions>(&wrong).unwrap_err();
//! assert_eq!(errors.paths(), ["retry.backoff_max", "retry.max_retires"]);
//! assert_eq!(errors.mistakes[1].suggestion.as_deref(), Some("max_retries"));
//! # Ok::<(), leeward_resilience::ConfigErrors>(())
//! ```

use std::num::NonZeroU32;
use std::ops::Bound;
use std::time::Duration;

mod check;
mod datum;
mod defaults;
mod field;
mod fields;
mod group;
mod mistake;
mod options;
mod print;
mod range;
mod read;
pub mod reference;
mod scalar;
#[cfg(feature = "serde")]
mod serde;
mod suggest;
pub mod units;
mod value;
mod visitor;
mod write;

pub use self::check::check;
pub use self::datum::{Datum, Kind};
pub use self::field::{Field, Refused};
pub use self::fields::{At, Fields};
pub use self::group::{Form, Group};
pub use self::mistake::{ConfigErrors, Mistake};
pub use self::options::{OneOf, Options};
pub use self::print::{Setting, line, settings, settings_over};
pub use self::range::{Other, Range};
pub use self::read::{read, read_into};
pub use self::reference::{Row, rows};
pub use self::scalar::Scalar;
pub use self::value::Value;
pub use self::visitor::{Enter, Visitor, visit, visit_over};
pub use self::write::write;

/// More than `least`, up to `most`.
pub(crate) const fn above<T>(least: T, most: T) -> (Bound<T>, Bound<T>) {
    (Bound::Excluded(least), Bound::Included(most))
}

/// A whole number, for the bound that one option is of another.
pub(crate) fn count(number: NonZeroU32) -> Datum {
    Datum::Count(number.get().into())
}

pub(crate) const MILLI: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// The most of what is counted where nothing else bounds it: more is a slip of the hand.
pub(crate) const COUNT_MAX: u64 = 1_000_000;
