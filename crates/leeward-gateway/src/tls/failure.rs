//! Why a service could not be reached over TLS: in words for operators, and for nobody else.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// Why a handshake with a service came to nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    /// The service's certificate has ended.
    Expired,
    /// It is not good yet.
    NotYet,
    /// Nobody whom the gateway believes vouches for it.
    UnknownIssuer,
    /// It is for other names.
    WrongName,
    /// It is no good for another reason.
    Certificate,
    /// The service wants a certificate of the gateway, or another one.
    Refused,
    /// No version or cipher that both sides have.
    Versions,
    /// What came back is no TLS.
    NotTls,
    /// No end of the handshake in time.
    Timeout,
    /// The connection ended, or the handshake went wrong in another way.
    Broken,
}

impl Failure {
    /// What the error of a handshake says.
    pub(crate) fn of(error: &io::Error) -> Self {
        match cause(error) {
            Some(error) => Self::of_tls(error),
            None if error.kind() == io::ErrorKind::TimedOut => Self::Timeout,
            None => Self::Broken,
        }
    }

    /// What an error after the handshake says, if the service ended it there for the certificate that it was shown: in TLS 1.3 it
    /// looks at that when the gateway is done already. It has not read a byte of the request then.
    pub(crate) fn after(error: &io::Error) -> Option<Self> {
        match cause(error)? {
            Error::AlertReceived(alert) if is_about_a_certificate(*alert) => Some(Self::Refused),
            _ => None,
        }
    }

    fn of_tls(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(error) => match error {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYet,
                // One that was made anew under the same name has another key.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownIssuer,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    Self::WrongName
                }
                _ => Self::Certificate,
            },
            Error::AlertReceived(alert) if is_about_a_certificate(*alert) => Self::Refused,
            Error::AlertReceived(AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion)
            | Error::PeerIncompatible(_) => Self::Versions,
            Error::InvalidMessage(_) => Self::NotTls,
            _ => Self::Broken,
        }
    }

    /// Its name in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NotYet => "not_yet_valid",
            Self::UnknownIssuer => "unknown_issuer",
            Self::WrongName => "wrong_name",
            Self::Certificate => "certificate",
            Self::Refused => "refused",
            Self::Versions => "versions",
            Self::NotTls => "not_tls",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
        }
    }

    /// What it means and what to do.
    pub(crate) const fn hint(self) -> &'static str {
        match self {
            Self::Expired => "the service's certificate has expired: renew it",
            Self::NotYet => "the service's certificate is not valid yet: look at the clocks",
            Self::UnknownIssuer => {
                "the service's certificate is of an unknown issuer: name who vouches for it in `tls.ca`"
            }
            Self::WrongName => {
                "the service's certificate is for another name: set `tls.server_name`, or give it this name"
            }
            Self::Certificate => "the service's certificate is not good: see the log",
            Self::Refused => {
                "the service wants a certificate of the gateway, or another one: see `tls.certificate`"
            }
            Self::Versions => "the service has no version of TLS, or no protocol, that the gateway takes",
            Self::NotTls => "the service does not speak TLS there: its URL may be http://",
            Self::Timeout => "the service did not end the handshake within connect_timeout",
            Self::Broken => "the service broke off the handshake",
        }
    }
}

fn cause(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn is_about_a_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
    )
}
