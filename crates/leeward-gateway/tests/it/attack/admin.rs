//! What a page in an operator's browser, a stranger or a slip can do to the admin API: nothing.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rig::{Rig, Upstream};

/// What changes something, each with a body that would.
const ACTS: [(&str, &str, &str); 11] = [
    ("PUT", "/v1/services/s/breaker", "{\"state\": \"open\"}"),
    ("PUT", "/v1/services/s/endpoints/127.0.0.1:1", "{\"state\": \"ejected\"}"),
    ("PUT", "/v1/services/s/faults", "{\"error_percent\": 100}"),
    ("DELETE", "/v1/services/s/faults", ""),
    ("PUT", "/v1/routes/r/faults", "{\"error_percent\": 100}"),
    ("DELETE", "/v1/routes/r/faults", ""),
    ("POST", "/v1/drain", ""),
    ("DELETE", "/v1/drain", ""),
    ("PUT", "/v1/delivery/d", "{\"share\": \"100%\", \"expected\": 1}"),
    ("PUT", "/v1/delivery/d", "{\"action\": \"abort\"}"),
    ("POST", "/v1/reload", ""),
];

/// What tells something.
const QUESTIONS: [&str; 6] =
    ["/v1/openapi.json", "/v1/holds", "/v1/delivery/d", "/v1/routes", "/v1/services", "/metrics"];

async fn rig(admin: &str) -> (Rig, Upstream) {
    let upstream = Upstream::start().await;
    let yaml = format!(
        "admin: {{faults: true{admin}}}\nservices:\n  s: {{urls: [\"{0}\", \"http://127.0.0.1:1\"]}}\n  t: {{urls: [\"{0}\"]}}\nroutes:\n  \
         - {{path: /r, id: r, service: s}}\n  - {{path: /d, id: d, delivery: {{kind: canary, stable: s, candidate: t, share: 5%}}}}\n",
        upstream.url()
    );
    (Rig::start(&yaml).await, upstream)
}

/// Everything that acts could have changed.
async fn untouched(rig: &Rig, token: &str) -> Value {
    let ask = async |path: &str| {
        let answer = rig.send(rig.admin("GET", path).header("authorization", token), "").await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    };
    let (holds, delivery) = (ask("/v1/holds").await, ask("/v1/delivery/d").await);
    json!([holds, delivery["share"], delivery["version"]])
}

fn nothing() -> Value {
    json!([{"held": [], "faults": [], "acts": []}, "5%", 1])
}

/// The status line and the body that bytes are answered with.
async fn raw(rig: &Rig, bytes: &str) -> String {
    let mut stream = TcpStream::connect(rig.gateway.admin_addr()).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn request(method: &str, path: &str, lines: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{lines}\r\n{body}"
    )
}

#[tokio::test]
async fn a_page_elsewhere_reaches_nothing_by_a_name_or_an_origin() {
    let (rig, _upstream) = rig("").await;
    let own = format!("Host: {}\r\n", rig.gateway.admin_addr());
    for lines in [
        // A name that a stranger's DNS points here.
        "Host: rebound.example\r\n".to_owned(),
        "Host: localhost.example:9900\r\n".to_owned(),
        "Host: 127.0.0.1.example\r\n".to_owned(),
        "Host: 127.0.0.1@rebound.example\r\n".to_owned(),
        // A page that sends what a form can send, or more.
        format!("{own}Origin: https://page.example\r\n"),
        format!("{own}Origin: null\r\n"),
        format!("{own}Origin: http://{}.page.example\r\n", rig.gateway.admin_addr()),
    ] {
        for (method, path, body) in ACTS {
            let said = raw(&rig, &request(method, path, &lines, body)).await;
            assert!(said.starts_with("HTTP/1.1 403"), "{lines}{method} {path}: {said}");
        }
        for path in QUESTIONS {
            let said = raw(&rig, &request("GET", path, &lines, "")).await;
            assert!(
                said.starts_with("HTTP/1.1 403") && !said.contains("127.0.0.1:1"),
                "{lines}{path}: {said}"
            );
        }
    }
    assert_eq!(untouched(&rig, "").await, nothing());
}

#[tokio::test]
async fn who_has_no_token_learns_and_does_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "open-sesame").unwrap();
    let (rig, _upstream) = rig(&format!(", token: \"file:{}\"", file.display())).await;
    let own = format!("Host: {}\r\n", rig.gateway.admin_addr());
    for token in [
        "",
        "Authorization: Bearer open-sesam\r\n",
        "Authorization: Basic open-sesame\r\n",
        "X-Admin-Token: open-sesame\r\n",
    ] {
        let lines = format!("{own}{token}");
        for (method, path, body) in ACTS {
            let said = raw(&rig, &request(method, path, &lines, body)).await;
            assert!(said.starts_with("HTTP/1.1 401"), "{token}{method} {path}: {said}");
        }
        for path in QUESTIONS {
            assert!(
                raw(&rig, &request("GET", path, &lines, "")).await.starts_with("HTTP/1.1 401"),
                "{token}{path}"
            );
        }
    }
    assert_eq!(untouched(&rig, "Bearer open-sesame").await, nothing());
}

#[tokio::test]
async fn what_is_no_order_does_nothing() {
    let (rig, _upstream) = rig("").await;
    let own = format!("Host: {}\r\n", rig.gateway.admin_addr());
    let deep = format!("{{\"state\": {}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let long = format!("{{\"state\": \"ejected\", \"reason\": \"{}\"}}", "x".repeat(201));
    let endpoint = "/v1/services/s/endpoints/127.0.0.1:1";
    for (method, path, body) in [
        ("PUT", endpoint, deep.as_str()),
        ("PUT", endpoint, long.as_str()),
        ("PUT", endpoint, "{\"state\": \"ejected\", \"state\": \"in\"}"),
        ("PUT", endpoint, "{\"state\": \"ejected\", \"lasts\": \"1000d\"}"),
        ("PUT", endpoint, "{\"state\": \"ejected\"} {}"),
        ("PUT", "/v1/services/s/endpoints/..%2f..%2fdrain", "{\"state\": \"ejected\"}"),
        ("PUT", "/v1/services/s%2fendpoints%2f127.0.0.1:1", "{\"state\": \"ejected\"}"),
        ("PUT", "/v1/services/s/endpoints/127.0.0.1:1%00", "{\"state\": \"ejected\"}"),
        ("PUT", "/v1/services/gateway/endpoints/127.0.0.1:1", "{\"state\": \"ejected\"}"),
        ("PUT", "/v1/routes/r/faults", "{\"error_percent\": 1e999}"),
        ("PUT", "/v1/routes/r/faults", "{\"error_percent\": -1}"),
        ("PUT", "/v1/routes/r/faults", "{\"error_percent\": 60, \"refuse_percent\": 60}"),
        ("PUT", "/v1/routes/r/faults", "{\"latency_ms\": 18446744073709551615}"),
        ("PUT", "/v1/delivery/d", "{\"share\": \"-1%\", \"expected\": 1}"),
        ("PUT", "/v1/delivery/d", "{\"share\": \"1e9%\", \"expected\": 1}"),
        ("PUT", "/v1/delivery/d", "{\"share\": \"9%\", \"expected\": -1}"),
    ] {
        let said = raw(&rig, &request(method, path, &own, body)).await;
        let status: u16 = said.get(9..12).unwrap_or_default().parse().unwrap_or_default();
        let shown = &body[..body.len().min(80)];
        assert!((400..500).contains(&status), "{method} {path} {shown}: {}", &said[..said.len().min(300)]);
    }
    // What a form of a page can send without being asked about: no JSON.
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        for (method, path, body) in ACTS.into_iter().filter(|(_, _, body)| !body.is_empty()) {
            let wrong = request(method, path, &own, body).replace("application/json", kind);
            let said = raw(&rig, &wrong).await;
            assert!(said.starts_with("HTTP/1.1 4"), "{kind} {method} {path}: {said}");
        }
    }
    assert_eq!(untouched(&rig, "").await, nothing());
}
