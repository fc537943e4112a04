//! Who reads which event: as the services subscribe, and as the contracts say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Query, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use leeward_gateway::config::Revocation;
use leeward_runtime::{Stage, Tasks};
use shop_app::{BusAt, GATEWAY, Host, HostOptions, SERVICES};
use shop_contracts::expectations;
use tokio::net::TcpListener;

/// The services that read an event, by its type.
type Readers = BTreeMap<String, BTreeSet<String>>;

/// What services asked the bus for. The kinds are those of the group's service.
type Seen = Arc<Mutex<Readers>>;

/// Everything has subscribed by then.
const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contracts_name_the_real_readers_of_every_event() {
    let (folder, tasks) = (tempfile::tempdir().unwrap(), Tasks::new());
    let owner = Host::open(HostOptions::new(folder.path(), tasks.clone())).await.unwrap();
    let seen = Seen::default();
    let address = serve(&owner, &seen, &tasks).await;
    let mut options = HostOptions::new(folder.path(), tasks.clone());
    options.bus = BusAt::Of { url: format!("leeward://{address}"), token: None };
    let host = Host::open(options).await.unwrap();
    host.start(shop_app::PROVIDER, ([127, 0, 0, 1], 0).into()).await.unwrap();
    for name in SERVICES {
        host.start(name, ([127, 0, 0, 1], 0).into()).await.unwrap();
    }
    // The gateway subscribes to what its configuration says.
    note(&seen, GATEWAY, &Revocation::default().event);

    let said = said();
    let looking = async {
        while *seen.lock().unwrap() != said {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(SOON, looking).await;
    assert!(found.is_ok(), "subscribed: {:#?}\nexpected: {said:#?}", seen.lock().unwrap());
    let report = tasks.shutdown(Duration::from_secs(10)).await;
    assert!(report.is_clean(), "{report}");
}

/// The readers as the contracts have them.
fn said() -> Readers {
    let events = expectations::events(&[""]).unwrap();
    let count = events.len();
    let said: Readers =
        events.into_iter().map(|event| (event.kind, event.consumers.into_iter().collect())).collect();
    assert_eq!(said.len(), count, "an event is listed twice");
    said
}

/// Serves the bus to others, and notes who subscribes to what.
async fn serve(owner: &Host, seen: &Seen, tasks: &Tasks) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = owner.bus_router().layer(from_fn_with_state(Arc::clone(seen), watch));
    tasks.spawn(Stage::Store, "bus", move |stop| async move {
        let _ended = stop.or(async { axum::serve(listener, router).await.unwrap() }).await;
    });
    address
}

async fn watch(
    State(seen): State<Seen>,
    Query(query): Query<BTreeMap<String, String>>,
    request: Request,
    next: Next,
) -> Response {
    let group =
        request.uri().path().strip_prefix("/bus/v1/groups/").and_then(|rest| rest.strip_suffix("/events"));
    if let (Some(group), Some(patterns)) = (group, query.get("patterns")) {
        let service = group.split('.').next().unwrap_or(group).to_owned();
        for pattern in patterns.split(',') {
            note(&seen, &service, pattern);
        }
    }
    next.run(request).await
}

/// Commands and replies have one reader by their names.
fn note(seen: &Seen, service: &str, pattern: &str) {
    if !pattern.starts_with("command.") && !pattern.starts_with("reply.") {
        seen.lock().unwrap().entry(pattern.to_owned()).or_default().insert(service.to_owned());
    }
}
