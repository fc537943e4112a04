//! The admin API as it describes itself: every method that it has is described, and every answer is as described.

use std::collections::BTreeSet;

use leeward_service::identity::Identity;
use serde_json::{Value, json};

use crate::rig::{Answer, Rig, Upstream};

const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];

async fn rig() -> (Rig, Upstream, tempfile::TempDir) {
    let upstream = Upstream::start().await;
    let yaml = format!(
        "admin: {{faults: true}}\ndecisions: {{sample: 100%}}\nservices:\n  orders: {{urls: [\"{0}\", \"http://127.0.0.1:1\"]}}\n  next: {{urls: [\"{0}\"]}}\n\
         routes:\n  - {{path: /orders, id: orders, service: orders, stale_if_error: 10s}}\n  \
         - {{path: /a, id: a, delivery: {{kind: canary, stable: orders, candidate: next}}}}\n",
        upstream.url()
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("leeward.yaml");
    std::fs::write(&file, "listn: 1\n").unwrap();
    let read = {
        let file = file.clone();
        move || leeward_gateway::Config::load(&file, &leeward_runtime::Env::default()).map_err(Into::into)
    };
    let source = leeward_gateway::reload::Source::new(&file, read);
    let identity = Identity::ephemeral("gateway").unwrap();
    (Rig::with(&yaml, |builder| builder.identity(identity).source(source)).await, upstream, folder)
}

async fn document(rig: &Rig) -> Value {
    rig.send(rig.admin("GET", "/v1/openapi.json"), "").await.json()
}

/// A path with something for each of its parameters.
fn filled(path: &str) -> String {
    let known = [("{name}", "orders"), ("{route}", "a"), ("{path}", "sagas")];
    let path = if path.contains("/endpoints/") {
        path.replace("{id}", "127.0.0.1:1")
    } else {
        path.replace("{id}", "orders")
    };
    known.iter().fold(path, |path, (parameter, value)| path.replace(parameter, value))
}

/// Holds an answer against what is described of it.
fn check(document: &Value, path: &str, method: &str, answer: &Answer) {
    let responses = &document["paths"][path][method]["responses"];
    let status = answer.status.to_string();
    let class = format!("{}XX", &status[..1]);
    let response =
        [status.as_str(), &class, "default"].into_iter().map(|key| &responses[key]).find(|it| !it.is_null());
    let response =
        response.unwrap_or_else(|| panic!("{method} {path} answers {status}, which is not described"));
    let Some(content) = response["content"].as_object() else {
        assert!(answer.body.is_empty(), "{method} {path}: {answer:?}");
        return;
    };
    let kind = answer.header("content-type").split(';').next().unwrap_or_default().to_owned();
    let Some(described) = content.get(&kind).or_else(|| content.get("*/*")) else {
        panic!("{method} {path} answers {status} with {kind}: {content:?}")
    };
    if !kind.ends_with("json") || described["schema"].is_null() {
        return;
    }
    let mut schema = described["schema"].clone();
    schema["components"] = document["components"].clone();
    let validator =
        jsonschema::validator_for(&schema).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
    let errors: Vec<String> = validator.iter_errors(&answer.json()).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{method} {path}: {errors:#?} {answer:?}");
}

#[tokio::test]
async fn every_method_is_described_and_no_other_is_there() {
    let (rig, _upstream, _folder) = rig().await;
    let document = document(&rig).await;
    let mut ids = BTreeSet::new();
    for (path, described) in document["paths"].as_object().unwrap() {
        for method in METHODS {
            let answer = rig.send(rig.admin(&method.to_uppercase(), &filled(path)), "").await;
            let is_described = described.get(method).is_some();
            assert_eq!(answer.status != 405, is_described, "{method} {path}: {answer:?}");
            if is_described {
                check(&document, path, method, &answer);
                assert!(
                    ids.insert(described[method]["operationId"].as_str().unwrap().to_owned()),
                    "{method} {path}"
                );
            }
        }
    }
    assert!(ids.len() > 30, "{ids:?}");
}

/// What changes something, done and held against what is described.
async fn act(rig: &Rig, document: &Value, upstream: &Upstream) {
    let act = async |method: &str, path: &str, described: &str, body: Value, status: u16| {
        let request = rig.admin(&method.to_uppercase(), path).header("content-type", "application/json");
        let answer = rig.send(request, body.to_string()).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        check(document, described, method, &answer);
        answer
    };
    let endpoint = format!("/v1/services/orders/endpoints/{}", upstream.addr);
    for (method, path, described, body, status) in [
        (
            "put",
            "/v1/services/orders/breaker",
            "/v1/services/{name}/breaker",
            json!({"state": "closed", "lasts": "1h", "reason": "r"}),
            204,
        ),
        (
            "put",
            endpoint.as_str(),
            "/v1/services/{name}/endpoints/{id}",
            json!({"state": "in", "lasts": "1h"}),
            204,
        ),
        (
            "put",
            "/v1/services/orders/faults",
            "/v1/services/{name}/faults",
            json!({"latency_ms": 1, "latency_percent": 1}),
            204,
        ),
        (
            "put",
            "/v1/routes/orders/faults",
            "/v1/routes/{id}/faults",
            json!({"error_percent": 0.5, "reason": "r"}),
            204,
        ),
        ("post", "/v1/drain", "/v1/drain", json!({"lasts": "1h"}), 204),
        ("put", "/v1/delivery/a", "/v1/delivery/{route}", json!({"share": "5%", "expected": 1}), 200),
        ("put", "/v1/delivery/a", "/v1/delivery/{route}", json!({"share": "5%", "expected": 1}), 409),
        ("post", "/v1/reload", "/v1/reload", json!({}), 422),
    ] {
        act(method, path, described, body.clone(), status).await;
        if let Some(schema) =
            document["paths"][described][method]["requestBody"]["content"]["application/json"].get("schema")
        {
            let mut schema = schema.clone();
            schema["components"] = document["components"].clone();
            assert!(jsonschema::is_valid(&schema, &body), "{described}: {body}");
        }
    }
}

#[tokio::test]
async fn what_is_answered_when_there_is_something_to_tell_is_described_too() {
    let (rig, upstream, _folder) = rig().await;
    let document = document(&rig).await;
    for _ in 0..20 {
        rig.get("/orders").await;
        rig.get("/a").await;
    }
    rig.get("/nowhere").await;
    act(&rig, &document, &upstream).await;
    for path in [
        "/v1/holds",
        "/v1/services",
        "/v1/decisions",
        "/v1/routes",
        "/v1/health",
        "/health",
        "/health/ready",
        "/v1/limits",
    ] {
        let answer = rig.send(rig.admin("GET", path), "").await;
        check(&document, path, "get", &answer);
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(text.len() > 20, "{path}: {text}");
    }
    let holds = rig.send(rig.admin("GET", "/v1/holds"), "").await.json();
    let lists = ["held", "faults", "acts"].map(|list| holds[list].as_array().unwrap().len());
    assert_eq!(lists, [3, 2, 5], "{holds}");
}

#[tokio::test]
async fn a_member_that_is_not_described_would_be_found() {
    let (rig, _upstream, _folder) = rig().await;
    let document = document(&rig).await;
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let open: Vec<&String> = schemas
        .iter()
        .filter(|(_, schema)| schema["type"] == "object" && schema["additionalProperties"] != json!(false))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(open, ["Problem"], "each of them but those whose members are their code's");
}
