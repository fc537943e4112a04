//! Headers that tell browsers to be careful with an answer.
//!
//! The rule: what a service says about itself stands; what it does not say is said for it, on every answer, those that the
//! gateway makes itself included. The set is that of OWASP's Secure Headers Project, less what would take a page apart that
//! knows nothing of it (a content policy, embedder isolation) and what only plug-ins read that are gone. It is made ready once
//! for each configuration: a request costs one look-up a header and nothing else.

use std::fmt;
use std::time::Duration;

use http::header::{self, HeaderName, HeaderValue};

use crate::lines::{Answering, Lines};

const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const EMBEDDER: HeaderName = HeaderName::from_static("cross-origin-embedder-policy");
const PERMISSIONS: HeaderName = HeaderName::from_static("permissions-policy");

/// Headers by which servers say which software they are: of use to nobody but who looks for a hole in it.
const BANNERS: [&str; 8] = [
    "server",
    "x-powered-by",
    "powered-by",
    "x-powered-cms",
    "x-aspnet-version",
    "x-aspnetmvc-version",
    "x-generator",
    "liferay-portal",
];

/// Whether a header, in lower case, only says which software answered.
pub(crate) fn is_banner(name: &[u8]) -> bool {
    matches!(name.first(), Some(b's' | b'x' | b'p' | b'l'))
        && BANNERS.iter().any(|known| known.as_bytes() == name)
}

/// Words of an option, each with the text of the header.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// All of them, by their words in a configuration, which are those of the header.
            pub(crate) const ALL: &[(&str, Self)] = &[$(($text, Self::$variant)),+];

            /// The word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// Who may show the page inside one of theirs.
    FrameOptions {
        /// Nobody.
        Deny = "DENY",
        /// Pages of the same origin.
        SameOrigin = "SAMEORIGIN",
    }
}

words! {
    /// What another site hears of where a visitor comes from.
    ReferrerPolicy {
        /// Nothing, the own site included.
        NoReferrer = "no-referrer",
        /// Nothing; the own site hears everything.
        SameOrigin = "same-origin",
        /// The origin, where both are encrypted.
        StrictOrigin = "strict-origin",
        /// The origin, where both are encrypted; the own site hears everything.
        StrictOriginWhenCrossOrigin = "strict-origin-when-cross-origin",
    }
}

words! {
    /// Which pages that opened it, or that it opens, may hold on to the page.
    OpenerPolicy {
        /// Those of the same origin.
        SameOrigin = "same-origin",
        /// Those of the same origin, and windows that it opens itself.
        SameOriginAllowPopups = "same-origin-allow-popups",
        /// None that opened it; it may open windows.
        NoopenerAllowPopups = "noopener-allow-popups",
    }
}

words! {
    /// Which sites may load the answer into a page of theirs without asking (by CORS).
    ResourcePolicy {
        /// The same origin.
        SameOrigin = "same-origin",
        /// The same site: its other host names and ports too.
        SameSite = "same-site",
    }
}

words! {
    /// What a page may load that has not agreed to it.
    EmbedderPolicy {
        /// Nothing.
        RequireCorp = "require-corp",
        /// What comes without credentials.
        Credentialless = "credentialless",
    }
}

/// For how long browsers come by TLS alone (RFC 6797).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hsts {
    /// How long after each answer. Default 365 days, as OWASP has it; at least a day, at most two years.
    pub max_age: Duration,
    /// Whether that is so for all hosts below this one. Default: no, since a gateway does not know who else is there.
    pub include_subdomains: bool,
    /// Whether browsers may be shipped with it. Default: no, since it takes months to take back.
    pub preload: bool,
}

impl Default for Hsts {
    fn default() -> Self {
        Self { max_age: Duration::from_secs(365 * 86_400), include_subdomains: false, preload: false }
    }
}

impl fmt::Display for Hsts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "max-age={}", self.max_age.as_secs())?;
        f.write_str(if self.include_subdomains { "; includeSubDomains" } else { "" })?;
        f.write_str(if self.preload { "; preload" } else { "" })
    }
}

/// What is said of answers, and what is kept from clients.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SecurityHeaders {
    /// `Strict-Transport-Security`, over TLS alone.
    pub hsts: Hsts,
    /// `X-Frame-Options`. Default `DENY`: a page inside another one can be clicked without being seen.
    pub frame_options: FrameOptions,
    /// `Referrer-Policy`. Default `strict-origin-when-cross-origin`: OWASP's `no-referrer` also takes the referrer from a service's own
    /// forms, by which some frameworks tell whether they are forged.
    pub referrer_policy: ReferrerPolicy,
    /// `Cross-Origin-Opener-Policy`. Default `same-origin`.
    pub opener_policy: OpenerPolicy,
    /// `Cross-Origin-Resource-Policy`. Default `same-origin`. Requests by CORS do not go by it.
    pub resource_policy: ResourcePolicy,
    /// `Cross-Origin-Embedder-Policy`. Default: none, since it stops every picture from elsewhere.
    pub embedder_policy: Option<EmbedderPolicy>,
    /// `Content-Security-Policy`. Default: none, since only who wrote a page knows what it loads.
    pub content_security_policy: Option<HeaderValue>,
    /// `Permissions-Policy`. Default: none.
    pub permissions_policy: Option<HeaderValue>,
    /// Whether they stand in the place of what the service says. Default: no.
    pub overwrite: bool,
    /// Those of the default ones that are not sent: a part of [`DEFAULTS`]. Default: nothing.
    pub unsafe_omit: Vec<HeaderName>,
    /// Whether headers that say which software the service is go on to clients. Default: no.
    pub unsafe_keep_banners: bool,
}

/// The headers that are sent unless they are omitted.
pub const DEFAULTS: [HeaderName; 6] = [
    header::STRICT_TRANSPORT_SECURITY,
    header::X_CONTENT_TYPE_OPTIONS,
    header::X_FRAME_OPTIONS,
    header::REFERRER_POLICY,
    OPENER,
    RESOURCE,
];

impl Default for SecurityHeaders {
    fn default() -> Self {
        Self {
            hsts: Hsts::default(),
            frame_options: FrameOptions::Deny,
            referrer_policy: ReferrerPolicy::StrictOriginWhenCrossOrigin,
            opener_policy: OpenerPolicy::SameOrigin,
            resource_policy: ResourcePolicy::SameOrigin,
            embedder_policy: None,
            content_security_policy: None,
            permissions_policy: None,
            overwrite: false,
            unsafe_omit: Vec::new(),
            unsafe_keep_banners: false,
        }
    }
}

impl SecurityHeaders {
    /// The headers with their values, that which goes over TLS alone first.
    pub(crate) fn list(&self) -> Vec<(HeaderName, HeaderValue)> {
        let word = HeaderValue::from_static;
        let hsts = HeaderValue::try_from(self.hsts.to_string()).ok();
        let [hsts_name, sniffing, frames, referrer, opener, resource] = DEFAULTS;
        let all = [
            (hsts_name, hsts),
            (sniffing, Some(word("nosniff"))),
            (frames, Some(word(self.frame_options.as_str()))),
            (referrer, Some(word(self.referrer_policy.as_str()))),
            (opener, Some(word(self.opener_policy.as_str()))),
            (resource, Some(word(self.resource_policy.as_str()))),
            (EMBEDDER, self.embedder_policy.map(|policy| word(policy.as_str()))),
            (header::CONTENT_SECURITY_POLICY, self.content_security_policy.clone()),
            (PERMISSIONS, self.permissions_policy.clone()),
        ];
        let is_sent = |name: &HeaderName| !self.unsafe_omit.contains(name);
        all.into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .filter(|(name, _)| is_sent(name))
            .collect()
    }
}

/// The options, ready to be put on answers.
#[derive(Debug)]
pub(crate) struct Ready {
    /// That which goes over TLS alone first.
    headers: Box<[(HeaderName, HeaderValue)]>,
    /// Where those begin that also go without TLS.
    plain_from: usize,
    /// All of them as they are written, and those without TLS.
    lines: [Lines; 2],
    overwrite: bool,
    pub(crate) keeps_banners: bool,
}

impl Ready {
    pub(crate) fn new(options: &SecurityHeaders) -> Self {
        let headers: Box<[_]> = options.list().into();
        let has_hsts = headers.first().is_some_and(|(name, _)| *name == header::STRICT_TRANSPORT_SECURITY);
        let plain_from = usize::from(has_hsts);
        let lines = [0, plain_from].map(|from| {
            let mut lines = Lines::default();
            headers[from..].iter().for_each(|(name, value)| lines.say(name, value));
            lines
        });
        let (overwrite, keeps_banners) = (options.overwrite, options.unsafe_keep_banners);
        Self { headers, plain_from, lines, overwrite, keeps_banners }
    }

    /// Says on an answer what it does not say itself.
    pub(crate) fn apply(&self, answer: &mut Answering<'_>, is_encrypted: bool) {
        let from = if is_encrypted { 0 } else { self.plain_from };
        if answer.say_all(&self.lines[usize::from(!is_encrypted)]) {
            return;
        }
        for (name, value) in &self.headers[from..] {
            if self.overwrite || !answer.has(name) {
                answer.say(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use http::HeaderMap;

    use super::*;

    fn said(
        options: &SecurityHeaders,
        service: &[(&'static str, &'static str)],
        is_encrypted: bool,
    ) -> HeaderMap {
        let pairs = service
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut headers: HeaderMap = pairs.collect();
        let mut answer = Answering::new(&mut headers, Lines::default());
        Ready::new(options).apply(&mut answer, is_encrypted);
        answer.into_lines().put_into(&mut headers);
        headers
    }

    #[test]
    fn what_a_service_says_stands_unless_it_is_to_be_overwritten() {
        let own = [("x-frame-options", "SAMEORIGIN"), ("referrer-policy", "unsafe-url")];
        let options = SecurityHeaders::default();
        let headers = said(&options, &own, false);
        assert_eq!(headers["x-frame-options"], "SAMEORIGIN");
        assert_eq!(headers["referrer-policy"], "unsafe-url");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        let headers = said(&SecurityHeaders { overwrite: true, ..options }, &own, false);
        assert_eq!(headers.get_all("x-frame-options").iter().collect::<Vec<_>>(), ["DENY"]);
        assert_eq!(headers["referrer-policy"], "strict-origin-when-cross-origin");
    }

    #[test]
    fn strict_transport_security_goes_over_tls_alone() {
        let options = SecurityHeaders::default();
        assert_eq!(said(&options, &[], true)["strict-transport-security"], "max-age=31536000");
        let plain = said(&options, &[], false);
        assert!(!plain.contains_key("strict-transport-security") && plain.len() == 5, "{plain:?}");
        let omitted = SecurityHeaders { unsafe_omit: vec![header::STRICT_TRANSPORT_SECURITY], ..options };
        for is_encrypted in [true, false] {
            let headers = said(&omitted, &[], is_encrypted);
            assert!(!headers.contains_key("strict-transport-security") && headers.len() == 5, "{headers:?}");
        }
        let hsts = Hsts { include_subdomains: true, preload: true, ..Hsts::default() };
        assert_eq!(hsts.to_string(), "max-age=31536000; includeSubDomains; preload");
    }

    #[test]
    fn a_banner_is_one_by_its_whole_name() {
        for name in BANNERS {
            assert!(is_banner(name.as_bytes()), "{name}");
        }
        for name in ["", "server-timing", "set-cookie", "x-request-id", "location", "x-powered"] {
            assert!(!is_banner(name.as_bytes()), "{name}");
        }
    }
}
