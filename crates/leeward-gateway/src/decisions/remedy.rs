//! What would have let a refused request pass, in words.

use crate::refusal::code;

/// What it takes for a request that was refused with this code to pass.
pub(crate) fn unless(refused: &str) -> &'static str {
    match refused {
        code::AMBIGUOUS_FRAMING => "it passes when every server reads one and the same end of the message",
        code::MALFORMED => "it passes when it is a request by the rules of HTTP",
        code::HEAD_TOO_LARGE => "it passes with a smaller head, or fewer headers, or under larger limits",
        code::HEAD_TIMEOUT => "it passes when the whole head arrives in time",
        code::BAD_HOST => "it needs exactly one Host",
        code::BAD_TARGET => "it passes when its target is a path",
        code::BAD_PATH => {
            "one path is routed, authorised, limited and forwarded: it needs one that has no second reading"
        }
        code::ADDRESS_REFUSED => "it passes from an address that `allow` has and `deny` has not",
        code::NOT_FOUND => "a route that has this host and path, and whose conditions hold, would take it",
        code::METHOD_NOT_ALLOWED => {
            "it passes with one of the methods that `Allow` names, or when a route takes this one"
        }
        code::SHED => {
            "it passes when the gateway has less to do, on a route with a higher `priority`, or on a gateway with more cores"
        }
        code::TOO_LARGE => "it passes with a smaller body, or under a larger limit",
        code::BODY_TIMEOUT => "it passes when the whole body arrives in time",
        code::BODY_CUT => "it passes when the client sends as much as it announced",
        code::RATE_LIMITED => {
            "it passes when the caller waits for what `Retry-After` says, or under a higher limit"
        }
        code::UNAUTHENTICATED => "it passes with a credential of a kind that `WWW-Authenticate` names",
        code::TOKEN_INVALID => "it passes with exactly one good `Authorization: Bearer TOKEN`",
        code::TOKEN_EXPIRED => "it passes with a token whose time is not over",
        code::TOKEN_REVOKED => "it passes with a token of a new login",
        code::REVOCATIONS_STALE => {
            "it passes when the gateway hears of revocations again, and its file takes them"
        }
        code::KEY_INVALID => "it passes with one key that stands in the file of `api_keys`",
        code::KEY_EXPIRED => "it passes with a key whose time is not over",
        code::PASSWORD_INVALID => "it passes with a name and the password that stands in the file of `basic`",
        code::CHECKS_BUSY => "it passes when fewer passwords are checked, or with more `basic.checks`",
        code::TWO_SPEAKERS => "it passes with one credential: a token or a key",
        code::KEYS_UNAVAILABLE => "it passes when the keys that tokens are checked with can be fetched",
        code::CERTIFICATE_REQUIRED => "it passes with a client certificate that the route names",
        code::FORBIDDEN => "it passes for a user whom the route's `access` lets in",
        code::OVERLOADED => "it passes when fewer requests are on their way, or under a higher limit",
        code::DEADLINE_EXCEEDED => "it passes when the service is faster, or under a longer deadline",
        code::BREAKER_OPEN => {
            "it passes when the breaker is closed: when probes find the service well, or when it is let go"
        }
        code::UNAVAILABLE => "it passes when an endpoint of the service takes connections",
        code::UPSTREAM_TIMEOUT => "it passes when the service is faster, or under a longer attempt timeout",
        code::UPSTREAM_INVALID => "it passes when the service answers HTTP to the end of the head",
        code::INTERNAL => "it is a fault of the gateway: its log says more",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one() {
        for (code, _) in code::ALL {
            assert!(!unless(code).is_empty(), "{code}");
        }
    }
}
