//! `leeward diff`: what counts as a change, what does not, and what it means for requests and for a running gateway.

use leeward_gateway::Config;
use leeward_gateway::diff::{Both, Changed, Diff, Effect, Request, diff};
use leeward_runtime::Env;

use crate::config::{FULL, env};

const SERVICES: &str = "services:\n  a: {urls: [\"http://127.0.0.1:4001\", \"http://127.0.0.1:4002\"]}\n  b: {urls: [\"http://127.0.0.1:4003\"]}\n";

fn config(name: &str, text: &str) -> Config {
    let env = Env::from_pairs([("TOKEN", "a-token")]);
    Config::parse(name, text, &env).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn between(old: &str, new: &str) -> Diff {
    diff(&config("old.yaml", old), &config("new.yaml", new))
}

/// Two lists of routes, over the same services.
fn routes(old: &str, new: &str) -> Diff {
    between(&format!("{SERVICES}routes:\n{old}"), &format!("{SERVICES}routes:\n{new}"))
}

fn ids(list: &[leeward_gateway::diff::Thing]) -> Vec<&str> {
    list.iter().map(|thing| thing.id.as_str()).collect()
}

fn option<'d>(both: &'d [Both], id: &str, option: &str) -> &'d Changed {
    let both = both.iter().find(|both| both.id == id).unwrap_or_else(|| panic!("{id}: {both:?}"));
    both.options.iter().find(|one| one.option == option).unwrap_or_else(|| panic!("{option}: {both:?}"))
}

fn values(changed: &Changed) -> (Option<&str>, Option<&str>) {
    (changed.old.value.as_deref(), changed.new.value.as_deref())
}

fn places(changed: &Changed) -> (Option<&str>, Option<&str>) {
    (changed.old.at.as_deref(), changed.new.at.as_deref())
}

/// What becomes of a request by both, as `route answer`.
fn outcomes(diff: &Diff, request: &str) -> [String; 2] {
    let found = diff.requests.iter().find(|one| one.request.to_string().starts_with(request));
    let Request { old, new, .. } = found.unwrap_or_else(|| panic!("{request}: {:#?}", diff.requests));
    [old, new].map(|it| format!("{} {}", it.route.as_deref().unwrap_or("-"), it.answer))
}

#[test]
fn what_means_the_same_is_no_change_however_it_is_written() {
    let short = format!(
        "{SERVICES}routes:\n  - {{path: /a, service: a}}\n  - {{path: /b, service: b, access: anyone}}\n"
    );
    // All defaults written out.
    let full = config("old.yaml", &short).to_yaml();
    assert!(full.lines().count() > 100);
    // Another order where the order says nothing, a value that a policy says, a plain listener as a list, another unit.
    let other = "policies: {services: {slow: {connect_timeout: 1000ms}}, routes: {open: {access: anyone}}}\n\
        listen: [{address: \"127.0.0.1:8080\"}]\nlimits: {deadline: 10000ms}\nservices:\n  b: {urls: [\"http://127.0.0.1:4003\"]}\n  \
        a: {urls: [\"http://127.0.0.1:4002\", \"http://127.0.0.1:4001\"], policy: slow}\n\
        routes:\n  - {path: /b, service: b, policy: open}\n  - {path: /a/, service: a, deadline: 10s, id: \"\"}\n";
    let other = other.replace(", id: \"\"", "").replace("/a/,", "/a,");
    for (old, new) in [(&short, &full), (&full, &short), (&short, &other), (&other, &full)] {
        let diff = between(old, new);
        assert!(diff.same && diff.reload.taken, "{diff}\n{diff:#?}");
        assert_eq!(diff.to_string(), "both mean the same\n");
    }
}

#[test]
fn one_option_changed_is_one_option_told_whatever_it_belongs_to() {
    let parse =
        |text: &str| Config::parse("full.yaml", text, &env()).unwrap_or_else(|error| panic!("{error}"));
    let full = parse(FULL);
    let printed = full.to_yaml();
    assert!(diff(&full, &parse(&printed)).same);
    for (from, to, id, name, effect) in [
        ("handshakes: 100", "handshakes: 101", "0.0.0.0:8443", "tls.handshakes", Effect::Restart),
        ("leeway: 2s", "leeway: 3s", "users", "leeway", Effect::Live),
        ("ttl_min: 5s", "ttl_min: 6s", "", "dns.ttl_min", Effect::Live),
        ("max_retries: 1\n", "max_retries: 3\n", "users", "retry.max_retries", Effect::Live),
        ("keep_alive: 1m15s", "keep_alive: 1m", "users", "facts.keep_alive", Effect::Lint),
        ("status: 308", "status: 307", "shop.example/old/{id}", "redirect.status", Effect::Live),
        ("share: 2.5%", "share: 3%", "stock", "delivery.share", Effect::Live),
        (
            "\"x-tenant\": {prefix: \"acme-\"}",
            "\"x-tenant\": \"acme\"",
            "users-admin",
            "match.headers.x-tenant",
            Effect::Live,
        ),
        ("replicas: 3", "replicas: 4", "", "facts.replicas", Effect::Lint),
        ("checks: 3", "checks: 4", "", "basic.checks", Effect::Live),
        ("sample: 12.5%", "sample: 12%", "", "access_log.sample", Effect::Restart),
    ] {
        assert_eq!(printed.matches(from).count(), 1, "{from}");
        let diff = diff(&full, &parse(&printed.replace(from, to)));
        let things = [&diff.routes, &diff.services, &diff.listeners, &diff.issuers];
        let of = things
            .iter()
            .flat_map(|things| &things.changed)
            .flat_map(|both| both.options.iter().map(|option| (both.id.as_str(), option)));
        let told: Vec<_> = of
            .chain(diff.options.iter().map(|option| ("", option)))
            .map(|(id, option)| (id, option.option.as_str(), option.effect))
            .collect();
        assert!(
            told.len() == 1 && told[0].0 == id && told[0].2 == effect && told[0].1.starts_with(name),
            "{from}: {told:?}\n{diff}"
        );
        assert!(
            things.iter().all(|things| things.added.is_empty() && things.removed.is_empty()),
            "{from}\n{diff}"
        );
    }
}

#[test]
fn routes_come_go_and_change_by_their_ids() {
    let diff = routes(
        "  - {path: /kept, service: a}\n  - {path: /old, service: a}\n  - {path: /x, id: x, service: a, rate_limit: 5/s}\n",
        "  - {path: /new, service: b, methods: [POST]}\n  - {path: /kept, service: a}\n  - {path: /x, id: x, service: a, rate_limit: 7/s, body: 1KiB}\n",
    );
    assert_eq!((ids(&diff.routes.added), ids(&diff.routes.removed)), (vec!["POST /new"], vec!["/old"]));
    assert_eq!(diff.routes.added[0].at.as_deref(), Some("new.yaml:5:5"));
    assert_eq!(diff.routes.added[0].is, "POST /new to b, for anyone");
    let limit = option(&diff.routes.changed, "x", "rate_limit");
    assert_eq!(values(limit), (Some("5/s burst 5"), Some("7/s burst 7")));
    assert_eq!(places(limit), (Some("old.yaml:7:47"), Some("new.yaml:7:47")));
    let body = option(&diff.routes.changed, "x", "body");
    assert_eq!((values(body), places(body)), ((Some("10MiB"), Some("1KiB")), (None, Some("new.yaml:7:58"))));
    assert_eq!(diff.routes.changed.len(), 1, "{:?}", diff.routes.changed);
    assert_eq!(outcomes(&diff, "POST /new"), ["- 404 not_found", "POST /new to b"]);
    assert_eq!(outcomes(&diff, "GET /old"), ["/old to a", "- 404 not_found"]);
    let of_x = diff.requests.iter().find(|one| one.request.target == "/x").unwrap();
    assert!(of_x.no_more.iter().any(|line| line.contains("5 in 1s by address")), "{of_x:?}");
    assert!(of_x.instead.iter().any(|line| line.contains("7 in 1s by address")), "{of_x:?}");
    assert!(diff.reload.taken && !diff.same);
}

#[test]
fn a_default_that_routes_take_over_changes_at_its_own_place_alone() {
    let with = |deadline: &str| {
        format!(
            "limits: {{deadline: {deadline}}}\n{SERVICES}routes:\n  - {{path: /a, service: a}}\n  - {{path: /b, service: b}}\n  - {{path: /c, service: b, deadline: 3s}}\n"
        )
    };
    let diff = between(&with("5s"), &with("4s"));
    assert!(diff.routes.is_empty(), "{diff}");
    let [deadline] = &diff.options[..] else { panic!("{diff}") };
    assert_eq!((deadline.option.as_str(), deadline.routes), ("limits.deadline", Some(2)));
    assert_eq!(values(deadline), (Some("5s"), Some("4s")));
    // One that says itself what it had before from there has another value all the same.
    let own = with("4s").replace("{path: /a, service: a}", "{path: /a, service: a, deadline: 6s}");
    let diff = between(&with("5s"), &own);
    assert_eq!(values(option(&diff.routes.changed, "/a", "deadline")), (Some("5s"), Some("6s")));
    assert_eq!(diff.options[0].routes, Some(1));
}

#[test]
fn services_change_by_what_is_in_force_wherever_it_is_said() {
    let with = |policies: &str, a: &str| {
        format!(
            "{policies}services:\n  a: {{urls: [\"http://127.0.0.1:4001\"], {a}}}\nroutes: [{{path: /, service: a}}]\n"
        )
    };
    let policy = "policies: {services: {few: {retry: {max_retries: 1}}}}\n";
    let diff = between(&with(policy, "policy: few"), &with(&policy.replace(": 1}", ": 3}"), "policy: few"));
    let retries = option(&diff.services.changed, "a", "retry.max_retries");
    assert_eq!(values(retries), (Some("1"), Some("3")));
    assert_eq!(places(retries), (Some("old.yaml:1:50"), Some("new.yaml:1:50")), "where the policy says it");
    assert_eq!(diff.services.changed[0].options.len(), 1);
    let policies = diff.requests.is_empty();
    assert!(policies, "the route is the same: {:?}", diff.requests);

    // A policy that is switched off is one change and not twelve.
    let diff = between(&with("", "protocol: auto"), &with("", "retry: off, facts: {keep_alive: 2m}"));
    let [facts, retry] = &diff.services.changed[0].options[..] else { panic!("{diff}") };
    assert_eq!((retry.option.as_str(), retry.new.value.as_deref()), ("retry", Some("off")));
    assert!(retry.old.value.as_ref().unwrap().contains("max_retries: 2"), "{retry:?}");
    assert_eq!((facts.effect, retry.effect), (Effect::Lint, Effect::Live));
    let moved = between(&with("", "protocol: auto"), &with("", "protocol: auto").replace("4001", "4009"));
    assert_eq!(
        values(option(&moved.services.changed, "a", "urls")),
        (Some("[http://127.0.0.1:4001]"), Some("[http://127.0.0.1:4009]"))
    );
}

#[test]
fn a_route_that_takes_requests_from_another_one_is_found() {
    let diff = routes(
        "  - {path: /orders, service: a}\n",
        "  - {path: /orders, service: a}\n  - {path: \"/orders/{id}\", service: b, methods: [GET]}\n",
    );
    assert_eq!(outcomes(&diff, "GET /orders/1"), ["/orders to a", "GET, HEAD /orders/{id} to b"]);
    // No other route takes over for the methods that it does not have.
    assert_eq!(
        outcomes(&diff, "POST /orders/1"),
        ["/orders to a", "- 405 method_not_allowed, Allow: GET, HEAD"]
    );
    // A host of its own takes everything of that host.
    let diff = routes(
        "  - {path: /orders, service: a, hosts: [\"*.shop.example\"]}\n",
        "  - {path: /orders, service: a, hosts: [\"*.shop.example\"]}\n  - {path: /other, service: b, hosts: [any.shop.example]}\n",
    );
    assert_eq!(outcomes(&diff, "GET /orders"), ["*.shop.example/orders to a", "- 404 not_found"]);
}

#[test]
fn the_order_of_routes_counts_where_it_decides_and_nowhere_else() {
    let (one, other) = (
        "  - {path: /a, id: one, service: a, match: {headers: {x-one: \"1\"}}}\n",
        "  - {path: /a, id: other, service: b, match: {cookies: {side: \"2\"}}}\n",
    );
    let diff = routes(&format!("{one}{other}"), &format!("{other}{one}"));
    assert!(diff.routes.is_empty() && !diff.same, "{diff}");
    let [request] = &diff.requests[..1] else { panic!("{diff}") };
    assert_eq!(request.request.headers, ["Host: host.invalid", "x-one: 1", "Cookie: side=2"]);
    assert_eq!((request.old.route.as_deref(), request.new.route.as_deref()), (Some("one"), Some("other")));
    let stricter = "  - {path: /a, id: other, service: b, match: {headers: {x-a: \"1\", x-b: \"2\"}}}\n";
    assert!(
        routes(&format!("{one}{stricter}"), &format!("{stricter}{one}")).same,
        "more conditions go first anyway"
    );
}

#[test]
fn what_a_running_gateway_would_do_is_said() {
    let plain = format!("{SERVICES}routes: [{{path: /, service: a}}]\n");
    let diff = between(
        &plain,
        &format!(
            "listen: 127.0.0.1:9\nmetrics: {{routes: 7}}\nadmin: {{faults: true, hosts: [x]}}\nrate_limits: {{keys: 20}}\n{plain}"
        ),
    );
    assert_eq!(diff.reload.restart, ["listen", "metrics", "admin.faults", "rate_limits.keys"]);
    assert!(!diff.reload.taken);
    let effects: Vec<_> = diff.options.iter().map(|one| (one.option.as_str(), one.effect)).collect();
    assert_eq!(
        effects,
        [
            ("admin.faults", Effect::Restart),
            ("admin.hosts", Effect::Live),
            ("metrics.routes", Effect::Restart),
            ("rate_limits.keys", Effect::Restart)
        ]
    );
    assert_eq!(
        (ids(&diff.listeners.added), ids(&diff.listeners.removed)),
        (vec!["127.0.0.1:9"], vec!["127.0.0.1:8080"])
    );
    assert!(
        diff.to_string().contains("a running gateway cannot change `listen`, `metrics`, `admin.faults`"),
        "{diff}"
    );

    let nowhere = plain.replace("b: {urls: [\"http://127.0.0.1:4003\"]}", "b: {}");
    let diff = between(&plain, &nowhere);
    assert_eq!((diff.reload.taken, &diff.reload.nowhere[..]), (false, &["b".to_owned()][..]));
    assert!(between(&nowhere, &nowhere).reload.taken, "somebody says where it is");
}

#[test]
fn issuers_are_told_apart_by_their_names() {
    let with = |jwt: &str| format!("jwt:\n{jwt}{SERVICES}routes: [{{path: /, service: a}}]\n");
    let one = "  - {service: a, issuer: one}\n";
    let two = "  - {service: b, issuer: two, prefix: \"t:\"}\n";
    let diff = between(&with(one), &with(&format!("{two}{}", one.replace("one}", "one, leeway: 9s}"))));
    assert_eq!(ids(&diff.issuers.added), ["two"]);
    assert_eq!(values(option(&diff.issuers.changed, "one", "leeway")), (Some("5s"), Some("9s")));
}

#[test]
fn what_is_told_is_bounded() {
    let list = |service: &str| {
        (0..300)
            .map(|at| format!("  - {{path: /r{at}, service: {service}, methods: [GET]}}\n"))
            .collect::<String>()
    };
    let diff = routes("  - {path: /, service: a}\n", &format!("  - {{path: /, service: a}}\n{}", list("b")));
    assert_eq!((diff.routes.added.len(), diff.requests.len()), (300, 200));
    assert!(
        diff.requests_left_out >= 100 && diff.to_string().contains("more\n"),
        "{}",
        diff.requests_left_out
    );
}

#[test]
fn a_fallback_is_compared_option_by_option() {
    let with = |more: &str| format!("  - {{path: /a, service: a, fallback: {{service: b{more}}}}}\n");
    let diff = routes(&with(""), &with(", within: 1s"));
    let changed = option(&diff.routes.changed, "/a", "fallback.within");
    assert_eq!(values(changed), (Some("500ms"), Some("1s")));
    assert_eq!(routes(&with(""), &with(", within: 500ms")).routes.changed.len(), 0);
}
