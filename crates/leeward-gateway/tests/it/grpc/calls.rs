//! Calls that go well: of every kind, with their times, and taken back.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::server::Server;
use super::{Client, Messages, SOON, framed, rig, send_all};

#[tokio::test]
async fn one_message_there_and_one_back_of_any_size() {
    let server = Server::start().await;
    let rig = rig(&[&server], "", ", body: 16MiB").await;
    let client = Client::connect(&rig).await;
    let big = vec![b'x'; 5_000_000];
    for message in [&b"hello"[..], b"", &big] {
        let ended = client.unary("Unary", &[("x-kept-bin", "AAEC")], message).await;
        assert_eq!((ended.status(), ended.said("grpc-message")), ("0", "by the server"));
        assert!(ended.messages.len() == 1 && ended.messages[0] == message, "{} bytes", message.len());
    }
    let seen = |name: &str| server.header(name).unwrap_or_default();
    assert_eq!((seen("te").as_str(), seen("content-type").as_str()), ("trailers", "application/grpc+raw"));
    assert_eq!(seen("x-kept-bin"), "AAEC");
    assert_eq!(server.header("grpc-timeout"), None, "what the client did not say");
}

#[tokio::test]
async fn messages_of_both_sides_pass_as_they_come() {
    let server = Server::start().await;
    // A conversation that lasts longer than a body may take to come in.
    let rig = rig(&[&server], "", "}\nlimits: {body_timeout: 300ms, deadline: 2s").await;
    let client = Client::connect(&rig).await;
    let mut call = client.call("Bidi", &[]).await;
    let (head, stream) = {
        assert!(send_all(&mut call.sending, framed(b"first")).await);
        tokio::time::timeout(SOON, call.answer).await.unwrap().unwrap().into_parts()
    };
    assert_eq!(head.headers["content-type"], "application/grpc+raw");
    let mut messages = Messages::new(stream);
    assert_eq!(messages.next().await.unwrap().unwrap(), "first");
    for round in 0..30 {
        let message = format!("message {round}");
        assert!(send_all(&mut call.sending, framed(message.as_bytes())).await);
        let back = tokio::time::timeout(SOON, messages.next()).await.expect("it is not held back");
        assert_eq!(back.unwrap().unwrap(), message);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    call.sending.send_data(Bytes::new(), true).unwrap();
    assert!(messages.next().await.is_none());
    assert_eq!(messages.stream.trailers().await.unwrap().unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn a_stream_of_a_server_passes_message_by_message_and_a_client_that_leaves_ends_it() {
    let server = Server::start().await;
    let rig = rig(&[&server], "", "").await;
    let client = Client::connect(&rig).await;
    let mut call = client.call("Stream", &[]).await;
    send_all(&mut call.sending, framed(b"go")).await;
    call.sending.send_data(Bytes::new(), true).unwrap();
    let mut messages = Messages::new(call.answer.await.unwrap().into_body());
    assert_eq!(messages.next().await.unwrap().unwrap(), "go");
    for _ in 0..3 {
        // Nothing more is said before the last message is here.
        server.seen.goes_on.notify_one();
        let next = tokio::time::timeout(SOON, messages.next()).await.expect("it is not held back");
        assert_eq!(next.unwrap().unwrap(), "more");
    }
    drop(messages);
    call.sending.send_reset(h2::Reason::CANCEL);
    rig.until("the server hears of it", async || server.seen.taken_back.load(Ordering::SeqCst) == 1).await;
    assert_eq!(client.unary("Unary", &[], b"a").await.status(), "0", "the connection lives");
}

fn millis(timeout: &str) -> f64 {
    let (number, unit) = timeout.split_at(timeout.len() - 1);
    let number: f64 = number.parse().unwrap();
    match unit {
        "S" => number * 1_000.0,
        "m" => number,
        "u" => number / 1_000.0,
        _ => panic!("{timeout}"),
    }
}

#[tokio::test]
async fn the_time_of_a_call_bounds_it_and_what_is_left_is_passed_on() {
    let server = Server::start().await;
    let rig = rig(&[&server], "    attempt_timeout: 3s", ", deadline: 4s").await;
    let client = Client::connect(&rig).await;
    let told = async |timeout: &str| {
        assert_eq!(
            client.unary("Unary", &[("grpc-timeout", timeout)], b"a").await.status(),
            "0",
            "{timeout}"
        );
        millis(&server.header("grpc-timeout").unwrap())
    };
    let shorter = told("3900m").await;
    assert!(shorter < 3_900.0 && shorter > 1_000.0, "{shorter}");
    let longer = told("1H").await;
    assert!(longer < 4_000.0 && longer > 1_000.0, "the route's is shorter: {longer}");
    // The call's own time is over before the service's.
    let ended = client.unary("Hang", &[("grpc-timeout", "300m")], b"a").await;
    assert!(ended.is_one_head(), "{ended:?}");
    assert_eq!(ended.status(), "4", "{ended:?}");
    assert!(ended.said("grpc-message").starts_with("deadline_exceeded: "), "{ended:?}");
    rig.until("the server hears of it", async || server.seen.taken_back.load(Ordering::SeqCst) == 1).await;
    let hits = server.hits();
    for bad in ["1s", "", "123456789m", "-1S", "1.5S", "S"] {
        let ended = client.unary("Unary", &[("grpc-timeout", bad)], b"a").await;
        assert_eq!(ended.status(), "13", "{bad:?}");
        assert!(ended.said("grpc-message").starts_with("malformed_request: "), "{ended:?}");
    }
    let twice = client.unary("Unary", &[("grpc-timeout", "1S"), ("grpc-timeout", "2S")], b"a").await;
    assert_eq!(twice.status(), "13");
    assert_eq!(client.unary("Unary", &[("grpc-timeout", "0n")], b"a").await.status(), "4");
    assert_eq!(server.hits(), hits, "nothing of these reached the server");
}
