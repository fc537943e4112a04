//! The operators' commands against an admin API whose services do not all answer.

use axum::Router;
use axum::routing::get;
use serde_json::{Value, json};

use crate::process::run;

/// What each service said, as `/v1/all/_leeward/...` gives it.
fn all() -> Value {
    json!({
        "orders": {"status": 200, "body": {"items": [{"id": "s-1", "status": "stuck"}]}},
        "payments": {"status": 503, "body": {"detail": "the database is full"}},
        "provider": {"status": 404, "body": ""},
        "shipping": {"error": "connection refused"},
    })
}

async fn admin() -> String {
    let show =
        get(async || axum::Json(json!({"orders": {"status": 404, "body": {}}, "users": {"status": 403}})));
    let router = Router::new()
        .route("/v1/all/_leeward/sagas", get(async || axum::Json(all())))
        .route("/v1/all/_leeward/events/lag", get(async || axum::Json(all())))
        .route("/v1/all/_leeward/events/dead", get(async || axum::Json(all())))
        .route("/v1/all/_leeward/sagas/{id}", show)
        .route("/v1/bus/groups", get(async || axum::Json(json!([{"group": "left.behind", "behind": 7}]))))
        .fallback(async || "something else");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = async move { axum::serve(listener, router).await.unwrap() };
    #[allow(clippy::disallowed_methods, reason = "a test's own server")]
    drop(tokio::spawn(serving));
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_did_not_answer_is_no_service_without_any() {
    let (admin, folder) = (admin().await, tempfile::tempdir().unwrap());
    let leeward = |args: &[&str]| run(folder.path(), &[("LEEWARD_ADMIN", &admin)], args);
    for args in [&["sagas", "list"][..], &["events", "lag"], &["events", "dead", "list"]] {
        let (code, said, complaint) = leeward(args);
        assert_eq!(code, Some(2), "{args:?}: {complaint}");
        assert!(complaint.contains("payments: 503: the database is full"), "{args:?}: {complaint}");
        assert!(complaint.contains("shipping: connection refused"), "{args:?}: {complaint}");
        assert!(!complaint.contains("provider"), "a 404 is none of the kind: {complaint}");
        assert!(args[0] == "sagas" && said.contains("s-1") || args[0] == "events", "{said}");
    }
    let (code, said, complaint) = leeward(&["sagas", "list", "--service", "orders"]);
    assert!(code == Some(0) && said.contains("s-1") && complaint.is_empty(), "{said}{complaint}");
    let (code, _, complaint) = leeward(&["sagas", "list", "--service", "order"]);
    assert!(code == Some(2) && complaint.contains("`order`; there are orders, payments"), "{complaint}");
    // A saga that nobody has, as far as one can tell.
    let (code, _, complaint) = leeward(&["sagas", "show", "s-2"]);
    assert!(code == Some(2) && complaint.contains("users: 403"), "{complaint}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_meant_is_a_mistake() {
    let (admin, folder) = (admin().await, tempfile::tempdir().unwrap());
    let leeward = |args: &[&str]| run(folder.path(), &[("LEEWARD_ADMIN", &admin)], args);
    let (code, _, complaint) = leeward(&["sagas", "list", "--status", "runing"]);
    assert!(code == Some(2) && complaint.contains("running, waiting, compensating, stuck"), "{complaint}");
    // An address at which no admin API is.
    let (code, _, complaint) = leeward(&["events", "rebuild", "orders", "orders.history"]);
    assert!(code == Some(2) && complaint.contains("answered no JSON"), "{complaint}");
}
