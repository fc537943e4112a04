//! `leeward lint`: each finding comes up where it should, and not right beside it.

use std::collections::BTreeSet;
use std::fmt::Write;

use leeward_gateway::Config;
use leeward_gateway::lint::{Finding, RULES, Rule, Severity, lint, to_json};
use leeward_runtime::Env;

/// Set, the test writes the file instead of comparing it.
const WRITE: &str = "LEEWARD_WRITE_DOCS";
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/lint.md");

fn findings(text: &str) -> Vec<Finding> {
    let env = Env::from_pairs([("PATH", "a-token")]);
    let text = text.trim_start();
    lint(&Config::parse("a.yaml", text, &env).unwrap_or_else(|error| panic!("{error}\n{text}")))
}

fn of<'f>(rule: &Rule, findings: &'f [Finding]) -> Vec<&'f Finding> {
    findings.iter().filter(|finding| finding.rule.id == rule.id).collect()
}

#[test]
fn every_rule_fires_on_its_example_and_not_on_the_one_beside_it() {
    for rule in RULES {
        let (fires, quiet) = (findings(rule.fires), findings(rule.quiet));
        assert!(!of(rule, &fires).is_empty(), "{} does not fire on\n{}", rule.id, rule.fires);
        assert_eq!(of(rule, &quiet), Vec::<&Finding>::new(), "{} fires on\n{}", rule.id, rule.quiet);
        // The difference is that one finding: whatever else is found is found in both.
        let ids = |found: &[Finding]| {
            found.iter().map(|it| it.rule.id).filter(|id| *id != rule.id).collect::<BTreeSet<_>>()
        };
        let new: Vec<_> = ids(&quiet).difference(&ids(&fires)).copied().collect();
        assert_eq!(new, Vec::<&str>::new(), "the way out of {} leads to another finding", rule.id);
    }
}

#[test]
fn a_rule_has_a_name_of_its_own_and_says_what_to_do() {
    let ids: BTreeSet<&str> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(ids.len(), RULES.len());
    for rule in RULES {
        for text in [rule.what, rule.why, rule.fix] {
            assert!(text.ends_with('.') && text.len() > 20, "{}: {text}", rule.id);
        }
    }
}

/// Where a rule fires, and what it says.
fn told(text: &str, id: &str) -> Vec<String> {
    let found = findings(text);
    let its = found.iter().filter(|finding| finding.rule.id == id);
    its.map(ToString::to_string).collect()
}

#[test]
fn a_time_for_an_attempt_that_the_deadline_ends_is_told_where_it_is_written_down() {
    let at = |service: &str, routes: &[&str]| {
        let routes = routes.iter().enumerate();
        let routes: String = routes.map(|(at, it)| format!("  - {{path: /{at}, service: {it}}}\n")).collect();
        let text = format!(
            "services: {{orders: {{{service}}}, main: {{urls: [\"http://127.0.0.1:1\"]}}}}\nroutes:\n{routes}"
        );
        let found = findings(&text).into_iter();
        let its = found.filter(|it| ["never-reached", "attempts-over-deadline"].contains(&it.rule.id));
        let its = its.filter(|it| it.path.ends_with("attempt_timeout"));
        its.map(|it| format!("{} {}", it.rule.id, it.path)).collect::<Vec<_>>()
    };
    const SHORT: &str = "orders, deadline: 2s";
    let never = |path: &str| vec![format!("never-reached {path}")];
    let over = |path: &str| vec![format!("attempts-over-deadline {path}")];
    let (of_service, none) = ("services.orders.attempt_timeout", Vec::<String>::new());
    assert_eq!(at("retry: off", &[SHORT]), none, "a default that fits most");
    assert_eq!(at("retry: off, attempt_timeout: 2s", &[SHORT]), none);
    for written in ["3s", "{after: 3s}"] {
        let timeout = format!("attempt_timeout: {written}");
        assert_eq!(at(&format!("retry: off, {timeout}"), &[SHORT]), never(of_service), "{written}");
        assert_eq!(at(&format!("retry: {{max_retries: 0}}, {timeout}"), &[SHORT]), never(of_service));
        let route = format!("{SHORT}, {timeout}");
        assert_eq!(at("retry: off", &[&route]), never("routes[0].attempt_timeout"));
        assert_eq!(at("", &[&format!("{route}, retry: off")]), never("routes[0].attempt_timeout"));
        assert_eq!(at("", &[&route]), over("routes[0].attempt_timeout"), "of retries something else is said");
    }
    // The service repeats, the route does not.
    let once = "orders, deadline: 2s, retry: off";
    assert_eq!(at("attempt_timeout: 3s", &[once]), never(of_service));
    assert_eq!(at("attempt_timeout: 3s", &[once, "orders"]), none, "who repeats has the time for it");
    // Some route can use all of it, or all that cannot have a time for themselves.
    assert_eq!(at("retry: off, attempt_timeout: 3s", &[SHORT, "orders, deadline: 4s"]), none);
    assert_eq!(
        at("retry: off, attempt_timeout: 3s", &["orders", &format!("{SHORT}, attempt_timeout: 1s")]),
        none
    );
    assert_eq!(
        at("retry: off, attempt_timeout: 3s", &[SHORT, "orders, deadline: 1m, attempt_timeout: 1m"]),
        never(of_service)
    );
    // Who stands in for another has the time of a fallback.
    let standby = |within: &str| format!("main, fallback: {{service: orders, within: {within}}}");
    assert_eq!(at("retry: off, attempt_timeout: 3s", &[&standby("500ms")]), never(of_service));
    assert_eq!(at("retry: off, attempt_timeout: 3s", &[SHORT, &standby("30s")]), none);
}

#[test]
fn a_fixed_answer_in_the_place_of_a_service_says_no_success_to_a_change_and_has_no_time() {
    let at = |fallback: &str, route: &str| {
        let text = format!(
            "services: {{orders: {{}}, spare: {{}}}}\nroutes:\n  - {{path: /, service: orders{route}, fallback: {{{fallback}}}}}\n"
        );
        findings(&text).iter().map(|it| format!("{} {}", it.rule.id, it.path)).collect::<Vec<_>>()
    };
    let writes = "fallback-for-writes routes[0].fallback.respond".to_owned();
    let without = at("service: spare", "").len();
    for (fallback, route, expected) in [
        ("respond: {status: 204}", "", true),
        ("respond: {status: 299}", ", methods: [GET, POST]", true),
        ("respond: {status: 404}", "", false),
        ("respond: {status: 302}", "", false),
        ("respond: {status: 204}", ", methods: [GET, HEAD, OPTIONS]", false),
        ("respond: {status: 204}, mode: shadow", "", false),
        ("respond: {status: 204}", ", match: {headers: {content-type: application/grpc}}", false),
    ] {
        assert_eq!(at(fallback, route).contains(&writes), expected, "{fallback}{route}");
    }
    let within = "never-reached routes[0].fallback.within".to_owned();
    assert!(at("respond: {status: 404}, within: 1s", "").contains(&within));
    assert!(!at("respond: {status: 404}", "").contains(&within));
    assert_eq!(at("service: spare, within: 1s", "").len(), without, "another service takes time");
    let unused = "never-reached routes[0].fallback.respond".to_owned();
    let of_grpc = ", match: {headers: {content-type: application/grpc}}";
    assert!(at("respond: {status: 204}", of_grpc).contains(&unused));
    assert!(!at("respond: {status: 204}", "").contains(&unused));
}

#[test]
fn attempts_of_routes_are_looked_at_as_those_of_services_are() {
    let with = |times: &str| {
        format!("services: {{orders: {{retry: off}}}}\nroutes:\n  - {{path: /, service: orders, {times}}}\n")
    };
    let short = told(&with("attempt_timeout: 900ms"), "timeout-inversion");
    assert!(short.len() == 1 && short[0].contains("routes[0].attempt_timeout"), "{short:?}");
    assert!(short[0].contains("900ms in all"), "{short:?}");
    assert!(told(&with("attempt_timeout: 1100ms"), "timeout-inversion").is_empty());
    let drained = |attempt: &str| {
        let all = told(&with(&format!("deadline: 60s, attempt_timeout: {attempt}")), "drain-too-short");
        all.iter().any(|one| one.contains("one attempt at orders may take"))
    };
    assert!(drained("50s") && !drained("4s"));
    // Of its own retries there is time for two.
    let cramped = told(
        &with("deadline: 2s, retry: {max_retries: 3}, attempt_timeout: 1500ms"),
        "attempts-over-deadline",
    );
    assert!(cramped.len() == 1 && cramped[0].contains("routes[0]."), "{cramped:?}");
}

#[test]
fn a_finding_has_its_place_and_its_numbers() {
    let found = findings(
        "services:\n  orders:\n    idle_timeout: 60s\n    facts: {keep_alive: 45s}\nroutes: [{path: /, service: orders}]",
    );
    let idle = found.iter().find(|finding| finding.rule.id == "idle-outlives-keep-alive").unwrap();
    assert_eq!(idle.severity, Severity::Error);
    let text = idle.to_string();
    assert!(
        text.starts_with("a.yaml:3:19: error[idle-outlives-keep-alive]: services.orders.idle_timeout\n"),
        "{text}"
    );
    assert!(
        text.contains("1m here and 45s there") && text.contains("\n  do:  Make `idle_timeout`"),
        "{text}"
    );
    let json = &to_json(&found)[0];
    assert_eq!(
        (&json["id"], &json["line"], &json["column"]),
        (&"idle-outlives-keep-alive".into(), &3.into(), &19.into())
    );
    assert_eq!((&json["file"], &json["severity"]), (&"a.yaml".into(), &"error".into()));
}

#[test]
fn retries_multiply_along_the_longest_chain_of_calls() {
    let chain = "\
services:
  orders:
    retry: {max_retries: 2}
    calls: {stock: {retries: 1}, payments: {}}
behind:
  stock: {calls: {ledger: {retries: 3}}}
  payments: {calls: {ledger: {retries: 1}}}
  ledger: {}
routes: [{path: /, service: orders}]
";
    let found = findings(chain);
    let about: Vec<_> = found.iter().filter(|finding| finding.rule.id == "amplification").collect();
    let texts: Vec<&str> = about.iter().map(|finding| finding.what.as_str()).collect();
    assert_eq!(about.len(), 2, "{texts:?}");
    assert!(
        texts[0]
            .starts_with("gateway > orders > stock > ledger: one request may become 24 attempts at ledger"),
        "{texts:?}"
    );
    assert_eq!(
        (about[0].severity, about[0].path.as_str()),
        (Severity::Error, "behind.stock.calls.ledger.retries")
    );
    assert!(texts[1].contains("orders > stock: one request may become 6 attempts"), "{texts:?}");
    assert_eq!(about[1].severity, Severity::Warning);
}

#[test]
fn a_route_is_compared_with_the_one_that_would_get_its_requests() {
    let access = |routes: &str| {
        let text = format!("jwt: {{service: one}}\nservices: {{one: {{}}}}\nroutes:\n{routes}");
        let found = findings(&text);
        let about = found.into_iter().filter(|finding| finding.rule.id == "access-wider-below");
        about.map(|finding| finding.what).collect::<Vec<_>>()
    };
    // What is nearest is not what is written longest.
    let long = access(
        "  - {path: \"/{a_parameter_with_a_long_name}\", service: one}\n  - {path: /a/b, service: one, access: user}\n  \
         - {path: /a/b/c, service: one}\n",
    );
    assert_eq!(long.len(), 1, "{long:?}");
    assert!(long[0].contains("lies below `/a/b`"), "{long:?}");
    let first = access(
        "  - {path: \"/{a}/b\", service: one, access: user}\n  - {path: \"/a/{long_parameter}\", service: one}\n  \
         - {path: /a/b/c, service: one}\n",
    );
    assert_eq!(first, Vec::<String>::new(), "a literal goes before a parameter");
    // Hosts in common are enough, and methods must be.
    let hosts = access(
        "  - {path: /a, service: one, hosts: [x.example, y.example], access: user}\n  \
         - {path: /a/b, service: one, hosts: [y.example, z.example]}\n",
    );
    assert_eq!(hosts.len(), 1, "{hosts:?}");
    let methods = access(
        "  - {path: /a, service: one, methods: [GET]}\n  - {path: /a, service: one, access: user}\n  \
         - {path: /a/b, service: one, methods: [GET]}\n",
    );
    assert_eq!(methods, Vec::<String>::new(), "who reads may read above too");
    let other = access(
        "  - {path: /a, service: one, methods: [GET]}\n  - {path: /a, service: one, access: user}\n  \
         - {path: /a/b, service: one, methods: [GET, POST]}\n",
    );
    assert_eq!(other.len(), 1, "{other:?}");
}

#[test]
fn a_graph_in_which_all_call_each_other_ends() {
    let names: Vec<String> = (0..24).map(|number| format!("s{number}")).collect();
    let mut text = "services:\n".to_owned();
    for name in &names {
        let calls: Vec<String> =
            names.iter().filter(|other| *other != name).map(|other| format!("{other}: {{}}")).collect();
        writeln!(text, "  {name}: {{calls: {{{}}}}}", calls.join(", ")).unwrap();
    }
    text.push_str("routes: [{path: /, service: s0}]\n");
    assert!(findings(&text).iter().any(|finding| finding.rule.id == "call-circle"));
}

#[test]
fn the_shortest_configuration_has_notes_alone() {
    let found =
        findings("listen: 127.0.0.1:8080\nroutes:\n  - path: /api\n    service: http://127.0.0.1:4001\n");
    assert!(found.iter().all(|finding| finding.severity == Severity::Note), "{found:?}");
}

#[test]
fn the_shops_own_configuration_has_one_warning() {
    let found = findings(include_str!("../../../../leeward.yaml"));
    let loud: Vec<&str> =
        found.iter().filter(|it| it.severity > Severity::Note).map(|it| it.rule.id).collect();
    // The demo is to stop while somebody waits for it.
    assert_eq!(loud, ["drain-too-short"]);
}

#[test]
fn calls_of_a_service_that_is_none_are_a_mistake() {
    let text = "services: {orders: {calls: {paiments: {}}}}\nbehind: {payments: {}, orders: {}}\nroutes: [{path: /, service: orders}]";
    let report = Config::parse("a.yaml", text, &Env::default()).unwrap_err().to_string();
    assert!(
        report.contains("services.orders.calls.paiments: `paiments` is no service of `services` or `behind`"),
        "{report}"
    );
    assert!(report.contains("did you mean: payments") && report.contains("behind.orders"), "{report}");
}

#[test]
fn the_docs_list_every_finding() {
    let mut text = format!(
        "<!-- Made by `{WRITE}=1 cargo nextest run -p leeward-gateway lint::the_docs`. -->\n\n{}",
        include_str!("lint/head.md")
    );
    text.push_str("\n## Findings\n\n| id | severity | what |\n|---|---|---|\n");
    for rule in RULES {
        writeln!(text, "| [`{0}`](#{0}) | {1} | {2} |", rule.id, rule.severity.as_str(), rule.what).unwrap();
    }
    for rule in RULES {
        let (fires, quiet) = (rule.fires.trim_start(), rule.quiet.trim_start());
        write!(text, "\n### {}\n\n{} {}\n\n{}\n", rule.id, rule.what, rule.why, rule.fix).unwrap();
        write!(text, "\nFound in:\n\n```yaml\n{fires}```\n\nNot in:\n\n```yaml\n{quiet}```\n").unwrap();
    }
    if Env::process().get(WRITE).is_some() {
        std::fs::write(FILE, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(FILE).unwrap_or_default(), text, "write it anew: {WRITE}=1");
}
