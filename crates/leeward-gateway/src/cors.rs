//! Cross-origin requests, answered by the gateway for all services.
//!
//! The rule: an origin is compared whole and exactly with the list (no suffixes, never `null`); `*` and credentials
//! exclude each other, which the configuration already refuses. Every response carries the headers, those that the
//! gateway makes itself included, since a browser hides a 401 or 429 without them from the page.

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};

use crate::address;
use crate::lines::Answering;
use crate::router::Methods;

/// Whose pages may call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origins {
    /// Every page, without credentials.
    Any,
    /// The pages of these origins, such as `https://shop.example`.
    List(Vec<String>),
}

/// The options.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cors {
    /// Whose pages may call.
    pub origins: Origins,
    /// Methods that a page may use. Default: all that a route may name.
    pub methods: Vec<String>,
    /// Request headers that a page may set. Default: [`REQUEST_HEADERS`].
    pub headers: Vec<String>,
    /// Response headers that a page may read. Default: [`EXPOSED_HEADERS`].
    pub expose: Vec<String>,
    /// Whether cookies and HTTP authentication go along. Default: no.
    pub credentials: bool,
    /// How long a browser may remember a preflight. Default: 10 minutes, which all browsers honour.
    pub max_age: Duration,
    /// Whether pages that come without encryption may act as the user. Default: no, but those of this machine.
    pub unsafe_plain_origins: bool,
}

impl Cors {
    /// Origins whose pages may act as the user, and come over a network without encryption.
    pub(crate) fn plain_origins(&self) -> impl Iterator<Item = &String> {
        let is_elsewhere = |origin: &&String| {
            let url = origin.parse::<http::Uri>();
            origin.starts_with("http://") && !url.is_ok_and(|url| address::is_here(&url))
        };
        let list = match &self.origins {
            Origins::List(list) if self.credentials => &list[..],
            _ => &[],
        };
        list.iter().filter(is_elsewhere)
    }
}

/// Request headers that pages may set unless told otherwise.
pub const REQUEST_HEADERS: [&str; 8] = [
    "authorization",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "traceparent",
    "x-correlation-id",
    "x-request-id",
];

/// Response headers that pages may read unless told otherwise.
pub const EXPOSED_HEADERS: [&str; 9] = [
    "age",
    "etag",
    "location",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "x-correlation-id",
    "x-leeward-stale",
    "x-request-id",
];

impl Default for Cors {
    fn default() -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            origins: Origins::List(Vec::new()),
            methods: owned(&Methods::NAMES),
            headers: owned(&REQUEST_HEADERS),
            expose: owned(&EXPOSED_HEADERS),
            credentials: false,
            max_age: Duration::from_secs(600),
            unsafe_plain_origins: false,
        }
    }
}

/// Whether a text is an origin as a browser sends it: scheme, host, port, nothing else.
#[must_use]
pub fn is_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    matches!(scheme, "http" | "https")
        && !rest.is_empty()
        && rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-:[]".contains(&b))
}

/// The options, ready to be put on responses.
#[derive(Debug)]
pub(crate) struct Compiled {
    origins: Option<Vec<HeaderValue>>,
    methods: HeaderValue,
    headers: HeaderValue,
    expose: Option<HeaderValue>,
    credentials: bool,
    max_age: HeaderValue,
}

impl Compiled {
    /// The configuration has been checked: what still is no header value becomes empty.
    pub(crate) fn new(cors: &Cors) -> Self {
        let value = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
        Self {
            origins: match &cors.origins {
                Origins::Any => None,
                Origins::List(list) => Some(list.iter().map(|origin| value(origin.clone())).collect()),
            },
            methods: value(cors.methods.join(", ")),
            headers: value(cors.headers.join(", ")),
            expose: (!cors.expose.is_empty()).then(|| value(cors.expose.join(", "))),
            credentials: cors.credentials,
            max_age: HeaderValue::from(cors.max_age.as_secs()),
        }
    }

    fn allowed(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        match &self.origins {
            None => Some(HeaderValue::from_static("*")),
            Some(list) => list.iter().find(|known| *known == origin).cloned(),
        }
    }

    /// Puts the headers of an actual response on it.
    pub(crate) fn apply(&self, origin: Option<&HeaderValue>, answer: &mut Answering<'_>) {
        if self.origins.is_some() {
            answer.add(&header::VARY, &HeaderValue::from_static("origin"));
        }
        let Some(allowed) = origin.and_then(|origin| self.allowed(origin)) else { return };
        answer.say(&header::ACCESS_CONTROL_ALLOW_ORIGIN, &allowed);
        if self.credentials {
            answer.say_text(&header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        }
        if let Some(expose) = &self.expose {
            answer.say(&header::ACCESS_CONTROL_EXPOSE_HEADERS, expose);
        }
    }

    /// The answer to a preflight. A page that may not call gets one without permissions, as browsers expect.
    pub(crate) fn preflight<B: Default>(&self, origin: &HeaderValue) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        if self.allowed(origin).is_some() {
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, self.headers.clone());
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        }
        response
    }
}

/// Whether the request asks for permission instead of doing something.
pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(HeaderName::from_static("access-control-request-method"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::lines::Lines;

    fn list() -> Compiled {
        let origins = Origins::List(vec!["https://shop.example".to_owned()]);
        Compiled::new(&Cors { origins, credentials: true, ..Cors::default() })
    }

    #[test]
    fn this_machine_is_no_network() {
        let plain = |origin: &str| {
            let origins = Origins::List(vec![origin.to_owned()]);
            Cors { origins, credentials: true, ..Cors::default() }.plain_origins().count() == 1
        };
        for origin in ["https://a.example", "http://localhost:3000", "http://127.0.0.1", "http://[::1]:3000"]
        {
            assert!(!plain(origin), "{origin}");
        }
        for origin in
            ["http://a.example", "http://10.0.0.9:80", "http://[::ffff:10.0.0.9]", "http://localhost.a"]
        {
            assert!(plain(origin), "{origin}");
        }
    }

    fn applied(cors: &Compiled, origin: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut answer = Answering::new(&mut headers, Lines::default());
        cors.apply(Some(&HeaderValue::from_str(origin).unwrap()), &mut answer);
        answer.into_lines().put_into(&mut headers);
        headers
    }

    #[test]
    fn an_origin_is_compared_whole() {
        for (origin, allowed) in [
            ("https://shop.example", true),
            ("https://shop.example.evil", false),
            ("https://evil-shop.example", false),
            ("http://shop.example", false),
            ("null", false),
        ] {
            let headers = applied(&list(), origin);
            assert_eq!(headers.contains_key("access-control-allow-origin"), allowed, "{origin}");
            assert_eq!(headers["vary"], "origin");
        }
    }

    #[test]
    fn a_preflight_lists_what_is_allowed() {
        let origin = HeaderValue::from_static("https://shop.example");
        let response: Response<()> = list().preflight(&origin);
        assert_eq!(response.status(), 204);
        assert!(response.headers()["access-control-allow-methods"].to_str().unwrap().contains("PATCH"));
        let other: Response<()> = list().preflight(&HeaderValue::from_static("https://other.example"));
        assert!(!other.headers().contains_key("access-control-allow-methods"));
    }

    #[test]
    fn every_page_means_a_star_and_no_vary() {
        let any = Compiled::new(&Cors { origins: Origins::Any, ..Cors::default() });
        let headers = applied(&any, "null");
        assert_eq!(headers["access-control-allow-origin"], "*");
        assert!(!headers.contains_key("vary") && !headers.contains_key("access-control-allow-credentials"));
    }

    #[test]
    fn origins_are_scheme_host_and_port() {
        for fine in ["http://localhost:3000", "https://shop.example", "http://[::1]:80"] {
            assert!(is_origin(fine), "{fine}");
        }
        for bad in ["shop.example", "https://", "https://a/", "ftp://a", "https://A", "*", "null"] {
            assert!(!is_origin(bad), "{bad}");
        }
    }
}
