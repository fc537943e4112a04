//! What may stand behind a body.
//!
//! The rule: a trailer passes under a name that no reader can take for part of the head. A receiver may merge trailers into the
//! headers (RFC 9110, 6.5), where they were checked long ago; so none of them is about framing, routing, who asks, what may be kept,
//! or what the body is, in any spelling; none is one that the gateway says itself, or that the configuration changes; and none is one
//! that does not pass as a header either. What is left out is dropped without a word.
//!
//! Over HTTP/1.1 they are passed on to whoever said `TE: trailers`, over HTTP/2 to everybody.

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName};

use crate::headers::{as_read_by_all, may_come_from_clients, may_come_from_services};
use crate::security_headers::is_banner;
use crate::target::Changes;

/// Names that mean something in a head only, beside those that do not pass there either.
const OF_THE_HEAD: [&str; 63] = [
    "age",
    "allow",
    "alt-svc",
    "authorization",
    "cache-control",
    "cdn-cache-control",
    "clear-site-data",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-security-policy",
    "content-security-policy-report-only",
    "content-type",
    "cookie",
    "cross-origin-embedder-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "date",
    "deprecation",
    "expect",
    "expires",
    "from",
    "grpc-encoding",
    "grpc-timeout",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "link",
    "location",
    "max-forwards",
    "origin",
    "permissions-policy",
    "pragma",
    "range",
    "referer",
    "referrer-policy",
    "refresh",
    "retry-after",
    "set-cookie",
    "status",
    "strict-transport-security",
    "sunset",
    "surrogate-control",
    "traceparent",
    "tracestate",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "x-api-key",
    "x-content-type-options",
    "x-correlation-id",
    "x-frame-options",
    "x-request-id",
    "x-response-time",
    "x-service-name",
];

/// Beginnings of such names.
const OF_THE_HEAD_BEGIN: [&str; 5] = ["accept", "access-control-", "ratelimit", "sec-", "x-accel-"];

/// Whether a client said that it does something with trailers.
pub(crate) fn are_taken(headers: &HeaderMap) -> bool {
    let said = headers.get_all(header::TE).iter().filter_map(|value| value.to_str().ok());
    said.flat_map(|value| value.split(',')).any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// Which trailers of a message pass.
#[derive(Debug)]
pub(crate) struct Sieve {
    from: From,
    /// What the configuration does with the headers of such messages, where it does something.
    changes: Option<Arc<Changes>>,
}

#[derive(Debug)]
enum From {
    /// With the header that keys come in.
    Client(Option<HeaderName>),
    /// Whether the gateway answers CORS itself, whether services may say what they are, and whether the client takes any.
    Service { own_cors: bool, keeps_banners: bool, are_taken: bool },
}

impl Sieve {
    /// For requests.
    pub(crate) fn of_client(key_header: Option<&HeaderName>, changes: &Arc<Changes>) -> Self {
        Self { from: From::Client(key_header.cloned()), changes: some(changes) }
    }

    /// For answers.
    pub(crate) fn of_service(
        own_cors: bool,
        keeps_banners: bool,
        are_taken: bool,
        changes: &Arc<Changes>,
    ) -> Self {
        Self { from: From::Service { own_cors, keeps_banners, are_taken }, changes: some(changes) }
    }

    /// Leaves what passes.
    pub(crate) fn keep(&self, trailers: &mut HeaderMap) {
        if let From::Service { are_taken: false, .. } = self.from {
            trailers.clear();
            return;
        }
        let doomed: Vec<HeaderName> = trailers.keys().filter(|name| !self.passes(name)).cloned().collect();
        for name in &doomed {
            trailers.remove(name);
        }
    }

    fn passes(&self, name: &HeaderName) -> bool {
        let text = name.as_str();
        let plain = as_read_by_all(text);
        let may_come = match &self.from {
            From::Client(key_header) => {
                may_come_from_clients(text) && key_header.as_ref().is_none_or(|key| *key != *plain)
            }
            From::Service { own_cors, keeps_banners, .. } => {
                may_come_from_services(text.as_bytes(), *own_cors)
                    && (*keeps_banners || !is_banner(plain.as_bytes()))
            }
        };
        let is_changed = self.changes.as_ref().is_some_and(|changes| changes.name(&plain));
        may_come && !is_changed && !is_of_the_head(&plain)
    }
}

fn is_of_the_head(name: &str) -> bool {
    name.is_empty()
        || OF_THE_HEAD.contains(&name)
        || OF_THE_HEAD_BEGIN.iter().any(|begin| name.starts_with(begin))
}

fn some(changes: &Arc<Changes>) -> Option<Arc<Changes>> {
    (!changes.is_empty()).then(|| Arc::clone(changes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn left(sieve: &Sieve, names: &[&str]) -> Vec<String> {
        let mut trailers: HeaderMap =
            names.iter().map(|name| (name.parse::<HeaderName>().unwrap(), "v".parse().unwrap())).collect();
        sieve.keep(&mut trailers);
        trailers.keys().map(ToString::to_string).collect()
    }

    const BAD: &[&str] = &[
        "content-length",
        "content_length",
        "transfer-encoding",
        "trailer",
        "te",
        "connection",
        "host",
        "authorization",
        "authorization_",
        "cookie",
        "set-cookie",
        "_set_cookie",
        "x-leeward-assertion",
        "cache-control",
        "content-type",
        "content-encoding",
        "content-range",
        "location",
        "x-request-id",
        "traceparent",
        "accept-encoding",
        "sec-websocket-key",
        "ratelimit-policy",
    ];

    #[test]
    fn what_could_be_taken_for_a_part_of_the_head_does_not_pass() {
        let none = Arc::new(Changes::default());
        let fine =
            ["grpc-status", "grpc-message", "content-digest", "etag", "server-timing", "x-sum", "a_b.c"];
        let of_services = Sieve::of_service(true, false, true, &none);
        let of_clients = Sieve::of_client(None, &none);
        for sieve in [&of_services, &of_clients] {
            assert_eq!(left(sieve, BAD), [""; 0], "{sieve:?}");
            assert_eq!(left(sieve, &fine), fine, "{sieve:?}");
        }
        let identity =
            ["x-user-id", "x_user_id", "x-forwarded-for", "forwarded", "x-gateway-a", "x-deadline-ms"];
        assert_eq!(left(&of_clients, &identity), [""; 0]);
        assert_eq!(left(&of_services, &["access-control-allow-origin", "x-leeward-stale"]), [""; 0]);
        assert_eq!(left(&Sieve::of_service(true, false, false, &none), &fine), [""; 0]);
        let banners = ["server", "x-powered-by"];
        assert_eq!(left(&of_services, &banners), [""; 0]);
        assert_eq!(left(&Sieve::of_service(true, true, true, &none), &banners), banners);
    }

    #[test]
    fn what_the_configuration_names_does_not_come_in_by_the_back_door() {
        let name = |text: &'static str| HeaderName::from_static(text);
        let value = http::HeaderValue::from_static("v");
        let changes = Arc::new(Changes {
            remove: vec![name("x-inner")],
            set: vec![(name("x-tenant"), value.clone())],
            add: vec![(name("x-more"), value)],
        });
        let key = name("x-shop-key");
        let sieve = Sieve::of_client(Some(&key), &changes);
        assert_eq!(left(&sieve, &["x-inner", "x-tenant", "x-more", "x-shop-key", "x-sum"]), ["x-sum"]);
        assert_eq!(left(&sieve, &["x_inner", "x.tenant", "x__more", "x_shop_key"]), [""; 0]);
        assert_eq!(left(&Sieve::of_service(false, false, true, &changes), &["x-inner", "x-sum"]), ["x-sum"]);
    }

    #[test]
    fn whoever_takes_trailers_says_so() {
        let of = |values: &[&'static str]| {
            let all = values.iter().map(|value| (header::TE, http::HeaderValue::from_static(value)));
            are_taken(&all.collect())
        };
        assert!(of(&["trailers"]) && of(&["gzip;q=0.5, Trailers"]) && of(&["gzip", "trailers"]));
        assert!(!of(&[]) && !of(&["gzip"]) && !of(&["x-trailers"]) && !of(&["trailers;q=0"]));
    }
}
