//! Every broken rule of a request in one answer.

use http::StatusCode;
use serde_json::Value;

use super::{Problem, code};

/// Collects every broken rule of a request, so that the caller fixes them in one go.
///
/// ```
/// use leeward_service::Invalid;
///
/// let quantity = 0;
/// let problem = Invalid::default()
///     .check(quantity > 0, "quantity", "must be at least 1")
///     .finish()
///     .unwrap_err();
/// assert_eq!(problem.status(), 422);
/// ```
#[derive(Debug, Default)]
pub struct Invalid(Vec<Value>);

impl Invalid {
    /// Records `message` against `field` unless `holds`.
    #[must_use]
    pub fn check(mut self, holds: bool, field: &str, message: &str) -> Self {
        if !holds {
            self.0.push(serde_json::json!({ "field": field, "message": message }));
        }
        self
    }

    /// All rules held, or one 422 that lists those that did not.
    ///
    /// # Errors
    /// A [`Problem`] of code `invalid` with a member `errors`.
    pub fn finish(self) -> Result<(), Problem> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code::INVALID).with("errors", self.0))
    }
}
