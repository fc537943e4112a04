//! What the consumers of payments expect of it, and what payments expects of the provider, against the real ones.

use serde_json::Value;
use shop_contracts::expectations::{self, Saved, Scenario, Step};
use shop_contracts::inventory::StockReturned;
use shop_contracts::{Currency, Money};

use crate::world::{Who, World, http};

async fn play(scenarios: Vec<Scenario>, send: impl AsyncFn(&Step, &str, Option<Value>) -> (u16, Value)) {
    assert!(!scenarios.is_empty());
    for scenario in scenarios {
        let mut saved = Saved::default();
        for (place, step) in scenario.steps.iter().enumerate() {
            let body = step.body.as_ref().map(|body| saved.fill_in(body));
            let (status, answer) = send(step, &saved.fill(&step.path), body).await;
            let at = format!("{}, step {}: {answer}", scenario.name, place + 1);
            assert_eq!(status, step.status, "{at}");
            assert_eq!(expectations::mismatch(&saved.fill_in(&step.answer), &answer), None, "{at}");
            saved.save(step, &answer);
        }
    }
}

#[tokio::test]
async fn the_checkout_gets_what_it_expects_of_payments() {
    let world = World::new().await;
    let scenarios = expectations::scenarios(expectations::ORDERS_OF_PAYMENTS).unwrap();
    play(scenarios, async |step, path, body| {
        world.call(&Who::Orders, &step.method, path, step.key.as_deref(), body.as_ref()).await
    })
    .await;
    world.stop().await;
}

#[tokio::test]
async fn payments_gets_what_it_expects_of_the_provider() {
    let world = World::new().await;
    let scenarios = expectations::scenarios(expectations::PAYMENTS_OF_PROVIDER).unwrap();
    play(scenarios, async |step, path, body| {
        let key = step.key.as_ref().map(|key| format!("idempotency-key: {key}\r\n")).unwrap_or_default();
        http(world.provider, &step.method, path, &key, body.as_ref()).await
    })
    .await;
    world.stop().await;
}

#[tokio::test]
async fn the_consumers_of_events_get_what_they_expect() {
    let world = World::new().await;
    world.captured("o-1", "tok_norefund").await;
    world.captured("o-2", "tok_visa").await;
    for (return_id, order_id) in [("r-1", "o-1"), ("r-2", "o-2")] {
        let refund = Money::new(100, Currency::EUR);
        let (return_id, order_id, user_id) = (return_id.into(), order_id.into(), "u-anna".into());
        world.tell(StockReturned { return_id, order_id, user_id, lines: Vec::new(), refund }).await;
    }
    let expected = expectations::events(&["payment."]).unwrap();
    assert_eq!(expected.len(), 2);
    for event in expected {
        let data = world.hear(&event.kind).await;
        assert_eq!(expectations::mismatch(&event.data, &data), None, "{}", event.kind);
    }
    world.stop().await;
}
