//! The service behind the gateways: two listeners, answers that are ready as bytes, and counts.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use super::message::{self, Target};
use super::poll::{Poll, Source};
use crate::gateway::case::{POST_BYTES, Size};

/// What the upstream saw.
#[derive(Clone, Copy, Default, Debug)]
pub(in crate::gateway) struct Seen {
    /// Connections that were opened.
    pub(in crate::gateway) opened: u64,
    /// Requests of the load.
    pub(in crate::gateway) requests: u64,
    /// Of these, those that said who the user is.
    pub(in crate::gateway) identified: u64,
    /// And those that carried a trace.
    pub(in crate::gateway) traced: u64,
    /// Requests that were not what a client had sent.
    pub(in crate::gateway) wrong: u64,
}

impl Seen {
    /// What was seen since `before`.
    pub(in crate::gateway) fn since(self, before: Self) -> Self {
        Self {
            opened: self.opened - before.opened,
            requests: self.requests - before.requests,
            identified: self.identified - before.identified,
            traced: self.traced - before.traced,
            wrong: self.wrong - before.wrong,
        }
    }
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// A head that is not complete yet.
    begun: Vec<u8>,
    /// Bytes of the request's body that are still to come.
    body_left: usize,
    answer: Target,
    /// The answer on its way, and how much of it is written.
    written: Option<usize>,
}

/// The upstream.
#[derive(Debug)]
pub(super) struct Upstream {
    listeners: [TcpListener; 2],
    connections: Vec<Option<Connection>>,
    answers: Answers,
    pub(super) seen: Seen,
}

/// Every answer, head and body.
#[derive(Debug)]
struct Answers {
    small: Vec<u8>,
    large: Vec<u8>,
    keys: Vec<u8>,
    health: Vec<u8>,
    unknown: Vec<u8>,
}

impl Answers {
    fn of(&self, target: Target) -> &[u8] {
        match target {
            Target::Small => &self.small,
            Target::Large => &self.large,
            Target::Keys => &self.keys,
            Target::Health => &self.health,
            Target::Unknown => &self.unknown,
        }
    }
}

impl Upstream {
    pub(super) fn open(poll: &Poll, keys: &str, body: &[u8]) -> Result<Self, String> {
        let listen = || -> std::io::Result<TcpListener> {
            let listener = TcpListener::bind(("127.0.0.1", 0))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let text = |error: std::io::Error| format!("the upstream: {error}");
        let listeners = [listen().map_err(text)?, listen().map_err(text)?];
        for (number, listener) in listeners.iter().enumerate() {
            poll.add_listener(listener, number)?;
        }
        let answers = Answers {
            small: answer("200 OK", "application/octet-stream", &body[..Size::Small.bytes()]),
            large: answer("200 OK", "application/octet-stream", &body[..Size::Large.bytes()]),
            keys: answer("200 OK", "application/json", keys.as_bytes()),
            health: answer("200 OK", "application/json", b"{\"status\":\"ok\"}"),
            unknown: answer("404 Not Found", "text/plain", b"no such path"),
        };
        Ok(Self { listeners, connections: Vec::new(), answers, seen: Seen::default() })
    }

    pub(super) fn addresses(&self) -> Result<[SocketAddr; 2], String> {
        let [one, two] = &self.listeners;
        let address = |listener: &TcpListener| listener.local_addr().map_err(|error| error.to_string());
        Ok([address(one)?, address(two)?])
    }

    pub(super) fn accept(&mut self, poll: &Poll, listener: usize) -> Result<(), String> {
        loop {
            match self.listeners[listener].accept() {
                Ok((stream, _)) => self.take(poll, stream)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(format!("the upstream accepts nothing: {error}")),
            }
        }
    }

    fn take(&mut self, poll: &Poll, stream: TcpStream) -> Result<(), String> {
        self.seen.opened += 1;
        stream
            .set_nonblocking(true)
            .and_then(|()| stream.set_nodelay(true))
            .map_err(|error| error.to_string())?;
        let free = self.connections.iter().position(Option::is_none);
        let place = free.unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        poll.add(&stream, Source::Upstream(place))?;
        let answer = Target::Unknown;
        self.connections[place] =
            Some(Connection { stream, begun: Vec::new(), body_left: 0, answer, written: None });
        Ok(())
    }

    /// Reads and answers on one connection until it has nothing more to say.
    pub(super) fn ready(&mut self, place: usize, buffer: &mut [u8]) {
        let Some(Some(connection)) = self.connections.get_mut(place) else { return };
        if !connection.go_on(&self.answers, &mut self.seen, buffer) {
            self.connections[place] = None;
        }
    }
}

impl Connection {
    /// `false` when it has ended.
    fn go_on(&mut self, answers: &Answers, seen: &mut Seen, buffer: &mut [u8]) -> bool {
        match self.write(answers) {
            Ok(true) => {}
            Ok(false) => return true,
            Err(_) => return false,
        }
        loop {
            let read = match self.stream.read(buffer) {
                Ok(0) => return false,
                Ok(read) => read,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            };
            if self.take(&buffer[..read], seen).is_err() {
                seen.wrong += 1;
                return false;
            }
            match self.write(answers) {
                // A short read took all that there was.
                Ok(true) if read == buffer.len() => {}
                Ok(_) => return true,
                Err(_) => return false,
            }
        }
    }

    /// `false` when the socket takes no more now.
    fn write(&mut self, answers: &Answers) -> std::io::Result<bool> {
        let Some(written) = &mut self.written else { return Ok(true) };
        let answer = answers.of(self.answer);
        while *written < answer.len() {
            match self.stream.write(&answer[*written..]) {
                Ok(more) => *written += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.written = None;
        Ok(true)
    }

    /// Takes bytes in. No gateway pipelines, so that nothing may follow a request before its answer.
    fn take(&mut self, bytes: &[u8], seen: &mut Seen) -> Result<(), String> {
        if self.body_left > 0 {
            return self.body(bytes.len());
        }
        if !self.begun.is_empty() {
            self.begun.extend_from_slice(bytes);
            let begun = std::mem::take(&mut self.begun);
            return self.head(&begun, seen);
        }
        self.head(bytes, seen)
    }

    fn head(&mut self, bytes: &[u8], seen: &mut Seen) -> Result<(), String> {
        let Some((head, target)) = message::request(bytes)? else {
            self.begun = bytes.to_vec();
            return Ok(());
        };
        if head.body_bytes != 0 && head.body_bytes != POST_BYTES {
            return Err(format!("a body of {} bytes", head.body_bytes));
        }
        seen.requests += u64::from(target.is_load());
        seen.identified += u64::from(target.is_load() && head.proves);
        seen.traced += u64::from(target.is_load() && head.is_traced);
        (self.answer, self.body_left) = (target, head.body_bytes);
        self.body(bytes.len() - head.len)
    }

    fn body(&mut self, bytes: usize) -> Result<(), String> {
        self.body_left = self.body_left.checked_sub(bytes).ok_or("more than one request")?;
        if self.body_left == 0 {
            self.written = Some(0);
        }
        Ok(())
    }
}

fn answer(status: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}
