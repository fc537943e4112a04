//! Callers that stand in a file of the operator's.

use std::path::PathBuf;

use http::header::{self, HeaderName};
use leeward_runtime::config::Node;

use super::parse::set;
use crate::credentials::{FileProblem, Keys, Loaded};
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
