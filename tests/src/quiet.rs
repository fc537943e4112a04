//! Whether a shop has come to rest: as its operators see it, and as its files say.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::files;
use crate::shop::{SERVICES, Shop};

/// Everything has come to rest by then, or it never will. A checkout that met an outage asks again every five seconds, and
/// an open circuit breaker lets nobody through for as long.
const QUIET_WITHIN: Duration = Duration::from_secs(60);

/// Between two looks. It is longer than anything waits in memory between an event and its consumer.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A saga in one of these states has not come to its end.
const UNDER_WAY: [&str; 5] = ["running", "waiting", "compensating", "stuck", "refused"];

impl Shop {
    /// Waits until no saga is under way, nothing waits in an outbox, and no consumer is behind or holds a failed event.
    ///
    /// # Errors
    /// What does not come to rest.
    pub async fn quiet(&self) -> Result<(), String> {
        let from = Instant::now();
        // Twice in a row, since an event may be between two of the places that are looked at one after the other.
        let mut calm = 0;
        loop {
            match self.restless().await {
                None => calm += 1,
                Some(restless) if from.elapsed() >= QUIET_WITHIN => return Err(restless),
                Some(_yet) => calm = 0,
            }
            if calm == 2 {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What is still going on, if anything is.
    async fn restless(&self) -> Option<String> {
        for status in UNDER_WAY {
            let sagas = match self.ask_all(&format!("sagas?status={status}&limit=1")).await {
                Ok(sagas) => sagas,
                Err(error) => return Some(error),
            };
            if let Some(restless) = each(&sagas, |name, body| unfinished(name, status, body)) {
                return Some(restless);
            }
        }
        let lag = match self.ask_all("events/lag").await {
            Ok(lag) => lag,
            Err(error) => return Some(error),
        };
        each(&lag, behind).or_else(|| SERVICES.iter().find_map(|name| files::restless(self.data(), name)))
    }
}

fn each(all: &Value, look: impl Fn(&str, &Value) -> Option<String>) -> Option<String> {
    SERVICES.iter().find_map(|name| match &all[name] {
        said if said["status"] == 200 => look(name, &said["body"]),
        said => Some(format!("{name} says {said}")),
    })
}

fn unfinished(name: &str, status: &str, body: &Value) -> Option<String> {
    let saga = body["items"].as_array()?.first()?;
    Some(format!("{name} has a saga that is {status}: {saga}"))
}

fn behind(name: &str, body: &Value) -> Option<String> {
    if body["outbox_pending_bytes"] != 0 {
        return Some(format!("events wait in the outbox of {name}: {body}"));
    }
    let groups = body["groups"].as_array()?;
    let late = groups.iter().find(|group| group["events"] != 0 || group["active"] != true)?;
    Some(format!("a consumer of {name} is behind: {late}"))
}
