//! The published keys of the other services: fetched when needed, kept, fetched again when a key is unknown.

use std::collections::HashMap;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jsonwebtoken::DecodingKey;
use leeward_resilience::{Clock, Instant};
use parking_lot::RwLock;

use super::PublicKeys;

/// The least time between two fetches from one issuer. An attacker with made-up key ids causes one fetch a period, and a
/// freshly rotated key is known after at most that.
const REFETCH_AFTER: Duration = Duration::from_secs(5);
/// The same after a fetch that failed: short, because callers are being refused meanwhile.
const RETRY_AFTER: Duration = Duration::from_millis(250);
/// A key that its issuer no longer publishes is believed at most this long.
const STALE_AFTER: Duration = Duration::from_secs(600);

/// Why an issuer's keys are not at hand.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    /// Nobody of that name is in the directory, or nobody whose word counts.
    #[error("no service of that name may sign")]
    UnknownIssuer,
    /// The issuer does not answer, or answers with something else.
    #[error("the issuer's keys cannot be fetched: {0}")]
    Unreachable(Arc<str>),
}

/// Where keys come from: in a running service the directory and HTTP, in a test a map.
pub trait KeySource: Send + Sync + Debug + 'static {
    /// Whether such an issuer exists at all. Asked before anything is remembered about it, so that made-up names cost no
    /// memory.
    fn knows(&self, issuer: &str) -> bool;

    /// The keys that `issuer` publishes now.
    fn fetch(
        &self,
        issuer: Arc<str>,
    ) -> Pin<Box<dyn Future<Output = Result<PublicKeys, FetchError>> + Send + '_>>;
}

/// The keys of all peers. Cheap to share by `Arc`.
#[derive(Debug)]
pub struct PeerKeys {
    source: Arc<dyn KeySource>,
    clock: Arc<dyn Clock>,
    peers: RwLock<HashMap<Arc<str>, Arc<Peer>>>,
}

type Keys = HashMap<String, DecodingKey>;

struct Peer {
    keys: ArcSwap<Keys>,
    /// Held while a fetch is under way: those who come meanwhile wait for its result instead of fetching too.
    fetched: tokio::sync::Mutex<Option<Fetched>>,
    good_until: RwLock<Instant>,
}

impl Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").field("keys", &self.keys.load().len()).finish_non_exhaustive()
    }
}

struct Fetched {
    at: Instant,
    error: Option<FetchError>,
}

impl PeerKeys {
    /// Keys from `source`, nothing fetched yet.
    #[must_use]
    pub fn new(source: Arc<dyn KeySource>, clock: Arc<dyn Clock>) -> Self {
        Self { source, clock, peers: RwLock::default() }
    }

    /// The key `kid` of `issuer`, fetched if it is not known. `None`: the issuer publishes no such key.
    ///
    /// # Errors
    /// When there is no such issuer, or it cannot be asked.
    ///
    /// # Cancel safety
    /// A cancelled call fetches nothing and remembers nothing; another waiting one fetches instead.
    pub(crate) async fn key(&self, issuer: &str, kid: &str) -> Result<Option<DecodingKey>, FetchError> {
        let peer = self.peer(issuer)?;
        if let Some(key) = peer.fresh(kid, self.clock.now()) {
            return Ok(Some(key));
        }
        let mut fetched = peer.fetched.lock().await;
        let now = self.clock.now();
        if let Some(key) = peer.fresh(kid, now) {
            return Ok(Some(key));
        }
        if let Some(last) = fetched.as_ref().filter(|last| now < last.at + last.wait()) {
            return last.error.clone().map_or(Ok(None), Err);
        }
        let result = self.source.fetch(issuer.into()).await;
        let at = self.clock.now();
        let error = match result {
            Ok(keys) => {
                peer.keys.store(Arc::new(keys.decoding()));
                *peer.good_until.write() = at + STALE_AFTER;
                None
            }
            Err(error) => Some(error),
        };
        *fetched = Some(Fetched { at, error: error.clone() });
        error.map_or_else(|| Ok(peer.keys.load().get(kid).cloned()), Err)
    }

    fn peer(&self, issuer: &str) -> Result<Arc<Peer>, FetchError> {
        if let Some(peer) = self.peers.read().get(issuer) {
            return Ok(Arc::clone(peer));
        }
        if !self.source.knows(issuer) {
            return Err(FetchError::UnknownIssuer);
        }
        Ok(Arc::clone(self.peers.write().entry(issuer.into()).or_insert_with(|| {
            Arc::new(Peer {
                keys: ArcSwap::default(),
                fetched: tokio::sync::Mutex::new(None),
                good_until: RwLock::new(Instant::ZERO),
            })
        })))
    }
}

impl Peer {
    fn fresh(&self, kid: &str, now: Instant) -> Option<DecodingKey> {
        if now >= *self.good_until.read() {
            return None;
        }
        self.keys.load().get(kid).cloned()
    }
}

impl Fetched {
    fn wait(&self) -> Duration {
        if self.error.is_some() { RETRY_AFTER } else { REFETCH_AFTER }
    }
}
