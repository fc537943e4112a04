//! Who may sign.

use std::sync::Arc;

/// Who may sign assertions that count, among those in the directory.
///
/// A directory says where somebody is, which is no reason to believe them: an outside party that stands in it, such as a
/// payment provider, could otherwise publish keys and sign for any user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Issuers {
    /// Everybody: for a directory that holds nobody but our own services and the gateway. The default.
    Directory,
    /// These alone.
    Only(Vec<Arc<str>>),
}

impl Issuers {
    /// These alone.
    #[must_use]
    pub fn only<N: Into<Arc<str>>>(names: impl IntoIterator<Item = N>) -> Self {
        Self::Only(names.into_iter().map(Into::into).collect())
    }

    /// Whether `issuer` is one of them.
    #[must_use]
    pub fn include(&self, issuer: &str) -> bool {
        match self {
            Self::Directory => true,
            Self::Only(names) => names.iter().any(|name| **name == *issuer),
        }
    }
}
