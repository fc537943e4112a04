//! Callers that stand in a file of the operator's.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use http::header::{self, HeaderName};
use leeward_resilience::rate::RateLimit;
use leeward_runtime::config::Node;

use super::parse::set;
use crate::credentials::{Accounts, FileProblem, Keys, Loaded};
use crate::headers::may_come_from_clients;

/// The default of `api_keys.header`.
const KEY_HEADER: HeaderName = HeaderName::from_static("x-api-key");

/// Callers that present a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiKeys {
    /// Who has which key: a line for each, with the SHA-256 of the key. It is read again when it changes.
    pub file: PathBuf,
    /// The header that the key is presented in, beside `Authorization: ApiKey`. Default `x-api-key`.
    pub header: HeaderName,
    pub(crate) loaded: Loaded<Keys>,
}

/// Callers that present a name and a password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Basic {
    /// Who has which password: a line for each, with its argon2id hash. It is read again when it changes.
    pub file: PathBuf,
    /// What the passwords are for, as browsers show it. Default `leeward`.
    pub realm: Arc<str>,
    /// Passwords that are checked at a time, each on a thread of its own beside the cores. Default 2.
    pub checks: usize,
    /// Wrong passwords by the client's address, and checks that run for it. Default 30 a minute, 60 at once.
    pub attempts: RateLimit,
    /// Whether passwords are asked for where nothing encrypts them. Default: no.
    pub unsafe_plain_http: bool,
    pub(crate) loaded: Loaded<Accounts>,
}

pub(super) fn basic(node: &Node<'_>) -> Option<Basic> {
    if !node.is_given() {
        return None;
    }
    let mut realm: Arc<str> = "leeward".into();
    set(&mut realm, node.get("realm").parse_with("a realm", REALM, is_realm));
    let mut checks = 2;
    set(&mut checks, node.get("checks").int(1..=64));
    let mut attempts = attempts();
    node.get("attempts").policy(&mut attempts);
    let unsafe_plain_http = node.get("unsafe_plain_http").bool().unwrap_or(false);
    let file = node.get("file").required();
    let path = file.file()?;
    let loaded = Loaded::load(&path, Accounts::read);
    let loaded = loaded.map_err(|problem| reject(&file, &problem)).ok()?;
    Some(Basic { file: path, realm, checks, attempts, unsafe_plain_http, loaded })
}

fn attempts() -> RateLimit {
    const A_MINUTE: NonZeroU32 = NonZeroU32::new(30).expect("not zero");
    const AT_ONCE: NonZeroU32 = NonZeroU32::new(60).expect("not zero");
    RateLimit { burst: AT_ONCE, ..RateLimit::per_minute(A_MINUTE) }
}

const REALM: &str = "1 to 64 letters, digits, blanks, `-`, `_` and `.`";

fn is_realm(text: &str) -> Option<Arc<str>> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b" -_.".contains(&byte);
    ((1..=64).contains(&text.len()) && text.bytes().all(fine)).then(|| text.into())
}

pub(super) fn api_keys(node: &Node<'_>) -> Option<ApiKeys> {
    if !node.is_given() {
        return None;
    }
    let mut header = KEY_HEADER;
    set(&mut header, node.get("header").parse_with("a header for keys", HEADER, key_header));
    let file = node.get("file").required();
    let path = file.file()?;
    let loaded = Loaded::load(&path, Keys::read);
    let loaded = loaded.map_err(|problem| reject(&file, &problem)).ok()?;
    Some(ApiKeys { file: path, header, loaded })
}

const HEADER: &str = "a header of its own, as x-api-key, that a client may send and that says nothing else";

fn key_header(text: &str) -> Option<HeaderName> {
    const OTHERS: [HeaderName; 8] = [
        header::AUTHORIZATION,
        header::COOKIE,
        header::HOST,
        header::ORIGIN,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::ACCEPT,
        header::USER_AGENT,
    ];
    let name: HeaderName = text.parse().ok()?;
    let is_plain = name.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (is_plain && !OTHERS.contains(&name) && may_come_from_clients(name.as_str())).then_some(name)
}

fn reject(file: &Node<'_>, problem: &FileProblem) {
    file.reject(problem, "a file with a line for each caller, as `leeward keys` writes them");
}
