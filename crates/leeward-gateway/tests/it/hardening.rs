//! Options that take a protection away: their names, their table, and where they are said when they are on.

use std::collections::BTreeSet;
use std::fmt::Write;

use leeward_gateway::Config;
use leeward_gateway::lint::lint;
use leeward_gateway::relaxations::{RELAXATIONS, in_force};
use leeward_gateway::schema::shapes;
use leeward_runtime::Env;

use crate::rig::{Rig, Upstream};

/// Set, the test writes the file instead of comparing it.
const WRITE: &str = "LEEWARD_WRITE_DOCS";
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/hardening.md");

/// Every one of them on.
const ALL: &str = include_str!("hardening/all.yaml");

fn all() -> Config {
    let env = Env::from_pairs([("TOKEN", "a-token")]);
    Config::parse("all.yaml", ALL, &env).unwrap_or_else(|error| panic!("{error}"))
}

/// The path of an option as the table has it: whoever says it, and of how many.
fn plain(path: &str) -> String {
    let path = path.replace("policies.services.*", "services.*").replace("policies.routes.*", "routes[]");
    path.replace("jwt[]", "jwt").replace("[\"*\"]", ".*")
}

#[test]
fn the_table_has_every_option_of_the_parser_that_takes_something_away() {
    let known: BTreeSet<String> = shapes()
        .keys()
        .map(|path| plain(path))
        .filter(|path| path.rsplit('.').next().is_some_and(|key| key.starts_with("unsafe_")))
        .collect();
    let listed: BTreeSet<String> = RELAXATIONS.iter().map(|one| one.option.to_owned()).collect();
    assert_eq!(known, listed);
}

#[test]
fn what_is_on_is_found_and_named_with_what_it_lets_happen() {
    let config = all();
    let (found, findings) = (in_force(&config), lint(&config));
    let options: BTreeSet<&str> = found.iter().map(|one| one.relaxation.option).collect();
    let missing: Vec<_> = RELAXATIONS.iter().filter(|one| !options.contains(one.option)).collect();
    assert!(missing.is_empty(), "all.yaml has it, and nobody sees it: {missing:?}");
    for one in &found {
        assert!(config.origins.of(&one.path).is_some(), "nothing stands at {}", one.path);
        let about = |rule: &str| {
            matches!(rule, "admin-reachable" | "trusts-everyone" | "cors-without-tls" | "tls-unverified")
        };
        let section = one.path.rsplit_once(".unsafe_").map_or("", |(section, _)| section);
        let is_named = findings.iter().any(|finding| {
            (finding.rule.id == "unsafe-option"
                && finding.path == one.path
                && finding.what == one.relaxation.consequence)
                || (about(finding.rule.id)
                    && (finding.path.starts_with(section.trim_end_matches(".tls"))
                        || finding.rule.id == "trusts-everyone"))
        });
        assert!(is_named, "{}: {findings:#?}", one.path);
    }
    // The defaults take nothing away, and neither does an option that says `false`.
    let off = ALL.replace("true", "false").replace("credentials: false", "credentials: true");
    let shortest = "routes: [{path: /, service: \"http://127.0.0.1:1\", security_headers: {unsafe_omit: [], unsafe_keep_banners: false}}]";
    let config = Config::parse("a.yaml", shortest, &Env::default()).unwrap();
    assert!(in_force(&config).is_empty());
    // Without them the same file is full of mistakes: each is needed for what it allows.
    let report =
        Config::parse("a.yaml", &off, &Env::from_pairs([("TOKEN", "a-token")])).unwrap_err().to_string();
    for part in [
        "admin.listen: `10.0.0.1:9900` is not a loopback address, and nothing encrypts",
        "trusted_proxies: has 0.0.0.0/0, which is every address",
        "explain_to: has ::/0, which is every address",
        "`http://shop.example`, whose pages act as the user and come without encryption",
        "jwt[0].url: `http://idp.example/keys` brings the keys over a network without encryption",
        "is that of another issuer",
    ] {
        assert!(report.contains(part), "{part}:\n{report}");
    }
    // A proxy in front may encrypt, and nobody is on the way to loopback.
    let passwords = |top: &str| {
        let text = format!(
            "{top}\nbasic: {{file: tests/it/config/callers.passwords}}\nroutes: [{{path: /, access: user, service: \"http://127.0.0.1:1\"}}]"
        );
        Config::parse("a.yaml", &text, &Env::default()).map_err(|error| error.to_string())
    };
    let report = passwords("listen: 0.0.0.0:8080").unwrap_err();
    assert!(
        report.contains("basic: asks for passwords on 0.0.0.0:8080, where nothing encrypts them"),
        "{report}"
    );
    for fine in ["listen: 127.0.0.1:8080", "listen: 0.0.0.0:8080\ntrusted_proxies: [10.0.0.0/8]"] {
        assert!(passwords(fine).is_ok(), "{fine}");
    }
}

#[tokio::test]
async fn what_is_on_is_in_the_health_and_counted() {
    let upstream = Upstream::start().await;
    let yaml = |top: &str| format!("{top}\nroutes: [{{path: /, service: \"{}\"}}]\n", upstream.url());
    let rig =
        Rig::start(&yaml("unsafe_keep_encoded_slash: true\nsecurity_headers: {unsafe_keep_banners: true}"))
            .await;
    let said = async || {
        let own = rig.send(rig.admin("GET", "/v1/health"), "").await.json()["unsafe_options"].clone();
        (rig.get("/health").await.json()["unsafe_options"].clone(), own)
    };
    let both = serde_json::json!(["unsafe_keep_encoded_slash", "security_headers.unsafe_keep_banners"]);
    assert_eq!(said().await, (2.into(), both));
    assert!(rig.metrics().await.contains("\nleeward_gateway_unsafe_options 2\n"));
    rig.reload(&yaml("")).unwrap();
    assert_eq!(said().await, (0.into(), serde_json::json!([])));
    assert!(rig.metrics().await.contains("\nleeward_gateway_unsafe_options 0\n"));
}

#[test]
fn the_docs_list_every_one_of_them() {
    let mut text = format!(
        "<!-- Made by `{WRITE}=1 cargo nextest run -p leeward-gateway hardening::the_docs`. -->\n\n{}",
        include_str!("hardening/head.md")
    );
    text.push_str("\n| option | without it | with it |\n|---|---|---|\n");
    for one in &RELAXATIONS {
        writeln!(text, "| `{}` | {} | {} |", one.option, one.without, one.consequence).unwrap();
    }
    text.push_str(include_str!("hardening/tail.md"));
    if Env::process().get(WRITE).is_some() {
        std::fs::write(FILE, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(FILE).unwrap_or_default(), text, "write it anew: {WRITE}=1");
}
