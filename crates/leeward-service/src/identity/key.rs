//! The key pair of one service, kept in its data folder, and the public half as it is published.

use std::collections::HashMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey};
use serde::{Deserialize, Serialize};

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key file cannot be read or written.
    #[error("the key file {path} cannot be used: {cause}; give the process a data folder it may write")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The file does not hold an Ed25519 key.
    #[error("{path} holds no Ed25519 key; move it away to have a new one made")]
    NotAKey {
        /// Which file.
        path: PathBuf,
    },
    /// The operating system gave no randomness, or a published key is not one.
    #[error("the key cannot be made or read")]
    Crypto,
}

/// A service's own name and signing key. Cheap to clone; `Debug` never shows the key.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    name: Arc<str>,
    kid: String,
    signing: EncodingKey,
    public: PublicKeys,
}

impl Identity {
    /// Loads the key of `name` from `folder`, or makes one there, readable by the owner only.
    ///
    /// # Errors
    /// When the folder or the file cannot be used.
    pub fn open(folder: &Path, name: &str) -> Result<Self, Error> {
        let path = folder.join(format!("{name}.ed25519"));
        match std::fs::read(&path) {
            Ok(der) => Self::from_pkcs8(name, &der).map_err(|_| Error::NotAKey { path }),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Self::create(name, folder, path),
            Err(cause) => Err(Error::File { path, cause }),
        }
    }

    /// A key that lives as long as the process: for tests and for tools.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn ephemeral(name: &str) -> Result<Self, Error> {
        Self::from_pkcs8(name, &generate()?)
    }

    /// The name that goes into `iss`.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    /// What `/.well-known/leeward-keys` answers.
    #[must_use]
    pub fn public_keys(&self) -> &PublicKeys {
        &self.0.public
    }

    pub(crate) fn kid(&self) -> &str {
        &self.0.kid
    }

    pub(crate) fn signing(&self) -> &EncodingKey {
        &self.0.signing
    }

    fn create(name: &str, folder: &Path, path: PathBuf) -> Result<Self, Error> {
        let der = generate()?;
        write_private(folder, &path, &der).map_err(|cause| Error::File { path, cause })?;
        Self::from_pkcs8(name, &der)
    }

    fn from_pkcs8(name: &str, der: &[u8]) -> Result<Self, Error> {
        let pair = Ed25519KeyPair::from_pkcs8(der).map_err(|_| Error::Crypto)?;
        let public = PublicKey::of(pair.public_key().as_ref());
        Ok(Self(Arc::new(Inner {
            name: name.into(),
            kid: public.kid.clone(),
            signing: EncodingKey::from_ed_der(der),
            public: PublicKeys { keys: vec![public] },
        })))
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("name", &self.0.name)
            .field("kid", &self.0.kid)
            .finish_non_exhaustive()
    }
}

fn generate() -> Result<Vec<u8>, Error> {
    let pair = Ed25519KeyPair::generate().map_err(|_| Error::Crypto)?;
    Ok(pair.to_pkcs8().map_err(|_| Error::Crypto)?.as_ref().to_vec())
}

/// Written aside and renamed: a crash half way leaves no half a key.
fn write_private(folder: &Path, path: &Path, der: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let aside = path.with_extension(format!("new-{}", std::process::id()));
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(der)?;
    file.sync_all()?;
    std::fs::rename(aside, path)
}

/// A JSON Web Key Set of Ed25519 keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PublicKeys {
    keys: Vec<PublicKey>,
}

/// One Ed25519 public key as a JWK (RFC 8037).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
struct PublicKey {
    kty: String,
    crv: String,
    #[serde(default)]
    alg: String,
    #[serde(rename = "use", default)]
    usage: String,
    kid: String,
    x: String,
}

impl PublicKey {
    fn of(raw: &[u8]) -> Self {
        let x = BASE64_URL_SAFE_NO_PAD.encode(raw);
        // RFC 7638: the thumbprint of the required members in this order names the key.
        let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, members.as_bytes());
        Self {
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            alg: "EdDSA".to_owned(),
            usage: "sig".to_owned(),
            kid: BASE64_URL_SAFE_NO_PAD.encode(digest),
            x,
        }
    }
}

impl PublicKeys {
    /// The most keys taken from one issuer: a current one, a next one, and room for rotations close together.
    pub const KEYS_MAX: usize = 16;

    /// The usable keys by their id. Others (another curve, not for signatures) are left out.
    pub(crate) fn decoding(&self) -> HashMap<String, DecodingKey> {
        self.keys
            .iter()
            .filter(|key| {
                key.kty == "OKP" && key.crv == "Ed25519" && matches!(key.usage.as_str(), "" | "sig")
            })
            .filter_map(|key| Some((key.kid.clone(), DecodingKey::from_ed_components(&key.x).ok()?)))
            .take(Self::KEYS_MAX)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_kept_private() {
        let folder = tempfile::tempdir().unwrap();
        let first = Identity::open(folder.path(), "orders").unwrap();
        let second = Identity::open(folder.path(), "orders").unwrap();
        assert_eq!(first.kid(), second.kid());
        let mode = std::fs::metadata(folder.path().join("orders.ed25519")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_ne!(first.kid(), Identity::open(folder.path(), "payments").unwrap().kid());
    }

    #[test]
    fn a_file_that_is_no_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("orders.ed25519"), b"not a key").unwrap();
        let error = Identity::open(folder.path(), "orders").unwrap_err();
        assert!(error.to_string().contains("orders.ed25519"), "{error}");
    }

    #[test]
    fn foreign_keys_are_left_out() {
        let json = r#"{"keys":[{"kty":"RSA","crv":"","kid":"a","x":"AA"},
            {"kty":"OKP","crv":"Ed25519","use":"enc","kid":"b","x":"AA"}]}"#;
        let keys: PublicKeys = serde_json::from_str(json).unwrap();
        assert!(keys.decoding().is_empty());
    }
}
