//! Active health checks against real servers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::Duration;

use leeward_discovery::{Checker, Directory, Endpoint, Health, PickHint, Upstream};
use leeward_resilience::{Clock, FastRng, TokioClock};
use leeward_runtime::{Stage, Tasks};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A server that answers every request with the status it is told to; 0 is silence.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    asked: Arc<AtomicU32>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (status, asked) = (Arc::new(AtomicU16::new(200)), Arc::default());
        let server = Self { address: listener.local_addr().unwrap(), status, asked };
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(accepting.clone().answer(connection));
            }
        });
        server
    }

    async fn answer(self, mut connection: tokio::net::TcpStream) {
        let mut request = [0; 1024];
        while let Ok(1..) = connection.read(&mut request).await {
            assert!(request.starts_with(b"GET /health/ready HTTP/1.1\r\n"));
            self.asked.fetch_add(1, Ordering::SeqCst);
            let status = self.status.load(Ordering::SeqCst);
            if status > 0 {
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nok");
                connection.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    }
}

fn checker(directory: &Directory) -> Checker {
    let options = Health {
        timeout: Duration::from_millis(200),
        interval: Duration::from_millis(200),
        ..Health::default()
    };
    Checker::new(directory.clone(), options, Arc::new(FastRng::seeded(1))).unwrap()
}

fn healthy(upstream: &Upstream) -> Vec<bool> {
    upstream.endpoints().iter().map(|it| it.healthy).collect()
}

#[tokio::test]
async fn a_sick_endpoint_is_skipped_until_it_is_well() {
    let (good, sick) = (Server::start().await, Server::start().await);
    let directory = Directory::new();
    directory.set("inventory", [Endpoint::from(good.address), Endpoint::from(sick.address)]);
    let (upstream, checker) = (directory.service("inventory").unwrap(), checker(&directory));
    for status in [503, 0] {
        sick.status.store(status, Ordering::SeqCst);
        checker.round().await;
        assert_eq!(healthy(&upstream), [true, true], "one bad answer may be chance");
        checker.round().await;
        assert_eq!(healthy(&upstream), [true, false]);
        for _ in 0..50 {
            let picked = upstream.pick(TokioClock.now(), &PickHint::default()).unwrap();
            assert_eq!(picked.endpoint().authority(), good.address.to_string());
        }
        sick.status.store(204, Ordering::SeqCst);
        checker.round().await;
        assert_eq!(healthy(&upstream), [true, true]);
    }
}

#[tokio::test]
async fn when_all_are_sick_all_are_asked() {
    let directory = Directory::new();
    // Nobody listens at a port that was bound and given back.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    directory.set("inventory", [Endpoint::from(gone)]);
    let (upstream, checker) = (directory.service("inventory").unwrap(), checker(&directory));
    checker.round().await;
    checker.round().await;
    assert_eq!((healthy(&upstream), upstream.is_available()), (vec![false], false));
    assert!(upstream.pick(TokioClock.now(), &PickHint::default()).is_ok());
}

const WAIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_task_asks_again_and_again_and_stops() {
    let server = Server::start().await;
    let directory = Directory::new();
    directory.set("inventory", [Endpoint::from(server.address)]);
    let upstream = directory.service("inventory").unwrap();
    let mut changes = upstream.watch();
    let (tasks, checker) = (Tasks::new(), checker(&directory));
    tasks.spawn(Stage::Work, "discovery.health", |stop| checker.run(stop));
    for status in [500, 200, 500] {
        server.status.store(status, Ordering::SeqCst);
        tokio::time::timeout(WAIT, changes.changed()).await.unwrap().unwrap();
        assert_eq!(healthy(&upstream), [status == 200]);
    }
    assert!(tasks.shutdown(WAIT).await.abandoned.is_empty());
    assert!(server.asked.load(Ordering::SeqCst) >= 5);
}

#[tokio::test]
async fn the_task_asks_at_once_when_endpoints_change() {
    let server = Server::start().await;
    server.status.store(500, Ordering::SeqCst);
    let directory = Directory::new();
    let upstream = directory.upstream("inventory");
    let mut changes = upstream.watch();
    let options =
        Health { fall: std::num::NonZeroU32::MIN, interval: Duration::from_secs(3600), ..Health::default() };
    let checker = Checker::new(directory.clone(), options, Arc::new(FastRng::seeded(1))).unwrap();
    let tasks = Tasks::new();
    tasks.spawn(Stage::Work, "discovery.health", |stop| checker.run(stop));
    // The round over nothing is over, and the task waits for an hour.
    tokio::task::yield_now().await;
    directory.set("inventory", [Endpoint::from(server.address)]);
    let sick = changes.wait_for(|_| healthy(&upstream) == [false]);
    tokio::time::timeout(WAIT, sick).await.unwrap().unwrap();
    assert!(tasks.shutdown(WAIT).await.abandoned.is_empty());
}
