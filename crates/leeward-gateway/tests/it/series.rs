//! What is counted, and how far that grows.

use crate::rig::{Rig, Upstream};

fn lines<'m>(metrics: &'m str, name: &str) -> Vec<&'m str> {
    metrics.lines().filter(|line| line.starts_with(name)).collect()
}

#[tokio::test]
async fn routes_that_differ_by_their_host_are_counted_apart() {
    let upstream = Upstream::start().await;
    let yaml = format!(
        "services: {{a: {{urls: [\"{}\"]}}}}\nroutes:\n  - {{path: /x, service: a, hosts: [one.example], id: one}}\n  \
         - {{path: /x, service: a, hosts: [two.example], id: two}}\n",
        upstream.url()
    );
    let rig = Rig::start(&yaml).await;
    for host in ["one.example", "two.example", "two.example", "three.example"] {
        rig.send(rig.request("GET", "/x").header("host", host), "").await;
    }
    let metrics = rig.metrics().await;
    for (route, status, count) in [("one", 200, 1), ("two", 200, 2), ("none", 404, 1)] {
        let line = format!(
            "http_requests_total{{method=\"GET\",route=\"{route}\",status_code=\"{status}\"}} {count}"
        );
        assert!(metrics.lines().any(|one| one == line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn routes_beyond_the_budget_are_counted_together() {
    let upstream = Upstream::start().await;
    let mut yaml =
        format!("metrics: {{routes: 3}}\nservices: {{a: {{urls: [\"{}\"]}}}}\nroutes:\n", upstream.url());
    for number in 0..40 {
        yaml.push_str(&format!("  - {{path: /r{number}, id: r{number}, service: a}}\n"));
    }
    let rig = Rig::start(&yaml).await;
    for number in 0..40 {
        for method in ["GET", "PUT", "DELETE"] {
            rig.send(rig.request(method, &format!("/r{number}")), "").await;
        }
    }
    let metrics = rig.metrics().await;
    let requests = lines(&metrics, "http_requests_total{");
    assert_eq!(requests.len(), 3 * 4, "three routes and all others, by three methods: {requests:?}");
    let others = "http_requests_total{method=\"PUT\",route=\"other\",status_code=\"200\"} 37";
    assert!(requests.contains(&others), "{requests:?}");
    assert!(metrics.contains("leeward_gateway_routes_folded 37"), "{metrics}");
    assert_eq!(lines(&metrics, "http_request_duration_seconds_count{").len(), 3 * 4);
}

#[tokio::test]
async fn what_a_reload_takes_away_is_shown_no_more() {
    let upstream = Upstream::start().await;
    let yaml = |services: &[&str]| {
        let (mut all, mut routes) = (String::new(), String::new());
        for name in services {
            all.push_str(&format!("  {name}: {{urls: [\"{}\"]}}\n", upstream.url()));
            routes.push_str(&format!("  - {{path: /{name}, id: to-{name}, service: {name}}}\n"));
        }
        format!("services:\n{all}routes:\n{routes}")
    };
    let registry = leeward_telemetry::Registry::new();
    let directory = leeward_discovery::Directory::new();
    directory.export(&registry);
    let rig =
        Rig::with(&yaml(&["stays", "goes"]), |builder| builder.registry(registry).directory(directory)).await;
    for name in ["stays", "goes"] {
        assert_eq!(rig.get(&format!("/{name}")).await.status, 200);
        let hold = rig
            .admin("PUT", &format!("/v1/services/{name}/breaker"))
            .header("content-type", "application/json");
        assert_eq!(rig.send(hold, "{\"state\": \"open\"}").await.status, 204);
    }
    let before = rig.metrics().await;
    for part in [
        "leeward_breaker_state{policy=\"goes\"} 3",
        "leeward_endpoints{service=\"goes\"} 1",
        "route=\"to-goes\"",
    ] {
        assert!(before.contains(part), "{part}: {before}");
    }
    rig.reload(&yaml(&["stays"])).unwrap();
    let after = rig.metrics().await;
    for gone in
        ["leeward_breaker_state{policy=\"goes\"}", "leeward_endpoints{service=\"goes\"}", "route=\"to-goes\""]
    {
        assert!(!after.contains(gone), "{gone}: {after}");
        assert!(after.contains(&gone.replace("goes", "stays")), "{gone}: {after}");
    }
}

#[tokio::test]
async fn the_last_request_of_a_route_that_is_gone_brings_its_series_back_for_a_moment_only() {
    let upstream = Upstream::start().await;
    let yaml = |routes: &str| {
        format!(
            "services: {{a: {{urls: [\"{}\"]}}}}\nroutes:\n  - {{path: /stays, id: stays, service: a}}\n{routes}",
            upstream.url()
        )
    };
    let both = yaml("  - {path: /goes, id: goes, service: a}\n");
    let rig = Rig::start(&both).await;
    let slow = rig.get("/goes?sleep=400");
    let reload = async {
        rig.until("it is on its way", async || upstream.hits() == 1).await;
        rig.reload(&yaml("")).unwrap();
    };
    let (answer, ()) = tokio::join!(slow, reload);
    assert_eq!(answer.status, 200);
    let has = async |route: &str| rig.metrics().await.contains(&format!("route=\"{route}\""));
    rig.until("nobody counts it any more", async || !has("goes").await).await;

    // One that is back by then keeps what it has.
    rig.reload(&both).unwrap();
    let slow = rig.get("/goes?sleep=400");
    let away_and_back = async {
        rig.until("it is on its way", async || upstream.hits() == 2).await;
        rig.reload(&yaml("")).unwrap();
        rig.reload(&both).unwrap();
        assert_eq!(rig.get("/goes").await.status, 200);
    };
    tokio::join!(slow, away_and_back);
    for _ in 0..20 {
        assert!(has("goes").await);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Routes with a delivery each, from the first number to the last.
fn deliveries(upstream: &Upstream, numbers: std::ops::Range<usize>, more: &str) -> String {
    let url = upstream.url();
    let mut yaml =
        format!("services:\n  old: {{urls: [\"{url}\"]}}\n  new: {{urls: [\"{url}\"]}}\n{more}routes:\n");
    for number in numbers {
        let share = "{kind: canary, stable: old, candidate: new, share: 1%}";
        yaml.push_str(&format!("  - {{path: /r{number}, id: r{number}, delivery: {share}}}\n"));
    }
    yaml
}

const SPLIT: &str = "leeward_gateway_split_requests_total{";
const SHARE: &str = "leeward_gateway_delivery_share_basis_points{";

#[tokio::test]
async fn routes_with_several_services_are_counted_apart_up_to_the_budget_of_routes() {
    let upstream = Upstream::start().await;
    let rig = Rig::start(&deliveries(&upstream, 0..120, "")).await;
    let metrics = rig.metrics().await;
    assert_eq!((lines(&metrics, SPLIT).len(), lines(&metrics, SHARE).len()), (240, 120));

    let rig = Rig::start(&deliveries(&upstream, 0..5, "metrics: {routes: 3}\n")).await;
    for number in 0..5 {
        rig.get(&format!("/r{number}")).await;
    }
    let metrics = rig.metrics().await;
    let (split, share) = (lines(&metrics, SPLIT), lines(&metrics, SHARE));
    assert_eq!((split.len(), share.len()), (3 * 2 + 2, 3), "{split:?} {share:?}");
    let others = split.iter().filter(|line| line.contains("route=\"other\""));
    let count: u64 = others.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(count, 2, "{split:?}");

    // The last one moves within the budget and out of it again, and its share is shown as long as it is within.
    let order = rig.admin("PUT", "/v1/delivery/r4").header("content-type", "application/json");
    assert_eq!(rig.send(order, "{\"share\": \"7%\", \"expected\": 1}").await.status, 200);
    let shown = format!("{SHARE}route=\"r4\"}} 700");
    for (numbers, is_shown) in [(0..5, false), (2..5, true), (0..5, false), (3..5, true)] {
        rig.reload(&deliveries(&upstream, numbers.clone(), "metrics: {routes: 3}\n")).unwrap();
        assert_eq!(rig.metrics().await.contains(&shown), is_shown, "{numbers:?}");
    }
    // What it is shown as follows the next order too.
    let order = rig.admin("PUT", "/v1/delivery/r4").header("content-type", "application/json");
    assert_eq!(rig.send(order, "{\"share\": \"9%\", \"expected\": 2}").await.status, 200);
    assert!(rig.metrics().await.contains(&shown.replace("700", "900")));
}

#[tokio::test]
async fn a_refused_configuration_leaves_no_series_behind() {
    let upstream = Upstream::start().await;
    let rig = Rig::start(&deliveries(&upstream, 0..1, "")).await;
    // Refused by what is looked at last: the file is gone when the keys' TLS is made.
    let more = "jwt: {url: \"https://127.0.0.1:9/keys\", tls: {ca: /nowhere/ca.pem}}\n";
    rig.reload(&deliveries(&upstream, 0..2, more)).unwrap_err();
    let metrics = rig.metrics().await;
    assert!(!metrics.contains("route=\"r1\"") && metrics.contains("route=\"r0\""), "{metrics}");
}
