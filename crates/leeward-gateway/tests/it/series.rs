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
