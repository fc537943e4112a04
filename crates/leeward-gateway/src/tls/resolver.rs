//! Which certificate a client gets: by the host that it names.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::Own;
use crate::config::UnknownNames;

/// The certificates by name. Several with one name differ in the kind of their key: the client says which ones it can check.
#[derive(Debug)]
pub(super) struct Resolver {
    /// `example.com`
    exact: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
    /// `example.com` for `*.example.com`
    wildcard: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
    /// For clients that name no host: those that connect to an address.
    first: Vec<Arc<CertifiedKey>>,
    unknown_names: UnknownNames,
}

impl Resolver {
    pub(super) fn new(certificates: &[Own], unknown_names: UnknownNames) -> Self {
        let (mut exact, mut wildcard) = (HashMap::new(), HashMap::new());
        for certificate in certificates {
            for name in &certificate.names {
                let (map, name): (&mut HashMap<Box<str>, Vec<_>>, _) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut wildcard, parent),
                    None => (&mut exact, name.as_str()),
                };
                map.entry(name.into()).or_default().push(Arc::clone(&certificate.key));
            }
        }
        let first = certificates.first().map(|first| Arc::clone(&first.key)).into_iter().collect();
        Self { exact, wildcard, first, unknown_names }
    }

    /// The certificates for a host: its own, those for all right below its parent, or what is for unknown ones.
    fn candidates(&self, host: Option<&str>) -> &[Arc<CertifiedKey>] {
        let Some(host) = host else { return &self.first };
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let below = || self.wildcard.get(host.split_once('.')?.1);
        match self.exact.get(host.as_str()).or_else(below) {
            Some(found) => found,
            None if self.unknown_names == UnknownNames::First => &self.first,
            None => &[],
        }
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = self.candidates(hello.server_name());
        let fits = |one: &&Arc<CertifiedKey>| one.key.choose_scheme(hello.signature_schemes()).is_some();
        candidates.iter().find(fits).cloned()
    }
}
