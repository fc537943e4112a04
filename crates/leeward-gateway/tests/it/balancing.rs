//! Which endpoint gets a request, and what clients notice of one that is bad.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::rig::{Rig, Upstream};

/// What an instance does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Answer,
    /// Answers ten times slower.
    Dawdle,
    /// Takes the request and says nothing.
    Hang,
    /// Says 503 at once.
    Fail,
    /// Says 503 to every other request.
    FailHalf,
}

/// How long an answer takes.
const WORK: Duration = Duration::from_millis(5);
const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const BAD: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\ndown";

/// One instance of a service.
struct Instance {
    url: String,
    requests: Arc<AtomicUsize>,
}

impl Instance {
    async fn start(does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&requests);
        let serving = async move {
            while let Ok((stream, _)) = listener.accept().await {
                #[allow(clippy::disallowed_methods, reason = "a test's own upstream")]
                drop(tokio::spawn(serve(stream, does, Arc::clone(&count))));
            }
        };
        #[allow(clippy::disallowed_methods, reason = "a test's own upstream")]
        drop(tokio::spawn(serving));
        Self { url, requests }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, does: Does, count: Arc<AtomicUsize>) {
    let mut request = [0_u8; 8_192];
    // A request without a body comes in one piece over loopback.
    while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let answer = match does {
            Does::Fail => BAD,
            Does::FailHalf if number % 2 == 1 => BAD,
            Does::Hang => return std::future::pending().await,
            Does::Answer | Does::FailHalf => {
                tokio::time::sleep(WORK).await;
                GOOD
            }
            Does::Dawdle => {
                tokio::time::sleep(10 * WORK).await;
                GOOD
            }
        };
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}

/// An address at which nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn yaml(urls: &[String], service: &str) -> String {
    format!(
        "rate_limits: {{address: off}}\nservices:\n  one:\n    urls: {urls:?}\n{service}\nroutes:\n  - {{path: /, service: one}}\n"
    )
}

/// So many requests from `clients` that each wait for an answer before they ask again; how many were not answered with 200.
async fn failed(rig: &Rig, clients: usize, requests: usize) -> usize {
    let asking = (0..clients).map(|_| async {
        let mut failed = 0;
        for _ in 0..requests / clients {
            failed += usize::from(rig.get("/a").await.status != 200);
        }
        failed
    });
    futures_util::future::join_all(asking).await.into_iter().sum()
}

/// Half a second is long for work of 5 ms, and a test has no time for the default of 5 s.
const TIMEOUT: &str = "    attempt_timeout: 500ms\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_instance_of_four_is_not_noticed() {
    for bad in [None, Some(Does::Hang), Some(Does::Fail), Some(Does::Dawdle)] {
        let mut urls = Vec::new();
        let mut good = Vec::new();
        for _ in 0..3 {
            good.push(Instance::start(Does::Answer).await);
        }
        urls.extend(good.iter().map(|instance| instance.url.clone()));
        let bad_one = match bad {
            Some(does) => Some(Instance::start(does).await),
            None => None,
        };
        urls.push(match &bad_one {
            Some(instance) => instance.url.clone(),
            None => nobody().await,
        });
        let rig = Rig::start(&yaml(&urls, TIMEOUT)).await;
        let early = failed(&rig, 8, 600).await;
        assert!(early <= 6, "{bad:?}: {early} of the first 600 failed");
        let before = bad_one.as_ref().map_or(0, Instance::requests);
        let late = failed(&rig, 8, 600).await;
        assert!(late <= 1, "{bad:?}: {late} of the next 600 failed");
        let asked = bad_one.as_ref().map_or(0, Instance::requests) - before;
        match bad {
            Some(Does::Fail) => assert!(asked <= 5, "it still is asked {asked} of 600 times"),
            Some(Does::Hang) => assert!(asked <= 20, "it still is asked {asked} of 600 times"),
            _ => {}
        }
        let all: usize = good.iter().chain(&bad_one).map(Instance::requests).sum();
        assert!(all <= 1_320, "{bad:?}: {all} attempts for 1200 requests");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_all_fail_half_of_the_time_the_service_goes_on() {
    let mut instances = Vec::new();
    for _ in 0..4 {
        instances.push(Instance::start(Does::FailHalf).await);
    }
    let urls: Vec<String> = instances.iter().map(|instance| instance.url.clone()).collect();
    let rig = Rig::start(&yaml(&urls, TIMEOUT)).await;
    let failed = failed(&rig, 8, 2_000).await;
    let attempts: usize = instances.iter().map(Instance::requests).sum();
    assert!((2_000..=2_250).contains(&attempts), "every request reaches it, and few twice: {attempts}");
    assert!(failed <= 1_050, "{failed} of 2000 failed, where half of the attempts do");
    let asked: Vec<usize> = instances.iter().map(Instance::requests).collect();
    assert!(asked.iter().all(|asked| *asked > 100), "none of them is left out: {asked:?}");
}

#[tokio::test]
async fn requests_with_the_same_key_go_to_the_same_endpoint() {
    let upstreams = [Upstream::start().await, Upstream::start().await, Upstream::start().await];
    let urls: Vec<String> = upstreams.iter().map(Upstream::url).collect();
    let rig = Rig::start(&yaml(&urls, "    balance: ring_hash\n    hash_on: header x-tenant\n")).await;
    let ask = async |tenant: &str| {
        rig.send(rig.request("GET", "/a").header("x-tenant", tenant), "").await.seen("host")
    };
    let mut met = std::collections::BTreeSet::new();
    for tenant in 0..20 {
        let tenant = format!("tenant-{tenant}");
        let home = ask(&tenant).await;
        for _ in 0..3 {
            assert_eq!(ask(&tenant).await, home, "{tenant}");
        }
        met.insert(home);
    }
    assert_eq!(met.len(), 3, "tenants spread over all of them");
}

#[tokio::test]
async fn turns_are_dealt_out() {
    let upstreams = [Upstream::start().await, Upstream::start().await, Upstream::start().await];
    let urls: Vec<String> = upstreams.iter().map(Upstream::url).collect();
    let rig = Rig::start(&yaml(&urls, "    balance: round_robin\n")).await;
    for _ in 0..30 {
        assert_eq!(rig.get("/a").await.status, 200);
    }
    assert_eq!(upstreams.map(|upstream| upstream.hits()), [10; 3]);
}
