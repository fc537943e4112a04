//! Stopping under load, and spreading connections over cores.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rig::{Rig, Upstream};

fn yaml(upstream: &Upstream) -> String {
    format!("rate_limits: {{address: \"off\"}}\nroutes:\n  - {{path: /, service: \"{}\"}}\n", upstream.url())
}

/// Sends requests on one connection until the gateway says that it closes it; counts what went wrong.
async fn client(
    addr: std::net::SocketAddr,
    done: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
) {
    'connections: while let Ok(mut stream) = TcpStream::connect(addr).await {
        loop {
            if stream.write_all(b"GET /a?sleep=20 HTTP/1.1\r\nHost: a\r\n\r\n").await.is_err() {
                failed.fetch_add(1, Ordering::SeqCst);
                return;
            }
            let mut read = Vec::new();
            let mut chunk = [0_u8; 4_096];
            while !read.ends_with(b"}") {
                match stream.read(&mut chunk).await {
                    Ok(count) if count > 0 => read.extend_from_slice(&chunk[..count]),
                    _ if read.is_empty() && stopping.load(Ordering::SeqCst) => {
                        // Accepted by the kernel in the last moment and never served is a failure too.
                        failed.fetch_add(1, Ordering::SeqCst);
                        return;
                    }
                    _ => {
                        failed.fetch_add(1, Ordering::SeqCst);
                        return;
                    }
                }
            }
            let text = String::from_utf8_lossy(&read);
            if !text.starts_with("HTTP/1.1 200") {
                failed.fetch_add(1, Ordering::SeqCst);
            }
            done.fetch_add(1, Ordering::SeqCst);
            if text.contains("connection: close") {
                continue 'connections;
            }
        }
    }
}

#[tokio::test]
async fn a_stop_under_load_fails_no_request() {
    let upstream = Upstream::start().await;
    let rig = Rig::start(&yaml(&upstream)).await;
    let (done, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let stopping = Arc::new(AtomicBool::new(false));
    let addr = rig.gateway.addr();
    let clients = futures_util::future::join_all(
        (0..20).map(|_| client(addr, Arc::clone(&done), Arc::clone(&failed), Arc::clone(&stopping))),
    );
    let stop = async {
        rig.until("load", async || done.load(Ordering::SeqCst) > 100).await;
        stopping.store(true, Ordering::SeqCst);
        rig.tasks.shutdown(Duration::from_secs(5)).await
    };
    let (_, report) = tokio::join!(clients, stop);
    assert!(report.is_clean(), "{report}");
    assert_eq!(failed.load(Ordering::SeqCst), 0, "of {}", done.load(Ordering::SeqCst));
    assert!(TcpStream::connect(addr).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_request_on_its_way_is_answered_and_readiness_turns_red_first() {
    let upstream = Upstream::start().await;
    let rig = Rig::start(&yaml(&upstream)).await;
    let slow = rig.get("/a?sleep=600");
    let stop = async {
        rig.until("the request is on its way", async || upstream.hits() == 1).await;
        let stop = rig.tasks.shutdown(Duration::from_secs(5));
        let look = async {
            rig.until("not ready", async || {
                let ready = rig.send(rig.admin("GET", "/health/ready"), "").await;
                ready.status == 503
            })
            .await;
        };
        tokio::join!(stop, look).0
    };
    let (answer, report) = tokio::join!(slow, stop);
    assert_eq!((answer.status, answer.header("connection")), (200, "close"));
    assert!(report.is_clean(), "{report}");
}

#[tokio::test]
async fn connections_spread_over_the_cores() {
    let upstream = Upstream::start().await;
    let rig = Rig::start(&yaml(&upstream)).await;
    let mut open = Vec::new();
    for _ in 0..10 {
        open.push(TcpStream::connect(rig.gateway.addr()).await.unwrap());
    }
    rig.until("five each", async || rig.gateway.cores().iter().all(|(connections, _)| *connections == 5))
        .await;
    drop(open);
    rig.until("none", async || rig.gateway.cores().iter().all(|(connections, _)| *connections == 0)).await;
}

#[tokio::test]
async fn more_connections_than_allowed_are_closed() {
    let upstream = Upstream::start().await;
    let rig = Rig::start(&format!("limits: {{connections: 2}}\n{}", yaml(&upstream))).await;
    let first = TcpStream::connect(rig.gateway.addr()).await.unwrap();
    let _second = TcpStream::connect(rig.gateway.addr()).await.unwrap();
    rig.until("both are counted", async || {
        rig.gateway.cores().iter().map(|(count, _)| count).sum::<usize>() == 2
    })
    .await;
    let mut third = TcpStream::connect(rig.gateway.addr()).await.unwrap();
    assert_eq!(third.read(&mut [0_u8; 1]).await.unwrap_or(0), 0);
    drop(first);
    rig.until("there is room again", async || {
        rig.gateway.cores().iter().map(|(count, _)| count).sum::<usize>() == 1
    })
    .await;
    assert!(rig.raw(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await.starts_with("HTTP/1.1 200"));
}
