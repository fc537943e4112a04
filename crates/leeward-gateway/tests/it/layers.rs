//! Code of the program on the path of requests.

use http::{HeaderName, HeaderValue, StatusCode};
use leeward_gateway::layer::{Answer, Answering, Ask, Layer, Next};
use leeward_gateway::{Builder, Gateway};
use leeward_runtime::Tasks;

use crate::rig::{Rig, Upstream, token};

#[allow(dead_code, unreachable_pub, reason = "an example is a program of its own")]
#[path = "../../examples/layers.rs"]
mod example;

const TRAIL: HeaderName = HeaderName::from_static("x-trail");
const SAID: HeaderName = HeaderName::from_static("x-said");

/// Leaves its name on the way in and on the way out.
struct Names(&'static str);

impl Layer for Names {
    fn call<'a>(&'a self, mut ask: Ask, next: Next<'a>) -> Answering<'a> {
        Box::pin(async move {
            let been = |headers: &http::HeaderMap| {
                let before = headers.get(TRAIL).map_or("", |value| value.to_str().unwrap());
                HeaderValue::try_from(format!("{before}{}", self.0)).unwrap()
            };
            let (trail, who) = (
                been(ask.headers()),
                format!(
                    "{} {:?} {:?} {} {:?}",
                    ask.route(),
                    ask.user(),
                    ask.roles(),
                    ask.path(),
                    ask.query()
                ),
            );
            assert!(!format!("{ask:?}").contains("Bearer"), "no secrets in what is printed");
            ask.set_header(TRAIL, trail).unwrap();
            let mut answer = next.run(ask).await?;
            let trail = been(answer.headers());
            answer.set_header(TRAIL, trail).unwrap();
            answer.set_header(SAID, HeaderValue::try_from(who).unwrap()).unwrap();
            Ok(answer)
        })
    }
}

/// Does what the path says.
struct Moods;

impl Layer for Moods {
    fn call<'a>(&'a self, mut ask: Ask, next: Next<'a>) -> Answering<'a> {
        assert!(ask.path() != "/a/panics-at-once", "as asked");
        Box::pin(async move {
            let path = ask.path().to_owned();
            assert!(path != "/a/panics-before", "as asked");
            if path == "/a/own" {
                return Ok(Answer::new(
                    StatusCode::IM_A_TEAPOT,
                    HeaderValue::from_static("text/plain"),
                    "mine",
                ));
            }
            if path == "/a/interim" {
                let text = HeaderValue::from_static("text/plain");
                return Ok(Answer::new(StatusCode::SWITCHING_PROTOCOLS, text, "no end"));
            }
            if path == "/a/hangs" {
                return std::future::pending().await;
            }
            for name in
                ["x-user-id", "host", "content-length", "x-leeward-assertion", "connection", "x_user_id"]
            {
                let refused = ask.set_header(name.parse().unwrap(), HeaderValue::from_static("7"));
                assert!(refused.unwrap_err().to_string().contains(name));
                ask.remove_header(name.parse().unwrap()).unwrap_err();
            }
            let done = next.run(ask).await;
            assert!(path != "/a/panics-after", "as asked");
            match done {
                Err(refused) if path == "/a/instead" => {
                    let said = format!("{} {}", refused.status().as_u16(), refused.code());
                    Ok(Answer::new(StatusCode::OK, HeaderValue::from_static("text/plain"), said))
                }
                Ok(mut answer) => {
                    for name in ["content-length", "x-request-id", "x-leeward-stale", "transfer-encoding"] {
                        answer.set_header(name.parse().unwrap(), HeaderValue::from_static("7")).unwrap_err();
                        answer.remove_header(name.parse().unwrap()).unwrap_err();
                    }
                    Ok(answer)
                }
                refused => refused,
            }
        })
    }
}

fn yaml(upstream: &Upstream) -> String {
    format!(
        "jwt: {{service: one}}\nlimits: {{deadline: 300ms}}\nservices: {{one: {{urls: [\"{}\"], retry: \"off\"}}}}\n\
         routes:\n  - {{path: /a, id: a, service: one}}\n  - {{path: /own, respond: {{status: 204}}}}\n",
        upstream.url()
    )
}

async fn rig(more: impl FnOnce(Builder) -> Builder) -> (Rig, Upstream) {
    let upstream = Upstream::start().await;
    (Rig::with(&yaml(&upstream), more).await, upstream)
}

#[tokio::test]
async fn layers_stand_in_the_order_in_which_they_were_added() {
    let (rig, upstream) = rig(|builder| builder.layer("b", || Names("b")).layer("a", || Names("a"))).await;
    let answer = rig.get_as(&token("anna", "customer"), "/a/7?x=1").await;
    assert_eq!((answer.status, answer.seen("x-trail").as_str(), answer.header("x-trail")), (200, "ba", "ab"));
    assert_eq!(answer.header("x-said"), "a Some(\"anna\") [\"customer\"] /a/7 Some(\"x=1\")");
    let nobody = rig.get("/a").await;
    assert_eq!(nobody.header("x-said"), "a None [] /a None");
    assert!(!rig.get("/own").await.headers.contains_key("x-trail"), "what the gateway answers itself");
    assert!(
        rig.gateway.explain().starts_with("layer b, in front of all services\nlayer a, "),
        "{}",
        rig.gateway.explain()
    );
    let metrics = rig.metrics().await;
    assert!(metrics.contains("leeward_gateway_layer_requests_total{layer=\"a\"} 2"), "{metrics}");
    rig.reload(&yaml(&upstream).replace("path: /a,", "path: /b,")).unwrap();
    let moved = rig.get("/b").await;
    assert_eq!((moved.status, moved.header("x-trail")), (200, "ab"), "a reload leaves them");
}

#[tokio::test]
async fn a_layer_may_answer_itself_and_in_the_place_of_a_refusal() {
    let (rig, upstream) = rig(|builder| builder.layer("names", || Names("n")).layer("moods", || Moods)).await;
    let own = rig.get("/a/own").await;
    assert_eq!((own.status, &own.body[..], own.header("x-service-name")), (418, &b"mine"[..], "gateway"));
    assert_eq!((own.header("x-trail"), own.header("x-request-id").len()), ("n", 32), "as any other answer");
    let interim = rig.get("/a/interim").await;
    assert_eq!((interim.status, &interim.body[..]), (500, &b"no end"[..]), "an answer has an end");
    assert_eq!(upstream.hits(), 0);
    let asked = rig.get("/a").await;
    assert_eq!((asked.status, asked.header("x-service-name")), (200, "one"));
    let hold = rig.admin("PUT", "/v1/services/one/breaker").header("content-type", "application/json");
    assert_eq!(rig.send(hold, "{\"state\":\"open\"}").await.status, 204);
    assert_eq!(rig.get("/a").await.code(), "breaker_open");
    let instead = rig.get("/a/instead").await;
    assert_eq!((instead.status, &instead.body[..]), (200, &b"503 breaker_open"[..]));
}

#[tokio::test]
async fn a_layer_that_panics_or_hangs_is_an_answer_and_the_core_goes_on() {
    let (rig, _upstream) =
        rig(|builder| builder.layer("names", || Names("n")).layer("moods", || Moods)).await;
    for path in ["/a/panics-at-once", "/a/panics-before", "/a/panics-after"] {
        for _ in 0..4 {
            let answer = rig.get(path).await;
            assert_eq!((answer.status, answer.code().as_str()), (500, "internal"), "{path}");
            assert_eq!(answer.json()["stage"], "layer");
        }
        assert_eq!(rig.get("/a").await.status, 200, "after {path}");
    }
    let late = rig.get("/a/hangs").await;
    assert_eq!((late.status, late.code().as_str()), (504, "deadline_exceeded"));
    assert_eq!(late.json()["stage"], "layer");
    let metrics = rig.metrics().await;
    assert!(metrics.contains("leeward_gateway_layer_panics_total{layer=\"moods\"} 12"), "{metrics}");
    assert!(
        metrics.contains("leeward_gateway_requests_in_flight 0"),
        "what a panic held is given back: {metrics}"
    );
}

#[tokio::test]
async fn the_example_does_what_it_says() {
    let (upstream, tasks) = (Upstream::start().await, Tasks::new());
    let gateway: Gateway = example::start("127.0.0.1:0", &upstream.url(), &tasks).await.unwrap();
    let ask = async |path: &str| {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(gateway.addr()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: acme.shop.example\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        said
    };
    let said = ask("/orders").await;
    assert!(said.starts_with("HTTP/1.1 200") && said.contains("x-edge: tenants"), "{said}");
    assert!(said.contains("\"x-tenant\":\"acme\""), "{said}");
    let closed = ask("/closed/today").await;
    assert!(closed.starts_with("HTTP/1.1 503") && closed.contains("closed until Monday"), "{closed}");
    assert_eq!(upstream.hits(), 1);
    tasks.shutdown(std::time::Duration::from_secs(5)).await;
}
