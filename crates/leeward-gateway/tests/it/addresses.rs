//! Who may come, by address: at all, and to a route; from files; the mistakes.

use std::fmt::Write as _;

use leeward_gateway::Config;
use leeward_runtime::Env;

use crate::rig::{Answer, Rig, Upstream};

async fn get_from(rig: &Rig, client: &str, path: &str) -> Answer {
    rig.send(rig.request("GET", path).header("x-forwarded-for", client), "").await
}

#[tokio::test]
async fn a_route_is_for_some_of_those_who_may_come() {
    let upstream = Upstream::start().await;
    let yaml = format!(
        "trusted_proxies: [127.0.0.1]\nexplain_to: [10.0.0.0/8]\nallow: [127.0.0.1, 10.0.0.0/8]\ndeny: [10.6.0.0/16]\n\
         cors: {{origins: [\"https://shop.example\"]}}\nroutes:\n  \
         - {{path: /, service: \"{0}\"}}\n  - {{path: /office, service: \"{0}\", allow: [10.1.0.0/16, 11.0.0.0/8]}}\n  \
         - {{path: /elsewhere, service: \"{0}\", deny: 10.1.0.0/16}}\n",
        upstream.url()
    );
    let rig = Rig::start(&yaml).await;
    for (client, path, fine) in [
        ("10.2.0.1", "/a", true),
        ("10.6.0.1", "/a", false),
        ("11.0.0.1", "/a", false),
        ("11.0.0.1", "/office", false),
        ("10.1.0.1", "/office", true),
        ("10.2.0.1", "/office/x", false),
        ("10.1.0.1", "/elsewhere", false),
        ("10.2.0.1", "/elsewhere", true),
        ("10.6.0.1", "/health/live", false),
        ("10.2.0.1", "/health/live", true),
    ] {
        let answer = get_from(&rig, client, path).await;
        assert_eq!(answer.status, if fine { 200 } else { 403 }, "{client} {path}");
        if !fine {
            assert_eq!(
                (answer.code().as_str(), &answer.json()["stage"]),
                ("address_refused", &"address".into())
            );
        }
    }
    assert_eq!(upstream.hits(), 3);
    // A page is told why, and who is to be told more is.
    let request = rig.request("GET", "/office").header("x-forwarded-for", "10.2.0.1");
    let answer = rig.send(request.header("origin", "https://shop.example"), "").await;
    assert_eq!(answer.header("access-control-allow-origin"), "https://shop.example");
    assert!(answer.json()["hint"].as_str().unwrap().contains("`allow` and `deny`"), "{answer:?}");
    assert_eq!(answer.json()["config"], "leeward.yaml:8");
    let metrics = rig.metrics().await;
    assert!(metrics.contains("stage=\"address\",code=\"address_refused\"} 7"), "{metrics}");
}

#[tokio::test]
async fn a_list_may_be_a_file_of_thousands() {
    let (upstream, folder) = (Upstream::start().await, tempfile::tempdir().unwrap());
    let mut text = "# who misbehaved\n\n".to_owned();
    for n in 0..20_000 {
        // Every second /24 of 11.0.0.0/8 and what follows.
        writeln!(text, "{}.{}.{}.0/24 # {n}", 11 + (n >> 15), (n >> 7) & 255, (n & 127) * 2).unwrap();
    }
    let path = folder.path().join("blocked.txt");
    std::fs::write(&path, &text).unwrap();
    let yaml = format!(
        "trusted_proxies: [127.0.0.1]\ndeny: [\"file:{}\", 9.9.9.9]\nroutes: [{{path: /, service: \"{}\"}}]\n",
        path.display(),
        upstream.url()
    );
    let rig = Rig::start(&yaml).await;
    assert_eq!(rig.gateway.config().addresses.deny.ranges(), 20_001);
    for (client, status) in
        [("11.0.0.255", 403), ("11.0.1.0", 200), ("11.156.30.7", 403), ("11.156.31.7", 200), ("9.9.9.9", 403)]
    {
        assert_eq!(get_from(&rig, client, "/").await.status, status, "{client}");
    }
    // The file is named, not poured out.
    let printed = rig.gateway.config().to_yaml();
    assert!(printed.contains("blocked.txt\", \"9.9.9.9/32\"]"), "{printed}");
    let again = Config::parse("again.yaml", &printed, &Env::default()).unwrap();
    assert_eq!(again.addresses, rig.gateway.config().addresses);
}

#[test]
fn mistakes_are_told_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("wrong.txt"), "10.0.0.0/8\n10.0.0.0/33\n\nhost # a name\n").unwrap();
    std::fs::write(folder.path().join("empty.txt"), "# nobody\n").unwrap();
    let yaml = folder.path().join("leeward.yaml");
    let text = "allow: file:empty.txt\ndeny: [10.0.0/8, file:wrong.txt, file:missing.txt, {}]\n\
                routes:\n  - {path: /, service: \"http://a:1\", allow: []}\n";
    std::fs::write(&yaml, text).unwrap();
    let error = Config::load(&yaml, &Env::default()).unwrap_err().to_string();
    for told in [
        ":1:8: allow: `file:empty.txt` lets nobody in",
        ":2:8: deny[0]: `10.0.0/8` is not an address or a network",
        "deny[1]: `file:wrong.txt` has 2 lines that are not an address or a network, the first of them line 2, `10.0.0.0/33`",
        "deny[2]: names the file",
        "missing.txt, which cannot be read",
        "deny[3]: `a map` is not text",
        "routes[0].allow: lets nobody in",
    ] {
        assert!(error.contains(told), "{told}: {error}");
    }
}
