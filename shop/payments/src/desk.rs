//! What the operations work with, and what they share.

use std::sync::Arc;

use leeward_events::Outbox;
use leeward_resilience::Clock;
use leeward_store::Db;

use crate::provider::PaymentProvider;

/// The state of the handlers. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    pub(crate) db: Db,
    pub(crate) outbox: Outbox,
    pub(crate) provider: Arc<dyn PaymentProvider>,
    pub(crate) clock: Arc<dyn Clock>,
}
