//! Whom the services of a host believe.

use std::net::SocketAddr;
use std::time::Duration;

use leeward_discovery::{Directory, Endpoint};
use leeward_events::{Bus, bus};
use leeward_resilience::{Clock, TokioClock};
use leeward_runtime::Tasks;
use leeward_service::identity::ASSERTION_HEADER;
use leeward_service::{Kit, KitOptions, Minter, Principal, Service, User};
use shop_app::{GATEWAY, Host, HostOptions, PROVIDER};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn the_provider_stands_in_the_directory_and_signs_for_nobody() {
    let (folder, tasks) = (tempfile::tempdir().unwrap(), Tasks::new());
    let mut options = HostOptions::new(folder.path().join("shop"), tasks.clone());
    let mut minters = Vec::new();
    for name in [GATEWAY, PROVIDER] {
        let (minter, address) = publisher(name, folder.path(), &tasks).await;
        options.at.push((name.to_owned(), Endpoint::from(address)));
        minters.push(minter);
    }
    let host = Host::open(options).await.unwrap();
    let users = host.start("users", ([127, 0, 0, 1], 0).into()).await.unwrap();

    let admin = Principal::User(User::new("u-admin").with_permission("users:read"));
    for (path, principal, by_gateway) in [
        ("/users/me", &admin, 404),
        ("/users", &admin, 200),
        ("/internal/events", &Principal::Service, 200),
        ("/_leeward/health", &Principal::Operator, 200),
    ] {
        assert_eq!(status(users, path, &minters[0], principal).await, by_gateway, "{path} by the gateway");
        assert_eq!(status(users, path, &minters[1], principal).await, 401, "{path} by the provider");
    }
    let report = tasks.shutdown(Duration::from_secs(10)).await;
    assert!(report.is_clean(), "{report}");
}

/// Somebody who publishes keys to be believed by.
async fn publisher(name: &str, folder: &std::path::Path, tasks: &Tasks) -> (Minter, SocketAddr) {
    let bus = Bus::open("memory:", bus::Options::default(), tasks).await.unwrap();
    let mut options = KitOptions::new(name, folder.join(name), Directory::new(), bus);
    options.tasks = tasks.clone();
    let kit = Kit::new(options).await.unwrap();
    let minter = kit.minter().clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (minter, Service::builder(kit).build().unwrap().serve(listener).await.unwrap())
}

async fn status(address: SocketAddr, path: &str, minter: &Minter, principal: &Principal) -> u16 {
    let assertion = minter.mint(principal, "users", TokioClock.unix_ms()).unwrap();
    let assertion = assertion.to_str().unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: x\r\n{ASSERTION_HEADER}: {assertion}\r\nconnection: close\r\n\r\n"
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}
