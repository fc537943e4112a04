//! The thread that writes. It alone meets the disk or the pipe, and it alone waits for them.

use std::sync::mpsc::Receiver;

use super::Counted;
use super::chunk::{Chunk, Message};
use super::sink::Sink;

pub(super) fn start(sink: Sink, chunks: Receiver<Message>, counted: Counted) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("leeward-access".to_owned())
        .spawn(move || run(sink, &chunks, &counted))
        .map(drop)
}

/// Ends with the last of the senders, or when it is told that it is over.
fn run(mut sink: Sink, chunks: &Receiver<Message>, counted: &Counted) {
    // The same error again and again is said once, until a write has gone well.
    let mut is_failing = false;
    while let Ok(message) = chunks.recv() {
        match message {
            Message::Lines(chunk) => {
                let result = write(&mut sink, &chunk, counted);
                if let Err(error) = &result
                    && !is_failing
                {
                    tracing::error!(%error, "the access log cannot be written");
                }
                is_failing = result.is_err();
                give_back(chunk);
            }
            Message::End(done) => {
                let _gone = done.send(());
                return;
            }
        }
    }
}

fn write(sink: &mut Sink, chunk: &Chunk, counted: &Counted) -> std::io::Result<()> {
    let (written, result) = sink.write(&chunk.lines);
    let whole = match result {
        Ok(()) => chunk.records,
        Err(_) => memchr::memchr_iter(b'\n', &chunk.lines[..written]).count() as u64,
    };
    counted.written.add(whole);
    counted.failed.add(chunk.records - whole);
    result
}

fn give_back(chunk: Chunk) {
    let home = chunk.home.clone();
    // A core that is gone needs no chunks.
    let _gone = home.try_send(chunk);
}
