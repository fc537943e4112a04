//! The provider fails in every way it can, and money moves once all the same.

use std::time::Duration;

use leeward_resilience::breaker::State;
use leeward_resilience::{Clock, TokioClock};
use serde_json::{Value, json};

use crate::world::World;

fn kinds(ledger: &[(String, String)]) -> Vec<&str> {
    ledger.iter().map(|(kind, _)| kind.as_str()).collect()
}

#[tokio::test]
async fn a_lost_reply_is_asked_after_and_charged_once() {
    let world = World::new().await;
    world.faults(json!({"lost_reply_rate": 1.0})).await;
    let (status, payment) = world.authorise("o-1", "tok_visa").await;
    // Either the question after the lost reply was answered in time, or the caller is told to ask again.
    assert!(status == 200 || status == 504, "{status} {payment}");
    world.faults(json!({})).await;
    let (status, payment) = world.authorise("o-1", "tok_visa").await;
    assert_eq!((status, &payment["status"]), (200, &json!("authorised")));

    world.faults(json!({"lost_reply_rate": 1.0})).await;
    let id = payment["payment_id"].as_str().unwrap();
    let (status, _) = world.capture("o-1", id).await;
    assert!(status == 200 || status == 504, "{status}");
    world.faults(json!({})).await;
    assert_eq!(world.capture("o-1", id).await.1["invoice_number"], 1);
    assert_eq!(kinds(&world.ledger().await), ["authorise", "capture"]);
    world.stop().await;
}

#[tokio::test]
async fn errors_and_refusals_change_nothing_and_pass() {
    let world = World::new().await;
    for (faults, expected) in
        [(json!({"refuse_all": true}), [503, 504]), (json!({"error_rate": 1.0}), [504, 503])]
    {
        world.faults(faults.clone()).await;
        let (status, problem) = world.authorise("o-1", "tok_visa").await;
        assert!(expected.contains(&status), "{faults}: {status} {problem}");
    }
    assert!(world.ledger().await.is_empty());
    world.faults(json!({})).await;
    world.client.pipeline().breaker().unwrap().reset();
    let (status, payment) = world.authorise("o-1", "tok_visa").await;
    assert_eq!(status, 200, "{payment}");
    assert_eq!(kinds(&world.ledger().await), ["authorise"]);
    world.stop().await;
}

#[tokio::test]
async fn a_void_settles_an_authorisation_whose_reply_was_lost() {
    let world = World::new().await;
    world.faults(json!({"lost_reply_rate": 1.0, "latency_ms": 200})).await;
    let (status, problem) = world.authorise("o-1", "tok_visa").await;
    world.faults(json!({})).await;
    let (voided, payment) = world.void("o-1").await;
    assert_eq!((voided, &payment["status"]), (200, &json!("voided")), "after {status} {problem}");
    let (status, problem) = world.authorise("o-1", "tok_visa").await;
    assert_eq!((status, &problem["code"]), (409, &json!("authorisation_voided")));
    let ledger = world.ledger().await;
    assert!(!kinds(&ledger).contains(&"capture"), "{ledger:?}");
    assert_eq!(ledger.last().unwrap().0, "void", "nothing is set aside any more: {ledger:?}");
    world.stop().await;
}

#[tokio::test]
async fn what_the_provider_did_and_we_could_not_write_down_is_unknown() {
    let world = World::new().await;
    let to_take = world.authorise("o-1", "tok_visa").await.1["payment_id"].as_str().unwrap().to_owned();
    assert_eq!(world.authorise("o-2", "tok_visa").await.0, 200);

    // No event fits into the outbox, so that whatever the provider does cannot be told, and so is not written either.
    let world = world.again(|kit| kit.outbox = kit.outbox.clone().limit_bytes(1)).await;
    let unknown = |(status, problem): (u16, Value)| {
        assert_eq!((status, &problem["code"]), (504, &json!("provider_unknown")), "{problem}");
    };
    for _ in 0..2 {
        unknown(world.authorise("o-3", "tok_visa").await);
        unknown(world.capture("o-1", &to_take).await);
        unknown(world.void("o-2").await);
    }
    let done = ["authorise", "authorise", "authorise", "capture", "void"];
    assert_eq!(kinds(&world.ledger().await), done, "the provider did it, once");

    let world = world.again(|_| {}).await;
    let status = |(status, payment): (u16, Value)| (status, payment["status"].clone());
    assert_eq!(status(world.authorise("o-3", "tok_visa").await), (200, json!("authorised")));
    assert_eq!(status(world.capture("o-1", &to_take).await), (200, json!("captured")));
    assert_eq!(status(world.void("o-2").await), (200, json!("voided")));
    assert_eq!(kinds(&world.ledger().await), done);
    world.stop().await;
}

#[tokio::test]
async fn the_breaker_lets_payments_through_again_after_an_outage() {
    let world = World::new().await.again(|_| {}).await;
    let breaker = || world.client.pipeline().breaker().unwrap().state(TokioClock.now());
    world.faults(json!({"refuse_all": true})).await;
    let mut asked = 0;
    while breaker() != State::Open {
        asked += 1;
        assert!(asked < 200, "the breaker does not open");
        let (status, problem) = world.authorise("o-1", "tok_visa").await;
        assert!(status == 503 || status == 504, "{status} {problem}");
    }
    world.faults(json!({})).await;
    let (status, problem) = world.authorise("o-4", "tok_visa").await;
    assert_eq!((status, &problem["code"]), (503, &json!("provider_unavailable")), "nobody is asked");
    // Nobody resets it: the break ends by itself, and a probe shows that the provider is back.
    let back = async { while world.authorise("o-1", "tok_visa").await.0 != 200 {} };
    tokio::time::timeout(Duration::from_secs(20), back).await.expect("payments stay refused");
    for order in ["o-2", "o-3"] {
        assert_eq!(world.authorise(order, "tok_visa").await.0, 200);
    }
    assert_eq!(kinds(&world.ledger().await), ["authorise"; 3]);
    world.stop().await;
}

#[tokio::test]
async fn a_slow_card_is_charged_once() {
    let world = World::new().await;
    let mut answer = world.authorise("o-1", "tok_slow").await;
    if answer.0 == 504 {
        answer = world.authorise("o-1", "tok_slow").await;
    }
    assert_eq!(answer.0, 200, "{}", answer.1);
    assert_eq!(kinds(&world.ledger().await), ["authorise"]);
    world.stop().await;
}
