//! Reading what browsers are told about answers.

use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use leeward_runtime::config::Node;
use leeward_runtime::units::show_duration;

use super::parse::set;
use super::print::Yaml;
use crate::security_headers::{
    DEFAULTS, EmbedderPolicy, FrameOptions, Hsts, OpenerPolicy, ReferrerPolicy, ResourcePolicy,
    SecurityHeaders,
};

const DAY: Duration = Duration::from_secs(86_400);
/// Browsers with the header built in take none shorter.
const PRELOAD_MIN: Duration = Duration::from_secs(365 * 86_400);
/// Longest policy, in bytes: it goes along with every answer.
const POLICY_BYTES_MAX: usize = 4_096;

/// The options over `base`, key by key.
pub(super) fn read(node: &Node<'_>, base: &SecurityHeaders) -> SecurityHeaders {
    let mut options = base.clone();
    options.hsts = hsts(&node.get("hsts"), base.hsts);
    set(&mut options.frame_options, node.get("frame_options").one_of(FrameOptions::ALL));
    set(&mut options.referrer_policy, node.get("referrer_policy").one_of(ReferrerPolicy::ALL));
    set(&mut options.opener_policy, node.get("opener_policy").one_of(OpenerPolicy::ALL));
    set(&mut options.resource_policy, node.get("resource_policy").one_of(ResourcePolicy::ALL));
    let embedder: Vec<_> = std::iter::once(("off", None))
        .chain(EmbedderPolicy::ALL.iter().map(|(word, policy)| (*word, Some(*policy))))
        .collect();
    set(&mut options.embedder_policy, node.get("embedder_policy").one_of(&embedder));
    set(&mut options.content_security_policy, policy(&node.get("content_security_policy")));
    set(&mut options.permissions_policy, policy(&node.get("permissions_policy")));
    set(&mut options.overwrite, node.get("overwrite").bool());
    let omit = node.get("unsafe_omit");
    if omit.is_given() {
        options.unsafe_omit = omit.texts().iter().filter_map(|name| omitted(&omit, name)).collect();
        options.unsafe_omit.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        options.unsafe_omit.dedup();
    }
    set(&mut options.unsafe_keep_banners, node.get("unsafe_keep_banners").bool());
    options
}

fn hsts(node: &Node<'_>, base: Hsts) -> Hsts {
    let mut hsts = base;
    set(&mut hsts.max_age, node.get("max_age").duration(DAY..=730 * DAY));
    set(&mut hsts.include_subdomains, node.get("include_subdomains").bool());
    let preload = node.get("preload");
    set(&mut hsts.preload, preload.bool());
    if hsts.preload && !(hsts.include_subdomains && hsts.max_age >= PRELOAD_MIN) {
        preload.reject(
            "is for all hosts below this one, and for a year at least",
            "false, or `include_subdomains: true` and a `max_age` from 365d",
        );
    }
    hsts
}

/// A policy in the header's own words; `off` is none.
fn policy(node: &Node<'_>) -> Option<Option<HeaderValue>> {
    let read = |text: &str| {
        let fine = !text.is_empty() && text.len() <= POLICY_BYTES_MAX;
        match text {
            "off" => Some(None),
            text => HeaderValue::try_from(text).ok().filter(|value| fine && value.to_str().is_ok()).map(Some),
        }
    };
    node.parse_with(
        "a policy",
        "off, or the value of the header, of up to 4096 visible characters and spaces",
        read,
    )
}

fn omitted(node: &Node<'_>, text: &str) -> Option<HeaderName> {
    let name = DEFAULTS.iter().find(|name| text.eq_ignore_ascii_case(name.as_str())).cloned();
    if name.is_none() {
        node.reject_key(
            text,
            "is not a header that is sent by default",
            DEFAULTS.iter().map(HeaderName::as_str),
        );
    }
    name
}

pub(super) fn print(out: &mut Yaml, depth: usize, options: &SecurityHeaders) {
    let inner = depth + 1;
    out.open(depth, "security_headers");
    out.open(inner, "hsts");
    out.line(inner + 1, "max_age", show_duration(options.hsts.max_age));
    out.line(inner + 1, "include_subdomains", options.hsts.include_subdomains);
    out.line(inner + 1, "preload", options.hsts.preload);
    out.line(inner, "frame_options", options.frame_options);
    out.line(inner, "referrer_policy", options.referrer_policy);
    out.line(inner, "opener_policy", options.opener_policy);
    out.line(inner, "resource_policy", options.resource_policy);
    out.line(inner, "embedder_policy", options.embedder_policy.map_or("off", EmbedderPolicy::as_str));
    for (key, value) in [
        ("content_security_policy", &options.content_security_policy),
        ("permissions_policy", &options.permissions_policy),
    ] {
        out.quoted(inner, key, value.as_ref().and_then(|value| value.to_str().ok()).unwrap_or("off"));
    }
    out.line(inner, "overwrite", options.overwrite);
    out.list(inner, "unsafe_omit", options.unsafe_omit.iter().map(ToString::to_string));
    out.line(inner, "unsafe_keep_banners", options.unsafe_keep_banners);
}
