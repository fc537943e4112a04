//! A subscription over HTTP: one long answer, read line by line, opened again after what was handed out last.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::{Method, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::Remote;
use crate::backoff::Backoff;
use crate::bus::error::Error;
use crate::bus::http::{HEARTBEAT, LINE_BYTES_MAX, Line, Opening, start_text};
use crate::bus::message::{Batch, Position, Start};
use crate::pattern::Patterns;

/// How long a stream may be silent before it is taken for dead: three signs of life missed.
const SILENCE_MAX: Duration = Duration::from_secs(HEARTBEAT.as_secs() * 3);

/// How long to wait before the owner is tried again: it restarts within seconds.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(50), longest: Duration::from_secs(2) };

type Connecting = Pin<Box<dyn Future<Output = Result<Response<Incoming>, Error>> + Send>>;

pub(in crate::bus) struct RemoteFeed {
    remote: Arc<Remote>,
    group: Arc<str>,
    patterns: Patterns,
    state: State,
    /// Where to start when nothing has been handed out yet.
    start: Start,
    /// The bus and session of the newest stream.
    session: Option<(Arc<str>, u64)>,
    handed: Position,
    head: Position,
    failures: u32,
}

/// Kept across calls, so that a caller that gives up waiting now and then still gets connected.
enum State {
    Waiting(Instant),
    Connecting(Connecting),
    Open(Stream),
}

struct Stream {
    body: Incoming,
    buffer: BytesMut,
    /// Whether its first line has been read.
    opened: bool,
    /// How it ended, when events before its end are still to be handed out.
    ended: Option<End>,
    silent_since: Instant,
}

impl RemoteFeed {
    pub(super) fn new(remote: Arc<Remote>, group: Arc<str>, patterns: Patterns, start: Start) -> Self {
        let state = State::Waiting(Instant::now());
        let handed = Position::START;
        Self { remote, group, patterns, state, start, session: None, handed, head: handed, failures: 0 }
    }

    pub(in crate::bus) fn scanned(&self) -> Position {
        self.handed
    }

    pub(in crate::bus) fn head(&self) -> Position {
        self.head
    }

    pub(in crate::bus) fn bus(&self) -> Option<&Arc<str>> {
        self.session.as_ref().map(|(bus, _)| bus)
    }

    /// Owns all it needs, since the feed cannot be shared between threads.
    pub(in crate::bus) fn acknowledge(
        &self,
        position: Position,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let (remote, group) = (self.remote.clone(), self.group.clone());
        let session = self.session.as_ref().map(|(_, session)| *session);
        async move {
            let Some(session) = session else { return Ok(()) };
            remote.acknowledge(&group, session, position).await
        }
    }

    pub(in crate::bus) async fn next_batch(&mut self, events_max: usize) -> Result<Batch, Error> {
        loop {
            match &mut self.state {
                State::Waiting(until) => {
                    tokio::time::sleep_until(*until).await;
                    self.state = State::Connecting(self.connect());
                }
                State::Connecting(connecting) => match connecting.await {
                    Ok(response) => self.state = State::Open(Stream::new(response.into_body())),
                    Err(cause) => self.failed(cause)?,
                },
                State::Open(stream) => {
                    let read = stream.fill().await;
                    match read.and_then(|()| self.take(events_max)) {
                        Ok(Some(batch)) => return Ok(batch),
                        Ok(None) => {}
                        Err(End::Superseded) => {
                            return Err(Error::Superseded { group: self.group.to_string() });
                        }
                        Err(End::Broken(detail)) => {
                            let cause = self.remote.unavailable(detail);
                            self.failed(cause)?;
                        }
                    }
                }
            }
        }
    }

    fn connect(&self) -> Connecting {
        let start = match &self.session {
            Some((bus, _)) => Start::Resume { bus: bus.clone(), position: self.handed },
            None => self.start.clone(),
        };
        let path = format!(
            "/bus/v1/groups/{}/events?patterns={}&start={}&takes_on={}",
            self.group,
            self.patterns,
            start_text(&start),
            self.session.is_some()
        );
        let remote = self.remote.clone();
        Box::pin(async move {
            let sent = remote.send(Method::GET, &path, Bytes::new());
            let answered = tokio::time::timeout(super::REQUEST_TIMEOUT, sent).await;
            answered.unwrap_or_else(|_| Err(remote.unavailable("no answer within ten seconds")))
        })
    }

    /// Sets the next attempt's time; passes the cause on where only somebody's intervention helps.
    fn failed(&mut self, cause: Error) -> Result<(), Error> {
        self.failures = self.failures.saturating_add(1);
        let delay = BACKOFF.delay(self.failures, &*self.remote.options.rng);
        self.state = State::Waiting(Instant::now() + delay);
        if !cause.is_temporary() {
            return Err(cause);
        }
        if self.failures == 1 {
            tracing::warn!(group = %self.group, %cause, "the bus's stream broke; reconnecting");
        } else {
            tracing::debug!(group = %self.group, %cause, failures = self.failures, "the bus is still away");
        }
        Ok(())
    }

    /// Takes up to `events_max` events from the lines received. It looks at no more lines than it hands out, so that what is left is
    /// asked for again when the stream breaks.
    fn take(&mut self, events_max: usize) -> Result<Option<Batch>, End> {
        let mut deliveries = Vec::new();
        while deliveries.len() < events_max {
            let end = match self.next_line() {
                Ok(None) => break,
                Ok(Some(Line::Event(delivery))) => {
                    self.handed = delivery.position;
                    deliveries.push(delivery);
                    continue;
                }
                Ok(Some(Line::Through { through, head })) => {
                    (self.handed, self.head) = (through, head);
                    continue;
                }
                Ok(Some(Line::Unknown)) => continue,
                Ok(Some(Line::Superseded)) => End::Superseded,
                Err(end) => end,
            };
            // What came before the end is good, and counts as handed out: it goes first.
            match &mut self.state {
                State::Open(stream) if !deliveries.is_empty() => stream.ended = Some(end),
                _ => return Err(end),
            }
            break;
        }
        let Some((bus, _)) = &self.session else { return Ok(None) };
        self.head = self.head.max(self.handed);
        let batch = Batch { bus: bus.clone(), deliveries, through: self.handed, head: self.head };
        Ok((!batch.deliveries.is_empty()).then_some(batch))
    }

    /// The next line after the opening, which it reads on the way.
    fn next_line(&mut self) -> Result<Option<Line>, End> {
        let State::Open(stream) = &mut self.state else { return Ok(None) };
        if let Some(end) = stream.ended.take() {
            return Err(end);
        }
        let Some(line) = stream.line()? else { return Ok(None) };
        if stream.opened {
            return Ok(Some(Line::parse(&line)?));
        }
        let opening: Opening = serde_json::from_slice(&line)?;
        stream.opened = true;
        self.handed = opening.after;
        self.session = Some((opening.bus.into(), opening.session));
        if self.failures > 0 {
            tracing::info!(group = %self.group, "the bus is back");
        }
        self.failures = 0;
        self.next_line()
    }
}

/// How a stream ended.
enum End {
    Superseded,
    Broken(String),
}

impl From<serde_json::Error> for End {
    fn from(cause: serde_json::Error) -> Self {
        Self::Broken(format!("a line of the stream is not understood: {cause}"))
    }
}

impl Stream {
    fn new(body: Incoming) -> Self {
        Self { body, buffer: BytesMut::new(), opened: false, ended: None, silent_since: Instant::now() }
    }

    /// Waits until there is a whole line; then takes what else has arrived, without waiting.
    async fn fill(&mut self) -> Result<(), End> {
        while self.ended.is_none() && !self.buffer.contains(&b'\n') {
            let frame = tokio::time::timeout_at(self.silent_since + SILENCE_MAX, self.body.frame()).await;
            self.add(frame.map_err(|_| End::Broken("no sign of life".to_owned()))?)?;
        }
        // Bounded: a full buffer is worked off first, and the owner waits meanwhile.
        while self.ended.is_none()
            && self.buffer.len() < LINE_BYTES_MAX
            && let Some(frame) = self.body.frame().now_or_never()
        {
            // A broken stream shows at the next wait; the lines that came whole are good.
            if self.add(frame).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn add(&mut self, frame: Option<Result<hyper::body::Frame<Bytes>, hyper::Error>>) -> Result<(), End> {
        let frame = frame.ok_or_else(|| End::Broken("the stream ended".to_owned()))?;
        let frame = frame.map_err(|cause| End::Broken(cause.to_string()))?;
        if let Ok(data) = frame.into_data() {
            self.buffer.extend_from_slice(&data);
            self.silent_since = Instant::now();
        }
        if self.buffer.len() > 2 * LINE_BYTES_MAX && !self.buffer.contains(&b'\n') {
            return Err(End::Broken("a line of the stream is too long".to_owned()));
        }
        Ok(())
    }

    /// The next whole line, without its end.
    fn line(&mut self) -> Result<Option<Bytes>, End> {
        let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        if end > LINE_BYTES_MAX {
            return Err(End::Broken("a line of the stream is too long".to_owned()));
        }
        let mut line = self.buffer.split_to(end + 1);
        line.truncate(end);
        Ok(Some(line.freeze()))
    }
}

impl std::fmt::Debug for RemoteFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteFeed")
            .field("group", &self.group)
            .field("handed", &self.handed)
            .finish_non_exhaustive()
    }
}
