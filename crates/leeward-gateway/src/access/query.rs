//! The query of a target, without the values that are secrets by their name.

use percent_encoding::percent_decode;

/// Names whose values are never written, whatever the configuration adds: what OAuth, OpenID Connect, signed links and common
/// frameworks put into a query.
pub const SECRETS: [&str; 22] = [
    "access_token",
    "api-key",
    "api_key",
    "apikey",
    "assertion",
    "auth",
    "authorization",
    "client_secret",
    "code",
    "id_token",
    "jwt",
    "key",
    "passwd",
    "password",
    "refresh_token",
    "secret",
    "session",
    "session_id",
    "sig",
    "signature",
    "token",
    "x-amz-signature",
];
const LEFT_OUT: &[u8] = b"***";

/// Hands `out` the query in pieces. Some frameworks read `;` as `&`: a name may stand behind either.
pub(super) fn pieces(query: &[u8], more: &[String], mut out: impl FnMut(&[u8])) {
    for pair in query.split_inclusive(|byte| matches!(byte, b'&' | b';')) {
        let ends = pair.last().is_some_and(|byte| matches!(byte, b'&' | b';'));
        let (pair, end) = pair.split_at(pair.len() - usize::from(ends));
        match pair.iter().position(|byte| *byte == b'=') {
            Some(equals) if is_secret(&pair[..equals], more) => {
                out(&pair[..=equals]);
                out(LEFT_OUT);
            }
            _ => out(pair),
        }
        out(end);
    }
}

/// The name of the first parameter that says that its value is a secret.
pub(crate) fn secret_in(query: &str) -> Option<&str> {
    let pairs = query.split(['&', ';']).filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, _)| name).find(|name| is_secret(name.as_bytes(), &[]))
}

/// Whether any part of a name says that it is a secret, as in `user[password]`.
fn is_secret(name: &[u8], more: &[String]) -> bool {
    let mut plain = [0_u8; 128];
    let mut length = 0;
    for byte in percent_decode(name) {
        // A name as long as this is none that anybody knows.
        let Some(place) = plain.get_mut(length) else { return true };
        *place = byte.to_ascii_lowercase();
        length += 1;
    }
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let known = |part: &[u8]| {
        SECRETS.iter().any(|secret| secret.as_bytes() == part)
            || more.iter().any(|secret| secret.as_bytes().eq_ignore_ascii_case(part))
    };
    plain[..length].split(|byte| !is_part(byte)).any(known)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn written(query: &str) -> String {
        let mut out = Vec::new();
        pieces(query.as_bytes(), &["Pin".to_owned()], |piece| out.extend_from_slice(piece));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_of_secrets_are_left_out_however_their_names_are_spelt() {
        for (query, shown) in [
            ("a=1&token=abc&b=2", "a=1&token=***&b=2"),
            ("TOKEN=abc", "TOKEN=***"),
            ("%74oken=abc", "%74oken=***"),
            ("token=a=b", "token=***"),
            ("user[password]=x&filter%5Btoken%5D=y", "user[password]=***&filter%5Btoken%5D=***"),
            ("pin=1234", "pin=***"),
            ("a;token=abc", "a;token=***"),
            ("tokens=3&tokenizer=b", "tokens=3&tokenizer=b"),
            ("token", "token"),
            ("", ""),
            ("&&", "&&"),
        ] {
            assert_eq!(written(query), shown);
        }
        assert_eq!(written(&format!("{}=x", "a".repeat(129))), format!("{}=***", "a".repeat(129)));
    }

    #[test]
    fn a_secret_behind_a_semicolon_in_a_value_is_left_out_too() {
        assert_eq!(written("a=1;token=abc;b=2"), "a=1;token=***;b=2");
    }
}
