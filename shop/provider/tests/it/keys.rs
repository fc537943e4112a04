//! Keys make a repeated request the same request.

use std::time::Duration;

use serde_json::json;

use crate::bench::{Bench, authorisation, eur};

#[tokio::test]
async fn the_same_key_is_carried_out_once() {
    let bench = Bench::new().await;
    let first = bench.authorise("k-1", "tok_visa").await;
    assert_eq!(first, bench.authorise("k-1", "tok_visa").await);
    assert_eq!(first["verdict"], "approved");
    assert_eq!(bench.ledger().await.len(), 1);
    assert_ne!(first["authorisation"], bench.authorise("k-2", "tok_visa").await["authorisation"]);
}

#[tokio::test]
async fn racing_requests_with_one_key_are_carried_out_once() {
    let bench = Bench::new().await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let router = bench.router.clone();
        let stopper = bench.stopper.clone();
        let clock = bench.clock.clone();
        calls.spawn(async move { Bench { router, clock, stopper }.authorise("k", "tok_visa").await });
    }
    let answers = calls.join_all().await;
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(bench.ledger().await.len(), 1);
}

#[tokio::test]
async fn the_same_key_with_another_request_is_refused() {
    let bench = Bench::new().await;
    bench.authorise("k", "tok_visa").await;
    for (path, body) in [
        ("/v1/authorisations", authorisation("tok_master")),
        ("/v1/voids", json!({"authorisation_key": "k"})),
    ] {
        let (status, answer) = bench.call("POST", path, Some("k"), Some(body)).await;
        assert_eq!((status.as_u16(), answer["code"].as_str()), (422, Some("key_reused")));
    }
    assert_eq!(bench.ledger().await.len(), 1);
}

#[tokio::test]
async fn a_key_is_forgotten_after_a_day_but_not_by_the_ledger() {
    let bench = Bench::new().await;
    let first = bench.authorise("k", "tok_visa").await;
    bench.clock.advance(Duration::from_secs(24 * 3600 - 1));
    assert_eq!(first, bench.authorise("k", "tok_visa").await);
    bench.clock.advance(Duration::from_secs(1));
    let (status, known) = bench.call("GET", "/v1/operations/k", None, None).await;
    assert_eq!((status.as_u16(), &known), (200, &first), "who asks first learns that it was done");
    assert_ne!(first, bench.authorise("k", "tok_visa").await, "who does not is charged again");
    assert_eq!(bench.ledger().await.len(), 2);
}

#[tokio::test]
async fn a_request_without_a_good_key_or_body_changes_nothing() {
    let bench = Bench::new().await;
    let long = "k".repeat(201);
    for key in [None, Some(""), Some(long.as_str())] {
        let (status, answer) =
            bench.call("POST", "/v1/authorisations", key, Some(authorisation("tok_visa"))).await;
        assert_eq!((status.as_u16(), answer["code"].as_str()), (400, Some("key_required")));
    }
    for body in [
        json!({"amount": eur(0), "token": "tok_visa", "reference": "o"}),
        json!({"amount": eur(1), "token": "4111111111111111", "reference": "o"}),
        json!({"amount": eur(1), "token": "tok_visa"}),
    ] {
        assert_eq!(bench.call("POST", "/v1/authorisations", Some("k"), Some(body)).await.0, 422);
    }
    assert!(bench.ledger().await.is_empty());
    assert_eq!(bench.call("GET", "/v1/operations/k", None, None).await.0, 404);
}
