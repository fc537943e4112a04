//! What the gateway answers by itself: one value for each reason, and one function that turns it into a response.

mod document;

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use leeward_resilience::rate::whole_seconds;

use crate::credentials::Accepted;
use crate::decisions::Ruling;
use crate::lines::Lines;
use crate::router::Methods;

/// The step of the request's life that answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The message itself: framing, target, host.
    Parse,
    /// Whether the client's address may come.
    Address,
    /// The canonical path.
    Path,
    /// The route table.
    Route,
    /// Whether the core keeps up with its work.
    Overload,
    /// Size limits.
    Size,
    /// Rate limits.
    RateLimit,
    /// Whose token it is.
    Authenticate,
    /// Whether the token was revoked.
    Revoked,
    /// What the route's rule allows.
    Authorise,
    /// Code of the program that the gateway is part of.
    Layer,
    /// The gateway's own concurrency limit.
    Shed,
    /// The deadline of the whole request.
    Deadline,
    /// The throttle of the service: it refuses many.
    Throttle,
    /// The circuit breaker of the service.
    Breaker,
    /// A limit in front of the service: rate, adaptive or fixed concurrency.
    Limit,
    /// Choosing an endpoint.
    Balance,
    /// The call to the service.
    Upstream,
}

impl Stage {
    /// The name in problem documents and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Address => "address",
            Self::Path => "path",
            Self::Route => "route",
            Self::Overload => "overload",
            Self::Size => "size",
            Self::RateLimit => "rate_limit",
            Self::Authenticate => "authenticate",
            Self::Revoked => "revoked",
            Self::Authorise => "authorise",
            Self::Layer => "layer",
            Self::Shed => "shed",
            Self::Deadline => "deadline",
            Self::Throttle => "throttle",
            Self::Breaker => "breaker",
            Self::Limit => "limit",
            Self::Balance => "balance",
            Self::Upstream => "upstream",
        }
    }
}

/// The stable codes. Clients match on these; titles and details are for people.
pub mod code {
    /// Two readings of where the message ends.
    pub const AMBIGUOUS_FRAMING: &str = "ambiguous_framing";
    /// The message is no HTTP request.
    pub const MALFORMED: &str = "malformed_request";
    /// The head is larger than the limits.
    pub const HEAD_TOO_LARGE: &str = "head_too_large";
    /// The head did not arrive in time.
    pub const HEAD_TIMEOUT: &str = "head_timeout";
    /// No `Host`, several, or one that is none.
    pub const BAD_HOST: &str = "bad_host";
    /// The target is not a path.
    pub const BAD_TARGET: &str = "bad_target";
    /// The path has no canonical form.
    pub const BAD_PATH: &str = "bad_path";
    /// The client's address may not come, or not here.
    pub const ADDRESS_REFUSED: &str = "address_refused";
    /// No route has this path.
    pub const NOT_FOUND: &str = "not_found";
    /// The route has other methods.
    pub const METHOD_NOT_ALLOWED: &str = "method_not_allowed";
    /// The gateway does not keep up, and others matter more.
    pub const SHED: &str = "shed";
    /// The body is larger than the route takes.
    pub const TOO_LARGE: &str = "payload_too_large";
    /// The body did not arrive in time.
    pub const BODY_TIMEOUT: &str = "body_timeout";
    /// The client broke off its body.
    pub const BODY_CUT: &str = "body_cut";
    /// More requests than the limit.
    pub const RATE_LIMITED: &str = "rate_limited";
    /// The route needs a user and there is no token.
    pub const UNAUTHENTICATED: &str = "unauthenticated";
    /// The token is not one, or not for here.
    pub const TOKEN_INVALID: &str = "token_invalid";
    /// The token's time is over.
    pub const TOKEN_EXPIRED: &str = "token_expired";
    /// The token was revoked.
    pub const TOKEN_REVOKED: &str = "token_revoked";
    /// What was revoked lately is not known, so that no token is believed.
    pub const REVOCATIONS_STALE: &str = "revocations_stale";
    /// The API key is not one.
    pub const KEY_INVALID: &str = "key_invalid";
    /// The API key's time is over.
    pub const KEY_EXPIRED: &str = "key_expired";
    /// The name or the password is wrong.
    pub const PASSWORD_INVALID: &str = "password_invalid";
    /// Too many passwords are checked at the moment.
    pub const CHECKS_BUSY: &str = "password_checks_busy";
    /// The request says in two ways who it is for.
    pub const TWO_SPEAKERS: &str = "two_speakers";
    /// The keys that tokens are checked with cannot be had now.
    pub const KEYS_UNAVAILABLE: &str = "keys_unavailable";
    /// The route needs a client certificate, and the client has none, or another one.
    pub const CERTIFICATE_REQUIRED: &str = "certificate_required";
    /// The user may not use this route.
    pub const FORBIDDEN: &str = "forbidden";
    /// The gateway is at its concurrency limit.
    pub const OVERLOADED: &str = "overloaded";
    /// The deadline passed.
    pub const DEADLINE_EXCEEDED: &str = "deadline_exceeded";
    /// The breaker of the service is open.
    pub const BREAKER_OPEN: &str = "breaker_open";
    /// No endpoint of the service can take the request, or none could be reached.
    pub const UNAVAILABLE: &str = "upstream_unavailable";
    /// The service did not answer in time.
    pub const UPSTREAM_TIMEOUT: &str = "upstream_timeout";
    /// The service broke off or answered something that is no HTTP.
    pub const UPSTREAM_INVALID: &str = "upstream_invalid";
    /// A fault of the gateway.
    pub const INTERNAL: &str = "internal";

    /// Every code with the status that it comes with.
    pub const ALL: &[(&str, u16)] = &[
        (AMBIGUOUS_FRAMING, 400),
        (MALFORMED, 400),
        (HEAD_TOO_LARGE, 431),
        (HEAD_TIMEOUT, 408),
        (BAD_HOST, 400),
        (BAD_TARGET, 400),
        (BAD_PATH, 400),
        (ADDRESS_REFUSED, 403),
        (NOT_FOUND, 404),
        (METHOD_NOT_ALLOWED, 405),
        (SHED, 503),
        (TOO_LARGE, 413),
        (BODY_TIMEOUT, 408),
        (BODY_CUT, 400),
        (RATE_LIMITED, 429),
        (UNAUTHENTICATED, 401),
        (TOKEN_INVALID, 401),
        (TOKEN_EXPIRED, 401),
        (TOKEN_REVOKED, 401),
        (REVOCATIONS_STALE, 503),
        (KEY_INVALID, 401),
        (KEY_EXPIRED, 401),
        (PASSWORD_INVALID, 401),
        (CHECKS_BUSY, 503),
        (TWO_SPEAKERS, 400),
        (KEYS_UNAVAILABLE, 503),
        (CERTIFICATE_REQUIRED, 403),
        (FORBIDDEN, 403),
        (OVERLOADED, 503),
        (DEADLINE_EXCEEDED, 504),
        (BREAKER_OPEN, 503),
        (UNAVAILABLE, 503),
        (UPSTREAM_TIMEOUT, 504),
        (UPSTREAM_INVALID, 502),
        (INTERNAL, 500),
    ];
}

/// Why the gateway answers by itself.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) stage: Stage,
    pub(crate) detail: Cow<'static, str>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) allow: Option<Methods>,
    /// What a trusted caller is told beside the config line.
    pub(crate) hint: Option<&'static str>,
    /// The rule of the codec that the message broke.
    pub(crate) rule: Option<&'static str>,
    /// The option that decided, with the values that were held against it, where the code alone does not say.
    pub(crate) ruling: Option<Box<Ruling>>,
    /// The rest of the message cannot be trusted or will not be read: the connection ends with this answer.
    pub(crate) close: bool,
}

impl Refusal {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        stage: Stage,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            code,
            stage,
            detail: detail.into(),
            retry_after: None,
            allow: None,
            hint: None,
            rule: None,
            ruling: None,
            close: false,
        }
    }

    pub(crate) fn bad_request(
        code: &'static str,
        stage: Stage,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { close: true, ..Self::new(StatusCode::BAD_REQUEST, code, stage, detail) }
    }

    pub(crate) fn unauthorised(
        code: &'static str,
        stage: Stage,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, stage, detail)
    }

    pub(crate) fn unavailable(
        code: &'static str,
        stage: Stage,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, stage, detail).retry_after(Some(DEFAULT_RETRY_AFTER))
    }

    /// Keeps what is there when nothing better is known.
    pub(crate) fn retry_after(mut self, after: Option<Duration>) -> Self {
        self.retry_after = after.or(self.retry_after);
        self
    }

    pub(crate) fn ruled(mut self, ruling: Ruling) -> Self {
        self.ruling = Some(Box::new(ruling));
        self
    }

    pub(crate) fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }
}

/// What a caller is told when nothing better is known: about the time in which a service restarts.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);

/// What only a trusted caller sees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Explanation<'a> {
    /// The configuration line that decided, as `file:line`.
    pub(crate) origin: Option<&'a str>,
}

/// The answer to a refusal, with the header lines that belong to it. Limits, CORS and ids are added by the caller, as
/// on every answer.
pub(crate) fn respond(
    refusal: &Refusal,
    request_id: &str,
    accepted: &Accepted,
    explain: Option<Explanation<'_>>,
) -> (Response<Bytes>, Lines) {
    let mut response = Response::new(Bytes::from(document::write(refusal, request_id, explain)));
    *response.status_mut() = refusal.status;
    let mut lines = Lines::with_room();
    lines.say_text(&header::CONTENT_TYPE, "application/problem+json");
    lines.say_text(&header::CACHE_CONTROL, "no-store");
    if let Some(after) = refusal.retry_after {
        lines.say(&header::RETRY_AFTER, &HeaderValue::from(whole_seconds(after)));
    }
    if let Some(allow) = refusal.allow {
        lines.say_text(&header::ALLOW, allow.to_string());
    }
    if refusal.status == StatusCode::UNAUTHORIZED {
        for challenge in accepted.challenges(refusal.code) {
            lines.say(&header::WWW_AUTHENTICATE, &challenge);
        }
    }
    if refusal.close {
        // Not a line: whoever writes the answer does what it says.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    (response, lines)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn only_a_trusted_caller_sees_the_configuration() {
        let refusal =
            Refusal::unavailable(code::BREAKER_OPEN, Stage::Breaker, "the service failed too often")
                .retry_after(Some(Duration::from_millis(1_200)))
                .hint("look at the service's health");
        let (plain, lines) = respond(&refusal, "r1", &Accepted::default(), None);
        let body: serde_json::Value = serde_json::from_slice(plain.body()).unwrap();
        assert_eq!(body["code"], "breaker_open");
        assert_eq!(body["stage"], "breaker");
        assert_eq!(body["request_id"], "r1");
        assert!(body.get("hint").is_none() && body.get("config").is_none());
        assert_eq!(lines.get(&header::RETRY_AFTER), Some(&b"2"[..]));

        let explanation = Some(Explanation { origin: Some("leeward.yaml:7") });
        let (told, _) = respond(&refusal, "r1", &Accepted::default(), explanation);
        let body: serde_json::Value = serde_json::from_slice(told.body()).unwrap();
        assert_eq!((body["config"].as_str(), body["hint"].is_string()), (Some("leeward.yaml:7"), true));
    }

    #[test]
    fn each_way_to_say_who_it_is_has_its_challenge() {
        let keys = Some(http::HeaderName::from_static("x-api-key"));
        let check = |code, accepted: &Accepted| {
            let refusal = Refusal::unauthorised(code, Stage::Authenticate, "");
            let (_, lines) = respond(&refusal, "", accepted, None);
            let mut headers = http::HeaderMap::new();
            lines.put_into(&mut headers);
            let values = headers.get_all("www-authenticate").iter();
            values.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let tokens = Accepted { token_bytes_max: Some(1), ..Accepted::default() };
        assert_eq!(check(code::UNAUTHENTICATED, &tokens), ["Bearer"]);
        assert_eq!(check(code::TOKEN_EXPIRED, &tokens), ["Bearer error=\"invalid_token\""]);
        let both = Accepted { key_header: keys, ..tokens };
        assert_eq!(check(code::TOKEN_EXPIRED, &both), ["Bearer error=\"invalid_token\"", "ApiKey"]);
        assert_eq!(check(code::KEY_INVALID, &both), ["Bearer", "ApiKey"]);
        let all = Accepted { realm: Some("the shop".into()), ..both };
        let basic = "Basic realm=\"the shop\", charset=\"UTF-8\"";
        assert_eq!(check(code::PASSWORD_INVALID, &all), ["Bearer", "ApiKey", basic]);
    }

    #[test]
    fn codes_are_unique() {
        let mut codes: Vec<&str> = code::ALL.iter().map(|(code, _)| *code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), code::ALL.len());
    }
}
