//! Callers that stand in a file: keys that are known, changed, gone; what services are told; what nobody is told.

use std::path::Path;

use leeward_gateway::Config;
use leeward_gateway::credentials::{NewKey, password_line};
use leeward_runtime::Env;
use leeward_service::identity::Identity;
use serde_json::json;

use crate::rig::{Answer, Rig, Upstream, claims, token_with};

/// The keys of `config/callers.keys`.
pub(crate) const CI: &str = "lwk_the-key-of-ci-in-tests-00000000000000";
pub(crate) const CI_HASH: &str = "aa1f680beae23b5f8ee3c5216dbcdd7c5dc1e669fe24fb2cbf7c651484405928";
pub(crate) const PARTNER: &str = "lwk_the-key-of-partner-in-tests-0000000";
pub(crate) const OLD: &str = "lwk_the-key-of-an-old-one-in-tests-00000";

const ROUTES: &str = "routes:
  - {path: /open, service: users}
  - {path: /mine, service: users, access: user}
  - {path: /forward, service: users, access: user, forward_token: true}
  - {path: /deploy, service: users, access: \"role:deploy\"}
  - {path: /plan, service: users, access: [\"claim:plan=pro,max\", \"role:customer\"]}
  - {path: /read, service: users, access: \"scope:orders:read\"}
  - {path: /limited, service: users, access: user, rate_limit: {limit: 1, period: 1h, burst: 1}}
";

fn yaml(upstream: &Upstream, file: &str, more: &str) -> String {
    let url = upstream.url();
    format!("services: {{users: {{urls: [\"{url}\"]}}}}\napi_keys: {{file: \"{file}\"}}\n{more}{ROUTES}")
}

async fn ask(rig: &Rig, key: &str, path: &str) -> Answer {
    rig.send(rig.request("GET", path).header("x-api-key", key), "").await
}

async fn rig(more: &str) -> (Rig, Upstream) {
    let upstream = Upstream::start().await;
    let identity = Identity::ephemeral("gateway").unwrap();
    let yaml = yaml(&upstream, "tests/it/config/callers.keys", more);
    (Rig::with(&yaml, |builder| builder.identity(identity)).await, upstream)
}

#[tokio::test]
async fn a_key_says_who_it_is_as_a_token_does() {
    let (rig, _upstream) = rig("").await;
    let answer = ask(&rig, PARTNER, "/mine").await;
    assert_eq!((answer.seen("x-user-id").as_str(), answer.seen("x-user-role").as_str()), ("u7", "customer"));
    assert!(answer.seen("x-user-context").contains("cart:write"));
    assert_eq!(answer.seen("x-leeward-assertion").split('.').count(), 3);
    for path in ["/open", "/mine", "/forward"] {
        for (name, value) in [("x-api-key", CI.to_owned()), ("authorization", format!("ApiKey {CI}"))] {
            let answer = rig.send(rig.request("GET", path).header(name, value), "").await;
            assert_eq!((answer.status, answer.seen("x-user-id").as_str()), (200, "key:ci"), "{path}");
            assert!(!String::from_utf8_lossy(&answer.body).contains(CI), "{path}: the key goes on in {name}");
        }
    }
}

#[tokio::test]
async fn rules_of_routes_are_for_keys_as_well() {
    let (rig, upstream) = rig("").await;
    for (key, path, status) in [
        (CI, "/deploy", 200),
        (PARTNER, "/deploy", 403),
        (OLD, "/deploy", 401),
        (CI, "/plan", 403),
        (PARTNER, "/plan", 200),
        (CI, "/read", 200),
        (PARTNER, "/read", 403),
    ] {
        assert_eq!(ask(&rig, key, path).await.status, status, "{key} {path}");
    }
    let hits = upstream.hits();
    let refused = rig.get("/deploy").await;
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, "ApiKey"));
    assert!(refused.json()["detail"].as_str().unwrap().contains("`x-api-key: KEY`"), "{refused:?}");
    assert_eq!(ask(&rig, OLD, "/mine").await.code(), "key_expired");
    assert_eq!(upstream.hits(), hits, "who is refused reaches no service");
}

#[tokio::test]
async fn each_holder_has_a_share_of_their_own() {
    let (rig, _upstream) = rig("").await;
    assert_eq!(ask(&rig, CI, "/limited").await.status, 200);
    assert_eq!(ask(&rig, CI, "/limited").await.code(), "rate_limited");
    assert_eq!(ask(&rig, PARTNER, "/limited").await.status, 200);
}

#[tokio::test]
async fn no_token_is_taken_for_the_holder_of_a_key() {
    let (rig, _upstream) = rig("jwt: {service: users}\n").await;
    let of = |sub: &str| {
        token_with("k1", &{
            let mut all = claims("u1", "customer");
            all["sub"] = json!(sub);
            all
        })
    };
    assert_eq!(rig.get_as(&of("keyci"), "/mine").await.status, 200);
    let refused = rig.get_as(&of("key:ci"), "/mine").await;
    assert_eq!((refused.status, refused.code().as_str()), (401, "token_invalid"));
    assert_eq!(ask(&rig, CI, "/mine").await.status, 200);
}

/// A file with a line for each of these.
fn write(path: &Path, keys: &[(&str, &NewKey)]) {
    let lines: Vec<String> = keys.iter().map(|(id, key)| key.line(id, &[]).unwrap() + "\n").collect();
    std::fs::write(path, lines.concat()).unwrap();
}

#[tokio::test]
async fn a_changed_file_is_in_force_and_a_wrong_one_is_not() {
    let (upstream, folder) = (Upstream::start().await, tempfile::tempdir().unwrap());
    let (file, log) = (folder.path().join("keys"), folder.path().join("access.log"));
    let (one, two) = (NewKey::random().unwrap(), NewKey::random().unwrap());
    write(&file, &[("one", &one)]);
    let log_option = format!("access_log: {{to: \"file:{}\"}}\n", log.display());
    let yaml = yaml(&upstream, &file.display().to_string(), &log_option);
    let rig = Rig::start(&yaml).await;
    let status = async |key: &NewKey| ask(&rig, key.key.reveal(), "/mine").await.status;
    assert_eq!((status(&one).await, status(&two).await), (200, 401));

    write(&file, &[("two", &two)]);
    rig.until("the new key is known", async || status(&two).await == 200).await;
    assert_eq!(status(&one).await, 401, "the one that is gone is not");
    assert!(rig.metrics().await.contains("caller_file_reloads_total{kind=\"api_keys\",outcome=\"taken\"} 1"));

    std::fs::write(&file, format!("one {}\nsecret-in-the-wrong-place {}\n", one.sha256, two.key.reveal()))
        .unwrap();
    let check = || rig.gateway.health().checks["api_keys"].value.clone();
    rig.until("the file is refused", async || check().contains("not taken")).await;
    assert!(
        check().starts_with("1 in force; the file on disk is not taken: line 2, column 27: "),
        "{}",
        check()
    );
    assert_eq!((status(&one).await, status(&two).await), (401, 200), "the one before stays");
    let report = Config::parse("a.yaml", &yaml, &Env::default()).unwrap_err().to_string();
    assert!(report.contains("api_keys.file:") && report.contains("line 2, column 27"), "{report}");
    // A reload of all the rest reads it too, and takes all or nothing.
    write(&file, &[("one", &one)]);
    rig.reload(&yaml).unwrap();
    assert_eq!((status(&one).await, status(&two).await), (200, 401));
    write(&file, &[("two", &two)]);
    rig.until("the file is followed after a reload", async || status(&two).await == 200).await;

    // What is told to anybody has no key in it.
    let told = [
        report,
        check(),
        rig.metrics().await,
        String::from_utf8(rig.send(rig.admin("GET", "/v1/config"), "").await.body.to_vec()).unwrap(),
        format!("{:?}", rig.gateway.config()),
        std::fs::read_to_string(&log).unwrap(),
    ];
    for told in told {
        for key in [&one, &two] {
            assert!(!told.contains(key.key.reveal()) && !told.contains(&key.sha256), "{told}");
        }
    }
    let user = || std::fs::read_to_string(&log).unwrap().contains("\"user\":\"key:one\"");
    rig.until("the access log says who", async || user()).await;
}

/// The passwords of `config/callers.passwords`.
pub(crate) const ANNA: &str = "Basic YW5uYTpjb3JyZWN0IGhvcnNl"; // anna:correct horse
pub(crate) const GONE: &str = "Basic Z29uZTpjb3JyZWN0IGhvcnNl"; // gone:correct horse, expired

async fn with_passwords(more: &str) -> (Rig, Upstream) {
    let upstream = Upstream::start().await;
    let more = format!("basic: {{file: tests/it/config/callers.passwords{more}}}\n");
    (Rig::start(&yaml(&upstream, "tests/it/config/callers.keys", &more)).await, upstream)
}

async fn log_in(rig: &Rig, login: &str, path: &str) -> Answer {
    rig.send(rig.request("GET", path).header("authorization", login), "").await
}

fn basic(login: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(login))
}

#[tokio::test]
async fn a_name_and_a_password_say_who_it_is() {
    let (rig, upstream) = with_passwords(", realm: desk").await;
    for path in ["/open", "/mine", "/forward", "/deploy"] {
        let answer = log_in(&rig, ANNA, path).await;
        assert_eq!((answer.status, answer.seen("x-user-id").as_str()), (200, "basic:anna"), "{path}");
        assert_eq!(answer.seen("authorization"), "", "{path}");
    }
    let hits = upstream.hits();
    for login in [
        basic("anna:correct hors"),
        basic("anna:"),
        basic("Anna:correct horse"),
        basic("nobody:correct horse"),
        basic("anna"),
        "Basic %%%".to_owned(),
        "Basic".to_owned(),
        GONE.to_owned(),
    ] {
        let refused = log_in(&rig, &login, "/mine").await;
        assert_eq!((refused.status, refused.code().as_str()), (401, "password_invalid"), "{login}");
        let challenges: Vec<_> = refused.headers.get_all("www-authenticate").iter().collect();
        assert_eq!(challenges, ["ApiKey", "Basic realm=\"desk\", charset=\"UTF-8\""]);
    }
    let both = rig.request("GET", "/mine").header("authorization", ANNA).header("x-api-key", CI);
    assert_eq!(rig.send(both, "").await.code(), "two_speakers");
    assert_eq!(upstream.hits(), hits, "who is refused reaches no service");
    let nobody = log_in(&rig, &basic("anna:wrong"), "/open").await;
    assert_eq!((nobody.status, nobody.seen("x-user-id").as_str()), (200, ""));
}

#[tokio::test]
async fn guesses_are_limited_by_address_and_a_known_password_is_no_guess() {
    let (rig, _upstream) = with_passwords(", attempts: 1/h burst 5").await;
    // Each of two cores checks it once at most, and no right one is a guess.
    for _ in 0..20 {
        assert_eq!(log_in(&rig, ANNA, "/mine").await.status, 200);
    }
    let mut codes = Vec::new();
    for guess in 0..6 {
        codes.push(log_in(&rig, &basic(&format!("anna:guess {guess}")), "/mine").await.code());
    }
    let limited = codes.iter().position(|code| code == "rate_limited").unwrap();
    assert_eq!(limited, 5, "{codes:?}");
    assert!(codes[limited..].iter().all(|code| code == "rate_limited"), "{codes:?}");
    assert_eq!(ask(&rig, CI, "/mine").await.status, 200, "who has a key is not concerned");
}

#[tokio::test]
async fn a_password_that_is_changed_is_not_remembered() {
    let (upstream, folder) = (Upstream::start().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("passwords");
    let put = |password: &str| {
        std::fs::write(&file, password_line("anna", password, &[]).unwrap()).unwrap();
    };
    put("the first one");
    let more = format!("basic: {{file: \"{}\"}}\n", file.display());
    let rig = Rig::start(&yaml(&upstream, "tests/it/config/callers.keys", &more)).await;
    let status =
        async |password: &str| log_in(&rig, &basic(&format!("anna:{password}")), "/mine").await.status;
    assert_eq!((status("the first one").await, status("the second one").await), (200, 401));
    put("the second one");
    // Asked with the old one only: each answer is from what is remembered.
    rig.until("the old one is forgotten", async || status("the first one").await == 401).await;
    assert_eq!(status("the second one").await, 200);
}
