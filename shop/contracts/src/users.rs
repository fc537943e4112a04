//! Users: what the others hear about them, which is an id and never a name, a mail address or a postal address.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::UserId;

/// Ways to reach a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// Electronic mail.
    Email,
    /// Text message.
    Sms,
    /// A push message to an app.
    Push,
}

/// `user.registered`: there is a new account. Key: the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRegistered {
    /// The user.
    pub user_id: UserId,
    /// When.
    pub registered_at_ms: i64,
}

/// `user.erased`: the account is gone, and with it everything that names the person. Key: the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserErased {
    /// The user.
    pub user_id: UserId,
}

/// `user.preferences_changed`: how the customer wants to be reached, all of it. Key: the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserPreferencesChanged {
    /// The user.
    pub user_id: UserId,
    /// The channels that are wanted; an empty list means silence.
    pub channels: Vec<Channel>,
    /// The language of messages, for example `en`.
    pub language: String,
    /// Grows with each change; a consumer ignores a version that is not above the one it has.
    pub version: i64,
}

/// `token.revoked`: access tokens are no longer good, though they have not expired. Key: the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRevoked {
    /// The user.
    pub user_id: UserId,
    /// The token's `jti`; absent when all of the user's tokens issued before `revoked_at_ms` are meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
    /// When it was revoked.
    pub revoked_at_ms: i64,
    /// When the last of the tokens meant would have expired by itself: the revocation may be forgotten then.
    pub expires_at_ms: i64,
}
