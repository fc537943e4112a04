//! New versions that take over while operators watch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::rig::{Answer, Rig, Upstream};

async fn rig(delivery: &str) -> (Arc<Rig>, Upstream, Upstream) {
    let (old, new) = (Upstream::start().await, Upstream::start().await);
    let rig = Rig::start(&yaml(&old, &new, delivery)).await;
    (Arc::new(rig), old, new)
}

fn yaml(old: &Upstream, new: &Upstream, delivery: &str) -> String {
    format!(
        "rate_limits: {{address: \"off\"}}\nservices:\n  old: {{urls: [\"{}\"]}}\n  new: {{urls: [\"{}\"]}}\n\
         routes:\n  - {{path: /a, id: a, {delivery}}}\n  - {{path: /b, service: old}}\n",
        old.url(),
        new.url()
    )
}

const CANARY: &str = "delivery: {kind: canary, stable: old, candidate: new, share: 10%}, deal: turns";

async fn order(rig: &Rig, order: Value) -> Answer {
    let request = rig.admin("PUT", "/v1/delivery/a").header("content-type", "application/json");
    rig.send(request, order.to_string()).await
}

async fn state(rig: &Rig) -> Value {
    rig.send(rig.admin("GET", "/v1/delivery/a"), "").await.json()
}

/// How many of so many requests go to the candidate.
async fn to_new(rig: &Rig, new: &Upstream, requests: usize) -> usize {
    let before = new.hits();
    for _ in 0..requests {
        assert_eq!(rig.get("/a").await.status, 200);
    }
    new.hits() - before
}

#[tokio::test]
async fn an_operator_moves_the_share_step_by_step() {
    let (rig, _old, new) = rig(CANARY).await;
    let first = state(&rig).await;
    assert_eq!(
        (&first["share"], &first["begins"], &first["version"]),
        (&json!("10%"), &json!("10%"), &json!(1))
    );
    assert_eq!(
        (&first["stable"], &first["candidate"], &first["kind"]),
        (&json!("old"), &json!("new"), &json!("canary"))
    );
    assert_eq!(to_new(&rig, &new, 100).await, 10);
    for (asked, share, version) in [
        (json!({"share": "25%", "expected": 1}), 25, 2),
        (json!({"share": "12.5%", "expected": 2}), 12, 3),
        (json!({"action": "promote", "expected": 3}), 100, 4),
        (json!({"action": "abort"}), 0, 5),
    ] {
        let answer = order(&rig, asked.clone()).await;
        assert_eq!((answer.status, &answer.json()["version"]), (200, &json!(version)), "{asked}: {answer:?}");
        // Of 200, so that 12.5 % are whole requests.
        let got = to_new(&rig, &new, 200).await;
        assert_eq!(got / 2, share, "{asked}: {got} of 200");
        let shown = rig.metrics().await;
        let exact = if share == 12 { 1_250 } else { share * 100 };
        let line = format!("leeward_gateway_delivery_share_basis_points{{route=\"a\"}} {exact}\n");
        assert!(shown.contains(&line), "{line}: {shown}");
    }
    let all = rig.send(rig.admin("GET", "/v1/delivery"), "").await.json();
    assert_eq!((all.as_array().unwrap().len(), &all[0]["share"]), (1, &json!("0%")), "{all}");
}

#[tokio::test]
async fn an_order_that_is_none_or_comes_too_late_changes_nothing() {
    let (rig, _old, _new) = rig(CANARY).await;
    for (asked, status, code) in [
        (json!({"share": "20%", "expected": 7}), 409, "delivery_moved"),
        (json!({"action": "abort", "expected": 0}), 409, "delivery_moved"),
        (json!({"share": "20%"}), 422, "bad_order"),
        (json!({"action": "promote"}), 422, "bad_order"),
        (json!({"share": "101%", "expected": 1}), 422, "bad_order"),
        (json!({"share": "1.234%", "expected": 1}), 422, "bad_order"),
        (json!({"share": "5%", "action": "abort", "expected": 1}), 422, "bad_order"),
        (json!({"expected": 1}), 422, "bad_order"),
    ] {
        let answer = order(&rig, asked.clone()).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{asked}: {answer:?}");
    }
    assert_eq!(order(&rig, json!({"share": "20%", "expected": 7})).await.json()["version"], 1);
    assert_eq!(order(&rig, json!({"share": "20%", "expected": 1, "sure": true})).await.status, 422);
    for path in ["/v1/delivery/b", "/v1/delivery/nobody"] {
        let request = rig.admin("PUT", path).header("content-type", "application/json");
        assert_eq!(rig.send(request, "{\"action\":\"abort\"}").await.status, 404, "{path}");
    }
    let page = rig.admin("PUT", "/v1/delivery/a").header("content-type", "application/json");
    let page = page.header("origin", "https://evil.example");
    assert_eq!(rig.send(page, "{\"action\":\"abort\"}").await.status, 403);
    let state = state(&rig).await;
    assert_eq!((&state["share"], &state["version"]), (&json!("10%"), &json!(1)));
}

#[tokio::test]
async fn blue_and_green_change_at_one_moment() {
    let (rig, _old, new) = rig("delivery: {kind: blue_green, stable: old, candidate: new}").await;
    assert_eq!(to_new(&rig, &new, 20).await, 0);
    let half = order(&rig, json!({"share": "50%", "expected": 1})).await;
    assert_eq!((half.status, half.code().as_str()), (422, "bad_order"), "{half:?}");
    assert_eq!(order(&rig, json!({"action": "promote", "expected": 1})).await.status, 200);
    assert_eq!(to_new(&rig, &new, 20).await, 20);
    assert_eq!(order(&rig, json!({"share": "0%", "expected": 2})).await.status, 200);
    assert_eq!(to_new(&rig, &new, 20).await, 0);
}

#[tokio::test]
async fn a_reload_leaves_it_where_it_is_unless_the_file_says_another_one() {
    let (rig, old, new) = rig(CANARY).await;
    assert_eq!(order(&rig, json!({"share": "50%", "expected": 1})).await.status, 200);
    rig.reload(&yaml(&old, &new, &format!("{CANARY}, deadline: 9s"))).unwrap();
    assert_eq!((&state(&rig).await["share"], to_new(&rig, &new, 20).await), (&json!("50%"), 10));
    let other = yaml(&old, &new, "delivery: {kind: canary, stable: old, candidate: new, share: 30%}");
    rig.reload(&other).unwrap();
    let after = state(&rig).await;
    assert_eq!(
        (&after["share"], &after["version"]),
        (&json!("30%"), &json!(3)),
        "who knew version 2 is told"
    );
    assert_eq!(order(&rig, json!({"share": "60%", "expected": 2})).await.status, 409);
    assert!(rig.metrics().await.contains("basis_points{route=\"a\"} 3000\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_it_moves() {
    let (rig, _old, new) = rig(CANARY).await;
    let (stop, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(parking_lot::Mutex::new(Vec::new())));
    let clients = (0..4).map(|_| {
        let (rig, stop, failed) = (Arc::clone(&rig), Arc::clone(&stop), Arc::clone(&failed));
        let asking = async move {
            while !stop.load(Ordering::Relaxed) {
                let answer = rig.get("/a").await;
                if answer.status != 200 {
                    failed.lock().push(answer);
                    return;
                }
            }
        };
        #[allow(clippy::disallowed_methods, reason = "a test's own clients")]
        tokio::spawn(asking)
    });
    let clients: Vec<_> = clients.collect();
    for (version, share) in (1_u64..).zip([0, 20, 40, 60, 80, 100, 50, 0, 100]) {
        let (asked, before) = (json!({"share": format!("{share}%"), "expected": version}), new.hits());
        assert_eq!(order(&rig, asked).await.status, 200);
        if share > 0 {
            rig.until("the candidate gets requests", async || new.hits() >= before + 5).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert!(failed.lock().is_empty(), "{:?}", failed.lock());
    assert_eq!(to_new(&rig, &new, 20).await, 20);
}

#[tokio::test]
async fn who_stays_with_the_candidate_is_not_sent_back_by_a_larger_share() {
    let delivery =
        "delivery: {kind: canary, stable: old, candidate: new, share: 20%}, sticky: header x-tenant";
    let (rig, _old, _new) = rig(delivery).await;
    let homes = async || {
        let mut homes = Vec::new();
        for tenant in 0..100 {
            let request = rig.request("GET", "/a").header("x-tenant", format!("t{tenant}"));
            homes.push(rig.send(request, "").await.header("x-service-name").to_owned());
        }
        homes
    };
    let before = homes().await;
    assert_eq!(order(&rig, json!({"share": "60%", "expected": 1})).await.status, 200);
    let after = homes().await;
    let moves =
        |from: &str, to: &str| before.iter().zip(&after).filter(|(b, a)| *b == from && *a == to).count();
    assert_eq!(moves("new", "old"), 0);
    assert!((20..=60).contains(&moves("old", "new")), "{}", moves("old", "new"));
}

/// A gateway that keeps its deliveries in a file.
async fn kept(yaml: &str, file: &std::path::Path) -> Rig {
    Rig::with(yaml, |builder| builder.deliveries(file)).await
}

async fn stop(rig: Rig) {
    let _report = rig.tasks.shutdown(std::time::Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_restart_goes_on_where_operators_left_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deliveries.json");
    let (old, new) = (Upstream::start().await, Upstream::start().await);
    let yaml_of = |delivery: &str| yaml(&old, &new, delivery);
    let rig = kept(&yaml_of(CANARY), &file).await;
    assert_eq!(order(&rig, json!({"share": "30%", "expected": 1})).await.status, 200);
    let before = state(&rig).await;
    stop(rig).await;

    let rig = kept(&yaml_of(CANARY), &file).await;
    assert_eq!(state(&rig).await, before, "the share, the version and since when");
    assert_eq!(to_new(&rig, &new, 100).await, 30);
    assert!(
        rig.gateway.explain().contains("delivery of a: new has 30% (10% in the configuration), version 2"),
        "{}",
        rig.gateway.explain()
    );
    let routes = rig.send(rig.admin("GET", "/v1/routes"), "").await.json();
    assert_eq!(
        routes[0]["delivery"],
        json!({"candidate": "new", "share": "30%", "begins": "10%", "version": 2})
    );
    assert!(routes[1].get("delivery").is_none(), "{routes}");
    stop(rig).await;

    // Another delivery begins anew, and its versions go on.
    let other = CANARY.replace("10%", "20%");
    let rig = kept(&yaml_of(&other), &file).await;
    let begun = state(&rig).await;
    assert_eq!((&begun["share"], &begun["version"]), (&json!("20%"), &json!(3)));
    // One that a reload took away is not there after a restart either.
    assert_eq!(order(&rig, json!({"action": "promote", "expected": 3})).await.status, 200);
    rig.reload(&yaml_of("service: old")).unwrap();
    stop(rig).await;
    let rig = kept(&yaml_of(&other), &file).await;
    assert_eq!(state(&rig).await["share"], json!("20%"));
}

#[tokio::test]
async fn what_cannot_be_kept_is_not_done_but_for_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("state");
    std::fs::create_dir(&inner).unwrap();
    let (old, new) = (Upstream::start().await, Upstream::start().await);
    let rig = kept(&yaml(&old, &new, CANARY), &inner.join("deliveries.json")).await;
    std::fs::remove_dir_all(&inner).unwrap();
    let refused = order(&rig, json!({"share": "30%", "expected": 1})).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "delivery_not_kept"));
    assert!(refused.json()["detail"].as_str().unwrap().contains("deliveries.json"), "{refused:?}");
    assert_eq!((&state(&rig).await["share"], to_new(&rig, &new, 100).await), (&json!("10%"), 10));
    assert_eq!(order(&rig, json!({"action": "abort"})).await.status, 200);
    assert_eq!(to_new(&rig, &new, 20).await, 0);
}

#[tokio::test]
async fn a_file_that_is_none_keeps_the_gateway_from_starting_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deliveries.json");
    let (old, new) = (Upstream::start().await, Upstream::start().await);
    let config = || crate::rig::parse(&yaml(&old, &new, CANARY));
    for text in ["{", "{\"format\": 2, \"deliveries\": []}", "[]"] {
        std::fs::write(&file, text).unwrap();
        let tasks = leeward_runtime::Tasks::new();
        let error =
            leeward_gateway::Gateway::builder(config()).deliveries(&file).start(&tasks).await.unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("deliveries.json is no list of deliveries") && error.contains("remove it"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn an_order_may_be_for_a_tag() {
    let (rig, _old, _new) = rig(CANARY).await;
    let get = rig.send(rig.admin("GET", "/v1/delivery/a"), "").await;
    let first = get.header("etag").to_owned();
    assert!(first.starts_with('"') && first.ends_with('"'), "{first}");
    let put = async |tag: &str, body: Value| {
        let request = rig
            .admin("PUT", "/v1/delivery/a")
            .header("content-type", "application/json")
            .header("if-match", tag);
        rig.send(request, body.to_string()).await
    };
    let moved = put(&first, json!({"share": "20%"})).await;
    assert_eq!((moved.status, &moved.json()["version"]), (200, &json!(2)));
    let second = moved.header("etag").to_owned();
    assert_ne!(first, second);
    let late = put(&first, json!({"share": "30%"})).await;
    assert_eq!(
        (late.status, late.code().as_str(), &late.json()["version"]),
        (412, "delivery_moved", &json!(2))
    );
    assert_eq!(put(&first, json!({"action": "abort"})).await.status, 412, "who names a tag means it");
    for wrong in ["*", "W/\"2\"", "2", &format!("{first}, {second}")] {
        assert_eq!(put(wrong, json!({"share": "30%"})).await.status, 400, "{wrong}");
    }
    assert_eq!(put(&second, json!({"share": "30%", "expected": 1})).await.status, 409, "both are meant");
    assert_eq!(put(&second, json!({"share": "30%", "expected": 2})).await.status, 200);
    assert_eq!(state(&rig).await["share"], json!("30%"));
}
