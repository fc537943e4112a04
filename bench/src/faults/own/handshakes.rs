//! Connections over TLS 1.3, each with a handshake in full: no client comes back with a ticket.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;

/// A certificate of its own, as the gateway has it and clients trust it.
pub(super) struct Own {
    folder: TempDir,
    certificate: rcgen::Certificate,
}

impl Own {
    /// Makes it, with an RSA key.
    pub(super) fn new(bits: u32) -> Result<Self, String> {
        let size = match bits {
            2_048 => RsaKeySize::_2048,
            3_072 => RsaKeySize::_3072,
            4_096 => RsaKeySize::_4096,
            _ => return Err(format!("a certificate of RSA with {bits} bits: 2048, 3072 or 4096")),
        };
        let text = |error: rcgen::Error| error.to_string();
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size).map_err(text)?;
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).map_err(text)?;
        let certificate = params.self_signed(&key).map_err(text)?;
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let write = |name: &str, text: String| {
            std::fs::write(folder.path().join(name), text).map_err(|error| format!("{name}: {error}"))
        };
        write("own.pem", certificate.pem())?;
        write("own.key", key.serialize_pem())?;
        Ok(Self { folder, certificate })
    }

    /// What the gateway's listener says beside its address.
    pub(super) fn config(&self) -> String {
        let folder = self.folder.path().display();
        format!(
            ", tls: {{certificates: [{{cert: \"{folder}/own.pem\", key: \"{folder}/own.key\"}}], unknown_names: first}}"
        )
    }

    pub(super) fn connector(&self) -> Result<TlsConnector, String> {
        let text = |error: rustls::Error| error.to_string();
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).map_err(text)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).map_err(text)?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(TlsConnector::from(Arc::new(config)))
    }
}
