//! Header lines that the gateway says itself, as they are written: nobody looks for one as a rule, so that they need no table.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::headers::Names;
use crate::spare;

/// Lines of a head, in the order in which they are written.
#[derive(Clone, Default, Debug)]
pub(crate) struct Lines {
    text: Vec<u8>,
    names: Names,
    /// Where the line begins about which is not decided yet.
    pending: usize,
}

impl Lines {
    /// None, with room for those of most heads.
    pub(crate) fn with_room() -> Self {
        let (names, pending) = (Names::none(), 0);
        Self { text: spare::take(), names, pending }
    }

    /// The same, with room for more.
    pub(crate) fn or_with_room(self) -> Self {
        if self.text.capacity() == 0 { Self::with_room() } else { self }
    }

    /// Says a header.
    #[inline]
    pub(crate) fn say(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.line(name, value.as_bytes());
    }

    /// Says a header whose value is made here: printable ASCII, and nothing that could end a line.
    #[inline]
    pub(crate) fn say_text(&mut self, name: &HeaderName, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        debug_assert!(value.iter().all(|byte| matches!(byte, b' '..=b'~')), "{value:?}");
        self.line(name, value);
    }

    #[inline]
    fn line(&mut self, name: &HeaderName, value: &[u8]) {
        let name = name.as_str().as_bytes();
        line(&mut self.text, name, value);
        self.names = self.names.with_bytes(name);
    }

    /// Writes a line as somebody else said it, for [`Lines::decide`]. Its name, in lower case.
    pub(crate) fn pass(&mut self, name: &[u8], value: &[u8]) -> &[u8] {
        self.pending = self.text.len();
        line(&mut self.text, name, value);
        let name = &mut self.text[self.pending..self.pending + name.len()];
        name.make_ascii_lowercase();
        name
    }

    /// Whether the line that was passed last stays.
    pub(crate) fn decide(&mut self, stays: bool) {
        if !stays {
            self.text.truncate(self.pending);
            return;
        }
        let line = &self.text[self.pending..];
        let name = &line[..memchr::memchr(b':', line).unwrap_or(0)];
        self.names = self.names.with_bytes(name);
    }

    /// Says all of `others`.
    fn extend(&mut self, others: &Self) {
        self.text.extend_from_slice(&others.text);
        self.names = self.names.union(others.names);
    }

    /// Takes back whatever was said under a name.
    pub(crate) fn remove(&mut self, name: &HeaderName) {
        if self.get(name).is_none() {
            return;
        }
        let mut rest = spare::take();
        for (other, value) in self.iter().filter(|(other, _)| *other != name.as_str().as_bytes()) {
            line(&mut rest, other, value);
        }
        spare::give_back(std::mem::replace(&mut self.text, rest));
    }

    /// As they are written.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// What names they may have.
    pub(crate) fn names(&self) -> Names {
        self.names
    }

    /// The first value under a name.
    pub(crate) fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        if !self.names.may_have(name) {
            return None;
        }
        self.iter().find(|(said, _)| *said == name.as_str().as_bytes()).map(|(_, value)| value)
    }

    /// Names and values. Neither a name has a colon in it, nor a value a line break.
    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = &self.text[..];
        std::iter::from_fn(move || {
            let colon = memchr::memchr(b':', rest)?;
            let end = colon + memchr::memchr(b'\r', &rest[colon..])?;
            let pair = (&rest[..colon], rest.get(colon + 2..end)?);
            rest = rest.get(end + 2..)?;
            Some(pair)
        })
    }

    /// Adds them to a table.
    pub(crate) fn put_into(&self, headers: &mut HeaderMap) {
        for (name, value) in self.iter() {
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
                headers.append(name, value);
            }
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        spare::give_back(std::mem::take(&mut self.text));
    }
}

/// The head of an answer while the gateway says its part of it. What others said stands in a table, or in lines already.
#[derive(Debug)]
pub(crate) struct Answering<'h> {
    table: &'h mut HeaderMap,
    lines: Lines,
    /// What others said.
    names: Names,
}

impl<'h> Answering<'h> {
    /// What others said, in a table and in lines.
    pub(crate) fn new(table: &'h mut HeaderMap, lines: Lines) -> Self {
        let names = Names::of(table).union(lines.names());
        Self { table, lines, names }
    }

    /// Says a header in the place of whatever others said under its name.
    pub(crate) fn say(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.remove(name);
        self.lines.say(name, value);
    }

    /// As [`Answering::say`], for a value as [`Lines::say_text`] takes it.
    pub(crate) fn say_text(&mut self, name: &HeaderName, value: impl AsRef<[u8]>) {
        self.remove(name);
        self.lines.say_text(name, value);
    }

    /// Says a header beside whatever has its name.
    pub(crate) fn add(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.lines.say(name, value);
    }

    /// Whether others said something under a name.
    pub(crate) fn has(&self, name: &HeaderName) -> bool {
        self.names.may_have(name) && (self.table.contains_key(name) || self.lines.get(name).is_some())
    }

    /// Says all of these, unless others may have said something under one of their names. Whether it did.
    pub(crate) fn say_all(&mut self, lines: &Lines) -> bool {
        let are_new = !self.names.meet(lines.names());
        if are_new {
            self.lines.extend(lines);
        }
        are_new
    }

    /// All that stands in lines now.
    pub(crate) fn into_lines(self) -> Lines {
        self.lines
    }

    fn remove(&mut self, name: &HeaderName) {
        if self.names.may_have(name) {
            self.table.remove(name);
            self.lines.remove(name);
        }
    }
}

/// Writes a header line. In place: a name that is known when this is compiled is not copied by a call.
#[inline]
pub(crate) fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    #[test]
    fn what_is_said_is_found_and_put_into_a_table() {
        let (mut lines, mut more) = (Lines::with_room(), Lines::default());
        lines.say(&header::HOST, &HeaderValue::from_static("a:80"));
        lines.say_text(&header::VIA, "");
        more.say_text(&header::AGE, "x: y");
        lines.extend(&more);
        assert_eq!(lines.as_bytes(), b"host: a:80\r\nvia: \r\nage: x: y\r\n");
        let values = [header::HOST, header::VIA, header::AGE, header::TE].map(|name| lines.get(&name));
        assert_eq!(values, [Some(&b"a:80"[..]), Some(b""), Some(b"x: y"), None]);
        let mut headers = HeaderMap::new();
        headers.append(header::AGE, HeaderValue::from_static("1"));
        lines.put_into(&mut headers);
        let ages: Vec<_> = headers.get_all(header::AGE).iter().map(HeaderValue::as_bytes).collect();
        assert_eq!((headers.len(), ages), (4, vec![&b"1"[..], b"x: y"]));
    }

    #[test]
    fn the_gateway_has_the_last_word() {
        let (mut table, mut lines) = (HeaderMap::new(), Lines::default());
        for (name, value) in [(header::AGE, "1"), (header::AGE, "2"), (header::VARY, "a")] {
            table.append(name, HeaderValue::from_static(value));
        }
        for (name, value, stays) in
            [("Via", "b", true), ("Server", "s", false), ("X-a", "1", true), ("X-A", "2", true)]
        {
            let lower = lines.pass(name.as_bytes(), value.as_bytes()).to_vec();
            assert_eq!(lower, name.to_ascii_lowercase().as_bytes());
            lines.decide(stays);
        }
        let mut answering = Answering::new(&mut table, lines);
        assert!(
            answering.has(&header::AGE) && answering.has(&header::VIA) && !answering.has(&header::SERVER)
        );
        answering.say(&header::AGE, &HeaderValue::from_static("3"));
        answering.say_text(&HeaderName::from_static("x-a"), "c");
        answering.add(&header::VARY, &HeaderValue::from_static("d"));
        let mut more = Lines::default();
        more.say_text(&header::VIA, "e");
        assert!(!answering.say_all(&more));
        let mut more = Lines::default();
        more.say_text(&header::ALLOW, "f");
        assert!(answering.say_all(&more));
        assert_eq!(
            answering.into_lines().as_bytes(),
            b"via: b\r\nage: 3\r\nx-a: c\r\nvary: d\r\nallow: f\r\n"
        );
        assert_eq!(table.keys().collect::<Vec<_>>(), ["vary"]);
    }
}
