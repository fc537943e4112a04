//! Fetches the published keys of those in the directory who may sign.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use leeward_discovery::{Directory, PickHint};
use leeward_resilience::{Class, Clock};

use super::transport::{Answer, Broken, Transport};
use crate::identity::{FetchError, Issuers, KEYS_PATH, KeySource, PublicKeys};

/// A key set is a kilobyte; what is larger is none.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How long an issuer may take. Its callers wait meanwhile.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The keys of whoever stands in the directory and may sign.
#[derive(Debug)]
pub(crate) struct DirectoryKeys {
    pub(crate) directory: Directory,
    pub(crate) transport: Transport,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) issuers: Issuers,
    /// Our own keys need no asking.
    pub(crate) own: (Arc<str>, PublicKeys),
}

impl KeySource for DirectoryKeys {
    fn knows(&self, issuer: &str) -> bool {
        *self.own.0 == *issuer || (self.issuers.include(issuer) && self.directory.service(issuer).is_some())
    }

    fn fetch(
        &self,
        issuer: Arc<str>,
    ) -> Pin<Box<dyn Future<Output = Result<PublicKeys, FetchError>> + Send + '_>> {
        Box::pin(async move {
            if self.own.0 == issuer {
                return Ok(self.own.1.clone());
            }
            self.ask(&issuer).await
        })
    }
}

impl DirectoryKeys {
    async fn ask(&self, issuer: &str) -> Result<PublicKeys, FetchError> {
        let upstream = self.directory.service(issuer).ok_or(FetchError::UnknownIssuer)?;
        let unreachable = |reason: String| FetchError::Unreachable(reason.into());
        let picked = upstream
            .pick(self.clock.now(), &PickHint::default())
            .map_err(|nobody| unreachable(nobody.to_string()))?;
        let uri = picked.endpoint().join(KEYS_PATH).map_err(|error| unreachable(error.to_string()))?;
        let mut request = Request::new(Full::new(Bytes::new()));
        *request.uri_mut() = uri;
        let exchange = self.transport.exchange(request, ANSWER_BYTES_MAX);
        let answer = tokio::time::timeout(TIMEOUT, exchange).await;
        let answered = matches!(&answer, Ok(Ok(answer)) if answer.status == StatusCode::OK);
        picked.report(if answered { Class::Success } else { Class::RETRYABLE }, self.clock.now());
        match answer {
            Ok(Ok(Answer { status: StatusCode::OK, body, .. })) => {
                serde_json::from_slice(&body).map_err(|error| unreachable(error.to_string()))
            }
            Ok(Ok(Answer { status, .. })) => Err(unreachable(format!("it answered {status}"))),
            Ok(Err(Broken::NotSent(reason) | Broken::Unknown(reason))) => Err(unreachable(reason)),
            Err(_) => Err(unreachable(format!("no answer within {TIMEOUT:?}"))),
        }
    }
}
