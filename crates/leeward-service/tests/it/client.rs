//! The outbound client against real services.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::extract::State;
use http::HeaderMap;
use leeward_discovery::Endpoint;
use leeward_resilience::{Cache, Clock, Deadline, Effort, Hedge, Priority, RateLimit, Throttle, TokioClock};
use leeward_service::{
    Access, Api, CallError, Caller, Cause, Client, ClientOptions, Effect, Fault, FaultSet, Hop, Json, Kit,
    Path, Problem, Service, User, routes,
};
use leeward_telemetry::Correlation;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{World, listener};

#[derive(Clone, Default)]
struct Provider {
    calls: Arc<AtomicU32>,
    /// How many of the first calls fail.
    failing: Arc<AtomicU32>,
}

impl Provider {
    fn count(&self) -> Result<u32, Problem> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let failing = self.failing.load(Ordering::SeqCst);
        if call < failing {
            Err(Problem::unavailable("not now").retry_after(Duration::ZERO))
        } else {
            Ok(call)
        }
    }
}

#[utoipa::path(get, path = "/count", responses((status = 200, body = u32)))]
async fn count(State(provider): State<Provider>) -> Result<Json<u32>, Problem> {
    provider.count().map(Json)
}

#[utoipa::path(post, path = "/count", responses((status = 200, body = u32)))]
async fn add(State(provider): State<Provider>) -> Result<Json<u32>, Problem> {
    provider.count().map(Json)
}

#[utoipa::path(get, path = "/headers", responses((status = 200, body = Object)))]
async fn headers(headers: HeaderMap, caller: Caller, Cause(cause): Cause) -> Json<serde_json::Value> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Json(serde_json::json!({
        "deadline": text("x-deadline-ms"), "priority": text("x-priority"), "attempt": text("x-retry-attempt"), "service": text("x-service-name"),
        "issuer": caller.issuer(), "user": caller.user().map(|user| user.id.to_string()),
        "correlation": *cause.correlation_id, "trace": format!("{:032x}", cause.trace.trace_id()),
    }))
}

#[utoipa::path(get, path = "/through", responses((status = 200, body = u32)))]
async fn through(State(relay): State<Client>, hop: Hop) -> Result<Json<u32>, Problem> {
    Ok(Json(relay.get("/count").within(&hop).send().await?))
}

#[utoipa::path(get, path = "/through/headers", responses((status = 200, body = Object)))]
async fn through_headers(State(relay): State<Client>, hop: Hop) -> Result<Json<serde_json::Value>, Problem> {
    Ok(Json(relay.get("/headers").within(&hop).act_for(&User::new("u-anna")).send().await?))
}

/// Does its work, and then answers with the status that it is asked for.
#[utoipa::path(post, path = "/done/{status}", responses((status = 200)))]
async fn done_but(State(provider): State<Provider>, Path(status): Path<u16>) -> Problem {
    provider.calls.fetch_add(1, Ordering::SeqCst);
    Problem::new(http::StatusCode::from_u16(status).unwrap(), "whatever")
}

#[utoipa::path(post, path = "/through/{status}", responses((status = 200)))]
async fn through_done(
    State(relay): State<Client>,
    Path(status): Path<u16>,
    hop: Hop,
) -> Result<Json<()>, Problem> {
    Ok(Json(relay.post(&format!("/done/{status}")).within(&hop).done().await?))
}

#[utoipa::path(get, path = "/refuse", responses((status = 200)))]
async fn refuse() -> Problem {
    Problem::conflict("price_changed", "it went up").with("quote", 12)
}

#[utoipa::path(post, path = "/hang", responses((status = 200)))]
async fn hang(State(provider): State<Provider>) {
    provider.calls.fetch_add(1, Ordering::SeqCst);
    std::future::pending::<()>().await;
}

struct Pair {
    world: World,
    provider: Provider,
    provider_kit: Kit,
    caller: Kit,
}

impl Pair {
    async fn new() -> Self {
        let world = World::new().await;
        let (provider, provider_kit) = (Provider::default(), world.kit("provider").await);
        let api = Api::new()
            .add(Access::Services(&["caller"]), routes!(count, add))
            .add(Access::Services(&["caller"]), routes!(headers))
            .add(Access::Anyone, routes!(done_but))
            .add(Access::Anyone, routes!(refuse))
            .add(Access::Anyone, routes!(hang));
        let service =
            Service::builder(provider_kit.clone()).api(api).state(provider.clone()).build().unwrap();
        world.serve(service).await;
        let caller = world.kit("caller").await;
        world.serve(Service::builder(caller.clone()).build().unwrap()).await;
        Self { world, provider, provider_kit, caller }
    }

    fn client(&self) -> Client {
        self.caller.client("provider")
    }

    fn calls(&self) -> u32 {
        self.provider.calls.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_call_carries_what_belongs_to_it() {
    let pair = Pair::new().await;
    let cause = Correlation { correlation_id: "c-9".into(), ..Correlation::new_root(&*pair.caller.rng) };
    let deadline = Deadline::after(TokioClock.now(), Duration::from_millis(1500));
    let seen: serde_json::Value = pair
        .client()
        .get("/headers")
        .correlation(&cause)
        .deadline(deadline)
        .act_for(&User::new("u-anna"))
        .send()
        .await
        .unwrap();
    assert_eq!(seen["service"], "caller");
    assert_eq!((&seen["issuer"], &seen["user"]), (&"caller".into(), &"u-anna".into()));
    assert_eq!(seen["correlation"], "c-9");
    assert_eq!(seen["trace"], format!("{:032x}", cause.trace.trace_id()));
    let left: u64 = seen["deadline"].as_str().unwrap().parse().unwrap();
    assert!((1..1500).contains(&left), "{left}");
    assert!(seen["attempt"].is_null());
    pair.world.stop().await;
}

#[tokio::test]
async fn what_may_be_repeated_is_and_nothing_else() {
    let pair = Pair::new().await;
    pair.provider.failing.store(1, Ordering::SeqCst);
    assert_eq!(pair.client().get("/count").send::<u32>().await.unwrap(), 1);
    pair.provider.failing.store(3, Ordering::SeqCst);
    let once = pair.client().post("/count").send::<u32>().await.unwrap_err();
    assert_eq!((once.status(), once.effect(), pair.calls()), (Some(503), Effect::None, 3));
    pair.provider.failing.store(4, Ordering::SeqCst);
    assert_eq!(pair.client().post("/count").key("k-1").send::<u32>().await.unwrap(), 4);
    // A call that already is a retry of somebody further out is not retried again here.
    pair.provider.failing.store(6, Ordering::SeqCst);
    assert!(
        pair.client()
            .get("/count")
            .effort(Effort { attempt: 1, spent_percent: 0 })
            .send::<u32>()
            .await
            .is_err()
    );
    assert_eq!(pair.calls(), 6);
    pair.world.stop().await;
}

#[tokio::test]
async fn a_retry_further_out_is_not_multiplied() {
    let pair = Pair::new().await;
    let between = pair.world.kit("between").await;
    let api = Api::new().add(Access::AnyService, routes!(through));
    let state = pair.client();
    pair.world.serve(Service::builder(between).api(api).state(state).build().unwrap()).await;
    pair.provider.failing.store(u32::MAX, Ordering::SeqCst);
    let error = pair.caller.client("between").get("/through").send::<u32>().await.unwrap_err();
    assert_eq!(error.status(), Some(503));
    // The first attempt is tried three times below; its two retries once each.
    assert_eq!(pair.calls(), 5);
    pair.world.stop().await;
}

#[tokio::test]
async fn how_much_a_call_matters_travels_with_it() {
    let pair = Pair::new().await;
    let between = pair.world.kit("between").await;
    let api = Api::new().add(Access::AnyService, routes!(through_headers));
    pair.world.serve(Service::builder(between).api(api).state(pair.client()).build().unwrap()).await;
    let client = pair.caller.client("between");
    for (priority, said) in [
        (Priority::Critical, serde_json::json!("critical")),
        (Priority::Low, serde_json::json!("low")),
        (Priority::Normal, serde_json::json!("normal")),
    ] {
        let call = client.get("/through/headers").priority(priority);
        assert_eq!(call.send::<serde_json::Value>().await.unwrap()["priority"], said, "{priority}");
    }
    pair.world.stop().await;
}

#[tokio::test]
async fn the_throttle_holds_back_what_matters_least() {
    let pair = Pair::new().await;
    let mut options = ClientOptions::default();
    options.policies.throttle = Some(Throttle::default());
    options.policies.breaker = None;
    let client = pair.caller.client_with("provider", options).unwrap();
    pair.provider.failing.store(u32::MAX, Ordering::SeqCst);
    let rejected = async |priority| {
        let mut rejected = 0;
        for _ in 0..300 {
            let call = client.post("/count").priority(priority).send::<u32>().await.unwrap_err();
            rejected += usize::from(matches!(call, CallError::Rejected { .. }));
        }
        rejected
    };
    let _learns = rejected(Priority::Low).await;
    let (low, critical) = (rejected(Priority::Low).await, rejected(Priority::Critical).await);
    // Each call is drawn by lot: in 300 of them the two are far enough apart.
    assert!(4 * low > 5 * critical && low > 100, "{low} of low, {critical} of critical priority");
    pair.world.stop().await;
}

#[tokio::test]
async fn a_target_may_have_any_policy_of_the_pipeline() {
    let pair = Pair::new().await;
    let mut options = ClientOptions::default();
    options.policies.rate_limit = Some(RateLimit::per_minute(const { NonZeroU32::new(2).unwrap() }).into());
    options.policies.hedge = Some(Hedge::default());
    let client = pair.caller.client_with("provider", options.clone()).unwrap();
    assert!(
        client.explain().contains("hedge") && client.explain().contains("rate-limit"),
        "{}",
        client.explain()
    );
    for call in 0..2 {
        assert_eq!(client.post("/count").send::<u32>().await.unwrap(), call);
    }
    let limited = client.post("/count").send::<u32>().await.unwrap_err();
    assert!(matches!(limited, CallError::Rejected { .. }) && limited.effect() == Effect::None, "{limited}");
    assert_eq!(pair.calls(), 2);

    options.policies.cache = Some(Cache::default());
    options.answer_bytes_max = 0;
    let mistakes = pair.caller.client_with("other", options).unwrap_err();
    assert_eq!(mistakes.paths(), ["client.answer_bytes_max", "client.cache"]);
    pair.world.stop().await;
}

#[tokio::test]
async fn a_doubt_two_services_away_stays_a_doubt() {
    let pair = Pair::new().await;
    let between = pair.world.kit("between").await;
    let api = Api::new().add(Access::AnyService, routes!(through_done));
    pair.world.serve(Service::builder(between).api(api).state(pair.client()).build().unwrap()).await;
    let client = pair.caller.client("between");
    for (status, between, effect) in [
        (500, 504, Effect::Unknown),
        (502, 504, Effect::Unknown),
        (504, 504, Effect::Unknown),
        // These two promise that nothing was changed, and so may the one between.
        (503, 503, Effect::None),
        (429, 503, Effect::None),
    ] {
        let error = client.post(&format!("/through/{status}")).done().await.unwrap_err();
        assert_eq!((error.status(), error.effect()), (Some(between), effect), "{status}");
    }
    assert_eq!(pair.calls(), 5);
    pair.world.stop().await;
}

#[tokio::test]
async fn a_refusal_keeps_its_code_and_its_members() {
    let pair = Pair::new().await;
    let error = pair.client().get("/refuse").done().await.unwrap_err();
    let problem = error.problem().unwrap();
    assert_eq!((problem.code.as_str(), &problem.extra["quote"]), ("price_changed", &12.into()));
    assert_eq!(error.effect(), Effect::None);
    assert!(!error.is_transient());
    let wrong = pair.client().get("/headers").send::<u32>().await.unwrap_err();
    assert!(matches!(wrong, CallError::Decode { .. }) && wrong.effect() == Effect::Unknown);
    assert!(matches!(pair.client().get("no slash").done().await, Err(CallError::Build { .. })));
    pair.world.stop().await;
}

#[tokio::test]
async fn an_error_says_whether_it_may_have_happened() {
    let pair = Pair::new().await;
    // Nobody listens: nothing was sent.
    let closed = listener().await.local_addr().unwrap();
    pair.world.directory.set("gone", [Endpoint::from(closed)]);
    let gone = pair.caller.client("gone").post("/").done().await.unwrap_err();
    assert!(matches!(gone, CallError::NotSent { .. }) && gone.effect() == Effect::None, "{gone}");
    let nobody = pair.caller.client("nobody").post("/").done().await.unwrap_err();
    assert!(matches!(nobody, CallError::Rejected { .. }) && nobody.effect() == Effect::None, "{nobody}");

    // The reply is lost: the work is done.
    let lost = FaultSet {
        inbound: Some(Fault { lost_reply_percent: 100, ..Fault::default() }),
        ..FaultSet::default()
    };
    pair.provider_kit.faults.set(lost).unwrap();
    let lost = pair.client().post("/count").send::<u32>().await.unwrap_err();
    assert!(matches!(lost, CallError::Unknown { .. }), "{lost}");
    assert_eq!(pair.calls(), 1);
    pair.provider_kit.faults.set(FaultSet::default()).unwrap();

    // It hangs: whether it is done is not known.
    let deadline = Deadline::after(TokioClock.now(), Duration::from_millis(400));
    let hung = pair.client().post("/hang").deadline(deadline).done().await.unwrap_err();
    assert!(hung.effect() == Effect::Unknown, "{hung}");
    let past = Deadline::after(TokioClock.now(), Duration::ZERO);
    let late = pair.client().post("/hang").deadline(past).done().await.unwrap_err();
    assert!(matches!(late, CallError::NotSent { .. }), "{late}");
    assert_eq!(pair.calls(), 2);
    pair.world.stop().await;
}

#[tokio::test]
async fn an_attempt_in_doubt_outweighs_a_refused_one_after_it() {
    let pair = Pair::new().await;
    // The first attempt is lost on the way back, the second finds nobody.
    let hanging = listener().await;
    let address = hanging.local_addr().unwrap();
    let closed = listener().await.local_addr().unwrap();
    pair.world.directory.set("mixed", [Endpoint::from(address)]);
    let swallow = async {
        let (stream, _) = hanging.accept().await.unwrap();
        pair.world.directory.set("mixed", [Endpoint::from(closed)]);
        drop((stream, hanging));
    };
    let client = pair.caller.client("mixed");
    let (error, ()) = tokio::join!(client.get("/").done(), swallow);
    let error = error.unwrap_err();
    assert!(matches!(error, CallError::Unknown { .. }), "{error}");
    pair.world.stop().await;
}

/// A target that answers each attempt in turn: a status, or 0 to hang up without a word. When all are used up it is gone.
async fn scripted(pair: &Pair, name: &str, script: &'static [u16]) -> impl Future<Output = ()> {
    let listener = listener().await;
    pair.world.directory.set(name, [Endpoint::from(listener.local_addr().unwrap())]);
    async move {
        for status in script {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            assert!(stream.read(&mut head).await.unwrap() > 0);
            let answer = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            if *status > 0 {
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn no_answer_hides_an_attempt_in_doubt() {
    let pair = Pair::new().await;
    for (name, script, with_key, without_key) in [
        ("lost-then-shed", &[0_u16, 503, 503][..], Effect::Unknown, Effect::Unknown),
        ("lost-then-limited", &[0, 429, 429], Effect::Unknown, Effect::Unknown),
        ("failed-then-gone", &[500], Effect::Unknown, Effect::Unknown),
        ("late-then-gone", &[504], Effect::Unknown, Effect::Unknown),
        ("late-then-shed", &[502, 503, 503], Effect::Unknown, Effect::Unknown),
        ("lost-then-in-flight", &[0, 409], Effect::Unknown, Effect::Unknown),
        // A key is refused alike each time; without one, not found may mean that the first attempt did it.
        ("lost-then-refused", &[0, 402], Effect::None, Effect::Unknown),
        ("shed-then-refused", &[503, 402], Effect::None, Effect::None),
        ("shed", &[503, 503, 503], Effect::None, Effect::None),
    ] {
        for (target, keyed, effect) in
            [(format!("{name}-k"), true, with_key), (format!("{name}-n"), false, without_key)]
        {
            let answers = scripted(&pair, &target, script).await;
            let client = pair.caller.client(&target);
            let call = client.post("/").replayable();
            let call = if keyed { call.key("k-1") } else { call };
            let (result, ()) = tokio::join!(call.done(), answers);
            let error = result.unwrap_err();
            assert_eq!(error.effect(), effect, "{target}: {error}");
        }
    }
    let answers = scripted(&pair, "lost-then-done", &[0, 200]).await;
    let client = pair.caller.client("lost-then-done");
    let (done, ()) = tokio::join!(client.post("/").key("k-1").done(), answers);
    assert!(done.is_ok(), "{done:?}");
    pair.world.stop().await;
}

#[tokio::test]
async fn the_breaker_opens_and_says_when_to_come_back() {
    let pair = Pair::new().await;
    pair.provider.failing.store(u32::MAX, Ordering::SeqCst);
    for _ in 0..10 {
        assert!(pair.client().post("/count").send::<u32>().await.is_err());
    }
    let calls = pair.calls();
    assert!(calls < 10, "{calls} calls reached a target that only fails");
    let error = pair.client().post("/count").send::<u32>().await.unwrap_err();
    assert!(matches!(error, CallError::Rejected { .. }) && error.retry_after().is_some(), "{error}");
    assert_eq!(pair.calls(), calls);
    let problem = Problem::from(error);
    assert_eq!((problem.status().as_u16(), problem.code()), (503, "upstream_unavailable"));
    let metrics = pair.caller.registry.encode();
    assert!(metrics.contains("leeward_breaker_state{service=\"caller\",policy=\"provider\"} 2"), "{metrics}");
    pair.world.stop().await;
}

#[tokio::test]
async fn an_old_copy_stands_in_when_the_target_is_down() {
    let pair = Pair::new().await;
    let fetch =
        async || pair.client().get("/count").stale_if_error(Duration::from_secs(60)).fetch::<u32>().await;
    assert_eq!(fetch().await.unwrap().stale, None);
    pair.provider.failing.store(u32::MAX, Ordering::SeqCst);
    let old = fetch().await.unwrap();
    assert_eq!(old.value, 0);
    assert!(old.stale.is_some());
    let too_old = pair.client().get("/count").stale_if_error(Duration::ZERO).fetch::<u32>().await;
    assert!(too_old.is_err());
    let without = pair.client().get("/count").fetch::<u32>().await;
    assert!(without.is_err(), "only who asks for it gets an old copy");
    pair.world.stop().await;
}

#[tokio::test]
async fn faults_of_a_target_are_the_callers_own() {
    let pair = Pair::new().await;
    let fault = Fault { error_percent: 100, error_status: 500, ..Fault::default() };
    let set = FaultSet { outbound: [("provider".to_owned(), fault)].into(), ..FaultSet::default() };
    pair.caller.faults.set(set).unwrap();
    let error = pair.client().post("/count").send::<u32>().await.unwrap_err();
    assert_eq!((error.status(), pair.calls()), (Some(500), 0));
    pair.world.stop().await;
}

#[tokio::test]
async fn the_wrong_service_is_refused() {
    let pair = Pair::new().await;
    let other = pair.world.kit("other").await;
    pair.world.serve(Service::builder(other.clone()).build().unwrap()).await;
    let error = other.client("provider").get("/count").send::<u32>().await.unwrap_err();
    assert_eq!(error.status(), Some(403));
    let outside = pair.caller.client_with("provider", ClientOptions::outside()).unwrap();
    assert_eq!(
        outside.get("/count").send::<u32>().await.unwrap_err().status(),
        Some(401),
        "no assertion goes outside"
    );
    pair.world.stop().await;
}

#[tokio::test]
async fn explain_prints_the_order() {
    let pair = Pair::new().await;
    let text = pair.client().explain();
    let place = |word: &str| text.find(word).unwrap_or_else(|| panic!("{word} in {text}"));
    assert!(place("retry") < place("breaker"), "{text}");
    pair.world.stop().await;
}
