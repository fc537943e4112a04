//! HTTP/2 towards services.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::two::{First, Two};
use crate::pki::Pki;
use crate::rig::{Answer, Rig, Upstream};

const HERE: &[&str] = &["127.0.0.1"];

/// A gateway of one core with one service, which is spoken to like this.
async fn rig(url: &str, lines: &str) -> Rig {
    Rig::start(&format!(
        "cores: 1\nservices:\n  orders:\n    urls: [\"{url}\"]\n    outlier_ejection: off\n    circuit_breaker: off\n    retry: off\n{lines}\nroutes: [{{path: /, service: orders}}]\n"
    ))
    .await
}

const UNANNOUNCED: &str = "    protocol: http2";

fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

#[tokio::test]
async fn requests_share_a_connection_and_bodies_of_any_size_pass() {
    let service = Two::start(None, 100, First::Fine).await;
    let rig = rig(&format!("http://{}", service.addr), UNANNOUNCED).await;
    let answers = join_all((0..50).map(|_| rig.get("/slow"))).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert_eq!(text(&answers[0]), format!("GET http://{}/slow true 0 ", service.addr));
    let long = rig.get("/?bytes=3000000").await;
    assert!((3_000_000..3_000_100).contains(&long.body.len()));
    let sent = rig.send(rig.request("POST", "/a"), vec![b'x'; 2_000_000]).await;
    assert!(text(&sent).ends_with(" true 2000000 "), "{sent:?}");
    assert_eq!(service.seen.get(|seen| &seen.connections), 1);
    assert!(service.seen.get(|seen| &seen.most) > 1, "one after the other");
}

#[tokio::test]
async fn no_more_streams_are_opened_than_a_service_takes_and_the_rest_waits() {
    let service = Two::start(None, 2, First::Fine).await;
    let rig = rig(&format!("http://{}", service.addr), UNANNOUNCED).await;
    // What the service takes is known from here on.
    assert_eq!(rig.get("/").await.status, 200);
    let answers = join_all((0..40).map(|_| rig.get("/slow"))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(service.seen.get(|seen| &seen.most), 2);
    assert!((2..=4).contains(&service.seen.get(|seen| &seen.connections)));
}

#[tokio::test]
async fn what_a_service_has_not_looked_at_is_sent_again_whatever_its_method() {
    let service = Two::start(None, 100, First::Fine).await;
    let rig_of = async |service: &Two| rig(&format!("http://{}", service.addr), UNANNOUNCED).await;
    // To insist is the retry policy's to decide.
    let rig = rig_of(&service).await;
    let answer = rig.send(rig.request("POST", "/refused"), "abc").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "upstream_unavailable"));
    assert_eq!(service.seen.get(|seen| &seen.hits), 1);
    let service = Two::start(None, 100, First::Fine).await;
    let retrying = Rig::start(&format!(
        "cores: 1\nservices: {{orders: {{urls: [\"http://{}\"], protocol: http2, retry: {{backoff_base: 1ms}}}}}}\nroutes: [{{path: /, service: orders}}]\n",
        service.addr
    ))
    .await;
    let answer = retrying.send(retrying.request("POST", "/refused"), "abc").await;
    assert!(answer.status == 200 && text(&answer).ends_with(" 3 "), "{answer:?}");
    assert_eq!(service.seen.get(|seen| &seen.hits), 2);

    let service = Two::start(None, 100, First::GoesAway).await;
    let rig = rig_of(&service).await;
    let answer = rig.send(rig.request("POST", "/a"), "abc").await;
    assert!(answer.status == 200 && text(&answer).ends_with(" 3 "), "{answer:?}");
    assert_eq!(service.seen.get(|seen| &seen.connections), 2);
    assert_eq!(service.seen.get(|seen| &seen.hits), 1);
}

#[tokio::test]
async fn connections_on_which_a_service_takes_nothing_more_are_in_nobodys_way() {
    let service = Two::start(None, 1, First::Fine).await;
    let rig = rig(&format!("http://{}", service.addr), UNANNOUNCED).await;
    // What the service takes is known from here on.
    assert_eq!(rig.get("/").await.status, 200);
    // As many as there may be, each with a stream that goes on.
    let leaving = join_all((0..4).map(|_| rig.get("/leaves")));
    let meanwhile = async {
        rig.until("all are taken", async || service.seen.get(|seen| &seen.hits) == 5).await;
        // Those that wait for room hear of it, and whoever comes later.
        for _ in 0..2 {
            let answer =
                tokio::time::timeout(Duration::from_secs(2), rig.send(rig.request("POST", "/a"), "abc"));
            assert_eq!(answer.await.expect("it waits for a stream to end").status, 200);
        }
        assert!(service.seen.get(|seen| &seen.connections) > 4);
    };
    let (left, ()) = tokio::join!(leaving, meanwhile);
    assert!(left.iter().all(|answer| answer.status == 200), "what goes on comes to its end");
}

#[tokio::test]
async fn with_tls_both_sides_agree_on_what_they_speak() {
    let pki = Pki::new();
    let ca = format!("    tls: {{ca: \"{}\"}}\n", pki.path("ca.pem").display());
    let both =
        Two::start(Some(pki.serving(&pki.server(HERE), false, &["h2", "http/1.1"])), 9, First::Fine).await;
    let url = format!("https://{}", both.addr);
    let rig_of = rig(&url, &ca).await;
    assert_eq!(text(&rig_of.get("/a").await), format!("GET {url}/a true 0 "));
    let only_one = rig(&url, &format!("{ca}    protocol: http1")).await;
    assert_ne!(only_one.get("/a").await.status, 200, "this service has no HTTP/1.1");
    // A service that has no HTTP/2 is spoken to in what it has, unless that is not wanted.
    let old = super::secure::Secure::start(pki.serving(&pki.server(HERE), false, &["http/1.1"])).await;
    let rig_of = rig(&old.url(), &ca).await;
    for _ in 0..3 {
        assert_eq!(rig_of.get("/a").await.json()["target"], "/a");
    }
    assert_eq!(old.shaken().0, 1);
    let vague = super::secure::Secure::start(pki.serving(&pki.server(HERE), false, &[])).await;
    let only_two = rig(&vague.url(), &format!("{ca}    protocol: http2")).await;
    assert_eq!(
        (only_two.get("/a").await.status, only_two.get("/a").await.code().as_str()),
        (503, "upstream_unavailable")
    );
    let plain = Upstream::start().await;
    assert_eq!(rig(&plain.url(), "").await.get("/a").await.status, 200);
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_stream_back_and_no_other() {
    let service = Two::start(None, 100, First::Fine).await;
    let rig = rig(&format!("http://{}", service.addr), UNANNOUNCED).await;
    assert_eq!(rig.get("/").await.status, 200);
    let mut leaving = TcpStream::connect(rig.gateway.addr()).await.unwrap();
    leaving.write_all(b"GET /waits HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    rig.until("the service has it", async || service.seen.get(|seen| &seen.hits) == 2).await;
    drop(leaving);
    rig.until("it is taken back", async || service.seen.get(|seen| &seen.taken_back) == 1).await;
    assert_eq!(rig.get("/").await.status, 200);
    assert_eq!(service.seen.get(|seen| &seen.connections), 1);
}

#[tokio::test]
async fn a_connection_that_says_nothing_or_costs_too_much_is_ended() {
    // What costs too much is not waited for: with the longer time it would be silence that ends it, too late for this test.
    for (first, silence) in [(First::IsSilent, "800ms"), (First::Pings, "60s")] {
        let service = Two::start(None, 100, first).await;
        let lines = format!("{UNANNOUNCED}\n    read_timeout: {silence}\n    attempt_timeout: 8s");
        let rig = rig(&format!("http://{}", service.addr), &lines).await;
        // It ends long before the time of the attempt does.
        let asked = tokio::time::timeout(Duration::from_secs(6), rig.send(rig.request("POST", "/"), "a"));
        let answer = asked.await.unwrap_or_else(|_| panic!("{first:?} was not noticed"));
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_invalid"), "{first:?}");
        assert_eq!(rig.get("/").await.status, 200, "{first:?}");
        assert_eq!(service.seen.get(|seen| &seen.connections), 2, "{first:?}");
    }
}

#[tokio::test]
async fn a_service_that_takes_its_time_is_not_asked_again_and_again_whether_it_lives() {
    let service = Two::start(None, 100, First::IsSlow).await;
    let lines = format!("{UNANNOUNCED}\n    read_timeout: 800ms\n    attempt_timeout: 8s");
    let rig = rig(&format!("http://{}", service.addr), &lines).await;
    let answer = rig.send(rig.request("POST", "/"), "a").await;
    assert_eq!(answer.status, 200, "asked {} times: {answer:?}", service.seen.get(|seen| &seen.asked));
    assert_eq!(service.seen.get(|seen| &seen.asked), 2, "within two seconds, each after 200 ms of silence");
}

#[tokio::test]
async fn health_checks_speak_as_requests_do() {
    let service = Two::start(None, 100, First::Fine).await;
    let lines = format!("{UNANNOUNCED}\nhealth: {{path: /health, interval: 100ms, timeout: 100ms}}");
    let rig = rig(&format!("http://{}", service.addr), &lines).await;
    rig.until("it was asked", async || service.seen.get(|seen| &seen.hits) > 3).await;
    assert_eq!(rig.gateway.health().services["orders"].sound, 1);
}

/// Who waits for a connection that somebody else opens hears when that comes to nothing, instead of trying the same in turn.
#[tokio::test]
async fn a_connection_that_does_not_come_about_is_tried_once_for_all_who_wait_for_it() {
    const WAITING: usize = 5;
    let pki = Pki::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let lines = format!("    tls: {{ca: \"{}\"}}\n    protocol: http2", pki.path("ca.pem").display());
    let rig = rig(&url, &lines).await;
    let service = async {
        // It takes the connection and says nothing until everybody waits.
        let first = listener.accept().await.unwrap();
        let in_flight = format!("leeward_gateway_requests_in_flight {WAITING}");
        rig.until("all of them wait", async || rig.metrics().await.contains(&in_flight)).await;
        drop(first);
        let mut accepted = 1;
        while let Ok(Ok(another)) = tokio::time::timeout(Duration::from_secs(1), listener.accept()).await {
            drop(another);
            accepted += 1;
        }
        accepted
    };
    let asked = join_all((0..WAITING).map(|_| rig.get("/a")));
    let (answers, accepted) = tokio::join!(asked, service);
    assert!(answers.iter().all(|answer| answer.status == 503), "{answers:?}");
    assert_eq!(accepted, 1, "one after the other found the same");
    // And it is tried again for whoever comes later.
    let (answer, _closed) = tokio::join!(rig.get("/a"), async { drop(listener.accept().await) });
    assert_eq!(answer.status, 503);
}

/// The timers of the connections of this machine that lead to a port, by what the system says of itself: `02` is the one for asking whether the
/// other side is there.
fn timers(to: u16) -> Vec<String> {
    let all = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let of = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_its = fields[2].ends_with(&format!(":{to:04X}")) && fields[3] == "01";
        is_its.then(|| fields[5][..2].to_owned())
    };
    let mut timers: Vec<_> = all.lines().skip(1).filter_map(of).collect();
    timers.sort_unstable();
    timers
}

#[tokio::test]
async fn the_system_asks_whether_the_machine_of_a_shared_connection_is_there() {
    let service = Two::start(None, 100, First::Fine).await;
    let rig = rig(&format!("http://{}", service.addr), UNANNOUNCED).await;
    assert_eq!(rig.get("/").await.status, 200);
    // What was sent last may still wait to be acknowledged, which is another timer.
    rig.until("it is asked about", async || timers(service.addr.port()) == ["02"]).await;
    // The control: a connection that nobody set up to be asked about.
    let plain = TcpStream::connect(service.addr).await.unwrap();
    rig.until("the other is not", async || timers(service.addr.port()) == ["00", "02"]).await;
    drop(plain);
}
