//! Where a message ends: one reading, or none.

use super::case::{Area, HIDDEN, Table, chunked, get, post, seen};

pub(crate) fn table() -> Table {
    let mut table = Table::new(Area::Framing);
    lengths(&mut table);
    codings(&mut table);
    both(&mut table);
    lines(&mut table);
    request_lines(&mut table);
    chunk_sizes(&mut table);
    chunk_ends_and_trailers(&mut table);
    bodies_that_pass(&mut table);
    pipelines(&mut table);
    table
}

fn lengths(table: &mut Table) {
    for (name, value) in [
        ("length-empty", ""),
        ("length-plus", "+34"),
        ("length-minus", "-1"),
        ("length-hexadecimal", "0x22"),
        ("length-hexadecimal-digits", "2a"),
        ("length-of-65-bits", "18446744073709551650"),
        ("length-of-64-bits", "9223372036854775808"),
        ("length-of-20-digits", "00000000000000000034"),
        ("length-list-of-two", "34, 34"),
        ("length-list-of-different", "34, 0"),
        ("length-list-with-comma-behind", "34,"),
        ("length-with-point", "34.0"),
        ("length-with-exponent", "3e1"),
        ("length-with-underscore", "3_4"),
        ("length-with-space-within", "3 4"),
        ("length-quoted", "\"34\""),
        ("length-with-parameter", "34;a=b"),
        ("length-in-wide-digits", "\u{ff13}\u{ff14}"),
    ] {
        table.refused(name, post(&format!("Content-Length: {value}\r\n"), HIDDEN), 400, "content-length");
    }
    for (name, lines) in [
        ("length-twice-the-same", "Content-Length: 34\r\nContent-Length: 34\r\n"),
        ("length-twice-different", "Content-Length: 34\r\nContent-Length: 0\r\n"),
        ("length-twice-in-other-case", "Content-Length: 0\r\ncontent-length: 34\r\n"),
        ("length-twice-one-empty", "Content-Length: 34\r\nContent-Length: \r\n"),
    ] {
        table.refused(name, post(lines, HIDDEN), 400, "content-length-repeated");
    }
    table.refused(
        "length-with-control-in-front",
        post("Content-Length: \u{b}34\r\n", HIDDEN),
        400,
        "header-value",
    );
}

fn codings(table: &mut Table) {
    for (name, value) in [
        ("coding-empty", ""),
        ("coding-identity", "identity"),
        ("coding-unknown", "cow"),
        ("coding-gzip-chunked", "gzip, chunked"),
        ("coding-chunked-identity", "chunked, identity"),
        ("coding-chunked-twice-in-a-list", "chunked, chunked"),
        ("coding-comma-before-chunked", ",chunked"),
        ("coding-comma-behind-chunked", "chunked,"),
        ("coding-with-parameter", "chunked;q=1"),
        ("coding-quoted", "\"chunked\""),
        ("coding-xchunked", "xchunked"),
        ("coding-chunked-and-a-word", "chunked x"),
        ("coding-chunk", "chunk"),
        ("coding-with-foreign-byte", "chunked\u{e9}"),
        ("coding-with-no-break-space", "\u{a0}chunked"),
    ] {
        let request = post(&format!("Transfer-Encoding: {value}\r\n"), &format!("0\r\n\r\n{HIDDEN}"));
        table.refused(name, request, 400, "transfer-encoding");
    }
    for (name, lines) in [
        ("coding-twice-the-same", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        ("coding-twice-identity-first", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"),
        ("coding-twice-chunked-first", "Transfer-Encoding: chunked\r\nTransfer-encoding: cow\r\n"),
    ] {
        table.refused(name, post(lines, &format!("0\r\n\r\n{HIDDEN}")), 400, "transfer-encoding");
    }
    for (name, lines) in [
        ("coding-with-vertical-tab", "Transfer-Encoding: \u{b}chunked\r\n"),
        ("coding-with-nul", "Transfer-Encoding: chunked\u{0}\r\n"),
    ] {
        table.refused(name, post(lines, &format!("0\r\n\r\n{HIDDEN}")), 400, "header-value");
    }
    let old = "POST /a HTTP/1.0\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    table.refused("coding-in-http-1.0", format!("{old}{HIDDEN}"), 400, "coding-in-http-1.0");
    let kept = "POST /a HTTP/1.0\r\nHost: t\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    table.refused("coding-in-http-1.0-kept-alive", format!("{kept}{HIDDEN}"), 400, "coding-in-http-1.0");
    let body = format!("0\r\n\r\n{HIDDEN}");
    let chunked_get = get("/a", "Transfer-Encoding: chunked\r\n") + &body;
    table.refused("chunked-get", chunked_get, 400, "chunked-without-use");
    let chunked_head = format!("HEAD /a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    table.refused("chunked-head", chunked_head, 400, "chunked-without-use");
}

fn both(table: &mut Table) {
    for (name, lines, body) in [
        ("cl-te", "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nG"),
        (
            "te-cl",
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
            "5c\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n",
        ),
        ("cl-zero-te", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "5\r\nabcde\r\n0\r\n\r\n"),
        ("cl-te-identity", "Content-Length: 3\r\nTransfer-Encoding: identity\r\n", "abc"),
        ("cl-te-empty", "Content-Length: 3\r\nTransfer-Encoding:\r\n", "abc"),
        ("cl-te-unknown", "Content-Length: 3\r\nTransfer-Encoding: cow\r\n", "abc"),
    ] {
        table.refused(name, post(lines, &format!("{body}{HIDDEN}")), 400, "length-and-coding");
    }
    let two = "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n";
    table.refused("te-te", post(two, &format!("0\r\n\r\n{HIDDEN}")), 400, "transfer-encoding");
    let old = "POST /a HTTP/1.0\r\nHost: t\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc";
    table.refused("cl-te-in-http-1.0", format!("{old}{HIDDEN}"), 400, "length-and-coding");
}

fn lines(table: &mut Table) {
    for (name, line) in [
        ("space-before-colon", "Content-Length : 34"),
        ("tab-before-colon", "Transfer-Encoding\t: chunked"),
        ("line-folded-with-space", "X: a\r\n Transfer-Encoding: chunked"),
        ("line-folded-with-tab", "X: a\r\n\tContent-Length: 34"),
        ("line-folded-value", "Transfer-Encoding:\r\n chunked"),
        ("first-line-begins-with-space", " Content-Length: 34"),
        ("line-without-colon", "Content-Length 34"),
        ("line-without-name", ": 34"),
        ("name-with-space-within", "Content Length: 34"),
        ("name-with-nul", "Content-Length\u{0}: 34"),
        ("name-with-control", "\u{1}Transfer-Encoding: chunked"),
        ("name-with-delete", "Transfer-Encoding\u{7f}: chunked"),
        ("name-with-foreign-byte", "Transfer-Encoding\u{e9}: chunked"),
        ("name-with-slash", "Content/Length: 34"),
        ("name-in-parentheses", "(Content-Length): 34"),
        ("name-quoted", "\"Content-Length\": 34"),
    ] {
        table.refused(name, post(&format!("{line}\r\n"), HIDDEN), 400, "header-name");
    }
    for (name, line) in [
        ("value-with-nul", "X: a\u{0}b"),
        ("value-with-escape", "X: \u{1b}[31m"),
        ("value-with-delete", "X: a\u{7f}"),
        ("value-with-backspace", "X: a\u{8}"),
    ] {
        table.refused(name, post(&format!("{line}\r\n"), HIDDEN), 400, "header-value");
    }
    for (name, lines) in [
        ("bare-line-feed-in-value", "X: a\nContent-Length: 34\r\n"),
        ("bare-line-feed-ends-line", "Content-Length: 34\n"),
        ("bare-line-feed-before-colon", "Content-Length\n: 34\r\n"),
    ] {
        table.refused(name, post(lines, HIDDEN), 400, "bare-line-feed");
    }
    table.refused(
        "bare-line-feeds-only",
        "GET /a HTTP/1.1\nHost: t\n\n".to_owned() + HIDDEN,
        400,
        "bare-line-feed",
    );
    table.refused(
        "bare-line-feed-ends-head",
        "GET /a HTTP/1.1\r\nHost: t\r\n\n".to_owned() + HIDDEN,
        400,
        "bare-line-feed",
    );
    for (name, lines) in [
        ("bare-carriage-return-in-value", "X: a\rContent-Length: 34\r\n"),
        ("bare-carriage-return-ends-line", "X: a\rY: b\r\n"),
        ("bare-carriage-return-twice", "X: a\r\r\n"),
        ("bare-carriage-return-in-name", "Content\r-Length: 34\r\n"),
    ] {
        table.refused(name, post(lines, HIDDEN), 400, "bare-carriage-return");
    }
    table.refused(
        "bare-carriage-return-ends-head",
        "GET /a HTTP/1.1\r\nHost: t\r\n\r\r\n".to_owned() + HIDDEN,
        400,
        "bare-carriage-return",
    );
}

fn request_lines(table: &mut Table) {
    let with = |line: &str| format!("{line}\r\nHost: t\r\n\r\n{HIDDEN}");
    for (name, line) in [
        ("line-of-one-word", "GET"),
        ("line-of-http-0.9", "GET /a"),
        ("line-begins-with-space", " GET /a HTTP/1.1"),
        ("method-with-bracket", "G(T /a HTTP/1.1"),
        ("method-with-nul", "GET\u{0} /a HTTP/1.1"),
        ("method-with-tab-behind", "GET\t/a HTTP/1.1"),
        ("line-with-two-spaces", "GET  /a HTTP/1.1"),
        ("preface-of-http-2", "PRI * HTTP/2.0"),
    ] {
        table.refused(
            name,
            with(line),
            if line.starts_with("PRI") { 505 } else { 400 },
            if line.starts_with("PRI") { "version" } else { "request-line" },
        );
    }
    for (name, line) in [
        ("version-2.0", "GET /a HTTP/2.0"),
        ("version-1.2", "GET /a HTTP/1.2"),
        ("version-0.9", "GET /a HTTP/0.9"),
        ("version-in-lower-case", "GET /a http/1.1"),
        ("version-of-another-protocol", "GET /a RTSP/1.1"),
        ("version-with-word-before", "GET /a b HTTP/1.1"),
    ] {
        table.refused(name, with(line), 505, "version");
    }
    for (name, line) in
        [("version-with-two-digits", "GET /a HTTP/1.10"), ("version-with-space-behind", "GET /a HTTP/1.1 ")]
    {
        table.refused(name, with(line), 400, "request-line");
    }
    for (name, line) in [
        ("target-without-slash", "GET a HTTP/1.1"),
        ("target-with-fragment", "GET /a#b HTTP/1.1"),
        ("target-with-foreign-byte", "GET /\u{e9} HTTP/1.1"),
        ("target-of-another-scheme", "GET ftp://t/a HTTP/1.1"),
        ("target-with-user", "GET http://u:p@t/a HTTP/1.1"),
        ("target-without-host", "GET http:///a HTTP/1.1"),
        ("target-star-with-get", "GET * HTTP/1.1"),
        ("target-is-authority", "GET t:80 HTTP/1.1"),
        ("target-is-query", "GET ?a HTTP/1.1"),
        ("target-is-file", "GET file:///etc/passwd HTTP/1.1"),
    ] {
        table.refused(name, with(line), 400, "target");
    }
    table.refused("connect", with("CONNECT t:443 HTTP/1.1"), 400, "connect");
    table.refused("connect-to-path", with("CONNECT /a HTTP/1.1"), 400, "connect");
    table.refused("empty-lines-before", format!("\r\n\r\n{}", get("/a", "")), 400, "leading-lines");
    table.passes("one-empty-line-before", format!("\r\n{}", get("/a", "")), [seen("GET /a", &[], "")]);
}

fn chunk_sizes(table: &mut Table) {
    for (name, size) in [
        ("chunk-size-empty", ""),
        ("chunk-size-with-prefix", "0x3"),
        ("chunk-size-with-plus", "+3"),
        ("chunk-size-with-minus", "-3"),
        ("chunk-size-with-space-before", " 3"),
        ("chunk-size-with-space-behind", "3 "),
        ("chunk-size-with-tab-behind", "3\t"),
        ("chunk-size-with-underscore", "0_3"),
        ("chunk-size-no-digit", "g"),
        ("chunk-size-of-68-bits", "10000000000000003"),
        ("chunk-size-of-17-zeros", "00000000000000003"),
        ("chunk-size-with-point", "3.0"),
        ("chunk-size-quoted", "\"3\""),
        ("chunk-size-list", "3,3"),
        ("chunk-extension-without-size", ";a"),
        ("chunk-extension-behind-space", "3 ;a"),
    ] {
        table.cut(name, chunked(&format!("{size}\r\nabc\r\n0\r\n\r\n{HIDDEN}")), 400, "chunk-size");
    }
    for (name, extension) in [
        ("chunk-extension-with-nul", "a\u{0}"),
        ("chunk-extension-with-delete", "a=\u{7f}"),
        ("chunk-extension-with-foreign-byte", "\u{e9}"),
    ] {
        table.cut(
            name,
            chunked(&format!("3;{extension}\r\nabc\r\n0\r\n\r\n{HIDDEN}")),
            400,
            "chunk-extension",
        );
    }
    table.cut(
        "chunk-size-ends-in-line-feed",
        chunked(&format!("3\nabc\n0\n\n{HIDDEN}")),
        400,
        "bare-line-feed",
    );
    table.cut(
        "chunk-size-ends-in-carriage-return",
        chunked(&format!("3\rabc\r\n0\r\n\r\n{HIDDEN}")),
        400,
        "bare-carriage-return",
    );
    table.cut(
        "chunk-extension-with-line-feed",
        chunked(&format!("3;\nxx\r\n4c\r\n0\r\n\r\n{HIDDEN}")),
        400,
        "bare-line-feed",
    );
    table.cut(
        "chunk-extension-with-carriage-return",
        chunked(&format!("3;a\rb\r\nabc\r\n0\r\n\r\n{HIDDEN}")),
        400,
        "bare-carriage-return",
    );
    let quoted = format!("3;a=\"\nabc\"\r\nabc\r\n0\r\n\r\n{HIDDEN}");
    table.cut("chunk-extension-quotes-line-feed", chunked(&quoted), 400, "bare-line-feed");
}

fn chunk_ends_and_trailers(table: &mut Table) {
    for (name, body) in [
        ("chunk-longer-than-its-size", "3\r\nabcd\r\n0\r\n\r\n"),
        ("chunk-shorter-than-its-size", "4\r\nabc\r\n0\r\n\r\n"),
        ("chunk-without-end", "3\r\nabc0\r\n\r\n"),
        ("chunk-ends-in-line-feed", "3\r\nabc\n0\r\n\r\n"),
        ("chunk-ends-in-carriage-return", "3\r\nabc\r0\r\n\r\n"),
        ("chunk-ends-in-line-feed-first", "3\r\nabc\n\r0\r\n\r\n"),
        ("chunk-ends-in-two-spaces", "3\r\nabc  0\r\n\r\n"),
    ] {
        table.cut(name, chunked(&format!("{body}{HIDDEN}")), 400, "chunk-end");
    }
    for (name, trailers) in [
        ("trailer-is-a-request", "GET /hidden HTTP/1.1\r\nHost: t\r\n"),
        ("trailer-with-space-before-colon", "X : a\r\n"),
        ("trailer-folded", "X: a\r\n b\r\n"),
        ("trailer-with-nul", "X: \u{0}\r\n"),
        ("trailer-without-name", ": a\r\n"),
    ] {
        table.cut(name, chunked(&format!("3\r\nabc\r\n0\r\n{trailers}\r\n{HIDDEN}")), 400, "trailer");
    }
    for (name, trailers, rule) in [
        ("trailer-with-line-feed", "X: a\nY: b\r\n", "bare-line-feed"),
        ("trailer-with-carriage-return", "X: a\rb\r\n", "bare-carriage-return"),
    ] {
        table.cut(name, chunked(&format!("3\r\nabc\r\n0\r\n{trailers}\r\n{HIDDEN}")), 400, rule);
    }
    let whole = || seen("POST /a", &["transfer-encoding: chunked"], "abc");
    for (name, trailers) in [
        ("trailer-with-length", "Content-Length: 34\r\n"),
        ("trailer-with-coding", "Transfer-Encoding: chunked\r\n"),
        ("trailer-with-host", "Host: evil\r\n"),
        ("trailer-with-identity", "X-User-Id: admin\r\nX-Forwarded-For: 6.6.6.6\r\n"),
        ("trailer-with-authorization", "Authorization: Bearer a.b.c\r\n"),
    ] {
        let request = post(
            "Transfer-Encoding: chunked\r\nTrailer: X-User-Id, Content-Length\r\n",
            &format!("3\r\nabc\r\n0\r\n{trailers}\r\n"),
        );
        table.passes(name, request, [whole()]);
    }
    let trailer = "3\r\nabc\r\n0\r\nX-Sum: 7\r\nX_User_Id: admin\r\n\r\n";
    let with_trailer = seen("POST /a", &["transfer-encoding: chunked", "behind: x-sum: 7"], "abc");
    table.passes("trailer-that-is-none-of-the-head", chunked(trailer), [with_trailer]);
    table.passes("chunk-extensions-are-dropped", chunked("3;a=b;c=\"d e\"\r\nabc\r\n0;f\r\n\r\n"), [whole()]);
    table.passes("chunk-size-with-zeros-in-front", chunked("0003\r\nabc\r\n000\r\n\r\n"), [whole()]);
    table.passes(
        "chunk-size-in-upper-case",
        chunked("A\r\n0123456789\r\n0\r\n\r\n"),
        [seen("POST /a", &["transfer-encoding: chunked"], "0123456789")],
    );
    table.passes(
        "chunk-of-none",
        chunked("0\r\n\r\n"),
        [seen("POST /a", &["transfer-encoding: chunked"], "")],
    );
}

fn bodies_that_pass(table: &mut Table) {
    let three = || seen("POST /a", &["content-length: 3"], "abc");
    table.passes("length-plain", post("Content-Length: 3\r\n", "abc"), [three()]);
    // What is written is the number, not the text: some servers take a zero in front for octal.
    table.passes("length-with-zeros-in-front", post("Content-Length: 0003\r\n", "abc"), [three()]);
    let twelve = seen("POST /a", &["content-length: 12"], "0123456789ab");
    table.passes("length-that-looks-octal", post("Content-Length: 012\r\n", "0123456789ab"), [twelve]);
    table.passes(
        "length-of-zeros",
        post("Content-Length: 000\r\n", ""),
        [seen("POST /a", &["content-length: 0"], "")],
    );
    table.passes("length-between-blanks", post("Content-Length: \t 3 \t\r\n", "abc"), [three()]);
    table.passes(
        "coding-in-upper-case",
        post("TRANSFER-ENCODING: CHUNKED\r\n", "3\r\nabc\r\n0\r\n\r\n"),
        [seen("POST /a", &["transfer-encoding: chunked"], "abc")],
    );
    // CL.0 and 0.CL: the body is the body, whatever the method, and never the next request.
    let hidden = HIDDEN.len().to_string();
    let length = format!("content-length: {hidden}");
    let body = get("/a", &format!("Content-Length: {hidden}\r\n")) + HIDDEN;
    // Where a body has no use, the upstream is told that nothing follows it.
    let last = seen("GET /a", &[&length, "connection: close"], HIDDEN);
    table.passes("get-with-a-body-that-is-a-request", body, [last]);
    let nothing = get("/a", "Content-Length: 0\r\n");
    table.passes("get-with-a-length-of-nothing", nothing, [seen("GET /a", &[], "")]);
    for (name, method, more) in [
        ("delete-with-a-body-that-is-a-request", "DELETE", &["connection: close"][..]),
        ("options-with-a-body-that-is-a-request", "OPTIONS", &[]),
        ("unknown-method-with-a-body-that-is-a-request", "PURGE", &[]),
    ] {
        let request = format!("{method} /a HTTP/1.1\r\nHost: t\r\nContent-Length: {hidden}\r\n\r\n{HIDDEN}");
        let lines = [&[length.as_str()], more].concat();
        table.passes(name, request, [seen(&format!("{method} /a"), &lines, HIDDEN)]);
    }
    let chunks = format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len());
    let chunks = format!("DELETE /a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
    let last = seen("DELETE /a", &["transfer-encoding: chunked", "connection: close"], HIDDEN);
    table.passes("delete-with-chunks-that-are-a-request", chunks, [last]);
    table.passes("post-without-length", post("", ""), [seen("POST /a", &["content-length: 0"], "")]);
    let two = [seen("POST /a", &["content-length: 0"], ""), seen("GET /b", &[], "")];
    table.passes("post-of-nothing-and-a-get", post("Content-Length: 0\r\n", &get("/b", "")), two);
    // What stands for a length under another name is none, and reaches nobody.
    for (name, line) in [
        ("length-alias-with-underscore", "Content_Length: 34"),
        ("coding-alias-with-underscore", "Transfer_Encoding: chunked"),
        ("coding-alias-with-point", "Transfer.Encoding: chunked"),
        ("coding-alias-with-three-hyphens", "Transfer---Encoding: chunked"),
        ("coding-alias-with-three-underscores", "Transfer___Encoding: chunked"),
        ("length-alias-with-hyphen-behind", "Content-Length-: 34"),
        ("length-alias-with-underscore-before", "_Content-Length: 34"),
    ] {
        table.passes(name, get("/a", &format!("{line}\r\n")), [seen("GET /a", &[], "")]);
    }
    let separators = get("/a", "--_--: 34\r\n");
    table.passes("name-of-separators-alone", separators, [seen("GET /a", &["--_--: 34"], "")]);
    table.passes(
        "foreign-bytes-in-a-value",
        b"GET /a HTTP/1.1\r\nHost: t\r\nX-B: \xe9\xff\r\n\r\n",
        [seen("GET /a", &["x-b: \u{e9}\u{ff}"], "")],
    );
    let upgrade =
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    table.passes("upgrade-to-http-2", get("/a", upgrade), [seen("GET /a", &[], "")]);
    let socket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 777\r\n";
    table.passes(
        "upgrade-that-nobody-takes",
        get("/a", socket) + &get("/b", ""),
        [seen("GET /a", &["sec-websocket-version: 777"], ""), seen("GET /b", &[], "")],
    );
}

fn pipelines(table: &mut Table) {
    let three =
        [seen("GET /1", &[], ""), seen("POST /a", &["content-length: 3"], "abc"), seen("GET /3", &[], "")];
    let requests = get("/1", "") + &post("Content-Length: 3\r\n", "abc") + &get("/3", "");
    table.passes("pipeline-of-three", requests, three);
    // One empty line behind a body is some clients' habit; another byte is the next request's.
    table.passes(
        "empty-line-behind-a-body",
        post("Content-Length: 3\r\n", &format!("abc\r\n{}", get("/2", ""))),
        [seen("POST /a", &["content-length: 3"], "abc"), seen("GET /2", &[], "")],
    );
    table.refused("pipeline-behind-a-bad-host", format!("GET /a HTTP/1.1\r\n\r\n{HIDDEN}"), 400, "bad_host");
    table.refused("pipeline-behind-a-bad-path", get("/a%2fb", "") + HIDDEN, 400, "bad_path");
    table.refused(
        "pipeline-behind-an-expectation",
        post("Content-Length: 3\r\nExpect: 200-maybe\r\n", &format!("abc{HIDDEN}")),
        417,
        "expectation",
    );
    table.refused(
        "expectation-twice",
        post(
            "Content-Length: 3\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n",
            &format!("abc{HIDDEN}"),
        ),
        417,
        "expectation",
    );
    table.passes(
        "http-1.0-ends-with-its-answer",
        format!("GET /a HTTP/1.0\r\nHost: t\r\n\r\n{HIDDEN}"),
        [seen("GET /a", &[], "")],
    );
    table.passes(
        "close-ends-with-its-answer",
        get("/a", "Connection: close\r\n") + HIDDEN,
        [seen("GET /a", &[], "")],
    );
}
