//! Reloads while many clients send on kept connections: nothing fails, and no connection is closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use leeward_gateway::config::Route;
use leeward_gateway::router::Pattern;
use tokio::net::TcpStream;

use super::get;
use crate::rig::{Rig, Upstream};

const CLIENTS: usize = 24;
const RELOADS: usize = 30;

/// Sends one request after the other on one connection until it is told to stop. Whatever is no 200 ends the test, and so does
/// a closed connection.
async fn client(rig: &Rig, number: usize, paths: &[&str], over: &AtomicBool, done: &AtomicUsize) {
    let mut stream = TcpStream::connect(rig.gateway.addr()).await.unwrap();
    for at in number.. {
        let path = paths[at % paths.len()];
        let said = get(&mut stream, path).await;
        assert!(said.starts_with("HTTP/1.1 200") && !said.contains("connection: close"), "{path}: {said}");
        done.fetch_add(1, Ordering::Relaxed);
        if over.load(Ordering::Relaxed) {
            return;
        }
    }
}

async fn under_load(rig: &Rig, paths: &[&str], reload: impl Fn(usize)) -> usize {
    let (over, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let clients = join_all((0..CLIENTS).map(|number| client(rig, number, paths, &over, &done)));
    let reloads = async {
        for number in 0..RELOADS {
            let seen = done.load(Ordering::Relaxed);
            rig.until("each client was answered", async || done.load(Ordering::Relaxed) >= seen + CLIENTS)
                .await;
            reload(number);
        }
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(clients, reloads);
    done.load(Ordering::Relaxed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_and_no_connection_is_closed_on_routes_that_change_and_routes_that_do_not() {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let yaml = |number: usize| {
        let (strip, urls) = match number % 3 {
            0 => ("", format!("[\"{}\"]", one.url())),
            1 => (", strip_prefix: /changed", format!("[\"{}\"]", two.url())),
            _ => (", deadline: 9s", format!("[\"{}\", \"{}\"]", two.url(), one.url())),
        };
        format!(
            "rate_limits: {{address: {}/s}}\nservices:\n  same: {{urls: [\"{}\"]}}\n  moves: {{urls: {urls}, retry: {{max_retries: {}}}}}\nroutes:\n  \
             - {{path: /same, service: same}}\n  - {{path: /changed, service: moves{strip}}}\n  - {{path: /r{number}, service: same}}\n",
            100_000 + number,
            one.url(),
            1 + number % 2,
        )
    };
    let rig = Rig::start(&yaml(0)).await;
    let first = Arc::downgrade(&rig.gateway.config());
    let done = under_load(&rig, &["/same/a", "/changed/b"], |number| {
        let changes = rig.reload(&yaml(number + 1)).unwrap();
        assert_eq!(changes.routes.added, [format!("/r{}", number + 1)]);
    })
    .await;
    assert!(done >= CLIENTS * RELOADS);
    assert!(two.hits() > 0 && one.hits() > two.hits(), "{} and {}", one.hits(), two.hits());
    rig.until("old tables are gone", async || first.upgrade().is_none()).await;
    assert_eq!(rig.get("/r1").await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_routes_are_reloaded_under_load() {
    let upstream = Upstream::start().await;
    let few = format!(
        "rate_limits: {{address: \"off\"}}\nroutes: [{{path: /, service: \"{}\", rate_limit: 100000/s}}]\n",
        upstream.url()
    );
    let rig = Rig::start(&few).await;
    // As the file would have them, without the time that reading it takes here.
    let configs = [0, 1, 2].map(|version| {
        let mut config = crate::rig::parse(&few);
        let route = |number: usize| {
            let version = if number.is_multiple_of(10) { version } else { 0 };
            let pattern = Pattern::parse(&format!("/a{number}/v{version}"), false).unwrap();
            Route { id: pattern.text().into(), pattern, ..config.routes[0].clone() }
        };
        config.routes = (0..5_000).map(route).collect();
        config
    });
    rig.gateway.reload(&configs[0]).unwrap();
    let slowest = parking_lot::Mutex::new(Duration::ZERO);
    under_load(&rig, &["/a1/v0", "/a4999/v0/x"], |number| {
        let from = tokio::time::Instant::now();
        let changes = rig.gateway.reload(&configs[1 + number % 2]).unwrap();
        let mut slowest = slowest.lock();
        *slowest = slowest.max(from.elapsed());
        assert_eq!((changes.routes.added.len(), changes.routes.removed.len()), (500, 500));
    })
    .await;
    let slowest = *slowest.lock();
    // Without optimisation, and beside the load.
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    // Live when the call returns, for whoever asks from then on.
    for number in 0..4 {
        rig.gateway.reload(&configs[1 + number % 2]).unwrap();
        let (live, gone) = (number % 2 + 1, 2 - number % 2);
        assert_eq!(rig.get(&format!("/a4990/v{live}")).await.status, 200);
        assert_eq!(rig.get(&format!("/a4990/v{gone}")).await.status, 404);
    }
}
