//! The keys by which services are told apart: each service publishes its own.

use std::pin::Pin;
use std::sync::Arc;

use leeward_discovery::Directory;
use leeward_resilience::Clock;
use leeward_service::identity::{FetchError, KEYS_PATH, KeySource, PeerKeys, PublicKeys, Verifier};

use crate::control::Control;
use crate::gateway::NAME;
use crate::published::Published;

/// A verifier of assertions that services make for the gateway. None of them may speak for an operator.
pub(super) fn verifier(published: &Published, control: &Control) -> Verifier {
    let shared = published.current();
    let (directory, clock) = (shared.directory.clone(), Arc::clone(&shared.clock));
    let source = ServiceKeys { directory, clock, control: control.clone(), published: published.clone() };
    let keys = PeerKeys::new(Arc::new(source), Arc::clone(&shared.clock));
    Verifier::new(NAME, Vec::new(), keys, Arc::clone(&shared.clock))
}

/// The keys of whoever stands in the directory.
#[derive(Debug)]
struct ServiceKeys {
    directory: Directory,
    clock: Arc<dyn Clock>,
    control: Control,
    published: Published,
}

impl KeySource for ServiceKeys {
    fn knows(&self, issuer: &str) -> bool {
        issuer != NAME && self.directory.service(issuer).is_some()
    }

    fn fetch(
        &self,
        issuer: Arc<str>,
    ) -> Pin<Box<dyn Future<Output = Result<PublicKeys, FetchError>> + Send + '_>> {
        Box::pin(async move {
            let upstream = self.directory.service(&issuer).ok_or(FetchError::UnknownIssuer)?;
            let way = self.published.current().service(&issuer).map(|service| service.way.clone());
            let text = self.control.fetch(&upstream, KEYS_PATH, &*self.clock, way.as_ref()).await;
            let text = text.map_err(|error| FetchError::Unreachable(error.into()))?;
            serde_json::from_slice(&text).map_err(|error| FetchError::Unreachable(error.to_string().into()))
        })
    }
}
