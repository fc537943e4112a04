//! Calls whose own time is over behind the head of their answer.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use tokio::time::{Instant, timeout};

use super::server::Server;
use super::{Client, Messages, SOON, framed, rig, send_all};

const MS: Duration = Duration::from_millis(1);

/// Calls a method whose server sends what it got, and then goes on as the test wants.
async fn begun(client: &Client, method: &str, headers: &[(&str, &str)]) -> Messages {
    let mut call = client.call(method, headers).await;
    send_all(&mut call.sending, framed(b"go")).await;
    call.sending.send_data(Bytes::new(), true).unwrap();
    Messages::new(timeout(SOON, call.answer).await.unwrap().unwrap().into_body())
}

async fn next(messages: &mut Messages) -> Option<Result<Bytes, h2::Error>> {
    timeout(SOON, messages.next()).await.expect("it goes on or ends")
}

#[tokio::test]
async fn a_stream_ends_with_its_own_time_between_two_messages() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let logs = format!(
        ", deadline: 5s}}\naccess_log: {{to: \"file:{}\", fields: [path, status, outcome]",
        log.display()
    );
    let rig = rig(&[&server], "", &logs).await;
    let client = Client::connect(&rig).await;
    let began = Instant::now();
    let mut messages = begun(&client, "Stream", &[("grpc-timeout", "600m")]).await;
    assert_eq!(next(&mut messages).await.unwrap().unwrap(), "go");
    server.seen.goes_on.notify_one();
    assert_eq!(next(&mut messages).await.unwrap().unwrap(), "more");
    assert!(next(&mut messages).await.is_none(), "it ends");
    assert!(began.elapsed() >= 600 * MS, "{:?}", began.elapsed());
    let said = messages.stream.trailers().await.unwrap().unwrap();
    assert_eq!(said["grpc-status"], "4", "{said:?}");
    let message = said["grpc-message"].to_str().unwrap();
    assert!(message.starts_with("deadline_exceeded: "), "{message}");
    rig.until("the server hears of it", async || server.seen.taken_back.load(Ordering::SeqCst) == 1).await;
    assert_eq!(client.unary("Unary", &[], b"a").await.status(), "0", "the connection lives");
    let line = r#"{"path":"/shop.Echo/Stream","status":200,"outcome":"deadline_exceeded"}"#;
    rig.until("it is logged", async || std::fs::read_to_string(&log).unwrap().lines().any(|it| it == line))
        .await;
}

#[tokio::test]
async fn a_stream_goes_on_behind_the_time_of_its_route() {
    let server = Server::start().await;
    let rig = rig(&[&server], "", ", deadline: 300ms").await;
    let client = Client::connect(&rig).await;
    let cases = [&[][..], &[("grpc-timeout", "1H")], &[("grpc-timeout", "99999999H")]];
    for (number, headers) in cases.into_iter().enumerate() {
        let mut messages = begun(&client, "Stream", headers).await;
        assert_eq!(next(&mut messages).await.unwrap().unwrap(), "go");
        tokio::time::sleep(600 * MS).await;
        server.seen.goes_on.notify_one();
        assert_eq!(next(&mut messages).await.unwrap().unwrap(), "more", "{headers:?}");
        drop(messages);
        let left = async || server.seen.taken_back.load(Ordering::SeqCst) == number + 1;
        rig.until("the server hears that the client has left", left).await;
    }
}

/// What is inside a message can be followed by no word: the call is reset, with the reason that stands for a time that is over.
#[tokio::test]
async fn a_message_that_is_not_whole_is_reset_with_its_call() {
    let server = Server::start().await;
    let rig = rig(&[&server], "", ", body: 16MiB").await;
    let client = Client::connect(&rig).await;
    let mut messages = begun(&client, "Half", &[("grpc-timeout", "400m")]).await;
    let reset = next(&mut messages).await.unwrap().unwrap_err();
    assert_eq!(reset.reason(), Some(Reason::CANCEL), "{reset:?}");
    rig.until("the server hears of it", async || server.seen.taken_back.load(Ordering::SeqCst) == 1).await;
    assert_eq!(client.unary("Unary", &[], b"a").await.status(), "0", "the connection lives");
}

/// Whoever takes nothing cannot hold the service for longer than they gave it, long before `limits.write_timeout`.
#[tokio::test]
async fn a_client_that_takes_nothing_is_not_waited_for() {
    let server = Server::start().await;
    let rig = rig(&[&server], "", ", body: 16MiB").await;
    let client = Client::connect(&rig).await;
    let began = Instant::now();
    let mut call = client.call("Unary", &[("grpc-timeout", "900m")]).await;
    assert!(send_all(&mut call.sending, framed(&vec![b'x'; 1_000_000])).await);
    call.sending.send_data(Bytes::new(), true).unwrap();
    let mut stream = timeout(SOON, call.answer).await.unwrap().unwrap().into_body();
    let reset = loop {
        // Nothing of it is given free.
        match timeout(SOON, stream.data()).await.expect("it ends").unwrap() {
            Ok(_) => {}
            Err(reset) => break reset,
        }
    };
    assert_eq!(reset.reason(), Some(Reason::CANCEL), "{reset:?}");
    assert!(began.elapsed() >= 900 * MS, "{:?}", began.elapsed());
}
