//! Whose tokens are known here. A token's issuer picks the keys that it is checked with and the algorithms that are allowed.

use std::sync::Arc;
use std::time::Duration;

use leeward_resilience::Clock;

use super::claims::Verified;
use super::keys::{KeyStore, Lookup};
use super::set::KeySet;
use super::token::Token;
use super::verify::{Error, Rules, verify};
use crate::config::{Jwt, KeySource, Route};
use crate::credentials;

/// The keys of an issuer.
#[derive(Debug)]
pub(crate) enum Keys {
    /// Published by it, and fetched.
    Published(Arc<KeyStore>),
    /// Given in the configuration.
    Given(Arc<KeySet>),
}

/// One issuer.
#[derive(Debug)]
pub(crate) struct Issuer {
    pub(crate) keys: Keys,
    pub(crate) rules: Rules,
    token_bytes_max: usize,
}

/// Why a token says nothing about who it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NotVerified {
    Bad(Error),
    /// The keys cannot be had now: that is no reason to call the token bad.
    KeysUnavailable,
}

impl From<Error> for NotVerified {
    fn from(error: Error) -> Self {
        Self::Bad(error)
    }
}

/// How tokens are checked.
#[derive(Debug)]
pub(crate) struct Authentication {
    pub(crate) issuers: Vec<Issuer>,
    /// The claims that routes ask for.
    attributes: Arc<[Arc<str>]>,
}

impl Authentication {
    /// `None` where the configuration knows no issuer. Keys that `old` has from the same place stay.
    pub(crate) fn new(
        jwt: &[Jwt],
        routes: &[Route],
        old: Option<(&[Jwt], &Self)>,
        clock: &Arc<dyn Clock>,
    ) -> Option<Self> {
        if jwt.is_empty() {
            return None;
        }
        let attributes = claims_asked_for(routes);
        let issuers = jwt.iter().map(|one| Issuer::new(one, jwt, &attributes, old, clock)).collect();
        Some(Self { issuers, attributes })
    }

    /// Whether a token that was verified there needs no look here, under the same options: the same keys, and the same claims
    /// asked for.
    pub(crate) fn reads_the_same(&self, other: &Self) -> bool {
        let mut issuers = self.issuers.iter().zip(&other.issuers);
        self.attributes == other.attributes
            && self.issuers.len() == other.issuers.len()
            && issuers.all(|(one, other)| one.keys.are_those_of(&other.keys))
    }

    /// Changes whenever a key of any issuer does; a verified token of another generation is verified again.
    pub(crate) fn generation(&self) -> u64 {
        self.issuers.iter().map(|issuer| issuer.keys.generation()).sum()
    }

    /// Checks a token.
    ///
    /// # Cancel safety
    /// Safe: a fetch of keys that was asked for goes on.
    pub(crate) async fn verify(&self, text: &str, now_ms: i64) -> Result<Verified, NotVerified> {
        let token = Token::read(text)?;
        let issuer = self.issuer_of(&token).filter(|issuer| text.len() <= issuer.token_bytes_max);
        let issuer = issuer.ok_or(Error::Refused)?;
        if !issuer.rules.algorithms.contains(&token.algorithm) {
            return Err(Error::Malformed.into());
        }
        let keys = issuer.keys.of(&token).await?;
        Ok(verify(&token, &keys, &issuer.rules, now_ms)?)
    }

    fn issuer_of(&self, token: &Token<'_>) -> Option<&Issuer> {
        match &*self.issuers {
            [only] => Some(only),
            several => several.iter().find(|issuer| issuer.rules.issuer.as_deref() == token.issuer()),
        }
    }

    /// Whether the keys of all issuers are there.
    pub(crate) fn has_keys(&self) -> bool {
        self.issuers.iter().all(|issuer| issuer.keys.age().is_some())
    }
}

impl Issuer {
    fn new(
        jwt: &Jwt,
        all: &[Jwt],
        attributes: &Arc<[Arc<str>]>,
        old: Option<(&[Jwt], &Authentication)>,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let keys = match &jwt.keys {
            KeySource::Service { .. } | KeySource::Url(_) => {
                Keys::Published(store(jwt, all.len() == 1, old, clock))
            }
            KeySource::Given(text) => {
                let set = KeySet::given(text.secret.reveal()).unwrap_or_default();
                Keys::Given(Arc::new(set.only(&jwt.algorithms)))
            }
            KeySource::Secret(secret) => {
                let set = KeySet::of_secret(secret.secret.reveal().as_bytes()).unwrap_or_default();
                Keys::Given(Arc::new(set))
            }
        };
        let others = all.iter().map(|other| &*other.prefix).chain(credentials::PREFIXES);
        let foreign_prefixes =
            others.filter(|other| !other.is_empty() && **other != jwt.prefix).map(str::to_owned).collect();
        let rules = Rules {
            issuer: jwt.issuer.clone(),
            audiences: jwt.audience.clone(),
            algorithms: jwt.algorithms.clone(),
            leeway_s: i64::try_from(jwt.leeway.as_secs()).unwrap_or(0),
            prefix: jwt.prefix.clone(),
            foreign_prefixes,
            names: jwt.claims.clone(),
            attributes: Arc::clone(attributes),
        };
        Self { keys, rules, token_bytes_max: jwt.token_bytes }
    }
}

/// The store of an issuer's keys: the one before, if it takes the same keys from the same place. No two issuers share one.
fn store(
    jwt: &Jwt,
    is_only: bool,
    old: Option<(&[Jwt], &Authentication)>,
    clock: &Arc<dyn Clock>,
) -> Arc<KeyStore> {
    let kept = old.and_then(|(was, old)| {
        let is_only = is_only && was.len() == 1;
        let is_kept = |was: &Jwt| {
            (is_only || was.issuer == jwt.issuer)
                && (&was.keys, &was.algorithms) == (&jwt.keys, &jwt.algorithms)
        };
        let (was, issuer) = was.iter().zip(&old.issuers).find(|(was, _)| is_kept(was))?;
        Some((was, issuer.keys.store()?))
    });
    match kept {
        Some((was, store)) if (was.refresh, was.stale_if_error) == (jwt.refresh, jwt.stale_if_error) => {
            Arc::clone(store)
        }
        Some((_, store)) => Arc::new(store.after(jwt.refresh, jwt.stale_if_error)),
        None => {
            let store = KeyStore::new(jwt.refresh, jwt.stale_if_error, Arc::clone(clock));
            Arc::new(store.only(jwt.algorithms.clone()))
        }
    }
}

impl Keys {
    /// Where published keys are kept.
    pub(crate) fn store(&self) -> Option<&Arc<KeyStore>> {
        match self {
            Self::Published(store) => Some(store),
            Self::Given(_) => None,
        }
    }

    /// Keys that the configuration gives are the same when it is.
    fn are_those_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Published(one), Self::Published(other)) => one.is_same(other),
            (Self::Given(_), Self::Given(_)) => true,
            _ => false,
        }
    }

    fn generation(&self) -> u64 {
        match self {
            Self::Published(store) => store.generation(),
            Self::Given(set) => set.generation,
        }
    }

    /// The set that the token's key is in.
    async fn of(&self, token: &Token<'_>) -> Result<Arc<KeySet>, NotVerified> {
        let store = match self {
            Self::Given(set) => return Ok(Arc::clone(set)),
            Self::Published(store) => store,
        };
        match store.lookup(token.kid().ok_or(Error::Malformed)?).await {
            Lookup::Known(keys) => Ok(keys),
            Lookup::Unknown => Err(Error::UnknownKey.into()),
            Lookup::Unavailable => Err(NotVerified::KeysUnavailable),
        }
    }

    /// How many keys there are, and how old they are.
    pub(crate) fn age(&self) -> Option<(usize, Duration)> {
        match self {
            Self::Published(store) => store.age(),
            Self::Given(set) => Some((set.len(), Duration::ZERO)),
        }
    }
}

/// The claims that the rules of routes name, each once.
fn claims_asked_for(routes: &[Route]) -> Arc<[Arc<str>]> {
    let mut names: Vec<Arc<str>> = routes.iter().flat_map(|route| route.access.claims()).collect();
    names.sort_unstable();
    names.dedup();
    names.into()
}
