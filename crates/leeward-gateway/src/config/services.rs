//! Reading the services and their outbound policies.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use leeward_resilience::breaker::Breaker;
use leeward_resilience::retry::Retry;
use leeward_runtime::config::Node;

use super::ServicePolicy;
use super::parse::{HOUR, MOMENT, set};

pub(super) fn services(node: &Node<'_>) -> BTreeMap<Arc<str>, ServicePolicy> {
    let mut services = BTreeMap::new();
    for (name, node) in node.entries() {
        if !is_name(name) {
            node.reject(
                format_args!("`{name}` is not a service name"),
                "letters, digits, `-`, `_`, `.` and, in the name of an address, `:`",
            );
        }
        services.insert(Arc::from(name), service(&node));
    }
    services
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:[]".contains(&b))
}

fn service(node: &Node<'_>) -> ServicePolicy {
    let mut policy = ServicePolicy::default();
    let urls = node.get("urls");
    if urls.is_given() {
        policy.urls = urls.texts().iter().filter_map(|text| url(&urls, text)).collect();
    }
    let time = |key: &str, target: &mut Duration| set(target, node.get(key).duration(MOMENT..=HOUR));
    time("attempt_timeout", &mut policy.attempt_timeout);
    time("connect_timeout", &mut policy.connect_timeout);
    time("idle_timeout", &mut policy.idle_timeout);
    set(&mut policy.idle_connections, node.get("idle_connections").int(0..=10_000));
    let concurrency = node.get("concurrency_limit");
    let limit = concurrency.get("limit").int(1..=1_000_000_u32);
    set(&mut policy.concurrency.limit, limit.and_then(NonZeroU32::new));
    set(&mut policy.concurrency.queue, concurrency.get("queue").int(0..=1_000_000));
    set(&mut policy.concurrency.max_wait, concurrency.get("wait").duration(MOMENT..=Duration::from_secs(10)));
    retry(&node.get("retry"), &mut policy.retry);
    breaker(&node.get("circuit_breaker"), &mut policy.breaker);
    policy
}

fn retry(node: &Node<'_>, retry: &mut Retry) {
    set(&mut retry.max_retries, node.get("retries").int(0..=10));
    set(&mut retry.budget.ratio, node.get("budget").percentage(0.0..=1.0));
    set(&mut retry.budget.floor, node.get("budget_floor").int(0..=10_000));
    set(&mut retry.backoff_base, node.get("backoff").duration(Duration::ZERO..=HOUR));
    set(&mut retry.backoff_max, node.get("backoff_max").duration(Duration::ZERO..=HOUR));
    if let Err(errors) = retry.validate() {
        node.reject_policy(&errors);
    }
}

fn breaker(node: &Node<'_>, breaker: &mut Breaker) {
    let count = |key: &str| node.get(key).int(1..=1_000_000_u32).and_then(NonZeroU32::new);
    set(&mut breaker.failure_rate, node.get("failure_rate").percentage(0.0..=1.0));
    set(&mut breaker.window, node.get("window").duration(MOMENT..=HOUR));
    set(&mut breaker.minimum_calls, count("minimum_calls"));
    set(&mut breaker.consecutive_failures, count("consecutive_failures").map(Some));
    set(&mut breaker.break_initial, node.get("break_initial").duration(MOMENT..=HOUR));
    set(&mut breaker.break_max, node.get("break_max").duration(MOMENT..=HOUR));
    set(&mut breaker.probes, count("probes"));
    if let Err(errors) = breaker.validate() {
        node.reject_policy(&errors);
    }
}

const URL: &str = "http://HOST:PORT without a path, as http://127.0.0.1:4001";

/// Reads an endpoint's URL, or records why it is none.
pub(super) fn url(node: &Node<'_>, text: &str) -> Option<Uri> {
    let uri = text.parse::<Uri>().ok();
    let fine = uri.filter(|uri| {
        uri.scheme_str() == Some("http")
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.path_and_query().is_none_or(|path| path.as_str() == "/")
    });
    if fine.is_none() {
        node.reject(format_args!("has `{text}`, which is not the URL of an endpoint"), URL);
    }
    fine
}
