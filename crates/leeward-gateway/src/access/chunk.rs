//! Lines on their way from a core to the writer.

use std::sync::mpsc::SyncSender;

use tokio::sync::oneshot;

/// Bytes of one chunk: enough to make a write cheap, few enough that a buffer has several.
pub(crate) const CHUNK_BYTES: usize = 64 * 1_024;

/// Whole lines, each with its end.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) lines: Vec<u8>,
    pub(super) records: u64,
    /// Where it belongs: the core that fills it.
    pub(super) home: SyncSender<Chunk>,
}

impl Chunk {
    pub(super) fn new(home: SyncSender<Self>) -> Self {
        Self { lines: Vec::with_capacity(CHUNK_BYTES), records: 0, home }
    }

    pub(super) fn clear(&mut self) {
        self.lines.clear();
        self.records = 0;
    }
}

/// What the writer is told.
#[derive(Debug)]
pub(super) enum Message {
    Lines(Chunk),
    /// All lines before this one are written when the sender hears.
    End(oneshot::Sender<()>),
}
