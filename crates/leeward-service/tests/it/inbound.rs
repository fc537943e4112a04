//! The inbound stack, over a socket.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::extract::State;
use leeward_resilience::{Concurrency, Priority, RateLimit, Shed};
use leeward_service::{
    Access, Api, Caller, Cause, Fault, FaultSet, Json, Kit, Path, Principal, Problem, RouteOptions, Service,
    Until, routes,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::world::{World, anna, asserts, get, post, stranger};

#[derive(Clone)]
struct Shared {
    kit: Kit,
    calls: Arc<AtomicU32>,
    gate: Arc<Semaphore>,
}

#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
struct Echo {
    text: String,
}

#[utoipa::path(post, path = "/echo", request_body = Echo, responses((status = 200, body = Echo)))]
async fn echo(State(shared): State<Shared>, Json(echo): Json<Echo>) -> Json<Echo> {
    shared.calls.fetch_add(1, Ordering::SeqCst);
    Json(echo)
}

#[utoipa::path(get, path = "/me", responses((status = 200, body = String)))]
async fn me(caller: Caller, Cause(cause): Cause) -> Result<Json<(String, String)>, Problem> {
    Ok(Json((caller.user_id()?.to_string(), cause.correlation_id.to_string())))
}

#[utoipa::path(get, path = "/things/{id}", responses((status = 200, body = u32)))]
async fn thing(Path(id): Path<u32>) -> Json<u32> {
    Json(id)
}

#[utoipa::path(get, path = "/slow", responses((status = 200)))]
async fn slow(State(shared): State<Shared>, Until(deadline): Until) -> String {
    shared.calls.fetch_add(1, Ordering::SeqCst);
    let _open = shared.gate.acquire().await.unwrap();
    deadline.remaining(shared.kit.clock.now()).as_millis().to_string()
}

#[utoipa::path(get, path = "/panic", responses((status = 200)))]
async fn broken() -> Result<(), Problem> {
    Err(Problem::internal(&"the cause"))
}

#[utoipa::path(get, path = "/crash", responses((status = 200)))]
async fn crash() -> String {
    panic!("of its own making")
}

#[utoipa::path(get, path = "/words", responses((status = 200)))]
async fn words() {
    tokio::task::yield_now().await;
    tracing::info!("said by a handler");
}

struct Shop {
    world: World,
    shared: Shared,
    address: std::net::SocketAddr,
    gateway: leeward_service::Minter,
}

async fn shop(change: impl FnOnce(&mut leeward_service::KitOptions)) -> Shop {
    let world = World::new().await;
    let gateway = world.issuer("gateway").await;
    let mut options = world.options("shop");
    change(&mut options);
    let kit = Kit::new(options).await.unwrap();
    let shared = Shared { kit: kit.clone(), calls: Arc::default(), gate: Arc::new(Semaphore::new(0)) };
    let small = RouteOptions { body_bytes_max: 64, ..RouteOptions::default() };
    let api = Api::new()
        .add_with(Access::Anyone, small, routes!(echo))
        .add(Access::User, routes!(me))
        .add(Access::Anyone, routes!(thing))
        .add(Access::Anyone, routes!(slow))
        .add(Access::Anyone, routes!(broken))
        .add(Access::Anyone, routes!(crash))
        .add_with(
            Access::Anyone,
            RouteOptions { priority: Priority::Low, ..RouteOptions::default() },
            routes!(words),
        );
    let service = Service::builder(kit).api(api).state(shared.clone()).build().unwrap();
    let address = world.serve(service).await;
    Shop { world, shared, address, gateway }
}

#[tokio::test]
async fn an_answer_says_who_gave_it_and_to_what() {
    let shop = shop(|_| {}).await;
    let answer = get(shop.address, "/things/7", "x-request-id: r-1\r\n").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "7"));
    assert_eq!(answer.header("x-service-name"), Some("shop"));
    assert_eq!(answer.header("x-request-id"), Some("r-1"));
    let answer = get(shop.address, "/things/7", "x-request-id: not an id\r\n").await;
    assert_eq!(answer.header("x-request-id").unwrap().len(), 32);
    shop.world.stop().await;
}

#[tokio::test]
async fn only_the_assertion_makes_a_user() {
    let shop = shop(|_| {}).await;
    let me = async |headers: &str| get(shop.address, "/me", headers).await;
    let correlation = "x-correlation-id: c-1\r\n";
    let known = me(&(asserts(&shop.gateway, &anna(), "shop") + correlation)).await;
    assert_eq!(known.json(), serde_json::json!(["u-anna", "c-1"]));

    let bare = me("x-user-id: u-anna\r\nx-user-role: admin\r\nauthorization: Bearer x\r\n").await;
    assert_eq!((bare.status, bare.code().as_str()), (401, "unauthenticated"));
    assert_eq!(bare.header("content-type"), Some("application/problem+json"));
    assert_eq!(bare.header("x-service-name"), Some("shop"));
    for wrong in [
        asserts(&shop.gateway, &anna(), "other"),
        asserts(&stranger("gateway"), &anna(), "shop"),
        asserts(&stranger("nobody"), &anna(), "shop"),
        asserts(&shop.gateway, &anna(), "shop").repeat(2),
    ] {
        assert_eq!(me(&wrong).await.status, 401, "{wrong}");
        // A wrong identity is refused even where none is needed.
        assert_eq!(get(shop.address, "/things/7", &wrong).await.status, 401);
    }
    assert_eq!(me(&asserts(&shop.gateway, &Principal::Service, "shop")).await.status, 403);
    shop.world.stop().await;
}

#[tokio::test]
async fn what_is_malformed_is_answered_as_a_problem() {
    let shop = shop(|_| {}).await;
    let echo = async |body: &str| post(shop.address, "/echo", "", body).await.unwrap();
    assert_eq!(echo(r#"{"text":"hi"}"#).await.status, 200);
    assert_eq!(echo(r#"{"text":"#).await.code(), "malformed");
    assert_eq!(echo(r#"{"text":1}"#).await.code(), "invalid");
    let long = format!(r#"{{"text":"{}"}}"#, "x".repeat(64));
    assert_eq!(echo(&long).await.code(), "payload_too_large");
    let chunked = format!(
        "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\
         connection: close\r\n\r\n{:x}\r\n{long}\r\n0\r\n\r\n",
        long.len(),
    );
    assert_eq!(crate::world::send(shop.address, &chunked).await.unwrap().code(), "payload_too_large");
    assert_eq!(shop.shared.calls.load(Ordering::SeqCst), 1, "only the good one reached the handler");

    assert_eq!(get(shop.address, "/things/x", "").await.code(), "not_found");
    assert_eq!(get(shop.address, "/nowhere", "").await.code(), "not_found");
    let wrong_method = get(shop.address, "/echo", "").await;
    assert_eq!((wrong_method.status, wrong_method.code().as_str()), (405, "method_not_allowed"));
    assert_eq!(wrong_method.header("allow"), Some("post"));
    let internal = get(shop.address, "/panic", "").await;
    assert_eq!(internal.code(), "internal");
    assert!(!internal.body.contains("the cause"));
    shop.world.stop().await;
}

#[tokio::test]
async fn the_callers_deadline_counts_and_ours_caps_it() {
    let shop = shop(|options| options.inbound.deadline_max = Duration::from_secs(2)).await;
    let late = get(shop.address, "/slow", "x-deadline-ms: 400\r\n").await;
    assert_eq!((late.status, late.code().as_str()), (504, "deadline_exceeded"));
    assert_eq!(get(shop.address, "/slow", "x-deadline-ms: 0\r\n").await.status, 504);
    assert_eq!(shop.shared.calls.load(Ordering::SeqCst), 1, "past its deadline nothing is begun");
    shop.shared.gate.add_permits(1);
    let capped: u64 = get(shop.address, "/slow", "x-deadline-ms: 999999\r\n").await.body.parse().unwrap();
    assert!(capped <= 2_000, "{capped}");
    shop.world.stop().await;
}

#[tokio::test]
async fn at_the_limit_a_request_is_shed_and_probes_are_not() {
    let limit = NonZeroU32::MIN;
    let shop = shop(|options| {
        let max_wait = Duration::from_millis(1);
        options.inbound.shed.concurrency =
            Concurrency { limit, queue: 0, max_wait, ..Concurrency::default() };
    })
    .await;
    let first = tokio::time::timeout(Duration::from_secs(5), get(shop.address, "/slow", ""));
    let second = async {
        while shop.shared.calls.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let shed = get(shop.address, "/things/7", "").await;
        let ready = get(shop.address, "/health/ready", "").await;
        shop.shared.gate.add_permits(1);
        (shed, ready)
    };
    let (first, (shed, ready)) = tokio::join!(first, second);
    assert_eq!(
        (shed.status, shed.code().as_str(), shed.header("retry-after")),
        (503, "overloaded", Some("1"))
    );
    assert_eq!(ready.status, 200);
    assert_eq!(first.unwrap().status, 200);
    assert_eq!(get(shop.address, "/things/7", "").await.status, 200, "the permit came back");
    shop.world.stop().await;
}

/// Whether a request was refused at the door, for its priority; else it waited until its deadline, which the queue and the
/// request's own clock both watch: either may be the first to say so.
fn is_shed(answer: &crate::world::Answer) -> bool {
    if answer.status == 504 {
        assert_eq!(answer.code(), "deadline_exceeded", "{answer:?}");
        return false;
    }
    assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"), "{answer:?}");
    assert!(answer.header("retry-after").is_some());
    answer.json()["detail"].as_str().unwrap().contains("is shed")
}

/// How many of a hundred requests are let into the queue.
async fn let_in(address: std::net::SocketAddr, path: &'static str, headers: &str) -> usize {
    let headers = format!("x-deadline-ms: 1000\r\n{headers}");
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let headers = headers.clone();
        asked.spawn(async move { get(address, path, &headers).await });
    }
    asked.join_all().await.iter().filter(|answer| !is_shed(answer)).count()
}

#[tokio::test]
async fn a_queue_that_stands_refuses_the_least_important_at_the_door() {
    let shop = shop(|options| {
        let (limit, max_wait) = (NonZeroU32::MIN, Duration::from_secs(30));
        let concurrency = Concurrency { limit, queue: 512, max_wait, ..Concurrency::default() };
        let (target, interval) = (Duration::from_millis(1), Duration::from_millis(10));
        options.inbound.shed = Shed { target, interval, concurrency, ..Shed::default() };
    })
    .await;
    let address = shop.address;
    let critical = "x-priority: critical\r\n";
    let known = asserts(&shop.gateway, &anna(), "shop") + critical;
    assert_eq!(get(address, "/words", "").await.status, 200, "without a queue nobody is refused");
    let mut pending = tokio::task::JoinSet::new();
    pending.spawn(async move { get(address, "/slow", "").await });
    while shop.shared.calls.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    pending.spawn(async move { get(address, "/things/7", "").await });
    // The first to be refused are those of a route of low priority; after a while an eighth of the critical ones is all that
    // passes.
    let mut waited = 0;
    while !is_shed(&get(address, "/words", "x-deadline-ms: 20\r\n").await) {
        waited += 1;
    }
    assert!(waited > 0, "the queue has to stand for a while first");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(let_in(address, "/words", "").await, 0);
    assert_eq!(let_in(address, "/things/7", "").await, 0);
    assert_eq!(let_in(address, "/things/7", critical).await, 0, "a stranger cannot say how much it matters");
    assert!(let_in(address, "/things/7", &known).await > 0);
    assert!(let_in(address, "/words", &known).await > 0, "what the caller says comes before the route");
    let text = get(address, "/metrics", "").await.body;
    for parts in [
        ["leeward_policy_rejections_total{", "policy=\"inbound\",kind=\"shed\""],
        ["leeward_shed_level{", "policy=\"inbound\"}"],
    ] {
        assert!(text.lines().any(|line| parts.iter().all(|part| line.contains(part))), "{parts:?}: {text}");
    }
    shop.shared.gate.add_permits(9);
    shop.world.stop().await;
}

#[tokio::test]
async fn a_principal_has_a_rate() {
    let limit = const { NonZeroU32::new(2).unwrap() };
    let shop = shop(|options| options.inbound.rate_limit = Some(RateLimit::per_minute(limit))).await;
    let me = async |user: &Principal| get(shop.address, "/me", &asserts(&shop.gateway, user, "shop")).await;
    let first = me(&anna()).await;
    assert_eq!(first.header("ratelimit-policy"), Some("\"principal\";q=2;w=60"));
    assert!(first.header("ratelimit").unwrap().contains("r=1"));
    me(&anna()).await;
    let limited = me(&anna()).await;
    assert_eq!((limited.status, limited.code().as_str()), (429, "rate_limited"));
    assert!(limited.header("retry-after").is_some());
    assert_eq!(limited.header("ratelimit-policy"), Some("\"principal\";q=2;w=60"));
    assert!(limited.header("ratelimit").unwrap().contains("r=0"), "{limited:?}");
    assert_eq!(
        get(shop.address, "/things/7", "").await.header("ratelimit"),
        None,
        "who is nobody has no rate"
    );
    let other = Principal::User(leeward_service::User::new("u-ben"));
    assert_eq!(me(&other).await.status, 200, "another principal has a rate of its own");
    shop.world.stop().await;
}

#[tokio::test]
async fn faults_do_what_they_say() {
    let shop = shop(|_| {}).await;
    let put = |fault: Fault| {
        shop.shared.kit.faults.set(FaultSet { inbound: Some(fault), ..FaultSet::default() }).unwrap()
    };
    let echo = async || post(shop.address, "/echo", "", r#"{"text":"hi"}"#).await;
    let calls = || shop.shared.calls.load(Ordering::SeqCst);

    put(Fault { error_percent: 100, error_status: 500, ..Fault::default() });
    let failed = echo().await.unwrap();
    assert_eq!((failed.status, failed.code().as_str(), calls()), (500, "fault_injected", 0));
    put(Fault { refuse_percent: 100, ..Fault::default() });
    assert!(echo().await.is_none());
    assert_eq!(calls(), 0, "a refused request is not worked on");
    put(Fault { lost_reply_percent: 100, ..Fault::default() });
    assert!(echo().await.is_none());
    assert_eq!(calls(), 1, "a lost reply's work is done");
    assert_eq!(get(shop.address, "/health/live", "").await.status, 200, "probes are spared");
    put(Fault::default());
    assert_eq!(echo().await.unwrap().status, 200);
    shop.world.stop().await;
}

#[tokio::test]
async fn metrics_count_by_route_and_not_by_path() {
    let shop = shop(|_| {}).await;
    for id in 0..3 {
        get(shop.address, &format!("/things/{id}"), "").await;
        get(shop.address, &format!("/nowhere/{id}"), "").await;
    }
    let text = get(shop.address, "/metrics", "").await.body;
    let line = |needle: &str| text.lines().find(|line| line.contains(needle)).unwrap_or_default().to_owned();
    assert!(line("route=\"/things/{id}\",status_code=\"200\"").ends_with(" 3"), "{text}");
    assert!(line("route=\"unmatched\",status_code=\"404\"").ends_with(" 3"), "{text}");
    assert!(!text.contains("/nowhere/"));
    assert!(text.contains("http_request_duration_seconds_count{"));
    shop.world.stop().await;
}

#[tokio::test]
async fn a_handler_that_panics_answers_and_is_counted() {
    let shop = shop(|_| {}).await;
    // Both on one connection: the first must not cut it.
    let both = "GET /crash HTTP/1.1\r\nhost: x\r\nx-request-id: r-9\r\n\r\n\
                GET /things/7 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = crate::world::send(shop.address, both).await.expect("an answer, and no cut connection");
    assert_eq!((answer.status, answer.header("x-request-id")), (500, Some("r-9")));
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let (problem, next) = answer.body.split_once("HTTP/1.1 ").unwrap();
    assert!(problem.contains("\"code\":\"internal\"") && !problem.contains("making"), "{problem}");
    assert!(next.starts_with("200"), "{next}");
    let text = get(shop.address, "/metrics", "").await.body;
    assert!(text.contains("route=\"/crash\",status_code=\"500\"} 1"), "{text}");
    shop.world.stop().await;
}

#[tokio::test]
async fn what_is_logged_during_a_request_has_its_ids() {
    let (paper, _logs) = crate::world::logs();
    let shop = shop(|_| {}).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let ids = format!("x-correlation-id: c-7\r\ntraceparent: 00-{trace}-00f067aa0ba902b7-01\r\n");
    for path in ["/words", "/panic", "/crash"] {
        get(shop.address, path, &ids).await;
    }
    for (needle, level) in [
        ("said by a handler", "INFO"),
        ("the cause", "ERROR"),
        ("a handler panicked: of its own making", "ERROR"),
    ] {
        let line = paper.line_with(needle);
        assert_eq!((&line["correlation_id"], &line["trace_id"]), (&"c-7".into(), &trace.into()), "{line}");
        assert_eq!(line["level"], level);
    }
    shop.world.stop().await;
}

#[tokio::test]
async fn a_stop_finishes_what_it_is_at() {
    let shop = shop(|_| {}).await;
    let served = get(shop.address, "/slow", "");
    let stopped = async {
        while shop.shared.calls.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let stopping = shop.world.tasks.shutdown(Duration::from_secs(10));
        let gate = Arc::clone(&shop.shared.gate);
        let open = async move { gate.add_permits(1) };
        tokio::join!(stopping, open).0
    };
    let (served, report) = tokio::join!(served, stopped);
    assert_eq!(served.status, 200);
    assert!(report.is_clean(), "{report}");
    assert!(tokio::net::TcpStream::connect(shop.address).await.is_err(), "nothing new is accepted");
}
