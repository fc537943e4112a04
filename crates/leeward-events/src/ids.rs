//! Ids of events and logs: UUID version 7, which sort by the time they were made.

use std::sync::Arc;

use leeward_resilience::{Clock, Rng};

/// A new id from the clock's time and 74 random bits.
pub(crate) fn new_id(clock: &dyn Clock, rng: &dyn Rng) -> Arc<str> {
    let ms = u64::try_from(clock.unix_ms()).unwrap_or(0);
    let mut random = [0; 10];
    random[..8].copy_from_slice(&rng.next_u64().to_le_bytes());
    random[8..].copy_from_slice(&rng.next_u64().to_le_bytes()[..2]);
    let id = uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid();
    let mut text = uuid::Uuid::encode_buffer();
    Arc::from(&*id.hyphenated().encode_lower(&mut text))
}
