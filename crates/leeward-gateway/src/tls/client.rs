//! Who a client is by its certificate.

use std::fmt::Write;

use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::fingerprint;
use crate::config::ClientCertificate;

/// Most alternative names that are told of one certificate, and the longest of each, in bytes.
const NAMES_MAX: usize = 32;
const NAME_BYTES_MAX: usize = 512;

/// What needs no escaping in a value that ends at `;`, `,`, `=` and `"`.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'/')
    .remove(b'@')
    .remove(b'*');

/// A client's certificate, which the handshake found to be good.
#[derive(Debug)]
pub(crate) struct Identity {
    /// The alternative names, and the common name of the subject.
    names: Vec<String>,
    /// What services are told.
    pub(crate) header: HeaderValue,
}

impl Identity {
    /// Reads the certificate. None if it has no form that could be told.
    pub(super) fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let subject = certificate.subject();
        let mut text = format!("Hash={}", fingerprint(der));
        // Writing into a string does not fail.
        let _ok = write!(text, ";Subject=\"{}\"", utf8_percent_encode(&subject.to_string(), SUBJECT));
        let mut names = Vec::new();
        let alternatives = certificate.subject_alternative_name().ok()?;
        let alternatives = alternatives.iter().flat_map(|names| &names.value.general_names);
        for name in alternatives.take(NAMES_MAX) {
            let (kind, name) = match name {
                GeneralName::URI(uri) => ("URI", *uri),
                GeneralName::DNSName(host) => ("DNS", *host),
                GeneralName::RFC822Name(mail) => ("Email", *mail),
                _ => continue,
            };
            if name.len() <= NAME_BYTES_MAX {
                let _ok = write!(text, ";{kind}={}", utf8_percent_encode(name, PLAIN));
                names.push(name.to_owned());
            }
        }
        let common = subject.iter_common_name().filter_map(|name| name.as_str().ok());
        names.extend(common.filter(|name| name.len() <= NAME_BYTES_MAX).take(1).map(str::to_owned));
        Some(Self { names, header: HeaderValue::try_from(text).ok()? })
    }

    /// Whether it is one that a route takes.
    pub(crate) fn is(&self, wanted: &ClientCertificate) -> bool {
        match wanted {
            ClientCertificate::Any => true,
            ClientCertificate::Names(wanted) => {
                wanted.iter().any(|name| self.names.iter().any(|own| own == name))
            }
        }
    }
}

/// A subject stands in quotes.
const SUBJECT: &AsciiSet = &PLAIN.remove(b' ').remove(b',').remove(b'=').remove(b'+');
