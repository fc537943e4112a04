//! Options that describe themselves.

use super::fields::Fields;

/// Options that describe themselves.
///
/// ```
/// use std::time::Duration;
/// use leeward_resilience::config::{self, Fields, Options};
///
/// #[derive(Clone)]
/// struct Poll {
///     every: Duration,
/// }
///
/// impl Options for Poll {
///     const NAME: &'static str = "poll";
///
///     fn base() -> Self {
///         Self { every: Duration::from_secs(5) }
///     }
///
///     fn visit(&mut self, fields: &mut Fields<'_>) {
///         fields
///             .at("every", "The time between two questions.", "Nobody waits for the answer.")
///             .duration(&mut self.every, Duration::from_secs(1)..=Duration::from_secs(60));
///     }
/// }
///
/// let errors = config::check(&Poll { every: Duration::ZERO }).unwrap_err();
/// assert_eq!(errors.to_string(), "poll.every is 0s, allowed: 1s to 1m");
/// ```
pub trait Options: Clone {
    /// The name, which the paths of its mistakes begin with; empty for the root.
    const NAME: &'static str;

    /// How the whole is written as one text, where it can be.
    const SHORT: Option<&'static str> = None;

    /// The options where nothing is said. What [has to be said](super::At::required) has any value.
    fn base() -> Self;

    /// Shows every option to `fields`, in the order of the reference, and puts what it gives in place.
    fn visit(&mut self, fields: &mut Fields<'_>);

    /// Reads the whole from one text.
    #[must_use]
    fn from_short(_text: &str) -> Option<Self> {
        None
    }
}

/// Options of several forms.
pub trait OneOf: Clone {
    /// The forms' names.
    const NAMES: &'static [&'static str];

    /// How it is written as one text, beside the name of a form, where it can be.
    const SHORT: Option<&'static str> = None;

    /// The place of its form in the names.
    fn form(&self) -> usize;

    /// The form at that place with its defaults; the first beyond the last.
    fn base(form: usize) -> Self;

    /// Shows every option of its form.
    fn visit(&mut self, fields: &mut Fields<'_>);

    /// Reads it from one text.
    #[must_use]
    fn from_short(_text: &str) -> Option<Self> {
        None
    }
}
