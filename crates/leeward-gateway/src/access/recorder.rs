//! One core's side: lines into chunks, chunks to the writer.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use leeward_resilience::{Clock, Rng};
use leeward_telemetry::metrics::Counter;

use super::chunk::{CHUNK_BYTES, Chunk, Message};
use super::facts::{Facts, Shared};
use crate::config::AccessLog as Options;

/// A line waits no longer than this for others.
const FLUSH_EVERY: Duration = Duration::from_millis(200);
/// Facts that are kept for further requests; beyond this they are made anew.
const SPARE_MAX: usize = 256;

/// What a core records with.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(super) options: Options,
    pub(super) clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    full: SyncSender<Message>,
    dropped: Counter,
    buffer: RefCell<Buffer>,
    spare: RefCell<Vec<Shared>>,
}

#[derive(Debug)]
struct Buffer {
    chunk: Option<Chunk>,
    /// The line that is being made.
    line: Vec<u8>,
    made: usize,
    home: SyncSender<Chunk>,
    empty: Receiver<Chunk>,
}

impl Recorder {
    /// Starts the core's flushing too, which ends with the recorder.
    pub(super) fn start(
        options: Options,
        full: SyncSender<Message>,
        dropped: Counter,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
    ) -> Rc<Self> {
        let (home, empty) = sync_channel(options.chunks());
        let buffer = Buffer { chunk: None, line: Vec::with_capacity(1_024), made: 0, home, empty };
        let (buffer, spare) = (RefCell::new(buffer), RefCell::default());
        let recorder = Rc::new(Self { options, clock, rng, full, dropped, buffer, spare });
        let weak = Rc::downgrade(&recorder);
        tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(FLUSH_EVERY).await;
                let Some(recorder) = weak.upgrade() else { return };
                recorder.flush();
            }
        });
        recorder
    }

    /// Facts to fill, those of an earlier request if there are any.
    pub(super) fn facts(&self) -> Shared {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    pub(super) fn give_back(&self, facts: Shared) {
        let mut spare = self.spare.borrow_mut();
        // Whoever else holds them still writes into them.
        if Rc::strong_count(&facts) == 1 && spare.len() < SPARE_MAX {
            spare.push(facts);
        }
    }

    /// Writes a line, if this request is to have one.
    pub(super) fn record(&self, facts: &Facts) {
        if !self.options.always(facts.is_error(), facts.total) && !self.is_sampled() {
            return;
        }
        let mut buffer = self.buffer.borrow_mut();
        let buffer = &mut *buffer;
        buffer.line.clear();
        self.options.format.write(&mut buffer.line, facts, &self.options.redact);
        buffer.line.push(b'\n');
        if buffer.chunk.as_ref().is_some_and(|chunk| chunk.lines.len() + buffer.line.len() > CHUNK_BYTES) {
            self.hand_over(buffer);
        }
        if buffer.chunk.is_none() {
            buffer.chunk = buffer.next(self.options.chunks());
        }
        match &mut buffer.chunk {
            Some(chunk) if buffer.line.len() <= CHUNK_BYTES => {
                chunk.lines.extend_from_slice(&buffer.line);
                chunk.records += 1;
            }
            _ => self.dropped.inc(),
        }
    }

    fn is_sampled(&self) -> bool {
        self.options.sample >= 1.0 || self.rng.unit_f64() < self.options.sample
    }

    /// Hands over what is there, however little.
    pub(super) fn flush(&self) {
        self.hand_over(&mut self.buffer.borrow_mut());
    }

    fn hand_over(&self, buffer: &mut Buffer) {
        let Some(chunk) = buffer.chunk.take() else { return };
        if chunk.records == 0 {
            buffer.chunk = Some(chunk);
            return;
        }
        // There is room for every chunk: only a writer that is gone takes none.
        if let Err(
            TrySendError::Full(Message::Lines(chunk)) | TrySendError::Disconnected(Message::Lines(chunk)),
        ) = self.full.try_send(Message::Lines(chunk))
        {
            self.dropped.add(chunk.records);
            buffer.made -= 1;
        }
    }
}

impl Buffer {
    /// An empty chunk, unless all that there may be are on their way.
    fn next(&mut self, chunks_max: usize) -> Option<Chunk> {
        if let Ok(mut chunk) = self.empty.try_recv() {
            chunk.clear();
            return Some(chunk);
        }
        (self.made < chunks_max).then(|| {
            self.made += 1;
            Chunk::new(self.home.clone())
        })
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.flush();
    }
}
