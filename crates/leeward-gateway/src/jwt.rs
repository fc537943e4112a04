//! Users' tokens: found, checked against the keys of their issuer, remembered.
//!
//! A token's issuer picks the keys and the algorithms; a key is for one algorithm, and no other is ever tried with it.

mod bearer;
mod cache;
mod claims;
mod issuers;
mod json;
mod key;
mod keys;
mod set;
mod token;
mod verify;

use std::sync::Arc;

use http::header::HeaderValue;
use leeward_service::identity::{Principal, User};

pub(crate) use self::bearer::{Error as BearerError, token};
pub(crate) use self::cache::TokenCache;
use self::claims::Attribute;
pub use self::claims::Names;
pub(crate) use self::claims::Verified;
pub(crate) use self::issuers::{Authentication, NotVerified};
pub use self::key::Algorithm;
pub(crate) use self::key::SECRET_BYTES_MIN;
pub(crate) use self::keys::KeyStore;
#[cfg(test)]
use self::keys::Lookup;
pub(crate) use self::set::KeySet;
pub(crate) use self::verify::Error;

/// Longest key id looked at, in bytes: published ids are thumbprints of 43.
const KID_BYTES_MAX: usize = 128;

/// Whose token it is, with everything that goes upstream about them, made once a token.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) principal: Principal,
    pub(crate) id: Arc<str>,
    pub(crate) token_id: Option<Arc<str>>,
    pub(crate) issued_at_ms: i64,
    pub(crate) expires_at_s: i64,
    scopes: Vec<String>,
    attributes: Vec<Attribute>,
    /// `x-user-id`.
    pub(crate) id_header: HeaderValue,
    /// `x-user-role`: the roles, separated by commas.
    pub(crate) role_header: HeaderValue,
    /// `x-user-context`: JSON of id, roles, permissions and session.
    pub(crate) context_header: HeaderValue,
}

impl Subject {
    pub(crate) fn new(verified: Verified) -> Option<Self> {
        let Verified { user, scopes, attributes, session, token_id, issued_at_ms, expires_at_s } = verified;
        let context = serde_json::json!({
            "sub": user.id,
            "roles": user.roles,
            "permissions": user.permissions,
            "sid": session,
        });
        let sensitive = |text: &str| {
            let mut value = HeaderValue::from_str(text).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        Some(Self {
            id_header: sensitive(&user.id)?,
            role_header: sensitive(&user.roles.join(","))?,
            context_header: sensitive(&context.to_string())?,
            id: Arc::clone(&user.id),
            principal: Principal::User(user),
            token_id,
            issued_at_ms,
            expires_at_s,
            scopes,
            attributes,
        })
    }

    pub(crate) fn user(&self) -> Option<&User> {
        match &self.principal {
            Principal::User(user) => Some(user),
            Principal::Service | Principal::Operator => None,
        }
    }

    pub(crate) fn has_one_of(&self, roles: &[String]) -> bool {
        self.user().is_some_and(|user| user.roles.iter().any(|own| roles.iter().any(|role| **own == *role)))
    }

    pub(crate) fn has_scope(&self, scopes: &[String]) -> bool {
        self.scopes.iter().any(|own| scopes.contains(own))
    }

    pub(crate) fn has_claim(&self, name: &str, values: &[String]) -> bool {
        let claim = self.attributes.iter().find(|(own, _)| **own == *name);
        claim.is_some_and(|(_, own)| own.iter().any(|own| values.contains(own)))
    }

    #[cfg(test)]
    pub(crate) fn for_test(id: &str, roles: &[&str], expires_at_s: i64) -> Self {
        let mut user = User::new(id);
        user.roles = roles.iter().map(|role| Arc::from(*role)).collect();
        let verified = Verified {
            user,
            scopes: Vec::new(),
            attributes: Vec::new(),
            session: None,
            token_id: None,
            issued_at_ms: 0,
            expires_at_s,
        };
        Self::new(verified).expect("plain text")
    }
}

#[cfg(test)]
mod tests;
