//! A problem on the other side of the wire.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A problem as a caller reads it: what [`Problem`](super::Problem) becomes on the other side of the wire.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, utoipa::ToSchema)]
pub struct ProblemBody {
    /// The status, repeated in the body as the RFC asks.
    #[serde(default)]
    pub status: u16,
    /// The stable code; empty when the other side is no Leeward service.
    #[serde(default)]
    pub code: String,
    /// Short words.
    #[serde(default)]
    pub title: String,
    /// Longer words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Members of its own.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub extra: Map<String, Value>,
}

impl std::fmt::Display for ProblemBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.status, self.code)?;
        self.detail.as_ref().map_or(Ok(()), |detail| write!(f, ": {detail}"))
    }
}
