//! What the ledger says is what happened.

use serde_json::json;

use crate::bench::{Bench, eur};

#[tokio::test]
async fn a_payment_and_its_refunds_are_lines_in_order() {
    let bench = Bench::new().await;
    let id = bench.captured("one", "tok_visa").await;
    let refund = |amount| json!({"authorisation": id, "amount": eur(amount)});
    assert_eq!(bench.post("/v1/refunds", "r-1", refund(60)).await["verdict"], "approved");
    assert_eq!(bench.post("/v1/refunds", "r-2", refund(60)).await["code"], "amount");
    assert_eq!(bench.post("/v1/refunds", "r-3", refund(40)).await["verdict"], "approved");

    let ledger = bench.ledger().await;
    let lines: Vec<_> = ledger
        .iter()
        .map(|line| {
            (line["kind"].as_str().unwrap(), line["verdict"].as_str().unwrap(), line["seq"].as_i64().unwrap())
        })
        .collect();
    let expected = [
        ("authorise", "approved", 1),
        ("capture", "approved", 2),
        ("refund", "approved", 3),
        ("refund", "refused", 4),
        ("refund", "approved", 5),
    ];
    assert_eq!(lines, expected);
    assert_eq!(ledger[0]["reference"], "o-1");
    assert!(ledger.iter().all(|line| line["request_hash"].as_str().unwrap().len() == 64));
    let hashes: std::collections::BTreeSet<_> =
        ledger.iter().map(|line| line["request_hash"].to_string()).collect();
    assert_eq!(hashes.len(), 4, "r-1 and r-2 ask for the same");
}

#[tokio::test]
async fn tokens_decide() {
    let bench = Bench::new().await;
    let declined = bench.authorise("d", "tok_decline").await;
    assert_eq!(
        (declined["verdict"].as_str(), declined["code"].as_str()),
        (Some("declined"), Some("declined"))
    );
    let capture = json!({"authorisation": declined["authorisation"], "amount": eur(100)});
    assert_eq!(bench.post("/v1/captures", "d-c", capture).await["verdict"], "refused");

    let id = bench.captured("n", "tok_norefund").await;
    let refund = bench.post("/v1/refunds", "n-r", json!({"authorisation": id, "amount": eur(1)})).await;
    assert_eq!(refund["code"], "refund_refused");

    let held = bench.authorise("h", "tok_nocapture").await;
    assert_eq!(held["verdict"], "approved");
    let capture = json!({"authorisation": held["authorisation"], "amount": eur(100)});
    let capture = bench.post("/v1/captures", "h-c", capture).await;
    assert_eq!((&capture["verdict"], &capture["code"]), (&json!("refused"), &json!("capture_refused")));
    let void = bench.post("/v1/voids", "h-v", json!({"authorisation_key": "h"})).await;
    assert_eq!(
        (&void["verdict"], &void["amount"]),
        (&json!("approved"), &eur(100)),
        "it was still set aside"
    );
}

#[tokio::test]
async fn a_void_before_its_authorisation_refuses_it() {
    let bench = Bench::new().await;
    let void = bench.post("/v1/voids", "v", json!({"authorisation_key": "k"})).await;
    assert_eq!((void["verdict"].as_str(), void.get("amount")), (Some("approved"), None));
    let late = bench.authorise("k", "tok_visa").await;
    assert_eq!((late["verdict"].as_str(), late["code"].as_str()), (Some("refused"), Some("voided")));
    let capture = json!({"authorisation": late["authorisation"], "amount": eur(100)});
    assert_eq!(bench.post("/v1/captures", "c", capture).await["verdict"], "refused");
}

#[tokio::test]
async fn a_void_frees_the_money_once_and_never_after_the_capture() {
    let bench = Bench::new().await;
    let id = bench.authorise("k", "tok_visa").await["authorisation"].clone();
    let void = |key: &'static str| bench.post("/v1/voids", key, json!({"authorisation_key": "k"}));
    assert_eq!(void("v-1").await["amount"], eur(100));
    assert_eq!(void("v-2").await["code"], "already_voided");
    let capture = bench.post("/v1/captures", "c", json!({"authorisation": id, "amount": eur(100)})).await;
    assert_eq!(capture["code"], "voided");

    bench.captured("t", "tok_visa").await;
    let late = bench.post("/v1/voids", "t-v", json!({"authorisation_key": "t-a"})).await;
    assert_eq!(late["code"], "already_captured");
}

#[tokio::test]
async fn pages_of_the_ledger_join_without_gap_or_overlap() {
    let bench = Bench::new().await;
    for number in 0..7 {
        bench.authorise(&format!("k-{number}"), "tok_visa").await;
    }
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let (_, page) = bench.call("GET", &format!("/ledger?after={after}&limit=3"), None, None).await;
        seen.extend(page["entries"].as_array().unwrap().iter().map(|line| line["seq"].as_i64().unwrap()));
        let Some(next) = page["next"].as_i64() else { break };
        after = next;
    }
    assert_eq!(seen, (1..=7).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_ledger_survives_a_restart_and_cannot_be_changed() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("provider.db").display());
    let (stopper, stop) = leeward_runtime::Stop::manual();
    let provider = shop_provider::Provider::open(shop_provider::Options::new(&url), stop).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bench = Bench { router: provider.router(), ..Bench::new().await };
    bench.authorise("k", "tok_visa").await;
    stopper.request();
    provider.serve(listener).await.unwrap();

    let db = leeward_store::Db::open(&url, leeward_store::Options::default()).await.unwrap();
    for statement in ["UPDATE ledger SET verdict = 'declined'", "DELETE FROM ledger"] {
        let result = db.write(async move |tx: &mut leeward_store::Tx| tx.execute(statement, &[]).await).await;
        assert!(result.is_err(), "{statement}");
    }
    db.close().await;

    let again = Bench::with(|options| options.database_url = url).await;
    assert_eq!(again.ledger().await.len(), 1);
}
