//! Certificates and keys, as PEM files.

use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config;

/// The largest file: a bundle of all public authorities has 250 KB.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why files are no certificate. Each text is one line that names the file.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It cannot be read.
    #[error("{file}: {cause}", file = .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// It is larger than 4 MiB.
    #[error("{file} is larger than {FILE_BYTES_MAX} bytes", file = .0.display())]
    TooLarge(PathBuf),
    /// It is no PEM file, or has not what is looked for.
    #[error("{file} has no {what} in PEM: {cause}", file = .file.display())]
    NoPem {
        /// The file.
        file: PathBuf,
        /// What is looked for.
        what: &'static str,
        /// Why.
        cause: String,
    },
    /// What is in there cannot be used.
    #[error("{file} cannot be used: {cause}", file = .file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// Why.
        cause: String,
    },
    /// The key is another certificate's.
    #[error("{key} is not the key of {cert}", key = .key.display(), cert = .cert.display())]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The system trusts nobody.
    #[error("the system has no certificate authorities ({0}): name those of the service in `tls.ca`")]
    NoAuthorities(String),
    /// The library does not do what is asked of it.
    #[error("TLS cannot be spoken: {0}")]
    Provider(String),
    /// It names no host, and only the first certificate is shown to clients that name none either.
    #[error("{file} names no host: give it `names`, or put it first", file = .0.display())]
    Nameless(PathBuf),
}

/// What a file says, byte by byte: by that a change is noticed.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|cause| Problem::Unreadable { file: path.to_owned(), cause })?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Problem::TooLarge(path.to_owned()));
    }
    Ok(bytes)
}

/// A certificate that the gateway presents.
#[derive(Clone, Debug)]
pub(super) struct Own {
    pub(super) key: Arc<CertifiedKey>,
    /// The hosts that it is for, in lower case.
    pub(super) names: Vec<String>,
    pub(super) not_after_unix_s: i64,
    pub(super) fingerprint: String,
}

/// Reads a certificate and its key, and holds them against each other.
pub(super) fn own(config: &config::Certificate) -> Result<Own, Problem> {
    let config::Certificate { cert, key, names } = config;
    let chain = chain(cert)?;
    let key_bytes = bytes(key)?;
    let der = PrivateKeyDer::from_pem_slice(&key_bytes).map_err(|cause| Problem::NoPem {
        file: key.clone(),
        what: "private key",
        cause: cause.to_string(),
    })?;
    let signing = provider::sign::any_supported_type(&der)
        .map_err(|cause| Problem::Unusable { file: key.clone(), cause: cause.to_string() })?;
    let unusable = |cause: String| Problem::Unusable { file: cert.clone(), cause };
    let (not_after_unix_s, own_names) = read(&chain[0]).map_err(unusable)?;
    let fingerprint = fingerprint(&chain[0]);
    let certified = CertifiedKey::new(chain, signing);
    if let Err(rustls::Error::InconsistentKeys(_)) = certified.keys_match() {
        return Err(Problem::Mismatch { cert: cert.clone(), key: key.clone() });
    }
    let names = if names.is_empty() { own_names } else { names.clone() };
    Ok(Own { key: Arc::new(certified), names, not_after_unix_s, fingerprint })
}

/// The certificates of a file: at least one.
pub(super) fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let no_pem = |cause: String| Problem::NoPem { file: file.to_owned(), what: "certificate", cause };
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes(file)?).collect();
    let chain = read.map_err(|error| no_pem(error.to_string()))?;
    if chain.is_empty() { Err(no_pem("there is none".to_owned())) } else { Ok(chain) }
}

/// Those who may vouch for others.
pub(super) fn authorities(file: &Path) -> Result<RootCertStore, Problem> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(file)? {
        roots
            .add(certificate)
            .map_err(|cause| Problem::Unusable { file: file.to_owned(), cause: cause.to_string() })?;
    }
    Ok(roots)
}

/// When it ends, and the hosts that it names: names alone, since a client that connects to an address names none.
fn read(der: &CertificateDer<'_>) -> Result<(i64, Vec<String>), String> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
    let alternatives = certificate.subject_alternative_name().map_err(|error| error.to_string())?;
    let names = alternatives.iter().flat_map(|names| &names.value.general_names);
    let hosts = names.filter_map(|name| match name {
        GeneralName::DNSName(host) => Some(host.to_ascii_lowercase()),
        _ => None,
    });
    Ok((certificate.validity().not_after.timestamp(), hosts.collect()))
}

/// SHA-256 in hexadecimal digits.
pub(super) fn fingerprint(der: &CertificateDer<'_>) -> String {
    let mut text = String::with_capacity(64);
    for byte in digest::digest(&digest::SHA256, der).as_ref() {
        // Writing into a string does not fail.
        let _ok = write!(text, "{byte:02x}");
    }
    text
}
