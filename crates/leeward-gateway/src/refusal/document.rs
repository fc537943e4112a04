//! The problem document of a refusal (RFC 9457). Under a flood most of what the gateway writes are these: what is the same in all of them is
//! written as it is, without being looked through for what JSON has to escape.

use super::{Explanation, Refusal};

/// Room for most documents.
const BYTES: usize = 384;

pub(super) fn write(refusal: &Refusal, request_id: &str, explain: Option<Explanation<'_>>) -> Vec<u8> {
    let mut out = Vec::with_capacity(BYTES);
    out.extend_from_slice(b"{\"type\":\"urn:leeward:problem:");
    out.extend_from_slice(refusal.code.as_bytes());
    plain(&mut out, "title", refusal.status.canonical_reason().unwrap_or("Error"));
    out.extend_from_slice(b"\",\"status\":");
    out.extend_from_slice(refusal.status.as_str().as_bytes());
    out.extend_from_slice(b",\"code\":\"");
    out.extend_from_slice(refusal.code.as_bytes());
    plain(&mut out, "stage", refusal.stage.as_str());
    out.push(b'"');
    text(&mut out, "detail", &refusal.detail);
    if let Some(rule) = refusal.rule {
        text(&mut out, "rule", rule);
    }
    text(&mut out, "request_id", request_id);
    if let Some(Explanation { origin }) = explain {
        if let Some(origin) = origin {
            text(&mut out, "config", origin);
        }
        if let Some(hint) = refusal.hint {
            text(&mut out, "hint", hint);
        }
    }
    out.push(b'}');
    out
}

/// Ends a string, and begins another member of which nothing has to be escaped.
fn plain(out: &mut Vec<u8>, name: &str, value: &'static str) {
    debug_assert!(
        value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_ -'".contains(&byte)),
        "{value}"
    );
    out.extend_from_slice(b"\",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    out.extend_from_slice(value.as_bytes());
}

/// Another member, behind one that is complete.
fn text(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    // Into memory, of a text: neither can fail.
    let _never_fails = serde_json::to_writer(out, value);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use http::StatusCode;
    use serde_json::json;

    use super::*;
    use crate::refusal::{Stage, code};

    #[test]
    fn it_is_json_whatever_its_texts_hold() {
        let detail = "a \"word\", a \\ and\n";
        for &(code, status) in code::ALL {
            let status = StatusCode::from_u16(status).unwrap();
            let refusal = Refusal::new(status, code, Stage::RateLimit, detail);
            let mut document = json!({
                "type": format!("urn:leeward:problem:{code}"), "title": status.canonical_reason(), "status": status.as_u16(),
                "code": code, "stage": "rate_limit", "detail": detail, "request_id": "r\"1",
            });
            let read = |text: Vec<u8>| serde_json::from_slice::<serde_json::Value>(&text).unwrap();
            let nothing = Explanation { origin: None };
            assert_eq!(read(write(&refusal, "r\"1", None)), document);
            assert_eq!(read(write(&refusal, "r\"1", Some(nothing))), document);
            let refusal = Refusal { rule: Some("\u{e4} \""), hint: Some("\t"), ..refusal };
            let told = Explanation { origin: Some("a\\b:1") };
            for (key, value) in [("rule", "\u{e4} \""), ("config", "a\\b:1"), ("hint", "\t")] {
                document[key] = value.into();
            }
            assert_eq!(read(write(&refusal, "r\"1", Some(told))), document);
        }
    }
}
