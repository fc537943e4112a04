//! What the probes answer.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::State;

/// One check as it was last found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CheckReport {
    /// Which check.
    pub name: Cow<'static, str>,
    /// How it is.
    pub state: State,
    /// What was measured. For operators only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Cow<'static, str>>,
    /// Where the state changes. For operators only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Cow<'static, str>>,
    /// Milliseconds since it last ran; none when it has not run yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
}

/// All checks of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Report {
    /// Which service.
    pub service: Cow<'static, str>,
    /// Down when a check that gates readiness is down; degraded when anything else is not up.
    pub state: State,
    /// Each check.
    pub checks: Vec<CheckReport>,
}

impl Report {
    /// What anyone may see: names and states, no values.
    #[must_use]
    pub fn states_only(mut self) -> Self {
        for check in &mut self.checks {
            check.value = None;
            check.threshold = None;
            check.age_ms = None;
        }
        self
    }
}
