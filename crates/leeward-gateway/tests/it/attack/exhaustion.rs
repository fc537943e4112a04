//! Messages that are slow, long or many: each has a bound, and ends there.

use std::time::Duration;

use super::case::{Area, Setup, Step, Table, chunked, get, post, seen};

/// Longer than every time of [`super::case::Setup::Small`].
const TOO_LONG: Duration = Duration::from_millis(600);

pub(crate) fn table() -> Table {
    let mut table = Table::new(Area::Exhaustion);
    slow(&mut table);
    large_heads(&mut table);
    endless_chunks(&mut table);
    table
}

/// The bytes one by one.
fn drip(text: &str, pause: Duration) -> Vec<Step> {
    text.bytes().flat_map(|byte| [Step::Send(vec![byte]), Step::Pause(pause)]).collect()
}

/// Long enough for an upstream under load to fill all buffers, and for the gateway's patience after that.
const LONG_AFTER: Duration = Duration::from_secs(3);

fn and_read_nothing(text: &str) -> Vec<Step> {
    vec![Step::Send(text.as_bytes().to_vec()), Step::Pause(LONG_AFTER)]
}

fn then_nothing(text: &str) -> Vec<Step> {
    vec![Step::Send(text.as_bytes().to_vec()), Step::Pause(TOO_LONG)]
}

fn slow(table: &mut Table) {
    let step = Duration::from_millis(20);
    table.closed("silence", then_nothing(""));
    table.closed("empty-line-and-silence", then_nothing("\r\n"));
    table.refused("head-that-stops", then_nothing("GET /a HTTP/1.1\r\nHost: t\r\n"), 408, "head-timeout");
    table.refused("line-that-stops", then_nothing("GET /a"), 408, "head-timeout");
    table.refused("byte-that-stops", then_nothing("G"), 408, "head-timeout");
    // Progress does not help: the time is for the whole head.
    let slowly = format!("GET /a HTTP/1.1\r\nHost: t\r\nX: {}", "a".repeat(30));
    table.refused("head-byte-by-byte", drip(&slowly, step), 408, "head-timeout");
    let lines: Vec<Step> = drip("GET /a HTTP/1.1", Duration::ZERO)
        .into_iter()
        .chain(
            (0..12).flat_map(|_| [Step::Send(b"\r\nX: a".to_vec()), Step::Pause(Duration::from_millis(50))]),
        )
        .collect();
    table.refused("head-line-by-line", lines, 408, "head-timeout");
    let second = [Step::Send(get("/a", "").into_bytes())]
        .into_iter()
        .chain(drip(&format!("GET /b HTTP/1.1\r\nX: {}", "a".repeat(30)), step))
        .collect::<Vec<_>>();
    table.refused_after("second-head-byte-by-byte", second, [seen("GET /a", &[], "")], 408, "head-timeout");
    table.refused(
        "short-body-that-stops",
        then_nothing(&post("Content-Length: 9\r\n", "abc")),
        408,
        "body_timeout",
    );
    let body: Vec<Step> = [Step::Send(post("Content-Length: 40\r\n", "").into_bytes())]
        .into_iter()
        .chain(drip(&"a".repeat(30), step))
        .collect();
    table.refused("short-body-byte-by-byte", body, 408, "body_timeout");
    table.refused(
        "expected-body-that-never-comes",
        then_nothing(&post("Content-Length: 9\r\nExpect: 100-continue\r\n", "")),
        408,
        "body_timeout",
    );
    table.cut(
        "long-body-that-stops",
        then_nothing(&post("Content-Length: 100000\r\n", "abc")),
        408,
        "body_timeout",
    );
    table.cut("chunk-that-stops", then_nothing(&chunked("5\r\nab")), 408, "body_timeout");
    table.cut("chunk-size-that-stops", then_nothing(&chunked("5")), 408, "body_timeout");
    table.cut("trailers-that-stop", then_nothing(&chunked("1\r\na\r\n0\r\nX: a\r\n")), 408, "body_timeout");
    let chunks: Vec<Step> = [Step::Send(chunked("").into_bytes())]
        .into_iter()
        .chain((0..30).flat_map(|_| [Step::Send(b"1\r\na\r\n".to_vec()), Step::Pause(step)]))
        .collect();
    table.cut("chunk-by-chunk", chunks, 408, "body_timeout");
    // Nothing of the answer is read for longer than a client may take.
    table.broken_off("answer-that-nobody-reads", and_read_nothing(&get("/bytes/30000000", "")));
    let twice = get("/bytes/30000000", "") + &get("/hidden", "");
    table.broken_off("answer-that-nobody-reads-and-a-request", and_read_nothing(&twice));
}

fn large_heads(table: &mut Table) {
    let long = |count: usize| "a".repeat(count);
    table.refused("target-too-long", get(&format!("/{}", long(2_100)), ""), 414, "target-length");
    table.refused("target-without-end", format!("GET /{}", long(2_100)), 414, "target-length");
    table.refused("method-without-end", long(2_100), 414, "target-length");
    table.refused("query-too-long", get(&format!("/a?{}", long(2_100)), ""), 414, "target-length");
    table.refused("header-value-too-long", get("/a", &format!("X: {}\r\n", long(2_100))), 431, "head-length");
    table.refused(
        "header-value-without-end",
        format!("GET /a HTTP/1.1\r\nX: {}", long(2_100)),
        431,
        "head-length",
    );
    table.refused(
        "header-name-without-end",
        format!("GET /a HTTP/1.1\r\n{}", long(2_100)),
        431,
        "head-length",
    );
    table.refused(
        "cookies-too-long",
        get("/a", &format!("Cookie: {}\r\n", "a=b; ".repeat(500))),
        431,
        "head-length",
    );
    let many = |count: usize| (0..count).map(|at| format!("X-{at}: a\r\n")).collect::<String>();
    table.refused("headers-too-many", get("/a", &many(16)), 431, "header-count");
    table.refused("headers-too-many-of-one-name", get("/a", &"X: a\r\n".repeat(16)), 431, "header-count");
    table.refused("headers-empty-and-too-many", get("/a", &"X:\r\n".repeat(100)), 431, "header-count");
    let lines: Vec<String> = (0..15).map(|at| format!("x-{at}: a")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    table.passes("headers-as-many-as-may-be", get("/a", &many(15)), [seen("GET /a", &lines, "")]);
    table.refused("empty-lines-for-ever", "\r\n".repeat(10_000), 400, "leading-lines");
    table.refused("nothing-but-line-feeds", "\n".repeat(10_000), 400, "bare-line-feed");
    table.refused("nothing-but-carriage-returns", "\r".repeat(10_000), 400, "bare-carriage-return");
    table.refused("nothing-but-nul", vec![0_u8; 10_000], 414, "target-length");
    table.refused(
        "handshake-of-tls",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        400,
        "request-line",
    );
    table.refused(
        "body-announced-too-long",
        post("Content-Length: 200001\r\n", ""),
        413,
        "payload_too_large",
    );
    table.refused(
        "body-announced-endless",
        post("Content-Length: 9223372036854775807\r\n", ""),
        413,
        "payload_too_large",
    );
    table.refused(
        "body-too-long-and-asked-for",
        post("Content-Length: 200001\r\nExpect: 100-continue\r\n", ""),
        413,
        "payload_too_large",
    );
    table.setup = Setup::Guarded;
    let bearer = |count: usize| format!("Authorization: Bearer {}\r\n", long(count));
    table.refused("token-too-long", get("/mine", &bearer(9_000)), 401, "token_invalid");
    table.refused("token-of-the-whole-head", get("/mine", &bearer(40_000)), 431, "head-length");
    table.setup = Setup::Small;
}

fn endless_chunks(table: &mut Table) {
    table.cut("chunk-size-without-end", chunked(&"0".repeat(5_000)), 400, "chunk-size");
    table.cut("chunk-size-of-digits-without-end", chunked(&"a".repeat(5_000)), 400, "chunk-size");
    table.cut(
        "chunk-extension-without-end",
        chunked(&format!("1;{}", "a".repeat(5_000))),
        400,
        "chunk-extension",
    );
    table.cut(
        "chunk-extension-too-long",
        chunked(&format!("1;{}\r\na\r\n0\r\n\r\n", "a".repeat(129))),
        400,
        "chunk-extension",
    );
    table.cut(
        "chunk-extension-quoted-without-end",
        chunked(&format!("1;a=\"{}", " ".repeat(5_000))),
        400,
        "chunk-extension",
    );
    table.cut("trailers-without-end", chunked(&format!("0\r\n{}", "X: a\r\n".repeat(1_000))), 400, "trailer");
    table.cut("trailer-line-without-end", chunked(&format!("0\r\nX: {}", "a".repeat(9_000))), 400, "trailer");
    table.cut("trailers-too-many", chunked(&format!("0\r\n{}\r\n", "X: a\r\n".repeat(17))), 400, "trailer");
    table.cut("chunk-announced-too-long", chunked("7fffffffffffffff\r\nabc"), 408, "body_timeout");
    table.cut("chunk-announced-endless", chunked("ffffffffffffffff\r\nabc"), 408, "body_timeout");
    // These are long by themselves: the usual times, so that a busy machine does not decide.
    table.setup = Setup::Plain;
    table.cut(
        "chunks-too-long-in-all",
        chunked(&format!("10000\r\n{}\r\n", "a".repeat(0x10000)).repeat(4)),
        413,
        "payload_too_large",
    );
    let tiny = chunked(&("1\r\na\r\n".repeat(20_000) + "0\r\n\r\n"));
    table.passes(
        "chunks-of-one-byte-and-many",
        tiny,
        [seen("POST /a", &["transfer-encoding: chunked"], &"a".repeat(20_000))],
    );
    let padded = chunked(&(format!("1;{}\r\na\r\n", "e".repeat(100)).repeat(500) + "0\r\n\r\n"));
    table.passes(
        "chunks-with-more-extension-than-data",
        padded,
        [seen("POST /a", &["transfer-encoding: chunked"], &"a".repeat(500))],
    );
}
