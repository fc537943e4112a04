//! What an assertion says, on the wire and verified.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A customer or an administrator, as the gateway vouches for; with an id alone when a service says that it acts for one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct User {
    /// The user's id: an opaque string, no e-mail address.
    #[serde(rename = "sub")]
    pub id: Arc<str>,
    /// Roles, for instance `admin`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Arc<str>>,
    /// Permissions, for instance `catalog:write`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<Arc<str>>,
}

impl User {
    /// A user with an id and no roles.
    #[must_use]
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self { id: id.into(), roles: Vec::new(), permissions: Vec::new() }
    }

    /// The same user with one more role.
    #[must_use]
    pub fn with_role(mut self, role: &str) -> Self {
        self.roles.push(role.into());
        self
    }

    /// The same user with one more permission.
    #[must_use]
    pub fn with_permission(mut self, permission: &str) -> Self {
        self.permissions.push(permission.into());
        self
    }
}

/// On whose behalf a call is made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Principal {
    /// A user: the call happens because they asked for it.
    User(User),
    /// The calling service itself: sagas, consumers, timers.
    Service,
    /// A person or tool that operates the platform.
    Operator,
}

/// A verified caller: who signed, and on whose behalf. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Caller(Arc<Verified>);

#[derive(Debug)]
struct Verified {
    issuer: Arc<str>,
    principal: Principal,
}

impl Caller {
    /// For the verifier, and for tests of handlers that take a caller.
    #[must_use]
    pub fn new(issuer: impl Into<Arc<str>>, principal: Principal) -> Self {
        Self(Arc::new(Verified { issuer: issuer.into(), principal }))
    }

    /// The service (or the gateway) that made the call.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// On whose behalf.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.0.principal
    }

    /// The user, if the call is on a user's behalf.
    #[must_use]
    pub fn user(&self) -> Option<&User> {
        match &self.0.principal {
            Principal::User(user) => Some(user),
            Principal::Service | Principal::Operator => None,
        }
    }

    /// The user's id.
    ///
    /// # Errors
    /// 403 when the caller is no user.
    pub fn user_id(&self) -> Result<&Arc<str>, crate::Problem> {
        self.user()
            .map(|user| &user.id)
            .ok_or_else(|| crate::Problem::forbidden("this needs a user, and the caller is none"))
    }

    /// Does the user have this role? A service or an operator has none.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.user().is_some_and(|user| user.roles.iter().any(|own| &**own == role))
    }

    /// Does the user have this permission? A service or an operator has none.
    #[must_use]
    pub fn has_permission(&self, permission: &str) -> bool {
        self.user().is_some_and(|user| user.permissions.iter().any(|own| &**own == permission))
    }

    /// Does the caller operate the platform?
    #[must_use]
    pub fn is_operator(&self) -> bool {
        self.0.principal == Principal::Operator
    }
}

/// The claims as signed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Claims<'a> {
    pub(crate) iss: std::borrow::Cow<'a, str>,
    pub(crate) aud: std::borrow::Cow<'a, str>,
    pub(crate) iat: i64,
    pub(crate) exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) act: Option<Act>,
}

/// For whom: `kind` tells a user from an operator, so that no user id can ever mean "operator".
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Act {
    User(User),
    Operator,
}

impl Act {
    pub(crate) fn of(principal: &Principal) -> Option<Self> {
        match principal {
            Principal::User(user) => Some(Self::User(user.clone())),
            Principal::Operator => Some(Self::Operator),
            Principal::Service => None,
        }
    }

    pub(crate) fn into_principal(act: Option<Self>) -> Principal {
        match act {
            Some(Self::User(user)) => Principal::User(user),
            Some(Self::Operator) => Principal::Operator,
            None => Principal::Service,
        }
    }
}
