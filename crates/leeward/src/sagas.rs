//! `leeward sagas`: what is under way, what is stuck, and the operator's verbs.

use http::Method;
use serde_json::{Value, json};

use crate::Error;
use crate::admin::Api;
use crate::cli::{SagaVerb, Sagas};

/// Runs one verb.
pub(crate) fn run(sagas: &Sagas) -> Result<(), Error> {
    let api = Api::new(&sagas.admin)?;
    match &sagas.verb {
        SagaVerb::List { service, status, limit } => {
            list(&api, service.as_deref(), status.as_deref(), *limit)
        }
        SagaVerb::Show { id } => show(&api, id),
        SagaVerb::Retry { id } => act(&api, id, "retry", None),
        SagaVerb::Skip { id, reason } => act(&api, id, "skip", Some(reason)),
        SagaVerb::MarkDone { id, reason } => act(&api, id, "mark_done", Some(reason)),
    }
}

fn list(api: &Api, service: Option<&str>, status: Option<&str>, limit: u32) -> Result<(), Error> {
    let status = status.map(|status| format!("&status={status}")).unwrap_or_default();
    println!("{:<36}  {:<10} {:<12} {:<20} {:>8}", "SAGA", "SERVICE", "STATUS", "STEP", "ATTEMPT");
    let said = api.all(&format!("sagas?limit={limit}{status}"), service)?;
    for (name, page) in &said.answers {
        for saga in entries(page) {
            println!(
                "{:<36}  {:<10} {:<12} {:<20} {:>8}",
                text(&saga["id"]),
                name,
                text(&saga["status"]),
                text(&saga["step"]),
                text(&saga["attempt"]),
            );
        }
    }
    said.complete()
}

/// A page is a bare list, or an object with `items`.
fn entries(page: &Value) -> Vec<Value> {
    page.as_array().or_else(|| page["items"].as_array()).cloned().unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| if value.is_null() { "-".into() } else { value.to_string() }, str::to_owned)
}

fn show(api: &Api, id: &str) -> Result<(), Error> {
    let (service, saga) = find(api, id)?;
    println!("service: {service}\n{}", serde_json::to_string_pretty(&saga)?);
    Ok(())
}

/// The service that has the saga, and what it says of it.
fn find(api: &Api, id: &str) -> Result<(String, Value), Error> {
    let mut said = api.all(&format!("sagas/{id}"), None)?;
    if let Some(found) = said.answers.pop() {
        return Ok(found);
    }
    // One that did not say may have it.
    said.complete()?;
    Err(format!("no service has a saga {id}; `leeward sagas list` shows those there are").into())
}

fn act(api: &Api, id: &str, verb: &str, reason: Option<&String>) -> Result<(), Error> {
    let (service, _saga) = find(api, id)?;
    let body = json!({ "reason": reason });
    api.call(Method::POST, &format!("/v1/services/{service}/_leeward/sagas/{id}/{verb}"), Some(&body))?;
    println!("{service}: {verb} of {id} is noted");
    Ok(())
}
