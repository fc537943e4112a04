//! Faults on demand: what the merchant sees, and what really happened.

use std::time::Duration;

use serde_json::json;

use crate::bench::{Bench, authorisation};

#[tokio::test]
async fn a_lost_reply_has_done_the_work() {
    let bench = Bench::new().await;
    bench.set_faults(json!({"lost_reply_rate": 1.0})).await;
    tokio::select! {
        answer = bench.call("POST", "/v1/authorisations", Some("k"), Some(authorisation("tok_visa"))) =>
            panic!("answered {answer:?}"),
        () = bench.lines(1) => {}
    }
    let (status, known) = bench.call("GET", "/v1/operations/k", None, None).await;
    assert_eq!((status.as_u16(), known["verdict"].as_str()), (200, Some("approved")));

    bench.set_faults(json!({})).await;
    assert_eq!(
        known,
        bench.authorise("k", "tok_visa").await,
        "asked again with the key, it is the same operation"
    );
    assert_eq!(bench.ledger().await.len(), 1);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_lost_replies() {
    let bench = Bench::new().await;
    bench.set_faults(json!({"lost_reply_rate": 1.0})).await;
    let call = bench.call("POST", "/v1/authorisations", Some("k"), Some(authorisation("tok_visa")));
    let stop = async {
        bench.lines(1).await;
        bench.stopper.request();
    };
    let ((status, _), ()) = tokio::join!(call, stop);
    assert_eq!(status, 504);
}

#[tokio::test]
async fn an_error_or_a_refusal_has_done_nothing() {
    let bench = Bench::new().await;
    for (faults, status) in [(json!({"error_rate": 1.0}), 500), (json!({"refuse_all": true}), 503)] {
        bench.set_faults(faults).await;
        let answer =
            bench.call("POST", "/v1/authorisations", Some("k"), Some(authorisation("tok_visa"))).await;
        assert_eq!(answer.0, status);
        assert!(bench.ledger().await.is_empty());
    }
    bench.set_faults(json!({})).await;
    assert_eq!(bench.authorise("k", "tok_visa").await["verdict"], "approved");
}

#[tokio::test]
async fn latency_holds_an_operation_up() {
    let bench = Bench::new().await;
    bench.set_faults(json!({"latency_ms": 40})).await;
    let begun = tokio::time::Instant::now();
    bench.authorise("k", "tok_visa").await;
    assert!(begun.elapsed() >= Duration::from_millis(40));
}

#[tokio::test]
async fn a_slow_card_is_slow_once() {
    let bench = Bench::with(|options| options.slow_reply = Duration::from_secs(3600)).await;
    tokio::select! {
        answer = bench.authorise("s", "tok_slow") => panic!("answered {answer}"),
        () = bench.lines(1) => {}
    }
    assert_eq!(
        bench.authorise("s", "tok_slow").await["verdict"],
        "approved",
        "known already, it is not slow"
    );
}

#[tokio::test]
async fn refunds_can_be_refused_for_good() {
    let bench = Bench::new().await;
    let id = bench.captured("x", "tok_visa").await;
    bench.set_faults(json!({"refuse_refunds": true})).await;
    let refund = json!({"authorisation": id, "amount": {"amount_minor": 1, "currency": "EUR"}});
    assert_eq!(bench.post("/v1/refunds", "r", refund.clone()).await["code"], "refund_refused");
    bench.set_faults(json!({})).await;
    assert_eq!(
        bench.post("/v1/refunds", "r", refund).await["code"],
        "refund_refused",
        "the key keeps its outcome"
    );
}

#[tokio::test]
async fn faults_need_leave_and_must_be_in_range() {
    let bench = Bench::with(|options| options.allow_faults = false).await;
    assert_eq!(bench.call("PUT", "/faults", None, Some(json!({"refuse_all": true}))).await.0, 403);
    assert_eq!(bench.call("GET", "/faults", None, None).await.1["refuse_all"], false);

    let bench = Bench::new().await;
    for wrong in [json!({"error_rate": 2.0}), json!({"eror_rate": 0.5}), json!({"latency_ms": 60_001})] {
        assert_eq!(bench.call("PUT", "/faults", None, Some(wrong)).await.0, 422);
    }
}

#[tokio::test]
async fn what_it_serves_is_what_it_documents() {
    let bench = Bench::new().await;
    let (status, document) = bench.call("GET", "/openapi.json", None, None).await;
    assert_eq!((status.as_u16(), document["openapi"].as_str()), (200, Some("3.1.0")));
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let path = path.replace("{key}", "k");
            let (status, _) = bench.call(&method.to_uppercase(), &path, None, None).await;
            assert_ne!(status, 405, "{method} {path}");
        }
    }
    assert_eq!(bench.call("GET", "/health/ready", None, None).await.0, 200);
}
