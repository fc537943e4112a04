//! What customers and administrators see.

use serde_json::json;

use crate::world::{Who, World};

const ANNA: Who = Who::User("u-anna");
const BERT: Who = Who::User("u-bert");

#[tokio::test]
async fn customers_see_their_own_and_administrators_everybodys() {
    let world = World::new().await;
    let id = world.captured("o-1", "tok_visa").await;
    let payment = format!("/payments/{id}");
    for (who, path, expected) in [
        (&ANNA, payment.as_str(), 200),
        (&BERT, &payment, 404),
        (&Who::Admin, &payment, 200),
        (&ANNA, "/invoices/1", 200),
        (&BERT, "/invoices/1", 404),
        (&Who::Admin, "/invoices/1", 200),
        (&ANNA, "/invoices/2", 404),
        (&ANNA, "/payments?user_id=u-bert", 403),
        (&ANNA, "/payments?limit=many", 400),
        (&ANNA, "/payments?limt=1", 400),
        (&ANNA, "/invoices?after=first", 400),
    ] {
        assert_eq!(world.call(who, "GET", path, None, None).await.0, expected, "{who:?} {path}");
    }
    let count = async |who: &Who, path: &str| {
        world.call(who, "GET", path, None, None).await.1["items"].as_array().unwrap().len()
    };
    for path in ["/payments", "/invoices"] {
        assert_eq!(count(&ANNA, path).await, 1);
        assert_eq!(count(&BERT, path).await, 0);
        assert_eq!(count(&Who::Admin, path).await, 1);
        assert_eq!(count(&Who::Admin, &format!("{path}?user_id=u-bert")).await, 0);
    }
    let (_, invoice) = world.call(&ANNA, "GET", "/invoices/1", None, None).await;
    assert_eq!((&invoice["payment_id"], &invoice["amount"]["amount_minor"]), (&json!(id), &json!(2500)));
    world.stop().await;
}

#[tokio::test]
async fn pages_join_without_gap_or_overlap() {
    let world = World::new().await;
    for order in ["o-1", "o-2", "o-3", "o-4", "o-5"] {
        world.captured(order, "tok_visa").await;
    }
    for (list, id) in [("payments", "payment_id"), ("invoices", "number")] {
        let (mut path, mut seen) = (format!("/{list}?limit=2"), Vec::new());
        loop {
            let (status, page) = world.call(&ANNA, "GET", &path, None, None).await;
            assert_eq!(status, 200);
            seen.extend(page["items"].as_array().unwrap().iter().map(|entry| entry[id].to_string()));
            let Some(next) = page["next"].as_str() else { break };
            path = format!("/{list}?limit=2&after={next}");
        }
        assert_eq!(seen.len(), 5, "{list}");
        assert!(seen.is_sorted() && seen.windows(2).all(|pair| pair[0] != pair[1]), "{list}: {seen:?}");
    }
    world.stop().await;
}

#[tokio::test]
async fn an_invoice_cannot_be_changed() {
    let world = World::new().await;
    world.captured("o-1", "tok_visa").await;
    world.stop().await;
    let url = format!("sqlite:{}", world.folder.path().join("payments.db").display());
    let db = leeward_store::Db::open(&url, leeward_store::Options::default()).await.unwrap();
    for statement in ["UPDATE invoices SET amount_minor = 1", "DELETE FROM invoices"] {
        let result = db.write(async move |tx: &mut leeward_store::Tx| tx.execute(statement, &[]).await).await;
        assert!(result.is_err(), "{statement}");
    }
    db.close().await;
}
