//! What a connection saw of a request's head before the parser resolved it.
//!
//! The HTTP library drops a `Content-Length` that stands beside `Transfer-Encoding`, as RFC 9112 allows a server to do.
//! A gateway must refuse it instead: the peer that sent it may have seen the message end elsewhere. So the connection
//! keeps the bytes of the head that is coming in, and a request with a transfer coding passes only when its whole head
//! was seen and names its length once. A head of which the beginning came together with an earlier message was not
//! seen; no client of ours has a reason to pipeline an upload.

/// What the head said about the message's length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Framing {
    /// One way to find its end.
    Plain,
    /// Several.
    Ambiguous,
    /// The head was not seen from its beginning.
    Unseen,
}

/// Judges the head in `seen` for a request of this method.
pub(crate) fn judge(seen: &[u8], method: &str) -> Framing {
    let start = seen.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(seen.len());
    let seen = &seen[start..];
    let is_this = seen.strip_prefix(method.as_bytes()).is_some_and(|rest| rest.starts_with(b" "));
    if !is_this {
        return Framing::Unseen;
    }
    let mut lengths = 0;
    // The first line is the request line; the head ends at an empty one.
    for line in seen.split_inclusive(|b| *b == b'\n').skip(1) {
        let Some(line) = line.strip_suffix(b"\n") else { break };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return if lengths > 1 { Framing::Ambiguous } else { Framing::Plain };
        }
        let name = line.split(|b| *b == b':').next().unwrap_or_default();
        lengths += u32::from(is_length(name));
    }
    Framing::Unseen
}

fn is_length(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"transfer-encoding")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_length_is_plain_and_two_are_not() {
        let head = |lines: &str| format!("POST /a HTTP/1.1\r\nHost: a\r\n{lines}\r\nbody: 1\r\n");
        for (lines, want) in [
            ("", Framing::Plain),
            ("Content-Length: 3\r\n", Framing::Plain),
            ("Transfer-Encoding: chunked\r\n", Framing::Plain),
            ("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", Framing::Ambiguous),
            ("Content-Length: 3\r\nA: b\r\ntransfer-encoding: chunked\r\n", Framing::Ambiguous),
            ("CONTENT-LENGTH: 3\ncontent-length: 3\n", Framing::Ambiguous),
            ("X-Content-Length: 3\r\nContent-Length: 3\r\n", Framing::Plain),
        ] {
            assert_eq!(judge(head(lines).as_bytes(), "POST"), want, "{lines:?}");
        }
    }

    #[test]
    fn what_was_not_seen_is_not_judged() {
        let whole = "\r\nPOST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(judge(whole.as_bytes(), "POST"), Framing::Plain);
        assert_eq!(judge(whole.as_bytes(), "GET"), Framing::Unseen);
        assert_eq!(judge(b"", "POST"), Framing::Unseen);
        assert_eq!(judge(b"Content-Length: 3\r\n\r\n", "POST"), Framing::Unseen);
        assert_eq!(judge(b"POST /a HTTP/1.1\r\nContent-Length: 3\r\n", "POST"), Framing::Unseen, "no end");
    }
}
