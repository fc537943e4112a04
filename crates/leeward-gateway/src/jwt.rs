//! Users' tokens: found, checked against published keys, remembered.

mod bearer;
mod cache;
mod keys;
mod verify;

use std::sync::Arc;

use http::header::HeaderValue;
use leeward_service::identity::{Principal, User};

pub(crate) use self::bearer::{Error as BearerError, token};
pub(crate) use self::cache::TokenCache;
pub(crate) use self::keys::{KeyStore, Lookup};
#[cfg(test)]
use self::verify::KeySet;
pub(crate) use self::verify::{Error, Rules, Verified, kid, verify};

/// Whose token it is, with everything that goes upstream about them, made once a token.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) principal: Principal,
    pub(crate) id: Arc<str>,
    pub(crate) token_id: Option<Arc<str>>,
    pub(crate) issued_at_ms: i64,
    pub(crate) expires_at_s: i64,
    /// `x-user-id`.
    pub(crate) id_header: HeaderValue,
    /// `x-user-role`: the roles, separated by commas.
    pub(crate) role_header: HeaderValue,
    /// `x-user-context`: JSON of id, roles, permissions and session.
    pub(crate) context_header: HeaderValue,
}

impl Subject {
    pub(crate) fn new(verified: Verified) -> Option<Self> {
        let Verified { user, session, token_id, issued_at_ms, expires_at_s } = verified;
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

    #[cfg(test)]
    pub(crate) fn for_test(id: &str, roles: &[&str], expires_at_s: i64) -> Self {
        let mut user = User::new(id);
        user.roles = roles.iter().map(|role| Arc::from(*role)).collect();
        let verified = Verified { user, session: None, token_id: None, issued_at_ms: 0, expires_at_s };
        Self::new(verified).expect("plain text")
    }
}

#[cfg(test)]
mod tests;
