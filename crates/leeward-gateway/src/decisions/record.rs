//! One decision, in about a kilobyte.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use leeward_runtime::config::Origin;

use super::attempts::Attempts;
use super::ruling::Ruling;
use super::text::Text;
use crate::refusal::Stage;

/// Why it is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kept {
    /// The gateway refused it.
    Refused,
    /// Another answer stood in for the service's.
    Fallback,
    /// It took more than one good attempt.
    Attempts,
    /// It is one of the sample.
    Sample,
}

impl Kept {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Fallback => "fallback",
            Self::Attempts => "attempts",
            Self::Sample => "sample",
        }
    }
}

/// What is known of one request, and why it went as it did.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    pub(crate) kept: Kept,
    pub(crate) request_id: Text<64>,
    /// When it was answered.
    pub(crate) unix_ms: i64,
    /// Until the head of the answer.
    pub(crate) took: Duration,
    pub(crate) client: IpAddr,
    pub(crate) method: &'static str,
    pub(crate) host: Text<64>,
    /// Without its query.
    pub(crate) path: Text<128>,
    pub(crate) route: Option<Arc<str>>,
    /// Where the route stands.
    pub(crate) route_at: Option<Arc<str>>,
    pub(crate) service: Option<Arc<str>>,
    pub(crate) status: u16,
    /// Under which configuration: its number since the start.
    pub(crate) epoch: u64,
    pub(crate) attempts: Attempts,
    /// Why it was refused, or would have been without its fallback.
    pub(crate) refused: Option<Refused>,
    /// What answered in the place of its service.
    pub(crate) fallback: Option<Fallback>,
}

/// What answered in the place of a service.
#[derive(Clone, Debug)]
pub(crate) struct Fallback {
    /// Why.
    pub(crate) cause: &'static str,
    /// The service that did; `None`: the gateway itself.
    pub(crate) service: Option<Arc<str>>,
}

/// Why it was refused.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) stage: Stage,
    pub(crate) code: &'static str,
    pub(crate) detail: Text<160>,
    pub(crate) rule: Option<&'static str>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) ruling: Option<Arc<Ruling>>,
    /// The option that decided, by its path.
    pub(crate) option: Option<Arc<str>>,
    /// Where that stands; `None`: it is the default.
    pub(crate) origin: Option<Origin>,
}
