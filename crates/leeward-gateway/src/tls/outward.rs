//! TLS towards one service: what is in force, and how it is made anew when its files change.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use leeward_discovery::Endpoint;
use leeward_telemetry::metrics::Counters;
use parking_lot::Mutex;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificate::{self, Problem};
use super::failure::Failure;
use super::kept::Kept;
use super::server::{Status, versions};
use super::unverified::Unverified;
use super::watch::Watched;
use crate::config::ServiceTls;

/// Sessions that can be resumed: one for each endpoint of most services.
const SESSIONS_MAX: usize = 64;

/// What connections begin with until something else is in force. Two of them are never the same to the pool.
#[derive(Debug)]
struct InForce {
    tls: Arc<ClientConfig>,
    certificate: Option<Status>,
}

/// The TLS of one service.
pub(crate) struct Outward {
    service: Arc<str>,
    options: ServiceTls,
    protocols: Vec<Vec<u8>>,
    in_force: Kept<InForce>,
    failures: Counters<2>,
    /// The failure that the log knows of.
    told: Mutex<Option<Failure>>,
}

impl std::fmt::Debug for Outward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outward").field("service", &self.service).finish_non_exhaustive()
    }
}

/// A connection, and what it began with.
pub(crate) struct Reached {
    pub(crate) stream: TlsStream<TcpStream>,
    pub(crate) under: Arc<ClientConfig>,
}

impl Outward {
    /// Reads the files of a service. `protocols` are offered to it in this order.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub(crate) fn new(
        service: &Arc<str>,
        options: &ServiceTls,
        protocols: &[&str],
        failures: Counters<2>,
    ) -> Result<Self, Problem> {
        let protocols: Vec<Vec<u8>> = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let in_force = Kept::new(files(options), || make(options, &protocols))?;
        if options.unsafe_skip_verification {
            tracing::warn!(%service, "unsafe_skip_verification: anybody on the way can pretend to be this service");
        }
        Ok(Self {
            service: Arc::clone(service),
            in_force,
            options: options.clone(),
            protocols,
            failures,
            told: Mutex::new(None),
        })
    }

    /// Whether it was made of the same.
    pub(crate) fn is_of(&self, options: &ServiceTls, protocols: &[&str]) -> bool {
        let offered = protocols.iter().map(|name| name.as_bytes());
        self.options == *options && self.protocols.iter().map(Vec::as_slice).eq(offered)
    }

    /// What a connection that is opened now begins with.
    pub(crate) fn in_force(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.in_force.load().tls)
    }

    /// Shakes hands over a connection to an endpoint.
    ///
    /// # Errors
    /// The service is not whom it should be, or does not take the gateway.
    pub(crate) async fn connect(&self, endpoint: &Endpoint, stream: TcpStream) -> io::Result<Reached> {
        let name = self.options.server_name.as_deref().unwrap_or(endpoint.host()).to_owned();
        let name =
            ServerName::try_from(name).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let under = self.in_force();
        let stream = TlsConnector::from(Arc::clone(&under)).connect(name, stream).await?;
        self.tell(None, endpoint);
        Ok(Reached { stream, under })
    }

    /// Counts a failure. The log hears of the first of a row of the same ones, and of the end of the row.
    pub(crate) fn failed(&self, failure: Failure, endpoint: &Endpoint) {
        self.failures.with([&*self.service, failure.as_str()]).inc();
        self.tell(Some(failure), endpoint);
    }

    fn tell(&self, now: Option<Failure>, endpoint: &Endpoint) {
        let before = std::mem::replace(&mut *self.told.lock(), now);
        let service = &self.service;
        match now {
            Some(failure) if before != now => {
                let (reason, hint) = (failure.as_str(), failure.hint());
                tracing::warn!(%service, %endpoint, reason, "no connection over TLS: {hint}");
            }
            None if before.is_some() => {
                tracing::info!(%service, %endpoint, "connections over TLS come about again")
            }
            _ => {}
        }
    }
}

impl Watched for Outward {
    fn every(&self) -> std::time::Duration {
        self.options.reload
    }

    fn certificates(&self) -> Vec<Status> {
        self.in_force.load().certificate.iter().cloned().collect()
    }

    fn problem(&self) -> Option<String> {
        self.in_force.problem()
    }

    fn reload(&self) -> Result<bool, Problem> {
        self.in_force.look(|| make(&self.options, &self.protocols))
    }
}

fn files(options: &ServiceTls) -> impl Iterator<Item = &PathBuf> {
    let own = options.certificate.iter().flat_map(|one| [&one.cert, &one.key]);
    own.chain(&options.ca)
}

fn make(options: &ServiceTls, protocols: &[Vec<u8>]) -> Result<InForce, Problem> {
    let crypto: Arc<CryptoProvider> = Arc::new(provider::default_provider());
    let algorithms = crypto.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(crypto)
        .with_protocol_versions(versions(options.min_version))
        .map_err(|cause| Problem::Provider(cause.to_string()))?;
    let builder = match (&options.ca, options.unsafe_skip_verification) {
        (_, true) => builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(algorithms))),
        (Some(ca), false) => builder.with_root_certificates(certificate::authorities(ca)?),
        (None, false) => builder.with_root_certificates(system()?),
    };
    let own = options.certificate.as_ref().map(certificate::own).transpose()?;
    let mut tls = match &own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&own.key))))
        }
    };
    tls.alpn_protocols = protocols.to_vec();
    // Made anew with the rest: no session outlives whom the gateway believed when it began.
    tls.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    let certificate = own.zip(options.certificate.as_ref()).map(|(own, one)| Status::new(own, one));
    Ok(InForce { tls: Arc::new(tls), certificate })
}

/// Those whom the system trusts. Read once: a change of them needs a restart.
fn system() -> Result<Arc<RootCertStore>, Problem> {
    static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(known) = SYSTEM.get() {
        return Ok(Arc::clone(known));
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let cause = found.errors.first().map(ToString::to_string).unwrap_or_default();
        return Err(Problem::NoAuthorities(cause));
    }
    Ok(Arc::clone(SYSTEM.get_or_init(|| Arc::new(roots))))
}
