//! `leeward events`: how far behind everything is, and the dead letters.

use http::Method;
use serde_json::json;

use crate::Error;
use crate::admin::Api;
use crate::cli::{DeadVerb, EventVerb, Events};

/// Runs one verb.
pub(crate) fn run(events: &Events) -> Result<(), Error> {
    let api = Api::new(&events.admin)?;
    match &events.verb {
        EventVerb::Lag => lag(&api),
        EventVerb::Dead { verb } => dead(&api, verb),
        EventVerb::Rebuild { service, projection } => {
            let path = format!("/v1/services/{service}/_leeward/projections/{projection}/rebuild");
            let done = api.call(Method::POST, &path, Some(&json!({})))?;
            println!("{service}: {projection} is rebuilt\n{}", serde_json::to_string_pretty(&done)?);
            Ok(())
        }
    }
}

fn lag(api: &Api) -> Result<(), Error> {
    println!("{:<16} {:>14} {:>10}", "OUTBOX", "WAITING BYTES", "OLDEST MS");
    let said = api.all("events/lag", None)?;
    for (service, said) in &said.answers {
        println!("{service:<16} {:>14} {:>10}", said["outbox_pending_bytes"], said["outbox_oldest_ms"]);
    }
    // The bus knows of every group, also of one whose service is gone and for which it keeps everything.
    println!("\n{:<28} {:>10} SUBSCRIBED", "GROUP", "BEHIND");
    let groups = api.get("/v1/bus/groups")?;
    for group in groups.as_array().into_iter().flatten() {
        let (name, behind) = (group["group"].as_str().unwrap_or_default(), &group["behind"]);
        println!("{name:<28} {behind:>10} {}", if group["active"] == true { "yes" } else { "no" });
    }
    said.complete()
}

fn dead(api: &Api, verb: &DeadVerb) -> Result<(), Error> {
    let path = |service: &str, id: &str| format!("/v1/services/{service}/_leeward/events/dead/{id}");
    match verb {
        DeadVerb::List => {
            let said = api.all("events/dead", None)?;
            for (service, letters) in &said.answers {
                for letter in letters.as_array().into_iter().flatten() {
                    println!("{service} {}", serde_json::to_string(letter)?);
                }
            }
            said.complete()?;
        }
        DeadVerb::Show { service, id } => {
            println!("{}", serde_json::to_string_pretty(&api.get(&path(service, id))?)?);
        }
        DeadVerb::Replay { service, id } => {
            api.call(Method::POST, &format!("{}/replay", path(service, id)), Some(&json!({})))?;
            println!("{service}: {id} goes to its consumer again");
        }
        DeadVerb::Drop { service, id, reason } => {
            let body = json!({ "reason": reason });
            api.call(Method::POST, &format!("{}/drop", path(service, id)), Some(&body))?;
            println!("{service}: {id} is given up; its key goes on");
        }
    }
    Ok(())
}
