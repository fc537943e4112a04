//! Messages that two servers could read in two ways, headers that clients may not send, and sizes.

use crate::rig::{Rig, Upstream};

async fn rig(more: &str) -> (Rig, Upstream) {
    let upstream = Upstream::start().await;
    let yaml = format!("{more}\nroutes:\n  - {{path: /, service: \"{}\"}}\n", upstream.url());
    (Rig::start(&yaml).await, upstream)
}

#[tokio::test]
async fn an_ambiguous_length_is_refused() {
    let (rig, upstream) = rig("").await;
    for lines in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: \r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding:\x0bchunked\r\n",
        "X: a\r\n Transfer-Encoding: chunked\r\n",
    ] {
        let request = format!(
            "POST /a HTTP/1.1\r\nHost: a\r\n{lines}\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
        );
        let raw = rig.raw(request.as_bytes()).await;
        assert!(raw.starts_with("HTTP/1.1 400") || raw.starts_with("HTTP/1.1 50"), "{lines:?}: {raw}");
        assert_eq!(raw.matches("HTTP/1.1").count(), 1, "{lines:?}: {raw}");
        assert_eq!(upstream.hits(), 0, "{lines:?}");
    }
    let raw = rig.raw(b"POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").await;
    assert!(raw.starts_with("HTTP/1.1 400") || raw.starts_with("HTTP/1.0 400"), "{raw}");
    assert_eq!(upstream.hits(), 0);
}

#[tokio::test]
async fn plain_chunks_and_pipelined_reads_pass() {
    let (rig, upstream) = rig("").await;
    let chunked = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let raw = rig.raw(chunked.as_bytes()).await;
    assert!(raw.starts_with("HTTP/1.1 200") && raw.contains("\"body_bytes\":3"), "{raw}");
    let gets = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3);
    assert_eq!(rig.raw(gets.as_bytes()).await.matches("HTTP/1.1 200").count(), 3);
    let posts = "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab".repeat(3);
    assert_eq!(rig.raw(posts.as_bytes()).await.matches("HTTP/1.1 200").count(), 3);
    assert_eq!(upstream.hits(), 7);
    let mixed = format!("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n{chunked}").repeat(2);
    assert_eq!(rig.raw(mixed.as_bytes()).await.matches("HTTP/1.1 200").count(), 4);
    assert_eq!(upstream.hits(), 11);
}

#[tokio::test]
async fn chunked_uploads_on_one_connection_pass_one_after_the_other() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (rig, upstream) = rig("").await;
    let mut stream = tokio::net::TcpStream::connect(rig.gateway.addr()).await.unwrap();
    for _ in 0..3 {
        let chunked =
            b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        stream.write_all(chunked).await.unwrap();
        let mut read = [0_u8; 4_096];
        let count = stream.read(&mut read).await.unwrap();
        assert!(read[..count].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&read[..count]));
    }
    assert_eq!(upstream.hits(), 3);
}

#[tokio::test]
async fn a_request_has_one_host() {
    let (rig, upstream) = rig("").await;
    for lines in ["", "Host: a\r\nHost: b\r\n", "Host: a/b\r\n", "Host: a b\r\n", "Host: a@b\r\n"] {
        let raw = rig.raw(format!("GET / HTTP/1.1\r\n{lines}\r\n").as_bytes()).await;
        assert!(raw.starts_with("HTTP/1.1 400"), "{lines:?}: {raw}");
    }
    assert_eq!(upstream.hits(), 0);
}

#[tokio::test]
async fn identity_headers_of_clients_never_arrive() {
    let (rig, _upstream) = rig("").await;
    let request = rig
        .request("GET", "/")
        .header("x-user-id", "admin")
        .header("x_user_id", "admin")
        .header("X-User.Role", "admin")
        .header("x-user-context", "{}")
        .header("x-leeward-assertion", "a.b.c")
        .header("x_leeward_assertion", "a.b.c")
        .header("x-gateway-timestamp", "1")
        .header("x-forwarded-for", "6.6.6.6")
        .header("x-client-ip", "6.6.6.6")
        .header("x-service-name", "orders")
        .header("x-deadline-ms", "999999")
        .header("forwarded", "for=6.6.6.6")
        .header("connection", "x-secret, x-client-ip")
        .header("x-secret", "1")
        .header("keep-alive", "1")
        .header("te", "gzip")
        .header("x-kept", "yes");
    let answer = rig.send(request, "").await;
    assert_eq!(answer.status, 200);
    for gone in [
        "x-user-id",
        "x_user_id",
        "x-user.role",
        "x-user-context",
        "x-leeward-assertion",
        "x_leeward_assertion",
        "forwarded",
        "x-secret",
        "keep-alive",
        "te",
        "connection",
    ] {
        assert_eq!(answer.seen(gone), "", "{gone}");
    }
    assert_eq!(answer.seen("x-client-ip"), "127.0.0.1", "a nomination does not remove what the gateway adds");
    assert_eq!(answer.seen("x-forwarded-for"), "127.0.0.1");
    assert_eq!(answer.seen("x-service-name"), "gateway");
    assert_ne!(answer.seen("x-deadline-ms"), "999999");
    assert_ne!(answer.seen("x-gateway-timestamp"), "1");
    assert_eq!(answer.seen("x-kept"), "yes");
    assert_eq!(answer.header("x-leeward-inner"), "", "nor do services speak for the gateway");
}

#[tokio::test]
async fn the_client_behind_a_trusted_proxy_is_the_one_it_names() {
    let (rig, _upstream) = rig("trusted_proxies: [127.0.0.0/8, 10.0.0.0/8]").await;
    let request = rig.request("GET", "/").header("x-forwarded-for", "6.6.6.6, 1.2.3.4, 10.0.0.9");
    assert_eq!(rig.send(request, "").await.seen("x-client-ip"), "1.2.3.4");
}

#[tokio::test]
async fn bodies_have_a_limit_announced_or_not() {
    let (rig, upstream) = rig("limits: {body: 100KiB}").await;
    let answer = rig.send(rig.request("POST", "/"), vec![b'x'; 100 * 1024]).await;
    assert_eq!(answer.status, 200);
    let raw = rig
        .raw(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 102401\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert!(raw.starts_with("HTTP/1.1 413") && raw.contains("payload_too_large"), "{raw}");
    assert_eq!(upstream.hits(), 1);
    let mut chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..11 {
        chunked.extend_from_slice(b"2800\r\n");
        chunked.extend_from_slice(&[b'x'; 0x2800]);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let raw = rig.raw(&chunked).await;
    assert!(raw.starts_with("HTTP/1.1 413"), "{raw}");
}

#[tokio::test]
async fn heads_have_a_limit() {
    let (rig, upstream) = rig("limits: {headers: 20, head: 4KiB}").await;
    let many: String = (0..30).map(|n| format!("X-{n}: a\r\n")).collect();
    let raw = rig.raw(format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n").as_bytes()).await;
    assert!(raw.starts_with("HTTP/1.1 431"), "{raw}");
    let long = "a".repeat(5_000);
    let raw = rig.raw(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n").as_bytes()).await;
    assert!(raw.starts_with("HTTP/1.1 431"), "{raw}");
    assert_eq!(upstream.hits(), 0);
}

#[tokio::test]
async fn a_slow_upload_is_no_failure_of_the_service() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (rig, upstream) = rig("limits: {body_timeout: 100ms}").await;
    for _ in 0..7 {
        let mut slow = tokio::net::TcpStream::connect(rig.gateway.addr()).await.unwrap();
        slow.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc").await.unwrap();
        let mut read = vec![0_u8; 4_096];
        let count = slow.read(&mut read).await.unwrap();
        let answer = String::from_utf8_lossy(&read[..count]);
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    assert_eq!(rig.get("/").await.status, 200, "the breaker is still closed");
    assert!(upstream.hits() >= 1);
}

#[tokio::test]
async fn what_comes_after_the_body_is_not_believed() {
    let (rig, upstream) = rig("").await;
    let chunked = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-user-id\r\n\r\n3\r\nabc\r\n0\r\nX-User-Id: admin\r\n\r\n";
    let raw = rig.raw(chunked).await;
    assert!(raw.starts_with("HTTP/1.1 200") && !raw.contains("admin"), "{raw}");
    let raw = rig
        .raw(b"GET /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        .await;
    assert!(raw.starts_with("HTTP/1.1 400"), "{raw}");
    assert_eq!(upstream.hits(), 1);
}

#[tokio::test]
async fn a_client_that_takes_nothing_does_not_hold_a_request() {
    use tokio::io::AsyncWriteExt;
    let (rig, upstream) = rig("limits: {write_timeout: 100ms}").await;
    let mut stuck = tokio::net::TcpStream::connect(rig.gateway.addr()).await.unwrap();
    stuck.write_all(b"GET /?bytes=50000000 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    rig.until("the request is on its way", async || upstream.hits() == 1).await;
    rig.until("the connection is given up", async || {
        rig.gateway.cores().iter().map(|(connections, _)| connections).sum::<usize>() == 0
    })
    .await;
    let limits = rig.send(rig.admin("GET", "/v1/limits"), "").await.json();
    assert_eq!(limits["requests_in_flight"], 0);
}

#[tokio::test]
async fn slow_clients_do_not_hold_a_connection() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (rig, upstream) =
        rig("limits: {head_timeout: 100ms, body_timeout: 100ms, idle_timeout: 200ms}").await;
    let mut half_a_head = tokio::net::TcpStream::connect(rig.gateway.addr()).await.unwrap();
    half_a_head.write_all(b"GET / HT").await.unwrap();
    let mut all = Vec::new();
    half_a_head.read_to_end(&mut all).await.unwrap();
    let said = String::from_utf8_lossy(&all);
    assert!(said.starts_with("HTTP/1.1 408") && said.contains("head_timeout"), "{said}");
    let mut silent = tokio::net::TcpStream::connect(rig.gateway.addr()).await.unwrap();
    assert_eq!(silent.read(&mut [0_u8; 1]).await.unwrap_or(0), 0, "closed without a word");
    let mut idle = tokio::net::TcpStream::connect(rig.gateway.addr()).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut all = Vec::new();
    idle.read_to_end(&mut all).await.unwrap_or(0);
    assert!(all.starts_with(b"HTTP/1.1 200"), "answered, then closed");
    let raw = rig.raw(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab").await;
    assert!(raw.starts_with("HTTP/1.1 408") && raw.contains("body_timeout"), "{raw}");
    assert_eq!(upstream.hits(), 1);
}
