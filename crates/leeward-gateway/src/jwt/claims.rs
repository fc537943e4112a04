//! What a token's claims mean here.

use std::sync::Arc;

use leeward_service::identity::User;
use serde_json::{Map, Value};

use super::verify::Error;

/// Longest user id, in bytes: it travels in a header and in every assertion.
const SUBJECT_BYTES_MAX: usize = 128;

type Claims = Map<String, Value>;

/// Which claims say what. A name is that of a claim, or the way to it through claims within claims, with dots between.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Names {
    /// Roles: the claims of all these names together. Default: `role` and `roles`.
    pub roles: Vec<String>,
    /// Permissions. Default: `permissions`.
    pub permissions: Vec<String>,
    /// Scopes: a text with blanks between (RFC 9068), or a list. Default: `scope` and `scp`.
    pub scopes: Vec<String>,
}

impl Default for Names {
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            roles: names(&["role", "roles"]),
            permissions: names(&["permissions"]),
            scopes: names(&["scope", "scp"]),
        }
    }
}

/// A claim that routes ask for, with its values as text.
pub(crate) type Attribute = (Arc<str>, Vec<String>);

/// What a good token says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Verified {
    pub(crate) user: User,
    pub(crate) scopes: Vec<String>,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) session: Option<String>,
    pub(crate) token_id: Option<Arc<str>>,
    pub(crate) issued_at_ms: i64,
    pub(crate) expires_at_s: i64,
}

/// Reads who it is. Each claim has one type, and text that goes on in headers is visible ASCII.
pub(super) fn read(
    claims: &Claims,
    names: &Names,
    prefix: &str,
    attributes: &[Arc<str>],
    expires_at_s: i64,
) -> Result<Verified, Error> {
    let id = claims.get("sub").and_then(Value::as_str).ok_or(Error::Refused)?;
    if id.is_empty() || id.len() > SUBJECT_BYTES_MAX || !is_visible(id) {
        return Err(Error::Refused);
    }
    let roles = all(claims, &names.roles, |text| vec![text])?;
    let permissions = all(claims, &names.permissions, |text| vec![text])?;
    let scopes =
        all(claims, &names.scopes, |text| text.split(' ').filter(|word| !word.is_empty()).collect())?;
    let mut names_given = roles.iter().chain(&permissions).chain(&scopes);
    if !names_given.all(|name| !name.is_empty() && is_visible(name) && !name.contains(',')) {
        return Err(Error::Refused);
    }
    let token_id = optional_text(claims, "jti")?;
    let mut user = User::new([prefix, id].concat());
    user.roles = roles.into_iter().map(Arc::from).collect();
    user.permissions = permissions.into_iter().map(Arc::from).collect();
    Ok(Verified {
        user,
        scopes: scopes.into_iter().map(str::to_owned).collect(),
        attributes: attributes.iter().filter_map(|name| attribute(claims, name)).collect(),
        session: optional_text(claims, "sid")?.map(str::to_owned),
        issued_at_ms: issued_at_ms(seconds(claims, "iat")?, token_id),
        token_id: token_id.map(Arc::from),
        expires_at_s,
    })
}

/// A claim by its whole name, or by the way to it.
fn find<'c>(claims: &'c Claims, name: &str) -> Option<&'c Value> {
    claims.get(name).or_else(|| {
        let (first, rest) = name.split_once('.')?;
        find(claims.get(first)?.as_object()?, rest)
    })
}

/// The texts of several claims, each of which is a text or a list of texts.
fn all<'c>(
    claims: &'c Claims,
    names: &[String],
    split: impl Fn(&'c str) -> Vec<&'c str>,
) -> Result<Vec<&'c str>, Error> {
    let mut texts = Vec::new();
    for value in names.iter().filter_map(|name| find(claims, name)) {
        match value {
            Value::Null => {}
            Value::String(text) => texts.extend(split(text)),
            Value::Array(items) => {
                for item in items {
                    texts.push(item.as_str().ok_or(Error::Refused)?);
                }
            }
            _ => return Err(Error::Refused),
        }
    }
    Ok(texts)
}

/// A claim that a route asks for: a text, a number, true or false, or several of them.
fn attribute(claims: &Claims, name: &Arc<str>) -> Option<Attribute> {
    let show = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    let values = match find(claims, name)? {
        Value::Array(items) => items.iter().filter_map(show).collect(),
        one => show(one).into_iter().collect(),
    };
    Some((Arc::clone(name), values))
}

/// A time in whole seconds, if it is there.
pub(super) fn seconds(claims: &Claims, name: &str) -> Result<Option<i64>, Error> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_i64().map(Some).ok_or(Error::Refused),
    }
}

fn optional_text<'c>(claims: &'c Claims, name: &str) -> Result<Option<&'c str>, Error> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or(Error::Refused),
    }
}

/// Whether `aud` names one of ours: it is a text or a list of texts (RFC 7519, 4.1.3).
pub(super) fn is_for(claims: &Claims, audiences: &[String]) -> bool {
    let is_ours = |text: &str| audiences.iter().any(|own| own == text);
    match claims.get("aud") {
        Some(Value::String(text)) => is_ours(text),
        Some(Value::Array(items)) => {
            items.iter().all(Value::is_string) && items.iter().filter_map(Value::as_str).any(is_ours)
        }
        _ => false,
    }
}

fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// When the token was issued. `iat` counts seconds, too coarse to say whether a token of the same second came before
/// or after "revoke all"; a `jti` that is a UUID of version 7 made in that second knows the millisecond.
fn issued_at_ms(iat: Option<i64>, jti: Option<&str>) -> i64 {
    let Some(iat) = iat else { return 0 };
    let exact = jti.and_then(uuid_v7_ms).filter(|ms| ms.div_euclid(1_000) == iat);
    exact.unwrap_or_else(|| iat.saturating_mul(1_000))
}

fn uuid_v7_ms(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() != 36 || bytes[8] != b'-' || bytes[13] != b'-' || bytes[14] != b'7' {
        return None;
    }
    i64::from_str_radix(&format!("{}{}", text.get(..8)?, text.get(9..13)?), 16).ok()
}
