//! Setting money aside, taking it, giving it up.

use serde_json::json;

use crate::world::{World, authorisation, eur};

fn lines(lines: &[(&str, &str)]) -> Vec<(String, String)> {
    lines.iter().map(|(kind, verdict)| ((*kind).to_owned(), (*verdict).to_owned())).collect()
}

#[tokio::test]
async fn a_payment_is_made_once_however_often_it_is_asked_for() {
    let world = World::new().await;
    let (status, first) = world.authorise("o-1", "tok_visa").await;
    assert_eq!((status, &first["status"]), (200, &json!("authorised")));
    assert_eq!(world.authorise("o-1", "tok_visa").await, (200, first.clone()));
    let id = first["payment_id"].as_str().unwrap();
    let (status, taken) = world.capture("o-1", id).await;
    assert_eq!((status, &taken["status"], &taken["invoice_number"]), (200, &json!("captured"), &json!(1)));
    assert_eq!(world.capture("o-1", id).await, (200, taken));
    assert_eq!(
        world.authorise("o-1", "tok_visa").await.1["status"],
        "captured",
        "it stands where it stands now"
    );

    assert_eq!(world.ledger().await, lines(&[("authorise", "approved"), ("capture", "approved")]));
    assert_eq!(world.hear("payment.authorised").await["payment_id"], id);
    assert_eq!(world.hear("payment.captured").await["invoice_number"], 1);
    assert_eq!(world.unheard("payment.captured").await, 0);
    world.stop().await;
}

#[tokio::test]
async fn racing_requests_with_one_key_charge_once() {
    let world = World::new().await;
    let one = || world.authorise("o-1", "tok_visa");
    let answers = tokio::join!(one(), one(), one(), one(), one());
    let answers = [answers.0, answers.1, answers.2, answers.3, answers.4];
    assert!(answers.iter().all(|answer| answer == &answers[0]), "{answers:?}");
    let id = answers[0].1["payment_id"].as_str().unwrap();
    let one = || world.capture("o-1", id);
    let answers = tokio::join!(one(), one(), one(), one(), one());
    let answers = [answers.0, answers.1, answers.2, answers.3, answers.4];
    assert!(answers.iter().all(|answer| answer == &answers[0] && answer.0 == 200), "{answers:?}");
    assert_eq!(world.ledger().await, lines(&[("authorise", "approved"), ("capture", "approved")]));

    // The last thing told; what was told twice would be heard before it.
    world.captured("o-2", "tok_visa").await;
    assert_eq!(world.hear("payment.captured").await["order_id"], "o-1");
    assert_eq!(
        world.hear("payment.captured").await["invoice_number"],
        2,
        "no number is left out, none given twice"
    );
    world.stop().await;
}

#[tokio::test]
async fn a_declined_card_stays_declined() {
    let world = World::new().await;
    for _ in 0..2 {
        let (status, problem) = world.authorise("o-1", "tok_decline").await;
        assert_eq!(
            (status, &problem["code"], &problem["decline_code"]),
            (402, &json!("card_declined"), &json!("declined"))
        );
    }
    assert_eq!(world.void("o-1").await.1["status"], "declined");
    assert_eq!(world.ledger().await, lines(&[("authorise", "declined")]));
    world.stop().await;
}

#[tokio::test]
async fn a_void_gives_the_money_up_and_ends_the_payment() {
    let world = World::new().await;
    let (_, payment) = world.authorise("o-1", "tok_visa").await;
    for _ in 0..2 {
        let (status, voided) = world.void("o-1").await;
        assert_eq!((status, &voided["status"]), (200, &json!("voided")));
    }
    let (status, problem) = world.capture("o-1", payment["payment_id"].as_str().unwrap()).await;
    assert_eq!((status, &problem["code"]), (409, &json!("payment_status")));
    assert_eq!(world.authorise("o-1", "tok_visa").await.1["code"], "authorisation_voided");
    assert_eq!(world.ledger().await, lines(&[("authorise", "approved"), ("void", "approved")]));
    assert_eq!(world.hear("payment.voided").await["order_id"], "o-1");
    world.stop().await;
}

#[tokio::test]
async fn an_authorisation_that_comes_after_its_void_is_refused() {
    let world = World::new().await;
    assert_eq!(world.void("o-1").await.0, 200);
    let (status, problem) = world.authorise("o-1", "tok_visa").await;
    assert_eq!((status, &problem["code"]), (409, &json!("authorisation_voided")));
    assert!(world.ledger().await.is_empty(), "the provider never heard of it");
    world.stop().await;
}

#[tokio::test]
async fn what_was_taken_is_not_given_up() {
    let world = World::new().await;
    world.captured("o-1", "tok_visa").await;
    let (status, problem) = world.void("o-1").await;
    assert_eq!((status, &problem["code"]), (409, &json!("payment_status")));
    world.stop().await;
}

#[tokio::test]
async fn a_key_stands_for_one_request() {
    let world = World::new().await;
    world.authorise("o-1", "tok_visa").await;
    let mut other = authorisation("o-1", "tok_visa");
    other["amount"] = eur(1);
    let (status, problem) = world.post("authorise", "o-1/authorise-payment/1", other).await;
    assert_eq!((status, &problem["code"]), (422, &json!("idempotency_key_reused")));

    let id = world.captured("o-2", "tok_visa").await;
    let (status, problem) = world.post("capture", "another", json!({"payment_id": id})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("payment_status")));
    world.stop().await;
}

#[tokio::test]
async fn malformed_requests_name_what_is_wrong() {
    let world = World::new().await;
    let mut wrong = authorisation("o-1", "4111111111111111");
    wrong["amount"] = eur(0);
    let (status, problem) = world.post("authorise", "k", wrong).await;
    let fields: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|error| error["field"].clone()).collect();
    assert_eq!((status, fields), (422, vec![json!("amount.amount_minor"), json!("payment_token")]));
    let body = authorisation("o-1", "tok_visa");
    for key in [None, Some("x".repeat(191))] {
        let path = "/internal/payments/authorise";
        let who = crate::world::Who::Orders;
        let (status, problem) = world.call(&who, "POST", path, key.as_deref(), Some(&body)).await;
        assert_eq!((status, &problem["code"]), (400, &json!("idempotency_key_required")));
    }
    assert_eq!(world.post("capture", "k", json!({"payment_id": "nobody"})).await.0, 404);
    assert!(world.ledger().await.is_empty());
    world.stop().await;
}
