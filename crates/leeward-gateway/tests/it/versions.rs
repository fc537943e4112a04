//! Several versions of an API side by side, and one that is going away.

use leeward_gateway::Config;
use leeward_gateway::explain::explain;
use leeward_runtime::Env;

use crate::rig::{Rig, Upstream};

/// The configuration of the docs, with the addresses of services that are there.
fn documented(one: &Upstream, two: &Upstream) -> String {
    let page = include_str!("../../docs/delivery.md");
    let section = page.split_once("## Versions of an API").unwrap().1;
    let text = section.split_once("```yaml\n").unwrap().1.split_once("```").unwrap().0;
    text.replace("http://127.0.0.1:4001", &one.url()).replace("http://127.0.0.1:4002", &two.url())
}

#[tokio::test]
async fn a_version_is_chosen_by_path_header_query_and_media_type_as_the_docs_say() {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let rig = Rig::start(&documented(&one, &two)).await;
    for (path, header, service) in [
        ("/v1/orders/7", None, "orders-1"),
        ("/v2/orders/7", None, "orders-2"),
        ("/orders", None, "orders-1"),
        ("/orders", Some(("x-api-version", "1")), "orders-1"),
        ("/orders", Some(("x-api-version", "2")), "orders-2"),
        ("/orders?version=2", None, "orders-2"),
        ("/orders", Some(("accept", "application/vnd.shop.v2+json")), "orders-2"),
        ("/orders", Some(("accept", "*/*")), "orders-1"),
    ] {
        let request = rig.request("GET", path);
        let request = header.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        let answer = rig.send(request, "").await;
        assert_eq!((answer.status, answer.header("x-service-name")), (200, service), "{path} {header:?}");
        assert!(answer.json()["target"].as_str().unwrap().starts_with("/orders"), "{path}");
    }
    let before = one.hits() + two.hits();
    let unknown = rig.send(rig.request("GET", "/orders").header("x-api-version", "3"), "").await;
    assert_eq!(unknown.status, 400);
    assert!(String::from_utf8_lossy(&unknown.body).contains("1, 2"), "{unknown:?}");
    assert_eq!(rig.get("/v3/orders").await.status, 404);
    assert_eq!(one.hits() + two.hits(), before, "neither reaches a service");
}

const GOING: &str = "routes:\n  - {path: /, service: \"URL\", methods: [GET], access: user, deprecated: {since: 2026-01-31, sunset: 2026-12-31, link: /moving}}\n  \
                     - {path: /stays, service: \"URL\"}\n  - {path: /soon, respond: {status: 204}, deprecated: {since: 2030-01-01}}\n";

#[tokio::test]
async fn whatever_a_route_that_is_going_away_answers_says_so() {
    let upstream = Upstream::start().await;
    let yaml =
        format!("jwt: {{service: users}}\nservices: {{users: {{urls: [\"{}\"]}}}}\n{GOING}", upstream.url());
    let rig = Rig::start(&yaml.replace("URL", &upstream.url())).await;
    let token = crate::rig::token("anna", "customer");
    for (answer, status) in [(rig.get_as(&token, "/a").await, 200), (rig.get("/a").await, 401)] {
        assert_eq!(answer.status, status);
        // As in RFC 9745, 2.1: a date of structured fields.
        assert_eq!(answer.header("deprecation"), "@1769817600");
        assert_eq!(answer.header("sunset"), "Thu, 31 Dec 2026 00:00:00 GMT");
        assert_eq!(answer.header("link"), "</moving>; rel=\"deprecation\"");
    }
    let soon = rig.get("/soon").await;
    assert_eq!((soon.header("deprecation"), soon.headers.contains_key("sunset")), ("@1893456000", false));
    let stays = rig.get("/stays").await;
    for name in ["deprecation", "sunset", "link"] {
        assert!(!stays.headers.contains_key(name), "{name}");
    }
}

#[test]
fn it_is_told_before_it_happens() {
    let text = GOING.replace("URL", "http://127.0.0.1:1").replace(", access: user", "");
    let config = Config::parse("a.yaml", &text, &Env::default()).unwrap();
    let told = |path: &str| explain(&config, "GET", path, &[]).unwrap().to_string();
    assert!(told("/a").contains("deprecated     since 2026-01-31, ends 2026-12-31"), "{}", told("/a"));
    assert!(!told("/stays").contains("deprecated"), "{}", told("/stays"));
}
