//! Named policies: written once, used by many, told apart in what is printed and reported.

use std::time::Duration;

use leeward_gateway::Config;
use leeward_gateway::config::Rule;
use leeward_runtime::Env;

use crate::rig::{Rig, Upstream, parse};

const BASE: &str = "\
jwt: {service: users}
policies:
  services:
    patient: {attempt_timeout: 8s, read_timeout: 2m, retry: {max_retries: 1, backoff_base: 50ms}}
    once: {retry: off, circuit_breaker: {probes: 1}}
    unused: {connect_timeout: 2s}
  routes:
    members: {access: user, deadline: 3s, body: 64KiB}
    quick: {deadline: 1s}
";

fn config(rest: &str) -> Config {
    parse(&format!("{BASE}{rest}"))
}

fn mistakes(rest: &str) -> String {
    Config::parse("a.yaml", &format!("{BASE}{rest}"), &Env::default()).unwrap_err().to_string()
}

const ROUTES: &str = "routes:\n  - {path: /, service: users}\n";

#[test]
fn a_service_takes_what_its_policies_say_and_its_own_keys_win() {
    let config = config(&format!(
        "services:\n  users: {{policy: patient, read_timeout: 5s, retry: {{backoff_base: 10ms}}}}\n{ROUTES}"
    ));
    let users = config.service("users");
    let (retry, timeout) = (users.policies.retry.unwrap(), users.policies.attempt_timeout.unwrap());
    assert_eq!((retry.max_retries, retry.backoff_base), (1, Duration::from_millis(10)), "maps are laid over");
    assert_eq!((timeout.after, users.read_timeout), (Duration::from_secs(8), Duration::from_secs(5)));
    assert_eq!(users.connect_timeout, Duration::from_secs(1), "what nobody says is the default");
}

#[test]
fn of_several_policies_a_later_one_wins() {
    let retries = |policy: &str| {
        let config = config(&format!("services:\n  users: {{policy: {policy}}}\n{ROUTES}"));
        let policies = config.service("users").policies;
        (policies.retry.map(|retry| retry.max_retries), policies.breaker.unwrap().probes.get())
    };
    assert_eq!(retries("[patient, once]"), (None, 1));
    assert_eq!(retries("[once, patient]"), (Some(1), 1));
    assert_eq!(retries("once"), (None, 1));
}

#[test]
fn a_route_takes_what_its_policies_say() {
    let rest = "services: {users: {}}\nroutes:\n  - {path: /a, service: users, policy: [members, quick]}\n  \
                - {path: /b, service: users, policy: members, access: anyone}\n";
    let config = config(rest);
    let [a, b] = &config.routes[..] else { panic!("two routes") };
    assert_eq!(
        (&a.access, a.deadline, a.body_bytes),
        (&Rule::User, Some(Duration::from_secs(1)), Some(65_536))
    );
    assert_eq!((&b.access, b.deadline), (&Rule::Anyone, Some(Duration::from_secs(3))));
    let uses: Vec<_> = config.policies.iter().map(|policy| (policy.path.as_str(), policy.uses)).collect();
    assert!(
        uses.contains(&("policies.routes.members", 2)) && uses.contains(&("policies.services.unused", 0))
    );
}

#[test]
fn a_name_that_no_policy_has_is_a_mistake_with_the_nearest() {
    let report = mistakes(&format!("services:\n  users: {{policy: [patient, onec]}}\n{ROUTES}"));
    assert!(report.contains("services.users.policy[1]: `onec` is no policy of its kind"), "{report}");
    assert!(report.contains("allowed: once, patient, unused\n  did you mean: once"), "{report}");
    let report = mistakes("services: {users: {}}\nroutes:\n  - {path: /, service: users, policy: patient}\n");
    assert!(report.contains("routes[0].policy: `patient` is no policy of its kind"), "{report}");
}

#[test]
fn a_policy_names_no_other_so_that_there_are_no_circles() {
    let text =
        "policies:\n  services:\n    a: {policy: b}\n    b: {policy: a}\nservices:\n  users: {policy: a}\n";
    let report =
        Config::parse("a.yaml", &format!("{text}{ROUTES}"), &Env::default()).unwrap_err().to_string();
    assert!(report.contains("a.yaml:3:9: policies.services.a.policy: unknown key"), "{report}");
    assert!(report.contains("a.yaml:4:9: policies.services.b.policy: unknown key"), "{report}");
}

#[test]
fn mistakes_in_a_policy_are_told_where_it_stands_whether_or_not_it_is_used() {
    let text = "policies:\n  services:\n    used: {retry: {max_retries: 99}}\n    unused: {attempt_timeout: soon}\n  \
                routes:\n    unused: {body: huge, pathh: /}\nservices:\n  users: {policy: used}\n";
    let report =
        Config::parse("a.yaml", &format!("{text}{ROUTES}"), &Env::default()).unwrap_err().to_string();
    for expected in [
        "a.yaml:3:33: services.users.retry.max_retries: `99` is out of range",
        "a.yaml:4:31: policies.services.unused.attempt_timeout: `soon` is not understood",
        "a.yaml:6:20: policies.routes.unused.body: `huge` is not a size",
        "a.yaml:6:26: policies.routes.unused.pathh: unknown key",
    ] {
        assert!(report.contains(expected), "{expected}\n{report}");
    }
}

#[tokio::test]
async fn a_policy_is_in_force_at_a_running_gateway() {
    let upstream = Upstream::start().await;
    let rig = Rig::start(&format!(
        "policies:\n  routes:\n    small: {{body: 10B, methods: [POST]}}\nroutes:\n  - path: /\n    policy: small\n    service: {}\n",
        upstream.url()
    ))
    .await;
    assert_eq!(rig.get("/").await.status, 405);
}
