//! What is told of a request offline is what becomes of it.

use leeward_gateway::Config;
use leeward_gateway::explain::explain;
use leeward_runtime::Env;

use crate::rig::{Rig, Upstream, claims, token_with};

const YAML: &str = "
limits: {body: 1KiB}
jwt: {service: users}
services:
  users: {urls: [\"URL\"]}
  orders: {urls: [\"URL\"], rate_limit: 50/s, circuit_breaker: off}
routes:
  - {path: /open, service: orders, access: anyone, strip_prefix: /open, methods: [GET, POST], body: 100B}
  - {path: /open, service: users, match: {headers: {x-beta: \"1\"}}, hosts: [beta.example]}
  - {path: /mine, service: orders, access: user}
  - {path: /admin, service: orders, access: \"role:admin\", rate_limit: 5/s}
api_keys: {file: tests/it/config/callers.keys}
";

fn told(target: &str, method: &str, headers: &[&str]) -> (Option<(u16, &'static str)>, String) {
    let config =
        Config::parse("leeward.yaml", &YAML.replace("URL", "http://127.0.0.1:1"), &Env::default()).unwrap();
    let headers: Vec<String> = headers.iter().map(|&line| line.to_owned()).collect();
    let explained = explain(&config, method, target, &headers).unwrap();
    (explained.refused().map(|(status, code)| (status.as_u16(), code)), explained.to_string())
}

/// Each of these is asked of a gateway that runs, too.
#[tokio::test]
async fn what_is_told_is_what_happens() {
    let upstream = Upstream::start().await;
    let rig = Rig::start(&YAML.replace("URL", &upstream.url())).await;
    let bearer = format!("Authorization: Bearer {}", token_with("k1", &claims("anna", "customer")));
    let cases: &[(&str, &str, &[&str])] = &[
        ("GET", "/open/1?a=b", &[]),
        ("GET", "/nowhere", &[]),
        ("DELETE", "/open", &[]),
        ("GET", "/open/%zz", &[]),
        ("GET", "/open/../mine", &[]),
        ("GET", "/mine", &[]),
        ("GET", "/mine", &["Authorization: Basic x"]),
        ("GET", "/mine", &[&bearer]),
        ("GET", "/mine", &[&bearer, &bearer]),
        ("GET", "/mine", &["Authorization: Bearer a b"]),
        ("GET", "/mine", &["X-Api-Key: lwk_the-key-of-ci-in-tests-00000000000000"]),
        ("GET", "/mine", &["X-Api-Key: short"]),
        ("GET", "/mine", &["X-Api-Key: short", &bearer]),
        ("GET", "/open", &["X-Api-Key: short", &bearer]),
        ("GET", "/open", &["X-Api-Key: short"]),
        ("POST", "/open", &["Content-Length: 101"]),
        ("POST", "/open", &["Content-Length: 3", "Transfer-Encoding: chunked"]),
        ("POST", "/open", &["Content-Length: +3"]),
        ("GET", "/open", &["X Y: z"]),
        ("GET", "/open", &["Host: a", "Host: b"]),
        ("CONNECT", "a:80", &[]),
        ("GET", "http://a/open", &["Host: b"]),
        ("GET", "*", &[]),
        ("GET", "/open", &["Host: Beta.example:80", "X-Beta: 1"]),
        ("GET", "/open", &["Host: beta.example", "X-Beta: 2"]),
        ("GET", "/mine", &["Host: beta.example"]),
        ("G(T", "/open", &[]),
    ];
    for (method, target, headers) in cases {
        let (refused, text) = told(target, method, headers);
        let host =
            if headers.iter().any(|line| line.starts_with("Host")) { "" } else { "Host: localhost\r\n" };
        let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let raw = rig
            .raw(format!("{method} {target} HTTP/1.1\r\n{host}{lines}Connection: close\r\n\r\n").as_bytes())
            .await;
        let status: u16 =
            raw.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{raw}"));
        match refused {
            Some((expected, code)) => {
                assert_eq!(status, expected, "{method} {target} {headers:?}: {text}{raw}");
                assert!(raw.contains(&format!("\"code\":\"{code}\"")), "{method} {target}: {text}{raw}");
            }
            None => assert_eq!(status, 200, "{method} {target} {headers:?}: {text}{raw}"),
        }
    }
}

#[test]
fn it_says_what_decides_and_where_that_stands() {
    let (refused, text) = told("/open/7?a=b", "POST", &["Content-Length: 100", "X-User-Id: admin"]);
    assert_eq!(refused, None, "{text}");
    for part in [
        "1 header names go no further",
        "(leeward.yaml:8)",
        "at most 100B",
        "rate_limit           ",
        "concurrency_limit    limit 1024 (default), queue 0 (default)",
        "attempt_timeout      after 5s (default)",
        "POST /7?a=b to orders, http://127.0.0.1:1",
        "Nothing refuses it for certain.",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("breaker"), "off: {text}");
    let (_, text) = told("https://Beta.example/open", "GET", &["X-Beta: 1"]);
    assert!(text.contains("GET /open to users"), "the host of a URL counts: {text}");
    let (_, text) = told("/admin", "GET", &[]);
    for part in
        ["401 unauthenticated", "of a user with the role admin", "5 in 1s by principal", "(leeward.yaml:11)"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}

const SPLIT: &str = "
services:
  old: {urls: [\"http://127.0.0.1:1\"]}
  new: {urls: [\"http://127.0.0.1:2\"], attempt_timeout: 777ms}
routes:
  - {path: /chance, split: {old: 9, new: 1}}
  - {path: /turns, split: {old: 100%, new: 0%}, deal: turns}
  - path: /kept
    split: {old: 1, new: 1}
    pin: [{service: new, headers: {x-version: \"2\"}, cookies: {beta: {present: true}}}]
    sticky: header x-tenant
";

fn told_of_a_split(target: &str, headers: &[&str]) -> String {
    let config = Config::parse("leeward.yaml", SPLIT, &Env::default()).unwrap();
    let headers: Vec<String> = headers.iter().map(|&line| line.to_owned()).collect();
    explain(&config, "GET", target, &headers).unwrap().to_string()
}

#[test]
fn it_says_which_services_a_request_may_go_to() {
    let text = told_of_a_split("/chance", &[]);
    for part in
        ["version        old 90%, new 10%: by chance", "to old, http://127.0.0.1:1", "777ms", "to new"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text = told_of_a_split("/turns", &[]);
    assert!(text.contains("old 100%, new 0%: in turns") && text.contains("to old"), "{text}");
    assert!(!text.contains("to new") && !text.contains("777ms"), "nobody goes there: {text}");
}

#[test]
fn it_says_to_which_service_a_request_belongs_and_why() {
    let pinned = told_of_a_split("/kept", &["X-Version: 2", "Cookie: beta=1"]);
    assert!(pinned.contains("new, pinned by header x-version = 2 and cookie beta is there"), "{pinned}");
    assert!(pinned.contains("GET /kept to new") && !pinned.contains("GET /kept to old"), "{pinned}");
    let kept = told_of_a_split("/kept", &["X-Tenant: acme", "X-Version: 2"]);
    assert!(kept.contains(", where the header x-tenant of this request belongs"), "{kept}");
    assert!(kept.contains("GET /kept to old") != kept.contains("GET /kept to new"), "one of them: {kept}");
    let neither = told_of_a_split("/kept", &[]);
    assert!(neither.contains("GET /kept to old") && neither.contains("GET /kept to new"), "{neither}");
}

#[test]
fn it_says_why_another_route_does_not_take_it() {
    let (refused, text) = told("/open", "GET", &["Host: beta.example"]);
    assert_eq!(refused, Some((404, "not_found")), "{text}");
    for part in [
        "beta.example/open if header x-beta = 1 (leeward.yaml:9) wants header x-beta = 1",
        "GET, HEAD, POST /open (leeward.yaml:8) gives way to the routes that name the host",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (_, text) = told("/open", "GET", &[]);
    assert!(text.contains("1 have other hosts, 2 other paths"), "{text}");
}

#[test]
fn it_says_what_stands_in_for_a_service() {
    let told = |route: &str| {
        let text =
            format!("services: {{one: {{}}, spare: {{}}}}\nroutes: [{{path: /, service: one, {route}}}]");
        let config = Config::parse("leeward.yaml", &text, &Env::default()).unwrap();
        explain(&config, "GET", "/", &[]).unwrap().to_string()
    };
    for (route, says) in [
        (
            "fallback: {service: spare, within: 50ms, on_deadline: false}",
            "spare, asked once, answers within 50ms where the request may be repeated or was not seen; after a \
             rejection by a policy, a timeout, a failure that passes\n",
        ),
        (
            "stale_if_error: 1h, fallback: {respond: {status: 203}, mode: shadow}",
            "203 of the configuration would answer at once, but no call of gRPC, when there is no copy; after",
        ),
    ] {
        let text = told(route);
        assert!(text.contains(says), "{says}: {text}");
    }
    assert!(!told("priority: low").contains("fallback"));
}

#[test]
fn a_route_is_told_its_own_deadline_and_what_is_in_force_for_it() {
    let yaml = "services: {orders: {urls: [\"http://127.0.0.1:1\"]}}\nroutes:\n  \
                - {path: /short, service: orders, deadline: 700ms}\n  - {path: /long, service: orders, deadline: 30s}\n  \
                - {path: /plain, service: orders}\n  - {path: /own, service: orders, attempt_timeout: 3s, retry: off}\n";
    let config = Config::parse("leeward.yaml", yaml, &Env::default()).unwrap();
    let told = |path: &str| explain(&config, "GET", path, &[]).unwrap().to_string();
    for (path, deadline, timeout) in [
        ("/short", "700ms for all attempts", "after 700ms,"),
        ("/long", "30s for all attempts", "after 5s (default)"),
        ("/plain", "10s (default) for all attempts", "after 5s (default)"),
        ("/own", "10s (default) for all attempts", "after 3s,"),
    ] {
        let text = told(path);
        let line =
            |key: &str| text.lines().find(|line| line.trim_start().starts_with(key)).unwrap().to_owned();
        assert!(text.contains(&format!("deadline             {deadline}")), "{path}: {text}");
        assert!(line("attempt_timeout").contains(timeout), "{path}: {text}");
        assert!(line("circuit_breaker").contains("failure_rate 80% (default)"), "{path}: {text}");
        assert!(!text.contains("abandoned_after"), "it follows from others: {text}");
        assert_eq!(text.contains("\n               retry "), path != "/own", "{text}");
    }
}
