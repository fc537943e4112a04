//! What a client can make the gateway do without asking for anything, or by taking back what it asked for.

use std::time::Duration;

use super::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Outcome, PING, PRIORITY, RST_STREAM,
    Raw, SETTINGS, WINDOW_UPDATE, block, frame, get, head, rig,
};
use crate::rig::Rig;

const PROTOCOL_ERROR: u32 = 1;
const ENHANCE_YOUR_CALM: u32 = 11;

/// Sends until the gateway has had enough. The code that it says.
async fn until_ended(rig: &Rig, mut next: impl FnMut(u32) -> Vec<u8>) -> u32 {
    let mut raw = Raw::connect(rig).await;
    for round in 0..5_000 {
        if !raw.send(&next(round)).await {
            break;
        }
    }
    let end = raw.wait_for(GOAWAY).await;
    end.expect("the gateway says why it ends").code()
}

async fn ends_calmly(rig: &Rig, kind: &str, next: impl FnMut(u32) -> Vec<u8>) {
    assert_eq!(until_ended(rig, next).await, ENHANCE_YOUR_CALM, "{kind}");
    let line = format!("leeward_gateway_http2_floods_total{{kind=\"{kind}\"}}");
    assert!(rig.metrics().await.contains(&line), "{kind}");
    // Who is sound is served.
    let mut raw = Raw::connect(rig).await;
    raw.send(&get(1, "/a")).await;
    assert_eq!(raw.outcome(1).await, Outcome::Status(200));
}

#[tokio::test]
async fn control_frames_are_answered_within_reason() {
    let (rig, _upstream) = rig("").await;
    ends_calmly(&rig, "control", |_| frame(PING, 0, 0, &[0; 8])).await;
    ends_calmly(&rig, "control", |_| frame(SETTINGS, 0, 0, &[])).await;
    ends_calmly(&rig, "control", |_| frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])).await;
    ends_calmly(&rig, "control", |_| frame(0xbe, 0, 0, &[])).await;
    ends_calmly(&rig, "windows", |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])).await;
}

#[tokio::test]
async fn requests_that_are_taken_back_end_the_connection() {
    let (rig, upstream) = rig("").await;
    let reset = |stream| frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
    let end =
        until_ended(&rig, |round| [get(round * 2 + 1, "/?sleep=1000"), reset(round * 2 + 1)].concat()).await;
    assert_eq!(end, ENHANCE_YOUR_CALM);
    assert!(upstream.hits() <= 150, "{}", upstream.hits());
}

#[tokio::test]
async fn also_when_they_take_their_time() {
    let (rig, upstream) = rig("").await;
    let mut raw = Raw::connect(&rig).await;
    let mut rounds = 0;
    for round in 0..400_u32 {
        let stream = round * 2 + 1;
        let before = upstream.hits();
        if !raw.send(&get(stream, "/?sleep=10000")).await {
            break;
        }
        // Only when the service works on it is it taken back.
        let reached = async {
            while upstream.hits() == before {
                tokio::time::sleep(Duration::from_millis(1)).await
            }
        };
        if tokio::time::timeout(Duration::from_secs(2), reached).await.is_err() {
            break;
        }
        rounds = round + 1;
        raw.send(&frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())).await;
    }
    assert_eq!(raw.wait_for(GOAWAY).await.unwrap().code(), ENHANCE_YOUR_CALM);
    assert!((100..=110).contains(&rounds), "{rounds}");
}

#[tokio::test]
async fn a_client_that_makes_the_gateway_reset_is_no_better() {
    let (rig, upstream) = rig("").await;
    // A window beyond what a number holds is a mistake on its stream, which the gateway has to reset.
    let beyond = |stream| frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes());
    let end =
        until_ended(&rig, |round| [get(round * 2 + 1, "/?sleep=1000"), beyond(round * 2 + 1)].concat()).await;
    assert_eq!(end, ENHANCE_YOUR_CALM);
    assert!(upstream.hits() <= 150, "{}", upstream.hits());
}

#[tokio::test]
async fn heads_have_an_end_in_size_and_in_time() {
    let (rig, upstream) = rig("limits: {head_timeout: 400ms}").await;
    // Without end: as many frames as one likes.
    let mut raw = Raw::connect(&rig).await;
    raw.send(&frame(HEADERS, END_STREAM, 1, &head("GET", "/", &[]))).await;
    let more = block(&[("x-more", &"x".repeat(100))]);
    for _ in 0..5_000 {
        if !raw.send(&frame(CONTINUATION, 0, 1, &more)).await {
            break;
        }
    }
    let end = raw.wait_for(GOAWAY).await.expect("the gateway says why it ends").code();
    assert!(end == ENHANCE_YOUR_CALM || end == PROTOCOL_ERROR, "{end}");
    // One that is only too large is refused alone.
    let mut raw = Raw::connect(&rig).await;
    let large: Vec<u8> = (0..500).flat_map(|_| block(&[("x-more", &"x".repeat(100))])).collect();
    let whole = [head("GET", "/", &[]), large].concat();
    for (index, piece) in whole.chunks(16_000).enumerate() {
        let is_last = (index + 1) * 16_000 >= whole.len();
        let end = if is_last { END_HEADERS } else { 0 };
        let kind = if index == 0 { HEADERS } else { CONTINUATION };
        let flags = end | if index == 0 { END_STREAM } else { 0 };
        raw.send(&frame(kind, flags, 1, piece)).await;
    }
    assert_eq!(raw.outcome(1).await, Outcome::Status(431));
    raw.send(&get(3, "/a")).await;
    assert_eq!(raw.outcome(3).await, Outcome::Status(200));
    // More lines than allowed are too many even where they are short.
    let many: Vec<(String, &str)> = (0..70).map(|n| (format!("x-{n}"), "1")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 5, &head("GET", "/", &many))).await;
    assert_eq!(raw.outcome(5).await, Outcome::Status(431));
    // One that comes byte by byte has a time in all, whatever else comes.
    let mut raw = Raw::connect(&rig).await;
    let slow = frame(HEADERS, END_HEADERS | END_STREAM, 1, &head("GET", "/", &[]));
    let trickled = async {
        for byte in &slow {
            if !raw.send(&[*byte]).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let started = std::time::Duration::from_secs(3);
    let _sent = tokio::time::timeout(started, trickled).await;
    assert_eq!(raw.outcome(1).await, Outcome::Closed);
    assert_eq!(upstream.hits(), 1, "of all these one was a request");
}

#[tokio::test]
async fn data_that_is_none_has_an_end() {
    let (rig, _upstream) = rig("").await;
    let mut is_first = true;
    let end = until_ended(&rig, |_| {
        if std::mem::take(&mut is_first) {
            return frame(HEADERS, END_HEADERS, 1, &head("POST", "/", &[]));
        }
        frame(DATA, 0, 1, &[])
    })
    .await;
    assert_eq!(end, ENHANCE_YOUR_CALM);
}

#[tokio::test]
async fn answers_that_nobody_takes_are_taken_back_and_hold_nobody_up() {
    let (rig, upstream) = rig("limits: {write_timeout: 400ms}").await;
    // Streams may send nothing at first.
    let mut raw = Raw::with(&rig, &[(4, 0)]).await;
    for stream in 0..50_u32 {
        raw.send(&get(stream * 2 + 1, "/?bytes=300000")).await;
    }
    rig.until("all were answered", async || upstream.hits() == 50).await;
    let in_flight = async || {
        rig.send(rig.admin("GET", "/v1/limits"), "").await.json()["requests_in_flight"].as_u64().unwrap()
    };
    rig.until("their places are free", async || in_flight().await == 0).await;
    let mut resets = 0;
    while resets < 50 {
        let frame = raw.wait_for(RST_STREAM).await.expect("the connection goes on");
        assert_eq!(frame.code(), 8, "cancelled");
        resets += 1;
    }
    raw.send(&frame(PING, 0, 0, &[7; 8])).await;
    assert_eq!(raw.wait_for(PING).await.unwrap().flags, ACK);
}

#[tokio::test]
async fn a_body_a_byte_at_a_time_has_a_time_in_all() {
    let (rig, upstream) = rig("limits: {body_timeout: 400ms}").await;
    let mut raw = Raw::connect(&rig).await;
    raw.send(&frame(HEADERS, END_HEADERS, 1, &head("POST", "/", &[("content-length", "1000")]))).await;
    let trickled = async {
        for _ in 0..40 {
            raw.send(&frame(DATA, 0, 1, b"x")).await;
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    trickled.await;
    assert_eq!(raw.outcome(1).await, Outcome::Status(408));
    assert_eq!(upstream.hits(), 0);
}
