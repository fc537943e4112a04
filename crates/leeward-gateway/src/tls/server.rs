//! A listener's TLS: what is in force, and how it is made anew when its files change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::{ServerConfig, SupportedProtocolVersion, version};
use serde::Serialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::certificate::{self, Own, Problem};
use super::client::Identity;
use super::kept::Kept;
use super::meter::Meter;
use super::resolver::Resolver;
use super::watch::Watched;
use crate::config::{Certificate, Listener, Tls, Version};

/// One certificate, as operators see it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Status {
    /// The file.
    pub(crate) file: String,
    /// The hosts that it is for.
    pub(crate) names: Vec<String>,
    /// When it ends.
    pub(crate) not_after_unix_s: i64,
    /// SHA-256 of the certificate.
    pub(crate) fingerprint: String,
}

impl Status {
    pub(super) fn new(own: Own, from: &Certificate) -> Self {
        Self {
            file: from.cert.display().to_string(),
            names: own.names,
            not_after_unix_s: own.not_after_unix_s,
            fingerprint: own.fingerprint,
        }
    }
}

/// The versions from the oldest on.
pub(super) fn versions(oldest: Version) -> &'static [&'static SupportedProtocolVersion] {
    const ALL: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
    match oldest {
        Version::V12 => ALL,
        Version::V13 => &ALL[..1],
    }
}

/// A handshake is done with this and nothing that comes later.
#[derive(Debug)]
struct InForce {
    tls: Arc<ServerConfig>,
    certificates: Vec<Status>,
}

/// The TLS of one listener.
pub(crate) struct Server {
    options: Tls,
    protocols: Vec<Vec<u8>>,
    tickets: Arc<dyn ProducesTickets>,
    in_force: Kept<InForce>,
    handshakes: AtomicUsize,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("options", &self.options).finish_non_exhaustive()
    }
}

/// A place among the handshakes of a listener.
#[derive(Debug)]
pub(crate) struct Shaking(Arc<Server>);

impl Drop for Shaking {
    fn drop(&mut self) {
        self.0.handshakes.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a handshake came to.
pub(crate) struct Shaken {
    pub(crate) stream: tokio_rustls::server::TlsStream<Meter>,
    pub(crate) is_http2: bool,
    pub(crate) identity: Option<Identity>,
}

impl Server {
    /// Reads the files of a listener.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub(crate) fn new(listener: &Listener, options: &Tls) -> Result<Self, Problem> {
        let mut protocols = Vec::new();
        if listener.protocols.http2 {
            protocols.push(b"h2".to_vec());
        }
        if listener.protocols.http1 {
            protocols.push(b"http/1.1".to_vec());
        }
        let first = &options.certificates[0].cert;
        let tickets = provider::Ticketer::new().map_err(|cause| unusable(first, cause))?;
        let in_force = Kept::new(files(options), || make(options, &protocols, &tickets))?;
        Ok(Self { in_force, options: options.clone(), protocols, tickets, handshakes: AtomicUsize::new(0) })
    }

    /// A place among the handshakes; none when there are too many.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<Shaking> {
        let shaking = Shaking(Arc::clone(self));
        // Dropping the place counts it off again.
        (self.handshakes.fetch_add(1, Ordering::Relaxed) < self.options.handshakes).then_some(shaking)
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// The client left, was too slow, or wants what this listener does not have.
    pub(crate) async fn accept(&self, stream: TcpStream) -> std::io::Result<Shaken> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.in_force.load().tls));
        let shaking = acceptor.accept(Meter::new(stream));
        let shaken = tokio::time::timeout(self.options.handshake_timeout, shaking).await;
        let stream = shaken.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))?;
        let (_, session) = stream.get_ref();
        // Without the protocol said, it is the one that every client has.
        let is_http2 = session.alpn_protocol() == Some(b"h2");
        if !is_http2 && !self.protocols.iter().any(|name| name == b"http/1.1") {
            return Err(std::io::ErrorKind::Unsupported.into());
        }
        let identity = session.peer_certificates().and_then(|chain| Identity::read(chain.first()?));
        Ok(Shaken { stream, is_http2, identity })
    }
}

impl Watched for Server {
    fn every(&self) -> Duration {
        self.options.reload
    }

    fn certificates(&self) -> Vec<Status> {
        self.in_force.load().certificates.clone()
    }

    fn problem(&self) -> Option<String> {
        self.in_force.problem()
    }

    fn reload(&self) -> Result<bool, Problem> {
        self.in_force.look(|| make(&self.options, &self.protocols, &self.tickets))
    }
}

fn unusable(file: &Path, cause: impl ToString) -> Problem {
    Problem::Unusable { file: file.to_owned(), cause: cause.to_string() }
}

fn files(options: &Tls) -> impl Iterator<Item = &PathBuf> {
    let own = options.certificates.iter().flat_map(|one| [&one.cert, &one.key]);
    own.chain(options.client_certificates.iter().map(|clients| &clients.ca))
}

fn make(
    options: &Tls,
    protocols: &[Vec<u8>],
    tickets: &Arc<dyn ProducesTickets>,
) -> Result<InForce, Problem> {
    let own: Vec<Own> = options.certificates.iter().map(certificate::own).collect::<Result<_, _>>()?;
    if let Some((_, nameless)) = own
        .iter()
        .zip(&options.certificates)
        .skip(1)
        .find_map(|(own, one)| own.names.is_empty().then_some((own, one)))
    {
        return Err(Problem::Nameless(nameless.cert.clone()));
    }
    let crypto: Arc<CryptoProvider> = Arc::new(provider::default_provider());
    let first = &options.certificates[0].cert;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&crypto))
        .with_protocol_versions(versions(options.min_version))
        .map_err(|cause| unusable(first, cause))?;
    let builder = match &options.client_certificates {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let roots = Arc::new(certificate::authorities(&clients.ca)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, crypto);
            let verifier = if clients.required { verifier } else { verifier.allow_unauthenticated() };
            builder.with_client_cert_verifier(verifier.build().map_err(|cause| unusable(&clients.ca, cause))?)
        }
    };
    let mut tls = builder.with_cert_resolver(Arc::new(Resolver::new(&own, options.unknown_names)));
    tls.alpn_protocols = protocols.to_vec();
    if options.client_certificates.is_some() {
        tls.session_storage = Arc::new(NoServerSessionStorage {});
        tls.send_tls13_tickets = 0;
    } else {
        tls.ticketer = Arc::clone(tickets);
    }
    let certificates = own.into_iter().zip(&options.certificates).map(|(own, one)| Status::new(own, one));
    Ok(InForce { certificates: certificates.collect(), tls: Arc::new(tls) })
}
