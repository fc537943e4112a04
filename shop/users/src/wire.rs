//! What clients send and get. Unknown fields of a request are refused.

use leeward_service::{Invalid, Problem};
use serde::{Deserialize, Serialize};
use shop_contracts::UserId;
use shop_contracts::users::Channel;
use utoipa::ToSchema;

use crate::accounts::Account;
use crate::roles::Role;
use crate::secret::Secret;

const NAME_CHARS_MAX: usize = 100;
const EMAIL_BYTES_MAX: usize = 254;
const PASSWORD_CHARS_MIN: usize = 8;
/// Longer ones are refused, since hashing costs by the byte.
const PASSWORD_BYTES_MAX: usize = 256;

/// `POST /auth/register`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Register {
    /// The address to log in with.
    #[schema(example = "ada@shop.example", max_length = 254)]
    pub(crate) email: String,
    /// 8 characters to 256 bytes.
    #[schema(value_type = String, min_length = 8, max_length = 256)]
    pub(crate) password: Secret,
    /// How to address the person, at most 100 characters.
    #[schema(example = "Ada", min_length = 1, max_length = 100)]
    pub(crate) name: String,
}

impl Register {
    pub(crate) fn check(&self) -> Result<(), Problem> {
        Invalid::default()
            .check(is_email(&self.email), "email", "must look like name@host, at most 254 bytes")
            .check(is_password(self.password.expose()), "password", "must have 8 characters to 256 bytes")
            .check(is_name(&self.name), "name", "must have 1 to 100 characters")
            .finish()
    }
}

/// `POST /auth/login`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    /// The address.
    #[schema(example = "customer@shop.example")]
    pub(crate) email: String,
    /// The password.
    pub(crate) password: Secret,
}

impl Login {
    pub(crate) fn check(&self) -> Result<(), Problem> {
        Invalid::default()
            .check(self.email.len() <= EMAIL_BYTES_MAX, "email", "must have at most 254 bytes")
            .check(
                self.password.expose().len() <= PASSWORD_BYTES_MAX,
                "password",
                "must have at most 256 bytes",
            )
            .finish()
    }
}

/// `POST /auth/refresh` and `POST /auth/logout`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefreshToken {
    /// The refresh token of the session.
    pub(crate) refresh_token: Secret,
}

/// A pair of tokens.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tokens {
    /// For the `Authorization: Bearer` header.
    pub(crate) access_token: Secret,
    /// Always `Bearer`.
    pub(crate) token_type: &'static str,
    /// Seconds until the access token ends.
    pub(crate) expires_in: u64,
    /// Good once, for the next pair.
    pub(crate) refresh_token: Secret,
}

/// The key set (RFC 7517).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeySet {
    /// The keys whose tokens may be alive; the first signs.
    pub(crate) keys: Vec<crate::tokens::PublicKey>,
}

/// A user's own data.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Profile {
    /// The user.
    pub(crate) user_id: UserId,
    /// The address.
    pub(crate) email: String,
    /// The name.
    pub(crate) name: String,
    /// The role.
    pub(crate) role: Role,
    /// What the role may do.
    pub(crate) permissions: Vec<&'static str>,
    /// When the account was made, Unix milliseconds.
    pub(crate) created_at_ms: i64,
}

impl From<Account> for Profile {
    fn from(account: Account) -> Self {
        Self {
            user_id: account.id,
            email: account.email,
            name: account.name,
            role: account.role,
            permissions: account.role.permissions().to_vec(),
            created_at_ms: account.created_at_ms,
        }
    }
}

/// `PATCH /users/me`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateProfile {
    /// The new name.
    #[schema(min_length = 1, max_length = 100)]
    pub(crate) name: String,
}

impl UpdateProfile {
    pub(crate) fn check(&self) -> Result<(), Problem> {
        Invalid::default().check(is_name(&self.name), "name", "must have 1 to 100 characters").finish()
    }
}

/// How a customer wants to be reached.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Preferences {
    /// The channels wanted; none means silence.
    #[schema(max_items = 3)]
    pub(crate) channels: Vec<Channel>,
    /// The language of messages: two lower-case letters.
    #[schema(example = "en", pattern = "^[a-z]{2}$")]
    pub(crate) language: String,
}

impl Preferences {
    pub(crate) fn check(&self) -> Result<(), Problem> {
        let is_language =
            self.language.len() == 2 && self.language.bytes().all(|byte| byte.is_ascii_lowercase());
        let mut sorted = self.channels.clone();
        sorted.sort_unstable();
        sorted.dedup();
        Invalid::default()
            .check(is_language, "language", "must be two lower-case letters")
            .check(sorted.len() == self.channels.len(), "channels", "must name each channel once")
            .finish()
    }
}

/// `PUT /users/{user_id}/role`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetRole {
    /// The new role.
    pub(crate) role: Role,
}

/// The answer to a key rotation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Rotated {
    /// The key that signs from now on.
    pub(crate) kid: String,
}

/// A role and what it may do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RoleEntry {
    /// The role.
    pub(crate) role: Role,
    /// What it may do.
    pub(crate) permissions: Vec<&'static str>,
}

impl From<Role> for RoleEntry {
    fn from(role: Role) -> Self {
        Self { role, permissions: role.permissions().to_vec() }
    }
}

fn is_name(name: &str) -> bool {
    let chars = name.trim().chars().count();
    (1..=NAME_CHARS_MAX).contains(&chars) && !name.chars().any(char::is_control)
}

fn is_password(password: &str) -> bool {
    password.chars().count() >= PASSWORD_CHARS_MIN && password.len() <= PASSWORD_BYTES_MAX
}

/// Whether the text has the shape of an address. Only a message that arrives proves more.
fn is_email(email: &str) -> bool {
    let email = email.trim();
    let Some((name, host)) = email.rsplit_once('@') else { return false };
    email.len() <= EMAIL_BYTES_MAX
        && !name.is_empty()
        && !host.is_empty()
        && !host.starts_with('.')
        && !host.ends_with('.')
        && !email.chars().any(|char| char.is_whitespace() || char.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["a@b", "ada.l@shop.example", " ada@shop.example "] {
            assert!(is_email(good), "{good}");
        }
        for bad in ["", "a", "@b", "a@", "a b@c", "a@.c", "a@c.", "a@b\nc"] {
            assert!(!is_email(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_registration_names_every_field_that_is_wrong() {
        let wrong = Register { email: "x".into(), password: "short".to_owned().into(), name: " ".into() };
        let problem = wrong.check().expect_err("three fields are wrong");
        assert_eq!(problem.member("errors").and_then(|errors| errors.as_array()).map(Vec::len), Some(3));
    }
}
