//! The header lines of an answer as they came in. Most go on as they are: a table of them is made where somebody wants to look into it.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::date;
use crate::headers::{is_banner, is_usual_connection, may_come_from_services};
use crate::lines::Lines;

/// Lines of a parsed head.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    head: Bytes,
    lines: Vec<Line>,
}

/// Where in the head a name and its value stand.
#[derive(Clone, Copy, Debug)]
struct Line {
    name: (u32, u32),
    value: (u32, u32),
}

/// What goes on to a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passes {
    /// Whether the gateway answers CORS itself.
    pub(crate) own_cors: bool,
    /// Whether headers that only tell which software it is go on.
    pub(crate) keeps_banners: bool,
    /// Whether a length stands for a body that is not sent: what a GET would have brought.
    pub(crate) keeps_length: bool,
}

impl Came {
    /// The lines of this head.
    pub(super) fn new(head: Bytes, lines: &[httparse::Header<'_>]) -> Self {
        let place = |part: &[u8]| {
            // Nothing may stand anywhere.
            let start = if part.is_empty() { 0 } else { part.as_ptr().addr() - head.as_ptr().addr() };
            let narrow = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
            (narrow(start), narrow(start + part.len()))
        };
        let line = |line: &httparse::Header<'_>| Line {
            name: place(line.name.as_bytes()),
            value: place(line.value),
        };
        let lines = lines.iter().map(line).collect();
        Self { head, lines }
    }

    fn part(&self, (start, end): (u32, u32)) -> &[u8] {
        let at = |place: u32| usize::try_from(place).unwrap_or(usize::MAX);
        self.head.get(at(start)..at(end)).unwrap_or_default()
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.iter().map(|line| (self.part(line.name), self.part(line.value)))
    }

    /// The first value under a name.
    pub(crate) fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        let wanted = name.as_str().as_bytes();
        self.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
    }

    /// A table of them, whose values share the head's memory.
    pub(crate) fn table(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(self.lines.len());
        for (name, value) in self.iter() {
            // The parser took nothing else.
            let name = HeaderName::from_bytes(name);
            let value = HeaderValue::from_maybe_shared(self.head.slice_ref(value));
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.append(name, value);
            }
        }
        headers
    }

    /// Those that go on to a client; `None` where that takes more than a look at each.
    pub(crate) fn pass(&self, passes: Passes) -> Option<Lines> {
        let mut passed = Lines::with_room();
        let mut has_date = false;
        for (name, value) in self.iter() {
            let name = passed.pass(name, value);
            let goes_on = match name {
                b"connection" if !is_usual_connection(value) => return None,
                b"date" if has_date => return None,
                b"date" => {
                    has_date = true;
                    std::str::from_utf8(value).is_ok_and(date::is_date)
                }
                b"content-length" => passes.keeps_length,
                name => {
                    may_come_from_services(name, passes.own_cors)
                        && (passes.keeps_banners || !is_banner(name))
                }
            };
            passed.decide(goes_on);
        }
        Some(passed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use http::header;
    use proptest::prelude::*;

    use super::*;
    use crate::headers::strip_response;

    fn came(text: &str) -> Came {
        let head = Bytes::from(format!("HTTP/1.1 200 OK\r\n{text}\r\n"));
        let mut lines = [httparse::EMPTY_HEADER; 16];
        let mut response = httparse::Response::new(&mut lines);
        assert!(response.parse(&head).unwrap().is_complete());
        Came::new(head.clone(), response.headers)
    }

    fn passed(text: &str, passes: Passes) -> Option<String> {
        came(text).pass(passes).map(|lines| String::from_utf8(lines.as_bytes().to_vec()).unwrap())
    }

    const NOTHING: Passes = Passes { own_cors: false, keeps_banners: false, keeps_length: false };
    const ALL: &str = "Content-Type:  a/b \r\nX-EMPTY:\r\nconnection: Keep-Alive\r\nKeep-Alive: 1\r\nServer: s\r\n\
        Content-Length: 3\r\ntransfer-encoding: chunked\r\nX-Leeward-Stale: 1\r\nAccess-Control-Max-Age: 1\r\nSet-Cookie: a\r\n\
        set-cookie: b\r\n";

    #[test]
    fn what_may_goes_on_and_nothing_else() {
        let plain = "content-type: a/b\r\nx-empty: \r\naccess-control-max-age: 1\r\nset-cookie: a\r\nset-cookie: b\r\n";
        assert_eq!(passed(ALL, NOTHING).unwrap(), plain);
        let all = Passes { own_cors: true, keeps_banners: true, keeps_length: true };
        let other = "content-type: a/b\r\nx-empty: \r\nserver: s\r\ncontent-length: 3\r\nset-cookie: a\r\nset-cookie: b\r\n";
        assert_eq!(passed(ALL, all).unwrap(), other);
    }

    #[test]
    fn what_takes_more_than_a_look_is_left_to_the_table() {
        assert_eq!(passed("Connection: X-Secret\r\nX-Secret: 1\r\n", NOTHING), None);
        let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        assert_eq!(passed(date, NOTHING).unwrap(), "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
        assert_eq!(passed(&[date, date].concat(), NOTHING), None);
        assert_eq!(passed("Date: evil\r\n", NOTHING).unwrap(), "");
    }

    #[test]
    fn the_table_has_them_all() {
        let came = came(ALL);
        let table = came.table();
        assert_eq!((table.len(), table["content-type"].as_bytes()), (11, &b"a/b"[..]));
        let cookies: Vec<_> = table.get_all("set-cookie").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(cookies, [b"a", b"b"]);
        assert_eq!((came.get(&header::SERVER), came.get(&header::AGE)), (Some(&b"s"[..]), None));
        assert_eq!(came.get(&header::SET_COOKIE), Some(&b"a"[..]));
    }

    const NAMES: [&str; 18] = [
        "Connection",
        "connection",
        "Keep-Alive",
        "Server",
        "X-Powered-By",
        "Content-Type",
        "Set-Cookie",
        "set-cookie",
        "X-Leeward-A",
        "Access-Control-Allow-Origin",
        "Date",
        "Content-Length",
        "TE",
        "Upgrade",
        "x-a",
        "Trailer",
        "Proxy-Authenticate",
        "X-B",
    ];
    const VALUES: [&str; 7] =
        ["a", "keep-alive", "Close", "x-a, x-b", "Sun, 06 Nov 1994 08:49:37 GMT", "3", ""];

    proptest! {
        /// What goes on is what the table has left, whichever way it goes.
        #[test]
        fn lines_and_table_agree(
            said in prop::collection::vec((prop::sample::select(&NAMES), prop::sample::select(&VALUES)), 0..12),
            (own_cors, keeps_banners, keeps_length) in any::<(bool, bool, bool)>(),
        ) {
            let came = came(&said.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<String>());
            let Some(lines) = came.pass(Passes { own_cors, keeps_banners, keeps_length }) else { return Ok(()) };
            let (mut passed, mut table) = (HeaderMap::new(), came.table());
            lines.put_into(&mut passed);
            strip_response(&mut table, own_cors, keeps_banners);
            if !keeps_length {
                table.remove(header::CONTENT_LENGTH);
            }
            if !date::is_said(&table) {
                table.remove(header::DATE);
            }
            prop_assert_eq!(passed, table);
        }
    }
}
