//! What the edge lets in, and what services answer to whom.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use leeward_service::identity::{ASSERTION_HEADER, Identity, Minter, Principal, User};
use leeward_tests::openapi::{Document, check_all};
use leeward_tests::shop::SERVICES;
use leeward_tests::{Http, Topology};
use serde_json::json;

use crate::on_both;
use crate::tour::tour;
use crate::world::World;

on_both!(the_edge);

async fn the_edge(topology: Topology) {
    let mut world = World::open(topology).await;
    tour(&mut world).await;
    logout(&world).await;
    spoofed(&world).await;
    bodies(&world).await;
    malformed(&world).await;
    not_routed(&world).await;
    identities(&world).await;
    documents(&world).await;
    world.must_agree().await;
}

async fn logout(world: &World) {
    /// More than this between a logout and its effect is not "within a moment".
    const DELAY_MAX_MS: i64 = 2_000;
    /// Between the clock that the delay is measured by and ours: both are of this machine.
    const SLACK: Duration = Duration::from_millis(150);
    world.case("a token that was logged out");
    let (customer, other) = (world.customer().await, world.customer().await);
    let _before = customer.http.get("/users/me").await.expect(200);
    let _out =
        world.api.post("/auth/logout", &json!({ "refresh_token": customer.refresh_token })).await.expect(204);
    let said = Instant::now();
    let mut last_good = Duration::ZERO;
    let refused = loop {
        let sent = said.elapsed();
        let answer = customer.http.get("/users/me").await;
        match answer.status.as_u16() {
            200 => last_good = sent,
            _ => break answer,
        }
        assert!(sent < Duration::from_secs(10), "the token stays good");
    };
    assert_eq!(refused.status, 401, "{refused:?}");
    let health = world.shop.edge().get("/health").await.expect(200).json();
    let delay_ms =
        health["revocation_delay_ms"].as_i64().unwrap_or_else(|| panic!("no delay is reported: {health}"));
    assert!((0..DELAY_MAX_MS).contains(&delay_ms), "{health}");
    let reported = Duration::from_millis(delay_ms.unsigned_abs());
    assert!(last_good <= reported + SLACK, "good for {last_good:?}, {reported:?} are reported");
    let gone = world.api.post("/auth/refresh", &json!({ "refresh_token": customer.refresh_token })).await;
    let _gone = gone.refused(401, "refresh_refused");
    let _others_stay = other.http.get("/users/me").await.expect(200);
}

async fn spoofed(world: &World) {
    world.case("identity headers of a client are ignored");
    let (me, victim) = (world.customer().await, world.customer().await);
    let keys = world.shop.data().join("keys");
    // Not even the gateway's own word counts when it comes from outside.
    let minter = Minter::new(Identity::open(&keys, "gateway").unwrap());
    let user = User::new(&*world.admin.user_id).with_role("admin").with_permission("users:read");
    let assertion = minter.mint(&Principal::User(user), "users", crate::processes::now_ms()).unwrap();
    let assertion = assertion.to_str().unwrap();
    let spoofed = [
        (ASSERTION_HEADER, assertion),
        ("x-user-id", &*victim.user_id),
        ("x-user-role", "admin"),
        ("x-user-context", "{}"),
        ("x_user_id", &*victim.user_id),
        ("x-gateway-timestamp", "0"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-host", "admin.local"),
        ("forwarded", "for=10.0.0.1"),
        ("x-deadline-ms", "1"),
    ];
    let send = async |http: &Http, path: &str| http.send(Method::GET, path, &spoofed, None).await.unwrap();
    assert_eq!(send(&me.http, "/users/me").await.expect(200).json()["user_id"], *me.user_id);
    let _no_admin = send(&me.http, "/users").await.expect(403);
    let _nobody = send(&world.api, "/users/me").await.expect(401);
    let _nobody = send(&world.api, "/users").await.expect(401);
    // The same assertion is good where only the gateway can hand it over.
    let users = world.shop.service("users").await;
    let _listed =
        users.send(Method::GET, "/users", &[(ASSERTION_HEADER, assertion)], None).await.unwrap().expect(200);
    let bare = [("x-user-id", &*victim.user_id), ("x-user-role", "admin")];
    let _bare = users.send(Method::GET, "/users", &bare, None).await.unwrap().expect(401);
}

async fn bodies(world: &World) {
    world.case("bodies that are too large or no JSON");
    let me = world.customer().await.http;
    let send = async |path: &str, is_json: bool, body: Vec<u8>| {
        me.send_bytes(Method::POST, path, &[("idempotency-key", "k")], is_json, Bytes::from(body)).await
    };
    let filled = |bytes: usize| format!("{{\"payment_token\":\"{}\"}}", "x".repeat(bytes)).into_bytes();
    match send("/checkout", true, filled(10 * 1024 * 1024 + 1)).await {
        Ok(answer) => assert_eq!(answer.expect(413).header("content-type"), Some("application/problem+json")),
        // The answer may be lost when the connection is closed on a client that is still sending.
        Err(error) => assert!(error.contains("rror"), "{error}"),
    }
    let early = [("content-length", "99999999"), ("expect", "100-continue")];
    assert!(raw(world, "POST /api/v1/checkout", &early, b"").starts_with("HTTP/1.1 413"));
    for (is_json, body, statuses) in [
        (true, &b"{\"payment_token\":"[..], &[400][..]),
        (true, b"[]", &[400, 422]),
        (true, b"\xff\xfe", &[400]),
        (true, b"{\"payment_token\":7}", &[400, 422]),
        (true, b"{\"payment_token\":\"4111111111111111\"}", &[422]),
        (true, b"{\"payment_token\":\"tok_visa\",\"price\":1}", &[400, 422]),
        (true, b"", &[400]),
        (false, b"payment_token=tok_visa", &[415]),
    ] {
        let answer = send("/checkout", is_json, body.to_vec()).await.unwrap();
        let text = String::from_utf8_lossy(body).into_owned();
        assert!(statuses.contains(&answer.status.as_u16()), "{text}: {} {}", answer.status, answer.json());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{text}");
        assert_eq!(answer.json()["status"], answer.status.as_u16(), "{text}");
        assert!(!answer.code().is_empty(), "{text}");
    }
}

/// What the gateway answers to bytes.
fn raw(world: &World, start: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", world.shop.edge_port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("{start} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let _may_be_closed = stream.write_all(body);
    let mut answer = Vec::new();
    let _may_be_reset = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

async fn malformed(world: &World) {
    world.case("requests that are none");
    let smuggled = [("content-length", "4"), ("transfer-encoding", "chunked")];
    for (start, headers, status) in [
        ("GET /api/v1/products", &[("bad header", "x")][..], "400"),
        ("GET /api/v1/products", &[("content-length", "-1")], "400"),
        ("GET /api/v1/products", &[("content-length", "1"), ("content-length", "2")], "400"),
        ("POST /api/v1/auth/login", &smuggled, "400"),
        ("GET /api/v1/%zz", &[], "400"),
        ("GET /api/v1/products/../users", &[], "40"),
        ("NONSENSE", &[], "400"),
    ] {
        let answer = raw(world, start, headers, b"0\r\n\r\n");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{start} {headers:?}: {answer}");
    }
    let _still_there = world.api.get("/products?limit=1").await.expect(200);
}

async fn not_routed(world: &World) {
    world.case("what is not for the public");
    let (edge, me) = (world.shop.edge(), world.customer().await);
    for path in [
        "/_leeward/sagas",
        "/api/v1/_leeward/faults",
        "/api/v1/internal/payments/by-key/x",
        "/internal/events",
        "/api/v1/internal/events",
        "/api/v1/.well-known/leeward-keys",
        "/v1/services",
        "/bus/v1/lag",
        "/api/v1/cart/..%2finternal%2fevents",
    ] {
        let answer = edge.with_token(&me.access_token).get(path).await;
        assert!(matches!(answer.status.as_u16(), 400 | 404), "{path}: {answer:?}");
    }
    let page = [("origin", "http://evil.example")];
    let answer = world.shop.admin().send(Method::GET, "/v1/services", &page, None).await.unwrap();
    let _forbidden = answer.expect(403);
}

/// Every operation of every service, past the gateway, with no identity, a plain customer's and the wrong service's.
async fn identities(world: &World) {
    world.case("every operation with every wrong identity");
    let keys = world.shop.data().join("keys");
    let minter = |name| Minter::new(Identity::open(&keys, name).unwrap());
    let (gateway, outsider) = (minter("gateway"), minter("notifications"));
    let mut calls = 0;
    for document in open_documents(world).await {
        let (service, now) = (document.service().to_owned(), crate::processes::now_ms());
        let http = world.shop.service(&service).await;
        let user = gateway.mint(&Principal::User(User::new("nobody")), &service, now).unwrap();
        let wrong = outsider.mint(&Principal::Service, &service, now).unwrap();
        let misdirected = gateway.mint(&Principal::Operator, "elsewhere", now).unwrap();
        for (operation, access) in document.operations() {
            let method: Method = operation.method.to_uppercase().parse().unwrap();
            let path = operation.path.replace(['{', '}'], "");
            let ask = async |assertion: Option<&http::HeaderValue>| {
                let headers = assertion.map(|it| (ASSERTION_HEADER, it.to_str().unwrap()));
                let sent = http.send(method.clone(), &path, headers.as_slice(), None).await;
                sent.unwrap_or_else(|error| panic!("{operation:?}: {error}")).status.as_u16()
            };
            calls += 1;
            let none = if access == "anyone" { None } else { Some(401) };
            let (as_user, as_other) = match access.as_str() {
                "anyone" => (None, None),
                "user" => (None, Some(403)),
                "any-service" => (Some(403), None),
                _ => (Some(403), Some(403)),
            };
            for (who, assertion, expected) in [
                ("nobody", None, none),
                ("a customer", Some(&user), as_user),
                ("another service", Some(&wrong), as_other),
            ] {
                if let Some(expected) = expected {
                    assert_eq!(ask(assertion).await, expected, "{operation:?} ({access}) called by {who}");
                }
            }
            if access != "anyone" {
                assert_eq!(
                    ask(Some(&misdirected)).await,
                    401,
                    "{operation:?} takes an assertion for somebody else"
                );
            }
        }
    }
    assert!(calls > 80, "only {calls} operations were found");
}

async fn open_documents(world: &World) -> Vec<Document> {
    let mut documents = Vec::new();
    for service in SERVICES {
        let served = world.shop.service(service).await.get("/openapi.json").await.expect(200);
        documents.push(Document::new(service, served.json()));
    }
    documents
}

async fn documents(world: &World) {
    world.case("services answer as their documents say");
    let documents = open_documents(world).await;
    let seen = world.witness.seen();
    let covered = check_all(&documents, &seen).unwrap_or_else(|wrong| panic!("{}", wrong.join("\n")));
    let is_public = |path: &str| {
        ![
            "/_leeward",
            "/internal",
            "/health",
            "/ready",
            "/metrics",
            "/openapi.json",
            "/.well-known/leeward-keys",
        ]
        .iter()
        .any(|own| path.starts_with(own))
    };
    let all = documents.iter().flat_map(Document::operations).map(|(operation, _)| operation);
    let missed: Vec<_> = all.filter(|it| is_public(&it.path) && !covered.contains(it)).collect();
    assert_eq!(missed, [], "operations that nobody saw answer well");
    assert!(seen.len() > 80, "only {} answers were seen", seen.len());
}
