//! Configuration: the shortest, the longest, the wrong.

use std::time::Duration;

use leeward_gateway::config::Rule;
use leeward_gateway::{Config, Gateway};
use leeward_runtime::{Env, Tasks};
use proptest::prelude::*;

use crate::rig::{Rig, Upstream};

#[tokio::test]
async fn six_lines_are_a_gateway() {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let yaml = format!(
        "listen: 127.0.0.1:8080\nroutes:\n  - path: /api\n    service: {}\n  - path: /shop\n    service: {}\n",
        one.url(),
        two.url()
    );
    assert_eq!(yaml.lines().count(), 6);
    let rig = Rig::start(&yaml).await;
    assert_eq!(rig.get("/api/a").await.status, 200);
    assert_eq!(rig.get("/shop").await.status, 200);
    assert_eq!((one.hits(), two.hits()), (1, 1));
}

pub(crate) const FULL: &str = include_str!("config/full.yaml");

pub(crate) fn env() -> Env {
    let keys =
        serde_json::json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "p1", "x": crate::rig::PUBLIC}]});
    Env::from_pairs([
        ("LEEWARD_ADMIN_TOKEN", "secret-text"),
        ("LEGACY_SECRET", "secret-text of more than 32 bytes"),
        ("PARTNER_KEYS", keys.to_string().as_str()),
    ])
}

#[test]
fn what_is_printed_parses_back_to_the_same() {
    for text in [FULL, "routes:\n  - {path: /, service: \"http://127.0.0.1:1\"}\n"] {
        let config = Config::parse("full.yaml", text, &env()).unwrap_or_else(|error| panic!("{error}"));
        let printed = config.to_yaml();
        assert!(!printed.contains("secret-text"));
        let again = Config::parse("printed.yaml", &printed, &env())
            .unwrap_or_else(|error| panic!("{error}\n{printed}"));
        assert_eq!(again.to_yaml(), printed);
    }
}

#[test]
fn all_values_in_force_are_printed() {
    let printed = Config::parse("full.yaml", FULL, &env()).unwrap().to_yaml();
    assert_eq!(printed, include_str!("config/full.printed.yaml"), "\n{printed}");
}

#[test]
fn all_mistakes_are_reported_at_once_with_their_place() {
    let error =
        Config::parse("leeward.yaml", include_str!("config/wrong.yaml"), &Env::default()).unwrap_err();
    let report = format!("{error}\n");
    assert_eq!(report, include_str!("config/wrong.report"), "\n{report}");
}

/// What is said of the fixed limit holds for the one that adapts, unless that is spoken of itself.
#[test]
fn the_limit_that_adapts_stays_within_the_fixed_one() {
    for (said, bounds) in [
        ("", Some((5, 200, 1_024))),
        ("concurrency_limit: off", Some((5, 200, 1_024))),
        ("concurrency_limit: {limit: 3000}", Some((5, 200, 3_000))),
        ("concurrency_limit: {limit: 50}", Some((5, 50, 50))),
        ("concurrency_limit: {limit: 5}", None),
        ("concurrency_limit: {limit: 50}, adaptive: off", None),
        ("concurrency_limit: {limit: 50}, adaptive: {limit_max: 40, limit_initial: 10}", Some((5, 10, 40))),
    ] {
        let text = format!(
            "services: {{one: {{urls: [\"http://127.0.0.1:1\"], {said}}}}}\nroutes: [{{path: /, service: one}}]\n"
        );
        let config = Config::parse("leeward.yaml", &text, &Env::default()).unwrap_or_else(|e| panic!("{e}"));
        let printed = Config::parse("printed.yaml", &config.to_yaml(), &Env::default()).unwrap();
        for config in [&config, &printed] {
            let adaptive = config.services["one"].policies.adaptive.as_ref();
            let got = adaptive.map(|it| (it.limit_min.get(), it.limit_initial.get(), it.limit_max.get()));
            assert_eq!(got, bounds, "{said}");
        }
    }
}

#[test]
fn an_endpoint_has_a_port_that_is_one() {
    let read = |url: &str| {
        let yaml = format!("routes: [{{path: /, service: \"{url}\"}}]");
        Config::parse("leeward.yaml", &yaml, &Env::default()).map_err(|error| error.to_string())
    };
    for fine in ["http://a:80", "http://a/", "http://127.0.0.1:65535", "http://[::1]:1", "http://a_b.c-d"] {
        assert!(read(fine).is_ok(), "{fine}: {}", read(fine).unwrap_err());
    }
    for wrong in ["http://a:65536", "http://a:0", "http://a:", "http://a:8)0", "http://a(b:80"] {
        let report = read(wrong).unwrap_err();
        assert!(report.contains("is not the URL of an endpoint"), "{wrong}: {report}");
    }
}

#[test]
fn no_service_is_called_as_the_gateway_is() {
    let yaml = "services: {gateway: {urls: [\"http://127.0.0.1:1\"]}}\nroutes: [{path: /, service: gateway}]";
    let error = Config::parse("leeward.yaml", yaml, &Env::default()).unwrap_err().to_string();
    assert!(error.contains("`gateway` is the gateway itself"), "{error}");
}

#[test]
fn mistakes_about_issuers_are_reported_with_their_place() {
    let env = Env::from_pairs([
        ("SHORT", "hunter2"),
        ("PEM", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"),
    ]);
    let error = Config::parse("leeward.yaml", include_str!("config/issuers.yaml"), &env).unwrap_err();
    let report = format!("{error}\n");
    assert_eq!(report, include_str!("config/issuers.report"), "\n{report}");
    assert!(!report.contains("hunter2"));
}

#[test]
fn mistakes_of_a_listener_are_reported_at_their_place() {
    let text = include_str!("config/listen.wrong.yaml");
    let report = format!("{}\n", Config::parse("a.yaml", text, &Env::default()).unwrap_err());
    assert_eq!(report, include_str!("config/listen.wrong.report"), "\n{report}");
    // An address from outside would take the encryption away without a word.
    let list = "listen: [127.0.0.1:1]\nroutes: [{path: /, service: \"http://a:1\"}]";
    let env = Env::from_pairs([("LEEWARD_LISTEN", "127.0.0.1:9")]);
    let error = Config::parse("a.yaml", list, &env).unwrap_err().to_string();
    assert!(error.contains("a.yaml:1:9: listen: is a list, and LEEWARD_LISTEN sets one address"), "{error}");
}

#[test]
fn mistakes_about_callers_are_reported_and_what_stands_there_is_not() {
    let text = include_str!("config/callers.wrong.yaml");
    let report = format!("{}\n", Config::parse("a.yaml", text, &Env::default()).unwrap_err());
    assert_eq!(report, include_str!("config/callers.wrong.report"), "\n{report}");
    assert!(!report.contains("hunter2"));
}

#[test]
fn mistakes_of_a_split_are_reported_at_their_place() {
    let text = include_str!("config/split.wrong.yaml");
    let report = format!("{}\n", Config::parse("a.yaml", text, &Env::default()).unwrap_err());
    assert_eq!(report, include_str!("config/split.wrong.report"), "\n{report}");
}

#[test]
fn mistakes_about_security_headers_are_reported_at_their_place() {
    let text = include_str!("config/security.wrong.yaml");
    let env = Env::from_pairs([("SECRET", "a secret that is longer than 32 bytes")]);
    let report = format!("{}\n", Config::parse("a.yaml", text, &env).unwrap_err());
    assert_eq!(report, include_str!("config/security.wrong.report"), "\n{report}");
}

#[test]
fn mistakes_of_a_tunnel_are_reported_at_their_place() {
    let text = include_str!("config/tunnel.wrong.yaml");
    let report = format!("{}\n", Config::parse("a.yaml", text, &Env::default()).unwrap_err());
    assert_eq!(report, include_str!("config/tunnel.wrong.report"), "\n{report}");
}

#[test]
fn mistakes_of_a_fallback_are_reported_at_their_place() {
    let text = include_str!("config/fallback.wrong.yaml");
    let report = format!("{}\n", Config::parse("a.yaml", text, &Env::default()).unwrap_err());
    assert_eq!(report, include_str!("config/fallback.wrong.report"), "\n{report}");
}

/// What many routes have in common one of them may do without.
#[test]
fn a_fallback_of_a_named_policy_may_be_off() {
    let read = |own: &str| {
        let text = format!(
            "services: {{one: {{}}, two: {{}}}}\npolicies: {{routes: {{safe: {{fallback: {{service: two, within: 50ms}}}}}}}}\n\
             routes: [{{path: /, service: one, policy: safe{own}}}]\n"
        );
        Config::parse("a.yaml", &text, &Env::default()).unwrap_or_else(|error| panic!("{error}"))
    };
    let within = |config: &Config| {
        let fallback = config.routes[0].fallback.as_ref()?;
        Some((fallback.substitute.to_string(), fallback.options.within.as_millis()))
    };
    assert_eq!(within(&read("")), Some(("two".to_owned(), 50)));
    assert_eq!(within(&read(", fallback: {within: 1s}")), Some(("two".to_owned(), 1_000)));
    assert_eq!(within(&read(", fallback: off")), None);
}

#[test]
fn mistakes_about_shedding_are_reported_at_their_place() {
    let text = include_str!("config/shed.wrong.yaml");
    let report = format!("{}\n", Config::parse("a.yaml", text, &Env::default()).unwrap_err());
    assert_eq!(report, include_str!("config/shed.wrong.report"), "\n{report}");
}

#[test]
fn mistakes_about_policies_of_routes_are_reported_at_their_place() {
    let text = include_str!("config/policies.wrong.yaml");
    let report = format!("{}\n", Config::parse("a.yaml", text, &Env::default()).unwrap_err());
    assert_eq!(report, include_str!("config/policies.wrong.report"), "\n{report}");
}

/// Wherever a URL may stand.
#[test]
fn a_password_in_a_url_is_refused_and_not_repeated() {
    let with = |place: &str, url: &str| match place {
        "route" => format!("routes: [{{path: /, service: \"{url}\"}}]"),
        "urls" => format!("services: {{a: {{urls: [\"{url}\"]}}}}\nroutes: [{{path: /, service: a}}]"),
        "jwt" => format!("jwt: {{url: \"{url}/keys\"}}\nroutes: [{{path: /, service: \"http://a:1\"}}]"),
        "redirect" => format!("routes: [{{path: /, redirect: \"{url}/b\"}}]"),
        _ => format!("cors: {{origins: [\"{url}\"]}}\nroutes: [{{path: /, service: \"http://a:1\"}}]"),
    };
    for place in ["route", "urls", "jwt", "redirect", "cors"] {
        for scheme in ["http", "https"] {
            let text = with(place, &format!("{scheme}://hunter:hunter2@a:1"));
            let report = Config::parse("a.yaml", &text, &Env::default()).unwrap_err().to_string();
            assert!(report.contains("://...@a:1") || place == "urls", "{place}: {report}");
            assert!(!report.contains("hunter"), "{place}: {report}");
        }
    }
    let report =
        Config::parse("a.yaml", &with("route", "http://hunter:hunter2@a:1"), &Env::default()).unwrap_err();
    assert!(report.to_string().contains("has a name or a password in front of its host"), "{report}");
}

#[test]
fn mistakes_about_lookups_are_reported_at_their_place() {
    let text = include_str!("config/dns.wrong.yaml");
    let report = format!("{}\n", Config::parse("a.yaml", text, &Env::default()).unwrap_err());
    assert_eq!(report, include_str!("config/dns.wrong.report"), "\n{report}");
}

#[test]
fn an_open_admin_api_needs_a_token() {
    let text = "admin: {listen: \"0.0.0.0:9900\", unsafe_beyond_loopback: true}\nroutes: [{path: /, service: \"http://a:1\"}]";
    let error = Config::parse("a.yaml", text, &Env::default()).unwrap_err().to_string();
    assert!(error.contains("a.yaml:1:17: admin.listen: `0.0.0.0:9900` is not a loopback address"), "{error}");
}

#[test]
fn every_page_with_credentials_is_refused() {
    let text = "cors: {origins: \"*\", credentials: true}\nroutes: [{path: /, service: \"http://a:1\"}]";
    let error = Config::parse("a.yaml", text, &Env::default()).unwrap_err().to_string();
    assert!(error.contains("any page could act as the user"), "{error}");
}

#[test]
fn the_environment_wins_over_the_file() {
    let env = Env::from_pairs([("LEEWARD_LISTEN", "127.0.0.1:9"), ("LEEWARD_ADMIN_LISTEN", "127.0.0.1:10")]);
    let config = Config::parse("a.yaml", "routes: [{path: /, service: \"http://a:1\"}]", &env).unwrap();
    assert_eq!((config.listen[0].address.port(), config.admin.listen.port()), (9, 10));
}

#[tokio::test]
async fn a_taken_port_is_one_line_that_says_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = crate::rig::parse("routes: [{path: /, service: \"http://127.0.0.1:1\"}]");
    config.listen[0].address = taken.local_addr().unwrap();
    let error = Gateway::builder(config).start(&Tasks::new()).await.unwrap_err().to_string();
    assert!(error.contains(&taken.local_addr().unwrap().to_string()) && error.contains("in use"), "{error}");
    assert_eq!(error.lines().count(), 1);
}

#[tokio::test]
async fn a_service_that_is_nowhere_is_named() {
    let config = crate::rig::parse(
        "services: {orders: {}, users: {}, here: {urls: [\"http://a:1\"]}}\nroutes: [{path: /, service: orders}]",
    );
    let error = Gateway::builder(config).start(&Tasks::new()).await.unwrap_err().to_string();
    assert!(error.contains("no endpoints for `orders`, `users`: give"), "{error}");
}

#[test]
fn the_shops_own_configuration_is_right() {
    let text = include_str!("../../../../leeward.yaml");
    let config =
        Config::parse("leeward.yaml", text, &Env::default()).unwrap_or_else(|error| panic!("{error}"));
    assert!(config.routes.len() > 10);
    // What hashes a password is limited by address, to less than the pool of one core makes.
    let auth = config.routes.iter().find(|route| route.pattern.text() == "/api/v1/auth").unwrap();
    let limit = auth.rate_limit.as_ref().unwrap();
    assert!(auth.access == Rule::Anyone && limit.period == Duration::from_secs(1), "{limit:?}");
    assert!(limit.limit.get() < 40 && limit.burst.get() < 48, "{limit:?}");
    let printed = config.to_yaml();
    Config::parse("printed.yaml", &printed, &Env::default())
        .unwrap_or_else(|error| panic!("{error}\n{printed}"));
}

/// Words of the file, values of all kinds, and what holds them together.
const WORDS: [&str; 40] = [
    "listen",
    "routes",
    "path",
    "service",
    "services",
    "limits",
    "body",
    "head",
    "cors",
    "origins",
    "jwt",
    "admin",
    "token",
    "access",
    "- ",
    ": ",
    "\n",
    "\n  ",
    "\n    ",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "#",
    "|",
    ">",
    "&a ",
    "*a ",
    "!!str ",
    "---",
    "10s",
    "-1",
    "1e999",
    "99999999999999999999",
    "http://127.0.0.1:1",
    "/a/{b}",
    "role:",
    "\u{0}",
];

proptest! {
    /// A report of what is wrong, or a configuration; never a panic.
    #[test]
    fn any_text_is_a_configuration_or_a_report(
        words in prop::collection::vec(prop_oneof![4 => prop::sample::select(WORDS.to_vec()).prop_map(str::to_owned), 1 => "\\PC{0,8}"], 0..60),
    ) {
        if let Err(problems) = Config::parse("leeward.yaml", &words.concat(), &Env::default()) {
            prop_assert!(!problems.to_string().is_empty());
        }
    }
}
