//! `memory:`: the log is the tail and nothing else. For tests and for what may be lost with the process.

use std::sync::Arc;

use super::Options;
use super::error::Error;
use super::hub::Hub;
use super::message::{Message, Position};

#[derive(Debug)]
pub(super) struct Memory {
    pub(super) hub: Arc<Hub>,
    limit_bytes: usize,
    keep_bytes: usize,
}

impl Memory {
    pub(super) fn new(options: &Options) -> Self {
        let hub = Hub::new(super::new_bus_id(options), &*options.rng, Position::START, Vec::new());
        let bytes = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            hub: Arc::new(hub),
            limit_bytes: bytes(options.limit_bytes),
            keep_bytes: bytes(options.keep_bytes.min(options.limit_bytes)),
        }
    }

    pub(super) fn publish(&self, messages: Vec<Message>) -> Result<Position, Error> {
        self.hub.append_only(messages, self.limit_bytes, self.keep_bytes)
    }
}
